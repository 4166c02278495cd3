//! A fixed value of every message, each field filled, for golden bytes and benchmarks.

use bellhop_core::avro::{Avro, Bytes, DecodeError, Reader};
use bellhop_core::engine::{
    CommandAcknowledged, CommandConflicted, EngineRecord, Genesis, Parked, ParkedHeader,
    ParkedKind, ParkedResolved, Release, Reply, ReplyOutcome, Resolution, ResolveParked, Tick,
    encode_with_meta,
};
use bellhop_core::message::{Message, Meta, Source, Timestamp};
use bellhop_core::rules::{ChangeRules, Rules, RulesChanged};
use bellhop_schemas::command::{
    Acceptance, Assignment, CancelReservation, CheckIn, CheckOut, CreateReservation, DefineProduct,
    DefineProperty, MarkNoShow, MoveReservation, ProductKind, SetOverbooking, SetPhysicalCount,
};
use bellhop_schemas::dimensions::Texts;
use bellhop_schemas::event::{
    CatalogRejected, OverbookingLimitChanged, PhysicalCountChanged, ProductDefined,
    PropertyDefined, ReservationCancelled, ReservationCheckedIn, ReservationCheckedOut,
    ReservationCreated, ReservationExtended, ReservationMoved, ReservationNoShow,
    ReservationRejected,
};
use bellhop_schemas::ids::{ExternalRef, ProductCode, PropertyId, ReservationId};
use bellhop_schemas::money::{Currency, Minor};
use bellhop_schemas::night::Night;
use bellhop_schemas::reason::{Alternative, Reason, Rule};
use bellhop_schemas::stay::{
    Line, LineMove, LineNight, OversoldNight, Price, PricedBy, RequestedLine, SupplyChange,
};
use uuid::Uuid;

pub(crate) const PROPERTY: PropertyId =
    PropertyId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
pub(crate) const RESERVATION: ReservationId =
    ReservationId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002));
/// 2016-08-31T14:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_472_652_000_000_000);

type IsSample = Box<dyn Fn(&[u8]) -> bool>;

/// A sample on the wire, and its type's codec without the type.
pub(crate) struct Sample {
    /// Full Avro name.
    pub(crate) name: &'static str,
    /// The datum.
    pub(crate) datum: Vec<u8>,
    /// Whether bytes decode to the sample.
    pub(crate) is_sample: IsSample,
    /// Decodes bytes and encodes the value again.
    pub(crate) again: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
}

pub(crate) fn night(year: i16, month: i8, day: i8) -> Night {
    Night::ymd(year, month, day).unwrap()
}

pub(crate) fn command_meta() -> Meta {
    Meta {
        correlation_id: Some(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00c0)),
        ..Meta::of_command(
            Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00a0),
            "booking-0001",
            NOW,
        )
    }
}

pub(crate) fn event_meta() -> Meta {
    let command = command_meta();
    Meta {
        message_id: Uuid::from_u128(0x1234_5678_9abc_8001_8000_0000_002a_0000),
        idempotency_key: None,
        correlation_id: command.correlation_id,
        causation_id: Some(command.message_id),
        occurred_at: NOW,
        source: Some(Source {
            topic: "bellhop.commands".into(),
            partition: 1,
            offset: 42,
            index: 0,
            depth: 0,
            idempotency_key: command.idempotency_key,
            payload_hash: -7,
            decided_by: "0.1.0".into(),
        }),
    }
}

fn price() -> Price {
    Price { room: Minor(8_950), tax: Minor(537), extras: Minor(0) }
}

fn requested_line() -> RequestedLine {
    RequestedLine {
        product: ProductCode::new("DBL"),
        units: 1,
        arrival: night(2016, 9, 2),
        departure: night(2016, 9, 4),
        adults: 2,
        child_ages: vec![Some(4), None],
        dimensions: Texts {
            rate_plan: Some("BAR"),
            segment: Some("online-ta"),
            channel: Some("ota"),
            agent: Some("9"),
            guarantee: Some("deposit"),
            ..Texts::default()
        }
        .into(),
        currency: Currency::EUR,
        priced_by: PricedBy::Client,
        nights: vec![price(), price()],
        day_use: None,
    }
}

fn line() -> Line {
    let asked = requested_line();
    let nights = asked.arrival.nights_to(asked.departure).map(|night| LineNight {
        night,
        held: (night == asked.arrival).then(|| ProductCode::new("SUI")),
        price: price(),
    });
    Line {
        number: 1,
        units: 1,
        adults: 2,
        nights: nights.collect(),
        product: asked.product.clone(),
        arrival: asked.arrival,
        departure: asked.departure,
        child_ages: asked.child_ages.clone(),
        dimensions: asked.dimensions.clone(),
        currency: asked.currency,
        priced_by: asked.priced_by,
        day_use: Some(Price::default()),
    }
}

fn moves() -> Vec<LineMove> {
    vec![LineMove { line: line(), held: ProductCode::new("TWN") }]
}

fn external_ref() -> ExternalRef {
    ExternalRef { system: "channel-manager".into(), id: "B-77".into() }
}

fn oversold() -> OversoldNight {
    OversoldNight { product: None, night: night(2016, 9, 2), units: 3, day_use: true }
}

fn supply() -> Vec<SupplyChange> {
    vec![
        SupplyChange {
            first_night: None,
            last_night: Some(night(2016, 12, 31)),
            before: 0,
            after: 200,
        },
        SupplyChange {
            first_night: Some(night(2017, 1, 1)),
            last_night: None,
            before: 200,
            after: 180,
        },
    ]
}

fn reason() -> Reason {
    Reason {
        rule: Rule::SoldOut,
        product: Some(ProductCode::new("DBL")),
        night: Some(night(2016, 9, 3)),
        asked: Some(2),
        allowed: Some(-1),
        reservation_id: Some(RESERVATION),
        path: Some("lines[0].units".into()),
        found: Some("CheckedOut".into()),
        wanted: Some("Confirmed".into()),
    }
}

pub(crate) fn create_reservation() -> CreateReservation {
    CreateReservation {
        property_id: PROPERTY,
        reservation_id: RESERVATION,
        booked_at: Some(Timestamp(NOW.0 - 86_400_000_000)),
        guest_ref: Some("guest-4711".into()),
        country: Some("PRT".into()),
        external_refs: vec![external_ref()],
        lines: vec![requested_line()],
        acceptance: Acceptance::AlreadySold,
    }
}

pub(crate) fn reservation_created() -> ReservationCreated {
    ReservationCreated {
        property_id: PROPERTY,
        business_date: night(2016, 8, 31),
        reservation_id: RESERVATION,
        confirmation_number: "RSV-2016-000042".into(),
        booked_at: Timestamp(NOW.0 - 86_400_000_000),
        guest_ref: Some("guest-4711".into()),
        country: Some("PRT".into()),
        external_refs: vec![external_ref()],
        lines: vec![line()],
        acceptance: Acceptance::AlreadySold,
        oversold: vec![oversold()],
        warnings: vec![reason()],
    }
}

fn sample<T: Avro + PartialEq + 'static>(name: &'static str, meta: Meta, body: T) -> Sample {
    let mut datum = Vec::new();
    encode_with_meta(&meta, &body, &mut datum);
    let is_sample = Box::new(move |bytes: &[u8]| {
        decode::<T>(bytes).is_ok_and(|(its_meta, its_body)| its_meta == meta && its_body == body)
    });
    Sample { name, datum, is_sample, again: again::<T> }
}

/// Decodes a whole datum.
pub(crate) fn decode<T: Avro>(bytes: &[u8]) -> Result<(Meta, T), DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = (Meta::decode(&mut reader)?, T::decode(&mut reader)?);
    reader.finish()?;
    Ok(value)
}

fn again<T: Avro>(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (meta, body) = decode::<T>(bytes)?;
    let mut out = Vec::new();
    encode_with_meta(&meta, &body, &mut out);
    Ok(out)
}

/// Of a record without metadata.
fn bare<T: EngineRecord + PartialEq + 'static>(body: T) -> Sample {
    fn again<T: EngineRecord>(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let body = T::decode(&mut reader)?;
        reader.finish()?;
        let mut out = Vec::new();
        body.encode(&mut out);
        Ok(out)
    }
    let mut datum = Vec::new();
    body.encode(&mut datum);
    let is_sample = Box::new(move |bytes: &[u8]| {
        T::decode(&mut Reader::new(bytes)).is_ok_and(|found| found == body)
    });
    Sample { name: T::NAME, datum, is_sample, again: again::<T> }
}

fn command<M: Message + PartialEq>(body: M) -> Sample {
    sample(M::NAME, command_meta(), body)
}

fn event<M: Message + PartialEq>(body: M) -> Sample {
    sample(M::NAME, event_meta(), body)
}

fn engine<T: EngineRecord + PartialEq + 'static>(body: T) -> Sample {
    sample(T::NAME, event_meta(), body)
}

/// One of each message.
pub(crate) fn all() -> Vec<Sample> {
    let mut samples = commands();
    samples.extend(events());
    samples.extend(engine_records());
    samples
}

pub(crate) fn commands() -> Vec<Sample> {
    let (first_night, last_night) = (Some(night(2016, 9, 1)), None);
    vec![
        command(DefineProperty {
            property_id: PROPERTY,
            code: "city".into(),
            time_zone: "Europe/Lisbon".into(),
            roll_hour: 3,
            currency: Currency::EUR,
            physical: 200,
            no_show_hour: Some(18),
        }),
        command(DefineProduct {
            property_id: PROPERTY,
            product: ProductCode::new("DBL"),
            name: "Double room".into(),
            kind: ProductKind::Room,
            statistics: true,
            physical: 120,
            occupancy_max: Some(2),
        }),
        command(SetPhysicalCount {
            property_id: PROPERTY,
            product: Some(ProductCode::new("DBL")),
            first_night,
            last_night,
            count: 118,
        }),
        command(SetOverbooking {
            property_id: PROPERTY,
            product: None,
            first_night,
            last_night,
            allowance: -4,
        }),
        command(create_reservation()),
        command(CancelReservation {
            property_id: PROPERTY,
            reservation_id: None,
            external_ref: Some(external_ref()),
            cause: Some("guest".into()),
        }),
        command(CheckIn {
            property_id: PROPERTY,
            reservation_id: Some(RESERVATION),
            external_ref: None,
            assignments: vec![Assignment { line: 1, product: ProductCode::new("SUI") }],
        }),
        command(MoveReservation {
            property_id: PROPERTY,
            reservation_id: Some(RESERVATION),
            external_ref: None,
            assignments: vec![Assignment { line: 1, product: ProductCode::new("SUI") }],
        }),
        command(CheckOut {
            property_id: PROPERTY,
            reservation_id: Some(RESERVATION),
            external_ref: None,
        }),
        command(MarkNoShow {
            property_id: PROPERTY,
            reservation_id: Some(RESERVATION),
            external_ref: None,
        }),
    ]
}

fn events() -> Vec<Sample> {
    let business_date = night(2016, 8, 31);
    let (confirmation_number, booked_at) = ("RSV-2016-000042", NOW);
    let country = || Some("PRT".into());
    vec![
        event(PropertyDefined {
            property_id: PROPERTY,
            business_date,
            code: "city".into(),
            time_zone: "Europe/Lisbon".into(),
            roll_hour: 3,
            currency: Currency::EUR,
            physical: supply(),
            no_show_hour: Some(18),
            warnings: vec![reason()],
        }),
        event(ProductDefined {
            property_id: PROPERTY,
            business_date,
            product: ProductCode::new("DBL"),
            name: "Double room".into(),
            kind: ProductKind::Room,
            statistics: true,
            physical: supply(),
            occupancy_max: Some(2),
            warnings: vec![reason()],
        }),
        event(PhysicalCountChanged {
            property_id: PROPERTY,
            business_date,
            product: Some(ProductCode::new("DBL")),
            changes: supply(),
            oversold: vec![oversold()],
            warnings: vec![reason()],
        }),
        event(OverbookingLimitChanged {
            property_id: PROPERTY,
            business_date,
            product: None,
            changes: supply(),
            oversold: vec![oversold()],
        }),
        event(reservation_created()),
        event(ReservationCancelled {
            property_id: PROPERTY,
            business_date,
            reservation_id: RESERVATION,
            confirmation_number: confirmation_number.into(),
            booked_at,
            country: country(),
            cause: Some("guest".into()),
            released: vec![line()],
            external_refs: vec![external_ref()],
        }),
        event(ReservationCheckedIn {
            property_id: PROPERTY,
            business_date,
            reservation_id: RESERVATION,
            confirmation_number: confirmation_number.into(),
            booked_at,
            country: country(),
            moves: moves(),
            added: vec![line()],
            reinstated: vec![line()],
            oversold: vec![oversold()],
        }),
        event(ReservationMoved {
            property_id: PROPERTY,
            business_date,
            reservation_id: RESERVATION,
            confirmation_number: confirmation_number.into(),
            booked_at,
            country: country(),
            moves: moves(),
            oversold: vec![oversold()],
        }),
        event(ReservationExtended {
            property_id: PROPERTY,
            business_date,
            reservation_id: RESERVATION,
            confirmation_number: confirmation_number.into(),
            booked_at,
            country: country(),
            extended: vec![line()],
            oversold: vec![oversold()],
        }),
        event(ReservationCheckedOut {
            property_id: PROPERTY,
            business_date,
            reservation_id: RESERVATION,
            confirmation_number: confirmation_number.into(),
            booked_at,
            country: country(),
            released: vec![line()],
            day_use: vec![line()],
            oversold: vec![oversold()],
        }),
        event(ReservationNoShow {
            property_id: PROPERTY,
            business_date,
            reservation_id: RESERVATION,
            confirmation_number: confirmation_number.into(),
            booked_at,
            country: country(),
            released: vec![line()],
        }),
        event(ReservationRejected {
            property_id: PROPERTY,
            business_date: Some(business_date),
            command: "CreateReservation".into(),
            reservation_id: Some(RESERVATION),
            country: country(),
            asked: vec![requested_line()],
            reasons: vec![reason()],
            alternatives: vec![Alternative {
                product: ProductCode::new("SUI"),
                arrival: night(2016, 9, 2),
                departure: night(2016, 9, 4),
            }],
        }),
        event(CatalogRejected {
            property_id: PROPERTY,
            business_date: None,
            command: "SetPhysicalCount".into(),
            product: None,
            reasons: vec![reason()],
        }),
    ]
}

fn engine_records() -> Vec<Sample> {
    let parked = Parked {
        offset: 43,
        timestamp: NOW,
        parked_at: Timestamp(NOW.0 + 1),
        kind: ParkedKind::Panicked,
        cause: "a handler panicked".into(),
        key: Some(Bytes(b"key".to_vec())),
        key_bytes: 3,
        value: Some(Bytes(vec![0, 0, 0, 0, 9, 255])),
        value_bytes: 6,
        value_hash: -9,
        headers: vec![ParkedHeader { name: "reply-to".into(), value: Bytes(b"a".to_vec()) }],
        header_count: 1,
    };
    let id = Uuid::from_u128(0x1234_5678_9abc_4def_8000_0000_0000_0001);
    vec![
        engine(Genesis {
            log_id: id,
            partitions: 8,
            key_rule: "murmur2".into(),
            format_version: 1,
            rules: Rules::default(),
        }),
        engine(ChangeRules {
            partition: 3,
            rules: Rules { idempotency_hours: 336, ..Rules::default() },
        }),
        engine(RulesChanged {
            before: Rules::default(),
            after: Rules { idempotency_hours: 336, ..Rules::default() },
        }),
        engine(CommandConflicted { command: "CheckIn".into(), first_event_id: id }),
        engine(CommandAcknowledged { command: "CheckIn".into() }),
        engine(Tick { partition: 3 }),
        engine(ResolveParked {
            partition: 3,
            offset: 43,
            by: "desk".into(),
            why: "a ticket".into(),
            release: Some(Release {
                key: Bytes(b"key".to_vec()),
                value: Bytes(vec![0, 0, 0, 0, 9, 255]),
                headers: vec![ParkedHeader { name: "a".into(), value: Bytes(b"b".to_vec()) }],
                edited: true,
            }),
        }),
        engine(ParkedResolved {
            offset: 43,
            resolution: Resolution::Skipped,
            by: "desk".into(),
            why: "a ticket".into(),
        }),
        bare(parked),
        bare(Reply {
            partition: 3,
            offset: 43,
            outcome: ReplyOutcome::Repeated,
            code: 7,
            refusal: Some("BadCount".into()),
            event_id: Some(id),
            event: Some(Bytes(vec![0, 0, 0, 0, 9, 255])),
            parked: Some(ParkedKind::Panicked),
            cause: Some("the handler panicked".into()),
        }),
    ]
}
