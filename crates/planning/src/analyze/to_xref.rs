//! The index of a depot as the lines of a `patchdiag.xref`.
//!
//! The format knows six digits and two for an id, one day in a century, and no alternatives: patches with other ids are
//! left out and counted, and of alternatives the first one is written.

use std::collections::BTreeMap;

use chrono::Datelike as _;

use super::depot_chain::{DepotChain, is_withdrawn};
use super::from_depot::{alternatives, day};
use patchadm_inputs::depot::{DepotIndex, DepotPatch};
use patchadm_svr4::format::patchdiag::{Patchdiag, PatchdiagDate, PatchdiagLine, PatchdiagPackage};
use patchadm_svr4::patch::PatchId;

/// A cross-reference made of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DepotCrossReference {
    /// The file.
    pub file: Patchdiag,
    /// The number of patches whose ids the format cannot hold.
    pub left_out: usize,
}

/// Makes the cross-reference of an index. `releases` has the release of the system (`PATCH_OSRELEASE`, as `5.10`) of
/// patches that name one.
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

/// Tells whether the format can hold an id.
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

/// Returns the release as the format names it: `5.10` is `10`.
fn os_of(release: Option<&str>, is_x86: bool) -> String {
    let minor = release.and_then(|release| release.trim().strip_prefix("5."));
    let is_release =
        |minor: &&str| !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match minor.filter(is_release) {
        Some(minor) => format!("{minor}{}", if is_x86 { "_x86" } else { "" }),
        None => "Unbundled".to_owned(),
    }
}

/// Returns a word without what ends items, fields and lines.
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

/// Returns a day, within the century of the format.
fn date(day: chrono::NaiveDate) -> Option<PatchdiagDate> {
    let year = u16::try_from(day.year()).ok().filter(|year| (1951..=2050).contains(year))?;
    let (month, day) = (u8::try_from(day.month()).ok()?, u8::try_from(day.day()).ok()?);
    Some(PatchdiagDate { year, month, day })
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate};
    use patchadm_svr4::format::patchdiag;

    use super::*;
    use crate::analyze::{CrossReference, from_depot, from_patchdiag};
    use patchadm_inputs::depot::{DepotPackage, object_path};

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
        let text = String::from_utf8(patchdiag::write(&made.file)).unwrap();
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
        assert_eq!(patchdiag::parse(&patchdiag::write(&made)).unwrap(), made);
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
