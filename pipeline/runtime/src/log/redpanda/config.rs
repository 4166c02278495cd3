//! How to reach the brokers, and what librdkafka is told.
//!
//! Each setting that is not a default has its reason beside it: most are traps that cost a factor
//! in speed, or a promise.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bellhop_core::limits::Largest;
use bellhop_core::rules::Rules;
use rdkafka::ClientConfig;

use crate::log::{Timestamps, Topic};
use crate::registry;

/// A secret: it is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How connections are secured. Nothing set is plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// TLS, with the system's certificates unless a file is given.
    pub tls: bool,
    /// Certificates of the authority (PEM).
    pub ca_file: Option<PathBuf>,
    /// The client's certificate (PEM).
    pub certificate_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
    /// The password of the key.
    pub key_password: Option<Secret>,
    /// A user that signs in.
    pub sasl: Option<Sasl>,
}

/// A user that signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// Settings of librdkafka by its names; values are never printed, since some are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings(pub BTreeMap<String, String>);

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What is promised of a batch that a worker did not bring to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Guarantee {
    /// It is visible once, as a whole, or never: a transaction.
    #[default]
    ExactlyOnce,
    /// It is decided again by whoever comes next, to the same events with the same ids, which then
    /// stand in the log twice; readers see events one by one, as they are written. A restored state
    /// counts each once; readers must do that for themselves.
    AtLeastOnce,
}

/// What a connection to a cluster is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port`, several by commas.
    pub brokers: String,
    /// The schema registry.
    pub registry: registry::Config,
    /// Folders in which the schemas of logs are kept, for times when the registry is away: each is
    /// read and written. Where two differ, the first one is right.
    pub schemas: Vec<PathBuf>,
    /// Whether what is kept there is taken before the registry is asked.
    pub kept_first: bool,
    /// What topic names begin with: `bellhop` for `bellhop.commands`. Events name their source by
    /// the plain name, so that they are the same whatever it is.
    pub prefix: String,
    /// Where the timestamps of commands must come from; topics that differ are refused. `None` takes
    /// them as they are.
    pub timestamps: Option<Timestamps>,
    /// What the log is decided by if it is new; the genesis of another says it.
    pub rules: Rules,
    /// How long idempotency keys are remembered: commands that are kept for longer are refused.
    /// `None` takes the topic as it is.
    pub remembered: Option<Duration>,
    /// The largest records that workers write: topics that do not take them are refused. `None`
    /// asks for [`super::topics::RECORD_BYTES`].
    pub largest: Option<Largest>,
    /// The group of workers.
    pub group: String,
    /// Static membership: workers are `<instance>-<n>` in the group, and a restart within the
    /// session moves no partition. Unique per process.
    pub instance: Option<String>,
    /// Name of this process, that brokers and `bellhop workers` show; its members have a number
    /// behind it.
    pub name: String,
    /// How connections are secured.
    pub security: Security,
    /// What is promised of a batch.
    pub guarantee: Guarantee,
    /// A member that is silent for so long loses its partitions.
    pub session_timeout: Duration,
    /// A transaction that is open for so long is aborted by the broker.
    pub transaction_timeout: Duration,
    /// How long a call may take before it counts as failed and is tried again.
    pub request_timeout: Duration,
    /// More settings of librdkafka, by its names; they win over all others, at the owner's risk.
    pub client: Settings,
    /// Breaks a promise, for tests that must notice.
    #[doc(hidden)]
    pub sabotage: Option<Sabotage>,
}

/// What the proof of exactly-once must find out.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Offsets are committed with no word of who commits them.
    NoGroupMetadata,
    /// Offsets are committed beside the transaction.
    OffsetsOutside,
    /// Events are read before they are decided.
    ReadUncommitted,
}

impl Config {
    /// With defaults, for brokers and a registry.
    #[must_use]
    pub fn new(brokers: &str, registry: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            registry: registry::Config::new(registry),
            schemas: Vec::new(),
            kept_first: false,
            prefix: "bellhop".to_owned(),
            timestamps: Some(Timestamps::Append),
            rules: Rules::default(),
            remembered: None,
            largest: None,
            group: "bellhop".to_owned(),
            instance: None,
            name: "bellhop".to_owned(),
            security: Security::default(),
            guarantee: Guarantee::default(),
            session_timeout: Duration::from_secs(6),
            transaction_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            client: Settings::default(),
            sabotage: None,
        }
    }

    /// The name of a topic on the brokers.
    #[must_use]
    pub fn topic(&self, topic: Topic) -> String {
        self.named(topic.name())
    }

    /// The name of any topic of bellhop (`bellhop.replies`) on the brokers.
    #[must_use]
    pub fn named(&self, plain: &str) -> String {
        let rest = plain.strip_prefix("bellhop.").unwrap_or(plain);
        format!("{}.{rest}", self.prefix)
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.name)
            // A broker that comes back is found at once.
            .set("reconnect.backoff.max.ms", "1000")
            .set("retry.backoff.max.ms", "500")
            // A client that was idle while a leader moved would send to the former one, until its
            // records time out.
            .set("topic.metadata.refresh.interval.ms", "3000")
            .set("allow.auto.create.topics", "false");
        self.secure(&mut config);
        config
    }

    fn secure(&self, config: &mut ClientConfig) {
        let Security { tls, ca_file, certificate_file, key_file, key_password, sasl } =
            &self.security;
        let protocol = match (tls, sasl.is_some()) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        let files = [
            ("ssl.ca.location", ca_file),
            ("ssl.certificate.location", certificate_file),
            ("ssl.key.location", key_file),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                config.set(name, file.display().to_string());
            }
        }
        if *tls && ca_file.is_none() {
            // OpenSSL is built in and knows of no folder of the system.
            config.set("ssl.ca.location", "probe");
        }
        if let Some(password) = key_password {
            config.set("ssl.key.password", &password.0);
        }
        if let Some(Sasl { mechanism, user, password }) = sasl {
            config
                .set("sasl.mechanism", mechanism)
                .set("sasl.username", user)
                .set("sasl.password", &password.0);
        }
    }

    fn with_extra(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.client.0 {
            config.set(name, value);
        }
        config
    }

    /// A client that only asks: metadata, administration.
    pub(super) fn asking(&self) -> ClientConfig {
        self.with_extra(self.base())
    }

    fn consuming(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A position that is gone is told, never guessed.
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            // A consumer that ran ahead looks again after 5 ms, not after a second.
            .set("fetch.queue.backoff.ms", "5")
            // A batch ahead is enough. With librdkafka's 100,000 records it works in memory that it
            // has never used before, and the page faults cost more than the fetches.
            .set("queued.min.messages", "10000")
            // A partition that was just started waits for the fetch under way, so that is short.
            .set("fetch.wait.max.ms", "50")
            .set("fetch.error.backoff.ms", "50");
        config
    }

    /// A member of a group.
    pub(super) fn member(&self, group: &str, name: &str, instance: Option<&str>) -> ClientConfig {
        let session = self.session_timeout.as_millis();
        let mut config = self.consuming(group);
        config
            .set("client.id", name)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session.to_string())
            // A rebalance waits for every member's next heartbeat.
            .set("heartbeat.interval.ms", (session / 20).clamp(50, 300).to_string())
            .set("queued.max.messages.kbytes", "32768");
        if let Some(instance) = instance {
            config.set("group.instance.id", instance);
        }
        self.with_extra(config)
    }

    /// A reader that owns nothing.
    pub(super) fn reader(&self, group: &str) -> ClientConfig {
        let mut config = self.consuming(group);
        config
            // Reading ends where the partition did.
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "10")
            .set("queued.max.messages.kbytes", "16384");
        if self.sabotage == Some(Sabotage::ReadUncommitted) {
            config.set("isolation.level", "read_uncommitted");
        }
        self.with_extra(config)
    }

    /// One that also sees what is not decided yet.
    pub(super) fn undecided(&self, group: &str) -> ClientConfig {
        let mut config = self.reader(group);
        config.set("isolation.level", "read_uncommitted");
        config
    }

    /// A producer of transactions, or of single records.
    pub(super) fn producer(&self, transactional_id: Option<&str>) -> ClientConfig {
        let mut config = self.base();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Where librdkafka's own default disagrees with Java's clients.
            .set("partitioner", "murmur2_random")
            // A transaction is sent as soon as it is there; records wait for no company.
            .set("linger.ms", "0")
            .set("batch.num.messages", "20000")
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "262144")
            // Brokers and topics say how large a record may be.
            .set("message.max.bytes", "67108864");
        match transactional_id {
            Some(id) => config
                .set("transactional.id", id)
                .set("transaction.timeout.ms", self.transaction_timeout.as_millis().to_string())
                // What was delivered needs no word: that is cheaper, and drains at once.
                .set("delivery.report.only.error", "true"),
            None => {
                config.set("message.timeout.ms", self.transaction_timeout.as_millis().to_string())
            }
        };
        self.with_extra(config)
    }

    /// A producer of batches that are no transactions.
    pub(super) fn plain_producer(&self) -> ClientConfig {
        let mut config = self.producer(None);
        config
            .set("delivery.report.only.error", "true")
            // Of a batch that fails, a prefix is written and nothing behind it: a record that is
            // given up would leave a gap.
            .set("enable.gapless.guarantee", "true")
            .set("message.timeout.ms", "0");
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::new("a:1", "http://b");
        config.security = Security {
            tls: true,
            key_password: Some(Secret("key-secret".to_owned())),
            sasl: Some(Sasl {
                mechanism: "SCRAM-SHA-512".to_owned(),
                user: "desk".to_owned(),
                password: Secret("sasl-secret".to_owned()),
            }),
            ..Security::default()
        };
        config.client.0.insert("sasl.password".to_owned(), "extra-secret".to_owned());
        config.registry.password = Some(Secret("registry-secret".to_owned()));
        config
    }

    #[test]
    fn secrets_are_never_printed() {
        let printed = format!("{:?}", config());
        assert!(printed.contains("SCRAM-SHA-512") && printed.contains("sasl.password"));
        assert!(!printed.contains("secret"), "{printed}");
    }

    #[test]
    fn every_client_is_secured_and_the_traps_are_avoided() {
        let config = config();
        let member = config.member("g", "n-0", Some("i-0"));
        let producer = config.producer(Some("t"));
        let all = [config.asking(), config.reader("g"), config.undecided("g"), member, producer];
        for client in &all {
            assert_eq!(client.get("security.protocol"), Some("sasl_ssl"));
            assert_eq!(client.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
            assert_eq!(client.get("sasl.password"), Some("extra-secret"), "settings win");
        }
        let [_, reader, undecided, member, producer] = &all;
        assert_eq!(reader.get("isolation.level"), Some("read_committed"));
        assert_eq!(undecided.get("isolation.level"), Some("read_uncommitted"));
        assert_eq!(member.get("isolation.level"), Some("read_committed"));
        assert_eq!(member.get("enable.auto.commit"), Some("false"));
        assert_eq!(member.get("auto.offset.reset"), Some("error"));
        assert_eq!(member.get("fetch.queue.backoff.ms"), Some("5"));
        assert_eq!(member.get("partition.assignment.strategy"), Some("cooperative-sticky"));
        assert_eq!(member.get("group.instance.id"), Some("i-0"));
        assert_eq!(producer.get("partitioner"), Some("murmur2_random"));
        assert_eq!(producer.get("delivery.report.only.error"), Some("true"));
    }

    #[test]
    fn topics_are_named_by_the_prefix() {
        let mut config = Config::new("a:1", "http://b");
        assert_eq!(config.topic(Topic::Events), "bellhop.events");
        config.prefix = "north".to_owned();
        assert_eq!(config.topic(Topic::Events), "north.events");
        assert_eq!(config.named("bellhop.replies"), "north.replies");
    }
}
