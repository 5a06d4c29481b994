//! Cases from runs side by side with the classic tools: our commands do what the classic manual pages say.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::delivery::{Patch, archive};
use crate::packages::Package;
use crate::scenario::{Run, Scenario, is_root};

/// An admin file that asks nothing, with these lines replaced.
fn admin(changed: &[(&str, &str)]) -> String {
    let lines = [
        ("mail", ""),
        ("instance", "unique"),
        ("partial", "nocheck"),
        ("runlevel", "nocheck"),
        ("idepend", "quit"),
        ("rdepend", "quit"),
        ("space", "quit"),
        ("setuid", "nocheck"),
        ("conflict", "nocheck"),
        ("action", "nocheck"),
        ("basedir", "default"),
    ];
    let value = |name: &str, usual: &'static str| {
        changed
            .iter()
            .find(|(changed, _)| *changed == name)
            .map_or(usual.to_owned(), |(_, value)| (*value).to_owned())
    };
    lines.iter().map(|(name, usual)| format!("{name}={}\n", value(name, usual))).collect()
}

/// Installs a package with an admin file that has these lines.
fn pkgadd(stage: &Scenario, changed: &[(&str, &str)], package: &Package) -> Run {
    let spool = stage.beside("spool");
    let written = package.write(&spool);
    fs::write(stage.beside("admin"), admin(changed)).unwrap();
    let name = written.file_name().unwrap().to_str().unwrap().to_owned();
    stage.run(&format!("pkgadd -n -a admin -R @ROOT@ -d {} {name}", spool.display()))
}

fn line_of(stage: &Scenario, path: &str) -> Option<String> {
    stage.lines().into_iter().find(|line| line.split([' ', '=']).next() == Some(path))
}

#[test]
fn an_admin_file_is_looked_for_in_the_current_directory_first() {
    let stage = Scenario::new();
    let package = Package::new("ACMEa").file("tool", 0o755, "tool\n");
    stage.file("/var/sadm/install/admin/mine", admin(&[("basedir", "/from/root")]));
    let spool = stage.beside("spool");
    package.write(&spool);
    let line = "pkgadd -n -a mine -R @ROOT@ -d spool ACMEa";
    stage.run(line).done();
    assert_eq!(stage.text("/from/root/tool"), "tool\n");
    stage.run("pkgrm -n -a mine -R @ROOT@ ACMEa").done();
    fs::write(stage.beside("mine"), admin(&[("basedir", "/from/here")])).unwrap();
    stage.run(line).done();
    assert_eq!(stage.text("/from/here/tool"), "tool\n");
    fs::write(stage.beside("mine"), "rdepend=perhaps\n").unwrap();
    let said = stage.run("pkgrm -n -a mine -R @ROOT@ ACMEa").fails(99);
    assert!(said.contains("unable to open admin file <mine>"), "{said}");
}

fn shared(name: &str, text: &str) -> Package {
    Package::new(name).param("BASEDIR", "/opt/shared").file("both", 0o644, text).file(name, 0o644, text)
}

#[test]
fn a_file_of_another_package_that_stays_has_two_owners() {
    let stage = Scenario::with(&[shared("ACMEa", "of a\n")]);
    pkgadd(&stage, &[("conflict", "nochange")], &shared("ACMEb", "of b, longer\n")).done();
    assert_eq!(stage.text("/opt/shared/both"), "of a\n");
    let line = line_of(&stage, "/opt/shared/both").unwrap();
    assert!(line.contains(" 0644 root root 5 ") && line.ends_with(" ACMEa ACMEb"), "{line}");
    stage.run("pkgchk -R @ROOT@ ACMEa ACMEb").ok();
    stage.run("pkgrm -n -R @ROOT@ ACMEa").done();
    assert_eq!(stage.text("/opt/shared/both"), "of a\n", "it is the other one's as well");
    stage.run("pkgrm -n -R @ROOT@ ACMEb").done();
    assert!(!stage.at("/opt/shared/both").exists());
}

#[test]
fn files_that_no_package_owns_are_conflicts_too() {
    let stage = Scenario::new();
    let package = Package::new("ACMEa")
        .directory("bin")
        .file("bin/tool", 0o755, "new\n")
        .file("bin/same", 0o644, "same\n")
        .symlink("bin/link", "tool");
    stage.file("/opt/ACMEa/bin/tool", "mine\n");
    stage.file("/opt/ACMEa/bin/same", "same\n");
    stage.symlink("/opt/ACMEa/bin/link", "elsewhere");
    let before = stage.everything();
    let said = pkgadd(&stage, &[("conflict", "quit")], &package).fails(4);
    assert!(said.contains("\n* @ROOT@/opt/ACMEa/bin/tool\n"), "{said}");
    assert!(said.contains("\n* @ROOT@/opt/ACMEa/bin/link\n"), "{said}");
    assert!(said.contains("* - conflict with a file which does not belong to any package."), "{said}");
    assert!(!said.contains("bin/same"), "{said}");
    crate::tree::assert_same(&stage.everything(), &before);
    pkgadd(&stage, &[("conflict", "nochange")], &package).done();
    assert_eq!(stage.text("/opt/ACMEa/bin/tool"), "mine\n");
    assert_eq!(line_of(&stage, "/opt/ACMEa/bin/tool"), None);
    assert!(line_of(&stage, "/opt/ACMEa/bin/same").is_some());
    stage.run("pkgrm -n -R @ROOT@ ACMEa").done();
    assert_eq!(stage.text("/opt/ACMEa/bin/tool"), "mine\n");
    pkgadd(&stage, &[("conflict", "nocheck")], &package).done();
    assert_eq!(stage.text("/opt/ACMEa/bin/tool"), "new\n");
}

#[test]
fn a_version_that_a_package_is_compatible_with_meets_a_dependency() {
    let library = Package::new("ACMElib").param("VERSION", "2.0").file("lib", 0o644, "lib\n");
    let needing = |versions: &str| {
        Package::new("ACMEtool")
            .file("tool", 0o755, "tool\n")
            .information("depend", format!("P ACMElib Library\n{versions}"))
    };
    let stage = Scenario::with(std::slice::from_ref(&library));
    let said = pkgadd(&stage, &[], &needing("\t1.1\n\t(i386)1.0\n")).fails(4);
    assert!(said.contains("it needs package ACMElib 1.1 or (i386) 1.0, which"), "{said}");
    stage.run("pkgrm -n -R @ROOT@ ACMElib").done();
    stage.install(&library.information("compver", "1.0\n1.5\n"));
    pkgadd(&stage, &[], &needing("\t1.1\n\t(i386)1.0\n")).done();
    let said = stage.run("pkgrm -n -a admin -R @ROOT@ ACMElib").fails(4);
    assert!(said.contains("ACMEtool needs it"), "{said}");
    stage.run("pkgrm -n -R @ROOT@ ACMEtool").done();
    pkgadd(&stage, &[], &needing("\t(sparc)1.0\n")).fails(4);
}

#[test]
fn what_an_installation_over_another_version_leaves_of_the_parameters() {
    let old = Package::new("ACMEa").param("ONLY_OLD", "1").param("BOTH", "old").file("tool", 0o755, "old\n");
    let new = Package::new("ACMEa").param("BOTH", "new").file("tool", 0o755, "new\n");
    let parameters = |stage: &Scenario| {
        stage.run("pkgparam -v -R @ROOT@ ACMEa ONLY_OLD BOTH UPDATE").ok().replace('\n', " ")
    };
    let stage = Scenario::with(&[old]);
    assert_eq!(parameters(&stage), "ONLY_OLD='1' BOTH='old' ");
    pkgadd(&stage, &[], &new).done();
    assert_eq!(parameters(&stage), "ONLY_OLD='1' BOTH='new' UPDATE='yes' ", "the same version");
    pkgadd(&stage, &[("instance", "overwrite")], &new.param("VERSION", "2.0")).done();
    assert_eq!(parameters(&stage), "BOTH='new' UPDATE='yes' ");
}

#[test]
fn a_patch_says_that_it_went_over_a_package_and_its_backout_takes_the_word_back() {
    let stage = Scenario::with(&[Package::new("ACMEa").file("tool", 0o755, "old\n")]);
    let update = || stage.run("pkgparam -R @ROOT@ ACMEa UPDATE").ok();
    let patch = |id: &str| Patch::of(id, Package::new("ACMEa").file("tool", 0o755, id));
    stage.patchadd("", &patch("100-01")).ok();
    assert_eq!(update(), "yes\n");
    stage.patchadd("", &patch("200-01")).ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(update(), "yes\n", "the other patch went over it, too");
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    assert_eq!(update(), "");
}

#[test]
fn a_patch_beside_its_archive_is_one_patch() {
    let stage = Scenario::with(&[Package::new("ACMEa").file("tool", 0o755, "old\n")]);
    let patch = |id: &str| Patch::of(id, Package::new("ACMEa").file(id, 0o755, id));
    let directory = patch("900001-02").directory(&stage);
    archive(&directory, ".zip");
    fs::write(directory.join("README.900001-02"), "unpacked and read\n").unwrap();
    patch("900002-01").directory(&stage);
    // Two patches have this id; only a command that names it must say which.
    let other = Patch::of("900003-01", Package::new("ACMEa").file("900003-01", 0o755, "other\n"));
    let zipped = archive(&other.write(&stage.beside("elsewhere")), ".zip");
    fs::rename(zipped, stage.beside("delivered/900003-01.zip")).unwrap();
    patch("900003-01").directory(&stage);
    let said = stage.run("plan -R @ROOT@ -M delivered 900003-01").fails(3);
    assert!(said.contains("occurs twice with different content: "), "{said}");
    let said = stage.run("plan -R @ROOT@ -M delivered 900001-02").ok();
    assert!(said.contains("900001-02"), "{said}");
    stage.run("patchadd -R @ROOT@ -M delivered 900001-02 900002-01").ok();
    assert_eq!(stage.text("/opt/ACMEa/900001-02"), "900001-02");
    assert_eq!(stage.text("/opt/ACMEa/900002-01"), "900002-01");
    let said = stage.run("update -R @ROOT@ -M delivered");
    assert!(!stage.at("/opt/ACMEa/900003-01").exists(), "{}{}", said.stdout, said.stderr);
}

#[test]
fn clients_see_no_noise_about_what_they_cannot_change() {
    let stage = Scenario::new();
    let package = Package::new("ACMEa").param("PATH", "/usr/bin").file("tool", 0o755, "tool\n");
    package.write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), admin(&[]) + "email=root\nproxy_user=\n").unwrap();
    let run = stage.run("pkgadd -n -a admin -R @ROOT@ -d spool ACMEa");
    assert_eq!(run.code, 0);
    assert_eq!(run.stderr, "\nInstallation of <ACMEa> was successful.\n");
    fs::write(stage.beside("admin"), admin(&[]) + "colour=red\n").unwrap();
    let run = stage.run("pkgrm -n -a admin -R @ROOT@ ACMEa");
    assert!(run.stderr.contains("unknown admin parameter <colour>"), "{}", run.stderr);
}

#[test]
fn pkgchk_makes_missing_pipes_and_devices() {
    let mut package = Package::new("ACMEa").line("pipe", "p none pipe 0620 root bin");
    if is_root() {
        package = package.line("null", "c none null 1 3 0640 root sys");
    } else {
        crate::skipped("pkgchk_makes_missing_pipes_and_devices: devices need root");
    }
    let stage = Scenario::with(&[package]);
    let kinds = || {
        ["pipe", "null"].map(|name| {
            stage.at("/opt/ACMEa").join(name).symlink_metadata().map(|seen| (seen.mode(), seen.rdev())).ok()
        })
    };
    let before = kinds();
    for name in ["pipe", "null"] {
        let _ = fs::remove_file(stage.at("/opt/ACMEa").join(name));
    }
    stage.run("pkgchk -R @ROOT@ ACMEa").fails(1);
    stage.run("pkgchk -f -R @ROOT@ ACMEa").ok();
    stage.run("pkgchk -R @ROOT@ ACMEa").ok();
    assert_eq!(kinds(), before);
}

#[test]
fn an_installf_that_a_script_does_without_is_told_and_no_more() {
    let stage = Scenario::new();
    let script = "installf -R $PKG_INSTALL_ROOT $PKGINST relative/path f 0644 root root || true\n";
    let package = Package::new("ACMEa").file("tool", 0o755, "tool\n").information("postinstall", script);
    let run = pkgadd(&stage, &[], &package);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("in script postinstall: installf "), "{}", run.stderr);
    assert!(run.stderr.contains("Installation of <ACMEa> was successful."), "{}", run.stderr);
    assert!(!stage.at("/var/sadm/pkg/ACMEa/!I-Lock!").exists());
}

#[test]
fn a_relocatable_package_that_says_nowhere_where_it_goes_needs_an_answer() {
    let stage = Scenario::new();
    let package = |stage: &Scenario| {
        let written = Package::new("ACMEa").file("tool", 0o755, "tool\n").write(&stage.beside("spool"));
        let pkginfo =
            fs::read_to_string(written.join("pkginfo")).unwrap().replace("BASEDIR=/opt/ACMEa\n", "");
        fs::write(written.join("pkginfo"), &pkginfo).unwrap();
        let pkgmap = fs::read_to_string(written.join("pkgmap")).unwrap();
        let (size, sum) = (pkginfo.len(), patchadm_svr4::package::checksum::sum(pkginfo.as_bytes()));
        let line = |line: &str| match line.strip_prefix("1 i pkginfo ") {
            Some(_) => format!("1 i pkginfo {size} {sum} 1577836800\n"),
            None => format!("{line}\n"),
        };
        fs::write(written.join("pkgmap"), pkgmap.lines().map(line).collect::<String>()).unwrap();
    };
    package(&stage);
    let before = stage.everything();
    fs::write(stage.beside("admin"), admin(&[])).unwrap();
    let said = stage.run("pkgadd -n -a admin -R @ROOT@ -d spool ACMEa").fails(5);
    assert!(said.contains("says where to install the package"), "{said}");
    crate::tree::assert_same(&stage.everything(), &before);
    fs::write(stage.beside("admin"), admin(&[("basedir", "/srv")])).unwrap();
    stage.run("pkgadd -n -a admin -R @ROOT@ -d spool ACMEa").done();
    assert_eq!(stage.text("/srv/tool"), "tool\n");
}

#[test]
fn no_question_is_raised_where_no_answer_would_help() {
    let stage = Scenario::with(&[Package::new("ACMEa").file("tool", 0o755, "one\n")]);
    let other = Package::new("ACMEa").param("VERSION", "2.0").file("tool", 0o755, "two\n");
    let said = pkgadd(&stage, &[("instance", "ask")], &other).fails(4);
    assert!(said.contains("MAXINST is 1"), "{said}");
    pkgadd(&stage, &[("instance", "ask")], &other.param("MAXINST", "2")).fails(5);
}

#[test]
fn packages_move_between_devices_as_the_manual_says() {
    let stage = Scenario::new();
    let version = |version: &str| {
        Package::new("ACMEa").param("VERSION", version).param("MAXINST", "2").file("tool", 0o755, version)
    };
    for number in ["1.0", "2.0", "3.0"] {
        version(number).write(&stage.beside(number));
    }
    fs::create_dir(stage.beside("there")).unwrap();
    stage.run("pkgtrans 1.0 there ACMEa").done();
    let said = stage.run("pkgtrans -n 1.0 there ACMEa").fails(2);
    assert!(said.contains("identical version of <ACMEa> already exists on destination device"), "{said}");
    stage.run("pkgtrans -n 2.0 there ACMEa").done();
    assert!(stage.beside("there/ACMEa.2").is_dir());
    let said = stage.run("pkgtrans -n 3.0 there ACMEa").fails(2);
    assert!(said.contains("MAXINST is 2"), "{said}");
    assert!(!stage.beside("there/ACMEa.3").exists());
}

#[test]
fn a_stream_of_descriptions_is_read_back() {
    let plain = Package::new("ACMEa").file("tool", 0o755, "tool\n");
    let scripted = Package::new("ACMEa").file("tool", 0o755, "tool\n").information("postinstall", "exit 0\n");
    for package in [plain, scripted] {
        let stage = Scenario::new();
        let written = package.write(&stage.beside("spool"));
        let stream = stage.beside("stream");
        stage.run(&format!("pkgtrans -i -s spool {} ACMEa", stream.display())).done();
        fs::create_dir(stage.beside("there")).unwrap();
        stage.run(&format!("pkgtrans {} there all", stream.display())).done();
        let there = stage.beside("there/ACMEa");
        for name in ["pkginfo", "pkgmap"] {
            assert_eq!(fs::read(there.join(name)).unwrap(), fs::read(written.join(name)).unwrap());
        }
        assert_eq!(fs::read_dir(&there).unwrap().count(), 2, "nothing else is in it");
        let before = stage.everything();
        assert_ne!(stage.run(&format!("pkgadd -n -R @ROOT@ -d {} all", stream.display())).code, 0);
        crate::tree::assert_same(&stage.everything(), &before);
    }
}

#[test]
fn a_link_that_is_followed_is_a_file_of_its_own() {
    let stage = Scenario::new();
    fs::create_dir(stage.beside("src")).unwrap();
    fs::write(stage.beside("src/one"), "").unwrap();
    fs::hard_link(stage.beside("src/one"), stage.beside("src/two")).unwrap();
    std::os::unix::fs::symlink("one", stage.beside("src/a-link")).unwrap();
    let lines = stage.run("pkgproto -i src=").ok();
    let letters: Vec<&str> = lines.lines().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(letters, ["f none a-link", "f none one", "l none two"], "{lines}");
}

#[test]
fn answers_and_devices_that_are_not_there_have_the_codes_of_the_manual() {
    let stage = Scenario::new();
    let package = Package::new("ACMEa").file("tool", 0o755, "tool\n").information("request", "exit 2\n");
    package.write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), admin(&[])).unwrap();
    stage.run("pkgadd -n -a admin -r /no/such/file -R @ROOT@ -d spool ACMEa").fails(1);
    fs::create_dir(stage.beside("empty")).unwrap();
    for command in ["pkgadd -n -a admin -R @ROOT@ -d empty all", "pkginfo -d empty"] {
        let said = stage.run(command).fails(1);
        assert!(said.contains("no package in it"), "{said}");
    }
    stage.run(&format!("pkgtrans empty {} all", stage.beside("stream").display())).fails(1);
    let response = stage.beside("response");
    let line = format!("pkgask -R @ROOT@ -r {} -d spool ACMEa", response.display());
    let said = stage.run(&line).fails(2);
    assert!(said.contains("was not created"), "{said}");
    assert!(said.ends_with("\nProcessing of request script partially failed.\n"), "{said}");
    assert!(!response.exists());
}

#[test]
fn a_variable_without_a_value_in_a_space_file_names_no_place() {
    let stage = Scenario::new();
    let space = "$NOVAR/x 1000000000 1\n/opt 10 1\n";
    let package = Package::new("ACMEa").file("tool", 0o755, "tool\n").information("space", space);
    pkgadd(&stage, &[], &package).done();
}

#[test]
fn a_directory_that_has_to_be_made_is_as_the_pkgmap_declares_it() {
    let stage = Scenario::new();
    let package = Package::new("ACMEa").line("private", "d conf private 0700 root root").file(
        "private/key",
        0o600,
        "key\n",
    );
    pkgadd(&stage, &[], &package).done();
    assert_eq!(
        line_of(&stage, "/opt/ACMEa/private").unwrap(),
        "/opt/ACMEa/private d conf 0700 root root ACMEa"
    );
    assert!(stage.tree().line("opt/ACMEa/private").starts_with("40000\t700\t"));
    stage.run("pkgchk -R @ROOT@ ACMEa").ok();
    stage.run("pkgrm -n -R @ROOT@ ACMEa").done();
    assert!(!stage.at("/opt/ACMEa").exists());
}

#[test]
fn the_columns_of_pkginfo_are_as_wide_as_all_names_that_could_be_meant() {
    let stage =
        Scenario::with(&[Package::new("ACMEshort"), Package::new("ACMElonger").param("CATEGORY", "system")]);
    assert_eq!(
        stage.run("pkginfo -R @ROOT@ -c application").ok(),
        "application ACMEshort  ACMEshort for tests\n"
    );
    assert_eq!(stage.run("pkginfo -R @ROOT@ ACMEshort").ok(), "application ACMEshort ACMEshort for tests\n");
}
