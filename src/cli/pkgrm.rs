//! pkgrm(1M): removes installed packages, in the words of the classic command. Its own messages go to standard error.

use std::path::PathBuf;

use super::caller::{patience, with_caller};
use super::exit::{Exit, Stop};
use super::options::{CategoryOption, Extensions, RootOption, parse};
use super::output::Output;
use super::packages::Ended;
use super::pkgadd::script_settings;
use super::screen::Screen;
use super::whose_root::OwnerOptions;
use super::{Invocation, questions};
use crate::operation::packages::remove::{RemoveRequest, remove_packages};
use crate::operation::queries::packages::installed_packages;
use crate::operation::queries::select::Selection;
use crate::plan::refusal::Command;
use crate::root::Root;
use screen::{Removing, package};

mod screen;
mod spool;

const USAGE: &str = "\
pkgrm [-nvAM] [-a admin] [-R root] [-V vfstab] [--script-timeout seconds] pkginst...|-Y category,...
pkgrm [-n] -s spool pkginst...";

/// Remove installed packages
#[derive(clap::Parser)]
struct Args {
    /// Use this admin file: a path, a name below var/sadm/install/admin, or none
    #[arg(short, value_name = "ADMIN")]
    admin: Option<PathBuf>,
    /// Accepted for compatibility: there are no remote copies
    #[arg(short = 'A')]
    _remote: bool,
    /// Accepted for compatibility: client file systems are never mounted
    #[arg(short = 'M')]
    _no_mount: bool,
    /// Ask nothing, and print the outcome only
    #[arg(short)]
    non_interactive: bool,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    /// Remove the packages from this directory of packages; nothing that is installed is touched
    #[arg(short, value_name = "SPOOL", conflicts_with = "categories")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    category: CategoryOption,
    /// Show every command of the packages' scripts, as sh -x does
    #[arg(short = 'v')]
    trace: bool,
    /// Accepted for compatibility: file systems of clients are never mounted
    #[arg(short = 'V', value_name = "VFSTAB")]
    _vfstab: Option<PathBuf>,
    /// End a script that takes longer than this, 0 for never; otherwise as the policy of the root says
    #[arg(long, value_name = "SECONDS")]
    script_timeout: Option<u64>,
    /// The packages: an instance, or PKG.* for all its instances; with -s all as well
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    extensions: Extensions,
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    if args.packages.is_empty() && args.category.categories.is_empty() {
        let message = "you must specify a category (-Y) or list of packages to remove".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let in_json = args.extensions.json;
    let conversation = !args.non_interactive && !in_json && !args.owner.as_owner;
    if conversation && !call.surroundings.stdin_is_terminal {
        let message = "a removal has to be confirmed, and standard input is no terminal\nuse -n to remove without being asked";
        return Err(Stop::Refused { exit: Exit::new(5), message: message.to_owned() }.into());
    }
    if let Some(spool) = &args.spool {
        return spool::run(call, spool, &args.packages, conversation, in_json);
    }
    let root = args.owner.open::<Args>(call, &args.root, Command::Pkgrm)?;
    let packages = match args.category.categories {
        categories if categories.is_empty() => args.packages,
        categories => of_categories(&root, categories)?,
    };
    let request = RemoveRequest {
        packages,
        admin: args.admin,
        conversation,
        scripts: script_settings(call, args.trace, args.script_timeout),
    };
    let mut screen = Screen {
        output: Output::new(call.program),
        root: &root,
        progress: !args.non_interactive && !in_json,
        outcome: !in_json,
        scene: Removing,
    };
    call.output.heedless();
    screen.output.heedless();
    let wait = patience(&root, None);
    let report =
        with_caller(call, "pkgrm", wait, |caller| remove_packages(&root, &request, caller, &mut screen))?;
    screen.output.flush()?;
    call.output.inherit_loss(screen.output);
    Ended { command: Command::Pkgrm, outcome: &report, package }.report(call, &root, in_json)
}

/// The installed packages of any of these categories.
fn of_categories(root: &Root, categories: Vec<String>) -> anyhow::Result<Vec<String>> {
    let refused = |message: &str| Stop::Refused { exit: Exit::FAILED, message: message.to_owned() };
    if categories.iter().any(|category| category.eq_ignore_ascii_case("system")) {
        let message = "Unable to remove packages that are part of the SYSTEM category with the -Y option.";
        return Err(refused(message).into());
    }
    let names = categories.join(",");
    let listing = installed_packages(root, &Selection { categories, ..Selection::default() }, false)?;
    if listing.packages.is_empty() {
        return Err(refused(&format!("Category argument <{names}> cannot be found.")).into());
    }
    Ok(listing.packages.into_iter().map(|package| package.instance).collect())
}
