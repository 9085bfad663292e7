//! Points in time as text: `2026-11-25T13:07:02.123Z`, always in UTC.
//!
//! Days become dates by the proleptic Gregorian calendar, whose 400 years have 146,097 days. The year is counted
//! from March on, so that a leap day is its last.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: i64 = 86_400_000;
/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;
/// Years that are written with four digits end here.
const MAX_MS: i64 = 253_402_300_799_999;

/// Milliseconds since the epoch, by this machine's clock.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    now.as_millis() as i64
}

/// Date and time of a point in milliseconds since the epoch, or the number where the year has not four digits.
pub(crate) fn date_time(ms: i64) -> String {
    if !(0..=MAX_MS).contains(&ms) {
        return ms.to_string();
    }
    let (year, month, day) = date(ms / DAY_MS);
    format!("{year:04}-{month:02}-{day:02}T{}Z", time(ms))
}

/// The time of day.
pub(crate) fn time(ms: i64) -> String {
    let ms = ms.rem_euclid(DAY_MS);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    format!("{hour:02}:{minute:02}:{:02}.{:03}", ms / 1000 % 60, ms % 1000)
}

/// Reads `2026-11-25`, `2026-11-25T13:07`, `2026-11-25T13:07:02Z` or `2026-11-25T13:07:02.123Z`.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00"));
    let mut date =
        date.splitn(3, '-').map(|part| digits(part, if part.len() == 4 { 4 } else { 2 }));
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let time = time.strip_suffix('Z').unwrap_or(time);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(|part| digits(part, 2));
    let (hour, minute, second) = (time.next()??, time.next()??, time.next().unwrap_or(Some(0))?);
    let ms = digits(&format!("{fraction:0<3}"), 3)?;
    let days = days(year, month, day);
    // A date that is none, as 2026-02-30, comes back as another.
    let is_legal =
        self::date(days) == (year, month, day) && hour < 24 && minute < 60 && second < 60;
    let ms = days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms;
    (is_legal && (0..=MAX_MS).contains(&ms)).then_some(ms)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// Year, month and day of a day after the epoch.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_EPOCH;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // March is 0; five months have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// The inverse of [`date`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day = (153 * month + 2) / 5 + day - 1 + 365 * year + year / 4 - year / 100;
    era * 146_097 + day - DAYS_TO_EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_681_899_936_418, "2023-04-19T10:25:36.418Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (MAX_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(date_time(ms), text);
            assert_eq!(parse(text), Some(ms), "{text}");
        }
        assert_eq!((date_time(-1), date_time(MAX_MS + 1)), ("-1".into(), (MAX_MS + 1).to_string()));
        assert_eq!(parse("2023-04-19"), Some(1_681_862_400_000));
        assert_eq!(parse("2023-04-19T10:25"), Some(1_681_899_900_000));
        assert_eq!(parse("2023-04-19T10:25:36.4Z"), Some(1_681_899_936_400));
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in 0..146_097 {
            let (year, month, date) = date(day);
            assert_eq!(days(year, month, date), day);
        }
    }

    #[test]
    fn texts_that_are_no_time_are_not_read() {
        for text in [
            "",
            "now",
            "2023",
            "2023-2-1",
            "2023-02-29",
            "2023-13-01",
            "2023-01-01T24:00",
            "2023-01-01T10",
            "2023-01-01T10:00:00+01:00",
            "1969-12-31",
            "2023-01-01T1:00",
            "2023-01-01T10:00:00.1234Z",
            "-2023-01-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
