//! Durations: a whole number with one unit.

use std::fmt;

/// In seconds; `m` never means months.
const MINUTE: u64 = 60;
/// In seconds.
pub const HOUR: u64 = 60 * MINUTE;
/// In seconds.
pub const DAY: u64 = 24 * HOUR;

/// In seconds. `5min` reads like `5m`, and a year has 365 days.
const UNITS: [(&str, u64); 7] =
    [("s", 1), ("min", MINUTE), ("m", MINUTE), ("h", HOUR), ("d", DAY), ("w", 7 * DAY), ("y", 365 * DAY)];

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("not a duration: write 30s, 10m, 2h, 7d, 12w, or 1y")]
    Form,
    #[error("the duration is too long")]
    TooLong,
}

/// Reads a duration in seconds.
pub fn duration(text: &str) -> Result<u64, DurationError> {
    let digits = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let (number, unit) = (text.strip_suffix(digits).unwrap_or_default(), digits);
    let (_, seconds) = UNITS.iter().find(|(word, _)| *word == unit).ok_or(DurationError::Form)?;
    if number.is_empty() {
        return Err(DurationError::Form);
    }
    let number = number.parse::<u64>().ok();
    number.and_then(|number| number.checked_mul(*seconds)).ok_or(DurationError::TooLong)
}

/// Shows the largest unit up to days that divides the seconds.
#[derive(Clone, Copy, Debug)]
pub struct ShownDuration(pub u64);

impl fmt::Display for ShownDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("d", DAY), ("h", HOUR), ("m", MINUTE)];
        let fits = |(_, seconds): &(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*seconds);
        let (letter, seconds) = units.into_iter().find(fits).unwrap_or(("s", 1));
        write!(f, "{}{letter}", self.0 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_with_a_unit() {
        for (text, seconds) in [
            ("0d", 0),
            ("30s", 30),
            ("10m", 600),
            ("5min", 300),
            ("2h", 7_200),
            ("7d", 604_800),
            ("12w", 7_257_600),
            ("1y", 31_536_000),
        ] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
        for bad in ["", "d", "90", "-1d", "+1d", "1.5d", "1 d", "1D", "1month", "1mins", "٣d", "1d1h"] {
            assert_eq!(duration(bad), Err(DurationError::Form), "{bad}");
        }
        for long in ["99999999999999999999d", "999999999999999999y"] {
            assert_eq!(duration(long), Err(DurationError::TooLong), "{long}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_is_read() {
        for (seconds, text) in
            [(0, "0s"), (90, "90s"), (600, "10m"), (7_200, "2h"), (604_800, "7d"), (86_460, "1441m")]
        {
            assert_eq!(ShownDuration(seconds).to_string(), text);
            assert_eq!(duration(text), Ok(seconds));
        }
    }
}
