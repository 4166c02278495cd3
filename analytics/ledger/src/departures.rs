//! Which nights of a guest who has left count as an early departure.

use bellhop_core::avro::Avro;
use bellhop_core::message::{Message, Meta, Position, Timestamp};
use bellhop_schemas::dimensions::Dimensions;
use bellhop_schemas::event::ReservationCheckedOut;
use bellhop_schemas::ids::{ProductCode, PropertyId, ReservationId};
use bellhop_schemas::money::Currency;
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, LineNight, Price, PricedBy};
use uuid::Uuid;

use crate::expand::Expander;
use crate::row::{Id, Put, Row, Table, Take};

/// Night, units and reason of each row of the ledger of nights.
#[derive(Default)]
struct Nights(Vec<(Night, i32, String)>);

impl Take for Nights {
    fn row<R: Row>(&mut self, row: &R) {
        if R::TABLE == Table::RoomNights {
            let mut values = Values::default();
            row.put(&mut values);
            let of = |name: &str| {
                let place = R::COLUMNS.iter().position(|column| column.name == name);
                values.0[place.expect("a column")].clone()
            };
            let night = of("stay_night").parse().expect("a night");
            self.0.push((night, of("units").parse().expect("units"), of("reason")));
        }
    }
}

/// The values of a row as text.
#[derive(Default)]
struct Values(Vec<String>);

impl Put for Values {
    fn id(&mut self, id: &Id) {
        self.0.push(id.as_str().to_owned());
    }
    fn text(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
    fn int(&mut self, count: i32) {
        self.0.push(count.to_string());
    }
    fn long(&mut self, amount: i64) {
        self.0.push(amount.to_string());
    }
    fn day(&mut self, day: Night) {
        self.0.push(day.to_string());
    }
    fn instant(&mut self, instant: Timestamp) {
        self.0.push(instant.0.to_string());
    }
    fn flag(&mut self, flag: bool) {
        self.0.push(flag.to_string());
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.push(format!("{bytes:?}"));
    }
    fn some(&mut self) {}
    fn none(&mut self) {
        self.0.push(String::new());
    }
}

/// A line booked from night 10 to 12, with these nights.
fn line(nights: &[i32]) -> Line {
    let night = |night| LineNight { night: Night(night), held: None, price: Price::default() };
    Line {
        number: 1,
        product: ProductCode::new("DBL"),
        units: 2,
        arrival: Night(10),
        departure: Night(12),
        adults: 2,
        child_ages: Vec::new(),
        dimensions: Dimensions::default(),
        currency: Currency::EUR,
        priced_by: PricedBy::Client,
        nights: nights.iter().copied().map(night).collect(),
        day_use: None,
    }
}

/// The rows of a guest who leaves and gives nights back.
fn rows(nights: &[i32]) -> Vec<(i32, i32, String)> {
    let event = ReservationCheckedOut {
        property_id: PropertyId(Uuid::from_u128(1)),
        business_date: Night(13),
        reservation_id: ReservationId(Uuid::from_u128(2)),
        confirmation_number: "RSV-1970-000001".into(),
        booked_at: Timestamp(0),
        country: None,
        released: vec![line(nights)],
        day_use: Vec::new(),
        oversold: Vec::new(),
    };
    let meta = Meta::of_command(Uuid::from_u128(3), "key", Timestamp(0));
    let mut datum = Vec::new();
    event.encode(&mut datum);
    let mut rows = Nights::default();
    let at = Position { partition: 0, offset: 1 };
    let name = ReservationCheckedOut::NAME;
    Expander::default().event(at, name, &meta, &datum, &mut rows).expect("rows");
    rows.0.into_iter().map(|(night, units, reason)| (night.0, units, reason)).collect()
}

#[test]
fn nights_that_were_booked_are_given_back_as_an_early_departure() {
    assert_eq!(rows(&[11]), [(11, -2, "early_departure".to_owned())]);
}

#[test]
fn a_night_that_a_guest_stayed_on_for_is_taken_off_the_overstay() {
    assert_eq!(rows(&[12, 13]), [12, 13].map(|night| (night, -2, "overstay".to_owned())));
}
