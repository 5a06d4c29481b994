//! The manual pages say what the program does: every command has one, the options of page and program are the same,
//! and so are the exit codes that `patchadm explain` knows. Their form is checked where mandoc is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::links::{classic_commands, verbs};
use crate::scenario::Scenario;

/// Pages of other systems or of this one that ours may refer to.
const ELSEWHERE: [&str; 16] = [
    "compress 1",
    "cpio 1",
    "debsums 1",
    "dpkg-deb 1",
    "dpkg-divert 1",
    "dpkg-maintscript-helper 1",
    "gzip 1",
    "newuidmap 1",
    "subuid 5",
    "user_namespaces 7",
    "sum 1",
    "passwd 5",
    "group 5",
    "cpio 5",
    "fcntl 2",
    "memfd_create 2",
];

#[test]
fn every_command_has_a_page() {
    let pages: BTreeSet<String> = pages().into_iter().map(|page| page.name).collect();
    for command in commands().classic {
        assert!(pages.contains(&command), "man/ has no page for {command}");
    }
    let patchadm = Page::called("patchadm");
    for verb in commands().verbs {
        let sections = patchadm.sections_about(&verb);
        assert!(sections.iter().any(|section| section.title == format!("The verb {verb}")), "{verb}");
    }
}

#[test]
fn a_classic_command_has_the_options_of_its_page() {
    for command in commands().classic {
        let page = Page::called(&command);
        assert_eq!(page.options(), options_of_program(&command), "{command}");
    }
}

#[test]
fn a_verb_has_the_options_of_the_sections_about_it() {
    let page = Page::called("patchadm");
    for verb in commands().verbs {
        let sections = page.sections_about(&verb);
        let documented: BTreeSet<String> =
            sections.iter().flat_map(|section| options(&section.text)).collect();
        assert_eq!(documented, options_of_program(&verb), "{verb}");
    }
}

/// The actions of `patchadm stage`, each with a section of its own.
const ACTIONS_OF_STAGE: [&str; 6] = ["new", "enter", "list", "status", "refresh", "drop"];

#[test]
fn an_action_of_stage_has_the_options_of_its_section() {
    let common: BTreeSet<String> = Page::called("patchadm")
        .sections_about("stage")
        .iter()
        .flat_map(|section| options(&section.text))
        .collect();
    let page = Page::called("patchadm-stage");
    for action in ACTIONS_OF_STAGE {
        let sections = page.sections_about(action);
        let mut documented: BTreeSet<String> = sections
            .iter()
            .flat_map(|section| options(&section.text))
            .chain(common.iter().cloned())
            .collect();
        if action == "enter" {
            // Its output is that of the command.
            documented.remove("--json");
        }
        assert_eq!(documented, options_of_program(&format!("stage {action}")), "{action}");
    }
}

/// The actions of `patchadm bulk`, as its usage line names them.
fn actions_of_bulk() -> Vec<String> {
    let help = Scenario::new().run("bulk --help").ok();
    let (_, usage) = help.split_once("Usage: patchadm-bulk").unwrap();
    let actions = usage.split_whitespace().next().unwrap().split('|').map(str::to_owned);
    actions.collect()
}

#[test]
fn an_action_of_bulk_has_a_section_with_its_options() {
    let common: BTreeSet<String> = Page::called("patchadm")
        .sections_about("bulk")
        .iter()
        .flat_map(|section| options(&section.text))
        .collect();
    let page = Page::called("patchadm-bulk");
    let actions = actions_of_bulk();
    assert!(actions.len() > 5, "{actions:?}");
    for action in actions {
        let title = format!("The action {action}");
        let sections = page.sections_about(&action);
        let section = sections.iter().find(|section| section.title == title);
        let documented = options(&section.unwrap_or_else(|| panic!("{title}")).text);
        let documented: BTreeSet<String> = documented.into_iter().chain(common.iter().cloned()).collect();
        let documented = if action == "enter" {
            // Its output is that of the command.
            documented.into_iter().filter(|option| option != "--json").collect()
        } else {
            documented
        };
        assert_eq!(documented, options_of_program(&format!("bulk {action}")), "{action}");
    }
}

#[test]
fn the_exit_codes_of_the_pages_are_those_that_explain_knows() {
    let known = explained();
    for command in ["patchadd", "patchrm", "pkgadd", "pkgrm", "installf", "removef"] {
        let page = Page::called(command);
        let documented: BTreeSet<u8> =
            page.items("EXIT STATUS").iter().filter_map(|item| item.parse().ok()).collect();
        let known: BTreeSet<u8> = known
            .iter()
            .filter(|(_, who)| who.iter().any(|who| is_about(who, command)))
            .map(|(code, _)| *code)
            .collect();
        assert_eq!(documented, known, "{command}");
        let by_signal = if command.starts_with("pkg") { "3" } else { "128+N" };
        assert!(page.items("EXIT STATUS").iter().any(|item| item == by_signal));
    }
}

#[test]
fn a_page_refers_only_to_pages_that_are_there() {
    let there: BTreeSet<String> =
        pages().iter().map(|page| format!("{} {}", page.name, page.section_of_manual())).collect();
    for page in pages() {
        for reference in page.references() {
            let known = there.contains(&reference) || ELSEWHERE.contains(&reference.as_str());
            assert!(known, "{} refers to {reference}", page.path.display());
        }
    }
}

#[test]
fn the_sources_refer_only_to_pages_that_are_there() {
    let there: BTreeSet<String> = pages().iter().map(|page| page.name.clone()).collect();
    let mut met = BTreeSet::new();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    for text in ["src", "crates", "programs"].iter().flat_map(|part| sources(&checkout.join(part))) {
        for (before, _) in text.match_indices('(').map(|(at, _)| text.split_at(at)) {
            let after = &text[before.len()..];
            if !["(5)", "(7)", "(8)"].iter().any(|section| after.starts_with(section)) {
                continue;
            }
            let name = before.rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').next();
            let name = name.unwrap_or_default();
            if name.starts_with("patch") || name.starts_with("pkg") {
                assert!(there.contains(name), "the sources refer to {name}{}", &after[..3]);
                met.insert(name.to_owned());
            }
        }
    }
    assert!(met.contains("patchadm-journal") && met.contains("patchadm-undo"), "{met:?}");
}

#[test]
fn mandoc_has_nothing_to_say() {
    if Command::new("mandoc").arg("-V").output().is_err() && Command::new("mandoc").output().is_err() {
        crate::missing("mandoc", "mandoc_has_nothing_to_say");
        return;
    }
    let files: Vec<PathBuf> = pages().into_iter().map(|page| page.path).collect();
    let output = Command::new("mandoc").args(["-T", "lint"]).args(files).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // Its notes of style that are not about what a reader sees: long lines of the source, and pages of ours that are not
    // among those of this machine; that they are there is seen by `a_page_refers_only_to_pages_that_are_there`.
    let is_of_source = |line: &str| {
        ["input text line longer than", "referenced manual not found"].iter().any(|note| line.contains(note))
    };
    let said: Vec<&str> = said.lines().filter(|line| !is_of_source(line)).collect();
    assert_eq!(said, Vec::<&str>::new());
}

#[test]
fn options_are_read_from_pages_and_from_help() {
    let page = ".Bl\n.It Fl B Ar dir\nkeep\n.It Fl -json\n.It Cm x\n.El\n";
    assert_eq!(Vec::from_iter(options(page)), ["--json", "-B"]);
    let help =
        "Usage: x\n\nOptions:\n  -B <DIR>       keep\n      --json[=X] print\n                 more -z\n";
    assert_eq!(Vec::from_iter(options_of_help(help)), ["--json", "-B"]);
}

/// The commands that the program has.
struct Commands {
    verbs: Vec<String>,
    classic: Vec<String>,
}

fn commands() -> Commands {
    let commands = Commands { verbs: verbs(), classic: classic_commands() };
    assert!(!commands.verbs.is_empty() && !commands.classic.is_empty());
    commands
}

fn options_of_program(command: &str) -> BTreeSet<String> {
    options_of_help(&Scenario::new().run(&format!("{command} --help")).ok())
}

/// The options that clap lists: lines of the list that begin with a hyphen before the column of the texts.
fn options_of_help(help: &str) -> BTreeSet<String> {
    let list = help.lines().skip_while(|line| *line != "Options:").skip(1);
    let options = list.filter(|line| line.len() - line.trim_start().len() <= 6);
    options
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.starts_with('-'))
        .map(|word| word.split(['[', ',']).next().unwrap_or(word).to_owned())
        .collect()
}

/// The options that a text in mdoc lists.
fn options(mdoc: &str) -> BTreeSet<String> {
    let items = mdoc.lines().filter_map(|line| line.strip_prefix(".It Fl "));
    items.filter_map(|item| item.split_whitespace().next()).map(|word| format!("-{word}")).collect()
}

/// Every code that `patchadm explain` knows, with the commands that end with it.
fn explained() -> BTreeMap<u8, Vec<String>> {
    let stage = Scenario::new();
    let mut known = BTreeMap::new();
    for code in 0..=128 {
        let run = stage.run(&format!("explain {code} --json"));
        if run.code != 0 {
            continue;
        }
        let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let meanings = document["meanings"].as_array().unwrap();
        known.insert(
            code,
            meanings.iter().map(|meaning| meaning["command"].as_str().unwrap().to_owned()).collect(),
        );
    }
    known
}

fn is_about(who: &str, command: &str) -> bool {
    who.starts_with("every classic command") || who.split_whitespace().any(|word| word == command)
}

/// A manual page.
struct Page {
    path: PathBuf,
    name: String,
    text: String,
}

/// A part of a page, below `.Sh` or `.Ss`.
struct Section {
    title: String,
    text: String,
}

fn pages() -> Vec<Page> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<Page> = paths.map(Page::read).collect();
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    pages
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Self { name, text: fs::read_to_string(&path).unwrap(), path }
    }

    /// The page of a command.
    fn called(name: &str) -> Self {
        let found =
            pages().into_iter().find(|page| page.name == name && "18".contains(page.section_of_manual()));
        found.expect(name)
    }

    fn section_of_manual(&self) -> &str {
        self.path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
    }

    fn options(&self) -> BTreeSet<String> {
        options(&self.text)
    }

    /// The text below `.Sh TITLE`.
    fn section(&self, title: &str) -> String {
        let lines = self.text.lines().skip_while(|line| *line != format!(".Sh {title}")).skip(1);
        lines.take_while(|line| !line.starts_with(".Sh ")).collect::<Vec<_>>().join("\n")
    }

    /// What `.It` names in a section, as plain words.
    fn items(&self, title: &str) -> Vec<String> {
        self.section(title).lines().filter_map(|line| line.strip_prefix(".It ")).map(str::to_owned).collect()
    }

    /// The parts whose title names a verb, or is about all of them.
    fn sections_about(&self, verb: &str) -> Vec<Section> {
        let mut sections: Vec<Section> = Vec::new();
        for line in self.text.lines() {
            if let Some(title) = line.strip_prefix(".Ss ").or(line.strip_prefix(".Sh ")) {
                sections.push(Section { title: title.to_owned(), text: String::new() });
            } else if let Some(section) = sections.last_mut() {
                section.text.push_str(line);
                section.text.push('\n');
            }
        }
        let names = |title: &str| {
            let is_named = |words: &str| words.split([' ', ',', ':']).any(|word| word == verb);
            let of_others = title.split_once("option of every verb but ").map(|(_, exceptions)| exceptions);
            title == "Options of every verb" || of_others.map_or(is_named(title), |others| !is_named(others))
        };
        sections.retain(|section| names(&section.title));
        sections
    }

    /// `NAME SECTION` of every page it refers to.
    fn references(&self) -> Vec<String> {
        let lines = self.text.lines().filter_map(|line| line.split_once("Xr ")).map(|(_, words)| words);
        let words = lines.map(|words| words.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
        words.collect()
    }
}

fn sources(directory: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else {
            // Test data need not be text.
            texts.extend(String::from_utf8(fs::read(&path).unwrap()));
        }
    }
    texts
}
