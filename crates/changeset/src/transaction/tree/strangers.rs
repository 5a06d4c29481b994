//! Keeps foreign objects of an outgoing directory: at their place in the directory that stays, or beside it.

use rustix::io::Errno;

use crate::format::journal::Op;
use crate::transaction::error::Cause;
use crate::transaction::objects::rename_support::is_one_object;
use crate::transaction::tree::preparing::split;
use crate::transaction::tree::survey::below;
use patchadm_rootfs::{Dir, FileType, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The most names tried for one object.
const MOST_NAMES: usize = 1000;

/// Keeps objects that are not the run's.
pub(crate) struct StrangerKeeper<'a> {
    pub(crate) root: &'a Root,
    /// The name of the run.
    pub(crate) run: &'a str,
    /// The exchange.
    pub(crate) op: &'a Op,
    /// The outgoing directory: a physical path in the stage.
    pub(crate) going: &'a ObjectPath,
}

/// The destination of an object.
struct Place {
    dir: Dir,
    /// Its last name.
    name: Vec<u8>,
    /// Whether that is its own place, which may be free.
    is_own: bool,
}

impl StrangerKeeper<'_> {
    /// Moves `name` in `from` to its place in the directory that stays, where it has the relative path `path`, or beside
    /// that as `PATH.edited-<run>`. Returns notes for the operator.
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

    /// Keeps everything in a directory if the directory that stays has one at the same path. Returns `None` if either
    /// is something else, or more was put into it meanwhile.
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

    /// Opens the directory of a path in the directory that stays. A missing one is made again as it was. If another
    /// object has its place, the kept object goes beside that.
    fn place_of(&self, path: &[u8]) -> Result<Place, Cause> {
        let beside = |dir: Dir, name: &[u8]| Ok(Place { dir, name: name.to_vec(), is_own: false });
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
        Ok(Place { dir, name: name.to_vec(), is_own: true })
    }

    /// Makes a directory that exists only in the outgoing one.
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

    fn name(&self, place: &Place, number: usize) -> Vec<u8> {
        let mut name = place.name.clone();
        if number > 0 {
            name.extend_from_slice(format!(".edited-{}", self.run).as_bytes());
        }
        if number > 1 {
            name.extend_from_slice(format!(".{number}").as_bytes());
        }
        name
    }

    fn show(&self, path: &[u8]) -> String {
        below(&self.op.path, path)
            .map_or_else(|_| self.root.show(&self.op.path), |path| self.root.show(&path))
    }

    fn note(&self, path: &[u8], place: &ObjectPath) -> String {
        let (shown, place) = (self.show(path), self.root.show(place));
        if shown == place {
            return format!("{shown} was made by somebody else in the meantime; it is in its place");
        }
        format!("{shown} was changed by somebody else in the meantime; that version is kept as {place}")
    }
}
