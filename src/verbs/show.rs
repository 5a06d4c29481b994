//! `patchadm show`: everything about an applied patch, or about one that is not applied yet.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::list::ListedPatch;
use super::options::VerbOptions;
use crate::arguments::parse;
use crate::call::Invocation;
use crate::reply::failure::query_refused;
use crate::reply::words::human;
use crate::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use crate::surroundings::Output;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::queries::inspect::{InspectedPatch, inspect};
use patchadm_core::source;
use patchadm_core::source::{Extent, Image, Origin};
use patchadm_svr4::patch::{PatchId, PatchMacros};

const USAGE: &str = "patchadm [-R root] show id|patch";

/// Show everything about an applied patch (its id) or a delivered one (its path)
#[derive(clap::Parser)]
struct ShowArgs {
    #[command(flatten)]
    common: VerbOptions,
    /// The id of an applied patch, or the path of a delivered one
    #[arg(value_name = "ID|PATCH")]
    subject: Option<String>,
}

/// The fields of a patch in the document, and the lines of the text.
#[derive(Serialize)]
struct ShownPatch<P> {
    patch: P,
    /// The lines: a name and a value; lines with an empty value are not printed.
    #[serde(skip)]
    lines: Vec<(String, String)>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: ShowArgs = parse(call, USAGE)?;
    let Some(subject) = args.subject else {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage: USAGE }.into());
    };
    let root = args.common.root.open(call)?;
    let wanted = PatchId::new(&subject).ok();
    let applied_there = match inspect(&root) {
        // What is delivered is the same whatever the root.
        Err(Failure::NoDatabase(_)) if Path::new(&subject).exists() => Vec::new(),
        answer => answer.map_err(|failed| query_refused(&root, &failed))?,
    };
    if let Some(one) = applied_there.iter().find(|one| Some(&one.patch.id) == wanted.as_ref()) {
        return Ok(Reply::about(&root, Exit::OK, applied(one)));
    }
    if Path::new(&subject).exists() {
        let (_, image) = source::open(Origin::Path(Path::new(&subject)), Extent::Everything)?;
        return Ok(Reply::new(Exit::OK, delivered(&image)));
    }
    let message = format!("patch {subject} is not applied, and there is no file or directory of that name");
    Err(Stop::Refused { exit: Exit::new(2, ExitCause::NotFound), message }.into())
}

fn applied(one: &InspectedPatch) -> ShownPatch<ListedPatch> {
    let patch = ListedPatch::from(one);
    let fields = [
        ("Patch", patch.id.clone()),
        ("State", patch.state_text()),
        ("Applied", patch.date.clone().unwrap_or_default()),
        ("On", patch.host.clone().unwrap_or_default()),
        ("Packages", patch.packages.join(", ")),
        ("Obsoletes", patch.obsoletes.join(", ")),
        ("Requires", patch.requires.join(", ")),
        ("Incompatible", patch.incompatibles.join(", ")),
    ];
    let undo = one.undo.iter().map(|undo| {
        let what = match (undo.bytes, undo.is_there) {
            (Some(bytes), _) => human(bytes),
            (None, true) => "kept elsewhere".to_owned(),
            (None, false) => "none: it cannot be backed out".to_owned(),
        };
        ("Undo data".to_owned(), format!("{} {what}", undo.package))
    });
    let lines = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(undo).collect();
    ShownPatch { patch, lines }
}

fn delivered(image: &Image) -> ShownPatch<BTreeMap<String, String>> {
    let facts: Vec<PatchMacros> = image
        .packages
        .iter()
        .filter_map(|package| PatchMacros::from_params(&package.params, PatchId::SEPARATOR).ok()?)
        .collect();
    let joined = |of: &dyn Fn(&PatchMacros) -> String| {
        let mut words: Vec<String> = facts.iter().map(of).filter(|text| !text.is_empty()).collect();
        words.dedup();
        words.join(", ")
    };
    let files: usize = image.packages.iter().map(|package| package.files().count()).sum();
    let packages: Vec<String> =
        image.packages.iter().map(|package| package.params.text("PKG").into_owned()).collect();
    let fields = [
        ("Patch", joined(&|one| one.id.to_string())),
        ("State", "delivered".to_owned()),
        ("Packages", packages.join(", ")),
        ("Obsoletes", joined(&|one| one.obsoletes.to_string())),
        ("Requires", joined(&|one| one.requires.to_string())),
        ("Incompatible", joined(&|one| one.incompatibles.to_string())),
        ("Files", files.to_string()),
    ];
    let patch = fields.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    let mut lines: Vec<(String, String)> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for package in &image.packages {
        for entry in package.pkgmap.entries.iter().filter(|entry| !entry.is_information()) {
            let kind = char::from(entry.object.ftype.letter());
            lines.push((package.directory.clone(), format!("{kind} {}", entry.path)));
        }
        let deletes = package.deletes.iter().map(|path| format!("deletes {path}"));
        lines.extend(deletes.map(|line| (package.directory.clone(), line)));
    }
    ShownPatch { patch, lines }
}

impl<P: Serialize> CommandReport for ShownPatch<P> {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for (name, value) in self.lines.iter().filter(|(_, value)| !value.is_empty()) {
            output.line(format!("{name:>12}: {value}"))?;
        }
        Ok(())
    }
}
