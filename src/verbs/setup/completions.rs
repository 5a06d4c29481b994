//! `patchadm setup completions`: scripts with which a shell completes words.
//!
//! They know no verbs and options: for every question they call the hidden verb `__complete`.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde::Serialize;

use crate::verbs::options::RootlessOptions;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::{AppletKind, Invocation, PROGRAM, Work};
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::Output;

const USAGE: &str = "patchadm setup completions bash|zsh|fish";

/// Print the completion script of a shell
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
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("completions/bash"),
            Self::Zsh => include_str!("completions/zsh"),
            Self::Fish => include_str!("completions/fish"),
        }
    }
}

#[derive(Serialize)]
struct CompletionScript {
    script: String,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "setup completions";
    let args: CompletionsArgs = parse(call, USAGE)?;
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
