//! Events that are folded, and snapshots that are restored.

use bellhop_fuzz::fuzz;

use crate::world::World;

#[test]
fn fuzz_events_that_are_folded() {
    let world = World::new();
    let corpus: Vec<Vec<u8>> = world.events.iter().map(|(_, value)| value.clone()).collect();
    let (key, _) = world.events.last().expect("an event");
    fuzz(&corpus, |value| {
        let mut task = world.empty();
        // An event that contradicts the state panics its processor, which stands still: what may
        // not happen is a panic before it, or memory without end.
        let folded =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.fold(key, value)));
        drop(folded);
    });
}

#[test]
fn fuzz_snapshots_that_are_restored() {
    let world = World::new();
    fuzz(std::slice::from_ref(&world.snapshot), |snapshot| {
        // Its checksum says so before; what passes it and is wrong is refused, never a panic.
        if world.empty().restore(snapshot).is_ok() {
            world.task().restore(snapshot).expect("what one task takes, another takes");
        }
    });
}
