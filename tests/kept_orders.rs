//! Three updates of a library and its program, and a program that somebody builds between them, backed out in every
//! allowed order. Each state is compared with a model that the test computes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::delivery::Patch;
use crate::elf_sample::Sample;
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::Scenario;

/// The library with this number.
fn library(number: usize) -> Vec<u8> {
    Sample { soname: Some(&soname(number)), ..Sample::default() }.bytes()
}

fn soname(number: usize) -> String {
    format!("libx.so.{number}")
}

fn path(number: usize) -> String {
    format!("usr/lib/{}", soname(number))
}

/// A program that needs the library with this number.
fn program(number: usize) -> Vec<u8> {
    let needed = [&soname(number)[..]];
    Sample { needed: &needed, interpreter: Some("/lib/ld.so"), ..Sample::default() }.bytes()
}

/// The package of the library, with the library of this number.
fn with_library(number: usize) -> Package {
    Package::new("ACMEx").param("BASEDIR", "/").directory("usr").directory("usr/lib").file(
        &path(number),
        0o755,
        library(number),
    )
}

/// The package of the program, made for the library with this number.
fn with_program(number: usize) -> Package {
    Package::new("ACMEp").param("BASEDIR", "/").file("usr/bin/p", 0o755, program(number))
}

/// The three patches, by their numbers from 1.
fn patch(number: usize) -> Patch {
    let id = format!("{number}00-01");
    match number {
        1 => Patch::of(&id, with_library(2).deletes(&[&path(1)])),
        2 => Patch::of(&id, with_library(3).deletes(&[&path(2)])),
        _ => Patch::of(&id, with_program(3)),
    }
}

/// The expected state.
#[derive(Clone, Default)]
struct Model {
    /// The patches that are in force.
    applied: BTreeSet<usize>,
    /// True if somebody has built a program for the second library.
    has_own: bool,
    /// The packages that keep libraries, by the number of the library.
    kept: BTreeMap<usize, String>,
}

impl Model {
    /// The libraries that the package has: each patch takes one away and brings the next.
    fn delivered(&self) -> BTreeSet<usize> {
        let [one, two] = [1, 2].map(|number| self.applied.contains(&number));
        [(1, !one), (2, one && !two), (3, two)]
            .into_iter()
            .filter(|(_, is)| *is)
            .map(|(number, _)| number)
            .collect()
    }

    /// The libraries that are needed, with their consumers.
    fn needed(&self) -> BTreeMap<usize, &'static str> {
        let own = self.has_own.then_some((2, "/opt/q"));
        let program = (if self.applied.contains(&3) { 3 } else { 1 }, "/usr/bin/p");
        own.into_iter().chain([program]).collect()
    }

    /// Changes to these patches: a library that is needed but not delivered is kept, in the first package that was free
    /// before.
    fn go_to(&mut self, applied: BTreeSet<usize>) {
        let before: BTreeSet<String> = self.kept.values().cloned().collect();
        self.applied = applied;
        let (delivered, needed) = (self.delivered(), self.needed());
        self.kept.retain(|number, _| !delivered.contains(number) && needed.contains_key(number));
        for number in needed.into_keys().filter(|number| !delivered.contains(number)) {
            let names =
                (1..).map(|at| if at == 1 { "ACMEx-SO".to_owned() } else { format!("ACMEx-SO.{at}") });
            let mut free = names.filter(|name| !before.contains(name));
            self.kept.entry(number).or_insert_with(|| free.next().unwrap());
        }
    }

    #[track_caller]
    fn check(&self, stage: &Scenario, when: &str) {
        let mut files: BTreeMap<String, String> = self
            .kept
            .iter()
            .map(|(number, package)| (format!("/{}", path(*number)), package.clone()))
            .collect();
        files.extend(
            self.delivered().into_iter().map(|number| (format!("/{}", path(number)), "ACMEx".to_owned())),
        );
        let names = fs::read_dir(stage.at("/usr/lib")).unwrap();
        let found: BTreeSet<String> =
            names.map(|entry| format!("/usr/lib/{}", entry.unwrap().file_name().to_str().unwrap())).collect();
        assert_eq!(found, files.keys().cloned().collect(), "{when}");
        for number in 1..=3 {
            if let Ok(bytes) = fs::read(stage.at(&path(number))) {
                assert_eq!(bytes, library(number), "{when}: {number}");
            }
        }
        let expected = program(if self.applied.contains(&3) { 3 } else { 1 });
        assert_eq!(fs::read(stage.at("/usr/bin/p")).unwrap(), expected, "{when}");
        self.check_lines(stage, &files, when);
        self.check_packages(stage, when);
        assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "{when}");
    }

    /// Asserts the owners of files and directories.
    #[track_caller]
    fn check_lines(&self, stage: &Scenario, files: &BTreeMap<String, String>, when: &str) {
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (path, package) in files {
            expected.insert(path.clone(), BTreeSet::from([package.clone()]));
        }
        let all: BTreeSet<String> = self.kept.values().cloned().chain(["ACMEx".to_owned()]).collect();
        expected.extend(["/usr", "/usr/lib"].map(|path| (path.to_owned(), all.clone())));
        expected.extend(
            ["/usr/bin", "/usr/bin/p"].map(|path| (path.to_owned(), BTreeSet::from(["ACMEp".to_owned()]))),
        );
        let lines = stage.lines();
        let found = lines.iter().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let owners = if words[1] == "d" { 6 } else { 9 };
            (words[0].to_owned(), words[owners..].iter().map(|owner| (*owner).to_owned()).collect())
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "{when}");
    }

    /// Asserts which packages exist, and the consumers of the libraries that they keep.
    #[track_caller]
    fn check_packages(&self, stage: &Scenario, when: &str) {
        let names = fs::read_dir(stage.at("/var/sadm/pkg")).unwrap();
        let found: BTreeSet<String> =
            names.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
        let own = ["ACMEx", "ACMEp"].map(str::to_owned);
        assert_eq!(found, self.kept.values().cloned().chain(own).collect(), "{when}");
        for (number, package) in &self.kept {
            let text = |name: &str| stage.text(&format!("/var/sadm/pkg/{package}/install/{name}"));
            let who = self.needed()[number];
            assert_eq!(text("consumers"), format!("needed {who}\n"), "{when}: {package}");
            let dependents = if who == "/usr/bin/p" { "R ACMEp ACMEp for tests\n" } else { "" };
            assert_eq!(text("depend"), dependents, "{when}: {package}");
            let instance = stage.run(&format!("pkgparam -R @ROOT@ {package} PKGINST")).ok();
            assert_eq!(instance, format!("{package}\n"), "{when}");
        }
    }
}

/// Every order of three numbers.
fn orders() -> Vec<[usize; 3]> {
    let numbers = [1, 2, 3];
    let all = numbers.iter().flat_map(|a| numbers.iter().map(move |b| [*a, *b, 6 - a - b]));
    all.filter(|[a, b, _]| a != b).collect()
}

/// A root with the first library and its program, and a policy that keeps needed libraries.
fn first() -> Scenario {
    let stage = Scenario::with(&[with_library(1), with_program(1)]);
    stage.file("/etc/patchadm/policy", "shlibs=keep\n");
    stage
}

#[test]
fn three_updates_are_backed_out_in_every_order_that_is_allowed() {
    let mut allowed = Vec::new();
    for order in orders() {
        let stage = first();
        let before = Before::of(&stage);
        let mut model = Model::default();
        model.check(&stage, "first");
        for number in 1..=3 {
            stage.patchadd("", &patch(number)).ok();
            model.go_to((1..=number).collect());
            model.check(&stage, &format!("after {number}"));
            if number == 1 {
                stage.file("/opt/q", program(2));
                model.has_own = true;
            }
        }
        let ways = model.kept.iter().map(|(number, package)| format!("{number} {package}"));
        assert_eq!(ways.collect::<Vec<_>>(), ["2 ACMEx-SO.2"]);
        let inode = stage.at(&path(2)).metadata().unwrap().ino();
        let mut is_allowed = true;
        for (at, number) in order.iter().enumerate() {
            let everything = stage.everything();
            let run = stage.run(&format!("patchrm -R @ROOT@ {number}00-01"));
            let when = format!("{:?} of {order:?}", &order[..=at]);
            if run.code != 0 {
                assert_eq!(everything.difference(&stage.everything()), "", "{when}");
                is_allowed = false;
                break;
            }
            let left = model.applied.iter().copied().filter(|one| one != number).collect();
            model.go_to(left);
            model.check(&stage, &when);
            assert_eq!(stage.at(&path(2)).metadata().unwrap().ino(), inode, "{when}");
        }
        if !is_allowed {
            continue;
        }
        allowed.push(order);
        fs::remove_dir_all(stage.at("/opt")).unwrap();
        stage.run("libs prune -R @ROOT@").ok();
        before.assert_again(&stage, &format!("{order:?}, and the program of its own is gone"));
    }
    for order in [[3, 2, 1], [2, 3, 1]] {
        assert!(allowed.contains(&order), "{allowed:?}");
    }
}
