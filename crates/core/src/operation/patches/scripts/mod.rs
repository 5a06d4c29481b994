//! Patches with scripts: hooks, questions, and packages, all in one run.
//!
//! ```text
//!   plan ─► prepatch ─► checkinstall of each package ─► plan again ─► run begins
//!        ─► package by package: its course ─► records of the patch ─► postpatch ─► commit
//! ```
//! A backout is the same with prebackout and postbackout. A failure before the commit restores all files of the
//! packages; other effects of prepatch stay.

pub(in crate::operation) mod hooks;
pub(super) mod response;
pub(crate) mod restoration;
pub(super) mod run;
mod safety;

pub(super) use hooks::must_be_executable;
pub(super) use safety::must_be_safe;

use crate::operation::failure::Failure;
use crate::operation::scripts::ScriptSettings;
use crate::operation::scripts::system::system_scripts;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_planning::plan::patch::engine::{Engine, ScriptChoice};

#[derive(Clone, Debug, Default)]
pub struct PatchScriptRequest {
    pub settings: ScriptSettings,
    /// Who does the work of patch scripts: the program or the scripts.
    pub engine: Engine,
    /// Forbids scripts, whatever the policy says.
    pub none: bool,
}

impl PatchScriptRequest {
    pub(crate) fn choice(&self, ground: &RootAndPolicy) -> Result<ScriptChoice, Failure> {
        let policy = match ground.policy.scripts {
            ScriptPolicy::Run | ScriptPolicy::Known if self.none => ScriptPolicy::Unwanted,
            policy => policy,
        };
        Ok(ScriptChoice { engine: self.engine, policy, system: system_scripts(ground)? })
    }
}
