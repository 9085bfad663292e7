//! One file for each call that waits, named by its number: a line of JSON, and the call's body.
//!
//! ```text
//! 00000000000000000042.call     {"function":"echo","method":"POST","target":"/?a=b","headers":[["x-call-id","…"]],…}⏎
//!                               the body's bytes, to the end of the file
//! ```
//!
//! A file gets its name once it is on the disk: one that has a name is whole.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::path::PathBuf;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use serde::{Deserialize, Serialize};

use super::schedule::Entry;
use crate::files;

/// What files of calls end with.
const CALL: &str = "call";
/// What those end with that are not whole, which can't be but on a disk that has lost something. They stay for people.
const BROKEN: &str = "broken";
/// The longest first line: that of a request's head, and of a callback's URL.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// A call that is to be carried out later.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gateway) struct Call {
    /// The key of its function.
    pub(in crate::gateway) function: String,
    pub(in crate::gateway) method: Method,
    /// Path and query, as the function is to see them.
    pub(in crate::gateway) target: Uri,
    pub(in crate::gateway) headers: HeaderMap,
    /// Where the answer is to be sent.
    pub(in crate::gateway) callback: Option<Uri>,
    pub(in crate::gateway) body: Bytes,
}

/// A call without its body, as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    function: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    callback: Option<String>,
}

impl Call {
    /// The first line of its file, and the rest.
    pub(super) fn written(self) -> (Vec<u8>, Bytes) {
        let headers = self.headers.iter().map(|(name, value)| {
            // A header's bytes need not be UTF-8; each as the character of its number is, and is found again.
            let value = value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
            (name.as_str().to_owned(), value)
        });
        let head = Head {
            headers: headers.collect(),
            method: self.method.to_string(),
            target: self.target.to_string(),
            callback: self.callback.map(|callback| callback.to_string()),
            function: self.function,
        };
        let mut line = serde_json::to_vec(&head).expect("a head is plain JSON");
        line.push(b'\n');
        (line, self.body)
    }
}

impl Head {
    fn read(line: &[u8]) -> std::io::Result<Self> {
        if !line.ends_with(b"\n") {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(line).map_err(std::io::Error::from)
    }

    fn call(self, body: Bytes) -> Option<Call> {
        let headers = self.headers.into_iter().map(|(name, value)| {
            let bytes: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
            let value = HeaderValue::from_bytes(&bytes.ok()?).ok()?;
            Some((HeaderName::try_from(name).ok()?, value))
        });
        // One by one: a name may have several values, which collecting would lose.
        let mut map = HeaderMap::new();
        for header in headers {
            let (name, value) = header?;
            map.append(name, value);
        }
        Some(Call {
            function: self.function,
            method: self.method.parse().ok()?,
            target: self.target.parse().ok()?,
            headers: map,
            callback: self.callback.map(|callback| callback.parse()).transpose().ok()?,
            body,
        })
    }
}

/// The folder of the files.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    /// The calls in a folder, which is made, in their order.
    pub(super) fn open(dir: PathBuf) -> std::io::Result<(Self, Vec<Entry>)> {
        files::make_private_dir(&dir)?;
        let this = Self { dir };
        let mut entries = Vec::new();
        for file in std::fs::read_dir(&this.dir)? {
            let path = file?.path();
            let sequence = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            match (path.extension().and_then(|extension| extension.to_str()), sequence) {
                (Some(CALL), Some(sequence)) => entries.extend(this.look_at(sequence)),
                // It had no name yet when the process ended, and nobody was told that it was taken.
                (Some("new"), _) => std::fs::remove_file(&path)?,
                _ => {}
            }
        }
        entries.sort_by_key(|entry| entry.sequence);
        Ok((this, entries))
    }

    fn look_at(&self, sequence: u64) -> Option<Entry> {
        let look = || {
            let file = std::fs::File::open(self.path(sequence))?;
            let bytes = file.metadata()?.len();
            let mut line = Vec::new();
            BufReader::new(file.take(MAX_LINE_BYTES)).read_until(b'\n', &mut line)?;
            Ok((Head::read(&line)?.function, bytes))
        };
        match look() {
            Ok((function, bytes)) => {
                Some(Entry { sequence, function: function.into(), bytes, attempts: 0 })
            }
            Err(error) => {
                self.set_aside(sequence, &error);
                None
            }
        }
    }

    /// Writes a call. It is on the disk when this returns.
    pub(super) fn write(&self, sequence: u64, head: &[u8], body: &[u8]) -> std::io::Result<()> {
        let text = [head, body].concat();
        files::write_whole(&self.path(sequence), &text, files::PRIVATE)
    }

    pub(super) fn read(&self, sequence: u64) -> std::io::Result<Call> {
        let text = Bytes::from(std::fs::read(self.path(sequence))?);
        let end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
        let call = Head::read(&text[..end])?.call(text.slice(end..));
        call.ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// Forgets a call. Should it come back after a crash, it is carried out once more.
    pub(super) fn remove(&self, sequence: u64) {
        if let Err(error) = std::fs::remove_file(self.path(sequence)) {
            tracing::error!(
                "{}: a call that is done stays: {error}",
                self.path(sequence).display()
            );
        }
    }

    /// Puts a file away that is no call.
    pub(super) fn set_aside(&self, sequence: u64, reason: &std::io::Error) {
        let path = self.path(sequence);
        tracing::error!("{}: not a call, and set aside: {reason}", path.display());
        if let Err(error) = std::fs::rename(&path, path.with_extension(BROKEN)) {
            tracing::error!("{}: not set aside: {error}", path.display());
        }
    }

    fn path(&self, sequence: u64) -> PathBuf {
        self.dir.join(format!("{sequence:020}.{CALL}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(body: &'static [u8]) -> Call {
        let mut headers = HeaderMap::new();
        headers.append("x-many", HeaderValue::from_static("1"));
        headers.append("x-many", HeaderValue::from_bytes(b"\xe9\xff\"").unwrap());
        Call {
            function: "echo.team".to_owned(),
            method: Method::PATCH,
            target: Uri::from_static("/sub?a=b"),
            headers,
            callback: Some(Uri::from_static("http://127.0.0.1:9000/done")),
            body: Bytes::from_static(body),
        }
    }

    fn write(store: &Store, sequence: u64, call: Call) {
        let (head, body) = call.written();
        store.write(sequence, &head, &body).unwrap();
    }

    #[test]
    fn a_call_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (store, none) = Store::open(dir.path().join("calls")).unwrap();
        assert!(none.is_empty());
        write(&store, 2, call(b"line\nline\xff"));
        write(&store, 1, call(b""));
        let (store, entries) = Store::open(dir.path().join("calls")).unwrap();
        let found: Vec<_> = entries.iter().map(|e| (e.sequence, &*e.function)).collect();
        assert_eq!(found, [(1, "echo.team"), (2, "echo.team")]);
        assert_eq!(store.read(2).unwrap(), call(b"line\nline\xff"));
        assert_eq!(store.read(1).unwrap(), call(b""));
        store.remove(1);
        assert_eq!(Store::open(dir.path().join("calls")).unwrap().1.len(), 1);
    }

    #[test]
    fn what_is_not_whole_is_set_aside_and_the_rest_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path().to_owned()).unwrap();
        write(&store, 3, call(b"x"));
        for (name, text) in [
            ("00000000000000000001.call", "{\"function\":\"ec"),
            ("00000000000000000002.call", "no json\n"),
            (".00000000000000000004.call.new", "{}"),
            ("notes.txt", ""),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let (_, entries) = Store::open(dir.path().to_owned()).unwrap();
        assert_eq!(entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [3]);
        let names = std::fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let expected = [
            "00000000000000000001.broken",
            "00000000000000000002.broken",
            "00000000000000000003.call",
            "notes.txt",
        ];
        assert_eq!(names, expected);
    }
}
