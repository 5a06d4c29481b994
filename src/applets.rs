//! The table of commands, and the way from the words of a command line to an exit code.
//!
//! Called through a link as `pkginfo`, or as `patchadm pkginfo …`, the program is that command with that command's
//! options, output and exit codes. A command is a line of [`APPLETS`] and a file of its own in `classic` or `verbs`,
//! which reads its arguments, calls `operation` and hands back a [`Reply`](crate::reply::Reply).

use std::ffi::OsString;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::call::VerbGroup::{Ask, Change, Learn, Make, Mend, Stage};
use crate::call::{Applet, AppletKind, Invocation, PROGRAM, RunCommand, VerbGroup, place_of_name};
use crate::reply::advice::mending;
use crate::reply::exit::record_damage;
use crate::reply::json::{self, DocumentHead};
use crate::reply::{Exit, ResultWord, Stop, failure};
use crate::surroundings::manner::width_of_help;
use crate::surroundings::{Output, Surroundings};
use crate::trial_waiter::WAITER;
use crate::verbs::complete::COMPLETE;
use crate::verbs::help::{USAGE, overview, unknown_command, usage_text};
use crate::{as_owner, classic, enclosed, supervisor, trial_waiter, verbs};
use patchadm_building::patches::TRIAL_PROCESS;
use patchadm_building::run::TASK_PROCESS;
use patchadm_building::scan::SCAN_PROCESS;
use patchadm_building::sources::FETCH_PROCESS;
use patchadm_building::task::PROBE_PROCESS;
use patchadm_core::namespaces::{ENCLOSING_PROCESS, FIRST_PROCESS};
use patchadm_core::script::SUPERVISOR;

/// Returns a command that has a name of its own.
const fn classic(name: &'static str, about: &'static str, run: RunCommand) -> Applet {
    Applet { name, kind: AppletKind::Classic, about, run }
}

/// Returns a verb of `patchadm`.
const fn verb(group: VerbGroup, name: &'static str, about: &'static str, run: RunCommand) -> Applet {
    Applet { name, kind: AppletKind::Verb(group), about, run }
}

/// Returns a command that no list shows.
const fn hidden(name: &'static str, kind: AppletKind, run: RunCommand) -> Applet {
    Applet { name, kind, about: "", run }
}

/// Every command, in the order of the list that `patchadm --help` prints.
const APPLETS: &[Applet] = &[
    verb(Change, "add", "apply patches", verbs::add::run),
    verb(Change, "remove", "back patches out", verbs::remove::run),
    verb(Change, "undo", "take back what a run did", verbs::undo::run),
    verb(Change, "update", "apply the patches that a machine lacks", verbs::update::run),
    verb(Change, "confirm", "keep what is on trial", verbs::confirm::run),
    verb(Change, "commit", "give undo data up", verbs::commit::run),
    verb(Change, "adopt", "register software that is on disk as a package", verbs::adopt::run),
    verb(Ask, "status", "say in five lines how a root is, and what to do next", verbs::status::run),
    verb(Ask, "list", "list the patches of a root", verbs::list::run),
    verb(Ask, "show", "show everything about one patch", verbs::show::run),
    verb(Ask, "plan", "show what add or remove would do", verbs::plan::run),
    verb(Ask, "analyze", "show which patches a machine lacks", verbs::analyze::run),
    verb(Ask, "report", "show which hosts of many have and lack which patches", verbs::report::run),
    verb(
        Ask,
        "verify",
        "check files against records, and undo archives against their digests",
        verbs::verify::run,
    ),
    verb(Ask, "why", "show why a patch is applied, or would not be", verbs::why::run),
    verb(Ask, "diff", "show what taking a patch out would change", verbs::diff::run),
    verb(Ask, "files", "list the objects of an applied patch", verbs::files::run),
    verb(Ask, "owner", "show whose paths are, and which patches changed them", verbs::owner::run),
    verb(Ask, "order", "put packages or patches in order, each after what it needs", verbs::order::run),
    verb(Ask, "history", "list the runs that changed a root", verbs::history::run),
    verb(Ask, "space", "show what takes space on disk, and which undo data may go", verbs::space::run),
    verb(
        Ask,
        "shlibs",
        "show the libraries that are kept, and remove those that nobody needs",
        verbs::shlibs::run,
    ),
    verb(Make, "build", "make a patch of two releases", verbs::build::run),
    verb(Make, "delta", "make the patches of a stable branch", verbs::delta::run),
    verb(Make, "lint", "find what is wrong with patches", verbs::lint::run),
    #[cfg(feature = "sign")]
    verb(Make, "key", "make keys, and say which ones a root trusts", verbs::key::run),
    #[cfg(feature = "sign")]
    verb(Make, "sign", "sign patches", verbs::sign::run),
    #[cfg(feature = "sign")]
    verb(Make, "publish", "put patches into a depot", verbs::publish::run),
    #[cfg(feature = "sign")]
    verb(Make, "depot", "index a directory of patches, or check a depot", verbs::depot::run),
    verb(Stage, "stage", "build in a copy of parts of a root", verbs::stage::run),
    verb(
        Stage,
        "promote",
        "make live what a stage has, as a patch that can be backed out",
        verbs::promote::run,
    ),
    verb(Stage, "bulk", "build all packages of a tree from their sources", verbs::bulk::run),
    verb(Mend, "recover", "finish or roll back an interrupted run", verbs::recover::run),
    verb(Mend, "doctor", "say what works here and what does not", verbs::doctor::run),
    verb(Mend, "hooks", "let apt, dpkg and dnf tell of their changes", verbs::hooks::run),
    verb(Mend, "repack", "write undo archives again in another form", verbs::repack::run),
    verb(Mend, "undo-export", "move undo archives to a file outside the root", verbs::undo_export::run),
    verb(Mend, "undo-import", "bring undo archives back from such a file", verbs::undo_import::run),
    verb(Learn, "help", "explain a verb or command", verbs::help::run),
    verb(Learn, "explain", "explain an exit code or a finding", verbs::explain::run),
    verb(Learn, "demo", "build a small root and show all of this on it", verbs::demo::run),
    verb(Learn, "completions", "print the completion script of a shell", verbs::completions::run),
    verb(Learn, "links", "make links named after the classic commands", verbs::links::run),
    classic("patchadd", "apply patches", classic::patchadd::run),
    classic("patchrm", "back patches out", classic::patchrm::run),
    classic("pkgadd", "install packages", classic::pkgadd::run),
    classic("pkgask", "answer the questions of a package in advance", classic::pkgask::run),
    classic("pkgrm", "remove packages", classic::pkgrm::run),
    classic("pkginfo", "list installed or spooled packages", classic::pkginfo::run),
    classic("pkgparam", "print parameters of a package", classic::pkgparam::run),
    classic("pkgtrans", "move packages between directories and datastreams", classic::pkgtrans::run),
    classic("pkgchk", "check installed objects against their records", classic::pkgchk::run),
    classic("installf", "register objects as those of a package", classic::installf::run),
    classic("removef", "give objects of a package up", classic::removef::run),
    classic("pkgproto", "print prototype entries for objects of this machine", classic::pkgproto::run),
    classic("pkgmk", "make a package from a prototype", classic::pkgmk::run),
    classic("showrev", "print the revision of the system and its patches", classic::showrev::run),
    classic("valpath", "say whether a path is what it should be", classic::valpath::run),
    classic("puttext", "print a message in lines that fit on a screen", classic::puttext::run),
    hidden("compress", AppletKind::ForScripts, classic::compress::run),
    hidden(COMPLETE, AppletKind::Internal, verbs::complete::run),
    hidden(SUPERVISOR, AppletKind::Internal, supervisor::run),
    hidden(WAITER, AppletKind::Internal, trial_waiter::run),
    hidden(FIRST_PROCESS, AppletKind::Internal, enclosed::run),
    hidden(ENCLOSING_PROCESS, AppletKind::Internal, enclosed::run_enclosure),
    hidden(SCAN_PROCESS, AppletKind::Internal, verbs::bulk::run_scan),
    hidden(PROBE_PROCESS, AppletKind::Internal, verbs::bulk::run_probe),
    hidden(TASK_PROCESS, AppletKind::Internal, verbs::bulk::run_task),
    hidden(FETCH_PROCESS, AppletKind::Internal, verbs::bulk::run_fetch),
    hidden(TRIAL_PROCESS, AppletKind::Internal, verbs::bulk::run_trial),
    hidden(as_owner::BECOMING, AppletKind::Internal, as_owner::become_owner),
];

/// The verb of a call that names none.
const OVERALL: &str = "status";

/// The commands that only ask: nothing is changed or made by them.
const QUERIES: [&str; 30] = [
    "analyze",
    "diff",
    "doctor",
    "files",
    "history",
    "list",
    "order",
    "owner",
    "report",
    "show",
    "space",
    "status",
    "verify",
    "why",
    "lint",
    "explain",
    "help",
    "completions",
    "stage list",
    "bulk diff",
    "bulk history",
    "bulk log",
    "bulk status",
    "bulk why",
    "pkginfo",
    "pkgparam",
    "pkgproto",
    "showrev",
    "valpath",
    "puttext",
];

/// Runs the command that the words of the command line ask for.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    // Records are for everyone to read, regardless of the caller's umask. Private files set their own mode.
    let umask = rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    // A file that grows beyond the caller's limit makes the writing call fail, and does not end the program. Scripts
    // get the signal as it was: a handler is not inherited. Without the handler the signal ends the program as before.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let ChosenCommand { applet, program, arguments } = match choose(words.collect()) {
        Ok(choice) => choice,
        Err(stop) => return finish(&mut Output::new(PROGRAM), None, Err(stop.into())).into(),
    };
    let mut output = Output::new(program);
    // Words after `--` are for another command.
    let mut options = arguments.iter().take_while(|word| *word != "--");
    let mut in_json = options.any(|word| word == "--json").then_some(applet.name);
    let result = match Surroundings::read() {
        Err(error) => Err(error.into()),
        Ok(surroundings) => {
            let surroundings = Surroundings { umask: umask.bits(), ..surroundings };
            let mut call = Invocation {
                name: applet.name,
                program,
                arguments,
                surroundings,
                output,
                in_json: false,
                is_asked_for_options: false,
                applets: APPLETS,
            };
            let result =
                guarded(|| (applet.run)(&mut call)?.print(call.name, call.in_json, &mut call.output));
            output = call.output;
            // An action of a verb has a name of its own.
            in_json = in_json.map(|_| call.name);
            result
        }
    };
    finish(&mut output, in_json, result).into()
}

/// Does the work; a panic, whose message has been printed, becomes an internal error with the code of one.
fn guarded(work: impl FnOnce() -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let message = "internal error: please report it, with the lines above".to_owned();
        Err(Stop::Refused { exit: Exit::INTERNAL, message }.into())
    })
}

/// Which command it is, what it calls itself, and its arguments.
struct ChosenCommand {
    applet: &'static Applet,
    program: &'static str,
    arguments: Vec<OsString>,
}

/// Finds the command: by the name of the program, else by the first word that is not a global option.
fn choose(words: Vec<OsString>) -> Result<ChosenCommand, Stop> {
    let mut words = words.into_iter();
    let called = words.next().map(PathBuf::from).unwrap_or_default();
    let mut arguments: Vec<OsString> = words.collect();
    let by_link = APPLETS.iter().find(|applet| applet.has_own_name() && called.ends_with(applet.name));
    if let Some(applet) = by_link {
        return Ok(ChosenCommand { applet, program: applet.name, arguments });
    }
    let name = match place_of_name(&arguments) {
        Some(place) => arguments.remove(place),
        None => without_command(&arguments)?,
    };
    let Some(applet) = APPLETS.iter().find(|applet| name == applet.name) else {
        let message = unknown_command(&name.to_string_lossy(), APPLETS);
        return Err(Stop::Usage { message, usage: USAGE });
    };
    Ok(ChosenCommand { applet, program: applet.program(), arguments })
}

/// Returns the name of the command that a call without one means; an option may ask for help or the version instead.
fn without_command(arguments: &[OsString]) -> Result<OsString, Stop> {
    let asks_for = |options: [&str; 2]| arguments.iter().any(|word| options.iter().any(|one| word == one));
    if asks_for(["--help", "-h"]) {
        return Err(Stop::Help(overview(APPLETS, width_of_help())));
    }
    if asks_for(["--version", "-V"]) {
        return Err(Stop::Help(format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION"))));
    }
    Ok(OVERALL.into())
}

/// Prints the remaining messages, and turns the result into the exit code.
fn finish(output: &mut Output, in_json: Option<&'static str>, result: anyhow::Result<Exit>) -> Exit {
    let said = result.or_else(|error| explain(output, in_json, &error));
    let (exit, lost) = match said.and_then(|exit| output.flush().map(|()| exit).map_err(anyhow::Error::from))
    {
        Ok(exit) => (exit, output.take_loss().map(anyhow::Error::from)),
        Err(error) if is_broken_pipe(&error) => (Exit::PIPE, None),
        Err(error) => (Exit::failed(Exit::of(&error).cause()), Some(error)),
    };
    if let Some(error) = lost {
        // The unwritten output is lost anyway, which this message reports.
        let _ = output.error(&format!("cannot write to standard output: {error:#}"));
    }
    exit
}

/// Tells why a command ended early: on standard error, and with `--json` in a document as well.
fn explain(
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
        let result = (!QUERIES.contains(&command)).then(|| result_of(error));
        let fields = json::ErrorFields { result, error: format!("{error:#}") };
        output.document(DocumentHead { command, root: None, exit }.document(fields).text()?)?;
    }
    let next = damage.map(|damage| format!("\n{}", mending(damage))).unwrap_or_default();
    output.error(&format!("{error:#}{next}"))?;
    if let Some(Stop::Usage { usage, .. }) = error.downcast_ref() {
        output.usage(&usage_text(usage, width_of_help()))?;
    }
    Ok(exit)
}

/// Returns the word for an end by an error.
fn result_of(error: &anyhow::Error) -> ResultWord {
    match error.downcast_ref() {
        Some(Stop::Ran { result, .. }) => *result,
        _ => ResultWord::of_cause(Exit::of(error).cause()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ExitCause;

    fn chosen(line: &str) -> (String, &'static str, Vec<String>) {
        let words = line.split(' ').map(OsString::from).collect();
        let choice = choose(words).ok().unwrap();
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
        assert_eq!(chosen("patchadm __scripts").0, SUPERVISOR);
        let overview = overview(APPLETS, 80);
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
        ] {
            let (name, _, arguments) = chosen(line);
            assert_eq!((name.as_str(), arguments.join(" ").as_str()), expected);
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
        let stop = choose(["patchadm", "frobnicate"].map(OsString::from).into()).err().unwrap();
        assert_eq!(stop.to_string(), "there is no command `frobnicate`");
        let stop = choose(["patchadm", "lsit"].map(OsString::from).into()).err().unwrap();
        assert_eq!(stop.to_string(), "there is no command `lsit`\ndid you mean `list`?");
    }

    #[test]
    fn a_call_without_a_name_asks_how_the_root_is() {
        assert_eq!(chosen("patchadm").0, "status");
        assert_eq!(chosen("patchadm -R /a --json").2, ["-R", "/a", "--json"]);
    }
}
