//! Records of the commands topic: their values, keys and headers.

use bellhop_core::record::Header;
use bellhop_core::task::Task;
use bellhop_fuzz::{Random, damaged, fuzz, run};

use crate::world::World;

/// What one record may lead to, all outputs together; brokers take a megabyte by default.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// The events that a record led to, folded into the state before it, are the state after it.
fn check(world: &World, mut decided: Task) {
    let output = decided.output();
    let bytes = output.events.bytes() + output.parked.bytes() + output.commands.bytes();
    assert!(bytes <= OUTPUT_BYTES_MAX, "one record led to {bytes} bytes");
    let mut folded = world.task();
    for event in output.events.iter() {
        folded.fold(event.key, event.value).expect("its own event folds");
    }
    folded.resume(decided.progress());
    assert_eq!(decided.first_difference(&folded), None);
}

fn decide(world: &World, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) {
    let mut task = world.task();
    world.decide(&mut task, world.commands.len(), key, value, headers);
    check(world, task);
}

#[test]
fn fuzz_values_of_commands() {
    let world = World::new();
    let corpus: Vec<Vec<u8>> =
        world.commands.iter().filter_map(|command| command.value.clone()).collect();
    let keys: Vec<&[u8]> =
        world.commands.iter().filter_map(|command| command.key.as_deref()).collect();
    let mut turn = 0;
    fuzz(&corpus, |value| {
        turn += 1;
        decide(&world, keys.get(turn % keys.len()).copied(), Some(value), &[]);
    });
}

#[test]
fn fuzz_keys_of_commands() {
    let world = World::new();
    let corpus: Vec<Vec<u8>> =
        world.commands.iter().filter_map(|command| command.key.clone()).collect();
    let value = world.commands.iter().find_map(|command| command.value.as_deref());
    fuzz(&corpus, |key| decide(&world, Some(key), value, &[]));
}

#[test]
fn fuzz_headers_of_commands() {
    let corpus: [(&str, &[u8]); 9] = [
        ("reply-to", b"replies"),
        ("correlation-id", b"4711"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", b"vendor=opaque,other=1"),
        ("ce_specversion", b"1.0"),
        ("ce_type", b"bellhop.command.CreateReservation"),
        ("ce_id", b"5fa8ba13-4b84-4bd8-a2a2-4c1b1b0f0d6b"),
        ("ce_source", b"/desk"),
        ("content-type", b"application/avro"),
    ];
    let values: Vec<Vec<u8>> = corpus.iter().map(|(_, value)| value.to_vec()).collect();
    let world = World::new();
    let command = world.commands.first().expect("a command");
    // Every header at most twice, each value damaged or not: a line of the input each.
    let lines = |random: &mut Random| {
        let line = |random: &mut Random| {
            let number = random.below(corpus.len());
            let value = if random.below(2) == 0 {
                values[number].clone()
            } else {
                damaged(&values, random)
            };
            [vec![number as u8, value.len().min(255) as u8], value].concat()
        };
        (0..random.below(12)).flat_map(|_| line(random)).collect::<Vec<u8>>()
    };
    run(
        |mut input| {
            let mut headers = Vec::new();
            while let [number, length, rest @ ..] = input {
                let (value, rest) = rest.split_at((*length as usize).min(rest.len()));
                let name = corpus.get(*number as usize).map_or("other", |(name, _)| *name);
                headers.push(Header { name, value });
                input = rest;
            }
            decide(&world, command.key.as_deref(), command.value.as_deref(), &headers);
        },
        lines,
    );
}
