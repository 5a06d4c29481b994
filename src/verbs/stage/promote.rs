//! `patchadm stage promote` makes the contents of a stage live; `stage status` shows the plan.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::ends::stage_failed;
use crate::as_owner::options::OwnerOptions;
use crate::patch_command::guarded_trial;
use crate::verbs::change::expected_plan;
use crate::verbs::confirmation::{PROCEED, is_put_right_first, planned_first};
use crate::verbs::options::{
    ApplyingOptions, BriefVerbOptions, DryRunOption, EditOptions, ExchangeOptions, NoteOption, PlanOption,
    UndoOptions, VerbOptions, WaitOption, YesOption, path_text,
};
use crate::verbs::patch_lines::{print_summary, print_without_total};
use patchadm_changeset::transaction::ExchangeWay;
use patchadm_cli::arguments::{
    LibraryOptions, NamedPath, ScriptTimeout, TrialOptions, directory_of_root, inside, named_text, parse,
    script_settings,
};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::exchange_entry::exchange_lines;
use patchadm_cli::reply::failure::plan_file_refused;
use patchadm_cli::reply::promotion::{PromotionAnswer, refreshed_sentence};
use patchadm_cli::reply::{CommandReport, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::plan_file::{ExpectedPlan, PlanFault, PlanFileRequest};
use patchadm_core::operation::session::Caller;
use patchadm_core::operation::stages::StageError;
use patchadm_core::operation::stages::promote::{PathReport, PromoteReport, PromoteRequest, promote_stage};
use patchadm_core::operation::trial::TrialRequest;
use patchadm_inputs::format::plan_file::{PlanFileError, PlanOptions, PromotionWishes};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::policy::DeleteLimit;
use patchadm_planning::plan::refusal::{Command, SetIdChange};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

const USAGE: &str = "\
patchadm [-R root] stage promote [--path path]... [option...] stage
patchadm [-R root] stage promote --two-way [--path path]... [--delete] [option...] tree
patchadm [-R root] stage promote --plan file [option...]";

/// The options that say what is compared and what may go.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct PromotionOptions {
    /// Promote only this directory of the stage; repeatable
    #[arg(long = "path", value_name = "PATH", value_parser = directory_of_root, action = clap::ArgAction::Append)]
    paths: Vec<ObjectPath>,
    /// Set the id of the promotion [default: the name of the stage and the next revision]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Promote all differences, ignoring the recorded original state; required if the tree is not a stage
    #[arg(long)]
    two_way: bool,
    /// With --two-way, delete files that are not in the tree
    #[arg(long, requires_all = ["two_way", "paths"])]
    delete: bool,
    /// Promote the changes made by patches applied in the stage, but not the records of these patches
    #[arg(long)]
    tree_only: bool,
    /// Also promote set-id files, files with capabilities, and ownership changes
    #[arg(long)]
    allow_set_id: bool,
    /// Refuse to delete more than this number or percentage of the objects of a path [default: policy]
    #[arg(long, value_name = "N|N%", value_parser = limit)]
    max_delete: Option<DeleteLimit>,
    /// Leave out paths that match GLOB, and everything below them; repeatable
    #[arg(long, value_name = "GLOB", value_parser = pattern, action = clap::ArgAction::Append)]
    exclude: Vec<PathGlob>,
    /// Do not run the hooks configured in the policy
    #[arg(long)]
    no_hooks: bool,
    #[command(flatten)]
    exchange: ExchangeOptions,
    #[command(flatten)]
    edits: EditOptions,
    #[command(flatten)]
    undo: UndoOptions,
    #[command(flatten)]
    libraries: LibraryOptions,
}

pub(super) struct AskedPromotion {
    choices: PromotionOptions,
    stage: PathBuf,
    plan_file: PlanFileRequest,
}

/// Promote a stage: make its contents live, as a patch that can be removed
#[derive(clap::Parser)]
struct PromoteArgs {
    #[command(flatten)]
    choices: PromotionOptions,
    #[command(flatten)]
    plan: PlanOption,
    #[command(flatten)]
    trial: TrialOptions,
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    yes: YesOption,
    /// Show the changed lines of text files
    #[arg(long, requires = "dry_run")]
    diff: bool,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    note: NoteOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: VerbOptions,
    /// The stage: a directory or a name
    #[arg(value_name = "STAGE", required_unless_present = "plan_file")]
    stage: Option<PathBuf>,
}

fn pattern(text: &str) -> Result<PathGlob, String> {
    PathGlob::parse(text).map_err(|error| error.to_string())
}

fn limit(text: &str) -> Result<DeleteLimit, String> {
    DeleteLimit::parse(text).ok_or_else(|| "it is neither a number nor a percentage".to_owned())
}

impl PromotionOptions {
    /// Returns the final request, and the use of a plan file.
    pub(super) fn settle(
        self,
        stage: Option<PathBuf>,
        (plan, save): (Option<PathBuf>, Option<PathBuf>),
        usage: &'static str,
    ) -> Result<AskedPromotion, Stop> {
        let wrong = |message: String| Stop::Usage { message, usage };
        let none = PlanFileRequest { command: Command::Promote.name(), ..PlanFileRequest::default() };
        if save.is_none() && plan.is_none() {
            return Ok(AskedPromotion { choices: self, stage: stage.unwrap_or_default(), plan_file: none });
        }
        let exchange = self.exchange.clone();
        let options = self.written(stage.as_deref()).map_err(wrong)?;
        let Some(path) = plan else {
            let plan_file = PlanFileRequest { options, save, ..none };
            return Ok(AskedPromotion { choices: self, stage: stage.unwrap_or_default(), plan_file });
        };
        if options != PlanOptions::default() {
            return Err(wrong("--plan takes the stage and the options from the file".to_owned()));
        }
        let expected = expected_plan(&path, Command::Promote.name(), usage)?;
        let options = expected.plan.options.clone();
        let bad = |error| plan_file_refused(PlanFault::Bad { path, error });
        let (choices, stage) = Self::of_plan(&options).map_err(bad)?;
        let plan_file = PlanFileRequest { options, expected: Some(expected), ..none };
        Ok(AskedPromotion { choices: Self { exchange, ..choices }, stage, plan_file })
    }

    fn written(&self, stage: Option<&Path>) -> Result<PlanOptions, String> {
        let mut options = PlanOptions::default();
        let (undo, edits) = (self.undo.clone(), self.edits.clone());
        ApplyingOptions { undo, edits, ..ApplyingOptions::default() }.write(&mut options)?;
        self.libraries.write(&mut options);
        options.operands = stage.map(named_text).transpose()?.into_iter().collect();
        options.exclude = self.exclude.iter().map(|glob| glob.as_str().to_owned()).collect();
        let wishes = PromotionWishes {
            paths: self.paths.iter().map(path_text).collect::<Result<_, _>>()?,
            id: self.id.clone(),
            two_way: self.two_way,
            delete: self.delete,
            max_delete: self.max_delete.map(|limit| limit.to_string()),
            no_hooks: self.no_hooks,
            tree_only: self.tree_only,
            allow_set_id: self.allow_set_id,
        };
        options.promotion = (wishes != PromotionWishes::default()).then_some(wishes);
        Ok(options)
    }

    fn of_plan(options: &PlanOptions) -> Result<(Self, PathBuf), PlanFileError> {
        let field = |field, value: &str| PlanFileError::Field { field, value: value.to_owned() };
        let [stage] = options.operands.as_slice() else {
            return Err(field("operands", &options.operands.join(" ")));
        };
        let ApplyingOptions { undo, edits, .. } = ApplyingOptions::of_plan(options)?;
        let exclude = options.exclude.iter().map(|text| pattern(text).map_err(|_| field("exclude", text)));
        let PromotionWishes { paths, id, two_way, delete, max_delete, no_hooks, tree_only, allow_set_id } =
            options.promotion.clone().unwrap_or_default();
        let paths = paths.iter().map(|text| directory_of_root(text).map_err(|_| field("paths", text)));
        let max_delete = max_delete.map(|text| limit(&text).map_err(|_| field("max_delete", &text)));
        let choices = Self {
            paths: paths.collect::<Result<_, _>>()?,
            id,
            two_way,
            delete,
            max_delete: max_delete.transpose()?,
            exclude: exclude.collect::<Result<_, _>>()?,
            no_hooks,
            tree_only,
            allow_set_id,
            exchange: ExchangeOptions::default(),
            edits,
            undo,
            libraries: LibraryOptions::of_plan(options)?,
        };
        Ok((choices, PathBuf::from(stage)))
    }
}

impl AskedPromotion {
    /// Directories whose changes should appear at once.
    pub(super) fn exchanges(&self) -> Vec<ObjectPath> {
        self.choices.exchange.exchange.clone()
    }

    pub(super) fn request(self, call: &Invocation, dry_run: bool) -> PromoteRequest {
        let Self { choices, stage, plan_file } = self;
        PromoteRequest { plan_file, ..choices.request(call, stage.into_os_string(), dry_run) }
    }
}

impl PromotionOptions {
    fn request(self, call: &Invocation, stage: OsString, dry_run: bool) -> PromoteRequest {
        PromoteRequest {
            stage,
            paths: self.paths,
            id: self.id,
            two_way: self.two_way,
            delete: self.delete,
            tree_only: self.tree_only,
            allow_set_id: self.allow_set_id,
            max_delete: self.max_delete,
            exclude: self.exclude,
            edited: self.edits.edited,
            overridden: NamedPath::all(&self.edits.overridden),
            preserved: NamedPath::all(&self.edits.preserved),
            undo_dir: self.undo.undo_dir,
            undo_format: self.undo.undo_format,
            no_undo: self.undo.no_undo,
            dry_run,
            texts: false,
            no_hooks: self.no_hooks,
            scripts: script_settings(call, false, ScriptTimeout::default()),
            shlibs: self.libraries.request(),
            plan_file: PlanFileRequest::default(),
            trial: TrialRequest::default(),
        }
    }
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "stage promote";
    let args: PromoteArgs = parse(call, USAGE)?;
    let PromoteArgs { choices, plan, trial, dry_run, yes, diff, wait, note, owner, common, stage } = args;
    let (dry_run, wait) = (dry_run.dry_run, wait.seconds);
    let asked = choices.settle(stage, (plan.plan, None), USAGE)?;
    let root = owner.open::<PromoteArgs>(call, &common.root, Command::Promote)?;
    let exchanges = asked.exchanges();
    let mut request = PromoteRequest { texts: diff, trial: trial.request(), ..asked.request(call, dry_run) };
    if !dry_run && request.plan_file.expected.is_none() && call.may_ask(yes.yes) {
        confirm(call, &root, (&mut request, &exchanges), wait)?;
    }
    if !dry_run {
        call.output.heedless();
    }
    answer(call, root, (&request, &exchanges), (wait, note.text.as_deref()))
}

/// Shows the plan and asks. The request is held to the plan from then on.
fn confirm(
    call: &mut Invocation,
    root: &Root,
    (request, exchanges): (&mut PromoteRequest, &[ObjectPath]),
    wait: Option<u64>,
) -> anyhow::Result<()> {
    let plan_file = PlanFileRequest { in_report: true, ..request.plan_file.clone() };
    let plan = PromoteRequest { dry_run: true, plan_file, ..request.clone() };
    let promoted = |caller: &Caller<'_>| {
        let caller = caller.exchanging(&inside(root, exchanges));
        match promote_stage(root, &plan, &caller) {
            Err(StageError::Failure(failure)) if is_put_right_first(&failure) => Err(failure),
            promoted => Ok(promoted),
        }
    };
    let planned = planned_first(call, root, (Command::Promote, wait), None, &promoted)?;
    let mut report = match planned.unwrap_or_else(|failure| Err(StageError::Failure(failure))) {
        Ok(report) => report,
        Err(error) => return Err(stage_failed(root, nothing_promoted(false), &error)),
    };
    let is_planned = report.refused.is_none() && report.result.is_ok() && report.plan.is_some();
    let Some(plan) = report.plan_file.take().filter(|_| is_planned) else { return Ok(()) };
    let undone = format!("{} was not promoted", report.id);
    let answer = PromotionAnswer::of(root, report, true, call.surroundings.began);
    print_summary(root, &answer.end, &mut call.output)?;
    print_paths(&answer, &mut call.output)?;
    call.must_be_agreed_to(PROCEED, &undone)?;
    request.plan_file.expected = Some(Arc::new(ExpectedPlan { path: None, plan: *plan }));
    Ok(())
}

pub(super) fn answer(
    call: &Invocation,
    root: Root,
    (request, exchanges): (&PromoteRequest, &[ObjectPath]),
    (wait, note): (Option<u64>, Option<&str>),
) -> anyhow::Result<Reply> {
    let began = Instant::now();
    let done = call.change(&root, Command::Promote.name(), wait, |caller| {
        let caller = caller.noting(note).exchanging(&inside(&root, exchanges));
        let report = promote_stage(&root, request, &caller)?;
        let run = report.result.as_ref().ok().and_then(Option::as_ref).map(|receipt| receipt.run.clone());
        let Some(run) = run else { return Ok(report) };
        let trial = guarded_trial(&root, &run, &request.trial, (&caller, &call.surroundings))?;
        Ok(PromoteReport { trial, ..report })
    })?;
    let report =
        done.map_err(|error: StageError| stage_failed(&root, nothing_promoted(request.dry_run), &error))?;
    let answer = PromotionAnswer::of(&root, report, request.dry_run, began);
    Ok(Reply::about(&root.clone(), answer.exit(), PromotionFaces { answer, root }))
}

fn nothing_promoted(is_plan: bool) -> &'static str {
    if is_plan { "nothing would be promoted" } else { "nothing was promoted" }
}

/// Text and document of the answer.
#[derive(Serialize)]
struct PromotionFaces {
    #[serde(flatten)]
    answer: PromotionAnswer,
    #[serde(skip)]
    root: Root,
}

impl CommandReport for PromotionFaces {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let PromotionAnswer { end, paths, .. } = &self.answer;
        if let Some(count) = self.answer.refreshed {
            output.line(format!("note: {}", refreshed_sentence(count, end.would_change.is_some())))?;
        }
        if end.result == ResultWord::NothingToDo && end.failure.is_none() {
            let names: Vec<String> = paths.iter().map(|path| path.path.to_string()).collect();
            output.line(format!("nothing to promote in {}", names.join(", ")))?;
        } else {
            print_without_total(&self.root, end, output)?;
        }
        print_paths(&self.answer, output)
    }
}

fn print_paths(answer: &PromotionAnswer, output: &mut Output) -> anyhow::Result<()> {
    let PromotionAnswer { end, paths, conflicts, kept, .. } = answer;
    for line in exchange_lines((&answer.exchanges, &[]), end.would_change.is_some()) {
        output.line(format!("note: {line}"))?;
    }
    for path in paths.iter().filter(|path| path.way != ExchangeWay::Nothing) {
        output.line(format!("  {}", counts(path)))?;
    }
    for conflict in conflicts {
        let (stage, live) = (conflict.stage.word(), conflict.live.word());
        let decision = conflict.decision.word();
        let path = &conflict.path;
        output
            .line(format!("  conflict: {path}: {stage} in the stage, {live} in the live tree: {decision}"))?;
    }
    for file in &answer.set_id {
        let what = match file.change {
            SetIdChange::Owner { .. } => "owner",
            SetIdChange::Link { .. } => "link",
            SetIdChange::Bytes | SetIdChange::Rights | SetIdChange::New => "set-id",
        };
        output.line(format!("  {what}: {file}"))?;
    }
    for object in &answer.withheld {
        let attributes: Vec<&str> = object.attributes.iter().map(|attribute| attribute.words()).collect();
        output.line(format!("  withheld: {}: {}", object.path, attributes.join(", ")))?;
    }
    let tells_hooks = end.is_plan() || output.is_verbose();
    for hook in answer.hooks.iter().filter(|_| tells_hooks) {
        output.line(format!("  hook: {}={}", hook.name, hook.path))?;
    }
    if output.is_verbose() {
        for kept in kept {
            output.line(format!("  kept: {} ({})", kept.path, kept.reason))?;
        }
    }
    Ok(())
}

/// Without zero counts.
fn counts(path: &PathReport) -> String {
    let all = [
        (path.added, "added"),
        (path.replaced, "replaced"),
        (path.attributes, "with changed attributes"),
        (path.deleted, "deleted"),
        (path.directories_made, "directories made"),
        (path.directories_removed, "directories removed"),
    ];
    let told = all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    format!("{}: {}", path.path, told.collect::<Vec<_>>().join(", "))
}

const STATUS_USAGE: &str = "patchadm [-R root] stage status [--path path]... [option...] stage";

/// Show what promoting a stage would do
#[derive(clap::Parser)]
struct StageStatusArgs {
    #[command(flatten)]
    choices: PromotionOptions,
    /// Check whether the plan saved in FILE is still valid, and show it
    #[arg(long = "plan", id = "plan_file", value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Save the plan to FILE, for `--plan`
    #[arg(long, value_name = "FILE", conflicts_with = "plan_file")]
    save_plan: Option<PathBuf>,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// The stage: a directory or a name
    #[arg(value_name = "STAGE", required_unless_present = "plan_file")]
    stage: Option<PathBuf>,
}

pub(super) fn print_status(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "stage status";
    let StageStatusArgs { choices, plan, save_plan, common, stage } = parse(call, STATUS_USAGE)?;
    let asked = choices.settle(stage, (plan, save_plan), STATUS_USAGE)?;
    let root = common.root.open(call)?;
    let exchanges = asked.exchanges();
    let request = asked.request(call, true);
    answer(call, root, (&request, &exchanges), (None, None))
}
