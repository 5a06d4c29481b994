//! The effect of `pkgadd`: a new instance, an overwritten one, or another version. The admin file (admin(4)) decides
//! the destination and the obstacles; an open question is a refusal if nobody can be asked. Unrecorded and edited files
//! are kept beside the new ones, unless a class script decides about them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::policy::{Edited, ScriptPolicy};
use patchadm_inputs::source::{Image, PackageImage};
use patchadm_rootfs::LiveKind;
use patchadm_svr4::format::admin::{Admin, BasedirAnswer, CheckAnswer, ConflictAnswer, InstanceAnswer};
use patchadm_svr4::format::depend::Depend;
use patchadm_svr4::format::space as format_of_space;
use patchadm_svr4::package::{ContentsLine, Ftype, Mode, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchRecords};

use super::depend::{compatible_versions, needing_installed_version, unmet_at_installation};
use super::package_records::{DamagedPackage, RecordedBefore, package_records};
use super::remove::{about_patches, owned, refuse_to_take_away};
use crate::plan::clock::Now;
use crate::plan::edits::{EditChoice, Edits};
use crate::plan::links::sources_first;
use crate::plan::parameters::{kept_out, merged};
use crate::plan::patch::validate::{named_version, refuse_other_zones, same_architecture, same_version};
use crate::plan::placing::Handling;
use crate::plan::plan_builder::{NativeRule, PlanBuilder};
use crate::plan::records::package_path;
use crate::plan::refusal::{Command, ObjectInUse, Reason, Refusal};
use crate::plan::script_schedule::steps::MappedObject;
use crate::plan::scripts::{InstallScripts, SystemScripts, class_scripts, is_passing, is_recorded};
use crate::plan::target::{PackageTarget, Wanted, is_patch};
use crate::plan::{Action, Body, Plan, RecordChange, SpaceNeed, parameters, space};

#[derive(Clone, Debug)]
pub struct InstallOptions {
    pub admin: Admin,
    /// The plan takes open questions of the admin file as agreed to, and the command asks before it performs the plan.
    pub conversation: bool,
    /// The user cannot be asked, neither now nor before. A package without a destination is then refused.
    pub is_batch: bool,
    /// LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
    /// The answers of request and checkinstall scripts, or of a response file.
    pub response: Params,
    /// Symbolic links to directories that directories of the package may replace.
    pub overridden: BTreeSet<ObjectPath>,
    pub system: SystemScripts,
    pub scripts: ScriptPolicy,
    pub patch: Option<OfPatch>,
    /// The root is not `/`: a package without BASEDIR is then recorded with `/`.
    pub is_other_root: bool,
    /// The remains of a package with a damaged record, which is created again.
    pub damaged: Option<DamagedPackage>,
    /// The package replaces another version of itself completely.
    pub update: bool,
    /// Of patch ids in the root.
    pub separator: String,
}

/// A patch whose scripts cause packages to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfPatch {
    /// The suffix of copies of edited files.
    pub id: String,
    /// Replaced objects are in undo data: only files meant to be edited are copied.
    pub is_saved: bool,
    /// While a patch is applied, edited files whose class has a script are copied as well. A script that backs a patch
    /// out knows the owner of each part.
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

#[derive(Clone, Debug)]
pub struct IntendedInstall {
    /// As if no script took part.
    pub plan: Plan,
    /// After the run.
    pub params: Params,
    pub scripts: InstallScripts,
    /// Changed or not.
    pub mapped: Vec<MappedObject>,
    /// Scripts in `install` that only this run uses; removed at the end.
    pub passing: Vec<String>,
}

impl IntendedInstall {
    pub fn read_from(&mut self, index: usize) {
        for change in &mut self.plan.changes {
            if let Action::Add(new) | Action::Replace(new) = &mut change.action
                && let Body::Member(member) = &mut new.body
            {
                member.package = index;
            }
        }
    }

    /// Returns a copy for a package that is restored at the end. Until then its parameters are those that scripts
    /// answered, and no lines of a ledger are judged by them.
    #[must_use]
    pub fn without_ledger(&self) -> Self {
        let mut intended = self.clone();
        intended.plan.records.retain(|record| !matches!(record, RecordChange::Ledger(_)));
        intended
    }

    /// Sets the parameters of the package, in its record as well.
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

/// Returns the instance and its parameters (with BASEDIR and CLASSES). Uses only the packages of the inventory, so that
/// the paths can be surveyed afterwards.
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

struct Installation<'a> {
    delivered: &'a PackageImage,
    index: usize,
    inventory: &'a Inventory,
    options: &'a InstallOptions,
    now: &'a Now,
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

    fn passed_over(&self, package: &PkgInst) -> Vec<String> {
        let depend = self.delivered.install.get("depend").map(|depend| Depend::parse(depend));
        let errors = depend.into_iter().flat_map(|depend| depend.skipped);
        errors.map(|error| format!("package {package}: depend, {error}; it is skipped")).take(10).collect()
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

    fn check_privilege(&self, scripts: &InstallScripts) -> Result<(), Reason> {
        if !scripts.are_own() {
            return Ok(());
        }
        self.check(self.options.admin.action, "action=nocheck", || {
            let names = scripts.own_names().join(", ");
            let id = self.delivered.params.text("SUNW_PATCHID");
            let patch = match id.trim() {
                "" => String::new(),
                id => format!("; it belongs to patch {id}, which patchadd applies without asking"),
            };
            format!(
                "the package has its own scripts that run with the permissions of whoever installs it: {names}{patch}"
            )
        })
    }

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
        // The script of a backout package removes the rest. Only a directory that becomes a file is in the way now.
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

    fn check_conflicts(&self, package: &PkgInst, wanted: &[Wanted<'_>]) -> Result<(), Reason> {
        let is_question = match self.options.admin.conflict {
            ConflictAnswer::Quit => false,
            ConflictAnswer::Ask if !self.options.conversation => true,
            ConflictAnswer::NoCheck | ConflictAnswer::NoChange | ConflictAnswer::Ask => return Ok(()),
        };
        // An editable file without owner is replaced and kept beside the new one, as always if nobody is asked.
        let stops = |each: &Wanted<'_>, object: &ObjectInUse| {
            !object.is_unowned || !is_question && each.object.ftype != Ftype::Editable
        };
        let found = wanted.iter().filter_map(|each| Some((each, self.conflict(package, each)?)));
        let objects: Vec<ObjectInUse> =
            found.filter(|(each, object)| stops(each, object)).map(|(_, object)| object).collect();
        if objects.is_empty() { Ok(()) } else { Err(Reason::InUse { objects, is_question }) }
    }

    /// Another owner records something else, or an unowned object differs. Directories never conflict.
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
            // A variable without a value names no place, and no file system.
            if let Ok(path) = target.resolve(&each.path) {
                extra.push((path, each.bytes, each.inodes));
            }
        }
        let needs = space::needs(self.inventory, changes, records, &[], &extra);
        let needs = if held.is_some() { space::with_requests(needs) } else { needs };
        match space::enough(&needs) {
            Ok(()) => {}
            Err(reason @ Reason::Unsupported { .. }) => return Err(reason),
            Err(reason) => {
                let words = reason.of(Command::Pkgadd, &target.package).why();
                self.check(self.options.admin.space, "space=nocheck", || words)?;
            }
        }
        Ok(needs)
    }

    /// `answer` is the line of an admin file that would allow it.
    fn check(
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

    /// Must not need surveyed paths or script answers: both depend on the result.
    fn placement(&self) -> Result<(PkgInst, Params), Reason> {
        let package = self.instance()?;
        let old = self.inventory.packages.get(&package);
        self.check_installed(&package, old)?;
        let params = self.params(&package, old)?;
        // Later commands read these parameters as records.
        PatchRecords::from_params(&package, &params, &self.options.separator).map_err(|error| {
            Reason::BadPkginfo { package: package.to_string(), reason: error.to_string() }
        })?;
        Ok((package, params))
    }

    /// An instance of the same version, one to overwrite, or a new one.
    fn instance(&self) -> Result<PkgInst, Reason> {
        let name = self.delivered.params.text("PKG").trim().to_owned();
        let bad = |reason: String| Reason::BadPkginfo { package: name.clone(), reason };
        let base = PkgInst::new(&name).map_err(|error| bad(error.to_string()))?;
        let installed = self.inventory.packages.iter();
        let instances: Vec<(&PkgInst, &Installed)> =
            installed.filter(|(instance, _)| instance.abbreviation() == base.abbreviation()).collect();
        if self.options.update {
            return self.updated_instance(&base, &instances);
        }
        if instances.is_empty() {
            return Ok(base);
        }
        let same = instances.iter().find(|(_, old)| same_version(&old.params, &self.delivered.params));
        match (self.options.admin.instance, same) {
            (InstanceAnswer::Quit, _) => Err(installed_already(&name)),
            (InstanceAnswer::Ask, None) if instances.len() >= self.most_instances() => {
                Err(self.too_many_instances(&base, instances.len()))
            }
            (InstanceAnswer::Ask, _) if !self.options.conversation => Err(Reason::Interaction {
                found: format!(
                    "package {name} is installed already, and the admin file does not say what to do"
                ),
                answer: "instance=overwrite",
            }),
            (_, Some((instance, _))) => Ok((*instance).clone()),
            (InstanceAnswer::Overwrite, None) => match instances.as_slice() {
                [(instance, _)] => Ok((*instance).clone()),
                _ => Err(administration(format!("several instances of {name} are installed"), None)),
            },
            (_, None) => self.new_instance(&base, instances.len()),
        }
    }

    fn new_instance(&self, base: &PkgInst, count: usize) -> Result<PkgInst, Reason> {
        if count >= self.most_instances() {
            return Err(self.too_many_instances(base, count));
        }
        let free = (2..=count + 2)
            .filter_map(|number| PkgInst::new(&format!("{base}.{number}")).ok())
            .find(|instance| !self.inventory.packages.contains_key(instance));
        free.ok_or_else(|| administration(format!("there is no free instance name for {base}"), None))
    }

    fn most_instances(&self) -> usize {
        self.delivered.params.text("MAXINST").trim().parse().unwrap_or(1)
    }

    fn too_many_instances(&self, base: &PkgInst, count: usize) -> Reason {
        let most = self.most_instances();
        let reason = format!("{count} instances of {base} are installed, and MAXINST is {most}");
        administration(reason, (count == 1).then_some("instance=overwrite"))
    }

    /// The instance must be complete, and without patches unless the package is a patch or an update: records of
    /// missing files would remain.
    fn check_installed(&self, package: &PkgInst, old: Option<&Installed>) -> Result<(), Reason> {
        let Some(old) = old else { return Ok(()) };
        if old.partial {
            self.check(self.options.admin.partial, "partial=nocheck", || {
                format!("package {package} is only partially installed")
            })?;
        }
        if self.replaces(old) {
            refuse_to_take_away(package, old)?;
            return refuse_other_zones(package, &old.params, &self.delivered.params);
        }
        let patches = old.params.text("PATCHLIST");
        if !patches.trim().is_empty() && !is_patch(&self.delivered.params) {
            let patches: Vec<&str> = patches.split_whitespace().rev().collect();
            return Err(Reason::PatchesApplied { package: package.clone(), patches: patches.join(" ") });
        }
        refuse_other_zones(package, &old.params, &self.delivered.params)
    }

    fn params(&self, package: &PkgInst, old: Option<&Installed>) -> Result<Params, Reason> {
        let none = Params::new();
        let is_update = old.is_some();
        let is_replaced = old.is_some_and(|old| !same_version(&old.params, &self.delivered.params));
        let mut old = old.map_or(&none, |old| &old.params);
        let mut delivered = self.delivered.params.clone();
        let patches: Vec<(&str, &[u8])> =
            old.iter().filter(|(name, _)| parameters::is_patch_record(name)).collect();
        self.answered(old, &mut delivered)?;
        self.settle_basedir(package, old, &mut delivered)?;
        if is_replaced {
            // Of another version only the place stays, and what a patch for this one finds applied
            if let Some(there) = old.get("BASEDIR") {
                delivered.set("BASEDIR", there);
            }
            old = &none;
        }
        let mut new = merged(package, old, &delivered, &self.options.environment, self.now);
        if is_replaced && is_patch(&self.delivered.params) {
            for (name, value) in patches {
                new.set(name, value);
            }
        }
        if is_update {
            parameters::note_update(&mut new);
        }
        if old.is_empty() {
            // A package that was patched before it was made carries those records. Fixes and digests of patches come
            // only from runs of this root: a package could state those of other patches.
            for (name, value) in delivered.iter().filter(|(name, _)| parameters::is_patch_record(name)) {
                new.set(name, value);
            }
        }
        let stored = |name: &str| {
            let is_record = parameters::is_patch_record(name) && is_patch(&self.delivered.params);
            parameters::is_stored(name) || is_record
        };
        for (name, value) in self.options.response.iter().filter(|(name, _)| stored(name)) {
            new.set(name, value);
        }
        if old.is_empty() {
            new.remove("INSTDATE"); // it is the last one there, and keeps its place from then on
        }
        new.set("INSTDATE", self.now.instdate());
        Ok(new)
    }

    fn answered(&self, old: &Params, delivered: &mut Params) -> Result<(), Reason> {
        if let Some(classes) = self.options.response.get("CLASSES") {
            delivered.set("CLASSES", classes);
        }
        let Some(basedir) = self.options.response.get("BASEDIR") else { return Ok(()) };
        match old.get("BASEDIR") {
            Some(there) if there.trim_ascii() != basedir.trim_ascii() => Err(Reason::BasedirAnswered {
                installed: String::from_utf8_lossy(there).into_owned(),
                answered: String::from_utf8_lossy(basedir).into_owned(),
            }),
            _ => {
                delivered.set("BASEDIR", basedir);
                Ok(())
            }
        }
    }

    fn settle_basedir(&self, package: &PkgInst, old: &Params, delivered: &mut Params) -> Result<(), Reason> {
        let entries = &self.delivered.pkgmap.entries;
        let relocatable = entries.iter().any(|entry| !entry.is_information() && !entry.path.is_absolute());
        let wanted = match &self.options.admin.basedir {
            BasedirAnswer::Path(path) => {
                let text = String::from_utf8_lossy(path).replace("$PKGINST", package.as_str());
                if !text.starts_with('/') {
                    let reason = format!("basedir={text} in the admin file uses a variable without a value");
                    return Err(administration(reason, None));
                }
                text
            }
            BasedirAnswer::Ask
                if relocatable && old.get("BASEDIR").is_none() && !self.options.conversation =>
            {
                return Err(Reason::Interaction {
                    found: "the admin file does not say where to install the package".to_owned(),
                    answer: "basedir=default",
                });
            }
            BasedirAnswer::Ask | BasedirAnswer::Default
                if relocatable && self.options.is_batch && self.says_nowhere(old, delivered) =>
            {
                return Err(Reason::Interaction {
                    found: "neither the package nor the admin file says where to install the package"
                        .to_owned(),
                    answer: "basedir=/",
                });
            }
            BasedirAnswer::Ask | BasedirAnswer::Default => {
                self.say_where_paths_begin(old, delivered);
                return Ok(());
            }
        };
        match old.get("BASEDIR") {
            Some(there) if there != wanted.as_bytes() => {
                let there = String::from_utf8_lossy(there);
                let found = format!("it is installed in {there}, but the admin file requires {wanted}");
                Err(administration(found, Some("basedir=default")))
            }
            _ => {
                delivered.set("BASEDIR", wanted);
                Ok(())
            }
        }
    }

    /// Records `/` explicitly in another root than `/`. A patch does not change the BASEDIR of its packages.
    fn say_where_paths_begin(&self, old: &Params, delivered: &mut Params) {
        let is_said = old.get("BASEDIR").is_some() || delivered.get("BASEDIR").is_some();
        if self.options.is_other_root && !is_said && !is_patch(&self.delivered.params) {
            delivered.set("BASEDIR", "/");
        }
    }

    fn says_nowhere(&self, old: &Params, delivered: &Params) -> bool {
        let basedir = delivered.get("BASEDIR").unwrap_or_default();
        old.is_empty() && basedir.trim_ascii().is_empty() && !is_patch(&self.delivered.params)
    }
}

fn installed_already(name: &str) -> Reason {
    administration(format!("package {name} is installed already"), Some("instance=overwrite"))
}

fn administration(found: String, answer: Option<&'static str>) -> Reason {
    Reason::Administration { found, answer }
}

// `pkgadd --update` replaces another version, older or newer. Objects and patches of only the old version go, but its
// remove scripts do not run: objects of a class with a script stay and lose their owner. Edited files that go are kept
// under another name.

const REMOVE_SCRIPTS: [&str; 2] = ["preremove", "postremove"];

impl Installation<'_> {
    fn replaces(&self, old: &Installed) -> bool {
        self.options.update && !same_version(&old.params, &self.delivered.params)
    }

    fn updated_instance(
        &self,
        name: &PkgInst,
        instances: &[(&PkgInst, &Installed)],
    ) -> Result<PkgInst, Reason> {
        let delivered = &self.delivered.params;
        let refuse = |found: String| Err(administration(found, None));
        if instances.is_empty() {
            return refuse(format!(
                "package {name} is not installed, and only installed packages are updated"
            ));
        }
        if self.options.admin.instance == InstanceAnswer::Quit {
            return Err(installed_already(name.as_str()));
        }
        if let Some((same, _)) = instances.iter().find(|(_, old)| same_version(&old.params, delivered)) {
            return Ok((*same).clone());
        }
        if is_patch(delivered) {
            return refuse(format!("it is a patch, and {} is not installed", named_version(delivered)));
        }
        let fitting: Vec<&PkgInst> = instances
            .iter()
            .filter(|(_, old)| same_architecture(&old.params, delivered))
            .map(|(instance, _)| *instance)
            .collect();
        match fitting.as_slice() {
            [instance] => Ok((*instance).clone()),
            [] => {
                let there: Vec<String> =
                    instances.iter().map(|(_, old)| named_version(&old.params)).collect();
                refuse(format!(
                    "no instance of {name} for {} is installed, but {}",
                    delivered.text("ARCH").trim(),
                    there.join(", ")
                ))
            }
            several => {
                let names: Vec<&str> = several.iter().map(|instance| instance.as_str()).collect();
                refuse(format!("several instances of {name} are installed: {}", names.join(", ")))
            }
        }
    }

    fn check_dependents(&self, target: &PackageTarget<'_>) -> Result<(), Reason> {
        if self.old_version(&target.package).is_none() {
            return Ok(());
        }
        let compver = self.delivered.install.get("compver").map(Vec::as_slice).unwrap_or_default();
        let compatible = compatible_versions(compver);
        let new = (&target.params, compatible.as_slice());
        let needing = needing_installed_version(&target.package, new, self.inventory);
        if needing.is_empty() {
            return Ok(());
        }
        self.check(self.options.admin.rdepend, "rdepend=nocheck", || needing.join("; "))
    }

    fn given_up(&self, target: &PackageTarget<'_>, wanted: &[Wanted<'_>]) -> Vec<GivenUpObject<'_>> {
        let system = &self.options.system;
        let old = self.old_version(&target.package);
        old.map(|old| given_up((&target.package, old), wanted, self.inventory, system)).unwrap_or_default()
    }

    fn notes_of_update(&self, package: &PkgInst) -> Vec<String> {
        let Some(old) = self.old_version(package) else { return Vec::new() };
        let (before, after) = (old.params.text("VERSION"), self.delivered.params.text("VERSION"));
        let mut notes = vec![format!("package {package}: version {before} is replaced by {after}")];
        notes.extend(about_patches(package, old.params.text("PATCHLIST").trim(), self.inventory));
        let names = old.records.keys().filter_map(|record| record.strip_prefix(b"install/"));
        let names = names.map(String::from_utf8_lossy);
        let runs_at_removal =
            |name: &Cow<'_, str>| REMOVE_SCRIPTS.contains(&&**name) || name.starts_with("r.");
        let scripts: Vec<Cow<'_, str>> = names.filter(runs_at_removal).collect();
        if !scripts.is_empty() {
            notes.push(format!("scripts of version {before} that do not run: {}", scripts.join(" ")));
        }
        notes
    }

    fn old_version(&self, package: &PkgInst) -> Option<&Installed> {
        self.inventory.packages.get(package).filter(|old| self.replaces(old))
    }
}

/// An object that only the old version of a replaced package has. It goes as in a removal, and an edited file is kept
/// under another name. Objects of class scripts stay, without an owner.
#[derive(Clone, Copy, Debug)]
struct GivenUpObject<'a> {
    path: &'a ObjectPath,
    line: &'a ContentsLine,
    /// A class script owns the object, so the program must not touch it.
    is_by_script: bool,
}

impl GivenUpObject<'_> {
    fn yields(&self) -> bool {
        !self.is_by_script && !self.is_shared() && !self.line.object.ftype.is_directory()
    }

    fn is_shared(&self) -> bool {
        self.line.owners.len() > 1
    }
}

/// Directories and links on the way to new objects stay with the package.
fn given_up<'a>(
    (package, old): (&PkgInst, &Installed),
    wanted: &[Wanted<'_>],
    inventory: &'a Inventory,
    system: &SystemScripts,
) -> Vec<GivenUpObject<'a>> {
    let staying: BTreeSet<&[u8]> = wanted.iter().map(|each| each.path.as_bytes()).collect();
    let above: BTreeSet<&[u8]> = wanted.iter().flat_map(|each| each.path.ancestors_bytes()).collect();
    let leads_on = |line: &ContentsLine| {
        let ftype = line.object.ftype;
        above.contains(line.path.as_bytes())
            && (ftype.is_directory()
                || ftype == Ftype::Symlink
                || ftype == Ftype::Link && inventory.linked_directory(&line.path).is_some())
    };
    let classes: BTreeSet<&str> = owned(package, inventory).map(|(_, _, class)| class).collect();
    let has_script = |class: &&str| !class_scripts(old, class, system).is_empty();
    let scripted: BTreeSet<&str> = classes.into_iter().filter(has_script).collect();
    owned(package, inventory)
        .filter(|(path, line, _)| !staying.contains(path.as_bytes()) && !leads_on(line))
        .map(|(path, line, class)| GivenUpObject {
            path,
            line,
            is_by_script: scripted.contains(class) && !line.object.ftype.is_directory(),
        })
        .collect()
}

fn consider_edits(
    edits: &mut Edits<'_>,
    package: &PkgInst,
    given_up: &[GivenUpObject<'_>],
) -> Result<(), Reason> {
    let mut going = given_up.iter().filter(|one| !one.is_by_script && !one.is_shared());
    going.try_for_each(|one| edits.consider((package, false), one.path, None))
}

fn yielding(given_up: &[GivenUpObject<'_>]) -> BTreeSet<ObjectPath> {
    given_up.iter().filter(|one| one.yields()).map(|one| one.path.clone()).collect()
}

fn take_away(
    draft: &mut PlanBuilder<'_>,
    package: &PkgInst,
    given_up: &[GivenUpObject<'_>],
    edits: &Edits<'_>,
) -> Result<(), Reason> {
    given_up.iter().try_for_each(|one| take_one_away(draft, package, one, &edits.handling(one.path)))
}

fn take_one_away(
    draft: &mut PlanBuilder<'_>,
    package: &PkgInst,
    given_up: &GivenUpObject<'_>,
    handling: &Handling,
) -> Result<(), Reason> {
    let GivenUpObject { path, line, is_by_script } = *given_up;
    if is_by_script {
        let is_shared = draft.disown(package, path, line.clone());
        if !is_shared && draft.old(path).is_some() {
            let path = draft.inventory.show(path);
            let class = &line.object.class;
            draft.notes.push(format!("{path} stays, and no package owns it: class {class} has a script"));
        }
        return Ok(());
    }
    if !line.object.ftype.is_directory() && draft.claim(package, path).is_err() {
        // the new version has the same place under another path
        draft.disown(package, path, line.clone());
        return Ok(());
    }
    let live = draft.old(path).filter(|live| !live.is_directory());
    if let (Handling::CopyFirst(suffix), Some(old)) = (handling, live) {
        draft.keep_copy(package, path, old, suffix).map_err(|problem| Reason::Object {
            package: package.clone(),
            path: path.to_string(),
            problem,
        })?;
    }
    draft.delete(package, path)
}
