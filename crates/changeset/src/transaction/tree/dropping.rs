//! Empties the outgoing directory of an exchange name by name, because processes may still use it. Each object moves to
//! a private place, then is removed if listed, or kept in or beside the staying directory. Names of moved objects
//! contain their line in the list, so this can be repeated.

use std::collections::HashSet;

use rustix::io::Errno;

use crate::format::journal::{Journal, Op, OpKind, RunOutcome};
use crate::format::tree_list::{ListedIdentity, ListedPath, TreeList};
use crate::transaction::error::Cause;
use crate::transaction::objects::names::{is_one_object, name_put_aside};
use crate::transaction::recover::set_id::BitStripper;
use crate::transaction::stage::domains::MARKER;
use crate::transaction::tree::list_file;
use crate::transaction::tree::list_file::{is_listed, split};
use crate::transaction::tree::survey::below;
use patchadm_rootfs::{Dir, FileType, Inode, Root, Timestamp, side_by_side};
use patchadm_svr4::package::{Mode, ObjectPath};

const MOST_TIMES: usize = 1000;

pub(crate) fn drop_trees(root: &Root, journal: &Journal, outcome: RunOutcome) -> Result<Vec<String>, Cause> {
    let mut notes = Vec::new();
    for op in journal.ops.iter().filter(|op| op.kind == OpKind::Tree) {
        let Some(domain) = journal.domains.get(op.domain) else { continue };
        let Some(stage) = root.dir_if_there(&domain.stage)? else { continue };
        if stage.look(b"o")?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            continue;
        }
        let objects = stage.dir(b"o")?;
        let prefix = taken_prefix(op);
        let is_left = objects.look(op.list_name().as_bytes())?.is_some()
            || !objects.names_that_are(|name| name.starts_with(prefix.as_bytes()))?.is_empty();
        if !is_left || !list_file::has_list(&stage, op)? {
            continue;
        }
        let since = stage.look(MARKER)?.and_then(|marker| marker.inode.born);
        let list = list_file::read_list(&stage, op)?;
        let mut kept = GoingTree::open(root, (journal, outcome), op, list, objects, since)?.drop_all()?;
        if !kept.is_empty() {
            // Before the list goes: a power cut must not restore foreign objects here.
            stage.sync_file_system()?;
        }
        notes.append(&mut kept);
    }
    Ok(notes)
}

fn taken_prefix(op: &Op) -> String {
    format!("taken.{}.", op.list_name().rsplit('.').next().unwrap_or_default())
}

struct GoingTree<'a> {
    root: &'a Root,
    journal: &'a Journal,
    outcome: RunOutcome,
    op: &'a Op,
    list: TreeList,
    objects: Dir,
    path: ObjectPath,
    is_old: bool,
    staying: HashSet<Inode>,
    since: Option<Timestamp>,
}

impl<'a> GoingTree<'a> {
    fn open(
        root: &'a Root,
        (journal, outcome): (&'a Journal, RunOutcome),
        op: &'a Op,
        list: TreeList,
        objects: Dir,
        since: Option<Timestamp>,
    ) -> Result<Self, Cause> {
        let path = objects.at(op.list_name().as_bytes());
        let mut tree = Self {
            root,
            journal,
            outcome,
            op,
            list,
            objects,
            path,
            is_old: outcome == RunOutcome::Commit,
            staying: HashSet::new(),
            since,
        };
        let top = tree.objects.look(tree.name())?.map(|seen| seen.inode);
        if let Some(top) = top {
            let is = |identity: &Option<Box<crate::format::journal::Identity>>| {
                identity.as_ref().is_some_and(|identity| identity.inode == top)
            };
            if is(&op.old) || is(&op.new) {
                tree.is_old = is(&op.old);
            }
        }
        let staying = tree.list.paths().iter().filter_map(|listed| tree.stays(listed));
        tree.staying = staying.map(|object| object.inode).collect();
        Ok(tree)
    }

    fn name(&self) -> &[u8] {
        self.op.list_name().as_bytes()
    }

    fn goes<'l>(&self, listed: &'l ListedPath) -> Option<&'l ListedIdentity> {
        if self.is_old { listed.old.as_ref() } else { listed.new.as_ref() }
    }

    fn stays<'l>(&self, listed: &'l ListedPath) -> Option<&'l ListedIdentity> {
        if self.is_old { listed.new.as_ref() } else { listed.old.as_ref() }
    }

    fn keeper(&self) -> StrangerKeeper<'_> {
        StrangerKeeper { root: self.root, run: &self.journal.head.header.run, op: self.op, going: &self.path }
    }

    fn drop_all(&self) -> Result<Vec<String>, Cause> {
        let mut stripper = BitStripper::new(self.root, self.journal, self.outcome, self.since);
        let mut notes = self.judge_taken(&mut stripper)?;
        let Some(top) = self.objects.look(self.name())? else { return Ok(notes) };
        let expected = if self.is_old { &self.op.old } else { &self.op.new };
        if expected.as_ref().is_none_or(|identity| identity.inode != top.inode) {
            notes.append(&mut self.keeper().keep(&self.objects, self.name(), b"")?);
            return Ok(notes);
        }
        let mut directories: Vec<&[u8]> = vec![b""];
        let is_directory = |listed: &&ListedPath| self.goes(listed).is_some_and(|it| it.file_type == 'd');
        directories
            .extend(self.list.paths().iter().filter(is_directory).map(|listed| listed.path.as_slice()));
        let emptied = side_by_side(self.root.workers(), directories.len(), || {
            let mut stripper = BitStripper::new(self.root, self.journal, self.outcome, self.since);
            let directories = &directories;
            move |at| directories.get(at).map_or(Ok(Vec::new()), |path| self.empty(path, &mut stripper))
        });
        for kept in emptied {
            notes.append(&mut kept?);
        }
        for path in directories.iter().rev() {
            notes.append(&mut self.remove(path, &mut stripper)?);
        }
        Ok(notes)
    }

    fn judge_taken(&self, stripper: &mut BitStripper<'_>) -> Result<Vec<String>, Cause> {
        let prefix = taken_prefix(self.op);
        let mut notes = Vec::new();
        for name in self.objects.names_that_are(|name| name.starts_with(prefix.as_bytes()))? {
            let number = name.get(prefix.len()..).and_then(|number| std::str::from_utf8(number).ok());
            let place = number.and_then(|number| number.parse::<usize>().ok());
            if let Some(listed) = place.and_then(|place| self.list.paths().get(place)) {
                notes.append(&mut self.judge(&name, listed, stripper)?);
            }
        }
        Ok(notes)
    }

    /// Keeps it unless it is the listed object.
    fn judge(
        &self,
        taken: &[u8],
        listed: &ListedPath,
        stripper: &mut BitStripper<'_>,
    ) -> Result<Vec<String>, Cause> {
        let Some(seen) = self.objects.look(taken)? else { return Ok(Vec::new()) };
        if !self.goes(listed).is_some_and(|object| is_listed(&seen, object)) {
            return self.keeper().keep(&self.objects, taken, &listed.path);
        }
        if !self.staying.contains(&seen.inode) {
            stripper.strip_bits_in(&self.objects, taken, 0)?;
        }
        self.objects.remove(taken)?;
        Ok(Vec::new())
    }

    fn empty(&self, relative: &[u8], stripper: &mut BitStripper<'_>) -> Result<Vec<String>, Cause> {
        let Some(dir) = self.open_going(relative)? else { return Ok(Vec::new()) };
        let mut notes = Vec::new();
        for name in dir.names()? {
            let path = if relative.is_empty() { name.clone() } else { [relative, b"/", &name].concat() };
            let place = self.list.place_of(&path);
            let listed = place.and_then(|place| self.list.paths().get(place));
            let object = listed.and_then(|listed| self.goes(listed));
            let Some((place, listed, object)) = place.zip(listed).zip(object).map(|((a, b), c)| (a, b, c))
            else {
                notes.append(&mut self.keeper().keep(&dir, &name, &path)?);
                continue;
            };
            if object.file_type == 'd' {
                let is_it = dir.look(&name)?.is_none_or(|seen| is_listed(&seen, object));
                if !is_it {
                    notes.append(&mut self.keeper().keep(&dir, &name, &path)?);
                }
                continue;
            }
            let taken = format!("{}{place}", taken_prefix(self.op)).into_bytes();
            match dir.move_to(&name, &self.objects, &taken) {
                Err(error) if error.is_not_found() => continue,
                moved => moved?,
            }
            notes.append(&mut self.judge(&taken, listed, stripper)?);
        }
        Ok(notes)
    }

    /// `None` if missing.
    fn open_going(&self, relative: &[u8]) -> Result<Option<Dir>, Cause> {
        let path = below(&self.path, relative)?;
        let opened = match self.root.dir_if_there(&path) {
            Err(error) if error.errno() == Some(Errno::ACCESS) => {
                // The owner may empty it with these rights.
                if let Some(above) = path.parent() {
                    self.root.dir(&above)?.set_mode(path.name(), Mode::of(0o700))?;
                }
                self.root.dir_if_there(&path)
            }
            opened => opened,
        };
        match opened {
            Err(error) if matches!(error.errno(), Some(Errno::LOOP | Errno::NOTDIR)) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(Some(dir)) if !dir.is_writable() => {
                dir.set_own_mode(Mode::of(0o700))?;
                Ok(Some(dir))
            }
            Ok(opened) => Ok(opened),
        }
    }

    /// Keeps objects that someone puts into it meanwhile.
    fn remove(&self, relative: &[u8], stripper: &mut BitStripper<'_>) -> Result<Vec<String>, Cause> {
        let (directory, name) = split(relative);
        let above = match relative {
            b"" => Some(self.objects.again()?),
            _ => self.open_going(directory)?,
        };
        let (Some(above), mut notes) = (above, Vec::new()) else { return Ok(Vec::new()) };
        let name = if relative.is_empty() { self.name() } else { name };
        for _ in 0..MOST_TIMES {
            match above.remove_dir(name) {
                Ok(true) => return Ok(notes),
                Ok(false) => notes.append(&mut self.empty(relative, stripper)?),
                // Another object took its place, and was kept with the parent.
                Err(error) if error.errno() == Some(Errno::NOTDIR) => return Ok(notes),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Cause::Changed(self.root.show(&self.op.path)))
    }
}

const MOST_NAMES: usize = 1000;

pub(crate) struct StrangerKeeper<'a> {
    pub(crate) root: &'a Root,
    pub(crate) run: &'a str,
    pub(crate) op: &'a Op,
    pub(crate) going: &'a ObjectPath,
}

struct StrangerPlace {
    dir: Dir,
    name: Vec<u8>,
    is_own: bool,
}

impl StrangerKeeper<'_> {
    pub(crate) fn keep(&self, from: &Dir, name: &[u8], path: &[u8]) -> Result<Vec<String>, Cause> {
        let place = self.place_of(path)?;
        for number in usize::from(!place.is_own)..MOST_NAMES {
            let target = self.name(&place, number);
            match from.move_to(name, &place.dir, &target) {
                Ok(()) => return Ok(vec![self.note(path, &place.dir.at(&target))]),
                Err(error) if error.errno() == Some(Errno::EXIST) => {}
                Err(error) if error.is_not_found() && from.look(name)?.is_none() => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            }
            if is_one_object(from, name, &place.dir, &target)? {
                from.remove(name)?;
                return Ok(Vec::new());
            }
            if number == 0
                && let Some(notes) = self.merge(from, name, &place.dir, path)?
            {
                return Ok(notes);
            }
        }
        Err(Cause::Changed(self.show(path)))
    }

    /// `None` unless both are directories and nothing was added meanwhile.
    fn merge(&self, from: &Dir, name: &[u8], to: &Dir, path: &[u8]) -> Result<Option<Vec<String>>, Cause> {
        let is_directory = |dir: &Dir, name: &[u8]| -> Result<bool, Cause> {
            Ok(dir.look(name)?.is_some_and(|seen| seen.file_type == FileType::Directory))
        };
        if !is_directory(from, name)? || !is_directory(to, split(path).1)? {
            return Ok(None);
        }
        let (inner, mut notes) = (from.dir(name)?, Vec::new());
        for inside in inner.names()? {
            notes.append(&mut self.keep(&inner, &inside, &[path, b"/", &inside].concat())?);
        }
        Ok(from.remove_dir(name)?.then_some(notes))
    }

    /// Remakes a missing directory. If another object has its place, the kept object goes beside that.
    fn place_of(&self, path: &[u8]) -> Result<StrangerPlace, Cause> {
        let beside = |dir: Dir, name: &[u8]| Ok(StrangerPlace { dir, name: name.to_vec(), is_own: false });
        let top = match self.root.dir_if_there(&self.op.path) {
            Err(error) if error.errno() == Some(Errno::LOOP) => None,
            top => top?,
        };
        let Some(mut dir) = top.filter(|_| !path.is_empty()) else {
            let above = self.op.path.parent().unwrap_or_else(ObjectPath::root);
            return beside(self.root.dir(&above)?, self.op.path.name());
        };
        let (directory, name) = split(path);
        let mut passed: Vec<u8> = Vec::new();
        for part in directory.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
            passed = if passed.is_empty() { part.to_vec() } else { [&passed[..], b"/", part].concat() };
            dir = match dir.look(part)? {
                None => self.make_again(&dir, part, &passed)?,
                Some(seen) if seen.file_type == FileType::Directory => dir.dir(part)?,
                Some(_) => return beside(dir, name),
            };
        }
        Ok(StrangerPlace { dir, name: name.to_vec(), is_own: true })
    }

    fn make_again(&self, dir: &Dir, name: &[u8], path: &[u8]) -> Result<Dir, Cause> {
        let made = dir.make_dir(name, Mode::of(0o700))?;
        if let Some(before) = self.root.dir_if_there(&below(self.going, path)?)? {
            let seen = before.itself()?;
            if self.root.is_privileged() {
                made.set_own_owner(Some(seen.uid), Some(seen.gid))?;
            }
            made.set_own_mode(seen.mode)?;
        }
        Ok(made)
    }

    fn name(&self, place: &StrangerPlace, number: usize) -> Vec<u8> {
        if number == 0 { place.name.clone() } else { name_put_aside(&place.name, self.run, number) }
    }

    fn show(&self, path: &[u8]) -> String {
        below(&self.op.path, path)
            .map_or_else(|_| self.root.show(&self.op.path), |path| self.root.show(&path))
    }

    fn note(&self, path: &[u8], place: &ObjectPath) -> String {
        let (shown, place) = (self.show(path), self.root.show(place));
        if shown == place {
            return format!("{shown} was made by another process in the meantime; it is in its place");
        }
        format!("{shown} was changed by another process in the meantime; that version is kept as {place}")
    }
}
