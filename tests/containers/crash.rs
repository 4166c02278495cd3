//! The container of the only broker, and a worker, killed under load.

use crate::broker::Broker;
use crate::house::work_if_child;
use crate::only_broker::is_killed_under_load;

#[test]
fn the_only_broker_killed_in_its_container_loses_nothing_and_doubles_nothing() {
    work_if_child();
    let name = "crash::the_only_broker_killed_in_its_container_loses_nothing_and_doubles_nothing";
    let mut broker = Broker::start();
    let registry = broker.registry();
    is_killed_under_load(&mut broker, &registry, name);
}
