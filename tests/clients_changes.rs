//! Programs that install and remove packages and patches through these commands, with their exact command lines and the
//! output that they rely on.

use std::fs;
use std::os::unix::fs::symlink;

use crate::clients::{Machine, web};
use crate::delivery::Patch;
use crate::packages::{Package, datastream};
use crate::scenario::Run;

/// The admin file that Ansible writes, with its leading empty line.
const ANSIBLE: &str = "\nmail=\ninstance=unique\npartial=nocheck\nrunlevel=quit\nidepend=nocheck\nrdepend=nocheck\n\
                       space=quit\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\nnetworktimeout=60\n\
                       networkretries=3\nauthentication=quit\nkeystore=/var/sadm/security\nproxy=\nbasedir=default\n";

/// Unsupported calls, each with its exit code and the missing feature. They are refused and change nothing.
const LATER: [(&str, i32, &str); 4] = [
    ("pkgadd -n -a @ROOT@/admin -d http://localhost:9/web.pkg ACMEweb", 99, "packages from the network"),
    ("pkgadd -n -d http://localhost:9/web.pkg all", 99, "packages from the network"),
    ("pkgadd -n -a @ROOT@/admin -x localhost:9 -d http://localhost:9/web.pkg all", 99, "a proxy"),
    ("install_cluster -q", 127, "the script of a patch cluster"),
];

/// A machine without packages, with a stream, a spool and an admin file.
fn machine() -> Machine {
    let machine = Machine::with(&[]);
    machine.stage.file("/admin", ANSIBLE);
    web().write(&machine.stage.beside("spool"));
    machine
}

#[track_caller]
fn done(machine: &Machine, line: &str) -> Run {
    let run = machine.sh(line);
    assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
    run
}

/// Runs lines that install the web server, each followed by one that removes it.
#[track_caller]
fn comes_and_goes(machine: &Machine, lines: &[(&str, &str)]) {
    for (install, remove) in lines {
        done(machine, install);
        assert_eq!(machine.sh("pkginfo -q ACMEweb").code, 0, "{install}");
        assert_eq!(machine.sh("pkgchk ACMEweb").ok(), "", "{install}");
        done(machine, remove);
        assert_eq!(machine.sh("pkginfo -q ACMEweb").code, 1, "{remove}");
    }
}

#[test]
fn ansible_clusters_options_and_begins_its_admin_file_with_an_empty_line() {
    let machine = machine();
    machine.stage.file("/response", "ANSWER=yes\n");
    let all = "pkgadd -n -G -a @ROOT@/admin -d @STREAM@ -x proxy:8080 -r @ROOT@/response ACMEweb";
    comes_and_goes(
        &machine,
        &[
            ("pkgadd -n -a @ROOT@/admin -d @STREAM@ ACMEweb", "pkgrm -na @ROOT@/admin ACMEweb"),
            ("pkgadd -n -a @ROOT@/admin -d @STREAM@ -Y utils", "pkgrm -na @ROOT@/admin -Y utils"),
            (all, "pkgrm -na @ROOT@/admin ACMEweb"),
        ],
    );
    done(&machine, all);
    assert_eq!(machine.sh("pkgparam ACMEweb ANSWER").ok(), "yes\n");
}

#[test]
fn ansible_takes_0_2_10_and_20_for_done_3_for_failed_and_99_for_an_unusable_stream() {
    for (code, stays) in [(0, true), (2, true), (10, true), (20, true), (3, false)] {
        let machine = machine();
        let package = web().information("postinstall", format!("exit {code}\n"));
        let stream = machine.stage.beside("ending.pkg");
        datastream(&[package.write(&machine.stage.beside("ending"))], &stream);
        let line = format!("pkgadd -n -a @ROOT@/admin -d {} ACMEweb", stream.display());
        assert_eq!(machine.sh(&line).code, code);
        assert_eq!(machine.sh("pkginfo -q ACMEweb").code == 0, stays, "{code}");
    }
    let machine = machine();
    fs::write(machine.stage.beside("junk.pkg"), "no package\n").unwrap();
    for line in [
        "pkgadd -n -a @ROOT@/admin -d $PWD/junk.pkg ACMEweb",
        "pkgadd -n -a @ROOT@/admin -d $PWD/nothing.pkg ACMEweb",
        "head -c 700 @STREAM@ > cut.pkg; pkgadd -n -a @ROOT@/admin -d $PWD/cut.pkg ACMEweb",
    ] {
        let text = machine.sh(line).fails(99);
        assert!(text.starts_with("pkgadd: ERROR: could not process datastream from <"), "{line}: {text}");
    }
}

#[test]
fn salt_passes_an_option_with_a_blank_behind_it() {
    let machine = machine();
    comes_and_goes(
        &machine,
        &[
            ("pkgadd -n -a @ROOT@/admin '-G ' -d @STREAM@ all", "pkgrm -n -a @ROOT@/admin ACMEweb"),
            ("pkgadd -n -a @ROOT@/admin -d @STREAM@ all", "pkgrm -n -a @ROOT@/admin ACMEweb"),
        ],
    );
    Package::new("ACMEone").file("a", 0o644, "a\n").write(&machine.stage.beside("spool"));
    done(&machine, "pkgadd -n -a @ROOT@/admin '-G ' -d $PWD/spool all");
    done(&machine, "pkgrm -n -a @ROOT@/admin ACMEweb ACMEone");
    assert_eq!(machine.sh("pkginfo").stdout, "");
}

#[test]
fn puppet_puts_n_behind_the_device() {
    let machine = machine();
    machine.stage.file("/response", "ANSWER=yes\n");
    comes_and_goes(
        &machine,
        &[
            (
                "pkgadd -a @ROOT@/admin -r @ROOT@/response -d @STREAM@ -G -n ACMEweb",
                "pkgrm -a @ROOT@/admin -n ACMEweb",
            ),
            ("pkgadd -d @STREAM@ -n ACMEweb", "pkgrm -n ACMEweb"),
        ],
    );
    assert_eq!(machine.sh("pkgrm -n ACMEweb").code, 1, "what is not there cannot go");
}

/// A package with files of two classes but no scripts for them: `sed` is a standard class, and the root has the script
/// of `conf`.
fn of_classes() -> Package {
    Package::new("ACMEconf")
        .param("CLASSES", "none sed conf")
        .file("bin/run", 0o755, "run\n")
        .of_class("sed", 'e', "etc/hosts", 0o644, "!install\n$a\\\nlocalhost\n!remove\n/^localhost$/d\n")
        .of_class("conf", 'f', "etc/conf", 0o644, "conf\n")
}

#[test]
fn puppet_and_chef_are_stopped_by_scripts_of_the_package_itself_alone() {
    let machine = machine();
    let spool = machine.stage.beside("spool");
    for (name, text) in [
        ("i.conf", "while read from to; do cp $from $to; echo $to >> $PKG_INSTALL_ROOT/seen; done\n"),
        ("r.conf", "while read path; do rm $path; done\n"),
    ] {
        machine.stage.file(&format!("/usr/sadm/install/scripts/{name}"), text);
    }
    machine.stage.file("/opt/ACMEconf/etc/hosts", "router\n");
    of_classes().write(&spool);
    for (install, remove) in [
        ("pkgadd -d $PWD/spool -n ACMEconf", "pkgrm -n ACMEconf"),
        ("pkgadd -n -d $PWD/spool ACMEconf", "pkgrm -n -A ACMEconf"),
    ] {
        done(&machine, install);
        assert_eq!(machine.stage.text("/opt/ACMEconf/etc/hosts"), "router\nlocalhost\n");
        assert_eq!(machine.sh("pkgchk ACMEconf").ok(), "", "{install}");
        done(&machine, remove);
        assert_eq!(machine.stage.text("/opt/ACMEconf/etc/hosts"), "router\n");
    }
    assert_eq!(machine.stage.text("/seen").lines().count(), 2, "the script of the root was run");
    for script in ["preinstall", "postinstall", "i.conf"] {
        let _ = fs::remove_dir_all(spool.join("ACMEconf"));
        of_classes().information(script, "cat > /dev/null; exit 0\n").write(&spool);
        let run = machine.sh("pkgadd -d $PWD/spool -n ACMEconf");
        assert_eq!(run.code, 5, "{script}: {}{}", run.stdout, run.stderr);
        assert!(run.stderr.contains("its own scripts that run with the permissions"), "{}", run.stderr);
    }
    for script in ["preremove", "postremove", "r.conf"] {
        let _ = fs::remove_dir_all(spool.join("ACMEconf"));
        of_classes().information(script, "cat > /dev/null; exit 0\n").write(&spool);
        done(&machine, "pkgadd -d $PWD/spool -n ACMEconf");
        assert_eq!(machine.sh("pkgrm -n ACMEconf").code, 5, "{script}");
        done(&machine, "pkgrm -n -a @ROOT@/admin ACMEconf");
    }
}

#[test]
fn puppet_and_cfengine_install_the_first_package_of_an_empty_database() {
    let machine = machine();
    for line in ["pkginfo", "pkginfo -x", "pkginfo -l"] {
        let run = machine.sh(line);
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""), "{line}");
    }
    for line in ["pkginfo -q", "pkginfo -l ACMEweb", "pkginfo -q -c utils", "pkginfo -i", "pkginfo -p"] {
        assert_eq!(machine.sh(line).code, 1, "{line}");
    }
    comes_and_goes(&machine, &[("pkgadd -d @STREAM@ -n ACMEweb", "pkgrm -n ACMEweb")]);
}

#[test]
fn a_relocatable_package_without_base_directory_needs_somebody_who_says_where_it_goes() {
    let machine = machine();
    let text = "PKG=ACMEabs\nNAME=Absolute\nARCH=i386\nVERSION=1.0\nCATEGORY=system\nCLASSES=none\n";
    machine.stage.spooled("/spool/ACMEabs", text, &["1 d none etc/acme 0755 root root"]);
    let line = "unset PKG_INSTALL_ROOT; pkgadd -n -a @ROOT@/admin -R @ROOT@ -d @ROOT@/spool ACMEabs";
    let said = machine.sh(line).fails(5);
    assert!(said.contains("where to install the package"), "{said}");
    assert!(!machine.stage.at("/etc/acme").exists());
    let top = machine.stage.text("/admin").replace("basedir=default", "basedir=/");
    machine.stage.file("/admin.top", top);
    done(&machine, "unset PKG_INSTALL_ROOT; pkgadd -n -a @ROOT@/admin.top -R @ROOT@ -d @ROOT@/spool ACMEabs");
    let pkginfo = machine.stage.text("/var/sadm/pkg/ACMEabs/pkginfo");
    assert!(pkginfo.starts_with("CLASSES=none\nBASEDIR=/\n"), "{pkginfo}");
    assert_eq!(machine.sh("pkginfo -r ACMEabs").ok(), "/\n");
    assert_eq!(machine.sh("pkgchk ACMEabs").ok(), "");
    assert!(machine.stage.at("/etc/acme").is_dir());
    let patch = Patch::of(
        "120009-01",
        Package::new("ACMEabs").param("BASEDIR", "/").file("etc/acme/a", 0o644, "a\n"),
    );
    machine.stage.patchadd("", &patch).ok();
    done(&machine, "patchrm 120009-01");
    assert!(machine.stage.text("/var/sadm/pkg/ACMEabs/pkginfo").contains("\nBASEDIR=/\n"));
    done(&machine, "pkgrm -n -a @ROOT@/admin ACMEabs");
}

#[test]
fn chef_cfengine_and_zap_install_from_streams_and_spools() {
    let machine = machine();
    comes_and_goes(
        &machine,
        &[
            ("pkgadd -n -G -d @STREAM@ all", "pkgrm -n -A ACMEweb"),
            ("pkgadd -n -a @ROOT@/admin -d $PWD/spool ACMEweb", "pkgrm -n -a @ROOT@/admin ACMEweb"),
            (
                "pkgadd -n -a @ROOT@/admin -R @ROOT@ -d $PWD/spool ACMEweb",
                "pkgrm -n -a @ROOT@/admin -R @ROOT@ ACMEweb",
            ),
            (
                "unset PKG_INSTALL_ROOT; pkgadd -n -a @ROOT@/admin -R @ROOT@ -d $PWD/spool ACMEweb",
                "unset PKG_INSTALL_ROOT; pkgrm -n -a @ROOT@/admin -R @ROOT@ ACMEweb",
            ),
        ],
    );
}

#[test]
fn pkg_get_names_every_instance_and_reads_a_stream_behind_one_block() {
    let machine = machine();
    comes_and_goes(
        &machine,
        &[("pkgadd -d @STREAM@ -n -a @ROOT@/admin ACMEweb", "pkgrm -n -a @ROOT@/admin 'ACMEweb.*'")],
    );
    let stream = fs::read(machine.stream()).unwrap();
    assert!(stream.starts_with(b"# PaCkAgE DaTaStReAm\n") && &stream[512..518] == b"070701");
    let listed = machine.sh("dd if=@STREAM@ skip=1 2>/dev/null | cpio -it 2>/dev/null");
    if listed.code == 127 {
        crate::missing("cpio", "pkg_get_names_every_instance…");
    } else {
        assert_eq!(listed.stdout, "ACMEweb/pkginfo\nACMEweb/pkgmap\n");
    }
}

#[test]
fn build_scripts_install_what_comes_through_a_pipe() {
    let machine = machine();
    comes_and_goes(
        &machine,
        &[
            ("cat @STREAM@ | pkgadd -n -d /dev/stdin all", "pkgrm -n ACMEweb"),
            ("pkgadd -n -a @ROOT@/admin -d /dev/stdin ACMEweb < @STREAM@", "pkgrm -n ACMEweb"),
            ("cat @STREAM@ | pkgadd -n -d /dev/fd/0 all", "pkgrm -n ACMEweb"),
            (
                "mkdir sp; pkgadd -s $PWD/sp -d @STREAM@ ACMEweb && pkgadd -n -d $PWD/sp ACMEweb",
                "pkgrm -n ACMEweb",
            ),
        ],
    );
    for device in ["/dev/fd/0", "/dev/stdin"] {
        let line = format!("mkdir into; cat @STREAM@ | pkgtrans {device} $PWD/into all; ls into; rm -r into");
        assert_eq!(done(&machine, &line).stdout, "ACMEweb\n");
    }
}

#[test]
fn pca_applies_through_a_symbolic_link_with_its_input_closed() {
    let patch = || {
        let package = web().param("VERSION", "2.0,REV=2026.11");
        Patch::of("120001-01", package.file("bin/httpd", 0o755, "hello, one\n"))
    };
    for options in ["", "-R @ROOT@ ", "-G ", "-d ", "-R @ROOT@ -G -d ", "-B $PWD/backout "] {
        let machine = Machine::with(&[web()]);
        fs::create_dir(machine.stage.beside("backout")).unwrap();
        fs::create_dir(machine.stage.beside("tmp")).unwrap();
        symlink(patch().directory(&machine.stage), machine.stage.beside("tmp/120001-01")).unwrap();
        done(&machine, &format!("patchadd {options}$PWD/tmp/120001-01 </dev/null"));
        assert_eq!(machine.stage.text("/opt/ACMEweb/bin/httpd"), "hello, one\n", "{options}");
        assert!(machine.sh("showrev -p").ok().starts_with("Patch: 120001-01 Obsoletes:  "));
        let again = machine.sh(&format!("patchadd {options}$PWD/tmp/120001-01 <&-"));
        assert_eq!(again.code, 2, "{options}: {}", again.stderr);
    }
}

#[test]
fn spacewalk_unpacks_a_patch_first_and_reads_what_pkgtrans_begins_with() {
    let machine = Machine::with(&[web()]);
    let patch = Patch::of(
        "120001-01",
        web().param("VERSION", "2.0,REV=2026.11").file("bin/httpd", 0o755, "hello, one\n"),
    );
    let directory = patch.directory(&machine.stage);
    datastream(&[directory.join("ACMEweb")], &machine.stage.beside("patch.pkg"));
    let run = done(&machine, "mkdir 120001-01; pkgtrans $PWD/patch.pkg $PWD/120001-01 all");
    assert!(run.stderr.starts_with("Transferring <ACMEweb>"), "{}", run.stderr);
    fs::write(machine.stage.beside("120001-01/.diPatch"), "").unwrap();
    done(&machine, "patchadd -u $PWD/120001-01");
    assert!(machine.sh("showrev -p").ok().ends_with(" Packages: ACMEweb\n"));
    done(&machine, "patchrm 120001-01");
    assert_eq!(machine.stage.text("/opt/ACMEweb/bin/httpd"), "hello\n");
}

#[test]
fn spacewalk_splits_the_relations_of_a_patch_at_single_blanks() {
    let machine = Machine::with(&[web()]);
    let needed = Patch::of("120001-01", web().file("bin/httpd", 0o755, "hello, one\n"));
    let other = Patch::of("120003-02", web().file("bin/other", 0o755, "other\n"));
    let last = Patch::of("120002-03", web().file("bin/httpd", 0o755, "hello, two\n"))
        .says("SUNW_REQUIRES", "120001-01 120003-02")
        .says("SUNW_INCOMPAT", "130001-01 130002-01");
    for patch in [needed, other, last] {
        let run = machine.stage.patchadd("", &patch);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let listed = machine.sh("showrev -p | grep '^Patch: 120002-03 '").ok();
    let lists = " Requires: 120001-01, 120003-02 Incompatibles: 130001-01, 130002-01 Packages: ACMEweb\n";
    assert!(listed.ends_with(lists), "{listed}");
}

#[test]
fn what_comes_with_depots_is_refused_until_then() {
    for (line, code, missing) in LATER {
        let machine = machine();
        let before = machine.stage.everything();
        assert_eq!(machine.sh(line).code, code, "{missing}: {line}");
        crate::tree::assert_same(&machine.stage.everything(), &before);
    }
}
