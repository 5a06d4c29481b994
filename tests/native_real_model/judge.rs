//! The changes that a command of ours may make: paths of its patches that belong to the patched package or to nobody,
//! and nothing older than the installed version.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::patches::{Applied, Change, plain};
use crate::native_root::{Owners, content};

/// An object, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) content: String,
    /// Mode, owner and group.
    pub(super) attributes: String,
}

/// The objects of a root, by path.
pub(super) type Picture = BTreeMap<String, Seen>;

/// Reads everything but the records.
pub(super) fn picture(root: &Path) -> Picture {
    let mut seen = Picture::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let at = entry.unwrap().path();
            let path = format!("/{}", at.strip_prefix(root).unwrap().display());
            if path == "/var" {
                continue;
            }
            let metadata = fs::symlink_metadata(&at).unwrap();
            seen.insert(path, Seen { content: content(&at), attributes: attributes(&metadata) });
            if metadata.is_dir() {
                open.push(at);
            }
        }
    }
    seen
}

fn attributes(metadata: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt as _;
    format!("{:o} {}:{}", metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
}

/// Facts about a root while a command of ours runs.
pub(super) struct Known<'a> {
    /// The installed version of each package.
    pub(super) versions: BTreeMap<String, u32>,
    pub(super) owners: Owners,
    /// The current and former patches, each with the paths of its claims on disk.
    pub(super) patches: Vec<(&'a Applied, BTreeSet<String>)>,
    /// The package and version that an edit was made over.
    pub(super) edits: &'a BTreeMap<String, Option<(String, u32)>>,
    /// True if the command backs out patches that are in force.
    pub(super) is_backout: bool,
    /// The attributes that overrides ask for.
    pub(super) overrides: BTreeMap<String, String>,
    /// The paths whose attributes may be registered with an administrator's values.
    pub(super) registered_anew: &'a BTreeSet<String>,
    /// The attributes that an administrator gave to paths.
    pub(super) chmodded: &'a BTreeMap<String, BTreeSet<String>>,
}

/// The forbidden changes of a command, as messages.
pub(super) fn misdeeds(before: &Picture, after: &Picture, known: &Known<'_>) -> Vec<String> {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    let mut wrong = Vec::new();
    for path in changed {
        let (was, is) = (before.get(path), after.get(path));
        if let Some(reason) = known.misdeed(path, (was, is), after) {
            wrong.push(format!("{path}: {reason}: {was:?} became {is:?}"));
        }
    }
    wrong
}

/// True if an edit is now beside its path.
fn is_beside(path: &str, was: Option<&Seen>, after: &Picture) -> bool {
    let kept = format!("{path}.edited-");
    let is_it =
        |content: &str| after.iter().any(|(at, seen)| at.starts_with(&kept) && seen.content == content);
    was.is_some_and(|was| was.content.starts_with("edit") && is_it(&was.content))
}

impl Known<'_> {
    /// The patches with a claim on a path.
    fn of(&self, path: &str) -> impl Iterator<Item = &Applied> {
        self.patches.iter().filter(move |(_, paths)| paths.contains(path)).map(|(patch, _)| *patch)
    }

    /// The reason why a change of a path is wrong.
    fn misdeed(
        &self,
        path: &str,
        (was, is): (Option<&Seen>, Option<&Seen>),
        after: &Picture,
    ) -> Option<String> {
        let is_directory = |seen: Option<&Seen>| seen.is_none_or(|seen| seen.content == "a directory");
        let owners: BTreeSet<&str> =
            self.owners.get(path).into_iter().flatten().filter_map(|one| one.split(':').next()).collect();
        if is_directory(was) && is_directory(is) {
            // Directories come and go with their content; a package keeps its own.
            let is_needed = self
                .patches
                .iter()
                .any(|(_, paths)| paths.iter().any(|one| one.starts_with(&format!("{path}/"))));
            let is_right = is_needed && (owners.is_empty() || was.is_none());
            return (!is_right).then(|| format!("a directory of {owners:?}"));
        }
        // An edited file is kept beside its path until a backout puts it back.
        if let Some((place, _)) = path.split_once(".edited-") {
            let is_edit = is.is_some_and(|seen| !seen.content.starts_with("native"));
            let is_back =
                is.is_none() && after.get(place).map(|seen| &seen.content) == was.map(|seen| &seen.content);
            let is_right = is_back || was.is_none() && is_edit;
            return (!is_right || self.of(place).next().is_none())
                .then(|| "no edit beside a path".to_owned());
        }
        if self.of(path).next().is_none() {
            return Some("no patch has it".to_owned());
        }
        if !self.of(path).any(|patch| owners.iter().all(|owner| *owner == patch.package)) {
            return Some(format!("it belongs to {owners:?}"));
        }
        match is {
            // A backout keeps an edited file under another name.
            None if self.is_backout && is_beside(path, was, after) => None,
            None => self.wrong_deletion(path, was, &owners),
            Some(is) => {
                self.wrong_content(path, is, &owners).or_else(|| self.wrong_attributes(path, was, is))
            }
        }
    }

    fn wrong_deletion(&self, path: &str, was: Option<&Seen>, owners: &BTreeSet<&str>) -> Option<String> {
        let was = &was?.content;
        let is_own = self
            .patches
            .iter()
            .any(|(patch, _)| patch.claims.iter().any(|claim| claim.change.bytes() == Some(was.as_str())));
        // A patch delivered it to a place where its package had nothing.
        let is_brought = self.is_backout
            && self.of(path).flat_map(|patch| &patch.claims).any(|claim| {
                let native = claim.native.as_ref().filter(|_| claim.is_odd);
                native.is_some_and(|native| native.text == *was)
            });
        let is_own = is_own || is_brought;
        let stands = |patch: &&Applied| {
            let puts = patch.claims.iter().any(|claim| claim.change.bytes() == Some(was.as_str()));
            let version = self.versions.get(&patch.package);
            let lacks_fix = |version: &u32| patch.fixed_in.is_none_or(|fixed| *version < fixed);
            puts && patch.only_adds() && version.is_some_and(lacks_fix)
        };
        if !self.is_backout && self.of(path).any(|patch| stands(&patch)) {
            return Some("it is deleted, although its patch changes nothing of its package".to_owned());
        }
        let is_deleted =
            self.of(path).any(|patch| patch.claims.iter().any(|claim| claim.change == Change::Deletes));
        (!(is_deleted || is_own && owners.is_empty())).then(|| "it is deleted".to_owned())
    }

    /// Reports bytes that are older than the installed version, or that belong to no owner of the path.
    fn wrong_content(&self, path: &str, is: &Seen, owners: &BTreeSet<&str>) -> Option<String> {
        let words: Vec<&str> = is.content.split_whitespace().collect();
        match words[..] {
            ["native", name, "any", ..] => {
                (!owners.contains(name)).then(|| format!("bytes of {name}, which does not own it"))
            }
            ["native", name, version, ..] => {
                let installed = self.versions.get(name);
                let is_current = installed.is_some_and(|installed| installed.to_string() == version);
                // rpm replaced the file and then removed the replacement: the path has no owner, and a patch may
                // deliver it.
                let is_brought = owners.is_empty() && self.of(path).any(|patch| patch.package == name);
                (!is_current || !owners.contains(name) && !is_brought).then(|| {
                    format!(
                        "bytes of {name} {version}, while {installed:?} is installed and {owners:?} own it"
                    )
                })
            }
            ["patch", id, ..] => {
                let is_known =
                    self.patches.iter().any(|(patch, paths)| patch.id == id && paths.contains(path));
                (!is_known).then(|| format!("bytes of {id}"))
            }
            ["edit", ..] => {
                let over = self.edits.get(&is.content).cloned().flatten();
                let is_current =
                    over.is_none_or(|(name, version)| self.versions.get(&name) == Some(&version));
                (!is_current).then(|| "an edit of another version".to_owned())
            }
            _ => Some("bytes of nobody".to_owned()),
        }
    }

    /// True if a patch delivers an object with these attributes.
    fn delivers(&self, path: &str, attributes: &str) -> bool {
        self.of(path)
            .flat_map(|patch| &patch.claims)
            .filter_map(|claim| claim.native.as_ref())
            .any(|native| plain(&native.path) == path && format!("{:o} 0:0", native.mode) == attributes)
    }

    /// Reports attributes that are neither the earlier ones, nor those of an override, nor a change by a patch.
    fn wrong_attributes(&self, path: &str, was: Option<&Seen>, is: &Seen) -> Option<String> {
        if let Some(forced) = self.overrides.get(path) {
            return (*forced != is.attributes).then(|| format!("the override says {forced}"));
        }
        let was = was?;
        let changes_mode = self.of(path).any(|patch| {
            patch.claims.iter().any(|claim| matches!(claim.change, Change::Mode(_) | Change::Deletes))
        });
        // In this case, the patch and the registration disagree.
        let mut given = self.chmodded.get(path).into_iter().flatten();
        let is_back = self.is_backout && given.any(|given| *given == is.attributes);
        let is_reset =
            self.registered_anew.contains(path) && (is_back || self.delivers(path, &is.attributes));
        let is_right = was.attributes == is.attributes || changes_mode || is_reset;
        (!is_right).then(|| "other attributes".to_owned())
    }
}
