//! The expected output and result of a command: the decision about libraries according to the contract, over maps of
//! paths.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::worlds::Change;
use crate::elf_sample::Sample;

/// The directories of the loader, in its order.
const DIRECTORIES: [&str; 2] = ["/lib", "/usr/lib"];

/// A name that an object needs, and whether it asks for the second version of it too.
pub(super) type Need = (String, bool);

/// A library or a program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    pub(super) soname: Option<String>,
    pub(super) needs: Vec<Need>,
    /// True if it has the second version.
    pub(super) is_full: bool,
    /// Makes each built file unique.
    pub(super) build: usize,
}

impl Object {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let needed: Vec<&str> = self.needs.iter().map(|(name, _)| &name[..]).collect();
        let versions = |is_full: bool| -> &[&str] { if is_full { &["V_1", "V_2"] } else { &["V_1"] } };
        let needs: Vec<(&str, &[&str])> =
            self.needs.iter().map(|(name, later)| (&name[..], versions(*later))).collect();
        let sample = Sample {
            soname: self.soname.as_deref(),
            needed: &needed,
            interpreter: self.soname.is_none().then_some("/lib/ld.so"),
            defines: if self.soname.is_some() { versions(self.is_full) } else { &[] },
            needs: &needs,
            ..Sample::default()
        };
        let mut bytes = sample.bytes();
        bytes.extend(format!("build {}", self.build).into_bytes());
        bytes
    }

    fn serves(&self, need: &Need) -> bool {
        self.is_full || !need.1
    }
}

impl fmt::Display for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs =
            self.needs.iter().map(|(name, later)| format!(" {name}{}", if *later { "+" } else { "" }));
        let full = if self.is_full { "+" } else { "" };
        write!(out, "build {}{full} needs{}", self.build, needs.collect::<String>())
    }
}

/// Objects by path.
type Objects = BTreeMap<String, Object>;

/// The path that a need finds: the first file in the order of the loader.
fn find(need: &Need, has: impl Fn(&str) -> bool) -> Option<String> {
    DIRECTORIES.iter().map(|at| format!("{at}/{}", need.0)).find(|path| has(path))
}

fn is_met(need: &Need, tree: &Objects) -> bool {
    find(need, |path| tree.contains_key(path)).is_some_and(|path| tree[&path].serves(need))
}

/// A kept library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The package that has it.
    pub(super) package: String,
    /// The package that it came from, and the command that kept it first: they identify a kept package.
    from: String,
    by: String,
    pub(super) object: Object,
}

/// Output of a command: paths with packages, paths with reasons.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) kept: BTreeSet<(String, String)>,
    pub(super) dropped: BTreeSet<(String, String)>,
    pub(super) returned: BTreeSet<(String, String)>,
    pub(super) lost: BTreeSet<(String, String)>,
}

/// A patch in force, and the libraries that its undo archive knows.
pub(super) struct Applied {
    pub(super) id: String,
    package: String,
    changes: BTreeMap<String, Option<Object>>,
    saved: BTreeMap<String, Kept>,
    unserved: BTreeSet<(String, Object, Need)>,
}

/// The decision of a command about libraries that it removes itself.
struct Decision<'a> {
    by: &'a str,
    /// The reason why it keeps none of them, if so.
    refuses: Option<&'a str>,
    saved: &'a BTreeMap<String, Kept>,
    passed_over: &'a BTreeSet<(String, Object, Need)>,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) packages: BTreeSet<String>,
    pub(super) base: BTreeMap<String, (String, Object)>,
    pub(super) applied: Vec<Applied>,
    /// Programs that belong to no package.
    pub(super) own: Objects,
    pub(super) kept: BTreeMap<String, Kept>,
    pub(super) story: Vec<String>,
}

impl World {
    pub(super) fn say(&mut self, line: String) {
        self.story.push(line);
    }

    /// The objects of the packages, without kept libraries: for each path, that of the last patch.
    pub(super) fn delivered(&self) -> BTreeMap<String, (String, Object)> {
        let mut tree = self.base.clone();
        for patch in &self.applied {
            for (path, object) in &patch.changes {
                match object {
                    Some(object) => tree.insert(path.clone(), (patch.package.clone(), object.clone())),
                    None => tree.remove(path),
                };
            }
        }
        tree
    }

    fn live(&self) -> Objects {
        let delivered = self.delivered().into_iter().map(|(path, (_, object))| (path, object));
        delivered.chain(self.own.clone()).collect()
    }

    fn with_kept(&self) -> Objects {
        let kept = self.kept.iter().map(|(path, kept)| (path.clone(), kept.object.clone()));
        self.live().into_iter().chain(kept).collect()
    }

    /// The kept libraries that these objects need, if a tree without kept ones does not meet the need.
    fn needed_of_kept(&self, objects: Vec<Object>, tree: &Objects) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Need> = objects.into_iter().flat_map(|object| object.needs).collect();
        while let Some(need) = open.pop() {
            if is_met(&need, tree) {
                continue;
            }
            let at = find(&need, |path| tree.contains_key(path) || self.kept.contains_key(path));
            if let Some(path) = at.filter(|path| !tree.contains_key(path))
                && self.kept[&path].object.serves(&need)
                && found.insert(path.clone())
            {
                open.extend(self.kept[&path].object.needs.clone());
            }
        }
        found
    }

    pub(super) fn apply(&mut self, change: Change, keeps: bool) -> Outcome {
        let live = self.live();
        let before = self.with_kept();
        let mut unserved = BTreeSet::new();
        for (path, object) in &live {
            for need in object.needs.iter().filter(|need| !is_met(need, &before)) {
                unserved.insert((path.clone(), object.clone(), need.clone()));
            }
        }
        if !self.is_looked_at(&change, &live) {
            unserved.clear();
        }
        let replaced = change.objects.keys().filter_map(|path| live.get(path).cloned()).collect();
        let mut saved = self.kept.clone();
        let needed = self.needed_of_kept(replaced, &live);
        let was = self.delivered();
        let id = change.id.clone();
        let refuses = if change.forbids { Some("forbidden") } else { Some("not-asked").filter(|_| !keeps) };
        self.applied.push(Applied {
            id: change.id,
            package: change.package,
            changes: change.objects,
            saved: BTreeMap::new(),
            unserved: BTreeSet::new(),
        });
        let nothing = (BTreeMap::new(), BTreeSet::new());
        let decision = Decision { by: &id, refuses, saved: &nothing.0, passed_over: &nothing.1 };
        let outcome = self.settle(&was, &before, &decision);
        saved.retain(|path, kept| needed.contains(path) || self.kept.get(path) != Some(kept));
        let after = self.with_kept();
        unserved.retain(|(path, object, need)| after.get(path) == Some(object) && is_met(need, &after));
        let applied = self.applied.last_mut().unwrap();
        (applied.saved, applied.unserved) = (saved, unserved);
        outcome
    }

    /// True if the root is looked at because of a patch: while something is kept, for any patch; otherwise for one
    /// that removes a library, reduces its versions, or adds one with a new name.
    fn is_looked_at(&self, change: &Change, live: &Objects) -> bool {
        let is_less_or_new = |(path, new): (&String, &Option<Object>)| match (live.get(path), new) {
            (Some(old), None) => old.soname.is_some(),
            (Some(old), Some(new)) => old.is_full && !new.is_full,
            (None, Some(new)) => new.soname.is_some(),
            (None, None) => false,
        };
        !self.kept.is_empty() || change.objects.iter().any(is_less_or_new)
    }

    pub(super) fn back_out(&mut self, number: usize, keeps: bool) -> Outcome {
        let (was, before) = (self.delivered(), self.with_kept());
        let gone = self.applied.remove(number);
        let by = format!("patchrm {}", gone.id);
        let refuses = Some("not-asked").filter(|_| !keeps);
        let decision = Decision { by: &by, refuses, saved: &gone.saved, passed_over: &gone.unserved };
        self.settle(&was, &before, &decision)
    }

    /// Decides which libraries stay, after the packages have changed.
    fn settle(
        &mut self,
        was: &BTreeMap<String, (String, Object)>,
        before: &Objects,
        decision: &Decision<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if *was == self.delivered() && decision.saved.is_empty() {
            // Nothing changes, so nothing is looked at.
            return outcome;
        }
        let live = self.live();
        // Libraries that were kept and needed until now.
        let mut old_live: Objects =
            was.iter().map(|(path, (_, object))| (path.clone(), object.clone())).collect();
        old_live.extend(self.own.clone());
        let needed_before = self.needed_of_kept(old_live.values().cloned().collect(), &old_live);

        // Libraries that could stay: those that were there and are gone, and those of the archive.
        let mut could: Objects = before.clone();
        could.retain(|path, object| object.soname.is_some() && live.get(path) != Some(object));
        for (path, kept) in decision.saved {
            if !live.contains_key(path) && !could.contains_key(path) {
                could.insert(path.clone(), kept.object.clone());
            }
        }
        let is_own_taking =
            |path: &String| !self.kept.contains_key(path) && !decision.saved.contains_key(path);

        let mut open = Vec::new();
        for (path, object) in &live {
            let is_brought = old_live.get(path) != Some(object);
            for need in object.needs.iter().filter(|need| !is_met(need, &live)) {
                let passed_over = (path.clone(), object.clone(), need.clone());
                if (is_brought || is_met(need, before)) && !decision.passed_over.contains(&passed_over) {
                    let served = find(need, |path| before.contains_key(path)).filter(|_| !is_brought);
                    open.push((need.clone(), served));
                }
            }
        }
        let shadows = |at: &String| {
            let finds =
                |need: &Need| find(need, |path| path == at || live.contains_key(path)).as_ref() == Some(at);
            live.values().flat_map(|object| &object.needs).any(|need| is_met(need, &live) && finds(need))
        };
        let mut needed = BTreeSet::new();
        while let Some((need, served)) = open.pop() {
            if is_met(&need, &live) {
                continue;
            }
            let Some(found) = find(&need, |path| live.contains_key(path) || could.contains_key(path)) else {
                continue;
            };
            // The file in the tree is found first and does not serve. One that did may be behind it.
            let is_in_the_way = live.contains_key(&found);
            let serves = |path: &str| could.get(path).is_some_and(|object| object.serves(&need));
            let behind = if is_in_the_way { find(&need, serves) } else { None };
            let path = behind.unwrap_or(found);
            let Some(object) = could.get(&path).filter(|object| object.serves(&need)) else {
                // The file that served is still there, behind something else.
                outcome.lost.extend(served.map(|served| (served, "path-taken".to_owned())));
                continue;
            };
            let why_not = |path: &String| match decision.refuses.filter(|_| is_own_taking(path)) {
                _ if is_in_the_way || live.contains_key(path) => Some("path-taken"),
                _ if shadows(path) => Some("shadows"),
                refused => refused,
            };
            if why_not(&path).is_some() {
                // The loss names the file that served, or, for a new user, the one that could.
                let path = served.unwrap_or(path);
                let reason = why_not(&path).unwrap_or("path-taken");
                outcome.lost.insert((path, reason.to_owned()));
            } else if needed.insert(path.clone()) {
                let was_there = before.get(&path) == Some(object);
                for need in &object.needs {
                    let is_served = was_there && is_met(need, before);
                    let served = find(need, |path| before.contains_key(path)).filter(|_| is_served);
                    open.push((need.clone(), served));
                }
            }
        }
        self.rename(was, &live, &needed, &needed_before, &could, decision, &mut outcome);
        outcome
    }

    /// Assigns the libraries that stay to their packages.
    #[allow(clippy::too_many_arguments)] // all of one decision
    fn rename(
        &mut self,
        was: &BTreeMap<String, (String, Object)>,
        live: &Objects,
        needed: &BTreeSet<String>,
        needed_before: &BTreeSet<String>,
        could: &Objects,
        decision: &Decision<'_>,
        outcome: &mut Outcome,
    ) {
        let old = std::mem::take(&mut self.kept);
        let mut taken: BTreeSet<String> = old.values().map(|kept| kept.package.clone()).collect();
        let mut names: BTreeMap<(String, String), String> = BTreeMap::new();
        for (path, kept) in old {
            let line = (path.clone(), kept.package.clone());
            names.insert((kept.from.clone(), kept.by.clone()), kept.package.clone());
            if live.get(&path) == Some(&kept.object) {
                outcome.returned.insert(line);
            } else if live.contains_key(&path) || (needed_before.contains(&path) && !needed.contains(&path)) {
                outcome.dropped.insert(line);
            } else {
                self.kept.insert(path, kept);
            }
        }
        // Libraries of the archive choose first.
        let new: Vec<String> = needed.iter().filter(|path| !self.kept.contains_key(*path)).cloned().collect();
        let (saved, own): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|path| decision.saved.contains_key(path));
        for path in saved.into_iter().chain(own) {
            let saved = decision.saved.get(&path);
            let (from, by) = match saved {
                Some(kept) => (kept.from.clone(), kept.by.clone()),
                None => (was[&path].0.clone(), decision.by.to_owned()),
            };
            let package = names.entry((from.clone(), by.clone())).or_insert_with(|| {
                let numbered = (2..).map(|number| format!("{from}-SO.{number}"));
                let all = saved.map(|kept| kept.package.clone()).into_iter();
                let mut all = all.chain([format!("{from}-SO")]).chain(numbered);
                let name = all.find(|name| !taken.contains(name)).unwrap();
                taken.insert(name.clone());
                name
            });
            outcome.kept.insert((path.clone(), package.clone()));
            let object = could[&path].clone();
            self.kept.insert(path, Kept { package: package.clone(), from, by, object });
        }
    }
}
