//! `patchadm adopt` registers software on disk as a package, without moving a byte.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::{Scenario, shared};
use crate::tree::Tree;

/// A root with a tree that no package owns, and a package that shares a directory with it.
fn with_tree() -> Scenario {
    let other = Package::new("ACMEother").param("BASEDIR", "/opt").directory("acme").file("x", 0o644, "x\n");
    let stage = Scenario::with(&[other]);
    stage.file("/opt/acme/bin/tool", "one\n");
    stage.mode("/opt/acme/bin/tool", 0o755);
    stage.link("/opt/acme/bin/again", "/opt/acme/bin/tool");
    stage.file("/opt/acme/etc/acme.conf", "port\n");
    stage.symlink("/opt/acme/current", "bin");
    stage.pipe("/opt/acme/pipe");
    stage
}

/// A root with a dpkg package on a merged `/usr`; one of its files is diverted, and one is edited.
pub(crate) fn of_dpkg() -> Scenario {
    let stage = Scenario::new();
    stage.file("/usr/lib/libweb.so", "lib\n");
    stage.symlink("/lib", "usr/lib");
    stage.file("/usr/bin/web", "web\n");
    stage.file("/usr/bin/sh.distrib", "sh\n");
    stage.file("/usr/bin/sh", "another\n");
    stage.file("/etc/web.conf", "edited\n");
    let list = "/.\n/usr\n/usr/bin\n/usr/bin/web\n/usr/bin/sh\n/lib\n/lib/libweb.so\n/etc\n/etc/web.conf\n/usr/share\n/usr/share/doc\n";
    stage.file("/var/lib/dpkg/info/web.list", list);
    stage.file("/var/lib/dpkg/info/web.conffiles", "/etc/web.conf\n");
    // The checksums of `web\n` and of other content.
    let sums =
        "64d42024f1a77ee5e61e4096bdebac78  usr/bin/web\n00000000000000000000000000000000  lib/libweb.so\n";
    stage.file("/var/lib/dpkg/info/web.md5sums", sums);
    stage.file("/var/lib/dpkg/diversions", "/usr/bin/sh\n/usr/bin/sh.distrib\nshell\n");
    let status = "Package: web\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.0-1\nDescription: a web server\n";
    stage.file("/var/lib/dpkg/status", status);
    stage
}

fn line(stage: &Scenario, path: &str) -> String {
    let is_of = |line: &&String| line.split([' ', '=']).next() == Some(path);
    stage.lines().iter().find(is_of).cloned().unwrap_or_default()
}

#[test]
fn a_copy_that_a_patch_put_beside_a_file_is_left_out() {
    let stage = with_tree();
    for name in ["etc/acme.conf.edited-ACME-01", "etc/acme.conf.patch-ACME-02", "etc/other.patch-ACME-02"] {
        stage.file(&format!("/opt/acme/{name}"), "copy\n");
    }
    let run = stage.run("adopt --pkg ACMEown --pkg-version 1.0 --dir /opt/acme -R @ROOT@");
    assert_eq!(run.code, 0, "{}", run.stderr);
    for copy in ["edited-ACME-01", "patch-ACME-02"] {
        assert_eq!(line(&stage, &format!("/opt/acme/etc/acme.conf.{copy}")), "");
        let note = format!(
            "note: @ROOT@/opt/acme/etc/acme.conf.{copy} is a copy that a patch made; it is left out\n"
        );
        assert!(run.stderr.contains(&note), "{}", run.stderr);
    }
    assert_ne!(line(&stage, "/opt/acme/etc/other.patch-ACME-02"), "", "no file is beside it");
}

#[test]
fn a_refresh_says_that_it_follows_no_package_from_a_directory() {
    let stage = with_tree();
    let refreshed = || stage.run("adopt --refresh -R @ROOT@").ok();
    assert_eq!(refreshed(), "No package was adopted from dpkg or rpm.\n");
    stage.run("adopt --pkg ACMEown --pkg-version 1.0 --dir /opt/acme -R @ROOT@").ok();
    assert_eq!(
        refreshed(),
        "No package was adopted from dpkg or rpm; ACMEown (adopted from a directory) is not followed.\n\
         hint: patchadm -R @ROOT@ check --contents\n"
    );
}

#[test]
fn a_tree_becomes_a_package_that_a_patch_fits_and_comes_back_from() {
    let stage = with_tree();
    let software = Tree::of(&stage.root(), &["var/sadm"]);
    let adopt = "adopt --pkg ACMEown --pkg-version 1.0 --arch i386 --basedir / --dir /opt/acme --editable *.conf -R @ROOT@";
    assert_eq!(
        stage.run(&format!("{adopt} --dry-run")).ok(),
        "Package ACMEown would be adopted: 8 objects, 1 of them directories that other packages have as well.\n"
    );
    assert!(!stage.at("/var/sadm/pkg/ACMEown").exists());
    assert_eq!(
        stage.run(adopt).ok(),
        "Adopted package ACMEown: 8 objects, 1 of them directories that other packages have as well.\n\
         Its current files count as unmodified; patchadm detects later edits.\n\
         hint: patchadm build --pkg ACMEown --arch i386 --base-version 1.0 --editable '*.conf' --id ID --synopsis TEXT --from OLD --to NEW -o PATCH\n"
    );
    assert_eq!(Tree::of(&stage.root(), &["var/sadm"]), software, "not a byte is moved");
    assert!(line(&stage, "/opt/acme/bin/again").starts_with("/opt/acme/bin/again f none 0755 "));
    assert_eq!(line(&stage, "/opt/acme/bin/tool"), "/opt/acme/bin/tool=again l none ACMEown");
    assert_eq!(line(&stage, "/opt/acme/current"), "/opt/acme/current=bin s none ACMEown");
    assert!(line(&stage, "/opt/acme/etc/acme.conf").starts_with("/opt/acme/etc/acme.conf e none "));
    assert!(line(&stage, "/opt/acme").ends_with(" ACMEother ACMEown"));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEown PATCHADM_ADOPTED").ok(), "tree\n");
    let spooled = fs::read_to_string(stage.at("/var/sadm/pkg/ACMEown/save/pspool/ACMEown/pkgmap")).unwrap();
    assert!(spooled.contains("1 l none opt/acme/bin/tool=again"), "{spooled}");
    let before = Before::of(&stage);
    let delivered = Package::new("ACMEown").param("BASEDIR", "/").file("opt/acme/bin/again", 0o755, "two\n");
    stage.patchadd("", &Patch::of("100-01", delivered)).ok();
    assert_eq!(stage.text("/opt/acme/bin/tool"), "two\n");
    stage.run("adopt --forget --pkg ACMEown -R @ROOT@").fails(3);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "it comes back");
    assert_eq!(
        stage.run("adopt --forget --pkg ACMEown -R @ROOT@").ok(),
        "Unregistered package ACMEown; its files stay: 8 objects, 1 of them directories that other packages have as well.\n"
    );
    assert_eq!(Tree::of(&stage.root(), &["var/sadm"]), software);
    assert!(line(&stage, "/opt/acme").ends_with(" ACMEother"));
    assert_eq!(line(&stage, "/opt/acme/current"), "");
    assert!(!stage.at("/var/sadm/pkg/ACMEown").exists());
}

#[test]
fn an_adopted_tree_is_the_base_directory_and_a_patch_for_another_one_is_refused() {
    let delivered = |base: &str, path: &str| {
        Patch::of("100-01", Package::new("ACMEown").param("BASEDIR", base).file(path, 0o755, "two\n"))
    };
    let (tree, top) = ("/opt/acme", "/");
    for (basedir, patch, is_refused) in [
        (tree, delivered(tree, "bin/again"), false),
        (tree, delivered(tree, "bin/new"), false),
        (tree, delivered(top, "opt/acme/bin/again"), true),
        (top, delivered(tree, "bin/again"), true),
        (top, delivered(top, "opt/acme/bin/again"), false),
        // Made for the location of the package before its relocation.
        (tree, delivered("/export/acme", "bin/again"), false),
    ] {
        let stage = with_tree();
        let basedir = if basedir == top { "--basedir /" } else { "" };
        stage
            .run(&format!(
                "adopt --pkg ACMEown --pkg-version 1.0 --arch i386 --dir /opt/acme {basedir} -R @ROOT@"
            ))
            .ok();
        let before = stage.everything();
        let run = stage.patchadd("", &patch);
        if is_refused {
            let said = run.fails(8);
            assert!(said.contains("it is made for the base directory"), "{said}");
            assert_eq!(stage.everything(), before);
        } else {
            run.ok();
            assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEown").ok(), "");
        }
    }
}

#[test]
fn a_tree_may_be_named_with_two_dots() {
    let stage = with_tree();
    stage.run("adopt --pkg ACMEown --pkg-version 1.0 --dir @ROOT@/opt/acme/../acme/bin -R @ROOT@").ok();
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEown BASEDIR").ok(), "/opt/acme/bin\n");
    let outside = "adopt --pkg ACMEout --pkg-version 1.0 --dir @ROOT@/../ -R @ROOT@";
    assert!(stage.run(outside).fails(2).contains("it is not in the root"));
}

#[test]
fn a_relative_tree_is_in_the_working_directory_or_in_the_root() {
    let stage = with_tree();
    let adopt = |pkg: &str, tree: &str| format!("adopt --pkg {pkg} --pkg-version 1.0 --dir {tree} -R @ROOT@");
    let said = stage.run(&adopt("ACMEown", "opt/nothing")).fails(1);
    assert!(said.contains(": @ROOT@/opt/nothing is not a directory"), "{said}");
    stage.run(&adopt("ACMEown", "opt/acme/bin")).ok();
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEown BASEDIR").ok(), "/opt/acme/bin\n");
    fs::create_dir_all(stage.beside("opt/acme/etc")).unwrap();
    let said = stage.run(&adopt("ACMEout", "opt/acme/etc")).fails(2);
    assert!(said.contains("opt/acme/etc: it is not in the root"), "{said}");
}

#[test]
fn a_base_directory_contains_what_is_adopted() {
    let stage = with_tree();
    let before = stage.everything();
    let adopt = "adopt --pkg ACMEown --pkg-version 1 --basedir /opt/other --dir @ROOT@/opt/acme -R @ROOT@";
    let said = stage.run(adopt).fails(3);
    assert!(said.contains("it has /opt/acme, which is not below its base directory /opt/other"), "{said}");
    assert_eq!(stage.everything(), before);
}

#[test]
fn an_upgraded_tree_is_adopted_again_after_its_registration_is_removed() {
    let stage = with_tree();
    let adopt = "adopt --pkg ACMEown --pkg-version 1.0 --arch i386 --dir @ROOT@/opt/acme -R @ROOT@";
    stage.run(adopt).ok();
    let patch = Package::new("ACMEown").param("BASEDIR", "/opt/acme").file("bin/new", 0o755, "new\n");
    stage.patchadd("", &Patch::of("100-01", patch)).ok();
    stage.file("/opt/acme/bin/tool", "two\n");
    let adopt = adopt.replace("1.0", "2.0");
    let said = stage.run(&adopt).fails(3);
    let hint = "hint: to register its current files, first run `patchadm -R @ROOT@ remove 100-01`, then \
                `patchadm -R @ROOT@ adopt --forget --pkg ACMEown`\n";
    assert!(said.contains("it is already installed\n") && said.ends_with(hint), "{said}");
    let said = stage.run("adopt --refresh ACMEown -R @ROOT@").fails(3);
    assert!(said.contains("it was not adopted from dpkg or rpm\n") && said.ends_with(hint), "{said}");
    stage.run("remove -R @ROOT@ 100-01").ok();
    stage.run("adopt --forget --pkg ACMEown -R @ROOT@").ok();
    stage.run(&adopt).ok();
    let said = stage.run(&adopt).fails(3);
    assert!(said.ends_with("first run `patchadm -R @ROOT@ adopt --forget --pkg ACMEown`\n"), "{said}");
}

#[test]
fn a_list_of_paths_is_adopted_whole_or_not_at_all() {
    let stage = with_tree();
    fs::write(stage.beside("paths"), "/opt/acme\n/opt/acme/bin/tool\n/opt/acme/gone\n").unwrap();
    let adopt = "adopt --pkg ACMEown --pkg-version 1 --paths paths -R @ROOT@";
    let before = stage.everything();
    assert!(stage.run(adopt).fails(3).contains("nothing is at @ROOT@/opt/acme/gone"));
    assert_eq!(stage.everything(), before);
    fs::write(stage.beside("paths"), "/opt/acme\nopt/acme/bin\n").unwrap();
    assert!(stage.run(adopt).fails(1).contains("line 2"));
    fs::write(stage.beside("paths"), "/opt/acme\n/opt/acme/bin/tool\n").unwrap();
    stage.run(adopt).ok();
    assert!(stage.run(adopt).fails(3).contains("it is already installed"));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(stage.run("pkgrm -n -R @ROOT@ ACMEown").code, 0, "what no other package manager has may go");
    assert!(!stage.at("/opt/acme/bin/tool").exists());
}

#[test]
fn every_object_of_another_package_is_named_and_nothing_is_changed() {
    let web = Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n").symlink("bin/now", "httpd");
    let stage = Scenario::with(&[web]);
    stage.file("/opt/ACMEweb/bin/mine", "mine\n");
    let before = Before::of(&stage);
    let adopt = "adopt --pkg ACMEown --pkg-version 1 --dir @ROOT@/opt/ACMEweb -R @ROOT@";
    assert_eq!(
        stage.run(adopt).fails(3),
        "patchadm: error: package ACMEown was not adopted: other packages own some of its objects\n    \
         @ROOT@/opt/ACMEweb/bin/httpd belongs to ACMEweb\n    @ROOT@/opt/ACMEweb/bin/now belongs to ACMEweb\n    \
         nothing was changed\n"
    );
    let said = stage.run(&format!("{adopt} --dry-run")).fails(3);
    assert!(said.contains("package ACMEown would not be adopted: "), "{said}");
    let run = stage.run(&format!("{adopt} --json"));
    assert_eq!(run.code, 3);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["conflicts"].as_array().unwrap().len(), 2);
    assert_eq!(document["conflicts"][0]["owners"][0], "ACMEweb");
    before.assert_again(&stage, "nothing is changed");
    stage.run(&format!("{adopt} --exclude httpd --exclude bin/now --exclude **/now")).ok();
}

#[test]
fn what_dpkg_has_recorded_is_adopted_as_it_lies() {
    let stage = of_dpkg();
    let software = Tree::of(&stage.root(), &["var/sadm"]);
    let said = stage.run("adopt --dpkg web -R @ROOT@").ok();
    assert!(said.starts_with("Adopted package DEBweb: "), "{said}");
    assert!(said.contains("  @ROOT@/lib/libweb.so differs from its record\n"), "{said}");
    assert!(said.contains("  @ROOT@/usr/share/doc does not exist\n"), "{said}");
    assert!(!said.contains("usr/bin/web "), "{said}");
    let hint = "hint: patchadm build --pkg DEBweb --arch amd64 --base-version 1:2.0-1 --id ID --synopsis TEXT --from OLD";
    assert!(said.contains(hint) && !said.contains("count as unmodified"), "{said}");
    assert_eq!(Tree::of(&stage.root(), &["var/sadm"]), software);
    assert_eq!(line(&stage, "/lib"), "", "the link of a merged /usr is nobody's");
    assert!(line(&stage, "/lib/libweb.so").ends_with(" DEBweb"), "named as dpkg names it");
    assert!(line(&stage, "/usr/bin/sh.distrib").ends_with(" DEBweb"), "where it lies");
    assert_eq!(line(&stage, "/usr/bin/sh"), "");
    assert!(line(&stage, "/etc/web.conf").starts_with("/etc/web.conf e none "));
    let said = stage.run("pkgparam -v -R @ROOT@ DEBweb").ok();
    for value in
        ["VERSION='1:2.0-1'", "ARCH='amd64'", "NAME='a web server'", "PATCHADM_ADOPTED='dpkg web:amd64'"]
    {
        assert!(said.contains(value), "{value}: {said}");
    }
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    let before = Before::of(&stage);
    let said = stage.run("pkgrm -n -R @ROOT@ DEBweb").fails(1);
    assert!(said.contains("adopted from dpkg web:amd64"), "{said}");
    before.assert_again(&stage, "pkgrm refuses");
    let delivered =
        Package::new("DEBweb").param("ARCH", "amd64").param("VERSION", "1:2.0-1").param("BASEDIR", "/");
    let patch = Patch::of("100-01", delivered.file("lib/libweb.so", 0o644, "new lib\n"));
    stage.patchadd("", &patch).fails(10);
    stage.patchadd("-u", &patch).ok();
    assert_eq!(stage.text("/usr/lib/libweb.so"), "new lib\n");
    assert_eq!(fs::read_link(stage.at("/lib")).unwrap(), Path::new("usr/lib"));
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "it comes back");
    stage.run("adopt --forget --pkg DEBweb -R @ROOT@").ok();
    assert_eq!(stage.lines(), Vec::<String>::new());
}

#[test]
fn a_package_that_dpkg_or_rpm_does_not_have_is_told_and_nothing_is_made() {
    let stage = of_dpkg();
    let before = stage.everything();
    assert!(stage.run("adopt --dpkg none -R @ROOT@").fails(1).contains("dpkg has not installed it"));
    assert!(stage.run("adopt --dpkg ../web -R @ROOT@").fails(1).contains("not a valid package name"));
    assert!(stage.run("adopt --rpm web -R @ROOT@").fails(1).contains("no records of rpm"));
    let said = stage.run("adopt --dir /usr -R @ROOT@").fails(2);
    assert!(said.contains("--pkg is missing"), "{said}");
    let hint = "hint: patchadm -R @ROOT@ adopt --pkg PKG --pkg-version VERSION --dir /usr\n";
    assert!(said.contains(hint), "{said}");
    assert!(
        stage
            .run("adopt --pkg a --pkg-version 1 --dir /none -R @ROOT@")
            .fails(1)
            .contains("is not a directory")
    );
    let long = "a".repeat(33);
    assert!(
        stage.run(&format!("adopt --pkg {long} --dpkg web -R @ROOT@")).fails(1).contains("32 characters")
    );
    assert!(stage.run("adopt --forget --pkg none -R @ROOT@").fails(4).contains("no such package"));
    assert_eq!(stage.everything().difference(&before), "");
}

#[test]
fn a_root_without_a_database_gets_one_only_if_something_is_adopted() {
    let stage = Scenario::bare();
    stage.file("/opt/acme/tool", "tool\n");
    stage
        .run("adopt --pkg a --pkg-version 1 --dir /opt/acme --exclude tool --exclude acme -R @ROOT@")
        .fails(3);
    assert!(!stage.at("/var").exists(), "{}", stage.everything().paths());
    stage.run("adopt --pkg ACMEown --pkg-version 1 --dir /opt/acme -R @ROOT@").ok();
    assert_eq!(stage.run("pkginfo -R @ROOT@").ok().lines().count(), 1);
}

/// Unpacks a Debian package, and records it as dpkg would have.
fn unpacked(stage: &Scenario, deb: &Path, name: &str) {
    let unpack = |what: &str, to: &Path| {
        assert!(Command::new("dpkg-deb").arg(what).arg(deb).arg(to).status().unwrap().success());
    };
    unpack("-x", &stage.root());
    let control = stage.beside("control");
    unpack("-e", &control);
    let info = stage.at("/var/lib/dpkg/info");
    fs::create_dir_all(&info).unwrap();
    for file in ["md5sums", "conffiles"] {
        if control.join(file).exists() {
            fs::copy(control.join(file), info.join(format!("{name}.{file}"))).unwrap();
        }
    }
    let listing = Command::new("dpkg-deb").arg("-c").arg(deb).output().unwrap().stdout;
    let listing = String::from_utf8(listing).unwrap();
    let paths = listing.lines().filter_map(|line| line.split_whitespace().nth(5));
    let paths: String = paths.map(|path| format!("{}\n", path[1..].trim_end_matches('/'))).collect();
    fs::write(info.join(format!("{name}.list")), paths.replacen('\n', "/.\n", 1)).unwrap();
    let control = fs::read_to_string(control.join("control")).unwrap();
    fs::write(stage.at("/var/lib/dpkg/status"), format!("Status: install ok installed\n{control}")).unwrap();
}

#[test]
fn nginx_of_a_merged_usr_is_adopted_and_patched_and_comes_back() {
    let test = "nginx_of_a_merged_usr_is_adopted_and_patched_and_comes_back";
    let Some(deb) = shared(test, "cases/release/nginx_1.22.1-9+deb12u9_amd64.deb") else { return };
    if !crate::has("dpkg-deb", test) || !crate::has("tar", test) {
        return;
    }
    let stage = Scenario::new();
    stage.directory("/usr/sbin");
    stage.symlink("/sbin", "usr/sbin");
    unpacked(&stage, &deb, "nginx");
    let software = Tree::of(&stage.root(), &["var/sadm"]);
    let run = stage.run("adopt --dpkg nginx -R @ROOT@ --json");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        (&document["differing"], &document["missing"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    assert_eq!(document["package"], "DEBnginx");
    assert_eq!(Tree::of(&stage.root(), &["var/sadm"]), software);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    let before = Before::of(&stage);
    let delivered = Package::new("DEBnginx").param("ARCH", "amd64").param("VERSION", "1.22.1-9+deb12u9");
    let delivered = delivered.param("BASEDIR", "/").file("usr/sbin/nginx", 0o755, "another nginx\n");
    stage.patchadd("", &Patch::of("100-01", delivered)).ok();
    assert_eq!(stage.text("/sbin/nginx"), "another nginx\n");
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "it comes back");
}

#[test]
fn a_patch_that_is_built_with_what_adopt_prints_fits() {
    let stage = Scenario::bare();
    for (release, text) in [("old", "one\n"), ("new", "two or more\n")] {
        fs::create_dir_all(stage.beside(release).join("bin")).unwrap();
        fs::write(stage.beside(release).join("bin/tool"), text).unwrap();
    }
    stage.file("/srv/tool/bin/tool", "one\n");
    let said = stage.run("adopt --pkg ACMEtool --pkg-version 1.0 --dir @ROOT@/srv/tool -R @ROOT@").ok();
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: patchadm ")).unwrap();
    let without = stage.run("build --id 100-01 --from old --to new -o made").fails(2);
    assert!(without.contains("patchadm pkginfo -l"), "{without}");
    let build = hint.replace("ID", "100-01").replace("OLD", "old").replace("NEW", "new");
    stage.run(&build.replace("PATCH", "made")).ok();
    stage.run("add -R @ROOT@ made").ok();
    assert_eq!(stage.text("/srv/tool/bin/tool"), "two or more\n");
    stage.run("remove -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/srv/tool/bin/tool"), "one\n");
}

#[test]
fn the_word_of_version_0_1_for_before_upgrade_is_in_no_usage() {
    let stage = Scenario::new();
    for line in ["adopt -R @ROOT@", "adopt --help", "adopt --foresee --all -R @ROOT@"] {
        let said = stage.run(line).said();
        assert!(said.contains("--before-upgrade") && !said.contains("foresee"), "{line}: {said}");
    }
}

#[test]
fn an_adoption_says_what_patches_could_not_contain_what_matches_nothing_and_whose_the_objects_are() {
    let stage = Scenario::new();
    for number in 0..12 {
        fs::create_dir_all(stage.at("opt/web")).unwrap();
        fs::write(stage.at(&format!("opt/web/f{number:02}")), "x\n").unwrap();
    }
    let adopt = |pkg: &str, more: &str| {
        stage.run(&format!("adopt -R @ROOT@ --pkg {pkg} --pkg-version 1 --dir @ROOT@/opt/web {more}"))
    };
    fs::write(stage.at("opt/web/$HOME"), "x\n").unwrap();
    let said = adopt("ACMEweb", "").fails(1);
    assert!(said.contains("/opt/web/$HOME has a component that begins with `$`"), "{said}");
    let run = adopt("ACMEweb", "--exclude $HOME --editable nomatch*");
    assert!(run.stderr.contains("no path matches --editable nomatch*"), "{}", run.stderr);
    let said = adopt("ACMEother", "--exclude $HOME").fails(3);
    assert_eq!(said.matches(" belongs to ACMEweb\n").count(), 10, "{said}");
    assert!(said.contains("\n    and 2 more\n"), "{said}");
    assert!(said.contains("adopt --forget --pkg ACMEweb"), "{said}");
}
