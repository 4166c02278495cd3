//! What a committed offset says besides the offset: stream time, the events that led there, and who
//! owns the partition.
//!
//! The owner is named so that whoever comes next can end what the owner left undecided: brokers
//! look for expired transactions only every ten seconds. A partition that was given up in order
//! names nobody.

use bellhop_core::history::History;
use bellhop_core::message::{LogId, Timestamp};

/// The text of an offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Note {
    /// Stream time; none when nothing was ever committed but a claim.
    pub(super) time: Option<Timestamp>,
    /// The events that led there.
    pub(super) history: Option<History>,
    /// What the owner's transactional ids begin with.
    pub(super) owner: Option<String>,
}

const MARK: &str = "bellhop/1";

impl Note {
    /// Reads a text; what somebody else wrote (an operator who moved the offset) says nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        if words.next() != Some(MARK) {
            return None;
        }
        let mut note = Self::default();
        let (mut log_id, mut events, mut last, mut digest) = (None, None, None, None);
        for word in words {
            match word.split_once('=')? {
                ("time" | "owner" | "last", "-") => {}
                ("time", time) => note.time = Some(Timestamp(time.parse().ok()?)),
                ("owner", owner) => note.owner = Some(owner.to_owned()),
                ("log", id) => log_id = Some(LogId(id.parse().ok()?)),
                ("events", count) => events = Some(count.parse().ok()?),
                ("last", source) => {
                    let (offset, index) = source.split_once('.')?;
                    last = Some((offset.parse().ok()?, index.parse().ok()?));
                }
                ("digest", hex) => digest = Some(u64::from_str_radix(hex, 16).ok()?),
                // Of a later version.
                _ => {}
            }
        }
        if let (Some(log_id), Some(events), Some(digest)) = (log_id, events, digest) {
            note.history = Some(History { log_id, events, last, digest });
        }
        Some(note)
    }

    pub(super) fn write(&self) -> String {
        let time = self.time.map_or_else(|| "-".to_owned(), |time| time.0.to_string());
        let mut text = format!("{MARK} time={time} owner={}", self.owner.as_deref().unwrap_or("-"));
        if let Some(History { log_id, events, last, digest }) = &self.history {
            let last = last.map(|(offset, index)| format!("{offset}.{index}"));
            let last = last.as_deref().unwrap_or("-");
            let words = format!(" log={} events={events} last={last} digest={digest:x}", log_id.0);
            text.push_str(&words);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let log_id = LogId(uuid::Uuid::from_u128(7 << 90));
        let genesis = History { log_id, events: 1, last: None, digest: u64::MAX };
        for time in [None, Some(i64::MIN), Some(0), Some(1_700_000_000_000_000)] {
            for owner in [None, Some("bellhop.3f")] {
                for history in
                    [None, Some(genesis), Some(History { last: Some((9, 1)), ..genesis })]
                {
                    let (time, owner) = (time.map(Timestamp), owner.map(str::to_owned));
                    let note = Note { time, history, owner };
                    assert_eq!(Note::parse(&note.write()), Some(note));
                }
            }
        }
    }

    #[test]
    fn what_others_write_is_no_note() {
        for text in ["", "moved by hand", "bellhop/2 time=1 owner=-", "bellhop/1 time=x owner=-"] {
            assert_eq!(Note::parse(text), None, "{text}");
        }
    }
}
