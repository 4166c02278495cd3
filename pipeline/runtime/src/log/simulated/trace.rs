//! What happened, as a hash over every line, and the last lines themselves on demand.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Lines that are kept for a person to read.
const LINES_MAX: usize = 400;

/// The trace of a simulation.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    count: u64,
    line: String,
    kept: Option<VecDeque<String>>,
}

impl Trace {
    pub(super) fn keep_lines(&mut self) {
        self.kept.get_or_insert_default();
    }

    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a string does not fail.
        let _ = self.line.write_fmt(what);
        self.hash = xxh3_64_with_seed(self.line.as_bytes(), self.hash);
        self.count += 1;
        if let Some(kept) = &mut self.kept {
            if kept.len() == LINES_MAX {
                kept.pop_front();
            }
            kept.push_back(format!("{:>6} {}", self.count, self.line));
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().flatten().map(String::as_str)
    }
}
