//! No personal data on the stream.
//!
//! The log is kept for ever and cannot be edited, so what is in it can never be erased: a person
//! who asks to be forgotten must not be in it. A guest is an opaque `guest_ref`; the profile behind
//! it lives where it can be deleted. Free text counts, for people write names into it.

use bellhop_schemas::contract;
use bellhop_schemas::schema::{Schema, Type};

/// Words that a field's name must not hold.
const FORBIDDEN: [&str; 44] = [
    "address",
    "birth",
    "birthday",
    "born",
    "card",
    "cardholder",
    "city",
    "comment",
    "cvc",
    "cvv",
    "dob",
    "email",
    "fax",
    "firstname",
    "forename",
    "fullname",
    "gender",
    "guest",
    "holder",
    "iban",
    "ip",
    "lastname",
    "licence",
    "mail",
    "mobile",
    "name",
    "nationality",
    "note",
    "notes",
    "pan",
    "passport",
    "person",
    "phone",
    "postcode",
    "remark",
    "remarks",
    "salutation",
    "street",
    "surname",
    "telephone",
    "title",
    "user",
    "zip",
    "zipcode",
];

/// Fields that hold such a word and are no person's.
const ALLOWED: [(&str, &str); 5] = [
    ("bellhop.command.DefineProduct", "name"),
    ("bellhop.event.ProductDefined", "name"),
    ("bellhop.engine.ParkedHeader", "name"),
    ("bellhop.command.CreateReservation", "guest_ref"),
    ("bellhop.event.ReservationCreated", "guest_ref"),
];

/// `(record, field)` of every field whose name is one of a person.
fn suspects(schema: &Schema) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for ty in schema.types() {
        let Type::Record { name, fields } = ty else { continue };
        for field in fields {
            if field.name.split('_').any(|word| FORBIDDEN.contains(&word)) {
                found.push((name.full.clone(), field.name.clone()));
            }
        }
    }
    found
}

#[test]
fn no_field_is_named_like_personal_data() {
    let mut met = Vec::new();
    for text in contract::schemas().unwrap().values() {
        for (record, field) in suspects(&Schema::parse(text).unwrap()) {
            let allowed = ALLOWED.contains(&(record.as_str(), field.as_str()));
            assert!(
                allowed,
                "{record}.{field} looks like personal data, which the log could never forget; \
                 hold an opaque reference instead"
            );
            met.push((record, field));
        }
    }
    for (record, field) in ALLOWED {
        let known =
            met.iter().any(|(its_record, its_field)| its_record == record && its_field == field);
        assert!(known, "{record}.{field} is allowed and does not exist");
    }
}

#[test]
fn the_words_are_found() {
    let text = r#"{"type":"record","name":"a.R","fields":[
        {"name":"first_name","type":"string"},
        {"name":"rename","type":"string"},
        {"name":"card_number","type":"string"}]}"#;
    let found = suspects(&Schema::parse(text).unwrap());
    let fields: Vec<_> = found.iter().map(|(_, field)| field.as_str()).collect();
    assert_eq!(fields, ["first_name", "card_number"]);
}
