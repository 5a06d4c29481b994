//! Reading command lines: what all commands have in common.
//!
//! Each command describes its options as a clap struct whose doc comments are its help text. Letters may be
//! clustered (`-na FILE`), may come in any order and more than once (the last value counts), as getopts(1) allows.
//! A command line that makes no sense is a [`Stop::Usage`] with the classic synopsis, never clap's own exit code.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgAction;
use clap::error::ErrorKind;

use crate::call::Invocation;
use crate::reply::Stop;
use patchadm_rootfs::Root;

/// The name of the option that asks for JSON.
const JSON: &str = "json";

/// The options that patchadm adds to every classic command; without them a command prints what it always printed.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Extensions {
    /// Print one JSON document instead of text
    #[arg(long = "json", id = JSON)]
    _json: bool,
    /// Print help
    #[arg(long = "help", action = ArgAction::HelpLong)]
    _help: Option<bool>,
    /// Print the version
    #[arg(long = "version", action = ArgAction::Version)]
    _version: Option<bool>,
}

/// The root that a command works on.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RootOption {
    /// Work on the root below this directory instead of `PKG_INSTALL_ROOT` or /
    #[arg(short = 'R', value_name = "ROOT")]
    pub(crate) root: Option<PathBuf>,
}

/// Packages by what they are for.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct CategoryOption {
    /// All packages of these categories, separated by commas, instead of named ones
    #[arg(short = 'Y', value_name = "CATEGORY", value_delimiter = ',', conflicts_with = "packages")]
    pub(crate) categories: Vec<String>,
}

/// Operands that may be lists of names, separated by commas: `pkgadd -d stream A,B`.
pub(crate) fn listed(words: &[String]) -> Vec<String> {
    let names = words.iter().flat_map(|word| word.split(','));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

impl RootOption {
    /// Whether somebody named the root, or it is `/` because nobody did.
    pub(crate) fn is_named(&self, call: &Invocation) -> bool {
        self.root.is_some() || call.surroundings.install_root.is_some()
    }

    /// Opens it. Messages name its paths from `/` on, so that they can be typed anywhere.
    pub(crate) fn open(&self, call: &Invocation) -> anyhow::Result<Root> {
        let path = call.surroundings.root(self.root.as_deref())?;
        Ok(Root::open(&std::path::absolute(path)?)?)
    }
}

/// Reads the arguments of a command, and notes whether its answer is wanted in JSON.
pub(crate) fn parse<A: clap::Parser>(call: &mut Invocation, usage: &'static str) -> Result<A, Stop> {
    let command = command::<A>(call).override_usage(usage.replace('\n', "\n       "));
    let matches = command.try_get_matches_from(words(call)).map_err(|error| stop(&error, usage))?;
    call.in_json = matches!(matches.try_get_one(JSON), Ok(Some(true)));
    A::from_arg_matches(&matches).map_err(|error| stop(&error, usage))
}

/// The description of a command's arguments, without the options that clap adds.
pub(crate) fn command<A: clap::CommandFactory>(call: &Invocation) -> clap::Command {
    A::command()
        .name(call.program)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
}

/// The words of a call, the name of the command before them.
pub(crate) fn words(call: &Invocation) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from(call.program)).chain(call.arguments.iter().map(tidy))
}

/// Refuses the first of these options of the classic command that was used, because patchadm knows it but does not
/// do what it means. Ignoring it would do something other than what was asked.
pub(crate) fn refuse_unsupported<const N: usize>(
    options: [(&'static str, bool); N],
    usage: &'static str,
) -> Result<(), Stop> {
    match options.into_iter().find(|(_, is_used)| *is_used) {
        None => Ok(()),
        Some((option, _)) => {
            Err(Stop::Usage { message: format!("option {option} is not supported yet"), usage })
        }
    }
}

fn stop(error: &clap::Error, usage: &'static str) -> Stop {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Help(text),
        _ => {
            let first = text.split("\n\n").next().unwrap_or(&text);
            Stop::Usage { message: first.trim_start_matches("error: ").trim_end().to_owned(), usage }
        }
    }
}

/// Takes the blanks from the end of an option: Salt passes `-G ` as one word.
fn tidy(word: &OsString) -> OsString {
    match word.to_str() {
        Some(text) if text.starts_with('-') && text.len() > 1 => text.trim_end_matches(' ').into(),
        _ => word.clone(),
    }
}
