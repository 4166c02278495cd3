//! Requests of the Kafka protocol as they pass: one can be kept and sent on later.
//!
//! A request is kept when its client has sent it and no broker has it. The client's connection is
//! cut, so that it sends the request again on another one; the broker's stays open. The request
//! arrives when the same producer is in a later transaction: the network has delayed it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Larger requests are none: what passes is not the plain protocol.
const BYTES_MAX: usize = 64 << 20;

/// A request of a producer of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Records.
    Produce,
    /// Names partitions that the transaction writes to.
    AddPartitionsToTxn,
    /// Names the group whose offsets the transaction moves.
    AddOffsetsToTxn,
    /// Offsets.
    TxnOffsetCommit,
    /// The commit of a transaction.
    EndTxn,
}

impl Request {
    /// Its key, and the first version with tagged fields and compact strings.
    fn key(self) -> (i16, i16) {
        match self {
            Self::Produce => (0, 9),
            Self::AddPartitionsToTxn => (24, 3),
            Self::AddOffsetsToTxn => (25, 3),
            Self::TxnOffsetCommit => (28, 3),
            Self::EndTxn => (26, 3),
        }
    }

    /// The request of a frame and the transactional id in it, behind the frame's length.
    fn of(frame: &[u8]) -> Option<(Self, &[u8])> {
        const ALL: [Request; 5] = [
            Request::Produce,
            Request::AddPartitionsToTxn,
            Request::AddOffsetsToTxn,
            Request::TxnOffsetCommit,
            Request::EndTxn,
        ];
        let key = i16::from_be_bytes(*frame.first_chunk()?);
        let version = i16::from_be_bytes(*frame.get(2..)?.first_chunk()?);
        let request = ALL.into_iter().find(|request| request.key().0 == key)?;
        // Key, version, correlation id, the client's name; each of these begins with the id.
        let name = i16::from_be_bytes(*frame.get(8..)?.first_chunk()?);
        let rest = frame.get(10 + usize::try_from(name).unwrap_or(0)..)?;
        let compact = version >= request.key().1;
        let (length, rest) = if compact {
            // No tagged fields; a length of more than 127 is none of ours.
            let (length, rest) = rest.get(1..)?.split_first()?;
            (usize::from(*length).checked_sub(1)?, rest)
        } else {
            let (length, rest) = rest.split_at_checked(2)?;
            let length = i16::from_be_bytes(*length.first_chunk()?);
            (usize::try_from(length).ok()?, rest)
        };
        let id = rest.get(..length)?;
        // An abort is not kept: it ends nothing that was to be.
        let tags = usize::from(compact);
        let aborts = request == Self::EndTxn && frame.iter().rev().nth(tags) == Some(&0);
        (!aborts).then_some((request, id))
    }
}

/// What is done with requests.
#[derive(Debug, Default)]
pub(super) struct Frames {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wanted: Option<Request>,
    kept: Option<Kept>,
    /// How many were kept and sent on.
    late: usize,
}

#[derive(Debug)]
struct Kept {
    producer: Vec<u8>,
    frame: Vec<u8>,
    server: TcpStream,
    /// Its producer has ended the transaction that the request is of.
    is_over: bool,
}

impl Frames {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request of a kind is kept.
    pub(super) fn keep_next(&self, request: Request) {
        self.state().wanted = Some(request);
    }

    pub(super) fn late(&self) -> usize {
        self.state().late
    }

    /// Whether a request is kept; the caller then cuts its client off.
    fn keeps(&self, frame: &[u8], server: &TcpStream) -> bool {
        let mut state = self.state();
        let found = state.wanted.zip(Request::of(frame.get(4..).unwrap_or_default()));
        let Some((_, (_, producer))) = found.filter(|(wanted, (is, _))| wanted == is) else {
            return false;
        };
        let Ok(server) = server.try_clone() else { return false };
        let (producer, frame) = (producer.to_vec(), frame.to_vec());
        state.wanted = None;
        state.kept = Some(Kept { producer, frame, server, is_over: false });
        true
    }

    /// A request has passed: what is kept may be due.
    fn passed(&self, frame: &[u8]) {
        let mut state = self.state();
        let Some((request, producer)) = Request::of(frame.get(4..).unwrap_or_default()) else {
            return;
        };
        let Some(kept) = state.kept.as_mut().filter(|kept| kept.producer == producer) else {
            return;
        };
        match request {
            Request::EndTxn => kept.is_over = true,
            Request::Produce if kept.is_over => {
                if let Some(mut kept) = state.kept.take()
                    && kept.server.write_all(&kept.frame).is_ok()
                {
                    state.late += 1;
                }
            }
            Request::Produce
            | Request::AddPartitionsToTxn
            | Request::AddOffsetsToTxn
            | Request::TxnOffsetCommit => {}
        }
    }

    /// Carries a client's requests one by one, until either side ends (`true`) or one is kept.
    ///
    /// `wait` is called before each is sent on.
    pub(super) fn carry(
        &self,
        mut client: &TcpStream,
        mut server: &TcpStream,
        wait: impl Fn(),
    ) -> bool {
        let mut frame = vec![0; 4];
        loop {
            frame.resize(4, 0);
            if client.read_exact(&mut frame).is_err() {
                return true;
            }
            let length = frame.first_chunk().map_or(0, |length| u32::from_be_bytes(*length));
            let length = length as usize;
            if length <= BYTES_MAX {
                frame.resize(4 + length, 0);
                let read = frame.get_mut(4..).map(|rest| client.read_exact(rest));
                if read.is_none_or(|read| read.is_err()) {
                    return true;
                }
            }
            wait();
            if self.keeps(&frame, server) {
                return false;
            }
            if server.write_all(&frame).is_err() {
                return true;
            }
            if length > BYTES_MAX {
                // TLS: its first bytes are no length.
                super::copy(client, server, &wait);
                return true;
            }
            self.passed(&frame);
        }
    }
}
