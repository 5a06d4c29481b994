//! The page of a report, and those of `list`, `history` and `plan`, in a browser: what hostile hosts wrote stays text, nothing is
//! asked for, and everything is there without the script. Skipped where Chromium is not installed.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use patchadm_testing::browser::{browser, shown};

use crate::delivery::Patch;
use crate::inventories::{Inventory, four_hosts};
use crate::packages::Package;
use crate::scenario::Scenario;

/// The address of a listener for requests that no page may make. `PORT` stands for the port.
const ADDRESS: &str = "http://127.0.0.1:PORT";

/// A hostile text. It tries to end the script, the style, an attribute and a table, to request something, and to turn
/// the direction.
const HOSTILE: &str = "</script></style></table><script>document.title='taken'</script>\"'><img id=made src=http://127.0.0.1:PORT/a \
    onerror=\"document.title='taken'\"><b id=made>\u{202e}gnp.exe\u{7}\u{1b}[2J\n";

/// Writes hosts whose every text is hostile, and an earlier report of the same kind; `page.html` is about them.
fn hostile(stage: &Scenario, port: u16) {
    let text = HOSTILE.replace("PORT", &port.to_string());
    let text = text.as_str();
    let lost = json!([{"id": text, "outcome": "lost", "manager": text, "name": text, "version": text, "fixed_in": text, "time": null}]);
    let undo = json!([{"package": text, "state": "damaged", "bytes": 1, "path": text}]);
    let signature =
        json!({"state": "bad", "key": text, "name": text, "time": text, "form": text, "policy": text});
    let trial = json!({"run": text, "until": text, "over": true, "stuck": text, "patches": [text]});
    for (file, patch) in [("a.json", "100-01"), ("b.json", "100-02")] {
        let list = Inventory::of(&format!("{text}{file}")).with(patch);
        let list = list.patch_field("synopsis", json!(text)).patch_field("undo", undo.clone());
        let list = list.patch_field("trial", trial.clone()).patch_field("signature", signature.clone());
        let list = list.patch_field("packages", json!([text, "ACMEweb"]));
        let list = list
            .patch_field("removable", json!({"now": false, "code": 1, "blocked_by": [text], "reason": text}));
        let list =
            list.field("lost", lost.clone()).field("unfinished", json!(text)).field("version", json!(text));
        let stale = json!([{"package": text, "reason": text}]);
        list.field("root", json!(text)).field("stale", stale).write(stage, &format!("lists/{file}"));
    }
    let failed = json!({"schema": "patchadm/1", "command": "list", "error": text});
    fs::write(stage.beside("lists/failed.json"), failed.to_string()).unwrap();
    let past = json!({"schema": "patchadm/1", "command": "report", "at": text, "compared_with": {"name": text},
        "hosts": [{"host": text, "patches": [text], "lacks": [text], "findings": [{"kind": text, "about": text}]}]});
    fs::write(stage.beside("last.json"), past.to_string()).unwrap();
    assert_eq!(stage.run("report --html page.html --since last.json lists").code, 5);
}

/// Returns the page of four hosts that differ.
fn page(stage: &Scenario) -> PathBuf {
    four_hosts(stage);
    fs::write(stage.beside("last.json"), stage.run("report --json lists").ok()).unwrap();
    Inventory::of("web1").with("100-02").field("unfinished", json!("7-0a")).write(stage, "lists/web1.json");
    stage.run("report --html page.html --since last.json --compare web1 db1 lists").ok();
    stage.beside("page.html")
}

#[test]
fn hostile_hosts_make_no_element_and_no_request_leaves_the_page() {
    let Some(browser) = browser("hostile hosts make no element") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let stage = Scenario::new();
    hostile(&stage, port);
    let (document, console) = shown(browser, &stage, &stage.beside("page.html"), &[]);
    assert_eq!(console, "", "no error, and nothing that the policy refused");
    let elements = regex::Regex::new("<([a-z0-9]+)[ >]").unwrap();
    let known = [
        "a", "bdi", "body", "button", "caption", "dd", "details", "div", "dl", "dt", "form", "h1", "h2",
        "head", "header", "html", "input", "label", "li", "main", "meta", "nav", "option", "output", "p",
        "script", "section", "select", "style", "summary", "table", "tbody", "td", "th", "thead", "time",
        "title", "tr", "ul",
    ];
    // The script contains no elements.
    let (before, script) = document.split_once("<script>").unwrap();
    let (_, after) = script.split_once("</script>").unwrap();
    for found in elements.captures_iter(before).chain(elements.captures_iter(after)) {
        assert!(known.contains(&&found[1]), "a name made the element {}", &found[0]);
    }
    assert!(!document.contains("id=\"made\"") && !document.contains("<title>taken"));
    assert!(
        !document.contains(['\u{202e}', '\u{7}', '\u{1b}'])
            && document.contains(r"\u{202e}gnp.exe\u{7}\u{1b}[2J")
    );
    assert!(document.contains("&lt;img id=made src="));
    let request = listener.accept().map(|(mut stream, _)| {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    });
    assert!(request.is_err(), "{ADDRESS} was asked: {request:?}");
}

#[test]
fn the_page_says_the_same_without_its_script() {
    let Some(browser) = browser("the page of a report without its script") else { return };
    let stage = Scenario::new();
    let page = fs::read_to_string(page(&stage)).unwrap();
    let (before, script) = page.split_once("<script>").unwrap();
    let (_, after) = script.split_once("</script>").unwrap();
    fs::write(stage.beside("plain.html"), format!("{before}{after}")).unwrap();
    let text = |path: &str| {
        let (document, console) = shown(browser, &stage, &stage.beside(path), &[]);
        assert_eq!(console, "", "{path}");
        let (_, main) = document.split_once("<main").unwrap();
        let (main, _) = main.split_once("</main>").unwrap();
        let forms = regex::Regex::new("(?s)<form.*?</form>").unwrap().replace_all(main, "").into_owned();
        regex::Regex::new("<[^>]*>").unwrap().replace_all(&forms, "").into_owned()
    };
    let with = text("page.html");
    assert_eq!(with, text("plain.html"));
    for wanted in ["web1", "100-02", "200-01", "unfinished run", "missing", "Changed since", "ACMEweb"] {
        assert!(with.contains(wanted), "{wanted}");
    }
}

/// Runs steps in a page without its policy, which allows no script but its own. Returns the title that they leave.
fn played(browser: &str, stage: &Scenario, page: &str, steps: &str) -> String {
    let (before, rest) = page.split_once("<meta http-equiv").unwrap();
    let (_, after) = rest.split_once('>').unwrap();
    let text = format!("{before}{after}").replace("</body>", &format!("<script>{steps}</script></body>"));
    fs::write(stage.beside("played.html"), text).unwrap();
    let (document, console) = shown(browser, stage, &stage.beside("played.html"), &[]);
    assert_eq!(console, "", "{steps}");
    let (_, title) = document.split_once("<title>").unwrap();
    title.split_once("</title>").unwrap().0.to_owned()
}

#[test]
fn tables_are_sorted_and_filtered_and_lists_open_by_the_keyboard() {
    let Some(browser) = browser("tables of a report are sorted") else { return };
    let stage = Scenario::new();
    let page = fs::read_to_string(page(&stage)).unwrap();
    let table = "const t=[...document.querySelectorAll('section')].find(s=>s.textContent.startsWith('Hosts')&&\
        !s.textContent.startsWith('Hosts and')&&!s.textContent.startsWith('Hosts with'));\
        const names=()=>[...t.querySelectorAll('tbody tr')].filter(r=>!r.hidden).map(r=>r.cells[0].textContent).join(' ');";
    let play =
        |steps: &str| played(browser, &stage, &page, &format!("{table}{steps}document.title=names();"));
    assert_eq!(play(""), "db1 old web1 web2");
    assert_eq!(play("t.querySelectorAll('thead button')[1].click();"), "db1 old web1 web2");
    let twice = "const b=t.querySelectorAll('thead button')[1];b.click();b.click();";
    assert!(play(twice).starts_with("web1 web2") || play(twice).starts_with("web2 web1"));
    assert_eq!(
        play("const s=t.querySelector('select');s.value='attention';s.dispatchEvent(new Event('change'));"),
        "web1"
    );
    assert_eq!(
        play("const i=t.querySelector('input');i.value='200-01';i.dispatchEvent(new Event('input'));"),
        "web1 web2",
        "a search finds what closed lists name"
    );
    let opened = "const s=t.querySelector('summary');s.focus();\
        document.title=[document.activeElement===s,s.parentElement.open].join();s.click();\
        document.title+=' '+s.parentElement.open+' '+s.parentElement.innerText.includes('-0');";
    assert_eq!(played(browser, &stage, &page, &format!("{table}{opened}")), "true,false true true");
}

/// Finds barriers for people with disabilities, by those rules of accessibility checkers that matter here.
const ACCESS: &str = "const bad=[];const all=q=>[...document.querySelectorAll(q)];\
    const name=e=>(e.getAttribute('aria-label')||e.textContent||'').trim();\
    if(!document.documentElement.lang)bad.push('lang');\
    for(const q of ['main','h1','header'])if(all(q).length!==1)bad.push(q);\
    let level=0;for(const h of all('h1,h2,h3')){const n=+h.tagName[1];if(n>level+1)bad.push('heading '+name(h));level=n;\
    if(!name(h))bad.push('empty heading');}\
    for(const e of all('input,select'))if(!e.closest('label')||!name(e.closest('label')))bad.push('label');\
    for(const e of all('button,a,summary'))if(!name(e))bad.push('name of '+e.tagName);\
    for(const e of all('table')){if(!e.caption||!name(e.caption))bad.push('caption');\
    for(const h of e.querySelectorAll('th'))if(!h.scope)bad.push('scope');}\
    for(const e of all('[role=region]'))if(e.tabIndex!==0||!name(e))bad.push('region');\
    const ids=all('[id]').map(e=>e.id);if(new Set(ids).size!==ids.length)bad.push('id twice');\
    for(const e of all('a[href^=\"#\"]'))if(!document.getElementById(e.getAttribute('href').slice(1)))bad.push('link '+e.href);\
    const rgb=c=>c.match(/[0-9.]+/g).map(Number);const lin=v=>{v/=255;return v<=.04045?v/12.92:((v+.055)/1.055)**2.4};\
    const lum=c=>{const [r,g,b]=rgb(c).map(lin);return .2126*r+.7152*g+.0722*b};\
    const ground=e=>{for(;e;e=e.parentElement){const c=rgb(getComputedStyle(e).backgroundColor);if(c[3]!==0)return \
    getComputedStyle(e).backgroundColor}return 'rgb(255,255,255)'};\
    for(const e of all('body *')){if(![...e.childNodes].some(n=>n.nodeType===3&&n.data.trim()))continue;\
    if(e.closest('script,[hidden],.skip'))continue;\
    const [a,b]=[lum(getComputedStyle(e).color),lum(ground(e))].sort((x,y)=>y-x);\
    if((a+.05)/(b+.05)<4.5)bad.push('contrast of '+e.tagName+' '+name(e).slice(0,20));}\
    document.title='found '+(bad.length?[...new Set(bad)].join('; '):'nothing');";

#[test]
fn people_with_other_senses_find_everything_on_every_page() {
    let Some(browser) = browser("people with other senses") else { return };
    let stage = stage_of_one();
    page(&stage);
    pages_of_one(&stage);
    for name in ["page", "list", "history", "run", "plan"] {
        let page = fs::read_to_string(stage.beside(&format!("{name}.html"))).unwrap();
        for scheme in ["light", "dark"] {
            let dark = page.replace("prefers-color-scheme:dark", "width>0px");
            let page = if scheme == "dark" { &dark } else { &page };
            assert_eq!(played(browser, &stage, page, ACCESS), "found nothing", "{name}, {scheme}");
        }
    }
}

/// Returns a root with one package.
fn stage_of_one() -> Scenario {
    Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")])
}

/// Writes the pages of one host: `list.html`, `history.html`, `run.html` and `plan.html`.
fn pages_of_one(stage: &Scenario) {
    let patch = |id: &str| {
        let patch = Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, id));
        patch.beside(&format!("README.{id}"), "Synopsis: <b>web</b> \u{202e}server\n")
    };
    stage.patchadd("", &patch("100-01")).ok();
    stage.patchadd("", &patch("100-02")).ok();
    patch("100-03").directory(stage);
    for (name, line) in [
        ("list", "list --json -R @ROOT@"),
        ("history", "history --json -R @ROOT@"),
        ("run", "history --json -R @ROOT@ 2"),
        ("plan", "plan --json -R @ROOT@ delivered/100-03"),
    ] {
        fs::write(stage.beside(&format!("{name}.json")), stage.run(line).ok()).unwrap();
        stage.run(&format!("report page {name}.json -o {name}.html")).ok();
    }
}

#[test]
fn one_host_has_pages_of_its_list_its_history_and_a_plan() {
    let stage = stage_of_one();
    pages_of_one(&stage);
    for (name, wanted) in [
        ("list", ["100-01", "superseded by 100-02", "&lt;b&gt;web&lt;/b&gt; \\u{202e}server"]),
        ("history", ["patchadd", "100-02", "<summary>1</summary>"]),
        ("run", ["Run 2-", "100-01", "ACMEweb"]),
        ("plan", ["100-03", "/opt/ACMEweb/bin/httpd", "replace"]),
    ] {
        let page = fs::read_to_string(stage.beside(&format!("{name}.html"))).unwrap();
        for wanted in wanted {
            assert!(page.contains(wanted), "{name}: {wanted}\n{page}");
        }
        assert!(page.contains("default-src 'none'") && !page.contains("<b>") && !page.contains('\u{202e}'));
    }
    let said = stage.run("list -R @ROOT@ --html x.html").fails(2);
    assert!(said.contains("hint: use `--json`, and then `patchadm report page`"), "{said}");
    let said = stage.run("report page list.json -o nowhere/x.html").fails(1);
    assert!(said.contains("the page nowhere/x.html was not written"), "{said}");
    let page = fs::read_to_string(stage.beside("list.html")).unwrap();
    assert_eq!(stage.run("report page list.json").ok(), page, "without -o it is printed");
    for (document, said) in [
        ("nowhere.json", "No such file or directory"),
        ("list.html", "not JSON"),
        ("show.json", "a document of `show`"),
    ] {
        fs::write(stage.beside("show.json"), r#"{"schema": "patchadm/1", "command": "show"}"#).unwrap();
        let refused = stage.run(&format!("report page {document}"));
        assert!(refused.code != 0 && refused.stderr.contains(said), "{document}: {}", refused.stderr);
    }
}

#[test]
fn pages_name_hosts_and_show_moments_in_universal_time() {
    let mut stage = Scenario::new();
    stage.set("TZ", "Asia/Kolkata");
    let lists = |at: &str| {
        for machine in ["web1", "db1"] {
            Inventory::of(machine)
                .with("100-01")
                .field("at", json!(at))
                .write(&stage, &format!("lists/{machine}.json"));
        }
    };
    lists("2026-11-19T07:00:00Z");
    fs::write(stage.beside("last.json"), stage.run("report --json lists").ok()).unwrap();
    lists("2026-11-20T12:30:45+05:30");
    stage.run("report --html page.html --since last.json lists").ok();
    let page = fs::read_to_string(stage.beside("page.html")).unwrap();
    let listed = "<time datetime=\"2026-11-20T07:00:45Z\">2026-11-20 07:00 UTC</time>";
    assert_eq!(page.matches(listed).count(), 2, "{page}");
    assert!(page.contains("Changed since <time datetime=\""), "{page}");
    for host in ["web1", "db1"] {
        assert!(page.contains(&format!("<th scope=\"row\">{host}</th>")), "{host}: {page}");
    }

    let page = stage.run("report page lists/web1.json").ok();
    let applied = "<time datetime=\"2026-11-19T07:00:00Z\">2026-11-19 07:00 UTC</time>";
    assert!(page.contains(listed) && page.contains(applied), "{page}");
    assert!(page.contains("<h1>Patches of web1</h1>"), "{page}");
    let missing = json!({"schema": "patchadm/1", "command": "missing", "root": "/srv/web1", "host": "web1"});
    fs::write(stage.beside("missing.json"), missing.to_string()).unwrap();
    let page = stage.run("report page missing.json").ok();
    assert!(page.contains("<h1>Patches of web1</h1>") && !page.contains("/srv/web1"), "{page}");
}

#[test]
fn a_document_about_several_roots_is_one_page() {
    let stage = stage_of_one();
    stage.patchadd("", &Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))).ok();
    let list = stage.run("list --json --roots @ROOT@").ok();
    fs::write(stage.beside("list.json"), list).unwrap();
    let page = stage.run("report page list.json").ok();
    assert!(page.contains(": Patches</h2>") && page.contains("100-01"), "{page}");
}

/// Writes the widths of the window and of the page into the title of the surrounding frame.
const MEASURE: &str = "for(const d of document.querySelectorAll('details'))d.open=true;\
    parent.document.title='narrow '+document.documentElement.clientWidth+' '+document.documentElement.scrollWidth";

#[test]
fn nothing_leads_out_of_a_narrow_window_with_all_lists_open() {
    let Some(browser) = browser("the page of a report in a narrow window") else { return };
    let stage = stage_of_one();
    page(&stage);
    pages_of_one(&stage);
    let title = regex::Regex::new("<title>narrow ([0-9]+) ([0-9]+)</title>").unwrap();
    for name in ["page", "list", "history", "run", "plan"] {
        let page = fs::read_to_string(stage.beside(&format!("{name}.html"))).unwrap();
        let (before, rest) = page.split_once("<meta http-equiv").unwrap();
        let (_, after) = rest.split_once('>').unwrap();
        let text =
            format!("{before}{after}").replace("</body>", &format!("<script>{MEASURE}</script></body>"));
        fs::write(stage.beside("measured.html"), text).unwrap();
        fs::write(stage.beside("frame.html"), "<iframe src=measured.html width=400 height=900></iframe>")
            .unwrap();
        let options = ["--allow-file-access-from-files", "--virtual-time-budget=3000"];
        let (document, _) = shown(browser, &stage, &stage.beside("frame.html"), &options);
        let found = title.captures(&document).unwrap_or_else(|| panic!("{document}"));
        assert_eq!(found[1], found[2], "{name} is as wide as its window");
    }
}

#[test]
fn pictures_are_taken_and_the_page_is_printed() {
    let Some(browser) = browser("pictures of the page of a report") else { return };
    let stage = Scenario::new();
    let page = page(&stage);
    for width in [1400, 400] {
        let picture = stage.beside(&format!("{width}.png"));
        let options = [format!("--window-size={width},2000"), format!("--screenshot={}", picture.display())];
        let (_, console) = shown(browser, &stage, &page, &[&options[0], &options[1]]);
        assert_eq!(console, "");
        assert!(fs::metadata(&picture).unwrap().len() > 10_000, "{width}");
    }
    let printed = stage.beside("page.pdf");
    let option = format!("--print-to-pdf={}", printed.display());
    let (_, console) = shown(browser, &stage, &page, &[&option]);
    assert_eq!(console, "");
    assert!(fs::read(&printed).unwrap().starts_with(b"%PDF"));
}

#[test]
fn on_paper_tables_have_their_head_on_each_page_and_short_lists_are_open() {
    let test = "on_paper_tables_have_their_head_on_each_page_and_short_lists_are_open";
    let Some(browser) = browser(test) else { return };
    let stage = Scenario::new();
    for number in 0..90 {
        let name = format!("web{number:02}");
        let revision = if number < 80 { "100-02" } else { "100-01" };
        Inventory::of(&name).with(revision).write(&stage, &format!("lists/{name}.json"));
    }
    stage.run("report --html page.html lists").ok();
    let printed = stage.beside("page.pdf");
    let option = format!("--print-to-pdf={}", printed.display());
    shown(browser, &stage, &stage.beside("page.html"), &[&option]);
    let Ok(read) =
        Command::new("pdftotext").args(["-layout", "page.pdf", "-"]).current_dir(stage.beside("")).output()
    else {
        return crate::missing("pdftotext", test);
    };
    let text = String::from_utf8(read.stdout).unwrap();
    let listed = text.split_whitespace().filter(|word| word.starts_with("web8") && word.ends_with(','));
    assert!(listed.count() >= 9, "those who lack 100-02 are named: {text}");
    let of_hosts: Vec<&str> = text.split('\u{c}').filter(|page| page.matches("web").count() > 10).collect();
    assert!(of_hosts.len() > 1, "{text}");
    for page in of_hosts {
        assert!(page.lines().any(|line| line.contains("Missing") && line.contains("Inventory")), "{page}");
    }
}
