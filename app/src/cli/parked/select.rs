//! Which parked records a command is about: positions, or what they have in common.

use std::ops::ControlFlow;

use anyhow::{Context as _, Result, anyhow, bail};
use bellhop_core::engine::ParkedKind;
use bellhop_core::message::{Position, Timestamp};
use bellhop_runtime::log::Reader;
use bellhop_runtime::parked::{self, Entry};
use bellhop_schemas::instant;

/// Which parked records; all conditions must hold.
#[derive(Debug, clap::Args)]
pub(super) struct Select {
    /// Partition and offset in the commands topic, as the list prints them: 3@1042
    positions: Vec<String>,
    /// Of a kind, such as `undecodable` or `wrong_key`
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<ParkedKind>,
    /// Of a partition
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// With this record key, such as a property's id
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Whose cause has these words
    #[arg(long, value_name = "TEXT")]
    cause: Option<String>,
    /// Parked at or after this instant (2027-08-01T10:00:00Z)
    #[arg(long, value_name = "INSTANT", value_parser = at)]
    since: Option<Timestamp>,
    /// Parked before this instant
    #[arg(long, value_name = "INSTANT", value_parser = at)]
    until: Option<Timestamp>,
}

fn kind(text: &str) -> Result<ParkedKind> {
    serde_json::from_value(text.into()).map_err(|error| anyhow!("{error}"))
}

fn at(text: &str) -> Result<Timestamp> {
    instant::from_text(text).map_err(|error| anyhow!("{error}"))
}

/// `3@1042`.
pub(super) fn position(text: &str) -> Result<Position> {
    let parsed = || {
        let (partition, offset) = text.split_once('@')?;
        Some(Position { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
    };
    parsed().with_context(|| format!("\"{text}\" is not a position; write it like 3@1042"))
}

/// The parked record at a position.
///
/// # Errors
/// When nothing was parked there, or the log cannot be read.
pub(super) fn at_position(reader: &mut dyn Reader, text: &str) -> Result<Entry> {
    let Position { partition, offset } = position(text)?;
    let partitions = reader.identity().partitions;
    if partition >= partitions {
        bail!("{text}: the log has partitions 0 to {}", partitions - 1);
    }
    parked::show(reader, partition, offset)?
        .with_context(|| format!("nothing is parked at {text}; see `bellhop parked list`"))
}

impl Select {
    /// Whether anything is named at all.
    fn is_empty(&self) -> bool {
        let Self { positions, kind, partition, key, cause, since, until } = self;
        positions.is_empty()
            && kind.is_none()
            && partition.is_none()
            && key.is_none()
            && cause.is_none()
            && since.is_none()
            && until.is_none()
    }

    /// The only position, if one is named and nothing else.
    pub(super) fn single(&self) -> Option<&str> {
        match self.positions.as_slice() {
            [position] => Some(position),
            _ => None,
        }
    }

    /// Refuses to act on everything that is parked without a word.
    ///
    /// # Errors
    /// When nothing is named.
    pub(super) fn require(&self) -> Result<()> {
        if self.is_empty() {
            bail!(
                "no parked record is named: give positions as `bellhop parked list` prints them (3@1042), or --kind, --partition, --key, --cause, --since, --until"
            );
        }
        Ok(())
    }

    /// Calls `each` for those that are meant, one after another.
    ///
    /// # Errors
    /// When a position names none, or the log cannot be read.
    pub(super) fn each(
        &self,
        reader: &mut dyn Reader,
        each: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        if !self.positions.is_empty() {
            for position in &self.positions {
                let entry = at_position(reader, position)?;
                if self.means(&entry) {
                    each(entry)?;
                }
            }
            return Ok(());
        }
        let partitions = 0..reader.identity().partitions;
        for partition in partitions.filter(|it| self.partition.is_none_or(|only| only == *it)) {
            let mut failed = None;
            parked::read(reader, partition, &mut |entry| {
                if self.means(&entry)
                    && let Err(error) = each(entry)
                {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            failed.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    fn means(&self, entry: &Entry) -> bool {
        let parked = &entry.parked;
        let key = || parked.key.as_ref().map_or(&[][..], |key| &key.0);
        self.kind.is_none_or(|kind| kind == parked.kind)
            && self.partition.is_none_or(|partition| partition == entry.partition)
            && self.key.as_ref().is_none_or(|wanted| wanted.as_bytes() == key())
            && self.cause.as_ref().is_none_or(|words| parked.cause.contains(words))
            && self.since.is_none_or(|since| parked.parked_at >= since)
            && self.until.is_none_or(|until| parked.parked_at < until)
    }
}

/// Where a parked record was in the commands topic.
pub(super) fn position_of(entry: &Entry) -> Position {
    Position { partition: entry.partition, offset: entry.parked.offset.cast_unsigned() }
}
