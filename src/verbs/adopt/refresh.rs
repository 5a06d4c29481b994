//! `patchadm adopt --refresh`: updates registrations after the system's package manager, and ends replaced patches.

use serde::Serialize;

use super::{AdoptArgs, USAGE};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::change_or_plan_failed;
use patchadm_cli::reply::refreshed::RefreshedEntries;
use patchadm_cli::reply::words::{print_notes, with_recovery};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::HOOK_WAIT;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::overtaken::{
    RegistrationRefreshReport, RegistrationRefreshRequest, followed_packages, refresh_registrations,
};
use patchadm_inputs::native::NativeManager;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::{LockError, Root};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

pub(super) fn run(call: &mut Invocation, args: &AdoptArgs) -> anyhow::Result<Reply> {
    let command = Command::AdoptRefresh;
    let root = args.owner.open::<AdoptArgs>(call, &args.native_root(&call.surroundings), command)?;
    // The hook's caller holds the lock of its package manager.
    let held = NativeManager::ALL.into_iter().flat_map(NativeManager::lock_files);
    let root = if args.from_hook { root.with_held_locks(held.collect()) } else { root };
    let request = args.refresh_request()?;
    if !args.dry_run.dry_run {
        call.output.heedless();
    }
    let wait = if args.from_hook { Some(HOOK_WAIT) } else { args.wait.seconds };
    let result = call.change(&root, command.name(), wait, |caller| {
        let by_hook = args.from_hook.then(|| caller.as_hook());
        refresh_registrations(&root, &request, by_hook.as_ref().unwrap_or(caller))
    })?;
    let report = match result {
        Ok(report) => report,
        // The lock's holder, or the next command, finds the registrations stale.
        Err(Failure::Lock(LockError::Held { .. })) if args.from_hook => RegistrationRefreshReport::default(),
        Err(failed) => {
            return Err(change_or_plan_failed(&root, command, &failed, args.dry_run.dry_run).into());
        }
    };
    let reply = AdoptRefreshReply::of(&root, report, args);
    Ok(Reply::about(&root, reply.exit, reply))
}

impl AdoptArgs {
    fn refresh_request(&self) -> Result<RegistrationRefreshRequest, Stop> {
        let usage = |message: String| Stop::Usage { message, usage: USAGE };
        let package = |name: &String| PkgInst::new(name).map_err(|error| usage(error.to_string()));
        let patch = |id: &String| PatchId::new(id).map_err(|error| usage(error.to_string()));
        Ok(RegistrationRefreshRequest {
            packages: self.packages.iter().map(package).collect::<Result<_, _>>()?,
            accept: self.accept.iter().map(patch).collect::<Result<_, _>>()?,
            dry_run: self.dry_run.dry_run,
        })
    }
}

#[derive(Debug, Serialize)]
struct AdoptRefreshReply {
    result: ResultWord,
    changed: bool,
    #[serde(flatten)]
    entries: RefreshedEntries,
    notes: Vec<String>,
    #[serde(skip)]
    exit: Exit,
    #[serde(skip)]
    is_hook: bool,
    /// If nothing else is said.
    #[serde(skip)]
    unchanged: Vec<String>,
    #[serde(skip)]
    wording: Wording,
}

/// Returns the lines of a refresh that found nothing to do.
fn unchanged_lines(root: &Root, wording: &Wording) -> Vec<String> {
    let (first, bare) = match followed_packages(root) {
        Ok((false, bare)) => ("No package was adopted from dpkg or rpm", bare),
        Ok((true, bare)) if !bare.is_empty() => {
            ("All packages adopted from dpkg or rpm match their package manager", bare)
        }
        _ => return vec!["All adopted packages match their package manager.".to_owned()],
    };
    if bare.is_empty() {
        return vec![format!("{first}.")];
    }
    let is = if bare.len() == 1 { "is" } else { "are" };
    let names: Vec<&str> = bare.iter().map(PkgInst::as_str).collect();
    let check = wording.verb("check --contents");
    vec![
        format!("{first}; {} (adopted from a directory) {is} not followed.", names.join(", ")),
        format!("hint: {}", check.trim_matches('`')),
    ]
}

impl AdoptRefreshReply {
    fn of(root: &Root, report: RegistrationRefreshReport, args: &AdoptArgs) -> Self {
        let is_something = !report.packages.is_empty() || !report.accepted.is_empty();
        let result =
            if args.dry_run.dry_run && is_something { ResultWord::Planned } else { ResultWord::Done };
        // A hook repeats lost patches.
        let notes = if args.from_hook { report.notes.clone() } else { report.remarks() };
        let notes = with_recovery(&report.recovered, notes);
        // A hook is called between unpacking and configuring, and is called again.
        let is_left = !report.left.is_empty() && !args.from_hook;
        let wording = Wording::of_verbs(root.prefix());
        let changed = report.receipt.is_some();
        let entries = RefreshedEntries::of(root, report);
        let is_said = args.from_hook || !entries.sentences(result == ResultWord::Planned).is_empty();
        Self {
            result,
            changed,
            entries,
            notes,
            exit: match (is_left, is_something) {
                (false, _) => Exit::OK,
                (true, true) => Exit::PARTLY,
                (true, false) => Exit::of_verb(ExitCause::NativeChanged),
            },
            is_hook: args.from_hook,
            unchanged: if is_said { Vec::new() } else { unchanged_lines(root, &wording) },
            wording,
        }
    }
}

impl CommandReport for AdoptRefreshReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let lines = if self.is_hook {
            self.entries.hook_sentences(&self.notes)
        } else {
            self.entries.sentences(self.result == ResultWord::Planned)
        };
        let lines = if lines.is_empty() { &self.unchanged } else { &lines };
        for line in lines {
            output.line(self.wording.completed(line).as_ref())?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.is_hook { Ok(()) } else { Ok(print_notes(output, &self.notes)?) }
    }
}
