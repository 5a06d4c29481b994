//! The operands of a command with a depot: ids, and files that list ids.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::operation::failure::Failure;
use patchadm_inputs::input_file::read_start;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::resolve::Offer;
use patchadm_svr4::patch::PatchId;

/// The largest list of ids, in bytes.
const LARGEST_LIST: u64 = 4 << 20;

/// The most ids that one command names.
const MOST_IDS: usize = 100_000;

/// Returns the ids that the operands name, or `None` without operands.
pub(super) fn words(
    offers: &[Offer],
    separator: &str,
    depot: &str,
    operands: &[OsString],
) -> Result<Option<Vec<String>>, Failure> {
    if operands.is_empty() {
        return Ok(None);
    }
    let ids: HashSet<&PatchId> = offers.iter().map(|offer| &offer.id).collect();
    let bases: HashSet<&str> = offers.iter().map(|offer| offer.id.base()).collect();
    let is_offered = |word: &str| {
        bases.contains(word) || PatchId::parse(word, separator).is_ok_and(|id| ids.contains(&id))
    };
    let mut words = Vec::new();
    for operand in operands {
        match operand.to_str() {
            Some(word) if is_offered(word) => words.push(word.to_owned()),
            _ if Path::new(operand).is_file() => words.extend(listed(Path::new(operand))?),
            Some(word) if could_be_id(word, separator) => words.push(word.to_owned()),
            _ => {
                let operand = operand.to_string_lossy().into_owned();
                return Err(Failure::NotInDepot { operand, depot: depot.to_owned() });
            }
        }
    }
    Ok(Some(words))
}

/// Returns whether a word is an id, with a revision or without one.
fn could_be_id(word: &str, separator: &str) -> bool {
    PatchId::parse(word, separator).is_ok()
        || PatchId::parse(&format!("{word}{separator}1"), separator).is_ok()
}

/// Returns the ids of a list: the first word of each line. Lines that begin with `#` are comments.
fn listed(path: &Path) -> Result<Vec<String>, Failure> {
    let text = read_start(path, LARGEST_LIST).and_then(|text| {
        String::from_utf8(text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
    });
    let shown = path.display().to_string();
    let refused = |reason: String| Failure::from(Reason::BadPatch(reason).of(Command::Patchadd, &shown));
    let text = text.map_err(|error| refused(format!("it cannot be read as a list of ids: {error}")))?;
    let lines = text.lines().filter_map(|line| line.split_whitespace().next());
    let words: Vec<String> =
        lines.filter(|word| !word.starts_with('#')).take(MOST_IDS + 1).map(str::to_owned).collect();
    if text.len() as u64 > LARGEST_LIST || words.len() > MOST_IDS {
        return Err(refused(format!("it lists more than {MOST_IDS} ids")));
    }
    Ok(words)
}
