//! Bodies: those that come, within bounds, and those that go, at once or bit by bit.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::RETRY_AFTER;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

use super::answer::{Answer, text};

/// The largest body of a request; a function's answer is as large as it is.
pub const MAX_BODY_BYTES: usize = 16 << 20;
/// What is read of a body that is too large, and thrown away, so that its sender hears that it is.
const MAX_DISCARDED_BYTES: usize = MAX_BODY_BYTES;
/// Bytes of bodies that are held at once, those up to [`SMALL_BODY_BYTES`] not counted: of these, there are no more
/// than connections.
const MAX_HELD_BYTES: usize = 256 << 20;
const SMALL_BODY_BYTES: usize = 64 << 10;
/// How long a caller should wait for others' bodies to be gone.
const HELD_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Time to send a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The body of an answer.
pub(super) enum Body {
    Whole(Full<Bytes>),
    /// Each part is sent as it comes.
    Parts(BoxStream<'static, Bytes>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Parts(parts) => {
                let next = Pin::new(parts).poll_next(context);
                next.map(|part| part.map(|part| Ok(Frame::data(part))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Parts(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Parts(_) => SizeHint::default(),
        }
    }
}

/// Room for bodies.
#[derive(Debug)]
pub(super) struct Room(Semaphore);

/// A body, and its room, which is free when this is dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    pub(super) bytes: Bytes,
    _room: Option<SemaphorePermit<'a>>,
}

impl Default for Room {
    fn default() -> Self {
        Self(Semaphore::new(MAX_HELD_BYTES))
    }
}

impl Room {
    /// Room for a body as large as it says that it is, or for the largest. A small one needs none.
    fn take(&self, body: &Incoming) -> Result<Option<SemaphorePermit<'_>>, TryAcquireError> {
        let said = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = said.unwrap_or(MAX_BODY_BYTES).min(MAX_BODY_BYTES);
        if bytes <= SMALL_BODY_BYTES {
            return Ok(None);
        }
        self.0.try_acquire_many(bytes as u32).map(Some)
    }
}

/// Reads a request's whole body.
pub(super) async fn read(body: Incoming, room: &Room) -> Result<Held<'_>, Answer> {
    if body.is_end_stream() {
        return Ok(Held { bytes: Bytes::new(), _room: None });
    }
    let Ok(taken) = room.take(&body) else {
        let reason = format_args!("bodies of {MAX_HELD_BYTES} bytes are here, as many as may");
        let mut answer = text(StatusCode::TOO_MANY_REQUESTS, reason);
        answer.headers_mut().insert(RETRY_AFTER, HELD_RETRY_AFTER.as_secs().into());
        return Err(answer);
    };
    Ok(Held { bytes: read_whole(body).await?, _room: taken })
}

async fn read_whole(mut body: Incoming) -> Result<Bytes, Answer> {
    let read = async {
        let read = Limited::new(&mut body, MAX_BODY_BYTES).collect().await;
        // Whoever is still sending when the connection closes gets a broken pipe, and not the answer.
        let mut discarded = 0;
        while read.is_err()
            && discarded < MAX_DISCARDED_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            discarded += frame.data_ref().map_or(0, Bytes::len);
        }
        read
    };
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let reason = format_args!("the body is larger than {MAX_BODY_BYTES} bytes");
            Err(text(StatusCode::PAYLOAD_TOO_LARGE, reason))
        }
        Ok(Err(error)) => {
            Err(text(StatusCode::BAD_REQUEST, format_args!("the body broke off: {error}")))
        }
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}
