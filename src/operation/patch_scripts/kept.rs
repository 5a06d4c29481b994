//! The scripts of a patch that are kept in the root until its backout: which of them may run.
//!
//! They lie below `var/sadm/patch` for years. One that the run which applied the patch has recorded runs if it still has
//! that content. Of one that a classic tool left nothing is recorded: it runs where nobody but the superuser could have
//! written it since, and that is said.

use sha2::{Digest as _, Sha256};

use crate::database::places;
use crate::operation::failure::Failure;
use crate::operation::scripts::safety::check_owners;
use crate::operation::session::Ground;
use crate::package::{Digest, rule};
use crate::patch::PatchId;
use crate::plan::refusal::{Command, Reason};

/// The largest script that is read to be compared.
const LARGEST: u64 = 16 << 20;

/// What the run that applied a patch has recorded of one of its scripts; none where a classic tool applied it.
fn recorded(_ground: &Ground, _patch: &PatchId, _name: &str) -> Option<Digest> {
    None
}

/// Refuses a kept script that may not run. What is to be said of one that may.
pub(in crate::operation) fn may_run(
    ground: &Ground,
    patch: &PatchId,
    name: &str,
) -> Result<Option<String>, Failure> {
    let refuse = |reason: Reason| Failure::from(reason.of(Command::Patchrm, patch));
    let place = places::patches().join(patch.as_str().as_bytes());
    let place = place.map_err(|error| refuse(Reason::BadId(error.to_string())))?;
    let shown = format!("{}/{name}", ground.root.show(&place));
    let Some(recorded) = recorded(ground, patch, name) else {
        check_owners(&ground.root, &place, name).map_err(refuse)?;
        return Ok(Some(format!("{shown} was left by a classic tool: nothing says what it has to be")));
    };
    let path = place.join(name.as_bytes()).map_err(|error| refuse(Reason::BadId(error.to_string())))?;
    let text = ground.root.read(&path, LARGEST)?.unwrap_or_default();
    let is_as_recorded = Digest(Sha256::digest(&text).into()) == recorded;
    if rule::holds("ledger.scripts.digest", is_as_recorded) {
        return Ok(None);
    }
    let why = format!("scripts cannot be run: {shown} is not the one that came with the patch");
    Err(refuse(Reason::ScriptsUnsafe(why)))
}
