//! The effects of installf(1M) and removef(1M): objects registered, made final and given up; and their queued calls,
//! merged into `contents`.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_changeset::format::installf_queue::{InstallfEntry, InstallfRequests};
use patchadm_inputs::inventory::{Inventory, LinkedDirectory};
use patchadm_rootfs::{FileType, Live, LiveKind};
use patchadm_svr4::format::registration::Registration;
use patchadm_svr4::package::{
    Accounts, ContentInfo, ContentsLine, Ftype, Mode, Object, ObjectAttributes, ObjectPath, OwnerStatus,
    OwningPackage, PkgInst, Word,
};

use super::clock::Now;
use super::placing::body_of;
use super::plan_builder::{NativeRule, PlanBuilder, refuse_reserved};
use super::refusal::{Command, ObjectProblem, Reason, Refusal};
use super::{Action, Body, Change, NewObject, NewXattrs, Plan, space};

// installf(1M) makes directories, pipes and devices when they are registered, links when they are declared final. The
// caller makes regular files. The lines of `contents` are those of the queue.

#[derive(Clone, Debug)]
pub struct Registering {
    /// As a run of its own.
    pub plan: Plan,
    /// For a surrounding run, instead of the plan's lines.
    pub entries: Vec<InstallfEntry>,
    /// Objects that differ from their declaration.
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

/// Declares everything that a package has registered, in all classes or in one, final. The inventory must have its
/// pending lines, the objects at their paths and the sources of hard links among them.
pub fn finish_registering(
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
            let object = object(registration, known.map(|line| &line.object), live);
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

    fn check_reserved(&self, path: &ObjectPath, object: &Object) -> Result<(), Reason> {
        let target = object.target.as_deref().filter(|_| object.ftype == Ftype::Link);
        let source = target.and_then(|target| path.link_source(target).ok());
        for path in [Some(path), source.as_ref()].into_iter().flatten() {
            let place = self.inventory.physical.get(path).unwrap_or(path);
            refuse_reserved(path, place).map_err(|problem| self.problem(path, problem))?;
        }
        Ok(())
    }

    /// Directories that neither exist nor are recorded.
    fn missing_above(&self, path: &ObjectPath, above: &mut BTreeSet<ObjectPath>) {
        let is_there = |at: &ObjectPath| at.relative().is_empty() || self.inventory.live.contains_key(at);
        let missing = path.ancestors().take_while(|at| !is_there(at));
        let unknown = missing.filter(|at| !self.inventory.lines.contains_key(at));
        above.extend(unknown);
    }

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

fn is_made_at_once(ftype: Ftype) -> bool {
    ftype.is_directory() || ftype.is_device() || ftype == Ftype::Pipe
}

// removef(1M): only `contents` changes. The caller removes objects that have no other owner.

#[derive(Clone, Debug)]
pub struct GivingUp {
    /// As a run of its own.
    pub plan: Plan,
    /// For a surrounding run, instead.
    pub entries: Vec<InstallfEntry>,
    /// Given-up paths that no other package owns, sorted. The caller may remove them.
    pub removable: Vec<ObjectPath>,
    /// For people.
    pub notes: Vec<String>,
}

/// Plans that a package gives up objects. The inventory must have the lines of the paths.
pub fn give_up(
    package: &PkgInst,
    paths: &BTreeSet<ObjectPath>,
    inventory: &Inventory,
    now: &Now,
) -> GivingUp {
    let owned_by_others = |path: &ObjectPath| {
        let line = inventory.lines.get(path);
        line.is_some_and(|line| line.owners.iter().any(|owner| owner.package != *package))
    };
    let (mut removable, mut notes) = (Vec::new(), Vec::new());
    for path in paths.iter().filter(|path| !owned_by_others(path)) {
        match inventory.foreign_owner(package, path) {
            None => removable.push(path.clone()),
            Some(owner) => {
                let shown = inventory.show(path);
                notes.push(format!("{shown} stays: it belongs to {}", owner.with_manager()));
            }
        }
    }
    let entries = paths.iter().map(|path| InstallfEntry::Remove(package.clone(), path.clone())).collect();
    GivingUp { notes, ..call(package, entries, removable, inventory, now) }
}

/// The package no longer owns given-up paths. The inventory must have all lines that it has marked.
pub fn finish_giving_up(package: &PkgInst, inventory: &Inventory, now: &Now) -> GivingUp {
    let entries = vec![InstallfEntry::FinishRemove(package.clone())];
    call(package, entries, Vec::new(), inventory, now)
}

fn call(
    package: &PkgInst,
    entries: Vec<InstallfEntry>,
    removable: Vec<ObjectPath>,
    inventory: &Inventory,
    now: &Now,
) -> GivingUp {
    let queue = InstallfRequests(entries);
    let edits = merged(inventory, &queue);
    let plan = planned(Command::Removef, package, (Vec::new(), edits), Vec::new(), inventory, now);
    GivingUp { plan, entries: queue.0, removable, notes: Vec::new() }
}

// The lines of `contents` are a pure function of existing lines, live objects and requests, in order. A call outside of
// a run is a run with one request. Calls of a run's scripts are queued, and [`merged`] turns all of them into lines at
// once: both ways leave the same lines.

const NO_CLASS: &str = "none";

/// Returns the lines of `contents` that queued calls change; `None` removes the line.
///
/// `inventory` must have the existing paths of [`InstallfRequests::paths`], the marked ones of packages in
/// [`InstallfRequests::finishing`], and sources of hard links among them, as of the end of all queued calls
/// (`database::contents::paths_of_queue`).
pub fn merged(inventory: &Inventory, queue: &InstallfRequests) -> ContentsEdits {
    let lines = &inventory.lines;
    let mut ledger = LinesDraft { inventory, edits: ContentsEdits::new() };
    for entry in &queue.0 {
        ledger.enter(entry);
    }
    ledger.edits.retain(|path, line| lines.get(path) != line.as_deref());
    ledger.edits
}

/// Returns the inventory after the merge.
pub fn overlaid(mut inventory: Inventory, queue: &InstallfRequests) -> Inventory {
    let edits = merged(&inventory, queue);
    for (path, line) in edits {
        match line {
            Some(line) => drop(inventory.lines.insert(path, *line)),
            None => drop(inventory.lines.remove(&path)),
        }
    }
    inventory
}

struct LinesDraft<'a> {
    inventory: &'a Inventory,
    edits: ContentsEdits,
}

impl LinesDraft<'_> {
    fn enter(&mut self, entry: &InstallfEntry) {
        match entry {
            InstallfEntry::Add(package, registration) => self.add(package, registration),
            InstallfEntry::Remove(package, path) => self.remove(package, path),
            InstallfEntry::FinishAdd(package, class) => self.finish_add(package, class.as_deref()),
            InstallfEntry::FinishRemove(package) => self.finish_remove(package),
            InstallfEntry::Made(..) | InstallfEntry::Changed { .. } | InstallfEntry::Turned { .. } => {}
        }
    }

    fn line(&self, path: &ObjectPath) -> Option<&ContentsLine> {
        match self.edits.get(path) {
            Some(line) => line.as_deref(),
            None => self.inventory.lines.get(path),
        }
    }

    fn marked(&self, package: &PkgInst, status: OwnerStatus) -> Vec<ContentsLine> {
        let paths: BTreeSet<&ObjectPath> = self.inventory.lines.keys().chain(self.edits.keys()).collect();
        let lines = paths.into_iter().filter_map(|path| self.line(path));
        lines.filter(|line| has_status(line, package, status)).cloned().collect()
    }

    fn add(&mut self, package: &PkgInst, registration: &Registration) {
        let path = &registration.path;
        let known = self.line(path);
        let object = object(registration, known.map(|line| &line.object), self.inventory.live.get(path));
        let mut line = known.cloned().unwrap_or_else(|| ContentsLine {
            path: path.clone(),
            volume: None,
            object: object.clone(),
            owners: Vec::new(),
        });
        line.object = object;
        let class = registration.class.as_deref();
        let differs = |class: &str| (line.object.class != *class).then(|| class.into());
        let own_class = match (class, owner_of(&line, package)) {
            (None, Some(owner)) => owner.class.clone(),
            _ => differs(class.unwrap_or(NO_CLASS)),
        };
        set_status(&mut line, package, OwnerStatus::Pending, own_class);
        self.edits.insert(path.clone(), Some(Box::new(line)));
    }

    fn remove(&mut self, package: &PkgInst, path: &ObjectPath) {
        let owned = self.line(path).filter(|line| line.is_owned_by(package));
        if let Some(mut line) = owned.cloned() {
            let own_class = owner_of(&line, package).and_then(|owner| owner.class.clone());
            set_status(&mut line, package, OwnerStatus::Removing, own_class);
            self.edits.insert(path.clone(), Some(Box::new(line)));
        }
    }

    fn finish_add(&mut self, package: &PkgInst, class: Option<&str>) {
        for mut line in pending(self.marked(package, OwnerStatus::Pending), package, class) {
            let SettledObject { object, discrepancy } =
                settled(&line, |path| self.line(path), self.inventory);
            let status = discrepancy.map(|_| OwnerStatus::Partial);
            line.object = object;
            for owner in line.owners.iter_mut().filter(|owner| owner.package == *package) {
                owner.status = status;
            }
            self.edits.insert(line.path.clone(), Some(Box::new(line)));
        }
    }

    fn finish_remove(&mut self, package: &PkgInst) {
        for mut line in self.marked(package, OwnerStatus::Removing) {
            line.owners.retain(|owner| owner.package != *package);
            let path = line.path.clone();
            self.edits.insert(path, Some(Box::new(line)).filter(|line| !line.owners.is_empty()));
        }
    }
}

/// For a run of its own. A surrounding run has counted its requests, and holds back the room for its rollback.
pub fn check_room(command: Command, package: &PkgInst, plan: &Plan) -> Result<(), Refusal> {
    space::enough(&plan.space).map_err(|reason| reason.of(command, package))
}

fn planned(
    command: Command,
    package: &PkgInst,
    (changes, contents): (Vec<Box<Change>>, ContentsEdits),
    notes: Vec<String>,
    inventory: &Inventory,
    now: &Now,
) -> Plan {
    let space = space::needs(inventory, &changes, &[], &[], &[]);
    let empty = Plan::empty(command.name(), now.trailer(command.name(), package));
    Plan { packages: vec![package.clone()], changes, contents, space, notes, ..empty }
}

fn owner_of<'l>(line: &'l ContentsLine, package: &PkgInst) -> Option<&'l OwningPackage> {
    line.owners.iter().find(|owner| owner.package == *package)
}

/// Marked owners come last, as in the classic tools.
fn set_status(line: &mut ContentsLine, package: &PkgInst, status: OwnerStatus, class: Option<Word>) {
    let known = line.owners.iter().position(|owner| owner.package == *package);
    let owner = known.map_or_else(|| OwningPackage::new(package.clone()), |at| line.owners.remove(at));
    line.owners.push(OwningPackage { status: Some(status), class, ..owner });
}

fn has_status(line: &ContentsLine, package: &PkgInst, status: OwnerStatus) -> bool {
    owner_of(line, package).is_some_and(|owner| owner.status == Some(status))
}

fn pending(
    lines: impl IntoIterator<Item = ContentsLine>,
    package: &PkgInst,
    class: Option<&str>,
) -> Vec<ContentsLine> {
    let is_meant = |line: &ContentsLine| {
        owner_of(line, package).is_some_and(|owner| {
            let own_class = owner.class.as_deref().unwrap_or(&line.object.class);
            owner.status == Some(OwnerStatus::Pending) && class.is_none_or(|class| class == own_class)
        })
    };
    lines.into_iter().filter(is_meant).collect()
}

/// Values of the request come first, then recorded ones. Without a type, that of the live object is used.
fn object(registration: &Registration, known: Option<&Object>, live: Option<&Live>) -> Object {
    let ftype = registration.ftype.or(known.map(|object| object.ftype));
    let ftype = ftype.unwrap_or_else(|| live.map_or(Ftype::File, type_of));
    let class = match (known, &registration.class) {
        (Some(object), _) => object.class.as_str(),
        (None, Some(class)) => class,
        (None, None) => NO_CLASS,
    };
    // A link is never like another object.
    let is_alike = |known: &&Object| known.ftype == ftype || !known.ftype.is_link() && !ftype.is_link();
    let mut object = known.filter(is_alike).cloned().unwrap_or_else(|| Object::new(ftype, class));
    object.ftype = ftype;
    object.target = match (&registration.target, live.map(|live| &live.kind)) {
        (Some(target), _) => Some(target.clone()),
        (None, Some(LiveKind::Symlink(target))) if object.target.is_none() && ftype == Ftype::Symlink => {
            Some(target.clone())
        }
        _ => object.target.filter(|_| ftype.is_link()),
    };
    object.device = registration.device.or(object.device).filter(|_| ftype.is_device());
    let (given, known) = (&registration.attributes, &mut object.attributes);
    known.mode = given.mode.or(known.mode);
    known.owner = given.owner.clone().or(known.owner.take());
    known.group = given.group.clone().or(known.group.take());
    object.content = match live {
        _ if !ftype.is_regular() => ContentInfo::default(),
        Some(live) => live.content_info().unwrap_or(object.content),
        None => object.content,
    };
    object
}

// A missing object is made, unless it is a regular file. Attributes are set, and a symbolic link is redirected. An
// object of another type, or a hard link that is not a name of its source, has another owner and stays: its line then
// says `!`.

const LONGEST_CHAIN: usize = 40;

/// The texts are those of pkgchk(1M).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discrepancy {
    #[error("pathname does not exist")]
    Missing,
    #[error("file type <{}> expected <{}> actual", char::from(.expected.letter()), char::from(.actual.letter()))]
    Type { expected: Ftype, actual: Ftype },
    #[error("major/minor device <{}, {}> expected <{}, {}> actual", .expected.0, .expected.1, .actual.0, .actual.1)]
    Device { expected: (u32, u32), actual: (u32, u32) },
    #[error("pathname not properly linked to <{0}>")]
    NotLinked(String),
}

struct SettledObject {
    object: Object,
    discrepancy: Option<Discrepancy>,
}

fn settled<'l>(
    line: &ContentsLine,
    line_of: impl Fn(&ObjectPath) -> Option<&'l ContentsLine>,
    inventory: &Inventory,
) -> SettledObject {
    let Inventory { live, accounts, .. } = inventory;
    let mut object = line.object.clone();
    if let Some(directory) = behind(line, inventory) {
        object.attributes = directory.attributes(accounts);
        return SettledObject { object, discrepancy: None };
    }
    let there = live.get(&line.path);
    let discrepancy = match object.ftype {
        Ftype::Link => not_linked(line, there, line_of, live),
        _ => differs(&object, there),
    };
    if discrepancy.is_none() && !object.ftype.is_link() {
        object.attributes = known(&object, there, accounts);
        if let Some((major, minor)) = there.and_then(Live::device) {
            object.device = Some((Some(major), Some(minor)));
        }
        object.content =
            there.and_then(Live::content_info).filter(|_| object.ftype.is_regular()).unwrap_or_default();
    }
    SettledObject { object, discrepancy }
}

/// A symbolic link may stand for a declared directory; both stay.
fn behind<'i>(line: &ContentsLine, inventory: &'i Inventory) -> Option<&'i LinkedDirectory> {
    inventory.linked_directory(&line.path).filter(|_| line.object.ftype.is_directory())
}

/// Defaults: the existing object, else 0755 or 0644, root, root.
fn known(object: &Object, there: Option<&Live>, accounts: &Accounts) -> ObjectAttributes {
    let usual = if object.ftype.is_directory() { 0o755 } else { 0o644 };
    let ObjectAttributes { mode, owner, group } = object.attributes.clone();
    let name = |live: Option<Word>| live.unwrap_or_else(|| "root".into());
    ObjectAttributes {
        mode: Some(mode.or(there.map(|live| live.mode)).unwrap_or(Mode::of(usual))),
        owner: Some(owner.unwrap_or_else(|| name(there.map(|live| accounts.user(live.uid))))),
        group: Some(group.unwrap_or_else(|| name(there.map(|live| accounts.group(live.gid))))),
    }
}

fn differs(object: &Object, there: Option<&Live>) -> Option<Discrepancy> {
    let (major, minor) = object.device.unwrap_or_default();
    let Some(live) = there else {
        let is_complete = !object.ftype.is_device() || major.is_some() && minor.is_some();
        let can_be_made = !object.ftype.is_regular() && is_complete;
        return (!can_be_made).then_some(Discrepancy::Missing);
    };
    if FileType::of(object.ftype) != Some(live.kind.file_type()) {
        return Some(Discrepancy::Type { expected: object.ftype, actual: type_of(live) });
    }
    let actual = live.device()?;
    let expected = (major.unwrap_or(actual.0), minor.unwrap_or(actual.1));
    (expected != actual).then_some(Discrepancy::Device { expected, actual })
}

fn not_linked<'l>(
    line: &ContentsLine,
    there: Option<&Live>,
    line_of: impl Fn(&ObjectPath) -> Option<&'l ContentsLine>,
    live: &BTreeMap<ObjectPath, Live>,
) -> Option<Discrepancy> {
    let named = line.object.target.clone().unwrap_or_default();
    let source = source(line, line_of).and_then(|source| live.get(&source));
    let is_name = source
        .filter(|source| can_have_names(source))
        .is_some_and(|source| there.is_none_or(|there| there.inode == source.inode));
    (!is_name).then(|| Discrepancy::NotLinked(String::from_utf8_lossy(&named).into_owned()))
}

fn can_have_names(live: &Live) -> bool {
    !matches!(live.kind, LiveKind::Directory | LiveKind::Symlink(_))
}

fn source<'l>(
    line: &ContentsLine,
    line_of: impl Fn(&ObjectPath) -> Option<&'l ContentsLine>,
) -> Option<ObjectPath> {
    let mut at = line.path.link_source(line.object.target.as_deref()?).ok()?;
    for _ in 0..LONGEST_CHAIN {
        match line_of(&at).map(|line| &line.object) {
            Some(Object { ftype: Ftype::Link, target: Some(target), .. }) => {
                at = at.link_source(target).ok()?;
            }
            _ => return Some(at),
        }
    }
    None
}

impl PlanBuilder<'_> {
    fn put_right(&mut self, package: &PkgInst, line: &ContentsLine) -> Result<(), ObjectProblem> {
        let inventory = self.inventory;
        let line_of = |path: &ObjectPath| inventory.lines.get(path);
        let stays = behind(line, inventory).is_some();
        if stays || settled(line, line_of, inventory).discrepancy.is_some() {
            return Ok(());
        }
        match (line.object.ftype, inventory.live.get(&line.path)) {
            (Ftype::Link, None) => self.name(package, line),
            (Ftype::Link, Some(_)) => Ok(()),
            (Ftype::Symlink, Some(live)) => self.turn(package, line, live),
            (_, Some(live)) => self.set_attributes(package, line, live),
            (_, None) => self.make(package, line),
        }
    }

    fn make(&mut self, package: &PkgInst, line: &ContentsLine) -> Result<(), ObjectProblem> {
        self.open_way(package, &line.path)?;
        let new = self.new_object(line)?;
        self.change(package, &line.path, Action::Add(new));
        Ok(())
    }

    fn name(&mut self, package: &PkgInst, line: &ContentsLine) -> Result<(), ObjectProblem> {
        let inventory = self.inventory;
        let Some(source) = source(line, |path| inventory.lines.get(path)) else { return Ok(()) };
        self.open_way(package, &line.path)?;
        let new = self.other_name(&line.path, &source)?;
        self.change(package, &line.path, Action::Add(new));
        Ok(())
    }

    fn turn(&mut self, package: &PkgInst, line: &ContentsLine, live: &Live) -> Result<(), ObjectProblem> {
        let is_there = |target: &Vec<u8>| live.kind == LiveKind::Symlink(target.clone());
        if line.object.target.as_ref().is_some_and(is_there) {
            return Ok(());
        }
        self.check_obstacle(&line.path)?;
        let new = self.new_object(line)?;
        self.change(package, &line.path, Action::Replace(new));
        Ok(())
    }

    fn set_attributes(
        &mut self,
        package: &PkgInst,
        line: &ContentsLine,
        live: &Live,
    ) -> Result<(), ObjectProblem> {
        let resolved = self.resolve(&line.object, Some(live))?;
        if let Some(attributes) = self.different_attributes(live, &line.object, &resolved) {
            check_attributes(&line.path, live)?;
            self.change(package, &line.path, Action::Attributes(attributes));
        }
        Ok(())
    }

    fn new_object(&mut self, line: &ContentsLine) -> Result<NewObject, ObjectProblem> {
        self.check_privilege(&line.object)?;
        let body: Body = body_of(&line.object)?;
        let resolved = self.resolve(&line.object, None)?;
        let (mode, uid, gid) = (resolved.mode, resolved.uid, resolved.gid);
        Ok(NewObject { body, mode, uid, gid, mtime: None, xattrs: NewXattrs::Inherited })
    }
}

/// A mount point accepts new attributes, an immutable object does not.
fn check_attributes(path: &ObjectPath, live: &Live) -> Result<(), ObjectProblem> {
    match live.obstacle.filter(|word| !word.contains("mount")) {
        Some(obstacle) => Err(ObjectProblem::Obstacle { at: path.clone(), obstacle }),
        None => Ok(()),
    }
}

fn type_of(live: &Live) -> Ftype {
    live.kind.file_type().ftype().unwrap_or(Ftype::File)
}

#[cfg(test)]
mod tests;
