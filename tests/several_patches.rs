//! Several patches of one command: one run for those without scripts, and everything as if each had been a command of
//! its own: the tree, `contents`, every record, and each undo archive byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use crate::delivery::{Patch, archive};
use crate::packages::{DELIVERED, Package};
use crate::reliability::sample_or_whole;
use crate::scenario::Scenario;
use crate::whole_contents::faults_of_contents;

/// Two roots that are the same, for the same patches: one after another in the first, by one command in the second.
struct Twins {
    single: Scenario,
    together: Scenario,
}

impl Twins {
    fn of(packages: &[Package]) -> Self {
        Self::if_possible(packages).unwrap()
    }

    /// Returns `None` if the packages cannot be installed.
    fn if_possible(packages: &[Package]) -> Option<Self> {
        let single = Scenario::new();
        for package in packages {
            let written = package.write(&single.beside("spool"));
            let name = written.file_name().unwrap().to_str().unwrap();
            let run = single.run(&format!("pkgadd -n -R @ROOT@ -d spool {name}"));
            if run.code != 0 {
                return None;
            }
        }
        Some(Self::copied(single))
    }

    /// Copies a prepared root for the second command.
    fn copied(single: Scenario) -> Self {
        let together = Scenario::new();
        fs::remove_dir_all(together.root()).unwrap();
        let copied = Command::new("cp").arg("-a").arg(single.root()).arg(together.root()).status();
        assert!(copied.unwrap().success());
        Self { single, together }
    }

    /// Does something to both roots.
    fn both(&self, what: impl Fn(&Scenario)) {
        what(&self.single);
        what(&self.together);
    }

    /// Applies the patches both ways. Returns the exit codes of the single commands, and that of the one command.
    /// `suffix` is the form in which the patches are delivered.
    fn apply(&self, options: &str, patches: &[Patch], suffix: &str) -> (Vec<i32>, i32) {
        let names = |stage: &Scenario| -> Vec<String> {
            let name = |patch: &Patch| {
                let at = patch.directory(stage);
                let at = if suffix.is_empty() { at } else { archive(&at, suffix) };
                at.to_str().unwrap().to_owned()
            };
            patches.iter().map(name).collect()
        };
        let line = |names: &str| format!("add {options} -R @ROOT@ {names}");
        let codes = names(&self.single).iter().map(|name| self.single.run(&line(name)).code).collect();
        (codes, self.together.run(&line(&names(&self.together).join(" "))).code)
    }

    #[track_caller]
    fn are_the_same(&self) {
        self.compare(true);
    }

    /// The same after a backout, which dates records by the clock of the machine.
    #[track_caller]
    fn are_the_same_again(&self) {
        self.compare(false);
    }

    #[track_caller]
    fn compare(&self, times: bool) {
        let (single, together) = (&self.single, &self.together);
        let differences = single.tree().difference(&together.tree());
        assert!(differences.is_empty(), "{differences}");
        let (one, other) = (database(single, times), database(together, times));
        // Digests come last: a difference in an archive says more.
        let is_digest = |name: &&String| name.ends_with("/undo.b3");
        let (digests, texts): (Vec<_>, Vec<_>) = one.keys().chain(other.keys()).partition(is_digest);
        for name in texts.into_iter().chain(digests) {
            assert_eq!(shown(one.get(name)), shown(other.get(name)), "{name}");
        }
    }

    /// Runs with patches so far, in both roots.
    fn runs(&self) -> (usize, usize) {
        let runs = |stage: &Scenario| {
            let history = fs::read_to_string(stage.at("/var/sadm/patchadm/history")).unwrap();
            let runs = history.lines().filter(|line| line.contains("\"command\":\"patchadd\""));
            runs.map(|line| line.split('"').nth(3).unwrap()).collect::<BTreeSet<_>>().len()
        };
        (runs(&self.single), runs(&self.together))
    }
}

/// The records of a root by path, without the names of runs: content, mode, and the time of those that are saved in
/// undo archives.
fn database(stage: &Scenario, times: bool) -> BTreeMap<String, Vec<u8>> {
    let top = stage.at("/var/sadm");
    let (mut found, mut open) = (BTreeMap::new(), vec![top.clone()]);
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
            if name == "patchadm" || name == "install/.lockfile" {
                continue;
            }
            let seen = fs::symlink_metadata(&path).unwrap();
            if seen.is_dir() {
                found.insert(name, format!("directory {:o}", seen.mode()).into_bytes());
                open.push(path);
                continue;
            }
            let saved = name.starts_with("pkg/") && (!name.contains("/save/") || name.contains("/pspool/"));
            let time = if saved && times { seen.mtime() } else { 0 };
            let mut bytes = format!("{:o} {time} ", seen.mode()).into_bytes();
            bytes.extend(without_run(stage, &path, fs::read(&path).unwrap()));
            found.insert(name, bytes);
        }
    }
    found
}

fn without_run(stage: &Scenario, path: &Path, bytes: Vec<u8>) -> Vec<u8> {
    let text = || String::from_utf8(bytes.clone()).unwrap().replace(stage.root().to_str().unwrap(), "@ROOT@");
    match path.file_name().and_then(|name| name.to_str()) {
        Some("log") => {
            let lines: Vec<String> =
                text().lines().filter(|line| !line.starts_with("# run ")).map(str::to_owned).collect();
            lines.join("\n").into_bytes()
        }
        _ if path.to_string_lossy().contains("/patchadm/ledger/") => {
            let lines: Vec<String> =
                text().lines().map(|line| line.split_once(',').unwrap().1.to_owned()).collect();
            lines.join("\n").into_bytes()
        }
        Some("undo.b3") => text().rsplit_once("  ").unwrap().0.as_bytes().to_vec(),
        _ => bytes,
    }
}

/// The bytes as text, so that a difference is readable; compressed data is followed by its plain text.
fn shown(bytes: Option<&Vec<u8>>) -> String {
    let Some(bytes) = bytes else { return "not there".to_owned() };
    let mut plain = Vec::new();
    if let Some(begin) = bytes.windows(2).position(|pair| pair == [0x1f, 0x8b]) {
        // Damaged data is shown as far as it can be decompressed.
        let _ = flate2::read::MultiGzDecoder::new(&bytes[begin..]).read_to_end(&mut plain);
    }
    format!("{}\n{}", bytes.escape_ascii(), String::from_utf8_lossy(&plain).replace('\0', ""))
}

fn base() -> Package {
    Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "httpd 1\n".repeat(500))
        .file("bin/tool", 0o755, "tool 1\n")
        .file("lib/old.so", 0o644, "old 1\n")
        .directory("empty")
        .symlink("current", "one")
        .content('e', "etc/web.conf", 0o644, "root root", DELIVERED, "conf 1\n")
}

/// A patch with entries for many paths.
fn patch(id: &str, number: u32) -> Patch {
    let package = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, format!("httpd {id}\n").repeat(700))
        .file(&format!("bin/only-{number}"), 0o755, format!("only {number}\n"))
        .content('e', "etc/web.conf", 0o644, "root root", DELIVERED, format!("conf {id}\n"));
    Patch::of(id, package)
}

#[test]
fn patches_over_the_same_files_are_one_run_and_each_has_the_archive_that_it_would_have_alone() {
    let twins = Twins::of(&[base()]);
    let patches = [patch("100-01", 1), patch("200-01", 2), patch("300-01", 3)];
    assert_eq!(twins.apply("", &patches, ""), (vec![0, 0, 0], 0));
    twins.are_the_same();
    assert_eq!(twins.runs(), (3, 1));
    for id in ["300-01", "200-01", "100-01"] {
        twins.both(|stage| drop(stage.run(&format!("remove -R @ROOT@ {id}")).ok()));
        twins.are_the_same_again();
    }
}

#[test]
fn what_comes_goes_and_turns_within_one_run_is_saved_as_it_was_in_between() {
    let twins = Twins::of(&[base()]);
    let before = twins.together.tree();
    let deletes = |id: &str, paths: &[&str]| Patch::of(id, Package::new("ACMEweb").deletes(paths));
    let patches = [
        Patch::of(
            "100-01",
            Package::new("ACMEweb").file("new/deep/file", 0o600, "first\n").symlink("current", "two"),
        ),
        deletes("200-01", &["bin/tool", "lib/old.so"]),
        Patch::of(
            "300-01",
            Package::new("ACMEweb")
                .file("bin/tool", 0o700, "back\n")
                .line("new", "d none new 0750 root root"),
        ),
        deletes("400-01", &["new/deep/file"]),
        Patch::of("500-01", Package::new("ACMEweb").symlink("bin/tool", "httpd").symlink("current", "three")),
    ];
    assert_eq!(twins.apply("", &patches, ""), (vec![0; 5], 0));
    twins.are_the_same();
    assert_eq!(twins.runs(), (5, 1));
    for id in ["500-01", "400-01", "300-01", "200-01", "100-01"] {
        twins.both(|stage| drop(stage.run(&format!("remove -R @ROOT@ {id}")).ok()));
        twins.are_the_same_again();
    }
    assert_eq!(twins.together.tree(), before);
}

#[test]
fn a_patch_may_obsolete_what_is_not_there_and_require_another_of_its_run_in_any_form_of_delivery_and_of_undo_data()
 {
    for (options, suffix) in
        [("", ".tar.gz"), ("--undo-format Z", ".zip"), ("--undo-format none", ".ds"), ("--no-undo", "")]
    {
        let twins = Twins::of(&[base()]);
        let patches = [
            patch("100-01", 1),
            patch("200-01", 2).says("SUNW_REQUIRES", "100-01"),
            patch("300-01", 3).says("SUNW_OBSOLETES", "050-01 051-01"),
        ];
        assert_eq!(twins.apply(options, &patches, suffix), (vec![0, 0, 0], 0), "{options} {suffix}");
        twins.are_the_same();
        assert_eq!(twins.runs(), (3, 1), "{options} {suffix}");
    }
}

#[test]
fn archives_that_are_kept_elsewhere_are_those_of_single_runs() {
    let twins = Twins::of(&[base()]);
    twins.both(|stage| fs::create_dir(stage.beside("undo")).unwrap());
    let patches = [patch("100-01", 1), patch("200-01", 2)];
    for (stage, each) in [(&twins.single, true), (&twins.together, false)] {
        let names: Vec<String> =
            patches.iter().map(|patch| patch.directory(stage).to_str().unwrap().to_owned()).collect();
        let commands = if each { names } else { vec![names.join(" ")] };
        for names in commands {
            let undo = stage.beside("undo");
            stage.run(&format!("patchadd -R @ROOT@ -B {} {names}", undo.display())).ok();
        }
    }
    for id in ["100-01", "200-01"] {
        let read =
            |stage: &Scenario| fs::read(stage.beside("undo").join(id).join("ACMEweb/undo.gz")).unwrap();
        assert!(read(&twins.single) == read(&twins.together), "{id}");
    }
    let state = fs::read_to_string(twins.together.at("/var/sadm/pkg/ACMEweb/save/100-01/remote")).unwrap();
    assert!(state.contains("FIND_AT"), "{state}");
}

#[test]
fn an_edited_file_that_is_kept_is_what_every_patch_of_the_run_finds() {
    for kept in ["keep", "replace"] {
        let twins = Twins::of(&[base()]);
        twins.both(|stage| {
            stage.file("/opt/ACMEweb/etc/web.conf", "my own\n");
            stage.file("/opt/ACMEweb/bin/httpd", "mine, too\n");
        });
        let patches = [patch("100-01", 1), patch("200-01", 2), patch("300-01", 3)];
        assert_eq!(twins.apply(&format!("--edited {kept}"), &patches, ""), (vec![0, 0, 0], 0), "{kept}");
        twins.are_the_same();
    }
}

#[test]
fn a_refused_patch_is_left_out_and_so_is_one_whose_source_is_not_what_it_says() {
    let twins = Twins::of(&[base()]);
    let patches = [
        patch("100-01", 1),
        patch("200-01", 2).says("SUNW_REQUIRES", "999-01"),
        patch("300-01", 3),
        patch("400-01", 4),
        patch("100-01", 1),
    ];
    twins.both(|stage| drop(patches[2].directory(stage)));
    let stage = &twins.together;
    let names: Vec<String> =
        patches.iter().map(|patch| patch.directory(stage).to_str().unwrap().to_owned()).collect();
    fs::write(stage.beside("delivered/300-01/ACMEweb/reloc/bin/only-3"), "only X\n").unwrap();
    let told = stage.run(&format!("patchadd -R @ROOT@ {}", names.join(" ")));
    assert_ne!(told.code, 0);
    assert!(told.stdout.contains("Patch 100-01 has been successfully installed."), "{}", told.stdout);
    assert!(told.stdout.contains("Patch 400-01 has been successfully installed."), "{}", told.stdout);
    assert!(told.stderr.contains("999-01"), "{}", told.stderr);
    assert!(told.stderr.contains("only-3"), "{}", told.stderr);
    let text = fs::read_to_string(stage.at("/opt/ACMEweb/bin/httpd")).unwrap();
    assert!(text.starts_with("httpd 400-01"));
    assert!(!stage.at("/opt/ACMEweb/bin/only-3").exists());
    let params = stage.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok();
    assert_eq!(params, "100-01 400-01\n");
}

#[test]
fn each_patch_has_its_own_log_and_its_own_line_of_history_with_the_run_that_they_share() {
    let twins = Twins::of(&[base()]);
    let patches = [patch("100-01", 1), patch("200-01", 2)];
    assert_eq!(twins.apply("", &patches, ""), (vec![0, 0], 0));
    let log = fs::read_to_string(twins.together.at("/var/sadm/patch/200-01/log")).unwrap();
    assert!(log.starts_with("# run ") && log.contains("/opt/ACMEweb/bin/only-2\n"), "{log}");
    assert!(!log.contains("only-1"), "{log}");
    let history = fs::read_to_string(twins.together.at("/var/sadm/patchadm/history")).unwrap();
    let lines: Vec<&str> = history.lines().rev().take(2).collect();
    assert!(lines[0].contains("\"patches\":[\"200-01\"]") && lines[1].contains("\"patches\":[\"100-01\"]"));
    assert_eq!(twins.runs(), (2, 1));
}

#[test]
fn a_patch_with_scripts_of_its_own_is_a_run_of_its_own() {
    let twins = Twins::of(&[base()]);
    let scripted = Patch::of(
        "300-01",
        Package::new("ACMEweb").file("bin/httpd", 0o755, "httpd 3\n").information("postinstall", "exit 0\n"),
    );
    let patches = [patch("100-01", 1), patch("200-01", 2), scripted, patch("400-01", 4), patch("500-01", 5)];
    let (codes, code) = twins.apply("", &patches, "");
    assert_eq!((codes, code), (vec![0; 5], 0));
    twins.are_the_same();
    assert_eq!(twins.runs(), (5, 3));
}

#[test]
fn two_packages_of_several_patches_are_as_single_runs_leave_them() {
    let other = Package::new("ACMEshr").file("lib/shared.so", 0o644, "shared 1\n");
    let twins = Twins::of(&[base(), other]);
    let both = |id: &str, number: u32| {
        let shared = Package::new("ACMEshr").file("lib/shared.so", 0o644, format!("shared {id}\n"));
        patch(id, number).package(shared)
    };
    let patches = [both("100-01", 1), patch("200-01", 2), both("300-01", 3)];
    assert_eq!(twins.apply("", &patches, ""), (vec![0, 0, 0], 0));
    twins.are_the_same();
    assert_eq!(twins.runs(), (3, 1));
}

const PATHS: [&str; 8] = ["a", "b", "d", "d/x", "d/y", "d/sub", "d/sub/z", "e"];

/// The entry of a package for a path.
#[derive(Clone, Debug)]
enum Said {
    Nothing,
    File(u8),
    Editable(u8),
    Directory(bool),
    Symlink(u8),
    Link(usize),
    Pipe,
    Deleted,
}

/// An entry for a path that is usually a directory, or usually is none.
fn said(directory: bool) -> impl Strategy<Value = Said> {
    let (files, directories) = if directory { (1, 8) } else { (12, 1) };
    prop_oneof![
        9 => Just(Said::Nothing),
        files => (0u8..3).prop_map(Said::File),
        1 => (0u8..3).prop_map(Said::Editable),
        directories => any::<bool>().prop_map(Said::Directory),
        1 => (0u8..2).prop_map(Said::Symlink),
        1 => (0usize..PATHS.len()).prop_map(Said::Link),
        1 => Just(Said::Pipe),
        3 => Just(Said::Deleted),
    ]
}

/// The entries of a package for all paths: nothing is delivered below a path that is no directory.
fn all() -> impl Strategy<Value = Vec<Said>> {
    let each: Vec<_> = PATHS.iter().map(|at| said(matches!(*at, "d" | "d/sub")).boxed()).collect();
    each.prop_map(|mut all| {
        for at in 0..PATHS.len() {
            let is_above = |(above, _): &(&&str, &Said)| PATHS[at].starts_with(&format!("{above}/"));
            let mut above = PATHS.iter().zip(&all).filter(is_above);
            let holds = above.all(|(_, said)| matches!(said, Said::Nothing | Said::Directory(_)));
            if !holds && !matches!(all[at], Said::Nothing) {
                all[at] = Said::Deleted;
            }
        }
        all
    })
}

fn saying(all: &[Said]) -> Package {
    let mut package = Package::new("ACMEweb");
    let mut deleted = Vec::new();
    for (at, said) in PATHS.iter().zip(all) {
        let content = |letter, text: String| (letter, text);
        let file = match said {
            Said::File(number) => Some(content('f', format!("content {number}\n"))),
            Said::Editable(number) => Some(content('e', format!("setting {number}\n"))),
            _ => None,
        };
        package = match said {
            Said::Nothing => package,
            Said::File(_) | Said::Editable(_) => {
                let (letter, text) = file.unwrap();
                package.content(letter, at, 0o644, "root sys", DELIVERED, text)
            }
            Said::Directory(narrow) => {
                package.line(at, &format!("d none {at} {} root sys", if *narrow { "0700" } else { "0755" }))
            }
            Said::Symlink(to) => package.symlink(at, &format!("target{to}")),
            Said::Link(to) => package.link(at, &format!("/opt/ACMEweb/{}", PATHS[*to])),
            Said::Pipe => package.line(at, &format!("p none {at} 0600 root sys")),
            Said::Deleted => {
                deleted.push(*at);
                package
            }
        };
    }
    if deleted.is_empty() { package } else { package.deletes(&deleted) }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: sample_or_whole(12, 600),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_patches_together_are_what_they_are_one_by_one(
        base in all(),
        patches in prop::collection::vec((all(), any::<bool>()), 2..6),
        edited in prop::option::of(0usize..PATHS.len()),
    ) {
        let base = saying(&base).file("always", 0o644, "there\n");
        let Some(twins) = Twins::if_possible(&[base]) else { return Ok(()) };
        if let Some(at) = edited {
            let at = format!("/opt/ACMEweb/{}", PATHS[at]);
            twins.both(|stage| if stage.at(&at).is_file() { stage.file(&at, "edited\n"); });
        }
        let patches: Vec<Patch> = patches.iter().enumerate().map(|(place, (said, obsoletes))| {
            let patch = Patch::of(&format!("{}00-01", place + 1), saying(said));
            if *obsoletes { patch.says("SUNW_OBSOLETES", "050-01") } else { patch }
        }).collect();
        twins.apply("--edited replace", &patches, "");
        twins.are_the_same();
        let params = twins.single.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").stdout;
        for id in params.split_whitespace().rev() {
            twins.both(|stage| {
                stage.run(&format!("remove -R @ROOT@ {id}"));
                // Objects that patches deleted come back with their lines; edited ones were there all the time.
                assert_eq!(faults_of_contents(&stage.root(), &BTreeSet::new()), Vec::<String>::new());
            });
            twins.are_the_same_again();
        }
    }
}

#[test]
fn a_name_of_a_name_of_a_file_is_saved_as_one_by_one() {
    use Said::{Directory, File, Link, Nothing};
    let twins = Twins::of(&[Package::new("ACMEweb").file("always", 0o644, "there\n")]);
    let said = [
        [Link(1), Link(3), Nothing, File(0), Nothing, Nothing, Nothing, Nothing],
        [File(0), Nothing, Directory(false), Nothing, Nothing, Nothing, Nothing, Nothing],
        [Nothing, Nothing, Nothing, File(0), Nothing, Nothing, Nothing, Nothing],
    ];
    let numbered = said.iter().enumerate();
    let patches = numbered.map(|(place, said)| Patch::of(&format!("{}00-01", place + 1), saying(said)));
    twins.apply("", &patches.collect::<Vec<_>>(), "");
    twins.are_the_same();
}
