//! Who works on a cluster: the members of the group, as its coordinator knows them.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::client::Watch;
use super::{Shared, error};
use crate::log::{Error, Topic};

/// How long the coordinator may take.
const ANSWER: Duration = Duration::from_secs(10);

/// One member of the group of workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its name, of its process and its number there.
    pub name: String,
    /// The machine that it connects from.
    pub host: String,
    /// What the group calls it.
    pub member_id: String,
    /// The partitions that it owns, or is about to.
    pub partitions: Vec<u32>,
}

pub(super) fn list(shared: &Shared) -> Result<Vec<MemberInfo>, Error> {
    let config = &shared.config;
    let tried = || format!("ask who is in the group {} on {}", config.group, config.brokers);
    let client: BaseConsumer<Watch> = config
        .reader(&config.group)
        .create_with_context(Watch::default())
        .map_err(|e| error::of(tried(), e))?;
    let groups = client
        .fetch_group_list(Some(&config.group), ANSWER)
        .map_err(|e| client.context().explain(error::of(tried(), e)))?;
    let topic = config.topic(Topic::Commands);
    let members = groups.groups().iter().flat_map(|group| group.members());
    let mut members: Vec<_> = members
        .map(|member| MemberInfo {
            name: member.client_id().to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
            member_id: member.id().to_owned(),
            partitions: member
                .assignment()
                .and_then(|bytes| assigned(bytes, &topic))
                .unwrap_or_default(),
        })
        .collect();
    members.sort_by(|one, other| (&one.name, &one.member_id).cmp(&(&other.name, &other.member_id)));
    Ok(members)
}

/// The partitions of a topic in an assignment; `None` when it is none.
///
/// # Source
/// Kafka's `ConsumerProtocolAssignment`: version, topics with partitions, user data.
fn assigned(bytes: &[u8], topic: &str) -> Option<Vec<u32>> {
    let mut rest = bytes.get(2..)?;
    let mut partitions = Vec::new();
    for _ in 0..take_i32(&mut rest)? {
        let length = usize::from(u16::from_be_bytes(*take(&mut rest)?));
        let (name, behind) = rest.split_at_checked(length)?;
        rest = behind;
        for _ in 0..take_i32(&mut rest)? {
            let partition = take_i32(&mut rest)?.cast_unsigned();
            if name == topic.as_bytes() {
                partitions.push(partition);
            }
        }
    }
    partitions.sort_unstable();
    Some(partitions)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(taken)
}

fn take_i32(rest: &mut &[u8]) -> Option<i32> {
    take(rest).map(|bytes| i32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_what_is_cut_off_is_none() {
        let mut bytes = vec![0, 1, 0, 0, 0, 2];
        for (name, partitions) in [("other", vec![9]), ("bellhop.commands", vec![3, 1, 2])] {
            bytes.extend((name.len() as u16).to_be_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend((partitions.len() as i32).to_be_bytes());
            partitions.iter().for_each(|it: &i32| bytes.extend(it.to_be_bytes()));
        }
        bytes.extend((-1_i32).to_be_bytes());
        assert_eq!(assigned(&bytes, "bellhop.commands"), Some(vec![1, 2, 3]));
        assert_eq!(assigned(&bytes[..20], "bellhop.commands"), None);
        assert_eq!(assigned(&[], "bellhop.commands"), None);
    }
}
