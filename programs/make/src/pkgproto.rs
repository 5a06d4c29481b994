//! pkgproto(1): prints the lines of a prototype for objects of this machine.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use serde::Serialize;

use patchadm_cli::arguments::{Extensions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::cause_of::of_io;
use patchadm_cli::reply::json::as_texts;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_making::make::describe::{DescribeOperand, DescribeRequest, describe};
use patchadm_svr4::package::is_class;

const USAGE: &str = "pkgproto [-i] [-c class] [path1[=path2]...]";

const LONGEST_NAME: u64 = 4096;

/// Print prototype entries for existing objects
#[derive(clap::Parser)]
struct PkgprotoArgs {
    /// Follow symbolic links and describe their targets
    #[arg(short = 'i')]
    follow_links: bool,
    /// Put the objects into this class [default: none]
    #[arg(short, value_name = "CLASS", default_value = "none", hide_default_value = true)]
    class: String,
    #[arg(short = 'x', hide = true)]
    with_content: bool,
    #[arg(short = 'n', hide = true)]
    without_source: bool,
    /// Objects, and everything below directories; with path1=path2, path1 becomes path2 in the package [default:
    /// names on standard input, one per line]
    #[arg(value_name = "PATH1[=PATH2]")]
    operands: Vec<OsString>,
    #[command(flatten)]
    _extensions: Extensions,
}

/// Objects that cannot be described make the exit code 1; the rest is described.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkgprotoArgs = parse(call, USAGE)?;
    if !is_class(args.class.as_bytes()) {
        let message = format!("bad character in classname <{}>", args.class.escape_debug());
        return Err(Stop::Refused { exit: Exit::failed(ExitCause::Usage), message }.into());
    }
    let operands = if args.operands.is_empty() {
        names()?
    } else {
        args.operands.iter().map(|word| DescribeOperand::of(word)).collect()
    };
    let request = DescribeRequest {
        operands,
        class: args.class,
        follow_links: args.follow_links,
        with_content: args.with_content,
    };
    let mut description = describe(&request)?;
    if args.without_source {
        let lines = description.lines.iter_mut().map(|line| &mut line.entry);
        lines.filter(|entry| entry.ftype.is_regular()).for_each(|entry| entry.right = None);
    }
    let exit = if description.failures.is_empty() { Exit::OK } else { Exit::failed(ExitCause::NotFound) };
    let report = PkgprotoReport {
        lines: description.lines.iter().map(|line| line.entry.write(line.content)).collect(),
        errors: description.failures.iter().map(ToString::to_string).collect(),
        dangling: description.dangling,
    };
    Ok(Reply::new(exit, report))
}

#[derive(Serialize)]
struct PkgprotoReport {
    #[serde(serialize_with = "as_texts")]
    lines: Vec<Vec<u8>>,
    errors: Vec<String>,
    #[serde(skip)]
    dangling: Vec<PathBuf>,
}

impl CommandReport for PkgprotoReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        self.lines.iter().try_for_each(|line| output.line(line)).map_err(unwritable)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        for link in &self.dangling {
            let text = format!("ERROR: {}\n    symbolic link leads to nothing\n", link.display());
            output.complain(text)?;
        }
        Ok(self.errors.iter().try_for_each(|error| output.error(error))?)
    }
}

/// Output errors have their own exit code, except for a closed pipe.
fn unwritable(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return error.into();
    }
    let exit = Exit::new(99, of_io(&error));
    Stop::Refused { exit, message: format!("cannot write to standard output: {error}") }.into()
}

/// Reads names from standard input, one per line. Directories are described without their content.
fn names() -> anyhow::Result<Vec<DescribeOperand>> {
    let mut input = io::stdin().lock();
    let mut names = Vec::new();
    loop {
        let mut line = Vec::new();
        if input.by_ref().take(LONGEST_NAME).read_until(b'\n', &mut line)? == 0 {
            return Ok(names);
        }
        let name = line.strip_suffix(b"\n").unwrap_or(&line);
        if !name.is_empty() {
            let path = PathBuf::from(OsStr::from_bytes(name));
            names.push(DescribeOperand { path, renamed: None, descend: false });
        }
    }
}
