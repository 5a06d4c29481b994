//! The undo archive of a package: what has to be kept of the objects and records that a patch changes, so that the
//! tree after apply and backout is the tree before, to the last attribute.
//!
//! The SVR4 part (saved objects, `deletes`, old parameters, procedure scripts) is what any pkgadd can install; the
//! manifest says the rest. Digests of what is delivered are filled in when it has been staged.

mod link_groups;
mod made_anew;
mod saved_pkginfo;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_changeset::format::manifest::{
    KEPT_MANIFEST, Manifest, ManifestHeader, ObjectRecord, RecordedState, encode, recorded_xattrs,
};
use patchadm_changeset::plan::UndoFormat;
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::format::remote::{RemoteArchive, RemoteMedium, RemoteState};
use patchadm_svr4::package::{
    ContentsLine, Ftype, Mode, Object, ObjectAttributes, ObjectPath, Params, PkgInst,
};
use patchadm_svr4::patch::{PatchId, PatchList};

use link_groups::LinkGroups;
use made_anew::is_made_anew;
use saved_pkginfo::patch_info;
pub(super) use saved_pkginfo::without_patch_info;
pub(super) use scripts::copying_scripts;

use crate::plan::parameters::is_restored;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::records::RecordChanges;
use crate::plan::refusal::Reason;
use crate::plan::target::{PackageTarget, Wanted, classes};
use crate::plan::{Action, Body, NewObject, NewXattrs, TreeContent, TreeFile, UndoArchive, UndoPlace};
use patchadm_inputs::inventory::Save;

/// What an undo archive is about.
#[derive(Clone, Copy, Debug)]
pub(in crate::plan) struct Undoing<'a> {
    /// The patch.
    pub(in crate::plan) id: &'a PatchId,
    /// What it obsoletes in this package.
    pub(in crate::plan) obsoletes: &'a PatchList,
    /// The parameters before.
    pub(in crate::plan) old: &'a Params,
    /// The save directories of the package before.
    pub(in crate::plan) saves: &'a BTreeMap<String, Save>,
    /// The names that the patch set.
    pub(in crate::plan) set: &'a [String],
    /// Those of them that it set by its silence.
    pub(in crate::plan) silent: &'a [String],
    /// How the archive is compressed.
    pub(in crate::plan) format: UndoFormat,
    /// The directory for archives that are kept elsewhere.
    pub(in crate::plan) directory: Option<&'a Path>,
    /// Whether nothing is saved, and only the manifest stays.
    pub(in crate::plan) saves_nothing: bool,
    /// Whether procedure scripts run.
    pub(in crate::plan) runs_scripts: bool,
}

/// The paths that a package delivers.
#[derive(Debug, Default)]
pub(in crate::plan) struct DeliveredPaths {
    /// The paths.
    pub(in crate::plan) paths: BTreeSet<ObjectPath>,
    /// The attributes that are left open, as manifests have them, by escaped path.
    pub(in crate::plan) open: BTreeMap<String, String>,
}

impl DeliveredPaths {
    /// Those of the objects of a package.
    pub(super) fn of(wanted: &[Wanted<'_>]) -> Self {
        let open = |wanted: &Wanted<'_>| Some((encode(wanted.path.as_bytes()), wanted.open_attributes()?));
        Self {
            paths: wanted.iter().map(|wanted| wanted.path.clone()).collect(),
            open: wanted.iter().filter_map(open).collect(),
        }
    }

    /// Adds attributes that objects keep as they are found, by their letters.
    pub(super) fn add_open<'p>(&mut self, kept: impl Iterator<Item = (&'p ObjectPath, String)>) {
        for (path, letters) in kept.filter(|(path, _)| self.paths.contains(*path)) {
            let open = self.open.entry(encode(path.as_bytes())).or_default();
            for letter in letters.chars() {
                if !open.contains(letter) {
                    open.push(letter);
                }
            }
        }
    }
}

impl Undoing<'_> {
    /// The archive for what `draft` does to the objects of `target`, which delivers these paths.
    pub(in crate::plan) fn archive(
        &self,
        draft: &PlanBuilder<'_>,
        target: &PackageTarget<'_>,
        delivered: &DeliveredPaths,
        records: &RecordChanges,
    ) -> Result<UndoArchive, Reason> {
        let package = &target.package;
        let mut paths = concerned(draft, package);
        paths.extend(also_listed(draft, target, &delivered.paths)?);
        let groups = LinkGroups::of(draft, &paths);
        let mut saved = Vec::with_capacity(paths.len());
        let mut objects = Vec::with_capacity(paths.len());
        let mut deletes = Vec::new();
        for path in paths.iter().chain(groups.partners(&paths)) {
            let changes = draft.changes.contains_key(path);
            let mut record = object_record(draft, path);
            record.delivered = delivered.paths.contains(path);
            groups.number_states(&mut record, path, is_made_anew(draft, path));
            match draft.old(path).filter(|_| changes) {
                Some(live) if keeps_content(draft, path, live) => {}
                Some(live) => {
                    if let Some(entry) = saved_entry(draft, target, path, live, &groups)? {
                        let has_content = entry.object.ftype.is_regular();
                        record.member = has_content.then(|| encode(entry.path.as_bytes()).into());
                        saved.push((entry, path.clone()));
                    }
                }
                None if record.became.is_some() && changes => deletes.push(target.write(path)?),
                None => {}
            }
            objects.push(record);
        }
        // In place: no path twice, and a stable sort would need as much room again.
        objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        // what is in a directory goes before it
        deletes.reverse();
        let regular = saved.iter().filter(|(entry, _)| entry.object.ftype.is_regular());
        let of_files = regular.map(|(entry, _)| entry.object.class.as_str()).collect();
        let scripts = scripts::taking_back(&target.image.install, of_files);
        let archive = UndoArchive {
            package: package.clone(),
            patch: self.id.to_string(),
            pkginfo: self.parameters(&saved),
            saved,
            passing: BTreeMap::new(),
            deletes,
            scripts,
            records: without_patch_info(records.old.clone(), self.old),
            kept_records: BTreeMap::new(),
            manifest: Manifest {
                header: self.header(draft, target, delivered, records),
                objects,
                shlibs: Vec::new(),
            },
            format: self.form(),
            place: self.place(package),
        };
        Ok(if self.saves_nothing { manifest_only(archive) } else { archive })
    }

    /// The files of a save directory with the archive at this place in the plan: it, the pointer to it, or the manifest
    /// alone.
    pub(in crate::plan) fn saved_files(&self, place: &UndoPlace, at: usize) -> Result<Vec<TreeFile>, Reason> {
        Ok(match place {
            UndoPlace::Save | UndoPlace::Snapshot => {
                vec![tree_file(&self.name(), TreeContent::Undo(at), 0o600)]
            }
            UndoPlace::ManifestOnly => vec![tree_file(KEPT_MANIFEST, TreeContent::Manifest(at), 0o600)],
            UndoPlace::Remote(path) | UndoPlace::Beside(path) => {
                let find_at = path.as_os_str().as_encoded_bytes();
                let remote = RemoteArchive::new(RemoteMedium::Filesystem, find_at, RemoteState::Active)
                    .map_err(|_| Reason::BackoutDirectory(path.clone()))?;
                vec![
                    tree_file("remote", TreeContent::Bytes(remote.write()), 0o644),
                    tree_file("undo.b3", TreeContent::UndoDigest(at), 0o600),
                ]
            }
        })
    }

    /// The name of the archive in a save directory.
    pub(super) fn name(&self) -> String {
        format!("undo{}", self.form().suffix())
    }

    /// The form of the archive: old files stay on their own file systems, so not in a directory that is elsewhere.
    fn form(&self) -> UndoFormat {
        if self.format == UndoFormat::Files && self.directory.is_some() {
            UndoFormat::default()
        } else {
            self.format
        }
    }

    fn place(&self, package: &PkgInst) -> UndoPlace {
        match self.directory {
            None => UndoPlace::Save,
            Some(directory) => {
                let below = format!("{}/{package}/{}", self.id, self.name());
                UndoPlace::Remote(directory.join(below))
            }
        }
    }

    /// The old parameters. An object of a class that CLASSES does not name would not be installed: that of an object of
    /// another package, for one.
    fn parameters(&self, saved: &[(PkgmapEntry, ObjectPath)]) -> Params {
        let mut params: Params = self.old.iter().filter(|(name, _)| is_restored(name)).collect();
        params.set("ACTIVE_PATCH", self.id.as_str());
        params.set("ACTIVE_OBSOLETES", self.obsoletes.to_string());
        let mut classes = classes(self.old);
        let named = classes.len();
        for (entry, _) in saved {
            if !classes.iter().any(|class| entry.object.class == *class) {
                classes.push(entry.object.class.to_string());
            }
        }
        if classes.len() > named {
            params.set("CLASSES", classes.join(" "));
        }
        params
    }

    fn header(
        &self,
        draft: &PlanBuilder<'_>,
        target: &PackageTarget<'_>,
        delivered: &DeliveredPaths,
        records: &RecordChanges,
    ) -> ManifestHeader {
        let found = records.old.keys().filter_map(|name| String::from_utf8(name.clone()).ok());
        let found = found.filter(|name| name != "pkginfo").chain(records.same.iter().cloned());
        ManifestHeader {
            obsoletes: self.obsoletes.iter().map(ToString::to_string).collect(),
            parameters: self.set.to_vec(),
            made_records: records.made.clone(),
            records: Some(found.collect()),
            classes: Some(classes(&target.image.params).join(" ")),
            patch_info: patch_info(self.old, self.saves),
            silent: self.silent.to_vec(),
            scripts: self.runs_scripts,
            open_attributes: Some(delivered.open.clone()),
            ..ManifestHeader::of(self.id.as_str(), target.package.as_str(), &draft.inventory.marker)
        }
    }
}

/// A file of a new record directory.
pub(in crate::plan) fn tree_file(name: &str, content: TreeContent, mode: u32) -> TreeFile {
    TreeFile { name: name.as_bytes().to_vec(), content, mode: Mode::of(mode), mtime: None }
}

/// What stays of an archive where nothing is saved: which paths the patch has, and what was and is there.
fn manifest_only(mut archive: UndoArchive) -> UndoArchive {
    let manifest = &mut archive.manifest;
    for record in manifest.objects.iter_mut().chain(&mut manifest.shlibs) {
        record.member = None;
    }
    UndoArchive {
        saved: Vec::new(),
        deletes: Vec::new(),
        scripts: BTreeMap::new(),
        records: BTreeMap::new(),
        place: UndoPlace::ManifestOnly,
        ..archive
    }
}

/// The archive with what procedure scripts left in the places of what was delivered: `lines` are the final lines of
/// the package, `live` the objects that scripts have put there.
pub(in crate::plan) fn as_left(
    archive: &UndoArchive,
    lines: &ContentsEdits,
    live: &BTreeMap<ObjectPath, Live>,
) -> UndoArchive {
    let mut archive = archive.clone();
    for record in &mut archive.manifest.objects {
        let Some(path) = record.object_path() else { continue };
        if let Some(line) = lines.get(&path) {
            record.new_line = line.as_ref().map(|line| encode(&line.write()).into());
        }
        if let (Some(live), Some(became)) = (live.get(&path), &mut record.became) {
            *became = RecordedState { group: became.group, ..RecordedState::of(live) };
        }
    }
    archive
}

/// The paths that change because of a package, in object, line or both.
fn concerned(draft: &PlanBuilder<'_>, package: &PkgInst) -> BTreeSet<ObjectPath> {
    let changes = draft.changes.values().filter(|change| change.package == *package);
    let lines = draft.lines.iter().filter(|(_, (because, _))| because == package);
    let kept = draft
        .kept
        .iter()
        .filter(|path| draft.inventory.lines.get(*path).is_none_or(|line| line.is_owned_by(package)));
    changes.map(|change| &change.path).chain(lines.map(|(path, _)| path)).chain(kept).cloned().collect()
}

/// The paths that a package delivers or deletes and that do not change because of it; without those that another
/// package of the patch changes, whose archive has them.
fn also_listed(
    draft: &PlanBuilder<'_>,
    target: &PackageTarget<'_>,
    delivered: &BTreeSet<ObjectPath>,
) -> Result<Vec<ObjectPath>, Reason> {
    let deleted: Vec<ObjectPath> =
        target.image.deletes.iter().map(|path| target.resolve(path)).collect::<Result<_, _>>()?;
    let is_own =
        |path: &&ObjectPath| draft.changes.get(*path).is_none_or(|change| change.package == target.package);
    Ok(delivered.iter().chain(&deleted).filter(is_own).cloned().collect())
}

/// What the manifest says of a path.
fn object_record(draft: &PlanBuilder<'_>, path: &ObjectPath) -> ObjectRecord {
    let written = |line: &ContentsLine| encode(&line.write()).into();
    let kept = draft.kept.contains(path);
    let was = draft.old(path).map(RecordedState::of);
    let became = match draft.changes.get(path).map(|change| &change.action) {
        Some(Action::Add(new) | Action::Replace(new)) => Some(becoming(draft, new)),
        Some(Action::Delete | Action::RemoveDirectory) => None,
        Some(Action::Attributes(attributes)) => was.clone().map(|state| attributes.applied_to(state)),
        None => was.clone().filter(|_| !kept),
    };
    ObjectRecord {
        path: encode(path.as_bytes()),
        line: draft.inventory.lines.get(path).map(written),
        new_line: draft.line(path).map(written),
        was,
        became,
        kept,
        delivered: false,
        member: None,
        shlib: None,
        file: None,
    }
}

/// The state of a new object, as far as it is known before it is staged.
fn becoming(draft: &PlanBuilder<'_>, new: &NewObject) -> RecordedState {
    match &new.body {
        Body::CopyOf(path) => {
            if let Some(live) = draft.inventory.live.get(path) {
                return RecordedState::of(live);
            }
        }
        // a link never names another link of the same run
        Body::Link(path) => match draft.changes.get(path).map(|change| &change.action) {
            Some(Action::Add(file) | Action::Replace(file)) => return becoming(draft, file),
            _ => {
                if let Some(live) = draft.old(path) {
                    return RecordedState::of(live);
                }
            }
        },
        _ => {}
    }
    let mut state = RecordedState {
        kind: new.body.file_type(),
        mode: new.mode.bits(),
        uid: new.uid,
        gid: new.gid,
        mtime: new.mtime.unwrap_or_default(),
        size: None,
        b3: None,
        target: None,
        device: None,
        xattrs: match &new.xattrs {
            NewXattrs::Given(xattrs) | NewXattrs::Exact(xattrs) => recorded_xattrs(xattrs),
            NewXattrs::Inherited => BTreeMap::new(),
        },
        group: None,
    };
    match &new.body {
        Body::Member(member) => {
            state.size = Some(member.size);
            state.b3 = member.b3.as_deref().map(|b3| Box::new((*b3).into()));
        }
        Body::Symlink(target) => state.target = Some(encode(target).into()),
        Body::Device { major, minor, .. } => state.device = Some((*major, *minor)),
        Body::Directory | Body::Link(_) | Body::CopyOf(_) | Body::Pipe => {}
    }
    state
}

/// Whether a file keeps its bytes and gets other attributes only, so that there is nothing of it to save.
fn keeps_content(draft: &PlanBuilder<'_>, path: &ObjectPath, live: &Live) -> bool {
    matches!(live.kind, LiveKind::Regular { .. }) && !is_made_anew(draft, path)
}

/// The pkgmap entry of a saved object: of the type that is recorded where that is what is there.
fn saved_entry(
    draft: &PlanBuilder<'_>,
    target: &PackageTarget<'_>,
    path: &ObjectPath,
    live: &Live,
    groups: &LinkGroups,
) -> Result<Option<PkgmapEntry>, Reason> {
    let known = draft.inventory.lines.get(path).map(|line| &line.object);
    let class = known.map_or("none", |known| known.class.as_str());
    let recorded = known.map(|known| known.ftype);
    let first = groups.first_name(path);
    let mut object = match (&live.kind, first) {
        (LiveKind::Socket, _) => return Ok(None),
        (_, Some(first)) => {
            let mut object = Object::new(Ftype::Link, class);
            let written =
                known.filter(|known| known.ftype == Ftype::Link).and_then(|known| known.target.clone());
            object.target = Some(written.unwrap_or_else(|| first.as_bytes().to_vec()));
            return Ok(Some(PkgmapEntry { part: 1, path: target.write(path)?, object }));
        }
        (LiveKind::Regular { .. }, None) => {
            let ftype = recorded.filter(|ftype| ftype.is_regular()).unwrap_or(Ftype::File);
            let mut object = Object::new(ftype, if can_be_listed(path) { class } else { "none" });
            object.content = live.content_info().unwrap_or_default();
            object
        }
        (LiveKind::Directory, _) => {
            Object::new(recorded.filter(|ftype| ftype.is_directory()).unwrap_or(Ftype::Directory), class)
        }
        (LiveKind::Symlink(to), _) => {
            let mut object = Object::new(Ftype::Symlink, class);
            object.target = Some(to.clone());
            return Ok(Some(PkgmapEntry { part: 1, path: target.write(path)?, object }));
        }
        (LiveKind::Pipe, _) => Object::new(Ftype::Pipe, class),
        (LiveKind::Device { block, major, minor }, _) => {
            let mut object = Object::new(if *block { Ftype::Block } else { Ftype::Character }, class);
            object.device = Some((Some(*major), Some(*minor)));
            object
        }
    };
    let accounts = &draft.inventory.accounts;
    object.attributes = ObjectAttributes {
        mode: Some(live.mode),
        owner: Some(accounts.user(live.uid)),
        group: Some(accounts.group(live.gid)),
    };
    Ok(Some(PkgmapEntry { part: 1, path: target.write(path)?, object }))
}

/// Whether the script of a class can be told of a file. It reads a line with a blank between source and destination, so
/// neither may have one. Such a file goes without a script; its class is in the manifest.
fn can_be_listed(path: &ObjectPath) -> bool {
    !path.as_bytes().iter().any(u8::is_ascii_whitespace)
}
