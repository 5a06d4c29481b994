//! pkgproto(1): its lines, its options, its messages about objects without a line, and the lines of the classic
//! command.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use crate::producer::Producer;
use crate::scenario::{is_root, shared};

/// A workshop with a tree to be described.
fn workshop() -> Producer {
    let workshop = Producer::new();
    fs::remove_dir(workshop.at("spool")).unwrap();
    workshop.file("src/etc/conf", "A=1\n");
    workshop.file("src/bin/hello", "hello\n");
    for (path, mode) in [("src/etc", 0o755), ("src/bin", 0o755), ("src/bin/hello", 0o4755), ("src", 0o755)] {
        workshop.mode(path, mode);
    }
    fs::hard_link(workshop.at("src/bin/hello"), workshop.at("src/bin/hello2")).unwrap();
    symlink("hello", workshop.at("src/bin/hi")).unwrap();
    let fifo = workshop.at("src/etc/pipe");
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(fifo).status().unwrap().success());
    workshop
}

/// The user and group names of the caller, by `id`.
fn owners() -> String {
    let id = |option| String::from_utf8(Command::new("id").arg(option).output().unwrap().stdout).unwrap();
    format!("{} {}", id("-un").trim(), id("-gn").trim())
}

/// Lines with `@OWN@` for the names of the caller.
fn lines(lines: &[&str]) -> String {
    let owners = owners();
    lines.iter().map(|line| line.replace("@OWN@", &owners) + "\n").collect()
}

#[test]
fn its_help_is_this() {
    let help = "Print prototype entries for existing objects\n\n\
        Usage: pkgproto [-i] [-c class] [path1[=path2]...]\n\n\
        Arguments:\n  \
          [PATH1[=PATH2]]...  Objects, and everything below directories; with path1=path2, path1 becomes\n                      \
                              path2 in the package [default: names on standard input, one per line]\n\n\
        Options:\n  \
          -i             Follow symbolic links and describe their targets\n  \
          -c <CLASS>     Put the objects into this class [default: none]\n      \
              --json     Print one JSON document instead of text\n  \
          -h, --help     Print help\n      \
              --version  Print the version\n";
    assert_eq!(Producer::new().run("pkgproto --help").ok(), help);
}

#[test]
fn a_directory_is_described_below_another_name_with_its_sources() {
    let expected = lines(&[
        "d none usr 0755 @OWN@",
        "d none usr/bin 0755 @OWN@",
        "f none usr/bin/hello=src/bin/hello 4755 @OWN@",
        "l none usr/bin/hello2=hello",
        "s none usr/bin/hi=hello",
        "d none usr/etc 0755 @OWN@",
        "f none usr/etc/conf=src/etc/conf 0644 @OWN@",
        "p none usr/etc/pipe 0600 @OWN@",
    ]);
    assert_eq!(workshop().run("pkgproto src=usr").ok(), expected);
}

#[test]
fn an_empty_right_side_puts_what_is_below_at_the_top() {
    let workshop = workshop();
    let expected = lines(&["d none etc 0755 @OWN@", "f none etc/conf=@WORK@/src/etc/conf 0644 @OWN@"]);
    assert!(workshop.run("pkgproto @WORK@src/=").ok().contains(&expected));
    assert_eq!(workshop.run("pkgproto src=").ok(), workshop.run("pkgproto src=.").ok());
}

#[test]
fn without_another_name_the_lines_have_no_source() {
    let workshop = workshop();
    let text = workshop.run("pkgproto .").ok();
    assert!(text.starts_with(&lines(&["d none src 0755 @OWN@", "d none src/bin 0755 @OWN@"])), "{text}");
    assert!(text.contains(&lines(&["f none src/etc/conf 0644 @OWN@"])), "{text}");
    let absolute = workshop.run("pkgproto @WORK@src/etc").ok();
    assert!(absolute.contains("f none @WORK@/src/etc/conf 0644"), "{absolute}");
    assert!(workshop.run("pkgproto -n src=usr").ok().contains("f none usr/etc/conf 0644"));
}

#[test]
fn names_on_standard_input_are_described_without_what_is_below() {
    let workshop = workshop();
    let mut command = workshop.command("pkgproto -c web");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"src/bin\nsrc/bin/hello\n\nsrc/bin/hello2").unwrap();
    let run = workshop.told(&child.wait_with_output().unwrap());
    let expected =
        ["d web src/bin 0755 @OWN@", "f web src/bin/hello 4755 @OWN@", "l web src/bin/hello2=hello"];
    assert_eq!(run.ok(), lines(&expected));
}

#[test]
fn links_are_followed_on_demand_and_content_is_summed_up_on_demand() {
    let workshop = workshop();
    assert_eq!(workshop.run("pkgproto -i src/bin/hi=hi").ok(), lines(&["f none hi=src/bin/hi 4755 @OWN@"]));
    let summed = "f none hi=src/bin/hello 4755 @OWN@ 6 542 1577836800";
    assert_eq!(workshop.run("pkgproto -x src/bin/hello=hi").ok(), lines(&[summed]));
}

#[test]
fn a_device_has_its_numbers_before_its_mode() {
    let text = Producer::new().run("pkgproto /dev/null=dev/zilch").ok();
    assert!(text.starts_with("c none dev/zilch 1 3 0666 root "), "{text}");
}

#[test]
fn what_has_no_line_is_told_and_the_rest_is_described() {
    let workshop = workshop();
    let run = workshop.run("pkgproto nosuch src/etc/conf");
    assert_eq!(run.stdout, lines(&["f none src/etc/conf 0644 @OWN@"]));
    assert_eq!(run.fails(1), "pkgproto: ERROR: unable to stat <nosuch>\n    No such file or directory\n");
    let _socket = UnixListener::bind(workshop.at("socket")).unwrap();
    let told = workshop.run("pkgproto socket").fails(1);
    assert_eq!(told, "pkgproto: ERROR: socket: no package can deliver a socket\n");
    let told = workshop.run("pkgproto src/../src/etc/conf").fails(1);
    assert_eq!(told, "pkgproto: ERROR: path <src/../src/etc/conf> has a `..` component\n");
}

#[test]
fn a_link_to_nothing_has_a_line_and_is_told() {
    let workshop = Producer::new();
    symlink("nowhere", workshop.at("dangling")).unwrap();
    let run = workshop.run("pkgproto dangling");
    assert_eq!((run.code, run.stdout.as_str()), (0, "s none dangling=nowhere\n"));
    assert_eq!(run.stderr, "ERROR: dangling\n    symbolic link leads to nothing\n");
}

#[test]
fn a_class_is_one_that_a_pkgmap_can_have() {
    let workshop = workshop();
    for bad in ["a/b", "a$b", "ümlaut"] {
        let expected = format!("pkgproto: ERROR: bad character in classname <{bad}>\n");
        assert_eq!(workshop.run(&format!("pkgproto -c {bad} src")).fails(1), expected);
    }
}

#[test]
fn json_has_the_lines() {
    let workshop = workshop();
    let run = workshop.run("pkgproto --json src/bin/hi=hi nosuch");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["lines"], serde_json::json!(["s none hi=hello"]));
    assert_eq!((run.code, document["errors"].as_array().unwrap().len()), (1, 1));
}

/// The exact calls of the backout scripts of Sun's patches.
#[test]
fn the_calls_of_the_patch_scripts_are_answered() {
    let workshop = workshop();
    let file = workshop.at("src/etc/conf").display().to_string();
    let call = |line: &str| workshop.run(&line.replace("@FILE@", &file));
    let line = call("pkgproto -c none @FILE@=etc/conf").ok();
    // the class action script puts the copy in place of the file: sed s@=$dst@=$Build_Path@
    assert_eq!(line, lines(&["f none etc/conf=@WORK@/src/etc/conf 0644 @OWN@"]));
    let line = call("pkgproto @FILE@=/etc/conf").ok();
    assert_eq!(line, lines(&["f none /etc/conf=@WORK@/src/etc/conf 0644 @OWN@"]));
    let link = call("pkgproto -c none @WORK@src/bin/hi=bin/hi").ok();
    assert_eq!(link, "s none bin/hi=hello\n");
    let absent = call("pkgproto @WORK@gone=gone");
    assert_eq!((absent.code, absent.stdout.as_str()), (1, ""));
}

#[test]
fn the_lines_are_those_of_the_classic_command() {
    let Some(golden) = shared("pkgproto", "goldens/27-order-names/out/proto.out") else { return };
    if !is_root() {
        return crate::skipped("the_lines_are_those_of_the_classic_command: the owners were root");
    }
    let workshop = Producer::new();
    let names =
        ["a-b", "a.b", "aB", "ab", "a/b", "a/z", "a0", "Z", "_x", "zz", "x=y", "é", "sp ace", "dollar$x"];
    for name in names {
        workshop.file(&format!("src/{name}"), format!("{name}\n"));
    }
    fs::set_permissions(workshop.at("src/a"), fs::Permissions::from_mode(0o755)).unwrap();
    // the classic command does not escape names that no prototype can have
    let classic = fs::read_to_string(golden).unwrap().replace("sp ace", "sp\\040ace");
    let classic = classic.replace("x=y=src/x=y", "x\\075y=src/x\\075y");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&workshop.run("pkgproto src=.").ok()), sorted(&classic));
}
