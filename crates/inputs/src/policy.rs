//! The policy of a root: the permanent decisions of its operator.

use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;

use regex::{Regex, bytes};

use crate::path_glob::PathGlob;
use crate::sign::DemandWord;
use crate::trial::TrialDuration;
use patchadm_changeset::plan::UndoFormat;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;

/// Compiled once, because a command reads several policies.
#[allow(clippy::expect_used)] // a constant pattern, compiled by a test
static RESTRICTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(Policy::RESTRICTED).expect("a constant pattern"));

/// The settings of `etc/patchadm/policy` (patchadm-policy(5)), each with its default; options of a command win.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which patches are restricted: matched against the base of their id.
    pub restricted: Regex,
    /// The separator between base and revision of a patch id.
    pub separator: String,
    /// How undo archives are compressed: `gz`, `Z` or `none`.
    pub undo_format: UndoFormat,
    /// Where undo archives are kept, when not in the save directory.
    pub undo_dir: Option<PathBuf>,
    /// The number of newest patches that keep their undo data after a run; `None` is no limit.
    pub undo_keep: Option<usize>,
    /// The most undo data that a root keeps after a run.
    pub undo_max: Option<UndoLimit>,
    /// The part of a file system, in percent, below which its free space is reported after a run; 0 is never.
    pub undo_warn: u8,
    /// The treatment of locally edited files.
    pub edited: Edited,
    /// Seconds to wait for the lock.
    pub wait: u64,
    /// How long applied patches are on trial where no command says otherwise; `None` for no trial.
    pub trial: Option<TrialDuration>,
    /// Patches that are never applied to this root.
    pub exclude: Vec<String>,
    /// Which scripts of packages and patches may run.
    pub scripts: ScriptPolicy,
    /// Seconds that one script may take; 0 is no limit.
    pub script_timeout: u64,
    /// The demand on the signatures of patches; by default `require` if the root has a key.
    pub signature: Option<DemandWord>,
    /// The directory of the keys that the root trusts, inside it.
    pub keys: ObjectPath,
    /// Whether the policy names that directory, which then must be there.
    pub names_keys: bool,
    /// The depot that serves what is required, as it was named.
    pub depot: Option<String>,
    /// A file of certificates of authorities that count beside those of the system.
    pub ca: Option<PathBuf>,
    /// The proxy for all addresses, as `host:port`.
    pub proxy: Option<String>,
    /// The directory of the cache.
    pub cache: Option<PathBuf>,
    /// The size of the cache, in bytes.
    pub cache_limit: u64,
    /// Packages whose patches go before all others.
    pub first: Vec<String>,
    /// The part of the live objects of a promoted path that a promotion may delete.
    pub max_delete: DeleteLimit,
    /// Objects that a promotion neither compares nor takes.
    pub promote_exclude: Vec<PathGlob>,
    /// The program of the root that runs before a promotion or its backout.
    pub promote_before: Option<ObjectPath>,
    /// The program of the root that runs when a promotion or its backout is switched, before it is committed.
    pub promote_after: Option<ObjectPath>,
    /// The treatment of libraries that a change takes away from their consumers.
    pub shlibs: LibraryWords,
    /// Libraries that always count as needed.
    pub shlib_keep: Vec<PathGlob>,
    /// Paths that a search for libraries skips.
    pub shlib_skip: Vec<PathGlob>,
    /// Paths that are searched although they are on a network file system or are a root of their own.
    pub shlib_scan: Vec<ObjectPath>,
    /// What becomes of an upgrade by the package manager of the system that would lose the fix of a patch.
    pub native_upgrade: NativeUpgrade,
    /// Whether native packages that a patch is for are adopted with it, without being asked to.
    pub adopts: bool,
    /// Roots whose owners may do anything as the superuser here; in the policy of the host only.
    pub trusted_roots: RootPatterns,
    /// Roots that are changed as their owners; in the policy of the host only.
    pub as_owner_roots: RootPatterns,
    /// Roots that do not count as the superuser's, regardless of the owners that they show; in the policy of the host only.
    pub untrusted_roots: RootPatterns,
}

/// Which procedure scripts may run in a root, the strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ScriptPolicy {
    /// All that a package has.
    #[default]
    Run,
    /// Those that come with this program or the system, scripts of standard classes, and the stock scripts of
    /// patches. A package that brings other scripts is refused.
    Known,
    /// None: a package that needs a script is refused.
    None,
    /// None, because the command line says so and not the policy.
    Unwanted,
}

/// The treatment of a file that the administrator edited and a patch replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Edited {
    /// Nothing is changed; every such file is listed.
    #[default]
    Stop,
    /// It is replaced; the edited one goes into the undo archive.
    Replace,
    /// It stays; the patch's version is put beside it.
    Keep,
}

/// What becomes of an upgrade by the package manager of the system that would lose the fix of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NativeUpgrade {
    /// It is told, and goes on.
    #[default]
    Warn,
    /// It is stopped before anything is changed.
    Stop,
}

impl Policy {
    /// The pattern for restricted patches where the policy names none: test patches and relief patches.
    pub const RESTRICTED: &str = "^(T|IDR)[0-9]";

    /// The size of the cache where the policy names none, in bytes: 2 GiB.
    pub const CACHE_LIMIT: u64 = 2 << 30;

    /// The percentage of free space that is reported where the policy names none.
    pub const UNDO_WARN: u8 = 10;

    /// Tells whether a patch with this base is restricted.
    pub fn is_restricted(&self, base: &str) -> bool {
        self.restricted.is_match(base)
    }

    /// The policy of another root within the bounds of the running system's own one, `host`: no root lets more scripts
    /// run than the host does, or says what is fetched from where.
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

/// The part of the live objects of a path that may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteLimit {
    /// So many objects.
    Objects(usize),
    /// So many of a hundred.
    Percent(u8),
}

impl Default for DeleteLimit {
    fn default() -> Self {
        Self::Percent(25)
    }
}

impl DeleteLimit {
    /// Reads `N` or `N%`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent),
            None => text.parse().ok().map(Self::Objects),
        }
    }

    /// Tells whether so many of the live objects may be deleted.
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

/// The treatment of libraries that a change takes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LibraryWords {
    /// They stay for those who still need them.
    pub keep: bool,
    /// A change is refused if a consumer loses a library.
    pub stop: bool,
}

impl LibraryWords {
    /// Reads `report`, `keep`, `stop` or `keep,stop`.
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

    /// Returns the words, `report` where there is none.
    pub fn names(self) -> Vec<&'static str> {
        let words = [(self.keep, "keep"), (self.stop, "stop")];
        let words: Vec<&str> = words.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word).collect();
        if words.is_empty() { vec!["report"] } else { words }
    }
}

/// Patterns for physical paths of roots; `*` stands for any letters but `/`.
#[derive(Clone, Debug, Default)]
pub struct RootPatterns(Vec<bytes::Regex>);

impl RootPatterns {
    /// Reads patterns between blanks or commas; each must be an absolute path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
        words.map(pattern).collect::<Result<_, _>>().map(Self)
    }

    /// Tells whether one of them names the directory at this physical path.
    pub fn name(&self, path: &[u8]) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(path))
    }

    /// Tells whether one of them names the directory at this physical path, or one above it.
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
