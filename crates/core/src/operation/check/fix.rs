//! Repairs of what a record says and a file system can be told: attributes, modification times, directories, links, pipes
//! and devices.
//!
//! Every repair is one change of one name through the door of the root, and is useful on its own. This is no transaction: a
//! killed run leaves some objects repaired and others not. Content is never changed, and nothing that holds bytes is thrown
//! away. A file in the place of a link is replaced by the link only if its bytes are those of the link's source. An object
//! of another type stays. So does what a package of dpkg or rpm owns, and no package of its record stands for.
//!
//! Only the recorded bytes get set-id bits, and the owner of a file whose content is not meant to change. Otherwise a user
//! who replaced a program would get a set-id program of their own. The sum of `contents` has 16 bits, so bytes can be made
//! to match it. If a patch has left the BLAKE3 of what it put there, that must match as well.

use super::compare::Comparison;
use super::findings::{CheckedObject, Finding, UnfixedReason};
use super::native_files::NativeFiles;
use patchadm_rootfs::{Dir, FileType, ObjectRights, ObjectStatus, OpenObject, Result, random};
use patchadm_rootfs::{LiveKind, Timestamp};
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::package::{ContentsLine, Ftype, Mode, Object};

/// The mode of a new directory without a recorded mode.
const DIRECTORY_MODE: u32 = 0o755;

/// Compares each object and repairs what differs. Returns what still differs, and the number of objects that were repaired
/// in part or whole.
pub(super) fn fix_all(
    comparison: &Comparison<'_>,
    lines: &[ContentsLine],
    native: &NativeFiles<'_>,
) -> (Vec<CheckedObject>, usize) {
    let mut fixed = 0;
    let checked = lines.iter().map(|line| {
        let (object, is_other) = fix(comparison, line, native);
        fixed += usize::from(is_other);
        object
    });
    (checked.collect(), fixed)
}

/// Returns the object after its repair, and whether something was repaired.
fn fix(comparison: &Comparison<'_>, line: &ContentsLine, native: &NativeFiles<'_>) -> (CheckedObject, bool) {
    let line = &*comparison.overridden.line(line);
    let mut before = comparison.compare_one(line);
    if before.findings.is_empty() {
        return (before, false);
    }
    match native.owner(line) {
        Ok(None) => {}
        Ok(Some(owner)) => {
            before.findings.push(Finding::Unfixed(UnfixedReason::Native(owner)));
            return (before, false);
        }
        Err(error) => {
            before.findings.push(Finding::Unreadable(error.to_string()));
            return (before, false);
        }
    }
    let failed = repair(comparison, line, &before.findings);
    let mut after = comparison.compare_one(line);
    let is_other = after.findings.len() < before.findings.len();
    // A failed repair whose difference is gone nevertheless, because of another repair, is not reported.
    if !after.findings.is_empty() {
        after.findings.extend(failed.into_iter().map(Finding::Unfixed));
    }
    (after, is_other)
}

/// Makes the changes that the findings require. Returns what could not be done.
fn repair(comparison: &Comparison<'_>, line: &ContentsLine, findings: &[Finding]) -> Vec<UnfixedReason> {
    let mut failed = Vec::new();
    let object = &line.object;
    let note = |failed: &mut Vec<UnfixedReason>, result: Result<()>, unfixed: UnfixedReason| {
        if result.is_err() && !failed.contains(&unfixed) {
            failed.push(unfixed);
        }
    };
    for finding in findings {
        match finding {
            Finding::Missing if object.ftype.is_directory() => {
                note(&mut failed, make_directory(comparison, line), UnfixedReason::Directory);
            }
            Finding::Missing if object.ftype == Ftype::Pipe || object.ftype.is_device() => {
                note(&mut failed, make_node(comparison, line), UnfixedReason::Node);
            }
            Finding::Missing if object.ftype == Ftype::Symlink => {
                note(&mut failed, link_anew(comparison, line), unlinked(object));
            }
            Finding::NotSymlinked(_) | Finding::NotLinked(_) => {
                note(&mut failed, link_anew(comparison, line), unlinked(object));
            }
            Finding::Mode(_) | Finding::Owner(_) | Finding::Group(_) => {
                let unfixed = set_attributes(comparison, line).unwrap_or(Some(UnfixedReason::Attributes));
                failed.extend(unfixed.filter(|unfixed| !failed.contains(unfixed)));
            }
            Finding::Mtime(mtime) => {
                note(&mut failed, set_mtime(comparison, line, mtime.expected), UnfixedReason::Mtime);
            }
            _ => {}
        }
    }
    failed
}

fn unlinked(object: &Object) -> UnfixedReason {
    UnfixedReason::Link(object.target.clone().unwrap_or_default())
}

fn make_directory(comparison: &Comparison<'_>, line: &ContentsLine) -> Result<()> {
    let (parent, name) = comparison.place(&line.path)?;
    parent.make_dir(&name, line.object.attributes.mode.unwrap_or(Mode::of(DIRECTORY_MODE)))?;
    set_attributes(comparison, line).map(drop)
}

/// Makes a pipe, or a device if its numbers are recorded.
fn make_node(comparison: &Comparison<'_>, line: &ContentsLine) -> Result<()> {
    let (parent, name) = comparison.place(&line.path)?;
    let (file_type, numbers) = match (line.object.ftype, line.object.device) {
        (Ftype::Pipe, _) => (FileType::Pipe, (0, 0)),
        (Ftype::Block, Some((Some(major), Some(minor)))) => (FileType::Block, (major, minor)),
        (Ftype::Character, Some((Some(major), Some(minor)))) => (FileType::Character, (major, minor)),
        _ => return Err(parent.refused(&name)),
    };
    parent.make_node(&name, file_type, numbers)?;
    set_attributes(comparison, line).map(drop)
}

/// Sets the recorded attributes. Returns what was not done, if the bytes are not the recorded ones.
fn set_attributes(comparison: &Comparison<'_>, line: &ContentsLine) -> Result<Option<UnfixedReason>> {
    let (parent, name) = comparison.place_behind(line)?;
    if name.is_empty() {
        return set_attributes_of_root(comparison, line, &parent).map(|()| None);
    }
    let Some(object) = parent.hold(&name)? else { return Ok(Some(UnfixedReason::Attributes)) };
    let seen = object.look()?;
    let (uid, gid) = other_owners(comparison, line, &seen);
    let is_set_id = line.object.attributes.mode.is_some_and(Mode::is_set_id);
    let changes_owner = line.object.ftype == Ftype::File && (uid.is_some() || gid.is_some());
    let is_for_bytes = line.object.ftype.is_regular() && (is_set_id || changes_owner);
    if is_for_bytes && !hon_record_bytes(comparison, line, &object)? {
        return Ok(Some(UnfixedReason::OtherBytes));
    }
    let rights = ObjectRights { uid, gid, mode: line.object.attributes.mode };
    if !is_for_bytes {
        return object.set_rights(rights).map(|()| None);
    }
    // The previous owner may have written to it until now, and can no longer open it then.
    let is_set = object.set_rights_if(rights, || hon_record_bytes(comparison, line, &object))?;
    Ok((!is_set).then_some(UnfixedReason::OtherBytes))
}

fn set_attributes_of_root(comparison: &Comparison<'_>, line: &ContentsLine, top: &Dir) -> Result<()> {
    let (uid, gid) = other_owners(comparison, line, &top.itself()?);
    if uid.is_some() || gid.is_some() {
        top.set_own_owner(uid, gid)?;
    }
    line.object.attributes.mode.map_or(Ok(()), |mode| top.set_own_mode(mode))
}

/// Returns the recorded owner and group, if the object has others and owners are compared.
fn other_owners(
    comparison: &Comparison<'_>,
    line: &ContentsLine,
    seen: &ObjectStatus,
) -> (Option<u32>, Option<u32>) {
    let Some(accounts) = comparison.accounts else { return (None, None) };
    let wanted = &line.object.attributes;
    let uid = wanted.owner.as_deref().and_then(|owner| accounts.uid(owner));
    let gid = wanted.group.as_deref().and_then(|group| accounts.gid(group));
    (uid.filter(|uid| *uid != seen.uid), gid.filter(|gid| *gid != seen.gid))
}

/// Returns whether a file holds the recorded bytes: by size and sum, and by the digest of what a patch put there if one is
/// known. Without a record of the bytes, the answer is no.
fn hon_record_bytes(comparison: &Comparison<'_>, line: &ContentsLine, object: &OpenObject) -> Result<bool> {
    let Some(found) = object.sums()? else { return Ok(false) };
    let recorded = line.object.content;
    let delivered = comparison.delivered.get(&line.path).filter(|file| file.object == line.object);
    let is_recorded = recorded.size == Some(found.size)
        && recorded.cksum == Some(found.cksum)
        && delivered.is_none_or(|file| file.b3 == found.b3);
    Ok(holds("contents.line.bytes", is_recorded))
}

fn set_mtime(comparison: &Comparison<'_>, line: &ContentsLine, seconds: i64) -> Result<()> {
    let (parent, name) = comparison.place(&line.path)?;
    parent.set_mtime(&name, Timestamp::whole(seconds))
}

/// Puts the link in its place in one step: it is made under a name that nobody can guess, then renamed.
fn link_anew(comparison: &Comparison<'_>, line: &ContentsLine) -> Result<()> {
    let (parent, name) = comparison.place(&line.path)?;
    let target = line.object.target.as_deref().unwrap_or_default();
    let seen = parent.look(&name)?;
    let new = format!(".pkgchk-{:016x}", random()?).into_bytes();
    if line.object.ftype == Ftype::Symlink {
        if seen.is_some_and(|seen| seen.file_type != FileType::Symlink) {
            return Err(parent.refused(&name));
        }
        parent.make_symlink(&new, target)?;
    } else {
        let source = line.path.link_source(target).map_err(|_| parent.refused(&name))?;
        let (source_dir, source_name) = comparison.place(&source)?;
        if seen.is_some() && !has_same_bytes(&parent, &name, &source_dir, &source_name)? {
            return Err(parent.refused(&name));
        }
        parent.make_link(&new, &source_dir, &source_name)?;
    }
    let renamed = parent.rename(&new, &name);
    if renamed.is_err() {
        // The first failure is reported; a left-over temporary name is harmless.
        let _ = parent.remove(&new);
    }
    renamed
}

/// Returns whether two names hold the same: regular files with the same bytes, or symbolic links with the same target.
fn has_same_bytes(dir: &Dir, name: &[u8], other_dir: &Dir, other: &[u8]) -> Result<bool> {
    let (Some(a), Some(b)) = (dir.live(name)?, other_dir.live(other)?) else { return Ok(false) };
    Ok(match (&a.kind, &b.kind) {
        (LiveKind::Regular { b3: a, .. }, LiveKind::Regular { b3: b, .. }) => a == b,
        (LiveKind::Symlink(a), LiveKind::Symlink(b)) => a == b,
        _ => false,
    })
}
