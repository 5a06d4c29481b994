//! pkgchk(1M): checks installed objects against their records.
//!
//! Not built yet, and refused by name: repair (`-f`), exclusive directories (`-x`), pkgmaps (`-m`, `-e`), packages on a
//! device (`-d`), categories (`-Y`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::exit::{Exit, Stop};
use super::options::{Extensions, RootOption, parse, refuse_unsupported};
use super::text::{finding, object};
use super::{Invocation, json};
use crate::operation::check::{Aspects, CheckError, Checked, PathPattern, Scope, Unknown, check, recorded};
use crate::operation::select::Pattern;
use crate::root::Root;

const USAGE: &str = "\
pkgchk [-l|-acnqv] [-i file] [-p path,...|-P partial-path,...] [-R root] [pkginst...]";

/// The longest list of paths that is read with -i, in bytes.
const LONGEST_LIST: u64 = 256 << 20;

/// Check installed objects against their records
#[derive(clap::Parser)]
#[allow(clippy::struct_excessive_bools)] // one for each letter of the command line
struct Args {
    /// Print what is recorded of each object instead of checking it
    #[arg(short, conflicts_with_all = ["attributes", "contents", "no_volatile", "quiet", "verbose"])]
    long: bool,
    /// Check attributes only
    #[arg(short)]
    attributes: bool,
    /// Check contents only
    #[arg(short)]
    contents: bool,
    /// Do not check the contents of volatile and editable files
    #[arg(short)]
    no_volatile: bool,
    /// Do not mention missing objects
    #[arg(short)]
    quiet: bool,
    /// Name every object on standard error
    #[arg(short)]
    verbose: bool,
    /// Only the paths in this file, one in a line; - is standard input
    #[arg(short, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Only these paths, separated by commas; one that ends in * means all that begin so
    #[arg(short, value_name = "PATH,...")]
    path: Vec<String>,
    /// Only paths that one of these is part of
    #[arg(short = 'P', value_name = "PARTIAL,...")]
    partial: Vec<String>,
    #[arg(short, hide = true)]
    fix: bool,
    #[arg(short = 'x', hide = true)]
    exclusive: bool,
    #[arg(short, hide = true, value_name = "PKGMAP")]
    map: Option<String>,
    #[arg(short, hide = true, value_name = "ENVFILE")]
    environment: Option<String>,
    #[arg(short, hide = true, value_name = "DEVICE")]
    device: Option<String>,
    #[arg(short = 'Y', hide = true, value_name = "CATEGORY")]
    category: Option<String>,
    #[command(flatten)]
    root: RootOption,
    /// Packages: an instance, PKG.* for all its instances, or all
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    extensions: Extensions,
}

/// Runs it. Exit 0 if everything is as it is recorded, 1 if not, 65 while a change is unfinished.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    args.refuse_unsupported()?;
    let root = args.root.open(call)?;
    let scope = args.scope()?;
    if args.long {
        return list(call, &args, &root, &scope);
    }
    let host = Root::open(Path::new("/"))?;
    let report = check(&root, &host, &scope, args.aspects()).map_err(unfinished)?;
    let exit = if report.checked.iter().all(|checked| checked.findings.is_empty()) {
        Exit::OK
    } else {
        Exit::FAILED
    };
    if args.extensions.json {
        let objects = report.checked.iter().filter(|checked| !checked.findings.is_empty());
        let zone = call.surroundings.zone;
        let body = Body {
            checked: report.checked.len(),
            discrepancies: objects.map(|checked| Discrepancy::of(checked, &root, zone)).collect(),
            unknown_packages: report.unknown.packages,
        };
        call.output.print(json::document("pkgchk", Some(&root), exit, body)?)?;
        return Ok(exit);
    }
    warn(call, &report.unknown, args.quiet)?;
    for checked in &report.checked {
        say(call, &args, &root, checked)?;
    }
    Ok(exit)
}

/// Prints an object with its errors. With -v every object that is there is named, after its errors.
fn say(call: &mut Invocation, args: &Args, root: &Root, checked: &Checked) -> io::Result<()> {
    let path = root.show(&checked.path);
    if !(args.quiet && checked.is_missing()) {
        call.output.complain(finding::error(checked, &path, call.surroundings.zone))?;
    }
    if args.verbose && !checked.is_missing() {
        call.output.complain(format!("{path}\n"))?;
    }
    Ok(())
}

/// The long listing.
fn list(call: &mut Invocation, args: &Args, root: &Root, scope: &Scope) -> anyhow::Result<Exit> {
    let (lines, unknown) = recorded(root, scope)?;
    if args.extensions.json {
        let objects = lines.values().map(|line| Recorded {
            path: root.show(&line.path),
            r#type: object::type_name(line.object.ftype),
            packages: line.owners.iter().map(|owner| owner.package.to_string()).collect(),
        });
        let body = List { objects: objects.collect() };
        call.output.print(json::document("pkgchk", Some(root), Exit::OK, body)?)?;
        return Ok(Exit::OK);
    }
    warn(call, &unknown, true)?;
    for line in lines.values() {
        call.output.print(object::long(line, &root.show(&line.path), call.surroundings.zone))?;
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

fn unfinished(error: CheckError) -> anyhow::Error {
    match error {
        CheckError::Unfinished(_) => {
            Stop::Refused { exit: Exit::UNFINISHED, message: error.to_string() }.into()
        }
        CheckError::Database(error) => error.into(),
    }
}

impl Args {
    fn refuse_unsupported(&self) -> Result<(), Stop> {
        let options = [
            ("-f", self.fix),
            ("-x", self.exclusive),
            ("-m", self.map.is_some()),
            ("-e", self.environment.is_some()),
            ("-d", self.device.is_some()),
            ("-Y", self.category.is_some()),
        ];
        refuse_unsupported(options, USAGE)
    }

    /// -a and -c leave the other aspect out; both together leave nothing out.
    fn aspects(&self) -> Aspects {
        Aspects {
            attributes: self.attributes || !self.contents,
            contents: self.contents || !self.attributes,
            changing_contents: !self.no_volatile,
        }
    }

    fn scope(&self) -> anyhow::Result<Scope> {
        let packages = self.packages.iter().map(|word| Pattern::parse(word)).collect();
        let mut paths = Vec::new();
        for word in words(&self.path) {
            paths.push(PathPattern::parse(word.as_bytes())?);
        }
        paths.extend(words(&self.partial).map(|word| PathPattern::Part(word.as_bytes().to_vec())));
        if let Some(file) = &self.input {
            let text = read_list(file)?;
            for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
                if !line.is_empty() {
                    paths.push(PathPattern::parse(line)?);
                }
            }
        }
        let is_empty_list =
            paths.is_empty() && (self.input.is_some() || !self.path.is_empty() || !self.partial.is_empty());
        if is_empty_list {
            anyhow::bail!("the list of paths is empty");
        }
        Ok(Scope { packages, paths })
    }
}

/// The words of lists that are separated by commas or blanks.
fn words(lists: &[String]) -> impl Iterator<Item = &str> {
    lists.iter().flat_map(|list| list.split([',', ' ', '\t', '\n'])).filter(|word| !word.is_empty())
}

fn read_list(file: &Path) -> anyhow::Result<Vec<u8>> {
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).with_context(|| format!("cannot read {}", file.display()))?)
    };
    let mut text = Vec::new();
    let length = source
        .take(LONGEST_LIST + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("cannot read {}", file.display()))?;
    anyhow::ensure!(length as u64 <= LONGEST_LIST, "{} is longer than {LONGEST_LIST} bytes", file.display());
    Ok(text)
}

#[derive(Serialize)]
struct Body {
    checked: usize,
    discrepancies: Vec<Discrepancy>,
    unknown_packages: Vec<String>,
}

#[derive(Serialize)]
struct Discrepancy {
    path: String,
    errors: Vec<String>,
}

impl Discrepancy {
    fn of(checked: &Checked, root: &Root, zone: super::surroundings::Zone) -> Self {
        let errors = checked.findings.iter().map(|finding| finding::detail(finding, zone)).collect();
        Self { path: root.show(&checked.path), errors }
    }
}

#[derive(Serialize)]
struct List {
    objects: Vec<Recorded>,
}

#[derive(Serialize)]
struct Recorded {
    path: String,
    r#type: &'static str,
    packages: Vec<String>,
}
