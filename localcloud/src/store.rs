//! Where the bodies of objects are: in memory, or in files of a directory.
//!
//! A file's name is made from its object's key: what is not a letter, a digit or one of `-_.` is percent-encoded, so no
//! key leaves the directory, and a long one is cut and told apart by its hash. The files are there to be looked at; a
//! cloud never reads what it has not written itself. A replaced object's file goes when its last reader has done.

use std::collections::HashMap;
use std::io::{self, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::poll_read_buf;

use crate::api::{hex, lock};

/// Bytes of a file that are read, and waited for, at a time.
const CHUNK_BYTES: usize = 256 * 1024;
/// Longest name that is its key; most file systems take 255 bytes.
const NAME_BYTES_MAX: usize = 180;
/// What is left of a longer one.
const CUT_BYTES: usize = 100;
/// What a file's name may hold as it is.
const NAME_SAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Where a cloud keeps the bodies of objects.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    directory: Option<Arc<Directory>>,
}

#[derive(Debug)]
struct Directory {
    root: PathBuf,
    /// How many files were made for each name, without regard to case: not every file system tells it apart.
    made: Mutex<HashMap<PathBuf, u32>>,
}

impl Storage {
    /// In files under `root`, which is made if it is missing.
    ///
    /// # Errors
    /// It cannot be made, or nothing can be written there.
    pub fn directory(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let probe = root.join(".localcloud");
        std::fs::write(&probe, b"")?;
        std::fs::remove_file(&probe)?;
        Ok(Self { directory: Some(Arc::new(Directory { root: root.to_owned(), made: Mutex::default() })) })
    }

    /// Keeps bytes at once.
    ///
    /// # Errors
    /// The file cannot be written; nothing is kept.
    pub(crate) fn keep(&self, bucket: &str, key: &str, bytes: Bytes) -> io::Result<Stored> {
        let Some(directory) = &self.directory else { return Ok(Stored::Memory(bytes)) };
        let (mut file, stored) = create(directory.path(bucket, key))?;
        file.write_all(&bytes)?;
        stored.gone.store(false, Ordering::Relaxed);
        Ok(Stored::File(Arc::new(stored)))
    }

    /// Begins to keep a body of about so many bytes.
    pub(crate) async fn begin(&self, bucket: &str, key: &str, bytes: usize) -> io::Result<Incoming> {
        let Some(directory) = &self.directory else {
            return Ok(Incoming::Memory(BytesMut::with_capacity(bytes.min(BUFFER_BYTES_MAX))));
        };
        let path = directory.path(bucket, key);
        // In one go with what removes the file: a client that leaves meanwhile is not waited for, and the file goes too.
        let created = tokio::task::spawn_blocking(move || create(path)).await;
        let (file, stored) = created.map_err(io::Error::other)??;
        Ok(Incoming::File { file: File::from_std(file), stored })
    }

    /// Keeps pieces of other bodies, one behind the other. A single one that is in memory is not copied.
    pub(crate) async fn join(&self, bucket: &str, key: &str, pieces: &[Piece]) -> io::Result<Stored> {
        if let [Piece { body: Stored::Memory(bytes), range }] = pieces {
            return Ok(Stored::Memory(slice(bytes, range)));
        }
        let bytes: u64 = pieces.iter().map(Piece::len).sum();
        let mut incoming = self.begin(bucket, key, usize::try_from(bytes).unwrap_or(usize::MAX)).await?;
        for piece in pieces {
            let mut body = piece.read().await?;
            while let Some(frame) = body.frame().await {
                if let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() {
                    incoming.write(&bytes).await?;
                }
            }
        }
        incoming.end().await
    }
}

/// A new file, which goes again unless all of its object is written to it.
fn create(path: PathBuf) -> io::Result<(std::fs::File, StoredFile)> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let file = std::fs::File::create(&path)?;
    Ok((file, StoredFile { path, gone: AtomicBool::new(true) }))
}

/// A part of a body that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) body: Stored,
    pub(crate) range: Range<u64>,
}

impl Piece {
    pub(crate) fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// Its bytes. They are not copied, or come from the file in chunks.
    pub(crate) async fn read(&self) -> io::Result<s3s::Body> {
        match &self.body {
            Stored::Memory(bytes) => Ok(s3s::Body::from(slice(bytes, &self.range))),
            Stored::File(stored) => {
                let mut file = File::open(&stored.path).await?;
                file.set_max_buf_size(CHUNK_BYTES);
                file.seek(SeekFrom::Start(self.range.start)).await?;
                Ok(s3s::Body::http_body(FileBody { file, left: self.len(), _stored: Arc::clone(stored) }))
            }
        }
    }
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(place(range.start)..place(range.end))
}

/// Most bytes that are set aside because a client announces them.
const BUFFER_BYTES_MAX: usize = 64 << 20;

impl Directory {
    /// A path that no other object of this cloud has.
    fn path(&self, bucket: &str, key: &str) -> PathBuf {
        let name = name(key);
        let bucket = self.root.join(self::name(bucket));
        let mut made = lock(&self.made);
        let count = made.entry(bucket.join(name.to_ascii_lowercase())).or_default();
        *count += 1;
        // `~` is in no name.
        bucket.join(if *count == 1 { name } else { format!("{name}~{count}") })
    }
}

/// A file's name for a key: never empty, `.` or `..`, and without separators.
fn name(key: &str) -> String {
    let encoded = utf8_percent_encode(key, NAME_SAFE).to_string();
    let encoded = encoded.strip_prefix('.').map_or_else(|| encoded.clone(), |rest| format!("%2E{rest}"));
    if encoded.len() <= NAME_BYTES_MAX {
        return encoded;
    }
    let cut = encoded.get(..CUT_BYTES).unwrap_or_default();
    format!("{cut}~{}", hex(&Sha256::digest(key)))
}

/// A body that is coming in. Dropped before its end, it leaves nothing.
#[derive(Debug)]
pub(crate) enum Incoming {
    Memory(BytesMut),
    File { file: File, stored: StoredFile },
}

impl Incoming {
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(all) => {
                all.put_slice(bytes);
                Ok(())
            }
            Self::File { file, .. } => file.write_all(bytes).await,
        }
    }

    pub(crate) async fn end(self) -> io::Result<Stored> {
        match self {
            Self::Memory(all) => Ok(Stored::Memory(all.freeze())),
            Self::File { mut file, stored } => {
                file.flush().await?;
                stored.gone.store(false, Ordering::Relaxed);
                Ok(Stored::File(Arc::new(stored)))
            }
        }
    }
}

/// A file that is removed with the last who has it, once its object is gone.
#[derive(Debug)]
pub(crate) struct StoredFile {
    path: PathBuf,
    gone: AtomicBool,
}

impl Drop for StoredFile {
    fn drop(&mut self) {
        if *self.gone.get_mut() {
            // Nobody reads it any more; what cannot be removed stays as it is.
            let _removed = std::fs::remove_file(&self.path);
        }
    }
}

/// A body that is kept.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    Memory(Bytes),
    File(Arc<StoredFile>),
}

impl Stored {
    /// Its object was replaced.
    pub(crate) fn forget(&self) {
        if let Self::File(file) = self {
            file.gone.store(true, Ordering::Relaxed);
        }
    }
}

/// A part of a file, read as it is taken.
struct FileBody {
    file: File,
    left: u64,
    _stored: Arc<StoredFile>,
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        if most == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = BytesMut::with_capacity(most).limit(most);
        let read = ready!(poll_read_buf(Pin::new(&mut self.file), cx, &mut chunk))?;
        if read == 0 {
            self.left = 0;
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        self.left = self.left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        Poll::Ready(Some(Ok(Frame::data(chunk.into_inner().freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the key, its file is within the bucket's directory, and no two keys have one file.
        #[test]
        fn names_stay_where_they_belong(keys in prop::collection::hash_set("[a-zA-Z./\\\\~%\\PC]{1,40}|(ab/){80,90}[a-c]", 1..8)) {
            let directory = Directory { root: "/kept".into(), made: Mutex::default() };
            let mut seen = std::collections::HashSet::new();
            for key in &keys {
                let path = directory.path("bucket", key);
                prop_assert_eq!(path.parent(), Some(Path::new("/kept/bucket")), "{}", key);
                let name = path.file_name().unwrap().to_str().unwrap();
                prop_assert!((1..=255).contains(&name.len()) && !name.starts_with('.'), "{}", name);
                prop_assert!(seen.insert(name.to_ascii_lowercase()), "{}", key);
            }
        }
    }

    #[test]
    fn what_cannot_be_a_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, b"x").unwrap();
        assert!(Storage::directory(&file).is_err());
        assert!(Storage::directory(&root.path().join("a/b")).is_ok());
    }

    #[tokio::test]
    async fn a_replaced_file_is_read_to_its_end_and_goes() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage::directory(root.path()).unwrap();
        let files = || std::fs::read_dir(root.path().join("b")).unwrap().count();
        let mut incoming = storage.begin("b", "../k", 3).await.unwrap();
        let text: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        for part in text.chunks(300_000) {
            incoming.write(part).await.unwrap();
        }
        let stored = incoming.end().await.unwrap();
        assert_eq!(std::fs::read(root.path().join("b/%2E.%2Fk")).unwrap(), text);

        let piece = Piece { body: stored.clone(), range: 1..999_999 };
        let mut body = piece.read().await.unwrap();
        let mut read = Vec::new();
        let mut frames = 0;
        stored.forget();
        drop((stored, piece));
        while let Some(frame) = body.frame().await {
            read.extend_from_slice(&frame.unwrap().into_data().unwrap());
            frames += 1;
        }
        assert!(read == text[1..999_999] && frames >= 4);
        assert_eq!(files(), 1);
        drop(body);
        assert_eq!(files(), 0);

        let mut abandoned = storage.begin("b", "k", 3).await.unwrap();
        abandoned.write(b"x").await.unwrap();
        assert_eq!(files(), 1);
        drop(abandoned);
        assert_eq!(files(), 0);
    }

    /// Whenever a client goes, no file stays of what it had begun.
    #[test]
    fn what_was_given_up_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage::directory(root.path()).unwrap();
        std::fs::create_dir(root.path().join("b")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for round in 0..300 {
                let patience = std::time::Duration::from_micros(round * 2);
                let _begun_or_not = tokio::time::timeout(patience, storage.begin("b", "k", 3)).await;
            }
        });
        // Waits for what was asked of the file system.
        drop(runtime);
        assert_eq!(std::fs::read_dir(root.path().join("b")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_not_kept_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage::directory(root.path()).unwrap();
        std::fs::write(root.path().join("b"), b"no directory").unwrap();
        assert!(storage.keep("b", "k", Bytes::from_static(b"x")).is_err());
        assert!(storage.begin("b", "k", 1).await.is_err());
    }

    #[tokio::test]
    async fn pieces_are_joined_in_their_order() {
        let root = tempfile::tempdir().unwrap();
        for storage in [Storage::default(), Storage::directory(root.path()).unwrap()] {
            let body = storage.keep("b", "from", Bytes::from_static(b"0123456789")).unwrap();
            let piece = |range| Piece { body: body.clone(), range };
            for (pieces, expected) in [
                (vec![piece(0..10)], "0123456789"),
                (vec![piece(7..9), piece(0..2), piece(3..3)], "7801"),
                (vec![piece(2..5)], "234"),
                (vec![], ""),
            ] {
                let joined = storage.join("b", "to", &pieces).await.unwrap();
                let whole = Piece { body: joined, range: 0..u64::try_from(expected.len()).unwrap() };
                let read = whole.read().await.unwrap().collect().await.unwrap().to_bytes();
                assert_eq!(read, expected);
            }
        }
    }
}
