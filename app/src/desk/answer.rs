//! The answer to a line, for people and for programs.

use bellhop_core::avro::Symbol;
use bellhop_schemas::reason::Rule;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::event::AnyEvent;
use crate::fields::sentences;
use crate::words;

/// What is said about a line.
#[derive(Serialize)]
pub(super) struct Answer {
    pub(super) line: u64,
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idempotency_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<String>,
    /// 0 accepted, else the code of the refusal, and what it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reservation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confirmation_number: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reasons: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) alternatives: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<Value>,
    pub(super) words: Vec<String>,
}

impl Answer {
    pub(super) fn give_code(&mut self, code: u16) {
        self.code = Some(code);
        self.refusal = Symbol::of_code::<Rule>(code).map(|rule| rule.name);
    }

    pub(super) fn tell(&mut self, event: &AnyEvent) {
        self.event_type = Some(event.type_name());
        self.reservation_id = event.reservation_id().map(|id| id.to_string());
        self.confirmation_number = event.confirmation_number().map(str::to_owned);
        self.warnings = values(event.warnings());
        match event.refusal() {
            Some((reasons, alternatives)) => {
                self.words.extend(reasons.iter().map(words::reason));
                let instead: Vec<_> = alternatives.iter().map(words::alternative).collect();
                if !instead.is_empty() {
                    self.words.push(format!("could be had instead: {}", instead.join(", ")));
                }
                self.reasons = values(reasons);
                self.alternatives = values(alternatives);
            }
            None => self.words.extend(event.words()),
        }
    }
}

fn values<T: Serialize>(list: &[T]) -> Vec<Value> {
    list.iter().map(|item| serde_json::to_value(item).unwrap_or(Value::Null)).collect()
}

pub(super) fn refusal_to_read(line: u64, error: &anyhow::Error) -> Answer {
    Answer {
        line,
        outcome: "error",
        command: None,
        idempotency_key: None,
        message_id: None,
        position: None,
        code: None,
        refusal: None,
        event_id: None,
        event_type: None,
        reservation_id: None,
        confirmation_number: None,
        reasons: Vec::new(),
        alternatives: Vec::new(),
        warnings: Vec::new(),
        words: sentences(error),
    }
}
