//! `patchadm-make explain`: explains a finding of lint.

use serde::Serialize;

use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_making::lint::{LintCode, Severity};

const USAGE: &str = "patchadm-make explain lint:code";

const FINDING: &str = "lint:";

/// Explain a finding of lint
#[derive(clap::Parser)]
struct ExplainArgs {
    #[command(flatten)]
    _common: RootlessOptions,
    /// The code of a finding, as lint prints it, behind lint:
    #[arg(value_name = "CODE")]
    code: String,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: ExplainArgs = parse(call, USAGE)?;
    let name = args.code.strip_prefix(FINDING).unwrap_or(&args.code);
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
        };
        Ok(output.line(format!("{code} ({severity} of lint): {text}\n  What to do: {advice}"))?)
    }
}
