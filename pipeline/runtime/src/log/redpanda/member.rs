//! A worker's membership.
//!
//! # Who owns a partition
//! The committed offset of a partition names its owner ([`Note`]). An owner claims it before its
//! first transaction and strikes its name out when it gives the partition up in order. So whoever
//! takes a partition over knows whether the one before is gone without a word, and then ends that
//! one's transactions before it restores: a zombie that wakes up later finds its producers fenced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop_core::message::Timestamp;
use bellhop_core::task::Progress;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::client::Watch;
use super::commit::{Committer, Job, Setup, marked};
use super::config::Guarantee;
use super::error;
use super::group::Group;
use super::native::{Producer, Single, TopicHandle};
use super::note::Note;
use super::source::{Committed, View};
use super::transactional::{TransactionalProducer, ids};
use super::{Number, Shared};
use crate::log::{
    Each, Ended, Error, ErrorKind, Identity, Log, Lookup, Polled, Reader, Topic, Transaction,
};

/// Where a partition that was never decided begins.
const BEGINNING: Progress = Progress { next_offset: 0, stream_time: Timestamp::MIN, history: None };

/// How often, while a partition is read, it is heard whether the group has changed.
const LISTEN_EVERY: u32 = 65_536;

/// Whether the committed offset of an owned partition names this owner.
#[derive(Debug, Clone, Copy)]
enum Claim {
    Made,
    /// Not yet; this is committed.
    Wanted(Option<Progress>),
}

/// A worker's membership in the log of a cluster.
pub struct Member {
    view: View,
    shared: Arc<Shared>,
    owner: String,
    /// Partitions that are owned and whose former owner was dealt with.
    known: BTreeMap<u32, Claim>,
    /// Former owners whose transactions were ended.
    fenced: BTreeSet<String>,
    /// Partitions that the last transaction of unknown end may have left undecided.
    unsettled: BTreeSet<u32>,
    commit: Option<Committer>,
    /// The partitions of the last transaction.
    submitted: Vec<u32>,
    /// Nobody knows how the last transaction ended.
    uncertain: bool,
    ticks: Option<(TopicHandle, Producer<Watch>)>,
    group: Group,
    /// Its number among the static members of this process.
    number: Number,
}

impl Member {
    pub(super) fn join(shared: &Arc<Shared>) -> Result<Self, Error> {
        let config = &shared.config;
        let owner = shared.owner();
        let number = shared.number();
        let instance = number.instance();
        let topic = config.topic(Topic::Commands);
        let name = number.client_id(&config.name);
        let settings = config.member(&config.group, &name, instance.as_deref());
        let group = Group::join(&settings, &topic)?;
        let mut member = Self {
            view: View::of_member(shared),
            shared: shared.clone(),
            owner,
            known: BTreeMap::new(),
            fenced: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            commit: None,
            submitted: Vec::new(),
            uncertain: false,
            ticks: None,
            group,
            number,
        };
        member.make_producers()?;
        Ok(member)
    }

    fn make_producers(&mut self) -> Result<(), Error> {
        let Identity { partitions, timestamps, .. } = self.shared.identity;
        self.commit = Some(Committer::start(Setup {
            config: self.shared.config.clone(),
            owner: self.owner.clone(),
            partitions,
            timestamps,
            bell: self.group.bell.clone(),
            marker: self.group.marker(),
        })?);
        Ok(())
    }

    /// Its name in the group, once it has one; a broker forgets it with the session, and then it
    /// is empty.
    #[must_use]
    pub fn member_id(&self) -> Option<String> {
        self.group.member_id()
    }

    /// Its name as a static member.
    #[must_use]
    pub fn instance(&self) -> Option<String> {
        self.number.instance()
    }

    /// The transactional ids of its producers.
    #[must_use]
    pub fn transactional_ids(&self) -> [String; 2] {
        ids(&self.owner)
    }

    /// Before a partition that was just assigned is read: ends what its former owner left, and
    /// waits until nothing of it is undecided.
    fn settle(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        let former = self.view.source.last_committed(partition)?.and_then(|it| it.note().owner);
        tracing::debug!(partition, former, owner = self.owner, "take over");
        // Lost and regained, while this worker's own transaction on it has not ended: nobody else
        // ends it.
        if self.has_under_way(partition) {
            return Err(error::retry(
                format!("take over partition {partition}"),
                "this worker's own transaction on it has not ended yet",
            ));
        }
        if let Some(former) = former.filter(|former| *former != self.owner) {
            self.fence(partition, &former)?;
        }
        let committed = self.view.source.stable_offset(Topic::Commands, partition)?;
        self.view.source.wait_stable(partition)?;
        Ok(committed.and_then(|committed| committed.progress()))
    }

    /// Whether this worker's own transaction on a partition has not ended.
    fn has_under_way(&self, partition: u32) -> bool {
        let under_way = self.commit.as_ref().is_some_and(Committer::is_under_way);
        under_way && self.submitted.contains(&partition)
    }

    /// Ends the transactions of an owner that is gone, and makes sure that it begins no other.
    fn fence(&mut self, partition: u32, former: &str) -> Result<(), Error> {
        if self.fenced.contains(former) {
            return Ok(());
        }
        tracing::info!(partition, former, "the former owner is gone: its transactions are ended");
        self.end_transactions(former)?;
        self.fenced.insert(former.to_owned());
        Ok(())
    }

    /// Ends what is open under the transactional ids of an owner; its producers are refused from
    /// now on.
    fn end_transactions(&self, former: &str) -> Result<(), Error> {
        let config = &self.shared.config;
        let [first, second] = ids(former);
        let ended = std::thread::scope(|scope| {
            let first = scope.spawn(|| TransactionalProducer::open(config, &first).map(drop));
            let second = TransactionalProducer::open(config, &second).map(drop);
            (first.join(), second)
        });
        let (Ok(first), second) = ended else {
            return Err(error::fix("end a former owner's transactions", "a thread panicked"));
        };
        for ended in [first, second] {
            match ended {
                Ok(()) => {}
                // Somebody else fences it at the same time, which does as well.
                Err(error) if error.kind == ErrorKind::Fenced => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes this owner's name where partitions were started and are not claimed yet.
    ///
    /// Without it only the take-over from this worker is slower, so what fails is tried again by
    /// the next poll.
    fn claim(&mut self) {
        let wanted = self.known.iter().filter_map(|(partition, claim)| match claim {
            Claim::Wanted(committed) if self.group.owns(*partition) => {
                Some((*partition, committed))
            }
            Claim::Wanted(_) | Claim::Made => None,
        });
        let claims: Vec<_> = wanted
            .map(|(partition, committed)| {
                let (offset, text) = match self.shared.config.guarantee {
                    Guarantee::ExactlyOnce => marked(*committed, Some(&self.owner)),
                    // Without a transaction there is nobody to be named: it says where decisions
                    // begin, so that a batch that does not end is decided again.
                    Guarantee::AtLeastOnce => marked(committed.or(Some(BEGINNING)), None),
                };
                (partition, Committed { offset, text })
            })
            .collect();
        if claims.is_empty() {
            return;
        }
        match self.group.commit(&claims) {
            Ok(()) => self.known.values_mut().for_each(|claim| *claim = Claim::Made),
            Err(error) => {
                let partitions: Vec<u32> = claims.iter().map(|(partition, _)| *partition).collect();
                tracing::debug!(%error, ?partitions, "partitions are not claimed yet");
            }
        }
    }

    /// Strikes this owner's name out of partitions that it gives up. Nothing is under way.
    fn disclaim(&mut self, partitions: &[u32]) -> Result<(), Error> {
        let mut marks = Vec::new();
        for partition in partitions {
            let committed = self.view.source.stable_offset(Topic::Commands, *partition)?;
            let Some(Committed { offset, text }) = committed else { continue };
            // Its own, or of one whose transactions it has ended.
            let ours = |owner: &String| *owner == self.owner || self.fenced.contains(owner);
            let Some(note) = Note::parse(&text).filter(|it| it.owner.as_ref().is_some_and(ours))
            else {
                continue;
            };
            let text = Note { owner: None, ..note }.write();
            marks.push((*partition, Committed { offset, text }));
        }
        if marks.is_empty() {
            return Ok(());
        }
        let until = Instant::now() + Duration::from_millis(500);
        loop {
            match self.group.commit(&marks) {
                Ok(()) => return Ok(()),
                Err(error) if is_rebalance(&error) && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error::of("give partitions up in order", error)),
            }
        }
    }

    fn disclaim_or_say(&mut self, partitions: &[u32]) {
        if let Err(error) = self.disclaim(partitions) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                ?partitions,
                error,
                "the next owner cannot know that these were given up in order, and fences this worker"
            );
        }
    }

    /// What brokers refuse to a member that they had let in (a right, a certificate, a password that
    /// is being changed), they may allow again: it is tried until then.
    fn soften<T>(&self, tried: Result<T, Error>) -> Result<T, Error> {
        tried.map_err(|mut error| {
            if error.kind == ErrorKind::FixInput && self.group.is_let_in() {
                error.kind = ErrorKind::Retry;
            }
            error
        })
    }

    fn forget(&mut self, partitions: &[u32]) {
        self.known.retain(|partition, _| !partitions.contains(partition));
    }

    fn tick_producer(&mut self) -> Result<&(TopicHandle, Producer<Watch>), Error> {
        let tried = "make the producer of ticks";
        if self.ticks.is_none() {
            let config = &self.shared.config;
            let producer = Producer::new(&config.producer(None), Watch::default());
            let producer = producer.map_err(|e| error::of(tried, e))?;
            let topic = TopicHandle::new(producer.native(), &config.topic(Topic::Commands));
            let topic = topic.ok_or_else(|| error::fix(tried, "librdkafka gives no topic"))?;
            self.ticks = Some((topic, producer));
        }
        match &self.ticks {
            Some(ticks) => Ok(ticks),
            None => Err(error::fix(tried, "there is none")),
        }
    }
}

fn is_rebalance(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(Code::RebalanceInProgress)
}

impl Reader for Member {
    fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    fn schema_of(&mut self, id: u32) -> Result<Lookup, Error> {
        self.shared.registry.schema_at_once(id)
    }

    fn first(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.view.first(topic, partition)
    }

    fn end(&mut self, topic: Topic, partition: u32) -> Result<u64, Error> {
        self.view.end(topic, partition)
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        from: u64,
        each: &mut Each<'_>,
    ) -> Result<u64, Error> {
        let Self { view, group, .. } = self;
        let mut read = 0_u32;
        view.read(topic, partition, from, &mut |record| {
            read = read.wrapping_add(1);
            if read.is_multiple_of(LISTEN_EVERY) && group.listen().is_err() {
                // The next poll says so again.
                tracing::debug!("the group has changed while a partition is read");
            }
            each(record)
        })
    }

    fn committed(&mut self, partition: u32) -> Result<Option<Progress>, Error> {
        if !self.group.owns(partition) || self.known.contains_key(&partition) {
            let committed = self.view.committed(partition)?;
            if self.unsettled.contains(&partition) {
                self.view.source.wait_stable(partition)?;
                self.unsettled.remove(&partition);
            }
            return Ok(committed);
        }
        let committed = self.settle(partition)?;
        self.unsettled.remove(&partition);
        self.known.insert(partition, Claim::Wanted(committed));
        Ok(committed)
    }
}

impl Log for Member {
    fn schema_id(&mut self, name: &str, schema: &str) -> Result<u32, Error> {
        self.shared.registry.id_of(name, schema)
    }

    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, Error> {
        self.claim();
        let Self { group, commit, .. } = self;
        let ended = || commit.as_ref().is_some_and(Committer::has_ended);
        let polled = group.poll(records_max, wait, ended)?;
        match &polled {
            Polled::Assigned(partitions) | Polled::Lost(partitions) => self.forget(partitions),
            Polled::Batch(_) | Polled::Revoked(_) | Polled::Idle => {}
        }
        Ok(polled)
    }

    fn start(&mut self, partition: u32, next_offset: u64) -> Result<(), Error> {
        if self.group.owns(partition) && !self.known.contains_key(&partition) {
            self.committed(partition)?;
        }
        let mut from = next_offset;
        let (low, _) = self.view.source.bounds(Topic::Commands, partition)?;
        if next_offset < low {
            let never = matches!(self.known.get(&partition), Some(Claim::Wanted(None)));
            if next_offset > 0 || !never {
                let topic = self.shared.config.topic(Topic::Commands);
                return Err(error::fix(
                    format!("go on at offset {next_offset} of {topic}, partition {partition}"),
                    format!(
                        "its records before {low} are deleted and were not decided: the topic's retention is shorter than bellhop was down; to go on without them, stop all workers, move the group's offset to {low} and start them"
                    ),
                ));
            }
            tracing::info!(partition, low, "a new partition begins behind what retention deleted");
            from = low;
            if self.events_run_ahead() {
                let begun = Progress { next_offset: low, ..BEGINNING };
                self.known.insert(partition, Claim::Wanted(Some(begun)));
            }
        }
        self.group.start(partition, from)
    }

    fn pause(&mut self, partition: u32) -> Result<(), Error> {
        self.group.pause(partition)
    }

    /// # Panics
    /// When another transaction is under way.
    fn submit(&mut self, transaction: Transaction) -> Result<(), Error> {
        // A last look, so that what is known to be lost is not even tried.
        self.group.listen()?;
        let tried = "submit a transaction";
        let Some(commit) = &mut self.commit else {
            return Err(error::retry(tried, "there are no producers; recover first"));
        };
        // Brokers look at the member, not at its partitions.
        if transaction.parts.iter().any(|part| !self.group.owns(part.partition)) {
            commit.refuse(transaction);
            return Ok(());
        }
        let Some(member) = self.group.metadata() else {
            return Err(error::retry(tried, "this worker is not a member yet; poll first"));
        };
        for part in &transaction.parts {
            // The transaction claims it; a later claim would move the offset back.
            self.known.insert(part.partition, Claim::Made);
        }
        self.submitted = transaction.parts.iter().map(|part| part.partition).collect();
        commit.submit(Job { transaction, member })
    }

    fn ended(&mut self, wait: Duration) -> Result<Option<(Transaction, Ended)>, Error> {
        let until = Instant::now() + wait;
        let Some(commit) = self.commit.as_mut().filter(|commit| commit.is_under_way()) else {
            return Ok(None);
        };
        let done = loop {
            if let Some(done) = commit.take() {
                break done;
            }
            if !self.group.bell.wait_until(until) {
                // It may have ended at this very moment.
                match commit.take() {
                    Some(done) => break done,
                    None if commit.is_stuck() => {
                        self.uncertain = true;
                        return Err(error::retry(
                            "commit a transaction",
                            "the client does not come back from it, and the brokers have aborted it; its producers are made anew",
                        ));
                    }
                    None => return Ok(None),
                }
            }
        };
        // What else the bell has rung for is looked for by the next poll.
        self.group.bell.ring();
        self.uncertain =
            !matches!(done, Ok((_, Ended::Committed | Ended::Aborted | Ended::Refused)));
        let (transaction, ended) = self.soften(done)?;
        if matches!(ended, Ended::Aborted | Ended::Refused) {
            self.group.set_stale();
            if self.group.is_lost() {
                tracing::debug!("aborted: the broker has thrown this worker out");
            }
        }
        Ok(Some((transaction, ended)))
    }

    fn recover(&mut self) -> Result<(), Error> {
        self.group.check_membership()?;
        // The old ones first: they must not be heard any more.
        self.commit = None;
        // A new name: whoever has fenced the former one has done so for good.
        let former = std::mem::replace(&mut self.owner, self.shared.owner());
        self.unsettled.extend(self.known.keys());
        if self.shared.config.guarantee == Guarantee::ExactlyOnce {
            let ended = self.end_transactions(&former);
            if ended.is_err() {
                self.owner.clone_from(&former);
            }
            self.soften(ended)?;
            self.fenced.insert(former);
        }
        let made = self.make_producers();
        self.soften(made)?;
        self.uncertain = false;
        Ok(())
    }

    fn release(&mut self, partitions: &[u32]) -> Result<(), Error> {
        if !self.group.is_lost() {
            self.group.check_membership()?;
            let owned: Vec<u32> =
                partitions.iter().copied().filter(|it| self.group.owns(*it)).collect();
            self.disclaim_or_say(&owned);
        }
        self.forget(partitions);
        self.group.release(partitions)
    }

    fn events_run_ahead(&self) -> bool {
        self.shared.config.guarantee == Guarantee::AtLeastOnce
    }

    fn append_tick(&mut self, partition: u32, value: &[u8]) -> Result<(), Error> {
        let name = self.shared.config.topic(Topic::Commands);
        let (topic, producer) = self.tick_producer()?;
        // Errors of former ticks; a tick that is lost is sent again when its time has come.
        producer.poll(Duration::ZERO);
        let (home, headers) = (Some(partition), std::iter::empty());
        let tick = Single { partition: home, key: None, value, headers, timestamp: None, tag: 0 };
        topic.produce_single(producer.native(), &tick, || false).map_err(|(code, _)| {
            error::of_code(format!("append a tick to {name}, partition {partition}"), code, "")
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // First what is under way ends, then the partitions are given up, then the group is left.
        let known = self.commit.take().is_none_or(Committer::close) && !self.uncertain;
        // Where that is not known, the name stays, and the next owner finds out.
        if known && !self.group.is_lost() {
            let owned: Vec<u32> = self.group.owned().collect();
            self.disclaim_or_say(&owned);
        }
        if let Some((_, ticks)) = &self.ticks
            && !ticks.flush(Duration::from_millis(200))
        {
            tracing::debug!("ticks were not sent");
        }
    }
}
