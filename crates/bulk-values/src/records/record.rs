//! A record, its fields, and the names and dependencies that records share.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use foldhash::HashMap;

use super::names::{LocationError, PkgName, RecipeLocation, shown};

/// A package of a recipe. Known fields have been checked; all others are as printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeRecord {
    pub(super) pkgname: PkgName,
    pub(super) location: RecipeLocation,
    /// Fields after `PKGNAME`, one per line, without `SCAN_DEPENDS` and fields that this crate writes.
    pub(super) text: Box<str>,
    pub(super) all_depends: Box<[Arc<RecipeDependency>]>,
    /// Indices in `all_depends` that `RUN_DEPENDS` names; `None` without that field.
    pub(super) run_depends: Option<Box<[u32]>>,
    /// Numbers of the files that the scan read.
    pub(super) scan_depends: Box<[u32]>,
    /// Offset of `SCAN_DEPENDS` in the text, if there is one.
    pub(super) scan_depends_at: Option<usize>,
    pub(super) weight: u32,
    /// True for a failed location; its `PKG_FAIL_REASON` has the reason.
    pub(super) is_failed_scan: bool,
    pub(super) is_of_pbulk: bool,
}

impl RecipeRecord {
    pub fn pkgname(&self) -> &PkgName {
        &self.pkgname
    }

    pub fn location(&self) -> &RecipeLocation {
        &self.location
    }

    /// Fields after `PKGNAME` as the recipe ordered them, without `SCAN_DEPENDS`.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.lines().filter_map(|line| line.split_once('='))
    }

    /// Returns a trimmed value, empty if absent. The first of two fields with one name counts, as in pbulk.
    pub fn field(&self, name: &str) -> &str {
        self.fields()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.trim_ascii())
            .unwrap_or_default()
    }

    /// Build dependencies, in the order of `ALL_DEPENDS`.
    pub fn all_depends(&self) -> &[Arc<RecipeDependency>] {
        &self.all_depends
    }

    /// True if `RUN_DEPENDS` names this entry of `ALL_DEPENDS`, or is absent.
    pub fn is_run_depends(&self, place: usize) -> bool {
        let named = |places: &[u32]| places.binary_search_by_key(&place, |&named| named as usize).is_ok();
        self.run_depends.as_deref().is_none_or(named)
    }

    /// Why the package is not to be built here, if so.
    pub fn skip_reason(&self) -> Option<&str> {
        Some(self.field("PKG_SKIP_REASON")).filter(|reason| !reason.is_empty())
    }

    /// Why the package cannot be built, if known.
    pub fn fail_reason(&self) -> Option<&str> {
        Some(self.field("PKG_FAIL_REASON")).filter(|reason| !reason.is_empty())
    }

    /// True if the record stands for a failed scan.
    pub fn is_failed_scan(&self) -> bool {
        self.is_failed_scan
    }

    /// The work of a build, relative to the usual 100.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Checks `RESTRICTED` and `NO_BIN_ON_FTP`.
    pub fn is_restricted(&self) -> bool {
        !self.field("RESTRICTED").is_empty() || !self.field("NO_BIN_ON_FTP").is_empty()
    }

    /// Empty if absent. May have any characters but line ends.
    pub fn maintainer(&self) -> &str {
        self.field("MAINTAINER")
    }

    pub fn categories(&self) -> impl Iterator<Item = &str> {
        self.field("CATEGORIES").split_ascii_whitespace()
    }

    /// Paths that may differ between two builds, each optionally with a pattern of lines.
    pub fn varies(&self) -> impl Iterator<Item = &str> {
        self.field("VARIES").split_ascii_whitespace()
    }

    /// Upstream files that the recipe needs.
    pub fn distfiles(&self) -> Vec<Distfile<'_>> {
        distfiles(self.field("DISTFILES"), self.field("DISTURL")).unwrap_or_default()
    }

    /// Variables that select this package among those of its recipe.
    pub fn multi_version(&self) -> Vec<(&str, &str)> {
        pairs("MULTI_VERSION", self.field("MULTI_VERSION")).unwrap_or_default()
    }

    /// Limits that the recipe asks for, as written.
    pub fn limits(&self) -> Vec<(&str, &str)> {
        pairs("LIMITS", self.field("LIMITS")).unwrap_or_default()
    }
}

/// A dependency: a pattern, and where the recipe expects a match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecipeDependency {
    /// As written, not checked here.
    pub pattern: Box<str>,
    /// Below the top of the tree.
    pub location: Option<RecipeLocation>,
}

impl RecipeDependency {
    /// Parses `PATTERN` or `PATTERN:LOCATION`. A version may contain `:`; the location follows the last one.
    pub(super) fn parse(entry: &str, recipe: &RecipeLocation) -> Result<Self, LocationError> {
        let Some((pattern, reference)) = entry.rsplit_once(':') else {
            return Ok(Self { pattern: entry.into(), location: None });
        };
        Ok(Self { pattern: pattern.into(), location: Some(recipe.resolve(reference)?) })
    }
}

/// Returns the base of relative locations in an entry: the recipe. In pbulk files `../../` leads to the top of the
/// tree, however deep the recipe is.
pub(super) fn base_of(entry: &str, recipe: &RecipeLocation, is_of_pbulk: bool) -> RecipeLocation {
    let is_from_top = entry.rsplit_once(':').is_some_and(|(_, reference)| reference.starts_with("../../"));
    let two_deep = || RecipeLocation::parse("category/package").ok();
    two_deep().filter(|_| is_of_pbulk && is_from_top).unwrap_or_else(|| recipe.clone())
}

impl fmt::Display for RecipeDependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "{}:{location}", self.pattern),
            None => f.write_str(&self.pattern),
        }
    }
}

const USUAL_WEIGHT: u32 = 100;

/// An upstream file, from `DISTFILES` and `DISTURL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distfile<'a> {
    /// Relative path without `.` and `..`.
    pub name: &'a str,
    pub sha256: [u8; 32],
    pub size: u64,
    pub url: Option<&'a str>,
}

/// A known field with an impossible value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: <{text}> {reason}")]
pub struct RecordFieldError {
    pub field: &'static str,
    /// The beginning of the wrong part.
    pub text: String,
    pub reason: &'static str,
}

fn refuse(field: &'static str, text: &str, reason: &'static str) -> RecordFieldError {
    RecordFieldError { field, text: shown(text), reason }
}

const MOST_DISTFILES: usize = 1_000;

/// The longest name of a distfile in bytes, and the most components. Each but the last one becomes a directory.
const LONGEST_DISTFILE: usize = 255;
const MOST_COMPONENTS: usize = 8;

/// Parses `DISTFILES` (`NAME:SHA256:SIZE` …) and `DISTURL` (one URL each, in the same order).
pub(super) fn distfiles<'a>(files: &'a str, urls: &'a str) -> Result<Vec<Distfile<'a>>, RecordFieldError> {
    if let Some(entry) = files.split_ascii_whitespace().nth(MOST_DISTFILES) {
        return Err(refuse("DISTFILES", entry, "is one more than the 1000 files of a record"));
    }
    let mut urls = urls.split_ascii_whitespace();
    let files = files.split_ascii_whitespace().map(|entry| distfile(entry, urls.next()));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    match urls.next() {
        Some(url) => Err(refuse("DISTURL", url, "belongs to no file of DISTFILES")),
        None => Ok(files),
    }
}

/// The directory of distfiles named by their SHA-256. No record names a file there.
pub const BY_DIGEST: &str = "by-sha256";

fn distfile<'a>(entry: &'a str, url: Option<&'a str>) -> Result<Distfile<'a>, RecordFieldError> {
    let form = || refuse("DISTFILES", entry, "is not NAME:SHA256:SIZE");
    let (rest, size) = entry.rsplit_once(':').ok_or_else(form)?;
    let (name, sha256) = rest.rsplit_once(':').ok_or_else(form)?;
    let is_number = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
    let size = size.parse().ok().filter(|_| is_number).ok_or_else(form)?;
    let sha256 = parse_sha256(sha256).ok_or_else(form)?;
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    // Files by digest have their own directory, incomplete files have hidden names.
    let is_reserved = name.starts_with('.') || name.split('/').next() == Some(BY_DIGEST);
    if is_reserved || !name.split('/').all(is_part) {
        return Err(refuse("DISTFILES", name, "is not a valid file name below the distfiles"));
    }
    if name.len() > LONGEST_DISTFILE || name.split('/').count() > MOST_COMPONENTS {
        return Err(refuse("DISTFILES", name, "has more than 255 bytes or 8 components"));
    }
    Ok(Distfile { name, sha256, size, url })
}

/// Also accepts uppercase hexadecimal digits.
pub fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    if digits.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(value(*high)? << 4 | value(*low)?).ok()?;
    }
    Some(bytes)
}

pub(super) fn pairs<'a>(
    field: &'static str,
    value: &'a str,
) -> Result<Vec<(&'a str, &'a str)>, RecordFieldError> {
    let is_name = |name: &str| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let pair = |entry: &'a str| {
        let pair = entry.split_once('=').filter(|(name, _)| is_name(name));
        pair.ok_or_else(|| refuse(field, entry, "is not NAME=VALUE"))
    };
    value.split_ascii_whitespace().map(pair).collect()
}

const MOST_VARYING: usize = 100;
const LONGEST_VARYING: usize = 1024;

/// Checks the size of `VARIES`: each rule is compared with every object and line of a result.
pub(super) fn check_varies(value: &str) -> Result<(), RecordFieldError> {
    if let Some(rule) = value.split_ascii_whitespace().nth(MOST_VARYING) {
        return Err(refuse("VARIES", rule, "is one more than the 100 items of a record"));
    }
    match value.split_ascii_whitespace().find(|rule| rule.len() > LONGEST_VARYING) {
        Some(rule) => Err(refuse("VARIES", rule, "has more than 1024 bytes")),
        None => Ok(()),
    }
}

pub(super) fn weight(value: &str) -> Result<u32, RecordFieldError> {
    let value = value.trim_ascii();
    if value.is_empty() {
        return Ok(USUAL_WEIGHT);
    }
    let number = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten();
    number.ok_or_else(|| refuse("PBULK_WEIGHT", value, "is not a whole number"))
}

/// File names of records, numbered in order of first use.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordFileNames {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl RecordFileNames {
    pub(super) fn number_of(&mut self, name: &str) -> Option<u32> {
        if let Some(&number) = self.numbers.get(name) {
            return Some(number);
        }
        let number = u32::try_from(self.names.len()).ok()?;
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        Some(number)
    }

    pub(super) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map(|name| &**name).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dependencies {
    /// By depth of the recipe and text, for entries with the same meaning in all recipes of that depth.
    known: HashMap<Box<str>, Arc<RecipeDependency>>,
    key: String,
}

impl Dependencies {
    pub(super) fn of(
        &mut self,
        entry: &str,
        recipe: &RecipeLocation,
    ) -> Result<Arc<RecipeDependency>, LocationError> {
        let depth = recipe.as_str().matches('/').count() + 1;
        self.key.clear();
        let is_common = is_independent(entry, depth);
        let base = if is_common { "" } else { recipe.as_str() };
        // Writing to a string cannot fail.
        let _ = write!(self.key, "{depth} {base} {entry}");
        if let Some(known) = self.known.get(self.key.as_str()) {
            return Ok(Arc::clone(known));
        }
        let dependency = Arc::new(RecipeDependency::parse(entry, recipe)?);
        self.known.insert(self.key.as_str().into(), Arc::clone(&dependency));
        Ok(dependency)
    }
}

/// True if an entry means the same in all recipes of a depth: without a location, or from the top of the tree.
fn is_independent(entry: &str, depth: usize) -> bool {
    let Some((_, mut reference)) = entry.rsplit_once(':') else { return true };
    if !reference.starts_with('.') {
        return true;
    }
    let mut steps = 0;
    while let Some(rest) = reference.strip_prefix("../") {
        (reference, steps) = (rest, steps + 1);
    }
    steps == depth
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_distfile_has_a_name_a_digest_a_size_and_perhaps_a_url() {
        let text = format!("a-1.tar.gz:{SHA256}:12 sub/b:2:{SHA256}:0");
        let files = distfiles(&text, "https://example.org/a-1.tar.gz").unwrap();
        let digest: [u8; 32] = files[0].sha256;
        assert_eq!((digest[0], digest[31]), (0xe3, 0x55));
        assert_eq!((files[0].name, files[0].size), ("a-1.tar.gz", 12));
        assert_eq!(files[0].url, Some("https://example.org/a-1.tar.gz"));
        assert_eq!((files[1].name, files[1].size, files[1].url), ("sub/b:2", 0, None));
    }

    #[test]
    fn a_distfile_of_another_form_is_refused() {
        let short = &SHA256[1..];
        for bad in [
            "a".to_owned(),
            format!("a:{SHA256}"),
            format!("a:{SHA256}:"),
            format!("a:{SHA256}:+1"),
            format!("a:{SHA256}:99999999999999999999"),
            format!("a:{short}:1"),
            format!("a:{SHA256}0:1"),
            format!("a:{short}é:1"),
            format!("../a:{SHA256}:1"),
            format!("/a:{SHA256}:1"),
            format!("a/./b:{SHA256}:1"),
            format!(":{SHA256}:1"),
            format!("by-sha256:{SHA256}:1"),
            format!("by-sha256/{SHA256}:{SHA256}:1"),
            format!(".fetch-0:{SHA256}:1"),
            format!("\u{1b}a:{SHA256}:1"),
        ] {
            assert!(distfiles(&bad, "").is_err(), "{bad}");
        }
        let error = distfiles("", "https://example.org/a").unwrap_err();
        assert_eq!(error.to_string(), "DISTURL: <https://example.org/a> belongs to no file of DISTFILES");
    }

    #[test]
    fn a_distfile_has_few_components_and_a_record_has_few_distfiles() {
        let with = |name: &str| distfiles(&format!("{name}:{SHA256}:1"), "").map(|files| files.len());
        assert_eq!(with(&format!("{}x", "a/".repeat(7))), Ok(1));
        assert_eq!(with(&"x".repeat(255)), Ok(1));
        for bad in [format!("{}x", "a/".repeat(8)), "x".repeat(256), format!("{}x", "a/".repeat(1600))] {
            let error = with(&bad).unwrap_err();
            assert_eq!(error.reason, "has more than 255 bytes or 8 components", "{bad}");
        }
        let many = |count: usize| {
            let entries = (0..count).map(|number| format!("n{number}:{SHA256}:1"));
            entries.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(distfiles(&many(1_000), "").map(|files| files.len()), Ok(1_000));
        let error = distfiles(&many(1_001), "").unwrap_err();
        assert_eq!(error.reason, "is one more than the 1000 files of a record");
    }

    #[test]
    fn a_record_has_few_and_short_items_that_vary() {
        assert_eq!(check_varies(&"opt/x#*a ".repeat(100)), Ok(()));
        let reason = |value: &str| check_varies(value).unwrap_err().reason;
        assert_eq!(reason(&"opt/x ".repeat(101)), "is one more than the 100 items of a record");
        assert_eq!(check_varies(&"x".repeat(1024)), Ok(()));
        assert_eq!(reason(&format!("opt/x#*{}b", "a".repeat(20_000))), "has more than 1024 bytes");
    }

    #[test]
    fn a_list_of_pairs_has_names_and_values() {
        let found = pairs("MULTI_VERSION", " PYTHON_VERSION_REQD=313 X=").unwrap();
        assert_eq!(found, [("PYTHON_VERSION_REQD", "313"), ("X", "")]);
        for bad in ["X", "=1", "1X=1", "a-b=1"] {
            assert!(pairs("LIMITS", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_weight_is_a_whole_number_and_usually_100() {
        assert_eq!(weight("").unwrap(), 100);
        assert_eq!(weight(" 4000 ").unwrap(), 4000);
        for bad in ["+1", "-1", "1.5", "x", "4294967296"] {
            assert!(weight(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_has_one_number_however_often_it_is_named() {
        let mut files = RecordFileNames::default();
        let numbers: Vec<u32> = ["a", "b", "a"].iter().map(|name| files.number_of(name).unwrap()).collect();
        assert_eq!(numbers, [0, 1, 0]);
        assert_eq!((files.name(1), files.name(7), files.len()), ("b", "", 2));
    }

    #[test]
    fn a_dependency_is_shared_by_all_recipes_to_which_it_means_the_same() {
        let mut dependencies = Dependencies::default();
        let mut of = |recipe: &str, entry: &str| {
            dependencies.of(entry, &RecipeLocation::parse(recipe).unwrap()).unwrap()
        };
        let one = of("net/curl", "zlib>=1:../../devel/zlib");
        assert!(Arc::ptr_eq(&one, &of("www/wget", "zlib>=1:../../devel/zlib")));
        assert_eq!(of("a/b/c", "zlib>=1:../../devel/zlib").to_string(), "zlib>=1:a/devel/zlib");
        assert_eq!(of("net/curl", "x>1:../y").to_string(), "x>1:net/y");
        assert_eq!(of("www/curl", "x>1:../y").to_string(), "x>1:www/y");
        assert!(Arc::ptr_eq(&of("a/b", "x"), &of("c/d", "x")), "without a location");
    }
}
