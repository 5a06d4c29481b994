//! Moves all remains of a run away, for an operator who continues without its recovery. Nothing is deleted.

use crate::records::lost_journal::{STAGES, UNPUBLISHED};
use crate::transaction::error::{Cause, DuringPhase as _, Phase, TransactionError};
use crate::transaction::journal::journal_file;
use crate::transaction::recover::copies::other_stages;
use crate::transaction::recover::discard::{damage, directories, own};
use crate::transaction::recover::recovery::read_believed;
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::{Dir, FileType, Lock, Root, RootError};
use patchadm_svr4::package::ObjectPath;
use rustix::io::Errno;

/// The stages that were moved away or renamed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptStage {
    /// The names in the directory where it is kept.
    pub names: Vec<String>,
    /// The stages on other file systems, which stay there under new names.
    pub elsewhere: Vec<String>,
}

/// Moves the stages of a root, and its journal, to an empty directory of the host on the same file system. The journal
/// must be damaged, gone, or of an unfinished run of an earlier version. Does nothing and returns `None` if the journal
/// is whole.
pub fn keep_stage(root: &Root, _lock: &Lock, to: &Dir) -> Result<Option<KeptStage>, TransactionError> {
    kept(root, to).during(Phase::Recover)
}

fn kept(root: &Root, to: &Dir) -> Result<Option<KeptStage>, Cause> {
    let Some(own) = own(root)? else { return Ok(None) };
    match damage(root)? {
        None if !is_stage_lost(root)? => return Ok(None),
        _ => {}
    }
    must_take(&own, to)?;
    let mut kept = KeptStage::default();
    for name in directories(&own)? {
        let stages = own.dir(STAGES)?;
        kept.elsewhere.extend(keep_others(root, &stages.dir(&name)?, &name)?);
        stages.move_to(&name, to, &name).map_err(|error| unreachable_from(error, to))?;
        kept.names.push(name.escape_ascii().to_string());
        stages.sync()?;
    }
    // The journal moves last: until then it shows that there is work to do.
    let is_part =
        |name: &Vec<u8>| name.starts_with(b"ops-") || name == UNPUBLISHED || name == journal_file::NAME;
    let mut names: Vec<Vec<u8>> = own.names()?.into_iter().filter(is_part).collect();
    names.sort_by_key(|name| name == journal_file::NAME);
    for name in names {
        own.move_to(&name, to, &name).map_err(|error| unreachable_from(error, to))?;
        kept.names.push(name.escape_ascii().to_string());
    }
    to.sync()?;
    own.sync()?;
    Ok(Some(kept))
}

/// Tells whether an unfinished run lacks its stage or part of it, so that it cannot be recovered.
fn is_stage_lost(root: &Root) -> Result<bool, Cause> {
    let Some(head) = journal_file::head(root)? else { return Ok(false) };
    if head.done {
        return Ok(false);
    }
    let Some(journal) = read_believed(root)? else { return Ok(false) };
    Ok(matches!(OpRunner::open(root, &journal), Err(Cause::DomainMissing { .. })))
}

/// Checks that a directory can take everything, before anything is moved.
fn must_take(own: &Dir, to: &Dir) -> Result<(), Cause> {
    let wrong = |reason| Cause::KeepingPlace { path: to.root().show(to.path()), reason };
    if !to.names()?.is_empty() {
        return Err(wrong("is not empty"));
    }
    let (here, there) = (own.itself()?, to.itself()?);
    if (here.mount, here.file_system) != (there.mount, there.file_system) {
        return Err(wrong("is on another file system than the stage, which can only be renamed"));
    }
    Ok(())
}

fn unreachable_from(error: RootError, to: &Dir) -> Cause {
    match error.errno() {
        Some(Errno::XDEV) => Cause::KeepingPlace {
            path: to.root().show(to.path()),
            reason: "cannot be reached from the stage by a rename",
        },
        _ => error.into(),
    }
}

/// Renames the stages of a run on other file systems so that nothing removes them. Returns their paths.
fn keep_others(root: &Root, first: &Dir, run: &[u8]) -> Result<Vec<String>, Cause> {
    let run = String::from_utf8_lossy(run).into_owned();
    let mut paths = Vec::new();
    for stage in other_stages(root, first, &run)? {
        let path = stage.path().clone();
        let Some(holder) = root.dir_if_there(&path.parent().unwrap_or_else(ObjectPath::root))? else {
            continue;
        };
        let mut name = b"kept-".to_vec();
        name.extend_from_slice(path.name());
        let is_local = path.name().starts_with(b".");
        if !is_local && holder.look(&name)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            holder.move_to(path.name(), &holder, &name)?;
            holder.sync()?;
            paths.push(root.show(&holder.at(&name)));
        } else {
            paths.push(root.show(&path));
        }
    }
    Ok(paths)
}
