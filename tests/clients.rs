//! Programs that call these commands, with their exact command lines and the output that they rely on.
//!
//! Each test is one client: it runs the client's command line in a shell whose PATH has links to the program, and
//! parses the output like the client. `PKG_INSTALL_ROOT` names the root, because most clients know no other way. This
//! module has the queries, `clients_changes` the changes, and `clients_making` the making of packages.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use regex::Regex;

use crate::delivery::Patch;
use crate::packages::{Package, datastream};
use crate::scenario::{NOW, Run, Scenario};

/// A machine with the classic commands in its PATH, on which packages are installed and patches applied.
pub(crate) struct Machine {
    pub(crate) stage: Scenario,
}

/// The package that clients look for.
pub(crate) fn web() -> Package {
    Package::new("ACMEweb")
        .param("NAME", "Web server")
        .param("CATEGORY", "application,utils")
        .param("VERSION", "2.0,REV=2026.11")
        .param("VENDOR", "Acme Ltd.")
        .param("DESC", "Serves pages")
        .directory("bin")
        .file("bin/httpd", 0o755, "hello\n")
        .content('e', "etc/httpd.conf", 0o644, "root root", crate::packages::DELIVERED, "port=80\n")
}

fn library() -> Package {
    Package::new("ACMElib").param("CATEGORY", "system").file("lib/liba.so.1", 0o755, "a\n")
}

impl Machine {
    fn new() -> Self {
        Self::with(&[web(), library()])
    }

    /// A machine with these packages.
    pub(crate) fn with(packages: &[Package]) -> Self {
        let stage = Scenario::with(packages);
        fs::create_dir(stage.beside("bin")).unwrap();
        stage.run(&format!("setup links {}", stage.beside("bin").display())).ok();
        Self { stage }
    }

    /// A machine with two patches, of which the second obsoletes the first.
    fn patched() -> Self {
        let machine = Self::new();
        let httpd = |text: &str| {
            Package::new("ACMEweb").param("VERSION", "2.0,REV=2026.11").file("bin/httpd", 0o755, text)
        };
        let library = || Package::new("ACMElib").file("lib/liba.so.1", 0o755, "b\n");
        let first = Patch::of("120001-01", httpd("hello, one\n"));
        let second = Patch::of("120002-03", httpd("hello, two\n"))
            .says("SUNW_OBSOLETES", "120001-01")
            .package(library())
            .says("SUNW_OBSOLETES", "120001-01");
        for patch in [first, second] {
            let run = machine.stage.patchadd("", &patch);
            assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        }
        machine
    }

    /// A datastream with the web server, which is not installed from it.
    pub(crate) fn stream(&self) -> PathBuf {
        let at = self.stage.beside("web.pkg");
        datastream(&[web().write(&self.stage.beside("to-stream"))], &at);
        at
    }

    /// Runs a line of shell as the client does, in the directory above the root; `@ROOT@` is the root, `@STREAM@` a
    /// datastream.
    pub(crate) fn sh(&self, line: &str) -> Run {
        let (root, stream) = (self.stage.root(), self.stream());
        let line = line.replace("@ROOT@", root.to_str().unwrap());
        let line = line.replace("@STREAM@", stream.to_str().unwrap());
        let output = Command::new("/bin/sh")
            .args(["-c", &line])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.stage.beside("bin").display()))
            .env("PKG_INSTALL_ROOT", &root)
            .env("SOURCE_DATE_EPOCH", NOW.to_string())
            .env("TZ", "UTC0")
            .current_dir(self.stage.beside(""))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(root.to_str().unwrap(), "@ROOT@");
        let code = output.status.code().unwrap();
        Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// `KEY: value` pairs of a block of the long listing, as Puppet and GLPI split them.
fn fields(block: &str) -> Vec<(&str, &str)> {
    let lines = block.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(key, value)| (key.trim(), value.trim())).collect()
}

fn field<'a>(block: &'a str, key: &str) -> &'a str {
    fields(block).into_iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value)
}

#[test]
fn ansible_asks_by_exit_code_whether_a_package_or_a_category_is_installed() {
    let machine = Machine::new();
    for (line, code) in [
        ("pkginfo -q ACMEweb", 0),
        ("pkginfo -q ACMEnone", 1),
        ("pkginfo -q -c utils", 0),
        ("pkginfo -q -c games", 1),
    ] {
        let run = machine.sh(line);
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (code, "", ""), "{line}");
    }
}

#[test]
fn salt_reads_two_lines_for_each_package() {
    let text = Machine::new().sh("pkginfo -x").ok();
    let lines: Vec<&str> = text.lines().collect();
    let packages: Vec<(&str, &str)> = lines
        .chunks(2)
        .map(|two| (two[0].split_whitespace().next().unwrap(), two[1].split_whitespace().last().unwrap()))
        .collect();
    assert_eq!(packages, [("ACMElib", "1.0"), ("ACMEweb", "2.0,REV=2026.11")]);
}

#[test]
fn puppet_splits_the_long_listing_at_blank_lines_and_colons() {
    let machine = Machine::new();
    let text = machine.sh("pkginfo -l").ok();
    let blocks: Vec<&str> = text.split("\n\n").filter(|block| !block.trim().is_empty()).collect();
    assert_eq!(blocks.len(), 2);
    for (line, state) in
        [("pkginfo -l ACMEweb", "completely installed"), ("pkginfo -l -d @STREAM@ ACMEweb", "spooled")]
    {
        let text = machine.sh(line).ok();
        let wanted = ["PKGINST", "CATEGORY", "ARCH", "VERSION", "BASEDIR", "VENDOR", "DESC", "STATUS"];
        let found: Vec<&str> = wanted.iter().map(|key| field(&text, key)).collect();
        let expected = [
            "ACMEweb",
            "application,utils",
            "i386",
            "2.0,REV=2026.11",
            "/opt/ACMEweb",
            "Acme Ltd.",
            "Serves pages",
            state,
        ];
        assert_eq!(found, expected, "{line}");
    }
    assert_ne!(machine.sh("pkginfo -l ACMEnone").code, 0);
    assert_ne!(machine.sh("pkginfo -l -d @STREAM@ ACMEnone").code, 0);
}

#[test]
fn chef_takes_the_version_and_exit_1_for_an_absent_package() {
    let machine = Machine::new();
    let version = Regex::new(r"VERSION:\s+(.+)").unwrap();
    for line in ["pkginfo -l ACMEweb", "pkginfo -l -d @STREAM@ ACMEweb"] {
        let text = machine.sh(line).ok();
        assert_eq!(&version.captures(&text).unwrap()[1], "2.0,REV=2026.11", "{line}");
    }
    let absent = machine.sh("pkginfo -l ACMEnone");
    assert_eq!((absent.code, absent.stdout.as_str()), (1, ""));
}

#[test]
fn glpi_reads_the_date_of_installation_with_an_english_month() {
    let machine = Machine::new();
    let date = Regex::new(r"(?m)^\s+INSTDATE:\s+(\w{3}) (\d{2}) (\d{4}) (\d{2}:\d{2})$").unwrap();
    for line in ["pkginfo -l", "pkginfo -l ACMEweb"] {
        let text = machine.sh(line).ok();
        assert_eq!(date.captures(&text).unwrap()[0].trim(), "INSTDATE:  Nov 20 2026 07:00", "{line}");
    }
}

#[test]
fn ocs_closes_a_package_at_the_blank_line_behind_it() {
    let text = Machine::new().sh("pkginfo -l").ok();
    assert!(text.ends_with("\n\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.is_empty()).count(), 2, "one for each package");
}

#[test]
fn cfengine_begins_a_package_at_its_name_and_reads_the_second_word_of_a_spool() {
    let machine = Machine::new();
    let text = machine.sh("pkginfo -l").ok();
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        assert_eq!(fields(block)[0].0, "PKGINST");
        assert_eq!(field(block, "STATUS"), "completely installed");
    }
    machine.stage.file("/var/sadm/pkg/ACMElib/!I-Lock!", "");
    assert_eq!(field(&machine.sh("pkginfo -l ACMElib").ok(), "STATUS"), "partially installed");
    let spooled = machine.sh("pkginfo -d @STREAM@").ok();
    assert_eq!(spooled.split_whitespace().nth(1), Some("ACMEweb"));
}

#[test]
fn pca_reads_patches_and_packages_by_its_patterns() {
    let machine = Machine::patched();
    let id = Regex::new(r"^Patch:\s+(\d{6})-(\d{2})").unwrap();
    let obsoletes = Regex::new(r" Obsoletes: ([-0-9, ]*) ").unwrap();
    let incompatibles = Regex::new(r" Incompatibles: ([-0-9, ]*) ").unwrap();
    for line in ["showrev -p", "patchadd -p", "patchadd -R @ROOT@ -p"] {
        let text = machine.sh(line).ok();
        let read: Vec<(String, String)> = text
            .lines()
            .map(|line| {
                assert!(incompatibles.is_match(line), "{line}");
                let found = id.captures(line).unwrap();
                (
                    format!("{}-{}", &found[1], &found[2]),
                    obsoletes.captures(line).unwrap()[1].trim().to_owned(),
                )
            })
            .collect();
        let expected = [("120001-01", ""), ("120002-03", "120001-01")];
        assert_eq!(read, expected.map(|(id, list)| (id.to_owned(), list.to_owned())), "{line}");
    }
    let none = Machine::new();
    assert_eq!(none.sh("showrev -p").ok(), "No patches are installed\n");
    assert_eq!(none.sh("patchadd -p").ok(), "No patches installed\n");
    for line in ["pkginfo -x", "pkginfo -x -R @ROOT@"] {
        let text = machine.sh(line).ok();
        assert!(text.contains("\n         (i386) 2.0,REV=2026.11\n"), "{line}: {text}");
    }
}

#[test]
fn pca_checks_a_thousand_paths_from_a_list() {
    let machine = Machine::new();
    let package = (0..1024).fold(Package::new("ACMEmany"), |package, number| {
        package.file(&format!("share/{number:04}"), 0o644, format!("{number}\n"))
    });
    machine.stage.install(&package);
    let paths = (0..1024).map(|number| format!("/opt/ACMEmany/share/{number:04}\n"));
    machine.stage.file("/list", paths.collect::<String>());
    for line in ["pkgchk -q -i @ROOT@/list", "pkgchk -R @ROOT@ -q -i @ROOT@/list"] {
        assert_eq!(machine.sh(line).ok(), "", "{line}");
    }
    fs::remove_file(machine.stage.at("/opt/ACMEmany/share/0007")).unwrap();
    machine.stage.mode("/opt/ACMEmany/share/1023", 0o600);
    assert_eq!(
        machine.sh("pkgchk -q -i @ROOT@/list").fails(1),
        "ERROR: @ROOT@/opt/ACMEmany/share/1023\n    permissions <0644> expected <0600> actual\n"
    );
}

#[test]
fn spacewalk_splits_the_lists_of_a_patch_at_comma_and_blank() {
    let text = Machine::patched().sh("showrev -p").ok();
    let last = text.lines().last().unwrap();
    let (_, packages) = last.split_once(" Packages: ").unwrap();
    assert_eq!(packages.split(", ").collect::<Vec<_>>(), ["ACMElib", "ACMEweb"]);
}

#[test]
fn build_scripts_list_what_a_file_would_install_and_what_a_path_is() {
    let machine = Machine::new();
    let text = machine.sh("pkgchk -l -d @STREAM@ all").ok();
    let paths: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Pathname: ")).collect();
    assert_eq!(paths, ["bin", "bin/httpd", "etc/httpd.conf", "pkginfo"]);
    let text = machine.sh("pkgchk -l -p /opt/ACMEweb/bin/httpd").ok();
    assert!(text.contains("\nReferenced by the following packages:\n\tACMEweb        \n"), "{text}");
}

#[test]
fn pkg_get_takes_the_version_alone() {
    let machine = Machine::new();
    assert_eq!(machine.sh("pkgparam ACMEweb VERSION").ok(), "2.0,REV=2026.11\n");
    assert_eq!(machine.sh("pkgparam ACMEnone VERSION").code, 1);
}

#[test]
fn zap_checks_against_the_spooled_pkgmap_and_greps_the_database() {
    let machine = Machine::new();
    let map = "@ROOT@/var/sadm/pkg/ACMEweb/save/pspool/ACMEweb/pkgmap";
    assert_eq!(machine.sh(&format!("pkgchk -n -m {map} ACMEweb")).ok(), "");
    machine.stage.mode("/opt/ACMEweb/bin/httpd", 0o700);
    assert_eq!(
        machine.sh(&format!("pkgchk -n -m {map} ACMEweb")).fails(1),
        "ERROR: @ROOT@/opt/ACMEweb/bin/httpd\n    permissions <0755> expected <0700> actual\n"
    );
    let owner = machine.sh("grep '^/opt/ACMEweb/bin/httpd ' @ROOT@/var/sadm/install/contents").ok();
    assert_eq!(owner.split_whitespace().last(), Some("ACMEweb"));
    let versions = machine.sh("grep '^VERSION=' @ROOT@/var/sadm/pkg/*/pkginfo").ok();
    assert!(versions.contains("/ACMEweb/pkginfo:VERSION=2.0,REV=2026.11\n"), "{versions}");
}

#[test]
fn auditors_count_packages_and_grep_patches() {
    let machine = Machine::patched();
    machine.stage.file("/var/sadm/pkg/ACMElib/!I-Lock!", "");
    assert_eq!(machine.sh("pkginfo -i | wc -l").ok().trim(), "1");
    assert_eq!(machine.sh("pkginfo -x | wc -l").ok().trim(), "4");
    let found = machine.sh("showrev -p | grep 120002-03").ok();
    assert_eq!((found.lines().count(), found.split_whitespace().nth(1)), (1, Some("120002-03")));
    let all = machine.sh("showrev -a").ok();
    let (system, patches) = all.split_once("Patch: ").unwrap();
    assert!(system.starts_with("Hostname: ") && system.contains("\nKernel version: "), "{system}");
    assert_eq!(patches.lines().count(), 2);
}
