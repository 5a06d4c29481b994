//! The lines of `contents` that come from a stage, and those that the undo data of its patches would put back. Each owner must
//! be installed on the root or come along, stand once, and take no path from a package of the root. Such a line on the root
//! would be damage, which every later command refuses.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::BroughtFailure;
use super::records::BroughtRecords;
use super::source::RecordSource;
use super::undo_data::StagedPatch;
use patchadm_changeset::format::manifest::decode;
use patchadm_inputs::database::contents::lines_of_paths;
use patchadm_inputs::database::{DatabaseError, RecordView, places};
use patchadm_planning::plan::refusal::{BroughtReason, LineFault};
use patchadm_svr4::format::contents::ContentsReader;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The largest `contents` that is searched for the number of a line, in bytes.
const LARGEST: u64 = 1 << 30;

impl RecordSource<'_> {
    /// Refuses lines of the stage that would not agree with the packages of the root.
    pub(super) fn must_agree(&self, brought: &BroughtRecords) -> Result<(), BroughtFailure> {
        let of_patches = brought.patches.lines.iter();
        let of_patches = of_patches.map(|(path, (package, line))| (path, package, line.as_ref()));
        let of_new = brought
            .new_packages
            .iter()
            .flat_map(|(package, new)| new.lines.iter().map(move |(path, line)| (path, package, Some(line))));
        let lines: Vec<_> = of_patches.chain(of_new).collect();
        let paths = lines.iter().map(|(path, ..)| ObjectPath::clone(path)).collect();
        let live = lines_of_paths(&RecordView::live(self.to), &paths).map_err(DatabaseError::from)?;
        let known = self.known(brought);
        for (path, package, line) in lines {
            let fault = line.and_then(|line| fault(line, &known)).or_else(|| {
                let there = live.get(path)?;
                let taken = there.owners.iter().map(|owner| &owner.package).find(|owner| {
                    let stays = line.map_or(*owner == package, |line| line.is_owned_by(owner));
                    !stays && !self.databases.1.kept.contains_key(*owner)
                })?;
                Some(LineFault::Taken(taken.clone()))
            });
            if let Some(fault) = fault {
                let view = RecordView::live(&self.from.root);
                let file = view.root().show(&places::contents());
                let line = number(&view, path);
                return Err(BroughtReason::BadLine { file, line, path: path.clone(), fault }.into());
            }
        }
        Ok(())
    }

    /// Refuses undo data of a patch of the stage that would put lines back which do not agree with the packages of the root.
    pub(super) fn must_put_back(
        &self,
        (id, package): (&PatchId, &PkgInst),
        patch: &StagedPatch,
        brought: &BroughtRecords,
    ) -> Result<(), BroughtFailure> {
        let known = self.known(brought);
        let texts = patch.manifest.objects.iter().flat_map(|record| [&record.line, &record.new_line]);
        for text in texts.flatten() {
            let file = format!("the undo data of patch {id} of package {package}");
            let bad = |reason: String| BroughtReason::DamagedUndo(format!("{file}: {reason}"));
            let line = ContentsLine::parse(&decode(text)).map_err(|error| bad(error.to_string()))?;
            if let Some(fault) = fault(&line, &known) {
                return Err(BroughtReason::BadLine { file, line: None, path: line.path, fault }.into());
            }
        }
        Ok(())
    }

    /// Returns the packages that the root has after the promotion.
    fn known<'k>(&'k self, brought: &'k BroughtRecords) -> BTreeSet<&'k PkgInst> {
        let live = self.databases.1;
        live.packages.keys().chain(live.kept.keys()).chain(brought.new_packages.keys()).collect()
    }
}

/// Returns the fault of the owners of a line.
fn fault(line: &ContentsLine, known: &BTreeSet<&PkgInst>) -> Option<LineFault> {
    let mut counts: BTreeMap<&PkgInst, usize> = BTreeMap::new();
    for owner in &line.owners {
        if !known.contains(&owner.package) {
            return Some(LineFault::Unknown(owner.package.clone()));
        }
        let count = counts.entry(&owner.package).or_default();
        *count += 1;
        if *count > 1 {
            return Some(LineFault::Twice(owner.package.clone()));
        }
    }
    None
}

/// Returns the number of the line of a path in `contents`, if it can be found.
fn number(view: &RecordView<'_>, path: &ObjectPath) -> Option<u64> {
    let text = view.read(&places::contents(), LARGEST).ok().flatten()?;
    let mut reader = ContentsReader::new(text.as_slice());
    loop {
        let number = reader.line() + 1;
        let raw = reader.next_line().ok()??;
        if ContentsLine::parse(raw).is_ok_and(|line| line.path == *path) {
            return Some(number);
        }
    }
}

/// Returns whether the owners of a line agree with packages, as a merged one has to.
pub(in crate::operation::stages) fn fault_after_merge(
    line: &ContentsLine,
    before: Option<&ContentsLine>,
    known: &BTreeSet<&PkgInst>,
) -> Option<LineFault> {
    fault(line, known).or_else(|| {
        let mut owners = before?.owners.iter().map(|owner| &owner.package);
        owners.find(|owner| !line.is_owned_by(owner)).cloned().map(LineFault::Taken)
    })
}
