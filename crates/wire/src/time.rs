//! Points in time as text, written as `2026-11-25T13:07:02.123Z`, always in UTC; and lengths of time as Go writes them.
//!
//! Days become dates by the proleptic Gregorian calendar, whose 400 years have 146,097 days. The year is counted
//! from March on, so that a leap day is its last.

const DAY_MS: i64 = 86_400_000;
/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;
/// Years that are written with four digits end here.
const MAX_MS: i64 = 253_402_300_799_999;

/// Date and time of a point in milliseconds since the epoch, or the number where the year has not four digits.
pub fn date_time(ms: i64) -> String {
    if !(0..=MAX_MS).contains(&ms) {
        return ms.to_string();
    }
    let (year, month, day) = date(ms / DAY_MS);
    format!("{year:04}-{month:02}-{day:02}T{}Z", time(ms))
}

/// The time of day.
pub fn time(ms: i64) -> String {
    let ms = ms.rem_euclid(DAY_MS);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    format!("{hour:02}:{minute:02}:{:02}.{:03}", ms / 1000 % 60, ms % 1000)
}

/// Reads `2026-11-25`, `2026-11-25T13:07`, `2026-11-25T13:07:02Z` or `2026-11-25T13:07:02.123Z`.
pub fn parse(text: &str) -> Option<i64> {
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

/// Reads a whole date and time of RFC 3339, with any offset from UTC. What is less than a millisecond is cut off.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (time, zone) = time.split_at(time.find(['Z', 'z', '+', '-'])?);
    let minutes = match zone.split_at(1) {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let minutes = digits(hours, 2)? * 60 + digits(minutes, 2)?;
            if sign == "-" { -minutes } else { minutes }
        }
        _ => return None,
    };
    let (second, fraction) = time.split_once('.').unwrap_or((time, ""));
    if second.matches(':').count() != 2 {
        return None;
    }
    let fraction = fraction.get(..3).unwrap_or(fraction);
    Some(parse(&format!("{date}T{second}.{fraction:0<3}"))? - minutes * 60_000)
}

/// Seconds of a length of time as Go writes it, `1m30s` or `1.5h`; of an empty text, none.
pub fn go_seconds(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let unit_end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = behind;
    }
    Some(seconds)
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
    fn times_of_rfc_3339() {
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_rfc3339("2026-11-26T16:05:01.250Z"), Some(1_795_709_101_250));
        assert_eq!(parse_rfc3339("2026-11-26T18:05:01.25+02:00"), Some(1_795_709_101_250));
        assert_eq!(parse_rfc3339("2000-02-29T00:00:00-00:30"), Some(951_784_200_000));
        for text in ["", "now", "2026-11-26", "2026-11-26T16:05", "ä2026-11-2T16:05:00Z"] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
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
