//! The note `.note.dlopen`: libraries that a program loads by itself if they exist.
//!
//! Its text is JSON, as the specification "ELF metadata for dlopen dependencies" says: an array of objects, each with
//! the names of one library (any one of them serves) and its priority.

use elf::note::{Note, NoteIterator};
use serde::{Deserialize, Serialize};

use super::error::{ElfError, MOST_ENTRIES};
use super::layout::{LONGEST_NOTES, Layout};
use super::pieces::ElfSource;

/// The owner of the note.
const OWNER: &str = "FDO";

/// The type of the note.
const DLOPEN: u64 = 0x407c_0c0a;

/// The most notes of a file.
const MOST_NOTES: usize = 1024;

/// A library that a program or library may load by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DlopenNote {
    /// The names of the library; any one of them serves.
    pub soname: Vec<String>,
    /// Its priority: `required`, `recommended` or `suggested`.
    #[serde(default)]
    pub priority: String,
}

/// Reads the notes of a file.
pub(super) fn notes(source: &mut dyn ElfSource, layout: &Layout) -> Result<Vec<DlopenNote>, ElfError> {
    let mut found = Vec::new();
    for segment in layout.notes() {
        let align = usize::try_from(segment.p_align).unwrap_or_default().max(4);
        let length = usize::try_from(segment.p_filesz).unwrap_or(usize::MAX).min(LONGEST_NOTES);
        let bytes = source.slice(segment.p_offset, length)?;
        for note in NoteIterator::new(layout.endian, layout.class, align, bytes).take(MOST_ENTRIES) {
            let Note::Unknown(note) = note else { continue };
            if note.n_type == DLOPEN && note.name_str().is_ok_and(|owner| owner == OWNER) {
                found.extend(parse(note.desc)?);
            }
            if found.len() > MOST_NOTES {
                return Err(ElfError::TooMany);
            }
        }
    }
    Ok(found)
}

fn parse(text: &[u8]) -> Result<Vec<DlopenNote>, ElfError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let notes: Vec<DlopenNote> = serde_json::from_slice(text)
        .map_err(|error| ElfError::damaged(format!("its dlopen note: {error}")))?;
    Ok(notes.into_iter().filter(|note| !note.soname.is_empty()).collect())
}
