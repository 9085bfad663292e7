//! Reads typed values out of a TOML table and notes what does not fit.
//!
//! A value that does not fit is noted and its default returned, so that reading goes on and finds the rest.
//! [`Table::finish`] notes every key that nobody asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Problems;

/// A table of the file and the name by which messages call it.
#[derive(Debug)]
pub struct Table<'f, 't> {
    name: String,
    span: Range<usize>,
    entries: &'f DeTable<'t>,
    asked: RefCell<Vec<&'static str>>,
    problems: &'f RefCell<Problems<'t>>,
}

impl<'f, 't> Table<'f, 't> {
    pub(crate) fn new(
        name: impl Into<String>,
        span: Range<usize>,
        entries: &'f DeTable<'t>,
        problems: &'f RefCell<Problems<'t>>,
    ) -> Self {
        Self { name: name.into(), span, entries, asked: RefCell::default(), problems }
    }

    /// The name by which messages call this table.
    pub fn rename(&mut self, name: impl Into<String>) {
        self.name = name.into();
    }

    fn get(&self, key: &'static str) -> Option<&'f Spanned<DeValue<'t>>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.entries.get(key)
    }

    /// Whether the file has this key at all.
    pub fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    fn called(&self, key: &str) -> String {
        if self.name.is_empty() { format!("`{key}`") } else { format!("{}: `{key}`", self.name) }
    }

    /// Notes a problem with the value of `key`, or with the table where the key is absent.
    pub fn problem(&self, key: &str, text: impl Display) {
        let at = self.entries.get(key).map_or(self.span.start, |value| value.span().start);
        self.problems.borrow_mut().add(at, format!("{} {text}", self.called(key)));
    }

    fn wrong_type(&self, key: &str, value: &DeValue<'_>, expected: &str) {
        self.problem(key, format!("is {}, expected {expected}", shown(value)));
    }

    /// Notes that a required key is missing.
    pub fn missing(&self, key: &str, expected: &str) {
        self.problem(key, format!("is missing, expected {expected}"));
    }

    /// A text.
    pub fn text(&self, key: &'static str, expected: &str) -> Option<&'f str> {
        let value = self.get(key)?.get_ref();
        let text = value.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.wrong_type(key, value, expected);
        }
        text
    }

    /// A text that is read elsewhere, with its problems.
    pub fn peek(&self, key: &str) -> Option<&'f str> {
        self.entries.get(key)?.get_ref().as_str()
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?.get_ref();
        let flag = value.as_bool();
        if flag.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        flag
    }

    /// A text that reads as a `T`.
    pub fn parsed<T: FromStr>(&self, key: &'static str, expected: &str) -> Option<T> {
        let text = self.text(key, expected)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.problem(key, format!("is \"{text}\", expected {expected}"));
        }
        parsed
    }

    /// A whole number within a range.
    pub fn whole(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(key)?.get_ref();
        let number = value
            .as_integer()
            .and_then(|number| i128::from_str_radix(number.as_str(), number.radix()).ok())
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| range.contains(number));
        if number.is_none() {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong_type(key, value, &expected);
        }
        number
    }

    /// Lengths of the dimensions of a sample.
    pub fn lengths(&self, key: &'static str) -> Option<Vec<usize>> {
        let value = self.get(key)?.get_ref();
        let length = |value: &Spanned<DeValue<'t>>| {
            let number = value.get_ref().as_integer()?;
            let number = usize::from_str_radix(number.as_str(), number.radix()).ok()?;
            (1..=1 << 24).contains(&number).then_some(number)
        };
        let lengths: Option<Vec<usize>> =
            value.as_array().and_then(|array| array.iter().map(length).collect());
        let lengths = lengths.filter(|lengths| (1..=8).contains(&lengths.len()));
        if lengths.is_none() {
            self.wrong_type(key, value, "the lengths of 1 to 8 dimensions, as [28, 28]");
        }
        lengths
    }

    /// A number from 0 to 1.
    pub fn share(&self, key: &'static str) -> Option<f64> {
        self.number(key, 0.0..=1.0)
    }

    /// A number within a range, with or without a fraction.
    pub fn number(&self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.get(key)?.get_ref();
        let number = number(value).filter(|number| range.contains(number));
        if number.is_none() {
            let expected = format!("a number from {} to {}", range.start(), range.end());
            self.wrong_type(key, value, &expected);
        }
        number
    }

    /// A number that a 32-bit float holds, more than 0.
    pub fn positive(&self, key: &'static str) -> Option<f64> {
        let value = self.get(key)?.get_ref();
        let fits = |number: &f64| (*number as f32).is_finite() && *number as f32 > 0.0;
        let number = number(value).filter(fits);
        if number.is_none() {
            self.wrong_type(key, value, "a number more than 0");
        }
        number
    }

    /// A table of numbers from 0 to 1 by names of the user's; empty where it is absent.
    pub fn shares(&self, key: &'static str, expected: &str) -> BTreeMap<String, f64> {
        let Some(value) = self.get(key) else { return BTreeMap::new() };
        let Some(entries) = value.get_ref().as_table() else {
            self.wrong_type(key, value.get_ref(), expected);
            return BTreeMap::new();
        };
        let mut shares = BTreeMap::new();
        for (name, value) in entries {
            let name: &str = name.get_ref();
            let share = number(value.get_ref()).filter(|number| (0.0..=1.0).contains(number));
            if let Some(share) = share {
                shares.insert(name.to_owned(), share);
            } else {
                let (called, found) = (self.called(key), shown(value.get_ref()));
                let text = format!("{called}: `{name}` is {found}, expected a number from 0 to 1");
                self.problems.borrow_mut().add(value.span().start, text);
            }
        }
        shares
    }

    /// A table of texts by names of the user's; empty where it is absent.
    pub fn text_by_name(&self, key: &'static str, expected: &str) -> BTreeMap<String, String> {
        let Some(value) = self.get(key) else { return BTreeMap::new() };
        let Some(entries) = value.get_ref().as_table() else {
            self.wrong_type(key, value.get_ref(), expected);
            return BTreeMap::new();
        };
        let mut texts = BTreeMap::new();
        for (name, value) in entries {
            let name: &str = name.get_ref();
            if let Some(text) = value.get_ref().as_str() {
                texts.insert(name.to_owned(), text.to_owned());
            } else {
                let (called, found) = (self.called(key), shown(value.get_ref()));
                let text = format!("{called}: `{name}` is {found}, expected a text");
                self.problems.borrow_mut().add(value.span().start, text);
            }
        }
        texts
    }

    /// A list of texts, none of them empty.
    pub fn texts(&self, key: &'static str, expected: &str) -> Option<Vec<&'f str>> {
        let value = self.get(key)?.get_ref();
        let text = |value: &'f Spanned<DeValue<'t>>| {
            value.get_ref().as_str().filter(|text| !text.is_empty())
        };
        let texts: Option<Vec<&str>> =
            value.as_array().and_then(|array| array.iter().map(text).collect());
        if texts.is_none() {
            self.wrong_type(key, value, expected);
        }
        texts
    }

    /// A table inside this one, called `TABLE: KEY` in messages.
    pub fn table(&self, key: &'static str, expected: &str) -> Option<Table<'f, 't>> {
        let value = self.get(key)?;
        let Some(entries) = value.get_ref().as_table() else {
            self.wrong_type(key, value.get_ref(), expected);
            return None;
        };
        let name =
            if self.name.is_empty() { format!("[{key}]") } else { format!("{}, {key}", self.name) };
        Some(Table::new(name, value.span(), entries, self.problems))
    }

    /// The tables of an array of tables.
    pub fn tables(&self, key: &'static str, expected: &str) -> Vec<Table<'f, 't>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let prefix = if self.name.is_empty() { String::new() } else { format!("{}, ", self.name) };
        let tables: Option<Vec<_>> = value.get_ref().as_array().and_then(|array| {
            array
                .iter()
                .enumerate()
                .map(|(at, item)| {
                    let entries = item.get_ref().as_table()?;
                    let name = format!("{prefix}{key} {}", at + 1);
                    Some(Table::new(name, item.span(), entries, self.problems))
                })
                .collect()
        });
        tables.unwrap_or_else(|| {
            self.wrong_type(key, value.get_ref(), expected);
            Vec::new()
        })
    }

    /// Notes every key that nobody asked for.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let hint = match nearest(name, &asked) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("known keys: {}", asked.join(", ")),
            };
            let text = format!("{} is not a known key; {hint}", self.called(name));
            self.problems.borrow_mut().add(key.span().start, text);
        }
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    let digits = value
        .as_float()
        .map(toml::de::DeFloat::as_str)
        .or(value.as_integer().map(toml::de::DeInteger::as_str));
    digits?.parse().ok()
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The known key that a typing slip away from `name`, if there is one.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let (distance, key) = known
        .iter()
        .map(|key| (strsim::levenshtein(name, key), *key))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + key.len() / 4).then_some(key)
}
