//! The part of a promotion that its stage's patches made: objects, lines and records, with the undo data of these
//! patches. The undo archive of the promotion has none of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use patchadm_changeset::RecordFile;
use patchadm_inputs::inventory::{Installed, Inventory, Save};
use patchadm_svr4::format::params;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{Mode, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::input::{BroughtPackage, BroughtPatches, PatchDirectory, PromotionInput};
use super::objects::plan_objects;
use crate::plan::clock::Now;
use crate::plan::package::package_records::in_place;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::records::{NewRecord, RecordChanges, package_path, patch_path, save_path};
use crate::plan::refusal::{Command, Reason};
use crate::plan::{Direction, LedgerChange, Plan, RecordChange, TreeContent, UndoArchive, space};

const BESIDE_ARCHIVE: u32 = 0o644;

pub(super) fn bring(
    brought: &BroughtPatches,
    input: &PromotionInput<'_>,
    inventory: &Inventory,
    now: &Now,
) -> Result<Option<Plan>, Reason> {
    let Some(last) = brought.packages.keys().next_back() else { return Ok(None) };
    let mut draft = PlanBuilder::new(inventory);
    let owner = |path: &ObjectPath| {
        brought.objects.get(path).map_or_else(|| last.clone(), |object| object.package.clone())
    };
    plan_objects(&mut draft, input, &owner)?;
    planned(draft, brought, (Command::Promote, last), now).map(Some)
}

/// The objects exist already; `None` if there are no patches.
pub fn bring_records(
    brought: &BroughtPatches,
    inventory: &Inventory,
    command: Command,
    now: &Now,
) -> Result<Option<Plan>, Reason> {
    let last = brought.packages.keys().next_back().or_else(|| brought.gone.last());
    let Some(last) = last else { return Ok(None) };
    planned(PlanBuilder::new(inventory), brought, (command, last), now).map(Some)
}

fn planned(
    mut draft: PlanBuilder<'_>,
    brought: &BroughtPatches,
    (command, last): (Command, &PkgInst),
    now: &Now,
) -> Result<Plan, Reason> {
    for (path, (package, line)) in &brought.lines {
        draft.set_line(package, path, line.clone());
    }
    draft.finish()?;
    let parts = FinishedParts {
        command,
        patches: brought.ids.iter().map(ToString::to_string).collect(),
        packages: brought.packages.keys().chain(&brought.gone).cloned().collect(),
        records: records(brought, draft.inventory)?,
        undo: Vec::new(),
        last,
    };
    finished(draft, parts, now)
}

impl BroughtPackage {
    /// Returns the parameters of the source, with records that only the other tree has (if `there`), and without
    /// patches that stay there.
    pub fn parameters(&self, there: &Installed) -> Params {
        let mut new = self.staged.params.clone();
        let has_info = |id: &&PatchId| new.get(&info_name(id)).is_some();
        let kept: Vec<&PatchId> = self.list.iter().filter(|id| !has_info(id)).collect();
        let is_listed = |id: &&str| self.list.iter().any(|listed| listed.as_str() == *id);
        let listed = new.text("PATCHLIST").into_owned();
        let stays: Vec<&str> =
            listed.split([' ', '\t', ',']).filter(|id| !id.is_empty() && !is_listed(id)).collect();
        if kept.is_empty() && stays.is_empty() {
            return new;
        }
        for name in kept.into_iter().map(info_name) {
            if let Some(info) = there.params.get(&name) {
                new.set(&name, info);
            }
        }
        for id in stays {
            new.remove(&format!("PATCH_INFO_{id}"));
        }
        let list: Vec<&str> = self.list.iter().map(PatchId::as_str).collect();
        new.set("PATCHLIST", list.join(" "));
        new
    }
}

fn info_name(id: &PatchId) -> String {
    format!("PATCH_INFO_{id}")
}

fn records(brought: &BroughtPatches, inventory: &Inventory) -> Result<Vec<RecordChange>, Reason> {
    let nothing = Installed::default();
    let mut changes = Vec::new();
    for (package, of) in &brought.packages {
        let live = inventory.packages.get(package).unwrap_or(&nothing);
        if of.replaces {
            changes.extend(in_place(package, live, live.saves.keys(), new_records(of, live), &[])?);
        } else {
            changes.extend(RecordChanges::of(package, live, new_records(of, live))?.changes);
            for (name, save) in &live.saves {
                if let Some(staged) = of.staged.saves.get(name) {
                    changes.extend(save_state((package, name), save, staged)?);
                }
            }
        }
        for (name, files) in &of.saves {
            let path = package_path(package, format!("save/{name}").as_bytes())?;
            changes.push(RecordChange::AddTree { path, files: files.clone() });
        }
        let ledger = LedgerChange { brought: of.lines.clone(), ..LedgerChange::of(package) };
        changes.push(RecordChange::Ledger(ledger));
    }
    for package in &brought.gone {
        changes.push(RecordChange::RemoveTree(package_path(package, b"")?));
        changes.push(RecordChange::Ledger(LedgerChange::of(package)));
    }
    changes.extend(left_patches(brought, inventory)?);
    changes.extend(patch_directories(&brought.directories)?);
    Ok(changes)
}

fn left_patches(brought: &BroughtPatches, inventory: &Inventory) -> Result<Vec<RecordChange>, Reason> {
    let ids = |params: &Params| -> Vec<String> {
        params.text("PATCHLIST").split_whitespace().map(str::to_owned).collect()
    };
    let (going, staying): (Vec<_>, Vec<_>) =
        inventory.packages.iter().partition(|(package, _)| brought.goes(package));
    let mut needed: BTreeSet<String> = staying.iter().flat_map(|(_, known)| ids(&known.params)).collect();
    needed.extend(brought.packages.values().flat_map(|of| of.list.iter().map(ToString::to_string)));
    let left: BTreeSet<String> = going.iter().flat_map(|(_, known)| ids(&known.params)).collect();
    let paths = left.difference(&needed).map(|id| patch_path(id)).collect::<Result<Vec<_>, _>>()?;
    let there = paths.into_iter().filter(|path| inventory.live.contains_key(path));
    Ok(there.map(RecordChange::RemoveTree).collect())
}

pub(super) fn patch_directories(
    directories: &BTreeMap<PatchId, PatchDirectory>,
) -> Result<Vec<RecordChange>, Reason> {
    let mut changes = Vec::new();
    for (id, directory) in directories {
        let path = patch_path(id.as_str())?;
        if !directory.is_there {
            changes.push(RecordChange::AddTree { path, files: directory.files.clone() });
            continue;
        }
        for file in &directory.files {
            let TreeContent::Bytes(bytes) = &file.content else { continue };
            let path = path.join(&file.name).map_err(|error| Reason::BadId(error.to_string()))?;
            let (bytes, mode, mtime) = (bytes.clone(), file.mode, file.mtime);
            changes.push(RecordChange::Write { path, bytes, mode, mtime });
        }
    }
    Ok(changes)
}

fn new_records(package: &BroughtPackage, live: &Installed) -> Vec<NewRecord> {
    let (_, files) = record_files(package, live);
    let record = |(name, file): (&[u8], RecordFile)| {
        let name = String::from_utf8(name.to_vec()).ok()?;
        Some(NewRecord { name, bytes: Arc::unwrap_or_clone(file.bytes), mtime: Some(file.mtime) })
    };
    files.into_iter().filter_map(record).collect()
}

pub(super) fn record_files<'p>(
    package: &'p BroughtPackage,
    there: &Installed,
) -> (Params, BTreeMap<&'p [u8], RecordFile>) {
    let new = package.parameters(there);
    let staged = package.staged.records.iter().map(|(name, file)| (name.as_slice(), file.clone()));
    let mut files: BTreeMap<&[u8], RecordFile> = staged.collect();
    if new != package.staged.params
        && let Some(pkginfo) = files.get_mut(&b"pkginfo"[..])
    {
        pkginfo.bytes = params::write(&new).into();
    }
    (new, files)
}

/// For undo data that both trees have: in force or obsolete.
fn save_state(
    (package, id): (&PkgInst, &str),
    live: &Save,
    staged: &Save,
) -> Result<Vec<RecordChange>, Reason> {
    let mut changes = Vec::new();
    if let (Some(from), Some(to)) = (&live.archive, &staged.archive) {
        let stem = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        if stem(from) != stem(to) && !live.is_other_name_taken {
            let suffix = from.strip_prefix(&stem(from)).unwrap_or_default();
            let to = save_path(package, id, &format!("{}{suffix}", stem(to)))?;
            changes.push(RecordChange::Move { from: save_path(package, id, from)?, to });
        }
    }
    let remote = |save: &Save| save.remote.as_deref().and_then(|bytes| RemoteArchive::parse(bytes).ok());
    if let (Some(mut known), Some(state)) = (remote(live), remote(staged).map(|remote| remote.state))
        && known.state != state
    {
        known.state = state;
        changes.push(beside(save_path(package, id, "remote")?, known.write()));
    }
    match (&live.obsoleted_by, &staged.obsoleted_by) {
        (old, Some(new)) if old.as_ref() != Some(new) => {
            changes.push(beside(save_path(package, id, "obsoleted_by")?, new.clone()));
        }
        (Some(_), None) => changes.push(RecordChange::RemoveFile(save_path(package, id, "obsoleted_by")?)),
        _ => {}
    }
    Ok(changes)
}

fn beside(path: ObjectPath, bytes: Vec<u8>) -> RecordChange {
    RecordChange::Write { path, bytes, mode: Mode::of(BESIDE_ARCHIVE), mtime: None }
}

pub(super) struct FinishedParts<'a> {
    pub(super) command: Command,
    pub(super) patches: Vec<String>,
    pub(super) packages: Vec<PkgInst>,
    pub(super) records: Vec<RecordChange>,
    pub(super) undo: Vec<UndoArchive>,
    pub(super) last: &'a PkgInst,
}

pub(super) fn finished(draft: PlanBuilder<'_>, parts: FinishedParts<'_>, now: &Now) -> Result<Plan, Reason> {
    let FinishedParts { command, patches, packages, records, undo, last } = parts;
    let inventory = draft.inventory;
    let changes: Vec<_> = draft.changes.into_values().collect();
    let space = space::needs(inventory, &changes, &records, &undo.iter().collect::<Vec<_>>(), &[]);
    space::enough(&space)?;
    Ok(Plan {
        command: command.name(),
        patches,
        changes,
        records,
        contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
        trailer: now.trailer("pkgadd", last),
        packages,
        undo,
        versions: Vec::new(),
        space,
        discard: Vec::new(),
        notes: draft.notes,
        signature: None,
        merges: Vec::new(),
        direction: Direction::Forward,
    })
}
