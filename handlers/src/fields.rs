//! Every text and every list that a producer can send has a bound: a field without a row here is one
//! that nobody has thought of.

use bellhop_core::avro::schema_of;
use bellhop_core::driver::Driver;
use bellhop_core::message::Message;
use bellhop_schemas::command::*;
use bellhop_schemas::dimensions::Texts;
use bellhop_schemas::ids::{ExternalRef, ProductCode};
use bellhop_schemas::reason::Rule;
use bellhop_schemas::schema::{Primitive, Schema, Type, TypeId};
use bellhop_schemas::stay::Price;

use crate::fixtures::*;

/// What refuses a field that is too long.
type Row<C> = (&'static str, Rule, fn(&mut C));

/// The texts and lists of a schema by their paths.
fn paths(schema: &Schema, id: TypeId, path: &str, found: &mut Vec<String>) {
    match schema.get(id) {
        Type::Primitive { primitive: Primitive::Bytes | Primitive::String, .. } => {
            found.push(path.to_owned());
        }
        Type::Primitive { .. } | Type::Fixed { .. } | Type::Enum { .. } => {}
        Type::Array(items) | Type::Map(items) => {
            let path = format!("{path}[]");
            found.push(path.clone());
            paths(schema, *items, &path, found);
        }
        Type::Union(branches) => {
            branches.iter().for_each(|branch| paths(schema, *branch, path, found));
        }
        Type::Record { fields, .. } => fields.iter().for_each(|field| {
            let name = &field.name;
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            paths(schema, field.ty, &path, found);
        }),
    }
}

/// Each field of a command, too long, is refused by its rule. `typed` are texts that a type of ours
/// bounds: what does not fit is not decodable.
fn hold<C: Message + Clone>(driver: &mut Driver, sound: &C, typed: &[&str], rows: &[Row<C>]) {
    let schema = Schema::parse(&schema_of::<C>()).expect("a schema");
    let mut found = Vec::new();
    paths(&schema, schema.root(), "", &mut found);
    found.sort();
    let mut named: Vec<_> = rows.iter().map(|row| row.0.to_owned()).collect();
    named.extend(typed.iter().map(|path| (*path).to_owned()));
    named.sort();
    assert_eq!(found, named, "{}", C::TYPE);
    for (path, rule, lengthen) in rows {
        let mut command = sound.clone();
        lengthen(&mut command);
        let found = rules(&driver.send(&command));
        assert!(found.contains(rule), "{} {path}: {found:?}", C::TYPE);
    }
}

fn long() -> String {
    "x".repeat(129)
}

fn long_ref() -> ExternalRef {
    ExternalRef { system: long().into(), id: "1".into() }
}

fn long_id() -> ExternalRef {
    ExternalRef { system: "pms".into(), id: long().into() }
}

fn long_code() -> ProductCode {
    code(&long())
}

#[test]
fn the_fields_of_the_catalog_are_bounded() {
    let mut driver = hotel();
    let house = DefineProperty { property_id: NOWHERE, ..define_hotel(NOWHERE) };
    let rows: [Row<DefineProperty>; 2] = [
        ("code", Rule::BadCode, |it| it.code = long().into()),
        ("time_zone", Rule::UnknownTimeZone, |it| it.time_zone = long().into()),
    ];
    hold(&mut driver, &house, &["currency"], &rows);
    let rows: [Row<DefineProduct>; 2] = [
        ("product", Rule::BadCode, |it| it.product = code("a code of 17 byte")),
        ("name", Rule::TextTooLong, |it| it.name = long().into()),
    ];
    hold(&mut driver, &define("SUI", 1, true), &[], &rows);
    let (product, first_night, last_night) = (Some(code("DBL")), None, None);
    let supply =
        SetPhysicalCount { property_id: HOTEL, product, first_night, last_night, count: 1 };
    let rows: [Row<SetPhysicalCount>; 1] =
        [("product", Rule::UnknownProduct, |it| it.product = Some(long_code()))];
    hold(&mut driver, &supply, &[], &rows);
    let SetPhysicalCount { property_id, product, .. } = supply;
    let allowance = SetOverbooking { property_id, product, first_night, last_night, allowance: 1 };
    let rows: [Row<SetOverbooking>; 1] =
        [("product", Rule::UnknownProduct, |it| it.product = Some(long_code()))];
    hold(&mut driver, &allowance, &[], &rows);
}

#[test]
fn the_fields_of_a_booking_are_bounded() {
    let mut driver = hotel();
    fn dimension(it: &mut CreateReservation, texts: Texts<&str>) {
        it.lines[0].dimensions = texts.into();
    }
    let rows: [Row<CreateReservation>; 17] = [
        ("guest_ref", Rule::TextTooLong, |it| it.guest_ref = Some(long().into())),
        ("country", Rule::TextTooLong, |it| it.country = Some(long().into())),
        ("external_refs[]", Rule::TooManyRefs, |it| it.external_refs = vec![pms("1"); 21]),
        ("external_refs[].system", Rule::TextTooLong, |it| it.external_refs = vec![long_ref()]),
        ("external_refs[].id", Rule::TextTooLong, |it| it.external_refs = vec![long_id()]),
        ("lines[]", Rule::BadLines, |it| it.lines = vec![it.lines[0].clone(); 101]),
        ("lines[].product", Rule::UnknownProduct, |it| it.lines[0].product = long_code()),
        ("lines[].child_ages[]", Rule::BadGuests, |it| it.lines[0].child_ages = vec![None; 10_001]),
        ("lines[].nights[]", Rule::PricesMismatch, |it| {
            it.lines[0].nights = vec![Price::default(); 401];
        }),
        ("lines[].dimensions.rate_plan", Rule::TextTooLong, |it| {
            dimension(it, Texts { rate_plan: Some(&long()), ..Texts::default() });
        }),
        ("lines[].dimensions.segment", Rule::TextTooLong, |it| {
            dimension(it, Texts { segment: Some(&long()), ..Texts::default() });
        }),
        ("lines[].dimensions.channel", Rule::TextTooLong, |it| {
            dimension(it, Texts { channel: Some(&long()), ..Texts::default() });
        }),
        ("lines[].dimensions.source", Rule::TextTooLong, |it| {
            dimension(it, Texts { source: Some(&long()), ..Texts::default() });
        }),
        ("lines[].dimensions.company", Rule::TextTooLong, |it| {
            dimension(it, Texts { company: Some(&long()), ..Texts::default() });
        }),
        ("lines[].dimensions.agent", Rule::TextTooLong, |it| {
            dimension(it, Texts { agent: Some(&long()), ..Texts::default() });
        }),
        ("lines[].dimensions.block", Rule::TextTooLong, |it| {
            dimension(it, Texts { block: Some(&long()), ..Texts::default() });
        }),
        ("lines[].dimensions.guarantee", Rule::TextTooLong, |it| {
            dimension(it, Texts { guarantee: Some(&long()), ..Texts::default() });
        }),
    ];
    let sound = create(1, vec![line("DBL", 1, 0, 2)]);
    hold(&mut driver, &sound, &["lines[].currency"], &rows);
}

#[test]
fn the_fields_of_what_follows_a_booking_are_bounded() {
    let mut driver = hotel();
    accept(&mut driver, &create(1, vec![line("DBL", 1, 0, 2)]));
    macro_rules! addressed {
        ($sound:expr, $command:ty, $($row:expr),*) => {
            let rows: Vec<Row<$command>> = vec![
                ("external_ref.system", Rule::UnknownReservation, |it| {
                    it.external_ref = Some(long_ref());
                }),
                ("external_ref.id", Rule::UnknownReservation, |it| {
                    it.external_ref = Some(long_id());
                }),
                $($row),*
            ];
            hold(&mut driver, &$sound, &[], &rows);
        };
    }
    addressed!(
        cancel(1),
        CancelReservation,
        ("cause", Rule::TextTooLong, |it| it.cause = Some(long().into()))
    );
    addressed!(leave(1), CheckOut,);
    addressed!(no_show(1), MarkNoShow,);
    addressed!(
        arrive(1, &[]),
        CheckIn,
        ("assignments[]", Rule::BadLines, |it| it.assignments = vec![assign(1, "TWN"); 101]),
        ("assignments[].product", Rule::UnknownProduct, |it| {
            it.assignments = vec![Assignment { line: 1, product: long_code() }];
        })
    );
    addressed!(
        relocate(1, &[]),
        MoveReservation,
        ("assignments[]", Rule::BadLines, |it| it.assignments = vec![assign(1, "TWN"); 101]),
        ("assignments[].product", Rule::UnknownProduct, |it| {
            it.assignments = vec![Assignment { line: 1, product: long_code() }];
        })
    );
}

#[test]
fn every_command_of_hotels_is_looked_at() {
    use bellhop_core::message::Kind;
    use bellhop_core::registry::HANDLERS;
    let commands = HANDLERS.iter().filter(|handler| handler.message.kind == Kind::Command);
    let mut names: Vec<_> = commands.map(|handler| handler.message.name).collect();
    names.sort_unstable();
    let mut looked_at = [
        DefineProperty::NAME,
        DefineProduct::NAME,
        SetPhysicalCount::NAME,
        SetOverbooking::NAME,
        CreateReservation::NAME,
        CancelReservation::NAME,
        CheckIn::NAME,
        CheckOut::NAME,
        MarkNoShow::NAME,
        MoveReservation::NAME,
    ];
    looked_at.sort_unstable();
    assert_eq!(names, looked_at, "add the rows of a new command above");
}
