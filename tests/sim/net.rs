//! The network: connections in memory with latencies from the seed, and hosts that die with all theirs.
//!
//! What is written arrives later, in order, and no more than [`ON_THE_WAY_MAX`] bytes are on their way. All that is written
//! goes into a hash: two runs with the same hash did the same at the same time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use fastrand::Rng;
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes of one direction of a connection that are written and not read.
const ON_THE_WAY_MAX: usize = 64 << 10;
/// One piece in so many takes so many times as long as any other.
const SLOW_ONE_IN: u64 = 64;
const SLOW_TIMES: u32 = 20;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Net {
    begun: Instant,
    chance: Mutex<Rng>,
    /// The longest latency of an ordinary piece.
    latency: Duration,
    trace: Mutex<u64>,
}

impl Net {
    pub(crate) fn new(seed: u64, latency: Duration) -> Arc<Self> {
        let begun = Instant::now();
        Arc::new(Self { begun, chance: Mutex::new(Rng::with_seed(seed)), latency, trace: Mutex::new(seed) })
    }

    /// A hash of all that was written so far: by whom, when, how much.
    pub(crate) fn trace(&self) -> u64 {
        *lock(&self.trace)
    }

    fn latency(&self) -> Duration {
        let most = u64::try_from(self.latency.as_millis()).unwrap_or(0);
        let mut chance = lock(&self.chance);
        let latency = Duration::from_millis(chance.u64(0..=most));
        if chance.u64(0..SLOW_ONE_IN) == 0 { latency * SLOW_TIMES } else { latency }
    }

    fn note(&self, side: u64, bytes: usize) {
        let mut trace = lock(&self.trace);
        let at = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        for number in [side, at, u64::try_from(bytes).unwrap_or(u64::MAX)] {
            *trace = (*trace ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }
}

/// A machine that a daemon runs on.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    inner: Arc<HostInner>,
}

#[derive(Debug)]
struct HostInner {
    net: Arc<Net>,
    number: u64,
    dead: AtomicBool,
    /// Both directions of each connection, from the host and to it.
    links: Mutex<Vec<[Weak<Mutex<Way>>; 2]>>,
}

impl Host {
    pub(crate) fn new(net: &Arc<Net>, number: u64) -> Self {
        let inner = HostInner { net: Arc::clone(net), number, dead: AtomicBool::new(false), links: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// A connection from here: this end and the other one.
    ///
    /// # Errors
    /// The host is dead.
    pub(crate) fn connect(&self) -> io::Result<(Link, Link)> {
        if self.inner.dead.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let [there, back] = [(); 2].map(|()| Arc::new(Mutex::new(Way::new())));
        let mut links = lock(&self.inner.links);
        links.retain(|link| link.iter().any(|way| way.strong_count() > 0));
        links.push([&there, &back].map(Arc::downgrade));
        let side = self.inner.number * 2;
        let here = Link::new(&self.inner.net, side, Arc::clone(&back), Arc::clone(&there));
        Ok((here, Link::new(&self.inner.net, side + 1, there, back)))
    }

    /// From now on nothing that runs here reaches anybody. What it has sent may still arrive, or not.
    pub(crate) fn die(&self) {
        self.inner.dead.store(true, Ordering::Relaxed);
        for [there, back] in lock(&self.inner.links).drain(..) {
            let arrives = lock(&self.inner.net.chance).bool();
            if let Some(way) = there.upgrade() {
                lock(&way).end(End::Reset, !arrives);
            }
            if let Some(way) = back.upgrade() {
                lock(&way).end(End::Reset, true);
            }
        }
    }
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Orderly,
    Reset,
}

/// One direction of a connection.
#[derive(Debug)]
struct Way {
    /// What is on its way, with the time of its arrival.
    pieces: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    last: Instant,
    end: Option<End>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Way {
    fn new() -> Self {
        Self { pieces: VecDeque::new(), bytes: 0, last: Instant::now(), end: None, reader: None, writer: None }
    }

    fn end(&mut self, end: End, lost: bool) {
        if lost {
            self.pieces.clear();
            self.bytes = 0;
        }
        self.end.get_or_insert(end);
        self.wake();
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Link {
    net: Arc<Net>,
    side: u64,
    from: Arc<Mutex<Way>>,
    to: Arc<Mutex<Way>>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Link {
    fn new(net: &Arc<Net>, side: u64, from: Arc<Mutex<Way>>, to: Arc<Mutex<Way>>) -> Self {
        Self { net: Arc::clone(net), side, from, to, pause: None }
    }
}

impl localcloud::Connection for Link {
    fn reset(&self) {
        lock(&self.from).end(End::Reset, true);
        lock(&self.to).end(End::Reset, true);
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        lock(&self.to).end(End::Orderly, false);
        // Whoever writes to it finds nobody.
        lock(&self.from).end(End::Reset, true);
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { from, pause, .. } = self.get_mut();
        loop {
            let mut way = lock(from);
            let Some((arrives, piece)) = way.pieces.front_mut() else {
                match way.end {
                    Some(End::Orderly) => return Poll::Ready(Ok(())),
                    Some(End::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                    None => {
                        way.reader = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                }
            };
            if *arrives <= Instant::now() {
                let bytes = piece.len().min(buffer.remaining());
                buffer.put_slice(&piece.split_to(bytes));
                if !piece.has_remaining() {
                    way.pieces.pop_front();
                }
                way.bytes -= bytes;
                way.writer.take().into_iter().for_each(Waker::wake);
                return Poll::Ready(Ok(()));
            }
            let arrives = *arrives;
            // It may be reset before that.
            way.reader = Some(cx.waker().clone());
            drop(way);
            let pause = pause.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(arrives)));
            if pause.deadline() != arrives {
                pause.as_mut().reset(arrives);
            }
            ready!(pause.as_mut().poll(cx));
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut way = lock(&self.to);
        if way.end.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if way.bytes >= ON_THE_WAY_MAX {
            way.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.net.note(self.side, bytes.len());
        way.last = way.last.max(Instant::now() + self.net.latency());
        way.bytes += bytes.len();
        let arrives = way.last;
        way.pieces.push_back((arrives, Bytes::copy_from_slice(bytes)));
        way.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.to).end(End::Orderly, false);
        Poll::Ready(Ok(()))
    }
}
