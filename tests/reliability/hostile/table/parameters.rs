//! Parameters, ids, relations, classes, scripts and plain text: data that is read as text, and what a shell may see of
//! it.

use std::fs;
use std::path::PathBuf;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::hostile::bench::{Bench, ID};
use crate::reliability::hostile::case::{
    ADD, CHECK, Case, FORCE, INFO, INSTALL, PARAM, PLAN, TRUST, TRY, UNPACK, case, handled, refused, says,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = never_executed();
    cases.extend(ids());
    cases.extend(relations());
    cases.extend(classes());
    cases.extend(names_and_values());
    cases.extend(text());
    cases
}

/// Values that a shell would execute if they were given to it as a program: each makes a file beside the root.
const SHELL: [&str; 8] = [
    "$(touch @CANARY@/executed)",
    "`touch @CANARY@/executed`",
    "; touch @CANARY@/executed",
    "x' ; touch @CANARY@/executed ; '",
    "\" ; touch @CANARY@/executed ; \"",
    "x\\\ntouch @CANARY@/executed",
    "| touch @CANARY@/executed &",
    "${IFS+$(touch${IFS}@CANARY@/executed)}",
];

/// A package with a procedure script and a class with a script, and a value that reaches both.
fn scripted(b: &Bench, name: &str, value: &str) -> PathBuf {
    let script = "test \"$PKGINST\" = ACMEa && : > \"$PKG_INSTALL_ROOT/ran\"\n";
    let class = "while read from to; do [ \"$from\" = ENDOFCLASS ] || cp \"$from\" \"$to\"; done\n";
    let package = Package::new("ACMEa")
        .param("CLASSES", "none odd")
        .param(name, &value.replace("@CANARY@", &b.canary()))
        .of_class("odd", 'e', "x", 0o644, "x\n")
        .information("postinstall", script)
        .information("i.odd", class);
    b.spool(&package)
}

fn never_executed() -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, value) in SHELL.into_iter().enumerate() {
        let name = ["DESC", "VENDOR", "Way"][number % 3];
        let installed = ["/opt/ACMEa d 755", "/opt/ACMEa/x f 644 x\\n", "/ran f 644 "];
        let make = move |b: &Bench| scripted(b, name, value);
        cases.push(case(14, format!("{name}={value}, with scripts"), TRUST, make, handled(&installed)));
        let patch =
            move |b: &Bench| b.patch(Bench::web().param(name, &value.replace("@CANARY@", &b.canary())));
        let two = handled(&["bin/httpd f 755 two\\n"]);
        cases.push(case(14, format!("{name}={value}, in a patch"), ADD, patch, two));
    }
    cases
}

/// The patch with another id.
fn id(id: &'static str) -> impl Fn(&Bench) -> PathBuf {
    move |b| Patch::of(ID, Bench::web()).says("SUNW_PATCHID", id).directory(&b.stage)
}

#[rustfmt::skip] // each case is a line
fn ids() -> Vec<Case> {
    vec![
        case(14, "an id that climbs", ADD, id("../../x-01"), refused(29, "")),
        case(14, "the same, only asked", TRY, id("../../x-01"), refused(29, "")),
        case(14, "the same, only planned", PLAN, id("../../x-01"), refused(1, "")),
        case(14, "an id that is an option", ADD, id("-R"), refused(29, "")),
        case(14, "an id that is an absolute path", ADD, id("/etc/passwd-01"), refused(29, "")),
        case(14, "an id with a blank", ADD, id("900 01"), refused(29, "")),
        case(14, "an id that is empty", ADD, id(""), refused(33, "names no patch")),
        case(14, "an id without revision", ADD, id("900"), refused(29, "")),
        case(14, "an id that a shell would run", ADD, id("900-01;touch x"), refused(29, "")),
        case(14, "an id with a newline", ADD, id("900-01\\\n901-01"), refused(29, "")),
        case(14, "an id of twenty digits", TRY, id("99999999999999999999-01"), says("can be installed")),
        case(14, "a revision of twenty digits", TRY, id("900-99999999999999999999"), says("can be installed")),
        case(14, "an id of a thousand bytes", ADD, |b| Patch::of(ID, Bench::web()).says("SUNW_PATCHID", &format!("{}-01", "9".repeat(1000))).directory(&b.stage), refused(29, "")),
        case(14, "two packages of two ids", ADD, |b| { let d = b.patch(Bench::web()); Package::new("ACMEz").param("SUNW_PATCHID", "901-01").write(&d); d }, refused(33, "name two patches")),
        case(14, "patchrm of an id that climbs", "patchrm -R @ROOT@ ../../x-01", |_| PathBuf::new(), refused(8, "")),
        case(14, "patchrm of an id that is a path", "patchrm -R @ROOT@ /etc/passwd", |_| PathBuf::new(), refused(8, "")),
        case(14, "pkgrm of a package that climbs", "pkgrm -n -R @ROOT@ ../../etc", |_| PathBuf::new(), refused(1, "")),
        case(14, "pkgparam of a package that climbs", "pkgparam -R @ROOT@ ../../../../canary", |_| PathBuf::new(), refused(1, "")),
        case(14, "pkginfo of a package that climbs", "pkginfo -R @ROOT@ -l ../../../../canary", |_| PathBuf::new(), refused(1, "")),
        case(14, "pkgchk of a package that climbs", "pkgchk -R @ROOT@ ../../../../canary", |_| PathBuf::new(), says("")),
    ]
}

/// The patch with a parameter.
fn says_of_itself(name: &'static str, value: &'static str) -> impl Fn(&Bench) -> PathBuf {
    move |b| b.patch(Bench::web().param(name, value))
}

/// The patch with a file beside its packages.
fn beside(name: &'static str, text: &'static str) -> impl Fn(&Bench) -> PathBuf {
    move |b| Patch::of(ID, Bench::web()).beside(name, text).directory(&b.stage)
}

#[rustfmt::skip] // each case is a line
fn relations() -> Vec<Case> {
    let two = || handled(&["bin/httpd f 755 two\\n"]);
    vec![
        case(14, "a patch that obsoletes itself", ADD, says_of_itself("SUNW_OBSOLETES", "900-01"), two()),
        case(14, "a patch that obsoletes its next revision", ADD, says_of_itself("SUNW_OBSOLETES", "900-02"), two()),
        case(14, "two patches that obsolete each other", ADD, |b| { b.apply(&Patch::of("800-01", Package::new("ACMEweb").param("SUNW_OBSOLETES", "900-01").file("lib/x", 0o644, "new\n"))); b.patch(Bench::web().param("SUNW_OBSOLETES", "800-01")) }, refused(6, "obsoleted by patch 800-01")),
        case(14, "a patch that requires itself", ADD, says_of_itself("SUNW_REQUIRES", "900-01"), two()),
        case(14, "a patch that is incompatible with itself", ADD, says_of_itself("SUNW_INCOMPAT", "900-01"), two()),
        case(14, "obsoletes that climb", ADD, says_of_itself("SUNW_OBSOLETES", "../../x-01"), refused(28, "")),
        case(14, "obsoletes that are options", ADD, says_of_itself("SUNW_OBSOLETES", "-R /"), refused(28, "")),
        case(14, "requires that a shell would run", ADD, says_of_itself("SUNW_REQUIRES", "$(touch x)-01"), refused(28, "")),
        case(14, "a hundred obsoletes", ADD, |b| { let many: Vec<String> = (1..=100).map(|number| format!("{number}-01")).collect(); b.patch(Bench::web().param("SUNW_OBSOLETES", &many.join(" "))) }, two()),
        case(14, "a patchinfo that is no text", ADD, beside("patchinfo", "\u{0}\u{1}PATCHINFO\n"), two()),
        case(14, "a patchinfo with an open quote", ADD, beside("patchinfo", "PATCH_ID=\"900-01\n"), refused(33, "patchinfo")),
        case(14, "a patchinfo with another id", ADD, beside("patchinfo", "PATCHINFOVERSION=1.0\nPATCHID=../../x-01\n"), two()),
        case(14, "a README that climbs", ADD, beside("README.900-01", "Obsoletes: ../../x\nFiles included with this patch:\n\n/../../etc/passwd\n"), two()),
        case(14, "a space file of huge numbers", INSTALL, |b| b.spool(&Package::new("ACMEa").file("x", 0o644, "x\n").information("space", "/ 18446744073709551615 18446744073709551615\n")), refused(5, "are needed")),
        case(14, "a space file of numbers below 0", INSTALL, |b| b.spool(&Package::new("ACMEa").file("x", 0o644, "x\n").information("space", "/ -1 -1\n")), refused(1, "space")),
        case(14, "a depend file of garbage", INSTALL, |b| b.spool(&Package::new("ACMEa").file("x", 0o644, "x\n").information("depend", "Q ../../x\n\u{1}\n")), handled(&["/opt/ACMEa d 755", "/opt/ACMEa/x f 644 x\\n"])),
        case(14, "a depend file that needs itself", INSTALL, |b| b.spool(&Package::new("ACMEa").file("x", 0o644, "x\n").information("depend", "P ACMEa itself\n")), refused(5, "ACMEa")),
        case(14, "a copyright of control sequences", INSTALL, |b| b.spool(&Package::new("ACMEa").file("x", 0o644, "x\n").information("copyright", "\u{1b}]0;evil\u{7}\n")), handled(&["/opt/ACMEa d 755", "/opt/ACMEa/x f 644 x\\n"])),
    ]
}

/// The package of the patch with an object of this class.
fn classed(class: &str) -> Package {
    Bench::web().line("~", &format!("f {class} new 0644 root root 2 130 0"))
}

#[rustfmt::skip] // each case is a line
fn classes() -> Vec<Case> {
    let class = |class: &'static str| move |b: &Bench| b.patch(classed(class));
    let classes = |value: &'static str| move |b: &Bench| b.patch(Bench::web().param("CLASSES", value));
    let script = |name: &'static str| move |b: &Bench| b.damaged(|p| { let at = p.join("install").join(name); fs::create_dir_all(at.parent().unwrap()).unwrap(); fs::write(at, "touch \"$PKG_INSTALL_ROOT/executed\"\n").unwrap(); });
    let two = || handled(&["bin/httpd f 755 two\\n"]);
    vec![
        case(15, "a class with /", ADD, class("a/b"), refused(28, "unable to read class token")),
        case(15, "the same, installed", INSTALL, |b| b.spool(&Package::new("ACMEa").line("x", "f ../../b x 0644 root root 2 130 0")), refused(1, "unable to read class token")),
        case(15, "a class that climbs", ADD, class("../../../canary/passwd"), refused(28, "unable to read class token")),
        case(15, "a class `..`", ADD, class(".."), two()),
        case(15, "a class of 65 bytes", ADD, |b| b.patch(classed(&"c".repeat(65))), refused(28, "unable to read class token")),
        case(15, "a class that a shell would run", ADD, class("$(id)"), refused(28, "unable to read class token")),
        case(15, "a class with a semicolon", ADD, class("a;b"), refused(28, "unable to read class token")),
        case(15, "a class that is an option", ADD, class("-R"), two()),
        case(15, "a class that is not UTF-8", ADD, |b| b.damaged(|p| fs::write(p.join("pkgmap"), b": 1 1\n1 d \xff new 0755 root root\n").unwrap()), refused(28, "unable to read class token")),
        case(15, "a class that CLASSES does not name", ADD, |b| { let d = b.patch(classed("other")); fs::write(d.join("ACMEweb/reloc/new"), "x\n").unwrap(); d }, two()),
        case(15, "CLASSES that climb", ADD, classes("none ../../x"), two()),
        case(15, "CLASSES that a shell would run", ADD, classes("none $(touch${IFS}x) `id`"), two()),
        case(15, "CLASSES that climb, of a new package", TRUST, |b| b.spool(&Package::new("ACMEa").param("CLASSES", "none ../../x").file("x", 0o644, "x\n").information("r.none", "cat > /dev/null\n")), handled(&["/opt/ACMEa d 755", "/opt/ACMEa/x f 644 x\\n"])),
        case(15, "CLASSES of nothing", ADD, classes(""), two()),
        case(15, "ten thousand CLASSES", ADD, |b| b.patch(Bench::web().param("CLASSES", &(0..10_000).map(|n| format!("c{n}")).collect::<Vec<_>>().join(" "))), two()),
        case(15, "a script below install", ADD, script("a/preinstall"), two()),
        case(15, "a class script below a directory i.none", ADD, script("i.none/x"), two()),
        case(15, "scripts whose names differ in case", ADD, script("PREINSTALL"), two()),
        case(15, "a script that is in the pkgmap twice", ADD, |b| b.lines(&["i preinstall 0 0 0", "i ./preinstall 0 0 0"]), refused(28, "`/`")),
        case(15, "a script as an object", FORCE, |b| b.lines(&["f none /var/sadm/pkg/ACMEweb/install/postremove 0755 root root 2 130 0"]), refused(10, "is a record of packages and patches")),
        case(15, "the database as an object", FORCE, |b| b.lines(&["f none /var/sadm/install/contents 0644 root root 2 130 0"]), refused(10, "is a record of packages and patches")),
        case(15, "the journal as an object", FORCE, |b| b.lines(&["f none /var/sadm/patchadm/journal 0644 root root 2 130 0"]), refused(10, "is a record of packages and patches")),
        case(15, "a stage as an object", FORCE, |b| b.lines(&["d none /var/sadm/patchadm/stage/x 0777 root root"]), refused(10, "is a record of packages and patches")),
        case(15, "the database through another name", FORCE, |b| { b.stage.symlink("/opt/ACMEweb/db", "/var/sadm/install"); b.lines(&["f none db/contents 0644 root root 2 130 0"]) }, refused(10, "is a record of packages and patches")),
        case(15, "the pkginfo of another package as an object", FORCE, |b| b.lines(&["f none /var/sadm/pkg/ACMEz/pkginfo 0644 root root 2 130 0"]), refused(10, "is a record of packages and patches")),
        case(15, "the database deleted", ADD, |b| b.patch(Bench::web().deletes(&["/var/sadm/install/contents"])), refused(10, "is a record of packages and patches")),
        case(15, "a hard link to the database", FORCE, |b| b.lines(&["l none new=/var/sadm/install/contents"]), refused(10, "is a record of packages and patches")),
    ]
}

#[rustfmt::skip] // each case is a line
fn names_and_values() -> Vec<Case> {
    let pkginfo = |text: &'static [u8]| move |b: &Bench| b.damaged(|p| {
        let own = fs::read(p.join("pkginfo")).unwrap();
        fs::write(p.join("pkginfo"), [&own[..], text].concat()).unwrap();
        let map = fs::read_to_string(p.join("pkgmap")).unwrap();
        let kept: Vec<&str> = map.lines().filter(|line| !line.contains("i pkginfo")).collect();
        fs::write(p.join("pkgmap"), kept.join("\n") + "\n1 i pkginfo\n").unwrap();
    });
    let named = |name: &'static str| move |b: &Bench| b.spool(&Package::new("ACMEa").param("PKG", name).file("x", 0o644, "x\n"));
    let two = || handled(&["bin/httpd f 755 two\\n"]);
    vec![
        case(14, "package `install`", INSTALL, named("install"), refused(1, "PKG")),
        case(14, "package `all`", INSTALL, named("all"), refused(1, "PKG")),
        case(14, "package that is an option", INSTALL, named("-n"), refused(1, "PKG")),
        case(14, "package that climbs", INSTALL, named("../x"), refused(1, "PKG")),
        case(14, "package of 65 bytes", INSTALL, |b| b.spool(&Package::new("ACMEa").param("PKG", &"A".repeat(65)).file("x", 0o644, "x\n")), refused(1, "PKG")),
        case(14, "package that is not UTF-8", ADD, |b| b.damaged(|p| fs::write(p.join("pkginfo"), b"PKG=ACME\xff\n").unwrap()), refused(28, "PKG")),
        case(14, "a parameter with a NUL", ADD, pkginfo(b"DESC=a\0b\n"), refused(28, "it holds NUL bytes")),
        case(14, "a parameter that is not UTF-8", ADD, pkginfo(b"DESC=na\xefve\n"), two()),
        case(14, "the same, shown", PARAM, pkginfo(b"DESC=na\xefve\n"), says("DESC='na")),
        case(14, "a name that is not UTF-8", ADD, pkginfo(b"D\xff=x\n"), refused(28, "is not a valid parameter name")),
        case(14, "a name of 1,000 bytes", ADD, |b| b.patch(Bench::web().param(&"N".repeat(1000), "x")), two()),
        case(14, "a value of 1 MiB", ADD, |b| b.patch(Bench::web().param("DESC", &"x".repeat(1 << 20))), refused(28, "longer than 1048576 bytes")),
        case(14, "a value without end", ADD, pkginfo(b"DESC=x\\"), two()),
        case(14, "a quote without end", ADD, pkginfo(b"DESC='x\n"), refused(28, "pkginfo is corrupt")),
        case(14, "a parameter that must not be told", ADD, pkginfo(b"PKG_INSTALL_ROOT=/\nCLIENT_BASEDIR=/etc\nBASEDIR=/etc\nPKGSAV=/etc\n"), two()),
        case(14, "records of patches that are none", ADD, pkginfo(b"PATCHLIST=../../x -R\nPATCH_INFO_900-01=Installed: never\n"), two()),
        case(14, "an environment for the linker", TRUST, |b| scripted(b, "LD_PRELOAD", "/nosuch.so"), handled(&["/opt/ACMEa d 755", "/opt/ACMEa/x f 644 x\\n", "/ran f 644 "])),
        case(14, "an environment for the shell", TRUST, |b| scripted(b, "ENV", "$(touch @CANARY@/executed)"), handled(&["/opt/ACMEa d 755", "/opt/ACMEa/x f 644 x\\n", "/ran f 644 "])),
        case(14, "an environment for functions of the shell", TRUST, |b| scripted(b, "BASH_FUNC_cp%%", "() { touch @CANARY@/executed; }"), handled(&["/opt/ACMEa d 755", "/opt/ACMEa/x f 644 x\\n", "/ran f 644 "])),
        case(14, "a PATH of its own", TRUST, |b| scripted(b, "PATH", "@CANARY@"), handled(&["/opt/ACMEa d 755", "/opt/ACMEa/x f 644 x\\n", "/ran f 644 "])),
        case(14, "an IFS of its own", TRUST, |b| scripted(b, "IFS", "/"), handled(&["/opt/ACMEa d 755", "/opt/ACMEa/x f 644 x\\n", "/ran f 644 "])),
    ]
}

#[rustfmt::skip] // each case is a line
fn text() -> Vec<Case> {
    let crlf = |files: &'static [&'static str]| move |b: &Bench| b.damaged(|p| {
        for file in files {
            let text = fs::read_to_string(p.join(file)).unwrap();
            fs::write(p.join(file), text.replace('\n', "\r\n")).unwrap();
        }
    });
    vec![
        case(0, "pkginfo with CR-LF", ADD, crlf(&["pkginfo"]), refused(10, "pkginfo")),
        case(0, "pkgmap with CR-LF", ADD, crlf(&["pkgmap"]), refused(28, "line 1")),
        case(0, "the same, listed", INFO, crlf(&["pkgmap"]), refused(1, "line 1")),
        case(0, "the same, checked", CHECK, crlf(&["pkgmap"]), refused(1, "line 1")),
        case(0, "pkgmap with CR-LF but for its first line", ADD, |b| b.lines(&["d none new 0755 root root\r"]), refused(28, "unable to read group")),
        case(0, "pkginfo and pkgmap with CR-LF", UNPACK, crlf(&["pkginfo", "pkgmap"]), refused(1, "")),
        case(0, "a CR in a value", ADD, |b| b.patch(Bench::web().param("DESC", "a\rb")), handled(&["bin/httpd f 755 two\\n"])),
        case(0, "deletes with CR-LF", ADD, |b| b.patch(Bench::web().deletes(&["lib/x\r"])), handled(&["bin/httpd f 755 two\\n"])),
        case(0, "a pkgmap with a byte order mark", ADD, |b| b.edited("pkgmap", ": 1", "\u{feff}: 1"), refused(28, "line 1")),
        case(0, "a pkgmap in UTF-16", ADD, |b| b.damaged(|p| { let text = fs::read_to_string(p.join("pkgmap")).unwrap(); let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect(); fs::write(p.join("pkgmap"), wide).unwrap(); }), refused(28, "line 1")),
        case(0, "a pkgmap of NULs", ADD, |b| b.damaged(|p| fs::write(p.join("pkgmap"), vec![0; 100_000]).unwrap()), refused(28, "line 1")),
        case(0, "an empty pkginfo", ADD, |b| b.damaged(|p| fs::write(p.join("pkginfo"), "").unwrap()), refused(28, "PKG")),
        case(0, "an empty file as a patch", ADD, |b| b.source(".tar", ""), refused(33, "")),
        case(0, "an empty directory as a patch", ADD, |b| { let at = b.stage.beside("empty"); fs::create_dir(&at).unwrap(); at }, refused(33, "")),
        case(0, "a name beyond UTF-8 beside the packages", ADD, |b| { use std::os::unix::ffi::OsStrExt as _; let d = b.patch(Bench::web()); fs::write(d.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "x").unwrap(); d }, handled(&["bin/httpd f 755 two\\n"])),
    ]
}
