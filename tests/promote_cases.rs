//! Real releases that go live from a stage, on every file system, by root and by an ordinary user, by renames and by
//! exchange, with and without a base. The resulting trees match trees of independent origin. Every run plays a
//! sample; all of them run with
//!
//! ```text
//! PATCHADM_TESTS=whole cargo test --test integration promote_cases -- --nocapture
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cases::{expected, installed};
use crate::everyman::{as_ordinary_user, ordinary_ids};
use crate::mounts::Mounted;
use crate::reliability::is_whole;
use crate::scenario::{Run, Scenario, shared};
use crate::tree::{Tree, assert_same};

/// The cases, each with its first patch and the directory that is exchanged.
const CASES: [(&str, &str, &str); 2] = [("openssl", "300001-01", "/usr"), ("tzdata", "300002-01", "/usr")];

/// The directory beside the root in which trees are built. It belongs to the user who changes the root.
const BUILT: &str = "built";

/// The place of a root, and the user who changes it.
#[derive(Clone, Copy, Debug)]
enum Ground {
    /// A directory of this machine.
    Here,
    /// A directory of an ordinary user on this machine.
    Ordinary,
    /// A file system of its own, made by this command.
    FileSystem(&'static str),
}

const GROUNDS: [Ground; 5] = [
    Ground::Here,
    Ground::Ordinary,
    Ground::FileSystem("mkfs.ext4 -q"),
    Ground::FileSystem("mkfs.xfs -q"),
    Ground::FileSystem("mkfs.btrfs -q"),
];

enum Place {
    Here(Scenario),
    Ordinary(Scenario),
    Mounted(Mounted),
}

impl Place {
    fn new(test: &str, ground: Ground) -> Option<Self> {
        let scenario = Scenario::bare_in_memory();
        fs::create_dir(scenario.beside(BUILT)).unwrap();
        match ground {
            Ground::Here => Some(Self::Here(scenario)),
            Ground::Ordinary => {
                let (uid, gid) = ordinary_ids(&scenario);
                scenario.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\n"));
                scenario.file("/etc/group", format!("root:x:{gid}:\n"));
                Some(Self::Ordinary(scenario))
            }
            Ground::FileSystem(make) => {
                let mounts = format!(
                    "truncate -s 400M $BESIDE/image && {make} $BESIDE/image >/dev/null \
                     && mount -o loop $BESIDE/image $ROOT && rm -rf $ROOT/lost+found && chmod 755 $ROOT"
                );
                Mounted::new(&format!("{test}: {make}"), scenario, &mounts).map(Self::Mounted)
            }
        }
    }

    fn scenario(&self) -> &Scenario {
        match self {
            Self::Here(scenario) | Self::Ordinary(scenario) => scenario,
            Self::Mounted(mounted) => mounted.stage(),
        }
    }

    fn run(&self, line: &str) -> Run {
        match self {
            Self::Here(scenario) => scenario.run(line),
            Self::Mounted(mounted) => mounted.run(line),
            Self::Ordinary(scenario) => {
                let [root, built] = [scenario.root(), scenario.beside(BUILT)];
                let output = as_ordinary_user(scenario, line, &[&root, &built]).output().unwrap();
                let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                let code = output.status.code().unwrap_or(-1);
                Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
            }
        }
    }

    /// The tree that is promoted, as this process sees it.
    fn tree_beside(&self) -> PathBuf {
        self.scenario().beside(BUILT).join("site")
    }

    /// Asserts that the root has this tree, except for objects that the case does not cover.
    #[track_caller]
    fn assert_is(&self, expected: &Tree) {
        let accounts =
            if expected.line("etc").is_empty() { &["etc"][..] } else { &["etc/passwd", "etc/group"] };
        assert_same(&self.found(&[&["var"], accounts].concat()), expected);
    }

    fn found(&self, without: &[&str]) -> Tree {
        match self {
            Self::Here(scenario) => Tree::of(&scenario.root(), without),
            Self::Ordinary(scenario) => Tree::of(&scenario.root(), without).without_owners(),
            Self::Mounted(mounted) => mounted.tree(without),
        }
    }

    fn expected(&self, case: &Path, state: &str) -> Tree {
        let tree = expected(case, state);
        if matches!(self, Self::Ordinary(_)) { tree.without_owners() } else { tree }
    }
}

/// The directories at the top of a root, but `var`.
fn tops(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "var").collect();
    names.sort();
    names
}

/// Replaces the top directories of a tree with those of a patched root.
fn fill(tree: &Path, patched: &Scenario) {
    for name in tops(&patched.root()) {
        let _ = fs::remove_dir_all(tree.join(&name));
        let copied = Command::new("cp").arg("-a").arg(patched.root().join(&name)).arg(tree).status().unwrap();
        assert!(copied.success(), "{name}");
    }
}

/// The root of a case with a patch applied.
fn patched(test: &str, case: &str, patch: &str) -> Option<Scenario> {
    let (root, from) = installed(test, case)?;
    root.run(&format!("patchadd -R @ROOT@ {}", from.join(patch).display())).ok();
    Some(root)
}

/// Promotes a release and backs it out.
fn to_and_fro(place: &Place, case: &(PathBuf, &str), patched: &Scenario, options: (bool, &str)) {
    let ((from, patch), (has_base, exchange)) = (case, options);
    let run = place.run(&format!("pkgadd -n -R @ROOT@ -d {} all", from.join("base").display()));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let base = place.expected(from, "base");
    place.assert_is(&base);
    // A note about a nearly full disk does not concern this test.
    let quiet = place.scenario().beside(BUILT).join("quiet");
    fs::write(&quiet, "undo_warn=0%\n").unwrap();
    let quiet = format!("--policy {}", quiet.display());
    let paths: String = tops(&patched.root()).iter().map(|name| format!(" --path {name}")).collect();
    let tree = place.tree_beside();
    if has_base {
        place.run(&format!("stage new {} -R @ROOT@{paths}", tree.display())).ok();
    } else {
        fs::create_dir(&tree).unwrap();
    }
    fill(&tree, patched);
    let two_way = if has_base { String::new() } else { format!("--two-way --delete{paths}") };
    let line = format!(
        "stage promote {} -R @ROOT@ {quiet} --max-delete 100% {two_way} --exclude passwd --exclude group",
        tree.display()
    );
    place.run(&format!("{line} {exchange}")).ok();
    place.assert_is(&place.expected(from, patch));
    place.run(&format!("remove -R @ROOT@ {quiet} {exchange} site-01")).ok();
    place.assert_is(&base);
}

in_parts!(a_real_release_in_a_stage_goes_live_exactly_and_comes_back, promote_releases, 5);

/// Promotes the releases on a part of the grounds.
fn promote_releases(part: usize, parts: usize) {
    let test = "a real release goes live";
    for (case, patch, directory) in CASES {
        let Some(from) = shared(test, &format!("cases/{case}")) else { return };
        let Some(patched) = patched(test, case, patch) else { return };
        for (number, ground) in GROUNDS.into_iter().enumerate().skip(part).step_by(parts) {
            let ways = [String::new(), format!("--exchange {directory}")];
            let all = ways.iter().flat_map(|way| [(true, way), (false, way)]).enumerate();
            // The sample plays another combination on each ground, and all of them for the small case on this
            // machine.
            let in_sample =
                |at: usize| (case == "tzdata" && number == 0) || (case == "openssl" && at == number % 4);
            for (_, (has_base, way)) in all.filter(|(at, _)| is_whole() || in_sample(*at)) {
                let Some(place) = Place::new(test, ground) else { continue };
                to_and_fro(&place, &(from.clone(), patch), &patched, (has_base, way));
            }
        }
    }
}
