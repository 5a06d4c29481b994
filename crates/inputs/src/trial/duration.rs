//! How long a trial lasts.

use std::fmt;

/// The shortest trial, in seconds.
const SHORTEST: u64 = 10;

/// The longest trial, in seconds: 30 days.
const LONGEST: u64 = 30 * 24 * 60 * 60;

/// The units, with their seconds, the largest first.
const UNITS: [(char, u64); 4] = [('d', 24 * 60 * 60), ('h', 60 * 60), ('m', 60), ('s', 1)];

/// The duration of a trial in seconds: from ten seconds to 30 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrialDuration(u64);

impl TrialDuration {
    /// Reads a number with a unit: `30s`, `10m`, `2h`, `1d`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "it is no number with s, m, h or d behind it".to_owned();
        let unit = text.chars().next_back().ok_or_else(wrong)?;
        let (_, seconds) = UNITS.into_iter().find(|(letter, _)| *letter == unit).ok_or_else(wrong)?;
        let number = text.strip_suffix(unit).unwrap_or_default();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = number.parse().unwrap_or(u64::MAX);
        Self::of_seconds(number.saturating_mul(seconds))
            .ok_or_else(|| "a trial lasts from 10s to 30d".to_owned())
    }

    /// Returns the duration of this many seconds, if a trial may last that long.
    pub fn of_seconds(seconds: u64) -> Option<Self> {
        (SHORTEST..=LONGEST).contains(&seconds).then_some(Self(seconds))
    }

    /// Returns its seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// Returns its milliseconds.
    pub fn milliseconds(self) -> u64 {
        self.0.saturating_mul(1000)
    }
}

impl fmt::Display for TrialDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, seconds): &(char, u64)| self.0.is_multiple_of(*seconds);
        let (letter, seconds) = UNITS.into_iter().find(fits).unwrap_or(('s', 1));
        write!(f, "{}{letter}", self.0 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_with_a_unit_within_its_limits() {
        for (text, seconds, shown) in [
            ("30s", 30, "30s"),
            ("10m", 600, "10m"),
            ("2h", 7_200, "2h"),
            ("1d", 86_400, "1d"),
            ("30d", 2_592_000, "30d"),
            ("10s", 10, "10s"),
            ("24h", 86_400, "1d"),
            ("90s", 90, "90s"),
        ] {
            let duration = TrialDuration::parse(text).unwrap();
            assert_eq!((duration.seconds(), duration.to_string().as_str()), (seconds, shown));
        }
        for bad in ["", "s", "10", "-10s", "+10s", "1.5h", "10 m", "10w", "10M", "ten", "10é", "٣٠s"] {
            assert_eq!(
                TrialDuration::parse(bad).unwrap_err(),
                "it is no number with s, m, h or d behind it",
                "{bad}"
            );
        }
        for bad in ["0s", "0d", "9s", "31d", "365d", "99999999999999999999999s", "18446744073709551615d"] {
            assert_eq!(TrialDuration::parse(bad).unwrap_err(), "a trial lasts from 10s to 30d", "{bad}");
        }
    }
}
