//! A root in memory: an inventory, the bytes of its files, and its undo archives.
//!
//! Here a plan is carried out by the plain meaning of each change, without the steps that a real transaction
//! takes for safety.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::parcel::Parcel;
use super::world_links::place_after;
use super::{package, path};
use crate::plan::clock::Now;
use crate::plan::package::install::{InstallOptions, install};
use crate::plan::patch::apply::apply;
use crate::plan::patch::back_out::{back_out, may_back_out};
use crate::plan::patch::backout_input::{
    BackOutOptions, BackoutArchive, GoingPatch, LaterArchive, LaterUndo, UndoSources,
};
use crate::plan::patch::patch_plan::PatchPlan;
use crate::plan::patch::taking_over::taking_over;
use crate::plan::patch::validate::{ApplyOptions, applied_to};
use crate::plan::refusal::{Reason, Refusal};
use crate::plan::{Action, Body, Member, NewObject, NewXattrs, Plan, UndoArchive};
use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::{RecordedState, UndoManifest, decode};
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::inventory::{FileSystem, Inventory};
use patchadm_inputs::policy::Policy;
use patchadm_inputs::source::PackageImage;
use patchadm_rootfs::{Digest, FileType, Inode, Live, LiveKind, Timestamp, Xattrs};
use patchadm_svr4::format::admin::{Admin, CheckAnswer, ConflictAnswer};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::checksum::sum;
use patchadm_svr4::package::{Accounts, Mode, ObjectPath, PackagePath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// An undo archive, as it would be read back.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) image: PackageImage,
    pub(super) manifest: UndoManifest,
    pub(super) records: BTreeMap<Vec<u8>, RecordFile>,
    pub(super) bytes: BTreeMap<PackagePath, Vec<u8>>,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) inventory: Inventory,
    pub(super) bytes: BTreeMap<ObjectPath, Vec<u8>>,
    pub(super) archives: BTreeMap<(PkgInst, String), Stored>,
    pub(super) policy: Policy,
    pub(super) options: ApplyOptions,
    pub(super) removal: BackOutOptions,
    /// `-f` of patchrm.
    pub(super) force: bool,
    /// True if paths lead through symbolic links.
    pub(super) follows_links: bool,
    inodes: u64,
    /// The questions after which a signal is there.
    pub(super) patience: usize,
}

pub(super) fn now() -> Now {
    let when = |text| chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
    let (utc, local) = (when("2026-11-20 06:37:39"), when("2026-11-20 07:37:39"));
    Now { utc, local, host: "web1".to_owned() }
}

/// Returns the patch records of all packages.
pub(super) fn applied(inventory: &Inventory) -> Result<AppliedPatches, Reason> {
    let packages: Vec<_> = inventory.packages.iter().collect();
    applied_to(&packages, "-").map(AppliedPatches::new)
}

impl World {
    /// An empty root of a privileged user.
    pub(super) fn new() -> Self {
        let accounts =
            Accounts::parse(b"root:x:0:0:::\nweb:x:80:80:::\n", b"root:x:0:\nbin:x:2:\nsys:x:3:\n");
        let inventory = Inventory {
            marker: "0123456789abcdef".to_owned(),
            accounts,
            privileged: true,
            caller: (0, 0),
            file_systems: vec![FileSystem {
                name: "/".to_owned(),
                free: 1 << 30,
                inodes: None,
                unit: 4096,
                is_read_only: false,
                unsupported: None,
            }],
            ..Inventory::default()
        };
        let mut world = Self {
            inventory,
            bytes: BTreeMap::new(),
            archives: BTreeMap::new(),
            policy: Policy::default(),
            options: ApplyOptions::default(),
            removal: BackOutOptions::default(),
            force: false,
            follows_links: false,
            inodes: 100,
            patience: usize::MAX,
        };
        for directory in ["/", "/opt", "/etc"] {
            world.put(directory, LiveKind::Directory, 0o755);
        }
        world
    }

    /// The same root of a user without privileges.
    pub(super) fn unprivileged(mut self) -> Self {
        self.inventory.privileged = false;
        self.inventory.caller = (1000, 1000);
        for live in self.inventory.live.values_mut() {
            (live.uid, live.gid) = (1000, 1000);
        }
        self
    }

    /// Installs a package as delivered, without a planner.
    pub(super) fn with(mut self, parcel: &Parcel) -> Self {
        let plan = install(
            &parcel.image,
            0,
            &self.inventory,
            &InstallOptions {
                admin: Admin {
                    conflict: ConflictAnswer::NoCheck,
                    action: CheckAnswer::NoCheck,
                    ..Admin::delivered()
                },
                ..InstallOptions::default()
            },
            &now(),
        );
        self.carry_out(&plan.unwrap().plan, parcel);
        self
    }

    /// Like [`with`](Self::with), but returns `None` if a planner refuses the package.
    pub(super) fn if_installed(self, parcel: &Parcel) -> Option<Self> {
        let admin = Admin { conflict: ConflictAnswer::NoCheck, ..Admin::delivered() };
        let options = InstallOptions { admin, ..InstallOptions::default() };
        let plan = install(&parcel.image, 0, &self.inventory, &options, &now());
        plan.is_ok().then(|| self.with(parcel))
    }

    /// Puts an object there by hand: it is the caller's.
    pub(super) fn put(&mut self, at: &str, kind: LiveKind, mode: u32) {
        let (uid, gid) = self.inventory.caller;
        let live =
            self.live(kind, mode, uid, gid, Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 });
        self.inventory.live.insert(path(at), live);
    }

    /// Writes a file by hand, as an administrator does.
    pub(super) fn write(&mut self, at: &str, bytes: &str) {
        self.put(at, regular(bytes.as_bytes()), 0o600);
        self.bytes.insert(path(at), bytes.as_bytes().to_vec());
    }

    /// Puts something else in the place of an object by hand.
    pub(super) fn replace(&mut self, at: &ObjectPath, kind: LiveKind) {
        self.put(&at.to_string(), kind, 0o777);
        self.bytes.remove(at);
        self.count_links();
    }

    /// Removes an object by hand.
    pub(super) fn take(&mut self, at: &ObjectPath) {
        self.inventory.live.remove(at);
        self.bytes.remove(at);
        self.count_links();
    }

    /// Returns the content of a file.
    pub(super) fn read(&self, at: &str) -> Option<String> {
        self.bytes.get(&path(at)).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Returns a parameter of an installed package.
    pub(super) fn param(&self, name: &str, parameter: &str) -> String {
        self.inventory.packages[&package(name)].params.text(parameter).into_owned()
    }

    /// Returns the line of a path in `contents`.
    pub(super) fn line(&self, at: &str) -> Option<String> {
        self.inventory.lines.get(&path(at)).map(|line| String::from_utf8_lossy(&line.write()).into_owned())
    }

    pub(super) fn plan(&mut self, parcel: &Parcel) -> Result<Plan, Refusal> {
        self.survey(parcel);
        let planned = self.apply(parcel).map(|all| all.plan);
        if planned.is_err() {
            self.forget_beyond_links();
        }
        planned
    }

    /// Returns a new check for a signal, which comes after `patience` questions.
    fn interrupt(&self) -> impl Fn() -> Option<i32> + Sync {
        let (asked, patience) = (AtomicUsize::new(0), self.patience);
        move || (asked.fetch_add(1, Ordering::Relaxed) >= patience).then_some(15)
    }

    /// Plans a patch with the inventory as it is.
    pub(super) fn apply(&self, parcel: &Parcel) -> Result<PatchPlan, Refusal> {
        let applied = applied(&self.inventory);
        apply(
            &parcel.image,
            &self.inventory,
            applied.as_ref().map_err(Clone::clone),
            &self.policy,
            &self.options,
            &now(),
            &self.interrupt(),
        )
    }

    /// Asks the rules about a backout, and plans it.
    pub(super) fn back_out(
        &self,
        id: &str,
        archives: &[BackoutArchive<'_>],
        options: &BackOutOptions,
    ) -> Result<PatchPlan, Refusal> {
        let (id, inventory, policy) = (super::id(id), &self.inventory, &self.policy);
        let applied = applied(inventory);
        let packages =
            may_back_out(&id, inventory, applied.as_ref().map_err(Clone::clone), policy, self.force)?;
        let sources = UndoSources { archives, later: &[] };
        let (going, now, interrupt) = ([GoingPatch { id, packages }], now(), self.interrupt());
        back_out(&going, sources, inventory, policy, options, &now, &interrupt)
    }

    /// Plans a patch and carries it out. Returns the exit code.
    pub(super) fn patchadd(&mut self, parcel: &Parcel) -> u8 {
        match self.plan(parcel) {
            Ok(plan) => {
                self.carry_out(&plan, parcel);
                0
            }
            Err(refusal) => refusal.code(),
        }
    }

    pub(super) fn plan_removal(&mut self, id: &str) -> Result<Plan, Refusal> {
        let planned = self.plan_removals(&[id]);
        self.forget_beyond_links();
        planned
    }

    /// Plans the backout of patches, the last applied first.
    pub(super) fn plan_removals(&mut self, ids: &[&str]) -> Result<Plan, Refusal> {
        self.remember();
        self.look_beyond_links(None);
        let sources = self.sources(ids);
        let parsed: Vec<PatchId> = ids.iter().map(|id| super::id(id)).collect();
        let archives: Vec<BackoutArchive<'_>> = sources
            .iter()
            .enumerate()
            .map(|(index, (package, patch, stored))| BackoutArchive {
                patch: parsed.iter().find(|id| id.as_str() == patch.as_str()).unwrap(),
                package,
                index,
                image: &stored.image,
                made_by_scripts: None,
                manifest: Some(&stored.manifest),
                records: &stored.records,
                is_bound: true,
                native: Some("1.0"),
                outside: None,
            })
            .collect();
        let (inventory, policy) = (&self.inventory, &self.policy);
        let mut going = Vec::new();
        let mut records = applied(inventory).unwrap();
        for id in &parsed {
            let packages = may_back_out(id, inventory, Ok(&records), policy, self.force)?;
            going.push(GoingPatch { id: id.clone(), packages });
            records.record_backed_out(id);
        }
        let mut removal = self.removal.clone();
        removal.later.retain(|(_, patch), _| !ids.contains(&patch.as_str()));
        let heirs = taking_over(&going, &archives, inventory, (policy, &now()), &removal)?;
        let later: Vec<LaterUndo<'_>> = heirs
            .iter()
            .enumerate()
            .map(|(place, (package, id))| {
                let stored = &self.archives[&(package.clone(), id.to_string())];
                let index = sources.len() + place;
                let archive = LaterArchive {
                    index,
                    image: &stored.image,
                    records: &stored.records,
                    format: UndoFormat::Gzip,
                    outside: None,
                    is_used_up: false,
                    is_snapshot: false,
                };
                LaterUndo {
                    package,
                    patch: id.to_string(),
                    manifest: &stored.manifest,
                    archive: Some(archive),
                }
            })
            .collect();
        let sources = UndoSources { archives: &archives, later: &later };
        back_out(&going, sources, inventory, policy, &removal, &now(), &self.interrupt()).map(|all| all.plan)
    }

    /// Returns the archives of patches, by their places among the sources of a run.
    fn sources(&self, ids: &[&str]) -> Vec<(PkgInst, String, Stored)> {
        let of = |id: &&str| {
            let archives = self.archives.iter().filter(|((_, patch), _)| patch == *id);
            archives
                .map(|((package, patch), stored)| (package.clone(), patch.clone(), stored.clone()))
                .collect::<Vec<_>>()
        };
        ids.iter().flat_map(of).collect()
    }

    pub(super) fn patchrm(&mut self, id: &str) -> u8 {
        self.patchrm_all(&[id])
    }

    /// Backs patches out in one run, the last applied first. Returns the exit code.
    pub(super) fn patchrm_all(&mut self, ids: &[&str]) -> u8 {
        match self.plan_removals(ids) {
            Ok(plan) => {
                let mut parcel = Parcel::empty(ids[0]);
                let mut stored: Vec<Stored> =
                    self.sources(ids).into_iter().map(|(_, _, stored)| stored).collect();
                let key = |undo: &UndoArchive| (undo.package.clone(), undo.patch.clone());
                stored.extend(plan.undo.iter().map(|undo| self.archives[&key(undo)].clone()));
                for (index, stored) in stored.into_iter().enumerate() {
                    parcel.bytes.extend(stored.bytes.into_iter().map(|(at, bytes)| ((index, at), bytes)));
                }
                self.carry_out(&plan, &parcel);
                self.archives.retain(|(_, patch), _| !ids.contains(&patch.as_str()));
                0
            }
            Err(refusal) => refusal.code(),
        }
    }

    /// Returns the tree outside `var/sadm`, to the last attribute; names of one file have the number of the
    /// first of them.
    pub(super) fn tree(&self) -> Vec<String> {
        let mut first: BTreeMap<u64, usize> = BTreeMap::new();
        let objects = self.inventory.live.iter().filter(|(at, _)| !at.as_bytes().starts_with(b"/var"));
        objects
            .enumerate()
            .map(|(number, (at, live))| {
                let group = first.entry(live.inode.number).or_insert(number);
                let mtime = if live.is_directory() { Timestamp::default() } else { live.mtime };
                let Live { kind, mode, uid, gid, xattrs, .. } = live;
                format!("{at} {kind:?} {mode:?} {uid} {gid} {mtime:?} {xattrs:?} {group}")
            })
            .collect()
    }

    /// Returns all lines of `contents`.
    pub(super) fn contents(&self) -> Vec<String> {
        let lines = self.inventory.lines.values();
        lines.map(|line| String::from_utf8_lossy(&line.write()).into_owned()).collect()
    }

    fn live(&mut self, kind: LiveKind, mode: u32, uid: u32, gid: u32, mtime: Timestamp) -> Live {
        self.inodes += 1;
        Live {
            kind,
            mode: Mode::of(mode),
            uid,
            gid,
            mtime,
            ctime: mtime,
            inode: Inode { number: self.inodes, born: None },
            links: 1,
            xattrs: Xattrs::new(),
            obstacle: None,
        }
    }

    /// Compares delivered bytes with those that are there, and says what patches delivered before.
    fn survey(&mut self, parcel: &Parcel) {
        self.remember();
        self.look_beyond_links(Some(parcel));
        self.inventory.identical.clear();
        for (index, delivered) in parcel.image.packages.iter().enumerate() {
            for entry in delivered.files() {
                let basedir = path(delivered.params.text("BASEDIR").as_ref());
                let Ok(at) = entry.path.resolve(&basedir, |_| None) else { continue };
                if self.bytes.get(&at) == parcel.bytes.get(&(index, entry.path.clone())) {
                    self.inventory.identical.insert(at);
                }
            }
        }
    }

    /// Lets the planner of backouts read what all patches did.
    pub(super) fn know_all(&mut self) {
        let manifests = self.archives.iter().map(|(key, stored)| (key.clone(), stored.manifest.clone()));
        self.removal.later = manifests.collect();
    }

    /// Records what the undo manifests of the applied patches say of each path.
    pub(super) fn remember(&mut self) {
        self.inventory.delivered.clear();
        self.inventory.patched_by.clear();
        for (name, installed) in &self.inventory.packages {
            for patch in installed.params.text("PATCHLIST").split_whitespace() {
                let Some(stored) = self.archives.get(&(name.clone(), patch.to_owned())) else { continue };
                for object in stored.manifest.objects.iter().filter(|object| object.is_listed()) {
                    let at = ObjectPath::new(&decode(&object.path)).unwrap();
                    let digest = object.became.as_ref().and_then(RecordedState::digest);
                    match digest {
                        Some(digest) => drop(self.inventory.delivered.insert(at.clone(), digest)),
                        None => drop(self.inventory.delivered.remove(&at)),
                    }
                    self.inventory.patched_by.entry(at).or_default().push(patch.to_owned());
                }
            }
        }
    }

    /// Sets the facts that a backout knows of a patch that was applied later to every package that has it.
    pub(super) fn know_later(&mut self, patch: &str) {
        for ((name, of), stored) in self.archives.iter().filter(|((_, of), _)| of == patch) {
            self.removal.later.insert((name.clone(), of.clone()), stored.manifest.clone());
        }
    }

    /// Carries out a plan.
    pub(super) fn carry_out(&mut self, plan: &Plan, parcel: &Parcel) {
        let before = self.clone();
        self.archive(plan, parcel);
        let mut made: BTreeMap<&ObjectPath, (Live, Option<Vec<u8>>)> = BTreeMap::new();
        for links in [false, true] {
            for change in &plan.changes {
                if let Action::Add(new) | Action::Replace(new) = &change.action
                    && matches!(new.body, Body::Link(_)) == links
                {
                    let object = self.make(new, change.old.as_deref(), &before, &made, parcel);
                    made.insert(&change.path, object);
                }
            }
        }
        for change in &plan.changes {
            let there = before.inventory.live.get(&change.path);
            assert!(there == change.old.as_deref() || before.through(&change.path), "{}", change.path);
            match &change.action {
                Action::Add(_) | Action::Replace(_) | Action::Delete => {
                    self.inventory.live.remove(&change.path);
                    self.bytes.remove(&change.path);
                }
                Action::Attributes(new) => {
                    let live = self.inventory.live.get_mut(&change.path).unwrap();
                    assert!(
                        self.inventory.privileged || live.uid == 1000,
                        "{} is another one's",
                        change.path
                    );
                    live.mode = new.mode.unwrap_or(live.mode);
                    live.uid = new.uid.unwrap_or(live.uid);
                    live.gid = new.gid.unwrap_or(live.gid);
                    live.xattrs = new.xattrs.clone().unwrap_or(live.xattrs.clone());
                }
                Action::RemoveDirectory => {}
            }
        }
        for (at, (live, bytes)) in made {
            self.inventory.live.insert(at.clone(), live);
            self.bytes.extend(bytes.map(|bytes| (at.clone(), bytes)));
        }
        let places = self.move_beyond_links(plan, &before);
        for change in
            plan.changes.iter().rev().filter(|change| matches!(change.action, Action::RemoveDirectory))
        {
            let place = place_after(plan, &places, &change.path);
            if !self.inventory.live.keys().any(|at| at.is_below(&place)) {
                self.inventory.live.remove(&place);
            }
        }
        self.count_links();
        for (at, line) in &plan.contents {
            match line {
                Some(line) => drop(self.inventory.lines.insert(at.clone(), (**line).clone())),
                None => drop(self.inventory.lines.remove(at)),
            }
        }
        for record in &plan.records {
            self.record(record, plan);
        }
    }

    /// Returns true if a path is reached through something that the plan turns into a directory.
    fn through(&self, at: &ObjectPath) -> bool {
        at.ancestors().any(|above| self.inventory.live.get(&above).is_some_and(|live| !live.is_directory()))
    }

    fn make(
        &mut self,
        new: &NewObject,
        old: Option<&Live>,
        before: &Self,
        made: &BTreeMap<&ObjectPath, (Live, Option<Vec<u8>>)>,
        parcel: &Parcel,
    ) -> (Live, Option<Vec<u8>>) {
        let (kind, bytes) = match &new.body {
            Body::Member(member) => {
                let bytes = delivered(parcel, member);
                (regular(&bytes), Some(bytes))
            }
            Body::CopyOf(at) => (regular(&before.bytes[at]), Some(before.bytes[at].clone())),
            Body::Directory => (LiveKind::Directory, None),
            Body::Symlink(to) => (LiveKind::Symlink(to.clone()), None),
            Body::Pipe => (LiveKind::Pipe, None),
            Body::Device { block, major, minor } => {
                (LiveKind::Device { block: *block, major: *major, minor: *minor }, None)
            }
            Body::Link(source) => {
                let there = || (before.inventory.live[source].clone(), before.bytes.get(source).cloned());
                return made.get(source).cloned().unwrap_or_else(there);
            }
        };
        let now = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
        let mode = if matches!(kind, LiveKind::Symlink(_)) { 0o777 } else { new.mode.bits() };
        let (mut uid, mut gid) = (new.uid, new.gid);
        if !self.inventory.privileged {
            assert!(!matches!(kind, LiveKind::Device { .. }), "only root makes a device");
            assert!(mode & 0o4000 == 0 || uid == 1000, "a program of another user becomes one of the caller");
            (uid, gid) = self.inventory.caller;
        }
        let mut live = self.live(kind, mode, uid, gid, new.mtime.unwrap_or(now));
        live.xattrs = match &new.xattrs {
            NewXattrs::Exact(xattrs) | NewXattrs::Given(xattrs) => xattrs.clone(),
            NewXattrs::Inherited => old.map(|old| old.xattrs.clone()).unwrap_or_default(),
        };
        (live, bytes)
    }

    /// Counts the names of all files.
    pub(super) fn count_links(&mut self) {
        let mut names: BTreeMap<u64, u64> = BTreeMap::new();
        for live in self.inventory.live.values() {
            *names.entry(live.inode.number).or_default() += 1;
        }
        for live in self.inventory.live.values_mut() {
            live.links = names[&live.inode.number];
        }
    }

    /// Writes the undo archives of a plan, as the transaction does: with the digests of what is delivered.
    fn archive(&mut self, plan: &Plan, parcel: &Parcel) {
        for undo in &plan.undo {
            let mut manifest = undo.manifest.clone();
            for object in &mut manifest.objects {
                let at = ObjectPath::new(&decode(&object.path)).unwrap();
                let Some(became) = &mut object.became else { continue };
                if let Some(member) = new_content(plan, &at).filter(|_| became.kind == FileType::Regular) {
                    let digest = Digest::of(&delivered(parcel, member));
                    became.b3.get_or_insert_with(|| Box::new(digest.into()));
                }
            }
            let mut bytes = BTreeMap::new();
            for (entry, at) in undo.saved.iter().filter(|(entry, _)| entry.object.ftype.is_regular()) {
                let version = undo.passing.get(at).map(|version| &plan.versions[version.unwrap()]);
                let saved = match version {
                    Some(version) => delivered(parcel, &version.member),
                    None => self.bytes[at].clone(),
                };
                bytes.insert(entry.path.clone(), saved);
            }
            let entries = undo.saved.iter().map(|(entry, _)| entry.clone()).collect();
            let map = Pkgmap { parts: 1, max_blocks: 1, compressed_blocks: None, entries };
            let mut image = PackageImage::without_source(undo.pkginfo.clone(), map);
            image.deletes.clone_from(&undo.deletes);
            let manifest = UndoManifest::parse(&manifest.to_bytes()).unwrap();
            let stored = Stored { image, manifest, records: undo.records.clone(), bytes };
            self.archives.insert((undo.package.clone(), undo.patch.clone()), stored);
        }
    }
}

/// Returns the content that a plan puts at a path, by itself or as another name of a new file.
fn new_content<'p>(plan: &'p Plan, at: &ObjectPath) -> Option<&'p Member> {
    let change = plan.changes.iter().find(|change| change.path == *at)?;
    let (Action::Add(new) | Action::Replace(new)) = &change.action else { return None };
    match &new.body {
        Body::Member(member) => Some(member),
        Body::Link(source) => new_content(plan, source),
        _ => None,
    }
}

fn delivered(parcel: &Parcel, member: &Member) -> Vec<u8> {
    let bytes = parcel.bytes[&(member.package, member.path.clone())].clone();
    assert_eq!((member.size, member.cksum), (bytes.len() as u64, sum(&bytes)));
    bytes
}

pub(super) fn regular(bytes: &[u8]) -> LiveKind {
    LiveKind::Regular { size: bytes.len() as u64, b3: Digest::of(bytes), cksum: sum(bytes) }
}
