//! Which broker runs in containers: Redpanda where its image is, or can be pulled; else Apache
//! Kafka in an image that is made here.

use anyhow::{Context, bail};

use super::{Engine, kafka_image, say};
use crate::kafka::{common_properties, java_arguments, known_brokers};
use crate::registry;

/// Which broker: `auto` (default), `redpanda`, `kafka`.
const WISH: &str = "BELLHOP_TEST_BROKER";
/// It pins the version of Redpanda.
const COMPOSE: &str = include_str!("../../../../docker/compose.yaml");
const REDPANDA: &str = "redpandadata/redpanda";

/// Settings of Redpanda, read at its first start: first those of its mode for development, which
/// are lost where this file is, but for two. Nobody makes a topic by asking for it, and what is
/// acknowledged is written: it has to be there after kill -9.
///
/// # Source
/// `rpk redpanda start --mode help`; `config_manager::preload` reads this file or the properties in
/// `redpanda.yaml`, never both.
const REDPANDA_SETTINGS: &str = "\
group_topic_partitions: 3
storage_min_free_bytes: 10485760
topic_partitions_per_shard: 2000
fetch_reads_debounce_timeout: 10
group_initial_rebalance_delay: 0
log_segment_size_min: 1
auto_create_topics_enabled: false
write_caching_default: \"false\"
group_min_session_timeout_ms: 500
transaction_coordinator_partitions: 4
";

/// Ports in the container.
const KAFKA_PORT: u16 = 9092;
const REGISTRY_PORT: u16 = 8081;

/// An image with a broker in it.
#[derive(Debug)]
pub struct BrokerImage {
    broker: Broker,
    /// Its name.
    pub name: String,
    /// Its tag.
    pub tag: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broker {
    Redpanda,
    Kafka,
}

/// What a container of it is started with.
#[derive(Debug)]
pub struct Start {
    /// The program, if it is not the image's own.
    pub entrypoint: Option<String>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Files that are put there before it starts.
    pub files: Vec<(String, String)>,
    /// Ports of the host and of the container.
    pub ports: Vec<(u16, u16)>,
    /// `host:port` for clients.
    pub brokers: String,
    /// `host:port` of the broker's own schema registry, if it has one.
    pub registry: Option<String>,
}

impl Start {
    /// Whether what was started answers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let has_registry = || self.registry.as_ref().is_none_or(|it| registry::answers(it, ""));
        known_brokers(&self.brokers).is_ok_and(|known| known > 0) && has_registry()
    }
}

impl BrokerImage {
    /// Chooses the broker, makes sure that its image is there, and says which it is.
    ///
    /// # Errors
    /// When the one that `BELLHOP_TEST_BROKER` names is not to be had, or none is.
    pub fn choose(engine: &Engine) -> anyhow::Result<Self> {
        let wish = std::env::var(WISH).unwrap_or_default();
        let image = match wish.as_str() {
            "" | "auto" => match Self::redpanda(engine) {
                Ok(image) => image,
                Err(error) => {
                    say(&format!("containers: no Redpanda: {error:#}"));
                    Self::kafka(engine)?
                }
            },
            "redpanda" => Self::redpanda(engine)?,
            "kafka" => Self::kafka(engine)?,
            other => bail!("{WISH}={other}: say auto, redpanda or kafka"),
        };
        say(&format!("containers: the broker is {}:{}", image.name, image.tag));
        Ok(image)
    }

    fn redpanda(engine: &Engine) -> anyhow::Result<Self> {
        let (name, tag) = (REDPANDA.to_owned(), redpanda_tag()?);
        if !engine.has_image(&format!("{name}:{tag}"))? {
            engine.pull(&name, &tag).with_context(|| format!("pull {name}:{tag}"))?;
        }
        Ok(Self { broker: Broker::Redpanda, name, tag })
    }

    fn kafka(engine: &Engine) -> anyhow::Result<Self> {
        let tag = kafka_image::make(engine)?;
        Ok(Self { broker: Broker::Kafka, name: kafka_image::NAME.to_owned(), tag })
    }

    /// What starts it, so that clients reach it at these ports of a host.
    ///
    /// It knows itself by a listener of its own: the address that it tells clients leads nowhere
    /// from inside the container, and a coordinator that cannot reach its broker ends no
    /// transaction.
    #[must_use]
    pub fn start(&self, host: &str, kafka: u16, registry: u16) -> Start {
        let brokers = format!("{host}:{kafka}");
        match self.broker {
            Broker::Redpanda => {
                let arguments = [
                    "redpanda",
                    "start",
                    "--mode=dev-container",
                    "--smp=1",
                    // Each partition takes its share, and suites make hundreds.
                    "--memory=2G",
                    "--kafka-addr=internal://0.0.0.0:29092,external://0.0.0.0:9092",
                    &format!(
                        "--advertise-kafka-addr=internal://127.0.0.1:29092,external://{brokers}"
                    ),
                    "--schema-registry-addr=0.0.0.0:8081",
                ];
                Start {
                    entrypoint: None,
                    arguments: arguments.map(str::to_owned).to_vec(),
                    files: vec![(
                        "/etc/redpanda/.bootstrap.yaml".to_owned(),
                        REDPANDA_SETTINGS.to_owned(),
                    )],
                    ports: vec![(kafka, KAFKA_PORT), (registry, REGISTRY_PORT)],
                    brokers,
                    registry: Some(format!("{host}:{registry}")),
                }
            }
            Broker::Kafka => {
                let properties = format!(
                    "listeners=PLAINTEXT://:{KAFKA_PORT},INTERNAL://localhost:19092,CONTROLLER://localhost:9093
advertised.listeners=PLAINTEXT://{brokers},INTERNAL://localhost:19092
inter.broker.listener.name=INTERNAL
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
{}{}",
                    kafka_image::PROPERTIES,
                    common_properties(1),
                );
                let mut arguments = java_arguments(320, "/kafka".as_ref());
                arguments.extend(["kafka.Kafka", kafka_image::SETTINGS].map(str::to_owned));
                Start {
                    entrypoint: Some(kafka_image::JAVA.to_owned()),
                    arguments,
                    files: vec![(kafka_image::SETTINGS.to_owned(), properties)],
                    ports: vec![(kafka, KAFKA_PORT)],
                    brokers,
                    registry: None,
                }
            }
        }
    }
}

fn redpanda_tag() -> anyhow::Result<String> {
    let pin = format!("image: {REDPANDA}:");
    let tag = COMPOSE.lines().find_map(|line| line.trim().strip_prefix(&pin));
    Ok(tag.context("find the version of Redpanda in docker/compose.yaml")?.to_owned())
}
