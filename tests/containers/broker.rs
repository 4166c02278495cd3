//! A broker in a container.

use std::sync::OnceLock;
use std::time::Instant;

use bellhop_harness::{BrokerImage, Engine, LABEL, Registry, Start, free_port};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::runners::SyncRunner as _;
use testcontainers::{Container, GenericImage, ImageExt as _};

use crate::house::LONG;
use crate::only_broker;
use crate::reaper::Reaper;

/// A running broker, removed when dropped, and when this process ends in any way.
pub(crate) struct Broker {
    engine: Engine,
    container: Container<GenericImage>,
    start: Start,
    /// Behind the container: what is left then is the reaper's.
    _reaper: Reaper,
}

/// The engine that these tests need.
pub(crate) fn engine() -> Engine {
    Engine::find().unwrap_or_else(|error| {
        panic!(
            "these tests need a Docker engine: {error:#}; start one, or name one in DOCKER_HOST, \
             or run them by `cargo xtask test`, which starts one where it can"
        )
    })
}

/// The broker's image, which is made at most once.
pub(crate) fn image(engine: &Engine) -> &'static BrokerImage {
    static IMAGE: OnceLock<BrokerImage> = OnceLock::new();
    IMAGE.get_or_init(|| BrokerImage::choose(engine).unwrap())
}

impl Broker {
    /// Starts it and waits until it answers.
    pub(crate) fn start() -> Self {
        let broker = Self::launch();
        broker.wait_ready();
        broker
    }

    /// Starts it.
    pub(crate) fn launch() -> Self {
        let engine = engine();
        let image = image(&engine);
        let (kafka, registry) = (free_port().unwrap(), free_port().unwrap());
        let start = image.start(engine.host(), kafka, registry);
        let network = format!("bellhop-tests-{}-{kafka}", std::process::id());
        let mut container = GenericImage::new(&image.name, &image.tag);
        if let Some(entrypoint) = &start.entrypoint {
            container = container.with_entrypoint(entrypoint);
        }
        let mut container = container
            .with_cmd(&start.arguments)
            .with_network(&network)
            .with_label(LABEL, "broker")
            .with_startup_timeout(LONG);
        for (path, content) in &start.files {
            container = container.with_copy_to(path, content.clone().into_bytes());
        }
        for (outside, inside) in &start.ports {
            container = container.with_mapped_port(*outside, inside.tcp());
        }
        let container = container.start().unwrap();
        let reaper = Reaper::of(container.id(), &network);
        Self { engine, container, start, _reaper: reaper }
    }

    /// What the engine calls it.
    pub(crate) fn id(&self) -> &str {
        self.container.id()
    }

    /// Address of a schema registry: the broker's own, or one for all brokers that have none.
    pub(crate) fn registry(&self) -> String {
        static REGISTRY: OnceLock<Registry> = OnceLock::new();
        match &self.start.registry {
            Some(own) => format!("http://{own}"),
            None => REGISTRY.get_or_init(|| Registry::start().unwrap()).url(),
        }
    }

    fn wait_ready(&self) {
        let until = Instant::now() + LONG;
        while !self.start.is_ready() {
            let is_alive = self.container.is_running().unwrap() && Instant::now() < until;
            assert!(is_alive, "the broker is not ready in {LONG:?}:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        let said = [self.container.stdout_to_vec(), self.container.stderr_to_vec()];
        let said = said.map(|it| String::from_utf8_lossy(&it.unwrap_or_default()).into_owned());
        said.concat()
    }
}

impl only_broker::Broker for Broker {
    fn brokers(&self) -> String {
        self.start.brokers.clone()
    }

    fn kill9(&mut self) {
        self.engine.kill9(self.id()).unwrap();
    }

    fn restart(&mut self) {
        self.container.start().unwrap();
        self.wait_ready();
    }
}
