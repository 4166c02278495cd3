//! Membership in a group: which partitions are owned, and the records of those that are started.
//!
//! librdkafka tells of a rebalance and waits until it is answered. An assignment is answered at
//! once, with every partition paused: its records come only after [`Group::start`]. A revocation is
//! answered by [`Group::release`], so that nobody else gets the partition before. What was lost is
//! answered at once, too: somebody else may have it already.
//!
//! # Invariants
//! 1. The member rejoins only after its answer, so the group metadata taken when a change was heard
//!    ([`Group::metadata`]) never belongs to a generation in which a partition was lost unheard.
//! 2. The metadata of a consumer that is not a member (generation -1) is never used: brokers take
//!    it from everybody.
//! 3. Partitions are held under one name of the member. While an answer is owed, librdkafka does not
//!    look whether the session is over, and a broker that does not know the member any more only
//!    makes it forget its name: the next one is another member's, and what is held under the former
//!    is another's. So a name that has changed ends the membership, and is never used.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::client::{Bell, list, log};
use super::error;
use super::native::{Consumed, GroupMetadata, Queue};
use super::source::Committed;
use crate::log::{Batch, Builder, Error, ErrorKind, Polled};

/// Messages that are taken at once.
const TAKE: usize = 10_000;
/// How long librdkafka may take to do what it does in another thread.
const PROMPT: Duration = Duration::from_secs(10);

/// How often librdkafka is asked though it has said nothing.
const ASK: Duration = Duration::from_secs(1);

/// How often a client that is refused, after it had been let in, is spoken of.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// How long after a revocation the assignment that belongs to it is waited for.
const FOLLOWS: Duration = Duration::from_millis(100);

/// How long a revocation is withheld; the worker keeps deciding meanwhile.
///
/// librdkafka joins a group at most once a second (`rkcg_join_intvl`): the member that has just come,
/// for which they are asked back, could not take them earlier, and they would stand still meanwhile.
/// What it costs the partitions that stay, as `partitions_that_stay_go_on_while_others_are_handed_over`
/// measured it on two busy cores (longest pause of one, by hand-over): withheld 40, 114, 182, 199, 320
/// and 927 ms, answered at once 65, 72, 78, 81, 98 and 261 ms.
const KEPT: Duration = Duration::from_millis(600);

/// What the group has decided and nobody has heard yet.
enum Change {
    Assigned(Vec<u32>),
    Revoked { partitions: Vec<u32>, lost: bool, since: Instant },
    Failed(Code, String),
}

/// Hears librdkafka's word of a rebalance.
#[derive(Default)]
pub(super) struct Ear {
    changes: Mutex<VecDeque<Change>>,
    /// Nobody listens any more: everything is agreed to.
    closing: AtomicBool,
}

impl Ear {
    fn push(&self, change: Change) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
    }

    fn is_empty(&self) -> bool {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn next(&self) -> Option<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// When the next change is to be told, if it is not yet.
    fn kept_until(&self) -> Option<Instant> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Change::Revoked { lost: false, since, .. }) = changes.front() else { return None };
        Some(*since + KEPT).filter(|until| *until > Instant::now())
    }
}

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        self.push(Change::Failed(code, reason.to_owned()));
    }
}

impl ConsumerContext for Ear {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        changed: &mut TopicPartitionList,
    ) {
        let assigned = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            let answered = if assigned {
                consumer.incremental_assign(changed)
            } else {
                consumer.incremental_unassign(changed)
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "leave the group");
            }
            return;
        }
        let elements = changed.elements();
        let partitions = elements.iter().map(|it| it.partition().cast_unsigned());
        let mut partitions: Vec<u32> = partitions.collect();
        partitions.sort_unstable();
        if assigned && partitions.is_empty() {
            // Nothing to restore, so nobody is waited for.
            if let Err(error) = consumer.incremental_assign(changed) {
                tracing::debug!(%error, "answer an empty assignment");
            }
        }
        self.push(if assigned {
            Change::Assigned(partitions)
        } else {
            Change::Revoked { partitions, lost: consumer.assignment_lost(), since: Instant::now() }
        });
    }
}

/// A partition that is owned.
#[derive(Debug, Default)]
struct Held {
    /// Records from this offset on may come; none while it is not started.
    next: Option<u64>,
    /// To be given up when it is released.
    revoking: bool,
}

/// A membership.
pub(super) struct Group {
    topic: String,
    topic_c: CString,
    owned: BTreeMap<u32, Held>,
    ready: VecDeque<Batch>,
    /// Asked back and released, while others that were asked back with them are not.
    released: Vec<u32>,
    metadata: Option<Arc<GroupMetadata>>,
    /// When librdkafka was last asked: a member that does not ask for `max.poll.interval.ms` is
    /// thrown out of the group.
    asked: Cell<Instant>,
    /// Partitions that cannot be read from where they are, to be started anew.
    broken: Vec<u32>,
    /// The brokers have let this member in: what they refuse later is tried until they let it again.
    let_in: bool,
    /// When a refusal was last spoken of.
    said: Option<Instant>,
    /// The member's name under which partitions are held.
    held_as: Option<String>,
    /// Something of the group may have changed since the metadata was taken.
    stale: bool,
    pub(super) bell: Arc<Bell>,
    records: Queue,
    /// Changes and errors.
    news: Queue,
    consumer: Arc<BaseConsumer<Ear>>,
}

impl Group {
    pub(super) fn join(config: &ClientConfig, topic: &str) -> Result<Self, Error> {
        let tried = || format!("join the group that reads {topic}");
        let consumer: BaseConsumer<Ear> =
            config.create_with_context(Ear::default()).map_err(|e| error::of(tried(), e))?;
        let native = consumer.client().native_ptr();
        let (records, news) = (Queue::new(native), Queue::of_consumer(native));
        let (Some(mut records), Some(mut news)) = (records, news) else {
            return Err(error::fix(tried(), "librdkafka gives no queue"));
        };
        let bell = Arc::new(Bell::default());
        for queue in [&mut records, &mut news] {
            let bell = bell.clone();
            queue.on_nonempty(move || bell.ring());
        }
        consumer.subscribe(&[topic]).map_err(|e| error::of(tried(), e))?;
        let topic_c = CString::new(topic)
            .map_err(|_| error::fix(tried(), "the topic's name holds a zero byte"))?;
        Ok(Self {
            topic: topic.to_owned(),
            topic_c,
            owned: BTreeMap::new(),
            ready: VecDeque::new(),
            released: Vec::new(),
            metadata: None,
            asked: Cell::new(Instant::now()),
            broken: Vec::new(),
            let_in: false,
            said: None,
            held_as: None,
            stale: true,
            bell,
            records,
            news,
            consumer: Arc::new(consumer),
        })
    }

    pub(super) fn owns(&self, partition: u32) -> bool {
        self.owned.contains_key(&partition)
    }

    pub(super) fn owned(&self) -> impl Iterator<Item = u32> {
        self.owned.keys().copied()
    }

    /// Who this member was when it last heard of its partitions.
    pub(super) fn metadata(&self) -> Option<Arc<GroupMetadata>> {
        self.metadata.clone()
    }

    /// Whether the brokers have ever let this member in.
    pub(super) fn is_let_in(&self) -> bool {
        self.let_in
    }

    /// An error that somebody has to act on: told, and tried on, by a member that was let in before.
    fn refused(&mut self, error: Error) -> Result<(), Error> {
        if !self.let_in {
            return Err(error);
        }
        if self.said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            self.said = Some(Instant::now());
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the brokers refuse this worker now: it goes on to try");
        }
        Ok(())
    }

    /// The member's name as it is now; empty while it has none.
    pub(super) fn member_id(&self) -> Option<String> {
        GroupMetadata::of(self.consumer.client().native_ptr()).map(|now| now.member_id())
    }

    /// The metadata is taken anew by the next poll.
    pub(super) fn set_stale(&mut self) {
        self.stale = true;
    }

    /// Hears what librdkafka has to say, without waiting; what it is stays to be polled.
    pub(super) fn listen(&self) -> Result<(), Error> {
        while self.news.len() > 0 || self.asked.get().elapsed() >= ASK {
            self.asked.set(Instant::now());
            match self.consumer.poll(Duration::ZERO) {
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    let tried = format!("stay in the group that reads {}", self.topic);
                    let mut error = error::of_code(tried, code, "");
                    error.kind = ErrorKind::Fenced;
                    return Err(error);
                }
                Some(Err(error)) => {
                    let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                    self.consumer.context().push(Change::Failed(code, error.to_string()));
                }
                Some(Ok(_)) | None => {}
            }
        }
        Ok(())
    }

    /// As `Log::poll`; `interrupted` says that there is something else to do.
    pub(super) fn poll(
        &mut self,
        records_max: usize,
        wait: Duration,
        mut interrupted: impl FnMut() -> bool,
    ) -> Result<Polled, Error> {
        let until = Instant::now() + wait;
        loop {
            let change = self.next_change()?;
            if self.stale {
                self.take_metadata()?;
            }
            if let Some(polled) = change {
                return Ok(polled);
            }
            if let Some(batch) = self.next_batch(records_max)? {
                return Ok(Polled::Batch(batch));
            }
            if !self.broken.is_empty() {
                let broken = std::mem::take(&mut self.broken);
                self.stop(&broken)?;
                return Ok(Polled::Assigned(broken));
            }
            let kept = self.consumer.context().kept_until();
            let wake = kept.map_or(until, |kept| kept.min(until));
            if interrupted() || (!self.bell.wait_until(wake) && Instant::now() >= until) {
                return Ok(Polled::Idle);
            }
        }
    }

    fn next_change(&mut self) -> Result<Option<Polled>, Error> {
        self.listen()?;
        // A partition that was asked back and then lost is not asked back again.
        let revoking = self.revoking();
        if !revoking.is_empty() && self.consumer.assignment_lost() {
            let mut given = std::mem::take(&mut self.released);
            given.extend(&revoking);
            self.give_up(&given)?;
            return Ok(Some(Polled::Lost(revoking)));
        }
        let ear = self.consumer.context().clone();
        while (ear.kept_until().is_none() || self.consumer.assignment_lost())
            && let Some(change) = ear.next()
        {
            match change {
                Change::Assigned(partitions) => {
                    self.stale = true;
                    if !partitions.is_empty() {
                        self.take_over(&partitions)?;
                        return Ok(Some(Polled::Assigned(partitions)));
                    }
                }
                Change::Revoked { partitions, lost, .. } => {
                    self.stale = true;
                    if lost || partitions.is_empty() {
                        self.give_up(&partitions)?;
                        if !partitions.is_empty() {
                            return Ok(Some(Polled::Lost(partitions)));
                        }
                    } else {
                        for partition in &partitions {
                            self.owned.entry(*partition).or_default().revoking = true;
                        }
                        // Its records are another's now; what is on its way is dropped.
                        self.stop(&partitions)?;
                        return Ok(Some(Polled::Revoked(partitions)));
                    }
                }
                Change::Failed(code, text) => {
                    let tried = format!("read {} in its group", self.topic);
                    let error = error::of_code(tried, code, &text);
                    match error.kind {
                        // librdkafka goes on to try, and a lost session comes as a change.
                        ErrorKind::Retry | ErrorKind::Fenced => {
                            tracing::debug!(%error, text, "the group");
                        }
                        ErrorKind::Corrupt | ErrorKind::FixInput => self.refused(error)?,
                    }
                }
            }
        }
        Ok(None)
    }

    fn take_metadata(&mut self) -> Result<(), Error> {
        // What was lost comes as a change.
        if self.is_lost() {
            return Ok(());
        }
        let Some(now) = GroupMetadata::of(self.consumer.client().native_ptr()) else {
            return Ok(());
        };
        self.check_name(&now)?;
        // Not a member at the moment: what was known before is refused by the broker, as it must.
        if now.generation() >= 0 {
            self.let_in = true;
            self.held_as = Some(now.member_id());
            self.metadata = Some(Arc::new(now));
            self.stale = false;
        }
        Ok(())
    }

    /// # Errors
    /// [`ErrorKind::Fenced`] when partitions are held under another name than the present one.
    fn check_name(&self, now: &GroupMetadata) -> Result<(), Error> {
        let changed = self.held_as.as_ref().is_some_and(|held| *held != now.member_id());
        if self.owned.is_empty() || !changed {
            return Ok(());
        }
        let tried = format!("keep the partitions of {}", self.topic);
        let mut error = error::fix(tried, "the group has thrown this member out; join again");
        error.kind = ErrorKind::Fenced;
        Err(error)
    }

    /// Makes sure that all that is held is held under the present name.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when it is not.
    pub(super) fn check_membership(&mut self) -> Result<(), Error> {
        self.stale = true;
        self.take_metadata()
    }

    fn take_over(&mut self, partitions: &[u32]) -> Result<(), Error> {
        let tried = || format!("take over {} {partitions:?}", self.topic);
        let paused = list(&self.topic, partitions.iter().copied());
        for partition in partitions {
            self.records.forward(self.consumer.client().native_ptr(), &self.topic_c, *partition);
        }
        self.consumer.pause(&paused).map_err(|e| error::of(tried(), e))?;
        let mut assigned = TopicPartitionList::new();
        for partition in partitions {
            // Any offset does: nothing is fetched before it is started at its own.
            assigned
                .add_partition_offset(&self.topic, partition.cast_signed(), Offset::Offset(0))
                .map_err(|e| error::of(tried(), e))?;
        }
        self.consumer.incremental_assign(&assigned).map_err(|e| error::of(tried(), e))?;
        for partition in partitions {
            self.owned.insert(*partition, Held::default());
        }
        Ok(())
    }

    /// Answers that partitions are given up.
    fn give_up(&mut self, partitions: &[u32]) -> Result<(), Error> {
        let tried = || format!("give up {} {partitions:?}", self.topic);
        self.owned.retain(|partition, _| !partitions.contains(partition));
        self.ready.retain(|batch| !partitions.contains(&batch.partition()));
        let given = list(&self.topic, partitions.iter().copied());
        self.consumer.incremental_unassign(&given).map_err(|e| error::of(tried(), e))
    }

    /// Partitions that were asked back and are not released.
    fn revoking(&self) -> Vec<u32> {
        let revoking = self.owned.iter().filter(|(_, held)| held.revoking);
        revoking.map(|(partition, _)| *partition).collect()
    }

    /// As `Log::release`.
    pub(super) fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        self.check_membership()?;
        let mut given = self.revoking();
        given.retain(|partition| partitions.contains(partition));
        self.owned.retain(|partition, _| !given.contains(partition));
        self.released.extend(given);
        // librdkafka takes one answer for all that it asked back.
        if !self.released.is_empty() && self.revoking().is_empty() {
            let released = std::mem::take(&mut self.released);
            self.give_up(&released)?;
            // The group goes on once the assignment that follows is answered, too: at once, not
            // when the worker polls again.
            let until = Instant::now() + FOLLOWS;
            while self.consumer.context().is_empty() && Instant::now() < until {
                self.listen()?;
                self.bell.wait_until(Instant::now() + Duration::from_millis(1));
            }
            self.bell.ring();
        }
        Ok(())
    }

    /// As `Log::start`.
    pub(super) fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        let tried = || format!("start {}, partition {partition} at {next_offset}", self.topic);
        let Some(held) = self.owned.get_mut(&partition) else {
            let mut error = error::fix(tried(), "it is not owned; join again");
            error.kind = ErrorKind::Fenced;
            return Err(error);
        };
        held.next = Some(next_offset);
        self.ready.retain(|batch| batch.partition() != partition);
        let until = Instant::now() + PROMPT;
        loop {
            let mut seek = TopicPartitionList::new();
            seek.add_partition_offset(
                &self.topic,
                partition.cast_signed(),
                Offset::Offset(next_offset.cast_signed()),
            )
            .map_err(|e| error::of(tried(), e))?;
            let sought = self.consumer.seek_partitions(seek, PROMPT);
            let failed = match sought {
                Ok(sought) => sought.elements().iter().find_map(|it| it.error().err()),
                Err(error) => Some(error),
            };
            match failed {
                None => break,
                // The assignment is still on its way to librdkafka's other threads.
                Some(error) if Instant::now() < until => {
                    tracing::trace!(%error, partition, "seek again");
                    std::thread::sleep(Duration::from_millis(1));
                }
                Some(error) => return Err(error::of(tried(), error)),
            }
        }
        let resumed = list(&self.topic, [partition]);
        self.consumer.resume(&resumed).map_err(|e| error::of(tried(), e))
    }

    /// As `Log::pause`.
    pub(super) fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.stop(&[partition])
    }

    fn stop(&mut self, partitions: &[u32]) -> Result<(), Error> {
        for partition in partitions {
            if let Some(held) = self.owned.get_mut(partition) {
                held.next = None;
            }
        }
        self.ready.retain(|batch| !partitions.contains(&batch.partition()));
        let paused = list(&self.topic, partitions.iter().copied());
        let tried = || format!("pause {} {partitions:?}", self.topic);
        self.consumer.pause(&paused).map_err(|e| error::of(tried(), e))
    }

    fn next_batch(&mut self, records_max: usize) -> Result<Option<Batch>, Error> {
        if records_max == 0 {
            return Ok(None);
        }
        if self.ready.is_empty() {
            self.fetch(records_max.min(TAKE))?;
        }
        let Some(mut batch) = self.ready.pop_front() else { return Ok(None) };
        if batch.len() <= records_max {
            return Ok(Some(batch));
        }
        let first = batch.split_to(records_max);
        self.ready.push_front(batch);
        Ok(Some(first))
    }

    /// Takes what has come, a batch for each run of records of one partition.
    fn fetch(&mut self, most: usize) -> Result<(), Error> {
        let Self { records, owned, ready, topic, broken, .. } = self;
        let mut run: Option<(u32, Builder)> = None;
        let mut failed = None;
        records.consume(Duration::ZERO, most, |consumed| match consumed {
            Consumed::Record(partition, record) => {
                let next = owned.get_mut(&partition).and_then(|held| held.next.as_mut());
                // Of a partition that was paused, or started anew, since.
                let Some(next) = next.filter(|next| record.offset >= **next) else { return };
                *next = record.offset + 1;
                match &mut run {
                    Some((of, builder)) if *of == partition => builder.push(&record),
                    other => {
                        let mut builder = Builder::with_capacity(1 << 12);
                        builder.push(&record);
                        if let Some((of, builder)) = other.replace((partition, builder)) {
                            ready.push_back(builder.finish(of));
                        }
                    }
                }
            }
            Consumed::End(..) => {}
            Consumed::Failed(partition, code, text) => {
                let tried = format!("read {topic}, partition {partition}");
                let error = error::of_code(tried, code, &text);
                match (error.kind, code) {
                    (ErrorKind::Retry | ErrorKind::Fenced, _) => {
                        tracing::debug!(partition, %error, text, "reading goes on");
                    }
                    (_, Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                        tracing::debug!(partition, %error, text, "start anew");
                        broken.push(partition);
                    }
                    (ErrorKind::Corrupt | ErrorKind::FixInput, _) => failed = Some(error),
                }
            }
        });
        if let Some((of, builder)) = run {
            ready.push_back(builder.finish(of));
        }
        failed.map_or(Ok(()), |error| self.refused(error))
    }

    /// Commits offsets of owned partitions, at once, as the member that holds them.
    ///
    /// Brokers look at the member, not at its partitions; and one that is thrown out has no
    /// generation, which they take from everybody.
    pub(super) fn commit(&self, offsets: &[(u32, Committed)]) -> Result<(), KafkaError> {
        let now = GroupMetadata::of(self.consumer.client().native_ptr());
        let held = now.is_some_and(|now| now.generation() >= 0 && self.check_name(&now).is_ok());
        let owned = offsets.iter().all(|(partition, _)| self.owns(*partition));
        if !held || !owned || self.is_lost() {
            return Err(KafkaError::ConsumerCommit(Code::UnknownMemberId));
        }
        commit(&self.consumer, &self.topic, offsets)
    }

    /// Commits from another thread.
    pub(super) fn marker(&self) -> Marker {
        Marker { topic: self.topic.clone(), consumer: Arc::downgrade(&self.consumer) }
    }

    /// Whether the broker has thrown the member out.
    pub(super) fn is_lost(&self) -> bool {
        self.consumer.assignment_lost()
    }
}

fn commit(
    consumer: &BaseConsumer<Ear>,
    topic: &str,
    offsets: &[(u32, Committed)],
) -> Result<(), KafkaError> {
    let mut marks = TopicPartitionList::new();
    for (partition, committed) in offsets {
        let partition = partition.cast_signed();
        let offset = Offset::Offset(committed.offset.cast_signed());
        marks.add_partition_offset(topic, partition, offset)?;
        if let Some(mut mark) = marks.find_partition(topic, partition) {
            mark.set_metadata(committed.text.as_str());
        }
    }
    consumer.commit(&marks, rdkafka::consumer::CommitMode::Sync)?;
    marks.elements().iter().try_for_each(|mark| mark.error())
}

/// Commits offsets as a member, from a thread that may outlive the membership.
pub(super) struct Marker {
    topic: String,
    consumer: Weak<BaseConsumer<Ear>>,
}

impl Marker {
    /// As [`Group::commit`]; `None` when the membership is gone.
    pub(super) fn commit(&self, offsets: &[(u32, Committed)]) -> Option<Result<(), KafkaError>> {
        let consumer = self.consumer.upgrade()?;
        Some(commit(&consumer, &self.topic, offsets))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // librdkafka waits for answers before it leaves.
        self.consumer.context().closing.store(true, Ordering::SeqCst);
        let mut unanswered = self.revoking();
        unanswered.append(&mut self.released);
        let mut answers = Vec::new();
        while let Some(change) = self.consumer.context().next() {
            match change {
                Change::Assigned(partitions) => {
                    let assigned = list(&self.topic, partitions);
                    answers.push(self.consumer.incremental_assign(&assigned));
                }
                Change::Revoked { partitions, .. } => unanswered.extend(partitions),
                Change::Failed(..) => {}
            }
        }
        if !unanswered.is_empty() {
            let unanswered = list(&self.topic, unanswered);
            answers.push(self.consumer.incremental_unassign(&unanswered));
        }
        for error in answers.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "leave the group");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::redpanda::Config;

    #[test]
    fn a_refusal_ends_a_member_that_was_never_let_in_and_no_other() {
        let config =
            Config::new("127.0.0.1:9", "http://127.0.0.1:9").member("group", "worker", None);
        let mut group = Group::join(&config, "topic").unwrap();
        for code in [Code::Authentication, Code::SSL, Code::TopicAuthorizationFailed] {
            let refusal = || Change::Failed(code, "no".to_owned());
            group.let_in = false;
            group.consumer.context().push(refusal());
            let error = group.poll(1, Duration::ZERO, || false).unwrap_err();
            assert_eq!(error.kind, ErrorKind::FixInput, "{error}");
            group.let_in = true;
            group.consumer.context().push(refusal());
            let polled = group.poll(1, Duration::ZERO, || false).unwrap();
            assert!(matches!(polled, Polled::Idle), "{polled:?}");
        }
    }
}
