//! The packages of the program: their layout by `packaging/stage`, their default policy, and the response of their
//! hooks to the program's status. `packaging/check` builds, installs, upgrades and purges them, which takes too long
//! for here.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::links::{classic_commands, verbs};
use patchadm_inputs::database::policy;

const KINDS: [&str; 3] = ["deb", "rpm", "archive"];

/// The programs beside `patchadm`, without its name.
const OTHER_PROGRAMS: [&str; 3] = ["bulk", "make", "report"];

/// Paths that each kind of packages has in another place than the others, or alone.
const DIFFERENT: [(&str, &[&str]); 3] = [
    (
        "deb",
        &[
            "etc/apt/apt.conf.d/80patchadm",
            "etc/dpkg/dpkg.cfg.d/patchadm",
            "usr/share/doc/patchadm-bulk",
            "usr/share/doc/patchadm-make",
            "usr/share/doc/patchadm-report",
            "usr/share/doc/patchadm/changelog.gz",
            "usr/share/doc/patchadm/copyright",
            "usr/share/lintian/overrides/patchadm",
            "usr/share/lintian/overrides/patchadm-bulk",
            "usr/share/lintian/overrides/patchadm-make",
            "usr/share/lintian/overrides/patchadm-report",
            "usr/share/zsh/vendor-completions/_patchadm",
        ],
    ),
    (
        "rpm",
        &[
            "etc/dnf/libdnf5-plugins/actions.d/patchadm.actions",
            "etc/dnf/plugins/post-transaction-actions.d/patchadm.action",
            "usr/lib/systemd/system-preset/90-patchadm.preset",
        ],
    ),
    ("archive", &["usr/share/doc/patchadm/policy"]),
];

/// Paths that two of the three kinds have.
const OF_TWO: [&str; 5] = [
    "etc/patchadm/policy",
    "usr/share/doc/patchadm/CHANGELOG.md",
    "usr/share/licenses/patchadm/LICENSE-APACHE",
    "usr/share/licenses/patchadm/LICENSE-MIT",
    "usr/share/zsh/site-functions/_patchadm",
];

fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(checkout(path)).unwrap()
}

/// Lays out all packages of a kind in a directory of their own. A small file stands for the program; the real one is
/// only asked for its names.
fn laid_out(kind: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("program"), "the program").unwrap();
    for other in OTHER_PROGRAMS {
        fs::write(dir.path().join(format!("program-{other}")), other).unwrap();
    }
    let output = Command::new(checkout("packaging/stage"))
        .arg(kind)
        .args([dir.path().join("program"), dir.path().join("root")])
        .arg(env!("CARGO_BIN_EXE_patchadm"))
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{kind}: {output:?}");
    dir
}

/// The root of each package of a kind, by its name; an archive has one root for all.
fn roots(kind: &str, laid_out: &TempDir) -> Vec<(String, PathBuf)> {
    let root = laid_out.path().join("root");
    if kind == "archive" {
        return vec![("patchadm".to_owned(), root)];
    }
    let others = OTHER_PROGRAMS.map(|other| format!("patchadm-{other}"));
    let names = others.into_iter().chain(["patchadm".to_owned()]);
    names.map(|name| (name.clone(), root.join(name))).collect()
}

/// Copies all packages of a kind into one root, as if they were installed, and asserts that no two of them have the
/// same file.
fn installed(kind: &str) -> TempDir {
    let dir = laid_out(kind);
    let together = TempDir::new().unwrap();
    let mut there = BTreeSet::new();
    for (name, root) in roots(kind, &dir) {
        for path in paths(&root) {
            assert!(there.insert(path.clone()), "{kind}: {name} is not the only one with {path}");
        }
        let copied = Command::new("cp").arg("-a").arg(root.join(".")).arg(together.path()).status().unwrap();
        assert!(copied.success());
    }
    together
}

/// The paths of all files and links below a directory.
fn paths(below: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut directories = vec![below.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                found.insert(entry.path().strip_prefix(below).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn every_command_has_its_link_and_every_page_its_place_in_every_kind() {
    for kind in KINDS {
        let dir = installed(kind);
        let root = dir.path();
        let there = paths(root);
        let program = root.join("usr/bin/patchadm");
        assert_eq!(fs::read_to_string(&program).unwrap(), "the program");
        assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o7777, 0o755);
        for other in OTHER_PROGRAMS {
            let at = root.join(format!("usr/bin/patchadm-{other}"));
            assert_eq!(fs::read_to_string(&at).unwrap(), other);
            assert_eq!(fs::metadata(&at).unwrap().permissions().mode() & 0o7777, 0o755);
        }
        let links: BTreeSet<String> = paths(&root.join("usr/lib/patchadm/bin"));
        assert_eq!(links, BTreeSet::from_iter(classic_commands()), "{kind}");
        for command in &links {
            let link = root.join("usr/lib/patchadm/bin").join(command);
            assert_eq!(link.canonicalize().unwrap(), program.canonicalize().unwrap());
        }
        let place = |page: &str| format!("usr/share/man/man{}/{page}.gz", page.rsplit('.').next().unwrap());
        for page in paths(&checkout("man")) {
            assert!(there.contains(&place(&page)), "{kind}: {page}");
        }
        for verb in verbs() {
            let page = place(&format!("patchadm-{verb}.8"));
            assert!(there.contains(&page) && root.join(&page).exists(), "{kind}: {page}");
        }
        for command in classic_commands() {
            let pages = [1, 8].map(|section| place(&format!("{command}.{section}")));
            assert!(pages.iter().any(|page| there.contains(page)), "{kind}: {command}");
        }
        assert!(there.contains("usr/lib/systemd/system/patchadm-recover.service"));
        assert!(there.contains("usr/share/bash-completion/completions/patchadm"));
        assert!(there.contains("usr/share/fish/vendor_completions.d/patchadm.fish"));
    }
}

#[test]
fn every_program_is_in_its_package_with_its_pages_and_completions() {
    for kind in ["deb", "rpm"] {
        let dir = laid_out(kind);
        for (name, root) in roots(kind, &dir) {
            let there = paths(&root);
            let programs = paths(&root.join("usr/bin"));
            assert_eq!(programs, BTreeSet::from([name.clone()]), "{kind}");
            for path in [
                format!("usr/share/man/man8/{name}.8.gz"),
                format!("usr/share/bash-completion/completions/{name}"),
                format!("usr/share/fish/vendor_completions.d/{name}.fish"),
            ] {
                assert!(there.contains(&path), "{kind}: {name}: {path}");
            }
            // These pages document the classic commands of this program.
            let is_make = name == "patchadm-make";
            for page in ["pkgmk.1", "pkgproto.1", "prototype.5"] {
                let section = page.rsplit('.').next().unwrap();
                let path = format!("usr/share/man/man{section}/{page}.gz");
                assert_eq!(there.contains(&path), is_make, "{kind}: {name}: {path}");
            }
            let has_more = there.iter().any(|path| path.starts_with("etc/") || path.starts_with("usr/lib/"));
            assert_eq!(has_more, name == "patchadm", "{kind}: {name}: {there:?}");
        }
    }
}

#[test]
fn every_line_of_the_list_has_a_known_package_and_a_source_that_is_there() {
    let list = text("packaging/files");
    let mut seen = BTreeSet::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let [kinds, package, mode, source, place] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        assert!(kinds == "all" || kinds.split(',').all(|kind| KINDS.contains(&kind)), "{line}");
        let other = package.strip_prefix("patchadm-");
        assert!(
            package == "patchadm" || other.is_some_and(|other| OTHER_PROGRAMS.contains(&other)),
            "{line}"
        );
        assert!(["0644", "0755"].contains(&mode), "{line}");
        assert!(source.starts_with("PROGRAM") || source.contains('*') || checkout(source).exists(), "{line}");
        assert!(seen.insert((kinds, source, place)), "{line}");
    }
}

#[test]
fn the_packages_of_the_other_programs_need_patchadm_of_their_version() {
    let (control, spec) = (text("packaging/debian/control"), text("packaging/rpm/patchadm.spec"));
    for other in OTHER_PROGRAMS {
        let stanza =
            control.split("\n\n").find(|part| part.starts_with(&format!("Package: patchadm-{other}\n")));
        let stanza = stanza.unwrap_or_else(|| panic!("{other}: {control}"));
        assert!(stanza.contains("\nDepends: patchadm (= ${binary:Version}), "), "{stanza}");
        // The package of version 0.1 had the files of all programs.
        assert!(stanza.contains("\nBreaks: patchadm (<< 1.0~)\nReplaces: patchadm (<< 1.0~)\n"), "{stanza}");
        let (_, package) = spec.split_once(&format!("\n%package {other}\n")).unwrap();
        let (package, _) = package.split_once("\n\n").unwrap();
        assert!(package.contains("\nRequires: patchadm = %{version}-%{release}"), "{package}");
        assert!(spec.contains(&format!("\n%files {other} -f %{{listed}}/patchadm-{other}\n")), "{spec}");
    }
}

#[test]
fn the_kinds_differ_in_their_hooks_and_in_nothing_else_of_weight() {
    let all = KINDS.map(|kind| paths(installed(kind).path()));
    let common: BTreeSet<&String> =
        all[0].iter().filter(|path| all.iter().all(|one| one.contains(*path))).collect();
    for (package, (name, alone)) in all.iter().zip(DIFFERENT) {
        let own: Vec<&str> = package
            .iter()
            .filter(|path| !common.contains(path) && !OF_TWO.contains(&path.as_str()))
            .map(String::as_str)
            .collect();
        assert_eq!(own, alone, "{name}");
    }
    for path in OF_TWO {
        assert_eq!(all.iter().filter(|package| package.contains(path)).count(), 2, "{path}");
    }
}

#[test]
fn the_default_policy_sets_nothing_and_names_every_setting() {
    let text = text("packaging/policy");
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
    policy::parse(text.as_bytes(), "policy").unwrap();
    // A line of prose has a blank after its `#`.
    let lines = text.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' '));
    let settings: String = lines.map(|line| format!("{line}\n")).collect();
    policy::parse(settings.as_bytes(), "policy").unwrap();
    let names: BTreeSet<&str> = settings.lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert_eq!(names.len(), settings.lines().count(), "a setting occurs twice");
    let error = policy::parse(b"nosuch=1\n", "policy").unwrap_err().to_string();
    let known = error.split_once("the settings are ").unwrap().1;
    assert_eq!(names, known.split(", ").collect());
}

/// Runs a line of a hook with a program that ends with this status, or without a program, and returns the status of
/// the line. The root of the package manager has a blank in its name, and a package database.
fn status_of(line: &str, status: Option<i32>) -> i32 {
    let dir = TempDir::new().unwrap();
    let (program, root) = (dir.path().join("patchadm"), dir.path().join("a root"));
    fs::create_dir_all(root.join("var/sadm/pkg")).unwrap();
    let said = said_of(line, &program, &root, status);
    assert_eq!(said.1.starts_with("adopt --"), status.is_some(), "{line}: {}", said.1);
    assert_eq!(said.1.lines().count(), usize::from(status.is_some()), "{line}: {}", said.1);
    said.0
}

/// Runs a line of a hook, and returns its status and its standard error.
fn said_of(line: &str, program: &Path, root: &Path, status: Option<i32>) -> (i32, String) {
    if let Some(status) = status {
        fs::write(program, format!("#!/bin/sh\necho \"$@\" >&2\nexit {status}\n")).unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (program, database) = (program.to_str().unwrap(), root.join("var/sadm/pkg"));
    let line = line.replace("/usr/bin/patchadm", program);
    let line = line.replace("[ -d /var/sadm/pkg ]", &format!("[ -d '{}' ]", database.display()));
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", &line]).env("DPKG_ADMINDIR", root.join("var/lib/dpkg")).output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The line of sh in a hook, between `before` and `after`.
fn line_between(hook: &str, before: &str, after: &str) -> String {
    let text = text(hook);
    let line = text.lines().find_map(|line| line.strip_prefix(before)?.strip_suffix(after));
    line.unwrap_or_else(|| panic!("{hook}: {text}")).to_owned()
}

#[test]
fn the_hook_of_apt_stops_it_by_one_status_only() {
    let hook = "packaging/hooks/80patchadm";
    let line = line_between(hook, "DPkg::Pre-Install-Pkgs { \"", "\"; };");
    for status in [0, 1, 2, 4, 5, 6, 9, 126, 127, 130] {
        assert_eq!(status_of(&line, Some(status)), 0, "{status}");
    }
    assert_eq!(status_of(&line, Some(3)), 3);
    assert_eq!(status_of(&line, None), 0);
    // apt looks up the protocol version of the program by the first word.
    let word = line.split(' ').next().unwrap();
    assert!(text(hook).contains(&format!("\nDPkg::Tools::Options::{word}::Version \"3\";\n")));
}

#[test]
fn the_other_hooks_stop_nothing() {
    let dpkg = line_between("packaging/hooks/dpkg.cfg", "post-invoke=\"", "\"");
    let dnf = line_between("packaging/hooks/dnf4.action", "*:any:", "");
    let dnf5 = line_between("packaging/hooks/dnf5.actions", "post_transaction::::/bin/sh -c ", "");
    assert!(!dnf5.replace("\\ ", "").contains(' '), "one word: {dnf5}");
    for line in [dpkg, dnf, dnf5.replace("\\ ", " ")] {
        for status in [0, 1, 2, 3, 127] {
            assert_eq!(status_of(&line, Some(status)), 0, "{line}, {status}");
        }
        assert_eq!(status_of(&line, None), 0, "{line}");
    }
}

#[test]
fn the_hooks_of_apt_and_dpkg_call_nothing_where_no_package_was_ever_recorded() {
    let apt = line_between("packaging/hooks/80patchadm", "DPkg::Pre-Install-Pkgs { \"", "\"; };");
    let dpkg = line_between("packaging/hooks/dpkg.cfg", "post-invoke=\"", "\"");
    let dir = TempDir::new().unwrap();
    let before_dpkg = line_between("packaging/hooks/dpkg.cfg", "pre-invoke=\"", "\"");
    for line in [apt, dpkg, before_dpkg] {
        let said = said_of(&line, &dir.path().join("patchadm"), &dir.path().join("a root"), Some(69));
        assert_eq!(said, (0, String::new()), "{line}");
    }
}

#[test]
fn the_hook_before_dpkg_calls_the_program_only_where_a_run_has_something_staged_and_stops_nothing() {
    let line = line_between("packaging/hooks/dpkg.cfg", "pre-invoke=\"", "\"");
    let dir = TempDir::new().unwrap();
    let (program, root) = (dir.path().join("patchadm"), dir.path().join("a root"));
    let stage = root.join("var/sadm/patchadm/stage");
    fs::create_dir_all(&stage).unwrap();
    assert_eq!(said_of(&line, &program, &root, Some(0)), (0, String::new()), "nothing is staged");
    fs::create_dir(stage.join("12-00000000000000aa")).unwrap();
    for status in [0, 1, 64, 65, 127] {
        let said = said_of(&line, &program, &root, Some(status));
        assert_eq!(said, (0, "recover --from-hook\n".to_owned()), "{status}");
    }
    fs::remove_file(&program).unwrap();
    assert_eq!(said_of(&line, &program, &root, None), (0, String::new()), "patchadm was removed");
}
