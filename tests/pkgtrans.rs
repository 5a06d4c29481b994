//! pkgtrans(1): the transferred packages, their names, and the leftovers of a failure.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use patchadm_rootfs::{Lock, Root};
use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream;
use patchadm_svr4::format::datastream::DatastreamReader;
use patchadm_svr4::package::PkgInst;

use crate::packages::{DELIVERED, Package, files};
use crate::scenario::{Run, Scenario};
use crate::terminal::at_terminal;
use crate::tree::{Tree, assert_same};

/// The members of a stream: mode, time, content (`None` for a directory).
type Members = BTreeMap<String, (u32, u64, Option<Vec<u8>>)>;

/// The packages of a stream, and the members of each of their parts.
pub(crate) fn read_stream(bytes: &[u8]) -> (Vec<datastream::DatastreamPackage>, Vec<Members>) {
    let mut reader = DatastreamReader::new(bytes).unwrap();
    let mut parts = Vec::new();
    while reader.next_part().unwrap().is_some() {
        let mut members = Members::new();
        while let Some(member) = reader.next_member().unwrap() {
            let mut data = Vec::new();
            reader.read_to_end(&mut data).unwrap();
            let header = member.header;
            let data = header.is_file().then_some(data);
            members.insert(member.path.to_string(), (header.mode, header.mtime, data));
        }
        parts.push(members);
    }
    (reader.packages().to_vec(), parts)
}

/// A package with objects in both places, information files, and a setuid program.
fn web() -> Package {
    Package::new("ACMEweb")
        .directory("bin")
        .file("bin/tool", 0o755, "#!/bin/sh\n")
        .file("bin.d/x", 0o4755, "x\n")
        .file("/etc/acme.conf", 0o640, "colour=red\n")
        .symlink("bin/t", "tool")
        .information("copyright", "Copyright 2026 Acme\n")
}

/// The packages in `spool`, with modes and times that a build would give them.
fn stage(packages: &[Package]) -> Scenario {
    let stage = Scenario::new();
    for package in packages {
        let at = package.write(&stage.beside("spool"));
        for name in files(&at) {
            let file = fs::File::open(at.join(&name)).unwrap();
            let mode = match name.as_str() {
                "reloc/bin/tool" => 0o755,
                "reloc/bin.d/x" => 0o4755,
                _ => 0o644,
            };
            file.set_permissions(fs::Permissions::from_mode(mode)).unwrap();
            let mtime = std::time::Duration::from_secs(u64::try_from(DELIVERED).unwrap());
            file.set_modified(std::time::SystemTime::UNIX_EPOCH + mtime).unwrap();
        }
    }
    stage
}

fn lib(version: &str) -> Package {
    Package::new("ACMElib").param("VERSION", version).file("lib/l.so", 0o755, version)
}

/// The names in a directory, hidden ones too.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs the program with these bytes on its standard input.
pub(crate) fn fed(stage: &Scenario, line: &str, bytes: &[u8]) -> Run {
    let mut running = stage
        .command(line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that has seen enough closes the pipe.
    let _ = running.stdin.take().unwrap().write_all(bytes);
    let output = running.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[track_caller]
fn transferred(run: Run, packages: &[&str]) {
    let lines = packages.iter().map(|name| format!("Transferring <{name}> package instance\n"));
    assert_eq!((run.code, run.stdout, run.stderr), (0, String::new(), lines.collect()));
}

#[test]
fn a_stream_is_the_same_whichever_copy_of_a_package_it_is_made_of() {
    let stage = stage(&[web(), lib("1.0")]);
    for directory in ["one", "two"] {
        fs::create_dir(stage.beside(directory)).unwrap();
    }
    let both = ["ACMElib", "ACMEweb"];
    transferred(stage.run("pkgtrans -s spool first.pkg all"), &both);
    transferred(stage.run("pkgtrans spool/first.pkg one all"), &both);
    transferred(stage.run("pkgtrans -s one second.pkg all"), &both);
    transferred(stage.run("pkgtrans one/second.pkg two all"), &both);
    transferred(stage.run("pkgtrans -s two third.pkg all"), &both);
    let [second, third] =
        ["one/second.pkg", "two/third.pkg"].map(|path| fs::read(stage.beside(path)).unwrap());
    assert!(second == third);
    let tree = |directory: &str| Tree::of(&stage.beside(directory), &["second.pkg", "third.pkg"]);
    assert_same(&tree("two"), &tree("one"));
    assert_eq!(tree("one").paths().split(' ').collect::<Vec<_>>(), PATHS);
}

/// The paths of the two packages.
const PATHS: [&str; 19] = [
    "ACMElib",
    "ACMElib/pkginfo",
    "ACMElib/pkgmap",
    "ACMElib/reloc",
    "ACMElib/reloc/lib",
    "ACMElib/reloc/lib/l.so",
    "ACMEweb",
    "ACMEweb/install",
    "ACMEweb/install/copyright",
    "ACMEweb/pkginfo",
    "ACMEweb/pkgmap",
    "ACMEweb/reloc",
    "ACMEweb/reloc/bin",
    "ACMEweb/reloc/bin.d",
    "ACMEweb/reloc/bin.d/x",
    "ACMEweb/reloc/bin/tool",
    "ACMEweb/root",
    "ACMEweb/root/etc",
    "ACMEweb/root/etc/acme.conf",
];

#[test]
fn a_stream_has_modes_times_and_directories_and_its_header_fills_one_block() {
    let stage = stage(&[web()]);
    transferred(stage.run("pkgtrans -s spool web.pkg ACMEweb"), &["ACMEweb"]);
    let bytes = fs::read(stage.beside("spool/web.pkg")).unwrap();
    let header = "# PaCkAgE DaTaStReAm\nACMEweb 1 9\n# end of header\n";
    assert_eq!(bytes[..512], [header.as_bytes(), &vec![0; 512 - header.len()]].concat());
    assert_eq!(&bytes[512..518], b"070701");
    assert_eq!(bytes.len() % 512, 0);
    let (packages, parts) = read_stream(&bytes);
    assert_eq!(packages[0].pkgmap, fs::read(stage.beside("spool/ACMEweb/pkgmap")).unwrap());
    let delivered = u64::try_from(DELIVERED).unwrap();
    let members: Vec<(&str, u32)> =
        parts[0].iter().map(|(name, (mode, ..))| (name.as_str(), *mode)).collect();
    let expected = [
        ("install", 0o40755),
        ("install/copyright", 0o100_644),
        ("pkginfo", 0o100_644),
        ("pkgmap", 0o100_644),
        ("reloc", 0o40755),
        ("reloc/bin", 0o40755),
        ("reloc/bin.d", 0o40755),
        ("reloc/bin.d/x", 0o104_755),
        ("reloc/bin/tool", 0o100_755),
        ("root", 0o40755),
        ("root/etc", 0o40755),
        ("root/etc/acme.conf", 0o100_644),
    ];
    assert_eq!(members, expected);
    assert!(parts[0].values().all(|(_, mtime, _)| *mtime == delivered));
    let own = fs::metadata(stage.beside("spool/web.pkg")).unwrap();
    assert_eq!(own.mode(), 0o100_644);
}

#[test]
fn a_package_that_waits_in_a_directory_gives_no_rights_away() {
    let stage = stage(&[web()]);
    fs::create_dir(stage.beside("to")).unwrap();
    transferred(stage.run("pkgtrans spool to ACMEweb"), &["ACMEweb"]);
    assert_eq!(fs::metadata(stage.beside("to/ACMEweb/reloc/bin.d/x")).unwrap().mode(), 0o100_755);
    // The mode of the installed file is in the pkgmap.
    let pkgmap = fs::read_to_string(stage.beside("to/ACMEweb/pkgmap")).unwrap();
    assert!(pkgmap.contains("1 f none bin.d/x 4755 root root"), "{pkgmap}");
}

#[test]
fn a_relative_stream_is_made_in_the_source_and_an_absolute_one_where_it_says() {
    let stage = stage(&[web()]);
    let elsewhere = stage.beside("elsewhere.pkg");
    transferred(stage.run("pkgtrans -s spool web.pkg ACMEweb"), &["ACMEweb"]);
    let run = fed(&stage, &format!("pkgtrans -os spool {} ACMEweb", elsewhere.display()), b"\n");
    transferred(run, &["ACMEweb"]);
    assert_eq!(fs::read(stage.beside("spool/web.pkg")).unwrap(), fs::read(elsewhere).unwrap());
    // An existing stream is replaced silently.
    transferred(stage.run("pkgtrans -s spool web.pkg ACMEweb"), &["ACMEweb"]);
    assert_eq!(names(&stage.beside("spool")), ["ACMEweb", "web.pkg"]);
    let error = stage.run("pkgtrans -s spool ACMEweb ACMEweb").fails(1);
    assert!(error.contains("    - <spool/ACMEweb> is a directory, and a datastream is a file\n"), "{error}");
}

#[test]
fn packages_go_in_the_order_of_the_line_and_by_pattern() {
    let second = Package::new("ACMElib.2").param("PKG", "ACMElib").param("VERSION", "2.0");
    let stage = stage(&[web(), lib("1.0"), second]);
    transferred(stage.run("pkgtrans -s spool a.pkg ACMEweb ACMElib.*"), &["ACMEweb", "ACMElib", "ACMElib.2"]);
    let bytes = fs::read(stage.beside("spool/a.pkg")).unwrap();
    assert!(
        bytes.starts_with(
            b"# PaCkAgE DaTaStReAm\nACMEweb 1 9\nACMElib 1 3\nACMElib.2 1 0\n# end of header\n\0"
        )
    );
    transferred(stage.run("pkgtrans -s spool b.pkg ACMElib.2,ACMElib"), &["ACMElib.2", "ACMElib"]);
    let error = stage.run("pkgtrans -s spool c.pkg ACMEweb nosuch").fails(1);
    assert_eq!(
        error,
        "pkgtrans: ERROR: unable to complete package transfer\n    - no package associated with <nosuch>\n"
    );
    assert!(!stage.beside("spool/c.pkg").exists());
}

#[test]
fn a_package_that_is_there_already_is_refused_replaced_or_gets_company() {
    let stage = stage(&[web()]);
    fs::create_dir(stage.beside("to")).unwrap();
    transferred(stage.run("pkgtrans spool to all"), &["ACMEweb"]);
    fs::write(stage.beside("to/ACMEweb/mark"), "").unwrap();
    let error = stage.run("pkgtrans spool to all").fails(2);
    assert_eq!(
        error,
        "pkgtrans: ERROR: unable to complete package transfer\n    \
         - identical version of <ACMEweb> already exists on destination device\n"
    );
    assert!(stage.beside("to/ACMEweb/mark").exists());

    assert_eq!(stage.run("pkgtrans -n spool to all").fails(2), error);
    web().param("VERSION", "2.0").write(&stage.beside("newer"));
    let run = stage.run("pkgtrans -n newer to all");
    assert_eq!(
        run.stderr,
        "Transferring <ACMEweb> package instance\n\t... instance renamed <ACMEweb.2> on destination\n"
    );
    assert_eq!(names(&stage.beside("to")), ["ACMEweb", "ACMEweb.2"]);
    assert_eq!(stage.run("pkginfo -L -d to").ok(), "ACMEweb\nACMEweb.2\n");

    transferred(stage.run("pkgtrans -o spool to all"), &["ACMEweb"]);
    assert!(!stage.beside("to/ACMEweb/mark").exists(), "the old one is gone as a whole");
    assert_eq!(names(&stage.beside("to")), ["ACMEweb", "ACMEweb.2"]);
}

#[test]
fn another_version_under_the_same_name_is_not_replaced_unasked() {
    let stage = stage(&[lib("1.0")]);
    fs::create_dir(stage.beside("to")).unwrap();
    transferred(stage.run("pkgtrans spool to all"), &["ACMElib"]);
    lib("2.0").write(&stage.beside("spool"));
    let error = stage.run("pkgtrans spool to all").fails(2);
    let expected =
        "    - <ACMElib> already exists on destination device, in another version or architecture\n";
    assert!(error.ends_with(expected), "{error}");
    transferred(stage.run("pkgtrans -o spool to all"), &["ACMElib"]);
    assert_eq!(stage.run("pkgparam -d to ACMElib VERSION").ok(), "2.0\n");
}

#[test]
fn what_only_has_the_name_of_a_package_is_never_overwritten() {
    let stage = stage(&[lib("1.0")]);
    fs::create_dir_all(stage.beside("to/ACMElib")).unwrap();
    fs::write(stage.beside("to/ACMElib/letter"), "of somebody\n").unwrap();
    let error = stage.run("pkgtrans -o spool to all").fails(1);
    assert!(
        error.ends_with("    - <ACMElib> on destination device is not a package, and is not overwritten\n")
    );
    assert_eq!(files(&stage.beside("to")), ["ACMElib/letter"]);
    assert_eq!(stage.run("pkgtrans -n spool to all").code, 0);
    assert_eq!(names(&stage.beside("to")), ["ACMElib", "ACMElib.2"]);
}

#[test]
fn only_the_description_goes_over_where_only_it_is_wanted() {
    let stage = stage(&[web()]);
    fs::create_dir(stage.beside("to")).unwrap();
    transferred(stage.run("pkgtrans -i spool to ACMEweb"), &["ACMEweb"]);
    assert_eq!(files(&stage.beside("to")), ["ACMEweb/pkginfo", "ACMEweb/pkgmap"]);
    assert_eq!(stage.run("pkginfo -d to").ok(), "application ACMEweb ACMEweb for tests\n");
    transferred(stage.run("pkgtrans -is spool short.pkg ACMEweb"), &["ACMEweb"]);
    let (_, parts) = read_stream(&fs::read(stage.beside("spool/short.pkg")).unwrap());
    assert_eq!(parts[0].keys().collect::<Vec<_>>(), ["pkginfo", "pkgmap"]);
}

#[test]
fn without_names_the_choice_is_read_from_standard_input_and_nothing_means_all() {
    let stage = stage(&[web(), lib("1.0")]);
    let both = ["ACMElib", "ACMEweb"];
    transferred(stage.run("pkgtrans -s spool a.pkg"), &both);
    transferred(fed(&stage, "pkgtrans -s spool b.pkg", b"\n"), &both);
    transferred(fed(&stage, "pkgtrans -s spool c.pkg", b"all\n"), &both);
    transferred(fed(&stage, "pkgtrans -s spool d.pkg", b"2\n"), &["ACMEweb"]);
    transferred(fed(&stage, "pkgtrans -s spool e.pkg", b"ACMElib\n"), &["ACMElib"]);
    assert_eq!(fed(&stage, "pkgtrans -s spool f.pkg", b"q\n").code, 3);
    assert!(!stage.beside("spool/f.pkg").exists());
}

#[test]
fn somebody_at_a_terminal_sees_the_packages_to_choose_from() {
    let stage = stage(&[web(), lib("1.0")]);
    let Some((code, text)) = at_terminal("pkgtrans at a terminal", &stage, "pkgtrans -s spool a.pkg", "1\n")
    else {
        return;
    };
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("  1  ACMElib         ACMElib for tests\n"), "{text}");
    assert!(text.ends_with("Transferring <ACMElib> package instance\n"), "{text}");
}

#[test]
fn a_package_of_several_parts_keeps_them() {
    let stage = Scenario::new();
    let pkginfo = "PKG=ACMEbig\nNAME=Big\nARCH=all\nVERSION=1.0\nCATEGORY=application\n";
    stage.spooled("/spool/ACMEbig", pkginfo, &["1 f none a 0644 root root 2 107 0"]);
    stage.file("/spool/ACMEbig/reloc.1/a", "a\n");
    stage.file("/spool/ACMEbig/root.2/etc/b", "b\n");
    let pkgmap = stage.text("/spool/ACMEbig/pkgmap").replace(": 1 100", ": 2 100");
    stage.file("/spool/ACMEbig/pkgmap", pkgmap + "2 f none /etc/b 0644 root root 2 108 0\n");
    stage.directory("/to");
    transferred(stage.run("pkgtrans -s @ROOT@/spool big.pkg all"), &["ACMEbig"]);
    let (packages, parts) = read_stream(&fs::read(stage.at("/spool/big.pkg")).unwrap());
    assert_eq!(packages[0].parts, 2);
    assert_eq!(parts[0].keys().collect::<Vec<_>>(), ["pkginfo", "pkgmap", "reloc", "reloc/a"]);
    assert_eq!(parts[1].keys().collect::<Vec<_>>(), ["pkginfo", "root.2", "root.2/etc", "root.2/etc/b"]);
    transferred(stage.run("pkgtrans @ROOT@/spool/big.pkg @ROOT@/to all"), &["ACMEbig"]);
    assert_eq!(files(&stage.at("/to/ACMEbig")), ["pkginfo", "pkgmap", "reloc/a", "root.2/etc/b"]);
}

#[test]
fn a_damaged_package_leaves_what_was_there_and_nothing_else() {
    let stage = stage(&[web(), lib("1.0")]);
    fs::create_dir(stage.beside("to")).unwrap();
    fs::write(stage.beside("spool/old.pkg"), "as before").unwrap();
    fs::write(stage.beside("spool/ACMEweb/reloc/bin/tool"), "#!/bin/su\n").unwrap();
    for line in ["pkgtrans -s spool old.pkg all", "pkgtrans spool to all"] {
        let error = stage.run(line).fails(1);
        assert!(error.contains("    - spool: package ACMEweb, file bin/tool: sum 7"), "{error}");
    }
    assert_eq!(fs::read(stage.beside("spool/old.pkg")).unwrap(), b"as before");
    assert_eq!(names(&stage.beside("spool")), ["ACMElib", "ACMEweb", "old.pkg"]);
    assert_eq!(names(&stage.beside("to")), [""; 0]);
}

#[test]
fn members_that_lead_out_of_a_package_are_written_nowhere() {
    let package = datastream::DatastreamPackage {
        inst: PkgInst::new("ACMEbad").unwrap(),
        parts: 1,
        max_blocks: 9,
        pkginfo: b"PKG=ACMEbad\nNAME=Bad\nARCH=all\nVERSION=1\nCATEGORY=application\n".to_vec(),
        pkgmap: b": 1 9\n1 f none x/y 0644 root root 2 107 0\n".to_vec(),
    };
    let link = |name: &[u8], target: &str| {
        let mut header = CpioHeader::file(name, 0o777, 0, target.len() as u64);
        header.mode = 0o120_777;
        header
    };
    let file = |name: &[u8]| CpioHeader::file(name, 0o644, 0, 2);
    let hostile = [
        vec![(file(b"../outside"), "a\n".to_owned())],
        vec![(file(b"reloc/../../outside"), "a\n".to_owned())],
        vec![(file(b"/tmp/patchadm-outside"), "a\n".to_owned())],
        vec![(link(b"reloc/x", "../.."), "../..".to_owned()), (file(b"reloc/x/outside"), "a\n".to_owned())],
        vec![(link(b"reloc/x/y", "/etc/passwd"), "/etc/passwd".to_owned())],
    ];
    for members in hostile {
        let stage = Scenario::new();
        fs::create_dir(stage.beside("to")).unwrap();
        let stream =
            datastream::DatastreamWriter::new(Vec::new(), std::slice::from_ref(&package), 0).unwrap();
        let mut part = stream.begin_part(CpioFormat::Newc).unwrap();
        for (header, data) in &members {
            part.write_member(header, data.as_bytes()).unwrap();
        }
        fs::write(stage.beside("bad.pkg"), part.finish().unwrap().finish().unwrap()).unwrap();
        let run = stage.run("pkgtrans bad.pkg to all");
        assert!([1, 99].contains(&run.code), "{members:?}: {}", run.stderr);
        assert_eq!(names(&stage.beside("")), ["bad.pkg", "root", "to"], "{members:?}");
        assert_eq!(names(&stage.beside("to")), [""; 0], "{members:?}");
    }
}

#[test]
fn what_is_no_source_and_what_is_no_destination_is_told() {
    let stage = stage(&[web()]);
    let start = "pkgtrans: ERROR: unable to complete package transfer\n    - ";
    transferred(stage.run("pkgtrans -s spool web.pkg all"), &["ACMEweb"]);
    let fails = |line: &str, code| stage.run(line).fails(code).replace(start, "");
    assert_eq!(
        fails("pkgtrans nosuch spool all", 99),
        "could not process datastream from <nosuch>: no such file or directory\n"
    );
    // The message of the classic command, and the reason.
    assert_eq!(
        fails("pkgtrans spool/web.pkg nosuch all", 1),
        "both source and destination devices cannot be a datastream\n    - <nosuch> is not a directory\n"
    );
    assert_eq!(fails("pkgtrans spool spool all", 1), "source and destination represent the same device\n");
    assert!(fails("pkgtrans -s spool no/such/web.pkg all", 1).contains("spool/no/such"));
    let error = stage.run("pkgtrans spool").fails(1);
    assert!(error.ends_with("usage: pkgtrans [-cinos] device1 device2 [pkginst...]\n"), "{error}");
    let error = stage.run("pkgtrans -g spool x").fails(1);
    assert!(error.starts_with("pkgtrans: ERROR: option -g is not supported yet\n"), "{error}");
}

#[test]
fn a_stream_can_go_into_a_pipe() {
    let stage = stage(&[web()]);
    transferred(stage.run("pkgtrans -s spool web.pkg all"), &["ACMEweb"]);
    let output = stage.command("pkgtrans -s spool /dev/stdout all").output().unwrap();
    assert!(output.stdout == fs::read(stage.beside("spool/web.pkg")).unwrap());
    let document = stage.run("pkgtrans -s --json spool web.pkg all").ok();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["packages"][0]["instance"], "ACMEweb");
    assert_eq!(document["destination"], "spool/web.pkg");
}

#[test]
fn it_runs_while_another_command_has_the_root() {
    let mut stage = stage(&[web()]);
    stage.set("PKG_INSTALL_ROOT", stage.root());
    let root = Root::open(&stage.root()).unwrap();
    let lock = Lock::take(&root, "pkgadd", |_| false).unwrap();
    let before = stage.everything();
    transferred(stage.run("pkgtrans -s spool web.pkg all"), &["ACMEweb"]);
    assert_same(&stage.everything(), &before);
    drop(lock);
}

#[test]
fn help_lists_every_option() {
    let help = Scenario::new().run("pkgtrans --help").ok();
    let expected = "\
Copy packages between directories and datastreams

Usage: pkgtrans [-cinos] device1 device2 [pkginst...]

Arguments:
  <DEVICE1>     The source: a directory, a datastream, an archive, or a pipe such as /dev/stdin
  <DEVICE2>     The target: a directory, or the name of a datastream
  [PKGINST]...  The packages: an instance, `PKG.*` for all instances of PKG, or `all`

Options:
  -c             Accepted for compatibility
  -i             Copy only pkginfo and pkgmap
  -n             If the name of a package is taken, copy it under the next free name, such as PKG.2
  -o             Replace existing packages
  -s             Write one datastream instead of directories
      --json     Print one JSON document instead of text
  -h, --help     Print help
      --version  Print the version
";
    assert_eq!(help, expected);
}
