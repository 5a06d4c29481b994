//! Control characters and invisible characters in names and texts of packages, patches and records. Every command
//! escapes them, so that no text controls a terminal or poses as another one.

use std::fs;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::scenario::Scenario;
use crate::schema::assert_document_if_asked;
use crate::terminal::at_terminal;

/// Clears the screen, renames the window, goes back on the line, beeps, and has C1 in UTF-8 and as a byte; then one of
/// each range of invisible characters.
const HOSTILE: &str = "a\u{1b}[2Jb\u{1b}]0;x\u{7}c\rd\u{8}e\u{7f}f\u{9b}31mg\u{ad}\u{61c}\u{200b}\u{202a}\u{202e}\u{2060}\u{2066}\u{feff}\u{e0041}h";

/// The escaped form of its end.
const SHOWN: &str = "g\\302\\255\\330\\234\\342\\200\\213\\342\\200\\252\\342\\200\\256\\342\\201\\240\\342\\201\\246\\357\\273\\277\\363\\240\\201\\201h";

/// True if a command is classic: programs read its output.
fn is_classic(line: &str) -> bool {
    ["pkg", "patch", "showrev", "installf"].iter().any(|name| line.starts_with(name))
}

/// Asserts that the output has no control characters and, if people read it, no invisible ones.
#[track_caller]
fn assert_plain(line: &str, said: &[u8]) {
    let is_invisible = |letter: char| {
        matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(letter, '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    let is_for_people = !is_classic(line) || line.contains("--json");
    let is_control = |letter: char| {
        letter.is_control() && !matches!(letter, '\n' | '\t') || is_for_people && is_invisible(letter)
    };
    for chunk in said.utf8_chunks() {
        let odd = chunk.valid().chars().any(is_control) || chunk.invalid().iter().any(|byte| *byte < 0xa0);
        assert!(!odd, "{line}: {}", said.escape_ascii());
    }
}

fn package() -> Package {
    let package = Package::new("ACMEweb").file("lib/a", 0o644, "first\n").file("od\u{1b}[2Jd", 0o644, "x\n");
    let names = ["NAME", "DESC", "VENDOR", "HOTLINE", "EMAIL", "PSTAMP", "VSTOCK", "SERIALNUM", "MINE"];
    let package = names.into_iter().fold(package, |package, name| package.param(name, HOSTILE));
    package.information("copyright", format!("{HOSTILE}\n"))
}

/// An empty root, and a package and two patches beside it whose every text is hostile.
fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/nocheck", NOCHECK);
    package().write(&stage.beside("spool"));
    for id in ["100-01", "101-01"] {
        let patch = Package::new("ACMEweb").file("lib/a", 0o644, format!("{id}\n"));
        let patch = patch.param("NAME", HOSTILE).param("DESC", HOSTILE);
        let patch =
            Patch::of(id, patch).beside("patchinfo", &format!("PATCHID={id}\nPATCH_ARCH={HOSTILE}\n"));
        patch.beside(&format!("README.{id}"), &format!("Synopsis: {HOSTILE}\n")).directory(&stage);
    }
    stage
}

/// Runs commands and checks all their output. Documents must match their schema. Returns the commands that failed.
fn play<'l>(stage: &Scenario, lines: &[&'l str]) -> Vec<&'l str> {
    let mut failed = Vec::new();
    for line in lines {
        let output = stage.command(line).output().unwrap();
        if !output.status.success() {
            failed.push(*line);
        }
        assert_document_if_asked(line, &output.stdout);
        assert_plain(line, &[&output.stdout[..], &output.stderr[..]].concat());
    }
    failed
}

#[test]
fn no_command_prints_control_characters_of_a_package() {
    let stage = stage();
    let failed = play(
        &stage,
        &[
            "pkgadd -n -R @ROOT@ -d spool ACMEweb",
            "pkginfo -R @ROOT@",
            "pkginfo -x -R @ROOT@",
            "pkginfo -l -R @ROOT@",
            "pkginfo --json -R @ROOT@",
            "pkginfo -l -d spool",
            "pkgparam -R @ROOT@ ACMEweb",
            "pkgparam -v -R @ROOT@ ACMEweb",
            "pkgparam --json -R @ROOT@ ACMEweb",
            "pkgparam -R @ROOT@ ACMEweb NAME MINE",
            "pkgparam -d spool ACMEweb",
            "pkgchk -l -R @ROOT@ ACMEweb",
            "pkgchk -L -R @ROOT@",
            "pkgchk -v -R @ROOT@ ACMEweb",
            "plan -R @ROOT@ delivered/100-01",
            "patchadd -a -R @ROOT@ delivered/100-01",
            "patchadd -R @ROOT@ delivered/100-01",
            "add -v -R @ROOT@ delivered/101-01",
            "patchadd -p -R @ROOT@",
            "showrev -p -R @ROOT@",
            "list -R @ROOT@",
            "show -R @ROOT@ 101-01",
            "show --json -R @ROOT@ 101-01",
            "check --contents -R @ROOT@",
            "pkgtrans -s spool @ROOT@/stream all",
            "pkgadd -n -R @ROOT@ -d @ROOT@/stream all",
            "pkgask -R @ROOT@ -r @ROOT@/response -d spool ACMEweb",
            "remove -v -R @ROOT@ 101-01",
            "patchrm -R @ROOT@ 100-01",
            "installf -R @ROOT@ ACMEweb /opt/\u{9b}31m d 0755 root root",
            "patchadd -R @ROOT@ delivered/100-01",
            "pkgrm -n -R @ROOT@ ACMEweb",
        ],
    );
    let refused =
        ["pkgadd -n -R @ROOT@ -d @ROOT@/stream all", "pkgask -R @ROOT@ -r @ROOT@/response -d spool ACMEweb"];
    assert_eq!(failed, refused, "the package has patches");
    let log = fs::read(stage.at("/var/sadm/patchadm/log")).unwrap();
    assert_plain("the log", &log);
    assert!(String::from_utf8_lossy(&log).contains("/opt/\\302\\23331m"), "{}", log.escape_ascii());
    let shown = stage.run("pkginfo -l -d spool").ok();
    assert!(
        shown.contains("NAME:  a\\033[2Jb\\033]0;x\\007c\\015d\\010e\\177f\\302\\23331mg\u{ad}"),
        "{shown}"
    );
    let json = stage.run("pkginfo --json -d spool").ok();
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["packages"][0]["name"], HOSTILE, "{json}");
    assert!(json.contains(r"g\u00ad\u061c\u200b\u202a\u202e\u2060\u2066\ufeff\udb40\udc41h"), "{json}");
}

#[test]
fn invisible_characters_are_shown_by_verbs_always_and_by_classic_commands_on_a_terminal() {
    let stage = stage();
    play(&stage, &["pkgadd -n -R @ROOT@ -d spool ACMEweb", "patchadd -R @ROOT@ delivered/100-01"]);
    let shown = stage.run("show -R @ROOT@ 100-01").ok();
    assert!(shown.contains(SHOWN), "{shown}");
    for line in
        ["pkginfo -l -R @ROOT@ ACMEweb", "pkgparam -R @ROOT@ ACMEweb NAME", "pkgparam -v -R @ROOT@ ACMEweb"]
    {
        let read = stage.run(line).ok();
        assert!(read.contains("\u{202e}"), "{line}: a program reads what is there: {read}");
        let Some((code, seen)) = at_terminal("invisible characters", &stage, line, "") else { return };
        assert_eq!(code, 0, "{seen}");
        assert!(seen.contains(SHOWN) && !seen.contains('\u{202e}'), "{line}: {seen}");
    }
}

#[test]
fn no_message_has_control_characters_of_a_name_or_a_record() {
    let stage = stage();
    play(&stage, &["pkgadd -n -R @ROOT@ -d spool ACMEweb", "patchadd -R @ROOT@ delivered/100-01"]);
    fs::remove_file(stage.at("/opt/ACMEweb/od\u{1b}[2Jd")).unwrap();
    fs::write(stage.at("/opt/ACMEweb/lib/a"), "edited\n").unwrap();
    let hostile = stage.beside("sp\u{1b}[2Jool");
    fs::create_dir_all(&hostile).unwrap();
    fs::write(hostile.join("b\u{1b}[2J"), HOSTILE).unwrap();
    play(
        &stage,
        &["pkgchk -R @ROOT@ ACMEweb", "check --contents -R @ROOT@", "patchadd -R @ROOT@ delivered/101-01"],
    );
    for name in ["pkgadd -n -R @ROOT@ -d", "patchadd -R @ROOT@", "pkginfo -d", "pkgparam -f"] {
        for path in [hostile.clone(), hostile.join("b\u{1b}[2J")] {
            let mut command = stage.command(name);
            let output = command.arg(path).output().unwrap();
            assert_plain(name, &[&output.stdout[..], &output.stderr[..]].concat());
        }
    }
    for record in ["/var/sadm/pkg/ACMEweb/pkginfo", "/var/sadm/install/contents", "/var/sadm/patchadm/policy"]
    {
        let kept = fs::read(stage.at(record)).ok();
        fs::create_dir_all(stage.at(record).parent().unwrap()).unwrap();
        fs::write(stage.at(record), format!("{HOSTILE}=\u{1b}[2J x {HOSTILE}\n\u{1b}\n")).unwrap();
        play(
            &stage,
            &[
                "pkginfo -l -R @ROOT@",
                "pkgchk -R @ROOT@",
                "list -R @ROOT@",
                "check --contents -R @ROOT@",
                "patchadd -R @ROOT@ delivered/101-01",
                "patchrm -R @ROOT@ 100-01",
            ],
        );
        match kept {
            Some(kept) => fs::write(stage.at(record), kept).unwrap(),
            None => fs::remove_file(stage.at(record)).unwrap(),
        }
    }
}

#[test]
fn a_value_with_newlines_is_one_line_of_a_listing() {
    let stage = Scenario::new();
    stage.package(
        "ACMEweb",
        "PKG=ACMEweb\nNAME=web\\\n    STATUS:  spooled\nARCH=all\nVERSION=1.0\nCATEGORY=application\n",
    );
    let listing = stage.run("pkginfo -l -R @ROOT@ ACMEweb").ok();
    assert_eq!(listing.matches("STATUS:").count(), listing.matches("\\012").count() + 1, "{listing}");
    assert!(!listing.lines().any(|line| line.trim_start().starts_with("STATUS:  spooled")), "{listing}");
}
