//! `patchadm setup`: links, completions of shells, and hooks of package managers.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

use super::options::RootlessOptions;
use crate::as_owner::options::OwnerOptions;
use patchadm_cli::arguments::{RootOption, one_of, parse};
use patchadm_cli::call::{AppletKind, Invocation, PROGRAM, RunCommand, Work};
use patchadm_cli::reply::failure::{hinted, query_refused};
use patchadm_cli::reply::words::print_notes;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::links::{AppletLinks, LinksError, make_links};
use patchadm_core::operation::native_hooks::{
    HookAction, HookEntry, HookReport, HookState, install_hooks, remove_hooks, survey_hooks,
};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm setup links [--force] dir\n\
    patchadm setup completions bash|zsh|fish\n\
    patchadm [-R root] setup hooks install|remove|show [option...]";

const ACTIONS: [(&str, RunCommand); 3] =
    [("links", link_commands), ("completions", print_completions), ("hooks", change_hooks)];

/// Integrate with the system: links, completions, hooks; `patchadm setup ACTION --help` lists the options of an action
#[derive(clap::Parser)]
struct SetupArgs {
    #[command(flatten)]
    _root: RootOption,
    #[command(flatten)]
    _common: RootlessOptions,
    /// Action: links, completions or hooks
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    _action: Option<RunCommand>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    if let Some(work) = call.take_action(&ACTIONS) {
        return work(call);
    }
    let _: SetupArgs = parse(call, USAGE)?;
    Err(Stop::Usage { message: "no action specified: links, completions or hooks".to_owned(), usage: USAGE }
        .into())
}

const COMPLETIONS_USAGE: &str = "patchadm setup completions bash|zsh|fish";

/// Print the completion script for a shell
#[derive(clap::Parser)]
struct CompletionsArgs {
    #[command(flatten)]
    _common: RootlessOptions,
    /// The shell: bash, zsh or fish
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

/// A shell that completes words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// Scripts know no verbs and options: they call the hidden verb `__complete`.
    fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("setup/completions/bash"),
            Self::Zsh => include_str!("setup/completions/zsh"),
            Self::Fish => include_str!("setup/completions/fish"),
        }
    }
}

#[derive(Serialize)]
struct CompletionScript {
    script: String,
}

fn print_completions(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "setup completions";
    let args: CompletionsArgs = parse(call, COMPLETIONS_USAGE)?;
    let classic = call.of.applets.iter().filter(|applet| applet.kind == AppletKind::Classic);
    let others = call.of.applets.iter().filter_map(|applet| match applet.work {
        Work::Beside(sibling) => Some(sibling.name),
        Work::Here(_) => None,
    });
    let others: BTreeSet<&str> = others.collect();
    let classic = classic.map(|applet| applet.name);
    let names: Vec<&str> = std::iter::once(PROGRAM).chain(others).chain(classic).collect();
    let script = args.shell.script().replace("@COMMANDS@", &names.join(" "));
    Ok(Reply::new(Exit::OK, CompletionScript { script }))
}

impl CommandReport for CompletionScript {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.print(&self.script)?)
    }
}

const LINKS_USAGE: &str = "patchadm setup links [--force] dir";

/// Create links for the classic commands
#[derive(clap::Parser)]
struct LinksArgs {
    /// Replace existing symbolic links that point elsewhere
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory for the links, which must exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

#[derive(Serialize)]
struct LinksReport {
    result: ResultWord,
    program: String,
    #[serde(flatten)]
    links: AppletLinks,
}

fn link_commands(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "setup links";
    let args: LinksArgs = parse(call, LINKS_USAGE)?;
    let program = call.surroundings.binary.clone().context("the program cannot find its own file")?;
    let classic = call.of.applets.iter().filter(|applet| applet.kind == AppletKind::Classic);
    let names: Vec<&'static str> = classic.map(|applet| applet.name).collect();
    let links = make_links(&args.directory, &program, &names, args.force).map_err(links_refused)?;
    let program = program.display().to_string();
    let is_idle = links.made.is_empty() && links.replaced.is_empty();
    let result = if is_idle { ResultWord::NothingToDo } else { ResultWord::Done };
    Ok(Reply::new(Exit::OK, LinksReport { result, program, links }))
}

impl CommandReport for LinksReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let AppletLinks { made, replaced, kept } = &self.links;
        for (what, names) in [("made", made), ("replaced", replaced), ("kept", kept)] {
            if !names.is_empty() {
                output.line(format!("{what}: {}", names.join(" ")))?;
            }
        }
        Ok(())
    }
}

fn links_refused(error: LinksError) -> anyhow::Error {
    let (cause, next) = match &error {
        LinksError::Taken { only_links: true, .. } => {
            (ExitCause::Edited, "replace these links with `--force`, or choose another directory")
        }
        LinksError::Taken { only_links: false, .. } => {
            (ExitCause::Edited, "choose another directory; `--force` replaces symbolic links only")
        }
        LinksError::Root(missing) if missing.is_not_found() => {
            (ExitCause::NotFound, "make the directory first, or choose one that exists")
        }
        _ => return error.into(),
    };
    let message = hinted(&format!("no link was made: {error}"), next);
    Stop::Refused { exit: Exit::failed(cause), message }.into()
}

const HOOKS_USAGE: &str = "patchadm [-R root] setup hooks install|remove [--as-owner|--trust-root]\n\
    patchadm [-R root] setup hooks show";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HooksAction {
    Install,
    Remove,
    Show,
}

const HOOKS_ACTIONS: [(&str, HooksAction); 3] =
    [("install", HooksAction::Install), ("remove", HooksAction::Remove), ("show", HooksAction::Show)];

/// Install, remove or show the hooks for apt, dpkg and dnf
#[derive(clap::Parser)]
struct HooksArgs {
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    _common: RootlessOptions,
    /// Action: install, remove or show
    #[arg(value_name = "ACTION", value_parser = one_of(&HOOKS_ACTIONS), hide_possible_values = true)]
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

fn change_hooks(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "setup hooks";
    let args: HooksArgs = parse(call, HOOKS_USAGE)?;
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

fn hooks_usage(message: impl Into<String>) -> Stop {
    Stop::Usage { message: message.into(), usage: HOOKS_USAGE }
}

impl HooksArgs {
    /// Returns the action if all given options belong to it.
    fn must_fit(&self) -> Result<HooksAction, Stop> {
        let action =
            self.action.ok_or_else(|| hooks_usage("no action specified: install, remove or show"))?;
        let wrong = self.owner.said().into_iter().find(|(_, is_said)| *is_said);
        match wrong {
            Some((option, _)) if action == HooksAction::Show => {
                Err(hooks_usage(format!("{option} is not an option of this action")))
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
            notes: hooks_notes(root, action, report),
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
fn hooks_notes(root: &Root, action: HooksAction, report: &HookReport) -> Vec<String> {
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
            "rpm has no hook files: if rpm runs without dnf, only the trigger in the patchadm .rpm refreshes registrations"
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
            self.left().map(|hook| format!("\n{} was modified locally", hook.file)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let done = if self.action == HooksAction::Remove { "removed" } else { "installed" };
        let left = left.concat();
        Ok(output.error(&format!(
            "not all hooks were {done}{left}\nhint: move that file away, then run the command again"
        ))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}
