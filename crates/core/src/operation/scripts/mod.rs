//! Procedure scripts: preparation, questions, execution. `plan::script_schedule` decides which scripts run when;
//! `packages::scripted` follows it.

pub(super) mod failure;
pub(super) mod interview;
pub(super) mod package_directory;
pub(super) mod run;
pub(super) mod runner;
pub(super) mod safety;

use std::collections::BTreeSet;

use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use crate::script::standard;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::contents::scan;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_planning::plan::scripts::{Deliverer, SystemScripts};
use patchadm_rootfs::{FileType, Root, RootError};
use patchadm_svr4::format::contents::key_of;
use patchadm_svr4::package::last_component;
use patchadm_svr4::places;

pub use crate::script::OutputStream;
pub use crate::script::protocol::RebootRequest;
pub use failure::{LastingResults, ScriptFailure};
pub use runner::{ScriptOutput, ScriptSettings};

const STANDARD_CLASSES: [&str; 7] = ["build", "sed", "awk", "preserve", "renamenew", "renameold", "manifest"];

/// Finds class action scripts for all packages: of the root, the running system, and this program. Lists those of the
/// running system once.
pub(crate) fn system_scripts(ground: &RootAndPolicy) -> Result<SystemScripts, Failure> {
    let of_root = class_scripts(&ground.root)?;
    let of_host = if ground.root.is_system() { BTreeSet::new() } else { class_scripts(&ground.host)? };
    let classes = STANDARD_CLASSES.iter().flat_map(|class| [format!("i.{class}"), format!("r.{class}")]);
    let standard = classes.filter(|name| standard::standard(name).is_some()).collect();
    let mut delivered = BTreeSet::new();
    if ground.policy.scripts == ScriptPolicy::Known {
        let places = [(Deliverer::Root, &ground.root, &of_root), (Deliverer::Host, &ground.host, &of_host)];
        for (deliverer, root, names) in places {
            delivered.extend(delivered_scripts(root, names)?.into_iter().map(|name| (deliverer, name)));
        }
    }
    Ok(SystemScripts { root: of_root, host: of_host, standard, delivered })
}

fn class_scripts(root: &Root) -> Result<BTreeSet<String>, RootError> {
    let names = root.list(&places::class_scripts())?.unwrap_or_default();
    let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
    Ok(names.filter(|name| name.starts_with("i.") || name.starts_with("r.")).collect())
}

/// Returns scripts that a package owns by any path, and symbolic links, whose targets may be anyone's.
fn delivered_scripts(root: &Root, names: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let place = root.resolver().locate_dir(&places::class_scripts())?;
    let dir = root.dir(&place)?;
    let mut found = BTreeSet::new();
    for name in names {
        let seen = dir.look(name.as_bytes())?;
        if seen.is_none_or(|seen| seen.file_type != FileType::Regular) {
            found.insert(name.clone());
        }
    }
    let names_one =
        |line: &[u8]| str::from_utf8(last_component(&key_of(line))).is_ok_and(|last| names.contains(last));
    for path in scan(&RecordView::live(root), names_one)?.into_keys() {
        let physical = root.resolver().locate(&path)?;
        if physical.parent().as_ref() == Some(&place) {
            found.extend(str::from_utf8(physical.name()).ok().map(str::to_owned));
        }
    }
    Ok(found)
}
