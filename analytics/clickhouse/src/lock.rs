//! One process at a time: a table that exists while something runs.
//!
//! Making a table is atomic on the server, so the table is the lock. Its holder writes its name
//! into it, and the time again and again. A lock is taken from a holder that is gone only: one
//! that has written nothing for a while and of which the server runs no statement any more, nor a
//! mutation. Every statement of a holder goes through [`Held::server`], which marks it.

use std::time::Duration;

use serde::Deserialize;

use crate::engine;
use crate::error::{Error, ErrorKind};
use crate::server::{Server, new_token};
use crate::target::COMMENT;

/// How often a holder says that it is there.
const BEAT: Duration = Duration::from_secs(5);
/// Pause before a lock that somebody holds is tried again.
const WAIT: Duration = Duration::from_millis(200);
const TABLE_ALREADY_EXISTS: u32 = 57;

/// A kind of work that one process does at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lock {
    /// The table.
    pub(crate) name: &'static str,
}

/// Held while tables are made or altered.
pub(crate) const MIGRATING: Lock = Lock { name: "migrating" };
/// Held while rows are put right; no partition is taken over meanwhile.
pub(crate) const REPAIRING: Lock = Lock { name: "repairing" };
/// Held while the difference of a view is taken and added.
pub(crate) const REBUILDING: Lock = Lock { name: "rebuilding" };
/// All of them.
pub(crate) const ALL: [Lock; 3] = [MIGRATING, REPAIRING, REBUILDING];

#[derive(Debug, Deserialize)]
struct Made {
    /// Seconds since the table was made.
    ago: i64,
}

#[derive(Debug, Deserialize)]
struct Count {
    count: u64,
}

/// A lock that is held, and by whom.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    lock: Lock,
    holder: String,
    /// For what keeps the lock itself.
    keeper: Server,
    server: Server,
}

impl Lock {
    /// What statements of its holder carry as `log_comment`.
    fn comment(self) -> String {
        format!("bellhop {}", self.name)
    }

    /// Runs something while it is held; waits until it is free.
    pub(crate) async fn hold<T>(
        self,
        server: &Server,
        work: impl AsyncFnOnce(&Held) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let held = self.take(server).await?;
        let worked = {
            let mut work = std::pin::pin!(work(&held));
            loop {
                match tokio::time::timeout(BEAT, &mut work).await {
                    Ok(worked) => break worked,
                    // A beat that fails is made up for by the next.
                    Err(_) => drop(held.beat().await),
                }
            }
        };
        // What has failed here may go on there, as a long ALTER does behind a time-out; the lock is
        // free when it has ended.
        if worked.is_err()
            && self.running(server).await.is_ok_and(|running| running == 0)
            && held.check().await.is_ok()
        {
            drop(self.free(server).await);
        }
        let worked = worked?;
        held.check().await?;
        self.free(server).await.map(|()| worked)
    }

    async fn take(self, server: &Server) -> Result<Held, Error> {
        let make = format!(
            "CREATE TABLE {} (holder String, at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')) ENGINE = MergeTree ORDER BY at {COMMENT}",
            self.name
        );
        let make = engine::made(&make, server.replicated());
        let held = Held {
            lock: self,
            holder: new_token(),
            keeper: server.fresh(),
            server: server.marked(self.comment()),
        };
        let mut is_told = false;
        loop {
            match server.run_async("take a lock", &make, &[]).await {
                Ok(()) => {
                    held.beat().await?;
                    return Ok(held);
                }
                Err(error) if error.code() == Some(TABLE_ALREADY_EXISTS) => {}
                Err(error) => return Err(error),
            }
            if self.is_held(server).await? {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::info!(lock = self.name, "another process holds the lock; waiting");
                }
            } else {
                self.free(server).await?;
            }
            tokio::time::sleep(WAIT).await;
        }
    }

    /// Whether somebody holds it who is not gone.
    pub(crate) async fn is_held(self, server: &Server) -> Result<bool, Error> {
        let (name, stale) = (self.name, server.lock_stale().as_secs());
        let tried = format!("see who holds the lock {name}");
        let made = format!(
            "SELECT toInt64(now() - metadata_modification_time) AS ago FROM system.tables WHERE database = currentDatabase() AND name = '{name}'"
        );
        let rows: Vec<Made> = server.ask_async(&tried, &made, &[]).await?;
        let Some(made) = rows.first() else { return Ok(false) };
        if made.ago <= stale.cast_signed() || self.running(server).await? > 0 {
            return Ok(true);
        }
        let beats = format!(
            "SELECT count() AS count FROM {name} WHERE at > now64(3, 'UTC') - INTERVAL {stale} SECOND"
        );
        match server.ask_async::<Count>(&tried, &beats, &[]).await {
            Ok(rows) => Ok(rows.first().is_some_and(|row| row.count > 0)),
            // It was given back meanwhile.
            Err(error) if error.code() == Some(60) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Statements of its holders that the server runs, and mutations, which outlive theirs.
    async fn running(self, server: &Server) -> Result<u64, Error> {
        let sql = format!(
            "SELECT (SELECT count() FROM system.processes WHERE current_database = currentDatabase() AND startsWith(Settings['log_comment'], '{}')) + (SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done AND latest_fail_reason = '') AS count",
            self.comment()
        );
        let rows: Vec<Count> = server.ask_async("see what a holder runs", &sql, &[]).await?;
        Ok(rows.first().map_or(0, |row| row.count))
    }

    async fn free(self, server: &Server) -> Result<(), Error> {
        let sql = format!("DROP TABLE IF EXISTS {} SYNC", self.name);
        server.run_async("give a lock back", &sql, &[]).await
    }
}

impl Held {
    /// The server for the statements of the holder.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    async fn beat(&self) -> Result<(), Error> {
        let sql = format!("INSERT INTO {} (holder) VALUES ('{}')", self.lock.name, self.holder);
        self.keeper.run_async("keep a lock", &sql, &[("async_insert", "0".to_owned())]).await
    }

    /// Whether it is still this holder's.
    ///
    /// # Errors
    /// When it is not: somebody took this holder for gone.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        let Self { lock: Lock { name, .. }, holder, keeper, .. } = self;
        let sql = format!("SELECT count() AS count FROM {name} WHERE holder = '{holder}'");
        let lost = |what: String| Error::Server {
            kind: ErrorKind::Retry,
            tried: format!("keep the lock {name}"),
            what,
            hint: "this process was silent for too long, and another went on in its place; run it again",
        };
        match keeper.ask_async::<Count>("see whether a lock is kept", &sql, &[]).await {
            Ok(rows) if rows.first().is_some_and(|row| row.count > 0) => Ok(()),
            Ok(_) => Err(lost("another process holds it".to_owned())),
            Err(error) if error.code() == Some(60) => Err(lost("it is gone".to_owned())),
            Err(error) => Err(error),
        }
    }
}
