//! What is over leaves memory, and what is asked about it then.

use std::sync::Arc;

use bellhop_core::avro::Avro;
use bellhop_core::driver::{Driver, Sent};
use bellhop_core::engine::EngineRecord;
use bellhop_core::message::{Message, MessageKey, Meta, Timestamp};
use bellhop_core::record::frame;
use bellhop_core::rules::{ChangeRules, Rules};
use bellhop_core::task::Task;
use bellhop_core::topology::Topology;
use bellhop_schemas::command::*;
use bellhop_schemas::event::*;
use bellhop_schemas::reason::{Reason, Rule};
use bellhop_schemas::stay::{Price, RequestedLine};
use uuid::Uuid;

use crate::fixtures::*;
use crate::state::external_ref::ExternalRefs;
use crate::state::inventory::Inventory;
use crate::state::reservation::{Reservation, ReservationState};
use crate::state::retention::Retention;

/// Days that reservations are kept for by default.
const KEPT: i32 = 400;

fn at(driver: &mut Driver, day: i32) {
    driver.set_time(noon(TODAY.plus(day)));
}

/// Books something else: what is due leaves memory.
fn make_room(driver: &mut Driver, number: u128, day: i32) {
    at(driver, day);
    accept(driver, &create(number, vec![line("BED", 1, day, 1)]));
}

/// The rule of a refusal, and its day in days after today.
fn refusal(sent: &Sent) -> (Rule, Option<i32>) {
    let [Reason { rule, night, .. }] = reasons(sent)[..] else { panic!("{sent:?}") };
    (rule, night.map(|night| TODAY.until(night)))
}

/// What all commands about reservation 1 are answered with; they agree.
fn answer(driver: &mut Driver) -> (Rule, Option<i32>) {
    let answers = [
        refusal(&driver.send(&cancel(1))),
        refusal(&driver.send(&arrive(1, &[]))),
        refusal(&driver.send(&relocate(1, &[]))),
        refusal(&driver.send(&leave(1))),
        refusal(&driver.send(&no_show(1))),
    ];
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    answers[0]
}

fn by_ref(number: &str) -> CancelReservation {
    CancelReservation { reservation_id: None, external_ref: Some(pms(number)), ..cancel(1) }
}

/// Stays for two nights from today: the last day is 2.
fn stayed() -> Driver {
    let mut driver = hotel();
    accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 2)]));
    accept(&mut driver, &arrive(1, &[]));
    at(&mut driver, 2);
    accept(&mut driver, &leave(1));
    driver
}

#[test]
fn a_stay_is_answered_with_its_last_day_once_it_is_long_ago_and_then_not_at_all() {
    // Whether memory was given back in between changes no answer.
    for bookings in [false, true] {
        let mut driver = stayed();
        let mut number = 100;
        let mut go_to = |driver: &mut Driver, day| {
            at(driver, day);
            if bookings {
                number += 1;
                make_room(driver, number, day);
            }
        };
        go_to(&mut driver, 2 + KEPT);
        assert_eq!(answer(&mut driver), (Rule::WrongState, None));
        assert_eq!(refusal(&driver.send(&by_ref("1"))), (Rule::WrongState, None));
        go_to(&mut driver, 2 + KEPT + 1);
        assert_eq!(answer(&mut driver), (Rule::Finished, Some(2)));
        assert_eq!(refusal(&driver.send(&by_ref("1"))), (Rule::UnknownReservation, None));
        let again = create(1, vec![line("DBL", 1, 2 + KEPT + 1, 1)]);
        assert_eq!(refusal(&driver.send(&again)), (Rule::Finished, Some(2)), "its id is taken");
        let both = CancelReservation { reservation_id: Some(id(1)), ..by_ref("1") };
        assert_eq!(refusal(&driver.send(&both)), (Rule::Finished, Some(2)));

        go_to(&mut driver, 2 + 2 * KEPT);
        assert_eq!(answer(&mut driver), (Rule::Finished, Some(2)));
        go_to(&mut driver, 2 + 2 * KEPT + 1);
        assert_eq!(answer(&mut driver), (Rule::UnknownReservation, None));
        accept(&mut driver, &create(1, vec![line("DBL", 1, 2 + 2 * KEPT + 1, 1)]));
        assert_eq!(state(&driver, 1), ReservationState::Confirmed);
    }
}

#[test]
fn an_external_reference_is_free_again_with_its_reservation() {
    for bookings in [false, true] {
        let mut driver = stayed();
        let day = 2 + KEPT;
        at(&mut driver, day);
        let new = |day| CreateReservation {
            external_refs: vec![pms("1")],
            ..create(2, vec![line("DBL", 1, day, 1)])
        };
        assert_eq!(refusal(&driver.send(&new(day))).0, Rule::ExternalRefInUse);
        at(&mut driver, day + 1);
        if bookings {
            make_room(&mut driver, 100, day + 1);
        }
        accept(&mut driver, &new(day + 1));
        make_room(&mut driver, 101, day + 1);
        let cancelled: ReservationCancelled = accept(&mut driver, &by_ref("1")).only();
        assert_eq!(cancelled.reservation_id, id(2));
    }
}

#[test]
fn whatever_became_of_a_reservation_its_last_day_decides() {
    type Life = fn(&mut Driver);
    let lives: [(&str, Life, i32); 7] = [
        ("cancelled", |driver| drop(accept(driver, &cancel(1))), 0),
        ("never closed", |_| {}, 12),
        (
            "cancelled late",
            |driver| {
                at(driver, 50);
                accept(driver, &cancel(1));
            },
            50,
        ),
        (
            "a no-show",
            |driver| {
                at(driver, 11);
                accept(driver, &no_show(1));
            },
            12,
        ),
        (
            "a no-show who came",
            |driver| {
                at(driver, 11);
                accept(driver, &no_show(1));
                accept(driver, &arrive(1, &[]));
                at(driver, 12);
                accept(driver, &leave(1));
            },
            12,
        ),
        (
            "left early",
            |driver| {
                at(driver, 10);
                accept(driver, &arrive(1, &[]));
                at(driver, 11);
                accept(driver, &leave(1));
            },
            11,
        ),
        // Extended for 400 nights, the last of them on day 411.
        (
            "never left",
            |driver| {
                at(driver, 10);
                accept(driver, &arrive(1, &[]));
                at(driver, 412);
                accept(driver, &create(99, vec![line("BED", 1, 412, 1)]));
            },
            412,
        ),
    ];
    for (what, live, last_day) in lives {
        let mut driver = hotel();
        accept(&mut driver, &create(1, vec![line("DBL", 1, 10, 2)]));
        live(&mut driver);
        at(&mut driver, last_day + KEPT);
        let before = refusal_or_none(&driver.send(&relocate(1, &[(9, "TWN")])));
        assert_ne!(before, Some(Rule::Finished), "{what}");
        make_room(&mut driver, 100, last_day + KEPT + 1);
        assert_eq!(answer(&mut driver), (Rule::Finished, Some(last_day)), "{what}");
        // A cancelled one is listed under the day that it was to leave on.
        make_room(&mut driver, 101, last_day.max(12) + KEPT + 1);
        make_room(&mut driver, 102, last_day.max(12) + 2 * KEPT + 1);
        let kept = driver.store::<Reservation>().sorted();
        let kept: Vec<_> = kept.iter().map(|(key, _)| key.reservation_id).collect();
        assert!(!kept.contains(&id(1)), "{what}: {kept:?}");
        let refs = driver.store::<ExternalRefs>().get(&HOTEL).expect("references");
        assert_eq!(refs.get(&pms("1")), None, "{what}");
    }
}

fn refusal_or_none(sent: &Sent) -> Option<Rule> {
    rules(sent).first().copied()
}

#[test]
fn nights_and_day_uses_long_past_are_counted_no_longer() {
    let mut driver = hotel();
    let day_use = RequestedLine { day_use: Some(Price::default()), ..line("DBL", 2, 3, 0) };
    accept(&mut driver, &create(1, vec![line("DBL", 4, 0, 90), day_use]));
    let supply = SetPhysicalCount {
        property_id: HOTEL,
        product: Some(code("DBL")),
        first_night: Some(TODAY.plus(5)),
        last_night: Some(TODAY.plus(6)),
        count: 7,
    };
    accept(&mut driver, &supply);
    make_room(&mut driver, 2, 50 + KEPT);
    let inventory = driver.store::<Inventory>().get(&HOTEL).expect("the hotel");
    let calendar = &inventory.product(&code("DBL")).expect("the product").calendar;
    let first = calendar.nights().next().expect("a night").0;
    let kept = TODAY.until(first);
    assert!((50 - 33..50).contains(&kept), "whole pages of 32 nights are dropped: {kept}");
    assert_eq!(calendar.days().count(), 0);
    assert_eq!(cell(&driver, Some("DBL"), 50).sold, 4);
    assert_eq!(cell(&driver, Some("DBL"), 10).sold, 0);
    assert_eq!(calendar.physical().at(TODAY.plus(5)), 8, "what was in force when it was dropped");

    // What is given back now gives back the nights that are counted, and no others.
    accept(&mut driver, &cancel(1));
    assert_eq!(cell(&driver, Some("DBL"), 50).sold, 0);
    assert_eq!(cell(&driver, Some("DBL"), 10).sold, 0);
    let first_again = driver.store::<Inventory>().get(&HOTEL).expect("the hotel").house().nights();
    assert!(first_again.map(|(night, _)| night).min() >= Some(first));
}

#[test]
fn a_booking_sold_elsewhere_may_begin_as_long_ago_as_nights_are_counted() {
    let sold_elsewhere = |number, day| CreateReservation {
        acceptance: Acceptance::AlreadySold,
        ..create(number, vec![line("DBL", 9, day, 1)])
    };
    let mut driver = hotel();
    let created: ReservationCreated = accept(&mut driver, &sold_elsewhere(1, -KEPT)).only();
    assert_eq!(oversold(&created.oversold), [(Some("DBL"), -KEPT, 1)]);
    let late = driver.send(&sold_elsewhere(2, -KEPT - 1));
    assert_eq!(refusal(&late), (Rule::NightInPast, Some(-KEPT - 1)));

    // A longer retention does not bring back what is forgotten.
    make_room(&mut driver, 3, KEPT);
    keep_for(&mut driver, 3_000);
    let inventory = driver.store::<Inventory>().get(&HOTEL).expect("the hotel");
    let first = TODAY.until(inventory.kept_from().expect("a night"));
    assert!(first < 0, "nights are forgotten by whole pages: {first}");
    assert_eq!(refusal(&driver.send(&sold_elsewhere(4, first))).0, Rule::NightInPast);
    accept(&mut driver, &sold_elsewhere(5, first + 1));
}

/// Changes the rules of the log.
fn keep_for(driver: &mut Driver, retention_days: u32) {
    let mut value = Vec::new();
    frame(driver.wire().id_of(ChangeRules::NAME).expect("an id"), &mut value);
    Meta::of_command(Uuid::from_u128(7), "rules", Timestamp(0)).encode(&mut value);
    let rules = Rules { retention_days, ..Rules::default() };
    ChangeRules { partition: 0, rules }.encode(&mut value);
    driver.send_record(None, Some(&value));
    assert_eq!(driver.task().rules(), rules);
}

#[test]
fn a_shorter_retention_holds_at_once_and_a_longer_one_brings_nothing_back() {
    let mut driver = stayed();
    at(&mut driver, 40);
    assert_eq!(answer(&mut driver), (Rule::WrongState, None));
    keep_for(&mut driver, 30);
    assert_eq!(answer(&mut driver), (Rule::Finished, Some(2)));
    keep_for(&mut driver, 400);
    assert_eq!(answer(&mut driver), (Rule::WrongState, None), "it was still in memory");
    keep_for(&mut driver, 30);
    make_room(&mut driver, 2, 40);
    keep_for(&mut driver, 400);
    assert_eq!(answer(&mut driver), (Rule::Finished, Some(2)));
}

/// A house in which something of everything happens each day; its events are kept.
struct Years {
    driver: Driver,
    /// Key and value of each.
    events: Vec<(Vec<u8>, Vec<u8>)>,
    booked: u128,
}

impl Years {
    fn new() -> Self {
        let driver = Driver::new(noon(TODAY));
        let mut years = Self { driver, events: Vec::new(), booked: 0 };
        years.send(&DefineProperty { physical: 40, ..define_hotel(HOTEL) });
        for product in [define("DBL", 40, true), define("BED", 8, false)] {
            years.send(&product);
        }
        years
    }

    fn send<C: Message>(&mut self, command: &C) {
        let sent = accept(&mut self.driver, command);
        let wire = self.driver.wire();
        for event in &sent.events {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            HOTEL.write(&mut key);
            frame(wire.id_of(&event.name).expect("an id"), &mut value);
            event.meta.encode(&mut value);
            value.extend_from_slice(event.datum());
            self.events.push((key, value));
        }
    }

    /// Four bookings a day, of which one is cancelled, one is a no-show and two stay.
    fn live(&mut self, days: std::ops::Range<i32>) {
        for day in days {
            at(&mut self.driver, day);
            let first = self.booked + 1;
            for nights in [2, 3, 1, 2] {
                self.booked += 1;
                let day_use =
                    RequestedLine { day_use: Some(Price::default()), ..line("BED", 1, day, 0) };
                let lines = vec![line("DBL", 1, day, nights), day_use];
                self.send(&create(self.booked, lines));
            }
            self.send(&cancel(first));
            let stay = [first + 1, first + 2];
            for number in stay {
                self.send(&arrive(number, &[]));
            }
            if day > 3 {
                let of = |day_before: u128| first - 4 * day_before;
                self.send(&no_show(of(1) + 3));
                self.send(&leave(of(3) + 1));
                self.send(&leave(of(1) + 2));
            }
        }
    }

    fn sizes(&self) -> Sizes {
        let mut snapshot = Vec::new();
        self.driver.task().snapshot(&mut snapshot);
        let inventory = self.driver.store::<Inventory>().get(&HOTEL).expect("the hotel");
        let listed = self.driver.store::<Retention>().get(&HOTEL).expect("a list").len();
        Sizes {
            snapshot_bytes: snapshot.len(),
            reservations: self.driver.store::<Reservation>().len(),
            listed,
            pages: inventory.house().nights().count() / 32,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    snapshot_bytes: usize,
    reservations: usize,
    listed: usize,
    pages: usize,
}

#[test]
fn the_state_of_a_house_is_as_large_after_ten_years_as_after_four() {
    let mut house = Years::new();
    house.live(0..4 * 366);
    let four = house.sizes();
    house.live(4 * 366..10 * 366);
    let ten = house.sizes();
    assert_eq!((ten.reservations, ten.listed), (four.reservations, four.listed));
    // 400 days whole, 400 days as a date; four bookings each, and the few that are under way.
    let kept = 4 * (2 * KEPT as usize + 4);
    assert!(ten.reservations <= kept, "{ten:?}, at most {kept}");
    assert!(ten.pages <= KEPT as usize / 32 + 3, "{ten:?}");
    let grown = ten.snapshot_bytes as f64 / four.snapshot_bytes as f64;
    assert!(grown < 1.02, "{four:?} became {ten:?}");
}

#[test]
fn a_fold_forgets_what_the_live_state_has_forgotten() {
    let mut house = Years::new();
    house.live(0..1_000);
    let live = house.driver.task();
    let topology = Arc::new(Topology::discover().expect("a topology"));
    let wire = Arc::new(house.driver.wire().clone());
    let mut folded = Task::new(live.config().clone(), topology, wire);
    for (key, value) in &house.events {
        folded.fold(key, value).expect("an event");
    }
    folded.resume(live.progress());
    assert_eq!(live.first_difference(&folded), None);
    assert!(live.stores().find::<Reservation>().is_some_and(|it| it.len() < house.booked as usize));
}

#[test]
fn one_booking_looks_at_a_bounded_number_of_what_is_due() {
    let mut driver = hotel();
    for number in 1..=200 {
        accept(&mut driver, &create(number, vec![line("DBL", 1, 0, 1)]));
        accept(&mut driver, &cancel(number));
    }
    let count = |driver: &Driver| driver.store::<Reservation>().len();
    let mut counts = vec![count(&driver)];
    for number in 0..9 {
        make_room(&mut driver, 1_000 + number, 1_000);
        accept(&mut driver, &cancel(1_000 + number));
        counts.push(count(&driver));
    }
    assert!(counts.windows(2).all(|pair| pair[0] + 1 - pair[1] <= 64), "{counts:?}");
    assert_eq!(counts.last(), Some(&9), "{counts:?}");
}

#[test]
fn confirmation_numbers_are_counted_for_two_years_and_no_more() {
    use crate::state::property::Property;
    let mut driver = hotel();
    let mut sizes = Vec::new();
    for year in 0..6 {
        make_room(&mut driver, 1 + year, 370 * year as i32);
        let mut bytes = Vec::new();
        driver.store::<Property>().get(&HOTEL).expect("the hotel").encode(&mut bytes);
        sizes.push(bytes.len());
    }
    assert!(sizes[1..].iter().all(|bytes| *bytes == sizes[1]), "{sizes:?}");
}
