//! Copies of partitions that several workers of a process hand to each other.

use bellhop_runtime::standby::{self, Standby};

use super::*;

#[test]
fn a_former_owner_that_hears_late_has_nobody_follow_its_successors_partition() {
    let mut house = House::new();
    let counter = counter_in(0, PARTITIONS, 0);
    let add = house.add("one", counter, 1);
    house.send(&[add]);
    let mut worker = house.worker();
    drain(&mut worker, &mut house.log);
    let topology = topology();
    let parts = standby::Parts {
        reader: Box::new(house.log.clone()),
        resolve: Arc::new(OwnSchemas::of(&topology)),
        topology,
        snapshots: None,
    };
    let standby = Standby::inline(&house.config, parts);
    let follows = |standby: &Standby| {
        standby.step();
        standby.warm().contains(&0)
    };
    assert!(follows(&standby));
    assert!(standby.take(0, "w0").is_some());
    assert!(standby.take(0, "w1").is_none(), "w0 has the copy");
    standby.leave(0, "w0", None);
    assert!(!follows(&standby), "w1 owns it");
    standby.leave(0, "w1", None);
    assert!(follows(&standby));
    // One that has not taken the copy yet leaves it as it is.
    standby.leave(0, "w2", None);
    assert_eq!(standby.warm(), [0, 1, 2, 3]);
}
