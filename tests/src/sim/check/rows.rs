//! The records of a partition, read whole.

use std::ops::ControlFlow;

use bellhop_core::message::Timestamp;
use bellhop_core::record::unframe;
use bellhop_runtime::log::simulated::Tool;
use bellhop_runtime::log::{Reader, Topic};
use bellhop_runtime::wiring::Wiring;

use super::{Broken, Promise};

/// A record, owned.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) offset: u64,
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

/// Reads all of a partition.
pub(super) fn rows(tool: &mut Tool, topic: Topic, partition: u32) -> Result<Vec<Row>, Broken> {
    let mut rows = Vec::new();
    let read = tool.read(topic, partition, 0, &mut |record| {
        rows.push(Row {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), header.value.to_vec()))
                .collect(),
        });
        ControlFlow::Continue(())
    });
    match read {
        Ok(_) => Ok(rows),
        Err(error) => Err(Broken { promise: Promise::Progress, what: error.to_string() }),
    }
}

/// The name and datum of a record.
pub(super) fn message<'r>(row: &'r Row, wiring: &'r Wiring) -> Result<(&'r str, &'r [u8]), String> {
    let framed = row.value.as_deref().and_then(unframe);
    let (id, datum) = framed.ok_or_else(|| format!("record {} has no frame", row.offset))?;
    let name = wiring.wire().name_of(id);
    Ok((name.ok_or_else(|| format!("record {} has schema id {id}", row.offset))?, datum))
}
