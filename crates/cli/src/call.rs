//! One call of a command, and what the program knows of each command.

use std::ffi::OsString;
use std::time::Instant;

use crate::reply::{Exit, ExitCause, Reply, Stop};
use crate::surroundings::bar::Bar;
use crate::surroundings::caller::{RootTurn, lock_wait_seconds};
use crate::surroundings::ending::{EndingRun, acknowledge, with_acknowledged_signals};
use crate::surroundings::output::is_of_verbs;
use crate::surroundings::questions::{Answer, Confirmation};
use crate::surroundings::work_bar::WorkBar;
use crate::surroundings::{Output, Surroundings};
use patchadm_core::operation::session::Caller;
use patchadm_rootfs::Root;

/// The name of the program where no classic name counts.
pub const PROGRAM: &str = "patchadm";

/// The hidden verb that shells call; each program has it.
pub const COMPLETE: &str = "__complete";

/// The hidden verb that prints a schema for `patchadm help --schema`; each program beside `patchadm` has it.
pub const SCHEMA: &str = "__schema";

/// The work of a command: from its arguments to its answer.
pub type RunCommand = fn(&mut Invocation) -> anyhow::Result<Reply>;

/// A command that the program can be.
pub struct Applet {
    /// Its name: a link or the first argument.
    pub name: &'static str,
    pub kind: AppletKind,
    /// One line for the list of commands.
    pub about: &'static str,
    pub work: Work,
}

/// The place where the work of a command is done.
pub enum Work {
    Here(RunCommand),
    /// In another program, which takes the place of this one.
    Beside(&'static Sibling),
}

/// A program that is installed beside this one and does some of its verbs.
#[derive(Debug)]
pub struct Sibling {
    /// Its name, and that of the package that has it.
    pub name: &'static str,
    /// One line for the list of programs.
    pub about: &'static str,
    /// Its sources, from the top of the repository.
    pub source: &'static str,
    /// Whether the verb is its first word; the name of a program of one command says it already.
    pub takes_verb: bool,
}

/// A program: its commands, and what its help says.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// How it is called.
    pub usage: &'static str,
    /// The last lines of its help.
    pub ending: &'static str,
    /// Its commands, in the order of its help.
    pub applets: &'static [Applet],
    /// The one command, of a program that has no other: its calls do not name it.
    pub only: Option<&'static str>,
    /// The verb of a call that names none; without one such a call is answered with the help.
    pub overall: Option<&'static str>,
    /// The commands that only ask: nothing is changed or made by them. An action follows its verb after a blank.
    pub queries: &'static [&'static str],
    /// Words that people try, and the commands that do what they mean.
    pub meant: &'static [(&'static str, &'static str)],
    /// Commands that a slip of the finger must not suggest, because they change or delete something.
    pub never_suggested: &'static [&'static str],
    /// The files of `docs/schema` that describe the documents of its commands, and those that these refer to: their names
    /// and texts. The name of an action has a hyphen behind that of its verb.
    pub schemas: &'static [(&'static str, &'static str)],
}

/// The ways to call a command, and whether lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppletKind {
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
pub enum VerbGroup {
    Change,
    Inspect,
    Maintain,
    Make,
    Learn,
}

impl VerbGroup {
    /// All groups, in the order of lists.
    pub const ALL: [Self; 5] = [Self::Change, Self::Inspect, Self::Maintain, Self::Make, Self::Learn];

    /// Returns the heading of its verbs.
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
    /// Tells whether a link with its name, or the name as first argument, is this command and not `patchadm`.
    pub fn has_own_name(&self) -> bool {
        matches!(self.kind, AppletKind::Classic | AppletKind::ForScripts)
    }

    /// Returns the name before its diagnostics: its own, or that of the program.
    pub fn program(&self, of: &'static str) -> &'static str {
        if self.has_own_name() { self.name } else { of }
    }

    /// Tells whether people are to know of it.
    pub fn is_listed(&self) -> bool {
        matches!(self.kind, AppletKind::Verb(_) | AppletKind::Classic)
    }
}

/// Options that may stand before a verb and take a value.
const GLOBAL_WITH_VALUE: [&str; 5] = ["-R", "--root", "--color", "--policy", "--roots"];

/// Returns the place of the command's name; global options may come before it.
pub fn place_of_name(arguments: &[OsString]) -> Option<usize> {
    let mut takes_value = false;
    arguments.iter().position(|word| {
        let is_name = !takes_value && !word.as_encoded_bytes().starts_with(b"-");
        takes_value = !takes_value && GLOBAL_WITH_VALUE.iter().any(|option| word == option);
        is_name
    })
}

/// One call of a command.
pub struct Invocation {
    /// The name of the command: its classic name, or that of a verb.
    pub name: &'static str,
    /// The name before diagnostics: the classic name, or `patchadm` for a verb.
    pub program: &'static str,
    /// The arguments, without the name of the command.
    pub arguments: Vec<OsString>,
    /// Environment, clock, machine and terminal.
    pub surroundings: Surroundings,
    /// Standard output and standard error.
    pub output: Output,
    /// Whether one JSON document is printed instead of text; known once the arguments are read.
    pub in_json: bool,
    /// Whether only the description of its options is wanted, and nothing done.
    pub is_asked_for_options: bool,
    /// The program.
    pub of: &'static Program,
}

impl Invocation {
    /// Takes the action from the arguments of a verb whose actions have arguments of their own: the word behind the verb, if it
    /// is one of these.
    pub fn take_action(&mut self, actions: &[(&str, RunCommand)]) -> Option<RunCommand> {
        let place = place_of_name(&self.arguments)?;
        let said = self.arguments.get(place)?;
        let (_, work) = actions.iter().find(|(word, _)| said == word)?;
        self.arguments.remove(place);
        Some(*work)
    }

    /// Tells whether the arguments are options only, and none of them asks for help.
    pub fn has_only_options(&self) -> bool {
        let asks = |word: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|option| word == option);
        !self.is_asked_for_options
            && place_of_name(&self.arguments).is_none()
            && !self.arguments.iter().any(asks)
    }

    /// Returns a bar for a person that says what the command is at, and how far its meter is.
    pub fn busy(&self, doing: &'static str) -> WorkBar {
        let surroundings = &self.surroundings;
        WorkBar::new(doing, surroundings.stderr_is_terminal && !surroundings.is_quiet && !self.in_json)
    }

    /// Tells whether the user is asked before a change: at a terminal, unless `is_agreed`.
    pub fn may_ask(&self, is_agreed: bool) -> bool {
        let surroundings = &self.surroundings;
        !is_agreed && !self.in_json && surroundings.stdin_is_terminal && surroundings.stdout_is_terminal
    }

    /// Asks before a change, and fails if the answer is no. `undone` names the change that does not happen then.
    pub fn must_be_agreed_to(&mut self, confirmation: Confirmation<'_>, undone: &str) -> anyhow::Result<()> {
        let (exit, why) = match confirmation.ask(&mut self.output)? {
            Answer::Yes => {
                self.surroundings.begin_now();
                return Ok(());
            }
            Answer::No => (Exit::of_verb(ExitCause::Declined), "the answer was no"),
            Answer::Interrupted(signal) => (Exit::by_signal(signal), "interrupted"),
        };
        let message = format!("{undone}: {why}\nnothing was changed");
        Err(Stop::Refused { exit, message }.into())
    }

    /// Changes a root. Waits for a held lock for the requested time, else for the time in the policy of the root.
    pub fn change<T>(
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
    pub fn with_caller<T>(
        &self,
        program: &'static str,
        wait: u64,
        work: impl FnOnce(&Caller<'_>) -> T,
    ) -> anyhow::Result<T> {
        let surroundings = &self.surroundings;
        let is_shown = is_of_verbs(self.program) && surroundings.stderr_is_terminal && !surroundings.is_quiet;
        let bar = Bar::new(Instant::now(), is_shown);
        let tell = |run: &EndingRun<'_>| {
            if !surroundings.is_quiet {
                bar.suspend(|| acknowledge(self.program, run.acknowledgement()));
            }
        };
        with_acknowledged_signals(tell, |run| {
            let interrupt = &|| run.interrupt();
            let turn = RootTurn { surroundings, program, speaks_as: program.to_owned(), wait, interrupt };
            let progress = |event| {
                run.observe(event);
                bar.show(event);
            };
            turn.with_caller(&progress, work)
        })
    }
}
