//! The options of all verbs in one table: options with the same meaning have the same name, value and words
//! everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::scenario::Scenario;
use crate::verb_options::verbs_and_actions;

/// If set, the test writes the table instead of comparing it. Version control then shows the changes.
const WRITE: &str = "PATCHADM_WRITE_OPTIONS";

/// An option of a verb: its spelling, and its help text without the default.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct VerbOption {
    said: String,
    words: String,
}

/// Returns the options in the help of a verb, under any heading.
fn options_of(stage: &Scenario, verb: &str) -> Vec<VerbOption> {
    let help = stage.run(&format!("{verb} --help")).ok();
    // Usage and arguments come first.
    let sections = help.split("\n\n").skip(2).filter(|section| !section.starts_with("Arguments:"));
    let mut options: Vec<VerbOption> = Vec::new();
    for line in sections.flat_map(str::lines).filter(|line| line.starts_with("  ")) {
        let text = line.trim_start();
        if text.starts_with('-') && line.len() - text.len() <= 6 {
            let (said, words) = text.split_once("  ").unwrap_or((text, ""));
            options.push(VerbOption { said: said.to_owned(), words: words.trim().to_owned() });
        } else if let Some(option) = options.last_mut() {
            let words = format!("{} {text}", option.words);
            words.trim().clone_into(&mut option.words);
        }
    }
    options
}

/// Returns for each option the verbs that have it.
fn table() -> BTreeMap<VerbOption, BTreeSet<String>> {
    let stage = Scenario::new();
    let mut table: BTreeMap<VerbOption, BTreeSet<String>> = BTreeMap::new();
    for verb in verbs_and_actions() {
        for option in options_of(&stage, &verb) {
            table.entry(option).or_default().insert(verb.clone());
        }
    }
    table
}

/// Returns the name of an option: the long one, else the letter.
fn name(said: &str) -> &str {
    let words = || said.split([' ', ',', '=', '[']).filter(|word| word.starts_with('-'));
    words().find(|word| word.starts_with("--")).or_else(|| words().next()).unwrap()
}

#[test]
fn the_options_that_several_verbs_have_are_those_of_the_table() {
    let mut text = String::from(
        "Options shared by several verbs, with their help texts. An option listed more than once has a different\n\
         meaning in different verbs; each text must make its meaning obvious.\n",
    );
    let table = table();
    let mut verbs_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (option, verbs) in &table {
        *verbs_of.entry(name(&option.said)).or_default() += verbs.len();
    }
    for (option, verbs) in table.iter().filter(|(option, _)| verbs_of[name(&option.said)] > 1) {
        let verbs = verbs.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        text += &format!("\n{}\n    {}\n    {verbs}\n", option.said, option.words);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/options.txt");
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &text).unwrap();
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, known, "if that is as it should be, run this test once with {WRITE}=1");
}

#[test]
fn what_is_said_in_the_same_words_has_one_name_and_one_value() {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for option in table().into_keys() {
        names.entry(option.words.clone()).or_default().insert(option.said);
    }
    let several: Vec<_> = names.iter().filter(|(_, said)| said.len() > 1).collect();
    assert!(several.is_empty(), "{several:#?}");
}

#[test]
fn an_option_has_the_same_value_wherever_it_has_the_same_name() {
    /// Names that two verbs use for things too different for one word.
    const DIFFERENT: [&str; 10] = [
        "--base",
        "--exclude",
        "--expires",
        "--fixes",
        "--from",
        "--name",
        "--output",
        "--rebuild",
        "--xref",
        "--depot",
    ];
    let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for option in table().into_keys() {
        values.entry(name(&option.said).to_owned()).or_default().insert(option.said);
    }
    let several = values.iter().filter(|(_, said)| said.len() > 1).map(|(name, _)| name.as_str());
    let several: BTreeSet<&str> = several.collect();
    assert!(several.is_subset(&BTreeSet::from(DIFFERENT)), "{several:?}");
}
