//! Conversions between a depot's index, the lines of a `patchdiag.xref`, and a cross-reference.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike as _, NaiveDate};
use patchadm_inputs::depot::{DepotIndex, DepotPatch};
use patchadm_svr4::format::patchdiag::{Patchdiag, PatchdiagDate, PatchdiagLine, PatchdiagPackage};
use patchadm_svr4::patch::PatchId;

use super::reference::{CrossReference, ReferencePackage, ReferencePatch};

const REBOOTS: [&str; 4] = ["reconfigimmediate", "rebootimmediate", "reconfigafter", "rebootafter"];

pub fn from_depot(index: &DepotIndex) -> CrossReference {
    let chain = DepotChain::of(index);
    let patches = chain.entries().iter().map(|(id, patch)| patch_of(id, patch, chain.next(id)));
    CrossReference::new(Some(index.date.date_naive()), patches)
}

fn patch_of(id: &PatchId, patch: &DepotPatch, next: Option<&PatchId>) -> ReferencePatch {
    let packages = patch.packages.iter().map(|package| ReferencePackage {
        name: package.pkg.clone(),
        version: package.version.clone(),
        arch: Some(package.arch.clone()),
    });
    let reboot = REBOOTS.iter().find(|word| patch.properties.iter().any(|property| property == *word));
    ReferencePatch {
        id: id.clone(),
        date: day(&patch.date),
        is_recommended: patch.has_flag("recommended"),
        is_security: patch.has_flag("security"),
        is_obsolete: next.is_some(),
        is_bad: is_withdrawn(patch),
        is_unbundled: false,
        archs: Vec::new(),
        packages: packages.collect(),
        requires: patch.requires.iter().map(|entry| alternatives(entry)).collect(),
        obsoleted_by: next.cloned(),
        synopsis: patch.synopsis.clone(),
        size: Some(patch.size),
        reboot: reboot.map(|&word| word.to_owned()),
    }
}

pub(super) fn alternatives(entry: &str) -> Vec<PatchId> {
    entry.split('|').filter_map(|id| PatchId::new(id.trim()).ok()).collect()
}

pub(super) fn day(date: &str) -> Option<NaiveDate> {
    DateTime::parse_from_rfc3339(date).ok().map(|date| date.to_utc().date_naive())
}

// A withdrawn patch contains nothing: it must not replace another one.

const WITHDRAWN: &str = "withdrawn";

struct DepotChain<'a> {
    entries: Vec<(PatchId, &'a DepotPatch)>,
    in_use: BTreeSet<PatchId>,
    /// For each base: obsoleted revision, and the obsoleting patch.
    obsoleted: BTreeMap<String, Vec<(PatchId, PatchId)>>,
}

impl<'a> DepotChain<'a> {
    fn of(index: &'a DepotIndex) -> Self {
        let entries: Vec<(PatchId, &DepotPatch)> =
            index.patches().filter_map(|patch| Some((PatchId::new(&patch.id).ok()?, patch))).collect();
        let mut chain = Self { entries: Vec::new(), in_use: BTreeSet::new(), obsoleted: BTreeMap::new() };
        for (id, patch) in entries.iter().filter(|(_, patch)| !is_withdrawn(patch)) {
            chain.in_use.insert(id.clone());
            for entry in patch.obsoletes.iter().filter_map(|text| PatchId::new(text).ok()) {
                if !entry.same_base(id) {
                    let obsoleted = chain.obsoleted.entry(entry.base().to_owned()).or_default();
                    obsoleted.push((entry, id.clone()));
                }
            }
        }
        chain.entries = entries;
        chain
    }

    fn entries(&self) -> &[(PatchId, &'a DepotPatch)] {
        &self.entries
    }

    /// Returns the next revision, else the first patch that obsoletes this one.
    fn next(&self, id: &PatchId) -> Option<&PatchId> {
        let later = self.in_use.range(id.clone()..).find(|other| *other != id);
        later.filter(|other| other.same_base(id)).or_else(|| {
            let obsoleted = self.obsoleted.get(id.base())?;
            obsoleted.iter().filter(|(entry, _)| entry.contains(id)).map(|(_, by)| by).min()
        })
    }
}

pub(super) fn is_withdrawn(patch: &DepotPatch) -> bool {
    patch.has_flag(WITHDRAWN)
}

const UNBUNDLED: &str = "Unbundled";

/// Keeps the order of the lines.
pub fn from_patchdiag(file: &Patchdiag) -> CrossReference {
    CrossReference::new(file.as_of.and_then(calendar_day), file.lines.iter().map(patch_of_line))
}

fn patch_of_line(line: &PatchdiagLine) -> ReferencePatch {
    let packages = line.packages.iter().filter_map(|package| {
        let version = package.version.clone()?;
        Some(ReferencePackage { name: package.name.clone(), version, arch: None })
    });
    ReferencePatch {
        id: line.id.clone(),
        date: line.date.and_then(calendar_day),
        is_recommended: line.is_recommended,
        is_security: line.is_security,
        is_obsolete: line.is_obsolete,
        is_bad: line.is_bad,
        is_unbundled: line.os == UNBUNDLED,
        archs: line.archs.clone(),
        packages: packages.collect(),
        requires: line.requires.iter().map(|id| vec![id.clone()]).collect(),
        obsoleted_by: line.obsoleted_by(),
        synopsis: String::from_utf8_lossy(&line.synopsis).into_owned(),
        size: None,
        reboot: None,
    }
}

/// `None` for dates such as February 30.
fn calendar_day(date: PatchdiagDate) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(i32::from(date.year), u32::from(date.month), u32::from(date.day))
}

// The format has six digits and two for an id, one day in a century, and no alternatives. Patches with other
// ids are left out and counted, and the first of several alternatives is written.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepotCrossReference {
    pub file: Patchdiag,
    /// Patches whose ids the format cannot hold.
    pub left_out: usize,
}

/// `releases` has the system release (`PATCH_OSRELEASE`, as `5.10`) of patches that name one.
pub fn to_patchdiag(index: &DepotIndex, releases: &BTreeMap<PatchId, String>) -> DepotCrossReference {
    let chain = DepotChain::of(index);
    let fitting = chain.entries().iter().filter(|(id, _)| fits(id));
    let lines = fitting.map(|(id, patch)| {
        let release = releases.get(id).map(String::as_str);
        line_of(id, patch, chain.next(id), release)
    });
    let lines: Vec<PatchdiagLine> = lines.collect();
    let left_out = chain.entries().len() - lines.len();
    DepotCrossReference { file: Patchdiag { as_of: date(index.date.date_naive()), lines }, left_out }
}

fn fits(id: &PatchId) -> bool {
    let are_digits =
        |text: &str, number| text.len() == number && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(id.base(), 6) && are_digits(id.revision(), 2)
}

fn line_of(id: &PatchId, patch: &DepotPatch, next: Option<&PatchId>, release: Option<&str>) -> PatchdiagLine {
    let mut archs: Vec<String> = patch.packages.iter().map(|package| item(&package.arch)).collect();
    archs.sort();
    archs.dedup();
    let is_x86 = archs.iter().any(|arch| arch == "i386");
    let packages = patch
        .packages
        .iter()
        .map(|package| PatchdiagPackage { name: item(&package.pkg), version: Some(item(&package.version)) });
    let requires = patch.requires.iter().filter_map(|entry| alternatives(entry).into_iter().next());
    let obsoleted = next.map(|by| format!("Obsoleted by: {by} ")).unwrap_or_default();
    let synopsis: String = patch.synopsis.chars().map(without_bars).collect();
    PatchdiagLine {
        id: id.clone(),
        date: day(&patch.date).and_then(date),
        is_recommended: patch.has_flag("recommended"),
        is_security: patch.has_flag("security"),
        is_obsolete: next.is_some(),
        is_year_2000: false,
        is_bad: is_withdrawn(patch),
        os: os_of(release, is_x86),
        archs,
        requires: requires.filter(in_digits).collect(),
        packages: packages.collect(),
        incompatibles: patch
            .incompat
            .iter()
            .filter_map(|id| PatchId::new(id).ok())
            .filter(in_digits)
            .collect(),
        synopsis: format!("{obsoleted}{synopsis}").into_bytes(),
    }
}

/// `5.10` becomes `10`.
fn os_of(release: Option<&str>, is_x86: bool) -> String {
    let minor = release.and_then(|release| release.trim().strip_prefix("5."));
    let is_release =
        |minor: &&str| !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match minor.filter(is_release) {
        Some(minor) => format!("{minor}{}", if is_x86 { "_x86" } else { "" }),
        None => "Unbundled".to_owned(),
    }
}

/// Removes the characters that separate items, fields and lines.
fn item(text: &str) -> String {
    text.chars().filter(|letter| !matches!(letter, ';' | '|' | '\n' | '\r')).collect()
}

fn without_bars(letter: char) -> char {
    if matches!(letter, '|' | '\n' | '\r') { ' ' } else { letter }
}

/// Ids with other bases would be read as architectures and packages.
fn in_digits(id: &PatchId) -> bool {
    id.base().bytes().all(|byte| byte.is_ascii_digit())
}

/// `None` outside the century that the format can express.
fn date(day: NaiveDate) -> Option<PatchdiagDate> {
    let year = u16::try_from(day.year()).ok().filter(|year| (1951..=2050).contains(year))?;
    let (month, day) = (u8::try_from(day.month()).ok()?, u8::try_from(day.day()).ok()?);
    Some(PatchdiagDate { year, month, day })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate};
    use patchadm_inputs::depot::{DepotPackage, object_path};

    use super::{from_depot, from_patchdiag, *};
    use crate::analyze::CrossReference;

    fn patch(id: &str) -> DepotPatch {
        let (arch, version) = ("i386".to_owned(), "2.0,REV=1".to_owned());
        let sha256 = "ab".repeat(32);
        DepotPatch {
            id: id.to_owned(),
            path: object_path(&sha256),
            sha256,
            size: 7,
            format: "tar.gz".to_owned(),
            manifest: None,
            signature: None,
            readme: None,
            date: "2026-11-20T12:00:00Z".to_owned(),
            synopsis: "web server".to_owned(),
            keywords: Vec::new(),
            properties: vec!["rebootafter".to_owned()],
            packages: vec![DepotPackage { pkg: "ACMEweb".to_owned(), arch, version }],
            requires: Vec::new(),
            obsoletes: Vec::new(),
            incompat: Vec::new(),
            files: 1,
            flags: Vec::new(),
            scripts: false,
            unpacked: 0,
            fixes: Vec::new(),
        }
    }

    fn index(patches: Vec<DepotPatch>) -> DepotIndex {
        let mut index = DepotIndex::new("0f".repeat(16), DateTime::from_timestamp(1_795_262_400, 0).unwrap());
        for patch in patches {
            index.enter(PatchId::new(&patch.id).unwrap(), patch);
        }
        index
    }

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|&word| word.to_owned()).collect()
    }

    fn depot() -> DepotIndex {
        let last = DepotPatch {
            obsoletes: words(&["100001-02"]),
            requires: words(&["100009-01 | 100010-01", "100011-01", "ACME-1"]),
            incompat: words(&["100012-03"]),
            flags: words(&["recommended", "security"]),
            ..patch("100002-01")
        };
        let withdrawn = DepotPatch { flags: words(&["withdrawn"]), ..patch("100002-02") };
        let odd = DepotPatch { synopsis: "a|b\nc;d".to_owned(), ..patch("100003-01") };
        index(vec![patch("100001-01"), patch("100001-02"), last, withdrawn, odd, patch("ACME-web-03")])
    }

    #[test]
    fn an_index_becomes_lines() {
        let releases = BTreeMap::from([(PatchId::new("100001-01").unwrap(), "5.10".to_owned())]);
        let made = to_patchdiag(&depot(), &releases);
        assert_eq!(made.left_out, 1);
        let text = String::from_utf8(made.file.write()).unwrap();
        let pkgs = "i386;|ACMEweb:2.0,REV=1;|";
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF Nov/21/26 ##",
                &format!("100001|01|Nov/20/26| | |O|  |10_x86|{pkgs}Obsoleted by: 100001-02 web server"),
                &format!("100001|02|Nov/20/26| | |O|  |Unbundled|{pkgs}Obsoleted by: 100002-01 web server"),
                "100002|01|Nov/20/26|R|S| |  |Unbundled|i386;100009-01;100011-01;|ACMEweb:2.0,REV=1;100012-03;|web server",
                &format!("100002|02|Nov/20/26| | | | B|Unbundled|{pkgs}web server"),
                &format!("100003|01|Nov/20/26| | | |  |Unbundled|{pkgs}a b c;d"),
            ]
        );
    }

    #[test]
    fn there_and_back_nothing_is_lost_that_the_format_has() {
        let made = to_patchdiag(&depot(), &BTreeMap::new()).file;
        assert_eq!(Patchdiag::parse(&made.write()).unwrap(), made);
        let current = |all: &CrossReference| -> Vec<String> {
            let of = |base| all.base(base).and_then(|known| known.current()).unwrap().id.to_string();
            ["100001", "100002", "100003"].map(of).into()
        };
        let (direct, back) = (from_depot(&depot()), from_patchdiag(&made));
        assert_eq!(current(&direct), ["100001-02", "100002-01", "100003-01"]);
        assert_eq!(current(&back), current(&direct));
        assert_eq!(direct.as_of(), NaiveDate::from_ymd_opt(2026, 11, 21));
        let patch = direct.base("100002").and_then(|known| known.current()).unwrap();
        assert_eq!((patch.requires[0].len(), patch.reboot.as_deref()), (2, Some("rebootafter")));
    }
}
