//! removef(1M): gives up objects of a package.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use serde::Serialize;

use crate::as_owner::options::OwnerOptions;
use crate::classic::installf::{input_lines, noting_failure, refused};
use patchadm_cli::arguments::{Extensions, RootOption, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::words::print_notes;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::installf::{RemovefOutcome, RemovefRequest, removef};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, unescape};

const USAGE: &str = "removef [-R root] pkginst path...
removef [-R root] pkginst -
removef -f [-R root] pkginst";

/// Exit code if a path was skipped.
const WARNING: Exit = Exit::new(2, ExitCause::Usage);

/// Remove objects of a package from the database
#[derive(clap::Parser)]
struct RemovefArgs {
    /// Finish the removal: remove the package from the owners of its removed paths
    #[arg(short = 'f')]
    is_final: bool,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    /// The package and its paths to remove, or - for paths on standard input
    #[arg(value_name = "OPERAND")]
    operands: Vec<OsString>,
    #[command(flatten)]
    _extensions: Extensions,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    noting_failure(call, give_up)
}

fn give_up(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: RemovefArgs = parse(call, USAGE)?;
    let wrong = |message: &str| Stop::Usage { message: message.to_owned(), usage: USAGE };
    let (package, rest) = args.operands.split_first().ok_or_else(|| wrong("no package specified"))?;
    // Before reading standard input: another process may do that.
    let root = args.owner.open::<RemovefArgs>(call, &args.root, Command::Removef)?;
    let mut exit = Exit::OK;
    let words = match (args.is_final, rest) {
        (true, []) => None,
        (true, _) => return Err(wrong("-f takes no path").into()),
        (false, []) => return Err(wrong("no path was given").into()),
        (false, [only]) if only == "-" => Some(first_words(&input_lines()?)),
        (false, words) => Some(words.iter().map(|word| word.clone().into_vec()).collect()),
    };
    let mut paths = words.as_ref().map(|_| Vec::new());
    for word in words.iter().flatten() {
        if let (Some(path), Some(paths)) = (path(word), &mut paths) {
            paths.push(path?);
            continue;
        }
        let word = String::from_utf8_lossy(word);
        call.output.complain(format!("WARNING: relative pathname <{word}> ignored\n"))?;
        exit = WARNING;
    }
    let (package, run) = (package.to_string_lossy().into_owned(), call.surroundings.run.clone());
    let request = RemovefRequest { package, paths, run };
    let outcome = call.change(&root, "removef", None, |caller| removef(&root, &request, caller))?;
    let RemovefOutcome { removable, notes } =
        outcome.map_err(|error| refused(&root, Command::Removef, &error))?;
    let report = RemovefReport {
        result: ResultWord::Done,
        package: request.package,
        host_paths: removable.iter().map(|path| host_path(&root, path)).collect(),
        removable: removable.iter().map(ToString::to_string).collect(),
        notes,
        for_terminal: call.surroundings.stdout_is_terminal,
    };
    Ok(Reply::about(&root, exit, report))
}

#[derive(Serialize)]
struct RemovefReport {
    result: ResultWord,
    package: String,
    removable: Vec<String>,
    #[serde(skip)]
    host_paths: Vec<Vec<u8>>,
    #[serde(skip)]
    notes: Vec<String>,
    #[serde(skip)]
    for_terminal: bool,
}

impl CommandReport for RemovefReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for path in &self.host_paths {
            let line = [path, &b"\n"[..]].concat();
            // A script must be able to remove these paths; nobody else needs the raw bytes.
            if self.for_terminal { output.print(line)? } else { output.raw(line)? }
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}

/// Prefixes a path with the root, byte for byte: scripts hand it to rm(1).
fn host_path(root: &Root, path: &ObjectPath) -> Vec<u8> {
    let prefix = root.prefix().as_os_str().as_bytes();
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    [prefix, path.as_bytes()].concat()
}

/// `None` for a relative path.
fn path(word: &[u8]) -> Option<Result<ObjectPath, Stop>> {
    let checked = word.starts_with(b"/").then(|| ObjectPath::new(word))?;
    Some(
        checked.map_err(|error| Stop::Refused {
            exit: Exit::failed(ExitCause::Usage),
            message: error.to_string(),
        }),
    )
}

/// Returns the first word of each line, with escapes as in contents(4).
fn first_words(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let first =
        |line: &Vec<u8>| line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()).map(unescape);
    lines.iter().filter_map(first).collect()
}
