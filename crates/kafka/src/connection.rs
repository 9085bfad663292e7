//! One connection to a broker: requests go out in order, and so do responses come back.
//!
//! A task of its own writes what it is given and reads what comes. It ends when nobody holds the connection any
//! more, when the broker closes it, or when a response is late: what was asked then may or may not have been done.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use protocol::api::{read_response, request};
use protocol::cluster::ApiVersionsRequest;
use protocol::{Api, ErrorCode, Frame, Reader, Request, Shape, Wire as _};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// What our clients call themselves, to brokers.
pub(crate) const CLIENT_ID: &str = "offramp";
/// A connection that is not there within this time is not tried further.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest response that is read. The largest record is 16 MiB, and a fetched batch may hold a few of them.
const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// Room to read into, where a response does not say that it is larger.
const READ_BYTES: usize = 16 << 10;
/// Parts of a frame that are written at once.
const MAX_SLICES: usize = 16;

/// Why a request has no response.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// There is no connection.
    #[error("{address}: {reason}")]
    Connect { address: Arc<str>, reason: Arc<str> },
    /// It was lost before the response came.
    #[error("{address}: {reason}")]
    Lost { address: Arc<str>, reason: Arc<str> },
    /// The broker speaks no version of this that we do.
    #[error("{address} does not speak a version of {api:?} that this client does")]
    Unsupported { address: Arc<str>, api: Api },
}

/// A connection to a broker. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: Arc<str>,
    versions: HashMap<i16, (i16, i16)>,
    correlation_ids: AtomicI32,
    outgoing: mpsc::UnboundedSender<Outgoing>,
}

/// A request on its way to the task.
#[derive(Debug)]
struct Outgoing {
    frame: Frame,
    correlation_id: i32,
    due: Instant,
    /// Gets what follows the correlation id.
    reply: oneshot::Sender<Result<Reader, CallError>>,
}

impl Connection {
    /// Connects to `address`, as in `host:port`, and asks what is spoken there.
    pub(crate) async fn open(address: &str) -> Result<Self, CallError> {
        let address: Arc<str> = address.into();
        let failed = |reason: String| CallError::Connect {
            address: Arc::clone(&address),
            reason: reason.into(),
        };
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(&*address)).await;
        let stream = stream
            .map_err(|_| failed(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let (outgoing, requests) = mpsc::unbounded_channel();
        let task = Task {
            address: Arc::clone(&address),
            requests,
            unsent: VecDeque::new(),
            waiting: VecDeque::new(),
            input: BytesMut::new(),
        };
        tokio::spawn(task.run(stream));
        let mut shared = Shared {
            address: Arc::clone(&address),
            versions: HashMap::new(),
            correlation_ids: AtomicI32::new(0),
            outgoing,
        };
        let newest = *Api::ApiVersions.versions().end();
        let question = ApiVersionsRequest {
            client_software_name: CLIENT_ID.to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        // A broker that does not speak the newest version answers in the oldest.
        for version in [newest, 0] {
            let mut reply = shared.ask(version, &question, CONNECT_TIMEOUT).await?;
            let code = ErrorCode::read(&mut reply.clone(), Shape { version: 0, flexible: false });
            if version != 0 && code == Ok(ErrorCode::UnsupportedVersion) {
                continue;
            }
            let answer = read_response::<ApiVersionsRequest>(&mut reply, version);
            let answer = answer.map_err(|error| failed(error.to_string()))?;
            if answer.error_code != ErrorCode::None {
                return Err(failed(format!("no list of versions: {}", answer.error_code)));
            }
            let spoken = answer.api_keys.into_iter();
            shared.versions =
                spoken.map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
            break;
        }
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether it has been lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.shared.outgoing.is_closed()
    }

    /// The newest version of a request that both sides speak.
    pub(crate) fn version(&self, api: Api) -> Result<i16, CallError> {
        let ours = api.versions();
        let spoken = self.shared.versions.get(&(api as i16)).copied();
        let newest = spoken
            .map(|(from, to)| (from, to.min(*ours.end())))
            .filter(|&(from, newest)| from <= newest && *ours.start() <= newest);
        newest.map(|(_, newest)| newest).ok_or_else(|| CallError::Unsupported {
            address: Arc::clone(&self.shared.address),
            api,
        })
    }

    /// Sends a request, in the order of these calls, and returns what waits for its response: at most for so
    /// long, after which the connection is given up.
    pub(crate) fn call<R: Request + Send + 'static>(
        &self,
        body: &R,
        patience: Duration,
    ) -> impl Future<Output = Result<R::Response, CallError>> + Send + 'static + use<R> {
        let shared = Arc::clone(&self.shared);
        let asked = self
            .version(R::API)
            .map(|version| (version, self.shared.send(version, body, patience)));
        async move {
            let (version, reply) = asked?;
            let mut reader = shared.reply(reply).await?;
            read_response::<R>(&mut reader, version).map_err(|error| shared.lost(&error))
        }
    }
}

impl Shared {
    fn send<R: Request>(
        &self,
        version: i16,
        body: &R,
        patience: Duration,
    ) -> oneshot::Receiver<Result<Reader, CallError>> {
        let correlation_id = self.correlation_ids.fetch_add(1, Ordering::Relaxed);
        let frame = request(correlation_id, version, CLIENT_ID, body);
        let (reply, answer) = oneshot::channel();
        let due = Instant::now() + patience;
        // A connection that is lost drops the reply, which says so.
        let _ = self.outgoing.send(Outgoing { frame, correlation_id, due, reply });
        answer
    }

    async fn reply(
        &self,
        answer: oneshot::Receiver<Result<Reader, CallError>>,
    ) -> Result<Reader, CallError> {
        answer.await.unwrap_or_else(|_| Err(self.lost(&"the connection is closed")))
    }

    async fn ask<R: Request>(
        &self,
        version: i16,
        body: &R,
        patience: Duration,
    ) -> Result<Reader, CallError> {
        self.reply(self.send(version, body, patience)).await
    }

    fn lost(&self, reason: &dyn std::fmt::Display) -> CallError {
        CallError::Lost { address: Arc::clone(&self.address), reason: reason.to_string().into() }
    }
}

/// What writes and reads.
struct Task {
    address: Arc<str>,
    requests: mpsc::UnboundedReceiver<Outgoing>,
    unsent: VecDeque<Frame>,
    waiting: VecDeque<Waiting>,
    input: BytesMut,
}

/// A request that has been sent, or is about to be.
struct Waiting {
    correlation_id: i32,
    due: Instant,
    reply: oneshot::Sender<Result<Reader, CallError>>,
}

impl Task {
    async fn run(mut self, mut stream: TcpStream) {
        let (read, write) = stream.split();
        let Err(error) = self.work(read, write).await else { return };
        self.requests.close();
        let reason: Arc<str> = error.to_string().into();
        let address = &self.address;
        tracing::debug!(%address, "connection lost: {reason}");
        let lost = || CallError::Lost { address: Arc::clone(address), reason: Arc::clone(&reason) };
        for waiting in self.waiting {
            // Whoever no longer waits need not hear it; nor below.
            let _ = waiting.reply.send(Err(lost()));
        }
        while let Ok(unsent) = self.requests.try_recv() {
            let _ = unsent.reply.send(Err(lost()));
        }
    }

    /// Returns without an error once nobody holds the connection.
    async fn work(&mut self, mut read: ReadHalf<'_>, write: WriteHalf<'_>) -> io::Result<()> {
        let late = sleep_until(Instant::now());
        tokio::pin!(late);
        loop {
            self.write(&write)?;
            let room = self.missing().max(READ_BYTES);
            self.input.reserve(room);
            tokio::select! {
                outgoing = self.requests.recv() => match outgoing {
                    Some(outgoing) => {
                        self.push(outgoing, late.as_mut());
                        while let Ok(outgoing) = self.requests.try_recv() {
                            self.push(outgoing, late.as_mut());
                        }
                    }
                    None => return Ok(()),
                },
                read = read.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Err(io::Error::other("the broker closed the connection"));
                    }
                    while let Some(frame) = self.next_frame()? {
                        self.answer(frame)?;
                    }
                }
                ready = write.writable(), if !self.unsent.is_empty() => ready?,
                () = late.as_mut(), if !self.waiting.is_empty() => {
                    let due = self.waiting.front().expect("just looked").due;
                    if due <= Instant::now() {
                        return Err(io::Error::other("a response did not come in time"));
                    }
                    late.as_mut().reset(due);
                }
            }
        }
    }

    fn push(&mut self, outgoing: Outgoing, late: std::pin::Pin<&mut Sleep>) {
        let Outgoing { frame, correlation_id, due, reply } = outgoing;
        if self.waiting.is_empty() && (due < late.deadline() || late.deadline() < Instant::now()) {
            late.reset(due);
        }
        self.unsent.push_back(frame);
        self.waiting.push_back(Waiting { correlation_id, due, reply });
    }

    /// Writes as much as the connection takes.
    fn write(&mut self, write: &WriteHalf<'_>) -> io::Result<()> {
        while let Some(frame) = self.unsent.front_mut() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = frame.chunks_vectored(&mut slices);
            match write.try_write_vectored(&slices[..filled]) {
                Ok(written) => frame.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if !frame.has_remaining() {
                self.unsent.pop_front();
            }
        }
        Ok(())
    }

    /// Bytes that the frame that has begun lacks; 0 where that is not known.
    fn missing(&self) -> usize {
        match self.input.first_chunk() {
            Some(length) => (i32::from_be_bytes(*length).max(0) as usize + 4)
                .saturating_sub(self.input.len())
                .min(MAX_RESPONSE_BYTES),
            None => 0,
        }
    }

    fn next_frame(&mut self) -> io::Result<Option<Bytes>> {
        let Some(length) = self.input.first_chunk() else { return Ok(None) };
        let length = i32::from_be_bytes(*length);
        let size = usize::try_from(length).ok().filter(|size| *size <= MAX_RESPONSE_BYTES);
        let Some(size) = size else {
            return Err(io::Error::other(format!(
                "a response of {length} bytes, expected 0 to {MAX_RESPONSE_BYTES}"
            )));
        };
        if self.input.len() < 4 + size {
            return Ok(None);
        }
        self.input.advance(4);
        Ok(Some(self.input.split_to(size).freeze()))
    }

    fn answer(&mut self, frame: Bytes) -> io::Result<()> {
        let mut reader = Reader::new(frame);
        let id = i32::read(&mut reader, Shape { version: 0, flexible: false });
        let waiting = self.waiting.pop_front();
        match (id, waiting) {
            (Ok(id), Some(waiting)) if id == waiting.correlation_id => {
                let _ = waiting.reply.send(Ok(reader));
                Ok(())
            }
            (id, waiting) => {
                self.waiting.extend(waiting);
                Err(io::Error::other(format!("a response to request {id:?}, which is not next")))
            }
        }
    }
}
