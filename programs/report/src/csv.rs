//! The report as comma-separated values (RFC 4180, with local line ends): a row per host and patch, or per host without
//! any.
//!
//! A spreadsheet interprets text that starts with `=`, `+`, `-` or `@` as a formula, even in wide forms and behind
//! blanks, quotes, `|` or `;`: such text gets an apostrophe.

use std::collections::HashSet;
use std::fmt::Write as _;

use chrono::SecondsFormat;

use crate::made::too_large;
use patchadm_cli::reply::Stop;
use patchadm_planning::fleet::{FleetHost, FleetPatch, FleetReport, InventoryPatch};
use patchadm_svr4::package::control::visible;

const HEAD: &str =
    "host,machine,root,listed,patch,state,by,applied,undo,undo_bytes,removable,signature,on_trial,synopsis\n";

/// In bytes: names of a host are there again in each of its rows.
pub(crate) const LARGEST: usize = 1 << 30;

pub(crate) fn rows_of(report: &FleetReport<'_>, largest: usize) -> Result<String, Stop> {
    let mut out = HEAD.to_owned();
    let fits = |out: &String| {
        let error = || too_large(&format!("its table is larger than {largest} bytes"));
        if out.len() > largest { Err(error()) } else { Ok(()) }
    };
    for (host, standing) in report.each_host() {
        let (first, on_trial) = (first_fields(host), host.inventory.on_trial());
        for patch in &host.inventory.patches {
            patch_row(&mut out, &first, &on_trial, patch);
            fits(&out)?;
        }
        for patch in standing.lacks.iter().filter_map(|place| report.patches.get(*place)) {
            lacking_row(&mut out, &first, patch);
            fits(&out)?;
        }
        if host.inventory.patches.is_empty() && standing.lacks.is_empty() {
            row(&mut out, &first, &[""; 10]);
            fits(&out)?;
        }
    }
    Ok(out)
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

fn patch_row(out: &mut String, first: &str, on_trial: &HashSet<&str>, patch: &InventoryPatch) {
    let id = patch.about.id.as_str();
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
        if on_trial.contains(id) { "yes" } else { "no" },
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
    use patchadm_planning::fleet::{Fleet, InventoryReader, NamedInventory};

    #[test]
    fn a_table_that_is_too_large_is_refused() {
        let text = br#"{"schema":"patchadm/1","command":"list","machine":"web","patches":[{"id":"100-01",
            "state":["effective"],"packages":[],"undo":[],"removable":{"now":true},
            "trial":{"run":"1-0","until":"later","patches":["100-01"]}}]}"#;
        let inventory = InventoryReader::default().read(text, "a").unwrap().inventories.remove(0);
        let fleet = Fleet::of([NamedInventory { source: "a".to_owned(), inventory }]);
        let report = FleetReport::of(&fleet.hosts, None).unwrap();
        let table = rows_of(&report, LARGEST).unwrap();
        assert_eq!(table, format!("{HEAD}web,web,/,,100-01,effective,,,,0,yes,,yes,\n"));
        assert_eq!(rows_of(&report, table.len()).unwrap(), table);
        let refused = rows_of(&report, table.len() - 1).unwrap_err().to_string();
        assert!(refused.contains("fewer inventories"), "{refused}");
    }

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
