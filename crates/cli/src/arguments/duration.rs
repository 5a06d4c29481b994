//! Options about durations and days.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use patchadm_inputs::duration::{DAY, DurationError, duration};
use patchadm_inputs::trial::TrialDuration;

use crate::surroundings::Zone;

/// Reads a duration, in seconds.
pub fn age(text: &str) -> Result<u64, String> {
    duration(text).map_err(|error| error.to_string())
}

/// Reads the duration of a wait or a limit, in seconds. A number without a unit is one of seconds, as for `timeout`(1).
pub fn seconds(text: &str) -> Result<u64, String> {
    text.parse().or_else(|_| age(text))
}

/// Reads the duration of a trial, in the same forms as that of a wait.
pub fn trial(text: &str) -> Result<TrialDuration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { TrialDuration::parse(&format!("{text}s")) } else { TrialDuration::parse(text) }
}

/// Reads a duration of whole days, in days.
pub fn days(text: &str) -> Result<u32, String> {
    match duration(text) {
        Ok(seconds) if seconds.is_multiple_of(DAY) => {
            u32::try_from(seconds / DAY).map_err(|_| DurationError::TooLong.to_string())
        }
        Err(DurationError::TooLong) => Err(DurationError::TooLong.to_string()),
        Ok(_) | Err(DurationError::Form) => Err("not a number of whole days: write 7d, 2w, or 1y".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointInTime {
    Moment(DateTime<Utc>),
    /// A minute of the local clock.
    Minute(NaiveDateTime),
    /// A day of the local calendar.
    Day(NaiveDate),
}

impl PointInTime {
    /// Reads a day (`2026-11-27`), a minute as texts show it (`2026-11-27 06:52`), or a moment (RFC 3339).
    pub fn parse(text: &str) -> Result<Self, String> {
        let moment = DateTime::parse_from_rfc3339(text).map(|moment| Self::Moment(moment.to_utc()));
        let minute = || NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").map(Self::Minute);
        let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").map(Self::Day);
        moment.or_else(|_| minute()).or_else(|_| day()).map_err(|_| {
            "not a date: write '2026-11-20', '2026-11-20 07:00' or '2026-11-20T07:00:00+01:00'".to_owned()
        })
    }

    /// Returns the moment, or the first of the minute or day.
    pub fn first(self, zone: Zone) -> Option<DateTime<Utc>> {
        match self {
            Self::Moment(moment) => Some(moment),
            Self::Minute(minute) => zone.moment(minute),
            Self::Day(day) => zone.moment(day.and_time(NaiveTime::MIN)),
        }
    }

    /// Returns the moment, or the last second of the minute or day.
    pub fn last(self, zone: Zone) -> Option<DateTime<Utc>> {
        match self {
            Self::Moment(moment) => Some(moment),
            Self::Minute(minute) => zone.moment(minute)?.checked_add_signed(TimeDelta::seconds(59)),
            Self::Day(day) => {
                let next = zone.moment(day.succ_opt()?.and_time(NaiveTime::MIN))?;
                next.checked_sub_signed(TimeDelta::seconds(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_may_be_a_number_of_seconds_and_an_age_needs_a_unit() {
        assert_eq!((seconds("0"), seconds("90"), seconds("5min")), (Ok(0), Ok(90), Ok(300)));
        assert_eq!((trial("20"), trial("20")), (trial("20s"), TrialDuration::parse("20s")));
        assert!(trial("9").is_err() && trial("").is_err() && trial("-20").is_err());
        assert!(age("90").is_err() && seconds("-1").is_err() && seconds("soon").is_err());
        assert_eq!((days("7d"), days("2w"), days("48h")), (Ok(7), Ok(14), Ok(2)));
        for bad in ["36h", "7", "soon"] {
            assert_eq!(days(bad), Err("not a number of whole days: write 7d, 2w, or 1y".to_owned()), "{bad}");
        }
        assert_eq!(days("9999999999w"), Err("the duration is too long".to_owned()));
    }

    #[test]
    fn a_day_lasts_from_its_first_to_its_last_moment() {
        let day = PointInTime::parse("2026-11-20").unwrap();
        let at = |moment: Option<DateTime<Utc>>| moment.unwrap().to_rfc3339();
        assert_eq!(at(day.first(Zone::Utc)), "2026-11-20T00:00:00+00:00");
        assert_eq!(at(day.last(Zone::Utc)), "2026-11-20T23:59:59+00:00");
        let minute = PointInTime::parse("2026-11-20 07:00").unwrap();
        assert_eq!(at(minute.first(Zone::Utc)), "2026-11-20T07:00:00+00:00");
        assert_eq!(at(minute.last(Zone::Utc)), "2026-11-20T07:00:59+00:00");
        let moment = PointInTime::parse("2026-11-20T07:00:00+01:00").unwrap();
        assert_eq!(at(moment.first(Zone::Utc)), "2026-11-20T06:00:00+00:00");
        assert_eq!(moment.first(Zone::Utc), moment.last(Zone::Utc));
        for bad in ["20.11.2026", "2026-11-20T07:00:00", ""] {
            assert!(PointInTime::parse(bad).is_err(), "{bad}");
        }
    }
}
