use super::*;

const NAMES: [&str; 2] = ["CreateReservation", "bellhop.command.CreateReservation"];
const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn header<'a>(name: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Header<'a> {
    Header { name, value: value.as_ref() }
}

fn event<'a>(version: &'a str, type_name: &'a str) -> Vec<Header<'a>> {
    vec![
        header(VERSION, version),
        header(ID, "1"),
        header(SOURCE, "/desk"),
        header(TYPE, type_name),
    ]
}

#[test]
fn headers_of_cloudevents_must_say_what_the_value_is() {
    let [name, full] = NAMES;
    let well: [Vec<Header<'_>>; 7] = [
        vec![],
        vec![header("reply-to", "desk"), header("", ""), header("ce_time", "yesterday")],
        event("1.0", name),
        event("1.0", full),
        event("1.3", name),
        [event("1.0", name), vec![header("ce_subject", &[0xff])]].concat(),
        // The case of a header's name counts.
        vec![header("CE_TYPE", "x")],
    ];
    for headers in well {
        assert_eq!(check(&headers, NAMES), Ok(()), "{headers:?}");
    }
    let without = |at: usize| {
        let mut headers = event("1.0", name);
        headers.remove(at);
        headers
    };
    let with = |at: usize, value: &'static [u8]| {
        let mut headers = event("1.0", name);
        headers[at].value = value;
        headers
    };
    let twice = [event("1.0", name), vec![header(TYPE, name)]].concat();
    let contradictions = [
        (event("0.3", name), "ce_specversion is \"0.3\""),
        (event("2.0", name), "ce_specversion is \"2.0\""),
        (event("1", name), "ce_specversion is \"1\""),
        (event("1.", name), "ce_specversion is \"1.\""),
        (event("1.x", name), "ce_specversion is \"1.x\""),
        (event("1.0", "CancelReservation"), "ce_type is \"CancelReservation\""),
        (event("1.0", "createreservation"), "the value holds CreateReservation"),
        (without(0), "no ce_specversion"),
        (without(1), "no ce_id"),
        (without(2), "no ce_source"),
        (without(3), "no ce_type"),
        (with(1, b""), "ce_id is empty"),
        (with(2, &[0xff, 0xfe]), "ce_source is empty or no UTF-8"),
        (with(3, b""), "ce_type is empty"),
        (twice, "ce_type stands twice"),
        // Whatever else is wrong.
        ([event("9", "x"), vec![header(ID, "2")]].concat(), "ce_id stands twice"),
    ];
    for (headers, words) in contradictions {
        let cause = check(&headers, NAMES).err().unwrap_or_default();
        assert!(cause.contains(words), "{headers:?}: {cause}");
    }
}

#[test]
fn the_structured_mode_is_told_by_its_content_type() {
    for (value, structured) in [
        ("application/cloudevents+json; charset=UTF-8", true),
        ("Application/CloudEvents-batch+json", true),
        ("application/avro", false),
        ("application/cloud", false),
        ("", false),
    ] {
        assert_eq!(is_structured(&[header(CONTENT_TYPE, value)]), structured, "{value}");
    }
    assert!(!is_structured(&[header("Content-Type", "application/cloudevents+json")]));
}

#[test]
fn a_traceparent_is_read_as_the_standard_says_or_not_at_all() {
    let found = TraceParent::parse(GOOD.as_bytes());
    let expected = TraceParent {
        trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
        span_id: 0x00f0_67aa_0ba9_02b7,
        flags: 1,
    };
    assert_eq!(found, Some(expected));
    let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    for (value, sampled, flags) in [
        (format!("00-{ids}-00"), false, 0),
        (format!("00-{ids}-03"), true, 3),
        // Flags that nobody has defined are not passed on.
        (format!("00-{ids}-fd"), true, 1),
        // A later version may say more.
        (format!("01-{ids}-01"), true, 1),
        (format!("cc-{ids}-01-what-comes-then"), true, 1),
    ] {
        let found = TraceParent::parse(value.as_bytes());
        let found = found.map(|found| (found.is_sampled(), found.flags));
        assert_eq!(found, Some((sampled, flags)), "{value}");
    }
    for value in [
        String::new(),
        GOOD[..54].to_owned(),
        format!("{GOOD}-"),
        format!("{GOOD}0"),
        format!(" {GOOD}"),
        GOOD.to_uppercase(),
        format!("ff-{ids}-01"),
        format!("cc-{ids}-01."),
        format!("0x-{ids}-01"),
        format!("00-{ids}-0g"),
        format!("00_{ids}-01"),
        format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
        format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)),
    ] {
        assert_eq!(TraceParent::parse(value.as_bytes()), None, "{value}");
    }
    let (one, bad) = (header(TRACEPARENT, GOOD), header(TRACEPARENT, &[0xff, 0xfe, 0]));
    assert_eq!(TraceParent::of(&[one]), Some(expected));
    assert_eq!(TraceParent::of(&[header("tracestate", GOOD)]), None);
    assert_eq!(TraceParent::of(&[one, one]), None, "two are none");
    assert_eq!(TraceParent::of(&[bad]), None);
    let mut text = Vec::new();
    expected.write(&mut text);
    assert_eq!(text, GOOD.as_bytes());
}

#[test]
fn the_span_of_a_position_is_the_same_every_time_and_no_other_s() {
    let (one, other) = (LogId(Uuid::from_u128(1 << 100)), LogId(Uuid::from_u128(2 << 100)));
    let at = |partition, offset| Position { partition, offset };
    let spans = [
        span_id(one, at(0, 0)),
        span_id(one, at(0, 1)),
        span_id(one, at(1, 0)),
        span_id(other, at(0, 0)),
    ];
    let distinct: std::collections::BTreeSet<_> = spans.iter().collect();
    assert_eq!(distinct.len(), spans.len());
    // A number that other versions have to come to as well.
    assert_eq!(span_id(one, at(3, 1_042)), PINNED, "{:#x}", span_id(one, at(3, 1_042)));
}

const PINNED: u64 = 0x3268_b410_ae2b_5d74;

#[test]
fn the_notes_of_a_trace_are_one_list_or_dropped() {
    let collect = |headers: &[Header<'_>]| {
        let mut out = Vec::new();
        collect_state(headers, &mut out);
        String::from_utf8(out).unwrap_or_default()
    };
    let (a, b) = (header(TRACESTATE, "a=1"), header(TRACESTATE, "b=2,c=3"));
    assert_eq!(collect(&[a]), "a=1");
    assert_eq!(collect(&[a, header("x", "y"), b]), "a=1,b=2,c=3");
    assert_eq!(collect(&[a, header(TRACESTATE, &[0xff])]), "");
    assert_eq!(collect(&[header(TRACESTATE, "x=1\r\ny")]), "");
    assert_eq!(collect(&[header(TRACESTATE, &"x".repeat(512))]).len(), 512);
    assert_eq!(collect(&[header(TRACESTATE, &"x".repeat(513))]), "");
}

#[test]
fn times_are_written_as_rfc_3339_does() {
    for (micros, text) in [
        (0, Some("1970-01-01T00:00:00.000000Z")),
        (-1, Some("1969-12-31T23:59:59.999999Z")),
        (951_782_400_000_000, Some("2000-02-29T00:00:00.000000Z")),
        (1_709_251_199_123_456, Some("2024-02-29T23:59:59.123456Z")),
        (4_107_542_400_000_000, Some("2100-03-01T00:00:00.000000Z")),
        (-62_167_219_200_000_000, Some("0000-01-01T00:00:00.000000Z")),
        (-62_167_219_200_000_001, None),
        (253_402_300_799_999_999, Some("9999-12-31T23:59:59.999999Z")),
        (253_402_300_800_000_000, None),
        (i64::MIN, None),
        (i64::MAX, None),
    ] {
        assert_eq!(rfc_3339(Timestamp(micros)).as_deref(), text, "{micros}");
    }
}
