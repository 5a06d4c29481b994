//! The day of a patch as the cross-reference writes it; no calendar: 31 days in every month.

use std::fmt;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The century begins with this year: 51 is 1951, 50 is 2050.
const FIRST_YEAR: u16 = 51;

/// A day as the file writes it: `Jan/13/11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatchdiagDate {
    /// The year, 1951 to 2050.
    pub year: u16,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
}

impl PatchdiagDate {
    /// Parses a day.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
        let two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if parts.next().is_some() || !two_digits(day) || !two_digits(year) {
            return None;
        }
        let month = MONTHS.iter().zip(1..).find_map(|(name, number)| (*name == month).then_some(number))?;
        let (day, year): (u8, u16) = (day.parse().ok()?, year.parse().ok()?);
        let year = if year < FIRST_YEAR { 2000 + year } else { 1900 + year };
        (1..=31).contains(&day).then_some(Self { year, month, day })
    }
}

impl fmt::Display for PatchdiagDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let month = MONTHS.get(usize::from(self.month).wrapping_sub(1)).unwrap_or(&"Jan");
        write!(f, "{month}/{:02}/{:02}", self.day, self.year % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_a_month_by_name_and_a_year_of_two_digits() {
        for (text, shown) in
            [("Jan/13/11", (2011, 1, 13)), ("Oct/31/91", (1991, 10, 31)), ("May/01/51", (1951, 5, 1))]
        {
            let date = PatchdiagDate::parse(text).unwrap();
            assert_eq!(((date.year, date.month, date.day), date.to_string().as_str()), (shown, text));
        }
        for text in
            ["", "jan/13/11", "Jan/13/2011", "Jan/00/11", "Jan/32/11", "Jan/1/11", "Jan/13/11/", "Jan/+1/11"]
        {
            assert_eq!(PatchdiagDate::parse(text), None, "{text}");
        }
    }
}
