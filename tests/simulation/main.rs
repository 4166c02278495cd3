//! The engine under every accident that a log can have, from seeds.
//!
//! ```text
//! cargo test -p bellhop-tests --test simulation                            the default seeds
//! BELLHOP_SEED=1234 cargo test -p bellhop-tests --test simulation          one seed again, with its trace
//! BELLHOP_SEEDS=1000000 cargo test --release -p bellhop-tests --test simulation every   a long night
//! ```
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a seed that fails has to be told")]

mod history;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bellhop_core::avro::Symbols as _;
use bellhop_runtime::log::Timestamps;
use bellhop_runtime::log::simulated::Faults;
use bellhop_schemas::reason::Rule;
use bellhop_tests::sim::check::{Promise, Tally};
use bellhop_tests::sim::crew::{Report, run};
use bellhop_tests::sim::mutant::Mutant;
use bellhop_tests::sim::plan::Plan;

/// Seeds of a run that nobody asked more of.
const SEEDS: u64 = 200;
/// Seeds within which an engine that is broken on purpose is caught: some break seldom.
const MUTANT_SEEDS: u64 = 1_000;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.replace('_', "").parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// The seeds to run.
fn seeds() -> std::ops::Range<u64> {
    match variable("BELLHOP_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("BELLHOP_SEEDS").unwrap_or(SEEDS),
    }
}

/// Runs seeds on all cores.
fn on_all_cores(seeds: std::ops::Range<u64>, each: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(seeds.start);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    each(seed);
                }
            });
        }
    });
}

/// Says all there is to say about a seed that failed.
fn tell(plan: &Plan, mutant: Mutant, report: &Report) -> String {
    let again = run(plan, mutant, true);
    let trace = again.trace.join("\n");
    let broken: Vec<_> = report.broken.iter().map(ToString::to_string).collect();
    format!(
        "{trace}\n\nseed {} breaks a promise:\n{}\n{plan:?}\n{:?}\n{:?}\nagain: BELLHOP_SEED={} cargo test -p bellhop-tests --test simulation every",
        plan.seed,
        broken.join("\n"),
        report.tally,
        report.accidents,
        plan.seed,
    )
}

#[test]
fn every_promise_holds_for_every_seed() {
    let totals = Mutex::new((Tally::default(), BTreeMap::<&'static str, u64>::new()));
    let failed = Mutex::new(Vec::new());
    on_all_cores(seeds(), |seed| {
        let plan = Plan::of(seed);
        let report = run(&plan, Mutant::None, false);
        let twice = run(&plan, Mutant::None, false);
        assert_eq!(
            (report.trace_hash, report.events_hash, &report.accidents),
            (twice.trace_hash, twice.events_hash, &twice.accidents),
            "seed {seed} is not the same twice"
        );
        if !report.broken.is_empty() {
            let mut failed = failed.lock().unwrap();
            if failed.is_empty() {
                println!("{}", tell(&plan, Mutant::None, &report));
            }
            let first = report.broken.first().map(ToString::to_string);
            failed.push((seed, first.unwrap_or_default()));
            return;
        }
        let mut totals = totals.lock().unwrap();
        totals.0.add(&report.tally);
        for (name, count) in report.accidents {
            *totals.1.entry(name).or_default() += count;
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "these seeds break a promise: {failed:#?}");
    let (tally, accidents) = totals.into_inner().unwrap();
    println!("{tally:?}\n{accidents:?}");
    if seeds() == (0..SEEDS) {
        let Tally { decided, repeats, conflicts, parked, booked, oversold, .. } = tally;
        let Tally { rules, fired, cascades, timed, newer, offered, .. } = tally;
        let houses = [decided, repeats, conflicts, parked, booked, oversold];
        let others = [rules, fired, cascades, timed, newer, offered];
        let least = houses.into_iter().chain(others).min();
        assert!(least > Some(100), "the seeds hardly try something: {tally:?}");
        let unheard = Rule::ALL.iter().filter(|rule| tally.refused[usize::from(rule.code())] == 0);
        let unheard: Vec<_> = unheard.copied().collect();
        // Every property is sold in one currency that there is; the last three only warn.
        let never = [Rule::UnknownCurrency, Rule::NoAdults, Rule::LargeHouse, Rule::MoreThanHouse];
        assert_eq!(unheard, never, "{:?}", tally.refused);
        let missing: Vec<_> =
            Faults::NAMES.iter().filter(|name| !accidents.contains_key(*name)).collect();
        assert!(missing.is_empty(), "no seed has these accidents: {missing:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let mut hashes = BTreeMap::new();
    for seed in 0..20 {
        let plan = Plan::of(seed);
        let (first, second) = (run(&plan, Mutant::None, true), run(&plan, Mutant::None, true));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(hashes.insert(first.trace_hash, seed), None, "seed {seed} is another's");
    }
}

#[test]
fn any_number_of_workers_and_any_batching_give_the_same_events() {
    on_all_cores(0..30, |seed| {
        let mut events = BTreeMap::new();
        for (workers, batch_records_max) in [(1, 1), (1, 64), (2, 10), (3, 3), (4, 64)] {
            // Where a cascade lies in its topic depends on when it was committed; ticks are records, and
            // where a clock stamps, who is idle when is part of the input.
            let timestamps = Timestamps::Create;
            let mut plan =
                Plan { preload: true, counters: false, workers, timestamps, ..Plan::of(seed) };
            plan.config.batch_records_max = batch_records_max;
            let report = run(&plan, Mutant::None, false);
            assert!(report.broken.is_empty(), "{}", tell(&plan, Mutant::None, &report));
            events.insert((workers, batch_records_max), report.events_hash);
        }
        let first = events.values().next();
        assert!(events.values().all(|hash| Some(hash) == first), "seed {seed}: {events:x?}");
    });
}

/// Runs seeds until one breaks that promise in those words.
fn is_caught(mutant: Mutant, promise: Promise, words: &str) {
    is_caught_in(Plan::of, mutant, promise, words);
}

fn is_caught_in(plan: impl Fn(u64) -> Plan, mutant: Mutant, promise: Promise, words: &str) {
    // What a mutant does to the engine's own assertions is of no interest here.
    let caught = (0..MUTANT_SEEDS).find_map(|seed| {
        let report = run(&plan(seed), mutant, false);
        let found = report
            .broken
            .into_iter()
            .inspect(|broken| println!("{mutant:?}: seed {seed}: {broken}"))
            .find(|broken| broken.promise == promise && broken.what.contains(words));
        found.map(|broken| (seed, broken))
    });
    match caught {
        Some((seed, broken)) => println!("{mutant:?}: seed {seed}: {broken}"),
        None => panic!("{mutant:?} is not caught within {MUTANT_SEEDS} seeds"),
    }
}

#[test]
fn outcomes_that_are_visible_without_their_progress_are_caught() {
    is_caught(Mutant::OutputWithoutProgress, Promise::ExactlyOnce, "twice");
}

#[test]
fn progress_that_is_kept_without_its_outcomes_is_caught() {
    is_caught(Mutant::ProgressWithoutOutput, Promise::ExactlyOnce, "has");
}

#[test]
fn a_memory_that_knows_no_key_again_is_caught() {
    is_caught(Mutant::Forgetful, Promise::ExactlyOnce, "the repeat at");
}

#[test]
fn a_take_over_that_does_not_look_at_the_history_is_caught() {
    is_caught(Mutant::NoHistory, Promise::Fold, "against");
}

#[test]
fn a_copy_that_is_left_without_a_look_at_the_log_is_caught() {
    is_caught(Mutant::HoledCopies, Promise::Fold, "a copy before event");
}

#[test]
fn an_availability_check_that_is_off_by_one_unit_is_caught() {
    is_caught(Mutant::OneUnitMore, Promise::NeverOversold, "a request oversold");
}

#[test]
fn a_refusal_for_want_of_a_unit_that_is_there_is_caught() {
    is_caught(Mutant::OneUnitLess, Promise::NeverOversold, "is not so");
}

#[test]
fn a_newer_producer_whose_data_are_read_as_our_own_is_caught() {
    is_caught(Mutant::Unresolved, Promise::ExactlyOnce, "is parked");
}

#[test]
fn a_command_that_is_refused_for_its_encoding_is_caught() {
    is_caught(Mutant::ShortestOnly, Promise::ExactlyOnce, "is parked");
}

#[test]
fn rules_that_are_followed_otherwise_than_asked_are_caught() {
    is_caught(Mutant::OwnRules, Promise::ExactlyOnce, "the change of rules");
}

#[test]
fn a_record_that_is_larger_than_the_bounds_is_caught() {
    is_caught(Mutant::Unbounded, Promise::Bounded, "at most");
}

#[test]
fn a_timer_that_never_fires_is_caught() {
    is_caught(Mutant::NoTimers, Promise::ExactlyOnce, "timers");
}

#[test]
fn a_cascade_that_is_lost_is_caught() {
    is_caught(Mutant::NoCascades, Promise::ExactlyOnce, "cascades");
}

#[test]
fn a_roll_of_the_business_date_that_extends_nobody_is_caught() {
    is_caught(Mutant::Asleep, Promise::NeverOversold, "was to leave on");
}

#[test]
fn a_late_request_that_ends_another_transaction_is_caught() {
    is_caught(Mutant::SameEpoch, Promise::ExactlyOnce, "follows one of");
}

#[test]
fn a_zombie_that_commits_as_whoever_it_is_by_now_is_caught() {
    // Workers that stand still while their partitions are taken from them.
    let plan = |seed| {
        let faults = Faults { lost: 1_000, slow_commit: 4_000, ..Faults::NONE };
        Plan { workers: 3, freeze: 300, faults, ..Plan::of(seed) }
    };
    is_caught_in(plan, Mutant::FreshMember, Promise::ExactlyOnce, "follows one of");
}

/// One worker that stays, and often does not know how its transactions ended. What it has not
/// committed is in its memory alone, so nothing makes it start over.
fn uncertain(seed: u64) -> Plan {
    let plan = Plan::of(seed);
    let faults = Faults { unknown: 2_000, slow_commit: 500, ..Faults::NONE };
    Plan { workers: 1, kill: 0, stop: 0, freeze: 0, faults, ..plan }
}

#[test]
fn a_worker_heals_a_transaction_of_which_only_events_or_progress_were_kept() {
    on_all_cores(seeds(), |seed| {
        let plan = uncertain(seed);
        let report = run(&plan, Mutant::Split, false);
        assert!(report.broken.is_empty(), "{}", tell(&plan, Mutant::Split, &report));
    });
}

#[test]
fn a_worker_that_looks_at_progress_alone_is_caught() {
    is_caught_in(uncertain, Mutant::ProgressAlone, Promise::ExactlyOnce, "has the outcomes []");
    is_caught_in(uncertain, Mutant::ProgressAlone, Promise::ExactlyOnce, "follows one of");
}
