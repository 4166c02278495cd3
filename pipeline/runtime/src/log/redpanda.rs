//! The log of a Kafka-protocol cluster: Redpanda, Apache Kafka.
//!
//! Start at [`Redpanda::connect`]; a worker joins with [`Redpanda::join`]. Membership and records
//! are in `group`, transactions in `commit`, ownership and take-over in `member`, what a committed
//! offset says in `note`, the agreement on a new log's name in `identity`.
//!
//! # Invariants
//! 1. Events, cascades, parked records and offsets of a batch are one transaction, and the broker
//!    checks the member that sends the offsets: a worker that was thrown out commits nothing.
//! 2. A partition is read only after nothing of its former owner is undecided or can be begun.
//! 3. A revocation is answered after the open transaction has ended.
//! 4. Only what both Redpanda and Kafka have is used: the classic group protocol, transactions of
//!    KIP-98 and KIP-447, no KIP-848, no topic ids.
//!
//! # Source
//! KIP-98, KIP-345, KIP-429, KIP-447; what librdkafka really does stands where it is minded.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellhop_core::message::LogId;
use uuid::Uuid;

#[doc(hidden)]
pub use self::config::Sabotage;
pub use self::config::{Config, Guarantee, Sasl, Secret, Security, Settings};
pub use self::member::Member;
pub use self::members::MemberInfo;
pub use self::producer::Sender;
pub use self::pulse::{Beat, Pulse};
pub use self::replies::Replies;
pub use self::sink::Sink;
pub use self::source::View;

use super::{Error, Identity};
use crate::registry::{Confluent, Registry};
use crate::schemas_on_disk::OnDisk;

mod client;
mod commit;
mod config;
mod error;
mod group;
mod identity;
mod member;
mod members;
mod native;
mod note;
mod producer;
mod pulse;
mod replies;
mod sink;
mod source;
pub mod topics;
mod transactional;

/// A connection to a cluster. Clones are the same.
#[derive(Clone)]
pub struct Redpanda {
    shared: Arc<Shared>,
    commands_kept: Option<Duration>,
}

/// What all of one process share.
struct Shared {
    config: Arc<Config>,
    registry: Arc<dyn Registry>,
    identity: Identity,
    /// Numbers of static members that are taken.
    numbers: Arc<Mutex<BTreeSet<u32>>>,
}

/// The number of a member in its process, given back when it is gone.
struct Number {
    base: Option<String>,
    number: u32,
    taken: Arc<Mutex<BTreeSet<u32>>>,
}

impl Redpanda {
    /// Connects: checks the topics, and finds out what log they are. Topics with no event become
    /// the log `log_id`, a random name.
    ///
    /// # Errors
    /// When the brokers or the registry cannot be reached or refuse, and when the topics are not as
    /// they must be.
    pub fn connect(config: &Config, log_id: LogId) -> Result<Self, Error> {
        let registry = Arc::new(Confluent::new(&config.registry)?);
        Self::connect_with(config, registry, log_id)
    }

    /// Connects with a registry of the caller's.
    ///
    /// # Errors
    /// As [`Redpanda::connect`].
    pub fn connect_with(
        config: &Config,
        registry: Arc<dyn Registry>,
        log_id: LogId,
    ) -> Result<Self, Error> {
        let config = Arc::new(config.clone());
        let identity::Adopted { identity, schema_id, commands_kept } =
            identity::find_or_make(&config, registry.as_ref(), log_id)?;
        let registry = on_disk(&config, registry, identity.log_id);
        identity::check_registry(registry.as_ref(), schema_id)?;
        let numbers = Arc::default();
        let shared = Shared { config, registry, identity, numbers };
        Ok(Self { shared: Arc::new(shared), commands_kept })
    }

    /// What the log is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// How long the topic of commands keeps them; `None` for ever.
    #[must_use]
    pub fn commands_kept(&self) -> Option<Duration> {
        self.commands_kept
    }

    /// How it is reached.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The registry of its schemas.
    #[must_use]
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.shared.registry
    }

    /// Joins the group of workers.
    ///
    /// # Errors
    /// When the producers cannot be made.
    pub fn join(&self) -> Result<Member, Error> {
        Member::join(&self.shared)
    }

    /// Joins a group that reads the events: `bellhop.<group>` on the brokers.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub fn consume(&self, group: &str) -> Result<Sink, Error> {
        Sink::join(&self.shared, group)
    }

    /// A reader; it is connected when it is first used.
    #[must_use]
    pub fn reader(&self) -> View {
        View::new(&self.shared)
    }

    /// Asks whether the brokers answer; it is connected when it is first used.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub fn pulse(&self) -> Result<Pulse, Error> {
        Pulse::new(&self.shared)
    }

    /// The members of the group of workers, and what each of them owns.
    ///
    /// # Errors
    /// When the brokers cannot be asked.
    pub fn members(&self) -> Result<Vec<MemberInfo>, Error> {
        members::list(&self.shared)
    }

    /// Hears the replies with a correlation id on a topic, from now on.
    ///
    /// # Errors
    /// When the brokers cannot be reached, or the topic is not there.
    pub fn replies(&self, topic: &str, correlation_id: &[u8]) -> Result<Replies, Error> {
        Replies::listen(&self.shared, topic, correlation_id)
    }

    /// A producer of commands; it is connected when it is first used.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender::new(&self.shared)
    }
}

/// Holds a registry against the log that is on the topics, if there is one.
///
/// # Errors
/// When it is not the registry that the log was written with, or nobody can be asked.
pub fn check_registry(config: &Config) -> Result<(), Error> {
    let registry: Arc<dyn Registry> = Arc::new(Confluent::new(&config.registry)?);
    match identity::peek(&Arc::new(config.clone()), registry.as_ref())? {
        Some((log_id, schema_id)) => {
            identity::check_registry(on_disk(config, registry, log_id).as_ref(), schema_id)
        }
        None => Ok(()),
    }
}

fn on_disk(config: &Config, registry: Arc<dyn Registry>, log_id: LogId) -> Arc<dyn Registry> {
    if config.schemas.is_empty() {
        return registry;
    }
    Arc::new(OnDisk::open(registry, &config.schemas, log_id).kept_first(config.kept_first))
}

impl Shared {
    /// A name that nobody had before.
    fn unique(&self) -> String {
        Uuid::new_v4().simple().to_string()
    }

    /// What the transactional ids of a member begin with: a name that nobody had before.
    fn owner(&self) -> String {
        format!("{}.{}", self.config.group, self.unique())
    }

    fn number(&self) -> Number {
        let mut taken = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (0..).find(|number| !taken.contains(number)).unwrap_or(u32::MAX);
        taken.insert(number);
        let base = self.config.instance.clone();
        Number { base, number, taken: self.numbers.clone() }
    }
}

impl Number {
    /// Its name as a client: that of the process, and its number there.
    fn client_id(&self, process: &str) -> String {
        format!("{process}-{}", self.number)
    }

    fn instance(&self) -> Option<String> {
        self.base.as_ref().map(|base| format!("{base}-{}", self.number))
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
