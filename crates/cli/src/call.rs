//! One call of a command, and the static description of commands and programs.

use std::ffi::OsString;

use crate::reply::{Exit, ExitCause, Reply, Stop};
use crate::surroundings::bar::{CommandBar, RunBar};
use crate::surroundings::caller::{RootTurn, lock_wait_seconds};
use crate::surroundings::ending::{EndingRun, acknowledge, with_acknowledged_signals};
use crate::surroundings::output::is_of_verbs;
use crate::surroundings::questions::{Confirmation, ConfirmationAnswer};
use crate::surroundings::work_bar::WorkBar;
use crate::surroundings::{Output, Surroundings};
use patchadm_core::operation::session::Caller;
use patchadm_rootfs::{INTERRUPTED, Root};

/// The name of the program where no classic name counts.
pub const PROGRAM: &str = "patchadm";

/// The hidden verb of each program that shells call.
pub const COMPLETE: &str = "__complete";

/// The hidden verb for `patchadm help --schema`; each program beside `patchadm` has it.
pub const SCHEMA: &str = "__schema";

pub type RunCommand = fn(&mut Invocation) -> anyhow::Result<Reply>;

pub struct Applet {
    /// A link or the first argument.
    pub name: &'static str,
    pub kind: AppletKind,
    pub about: &'static str,
    pub work: Work,
}

pub enum Work {
    Here(RunCommand),
    /// In another program, which replaces this one.
    Beside(&'static Sibling),
}

/// An installed program that does some verbs of this one.
#[derive(Debug)]
pub struct Sibling {
    pub name: &'static str,
    pub about: &'static str,
    /// Its sources, relative to the repository.
    pub source: &'static str,
    /// True if the verb is its first word. A program with one command takes none.
    pub takes_verb: bool,
}

pub struct Program {
    pub name: &'static str,
    pub about: &'static str,
    pub usage: &'static str,
    pub ending: &'static str,
    /// In the order of its help.
    pub applets: &'static [Applet],
    /// The only command of a program with one: calls do not name it.
    pub only: Option<&'static str>,
    /// The verb of a call that names none; without it, such a call prints the help.
    pub overall: Option<&'static str>,
    /// Commands that change nothing. An action follows its verb after a blank.
    pub queries: &'static [&'static str],
    /// Words that people try, some with a first argument, and the right commands.
    pub meant: &'static [(&'static str, &'static str)],
    /// Commands that change or delete something, and must not be suggested for a typing error.
    pub never_suggested: &'static [&'static str],
    /// Names and texts of the files in `docs/schema` for its documents, and of files that these refer to. An action
    /// follows its verb after a hyphen.
    pub schemas: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppletKind {
    Verb(VerbGroup),
    Classic,
    /// For procedure scripts only, in no list.
    ForScripts,
    /// Started only by the program itself, in no list.
    Internal,
}

/// The purposes by which lists group verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerbGroup {
    Change,
    Inspect,
    Maintain,
    Make,
    Learn,
}

impl VerbGroup {
    pub const ALL: [Self; 5] = [Self::Change, Self::Inspect, Self::Maintain, Self::Make, Self::Learn];

    pub fn heading(self) -> &'static str {
        match self {
            Self::Change => "Change a root",
            Self::Inspect => "Inspect a root",
            Self::Maintain => "Maintain",
            Self::Make => "Make and publish patches",
            Self::Learn => "Learn",
        }
    }
}

impl Applet {
    /// Returns true if a link with this name, or the name as first argument, means this command and not `patchadm`.
    pub fn has_own_name(&self) -> bool {
        matches!(self.kind, AppletKind::Classic | AppletKind::ForScripts)
    }

    /// Returns the name before its diagnostics: its own, or that of the program.
    pub fn program(&self, of: &'static str) -> &'static str {
        if self.has_own_name() { self.name } else { of }
    }

    pub fn is_listed(&self) -> bool {
        matches!(self.kind, AppletKind::Verb(_) | AppletKind::Classic)
    }
}

/// Includes options of a few verbs, which are often typed before the verb.
const GLOBAL_WITH_VALUE: [&str; 10] =
    ["-R", "--root", "--color", "--policy", "--roots", "--wait", "--trial", "--probe", "-M", "--depot"];

/// Returns the index of the command's name; global options may precede it.
pub fn place_of_name(arguments: &[OsString]) -> Option<usize> {
    let mut takes_value = false;
    arguments.iter().position(|word| {
        let is_name = !takes_value && !word.as_encoded_bytes().starts_with(b"-");
        takes_value = !takes_value && GLOBAL_WITH_VALUE.iter().any(|option| word == option);
        is_name
    })
}

pub struct Invocation {
    /// The classic name or the verb.
    pub name: &'static str,
    /// The name before diagnostics: the classic name, or `patchadm` for a verb.
    pub program: &'static str,
    pub arguments: Vec<OsString>,
    pub surroundings: Surroundings,
    pub output: Output,
    /// For all phases of the command.
    pub bar: CommandBar,
    /// Known once the arguments are read.
    pub in_json: bool,
    /// True if only the description of the options is wanted.
    pub is_asked_for_options: bool,
    pub of: &'static Program,
}

impl Invocation {
    /// Takes the action from a verb's arguments: the word behind the verb, if it is one of `actions`.
    pub fn take_action(&mut self, actions: &[(&str, RunCommand)]) -> Option<RunCommand> {
        let place = place_of_name(&self.arguments)?;
        let said = self.arguments.get(place)?;
        let (_, work) = actions.iter().find(|(word, _)| said == word)?;
        self.arguments.remove(place);
        Some(*work)
    }

    /// Returns false also if an option asks for help.
    pub fn has_only_options(&self) -> bool {
        let asks = |word: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|option| word == option);
        !self.is_asked_for_options
            && place_of_name(&self.arguments).is_none()
            && !self.arguments.iter().any(asks)
    }

    /// Shows the bar of the command until the result is dropped. Only for work that itself prints nothing.
    pub fn busy(&self, doing: &'static str) -> WorkBar {
        let surroundings = &self.surroundings;
        let is_shown = surroundings.stderr_is_terminal && !surroundings.is_quiet && !self.in_json;
        WorkBar::new(doing, &self.bar, is_shown)
    }

    /// Returns true at a terminal, or if the superuser's process has one, unless `is_agreed`.
    pub fn may_ask(&self, is_agreed: bool) -> bool {
        let surroundings = &self.surroundings;
        let is_at_terminal = surroundings.stdin_is_terminal && surroundings.stdout_is_terminal;
        !is_agreed && !self.in_json && (is_at_terminal || surroundings.asks_superuser)
    }

    /// Fails if the answer is no; `undone` names the change that does not happen then.
    pub fn must_be_agreed_to(&mut self, confirmation: Confirmation<'_>, undone: &str) -> anyhow::Result<()> {
        let answer = if self.surroundings.asks_superuser {
            confirmation.ask_superuser(&mut self.output)?
        } else {
            confirmation.ask(&mut self.output)?
        };
        let (exit, why) = match answer {
            ConfirmationAnswer::Yes => {
                self.surroundings.begin_now();
                self.bar.begin_again();
                return Ok(());
            }
            ConfirmationAnswer::No => (Exit::of_verb(ExitCause::Declined), "the answer was no"),
            ConfirmationAnswer::Interrupted(signal) => (Exit::by_signal(signal), INTERRUPTED),
        };
        let message = format!("{undone}: {why}\nnothing was changed");
        Err(Stop::Refused { exit, message }.into())
    }

    /// Waits for a held lock as requested, else as the policy of the root says.
    pub fn change<T>(
        &self,
        root: &Root,
        program: &'static str,
        wait: Option<u64>,
        work: impl FnOnce(&Caller<'_>) -> T,
    ) -> anyhow::Result<T> {
        self.with_caller(program, lock_wait_seconds(root, wait), work)
    }

    /// Runs a changing operation. Signals set a flag that the operation reads between steps. Waits up to `wait` seconds
    /// for a held lock.
    pub fn with_caller<T>(
        &self,
        program: &'static str,
        wait: u64,
        work: impl FnOnce(&Caller<'_>) -> T,
    ) -> anyhow::Result<T> {
        let surroundings = &self.surroundings;
        let is_shown = is_of_verbs(self.program) && surroundings.stderr_is_terminal && !surroundings.is_quiet;
        let bar = RunBar::new(&self.bar, is_shown);
        let tell = |run: &EndingRun<'_>| {
            if !surroundings.is_quiet {
                bar.suspend(|| acknowledge(self.program, run.acknowledgement()));
            }
        };
        with_acknowledged_signals(tell, |run| {
            let interrupt = &|| run.interrupt();
            let speaks_as = self.program.to_owned();
            let recovery = self.output.recovery();
            let turn = RootTurn { surroundings, program, speaks_as, wait, interrupt, recovery };
            let progress = |event| {
                run.observe(event);
                bar.show(event);
            };
            turn.with_caller(&progress, work)
        })
    }
}
