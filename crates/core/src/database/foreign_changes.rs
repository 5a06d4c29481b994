//! What somebody else changed in the records since a run of this program left them, by the stamp of that run.
//!
//! Such a change is no damage: other tools write these files, too. What is missing that must be there is found elsewhere
//! ([`agreement`](super::agreement)).

use super::contents::{failed, open};
use super::{DatabaseError, RecordDamage, RecordView, places};
use patchadm_changeset::records::stamped;
use patchadm_rootfs::{Digest, FileType, Hashing};
use patchadm_svr4::format::params::LARGEST_FILE;
use patchadm_svr4::package::ObjectPath;

/// A record that is not as a run left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChange {
    /// The file, with the prefix of the root.
    pub file: String,
    /// The number of the run that wrote it last.
    pub run: u64,
}

/// Finds the records that were changed since: `contents`, then the pkginfo of packages by name. A record that is gone is
/// left to who misses it.
pub fn foreign_changes(view: &RecordView<'_>) -> Result<Vec<ForeignChange>, DatabaseError> {
    let Some(last) = stamped::last(view) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let root = view.root();
    if contents_digest(view)?.is_some_and(|now| now != last.stamp.b3) {
        found.push(ForeignChange { file: root.show(&places::contents()), run: last.stamp.run });
    }
    for (package, bound) in last.packages.iter() {
        let path = places::pkginfo(package);
        let now = view.read(&path, LARGEST_FILE as u64)?;
        if now.is_some_and(|now| Digest::of(&now) != bound.pkginfo) {
            found.push(ForeignChange { file: root.show(&path), run: bound.run });
        }
    }
    Ok(found)
}

/// The digest of `contents`, or `None` where there is no such file.
pub fn contents_digest(view: &RecordView<'_>) -> Result<Option<Digest>, DatabaseError> {
    let Some(file) = open(view).ok().flatten() else { return Ok(None) };
    let mut hashing = Hashing::new(file);
    std::io::copy(&mut hashing, &mut std::io::sink()).map_err(|error| failed(view, error.into()))?;
    Ok(Some(hashing.finish().1))
}

/// Finds the packages that are there and had a copy of what was delivered (`save/pspool`) when a run left them, and have
/// none.
pub fn lost_copies(view: &RecordView<'_>) -> Result<Vec<RecordDamage>, DatabaseError> {
    let Some(last) = stamped::last(view) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (package, bound) in last.packages.iter().filter(|(_, bound)| bound.is_spooled) {
        let [pkginfo, copy] = [places::pkginfo(package), places::delivered_pkgmap(package)];
        if is_file(view, &pkginfo)? && !is_file(view, &copy)? {
            found.push(RecordDamage::of_lost_copy(view.root(), package, bound.run));
        }
    }
    Ok(found)
}

fn is_file(view: &RecordView<'_>, path: &ObjectPath) -> Result<bool, DatabaseError> {
    Ok(view.look(path)?.is_some_and(|seen| seen.file_type == FileType::Regular))
}
