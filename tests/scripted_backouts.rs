//! Backouts of patches whose scripts keep the records: what comes back is what was there, to the last attribute, whatever
//! the scripts of the undo package bring back.
//!
//! Patches of which a script has a line of its own, and patches that `--engine script` leaves to the stock scripts, are
//! applied and backed out in every mixture of engines. Compared with before: every object, `contents`, every parameter
//! but the lists of patches, the records of the package with the spooled copy, its directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use patchadm::format::params::ParamFile;

use crate::sandbox::Sandbox;
use crate::scenario::{Scenario, shared};
use crate::tree::{Tree, assert_same};

const PATCHES: [&str; 3] = ["103203-01", "103400-01", "103800-01"];

const ADMIN: &str = "mail=\ninstance=unique\npartial=nocheck\nrunlevel=nocheck\nidepend=nocheck\nrdepend=nocheck\n\
                     space=quit\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\nbasedir=default\n";

/// A root with the package that the patches are for, in a box in which scripts can do no harm.
struct Stage {
    scenario: Scenario,
    sandbox: Sandbox,
}

/// What is compared.
#[derive(Debug)]
struct State {
    tree: Tree,
    lines: Vec<String>,
    params: BTreeMap<String, String>,
    /// The records, by path: everything but their times, which undo data has in seconds.
    records: BTreeMap<String, Vec<String>>,
}

impl Stage {
    fn new(goldens: &Path) -> Option<Self> {
        let scenario = Scenario::new();
        scenario.file("/etc/passwd", fs::read("/etc/passwd").unwrap());
        scenario.file("/etc/group", fs::read("/etc/group").unwrap());
        for directory in ["/opt/SUNWstuf", "/var/tmp", "/tmp", "/envdump"] {
            scenario.directory(directory);
        }
        scenario.file("/var/sadm/install/admin/golden", ADMIN);
        let sandbox = Sandbox::new(&scenario.beside(""))?;
        let stage = Self { scenario, sandbox };
        let base = goldens.join("pkgs/base");
        stage.ok(&format!("pkgadd -n -R @ROOT@ -a golden -d {} SUNWstuf", base.display()));
        Some(stage)
    }

    fn run(&self, line: &str) -> (i32, String) {
        let command = self.scenario.command(line);
        let mut boxed = self.sandbox.command(command.get_program());
        boxed.args(command.get_args()).current_dir(self.scenario.beside("")).env_clear();
        boxed.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        for (name, value) in command.get_envs().filter(|(name, _)| *name != "PATH") {
            boxed.env(name, value.unwrap_or_default());
        }
        let output = boxed.stdin(std::process::Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        let (code, said) = self.run(line);
        assert_eq!(code, 0, "{line}: {said}");
        said
    }

    fn state(&self) -> State {
        let pkginfo = fs::read(self.scenario.at("/var/sadm/pkg/SUNWstuf/pkginfo")).unwrap();
        let params = ParamFile::parse(&pkginfo).unwrap().params();
        let is_list =
            |name: &str| matches!(name, "PATCHLIST" | "PATCH_OBSOLETES") || name.starts_with("PATCH_INFO_");
        let params = params.iter().filter(|(name, _)| !is_list(name));
        let records =
            Tree::of(&self.scenario.at("/var/sadm"), &["patchadm", "install", "pkg/SUNWstuf/pkginfo"]);
        let without_time = |(path, columns): (&String, &Vec<String>)| {
            let columns = columns.iter().enumerate().filter(|(at, _)| *at != 6);
            (path.clone(), columns.map(|(_, column)| column.clone()).collect())
        };
        State {
            tree: Tree::of(&self.scenario.root(), &["var", "tmp", "envdump"]),
            lines: self.scenario.lines(),
            params: params
                .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
                .collect(),
            records: records.objects().iter().map(without_time).collect(),
        }
    }

    /// A copy of a patch whose preinstall has a command of its own.
    fn with_own_command(&self, goldens: &Path, patch: &str) -> PathBuf {
        let to = self.scenario.beside("own");
        fs::create_dir_all(&to).unwrap();
        let copied = Command::new("cp").arg("-a").arg(goldens.join("pkgs").join(patch)).arg(&to).status();
        assert!(copied.unwrap().success());
        let at = to.join(patch);
        assert!(Command::new("chmod").arg("-R").arg("u+w").arg(&at).status().unwrap().success());
        let package = at.join("SUNWstuf");
        let script = package.join("install/preinstall");
        let text = fs::read(&script).unwrap();
        let first = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let text = [&text[..first], b": my own command\n", &text[first..]].concat();
        fs::write(&script, &text).unwrap();
        let pkgmap = fs::read_to_string(package.join("pkgmap")).unwrap();
        let sum = text.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let sum = (sum & 0xffff) + (sum >> 16);
        let line = |line: &str| {
            if line.starts_with("1 i preinstall ") {
                format!("1 i preinstall {} {} 0\n", text.len(), (sum & 0xffff) + (sum >> 16))
            } else {
                format!("{line}\n")
            }
        };
        fs::write(package.join("pkgmap"), pkgmap.lines().map(line).collect::<String>()).unwrap();
        at
    }
}

#[track_caller]
fn assert_as_before(found: &State, before: &State) {
    assert_same(&found.tree, &before.tree);
    assert_eq!(found.lines, before.lines);
    assert_eq!(found.params, before.params);
    assert_eq!(found.records, before.records);
}

#[test]
fn a_patch_with_a_command_of_its_own_is_backed_out_exactly_by_the_program() {
    let test = "a_patch_with_a_command_of_its_own_is_backed_out_exactly_by_the_program";
    let Some(goldens) = shared(test, "goldens") else { return };
    for patch in PATCHES {
        let Some(stage) = Stage::new(&goldens) else { return };
        let before = stage.state();
        let own = stage.with_own_command(&goldens, patch);
        stage.ok(&format!("patchadd -R @ROOT@ {}", own.display()));
        assert!(stage.scenario.at(&format!("/var/sadm/pkg/SUNWstuf/save/{patch}/undo.Z")).exists());
        stage.ok(&format!("patchrm -R @ROOT@ {patch}"));
        assert_as_before(&stage.state(), &before);
    }
}

#[test]
fn every_mixture_of_engines_brings_everything_back() {
    let Some(goldens) = shared("every_mixture_of_engines_brings_everything_back", "goldens") else { return };
    let engines = [("script", "script"), ("script", "auto"), ("native", "script")];
    for (patch, (adds, removes)) in PATCHES.iter().flat_map(|patch| engines.map(|pair| (patch, pair))) {
        let Some(stage) = Stage::new(&goldens) else { return };
        let before = stage.state();
        let delivered = goldens.join("pkgs").join(patch);
        stage.ok(&format!("patchadd --engine {adds} -R @ROOT@ {}", delivered.display()));
        stage.ok(&format!("patchrm --engine {removes} -R @ROOT@ {patch}"));
        assert_as_before(&stage.state(), &before);
    }
}
