//! `DEPOT/flags`: the maintainer's flags for single patches, an id and words per line.

use std::collections::BTreeMap;

use patchadm_svr4::patch::PatchId;

/// The largest file of flags that is read, in bytes: 4 MiB.
pub const LARGEST_FLAGS: u64 = 4 << 20;

/// The words that mean something.
const WORDS: [&str; 3] = ["recommended", "security", "withdrawn"];

/// The flags of patches, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DepotFlags(BTreeMap<PatchId, Vec<String>>);

/// A line of flags that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct DepotFlagsError {
    /// The number of the line; the first is 1.
    pub line: usize,
    /// The fault.
    pub reason: String,
}

impl DepotFlags {
    /// Reads flags; ignores empty lines and text after `#`. A second line of a patch adds to the first.
    pub fn parse(text: &[u8]) -> Result<Self, DepotFlagsError> {
        let mut flags: BTreeMap<PatchId, Vec<String>> = BTreeMap::new();
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let fault = |reason| DepotFlagsError { line: at + 1, reason };
            let line = str::from_utf8(line).map_err(|_| fault("it is not UTF-8".to_owned()))?;
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(id) = words.next() else { continue };
            let id = PatchId::new(id).map_err(|error| fault(error.to_string()))?;
            let given = flags.entry(id).or_default();
            for word in words {
                if !WORDS.contains(&word) {
                    let shown: String = word.chars().take(80).flat_map(char::escape_debug).collect();
                    return Err(fault(format!("<{shown}> is none of {}", WORDS.join(", "))));
                }
                given.push(word.to_owned());
            }
            given.sort();
            given.dedup();
        }
        Ok(Self(flags))
    }

    /// Returns the flags of a patch, sorted.
    pub fn of(&self, id: &PatchId) -> &[String] {
        self.0.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_id_and_its_words() {
        let text = b"# ours\n105181-05 security recommended # bad one\n\n1-1 withdrawn\n105181-05 security\n";
        let flags = DepotFlags::parse(text).unwrap();
        assert_eq!(flags.of(&PatchId::new("105181-05").unwrap()), ["recommended", "security"]);
        assert_eq!(flags.of(&PatchId::new("1-01").unwrap()), ["withdrawn"]);
        assert!(flags.of(&PatchId::new("1-02").unwrap()).is_empty());
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, reason) in [
            ("1-01 urgent\n", "line 1: <urgent> is none of recommended, security, withdrawn"),
            ("\n../x security\n", "line 2: "),
            ("1-01 \u{1b}\n", "line 1: <\\u{1b}> is none of"),
        ] {
            let error = DepotFlags::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
        assert_eq!(DepotFlags::parse(b"\xff").unwrap_err().line, 1);
    }
}
