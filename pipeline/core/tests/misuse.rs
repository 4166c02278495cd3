//! Misuse of the conventions: what the compiler says, and what is said at start.

#![allow(clippy::expect_used, reason = "a test that fails says where")]

mod toy;

use bellhop_core::message::MessageInfo;
use bellhop_core::registry::{
    EVENTS, HANDLERS, HandlerDescriptor, PROCESSORS, ProcessorDescriptor, REQUESTS,
};
use bellhop_core::topology::{Error, Topology};
use toy::*;

#[test]
fn the_compiler_says_what_is_wrong() {
    trybuild::TestCases::new().compile_fail("tests/misuse/*.rs");
}

fn handlers() -> Vec<&'static HandlerDescriptor> {
    HANDLERS.iter().collect()
}

fn handler(name: &str) -> &'static HandlerDescriptor {
    HANDLERS.iter().find(|handler| handler.name == name).expect("a handler")
}

fn processors() -> Vec<&'static ProcessorDescriptor> {
    PROCESSORS.iter().collect()
}

fn build(
    handlers: Vec<&'static HandlerDescriptor>,
    processors: Vec<&'static ProcessorDescriptor>,
) -> Result<Topology, Error> {
    Topology::build(handlers, processors, EVENTS.iter().collect(), &REQUESTS)
}

/// What is said, in full: the words are for whoever starts the program.
fn refusal(
    handlers: Vec<&'static HandlerDescriptor>,
    processors: Vec<&'static ProcessorDescriptor>,
) -> String {
    build(handlers, processors).err().expect("a refusal").to_string()
}

#[test]
fn two_handlers_of_one_command_are_named_both() {
    let mut handlers = handlers();
    let twin = HandlerDescriptor { name: "put_in_again", file: "elsewhere.rs", ..copy("put_in") };
    handlers.push(Box::leak(Box::new(twin)));
    let said = refusal(handlers, processors());
    assert!(said.starts_with("PutIn has two handlers"), "{said}");
    assert!(
        said.contains("elsewhere.rs: put_in_again") && said.contains("mod.rs: put_in;"),
        "{said}"
    );
}

fn copy(name: &str) -> HandlerDescriptor {
    let HandlerDescriptor { name, file, doc, message, stores, outputs, run } = handler(name);
    HandlerDescriptor { name, file, doc, message: *message, stores, outputs: *outputs, run: *run }
}

#[test]
fn a_command_without_a_handler_is_named() {
    let without = handlers().into_iter().filter(|handler| handler.name != "put_in").collect();
    assert!(refusal(without, processors()).starts_with("PutIn has no handler"));
}

#[test]
fn a_cascade_without_a_route_names_who_sends_it() {
    let without: Vec<_> = handlers().into_iter().filter(|handler| handler.name != "poke").collect();
    let requests: Vec<MessageInfo> =
        REQUESTS.iter().copied().filter(|request| request.type_name != "Poke").collect();
    let refused = Topology::build(without, processors(), EVENTS.iter().collect(), &requests);
    let said = refused.err().expect("a refusal").to_string();
    assert!(said.contains("mod.rs: take_out sends Poke, which has no handler"), "{said}");
}

#[test]
fn two_processors_of_one_event_need_two_names() {
    let mut processors = processors();
    let add = PROCESSORS.iter().find(|processor| processor.name == "add_coins").expect("one");
    let ProcessorDescriptor { name, message, stores, run, .. } = add;
    let file = "elsewhere.rs";
    let twin = ProcessorDescriptor { name, file, message: *message, stores, run: *run };
    processors.push(Box::leak(Box::new(twin)));
    let said = refusal(handlers(), processors);
    assert!(said.contains("coins.put_in has two processors of one name"), "{said}");
    assert!(said.contains("elsewhere.rs: add_coins"), "{said}");
}

#[test]
fn a_store_that_nobody_writes_is_named() {
    let without = PROCESSORS
        .iter()
        .filter(|processor| !processor.stores.iter().any(|used| used.store.name == "coins"))
        .collect();
    let said = refusal(handlers(), without);
    assert!(said.contains("take_out reads the store coins, which no processor writes"), "{said}");
}

#[test]
fn two_messages_of_one_name_are_refused() {
    let mut requests: Vec<MessageInfo> = REQUESTS.to_vec();
    requests.push(MessageInfo::of::<PutIn>());
    let refused = Topology::build(handlers(), processors(), EVENTS.iter().collect(), &requests);
    let said = refused.err().expect("a refusal").to_string();
    assert_eq!(said, "two messages have the name toy.PutIn");
}
