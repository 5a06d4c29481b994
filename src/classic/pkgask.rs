//! pkgask(1M): answers questions of packages in advance.

use std::path::PathBuf;

use serde::Serialize;

use crate::classic::console::Console;
use crate::classic::pkgadd::{AddDetails, scripts_read_input};
use patchadm_cli::arguments::{Extensions, RootOption, ScriptTimeout, parse, script_settings};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop, failure, packages};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::device::SPOOL;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::packages::ask::{AskReport, AskRequest, ask_packages};
use patchadm_core::operation::packages::report::PackageObserver;
use patchadm_planning::plan::refusal::{Command, Wording};

const USAGE: &str = "pkgask [-d device] [-R root] -r response pkginst...";

/// Answer packages' questions in advance
#[derive(clap::Parser)]
struct PkgaskArgs {
    /// Read the packages from this directory, datastream or archive
    #[arg(short, value_name = "DEVICE")]
    device: Option<PathBuf>,
    #[command(flatten)]
    root: RootOption,
    /// Write the answers to this new file or, if it is a directory, to a file in it for each package
    #[arg(short, value_name = "RESPONSE")]
    response: PathBuf,
    /// The packages: an instance, `PKG.*` for all instances of PKG, or `all`
    #[arg(value_name = "PKGINST", required = true)]
    packages: Vec<String>,
    #[command(flatten)]
    _extensions: Extensions,
}

#[derive(Serialize)]
struct PkgaskReport {
    result: ResultWord,
    files: Vec<String>,
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// `None` if a script has reported the failure.
    #[serde(skip)]
    explanation: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkgaskArgs = parse(call, USAGE)?;
    if !args.response.is_absolute() {
        let message = "the response file must be specified by an absolute path".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let root = args.root.open(call)?;
    let device = args.device.unwrap_or_else(|| PathBuf::from(SPOOL));
    let request = AskRequest {
        reads_input: scripts_read_input(call, &device),
        device,
        packages: args.packages,
        response: args.response,
        conversation: call.surroundings.stdin_is_terminal && !call.in_json,
        scripts: script_settings(call, false, ScriptTimeout::default()),
    };
    let details = AddDetails { device: &request.device, copyright: false, vendor: false };
    let mut console = Console::new(call, &root, true, details);
    let outcome = call.with_caller("pkgask", 0, |caller| {
        ask_packages(
            &root,
            &request,
            caller,
            &mut console,
            &mut |observer: &mut dyn PackageObserver, file, is_made| {
                let what = if is_made { "was created" } else { "was not created" };
                observer.says(&format!("\nResponse file <{}> {what}.\n", file.display()));
            },
        )
    })?;
    call.output = console.output;
    let report = PkgaskReport::of(&Wording::of_classic(root.prefix()), outcome);
    Ok(Reply::about(&root, report.exit, report))
}

impl PkgaskReport {
    fn of(wording: &Wording, outcome: Result<AskReport, Failure>) -> Self {
        match outcome {
            Ok(AskReport { made, missing, warned }) => Self {
                result: if missing.is_empty() && !warned { ResultWord::Done } else { ResultWord::Failed },
                files: made.iter().map(|file| file.display().to_string()).collect(),
                exit: match (missing.is_empty(), warned) {
                    (false, _) => Exit::failed(ExitCause::NotFound),
                    (true, true) => Exit::new(2, ExitCause::Script),
                    (true, false) => Exit::OK,
                },
                missing,
                error: None,
                explanation: None,
            },
            Err(failed) => Self {
                result: ResultWord::of_failure(&failed),
                files: Vec::new(),
                missing: Vec::new(),
                error: Some(failed.to_string()),
                explanation: match &failed {
                    Failure::Script(failure) if !failure.is_told => None,
                    failed => Some(packages::explanation(wording, Command::Pkgadd, failed)),
                },
                exit: match failed {
                    Failure::BadFile(_) | Failure::BadResponseFile(_) => Exit::failed(ExitCause::Usage),
                    failed => failure::code(Command::Pkgadd, &failed),
                },
            },
        }
    }
}

impl CommandReport for PkgaskReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for name in &self.missing {
            output.error(&format!("no package associated with <{name}>"))?;
        }
        if let Some(explanation) = &self.explanation {
            output.error(explanation)?;
        }
        let ending = packages::ending(self.exit);
        Ok(output.complain(format!("\nProcessing of request script {ending}\n"))?)
    }
}
