//! Changes of objects and their lines: taken objects get exactly their state in the stage.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use patchadm_changeset::format::journal::is_settable;
use patchadm_changeset::format::manifest::{RecordedState, StateDifferences};
use patchadm_inputs::stage::ComparedAttributes;
use patchadm_rootfs::{Live, LiveKind, Timestamp, Xattrs};
use patchadm_svr4::package::{
    ContentsLine, Ftype, Mode, Object, ObjectAttributes, ObjectPath, OwningPackage, PackagePath, PkgInst,
};

use super::input::{NamesOfFiles, PromotionInput, TakenObject};
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::refusal::{BroughtReason, ObjectProblem, PromotionReason, Reason};
use crate::plan::{Action, AttributeChange, Body, Member, NewObject, NewXattrs};

pub(super) fn plan_objects(
    draft: &mut PlanBuilder<'_>,
    input: &PromotionInput<'_>,
    owner: &dyn Fn(&ObjectPath) -> PkgInst,
) -> Result<(), Reason> {
    let carriers = Carriers::of(input, draft);
    let (links, others): (Vec<_>, Vec<_>) =
        input.taken.iter().partition(|(path, _)| carriers.of_name(path).is_some());
    for (path, taken) in others.into_iter().chain(links) {
        let package = owner(path);
        let placed = place(draft, input, &carriers, (path, taken), &package);
        placed.map_err(|problem| refuse(&package, path, problem))?;
    }
    for path in &input.deleted {
        let package = owner(path);
        delete(draft, &package, path).map_err(|problem| refuse(&package, path, problem))?;
    }
    Ok(())
}

fn refuse(package: &PkgInst, path: &ObjectPath, problem: ObjectProblem) -> Reason {
    Reason::Object { package: package.clone(), path: path.to_string(), problem }
}

/// The objects that stay, and the name at which each other file of several names comes.
struct Carriers<'i> {
    in_place: BTreeSet<ObjectPath>,
    names: &'i NamesOfFiles,
    of_files: Vec<Option<&'i ObjectPath>>,
}

impl<'i> Carriers<'i> {
    fn of(input: &PromotionInput<'i>, draft: &PlanBuilder<'_>) -> Self {
        let in_place = in_place(input, draft);
        let names: &'i NamesOfFiles = input.stage_names;
        let carrier = |file: &'i Vec<ObjectPath>| {
            let taken = || file.iter().filter(|name| input.taken.contains_key(*name));
            taken().find(|name| in_place.contains(*name)).or_else(|| taken().next())
        };
        let of_files = names.files().iter().map(carrier).collect();
        Self { in_place, names, of_files }
    }

    fn of_name(&self, path: &ObjectPath) -> Option<&'i ObjectPath> {
        if self.in_place.contains(path) {
            return None;
        }
        let carrier = self.of_files.get(self.names.file_of(path)?).copied().flatten();
        carrier.filter(|name| *name != path)
    }
}

fn place(
    draft: &mut PlanBuilder<'_>,
    input: &PromotionInput<'_>,
    carriers: &Carriers<'_>,
    (path, taken): (&ObjectPath, &TakenObject<'_>),
    package: &PkgInst,
) -> Result<(), ObjectProblem> {
    draft.check_reserved(path)?;
    draft.claim(package, path)?;
    draft.open_way(package, path)?;
    let (old, from) = (draft.old(path), taken.object);
    let wanted = WantedState::of(draft, path, from, input.options.owners);
    let is_directory = from.is_directory();
    let is_in_place = carriers.in_place.contains(path);
    if let Some(old) = old.filter(|old| is_in_place || is_directory && old.is_directory()) {
        if let Some(change) = wanted.change(old) {
            if !is_directory {
                draft.check_obstacle(path)?;
            }
            draft.change(package, path, Action::Attributes(change));
        }
        return Ok(());
    }
    // Owner and mode do not tell which device a node is, so it comes only with the permission for them.
    let may_be_device = draft.inventory.privileged && input.options.owners && !taken.is_foreign;
    if matches!(from.kind, LiveKind::Device { .. }) && !may_be_device {
        return Err(ObjectProblem::NotPermitted("a device"));
    }
    draft.check_obstacle(path)?;
    let new = match carriers.of_name(path) {
        Some(file) => draft.other_name(path, file)?,
        None => NewObject {
            body: body(path, from)?,
            mode: wanted.mode,
            uid: wanted.uid,
            gid: wanted.gid,
            mtime: Some(wanted.mtime).filter(|_| !is_directory),
            xattrs: wanted.new_xattrs(from, old),
        },
    };
    let action = if old.is_some() { Action::Replace(new) } else { Action::Add(new) };
    draft.change(package, path, action);
    Ok(())
}

fn body(path: &ObjectPath, from: &Live) -> Result<Body, ObjectProblem> {
    Ok(match &from.kind {
        LiveKind::Regular { size, b3, cksum } => Body::Member(Member {
            package: 0,
            path: PackagePath::new(path.as_bytes())
                .map_err(|error| ObjectProblem::BadPath(error.to_string()))?,
            size: *size,
            cksum: *cksum,
            b3: Some(Box::new(*b3)),
        }),
        LiveKind::Directory => Body::Directory,
        LiveKind::Symlink(target) => Body::Symlink(target.clone()),
        LiveKind::Pipe => Body::Pipe,
        LiveKind::Device { block, major, minor } => {
            Body::Device { block: *block, major: *major, minor: *minor }
        }
        LiveKind::Socket => return Err(ObjectProblem::NotPermitted("a socket")),
    })
}

fn delete(draft: &mut PlanBuilder<'_>, package: &PkgInst, path: &ObjectPath) -> Result<(), ObjectProblem> {
    draft.check_reserved(path)?;
    let Some(old) = draft.old(path) else { return Ok(()) };
    draft.claim(package, path)?;
    draft.check_obstacle(path)?;
    let action = if old.is_directory() { Action::RemoveDirectory } else { Action::Delete };
    draft.change(package, path, action);
    Ok(())
}

// An object stays if it has the stage's content, if every attribute can be set on it, and if afterwards only those
// names share its file that do so in the stage. If the names of one file part, the first becomes a separate file, until
// the rest fits.

pub(super) fn in_place(input: &PromotionInput<'_>, draft: &PlanBuilder<'_>) -> BTreeSet<ObjectPath> {
    let stays = |(path, taken): &(&ObjectPath, &TakenObject<'_>)| {
        let Some(old) = draft.old(path) else { return false };
        let change = WantedState::of(draft, path, taken.object, input.options.owners).change(old);
        let is_settable = change.is_none_or(|change| is_settable_in_place(&change, old));
        taken.time_only || has_same_content(old, taken.object) && is_settable
    };
    let paths = input.taken.iter().filter(stays).map(|(path, _)| path.clone()).collect();
    let deleted: BTreeSet<&ObjectPath> = input.deleted.iter().collect();
    let (stage, live) = (input.stage_names, input.live_names);
    let paths = without_foreign_names(paths, &input.taken, &deleted, stage, live);
    with_one_file_each(&paths, stage, live)
}

/// Of several live files that are one file in the stage, the first stays in place.
fn with_one_file_each(
    in_place: &BTreeSet<ObjectPath>,
    stage: &NamesOfFiles,
    live: &NamesOfFiles,
) -> BTreeSet<ObjectPath> {
    let first = |names: &Vec<ObjectPath>| names.iter().position(|name| in_place.contains(name));
    let firsts: Vec<Option<usize>> = stage.files().iter().map(first).collect();
    let is_of_first = |path: &&ObjectPath| {
        let first = stage.file_of(path).and_then(|file| firsts.get(file).copied().flatten());
        let first = first.and_then(|first| stage.all(path).get(first));
        first.is_none_or(|first| live.are_one(first, path))
    };
    in_place.iter().filter(is_of_first).cloned().collect()
}

fn without_foreign_names(
    mut in_place: BTreeSet<ObjectPath>,
    taken: &BTreeMap<ObjectPath, TakenObject<'_>>,
    deleted: &BTreeSet<&ObjectPath>,
    stage: &NamesOfFiles,
    live: &NamesOfFiles,
) -> BTreeSet<ObjectPath> {
    for names in live.files() {
        let stays = |name: &&ObjectPath| {
            !deleted.contains(*name) && (!taken.contains_key(*name) || in_place.contains(*name))
        };
        let staying: BTreeSet<&ObjectPath> = names.iter().filter(stays).collect();
        let mut count = staying.len();
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for file in staying.iter().filter_map(|name| stage.file_of(name)) {
            *counts.entry(file).or_default() += 1;
        }
        // Names only leave, so that a name that fits once fits to the end.
        for path in names.iter().filter(|path| in_place.contains(*path)).cloned().collect::<Vec<_>>() {
            let (itself, file) = (usize::from(staying.contains(&path)), stage.file_of(&path));
            let alike = file.map_or(itself, |file| counts.get(&file).copied().unwrap_or_default());
            if alike == count {
                continue;
            }
            in_place.remove(&path);
            count -= itself;
            if let Some(alike) = file.and_then(|file| counts.get_mut(&file)) {
                *alike -= itself;
            }
        }
    }
    in_place
}

pub(super) fn has_same_content(old: &Live, new: &Live) -> bool {
    !StateDifferences::between(&RecordedState::of(old), &RecordedState::of(new)).is_of_content()
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct WantedState {
    mode: Mode,
    uid: u32,
    gid: u32,
    mtime: Timestamp,
    xattrs: Xattrs,
    compared: ComparedAttributes,
}

impl WantedState {
    fn of(draft: &PlanBuilder<'_>, path: &ObjectPath, from: &Live, owners: bool) -> Self {
        let compared = ComparedAttributes { owners: owners && draft.inventory.privileged };
        let old = draft.old(path);
        let (uid, gid) = if compared.owners { (from.uid, from.gid) } else { owner(draft, path) };
        // The set-id bits of a directory do not justify those of a program.
        let alike = old.filter(|old| mem::discriminant(&old.kind) == mem::discriminant(&from.kind));
        let kept_bits = alike.map_or(0, |old| old.mode.bits() & !compared.mode(old.mode).bits());
        let mut xattrs = from.xattrs.clone();
        xattrs.retain(|name, _| compared.has_xattr(name));
        Self {
            mode: Mode::of(compared.mode(from.mode).bits() | kept_bits),
            uid,
            gid,
            mtime: from.mtime,
            xattrs,
            compared,
        }
    }

    /// Labels are inherited.
    fn new_xattrs(&self, from: &Live, old: Option<&Live>) -> NewXattrs {
        let given = self.with_uncounted(old);
        if matches!(from.kind, LiveKind::Symlink(_)) {
            NewXattrs::Exact(given)
        } else {
            NewXattrs::Given(given)
        }
    }

    fn with_uncounted(&self, old: Option<&Live>) -> Xattrs {
        let all = ComparedAttributes { owners: true };
        let old = old.into_iter().flat_map(|old| &old.xattrs);
        let uncounted = old.filter(|(name, _)| !self.compared.has_xattr(name) && all.has_xattr(name));
        let uncounted = uncounted.map(|(name, value)| (name.clone(), value.clone()));
        self.xattrs.clone().into_iter().chain(uncounted).collect()
    }

    /// `None` if nothing changes.
    fn change(&self, old: &Live) -> Option<AttributeChange> {
        let is_link = matches!(old.kind, LiveKind::Symlink(_));
        let mut xattrs = old.xattrs.clone();
        xattrs.retain(|name, _| !self.compared.has_xattr(name));
        xattrs.extend(self.xattrs.clone());
        let change = AttributeChange {
            mode: Some(self.mode).filter(|_| !is_link),
            uid: Some(self.uid),
            gid: Some(self.gid),
            xattrs: Some(xattrs),
            mtime: Some(self.mtime),
        };
        change.lacking(old)
    }
}

fn is_settable_in_place(change: &AttributeChange, old: &Live) -> bool {
    let Some(xattrs) = &change.xattrs else { return true };
    let names = xattrs.keys().chain(old.xattrs.keys());
    let mut differing = names.filter(|name| xattrs.get(*name) != old.xattrs.get(*name));
    differing.all(|name| is_settable(name))
}

/// Without privileges, the caller's own ids.
fn owner(draft: &PlanBuilder<'_>, path: &ObjectPath) -> (u32, u32) {
    let directory = || path.parent().and_then(|above| draft.old(&above));
    match draft.old(path).or_else(|| if draft.inventory.privileged { directory() } else { None }) {
        Some(live) => (live.uid, live.gid),
        None => draft.inventory.caller,
    }
}

pub(super) fn record_lines(
    draft: &mut PlanBuilder<'_>,
    input: &PromotionInput<'_>,
    owner: &dyn Fn(&ObjectPath) -> PkgInst,
) {
    for (path, taken) in &input.taken {
        let object = object(draft, input, path, taken);
        let mut line = draft.line(path).cloned().unwrap_or_else(|| ContentsLine {
            path: path.clone(),
            volume: None,
            object: object.clone(),
            owners: vec![OwningPackage::new(owner(path))],
        });
        line.object = object;
        draft.set_line(&owner(path), path, Some(line));
    }
    for path in &input.deleted {
        draft.set_line(&owner(path), path, None);
    }
}

fn object(
    draft: &PlanBuilder<'_>,
    input: &PromotionInput<'_>,
    path: &ObjectPath,
    taken: &TakenObject<'_>,
) -> Object {
    let known = draft.line(path).map(|line| &line.object);
    let class = known.map_or("none", |known| known.class.as_str());
    let live = taken.object;
    if let Some(target) = other_name(draft, input, path, live) {
        return Object { target: Some(target), ..Object::new(Ftype::Link, class) };
    }
    let ftype = known.map(|known| known.ftype);
    let mut object = match &live.kind {
        LiveKind::Regular { .. } => {
            let ftype = ftype.filter(|ftype| ftype.is_regular()).unwrap_or(Ftype::File);
            let content = live.content_info().unwrap_or_default();
            Object { content, ..Object::new(ftype, class) }
        }
        LiveKind::Directory => {
            Object::new(ftype.filter(|ftype| ftype.is_directory()).unwrap_or(Ftype::Directory), class)
        }
        LiveKind::Symlink(target) => {
            return Object { target: Some(target.clone()), ..Object::new(Ftype::Symlink, class) };
        }
        LiveKind::Pipe | LiveKind::Socket => Object::new(Ftype::Pipe, class),
        LiveKind::Device { block, major, minor } => {
            let ftype = if *block { Ftype::Block } else { Ftype::Character };
            Object { device: Some((Some(*major), Some(*minor))), ..Object::new(ftype, class) }
        }
    };
    let wanted = WantedState::of(draft, path, live, input.options.owners);
    let accounts = &draft.inventory.accounts;
    object.attributes = ObjectAttributes {
        mode: Some(wanted.mode),
        owner: Some(accounts.user(wanted.uid)),
        group: Some(accounts.group(wanted.gid)),
    };
    object
}

/// The recorded target if it is still a name of the file, else the first name recorded as the file itself.
fn other_name(
    draft: &PlanBuilder<'_>,
    input: &PromotionInput<'_>,
    path: &ObjectPath,
    live: &Live,
) -> Option<Vec<u8>> {
    if live.is_directory() {
        return None;
    }
    let names = input.stage_names.all(path);
    let known = draft.inventory.lines.get(path).map(|line| &line.object);
    if let Some(Object { ftype: Ftype::Link, target: Some(target), .. }) = known {
        let source = path.link_source(target).ok().filter(|source| names.binary_search(source).is_ok());
        return source.map(|_| target.clone());
    }
    if known.is_some() {
        return None;
    }
    let is_file = |name: &&ObjectPath| {
        let line = draft.inventory.lines.get(*name);
        line.map_or(*name < path, |line| line.object.ftype != Ftype::Link)
    };
    names.iter().filter(|name| *name != path).find(is_file).map(|name| name.as_bytes().to_vec())
}

// Lines come as the stage has them, and shared objects keep their other owners on the root.

pub(super) fn record_new_packages(
    draft: &mut PlanBuilder<'_>,
    input: &PromotionInput<'_>,
) -> Result<(), Reason> {
    for (package, new) in &input.new_packages {
        for (path, staged) in &new.lines {
            let is_promoted = input.taken.contains_key(path) || input.record.paths.contains(path);
            let is_shared = draft.old(path).is_some_and(|live| is_promoted || live.is_directory());
            if !is_shared && !input.taken.contains_key(path) {
                return Err(not_promoted(input, package, path));
            }
            let line = draft.inventory.lines.get(path).map_or_else(
                || staged.clone(),
                |live| {
                    let mut line = live.clone();
                    line.owners
                        .extend(staged.owners.iter().filter(|owner| owner.package == *package).cloned());
                    line
                },
            );
            draft.set_line(package, path, Some(line));
        }
    }
    Ok(())
}

fn not_promoted(input: &PromotionInput<'_>, package: &PkgInst, path: &ObjectPath) -> Reason {
    let reason = BroughtReason::NewOutside { package: package.clone(), path: path.clone() };
    Reason::Promotion(PromotionReason::Brought { stage: input.stage.clone(), reason })
}

#[cfg(test)]
mod tests {
    use patchadm_rootfs::LiveKind;

    use super::*;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    fn names(files: &[&[&str]]) -> NamesOfFiles {
        let numbered = (1..).zip(files);
        NamesOfFiles::of(
            numbered.flat_map(|(number, names)| names.iter().map(move |name| (path(name), number))),
        )
    }

    /// `all` have the stage's content; returns those that stay in place.
    fn staying(all: &[&str], live: &[&[&str]], stage: &[&[&str]]) -> Vec<String> {
        let object = Live {
            kind: LiveKind::Pipe,
            mode: Mode::of(0o644),
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            inode: patchadm_rootfs::Inode { number: 1, born: None },
            links: 1,
            xattrs: Xattrs::new(),
            obstacle: None,
        };
        let all: BTreeSet<ObjectPath> = all.iter().map(|name| path(name)).collect();
        let taken = all
            .iter()
            .map(|name| (name.clone(), TakenObject { object: &object, time_only: false, is_foreign: false }));
        let (live, stage) = (names(live), names(stage));
        let found = without_foreign_names(all.clone(), &taken.collect(), &BTreeSet::new(), &stage, &live);
        with_one_file_each(&found, &stage, &live).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_that_stay_one_file_stay_in_their_place() {
        assert_eq!(staying(&["/a", "/b"], &[&["/a", "/b"]], &[&["/a", "/b"]]), ["/a", "/b"]);
        assert_eq!(staying(&["/a", "/b"], &[], &[&["/a", "/b"]]), ["/a"], "and of two files one");
    }

    #[test]
    fn of_names_that_part_one_keeps_the_file() {
        assert_eq!(staying(&["/a", "/b"], &[&["/a", "/b"]], &[]), ["/b"]);
        assert_eq!(staying(&["/a", "/b", "/c"], &[&["/a", "/b", "/c"]], &[&["/b", "/c"]]), ["/b", "/c"]);
    }

    #[test]
    fn a_name_that_is_not_taken_keeps_the_file() {
        assert_eq!(staying(&["/a"], &[&["/a", "/b"]], &[]), Vec::<String>::new());
    }

    #[test]
    fn the_very_many_names_of_a_file_take_no_time() {
        let texts: Vec<String> = (0..60_000).map(|number| format!("/{number:06}")).collect();
        let all: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(staying(&all, &[&all[..]], &[&all[..]]), all);
        assert_eq!(staying(&all, &[&all[..]], &[]), all[all.len() - 1..], "they part");
        assert_eq!(staying(&all, &[], &[&all[..]]), all[..1], "they become one");
        let (half, other) = all.split_at(30_000);
        assert_eq!(staying(&all, &[&all[..]], &[half, other]), other);
    }
}
