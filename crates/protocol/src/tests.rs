//! Every message in every advertised version: read back as written, and equal to what another
//! implementation of the protocol writes and reads.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages as other;
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::api::{Request, RequestHeader, for_each_request};
use crate::sample::{Sample, Sampler};
use crate::{Api, Frame, Reader, Shape, Wire};
use crate::{admin::*, cluster::*, configs::*, fetch::*, groups::*, offsets::*, produce::*};

const SEED: u64 = 0x6f66_6672_616d_7021;
const SAMPLES: usize = 40;

fn sampler() -> Sampler {
    Sampler::new(SEED, vec!["a", "group", "topic", "-1", "1"], Bytes::from_static(b"records"))
}

fn written(message: &impl Wire, shape: Shape) -> Bytes {
    let mut frame = Frame::new();
    message.write(&mut frame, shape);
    let mut frame = frame.finish();
    let mut bytes = frame.copy_to_bytes(frame.remaining());
    assert_eq!(bytes.get_i32() as usize, bytes.len(), "the frame's length prefix");
    bytes
}

fn reads_back<T: Wire + PartialEq + std::fmt::Debug>(message: &T, bytes: &Bytes, shape: Shape) {
    let mut reader = Reader::new(bytes.clone());
    assert_eq!(&T::read(&mut reader, shape).unwrap(), message, "{shape:?}");
    assert_eq!(reader.remaining(), 0, "{shape:?}");
}

fn check_identity<T: Wire + Sample + PartialEq + std::fmt::Debug>(api: Api) {
    let mut sampler = sampler();
    for version in api.versions() {
        let shape = api.shape(version);
        for _ in 0..SAMPLES {
            let message = T::sample(&mut sampler, shape);
            reads_back(&message, &written(&message, shape), shape);
        }
    }
}

/// What we write, the other implementation reads; what it then writes, we read as the first message.
fn check_against<T, Other>(api: Api)
where
    T: Wire + Sample + PartialEq + std::fmt::Debug,
    Other: Encodable + Decodable + std::fmt::Debug,
{
    let mut sampler = sampler();
    for version in api.versions() {
        let shape = api.shape(version);
        for _ in 0..SAMPLES {
            let message = T::sample(&mut sampler, shape);
            let mut bytes = written(&message, shape);
            let other = Other::decode(&mut bytes, version)
                .unwrap_or_else(|error| panic!("{api:?} {version}: {error:#}: {message:?}"));
            assert_eq!(bytes.len(), 0, "{api:?} {version}: {message:?}");
            let mut again = BytesMut::new();
            other.encode(&mut again, version).unwrap();
            reads_back(&message, &again.freeze(), shape);
        }
    }
}

#[test]
fn every_message_reads_back_as_written_in_every_version() {
    macro_rules! check {
        ($request:ident, $response:ident) => {
            check_identity::<$request>($request::API);
            check_identity::<$response>($request::API);
        };
    }
    for_each_request!(check);
}

#[test]
fn every_message_agrees_with_another_implementation_in_every_version() {
    macro_rules! check {
        ($request:ident, $response:ident) => {
            check_against::<$request, other::$request>($request::API);
            check_against::<$response, other::$response>($request::API);
        };
    }
    for_each_request!(check);
}

#[test]
fn a_cut_frame_is_an_error_at_every_length() {
    macro_rules! check {
        ($request:ident, $response:ident) => {
            let mut sampler = sampler();
            for version in $request::API.versions() {
                let shape = $request::API.shape(version);
                let whole = written(&$request::sample(&mut sampler, shape), shape);
                for end in 0..whole.len() {
                    assert!($request::read(&mut Reader::new(whole.slice(..end)), shape).is_err());
                }
            }
        };
    }
    for_each_request!(check);
}

#[test]
fn headers_agree_with_another_implementation() {
    for &api in Api::ALL {
        for version in api.versions() {
            let header = other::RequestHeader::default()
                .with_request_api_key(api as i16)
                .with_request_api_version(version)
                .with_correlation_id(7)
                .with_client_id(Some("a client".into()));
            let key = other::ApiKey::try_from(api as i16).unwrap();
            let mut bytes = BytesMut::new();
            header.encode(&mut bytes, key.request_header_version(version)).unwrap();
            let mut reader = Reader::new(bytes.freeze());
            let read = RequestHeader::read(&mut reader).unwrap();
            assert_eq!(reader.remaining(), 0, "{api:?} {version}");
            assert_eq!((read.served(), read.version, read.correlation_id), (Some(api), version, 7));
            assert_eq!(read.client_id.as_deref(), Some("a client"));
        }
    }
}
