//! puttext(1): prints a message in lines that fit on a screen.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use serde::Serialize;

use patchadm_cli::arguments::{Extensions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::json::as_texts;
use patchadm_cli::reply::text::fold::fold;
use patchadm_cli::reply::{CommandReport, Exit, Reply, Stop};
use patchadm_cli::surroundings::Output;

const USAGE: &str = "puttext [-n] [-l lmargin] [-r rmargin] string";

const RIGHT_MARGIN: u16 = 60;

/// Print a message, wrapped to fit a screen
#[derive(clap::Parser)]
struct PuttextArgs {
    /// Do not print a newline after the message
    #[arg(short)]
    no_newline: bool,
    /// Indent every line by this many columns
    #[arg(short, value_name = "COLUMNS", default_value_t = 0)]
    left_margin: u16,
    /// End every line before this column
    #[arg(short, value_name = "COLUMNS", default_value_t = RIGHT_MARGIN)]
    right_margin: u16,
    /// The message; \n starts a new line
    #[arg(value_name = "STRING")]
    text: OsString,
    #[command(flatten)]
    _extensions: Extensions,
}

#[derive(Serialize)]
struct PuttextReport {
    #[serde(serialize_with = "as_texts")]
    lines: Vec<Vec<u8>>,
    #[serde(skip)]
    args: PuttextArgs,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PuttextArgs = parse(call, USAGE)?;
    if args.right_margin <= args.left_margin {
        let message = "the right margin is not beyond the left one".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let width = usize::from(args.right_margin - args.left_margin);
    Ok(Reply::new(Exit::OK, PuttextReport { lines: fold(args.text.as_bytes(), width), args }))
}

impl CommandReport for PuttextReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let margin = vec![b' '; usize::from(self.args.left_margin)];
        let indented = self.lines.iter().map(|line| match line.as_slice() {
            [] => Vec::new(),
            line => [&margin[..], line].concat(),
        });
        output.print(indented.collect::<Vec<_>>().join(&b'\n'))?;
        if !self.args.no_newline {
            output.print(b"\n")?;
        }
        Ok(())
    }
}
