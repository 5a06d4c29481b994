//! installf(1M): registers objects of a package.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::as_owner::options::OwnerOptions;
use patchadm_cli::arguments::{Extensions, RootOption, parse};
use patchadm_cli::call::{Invocation, RunCommand};
use patchadm_cli::reply::advice::hint;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop, failure};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::installf::{
    InstallfError, InstallfOutcome, InstallfRequest, InstallfSubject, installf, note_failure,
};
use patchadm_core::operation::whose_root::RootStanding;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;
use patchadm_svr4::format::registration::{Registration, class};

const USAGE: &str = "installf [-c class] [-R root] pkginst path [ftype [major minor] [mode owner group]]
installf [-c class] [-R root] pkginst path1=path2 [l|s]
installf [-c class] [-R root] pkginst -
installf -f [-c class] [-R root] pkginst";

const LARGEST_INPUT: u64 = 256 << 20;

/// Register objects as part of a package
#[derive(clap::Parser)]
struct InstallfArgs {
    /// Set the class of the objects; with -f, finish only this class
    #[arg(short, value_name = "CLASS")]
    class: Option<String>,
    /// Finish the registration: make links, set attributes, record contents
    #[arg(short = 'f')]
    is_final: bool,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    /// The package, and a path with its fields, or - to read lines from standard input
    #[arg(value_name = "OPERAND")]
    operands: Vec<OsString>,
    #[command(flatten)]
    _extensions: Extensions,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    noting_failure(call, register)
}

/// Performs installf or removef. The run of a failed script gets the failure, however the script treats the exit code.
pub(crate) fn noting_failure(call: &mut Invocation, work: RunCommand) -> anyhow::Result<Reply> {
    let result = work(call).and_then(|reply| reply.print(call.name, call.in_json, &mut call.output));
    let why = match &result {
        Err(error) if !matches!(error.downcast_ref(), Some(Stop::Help(_))) => format!("{error:#}"),
        Ok(exit) if exit.code() == 1 => "some objects differ from their declaration".to_owned(),
        _ => return result.map(Reply::silent),
    };
    if let Some(run) = call.surroundings.run.clone() {
        let words = call.arguments.iter().map(|word| word.to_string_lossy().into_owned());
        let words: Vec<String> = words.collect();
        let text = format!("{} {} failed: {}", call.program, words.join(" "), why.trim_end());
        let root = root_named(&call.arguments).open(call).ok();
        let standing = root.and_then(|root| OwnerOptions::default().standing(&call.surroundings, root).ok());
        if let Some(RootStanding::Caller(root)) = standing
            && root.look_at_records().is_ok()
        {
            let _ = note_failure(&root, &run, &text);
        }
    }
    result.map(Reply::silent)
}

/// Finds the root in a command line that may be invalid otherwise.
fn root_named(words: &[OsString]) -> RootOption {
    let joined = words.iter().find_map(|word| word.as_encoded_bytes().strip_prefix(b"-R"));
    let next = || words.iter().skip_while(|word| *word != "-R").nth(1).map(PathBuf::from);
    let root = match joined {
        Some([]) => next(),
        Some(path) => Some(PathBuf::from(OsString::from_vec(path.to_vec()))),
        None => None,
    };
    RootOption::at(root)
}

fn register(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: InstallfArgs = parse(call, USAGE)?;
    let wrong = |message: &str| Stop::Usage { message: message.to_owned(), usage: USAGE };
    let (package, rest) = args.operands.split_first().ok_or_else(|| wrong("no package specified"))?;
    // Before reading standard input: another process may do that.
    let root = args.owner.open::<InstallfArgs>(call, &args.root, Command::Installf)?;
    let named = args.class.as_deref().map(class).transpose().map_err(InstallfError::from)?;
    let what = match (args.is_final, rest) {
        (true, []) => InstallfSubject::Final(named),
        (true, _) => return Err(wrong("-f takes no path").into()),
        (false, []) => return Err(wrong("no path was given").into()),
        (false, [only]) if only == "-" => InstallfSubject::Objects(from_input(named.as_deref())?),
        (false, words) => {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.clone().into_vec()).collect();
            let registration = Registration::from_words(&words, named.as_deref());
            InstallfSubject::Objects(vec![registration.map_err(InstallfError::from)?])
        }
    };
    let (package, run) = (package.to_string_lossy().into_owned(), call.surroundings.run.clone());
    let request = InstallfRequest { package, what, run };
    let outcome = call.change(&root, "installf", None, |caller| installf(&root, &request, caller))?;
    let registered = outcome.map_err(|error| refused(&root, Command::Installf, &error))?;
    call.output.heedless();
    let exit = if registered.discrepancies.is_empty() { Exit::OK } else { Exit::failed(ExitCause::Edited) };
    Ok(Reply::about(&root, exit, InstallfReport::of(request.package, &registered, &root)))
}

/// Parses standard input, one registration per line; skips blank lines.
fn from_input(class: Option<&str>) -> anyhow::Result<Vec<Registration>> {
    let registrations = input_lines()?
        .iter()
        .map(|line| Registration::parse(line, class))
        .collect::<Result<Vec<_>, _>>()
        .map_err(InstallfError::from)?;
    Ok(registrations)
}

pub(crate) fn input_lines() -> anyhow::Result<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    std::io::stdin().take(LARGEST_INPUT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_INPUT {
        let message = format!("standard input is larger than {LARGEST_INPUT} bytes");
        return Err(Stop::Refused { exit: Exit::failed(ExitCause::DamagedInput), message }.into());
    }
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    Ok(lines.map(<[u8]>::to_vec).collect())
}

pub(crate) fn refused(root: &Root, command: Command, error: &InstallfError) -> Stop {
    let exit = match error {
        InstallfError::Failure(failed) => failure::code(command, failed),
        InstallfError::NotInstalled(_) => Exit::failed(ExitCause::NotFound),
        InstallfError::InvalidPackage(_) | InstallfError::Registration(_) => Exit::failed(ExitCause::Usage),
    };
    let mut message = match error {
        InstallfError::Failure(Failure::Refused(refusal)) => refusal.why(),
        InstallfError::Failure(failed) => match hint(&Wording::of_classic(root.prefix()), command, failed) {
            hint if hint.is_empty() => error.to_string(),
            hint => format!("{error}\n{hint}"),
        },
        _ => error.to_string(),
    };
    if command == Command::Removef {
        message.push_str("\nremovef did not complete successfully");
    }
    match error {
        InstallfError::Failure(failed) => Stop::Ran { exit, result: ResultWord::of_failure(failed), message },
        _ => Stop::Refused { exit, message },
    }
}

#[derive(Serialize)]
struct InstallfReport {
    result: ResultWord,
    package: String,
    paths: Vec<String>,
    discrepancies: Vec<InstallfDiscrepancy>,
}

#[derive(Serialize)]
struct InstallfDiscrepancy {
    path: String,
    reason: String,
    /// With the prefix of the root.
    #[serde(skip)]
    shown: String,
}

impl InstallfReport {
    fn of(package: String, registered: &InstallfOutcome, root: &Root) -> Self {
        let discrepancies = registered.discrepancies.iter().map(|(path, reason)| InstallfDiscrepancy {
            path: path.to_string(),
            reason: reason.to_string(),
            shown: root.show(path),
        });
        let paths = registered.paths.iter().map(ToString::to_string).collect();
        let discrepancies: Vec<InstallfDiscrepancy> = discrepancies.collect();
        let result = if discrepancies.is_empty() { ResultWord::Done } else { ResultWord::Failed };
        Self { result, package, paths, discrepancies }
    }
}

impl CommandReport for InstallfReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for InstallfDiscrepancy { shown, reason, .. } in &self.discrepancies {
            let text = format!("ERROR: attribute verification of <{shown}> failed\n    {reason}\n");
            output.complain(text)?;
        }
        Ok(())
    }
}
