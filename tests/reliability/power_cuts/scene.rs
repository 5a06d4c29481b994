//! A root over file systems whose power can be cut, the commands that change it, and its expected states.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::disk::Disk;
use crate::delivery::Patch;
use crate::packages::Package;
use crate::records::{OWN, records};
use crate::reliability::is_whole;
use crate::reliability::picture::{strangers, without_run};
use crate::scenario::Scenario;
use crate::tree::Tree;

/// The directory below each file system that the other program of a trial writes to.
pub(super) const NOISE: &str = "noise";

/// The file systems of a root: its own, and perhaps another one at `/opt`.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) root: &'static str,
    pub(super) opt: Option<&'static str>,
    /// The form of undo data.
    pub(super) undo_format: &'static str,
}

impl Layout {
    /// Its name, such as `ext4+xfs, old files`.
    pub(super) fn name(self) -> String {
        let opt = self.opt.map(|opt| format!("+{opt}")).unwrap_or_default();
        let form = if self.undo_format == "files" { ", old files" } else { "" };
        format!("{}{opt}{form}", self.root)
    }
}

/// The directory of the undo archive of the second patch: outside the root, as far as the program knows.
pub(super) const ARCHIVES: &str = "opt/undo";

/// The contents of a root: the patch, the second one, which was applied over it with its undo archive elsewhere, the
/// second package, and the software of a stage that no package has.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Has {
    pub(super) patch: bool,
    pub(super) later: bool,
    pub(super) package: bool,
    pub(super) promoted: bool,
}

/// Something that is added or removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    Patch,
    Later,
    Package,
    Promotion,
}

impl Has {
    /// The contents after something was added or removed.
    pub(super) fn with(self, act: Act) -> Self {
        match act {
            Act::Patch => Self { patch: !self.patch, ..self },
            Act::Later => Self { later: !self.later, ..self },
            Act::Package => Self { package: !self.package, ..self },
            Act::Promotion => Self { promoted: !self.promoted, ..self },
        }
    }

    /// The command that performs the act; `promotion` is the id of the applied promotion.
    pub(super) fn command(self, act: Act, promotion: &str) -> String {
        let line = match (act, self) {
            (Act::Patch, Self { patch: false, .. }) => "patchadd -R @ROOT@ delivered/100-01",
            (Act::Patch, _) => "patchrm -R @ROOT@ 100-01",
            (Act::Later, Self { later: false, .. }) => {
                "patchadd -R @ROOT@ -B @ROOT@/opt/undo delivered/200-01"
            }
            (Act::Later, _) => "patchrm -R @ROOT@ 200-01",
            (Act::Package, Self { package: false, .. }) => "pkgadd -n -R @ROOT@ -d spool ACMEdoc",
            (Act::Package, _) => "pkgrm -n -R @ROOT@ ACMEdoc",
            (Act::Promotion, Self { promoted: false, .. }) => {
                "stage promote own -R @ROOT@ --max-delete 100% --allow-set-id --exchange usr/own"
            }
            (Act::Promotion, _) => return format!("remove -R @ROOT@ --exchange usr/own {promotion}"),
        };
        line.to_owned()
    }

    /// True if the act is possible here: the second patch is only ever applied over the first one, which then goes from
    /// under it, or after it.
    pub(super) fn can(self, act: Act) -> bool {
        match act {
            Act::Patch => self.patch || !self.later,
            Act::Later => self.patch || self.later,
            Act::Package | Act::Promotion => true,
        }
    }

    /// The patches that the package lists.
    pub(super) fn listed(self) -> &'static str {
        match (self.patch, self.later) {
            (false, false) => "",
            (true, false) => "100-01",
            (true, true) => "100-01 200-01",
            (false, true) => "200-01",
        }
    }
}

/// A path through all possible contents, and back.
const WALK: [Act; 16] = {
    use Act::{Later, Package, Patch, Promotion};
    [
        Patch, Later, Patch, Package, //
        Later, Patch, Later, Promotion, //
        Patch, Later, Patch, Package, //
        Later, Patch, Later, Promotion,
    ]
};

/// Everything that must change at once.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) software: Tree,
    records: BTreeMap<String, String>,
    /// The undo archives elsewhere.
    archives: Vec<String>,
    /// The old files that were kept.
    stored: Vec<String>,
}

impl State {
    fn of(root: &Path) -> Self {
        let mut records = records(root);
        // A hint whose content depends on the clock.
        records.retain(|path, _| !path.ends_with("/delivered"));
        for (path, record) in &mut records {
            let mut columns: Vec<&str> = record.split('\t').collect();
            if ["/log", "/remote", "/promotion"].iter().any(|name| path.ends_with(name))
                || path.contains("/undo")
            {
                // The text contains the name of the run, or inode numbers.
                columns.truncate(4);
            } else if columns.len() > 6 {
                // Every run writes its records at another time.
                columns.remove(6);
            }
            *record = columns.join("\t");
        }
        let records = records.iter().map(|(path, record)| (without_number(path), without_number(record)));
        let records = records.collect();
        Self { software: software(root), records, archives: archives(root), stored: stored(root) }
    }

    /// The differences from another state.
    pub(super) fn difference(&self, other: &Self) -> String {
        let records = |one: &Self, another: &Self| {
            let is_other = |(path, record): &(&String, &String)| another.records.get(*path) != Some(*record);
            one.records.iter().filter(is_other).map(|(path, _)| format!(" {path}")).collect::<String>()
        };
        let [gone, come] = [records(self, other), records(other, self)];
        format!(
            "{}records - {gone}\nrecords + {come}\narchives {:?} {:?}\nold files {:?} {:?}\n",
            self.software.difference(&other.software),
            self.archives,
            other.archives,
            self.stored,
            other.stored
        )
    }
}

/// Everything outside the package database and outside the directories of runs.
fn software(root: &Path) -> Tree {
    let noise = format!("opt/{NOISE}");
    let not_software =
        ["var/sadm", NOISE, &noise, ARCHIVES, ".patchadm", "opt/.patchadm", "lost+found", "opt/lost+found"];
    Tree::of(root, &not_software)
}

/// The undo archives elsewhere, without the names of runs. The name of an archive that no journal knows says that it is
/// incomplete.
fn archives(root: &Path) -> Vec<String> {
    let found = Tree::of(&root.join(ARCHIVES), &[]);
    let files = found.objects().iter().filter(|(_, columns)| columns[0] == "100000").map(|(path, _)| path);
    files.filter(|path| path.strip_suffix(".tmp").is_none()).map(|path| without_run(path)).collect()
}

/// The old files in undo directories: mode, size, digest.
fn stored(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for undo in ["var/sadm/patchadm/undo", "opt/.patchadm/undo"] {
        if !root.join(undo).exists() {
            continue;
        }
        let tree = Tree::of(&root.join(undo), &[]);
        let files = tree
            .objects()
            .iter()
            .filter(|(path, columns)| columns[0] == "100000" && !path.ends_with("identities"));
        found
            .extend(files.map(|(_, columns)| format!("{undo} {} {} {}", columns[1], columns[4], columns[5])));
    }
    found.sort();
    found
}

/// A root, its disks, and its state with each of its contents.
pub(super) struct Scene {
    pub(super) disks: Vec<Disk>,
    pub(super) stage: Scenario,
    expected: BTreeMap<Has, State>,
}

impl Scene {
    /// Makes the root with the first package on new file systems, and walks through its states.
    pub(super) fn new(layout: Layout) -> Self {
        // On a disk a sync takes time, so that a cut can hit it.
        let stage = if is_whole() { Scenario::on_disk() } else { Scenario::new() };
        stage.directory("/opt");
        let root = Disk::new(layout.root, &stage.beside("root.image"), &stage.root());
        // The files that the scenario made move onto the file system.
        let kept = stage.beside("kept");
        copy(&stage.root(), &kept);
        root.mount();
        copy(&kept, &stage.root());
        let mut disks = vec![root];
        if let Some(opt) = layout.opt {
            let opt = Disk::new(opt, &stage.beside("opt.image"), &stage.at("/opt"));
            opt.mount();
            // The inner one first: that is the order in which they are unmounted.
            disks.insert(0, opt);
        }
        stage.install(&package());
        patch().directory(&stage);
        later_patch().directory(&stage);
        fs::create_dir(stage.at(&format!("/{ARCHIVES}"))).unwrap();
        documents().write(&stage.beside("spool"));
        stage.file("/etc/patchadm/policy", format!("undo_format={}\n", layout.undo_format));
        build(&stage);
        let mut scene = Self { disks, stage, expected: BTreeMap::new() };
        // The first backout of a patch leaves its lines in `pkginfo`: only then does a state look the same each time.
        scene.walk();
        scene.walk();
        if is_whole() {
            let first = std::mem::take(&mut scene.expected);
            scene.walk();
            let differences = first.iter().map(|(has, state)| state.difference(&scene.expected[has]));
            assert!(first == scene.expected, "{}", differences.collect::<String>());
        }
        assert_eq!(scene.expected.len(), 16);
        scene
    }

    /// Goes through all states by undisturbed commands, and records the root in each.
    fn walk(&mut self) {
        let mut has = Has::default();
        for act in WALK {
            assert!(has.can(act));
            succeeds(&self.stage, &has.command(act, &self.promotion()));
            has = has.with(act);
            self.expected.insert(has, self.state());
        }
    }

    /// The id of the applied promotion; empty if there is none.
    pub(super) fn promotion(&self) -> String {
        self.stage.run("pkgparam -R @ROOT@ LOCLown PATCHLIST").stdout.trim().to_owned()
    }

    pub(super) fn expected(&self, has: Has) -> &State {
        &self.expected[&has]
    }

    pub(super) fn state(&self) -> State {
        State::of(&self.stage.root())
    }

    pub(super) fn software(&self) -> Tree {
        software(&self.stage.root())
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.stage.at("/var/sadm/patchadm/journal")
    }

    pub(super) fn unmount(&self) {
        self.disks.iter().for_each(Disk::unmount);
    }

    pub(super) fn mount(&self) {
        self.disks.iter().rev().for_each(Disk::mount);
    }

    /// Removes what the other program wrote.
    pub(super) fn sweep(&self) {
        for at in [NOISE.to_owned(), format!("opt/{NOISE}")] {
            let _ = fs::remove_dir_all(self.stage.at(&at));
        }
    }

    /// Stages and other things that no finished run leaves.
    pub(super) fn strays(&self) -> Vec<String> {
        let tree = Tree::of(&self.stage.root(), &["usr", NOISE]);
        let holder = ["opt/.patchadm", "opt/.patchadm/undo"];
        let has_stored = stored(&self.stage.root()).iter().any(|file| file.starts_with(holder[0]));
        let is_undo = |path: &str| {
            has_stored && (holder.contains(&path) || path.starts_with(&format!("{}/", holder[1])))
        };
        let is_stray = |path: &&String| {
            path.contains(".patchadm") && !is_undo(path)
                || path.contains(".edited-")
                || path.ends_with("/journal.new")
                || path.starts_with(&format!("{}/stage/", OWN[0]))
        };
        tree.objects().keys().filter(is_stray).cloned().chain(strangers(&self.stage.root())).collect()
    }
}

/// A text without the numbers of promotions, which all differ.
fn without_number(text: &str) -> String {
    let mut parts = text.split("own-");
    let mut without = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        without += "own-NN";
        without += part.trim_start_matches(|digit: char| digit.is_ascii_digit());
    }
    without
}

/// Software of no package on both sides of the border, and a stage of it in which all of it differs.
fn build(live: &Scenario) {
    let trees = ["usr/own", "opt/own"];
    let write = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let moment = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        fs::File::open(&path).unwrap().set_modified(moment).unwrap();
    };
    for tree in trees {
        for number in 0..FILES {
            write(live.at(&format!("/{tree}/kept/{number:02}")), &format!("kept {number}\n"));
            write(live.at(&format!("/{tree}/{number:02}")), &format!("live {number}\n").repeat(100));
        }
    }
    succeeds(live, "stage new own -R @ROOT@ --path usr/own --path opt/own");
    for tree in trees.map(|tree| live.beside("own").join(tree)) {
        for number in 0..FILES {
            let file = tree.join(format!("{number:02}"));
            match number % 4 {
                0 => fs::remove_file(file).unwrap(),
                1 => fs::set_permissions(file, fs::Permissions::from_mode(0o4711)).unwrap(),
                _ => write(file, &format!("staged {number}\n").repeat(number * number + 1)),
            }
            write(tree.join(format!("new/deep/{number}")), "new\n");
        }
    }
}

/// Runs a command that has to succeed, whatever it prints.
#[track_caller]
pub(super) fn succeeds(stage: &Scenario, line: &str) -> String {
    let run = stage.run(line);
    assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
    run.stdout + &run.stderr
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}

/// How many files each half of the package has.
const FILES: usize = 40;

/// Objects of a package or patch on both sides of the border between the file systems.
fn objects(package: Package, version: &str) -> Package {
    (0..FILES).fold(package, |package, number| {
        let text = format!("{version} of {number}\n").repeat(number * number + 1);
        package.file(&format!("usr/web/{number:02}"), 0o644, &text).file(
            &format!("opt/web/{number:02}"),
            0o755,
            &text,
        )
    })
}

fn package() -> Package {
    let package = objects(Package::new("ACMEweb").param("BASEDIR", "/"), "first");
    (0..FILES / 4)
        .fold(package, |package, number| {
            let text = format!("old {number}\n");
            package.file(&format!("usr/old/{number}"), 0o644, &text).file(
                &format!("opt/old/{number}"),
                0o600,
                &text,
            )
        })
        .symlink("usr/web/link", "00")
        .symlink("opt/web/link", "00")
        .file("usr/web/mode", 0o644, "the same\n")
        .file("opt/web/large", 0o644, "one ".repeat(1 << 18))
}

/// Replaces, adds and deletes on both sides.
fn patch() -> Patch {
    let package = objects(Package::new("ACMEweb").param("BASEDIR", "/"), "second");
    let package = (0..FILES / 4)
        .fold(package, |package, number| {
            let text = format!("new {number}\n");
            package.file(&format!("usr/new/{number}"), 0o644, &text).file(
                &format!("opt/new/{number}"),
                0o600,
                &text,
            )
        })
        .symlink("usr/web/link", "01")
        .symlink("opt/web/link", "01")
        .file("usr/web/mode", 0o4755, "the same\n")
        .file("opt/web/large", 0o644, "two ".repeat(1 << 18));
    let deleted: Vec<String> = (0..FILES / 4)
        .flat_map(|number| [format!("usr/old/{number}"), format!("opt/old/{number}")])
        .collect();
    let deleted: Vec<&str> = deleted.iter().map(String::as_str).collect();
    Patch::of("100-01", package.deletes(&deleted))
}

/// Replaces what the first patch delivers, on both sides.
fn later_patch() -> Patch {
    let package = objects(Package::new("ACMEweb").param("BASEDIR", "/"), "third");
    Patch::of("200-01", package.file("usr/new/0", 0o644, "newer\n").file("opt/new/0", 0o644, "newer\n"))
}

/// The package that comes and goes.
fn documents() -> Package {
    let package = Package::new("ACMEdoc").param("BASEDIR", "/");
    (0..FILES).fold(package, |package, number| {
        let text = format!("page {number}\n").repeat(100);
        package.file(&format!("usr/doc/{number:02}"), 0o644, &text).file(
            &format!("opt/doc/{number:02}"),
            0o644,
            &text,
        )
    })
}
