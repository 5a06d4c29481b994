//! The final declaration of an object by installf(1M): whether the object is what its line says, what makes it so, and
//! the resulting line.
//!
//! A missing object is made, unless it is a regular file. Attributes are set, and a symbolic link is redirected. An
//! object of another type, or a hard link that is not a name of its source, has another owner and stays: its line then
//! says `!`.

use std::collections::BTreeMap;

use patchadm_inputs::inventory::{Inventory, LinkedDirectory};
use patchadm_rootfs::{FileType, Live, LiveKind};
use patchadm_svr4::package::{
    Accounts, ContentsLine, Ftype, Mode, Object, ObjectAttributes, ObjectPath, PkgInst, Word,
};

use crate::plan::objects::body_of;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::refusal::ObjectProblem;
use crate::plan::{Action, Body, NewObject, NewXattrs};

/// The longest chain of hard links to hard links that is followed.
const LONGEST_CHAIN: usize = 40;

/// An object that is not what it was declared to be. The texts are those of pkgchk(1M).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discrepancy {
    /// Nothing is there.
    #[error("pathname does not exist")]
    Missing,
    /// Something else is there.
    #[error("file type <{}> expected <{}> actual", char::from(.expected.letter()), char::from(.actual.letter()))]
    Type {
        /// The declared type.
        expected: Ftype,
        /// The existing type.
        actual: Ftype,
    },
    /// Another device is there.
    #[error("major/minor device <{}, {}> expected <{}, {}> actual", .expected.0, .expected.1, .actual.0, .actual.1)]
    Device {
        /// The numbers that were declared.
        expected: (u32, u32),
        /// Those that are there.
        actual: (u32, u32),
    },
    /// It is not another name of its source.
    #[error("pathname not properly linked to <{0}>")]
    NotLinked(String),
}

/// The result of a declaration.
pub(super) struct Settled {
    /// The resulting content of the line.
    pub(super) object: Object,
    /// The fault, if there is one.
    pub(super) discrepancy: Option<Discrepancy>,
}

/// Returns the content of an object's line when it is final. `line_of` gives the lines at that time.
pub(super) fn settled<'l>(
    line: &ContentsLine,
    line_of: impl Fn(&ObjectPath) -> Option<&'l ContentsLine>,
    inventory: &Inventory,
) -> Settled {
    let Inventory { live, accounts, .. } = inventory;
    let mut object = line.object.clone();
    if let Some(directory) = behind(line, inventory) {
        object.attributes = directory.attributes(accounts);
        return Settled { object, discrepancy: None };
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
    Settled { object, discrepancy }
}

/// Returns the directory that a symbolic link leads to which stands where a directory is declared: both stay as they are.
fn behind<'i>(line: &ContentsLine, inventory: &'i Inventory) -> Option<&'i LinkedDirectory> {
    inventory.linked_directory(&line.path).filter(|_| line.object.ftype.is_directory())
}

/// Returns the attributes of an object: unknown ones come from the existing object, else they are 0755 or 0644, root,
/// root.
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

/// Returns the fault of an object that is not a hard link, if it cannot be corrected.
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

/// Tells whether link(2) gives the object another name: no directory, and no symbolic link.
fn can_have_names(live: &Live) -> bool {
    !matches!(live.kind, LiveKind::Directory | LiveKind::Symlink(_))
}

/// Returns the object that a hard link names in the end, through recorded links to links.
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
    /// Plans what makes an object what its line says, as far as that can be done without content.
    pub(super) fn put_right(&mut self, package: &PkgInst, line: &ContentsLine) -> Result<(), ObjectProblem> {
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

    /// Makes a hard link.
    fn name(&mut self, package: &PkgInst, line: &ContentsLine) -> Result<(), ObjectProblem> {
        let inventory = self.inventory;
        let Some(source) = source(line, |path| inventory.lines.get(path)) else { return Ok(()) };
        self.open_way(package, &line.path)?;
        let new = self.other_name(&line.path, &source)?;
        self.change(package, &line.path, Action::Add(new));
        Ok(())
    }

    /// Turns a symbolic link that points elsewhere.
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

/// An immutable or append-only object takes no other attributes; a mount point does.
fn check_attributes(path: &ObjectPath, live: &Live) -> Result<(), ObjectProblem> {
    match live.obstacle.filter(|word| !word.contains("mount")) {
        Some(obstacle) => Err(ObjectProblem::Obstacle { at: path.clone(), obstacle }),
        None => Ok(()),
    }
}

/// Returns the type that a live object is recorded with if none is named.
pub(super) fn type_of(live: &Live) -> Ftype {
    live.kind.file_type().ftype().unwrap_or(Ftype::File)
}
