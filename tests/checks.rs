use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The commands that `.ci/tools` itself is made of.
const BASICS: [&str; 5] = ["sh", "date", "timeout", "env", "sleep"];

/// A machine with nothing but those, where the caller is the superuser, and a package manager that is this script.
fn machine(apt_get: Option<&str>) -> TempDir {
    let bin = TempDir::new().unwrap();
    for name in BASICS {
        symlink(found(name), bin.path().join(name)).unwrap();
    }
    script(&bin.path().join("id"), "echo 0");
    if let Some(text) = apt_get {
        script(&bin.path().join("apt-get"), text);
    }
    bin
}

fn found(name: &str) -> PathBuf {
    let places = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(name));
    places.into_iter().find(|path| path.exists()).expect(name)
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn tools(bin: &TempDir, seconds: &str) -> Output {
    let mut command = Command::new(checkout(".ci/tools"));
    command.env_clear().env("PATH", bin.path()).env("PATCHADM_TOOLS_SECONDS", seconds);
    // On a machine where they are links to /usr/bin they have everything that is installed.
    command.env("PATCHADM_TOOLS_SBIN", bin.path().join("sbin"));
    command.env("CARGO_HOME", bin.path()).output().unwrap()
}

fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_checks_begin_without_any_tool_and_say_which_ones_they_lack() {
    for apt_get in [None, Some("exit 100"), Some("exit 0")] {
        let output = tools(&machine(apt_get), "20");
        assert!(output.status.success(), "{apt_get:?}: {output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        for tool in ["mandoc", "shellcheck", "checkbashisms", "minisign", "mkfs.xfs", "strace", "cargo-deny"]
        {
            let line = format!("{tool} is not installed and cannot be added\n");
            assert!(said.contains(&line), "{apt_get:?}: {said}");
        }
    }
}

#[test]
fn a_tool_is_found_where_those_of_the_superuser_are() {
    let bin = machine(None);
    fs::create_dir(bin.path().join("sbin")).unwrap();
    script(&bin.path().join("sbin/mkfs.xfs"), "exit 0");
    let said = String::from_utf8(tools(&bin, "20").stdout).unwrap();
    assert!(!said.contains("mkfs.xfs") && said.contains("strace is not installed"), "{said}");
}

#[test]
fn a_package_manager_that_hangs_holds_the_checks_up_only_so_long() {
    let began = Instant::now();
    let output = tools(&machine(Some("trap '' TERM\nsleep 1000")), "2");
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8(output.stdout).unwrap().contains("mandoc is not installed and cannot be added")
    );
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn a_tool_that_a_package_brings_is_there_afterwards() {
    let bin = machine(None);
    let apt_get = format!(
        "case \"$*\" in *no-download*minisign) : >'{0}/minisign'; /bin/chmod 755 '{0}/minisign' ;; esac",
        bin.path().display()
    );
    script(&bin.path().join("apt-get"), &apt_get);
    let said = String::from_utf8(tools(&bin, "60").stdout).unwrap();
    assert!(!said.contains("minisign") && said.contains("mandoc is not installed"), "{said}");
}

#[test]
fn the_scripts_of_the_checks_have_nothing_to_warn_of() {
    let scripts = [
        ".ci/tools",
        "fuzz/run",
        "packaging/build",
        "packaging/check",
        "packaging/stage",
        "packaging/debian/postinst",
        "packaging/debian/postrm",
        "testdata/bulk/slurm",
        "testdata/bulk/pkgsrc/kit/bin/pkg_add",
        "testdata/bulk/pkgsrc/kit/bin/pkg_info",
        "testdata/bulk/pkgsrc/kit/bin/pkg_delete",
        ".ci/run",
        ".ci/reliability",
        "testdata/compat/0.1/make",
        "testdata/public/lib.sh",
    ];
    // Those of bash have nothing to do with checkbashisms.
    let without_bash = &scripts[..scripts.len() - 4];
    for (tool, scripts) in [("shellcheck", &scripts[..]), ("checkbashisms", without_bash)] {
        let scripts = scripts.iter().map(|script| checkout(script));
        match Command::new(tool).args(scripts).output() {
            Err(_) => crate::missing(tool, "the_scripts_of_the_checks_have_nothing_to_warn_of"),
            Ok(output) => assert!(output.status.success(), "{output:?}"),
        }
    }
}
