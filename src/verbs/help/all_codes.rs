//! All exit codes, in lines: the commands that end with each, and its meaning there.

use serde::Serialize;

use super::code_meaning::CodeMeaning;
use patchadm_cli::reply::CommandReport;
use patchadm_cli::surroundings::Output;

/// The meanings of all codes, in the order of the codes.
#[derive(Serialize)]
pub(super) struct AllCodesReport {
    meanings: Vec<CodeMeaning>,
}

impl AllCodesReport {
    /// The list of these meanings, which are in the order of their codes.
    pub(super) fn of(meanings: Vec<CodeMeaning>) -> Self {
        Self { meanings }
    }

    /// Returns the meanings, each with the first and the last of the codes that it has: signals share theirs.
    fn ranges(&self) -> Vec<(u8, u8, &CodeMeaning)> {
        let mut ranges: Vec<(u8, u8, &CodeMeaning)> = Vec::new();
        for one in &self.meanings {
            match ranges.last_mut() {
                Some((_, last, meaning))
                    if last.checked_add(1) == Some(one.code) && meaning.text == one.text =>
                {
                    *last = one.code;
                }
                _ => ranges.push((one.code, one.code, one)),
            }
        }
        ranges
    }
}

impl CommandReport for AllCodesReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for (first, last, CodeMeaning { group, text, .. }) in self.ranges() {
            let codes = if first == last { first.to_string() } else { format!("{first}-{last}") };
            output.line(format!("{codes} from {group}: {text}"))?;
        }
        Ok(())
    }
}
