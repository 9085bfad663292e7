//! Ports, times and bounds that variables of a platform's set.

use std::time::Duration;

use wire::time::go_seconds;

use super::{Platform, Variables};

/// A variable that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("variable `{name}` is `{value}`; expected {expected}")]
pub struct BadVariable {
    name: &'static str,
    value: String,
    expected: &'static str,
}

/// Bounds on calls, by of-watchdog's variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limits {
    /// Calls at once; more are told 429.
    pub(super) in_flight: Option<usize>,
    /// Time that a call may take.
    pub(super) timeout: Option<Duration>,
}

impl Limits {
    pub(super) fn of(platform: Platform, variables: &Variables) -> Result<Self, BadVariable> {
        if platform != Platform::OpenFaas {
            return Ok(Self::default());
        }
        let name = "max_inflight";
        let in_flight = read(variables, name, "a whole number", |text| text.parse().ok())?;
        Ok(Self {
            in_flight: in_flight.filter(|&most| 0 < most),
            timeout: duration(variables, "exec_timeout")?.filter(|timeout| !timeout.is_zero()),
        })
    }
}

/// A port from a variable that may be absent or empty.
pub(super) fn port(variables: &Variables, name: &'static str) -> Result<Option<u16>, BadVariable> {
    let parse = |text: &str| text.parse().ok().filter(|&port| port != 0);
    read(variables, name, "a port, 1 to 65535", parse)
}

/// A time from a variable that may be absent or empty.
pub(super) fn duration(
    variables: &Variables,
    name: &'static str,
) -> Result<Option<Duration>, BadVariable> {
    read(variables, name, "seconds, or a time as `1m30s`", parse_duration)
}

fn read<T>(
    variables: &Variables,
    name: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, BadVariable> {
    let Some(text) = variables.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let bad = || BadVariable { name, value: text.to_owned(), expected };
    parse(text).map(Some).ok_or_else(bad)
}

/// Seconds, or numbers with Go's units: `300ms`, `1m30s`, `1.5h`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    /// More than this is a slip.
    const MAX_SECONDS: f64 = 86_400.0;
    let seconds = match text.parse::<u32>() {
        Ok(seconds) => f64::from(seconds),
        Err(_) => go_seconds(text).filter(|_| !text.is_empty())?,
    };
    (seconds <= MAX_SECONDS).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Variables {
        Variables::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn times_are_seconds_or_have_units() {
        let ms = |text| parse_duration(text).map(|time| time.as_millis());
        assert_eq!(ms("30"), Some(30_000));
        assert_eq!(ms("1m30s"), Some(90_000));
        assert_eq!(ms("1.5h"), Some(5_400_000));
        assert_eq!(ms("250ms"), Some(250));
        for text in ["", "s", "10x", "-1s", "1m30", "soon", "99999h", "1..5s"] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error = port(&one("PORT", "http"), "PORT").unwrap_err().to_string();
        assert_eq!(error, "variable `PORT` is `http`; expected a port, 1 to 65535");
        let limits = Limits::of(Platform::OpenFaas, &one("max_inflight", "many"));
        assert!(limits.unwrap_err().to_string().contains("`max_inflight` is `many`"));
        assert_eq!(
            Limits::of(Platform::Knative, &one("max_inflight", "many")),
            Ok(Limits::default())
        );
    }

    #[test]
    fn zero_is_no_bound() {
        let limits = Limits::of(Platform::OpenFaas, &one("exec_timeout", "0s")).unwrap();
        assert_eq!(limits, Limits::default());
    }
}
