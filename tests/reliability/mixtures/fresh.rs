//! Fresh roots: the state of a root that has never had any patches but these.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::{Duration, SystemTime};

use crate::reliability::stories::copy;
use crate::scenario::{ADMIN, Scenario};
use crate::state::State;

use super::story::{self, BASEDIR, Engine, Made, PACKAGE};

/// The existing edits of an administrator, by the patch that last delivered the file (none for the package itself) and
/// by path.
pub(super) type Edits = BTreeMap<(Option<usize>, String), Edit>;

/// An edit of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edit {
    pub(super) number: usize,
    /// The patch that last changed the file; a patch that finds the file as it delivers it changes nothing.
    pub(super) changed_by: Option<usize>,
}

/// A patch, by its number, and the engine that applied it.
pub(super) type Applied = (usize, Engine);

/// A root with the package and without patches, to be copied.
pub(super) struct Template {
    scenario: Scenario,
}

impl Template {
    pub(super) fn new() -> Self {
        let scenario = Scenario::new();
        for directory in ["/opt", "/var/tmp", "/tmp"] {
            scenario.directory(directory);
        }
        scenario.file("/var/sadm/install/admin/golden", ADMIN);
        story::base().write(&scenario.beside("base"));
        let installed = scenario.run(&format!("pkgadd -n -R @ROOT@ -a golden -d base {PACKAGE}"));
        assert_eq!(installed.code, 0, "{}{}", installed.stdout, installed.stderr);
        Self { scenario }
    }

    /// Another root like it.
    pub(super) fn copy(&self) -> Scenario {
        let scenario = Scenario::new();
        fs::remove_dir_all(scenario.root()).unwrap();
        copy(&self.scenario.root(), &scenario.root(), &mut HashMap::new());
        scenario
    }
}

/// The patches of a fresh root, and the edits in it.
type History = (Vec<Applied>, Edits);

/// The states of fresh roots, each made once.
pub(super) struct Fresh<'p> {
    template: &'p Template,
    patches: &'p [Made],
    known: BTreeMap<History, State>,
    /// Roots made so far, by their history.
    roots: BTreeMap<History, Scenario>,
}

impl<'p> Fresh<'p> {
    pub(super) fn new(template: &'p Template, patches: &'p [Made]) -> Self {
        Self { template, patches, known: BTreeMap::new(), roots: BTreeMap::new() }
    }

    /// The state of a root on which only these patches were applied and these edits were made.
    pub(super) fn with(&mut self, list: &[Applied], edits: &Edits) -> &State {
        let key = (list.to_vec(), of_list(edits, list));
        if !self.known.contains_key(&key) {
            let (scenario, done) = self.begun(list, edits);
            for (at, (number, engine)) in list.iter().enumerate().skip(done) {
                let patch = &self.patches[*number];
                patch.deliver(&scenario, *engine);
                let run = scenario.run(&add_line(*engine, patch));
                assert_eq!(
                    run.code,
                    0,
                    "on a fresh root: {list:?} {}: {}{}",
                    patch.id(),
                    run.stdout,
                    run.stderr
                );
                edit(&scenario, edits, Some(*number));
                let until = &list[..=at];
                self.known
                    .entry((until.to_vec(), of_list(edits, until)))
                    .or_insert_with(|| State::of(&scenario, PACKAGE));
            }
            self.known.entry(key.clone()).or_insert_with(|| State::of(&scenario, PACKAGE));
            self.roots.insert(key.clone(), scenario);
        }
        &self.known[&key]
    }

    /// The root on which the longest beginning of this history was played, to continue from there, and the number of
    /// patches that it has. A new root if there is none.
    fn begun(&mut self, list: &[Applied], edits: &Edits) -> (Scenario, usize) {
        for done in (0..=list.len()).rev() {
            let until = &list[..done];
            if let Some(scenario) = self.roots.remove(&(until.to_vec(), of_list(edits, until))) {
                return (scenario, done);
            }
        }
        let scenario = self.template.copy();
        edit(&scenario, edits, None);
        (scenario, 0)
    }
}

/// The edits of files that these patches, or the package, have written.
fn of_list(edits: &Edits, list: &[Applied]) -> Edits {
    let is_there = |by: Option<usize>| by.is_none_or(|by| list.iter().any(|(number, _)| *number == by));
    edits.iter().filter(|((by, _), _)| is_there(*by)).map(|(at, edit)| (at.clone(), *edit)).collect()
}

/// The command that applies a patch.
pub(super) fn add_line(engine: Engine, patch: &Made) -> String {
    let no_undo = if patch.has_no_undo { "--no-undo" } else { "" };
    format!("add --scripts {0} --edited replace {no_undo} -R @ROOT@ {0}/{1}", engine.name(), patch.id())
}

/// Makes the edits of the files that one patch has written.
fn edit(scenario: &Scenario, edits: &Edits, by: Option<usize>) {
    for ((_, path), edit) in edits.iter().filter(|((writer, _), _)| *writer == by) {
        edit_file(scenario, path, edit.number);
    }
}

/// The content of a file after the n-th edit.
pub(super) fn edited_text(number: usize) -> String {
    format!("edit {number}\n")
}

/// Edits a file as administrators do: in place, so that its owner and mode stay.
pub(super) fn edit_file(scenario: &Scenario, path: &str, number: usize) {
    let at = scenario.at(&format!("{BASEDIR}/{path}"));
    fs::write(&at, edited_text(number)).unwrap();
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(story::edited_at(number));
    fs::File::open(&at).unwrap().set_modified(moment).unwrap();
}
