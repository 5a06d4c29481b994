//! The page of an analysis in a browser: nothing is asked for, nothing goes wrong, sorting and filtering work, texts of
//! strangers are text. Skipped where Chromium is not installed.

use std::fs;

pub(crate) use patchadm_testing::browser::{browser, shown};

use crate::scenario::Scenario;

/// A hostile text that would end the script, an attribute or a comment, reverse the text direction and ring the bell.
const HOSTILE: &str = "</script><script>document.title='taken'</script>\"'><img src=x onerror=\"document.title='taken'\">\
    <!-- \u{202e}gnp.exe \u{7} end";

/// A machine that lacks patches, one of them with a hostile synopsis; its page is `page.html`.
fn stage() -> Scenario {
    let stage = Scenario::new();
    let line = |id: &str, flags: &str, requires: &str, day: &str, synopsis: &str| {
        format!("{id}|01|{day}|{flags}|10|sparc;{requires}|ACMEa:1.0;|{synopsis}\n")
    };
    let xref = [
        "## PATCHDIAG TOOL CROSS-REFERENCE FILE AS OF Nov/19/26 ##\n".to_owned(),
        line("100001", "R| | |  ", "100003-01;", "Nov/10/26", "web server"),
        line("100002", " |S| |  ", "", "Nov/18/26", HOSTILE),
        line("100003", " | | |  ", "999999-01;", "Jan/02/26", "shell"),
        line("100004", " | | |  ", "", "Nov/01/26", "mail"),
    ];
    let machine = stage.beside("machine");
    fs::create_dir(&machine).unwrap();
    fs::write(stage.beside("patchdiag.xref"), xref.concat()).unwrap();
    fs::write(machine.join("uname.out"), "SunOS <b>web1</b> 5.10 Generic_1 sun4u sparc\n").unwrap();
    fs::write(machine.join("pkginfo.out"), "ACMEa A\n   (sparc) 1.0\n").unwrap();
    fs::write(machine.join("showrev.out"), "Patch: 100004-01 Obsoletes:\n").unwrap();
    let document = stage.run("missing --json --xref patchdiag.xref --from machine all").ok();
    fs::write(stage.beside("all.json"), document).unwrap();
    stage.run("report page all.json -o page.html").ok();
    stage
}

/// The bases of the rows that the table shows, in their order.
fn rows(document: &str) -> Vec<String> {
    let row = regex::Regex::new(
        r##"(?s)<tr data-kinds="[^"]*"( hidden="")?>\s*<th scope="row"><a href="#[^"]*">([^<]*)<"##,
    );
    let row = row.unwrap();
    let shown = row.captures_iter(document).filter(|found| found.get(1).is_none());
    shown.map(|found| found[2].to_owned()).collect()
}

#[test]
fn the_page_asks_for_nothing_and_shows_hostile_texts_as_text() {
    let Some(browser) = browser("the page asks for nothing") else { return };
    let stage = stage();
    let (document, console) = shown(browser, &stage, &stage.beside("page.html"), &[]);
    assert_eq!(console, "", "no error, and nothing that the policy refused");
    assert!(document.contains("<title>Patches of &lt;b&gt;web1&lt;/b&gt;</title>"), "{document}");
    assert!(document.contains("&lt;img src=x onerror=") && !document.contains("<img"));
    assert!(document.contains(r"\u{202e}gnp.exe \u{7} end") && !document.contains('\u{202e}'));
    assert_eq!(rows(&document), ["100003", "100001", "100002", "100004"]);
    assert!(document.contains("4 of 4 shown"), "the script ran");
    let head = "data-name=\"Patch\"><button type=\"button\">Patch</button>";
    for wanted in ["default-src 'none'", "aria-live=\"polite\"", head] {
        assert!(document.contains(wanted), "{wanted}");
    }
    let page = fs::read_to_string(stage.beside("page.html")).unwrap();
    let asks =
        regex::Regex::new(r#"(?i)<(link|img|iframe|object|embed|base)\b|\bsrc=|href="[^#]|url\(|@import"#)
            .unwrap();
    let text = page.replace("&lt;img src=x", "");
    assert!(asks.find(&text).is_none(), "{:?}", asks.find(&text));
}

#[test]
fn without_its_script_the_page_says_the_same() {
    let Some(browser) = browser("the page without its script") else { return };
    let stage = stage();
    let page = fs::read_to_string(stage.beside("page.html")).unwrap();
    let (before, script) = page.split_once("<script>").unwrap();
    let (_, after) = script.split_once("</script>").unwrap();
    fs::write(stage.beside("plain.html"), format!("{before}{after}")).unwrap();
    let (document, console) = shown(browser, &stage, &stage.beside("plain.html"), &[]);
    assert_eq!(console, "");
    assert_eq!(rows(&document), ["100003", "100001", "100002", "100004"]);
    assert!(
        !document.contains("shown</output>") && document.contains("hidden=\"\""),
        "what needs the script is not shown"
    );
    for wanted in ["<dt>Requires</dt>", "<dt>Required by</dt>", "<svg", "not in the list"] {
        assert!(document.contains(wanted), "{wanted}");
    }
}

/// The rows of the table after a script has taken some steps.
fn rows_after(browser: &str, stage: &Scenario, steps: &str) -> Vec<String> {
    let page = fs::read_to_string(stage.beside("page.html")).unwrap();
    // The content security policy allows no other script, so it is removed.
    let (before, rest) = page.split_once("<meta http-equiv").unwrap();
    let (_, after) = rest.split_once('>').unwrap();
    let played = format!("{before}{after}").replace("</body>", &format!("<script>{steps}</script></body>"));
    fs::write(stage.beside("played.html"), played).unwrap();
    let (document, console) = shown(browser, stage, &stage.beside("played.html"), &[]);
    assert_eq!(console, "", "{steps}");
    rows(&document)
}

#[test]
fn the_table_is_sorted() {
    let Some(browser) = browser("the table is sorted") else { return };
    let stage = stage();
    let sort = |column: usize, times: usize| {
        let click = format!("document.querySelectorAll('thead button')[{column}].click();");
        rows_after(browser, &stage, &click.repeat(times))
    };
    assert_eq!(sort(0, 1), ["100001", "100002", "100003", "100004"]);
    assert_eq!(sort(0, 2), ["100004", "100003", "100002", "100001"]);
    assert_eq!(sort(6, 1), ["100002", "100001", "100004", "100003"], "ages are numbers");
    assert_eq!(sort(2, 1)[3], "100001", "synopses are words");
}

#[test]
fn the_table_is_filtered_by_words_and_kinds() {
    let Some(browser) = browser("the table is filtered") else { return };
    let stage = stage();
    let search = |words: &str| {
        let steps = format!(
            "const i=document.querySelector('input');i.value='{words}';i.dispatchEvent(new Event('input'));"
        );
        rows_after(browser, &stage, &steps)
    };
    assert_eq!(search("WEB server"), ["100001"]);
    assert_eq!(search("100"), ["100003", "100001", "100002", "100004"]);
    assert!(search("nothing").is_empty());
    let choose = |kind: &str| {
        let steps = format!(
            "const s=document.querySelector('select');s.value='{kind}';s.dispatchEvent(new Event('change'));"
        );
        rows_after(browser, &stage, &steps)
    };
    assert_eq!(choose("missing"), ["100003", "100001", "100002"]);
    assert_eq!(choose("security"), ["100002"]);
    assert_eq!(choose("applied"), ["100004"]);
}

/// Writes the width of its window and of the page into the title.
const MEASURE: &str = "parent.document.title='narrow '+document.documentElement.clientWidth+' '\
    +document.documentElement.scrollWidth";

#[test]
fn nothing_leads_out_of_a_narrow_window() {
    let Some(browser) = browser("nothing leads out of a narrow window") else { return };
    let stage = stage();
    let page = fs::read_to_string(stage.beside("page.html")).unwrap();
    // The content security policy allows no other script.
    let (before, rest) = page.split_once("<meta http-equiv").unwrap();
    let (_, after) = rest.split_once('>').unwrap();
    let measured =
        format!("{before}{after}").replace("</body>", &format!("<script>{MEASURE}</script></body>"));
    fs::write(stage.beside("measured.html"), measured).unwrap();
    fs::write(stage.beside("frame.html"), "<iframe src=measured.html width=400 height=900></iframe>")
        .unwrap();
    let options = ["--allow-file-access-from-files", "--virtual-time-budget=3000"];
    let (document, _) = shown(browser, &stage, &stage.beside("frame.html"), &options);
    let title = regex::Regex::new("<title>narrow ([0-9]+) ([0-9]+)</title>").unwrap();
    let found = title.captures(&document).unwrap_or_else(|| panic!("{document}"));
    assert_eq!(found[1], found[2], "the page is as wide as its window");
}

#[test]
fn pictures_are_taken_at_both_widths() {
    let Some(browser) = browser("pictures of the page") else { return };
    let stage = stage();
    for width in [1280, 400] {
        let picture = stage.beside(&format!("{width}.png"));
        let (_, console) = shown(
            browser,
            &stage,
            &stage.beside("page.html"),
            &[&format!("--window-size={width},1000"), &format!("--screenshot={}", picture.display())],
        );
        assert_eq!(console, "");
        assert!(fs::metadata(&picture).unwrap().len() > 5_000, "{width}");
    }
}
