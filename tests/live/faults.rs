//! Faults of all kinds on one log that works: workers, transactions, topics, the registry, the
//! network, and records that cannot be decided. A seed draws which, when, and for how long; one
//! goes on while the next begins.
//!
//! Start at [`FAULTS`]. Afterwards every command that was acknowledged, and not deleted, has one
//! outcome; events and parked records are the embedded log's for the same commands at the same
//! positions.

mod check;
mod child;
mod records;
mod stage;
mod topics;
mod workers;

use std::time::Duration;

use bellhop_runtime::log::simulated::Random;

use self::stage::Stage;
use crate::house::variable;

const NAME: &str =
    "faults::faults_of_all_kinds_at_any_moment_lose_nothing_and_decide_nothing_twice";
const SEED: u64 = 5;
/// Faults of a run that nobody asked more of (`BELLHOP_TEST_FAULTS`), and the milliseconds that one
/// lasts.
const FEW: (usize, [i64; 2]) = (5, [300, 2_000]);
/// The milliseconds that a fault of a soak lasts: shorter and longer than a session (6 s).
const LASTING: [i64; 2] = [5_000, 20_000];

/// A kind of fault.
struct Fault {
    /// As the summary counts it.
    what: &'static str,
    /// Begins it, with chances of its own.
    strike: fn(&mut Stage, &mut Random),
}

const FAULTS: &[Fault] = &[
    Fault { what: workers::KILLED, strike: workers::kill },
    Fault { what: workers::PAUSED, strike: workers::pause },
    Fault { what: workers::LEFT, strike: workers::leave },
    Fault { what: workers::PAUSED_WITHIN, strike: workers::pause_within_a_revocation },
    Fault { what: topics::HANGING, strike: topics::leave_hanging },
    Fault { what: topics::GROWN, strike: topics::grow },
    Fault { what: topics::DELETED_DECIDED, strike: topics::delete_decided },
    Fault { what: topics::DELETED_UNDECIDED, strike: topics::delete_undecided },
    Fault { what: topics::LATE, strike: topics::delay_a_request },
    Fault { what: topics::CUT, strike: topics::cut_the_network },
    Fault { what: records::AWAY, strike: records::registry_away },
    Fault { what: records::GARBAGE, strike: records::garbage },
];

/// Faults in their order: every kind once before any kind again.
fn drawn(random: &mut Random, count: usize) -> Vec<&'static Fault> {
    let mut drawn = Vec::new();
    let mut deck: Vec<&Fault> = Vec::new();
    while drawn.len() < count {
        if deck.is_empty() {
            deck.extend(FAULTS);
        }
        let next = random.below(deck.len() as u64) as usize;
        drawn.push(deck.swap_remove(next));
    }
    drawn
}

#[test]
fn faults_of_all_kinds_at_any_moment_lose_nothing_and_decide_nothing_twice() {
    child::work_if_child();
    let seed = variable("BELLHOP_TEST_SEED").unwrap_or(SEED);
    let (count, lasting) = variable("BELLHOP_TEST_FAULTS").map_or(FEW, |count| (count, LASTING));
    let mut random = Random::new(seed);
    let mut stage = Stage::new(seed, lasting, random.split());
    for fault in drawn(&mut random.split(), count) {
        // Chances of its own: what it draws does not depend on how long the others took.
        let mut random = random.split();
        stage.work(Duration::from_millis(random.below(1_500)));
        stage.say(fault.what);
        (fault.strike)(&mut stage, &mut random);
    }
    stage.end_faults();
    stage.check();
    eprintln!("{}", stage.summary());
}

#[test]
fn a_seed_draws_every_kind_of_fault_before_any_again_and_the_same_each_time() {
    let named = |seed: u64| -> Vec<&str> {
        drawn(&mut Random::new(seed), 3 * FAULTS.len()).iter().map(|fault| fault.what).collect()
    };
    assert_eq!(named(7), named(7));
    assert_ne!(named(7), named(8));
    for round in named(7).chunks(FAULTS.len()) {
        let mut round = round.to_vec();
        round.sort_unstable();
        round.dedup();
        assert_eq!(round.len(), FAULTS.len(), "{round:?}");
    }
}
