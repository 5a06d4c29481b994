//! Random patches, and the output of commands about them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::random::Random;
use crate::scenario::Scenario;

/// The paths of both packages, below their base directories.
pub(super) const PATHS: [&str; 6] = ["bin/a", "bin/b", "etc/conf", "lib/x", "share/doc/one", "share/doc/two"];

/// The bases of patches; the last ones are restricted.
const BASES: [&str; 5] = ["100", "101", "102", "IDR103", "T104"];

/// The result of a command for a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SaidOfPatch {
    pub(super) id: String,
    /// For a plan, the verdict after it is carried out.
    pub(super) verdict: String,
    pub(super) code: i64,
    pub(super) reason: String,
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) code: i64,
    pub(super) error: Option<String>,
    pub(super) patches: Vec<SaidOfPatch>,
}

impl Said {
    /// Reads a JSON document.
    #[track_caller]
    pub(super) fn of(text: &str) -> Self {
        let document: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let is_backout = matches!(document["command"].as_str(), Some("remove" | "patchrm"));
        let of = |patch: &Value| {
            let verdict = match text(&patch["verdict"]).as_str() {
                "planned" if is_backout => "removed".to_owned(),
                "planned" => "applied".to_owned(),
                other => other.to_owned(),
            };
            let code = patch["code"].as_i64().unwrap();
            SaidOfPatch { id: text(&patch["id"]), verdict, code, reason: text(&patch["reason"]) }
        };
        Self {
            code: document["exit_code"].as_i64().unwrap(),
            error: document["error"].as_str().map(str::to_owned),
            patches: document["patches"].as_array().into_iter().flatten().map(of).collect(),
        }
    }

    pub(super) fn verdicts(&self) -> Vec<String> {
        self.patches.iter().map(|patch| patch.verdict.clone()).collect()
    }

    /// Adapts the plan of a backout, which does not say that it is one.
    pub(super) fn of_backout(mut self) -> Self {
        for patch in self.patches.iter_mut().filter(|patch| patch.verdict == "applied") {
            "removed".clone_into(&mut patch.verdict);
        }
        self
    }
}

/// Runs a command that prints a document, and checks that its exit code is the one in the document.
#[track_caller]
pub(super) fn said_by(stage: &Scenario, command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace(stage.root().to_str().unwrap(), "@ROOT@");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.is_empty(), "{command:?}: {errors}");
    let said = Said::of(&text);
    assert_eq!(Some(said.code), output.status.code().map(i64::from), "{text}{errors}");
    said
}

/// A root with two packages.
pub(super) fn template() -> Scenario {
    let package = |name: &str| {
        let base = Package::new(name).directory("share").directory("share/doc");
        PATHS.iter().fold(base, |package, path| file(package, path, "base"))
    };
    let stage = Scenario::new();
    for package in [package("ACMEweb"), package("ACMEdb")] {
        stage.install(&package);
    }
    stage
}

/// A copy of this root.
pub(super) fn copy(of: &Scenario) -> Scenario {
    let copy = Scenario::new();
    fs::remove_dir_all(copy.root()).unwrap();
    let copied = Command::new("cp").arg("-a").arg(of.root()).arg(copy.root()).status().unwrap();
    assert!(copied.success());
    copy
}

fn file(package: Package, path: &str, text: &str) -> Package {
    let ftype = if path.starts_with("etc/") { 'e' } else { 'f' };
    package.content(ftype, path, 0o644, "root root", crate::packages::DELIVERED, format!("{path} {text}\n"))
}

pub(super) struct Delivered {
    pub(super) id: String,
    pub(super) at: PathBuf,
}

/// Random patches, written beside a root.
pub(super) fn patches(random: &mut Random, beside: &Scenario) -> Vec<Delivered> {
    let mut ids: Vec<String> = Vec::new();
    let number = 4 + random.below(5);
    while ids.len() < number {
        let id = format!("{}-0{}", random.one(&BASES), 1 + random.below(3));
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids.iter().map(|id| Delivered { id: id.clone(), at: patch(random, id, &ids, beside) }).collect()
}

fn patch(random: &mut Random, id: &str, all: &[String], beside: &Scenario) -> PathBuf {
    let packages = match random.below(8) {
        0 => vec!["ACMEnone"],
        1 | 2 => vec!["ACMEweb", "ACMEdb"],
        3 => vec!["ACMEdb", "ACMEnone"],
        _ => vec!["ACMEweb"],
    };
    let mut patch = Patch::new(id);
    for name in packages {
        let mut package = Package::new(name);
        for _ in 0..=random.below(3) {
            package = file(package, PATHS[random.below(PATHS.len())], id);
        }
        match random.below(8) {
            0 => package = package.deletes(&["lib/x"]),
            1 => package = file(package, "new/dir/file", id).directory("new").directory("new/dir"),
            2 => package = package.symlink("share/link", id),
            3 => package = file(package, &format!("own/{id}"), id),
            4 => package = package.link("bin/hard", "a"),
            5 => package = package.param("VERSION", "2.0"),
            _ => {}
        }
        for (name, chance) in [("SUNW_REQUIRES", 4), ("SUNW_OBSOLETES", 6), ("SUNW_INCOMPAT", 10)] {
            let other = random.one(all);
            if random.once_in(chance) && other != id {
                package = package.param(name, other);
            }
        }
        patch = patch.package(package);
    }
    for (name, chance) in [("prepatch", 12), ("postbackout", 12)] {
        if random.once_in(chance) {
            patch = patch.beside(name, "exit 0\n");
        }
    }
    let at = patch.directory(beside);
    // Usually, scripts are executable.
    for name in ["prepatch", "postbackout"].into_iter().filter(|name| at.join(name).exists()) {
        let mode = if random.once_in(4) { 0o644 } else { 0o755 };
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    if random.once_in(10) {
        damage(&at);
    }
    at
}

/// Changes the bytes of one delivered file.
fn damage(patch: &std::path::Path) {
    for package in ["ACMEweb", "ACMEdb"] {
        for path in PATHS {
            let file = patch.join(package).join("reloc").join(path);
            if let Ok(text) = fs::read(&file) {
                fs::write(&file, vec![b'?'; text.len()]).unwrap();
                return;
            }
        }
    }
}
