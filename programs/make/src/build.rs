//! `patchadm-make build`: makes a patch of two releases.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use patchadm_cli::arguments::verbs::{DryRunOption, RootlessOptions};
use patchadm_cli::arguments::{one_of, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::hinted;
use patchadm_cli::reply::json::milliseconds_since;
use patchadm_cli::reply::words::human;
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_inputs::sign::sha256_text;
use patchadm_making::build::{
    BuildError, BuildFinding, BuildRequest, ChangeCounts, OtherPatch, PatchDestination, PatchDraft,
    PatchForm, PreviousError, PreviousPatch, ReleaseSide, SparsePackage, UnpairedPackage, WriteWatch,
    WrittenPatch, draft_patch, write_patch,
};
use patchadm_making::release::has_records;
use patchadm_producing::ends::{of_build, of_previous};
use patchadm_producing::patch_options::{PatchOptions, wrong};
use patchadm_svr4::patch::PatchId;
use serde::Serialize;

use crate::releases::{left_out_scripts, read_release};

const NO_PATCH_MADE: &str = "no patch was made";

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: BuildArgs = parse(call, USAGE)?;
    let request = args.request(call.surroundings.now.timestamp())?;
    let destination = args.destination()?;
    if !args.dry_run.dry_run && !args.force && destination.path.symlink_metadata().is_ok() {
        return Err(refused(&BuildError::Exists(destination.path)));
    }
    let cores = call.surroundings.processors;
    let busy = call.busy("building");
    let read = |operand: &OsString| read_release(operand, cores, busy.meter(), NO_PATCH_MADE);
    let (from, to) = (read(&args.from)?, read(&args.to)?);
    let previous = args.previous.as_deref().map(PreviousPatch::read).transpose();
    let previous = previous.map_err(|error| refused_patch(&error))?;
    let mut others = Vec::new();
    for operand in &args.patch.against {
        others.extend(OtherPatch::open_all(operand).map_err(|error| refused_patch(&error))?);
    }
    let draft = draft_patch(&from, &to, previous.as_ref(), &others, &request);
    let draft = draft.map_err(|error| refused(&error))?;
    let written = if args.dry_run.dry_run {
        None
    } else {
        let written = with_signals(|interrupt| {
            let watch = WriteWatch { interrupt: &|| interrupt(), meter: busy.meter() };
            write_patch(&draft, &destination, watch)
        })?;
        Some(written.map_err(|error| refused(&error))?)
    };
    let mut report = BuildReport::of(&draft, &destination, written.as_ref(), call.surroundings.began);
    let roots = [&args.from, &args.to].into_iter().filter(|release| has_records(release));
    let is_first = request.id.revision().trim_start_matches('0') == "1";
    report.useless = request.choices.useless([&from, &to]);
    report.is_without_previous = previous.is_none() && !is_first;
    report.roots = roots.map(|release| release.to_string_lossy().into_owned()).collect();
    Ok(Reply::new(Exit::OK, report))
}

fn refused_patch(error: &PreviousError) -> anyhow::Error {
    stop(of_previous(error), error)
}

fn refused(error: &BuildError) -> anyhow::Error {
    stop(of_build(error), error)
}

fn stop((exit, next): (Exit, &'static str), reason: &dyn std::fmt::Display) -> anyhow::Error {
    Stop::Refused { exit, message: hinted(&format!("{NO_PATCH_MADE}: {reason}"), next) }.into()
}

pub(super) const USAGE: &str = "patchadm-make build [option...] --id id --from release --to release -o out";

const FORMS: [(&str, PatchForm); 5] = [
    ("dir", PatchForm::Directory),
    ("zip", PatchForm::Zip),
    ("tar", PatchForm::Tar),
    ("tar.gz", PatchForm::TarGz),
    ("datastream", PatchForm::Datastream),
];

/// Make a patch from an old and a new release
#[derive(clap::Parser)]
pub(super) struct BuildArgs {
    /// Set the id of the patch
    #[arg(long, value_name = "ID")]
    id: String,
    /// Read the old release from a tree, package, archive, or directory of packages
    #[arg(long, value_name = "RELEASE")]
    pub(super) from: OsString,
    /// Read the complete new release; the patch deletes files that only the old one has
    #[arg(long, value_name = "RELEASE")]
    pub(super) to: OsString,
    /// Write the patch to OUT
    #[arg(short = 'o', long = "output", value_name = "OUT")]
    out: PathBuf,
    /// Set the format: dir, zip, tar, tar.gz, or datastream [default: from the name of OUT]
    #[arg(long, value_name = "FORM", value_parser = one_of(&FORMS), hide_possible_values = true)]
    format: Option<PatchForm>,
    /// Replace an existing patch
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) dry_run: DryRunOption,
    /// Set the name of the package [default: from the input]
    #[arg(long, value_name = "PKG")]
    pkg: Option<String>,
    /// Include this earlier revision
    #[arg(long, value_name = "PATCH")]
    previous: Option<PathBuf>,
    #[command(flatten)]
    pub(super) patch: PatchOptions,
    #[command(flatten)]
    _common: RootlessOptions,
}

impl BuildArgs {
    /// Returns the requested form, else that of the ending, else a directory. Refuses a form that contradicts the name,
    /// and the name of another archive, because readers go by the name.
    fn destination(&self) -> Result<PatchDestination, Stop> {
        let named = PatchForm::of_name(&self.out);
        if let Some(ending) =
            PatchForm::other_archive(&self.out).filter(|_| self.format != Some(PatchForm::Directory))
        {
            let (out, endings) = (self.out.display(), PatchForm::endings().collect::<Vec<_>>().join(", "));
            let message = format!(
                "{out} ends like an archive, but patches cannot be written as {ending}\n\
                 Use a name that ends with one of {endings}, or the name of a directory."
            );
            return Err(wrong(&message, USAGE));
        }
        match (self.format, named) {
            (Some(requested), Some(named)) if requested != named => {
                let (out, requested, named) = (self.out.display(), requested.word(), named.word());
                Err(wrong(
                    &format!("{out} has the ending of the format {named}, but --format is {requested}"),
                    USAGE,
                ))
            }
            (requested, named) => {
                let form = requested.or(named).unwrap_or_default();
                Ok(PatchDestination { path: self.out.clone(), form, replaces: self.force })
            }
        }
    }

    pub(super) fn request(&self, now: i64) -> Result<BuildRequest, Stop> {
        let id = PatchId::new(&self.id).map_err(|error| wrong(&error, USAGE))?;
        let mut request = self.patch.request(id, now, USAGE)?;
        request.naming.pkg.clone_from(&self.pkg);
        Ok(request)
    }
}

/// Files differ from the replaced ones in their bytes alone.
const SAME_TIME: &str = "same-time";

/// Most objects of the old release are deleted.
const DELETIONS: &str = "deletions";

/// Files that patchadm put beside locally modified ones.
const SIDE_FILES: &str = "side-files";

#[derive(Debug, Serialize)]
pub(super) struct BuildReport {
    result: ResultWord,
    duration_ms: u64,
    patches: Vec<BuiltPatch>,
    unpaired: Vec<UnpairedPackage>,
    scripts_left_out: Vec<String>,
    findings: Vec<LintFindingEntry>,
    /// Releases that are roots; their records are left out.
    #[serde(skip)]
    roots: Vec<String>,
    /// Options whose patterns match nothing.
    #[serde(skip)]
    useless: Vec<String>,
    /// A later revision that contains no earlier one.
    #[serde(skip)]
    is_without_previous: bool,
}

#[derive(Debug, Serialize)]
struct BuiltPatch {
    id: String,
    path: String,
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    packages: Vec<BuiltPackage>,
    requires: Vec<String>,
    obsoletes: Vec<String>,
    incompat: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BuiltPackage {
    pkg: String,
    arch: String,
    version: String,
    added: usize,
    replaced: usize,
    deleted: usize,
    attributes: usize,
}

#[derive(Debug, Serialize)]
struct LintFindingEntry {
    code: &'static str,
    text: String,
}

impl BuildReport {
    pub(super) fn of(
        draft: &PatchDraft<'_>,
        to: &PatchDestination,
        written: Option<&WrittenPatch>,
        began: Instant,
    ) -> Self {
        let patch = BuiltPatch {
            id: draft.id.to_string(),
            path: to.path.display().to_string(),
            format: to.form.word(),
            bytes: written.map(|written| written.bytes),
            sha256: written.map(|written| sha256_text(&written.sha256)),
            manifest: written.map(|written| written.manifest.display().to_string()),
            packages: draft.packages.iter().map(|drafted| BuiltPackage::of(&drafted.sparse)).collect(),
            requires: draft.lists.requires.iter().map(ToString::to_string).collect(),
            obsoletes: draft.lists.obsoletes.iter().map(ToString::to_string).collect(),
            incompat: draft.lists.incompatibles.iter().map(ToString::to_string).collect(),
        };
        Self {
            result: if written.is_some() { ResultWord::Done } else { ResultWord::Planned },
            duration_ms: milliseconds_since(began),
            patches: vec![patch],
            unpaired: draft.unpaired.clone(),
            scripts_left_out: draft.scripts_left_out.clone(),
            findings: draft.findings.iter().map(LintFindingEntry::of).collect(),
            roots: Vec::new(),
            useless: Vec::new(),
            is_without_previous: false,
        }
    }
}

impl BuiltPackage {
    fn of(sparse: &SparsePackage) -> Self {
        let ChangeCounts { added, replaced, deleted, attributes } = sparse.counts();
        let (pkg, arch, version) = (sparse.pkg.to_string(), sparse.arch.clone(), sparse.version.clone());
        Self { pkg, arch, version, added, replaced, deleted, attributes }
    }
}

impl LintFindingEntry {
    fn of(finding: &BuildFinding) -> Self {
        match finding {
            BuildFinding::Abi(finding) => Self { code: finding.code(), text: finding.to_string() },
            BuildFinding::SameTime(finding) => Self { code: SAME_TIME, text: finding.to_string() },
            BuildFinding::ManyDeletions(finding) => Self { code: DELETIONS, text: finding.to_string() },
            BuildFinding::SideFiles(finding) => Self { code: SIDE_FILES, text: finding.to_string() },
        }
    }
}

impl CommandReport for BuildReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for patch in &self.patches {
            let size = patch.bytes.map(|bytes| format!(", {}", human(bytes))).unwrap_or_default();
            let would = if patch.bytes.is_some() { "" } else { "would be " };
            output.line(format!("{}: {would}{} ({}{size})", patch.id, patch.path, patch.format))?;
            for BuiltPackage { pkg, arch, version, added, replaced, deleted, attributes } in &patch.packages {
                output.line(format!(
                    "  {pkg} {version} {arch}: {added} added, {replaced} replaced, {deleted} deleted, {attributes} with changed attributes"
                ))?;
            }
            for (what, ids) in [
                ("requires", &patch.requires),
                ("obsoletes", &patch.obsoletes),
                ("incompatible with", &patch.incompat),
            ] {
                if !ids.is_empty() {
                    output.line(format!("  {what} {}", ids.join(" ")))?;
                }
            }
        }
        for finding in self.findings.iter().filter(|finding| finding.code == SAME_TIME) {
            output.line(format!("  note: {}", finding.text))?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        for UnpairedPackage { name, arch, side } in &self.unpaired {
            let release = if *side == ReleaseSide::From { "old" } else { "new" };
            output.note(&format!("only the {release} release has {name} {arch}; it is left out"))?;
        }
        if let Some(counts) = left_out_scripts(&self.scripts_left_out) {
            output.note(&counts)?;
        }
        for root in &self.roots {
            output
                .note(&format!("{root} is a root of patchadm: its var/sadm and etc/patchadm are left out"))?;
        }
        for option in &self.useless {
            output.note(&format!("no path matches {option}"))?;
        }
        if self.is_without_previous {
            for patch in &self.patches {
                output.note(&format!(
                    "{} replaces its earlier revisions, but contains none; build it from their old release, with `--previous`",
                    patch.id
                ))?;
            }
        }
        for finding in &self.findings {
            match finding.code {
                SAME_TIME => {}
                DELETIONS | SIDE_FILES => output.warning(&finding.text)?,
                _ => output.note(&finding.text)?,
            }
        }
        Ok(())
    }
}
