//! The options about plan files: they write a request to the file, and read it from there again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::{ApplyingOptions, ChangeOptions};
use crate::set_options::SetOptions;
use patchadm_cli::arguments::{LibraryOptions, ScriptOptions, named_text};
use patchadm_cli::reply::Stop;
use patchadm_cli::reply::failure::plan_file_refused;
use patchadm_core::operation::plan_file::{ExpectedPlan, PlanFault, PlanFileRequest, read_plan};
use patchadm_inputs::format::plan_file::{PlanFileError, PlanOptions};
use patchadm_svr4::patch::PatchId;

/// Options about plan files.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct PlanFileOptions {
    /// Save the plan to this file before anything is done
    #[arg(long, value_name = "FILE")]
    pub(super) save_plan: Option<PathBuf>,
    /// Do exactly what this file says, which --save-plan made, or nothing; patches and options are those of the file
    #[arg(long = "plan", id = "plan_file", value_name = "FILE", conflicts_with = "save_plan")]
    pub(super) plan: Option<PathBuf>,
}

/// The request to a command.
pub(super) struct AskedPlan {
    pub(super) changing: ChangeOptions,
    pub(super) choices: ApplyingOptions,
    pub(super) set: SetOptions,
    pub(super) operands: Vec<PathBuf>,
}

impl PlanFileOptions {
    /// Returns the final request, and the use of a plan file. `verb` carries the plan out.
    pub(super) fn settle(
        self,
        asked: AskedPlan,
        verb: &'static str,
        usage: &'static str,
    ) -> Result<(AskedPlan, PlanFileRequest), Stop> {
        let wrong = |message: String| Stop::Usage { message, usage };
        let none = PlanFileRequest { command: verb, ..PlanFileRequest::default() };
        if self.save_plan.is_none() && self.plan.is_none() {
            return Ok((asked, none));
        }
        if asked.changing.many.are_named() {
            return Err(wrong("a plan file is about one root".to_owned()));
        }
        let options = asked.options(verb).map_err(wrong)?;
        let Some(path) = self.plan else {
            return Ok((asked, PlanFileRequest { options, save: self.save_plan, ..none }));
        };
        if options != PlanOptions::default() {
            return Err(wrong("with --plan the patches and their options are those of the file".to_owned()));
        }
        let expected = expected_plan(&path, verb, usage)?;
        let options = expected.plan.options.clone();
        let bad = |error| plan_file_refused(PlanFault::Bad { path, error });
        let asked = asked.taking(&options).map_err(bad)?;
        Ok((asked, PlanFileRequest { options, expected: Some(expected), ..none }))
    }
}

/// Reads the plan file of a verb, which must be one of that.
pub(super) fn expected_plan(path: &Path, verb: &str, usage: &'static str) -> Result<Arc<ExpectedPlan>, Stop> {
    let expected = read_plan(path).map_err(plan_file_refused)?;
    if expected.plan.command == verb {
        return Ok(Arc::new(expected));
    }
    let message = format!("plan file {} is one of `{}`", path.display(), expected.plan.command);
    Err(Stop::Usage { message, usage })
}

impl AskedPlan {
    /// Returns the request as a plan file has it.
    fn options(&self, verb: &str) -> Result<PlanOptions, String> {
        let mut options = PlanOptions { no_scripts: self.changing.no_scripts, ..PlanOptions::default() };
        self.choices.write(&mut options)?;
        self.set.write(&mut options)?;
        self.changing.scripts.write(&mut options);
        self.changing.shlibs.write(&mut options);
        let is_word = |operand: &Path| {
            verb == "update" || (options.depot.is_some() && operand.to_str().is_some_and(is_id))
        };
        let operands = self.operands.iter().map(|operand| {
            let text = if is_word(operand) { operand.to_str().map(str::to_owned) } else { None };
            text.map_or_else(|| named_text(operand), Ok)
        });
        let operands = operands.collect::<Result<_, _>>()?;
        Ok(PlanOptions { operands, ..options })
    }

    /// Returns the same with what a plan file says was asked for.
    fn taking(self, options: &PlanOptions) -> Result<Self, PlanFileError> {
        let scripts = ScriptOptions::of_plan(options)?;
        let shlibs = LibraryOptions::of_plan(options)?;
        Ok(Self {
            changing: ChangeOptions { scripts, no_scripts: options.no_scripts, shlibs, ..self.changing },
            choices: ApplyingOptions {
                unsigned: self.choices.unsigned,
                ..ApplyingOptions::of_plan(options)?
            },
            set: self.set.reading(options),
            operands: options.operands.iter().map(PathBuf::from).collect(),
        })
    }
}

fn is_id(word: &str) -> bool {
    PatchId::new(word).is_ok() || word.bytes().all(|byte| byte.is_ascii_digit())
}
