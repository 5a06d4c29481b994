//! The advice of the answers, typed on a fresh copy of the damaged root.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::damages::{Damage, Record};
use super::ground::{Caller, Ground, Template};
use super::judge::Cell;

/// A command that the answers to one damage advise.
pub(crate) struct Advice {
    record: &'static Record,
    damage: Damage,
    line: String,
}

/// Every command that an answer advises, once for each damage.
pub(crate) fn advised(cells: &[Cell]) -> Vec<Advice> {
    let mut advice = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.names_its_record()) {
        for line in commands(&cell.text, cell.record) {
            let key = (cell.record.path, format!("{:?}", cell.damage), line.clone());
            advice.insert(key, Advice { record: cell.record, damage: cell.damage, line });
        }
    }
    advice.into_values().collect()
}

impl Advice {
    /// Types the command, then `check`. Returns what is wrong.
    pub(crate) fn fault(&self, template: &Template) -> Option<String> {
        let ground = Ground::damaged(template, Caller::Owner, self.record, self.damage);
        let mut typed = ground.typed(&self.line);
        // Advice may lead to advice, but not for long.
        for _ in 0..2 {
            let Some(next) =
                commands(&typed.text, self.record).into_iter().next().filter(|_| typed.code != Some(0))
            else {
                break;
            };
            typed = ground.typed(&next);
        }
        if typed.text.contains("move it away") {
            ground.move_away(self.record);
            typed = ground.typed(&self.line);
        }
        let verified = ground.typed("check --contents -R @ROOT@");
        let names_a_loss = |text: &str| text.contains("lost");
        let is_sound = verified.code == Some(0) || names_a_loss(&verified.text) || names_a_loss(&typed.text);
        (!is_sound).then(|| {
            format!(
                "{} {:?}: `{}` (exit {:?})\n  {}\n  then verify: {}",
                self.record.path,
                self.damage,
                self.line,
                typed.code,
                typed.text.trim().replace('\n', "\n  "),
                verified.text.trim().replace('\n', "\n  "),
            )
        })
    }
}

/// The commands that a text about a record advises, on the root of the test.
fn commands(text: &str, record: &Record) -> Vec<String> {
    static QUOTED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"`(?:patchadm )?(?:-R @ROOT@ )?((?:recover|pkgchk|pkgadd)(?: [^`]*)?)`").unwrap()
    });
    let on_root = |line: &str| {
        let patch = record.path.split_once("/save/").and_then(|(_, rest)| rest.split('/').next());
        let patches = patch.unwrap_or("100-01 100-02 200-01");
        let line = line.replace(" DIR", " @KEPT@").replace(" ID", &format!(" {patches}"));
        let (name, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if line.contains("-R ") { line.clone() } else { format!("{name} -R @ROOT@ {rest}") }
    };
    let again = "pkgadd -n -a @ADMIN@ -R @ROOT@ -d @SPOOL@ ACMEweb".to_owned();
    let is_told = text.contains("install ACMEweb again with patchadm pkgadd");
    // A command with a placeholder for a device is replaced by one of the test.
    let is_whole = |line: &&str| !line.contains(" DEVICE");
    let quoted = QUOTED.captures_iter(text).filter_map(|found| found.get(1)).map(|found| found.as_str());
    let quoted = quoted.filter(is_whole).map(on_root);
    is_told.then_some(again).into_iter().chain(quoted).collect()
}
