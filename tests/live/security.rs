//! Users who sign in over TLS, and those who cannot.

use std::time::Duration;

use bellhop_harness::{Kafka, KafkaOptions, PASSWORD};
use bellhop_runtime::log::redpanda::{Config, Sasl, Secret, Security};

use crate::bad_input::refused;
use crate::house::{House, PARTITIONS, Running, alone};

#[test]
fn users_sign_in_over_tls_and_others_are_told_why_not() {
    // Its brokers would take the time of others.
    let others = alone();
    let kafka =
        Kafka::start_with(KafkaOptions { secure: true, ..KafkaOptions::default() }).unwrap();
    let as_user = |mechanism: &str, user: &str, password: &str| {
        let mut config = Config::new(&kafka.far_brokers(), &others.registry.url());
        config.request_timeout = Duration::from_secs(3);
        let (mechanism, user) = (mechanism.to_owned(), user.to_owned());
        config.security = Security {
            tls: true,
            ca_file: Some(kafka.certificate()),
            sasl: Some(Sasl { mechanism, user, password: Secret(password.to_owned()) }),
            ..Security::default()
        };
        config
    };
    let mut plain = None;
    for (mechanism, user) in [("PLAIN", "plain"), ("SCRAM-SHA-256", "scram")] {
        let mut house = House::with(PARTITIONS, as_user(mechanism, user, PASSWORD));
        let worker = Running::start(&house.log);
        house.send(300);
        house.check();
        worker.stop();
        plain.get_or_insert(house.config);
    }
    let plain = plain.unwrap();

    let wrong = as_user("PLAIN", "plain", "a guess");
    let error = refused(&Config { prefix: plain.prefix.clone(), ..wrong });
    assert!(error.hint.contains("refuse the user"), "{error}");
    assert!(!format!("{error:?}").contains("a guess"), "{error:?}");

    let guest = as_user("PLAIN", "guest", PASSWORD);
    let error = refused(&Config { prefix: plain.prefix.clone(), ..guest });
    assert!(error.hint.contains("give the user the right"), "{error}");

    let mut stranger = plain.clone();
    stranger.security.ca_file = None;
    let error = refused(&stranger);
    assert!(error.hint.contains("TLS"), "{error}");

    let mut open = plain;
    open.security = Security::default();
    let error = refused(&open);
    assert!(error.hint.contains("TLS"), "{error}");
}
