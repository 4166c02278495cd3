//! Any value of the two main messages, and any night and currency, comes back as it was.

use bellhop_core::avro::Avro;
use bellhop_core::engine::encode_with_meta;
use bellhop_core::message::{Meta, Source, Timestamp};
use bellhop_schemas::command::{Acceptance, CreateReservation};
use bellhop_schemas::dimensions::Texts;
use bellhop_schemas::event::ReservationCreated;
use bellhop_schemas::ids::{ExternalRef, ProductCode, PropertyId, ReservationId};
use bellhop_schemas::money::{Currency, Minor};
use bellhop_schemas::night::Night;
use bellhop_schemas::stay::{Line, LineNight, OversoldNight, Price, PricedBy, RequestedLine};
use compact_str::CompactString;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use crate::samples;

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn text() -> impl Strategy<Value = CompactString> {
    "\\PC{0,40}".prop_map(CompactString::from)
}

fn code() -> impl Strategy<Value = Option<CompactString>> {
    option::of(text())
}

fn night() -> impl Strategy<Value = Night> {
    any::<i32>().prop_map(Night)
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn currency() -> impl Strategy<Value = Currency> {
    "[A-Z]{3}".prop_map(|text| text.parse().unwrap())
}

fn price() -> impl Strategy<Value = Price> {
    any::<(i64, i64, i64)>().prop_map(|(room, tax, extras)| Price {
        room: Minor(room),
        tax: Minor(tax),
        extras: Minor(extras),
    })
}

fn priced_by() -> impl Strategy<Value = PricedBy> {
    prop_oneof![Just(PricedBy::Engine), Just(PricedBy::Client), Just(PricedBy::Contract)]
}

fn external_refs() -> impl Strategy<Value = Vec<ExternalRef>> {
    vec((text(), text()).prop_map(|(system, id)| ExternalRef { system, id }), 0..4)
}

fn source() -> impl Strategy<Value = Source> {
    let place = (text(), any::<u32>(), any::<i64>(), any::<u16>(), any::<u8>());
    (place, code(), any::<i64>(), text()).prop_map(
        |((topic, partition, offset, index, depth), idempotency_key, payload_hash, decided_by)| {
            Source {
                topic,
                partition,
                offset,
                index,
                depth,
                idempotency_key,
                payload_hash,
                decided_by,
            }
        },
    )
}

fn meta() -> impl Strategy<Value = Meta> {
    let ids = (uuid(), option::of(uuid()), option::of(uuid()));
    (ids, code(), timestamp(), option::of(source())).prop_map(
        |((message_id, correlation_id, causation_id), idempotency_key, occurred_at, source)| Meta {
            message_id,
            idempotency_key,
            correlation_id,
            causation_id,
            occurred_at,
            source,
        },
    )
}

fn requested_line() -> impl Strategy<Value = RequestedLine> {
    let stay = (text(), any::<i32>(), night(), night(), any::<i32>());
    let guests = vec(option::of(any::<i32>()), 0..5);
    let codes = (code(), code(), code(), code(), code(), code(), code(), code());
    let prices = (currency(), priced_by(), vec(price(), 0..9), option::of(price()));
    (stay, guests, codes, prices).prop_map(
        |(
            (product, units, arrival, departure, adults),
            child_ages,
            (rate_plan, segment, channel, source, company, agent, block, guarantee),
            (currency, priced_by, nights, day_use),
        )| RequestedLine {
            product: ProductCode(product),
            units,
            arrival,
            departure,
            adults,
            child_ages,
            dimensions: Texts {
                rate_plan,
                segment,
                channel,
                source,
                company,
                agent,
                block,
                guarantee,
            }
            .into(),
            currency,
            priced_by,
            nights,
            day_use,
        },
    )
}

fn line() -> impl Strategy<Value = Line> {
    let night = (night(), option::of(text()), price()).prop_map(|(night, held, price)| LineNight {
        night,
        held: held.map(ProductCode),
        price,
    });
    (requested_line(), any::<(u16, u16, u16)>(), vec(night, 0..9)).prop_map(
        |(asked, (number, units, adults), nights)| Line {
            number,
            product: asked.product,
            units,
            arrival: asked.arrival,
            departure: asked.departure,
            adults,
            child_ages: asked.child_ages,
            dimensions: asked.dimensions,
            currency: asked.currency,
            priced_by: asked.priced_by,
            nights,
            day_use: asked.day_use,
        },
    )
}

fn acceptance() -> impl Strategy<Value = Acceptance> {
    prop_oneof![Just(Acceptance::Request), Just(Acceptance::AlreadySold)]
}

fn oversold() -> impl Strategy<Value = OversoldNight> {
    (code(), night(), any::<i32>(), any::<bool>()).prop_map(|(product, night, units, day_use)| {
        OversoldNight { product: product.map(ProductCode), night, units, day_use }
    })
}

fn create_reservation() -> impl Strategy<Value = CreateReservation> {
    let guest = (option::of(timestamp()), code(), code());
    let lines = (vec(requested_line(), 0..4), acceptance());
    (uuid(), uuid(), guest, external_refs(), lines).prop_map(
        |(
            property_id,
            reservation_id,
            (booked_at, guest_ref, country),
            external_refs,
            (lines, acceptance),
        )| {
            CreateReservation {
                property_id: PropertyId(property_id),
                reservation_id: ReservationId(reservation_id),
                booked_at,
                guest_ref,
                country,
                external_refs,
                lines,
                acceptance,
            }
        },
    )
}

fn reservation_created() -> impl Strategy<Value = ReservationCreated> {
    let own = (night(), text(), timestamp());
    let lines = (vec(line(), 0..4), vec(oversold(), 0..4));
    (create_reservation(), own, lines).prop_map(
        |(asked, (business_date, confirmation_number, booked_at), (lines, oversold))| {
            ReservationCreated {
                property_id: asked.property_id,
                business_date,
                reservation_id: asked.reservation_id,
                confirmation_number,
                booked_at,
                guest_ref: asked.guest_ref,
                country: asked.country,
                external_refs: asked.external_refs,
                lines,
                acceptance: asked.acceptance,
                oversold,
                warnings: Vec::new(),
            }
        },
    )
}

fn check<T: Avro + PartialEq + std::fmt::Debug>(meta: &Meta, body: &T) {
    let mut datum = Vec::new();
    encode_with_meta(meta, body, &mut datum);
    let (its_meta, its_body) = samples::decode::<T>(&datum).unwrap();
    assert_eq!((&its_meta, &its_body), (meta, body));
}

proptest! {
    #[test]
    fn any_create_reservation_comes_back(meta in meta(), body in create_reservation()) {
        check(&meta, &body);
    }

    #[test]
    fn any_reservation_created_comes_back(meta in meta(), body in reservation_created()) {
        check(&meta, &body);
    }

    #[test]
    fn any_night_comes_back_from_text(night in prop_oneof![night(), (0..40_000).prop_map(Night)]) {
        prop_assert_eq!(night.to_string().parse::<Night>().unwrap(), night);
        if let Some(date) = night.date() {
            prop_assert_eq!(Night::of(date), night);
        }
    }

    #[test]
    fn any_currency_comes_back_from_text(currency in currency()) {
        prop_assert_eq!(currency.to_string().parse::<Currency>().unwrap(), currency);
    }

    #[test]
    fn text_that_is_no_night_or_currency_is_refused_in_words(text in "\\PC{0,20}") {
        if let Err(error) = text.parse::<Night>() {
            prop_assert!(error.to_string().contains("2016-08-31"));
        }
        match text.parse::<Currency>() {
            Ok(currency) => prop_assert_eq!(currency.as_str(), text),
            Err(error) => prop_assert!(error.to_string().contains("ISO 4217")),
        }
    }
}
