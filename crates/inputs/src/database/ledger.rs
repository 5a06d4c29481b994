//! The ledger of a package: undo archives of its patches, recorded by runs of this root. A line counts only while the
//! package has the patch with the record whose digest the line has: not after another tool backed it out or applied it
//! again.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::{DatabaseError, RecordView, ViewError, installed, places};
use crate::format::ledger::{LARGEST, Ledger, LedgerError, LedgerLine, LedgerUndo, UndoLocation};
use patchadm_changeset::format::outside_path::OutsidePath;
use patchadm_rootfs::FileType;
use patchadm_rootfs::{Digest, Hashing, ReadBudget};
use patchadm_svr4::package::{Params, PkgInst, rule};
use patchadm_svr4::patch::PatchId;

#[derive(Debug, thiserror::Error)]
pub enum LedgerFault {
    #[error("the ledger {path} is damaged: {reason}")]
    Damaged { path: String, reason: String },
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Database(Box<DatabaseError>),
}

impl From<DatabaseError> for LedgerFault {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Box::new(error))
    }
}

/// Empty if there is none.
pub fn read(view: &RecordView<'_>, package: &PkgInst) -> Result<Ledger, LedgerFault> {
    read_within(view, package, &ReadBudget::of(LARGEST as u64))
}

pub(super) fn read_within(
    view: &RecordView<'_>,
    package: &PkgInst,
    budget: &ReadBudget,
) -> Result<Ledger, LedgerFault> {
    let path = places::ledger(package);
    let damaged = |reason: String| LedgerFault::Damaged { path: view.root().show(&path), reason };
    let Some(text) = view.read_within(&path, LARGEST as u64, budget)? else {
        // A link or a pipe is not a missing file.
        return match view.look(&path)? {
            Some(seen) if seen.file_type != FileType::Regular => Err(damaged("it is not a file".to_owned())),
            _ => Ok(Ledger::default()),
        };
    };
    let ledger = Ledger::parse(&text).map_err(|error: LedgerError| damaged(error.to_string()))?;
    let wrong = ledger.lines().iter().find_map(|line| Some((&line.patch, fault(line, package)?)));
    let no_id = ledger.patches().find_map(|patch| Some((patch, fault_of_id(patch)?)));
    match no_id.or(wrong) {
        None => Ok(ledger),
        Some((patch, reason)) => Err(damaged(format!("patch {}: {reason}", patch.escape_debug()))),
    }
}

pub fn counting(view: &RecordView<'_>, package: &PkgInst) -> Result<Ledger, LedgerFault> {
    let mut ledger = read(view, package)?;
    if !ledger.is_empty() {
        let params = installed::params(view, package)?;
        retain_counting(&mut ledger, params.as_ref());
    }
    Ok(ledger)
}

/// Returns `None` if the package is not installed.
pub fn retain_counting(ledger: &mut Ledger, params: Option<&Params>) {
    let records = params.map(PatchRecordsByName::of).unwrap_or_default();
    ledger.retain(|patch, info| {
        let recorded = records.info(patch);
        // A line of an earlier form does not tell if the record is the same.
        rule::holds("ledger.info", recorded.is_some() && info.is_none_or(|info| recorded == Some(info)))
    });
}

/// Computes the digest of a package's record of an applied patch; `None` if the patch is not applied.
pub fn info(params: &Params, patch: &str) -> Option<Digest> {
    PatchRecordsByName::of(params).info(patch)
}

/// Indexed, because ledgers have thousands of lines.
#[derive(Default)]
pub(super) struct PatchRecordsByName<'a>(HashMap<PatchName<'a>, &'a [u8]>);

/// Two spellings of one revision are equal.
#[derive(PartialEq, Eq, Hash)]
enum PatchName<'a> {
    Id(PatchId),
    Word(Cow<'a, str>),
}

impl<'a> PatchName<'a> {
    fn of(word: impl Into<Cow<'a, str>>) -> Self {
        let word = word.into();
        PatchId::new(&word).map_or_else(|_| Self::Word(word), Self::Id)
    }
}

impl<'a> PatchRecordsByName<'a> {
    pub(super) fn of(params: &'a Params) -> Self {
        let list = params.text("PATCHLIST");
        let listed: HashSet<PatchName<'_>> = list.split([' ', '\t', ',']).map(PatchName::of).collect();
        let mut records = HashMap::new();
        for (name, value) in params.iter() {
            let Some(name) = name.strip_prefix("PATCH_INFO_").map(PatchName::of) else { continue };
            if listed.contains(&name) {
                records.entry(name).or_insert(value);
            }
        }
        Self(records)
    }

    pub(super) fn info(&self, patch: &str) -> Option<Digest> {
        let mut hashing = Hashing::new(*self.0.get(&PatchName::of(patch))?);
        std::io::copy(&mut hashing, &mut std::io::sink()).ok()?;
        Some(hashing.finish().1)
    }
}

fn fault_of_id(patch: &str) -> Option<&'static str> {
    (!rule::holds("ledger.patch.id", is_id(patch))).then_some("it is not a patch id")
}

fn fault(line: &LedgerLine, package: &PkgInst) -> Option<&'static str> {
    if let LedgerUndo::Kept { place: UndoLocation::Host(path), .. } = &line.undo {
        let is_place = OutsidePath::parse(path).is_some_and(|at| at.is_of(&line.patch, package.as_str()));
        if !rule::holds("ledger.where", is_place) {
            return Some("`where` is not a valid place for an undo archive of this patch and package");
        }
    }
    None
}

fn is_id(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    !word.is_empty()
        && word.len() <= PatchId::LONGEST
        && !word.starts_with(['-', '.'])
        && word.bytes().all(is_plain)
        && word.ends_with(|last: char| last.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use patchadm_rootfs::Root;

    const RUN: &str = "17-9c1d6f20aa31b7e4";

    fn line(patch: &str, info: &[u8], place: &str) -> String {
        let mut hashing = Hashing::new(info);
        std::io::copy(&mut hashing, &mut std::io::sink()).unwrap();
        let (info, undo) = (hashing.finish().1, "5f".repeat(32));
        format!(
            "{{\"run\":\"{RUN}\",\"patch\":\"{patch}\",\"info\":\"b3:{info}\",\"undo\":\"b3:{undo}\",\
             \"size\":7,\"where\":\"{place}\"}}\n"
        )
    }

    fn root(text: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/sadm/patchadm/ledger")).unwrap();
        fs::create_dir_all(dir.path().join("var/sadm/pkg/X")).unwrap();
        fs::write(dir.path().join("var/sadm/patchadm/ledger/X"), text).unwrap();
        let pkginfo = "PKG=X\nPATCHLIST=100-1 200-01\nPATCH_INFO_100-01=now\nPATCH_INFO_300-01=now\n";
        fs::write(dir.path().join("var/sadm/pkg/X/pkginfo"), pkginfo).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn a_line_counts_while_the_package_has_the_patch_as_it_won_record() {
        let package = PkgInst::new("X").unwrap();
        for (patch, info, counts) in [
            ("100-01", "now", true),
            ("100-01", "before", false),
            ("200-01", "now", false),
            ("300-01", "now", false),
        ] {
            let (_dir, root) = root(&line(patch, info.as_bytes(), "save"));
            let ledger = counting(&RecordView::live(&root), &package).unwrap();
            assert_eq!(ledger.line(patch).is_some(), counts, "{patch} {info}");
        }
    }

    #[test]
    fn a_ledger_with_a_patch_or_a_place_that_no_run_writes_is_damaged() {
        let package = PkgInst::new("X").unwrap();
        for (patch, place) in [
            ("../100-01", "save"),
            ("", "save"),
            ("100-01", "/etc/passwd"),
            ("100-01", "/b/100-02/X/undo.gz"),
            ("100-01", "/b/100-01/Y/undo.gz"),
        ] {
            let (_dir, root) = root(&line(patch, b"now", place));
            let error = read(&RecordView::live(&root), &package).unwrap_err();
            assert!(matches!(error, LedgerFault::Damaged { .. }), "{patch} {place}: {error}");
        }
        let (_dir, root) = root(&line("100-01", b"now", "/b/100-01/X/undo.gz"));
        assert!(read(&RecordView::live(&root), &package).is_ok());
    }

    #[test]
    fn a_root_without_ledger_has_no_lines_and_a_link_in_its_place_is_damage() {
        let (dir, root) = root("");
        let (view, package) = (RecordView::live(&root), PkgInst::new("X").unwrap());
        let at = dir.path().join("var/sadm/patchadm/ledger/X");
        fs::remove_file(&at).unwrap();
        assert!(read(&view, &package).unwrap().is_empty());
        std::os::unix::fs::symlink("/etc/passwd", &at).unwrap();
        assert!(matches!(read(&view, &package), Err(LedgerFault::Damaged { .. })));
    }
}
