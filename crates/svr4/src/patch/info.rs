//! The record of one patch in an installed package: the value of the parameter `PATCH_INFO_<id>`.
//!
//! The reader accepts every form that the classic scripts write (runs of blanks, parts left out) and never
//! fails: it skips unreadable parts, because a record made years ago must not prevent a backout. The writer
//! produces one normal form.

use super::list::words;
use super::{PatchList, Requirements};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// The record of a patch in a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PatchInfo {
    /// The patch is applied.
    Installed(InstalledInfo),
    /// The patch was applied once and has been backed out; the record remains as history.
    BackedOut,
    /// The record has no known content.
    #[default]
    Empty,
}

/// The record of an applied patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstalledInfo {
    /// The time of application, as date(1) prints it, e.g. `Fri Nov 20 06:37:39 UTC 2026`, with single blanks
    /// between the words.
    pub date: String,
    /// The node name of the machine that applied it; empty if not recorded.
    pub host: String,
    /// The patches that it obsoletes.
    pub obsoletes: PatchList,
    /// The patches that it requires.
    pub requires: Requirements,
    /// The patches that it is incompatible with.
    pub incompatibles: PatchList,
}

/// The labels of a record's parts, in order.
const LABELS: [&str; 5] = ["Installed:", "From:", "Obsoletes:", "Requires:", "Incompatibles:"];

/// The value after a backout.
const BACKED_OUT: &str = "backed out";

impl PatchInfo {
    /// Parses a value. Words are separated by any run of blanks, tabs and newlines; a missing part is empty.
    pub fn parse(value: &str, separator: &str) -> Self {
        if value.split_ascii_whitespace().eq(BACKED_OUT.split(' ')) {
            return Self::BackedOut;
        }
        let Some([date, host, obsoletes, requires, incompatibles]) = parts(value) else {
            return Self::Empty;
        };
        Self::Installed(InstalledInfo {
            date: date.into_text(),
            host: host.into_text(),
            obsoletes: PatchList::parse_legible(words(obsoletes.text()), separator),
            requires: Requirements::parse_legible(requires.text(), separator),
            incompatibles: PatchList::parse_legible(words(incompatibles.text()), separator),
        })
    }

    /// Returns the record of an applied patch, or `None` for any other record.
    pub fn installed(&self) -> Option<&InstalledInfo> {
        match self {
            Self::Installed(installed) => Some(installed),
            Self::BackedOut | Self::Empty => None,
        }
    }
}

/// Returns the position of the label that a word starts with, and the text after it.
fn label(word: &str) -> Option<(usize, &str)> {
    let mut labels = LABELS.iter().enumerate();
    labels.find_map(|(place, label)| word.strip_prefix(label).map(|rest| (place, rest)))
}

/// Returns the text after each label, or `None` if there is no label. A repeated label and one out of order
/// are skipped.
fn parts(value: &str) -> Option<[InfoPart<'_>; 5]> {
    let mut parts: [InfoPart<'_>; 5] = Default::default();
    let mut at: Option<usize> = None;
    for word in value.split_ascii_whitespace() {
        let mut rest = word;
        // The text after a label without a blank may be the next label.
        while let Some((place, behind)) = label(rest) {
            if at.is_none_or(|at| at < place) {
                at = Some(place);
            }
            rest = behind;
        }
        if let Some(part) = at.and_then(|at| parts.get_mut(at)).filter(|_| !rest.is_empty()) {
            part.push(value, rest);
        }
    }
    at.map(|_| parts)
}

/// Words of a value with single blanks between them, borrowed from the value while it has the same form.
#[derive(Default)]
struct InfoPart<'v> {
    /// The range of the words in the value, while they are borrowed.
    place: Range<usize>,
    words: Cow<'v, str>,
}

impl<'v> InfoPart<'v> {
    /// Appends a word of `value`.
    fn push(&mut self, value: &'v str, word: &'v str) {
        let start = word.as_ptr().addr() - value.as_ptr().addr();
        let end = start + word.len();
        if self.words.is_empty() {
            *self = Self { place: start..end, words: word.into() };
            return;
        }
        let between = value.get(self.place.end..start);
        match (&mut self.words, value.get(self.place.start..end)) {
            (Cow::Borrowed(words), Some(longer)) if between == Some(" ") => *words = longer,
            (words, _) => {
                words.to_mut().push(' ');
                words.to_mut().push_str(word);
            }
        }
        self.place.end = end;
    }

    fn text(&self) -> &str {
        &self.words
    }

    fn into_text(self) -> String {
        self.words.into_owned()
    }
}

impl fmt::Display for PatchInfo {
    /// Formats the normal form: single blanks, none at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed(installed) => installed.fmt(f),
            Self::BackedOut => f.write_str(BACKED_OUT),
            Self::Empty => Ok(()),
        }
    }
}

impl fmt::Display for InstalledInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, host, obsoletes, requires, incompatibles } = self;
        let values = [date, host, &obsoletes.to_string(), &requires.to_string(), &incompatibles.to_string()];
        for (index, (label, value)) in LABELS.iter().zip(values).enumerate() {
            let gap = if index > 0 { " " } else { "" };
            let blank = if value.is_empty() { "" } else { " " };
            write!(f, "{gap}{label}{blank}{value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn installed(text: &str) -> InstalledInfo {
        match PatchInfo::parse(text, "-") {
            PatchInfo::Installed(installed) => installed,
            other => panic!("{text:?} is {other:?}"),
        }
    }

    #[test]
    fn the_four_shapes_of_the_classic_scripts_are_read() {
        let head = "Installed: Fri Nov 20 07:03:52 UTC 2026 From: vm           ";
        for (tail, normal) in [
            (
                "Obsoletes: 7-1 Requires: 1-1           Incompatibles: 2-1",
                "7-1 Requires: 1-1 Incompatibles: 2-1",
            ),
            ("Obsoletes: 7-1 Requires: 1-1 Incompatibles: ", "7-1 Requires: 1-1 Incompatibles:"),
            ("Obsoletes: 7-1 Requires: Incompatibles: 2-1", "7-1 Requires: Incompatibles: 2-1"),
            ("Obsoletes: 7-1 Requires: Incompatibles: ", "7-1 Requires: Incompatibles:"),
        ] {
            let info = PatchInfo::parse(&format!("{head}{tail}"), "-");
            let head = "Installed: Fri Nov 20 07:03:52 UTC 2026 From: vm Obsoletes: ";
            assert_eq!(info.to_string(), format!("{head}{normal}"));
        }
        let real = installed(
            "Installed: Mon Oct 27 08:52:07 PDT 2008 From: mum Obsoletes:  Requires:  Incompatibles:",
        );
        assert_eq!((real.date.as_str(), real.host.as_str()), ("Mon Oct 27 08:52:07 PDT 2008", "mum"));
        assert!(real.obsoletes.is_empty() && real.requires.is_empty() && real.incompatibles.is_empty());
    }

    #[test]
    fn parts_may_be_missing_and_separated_by_anything() {
        let short = installed("Installed:\n  Fri  Nov 20\tFrom: Obsoletes: 120220-01, 120222-31,125740-01");
        assert_eq!((short.date.as_str(), short.host.as_str()), ("Fri Nov 20", ""));
        assert_eq!(short.obsoletes.to_string(), "120220-01 120222-31 125740-01");
        let joined = installed("Installed: today From:web1 Requires:850-01 ( 1-1 | 2-1 )");
        assert_eq!(
            (joined.host.as_str(), joined.requires.to_string().as_str()),
            ("web1", "850-01 ( 1-1 | 2-1 )")
        );
        let misplaced = installed("Installed: today Requires: 850-01 Obsoletes: 7-1 Requires: junk 8-1");
        assert_eq!(misplaced.requires.to_string(), "850-01 7-1 8-1");
    }

    #[test]
    fn a_label_right_behind_another_one_is_a_label() {
        let record = installed("Installed:From: Obsoletes:90-01 Requires:Incompatibles:7-01");
        assert_eq!((record.date.as_str(), record.host.as_str()), ("", ""));
        assert_eq!(record.to_string(), "Installed: From: Obsoletes: 90-01 Requires: Incompatibles: 7-01");
    }

    #[test]
    fn a_backed_out_patch_and_an_empty_record_are_not_installed() {
        assert_eq!(PatchInfo::parse("backed out", "-"), PatchInfo::BackedOut);
        assert_eq!(PatchInfo::parse(" backed  out ", "-"), PatchInfo::BackedOut);
        for nothing in ["", "  ", "garbage", "backed out later"] {
            assert_eq!(PatchInfo::parse(nothing, "-"), PatchInfo::Empty);
        }
        assert_eq!(PatchInfo::BackedOut.to_string(), "backed out");
        assert!(PatchInfo::BackedOut.installed().is_none());
    }

    #[test]
    fn records_that_the_classic_tools_left_are_read_whole() {
        let goldens = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/goldens"));
        if !goldens.is_dir() {
            crate::skipped("records_that_the_classic_tools_left_are_read_whole: ../shared is not here");
            return;
        }
        let (mut directories, mut records) = (vec![goldens.to_owned()], 0);
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    directories.push(entry.path());
                } else if entry.file_name() == "pkginfo" {
                    let text = std::fs::read(entry.path()).unwrap();
                    for line in String::from_utf8_lossy(&text).lines() {
                        let Some((_, value)) =
                            line.strip_prefix("PATCH_INFO_").and_then(|line| line.split_once('='))
                        else {
                            continue;
                        };
                        let squeezed = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                        assert_eq!(PatchInfo::parse(value, "-").to_string(), squeezed);
                        records += 1;
                    }
                }
            }
        }
        assert!(records > 50, "only {records} records under {}", goldens.display());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            date in "([A-Z][a-z]{2} [0-9:]{1,8}){0,2}",
            host in "[a-z0-9.-]{0,8}",
            lists in "([0-9]{1,3}-[0-9]{2} ){0,5}",
            alternatives in "(\\( 1-1 \\| [2-9]-1 \\) ){0,2}",
        ) {
            let list = PatchList::parse(&lists, "-").unwrap();
            let info = PatchInfo::Installed(InstalledInfo {
                date,
                host,
                obsoletes: list.clone(),
                requires: Requirements::parse(&format!("{lists}{alternatives}"), "-").unwrap(),
                incompatibles: list,
            });
            prop_assert_eq!(PatchInfo::parse(&info.to_string(), "-"), info);
        }

        #[test]
        fn reading_never_panics(
            any in any::<String>(),
            likely in "((Installed|From|Obsoletes|Requires|Incompatibles):| |é|1-1|\\(|\\||,){0,20}",
        ) {
            let _ = PatchInfo::parse(&any, "-");
            let _ = PatchInfo::parse(&likely, "-");
        }
    }
}
