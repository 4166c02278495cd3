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
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, MultipartUpload, ObjectStore as _, ObjectStoreExt as _, PutPayload,
    RetryConfig,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Larger snapshots go up and come down in parts, so that the patience is with a part, and a
/// snapshot may take as long as its size asks for.
const PART: usize = 8 << 20;
/// Parts on their way up at once.
const PARTS: usize = 4;
/// How long a part may take: 8 MiB in 20 s. A store that does not answer is given up, and what
/// cannot be loaded is folded.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a whole snapshot may take to load. A worker that loads one does not poll, and leaves its
/// group after `max.poll.interval.ms` (300 s): two that are too slow end before.
const LOAD: Duration = Duration::from_secs(100);

/// What is waited for.
#[derive(Debug, Clone, Copy)]
struct Patience {
    part: Duration,
    load: Duration,
}

/// Snapshots in a bucket.
pub struct Bucket {
    url: String,
    prefix: Path,
    store: AmazonS3,
    /// Bytes of a part that comes down.
    part: usize,
    load_wait: Duration,
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
        Self::open_with(url, settings, Patience { part: PATIENCE, load: LOAD }, PART)
    }

    fn open_with(
        url: &str,
        settings: impl IntoIterator<Item = (String, String)>,
        Patience { part: patience, load: load_wait }: Patience,
        part: usize,
    ) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Io {
            tried: "use the bucket",
            path: PathBuf::from(url),
            source,
        };
        let retry =
            RetryConfig { max_retries: 3, retry_timeout: patience, ..RetryConfig::default() };
        let client = ClientOptions::new().with_timeout(patience).with_connect_timeout(patience / 4);
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
        Ok(Self { url: url.to_owned(), prefix, store, part, load_wait, runtime })
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
        let mut upload = self.store.put_multipart(at).await?;
        let sent = send(upload.as_mut(), bytes, &snapshot.state).await;
        let completed = match sent {
            Ok(()) => upload.complete().await.map(drop),
            Err(error) => Err(error),
        };
        if completed.is_err()
            && let Err(error) = upload.abort().await
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                %at,
                error,
                "the parts of a snapshot that failed stay in the bucket: have its lifecycle rules remove incomplete uploads"
            );
        }
        completed
    }
}

/// Sends the parts of a snapshot, all but the last of one size.
async fn send(
    upload: &mut dyn MultipartUpload,
    header: Vec<u8>,
    state: &[u8],
) -> Result<(), object_store::Error> {
    let (first, rest) = state.split_at(PART - header.len());
    let first = std::iter::once([header.as_slice(), first].concat());
    let parts = first.chain(rest.chunks(PART).map(<[u8]>::to_vec));
    // Numbered in this order; as many in memory as are under way.
    let sent = parts.map(|part| upload.put_part(PutPayload::from(part)));
    stream::iter(sent).buffer_unordered(PARTS).try_collect().await
}

impl Bucket {
    async fn get(&self, at: &Path) -> Result<Vec<u8>, object_store::Error> {
        let part = self.part as u64;
        let range = Some((0..part).into());
        let first = self.store.get_opts(at, GetOptions { range, ..GetOptions::default() }).await?;
        let size = first.meta.size;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        bytes.extend_from_slice(&first.bytes().await?);
        while (bytes.len() as u64) < size {
            let from = bytes.len() as u64;
            // One that was written anew meanwhile does not have the checksum.
            let next = self.store.get_range(at, from..(from + part).min(size)).await?;
            if next.is_empty() {
                break;
            }
            bytes.extend_from_slice(&next);
        }
        Ok(bytes)
    }
}

impl SnapshotStore for Bucket {
    fn save(&self, snapshot: &Snapshot, stale: &[u64]) -> Result<(), Error> {
        let Snapshot { log_id, partition, events_offset, .. } = *snapshot;
        let at = self.object(log_id, partition, events_offset);
        let put = self.runtime.block_on(self.put(&at, snapshot));
        put.map_err(|e| self.failed("write the snapshot", &at, e))?;
        for old in outdated(self.list(log_id, partition)?, events_offset, stale) {
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
        let tried = "read the snapshot";
        let loaded = self.runtime.block_on(async { timeout(self.load_wait, self.get(&at)).await });
        let bytes = loaded.map_err(|_| {
            let seconds = self.load_wait.as_secs();
            let late = io::Error::new(io::ErrorKind::TimedOut, format!("not within {seconds} s"));
            Error::Io { tried, path: PathBuf::from(format!("{at} of {}", self.url)), source: late }
        })?;
        let bytes = bytes.map_err(|e| self.failed(tried, &at, e))?;
        Snapshot::read(log_id, partition, events_offset, bytes)
            .map_err(|what| Error::Damaged { path: PathBuf::from(at.as_ref()), what })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use bellhop_harness::S3;
    use uuid::Uuid;

    use super::*;

    /// Passes connections on, and what comes back at so many bytes per 10 ms.
    fn slow_proxy(to: SocketAddr, bytes: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(to).unwrap();
                let (mut up, mut down) = (client.try_clone().unwrap(), client);
                let (mut there, mut back) = (server.try_clone().unwrap(), server);
                std::thread::spawn(move || std::io::copy(&mut up, &mut there).map(drop));
                std::thread::spawn(move || {
                    let mut buffer = vec![0; bytes];
                    while let Ok(count @ 1..) = back.read(&mut buffer) {
                        if down.write_all(&buffer[..count]).is_err() {
                            return;
                        }
                        std::thread::sleep(Duration::from_millis(10));
                    }
                });
            }
        });
        at
    }

    /// A store that takes no part of an upload; says which requests came.
    fn no_parts() -> (SocketAddr, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let (tell, told) = channel();
        let answer = move |stream: TcpStream, tell: Sender<String>| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            loop {
                let (mut request, mut bytes, mut line) = (String::new(), 0, String::new());
                while let Ok(1..) = reader.read_line(&mut line) {
                    let text = line.trim_end().to_ascii_lowercase();
                    if let Some(length) = text.strip_prefix("content-length:") {
                        bytes = length.trim().parse().unwrap();
                    }
                    if request.is_empty() {
                        request.clone_from(&line);
                    }
                    line.clear();
                    if text.is_empty() {
                        break;
                    }
                }
                if request.is_empty() {
                    return;
                }
                std::io::copy(&mut (&mut reader).take(bytes), &mut std::io::sink()).unwrap();
                let started = "<InitiateMultipartUploadResult><UploadId>one</UploadId></InitiateMultipartUploadResult>";
                let (status, body) = match request.split(' ').next() {
                    Some("POST") => ("200 OK", started),
                    Some("DELETE") => ("204 No Content", ""),
                    _ => ("400 Bad Request", "no"),
                };
                tell.send(request).unwrap();
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
                if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
                    return;
                }
            }
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                std::thread::spawn(move || answer(stream, tell));
            }
        });
        (at, told)
    }

    #[test]
    fn an_upload_that_fails_leaves_no_parts_in_the_bucket() {
        let (at, told) = no_parts();
        let settings = [
            ("AWS_ENDPOINT_URL", format!("http://{at}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "a".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "b".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let bucket = Bucket::open("s3://hotels/state", settings).unwrap();
        // More than are sent at once.
        let state = vec![7; 6 * PART];
        let log_id = LogId(Uuid::from_u128(7));
        let snapshot = Snapshot { log_id, partition: 3, events_offset: 9, state };
        bucket.save(&snapshot, &[]).unwrap_err();
        let requests: Vec<String> = told.try_iter().collect();
        let last = requests.last().unwrap();
        assert!(last.starts_with("DELETE") && last.contains("uploadId=one"), "{requests:?}");
    }

    #[test]
    fn a_snapshot_that_takes_longer_than_the_patience_with_one_part_is_loaded() {
        let s3 = S3::start().unwrap();
        s3.make_bucket("hotels").unwrap();
        let settings = s3.settings();
        let endpoint = settings.iter().find(|(name, _)| name == "AWS_ENDPOINT_URL").unwrap();
        let address = endpoint.1.strip_prefix("http://").unwrap().parse().unwrap();
        let fast = Bucket::open("s3://hotels/state", settings.clone()).unwrap();
        let log_id = LogId(Uuid::from_u128(7));
        let state = (0..6 << 20).map(|at| (at % 251) as u8).collect();
        let snapshot = Snapshot { log_id, partition: 3, events_offset: 9, state };
        fast.save(&snapshot, &[]).unwrap();
        // At most 1.6 MB/s: all of it takes 4 s or more, a part 0.2 s.
        let slow = slow_proxy(address, 16 << 10);
        let through = |part: usize, load: u64| {
            let endpoint = ("AWS_ENDPOINT_URL".to_owned(), format!("http://{slow}"));
            let settings = settings.iter().cloned().chain([endpoint]);
            let patience =
                Patience { part: Duration::from_secs(3), load: Duration::from_secs(load) };
            Bucket::open_with("s3://hotels/state", settings, patience, part).unwrap()
        };
        through(usize::MAX >> 1, 600).load(log_id, 3, 9).unwrap_err();
        assert!(through(256 << 10, 600).load(log_id, 3, 9).unwrap() == snapshot);
        // Nor without end: its worker does not poll meanwhile.
        let error = through(256 << 10, 1).load(log_id, 3, 9).unwrap_err();
        let Error::Io { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::TimedOut, "{source}");
    }
}
