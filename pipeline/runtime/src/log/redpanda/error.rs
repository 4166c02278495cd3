//! What an error of librdkafka asks of the caller.

#![expect(clippy::wildcard_enum_match_arm, reason = "librdkafka's codes are not ours, and grow")]

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::native::TransactionError;
use crate::log::{Error, ErrorKind};

/// What to do about a code. What is not known is tried again: it may pass. So is a topic that is
/// not known: it was there when the log was connected, and a broker that has just started does not
/// know it yet.
pub(super) fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::Fenced
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch
        | Code::FencedInstanceId
        | Code::FencedMemberEpoch
        | Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::InvalidProducerIdMapping
        | Code::UnknownProducerId => ErrorKind::Fenced,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::InvalidTopic
        | Code::InvalidArgument
        | Code::InvalidConfig
        | Code::InvalidReplicationFactor
        | Code::InvalidPartitions
        | Code::PolicyViolation
        | Code::MessageSizeTooLarge
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::InvalidTransactionTimeout
        | Code::AutoOffsetReset
        | Code::OffsetOutOfRange => ErrorKind::FixInput,
        Code::BadMessage | Code::InvalidMessage => ErrorKind::Corrupt,
        _ => ErrorKind::Retry,
    }
}

/// Whether the brokers do not take a record and would not take it again.
pub(super) fn is_refusal(code: Code) -> bool {
    matches!(code, Code::MessageSizeTooLarge | Code::InvalidRecord)
}

/// What to do next, in words.
fn hint(code: Code) -> &'static str {
    match code {
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => {
            "no broker can be reached: check the addresses, and whether the brokers expect TLS (tls) or a user (sasl_mechanism, sasl_user)"
        }
        Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut => {
            "no answer in time: check that the brokers are up and can be reached"
        }
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => {
            "the brokers refuse the user: check mechanism, user and password"
        }
        Code::SSL => "TLS failed: check the certificates, and whether the brokers expect TLS",
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => {
            "the user lacks the right: docs/operations.md lists the rights that bellhop needs"
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            "the topic or partition is not known: a broker that has just started learns of it soon; if it was deleted, run `bellhop topics create`"
        }
        Code::MessageSizeTooLarge => {
            "the topic takes no record of this size: raise its max.message.bytes (`bellhop topics check` names the value)"
        }
        Code::AutoOffsetReset | Code::OffsetOutOfRange => {
            "the offset is not in the topic any more: its retention deleted records that were not decided"
        }
        Code::FencedInstanceId => {
            "another process joined under the same instance name: give each its own"
        }
        Code::Fenced
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch
        | Code::IllegalGeneration
        | Code::UnknownMemberId => "another worker took over; join again",
        _ => "see the cause; it is tried again where that can help",
    }
}

/// An error out of a code.
pub(super) fn of_code(tried: impl Into<String>, code: Code, text: &str) -> Error {
    let source = if text.is_empty() { code.to_string() } else { text.to_owned() };
    Error {
        kind: kind_of(code),
        tried: tried.into(),
        hint: hint(code).to_owned(),
        source: Some(source.into()),
    }
}

/// An error out of `rdkafka`'s.
pub(super) fn of(tried: impl Into<String>, error: KafkaError) -> Error {
    let code = match &error {
        KafkaError::Transaction(error) => Some(error.code()),
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => {
            return Error {
                kind: ErrorKind::FixInput,
                tried: tried.into(),
                hint: "librdkafka refuses the configuration".to_owned(),
                source: Some(error.to_string().into()),
            };
        }
        other => other.rdkafka_error_code(),
    };
    of_code(tried, code.unwrap_or(Code::Fail), &error.to_string())
}

/// The parts of an error that comes before a call on a transaction.
pub(super) fn transaction(error: KafkaError) -> TransactionError {
    TransactionError {
        code: error.rdkafka_error_code().unwrap_or(Code::Fail),
        text: error.to_string(),
        fatal: false,
        retriable: false,
        abort: false,
    }
}

/// Somebody has to act.
pub(super) fn fix(tried: impl Into<String>, hint: impl Into<String>) -> Error {
    Error { kind: ErrorKind::FixInput, tried: tried.into(), hint: hint.into(), source: None }
}

/// It may pass.
pub(super) fn retry(tried: impl Into<String>, hint: impl Into<String>) -> Error {
    Error { kind: ErrorKind::Retry, tried: tried.into(), hint: hint.into(), source: None }
}
