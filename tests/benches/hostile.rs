//! What a partition of chosen ids costs: reservation ids that all collide under a hash without a key
//! (`rustc_hash`), against random ones. Each is decided, and restored from a snapshot.
//!
//! Prints one line of JSON, and fails when chosen ids cost more than 1.2 times as much.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark talks and may fail")]

use std::sync::Arc;
use std::time::Instant;

use bellhop_core::avro::Avro;
use bellhop_core::headers::Written;
use bellhop_core::message::{LogId, Message, MessageKey, Meta, Timestamp};
use bellhop_core::outcome::Outcome;
use bellhop_core::record::{Record, frame};
use bellhop_core::task::{Config, Task};
use bellhop_core::topology::{Topology, Wire};
use bellhop_handlers as _;
use bellhop_runtime::log::simulated::Random;
use bellhop_schemas::command::{
    Acceptance, CreateReservation, DefineProduct, DefineProperty, ProductKind,
};
use bellhop_schemas::dimensions::Dimensions;
use bellhop_schemas::ids::{ProductCode, PropertyId, ReservationId};
use bellhop_schemas::money::{Currency, Minor};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Price, PricedBy, RequestedLine};
use uuid::Uuid;

const RESERVATIONS: u128 = 100_000;
const PAIRS: usize = 5;
/// The first half of an id that makes `rustc_hash` forget the second: its own constant.
const HOSTILE: u128 = 0xd308_a385_886a_3f24;
const HOTEL: PropertyId = PropertyId(Uuid::from_u128(3));
/// 2026-06-01, noon.
const NOON: i64 = 1_780_315_200_000_000;

struct Bench {
    topology: Arc<Topology>,
    wire: Arc<Wire>,
}

impl Bench {
    fn task(&self) -> Task {
        let config = Config {
            partition: 0,
            partitions: 1,
            log_id: LogId(Uuid::from_u128(0x5eed_0042 << 64 | 42)),
            commands_topic: "bellhop.commands".into(),
            version: "bench".into(),
            rules: bellhop_core::rules::Rules::default(),
            reply_topics: Vec::new(),
            headers: Written::default(),
        };
        Task::new(config, self.topology.clone(), self.wire.clone())
    }

    fn send<C: Message>(&self, task: &mut Task, command: &C) {
        let offset = task.progress().next_offset;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        command.key().write(&mut key);
        frame(self.wire.id_of(C::NAME).expect("an id"), &mut value);
        let id = Uuid::from_u128(offset.into());
        Meta::of_command(id, &offset.to_string(), Timestamp(NOON)).encode(&mut value);
        command.encode(&mut value);
        let (key, value) = (Some(key.as_slice()), Some(value.as_slice()));
        let record = Record { offset, timestamp: Timestamp(NOON), key, value, headers: &[] };
        let outcome = task.process(&record).expect("a known schema");
        assert!(matches!(outcome, Some(Outcome::Decided { code: 0, .. })), "{outcome:?}");
        task.output().clear();
    }

    /// Seconds to decide bookings of these ids, and to restore their snapshot.
    fn measure(&self, ids: impl Iterator<Item = Uuid>) -> [f64; 2] {
        let mut task = self.task();
        let property = DefineProperty {
            property_id: HOTEL,
            code: "H".into(),
            time_zone: "UTC".into(),
            roll_hour: 0,
            currency: Currency::EUR,
            no_show_hour: None,
            physical: 1,
        };
        self.send(&mut task, &property);
        let product = DefineProduct {
            property_id: HOTEL,
            product: ProductCode::new("BED"),
            name: "Bed".into(),
            kind: ProductKind::Room,
            statistics: true,
            occupancy_max: None,
            physical: 1,
        };
        self.send(&mut task, &product);
        let today = Night((NOON / 86_400_000_000) as i32);
        let day_use = RequestedLine {
            product: ProductCode::new("BED"),
            units: 1,
            arrival: today,
            departure: today,
            adults: 1,
            child_ages: Vec::new(),
            dimensions: Dimensions::default(),
            currency: Currency::EUR,
            priced_by: PricedBy::Client,
            nights: Vec::new(),
            day_use: Some(Price { room: Minor(5_000), ..Price::default() }),
        };
        let started = Instant::now();
        for id in ids {
            let create = CreateReservation {
                property_id: HOTEL,
                // The one bed would be full after the first.
                acceptance: Acceptance::AlreadySold,
                reservation_id: ReservationId(id),
                booked_at: None,
                guest_ref: None,
                country: None,
                external_refs: Vec::new(),
                lines: vec![day_use.clone()],
            };
            self.send(&mut task, &create);
        }
        let decided = started.elapsed().as_secs_f64();
        let mut snapshot = Vec::new();
        task.snapshot(&mut snapshot);
        let started = Instant::now();
        self.task().restore(&snapshot).expect("its own snapshot");
        [decided, started.elapsed().as_secs_f64()]
    }
}

fn main() {
    let topology = Arc::new(Topology::discover().expect("a topology"));
    let mut id = 0;
    let wire = Arc::new(Wire::new(&topology, |_| {
        id += 1;
        id
    }));
    let bench = Bench { topology, wire };
    let mut ratios = [Vec::new(), Vec::new()];
    for pair in 0..PAIRS {
        let mut random = Random::new(pair as u64);
        let mut half = || u128::from(random.bits());
        let chosen = bench.measure((0..RESERVATIONS).map(|n| Uuid::from_u128(HOSTILE << 64 | n)));
        let drawn =
            bench.measure((0..RESERVATIONS).map(|_| Uuid::from_u128(half() << 64 | half())));
        for (ratios, (chosen, drawn)) in ratios.iter_mut().zip(chosen.into_iter().zip(drawn)) {
            ratios.push(chosen / drawn);
        }
    }
    let each = ["decide", "restore"].iter().zip(&mut ratios).map(|(name, ratios)| {
        ratios.sort_by(f64::total_cmp);
        let [min, _, median, _, max] = ratios.as_slice() else { panic!("{PAIRS} pairs") };
        format!("\"{name}\":{{\"min\":{min:.2},\"median\":{median:.2},\"max\":{max:.2}}}")
    });
    let each: Vec<_> = each.collect();
    println!("{{\"benchmark\":\"hostile\",\"chosen_over_random\":{{{}}}}}", each.join(","));
    for ratios in &ratios {
        assert!(ratios[PAIRS / 2] <= 1.2, "chosen ids cost more than random ones: {ratios:?}");
    }
}
