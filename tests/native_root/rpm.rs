//! Packages made by rpmbuild(8), and roots in which the real rpm installs them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::software::{Object, Software};
use super::{Owners, PATH, Watched, delivered, has_tools, resolved};
use crate::packages::Package;
use crate::scenario::{Run, directory, is_root};

/// A package for rpm, of version 1.0, before it is built.
pub(crate) type Rpm = Software;

impl Rpm {
    /// The architecture for rpm.
    fn rpm_arch(&self) -> &str {
        self.arch.as_deref().unwrap_or("noarch")
    }

    /// Builds it for rpm in a directory; returns the path of its file.
    pub(crate) fn build_rpm(&self, into: &Path) -> PathBuf {
        let Self { name, version: release, fields, .. } = self;
        let arch = self.rpm_arch();
        let content = into.join("content");
        let _ = fs::remove_dir_all(&content);
        fs::create_dir_all(&content).unwrap();
        let mut listed = String::new();
        for (path, object) in &self.objects {
            let place = content.join(&path[1..]);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            match object {
                Object::File(mode, text) => {
                    fs::write(&place, text).unwrap();
                    // rpm compares the time, even if packages of two architectures share a file.
                    let built = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
                    fs::File::open(&place).unwrap().set_modified(built).unwrap();
                    fs::set_permissions(&place, fs::Permissions::from_mode(*mode)).unwrap();
                    let mark = if path.starts_with("/etc/") { "%config(noreplace) " } else { "" };
                    writeln!(listed, "%attr({mode:o},root,root) {mark}{path}").unwrap();
                }
                Object::Link(target) => {
                    symlink(target, &place).unwrap();
                    writeln!(listed, "{path}").unwrap();
                }
                Object::Directory(mode) => {
                    fs::create_dir_all(&place).unwrap();
                    writeln!(listed, "%dir %attr({mode:o},root,root) {path}").unwrap();
                }
            }
        }
        let mut scripts = String::new();
        for (line, text) in &self.scripts {
            writeln!(scripts, "{line}\n{text}").unwrap();
        }
        let spec = format!(
            "Name: {name}\nVersion: 1.0\nRelease: {release}\nSummary: a test\nLicense: none\nAutoReqProv: no\n{fields}\
             %description\na test\n%install\nmkdir -p %{{buildroot}}\ncp -a {}/. %{{buildroot}}/\n{scripts}%files\n{listed}",
            content.display()
        );
        let at = into.join("made.spec");
        fs::write(&at, spec).unwrap();
        let mut build = Command::new("rpmbuild");
        build.args(["-bb", "--quiet", "--target", arch]);
        let top = into.join("build");
        let definitions = [
            format!("_topdir {}", top.display()),
            format!("_rpmdir {}", into.display()),
            "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned(),
            "_binary_payload w0.gzdio".to_owned(),
            "__spec_install_post %{nil}".to_owned(),
            "debug_package %{nil}".to_owned(),
        ];
        for definition in &definitions {
            build.args(["--define", definition]);
        }
        let output = build.arg(at).env("HOME", into).env("LC_ALL", "C").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        into.join(format!("{name}-1.0-{release}.{arch}.rpm"))
    }
}

/// True if rpm and these tools can be called; otherwise reports the reason for the test.
pub(crate) fn has_rpm(test: &str, tools: &[&str]) -> bool {
    if !has_tools(test, tools) {
        return false;
    }
    if !is_root() {
        crate::skipped(&format!("{test}: rpm changes the root directory for root only"));
    }
    is_root()
}

pub(crate) struct RpmRoot {
    root: Watched,
}

impl Deref for RpmRoot {
    type Target = Watched;

    fn deref(&self) -> &Watched {
        &self.root
    }
}

impl RpmRoot {
    /// An empty root; `None` if a tool is missing, which is reported for the test.
    pub(crate) fn opened(test: &str) -> Option<Self> {
        if !has_rpm(test, &["rpm", "rpmbuild"]) {
            return None;
        }
        let root = Self { root: Watched::new(owners) };
        fs::create_dir_all(root.packages()).unwrap();
        // The place on systems of rpm; Debian has another one.
        root.stage.directory("/var/lib/rpm");
        root.rpm_done("--initdb");
        Some(root)
    }

    fn packages(&self) -> PathBuf {
        self.stage.beside("rpms")
    }

    /// Builds packages; calls of rpm refer to them as `[NAME-RELEASE]` or `[NAME-RELEASE.ARCH]`.
    pub(crate) fn build(&self, packages: &[Rpm]) {
        let scratch = directory();
        for package in packages {
            let made = package.build_rpm(scratch.path());
            fs::copy(&made, self.packages().join(made.file_name().unwrap())).unwrap();
        }
    }

    /// Uses the packages of a directory as if they had been built.
    pub(crate) fn take_packages(&self, from: &Path) {
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.extension().is_some_and(|extension| extension == "rpm") {
                fs::copy(&entry, self.packages().join(entry.file_name().unwrap())).unwrap();
            }
        }
    }

    /// The paths whose bytes rpm finds changed or missing.
    pub(crate) fn verified_bytes(&self) -> std::collections::BTreeSet<String> {
        let said = self.rpm("-Va").stdout;
        let is_other = |line: &&str| line.starts_with("missing") || line.as_bytes().get(2) == Some(&b'5');
        let path = |line: &str| line.find('/').map(|at| line[at..].to_owned());
        said.lines().filter(is_other).filter_map(path).collect()
    }

    pub(crate) fn rpm(&self, words: &str) -> Run {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(self.stage.root()).args(self.words(words));
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
        self.told(&command.output().unwrap())
    }

    /// Calls rpm so that scripts of packages find `/proc` and `/dev/null` in the root, besides the files of the test.
    pub(crate) fn rpm_with_proc(&self, words: &str) -> Run {
        self.stage.directory("/proc");
        self.stage.directory("/dev");
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c"]);
        command.arg(
            "mount --bind /proc \"$0/proc\" && cp -a /dev/null \"$0/dev/\" && exec rpm --root \"$0\" \"$@\"",
        );
        command.arg(self.stage.root()).args(self.words(words));
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("PATCHADM_EVENTS", "none");
        self.told(&command.output().unwrap())
    }

    /// Puts a program into the root, with the libraries that it loads.
    pub(crate) fn put_program(&self, program: &Path, place: &str) {
        let output = Command::new("ldd").arg(program).env("PATH", PATH).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
        let files = libraries.map(|library| (PathBuf::from(library), library));
        for (from, place) in files.chain([(program.to_owned(), place)]) {
            let at = self.stage.root().join(resolved(&self.stage.root(), place).trim_start_matches('/'));
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::copy(from, at).unwrap();
        }
    }

    fn words(&self, words: &str) -> Vec<String> {
        let packages = self.packages();
        let word = |word: &str| match word.strip_prefix('[').and_then(|word| word.strip_suffix(']')) {
            Some(name) => {
                let (name, release) = name.split_once('-').unwrap();
                let release =
                    if release.contains('.') { release.to_owned() } else { format!("{release}.noarch") };
                format!("{}/{name}-1.0-{release}.rpm", packages.display())
            }
            None => word.to_owned(),
        };
        let options = ["--dbpath", "/var/lib/rpm"].map(str::to_owned);
        options.into_iter().chain(words.split_whitespace().map(word)).collect()
    }

    /// As `rpm`, but must succeed; returns the output.
    #[track_caller]
    pub(crate) fn rpm_done(&self, words: &str) -> String {
        let run = self.rpm(words);
        assert_eq!(run.code, 0, "rpm {words}: {}", run.said());
        run.said()
    }

    /// Builds a package and installs it over the earlier one.
    #[track_caller]
    pub(crate) fn install(&self, package: &Rpm) -> String {
        self.build(std::slice::from_ref(package));
        let Rpm { name, version: release, .. } = package;
        let arch = package.rpm_arch();
        self.rpm_done(&format!("-U --oldpackage --replacepkgs --ignorearch [{name}-{release}.{arch}]"))
    }

    /// Waits until the next second: rpm counts its transactions in seconds.
    pub(crate) fn tick() {
        std::thread::sleep(Duration::from_millis(1_100));
    }

    #[track_caller]
    pub(crate) fn adopt(&self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.ok(&format!("adopt --rpm {name} -R @ROOT@"))));
    }

    #[track_caller]
    pub(crate) fn refresh(&self) -> String {
        self.ok("adopt --refresh -R @ROOT@")
    }

    /// The paths that rpm finds changed or missing, of all packages.
    pub(crate) fn verified(&self) -> Vec<String> {
        let said = self.rpm("-Va").stdout;
        let path = |line: &str| line.find('/').map(|at| line[at..].to_owned());
        said.lines().filter_map(path).collect()
    }
}

/// The states of a file that is not there as packaged: replaced, not installed, net shared, wrong color.
const NOT_THERE: [&str; 4] = ["1", "2", "3", "4"];

/// The owners of all paths: the file tables of all packages, resolved through links.
fn owners(root: &Path) -> Owners {
    let query = "[%{=NAME}:%{=VERSION}-%{=RELEASE}.%{=ARCH}\\t%{FILESTATES}\\t%{FILENAMES}\\n]";
    let mut command = Command::new("rpm");
    command.arg("--root").arg(root).args(["--dbpath", "/var/lib/rpm", "-qa", "--qf", query]);
    let output = command.env_clear().env("PATH", PATH).env("LC_ALL", "C").output().unwrap();
    let mut owners: Owners = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut columns = line.splitn(3, '\t');
        let (Some(package), Some(state), Some(path)) = (columns.next(), columns.next(), columns.next())
        else {
            continue;
        };
        if !NOT_THERE.contains(&state) {
            owners.entry(resolved(root, path)).or_default().insert(package.to_owned());
        }
    }
    owners
}

/// A package of rpm as a patch for one of its releases delivers it.
pub(crate) fn of_rpm(name: &str, release: &str) -> Package {
    delivered(&format!("RPM{name}"), "noarch", &format!("1.0-{release}"))
}
