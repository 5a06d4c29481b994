//! The time zone of the caller, and the one form in which texts for people show moments.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use chrono::{DateTime, Local, NaiveDateTime, TimeZone as _, Utc};

/// The form of a moment in text.
const MINUTE: &str = "%Y-%m-%d %H:%M";

/// The form of the deadline of a short trial.
const SECOND: &str = "%Y-%m-%d %H:%M:%S";

/// A time zone to show moments in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// The one of this machine or of `TZ`.
    Local,
    /// None: coordinated universal time.
    Utc,
}

impl Zone {
    /// Returns the zone that `TZ` asks for. A path outside the zones of the system is read only if it is a regular
    /// file: a device has no end.
    pub(super) fn of(variable: Option<&OsStr>) -> Self {
        let Some(name) = variable else { return Self::Local };
        let bytes = name.as_encoded_bytes();
        let path = Path::new(OsStr::from_bytes(bytes.strip_prefix(b":").unwrap_or(bytes)));
        let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if is_inside || path.is_absolute() && path.is_file() { Self::Local } else { Self::Utc }
    }

    /// Returns the moment at which the clock on the wall shows this; the first, where it shows it twice.
    pub fn moment(self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self {
            Self::Local => Local.from_local_datetime(&wall).earliest().map(|local| local.with_timezone(&Utc)),
            Self::Utc => Some(wall.and_utc()),
        }
    }

    /// Returns a moment (seconds since 1970) as the clock on the wall showed it; 1970 where it is beyond any calendar.
    pub fn at(self, seconds: i64) -> NaiveDateTime {
        let moment = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        match self {
            Self::Local => moment.with_timezone(&Local).naive_local(),
            Self::Utc => moment.naive_utc(),
        }
    }

    /// Returns a moment as texts for people show it: `2026-11-27 06:52`.
    pub fn minute(self, moment: DateTime<Utc>) -> String {
        self.at(moment.timestamp()).format(MINUTE).to_string()
    }

    /// Returns the deadline of a trial, with its seconds if the trial `is_short`.
    pub fn deadline(self, moment: DateTime<Utc>, is_short: bool) -> String {
        if is_short { self.at(moment.timestamp()).format(SECOND).to_string() } else { self.minute(moment) }
    }

    /// Returns the same of a moment in the form of records and documents (RFC 3339); other text stays as it is.
    pub fn minute_of(self, recorded: &str) -> String {
        let moment = DateTime::parse_from_rfc3339(recorded);
        moment.map_or_else(|_| recorded.to_owned(), |moment| self.minute(moment.to_utc()))
    }

    /// Returns a text with moments in the form of documents (RFC 3339) as [`Zone::minute`] shows them.
    pub fn minutes_in(self, text: &str) -> String {
        let shown = |piece| match piece {
            TextPiece::Moment(moment) => self.minute(moment),
            TextPiece::Words(words) => words.to_owned(),
        };
        moments_in(text).into_iter().map(shown).collect()
    }
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPiece<'a> {
    Moment(DateTime<Utc>),
    Words(&'a str),
}

/// Splits a text at the words that are moments in the form of documents (RFC 3339).
pub fn moments_in(text: &str) -> Vec<TextPiece<'_>> {
    let mut pieces = Vec::new();
    let (mut words, mut place) = (0, 0);
    for word in text.split_inclusive(char::is_whitespace) {
        let recorded =
            word.trim_end_matches(|letter: char| letter.is_whitespace() || ",;:.)".contains(letter));
        if let Ok(moment) = DateTime::parse_from_rfc3339(recorded) {
            pieces.extend(text.get(words..place).filter(|before| !before.is_empty()).map(TextPiece::Words));
            pieces.push(TextPiece::Moment(moment.to_utc()));
            words = place + recorded.len();
        }
        place += word.len();
    }
    pieces.extend(text.get(words..).filter(|rest| !rest.is_empty()).map(TextPiece::Words));
    pieces
}

/// Returns the `INSTDATE` of a package as texts for people show a moment. It is recorded without a zone, so none is
/// converted.
pub fn installation_minute(recorded: &str) -> String {
    let moment = NaiveDateTime::parse_from_str(recorded.trim(), "%b %d %Y %H:%M");
    moment.map_or_else(|_| recorded.to_owned(), |moment| moment.format(MINUTE).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_show_moments_in_one_form() {
        assert_eq!(Zone::Utc.minute_of("2026-11-27T06:52:39Z"), "2026-11-27 06:52");
        assert_eq!(Zone::Utc.minute_of("2026-11-27T01:52:39+05:30"), "2026-11-26 20:22");
        assert_eq!(Zone::Utc.minute_of("some day"), "some day");
        let moment = DateTime::from_timestamp(1_796_000_020, 0).unwrap();
        assert!(Zone::Utc.deadline(moment, true).starts_with(&Zone::Utc.deadline(moment, false)));
        assert!(Zone::Utc.deadline(moment, true).ends_with(":40"), "{}", Zone::Utc.deadline(moment, true));
        assert_eq!(installation_minute("Nov 27 2026 06:52"), "2026-11-27 06:52");
        assert_eq!(installation_minute("27.11.2026"), "27.11.2026");
    }

    #[test]
    fn moments_in_a_text_are_shown_to_the_minute_and_nothing_else_changes() {
        let text = "the index expired at 2026-11-20T08:00:00+01:00\nsee /srv/2026-11-20T07:00:00Z/x  (3)";
        let shown = "the index expired at 2026-11-20 07:00\nsee /srv/2026-11-20T07:00:00Z/x  (3)";
        assert_eq!(Zone::Utc.minutes_in(text), shown);
        assert_eq!(Zone::Utc.minutes_in("until 2026-11-21T07:00:00Z, over"), "until 2026-11-21 07:00, over");
    }
}
