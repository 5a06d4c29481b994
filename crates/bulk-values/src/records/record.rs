//! One record: a package that a recipe makes.

use std::sync::Arc;

use super::dependency::Dependency;
use super::field::{self, Distfile};
use super::names::{Location, PkgName};

/// A package that a recipe makes. Known fields have been checked; all others are as the recipe printed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(super) pkgname: PkgName,
    pub(super) location: Location,
    /// The fields after `PKGNAME`, a line each, without `SCAN_DEPENDS` and what is written by us.
    pub(super) text: Box<str>,
    pub(super) all_depends: Box<[Arc<Dependency>]>,
    /// The places in `all_depends` that `RUN_DEPENDS` names; `None` if there is no such field.
    pub(super) run_depends: Option<Box<[u32]>>,
    /// The numbers of the files that were read for the scan.
    pub(super) scan_depends: Box<[u32]>,
    /// Where the line `SCAN_DEPENDS` stands in the text; `None` if there is none.
    pub(super) scan_depends_at: Option<usize>,
    pub(super) weight: u32,
    /// It stands for a location whose scan failed, and its `PKG_FAIL_REASON` says why.
    pub(super) is_failed_scan: bool,
    /// It was read from a file of pbulk.
    pub(super) is_of_pbulk: bool,
}

impl Record {
    /// Returns the name of the package, with its version.
    pub fn pkgname(&self) -> &PkgName {
        &self.pkgname
    }

    /// Returns the location of the recipe.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns the fields after `PKGNAME` in the order in which the recipe printed them, without `SCAN_DEPENDS`.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.lines().filter_map(|line| line.split_once('='))
    }

    /// Returns the value of a field, without blanks around it; empty if it is absent. Of two with one name the first
    /// counts, as in pbulk.
    pub fn field(&self, name: &str) -> &str {
        self.fields()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.trim_ascii())
            .unwrap_or_default()
    }

    /// Returns what the package needs to be built, in the order of `ALL_DEPENDS`.
    pub fn all_depends(&self) -> &[Arc<Dependency>] {
        &self.all_depends
    }

    /// Tells whether whoever installs the package needs this entry of `ALL_DEPENDS`, too: `RUN_DEPENDS` names it, or is
    /// absent.
    pub fn is_run_depends(&self, place: usize) -> bool {
        let named = |places: &[u32]| places.binary_search_by_key(&place, |&named| named as usize).is_ok();
        self.run_depends.as_deref().is_none_or(named)
    }

    /// Returns why the package is not to be built here; `None` if it is.
    pub fn skip_reason(&self) -> Option<&str> {
        Some(self.field("PKG_SKIP_REASON")).filter(|reason| !reason.is_empty())
    }

    /// Returns why the package cannot be built; `None` if nothing is known.
    pub fn fail_reason(&self) -> Option<&str> {
        Some(self.field("PKG_FAIL_REASON")).filter(|reason| !reason.is_empty())
    }

    /// Tells whether the record stands for a location whose scan failed.
    pub fn is_failed_scan(&self) -> bool {
        self.is_failed_scan
    }

    /// Returns the work that a build takes, relative to the usual 100.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Tells whether the package must not be given to others: `RESTRICTED` or `NO_BIN_ON_FTP` says so.
    pub fn is_restricted(&self) -> bool {
        !self.field("RESTRICTED").is_empty() || !self.field("NO_BIN_ON_FTP").is_empty()
    }

    /// Returns the address of the maintainer; empty if there is none. It may have any characters but line ends.
    pub fn maintainer(&self) -> &str {
        self.field("MAINTAINER")
    }

    /// Returns the categories.
    pub fn categories(&self) -> impl Iterator<Item = &str> {
        self.field("CATEGORIES").split_ascii_whitespace()
    }

    /// Returns what differs between two builds although nothing has changed: paths, each perhaps with a pattern of lines.
    pub fn varies(&self) -> impl Iterator<Item = &str> {
        self.field("VARIES").split_ascii_whitespace()
    }

    /// Returns the files of upstream that the recipe needs.
    pub fn distfiles(&self) -> Vec<Distfile<'_>> {
        field::distfiles(self.field("DISTFILES"), self.field("DISTURL")).unwrap_or_default()
    }

    /// Returns the variables that make this package and not another one of its recipe.
    pub fn multi_version(&self) -> Vec<(&str, &str)> {
        field::pairs("MULTI_VERSION", self.field("MULTI_VERSION")).unwrap_or_default()
    }

    /// Returns the limits that the recipe asks for, names and values as it wrote them.
    pub fn limits(&self) -> Vec<(&str, &str)> {
        field::pairs("LIMITS", self.field("LIMITS")).unwrap_or_default()
    }
}
