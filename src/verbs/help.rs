//! `patchadm help`: the verbs, options of a command, and meanings of exit codes and lint findings.

mod codes;
mod findings;

use std::borrow::Cow;

use nix::sys::signal::Signal;
use serde::Serialize;

use super::options::RootlessOptions;
use crate::applets::is_classic;
use crate::programs::MAKE;
use codes::{CodeMeaning, MEANINGS};
use findings::FINDINGS;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::program::help::{help_of, overview, overview_of_classic, unknown_command};
use patchadm_cli::program::schema;
use patchadm_cli::reply::verb_codes::{VERB_CODES, VerbCode, causes_of};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;

const USAGE: &str = "patchadm help [--schema] [verb|command [action]]\n\
    patchadm help code [command]\n\
    patchadm help exit-codes|classic|lint:code";

/// Prefix of a lint finding's code.
const FINDING: &str = "lint:";

/// Explain a verb, a classic command, an exit code, or a lint finding
#[derive(clap::Parser)]
struct HelpArgs {
    #[command(flatten)]
    _common: RootlessOptions,
    /// Print the JSON Schema of the documents that the verb or command prints with `--json`
    #[arg(long, requires = "word")]
    schema: bool,
    /// A verb, a command, an exit code, `exit-codes`, `classic`, or the code of a lint finding (`lint:CODE`)
    #[arg(value_name = "VERB|COMMAND")]
    word: Option<String>,
    /// The action of the verb, or the command that ended with the exit code
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// A code that no command, or not the named one, ends with is not found.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: HelpArgs = parse(call, USAGE)?;
    let width = call.surroundings.width;
    let Some(word) = args.word else { return text(call, overview(call.of, width)) };
    if args.schema {
        let words: Vec<String> = std::iter::once(word).chain(args.command).collect();
        return Err(schema::answer(call, &words.join(" "), USAGE));
    }
    if word == "exit-codes" {
        return Ok(Reply::new(Exit::OK, AllCodesReport::of(all_meanings())));
    }
    if word == "classic" {
        return text(call, overview_of_classic(call.of, width));
    }
    let is_command = call.of.applets.iter().any(|applet| applet.is_listed() && applet.name == word);
    if word.starts_with(FINDING) || !is_command && FINDINGS.contains(&&*word) {
        return Err(MAKE.take_over(call).into());
    }
    let Ok(code) = word.parse::<u8>() else {
        call.arguments = args.command.into_iter().map(Into::into).collect();
        return help_of(call, &word, USAGE);
    };
    let command = args.command.as_deref();
    if let Some(command) = command
        && !call.of.applets.iter().any(|applet| applet.name == command && applet.is_listed())
    {
        return Err(Stop::Usage { message: unknown_command(call.of, command), usage: USAGE }.into());
    }
    let meanings = meanings(code, command);
    if meanings.is_empty() {
        return Err(unknown(match command {
            None => format!("no command exits with code {code}"),
            Some(command) => {
                format!("{command} does not exit with code {code}\nit exits with {}", codes_of(command))
            }
        }));
    }
    Ok(Reply::new(Exit::OK, ExplainReport { explained: code, of: args.command, meanings }))
}

/// A text has no JSON form.
fn text(call: &Invocation, text: String) -> anyhow::Result<Reply> {
    if call.in_json {
        let message = "the list of commands is text and has no JSON form".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    Err(Stop::Help(text).into())
}

fn unknown(message: String) -> anyhow::Error {
    Stop::Refused { exit: Exit::of_verb(ExitCause::Unknown), message }.into()
}

#[derive(Serialize)]
struct ExplainReport {
    explained: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    meanings: Vec<CodeMeaning>,
}

impl CommandReport for ExplainReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for meaning in &self.meanings {
            let CodeMeaning { code, group, advice, causes, .. } = meaning;
            let who = self.of.as_deref().unwrap_or(group);
            output.line(format!("{code} from {who}: {}\n  What to do: {advice}", meaning.sentences()))?;
            if causes.len() > 1 || self.of.is_some() {
                output.line("  Causes (`cause` of --json):")?;
                for cause in causes.iter() {
                    output.line(format!("    {:<16} {}", cause.name(), cause.meaning()))?;
                }
            }
        }
        Ok(())
    }
}

fn all_meanings() -> Vec<CodeMeaning> {
    (0..=u8::MAX).flat_map(|code| meanings(code, None)).collect()
}

fn meanings(code: u8, command: Option<&str>) -> Vec<CodeMeaning> {
    let of_verbs = command.is_none_or(|command| !is_classic(command));
    let of_classic = command.is_none_or(is_classic);
    let is_meant = |one: &&CodeMeaning| {
        of_classic && one.code == code && command.is_none_or(|command| one.is_about(command))
    };
    let mut found: Vec<CodeMeaning> = Vec::new();
    found.extend(VERB_CODES.iter().filter(|one| of_verbs && one.code == code).map(of_verb));
    found.extend(MEANINGS.iter().filter(is_meant).cloned());
    let is_package = matches!(command, Some("pkgadd" | "pkgrm"));
    found.extend(by_signal(code).filter(|one| !is_package || one.text == KILLED));
    found
}

fn of_verb(one: &VerbCode) -> CodeMeaning {
    CodeMeaning {
        code: one.code,
        group: VERBS,
        commands: &[],
        text: one.meaning,
        root: one.root,
        advice: one.advice,
        causes: causes_of(one.code).into(),
    }
}

const VERBS: &str = "verbs";

const EVERY_COMMAND: &str = "every command";

const KILLED: &str = "A signal ended the command immediately: it could neither roll back nor finish.";

/// The meaning of 128 + N. Only signals that the program catches let it clean up.
fn by_signal(code: u8) -> Option<CodeMeaning> {
    let signal = Signal::try_from(i32::from(code.checked_sub(128)?)).ok();
    let (text, advice) = match signal {
        Some(Signal::SIGHUP | Signal::SIGINT | Signal::SIGTERM) => (
            "A signal asked the command to end (HUP 129, INT 130, TERM 143): a change that was not yet committed was rolled back, unless the message says otherwise.",
            "Run it again.",
        ),
        Some(Signal::SIGPIPE) => (
            "The output of a query was closed early. A command that changes the root continues, and never ends with this code.",
            "Nothing.",
        ),
        Some(_) => (KILLED, "Run `patchadm recover`: it finishes or rolls back the interrupted run."),
        // Real-time signals have no names.
        None if (160..=192).contains(&code) => {
            (KILLED, "Run `patchadm recover`: it finishes or rolls back the interrupted run.")
        }
        None => return None,
    };
    Some(CodeMeaning {
        code,
        group: EVERY_COMMAND,
        commands: &[],
        text,
        root: "",
        advice,
        causes: Cow::Borrowed(&[ExitCause::Signal]),
    })
}

fn codes_of(command: &str) -> String {
    let codes: std::collections::BTreeSet<u8> = if is_classic(command) {
        MEANINGS.iter().filter(|one| one.is_about(command)).map(|one| one.code).collect()
    } else {
        VERB_CODES.iter().map(|one| one.code).collect()
    };
    let codes: Vec<String> = codes.iter().map(u8::to_string).collect();
    format!("{}, and 128 + N after signal N", codes.join(", "))
}

/// All exit codes, in lines: commands and meanings. Codes of verbs and signals come first.
#[derive(Serialize)]
struct AllCodesReport {
    meanings: Vec<CodeMeaning>,
}

impl AllCodesReport {
    /// The meanings must be in the order of their codes.
    fn of(meanings: Vec<CodeMeaning>) -> Self {
        Self { meanings }
    }

    /// Joins codes with the same meaning: signals share theirs. Returns the first and the last.
    fn ranges(&self) -> Vec<(u8, u8, &CodeMeaning)> {
        let mut ranges: Vec<(u8, u8, &CodeMeaning)> = Vec::new();
        for one in &self.meanings {
            match ranges.last_mut() {
                Some((_, last, meaning))
                    if last.checked_add(1) == Some(one.code) && meaning.text == one.text =>
                {
                    *last = one.code;
                }
                _ => ranges.push((one.code, one.code, one)),
            }
        }
        ranges
    }
}

impl CommandReport for AllCodesReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let (classic, others): (Vec<_>, Vec<_>) = self
            .ranges()
            .into_iter()
            .partition(|(.., meaning)| ![VERBS, EVERY_COMMAND].contains(&meaning.group));
        for (first, last, meaning) in others.into_iter().chain(classic) {
            let codes = if first == last { first.to_string() } else { format!("{first}-{last}") };
            output.line(format!("{codes} from {}: {}", meaning.group, meaning.sentences()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_and_each_classic_command_has_its_own_meaning_of_a_number() {
        let groups = |code, command| meanings(code, command).iter().map(|one| one.group).collect::<Vec<_>>();
        assert_eq!(
            groups(2, None),
            [
                "verbs",
                "patchadd",
                "patchrm",
                "patchrm",
                "pkgadd and pkgrm",
                "pkgadd -s",
                "pkgtrans",
                "removef"
            ]
        );
        assert_eq!(groups(2, Some("remove")), ["verbs"]);
        assert_eq!(groups(2, Some("patchadd")), ["patchadd"]);
        assert_eq!(groups(25, None), ["patchadd"], "no verb ends with it");
        assert!(meanings(25, Some("add")).is_empty() && meanings(98, None).is_empty());
    }

    #[test]
    fn only_a_signal_that_the_program_hears_lets_it_undo_something() {
        let text = |code| meanings(code, None).first().map(|one| one.text);
        assert!(
            [129, 130, 143].iter().all(|code| text(*code).is_some_and(|text| text.contains("rolled back")))
        );
        assert_eq!([137, 139, 134, 165].map(text), [Some(KILLED); 4]);
        assert!(text(141).is_some_and(|text| text.contains("query")));
        assert_eq!([128, 193, 255].map(text), [None; 3]);
        assert_eq!(meanings(143, Some("pkgadd")).len(), 0, "it ends with 3");
        assert_eq!(meanings(137, Some("pkgadd")).len(), 1);
    }
}
