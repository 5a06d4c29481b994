//! Patches of a story: the objects that each one puts in place, and their known state.

use std::collections::BTreeMap;

use super::world::{File, any_shared, spelled};
use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package};
use crate::random::Random;

/// The change of a path by a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Other bytes, with the mode of the version.
    Replaces(String),
    Adds(String),
    /// The bytes of the version, and another mode.
    Mode(u32),
    Deletes,
}

/// A path of a patch.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// As the patch spells it.
    pub(super) path: String,
    pub(super) change: Change,
    /// The file of the version, if that has the path.
    pub(super) native: Option<File>,
    /// No longer checked: another version has come and left it unchanged.
    pub(super) is_settled: bool,
    /// The package has the path, but nothing was there when the patch was applied.
    pub(super) is_odd: bool,
    /// Its location when the patch was applied.
    pub(super) put_at: String,
}

/// A patch that was applied, and neither backed out nor forgotten since.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    pub(super) id: String,
    pub(super) package: String,
    /// The version of the package at which it was applied.
    pub(super) version: u32,
    pub(super) fixed_in: Option<u32>,
    pub(super) claims: Vec<Claim>,
    /// The expected report.
    pub(super) alarm: Alarm,
    /// True if a later revision is applied.
    pub(super) is_superseded: bool,
    /// True if a version with its fix was there.
    pub(super) is_contained: bool,
    /// The version that left all of its paths unchanged, and so has its fix, like every later one.
    pub(super) settled_at: Option<u32>,
    /// The expected report after the later revision is backed out. Until then, only that one alarms.
    pub(super) alarm_behind: Alarm,
}

/// The report of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    Off,
    On,
    /// The rules leave it open, or the story cannot know.
    Open,
}

#[derive(Default)]
pub(super) struct Patches {
    serial: u32,
    pub(super) applied: BTreeMap<String, Applied>,
    /// Every patch ever made, in its initial state.
    pub(super) known: BTreeMap<String, Applied>,
}

/// The target of a patch: a package as it is installed.
pub(super) struct Target<'a> {
    pub(super) name: &'a str,
    pub(super) version: u32,
    pub(super) files: &'a [File],
    /// The registration as a patch names it.
    pub(super) package: Package,
    /// `dpkg` or `rpm`, and how it writes a version.
    pub(super) fixed_in: &'a dyn Fn(u32) -> String,
}

impl Patches {
    /// Makes a patch for a package: a new one, or a later revision of one that is applied.
    pub(super) fn make(&mut self, target: Target<'_>, random: &mut Random) -> (Applied, Patch) {
        let Target { name, version, files, mut package, fixed_in } = target;
        let revised = self.applied.values().find(|patch| patch.package == name && !patch.is_superseded);
        let id = if let Some(patch) = revised.filter(|_| random.once_in(5)) {
            let base = patch.id.split('-').next().unwrap();
            let is_revision = |id: &&String| id.split('-').next() == Some(base);
            format!("{base}-{:02}", self.known.keys().filter(is_revision).count() + 1)
        } else {
            self.serial += 1;
            format!("{}-01", 100 + self.serial)
        };
        let mut claims: Vec<Claim> = Vec::new();
        for file in files {
            if !random.once_in(3) {
                continue;
            }
            let path = if random.once_in(4) { other_spelling(&file.path, random) } else { file.path.clone() };
            let change = if file.mode == 0o4755 && random.once_in(2) {
                Change::Mode(0o755)
            } else if random.once_in(7) && !file.path.starts_with("/etc/") {
                Change::Deletes
            } else {
                Change::Replaces(format!("patch {id} {path}\n"))
            };
            claims.push(Claim {
                path,
                change,
                native: Some(file.clone()),
                is_settled: false,
                is_odd: false,
                put_at: String::new(),
            });
        }
        if random.once_in(2) || claims.is_empty() {
            let path = if random.once_in(2) { any_shared(random) } else { format!("/usr/share/m/of-{id}/n") };
            let is_there = |file: &File| plain(&file.path) == plain(&path);
            if !files.iter().any(is_there) && !claims.iter().any(|claim| plain(&claim.path) == plain(&path)) {
                let change = Change::Adds(format!("patch {id} {path}\n"));
                claims.push(Claim {
                    path,
                    change,
                    native: None,
                    is_settled: false,
                    is_odd: false,
                    put_at: String::new(),
                });
            }
        }
        if claims.is_empty() {
            let path = format!("/usr/share/m/of-{id}/n");
            let change = Change::Adds(format!("patch {id} {path}\n"));
            claims.push(Claim {
                path,
                change,
                native: None,
                is_settled: false,
                is_odd: false,
                put_at: String::new(),
            });
        }
        let fixed = (version < 3 && random.once_in(3)).then_some(3);
        if let Some(fixed) = fixed {
            package = package.param("PATCH_FIXED_IN", &fixed_in(fixed));
        }
        let deletes: Vec<&str> = claims
            .iter()
            .filter(|claim| claim.change == Change::Deletes)
            .map(|claim| claim.path.as_str())
            .collect();
        if !deletes.is_empty() {
            package = package.deletes(&deletes);
        }
        for Claim { path, change, native, .. } in &claims {
            let mode = native.as_ref().map_or(0o644, |file| file.mode);
            let kind = if path.starts_with("/etc/") { 'e' } else { 'f' };
            let (mode, text) = match (change, native) {
                (Change::Replaces(text) | Change::Adds(text), _) => (mode, text.clone()),
                (Change::Mode(mode), Some(file)) => (*mode, file.text.clone()),
                _ => continue,
            };
            package = package.content(kind, &path[1..], mode, "root root", DELIVERED, text);
        }
        let applied = Applied {
            id: id.clone(),
            package: name.to_owned(),
            version,
            fixed_in: fixed,
            claims,
            alarm: Alarm::Off,
            is_superseded: false,
            is_contained: false,
            settled_at: None,
            alarm_behind: Alarm::Off,
        };
        self.known.insert(id.clone(), applied.clone());
        (applied, Patch::of(&id, package))
    }

    /// Records that a patch is applied, which supersedes the revisions before it and repairs their loss.
    pub(super) fn add(&mut self, patch: Applied) {
        let base = |id: &str| id.split('-').next().unwrap_or_default().to_owned();
        for earlier in self.applied.values_mut().filter(|earlier| base(&earlier.id) == base(&patch.id)) {
            earlier.is_superseded = true;
            if earlier.alarm == Alarm::On {
                (earlier.alarm, earlier.alarm_behind) = (Alarm::Off, Alarm::On);
            }
        }
        self.applied.insert(patch.id.clone(), patch);
    }

    /// Records that a patch is backed out: the revision before it is in force again.
    pub(super) fn remove(&mut self, id: &str) {
        self.applied.remove(id);
        let base = id.split('-').next().unwrap_or_default();
        let below = self.applied.values_mut().rev().find(|patch| patch.id.starts_with(&format!("{base}-")));
        if let Some(below) = below {
            below.is_superseded = false;
            if below.alarm == Alarm::Off {
                below.alarm = std::mem::replace(&mut below.alarm_behind, Alarm::Off);
            }
        }
    }

    /// Records that the story cannot know the state of a patch.
    pub(super) fn doubt(&mut self, id: &str) {
        let base = id.split('-').next().unwrap_or_default();
        let revisions = self.applied.values_mut().filter(|patch| patch.id.starts_with(&format!("{base}-")));
        revisions.for_each(|patch| patch.alarm = Alarm::Open);
    }
}

impl Claim {
    /// True if the version has the path with the set-user-id bit.
    pub(super) fn is_setuid(&self) -> bool {
        self.native.as_ref().is_some_and(|native| native.mode & 0o4000 != 0)
    }
}

impl Change {
    /// The bytes that it puts at its path.
    pub(super) fn bytes(&self) -> Option<&str> {
        match self {
            Self::Replaces(text) | Self::Adds(text) => Some(text),
            Self::Mode(_) | Self::Deletes => None,
        }
    }
}

/// A path in the spelling without the links of a merged root.
pub(super) fn plain(path: &str) -> String {
    let is_link = ["/lib/", "/bin/"].iter().any(|start| path.starts_with(start));
    if is_link { format!("/usr{path}") } else { path.to_owned() }
}

fn other_spelling(path: &str, random: &mut Random) -> String {
    spelled(&plain(path), random)
}
