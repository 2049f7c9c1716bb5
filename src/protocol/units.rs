//! Sizes, durations and CPU counts as people write them.

use std::time::Duration;

const SIZE_UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
];

/// Bytes from `512m`, `4g`, `1.5g`, `65536`; units of 1024, upper or lower case, with an optional `b` or `ib` behind.
///
/// # Errors
/// A sentence that says what would be right.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "'{}' is not a size; write it like 512m, 4g or 1048576",
            text.escape_debug()
        )
    };
    let (number, unit) = split_number(text).ok_or_else(wrong)?;
    let unit = unit.to_ascii_lowercase();
    let short = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')) {
        Some(short) if !short.is_empty() => short,
        _ => &unit,
    };
    let factor = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == short)
        .ok_or_else(wrong)?
        .1;
    scale(number, factor)
        .filter(|bytes| *bytes <= i64::MAX.unsigned_abs())
        .ok_or_else(|| format!("'{}' is too large", text.escape_debug()))
}

/// A duration from `90`, `90s`, `500ms`, `5m`, `1h30m`, `2d`; a bare number is seconds.
///
/// # Errors
/// A sentence that says what would be right. More than ten years is too long.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "'{}' is not a duration; write it like 90s, 5m or 1h30m",
            text.escape_debug()
        )
    };
    let (number, unit) = split_number(text).ok_or_else(wrong)?;
    let mut nanos: u64 = 0;
    let (mut number, mut rest) = (number, unit);
    loop {
        let end = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (unit, next) = rest.split_at(end);
        let factor = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "" if next.is_empty() && nanos == 0 => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return Err(wrong()),
        };
        nanos = scale(number, factor)
            .and_then(|part| nanos.checked_add(part))
            .filter(|sum| *sum <= 3653 * 86_400_000_000_000)
            .ok_or_else(|| format!("'{}' is too long", text.escape_debug()))?;
        if next.is_empty() {
            return Ok(Duration::from_nanos(nanos));
        }
        (number, rest) = split_number(next).ok_or_else(wrong)?;
    }
}

/// Billionths of a CPU from `2`, `1.5`, `0.25`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn parse_cpus(text: &str) -> Result<u64, String> {
    match split_number(text) {
        Some((number, "")) => {
            scale(number, 1_000_000_000).filter(|n| *n <= i64::MAX.unsigned_abs())
        }
        _ => None,
    }
    .ok_or_else(|| {
        format!(
            "'{}' is not a number of CPUs; write it like 2 or 0.5",
            text.escape_debug()
        )
    })
}

/// A size for people, exact where it can be: `4g`, `512m`, `1000`.
pub fn show_size(bytes: u64) -> String {
    SIZE_UNITS
        .iter()
        .rev()
        .find(|(name, factor)| {
            !name.is_empty() && *name != "b" && bytes >= *factor && bytes.is_multiple_of(*factor)
        })
        .map_or_else(
            || bytes.to_string(),
            |(name, factor)| format!("{}{name}", bytes / factor),
        )
}

/// A number of CPUs for people: `2.0`, `1.5`.
pub fn show_cpus(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    let text = text.trim_end_matches('0');
    if text.ends_with('.') {
        format!("{text}0")
    } else {
        text.to_owned()
    }
}

/// Whole part, fraction digits; the fraction has at most nine digits.
#[derive(Clone, Copy)]
struct Number<'a>(u64, &'a str);

fn split_number(text: &str) -> Option<(Number<'_>, &str)> {
    let digits = |t: &str| t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => {
            let (fraction, rest) = after.split_at(digits(after));
            (!fraction.is_empty() && fraction.len() <= 9).then_some((fraction, rest))?
        }
        None => ("", rest),
    };
    Some((Number(whole.parse().ok()?, fraction), rest))
}

fn scale(Number(whole, fraction): Number<'_>, factor: u64) -> Option<u64> {
    let part = if fraction.is_empty() {
        0
    } else {
        let digits: u128 = fraction.parse().ok()?;
        let parts = digits * u128::from(factor) / 10u128.pow(u32::try_from(fraction.len()).ok()?);
        u64::try_from(parts).ok()?
    };
    whole.checked_mul(factor)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("512b", 512),
            ("64k", 65536),
            ("64K", 65536),
            ("512m", 536_870_912),
            ("512mb", 536_870_912),
            ("512MiB", 536_870_912),
            ("1.5g", 1_610_612_736),
            ("4g", 4_294_967_296),
            ("1t", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "", "g", "-1", "+1", "1x", "1 g", "1.g", "1e9", "ib", "9999999t", "0x10", "1.5.5g",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_read_with_several_units() {
        for (text, millis) in [
            ("90", 90_000),
            ("1.5", 1_500),
            ("500ms", 500),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1m30.5s", 90_500),
            ("2d", 172_800_000),
            ("0", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in ["", "s", "-1s", "1x", "1h30", "99999d", "1s 2s", "1é"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpus_read_and_show() {
        assert_eq!(parse_cpus("2"), Ok(2_000_000_000));
        assert_eq!(parse_cpus("0.25"), Ok(250_000_000));
        assert!(parse_cpus("-1").is_err() && parse_cpus("2x").is_err() && parse_cpus("").is_err());
        assert_eq!(show_cpus(2_000_000_000), "2.0");
        assert_eq!(show_cpus(1_250_000_000), "1.25");
    }

    #[test]
    fn shown_sizes_read_back() {
        for bytes in [0, 1, 1000, 1024, 1536, 1 << 20, (4 << 30) + 1, 4 << 30] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_size(4 << 30), "4g");
    }
}
