//! An undo archive written again in another form, with the same content: the objects pass through the run from the old
//! archive, the manifest stays, and digest, ledger and pointer follow.

use std::collections::HashMap;
use std::path::Path;

use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::inventory::Save;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;

use super::backout_input::LaterUndo;
use super::middle::rewrite::{Rewriting, RewrittenUndo};
use crate::plan::ledger::{LedgerChange, LedgerRewrite, RewrittenArchive};
use crate::plan::refusal::Reason;
use crate::plan::{Plan, RecordChange, UndoPart};

/// Adds to a plan that the archive of a patch is written in another form. `save` is the save directory of the patch.
pub fn repack(plan: &mut Plan, later: &LaterUndo<'_>, save: &Save, format: UndoFormat) -> Result<(), Reason> {
    let RewrittenUndo { mut archive, versions } = Rewriting::of(later, &HashMap::new())?.unchanged()?;
    archive.format = format;
    for place in archive.passing.values_mut().flatten() {
        *place += plan.versions.len();
    }
    plan.records.extend(files_of(later, save, format, plan.undo.len())?);
    let used_up = later.archive.filter(|archive| archive.is_used_up);
    plan.discard.extend(used_up.and_then(|archive| archive.outside).map(Path::to_owned));
    plan.versions.extend(versions);
    plan.undo.push(archive);
    add_to_ledger(plan, later);
    Ok(())
}

/// Returns the files of the save directory that follow the archive with this place in the plan.
fn files_of(
    later: &LaterUndo<'_>,
    save: &Save,
    format: UndoFormat,
    archive: usize,
) -> Result<Vec<RecordChange>, Reason> {
    let at = |name: &str| path_of(later.package, &later.patch, name);
    let undo = |name: &str, part| Ok::<_, Reason>(RecordChange::Undo { path: at(name)?, archive, part });
    let digest = undo("undo.b3", UndoPart::Digest)?;
    match (&save.archive, &save.remote) {
        (Some(name), _) => {
            let renamed = name_in(name, format);
            let mut records = vec![undo(&renamed, UndoPart::Archive)?, digest];
            if renamed != *name {
                records.push(RecordChange::RemoveFile(at(name)?));
            }
            Ok(records)
        }
        (None, Some(pointer)) => {
            let pointer = RemoteArchive::parse(pointer).map_err(|error| bad(later.package, &error))?;
            Ok(vec![digest, undo("remote", UndoPart::Pointer(pointer))?])
        }
        (None, None) => Err(Reason::NoUndoData(later.package.clone())),
    }
}

/// Returns the name of an archive (`undo.gz`, `obsolete.Z`, …) in another form.
fn name_in(name: &str, format: UndoFormat) -> String {
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    format!("{stem}{}", format.suffix())
}

fn path_of(package: &PkgInst, patch: &str, name: &str) -> Result<ObjectPath, Reason> {
    let save = places::save(package).join(patch.as_bytes());
    save.and_then(|save| save.join(name.as_bytes())).map_err(|error| bad(package, &error))
}

fn bad(package: &PkgInst, error: &dyn ToString) -> Reason {
    Reason::BadUndoData { package: package.clone(), reason: error.to_string() }
}

/// Lets the ledger of the package follow; there is one change for each ledger.
fn add_to_ledger(plan: &mut Plan, later: &LaterUndo<'_>) {
    let (patch, archive) = (later.patch.clone(), RewrittenArchive::Anew);
    let rewrite = LedgerRewrite { patch, archive, is_adopted: false };
    let known = plan.records.iter_mut().find_map(|record| match record {
        RecordChange::Ledger(change) if change.package == *later.package => Some(change),
        _ => None,
    });
    if let Some(change) = known {
        change.rewritten.push(rewrite);
        return;
    }
    let change = LedgerChange { rewritten: vec![rewrite], ..LedgerChange::of(later.package) };
    plan.records.push(RecordChange::Ledger(change));
    plan.packages.push(later.package.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_keeps_its_stem() {
        for (name, format, expected) in [
            ("undo.gz", UndoFormat::Plain, "undo"),
            ("undo", UndoFormat::Compress, "undo.Z"),
            ("obsolete.Z", UndoFormat::Gzip, "obsolete.gz"),
            ("obsolete.files", UndoFormat::Zstd, "obsolete.zst"),
            ("undo.zst", UndoFormat::Gzip, "undo.gz"),
            ("undo.zst", UndoFormat::Xz, "undo.xz"),
            ("obsolete.xz", UndoFormat::Plain, "obsolete"),
        ] {
            assert_eq!(name_in(name, format), expected);
        }
    }
}
