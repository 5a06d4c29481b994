//! `patchadm setup hooks`: hooks of apt, dpkg and dnf, on a system without our packages.

use serde::Serialize;

use crate::as_owner::options::OwnerOptions;
use crate::verbs::options::RootlessOptions;
use patchadm_cli::arguments::{RootOption, one_of, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::words::print_notes;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::native_hooks::{
    HookAction, HookEntry, HookReport, HookState, install_hooks, remove_hooks, survey_hooks,
};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm [-R root] setup hooks install|remove [--as-owner|--trust-root]\n\
    patchadm [-R root] setup hooks show";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HooksAction {
    Install,
    Remove,
    Show,
}

const ACTIONS: [(&str, HooksAction); 3] =
    [("install", HooksAction::Install), ("remove", HooksAction::Remove), ("show", HooksAction::Show)];

/// Install, remove or show the hooks of apt, dpkg and dnf
#[derive(clap::Parser)]
struct HooksArgs {
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    _common: RootlessOptions,
    /// Action: install, remove or show
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    action: Option<HooksAction>,
}

#[derive(Serialize)]
struct HooksReport {
    result: ResultWord,
    program: ShownProgram,
    hooks: Vec<ShownHook>,
    notes: Vec<String>,
    #[serde(skip)]
    action: HooksAction,
}

#[derive(Serialize)]
struct ShownProgram {
    path: &'static str,
    present: bool,
}

#[derive(Serialize)]
struct ShownHook {
    manager: &'static str,
    file: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "setup hooks";
    let args: HooksArgs = parse(call, USAGE)?;
    let action = args.must_fit()?;
    let work = match action {
        HooksAction::Install => install_hooks,
        HooksAction::Remove => remove_hooks,
        HooksAction::Show => survey_hooks,
    };
    let root = match action {
        HooksAction::Show => args.root.open(call)?,
        _ => args.owner.open::<HooksArgs>(call, &args.root, Command::Patchadd)?,
    };
    let report = work(&root).map_err(|failure| query_refused(&root, &failure))?;
    let is_left = report.hooks.iter().any(|hook| hook.action == Some(HookAction::Left));
    let exit = if is_left { Exit::failed(ExitCause::Edited) } else { Exit::OK };
    Ok(Reply::about(&root, exit, HooksReport::of(&root, action, &report)))
}

fn usage(message: impl Into<String>) -> Stop {
    Stop::Usage { message: message.into(), usage: USAGE }
}

impl HooksArgs {
    /// Returns the action if all given options belong to it.
    fn must_fit(&self) -> Result<HooksAction, Stop> {
        let action = self.action.ok_or_else(|| usage("no action is named: install, remove or show"))?;
        let wrong = self.owner.said().into_iter().find(|(_, is_said)| *is_said);
        match wrong {
            Some((option, _)) if action == HooksAction::Show => {
                Err(usage(format!("{option} is not an option of this action")))
            }
            _ => Ok(action),
        }
    }
}

impl HooksReport {
    fn of(root: &Root, action: HooksAction, report: &HookReport) -> Self {
        let shown = |hook: &HookEntry| ShownHook {
            manager: hook.manager.name(),
            file: root.show(&hook.path),
            state: hook.state.word(),
            action: hook.action.map(HookAction::word),
        };
        Self {
            result: result_of(action, report),
            program: ShownProgram { path: report.program, present: report.has_program },
            hooks: report.hooks.iter().map(shown).collect(),
            notes: notes(root, action, report),
            action,
        }
    }

    fn left(&self) -> impl Iterator<Item = &ShownHook> {
        self.hooks.iter().filter(|hook| hook.action == Some(HookAction::Left.word()))
    }
}

fn result_of(action: HooksAction, report: &HookReport) -> ResultWord {
    let is_any = |actions: &[HookAction]| {
        report.hooks.iter().any(|hook| hook.action.is_some_and(|done| actions.contains(&done)))
    };
    let changes = [HookAction::Installed, HookAction::Replaced, HookAction::Removed];
    match (is_any(&changes), is_any(&[HookAction::Left])) {
        _ if action == HooksAction::Show => ResultWord::Done,
        (true, _) => ResultWord::Done,
        (false, true) => ResultWord::Refused,
        (false, false) => ResultWord::NothingToDo,
    }
}

/// Faults that disable the hooks.
fn notes(root: &Root, action: HooksAction, report: &HookReport) -> Vec<String> {
    let mut notes = Vec::new();
    let is_there = report.hooks.iter().any(|hook| hook.state != HookState::Missing);
    if action != HooksAction::Remove && is_there && !report.has_program {
        let place = root.prefix().join(report.program.trim_start_matches('/'));
        notes.push(format!(
            "{} does not exist: the hooks do nothing until it exists; if it moves, run `setup hooks install` again",
            place.display()
        ));
    }
    if action != HooksAction::Remove
        && let Some(foreign) = &report.foreign_program
    {
        notes.push(format!("hooks cannot call a program that others can replace: {foreign}"));
    }
    if action != HooksAction::Remove && report.has_rpm_alone {
        notes.push(
            "rpm has no hook files: after rpm without dnf, only the trigger of the patchadm .rpm refreshes registrations"
                .to_owned(),
        );
    }
    notes
}

impl CommandReport for HooksReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.hooks.is_empty() {
            output.line(match self.action {
                HooksAction::Remove => "the root has no hooks",
                _ => "the root has no package manager with hooks",
            })?;
        }
        for ShownHook { manager, file, state, action } in &self.hooks {
            let state =
                if *state == HookState::Changed.word() { "changed by the administrator" } else { state };
            output.line(format!("{manager:<4}  {file}: {}", action.unwrap_or(state)))?;
        }
        let left: Vec<String> =
            self.left().map(|hook| format!("\n{} was changed by somebody else", hook.file)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let done = if self.action == HooksAction::Remove { "removed" } else { "installed" };
        let left = left.concat();
        Ok(output.error(&format!(
            "not every hook is {done}{left}\nhint: move that file away, then run the command again"
        ))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}
