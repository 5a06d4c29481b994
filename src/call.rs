//! One call of a command, and what the program knows of each command.

use std::ffi::OsString;
use std::time::Instant;

use crate::reply::Reply;
use crate::surroundings::bar::Bar;
use crate::surroundings::caller::{RootTurn, lock_wait_seconds, with_signals};
use crate::surroundings::work_bar::WorkBar;
use crate::surroundings::{Output, Surroundings};
use patchadm_core::operation::session::Caller;
use patchadm_rootfs::Root;

/// The name of the program where no classic name counts.
pub(crate) const PROGRAM: &str = "patchadm";

/// The work of a command: from its arguments to its answer.
pub(crate) type RunCommand = fn(&mut Invocation) -> anyhow::Result<Reply>;

/// A command that the program can be.
pub(crate) struct Applet {
    /// Its name: a link or the first argument.
    pub(crate) name: &'static str,
    pub(crate) kind: AppletKind,
    /// One line for the list of commands.
    pub(crate) about: &'static str,
    pub(crate) run: RunCommand,
}

/// The ways to call a command, and whether lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppletKind {
    /// A verb of `patchadm`.
    Verb(VerbGroup),
    /// A command with a name of its own.
    Classic,
    /// A command with a name of its own, for procedure scripts only, in no list.
    ForScripts,
    /// A command that only the program itself starts, in no list.
    Internal,
}

/// The purposes by which lists group the verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerbGroup {
    Change,
    Ask,
    Make,
    Stage,
    Mend,
    Learn,
}

impl VerbGroup {
    /// All groups, in the order of lists.
    pub(crate) const ALL: [Self; 6] =
        [Self::Change, Self::Ask, Self::Make, Self::Stage, Self::Mend, Self::Learn];

    /// Returns the heading of its verbs.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Change => "Change a root",
            Self::Ask => "Ask about a root",
            Self::Make => "Make and publish patches",
            Self::Stage => "Stage and build",
            Self::Mend => "Mend and keep in order",
            Self::Learn => "Set up and learn",
        }
    }
}

impl Applet {
    /// Tells whether a link with its name, or the name as first argument, is this command and not `patchadm`.
    pub(crate) fn has_own_name(&self) -> bool {
        matches!(self.kind, AppletKind::Classic | AppletKind::ForScripts)
    }

    /// Returns the name before its diagnostics: its own, or that of the program.
    pub(crate) fn program(&self) -> &'static str {
        if self.has_own_name() { self.name } else { PROGRAM }
    }

    /// Tells whether people are to know of it.
    pub(crate) fn is_listed(&self) -> bool {
        matches!(self.kind, AppletKind::Verb(_) | AppletKind::Classic)
    }
}

/// Options that may stand before a verb and take a value.
const GLOBAL_WITH_VALUE: [&str; 4] = ["-R", "--color", "--policy", "--roots"];

/// Returns the place of the command's name; global options may come before it.
pub(crate) fn place_of_name(arguments: &[OsString]) -> Option<usize> {
    let mut takes_value = false;
    arguments.iter().position(|word| {
        let is_name = !takes_value && !word.as_encoded_bytes().starts_with(b"-");
        takes_value = !takes_value && GLOBAL_WITH_VALUE.iter().any(|option| word == option);
        is_name
    })
}

/// One call of a command.
pub(crate) struct Invocation {
    /// The name of the command: its classic name, or that of a verb.
    pub(crate) name: &'static str,
    /// The name before diagnostics: the classic name, or `patchadm` for a verb.
    pub(crate) program: &'static str,
    /// The arguments, without the name of the command.
    pub(crate) arguments: Vec<OsString>,
    /// Environment, clock, machine and terminal.
    pub(crate) surroundings: Surroundings,
    /// Standard output and standard error.
    pub(crate) output: Output,
    /// Whether one JSON document is printed instead of text; known once the arguments are read.
    pub(crate) in_json: bool,
    /// Whether only the description of its options is wanted, and nothing done.
    pub(crate) is_asked_for_options: bool,
    /// Every command of the program.
    pub(crate) applets: &'static [Applet],
}

impl Invocation {
    /// Takes the action from the arguments of a verb whose actions have arguments of their own: the word behind the verb, if it
    /// is one of these.
    pub(crate) fn take_action(&mut self, actions: &[(&str, RunCommand)]) -> Option<RunCommand> {
        let place = place_of_name(&self.arguments)?;
        let said = self.arguments.get(place)?;
        let (_, work) = actions.iter().find(|(word, _)| said == word)?;
        self.arguments.remove(place);
        Some(*work)
    }

    /// Returns a bar for a person that says what the command is at, and how far its meter is.
    pub(crate) fn busy(&self, doing: &'static str) -> WorkBar {
        let surroundings = &self.surroundings;
        WorkBar::new(doing, surroundings.stderr_is_terminal && !surroundings.is_quiet && !self.in_json)
    }

    /// Changes a root. Waits for a held lock for the requested time, else for the time in the policy of the root.
    pub(crate) fn change<T>(
        &self,
        root: &Root,
        program: &'static str,
        wait: Option<u64>,
        work: impl FnOnce(&Caller<'_>) -> T,
    ) -> anyhow::Result<T> {
        self.with_caller(program, lock_wait_seconds(root, wait), work)
    }

    /// Runs a changing operation. Signals only set a flag, which the operation looks at between its steps; a held lock
    /// is waited for `wait` seconds.
    pub(crate) fn with_caller<T>(
        &self,
        program: &'static str,
        wait: u64,
        work: impl FnOnce(&Caller<'_>) -> T,
    ) -> anyhow::Result<T> {
        let surroundings = &self.surroundings;
        let is_shown = self.program == PROGRAM && surroundings.stderr_is_terminal && !surroundings.is_quiet;
        let bar = Bar::new(Instant::now(), is_shown);
        with_signals(|interrupt| {
            let turn = RootTurn { surroundings, program, speaks_as: program.to_owned(), wait, interrupt };
            turn.with_caller(&|event| bar.show(event), work)
        })
    }
}
