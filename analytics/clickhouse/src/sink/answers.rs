//! What the server has answered, and what follows.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellhop_ledger::decode::Learnt;
use bellhop_runtime::log::{ErrorKind as LogErrorKind, Reader, Topic};

use super::{SLACK, Sink, is_full, restart, waits, writer};
use crate::batch::{Batch, Building};
use crate::error::{Error, ErrorKind};
use crate::flight::Landed;
use crate::lane::{Planned, State};
use crate::plan::Plan;
use crate::pool::{Answer, Done};
use crate::takeover::GoOn;

/// Pause before a view that lacks a batch is looked at again.
const UNSETTLED: Duration = Duration::from_millis(500);

impl Sink {
    pub(super) fn take_answers(&mut self, wait: Duration) -> Result<(), Error> {
        let mut next = self.pool.answer(wait);
        while let Some(answer) = next {
            self.answered(answer)?;
            next = self.pool.answer(Duration::ZERO);
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.resume()
    }

    /// Lets the events of lanes come that have room again.
    fn resume(&mut self) -> Result<(), Error> {
        for (partition, lane) in &mut self.lanes {
            let is_open = !matches!(lane.state, State::Looking | State::LookAgain(_))
                && lane.held_until.is_none_or(|until| Instant::now() >= until);
            if lane.paused && is_open && !lane.leaving && !is_full(lane, &self.config) {
                restart(self.consumer.as_mut(), *partition, lane)?;
            }
        }
        Ok(())
    }

    fn answered(&mut self, answer: Answer) -> Result<(), Error> {
        let Answer { partition, turn, done, clock_ahead } = answer;
        self.clock_ahead = clock_ahead.unwrap_or(self.clock_ahead);
        let Some(lane) = self.lanes.get_mut(&partition).filter(|lane| lane.turn == turn) else {
            // Asked for before the partition went to somebody else.
            return Ok(());
        };
        match (std::mem::replace(&mut lane.state, State::Idle), done) {
            (State::Flying(planned), Done::Flown(flown)) => self.flown(partition, planned, flown),
            (State::Looking, Done::Looked(Ok(go_on))) => self.go_on(partition, go_on),
            (State::Looking, Done::Looked(Err(error))) => {
                let again = self.failed(partition, error);
                if let Some(lane) = self.lanes.get_mut(&partition) {
                    lane.state = State::LookAgain(again);
                }
                Ok(())
            }
            (state, _) => {
                lane.state = state;
                Ok(())
            }
        }
    }

    fn flown(
        &mut self,
        partition: u32,
        mut planned: Planned,
        flown: Result<Landed, Error>,
    ) -> Result<(), Error> {
        let now = Instant::now();
        let at = match flown {
            Ok(Landed::All) => {
                self.status.events += planned.batch.events;
                self.status.rows += planned.batch.rows();
                self.status.batches += 1;
                if let Some(lane) = self.lanes.get_mut(&partition) {
                    lane.landed = planned.batch.plan.last.cast_signed();
                    lane.unmarked = true;
                    lane.ladder.reset();
                }
                return Ok(());
            }
            Ok(Landed::Burnt(target)) => {
                tracing::warn!(
                    partition,
                    target,
                    "a token is used up without its rows; another is planned"
                );
                let batch = Arc::make_mut(&mut planned.batch);
                if let Some(burnt) = batch.plan.burnt.get_mut(target) {
                    *burnt += 1;
                }
                now
            }
            Ok(Landed::Unsettled) => now + UNSETTLED,
            // Its tables have other rows of this batch than it has.
            Err(error @ Error::Tables { .. }) => {
                self.status.retries += 1;
                let last = planned.batch.plan.previous;
                return self.hold(partition, last, error.to_string());
            }
            Err(error) => {
                planned.settled_at = Some(now + self.config.plan_ttl + SLACK);
                self.failed(partition, error)
            }
        };
        planned.fresh = false;
        planned.settled_at.get_or_insert(now + self.config.plan_ttl + SLACK);
        if let Some(lane) = self.lanes.get_mut(&partition) {
            lane.state = State::Sealed(planned, at);
        }
        Ok(())
    }

    /// When to try again; what waiting does not mend stops the sink.
    fn failed(&mut self, partition: u32, error: Error) -> Instant {
        let now = Instant::now();
        self.status.retries += 1;
        if error.kind() != ErrorKind::Retry {
            self.failed = Some(error);
            return now;
        }
        let Some(lane) = self.lanes.get_mut(&partition) else { return now };
        let pause = lane.ladder.next(&self.config.ladder);
        tracing::warn!(partition, %error, "ClickHouse failed; the batch is kept");
        now + pause.unwrap_or_else(|| {
            self.circuit.open(now, self.config.circuit_open);
            lane.ladder.reset();
            self.config.circuit_open
        })
    }

    /// A partition goes on: from an event, or with a plan that somebody has left.
    fn go_on(&mut self, partition: u32, go_on: GoOn) -> Result<(), Error> {
        let batch = match go_on {
            GoOn::From { next, previous, agreed } => {
                let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
                lane.damage = None;
                lane.building = Building::behind(previous);
                (lane.next, lane.landed, lane.state) = (next, previous, State::Idle);
                (lane.unmarked, lane.count_next) = (true, !agreed);
                return restart(self.consumer.as_mut(), partition, lane);
            }
            GoOn::Finish(plan) => self.reread(partition, &plan)?,
            GoOn::Held { last, why } => {
                return self.hold(partition, last, why);
            }
        };
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
        let now = Instant::now();
        let Some(batch) = batch else {
            lane.state = State::LookAgain(now + UNSETTLED);
            return Ok(());
        };
        lane.damage = None;
        let plan = &batch.plan;
        (lane.landed, lane.next) = (plan.previous, plan.last + 1);
        lane.building = Building::behind(plan.last.cast_signed());
        let settled_at = now + self.config.plan_ttl + SLACK;
        lane.state = State::Sealed(Planned::counted(batch, settled_at), now);
        restart(self.consumer.as_mut(), partition, lane)
    }

    /// Holds a partition until its tables are right; `last` is its last event in `events`.
    fn hold(&mut self, partition: u32, last: i64, why: String) -> Result<(), Error> {
        self.pause(partition)?;
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
        if lane.damage.as_ref() != Some(&why) {
            tracing::error!(partition, "a partition is held, the others go on: {why}");
        }
        // What was collected behind it is read again.
        lane.building = Building::behind(last);
        lane.opened_at = None;
        (lane.landed, lane.next) = (last, (last + 1).cast_unsigned());
        lane.damage = Some(why);
        lane.state = State::LookAgain(Instant::now() + self.config.circuit_open);
        Ok(())
    }

    /// The batch of a plan, from the log; `None` when the log cannot be read just now.
    fn reread(&mut self, partition: u32, plan: &Plan) -> Result<Option<Batch>, Error> {
        let batch = self.read_plan(partition, plan);
        self.decoder.ask_again();
        batch
    }

    fn read_plan(&mut self, partition: u32, plan: &Plan) -> Result<Option<Batch>, Error> {
        let mut building = Building::behind(plan.previous);
        let mut next = plan.first;
        while next <= plan.last {
            let (decoder, mut unknown) = (&mut self.decoder, None);
            let from = next;
            let read = self.consumer.read(Topic::Events, partition, from, &mut |record| {
                if record.offset > plan.last {
                    next = record.offset;
                    return ControlFlow::Break(());
                }
                if !decoder.knows(record) {
                    unknown = Some(record.value.unwrap_or_default().to_vec());
                    next = record.offset;
                    return ControlFlow::Break(());
                }
                building.add(partition, record, decoder);
                next = record.offset + 1;
                ControlFlow::Continue(())
            });
            let learnt = read.and_then(|_| {
                let Some(value) = &unknown else { return Ok(Learnt::Known) };
                let record = bellhop_core::record::Record {
                    offset: next,
                    timestamp: bellhop_core::message::Timestamp(0),
                    key: None,
                    value: Some(value),
                    headers: &[],
                };
                let log: &mut dyn Reader = self.consumer.as_mut();
                self.decoder.learn(&record, |id| writer(log, id))
            });
            match learnt {
                Ok(Learnt::Known) if next == from && unknown.is_none() => break,
                Ok(Learnt::Known) => {}
                Ok(Learnt::Unknown(id)) => {
                    if waits(&mut self.unknown, id, self.config.unknown_for) {
                        return Ok(None);
                    }
                    self.decoder.give_up(id);
                }
                Err(error) if error.kind == LogErrorKind::Retry => {
                    tracing::warn!(%error, "the events of a plan cannot be read; trying again");
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let batch = building.seal().filter(|batch| {
            let read = &batch.plan;
            (read.first, read.last) == (plan.first, plan.last)
        });
        let Some(mut batch) = batch else {
            return Err(Error::tables(
                format!(
                    "the plan of partition {partition} names events {}..{}, the log does not have them",
                    plan.first, plan.last
                ),
                "the log was cut or is another; reset the marks of the group to where the tables end",
            ));
        };
        batch.plan = plan.clone();
        Ok(Some(batch))
    }
}
