//! `patchadm stage refresh`: brings changes of the live tree into a stage.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::ends::stage_failed;
use crate::as_owner::options::OwnerOptions;
use crate::verbs::options::{BriefVerbOptions, DryRunOption, EditOptions};
use patchadm_cli::arguments::{NamedPath, inside, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{described, described_plan, verb_code};
use patchadm_cli::reply::words::recovery_sentence;
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::stages::ConflictingPath;
use patchadm_core::operation::stages::refresh::{
    MovedStagePackage, PackageMove, RefreshReport, RefreshRequest, refresh_stage,
};
use patchadm_planning::plan::refusal::{Command, Wording};

const USAGE: &str = "patchadm [-R root] stage refresh [option...] stage";

/// Update a stage with changes from the live tree
#[derive(clap::Parser)]
struct RefreshArgs {
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    edits: EditOptions,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The stage: a directory or a name
    #[arg(value_name = "STAGE")]
    stage: PathBuf,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "stage refresh";
    let RefreshArgs { dry_run: DryRunOption { dry_run }, edits, owner, common, stage } = parse(call, USAGE)?;
    let root = owner.open::<RefreshArgs>(call, &common.root, Command::Refresh)?;
    if !dry_run {
        call.output.heedless();
    }
    let request = RefreshRequest {
        stage: stage.into_os_string(),
        edited: edits.edited,
        overridden: inside(&root, &NamedPath::all(&edits.overridden)),
        preserved: inside(&root, &NamedPath::all(&edits.preserved)),
        dry_run,
    };
    let done = call.change(&root, call.name, None, |caller| refresh_stage(&root, &request, caller))?;
    let undone = if dry_run { "the stage would not be changed" } else { "the stage was not changed" };
    let report = done.map_err(|error| stage_failed(&root, undone, &error))?;
    let reply = RefreshReply::of(report, dry_run, root.prefix());
    Ok(Reply::about(&root, reply.exit, reply))
}

#[derive(Debug, Serialize)]
struct RefreshReply {
    result: ResultWord,
    changed: bool,
    stage: String,
    /// Paths of the stage that changed, or would.
    taken: usize,
    /// Paths that both sides changed.
    conflicts: Vec<ConflictingPath>,
    /// Packages added to or removed from the root.
    packages: Vec<PackageEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<String>,
    #[serde(skip)]
    refused: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

#[derive(Debug, Serialize)]
struct PackageEntry {
    name: String,
    change: &'static str,
    brought: bool,
    /// Why the stage's records stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl PackageEntry {
    fn of(package: &MovedStagePackage) -> Self {
        let change = match package.change {
            PackageMove::Installed => "installed",
            PackageMove::Removed => "removed",
            PackageMove::Replaced => "replaced",
        };
        let reason = package.stays.as_ref().map(ToString::to_string);
        Self { name: package.package.to_string(), change, brought: package.is_brought(), reason }
    }

    fn line(&self, is_plan: bool) -> String {
        let Self { name, change, reason, .. } = self;
        let records = match (reason, is_plan) {
            (None, true) => "the records of the stage would be updated".to_owned(),
            (None, false) => "the records of the stage are updated".to_owned(),
            (Some(reason), _) => format!("the records of the stage are unchanged: {reason}"),
        };
        format!("package {name} was {change} on the root: {records}")
    }
}

impl RefreshReply {
    fn of(report: RefreshReport, dry_run: bool, root: &Path) -> Self {
        let RefreshReport { recovered, stage, taken, conflicts, packages, refused } = report;
        let is_any_brought = packages.iter().any(MovedStagePackage::is_brought);
        let recovered = recovery_sentence(&recovered);
        let result = match (&refused, taken) {
            (Some(failure), _) => ResultWord::of_failure(failure),
            (None, 0) if !is_any_brought => ResultWord::NothingToDo,
            (None, _) if dry_run => ResultWord::Planned,
            (None, _) => ResultWord::Done,
        };
        let exit = refused.as_ref().map_or(Exit::OK, |failure| verb_code(Command::Refresh, failure));
        let describe = if dry_run { described_plan } else { described };
        let words = |failure: &_| describe(&Wording::of_verbs(root), Command::Refresh, failure);
        Self {
            changed: result == ResultWord::Done || recovered.is_some(),
            result,
            stage,
            taken,
            conflicts,
            packages: packages.iter().map(PackageEntry::of).collect(),
            recovered,
            refused: refused.as_ref().map(words),
            exit,
        }
    }
}

impl CommandReport for RefreshReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if let Some(refused) = &self.refused {
            return Ok(output.error(refused)?);
        }
        let Self { stage, taken, .. } = self;
        let paths = if *taken == 1 { "1 path".to_owned() } else { format!("{taken} paths") };
        output.line(match self.result {
            ResultWord::NothingToDo => format!("stage {stage} is up to date"),
            ResultWord::Planned => format!("{paths} would be updated in stage {stage}"),
            _ => format!("{paths} updated in stage {stage}"),
        })?;
        for package in &self.packages {
            output.line(format!("  {}", package.line(self.result == ResultWord::Planned)))?;
        }
        Ok(())
    }
}
