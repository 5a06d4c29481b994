//! Scripts with fewer rights than the caller, and builds: none of them has the terminal of the caller, and their
//! output there is plain text.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use crate::bulk::{BulkBuild, everybody};
use crate::everyman::NOBODY;
use crate::packages::Package;
use crate::procedure_scripts::{NOCHECK, add, line, noted, stage};
use crate::scenario::{Scenario, is_root};
use crate::terminal::{Conversation, at_terminal, words_of};
use crate::tree::assert_same;
use crate::workshop::{eventually, runs};

/// Prints its session, its terminal as a number (0 is none), its standard input, and whether it can open a terminal.
const LOOKS: &str = "cut -d' ' -f6,7 /proc/self/stat; readlink /proc/self/fd/0\n\
    if (: < /dev/tty) 2> /dev/null; then echo a terminal; else echo no terminal; fi\n";

/// Prints the owner and the mode of its terminal, and whether it can be opened by name.
const OPENS: &str = "stat -Lc 'owner %u %a' /proc/self/fd/0\n\
    if (: < $(readlink /proc/self/fd/0)) 2> /dev/null; then echo opens; else echo stays closed; fi\n";

/// The output of LOOKS, one after the other: session, terminal, input, and whether there is a terminal.
fn looked(said: &str) -> Vec<(i32, i32, String, bool)> {
    let lines: Vec<&str> = said.lines().collect();
    let look = |lines: &[&str]| {
        let (session, terminal) = lines[0].split_once(' ').unwrap();
        let (session, terminal) = (session.parse().unwrap(), terminal.parse().unwrap());
        (session, terminal, lines[1].to_owned(), lines[2] == "a terminal")
    };
    lines.chunks(3).map(look).collect()
}

fn package(request: &str) -> Package {
    Package::new("ACMEall").file("a", 0o644, "a\n").information("request", request)
}

/// Begins an installation at a terminal, after another command there.
fn conversation(test: &str, stage: &Scenario, before: &str, package: &Package) -> Option<Conversation> {
    let command = words_of(&stage.command(&line(stage, "", package)));
    Conversation::begin(test, stage, &format!("{before}{command}; echo ended $?; stty -a"))
}

#[test]
fn a_checkinstall_has_no_terminal_a_session_of_its_own_and_nothing_to_read() {
    let stage = stage();
    let looks = format!("{{ {LOOKS} }} >> $PKG_INSTALL_ROOT/opt/noted\n");
    let prints = "printf '\\033[2Jforged\\r\\302\\23331m\\n'; echo beside it >&2\n\
                  printf 'split \\342\\200'; sleep 0.2; printf '\\256.\\n'\n";
    let package = Package::new("ACMEall")
        .file("a", 0o644, "a\n")
        .information("checkinstall", format!("{looks}{prints}"))
        .information("preinstall", looks);
    let line = line(&stage, "-n", &package);
    let Some((code, said)) = at_terminal("a_checkinstall…", &stage, &line, "") else { return };
    assert_eq!(code, 0, "{said}");
    let looked = looked(&noted(&stage));
    let [checkinstall, preinstall] = &looked[..] else { panic!("{looked:?}") };
    let (session, terminal, input, has_terminal) = checkinstall;
    assert_eq!((*terminal, input.as_str(), *has_terminal), (0, "/dev/null", false));
    assert!(*session != preinstall.0, "{looked:?}");
    assert!(preinstall.1 != 0 && preinstall.3, "whoever installs has a terminal: {looked:?}");
    assert!(said.contains("\\033[2Jforged\\015\\302\\23331m"), "{said}");
    assert!(said.contains("\\342\\200\\256.\n"), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{said:?}");
}

#[test]
fn what_scripts_print_is_escaped_where_no_terminal_is_too() {
    let stage = stage();
    let prints = "printf '\\033[2J\\302\\23331m'; printf '\\033]0;x\\007\\n' >&2\n";
    let package = Package::new("ACMEall").file("a", 0o644, "a\n").information("postinstall", prints);
    let run = add(&stage, "-n", &package);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stdout.contains("\\033[2J\\302\\23331m") && run.stdout.contains("\\033]0;x\\007\n"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_request_script_has_a_terminal_of_its_own_with_size_echo_and_line_editing() {
    let stage = stage();
    let request = format!(
        "{{ {LOOKS}stty size; {OPENS}}} >> $PKG_INSTALL_ROOT/opt/noted\n\
         printf '\\033[2JWhich colour?'; read colour\nprintf 'And secretly?'; stty -echo; read secret; stty echo\n\
         printf '<\\033[2J\\342\\200\\256>' > /dev/tty\necho COLOUR=$colour >> $1\necho SECRET=$secret >> $1\n"
    );
    let looks = format!("{{ {LOOKS} }} >> $PKG_INSTALL_ROOT/opt/noted\n");
    let package = package(&request).information("preinstall", looks);
    let Some(mut talk) = conversation("a_request_script…", &stage, "stty rows 33 cols 77; ", &package)
    else {
        return;
    };
    talk.hears("\\033[2JWhich colour?");
    talk.types("grey");
    talk.hears("grey");
    talk.types("\x7fe");
    talk.hears("\x08 \x08e");
    talk.types("n\n");
    talk.hears("And secretly?");
    // A separate command sets the terminal.
    eventually("the script reads", || noted(&stage).contains("33 77") && is_reading(&stage));
    talk.types("blue\n");
    talk.hears("<\\033[2J\\342\\200\\256>");
    talk.hears("ended 0");
    let (_, said) = talk.ends();
    let said = String::from_utf8(said).unwrap();
    assert!(!said.contains("blue"), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall COLOUR SECRET").ok(), "green\nblue\n");
    let noted = noted(&stage);
    // No other process of the script's user can open it by its name.
    let own = fs::metadata(stage.root()).unwrap().uid();
    let opens = if is_root() { "stays closed" } else { "opens" };
    let opened = format!("owner {own} 600\n{opens}\n");
    assert!(noted.contains(&opened), "{noted}");
    let looked = looked(&noted.replace("33 77\n", "").replace(&opened, ""));
    let [request, preinstall] = &looked[..] else { panic!("{looked:?}") };
    assert!(request.1 != 0 && request.1 != preinstall.1 && request.0 != preinstall.0, "{looked:?}");
    assert!(request.2.starts_with("/dev/pts/") && request.3, "{looked:?}");
    // Afterwards the terminal is as it was.
    for mode in ["icanon", "echo", "isig", "icrnl", "iexten"] {
        assert!(said.split_ascii_whitespace().any(|word| word == mode), "{mode}: {said}");
    }
    assert!(said.contains("susp = ^Z") && said.contains("quit = ^\\"), "{said}");
}

/// True if the second `read` of the script has begun: its terminal does not echo any more, and the shell waits for
/// it.
fn is_reading(stage: &Scenario) -> bool {
    let noted = noted(stage);
    let Some(terminal) = noted.lines().find(|line| line.starts_with("/dev/pts/")) else { return false };
    let modes = Command::new("stty").args(["-F", terminal, "-a"]).output().unwrap();
    String::from_utf8_lossy(&modes.stdout).contains("-echo ")
}

#[test]
fn without_a_terminal_a_request_script_reads_the_answers_from_the_standard_input() {
    let stage = stage();
    let request =
        format!("{{ {LOOKS} }} >> $PKG_INSTALL_ROOT/opt/noted; read colour; echo COLOUR=$colour >> $1\n");
    let package = package(&request);
    let mut pkgadd = stage.command(&line(&stage, "", &package));
    let mut running =
        pkgadd.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut running.stdin.take().unwrap(), b"green\n").unwrap();
    assert!(running.wait().unwrap().success());
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall COLOUR").ok(), "green\n");
    let looked = looked(&noted(&stage));
    assert!(looked[0].1 == 0 && !looked[0].3 && looked[0].2.starts_with("pipe:"), "{looked:?}");
    // Packages that come by the standard input leave nothing of it for scripts.
    let stream = stage.beside("stream");
    stage.run(&format!("pkgtrans -s spool {} ACMEall", stream.display()));
    stage.run("pkgrm -n -R @ROOT@ ACMEall");
    let mut pkgadd = stage.command("pkgadd -R @ROOT@ -a nocheck -d /dev/stdin ACMEall");
    let output = pkgadd.stdin(fs::File::open(&stream).unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall COLOUR").ok(), "\n");
}

#[test]
fn ctrl_c_ends_a_request_script_and_all_that_it_started() {
    let stage = stage();
    let pids = stage.at("/opt/noted");
    let request = "trap '' INT\nsh -c 'trap \"\" INT TERM HUP; echo $$ >> $PKG_INSTALL_ROOT/opt/noted; sleep 1000' &\n\
                   echo $$ >> $PKG_INSTALL_ROOT/opt/noted; echo 'Which colour?'; read colour\n";
    let package = package(request);
    let before = stage.everything();
    let Some(mut talk) = conversation("ctrl_c…", &stage, "trap : INT; ", &package) else { return };
    talk.hears("Which colour?");
    eventually("both run", || fs::read_to_string(&pids).is_ok_and(|text| text.lines().count() == 2));
    let noted = fs::read_to_string(&pids).unwrap();
    assert!(noted.lines().all(runs), "{noted}");
    talk.types("\x03");
    talk.hears("ended 3");
    let (_, said) = talk.ends();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(" icanon ") && said.contains(" echo "), "{said}");
    assert!(!noted.lines().any(runs), "{noted}");
    fs::write(&pids, "").unwrap();
    stage.mtime("/opt/noted", 981_173_106);
    assert_same(&stage.everything(), &before);
    assert_eq!(stage.run("pkginfo -q -R @ROOT@ ACMEall").code, 1);
}

#[test]
fn a_request_script_of_the_superuser_has_no_terminal_of_the_caller_either() {
    let stage = stage();
    stage.file("/var/sadm/install/admin/nocheck", format!("{NOCHECK}rscriptalt=root\n"));
    let looks = format!("{{ {LOOKS} }} >> $PKG_INSTALL_ROOT/opt/noted\n");
    let package = package(&looks).information("preinstall", &looks);
    let line = line(&stage, "", &package);
    let Some((code, said)) = at_terminal("a_request_script_of_the_superuser…", &stage, &line, "") else {
        return;
    };
    assert_eq!(code, 0, "{said}");
    let looked = looked(&noted(&stage));
    let [request, preinstall] = &looked[..] else { panic!("{looked:?}") };
    assert!(request.1 != preinstall.1 && request.0 != preinstall.0, "{looked:?}");
}

/// An action of a bulk build as words of a shell, to be run by the user who builds.
fn words_at_terminal(test: &str, build: &BulkBuild, is_ordinary: bool, action: &str) -> Option<String> {
    let words = words_of(&build.command(&format!("{action} {}", build.work().display())));
    if !is_ordinary || !is_root() {
        return Some(words);
    }
    let becomes = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {words}");
    crate::has("setpriv", test).then_some(becomes)
}

/// A test of a recipe: it fails if there is a terminal, or the session of somebody else.
const HAS_NONE: &str = "test \"$(cut -d' ' -f6,7 /proc/self/stat)\" = '1 0' || exit 9\n\
    test ! -e /dev/tty || exit 8\ntest ! -t 0 || exit 7\n";

#[test]
fn scans_builds_and_checks_have_no_terminal() {
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes("scans_builds…", is_ordinary, "slot=local 1\n") else {
            continue;
        };
        build.recipe(
            "looks",
            "",
            &format!(
                "{HAS_NONE}mkdir $DESTDIR/opt; printf '\\033[2J\\342\\200\\256\\n'\n\
            cat > $OUT/postinstall <<'End'\n{HAS_NONE}exit 0\nEnd\n"
            ),
        );
        build.write("looks/scan", format!("{HAS_NONE}cat ${{0%/scan}}/record\n"));
        let Some(run) = words_at_terminal("scans_builds…", &build, is_ordinary, "run") else { return };
        let text = format!("{run}; echo ended $?");
        let Some(mut talk) = Conversation::begin("scans_builds…", &build.scenario, &text) else { return };
        talk.hears("ended ");
        let (_, said) = talk.ends();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("ended 0"), "{said}");
        let log = build.log("looks-1.0");
        assert!(log.contains("\\033[2J\\342\\200\\256\n"), "{log}");
        build.assert_nothing_left("no mark");
    }
}

#[test]
fn whoever_enters_a_sandbox_has_a_terminal_of_its_own() {
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes("whoever_enters…", is_ordinary, "slot=local 1\n") else {
            continue;
        };
        build.recipe("one", "", "mkdir $DESTDIR/opt\n");
        build.action("scan @WORK@").ok();
        let Some(enter) = words_at_terminal("whoever_enters…", &build, is_ordinary, "enter") else {
            return;
        };
        let enter = enter + " one";
        // As in a shell script that `&` started, where Ctrl-C is ignored.
        let text = format!(
            "trap '' INT QUIT; stty rows 33 cols 77; echo outside $(cut -d' ' -f7 /proc/self/stat).; {enter}; echo ended $?; stty -a"
        );
        let Some(mut talk) = Conversation::begin("whoever_enters…", &build.scenario, &text) else { return };
        talk.hears("[one-1.0] $ ");
        talk.types("echo inside $(cut -d' ' -f7 /proc/self/stat).; stty size; test -t 1 && test -t 2 && echo to''gether\n");
        talk.hears("inside ");
        talk.hears("33 77");
        talk.hears("together");
        talk.hears("[one-1.0] $ ");
        // Ctrl-C is for the command in front, and not for the shell or the program.
        talk.types("sh -c 'echo beg\"\"un; exec sleep 1000'\n");
        talk.hears("begun");
        talk.types_until("\x03", "[one-1.0] $ ");
        talk.types("exit 7\n");
        talk.hears("ended 7");
        let (_, said) = talk.ends();
        let said = String::from_utf8_lossy(&said);
        let number = |word: &str| {
            let mut after =
                said.match_indices(word).filter_map(|(at, _)| said[at + word.len()..].split('.').next());
            after.find_map(|number| number.parse::<i32>().ok())
        };
        let (outside, inside) = (number("outside ").unwrap(), number("inside ").unwrap());
        assert!(outside != 0 && inside != 0 && outside != inside, "{said}");
        assert!(said.contains(" icanon ") && said.contains(" echo "), "{said}");
        build.assert_nothing_left("no mark");
    }
}

/// Reports in a sandbox which terminals it shares with others, and prints escape sequences that only its own terminal
/// would obey.
const SHARES: &str = "for stream in 0 1 2; do test ! -t $stream || echo \"shared\" $stream; done\n\
    ls -l /proc/[0-9]*/fd 2> /dev/null | grep /dev/pts/\n\
    echo beside >&2\nprintf 'plain\\033[2J\\302'\nexit 7\n";

#[test]
fn whoever_enters_a_sandbox_without_a_terminal_as_input_gets_none_for_its_output() {
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes("without_a_terminal…", is_ordinary, "slot=local 1\n")
        else {
            continue;
        };
        build.recipe("one", "", "mkdir $DESTDIR/opt\n");
        build.write("one/shares", SHARES);
        build.action("scan @WORK@").ok();
        let test = "without_a_terminal…";
        let Some(enter) = words_at_terminal(test, &build, is_ordinary, "enter") else { return };
        let enter = enter + " one -- sh /tree/one/shares < /dev/null";
        for other in ["", " 2> messages", " > output"] {
            let text = format!(
                "rm -f messages output; {enter}{other}; echo ended $?; cat messages output 2> /dev/null; :"
            );
            let Some(talk) = Conversation::begin("without_a_terminal…", &build.scenario, &text) else {
                return;
            };
            let (_, said) = talk.ends();
            assert!(!said.windows(9).any(|text| text == b"/dev/pts/"), "{}", said.escape_ascii());
            let said = String::from_utf8_lossy(&said);
            assert!(
                said.contains("ended 7") && said.contains("beside") && !said.contains("shared"),
                "{said}"
            );
            if other != " > output" {
                assert!(said.contains("plain\\033[2J\\302ended") && !said.contains('\u{1b}'), "{said:?}");
            }
            build.assert_nothing_left("no mark");
        }
    }
}
