//! A depot, seen by others while patches are published: at any moment every reader and every mirror has one complete,
//! signed index, even after a publisher was killed at a system call, and the next publication continues.
//!
//! A reader checks everything that is publicly verifiable: the digest of the index, its signature, and every byte of
//! every object that it names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use patchadm_core::operation::signing::{read_secret_key, sign_target};
use patchadm_inputs::sign::SecretKey;

use crate::depots::{public_key, read_depot};
use crate::packages::files;
use crate::publish::{deliver, secret_key};
use crate::reliability::crash::{in_parallel, spread};
use crate::reliability::sigkill::{calls_of_program, has_strace, is_killed_at, trace_of_program};
use crate::reliability::{figures, sample_or_whole};
use crate::scenario::{NOW, Scenario};

/// Number of readers that read without a pause.
const READERS: usize = 2;

/// Number of publishers that compete.
const PUBLISHERS: usize = 2;

fn key() -> SecretKey {
    let no_password = || -> Result<Vec<u8>, anyhow::Error> { Ok(Vec::new()) };
    read_secret_key::<anyhow::Error>(Path::new(&secret_key()), no_password).unwrap()
}

/// A working directory with these patches, signed.
fn work(stage: &Scenario, name: &str, ids: &[String]) -> PathBuf {
    let work = stage.beside(name);
    fs::create_dir(&work).unwrap();
    for id in ids {
        let file = deliver(&work, id, &format!("{id}\n"));
        sign_target(&key(), &file, NOW.cast_signed()).unwrap();
    }
    work
}

/// The arguments that publish a working directory.
fn words(work: &Path, depot: &Path) -> Vec<PathBuf> {
    let words = ["publish", "--key", &secret_key()].map(PathBuf::from);
    words.into_iter().chain([work.to_owned(), depot.to_owned()]).collect()
}

/// The commands of the mirror recipe in patchadm-depot(5).
fn recipe(depot: &Path, mirror: &Path) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/patchadm-depot.5")).unwrap();
    let (_, section) = page.split_once(".Ss A mirror\n").unwrap();
    let (_, section) = section.split_once(".Bd -literal -offset indent\n").unwrap();
    let (commands, _) = section.split_once(".Ed\n").unwrap();
    let commands = commands.replace("DEPOT", depot.to_str().unwrap());
    format!("set -e\n{}", commands.replace("MIRROR", mirror.to_str().unwrap()))
}

/// Publishes patches one after another, possibly beside another publisher. Returns how often a publication was refused.
fn publish_all(stage: &Scenario, works: &[PathBuf]) -> u64 {
    let mut refused = 0;
    for work in works {
        loop {
            let line = words(work, Path::new("depot"));
            let line: Vec<_> = line.iter().map(|word| word.to_str().unwrap()).collect();
            let run = stage.run(&line.join(" "));
            match run.code {
                0 => break,
                6 => refused += 1,
                _ => panic!("{}{}", run.stdout, run.stderr),
            }
        }
    }
    refused
}

/// Reads until `is_over` is set; the version never decreases. Returns the number of readings.
fn read_all_the_while(depot: &Path, is_over: &AtomicBool) -> u64 {
    let (key, mut version, mut readings) = (public_key("plain"), 0, 0);
    while !is_over.load(Relaxed) {
        if let Some(index) = read_depot(depot, &key).unwrap() {
            assert!(index.version >= version, "from {version} to {}", index.version);
            version = index.version;
            readings += 1;
        }
    }
    readings
}

/// Mirrors until `is_over` is set, and reads each mirror. Returns the number of mirrors.
fn mirror_all_the_while(depot: &Path, mirror: &Path, is_over: &AtomicBool) -> u64 {
    let (recipe, key, mut mirrors) = (recipe(depot, mirror), public_key("plain"), 0);
    for name in ["objects", "index"] {
        fs::create_dir_all(mirror.join(name)).unwrap();
    }
    while !is_over.load(Relaxed) {
        if depot.join("index.json").exists() {
            let run = Command::new("/bin/sh").args(["-c", &recipe]).output().unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            read_depot(mirror, &key).unwrap().unwrap();
            mirrors += 1;
        }
    }
    mirrors
}

#[test]
fn readers_and_mirrors_see_one_complete_index_while_patches_are_published() {
    let stage = Scenario::new();
    let count = sample_or_whole(20, 200);
    let works: Vec<PathBuf> =
        (0..count).map(|at| work(&stage, &format!("work{at}"), &[format!("{}-01", 1000 + at)])).collect();
    let (depot, mirror) = (stage.beside("depot"), stage.beside("mirror"));
    let has_rsync = Command::new("rsync").arg("--version").output().is_ok();
    if !has_rsync {
        crate::missing("rsync", "mirrors while patches are published");
    }
    let is_over = AtomicBool::new(false);
    let (readings, mirrors, refused) = thread::scope(|scope| {
        let (stage, depot, mirror, is_over) = (&stage, &depot, &mirror, &is_over);
        let readers: Vec<_> =
            (0..READERS).map(|_| scope.spawn(move || read_all_the_while(depot, is_over))).collect();
        let mirrors = has_rsync.then(|| scope.spawn(move || mirror_all_the_while(depot, mirror, is_over)));
        let publishers: Vec<_> = works
            .chunks(works.len() / PUBLISHERS)
            .map(|works| scope.spawn(move || publish_all(stage, works)))
            .collect();
        // Even if one fails; otherwise the others would never end.
        let refused: Vec<_> = publishers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Relaxed);
        let readings: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        let mirrors = mirrors.map_or(0, |mirrors| mirrors.join().unwrap());
        (readings, mirrors, refused.into_iter().map(Result::unwrap).sum::<u64>())
    });
    let index = read_depot(&depot, &public_key("plain")).unwrap().unwrap();
    assert_eq!((index.version, index.patches().count()), (count, works.len()));
    assert!(readings > 0 && (mirrors > 0 || !has_rsync));
    figures(
        "depots",
        &[
            ("publications", count),
            ("refusals for another publisher", refused),
            ("readings", readings),
            ("mirrors", mirrors),
            ("incomplete indexes", 0),
        ],
    );
}

/// The publication that a killed publisher was performing.
#[derive(Clone, Copy, Debug)]
enum Publication {
    /// The first one in a depot that does not exist yet.
    First,
    /// A later one.
    Next,
    /// The end of one whose index was signed elsewhere.
    Finish,
}

impl Publication {
    const ALL: [Self; 3] = [Self::First, Self::Next, Self::Finish];

    /// The versions before and after it; 0 means none.
    fn versions(self) -> [u64; 2] {
        match self {
            Self::First => [0, 1],
            Self::Next | Self::Finish => [1, 2],
        }
    }
}

/// A depot with one patch, a copy of it with a pending index, and a working directory with that patch and another one.
struct Begun {
    stage: Scenario,
    work: PathBuf,
}

impl Begun {
    fn new() -> Self {
        let stage = Scenario::new();
        let first = work(&stage, "first", &["1000-01".to_owned()]);
        let work = work(&stage, "work", &["1000-01".to_owned(), "2000-01".to_owned()]);
        let begun = Self { stage, work };
        begun.run(&words(&first, Path::new("depot")), &[0]);
        let waiting = begun.copy("depot", "waiting");
        let public = secret_key().replace(".sec", ".pub");
        let line = ["publish", "--key", &public].map(PathBuf::from);
        begun.run(&[&line[..], &[begun.work.clone(), waiting.clone()]].concat(), &[0]);
        sign_target(&key(), &waiting.join("index/next.json"), NOW.cast_signed()).unwrap();
        begun
    }

    /// A copy of a depot.
    fn copy(&self, from: &str, name: &str) -> PathBuf {
        let copy = self.stage.beside(name);
        let copied = Command::new("cp").arg("-a").arg(self.stage.beside(from)).arg(&copy).status().unwrap();
        assert!(copied.success());
        copy
    }

    /// The depot before a publication, and the arguments that publish.
    fn scene(&self, publication: Publication, name: &str) -> (PathBuf, Vec<PathBuf>) {
        match publication {
            Publication::First => (self.stage.beside(name), words(&self.work, &self.stage.beside(name))),
            Publication::Next => {
                let depot = self.copy("depot", name);
                (depot.clone(), words(&self.work, &depot))
            }
            Publication::Finish => {
                let depot = self.copy("waiting", name);
                let line = ["publish", "--finish"].map(PathBuf::from);
                (depot.clone(), line.into_iter().chain([depot]).collect())
            }
        }
    }

    /// Runs the program and asserts that it ends with one of these codes.
    #[track_caller]
    fn run(&self, words: &[PathBuf], codes: &[i32]) {
        let line: Vec<String> = words.iter().map(|word| word.display().to_string()).collect();
        let run = self.stage.run(&line.join(" "));
        assert!(codes.contains(&run.code), "{}{}", run.stdout, run.stderr);
    }

    /// Kills a publisher at a call, checks the depot, and publishes again. False if the publisher was not killed.
    fn kill(&self, publication: Publication, call: &str, number: usize) -> bool {
        let (depot, words) = self.scene(publication, &format!("{publication:?}{call}{number}"));
        let (when, key) = (format!("{publication:?}, killed at {call} {number}"), public_key("plain"));
        let look = || read_depot(&depot, &key).unwrap_or_else(|error| panic!("{when}: {error}"));
        let [before, after] = publication.versions();
        let is_killed = is_killed_at(&words, call, number);
        let seen = look().map_or(0, |index| index.version);
        assert!([before, after].contains(&seen), "{when}: version {seen}");
        assert!(is_killed || seen == after, "{when}: acknowledged, but not there");
        // A publisher killed at its very end has left nothing to finish.
        let codes: &[i32] = if matches!(publication, Publication::Finish) { &[0, 3] } else { &[0] };
        self.run(&words, codes);
        let index = look().unwrap();
        assert_eq!((index.version, index.patches().count()), (after, 2), "{when}");
        let left: Vec<_> = files(&depot).into_iter().filter(|name| name.contains(".publish-")).collect();
        assert!(left.is_empty(), "{when}: left behind: {left:?}");
        fs::remove_dir_all(depot).unwrap();
        is_killed
    }

    /// The calls at which a publication is to be killed.
    fn points(&self, publication: Publication) -> Vec<(Publication, &'static str, usize)> {
        let (_, words) = self.scene(publication, &format!("counted{publication:?}"));
        let mut points = Vec::new();
        for (call, count) in calls_of_program(&words, &self.stage.beside("")) {
            let most = sample_or_whole(1, count);
            let middle = count.checked_div(most).unwrap_or_default() / 2;
            let numbers = spread(count, most).into_iter();
            points.extend(numbers.map(|number| (publication, call, number + middle.max(1))));
        }
        points
    }
}

#[test]
fn killed_at_any_system_call_a_publisher_leaves_one_complete_index_and_the_next_goes_on() {
    if !has_strace("killed_at_any_system_call_a_publisher_leaves_one_complete_index_and_the_next_goes_on") {
        return;
    }
    let begun = Begun::new();
    let points: Vec<_> = Publication::ALL.iter().flat_map(|one| begun.points(*one)).collect();
    let killed = AtomicU64::new(0);
    in_parallel(&points, |(publication, call, number)| {
        killed.fetch_add(u64::from(begun.kill(*publication, call, *number)), Relaxed);
    });
    let killed = killed.into_inner();
    assert!(killed > 15, "only {killed} were killed");
    figures("depots_killed", &[("publishers killed at a system call", killed), ("incomplete indexes", 0)]);
}

/// The step of a publication that a line of a trace of [`DURABLE`] calls performs.
fn step_of(line: &str, depot: &Path) -> Option<&'static str> {
    let is_of = |path: PathBuf| line.contains(&format!("<{}>", path.display()));
    if line.contains(" syncfs(") {
        return Some("syncfs");
    }
    if line.contains(" fsync(") || line.contains(" fdatasync(") {
        let places = [(depot.to_owned(), "sync the top"), (depot.join("index"), "sync the copies")];
        let place = places.into_iter().find(|(path, _)| is_of(path.clone()));
        return Some(place.map_or("sync a file", |(_, step)| step));
    }
    let name = line.rsplit('"').nth(1)?;
    match name.len() {
        64 => Some("name an object"),
        69 => Some("name the copy"),
        72 => Some("name the signature"),
        _ => (name == "index.json").then_some("name the index"),
    }
}

/// The calls that give names and make them durable.
const DURABLE: [&str; 5] = ["fdatasync", "fsync", "renameat", "renameat2", "syncfs"];

#[test]
fn the_index_gets_its_name_after_all_that_it_names_is_durable() {
    if !has_strace("the_index_gets_its_name_after_all_that_it_names_is_durable") {
        return;
    }
    let begun = Begun::new();
    let (depot, words) = begun.scene(Publication::Next, "ordered");
    let trace = trace_of_program(&words, &DURABLE, &begun.stage.beside(""));
    let mut steps: Vec<&str> = trace.lines().filter_map(|line| step_of(line, &depot)).collect();
    steps.dedup();
    assert_eq!(
        steps,
        [
            "syncfs",
            "name an object",
            "syncfs",
            "sync a file",
            "name the copy",
            "sync a file",
            "name the signature",
            "sync the copies",
            "sync a file",
            "name the index",
            "sync the top",
        ],
        "{trace}"
    );
}
