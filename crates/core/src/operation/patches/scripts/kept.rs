//! The scripts of a patch that are kept in the root until its backout, and the permission to run them.
//!
//! They lie below `var/sadm/patch` for years. A script that was recorded by the run that applied the patch may run if it
//! still has that content. For a script that a classic tool left, there is no record. It runs if only the superuser could
//! have written it since, and this is reported.

use crate::operation::failure::Failure;
use crate::operation::scripts::safety::check_owners;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_inputs::format::ledger::{LedgerLine, LedgerUndo};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::Digest;
use patchadm_svr4::package::{PkgInst, rule};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

/// The largest script that is read for the comparison.
const LARGEST: u64 = 16 << 20;

/// The entry of the root's ledger about a script that is kept for a patch.
enum Recorded {
    /// No entry for the patch: a classic tool applied it.
    Nothing,
    /// An entry for the patch, without this script.
    NoSuchScript,
    /// The digest of the script.
    Digest(Digest),
}

/// Looks a script of a patch up in the ledgers of all packages: each package of the patch has it in its line.
fn recorded(ground: &RootAndPolicy, patch: &PatchId, name: &str) -> Result<Recorded, Failure> {
    let view = RecordView::live(&ground.root);
    let mut found = Recorded::Nothing;
    for package in ground.root.list(&places::ledgers())?.unwrap_or_default() {
        let Some(package) = std::str::from_utf8(&package).ok().and_then(|name| PkgInst::new(name).ok())
        else {
            continue;
        };
        let ledger = ledger::counting(&view, &package).map_err(ArchiveError::from)?;
        if let Some(digest) = ledger.script_digest(patch.as_str(), name) {
            return Ok(Recorded::Digest(digest));
        }
        // A line that was written for an archive of another tool, or to adopt one, says nothing about scripts.
        let is_of_classic = |undo: &LedgerUndo| matches!(undo, LedgerUndo::Kept { is_classic: true, .. });
        let is_own = |line: &LedgerLine| !line.is_adopted && !is_of_classic(&line.undo);
        if ledger.line(patch.as_str()).is_some_and(is_own) || ledger.earlier(patch.as_str()).is_some() {
            found = Recorded::NoSuchScript;
        }
    }
    Ok(found)
}

/// Refuses a kept script that may not run. Returns a remark on one that may.
pub(crate) fn may_run(
    ground: &RootAndPolicy,
    patch: &PatchId,
    name: &str,
) -> Result<Option<String>, Failure> {
    let refuse = |reason: Reason| Failure::from(reason.of(Command::Patchrm, patch));
    let place = places::patches().join(patch.as_str().as_bytes());
    let place = place.map_err(|error| refuse(Reason::BadId(error.to_string())))?;
    let shown = format!("{}/{name}", ground.root.show(&place));
    let recorded = match recorded(ground, patch, name)? {
        Recorded::Nothing => {
            check_owners(&ground.root, &place, name).map_err(refuse)?;
            return Ok(Some(format!("{shown} was left by a classic tool: nothing says what it has to be")));
        }
        Recorded::NoSuchScript => None,
        Recorded::Digest(digest) => Some(digest),
    };
    let path = place.join(name.as_bytes()).map_err(|error| refuse(Reason::BadId(error.to_string())))?;
    let text = ground.root.read(&path, LARGEST)?.unwrap_or_default();
    let is_on_record = recorded == Some(Digest::of(&text));
    if rule::holds("ledger.scripts.digest", is_on_record) {
        return Ok(None);
    }
    let why = format!("scripts cannot be run: {shown} is not the one that came with the patch");
    Err(refuse(Reason::ScriptsUnsafe(why)))
}
