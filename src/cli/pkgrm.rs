//! pkgrm(1M): removes installed packages, in the words of the classic command. Its own messages go to standard error.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::caller::{patience, with_caller};
use super::exit::{Exit, Stop};
use super::options::{CategoryOption, Extensions, RootOption, parse, refuse_unsupported};
use super::output::Output;
use super::packages::{self, Ended, Package};
use super::{Invocation, questions};
use crate::operation::attendant::Attendant;
use crate::operation::query::installed_packages;
use crate::operation::remove_package::{Removal, RemoveRequest, Removed, remove_packages};
use crate::operation::scripts::{Ending, Voice};
use crate::operation::select::Selection;
use crate::package::{ObjectPath, Params};
use crate::plan::refusal::Command;
use crate::root::Root;

mod spool;

const USAGE: &str = "\
pkgrm [-nAM] [-a admin] [-R root] pkginst...|-Y category,...
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
    /// Remove the packages from this directory of packages; nothing that is installed is touched
    #[arg(short, value_name = "SPOOL", conflicts_with = "categories")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    category: CategoryOption,
    #[arg(short, hide = true)]
    verbose: bool,
    #[arg(short = 'V', hide = true)]
    vfstab: Option<OsString>,
    /// The packages: an instance, or PKG.* for all its instances; with -s all as well
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    extensions: Extensions,
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    let unsupported = [("-v", args.verbose), ("-V", args.vfstab.is_some())];
    refuse_unsupported(unsupported, USAGE)?;
    if args.packages.is_empty() && args.category.categories.is_empty() {
        let message = "you must specify a category (-Y) or list of packages to remove".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let in_json = args.extensions.json;
    let conversation = !args.non_interactive && !in_json;
    if conversation && !call.surroundings.stdin_is_terminal {
        let message = "a removal has to be confirmed, and standard input is no terminal\nuse -n to remove without being asked";
        return Err(Stop::Refused { exit: Exit::new(5), message: message.to_owned() }.into());
    }
    if let Some(spool) = &args.spool {
        return spool::run(call, spool, &args.packages, conversation, in_json);
    }
    let root = args.root.open(call)?;
    let packages = match args.category.categories {
        categories if categories.is_empty() => args.packages,
        categories => of_categories(&root, categories)?,
    };
    let request = RemoveRequest { packages, admin: args.admin, conversation };
    let mut screen = Screen {
        output: Output::new(call.program),
        root: &root,
        progress: !args.non_interactive && !in_json,
        outcome: !in_json,
    };
    let wait = patience(&root, None);
    let report =
        with_caller(call, "pkgrm", wait, |caller| remove_packages(&root, &request, caller, &mut screen))?;
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

fn package(removed: &Removed) -> Package<'_> {
    let plan = removed.removal.as_ref().map(|removal| &removal.plan);
    Package { name: &removed.name, plan, result: &removed.result, ending: Ending::default() }
}

/// Somebody before a terminal, or a script that reads what is printed.
struct Screen<'a> {
    output: Output,
    root: &'a Root,
    /// Whether the steps are told.
    progress: bool,
    /// Whether the outcome is told.
    outcome: bool,
}

impl Screen<'_> {
    /// Prints where standard error can be written to; nothing depends on it.
    fn say(&mut self, text: &str) {
        drop(self.output.complain(text));
    }

    /// What was removed, and what was not.
    fn listing(&self, name: &str, removal: &Removal) -> String {
        let mut text = format!("\n## Removing installed package instance <{name}>\n");
        text.push_str("## Processing package information.\n## Removing pathnames in class <none>\n");
        let full = " <non-empty directory not removed>";
        let gone = removal.plan.changes.iter().map(|change| &change.path);
        let mut listed: Vec<(&ObjectPath, &str)> =
            gone.map(|path| (path, if removal.full.contains(path) { full } else { "" })).collect();
        listed.extend(removal.shared.iter().map(|path| (path, " <shared pathname not removed>")));
        listed.sort_by(|a, b| b.0.cmp(a.0));
        for (path, marker) in listed {
            let _ = writeln!(text, "{}{marker}", self.root.show(path));
        }
        text.push_str("## Updating system information.\n");
        text
    }
}

impl Voice for Screen<'_> {}

impl Attendant for Screen<'_> {
    fn removing(&mut self, name: &str, params: &Params) {
        if self.progress {
            let text = |name| params.text(name);
            self.say(&format!(
                "\nThe following package is currently installed:\n   {name}  {}\n   {:width$}  ({}) {}\n",
                text("NAME"),
                "",
                text("ARCH"),
                text("VERSION"),
                width = name.len()
            ));
        }
    }

    fn removed(&mut self, removed: &Removed) {
        if !self.outcome {
            return;
        }
        if let (true, Some(removal), Ok(_)) = (self.progress, &removed.removal, &removed.result) {
            let text = self.listing(&removed.name, removal);
            self.say(&text);
        }
        packages::close(&mut self.output, Command::Pkgrm, "Removal of", &package(removed));
    }

    fn agrees(&mut self, _: &str, questions: &[String]) -> bool {
        let help = "Answer y to remove the package, n to leave the system as it is.";
        questions::agreed(
            &mut self.output,
            questions,
            "\nDo you want to remove this package? [y,n,?,q] ",
            help,
        )
    }
}
