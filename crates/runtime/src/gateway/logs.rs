//! Answers `/system/logs`: a function's lines as JSON, one after the other, and those that come later for who follows.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::watch;

use super::answer::{Answer, Refusal, either, no_function, text};
use super::body::Body;
use super::query::Query;
use super::route::Asked;
use super::{Shared, told};
use crate::counts::Counts;
use crate::functions::Functions;
use crate::logs::{Line, Logs};
use crate::timestamp;

/// A line as it is sent.
#[derive(Debug, Serialize)]
struct Sent<'a> {
    name: &'a str,
    namespace: &'a str,
    instance: &'a str,
    timestamp: String,
    text: &'a str,
}

/// Which lines are asked for.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    /// The last so many of those that are there; all without.
    tail: Option<usize>,
    since: Option<SystemTime>,
    instance: Option<String>,
}

impl Wanted {
    fn of(query: Query<'_>) -> Result<Self, String> {
        let tail = query.get("tail").map(|text| {
            let number = text.parse::<i64>();
            number.map_err(|_| format!("tail: `{text}`, expected a number of lines"))
        });
        let since = query.get("since").map(|text| {
            let expected = "expected a time as 2026-03-01T09:30:00Z";
            timestamp::parse(&text).ok_or_else(|| format!("since: `{text}`, {expected}"))
        });
        // Zero and less are all of them.
        let tail = tail.transpose()?.and_then(|tail| usize::try_from(tail).ok());
        Ok(Self {
            tail: tail.filter(|tail| 0 < *tail),
            since: since.transpose()?,
            instance: query.get("instance").map(Cow::into_owned),
        })
    }

    fn wants(&self, line: &Line) -> bool {
        self.since.is_none_or(|since| since <= line.at)
            && self.instance.as_deref().is_none_or(|instance| *instance == *line.instance)
    }

    /// Those of the lines that are there first.
    fn first(&self, mut lines: Vec<Line>) -> Vec<Line> {
        lines.retain(|line| self.wants(line));
        let extra = self.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        lines.split_off(extra)
    }
}

/// Answers `/system/logs`.
pub(super) fn answer(asked: &Asked<'_>) -> Answer {
    either(follow(asked))
}

fn follow(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let query = asked.query();
    let unclear = |problem: &str| text(StatusCode::UNPROCESSABLE_ENTITY, problem);
    let name =
        query.get("name").ok_or_else(|| unclear("name: is missing, expected a function's"))?;
    let wanted = Wanted::of(query).map_err(|problem| unclear(&problem))?;
    let follow = query.flag("follow").ok_or_else(|| unclear("follow: expected true or false"))?;
    let key = asked.key(&name, "")?;
    let function = asked.shared.functions.get(&key).ok_or_else(|| no_function(&key))?;
    let lines = function.logs.after(0);
    let newest = function.logs.newest();
    let reader = Reader {
        last: lines.last().map_or(0, |line| line.number),
        name: function.deployment.service.clone(),
        namespace: function.spec.namespace.clone(),
        key,
        counts: Arc::clone(&function.counts),
        ready: wanted.first(lines).into(),
        logs: function.logs.clone(),
        wanted,
        newest: follow.then_some(newest),
        shared: Arc::clone(asked.shared),
    };
    let parts = stream::unfold(reader, |mut reader| async {
        let line = reader.next().await?;
        Some((reader.sent(&line), reader))
    });
    let mut answer = Response::new(Body::Parts(parts.boxed()));
    let lines = HeaderValue::from_static("application/x-ndjson");
    answer.headers_mut().insert(CONTENT_TYPE, lines);
    Ok(answer)
}

/// Reads a function's lines.
struct Reader {
    name: String,
    namespace: String,
    key: String,
    /// Tells the function from another one of that key, deployed later.
    counts: Arc<Counts>,
    logs: Logs,
    wanted: Wanted,
    /// The number of the last line that was looked at.
    last: u64,
    ready: VecDeque<Line>,
    /// What tells of further lines, for who follows.
    newest: Option<watch::Receiver<u64>>,
    shared: Arc<Shared>,
}

impl Reader {
    /// The next line; none after the last for who does not follow, when the function is gone, or the gateway stops.
    async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            let newest = self.newest.as_mut()?;
            newest.borrow_and_update();
            let lines = self.logs.after(self.last);
            if let Some(line) = lines.last() {
                self.last = line.number;
                self.ready.extend(lines.into_iter().filter(|line| self.wanted.wants(line)));
                continue;
            }
            let mut stopping = self.shared.stopping.clone();
            tokio::select! {
                changed = newest.changed() => changed.ok()?,
                () = told(&mut stopping) => return None,
                () = is_gone(&self.shared.functions, &self.key, &self.counts) => self.newest = None,
            }
            // Its last lines are read before the end.
            if self.newest.is_none() {
                let lines = self.logs.after(self.last);
                self.ready.extend(lines.into_iter().filter(|line| self.wanted.wants(line)));
            }
        }
    }

    fn sent(&self, line: &Line) -> Bytes {
        let sent = Sent {
            name: &self.name,
            namespace: &self.namespace,
            instance: &line.instance,
            timestamp: timestamp::format(line.at),
            text: &line.text,
        };
        let mut text = serde_json::to_vec(&sent).expect("a line is plain JSON");
        text.push(b'\n');
        text.into()
    }
}

/// Returns when a function has been removed.
async fn is_gone(functions: &Functions, key: &str, counts: &Arc<Counts>) {
    let mut changed = functions.changed();
    let is_there = || functions.get(key).is_some_and(|found| Arc::ptr_eq(&found.counts, counts));
    while is_there() && changed.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn wanted(uri: &'static str) -> Result<Wanted, String> {
        Wanted::of(Query::of(&hyper::Uri::from_static(uri)))
    }

    #[test]
    fn what_is_asked_for_is_understood() {
        assert_eq!(wanted("/?name=echo&follow=true&tail=-1"), Ok(Wanted::default()));
        let expected = Wanted {
            tail: Some(5),
            since: Some(UNIX_EPOCH + Duration::from_secs(60)),
            instance: Some("echo-1".to_owned()),
        };
        let uri = "/?tail=5&since=1970-01-01T00%3A01%3A00Z&instance=echo-1";
        assert_eq!(wanted(uri), Ok(expected));
        assert!(wanted("/?tail=some").is_err());
        assert!(wanted("/?since=yesterday").is_err());
    }

    #[test]
    fn the_last_lines_are_counted_among_those_that_are_wanted() {
        let line = |number: u64, instance: &str| Line {
            number,
            at: UNIX_EPOCH + Duration::from_secs(number),
            instance: instance.into(),
            text: String::new(),
        };
        let lines = vec![line(1, "a"), line(2, "b"), line(3, "a"), line(4, "b"), line(5, "a")];
        let check = |wanted: &Wanted, expected: &[u64]| {
            let first = wanted.first(lines.clone());
            assert_eq!(first.iter().map(|line| line.number).collect::<Vec<_>>(), expected);
        };
        check(&Wanted::default(), &[1, 2, 3, 4, 5]);
        check(&Wanted { tail: Some(2), ..Wanted::default() }, &[4, 5]);
        let since = Some(UNIX_EPOCH + Duration::from_secs(2));
        let instance = Some("a".to_owned());
        check(&Wanted { tail: Some(5), since, instance }, &[3, 5]);
    }
}
