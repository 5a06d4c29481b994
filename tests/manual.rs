//! The manual pages say what the programs do: every command has one, the options of page and program are the same,
//! and so are the exit codes that `patchadm help` knows. Their form is checked where mandoc is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::links::{classic_commands, verbs};
use crate::scenario::Scenario;

/// Pages of this system or of others that ours may refer to.
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

/// The verbs that other programs have, and their pages. `patchadm` runs these programs for them.
const OF_OTHER_PROGRAMS: [(&str, &[&str]); 3] = [
    ("patchadm-make", &["build", "delta", "lint", "keygen", "sign", "publish", "depot", "order"]),
    ("patchadm-bulk", &["bulk"]),
    ("patchadm-report", &["report"]),
];

/// Verbs whose first operand is an action. Each action may list its own options, and the section about the verb has all
/// of them. Actions with sections of their own are in other tests.
const ACTIONS: [(&str, &[&str]); 5] = [
    ("undo-data", &["list", "drop", "repack", "export", "import"]),
    ("libs", &["list", "prune"]),
    ("key", &["list", "trust", "revoke"]),
    ("setup", &["links", "completions", "hooks"]),
    ("depot", &["index", "check"]),
];

/// The page of the program that has a verb.
fn page_about(verb: &str) -> Page {
    let program = OF_OTHER_PROGRAMS.iter().find(|(_, verbs)| verbs.contains(&verb));
    Page::called(program.map_or("patchadm", |(program, _)| *program))
}

fn actions_of(verb: &str) -> &'static [&'static str] {
    ACTIONS.iter().find(|(known, _)| *known == verb).map(|(_, actions)| *actions).unwrap_or_default()
}

#[test]
fn every_command_has_a_page() {
    let pages: BTreeSet<String> = pages().into_iter().map(|page| page.name).collect();
    for command in commands().classic {
        assert!(pages.contains(&command), "man/ has no page for {command}");
    }
    // Each action of `bulk` has a section.
    for verb in commands().verbs.iter().filter(|verb| *verb != "bulk") {
        let sections = page_about(verb).sections_about(verb);
        let section = sections.iter().find(|section| section.title == format!("The verb {verb}"));
        let text = &section.unwrap_or_else(|| panic!("no page has a section about {verb}")).text;
        for action in actions_of(verb) {
            assert!(text.split_whitespace().any(|word| word == *action), "{verb} {action}");
        }
    }
}

#[test]
fn the_page_of_patchadm_names_the_verbs_of_other_programs() {
    let page = Page::called("patchadm");
    for (program, verbs) in OF_OTHER_PROGRAMS {
        let item = format!("\n.It Xr {program} 8\n.Cm {}\n", verbs.join(" , "));
        assert!(page.text.contains(&item), "{item}");
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
    for verb in commands().verbs {
        let sections = page_about(&verb).sections_about(&verb);
        let documented: BTreeSet<String> =
            sections.iter().flat_map(|section| options(&section.text)).collect();
        let of_actions =
            actions_of(&verb).iter().flat_map(|action| options_of_program(&format!("{verb} {action}")));
        let of_program: BTreeSet<String> = options_of_program(&verb).into_iter().chain(of_actions).collect();
        assert_eq!(documented, of_program, "{verb}");
    }
}

#[test]
fn the_action_that_renders_pages_has_the_options_of_its_section() {
    let sections = Page::called("patchadm-report").sections_about("page");
    let documented: BTreeSet<String> = sections.iter().flat_map(|section| options(&section.text)).collect();
    let own = sections.iter().find(|section| section.title == "The action page").unwrap();
    let of_program = options_of_program("report page");
    assert!(of_program.is_subset(&documented), "{of_program:?}");
    assert!(options(&own.text).is_subset(&of_program), "{of_program:?}");
}

/// The actions of `patchadm stage`, each with a section of its own.
const ACTIONS_OF_STAGE: [&str; 7] = ["new", "enter", "list", "status", "refresh", "promote", "drop"];

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
    let page = Page::called("patchadm-bulk");
    let actions = actions_of_bulk();
    assert!(actions.len() > 5, "{actions:?}");
    for action in actions {
        let title = format!("The action {action}");
        let sections = page.sections_about(&action);
        assert!(sections.iter().any(|section| section.title == title), "{title}");
        let documented: BTreeSet<String> =
            sections.iter().flat_map(|section| options(&section.text)).collect();
        assert_eq!(documented, options_of_program(&format!("bulk {action}")), "{action}");
    }
}

#[test]
fn the_exit_codes_of_a_classic_command_are_those_that_help_knows() {
    let known = explained();
    for command in ["patchadd", "patchrm", "pkgadd", "pkgrm", "installf", "removef"] {
        let page = Page::called(command);
        let known: BTreeSet<u8> = known
            .iter()
            .filter(|(_, who)| who.iter().any(|who| is_about(who, command)))
            .map(|(code, _)| *code)
            .collect();
        assert_eq!(page.exit_codes(), known, "{command}");
        let by_signal = if command.starts_with("pkg") { "3" } else { "128+N" };
        assert!(page.items("EXIT STATUS").iter().any(|item| item == by_signal));
    }
}

#[test]
fn the_verbs_have_one_table_of_exit_codes() {
    let table = Page::called("patchadm").exit_codes();
    assert!(table.iter().copied().eq(0..=9_u8), "{table:?}");
    let stage = Scenario::new();
    for code in &table {
        stage.run(&format!("help {code}")).ok();
    }
    // A command in a sandbox may be missing.
    let known: BTreeSet<u8> = table.into_iter().chain(125..=127).collect();
    for page in ["patchadm-stage", "patchadm-make", "patchadm-bulk", "patchadm-report"] {
        let codes = Page::called(page).exit_codes();
        assert!(codes.is_subset(&known), "{page}: {codes:?}");
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
    // Ignores notes that do not matter to readers: long lines of the source, and references to pages of ours that are
    // not installed. `a_page_refers_only_to_pages_that_are_there` checks those references.
    let is_of_source = |line: &str| {
        ["input text line longer than", "referenced manual not found"].iter().any(|note| line.contains(note))
    };
    let said: Vec<&str> = said.lines().filter(|line| !is_of_source(line)).collect();
    assert_eq!(said, Vec::<&str>::new());
}

#[test]
fn options_are_read_from_pages_and_from_help() {
    let page =
        ".Bl\n.It Fl B Ar dir\nkeep\n.It Fl -json\n.It Fl o Ar file , Fl -output Ar file\n.It Cm x\n.El\n";
    assert_eq!(Vec::from_iter(options(page)), ["--json", "--output", "-B", "-o"]);
    let help = "Usage: x\n       -y\n\nOptions:\n  -B <DIR>       keep\n      --json[=X] print\n                 more -z\n\n\
                Common:\n  -o, --output <FILE>\n          write\n";
    assert_eq!(Vec::from_iter(options_of_help(help)), ["--json", "--output", "-B", "-o"]);
}

#[test]
fn a_section_is_about_the_verbs_that_its_title_names() {
    let text = ".Sh NAME\n.Ss Options of every verb\n.Ss JSON: option of every verb but demo and help\n\
                .Ss Undo data: options of add, plan and undo-data\n.Ss The verb undo-data\n";
    let page = Page { path: PathBuf::new(), name: String::new(), text: text.to_owned() };
    for (verb, number) in [("undo-data", 4), ("undo", 2), ("plan", 3), ("demo", 1)] {
        assert_eq!(page.sections_about(verb).len(), number, "{verb}");
    }
}

struct Commands {
    verbs: Vec<String>,
    classic: Vec<String>,
}

fn commands() -> Commands {
    let of_others =
        OF_OTHER_PROGRAMS.iter().flat_map(|(_, verbs)| verbs.iter().map(|verb| (*verb).to_owned()));
    // The overview may name the other programs instead of their verbs.
    let listed = verbs().into_iter().filter(|verb| !verb.starts_with("patchadm-"));
    let verbs: BTreeSet<String> = listed.chain(of_others).collect();
    let commands = Commands { verbs: verbs.into_iter().collect(), classic: classic_commands() };
    assert!(!commands.verbs.is_empty() && !commands.classic.is_empty());
    commands
}

fn options_of_program(command: &str) -> BTreeSet<String> {
    options_of_help(&Scenario::new().run(&format!("{command} --help")).ok())
}

/// The options that clap lists below its headings, by all of their names: lines that begin with a hyphen before the
/// column of the texts.
fn options_of_help(help: &str) -> BTreeSet<String> {
    let is_heading = |line: &str| line.ends_with(':') && !line.starts_with(' ');
    let lists = help.lines().skip_while(|line| !is_heading(line));
    let options = lists.filter(|line| line.len() - line.trim_start().len() <= 6);
    options
        .flat_map(|line| line.split_whitespace().take_while(|word| word.starts_with('-')))
        .map(|word| word.split(['[', ',']).next().unwrap_or(word).to_owned())
        .collect()
}

/// The options that a text in mdoc lists, by all of their names.
fn options(mdoc: &str) -> BTreeSet<String> {
    let items = mdoc.lines().filter_map(|line| line.strip_prefix(".It Fl "));
    let names = items.flat_map(|item| item.split(" , Fl ")).filter_map(|name| name.split_whitespace().next());
    names.map(|name| format!("-{name}")).collect()
}

/// Every code that `patchadm help` knows, with the commands that end with it.
fn explained() -> BTreeMap<u8, Vec<String>> {
    let stage = Scenario::new();
    let mut known = BTreeMap::new();
    for code in 0..=128 {
        let run = stage.run(&format!("help {code} --json"));
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
    who.starts_with("classic commands") || who.split_whitespace().any(|word| word == command)
}

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

    /// The words after each `.It` in a section, as plain words.
    fn items(&self, title: &str) -> Vec<String> {
        self.section(title).lines().filter_map(|line| line.strip_prefix(".It ")).map(str::to_owned).collect()
    }

    /// The codes in the lists or the table below `EXIT STATUS`.
    fn exit_codes(&self) -> BTreeSet<u8> {
        let items = self.items("EXIT STATUS").into_iter();
        items.filter_map(|item| item.split(" Ta ").next().and_then(|code| code.parse().ok())).collect()
    }

    /// The parts whose title names a verb or an action, or is about all of them.
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
            let of_all = ["Options of every verb", "Options of every action"].contains(&title);
            let of_others = title.split_once("option of every ").and_then(|(_, all)| all.split_once(" but "));
            of_all || of_others.map_or(is_named(title), |(_, exceptions)| !is_named(exceptions))
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
