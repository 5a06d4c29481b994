//! Plan files: the arguments of a verb are written to the file, and read from there again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::{ApplicationOptions, ApplyingOptions, ChangeOptions, PlanFileOptions};
use patchadm_cli::arguments::{LibraryOptions, ScriptOptions, named_text};
use patchadm_cli::reply::Stop;
use patchadm_cli::reply::failure::plan_file_refused;
use patchadm_core::operation::plan_file::{ExpectedPlan, PlanFault, PlanFileRequest, read_plan};
use patchadm_inputs::format::plan_file::PlanOptions;
use patchadm_svr4::patch::PatchId;

/// Completes the arguments of a verb that applies patches with those of the plan file that they name. Returns the use of the
/// file.
pub(super) fn settle_plan_file(
    options: &mut ApplicationOptions,
    changing: &mut ChangeOptions,
    operands: &mut Vec<PathBuf>,
    verb: &'static str,
    usage: &'static str,
) -> Result<PlanFileRequest, Stop> {
    let wrong = |message: String| Stop::Usage { message, usage };
    let none = PlanFileRequest { command: verb, ..PlanFileRequest::default() };
    let PlanFileOptions { save_plan: save, plan } = std::mem::take(&mut options.plan_file);
    if save.is_none() && plan.is_none() {
        return Ok(none);
    }
    if changing.many.are_named() {
        return Err(wrong("a plan file is about one root".to_owned()));
    }
    let written = written(options, changing, operands, verb).map_err(wrong)?;
    let Some(path) = plan else { return Ok(PlanFileRequest { options: written, save, ..none }) };
    if written != PlanOptions::default() {
        return Err(wrong("with --plan the patches and their options are those of the file".to_owned()));
    }
    let expected = expected_plan(&path, verb, usage)?;
    let read = expected.plan.options.clone();
    let bad = |error| plan_file_refused(PlanFault::Bad { path: path.clone(), error });
    changing.scripts = ScriptOptions::of_plan(&read).map_err(bad)?;
    changing.shlibs = LibraryOptions::of_plan(&read).map_err(bad)?;
    changing.no_scripts = read.no_scripts;
    let unsigned = options.choices.unsigned;
    options.choices = ApplyingOptions { unsigned, ..ApplyingOptions::of_plan(&read).map_err(bad)? };
    options.set.read(&read);
    *operands = read.operands.iter().map(PathBuf::from).collect();
    Ok(PlanFileRequest { options: read, expected: Some(expected), ..none })
}

/// Returns the arguments as a plan file has them.
fn written(
    options: &ApplicationOptions,
    changing: &ChangeOptions,
    operands: &[PathBuf],
    verb: &str,
) -> Result<PlanOptions, String> {
    let mut written = PlanOptions { no_scripts: changing.no_scripts, ..PlanOptions::default() };
    options.choices.write(&mut written)?;
    options.set.write(&mut written)?;
    changing.scripts.write(&mut written);
    changing.shlibs.write(&mut written);
    let is_word =
        |operand: &Path| verb == "update" || (written.depot.is_some() && operand.to_str().is_some_and(is_id));
    let operands = operands.iter().map(|operand| {
        let text = if is_word(operand) { operand.to_str().map(str::to_owned) } else { None };
        text.map_or_else(|| named_text(operand), Ok)
    });
    let operands = operands.collect::<Result<_, _>>()?;
    Ok(PlanOptions { operands, ..written })
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

fn is_id(word: &str) -> bool {
    PatchId::new(word).is_ok() || word.bytes().all(|byte| byte.is_ascii_digit())
}
