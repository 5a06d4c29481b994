//! Roots whose packages the real dpkg and rpm install. The tests watch the program on them: it never panics, and
//! never changes an object of a package that is not adopted.
//!
//! Nothing is fetched: the packages are made by dpkg-deb(1) and rpmbuild(8).

/// apt on roots of dpkg.
mod apt;
/// Packages of dpkg.
mod deb;
/// Roots of dpkg.
mod dpkg;
/// Roots and packages of rpm.
mod rpm;
/// Packages to install.
mod software;
/// The answers of queries about a patch, which must agree.
mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Output};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Run, Scenario};
use crate::tree::Tree;

pub(crate) use deb::{Deb, architectures};
pub(crate) use dpkg::{BASE, DpkgRoot, of_dpkg, patch_of};
pub(crate) use rpm::{Rpm, RpmRoot, has_rpm, of_rpm};
pub(crate) use story::{End, an_added_file_survives};

/// The current owners of each path: instances of packages (`acme:amd64`, `acme:1.0-1.noarch`), by the path without
/// links in it.
pub(crate) type Owners = BTreeMap<String, BTreeSet<String>>;

/// A root, and the program on it.
pub(crate) struct Watched {
    pub(crate) stage: Scenario,
    owners: fn(&Path) -> Owners,
}

impl Watched {
    fn new(owners: fn(&Path) -> Owners) -> Self {
        let stage = Scenario::new();
        // The accounts as on this machine, where the tools look them up.
        stage.file("/etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n");
        stage.file("/etc/group", "root:x:0:\nbin:x:2:\nsys:x:3:\nadm:x:4:\n");
        for name in ["lib", "bin", "sbin"] {
            // A file keeps the directory, which would otherwise be removed with a package.
            stage.file(&format!("/usr/{name}/keep"), "");
            stage.symlink(&format!("/{name}"), &format!("usr/{name}"));
        }
        stage.file("/etc/os-release", "ID=debian\nVERSION_ID=12\n");
        Self { stage, owners }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.stage.at(path)
    }

    /// The content of a path: bytes, the target of a link, or nothing.
    pub(crate) fn content(&self, path: &str) -> String {
        content(&self.at(path))
    }

    /// The permissions of an object in octal, as in ls(1), with its owner and group.
    pub(crate) fn attributes(&self, path: &str) -> String {
        attributes(&self.at(path))
    }

    /// The current owners of each path, independent of the records of the program.
    pub(crate) fn owners(&self) -> Owners {
        (self.owners)(&self.stage.root())
    }

    /// Runs the program with these arguments at the present time.
    ///
    /// Asserts that it ends by itself, without a defect, and leaves every object of a package that is not adopted as
    /// it was.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> Run {
        let before = self.foreign(&self.adopted());
        let run = self.unwatched(line);
        let adopted = self.adopted();
        let now = self.foreign(&adopted);
        let changed: Vec<String> = before
            .iter()
            .filter(|(path, _)| now.get(*path) != before.get(*path))
            .filter(|(path, _)| !self.is_adopted(path, &adopted))
            .map(|(path, was)| format!("- {path} {was}\n+ {path} {}", text_of(now.get(path))))
            .collect();
        assert!(
            changed.is_empty(),
            "{line} changed foreign objects:\n{}\n{}",
            changed.join("\n"),
            run.said()
        );
        run
    }

    /// Runs the program without these checks, mostly for queries, which change nothing in the first place.
    #[track_caller]
    pub(crate) fn unwatched(&self, line: &str) -> Run {
        let mut command = self.stage.command(line);
        command.env_remove("SOURCE_DATE_EPOCH").env("PATH", PATH);
        let run = self.told(&command.output().unwrap());
        let is_defect = matches!(run.code, -1 | 70 | 101 | 134) || run.stderr.contains("panicked at");
        assert!(!is_defect, "{line}: {} {}", run.code, run.said());
        run
    }

    /// Runs the program, asserts that it succeeds, and returns the output.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> String {
        let run = self.run(line);
        assert_eq!(run.code, 0, "{line}: {}", run.said());
        run.said()
    }

    /// Delivers a patch beside the root and applies it.
    #[track_caller]
    pub(crate) fn add(&self, options: &str, patch: &Patch) -> Run {
        let at = patch.directory(&self.stage);
        self.run(&format!("add {options} -R @ROOT@ {}", at.display()))
    }

    /// Applies a patch, which must succeed, and returns the output.
    #[track_caller]
    pub(crate) fn applied(&self, patch: &Patch) -> String {
        let run = self.add("", patch);
        assert_eq!(run.code, 0, "{}", run.said());
        run.said()
    }

    /// Backs a patch out, which may fail if nothing is left of it.
    #[track_caller]
    pub(crate) fn remove(&self, id: &str) -> Run {
        self.run(&format!("remove -R @ROOT@ {id}"))
    }

    /// The outcome of a tool, with `@ROOT@` for the root.
    fn told(&self, output: &Output) -> Run {
        let root = self.stage.root();
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.replace(root.to_str().unwrap(), "@ROOT@")
        };
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// The native packages that are registered: `acme:all`, `acme`.
    pub(crate) fn adopted(&self) -> BTreeSet<String> {
        let packages = fs::read_dir(self.at("/var/sadm/pkg")).into_iter().flatten();
        let texts =
            packages.filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("pkginfo")).ok());
        let native = |text: String| {
            let line = text.lines().find_map(|line| line.strip_prefix("PATCHADM_ADOPTED="))?.to_owned();
            line.split_once(' ').map(|(_, name)| name.to_owned())
        };
        texts.filter_map(native).collect()
    }

    /// The objects that belong to packages of which none is adopted, by path.
    fn foreign(&self, adopted: &BTreeSet<String>) -> BTreeMap<String, String> {
        let tree = Tree::of(&self.stage.root(), &["var"]);
        let owners = self.owners();
        let foreign = owners.iter().filter(|(_, packages)| !packages.iter().any(|one| is_of(one, adopted)));
        foreign.map(|(path, _)| (path.clone(), tree.line(&path[1..]))).collect()
    }

    /// True if a package that owns the path is adopted.
    fn is_adopted(&self, path: &str, adopted: &BTreeSet<String>) -> bool {
        self.owners().get(path).is_some_and(|packages| packages.iter().any(|one| is_of(one, adopted)))
    }
}

/// The search path of the tools.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// True if the instance is adopted. Adopted names come with or without the part after the name.
fn is_of(instance: &str, adopted: &BTreeSet<String>) -> bool {
    let name = instance.split(':').next().unwrap_or_default();
    [name, instance, &instance.replacen(':', "-", 1)].iter().any(|known| adopted.contains(*known))
}

fn text_of(line: Option<&String>) -> &str {
    line.map_or("nothing", String::as_str)
}

/// The content of a path of this machine: bytes, the target of a link, or nothing.
pub(crate) fn content(at: &Path) -> String {
    match (fs::read_link(at), fs::read(at)) {
        (Ok(target), _) => format!("-> {}", target.display()),
        (_, Ok(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ if at.is_dir() => "a directory".to_owned(),
        _ => NOTHING.to_owned(),
    }
}

/// The result of [`content`] for a path that does not exist.
pub(crate) const NOTHING: &str = "nothing";

fn attributes(at: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let seen = fs::symlink_metadata(at).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
    format!("{:o} {}:{}", seen.mode() & 0o7777, seen.uid(), seen.gid())
}

/// A path of a root with the links in its directory resolved.
pub(crate) fn resolved(root: &Path, path: &str) -> String {
    let mut open: Vec<String> =
        path.split('/').rev().filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect();
    let mut real: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = open.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        let at = root.join(real.join("/")).join(&part);
        match fs::read_link(&at) {
            Ok(target) if !open.is_empty() && links < 40 => {
                links += 1;
                if target.is_absolute() {
                    real.clear();
                }
                let parts: Vec<_> = target.components().collect();
                open.extend(parts.iter().rev().filter_map(|part| match part {
                    Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                    Component::ParentDir => Some("..".to_owned()),
                    _ => None,
                }));
            }
            _ => real.push(part),
        }
    }
    format!("/{}", real.join("/"))
}

/// A native package as delivered by a patch for one of its versions; `name` is the registered name.
pub(crate) fn delivered(name: &str, arch: &str, version: &str) -> Package {
    Package::new(name).param("BASEDIR", "/").param("ARCH", arch).param("VERSION", version)
}

/// Whether a tool can be called here; a test that needs it says that it is skipped.
pub(crate) fn has_tools(test: &str, tools: &[&str]) -> bool {
    let is_missing = |tool: &&&str| Command::new(tool).env("PATH", PATH).arg("--version").output().is_err();
    let missing = tools.iter().find(is_missing);
    if let Some(tool) = missing {
        crate::missing(tool, test);
    }
    missing.is_none()
}
