//! The conventions of handlers and processors, as attributes and derives.
//!
//! Each macro only reads names and types; what they lead to is in `bellhop_core`.

#![expect(clippy::wildcard_enum_match_arm, reason = "the syntax of Rust is open: its enums grow")]

mod avro;
mod handler;
mod message;
mod processor;
mod signature;

use proc_macro::TokenStream;

/// Derives the Avro encoding of a record (a struct), a newtype or an enum without fields.
///
/// `#[avro(name = "bellhop.Night")]` names a record or enum; `#[avro(schema = "..")]` gives a
/// newtype another schema than its field's. On a field, `#[avro(since = "0.2.0")]` names the release
/// that added it: the hash of a command leaves it out while it holds its `Default`, which is the
/// default of the contract.
#[proc_macro_derive(Avro, attributes(avro))]
pub fn derive_avro(input: TokenStream) -> TokenStream {
    expand(input, avro::derive)
}

/// Makes a record a command: `#[message(key = property_id)]`.
#[proc_macro_derive(Command, attributes(message))]
pub fn derive_command(input: TokenStream) -> TokenStream {
    expand(input, |input| message::derive(input, "Command"))
}

/// Makes a record an event: `#[message(key = property_id, type = "reservation.created")]`.
///
/// `code = method` names a method that gives the code of the outcome; without it the event
/// records an acceptance. `codes = Rule` names the enum that gives each code its name: a code is the
/// number of a variant plus one.
#[proc_macro_derive(Event, attributes(message))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    expand(input, |input| message::derive(input, "Event"))
}

/// Makes a record a timer: `#[message(key = property_id)]`.
#[proc_macro_derive(Timer, attributes(message))]
pub fn derive_timer(input: TokenStream) -> TokenStream {
    expand(input, |input| message::derive(input, "Timer"))
}

/// Makes a function, or a module with `load`, `validate`, `handle` and `after`, the handler of the
/// command (or timer) that is its first argument.
///
/// The other arguments are injected by type: `&Store<S>`, `&Context`, and in a module what an
/// earlier function returned. What it returns cascades.
#[proc_macro_attribute]
pub fn handler(_: TokenStream, item: TokenStream) -> TokenStream {
    expand(item, handler::expand)
}

/// Makes a function a processor of the event that is its first argument.
///
/// The other arguments are injected by type: `&mut Store<S>`, `&Store<S>`, `&mut Timers`,
/// `&Context`. Processors of one event run in the order of their names.
#[proc_macro_attribute]
pub fn processor(_: TokenStream, item: TokenStream) -> TokenStream {
    expand(item, processor::expand)
}

fn expand<T: syn::parse::Parse>(
    input: TokenStream,
    expand: impl FnOnce(T) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    syn::parse(input).and_then(expand).unwrap_or_else(|error| error.to_compile_error()).into()
}
