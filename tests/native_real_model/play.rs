//! Playing a story: a step, and then a check of everything.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::expected::{Facts, Places};
use super::judge::{Known, Picture, misdeeds, picture};
use super::patches::{Alarm, Applied, Patches, Target, plain};
use super::world::{NAMES, World};
use crate::native_root::Watched;
use crate::packages::Package;
use crate::random::Random;
use crate::scenario::Run;

/// A package manager with a root of its own.
pub(super) trait Manager: Places {
    fn root(&self) -> &Watched;

    fn world(&self) -> &World;

    /// Changes packages; returns a description.
    fn act(&mut self, random: &mut Random) -> Act;

    /// The installed version of each package.
    fn versions(&self) -> BTreeMap<String, u32>;

    /// The attributes that the administrator set for objects, by path.
    fn overrides(&self) -> BTreeMap<String, String>;

    /// The package as a patch for this version delivers it.
    fn delivered(&self, name: &str, version: u32) -> Package;

    /// The text by which a patch names the version with its fix.
    fn fixed_in(&self, name: &str, version: u32) -> String;

    /// The options of `adopt` for a package.
    fn adopts(&self, name: &str) -> String;

    /// The paths whose bytes the package manager finds changed or missing.
    fn verified(&self) -> BTreeSet<String>;
}

/// An action of the package manager.
pub(super) struct Act {
    pub(super) told: String,
    /// The tree when our hook began, if it was called.
    pub(super) before_hook: Option<Picture>,
}

/// The permitted exit codes of our commands.
const CODES: [i32; 6] = [0, 1, 2, 3, 4, 5];

pub(super) struct Play<'a, M> {
    manager: M,
    random: Random,
    steps: &'a RefCell<Vec<String>>,
    patches: Patches,
    /// The bytes of each edit, with the package and version over whose file it was made.
    edits: BTreeMap<String, Option<(String, u32)>>,
    /// True if nothing was done to packages since the last refresh.
    is_fresh: bool,
    /// The paths that the package manager found changed when our last command began.
    verified: BTreeSet<String>,
    /// The paths whose attributes may be registered with an administrator's values: overridden ones, and
    /// configuration files whose mode dpkg carries along.
    registered_anew: BTreeSet<String>,
    /// The attributes that an administrator gave to paths.
    chmodded: BTreeMap<String, BTreeSet<String>>,
}

impl<'a, M: Manager> Play<'a, M> {
    /// Begins with some packages, most of which are adopted.
    pub(super) fn begin(manager: M, random: Random, steps: &'a RefCell<Vec<String>>) -> Self {
        let (patches, edits, verified) = (Patches::default(), BTreeMap::new(), BTreeSet::new());
        let (registered_anew, chmodded) = (BTreeSet::new(), BTreeMap::new());
        let mut play = Self {
            manager,
            random,
            steps,
            patches,
            edits,
            is_fresh: true,
            verified,
            registered_anew,
            chmodded,
        };
        for _ in 0..3 {
            play.act();
        }
        play.ours("adopt --all -R @ROOT@", &[]);
        play
    }

    pub(super) fn step(&mut self) {
        match self.random.below(20) {
            0..=6 => self.act(),
            7..=11 => self.add(),
            12 | 13 => self.remove(),
            14 => self.refresh(),
            15 => self.undo(),
            16 => self.edit(),
            17 => self.chmod(),
            18 => self.adopt(),
            _ => self.accept(),
        }
        self.look();
    }

    /// Removes everything that is still there.
    pub(super) fn end(mut self) {
        self.refresh();
        self.look();
        for id in self.listed("patches").into_iter().rev() {
            self.remove_patch(&id, "");
            self.look();
        }
    }

    fn tell(&self, text: impl Into<String>) {
        self.steps.borrow_mut().push(text.into());
    }

    fn facts(&self) -> Facts {
        let root = self.manager.root();
        let picture = picture(&root.stage.root());
        Facts { picture, owners: root.owners(), versions: self.manager.versions() }
    }

    /// Lets the package manager do something.
    fn act(&mut self) {
        let Act { told, before_hook } = self.manager.act(&mut self.random);
        self.tell(told);
        for (path, attributes) in self.manager.overrides() {
            self.registered_anew.insert(path.clone());
            self.chmodded.entry(path).or_default().insert(attributes);
        }
        self.registered_anew.extend(self.chmodded.keys().filter(|path| path.starts_with("/etc/")).cloned());
        self.is_fresh = before_hook.is_some();
        if let Some(before) = before_hook {
            self.judge("the hook", &before, &[]);
        }
    }

    /// Runs a command of ours, which may change the paths of the applied patches and of these.
    fn ours(&mut self, line: &str, also: &[&Applied]) -> Run {
        let root = self.manager.root();
        self.verified = self.manager.verified();
        let before = picture(&root.stage.root());
        let run = root.run(line);
        self.tell(format!("{line}: {}\n{}", run.code, indented(&run.said())));
        assert!(CODES.contains(&run.code), "{line}: {}", run.code);
        self.judge(line, &before, also);
        run
    }

    /// Compares the changes of a command with those that it may make.
    fn judge(&self, line: &str, before: &Picture, also: &[&Applied]) {
        let Facts { picture: after, owners, versions } = self.facts();
        let places = |patch: &Applied| -> BTreeSet<String> {
            patch.claims.iter().map(|claim| self.manager.place(&patch.package, &claim.path)).collect()
        };
        let patches = self.patches.applied.values().chain(also.iter().copied());
        let patches: Vec<_> = patches.map(|patch| (patch, places(patch))).collect();
        let overrides = self.manager.overrides();
        let (edits, registered_anew, chmodded) = (&self.edits, &self.registered_anew, &self.chmodded);
        let is_backout = ["remove", "undo"].iter().any(|command| line.starts_with(command));
        let known =
            Known { versions, owners, patches, edits, is_backout, overrides, registered_anew, chmodded };
        let wrong = misdeeds(before, &after, &known);
        assert!(wrong.is_empty(), "{line}:\n{}", wrong.join("\n"));
        // The package manager only finds changes that patches and edits explain.
        let root = self.manager.root();
        for path in self.manager.verified().difference(&self.verified) {
            let is_explained = |content: String| !content.starts_with("native");
            let place = crate::native_root::resolved(&root.stage.root(), path);
            let seen = root.content(&self.placed(path).unwrap_or(place));
            assert!(
                line == "the hook" || is_explained(seen.clone()),
                "{line}: {path} is found changed: {seen}"
            );
        }
    }

    /// The location of a path of any package.
    fn placed(&self, path: &str) -> Option<String> {
        let versions = self.manager.versions();
        let lists = |name: &&&str| {
            let Some(version) = versions.get(**name) else { return false };
            self.manager.world().version(name, *version).files.iter().any(|file| file.path == path)
        };
        NAMES.iter().find(lists).map(|name| self.manager.place(name, path))
    }

    /// Applies a new patch for an adopted package.
    fn add(&mut self) {
        let versions = self.manager.versions();
        let adopted: Vec<String> =
            self.adopted().into_iter().filter(|name| versions.contains_key(name)).collect();
        if adopted.is_empty() {
            return self.adopt();
        }
        let name = self.random.one(&adopted).clone();
        let version = versions[&name];
        let files = self.manager.world().version(&name, version).files.clone();
        let package = self.manager.delivered(&name, version);
        let manager = &self.manager;
        let fixed_in = |version: u32| manager.fixed_in(&name, version);
        let target = Target { name: &name, version, files: &files, package, fixed_in: &fixed_in };
        let (mut applied, patch) = self.patches.make(target, &mut self.random);
        let claims: Vec<_> = applied.claims.iter().map(|claim| (&claim.path, &claim.change)).collect();
        self.tell(format!(
            "patch {} of {name} {version}: {claims:?}, fixed in {:?}",
            applied.id, applied.fixed_in
        ));
        let options = *self.random.one(&["--edited replace", "--edited replace --refresh", "--edited stop"]);
        let at = patch.directory(&self.manager.root().stage).display().to_string();
        let before = self.facts();
        for claim in &mut applied.claims {
            claim.put_at = self.manager.place(&name, &claim.path);
            claim.is_odd = claim.native.is_some() && !before.picture.contains_key(&claim.put_at);
        }
        if applied.claims.iter().any(|claim| claim.is_odd) {
            applied.alarm = Alarm::Open;
        }
        let run = self.ours(&format!("add {options} -R @ROOT@ {at}"), &[&applied]);
        if options.contains("--refresh") && !self.is_fresh && run.code == 0 {
            self.patches.follow(&before, &self.manager);
            self.is_fresh = true;
        }
        if self.is_listed(&applied.id) {
            assert_eq!(run.code, 0, "it is applied");
            self.assert_applied(&applied);
            self.patches.add(applied);
        }
    }

    /// Asserts that every path is as the patch delivers it.
    fn assert_applied(&self, patch: &Applied) {
        let root = self.manager.root();
        for claim in patch.claims.iter().filter(|claim| !claim.is_odd) {
            let place = self.manager.place(&patch.package, &claim.path);
            if let Some(bytes) = claim.change.bytes() {
                assert_eq!(
                    root.content(&place),
                    bytes,
                    "{} put this at {}, which is {place}",
                    patch.id,
                    claim.path
                );
            }
        }
    }

    fn remove(&mut self) {
        let listed = self.listed("patches");
        if !listed.is_empty() {
            let id = self.random.one(&listed).clone();
            let option = *self.random.one(&["", "--refresh"]);
            self.remove_patch(&id, option);
        }
    }

    /// Backs a patch out. If it was in force as a whole, every path is restored.
    fn remove_patch(&mut self, id: &str, option: &str) {
        let facts = self.facts();
        let was = self.patches.applied.get(id).cloned();
        let is_alone = |patch: &Applied| {
            let claims = |patch: &Applied| -> BTreeSet<String> {
                patch.claims.iter().map(|claim| plain(&claim.path)).collect()
            };
            let own = claims(patch);
            self.patches.applied.values().all(|other| other.id == patch.id || claims(other).is_disjoint(&own))
        };
        let whole =
            was.filter(|patch| self.is_fresh && is_alone(patch) && patch.is_held(&facts, &self.manager));
        let run = self.ours(&format!("remove {option} -R @ROOT@ {id}"), &[]);
        let follows = run.code == 0 && option == "--refresh" && !self.is_fresh;
        if follows {
            self.patches.follow(&facts, &self.manager);
            self.is_fresh = true;
        }
        if self.is_listed(id) {
            assert_ne!(run.code, 0, "{id} is still applied");
            return;
        }
        // The refresh itself may have ended it.
        let reported = self.reported();
        match self.patches.applied.get(id) {
            Some(patch) if follows && (patch.is_contained || reported.contains(id)) => {
                self.patches.doubt(id);
                return;
            }
            _ => self.patches.remove(id),
        }
        let Some(patch) = whole else { return };
        assert_eq!(run.code, 0, "all of {id} was held");
        let root = self.manager.root();
        for claim in &patch.claims {
            let seen = root.content(&self.manager.place(&patch.package, &claim.path));
            let is_restored = match (&claim.native, seen.as_str()) {
                (None, seen) => seen == "nothing",
                (Some(native), seen) => seen == native.text || seen.starts_with("edit"),
            };
            assert!(is_restored, "{} is {seen:?} after the backout of {id}", claim.path);
        }
    }

    fn refresh(&mut self) {
        let line = *self.random.one(&["adopt --refresh", "adopt --refresh --from-hook"]);
        let run = self.ours(&format!("{line} -R @ROOT@"), &[]);
        assert_eq!(run.code, 0, "{line}");
        self.is_fresh = true;
        let before = picture(&self.manager.root().stage.root());
        let again = self.ours("adopt --refresh -R @ROOT@", &[]);
        assert_eq!(again.code, 0, "a second refresh");
        assert_eq!(picture(&self.manager.root().stage.root()), before, "a second refresh changes nothing");
    }

    /// Undoes the last run of a person, whichever it was.
    fn undo(&mut self) {
        let known: Vec<Applied> = self.patches.known.values().cloned().collect();
        let before = self.listed("patches");
        let run = self.ours("undo -R @ROOT@", &known.iter().collect::<Vec<_>>());
        let listed = self.listed("patches");
        let is_gone = |id: &&String| before.contains(*id) && !listed.contains(*id);
        let gone: Vec<String> = self.patches.applied.keys().filter(is_gone).cloned().collect();
        // A loss that was reported before is still reported, unless the application was undone.
        for id in gone.iter().filter(|_| run.code == 0) {
            let is_lost =
                self.patches.applied[id].alarm != Alarm::Off || self.patches.applied[id].is_contained;
            if self.is_fresh && !is_lost {
                self.patches.remove(id);
            } else {
                self.patches.doubt(id);
            }
        }
        let versions = self.manager.versions();
        for id in &listed {
            if self.patches.applied.contains_key(id) {
                continue;
            }
            let mut again = self.patches.known[id].clone();
            again.version = versions.get(&again.package).copied().unwrap_or(again.version);
            again.alarm = Alarm::Open;
            self.patches.add(again);
        }
    }

    fn edit(&mut self) {
        let files: Vec<String> = self.files();
        if files.is_empty() {
            return;
        }
        let path = self.random.one(&files).clone();
        let root = self.manager.root();
        let was = root.content(&path);
        let words: Vec<&str> = was.split_whitespace().collect();
        let over = match words[..] {
            ["native", name, version, ..] => version.parse().ok().map(|version| (name.to_owned(), version)),
            ["patch", id, ..] => {
                self.patches.known.get(id).map(|patch| (patch.package.clone(), patch.version))
            }
            _ => self.edits.get(&was).cloned().flatten(),
        };
        let text = format!("edit {} of {path}\n", self.edits.len());
        fs::write(root.at(&path), &text).unwrap();
        self.tell(format!("edit of {path}: {was:?} becomes {text:?}"));
        self.edits.insert(text, over);
    }

    fn chmod(&mut self) {
        let files = self.files();
        if files.is_empty() {
            return;
        }
        let path = self.random.one(&files).clone();
        let mode = *self.random.one(&[0o600, 0o640, 0o700]);
        fs::set_permissions(self.manager.root().at(&path), fs::Permissions::from_mode(mode)).unwrap();
        self.tell(format!("chmod {mode:o} {path}"));
        self.chmodded.entry(path).or_default().insert(format!("{mode:o} 0:0"));
    }

    /// The regular files of the story.
    fn files(&self) -> Vec<String> {
        let seen = picture(&self.manager.root().stage.root());
        let is_file =
            |content: &str| ["native", "patch", "edit"].iter().any(|word| content.starts_with(word));
        seen.into_iter().filter(|(_, seen)| is_file(&seen.content)).map(|(path, _)| path).collect()
    }

    fn adopt(&mut self) {
        let adopted = self.adopted();
        let versions = self.manager.versions();
        let others: Vec<String> = versions.into_keys().filter(|name| !adopted.contains(name)).collect();
        let line = match others.first() {
            Some(name) if self.random.once_in(2) => self.manager.adopts(name),
            _ => "--all".to_owned(),
        };
        self.ours(&format!("adopt {line} -R @ROOT@"), &[]);
    }

    fn accept(&mut self) {
        let lost: Vec<String> = self
            .patches
            .applied
            .values()
            .filter(|patch| patch.alarm == Alarm::On)
            .map(|patch| patch.id.clone())
            .collect();
        if !self.is_fresh || lost.is_empty() {
            return self.refresh();
        }
        let id = self.random.one(&lost).clone();
        let run = self.ours(&format!("adopt --refresh --accept {id} -R @ROOT@"), &[]);
        assert_eq!(run.code, 0, "{id} is lost, and that can be accepted");
        let reported = self.reported();
        assert!(!reported.contains(&id), "{id} is accepted: {reported:?}");
        self.patches.applied.get_mut(&id).unwrap().alarm = Alarm::Open;
    }

    fn adopted(&self) -> BTreeSet<String> {
        let adopted = self.manager.root().adopted();
        adopted.iter().map(|name| name.split(':').next().unwrap().to_owned()).collect()
    }

    fn document(&self, line: &str) -> (i32, Value) {
        let run = self.manager.root().unwatched(&format!("{line} --json -R @ROOT@"));
        let document = serde_json::from_str(&run.stdout);
        (run.code, document.unwrap_or_else(|error| panic!("{line}: {error}: {}", run.said())))
    }

    /// The ids in a list of `list`.
    fn listed(&self, name: &str) -> Vec<String> {
        ids(&self.document("list").1[name])
    }

    fn is_listed(&self, id: &str) -> bool {
        self.listed("patches").iter().any(|listed| listed == id)
    }

    /// The patches that `list --check` reports as lost.
    fn reported(&self) -> BTreeSet<String> {
        lost_of(&self.document("list --check").1)
    }

    /// Checks all reports.
    fn look(&mut self) {
        let facts = self.facts();
        if self.is_fresh {
            self.patches.follow(&facts, &self.manager);
        }
        let (code, document) = self.document("list --check");
        let reported = lost_of(&document);
        let is_stale = document["stale"].as_array().is_some_and(|stale| !stale.is_empty());
        for patch in self.patches.applied.values() {
            let is_reported = reported.contains(&patch.id);
            let is_right = match patch.alarm {
                Alarm::On => is_reported || is_stale,
                Alarm::Off => !is_reported || !self.is_fresh,
                Alarm::Open => true,
            };
            assert!(is_right, "{} is {:?}, and reported are {reported:?}: {patch:?}", patch.id, patch.alarm);
        }
        let strange: Vec<&String> =
            reported.iter().filter(|id| !self.patches.applied.contains_key(*id)).collect();
        assert!(strange.is_empty(), "nothing of {strange:?} is applied or lost any more");
        assert!(!self.is_fresh || !is_stale, "stale after a refresh: {}", document["stale"]);
        let expected = if is_stale || !reported.is_empty() { 4 } else { 0 };
        assert_eq!(code, expected, "list --check: {document}");
        let (code, status) = self.document("status");
        assert_eq!((code, lost_of(&status)), (0, reported), "status and list say the same");
        self.look_at_owner(&facts);
        if self.random.once_in(3) {
            for (line, codes) in
                [("check --contents", &[0, 4][..]), ("pkgchk", &[0, 1]), ("check --contents", &[0, 4])]
            {
                let run = self.manager.root().unwatched(&format!("{line} -R @ROOT@"));
                assert!(codes.contains(&run.code), "{line}: {} {}", run.code, run.said());
            }
        }
    }

    /// Asserts that a path has its owner in both spellings.
    fn look_at_owner(&mut self, facts: &Facts) {
        let files: Vec<&String> = facts
            .owners
            .keys()
            .filter(|path| facts.picture.get(*path).is_some_and(|seen| seen.content != "a directory"))
            .collect();
        if files.is_empty() {
            return;
        }
        let path = (*self.random.one(&files)).clone();
        let owners = facts.owners_of(&path);
        let other = path.strip_prefix("/usr").filter(|other| plain(other) == path).unwrap_or(&path);
        for spelling in [&*path, other] {
            let run = self.manager.root().unwatched(&format!("show -R @ROOT@ {spelling}"));
            let is_named = owners.iter().any(|owner| run.stdout.contains(owner));
            assert!(
                run.code == 0 && is_named,
                "{spelling} belongs to {owners:?}: {} {}",
                run.code,
                run.said()
            );
        }
    }
}

fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|one| one["id"].as_str().map(str::to_owned)).collect()
}

/// The patches that a document reports as lost, in any list.
fn lost_of(document: &Value) -> BTreeSet<String> {
    let is_lost = |patch: &&Value| {
        let states = patch["state"].as_array().into_iter().flatten().filter_map(Value::as_str);
        states.into_iter().any(|state| state.contains("lost"))
    };
    let patches = document["patches"].as_array().into_iter().flatten().filter(is_lost);
    let patches = patches.filter_map(|one| one["id"].as_str().map(str::to_owned));
    ids(&document["lost"]).into_iter().chain(patches).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
