//! The moment at which a patch was applied, from the words that date(1) left in its record.
//!
//! A record names its time zone by an abbreviation. Abbreviations with a single offset are known. For any other one the
//! moment cannot be determined, and only the words are available.

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeZone as _};

/// Offsets from UTC in minutes, by the abbreviations that date(1) prints.
const ZONES: [(&str, i32); 42] = [
    ("UTC", 0),
    ("GMT", 0),
    ("UCT", 0),
    ("Z", 0),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("MET", 60),
    ("MEST", 120),
    ("MEZ", 60),
    ("MESZ", 120),
    ("SAST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("PKT", 300),
    ("WIB", 420),
    ("HKT", 480),
    ("SGT", 480),
    ("AWST", 480),
    ("JST", 540),
    ("KST", 540),
    ("ACST", 570),
    ("ACDT", 630),
    ("AEST", 600),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
    ("NST", -210),
    ("NDT", -150),
    ("AST", -240),
    ("ADT", -180),
    ("EST", -300),
    ("EDT", -240),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("HST", -600),
];

/// Returns the moment of a date as date(1) prints it: `Fri Nov 20 06:37:39 UTC 2026`; `None` if it is no such date, or its
/// zone means several offsets. The name of the day is not compared.
pub fn applied_date(text: &str) -> Option<DateTime<FixedOffset>> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, month, day, time, zone, year] = words.as_slice() else { return None };
    let local = format!("{month} {day} {time} {year}");
    let local = NaiveDateTime::parse_from_str(&local, "%b %d %H:%M:%S %Y").ok()?;
    offset(zone)?.from_local_datetime(&local).single()
}

fn offset(zone: &str) -> Option<FixedOffset> {
    let known = ZONES.iter().find(|(name, _)| *name == zone).map(|(_, minutes)| *minutes);
    FixedOffset::east_opt(known.or_else(|| numeric(zone))?.checked_mul(60)?)
}

/// Returns the minutes of a zone that is named by its offset: `+03`, `-0330`.
fn numeric(zone: &str) -> Option<i32> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        2 => (digits, "0"),
        4 => digits.split_at(2),
        _ => return None,
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_date_are_a_moment_where_their_zone_means_one_offset() {
        for (text, expected) in [
            ("Fri Nov 20 06:37:39 UTC 2026", Some("2026-11-20T06:37:39+00:00")),
            ("Fri Nov  6 06:37:39 CEST 2026", Some("2026-11-06T06:37:39+02:00")),
            ("Tue Jul 1 23:59:59 PDT 1997", Some("1997-07-01T23:59:59-07:00")),
            ("Tue Jul 1 23:59:59 +0530 1997", Some("1997-07-01T23:59:59+05:30")),
            ("Tue Jul 1 23:59:59 -03 1997", Some("1997-07-01T23:59:59-03:00")),
            ("Tue Jul 1 23:59:59 CST 1997", None),
            ("Tue Jul 1 23:59:59 +5 1997", None),
            ("Tue Jul 1 23:59:59 +99 1997", None),
            ("Tue Jul 32 23:59:59 UTC 1997", None),
            ("Tue Jul 1 23:59:59 1997", None),
            ("", None),
        ] {
            assert_eq!(applied_date(text).map(|date| date.to_rfc3339()).as_deref(), expected, "{text}");
        }
    }
}
