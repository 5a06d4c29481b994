//! pkgask(1M): answers the questions of packages in advance, in the words of the classic command.

use std::path::PathBuf;

use super::caller::with_caller;
use super::exit::{Exit, Stop};
use super::options::{Extensions, RootOption, parse};
use super::output::Output;
use super::pkgadd::{Adding, script_settings};
use super::screen::Screen;
use super::{Invocation, failure, json, packages};
use crate::operation::device::SPOOL;
use crate::operation::failure::Failure;
use crate::operation::packages::add::ask::{AskRequest, Asked, ask_packages};
use crate::operation::packages::observer::PackageObserver;
use crate::plan::refusal::Command;
use crate::root::Root;

const USAGE: &str = "pkgask [-d device] [-R root] -r response pkginst...";

/// Answer the questions of packages in advance
#[derive(clap::Parser)]
struct Args {
    /// Take the packages from this directory, datastream or archive
    #[arg(short, value_name = "DEVICE")]
    device: Option<PathBuf>,
    #[command(flatten)]
    root: RootOption,
    /// Write the answers to this file, which must not exist, or to a file for each package in this directory
    #[arg(short, value_name = "RESPONSE")]
    response: PathBuf,
    /// The packages: an instance, PKG.* for all its instances, or all
    #[arg(value_name = "PKGINST", required = true)]
    packages: Vec<String>,
    #[command(flatten)]
    extensions: Extensions,
}

#[derive(serde::Serialize)]
struct Body {
    files: Vec<String>,
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    if !args.response.is_absolute() {
        let message = "the response file must be named by an absolute path".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let root = args.root.open(call)?;
    let in_json = args.extensions.json;
    let request = AskRequest {
        device: args.device.unwrap_or_else(|| PathBuf::from(SPOOL)),
        packages: args.packages,
        response: args.response,
        conversation: call.surroundings.stdin_is_terminal && !in_json,
        scripts: script_settings(call, false, None),
    };
    let mut screen = Screen {
        output: Output::new(call.program),
        root: &root,
        progress: !in_json,
        outcome: !in_json,
        scene: Adding { device: &request.device, copyright: false, vendor: false },
    };
    let outcome = with_caller(call, "pkgask", 0, |caller| {
        ask_packages(&root, &request, caller, &mut screen, &mut |observer: &mut dyn PackageObserver, file| {
            observer.says(&format!("\nResponse file <{}> was created.\n", file.display()));
        })
    })?;
    let exit = exit(&outcome);
    if in_json {
        report(call, &root, exit, &outcome)?;
    } else {
        tell(&mut screen.output, exit, &outcome)?;
    }
    screen.output.flush()?;
    Ok(exit)
}

fn exit(outcome: &Result<Asked, Failure>) -> Exit {
    match outcome {
        Ok(asked) if asked.missing.is_empty() => Exit::OK,
        Ok(_) | Err(Failure::BadFile(_)) => Exit::FAILED,
        Err(failed) => failure::code(Command::Pkgadd, failed),
    }
}

fn tell(output: &mut Output, exit: Exit, outcome: &Result<Asked, Failure>) -> anyhow::Result<()> {
    match outcome {
        Ok(asked) => {
            for name in &asked.missing {
                output.error(&format!("no package associated with <{name}>"))?;
            }
        }
        Err(Failure::Script(failure)) if !failure.is_told => {}
        Err(failed) => output.error(&packages::words(Command::Pkgadd, failed))?,
    }
    output.complain(format!("\nProcessing of request script {}\n", packages::ending(exit)))?;
    Ok(())
}

fn report(
    call: &mut Invocation,
    root: &Root,
    exit: Exit,
    outcome: &Result<Asked, Failure>,
) -> anyhow::Result<()> {
    let shown = |asked: &Asked| asked.made.iter().map(|file| file.display().to_string()).collect();
    let body = match outcome {
        Ok(asked) => Body { files: shown(asked), missing: asked.missing.clone(), error: None },
        Err(failed) => Body { files: Vec::new(), missing: Vec::new(), error: Some(failed.to_string()) },
    };
    call.output.print(json::document("pkgask", Some(root), exit, body)?)?;
    Ok(())
}
