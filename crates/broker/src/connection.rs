//! One client's connection: frames in, responses out, in order.
//!
//! Two loops share a task. The reader takes frames apart; Produce it appends at once, so that the next sync
//! covers as many requests as have arrived, and everything else it passes on. The writer takes them in order:
//! for Produce it waits until the batches are durable, anything else it answers then. So responses keep the
//! order of requests, and no request is started before those in front of it have been answered, except
//! appends. A fetch that waits for data holds up nobody: it is answered early, and empty, as soon as another
//! request is in line behind it.
//!
//! Garbage closes the connection and does nothing else. The read buffer grows with the bytes that arrive, not
//! with what a length prefix promises, and what all connections hold together has a bound ([`crate::memory`]).
//! A peer that sends or takes a frame too slowly is closed, so that nobody holds his share for long.
//!
//! However a connection ends, what came whole before its end is carried out, whether or not somebody hears the
//! answers: a process that sends its last commit and exits has committed. Requests that wait for something are
//! not waited for longer than a stalled peer is, so that nobody's place is taken by those who have gone.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, trace};

use crate::apis::cluster::api_versions;
use crate::apis::produce::{PendingProduce, append};
use crate::apis::{Turn, answer};
use crate::memory::Share;
use crate::node::{Client, Node};
use protocol::api::{RequestHeader, respond};
use protocol::cluster::ApiVersionsRequest;
use protocol::produce::ProduceRequest;
use protocol::{Api, DecodeError, ErrorCode, Frame, Reader, Wire};

/// Bytes of the length prefix.
const PREFIX_BYTES: usize = 4;
/// A read buffer's first size, and the least by which it grows.
const BUFFER_BYTES: usize = 8 * 1024;
/// The least that a peer sends or takes per second, on average over a frame: below what a bad mobile link does.
const SLOWEST_BYTES_PER_SECOND: usize = 8 * 1024;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the peer closed it")]
    Closed,
    #[error("the broker stops")]
    Stopping,
    #[error("no request came for a long time")]
    Idle,
    #[error("the peer stopped in the middle of a frame, or was too slow")]
    Stalled,
    #[error("a frame of {length} bytes; up to {bound} are allowed")]
    FrameLength { length: i32, bound: usize },
    #[error("API {key:?} in version {version} is not spoken here")]
    Unsupported { key: Result<Api, i16>, version: i16 },
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a batch was refused to a producer that takes no answers")]
    SilentRefusal,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A request in line for its answer.
#[derive(Debug)]
enum Pending {
    Produce {
        correlation_id: i32,
        version: i16,
        produce: PendingProduce,
        _share: Option<Share>,
    },
    Call {
        header: RequestHeader,
        api: Api,
        reader: Reader,
        slots: OwnedSemaphorePermit,
        _share: Option<Share>,
    },
    UnsupportedApiVersions {
        correlation_id: i32,
    },
}

/// The requests of a connection that wait for their turn.
#[derive(Debug)]
struct Line {
    queue: mpsc::Receiver<Pending>,
    /// The first of them, where a fetch in front of it has been told to give way.
    first: Option<Pending>,
}

impl Line {
    async fn next(&mut self) -> Option<Pending> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.queue.recv().await,
        }
    }

    /// Returns once somebody is in line, or once it is known that nobody will be.
    async fn is_settled(&mut self) {
        if self.first.is_none() {
            self.first = self.queue.recv().await;
        }
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve(node: &Node, stream: TcpStream, peer: SocketAddr) {
    let end = match stream.set_nodelay(true).and_then(|()| stream.local_addr()) {
        Ok(local) => {
            let (reader, writer) = stream.into_split();
            run(node, reader, writer, Client { id: String::new(), peer, local }).await
        }
        Err(error) => error.into(),
    };
    debug!(%peer, %end, "a connection ended");
}

/// Reads requests and writes responses; returns why it has stopped.
pub(crate) async fn run(
    node: &Node,
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    mut client: Client,
) -> End {
    let (sender, queue) = mpsc::channel(node.bounds.pipelined_requests);
    let mut line = Line { queue, first: None };
    let (end, written) = {
        let mut reading = pin!(read_requests(node, reader, sender));
        let mut writing = pin!(write_responses(node, &mut writer, &mut line, &mut client));
        tokio::select! {
            // The reader has let go of the line, which ends with whoever is in it.
            end = &mut reading => {
                let written = timeout(node.bounds.stalled, writing).await;
                (Some(end), written.unwrap_or(Err(End::Stalled)))
            }
            written = &mut writing => (None, written),
        }
    };
    if let Err(End::Closed | End::Stalled | End::Io(_)) = written {
        let unheard = write_responses(node, tokio::io::sink(), &mut line, &mut client);
        let _ = timeout(node.bounds.stalled, unheard).await;
    }
    end.or(written.err()).unwrap_or(End::Closed)
}

async fn read_requests(
    node: &Node,
    mut stream: impl AsyncRead + Unpin,
    queue: mpsc::Sender<Pending>,
) -> End {
    let mut stopping = node.stopping.subscribe();
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    let slots = Arc::new(Semaphore::new(node.bounds.pipelined_bytes));
    loop {
        let frame = tokio::select! {
            frame = read_frame(node, &mut stream, &mut buffer) => frame,
            _ = stopping.wait_for(|&stopping| stopping) => return End::Stopping,
        };
        let (frame, share) = match frame {
            Ok(received) => received,
            Err(end) => return end,
        };
        let pending = match take_apart(node, frame) {
            Ok(Request::Produce { correlation_id, version, produce }) => {
                Pending::Produce { correlation_id, version, produce, _share: share }
            }
            Ok(Request::UnsupportedApiVersions { correlation_id }) => {
                Pending::UnsupportedApiVersions { correlation_id }
            }
            Ok(Request::Silent) => continue,
            Ok(Request::Call { header, api, reader }) => {
                let bytes = reader.remaining().min(node.bounds.pipelined_bytes) as u32;
                let slots = Arc::clone(&slots).acquire_many_owned(bytes).await;
                let slots = slots.expect("the semaphore is never closed");
                Pending::Call { header, api, reader, slots, _share: share }
            }
            Err(end) => return end,
        };
        if queue.send(pending).await.is_err() {
            return End::Closed;
        }
    }
}

/// What a frame turned out to be.
#[derive(Debug)]
enum Request {
    Produce {
        correlation_id: i32,
        version: i16,
        produce: PendingProduce,
    },
    Call {
        header: RequestHeader,
        api: Api,
        reader: Reader,
    },
    UnsupportedApiVersions {
        correlation_id: i32,
    },
    /// It is dealt with, and wants no answer.
    Silent,
}

fn take_apart(node: &Node, frame: Bytes) -> Result<Request, End> {
    node.counters.requests.add(1);
    let mut reader = Reader::new(frame);
    let header = RequestHeader::read(&mut reader)?;
    let RequestHeader { version, correlation_id, .. } = header;
    trace!(api = ?header.api, version, "a request");
    match (header.served(), header.api) {
        (Some(Api::Produce), _) => {
            let request = ProduceRequest::read(&mut reader, Api::Produce.shape(version))?;
            drop(reader);
            let produce = append(node, request);
            if !produce.is_silent {
                return Ok(Request::Produce { correlation_id, version, produce });
            }
            if produce.has_refusals() { Err(End::SilentRefusal) } else { Ok(Request::Silent) }
        }
        (Some(api), _) => Ok(Request::Call { header, api, reader }),
        // A newer client asks for the versions in a newer version, and asks again once it is told.
        (None, Ok(Api::ApiVersions)) => Ok(Request::UnsupportedApiVersions { correlation_id }),
        (None, key) => Err(End::Unsupported { key, version }),
    }
}

/// Reads until a whole frame is in the buffer, and takes it out, with its share of memory if it needs one.
async fn read_frame(
    node: &Node,
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<(Bytes, Option<Share>), End> {
    let mut share = None;
    let mut begun = None;
    loop {
        let missing = missing_bytes(node, buffer)?;
        if missing == 0 {
            let length = buffer.get_i32() as usize;
            return Ok((buffer.split_to(length).freeze(), share));
        }
        if share.is_none() && BUFFER_BYTES < buffer.len() + missing {
            share = Some(node.memory.share(buffer.len() + missing).await);
        }
        if buffer.capacity() == buffer.len() {
            // Doubles at most: what is allocated stays in proportion to what was sent.
            buffer.reserve(missing.min(buffer.len().max(BUFFER_BYTES)));
        }
        let now = Instant::now();
        let (deadline, end) = if buffer.is_empty() {
            (now + node.bounds.idle, End::Idle)
        } else {
            let whole = *begun.get_or_insert(now) + frame_time(node, buffer.len() + missing);
            (whole.min(now + node.bounds.stalled), End::Stalled)
        };
        match timeout_at(deadline, stream.read_buf(buffer)).await {
            Err(_) => return Err(end),
            Ok(read) => {
                if read? == 0 {
                    return Err(End::Closed);
                }
            }
        }
    }
}

/// The longest that a frame of so many bytes may take to come or go.
fn frame_time(node: &Node, bytes: usize) -> Duration {
    node.bounds.stalled + Duration::from_secs((bytes / SLOWEST_BYTES_PER_SECOND) as u64)
}

/// Bytes that the frame at the start of the buffer still lacks, as far as they are known.
fn missing_bytes(node: &Node, buffer: &BytesMut) -> Result<usize, End> {
    let Some(mut prefix) = buffer.get(..PREFIX_BYTES) else {
        return Ok(PREFIX_BYTES - buffer.len());
    };
    let length = prefix.get_i32();
    let bounds = &node.bounds;
    let key = buffer.get(PREFIX_BYTES..PREFIX_BYTES + 2).map(|mut key| key.get_i16());
    let may_be_produce = key.is_none_or(|key| key == Api::Produce as i16);
    let bound = if may_be_produce { bounds.produce_frame_bytes } else { bounds.frame_bytes };
    let size = usize::try_from(length).ok().filter(|size| (1..=bound).contains(size));
    let size = size.ok_or(End::FrameLength { length, bound })?;
    Ok((PREFIX_BYTES + size).saturating_sub(buffer.len()))
}

async fn write_responses(
    node: &Node,
    mut stream: impl AsyncWrite + Unpin,
    line: &mut Line,
    client: &mut Client,
) -> Result<(), End> {
    while let Some(pending) = line.next().await {
        // What the response takes of memory is given back when it is written.
        let turn = Turn::default();
        let frame = match pending {
            Pending::Produce { correlation_id, version, produce, _share } => {
                let response = produce.response().await;
                respond::<ProduceRequest>(correlation_id, version, &response)
            }
            Pending::UnsupportedApiVersions { correlation_id } => {
                let response = api_versions(ErrorCode::UnsupportedVersion);
                respond::<ApiVersionsRequest>(correlation_id, 0, &response)
            }
            Pending::Call { header, api, reader, slots, _share } => {
                client.id = header.client_id.clone().unwrap_or_default();
                let answer = pin!(answer(node, client, &header, api, reader, &turn));
                let frame = call(node, answer, &turn, line).await?;
                drop(slots);
                frame
            }
        };
        write_frame(node, &mut stream, frame).await?;
    }
    Ok(())
}

/// Waits for an answer. A fetch that is waiting for data gives way to the first request that arrives behind
/// it: a client that fetches, produces and commits on one connection would wait out its own fetch each time.
/// It also ends when nothing can arrive behind it, because its client has most likely gone.
async fn call(
    node: &Node,
    mut answer: Pin<&mut impl Future<Output = Result<Frame, DecodeError>>>,
    turn: &Turn,
    line: &mut Line,
) -> Result<Frame, End> {
    let mut stopping = node.stopping.subscribe();
    let mut gives_way = false;
    loop {
        tokio::select! {
            // What can be answered at once is, even while the broker stops.
            biased;
            frame = &mut answer => return Ok(frame?),
            _ = stopping.wait_for(|&stopping| stopping) => return Err(End::Stopping),
            () = line.is_settled(), if !gives_way => {
                turn.give_way.notify_one();
                gives_way = true;
            }
        }
    }
}

async fn write_frame(
    node: &Node,
    stream: &mut (impl AsyncWrite + Unpin),
    mut frame: Frame,
) -> Result<(), End> {
    let whole = Instant::now() + frame_time(node, frame.remaining());
    while frame.has_remaining() {
        let deadline = whole.min(Instant::now() + node.bounds.stalled);
        match timeout_at(deadline, stream.write_buf(&mut frame)).await {
            Err(_) => return Err(End::Stalled),
            Ok(written) => {
                if written? == 0 {
                    return Err(End::Closed);
                }
            }
        }
    }
    Ok(())
}
