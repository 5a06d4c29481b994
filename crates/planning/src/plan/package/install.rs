//! `pkgadd`: what installing one package does to a root, as a new instance or over an installed one.
//!
//! The admin file decides where the package goes and what stops it (admin(4)). A question that it leaves open is a
//! refusal if no one can be asked. Unrecorded and edited files are kept beside the new ones. The class script, if there
//! is one, decides the fate of an edited file. `update` covers the replacement of another version.

use std::collections::BTreeSet;

use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::policy::{Edited, ScriptPolicy};
use patchadm_inputs::source::{Image, PackageImage};
use patchadm_rootfs::LiveKind;
use patchadm_svr4::format::admin::{Admin, CheckAnswer, ConflictAnswer};
use patchadm_svr4::format::depend::Depend;
use patchadm_svr4::format::space as format_of_space;
use patchadm_svr4::package::{Ftype, Mode, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::depend::unmet_at_installation;
use super::given_up::{consider_edits, take_away, yielding};
use super::package_records::{DamagedPackage, RecordedBefore, package_records};
use crate::plan::clock::Now;
use crate::plan::edits::{EditChoice, Edits};
use crate::plan::links::sources_first;
use crate::plan::objects::Handling;
use crate::plan::parameters::kept_out;
use crate::plan::plan_builder::{NativeRule, PlanBuilder};
use crate::plan::records::package_path;
use crate::plan::refusal::{Command, ObjectInUse, Reason, Refusal};
use crate::plan::script_schedule::steps::MappedObject;
use crate::plan::scripts::{InstallScripts, SystemScripts, is_passing, is_recorded};
use crate::plan::target::{PackageTarget, Wanted};
use crate::plan::{Action, Body, Plan, RecordChange, SpaceNeed, space};

/// The settings that decide about an installation, apart from the package.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// The admin file.
    pub admin: Admin,
    /// Whether the user can be asked. What the admin file leaves open is then taken as agreed to: the command asks
    /// before it carries the plan out.
    pub conversation: bool,
    /// Whether nobody may be asked, now or before. A package that says nowhere where it goes is refused then.
    pub is_batch: bool,
    /// The environment that is recorded: LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
    /// The answers of request and checkinstall scripts, or of a response file.
    pub response: Params,
    /// The symbolic links to directories that the package's directories replace nevertheless.
    pub overridden: BTreeSet<ObjectPath>,
    /// The class action scripts that are there beside the package's own.
    pub system: SystemScripts,
    /// Which scripts may run.
    pub scripts: ScriptPolicy,
    /// The patch that the package is installed as a part of.
    pub patch: Option<OfPatch>,
    /// Whether the root is another than `/`: then a package without BASEDIR is recorded with `/`.
    pub is_other_root: bool,
    /// The remains of the package, if its record is damaged and is created again.
    pub damaged: Option<DamagedPackage>,
    /// Whether the package replaces another version of itself, from which nothing stays.
    pub update: bool,
    /// The separator of patch ids in the root.
    pub separator: String,
}

/// A patch whose scripts have its packages installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfPatch {
    /// Its id, after which copies of edited files are named.
    pub id: String,
    /// Whether what it replaces is in undo data, so that only files which are meant to be edited are copied.
    pub is_saved: bool,
    /// Whether it is applied: then edited files whose class has a script are copied as well. A script that takes a patch
    /// back knows what is whose.
    pub is_applied: bool,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self {
            admin: Admin::delivered(),
            conversation: false,
            is_batch: false,
            environment: Params::new(),
            response: Params::new(),
            overridden: BTreeSet::new(),
            system: SystemScripts::default(),
            scripts: ScriptPolicy::default(),
            patch: None,
            is_other_root: false,
            damaged: None,
            update: false,
            separator: PatchId::SEPARATOR.to_owned(),
        }
    }
}

/// An installation that is planned.
#[derive(Clone, Debug)]
pub struct IntendedInstall {
    /// Everything that changes, as if no script took part.
    pub plan: Plan,
    /// The parameters of the package afterwards.
    pub params: Params,
    /// The scripts that take part; the course of the run is made of them and the plan.
    pub scripts: InstallScripts,
    /// Every object of the package, whether it changes or not.
    pub mapped: Vec<MappedObject>,
    /// The files of `install` that go when everything is done: scripts that only this run has a use for.
    pub passing: Vec<String>,
}

impl IntendedInstall {
    /// Makes the package the one at this place of its source.
    pub fn read_from(&mut self, index: usize) {
        for change in &mut self.plan.changes {
            if let Action::Add(new) | Action::Replace(new) = &mut change.action
                && let Body::Member(member) = &mut new.body
            {
                member.package = index;
            }
        }
    }

    /// The same for a package that is restored in the end: until then its parameters are what scripts answered, and no
    /// lines of a ledger are judged by them.
    #[must_use]
    pub fn without_ledger(&self) -> Self {
        let mut intended = self.clone();
        intended.plan.records.retain(|record| !matches!(record, RecordChange::Ledger(_)));
        intended
    }

    /// Gives the package other parameters, in its record as well.
    pub fn set_params(&mut self, params: Params) -> Result<(), Reason> {
        let Some(package) = self.plan.packages.first() else { return Ok(()) };
        let path = package_path(package, b"pkginfo")?;
        let text = patchadm_svr4::format::params::write(&params);
        self.params = params;
        for record in &mut self.plan.records {
            match record {
                RecordChange::Write { path: at, bytes, .. } if *at == path => {
                    *bytes = text;
                    return Ok(());
                }
                _ => {}
            }
        }
        let mode = Mode::of(0o644);
        self.plan.records.push(RecordChange::Write { path, bytes: text, mode, mtime: None });
        Ok(())
    }
}

/// Returns where the package at a place of the image would go: the instance, and its parameters (BASEDIR and CLASSES
/// among them). Of the inventory it looks at the packages only, so that the paths concerned can be surveyed after it.
pub fn placement(
    image: &Image,
    index: usize,
    inventory: &Inventory,
    options: &InstallOptions,
    now: &Now,
) -> Result<(PkgInst, Params), Refusal> {
    let refuse = |reason: Reason| refusal(image, index, reason);
    let delivered = image.packages.get(index).ok_or_else(|| refuse(Reason::NoSuchPackage))?;
    let installation = Installation { delivered, index, inventory, options, now };
    installation.placement().map_err(refuse)
}

/// Plans the installation of the package at a place of the image.
pub fn install(
    image: &Image,
    index: usize,
    inventory: &Inventory,
    options: &InstallOptions,
    now: &Now,
) -> Result<IntendedInstall, Refusal> {
    let refuse = |reason: Reason| refusal(image, index, reason.shown(inventory));
    let delivered = image.packages.get(index).ok_or_else(|| refuse(Reason::NoSuchPackage))?;
    let installation = Installation { delivered, index, inventory, options, now };
    installation.plan().map_err(refuse)
}

fn refusal(image: &Image, index: usize, reason: Reason) -> Refusal {
    let name = image.packages.get(index).map(|package| package.params.text("PKG").into_owned());
    reason.of(Command::Pkgadd, &name.unwrap_or_else(|| image.name.clone()))
}

/// One package, one root, one set of answers.
pub(super) struct Installation<'a> {
    pub(super) delivered: &'a PackageImage,
    pub(super) index: usize,
    pub(super) inventory: &'a Inventory,
    pub(super) options: &'a InstallOptions,
    pub(super) now: &'a Now,
}

impl Installation<'_> {
    fn plan(&self) -> Result<IntendedInstall, Reason> {
        let (package, params) = self.placement()?;
        let scripts = InstallScripts::of(self.delivered, &params, &self.options.system);
        scripts.check(self.delivered, package.as_str(), self.options.scripts)?;
        self.check_depend(&package)?;
        self.check_privilege(&scripts)?;
        let old = self.inventory.packages.get(&package);
        let target = PackageTarget::new(package.clone(), self.index, self.delivered, params)?;
        self.check_dependents(&target)?;
        let mut wanted = target.wanted()?;
        self.settle_set_id(&mut wanted)?;
        let draft = self.draft(&target, &wanted, &scripts)?;
        let mapped: Vec<MappedObject> = wanted.iter().map(MappedObject::of).collect();
        let damaged = self.options.damaged.as_ref();
        drop(wanted);
        let before = match (old, damaged) {
            (Some(old), _) if self.replaces(old) => RecordedBefore::OtherVersion(old),
            (Some(old), _) => RecordedBefore::Instance(old),
            (None, Some(damaged)) => RecordedBefore::Damaged(damaged),
            (None, None) => RecordedBefore::Nothing,
        };
        let records = package_records(&target, before, self.inventory)?;
        let changes: Vec<_> = draft.changes.into_values().collect();
        let held = scripts.take_part().then_some(&*mapped);
        let space = self.space(&target, &changes, &records, held)?;
        let empty = Plan::empty(Command::Pkgadd.name(), self.now.trailer("pkgadd", &package));
        let plan = Plan {
            changes,
            records,
            contents: draft.lines.into_iter().map(|(path, (_, line))| (path, line)).collect(),
            notes: [
                damaged.map(|damaged| damaged.notes(&package)).unwrap_or_default(),
                self.notes_of_update(&package),
                self.claimed_patches(&package),
                draft.notes,
                self.passed_over(&package),
                kept_out(&package, &self.delivered.params),
            ]
            .concat(),
            packages: vec![package],
            space,
            ..empty
        };
        let names = self.delivered.install.keys();
        let passing = names.filter(|name| is_recorded(name) && is_passing(name)).cloned().collect();
        Ok(IntendedInstall { plan, params: target.params, scripts, mapped, passing })
    }

    /// Names the patches that the package says are applied to it: nothing of the root records how they got there.
    fn claimed_patches(&self, package: &PkgInst) -> Vec<String> {
        let claimed = self.delivered.params.text("PATCHLIST");
        let claimed: Vec<&str> = claimed.split_whitespace().collect();
        if claimed.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "package {package} was delivered with patches, which count as applied: {}",
            claimed.join(", ")
        )]
    }

    /// Returns the faults of its dependency file, which stop nothing.
    fn passed_over(&self, package: &PkgInst) -> Vec<String> {
        let depend = self.delivered.install.get("depend").map(|depend| Depend::parse(depend));
        let errors = depend.into_iter().flat_map(|depend| depend.passed_over);
        errors
            .map(|error| format!("package {package}: depend, {error}; it is passed over"))
            .take(10)
            .collect()
    }

    fn check_depend(&self, package: &PkgInst) -> Result<(), Reason> {
        let Some(depend) = self.delivered.install.get("depend") else { return Ok(()) };
        let replaced = self.old_version(package).map(|_| package);
        let unmet = unmet_at_installation(&Depend::parse(depend), self.inventory, replaced);
        if unmet.is_empty() {
            return Ok(());
        }
        self.check(self.options.admin.idepend, "idepend=nocheck", || unmet.join("; "))
    }

    /// Scripts of the package's own that run as the superuser, by the admin file.
    fn check_privilege(&self, scripts: &InstallScripts) -> Result<(), Reason> {
        if !scripts.are_own() {
            return Ok(());
        }
        self.check(self.options.admin.action, "action=nocheck", || {
            let names = scripts.own_names().join(", ");
            let id = self.delivered.params.text("SUNW_PATCHID");
            let patch = match id.trim() {
                "" => String::new(),
                id => format!("; it is of patch {id}, which patchadd applies without asking"),
            };
            format!(
                "the package has scripts of its own that run with the permissions of whoever installs it: {names}{patch}"
            )
        })
    }

    /// Set-id programs, by the admin file.
    fn settle_set_id(&self, wanted: &mut [Wanted<'_>]) -> Result<(), Reason> {
        let set_id = |wanted: &&mut Wanted<'_>| {
            wanted.object.ftype.is_regular() && wanted.object.attributes.mode.is_some_and(Mode::is_set_id)
        };
        for found in wanted.iter_mut().filter(set_id) {
            let path = self.inventory.show(&found.path);
            let what = || format!("{path} would be a set-id program");
            match self.options.admin.setuid {
                ConflictAnswer::NoCheck => {}
                ConflictAnswer::NoChange => {
                    let mode = found.object.attributes.mode.map(|mode| Mode::of(mode.bits() & 0o1777));
                    found.object.set_mode(mode);
                }
                ConflictAnswer::Quit => {
                    return Err(Reason::Administration { found: what(), answer: Some("setuid=nocheck") });
                }
                ConflictAnswer::Ask if self.options.conversation => {}
                ConflictAnswer::Ask => {
                    return Err(Reason::Interaction { found: what(), answer: "setuid=nocheck" });
                }
            }
        }
        Ok(())
    }

    fn draft(
        &self,
        target: &PackageTarget<'_>,
        wanted: &[Wanted<'_>],
        scripts: &InstallScripts,
    ) -> Result<PlanBuilder<'_>, Reason> {
        self.check_conflicts(&target.package, wanted)?;
        let overridden = self.options.overridden.clone();
        let choice = EditChoice { general: Edited::Replace, overridden, ..EditChoice::default() };
        let patch = self.options.patch.as_ref();
        let name = patch.map_or(target.package.as_str(), |patch| patch.id.as_str());
        let is_saved = patch.is_some_and(|patch| patch.is_saved);
        let mut edits = Edits::new(self.inventory, choice, name, is_saved);
        let by_script = |each: &Wanted<'_>| {
            each.object.ftype.is_regular() && scripts.classes.contains_key(each.object.class.as_str())
        };
        for each in wanted {
            if !by_script(each) || patch.is_some_and(|patch| patch.is_applied) {
                edits.consider((&target.package, false), &each.path, Some(&each.object))?;
            }
            if self.options.admin.conflict == ConflictAnswer::NoChange
                && self.conflict(&target.package, each).is_some()
            {
                edits.leave(&each.path);
            }
        }
        let gone = self.given_up(target, wanted);
        consider_edits(&mut edits, &target.package, &gone)?;
        let mut draft = PlanBuilder::new(self.inventory);
        draft.native_rule = NativeRule::Note;
        draft.accounts_may_come = scripts.preinstall;
        draft.yielding = yielding(&gone);
        draft.declared = target.declared_directories();
        for each in wanted.iter().filter(|each| each.object.ftype != Ftype::Link) {
            let handling = match edits.handling(&each.path) {
                Handling::Ordinary if by_script(each) => Handling::ByScript,
                decided => decided,
            };
            draft.place(target, each, &handling)?;
        }
        for ((), each) in sources_first(wanted.iter().map(|each| ((), each)).collect()) {
            draft.link(target, each, &edits.handling(&each.path))?;
        }
        // A backout package takes the rest away itself, by its script; a directory that becomes a file is in the way now.
        for path in &target.image.deletes {
            let path = target.resolve(path)?;
            if draft.is_in_turned(&path) {
                draft.delete(&target.package, &path)?;
            }
        }
        take_away(&mut draft, &target.package, &gone, &edits)?;
        draft.relink()?;
        draft.finish()?;
        draft.date(self.now.timestamp());
        Ok(draft)
    }

    /// Objects that other packages say something else about, by the admin file.
    fn check_conflicts(&self, package: &PkgInst, wanted: &[Wanted<'_>]) -> Result<(), Reason> {
        let is_question = match self.options.admin.conflict {
            ConflictAnswer::Quit => false,
            ConflictAnswer::Ask if !self.options.conversation => true,
            ConflictAnswer::NoCheck | ConflictAnswer::NoChange | ConflictAnswer::Ask => return Ok(()),
        };
        // An editable file of nobody is replaced and kept beside the new one, as any is for which nobody is asked.
        let stops = |each: &Wanted<'_>, object: &ObjectInUse| {
            !object.is_unowned || !is_question && each.object.ftype != Ftype::Editable
        };
        let found = wanted.iter().filter_map(|each| Some((each, self.conflict(package, each)?)));
        let objects: Vec<ObjectInUse> =
            found.filter(|(each, object)| stops(each, object)).map(|(_, object)| object).collect();
        if objects.is_empty() { Ok(()) } else { Err(Reason::InUse { objects, is_question }) }
    }

    /// Returns the object, where another package owns the path and says something else about it, or nobody owns what
    /// is there and it is something else.
    fn conflict(&self, package: &PkgInst, wanted: &Wanted<'_>) -> Option<ObjectInUse> {
        let Some(line) = self.inventory.lines.get(&wanted.path) else { return self.unowned(wanted) };
        let others = line.owners.iter().any(|owner| owner.package != *package);
        let (known, object) = (&line.object, &wanted.object);
        let silent = object.attributes.mode.is_none();
        let attributes_only =
            known.ftype == object.ftype && known.content == object.content && known.target == object.target;
        let same = attributes_only && (silent || known.attributes == object.attributes);
        (others && !same).then(|| ObjectInUse {
            path: wanted.path.clone(),
            attributes_only,
            is_unowned: false,
        })
    }

    /// Returns the object, where something else is there that no package owns. Directories are nobody's files.
    fn unowned(&self, wanted: &Wanted<'_>) -> Option<ObjectInUse> {
        let (path, object) = (&wanted.path, &wanted.object);
        let live = self.inventory.live.get(path).filter(|_| !object.ftype.is_directory())?;
        let attributes_only = match (&live.kind, object.ftype) {
            (LiveKind::Regular { .. }, Ftype::Link) => {
                let source = object.target.as_deref().and_then(|target| path.link_source(target).ok());
                let source = source.and_then(|source| self.inventory.live.get(&source));
                source.is_some_and(|source| source.inode == live.inode)
            }
            (LiveKind::Regular { .. }, ftype) => {
                ftype.is_regular() && self.inventory.identical.contains(path)
            }
            (LiveKind::Symlink(target), Ftype::Symlink) => object.target.as_ref() == Some(target),
            (LiveKind::Pipe, Ftype::Pipe) => true,
            (LiveKind::Device { block, major, minor }, Ftype::Block | Ftype::Character) => {
                *block == (object.ftype == Ftype::Block)
                    && object.device == Some((Some(*major), Some(*minor)))
            }
            _ => false,
        };
        let (attributes, accounts) = (&object.attributes, &self.inventory.accounts);
        let is_own = |number: Option<u32>, there: u32| !self.inventory.privileged || number == Some(there);
        let same_attributes = object.ftype.is_link()
            || attributes.mode.is_none_or(|mode| mode == live.mode)
                && attributes.owner.as_ref().is_none_or(|name| is_own(accounts.uid(name), live.uid))
                && attributes.group.as_ref().is_none_or(|name| is_own(accounts.gid(name), live.gid));
        let is_other = !attributes_only || !same_attributes;
        is_other.then(|| ObjectInUse { path: path.clone(), attributes_only, is_unowned: true })
    }

    fn space(
        &self,
        target: &PackageTarget<'_>,
        changes: &[Box<crate::plan::Change>],
        records: &[RecordChange],
        held: Option<&[MappedObject]>,
    ) -> Result<Vec<SpaceNeed>, Reason> {
        let copy = |path: &ObjectPath| Some((path.clone(), self.inventory.live.get(path)?.size()?, 1));
        let gone = changes.iter().filter(|change| matches!(change.action, Action::Delete));
        let gone = gone.map(|change| &change.path);
        let concerned = held.map(|mapped| mapped.iter().map(|each| &each.path).chain(gone));
        let mut extra: Vec<_> = concerned.into_iter().flatten().filter_map(copy).collect();
        let text = self.delivered.install.get("space").map(Vec::as_slice).unwrap_or_default();
        let said = format_of_space::parse(text).map_err(|error| Reason::BadInformation {
            package: target.package.to_string(),
            file: "space",
            reason: error.to_string(),
        })?;
        for each in said {
            // A variable without a value names no place, and so no file system that would be too small.
            if let Ok(path) = target.resolve(&each.path) {
                extra.push((path, each.bytes, each.inodes));
            }
        }
        let needs = space::needs(self.inventory, changes, records, &[], &extra);
        let needs = if held.is_some() { space::with_requests(needs) } else { needs };
        if let Err(reason) = space::enough(&needs) {
            let words = reason.of(Command::Pkgadd, &target.package).why();
            self.check(self.options.admin.space, "space=nocheck", || words)?;
        }
        Ok(needs)
    }

    /// Applies a check of the admin file to something that was found; `answer` is the line of an admin file that lets
    /// it pass.
    pub(super) fn check(
        &self,
        check: CheckAnswer,
        answer: &'static str,
        found: impl FnOnce() -> String,
    ) -> Result<(), Reason> {
        match check {
            CheckAnswer::NoCheck => Ok(()),
            CheckAnswer::Ask if self.options.conversation => Ok(()),
            CheckAnswer::Ask => Err(Reason::Interaction { found: found(), answer }),
            CheckAnswer::Quit => Err(Reason::Administration { found: found(), answer: Some(answer) }),
        }
    }
}
