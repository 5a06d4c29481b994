//! The answers of `bulk run`: what a run came to, what it would do, or that nothing has changed.

use serde::Serialize;

use crate::ends::{FAILED, NO_SLOT};
use patchadm_building::run::RunOutcome;
use patchadm_bulk_values::journal::PackageState;
use patchadm_bulk_values::report::{ReportTextInput, RunReport, report_text};
use patchadm_bulk_values::schedule::{PlannedAction, RunPlan};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause};
use patchadm_cli::surroundings::Output;

/// What a run came to.
#[derive(Serialize)]
pub(crate) struct BulkRunReport {
    #[serde(flatten)]
    pub(crate) report: RunReport,
    pub(crate) notes: Vec<String>,
    #[serde(skip)]
    pub(crate) base: String,
}

impl CommandReport for BulkRunReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let input = ReportTextInput {
            title: "bulk build",
            base: &self.base,
            url: None,
            difference: None,
            log_ends: std::collections::BTreeMap::new(),
        };
        output.print(report_text(&self.report, &input))?;
        Ok(())
    }
}

/// What a run would do.
#[derive(Serialize)]
pub(crate) struct PlanReport {
    #[serde(flatten)]
    pub(crate) plan: RunPlan,
    pub(crate) notes: Vec<String>,
}

impl CommandReport for PlanReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let counted = |action| self.plan.plan.iter().filter(|package| package.action == action).count();
        for package in self.plan.plan.iter().filter(|package| package.action != PlannedAction::Nothing) {
            output.line(format!("{}  {}: {}", package.action.word(), package.package, package.why))?;
        }
        output.line(format!(
            "{} to build, {} perhaps, {} not",
            counted(PlannedAction::Build),
            counted(PlannedAction::Maybe),
            counted(PlannedAction::Nothing)
        ))?;
        if !self.plan.longest_way.is_empty() {
            output.line(format!("longest way: {}", self.plan.longest_way.join(" -> ")))?;
        }
        match self.plan.expected_ms {
            Some(ms) => output.line(format!("expected: {} s at most", ms.div_ceil(1000)))?,
            None => output.line("expected: nothing was built yet, so that no duration is known")?,
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        for note in &self.notes {
            output.warning(note)?;
        }
        Ok(())
    }
}

/// That nothing has changed since a run.
#[derive(Serialize)]
pub(crate) struct UnchangedReport {
    pub(crate) run: u64,
    pub(crate) unchanged: bool,
}

impl CommandReport for UnchangedReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        output.line(format!("nothing changed since run {}", self.run))?;
        Ok(())
    }
}

/// Returns the exit code of a run. A package that its recipe skips counts only where it was named, a fault of the tree always.
/// `of_patches` is that of patches, where something else than a failure kept them from being made or published.
pub(crate) fn exit_of(outcome: &RunOutcome, names: &[String], of_patches: Option<Exit>) -> Exit {
    let ended = &outcome.ended;
    if let Some(signal) = ended.interrupted {
        return Exit::by_signal(signal);
    }
    let count = |state| ended.report.count(state);
    if count(PackageState::Deferred) > 0 {
        return Exit::new(NO_SLOT, ExitCause::Internal);
    }
    if let Some(exit) = of_patches {
        return exit;
    }
    let is_named = |package: &str, location: &str| {
        let name = package.rsplit_once('-').map_or(package, |(name, _)| name);
        names.iter().any(|named| [package, name, location].contains(&named.as_str()))
    };
    let prefailed = ended.report.packages.iter().any(|package| {
        matches!(package.state, PackageState::Prefailed | PackageState::IndirectPrefailed)
            && (package.fault.is_some() || is_named(&package.package, &package.location))
    });
    let leaves_out = ended.report.set.as_ref().is_some_and(|set| !set.left_out.is_empty());
    let is_refused = ended.report.set_refused.is_some()
        || leaves_out
        || !ended.is_handed_on
        || !ended.are_patches_whole
        || ended.patches_error.is_some();
    if prefailed || is_refused || count(PackageState::Failed) > 0 {
        return Exit::new(FAILED, ExitCause::DamagedInput);
    }
    Exit::OK
}
