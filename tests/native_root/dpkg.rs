//! Roots of dpkg that only contain packages of the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Deb, Owners, PATH, Watched, delivered, has_tools, resolved};
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Run, is_root};
use crate::tree::Tree;

pub(crate) struct DpkgRoot {
    root: Watched,
    /// True if dpkg calls our hooks.
    by_hook: bool,
}

impl Deref for DpkgRoot {
    type Target = Watched;

    fn deref(&self) -> &Watched {
        &self.root
    }
}

impl DpkgRoot {
    /// An empty root; `None` if a tool is missing, which is reported for the test.
    pub(crate) fn opened(test: &str) -> Option<Self> {
        if !has_tools(test, &["dpkg", "dpkg-deb", "dpkg-divert", "dpkg-statoverride", "tar"]) {
            return None;
        }
        if !is_root() {
            crate::skipped(&format!("{test}: dpkg installs for root only"));
            return None;
        }
        let root = Watched::new(owners);
        for name in ["info", "updates"] {
            root.stage.directory(&format!("/var/lib/dpkg/{name}"));
        }
        root.stage.file("/var/lib/dpkg/status", "");
        fs::create_dir_all(root.stage.beside("debs")).unwrap();
        let root = Self { root, by_hook: false };
        root.install(&base());
        Some(root)
    }

    /// Empty roots for both ways: refreshed by hand, and by our hooks.
    pub(crate) fn both(test: &str) -> Vec<Self> {
        let roots = [false, true].map(|by_hook| Self::opened(test).map(|root| root.with_hooks(by_hook)));
        roots.into_iter().flatten().collect()
    }

    /// The same root with our hooks, or without.
    pub(crate) fn with_hooks(mut self, by_hook: bool) -> Self {
        self.by_hook = by_hook;
        self
    }

    /// Builds a package; calls of dpkg refer to it as `[NAME_VERSION]`.
    pub(crate) fn build(&self, deb: &Deb) -> PathBuf {
        deb.build_deb(&self.stage.beside("debs"))
    }

    /// Builds a package and installs it; returns the output of dpkg and the hooks.
    #[track_caller]
    pub(crate) fn install(&self, deb: &Deb) -> String {
        let file = self.build(deb);
        self.dpkg_done(&format!("-i {}", file.display()))
    }

    /// Calls dpkg with these words; `[NAME_VERSION]` is the file of a package, by default for every architecture.
    pub(crate) fn dpkg(&self, words: &str) -> Run {
        let mut command = Command::new("dpkg");
        let mark = self.stage.beside("before-hook");
        let _ = fs::remove_dir_all(&mark);
        command.arg("--force-unsafe-io");
        if !words.contains("--path-exclude") {
            // Overrides exclusions of this machine, but not those of a test: an inclusion pattern brings all
            // directories and links back.
            command.arg("--path-include=/*");
        }
        if self.by_hook {
            let copy = format!("rm -rf {0}; cp -a {1} {0}", mark.display(), self.stage.root().display());
            command.arg(format!("--post-invoke={copy}"));
            command.args(hooks());
        }
        let run = self.tool(command.args(self.words(words)));
        if mark.exists() {
            self.assert_foreign_as(&mark, &run);
        }
        run
    }

    /// As `dpkg`, but must succeed; returns the output.
    #[track_caller]
    pub(crate) fn dpkg_done(&self, words: &str) -> String {
        let run = self.dpkg(words);
        assert_eq!(run.code, 0, "dpkg {words}: {}", run.said());
        run.said()
    }

    /// Calls another tool of dpkg.
    pub(crate) fn called(&self, line: &str) -> Run {
        let (tool, words) = line.split_once(' ').unwrap();
        self.tool(Command::new(tool).args(self.words(words)))
    }

    /// As `called`, but must succeed; returns the output.
    #[track_caller]
    pub(crate) fn done(&self, line: &str) -> String {
        let run = self.called(line);
        assert_eq!(run.code, 0, "{line}: {}", run.said());
        run.stdout
    }

    pub(super) fn words(&self, words: &str) -> Vec<String> {
        let debs = self.stage.beside("debs");
        let word = |word: &str| match word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
            Some(name) if name.matches('_').count() < 2 => format!("{}/{name}_all.deb", debs.display()),
            Some(name) => format!("{}/{name}.deb", debs.display()),
            None => word.to_owned(),
        };
        words.split_whitespace().map(word).collect()
    }

    /// Calls a tool of dpkg for the root.
    fn tool(&self, command: &mut Command) -> Run {
        let mut whole = Command::new(command.get_program());
        whole.arg(format!("--root={}", self.stage.root().display())).args(command.get_args());
        whole.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("PATCHADM_EVENTS", "none");
        self.told(&whole.current_dir(self.stage.beside("debs")).output().unwrap())
    }

    /// Asserts that the hooks left the objects of packages that are not adopted as dpkg had left them.
    #[track_caller]
    fn assert_foreign_as(&self, before: &Path, run: &Run) {
        let adopted: BTreeSet<String> = self.adopted();
        let (was, is) = (Tree::of(before, &["var"]), Tree::of(&self.stage.root(), &["var"]));
        for path in self.foreign(&adopted).keys() {
            let [was, is] = [&was, &is].map(|tree| tree.line(&path[1..]));
            assert_eq!(is, was, "a hook changed {path}: {}", run.said());
        }
    }

    #[track_caller]
    pub(crate) fn adopt(&self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.ok(&format!("adopt --dpkg {name} -R @ROOT@"))));
    }

    /// Refreshes the registrations by hand, unless a hook has done so.
    #[track_caller]
    pub(crate) fn refresh(&self) -> String {
        if self.by_hook { String::new() } else { self.ok("adopt --refresh -R @ROOT@") }
    }

    /// Installs a package and refreshes the registrations; returns the output.
    #[track_caller]
    pub(crate) fn upgrade(&self, deb: &Deb) -> String {
        let said = self.install(deb);
        said + &self.refresh()
    }

    /// The paths that dpkg finds changed or missing.
    pub(crate) fn verified(&self) -> Vec<String> {
        let said = self.dpkg_quietly("--verify");
        let path = |line: &str| line.find('/').map(|at| line[at..].to_owned());
        said.lines().filter_map(path).collect()
    }

    /// Output of a query of dpkg; no hook is called.
    pub(crate) fn dpkg_quietly(&self, words: &str) -> String {
        self.tool(Command::new("dpkg").args(self.words(words))).stdout
    }

    /// Every package with objects in the records of dpkg.
    pub(crate) fn packages(&self) -> Vec<Installed> {
        installed(&self.stage.root())
    }

    /// The current location of a path of a package: its own name, or the diverted one.
    pub(crate) fn true_name(&self, package: &str, path: &str) -> String {
        let root = self.stage.root();
        resolved(&root, &diverted(&diversions(&root), package, path))
    }

    /// Passes the input of apt to `adopt --before-upgrade`; returns the exit code and the output.
    pub(crate) fn foresee(&self, changes: &str) -> Run {
        let input = self.stage.beside("foreseen");
        fs::write(&input, format!("VERSION 3\nAPT::Architecture=amd64\n\n{changes}")).unwrap();
        let mut command = self.stage.command("adopt --before-upgrade -R @ROOT@");
        command.env_remove("SOURCE_DATE_EPOCH").stdin(fs::File::open(input).unwrap());
        self.told(&command.output().unwrap())
    }

    /// The line of apt for a package that it removes, or installs from a built file.
    pub(crate) fn change(&self, name: &str, old: Option<&str>, new: Option<&Deb>, direction: char) -> String {
        let version = |version: Option<&str>| match version {
            Some(version) => format!("{version} all none"),
            None => "- - none".to_owned(),
        };
        let file = new.map_or_else(|| "**REMOVE**".to_owned(), |deb| self.build(deb).display().to_string());
        let new = new.map(Deb::version);
        format!("{name} {} {direction} {} {file}\n", version(old), version(new))
    }
}

/// The hooks that the package brings, as options that call the program of the test.
pub(super) fn hooks() -> Vec<String> {
    let text = include_str!("../../packaging/hooks/dpkg.cfg");
    assert!(text.contains("/usr/bin/patchadm"), "{text}");
    let text = text.replace("/usr/bin/patchadm", env!("CARGO_BIN_EXE_patchadm"));
    let option = |line: &str| {
        let (name, value) = line.split_once('=').filter(|(name, _)| name.ends_with("-invoke"))?;
        Some(format!("--{name}={}", value.trim_matches('"')))
    };
    text.lines().filter_map(option).collect()
}

/// The name of the package that every root has.
pub(crate) const BASE: &str = "base";

/// A package with the links of a merged root and their directories: dpkg removes those that no package has any more.
fn base() -> Deb {
    ["lib", "bin", "sbin"].iter().fold(Deb::new(BASE, "1"), |base, name| {
        base.link(&format!("/{name}"), &format!("usr/{name}")).directory(&format!("/usr/{name}"))
    })
}

/// A package in the records of dpkg.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    pub(crate) name: String,
    pub(crate) arch: String,
    pub(crate) version: String,
    /// The third word of its status.
    pub(crate) state: String,
    /// The packages that it replaces or provides, as written.
    pub(crate) relations: String,
}

/// The packages of `status` that are, or were, installed.
fn installed(root: &Path) -> Vec<Installed> {
    let text = fs::read_to_string(root.join("var/lib/dpkg/status")).unwrap_or_default();
    let entry = |text: &str| {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_default().to_owned()
        };
        let state = field("Status").split(' ').nth(2)?.to_owned();
        let relations = [field("Replaces"), field("Provides")].join(", ");
        let (name, arch, version) = (field("Package"), field("Architecture"), field("Version"));
        (state != "not-installed").then_some(Installed { name, arch, version, state, relations })
    };
    text.split("\n\n").filter_map(entry).collect()
}

/// A diversion: the path, its target, and the package whose file is not diverted.
type Diversion = (String, String, String);

fn diversions(root: &Path) -> Vec<Diversion> {
    let text = fs::read_to_string(root.join("var/lib/dpkg/diversions")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks_exact(3).map(|line| (line[0].to_owned(), line[1].to_owned(), line[2].to_owned())).collect()
}

/// The target of a path of a package.
fn diverted(diversions: &[Diversion], package: &str, path: &str) -> String {
    let found = diversions.iter().find(|(from, _, by)| from == path && by != package);
    found.map_or_else(|| path.to_owned(), |(_, to, _)| to.clone())
}

/// The owners of all paths: the lists of all packages, resolved through diversions and links.
fn owners(root: &Path) -> Owners {
    let diversions = diversions(root);
    let info = root.join("var/lib/dpkg/info");
    let mut owners: Owners = BTreeMap::new();
    for Installed { name, arch, .. } in installed(root) {
        let lists = [format!("{name}.list"), format!("{name}:{arch}.list")];
        let Some(list) = lists.iter().find_map(|list| fs::read_to_string(info.join(list)).ok()) else {
            continue;
        };
        for path in list.lines().filter(|path| path.starts_with('/') && *path != "/.") {
            let path = resolved(root, &diverted(&diversions, &name, path));
            owners.entry(path).or_default().insert(format!("{name}:{arch}"));
        }
    }
    owners
}

/// A package of dpkg as a patch for one of its versions delivers it.
pub(crate) fn of_dpkg(name: &str, version: &str) -> Package {
    delivered(&format!("DEB{name}"), "all", version)
}

/// A patch with these files, mode 0644, for a version of a package.
pub(crate) fn patch_of(id: &str, name: &str, version: &str, files: &[(&str, &str)]) -> Patch {
    let package = files
        .iter()
        .fold(of_dpkg(name, version), |package, (path, text)| package.file(&path[1..], 0o644, text));
    Patch::of(id, package)
}
