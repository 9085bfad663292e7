//! The protocol's primitive types, and the reader and writer that messages are made of.
//!
//! Decoding trusts nothing: a length is compared with what is left of the frame before a byte is taken, an
//! array is never allocated ahead of its elements, and one frame may hold no more than [`MAX_ELEMENTS`] array
//! elements in all, because a decoded element can be fifty times larger than its wire form.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// Array elements that one frame may hold, over all its arrays. A metadata request for every topic of a full
/// broker needs a few thousand; the bound keeps the largest decoded frame at about ten megabytes.
const MAX_ELEMENTS: u32 = 100_000;

/// Byte strings of at least this size are sent from where they lie instead of being copied into the frame.
const BORROW_FROM: usize = 4096;

/// Why a frame could not be decoded. The peer is not told: its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum DecodeError {
    #[error("the frame ends {missing} bytes early")]
    Truncated { missing: usize },
    #[error("length {length} is negative, and this field cannot be null")]
    NegativeLength { length: i64 },
    #[error("a string of {length} bytes; a classic one has at most {max}", max = i16::MAX)]
    StringTooLong { length: usize },
    #[error("a string is not UTF-8")]
    NotUtf8,
    #[error("a variable-length integer is longer than five bytes")]
    VarintTooLong,
    #[error("the frame holds more than {MAX_ELEMENTS} array elements")]
    TooManyElements,
}

/// How a message looks on the wire: its version, and whether that version is flexible.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Of the API.
    pub version: i16,
    /// Whether lengths are varints and structs end with tagged fields.
    pub flexible: bool,
}

/// What can be read from and written to a frame.
pub trait Wire: Sized {
    /// Takes it off a frame.
    fn read(reader: &mut Reader, shape: Shape) -> Result<Self, DecodeError>;
    /// Appends it to a frame.
    fn write(&self, frame: &mut Frame, shape: Shape);
}

/// What has a length, and so can be null: strings, byte strings and arrays.
pub trait Nullable: Sized + Default {
    /// Takes it off a frame, or that there is none.
    fn read_nullable(reader: &mut Reader, shape: Shape) -> Result<Option<Self>, DecodeError>;
    /// Appends it to a frame.
    fn write_some(&self, frame: &mut Frame, shape: Shape);
    /// Appends that there is none.
    fn write_null(frame: &mut Frame, shape: Shape);
}

/// Reads a frame from its start. Byte strings are slices of the frame, not copies.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    elements_left: u32,
}

impl Reader {
    /// `bytes` are a frame without its length.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, elements_left: MAX_ELEMENTS }
    }

    /// Bytes that have not been read.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.need(length)?;
        Ok(self.bytes.split_to(length))
    }

    fn need(&self, length: usize) -> Result<(), DecodeError> {
        match length.checked_sub(self.bytes.len()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(DecodeError::Truncated { missing }),
        }
    }

    fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u64;
        for group in 0..5 {
            let byte = u8::read(self, CLASSIC)?;
            value |= u64::from(byte & 0x7f) << (7 * group);
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| DecodeError::VarintTooLong);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// The length that precedes a string (`i16`), byte string or array (`i32`), or a flexible one of either.
    fn length<Classic: Wire + Into<i64>>(
        &mut self,
        shape: Shape,
    ) -> Result<Option<usize>, DecodeError> {
        let length = if shape.flexible {
            i64::from(self.varint()?) - 1
        } else {
            Classic::read(self, shape)?.into()
        };
        match length {
            -1 => Ok(None),
            0.. => Ok(Some(length as usize)),
            _ => Err(DecodeError::NegativeLength { length }),
        }
    }

    fn count_elements(&mut self, count: usize) -> Result<(), DecodeError> {
        let left =
            u32::try_from(count).ok().and_then(|count| self.elements_left.checked_sub(count));
        self.elements_left = left.ok_or(DecodeError::TooManyElements)?;
        Ok(())
    }

    /// Skips the tagged fields that end a flexible struct.
    pub fn skip_tags(&mut self, shape: Shape) -> Result<(), DecodeError> {
        if !shape.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.take(size as usize)?;
        }
        Ok(())
    }
}

const CLASSIC: Shape = Shape { version: 0, flexible: false };

/// A frame being written, then sent: its length prefix is filled in by [`Frame::finish`].
///
/// Large byte strings (fetched records) stay in their own buffers and go out with a vectored write.
#[derive(Debug)]
pub struct Frame {
    closed: VecDeque<Bytes>,
    head: Option<BytesMut>,
    open: BytesMut,
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

impl Frame {
    /// An empty one.
    pub fn new() -> Self {
        let mut open = BytesMut::with_capacity(256);
        open.put_i32(0);
        Self { closed: VecDeque::new(), head: None, open }
    }

    /// Ends the frame: nothing may be written after this, and reading it as a [`Buf`] may begin.
    #[must_use]
    pub fn finish(mut self) -> Self {
        let written = self.open.len() + self.head.as_ref().map_or(0, BytesMut::len);
        let length = written + self.closed.iter().map(Bytes::len).sum::<usize>() - 4;
        let mut first = self.head.take().unwrap_or_else(|| self.open.split());
        first[..4].copy_from_slice(&(length as i32).to_be_bytes());
        self.closed.push_front(first.freeze());
        self.close();
        self
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed.push_back(self.open.split().freeze());
        }
    }

    fn put(&mut self, bytes: &Bytes) {
        if bytes.len() < BORROW_FROM {
            return self.open.put_slice(bytes);
        }
        if self.head.is_none() {
            self.head = Some(self.open.split());
        } else {
            self.close();
        }
        self.closed.push_back(bytes.clone());
    }

    fn put_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.open.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.open.put_u8(value as u8);
    }

    /// Ends a flexible struct: no tagged fields follow.
    pub fn put_no_tags(&mut self, shape: Shape) {
        if shape.flexible {
            self.open.put_u8(0);
        }
    }

    fn put_length(&mut self, length: Option<usize>, classic: fn(&mut BytesMut, i32), shape: Shape) {
        match (shape.flexible, length) {
            (true, Some(length)) => self.put_varint(length as u32 + 1),
            (true, None) => self.put_varint(0),
            (false, Some(length)) => classic(&mut self.open, length as i32),
            (false, None) => classic(&mut self.open, -1),
        }
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.closed.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.closed.front().map_or(&[], |bytes| bytes)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.len().min(self.closed.len());
        for (slice, bytes) in slices.iter_mut().zip(&self.closed) {
            *slice = IoSlice::new(bytes);
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.closed.front_mut() {
            if count < front.len() {
                return front.advance(count);
            }
            count -= front.len();
            self.closed.pop_front();
        }
        assert_eq!(count, 0, "the frame ends before the bytes sent");
    }
}

fn put_i16_length(buffer: &mut BytesMut, length: i32) {
    buffer.put_i16(length as i16);
}

fn put_i32_length(buffer: &mut BytesMut, length: i32) {
    buffer.put_i32(length);
}

macro_rules! integers {
    ($($integer:ty, $get:ident, $put:ident;)*) => {$(
        impl Wire for $integer {
            fn read(reader: &mut Reader, _: Shape) -> Result<Self, DecodeError> {
                reader.need(size_of::<$integer>())?;
                Ok(reader.bytes.$get())
            }

            fn write(&self, frame: &mut Frame, _: Shape) {
                frame.open.$put(*self);
            }
        }
    )*};
}

integers! {
    u8, get_u8, put_u8;
    i8, get_i8, put_i8;
    i16, get_i16, put_i16;
    i32, get_i32, put_i32;
    i64, get_i64, put_i64;
}

impl Wire for bool {
    fn read(reader: &mut Reader, shape: Shape) -> Result<Self, DecodeError> {
        Ok(u8::read(reader, shape)? != 0)
    }

    fn write(&self, frame: &mut Frame, shape: Shape) {
        u8::from(*self).write(frame, shape);
    }
}

impl Wire for Uuid {
    fn read(reader: &mut Reader, _: Shape) -> Result<Self, DecodeError> {
        let mut bytes = [0; 16];
        reader.take(16)?.copy_to_slice(&mut bytes);
        Ok(Self::from_bytes(bytes))
    }

    fn write(&self, frame: &mut Frame, _: Shape) {
        frame.open.put_slice(self.as_bytes());
    }
}

impl Nullable for String {
    fn read_nullable(reader: &mut Reader, shape: Shape) -> Result<Option<Self>, DecodeError> {
        let Some(length) = reader.length::<i16>(shape)? else { return Ok(None) };
        if (i16::MAX as usize) < length {
            return Err(DecodeError::StringTooLong { length });
        }
        let bytes = reader.take(length)?;
        std::str::from_utf8(&bytes)
            .map(|text| Some(text.to_owned()))
            .map_err(|_| DecodeError::NotUtf8)
    }

    /// Strings the broker sends come from clients, and so are shorter, or are messages that quote them, so the
    /// cut at the classic encoding's limit only guards the frame's structure.
    fn write_some(&self, frame: &mut Frame, shape: Shape) {
        let text = &self[..self.floor_char_boundary(i16::MAX as usize)];
        frame.put_length(Some(text.len()), put_i16_length, shape);
        frame.open.put_slice(text.as_bytes());
    }

    fn write_null(frame: &mut Frame, shape: Shape) {
        frame.put_length(None, put_i16_length, shape);
    }
}

impl Nullable for Bytes {
    fn read_nullable(reader: &mut Reader, shape: Shape) -> Result<Option<Self>, DecodeError> {
        let Some(length) = reader.length::<i32>(shape)? else { return Ok(None) };
        reader.take(length).map(Some)
    }

    fn write_some(&self, frame: &mut Frame, shape: Shape) {
        frame.put_length(Some(self.len()), put_i32_length, shape);
        frame.put(self);
    }

    fn write_null(frame: &mut Frame, shape: Shape) {
        frame.put_length(None, put_i32_length, shape);
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn read_nullable(reader: &mut Reader, shape: Shape) -> Result<Option<Self>, DecodeError> {
        let Some(count) = reader.length::<i32>(shape)? else { return Ok(None) };
        reader.count_elements(count)?;
        // Never sized from `count`, which is only the peer's word.
        let mut elements = Self::new();
        for _ in 0..count {
            elements.push(T::read(reader, shape)?);
        }
        Ok(Some(elements))
    }

    fn write_some(&self, frame: &mut Frame, shape: Shape) {
        frame.put_length(Some(self.len()), put_i32_length, shape);
        for element in self {
            element.write(frame, shape);
        }
    }

    fn write_null(frame: &mut Frame, shape: Shape) {
        frame.put_length(None, put_i32_length, shape);
    }
}

macro_rules! with_length {
    ($([$($parameter:ident)?] $type:ty;)*) => {$(
        impl$(<$parameter: Wire>)? Wire for $type {
            fn read(reader: &mut Reader, shape: Shape) -> Result<Self, DecodeError> {
                <$type>::read_nullable(reader, shape)?
                    .ok_or(DecodeError::NegativeLength { length: -1 })
            }

            fn write(&self, frame: &mut Frame, shape: Shape) {
                self.write_some(frame, shape);
            }
        }
    )*};
}

with_length! {
    [] String;
    [] Bytes;
    [T] Vec<T>;
}

impl<T: Nullable> Wire for Option<T> {
    fn read(reader: &mut Reader, shape: Shape) -> Result<Self, DecodeError> {
        T::read_nullable(reader, shape)
    }

    fn write(&self, frame: &mut Frame, shape: Shape) {
        match self {
            Some(value) => value.write_some(frame, shape),
            None => T::write_null(frame, shape),
        }
    }
}

/// Reads a field that only some versions allow to be null.
pub(crate) fn read_null_from<T: Nullable>(
    nullable: bool,
    reader: &mut Reader,
    shape: Shape,
) -> Result<Option<T>, DecodeError> {
    match T::read_nullable(reader, shape)? {
        None if !nullable => Err(DecodeError::NegativeLength { length: -1 }),
        read => Ok(read),
    }
}

/// Writes a field that only some versions allow to be null: the others get an empty value.
pub(crate) fn write_null_from<T: Nullable>(
    field: Option<&T>,
    nullable: bool,
    frame: &mut Frame,
    shape: Shape,
) {
    match field {
        Some(value) => value.write_some(frame, shape),
        None if nullable => T::write_null(frame, shape),
        None => T::default().write_some(frame, shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEXIBLE: Shape = Shape { version: 0, flexible: true };

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes))
    }

    #[test]
    fn a_huge_count_fails_without_being_allocated() {
        let mut classic = reader(&[0x7f, 0xff, 0xff, 0xff, 0, 0]);
        assert_eq!(Vec::<i8>::read(&mut classic, CLASSIC), Err(DecodeError::TooManyElements));
        let mut compact = reader(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert_eq!(Vec::<i8>::read(&mut compact, FLEXIBLE), Err(DecodeError::TooManyElements));
        let mut plausible = reader(&[0, 1, 0, 0, 9, 9]);
        let expected = Err(DecodeError::Truncated { missing: 1 });
        assert_eq!(Vec::<i8>::read(&mut plausible, CLASSIC), expected);
    }

    #[test]
    fn elements_are_counted_over_all_arrays_of_a_frame() {
        let count = MAX_ELEMENTS / 2 + 1;
        let one = [&count.to_be_bytes()[..], &vec![0; count as usize]].concat();
        let mut reader = Reader::new([one.clone(), one].concat().into());
        assert!(Vec::<i8>::read(&mut reader, CLASSIC).is_ok());
        assert_eq!(Vec::<i8>::read(&mut reader, CLASSIC), Err(DecodeError::TooManyElements));
    }

    #[test]
    fn lengths_below_null_are_refused() {
        let mut text = reader(&[0xff, 0xfe]);
        let expected = Err(DecodeError::NegativeLength { length: -2 });
        assert_eq!(Option::<String>::read(&mut text, CLASSIC), expected);
    }

    /// Kafka refuses them as well, and what is kept of strings relies on it.
    #[test]
    fn strings_longer_than_classic_ones_are_refused_in_every_encoding() {
        for (length, expected) in [
            (32_767, Ok("x".repeat(32_767))),
            (32_768, Err(DecodeError::StringTooLong { length: 32_768 })),
        ] {
            let mut frame = Frame::new();
            frame.put_varint(length as u32 + 1);
            frame.open.put_slice(&vec![b'x'; length]);
            let mut reader = Reader::new(frame.open.split().freeze().slice(4..));
            assert_eq!(String::read(&mut reader, FLEXIBLE), expected);
        }
    }

    #[test]
    fn null_is_refused_where_a_version_has_none() {
        let read =
            |nullable| read_null_from::<String>(nullable, &mut reader(&[0xff, 0xff]), CLASSIC);
        assert_eq!(read(true), Ok(None));
        assert_eq!(read(false), Err(DecodeError::NegativeLength { length: -1 }));
    }

    #[test]
    fn unknown_tagged_fields_are_skipped() {
        // Two tags: tag 0 of 3 bytes and tag 9 of none.
        let mut tags = reader(&[2, 0, 3, 1, 2, 3, 9, 0, 42]);
        tags.skip_tags(FLEXIBLE).unwrap();
        assert_eq!(u8::read(&mut tags, FLEXIBLE), Ok(42));
    }

    #[test]
    fn large_byte_strings_are_sent_in_place_and_in_order() {
        let (large, small) = (Bytes::from(vec![7; BORROW_FROM]), Bytes::from_static(b"tail"));
        let mut frame = Frame::new();
        for bytes in [&large, &small, &large] {
            bytes.write(&mut frame, CLASSIC);
        }
        let mut frame = frame.finish();
        assert_eq!(frame.remaining(), 4 + 3 * 4 + 2 * BORROW_FROM + 4);
        let sent = frame.copy_to_bytes(frame.remaining());
        let mut reader = Reader::new(sent);
        assert_eq!(i32::read(&mut reader, CLASSIC), Ok(3 * 4 + 2 * BORROW_FROM as i32 + 4));
        for bytes in [&large, &small, &large] {
            assert_eq!(&Bytes::read(&mut reader, CLASSIC).unwrap(), bytes);
        }
        assert_eq!(reader.remaining(), 0);
    }
}
