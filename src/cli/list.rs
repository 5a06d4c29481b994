//! `patchadm list` and `patchadm show`: the patches of a root, and everything about one of them or about one that is
//! not applied yet.

use std::path::Path;

use serde::Serialize;

use super::exit::{Exit, Stop};
use super::options::parse;
use super::verb::Common;
use super::words::human;
use super::{Invocation, json};
use crate::operation::queries::inspect::{Inspected, inspect};
use crate::patch::{Delivered, PatchId};
use crate::root::Root;
use crate::source::{self, Extent, Image, Origin};

const LIST_USAGE: &str = "patchadm [-R root] list";
const SHOW_USAGE: &str = "patchadm [-R root] show id|patch";

/// List the patches of a root with their state, date and undo data
#[derive(clap::Parser)]
struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Show everything about an applied patch (its id) or a delivered one (its path)
#[derive(clap::Parser)]
struct ShowArgs {
    #[command(flatten)]
    common: Common,
    /// The id of an applied patch, or the path of a delivered one
    #[arg(value_name = "ID|PATCH")]
    subject: Option<String>,
}

/// One patch in a JSON document.
#[derive(Serialize)]
struct Entry {
    id: String,
    state: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    date: Option<String>,
    host: Option<String>,
    packages: Vec<String>,
    obsoletes: Vec<String>,
    requires: Vec<String>,
    incompatibles: Vec<String>,
    /// Bytes; null where there is none, or where it is kept elsewhere.
    undo_bytes: Option<u64>,
    removable: bool,
}

impl From<&Inspected> for Entry {
    fn from(one: &Inspected) -> Self {
        let words = |list: &crate::patch::PatchList| list.iter().map(ToString::to_string).collect();
        Self {
            id: one.patch.id.to_string(),
            state: one.state.clone(),
            by: one.by.clone(),
            date: one.date.clone(),
            host: one.host.clone(),
            packages: one.patch.packages.iter().map(ToString::to_string).collect(),
            obsoletes: words(&one.patch.obsoletes),
            requires: one.patch.requires.iter().map(ToString::to_string).collect(),
            incompatibles: words(&one.patch.incompatibles),
            undo_bytes: undo_bytes(one),
            removable: one.is_removable,
        }
    }
}

fn undo_bytes(one: &Inspected) -> Option<u64> {
    let sizes: Option<Vec<u64>> = one.undo.iter().map(|undo| undo.bytes).collect();
    sizes.map(|sizes| sizes.iter().sum())
}

/// Runs `list`.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: ListArgs = parse(call, LIST_USAGE)?;
    let root = args.common.root.open(call)?;
    let patches = inspect(&root)?;
    if args.common.extensions.json {
        let entries: Vec<Entry> = patches.iter().map(Entry::from).collect();
        let body = serde_json::json!({ "patches": entries });
        call.output.print(json::document("list", Some(&root), Exit::OK, body)?)?;
        return Ok(Exit::OK);
    }
    if patches.is_empty() {
        call.output.line("No patches are applied.")?;
    }
    let width = patches.iter().map(|one| one.patch.id.as_str().len()).max().unwrap_or_default();
    for one in &patches {
        let undo = match (undo_bytes(one), one.undo.iter().all(|undo| undo.is_there)) {
            (Some(bytes), _) => human(bytes),
            (None, true) => "elsewhere".to_owned(),
            (None, false) => "none".to_owned(),
        };
        let by = one.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let state = format!("{}{by}", one.state.join(", "));
        let date = one.date.as_deref().unwrap_or("no date recorded");
        call.output
            .line(format!("{:<width$}  {state:<24}  {date}  undo data: {undo}", one.patch.id.as_str()))?;
    }
    Ok(Exit::OK)
}

/// Runs `show`.
pub(super) fn run_show(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: ShowArgs = parse(call, SHOW_USAGE)?;
    let Some(subject) = args.subject else {
        return Err(Stop::Usage { message: "no patch is named".to_owned(), usage: SHOW_USAGE }.into());
    };
    let root = args.common.root.open(call)?;
    let is_json = args.common.extensions.json;
    let patches = inspect(&root)?;
    let wanted = PatchId::new(&subject).ok();
    if let Some(one) = patches.iter().find(|one| Some(&one.patch.id) == wanted.as_ref()) {
        return applied(call, &root, one, is_json);
    }
    if Path::new(&subject).exists() {
        let (_, image) = source::open(Origin::Path(Path::new(&subject)), Extent::Everything)?;
        return delivered(call, &image, is_json);
    }
    let message = format!("patch {subject} is not applied, and there is no file or directory of that name");
    Err(Stop::Refused { exit: Exit::new(2), message }.into())
}

fn applied(call: &mut Invocation, root: &Root, one: &Inspected, is_json: bool) -> anyhow::Result<Exit> {
    let entry = Entry::from(one);
    if is_json {
        let body = serde_json::json!({ "patch": entry });
        call.output.print(json::document("show", Some(root), Exit::OK, body)?)?;
        return Ok(Exit::OK);
    }
    let by = entry.by.map(|by| format!(" by {by}")).unwrap_or_default();
    let fields = [
        ("Patch", entry.id),
        ("State", format!("{}{by}", entry.state.join(", "))),
        ("Applied", entry.date.unwrap_or_default()),
        ("On", entry.host.unwrap_or_default()),
        ("Packages", entry.packages.join(", ")),
        ("Obsoletes", entry.obsoletes.join(", ")),
        ("Requires", entry.requires.join(", ")),
        ("Incompatible", entry.incompatibles.join(", ")),
    ];
    print_fields(call, &fields)?;
    for undo in &one.undo {
        let what = match (undo.bytes, undo.is_there) {
            (Some(bytes), _) => human(bytes),
            (None, true) => "kept elsewhere".to_owned(),
            (None, false) => "none: it cannot be backed out".to_owned(),
        };
        call.output.line(format!("{:>12}: {} {what}", "Undo data", undo.package))?;
    }
    Ok(Exit::OK)
}

fn delivered(call: &mut Invocation, image: &Image, is_json: bool) -> anyhow::Result<Exit> {
    let facts: Vec<Delivered> = image
        .packages
        .iter()
        .filter_map(|package| Delivered::from_params(&package.params, PatchId::SEPARATOR).ok()?)
        .collect();
    let joined = |of: &dyn Fn(&Delivered) -> String| {
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
    if is_json {
        let map: serde_json::Map<_, _> =
            fields.iter().map(|(name, value)| (name.to_lowercase(), value.clone().into())).collect();
        let body = serde_json::json!({ "patch": map });
        call.output.print(json::document("show", None, Exit::OK, body)?)?;
        return Ok(Exit::OK);
    }
    print_fields(call, &fields)?;
    for package in &image.packages {
        for entry in package.pkgmap.entries.iter().filter(|entry| !entry.is_information()) {
            let kind = char::from(entry.object.ftype.letter());
            call.output.line(format!("{:>12}: {kind} {}", package.directory, entry.path))?;
        }
        for path in &package.deletes {
            call.output.line(format!("{:>12}: deletes {path}", package.directory))?;
        }
    }
    Ok(Exit::OK)
}

fn print_fields(call: &mut Invocation, fields: &[(&str, String)]) -> std::io::Result<()> {
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        call.output.line(format!("{name:>12}: {value}"))?;
    }
    Ok(())
}
