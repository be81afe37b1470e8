//! Answers that are lost, late, slow, cut short or damaged.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Method, Response};

use super::draw::{below, next};
use super::kind::Kind;
use super::plan::Fault;
use super::wire::Fate;
use crate::Inner;

/// A slow body comes in so many pieces a second.
const PIECES_PER_SECOND: u64 = 10;

type Content = Either<Full<Bytes>, s3s::Body>;
type ContentError = Box<dyn std::error::Error + Send + Sync>;

/// There is no answer, and no connection any more.
#[derive(Debug, thiserror::Error)]
#[error("the connection was ended by a fault")]
pub(crate) struct Broken;

/// What becomes of an answer on its way. By now the call was done or refused.
pub(crate) async fn answered(
    cloud: &Arc<Inner>,
    fault: Fault,
    method: &Method,
    answer: Response<Content>,
    fate: &Fate,
) -> Result<Response<Content>, Broken> {
    let bytes = if *method == Method::HEAD { 0 } else { answer.body().size_hint().lower() };
    let whole = answer.status().is_success() && bytes > 0;
    let how = match fault.kind {
        Kind::ResetBefore | Kind::ResetAfter => {
            fault.happens();
            fate.reset();
            return Err(Broken);
        }
        Kind::Delay => {
            fault.happens();
            let ms = fault.amount.and_then(|ms| i64::try_from(ms).ok()).unwrap_or_default();
            cloud.clock.reach(cloud.clock.now_ms().saturating_add(ms)).await;
            return Ok(answer);
        }
        // An answer without a body breaks off before it begins.
        Kind::Cut if bytes == 0 => {
            fault.happens();
            return Err(Broken);
        }
        Kind::Cut => How::Cut { left: below(fault.number, bytes), fate: fate.clone() },
        Kind::Corrupt if whole => {
            How::Corrupt { before: below(fault.number, bytes), mask: 1 << below(next(fault.number), 8) }
        }
        Kind::Slow if whole => How::Slow(Slow {
            cloud: Arc::clone(cloud),
            bytes_per_second: fault.amount.unwrap_or(1),
            begun_ms: cloud.clock.now_ms(),
            sent: 0,
            piece: Bytes::new(),
            pause: None,
        }),
        Kind::Corrupt
        | Kind::Slow
        | Kind::Throttle
        | Kind::Error500
        | Kind::Error503
        | Kind::Expired
        | Kind::Skewed
        | Kind::Denied
        | Kind::Error404
        | Kind::Error412
        | Kind::Error416
        | Kind::RejectOld
        | Kind::RejectNew
        | Kind::RejectExpired
        | Kind::Duplicate
        | Kind::Reorder
        | Kind::LostHide
        | Kind::LostDelete => return Ok(answer),
    };
    fault.happens();
    Ok(answer.map(|content| Either::Right(s3s::Body::http_body_unsync(Altered { content, how }))))
}

/// A body that does not come as it is. Its length is told as it would be.
struct Altered {
    content: Content,
    how: How,
}

enum How {
    /// After so many bytes there is no more, and no connection.
    Cut { left: u64, fate: Fate },
    /// After so many bytes comes one that is another.
    Corrupt { before: u64, mask: u8 },
    /// It takes its time.
    Slow(Slow),
}

struct Slow {
    cloud: Arc<Inner>,
    bytes_per_second: u64,
    begun_ms: i64,
    sent: u64,
    /// What has come and is not sent yet.
    piece: Bytes,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Body for Altered {
    type Data = Bytes;
    type Error = ContentError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ContentError>>> {
        let Self { content, how } = self.get_mut();
        if let How::Slow(slow) = how {
            return slow.poll(content, cx);
        }
        if let How::Cut { left: 0, fate } = how {
            // Nothing wakes it any more: what it has given is flushed, and that is its end.
            fate.close_once_sent();
            return Poll::Pending;
        }
        let Some(frame) = ready!(Pin::new(content).poll_frame(cx)) else { return Poll::Ready(None) };
        let bytes = match frame?.into_data() {
            Ok(bytes) => bytes,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        let bytes = match how {
            How::Cut { left, .. } => cut(&bytes, left),
            How::Corrupt { before, mask } => corrupt(bytes, before, *mask),
            How::Slow(_) => bytes,
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

/// The bytes that may still come.
fn cut(bytes: &Bytes, left: &mut u64) -> Bytes {
    let bytes = bytes.slice(..bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
    *left = left.saturating_sub(length(&bytes));
    bytes
}

/// The bytes, of which the one that stands behind `before` others is changed.
fn corrupt(bytes: Bytes, before: &mut u64, mask: u8) -> Bytes {
    let at = usize::try_from(*before).unwrap_or(usize::MAX);
    if at >= bytes.len() {
        *before = before.saturating_sub(length(&bytes));
        return bytes;
    }
    *before = u64::MAX;
    let mut changed = BytesMut::from(&*bytes);
    if let Some(byte) = changed.get_mut(at) {
        *byte ^= mask;
    }
    changed.freeze()
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Slow {
    fn poll(
        &mut self,
        content: &mut Content,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentError>>> {
        while self.piece.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut *content).poll_frame(cx)) else { return Poll::Ready(None) };
            self.piece = frame?.into_data().unwrap_or_default();
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
        }
        let most = usize::try_from((self.bytes_per_second / PIECES_PER_SECOND).max(1)).unwrap_or(usize::MAX);
        let bytes = self.piece.split_to(self.piece.len().min(most));
        self.sent = self.sent.saturating_add(length(&bytes));
        let due_ms = self.sent.saturating_mul(1000) / self.bytes_per_second.max(1);
        let due_ms = self.begun_ms.saturating_add(i64::try_from(due_ms).unwrap_or(i64::MAX));
        let cloud = Arc::clone(&self.cloud);
        self.pause = Some(Box::pin(async move { cloud.clock.reach(due_ms).await }));
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
