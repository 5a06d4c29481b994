//! Runs that are cut off in any way, and the runs after them: the outcome is compared with that of an undisturbed
//! run.
//!
//! The directory has a set of a first run. Then a recipe is changed, and the second run is cut off. It builds a
//! package and another one that needs it, including scripts and check; a third one is unchanged. A reader looks at
//! the newest set all the while.

/// The reader of the newest set.
mod set_reader;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use patchadm_bulk_values::result::Blake3Digest;
use serde_json::Value;

use super::{BulkBuild, BulkRun, ResultFiles, assert_same_results, mark, processes_with};
use crate::everyman::become_ordinary;
use crate::scenario::is_root;
use crate::workshop::eventually;
use set_reader::{SetReader, assert_whole_set};

/// The packages that the second run builds.
pub(super) const BUILT: [&str; 2] = ["base", "user"];

/// A script that records its start in a file outside of the sandbox, and leaves a process.
const SCRIPT: &str = "echo $PKGNAME >> /mounted/starts\nsetsid sleep 1000 &\nmkdir $DESTDIR/opt\n\
    cat $TREE/$PKG_LOCATION/text /opt/* > $DESTDIR/opt/$PKGNAME 2>/dev/null || :\n\
    echo 'echo installed >> /opt/$PKGINST.log; exit 0' > $OUT/postinstall\n\
    echo 'rm -f /opt/$PKGINST.log; exit 0' > $OUT/preremove\n";

/// Outcome of the undisturbed second run.
pub(super) struct Undisturbed {
    states: Vec<String>,
    results: BTreeMap<String, ResultFiles>,
    set: BTreeMap<String, Vec<u8>>,
    /// The names of all files after one more run, except those that depend on the machine.
    names: BTreeSet<String>,
    /// How long it takes.
    pub(super) took: Duration,
}

/// A bulk build whose second run is cut off again and again.
pub(super) struct CutOffRun {
    pub(super) build: BulkBuild,
    pub(super) mark: String,
    is_ordinary: bool,
    /// True if a power loss cuts the run off. Results that had not reached the disk may then be torn.
    pub(super) loses_power: bool,
    undisturbed: Option<Undisturbed>,
    /// Held while a set is read, and while the directory is restored.
    whole: Arc<Mutex<()>>,
}

impl CutOffRun {
    /// The build before its second run. `prepare` may mount something at the directory of the build before it is filled.
    pub(super) fn new(
        test: &str,
        is_ordinary: bool,
        slots: impl Fn(&BulkBuild) -> String,
        prepare: impl FnOnce(&BulkBuild),
    ) -> Option<Self> {
        let mark = mark();
        let build = BulkBuild::of_recipes(test, is_ordinary, &format!("env=MARK={mark}\n"))?;
        build.set(&slots(&build));
        let mounted = build.scenario.beside("theirs/mounted");
        fs::create_dir(&mounted).unwrap();
        fs::set_permissions(&mounted, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        build.set(&format!("mount=rw:{}:/mounted\n", mounted.display()));
        for (name, needs) in [("base", ""), ("user", "base-[0-9]*"), ("other", "")] {
            build.recipe(name, &format!("ALL_DEPENDS={needs}\n"), SCRIPT);
            build.write(&format!("{name}/text"), format!("{name}\n"));
        }
        build.write("other/build", "rmdir $DESTDIR; cp $TREE/$PKG_LOCATION/text $OUT/notes\n");
        for canary in [mounted.join("canary"), build.tree().join("canary")] {
            fs::write(canary, "alive\n").unwrap();
        }
        allow_all(&mounted);
        let it =
            Self { build, mark, is_ordinary, loses_power: false, undisturbed: None, whole: Arc::default() };
        it.build.run("").ends(0);
        it.build.change("base/text", ("base", "the base"));
        copy(&it.build.work(), &it.template());
        prepare(&it.build);
        Some(it.with_undisturbed())
    }

    fn with_undisturbed(mut self) -> Self {
        self.restore();
        let began = std::time::Instant::now();
        let run = self.build.run("").ends(0);
        let took = began.elapsed();
        assert_eq!(run.in_state("done"), BUILT);
        let (results, set) = (self.build.results(&run), self.set());
        self.build.run("").ends(0);
        let (states, names) = (run.states(), self.names());
        self.undisturbed = Some(Undisturbed { states, results, set, names, took });
        self
    }

    pub(super) fn undisturbed(&self) -> &Undisturbed {
        self.undisturbed.as_ref().unwrap()
    }

    fn template(&self) -> PathBuf {
        self.build.scenario.beside("theirs/template")
    }

    /// Restores the state before the second run.
    pub(super) fn restore(&self) {
        let _alone = self.whole.lock().unwrap();
        for entry in fs::read_dir(self.build.work()).unwrap() {
            let path = entry.unwrap().path();
            let is_directory = path.symlink_metadata().unwrap().is_dir();
            (if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) }).unwrap();
        }
        copy(&self.template().join("."), &self.build.work());
        let starts = self.build.scenario.beside("theirs/mounted/starts");
        fs::write(&starts, "").unwrap();
        allow_all(&starts);
    }

    /// The second run, started through the command `before`, if that is not empty.
    pub(super) fn running(&self, before: &[&str], options: &str) -> Command {
        let run = self.build.command(&format!("run {} {options}", self.build.work().display()));
        let mut command = match before.split_first() {
            None => run,
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(run.get_program()).args(run.get_args()).env_clear();
                command.current_dir("/").stdin(std::process::Stdio::null());
                for (name, value) in run.get_envs() {
                    command.env(name, value.unwrap_or_default());
                }
                if self.is_ordinary && is_root() {
                    become_ordinary(&mut command);
                }
                command
            }
        };
        command.env("MARK", &self.mark).process_group(0);
        command
    }

    /// Reads the newest set repeatedly while `work` runs; returns the number of readings.
    pub(super) fn read_while<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        let reader = SetReader::start(&self.build.work().join("sets/current"), self.whole.clone());
        let done = work();
        (done, reader.end())
    }

    /// The packages whose results of the second run are in the pool. Every result there is complete, except those
    /// that a power loss tore before they reached the disk.
    #[track_caller]
    pub(super) fn assert_whole_pool(&self, when: &str) -> BTreeSet<String> {
        let mut own = BTreeSet::new();
        for (key, result) in self.results_in_pool() {
            let directory = self.build.result(&key);
            let files = ["packages", "files"].into_iter().filter_map(|list| result[list].as_array());
            let is_whole = |file: &Value| {
                let bytes = fs::read(directory.join(file["file"].as_str().unwrap())).unwrap_or_default();
                file["b3"] == serde_json::to_value(Blake3Digest::of(&bytes)).unwrap()
            };
            let torn: Vec<&Value> = files.flatten().filter(|file| !is_whole(file)).collect();
            if self.may_be_torn(&directory) && !torn.is_empty() {
                continue;
            }
            assert_eq!(torn, Vec::<&Value>::new(), "{when}");
            if result["run"] == 2 {
                own.insert(result["pkgname"].as_str().unwrap().to_owned());
            }
        }
        own
    }

    /// True if a result may be torn.
    fn may_be_torn(&self, result: &Path) -> bool {
        self.loses_power && result.join(".unflushed").exists()
    }

    /// The keys of results in the pool that have reached the disk.
    pub(super) fn flushed(&self) -> BTreeSet<String> {
        let keys = self.results_in_pool().into_keys();
        keys.filter(|key| !self.build.result(key).join(".unflushed").exists()).collect()
    }

    /// The descriptions of the results in the pool, by key.
    fn results_in_pool(&self) -> BTreeMap<String, Value> {
        let mut results = BTreeMap::new();
        for shelf in fs::read_dir(self.build.work().join("pool")).unwrap().map(Result::unwrap) {
            let is_shelf = shelf.file_name().len() == 2;
            for key in is_shelf.then(|| fs::read_dir(shelf.path()).unwrap()).into_iter().flatten() {
                let key = key.unwrap().file_name().into_string().unwrap();
                let directory = self.build.result(&key);
                let text = fs::read(directory.join("result.json")).unwrap_or_default();
                match serde_json::from_slice(&text) {
                    Ok(result) => drop(results.insert(key, result)),
                    Err(error) => assert!(self.may_be_torn(&directory), "{key}: {error}"),
                }
            }
        }
        results
    }

    /// Asserts that all named sets are complete, and that the link to the newest one leads to one of them.
    #[track_caller]
    pub(super) fn assert_whole_sets(&self, when: &str) {
        let sets = self.build.work().join("sets");
        let newest = fs::read_link(sets.join("current")).unwrap();
        let names = ["1", "2", "3"].map(Path::new);
        assert!(names.contains(&&*newest), "{when}: {}", newest.display());
        for name in names.iter().filter(|name| sets.join(name).exists() || **name == newest) {
            assert_whole_set(&sets.join(name)).unwrap_or_else(|wrong| panic!("{when}: {wrong}"));
        }
    }

    /// The builds that began since the directory was restored.
    pub(super) fn starts(&self) -> Vec<String> {
        let text = fs::read_to_string(self.build.scenario.beside("theirs/mounted/starts")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until all processes of an interrupted run have ended and nothing is mounted.
    #[track_caller]
    pub(super) fn assert_all_ended(&self, when: &str) {
        eventually(when, || processes_with(&self.mark).is_empty() && !self.is_inside());
        self.build.assert_nothing_runs(&self.mark);
    }

    /// True if a process still works in a directory of the build.
    fn is_inside(&self) -> bool {
        let path = self.build.work().join("build");
        fs::read_dir("/proc").unwrap().flatten().any(|process| {
            fs::read_link(process.path().join("cwd")).is_ok_and(|directory| directory.starts_with(&path))
        })
    }

    /// Continues the interrupted run and asserts that its outcome is that of an undisturbed one.
    #[track_caller]
    pub(super) fn continue_run(&self, when: &str) {
        let whole = self.assert_whole_pool(when);
        self.assert_whole_sets(when);
        let before = self.starts().len();
        let run = self.build.run("");
        assert_eq!(run.code, 0, "{when}: {}{:#?}", run.said, run.states());
        for package in self.starts().split_off(before) {
            assert!(!whole.contains(&package), "{when}: {package} is built, and its result was there");
        }
        self.assert_as_undisturbed(&run, when);
    }

    /// Asserts that the run has the outcome of the undisturbed one, and that one more run has nothing to do
    /// and leaves nothing.
    #[track_caller]
    pub(super) fn assert_as_undisturbed(&self, run: &BulkRun, when: &str) {
        let expected = self.undisturbed();
        // A run that had ended before it was cut off is not continued.
        let is_third = run.report["run"] == 3;
        let states: Vec<String> = if is_third {
            expected.states.iter().map(|state| state.replace(" done", " up-to-date")).collect()
        } else {
            expected.states.clone()
        };
        assert_eq!(run.states(), states, "{when}");
        assert_same_results(&self.build.results(run), &expected.results);
        self.assert_whole_pool(when);
        self.assert_whole_sets(when);
        assert_eq!(self.set(), expected.set, "{when}: the set");
        if !is_third {
            assert_eq!(run.report["run"], 2, "{when}");
            let begun = self.starts();
            let more = self.build.run("").ends(0);
            assert_eq!(
                (self.starts(), &more.report["run"]),
                (begun, &Value::from(3)),
                "{when}: one more run"
            );
        }
        let names = self.names();
        let [left, missing] = [names.difference(&expected.names), expected.names.difference(&names)]
            .map(|names| names.map(|name| format!("{name}\n")).collect::<String>());
        assert_eq!((left.as_str(), missing.as_str()), ("", ""), "{when}: what is left, and what is missing");
        self.build.assert_nothing_left(&self.mark);
        let mounted = self.build.scenario.beside("theirs/mounted");
        for canary in [mounted.join("canary"), self.build.tree().join("canary")] {
            assert_eq!(fs::read_to_string(canary).unwrap(), "alive\n", "{when}");
        }
        assert_eq!(fs::read_dir(&mounted).unwrap().count(), 2, "{when}");
    }

    /// The files of the second set by their paths, and its manifest without the time.
    fn set(&self) -> BTreeMap<String, Vec<u8>> {
        let set = self.build.work().join("sets/2");
        let files = names_below(&set).unwrap().into_iter().filter(|name| set.join(name).is_file());
        let mut files: BTreeMap<String, Vec<u8>> =
            files.map(|name| (name.clone(), fs::read(set.join(name)).unwrap())).collect();
        let manifest = String::from_utf8(files.remove("MANIFEST").unwrap()).unwrap();
        let lines = manifest.lines().filter(|line| !line.starts_with("# date "));
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        files.insert("MANIFEST".to_owned(), lines.into_bytes());
        files
    }

    fn names(&self) -> BTreeSet<String> {
        let own_of_machine = ["build/installed/", "lost+found"];
        let is_common = |name: &String| !own_of_machine.iter().any(|own| name.starts_with(own));
        names_below(&self.build.work()).unwrap().into_iter().filter(is_common).collect()
    }
}

/// The paths of all objects below a directory.
fn names_below(directory: &Path) -> io::Result<BTreeSet<String>> {
    let (mut names, mut open) = (BTreeSet::new(), vec![directory.to_owned()]);
    while let Some(above) = open.pop() {
        for entry in fs::read_dir(above)? {
            let path = entry?.path();
            names.insert(path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned());
            if path.symlink_metadata()?.is_dir() {
                open.push(path);
            }
        }
    }
    Ok(names)
}

/// Makes a path writable for everybody: a build has another user than the run.
fn allow_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// The packages that a run reported as built.
pub(super) fn said_done(said: &Output) -> BTreeSet<String> {
    done_lines(&String::from_utf8_lossy(&said.stderr)).collect()
}

/// The packages reported as built in the output of a run.
fn done_lines(said: &str) -> impl Iterator<Item = String> {
    said.lines().filter_map(|line| line.strip_suffix(": done")).map(str::to_owned)
}
