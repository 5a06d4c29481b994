//! pkgmk(1): the packages that it makes of prototypes, its messages, its parameters and its sources.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::producer::{PKGINFO, Producer};
use crate::tree::Tree;

/// A workshop with a prototype of a bit of everything.
fn workshop() -> Producer {
    let workshop = Producer::with(
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
        Usage: pkgmk [-o] [-a arch] [-b base_src_dir] [-d device] [-f prototype] [-l limit] [-p pstamp]\n           \
                     [-r rootpath,...] [-v version] [variable=value...] [pkginst]\n\n\
        Arguments:\n  \
          [VARIABLE=VALUE PKGINST]...  Variables and parameters, then the instance to make\n\n\
        Options:\n  \
          -o              Replace an existing package\n  \
          -a <ARCH>       Set ARCH\n  \
          -b <DIR>        Look for objects with relative paths in this directory; -r then applies only to\n                  \
            absolute paths\n  \
          -d <DEVICE>     Put the package into this directory instead of /var/spool/pkg\n  \
          -f <PROTOTYPE>  Read this prototype instead of prototype or Prototype\n  \
          -l <BLOCKS>     Refuse to make a package of more than this many 512-byte blocks\n  \
          -p <PSTAMP>     Set PSTAMP\n  \
          -r <DIR,...>    Look for objects below these directories, separated by commas\n  \
          -v <VERSION>    Set VERSION\n      \
              --json      Print one JSON document instead of text\n  \
          -h, --help      Print help\n      \
              --version   Print the version\n";
    assert_eq!(Producer::new().run("pkgmk --help").ok(), help);
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
         part  1 -- 104 blocks, 9 entries\n\
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
         1 i copyright 10 963 1577836800\n\
         1 d none etc 0755 root sys\n\
         1 e none etc/conf 0600 root sys 4 185 1577836800\n\
         1 i pkginfo 112 8879 1795158000\n"
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
    let workshop = Producer::with("i pkginfo\nd zeta b 0755 root sys\nd alpha a 0755 root sys\n");
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
            "PKG=ACMEfoo\nNAME=Foo tools\nCATEGORY=application\nARCH={machine}\n\
             VERSION=Dev Release 11/20/2026\nPSTAMP={host}20261120070000\nCLASSES=zeta alpha\n"
        )
    );
}

#[test]
fn a_variable_of_a_prototype_is_no_parameter_of_the_package() {
    let workshop = Producer::with(
        "i pkginfo\n!STAGE=\"two words\"\n!BINDIR=src\n!VERSION=9\n!small=no\n\
         f none x=$BINDIR/x 0644 root sys\n",
    );
    workshop.file("src/x", "x");
    workshop.make("");
    assert_eq!(workshop.made("pkginfo"), PKGINFO);
    assert_eq!(workshop.made("reloc/x"), "x");
}

#[test]
fn sources_are_looked_for_in_the_order_of_the_manual() {
    let workshop = Producer::with(
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
    let workshop = Producer::with(
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
    // Each option has its own paths: relative ones are below the base directory as given, absolute ones below the
    // root.
    workshop.file("r/base/bin/x", "never");
    workshop.file("r/etc/y", "r/etc/y");
    workshop.make("-o -r r -b base");
    assert_eq!(all(), ["base/bin/x", "r/etc/y", "base/other"]);
}

#[test]
fn prototypes_include_each_other_and_keep_their_settings_to_themselves() {
    let workshop = Producer::with(
        "!include common/pkg\n!where=lib\n!dir=lib\n!mode=0555\n!default $mode root bin\n\
         !include $where/more\nd none $dir\nd none etc 0755 $OWNER sys\n",
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
    workshop.make("-o mode=0511");
    assert!(workshop.pkgmap().contains(&"1 d none lib 0511 root bin".to_owned()), "the command line counts");
}

#[test]
fn build_variables_take_values_of_the_pkginfo_and_install_variables_stay() {
    let workshop = Producer::with("i pkginfo\nf none $where/$BINDIR/x=$BINDIR/x 0644 root sys\n");
    workshop.file("pkginfo", format!("{PKGINFO}where=opt\nBINDIR=src\n"));
    workshop.file("src/x", "x");
    assert_eq!(workshop.make(""), "WARNING: missing directory entry for <opt/$BINDIR>\n");
    assert_eq!(workshop.pkgmap(), ["1 f none opt/$BINDIR/x 0644 root sys 1 120 1577836800"]);
    assert_eq!(workshop.made("reloc/opt/$BINDIR/x"), "x");
    assert!(!workshop.made("pkginfo").contains("where"));
}

#[test]
fn what_is_odd_is_told_and_packaged() {
    let workshop = Producer::with(
        "i pkginfo\ni i.web=script\nd none a\nd none a/b 0755\ns none l=a 0777 root root\n\
         2 d other c 0755 root sys\n",
    );
    workshop.file("script", "exit 0\n");
    assert_eq!(
        workshop.make(""),
        "WARNING: attributes set to ? ? ? for <a>\n\
         WARNING: attributes set to 0755 ? ? for <a/b>\n\
         WARNING: line 5: extra fields after <l> are ignored\n\
         WARNING: line 6: part 2 is ignored: a package is made in one part\n\
         WARNING: unreferenced class <other> in prototype file\n\
         WARNING: script <i.web> is of class <web>, which CLASSES does not name\n"
    );
    assert!(workshop.pkgmap().contains(&"1 d other c 0755 root sys".to_owned()));
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
