//! Partitions that come and go, and the log that the tables belong to.

use std::time::Instant;

use bellhop_runtime::log::{ErrorKind as LogErrorKind, Identity};
use serde::Deserialize;

use super::{Sink, WHILE_FLYING, done};
use crate::error::Error;
use crate::lane::{Lane, State};
use crate::pool::Job;
use crate::server::{Server, blocking};

impl Sink {
    pub(super) fn assigned(&mut self, partitions: &[u32]) -> Result<(), Error> {
        for partition in partitions.iter().copied() {
            self.turns += 1;
            let mut lane = Lane::new(self.turns);
            let mark = self.consumer.marked(partition);
            if let Ok(Some(mark)) = &mark {
                lane.marked = mark.next_offset;
            }
            match mark {
                Ok(mark) if self.config.breaks.mark_first => {
                    // A broken sink believes its marks.
                    let next = mark.as_ref().map_or(0, |mark| mark.next_offset);
                    lane.landed = next.cast_signed() - 1;
                    (lane.next, lane.state) = (next, State::Idle);
                    lane.building = crate::batch::Building::behind(lane.landed);
                }
                Ok(mark) => self.pool.ask(partition, lane.turn, Job::Look(mark)),
                Err(error) if error.kind == LogErrorKind::Retry => {
                    tracing::warn!(partition, %error, "the mark cannot be read; trying again");
                    lane.state = State::LookAgain(Instant::now());
                }
                Err(error) => return Err(error.into()),
            }
            self.lanes.insert(partition, lane);
        }
        Ok(())
    }

    /// Gives partitions back: what flies may land for a while, what was only collected is dropped.
    pub(super) fn revoked(&mut self, partitions: &[u32]) -> Result<(), Error> {
        for partition in partitions {
            self.pause(*partition)?;
            if let Some(lane) = self.lanes.get_mut(partition) {
                lane.leaving = true;
            }
        }
        let until = Instant::now() + self.config.release_timeout;
        let is_flying = |sink: &Self| {
            let lanes = partitions.iter().filter_map(|partition| sink.lanes.get(partition));
            lanes.into_iter().any(|lane| matches!(lane.state, State::Flying(_)))
        };
        while is_flying(self) && Instant::now() < until {
            self.take_answers(WHILE_FLYING)?;
        }
        let mut marks = Vec::new();
        for partition in partitions {
            if let Some(mut lane) = self.lanes.remove(partition)
                && matches!(lane.state, State::Idle)
                && lane.unmarked
            {
                // What was collected behind it is for the next owner.
                if !lane.building.is_empty() {
                    lane.next = (lane.landed + 1).cast_unsigned();
                }
                marks.push((*partition, done(&lane)));
            }
        }
        if !marks.is_empty() {
            // Without it the next owner counts what is there, and comes to the same.
            self.mark(&marks)?;
        }
        Ok(self.consumer.release(partitions)?)
    }
}

#[derive(Deserialize)]
struct Row {
    log_id: uuid::Uuid,
}

/// Writes down which log the tables hold, or finds that it is this one.
pub(super) async fn claim(server: &Server, identity: &Identity) -> Result<(), Error> {
    if logs(server).await?.is_empty() {
        let (log, partitions) = (identity.log_id.0, identity.partitions);
        let insert = format!("INSERT INTO log (log_id, partitions) VALUES ('{log}', {partitions})");
        server.run_async("write down which log the tables hold", &insert, &[]).await?;
    }
    check_log(server, identity).await
}

async fn logs(server: &Server) -> Result<Vec<Row>, Error> {
    let sql = "SELECT DISTINCT log_id FROM log";
    server.ask_async("see which log the tables hold", sql, &[]).await
}

impl Server {
    /// # Errors
    /// When the tables hold another log, or cannot be asked.
    pub fn check_log(&self, identity: &Identity) -> Result<(), Error> {
        blocking(check_log(&self.fresh(), identity))
    }
}

/// Whether the tables hold no log but this one.
pub(crate) async fn check_log(server: &Server, identity: &Identity) -> Result<(), Error> {
    let rows = logs(server).await?;
    match rows.iter().find(|row| row.log_id != identity.log_id.0) {
        None => Ok(()),
        Some(other) => Err(Error::tables(
            format!(
                "the tables of {} hold the log {}, not {}",
                server.database(),
                other.log_id,
                identity.log_id.0
            ),
            "name another database, or drop this one and run `bellhop migrate`",
        )),
    }
}
