//! The undo archive of a package: apply and backout together leave the tree as it was, with every attribute. Any pkgadd
//! can install its SVR4 part (saved objects, `deletes`, old parameters, scripts); the manifest has the rest. Digests of
//! delivered files are filled in after staging.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_changeset::format::manifest::{
    KEPT_MANIFEST, ManifestHeader, ObjectRecord, RecordedState, UndoManifest, encode, recorded_xattrs,
};
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::inventory::Save;
use patchadm_inputs::patch_scripts::{UNDO_CHECKINSTALL, UNDO_CLASS, UNDO_POSTINSTALL};
use patchadm_rootfs::{Inode, Live, LiveKind};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::format::remote::{RemoteArchive, RemoteMedium, RemoteState};
use patchadm_svr4::package::{
    ContentsLine, Ftype, Mode, Object, ObjectAttributes, ObjectPath, Params, PkgInst,
};
use patchadm_svr4::patch::{PatchId, PatchList};

use crate::plan::parameters::{PATCH_INFO, is_restored, patch_of_info};
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::records::RecordChanges;
use crate::plan::refusal::Reason;
use crate::plan::target::{PackageTarget, Wanted, add_classes, classes};
use crate::plan::{Action, Body, NewObject, NewXattrs, TreeContent, TreeFile, UndoArchive, UndoPlace};

#[derive(Clone, Copy, Debug)]
pub(in crate::plan) struct Undoing<'a> {
    pub(in crate::plan) id: &'a PatchId,
    pub(in crate::plan) obsoletes: &'a PatchList,
    pub(in crate::plan) old: &'a Params,
    pub(in crate::plan) saves: &'a BTreeMap<String, Save>,
    pub(in crate::plan) set: &'a [String],
    pub(in crate::plan) silent: &'a [String],
    pub(in crate::plan) format: UndoFormat,
    pub(in crate::plan) directory: Option<&'a Path>,
    /// Only the manifest is kept.
    pub(in crate::plan) saves_nothing: bool,
    pub(in crate::plan) runs_scripts: bool,
}

#[derive(Debug, Default)]
pub(in crate::plan) struct DeliveredPaths {
    pub(in crate::plan) paths: BTreeSet<ObjectPath>,
    pub(in crate::plan) open: BTreeMap<String, String>,
}

impl DeliveredPaths {
    pub(super) fn of(wanted: &[Wanted<'_>]) -> Self {
        let open = |wanted: &Wanted<'_>| Some((encode(wanted.path.as_bytes()), wanted.open_attributes()?));
        Self {
            paths: wanted.iter().map(|wanted| wanted.path.clone()).collect(),
            open: wanted.iter().filter_map(open).collect(),
        }
    }

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
        // Unstable, in place: paths are unique, and a stable sort would allocate the same size again.
        objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        // the contents of a directory go before it
        deletes.reverse();
        let regular = saved.iter().filter(|(entry, _)| entry.object.ftype.is_regular());
        let of_files = regular.map(|(entry, _)| entry.object.class.as_str()).collect();
        let scripts = taking_back(&target.image.install, of_files);
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
            manifest: UndoManifest {
                header: self.header(draft, target, delivered, records),
                objects,
                shlibs: Vec::new(),
            },
            format: self.form(),
            place: self.place(package),
        };
        Ok(if self.saves_nothing { manifest_only(archive) } else { archive })
    }

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

    pub(super) fn name(&self) -> String {
        format!("undo{}", self.form().suffix())
    }

    /// Old files can only be kept on their own file system.
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

    /// pkgadd ignores objects whose class is not in CLASSES, such as saved objects of other packages.
    fn parameters(&self, saved: &[(PkgmapEntry, ObjectPath)]) -> Params {
        let mut params: Params = self.old.iter().filter(|(name, _)| is_restored(name)).collect();
        params.set("ACTIVE_PATCH", self.id.as_str());
        params.set("ACTIVE_OBSOLETES", self.obsoletes.to_string());
        let mut classes = classes(self.old);
        let named = classes.len();
        add_classes(&mut classes, saved.iter().map(|(entry, _)| entry.object.class.as_str()));
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

pub(in crate::plan) fn tree_file(name: &str, content: TreeContent, mode: u32) -> TreeFile {
    TreeFile { name: name.as_bytes().to_vec(), content, mode: Mode::of(mode), mtime: None }
}

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

fn concerned(draft: &PlanBuilder<'_>, package: &PkgInst) -> BTreeSet<ObjectPath> {
    let changes = draft.changes.values().filter(|change| change.package == *package);
    let lines = draft.lines.iter().filter(|(_, (because, _))| because == package);
    let kept = draft
        .kept
        .iter()
        .filter(|path| draft.inventory.lines.get(*path).is_none_or(|line| line.is_owned_by(package)));
    changes.map(|change| &change.path).chain(lines.map(|(path, _)| path)).chain(kept).cloned().collect()
}

/// Excludes paths that another package of the patch changes: its archive has them.
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

fn keeps_content(draft: &PlanBuilder<'_>, path: &ObjectPath, live: &Live) -> bool {
    matches!(live.kind, LiveKind::Regular { .. }) && !is_made_anew(draft, path)
}

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

/// The list for class scripts separates two paths with a blank. Such files are saved without class; the
/// manifest has it.
fn can_be_listed(path: &ObjectPath) -> bool {
    !path.as_bytes().iter().any(u8::is_ascii_whitespace)
}

/// False for attribute changes, which keep the names of a file.
fn is_made_anew(draft: &PlanBuilder<'_>, path: &ObjectPath) -> bool {
    let change = draft.changes.get(path);
    change.is_some_and(|change| !matches!(change.action, Action::Attributes(_)))
}

// The manifest numbers files with several names, before a patch and after it.

/// One path per place: prefers changed paths, then paths that do not lead elsewhere afterwards, then delivered and
/// recorded ones.
fn one_path_each<'a>(
    draft: &PlanBuilder<'a>,
    paths: &BTreeSet<ObjectPath>,
) -> impl Iterator<Item = (&'a ObjectPath, &'a Live)> {
    let inventory = draft.inventory;
    let turns = |above: &[u8]| {
        let change = draft.changes.get(above);
        change.is_some_and(|change| !matches!(change.action, Action::Attributes(_)))
    };
    let rank = |path: &ObjectPath| {
        let leads_elsewhere = path.ancestors_bytes().any(turns);
        let is_changed = draft.changes.contains_key(path);
        (is_changed, !leads_elsewhere, paths.contains(path), inventory.lines.contains_key(path))
    };
    let mut places: BTreeMap<&ObjectPath, (&ObjectPath, &Live)> = BTreeMap::new();
    for (path, live) in inventory.objects_with_names() {
        let place = inventory.physical.get(path).unwrap_or(path);
        let known = places.entry(place).or_insert((path, live));
        if rank(path) > rank(known.0) {
            *known = (path, live);
        }
    }
    places.into_values()
}

#[derive(Debug, Default)]
struct LinkGroups {
    numbers: BTreeMap<ObjectPath, u32>,
    first: BTreeMap<u32, ObjectPath>,
    after: BTreeMap<ObjectPath, u32>,
    links: BTreeMap<ObjectPath, ObjectPath>,
}

impl LinkGroups {
    fn of(draft: &PlanBuilder<'_>, paths: &BTreeSet<ObjectPath>) -> Self {
        let inventory = draft.inventory;
        let key = |path: &ObjectPath, live: &Live| -> (Option<usize>, Inode) {
            (inventory.on.get(path).copied(), live.inode)
        };
        let mut names: BTreeMap<_, Vec<&ObjectPath>> = BTreeMap::new();
        for (path, live) in one_path_each(draft, paths) {
            names.entry(key(path, live)).or_default().push(path);
        }
        // Inode numbers differ between file systems; the archive does not.
        let mut names: Vec<_> = names.into_values().filter(|names| names.len() > 1).collect();
        names.sort();
        let mut groups = Self::default();
        let mut next = 0;
        for names in names {
            if !names.iter().any(|path| paths.contains(*path) && draft.changes.contains_key(*path)) {
                continue;
            }
            next += 1;
            let is_link = |path: &ObjectPath| {
                inventory.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Link)
            };
            let changed: Vec<&&ObjectPath> =
                names.iter().filter(|path| draft.changes.contains_key(**path)).collect();
            // The content of a name that stays in place is not saved.
            let rank = |path: &&&&ObjectPath| (!is_made_anew(draft, path), is_link(path));
            let carrier = changed.iter().min_by_key(rank);
            if let Some(carrier) = carrier {
                groups.first.insert(next, (**carrier).clone());
            }
            groups.numbers.extend(names.into_iter().map(|path| (path.clone(), next)));
        }
        for change in draft.changes.values() {
            if let Action::Add(new) | Action::Replace(new) = &change.action
                && let Body::Link(source) = &new.body
            {
                next += u32::from(!groups.after.contains_key(source));
                groups.after.entry(source.clone()).or_insert(next);
                groups.links.insert(change.path.clone(), source.clone());
            }
        }
        groups
    }

    fn number_after(&self, path: &ObjectPath) -> Option<u32> {
        self.after.get(self.links.get(path).unwrap_or(path)).copied()
    }

    fn number_states(&self, record: &mut ObjectRecord, path: &ObjectPath, is_made_anew: bool) {
        if let Some(was) = &mut record.was {
            was.group = self.number(path);
        }
        if let Some(became) = &mut record.became {
            became.group = if is_made_anew { self.number_after(path) } else { self.number(path) };
        }
    }

    fn number(&self, path: &ObjectPath) -> Option<u32> {
        self.numbers.get(path).copied()
    }

    fn first_name(&self, path: &ObjectPath) -> Option<&ObjectPath> {
        self.first.get(&self.number(path)?).filter(|first| *first != path)
    }

    fn partners<'a>(&'a self, paths: &'a BTreeSet<ObjectPath>) -> impl Iterator<Item = &'a ObjectPath> {
        self.numbers.keys().filter(|path| !paths.contains(*path))
    }
}

// A backout computes the records of patches and restores none. Lines of a thousand patches in each archive would cost
// ever more, so only the first of consecutive lines of applied patches is kept, as the mark of their position. If a
// pkginfo is lost, each line is in the undo data of exactly one patch: the next one that was applied.

const PKGINFO: &[u8] = b"pkginfo";

pub(super) fn without_patch_info(
    mut records: BTreeMap<Vec<u8>, RecordFile>,
    old: &Params,
) -> BTreeMap<Vec<u8>, RecordFile> {
    if let (Some(file), Some(saved)) = (records.get_mut(PKGINFO), saved_params(old)) {
        file.bytes = params::write(&saved).into();
    }
    records
}

fn saved_params(old: &Params) -> Option<Params> {
    let list = old.text("PATCHLIST");
    let listed: HashSet<&str> = list.split_whitespace().collect();
    let mut saved = Params::new();
    let (mut is_behind_another, mut leaves_out) = (false, false);
    for (name, value) in old.iter() {
        let id = patch_of_info(name);
        if is_behind_another && id.is_some_and(|id| listed.contains(id)) {
            leaves_out = true;
        } else {
            saved.push(name, value);
        }
        is_behind_another = id.is_some();
    }
    leaves_out.then_some(saved)
}

/// Lines that no earlier undo data has, back to the last patch with a manifest. Classic archives have none.
fn patch_info(old: &Params, saves: &BTreeMap<String, Save>) -> BTreeMap<String, String> {
    let list = old.text("PATCHLIST");
    let mut found = BTreeMap::new();
    for id in list.split_whitespace().rev() {
        if let Some(value) = old.get(&format!("{PATCH_INFO}{id}")) {
            found.insert(id.to_owned(), encode(value));
        }
        if saves.get(id).is_some_and(Save::is_told) {
            break;
        }
    }
    found
}

// The procedure scripts of a backout package let any pkgadd(1M) back the patch out (patchadm-undo(5)). `checkinstall`
// refuses while a later revision is applied, and writes the lists as they read without the patch. It runs unprivileged.
// Its argument is the response file: `OLDLIST` there, or else `PATCHLIST` of the environment, are the applied patches;
// `ACTIVE_PATCH` and `ACTIVE_OBSOLETES` come from the package's pkginfo. The caller checks requirements and obsoletions
// of other patches. The response is used only if the exit code is 0.
//
// `postinstall` runs as root, and deletes the undo data and the objects that the patch had added. The file `deletes`
// beside it has one path in a line, objects below a directory before it; relative paths are below `CLIENT_BASEDIR`,
// blanks and control bytes are `\ooo`. A shared object stays, as removef(1M) decides, and so does a directory that is
// not empty.
//
// The scripts run in any `sh` and any `awk` that has functions. The nawk of System V stops at `key in array` while no
// array of that name exists, so each gets an element first.
//
// A patch may add class action scripts: its `u.<class>` is the `i.<class>` of the backout package (Application
// Packaging Developer's Guide, "Patching Packages"). Every other class with a saved file gets an `i.<class>` that
// copies: the class's script elsewhere may keep the existing file (`preserve`) or run the saved one (`build`). The
// input of a script has a blank between the two paths of a file, so files with a blank in their path are of class none
// there.
//
// This program restores from the manifest, and does not run its own scripts, known by their digests. The class action
// scripts of the patch take back the files of their classes.

/// By name in `install`. `delivered` is `install` of the patch, `saved` the classes of the saved files.
fn taking_back(delivered: &BTreeMap<String, Vec<u8>>, saved: BTreeSet<&str>) -> BTreeMap<String, Vec<u8>> {
    let copying = copying_scripts(saved);
    let of_classes = delivered.iter().filter_map(|(name, text)| {
        let class = name.strip_prefix("u.").filter(|class| !class.is_empty())?;
        Some((format!("i.{class}"), text.clone()))
    });
    let own = [("checkinstall", UNDO_CHECKINSTALL), ("postinstall", UNDO_POSTINSTALL)];
    let own = own.map(|(name, text)| (name.to_owned(), text.into())).into_iter();
    // the last of two files with one name counts
    own.chain(copying).chain(of_classes).collect()
}

pub(super) fn copying_scripts(saved: BTreeSet<&str>) -> impl Iterator<Item = (String, Vec<u8>)> {
    let copied = saved.into_iter().filter(|class| *class != "none");
    copied.map(|class| (format!("i.{class}"), UNDO_CLASS.into()))
}

#[cfg(test)]
mod tests {
    use patchadm_inputs::source::sun_scripts::{StockScript, role};

    use super::*;

    fn params(lines: &[(&str, &str)]) -> Params {
        lines.iter().copied().collect()
    }

    #[test]
    fn of_several_lines_of_applied_patches_the_first_is_saved_and_what_was_backed_out_is_too() {
        let old = params(&[
            ("PKG", "X"),
            ("PATCHLIST", "1-01 2-01 3-01"),
            ("PATCH_INFO_1-01", "Installed: a"),
            ("PATCH_INFO_2-01", "Installed: b"),
            ("PATCH_INFO_9-01", "backed out"),
            ("INSTDATE", "now"),
            ("PATCH_INFO_3-01", "Installed: c"),
        ]);
        let saved = params(&[
            ("PKG", "X"),
            ("PATCHLIST", "1-01 2-01 3-01"),
            ("PATCH_INFO_1-01", "Installed: a"),
            ("PATCH_INFO_9-01", "backed out"),
            ("INSTDATE", "now"),
            ("PATCH_INFO_3-01", "Installed: c"),
        ]);
        assert_eq!(saved_params(&old), Some(saved.clone()));
        assert_eq!(saved_params(&saved), None);
    }

    #[test]
    fn the_line_of_a_patch_is_with_the_undo_data_of_the_next_one() {
        let old = params(&[
            ("PATCHLIST", "1-01 2-01 3-01"),
            ("PATCH_INFO_1-01", "a"),
            ("PATCH_INFO_2-01", "b%"),
            ("PATCH_INFO_3-01", "c"),
        ]);
        let with_manifest = || Save { has_manifest: true, ..Save::default() };
        let lines = |saves: &[&str]| {
            let saves = saves.iter().map(|id| ((*id).to_owned(), with_manifest())).collect();
            patch_info(&old, &saves).into_values().collect::<Vec<_>>()
        };
        assert_eq!(lines(&["1-01", "2-01", "3-01"]), ["c"]);
        assert_eq!(lines(&["1-01", "2-01"]), ["b%25", "c"]);
        assert_eq!(lines(&[]), ["a", "b%25", "c"]);
    }

    #[test]
    fn behind_a_classic_archive_there_are_lines_of_which_nothing_else_tells() {
        let old = params(&[
            ("PATCHLIST", "1-01 2-01 3-01"),
            ("PATCH_INFO_1-01", "a"),
            ("PATCH_INFO_2-01", "b"),
            ("PATCH_INFO_3-01", "c"),
        ]);
        let here = |name: &str| Save { archive: Some(name.to_owned()), ..Save::default() };
        let pointer = |name: &str| Save {
            remote: Some(format!("TYPE=filesystem\nFIND_AT=/undo/{name}\nSTATE=active\n").into_bytes()),
            ..Save::default()
        };
        let lines = |third: Save| {
            let saves =
                BTreeMap::from([("2-01".to_owned(), here("obsolete.gz")), ("3-01".to_owned(), third)]);
            patch_info(&old, &saves).into_values().collect::<Vec<_>>()
        };
        assert_eq!(lines(here("undo.Z")), ["b", "c"]);
        assert_eq!(lines(pointer("undo.Z")), ["b", "c"]);
        let others = [here("undo.gz"), pointer("undo.gz"), Save { has_snapshot: true, ..here("undo.Z") }];
        for own in others {
            assert_eq!(lines(own), ["c"]);
        }
    }

    #[test]
    fn a_script_for_undoing_a_class_becomes_the_class_action_script() {
        let delivered = [("u.conf", "a\n"), ("i.conf", "b\n"), ("u.", "c\n"), ("deletes", "d\n")];
        let delivered = delivered.map(|(name, text)| (name.to_owned(), text.into()));
        let scripts = taking_back(&delivered.into(), BTreeSet::from(["conf", "none"]));
        assert_eq!(scripts.keys().collect::<Vec<_>>(), ["checkinstall", "i.conf", "postinstall"]);
        assert_eq!(scripts["i.conf"], b"a\n");
    }

    #[test]
    fn any_other_class_of_a_saved_file_gets_a_script_that_copies() {
        let scripts = taking_back(&BTreeMap::new(), BTreeSet::from(["build", "none", "preserve"]));
        let names: Vec<_> = scripts.keys().collect();
        assert_eq!(names, ["checkinstall", "i.build", "i.preserve", "postinstall"]);
        for name in ["i.build", "i.preserve"] {
            assert_eq!(role(name, &scripts[name]), Some(StockScript::ClassAction), "{name} is known");
        }
    }
}
