//! Snapshots in S3-like storage, for machines that have no disk of their own to find them on.
//!
//! A crate of its own, since nothing else of the engine speaks HTTP to a store. Objects lie as files
//! do in a [`Folder`](bellhop_runtime::snapshot::Folder): `<prefix>/<log id>/<partition>-<events
//! offset>.snapshot`, with the same bytes.
//!
//! # Invariants
//! An object is whole or it is not there: a put, or a multipart upload that is completed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bellhop_core::message::LogId;
use bellhop_runtime::snapshot::{Error, Snapshot, SnapshotStore, outdated};
use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{
    ClientOptions, ObjectStore as _, ObjectStoreExt as _, PutPayload, RetryConfig, WriteMultipart,
};
use tokio::runtime::{Builder, Runtime};

/// Larger snapshots go up in parts.
const PART: usize = 16 << 20;
/// Parts on their way at once.
const PARTS: usize = 4;
/// A store that does not answer is given up: what cannot be loaded is folded.
const PATIENCE: Duration = Duration::from_secs(20);

/// Snapshots in a bucket.
pub struct Bucket {
    url: String,
    prefix: Path,
    store: AmazonS3,
    /// The client is asynchronous; callers are not.
    runtime: Runtime,
}

impl Bucket {
    /// The bucket and prefix of `s3://bucket/prefix`. Settings are named as Amazon's variables are:
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL` for a store
    /// that is not Amazon's, `AWS_ALLOW_HTTP` for one without TLS; others are passed over. Without
    /// keys the machine's role is asked for.
    ///
    /// # Errors
    /// When the address or a setting cannot be used.
    pub fn open(
        url: &str,
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Io {
            tried: "use the bucket",
            path: PathBuf::from(url),
            source,
        };
        let retry =
            RetryConfig { max_retries: 3, retry_timeout: PATIENCE, ..RetryConfig::default() };
        let client = ClientOptions::new().with_timeout(PATIENCE).with_connect_timeout(PATIENCE / 4);
        let mut builder =
            AmazonS3Builder::new().with_url(url).with_retry(retry).with_client_options(client);
        for (name, value) in settings {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        let store = builder.build().map_err(|e| failed(io::Error::other(e)))?;
        let rest = url.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        let prefix = Path::from(rest.map_or("", |(_, prefix)| prefix));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("bellhop-bucket")
            .enable_all()
            .build()
            .map_err(failed)?;
        Ok(Self { url: url.to_owned(), prefix, store, runtime })
    }

    fn of_log(&self, log_id: LogId) -> Path {
        self.prefix.clone().join(log_id.0.to_string())
    }

    fn object(&self, log_id: LogId, partition: u32, events_offset: u64) -> Path {
        self.of_log(log_id).join(Snapshot::name(partition, events_offset))
    }

    fn failed(&self, tried: &'static str, at: &Path, error: object_store::Error) -> Error {
        let path = PathBuf::from(format!("{at} of {}", self.url));
        Error::Io { tried, path, source: io::Error::other(error) }
    }

    async fn put(&self, at: &Path, snapshot: &Snapshot) -> Result<(), object_store::Error> {
        let mut bytes = snapshot.header();
        if snapshot.state.len() <= PART {
            bytes.extend_from_slice(&snapshot.state);
            return self.store.put(at, PutPayload::from(bytes)).await.map(drop);
        }
        let mut parts =
            WriteMultipart::new_with_chunk_size(self.store.put_multipart(at).await?, PART);
        parts.write(&bytes);
        for part in snapshot.state.chunks(PART) {
            parts.wait_for_capacity(PARTS).await?;
            parts.write(part);
        }
        parts.finish().await.map(drop)
    }
}

impl SnapshotStore for Bucket {
    fn save(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let Snapshot { log_id, partition, events_offset, .. } = *snapshot;
        let at = self.object(log_id, partition, events_offset);
        let put = self.runtime.block_on(self.put(&at, snapshot));
        put.map_err(|e| self.failed("write the snapshot", &at, e))?;
        for old in outdated(self.list(log_id, partition)?, events_offset) {
            let at = self.object(log_id, partition, old);
            match self.runtime.block_on(self.store.delete(&at)) {
                // Another machine keeps the same partition's snapshots in order, too.
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("remove the old snapshot", &at, error)),
            }
        }
        Ok(())
    }

    fn list(&self, log_id: LogId, partition: u32) -> Result<Vec<u64>, Error> {
        let folder = self.of_log(log_id);
        let found: Result<Vec<_>, _> =
            self.runtime.block_on(self.store.list(Some(&folder)).try_collect());
        let found = found.map_err(|e| self.failed("list the snapshots in", &folder, e))?;
        let offset_of = |at: &Path| Snapshot::offset_in(at.filename()?, partition);
        let mut offsets: Vec<u64> = found.iter().filter_map(|it| offset_of(&it.location)).collect();
        offsets.sort_unstable_by(|one, other| other.cmp(one));
        Ok(offsets)
    }

    fn load(&self, log_id: LogId, partition: u32, events_offset: u64) -> Result<Snapshot, Error> {
        let at = self.object(log_id, partition, events_offset);
        let get = async { self.store.get(&at).await?.bytes().await };
        let bytes = self.runtime.block_on(get);
        let bytes = bytes.map_err(|e| self.failed("read the snapshot", &at, e))?;
        Snapshot::read(log_id, partition, events_offset, bytes.into())
            .map_err(|what| Error::Damaged { path: PathBuf::from(at.as_ref()), what })
    }
}
