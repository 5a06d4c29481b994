//! pkgtrans(1): copies packages between directories and datastreams.
//!
//! Standard error begins with the line of the first package: programs look for it there.

use std::path::PathBuf;

use serde::Serialize;

use crate::classic::menu;
use patchadm_cli::arguments::{Extensions, SecretText, listed, parse, refuse_unsupported};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::cause_of::{of_datastream, of_root};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, failure};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::translate::{
    ExistingPolicy, PackageTranslation, TransferDestination, TransferObserver, TransferredPackage,
    TranslateError, TranslateRequest,
};
use patchadm_inputs::input_file::is_standard_input;
use patchadm_inputs::source::{SourceError, SourceProblem};
use patchadm_planning::plan::refusal::Command;

const USAGE: &str = "pkgtrans [-cinos] device1 device2 [pkginst...]";

/// Copy packages between directories and datastreams
#[derive(clap::Parser)]
struct PkgtransArgs {
    /// Accepted for compatibility
    #[arg(short)]
    _compatible: bool,
    /// Copy only pkginfo and pkgmap
    #[arg(short)]
    information: bool,
    /// If the name of a package is taken, copy it under the next free name, such as PKG.2
    #[arg(short)]
    new_instance: bool,
    /// Replace existing packages
    #[arg(short)]
    overwrite: bool,
    /// Write one datastream instead of directories
    #[arg(short)]
    stream: bool,
    #[arg(short = 'g', hide = true)]
    sign: bool,
    #[arg(short = 'k', hide = true)]
    keystore: Option<PathBuf>,
    #[arg(short = 'P', hide = true)]
    passphrase: Option<SecretText>,
    #[arg(short = 'a', hide = true)]
    alias: Option<String>,
    /// The source: a directory, a datastream, an archive, or a pipe such as /dev/stdin
    #[arg(value_name = "DEVICE1")]
    from: PathBuf,
    /// The target: a directory, or the name of a datastream
    #[arg(value_name = "DEVICE2")]
    to: PathBuf,
    /// The packages: an instance, `PKG.*` for all instances of PKG, or `all`
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    _extensions: Extensions,
}

/// Exit 0, 1 for an error, 2 for an existing package, 3 for a signal, 99 for an invalid source.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkgtransArgs = parse(call, USAGE)?;
    let unsupported = [
        ("-g", args.sign),
        ("-k", args.keystore.is_some()),
        ("-P", args.passphrase.is_some()),
        ("-a", args.alias.is_some()),
    ];
    refuse_unsupported(unsupported, USAGE)?;
    let PkgtransArgs { from, to, mut packages, .. } = args;
    if packages.is_empty() {
        let chosen = match call.surroundings.stdin_is_terminal {
            true => menu::choose(&mut call.output, &from)?,
            false if is_standard_input(&from) => Some(vec!["all".to_owned()]),
            false => menu::chosen_in_advance(&mut call.output, &from)?,
        };
        let Some(chosen) = chosen else { return Ok(Reply::silent(Exit::new(3, ExitCause::Signal))) };
        packages = chosen;
    }
    let request = TranslateRequest {
        to: TransferDestination::named(&to, &from, args.stream),
        device: from,
        packages: listed(&packages),
        categories: Vec::new(),
        existing: match (args.overwrite, args.new_instance) {
            (true, _) => ExistingPolicy::Overwrite,
            (_, true) => ExistingPolicy::Rename,
            _ => ExistingPolicy::Refuse,
        },
        description_only: args.information,
    };
    transfer(call, request)
}

pub(super) fn transfer(call: &mut Invocation, request: TranslateRequest) -> anyhow::Result<Reply> {
    let destination = request.to.path().display().to_string();
    let mut output = Output::new(call.program);
    let mut told = |transferred: &TransferredPackage| {
        if !call.in_json {
            // Best effort.
            drop(output.complain(line(transferred)));
        }
    };
    let moved = match PackageTranslation::prepare(request) {
        Err(error) => Err(error),
        Ok(translation) => call.with_caller(call.program, 0, |caller| {
            translation
                .perform(&mut TransferObserver { interrupt: caller.interrupt, transferring: &mut told })
        })?,
    };
    call.output.heedless();
    let error = moved.as_ref().err();
    let exit = error.map_or(Exit::OK, code);
    let report = TransferReport {
        result: exit.result(),
        error: error.map(ToString::to_string),
        destination,
        packages: moved.iter().flatten().map(MovedPackage::of).collect(),
        complaint: error.map(complaint),
    };
    Ok(Reply::new(exit, report))
}

impl CommandReport for TransferReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.complaint.iter().try_for_each(|complaint| output.error(complaint))?)
    }
}

fn line(transferred: &TransferredPackage) -> String {
    let TransferredPackage { name, instance } = transferred;
    let renamed = if name == instance {
        String::new()
    } else {
        format!("\t... instance renamed <{instance}> on destination\n")
    };
    format!("Transferring <{name}> package instance\n{renamed}")
}

pub(crate) fn code(error: &TranslateError) -> Exit {
    match error {
        TranslateError::Source(error) => failure::source_code(Command::Pkgadd, error),
        TranslateError::Interrupted(_) => Exit::new(3, ExitCause::Signal),
        _ if error.is_broken_pipe() => Exit::PIPE,
        _ if error.is_duplicate() => Exit::new(2, ExitCause::AlreadyApplied),
        TranslateError::Root(error) => Exit::failed(of_root(error)),
        TranslateError::NoPackage(_) => Exit::failed(ExitCause::NotFound),
        TranslateError::NoPackageThere(_) => Exit::failed(ExitCause::Edited),
        TranslateError::TwoStreams(_)
        | TranslateError::NotADirectory(_)
        | TranslateError::SameDevice
        | TranslateError::IsDirectory(_)
        | TranslateError::NoFileName(_) => Exit::failed(ExitCause::Usage),
        TranslateError::Write { error, .. } => Exit::failed(of_datastream(error)),
        _ => Exit::failed(ExitCause::DamagedInput),
    }
}

fn complaint(error: &TranslateError) -> String {
    let why = match error {
        TranslateError::Source(SourceError {
            path,
            problem:
                problem @ (SourceProblem::NotFound
                | SourceProblem::BadForm(_)
                | SourceProblem::Foreign(_)
                | SourceProblem::NoPackage
                | SourceProblem::Unsupported(_)),
        }) => format!("could not process datastream from <{}>: {problem}", path.display()),
        other => other.to_string(),
    };
    format!("unable to complete package transfer\n- {why}")
}

#[derive(Serialize)]
struct TransferReport {
    result: ResultWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    destination: String,
    packages: Vec<MovedPackage>,
    #[serde(skip)]
    complaint: Option<String>,
}

#[derive(Serialize)]
struct MovedPackage {
    package: String,
    instance: String,
}

impl MovedPackage {
    fn of(transferred: &TransferredPackage) -> Self {
        Self { package: transferred.name.clone(), instance: transferred.instance.clone() }
    }
}
