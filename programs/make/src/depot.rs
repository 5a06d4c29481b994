//! `patchadm-make depot`: indexes a directory of patches in place, or checks a depot.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Instant;

use patchadm_cli::arguments::fetching::{FetchOptions, OfflineOption, fetch_bar};
use patchadm_cli::arguments::verbs::{BriefVerbOptions, SignatureOptions};
use patchadm_cli::arguments::{one_of, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::depot_end::{depot_advice, depot_exit};
use patchadm_cli::reply::failure::hinted;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::json::milliseconds_since;
use patchadm_cli::reply::words::counted_patches;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_core::operation::depots::{
    DepotCheck, DepotError, DepotLocation, DepotProgress, FetchSession, IndexReport, IndexRequest,
    check_depot, index_directory,
};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::demands;
use patchadm_core::operation::session::RootAndPolicy;
use patchadm_core::operation::signing::sign_index;
use patchadm_inputs::sign::{Demand, DemandWord};
use patchadm_planning::plan::refusal::Wording;
use patchadm_producing::ends::{directory_above, is_patch};
use patchadm_producing::secret_key::secret_key;
use patchadm_rootfs::Root;
use serde::Serialize;

const USAGE: &str = "patchadm-make depot index [--xref] [--key file] [--password-file file] dir\n\
    patchadm-make [-R root] depot check [--offline] depot";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DepotAction {
    Index,
    Check,
}

const ACTIONS: [(&str, DepotAction); 2] = [("index", DepotAction::Index), ("check", DepotAction::Check)];

/// Index a directory of patches in place, or check every object and signature of a depot
#[derive(clap::Parser)]
struct DepotArgs {
    /// Sign with the secret key in FILE
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Read the password of the secret key from the first line of FILE
    #[arg(long, value_name = "FILE", requires = "key")]
    password_file: Option<PathBuf>,
    /// Also write a patchdiag.xref beside the index
    #[arg(long)]
    xref: bool,
    #[command(flatten)]
    network: OfflineOption,
    #[command(flatten)]
    signature: SignatureOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// Action: index or check
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    action: Option<DepotAction>,
    /// A directory, or a file:, http: or https: URL
    #[arg(value_name = "DEPOT")]
    depot: Option<OsString>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: DepotArgs = parse(call, USAGE)?;
    match args.must_fit()? {
        (DepotAction::Index, directory) => index(call, &args, Path::new(directory)),
        (DepotAction::Check, depot) => check(call, &args, depot),
    }
}

fn usage(message: &str) -> Stop {
    Stop::Usage { message: message.to_owned(), usage: USAGE }
}

impl DepotArgs {
    fn must_fit(&self) -> Result<(DepotAction, &OsStr), Stop> {
        let action = self.action.ok_or_else(|| usage("specify an action: index or check"))?;
        let depot = self.depot.as_deref().ok_or_else(|| usage("no depot specified"))?;
        let of_index = [
            ("--key", self.key.is_some()),
            ("--password-file", self.password_file.is_some()),
            ("--xref", self.xref),
        ];
        let (fetching, signature) = (self.network.said(), self.signature.said());
        let of_check: Vec<_> =
            [&fetching[..], &signature, &self.common.about_root()].into_iter().flatten().copied().collect();
        let wrong: &[(&str, bool)] = if action == DepotAction::Index { &of_check } else { &of_index };
        match wrong.iter().find(|(_, is_said)| *is_said) {
            Some((option, _)) => Err(usage(&format!("{option} is not an option of this action"))),
            None => Ok((action, depot)),
        }
    }
}

fn index(call: &mut Invocation, args: &DepotArgs, directory: &Path) -> anyhow::Result<Reply> {
    if is_patch(directory) {
        let above = directory_above(directory);
        let message = format!(
            "`{}` is a patch: depot index takes the directory that contains patches",
            directory.display()
        );
        let hint = format!("`patchadm depot index {}`", Wording::quoted(&above.to_string_lossy()));
        return Err(usage(&hinted(&message, &hint)).into());
    }
    let key =
        args.key.as_deref().map(|file| secret_key(call, file, args.password_file.clone())).transpose()?;
    let now = call.surroundings.now;
    let sign =
        |text: &[u8]| key.as_ref().map(|key| sign_index(key, text, now.timestamp())).unwrap_or_default();
    let bar = fetch_bar(call);
    let indexed = with_signals(|interrupt| {
        let request = IndexRequest {
            directory,
            writes_xref: args.xref,
            sign: key.is_some().then_some(&sign),
            now,
            interrupt,
            progress: &|progress| bar.show(progress),
        };
        index_directory(&request, &mut |_| false)
    })?;
    drop(bar);
    let indexed = indexed.map_err(|error| refused("the index is unchanged", &error))?;
    let exit = if indexed.passed_over.is_empty() { Exit::OK } else { Exit::PARTLY };
    Ok(Reply::new(exit, DepotReport::of_index(&indexed, directory, call.surroundings.began)))
}

fn check(call: &mut Invocation, args: &DepotArgs, named: &OsStr) -> anyhow::Result<Reply> {
    let root = args.common.root.open(call)?;
    let (policy, demands) =
        policy_and_demands(&root, args).map_err(|failure| query_refused(&root, &failure))?;
    let bar = fetch_bar(call);
    let progress = |progress: DepotProgress<'_>| bar.show(progress);
    let checked = with_signals(|interrupt| {
        let access = FetchOptions::from(args.network).access(
            &call.surroundings,
            &policy.policy,
            None,
            interrupt,
            &progress,
        );
        let session = FetchSession::new(access);
        check_depot(&DepotLocation::parse(named)?, &demands, &session)
    })?;
    drop(bar);
    let checked = checked.map_err(|error| refused("the depot was not checked", &error))?;
    let word = demands.iter().map(|demand| demand.word).max_by_key(|word| *word == DemandWord::Require);
    let stale = checked.depot.check(&root, word.unwrap_or(DemandWord::Off), call.surroundings.now);
    let stale = stale.map_err(|failure| query_refused(&root, &failure))?;
    let exit = exit_of(&checked);
    let notes = stale.map(|stale| stale.to_string()).into_iter().chain(signature_note(&checked, &demands));
    let report = DepotReport::of_check(&checked, notes.collect(), call.surroundings.began);
    Ok(Reply::about(&root, exit, report))
}

fn policy_and_demands(root: &Root, args: &DepotArgs) -> Result<(RootAndPolicy, Vec<Demand>), Failure> {
    let root_and_policy = RootAndPolicy::of(root)?;
    let demands = demands(&root_and_policy, &args.signature.clone().request())?;
    Ok((root_and_policy, demands))
}

/// Returns a note about the signature of the index.
fn signature_note(checked: &DepotCheck, demands: &[Demand]) -> Option<String> {
    if demands.is_empty() {
        return Some("signatures were not checked; specify trusted keys with `--keys DIR`".to_owned());
    }
    checked.depot.verdict().note().map(|note| note.replace("the patch", "the index"))
}

/// The worst finding: wrong, then missing, then unreadable.
fn exit_of(checked: &DepotCheck) -> Exit {
    let causes = checked
        .faults
        .iter()
        .map(|fault| fault.error.as_ref().map_or(ExitCause::DamagedInput, |error| depot_exit(error).cause()));
    let gravity = |cause: &ExitCause| match cause {
        ExitCause::Signature => 3,
        ExitCause::Download => 2,
        _ => 1,
    };
    causes.max_by_key(gravity).map_or(Exit::OK, Exit::finding)
}

fn refused(what_holds: &str, error: &DepotError) -> anyhow::Error {
    let message = hinted(&format!("{what_holds}: {error}"), &depot_advice(error));
    Stop::Refused { exit: depot_exit(error), message }.into()
}

#[derive(Debug, Serialize)]
pub(super) struct DepotReport {
    result: ResultWord,
    duration_ms: u64,
    depot: String,
    version: u64,
    objects: usize,
    errors: Vec<ObjectError>,
    #[serde(skip)]
    is_index: bool,
    #[serde(skip)]
    summary: String,
    #[serde(skip)]
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ObjectError {
    object: String,
    reason: String,
}

impl ObjectError {
    fn left_out(&self) -> String {
        let Self { object, reason } = self;
        format!(
            "{object} is not in the index: it cannot be read as a patch: {reason}\neverything else is in the index\n\
             hint: copy it again, then index the directory again"
        )
    }
}

impl DepotReport {
    fn of_index(indexed: &IndexReport, directory: &Path, began: Instant) -> Self {
        let place = directory.display();
        let IndexReport { version, patches, .. } = indexed;
        let summary = if indexed.is_new {
            format!("{place}: version {version} has {}", counted_patches(patches))
        } else {
            format!("{place}: version {version} stays; nothing is new")
        };
        let left_out = indexed.left_out_of_xref.filter(|number| *number > 0).map(|number| {
            format!("left out of patchdiag.xref, which contains only ids of six digits and two: {number}")
        });
        let errors = indexed.passed_over.iter().map(|passed_over| ObjectError {
            object: passed_over.name.clone(),
            reason: passed_over.reason.clone(),
        });
        Self {
            result: if indexed.is_new { ResultWord::Done } else { ResultWord::NothingToDo },
            duration_ms: milliseconds_since(began),
            depot: indexed.depot.clone(),
            version: *version,
            objects: *patches,
            errors: errors.collect(),
            is_index: true,
            summary,
            notes: left_out.into_iter().collect(),
        }
    }

    fn of_check(checked: &DepotCheck, notes: Vec<String>, began: Instant) -> Self {
        let (depot, faults) = (&checked.depot, &checked.faults);
        let (place, version, objects) = (depot.location(), depot.index().version, checked.objects);
        let found = match faults.len() {
            0 => "everything matches the index".to_owned(),
            1 => "1 is wrong".to_owned(),
            more => format!("{more} are wrong"),
        };
        let errors = faults
            .iter()
            .map(|fault| ObjectError { object: fault.object.clone(), reason: fault.reason.clone() });
        Self {
            result: if faults.is_empty() { ResultWord::Done } else { ResultWord::Failed },
            duration_ms: milliseconds_since(began),
            depot: depot.index().depot.clone(),
            version,
            objects,
            errors: errors.collect(),
            is_index: false,
            summary: format!("{place}: version {version}, {objects} objects: {found}"),
            notes,
        }
    }
}

impl CommandReport for DepotReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for error in &self.errors {
            if self.is_index {
                output.error(&error.left_out())?;
            } else {
                output.line(format!("{}: {}", error.object, error.reason))?;
            }
        }
        for note in &self.notes {
            output.line(note)?;
        }
        Ok(output.line(&self.summary)?)
    }
}
