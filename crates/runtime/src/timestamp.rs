//! Moments as RFC 3339 writes them, in UTC: `2026-03-01T09:30:00.25Z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// A moment with its nanoseconds. What is before 1970 is written as its start.
pub(crate) fn format(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = date(since.as_secs() / DAY);
    let second = since.as_secs() % DAY;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let nanos = since.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Reads a moment, with any offset from UTC; `None` for other texts, and before 1970.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let (day, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(day, '-', [4, 2, 2])?;
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 60 || !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let nanos = number(fraction)? * 10_u64.pow(9 - fraction.len() as u32);
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(&zone[1..], ':', [2, 2])?;
            let minutes = (hours * 60 + minutes) as i64;
            if zone.starts_with('+') { -minutes } else { minutes }
        }
    };
    let seconds = days(year, month, day)? * DAY + hour * 3600 + minute * 60 + second;
    let since = Duration::new(seconds.checked_add_signed(offset * 60)?, nanos as u32);
    UNIX_EPOCH.checked_add(since)
}

fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (slot, digits) in numbers.iter_mut().zip(digits) {
        *slot = parts.next().filter(|part| part.len() == digits).and_then(number)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the years before this one, since 1970.
fn days_before(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

/// Days since 1970 of a date that there is.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&day) {
        return None;
    }
    let months: u64 = (1..month).map(|month| month_days(year, month)).sum();
    Some(days_before(year) + months + day - 1)
}

/// The date so many days after the start of 1970.
fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    let mut day = days - days_before(year);
    let mut month = 1;
    while month_days(year, month) <= day {
        day -= month_days(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    #[test]
    fn moments_are_written_as_they_are_read() {
        let known = [
            (at(0, 0), "1970-01-01T00:00:00.000000000Z"),
            (at(951_782_400, 0), "2000-02-29T00:00:00.000000000Z"),
            (at(1_772_357_400, 250_000_000), "2026-03-01T09:30:00.250000000Z"),
            (at(4_107_542_400, 1), "2100-03-01T00:00:00.000000001Z"),
        ];
        for (moment, text) in known {
            assert_eq!(format(moment), text);
            assert_eq!(parse(text), Some(moment), "{text}");
        }
        for day in (0..100_000).step_by(7) {
            let moment = at(day * DAY + 86_399, 0);
            assert_eq!(parse(&format(moment)), Some(moment));
        }
    }

    #[test]
    fn offsets_and_fractions_are_read() {
        let moment = Some(at(1_772_357_400, 0));
        for text in
            ["2026-03-01T09:30:00Z", "2026-03-01T11:00:00+01:30", "2026-03-01T04:30:00-05:00"]
        {
            assert_eq!(parse(text), moment, "{text}");
        }
        assert_eq!(parse("2026-03-01T09:30:00.5Z"), Some(at(1_772_357_400, 500_000_000)));
    }

    #[test]
    fn other_texts_are_no_moments() {
        let texts = [
            "",
            "5m",
            "2026-03-01",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-03-01T25:00:00Z",
            "2026-03-01T09:30:00",
            "1969-12-31T00:00:00Z",
            "2026-03-01T09:30:00.Z",
            "2026-03-01T09:30:00+1:30",
            "2026-03-01T09:30:00+\u{e9}",
        ];
        for text in texts {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
