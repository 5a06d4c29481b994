//! A run that is killed at any moment: the run that continues it makes the same sets and reports the same news,
//! including patches that were made and published before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{BulkBuild, BulkRun, mark, processes_with};
use crate::reliability::sigkill::has_strace;
use crate::scenario::is_root;
use crate::workshop::eventually;

/// When a run is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// As soon as the condition holds.
    Once(fn(&BulkBuild) -> bool),
    /// At a call that changes something in this directory of the build: its position among all of these calls, in
    /// percent.
    InDirectory(&'static str, usize),
}

/// The moments of a run, in their order.
const MOMENTS: [(&str, Moment); 9] = [
    ("scan", Moment::InDirectory("scan", 50)),
    ("build", Moment::Once(|build| has_log(build, "begun"))),
    ("packing", Moment::Once(is_packing)),
    ("pool", Moment::InDirectory("pool", 80)),
    ("set, before it has its name", Moment::InDirectory("sets", 0)),
    ("set, behind it", Moment::InDirectory("sets", 99)),
    ("patches", Moment::InDirectory("patches", 99)),
    ("publish", Moment::InDirectory("depot", 99)),
    ("report", Moment::InDirectory("copies", 50)),
];

/// The calls that change something or make it durable.
const CALLS: &str = "fchmod,fdatasync,fsync,linkat,mkdirat,renameat,renameat2,symlinkat,unlinkat";

fn has_log(build: &BulkBuild, words: &str) -> bool {
    let log = fs::read_to_string(build.work().join("runs/2/logs/user-1.0.log"));
    log.is_ok_and(|log| log.contains(words))
}

fn is_packing(build: &BulkBuild) -> bool {
    let mut tasks = fs::read_dir(build.work().join("build/tasks")).into_iter().flatten().flatten();
    tasks.any(|task| task.path().join("made").exists())
}

/// Outcome of a run.
#[derive(Debug, PartialEq)]
struct CameTo {
    report: Value,
    text: String,
    set: BTreeMap<String, Vec<u8>>,
    depot: BTreeSet<String>,
}

/// A bulk build with a released set, before the second run. This run builds two packages, fails in a third one, makes
/// a patch of each built package, and publishes the patches.
struct Story {
    build: BulkBuild,
    mark: String,
}

impl Story {
    fn new(test: &str) -> Option<Self> {
        let mark = mark();
        let settings = format!(
            "slot=local 1\ncheck=none\ndepot=depot\nkey=own.sec\nreport_copy=copies\nenv=MARK={mark}\n"
        );
        let build = BulkBuild::of_recipes(test, !is_root(), &settings)?;
        let script = "echo begun; sleep 0.1; mkdir $DESTDIR/opt; cat /opt/* > $DESTDIR/opt/$PKGNAME 2>/dev/null || :\n\
                      cat $TREE/$PKG_LOCATION/text >> $DESTDIR/opt/$PKGNAME\n";
        for (name, needs) in [("base", ""), ("user", "base-[0-9]*"), ("same", ""), ("breaks", "")] {
            build.recipe(name, &format!("ALL_DEPENDS={needs}\n"), script);
            build.write(&format!("{name}/text"), format!("{name}\n"));
        }
        build.scenario.run("keygen -o own --no-password").ok();
        fs::copy(build.scenario.beside("own.sec"), build.work().join("own.sec")).unwrap();
        fs::create_dir(build.work().join("copies")).unwrap();
        if build.is_ordinary && is_root() {
            let owner = fs::metadata(build.work()).unwrap();
            for name in ["own.sec", "copies"] {
                let at = build.work().join(name);
                std::os::unix::fs::chown(at, Some(owner.uid()), Some(owner.gid())).unwrap();
            }
        }
        build.run("").ends(0);
        build.action("release @WORK@ 1").ok();
        build.change("base/text", ("base", "the base"));
        build.write("breaks/build", "exit 3\n");
        let it = Self { build, mark };
        copy(&it.build.work(), &it.template("before"));
        Some(it)
    }

    fn template(&self, name: &str) -> PathBuf {
        self.build.scenario.beside("theirs").join(name)
    }

    /// Restores the build from a template.
    fn restore(&self, name: &str) {
        fs::remove_dir_all(self.build.work()).unwrap();
        copy(&self.template(name), &self.build.work());
    }

    /// Outcome of the second run, without times and places of builds.
    fn came_to(&self) -> CameTo {
        let run = self.build.work().join("runs/2");
        let mut report: Value = serde_json::from_slice(&fs::read(run.join("report.json")).unwrap()).unwrap();
        let strip = |value: &mut Value, fields: &[&str]| {
            if let Some(object) = value.as_object_mut() {
                fields.iter().for_each(|field| drop(object.remove(*field)));
            }
        };
        strip(&mut report, &["began", "ended", "continued"]);
        report["packages"].as_array_mut().unwrap().iter_mut().for_each(|package| {
            strip(package, &["ms", "cpu_ms", "peak_memory", "tries", "slot"]);
        });
        strip(&mut report["published"], &["duration_ms", "index_sha256", "expires", "depot"]);
        report["patches"]["sources"].as_array_mut().unwrap().iter_mut().for_each(|source| {
            // The base release of a patch is the same directory, but its key has the date when it was made.
            strip(source, &["key"]);
        });
        let text = fs::read_to_string(run.join("report.txt")).unwrap();
        let times = ["Begin:", "End:", "Run:"];
        let text = text.lines().filter(|line| !times.iter().any(|word| line.starts_with(word)));
        let set = self.build.work().join("sets/2");
        let mut files = files_below(&set);
        let manifest = files.get_mut("MANIFEST").unwrap();
        let lines = String::from_utf8(std::mem::take(manifest)).unwrap();
        *manifest = lines.lines().filter(|line| !line.starts_with("# date")).collect::<String>().into_bytes();
        let index: Value =
            serde_json::from_slice(&fs::read(self.build.work().join("depot/index.json")).unwrap()).unwrap();
        let published = index["patches"].as_array().into_iter().flatten();
        let ids = published.map(|patch| patch["id"].as_str().unwrap_or_default().to_owned());
        CameTo { report, text: text.collect::<Vec<_>>().join("\n"), set: files, depot: ids.collect() }
    }

    /// A command of the build under strace, with these options.
    fn traced(&self, options: &[String], line: &str) -> Command {
        let line = line.replace("@WORK@", &self.build.work().display().to_string());
        let run = self.build.command(&line);
        let mut command = Command::new("strace");
        command.arg("-qq").args(options).arg(run.get_program()).args(run.get_args()).env_clear();
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for (name, value) in run.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        if self.build.is_ordinary && is_root() {
            crate::everyman::become_ordinary(&mut command);
        }
        command.env("MARK", &self.mark);
        command
    }

    /// Kills a command at a call in a directory of the build. An undisturbed run before that lists the calls.
    fn kill_in(&self, directory: &str, percent: usize, (template, line): (&str, &str)) {
        self.restore(template);
        let trace = self.build.scenario.beside("theirs/trace");
        let below = self.build.work().join(directory).display().to_string();
        let path = ["-P".to_owned(), below];
        let watched =
            ["-e".to_owned(), format!("trace={CALLS}"), "-o".to_owned(), trace.display().to_string()];
        self.traced(&[&path[..], &watched].concat(), line).status().unwrap();
        let calls = fs::read_to_string(&trace).unwrap();
        let calls: Vec<&str> = calls.lines().filter_map(|line| Some(line.split_once('(')?.0)).collect();
        assert!(!calls.is_empty(), "{line} changes nothing in {directory}");
        let at = (calls.len() * percent / 100).min(calls.len() - 1);
        let number = calls[..=at].iter().filter(|call| **call == calls[at]).count();
        let inject = format!("inject={}:signal=SIGKILL:when={number}", calls[at]);
        let killing = ["-e".to_owned(), format!("trace={}", calls[at]), "-e".to_owned(), inject];
        let quiet = ["-o".to_owned(), "/dev/null".to_owned()];
        self.restore(template);
        let ended = self.traced(&[&path[..], &killing, &quiet].concat(), line).status().unwrap();
        assert!(matches!(ended.code(), None | Some(137)), "{line} in {directory}: {ended:?}");
    }

    /// Kills the second run as soon as a condition holds.
    fn kill_once(&self, when: &str, holds: fn(&BulkBuild) -> bool) {
        self.restore("before");
        let mut running = self.build.running("");
        running.env("MARK", &self.mark).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = running.spawn().unwrap();
        while !holds(&self.build) {
            assert!(running.try_wait().unwrap().is_none(), "{when}: it has ended");
            std::thread::sleep(Duration::from_micros(200));
        }
        kill_process(Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap(), Signal::KILL).unwrap();
        running.wait().unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).args([from, to]).status().unwrap();
    assert!(copied.success());
}

fn files_below(top: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut open) = (BTreeMap::new(), vec![top.to_owned()]);
    while let Some(above) = open.pop() {
        for entry in fs::read_dir(above).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(top).unwrap().display().to_string();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Outcome of the second run without a kill; its end state is kept as `after`.
fn undisturbed(story: &Story) -> CameTo {
    let undisturbed = story.build.run("").ends(5);
    let patches = ["base built base-01", "user built user-01"];
    let told = super::patches::told(&undisturbed.report["patches"]);
    let built: Vec<&String> = told.iter().filter(|line| line.contains(" built ")).collect();
    assert_eq!(built, patches, "{told:?}");
    assert_eq!(undisturbed.report["published"]["added"], serde_json::json!(["base-01", "user-01"]));
    let suspects = |run: &BulkRun| run.package("breaks-1.0")["suspects"].to_string();
    assert!(suspects(&undisturbed).contains("build"), "{}", suspects(&undisturbed));
    copy(&story.build.work(), &story.template("after"));
    story.came_to()
}

/// Kills the second run at each of these moments and continues it.
fn kill_at(test: &str, moments: &[(&str, Moment)]) {
    if !has_strace(test) {
        return;
    }
    let Some(story) = Story::new(test) else { return };
    let expected = undisturbed(&story);
    for (when, moment) in moments {
        let line = "run @WORK@";
        match moment {
            Moment::Once(holds) => story.kill_once(when, *holds),
            Moment::InDirectory(directory, percent) => story.kill_in(directory, *percent, ("before", line)),
        }
        eventually(when, || processes_with(&story.mark).is_empty());
        let run = story.build.run("");
        assert_eq!((run.code, &run.report["run"]), (5, &Value::from(2)), "{when}: {}", run.said);
        let came_to = story.came_to();
        assert_eq!(came_to.report, expected.report, "{when}");
        assert_eq!(came_to, expected, "{when}");
        assert_eq!(run.report["continued"], *when != "scan", "{when}: before its journal there is no run");
        story.build.assert_nothing_left(&story.mark);
    }
}

#[test]
fn killed_before_its_results_a_run_comes_to_the_same_sets_and_the_same_news() {
    kill_at("killed_before_its_results…", &MOMENTS[..3]);
}

#[test]
fn killed_at_its_results_and_its_set_a_run_comes_to_the_same_sets_and_the_same_news() {
    kill_at("killed_at_its_results…", &MOMENTS[3..6]);
}

#[test]
fn killed_at_its_patches_and_their_depot_a_run_comes_to_the_same_sets_and_the_same_news() {
    kill_at("killed_at_its_patches…", &MOMENTS[6..8]);
}

#[test]
fn killed_at_its_report_a_run_comes_to_the_same_sets_and_the_same_news() {
    kill_at("killed_at_its_report…", &MOMENTS[8..]);
}

#[test]
fn a_release_that_is_killed_at_any_moment_is_made_again() {
    let test = "a_release_that_is_killed…";
    if !has_strace(test) {
        return;
    }
    let Some(story) = Story::new(test) else { return };
    let expected = undisturbed(&story);
    for percent in [0, 50, 99] {
        let release = "release @WORK@ 2 --force";
        story.kill_in("sets", percent, ("after", release));
        story.build.action(release).ok();
        let work = story.build.work();
        assert_eq!(fs::read_link(work.join("sets/released")).unwrap(), Path::new("2"));
        let aside = |number: u32| work.join(format!("patches.{number}")).exists();
        assert!(aside(1) && !aside(2) && !work.join("patches/state.json").exists());
        assert_eq!(files_below(&work.join("sets/2")).len(), expected.set.len());
    }
}
