//! The body of an event, as `events` keeps it.

/// What is left of the body of an event, behind its `{`, without the fields that it begins with
/// and that have columns of their own; `None` for any other text.
///
/// It saves a quarter of the bytes of `events` (see `docs/clickhouse.md`).
pub(crate) fn without_columns(text: &str) -> Option<&str> {
    const ID: usize = 36;
    const DAY: usize = 10;
    let mut rest = text.strip_prefix("{\"property_id\":\"")?.get(ID..)?.strip_prefix('"')?;
    for (field, length) in [(",\"business_date\":\"", DAY), (",\"reservation_id\":\"", ID)] {
        let behind = rest.strip_prefix(field).and_then(|rest| rest.get(length..));
        rest = behind.and_then(|rest| rest.strip_prefix('"')).unwrap_or(rest);
    }
    Some(rest.strip_prefix(',').unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_kept_without_what_has_a_column() {
        let id = "0000000f-0000-0000-0000-0000000000b0";
        for (body, kept) in [
            (
                format!(
                    r#"{{"property_id":"{id}","business_date":"2016-05-01","reservation_id":"{id}","a":1}}"#
                ),
                Some(r#""a":1}"#),
            ),
            (
                format!(r#"{{"property_id":"{id}","business_date":null,"command":"x"}}"#),
                Some(r#""business_date":null,"command":"x"}"#),
            ),
            (format!(r#"{{"property_id":"{id}"}}"#), Some("}")),
            (r#"{"log_id":"x"}"#.to_owned(), None),
            (r#"{"property_id":"ü"#.to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(without_columns(&body), kept, "{body}");
        }
    }
}
