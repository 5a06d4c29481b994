//! The names of a stage: its id, which is random and never changes, and its name, the base of its promotions.

use std::fmt;

use patchadm_changeset::format::escaped::is_hex;

/// The identity of a stage: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageId(u64);

/// The name of a stage: a letter or digit, then up to 27 letters, digits, `_`, `+` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageName(String);

/// The reason a text is not the name of a stage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{text}> cannot be the name of a stage: {reason}")]
pub struct StageNameError {
    /// The text, escaped and cut to a readable length.
    pub text: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

impl StageId {
    /// Makes an id of a random number.
    pub fn of(random: u64) -> Self {
        Self(random)
    }

    /// Reads 16 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if is_hex(text, 16) { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl StageName {
    /// The length of the longest name, in bytes.
    const LONGEST: usize = 28;

    /// Reads a name by its form alone, as files have it.
    pub fn parse(text: &str) -> Result<Self, StageNameError> {
        let is_first = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
        if !is_first {
            return Err(refused(text, "it does not begin with a letter or a digit"));
        }
        if text.len() > Self::LONGEST {
            return Err(refused(text, "it is longer than 28 bytes"));
        }
        if !text.bytes().all(is_letter) {
            return Err(refused(text, "it may only have letters, digits, `_`, `+` and `-`"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Reads a name for a new stage. The base of its promotions must not be one that the root restricts.
    pub fn for_root(text: &str, is_restricted: impl Fn(&str) -> bool) -> Result<Self, StageNameError> {
        let name = Self::parse(text)?;
        if is_restricted(text) {
            return Err(refused(text, "patches with this base are restricted on the root (restricted=)"));
        }
        Ok(name)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn refused(text: &str, reason: &'static str) -> StageNameError {
    StageNameError { text: text.chars().take(100).flat_map(char::escape_debug).collect(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_of_few_letters() {
        let longest = "w".repeat(28);
        for good in ["web", "9", "pkg_jail", "a+b-c", &longest] {
            assert_eq!(StageName::parse(good).unwrap().as_str(), good);
        }
        let too_long = "w".repeat(29);
        for bad in ["", "-web", ".web", "_web", "we b", "we.b", "wéb", "a/b", "web\n", &too_long] {
            assert!(StageName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_the_root_restricts_is_refused_for_a_new_stage_only() {
        let is_restricted = |base: &str| base.starts_with('T');
        assert!(StageName::for_root("T1", is_restricted).is_err());
        assert!(StageName::for_root("web", is_restricted).is_ok());
        assert!(StageName::parse("T1").is_ok());
    }

    #[test]
    fn an_id_is_sixteen_digits() {
        let id = StageId::of(0x5f0c_2a9b_e1d4_7788);
        assert_eq!(id.to_string(), "5f0c2a9be1d47788");
        assert_eq!(StageId::parse("5f0c2a9be1d47788"), Some(id));
        for bad in ["", "5f0c2a9be1d4778", "5F0C2A9BE1D47788", "5f0c2a9be1d477880", "+f0c2a9be1d47788"] {
            assert_eq!(StageId::parse(bad), None, "{bad:?}");
        }
    }
}
