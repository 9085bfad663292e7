//! The query of a request: `name=echo&since=2026-03-01T09%3A30%3A00Z`.

use std::borrow::Cow;

/// A query, read where it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a hyper::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The last value of that name. One that is empty is none.
    pub(super) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        let mut pairs = self.0.split('&').rev();
        pairs
            .find_map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decoded(key) == name).then(|| decoded(value))
            })
            .filter(|value| !value.is_empty())
    }

    /// Whether a value is one of those that Go takes for true or false; `None` for others.
    pub(super) fn flag(self, name: &str) -> Option<bool> {
        match self.get(name).as_deref() {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
            Some(_) => None,
        }
    }
}

/// `%3A` is a colon, and `+` a space. What is no character is written as one that says so.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = &after[2..];
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = after;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        let query =
            Query("name=echo&tail=-1&since=09%3a30%3A00+x%&name=last&empty=&follow=1&%6eo=T");
        let get = |name| query.get(name).map(Cow::into_owned);
        assert_eq!(get("name").as_deref(), Some("last"));
        assert_eq!(get("since").as_deref(), Some("09:30:00 x%"));
        assert_eq!([get("empty"), get("other")], [None, None]);
        let flags = ["follow", "no", "empty", "tail"].map(|name| query.flag(name));
        assert_eq!(flags, [Some(true), Some(true), Some(false), None]);
    }
}
