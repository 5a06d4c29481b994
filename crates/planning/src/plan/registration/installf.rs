//! `installf`: the effect on a root of registering objects and declaring them final (installf(1M)).
//!
//! Directories, pipes and devices are made when they are registered, links when they are declared final. The caller
//! makes the regular files. The lines of `contents` are those of `queue`.

use std::collections::BTreeSet;

use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_changeset::format::installf_queue::{InstallfEntry, InstallfRequests};
use patchadm_inputs::inventory::Inventory;
use patchadm_svr4::format::registration::Registration;
use patchadm_svr4::package::{ContentsLine, Ftype, Object, ObjectPath, PkgInst};

use super::installf_queue::{self, merged, pending, planned};
use super::settle::{Discrepancy, settled};
use crate::plan::Plan;
use crate::plan::clock::Now;
use crate::plan::plan_builder::{NativeRule, PlanBuilder};
use crate::plan::refusal::{Command, ObjectProblem, Reason, Refusal};
use crate::plan::reserved;

/// The result of a call of installf.
#[derive(Clone, Debug)]
pub struct Registering {
    /// Its changes, as a run of its own.
    pub plan: Plan,
    /// The requests to a surrounding run instead of the lines of that plan.
    pub entries: Vec<InstallfEntry>,
    /// The objects that are not what they were declared to be.
    pub discrepancies: Vec<(ObjectPath, Discrepancy)>,
}

/// Plans the registration of objects. The inventory must have their paths and those above them.
pub fn register(
    package: &PkgInst,
    registrations: &[Registration],
    inventory: &Inventory,
    now: &Now,
) -> Result<Registering, Refusal> {
    let call = Call { package, inventory, now };
    call.register(registrations).map_err(|reason| call.refuse(reason))
}

/// Plans that everything that a package has registered, or has registered in one class, is final. The inventory must
/// have all lines that it has pending, the objects at their paths and the sources of the hard links among them.
pub fn finish(
    package: &PkgInst,
    class: Option<&str>,
    inventory: &Inventory,
    now: &Now,
) -> Result<Registering, Refusal> {
    let call = Call { package, inventory, now };
    call.finish(class).map_err(|reason| call.refuse(reason))
}

struct Call<'a> {
    package: &'a PkgInst,
    inventory: &'a Inventory,
    now: &'a Now,
}

impl Call<'_> {
    fn refuse(&self, reason: Reason) -> Refusal {
        reason.shown(self.inventory).of(Command::Installf, self.package)
    }

    fn problem(&self, path: &ObjectPath, problem: ObjectProblem) -> Reason {
        Reason::Object { package: self.package.clone(), path: path.to_string(), problem }
    }

    fn register(&self, registrations: &[Registration]) -> Result<Registering, Reason> {
        let mut entries = Vec::new();
        let mut above = BTreeSet::new();
        for registration in registrations {
            let path = &registration.path;
            let known = self.inventory.lines.get(path);
            let live = self.inventory.live.get(path);
            let object = installf_queue::object(registration, known.map(|line| &line.object), live);
            self.check_type(path, object.ftype, known)?;
            self.check_reserved(path, &object)?;
            if live.is_none() && is_made_at_once(object.ftype) {
                self.missing_above(path, &mut above);
            }
            entries.push(InstallfEntry::Add(self.package.clone(), registration.clone()));
        }
        entries.splice(..0, self.directories(above, None));
        let edits = self.merged(&entries);
        let at_once = |line: &ContentsLine| is_made_at_once(line.object.ftype);
        let lines: Vec<ContentsLine> =
            edits.values().flatten().filter(|line| at_once(line)).map(|line| (**line).clone()).collect();
        Ok(Registering { plan: self.plan(&lines, edits)?, entries, discrepancies: Vec::new() })
    }

    fn finish(&self, class: Option<&str>) -> Result<Registering, Reason> {
        let lines = pending(self.inventory.lines.values().cloned(), self.package, class);
        let line_of = |path: &ObjectPath| self.inventory.lines.get(path);
        let (mut above, mut discrepancies) = (BTreeSet::new(), Vec::new());
        for line in &lines {
            let live = &self.inventory.live;
            match settled(line, line_of, self.inventory).discrepancy {
                Some(discrepancy) => discrepancies.push((line.path.clone(), discrepancy)),
                None if live.contains_key(&line.path) => {}
                None => self.missing_above(&line.path, &mut above),
            }
        }
        let mut entries = self.directories(above, class);
        entries.push(InstallfEntry::FinishAdd(self.package.clone(), class.map(str::to_owned)));
        let edits = self.merged(&entries);
        Ok(Registering { plan: self.plan(&lines, edits)?, entries, discrepancies })
    }

    /// An object that other packages own may not become something else for them.
    fn check_type(
        &self,
        path: &ObjectPath,
        ftype: Ftype,
        known: Option<&ContentsLine>,
    ) -> Result<(), Reason> {
        let Some(line) = known else { return Ok(()) };
        let others = line.owners.iter().any(|owner| owner.package != *self.package);
        let known = line.object.ftype;
        let alike = known == ftype
            || known.is_regular() && ftype.is_regular()
            || known.is_directory() && ftype.is_directory();
        if others && !alike {
            return Err(self.problem(path, ObjectProblem::OtherType(known)));
        }
        Ok(())
    }

    /// Refuses paths at which no package has anything, and other names of existing objects.
    fn check_reserved(&self, path: &ObjectPath, object: &Object) -> Result<(), Reason> {
        let target = object.target.as_deref().filter(|_| object.ftype == Ftype::Link);
        let source = target.and_then(|target| path.link_source(target).ok());
        for path in [Some(path), source.as_ref()].into_iter().flatten() {
            let place = self.inventory.physical.get(path).unwrap_or(path);
            reserved::check(path, place).map_err(|problem| self.problem(path, problem))?;
        }
        Ok(())
    }

    /// Adds the directories above a path that are neither there nor recorded.
    fn missing_above(&self, path: &ObjectPath, above: &mut BTreeSet<ObjectPath>) {
        let is_there = |at: &ObjectPath| at.relative().is_empty() || self.inventory.live.contains_key(at);
        let missing = path.ancestors().take_while(|at| !is_there(at));
        let unknown = missing.filter(|at| !self.inventory.lines.contains_key(at));
        above.extend(unknown);
    }

    /// Returns the registrations of directories that are made on the way to others.
    fn directories(&self, above: BTreeSet<ObjectPath>, class: Option<&str>) -> Vec<InstallfEntry> {
        let registered = above.into_iter().map(|path| {
            let class = class.map(str::to_owned);
            InstallfEntry::Add(self.package.clone(), Registration { class, ..Registration::directory(path) })
        });
        registered.collect()
    }

    fn merged(&self, entries: &[InstallfEntry]) -> ContentsEdits {
        merged(self.inventory, &InstallfRequests(entries.to_vec()))
    }

    fn plan(&self, lines: &[ContentsLine], edits: ContentsEdits) -> Result<Plan, Reason> {
        let mut draft = PlanBuilder::new(self.inventory);
        draft.native_rule = NativeRule::Note;
        for line in lines {
            let path = &line.path;
            let claimed = draft.claim(self.package, path);
            let planned = claimed.and_then(|_| draft.put_right(self.package, line));
            planned.map_err(|problem| self.problem(path, problem))?;
        }
        draft.finish()?;
        let changes = draft.changes.into_values().collect();
        let (package, now) = (self.package, self.now);
        Ok(planned(Command::Installf, package, (changes, edits), draft.notes, self.inventory, now))
    }
}

/// Tells whether an object is made when it is registered: it has neither content nor a source.
fn is_made_at_once(ftype: Ftype) -> bool {
    ftype.is_directory() || ftype.is_device() || ftype == Ftype::Pipe
}
