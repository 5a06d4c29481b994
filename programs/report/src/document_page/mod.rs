//! `patchadm-report page`: the JSON document of a command as a page.
//!
//! A missing field leaves its cell empty, an unknown one is ignored.

mod history;
mod list;
mod missing;
mod plan;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use patchadm_changeset::format::foreign_json::limited;
use patchadm_cli::arguments::{ColourOption, HelpOption, QuietOption, VersionOption, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, ExitCause, Reply, Stop};
use patchadm_core::operation::analysis::write_page;
use patchadm_core::operation::fleet::LARGEST_INVENTORY;
use patchadm_inputs::input_file::{is_standard_input, read_own};
use patchadm_pages::{PagePart, TablePage, html_of_tables};
use patchadm_svr4::package::control::truncated;
use serde_json::Value;

use crate::answer::WrittenDocument;
use crate::made::ReportMessages;
use crate::page::recorded;

const USAGE: &str = "patchadm-report page [-o file] [document|-]";

/// Render a JSON document from list, plan, missing or history as an HTML page
#[derive(clap::Parser)]
struct PageArgs {
    /// Write the output to FILE
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    _quiet: QuietOption,
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    _help: HelpOption,
    #[command(flatten)]
    _version: VersionOption,
    /// The document, or - for standard input [default: -]
    #[arg(value_name = "DOCUMENT")]
    document: Option<PathBuf>,
}

struct PageHead {
    title: String,
    facts: Vec<(&'static str, String)>,
    skip: &'static str,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "report page";
    let args: PageArgs = parse(call, USAGE)?;
    let source = args.document.unwrap_or_else(|| PathBuf::from("-"));
    let text = read(&source).map_err(|error| unreadable(&source, &error.to_string(), ExitCause::NotFound))?;
    let text = limited(&text, MOST_VALUES).map_err(|error| {
        let reason = format!("{error}\nhint: make the document about fewer roots or patches");
        unreadable(&source, &reason, ExitCause::DamagedInput)
    })?;
    let document: Value = serde_json::from_slice(text)
        .map_err(|error| unreadable(&source, &format!("not JSON: {error}"), ExitCause::DamagedInput))?;
    let made = recorded(call.surroundings.now);
    let page =
        page_of(&document, made).map_err(|reason| unreadable(&source, &reason, ExitCause::DamagedInput))?;
    let text = match &args.output {
        None => Some(page),
        Some(path) => {
            write_page(path, page.as_bytes())
                .with_context(|| format!("the page {} was not written", path.display()))?;
            None
        }
    };
    Ok(Reply::new(Exit::OK, WrittenDocument { text, messages: ReportMessages::default() }))
}

fn read(source: &Path) -> std::io::Result<Vec<u8>> {
    if source != Path::new("-") && !is_standard_input(source) {
        return read_own(source, LARGEST_INVENTORY);
    }
    let mut text = Vec::new();
    std::io::stdin().take(LARGEST_INVENTORY + 1).read_to_end(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LARGEST_INVENTORY) {
        return Err(std::io::Error::other(format!("larger than {LARGEST_INVENTORY} bytes")));
    }
    Ok(text)
}

fn unreadable(source: &Path, reason: &str, cause: ExitCause) -> Stop {
    let source = source.display();
    Stop::Refused { exit: Exit::failed(cause), message: format!("cannot render {source}: {reason}") }
}

/// Fields and entries of a document: more would take many times the size of the document, in memory and on the page.
const MOST_VALUES: usize = 2_000_000;

/// Names that a page repeats, with their greatest lengths in bytes.
const NAMES: [(&str, usize); 3] = [("root", 4_096), ("machine", 255), ("host", 255)];

/// Of names before headings and in rows, in characters.
const LONGEST_NAME: usize = 128;

fn check_names(document: &Value) -> Result<(), String> {
    match NAMES.into_iter().find(|(field, most)| document.text(field).len() > *most) {
        Some((field, most)) => Err(format!("its `{field}` is longer than {most} bytes")),
        None => Ok(()),
    }
}

fn page_of(document: &Value, made: String) -> Result<String, String> {
    let schema = document.text("schema");
    if schema != "patchadm/1" {
        return Err(format!("not a document of patchadm: its schema is <{}>", schema.escape_debug()));
    }
    let command = document.text("command");
    // A document about several roots holds one for each.
    let roots = document.items("roots");
    let is_about_several = !roots.is_empty();
    let documents: Vec<&Value> = if is_about_several { roots.iter().collect() } else { vec![document] };
    documents.iter().try_for_each(|document| check_names(document))?;
    match command {
        "missing" | "analyze" => Ok(missing::page_of(&documents, made)),
        "list" => Ok(of_tables(&documents, is_about_several, made, list::head, list::parts)),
        "history" => Ok(of_tables(&documents, is_about_several, made, history::head, history::parts)),
        "plan" => Ok(of_tables(&documents, is_about_several, made, plan::head, plan::parts)),
        other => Err(format!(
            "a document of `{}`; pages show documents of list, plan, missing, and history",
            other.escape_debug()
        )),
    }
}

fn of_tables(
    documents: &[&Value],
    is_about_several: bool,
    made: String,
    head: fn(&Value) -> PageHead,
    parts: fn(&Value) -> Vec<PagePart>,
) -> String {
    let heads: Vec<PageHead> = documents.iter().map(|document| head(document)).collect();
    let mut facts = vec![("Made".to_owned(), made)];
    let (title, skip) = match heads.as_slice() {
        [one] => {
            facts.extend(one.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            (one.title.clone(), one.skip)
        }
        several => {
            facts.push(("Roots".to_owned(), several.len().to_string()));
            (format!("{} roots", several.len()), several.first().map_or("", |head| head.skip))
        }
    };
    let parts = documents.iter().zip(root_names(documents)).flat_map(|(document, name)| {
        let mut parts: Vec<PagePart> = parts(document).into_iter().chain(failure(document)).collect();
        if is_about_several {
            for part in &mut parts {
                part.heading = format!("{name}: {}", part.heading);
            }
            let root = Some(document.text("root")).filter(|root| *root != name);
            if let (Some(root), Some(first)) = (root, parts.first_mut()) {
                first.remarks.insert(0, format!("Root: {root}"));
            }
        }
        parts
    });
    html_of_tables(&TablePage { title, facts, skip, parts: parts.collect() })
}

/// Returns a name for each of several roots: the last part of its path, or the whole path if others end alike.
fn root_names(documents: &[&Value]) -> Vec<String> {
    let roots: Vec<&str> = documents.iter().map(|document| document.text("root")).collect();
    let last = |root: &&str| Path::new(root).file_name().map(|name| name.to_string_lossy().into_owned());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in roots.iter().filter_map(last) {
        *counts.entry(name).or_default() += 1;
    }
    let name = |root: &&str| last(root).filter(|name| counts.get(name) == Some(&1));
    let shown = |root: &&str| name(root).unwrap_or_else(|| (*root).to_owned());
    roots.iter().map(|root| truncated(&shown(root), LONGEST_NAME).into_owned()).collect()
}

/// For a root that could not be read or planned.
fn failure(document: &Value) -> Option<PagePart> {
    let error = document.text("error");
    let is_told = error.is_empty() || document.text("command") == "plan";
    (!is_told).then(|| PagePart {
        heading: "Error".to_owned(),
        remarks: vec![error.to_owned()],
        ..PagePart::default()
    })
}

/// Fields of a document: one of another type counts as missing.
trait Fields {
    /// Empty without a text.
    fn text(&self, name: &str) -> &str;
    /// `None` for an empty text.
    fn some_text(&self, name: &str) -> Option<String>;
    fn number(&self, name: &str) -> Option<u64>;
    fn is_true(&self, name: &str) -> bool;
    fn items(&self, name: &str) -> &[Value];
    fn texts(&self, name: &str) -> Vec<String>;
    /// Null without an object.
    fn object(&self, name: &str) -> &Value;
}

static NONE: Value = Value::Null;

impl Fields for Value {
    fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn some_text(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(Value::as_u64)
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    fn items(&self, name: &str) -> &[Value] {
        self.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn texts(&self, name: &str) -> Vec<String> {
        self.items(name).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    fn object(&self, name: &str) -> &Value {
        self.get(name).filter(|value| value.is_object()).unwrap_or(&NONE)
    }
}

/// The id of a patch; the operand that named it may be longer.
fn id_of(patch: &Value) -> Cow<'_, str> {
    truncated(patch.text("id"), LONGEST_NAME)
}

fn trial_words(trial: &Value) -> Option<String> {
    if !trial.is_object() {
        return None;
    }
    Some(match (trial.is_true("over"), trial.some_text("stuck")) {
        (true, Some(reason)) => format!("trial over, not reverted yet: {reason}"),
        (true, None) => "trial over, reverted by the next change".to_owned(),
        (false, _) => format!("on trial until {}", trial.text("until")),
    })
}

/// The end of a patch that dpkg or rpm overtook.
fn ended(patch: &Value) -> String {
    let (name, version, manager) = (patch.text("name"), patch.text("version"), patch.text("manager"));
    match patch.text("outcome") {
        "contained" => format!("contained in {name} {version} ({manager})"),
        "removed" => format!("removed with {name} ({manager})"),
        "accepted" => format!("lost to {name} {version} ({manager}), which was accepted"),
        "partly-lost" => format!("partly lost to {name} {version} ({manager})"),
        _ => format!("lost to {name} {version} ({manager})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_documents_of_four_commands_have_pages() {
        let page = |document: Value| page_of(&document, "today".to_owned());
        for command in ["list", "plan", "missing", "analyze", "history"] {
            assert!(page(json!({"schema": "patchadm/1", "command": command})).is_ok(), "{command}");
        }
        let refused = page(json!({"schema": "patchadm/1", "command": "show"})).unwrap_err();
        assert!(refused.contains("a document of `show`"), "{refused}");
        for other in [json!([]), json!("list"), json!({"command": "list"})] {
            assert!(page(other.clone()).is_err(), "{other}");
        }
    }

    #[test]
    fn long_names_are_refused_or_cut_where_they_are_repeated() {
        for command in ["list", "plan", "missing", "history"] {
            let page = |field: &str, length: usize| {
                let mut document = json!({"schema": "patchadm/1", "command": command});
                document[field] = json!("n".repeat(length));
                page_of(&document, String::new())
            };
            for (field, most) in NAMES {
                assert!(page(field, most).is_ok(), "{command}: {field}");
                let refused = page(field, most + 1).unwrap_err();
                assert_eq!(refused, format!("its `{field}` is longer than {most} bytes"), "{command}");
            }
        }
        let (root, id) = (format!("/{}", "r".repeat(200)), "1".repeat(1_000));
        let patch = json!({"id": id, "changes": [{}], "scripts": vec![json!({}); 1_000]});
        let roots = json!([{"root": root, "patches": vec![patch; 2]}, {"root": "/b"}]);
        let document = json!({"schema": "patchadm/1", "command": "plan", "roots": roots});
        let page = page_of(&document, String::new()).unwrap();
        assert!(page.contains(&format!("{}…: Patches", "r".repeat(127))), "{page}");
        assert!(page.contains(&root) && page.len() < 1_500_000, "{}", page.len());
    }

    #[test]
    fn values_of_other_types_than_expected_are_left_out() {
        for command in ["list", "plan", "missing", "history"] {
            for value in [json!(7), json!("x"), json!([[], 7, {}]), json!({"a": 1}), Value::Null] {
                let document = json!({"schema": "patchadm/1", "command": command, "root": value,
                    "patches": value, "runs": value, "lost": value, "overtaken": value, "notes": value});
                page_of(&document, String::new()).unwrap();
                let entry = json!({"id": value, "state": value, "undo": value, "removable": value,
                    "files": value, "changes": value, "scripts": value, "packages": value, "run": value,
                    "refreshed": value, "trial": value, "trial_end": value, "age_days": value, "size": value});
                let document = json!({"schema": "patchadm/1", "command": command,
                    "patches": [entry], "runs": [entry]});
                page_of(&document, String::new()).unwrap();
            }
        }
    }

    #[test]
    fn a_document_about_several_roots_has_parts_for_each() {
        let of = |root: &str| json!({"root": root, "patches": [{"id": "100-01", "state": ["effective"]}]});
        let failed = json!({"root": "/old/b", "error": "no such directory"});
        let roots = json!([of("/srv/a"), of("/srv/b"), failed]);
        let document = json!({"schema": "patchadm/1", "command": "list", "roots": roots});
        let page = page_of(&document, String::new()).unwrap();
        for wanted in
            [">a: Patches<", "Root: /srv/a<", ">/srv/b: Patches<", ">/old/b: Error<", "no such directory"]
        {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        let document = json!({"schema": "patchadm/1", "command": "missing", "roots": roots});
        let page = page_of(&document, String::new()).unwrap();
        for wanted in [">a</h2>", ">/srv/a<", ">/srv/b</h2>", ">/old/b</h2>"] {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
    }
}
