//! The members of an ar archive (ar(5)), found without reading their content.

use std::io::Read;

use crate::release::archive_file::{ArchiveFile, FilePart};
use crate::release::error::ReleaseProblem;

/// The bytes that an archive begins with.
pub(super) const MAGIC: &[u8] = b"!<arch>\n";

/// The most members of an archive; a Debian package has three.
const MOST_MEMBERS: usize = 64;

/// A member of an archive.
#[derive(Debug)]
pub(super) struct ArMember {
    /// The name without what fills its field.
    pub(super) name: String,
    /// The place of its content.
    pub(super) part: FilePart,
}

/// Finds the members. One that would be longer than the file is an error, as are bytes after the last one.
pub(super) fn members(file: &ArchiveFile) -> Result<Vec<ArMember>, ReleaseProblem> {
    let mut found = Vec::new();
    let mut at = MAGIC.len() as u64;
    while at < file.size() {
        let header: [u8; 60] = bytes(file, at)?;
        let (name, size) = parse(&header)?;
        let start = at + 60;
        let end = start.checked_add(size).filter(|&end| end <= file.size());
        let Some(end) = end else {
            return Err(ReleaseProblem::bad(format!(
                "archive is damaged: member <{name}> is longer than the archive"
            )));
        };
        if found.len() == MOST_MEMBERS {
            return Err(ReleaseProblem::bad(format!("archive has more than {MOST_MEMBERS} members")));
        }
        found.push(ArMember { name, part: file.part(start, size) });
        at = end;
        if end % 2 == 1 && end < file.size() {
            if bytes(file, end)? != *b"\n" {
                return Err(ReleaseProblem::bad("archive is damaged: a member is longer than it says"));
            }
            at = end + 1;
        }
    }
    Ok(found)
}

fn bytes<const N: usize>(file: &ArchiveFile, at: u64) -> Result<[u8; N], ReleaseProblem> {
    let mut bytes = [0; N];
    file.part(at, N as u64).reader().read_exact(&mut bytes).map_err(ReleaseProblem::of_archive)?;
    Ok(bytes)
}

/// The name and size in a header.
fn parse(header: &[u8; 60]) -> Result<(String, u64), ReleaseProblem> {
    let field = |from: usize, to: usize| {
        let text = header.get(from..to).and_then(|field| std::str::from_utf8(field).ok());
        text.map(|text| text.trim_end_matches(' '))
    };
    let size = field(48, 58).filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
    match (field(0, 16), size.and_then(|size| size.parse().ok())) {
        (Some(name), Some(size)) if header.ends_with(b"`\n") => {
            Ok((name.strip_suffix('/').unwrap_or(name).to_owned(), size))
        }
        _ => Err(ReleaseProblem::bad("archive is damaged: the header of an ar member cannot be read")),
    }
}
