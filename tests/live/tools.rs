//! What an operator, or an operator's mistake, does to the topics with the tools of the brokers.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bellhop_runtime::log::Topic;
use bellhop_runtime::log::redpanda::Config;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const ANSWERED: Duration = Duration::from_secs(30);

pub(crate) fn client(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers);
    client
}

pub(crate) fn admin(config: &Config) -> AdminClient<DefaultClientContext> {
    client(config).create().unwrap()
}

/// Waits for one of the admin client's futures, which its own thread completes.
pub(crate) fn wait<T>(asked: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut context, mut asked) = (Context::from_waker(&waker), pin!(asked));
    loop {
        if let Poll::Ready(answer) = asked.as_mut().poll(&mut context) {
            return answer;
        }
        std::thread::park();
    }
}

fn offset_of_commands(config: &Config, partition: u32, offset: u64) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    let offset = Offset::Offset(offset.cast_signed());
    let topic = config.topic(Topic::Commands);
    list.add_partition_offset(&topic, partition.cast_signed(), offset).unwrap();
    list
}

/// Deletes the commands of a partition before an offset, as retention does.
pub(crate) fn delete_commands(config: &Config, partition: u32, before: u64) {
    let deleted = offset_of_commands(config, partition, before);
    wait(admin(config).delete_records(&deleted, &AdminOptions::new())).unwrap();
}

/// Adds partitions to the topic of commands until there are so many.
pub(crate) fn grow_commands(config: &Config, partitions: u32) {
    let topic = config.topic(Topic::Commands);
    let more = [NewPartitions::new(&topic, partitions as usize)];
    let added = wait(admin(config).create_partitions(&more, &AdminOptions::new())).unwrap();
    assert!(added.iter().all(Result::is_ok), "{added:?}");
}

/// Moves the committed offset of a group that nobody is in, as `--reset-offsets --to-offset` does:
/// whatever was noted with it is gone.
pub(crate) fn move_offset(config: &Config, partition: u32, to: u64) {
    let tool: BaseConsumer = client(config).set("group.id", &config.group).create().unwrap();
    tool.commit(&offset_of_commands(config, partition, to), CommitMode::Sync).unwrap();
}

/// Ends whatever transaction of an id is open, as `fenceProducers` does, and gives its producer.
pub(crate) fn initialise(config: &Config, id: &str) -> BaseProducer {
    let producer: BaseProducer = client(config).set("transactional.id", id).create().unwrap();
    producer.init_transactions(ANSWERED).unwrap();
    producer
}
