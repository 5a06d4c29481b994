//! The report of a run as text, mail and page: it is readable without scripts, and foreign text in it has no effect.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;

use mailparse::{MailAddr, MailHeaderMap as _};
use regex::Regex;
use serde_json::Value;

use super::BulkBuild;
use crate::page::{browser, shown};
use crate::scenario::is_root;

const INSTALL: &str = "mkdir -p $DESTDIR/opt; echo $PKGNAME > $DESTDIR/opt/${PKGNAME%-*}\n";

/// A text that tries to end the script and an attribute, to turn the direction, and to clear the screen.
const HOSTILE: &str =
    "</script><script>document.title='taken'</script>\"'><img src=x onerror=alert(1)>\u{202e}\u{1b}[2J";

/// A run with a package in every state that a tree alone can cause.
fn told(test: &str) -> Option<BulkBuild> {
    let settings = "slot=local 1\ncheck=none\nreport_to=team@example.org\nreport_subject=nightly\n";
    let build = BulkBuild::of_recipes(test, !is_root(), settings)?;
    build.recipe("good", &format!("MAINTAINER={HOSTILE}\n"), INSTALL);
    build.recipe("better", "", INSTALL);
    build.run("better").ends(0);
    let log = format!("echo \"===> phase: configure\"; cat $TREE/hostile; exit 3 # {HOSTILE}\n");
    build.write("hostile", format!("{HOSTILE}\nthe last line\n"));
    build.recipe("broken", &format!("MAINTAINER={HOSTILE}\n"), &log);
    build.recipe("waits", "ALL_DEPENDS=broken>=1:../broken\n", INSTALL);
    build.recipe("masked", &format!("PKG_SKIP_REASON={HOSTILE}\n"), INSTALL);
    build.recipe("behind", "ALL_DEPENDS=masked>=1:../masked\n", INSTALL);
    build.recipe("split", "MAINTAINER=a@example.org\r\nBcc: b@example.org\n", INSTALL);
    build.run("").ends(5);
    Some(build)
}

/// A file of the last run.
fn file(build: &BulkBuild, name: &str) -> String {
    fs::read_to_string(build.work().join("runs/2").join(name)).unwrap()
}

#[test]
fn the_page_has_each_package_with_state_reason_and_log_and_hostile_words_are_text() {
    let Some(build) = told("the_page_has…") else { return };
    let page = file(&build, "report.html");
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (1, 1));
    assert!(!page.contains("<img") && !page.contains('\u{1b}') && !page.contains('\u{202e}'));
    assert!(page.contains(r"&lt;img src=x onerror=alert(1)&gt;\u{202e}\u{1b}[2J"), "{page}");
    let asks = Regex::new(r"(?i)<(link|img|iframe|object|embed|base)\b|\bsrc=|url\(|@import").unwrap();
    let found = asks.find_iter(&page).find(|found| !page[..found.start()].ends_with("&lt;img "));
    assert!(found.is_none(), "{found:?}");
    let links = Regex::new(r#"href="([^"]*)""#).unwrap();
    for link in
        links.captures_iter(&page).map(|found| found[1].to_owned()).filter(|link| !link.starts_with('#'))
    {
        let path = link.strip_prefix("./").unwrap_or_else(|| panic!("{link} leads elsewhere"));
        assert!(build.work().join("runs/2").join(path).is_file(), "{link} leads nowhere");
    }

    // A table with a row for each package, without any script.
    let row = Regex::new(r#"<tr data-kinds="([a-z-]+)"><th scope="row">([^<]*)</th>"#).unwrap();
    let rows: Vec<String> =
        row.captures_iter(&page).map(|found| format!("{} {}", &found[2], &found[1])).collect();
    let expected = [
        "behind-1.0 indirect-prefailed",
        "better-1.0 up-to-date",
        "broken-1.0 failed",
        "good-1.0 done",
        "masked-1.0 prefailed",
        "split-0 prefailed",
        "waits-1.0 indirect-failed",
    ];
    assert_eq!(rows, expected);
    for words in [
        "<title>nightly: run 2</title>",
        "Most harmful failures",
        "exit, in phase configure, exit 3",
        "needs broken-1.0",
        "the last line",
        "Packages that others wait for",
        "href=\"./logs/broken-1.0.log\"",
        "<dt>Failed</dt><dd>1</dd>",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }

    for name in ["report.txt", "report.eml"] {
        let text = file(&build, name);
        assert!(
            !text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\r'),
            "{name}: {text}"
        );
        assert!(text.contains("the last line"), "{name}: {text}");
    }
    let mail = file(&build, "report.eml");
    let headers = mail.split("\n\n").next().unwrap();
    assert!(
        headers.contains("Subject: nightly: 2 ok, 1 failed, 1 waiting\n") && !headers.contains("Bcc"),
        "{mail}"
    );
}

/// Accepts mail like sendmail(8): headers in ASCII up to an empty line, at least these, and no line that is too long.
const SENDMAIL: &str = r#"#!/bin/sh
[ "$*" = -t ] || exit 64
exec awk '
    BEGIN { is_header = 1 }
    length($0) > 998 { exit 65 }
    is_header && /[^ -~]/ { exit 66 }
    is_header && /^$/ { is_header = 0 }
    is_header && /^(From|To|Subject|Date|MIME-Version|Content-Type): ./ { headers++ }
    { print > "@GOT@" }
    END { if (headers != 6 || is_header) exit 67 }'
"#;

#[test]
fn the_mail_is_taken_by_sendmail_and_read_by_a_parser_of_mail() {
    let Some(build) = BulkBuild::of_recipes("the_mail_is_taken…", !is_root(), "check=none\n") else {
        return;
    };
    let (sendmail, got) = (build.work().join("sendmail"), build.work().join("got"));
    fs::write(&sendmail, SENDMAIL.replace("@GOT@", got.to_str().unwrap())).unwrap();
    fs::set_permissions(&sendmail, fs::Permissions::from_mode(0o755)).unwrap();
    build.set(&format!(
        "report_from=bulk@example.org\nreport_to=a@example.org b@example.org\n\
         report_subject=n\u{e4}chtlich\nreport_command={} -t\n",
        sendmail.display()
    ));
    let maintainer = format!("J\u{f6}rg {} <c@example.org>", "x".repeat(1500));
    build.recipe("broken", &format!("MAINTAINER={maintainer}\n"), "echo line; exit 3\n");
    build.recipe("good", "", INSTALL);
    build.run("").ends(5);

    let bytes = fs::read(&got).unwrap();
    let of_run = |name: &str| fs::read_to_string(build.work().join("runs/1").join(name)).unwrap();
    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), of_run("report.eml"));
    let mail = mailparse::parse_mail(&bytes).unwrap();
    let header = |name: &str| mail.headers.get_first_value(name).unwrap();
    assert_eq!(header("Subject"), "n\u{e4}chtlich: 1 ok, 1 failed, 0 waiting");
    assert_eq!(mail.ctype.mimetype, "text/plain");
    // Mail has other line ends.
    assert_eq!(mail.get_body().unwrap().replace("\r\n", "\n"), of_run("report.txt"));
    let receivers = mailparse::addrparse_header(mail.headers.get_first_header("To").unwrap()).unwrap();
    let addresses: Vec<&str> = receivers.iter().flat_map(addresses_of).collect();
    assert_eq!(addresses, ["a@example.org", "b@example.org"]);
    assert!(mailparse::dateparse(&header("Date")).is_ok());
}

#[test]
fn a_run_that_is_cut_off_while_its_report_is_handed_on_hands_it_on_when_it_is_continued() {
    let Some(build) = BulkBuild::of_recipes("a_run_that_is_cut_off…", !is_root(), "check=none\n") else {
        return;
    };
    let got = build.work().join("got");
    let once = build.work().join("once");
    // The first call kills its caller.
    let script = format!(
        "if mkdir {} 2>/dev/null; then kill -KILL $PPID; exit 1; fi; cat > {}",
        once.display(),
        got.display()
    );
    build.set(&format!("report_to=a@example.org\nreport_command=sh -c '{script}'\n"));
    build.recipe("good", "", INSTALL);
    let killed = build.running("").output().unwrap();
    assert_eq!(killed.status.signal(), Some(9));
    assert!(once.exists() && !got.exists());

    let run = build.run("").ends(0);
    assert_eq!((&run.report["run"], &run.report["continued"]), (&1.into(), &true.into()));
    let mail = fs::read_to_string(build.work().join("runs/1/report.eml")).unwrap();
    assert_eq!(fs::read_to_string(&got).unwrap(), mail);
    assert_eq!(build.started(1), ["good-1.0"], "it was not built again");
}

/// The addresses that an item of a header names.
fn addresses_of(item: &MailAddr) -> Vec<&str> {
    match item {
        MailAddr::Single(one) => vec![&one.addr],
        MailAddr::Group(group) => group.addrs.iter().map(|one| one.addr.as_str()).collect(),
    }
}

#[test]
fn a_report_is_written_anew_beside_its_run_or_elsewhere() {
    let Some(build) = told("a_report_is_written…") else { return };
    let names = ["report.txt", "report.html", "report.eml"];
    let before = names.map(|name| file(&build, name));
    for name in names {
        fs::remove_file(build.work().join("runs/2").join(name)).unwrap();
    }
    let written: Value = serde_json::from_str(&build.action("report @WORK@ --json").ok()).unwrap();
    assert_eq!(written["run"], 2);
    assert_eq!(names.map(|name| file(&build, name)), before, "the same, byte for byte");

    let elsewhere = build.work().with_file_name("copy");
    let line = format!("report @WORK@ 2 -o {}", elsewhere.display());
    build.action(&line).ok();
    let copied = |name: &str| fs::read_to_string(elsewhere.join(name)).unwrap();
    assert_eq!(copied("report.txt"), before[0]);
    // The logs are not beside it, and no URL for them is configured.
    assert!(!copied("report.html").contains("./logs/") && !copied("report.html").contains("href=\"./"));
    build.set("report_url=https://example.org/bulk/2/\n");
    build.action(&line).ok();
    assert!(copied("report.html").contains("href=\"https://example.org/bulk/2/logs/broken-1.0.log\""));

    build.action("report @WORK@ 7").fails(4);
    fs::write(build.work().join("runs/2/report.json"), "{").unwrap();
    build.action("report @WORK@").fails(1);
}

#[test]
fn a_browser_shows_the_page_without_a_word_of_complaint() {
    let Some(browser) = browser("the page of a bulk build") else { return };
    let Some(build) = told("a_browser_shows…") else { return };
    // The browser keeps its files in the directory of the test.
    let page = build.work().join("runs/2/report.html");
    let (document, console) = shown(browser, &build.scenario, &page, &[]);
    assert_eq!(console, "", "no error, and nothing that the policy refused");
    assert!(document.contains("<title>nightly: run 2</title>") && document.contains("7 of 7 shown"));
}

/// Directory with the expected reports of a run with every state.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bulk/report");

/// A page without its style, its script, and their digests, which have tests of their own.
fn without_style(page: &str) -> String {
    let parts = ["(?s)<style>.*?</style>", "(?s)<script>.*?</script>", "sha256-[A-Za-z0-9+/=]+"];
    parts
        .iter()
        .fold(page.to_owned(), |page, part| Regex::new(part).unwrap().replace_all(&page, "").into_owned())
}

#[test]
fn a_run_with_every_state_is_told_word_for_word() {
    let Some(build) = BulkBuild::of_recipes("a_run_with_every_state…", !is_root(), "") else { return };
    build.set("report_from=bulk@example.org\nreport_to=team@example.org\nreport_subject=nightly\n");
    let golden = |name: &str| fs::read(format!("{GOLDEN}/{name}")).unwrap_or_default();
    let runs = build.work().join("runs");
    for run in ["1", "2"] {
        fs::create_dir_all(runs.join(run).join("logs")).unwrap();
        fs::write(runs.join(run).join("report.json"), golden(&format!("{run}.json"))).unwrap();
    }
    fs::write(runs.join("2/logs/broken-1.0.log"), format!("configure\n{HOSTILE}\nthe last line")).unwrap();
    build.action("report @WORK@").ok();
    for name in ["report.txt", "report.eml", "report.html"] {
        let written = file(&build, name);
        let written = if name == "report.html" { without_style(&written) } else { written };
        if std::env::var_os("PATCHADM_WRITE_REPORTS").is_some() {
            fs::write(format!("{GOLDEN}/{name}"), &written).unwrap();
        }
        assert_eq!(written, String::from_utf8(golden(name)).unwrap(), "{name}");
        assert!(!written.contains(['\u{1b}', '\u{202e}', '\r']), "{name}");
        assert!(name != "report.html" || !written.contains("<img"));
    }
    let longest = file(&build, "report.eml").lines().map(str::len).max().unwrap();
    assert!(longest <= 998, "{longest} bytes in a line");
}
