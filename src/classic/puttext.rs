//! puttext(1): prints a message in lines that fit on a screen.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use serde::Serialize;

use crate::applets::Invocation;
use crate::arguments::options::{Extensions, parse};
use crate::reply::exit::{Exit, Stop};
use crate::reply::json;
use crate::reply::text::fold::fold;

const USAGE: &str = "puttext [-n] [-l lmargin] [-r rmargin] string";

/// The column at which lines end where nobody says otherwise.
const RIGHT_MARGIN: u16 = 60;

/// Print a message in lines that fit on a screen
#[derive(clap::Parser)]
struct Args {
    /// Print no newline behind the message
    #[arg(short)]
    no_newline: bool,
    /// Indent every line by this many columns
    #[arg(short, value_name = "COLUMNS", default_value_t = 0)]
    left_margin: u16,
    /// End every line before this column
    #[arg(short, value_name = "COLUMNS", default_value_t = RIGHT_MARGIN)]
    right_margin: u16,
    /// The message; \n in it begins a new line
    #[arg(value_name = "STRING")]
    text: OsString,
    #[command(flatten)]
    extensions: Extensions,
}

#[derive(Serialize)]
struct Body {
    lines: Vec<String>,
}

/// Runs it.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    if args.right_margin <= args.left_margin {
        let message = "the right margin is not beyond the left one".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let width = usize::from(args.right_margin - args.left_margin);
    let lines = fold(args.text.as_bytes(), width);
    if args.extensions.json {
        let lines = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        call.output.print(json::document("puttext", None, Exit::OK, Body { lines })?)?;
        return Ok(Exit::OK);
    }
    let margin = vec![b' '; usize::from(args.left_margin)];
    let indented: Vec<Vec<u8>> = lines
        .iter()
        .map(|line| if line.is_empty() { Vec::new() } else { [&margin[..], line].concat() })
        .collect();
    call.output.print(indented.join(&b'\n'))?;
    if !args.no_newline {
        call.output.print(b"\n")?;
    }
    Ok(Exit::OK)
}
