use std::fs;

use crate::packages::Package;
use crate::scenario::{Run, Scenario};
use crate::terminal::at_terminal;
use crate::tree::{Tree, assert_same};

/// A root with these packages installed.
fn stage(packages: &[Package]) -> Scenario {
    let stage = Scenario::new();
    for package in packages {
        package.write(&stage.beside("spool"));
    }
    let run = stage.run("pkgadd -n -R @ROOT@ -d spool all");
    assert_eq!(run.code, 0, "{}", run.stderr);
    stage
}

fn remove(stage: &Scenario, words: &str) -> Run {
    stage.run(&format!("pkgrm -R @ROOT@ {words}"))
}

fn tool(name: &str) -> Package {
    Package::new(name)
        .directory("bin")
        .file("bin/tool", 0o755, name)
        .symlink("bin/t", "tool")
        .link("bin/t2", "tool")
}

/// The tree without the directory of `contents`, which is there after the first package, and empty after the last.
fn everything_but_contents(stage: &Scenario) -> Tree {
    Tree::of(&stage.root(), &["var/sadm/install", "var/sadm/patchadm"])
}

#[test]
fn a_package_goes_with_everything_that_came_with_it() {
    let stage = Scenario::new();
    let before = everything_but_contents(&stage);
    tool("ACMEa").write(&stage.beside("spool"));
    assert_eq!(stage.run("pkgadd -n -R @ROOT@ -d spool ACMEa").code, 0);
    let run = remove(&stage, "-n ACMEa");
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(run.stderr, "\nRemoval of <ACMEa> was successful.\n");
    assert_same(&everything_but_contents(&stage), &before);
    assert_eq!(
        fs::read_to_string(stage.at("/var/sadm/install/contents")).unwrap(),
        "# Last modified by pkgrm for ACMEa package\n# Fri Nov 20 07:00:00 2026\n"
    );
}

#[test]
fn what_other_packages_own_stays_and_so_do_directories_that_are_not_empty() {
    let shared =
        |name| Package::new(name).param("BASEDIR", "/opt/acme").directory("etc").file("shared", 0o644, "s\n");
    let stage = stage(&[shared("ACMEa").file("own", 0o644, "a\n"), shared("ACMEb")]);
    stage.file("/opt/acme/etc/mine", "mine\n");
    let run = remove(&stage, "-n ACMEa");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!stage.at("/opt/acme/own").exists());
    let of_b = [
        "/opt/acme/etc d none 0755 root root ACMEb",
        "/opt/acme/shared f none 0644 root root 2 125 1577836800 ACMEb",
    ];
    assert_eq!(stage.lines().iter().filter(|line| line.ends_with(" ACMEb")).collect::<Vec<_>>(), of_b);
    assert_eq!(stage.lines().iter().filter(|line| line.contains("ACMEa")).count(), 0);
    let run = remove(&stage, "-n ACMEb");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(stage.tree().paths(), "etc etc/group etc/passwd opt opt/acme opt/acme/etc opt/acme/etc/mine");
    assert!(run.stderr.contains("/opt/acme/etc"), "{}", run.stderr);
}

#[test]
fn a_package_that_others_need_stays_unless_the_admin_file_says_otherwise() {
    let stage = stage(&[tool("ACMEa"), Package::new("ACMEb").information("depend", "P ACMEa\n")]);
    let before = stage.everything();
    let text = remove(&stage, "-n ACMEa").fails(5);
    let expected = "pkgrm: ERROR: package ACMEa: package ACMEb needs it\n    remove that first, or use an admin file (`-a FILE`) with rdepend=nocheck, or run it on a terminal without `-n`\n\nRemoval of <ACMEa> was suspended (interaction required).\n\
                    No changes were made to the system.\n";
    assert_eq!(text, expected);
    stage.file("/var/sadm/install/admin/quit", "rdepend=quit\n");
    remove(&stage, "-na quit ACMEa").fails(4);
    fs::remove_dir_all(stage.at("/var/sadm/install/admin")).unwrap();
    assert_same(&stage.everything(), &before);
    stage.file("/var/sadm/install/admin/go", "rdepend=nocheck\ncolour=red\n");
    let run = remove(&stage, "-na go ACMEa");
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("pkgrm: WARNING: unknown admin parameter <colour>\n"), "{}", run.stderr);
}

#[test]
fn what_is_gone_already_is_no_obstacle_and_what_was_edited_goes() {
    let stage = stage(&[tool("ACMEa").file("edited", 0o644, "theirs\n")]);
    fs::remove_file(stage.at("/opt/ACMEa/bin/t")).unwrap();
    fs::write(stage.at("/opt/ACMEa/edited"), "mine\n").unwrap();
    assert_eq!(remove(&stage, "-n ACMEa").code, 0);
    assert_eq!(stage.tree().paths(), "etc etc/group etc/passwd");
}

#[test]
fn several_packages_go_one_after_another_and_a_wrong_name_stops_all() {
    let stage = stage(&[tool("ACMEa"), tool("ACMEb"), tool("ACMEc")]);
    let text = remove(&stage, "-n ACMEa nosuch").fails(1);
    assert_eq!(text, "pkgrm: ERROR: no package associated with <nosuch>\n");
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), "ACMEa\nACMEb\nACMEc\n");
    let run = remove(&stage, "-n ACMEc ACMEa.*");
    assert_eq!(
        run.stderr,
        "\nRemoval of <ACMEc> was successful.\nNOTE: @ROOT@/opt is not empty and was kept\n\nRemoval of <ACMEa> was successful.\n"
    );
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), "ACMEb\n");
}

#[test]
fn without_n_somebody_has_to_be_there_to_confirm() {
    let stage = stage(&[tool("ACMEa")]);
    let text = remove(&stage, "ACMEa").fails(5);
    assert!(
        text.starts_with("pkgrm: ERROR: a removal must be confirmed, but standard input is not a terminal"),
        "{text}"
    );
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), "ACMEa\n");
}

#[test]
fn somebody_at_a_terminal_is_asked_and_sees_what_goes() {
    let stage = stage(&[tool("ACMEa"), Package::new("ACMEb").information("depend", "P ACMEa\n")]);
    let before = stage.everything();
    let asked = |answers| at_terminal("somebody is asked", &stage, "pkgrm -R @ROOT@ ACMEa", answers);
    let Some((code, text)) = asked("what?\nn\n") else { return };
    assert_eq!(code, 3, "{text}");
    for expected in [
        "\nThe following package is currently installed:\n   ACMEa  ACMEa for tests\n          (i386) 1.0\n",
        "\npackage ACMEb needs it.\n",
        "\nDo you want to remove this package? [y,n,?,q] ",
        "\nRemoval of <ACMEa> was terminated due to user request.\nNo changes were made to the system.\n",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert_same(&stage.everything(), &before);
    let (code, text) = asked("y\n").unwrap();
    assert_eq!(code, 0, "{text}");
    let root = stage.root().display().to_string();
    let listing = "
## Removing installed package instance <ACMEa>
## Verifying package <ACMEa> dependencies.
## Processing package information.
## Removing pathnames in class <none>
@ROOT@/opt/ACMEa/bin/tool
@ROOT@/opt/ACMEa/bin/t2
@ROOT@/opt/ACMEa/bin/t
@ROOT@/opt/ACMEa/bin
@ROOT@/opt/ACMEa
@ROOT@/opt
## Updating system information.

Removal of <ACMEa> was successful.
";
    assert!(text.ends_with(&listing.replace("@ROOT@", &root)), "{text}");
}

#[test]
fn a_root_without_packages_and_a_line_without_names_are_told() {
    let text = Scenario::bare().run("pkgrm -n -R @ROOT@ ACMEa").fails(1);
    assert!(
        text.starts_with("pkgrm: ERROR: no package database below @ROOT@; specify the right root with -R\n"),
        "{text}"
    );
    let text = Scenario::new().run("pkgrm -n -R @ROOT@").fails(1);
    assert!(
        text.starts_with(
            "pkgrm: ERROR: you must specify a category (-Y) or list of packages to remove\nusage: pkgrm "
        ),
        "{text}"
    );
}
