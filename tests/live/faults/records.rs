//! Records that cannot be decided, or not yet.

use bellhop_core::message::Message as _;
use bellhop_core::record::frame;
use bellhop_runtime::log::simulated::Random;
use bellhop_runtime::log::{Producer as _, Topic};
use bellhop_tests::hands::{append, counter_in};
use bellhop_tests::toy::Add;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::stage::{PARTITIONS, Stage};
use crate::house::{COMMAND_BYTES, LONG, topology};
use crate::tools;

pub(super) const AWAY: &str = "registries away";
pub(super) const GARBAGE: &str = "garbage records";

/// What a batch and a record have around key, value and headers, and some more.
const AROUND: usize = 512;
/// The smallest value that looks like one: a frame and a datum.
const LEAST: usize = 9;

/// The registry answers nothing but 503, and commands of a schema come that no worker has met: they
/// wait for it, and are decided.
pub(super) fn registry_away(stage: &mut Stage, random: &mut Random) {
    let counter = counter_in(random.below(u64::from(PARTITIONS)) as u32, PARTITIONS, 7);
    let name = format!("away_{:x}", random.bits());
    let newer = newer_add(&name);
    // It may be away already: it is there for as long as a producer needs it.
    stage.registry.set_away(false);
    let id = stage.sender.schema_id(Add::NAME, &newer).unwrap();
    stage.registry.set_away(true);
    stage.away += 1;
    stage.say(&format!("the registry is away, and schema {id} is new"));
    stage.count(AWAY, 1);
    let mut written = Vec::new();
    let mut keys = Vec::new();
    for nth in 0..1 + random.below(20) {
        let idempotency_key = format!("{name} {nth}");
        let add = Add { counter, amount: 1, note: name.clone() };
        let (key, value) = stage.house.pen.write(&idempotency_key, &add);
        let mut newer = Vec::new();
        frame(id, &mut newer);
        newer.extend_from_slice(&value[5..]);
        // The new field: a text of one byte.
        newer.extend_from_slice(&[2, b'x']);
        written.push((key, newer));
        keys.push(idempotency_key);
    }
    for ((partition, offset), key) in append(&mut stage.sender, &written).into_iter().zip(keys) {
        stage.house.sent.entry(partition).or_default().push((offset, key));
    }
    let lasts = stage.lasts(random);
    stage.later(lasts, |stage| {
        stage.away -= 1;
        stage.registry.set_away(stage.away > 0);
        stage.say(&format!("{} reasons are left why the registry is away", stage.away));
    });
}

/// The schema of a command with one more field.
fn newer_add(field: &str) -> String {
    let schemas = topology().schemas();
    let (_, text) = schemas.into_iter().find(|(name, _)| *name == Add::NAME).unwrap();
    let open = text.strip_suffix("]}").unwrap_or_else(|| panic!("{text}"));
    format!(r#"{open},{{"name":"{field}","type":"string","default":""}}]}}"#)
}

/// Key, value and headers of a record that a producer of ours would not send.
#[derive(Default)]
struct Garbage {
    partition: u32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Garbage {
    fn bytes(&self) -> usize {
        let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + of(value) + 16);
        of(&self.key) + of(&self.value) + headers.sum::<usize>()
    }
}

/// As many bytes as chance says; every number of digits is as likely as another.
fn some_bytes(random: &mut Random, least: usize, most: usize) -> Vec<u8> {
    let digits = random.below(u64::from(most.ilog2()) + 1);
    let len = (least + random.below(1 << digits) as usize).min(most);
    let block: Vec<u8> = (0..64).flat_map(|_| random.bits().to_le_bytes()).collect();
    block.into_iter().cycle().take(len).collect()
}

/// Records of all sizes, the largest just below what the topic takes.
pub(super) fn garbage(stage: &mut Stage, random: &mut Random) {
    let count = 10 + random.below(20);
    stage.say(&format!("{count} records of garbage"));
    let producer: BaseProducer = tools::client(&stage.house.config)
        .set("message.max.bytes", (COMMAND_BYTES * 2).to_string())
        .create()
        .unwrap();
    let topic = stage.house.config.topic(Topic::Commands);
    for nth in 0..count {
        let mut garbage = draw(stage, random);
        if nth == 0 {
            let rest = COMMAND_BYTES as usize - AROUND - garbage.bytes();
            garbage.value.get_or_insert_default().extend(std::iter::repeat_n(0, rest));
        }
        let Garbage { partition, key, value, headers } = &garbage;
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).partition(partition.cast_signed());
        record.key = key.as_deref();
        record.payload = value.as_deref();
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: value.as_ref() })
        });
        producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LONG).unwrap();
    stage.count(GARBAGE, count);
}

fn draw(stage: &Stage, random: &mut Random) -> Garbage {
    let partition = random.below(u64::from(PARTITIONS)) as u32;
    let counter = counter_in(partition, PARTITIONS, 9);
    let add = Add { counter, amount: 1, note: "garbage".to_owned() };
    let (key, good) = stage.house.pen.write(&format!("garbage {:x}", random.bits()), &add);
    let most = COMMAND_BYTES as usize / 4;
    let mut garbage = Garbage { partition, key: Some(key), ..Garbage::default() };
    match random.below(12) {
        0 => garbage.value = Some(some_bytes(random, LEAST, most)),
        1 => {
            let mut value = Vec::new();
            // Ids of the registry, and others.
            let id = if random.chance(5_000) { random.below(40) } else { random.bits() };
            frame(id as u32, &mut value);
            value.extend(some_bytes(random, LEAST, most));
            garbage.value = Some(value);
        }
        2 => garbage.value = Some([&good[..5], &some_bytes(random, LEAST, most)].concat()),
        3 => {
            let mut flipped = good;
            let at = random.below(flipped.len() as u64) as usize;
            flipped[at] ^= 1 << random.below(8);
            garbage.value = Some(flipped);
        }
        4 => garbage.value = Some(good[..random.below(good.len() as u64) as usize].to_vec()),
        5 => garbage.value = Some([good, some_bytes(random, 1, most)].concat()),
        6 => garbage.value = None,
        7 => (garbage.key, garbage.value) = (None, Some(good)),
        8 => {
            garbage.partition = (partition + 1) % PARTITIONS;
            garbage.value = Some(good);
        }
        9 => (garbage.key, garbage.value) = (Some(some_bytes(random, 1, most)), Some(good)),
        10 => {
            let poison = Add { amount: i64::MIN, ..add };
            garbage.value =
                Some(stage.house.pen.write(&format!("poison {:x}", random.bits()), &poison).1);
        }
        _ => {
            garbage.value = Some(good);
            let names = ["", "traceparent", "ce_id", "ce_type", "ce_specversion", "correlation-id"];
            for _ in 0..1 + random.below(20) {
                let name = random.pick(&names).copied().unwrap_or_default().to_owned();
                let value = random.chance(9_000).then(|| some_bytes(random, 1, most / 20));
                garbage.headers.push((name, value));
            }
        }
    }
    garbage
}
