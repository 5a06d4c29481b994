//! pkgchk(1M): checks objects against the package database, a pkgmap, or the pkgmap of a package on a device.

mod device;
mod document;
mod lists;

use std::io;
use std::path::{Path, PathBuf};

use super::caller::{patience, with_caller};
use super::exit::{Exit, Stop};
use super::options::{Extensions, RootOption, parse};
use super::text::{finding, object};
use super::whose_root::OwnerOptions;
use super::{Invocation, failure, json};
use crate::database::{DatabaseError, ViewError};
use crate::operation::check::{
    Aspects, CheckError, Checked, MapFiles, PathPattern, Report, Request, Scope, Unknown, check,
    check_and_fix, recorded,
};
use crate::operation::queries::select::Pattern;
use crate::plan::refusal::Command;
use crate::root::Root;

const USAGE: &str = "\
pkgchk [-l|-acfnqvx] [-i file] [-p path,...|-P partial-path,...] [-R root] [-m pkgmap [-e envfile]] \
[-Y category,...|pkginst...]
pkgchk -d device [-l|-fv] [-i file] [-p path,...|-P partial-path,...] [-Y category,...|pkginst...]";

/// The code of a package database that makes no sense.
const DATABASE: Exit = Exit::new(99);

/// Check installed objects against their records
#[derive(clap::Parser)]
#[allow(clippy::struct_excessive_bools)] // one for each letter of the command line
struct Args {
    /// Print what is recorded of each object instead of checking it
    #[arg(short, conflicts_with_all = ["attributes", "contents", "fix", "no_volatile", "quiet", "verbose", "exclusive"])]
    long: bool,
    /// Check attributes only
    #[arg(short)]
    attributes: bool,
    /// Check contents only
    #[arg(short)]
    contents: bool,
    /// Put attributes, modification times and links right; contents stay as they are
    #[arg(short)]
    fix: bool,
    /// Do not check the contents of volatile and editable files
    #[arg(short)]
    no_volatile: bool,
    /// Do not mention missing objects
    #[arg(short)]
    quiet: bool,
    /// Name every object on standard error
    #[arg(short)]
    verbose: bool,
    /// Also look for what is in exclusive directories and is nobody's; with -f it is removed
    #[arg(short = 'x')]
    exclusive: bool,
    /// Print what is recorded as the lines of the database
    #[arg(short = 'L', hide = true, conflicts_with_all = ["long", "device"])]
    lines: bool,
    /// Only the paths in this file, one in a line; - is standard input
    #[arg(short, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Only these paths, separated by commas; one that ends in * means all that begin so
    #[arg(short, value_name = "PATH,...")]
    path: Vec<String>,
    /// Only paths that one of these is part of
    #[arg(short = 'P', value_name = "PARTIAL,...", conflicts_with = "path")]
    partial: Vec<String>,
    /// Check against this pkgmap instead of the database
    #[arg(short, value_name = "PKGMAP", conflicts_with_all = ["device", "category"])]
    map: Option<PathBuf>,
    /// Take the variables of the pkgmap from this file
    #[arg(short, value_name = "ENVFILE", requires = "map")]
    environment: Option<PathBuf>,
    /// Check the packages in this directory, datastream or archive
    #[arg(short, value_name = "DEVICE", conflicts_with_all = ["attributes", "contents", "no_volatile", "quiet", "exclusive"])]
    device: Option<PathBuf>,
    /// Only packages of these categories, separated by commas
    #[arg(short = 'Y', value_name = "CATEGORY", value_delimiter = ',', conflicts_with = "packages")]
    category: Vec<String>,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    /// Packages: an instance, PKG.* for all its instances, or all
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    extensions: Extensions,
}

/// Runs it. Exit 0 if everything is as it is recorded, 1 if not, 64 where a repair finds the root locked, 65 while a
/// change is unfinished, 99 where the database makes no sense.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    let scope = args.scope()?;
    if let Some(path) = &args.device {
        return device::run(call, &args, path, &scope);
    }
    let root = if args.fix {
        args.owner.open::<Args>(call, &args.root, Command::Pkgadd)?
    } else {
        args.root.open(call)?
    };
    let request = args.request(scope, call.surroundings.processors)?;
    if args.long || args.lines {
        return list(call, &args, &root, &request);
    }
    let report = if args.fix {
        let wait = patience(&root, None);
        call.output.heedless();
        with_caller(call, "pkgchk", wait, |caller| check_and_fix(&root, &request, caller))?
    } else {
        check(call.surroundings.reader(&root), &Root::open(Path::new("/"))?, &request)
    };
    let report = report.map_err(refused)?;
    let is_clean = report.checked.iter().all(|checked| checked.findings.is_empty());
    let exit = if is_clean { Exit::OK } else { Exit::FAILED };
    if args.extensions.json {
        let body = document::Body::of(&report, &root, call.surroundings.zone);
        call.output.print(json::document("pkgchk", Some(&root), exit, body)?)?;
        return Ok(exit);
    }
    tell(call, &args, &root, &report)?;
    Ok(exit)
}

fn tell(call: &mut Invocation, args: &Args, root: &Root, report: &Report) -> io::Result<()> {
    warn(call, &report.unknown, args.quiet)?;
    for checked in &report.checked {
        say(call, args, root, checked)?;
    }
    Ok(())
}

/// Prints an object with its errors. With -v every object that is there is named, after its errors.
fn say(call: &mut Invocation, args: &Args, root: &Root, checked: &Checked) -> io::Result<()> {
    if checked.findings.is_empty() && !args.verbose {
        return Ok(());
    }
    let path = root.show(&checked.path);
    if !(args.quiet && checked.is_missing()) {
        call.output.complain(finding::error(&checked.findings, &path, call.surroundings.zone))?;
    }
    if args.verbose && !checked.is_missing() {
        call.output.complain(format!("{path}\n"))?;
    }
    Ok(())
}

/// What is recorded: the long listing, or the lines of the database.
fn list(call: &mut Invocation, args: &Args, root: &Root, request: &Request) -> anyhow::Result<Exit> {
    let (lines, unknown) = recorded(call.surroundings.reader(root), request).map_err(refused)?;
    if args.extensions.json {
        let body = document::List::of(&lines, root);
        call.output.print(json::document("pkgchk", Some(root), Exit::OK, body)?)?;
        return Ok(Exit::OK);
    }
    warn(call, &unknown, true)?;
    for line in &lines {
        if args.lines {
            call.output.line(line.write())?;
        } else {
            call.output.print(object::long(line, &root.show(&line.path), call.surroundings.zone))?;
        }
    }
    Ok(Exit::OK)
}

/// What was named and is not known; none of it changes the exit code.
fn warn(call: &mut Invocation, unknown: &Unknown, no_paths: bool) -> io::Result<()> {
    for word in &unknown.packages {
        call.output.complain(format!("WARNING: no pathnames were associated with <{word}>\n"))?;
    }
    for word in &unknown.empty {
        call.output.complain(format!("WARNING: Package <{word}> is installed but empty\n"))?;
    }
    for path in unknown.paths.iter().filter(|_| !no_paths) {
        call.output.complain(format!("WARNING: no information associated with pathname <{path}>\n"))?;
    }
    Ok(())
}

/// The code of a check that was not made.
fn refused(error: CheckError) -> anyhow::Error {
    let exit = match &error {
        CheckError::Unfinished(_) => Exit::UNFINISHED,
        CheckError::Operation(failed) => {
            let message = format!("{failed}\n{}", failure::state(failed));
            return Stop::Refused { exit: failure::code(Command::Pkgadd, failed), message }.into();
        }
        CheckError::Database(DatabaseError::View(
            ViewError::Journal { .. } | ViewError::Lost { .. } | ViewError::Busy(_),
        ))
        | CheckError::Parameters(_) => return error.into(),
        CheckError::Database(_) => DATABASE,
        CheckError::Map { .. } | CheckError::NoCategory(_) => Exit::FAILED,
    };
    Stop::Refused { exit, message: error.to_string() }.into()
}

impl Args {
    /// -a and -c leave the other aspect out; both together leave nothing out.
    fn aspects(&self) -> Aspects {
        Aspects {
            attributes: self.attributes || !self.contents,
            contents: self.contents || !self.attributes,
            changing_contents: !self.no_volatile,
            exclusive: self.exclusive,
        }
    }

    fn request(&self, scope: Scope, workers: usize) -> anyhow::Result<Request> {
        if self.map.is_some() && (scope.packages.len() > 1 || scope.packages.first() == Some(&Pattern::All)) {
            let message = "a pkgmap is that of one package".to_owned();
            return Err(Stop::Usage { message, usage: USAGE }.into());
        }
        let map = self.map.clone().map(|pkgmap| MapFiles { pkgmap, environment: self.environment.clone() });
        Ok(Request { scope, aspects: self.aspects(), map, workers })
    }

    fn scope(&self) -> anyhow::Result<Scope> {
        let packages = self.packages.iter().map(|word| Pattern::parse(word)).collect();
        let categories = self.category.iter().map(|category| category.trim().to_owned()).collect();
        let mut paths = Vec::new();
        for word in lists::words(&self.path) {
            paths.push(PathPattern::parse(word.as_bytes())?);
        }
        paths.extend(lists::words(&self.partial).map(|word| PathPattern::Part(word.as_bytes().to_vec())));
        if let Some(file) = &self.input {
            for line in lists::lines(&lists::read(file)?) {
                paths.push(PathPattern::parse(line)?);
            }
        }
        let has_list = self.input.is_some() || !self.path.is_empty() || !self.partial.is_empty();
        anyhow::ensure!(!paths.is_empty() || !has_list, "the list of paths is empty");
        Ok(Scope { packages, categories, paths })
    }
}
