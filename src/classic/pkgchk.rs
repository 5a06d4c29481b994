//! pkgchk(1M): checks objects against the package database, a pkgmap, or packages on a device.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Serialize, Serializer};

use crate::as_owner::options::OwnerOptions;
use patchadm_cli::arguments::{Extensions, RootOption, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::advice::mending;
use patchadm_cli::reply::cause_of::of_database;
use patchadm_cli::reply::text::{finding, object};
use patchadm_cli::reply::words::{print_recovery, recovery_sentence};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop, failure};
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_core::operation::mend::MendedRecord;
use patchadm_core::operation::object_check::device::{
    DeviceObject, DevicePackage, DeviceReport, check_device,
};
use patchadm_core::operation::object_check::{
    CheckScope, CheckedAspects, CheckedObject, MapFiles, ObjectCheckError, ObjectCheckReport,
    ObjectCheckRequest, ObjectFinding, PathPattern, UnmatchedOperands, check_and_fix, check_objects,
    recorded,
};
use patchadm_core::operation::queries::select::PackagePattern;
use patchadm_inputs::database::{DatabaseError, RecordRepair, ViewError};
use patchadm_inputs::input_file::InputFile;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ContentsLine;

const USAGE: &str = "\
pkgchk [-l|-acfnqvx] [-i file] [-p path,...|-P partial-path,...] [-R root] [-m pkgmap [-e envfile]] \
[-Y category,...|pkginst...]
pkgchk -d device [-l|-fv] [-i file] [-p path,...|-P partial-path,...] [-Y category,...|pkginst...]";

/// Check installed objects against their records
#[derive(clap::Parser)]
#[allow(clippy::struct_excessive_bools)] // one for each letter of the command line
struct PkgchkArgs {
    /// Print the record of each object instead of checking it
    #[arg(short, conflicts_with_all = ["attributes", "contents", "fix", "no_volatile", "quiet", "verbose", "exclusive"])]
    long: bool,
    /// Check attributes only
    #[arg(short)]
    attributes: bool,
    /// Check contents only
    #[arg(short)]
    contents: bool,
    /// Repair attributes, modification times, and links, but not contents
    #[arg(short)]
    fix: bool,
    /// Do not check the contents of volatile and editable files
    #[arg(short)]
    no_volatile: bool,
    /// Do not report missing objects
    #[arg(short)]
    quiet: bool,
    /// Print every object on standard error
    #[arg(short)]
    verbose: bool,
    /// Also report unowned objects in exclusive directories; with -f, remove them
    #[arg(short = 'x')]
    exclusive: bool,
    /// Print what is recorded as the lines of the database
    #[arg(short = 'L', hide = true, conflicts_with_all = ["long", "device"])]
    lines: bool,
    /// Check only the paths in FILE, one per line; - for standard input
    #[arg(short, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Check only these paths, separated by commas; a trailing * matches any suffix
    #[arg(short, value_name = "PATH,...")]
    path: Vec<String>,
    /// Check only paths that contain one of these
    #[arg(short = 'P', value_name = "PARTIAL,...", conflicts_with = "path")]
    partial: Vec<String>,
    /// Check against this pkgmap instead of the database
    #[arg(short, value_name = "PKGMAP", conflicts_with_all = ["device", "category"])]
    map: Option<PathBuf>,
    /// Read the variables of the pkgmap from FILE
    #[arg(short, value_name = "ENVFILE", requires = "map")]
    environment: Option<PathBuf>,
    /// Check the packages in this directory, datastream or archive
    #[arg(short, value_name = "DEVICE", conflicts_with_all = ["attributes", "contents", "no_volatile", "quiet", "exclusive"])]
    device: Option<PathBuf>,
    /// Check only packages of these categories, separated by commas
    #[arg(short = 'Y', value_name = "CATEGORY", value_delimiter = ',', conflicts_with = "packages")]
    category: Vec<String>,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    /// Packages: an instance, `PKG.*` for all instances of PKG, or `all`
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    _extensions: Extensions,
}

impl PkgchkArgs {
    /// -a and -c leave out the other aspect; both together leave out nothing.
    fn aspects(&self) -> CheckedAspects {
        CheckedAspects {
            attributes: self.attributes || !self.contents,
            sizes: false,
            contents: self.contents || !self.attributes,
            changing_contents: !self.no_volatile,
            edits: false,
            exclusive: self.exclusive,
        }
    }

    fn request(&self, scope: CheckScope, workers: usize) -> anyhow::Result<ObjectCheckRequest> {
        if self.map.is_some()
            && (scope.packages.len() > 1 || scope.packages.first() == Some(&PackagePattern::All))
        {
            let message = "a pkgmap describes one package".to_owned();
            return Err(Stop::Usage { message, usage: USAGE }.into());
        }
        let map = self.map.clone().map(|pkgmap| MapFiles { pkgmap, environment: self.environment.clone() });
        Ok(ObjectCheckRequest { scope, aspects: self.aspects(), map, workers })
    }

    fn scope(&self) -> anyhow::Result<CheckScope> {
        let packages = self.packages.iter().map(|word| PackagePattern::parse(word)).collect();
        let categories = self.category.iter().map(|category| category.trim().to_owned()).collect();
        let mut paths = Vec::new();
        for word in listed_words(&self.path) {
            paths.push(PathPattern::parse(word.as_bytes())?);
        }
        paths.extend(listed_words(&self.partial).map(|word| PathPattern::Part(word.as_bytes().to_vec())));
        if let Some(file) = &self.input {
            for line in listed_lines(&read_list(file)?) {
                paths.push(PathPattern::parse(line)?);
            }
        }
        let has_list = self.input.is_some() || !self.path.is_empty() || !self.partial.is_empty();
        anyhow::ensure!(!paths.is_empty() || !has_list, "the list of paths is empty");
        Ok(CheckScope { packages, categories, paths })
    }
}

const DAMAGED: Exit = Exit::new(DATABASE, ExitCause::DamagedRecord);

/// An unusable package database.
const DATABASE: u8 = 99;

/// Exit 0 if everything is as recorded, 1 if not, 64 if a repair finds the root locked, 65 during an unfinished change,
/// 99 for an unusable database.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkgchkArgs = parse(call, USAGE)?;
    let zone = call.surroundings.zone;
    let scope = args.scope()?;
    if let Some(device) = &args.device {
        return examine_device(&args, device, scope, zone);
    }
    let root = if args.fix {
        args.owner.open::<PkgchkArgs>(call, &args.root, Command::Pkgadd)?
    } else {
        args.root.open(call)?
    };
    let request = args.request(scope, call.surroundings.processors)?;
    if request.map.is_none() || args.fix {
        failure::must_have_records(&root, DATABASE)?;
    }
    if args.long || args.lines {
        return list(call, &args, &root, &request);
    }
    let report = if args.fix {
        call.output.heedless();
        call.change(&root, "pkgchk", None, |caller| check_and_fix(&root, &request, caller))?
    } else {
        check_objects(call.surroundings.reader(&root), &Root::open(Path::new("/"))?, &request)
    };
    let report = report.map_err(refused)?;
    let is_clean = report.checked.iter().all(|checked| checked.findings.is_empty());
    let exit = match (is_clean, report.damage.is_empty()) {
        (false, _) => Exit::failed(ExitCause::Edited),
        (true, false) => Exit::failed(ExitCause::DamagedRecord),
        (true, true) => Exit::OK,
    };
    let exit = exit_of_repair(&report.mended).unwrap_or(exit);
    Ok(Reply::about(&root.clone(), exit, CheckReply { report, root, zone, args }))
}

struct CheckReply {
    report: ObjectCheckReport,
    root: Root,
    zone: Zone,
    args: PkgchkArgs,
}

impl CommandReport for CheckReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let found = &self.report.recovered;
        print_recovery(output, recovery_sentence(found).as_deref(), found.notes())?;
        self.report.mended.iter().try_for_each(|mended| print_mended(output, mended))?;
        for damage in &self.report.damage {
            output.error(&format!("{damage}\n{}", mending(damage)))?;
        }
        print_unknown(output, &self.report.unknown, self.args.quiet)?;
        self.report.checked.iter().try_for_each(|checked| self.print_object(output, checked))
    }
}

impl CheckReply {
    /// Prints an object with its errors; `-v` names every existing object.
    fn print_object(&self, output: &mut Output, checked: &CheckedObject) -> anyhow::Result<()> {
        let Self { root, zone, args, .. } = self;
        if checked.findings.is_empty() && !args.verbose {
            return Ok(());
        }
        let path = root.show(&checked.path);
        if !(args.quiet && checked.is_missing()) {
            output.complain(finding::error(&checked.findings, &path, *zone))?;
        }
        if args.verbose && !checked.is_missing() {
            output.complain(format!("{path}\n"))?;
        }
        Ok(())
    }
}

impl Serialize for CheckReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CheckDocument::of(&self.report, &self.root, self.zone, self.args.fix).serialize(serializer)
    }
}

/// Makes the long listing, or finds lines of the database.
fn list(
    call: &Invocation,
    args: &PkgchkArgs,
    root: &Root,
    request: &ObjectCheckRequest,
) -> anyhow::Result<Reply> {
    let (lines, unknown) = recorded(call.surroundings.reader(root), request).map_err(refused)?;
    let zone = call.surroundings.zone;
    let reply = ListReply { lines, unknown, root: root.clone(), zone, as_lines: args.lines };
    Ok(Reply::about(root, Exit::OK, reply))
}

struct ListReply {
    lines: Vec<ContentsLine>,
    unknown: UnmatchedOperands,
    root: Root,
    zone: Zone,
    /// Print lines of the database as they are.
    as_lines: bool,
}

impl CommandReport for ListReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        print_unknown(output, &self.unknown, true)?;
        for line in &self.lines {
            if self.as_lines {
                output.line(line.write())?;
            } else {
                output.print(object::long(line, &self.root.show(&line.path), self.zone))?;
            }
        }
        Ok(())
    }
}

impl Serialize for ListReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ListDocument::of(&self.lines, &self.root).serialize(serializer)
    }
}

fn print_mended(output: &mut Output, mended: &MendedRecord) -> anyhow::Result<()> {
    let MendedRecord { damage, is_made, said, .. } = mended;
    if !is_made {
        let lines: Vec<String> = said.iter().map(|line| format!("\n{line}")).collect();
        let lines = lines.concat();
        return Ok(output.error(&format!("{damage}\nnothing was changed{lines}"))?);
    }
    let outcome = match damage.repair {
        RecordRepair::Owner { .. } => "it is removed from the file",
        _ => "it is rebuilt",
    };
    output.line(format!("{damage}: {outcome}"))?;
    said.iter().try_for_each(|line| Ok(output.line(format!("  {line}"))?))
}

/// 0 if all records are whole again, 1 if something was lost, 99 if a repair was not made.
fn exit_of_repair(mended: &[MendedRecord]) -> Option<Exit> {
    let worst = |mended: &MendedRecord| match (mended.is_made, mended.is_whole) {
        (false, _) => DAMAGED,
        (true, false) => Exit::failed(ExitCause::DamagedRecord),
        (true, true) => Exit::OK,
    };
    mended.iter().map(worst).max_by_key(|exit| exit.code())
}

/// Prints unknown operands, which do not change the exit code.
fn print_unknown(output: &mut Output, unknown: &UnmatchedOperands, no_paths: bool) -> anyhow::Result<()> {
    for word in &unknown.packages {
        output.complain(format!("WARNING: no pathnames were associated with <{word}>\n"))?;
    }
    for word in &unknown.empty {
        output.complain(format!("WARNING: Package <{word}> is installed but empty\n"))?;
    }
    for path in unknown.paths.iter().filter(|_| !no_paths) {
        output.complain(format!("WARNING: no information associated with pathname <{path}>\n"))?;
    }
    Ok(())
}

/// The code of a check that was not made.
fn refused(error: ObjectCheckError) -> anyhow::Error {
    let exit = match &error {
        ObjectCheckError::Unfinished(_) => Exit::UNFINISHED,
        ObjectCheckError::Operation(failed) => {
            let message = match failed.damage() {
                Some(damage) => format!("{failed}\n{}", mending(damage)),
                None => format!("{failed}\n{}", failure::state(failed)),
            };
            let (exit, result) = (failure::code(Command::Pkgadd, failed), ResultWord::of_failure(failed));
            return Stop::Ran { exit, result, message }.into();
        }
        ObjectCheckError::Damaged(found) => {
            let lines = found.iter().map(|damage| format!("{damage}\n{}", mending(damage)));
            let message = lines.collect::<Vec<_>>().join("\n");
            return Stop::Refused { exit: DAMAGED, message }.into();
        }
        ObjectCheckError::Database(DatabaseError::View(
            ViewError::Journal { .. } | ViewError::Lost { .. } | ViewError::Busy(_),
        ))
        | ObjectCheckError::Parameters(_) => return error.into(),
        ObjectCheckError::Database(error) => Exit::new(DATABASE, of_database(error)),
        ObjectCheckError::Map { .. } => Exit::failed(ExitCause::DamagedInput),
        ObjectCheckError::NoCategory(_) => Exit::failed(ExitCause::NotFound),
    };
    Stop::Refused { exit, message: error.to_string() }.into()
}

/// Longest list of paths, in bytes.
const LONGEST: u64 = 256 << 20;

/// Splits lists at commas and blanks.
fn listed_words(lists: &[String]) -> impl Iterator<Item = &str> {
    lists.iter().flat_map(|list| list.split([',', ' ', '\t', '\n'])).filter(|word| !word.is_empty())
}

/// Trims lines and skips blank ones.
fn listed_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

/// `-` is standard input.
fn read_list(file: &Path) -> anyhow::Result<Vec<u8>> {
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(InputFile::open(file).with_context(|| format!("cannot read {}", file.display()))?)
    };
    let mut text = Vec::new();
    let length = source
        .take(LONGEST + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("cannot read {}", file.display()))?;
    anyhow::ensure!(length as u64 <= LONGEST, "{} is longer than {LONGEST} bytes", file.display());
    Ok(text)
}

struct DeviceReply {
    report: DeviceReport,
    device: PathBuf,
    categories: Vec<String>,
    zone: Zone,
    /// List objects instead of checking them.
    long: bool,
    verbose: bool,
}

/// Checks or lists packages that are not installed. Exit 0 if every object agrees with its pkgmap, 1 if not or if there is no
/// such package. A device is never changed, so `-f` has no effect.
fn examine_device(args: &PkgchkArgs, device: &Path, scope: CheckScope, zone: Zone) -> anyhow::Result<Reply> {
    let aspects = (!args.long).then(|| args.aspects());
    let report = check_device(device, &scope, aspects).map_err(|failed| Stop::Refused {
        exit: failure::code(Command::Pkgadd, &failed),
        message: failed.to_string(),
    })?;
    let mut objects = report.packages.iter().flat_map(|package| &package.objects);
    let exit = if !report.missing.is_empty() || report.packages.is_empty() {
        Exit::failed(ExitCause::NotFound)
    } else if objects.all(|object| object.findings.is_empty()) {
        Exit::OK
    } else {
        Exit::failed(ExitCause::DamagedInput)
    };
    let (device, categories) = (device.to_owned(), scope.categories);
    let reply = DeviceReply { report, device, categories, zone, long: args.long, verbose: args.verbose };
    Ok(Reply::new(exit, reply))
}

impl Serialize for DeviceReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let DeviceReport { packages, missing, .. } = &self.report;
        if self.long {
            ListDocument::of_device(packages).serialize(serializer)
        } else {
            CheckDocument::of_device(packages, missing, self.zone).serialize(serializer)
        }
    }
}

impl CommandReport for DeviceReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let DeviceReport { packages, missing, .. } = &self.report;
        for word in missing {
            output.error(&format!("no package associated with <{word}>"))?;
        }
        if packages.is_empty() && missing.is_empty() {
            output.error(&format!("no package of category <{}> is on it", self.categories.join(",")))?;
        }
        for package in packages {
            if self.long {
                self.print_listing(output, package)?;
            } else {
                self.print_check(output, package)?;
            }
        }
        Ok(())
    }
}

impl DeviceReply {
    fn print_listing(&self, output: &mut Output, package: &DevicePackage) -> anyhow::Result<()> {
        for one in &package.objects {
            output.print(object::spooled(&one.object, &one.path.to_string(), &package.package, self.zone))?;
        }
        Ok(())
    }

    fn print_check(&self, output: &mut Output, package: &DevicePackage) -> anyhow::Result<()> {
        let form = if package.is_stream { "stream" } else { "directory" };
        let (name, from) = (&package.package, self.device.display());
        output.line(format!("Checking uninstalled {form} format package <{name}> from <{from}>"))?;
        output.line("## Checking control scripts.")?;
        output.line("## Checking package objects.")?;
        for one in &package.objects {
            let path = one.path.to_string();
            output.complain(finding::error(&one.findings, &path, self.zone))?;
            if self.verbose {
                output.complain(format!("{path}\n"))?;
            }
        }
        Ok(output.line("## Checking is complete.")?)
    }
}

#[derive(Serialize)]
struct CheckDocument {
    /// The word for a repair; `None` if nothing is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultWord>,
    checked: usize,
    discrepancies: Vec<CheckDiscrepancy>,
    unknown_packages: Vec<String>,
    /// Damaged records and their outcomes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<RepairedRecord>,
}

#[derive(Serialize)]
struct RepairedRecord {
    path: String,
    line: Option<u64>,
    reason: String,
    repaired: bool,
    complete: bool,
    notes: Vec<String>,
}

impl RepairedRecord {
    fn of(mended: &MendedRecord) -> Self {
        let MendedRecord { damage, is_made, is_whole, said } = mended;
        Self {
            path: damage.file.clone(),
            line: damage.line,
            reason: damage.reason.clone(),
            repaired: *is_made,
            complete: *is_whole,
            notes: said.clone(),
        }
    }
}

#[derive(Serialize)]
struct CheckDiscrepancy {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    errors: Vec<String>,
}

#[derive(Serialize)]
struct ListDocument {
    objects: Vec<RecordedObject>,
}

#[derive(Serialize)]
struct RecordedObject {
    path: String,
    r#type: &'static str,
    packages: Vec<String>,
}

impl CheckDocument {
    fn of(report: &ObjectCheckReport, root: &Root, zone: Zone, fixes: bool) -> Self {
        let wrong = report.checked.iter().filter(|checked| !checked.findings.is_empty());
        let discrepancies = wrong.map(|checked| CheckDiscrepancy {
            path: root.show(&checked.path),
            package: None,
            errors: finding_details(&checked.findings, zone),
        });
        let is_right = report.checked.iter().all(|checked| checked.findings.is_empty());
        let are_made = report.mended.iter().all(|mended| mended.is_made);
        let repaired = match (is_right && are_made, report.fixed + report.mended.len()) {
            (false, _) => ResultWord::Failed,
            (true, 0) => ResultWord::NothingToDo,
            (true, _) => ResultWord::Done,
        };
        Self {
            result: fixes.then_some(repaired),
            checked: report.checked.len(),
            discrepancies: discrepancies.collect(),
            unknown_packages: report.unknown.packages.clone(),
            records: report.mended.iter().map(RepairedRecord::of).collect(),
        }
    }

    /// Paths are as in the pkgmap.
    fn of_device(packages: &[DevicePackage], missing: &[String], zone: Zone) -> Self {
        let objects = || packages.iter().flat_map(|one| one.objects.iter().map(move |object| (one, object)));
        let wrong = objects().filter(|(_, object)| !object.findings.is_empty());
        let discrepancies = wrong.map(|(one, object)| CheckDiscrepancy {
            path: object.path.to_string(),
            package: Some(one.package.clone()),
            errors: finding_details(&object.findings, zone),
        });
        Self {
            result: None,
            checked: objects().count(),
            discrepancies: discrepancies.collect(),
            unknown_packages: missing.to_vec(),
            records: Vec::new(),
        }
    }
}

impl ListDocument {
    fn of(lines: &[ContentsLine], root: &Root) -> Self {
        let objects = lines.iter().map(|line| RecordedObject {
            path: root.show(&line.path),
            r#type: object::type_name(line.object.ftype),
            packages: line.owners.iter().map(|owner| owner.package.to_string()).collect(),
        });
        Self { objects: objects.collect() }
    }

    fn of_device(packages: &[DevicePackage]) -> Self {
        let recorded = |package: &str, object: &DeviceObject| RecordedObject {
            path: object.path.to_string(),
            r#type: object::type_name(object.object.ftype),
            packages: vec![package.to_owned()],
        };
        let objects = packages
            .iter()
            .flat_map(|one| one.objects.iter().map(move |object| recorded(&one.package, object)));
        Self { objects: objects.collect() }
    }
}

fn finding_details(findings: &[ObjectFinding], zone: Zone) -> Vec<String> {
    findings.iter().map(|finding| finding::detail(finding, zone)).collect()
}
