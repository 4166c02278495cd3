//! The AVAIL load: reservation commands of many properties, the same for one seed every time.
//!
//! Zipf 1.07 over the properties, four room types each, 365 nights; stays of 1 to 7 nights with a
//! mean of 2.5; 1 % duplicates of an idempotency key, 0.5 % requests over any capacity. Shares of
//! the commands: 68 % create, 17 % cancel, 10 % check-in, 5 % check-out (a modification's tenth
//! goes to create and cancel until there is such a command).

use bellhop_core::avro::Avro;
use bellhop_core::message::{Message, MessageKey, Meta, Timestamp};
use bellhop_core::partition::partition_of;
use bellhop_core::record::{Records, frame};
use bellhop_core::topology::Wire;
use bellhop_schemas::command::{
    Acceptance, CancelReservation, CheckIn, CheckOut, CreateReservation, DefineProduct,
    DefineProperty, ProductKind,
};
use bellhop_schemas::dimensions::Texts;
use bellhop_schemas::ids::{ProductCode, PropertyId, ReservationId};
use bellhop_schemas::money::{Currency, Minor};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Price, PricedBy, RequestedLine};
use uuid::Uuid;

/// Room types of a property.
const PRODUCTS: [&str; 4] = ["STD", "SUP", "DLX", "STE"];
/// Units of one room type: the head of the Zipf distribution fills them, its tail never does.
const UNITS: i32 = 250;
/// The first business date of the load.
const TODAY: Night = Night(20_000);

/// What the load looks like.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Seed of everything.
    pub seed: u64,
    /// How many properties.
    pub properties: usize,
    /// How many commands, the catalog not counted.
    pub commands: usize,
    /// How many partitions.
    pub partitions: u32,
}

impl Default for Load {
    fn default() -> Self {
        Self { seed: 42, properties: 4_000, commands: 1_000_000, partitions: 8 }
    }
}

/// Commands by partition, encoded and framed.
pub struct Commands {
    /// The catalog: what must be decided before the load.
    pub catalog: Vec<Records>,
    /// The load.
    pub load: Vec<Records>,
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What the generator remembers of a reservation it asked for.
#[derive(Clone, Copy)]
struct Booked {
    property: usize,
    reservation_id: ReservationId,
}

impl Load {
    /// Generates the commands.
    #[must_use]
    pub fn generate(self, wire: &Wire) -> Commands {
        let mut random = Random(self.seed);
        let ids: Vec<PropertyId> = (0..self.properties)
            .map(|n| PropertyId(Uuid::from_u128((u128::from(random.next()) << 64) | n as u128)))
            .collect();
        let mut writer = Writer { wire, load: self, now: 0, out: Vec::new() };
        writer.out = (0..self.partitions).map(|_| Records::default()).collect();
        for (n, property_id) in ids.iter().enumerate() {
            define(&mut writer, n, *property_id);
        }
        let catalog = std::mem::replace(
            &mut writer.out,
            (0..self.partitions).map(|_| Records::default()).collect(),
        );

        let zipf = zipf(self.properties, 1.07);
        let (mut coming, mut today, mut in_house) = (Vec::new(), Vec::new(), Vec::new());
        let mut number = 0_u64;
        let mut last: Option<(String, CreateReservation)> = None;
        for n in 0..self.commands {
            writer.now += 50_000;
            if random.below(100) == 0
                && let Some((key, create)) = last.take()
            {
                writer.write(&key, &create);
                continue;
            }
            let key = format!("avail-{n}");
            let dice = random.below(100);
            if dice < 17 && !coming.is_empty() {
                let at = random.below(coming.len());
                let Booked { property, reservation_id } = coming.swap_remove(at);
                let (property_id, reservation_id) = (ids[property], Some(reservation_id));
                let cancel = CancelReservation {
                    property_id,
                    reservation_id,
                    external_ref: None,
                    cause: None,
                };
                writer.write(&key, &cancel);
            } else if (17..27).contains(&dice) && !today.is_empty() {
                let at = random.below(today.len());
                let booked: Booked = today.swap_remove(at);
                in_house.push(booked);
                let (property_id, reservation_id) =
                    (ids[booked.property], Some(booked.reservation_id));
                let check_in = CheckIn {
                    property_id,
                    reservation_id,
                    external_ref: None,
                    assignments: vec![],
                };
                writer.write(&key, &check_in);
            } else if (27..32).contains(&dice) && !in_house.is_empty() {
                let at = random.below(in_house.len());
                let Booked { property, reservation_id } = in_house.swap_remove(at);
                let (property_id, reservation_id) = (ids[property], Some(reservation_id));
                writer.write(&key, &CheckOut { property_id, reservation_id, external_ref: None });
            } else {
                let place = random.unit();
                let property = zipf.partition_point(|sum| *sum < place).min(ids.len() - 1);
                number += 1;
                let id = (u128::from(random.next()) << 64) | u128::from(number);
                let reservation_id = ReservationId(Uuid::from_u128(id));
                let arrives_today = random.below(100) < 16;
                let create = create(&mut random, ids[property], reservation_id, arrives_today);
                writer.write(&key, &create);
                let booked = Booked { property, reservation_id };
                if arrives_today {
                    today.push(booked)
                } else {
                    coming.push(booked)
                }
                last = Some((key, create));
            }
        }
        Commands { catalog, load: writer.out }
    }
}

struct Writer<'a> {
    wire: &'a Wire,
    load: Load,
    now: i64,
    out: Vec<Records>,
}

impl Writer<'_> {
    /// # Panics
    /// When the command is not of the topology.
    fn write<C: Message>(&mut self, key: &str, command: &C) {
        let Some(schema_id) = self.wire.id_of(C::NAME) else { panic!("{} has no id", C::NAME) };
        let now = Timestamp(i64::from(TODAY.0) * 86_400_000_000 + 3_600_000_000 + self.now);
        let mut record_key = Vec::new();
        command.key().write(&mut record_key);
        let partition = partition_of(&record_key, self.load.partitions) as usize;
        let id = u128::from(self.load.seed) << 96 | (self.now as u128) << 32 | key.len() as u128;
        let meta = Meta::of_command(Uuid::from_u128(id), key, now);
        self.out[partition].push(
            now,
            |out| out.extend_from_slice(&record_key),
            |out| {
                frame(schema_id, out);
                meta.encode(out);
                command.encode(out);
            },
        );
    }
}

fn define(writer: &mut Writer<'_>, n: usize, property_id: PropertyId) {
    let property = DefineProperty {
        property_id,
        code: format!("H{n:04}").into(),
        time_zone: "Europe/Lisbon".into(),
        roll_hour: 0,
        currency: Currency::EUR,
        physical: UNITS * PRODUCTS.len() as i32,
        no_show_hour: None,
    };
    writer.write(&format!("property-{n}"), &property);
    for code in PRODUCTS {
        let product = DefineProduct {
            property_id,
            product: ProductCode::new(code),
            name: code.into(),
            kind: ProductKind::Room,
            statistics: true,
            physical: UNITS,
            occupancy_max: None,
        };
        writer.write(&format!("product-{n}-{code}"), &product);
    }
}

fn create(
    random: &mut Random,
    property_id: PropertyId,
    reservation_id: ReservationId,
    arrives_today: bool,
) -> CreateReservation {
    // Shares of 1 to 7 nights with a mean of 2.5.
    let nights = match random.below(100) {
        0..30 => 1,
        30..60 => 2,
        60..80 => 3,
        80..90 => 4,
        90..95 => 5,
        95..98 => 6,
        _ => 7,
    };
    let arrival = TODAY.plus(if arrives_today { 0 } else { 1 + random.below(358) as i32 });
    let units = if random.below(1_000) < 5 { 900 } else { 1 };
    let price = Price { room: Minor(9_000 + random.below(9_000) as i64), ..Price::default() };
    let line = RequestedLine {
        product: ProductCode::new(PRODUCTS[random.below(PRODUCTS.len())]),
        units,
        arrival,
        departure: arrival.plus(nights),
        adults: 2,
        child_ages: vec![],
        dimensions: Texts {
            rate_plan: Some("BAR"),
            segment: Some("Online TA"),
            channel: Some("TA/TO"),
            agent: Some("9"),
            ..Texts::default()
        }
        .into(),
        currency: Currency::EUR,
        priced_by: PricedBy::Client,
        nights: vec![price; nights as usize],
        day_use: None,
    };
    CreateReservation {
        property_id,
        reservation_id,
        booked_at: None,
        guest_ref: None,
        country: Some("PRT".into()),
        external_refs: vec![],
        lines: vec![line],
        acceptance: Acceptance::Request,
    }
}

/// The cumulative distribution of Zipf's law.
fn zipf(count: usize, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=count)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    sums.into_iter().map(|part| part / sum).collect()
}
