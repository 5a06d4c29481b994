//! A program as a table of commands, and the way from a command line to an exit code. As a link `pkginfo`, or as
//! `patchadm pkginfo …`, it is that command with its own options, output and exit codes.

pub mod complete;
pub mod help;
pub mod processes;
pub mod schema;
pub mod sibling;

use std::ffi::OsString;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::arguments::typed_line;
use crate::call::{
    Applet, AppletKind, Invocation, Program, RunCommand, SCHEMA, Sibling, VerbGroup, Work, place_of_name,
};
use crate::reply::advice::mending;
use crate::reply::exit::record_damage;
use crate::reply::json::{self, DocumentHead};
use crate::reply::{Exit, ExitTable, ResultWord, Stop, failure};
use crate::surroundings::bar::CommandBar;
use crate::surroundings::manner::width_of_help;
use crate::surroundings::{Output, Surroundings};
use help::{overview, unknown_command, usage_text};
use patchadm_planning::plan::refusal::Wording;
use sibling::run_here_or_become;

pub const fn classic(name: &'static str, about: &'static str, run: RunCommand) -> Applet {
    Applet { name, kind: AppletKind::Classic, about, work: Work::Here(run) }
}

pub const fn verb(group: VerbGroup, name: &'static str, about: &'static str, run: RunCommand) -> Applet {
    Applet { name, kind: AppletKind::Verb(group), about, work: Work::Here(run) }
}

pub const fn beside(
    group: VerbGroup,
    name: &'static str,
    about: &'static str,
    sibling: &'static Sibling,
) -> Applet {
    Applet { name, kind: AppletKind::Verb(group), about, work: Work::Beside(sibling) }
}

pub const fn classic_beside(name: &'static str, about: &'static str, sibling: &'static Sibling) -> Applet {
    Applet { name, kind: AppletKind::Classic, about, work: Work::Beside(sibling) }
}

/// Returns a command that no list shows.
pub const fn hidden(name: &'static str, kind: AppletKind, run: RunCommand) -> Applet {
    Applet { name, kind, about: "", work: Work::Here(run) }
}

pub fn main(of: &'static Program, words: impl Iterator<Item = OsString>) -> ExitCode {
    run(of, words).into()
}

/// For a process that goes on with something else. Returns the exit code.
pub fn run(of: &'static Program, words: impl Iterator<Item = OsString>) -> u8 {
    // Records are for everyone to read, whatever the caller's umask. Private files set their own mode.
    let umask = rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    // A write beyond the caller's file size limit fails instead of ending the program. Scripts get the signal as it
    // was: handlers are not inherited. Without the handler the signal still ends the program.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let ChosenCommand { applet, program, arguments } = match choose(of, words.collect()) {
        Ok(choice) => choice,
        Err(stop) => {
            let exit = finish(of, &mut Output::new(of.name), None, Err(stop.into()));
            return exit.number(ExitTable::Verbs);
        }
    };
    let table = match applet.kind {
        AppletKind::Verb(_) => ExitTable::Verbs,
        // `help --schema` of another program becomes this command.
        AppletKind::Internal if applet.name == SCHEMA => ExitTable::Verbs,
        AppletKind::Classic | AppletKind::ForScripts | AppletKind::Internal => ExitTable::Classic,
    };
    let mut output = Output::new(program);
    // Words after `--` are for another command.
    let mut options = arguments.iter().take_while(|word| *word != "--");
    let mut in_json = options.any(|word| word == "--json").then_some(applet.name);
    let result = match Surroundings::read() {
        Err(error) => Err(error.into()),
        Ok(surroundings) => {
            // Once the options are known, the values of some are hidden.
            let typed = Some(typed_line(applet.name, &arguments, &[], &output));
            let surroundings = Surroundings { umask: umask.bits(), typed, ..surroundings };
            output.show_times_in(surroundings.zone);
            let mut call = Invocation {
                name: applet.name,
                program,
                arguments,
                bar: CommandBar::new(surroundings.began),
                surroundings,
                output,
                in_json: false,
                is_asked_for_options: false,
                of,
            };
            let result = guarded(|| {
                run_here_or_become(applet, &mut call)?.print(call.name, call.in_json, &mut call.output)
            });
            output = call.output;
            // An action of a verb has a name of its own.
            in_json = in_json.map(|_| call.name);
            result
        }
    };
    finish(of, &mut output, in_json, result).number(table)
}

/// Turns a panic, whose message has been printed, into an internal error.
fn guarded(work: impl FnOnce() -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let message = "internal error: please report it, with the lines above".to_owned();
        Err(Stop::Refused { exit: Exit::INTERNAL, message }.into())
    })
}

struct ChosenCommand {
    applet: &'static Applet,
    program: &'static str,
    arguments: Vec<OsString>,
}

/// Finds the command: by the name of the program, else by the first word that is not a global option.
fn choose(of: &'static Program, words: Vec<OsString>) -> Result<ChosenCommand, Stop> {
    let mut words = words.into_iter();
    let called = words.next().map(PathBuf::from).unwrap_or_default();
    let mut arguments: Vec<OsString> = words.collect();
    let by_link = of.applets.iter().find(|applet| applet.has_own_name() && called.ends_with(applet.name));
    if let Some(applet) = by_link {
        return Ok(ChosenCommand { applet, program: applet.name, arguments });
    }
    let is_internal = |word: &OsString| {
        of.applets.iter().any(|applet| applet.kind == AppletKind::Internal && word == applet.name)
    };
    if let Some(only) = of.only {
        ask_for_help(only, &mut arguments);
    }
    let place = place_of_name(&arguments);
    let name = match (of.only, place) {
        (Some(only), _) if !arguments.first().is_some_and(is_internal) => only.into(),
        (_, Some(place)) => arguments.remove(place),
        (_, None) => without_command(of, &arguments)?,
    };
    let Some(applet) = of.applets.iter().find(|applet| name == applet.name) else {
        let mut message = unknown_command(of, &name.to_string_lossy());
        let before = place.and_then(|place| arguments.get(place.checked_sub(1)?)?.to_str());
        let next = place.and_then(|place| arguments.get(place));
        let verb =
            of.applets.iter().find(|applet| applet.is_listed() && next.is_some_and(|it| it == applet.name));
        // The value of an option that belongs after the verb, as in `--note TEXT add`.
        if let (Some(option), Some(verb)) = (before.filter(|word| word.starts_with('-')), verb) {
            let value = Wording::quoted(&name.to_string_lossy());
            message = format!("{message}\nhint: write `{option} {value}` after `{}`", verb.name);
        }
        return Err(Stop::Usage { message, usage: of.usage });
    };
    if let Some(next) = place.and_then(|place| arguments.get(place)?.to_str()) {
        let action = format!("{} {next}", applet.name);
        if of.meant.iter().any(|(word, _)| *word == action) {
            return Err(Stop::Usage { message: unknown_command(of, &action), usage: of.usage });
        }
    }
    Ok(ChosenCommand { applet, program: applet.program(of.name), arguments })
}

/// Turns `help WORDS` of a program with one command into `WORDS --help`. A file of this name is `./help`.
fn ask_for_help(only: &str, arguments: &mut Vec<OsString>) {
    if arguments.first().is_none_or(|word| word != "help") {
        return;
    }
    arguments.remove(0);
    if arguments.first().is_some_and(|word| word == only) {
        arguments.remove(0);
    }
    arguments.push("--help".into());
}

/// Returns the command that a call without one means; an option may ask for help or the version instead.
fn without_command(of: &Program, arguments: &[OsString]) -> Result<OsString, Stop> {
    let asks_for = |options: [&str; 2]| arguments.iter().any(|word| options.iter().any(|one| word == one));
    if asks_for(["--help", "-h"]) {
        return Err(Stop::Help(overview(of, width_of_help())));
    }
    if asks_for(["--version", "-V"]) {
        return Err(Stop::Help(format!("{} {}\n", of.name, env!("CARGO_PKG_VERSION"))));
    }
    of.overall.map(OsString::from).ok_or_else(|| Stop::Help(overview(of, width_of_help())))
}

fn finish(
    of: &Program,
    output: &mut Output,
    in_json: Option<&'static str>,
    result: anyhow::Result<Exit>,
) -> Exit {
    let said = result.or_else(|error| explain(of, output, in_json, &error));
    let (exit, lost) = match said.and_then(|exit| {
        output
            .end_pieces()
            .and_then(|()| output.tell_recovery())
            .and_then(|()| output.flush())
            .map(|()| exit)
            .map_err(anyhow::Error::from)
    }) {
        Ok(exit) => (exit, output.take_loss().map(anyhow::Error::from)),
        Err(error) if is_broken_pipe(&error) => (Exit::PIPE, None),
        Err(error) => (Exit::failed(Exit::of(&error).cause()), Some(error)),
    };
    if let Some(error) = lost {
        // The unwritten output is lost anyway, as this message says.
        let _ = output.error(&format!("cannot write to standard output: {error:#}"));
    }
    exit
}

/// Prints the reason to standard error and, with `--json`, in a document as well.
fn explain(
    of: &Program,
    output: &mut Output,
    in_json: Option<&'static str>,
    error: &anyhow::Error,
) -> anyhow::Result<Exit> {
    let damage = record_damage(error);
    let exit = damage.map_or_else(|| Exit::of(error), |_| failure::damaged_code(output.program()));
    if is_broken_pipe(error) {
        return Ok(Exit::PIPE);
    }
    if let Some(Stop::Help(text)) = error.downcast_ref() {
        output.document(text)?;
        return Ok(Exit::OK);
    }
    if let Some(Stop::Ended(exit)) = error.downcast_ref() {
        return Ok(*exit);
    }
    if let Some(command) = in_json {
        let result = (!of.queries.contains(&command)).then(|| result_of(error));
        let error = output.recovery().corrected(&format!("{error:#}"));
        let fields = json::ErrorFields { result, error };
        let table = ExitTable::of(output.program());
        let recovered = output.recovery().sentence();
        let head = DocumentHead { command, root: None, exit, table, recovered: recovered.as_deref() };
        output.document(head.text_of(&fields)?)?;
    }
    let next = damage.map(mending).unwrap_or_default();
    output.error(&failure::hinted(&format!("{error:#}"), &next))?;
    if let Some(Stop::Usage { usage, .. }) = error.downcast_ref() {
        output.usage(&usage_text(usage, width_of_help()))?;
    }
    Ok(exit)
}

fn result_of(error: &anyhow::Error) -> ResultWord {
    match error.downcast_ref() {
        Some(Stop::Ran { result, .. }) => *result,
        _ => Exit::of(error).result(),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{ExitCause, Reply};

    #[allow(clippy::unnecessary_wraps)] // as commands are
    fn nothing(_call: &mut Invocation) -> anyhow::Result<Reply> {
        Ok(Reply::silent(Exit::OK))
    }

    static PATCHADM: Program = Program {
        name: "patchadm",
        about: "Tests",
        usage: "patchadm [VERB]",
        ending: "",
        applets: &[
            verb(VerbGroup::Inspect, "list", "list", nothing),
            verb(VerbGroup::Inspect, "status", "say how it is", nothing),
            verb(VerbGroup::Change, "remove", "remove", nothing),
            classic("pkginfo", "list packages", nothing),
            classic("pkgadd", "install packages", nothing),
            hidden("compress", AppletKind::ForScripts, nothing),
            hidden("__scripts", AppletKind::Internal, nothing),
        ],
        only: None,
        overall: Some("status"),
        queries: &["list", "status", "pkginfo"],
        meant: &[("list --gone", "remove"), ("rm", "remove")],
        never_suggested: &["remove"],
        schemas: &[],
    };

    fn chosen(line: &str) -> (String, &'static str, Vec<String>) {
        let words = line.split(' ').map(OsString::from).collect();
        let choice = choose(&PATCHADM, words).ok().unwrap();
        let arguments = choice.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        (choice.applet.name.to_owned(), choice.program, arguments)
    }

    #[test]
    fn a_link_and_a_first_argument_are_the_same_command() {
        for line in ["/usr/bin/pkginfo -l X", "patchadm pkginfo -l X", "./other pkginfo -l X"] {
            assert_eq!(
                chosen(line),
                ("pkginfo".to_owned(), "pkginfo", vec!["-l".to_owned(), "X".to_owned()])
            );
        }
    }

    #[test]
    fn commands_for_scripts_are_found_and_in_no_list() {
        assert_eq!(chosen("/private/tools/compress undo").1, "compress");
        assert_eq!(chosen("patchadm __scripts").0, "__scripts");
        let overview = overview(&PATCHADM, 80);
        assert!(overview.contains("pkgadd") && !overview.contains("__") && !overview.contains("compress"));
    }

    #[test]
    fn options_before_the_name_belong_to_the_command() {
        for (line, expected) in [
            ("patchadm -R /a --json pkginfo -l", ("pkginfo", "-R /a --json -l")),
            (
                "patchadm -q --color never --policy /p list -R /a",
                ("list", "-q --color never --policy /p -R /a"),
            ),
            ("patchadm --wait 10m -M /d list", ("list", "--wait 10m -M /d")),
        ] {
            let (name, _, arguments) = chosen(line);
            assert_eq!((name.as_str(), arguments.join(" ").as_str()), expected);
        }
    }

    #[test]
    fn a_program_of_one_command_needs_no_name_for_it() {
        static REPORT: Program = Program {
            name: "patchadm-report",
            applets: &[
                verb(VerbGroup::Inspect, "report", "report", nothing),
                hidden("__complete", AppletKind::Internal, nothing),
            ],
            only: Some("report"),
            overall: None,
            ..PATCHADM
        };
        for (line, name, arguments) in [
            ("patchadm-report", "report", &[][..]),
            ("patchadm-report --json report -", "report", &["--json", "report", "-"]),
            ("patchadm-report -R / --help", "report", &["-R", "/", "--help"]),
            ("patchadm-report __complete zsh", "__complete", &["zsh"]),
            ("patchadm-report help", "report", &["--help"]),
            ("patchadm-report help page", "report", &["page", "--help"]),
            ("patchadm-report help report", "report", &["--help"]),
            ("patchadm-report ./help", "report", &["./help"]),
        ] {
            let choice = choose(&REPORT, line.split(' ').map(OsString::from).collect()).ok().unwrap();
            let found: Vec<_> = choice.arguments.iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!(
                (choice.applet.name, choice.program, &found[..]),
                (name, "patchadm-report", arguments)
            );
        }
    }

    #[test]
    fn a_panic_is_an_internal_error() {
        let error = guarded(|| panic!("a defect, made for this test")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::INTERNAL);
        let failed = Exit::failed(ExitCause::NotFound);
        assert_eq!(guarded(|| Ok(failed)).unwrap(), failed);
    }

    #[test]
    fn a_name_that_is_no_command_is_wrong_usage() {
        let stop = choose(&PATCHADM, ["patchadm", "frobnicate"].map(OsString::from).into()).err().unwrap();
        assert_eq!(stop.to_string(), "there is no command `frobnicate`");
        let stop = choose(&PATCHADM, ["patchadm", "lsit"].map(OsString::from).into()).err().unwrap();
        assert_eq!(stop.to_string(), "there is no command `lsit`\ndid you mean `list`?");
        let line = ["patchadm", "-R", "/a", "--note", "x", "status"].map(OsString::from).into();
        let stop = choose(&PATCHADM, line).err().unwrap();
        assert_eq!(stop.to_string(), "there is no command `x`\nhint: write `--note x` after `status`");
        let line = ["patchadm", "-R", "/a", "list", "--gone", "x"].map(OsString::from).into();
        let stop = choose(&PATCHADM, line).err().unwrap();
        assert_eq!(stop.to_string(), "there is no command `list --gone`\ndid you mean `remove`?");
    }

    #[test]
    fn a_call_without_a_name_asks_how_the_root_is() {
        assert_eq!(chosen("patchadm").0, "status");
        assert_eq!(chosen("patchadm -R /a --json").2, ["-R", "/a", "--json"]);
    }
}
