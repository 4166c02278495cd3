//! The calls of librdkafka that `rdkafka` does not wrap: records taken and given by the batch, the
//! queues they come from, whose member a transaction's offsets are, and producers that know what was
//! not answered.
//!
//! The safe interface allocates, and takes a lock, for each record.
//!
//! # Invariants
//! A [`Queue`], [`TopicHandle`] or [`GroupMetadata`] is dropped before the client it came from:
//! their owners declare them in front of it.

#![allow(unsafe_code, reason = "calls into librdkafka, each with its safety comment")]

mod producer;

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem;
use std::ops::ControlFlow;
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use bellhop_core::message::Timestamp;
use bellhop_core::record::{Header, Record};
use rdkafka::TopicPartitionList;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t::{
    RD_KAFKA_RESP_ERR__PARTITION_EOF as PARTITION_EOF, RD_KAFKA_RESP_ERR__QUEUE_FULL as QUEUE_FULL,
    RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR,
};

pub(super) use self::producer::{Producer, Reports};

/// Room for as many headers as are written with an event; more make it grow.
const HEADERS_USUAL: usize = 9;

/// `RD_KAFKA_PARTITION_UA`: the partitioner chooses.
const ANY_PARTITION: i32 = -1;

/// A client: what `Client::native_ptr` gives.
pub(super) type Native = *mut sys::rd_kafka_t;

fn millis(wait: Duration) -> c_int {
    c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX)
}

/// A queue of a consumer.
pub(super) struct Queue {
    ptr: NonNull<sys::rd_kafka_queue_t>,
    /// Called by librdkafka's threads; twice boxed, since one pointer must name it.
    bell: Option<Box<Box<dyn Fn() + Send + Sync>>>,
    /// Taken, and not handed over yet: empty between calls of [`Queue::consume`].
    messages: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: librdkafka's queues are guarded by locks of their own; a message is read and destroyed by
// any thread, and `messages` is of this queue alone.
unsafe impl Send for Queue {}

/// What came out of a queue.
pub(super) enum Consumed<'a> {
    /// A record.
    Record(u32, Record<'a>),
    /// A partition was read up to its end, which is this offset.
    End(u32, u64),
    /// A partition cannot be read.
    Failed(u32, RDKafkaErrorCode, String),
}

impl Queue {
    fn of(ptr: *mut sys::rd_kafka_queue_t) -> Option<Self> {
        NonNull::new(ptr).map(|ptr| Self { ptr, bell: None, messages: Vec::new() })
    }

    /// A new queue, for partitions to be forwarded to.
    pub(super) fn new(client: Native) -> Option<Self> {
        // SAFETY: the client is alive.
        Self::of(unsafe { sys::rd_kafka_queue_new(client) })
    }

    /// The queue of a consumer's changes of ownership and errors.
    pub(super) fn of_consumer(client: Native) -> Option<Self> {
        // SAFETY: the client is alive.
        Self::of(unsafe { sys::rd_kafka_queue_get_consumer(client) })
    }

    /// Makes the records of a partition come here.
    pub(super) fn forward(&self, client: Native, topic: &CStr, partition: u32) {
        // SAFETY: client and topic are alive; the handle of the partition's queue is given back.
        unsafe {
            let queue =
                sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition.cast_signed());
            if !queue.is_null() {
                sys::rd_kafka_queue_forward(queue, self.ptr.as_ptr());
                sys::rd_kafka_queue_destroy(queue);
            }
        }
    }

    /// How much waits in it.
    pub(super) fn len(&self) -> usize {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_length(self.ptr.as_ptr()) }
    }

    /// Calls `bell` from another thread whenever the queue was empty and is not any more.
    pub(super) fn on_nonempty(&mut self, bell: impl Fn() + Send + Sync + 'static) {
        unsafe extern "C" fn ring(_: *mut sys::rd_kafka_t, bell: *mut c_void) {
            // SAFETY: it is the box below, which lives until the callback is disabled.
            let bell = unsafe { &*bell.cast::<Box<dyn Fn() + Send + Sync>>() };
            bell();
        }
        let bell: Box<Box<dyn Fn() + Send + Sync>> = Box::new(Box::new(bell));
        let opaque = ptr::from_ref::<Box<dyn Fn() + Send + Sync>>(&*bell).cast_mut().cast();
        // SAFETY: `bell` is kept until `drop`, which disables the callback first.
        unsafe { sys::rd_kafka_queue_cb_event_enable(self.ptr.as_ptr(), Some(ring), opaque) };
        self.bell = Some(bell);
    }

    /// Takes at most `most` messages, waiting at most `wait` for the first; gives how many.
    pub(super) fn consume(
        &mut self,
        wait: Duration,
        most: usize,
        mut each: impl FnMut(Consumed<'_>),
    ) -> usize {
        self.consume_until(wait, most, |consumed| {
            each(consumed);
            ControlFlow::Continue(())
        })
    }

    /// As [`Queue::consume`], until `each` breaks off: the message at which it does, and those taken
    /// with it, come first the next time.
    pub(super) fn consume_until(
        &mut self,
        wait: Duration,
        most: usize,
        mut each: impl FnMut(Consumed<'_>) -> ControlFlow<()>,
    ) -> usize {
        if self.messages.is_empty() {
            self.take(wait, most);
        }
        let broken_off_at = self.messages.iter().position(|message| {
            let mut flow = ControlFlow::Continue(());
            // SAFETY: a message that was taken and is not destroyed; `each` has let go of what it
            // borrowed when the call is over.
            unsafe { deliver(&**message, &mut |consumed| flow = each(consumed)) };
            flow.is_break()
        });
        let met = broken_off_at.map_or(self.messages.len(), |at| at + 1);
        self.destroy(broken_off_at.unwrap_or(met));
        met
    }

    /// Drops what was taken and is not handed over.
    pub(super) fn clear(&mut self) {
        self.destroy(self.messages.len());
    }

    fn destroy(&mut self, count: usize) {
        for message in self.messages.drain(..count) {
            // SAFETY: a message that was taken and is not destroyed, of which nothing is borrowed.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }

    /// Takes messages, waiting for the first.
    fn take(&mut self, wait: Duration, most: usize) {
        self.messages.reserve(most);
        // SAFETY: `messages` is empty and has room for `most` pointers, of which the call fills as
        // many as it says.
        unsafe {
            let taken = sys::rd_kafka_consume_batch_queue(
                self.ptr.as_ptr(),
                millis(wait),
                self.messages.as_mut_ptr(),
                most,
            );
            self.messages.set_len(usize::try_from(taken).unwrap_or(0));
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.clear();
        // SAFETY: the queue is ours; after the first call nobody calls the bell any more.
        unsafe {
            if self.bell.is_some() {
                sys::rd_kafka_queue_cb_event_enable(self.ptr.as_ptr(), None, ptr::null_mut());
            }
            sys::rd_kafka_queue_destroy(self.ptr.as_ptr());
        }
    }
}

/// Reads a message and hands it on.
///
/// # Safety
/// The message is one that librdkafka gave, and is not destroyed yet.
unsafe fn deliver(message: &sys::rd_kafka_message_t, each: &mut impl FnMut(Consumed<'_>)) {
    let partition = message.partition.cast_unsigned();
    if message.err != NO_ERROR {
        if message.err == PARTITION_EOF {
            return each(Consumed::End(partition, message.offset.cast_unsigned()));
        }
        // SAFETY: the text is a C string of the message, or a constant.
        let text = unsafe { CStr::from_ptr(sys::rd_kafka_message_errstr(message)) };
        let text = text.to_string_lossy().into_owned();
        return each(Consumed::Failed(partition, message.err.into(), text));
    }
    // SAFETY: pointers and lengths of the message belong together, and live as long as it.
    let (record, found) = unsafe {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        let millis = sys::rd_kafka_message_timestamp(message, &mut kind);
        let record = Record {
            offset: message.offset.cast_unsigned(),
            timestamp: Timestamp(millis.saturating_mul(1_000)),
            key: bytes(message.key, message.key_len),
            value: bytes(message.payload, message.len),
            headers: &[],
        };
        (record, headers(message))
    };
    if found.is_empty() {
        return each(Consumed::Record(partition, record));
    }
    let borrowed: Vec<_> =
        found.iter().map(|(name, value)| Header { name: name.as_ref(), value }).collect();
    each(Consumed::Record(partition, Record { headers: &borrowed, ..record }));
}

/// The headers of a message; a name that is no UTF-8 is read as well as it can be.
///
/// # Safety
/// As [`deliver`].
unsafe fn headers(message: &sys::rd_kafka_message_t) -> Vec<(Cow<'_, str>, &[u8])> {
    let mut found = Vec::new();
    let mut headers = ptr::null_mut();
    // SAFETY: what is found is the message's own, and lives as long as it.
    unsafe {
        if sys::rd_kafka_message_headers(message, &mut headers) != NO_ERROR {
            return found;
        }
        let (mut name, mut value, mut size) = (ptr::null::<c_char>(), ptr::null(), 0);
        while sys::rd_kafka_header_get_all(headers, found.len(), &mut name, &mut value, &mut size)
            == NO_ERROR
        {
            let name = CStr::from_ptr(name).to_string_lossy();
            found.push((name, bytes(value.cast_mut(), size).unwrap_or_default()));
        }
    }
    found
}

/// # Safety
/// The pointer is null, or to so many bytes, which live for `'a`.
unsafe fn bytes<'a>(ptr: *mut c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!ptr.is_null()).then(|| unsafe { slice::from_raw_parts(ptr.cast::<u8>().cast_const(), len) })
}

/// A topic of a producer.
pub(super) struct TopicHandle {
    ptr: NonNull<sys::rd_kafka_topic_t>,
    messages: Vec<sys::rd_kafka_message_t>,
}

// SAFETY: librdkafka's topics are guarded by locks of their own; `messages` is empty between calls.
unsafe impl Send for TopicHandle {}

impl TopicHandle {
    /// The topic of a name.
    pub(super) fn new(client: Native, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: client and name are alive; no configuration is given.
        let ptr = unsafe { sys::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
        NonNull::new(ptr).map(|ptr| Self { ptr, messages: Vec::new() })
    }

    /// Copies records to the producer's queue; what does not fit is offered again after `full`.
    ///
    /// # Errors
    /// The first error but a full queue, and the bytes of its record.
    pub(super) fn produce<'a>(
        &mut self,
        records: impl Iterator<Item = (u32, &'a [u8], &'a [u8])>,
        mut full: impl FnMut() -> bool,
    ) -> Result<(), (RDKafkaErrorCode, usize)> {
        self.messages.extend(records.map(|(partition, key, value)| {
            let key_ptr = if key.is_empty() { ptr::null() } else { key.as_ptr() };
            sys::rd_kafka_message_t {
                err: NO_ERROR,
                rkt: ptr::null_mut(),
                partition: partition.cast_signed(),
                payload: value.as_ptr().cast_mut().cast(),
                len: value.len(),
                key: key_ptr.cast_mut().cast(),
                key_len: key.len(),
                offset: 0,
                _private: ptr::null_mut(),
            }
        }));
        let flags = (sys::RD_KAFKA_MSG_F_COPY | sys::RD_KAFKA_MSG_F_PARTITION) as c_int;
        let mut failed = None;
        while !self.messages.is_empty() && failed.is_none() {
            let count = c_int::try_from(self.messages.len()).unwrap_or(c_int::MAX);
            // SAFETY: as many messages as said, whose bytes live for 'a and are copied.
            let taken = unsafe {
                let messages = self.messages.as_mut_ptr();
                sys::rd_kafka_produce_batch(self.ptr.as_ptr(), -1, flags, messages, count)
            };
            if taken == count {
                break;
            }
            self.messages.retain(|message| message.err != NO_ERROR);
            let refused = self.messages.iter().find(|message| message.err != QUEUE_FULL);
            let refused = refused.or_else(|| self.messages.first().filter(|_| !full()));
            failed = refused.map(|message| (message.err.into(), message.len + message.key_len));
        }
        self.messages.clear();
        failed.map_or(Ok(()), Err)
    }
}

/// A record that the batch call cannot take: with headers, or with a time of its own.
pub(super) struct Single<'a, H> {
    /// By its key, if none.
    pub(super) partition: Option<u32>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: &'a [u8],
    pub(super) headers: H,
    /// The producer's own clock, if none.
    pub(super) timestamp: Option<Timestamp>,
    /// What its report names it by.
    pub(super) tag: usize,
}

impl TopicHandle {
    /// Copies a record to the producer's queue, behind all that was given before; while it is full,
    /// the record is offered again after `full`.
    ///
    /// # Errors
    /// The first error but a full queue, and the bytes of the record.
    pub(super) fn produce_single<'a, H>(
        &self,
        client: Native,
        record: &Single<'a, H>,
        mut full: impl FnMut() -> bool,
    ) -> Result<(), (RDKafkaErrorCode, usize)>
    where
        H: Iterator<Item = Header<'a>> + Clone,
    {
        let key_bytes = record.key.map_or(0, <[u8]>::len);
        let failed = |code| Err((code, record.value.len() + key_bytes));
        loop {
            let Some(headers) = OwnHeaders::new(record.headers.clone()) else {
                return failed(RDKafkaErrorCode::InvalidArgument);
            };
            let code = self.offer(client, record, headers);
            if code == NO_ERROR {
                return Ok(());
            }
            if code != QUEUE_FULL || !full() {
                return failed(code.into());
            }
        }
    }

    fn offer<H>(
        &self,
        client: Native,
        record: &Single<'_, H>,
        headers: OwnHeaders,
    ) -> sys::rd_kafka_resp_err_t {
        use sys::rd_kafka_vtype_t as is;
        let Single { partition, key, value, timestamp, tag, .. } = *record;
        let key_ptr = key.map_or(ptr::null(), <[u8]>::as_ptr);
        let key_bytes = key.map_or(0, <[u8]>::len);
        let millis = timestamp.map_or(0, |time| time.0.div_euclid(1_000));
        // SAFETY: each value has the type of its tag, as `rdkafka.h` lists them; key and value are
        // copied; the headers are librdkafka's if it takes the record.
        unsafe {
            let code = sys::rd_kafka_producev(
                client,
                is::RD_KAFKA_VTYPE_RKT,
                self.ptr.as_ptr(),
                is::RD_KAFKA_VTYPE_PARTITION,
                partition.map_or(ANY_PARTITION, u32::cast_signed),
                is::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY as c_int,
                is::RD_KAFKA_VTYPE_VALUE,
                value.as_ptr().cast::<c_void>(),
                value.len(),
                is::RD_KAFKA_VTYPE_KEY,
                key_ptr.cast::<c_void>(),
                key_bytes,
                is::RD_KAFKA_VTYPE_OPAQUE,
                ptr::without_provenance_mut::<c_void>(tag),
                is::RD_KAFKA_VTYPE_TIMESTAMP,
                millis,
                is::RD_KAFKA_VTYPE_HEADERS,
                headers.0,
                is::RD_KAFKA_VTYPE_END,
            );
            if code == NO_ERROR {
                mem::forget(headers);
            }
            code
        }
    }
}

/// Headers that no record has taken yet; null for none.
struct OwnHeaders(*mut sys::rd_kafka_headers_t);

impl OwnHeaders {
    fn new<'a>(headers: impl Iterator<Item = Header<'a>>) -> Option<Self> {
        let mut headers = headers.peekable();
        if headers.peek().is_none() {
            return Some(Self(ptr::null_mut()));
        }
        // SAFETY: no pointer is given.
        let own = Self(unsafe { sys::rd_kafka_headers_new(HEADERS_USUAL) });
        let added = headers.all(|Header { name, value }| {
            // SAFETY: names and values have their lengths beside them, and are copied.
            let code = unsafe {
                sys::rd_kafka_header_add(
                    own.0,
                    name.as_ptr().cast(),
                    name.len().cast_signed(),
                    value.as_ptr().cast(),
                    value.len().cast_signed(),
                )
            };
            code == NO_ERROR
        });
        added.then_some(own)
    }
}

impl Drop for OwnHeaders {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: they are ours.
            unsafe { sys::rd_kafka_headers_destroy(self.0) };
        }
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and the client is alive.
        unsafe { sys::rd_kafka_topic_destroy(self.ptr.as_ptr()) };
    }
}

/// Who a consumer is in its group, as brokers check it: member and generation.
pub(super) struct GroupMetadata(NonNull<sys::rd_kafka_consumer_group_metadata_t>);

// SAFETY: a copy of a few strings and numbers that nobody else knows and nobody changes.
unsafe impl Send for GroupMetadata {}
// SAFETY: as above.
unsafe impl Sync for GroupMetadata {}

impl GroupMetadata {
    /// As it is now.
    pub(super) fn of(consumer: Native) -> Option<Self> {
        // SAFETY: the consumer is alive.
        NonNull::new(unsafe { sys::rd_kafka_consumer_group_metadata(consumer) }).map(Self)
    }

    /// Of a group that nobody joins: it guards nothing.
    pub(super) fn unguarded(group: &str) -> Option<Self> {
        let group = CString::new(group).ok()?;
        // SAFETY: the name is copied.
        NonNull::new(unsafe { sys::rd_kafka_consumer_group_metadata_new(group.as_ptr()) }).map(Self)
    }

    /// The generation; negative when the consumer is not a member.
    pub(super) fn generation(&self) -> i32 {
        // SAFETY: it is alive.
        unsafe { sys::rd_kafka_consumer_group_metadata_generation_id(self.0.as_ptr()) }
    }

    /// The member's name as the broker gave it.
    pub(super) fn member_id(&self) -> String {
        // SAFETY: it is alive, and so is its string.
        unsafe {
            let id = sys::rd_kafka_consumer_group_metadata_member_id(self.0.as_ptr());
            if id.is_null() { String::new() } else { CStr::from_ptr(id).to_string_lossy().into() }
        }
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) };
    }
}

/// An error of a call on a transaction.
#[derive(Debug, Clone)]
pub(super) struct TransactionError {
    pub(super) code: RDKafkaErrorCode,
    pub(super) text: String,
    pub(super) fatal: bool,
    pub(super) retriable: bool,
    pub(super) abort: bool,
}

/// What a call on a transaction gave.
///
/// # Safety
/// The error is null, or the caller's to give up.
unsafe fn outcome(error: *mut sys::rd_kafka_error_t) -> Result<(), TransactionError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: as the caller says.
    unsafe {
        let text = CStr::from_ptr(sys::rd_kafka_error_string(error));
        let failed = TransactionError {
            code: sys::rd_kafka_error_code(error).into(),
            text: text.to_string_lossy().into_owned(),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            abort: sys::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        sys::rd_kafka_error_destroy(error);
        Err(failed)
    }
}

/// Adds offsets to a transaction, if the member still is what `member` says.
pub(super) fn send_offsets(
    producer: Native,
    offsets: &TopicPartitionList,
    member: &GroupMetadata,
    wait: Duration,
) -> Result<(), TransactionError> {
    // SAFETY: all are alive during the call; the error is ours.
    unsafe {
        outcome(sys::rd_kafka_send_offsets_to_transaction(
            producer,
            offsets.ptr(),
            member.0.as_ptr(),
            millis(wait),
        ))
    }
}
