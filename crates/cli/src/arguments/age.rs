//! Ages: how long ago something happened, in one unit.

/// The units of an age, with their seconds.
const UNITS: [(char, u64); 6] =
    [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800), ('y', 31_536_000)];

/// Reads an age: a whole number with `s`, `m`, `h`, `d`, `w` or `y` (365 days), in seconds.
pub fn age(text: &str) -> Result<u64, String> {
    let wrong = || "it is no age: write 90d, 12w or 1y (also s, m, h)".to_owned();
    let unit = UNITS.iter().find(|(letter, _)| text.ends_with(*letter)).ok_or_else(wrong)?;
    let digits = text.strip_suffix(unit.0).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit.1));
    seconds.ok_or_else(|| "it is longer than any time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_with_a_unit() {
        for (text, seconds) in [("0d", 0), ("30s", 30), ("10m", 600), ("2h", 7_200), ("1y", 31_536_000)] {
            assert_eq!(age(text), Ok(seconds), "{text}");
        }
        for bad in [
            "",
            "d",
            "90",
            "-1d",
            "+1d",
            "1.5d",
            "1 d",
            "1D",
            "1month",
            "99999999999999999999d",
            "999999999999999999y",
        ] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }
}
