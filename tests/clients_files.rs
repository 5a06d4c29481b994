//! Packages and patches as they are in the wild, beyond the manual pages.

use std::fs;

use crate::clients::Machine;
use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;

/// A machine with an admin file that asks nothing.
fn machine(packages: &[Package]) -> Machine {
    let machine = Machine::with(packages);
    machine.stage.file("/admin", NOCHECK);
    machine
}

#[track_caller]
fn install(machine: &Machine, package: &Package) {
    let at = package.write(&machine.stage.beside("spool"));
    let name = at.file_name().unwrap().to_str().unwrap();
    let run = machine.sh(&format!("pkgadd -n -a @ROOT@/admin -d $PWD/spool {name}"));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
}

#[test]
fn scripts_without_a_first_line_and_empty_ones_are_run() {
    let machine = machine(&[]);
    let package = Package::new("ACMEodd")
        .param("CLASSES", "none odd")
        .file("a", 0o644, "a\n")
        .of_class("odd", 'f', "b", 0o644, "b\n")
        .information("checkinstall", "")
        .information("preinstall", "")
        .information("i.odd", "while read src dst; do cp $src $dst; done\n")
        .information("postinstall", "echo $PKGINST > $BASEDIR/noted\n")
        .information("preremove", "rm $BASEDIR/noted\n")
        .information("postremove", "");
    install(&machine, &package);
    assert_eq!(machine.stage.text("/opt/ACMEodd/noted"), "ACMEodd\n");
    assert_eq!(machine.stage.text("/opt/ACMEodd/b"), "b\n");
    let run = machine.sh("pkgrm -n -a @ROOT@/admin ACMEodd");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(machine.stage.tree().paths(), "admin etc etc/group etc/passwd");
}

#[test]
fn a_class_script_is_another_packages_and_found_under_the_root_first() {
    let machine = machine(&[]);
    let scripts = Package::new("ACMEcas").param("BASEDIR", "/").file(
        "usr/sadm/install/scripts/i.sed",
        0o555,
        "while read src dst; do echo ours > $dst; done\n",
    );
    install(&machine, &scripts);
    let user =
        Package::new("ACMEuser").param("CLASSES", "sed").of_class("sed", 'e', "conf", 0o644, "!install\n");
    install(&machine, &user);
    assert_eq!(machine.stage.text("/opt/ACMEuser/conf"), "ours\n");
}

#[test]
fn parameters_are_written_in_many_ways() {
    let machine = machine(&[]);
    let at = Package::new("ACMEodd").file("a", 0o644, "a\n").write(&machine.stage.beside("spool"));
    let text = "# made by hand\nPKG=\"ACMEodd\"\nNAME= Odd tool\nARCH='i386'\nVERSION=release 1.0, build 7\n\
                CATEGORY=application\nBASEDIR=/opt/ACMEodd\nOPTS=a=b c=d\nacme-name=with a dash\nCLASSES=none\n";
    fs::write(at.join("pkginfo"), text).unwrap();
    let map = fs::read_to_string(at.join("pkgmap")).unwrap();
    let lines = map.lines().filter(|line| !line.contains(" i pkginfo ")).map(|line| format!("{line}\n"));
    let sum = patchadm_svr4::package::checksum::sum(text.as_bytes());
    let own = format!("1 i pkginfo {} {sum} 1577836800\n", text.len());
    fs::write(at.join("pkgmap"), lines.chain([own]).collect::<String>()).unwrap();
    let run = machine.sh("pkgadd -n -a @ROOT@/admin -d $PWD/spool ACMEodd");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let values = machine.sh("pkgparam ACMEodd PKG NAME ARCH VERSION OPTS").ok();
    assert_eq!(values, "ACMEodd\nOdd tool\ni386\nrelease 1.0, build 7\na=b c=d\n");
    assert!(machine.sh("pkginfo -x").ok().ends_with("(i386) release 1.0, build 7\n"));
}

#[test]
fn patches_have_ids_with_letters_and_macros_of_other_vendors() {
    for id in ["IDR123456-78", "KABCDE-07", "118833-36"] {
        let machine = Machine::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "old\n")]);
        let patch = Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, "new\n"))
            .says("RR_PATCHID", "RR-17")
            .says("RR_REQUIRES", "RR-16");
        let run = machine.stage.patchadd("", &patch);
        assert_eq!(run.code, 0, "{id}: {}{}", run.stdout, run.stderr);
        let listed = machine.sh(&format!("showrev -p | grep {id}")).ok();
        assert_eq!(listed, format!("Patch: {id} Obsoletes:  Requires:  Incompatibles:  Packages: ACMEweb\n"));
        let run = machine.sh(&format!("patchrm {id}"));
        assert_eq!(run.code, 0, "{id}: {}{}", run.stdout, run.stderr);
        assert_eq!(machine.stage.text("/opt/ACMEweb/bin/httpd"), "old\n");
    }
}

#[test]
fn a_database_that_the_classic_tools_left_is_read() {
    let machine = Machine::with(&[]);
    let info = "Installed: Mon Oct 27 08:52:07 PDT 2008 From: mum Obsoletes: 118833-36 120011-14 Requires:  \
                Incompatibles: ";
    let pkginfo = format!(
        "PKG=SUNWbash\nNAME=GNU Bourne-Again shell (bash)\nARCH=i386\nVERSION=11.10.0,REV=2005.01.08.01.09\n\
         CATEGORY=system\nBASEDIR=/\nSUNW_PATCHID=126547-01\nPATCHLIST=126547-01\nPATCH_INFO_126547-01={info}\n"
    );
    machine.stage.package("SUNWbash", &pkginfo);
    machine.stage.contents(&[]);
    assert_eq!(
        machine.sh("showrev -p").ok(),
        "Patch: 126547-01 Obsoletes: 118833-36, 120011-14 Requires:  Incompatibles:  Packages: SUNWbash\n"
    );
}
