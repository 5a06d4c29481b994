//! `patchadm-make help`: the list of verbs, the options of a command, and the meaning of a lint finding.

use serde::Serialize;

use patchadm_cli::arguments::parse;
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
    /// A verb, a command, or `lint:` with the code of a finding
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
    let Some(name) = word.strip_prefix(FINDING) else {
        call.arguments = args.action.into_iter().map(Into::into).collect();
        return help_of(call, &word, USAGE);
    };
    let Some(code) = LintCode::named(name) else {
        let known: Vec<&str> = LintCode::ALL.iter().map(|code| code.name()).collect();
        let message =
            format!("lint has no finding `{}`\nits codes are {}", name.escape_debug(), known.join(", "));
        return Err(Stop::Refused { exit: Exit::of_verb(ExitCause::Unknown), message }.into());
    };
    let (severity, text, advice) = (code.severity(), code.meaning(), code.advice());
    let finding = ExplainedFinding { code: code.name(), severity, text, advice };
    Ok(Reply::new(Exit::OK, FindingReport { finding }))
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
