//! Procedure scripts of packages: getting ready for them, asking through them, running one after another.
//!
//! [`procedures`] runs one script at a time for any command; [`briefing`] is what it is told, [`medium`] where it finds
//! its package, [`interview`] the part before anything is changed, [`run`] the part of a run. Which scripts run when is
//! in `plan::course` and in the operation that follows it.

pub(super) mod briefing;
pub(super) mod failure;
pub(super) mod interview;
pub(super) mod medium;
pub(super) mod procedures;
pub(super) mod run;
pub(super) mod safety;

use std::collections::BTreeSet;

use crate::database::places;
use crate::plan::scripts::SystemScripts;
use crate::root::{Root, RootError};
use crate::script::standard;

use super::session::Ground;

pub use crate::script::Stream;
pub use crate::script::protocol::Reboot;
pub use failure::{Ending, ScriptFailure};
pub use procedures::{ScriptSettings, Voice};

/// The classes that this program may have scripts for.
const STANDARD_CLASSES: [&str; 7] = ["build", "sed", "awk", "preserve", "renamenew", "renameold", "manifest"];

/// The class action scripts that are there for all packages of a root. The running system's are not asked for twice.
pub(super) fn system_scripts(ground: &Ground) -> Result<SystemScripts, RootError> {
    let of_root = class_scripts(&ground.root)?;
    let of_host = if ground.root.is_system() { BTreeSet::new() } else { class_scripts(&ground.host)? };
    let classes = STANDARD_CLASSES.iter().flat_map(|class| [format!("i.{class}"), format!("r.{class}")]);
    let standard = classes.filter(|name| standard::standard(name).is_some()).collect();
    Ok(SystemScripts { root: of_root, host: of_host, standard })
}

fn class_scripts(root: &Root) -> Result<BTreeSet<String>, RootError> {
    let names = root.list(&places::class_scripts())?.unwrap_or_default();
    let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
    Ok(names.filter(|name| name.starts_with("i.") || name.starts_with("r.")).collect())
}
