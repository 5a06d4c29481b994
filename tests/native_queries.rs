//! What queries say of files that dpkg owns and patches changed, and of fixes that an upgrade took: with the real dpkg, in a
//! small root.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Run, Scenario, is_root};

/// A package of dpkg.
#[derive(Clone)]
pub(crate) struct Deb {
    name: &'static str,
    version: &'static str,
    arch: &'static str,
    control: String,
    /// Each path with its content; below `/etc` it is a configuration file.
    files: Vec<(String, String)>,
    scripts: Vec<(&'static str, String)>,
}

impl Deb {
    pub(crate) fn new(name: &'static str, version: &'static str) -> Self {
        let control = String::new();
        Self { name, version, arch: "amd64", control, files: Vec::new(), scripts: Vec::new() }
    }

    pub(crate) fn arch(self, arch: &'static str) -> Self {
        Self { arch, ..self }
    }

    /// Adds a field of the control file.
    pub(crate) fn says(mut self, field: &str) -> Self {
        writeln!(self.control, "{field}").unwrap();
        self
    }

    pub(crate) fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    pub(crate) fn script(mut self, name: &'static str, text: &str) -> Self {
        self.scripts.push((name, format!("#!/bin/sh\nset -e\n{text}\n")));
        self
    }

    /// Builds it beside the root; the path of the archive.
    fn build(&self, stage: &Scenario) -> String {
        let Self { name, version, arch, control, .. } = self;
        let tree = stage.beside(&format!("{name}_{version}_{arch}"));
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let text = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: A <a@b.c>\n{control}Description: a test\n"
        );
        fs::write(tree.join("DEBIAN/control"), text).unwrap();
        let (mut sums, mut conffiles) = (String::new(), String::new());
        for (path, content) in &self.files {
            let at = tree.join(path.trim_start_matches('/'));
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            match content.strip_prefix("-> ") {
                Some(target) => std::os::unix::fs::symlink(target, &at).unwrap(),
                None => fs::write(&at, content).unwrap(),
            }
            if path.starts_with("/etc/") {
                writeln!(conffiles, "{path}").unwrap();
            } else if !content.starts_with("-> ") {
                let sum: String = Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(sums, "{sum}  {}", &path[1..]).unwrap();
            }
        }
        fs::write(tree.join("DEBIAN/md5sums"), sums).unwrap();
        if !conffiles.is_empty() {
            fs::write(tree.join("DEBIAN/conffiles"), conffiles).unwrap();
        }
        for (script, text) in &self.scripts {
            let at = tree.join("DEBIAN").join(script);
            fs::write(&at, text).unwrap();
            fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let archive = format!("{}.deb", tree.display());
        let built = Command::new("dpkg-deb")
            .args(["--root-owner-group", "-b"])
            .arg(&tree)
            .arg(&archive)
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        archive
    }
}

/// A root with the records of the real dpkg. None where dpkg or root is missing; it says so, with the name of the test.
pub(crate) fn debian(test: &str) -> Option<Scenario> {
    if !is_root() || Command::new("dpkg").arg("--version").output().is_err() {
        crate::skipped(&format!("{test}: it takes dpkg, and root"));
        return None;
    }
    let stage = Scenario::new();
    for directory in ["/var/lib/dpkg/info", "/var/lib/dpkg/updates", "/var/lib/dpkg/triggers", "/usr/bin"] {
        stage.directory(directory);
    }
    stage.file("/var/lib/dpkg/status", "");
    stage.file("/var/lib/dpkg/available", "");
    stage.symlink("/bin", "usr/bin");
    Some(stage)
}

/// Runs a command of dpkg on the root.
pub(crate) fn dpkg(stage: &Scenario, program: &str, words: &[&str]) -> Run {
    let mut command = Command::new(program);
    command.arg(format!("--root={}", stage.root().display())).args(words);
    let output = command.env("LC_ALL", "C").env_remove("DPKG_ROOT").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[track_caller]
pub(crate) fn installs(stage: &Scenario, debs: &[&Deb]) {
    let archives: Vec<String> = debs.iter().map(|deb| deb.build(stage)).collect();
    let words: Vec<&str> =
        ["--force-script-chrootless", "-i"].into_iter().chain(archives.iter().map(String::as_str)).collect();
    let run = dpkg(stage, "dpkg", &words);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
}

/// A sparse package for an adopted one.
pub(crate) fn sparse(name: &str, version: &str) -> Package {
    Package::new(&format!("DEB{name}")).param("BASEDIR", "/").param("ARCH", "amd64").param("VERSION", version)
}

#[track_caller]
pub(crate) fn adds(stage: &Scenario, patch: &Patch) -> Run {
    let at = patch.directory(stage);
    let run = stage.run(&format!("add -R @ROOT@ {}", at.display()));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    run
}

fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).stdout).unwrap()
}

fn web(version: &'static str) -> Deb {
    Deb::new("web", version)
        .file("/bin/web", &format!("web {version}\n"))
        .file("/usr/share/web/data", &format!("data {version}\n"))
        .file("/usr/share/web/page", &format!("page {version}\n"))
        .file("/etc/web.conf", &format!("conf {version}\n"))
}

/// A root with `web` 1, adopted and patched: a file replaced, one deleted, one with another mode, one added, and a
/// configuration file.
fn patched(test: &str) -> Option<Scenario> {
    let stage = debian(test)?;
    installs(&stage, &[&web("1")]);
    stage.run("adopt --dpkg web -R @ROOT@").ok();
    let package = sparse("web", "1")
        .file("bin/web", 0o644, "web fixed\n")
        .file("usr/share/web/page", 0o600, "page 1\n")
        .file("usr/share/web/more", 0o644, "more\n")
        .file("etc/web.conf", 0o644, "conf fixed\n")
        .deletes(&["usr/share/web/data"]);
    adds(&stage, &Patch::of("100-01", package));
    Some(stage)
}

#[test]
fn a_path_is_found_under_every_name_of_its_directory() {
    let Some(stage) = patched("a_path_is_found_under_every_name_of_its_directory") else { return };
    let by_link = stage.run("owner -R @ROOT@ /bin/web").ok();
    assert!(by_link.starts_with("@ROOT@/bin/web: of DEBweb\n  web 1 (dpkg) lists it\n  100-01  "), "{by_link}");
    assert_eq!(stage.run("owner -R @ROOT@ /usr/bin/web").ok(), by_link, "as packages list it");
    assert_eq!(stage.run("show -R @ROOT@ /usr/bin/web").ok(), by_link);
    let differences = stage.run("diff -R @ROOT@ 100-01 /bin/web").ok();
    assert!(differences.contains("-web fixed\n+web 1\n"), "{differences}");
    assert_eq!(stage.run("diff -R @ROOT@ 100-01 /usr/bin/web").ok(), differences);
    assert!(stage.run("diff -R @ROOT@ 100-01 /usr/bin").ok().contains("+web 1\n"), "and below a directory");
    let listed = stage.run("pkgchk -R @ROOT@ -l -p /bin/web").ok();
    assert!(listed.contains("/bin/web\n") && listed.contains("\tDEBweb"), "{listed}");
    assert_eq!(stage.run("pkgchk -R @ROOT@ -l -p /usr/bin/web").ok(), listed);
    assert_eq!(stage.run("order -R @ROOT@ /usr/bin/web").ok(), stage.run("order -R @ROOT@ /bin/web").ok());
    let said = document(&stage, "owner --json -R @ROOT@ /usr/bin/web");
    assert_eq!(
        said["paths"][0]["native"],
        json!([{"manager": "dpkg", "name": "web", "version": "1", "listed": "/bin/web"}])
    );
}

#[test]
fn a_path_of_a_package_that_nobody_adopted_has_its_owner_named() {
    let test = "a_path_of_a_package_that_nobody_adopted_has_its_owner_named";
    let Some(stage) = patched(test) else { return };
    installs(&stage, &[&Deb::new("other", "7").file("/usr/bin/other", "other\n")]);
    assert_eq!(
        stage.run("owner -R @ROOT@ /bin/other").ok(),
        "@ROOT@/bin/other: no package has it now\n  other 7 (dpkg) lists it as /usr/bin/other\n  \
         no applied patch changed or delivers it\n"
    );
}

#[test]
fn what_verifiers_say_of_patched_files_is_what_they_say() {
    let Some(stage) = patched("what_verifiers_say_of_patched_files_is_what_they_say") else { return };
    let (mut told, mut summed) = (Vec::new(), Vec::new());
    for path in ["/bin/web", "/etc/web.conf", "/usr/share/web/data", "/usr/share/web/page", "/usr/share/web/more"] {
        let said = document(&stage, &format!("owner --json -R @ROOT@ {path}"));
        for report in said["paths"][0]["verifiers"].as_array().into_iter().flatten() {
            let says = report["says"].as_str().unwrap().to_owned();
            match report["command"].as_str().unwrap() {
                "dpkg --verify web" => told.push(says),
                "debsums web" => summed.push(says),
                "debsums -a web" => assert_eq!(says, "/etc/web.conf FAILED"),
                other => panic!("{other}"),
            }
        }
    }
    let verified = dpkg(&stage, "dpkg", &["--verify", "web"]).stdout;
    assert_eq!(told, verified.lines().collect::<Vec<_>>());
    assert_eq!(told.len(), 3, "mode and added files are nothing to dpkg: {told:?}");
    assert_eq!(summed, ["/bin/web FAILED", "missing file /usr/share/web/data"]);
    if Command::new("debsums").arg("--version").output().is_ok() {
        let run = dpkg(&stage, "debsums", &["-a", "web"]);
        let said = format!("{}{}", run.stdout, run.stderr);
        let root = stage.root().display().to_string();
        let said = said.replace(&root, "").split_whitespace().collect::<Vec<_>>().join(" ");
        for one in summed.iter().map(String::as_str).chain(["/etc/web.conf FAILED"]) {
            assert!(said.contains(one), "{one}: {said}");
        }
    }
    let text = stage.run("owner -R @ROOT@ /bin/web").ok();
    assert!(text.contains("  `dpkg --verify web` says: ??5??????   /bin/web\n"), "{text}");
}

#[test]
fn a_diverted_file_is_found_where_it_is_and_its_path_says_so() {
    let Some(stage) = patched("a_diverted_file_is_found_where_it_is_and_its_path_says_so") else { return };
    let words = ["--package", "other", "--rename", "--divert", "/bin/web.real", "--add", "/bin/web"];
    assert_eq!(dpkg(&stage, "dpkg-divert", &words).code, 0);
    installs(&stage, &[&Deb::new("other", "7").file("/bin/web", "another web\n")]);
    for refresh in [false, true] {
        if refresh {
            stage.run("adopt --refresh -R @ROOT@").ok();
        }
        let said = stage.run("owner -R @ROOT@ /usr/bin/web").ok();
        assert!(said.contains("  other 7 (dpkg) lists it as /bin/web\n"), "{said}");
        assert!(
            said.contains("  the file of web is @ROOT@/bin/web.real: other diverts it (dpkg-divert)\n"),
            "{said}"
        );
        let said = stage.run("owner -R @ROOT@ /usr/bin/web.real").ok();
        assert!(said.contains("of DEBweb\n  web 1 (dpkg) lists it as /bin/web\n"), "{said}");
        assert!(said.contains("  100-01  "), "{said}");
        assert!(!said.contains("dpkg --verify"), "dpkg compares no sum of what is diverted: {said}");
    }
    assert!(!dpkg(&stage, "dpkg", &["--verify", "web"]).stdout.contains("web.real"));
}
