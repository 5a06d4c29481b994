//! Reads command lines. Each command is a clap struct whose doc comments are its help. Letters may be clustered (`-na
//! FILE`), as in getopts(1); flags may be repeated. A bad command line is a [`Stop::Usage`] with the classic synopsis,
//! never clap's own exit code.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ArgAction;
use clap::error::ErrorKind;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;

use super::later::later_option;
use super::sections::{arranged, help_text};
use super::suggest::{did_you_mean, similar};
use super::synopsis::folded_synopsis;
use super::typed::{secret_values, typed_line};
use crate::call::Invocation;
use crate::reply::{Exit, ExitCause, Stop};
use crate::surroundings::output::is_of_verbs;
use crate::surroundings::{Manner, Surroundings, WhenToColour};
use patchadm_inputs::input_file::read_own;
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;
use patchadm_svr4::format::params::LARGEST_FILE;

/// No option of a classic command has this name.
const JSON: &str = "json";
const QUIET: &str = "global-quiet";
const VERBOSE: &str = "global-verbose";
pub const POLICY: &str = "global-policy";
pub const COLOUR: &str = "global-colour";
const ROOT: &str = "root";
const HELP: &str = "help";

/// Names files and directories that list roots.
pub const ROOT_LISTS: &str = "lists";

/// The options that patchadm adds to every classic command; without them a command prints what it always printed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Extensions {
    #[command(flatten)]
    _json: JsonOption,
    #[command(flatten)]
    _help: HelpOption,
    #[command(flatten)]
    _version: VersionOption,
}

/// The option of a command whose answer has a form for programs.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct JsonOption {
    /// Print one JSON document instead of text
    #[arg(long = "json", id = JSON)]
    _json: bool,
}

/// The option that prints the options.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct HelpOption {
    /// Print help
    #[arg(short = 'h', long = "help", id = HELP, action = ArgAction::Help)]
    _help: Option<bool>,
}

/// The option that prints the version, of commands where `--version` means nothing else.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct VersionOption {
    /// Print the version
    #[arg(long = "version", action = ArgAction::Version)]
    _version: Option<bool>,
}

/// The option of a verb that has a report.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct QuietOption {
    /// Print errors only
    #[arg(short = 'q', long = "quiet", id = QUIET)]
    _quiet: bool,
}

/// The option of a verb that has more to say than it says by itself; it stands beside [`QuietOption`].
#[derive(Clone, Debug, Default, clap::Args)]
pub struct VerboseOption {
    /// Print more, such as a line for each path
    #[arg(short = 'v', long = "verbose", id = VERBOSE, conflicts_with = QUIET)]
    _verbose: bool,
}

/// The option of every verb about colours.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ColourOption {
    /// Color the output: auto (on a terminal), always, or never [default: auto]
    #[arg(long = "color", id = COLOUR, value_name = "WHEN", hide_possible_values = true)]
    _colour: Option<WhenToColour>,
}

/// The option of a verb that reads the policy of a root.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PolicyOption {
    /// Use the policy in FILE instead of the root's policy
    #[arg(long = "policy", id = POLICY, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl PolicyOption {
    #[cfg(feature = "sign")]
    pub fn is_said(&self) -> bool {
        self.policy.is_some()
    }
}

/// The root that a command works on. Only verbs that also have `--roots` accept it more than once.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RootOption {
    /// Work on the root at ROOT [default: `PKG_INSTALL_ROOT`, else /]
    #[arg(short = 'R', long = "root", id = ROOT, value_name = "ROOT", action = ArgAction::Append)]
    roots: Vec<PathBuf>,
}

/// Packages by what they are for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CategoryOption {
    /// Select all packages of these categories, separated by commas
    #[arg(short = 'Y', value_name = "CATEGORY", value_delimiter = ',', conflicts_with = "packages")]
    pub categories: Vec<String>,
}

/// Operands may be lists with commas: `pkgadd -d stream A,B`.
pub fn listed(words: &[String]) -> Vec<String> {
    let names = words.iter().flat_map(|word| word.split(','));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

impl RootOption {
    pub fn at(root: Option<PathBuf>) -> Self {
        Self { roots: root.into_iter().collect() }
    }

    pub fn named(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Returns true if the root was named. Otherwise it is `/` by default.
    pub fn is_named(&self, call: &Invocation) -> bool {
        !self.roots.is_empty() || call.surroundings.install_root.is_some()
    }

    /// Returns the root for a hook of a package manager: the named one, else that of `DPKG_ADMINDIR`, which dpkg sets
    /// for its hooks, else the default.
    #[must_use]
    pub fn of_package_manager(&self, surroundings: &Surroundings) -> Self {
        Self::at(self.roots.first().or(surroundings.dpkg_root.as_ref()).cloned())
    }

    /// Messages name paths from `/` on, so that they can be typed anywhere.
    pub fn open(&self, call: &Invocation) -> anyhow::Result<Root> {
        let path = call.surroundings.root(self.roots.first().map(PathBuf::as_path))?;
        let root = Root::open_as_named(&std::path::absolute(&path)?)?;
        call.output.is_about(&root);
        Ok(call.surroundings.under_locks(call.surroundings.under_policy(root)))
    }
}

/// Also sets the form and manner of the answer.
pub fn parse<A: clap::Parser>(call: &mut Invocation, usage: &'static str) -> Result<A, Stop> {
    let width = call.surroundings.width;
    let command = command::<A>(call).override_usage(folded_synopsis(usage, width));
    if call.is_asked_for_options {
        return Err(Stop::Described(Box::new(command)));
    }
    let name = call.name;
    let is_verb = is_of_verbs(call.program);
    let queries = call.of.queries;
    let stop = |arguments: &[OsString], error: clap::Error| match error.kind() {
        ErrorKind::DisplayHelp => Stop::Help(help_text(&command, &error)),
        _ => stop(&error, (name, is_verb, queries), usage, arguments),
    };
    let matches = command.clone().try_get_matches_from(words(call));
    let matches = matches.map_err(|error| stop(&call.arguments, error))?;
    must_suit_several_roots(&command, &matches, usage)?;
    let secrets = secret_values(&command, &matches);
    if !secrets.is_empty() {
        let typed: Vec<OsString> = words(call).skip(1).collect();
        call.surroundings.typed = Some(typed_line(call.name, &typed, &secrets, &call.output));
    }
    call.in_json = is_set(&matches, JSON);
    speak_as_asked(call, &matches);
    if let Some(path) = matches.try_get_one::<PathBuf>(POLICY).ok().flatten() {
        call.surroundings.policy = Some((path.clone(), read_policy(path)?));
    }
    A::from_arg_matches(&matches).map_err(|error| stop(&call.arguments, error))
}

fn speak_as_asked(call: &mut Invocation, matches: &ArgMatches) {
    if matches.try_contains_id(COLOUR).is_err() {
        // A classic command keeps its own manner.
        return;
    }
    let surroundings = &mut call.surroundings;
    let wanted = matches.try_get_one(COLOUR).ok().flatten().copied().unwrap_or(WhenToColour::OnTerminal);
    surroundings.is_quiet = is_set(matches, QUIET);
    call.output.speak(Manner {
        is_quiet: surroundings.is_quiet,
        is_verbose: is_set(matches, VERBOSE),
        colours_report: wanted.applies(surroundings.colours, surroundings.stdout_is_terminal),
        colours_errors: wanted.applies(surroundings.colours, surroundings.stderr_is_terminal),
    });
}

/// Reads a policy file; the first user of the policy checks it.
fn read_policy(path: &Path) -> Result<Vec<u8>, Stop> {
    let refused = |reason: String| Stop::Refused {
        exit: Exit::failed(ExitCause::NotFound),
        message: format!("the policy {} cannot be read: {reason}\nnothing was changed", path.display()),
    };
    read_own(path, LARGEST_FILE as u64).map_err(|error| refused(error.to_string()))
}

fn is_set(matches: &ArgMatches, option: &str) -> bool {
    matches!(matches.try_get_one(option), Ok(Some(true)))
}

/// Returns the description of a command's arguments, without the options that clap adds.
pub fn command<A: clap::CommandFactory>(call: &Invocation) -> clap::Command {
    let command =
        if is_of_verbs(call.program) { of_verb(A::command()) } else { A::command().mut_args(as_classic) };
    command
        .name(call.program)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .term_width(call.surroundings.width)
        .mut_args(repeatable)
}

/// Returns the options of a verb. It accepts several roots only if it also has the option for lists of them.
fn of_verb(command: clap::Command) -> clap::Command {
    let has_lists = command.get_arguments().any(|arg| arg.get_id() == ROOT_LISTS);
    let single =
        |arg: clap::Arg| if arg.get_id() == ROOT && !has_lists { arg.action(ArgAction::Set) } else { arg };
    arranged(&command.mut_args(single))
}

/// Returns an option of a classic command: only letters that SVR4 has, without long names, and no headings.
fn as_classic(arg: clap::Arg) -> clap::Arg {
    let arg = if arg.get_id() == ROOT { arg.action(ArgAction::Set) } else { arg };
    let arg = arg.help_heading(None);
    if arg.get_short().is_some() && arg.get_id() != HELP { arg.long(None) } else { arg }
}

/// Refuses options for one root if `-R` names several.
fn must_suit_several_roots(
    command: &clap::Command,
    matches: &ArgMatches,
    usage: &'static str,
) -> Result<(), Stop> {
    let roots = matches.try_get_many::<PathBuf>(ROOT).ok().flatten().map_or(0, Iterator::count);
    if roots < 2 {
        return Ok(());
    }
    let is_said = |arg: &&clap::Arg| {
        matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
            && command.get_arg_conflicts_with(arg).iter().any(|other| other.get_id() == ROOT_LISTS)
    };
    // Only options of a complete description can be shown.
    let mut command = command.clone();
    command.build();
    match command.get_arguments().find(is_said) {
        None => Ok(()),
        Some(arg) => {
            let message = format!("the argument '{arg}' cannot be used with several roots");
            Err(Stop::Usage { message, usage })
        }
    }
}

/// An option with a value may be repeated only if it takes several: of two roots neither is the right one.
fn repeatable(argument: clap::Arg) -> clap::Arg {
    if argument.get_action().takes_values() {
        return argument;
    }
    let itself = argument.get_id().clone();
    argument.overrides_with(itself)
}

pub fn words(call: &Invocation) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from(call.program)).chain(call.arguments.iter().map(tidy))
}

/// Refuses options of the classic command that patchadm does not implement: ignoring one would do something else than
/// the user asked for.
pub fn refuse_unsupported<const N: usize>(
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

/// For advice about the root of arguments that cannot be read.
fn wording_of(arguments: &[OsString]) -> Wording {
    let is_root = |word: &OsString| ["-R", "--root"].iter().any(|option| word == option);
    let root = arguments.iter().skip_while(|word| !is_root(word)).nth(1);
    let root = root.and_then(|root| std::path::absolute(root).ok());
    root.map_or_else(Wording::default, |root| Wording::of_verbs(&root))
}

fn stop(
    error: &clap::Error,
    (command, is_verb, queries): (&str, bool, &[&str]),
    usage: &'static str,
    arguments: &[OsString],
) -> Stop {
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayVersion {
        return Stop::Help(text);
    }
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        Some(ContextValue::Strings(words)) => words.first().map(String::as_str),
        _ => None,
    };
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(message) =
            named(ContextKind::InvalidArg).and_then(|option| later_option(command, is_verb, queries, option))
    {
        return Stop::Usage { message: wording_of(arguments).completed(&message).into_owned(), usage };
    }
    let first = text.split("\n\n").next().unwrap_or(&text);
    let mut message = first.trim_start_matches("error: ").trim_end().to_owned();
    let is_about_root = named(ContextKind::InvalidArg).is_some_and(|option| option.starts_with("--root "));
    if is_verb && is_about_root && message.ends_with(" multiple times") {
        message.push_str(": this command works on one root");
    }
    let option = named(ContextKind::InvalidArg).unwrap_or_default().trim_start_matches('-');
    let meant = named(ContextKind::SuggestedArg)
        .filter(|meant| similar(option, [meant.trim_start_matches('-')]).is_some());
    if let Some(meant) = meant.or_else(|| named(ContextKind::SuggestedValue)) {
        message.push('\n');
        message.push_str(&did_you_mean(meant));
    }
    Stop::Usage { message, usage }
}

/// Removes blanks from the end of an option: Salt passes `-G ` as one word.
fn tidy(word: &OsString) -> OsString {
    match word.to_str() {
        Some(text) if text.starts_with('-') && text.len() > 1 => text.trim_end_matches(' ').into(),
        _ => word.clone(),
    }
}
