//! The only broker, and a worker, killed under load: wherever the broker runs.

use std::time::{Duration, Instant};

use crate::house::{House, Running};

/// A broker that can be killed.
pub(crate) trait Broker {
    /// Its `host:port`.
    fn brokers(&self) -> String;
    /// Kills it (signal 9).
    fn kill9(&mut self);
    /// Starts it again, on its data, and waits until it answers.
    fn restart(&mut self);
}

/// A worker and the broker die while transactions are open, twice; nothing is lost and nothing
/// doubled. The worker is a process that runs the test of that name.
pub(crate) fn is_killed_under_load(broker: &mut dyn Broker, registry: &str, test: &str) {
    let mut house = House::on(&broker.brokers(), registry);
    let stays = Running::start(&house.log);
    for _ in 0..2 {
        let mut worker = house.process(test);
        house.send(1_000);
        house.wait_decided();
        for _ in 0..6 {
            house.send(400);
        }
        worker.kill();
        house.send(400);
        broker.kill9();
        std::thread::sleep(Duration::from_secs(1));
        broker.restart();
        let since = Instant::now();
        house.wait_decided();
        eprintln!("decided {} ms after", since.elapsed().as_millis());
    }
    stays.stop();
    house.check();
}
