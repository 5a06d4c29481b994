use std::fs;

use crate::packages::datastream;
use crate::scenario::{Scenario, shared};

const PKGMAP: &str = ": 1 10
1 d none bin 0755 root bin
1 f none bin/tool 0755 $OWNER bin 6 542 981173106
1 s none bin/soft=$WHERE/tool
1 e none etc/conf 0644 root sys 2 107 981173106
1 i pkginfo 1 1 981173106
1 f none /etc/abs ? ? ? 2 107 981173106
";

/// A root in which the package of `PKGMAP` is installed.
fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.package("SUNWstuf", "NAME=Stuff\nBASEDIR=/opt/stuf\nOWNER=root\nWHERE=/opt/stuf/bin\n");
    stage.file("/map", PKGMAP);
    stage.file("/opt/stuf/bin/tool", "hello\n");
    stage.mode("/opt/stuf/bin/tool", 0o755);
    stage.symlink("/opt/stuf/bin/soft", "/opt/stuf/bin/tool");
    stage.file("/opt/stuf/etc/conf", "changed\n");
    stage.file("/etc/abs", "a\n");
    stage
}

#[test]
fn a_pkgmap_is_checked_with_the_parameters_of_its_package() {
    let stage = stage();
    assert_eq!(stage.run("pkgchk -n -R @ROOT@ -m @ROOT@/map SUNWstuf").ok(), "");
    let conf = "ERROR: @ROOT@/opt/stuf/etc/conf\n    file size <2> expected <8> actual\n    file cksum <107> expected <724> actual\n";
    assert_eq!(stage.run("pkgchk -R @ROOT@ -m @ROOT@/map SUNWstuf").fails(1), conf);
    fs::remove_file(stage.at("/etc/abs")).unwrap();
    let text = stage.run("pkgchk -n -R @ROOT@ -m @ROOT@/map SUNWstuf").fails(1);
    assert_eq!(text, "ERROR: @ROOT@/etc/abs\n    pathname does not exist\n");
}

#[test]
fn a_pkgmap_alone_takes_its_variables_from_a_file() {
    let stage = stage();
    assert_eq!(
        stage.run("pkgchk -R @ROOT@ -m @ROOT@/map").fails(1),
        "pkgchk: ERROR: @ROOT@/map: bin/tool: $OWNER has no value\n"
    );
    stage.file("/env", "BASEDIR=/opt/stuf\nOWNER=adm\nWHERE=.\n");
    assert_eq!(
        stage.run("pkgchk -a -R @ROOT@ -m @ROOT@/map -e @ROOT@/env").fails(1),
        "ERROR: @ROOT@/opt/stuf/bin/tool
    owner name <adm> expected <root> actual
ERROR: @ROOT@/opt/stuf/bin/soft
    pathname not symbolically linked to <./tool>
"
    );
    let listed = stage.run("pkgchk -l -R @ROOT@ -m @ROOT@/map -e @ROOT@/env -p /opt/stuf/bin/soft").ok();
    assert_eq!(
        listed,
        "Pathname: @ROOT@/opt/stuf/bin/soft\nType: symbolic link\nSource of link: ./tool\nCurrent status: installed\n\n"
    );
    stage.file("/map", ": 1 10\n1 f none broken\n");
    let text = stage.run("pkgchk -R @ROOT@ -m @ROOT@/map").fails(1);
    assert!(text.starts_with("pkgchk: ERROR: @ROOT@/map: line 2: "), "{text}");
}

#[test]
fn a_pkgmap_without_its_package_is_checked_as_by_the_classic_tool() {
    let Some(goldens) = shared("a pkgmap without its package", "goldens") else { return };
    let stage = Scenario::new();
    // As on the machine of the golden: /bin and /lib are links, and group 0 has another name than sys.
    let own = fs::read_to_string(stage.at("/etc/group")).unwrap();
    let root = own.lines().next().unwrap();
    stage.file("/etc/group", format!("{root}\nbin:x:54322:\nsys:x:54323:\n"));
    for (name, target) in [("/bin", "usr/bin"), ("/lib", "usr/lib")] {
        stage.directory(&format!("/{target}"));
        stage.symlink(name, target);
    }
    let golden = fs::read_to_string(goldens.join("01-base-install/out/pkgchk-m/stderr")).unwrap();
    let golden = golden.replace("## Software contents file initialized\n", "");
    let map = goldens.join("pkgs/base/SUNWstuf/pkgmap");
    let run = stage.run(&format!("pkgchk -R @ROOT@ -m {}", map.display()));
    assert_eq!(run.fails(1).replace("@ROOT@", ""), golden);
}

/// A spool with a package whose object differs from the pkgmap.
fn spool(stage: &Scenario) {
    let map = ["1 d none bin 0755 root bin", "1 f none bin/tool 0755 root bin 6 542 981173106"];
    stage.spooled(
        "/spool/SUNWa",
        "PKG=SUNWa\nNAME=A\nCATEGORY=system\nARCH=all\nVERSION=1\nBASEDIR=/opt\n",
        &map,
    );
    stage.file("/spool/SUNWa/reloc/bin/tool", "hello\n");
}

#[test]
fn a_package_on_a_device_is_checked_before_it_is_installed() {
    let stage = Scenario::new();
    spool(&stage);
    let clean = "Checking uninstalled directory format package <SUNWa> from <@ROOT@/spool>
## Checking control scripts.
## Checking package objects.
## Checking is complete.
";
    assert_eq!(stage.run("pkgchk -d @ROOT@/spool SUNWa").ok(), clean);
    assert_eq!(stage.run("pkgchk -f -d @ROOT@/spool all").ok(), clean);
    assert_eq!(stage.run("pkgchk -d @ROOT@/spool -Y system").ok(), clean);
    stage.file("/spool/SUNWa/reloc/bin/tool", "hello, x\n");
    let run = stage.run("pkgchk -d @ROOT@/spool");
    assert_eq!(run.stdout, clean);
    assert_eq!(
        run.fails(1),
        "ERROR: bin/tool\n    file size <6> expected <9> actual\n    file cksum <542> expected <738> actual\n"
    );
    assert_eq!(
        stage.run("pkgchk -d @ROOT@/spool nosuch").fails(1),
        "pkgchk: ERROR: no package associated with <nosuch>\n"
    );
    assert_eq!(
        stage.run("pkgchk -d @ROOT@/spool -Y games").fails(1),
        "pkgchk: ERROR: no package of category <games> is on it\n"
    );
    stage.run("pkgchk -d @ROOT@/nosuch all").fails(99);
}

#[test]
fn what_a_device_would_install_is_listed() {
    let stage = Scenario::new();
    spool(&stage);
    let listed = stage.run("pkgchk -l -d @ROOT@/spool all").ok();
    assert!(
        listed.starts_with("Pathname: bin\nType: directory\n")
            || listed.contains("Pathname: bin\nType: directory\n")
    );
    assert!(listed.contains("Pathname: pkginfo\nType: installation file\n"), "{listed}");
    let file = "Pathname: bin/tool
Type: regular file
Expected mode: 0755
Expected owner: root
Expected group: bin
Expected file size (bytes): 6
Expected sum(1) of contents: 542
Expected last modification: Feb 03 04:05:06 2001
Referenced by the following packages:
\tSUNWa          
Current status: spooled

";
    assert!(listed.ends_with(file), "{listed}");
    assert_eq!(stage.run("pkgchk -l -d @ROOT@/spool -p /opt/bin/tool").ok(), file);
    let text = stage.run("pkgchk --json -d @ROOT@/spool").ok();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["checked"], 3);
}

#[test]
fn a_datastream_is_checked_in_one_pass() {
    let stage = Scenario::new();
    spool(&stage);
    let stream = stage.beside("a.ds");
    datastream(&[stage.at("/spool/SUNWa")], &stream);
    let text = stage.run(&format!("pkgchk -d {} all", stream.display())).ok();
    assert!(text.starts_with("Checking uninstalled stream format package <SUNWa> from <"), "{text}");
}
