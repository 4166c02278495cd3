use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use bellhop_core::message::Timestamp;

use super::*;

/// A request as it came: its head, and its body decoded.
type Posted = (String, Request);

/// A collector that answers each request with the next of `answers`, and the last from then on.
fn collector(answers: &[&'static str]) -> (String, Receiver<Posted>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (tell, posted) = channel();
    let answers = answers.to_vec();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter();
        let mut last = "200 OK";
        for stream in listener.incoming() {
            last = answers.next().unwrap_or(last);
            if answer(stream.expect("a request"), last, &tell).is_none() {
                return;
            }
        }
    });
    (url, posted)
}

fn answer(mut stream: TcpStream, status: &str, tell: &Sender<Posted>) -> Option<()> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let read = stream.read(&mut chunk).ok()?;
        bytes.extend_from_slice(&chunk[..read]);
        let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|it| it.trim().parse().ok()).expect("a length");
        let body = &bytes[at + 4..];
        if body.len() == length {
            let request = Request::decode(body).expect("a request of OTLP");
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).ok()?;
            return tell.send((head, request)).ok();
        }
    }
}

fn config(endpoint: &str) -> Config {
    Config {
        endpoint: endpoint.to_owned(),
        headers: Settings::default(),
        ca_file: None,
        resource: BTreeMap::new(),
        source: Source::default(),
    }
}

fn span(name: &str) -> Span {
    Span::new(7, 9, name.to_owned(), Timestamp(1))
}

fn names(request: &Request) -> Vec<&str> {
    let scopes = request.resources.iter().flat_map(|resource| &resource.scopes);
    scopes.flat_map(|scope| &scope.spans).map(|span| span.name.as_str()).collect()
}

#[test]
fn spans_arrive_together_with_what_the_process_is_when_it_stops() {
    let (url, posted) = collector(&[]);
    let mut config = config(&format!("{url}/"));
    config.headers.0.insert("Authorization".to_owned(), "Bearer secret".to_owned());
    config.resource.insert("service.name".to_owned(), "front desk".to_owned());
    let exporter = Exporter::start(config).expect("an exporter");
    let counts = exporter.counts();
    exporter.spans().send(span("one"));
    exporter.spans().send(span("two"));
    drop(exporter);
    let (head, request) = posted.recv().expect("a request");
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    assert!(head.contains("authorization: bearer secret"), "{head}");
    assert_eq!(names(&request), ["one", "two"]);
    let resource = request.resources[0].resource.as_ref().expect("a resource");
    assert_eq!(resource.attributes, [KeyValue::new("service.name", "front desk")]);
    assert_eq!((counts.exported(), counts.dropped()), (2, 0));
}

#[test]
fn what_a_collector_is_too_busy_for_is_sent_again_and_what_it_refuses_is_counted() {
    let (url, posted) = collector(&["503 Busy", "200 OK", "400 No"]);
    let exporter = Exporter::start(config(&url)).expect("an exporter");
    let counts = exporter.counts();
    exporter.spans().send(span("one"));
    for _ in 0..2 {
        assert_eq!(names(&posted.recv().expect("a request").1), ["one"]);
    }
    exporter.spans().send(span("two"));
    drop(exporter);
    assert_eq!(names(&posted.recv().expect("a request").1), ["two"]);
    assert!(posted.try_recv().is_err(), "nobody repeats what was refused for good");
    assert_eq!((counts.exported(), counts.dropped()), (1, 1));
}

#[test]
fn nobody_waits_for_a_collector_that_is_gone() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let exporter = Exporter::start(config(&format!("http://{gone}"))).expect("an exporter");
    let counts = exporter.counts();
    let spans = exporter.spans();
    for number in 0..2 * QUEUE_SPANS {
        spans.send(span(&number.to_string()));
    }
    assert!(counts.dropped() > 0, "the queue is bounded");
    drop(exporter);
    assert_eq!((counts.exported(), counts.dropped()), (0, 2 * QUEUE_SPANS as u64));
    spans.send(span("late"));
    assert_eq!(counts.dropped(), 2 * QUEUE_SPANS as u64 + 1);
}

#[test]
fn what_cannot_be_an_address_or_a_header_is_refused_and_secrets_are_not_printed() {
    for endpoint in ["", "collector:4318", "grpc://collector:4317", "http://", "http:// x"] {
        let refused = Exporter::start(config(endpoint)).err().expect("a refusal");
        assert_eq!(refused.kind, ErrorKind::FixInput, "{endpoint}: {refused}");
        assert!(refused.hint.contains("http://localhost:4318"), "{refused}");
    }
    for (name, value) in [("a b", "hush"), ("x-key", "one\ntwo")] {
        let mut config = config("http://localhost:4318");
        config.headers.0.insert(name.to_owned(), value.to_owned());
        let refused = Exporter::start(config).err().expect("a refusal");
        assert!(refused.hint.contains(name) && !refused.hint.contains(value), "{refused}");
    }
    let mut config = config("http://localhost:4318");
    config.headers.0.insert("x-key".to_owned(), "hidden".to_owned());
    assert!(!format!("{config:?}").contains("hidden"));
    let whole = Poster::new(&super::Config { endpoint: "https://c/v1/traces".into(), ..config });
    assert!(whole.is_ok_and(|poster| poster.url == "https://c/v1/traces"));
}
