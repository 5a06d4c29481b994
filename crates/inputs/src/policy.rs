use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;

use regex::{Regex, bytes};
use serde::{Serialize, Serializer};

use crate::path_glob::PathGlob;
use crate::sign::DemandWord;
use crate::trial::TrialDuration;
use patchadm_changeset::plan::UndoFormat;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

/// Compiled once: a command reads several policies.
#[allow(clippy::expect_used)] // a constant pattern, compiled by a test
static RESTRICTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(Policy::RESTRICTED).expect("a constant pattern"));

/// The settings of `etc/patchadm/policy` (patchadm-policy(5)) with their defaults. Options of a command take
/// precedence.
#[derive(Clone, Debug)]
pub struct Policy {
    /// For the bases of restricted patches.
    pub restricted: Regex,
    /// Between base and revision of a patch id.
    pub separator: String,
    /// `gz`, `Z` or `none`.
    pub undo_format: UndoFormat,
    /// Instead of the save directory.
    pub undo_dir: Option<PathBuf>,
    /// The newest patches that keep their undo data after a run; `None` is no limit.
    pub undo_keep: Option<usize>,
    /// After a run.
    pub undo_max: Option<UndoLimit>,
    /// Percentage of free space below which a file system is reported after a run; 0 is never.
    pub undo_warn: u8,
    pub edited: Edited,
    /// Seconds to wait for the lock.
    pub wait: u64,
    /// `None` for no trial.
    pub trial: Option<TrialDuration>,
    pub exclude: Vec<String>,
    pub scripts: ScriptPolicy,
    /// In seconds; 0 is no limit.
    pub script_timeout: u64,
    /// By default `require` if the root has a key.
    pub signature: Option<DemandWord>,
    /// Inside the root.
    pub keys: ObjectPath,
    /// A named directory must exist.
    pub names_keys: bool,
    /// As named; provides required patches.
    pub depot: Option<String>,
    /// Additional certificates of authorities.
    pub ca: Option<PathBuf>,
    /// For all addresses, as `host:port`.
    pub proxy: Option<String>,
    pub cache: Option<PathBuf>,
    /// In bytes.
    pub cache_limit: u64,
    /// Patched before all others.
    pub first: Vec<String>,
    /// Limits the live objects of a promoted path that a promotion may delete.
    pub max_delete: DeleteLimit,
    /// Ignored by promotions.
    pub promote_exclude: Vec<PathGlob>,
    /// A program of the root that runs before a promotion or its backout.
    pub promote_before: Option<ObjectPath>,
    /// A program of the root that runs after a promotion or its backout was switched, before the commit.
    pub promote_after: Option<ObjectPath>,
    pub shlibs: LibraryWords,
    /// Always count as needed.
    pub shlib_keep: Vec<PathGlob>,
    /// Skipped by a search for libraries.
    pub shlib_skip: Vec<PathGlob>,
    /// Searched although they are on a network file system or are separate roots.
    pub shlib_scan: Vec<ObjectPath>,
    /// For upgrades that would lose the fix of a patch.
    pub native_upgrade: NativeUpgrade,
    /// Native packages are adopted together with a patch for them.
    pub adopts: bool,
    /// Their owners may act as superuser here. Host policy only.
    pub trusted_roots: RootPatterns,
    /// Changed with the rights of their owners. Host policy only.
    pub as_owner_roots: RootPatterns,
    /// Not the superuser's, whatever owner they show. Host policy only.
    pub untrusted_roots: RootPatterns,
}

/// Strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ScriptPolicy {
    #[default]
    Run,
    /// Scripts of this program or the system, of standard classes, and stock scripts of patches. A package with others
    /// is refused.
    Known,
    /// Refuses a package that needs a script.
    None,
    /// The command line forbids scripts.
    Unwanted,
}

/// For locally edited files that a patch replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Edited {
    /// Changes nothing, and lists all such files.
    #[default]
    Stop,
    /// The undo archive saves the edited file.
    Replace,
    /// The patch's version is put beside it.
    Keep,
}

/// For upgrades that would lose the fix of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NativeUpgrade {
    #[default]
    Warn,
    Stop,
}

impl Policy {
    /// Test patches and relief patches.
    pub const RESTRICTED: &str = "^(T|IDR)[0-9]";

    /// 2 GiB.
    pub const CACHE_LIMIT: u64 = 2 << 30;

    pub const UNDO_WARN: u8 = 10;

    pub fn is_restricted(&self, base: &str) -> bool {
        self.restricted.is_match(base)
    }

    pub fn excludes(&self, id: &PatchId) -> bool {
        is_listed(&self.exclude, &self.separator, id)
    }

    /// Bounded by the running system (`host`): no root may run more scripts than the host, or decide what is fetched
    /// from where.
    #[must_use]
    pub fn bounded_by(self, host: &Self) -> Self {
        Self {
            scripts: self.scripts.max(host.scripts),
            depot: host.depot.clone(),
            ca: host.ca.clone(),
            proxy: host.proxy.clone(),
            cache: host.cache.clone(),
            cache_limit: host.cache_limit,
            ..self
        }
    }
}

/// Returns true if one of the words names the patch, with its revision or without.
pub fn is_listed(words: &[String], separator: &str, id: &PatchId) -> bool {
    let mut words = words.iter();
    words.any(|word| word == id.base() || PatchId::parse(word, separator).is_ok_and(|listed| listed == *id))
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restricted: RESTRICTED.clone(),
            separator: "-".to_owned(),
            undo_format: UndoFormat::default(),
            undo_dir: None,
            undo_keep: None,
            undo_max: None,
            undo_warn: Self::UNDO_WARN,
            edited: Edited::default(),
            wait: 0,
            trial: None,
            exclude: Vec::new(),
            scripts: ScriptPolicy::default(),
            script_timeout: 3600,
            depot: None,
            ca: None,
            proxy: None,
            cache: None,
            cache_limit: Self::CACHE_LIMIT,
            first: vec!["SUNWswmt".to_owned()],
            max_delete: DeleteLimit::default(),
            promote_exclude: Vec::new(),
            promote_before: None,
            promote_after: None,
            shlibs: LibraryWords::default(),
            shlib_keep: Vec::new(),
            shlib_skip: Vec::new(),
            shlib_scan: Vec::new(),
            native_upgrade: NativeUpgrade::default(),
            adopts: false,
            signature: None,
            keys: places::keys(),
            names_keys: false,
            trusted_roots: RootPatterns::default(),
            as_owner_roots: RootPatterns::default(),
            untrusted_roots: RootPatterns::default(),
        }
    }
}

/// The part of live objects of a path that may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteLimit {
    Objects(usize),
    Percent(u8),
}

impl Default for DeleteLimit {
    fn default() -> Self {
        Self::Percent(25)
    }
}

impl DeleteLimit {
    /// Parses `N` or `N%`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent),
            None => text.parse().ok().map(Self::Objects),
        }
    }

    pub fn allows(self, deleted: usize, live: usize) -> bool {
        match self {
            Self::Objects(most) => deleted <= most,
            Self::Percent(percent) => {
                deleted.saturating_mul(100) <= live.saturating_mul(usize::from(percent))
            }
        }
    }
}

impl fmt::Display for DeleteLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Objects(most) => write!(f, "{most}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

const UNITS: [char; 4] = ['K', 'M', 'G', 'T'];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoLimit {
    Bytes(u64),
    Percent(u8),
}

impl UndoLimit {
    /// Parses a size, or `N%`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.ends_with('%') {
            percentage(text).map(Self::Percent)
        } else {
            byte_size(text).map(Self::Bytes)
        }
    }

    /// Returns the limit in bytes on a file system of this size.
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

/// Parses a size: a number of bytes, or a number with K, M, G or T and optionally `iB`.
pub fn byte_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("<{}> is not a size: write 500M, 2G or a number of bytes", text.escape_debug());
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

/// Parses `N%` with a whole number up to 100.
pub fn percentage(text: &str) -> Result<u8, String> {
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let percent = digits.and_then(|digits| digits.parse().ok()).filter(|percent| *percent <= 100);
    percent.ok_or_else(|| format!("<{}> is not a percentage from 0% to 100%", text.escape_debug()))
}

/// For libraries that a change takes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LibraryWords {
    /// For objects that still need them.
    pub keep: bool,
    /// Refuse a change by which an object would lose a library.
    pub stop: bool,
}

impl LibraryWords {
    /// Parses `report`, `keep`, `stop` or `keep,stop`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = Self::default();
        for word in text.split(',') {
            match word {
                "report" if text == "report" => {}
                "keep" if !words.keep => words.keep = true,
                "stop" if !words.stop => words.stop = true,
                _ => return None,
            }
        }
        Some(words)
    }

    /// Returns the words, or `report` for none.
    pub fn names(self) -> Vec<&'static str> {
        let words = [(self.keep, "keep"), (self.stop, "stop")];
        let words: Vec<&str> = words.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word).collect();
        if words.is_empty() { vec!["report"] } else { words }
    }
}

impl Serialize for LibraryWords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(serializer)
    }
}

/// For physical paths of roots; `*` matches anything but `/`.
#[derive(Clone, Debug, Default)]
pub struct RootPatterns(Vec<bytes::Regex>);

impl RootPatterns {
    /// Parses patterns between blanks or commas; each must be an absolute path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
        words.map(pattern).collect::<Result<_, _>>().map(Self)
    }

    pub fn name(&self, path: &[u8]) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(path))
    }

    /// The path, or a directory above it.
    pub fn name_it_or_above(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(at, byte)| *at > 0 && **byte == b'/');
        let above = slashes.filter_map(|(at, _)| path.get(..at));
        above.chain([path, b"/"]).any(|path| self.name(path))
    }
}

fn pattern(word: &str) -> Result<bytes::Regex, String> {
    if !word.starts_with('/') {
        return Err(format!("<{word}> is not an absolute path"));
    }
    let tidy = if word.len() > 1 { word.trim_end_matches('/') } else { word };
    let pieces: Vec<String> = tidy.split('*').map(regex::escape).collect();
    let text = format!("^(?-u:{})$", pieces.join("[^/]*"));
    bytes::RegexBuilder::new(&text)
        .dot_matches_new_line(true)
        .size_limit(1 << 20)
        .build()
        .map_err(|_| format!("<{word}> is too long for a pattern"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_a_root_can_only_be_stricter_than_that_of_the_host() {
        use ScriptPolicy::{Known, None, Run};
        for (own, host, both) in [
            (Run, Run, Run),
            (Run, Known, Known),
            (Known, Run, Known),
            (None, Known, None),
            (Known, None, None),
        ] {
            let policy = |scripts| Policy { scripts, ..Policy::default() };
            assert_eq!(policy(own).bounded_by(&policy(host)).scripts, both, "{own:?} within {host:?}");
        }
    }

    #[test]
    fn test_and_relief_patches_are_restricted_by_default() {
        let policy = Policy::default();
        assert!(policy.is_restricted("IDR148363") && policy.is_restricted("T103300"));
        assert!(!policy.is_restricted("105181") && !policy.is_restricted("TOOLS"));
    }

    #[test]
    fn a_patch_is_excluded_by_its_id_or_its_base() {
        let exclude = vec!["100".to_owned(), "200_02".to_owned(), "400-01".to_owned()];
        let policy = Policy { exclude, separator: "_".to_owned(), ..Policy::default() };
        let is_excluded = |id: &str| policy.excludes(&PatchId::parse(id, "_").unwrap());
        assert!(is_excluded("100_01") && is_excluded("100_07") && is_excluded("200_02"));
        assert!(!is_excluded("200_03") && !is_excluded("300_01") && !is_excluded("400_01"));
    }

    #[test]
    fn a_limit_is_a_number_or_a_percentage() {
        assert_eq!(DeleteLimit::parse("25%"), Some(DeleteLimit::Percent(25)));
        assert_eq!(DeleteLimit::parse("7"), Some(DeleteLimit::Objects(7)));
        for bad in ["", "%", "-1", "101%", "1.5%", "x"] {
            assert_eq!(DeleteLimit::parse(bad), None, "{bad}");
        }
    }

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

    #[test]
    fn the_words_are_report_keep_stop_and_both() {
        let names = |text| LibraryWords::parse(text).map(LibraryWords::names);
        assert_eq!(names("report"), Some(vec!["report"]));
        assert_eq!(names("stop,keep"), Some(vec!["keep", "stop"]));
        for bad in ["", "keep,", "keep,keep", "report,keep", "Keep"] {
            assert_eq!(names(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_star_stays_between_two_slashes() {
        let patterns = RootPatterns::parse("/zones/*/root, /images/a.b/").unwrap();
        for (path, named) in [
            ("/zones/a/root", true),
            ("/zones/a/b/root", false),
            ("/zones/a/root/x", false),
            ("/images/a.b", true),
            ("/images/axb", false),
        ] {
            assert_eq!(patterns.name(path.as_bytes()), named, "{path}");
        }
        assert!(patterns.name(b"/zones/\xff\n/root"), "paths are bytes");
        assert!(patterns.name_it_or_above(b"/zones/a/root/x/y"));
        assert!(!patterns.name_it_or_above(b"/zones/a"));
    }

    #[test]
    fn a_pattern_is_an_absolute_path() {
        assert_eq!(RootPatterns::parse("zones").unwrap_err(), "<zones> is not an absolute path");
        assert!(!RootPatterns::default().name(b"/"));
    }
}
