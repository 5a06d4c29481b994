//! The undo data of a patch without what it no longer holds, and the bytes of an administrator that only it has.

use std::collections::BTreeSet;

use patchadm_changeset::format::manifest::{Manifest, ObjectRecord, RecordedState, decode, encode};
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::source::PackageImage;
use patchadm_rootfs::{FileType, Live};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PackagePath, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::standing::{PathStanding, Standings};
use crate::plan::refusal::Reason;
use crate::plan::target::PackageTarget;

/// A patch whose undo data is trimmed, in the order of application.
pub struct TrimmedPatch<'a> {
    /// The package, which its own package manager changed.
    pub package: &'a PkgInst,
    /// The patch.
    pub id: &'a PatchId,
    /// What it did.
    pub manifest: &'a Manifest,
    /// The paths of other patches of the package that were applied before, and those applied later that stand.
    pub others: OtherPatches,
}

/// The paths of the other patches of a package.
#[derive(Clone, Debug, Default)]
pub struct OtherPatches {
    /// Of those that were applied before.
    pub earlier: BTreeSet<String>,
    /// Of those that were applied later and stand.
    pub later: BTreeSet<String>,
}

/// What is left of the undo data of a patch.
pub struct Trimmed {
    /// What it did, as far as it still holds it.
    pub manifest: Manifest,
    /// The paths that it handed over, or found free from now on; escaped.
    pub left_out: BTreeSet<String>,
    /// The paths at which nothing was before it, from now on; escaped.
    pub freed: BTreeSet<String>,
}

impl Trimmed {
    /// Gives up a path that the patch had added: its object stays.
    pub fn give_up(&mut self, path: &str) {
        self.manifest.objects.retain(|record| record.path != path);
        self.left_out.insert(path.to_owned());
    }

    /// Whether the undo data has become different.
    pub fn is_changed(&self) -> bool {
        !self.left_out.is_empty() || !self.freed.is_empty()
    }
}

impl TrimmedPatch<'_> {
    /// Returns what is left. `is_listed` tells what the native records list of the package, in whichever spelling.
    pub fn trimmed(&self, standings: &Standings, is_listed: impl Fn(&ObjectPath) -> bool) -> Trimmed {
        let stands = standings.standing.contains(self.id);
        let mut trimmed = Trimmed {
            manifest: Manifest { objects: Vec::new(), ..self.manifest.clone() },
            left_out: BTreeSet::new(),
            freed: BTreeSet::new(),
        };
        if !stands {
            trimmed.manifest.shlibs.clear();
        }
        for record in &self.manifest.objects {
            let is_listed = record.object_path().is_some_and(|path| is_listed(&path));
            let standing = standings.path(self.package, &record.path);
            if !self.keeps(record, standing, is_listed, stands) {
                trimmed.left_out.insert(record.path.clone());
                continue;
            }
            let is_first = !self.others.earlier.contains(&record.path);
            let mut record = record.clone();
            let is_held = standing == Some(PathStanding::Held);
            if !is_listed && !is_held && is_first && record.has_path() && record.was.is_some() {
                // The version that had something there is gone.
                (record.was, record.line, record.member) = (None, None, None);
                trimmed.freed.insert(record.path.clone());
            }
            trimmed.manifest.objects.push(record);
        }
        trimmed
    }

    fn keeps(
        &self,
        record: &ObjectRecord,
        standing: Option<PathStanding>,
        is_listed: bool,
        stands: bool,
    ) -> bool {
        let is_passed_on = self.others.later.contains(&record.path);
        match standing {
            Some(PathStanding::Held) => stands,
            Some(PathStanding::Added) => record.has_path(),
            Some(PathStanding::Edited) => !is_listed && record.has_path() && (stands || is_passed_on),
            Some(PathStanding::Contained | PathStanding::Lost) | None => false,
        }
    }
}

/// Returns the backout package without the objects of these paths. Those that were free before the patch, from now on, are
/// deleted by it.
pub fn trimmed_image(
    package: &PkgInst,
    image: &PackageImage,
    trimmed: &Trimmed,
) -> Result<PackageImage, Reason> {
    let target = PackageTarget::new(package.clone(), 0, image, image.params.clone())?;
    let escaped = |path: &ObjectPath| encode(path.as_bytes());
    let mut new = image.clone();
    new.pkgmap.entries.clear();
    for entry in &image.pkgmap.entries {
        let goes = !entry.is_information() && {
            let path = escaped(&target.resolve(&entry.path)?);
            trimmed.left_out.contains(&path) || trimmed.freed.contains(&path)
        };
        if !goes {
            new.pkgmap.entries.push(entry.clone());
        }
    }
    new.deletes.clear();
    for path in &image.deletes {
        if !trimmed.left_out.contains(&escaped(&target.resolve(path)?)) {
            new.deletes.push(path.clone());
        }
    }
    for path in &trimmed.freed {
        let path = ObjectPath::new(&decode(path))
            .map_err(|error| Reason::BadUndoData { package: package.clone(), reason: error.to_string() })?;
        new.deletes.push(target.write(&path)?);
    }
    Ok(new)
}

/// The bytes of an administrator that a patch saved at a path which it no longer has.
#[derive(Clone, Debug)]
pub struct SavedEdit<'a> {
    /// The package.
    pub package: PkgInst,
    /// The patch.
    pub id: PatchId,
    /// What its manifest says of the path.
    pub record: ObjectRecord,
    /// The backout package that has them.
    pub image: &'a PackageImage,
}

impl SavedEdit<'_> {
    /// Returns the name under which the patch kept it beside its path, escaped, if it is there still and not at the path itself.
    pub fn kept_beside(&self, inventory: &Inventory) -> Option<(ObjectPath, String)> {
        let path = self.record.object_path()?;
        let name = [path.as_bytes(), format!(".edited-{}", self.id).as_bytes()].concat();
        let name = ObjectPath::new(&name).ok()?;
        let saved = self.record.was.as_ref().and_then(RecordedState::digest)?;
        let is_saved = |path: &ObjectPath| {
            inventory.live.get(path).and_then(Live::digest).is_some_and(|digest| digest == saved)
        };
        (is_saved(&name) && !is_saved(&path)).then(|| {
            let escaped = encode(name.as_bytes());
            (name, escaped)
        })
    }
}

/// Returns what an administrator had written before this patch and only its undo data has. `differing` are the paths that
/// were not as the native manager had them when the package was registered.
pub fn saved_edits<'i>(
    patch: &TrimmedPatch<'_>,
    image: &'i PackageImage,
    trimmed: &Trimmed,
    differing: &BTreeSet<ObjectPath>,
) -> Vec<SavedEdit<'i>> {
    let goes = |record: &&ObjectRecord| {
        trimmed.left_out.contains(&record.path) || trimmed.freed.contains(&record.path)
    };
    let is_edit = |record: &&ObjectRecord| {
        let is_first = !patch.others.earlier.contains(&record.path);
        let was_differing = is_first && record.object_path().is_some_and(|path| differing.contains(&path));
        is_saved_edit(record, image, was_differing)
    };
    let edits = patch.manifest.objects.iter().filter(goes).filter(is_edit);
    edits
        .map(|record| SavedEdit {
            package: patch.package.clone(),
            id: patch.id.clone(),
            record: record.clone(),
            image,
        })
        .collect()
}

/// Whether what a patch saved of a file is not what `contents` said of it.
fn is_saved_edit(record: &ObjectRecord, image: &PackageImage, was_differing: bool) -> bool {
    let is_file = record.was.as_ref().is_some_and(|was| was.kind == FileType::Regular);
    let Some(member) = record.member.as_deref().filter(|_| is_file) else { return false };
    let Ok(member) = PackagePath::new(&decode(member)) else { return false };
    let Some(saved) = image.files().find(|entry| entry.path == member) else { return false };
    let line = record.line.as_deref().and_then(|line| ContentsLine::parse(&decode(line)).ok());
    let recorded = line.map(|line| line.object.content);
    let is_same = recorded.is_some_and(|recorded| {
        (recorded.size, recorded.cksum) == (saved.object.content.size, saved.object.content.cksum)
    });
    was_differing || !is_same
}
