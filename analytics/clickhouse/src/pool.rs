//! The thread that talks to ClickHouse: requests of all partitions side by side.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bellhop_runtime::log::Mark;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::flight::{Flight, Landed};
use crate::server::Server;
use crate::takeover::{self, GoOn};

/// Something to do for a partition.
#[derive(Debug)]
pub(crate) enum Job {
    /// Insert its batch.
    Fly(Flight),
    /// See where it goes on.
    Look(Option<Mark>),
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Done {
    Flown(Result<Landed, Error>),
    Looked(Result<GoOn, Error>),
}

/// An answer: the partition, and the turn of its lane that asked.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) partition: u32,
    pub(crate) turn: u64,
    pub(crate) done: Done,
    /// How far the server's clock is ahead, where it was asked.
    pub(crate) clock_ahead: Option<f64>,
}

type Asked = (u32, u64, Job);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    jobs: Option<mpsc::UnboundedSender<Asked>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

impl Pool {
    pub(crate) fn start(server: Server) -> Result<Self, Error> {
        // One job a partition at most, so neither channel grows.
        let (jobs, asked) = mpsc::unbounded_channel();
        let (answer, answers) = channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::Thread)?;
        let thread = std::thread::Builder::new()
            .name("bellhop-clickhouse".to_owned())
            .spawn(move || {
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, serve(server, asked, answer));
            })
            .map_err(Error::Thread)?;
        Ok(Self { jobs: Some(jobs), answers, thread: Some(thread) })
    }

    pub(crate) fn ask(&self, partition: u32, turn: u64, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends with this pool and not before.
            let _ = jobs.send((partition, turn, job));
        }
    }

    /// The next answer, at once or within a time.
    pub(crate) fn answer(&self, wait: Duration) -> Option<Answer> {
        if wait.is_zero() {
            self.answers.try_recv().ok()
        } else {
            self.answers.recv_timeout(wait).ok()
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that talks to ClickHouse panicked");
        }
    }
}

/// Serves until nobody can ask any more; what is under way then is given up, for its plan is
/// marked.
async fn serve(server: Server, mut asked: mpsc::UnboundedReceiver<Asked>, answer: Sender<Answer>) {
    while let Some((partition, turn, job)) = asked.recv().await {
        let (server, answer) = (server.clone(), answer.clone());
        tokio::task::spawn_local(async move {
            let (done, clock_ahead) = match job {
                Job::Fly(flight) => {
                    let flown = flight.run(&server).await;
                    let late = flown.as_ref().is_err_and(|error| error.code() == Some(395));
                    let clock = if late { server.clock_ahead().await.ok() } else { None };
                    (Done::Flown(flown), clock)
                }
                Job::Look(mark) => {
                    let clock = server.clock_ahead().await.ok();
                    (Done::Looked(takeover::look(&server, partition, mark.as_ref()).await), clock)
                }
            };
            // Nobody may wait any more.
            let _ = answer.send(Answer { partition, turn, done, clock_ahead });
        });
    }
}
