//! pkgproto(1): prints the lines of a prototype for objects of this machine.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use serde::Serialize;

use super::exit::{Exit, Stop};
use super::options::{Extensions, parse};
use super::{Invocation, json};
use crate::format::prototype::is_class;
use crate::operation::make::describe::{DescribeRequest, Description, Operand, describe};

const USAGE: &str = "pkgproto [-i] [-c class] [path1[=path2]...]";

/// The longest name that is read from standard input, in bytes with its newline.
const LONGEST_NAME: u64 = 4096;

/// Print prototype entries for objects of this machine
#[derive(clap::Parser)]
struct Args {
    /// Follow symbolic links and describe what they lead to
    #[arg(short = 'i')]
    follow_links: bool,
    /// Put the objects into this class instead of none
    #[arg(short, value_name = "CLASS", default_value = "none", hide_default_value = true)]
    class: String,
    #[arg(short = 'x', hide = true)]
    with_content: bool,
    #[arg(short = 'n', hide = true)]
    without_source: bool,
    /// Objects, directories with everything below them; path1=path2 is called path2 in the package. None: one name
    /// in each line of standard input
    #[arg(value_name = "PATH1[=PATH2]")]
    operands: Vec<OsString>,
    #[command(flatten)]
    extensions: Extensions,
}

/// Runs it. What cannot be described is told and makes the exit code 1; the rest is described.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    if !is_class(args.class.as_bytes()) {
        let message = format!("bad character in classname <{}>", args.class.escape_debug());
        return Err(Stop::Refused { exit: Exit::FAILED, message }.into());
    }
    let operands = if args.operands.is_empty() {
        names()?
    } else {
        args.operands.iter().map(|word| Operand::of(word)).collect()
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
    report(call, &description, args.extensions.json)
}

fn report(call: &mut Invocation, description: &Description, in_json: bool) -> anyhow::Result<Exit> {
    let exit = if description.failures.is_empty() { Exit::OK } else { Exit::FAILED };
    let mut lines = description.lines.iter().map(|line| line.entry.write(line.content));
    if in_json {
        let body = Body {
            lines: lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect(),
            errors: description.failures.iter().map(ToString::to_string).collect(),
        };
        call.output.print(json::document("pkgproto", None, exit, body)?)?;
    } else if let Err(error) = lines.try_for_each(|line| call.output.line(line)) {
        return Err(unwritable(error));
    }
    for link in &description.dangling {
        let text = format!("ERROR: {}\n    symbolic link leads to nothing\n", link.display());
        call.output.complain(text)?;
    }
    for failure in &description.failures {
        call.output.error(&failure.to_string())?;
    }
    Ok(exit)
}

/// Lines that cannot be written have an exit code of their own, unless nobody reads them.
fn unwritable(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return error.into();
    }
    Stop::Refused { exit: Exit::new(99), message: format!("cannot write to standard output: {error}") }.into()
}

/// The names on standard input, one in a line; directories among them are described without what is below.
fn names() -> anyhow::Result<Vec<Operand>> {
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
            names.push(Operand { path, renamed: None, descend: false });
        }
    }
}

#[derive(Serialize)]
struct Body {
    lines: Vec<String>,
    errors: Vec<String>,
}
