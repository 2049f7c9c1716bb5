//! The two forms of time on the wire: HTTP dates and RFC 3339, both as seconds since 1970 in UTC.

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since 1970 from an HTTP date, `Sat, 21 Nov 2026 09:24:57 GMT`.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let rest = text.split_once(", ")?.1;
    let mut parts = rest.split(' ');
    let day = number(parts.next()?, 2)?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|m| *m == month)? as u64 + 1;
    let year = number(parts.next()?, 4)?;
    let mut clock = parts.next()?.split(':');
    let (hour, minute, second) = (
        number(clock.next()?, 2)?,
        number(clock.next()?, 2)?,
        number(clock.next()?, 2)?,
    );
    let valid = parts.next() == Some("GMT")
        && parts.next().is_none()
        && clock.next().is_none()
        && (1..=31).contains(&day)
        && (1970..=9999).contains(&year)
        && hour < 24
        && minute < 60
        && second <= 60;
    valid.then(|| days_to(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// `2026-11-21T09:24:57Z` for seconds since 1970.
pub fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from a day count, in eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

/// `2026-11-21T09:24:57.123Z` for milliseconds since 1970.
pub fn rfc3339_millis(millis: u64) -> String {
    let seconds = rfc3339(millis / 1000);
    let whole = seconds.trim_end_matches('Z');
    format!("{whole}.{:03}Z", millis % 1000)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn days_to(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_read() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("Sat, 21 Nov 2026 09:24:57 GMT", 1_795_253_097),
        ] {
            assert_eq!(parse_http_date(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "Sat, 21 Nov 2026 09:24:57",
            "Sat, 21 Nov 2026 09:24:57 CET",
            "Sat, 99 Nov 2026 09:24:57 GMT",
            "Sat, 21 Nov 2026 25:24:57 GMT",
            "Sat, 21 Nov 20260 09:24:57 GMT",
            "Sat, 2é Nov 2026 09:24:57 GMT",
            "Sat, 21 Nov 0000 09:24:57 GMT",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_shows_and_reads_as_the_same() {
        for day in 0..800 * 365 {
            let seconds = day * 86_400 + 45_296;
            let text = rfc3339(seconds);
            let number = |range| number(&text[range], 2).unwrap();
            let year = super::number(&text[..4], 4).unwrap();
            assert_eq!(days_to(year, number(5..7), number(8..10)), day, "{text}");
            assert!(text.ends_with("T12:34:56Z"));
        }
        assert_eq!(rfc3339(1_795_253_097), "2026-11-21T09:24:57Z");
        assert_eq!(
            rfc3339_millis(1_795_253_097_045),
            "2026-11-21T09:24:57.045Z"
        );
    }
}
