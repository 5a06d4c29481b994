use std::fs;

use crate::scenario::Scenario;

#[test]
fn the_exit_code_is_the_answer_and_nothing_is_printed() {
    let stage = Scenario::new();
    stage.file("/full", "x");
    stage.file("/empty", "");
    for (line, code) in [
        ("-l reloc/bin/tool", 0),
        ("-l /bin/tool", 1),
        ("-a /bin/tool", 0),
        ("-l a*b?c", 0),
        ("-orfz @ROOT@/full", 0),
        ("-oz @ROOT@/empty", 1),
        ("-n @ROOT@/full", 1),
        ("-nt @ROOT@/other", 0),
        ("-t @ROOT@/no/such", 1),
        ("-y @ROOT@", 0),
        ("-b @ROOT@", 1),
        ("-c /dev/null", 0),
        ("-x @ROOT@/full", 1),
        ("anything", 0),
    ] {
        let run = stage.run(&format!("valpath {line}"));
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (code, "", ""), "{line}");
    }
    assert!(!stage.at("/other").exists(), "asking whether it can be made does not make it");
}

#[test]
fn a_relative_name_with_a_blank_is_relative() {
    let stage = Scenario::new();
    for (path, code) in [("a b", 0), ("/a b", 1), ("", 1)] {
        let output = stage.command("valpath -l").arg(path).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(code), 0), "<{path}>");
    }
}

#[test]
fn a_path_is_needed() {
    let text = Scenario::new().run("valpath -l").fails(1);
    assert!(text.contains("usage: valpath [-abcflnortwxyz] path"), "{text}");
}

#[test]
fn a_script_takes_the_command_from_its_path() {
    let stage = Scenario::new();
    let links = stage.beside("bin");
    fs::create_dir(&links).unwrap();
    stage.run(&format!("setup links {}", links.display())).ok();
    let script =
        "for path in reloc/a /etc/b; do if valpath -l $path; then puttext \"$path is relative\"; fi; done";
    let output =
        std::process::Command::new("/bin/sh").args(["-c", script]).env("PATH", &links).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "reloc/a is relative\n");
}
