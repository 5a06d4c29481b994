//! All exit codes, in lines: commands and meanings.

use serde::Serialize;

use super::code_meaning::CodeMeaning;
use patchadm_cli::reply::CommandReport;
use patchadm_cli::surroundings::Output;

#[derive(Serialize)]
pub(super) struct AllCodesReport {
    meanings: Vec<CodeMeaning>,
}

impl AllCodesReport {
    /// The meanings must be in the order of their codes.
    pub(super) fn of(meanings: Vec<CodeMeaning>) -> Self {
        Self { meanings }
    }

    /// Joins codes with the same meaning: signals share theirs. Returns the first and the last.
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
