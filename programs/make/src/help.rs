//! `patchadm-make help`: the list of verbs, the options of a command, and the meaning of a lint finding.

use serde::Serialize;

use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::suggest::{did_you_mean, similar};
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::call::Invocation;
use patchadm_cli::program::help::{help_of, overview};
use patchadm_cli::program::schema;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_making::lint::{LintCode, Severity};

const USAGE: &str = "patchadm-make help [--schema] [verb|command [action]]\npatchadm-make help lint:code";

const FINDING: &str = "lint:";

/// Explain a verb, a command or a lint finding
#[derive(clap::Parser)]
struct ProgramHelpArgs {
    #[command(flatten)]
    _common: RootlessOptions,
    /// Print the JSON Schema of the documents that the verb or command prints with `--json`
    #[arg(long, requires = "word")]
    schema: bool,
    /// A verb, a command, or the code of a lint finding (`lint:CODE`)
    #[arg(value_name = "VERB|COMMAND")]
    word: Option<String>,
    /// The action of the verb
    #[arg(value_name = "ACTION")]
    action: Option<String>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: ProgramHelpArgs = parse(call, USAGE)?;
    let Some(word) = args.word else {
        return Err(Stop::Help(overview(call.of, call.surroundings.width)).into());
    };
    if args.schema {
        let words: Vec<String> = std::iter::once(word).chain(args.action).collect();
        return Err(schema::answer(call, &words.join(" "), USAGE));
    }
    let is_command = call.of.applets.iter().any(|applet| applet.is_listed() && applet.name == word);
    let plain = LintCode::named(&word).filter(|_| !is_command);
    let code = if let Some(name) = word.strip_prefix(FINDING) {
        LintCode::named(name).ok_or_else(|| unknown_finding(name))?
    } else if let Some(code) = plain {
        code
    } else {
        call.arguments = args.action.into_iter().map(Into::into).collect();
        return help_of(call, &word, USAGE);
    };
    let (severity, text, advice) = (code.severity(), code.meaning(), code.advice());
    let finding = ExplainedFinding { code: code.name(), severity, text, advice };
    Ok(Reply::new(Exit::OK, FindingReport { finding }))
}

fn unknown_finding(name: &str) -> Stop {
    let known: Vec<&str> = LintCode::ALL.iter().map(|code| code.name()).collect();
    let meant = similar(name, known.iter().copied());
    let meant =
        meant.map(|code| format!("{}\n", did_you_mean(&format!("{FINDING}{code}")))).unwrap_or_default();
    let message =
        format!("lint has no finding `{}`\n{meant}its codes are {}", name.escape_debug(), known.join(", "));
    Stop::Refused { exit: Exit::of_verb(ExitCause::Unknown), message }
}

#[derive(Serialize)]
struct FindingReport {
    finding: ExplainedFinding,
}

#[derive(Serialize)]
struct ExplainedFinding {
    code: &'static str,
    severity: Severity,
    text: &'static str,
    advice: &'static str,
}

impl CommandReport for FindingReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let ExplainedFinding { code, severity, text, advice } = &self.finding;
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        Ok(output.line(format!("{code} (lint {severity}): {text}\n  What to do: {advice}"))?)
    }
}
