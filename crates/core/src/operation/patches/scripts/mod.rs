//! Patches whose scripts take part: hooks, questions, and the packages with their scripts, all in one run.
//!
//! ```text
//!   plan ─► prepatch ─► checkinstall of each package ─► plan again ─► run begins
//!        ─► package by package: its course ─► records of the patch ─► postpatch ─► commit
//! ```
//! A backout does the same with prebackout and postbackout. If anything fails before the commit, all files of the packages
//! are as before. Other effects of a prepatch stay: it ran before the run.

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

/// The options of a patch command about scripts.
#[derive(Clone, Debug, Default)]
pub struct PatchScriptRequest {
    /// The settings of scripts.
    pub settings: ScriptSettings,
    /// The engine that does the work of patch scripts: program or scripts.
    pub engine: Engine,
    /// True if none may run, whatever the policy says.
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
