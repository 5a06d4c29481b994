//! `patchadm adopt --refresh`: registrations follow the package manager of the system, and the patches of its packages end
//! or stand.

use serde::Serialize;

use super::{AdoptArgs, USAGE};
use crate::call::Invocation;
use crate::reply::failure::change_failed;
use crate::reply::words::{print_notes, recovery_sentence};
use crate::reply::{CommandReport, Exit, Reply, ResultWord, Stop};
use crate::surroundings::Output;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::overtaken::{
    EndedPatch, RefreshReport, RefreshRequest, StandingPatch, refresh_registrations,
};
use patchadm_inputs::format::overtaken::OvertakenState;
use patchadm_inputs::native::NativeChange;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::{LockError, Root};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

/// The longest time that a hook waits for another command, in seconds.
const HOOK_WAIT: u64 = 5;

/// The most lines that a hook prints.
const HOOK_LINES: usize = 3;

/// Runs the verb with this option.
pub(super) fn run(call: &mut Invocation, args: &AdoptArgs) -> anyhow::Result<Reply> {
    let command = Command::AdoptRefresh;
    let root = args.owner.open::<AdoptArgs>(call, &args.native_root(&call.surroundings), command)?;
    let request = args.refresh_request()?;
    if !args.dry_run {
        call.output.heedless();
    }
    let wait = if args.from_hook { Some(HOOK_WAIT) } else { args.wait };
    let result =
        call.change(&root, command.name(), wait, |caller| refresh_registrations(&root, &request, caller))?;
    let report = match result {
        Ok(report) => report,
        // Whoever holds the lock, or comes next, finds the registrations stale.
        Err(Failure::Lock(LockError::Held { .. })) if args.from_hook => RefreshReport::default(),
        Err(failed) => return Err(change_failed(&root, command, &failed).into()),
    };
    let reply = RefreshReply::of(&root, report, args);
    Ok(Reply::about(&root, reply.exit, reply))
}

impl AdoptArgs {
    fn refresh_request(&self) -> Result<RefreshRequest, Stop> {
        let usage = |message: String| Stop::Usage { message, usage: USAGE };
        let package = |name: &String| PkgInst::new(name).map_err(|error| usage(error.to_string()));
        let patch = |id: &String| PatchId::new(id).map_err(|error| usage(error.to_string()));
        Ok(RefreshRequest {
            packages: self.packages.iter().map(package).collect::<Result<_, _>>()?,
            accept: self.accept.iter().map(patch).collect::<Result<_, _>>()?,
            dry_run: self.dry_run,
        })
    }
}

/// The outcome of a refresh.
#[derive(Debug, Serialize)]
struct RefreshReply {
    result: ResultWord,
    changed: bool,
    refreshed: Vec<RefreshedEntry>,
    left: Vec<LeftEntry>,
    ended: Vec<EndedEntry>,
    standing: Vec<StandingEntry>,
    accepted: Vec<String>,
    missing: Vec<String>,
    notes: Vec<String>,
    #[serde(skip)]
    exit: Exit,
    #[serde(skip)]
    lines: Option<usize>,
}

/// A registration that follows its package manager.
#[derive(Debug, Serialize)]
struct RefreshedEntry {
    package: String,
    manager: &'static str,
    name: String,
    /// `upgraded`, `reinstalled` or `removed`.
    change: &'static str,
    from: String,
    to: Option<String>,
    objects: usize,
}

/// A package that stays as it is registered.
#[derive(Debug, Serialize)]
struct LeftEntry {
    package: String,
    reason: String,
}

/// A patch that ended.
#[derive(Debug, Serialize)]
struct EndedEntry {
    id: String,
    packages: Vec<String>,
    /// `contained`, `lost`, `removed` or `accepted`.
    outcome: OvertakenState,
    manager: String,
    name: String,
    version: String,
    fixed_in: Option<String>,
    required_by: Vec<String>,
    #[serde(skip)]
    told: String,
}

/// A patch that stands.
#[derive(Debug, Serialize)]
struct StandingEntry {
    id: String,
    handed_over: Vec<String>,
}

impl RefreshReply {
    fn of(root: &Root, report: RefreshReport, args: &AdoptArgs) -> Self {
        let is_something = !report.packages.is_empty() || !report.accepted.is_empty();
        let result = if args.dry_run && is_something { ResultWord::Planned } else { ResultWord::Done };
        let recovery = recovery_sentence(&report.recovered).into_iter();
        let notes = recovery.chain(report.recovered.notes().iter().cloned()).chain(report.notes);
        Self {
            result,
            changed: report.receipt.is_some(),
            refreshed: report
                .packages
                .into_iter()
                .map(|one| RefreshedEntry::of(one.package.to_string(), &one.change, one.objects))
                .collect(),
            left: report
                .left
                .into_iter()
                .map(|(package, change)| LeftEntry {
                    package: package.to_string(),
                    reason: change.to_string(),
                })
                .collect(),
            ended: report.ended.into_iter().map(EndedEntry::of).collect(),
            standing: report.standing.iter().map(StandingEntry::of).collect(),
            accepted: report.accepted.iter().map(ToString::to_string).collect(),
            missing: report.missing.iter().map(|path| root.show(path)).collect(),
            notes: notes.collect(),
            exit: Exit::OK,
            lines: args.from_hook.then_some(HOOK_LINES),
        }
    }

    /// Returns what a person is told, line by line.
    fn sentences(&self) -> Vec<String> {
        let is = if self.result == ResultWord::Planned { "would follow" } else { "follows" };
        let mut lines: Vec<String> = self.refreshed.iter().map(|one| one.sentence(is)).collect();
        // dpkg calls the hook between unpacking and configuring: the next call takes such a package up.
        let left = if self.lines.is_some() { &[] } else { self.left.as_slice() };
        lines.extend(
            left.iter().map(|one| format!("Package {} stays as it is: {}.", one.package, one.reason)),
        );
        for one in &self.ended {
            lines.push(format!("{}: {}", one.id, one.told));
            if !one.required_by.is_empty() {
                lines.push(format!("  required by {}", one.required_by.join(", ")));
            }
        }
        for one in &self.standing {
            lines.push(match one.handed_over.as_slice() {
                [] => format!("{}: stands", one.id),
                [path] => format!("{}: stands, partly overtaken ({path} is the package manager's)", one.id),
                several => format!(
                    "{}: stands, partly overtaken ({} objects are the package manager's)",
                    one.id,
                    several.len()
                ),
            });
        }
        lines.extend(self.accepted.iter().map(|id| format!("{id}: the loss of its fix is accepted")));
        lines.extend(self.missing.iter().map(|path| format!("  {path} is not there")));
        lines
    }
}

impl RefreshedEntry {
    fn of(package: String, change: &NativeChange, objects: usize) -> Self {
        let (manager, name) = (change.origin().manager.name(), change.origin().name.clone());
        let (word, from, to) = match change {
            NativeChange::Upgraded { from, to, .. } => ("upgraded", from.clone(), Some(to.clone())),
            NativeChange::Reinstalled { version, .. } => {
                ("reinstalled", version.clone(), Some(version.clone()))
            }
            NativeChange::Removed { from, .. } => ("removed", from.clone(), None),
            NativeChange::Busy { .. } | NativeChange::Unknown { .. } => ("unknown", String::new(), None),
        };
        Self { package, manager, name, change: word, from, to, objects }
    }

    fn sentence(&self, follows: &str) -> String {
        let Self { package, manager, name, from, to, objects, .. } = self;
        let objects = if *objects == 1 { "1 object".to_owned() } else { format!("{objects} objects") };
        match (self.change, to) {
            ("upgraded", Some(to)) => {
                format!("Package {package} {follows} {manager}: {name} {from} became {to}, {objects}.")
            }
            ("reinstalled", _) => {
                format!(
                    "Package {package} {follows} {manager}: {name} {from} was installed again, {objects}."
                )
            }
            _ => format!("Package {package} {follows} {manager}: {name} {from} was removed."),
        }
    }
}

impl EndedEntry {
    fn of(ended: EndedPatch) -> Self {
        let EndedPatch { patch, packages, required_by } = ended;
        Self {
            told: patch.told(),
            id: patch.patch,
            packages: packages.iter().map(ToString::to_string).collect(),
            outcome: patch.state,
            manager: patch.manager,
            name: patch.package,
            version: patch.version,
            fixed_in: patch.fixed_in,
            required_by: required_by.iter().map(ToString::to_string).collect(),
        }
    }
}

impl StandingEntry {
    fn of(standing: &StandingPatch) -> Self {
        let handed_over = standing.handed_over.iter().map(ToString::to_string).collect();
        Self { id: standing.id.to_string(), handed_over }
    }
}

impl CommandReport for RefreshReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let lines = self.sentences();
        if lines.is_empty() && self.lines.is_none() {
            output.line("Every registration is as its package manager has it.")?;
        }
        for line in lines.iter().take(self.lines.unwrap_or(usize::MAX)) {
            output.line(line)?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.lines.is_some() { Ok(()) } else { Ok(print_notes(output, &self.notes)?) }
    }
}
