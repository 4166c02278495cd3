//! Schemas of others by their ids: what is known, what is known to be unknown, and threads that ask
//! for the rest, so that no worker waits for an answer.
//!
//! # Invariants
//! 1. A known id is never asked for again, so that a registry that is down stops nothing but what
//!    is new.
//! 2. An id that the registry does not give is asked for again after [`UNKNOWN_FOR`], not before,
//!    and so many are remembered at most: a flood of bad records is no flood of requests, and no
//!    flood of memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Lookup;
use crate::log::{Error, ErrorKind, Schema};

/// How long an id that is not known is not asked for again.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// How many ids are remembered as not known.
const UNKNOWN_MAX: usize = 16_384;
/// How many ids wait to be asked for; more are asked for when there is room.
const WANTED_MAX: usize = 1_024;
/// How many ids are asked for at once: a flood of bad records holds its partition up for a fourth of
/// the time.
const THREADS_MAX: usize = 4;
/// The pauses while the registry cannot be asked.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1_600),
];

/// What was learned of ids.
#[derive(Default)]
pub(super) struct Known {
    schemas: HashMap<u32, Schema>,
    unknown: HashMap<u32, (Instant, String)>,
    /// The unknown ones, the oldest first.
    order: VecDeque<(Instant, u32)>,
}

impl Known {
    pub(super) fn get(&self, id: u32) -> Option<Lookup> {
        if let Some(schema) = self.schemas.get(&id) {
            return Some(Lookup::Known(schema.clone()));
        }
        let (since, why) = self.unknown.get(&id)?;
        (since.elapsed() < UNKNOWN_FOR).then(|| Lookup::Unknown(why.clone()))
    }

    pub(super) fn insert(&mut self, id: u32, found: Lookup) {
        match found {
            Lookup::Known(schema) => {
                self.unknown.remove(&id);
                self.schemas.insert(id, schema);
            }
            Lookup::Unknown(why) => self.forget_until_room(id, why, Instant::now()),
        }
    }

    fn forget_until_room(&mut self, id: u32, why: String, now: Instant) {
        while let Some((since, old)) = self.order.front().copied() {
            if self.order.len() < UNKNOWN_MAX && now.duration_since(since) < UNKNOWN_FOR {
                break;
            }
            self.order.pop_front();
            // It may have been asked for again since.
            if self.unknown.get(&old).is_some_and(|(again, _)| *again == since) {
                self.unknown.remove(&old);
            }
        }
        self.order.push_back((now, id));
        self.unknown.insert(id, (now, why));
    }
}

/// Asks for one id, waiting for the answer.
pub(super) type Ask = dyn Fn(u32) -> Result<Lookup, Error> + Send + Sync;

/// The threads that ask, each started when it is first needed.
pub(super) struct Asker {
    shared: Arc<Shared>,
}

struct Shared {
    ask: Box<Ask>,
    wanted: Mutex<Wanted>,
    more: Condvar,
}

#[derive(Default)]
struct Wanted {
    ids: VecDeque<u32>,
    /// Being asked for.
    asking: Vec<u32>,
    threads: usize,
    closed: bool,
    /// Why the last try failed.
    failed: Option<(ErrorKind, String)>,
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for what is wanted until the asker is dropped.
    fn run(&self) {
        let mut failures = 0;
        loop {
            let mut wanted = self.wanted();
            while wanted.ids.is_empty() && !wanted.closed {
                wanted = self.more.wait(wanted).unwrap_or_else(PoisonError::into_inner);
            }
            let closed = wanted.closed;
            let Some(id) = wanted.ids.pop_front().filter(|_| !closed) else { return };
            wanted.asking.push(id);
            drop(wanted);
            let asked = (self.ask)(id);
            let mut wanted = self.wanted();
            // Whoever still waits for it asks again.
            wanted.asking.retain(|asked| *asked != id);
            match asked {
                Ok(_) => (failures, wanted.failed) = (0, None),
                Err(error) => {
                    let pause = PAUSES.get(failures).or(PAUSES.last()).copied();
                    failures += 1;
                    wanted.failed = Some((error.kind, chain(&error)));
                    let closed = |wanted: &mut Wanted| !wanted.closed;
                    let pause = pause.unwrap_or_default();
                    drop(self.more.wait_timeout_while(wanted, pause, closed));
                }
            }
        }
    }
}

impl Wanted {
    fn add(&mut self, id: u32) {
        let is_new = !self.ids.contains(&id) && !self.asking.contains(&id);
        if self.ids.len() < WANTED_MAX && is_new {
            self.ids.push_back(id);
        }
    }
}

impl Asker {
    pub(super) fn new(ask: Box<Ask>) -> Self {
        let (wanted, more) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { ask, wanted, more }) }
    }

    /// Has an id asked for; says that it is not answered yet, and why not.
    pub(super) fn want(&self, id: u32, tried: String) -> Error {
        let mut wanted = self.shared.wanted();
        wanted.add(id);
        let (kind, why) = wanted
            .failed
            .clone()
            .unwrap_or((ErrorKind::Retry, "it has not answered yet".to_owned()));
        let busy = wanted.asking.len() + wanted.ids.len();
        if wanted.threads < busy.min(THREADS_MAX) {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("bellhop-schemas".to_owned());
            match thread.spawn(move || shared.run()) {
                Ok(_) => wanted.threads += 1,
                Err(_) if wanted.threads > 0 => {}
                Err(error) => {
                    return Error::no_thread("start the thread that asks for schemas", error);
                }
            }
        }
        drop(wanted);
        self.shared.more.notify_one();
        let hint = "records of a schema that is not known yet wait for it, those of other partitions go on: check that the registry is up and lets this user read it".to_owned();
        Error { kind, tried, hint, source: Some(why.into()) }
    }
}

impl Drop for Asker {
    /// Each thread ends after the request that it is in.
    fn drop(&mut self) {
        self.shared.wanted().closed = true;
        self.shared.more.notify_all();
    }
}

fn chain(error: &Error) -> String {
    match &error.source {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(id: u32) -> Lookup {
        Lookup::Unknown(format!("{id} is not known"))
    }

    #[test]
    fn a_flood_of_unknown_ids_is_remembered_up_to_a_bound_the_newest_ones() {
        let mut known = Known::default();
        let flood = UNKNOWN_MAX as u32 + 1_000;
        (0..flood).for_each(|id| known.insert(id, unknown(id)));
        assert_eq!((known.unknown.len(), known.order.len()), (UNKNOWN_MAX, UNKNOWN_MAX));
        assert_eq!(known.get(flood - 1), Some(unknown(flood - 1)));
        assert_eq!(known.get(0), None);
        // One that is asked for again and again takes one place.
        (0..flood).for_each(|_| known.insert(7, unknown(7)));
        assert_eq!(known.unknown.len(), 1);
        assert!(known.order.len() <= UNKNOWN_MAX);
    }

    #[test]
    fn an_id_is_unknown_for_a_while_and_not_once_it_is_known() {
        let mut known = Known::default();
        let long_ago = Instant::now().checked_sub(UNKNOWN_FOR).unwrap_or_else(Instant::now);
        known.forget_until_room(1, "of old".to_owned(), long_ago);
        assert_eq!(known.get(1), None);
        known.insert(2, unknown(2));
        assert_eq!(known.get(2), Some(unknown(2)));
        let schema = Schema { name: "R".to_owned(), text: "{}".to_owned() };
        known.insert(2, Lookup::Known(schema.clone()));
        assert_eq!(known.get(2), Some(Lookup::Known(schema)));
    }

    #[test]
    fn several_ids_are_asked_for_at_once_and_each_once() {
        let together = std::sync::Barrier::new(THREADS_MAX);
        let (tell, told) = std::sync::mpsc::channel();
        let tell = Mutex::new(tell);
        let asker = Asker::new(Box::new(move |id| {
            // Passed by as many as ask at the same time.
            together.wait();
            let _ = tell.lock().unwrap_or_else(PoisonError::into_inner).send(id);
            Ok(unknown(id))
        }));
        let ids: Vec<u32> = (1..=2 * THREADS_MAX as u32).collect();
        for id in &ids {
            asker.want(*id, "ask".to_owned());
        }
        let patience = Duration::from_secs(20);
        let mut asked: Vec<_> = ids.iter().map(|_| told.recv_timeout(patience).ok()).collect();
        asked.sort_unstable();
        assert_eq!(asked, ids.into_iter().map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn whoever_wants_an_id_waits_for_nothing_and_a_failure_is_told() {
        let (answer, answers) = std::sync::mpsc::channel::<Result<Lookup, Error>>();
        let answers = Mutex::new(answers);
        let asker = Asker::new(Box::new(move |id| {
            let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.recv().unwrap_or_else(|_| Ok(unknown(id)))
        }));
        // The thread waits for an answer, the caller does not.
        let told = asker.want(1, "ask".to_owned());
        assert!(chain(&told).contains("has not answered yet"), "{told:?}");
        let down = Error {
            kind: ErrorKind::Retry,
            tried: "GET".to_owned(),
            hint: "it is down".to_owned(),
            source: None,
        };
        assert!(answer.send(Err(down)).is_ok());
        let until = Instant::now() + Duration::from_secs(20);
        while !chain(&asker.want(1, "ask".to_owned())).contains("it is down") {
            assert!(Instant::now() < until, "the failure is not told");
            std::thread::yield_now();
        }
    }
}
