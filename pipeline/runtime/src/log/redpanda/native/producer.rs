//! A producer that knows whether all that it has asked the brokers was answered.
//!
//! A request that was sent and not answered may still reach its broker: librdkafka sends it again on
//! another connection, and goes on when the second copy is answered. `rdkafka` makes its producers
//! with no way to add an interceptor, so this one is made here.
//!
//! # Source
//! `rd_kafka_buf_callback` (rdkafka_buf.c) tells interceptors of every request that is over: without
//! an error when its answer has come, whatever it says, and with one when its connection or its time
//! has ended. It does so before the request is sent again.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaType;
use rdkafka::{ClientConfig, ClientContext};
use rdkafka_sys as sys;

use super::{NO_ERROR, Native, TransactionError, millis, outcome};

/// Requests that change something under a transactional id, by their keys in the protocol: Produce,
/// InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit.
const OF_TRANSACTIONS: [i16; 6] = [0, 22, 24, 25, 26, 28];

/// The name of the interceptors in librdkafka's log.
const NAME: &CStr = c"bellhop";

/// Hears what became of records.
pub(in crate::log::redpanda) trait Reports: ClientContext {
    /// A record is written, at that offset, or never will be; `tag` is what it was given with.
    fn report(&self, tag: usize, written: Result<u64, RDKafkaErrorCode>);
}

/// A producer.
pub(in crate::log::redpanda) struct Producer<C: Reports> {
    events: Events,
    client: Client<C>,
    /// Behind the client: librdkafka's threads write it until the client is gone.
    unanswered: Box<AtomicBool>,
}

/// The queue of reports, errors and lines of the log.
struct Events(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are guarded by locks of their own.
unsafe impl Send for Events {}
// SAFETY: as above.
unsafe impl Sync for Events {}

impl Drop for Events {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and the client is alive.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

/// Adds the other interceptor, which takes a client that is being made.
unsafe extern "C" fn on_new(
    client: Native,
    _: *const sys::rd_kafka_conf_t,
    unanswered: *mut c_void,
    _: *mut c_char,
    _: usize,
) -> sys::rd_kafka_resp_err_t {
    // SAFETY: the client is being made; the pointer is the box of the producer.
    unsafe {
        sys::rd_kafka_interceptor_add_on_response_received(
            client,
            NAME.as_ptr(),
            Some(on_response),
            unanswered,
        )
    }
}

/// Called once or twice for each request that is over.
unsafe extern "C" fn on_response(
    _: Native,
    _: c_int,
    _: *const c_char,
    _: i32,
    key: i16,
    _: i16,
    _: i32,
    _: usize,
    _: i64,
    error: sys::rd_kafka_resp_err_t,
    unanswered: *mut c_void,
) -> sys::rd_kafka_resp_err_t {
    if error != NO_ERROR && OF_TRANSACTIONS.contains(&key) {
        // SAFETY: the box of the producer outlives its client.
        unsafe { &*unanswered.cast::<AtomicBool>() }.store(true, Ordering::SeqCst);
    }
    NO_ERROR
}

impl<C: Reports> Producer<C> {
    pub(in crate::log::redpanda) fn new(config: &ClientConfig, context: C) -> KafkaResult<Self> {
        let native = config.create_native_config()?;
        let unanswered = Box::new(AtomicBool::new(false));
        let opaque = ptr::from_ref::<AtomicBool>(&unanswered).cast_mut().cast();
        // SAFETY: the configuration is ours; `unanswered` outlives the client, which is dropped
        // before it.
        unsafe {
            sys::rd_kafka_conf_set_events(
                native.ptr(),
                sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_ERROR,
            );
            let added = sys::rd_kafka_conf_interceptor_add_on_new(
                native.ptr(),
                NAME.as_ptr(),
                Some(on_new),
                opaque,
            );
            if added != NO_ERROR {
                return Err(KafkaError::Global(added.into()));
            }
        }
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, context)?;
        // SAFETY: the client is alive.
        let events = unsafe { sys::rd_kafka_queue_get_main(client.native_ptr()) };
        let events = NonNull::new(events).map(Events);
        let none = || KafkaError::ClientCreation("librdkafka gives no queue".to_owned());
        Ok(Self { events: events.ok_or_else(none)?, client, unanswered })
    }

    pub(in crate::log::redpanda) fn client(&self) -> &Client<C> {
        &self.client
    }

    pub(in crate::log::redpanda) fn context(&self) -> &C {
        self.client.context()
    }

    pub(in crate::log::redpanda) fn native(&self) -> Native {
        self.client.native_ptr()
    }

    /// Whether a request that changes something was given up with no answer, ever.
    pub(in crate::log::redpanda) fn has_unanswered(&self) -> bool {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// Takes all reports that are there, waiting at most `wait` for the first.
    pub(in crate::log::redpanda) fn poll(&self, wait: Duration) {
        let mut wait = millis(wait);
        loop {
            // SAFETY: queue and client are alive; the event is ours until it is destroyed.
            unsafe {
                let event = sys::rd_kafka_queue_poll(self.events.0.as_ptr(), wait);
                if event.is_null() {
                    return;
                }
                self.hear(event);
                sys::rd_kafka_event_destroy(event);
            }
            wait = 0;
        }
    }

    /// # Safety
    /// The event is alive.
    unsafe fn hear(&self, event: *mut sys::rd_kafka_event_t) {
        // SAFETY: as the caller says; texts and messages live as long as their event.
        unsafe {
            match sys::rd_kafka_event_type(event) {
                sys::RD_KAFKA_EVENT_DR => {
                    while let Some(message) = sys::rd_kafka_event_message_next(event).as_ref() {
                        let written = if message.err == NO_ERROR {
                            Ok(message.offset.max(0).cast_unsigned())
                        } else {
                            Err(message.err.into())
                        };
                        self.context().report(message._private.addr(), written);
                    }
                }
                sys::RD_KAFKA_EVENT_ERROR => {
                    let error = KafkaError::Global(sys::rd_kafka_event_error(event).into());
                    let reason = CStr::from_ptr(sys::rd_kafka_event_error_string(event));
                    self.context().error(error, reason.to_string_lossy().trim());
                }
                sys::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
                    let none = sys::rd_kafka_event_log(event, &mut facility, &mut text, &mut level);
                    if none == 0 {
                        let facility = CStr::from_ptr(facility).to_string_lossy();
                        let text = CStr::from_ptr(text).to_string_lossy();
                        self.context().log(level_of(level), &facility, text.trim());
                    }
                }
                _ => {}
            }
        }
    }

    /// Records that are not written and not given up.
    pub(in crate::log::redpanda) fn in_flight(&self) -> usize {
        // SAFETY: the client is alive.
        let count = unsafe { sys::rd_kafka_outq_len(self.native()) };
        usize::try_from(count).unwrap_or(0)
    }

    /// Polls until every record is written or given up; false when the time is over.
    pub(in crate::log::redpanda) fn flush(&self, most: Duration) -> bool {
        let until = Instant::now() + most;
        while self.in_flight() > 0 {
            if Instant::now() >= until {
                return false;
            }
            self.poll(Duration::from_millis(10));
        }
        true
    }

    /// Gives up records that are not sent yet.
    pub(in crate::log::redpanda) fn purge_queue(&self) {
        self.purge(sys::RD_KAFKA_PURGE_F_QUEUE);
    }

    /// Gives up all records; those that are sent may be written yet.
    pub(in crate::log::redpanda) fn purge_all(&self) {
        if self.in_flight() > 0 {
            self.unanswered.store(true, Ordering::SeqCst);
        }
        self.purge(sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT);
    }

    fn purge(&self, flags: i32) {
        // SAFETY: the client is alive. It refuses only flags that it does not know.
        unsafe { sys::rd_kafka_purge(self.native(), flags) };
    }

    pub(in crate::log::redpanda) fn init_transactions(
        &self,
        most: Duration,
    ) -> Result<(), TransactionError> {
        // SAFETY: the client is alive; the error is given up to `outcome`.
        unsafe { outcome(sys::rd_kafka_init_transactions(self.native(), millis(most))) }
    }

    pub(in crate::log::redpanda) fn begin_transaction(&self) -> Result<(), TransactionError> {
        // SAFETY: as above.
        unsafe { outcome(sys::rd_kafka_begin_transaction(self.native())) }
    }

    /// Commits; all records are to be flushed before, or it takes 100 ms at least.
    pub(in crate::log::redpanda) fn commit_transaction(
        &self,
        most: Duration,
    ) -> Result<(), TransactionError> {
        // SAFETY: as above.
        unsafe { outcome(sys::rd_kafka_commit_transaction(self.native(), millis(most))) }
    }

    pub(in crate::log::redpanda) fn abort_transaction(
        &self,
        most: Duration,
    ) -> Result<(), TransactionError> {
        // SAFETY: as above.
        unsafe { outcome(sys::rd_kafka_abort_transaction(self.native(), millis(most))) }
    }
}

impl<C: Reports> Drop for Producer<C> {
    fn drop(&mut self) {
        // librdkafka waits for the reports of what it still has.
        self.purge_all();
        if !self.flush(Duration::from_millis(500)) {
            tracing::debug!("a producer is dropped with records that are not reported");
        }
    }
}

fn level_of(level: c_int) -> RDKafkaLogLevel {
    match level {
        0 => RDKafkaLogLevel::Emerg,
        1 => RDKafkaLogLevel::Alert,
        2 => RDKafkaLogLevel::Critical,
        3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 => RDKafkaLogLevel::Notice,
        6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}
