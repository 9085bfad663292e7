//! From a tree to a type, noting everything in which it does not fit.
//!
//! Unknown keys are noted and left out, so that reading goes on; a value of the wrong type ends the reading of its
//! document.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeOwned, IntoDeserializer as _, Visitor};

use super::node::{Key, Node, Value};

/// Something that a type does not have, or has otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) line: usize,
    /// Path of the key, as `functions.edge.label`.
    pub(crate) key: String,
    /// What stands there.
    pub(crate) found: String,
    /// What was expected.
    pub(crate) expected: String,
    pub(crate) kind: MisfitKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MisfitKind {
    UnknownKey,
    WrongType,
}

/// Among the further keys of a struct: there are more than are listed.
const OPEN: &str = "*";

/// Among the further keys of a struct: anybody's own, which begin with `x-`.
const EXTENSIONS: &str = "x-*";

/// Whether a number stands for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Texts {
    /// Only texts are texts: `"1"`, not `1`.
    Quoted,
    /// Any scalar will do.
    AnyScalar,
}

/// Reads a `T` out of `node`. `also` has further keys of a struct, by the struct's name, that its platform knows and
/// `T` does not have.
pub(crate) fn fit<T: DeserializeOwned>(
    node: &Node,
    texts: Texts,
    also: fn(&str) -> &'static str,
) -> (Option<T>, Vec<Misfit>) {
    let misfits = RefCell::default();
    let reader = Reader { node, path: String::new(), texts, also, misfits: &misfits };
    let value = T::deserialize(reader);
    let mut misfits = misfits.into_inner();
    let value = value.map_err(|wrong| misfits.extend(wrong.0.map(|misfit| *misfit))).ok();
    misfits.sort_by_key(|misfit| misfit.line);
    (value, misfits)
}

/// A value of the wrong type; `None` until it is known where.
#[derive(Debug)]
struct Wrong(Option<Box<Misfit>>, String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(None, text.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(None, expected.to_string())
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(None, expected.to_string())
    }
}

struct Reader<'de> {
    node: &'de Node,
    path: String,
    texts: Texts,
    also: fn(&str) -> &'static str,
    misfits: &'de RefCell<Vec<Misfit>>,
}

impl<'de> Reader<'de> {
    fn inner(&self, node: &'de Node, step: &str) -> Self {
        let path = match (self.path.as_str(), step.starts_with('[')) {
            ("", _) => step.to_owned(),
            (path, true) => format!("{path}{step}"),
            (path, false) => format!("{path}.{step}"),
        };
        Self { node, path, ..*self }
    }

    /// Says where a value is of the wrong type, unless something inside it has said so.
    fn locate<T>(&self, result: Result<T, Wrong>) -> Result<T, Wrong> {
        result.map_err(|Wrong(misfit, expected)| {
            let misfit = misfit.unwrap_or_else(|| {
                Box::new(Misfit {
                    line: self.node.line,
                    key: self.path.clone(),
                    found: self.node.shown(),
                    expected: expected_of(&expected),
                    kind: MisfitKind::WrongType,
                })
            });
            Wrong(Some(misfit), expected)
        })
    }

    /// The entries whose keys are known; the others are noted.
    fn known(&self, name: &str, fields: &'static [&'static str]) -> Vec<&'de (Key, Node)> {
        let also: Vec<&str> = (self.also)(name).split(' ').collect();
        let (known, unknown): (Vec<_>, Vec<_>) =
            self.node.entries().iter().partition(|(key, _)| fields.contains(&key.name.as_str()));
        // What is nearly a known key is a slip, even where nobody knows all of them.
        let open = also.contains(&OPEN);
        let is_own = |name: &str| name.starts_with("x-") && also.contains(&EXTENSIONS);
        let is_slip = |name: &str| fields.iter().any(|field| strsim::levenshtein(name, field) == 1);
        let unknown = unknown.into_iter().filter(|(key, _)| {
            let name = key.name.as_str();
            !also.contains(&name) && !is_own(name) && (!open || is_slip(name))
        });
        self.misfits.borrow_mut().extend(unknown.map(|(key, node)| Misfit {
            line: key.line,
            key: self.inner(node, &key.name).path,
            found: node.shown(),
            expected: hint(&key.name, fields, &also),
            kind: MisfitKind::UnknownKey,
        }));
        known
    }

    fn any<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Flag(flag) => visitor.visit_bool(*flag),
            Value::Whole(number) => visitor.visit_i64(*number),
            Value::Number(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => self.list(items, visitor),
            Value::Table(entries) => self.table(entries.iter().collect(), visitor),
        }
    }

    fn list<V: Visitor<'de>>(&self, items: &'de [Node], visitor: V) -> Result<V::Value, Wrong> {
        let items = items.iter().enumerate().map(|(at, item)| self.inner(item, &format!("[{at}]")));
        visitor.visit_seq(de::value::SeqDeserializer::new(items))
    }

    fn table<V: Visitor<'de>>(
        &self,
        entries: Vec<&'de (Key, Node)>,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let entries =
            entries.into_iter().map(|(key, node)| (key.name.as_str(), self.inner(node, &key.name)));
        visitor.visit_map(de::value::MapDeserializer::new(entries))
    }
}

impl<'de> de::IntoDeserializer<'de, Wrong> for Reader<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> de::Deserializer<'de> for Reader<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.locate(self.any(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.node.value == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// Without a value, a list is empty: that is what a key without one means to every platform.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let empty = self.node.value == Value::Null;
        self.locate(if empty { self.list(&[], visitor) } else { self.any(visitor) })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let empty = self.node.value == Value::Null;
        self.locate(if empty { self.table(Vec::new(), visitor) } else { self.any(visitor) })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.locate(match &self.node.value {
            Value::Table(_) => self.table(self.known(name, fields), visitor),
            Value::Null => self.table(Vec::new(), visitor),
            _ => Err(de::Error::custom("a table")),
        })
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let scalar =
            matches!(&self.node.value, Value::Flag(_) | Value::Whole(_) | Value::Number(_));
        let any = self.texts == Texts::AnyScalar;
        self.locate(match &self.node.value {
            _ if scalar && any => visitor.visit_string(self.node.shown()),
            Value::Null => visitor.visit_string(String::new()),
            _ => self.any(visitor),
        })
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_string(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.locate(match &self.node.value {
            Value::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(de::Error::custom("a text")),
        })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct
        tuple tuple_struct identifier ignored_any
    }
}

fn expected_of(expected: &str) -> String {
    match expected {
        "a string" => "a text: within quotes where it looks like something else".to_owned(),
        "a boolean" => "true or false, without quotes".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        number if ["u16", "u32", "u64", "i32", "i64"].contains(&number) => {
            "a whole number, without quotes".to_owned()
        }
        scalar if scalar.ends_with("enum Scalar") => "a number or a text".to_owned(),
        other => other.to_owned(),
    }
}

fn hint(name: &str, fields: &[&str], also: &[&str]) -> String {
    let known = || fields.iter().chain(also);
    let nearest = known().min_by_key(|key| strsim::levenshtein(name, key));
    match nearest {
        Some(nearest) if strsim::levenshtein(name, nearest) <= 1 + nearest.len() / 4 => {
            format!("a known key: did you mean `{nearest}`?")
        }
        _ => format!("a known key: {}", fields.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::yaml::artefact;

    artefact! {
        struct Outer {
            name: String,
            labels: BTreeMap<String, String>,
            inner_ones: Vec<Inner>,
        }

        struct Inner {
            port: u16,
            on: Option<bool>,
        }
    }

    fn also(name: &str) -> &'static str {
        if name == "Inner" { "protocol x-*" } else { "" }
    }

    fn check(text: &str, expected: &[&str]) -> Option<Outer> {
        let nodes = crate::yaml::read(text).unwrap();
        let (outer, misfits) = fit::<Outer>(&nodes[0], Texts::Quoted, also);
        let said = |Misfit { line, key, found, expected, .. }: &Misfit| {
            format!("{line} {key} is {found}, expected {expected}")
        };
        assert_eq!(misfits.iter().map(said).collect::<Vec<_>>(), expected);
        outer
    }

    #[test]
    fn every_unknown_key_is_noted_and_the_rest_read() {
        let text = "name: x\nlabel: {a: b}\ninnerOnes:\n- port: 1\n  protocol: TCP\n  x-mine: 3\n  prt: 2\n  on: false\n";
        let expected = [
            "2 label is a table, expected a known key: did you mean `labels`?",
            "7 innerOnes[0].prt is 2, expected a known key: did you mean `port`?",
        ];
        let outer = check(text, &expected).unwrap();
        assert_eq!(outer.inner_ones, [Inner { port: 1, on: Some(false) }]);
    }

    #[test]
    fn a_wrong_type_says_where() {
        let quoted = "a text: within quotes where it looks like something else";
        check("labels:\n  a: 1\n", &[&format!("2 labels.a is 1, expected {quoted}")]);
        let number = "2 innerOnes[0].port is x, expected a whole number, without quotes";
        check("innerOnes:\n- port: x\n", &[number]);
        check("innerOnes: 3\n", &["1 innerOnes is 3, expected a list"]);
        assert_eq!(check("innerOnes:\nlabels:\n", &[]), Some(Outer::default()));
        let nodes = crate::yaml::read("labels: {a: 1, b: true}").unwrap();
        let (outer, misfits) = fit::<Outer>(&nodes[0], Texts::AnyScalar, also);
        assert!(misfits.is_empty() && outer.unwrap().labels["a"] == "1");
    }
}
