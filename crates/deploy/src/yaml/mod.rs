//! YAML, written from typed values and read with the line of every key.
//!
//! A file is read twice: as a tree of [`Node`]s, in which rules look around, and from that tree into the types of the
//! platform it is for ([`fit()`]). Every key that a type does not have is noted, not only the first.

mod artefact;
mod fit;
mod node;

use serde::Serialize;
use serde_saphyr::SerializerOptions;

pub(crate) use artefact::{Anything, Or, artefact, is_default};
pub(crate) use fit::{Misfit, MisfitKind, Texts, fit};
pub(crate) use node::{Key, Node, Value};

/// Beyond any line: texts are not folded, so that a command in a file can be copied.
const NEVER_FOLDED: usize = 1 << 20;

/// A text that is not YAML.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Line of the text, from 1.
    pub(crate) line: usize,
    pub(crate) reason: String,
}

/// The documents of a text; empty ones are left out.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, Broken> {
    serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line() as usize);
        // The first line is `error: line L column C: REASON`, and a picture of the place follows it.
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let reason = first.trim_start_matches("error: ").split_once(": ");
        Broken { line, reason: reason.map_or(first, |(_, reason)| reason).to_owned() }
    })
}

/// One document.
pub(crate) fn write<T: Serialize>(document: &T) -> String {
    let options = serde_saphyr::ser_options! {
        min_fold_chars: NEVER_FOLDED,
        folded_wrap_chars: NEVER_FOLDED,
    };
    let options: SerializerOptions = options;
    serde_saphyr::to_string_with_options(document, options).expect("plain values can be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let long = format!("http://host:8080/{}", "and so on ".repeat(30));
        for text in ["yes", "", "1", "0x1f", "~", "a: b", "# no", "5m", "${X:-y}", "a\nb\n", &long]
        {
            let document = write(&vec![text]);
            let nodes = read(&document).unwrap();
            let Value::List(items) = &nodes[0].value else { panic!("{document}") };
            assert_eq!(items[0].value, Value::Text(text.to_owned()), "{document}");
        }
    }

    #[test]
    fn keys_have_their_lines_and_broken_texts_theirs() {
        let nodes = read("a: 1\nb:\n  c: two\n---\n# another\nd: [x]\n---\n").unwrap();
        assert_eq!(nodes.len(), 2);
        assert_eq!(
            nodes[0].at("b.c").map(|node| (node.line, node.shown())),
            Some((3, "two".into()))
        );
        assert_eq!(nodes[1].key_line("d"), 6);
        assert_eq!(read("a: 1\n b: 2\n").unwrap_err().line, 2);
        let twice = read("a: 1\na: 2\n").unwrap_err();
        assert!(twice.line == 2 && twice.reason.starts_with("duplicate mapping key"), "{twice:?}");
    }
}
