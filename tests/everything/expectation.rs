//! The expected tree after a patch, derived from the descriptions alone.
//!
//! The rules are those of pkgmap(4), with three additions for cases outside of its scope: an object that is already
//! there, down to the last attribute, stays; a replaced object passes on `user.*` and its ACL; the other recorded
//! names of a replaced file follow it.

use std::collections::BTreeMap;

use super::description::{Entry, Package};
use super::picture::{Kind, Node, Picture, Xattrs};

/// The user who applies patches, and the installed state.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// True if owners are set; otherwise everything belongs to `caller`.
    pub(super) privileged: bool,
    pub(super) caller: (u32, u32),
    pub(super) users: BTreeMap<&'static str, u32>,
    pub(super) groups: BTreeMap<&'static str, u32>,
    /// The installed packages.
    pub(super) installed: Vec<String>,
    /// Recorded hard links: path to the path that it names.
    pub(super) links: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Recorded files: path to content.
    pub(super) recorded: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl World {
    /// Records the hard links and files of a release.
    pub(super) fn record(&mut self, packages: &[Package]) {
        for package in self.of_installed(packages) {
            for (path, entry) in package.placed() {
                self.links.remove(&path);
                self.recorded.insert(path.clone(), entry.content.clone());
                if entry.ftype == 'l' {
                    self.links.insert(path.clone(), source(&path, &entry.target));
                }
            }
            for path in &package.deletes {
                self.links.remove(&package.place(path));
            }
        }
    }

    fn of_installed<'p>(&self, packages: &'p [Package]) -> Vec<&'p Package> {
        packages.iter().filter(|package| self.installed.contains(&package.name)).collect()
    }

    /// The tree after patch `id` of these packages.
    pub(super) fn after(&self, before: &Picture, packages: &[Package], id: &str) -> Picture {
        let mut after = before.clone();
        let mut fresh = 1 << 60;
        let packages = self.of_installed(packages);
        for package in &packages {
            for path in &package.deletes {
                after.remove(&package.place(path));
            }
        }
        for (path, entry) in packages.iter().flat_map(|package| package.placed()) {
            self.imply(&mut after, &path);
            let old = before.get(&path);
            if entry.ftype == 'l' {
                let of = source(&path, &entry.target);
                let node = after[&of].clone();
                after.insert(path, node);
            } else {
                let node = self.node(old, entry);
                if old.is_some_and(|old| stays(old, &node)) {
                    continue;
                }
                if let Some(old) = old.filter(|old| self.is_edited(&path, old, entry)) {
                    fresh += 1;
                    let kept = [&path[..], format!(".edited-{id}").as_bytes()].concat();
                    after.insert(kept, Node { file: fresh, ..old.clone() });
                }
                fresh += 1;
                after.insert(path, Node { file: fresh, ..node });
            }
        }
        self.relink(before, &mut after, &packages);
        after
    }

    /// True if an administrator edited the object and may do so: it is kept under another name.
    fn is_edited(&self, path: &[u8], old: &Node, entry: &Entry) -> bool {
        let recorded = self.recorded.get(path).map(|content| Kind::File(content.clone()));
        matches!(entry.ftype, 'e' | 'v') && recorded.is_some_and(|recorded| recorded != old.kind)
    }

    /// Makes recorded names that the patch does not deliver follow the file that they name.
    fn relink(&self, before: &Picture, after: &mut Picture, packages: &[&Package]) {
        let delivered = |path: &[u8]| {
            packages.iter().any(|package| package.placed().iter().any(|(other, _)| other == path))
        };
        for path in self.links.keys().filter(|path| !delivered(path)) {
            let mut at = path;
            while let Some(next) = self.links.get(at) {
                at = next;
            }
            let follows = before[path].file == before[at].file && after[at].file != before[at].file;
            if follows && after.contains_key(path) {
                after.insert(path.clone(), after[at].clone());
            }
        }
    }

    /// Adds directories above an object that nothing else has made.
    fn imply(&self, after: &mut Picture, path: &[u8]) {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(place, _)| place);
        for above in slashes.map(|place| path[..place].to_vec()) {
            let (uid, gid) = if self.privileged { (0, 0) } else { self.caller };
            after.entry(above).or_insert(Node {
                kind: Kind::Directory,
                mode: 0o755,
                uid,
                gid,
                mtime: None,
                xattrs: Xattrs::new(),
                file: 0,
            });
        }
    }

    fn node(&self, old: Option<&Node>, entry: &Entry) -> Node {
        let kind = match entry.ftype {
            'd' | 'x' => Kind::Directory,
            's' => Kind::Symlink(entry.target.clone()),
            'p' => Kind::Pipe,
            'b' | 'c' => Kind::Device { block: entry.ftype == 'b', numbers: entry.device },
            _ => Kind::File(entry.content.clone()),
        };
        let same_kind = old.filter(|old| (old.kind == Kind::Directory) == (kind == Kind::Directory));
        let kept = |of: fn(&Node) -> u32| same_kind.map(of);
        let owner = entry.owner.as_ref().map(|name| self.users[name.as_str()]);
        let group = entry.group.as_ref().map(|name| self.groups[name.as_str()]);
        let owners = if self.privileged {
            let uid = owner.or(kept(|old| old.uid)).unwrap_or(0);
            let gid = group.or(kept(|old| old.gid)).unwrap_or(0);
            (uid, gid)
        } else {
            self.caller
        };
        let directory_stays = kind == Kind::Directory && old.is_some_and(|old| old.kind == Kind::Directory);
        let hands_on = |name: &[u8]| name.starts_with(b"user.") || name == b"system.posix_acl_access";
        let mut xattrs = old.map(|old| old.xattrs.clone()).unwrap_or_default();
        xattrs.retain(|name, _| (directory_stays || hands_on(name)) && !kind_is_link(&kind));
        Node {
            mode: entry.mode.or(kept(|old| old.mode)).filter(|_| !kind_is_link(&kind)).unwrap_or(0o777),
            kind,
            uid: owners.0,
            gid: owners.1,
            mtime: entry.is_file().then_some((entry.mtime, 0)),
            xattrs,
            file: 0,
        }
    }
}

fn kind_is_link(kind: &Kind) -> bool {
    matches!(kind, Kind::Symlink(_))
}

/// True if there is nothing to do: everything that the package specifies is already so.
fn stays(old: &Node, new: &Node) -> bool {
    if kind_is_link(&new.kind) {
        return old.kind == new.kind;
    }
    let second = |node: &Node| node.mtime.map(|(seconds, _)| seconds);
    let time = new.mtime.is_none() || second(old) == second(new);
    (&old.kind, old.mode, old.uid, old.gid) == (&new.kind, new.mode, new.uid, new.gid) && time
}

/// The path that a hard link names.
fn source(path: &[u8], target: &[u8]) -> Vec<u8> {
    if let Some(absolute) = target.strip_prefix(b"/") {
        return absolute.to_vec();
    }
    let mut at: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    at.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"." => {}
            b".." => drop(at.pop()),
            part => at.push(part),
        }
    }
    at.join(&b'/')
}
