//! `contents` after runs, on the root and in a stage of it: every owner is installed, none stands twice, no path has two
//! lines, and the object of every line is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use patchadm_svr4::package::{ContentsLine, ObjectPath};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::random::Random;
use crate::reliability::sample_or_whole;
use crate::scenario::{ADMIN, Scenario};

/// Returns what is wrong with the `contents` of a root, except for objects that were missing before.
pub(crate) fn faults_of_contents(root: &Path, missing: &BTreeSet<ObjectPath>) -> Vec<String> {
    let (mut faults, mut paths) = (Vec::new(), BTreeSet::new());
    for line in lines_of(root) {
        let text = String::from_utf8_lossy(&line.write()).into_owned();
        if !paths.insert(line.path.clone()) {
            faults.push(format!("a second line of its path: {text}"));
        }
        let owners: Vec<String> = line.owners.iter().map(|owner| owner.package.to_string()).collect();
        if owners.is_empty() || owners.iter().collect::<BTreeSet<_>>().len() < owners.len() {
            faults.push(format!("nobody owns it, or one twice: {text}"));
        }
        for owner in &owners {
            if !root.join(format!("var/sadm/pkg/{owner}/pkginfo")).exists() {
                faults.push(format!("{owner} is not installed: {text}"));
            }
        }
        if is_missing(root, &line) && !missing.contains(&line.path) {
            faults.push(format!("its object does not exist: {text}"));
        }
    }
    faults
}

/// Returns the paths that have a line and no object.
pub(crate) fn missing_objects(root: &Path) -> BTreeSet<ObjectPath> {
    lines_of(root).into_iter().filter(|line| is_missing(root, line)).map(|line| line.path).collect()
}

fn lines_of(root: &Path) -> Vec<ContentsLine> {
    let text = fs::read_to_string(root.join("var/sadm/install/contents")).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| ContentsLine::parse(line.as_bytes()).unwrap()).collect()
}

fn is_missing(root: &Path, line: &ContentsLine) -> bool {
    fs::symlink_metadata(root.join(line.path.to_string().trim_start_matches('/'))).is_err()
}

/// The packages of the story, and the files below `/opt/acme` that they and their patches share.
const PACKAGES: [&str; 3] = ["ACMEa", "ACMEb", "ACMEc"];
const FILES: [&str; 4] = ["bin/tool", "lib/one", "lib/two", "share/doc"];

fn package(name: &str) -> Package {
    Package::new(name).param("BASEDIR", "/opt/acme")
}

/// A story of packages and patches that have files in common.
struct Story {
    live: Scenario,
    /// The stage `web` of the root, in a story with one.
    stage: Option<PathBuf>,
    random: Random,
    /// The files that each package delivers, which stay the same.
    files: Vec<Vec<&'static str>>,
    patches: u32,
    told: Vec<String>,
}

impl Story {
    fn begin(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut drawn = || FILES.into_iter().filter(|_| random.once_in(2)).collect::<Vec<_>>();
        let files = PACKAGES.map(|_| drawn()).to_vec();
        let told = vec![format!("seed {seed:#x}")];
        let mut story = Self { live: Scenario::new(), stage: None, random, files, patches: 0, told };
        fs::write(story.live.beside("admin"), ADMIN).unwrap();
        for name in PACKAGES {
            let package = story.delivered(name);
            package.write(&story.live.beside("spool"));
        }
        story.step_of(0);
        story
    }

    /// The same with a stage.
    fn begin_staged(seed: u64) -> Self {
        let mut story = Self::begin(seed);
        fs::create_dir_all(story.live.at("/opt/acme")).unwrap();
        story.run("stage new web -R @ROOT@ --records --path opt/acme");
        story.stage = Some(story.live.beside("web"));
        story
    }

    fn delivered(&self, name: &str) -> Package {
        let place = PACKAGES.iter().position(|other| *other == name).unwrap();
        let own = package(name).file(&format!("own/{name}"), 0o644, format!("{name}\n"));
        // Packages that share a file deliver the same content.
        self.files[place].iter().fold(own, |package, file| package.file(file, 0o644, format!("{file}\n")))
    }

    /// Draws the root of the next step: the live one, or the stage if there is one.
    fn draw_root(&mut self) -> PathBuf {
        match &self.stage {
            Some(stage) if self.random.once_in(2) => stage.clone(),
            _ => self.live.root(),
        }
    }

    fn is_installed(root: &Path, name: &str) -> bool {
        root.join(format!("var/sadm/pkg/{name}/pkginfo")).exists()
    }

    fn run(&mut self, line: &str) {
        let run = self.live.run(line);
        self.told.push(format!("{line}: {} {}{}", run.code, run.stdout, run.stderr));
        // Refusals are part of the story; damage is not.
        assert!(![28, 33, 64, 65, 70].contains(&run.code), "{}", self.told.join("\n"));
        for root in self.stage.iter().chain([&self.live.root()]) {
            let faults = faults_of_contents(root, &BTreeSet::new());
            assert!(faults.is_empty(), "{}: {faults:#?}\n{}", root.display(), self.told.join("\n"));
        }
    }

    fn add_package(&mut self, root: &Path) {
        let name = *self.random.one(&PACKAGES);
        let spool = self.live.beside("spool").display().to_string();
        self.run(&format!("pkgadd -n -a admin -R {} -d {spool} {name}", root.display()));
    }

    fn add_patch(&mut self, root: &Path) {
        let name = *self.random.one(&PACKAGES);
        if !Self::is_installed(root, name) {
            return;
        }
        self.patches += 1;
        let id = format!("{}-01", 100 + self.patches);
        let mut patched = package(name).file(&format!("own/of-{id}"), 0o644, format!("{id}\n"));
        for file in FILES {
            if self.random.once_in(2) {
                let text =
                    if self.random.once_in(2) { format!("{file}\n") } else { format!("{file} of {id}\n") };
                patched = patched.file(file, 0o644, text);
            }
        }
        let at = Patch::of(&id, patched).directory(&self.live);
        self.run(&format!("add --edited replace -R {} {}", root.display(), at.display()));
    }

    fn applied(&self, root: &Path) -> Vec<String> {
        let list =
            |name: &&str| self.live.run(&format!("pkgparam -R {} {name} PATCHLIST", root.display())).stdout;
        let lists: Vec<String> = PACKAGES.iter().chain(&["LOCLweb"]).map(list).collect();
        lists.iter().flat_map(|list| list.split_whitespace()).map(str::to_owned).collect()
    }

    fn step_of(&mut self, kind: usize) {
        let root = self.draw_root();
        match kind {
            0..=2 => self.add_package(&root),
            3..=5 => self.add_patch(&root),
            6 | 7 => {
                let applied = self.applied(&root);
                if !applied.is_empty() {
                    let id = self.random.one(&applied).clone();
                    self.run(&format!("remove -R {} {id}", root.display()));
                }
            }
            8 => {
                let name = *self.random.one(&PACKAGES);
                self.run(&format!("pkgrm -n -a admin -R {} {name}", root.display()));
            }
            9 => self.run(&format!("undo -R {}", root.display())),
            10..=12 => {
                let policy = *self.random.one(&["keep", "replace"]);
                let records = *self.random.one(&["", "", " --tree-only"]);
                self.run(&format!(
                    "stage promote web -R @ROOT@ --max-delete 100% --edited {policy}{records}"
                ));
            }
            _ => {
                let policy = *self.random.one(&["keep", "replace"]);
                self.run(&format!("stage refresh web -R @ROOT@ --edited {policy}"));
            }
        }
    }
}

in_parts!(
    whatever_packages_and_patches_share_the_owners_of_every_line_are_installed_and_its_object_is_there,
    share,
    2
);

fn share(part: usize, parts: usize) {
    for seed in (part as u64..sample_or_whole(10, 2000)).step_by(parts) {
        let mut story = Story::begin(0x0e18_0000 + seed);
        for _ in 0..14 {
            let kind = story.random.below(10);
            story.step_of(kind);
        }
        // In the end everything can go, and nothing is left.
        let root = story.live.root();
        for id in story.applied(&root).into_iter().rev() {
            story.run(&format!("remove -R @ROOT@ {id}"));
        }
        for name in PACKAGES {
            if Story::is_installed(&root, name) {
                story.run(&format!("pkgrm -n -a admin -R @ROOT@ {name}"));
            }
        }
    }
}

#[test]
fn the_same_holds_on_a_root_and_its_stage_whatever_is_done_in_both_and_promoted() {
    let mut promoted = 0;
    for seed in 0..sample_or_whole(8, 1000) {
        let mut story = Story::begin_staged(0x57a6_0000 + seed);
        for _ in 0..18 {
            let kind = story.random.below(15);
            story.step_of(kind);
        }
        promoted += story
            .told
            .iter()
            .filter(|told| told.starts_with("stage promote") && told.contains(": 0 web-"))
            .count();
        let repaired = story.live.run("pkgchk -f -n -R @ROOT@");
        assert!(repaired.code < 2, "{}{}\n{}", repaired.stdout, repaired.stderr, story.told.join("\n"));
    }
    assert!(promoted > 0, "no story promoted anything");
}
