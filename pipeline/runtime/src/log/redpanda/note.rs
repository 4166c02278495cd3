//! What a committed offset says besides the offset: stream time, and who owns the partition.
//!
//! The owner is named so that whoever comes next can end what the owner left undecided: brokers
//! look for expired transactions only every ten seconds. A partition that was given up in order
//! names nobody.

use bellhop_core::message::Timestamp;

/// The text of an offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Note {
    /// Stream time; none when nothing was ever committed but a claim.
    pub(super) time: Option<Timestamp>,
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
        for word in words {
            match word.split_once('=')? {
                ("time", "-") | ("owner", "-") => {}
                ("time", time) => note.time = Some(Timestamp(time.parse().ok()?)),
                ("owner", owner) => note.owner = Some(owner.to_owned()),
                // Of a later version.
                _ => {}
            }
        }
        Some(note)
    }

    pub(super) fn write(&self) -> String {
        let time = self.time.map_or_else(|| "-".to_owned(), |time| time.0.to_string());
        format!("{MARK} time={time} owner={}", self.owner.as_deref().unwrap_or("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        for time in [None, Some(i64::MIN), Some(0), Some(1_700_000_000_000_000)] {
            for owner in [None, Some("bellhop.3f")] {
                let note = Note { time: time.map(Timestamp), owner: owner.map(str::to_owned) };
                assert_eq!(Note::parse(&note.write()), Some(note));
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
