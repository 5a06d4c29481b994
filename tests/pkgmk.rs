use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use crate::tree::Tree;
use crate::workshop::{PKGINFO, Workshop};

/// A workshop with a prototype of a bit of everything.
fn workshop() -> Workshop {
    let workshop = Workshop::with(
        "i pkginfo\ni copyright\nd none bin 0755 root bin\nf none bin/hello=src/hello 4511 root bin\n\
         l none bin/hello2=hello\ns none bin/hi=hello\nd none etc 0755 root sys\n\
         e none etc/conf=src/conf 0600 root sys\nf none /etc/foo=src/conf ? ? ?\n",
    );
    workshop.file("src/hello", "hello\n");
    workshop.file("src/conf", "A=1\n");
    workshop.file("copyright", "Copyright\n");
    workshop
}

#[test]
fn its_help_is_this() {
    let help = "Make a package from a prototype\n\n\
        Usage: pkgmk [-o] [-a arch] [-b base_src_dir] [-d device] [-f prototype] [-l limit] [-p pstamp]\n             \
                     [-r rootpath,...] [-v version] [variable=value...] [pkginst]\n\n\
        Arguments:\n  \
          [VARIABLE=VALUE PKGINST]...  Variables and parameters, then the instance to be made\n\n\
        Options:\n  \
          -o              Replace the package if it is there already\n  \
          -a <ARCH>       Set ARCH\n  \
          -b <DIR>        Look for relative objects in this directory, below those of -r\n  \
          -d <DEVICE>     Put the package into this directory instead of /var/spool/pkg\n  \
          -f <PROTOTYPE>  Read this prototype instead of prototype or Prototype\n  \
          -l <BLOCKS>     Refuse to make a package of more blocks of 512 bytes\n  \
          -p <PSTAMP>     Set PSTAMP\n  \
          -r <DIR,...>    Look for objects below these directories, separated by commas\n  \
          -v <VERSION>    Set VERSION\n      \
              --json      Print one JSON document instead of text\n      \
              --help      Print help\n      \
              --version   Print the version\n";
    assert_eq!(Workshop::new().run("pkgmk --help").ok(), help);
}

#[test]
fn a_package_is_made_in_the_words_of_the_classic_command() {
    let workshop = workshop();
    let run = workshop.run("pkgmk -d spool");
    assert_eq!(
        run.stderr,
        "## Building pkgmap from package prototype file.\n\
         ## Processing pkginfo file.\n\
         WARNING: missing directory entry for </etc>\n\
         ## Attempting to volumize 8 entries in pkgmap.\n\
         part  1 -- 104 blocks, 13 entries\n\
         ## Packaging one part.\n\
         spool/ACMEfoo/pkgmap\n\
         spool/ACMEfoo/pkginfo\n\
         spool/ACMEfoo/root/etc/foo\n\
         spool/ACMEfoo/reloc/bin/hello\n\
         spool/ACMEfoo/install/copyright\n\
         spool/ACMEfoo/reloc/etc/conf\n\
         ## Validating control scripts.\n\
         ## Packaging complete.\n"
    );
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(
        workshop.made("pkgmap"),
        ": 1 104\n\
         1 f none /etc/foo ? ? ? 4 185 1577836800\n\
         1 d none bin 0755 root bin\n\
         1 f none bin/hello 4511 root bin 6 542 1577836800\n\
         1 l none bin/hello2=hello\n\
         1 s none bin/hi=hello\n\
         1 i copyright 10 989 1577836800\n\
         1 d none etc 0755 root sys\n\
         1 e none etc/conf 0600 root sys 4 185 1577836800\n\
         1 i pkginfo 113 8366 1795158000\n"
    );
    assert_eq!(workshop.made("pkginfo"), PKGINFO);
}

#[test]
fn files_can_be_read_by_everybody_and_have_the_times_of_their_sources() {
    let workshop = workshop();
    workshop.make("");
    let seen = |name: &str| {
        let seen = fs::metadata(workshop.at("spool/ACMEfoo").join(name)).unwrap();
        (format!("{:o}", seen.mode() & 0o7777), seen.mtime())
    };
    assert_eq!(seen("reloc/bin/hello"), ("755".to_owned(), 1_577_836_800));
    assert_eq!(seen("reloc/etc/conf"), ("644".to_owned(), 1_577_836_800));
    assert_eq!(seen("pkginfo"), ("644".to_owned(), 1_795_158_000));
    assert_eq!(seen("reloc"), ("755".to_owned(), 1_795_158_000));
}

#[test]
fn two_makings_are_the_same() {
    let workshop = workshop();
    workshop.make("");
    let first = Tree::of(&workshop.at("spool"), &[]);
    let times = |name: &str| fs::metadata(workshop.at("spool/ACMEfoo").join(name)).unwrap().mtime();
    let before = ["", "reloc", "reloc/bin", "install", "pkgmap"].map(times);
    workshop.make("-o");
    assert_eq!(first.difference(&Tree::of(&workshop.at("spool"), &[])), "");
    assert_eq!(["", "reloc", "reloc/bin", "install", "pkgmap"].map(times), before);
}

#[test]
fn what_is_made_installs_checks_out_and_is_removed() {
    let workshop = workshop();
    let prototype = "i pkginfo\nd none bin 0755 root bin\nf none bin/hello=src/hello 0755 root bin\n\
                     l none bin/hello2=hello\ns none bin/hi=hello\nv none log=/dev/null 0600 root root\n\
                     f none a\\040b=src/conf 0644 root sys\np none pipe 0600 root root\n";
    workshop.file("prototype", prototype);
    assert_eq!(
        workshop.make(""),
        "WARNING: line 7: <a b> is written with escapes, which classic tools cannot install\n"
    );
    let stage = &workshop.stage;
    stage.directory("/opt");
    let add = format!("pkgadd -n -R @ROOT@ -d {} ACMEfoo", workshop.at("spool").display());
    assert_eq!(stage.run(&add).code, 0, "{add}");
    assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEfoo").ok(), "");
    assert_eq!(stage.text("/opt/foo/a b"), "A=1\n");
    assert_eq!(stage.text("/opt/foo/log"), "");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEfoo PSTAMP").ok(), "stamp\n");
    assert_eq!(stage.run("pkgrm -n -R @ROOT@ ACMEfoo").code, 0);
}

#[test]
fn parameters_of_the_command_line_come_first_and_count() {
    let workshop = workshop();
    workshop.make("-p mine -a sparc -v 2.0 CLASSES=none EXTRA=yes lower=no");
    assert_eq!(
        workshop.made("pkginfo"),
        "ARCH=sparc\nVERSION=2.0\nPSTAMP=mine\nCLASSES=none\nEXTRA=yes\nPKG=ACMEfoo\nNAME=Foo tools\n\
         CATEGORY=application\nBASEDIR=/opt/foo\n"
    );
}

#[test]
fn parameters_that_nobody_gave_are_made_up_and_told_of() {
    let workshop = Workshop::with(
        "i pkginfo\nd zeta b 0755 root sys\nd alpha a 0755 root sys\n!STAGE=\"two words\"\n!small=no\n",
    );
    workshop.file(
        "pkginfo",
        "# made by hand\nPKG=ACMEfoo\nNAME=\"Foo tools\"\nCATEGORY=application\nNAME=again\n",
    );
    let uname =
        |option| String::from_utf8(Command::new("uname").arg(option).output().unwrap().stdout).unwrap();
    let (machine, host) = (uname("-m").trim().to_owned(), uname("-n").trim().to_owned());
    assert_eq!(
        workshop.make(""),
        format!(
            "WARNING: parameter <ARCH> set to \"{machine}\"\n\
             WARNING: parameter <VERSION> set to \"Dev Release 11/20/2026\"\n\
             WARNING: parameter <PSTAMP> set to \"{host}20261120070000\"\n\
             WARNING: parameter <CLASSES> set to \"zeta alpha\"\n"
        )
    );
    assert_eq!(
        workshop.made("pkginfo"),
        format!(
            "PKG=ACMEfoo\nNAME=Foo tools\nCATEGORY=application\nSTAGE=two words\nARCH={machine}\n\
             VERSION=Dev Release 11/20/2026\nPSTAMP={host}20261120070000\nCLASSES=zeta alpha\n"
        )
    );
}

#[test]
fn sources_are_looked_for_in_the_order_of_the_manual() {
    let workshop = Workshop::with(
        "i pkginfo\nf none beside 0644 root sys\n!search one two\nf none a/first 0644 root sys\n\
         f none a/second 0644 root sys\n!rsearch whole\nf none b/first 0644 root sys\n\
         f none c=src/named 0644 root sys\nf none whole/path 0644 root sys\nf none d=@WORK@ 0644 root sys\n",
    );
    let named = workshop.at("src/absolute").display().to_string();
    let prototype = fs::read_to_string(workshop.at("prototype")).unwrap().replace("@WORK@", &named);
    workshop.file("prototype", prototype);
    let sources =
        ["beside", "one/first", "two/second", "whole/b/first", "src/named", "whole/path", "src/absolute"];
    for source in sources {
        workshop.file(source, source);
    }
    workshop.make("");
    let content = |name: &str| workshop.made(&format!("reloc/{name}"));
    let found = ["beside", "a/first", "a/second", "b/first", "c", "whole/path", "d"].map(content);
    assert_eq!(found, sources);
}

#[test]
fn roots_and_base_directory_come_before_everything_else() {
    let workshop = Workshop::with(
        "i pkginfo\nf none bin/x 0644 root sys\nf none /etc/y 0644 root sys\nf none z=other 0644 root sys\n",
    );
    for source in
        ["one/bin/x", "two/bin/x", "two/etc/y", "two/other", "other", "x", "y", "base/bin/x", "base/other"]
    {
        workshop.file(source, source);
    }
    let content = |name: &str| workshop.made(name);
    let all = || ["reloc/bin/x", "root/etc/y", "reloc/z"].map(content);
    workshop.make("-r one,two");
    assert_eq!(all(), ["one/bin/x", "two/etc/y", "two/other"]);
    workshop.make("-o -b base");
    assert_eq!(all(), ["base/bin/x", "y", "base/other"]);
    workshop.file("r/base/bin/x", "r/base/bin/x");
    workshop.file("r/etc/y", "r/etc/y");
    workshop.make("-o -r r -b /base");
    assert_eq!(all(), ["r/base/bin/x", "r/etc/y", "other"]);
}

#[test]
fn prototypes_include_each_other_and_keep_their_settings_to_themselves() {
    let workshop = Workshop::with(
        "!include common/pkg\n!dir=lib\n!mode=0555\n!default $mode root bin\n\
         !include $dir/more\nd none $dir\nd none etc 0755 $OWNER sys\n",
    );
    workshop.file("common/pkg", "i pkginfo=../pkginfo\n!default 0700 adm adm\nd none common\n");
    workshop.file("lib/more", "f none $dir/x=x $mode root bin\n!dir=never\nd none $dir ? ? ?\n");
    workshop.file("lib/x", "x");
    let missing = "WARNING: missing directory entry for <lib>\n";
    assert!(!workshop.make("").contains(missing));
    assert_eq!(
        workshop.pkgmap(),
        [
            "1 d none common 0700 adm adm",
            "1 d none etc 0755 $OWNER sys",
            "1 d none lib 0555 root bin",
            "1 f none lib/x 0555 root bin 1 120 1577836800",
            "1 d none never ? ? ?",
        ]
    );
    workshop.make("-o dir=usr");
    assert!(workshop.pkgmap().iter().all(|line| !line.contains("never")), "the command line counts");
}

#[test]
fn build_variables_take_values_of_the_pkginfo_and_install_variables_stay() {
    let workshop = Workshop::with("i pkginfo\nf none $where/$BINDIR/x=$BINDIR/x 0644 root sys\n");
    workshop.file("pkginfo", format!("{PKGINFO}where=opt\nBINDIR=src\n"));
    workshop.file("src/x", "x");
    assert_eq!(workshop.make(""), "WARNING: missing directory entry for <opt/$BINDIR>\n");
    assert_eq!(workshop.pkgmap(), ["1 f none opt/$BINDIR/x 0644 root sys 1 120 1577836800"]);
    assert_eq!(workshop.made("reloc/opt/$BINDIR/x"), "x");
    assert!(!workshop.made("pkginfo").contains("where"));
}

#[test]
fn what_is_odd_is_told_and_packaged() {
    let workshop = Workshop::with(
        "i pkginfo\ni i.web=script\nd none a\nd none a/b 0755\ns none l=a 0777 root root\n\
         2 d other c 0755 root sys\n",
    );
    workshop.file("script", "exit 0\n");
    assert_eq!(
        workshop.make(""),
        "WARNING: attributes set to ? ? ? for <a>\n\
         WARNING: attributes set to 0755 ? ? for <a/b>\n\
         WARNING: line 5: extra fields behind <l> are passed over\n\
         WARNING: line 6: part 2 is passed over: a package is made in one part\n\
         WARNING: unreferenced class <other> in prototype file\n\
         WARNING: script <i.web> is of class <web>, which CLASSES does not name\n"
    );
    assert!(workshop.pkgmap().contains(&"1 d other c 0755 root sys".to_owned()));
}

#[test]
fn every_line_that_is_wrong_is_told_with_its_number() {
    let workshop = Workshop::with(
        "i pkginfo\nq none x\nf none sp ace 0644 root sys\nf none gone 0644 root sys\n\
         f none gone=at/all 0644 root sys\n\n!default 0644\n!include nowhere\n!include prototype\n",
    );
    let told = workshop.run("pkgmk -d spool").fails(1);
    let expected = "## Building pkgmap from package prototype file.\n\
        ERROR in prototype:\n    garbled entry\n    - pathname: Unknown\n    - problem: unknown ftype\n    - line: 2\n\
        ERROR in prototype:\n    garbled entry\n    - pathname: sp\n    - problem: mode is not numeric.\n    - line: 3\n\
        ERROR in prototype:\n    garbled entry\n    - pathname: Unknown\n    - problem: garbled default settings\n    - line: 7\n\
        ERROR in prototype:\n    unable to open prototype <nowhere>: No such file or directory (os error 2)\n    - line: 8\n";
    assert!(told.starts_with(expected), "{told}");
    assert!(told.contains("    too many levels or files of !include\n"), "{told}");

    workshop.file(
        "prototype",
        "i pkginfo\nf none gone 0644 root sys\nf none x=at/all 0644 root sys\nd none $x/y\ni pkginfo\n",
    );
    assert_eq!(
        workshop.run("pkgmk -d spool").fails(1),
        "## Building pkgmap from package prototype file.\n\
         ERROR in prototype:\n    no object for <gone> found in search path\n    - line: 2\n\
         ERROR in prototype:\n    no object for <at/all> found in local path\n    - line: 3\n\
         ERROR in prototype:\n    no value for the variable in <$x/y>\n    - line: 4\n\
         ERROR in prototype:\n    duplicate pathname <pkginfo>, first in prototype on line 1\n    - line: 5\n\
         pkgmk: ERROR: unable to build pkgmap from prototype file\n\
         ## Packaging was not successful.\n"
    );
    assert_eq!(fs::read_dir(workshop.at("spool")).unwrap().count(), 0);
}

#[test]
fn a_package_that_cannot_be_is_refused() {
    let cases: [(&str, &str, &str, &str, i32); 9] = [
        ("d none a\n", PKGINFO, "", "required pkginfo file is not specified in prototype file", 99),
        ("i pkginfo\n", "NAME=x\n", "", "parameter <PKG> is not defined in <pkginfo>", 1),
        ("i pkginfo=/dev/null\n", "", "", "parameter <PKG> is not defined in <prototype>", 1),
        ("i pkginfo\n", PKGINFO, "PKG=a.b", "invalid package abbreviation <a.b>", 1),
        ("i pkginfo\n", PKGINFO, "PKG=all", "invalid package abbreviation <all>", 1),
        ("i pkginfo\n", PKGINFO, "ACMEbar", "PKG parameter <ACMEfoo> does not match instance <ACMEbar>", 1),
        ("i pkginfo\n", PKGINFO, "VERSION=(1)", "parameter <VERSION> may not begin with a parenthesis", 1),
        (
            "i pkginfo\n",
            "X=\"open\nPKG=y\n",
            "",
            "pkginfo: line 1: parsing error in parameter file: the quote that opens X is not closed",
            1,
        ),
        (
            "i pkginfo\n",
            PKGINFO,
            "-l 1",
            "the package takes 24 blocks, which is more than the limit of 1; it is not made in parts",
            1,
        ),
    ];
    for (prototype, pkginfo, options, expected, code) in cases {
        let workshop = Workshop::with(prototype);
        workshop.file("pkginfo", pkginfo);
        let told = workshop.run(&format!("pkgmk -d spool {options}")).fails(code);
        let end = format!("pkgmk: ERROR: {expected}\n## Packaging was not successful.\n");
        assert!(told.ends_with(&end), "{told}");
        assert_eq!(fs::read_dir(workshop.at("spool")).unwrap().count(), 0, "{expected}");
    }
}

#[test]
fn a_prototype_and_a_device_must_be_there() {
    let workshop = Workshop::new();
    let told = workshop.run("pkgmk -d spool").fails(1);
    assert!(told.contains("there is neither prototype nor Prototype here\n"), "{told}");
    workshop.file("Prototype", "i pkginfo\n");
    workshop.file("pkginfo", PKGINFO);
    let told = workshop.run("pkgmk -d nowhere").fails(1);
    assert!(told.contains("pkgmk: ERROR: cannot open nowhere: No such file or directory\n"), "{told}");
    workshop.make("");
    let told = workshop.run("pkgmk -d spool -f gone").fails(1);
    assert!(told.contains("ERROR in gone:\n    unable to open prototype <gone>: "), "{told}");
    let told = workshop.run("pkgmk -d spool a b").fails(1);
    assert!(
        told.starts_with("pkgmk: ERROR: only one package can be made at a time\nusage: pkgmk "),
        "{told}"
    );
}

#[test]
fn a_package_is_replaced_on_demand_and_as_a_whole() {
    let workshop = workshop();
    workshop.make("");
    workshop.file("prototype", "i pkginfo\n");
    let told = workshop.run("pkgmk -d spool").fails(1);
    assert!(told.contains("pkgmk: ERROR: must use -o option to overwrite <spool/ACMEfoo>\n"), "{told}");
    assert_eq!(workshop.made("reloc/bin/hello"), "hello\n");
    workshop.make("-o");
    assert_eq!(Tree::of(&workshop.at("spool"), &[]).paths(), "ACMEfoo ACMEfoo/pkginfo ACMEfoo/pkgmap");
    workshop.make("ACMEfoo.2");
    assert!(workshop.at("spool/ACMEfoo.2/pkgmap").exists());
}

#[test]
fn what_is_no_package_is_never_replaced() {
    let workshop = Workshop::with("i pkginfo\n");
    workshop.file("spool/ACMEfoo/thesis", "years of work");
    let told = workshop.run("pkgmk -o -d spool").fails(1);
    assert!(told.contains("<spool/ACMEfoo> is not a package, and is not overwritten\n"), "{told}");
    assert_eq!(workshop.made("thesis"), "years of work");
}

#[test]
fn an_interrupted_making_leaves_nothing_and_ends_with_3() {
    let workshop = Workshop::with("i pkginfo\nf none large 0644 root sys\n");
    workshop.file("large", "");
    fs::File::options().write(true).open(workshop.at("large")).unwrap().set_len(2 << 30).unwrap();
    let mut child = workshop.command("pkgmk -d spool").stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.ends_with("reloc/large\n") {
        assert!(said.read_line(&mut line).unwrap() > 0, "{line}");
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "pkgmk: ERROR: interrupted by signal 2\n## Packaging was not successful.\n");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(fs::read_dir(workshop.at("spool")).unwrap().count(), 0);
}

#[test]
fn only_the_map_can_be_had_and_a_document() {
    let workshop = workshop();
    let run = workshop.run("pkgmk -n -d spool");
    assert!(run.stdout.starts_with(": 1 104\n1 f none /etc/foo ? ? ? 4 185 1577836800\n"), "{}", run.stdout);
    assert_eq!(fs::read_dir(workshop.at("spool")).unwrap().count(), 0);
    let document: serde_json::Value =
        serde_json::from_str(&workshop.run("pkgmk --json -d spool").ok()).unwrap();
    assert_eq!(document["package"], "ACMEfoo");
    assert_eq!(document["directory"], "spool/ACMEfoo");
    assert_eq!(document["warnings"], serde_json::json!(["missing directory entry for </etc>"]));
    workshop.file("prototype", "i pkginfo\nx\n");
    let run = workshop.run("pkgmk --json -o -d spool");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["troubles"].as_array().unwrap().len(), 1);
}

#[test]
fn only_regular_files_are_sources() {
    let workshop = Workshop::with("i pkginfo\nf none pipe 0644 root sys\n");
    assert!(Command::new("mkfifo").arg(workshop.at("pipe")).status().unwrap().success());
    let told = workshop.run("pkgmk -d spool").fails(1);
    assert!(told.contains("no object for <pipe> found in search path\n    - line: 2\n"), "{told}");
}

#[test]
fn a_source_that_cannot_be_read_leaves_no_package() {
    let workshop = Workshop::with("i pkginfo\nf none a 0644 root sys\nf none a/b=a 0644 root sys\n");
    workshop.file("a", "x");
    let told = workshop.run("pkgmk -d spool").fails(1);
    assert!(told.contains("pkgmk: ERROR: cannot "), "{told}");
    assert_eq!(fs::read_dir(workshop.at("spool")).unwrap().count(), 0);
}

/// The backout package as the scripts of Sun's patches make it: preinstall begins the prototype, the class action
/// script adds what pkgproto(1) says, postinstall the list of what is to be deleted.
#[test]
fn the_backout_package_of_the_patch_scripts_is_made() {
    let workshop = Workshop::new();
    workshop.file("root/opt/foo/bin/tool", "old tool\n");
    workshop.mode("root/opt/foo/bin/tool", 0o755);
    std::os::unix::fs::symlink("tool", workshop.at("root/opt/foo/bin/link")).unwrap();
    workshop.file("build/files/checkinstall", "exit 0\n");
    workshop.file("build/files/deletes", "bin/new\n");
    // pkgparam -v prints values in quotes
    workshop.file("build/pkginfo", "PKG='ACMEfoo'\nNAME='Foo it'\"'\"'s'\nARCH='all'\nVERSION='1.0'\n\
                                    CATEGORY='application'\nBASEDIR='/opt/foo'\nCLASSES='none'\nPSTAMP='stamp'\n\
                                    ACTIVE_PATCH=900-01\nACTIVE_OBSOLETES=\n");
    let script = "
set -e
BUILD_DIR=$PWD/build FILE_DIR=$PWD/build/files RELOC_DIR=$PWD/build/files/reloc PROTO_FILE=$PWD/build/prototype
BD=$PWD/root/opt/foo
echo 'i pkginfo' > $PROTO_FILE
echo \"i checkinstall=$FILE_DIR/checkinstall\" >> $PROTO_FILE
cd $BD
$PATCHADM pkgproto -c none \"$BD/bin/link=bin/link\" 1>> $PROTO_FILE 2> /dev/null
dst=$BD/bin/tool FS_Path=bin/tool Build_Path=$RELOC_DIR/bin/tool
$PATCHADM pkgproto -c none $dst=$FS_Path | sed -e s@=$dst@=$Build_Path@ >> $BUILD_DIR/prototype
mkdir -p `dirname $Build_Path`
cp -p $dst $Build_Path
LINE=`$PATCHADM pkgproto $BD/gone=gone 2> /dev/null` || :
echo $LINE >> $PROTO_FILE
echo \"i deletes=$FILE_DIR/deletes\" >> $BUILD_DIR/prototype
cd $BUILD_DIR
mkdir $BUILD_DIR/../save
$PATCHADM pkgmk -o -d $BUILD_DIR/../save 1>/dev/null 2>&1
";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).current_dir(workshop.at("")).env("PATCHADM", env!("CARGO_BIN_EXE_patchadm"));
    let output = shell.env("SOURCE_DATE_EPOCH", "1795158000").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| fs::read_to_string(workshop.at("save/ACMEfoo").join(name)).unwrap();
    let pkgmap = read("pkgmap");
    let kinds: Vec<&str> = pkgmap.lines().skip(1).map(|line| line.split(" 0755").next().unwrap()).collect();
    assert_eq!(kinds[0], "1 s none bin/link=tool");
    assert_eq!(kinds[1], "1 f none bin/tool");
    assert!(
        kinds[2].starts_with("1 i checkinstall 7 ") && kinds[3].starts_with("1 i deletes 8 "),
        "{pkgmap}"
    );
    assert_eq!(read("reloc/bin/tool"), "old tool\n");
    assert_eq!(read("install/deletes"), "bin/new\n");
    assert!(
        read("pkginfo").contains("PKG=ACMEfoo\n")
            && read("pkginfo").ends_with("ACTIVE_PATCH=900-01\nACTIVE_OBSOLETES=\n")
    );
}

/// As packages are built by others: spelled exactly so.
#[test]
fn the_calls_of_build_tools_are_answered() {
    let workshop = Workshop::new();
    workshop.file("staging/usr/bin/x", "x");
    fs::set_permissions(workshop.at("staging/usr/bin/x"), fs::Permissions::from_mode(0o755)).unwrap();
    workshop.file("build/pkginfo", PKGINFO);
    let lines = workshop.run("pkgproto @WORK@staging/=").ok();
    let lines = lines.replace("@WORK@/", workshop.at("").to_str().unwrap());
    workshop.file("build/Prototype", format!("i pkginfo\n{lines}"));
    let run = workshop.run("pkgmk -o -f @WORK@build/Prototype -d @WORK@build");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(workshop.at("build/ACMEfoo/reloc/usr/bin/x").exists());

    workshop.file("P", "i pkginfo=build/pkginfo\nf none bin/x 0755 root bin\n");
    workshop.file("R/B/bin/x", "x");
    let run = workshop.run("pkgmk -d spool -r R -b B -o -f P VERSION=2 PSTAMP=me");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(workshop.made("pkginfo").starts_with("VERSION=2\nPSTAMP=me\nPKG=ACMEfoo\n"));
}
