//! The report as comma-separated values (RFC 4180, with local line ends): a row per host and patch, or per host without
//! any.
//!
//! A spreadsheet interprets text that starts with `=`, `+`, `-` or `@` as a formula, even in wide forms and behind
//! blanks, quotes, `|` or `;`: such text gets an apostrophe.

use std::fmt::Write as _;

use chrono::SecondsFormat;

use crate::made::MadeReport;
use patchadm_planning::fleet::{FleetHost, FleetPatch, InventoryPatch};
use patchadm_svr4::package::control::visible;

const HEAD: &str =
    "host,machine,root,listed,patch,state,by,applied,undo,undo_bytes,removable,signature,on_trial,synopsis\n";

pub(crate) fn rows_of(made: &MadeReport<'_>) -> String {
    let mut out = HEAD.to_owned();
    for (host, standing) in made.report.each_host() {
        let first = first_fields(host);
        host.inventory.patches.iter().for_each(|patch| patch_row(&mut out, &first, host, patch));
        let lacks = standing.lacks.iter().filter_map(|place| made.report.patches.get(*place));
        lacks.for_each(|patch| lacking_row(&mut out, &first, patch));
        if host.inventory.patches.is_empty() && standing.lacks.is_empty() {
            row(&mut out, &first, &[""; 10]);
        }
    }
    out
}

fn first_fields(host: &FleetHost) -> String {
    let inventory = &host.inventory;
    let listed = inventory.at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default();
    let mut out = String::new();
    for (at, value) in [host.name.as_str(), &inventory.machine, &inventory.root, &listed].iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        field(&mut out, value);
    }
    out
}

fn patch_row(out: &mut String, first: &str, host: &FleetHost, patch: &InventoryPatch) {
    let id = patch.about.id.as_str();
    let trial = host.inventory.trial.as_ref();
    let is_on_trial = trial.is_some_and(|trial| trial.patches.iter().any(|on_trial| on_trial == id));
    let undo: Vec<&str> = patch.undo.iter().map(|undo| undo.state.as_str()).collect();
    let date = patch.date.map(|date| date.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default();
    let values: [&str; 10] = [
        id,
        patch.standing.word(),
        patch.by.as_deref().unwrap_or_default(),
        &date,
        &undo.join(" "),
        &patch.undo_bytes.to_string(),
        patch.stuck.as_deref().map_or("yes", |_| "no"),
        patch.signature.as_ref().map(|signature| signature.state.as_str()).unwrap_or_default(),
        if is_on_trial { "yes" } else { "no" },
        patch.about.synopsis.as_deref().unwrap_or_default(),
    ];
    row(out, first, &values);
}

fn lacking_row(out: &mut String, first: &str, patch: &FleetPatch) {
    let mut values = [""; 10];
    (values[0], values[1], values[9]) = (patch.id.as_str(), "lacking", &patch.synopsis);
    row(out, first, &values);
}

fn row(out: &mut String, first: &str, values: &[&str; 10]) {
    out.push_str(first);
    for value in values {
        out.push(',');
        field(out, value);
    }
    out.push('\n');
}

fn field(out: &mut String, value: &str) {
    let shown = visible(value);
    let guarded: Vec<String> = shown
        .split(';')
        .map(|part| if may_be_formula(part) { format!("'{part}") } else { part.to_owned() })
        .collect();
    let guarded = guarded.join(";");
    if guarded.contains(['"', ',', ';', '\n', '\r']) {
        // Writing to a string does not fail.
        let _ = write!(out, "\"{}\"", guarded.replace('"', "\"\""));
    } else {
        out.push_str(&guarded);
    }
}

/// True if a spreadsheet could interpret a text as a formula.
fn may_be_formula(text: &str) -> bool {
    let begun = text.trim_start_matches(|letter: char| letter.is_whitespace() || "|\"".contains(letter));
    begun.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_text_for_every_reader() {
        for (value, expected) in [
            ("plain", "plain"),
            ("a, b", "\"a, b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("@SUM(1,2)", "\"'@SUM(1,2)\""),
            ("-1", "'-1"),
            (" =1+1", "' =1+1"),
            ("\u{a0}=1+1", "'\u{a0}=1+1"),
            ("＝1+1", "'＝1+1"),
            ("－1", "'－1"),
            ("|=cmd", "'|=cmd"),
            ("\t@SUM(1)", "\\u{9}@SUM(1)"),
            (" 105181-05", " 105181-05"),
            ("a|b", "a|b"),
            ("a;b", "\"a;b\""),
            ("fixes;=cmd|' /C calc'!A0", "\"fixes;'=cmd|' /C calc'!A0\""),
            ("=1; @SUM(1);+2", "\"'=1;' @SUM(1);'+2\""),
            ("a;\"=1\"", "\"a;'\"\"=1\"\"\""),
            ("two\nlines\u{202e}", r"two\u{a}lines\u{202e}"),
            ("", ""),
        ] {
            let mut out = String::new();
            field(&mut out, value);
            assert_eq!(out, expected, "{value}");
        }
    }
}
