//! Plays a story: patches are applied and backed out by any engine and in any allowed order, files are edited in
//! between, and after each step the root is compared with a fresh one.

mod stored;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::Read as _;

use serde_json::Value;

use crate::differences::{Difference, explains};
use crate::random::Random;
use crate::scenario::{Run, Scenario};
use crate::state::{Changed, State};
use crate::undo_forms::UndoForms;

use super::DIFFERENCES;
use super::fresh::{Applied, Edit, Edits, Fresh, Template, add_line, edit_file, edited_text};
use super::story::{BASEDIR, EDITABLE, Engine, Made, PACKAGE};
use stored::inodes;

/// Counts of actions, by name.
pub(super) type Counts = BTreeMap<&'static str, u64>;

/// A root and what is known of it.
pub(super) struct Play<'p> {
    patches: &'p [Made],
    fresh: Fresh<'p>,
    has_scripts: bool,
    scenario: Scenario,
    random: Random,
    /// The patches that are not applied yet.
    waiting: VecDeque<usize>,
    applied: Vec<usize>,
    edits: Edits,
    edited: usize,
    /// The engine that applied each patch.
    engines: BTreeMap<usize, Engine>,
    /// The objects that each applied patch changed.
    changed: BTreeMap<usize, BTreeMap<String, Changed>>,
    /// Patches whose backout was refused because of later ones, since the last change.
    stuck: BTreeSet<usize>,
    /// The forms of undo data, drawn by the number of the story.
    forms: UndoForms,
    /// The inodes of the files that the undo data of each applied patch keeps as they were; none for a file that need
    /// not come back itself.
    stored: BTreeMap<usize, BTreeMap<String, Option<u64>>>,
    /// Edited files that backouts have kept: path and number of the edit.
    kept: BTreeMap<String, usize>,
    /// The state after the last step.
    last: State,
    /// The actions so far, for the reader of a difference.
    told: Vec<String>,
    /// Differences that nothing explains.
    pub(super) differences: Vec<Difference>,
    /// An example of what each line of the table explains.
    pub(super) explained: BTreeMap<usize, Difference>,
    pub(super) counts: Counts,
}

impl<'p> Play<'p> {
    pub(super) fn new(
        template: &'p Template,
        patches: &'p [Made],
        random: Random,
        has_scripts: bool,
        number: u64,
    ) -> Self {
        let scenario = template.copy();
        let last = State::of(&scenario, PACKAGE);
        for patch in patches {
            [Engine::Native, Engine::Script].into_iter().for_each(|engine| patch.deliver(&scenario, engine));
        }
        Self {
            patches,
            fresh: Fresh::new(template, patches),
            has_scripts,
            scenario,
            random,
            waiting: (0..patches.len()).collect(),
            applied: Vec::new(),
            edits: Edits::new(),
            edited: 0,
            engines: BTreeMap::new(),
            changed: BTreeMap::new(),
            stuck: BTreeSet::new(),
            forms: UndoForms::of(number),
            stored: BTreeMap::new(),
            kept: BTreeMap::new(),
            last,
            told: Vec::new(),
            differences: Vec::new(),
            explained: BTreeMap::new(),
            counts: Counts::new(),
        }
    }

    /// Plays it until every patch was applied and every removable one was removed.
    pub(super) fn play(&mut self) {
        let mut steps = 0;
        while !self.waiting.is_empty() || !self.removable().is_empty() {
            steps += 1;
            self.repack();
            let removable = self.removable();
            let one = removable.get(self.random.below(removable.len())).copied();
            match self.random.below(8) {
                0 => self.edit(),
                1 => self.refuse(),
                2..5 if let Some(number) = one => self.remove(number),
                _ if !self.waiting.is_empty() && steps < 30 => self.add(),
                _ => match one {
                    Some(number) => self.remove(number),
                    None => self.waiting.clear(),
                },
            }
            if !self.differences.is_empty() {
                let story = self.story();
                self.differences[0].3 += &story;
                return;
            }
        }
    }

    /// The actions so far, and the patches.
    fn story(&self) -> String {
        let patches: Vec<String> = self.patches.iter().map(|patch| format!("    {patch}\n")).collect();
        format!("\n  after\n    {}\n  with\n{}", self.told.join("\n    "), patches.concat())
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn add(&mut self) {
        let Some(next) = self.waiting.pop_front() else { return };
        let patch = &self.patches[next];
        let is_obsolete = self.applied.iter().any(|other| self.patches[*other].obsoletes(patch));
        if is_obsolete || !patch.requires.iter().all(|id| self.has(id, None)) {
            return;
        }
        let mut engine = Engine::Native;
        let form = if patch.has_no_undo { String::new() } else { self.forms.option() };
        let before = inodes(&self.scenario);
        if self.has_scripts && self.random.once_in(4) {
            let run = self.run(&format!("{} {form}", add_line(Engine::Script, patch)));
            if run.code == 0 {
                engine = Engine::Script;
                self.count("applied by scripts");
            } else {
                self.is_unchanged(&run, "add script refused");
                self.count("refused to scripts");
            }
        }
        if engine == Engine::Native {
            let run = self.run(&format!("{} {form}", add_line(engine, patch)));
            self.succeeds(&run, "add native");
            self.count("applied natively");
            let is_archive =
                (run.stdout + &run.stderr).contains("scripts run, so the undo data is an archive");
            if form.ends_with("files") && !is_archive && self.form(next) != Some("files") {
                self.differs("add native", "form", &format!("{:?} instead of files", self.form(next)));
            }
        }
        self.stuck.clear();
        self.applied.push(next);
        self.engines.insert(next, engine);
        self.store(next, &before);
        let before = std::mem::replace(&mut self.last, State::of(&self.scenario, PACKAGE));
        self.changed.insert(next, self.last.objects_changed_since(&before, BASEDIR));
        self.compare(&format!("add {}", engine.name()));
    }

    /// True if a patch, or one that stands in for it, is applied; `without` does not count.
    fn has(&self, id: &str, without: Option<usize>) -> bool {
        self.is_among(&self.applied, id, without)
    }

    /// True if a patch, or one that stands in for it, is among these; `without` does not count.
    fn is_among(&self, applied: &[usize], id: &str, without: Option<usize>) -> bool {
        let base = |id: &str| id.split('-').next().unwrap().to_owned();
        let stands_in = |other: &str| base(other) == base(id) && other >= id;
        let applied =
            applied.iter().filter(|other| Some(**other) != without).map(|other| &self.patches[*other]);
        let mut ids = applied.flat_map(|patch| [vec![patch.id()], patch.obsoletes.clone()].concat());
        ids.any(|other| stands_in(&other))
    }

    /// The applied patches that can be removed. A patch without which a later one could not have been applied is left
    /// out, even if the later one is superseded or a still later patch stands in for the removed one: no fresh root has
    /// these patches.
    fn removable(&self) -> Vec<usize> {
        let is_needed = |number: usize| {
            self.applied.iter().enumerate().any(|(at, other)| {
                let mut required = self.patches[*other].requires.iter();
                required.any(|id| !self.is_among(&self.applied[..at], id, Some(number)))
            })
        };
        let can_go = |number: &usize| {
            self.why_not(*number).is_empty() && !is_needed(*number) && !self.stuck.contains(number)
        };
        self.applied.iter().copied().filter(can_go).collect()
    }

    /// Reasons for which removing the patch may be refused; empty if it can be removed.
    fn why_not(&self, number: usize) -> Vec<&'static str> {
        let patch = &self.patches[number];
        let others =
            || self.applied.iter().filter(|other| **other != number).map(|other| &self.patches[*other]);
        let is_revision = |other: &&Made| other.base == patch.base;
        let is_superseded = others().any(|other| is_revision(&other) && other.obsoletes(patch));
        let is_obsolete = others().any(|other| !is_revision(&other) && other.obsoletes(patch));
        let mut effective = others().filter(|patch| !others().any(|other| other.obsoletes(patch)));
        let is_required = effective.any(|other| other.requires.iter().any(|id| !self.has(id, Some(number))));
        let reasons = [
            (is_superseded, "the later revision "),
            (is_obsolete, " obsoletes "),
            (is_required, " requires "),
            (patch.has_no_undo, "there is no undo data "),
        ];
        reasons.into_iter().filter(|(stands, _)| *stands).map(|(_, reason)| reason).collect()
    }

    /// True if later patches have objects of a patch, so that its backout hands on what it saved, or is refused if that
    /// could not be exact.
    fn is_in_the_middle(&self, number: usize) -> bool {
        let patch = &self.patches[number];
        let at = self.applied.iter().position(|other| *other == number).unwrap();
        let later = || self.applied[at + 1..].iter().map(|other| &self.patches[*other]);
        let is_made = |path: &str, how: Changed| how == Changed::Type && patch.objects.contains_key(path);
        let mut changed = self.changed[&number].iter().map(|(path, how)| (path, is_made(path, *how)));
        // An object that it delivers without a change is a link of the chain as well.
        let is_delivered = patch.objects.keys().any(|path| later().any(|other| other.needs(path, false)));
        // A change of a file changes all of its names.
        let has_name =
            |patch: &Made| ["bin/a", "lib/hard"].iter().any(|name| patch.objects.contains_key(*name));
        let is_named = has_name(patch) && later().any(has_name);
        is_named
            || is_delivered
            || changed.any(|(path, is_made)| later().any(|other| other.needs(path, is_made)))
    }

    /// Objects that the removed patch had changed and a later patch delivers are changed by the later one now, unless
    /// it would have found them as it delivers them.
    fn hand_on(&mut self, number: usize) {
        let at = self.applied.iter().position(|other| *other == number).unwrap();
        let gone = self.changed[&number].clone();
        for place in at + 1..self.applied.len() {
            let later = self.applied[place];
            let own = &self.patches[later].objects;
            let taken = gone.iter().filter(|(path, _)| own.contains_key(path.as_str()));
            let taken: Vec<_> = taken.map(|(path, how)| (path.clone(), *how)).collect();
            if taken.is_empty() {
                continue;
            }
            let changes = self.changes_without(number, later);
            for (path, how) in taken {
                let changed = self.changed.get_mut(&later).unwrap();
                if changes.contains_key(&path) {
                    // The later patch only changed the mode of the directory; now it counts as its maker.
                    changed.entry(path).and_modify(|known| *known = how.max(*known)).or_insert(how);
                } else {
                    changed.remove(&path);
                }
            }
        }
        self.keep_in_place(number);
    }

    /// The objects that a patch changes on a fresh root which lacks an earlier one.
    fn changes_without(&mut self, number: usize, later: usize) -> BTreeMap<String, Changed> {
        let others = self.applied.iter().filter(|other| **other != number);
        let list: Vec<Applied> = others.map(|other| (*other, self.engines[other])).collect();
        let at = list.iter().position(|(other, _)| *other == later).unwrap();
        let earlier = self.edits.iter().filter(|((by, _), _)| *by != Some(later));
        let edits: Edits = earlier.map(|(place, edit)| (place.clone(), *edit)).collect();
        let before = self.fresh.with(&list[..at], &edits).clone();
        self.fresh.with(&list[..=at], &edits).objects_changed_since(&before, BASEDIR)
    }

    /// Keeps edits of files that a later patch delivered when an earlier one is removed.
    fn keep_in_place(&mut self, number: usize) {
        let place = |of: usize| self.applied.iter().position(|other| *other == of).unwrap();
        for ((by, path), edit) in &mut self.edits {
            if let Some(writer) = by.map(place).filter(|writer| *writer > place(number)) {
                let left = self.applied[..=writer].iter().filter(|other| **other != number);
                edit.changed_by = left.copied().rfind(|other| self.changed[other].contains_key(path));
            }
        }
    }

    fn remove(&mut self, number: usize) {
        let id = self.patches[number].id();
        let is_in_the_middle = self.is_in_the_middle(number);
        let way = if self.has_scripts && !is_in_the_middle {
            *self.random.one(&["native", "native", "native", "native", "run", "pkgadd"])
        } else {
            "native"
        };
        let line = self.remove_line(number, way);
        let undo_files = self.undo_files();
        let run = if way == "pkgadd" { self.play_archive(number, &id) } else { self.run(&line) };
        let scenario = format!("remove {way}");
        if is_in_the_middle && run.code == 3 {
            self.is_unchanged(&run, "refuse");
            self.count("refused in the middle");
            self.stuck.insert(number);
            return;
        }
        if !self.succeeds(&run, &scenario) {
            return;
        }
        if is_in_the_middle {
            self.count("backed out in the middle");
            self.hand_on(number);
        }
        self.bring_back(number, way);
        self.forget_rewritten(&undo_files);
        self.count(match way {
            "native" => "backed out natively",
            "run" => "backed out by scripts",
            _ => "backed out by pkgadd",
        });
        self.stuck.clear();
        self.keep_edits(number);
        self.applied.retain(|other| *other != number);
        let is_kept = self.kept.keys().any(|path| path.contains(&id));
        if !is_kept && self.random.once_in(4) {
            self.waiting.push_back(number);
        }
        self.compare(&scenario);
    }

    /// The command that backs a patch out. A patch whose scripts keep its records is backed out by them.
    fn remove_line(&self, number: usize, way: &str) -> String {
        let way = if self.engines[&number] == Engine::Script && way == "native" { "auto" } else { way };
        format!("remove --scripts {way} -R @ROOT@ {}", self.patches[number].id())
    }

    /// Applies a backout to the edits: a file that the patch had changed is kept as a copy, other edits stay.
    fn keep_edits(&mut self, number: usize) {
        for ((by, path), edit) in std::mem::take(&mut self.edits) {
            if edit.changed_by == Some(number) {
                let name = format!("{path}.edited-{}", self.patches[number].id());
                // The patch itself may have kept an edit of the file that it replaced.
                let is_taken = self.last.has_object(&format!("{BASEDIR}/{name}"));
                self.kept.insert(if is_taken { format!("{name}.2") } else { name }, edit.number);
                continue;
            }
            let at = self.applied.iter().position(|other| *other == number).unwrap();
            let writer = if by == Some(number) { self.writer(&path, at) } else { by };
            self.edits.insert((writer, path), edit);
        }
    }

    /// The last of the first `count` applied patches that delivers a file; none if the package does.
    fn writer(&self, path: &str, count: usize) -> Option<usize> {
        self.applied[..count]
            .iter()
            .rfind(|number| self.patches[**number].objects.contains_key(path))
            .copied()
    }

    /// Installs the undo archive of a patch like any package; undo data as files is made an archive first.
    fn play_archive(&mut self, number: usize, id: &str) -> Run {
        if self.form(number) == Some("files") {
            let line = self.forms.repack_of(&[id]);
            self.repack_by(&line);
        }
        let save = self.scenario.at(&format!("/var/sadm/pkg/{PACKAGE}/save/{id}"));
        let (undo, response) = (self.scenario.beside("undo"), self.scenario.beside("response"));
        if save.join("undo.gz").exists() {
            let mut stream = Vec::new();
            let archive = fs::File::open(save.join("undo.gz")).unwrap();
            flate2::read::MultiGzDecoder::new(archive).read_to_end(&mut stream).unwrap();
            fs::write(&undo, stream).unwrap();
        } else {
            let scripted = ["undo", "undo.Z"].into_iter().map(|name| save.join(name)).find(|at| at.exists());
            return self.run(&format!(
                "pkgadd -n -S -R @ROOT@ -a golden -d {} {PACKAGE}",
                scripted.unwrap().display()
            ));
        }
        let param = |name: &str| self.last.0.get(&format!("pkginfo {name}")).cloned().unwrap_or_default();
        let lists = [("OLDLIST", param("PATCHLIST")), ("PATCH_OBSOLETES", param("PATCH_OBSOLETES"))];
        let said: Vec<String> = lists.iter().map(|(name, value)| format!("{name}=\"{value}\"\n")).collect();
        fs::write(&response, said.concat()).unwrap();
        let line = format!("pkgadd -n -S -R @ROOT@ -a golden -r {} -d undo {PACKAGE}", response.display());
        self.run(&line)
    }

    /// Tries to back out a patch that cannot be removed.
    fn refuse(&mut self) {
        let stuck: Vec<usize> =
            self.applied.iter().copied().filter(|number| !self.why_not(*number).is_empty()).collect();
        if stuck.is_empty() {
            return;
        }
        let number = *self.random.one(&stuck);
        let run = self.run(&self.remove_line(number, "native"));
        let reasons = self.why_not(number);
        if run.code != 3 || !reasons.iter().any(|reason| run.stderr.contains(reason)) {
            self.differs("refuse", "reason", &format!("expected {reasons:?}, found {run:?}"));
        }
        self.is_unchanged(&run, "refuse");
        self.count("backouts refused");
    }

    /// Edits an existing file.
    fn edit(&mut self) {
        let path = *self.random.one(&EDITABLE);
        let name = format!("/{}/{path} type", BASEDIR.trim_start_matches('/'));
        if self.last.0.get(&name).is_none_or(|kind| kind != "100000") {
            return;
        }
        self.edited += 1;
        let changed_by = self.applied.iter().rfind(|number| self.changed[number].contains_key(path)).copied();
        let edit = Edit { number: self.edited, changed_by };
        self.edits.insert((self.writer(path, self.applied.len()), path.to_owned()), edit);
        edit_file(&self.scenario, path, self.edited);
        self.told.push(format!("edit {path}"));
        self.count("edits");
        self.compare("edit");
    }

    fn run(&mut self, line: &str) -> Run {
        let run = self.scenario.run(line);
        self.told.push(format!("{line}: {}", run.code));
        run
    }

    fn succeeds(&mut self, run: &Run, step: &str) -> bool {
        if run.code != 0 {
            self.differs(step, "exit code", &format!("{run:?}"));
        }
        run.code == 0
    }

    fn differs(&mut self, step: &str, what: &str, both: &str) {
        self.differences.push((
            step.to_owned(),
            self.told.last().unwrap().clone(),
            what.to_owned(),
            both.to_owned(),
        ));
    }

    /// Compares the root with its state before the last step.
    fn is_unchanged(&mut self, run: &Run, step: &str) {
        let now = State::of(&self.scenario, PACKAGE);
        let mut found = now.differences(&self.last, step, self.told.last().unwrap());
        found.iter_mut().for_each(|difference| difference.3 += &format!("{run:?}"));
        self.differences.extend(found);
    }

    /// Compares the root with a fresh one, and the answers of the program with what is known.
    fn compare(&mut self, step: &str) {
        self.last = State::of(&self.scenario, PACKAGE);
        let mut found = self.last.clone();
        for (path, edit) in &self.kept {
            let bytes = fs::read_to_string(self.scenario.at(&format!("{BASEDIR}/{path}")));
            if bytes.is_ok_and(|bytes| bytes == edited_text(*edit)) {
                let prefix = format!("{BASEDIR}/{path} ");
                found.0.retain(|what, _| !what.starts_with(&prefix));
            } else {
                self.differences.push((
                    step.to_owned(),
                    String::new(),
                    path.clone(),
                    "it was not kept".to_owned(),
                ));
            }
        }
        let applied: Vec<Applied> =
            self.applied.iter().map(|number| (*number, self.engines[number])).collect();
        let expected = self.fresh.with(&applied, &self.edits);
        for difference in found.differences(expected, step, self.told.last().unwrap()) {
            match DIFFERENCES.iter().position(|one| explains(one, &difference)) {
                Some(line) => drop(self.explained.entry(line).or_insert(difference)),
                None => self.differences.push(difference),
            }
        }
        self.compare_answers(step);
        self.count("states compared");
    }

    /// Compares the answers of `list` and `check`.
    fn compare_answers(&mut self, step: &str) {
        // For a patch in the middle, only its backout shows whether it can be removed.
        let is_known =
            |number: &&usize| !self.why_not(**number).is_empty() || !self.is_in_the_middle(**number);
        let known: BTreeMap<String, bool> = self
            .applied
            .iter()
            .filter(is_known)
            .map(|number| (self.patches[*number].id(), self.why_not(*number).is_empty()))
            .collect();
        for verb in ["list", "check --contents"] {
            let run = self.scenario.run(&format!("{verb} --json -R @ROOT@"));
            let said: Value = serde_json::from_str(&run.stdout).unwrap();
            let patches = || said["patches"].as_array().unwrap().iter();
            let found: BTreeMap<String, bool> = patches()
                .map(|patch| (patch["id"].as_str().unwrap().to_owned(), patch["removable"]["now"] == true))
                .filter(|(id, _)| known.contains_key(id))
                .collect();
            if found != known {
                let why: Vec<String> = patches().map(|patch| patch["removable"].to_string()).collect();
                let difference = format!("expected {known:?}, found {found:?}: {}", why.join(" "));
                self.differs(step, &format!("{verb} removable"), &difference);
            }
            if verb == "check --contents" {
                self.compare_discrepancies(step, &run, &said);
            }
        }
    }

    /// Compares the edits that `check` finds with those that were made.
    fn compare_discrepancies(&mut self, step: &str, run: &Run, said: &Value) {
        let is_strict = |path: &str| matches!(path, "bin/b" | "share/marked");
        let live = self
            .edits
            .keys()
            .filter(|(by, path)| is_strict(path) && self.writer(path, self.applied.len()) == *by);
        let expected: BTreeSet<String> = live.map(|(_, path)| format!("@ROOT@{BASEDIR}/{path}")).collect();
        let discrepancies = said["discrepancies"].as_array().unwrap().iter();
        let found: BTreeSet<String> =
            discrepancies.map(|one| one["path"].as_str().unwrap_or_default().to_owned()).collect();
        if found != expected || (run.code == 0) != found.is_empty() {
            self.differs(step, "check --contents", &format!("expected {expected:?}, found {run:?}"));
        }
    }
}
