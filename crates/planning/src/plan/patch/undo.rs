//! The undo archive of a package: what has to be kept of the objects and records that a patch changes, so that the
//! tree after apply and backout is the tree before, to the last attribute.
//!
//! The SVR4 part (saved objects, `deletes`, old parameters, procedure scripts) is what any pkgadd can install; the
//! manifest says the rest. Digests of what is delivered are filled in when it has been staged.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_changeset::format::manifest::{
    KEPT_MANIFEST, Manifest, ManifestHeader, ObjectRecord, RecordedState, encode, recorded_xattrs,
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
use crate::plan::target::{PackageTarget, Wanted, classes};
use crate::plan::{Action, Body, NewObject, NewXattrs, TreeContent, TreeFile, UndoArchive, UndoPlace};

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

// DOC Which objects of a plan are made anew, and which stay where they are.

/// Whether a path gets another object, or none: one that gets other attributes keeps its names.
fn is_made_anew(draft: &PlanBuilder<'_>, path: &ObjectPath) -> bool {
    let change = draft.changes.get(path);
    change.is_some_and(|change| !matches!(change.action, Action::Attributes(_)))
}

// DOC The names of files with several of them, numbered as manifests have them: before a patch and after it.

/// The live objects that have several names, each by one path: one place under two paths (there is a link above it) is
/// one name, and goes by the path that the patch changes, else by one that it does not turn elsewhere, which is there when
/// the patch is backed out, else by the one that the patch or a record has.
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

/// The names that are one file before the patch, where at least two of them are known.
#[derive(Debug, Default)]
struct LinkGroups {
    /// Each name with the number of its group.
    numbers: BTreeMap<ObjectPath, u32>,
    /// For each group the name that carries the content.
    first: BTreeMap<u32, ObjectPath>,
    /// The groups that the patch makes, by the file that the others are linked to.
    after: BTreeMap<ObjectPath, u32>,
    /// The links that the patch makes, and the file that each is linked to.
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
        let mut groups = Self::default();
        let mut next = 0;
        for names in names.into_values().filter(|names| names.len() > 1) {
            if !names.iter().any(|path| paths.contains(*path) && draft.changes.contains_key(*path)) {
                continue;
            }
            next += 1;
            let is_link = |path: &ObjectPath| {
                inventory.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Link)
            };
            let changed: Vec<&&ObjectPath> =
                names.iter().filter(|path| draft.changes.contains_key(**path)).collect();
            // The content of a name that stays in its place is not saved.
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

    /// The group of a path after the patch.
    fn number_after(&self, path: &ObjectPath) -> Option<u32> {
        self.after.get(self.links.get(path).unwrap_or(path)).copied()
    }

    /// Writes down which names are one file, before and after.
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

    /// The name that carries the content of a path, where that is another one.
    fn first_name(&self, path: &ObjectPath) -> Option<&ObjectPath> {
        self.first.get(&self.number(path)?).filter(|first| *first != path)
    }

    /// Names of the groups that the patch does not touch.
    fn partners<'a>(&'a self, paths: &'a BTreeSet<ObjectPath>) -> impl Iterator<Item = &'a ObjectPath> {
        self.numbers.keys().filter(|path| !paths.contains(*path))
    }
}

// DOC The pkginfo that an undo archive keeps of before the patch.
// DOC
// DOC A backout computes the records of patches and restores none, and a pkginfo with a thousand patches has a line for each of
// DOC them: an archive with all these lines costs more the later its patch came. So the lines of applied patches are left out but
// DOC the first of several in a row, which says where they stand. For a pkginfo that was lost each line is with the undo data of
// DOC exactly one patch: the next one that was applied.

/// The name of the file.
const PKGINFO: &[u8] = b"pkginfo";

/// Leaves the lines of applied patches out of the pkginfo among the saved records, of which these are the parameters.
pub(super) fn without_patch_info(
    mut records: BTreeMap<Vec<u8>, RecordFile>,
    old: &Params,
) -> BTreeMap<Vec<u8>, RecordFile> {
    if let (Some(file), Some(saved)) = (records.get_mut(PKGINFO), saved_params(old)) {
        file.bytes = params::write(&saved).into();
    }
    records
}

/// The parameters as they are saved; none where nothing is left out of them.
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

/// The lines of applied patches that no earlier undo data has: that of the last patch, and of those before it up to the last
/// one with a manifest, which has all before itself. A classic archive has none, and tells of no other patch.
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

// DOC The procedure scripts of a backout package: with them any pkgadd(1M) backs the patch out. Every archive holds them,
// DOC so they say little of themselves; it is said here and in patchadm-undo(5).
// DOC
// DOC `checkinstall` refuses while a later revision is applied and writes the lists as they read without the patch. It
// DOC runs as a user without privileges. Its argument is the response file: `OLDLIST` there, or else `PATCHLIST` of the
// DOC environment, are the patches that are applied; `ACTIVE_PATCH` and `ACTIVE_OBSOLETES` come from the pkginfo of the
// DOC package. What other patches require, and what obsoletes this one, is for the caller to decide. The response is
// DOC added to only where the exit code is 0.
// DOC
// DOC `postinstall` deletes what the patch had added, and the undo data. It runs as root. The file `deletes` beside it has
// DOC one path in a line, objects below a directory before it; relative paths are below `CLIENT_BASEDIR`, and blanks and
// DOC control bytes stand as `\ooo`. What another package has as well stays, as removef(1M) decides, and so does a
// DOC directory that is not empty.
// DOC
// DOC They run in any `sh` and any `awk` that has functions. The nawk of System V is the strictest: it stops at
// DOC `key in array` while nothing has made an array of that name, so each gets an element first.
// DOC
// DOC A patch may add class action scripts: its `u.<class>` is the `i.<class>` of the backout package
// DOC (Application Packaging Developer's Guide, "Patching Packages").
// DOC
// DOC Every other class with a saved file gets an `i.<class>` that copies: the script that the class has elsewhere may
// DOC keep the file that is there (`preserve`) or run the saved one (`build`), and the object keeps its class. What a
// DOC script reads has a blank between the two paths of a file, so files with a blank in their path are of class none there.
// DOC
// DOC This program restores from the manifest, and knows its own scripts by their digests: it needs none of them run. The
// DOC class action scripts of the patch take back the files of their classes.

/// The scripts of the package that takes a patch back, by their names in `install`; `delivered` is `install` of the
/// patch, `saved` has the classes of the saved files.
fn taking_back(delivered: &BTreeMap<String, Vec<u8>>, saved: BTreeSet<&str>) -> BTreeMap<String, Vec<u8>> {
    let copying = copying_scripts(saved);
    let of_classes = delivered.iter().filter_map(|(name, text)| {
        let class = name.strip_prefix("u.").filter(|class| !class.is_empty())?;
        Some((format!("i.{class}"), text.clone()))
    });
    let own = [("checkinstall", UNDO_CHECKINSTALL), ("postinstall", UNDO_POSTINSTALL)];
    let own = own.map(|(name, text)| (name.to_owned(), text.into())).into_iter();
    // of two with one name the last counts
    own.chain(copying).chain(of_classes).collect()
}

/// The scripts that copy the saved files of these classes; pkgadd(1M) itself installs those of class none.
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
