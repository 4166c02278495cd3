//! What must hold when all faults have ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use bellhop_core::avro::{Avro as _, Reader as AvroReader};
use bellhop_core::message::Meta;
use bellhop_core::record::unframe;
use bellhop_runtime::log::{Reader, Topic};
use bellhop_runtime::wiring::Wiring;
use bellhop_runtime::{parked, verify};
use bellhop_tests::hands::{Owned, read};

use super::stage::{PARTITIONS, Stage};
use super::topics::LATE;
use crate::embedded::{self, Outcome};
use crate::house::{own_schemas, topology, worker_config};

impl Stage {
    /// Every command that was acknowledged and not deleted has one outcome, in its order; events and
    /// parked records are the embedded log's; the workers have said what they had to, and leave in
    /// order.
    pub(super) fn check(&mut self) {
        // One command more in each partition, behind all that was drawn.
        self.load_all();
        self.wait("all is decided", Stage::is_decided);
        let late = self.newly_late();
        self.count(LATE, late);
        let logged = self.all_logged();
        for what in &self.to_be_said {
            assert!(logged.contains(what), "no worker has said \"{what}\"");
        }
        self.dismiss_all();
        let mut reader = self.house.log.reader();
        let commands: Vec<Vec<Owned>> =
            (0..PARTITIONS).map(|it| self.commands(&mut reader, it)).collect();
        for (partition, commands) in (0..).zip(&commands) {
            self.assert_kept(partition, commands);
        }
        let parked = parked::list(&mut reader).unwrap();
        for (partition, expected) in (0..).zip(embedded::outcomes(&mut reader, commands)) {
            let parked = parked.iter().filter(|entry| entry.partition == partition);
            let parked = parked.map(|it| (it.parked.offset.cast_unsigned(), it.parked.kind));
            assert_eq!(
                parked.collect::<Vec<_>>(),
                expected.parked,
                "partition {partition}: what is parked"
            );
            self.assert_decided(&mut reader, partition, &expected);
        }
    }

    /// The commands of a partition, those that were decided and deleted among them.
    fn commands(&self, reader: &mut dyn Reader, partition: u32) -> Vec<Owned> {
        let mut commands = self.kept.get(&partition).cloned().unwrap_or_default();
        let next = commands.last().map_or(0, |command| command.offset + 1);
        let there = read(reader, Topic::Commands, partition, next);
        commands.extend(there.into_iter().filter(|command| command.offset >= next));
        commands
    }

    fn assert_kept(&self, partition: u32, commands: &[Owned]) {
        let offsets: BTreeSet<u64> = commands.iter().map(|command| command.offset).collect();
        let sent = self.house.sent.get(&partition).map_or(&[][..], Vec::as_slice);
        let lost = sent.iter().find(|(offset, _)| !offsets.contains(offset));
        assert_eq!(lost, None, "partition {partition}: an acknowledged command is gone");
    }

    fn assert_decided(&self, reader: &mut dyn Reader, partition: u32, expected: &Outcome) {
        let events = read(reader, Topic::Events, partition, 0);
        let sent = self.house.sent.get(&partition).map_or(&[][..], Vec::as_slice);
        let offsets: BTreeSet<u64> = sent.iter().map(|(offset, _)| *offset).collect();
        let sources = events.iter().skip(1).map(|event| {
            let (_, datum) = unframe(&event.value).unwrap();
            let source = Meta::decode(&mut AvroReader::new(datum)).unwrap().source.unwrap();
            (source.position().offset, source.idempotency_key.map(String::from))
        });
        let of_sent: Vec<(u64, Option<String>)> =
            sources.filter(|(offset, _)| offsets.contains(offset)).collect();
        let differs = of_sent
            .iter()
            .zip(sent)
            .find(|((at, key), (offset, sent))| at != offset || key.as_ref() != Some(sent));
        assert_eq!(
            (differs, of_sent.len()),
            (None, sent.len()),
            "partition {partition}: one outcome a command, in order"
        );
        let found = embedded::promised(&events);
        let at = found.iter().zip(&expected.events).position(|(found, wanted)| found != wanted);
        assert_eq!(
            (at, found.len()),
            (None, expected.events.len()),
            "partition {partition}: the first event that is not the embedded log's, and their count"
        );
        let topology = topology();
        let mut wiring = Wiring::to_read(topology.clone(), Arc::new(own_schemas(&topology)));
        let task = worker_config().task(self.house.log.identity(), partition);
        let verified = verify::state(reader, &mut wiring, &task, None).unwrap();
        assert_eq!(verified.difference, None, "partition {partition}: its state");
        if !self.deleted.contains(&partition) {
            let verified = verify::decisions(reader, &mut wiring, &task).unwrap();
            assert_eq!(verified.difference, None, "partition {partition}: its decisions");
        }
    }
}
