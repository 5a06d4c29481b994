//! Sizes and parts of a file system, as options and the policy name them.

/// The letters behind a number of bytes, each 1024 times the one before.
const UNITS: [char; 4] = ['K', 'M', 'G', 'T'];

/// The most bytes of undo data that a root keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoLimit {
    /// So many bytes.
    Bytes(u64),
    /// So many of a hundred bytes of the file system.
    Percent(u8),
}

impl UndoLimit {
    /// Reads a size, or `N%`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.ends_with('%') {
            percentage(text).map(Self::Percent)
        } else {
            byte_size(text).map(Self::Bytes)
        }
    }

    /// Returns the bytes that it is on a file system of this size.
    pub fn bytes(self, file_system: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => {
                let part = u128::from(file_system) * u128::from(percent) / 100;
                u64::try_from(part).unwrap_or(u64::MAX)
            }
        }
    }
}

/// Reads a size: a number of bytes, or a number with K, M, G or T, which may be followed by `iB`.
pub fn byte_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("<{}> is no size: write 500M, 2G or a number of bytes", text.escape_debug());
    let letters = text.strip_suffix("iB").unwrap_or(text);
    let unit = UNITS.iter().position(|unit| letters.ends_with(*unit));
    if unit.is_none() && letters.len() != text.len() {
        return Err(wrong());
    }
    let digits = letters.strip_suffix(UNITS).unwrap_or(letters);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let factor = unit.map_or(1, |place| 1_u64 << (10 * (place + 1)));
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.ok_or_else(|| format!("<{text}> is larger than any disk"))
}

/// Reads `N%` with a whole number up to 100.
pub fn percentage(text: &str) -> Result<u8, String> {
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let percent = digits.and_then(|digits| digits.parse().ok()).filter(|percent| *percent <= 100);
    percent.ok_or_else(|| format!("<{}> is no percentage from 0% to 100%", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_with_a_unit() {
        for (text, bytes) in [("0", 0), ("512", 512), ("1K", 1024), ("500M", 500 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(byte_size(text), Ok(bytes), "{text}");
        }
        assert_eq!(byte_size("16777215T"), Ok(16_777_215 << 40));
        for bad in [
            "",
            "M",
            "-1",
            "+1",
            "1.5G",
            "1MB",
            "1iB",
            "2g",
            "1 G",
            "ten",
            "99999999T",
            "18446744073709551616",
        ] {
            assert!(byte_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_limit_is_a_size_or_a_part_of_the_file_system() {
        assert_eq!(UndoLimit::parse("1G"), Ok(UndoLimit::Bytes(1 << 30)));
        assert_eq!(UndoLimit::parse("5%").map(|limit| limit.bytes(1000)), Ok(50));
        assert_eq!(UndoLimit::Percent(100).bytes(u64::MAX), u64::MAX);
        for bad in ["%", "101%", "-1%", "1.5%", "+1%", "5 %", "999999%"] {
            assert!(UndoLimit::parse(bad).is_err(), "{bad}");
        }
    }
}
