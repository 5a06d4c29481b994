//! The hidden verb that prints completions for shells: one per line, with a tab and a description if useful. A last
//! line `:files` or `:directories` asks the shell for names of its own. It never fails, takes no lock, and gives up
//! after a second.

mod line;
mod values;

use std::ffi::OsString;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use line::{TypedLine, WantedWord, WordsOfShell};
use values::{CompletionCandidate, PathCompletion, values_of};

use super::sibling;
pub use crate::call::COMPLETE;
use crate::call::{Applet, AppletKind, Invocation, Program, Sibling, Work, place_of_name};
use crate::reply::{Exit, Reply, Stop};

const PATIENCE: Duration = Duration::from_secs(1);

const MOST_CANDIDATES: usize = 10_000;

/// Takes the shell, the index of the current word, and all words.
pub fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let Some(words) = WordsOfShell::read(&call.arguments, call.surroundings.home.as_deref()) else {
        return Ok(Reply::silent(Exit::OK));
    };
    if let Some((sibling, verb)) = work_beside(call.of, &words) {
        sibling.complete(call, verb);
        return Ok(Reply::silent(Exit::OK));
    }
    let surroundings = call.surroundings.clone();
    let question = question(call, &words);
    let applets = call.of.applets;
    let (tell, told) = mpsc::channel();
    // A file system that does not answer holds the thread, not the shell.
    thread::spawn(move || {
        let found = match question {
            CompletionRequest::Names { options } => (names_of(applets, options), PathCompletion::None),
            CompletionRequest::Word(wanted, line) => values_of(&wanted, &line, &surroundings, applets),
        };
        let _ = tell.send(found);
    });
    let Ok((candidates, own)) = told.recv_timeout(PATIENCE) else { return Ok(Reply::silent(Exit::OK)) };
    let fitting = candidates.into_iter().filter(|one| one.value.starts_with(&words.current));
    for CompletionCandidate { value, about } in
        fitting.filter(CompletionCandidate::is_one_line).take(MOST_CANDIDATES)
    {
        let tab = if about.is_empty() { "" } else { "\t" };
        call.output.line(format!("{}{value}{tab}{about}", words.prefix))?;
    }
    if let Some(directive) = own.directive() {
        call.output.line(directive)?;
    }
    Ok(Reply::silent(Exit::OK))
}

enum CompletionRequest {
    /// A verb or command, or an option that may stand before it.
    Names { options: bool },
    /// A word among the arguments of a command.
    Word(WantedWord, TypedLine),
}

fn question(call: &mut Invocation, words: &WordsOfShell) -> CompletionRequest {
    let mut before = words.before.clone();
    let by_link = call.of.applets.iter().find(|applet| applet.has_own_name() && applet.name == words.called);
    let only = call.of.applets.iter().find(|applet| Some(applet.name) == call.of.only);
    let applet = by_link.or(only).or_else(|| {
        let name = before.remove(place_of_name(&before)?);
        call.of.applets.iter().find(|applet| applet.is_listed() && name == applet.name)
    });
    // The value of an option before the verb is also one of `list`: all verbs share these options.
    let shared = || call.of.applets.iter().find(|applet| applet.name == "list");
    let applet = applet.or_else(|| shared().filter(|_| is_value_of_option(&words.before)));
    let Some(command) = applet.and_then(|applet| description(call, applet, &mut before)) else {
        return CompletionRequest::Names { options: words.current.starts_with('-') };
    };
    let line = TypedLine::of(&command, &before, &words.current);
    CompletionRequest::Word(line.wanted(&command, words), line)
}

/// Returns the other program that does the typed command, if any, and the verb that names it.
fn work_beside(of: &Program, words: &WordsOfShell) -> Option<(&'static Sibling, Option<&'static str>)> {
    let others = || {
        of.applets.iter().filter_map(|applet| match applet.work {
            Work::Beside(sibling) => Some((applet.name, sibling)),
            Work::Here(_) => None,
        })
    };
    if let Some((_, sibling)) = others().find(|(_, sibling)| sibling.name == words.called) {
        return Some((sibling, None));
    }
    let name = words.before.get(place_of_name(&words.before)?)?;
    others().find(|(verb, _)| name == verb).map(|(verb, sibling)| (sibling, Some(verb)))
}

fn is_value_of_option(before: &[OsString]) -> bool {
    // With one more word: is that the name of a command, or what an option waits for?
    let with_next: Vec<OsString> = before.iter().cloned().chain(["x".into()]).collect();
    place_of_name(&with_next).is_none()
}

/// Returns the description of a command's arguments, or of an action that has its own; the action's name is removed
/// from `before`.
fn description(call: &mut Invocation, applet: &Applet, before: &mut Vec<OsString>) -> Option<clap::Command> {
    call.is_asked_for_options = true;
    (call.name, call.program) = (applet.name, applet.program(call.of.name));
    std::mem::swap(&mut call.arguments, before);
    let described = sibling::run_here_or_become(applet, call).err();
    std::mem::swap(&mut call.arguments, before);
    call.is_asked_for_options = false;
    match described?.downcast::<Stop>().ok()? {
        Stop::Described(mut command) => {
            command.build();
            Some(*command)
        }
        _ => None,
    }
}

fn names_of(applets: &[Applet], options: bool) -> Vec<CompletionCandidate> {
    if options {
        let known = [
            ("-R", "root to work on"),
            ("--json", "print one JSON document"),
            ("-q", "print errors only"),
            ("-v", "print more"),
            ("--color", "colour states"),
            ("--policy", "file with a policy"),
            ("--as-owner", "do everything as the owner of the root"),
            ("--trust-root", "trust the owner of the root"),
            ("--help", "print help"),
            ("--version", "print the version"),
        ];
        return known.iter().map(|(value, about)| CompletionCandidate::new(value, about)).collect();
    }
    applets.iter().filter(|one| one.is_listed()).map(named).collect()
}

fn named(applet: &Applet) -> CompletionCandidate {
    match applet.kind {
        AppletKind::Verb(group) => {
            CompletionCandidate::new(applet.name, &format!("{}: {}", group.heading(), applet.about))
        }
        _ => CompletionCandidate::new(applet.name, applet.about),
    }
}
