//! `patchadm files`: the objects that an applied patch delivered, deleted or changed.

use serde::Serialize;

use super::applied_id::not_applied;
use super::options::VerbOptions;
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::object_state::{state_words, told_differences};
use patchadm_cli::reply::overtaken::OvertakenEntry;
use patchadm_cli::reply::words::print_notes;
use patchadm_cli::reply::{CommandReport, Exit, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::now;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::patch_objects::{
    ObjectAction, PatchedObject, PatchedPackage, patch_files,
};
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm [-R root] files [option...] id";

/// Show the objects that an applied patch delivered, deleted or changed
#[derive(clap::Parser)]
struct FilesArgs {
    #[command(flatten)]
    common: VerbOptions,
    /// The id of an applied patch
    #[arg(value_name = "ID")]
    id: Option<String>,
}

/// The objects of a patch.
#[derive(Debug, Serialize)]
struct FilesReport {
    id: String,
    packages: Vec<PackageFiles>,
    /// What became of it because dpkg or rpm changed its package.
    #[serde(skip_serializing_if = "Option::is_none")]
    overtaken: Option<OvertakenEntry>,
    #[serde(skip)]
    is_verbose: bool,
    #[serde(skip)]
    wording: Wording,
    /// The paths at which its fix is lost.
    #[serde(skip)]
    lost: Vec<String>,
}

/// The objects of a patch in a package.
#[derive(Debug, Serialize)]
struct PackageFiles {
    package: String,
    objects: Vec<PatchFile>,
    known: bool,
}

/// An object of a patch.
#[derive(Debug, Serialize)]
struct PatchFile {
    path: String,
    action: Option<&'static str>,
    was: Option<RecordedState>,
    became: Option<RecordedState>,
    #[serde(skip)]
    shown: String,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let FilesArgs { common, id } = parse(call, USAGE)?;
    let Some(id) = id else {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage: USAGE }.into());
    };
    let root = common.root.open(call)?;
    let found = patch_files(&root, &id).map_err(|failed| query_refused(&root, &failed))?;
    let overview = NativeOverview::as_far_as_known(&root, &now(&call.surroundings), true);
    let overtaken = overview.of_patch(&id).map(OvertakenEntry::of);
    if found.is_none() && overtaken.is_none() {
        return Err(not_applied(&root, &id).into());
    }
    let packages = found.into_iter().flatten().map(|package| PackageFiles::of(&root, package)).collect();
    let (is_verbose, wording) = (call.output.is_verbose(), Wording::of_verbs(root.prefix()));
    let lost = overtaken.as_ref().map(|overtaken| overtaken.shown_paths(&root)).unwrap_or_default();
    let report = FilesReport { id, packages, overtaken, is_verbose, wording, lost };
    Ok(Reply::about(&root, Exit::OK, report))
}

impl PackageFiles {
    fn of(root: &Root, package: PatchedPackage) -> Self {
        let PatchedPackage { package, objects, known } = package;
        let file = |object: PatchedObject| PatchFile {
            shown: root.show(&object.path),
            path: object.path.to_string(),
            action: object.action.map(ObjectAction::word),
            was: object.was,
            became: object.became,
        };
        Self { package: package.to_string(), objects: objects.into_iter().map(file).collect(), known }
    }
}

impl CommandReport for FilesReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for package in &self.packages {
            output.line(format!("{}:", package.package))?;
            for object in &package.objects {
                let (was, became) = (object.was.as_ref(), object.became.as_ref());
                let is_attributes = object.action == Some(ObjectAction::Attributes.word());
                let told = if is_attributes { told_differences(was, became) } else { String::new() };
                output.line(format!("  {:<10}  {}{told}", object.action.unwrap_or("?"), object.shown))?;
                if self.is_verbose && object.action.is_some() {
                    output.line(format!("    was:    {}", state_words(object.was.as_ref())))?;
                    output.line(format!("    became: {}", state_words(object.became.as_ref())))?;
                }
            }
        }
        let Some(overtaken) = &self.overtaken else { return Ok(()) };
        let is_not_applied = if self.packages.is_empty() { "not applied, " } else { "" };
        output.line(format!("{}: {is_not_applied}{}", overtaken.id, overtaken.told))?;
        for path in &self.lost {
            output.line(format!("  {:<10}  {path}", "lost"))?;
        }
        if let Some(next) = overtaken.next_step(&self.wording) {
            output.line(format!("  {next}"))?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        let unknown = self.packages.iter().filter(|package| !package.known);
        let note = |package: &PackageFiles| {
            let what = if package.objects.is_empty() { "" } else { " but these names" };
            let name = &package.package;
            format!(
                "what {} did to {name} is not known{what}: its undo data cannot be read by this caller, is gone, or was made \
                 by another program",
                self.id
            )
        };
        let notes: Vec<String> = unknown.map(note).collect();
        Ok(print_notes(output, &notes)?)
    }
}
