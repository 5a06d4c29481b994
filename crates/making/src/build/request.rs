use std::collections::BTreeMap;

use super::pairs::PairNaming;
use patchadm_inputs::native::FixedIn;
use patchadm_inputs::path_glob::PathGlob;
use patchadm_releases::{CompareOptions, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
use patchadm_svr4::package::{ObjectPath, Word};
use patchadm_svr4::patch::{FixList, PatchId, PatchList, Requirements};

#[derive(Clone, Debug)]
pub struct BuildRequest {
    pub id: PatchId,
    /// Seconds since 1970.
    pub date: i64,
    /// For its packages.
    pub naming: PairNaming,
    pub choices: ListChoices,
    /// Differences that count as a change.
    pub compare: CompareOptions,
    /// BASEDIR for packages without one.
    pub basedir: ObjectPath,
    pub lists: PatchLists,
    /// Words of `SUNW_PATCH_PROPERTIES`.
    pub properties: Vec<String>,
    /// Native versions with its fix.
    pub fixed_in: Option<FixedIn>,
    pub readme: ReadmeText,
    /// Give every package the scripts for a pkgadd without patch support.
    pub with_scripts: bool,
    /// Class action scripts by name (`i.CLASS`); a package gets those of its classes.
    pub class_scripts: BTreeMap<String, Vec<u8>>,
    /// Pattern for the base of a restricted patch.
    pub restricted: Option<String>,
    /// Allow the loss of objects that unchanged ones need.
    pub allow_abi_break: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchLists {
    /// These must be applied.
    pub requires: Requirements,
    /// The patch contains these.
    pub obsoletes: PatchList,
    /// These must not be applied.
    pub incompatibles: PatchList,
    pub fixes: FixList,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadmeText {
    /// One line.
    pub synopsis: Option<String>,
    /// Unordered.
    pub keywords: Vec<String>,
    /// One line each.
    pub bugs: Vec<String>,
}

impl PatchLists {
    pub fn unite(&mut self, other: &Self) {
        let requires = self.requires.iter().chain(other.requires.iter()).cloned();
        self.requires = requires.collect();
        self.obsoletes.extend(other.obsoletes.iter().cloned());
        self.incompatibles.extend(other.incompatibles.iter().cloned());
        self.fixes.unite(&other.fixes);
    }
}

/// Applied to both releases alike, so that none of them is a change.
#[derive(Clone, Debug, Default)]
pub struct ListChoices {
    /// Left out recursively.
    pub exclude: Vec<PathGlob>,
    /// Files of type `e`.
    pub editable: Vec<PathGlob>,
    /// Files of type `v`.
    pub volatile: Vec<PathGlob>,
    /// The last matching pattern counts.
    pub classes: Vec<(PathGlob, Word)>,
    /// Owner and group of every object.
    pub owner: Option<(Word, Word)>,
}

impl ListChoices {
    pub fn applied(&self, objects: &[ReleaseObject]) -> Vec<ReleaseObject> {
        let is_left_out =
            |object: &ReleaseObject| self.exclude.iter().any(|glob| glob.names_it_or_above(&object.path));
        let kept = objects.iter().filter(|object| !is_left_out(object));
        kept.map(|object| self.made(object.clone())).collect()
    }

    fn made(&self, mut object: ReleaseObject) -> ReleaseObject {
        let is_named = |globs: &[PathGlob]| globs.iter().any(|glob| glob.names(&object.path));
        let chosen = match () {
            () if is_named(&self.volatile) => Some(Upkeep::Volatile),
            () if is_named(&self.editable) => Some(Upkeep::Editable),
            () => None,
        };
        if let (ReleaseObjectKind::File { upkeep, .. }, Some(chosen)) = (&mut object.kind, chosen) {
            *upkeep = chosen;
        }
        if let Some((_, class)) = self.classes.iter().rev().find(|(glob, _)| glob.names(&object.path)) {
            object.class = class.clone();
        }
        if let Some((owner, group)) = &self.owner {
            object.owner = ObjectOwner { name: Some(owner.clone()), id: None };
            object.group = ObjectOwner { name: Some(group.clone()), id: None };
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::tests::made_up::{directory, file};

    #[test]
    fn choices_leave_out_what_is_excluded_and_mark_the_rest() {
        let glob = |text| PathGlob::parse(text).unwrap();
        let choices = ListChoices {
            exclude: vec![glob("usr/share/doc")],
            editable: vec![glob("etc/**")],
            volatile: vec![glob("*.log")],
            classes: vec![(glob("etc/**"), "cfg".into()), (glob("etc/own"), "own".into())],
            owner: Some(("root".into(), "sys".into())),
        };
        let list = [directory("/etc"), file("/etc/a", ""), file("/etc/a.log", ""), file("/etc/own", "")];
        let list: Vec<_> = list.into_iter().chain([file("/usr/share/doc/x/y", "")]).collect();
        let made = choices.applied(&list);
        let told: Vec<String> = made
            .iter()
            .map(|object| {
                let upkeep = match &object.kind {
                    ReleaseObjectKind::File { upkeep, .. } => format!("{upkeep:?}"),
                    _ => String::new(),
                };
                format!("{} {upkeep} {}", object.path, object.class)
            })
            .collect();
        assert_eq!(
            told,
            ["/etc  ", "/etc/a Editable cfg", "/etc/a.log Volatile cfg", "/etc/own Editable own"]
        );
        assert!(made.iter().all(|object| object.group.name == Some("sys".into())));
    }
}
