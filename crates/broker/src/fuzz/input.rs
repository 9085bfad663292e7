//! From bytes to the frames of a connection.

use std::any::Any;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use protocol::batch::{HEADER_BYTES, MAGIC, seal};
use protocol::for_each_request;
use protocol::{Api, DecodeError, Frame, Reader, Request, Shape, Wire};
#[allow(clippy::wildcard_imports, reason = "a request of every API is read")]
use protocol::{admin::*, cluster::*, configs::*, fetch::*, groups::*, offsets::*, produce::*};

/// Requests of one input: enough to change something, look at it, and change it again.
const MAX_REQUESTS: usize = 8;
/// Set in an input's version where checksums and lengths of batches stay as they are.
const AS_IT_IS: u8 = 0x80;
const CLASSIC: Shape = Shape { version: 0, flexible: false };

/// What a connection sends, and what it expects.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) bytes: BytesMut,
    pub(super) expected: Vec<Expected>,
}

/// How the answer to a request is read.
#[derive(Debug)]
pub(super) struct Expected {
    version: i16,
    read: fn(&mut Reader, i16) -> Result<(), DecodeError>,
    /// Whether it may be missing, because a producer asked for none.
    pub(super) is_silent: bool,
}

impl Expected {
    /// Reads the answer to the request of this position.
    pub(super) fn check(&self, position: usize, frame: Bytes) {
        let mut reader = Reader::new(frame);
        let id = i32::read(&mut reader, CLASSIC).expect("an answer has a correlation id");
        assert_eq!(id as usize, position, "the answers' order");
        (self.read)(&mut reader, self.version).expect("an answer can be read");
        assert_eq!(reader.remaining(), 0, "bytes behind an answer");
    }
}

impl Parsed {
    /// Adds a frame with a request of this API.
    pub(super) fn push<R: Request>(&mut self, version: i16, body: &R, is_silent: bool) {
        let id = self.expected.len() as i32;
        self.bytes.put(protocol::api::request(id, version, "m", body));
        self.expected.push(Expected { version, read: read_answer::<R>, is_silent });
    }
}

fn read_answer<R: Request>(reader: &mut Reader, version: i16) -> Result<(), DecodeError> {
    protocol::api::read_response::<R>(reader, version).map(drop)
}

/// Reads requests of an API, until one cannot be read.
pub(super) fn requests(api: Api) -> fn(Bytes) -> Option<Parsed> {
    macro_rules! find {
        ($request:ident, $response:ident) => {
            if api == $request::API {
                return requests_of::<$request>;
            }
        };
    }
    for_each_request!(find);
    unreachable!("every API has a request")
}

fn requests_of<R: Request + PartialEq + std::fmt::Debug + 'static>(
    mut input: Bytes,
) -> Option<Parsed> {
    let mut parsed = Parsed::default();
    while parsed.expected.len() < MAX_REQUESTS && input.has_remaining() {
        let how = input.get_u8();
        let versions: Vec<_> = R::API.versions().collect();
        let version = versions[usize::from(how & !AS_IT_IS) % versions.len()];
        let shape = R::API.shape(version);
        let mut reader = Reader::new(input.clone());
        let Ok(mut request) = R::read(&mut reader, shape) else { break };
        input.advance(input.len() - reader.remaining());
        let again = R::read(&mut Reader::new(written(&request, shape)), shape);
        assert_eq!(again.as_ref(), Ok(&request), "{shape:?}");
        let produce = (&mut request as &mut dyn Any).downcast_mut::<ProduceRequest>();
        let is_silent = produce.as_ref().is_some_and(|produce| produce.acks == 0);
        if let Some(produce) = produce.filter(|_| how & AS_IT_IS == 0) {
            seal_batches(produce);
        }
        parsed.push(version, &request, is_silent);
    }
    (!parsed.expected.is_empty()).then_some(parsed)
}

pub(super) fn written(message: &impl Wire, shape: Shape) -> Bytes {
    let mut frame = Frame::new();
    message.write(&mut frame, shape);
    let mut frame = frame.finish();
    frame.advance(size_of::<i32>());
    frame.copy_to_bytes(frame.remaining())
}

/// Makes of a request's bytes what gets past the checks that no fuzzer passes by chance.
fn seal_batches(produce: &mut ProduceRequest) {
    let partitions = produce.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data);
    for records in partitions.filter_map(|partition| partition.records.as_mut()) {
        if HEADER_BYTES <= records.len() {
            let mut bytes = records.to_vec();
            bytes[16] = MAGIC;
            seal(&mut bytes);
            *records = bytes.into();
        }
    }
}

/// Takes the bytes as frames, whatever they are.
#[expect(clippy::unnecessary_wraps, reason = "other inputs may hold nothing")]
pub(super) fn frames(mut input: Bytes) -> Option<Parsed> {
    let how = input.try_get_u8().unwrap_or_default();
    let mut bytes = BytesMut::with_capacity(input.len());
    if how & 1 == 0 {
        while size_of::<u32>() < input.len() {
            let length = input.get_u32() as usize % (input.len() + 1);
            bytes.put_u32(length as u32);
            bytes.put(input.split_to(length));
        }
    }
    bytes.put(input);
    Some(Parsed { bytes, expected: Vec::new() })
}
