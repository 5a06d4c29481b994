//! The output of `showrev -p` and `patchadd -p`: a line `Patch: ID Obsoletes: … Requires: … Incompatibles: … Packages:
//! …` for each applied patch. Other lines are skipped.

use super::lines::{LineTooLong, numbered_lines};
use crate::patch::{PatchId, PatchIdError, PatchList, PatchListError, Requirements, RequirementsError};

/// The largest output that is read, in bytes: 64 MiB.
pub const LARGEST_LISTING: usize = 64 << 20;

const WORDS: [&str; 5] = ["Patch:", "Obsoletes:", "Requires:", "Incompatibles:", "Packages:"];

/// An applied patch in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowrevLine {
    /// The patch.
    pub id: PatchId,
    /// The patches that it obsoletes.
    pub obsoletes: PatchList,
    /// The patches that it requires.
    pub requires: Requirements,
    /// The patches that it excludes.
    pub incompatibles: PatchList,
    /// The packages that it is applied to, as written.
    pub packages: Vec<String>,
}

/// The reason a listing cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShowrevError {
    /// More than [`LARGEST_LISTING`] bytes.
    #[error("the listing is larger than {LARGEST_LISTING} bytes")]
    TooLarge,
    /// A line longer than [`LONGEST_LINE`](super::LONGEST_LINE).
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// A line that names no patch.
    #[error("line {line}: {error}")]
    Id {
        /// The line number, counted from 1.
        line: u64,
        /// The fault in the id.
        error: PatchIdError,
    },
    /// A list that does not name patches.
    #[error("line {line}: the list after {word} is invalid: {error}")]
    List {
        /// The line number, counted from 1.
        line: u64,
        /// The word before the list: `Obsoletes:` or `Incompatibles:`.
        word: &'static str,
        /// The fault in the list.
        error: PatchListError,
    },
    /// A list that is not one of requirements.
    #[error("line {line}: the list after Requires: is invalid: {error}")]
    Requires {
        /// The line number, counted from 1.
        line: u64,
        /// The fault in the list.
        error: RequirementsError,
    },
}

/// Parses a listing.
pub fn parse(text: &[u8]) -> Result<Vec<ShowrevLine>, ShowrevError> {
    if text.len() > LARGEST_LISTING {
        return Err(ShowrevError::TooLarge);
    }
    let mut patches = Vec::new();
    for numbered in numbered_lines(text) {
        let (number, raw) = numbered?;
        let text = String::from_utf8_lossy(raw);
        if text.trim_start().starts_with(WORDS[0]) {
            patches.push(parse_line(&text, number)?);
        }
    }
    Ok(patches)
}

fn parse_line(text: &str, line: u64) -> Result<ShowrevLine, ShowrevError> {
    let [id, obsoletes, requires, incompatibles, packages] = parts(text);
    let list = |word, value| {
        PatchList::parse(value, PatchId::SEPARATOR).map_err(|error| ShowrevError::List { line, word, error })
    };
    let packages = packages.split([' ', '\t', ',']).filter(|name| !name.is_empty());
    Ok(ShowrevLine {
        id: PatchId::new(id).map_err(|error| ShowrevError::Id { line, error })?,
        obsoletes: list("Obsoletes:", obsoletes)?,
        requires: Requirements::parse(requires, PatchId::SEPARATOR)
            .map_err(|error| ShowrevError::Requires { line, error })?,
        incompatibles: list("Incompatibles:", incompatibles)?,
        packages: packages.map(str::to_owned).collect(),
    })
}

fn parts(text: &str) -> [&str; WORDS.len()] {
    let mut parts = [""; WORDS.len()];
    let mut end = text.len();
    for (part, word) in parts.iter_mut().zip(WORDS).rev() {
        let before = text.get(..end).unwrap_or_default();
        if let Some(at) = before.find(word) {
            *part = before.get(at + word.len()..).unwrap_or_default().trim();
            end = at;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patches_are_read_with_their_lists_and_nothing_else() {
        let text = b"Hostname: web1\nPatch: 139608-02 Obsoletes: 120220-01, 120222-31 Requires: 1-01 Incompatibles:  \
            Packages: SUNWemlxu, SUNWemlxs \r\nNo patches are installed\nPatch: ACME-web-03 Obsoletes:  Requires:  \
            Incompatibles:  Packages: ACMEa \n";
        let patches = parse(text).unwrap();
        assert_eq!(patches.len(), 2);
        assert_eq!(patches[0].obsoletes.to_string().replace(',', ""), "120220-01 120222-31");
        assert_eq!(patches[0].requires.iter().count(), 1);
        assert_eq!(patches[0].packages, ["SUNWemlxu", "SUNWemlxs"]);
        assert_eq!((patches[1].id.base(), &*patches[1].packages), ("ACME-web", &["ACMEa".to_owned()][..]));
        assert_eq!(parse(b"No patches are installed\n").unwrap(), []);
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_line() {
        let error = parse(b"\nPatch: ../x Obsoletes: \n").unwrap_err();
        assert!(matches!(error, ShowrevError::Id { line: 2, .. }), "{error}");
        let error = parse(b"Patch: 1-01 Obsoletes: what Requires: \n").unwrap_err();
        assert!(matches!(error, ShowrevError::List { line: 1, word: "Obsoletes:", .. }), "{error}");
        assert_eq!(parse(b"Patch: 1-01\n").unwrap()[0].packages, [""; 0]);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "(Patch: |Obsoletes: |Requires: |Packages: |[-0-9(|),\u{e9} ]|\n){0,30}") {
            let _ = parse(text.as_bytes());
        }
    }
}
