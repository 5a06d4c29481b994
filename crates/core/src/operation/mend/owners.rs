//! Packages that own objects and are gone: their names leave `contents`, and a line goes with its last owner. No object is
//! touched.

use std::collections::{BTreeMap, BTreeSet};

use super::{MendedRecord, kept, plan_of};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::Session;
use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_inputs::database::contents::{lines_at, lines_of_packages};
use patchadm_inputs::database::{RecordDamage, RecordView};
use patchadm_planning::plan::Plan;
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ContentsLine, PkgInst};
use patchadm_svr4::places;

/// Packages that own objects and are gone.
#[derive(Default)]
pub(super) struct GoneOwners(BTreeMap<PkgInst, GoneOwner>);

/// The damage about a package, and a note for each line that named it.
struct GoneOwner {
    damage: RecordDamage,
    notes: Vec<String>,
}

impl GoneOwners {
    /// Adds a package.
    pub(super) fn add(&mut self, package: PkgInst, damage: RecordDamage) {
        self.0.insert(package, GoneOwner { damage, notes: Vec::new() });
    }

    /// Returns the last one by name.
    pub(super) fn last(&self) -> Option<&PkgInst> {
        self.0.keys().next_back()
    }

    /// Returns whether one of them owns an object.
    pub(super) fn own(&self, line: &ContentsLine) -> bool {
        line.owners.iter().any(|owner| self.0.contains_key(&owner.package))
    }

    /// Removes them from a line, with a note for each. Returns the line, or `None` if nobody else owns it.
    pub(super) fn leave(&mut self, root: &Root, mut line: ContentsLine) -> Option<ContentsLine> {
        let (gone, others): (Vec<_>, Vec<_>) =
            line.owners.into_iter().partition(|owner| self.0.contains_key(&owner.package));
        line.owners = others;
        let path = root.show(&line.path);
        let owners: Vec<&str> = line.owners.iter().map(|owner| owner.package.as_str()).collect();
        for owner in gone {
            let note = if owners.is_empty() {
                format!("{path}: the line is deleted; the object stays, and no package owns it")
            } else {
                format!(
                    "{path}: {} is removed from the line, which {} still owns",
                    owner.package,
                    owners.join(" ")
                )
            };
            self.0.entry(owner.package).and_modify(|gone| gone.notes.push(note));
        }
        (!line.owners.is_empty()).then_some(line)
    }

    /// Returns the outcome for each of them.
    pub(super) fn mended(self) -> impl Iterator<Item = MendedRecord> {
        self.0.into_values().map(|GoneOwner { damage, notes }| MendedRecord {
            damage,
            is_made: true,
            is_whole: true,
            said: notes,
        })
    }

    /// Returns the same where nothing was done, for this reason.
    pub(super) fn given_up(self, why: &str) -> impl Iterator<Item = MendedRecord> {
        self.0.into_values().map(move |GoneOwner { damage, .. }| MendedRecord {
            damage,
            is_made: false,
            is_whole: false,
            said: vec![why.to_owned()],
        })
    }
}

/// Removes packages that are gone from `contents`, in one transaction.
pub(super) fn mend(session: &Session<'_>, mut gone: GoneOwners) -> Result<Vec<MendedRecord>, Failure> {
    let packages: BTreeSet<PkgInst> = gone.0.keys().cloned().collect();
    let Some(last) = packages.last() else { return Ok(Vec::new()) };
    let root = &session.ground.root;
    let view = RecordView::live(root);
    let named = lines_of_packages(&view, &packages)?;
    let paths = named.into_values().flat_map(BTreeMap::into_keys).collect();
    let mut contents = ContentsEdits::new();
    for (path, line) in lines_at(&view, &paths, &[])? {
        contents.insert(path, gone.leave(root, line).map(Box::new));
    }
    let before = kept(root, &places::contents())?;
    let copy = before.iter().filter_map(|kept| kept.change.clone()).collect();
    let plan = plan_of(session, last, copy);
    let plan = Plan { packages: packages.iter().cloned().collect(), contents, ..plan };
    session.perform(&plan, &mut NoContent, None, String::new())?;
    let mut mended: Vec<MendedRecord> = gone.mended().collect();
    if let (Some(last), Some(kept)) = (mended.last_mut(), before) {
        last.said.push(format!("the file as it was is kept as {}", kept.shown));
    }
    Ok(mended)
}
