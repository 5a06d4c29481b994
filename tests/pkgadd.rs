use std::fs;
use std::os::unix::fs::MetadataExt;

use patchadm_rootfs::{Lock, Root};
use patchadm_svr4::package::checksum;

use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package, datastream};
use crate::records::Before;
use crate::scenario::{Run, Scenario, is_root};
use crate::terminal::at_terminal;
use crate::tree::assert_same;

/// An admin file that asks nothing.
const NOCHECK: &str = "instance=unique\npartial=nocheck\nidepend=nocheck\nrdepend=nocheck\nspace=nocheck\n\
                       setuid=nocheck\nconflict=nocheck\naction=nocheck\nbasedir=default\n";

/// Installs packages that are written into `spool` first.
fn add(stage: &Scenario, options: &str, packages: &[Package]) -> Run {
    let spool = stage.beside("spool");
    for package in packages {
        package.write(&spool);
    }
    stage.run(&format!("pkgadd -R @ROOT@ -d {} {options}", spool.display()))
}

#[track_caller]
fn added(stage: &Scenario, options: &str, packages: &[Package]) {
    let run = add(stage, options, packages);
    assert_eq!(run.code, 0, "{}", run.stderr);
}

/// A package with an object of every type that an ordinary user can make.
fn everything() -> Package {
    Package::new("ACMEall")
        .directory("bin")
        .file("bin/tool", 0o755, "#!/bin/sh\n")
        .content('e', "etc/tool.conf", 0o640, "root sys", 1_000_000_000, "colour=red\n")
        .content('v', "/var/adm/tool.log", 0o600, "root root", DELIVERED, "")
        .line("spool", "x none spool 1777 root root")
        .line("pipe", "p none pipe 0620 root bin")
        .symlink("bin/t", "tool")
        .symlink("dangling", "/no/such/place")
        .link("bin/tool2", "tool")
        .information("copyright", "Copyright 2026 Acme\n")
}

#[test]
fn every_type_of_object_is_installed_with_every_attribute() {
    let stage = Scenario::new();
    stage.directory("/var/adm");
    added(&stage, "-n ACMEall", &[everything()]);
    let own = fs::metadata(stage.root()).unwrap();
    let owner = format!("{}\t{}", own.uid(), own.gid());
    let tree = stage.tree();
    let line = |path: &str| tree.line(&format!("opt/ACMEall/{path}"));
    assert_eq!(line("bin"), format!("40000\t755\t{owner}\t-\t-\t-\t-\t-"));
    assert_eq!(line("spool"), format!("40000\t1777\t{owner}\t-\t-\t-\t-\t-"));
    assert_eq!(line("bin/t"), format!("120000\t777\t{owner}\t4\t->tool\t-\t-\t-"));
    assert_eq!(line("dangling"), format!("120000\t777\t{owner}\t14\t->/no/such/place\t-\t-\t-"));
    let tool = line("bin/tool");
    assert!(tool.starts_with(&format!("100000\t755\t{owner}\t10\t")), "{tool}");
    assert!(tool.ends_with("\t1577836800000000000\t=opt/ACMEall/bin/tool\t-"), "{tool}");
    assert_eq!(line("bin/tool2"), tool);
    let conf = line("etc/tool.conf");
    assert!(conf.starts_with("100000\t640\t") && conf.ends_with("\t1000000000000000000\t-\t-"), "{conf}");
    assert!(line("pipe").starts_with("10000\t620\t"), "{}", line("pipe"));
    assert_eq!(fs::read(stage.at("/var/adm/tool.log")).unwrap(), b"");
}

#[test]
fn the_records_of_an_installation_are_complete() {
    let stage = Scenario::new();
    stage.directory("/var/adm");
    added(&stage, "-n ACMEall", &[everything()]);
    let expected = [
        "/opt d none 0755 root root ACMEall",
        "/opt/ACMEall d none 0755 root root ACMEall",
        "/opt/ACMEall/bin d none 0755 root root ACMEall",
        "/opt/ACMEall/bin/t=tool s none ACMEall",
        "/opt/ACMEall/bin/tool f none 0755 root root 10 704 1577836800 ACMEall",
        "/opt/ACMEall/bin/tool2=tool l none ACMEall",
        "/opt/ACMEall/dangling=/no/such/place s none ACMEall",
        "/opt/ACMEall/etc d none 0755 root root ACMEall",
        "/opt/ACMEall/etc/tool.conf e none 0640 root sys 11 1046 1000000000 ACMEall",
        "/opt/ACMEall/pipe p none 0620 root bin ACMEall",
        "/opt/ACMEall/spool x none 1777 root root ACMEall",
        "/var/adm/tool.log v none 0600 root root 0 0 1577836800 ACMEall",
    ];
    assert_eq!(stage.lines(), expected);
    let contents = fs::read_to_string(stage.at("/var/sadm/install/contents")).unwrap();
    let trailer = "# Last modified by pkgadd for ACMEall package\n# Fri Nov 20 07:00:00 2026\n";
    assert!(contents.ends_with(trailer), "{contents}");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    let delivered = stage.beside("spool/ACMEall");
    for (recorded, file) in [
        ("save/pspool/ACMEall/pkgmap", "pkgmap"),
        ("save/pspool/ACMEall/pkginfo", "pkginfo"),
        ("save/pspool/ACMEall/install/copyright", "install/copyright"),
        ("install/copyright", "install/copyright"),
    ] {
        let recorded = fs::read(stage.at("/var/sadm/pkg/ACMEall").join(recorded)).unwrap();
        assert_eq!(recorded, fs::read(delivered.join(file)).unwrap(), "{file}");
    }
    let listing = stage.run("pkginfo -l -R @ROOT@ ACMEall").ok();
    let expected = "    STATUS:  completely installed\n     FILES:       12 installed pathnames\n\
                    \u{20}                  1 linked files\n                   5 directories\n";
    assert!(listing.contains("  INSTDATE:  Nov 20 2026 07:00\n") && listing.contains(expected), "{listing}");
    let history = fs::read_to_string(stage.at("/var/sadm/patchadm/history")).unwrap();
    assert_eq!(history.lines().count(), 1);
    assert!(history.contains("pkgadd") && history.contains("ACMEall"), "{history}");
}

#[test]
fn devices_and_owners_are_for_root_alone() {
    let devices = Package::new("ACMEdev")
        .line("null", "c none null 1 3 0666 root sys")
        .content('f', "log", 0o640, "adm adm", DELIVERED, "x\n");
    let stage = Scenario::new();
    let run = add(&stage, "-n ACMEdev", &[devices]);
    if !is_root() {
        assert!(run.fails(1).contains("only root can make a device"));
        return;
    }
    assert_eq!(run.code, 0, "{}", run.stderr);
    let tree = stage.tree();
    let null = tree.line("opt/ACMEdev/null");
    assert!(null.starts_with("20000\t666\t") && null.contains("\t1,3\t"), "{null}");
    let log = tree.line("opt/ACMEdev/log");
    assert!(log.starts_with("100000\t640\t54321\t54321\t2\t"), "{log}");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn the_outcome_alone_is_told_with_n_and_every_step_without() {
    let stage = Scenario::new();
    let package = || everything().param("VENDOR", "Acme").information("depend", "P ACMEall itself\n");
    let run = add(&stage, "-n -S ACMEall", &[everything()]);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(run.stderr, "\nInstallation of <ACMEall> was successful.\n");
    fs::remove_file(stage.at("/opt/ACMEall/bin/t")).unwrap();
    let run = add(&stage, "ACMEall", &[package()]);
    assert_eq!(run.stdout, "Copyright 2026 Acme\n");
    let expected = format!(
        "
Processing package instance <ACMEall> from <{}>

ACMEall for tests(i386) 1.0

Package <ACMEall> is installed already in the
same architecture and version, and is overwritten.

Using <@ROOT@/opt/ACMEall> as the package base directory.
## Processing package information.
## Processing system information.
   8 package pathnames are already properly installed.
## Verifying package dependencies.
## Verifying disk space requirements.
## Checking for conflicts with packages already installed.
## Checking for setuid/setgid programs.

Installing ACMEall for tests as <ACMEall>

## Installing part 1 of 1.
@ROOT@/opt/ACMEall/bin/t <symbolic link>
[ verifying class <none> ]

Installation of <ACMEall> was successful.
",
        stage.beside("spool").display()
    );
    assert_eq!(run.stderr, expected);
}

#[test]
fn the_same_version_again_replaces_what_is_different_and_keeps_what_was_edited() {
    let stage = Scenario::new();
    added(&stage, "-n -S ACMEall", &[everything()]);
    fs::write(stage.at("/opt/ACMEall/etc/tool.conf"), "colour=blue\n").unwrap();
    let again = everything().file("bin/tool", 0o555, "#!/bin/ksh\n").param("NAME", "Another name");
    let run = add(&stage, "-n -S ACMEall", &[again]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("same architecture and version"), "{}", run.stderr);
    let kept = "NOTE: @ROOT@/opt/ACMEall/etc/tool.conf was edited; the run keeps the edited version as \
                @ROOT@/opt/ACMEall/etc/tool.conf.edited-ACMEall\n";
    assert!(run.stderr.contains(kept), "{}", run.stderr);
    let read = |path| fs::read_to_string(stage.at(path)).unwrap();
    assert_eq!(read("/opt/ACMEall/bin/tool"), "#!/bin/ksh\n");
    assert_eq!(read("/opt/ACMEall/bin/tool2"), "#!/bin/ksh\n");
    assert_eq!(read("/opt/ACMEall/etc/tool.conf"), "colour=red\n");
    assert_eq!(read("/opt/ACMEall/etc/tool.conf.edited-ACMEall"), "colour=blue\n");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall NAME").ok(), "Another name\n");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_root_without_a_database_gets_one_with_its_first_package() {
    let stage = Scenario::bare();
    added(
        &stage,
        "-n ACMEone",
        &[Package::new("ACMEone").param("BASEDIR", "/").file("bin/one", 0o755, "1\n")],
    );
    assert_eq!(stage.tree().paths(), "bin bin/one");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_refusal_leaves_a_root_without_a_database_as_empty_as_it_was() {
    let stage = Scenario::bare();
    let damaged = Package::new("ACMEone").content('f', "one", 0o644, "nobody-here bin", DELIVERED, "1\n");
    let needy = damaged.information("depend", "P ACMEnone\n");
    add(&stage, "-n ACMEone", &[needy]).fails(5);
    assert_eq!(fs::read_dir(stage.root()).unwrap().count(), 0);
}

#[test]
fn packages_are_chosen_by_name_by_star_and_all_of_them() {
    for (words, expected) in [
        ("ACMEb", "ACMEb\n"),
        ("ACMEb ACMEa", "ACMEa\nACMEb\n"),
        ("ACMEa.*", "ACMEa\n"),
        ("all", "ACMEa\nACMEab\nACMEb\n"),
    ] {
        let stage = Scenario::new();
        let package = |name| Package::new(name).file("it", 0o644, name);
        added(&stage, &format!("-n {words}"), &[package("ACMEa"), package("ACMEab"), package("ACMEb")]);
        assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), expected, "{words}");
    }
    let stage = Scenario::new();
    let run = add(&stage, "-n ACMEa nosuch other", &[Package::new("ACMEa")]);
    let expected = "pkgadd: ERROR: no package associated with <nosuch>\n\
                    pkgadd: ERROR: no package associated with <other>\n";
    assert_eq!(run.fails(1), expected);
    assert_eq!(stage.lines(), Vec::<String>::new());
}

#[test]
fn without_a_name_and_without_a_terminal_nothing_is_installed() {
    let run = add(&Scenario::new(), "", &[Package::new("ACMEa")]);
    assert!(run.fails(1).starts_with("pkgadd: ERROR: no package specified; use `all` for every package"));
}

#[test]
fn a_device_is_a_package_a_spool_or_a_datastream_named_by_any_path() {
    let stage = Scenario::new();
    let package = |name| Package::new(name).file("it", 0o644, name);
    let spool = stage.beside("spool");
    let directories = ["ACMEb", "ACMEa"].map(|name| package(name).write(&spool));
    datastream(&directories, &stage.beside("two.pkg"));
    let run = stage.run("pkgadd -n -R @ROOT@ -d two.pkg all");
    assert_eq!(run.code, 0, "{}", run.stderr);
    // in the order of the stream
    let expected = "\nInstallation of <ACMEb> was successful.\n\nInstallation of <ACMEa> was successful.\n";
    assert_eq!(run.stderr, expected);
    for device in ["spool", "spool/ACMEa", "./spool"] {
        let run = stage.run(&format!("pkgadd -n -R @ROOT@ -d {device} ACMEa"));
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
}

#[test]
fn packages_before_one_that_fails_stay_and_the_gravest_code_counts() {
    let stage = Scenario::new();
    let needy = Package::new("ACMEb").information("depend", "P ACMEnone\n").file("b", 0o644, "b\n");
    let damaged =
        Package::new("ACMEc").file("c", 0o644, "c\n").param("CLASSES", "none").line("d", "l none d=nowhere");
    let packages = [Package::new("ACMEa").file("a", 0o644, "a\n"), needy, damaged];
    let run = add(&stage, "-n all", &packages);
    assert_eq!(
        run.fails(1),
        "\nInstallation of <ACMEa> was successful.
pkgadd: ERROR: package ACMEb: it needs package ACMEnone, which is not completely installed
    install that first, or use an admin file (`-a FILE`) with idepend=nocheck, instance=unique and basedir=default, or run it on a terminal without `-n`

Installation of <ACMEb> was suspended (interaction required).
No changes were made to the system.
pkgadd: ERROR: package ACMEc, path @ROOT@/opt/ACMEc/d: @ROOT@/opt/ACMEc/nowhere, to which it should be a hard link, is not a file

Installation of <ACMEc> failed.
No changes were made to the system.
"
    );
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), "ACMEa\n");
}

#[test]
fn the_admin_file_decides_what_is_asked_otherwise() {
    let shared =
        |name, content: &str| Package::new(name).param("BASEDIR", "/opt").file("shared", 0o644, content);
    for (answer, code) in [("conflict=nocheck", 0), ("conflict=quit", 4), ("conflict=ask", 5)] {
        let stage = Scenario::new();
        added(&stage, "-n ACMEa", &[shared("ACMEa", "one\n")]);
        stage.file("/var/sadm/install/admin/mine", NOCHECK.replace("conflict=nocheck", answer));
        let before = stage.everything();
        let run = add(&stage, "-na mine ACMEb", &[shared("ACMEb", "two\n")]);
        assert_eq!(run.code, code, "{answer}: {}", run.stderr);
        if code == 0 {
            let line = "/opt/shared f none 0644 root root 4 356 1577836800 ACMEa ACMEb";
            assert!(stage.lines().contains(&line.to_owned()), "{:?}", stage.lines());
            assert_eq!(fs::read(stage.at("/opt/shared")).unwrap(), b"two\n");
        } else {
            let listed = "being\nused by another package:\n  @ROOT@/opt/shared\n";
            assert!(run.stderr.contains(listed), "{}", run.stderr);
            assert_eq!(
                run.stderr.contains("or run it on a terminal without `-n`"),
                code == 5,
                "{}",
                run.stderr
            );
            assert_same(&stage.everything(), &before);
        }
    }
}

#[test]
fn a_shared_object_that_is_the_same_is_no_conflict() {
    let stage = Scenario::new();
    let shared = |name| Package::new(name).param("BASEDIR", "/opt").file("shared", 0o644, "same\n");
    added(&stage, "-n all", &[shared("ACMEa"), shared("ACMEb")]);
    let line = "/opt/shared f none 0644 root root 5 432 1577836800 ACMEa ACMEb";
    assert!(stage.lines().contains(&line.to_owned()), "{:?}", stage.lines());
}

#[test]
fn open_attributes_get_the_usual_mode_with_a_warning_and_stay_open_in_the_records() {
    let stage = Scenario::new();
    let open = |content: &str| {
        Package::new("ACMEa")
            .file("x", 0o644, content)
            .line("x", &format!("f none x ? ? ? 4 {} {DELIVERED}", checksum::sum(content.as_bytes())))
    };
    let run = add(&stage, "-n ACMEa", &[open("one\n")]);
    let warning = "WARNING: setting mode of </opt/ACMEa/x> to default mode (644)\n";
    assert_eq!((run.code, run.stderr.matches(warning).count()), (0, 1), "{}", run.stderr);
    let before = Before::of(&stage);
    let line = |owners: &str| format!("/opt/ACMEa/x f none 0644 {owners} 4 ");
    assert!(stage.lines().iter().any(|each| each.starts_with(&line("? ?"))), "{:?}", stage.lines());
    stage.run("pkgchk -R @ROOT@ ACMEa").ok();
    // A patch finds owners that it can record; once it is backed out, they are open again.
    stage.patchadd("", &Patch::of("100-01", open("two\n"))).ok();
    if is_root() {
        assert!(stage.lines().iter().any(|each| each.starts_with(&line("root root"))), "{:?}", stage.lines());
    }
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "the patch is backed out");
    assert_eq!(stage.run("pkgrm -n -R @ROOT@ ACMEa").code, 0);
    assert!(!stage.at("/opt/ACMEa").exists());
}

#[test]
fn another_version_is_another_instance_or_the_end() {
    let version = |version: &str| {
        let basedir = format!("/opt/a{version}");
        Package::new("ACMEa")
            .param("VERSION", version)
            .param("BASEDIR", &basedir)
            .param("MAXINST", "2")
            .file("a", 0o644, version)
    };
    let stage = Scenario::new();
    added(&stage, "-n ACMEa", &[version("1.0")]);
    let quit = NOCHECK.replace("instance=unique", "instance=quit");
    stage.file("/var/sadm/install/admin/quit", quit);
    assert!(add(&stage, "-n -a quit ACMEa", &[version("2.0")]).fails(4).contains("installed already"));
    added(&stage, "-n ACMEa", &[version("2.0")]);
    assert_eq!(
        stage.run("pkginfo -x -R @ROOT@").ok(),
        "ACMEa    ACMEa for tests\n         (i386) 1.0\nACMEa.2  ACMEa for tests\n         (i386) 2.0\n"
    );
    assert_eq!(stage.tree().paths().split(' ').filter(|path| path.ends_with("/a")).count(), 2);
    let third = add(&stage, "-n ACMEa", &[version("3.0")]);
    assert!(third.fails(4).contains("MAXINST is 2"));
}

#[test]
fn the_base_directory_is_that_of_the_admin_file() {
    let stage = Scenario::new();
    let admin = stage.beside("admin");
    fs::create_dir_all(stage.root()).unwrap();
    fs::write(&admin, NOCHECK.replace("basedir=default", "basedir=/srv/$PKGINST")).unwrap();
    let package =
        || Package::new("ACMEa").file("a", 0o644, "a\n").symlink("$WHERE/b", "$WHAT").param("WHERE", "/far");
    let response = stage.beside("answers");
    fs::write(&response, "WHAT=\"the answer\"\nWHERE=/near\n").unwrap();
    let options = format!("-n -a {} -r {} ACMEa", admin.display(), response.display());
    added(&stage, &options, &[package()]);
    let tree = stage.tree();
    assert!(tree.line("srv/ACMEa/a").starts_with("100000"), "{}", tree.paths());
    assert!(tree.line("near/b").contains("->the answer"), "{}", tree.paths());
    assert_eq!(
        stage.run("pkgparam -R @ROOT@ ACMEa BASEDIR WHAT WHERE").ok(),
        "/srv/ACMEa\nthe answer\n/near\n"
    );
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    // it stays where it is
    fs::write(&admin, NOCHECK.replace("basedir=default", "basedir=/elsewhere")).unwrap();
    assert!(add(&stage, &options, &[package()]).fails(4).contains("/elsewhere"));
}

#[test]
fn an_admin_or_response_file_that_cannot_be_read_is_the_end_before_anything() {
    let stage = Scenario::new();
    let before = stage.everything();
    let package = [Package::new("ACMEa").file("a", 0o644, "a\n")];
    let error = add(&stage, "-n -a nosuch ACMEa", &package).fails(99);
    assert!(error.starts_with("pkgadd: ERROR: unable to open admin file <nosuch>: No such file"), "{error}");
    let error = add(&stage, "-n -r answers ACMEa", &package).fails(1);
    assert!(error.contains("response file <answers>: it must be specified by an absolute path"), "{error}");
    assert_same(&stage.everything(), &before);
}

#[test]
fn options_that_mean_nothing_here_are_accepted() {
    let package = [Package::new("ACMEa").file("a", 0o644, "a\n")];
    added(&Scenario::new(), "-n -A -G -M -V vfstab -k keys -P pass:x -x proxy:80 ACMEa", &package);
}

#[test]
fn a_root_that_is_locked_is_left_alone() {
    let stage = Scenario::new();
    let root = Root::open(&stage.root()).unwrap();
    let lock = Lock::take(&root, "patchadd", |_| false).unwrap();
    let before = stage.everything();
    let package = [Package::new("ACMEa").file("a", 0o644, "a\n")];
    let text = add(&stage, "-n ACMEa", &package).fails(64);
    let holder = format!(
        "pkgadd: ERROR: @ROOT@/var/sadm/install/.lockfile is locked by process {}",
        std::process::id()
    );
    assert!(text.starts_with(&holder), "{text}");
    assert_same(&stage.everything(), &before);
    drop(lock);
    added(&stage, "-n ACMEa", &package);
}

#[test]
fn what_somebody_wrote_where_a_package_goes_is_kept() {
    let stage = Scenario::new();
    stage.file("/opt/ACMEa/etc/a.conf", "mine\n");
    let package = Package::new("ACMEa").content('e', "etc/a.conf", 0o644, "root root", DELIVERED, "theirs\n");
    added(&stage, "-n ACMEa", &[package]);
    assert_eq!(fs::read(stage.at("/opt/ACMEa/etc/a.conf")).unwrap(), b"theirs\n");
    let tree = stage.tree();
    let kept = tree.paths();
    let kept: Vec<&str> = kept.split(' ').filter(|path| path.contains("a.conf.edited-")).collect();
    assert_eq!(kept, ["opt/ACMEa/etc/a.conf.edited-ACMEa"]);
    assert_eq!(fs::read(stage.root().join(kept[0])).unwrap(), b"mine\n");
}

#[test]
fn somebody_at_a_terminal_chooses_from_a_menu_and_decides_what_is_open() {
    let stage = Scenario::new();
    let shared =
        |name, content: &str| Package::new(name).param("BASEDIR", "/opt").file("shared", 0o644, content);
    added(&stage, "-n ACMEa", &[shared("ACMEa", "one\n")]);
    let needy = shared("ACMEb", "two\n").information("depend", "P ACMEnone\n");
    needy.write(&stage.beside("spool"));
    let before = stage.everything();
    let asked = |answers| at_terminal("a menu", &stage, "pkgadd -R @ROOT@ -d spool", answers);
    let Some((code, text)) = asked("2\nn\n") else { return };
    assert_eq!(code, 3, "{text}");
    for expected in [
        "\nThe following packages are available:\n  1  ACMEa           ACMEa for tests\n",
        "\n  2  ACMEb           ACMEb for tests\n                     (i386) 1.0\n",
        "\nit needs package ACMEnone, which is not completely installed.\n",
        "/opt/shared is already installed and is being used by another package.\n",
        "\nDo you want to continue with the installation of <ACMEb> [y,n,?] ",
        "\nInstallation of <ACMEb> was terminated due to user request.\nNo changes were made to the system.\n",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert_same(&stage.everything(), &before);
    let (code, text) = asked("2\ny\n").unwrap();
    assert_eq!(code, 0, "{text}");
    assert_eq!(fs::read(stage.at("/opt/shared")).unwrap(), b"two\n");
    let (code, text) = asked("q\n").unwrap();
    assert_eq!(code, 1, "{text}");
}

#[test]
fn scripts_that_nobody_can_be_asked_about_are_named_and_so_is_the_way_of_a_patch() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("a", 0o644, "one\n")]);
    let scripted = Package::new("ACMEweb")
        .param("SUNW_PATCHID", "100-01")
        .information("preinstall", "exit 0\n")
        .information("postinstall", "exit 0\n")
        .file("a", 0o644, "two\n");
    let said = add(&stage, "-n all", &[scripted]).fails(5);
    let reason = "the package has its own scripts that run with the permissions of whoever installs it: preinstall, \
        postinstall; it belongs to patch 100-01, which patchadd applies without asking\n    use an admin file (`-a FILE`) with action=nocheck";
    assert!(said.contains(reason), "{said}");
}

#[test]
fn a_document_in_json_says_the_same() {
    let stage = Scenario::new();
    let scripted = Package::new("ACMEb").information("preinstall", "exit 0\n").file("c", 0o644, "c\n");
    let run = add(&stage, "-n --json all", &[Package::new("ACMEa").file("a", 0o644, "a\n"), scripted]);
    assert_eq!((run.code, run.stderr.as_str()), (5, ""));
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["exit_code"], 5);
    let packages = document["packages"].as_array().unwrap();
    assert_eq!((&packages[0]["instance"], &packages[0]["code"]), (&"ACMEa".into(), &0.into()));
    assert!(
        packages[1]["reason"].as_str().unwrap().contains("has its own scripts that run"),
        "{}",
        run.stdout
    );
}

#[test]
fn patch_records_that_no_command_could_read_are_refused_with_the_package_that_brings_them() {
    for (name, value) in [("PATCHLIST", "garbage"), ("PATCH_OBSOLETES", "zother-01")] {
        let stage = Scenario::new();
        stage.install(&Package::new("ACMEweb").file("bin/httpd", 0o755, "httpd\n"));
        let before = stage.everything();
        let evil = Package::new("ACMEevil").param(name, value).file("bin/x", 0o755, "x\n");
        let said = add(&stage, "-n ACMEevil", &[evil]).fails(1);
        assert!(said.contains(name) && said.contains("ACMEevil"), "{said}");
        assert_same(&stage.everything(), &before);
        stage.run("list -R @ROOT@").ok();
    }
}

#[test]
fn patches_that_a_package_is_delivered_with_are_named() {
    let stage = Scenario::new();
    let patched = Package::new("ACMEweb").param("PATCHLIST", "100-01").file("bin/httpd", 0o755, "httpd\n");
    let run = add(&stage, "-n ACMEweb", &[patched]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.contains("was delivered with patches, which count as applied: 100-01"), "{said}");
}

#[test]
fn what_a_package_says_of_the_patches_of_others_keeps_none_of_them_out_and_is_no_fix() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let evil = Package::new("ACMEevil")
        .param("PATCHLIST", "100-02")
        .param("PATCH_FIXES_100-02", "CVE-2026-0001")
        .param("PATCH_SHA256_100-02", &"0f".repeat(32))
        .file("bin/x", 0o755, "x\n");
    let run = add(&stage, "-n ACMEevil", &[evil]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"));
    stage.patchadd("", &patch).ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "two\n");
    let said = stage.run("show -R @ROOT@ CVE-2026-0001").fails(4);
    assert!(said.contains("no patch of this root fixes CVE-2026-0001"), "{said}");
    let lines = stage.text("/var/sadm/pkg/ACMEevil/pkginfo");
    assert!(lines.contains("PATCHLIST=100-02") && !lines.contains("PATCH_FIXES_"), "{lines}");
}
