//! The topics on the brokers: made, and held against what the promises need.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bellhop_core::engine::Genesis;
use bellhop_core::limits::Largest;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;

use super::client::Watch;
use super::config::Config;
use super::error;
use super::source::Source;
use crate::log::{Error, ErrorKind, Timestamps, Topic};

/// Bytes of the largest record that bellhop writes: a parked value and its cause.
pub const RECORD_BYTES: u64 = 4 << 20;
/// All topics by their plain names, in the order in which they are made.
pub const NAMES: [&str; 5] =
    ["bellhop.commands", "bellhop.events", "bellhop.parked", "bellhop.replies", "bellhop.effects"];
const STAMP: &str = "message.timestamp.type";

/// What topics are made with.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Partitions of each topic.
    pub partitions: u32,
    /// Copies of each partition; `None` leaves it to the brokers.
    pub replication: Option<u32>,
    /// Copies that must be written before a record counts; `None` leaves it to the brokers.
    pub min_insync: Option<u32>,
    /// Where the timestamps of commands come from.
    pub timestamps: Timestamps,
    /// How long commands are kept, and remembered for at least; replays of the past need for ever.
    pub commands_retention: Option<Duration>,
    /// How long replies and effects are kept.
    pub replies_retention: Duration,
    /// Bytes of the largest command that a producer may send.
    pub command_bytes: u64,
    /// The largest records that workers write.
    pub largest: Largest,
}

impl Default for Wanted {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            partitions: 8,
            replication: None,
            min_insync: None,
            timestamps: Timestamps::Append,
            commands_retention: Some(7 * DAY),
            replies_retention: 7 * DAY,
            command_bytes: RECORD_BYTES,
            largest: Largest::of(1 << 20),
        }
    }
}

impl Wanted {
    fn settings(&self, plain: &str) -> BTreeMap<&'static str, String> {
        let mut settings = BTreeMap::new();
        let millis = |kept: Option<Duration>| kept.map_or(-1, |kept| kept.as_millis() as i64);
        let of = |topic| record_bytes(topic, Some(self.largest));
        let (retention, stamp, bytes) = match plain {
            "bellhop.commands" => (
                millis(self.commands_retention),
                stamp_name(self.timestamps),
                self.command_bytes.max(of(Topic::Commands)),
            ),
            // The events are the changelog: state is restored from all of them.
            "bellhop.events" => (-1, "CreateTime", of(Topic::Events)),
            "bellhop.parked" => (-1, "CreateTime", of(Topic::Parked)),
            _ => (millis(Some(self.replies_retention)), "CreateTime", RECORD_BYTES),
        };
        settings.insert("cleanup.policy", "delete".to_owned());
        settings.insert("retention.ms", retention.to_string());
        settings.insert("retention.bytes", "-1".to_owned());
        settings.insert(STAMP, stamp.to_owned());
        settings.insert("max.message.bytes", bytes.to_string());
        if let Some(copies) = self.min_insync {
            settings.insert("min.insync.replicas", copies.to_string());
        }
        settings
    }
}

/// Bytes of a record that a topic must take.
fn record_bytes(topic: Topic, largest: Option<Largest>) -> u64 {
    let of = |pick: fn(Largest) -> usize| largest.map_or(0, |largest| pick(largest) as u64);
    match topic {
        // How large their commands are is up to producers.
        Topic::Commands => of(|it| it.command),
        Topic::Events => of(|it| it.event).max(RECORD_BYTES),
        Topic::Parked => of(|it| it.parked).max(RECORD_BYTES),
    }
}

fn stamp_name(timestamps: Timestamps) -> &'static str {
    match timestamps {
        Timestamps::Append => "LogAppendTime",
        Timestamps::Create => "CreateTime",
    }
}

/// How long it is listened for why brokers cannot be reached, and to how much.
const HEARD: Duration = Duration::from_millis(300);
const ERRORS_HEARD: usize = 20;

/// A topic that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Its name on the brokers.
    pub topic: String,
    /// What differs: `partitions`, `missing`, or a setting of the topic.
    pub what: String,
    /// As it is.
    pub found: String,
    /// As it should be.
    pub wanted: String,
    /// What it leads to.
    pub effect: Effect,
}

/// What a mismatch leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing that was promised.
    Differs,
    /// The topic has grown: commands in its new partitions are not decided. Workers go on with the
    /// partitions that the log was made with.
    Astray,
    /// A promise would be broken: workers refuse to start.
    Refused,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, what, found, wanted, .. } = self;
        match what.as_str() {
            "missing" => write!(f, "{topic} is missing"),
            _ => write!(f, "{topic} has {what} {found}, wanted {wanted}"),
        }
    }
}

/// A topic as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) partitions: u32,
    settings: BTreeMap<String, String>,
}

impl Found {
    pub(super) fn timestamps(&self) -> Timestamps {
        match self.settings.get(STAMP).map(String::as_str) {
            Some("LogAppendTime") => Timestamps::Append,
            Some(_) | None => Timestamps::Create,
        }
    }

    fn number(&self, setting: &str) -> Option<i64> {
        self.settings.get(setting)?.parse().ok()
    }

    /// How long records are kept; `None` for ever, and where producers stamp them.
    pub(super) fn retention(&self) -> Option<Duration> {
        let kept = u64::try_from(self.number("retention.ms")?).ok()?;
        (self.timestamps() == Timestamps::Append).then(|| Duration::from_millis(kept))
    }
}

/// A connection to ask and to change topics.
pub(super) struct Admin {
    client: AdminClient<Watch>,
    config: Arc<Config>,
}

impl Admin {
    pub(super) fn new(config: Arc<Config>) -> Result<Self, Error> {
        let client = config.asking().create_with_context(Watch::default());
        let client = client.map_err(|e| error::of("make a client to ask with", e))?;
        Ok(Self { client, config })
    }

    fn options(&self) -> AdminOptions {
        let most = self.config.request_timeout;
        AdminOptions::new().request_timeout(Some(most)).operation_timeout(Some(most))
    }

    fn failed(&self, tried: &str, e: KafkaError) -> Error {
        let tried = format!("{tried} on {}", self.config.brokers);
        self.client.inner().context().explain(error::of(tried, e))
    }

    /// What the brokers say of topics. A consumer asks: nobody hears why the client of an
    /// administrator gets no answer.
    fn metadata(&self) -> Result<Metadata, Error> {
        let tried = format!("ask for the topics on {}", self.config.brokers);
        let asker: BaseConsumer<Watch> = self
            .config
            .reader(&self.config.group)
            .create_with_context(Watch::default())
            .map_err(|e| error::of(tried.clone(), e))?;
        asker.fetch_metadata(None, self.config.request_timeout).map_err(|e| {
            // A user that is refused, or TLS that fails, shows as brokers that cannot be reached.
            let until = Instant::now() + HEARD;
            let said = || asker.poll(until.saturating_duration_since(Instant::now()));
            let errors = std::iter::from_fn(said).take(ERRORS_HEARD).filter_map(Result::err);
            let mut errors = errors.map(|e| error::of(tried.clone(), e));
            let why = errors.find(|error| error.kind == ErrorKind::FixInput);
            why.unwrap_or_else(|| error::of(tried.clone(), e))
        })
    }

    /// The topics of bellhop that are there, by their plain names.
    pub(super) fn find(&self) -> Result<BTreeMap<&'static str, Found>, Error> {
        let metadata = self.metadata()?;
        let mut found = BTreeMap::new();
        for plain in NAMES {
            let name = self.config.named(plain);
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            if let Some(topic) = topic.filter(|topic| !topic.partitions().is_empty()) {
                let partitions = topic.partitions().len() as u32;
                found.insert(plain, Found { partitions, settings: BTreeMap::new() });
            }
        }
        let names: Vec<(&'static str, String)> =
            found.keys().map(|plain| (*plain, self.config.named(plain))).collect();
        let asked: Vec<_> = names.iter().map(|(_, name)| ResourceSpecifier::Topic(name)).collect();
        if asked.is_empty() {
            return Ok(found);
        }
        let tried = "ask for the settings of topics (the right DescribeConfigs)";
        let described = block_on(self.client.describe_configs(&asked, &self.options()));
        for resource in described.map_err(|e| self.failed(tried, e))? {
            let resource =
                resource.map_err(|code| self.failed(tried, KafkaError::AdminOp(code)))?;
            let OwnedResourceSpecifier::Topic(name) = &resource.specifier else { continue };
            let plain = names.iter().find(|(_, named)| named == name).map(|(plain, _)| *plain);
            if let Some(topic) = plain.and_then(|plain| found.get_mut(plain)) {
                for entry in resource.entries {
                    if let Some(value) = entry.value {
                        topic.settings.insert(entry.name, value);
                    }
                }
            }
        }
        Ok(found)
    }
}

impl Admin {
    /// Brokers answer before they all know a new topic, and who leads its partitions.
    fn wait_for_all(&self) -> Result<(), Error> {
        let tried = "ask for the new topics";
        let most = self.config.request_timeout;
        let until = Instant::now() + most;
        loop {
            let metadata = self
                .client
                .inner()
                .fetch_metadata(None, most)
                .map_err(|e| self.failed(tried, e))?;
            let is_ready = |plain: &str| {
                let name = self.config.named(plain);
                let topic = metadata.topics().iter().find(|topic| topic.name() == name);
                topic.is_some_and(|topic| {
                    let partitions = topic.partitions();
                    !partitions.is_empty() && partitions.iter().all(|it| it.leader() >= 0)
                })
            };
            if NAMES.iter().all(|plain| is_ready(plain)) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(error::retry(tried, "the brokers have not made them all yet"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Makes the topics that are missing; gives their names.
///
/// # Errors
/// When the brokers cannot be asked, or refuse.
pub fn create(config: &Config, wanted: &Wanted) -> Result<Vec<String>, Error> {
    let admin = Admin::new(Arc::new(config.clone()))?;
    let found = admin.find()?;
    let missing: Vec<_> = NAMES
        .iter()
        .filter(|plain| !found.contains_key(**plain))
        .map(|plain| (config.named(plain), wanted.settings(plain)))
        .collect();
    let copies = wanted.replication.map_or(-1, |copies| copies as i32);
    let new: Vec<_> = missing
        .iter()
        .map(|(name, settings)| {
            let copies = TopicReplication::Fixed(copies);
            let new = NewTopic::new(name, wanted.partitions as i32, copies);
            settings.iter().fold(new, |new, (setting, value)| new.set(setting, value))
        })
        .collect();
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let made = block_on(admin.client.create_topics(&new, &admin.options()));
    for result in made.map_err(|e| admin.failed("make the topics", e))? {
        match result {
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                return Err(error::of_code(format!("make the topic {name}"), code, ""));
            }
        }
    }
    admin.wait_for_all()?;
    Ok(missing.into_iter().map(|(name, _)| name).collect())
}

/// Holds the topics against what is wanted; all that differs is named.
///
/// # Errors
/// When the brokers cannot be asked.
pub fn check(config: &Config, wanted: &Wanted) -> Result<Vec<Mismatch>, Error> {
    let config = &Arc::new(config.clone());
    let found = Admin::new(config.clone())?.find()?;
    let made_with = made_with(config, &found)?;
    let mut mismatches = breaking(config, &found, Some(wanted.timestamps), made_with.as_ref());
    let partitions = made_with.as_ref().map_or(wanted.partitions, |genesis| genesis.partitions);
    mismatches.extend(made_with.and_then(|genesis| kept_too_long(config, &found, &genesis)));
    for plain in NAMES {
        let topic = config.named(plain);
        let mut add = |what: &str, found: &str, wanted: &str| {
            let known = mismatches.iter().any(|it| it.topic == topic && it.what == what);
            if !known {
                mismatches.push(Mismatch {
                    topic: topic.clone(),
                    what: what.to_owned(),
                    found: found.to_owned(),
                    wanted: wanted.to_owned(),
                    effect: Effect::Differs,
                });
            }
        };
        let Some(found) = found.get(plain) else {
            add("missing", "nothing", "a topic");
            continue;
        };
        if found.partitions != partitions {
            let (found, wanted) = (found.partitions.to_string(), partitions.to_string());
            add("partitions", &found, &wanted);
        }
        for (setting, wanted) in wanted.settings(plain) {
            let found = found.settings.get(setting).map_or("nothing", String::as_str);
            let larger = setting == "max.message.bytes"
                && found.parse::<u64>().ok() >= wanted.parse::<u64>().ok();
            if found != wanted && !larger {
                add(setting, found, &wanted);
            }
        }
    }
    Ok(mismatches)
}

/// What the log in these topics was made with; `None` when there is none yet.
pub(super) fn made_with(
    config: &Arc<Config>,
    found: &BTreeMap<&'static str, Found>,
) -> Result<Option<Genesis>, Error> {
    if !found.contains_key(Topic::Events.name()) {
        return Ok(None);
    }
    let mut source = Source::new(config.clone(), &config.group);
    let (low, end) = source.bounds(Topic::Events, 0)?;
    let mut made_with = None;
    if low < end {
        source.read(Topic::Events, 0, low, &mut |event| {
            made_with = event.value.and_then(Genesis::read).map(|(_, genesis)| genesis);
            ControlFlow::Break(())
        })?;
    }
    Ok(made_with)
}

/// Whether commands are kept for longer than the log remembered keys when it was made.
fn kept_too_long(
    config: &Config,
    found: &BTreeMap<&'static str, Found>,
    genesis: &Genesis,
) -> Option<Mismatch> {
    let commands = found.get(Topic::Commands.name())?;
    let kept = commands.retention().filter(|kept| *kept > genesis.rules.idempotency_time())?;
    Some(Mismatch {
        topic: config.named(Topic::Commands.name()),
        what: "retention.ms".to_owned(),
        found: kept.as_millis().to_string(),
        wanted: format!(
            "at most {}: the log was made to remember idempotency keys for {} h, unless `bellhop rules` has changed that",
            genesis.rules.idempotency_time().as_millis(),
            genesis.rules.idempotency_hours
        ),
        effect: Effect::Differs,
    })
}

/// What would break a promise.
pub(super) fn breaking(
    config: &Config,
    found: &BTreeMap<&'static str, Found>,
    timestamps: Option<Timestamps>,
    made_with: Option<&Genesis>,
) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    let mut push = |plain: &str, what: &str, found: String, wanted: &str, effect: Effect| {
        mismatches.push(Mismatch {
            topic: config.named(plain),
            what: what.to_owned(),
            found,
            wanted: wanted.to_owned(),
            effect,
        });
    };
    let of_commands = found.get(Topic::Commands.name()).map(|commands| commands.partitions);
    let (partitions, why) = match made_with {
        Some(genesis) => (Some(genesis.partitions), "as the log was made"),
        None => (of_commands, "as many as the commands have"),
    };
    for topic in Topic::ALL {
        let plain = topic.name();
        let Some(found) = found.get(plain) else {
            push(plain, "missing", "nothing".to_owned(), "a topic", Effect::Refused);
            continue;
        };
        if let Some(partitions) = partitions
            && found.partitions != partitions
        {
            let has_grown = made_with.is_some() && found.partitions > partitions;
            let effect = if has_grown { Effect::Astray } else { Effect::Refused };
            let wanted = format!("{partitions}, {why}");
            push(plain, "partitions", found.partitions.to_string(), &wanted, effect);
        }
        let mut add = |plain: &str, what: &str, found: String, wanted: &str| {
            push(plain, what, found, wanted, Effect::Refused);
        };
        let policy = found.settings.get("cleanup.policy").map_or("delete", String::as_str);
        if policy != "delete" {
            add(plain, "cleanup.policy", policy.to_owned(), "delete");
        }
        let bytes = found.number("max.message.bytes").unwrap_or(i64::MAX);
        let most = record_bytes(topic, config.largest);
        if bytes < most.cast_signed() {
            add(plain, "max.message.bytes", bytes.to_string(), &format!("at least {most}"));
        }
        match topic {
            Topic::Commands => {
                if let Some(timestamps) = timestamps
                    && found.timestamps() != timestamps
                {
                    let is = stamp_name(found.timestamps()).to_owned();
                    add(plain, STAMP, is, stamp_name(timestamps));
                }
                // A replay of the past keeps all of its commands, and its stream time is theirs.
                // The rules in force may be those of the genesis or, by `bellhop rules`, those of
                // the configuration; a partition that is restored is compared with its own.
                if let Some(configured) = config.remembered
                    && found.timestamps() == Timestamps::Append
                {
                    let remembered = made_with.map_or(configured, |genesis| {
                        configured.max(genesis.rules.idempotency_time())
                    });
                    let most = i64::try_from(remembered.as_millis()).unwrap_or(i64::MAX);
                    let kept = found.number("retention.ms").unwrap_or(-1);
                    if kept < 0 || kept > most {
                        let wanted = format!(
                            "at most {most}: idempotency keys are remembered for {} h (idempotency_hours)",
                            remembered.as_secs() / 3_600
                        );
                        add(plain, "retention.ms", kept.to_string(), &wanted);
                    }
                }
            }
            Topic::Events | Topic::Parked => {
                for setting in ["retention.ms", "retention.bytes"] {
                    let kept = found.number(setting).unwrap_or(-1);
                    if topic == Topic::Events && kept >= 0 {
                        add(plain, setting, kept.to_string(), "-1 (everything is kept)");
                    }
                }
            }
        }
    }
    mismatches
}

/// Wakes a thread that waits for a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for one of the admin client's futures, which its own thread completes.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bellhop_core::rules::Rules;

    use super::*;

    fn found(partitions: u32, settings: &[(&str, &str)]) -> Found {
        let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Found { partitions, settings: settings.collect() }
    }

    fn good() -> BTreeMap<&'static str, Found> {
        let wanted = Wanted { partitions: 4, ..Wanted::default() };
        let all = NAMES.map(|plain| {
            let settings = wanted.settings(plain);
            let settings: Vec<_> = settings.iter().map(|(name, it)| (*name, it.as_str())).collect();
            (plain, found(4, &settings))
        });
        all.into()
    }

    fn named(found: &BTreeMap<&'static str, Found>) -> Vec<String> {
        let mut config = Config::new("a:1", "http://b");
        config.remembered = Some(Duration::from_secs(7 * 24 * 60 * 60));
        let mismatches = breaking(&config, found, Some(Timestamps::Append), None);
        mismatches.iter().map(ToString::to_string).collect()
    }

    fn made_with(partitions: u32) -> Genesis {
        Genesis {
            log_id: uuid::Uuid::nil(),
            partitions,
            key_rule: "murmur2".into(),
            format_version: 1,
            rules: Rules::default(),
        }
    }

    /// A log that was made to remember keys for a week, under another configuration.
    #[test]
    fn the_retention_of_commands_is_compared_with_the_rules_of_the_log() {
        let breaks = |configured_hours: u64, kept_hours: u64| -> (usize, bool) {
            let mut found = good();
            let commands = found.get_mut("bellhop.commands").unwrap();
            let kept = kept_hours * 3_600_000;
            commands.settings.insert("retention.ms".to_owned(), kept.to_string());
            let mut config = Config::new("a:1", "http://b");
            config.remembered = Some(Duration::from_secs(configured_hours * 3_600));
            let genesis = made_with(4);
            let refused = breaking(&config, &found, Some(Timestamps::Append), Some(&genesis)).len();
            (refused, kept_too_long(&config, &found, &genesis).is_some())
        };
        assert_eq!(breaks(24, 168), (0, false), "the log's own rules hold");
        assert_eq!(breaks(336, 336), (0, true), "unless the rules were changed");
        assert_eq!(breaks(168, 169), (1, true));
    }

    #[test]
    fn what_create_makes_breaks_nothing() {
        assert_eq!(named(&good()), Vec::<String>::new());
    }

    #[test]
    fn everything_that_would_break_a_promise_is_named() {
        let set = |topic: &str, setting: &str, value: &str| {
            let mut found = good();
            let topic = found.iter_mut().find(|(plain, _)| **plain == topic).unwrap().1;
            topic.settings.insert(setting.to_owned(), value.to_owned());
            named(&found)
        };
        for (topic, setting, value, expected) in [
            ("bellhop.commands", STAMP, "CreateTime", "wanted LogAppendTime"),
            ("bellhop.commands", "cleanup.policy", "compact", "wanted delete"),
            ("bellhop.commands", "retention.ms", "2592000000", "remembered for 168 h"),
            ("bellhop.commands", "retention.ms", "-1", "at most 604800000"),
            ("bellhop.events", "cleanup.policy", "compact,delete", "wanted delete"),
            ("bellhop.events", "retention.ms", "604800000", "everything is kept"),
            ("bellhop.events", "retention.bytes", "1", "everything is kept"),
            ("bellhop.parked", "max.message.bytes", "1048588", "at least 4194304"),
        ] {
            let named = set(topic, setting, value);
            assert_eq!(named.len(), 1, "{topic} {setting}: {named:?}");
            assert!(named[0].starts_with(&format!("{topic} has {setting} {value}")), "{named:?}");
            assert!(named[0].contains(expected), "{named:?}");
        }
        let mut fewer = good();
        fewer.get_mut("bellhop.events").unwrap().partitions = 3;
        assert_eq!(
            named(&fewer),
            ["bellhop.events has partitions 3, wanted 4, as many as the commands have"]
        );
        // A larger value can be decided, and parked, than the topic takes.
        let mut config = Config::new("a:1", "http://b");
        config.largest = Some(Largest::of(8 << 20));
        let breaks = breaking(&config, &good(), Some(Timestamps::Append), None);
        let breaks: Vec<_> = breaks.iter().map(ToString::to_string).collect();
        assert_eq!(breaks.len(), 1, "{breaks:?}");
        assert!(
            breaks[0].starts_with("bellhop.parked has max.message.bytes 4194304"),
            "{breaks:?}"
        );
        // All have grown: only the genesis knows how many there were.
        let mut grown = good();
        grown.values_mut().for_each(|topic| topic.partitions = 12);
        let config = Config::new("a:1", "http://b");
        assert_eq!(named(&grown), Vec::<String>::new());
        let breaks = breaking(&config, &grown, Some(Timestamps::Append), Some(&made_with(4)));
        let breaks: Vec<_> = breaks.iter().map(ToString::to_string).collect();
        assert_eq!(breaks.len(), 3, "{breaks:?}");
        assert_eq!(breaks[0], "bellhop.commands has partitions 12, wanted 4, as the log was made");
        let effects = |partitions| -> Vec<Effect> {
            let genesis = made_with(partitions);
            let found = breaking(&config, &grown, Some(Timestamps::Append), Some(&genesis));
            found.iter().map(|mismatch| mismatch.effect).collect()
        };
        assert_eq!(effects(4), [Effect::Astray; 3]);
        assert_eq!(effects(16), [Effect::Refused; 3], "partitions are gone");
        let mut missing = good();
        missing.remove("bellhop.parked");
        missing.remove("bellhop.replies");
        assert_eq!(named(&missing), ["bellhop.parked is missing"]);
    }
}
