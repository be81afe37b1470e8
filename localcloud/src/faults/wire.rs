//! A connection that ends as a fault wants it to: by a reset, or in the middle of an answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const CLOSE: u8 = 1;
const RESET: u8 = 2;

/// How a connection is to end; at first as its client wants it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate(Arc<AtomicU8>);

impl Fate {
    /// It ends as soon as what was written so far is sent, and not before.
    pub(crate) fn close_once_sent(&self) {
        self.0.store(CLOSE, Ordering::Relaxed);
    }

    /// Its end is a reset: the client sees no orderly one, and what is not sent yet is lost.
    pub(crate) fn reset(&self) {
        self.0.store(RESET, Ordering::Relaxed);
    }

    fn is(&self, fate: u8) -> bool {
        self.0.load(Ordering::Relaxed) == fate
    }
}

/// What a client is connected by.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// It is about to be dropped, and its end is to be a reset. Where that cannot be had, the end is an orderly one.
    fn reset(&self);
}

impl Connection for TcpStream {
    fn reset(&self) {
        let _orderly = self.set_zero_linger();
    }
}

/// A connection with its fate.
#[derive(Debug)]
pub(crate) struct Wire<C: Connection> {
    stream: C,
    fate: Fate,
}

impl<C: Connection> Wire<C> {
    pub(crate) const fn new(stream: C, fate: Fate) -> Self {
        Self { stream, fate }
    }
}

impl<C: Connection> Drop for Wire<C> {
    fn drop(&mut self) {
        if self.fate.is(RESET) {
            self.stream.reset();
        }
    }
}

impl<C: Connection> AsyncRead for Wire<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<C: Connection> AsyncWrite for Wire<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper comes here with nothing left that it has not written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fate.is(CLOSE) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
