use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The commands that `.ci/tools` itself uses.
const BASICS: [&str; 5] = ["sh", "date", "timeout", "env", "sleep"];

/// A machine with only [`BASICS`], where the caller is the superuser and this script is the package manager.
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
    // If the real directories are links to /usr/bin, they have every installed tool.
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
    let of_sh = [
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
    ];
    let of_bash = [".ci/run", ".ci/reliability", "testdata/compat/0.1/make", "testdata/public/lib.sh"];
    for (tool, scripts) in
        [("shellcheck", &[&of_sh[..], &of_bash].concat()[..]), ("checkbashisms", &of_sh[..])]
    {
        let scripts = scripts.iter().map(|script| checkout(script));
        match Command::new(tool).args(scripts).output() {
            Err(_) => crate::missing(tool, "the_scripts_of_the_checks_have_nothing_to_warn_of"),
            Ok(output) => assert!(output.status.success(), "{output:?}"),
        }
    }
}

/// A repository with one suite, which uses one helper and two of three crates.
fn small_repository() -> TempDir {
    let root = TempDir::new().unwrap();
    let command = fs::read_to_string(checkout(".ci/reliability")).unwrap();
    let files = [
        ("Cargo.toml", "[dependencies]\npatchadm-core.workspace = true\n\n[dev-dependencies]\n"),
        ("Cargo.lock", ""),
        ("crates/core/Cargo.toml", "[dependencies]\npatchadm-svr4.workspace = true\n"),
        ("crates/core/src/tests.rs", ""),
        ("crates/svr4/Cargo.toml", ""),
        ("crates/svr4/src/lib.rs", ""),
        ("crates/svr4/README.md", ""),
        ("crates/pages/Cargo.toml", ""),
        ("crates/pages/src/lib.rs", ""),
        ("programs/make/Cargo.toml", ""),
        ("fuzz/Cargo.toml", ""),
        ("src/main.rs", ""),
        ("docs/page.md", ""),
        ("man/patchadm.8", ""),
        ("testdata/signatures/key", ""),
        ("testdata/other/key", ""),
        ("tests/tests.rs", "mod edited;\nmod reliability;\nmod signed;\n"),
        ("tests/reliability.rs", "mod crash;\nmod flips;\n"),
        ("tests/reliability/crash.rs", ""),
        ("tests/reliability/flips.rs", "use crate::{\n    signed::{KEY},\n};\n"),
        ("tests/signed.rs", "const KEY: &str = \"testdata/signatures/key\";\n"),
        ("tests/edited.rs", ""),
        (".ci/reliability", command.as_str()),
    ];
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn a_suite_is_stale_when_what_it_uses_changes_and_not_when_a_page_or_another_suite_does() {
    let git = |root: &Path, args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@example.com"]).args(args);
        command.current_dir(root).output()
    };
    let root = small_repository();
    let root = root.path();
    let Ok(made) = git(root, &["init", "-q"]) else {
        return crate::skipped("a_suite_is_stale…: git is not installed");
    };
    assert!(made.status.success(), "{made:?}");
    let listed = || {
        for args in [&["add", "-A"][..], &["commit", "-q", "--allow-empty", "-m", "change"][..]] {
            let output = git(root, args).unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let output =
            Command::new("bash").args([".ci/reliability", "--list", "flips"]).current_dir(root).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let first = listed();
    assert!(first.starts_with("reliability::flips") && first.contains("never played"), "{first}");
    let digest = first.trim_end().rsplit(' ').next().unwrap();
    let result = format!("{digest}\tabcdef123456\t2026-11-24\t125\treliability::flips::a\tflips: 1 bytes\n");
    fs::write(root.join("docs/reliability.tsv"), result).unwrap();
    let state = || listed().split_whitespace().nth(1).unwrap().to_owned();
    let change = |path: &str, more: &str| {
        let text = fs::read_to_string(root.join(path)).unwrap();
        fs::write(root.join(path), text + more).unwrap();
    };
    assert_eq!(state(), "current");
    for other in [
        "docs/page.md",
        "man/patchadm.8",
        "crates/svr4/README.md",
        "crates/core/src/tests.rs",
        "crates/pages/src/lib.rs",
        "tests/edited.rs",
        "tests/reliability/crash.rs",
        "testdata/other/key",
    ] {
        change(other, "changed\n");
        assert_eq!(state(), "current", "{other}");
    }
    change("tests/tests.rs", "mod another;\n");
    assert_eq!(state(), "current", "another module of tests");
    for commented in ["src/main.rs", "crates/svr4/src/lib.rs", "tests/reliability/flips.rs"] {
        change(commented, "    // why\n");
        assert_eq!(state(), "current", "a comment in {commented}");
    }
    for used in [
        "Cargo.toml",
        "Cargo.lock",
        "src/main.rs",
        "crates/svr4/src/lib.rs",
        "tests/tests.rs",
        "tests/reliability/flips.rs",
        "tests/signed.rs",
        "testdata/signatures/key",
    ] {
        let before = fs::read(root.join(used)).unwrap();
        change(used, "static CHANGED: u8 = 1;\n");
        assert_eq!(state(), "stale", "{used}");
        fs::write(root.join(used), before).unwrap();
    }
    assert_eq!(state(), "current", "as it was");
}
