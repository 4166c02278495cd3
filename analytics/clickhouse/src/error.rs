//! What can go wrong between a log and ClickHouse, and what the caller is to do.

use bellhop_runtime::log;

/// What the caller of a failed operation has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It mends itself: try again later.
    Retry,
    /// Another consumer took over: join the group again.
    Fenced,
    /// Configuration, permissions, tables: somebody has to act; the message says how.
    FixInput,
}

/// A failed operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// ClickHouse did not answer, or not with success.
    #[error("{tried}: {what}; {hint}")]
    Server {
        /// What to do about it.
        kind: ErrorKind,
        /// What was tried, on what.
        tried: String,
        /// What the server or the connection says.
        what: String,
        /// What to do next.
        hint: &'static str,
    },
    /// The tables are not what this program writes to.
    #[error("{what}; {hint}")]
    Tables {
        /// What is wrong with which table.
        what: String,
        /// What to do next.
        hint: String,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// A thread could not be started.
    #[error("start the thread that inserts: {0}; see how many threads this user may have")]
    Thread(#[source] std::io::Error),
}

impl Error {
    /// What the caller has to do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Server { kind, .. } => *kind,
            Self::Tables { .. } | Self::Thread(_) => ErrorKind::FixInput,
            Self::Log(error) => match error.kind {
                log::ErrorKind::Retry => ErrorKind::Retry,
                log::ErrorKind::Fenced => ErrorKind::Fenced,
                log::ErrorKind::Corrupt | log::ErrorKind::FixInput => ErrorKind::FixInput,
            },
        }
    }

    pub(crate) fn tables(what: String, hint: &str) -> Self {
        Self::Tables { what, hint: hint.to_owned() }
    }

    /// What a failed request means.
    pub(crate) fn of(tried: &str, error: &clickhouse::error::Error) -> Self {
        let what = words(error);
        let (kind, hint) = meaning(error, &what);
        Self::Server { kind, tried: tried.to_owned(), what, hint }
    }

    /// The code of a server's exception.
    pub(crate) fn code(&self) -> Option<u32> {
        match self {
            Self::Server { what, .. } => code(what),
            Self::Tables { .. } | Self::Log(_) | Self::Thread(_) => None,
        }
    }
}

fn words(error: &clickhouse::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    // An exception may quote the whole statement.
    if words.len() > 600 {
        let cut = (0..=600).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
        words.truncate(cut);
        words.push_str(" ...");
    }
    words
}

fn code(what: &str) -> Option<u32> {
    let (_, rest) = what.split_once("Code: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// # Source
/// `src/Common/ErrorCodes.cpp` of ClickHouse.
fn meaning(error: &clickhouse::error::Error, what: &str) -> (ErrorKind, &'static str) {
    use clickhouse::error::Error as Cause;
    let is_answer = matches!(error, Cause::BadResponse(_));
    let Some(code) = code(what).filter(|_| is_answer) else {
        let invalid = matches!(error, Cause::InvalidParams(_) | Cause::Unsupported(_));
        return if what.contains("certificate") {
            (
                ErrorKind::FixInput,
                "the server's certificate is not trusted, or is of another host: name the PEM file of its authority as `clickhouse.ca`, and the host as the certificate does",
            )
        } else if invalid || what.contains("invalid URL") {
            (ErrorKind::FixInput, "give an address like http://host:8123 or https://host:8443")
        } else {
            (
                ErrorKind::Retry,
                "it is tried again; if that lasts, see whether the address is right and the server runs",
            )
        };
    };
    match code {
        // Authentication, grants.
        192..=194 | 516 => (ErrorKind::FixInput, "give the right user and password"),
        497 => (
            ErrorKind::FixInput,
            "grant the user INSERT, SELECT and, to migrate, CREATE on the database",
        ),
        164 => (ErrorKind::FixInput, "the user is read-only; give one that may write"),
        452 => (
            ErrorKind::FixInput,
            "a profile forbids this user to change that setting; allow it, docs/clickhouse.md lists those that are needed",
        ),
        81 => (
            ErrorKind::FixInput,
            "run `bellhop migrate`, which makes the database, or name another",
        ),
        60 => (ErrorKind::FixInput, "the table is missing: run `bellhop migrate`"),
        // Columns and types that are not there or differ.
        6 | 10 | 16 | 27 | 33 | 36 | 41 | 47 | 53 | 69 | 70 | 117 | 349 | 469 => (
            ErrorKind::FixInput,
            "the table is not as `bellhop migrate` makes it; put the column back, nothing was lost",
        ),
        62 => (
            ErrorKind::FixInput,
            "the server is too old or is no ClickHouse; 26.9 is what this is tested on",
        ),
        115 => (
            ErrorKind::FixInput,
            "the server does not know a setting; 26.9 is what this is tested on",
        ),
        243 | 244 => {
            (ErrorKind::Retry, "the disk is full: free some space, the sink goes on by itself")
        }
        242 => (
            ErrorKind::Retry,
            "the table is read-only: see the server's disk, the sink goes on by itself",
        ),
        252 => (
            ErrorKind::Retry,
            "the table has too many parts: merges are behind, the sink waits for them",
        ),
        395 => (ErrorKind::Retry, "the batch came later than its mark allows; it is marked anew"),
        _ => {
            (ErrorKind::Retry, "it is tried again; the code is that of ClickHouse's documentation")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Error {
        Error::of("insert", &clickhouse::error::Error::BadResponse(text.to_owned()))
    }

    #[test]
    fn a_code_says_whether_waiting_helps() {
        for (code, kind) in [
            (60, ErrorKind::FixInput),
            (516, ErrorKind::FixInput),
            (452, ErrorKind::FixInput),
            (117, ErrorKind::FixInput),
            (243, ErrorKind::Retry),
            (252, ErrorKind::Retry),
            (999, ErrorKind::Retry),
        ] {
            let error = answer(&format!("Code: {code}. DB::Exception: what it says"));
            assert_eq!((error.kind(), error.code()), (kind, Some(code)), "{error}");
            assert!(error.to_string().contains("what it says"), "{error}");
        }
    }

    #[test]
    fn no_answer_is_tried_again() {
        assert_eq!(
            Error::of("insert", &clickhouse::error::Error::TimedOut).kind(),
            ErrorKind::Retry
        );
    }

    #[test]
    fn a_long_answer_is_cut_at_a_character() {
        let error = answer(&format!("Code: 27. {}", "ä".repeat(5_000)));
        assert!(error.to_string().len() < 900, "{}", error.to_string().len());
    }
}
