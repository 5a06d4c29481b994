//! A source that is a zip archive (or a jar), read through its central directory.
//!
//! Names that come twice, members that overlap (a small file can be made to unfold into petabytes), encryption, and
//! compression methods unknown to the zip crate are refused.

use std::io::{BufReader, Read, Seek};

use chrono::NaiveDate;
use zip::ZipArchive;
use zip::result::ZipError;

use super::SourceError;
use super::error::SourceProblem;
use super::member::{Kind, MemberStamp, SourceMember, Visit, check_target, checked_name};

/// The longest target of a symbolic link.
const LONGEST_TARGET: u64 = 4096;

fn open<R: Read + Seek>(file: R) -> Result<ZipArchive<BufReader<R>>, SourceProblem> {
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(problem)?;
    if archive.has_duplicate_names() {
        return Err(SourceProblem::BadForm("archive is damaged: a name comes twice".to_owned()));
    }
    if archive.has_overlapping_files().map_err(problem)? {
        return Err(SourceProblem::BadForm("archive is damaged: members overlap".to_owned()));
    }
    Ok(archive)
}

/// Gives each member, in the order of the central directory.
pub(super) fn walk<E: From<SourceError>>(
    file: impl Read + Seek,
    visit: &mut Visit<'_, E>,
    fail: &dyn Fn(SourceProblem) -> SourceError,
) -> Result<(), E> {
    let broken = |error| fail(problem(error));
    let mut archive = open(file).map_err(fail)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let Some(path) = checked_name(entry.name_raw()).map_err(fail)? else { continue };
        let kind = match entry.unix_mode().map(|mode| mode & 0o170_000) {
            Some(0o120_000) => Kind::Symlink,
            _ if entry.is_dir() => Kind::Directory,
            Some(0o100_000 | 0) | None => Kind::File,
            Some(_) => Kind::Other,
        };
        if kind == Kind::Symlink {
            let mut target = Vec::new();
            let read = entry.by_ref().take(LONGEST_TARGET).read_to_end(&mut target);
            read.map_err(|error| fail(SourceProblem::of_archive(error)))?;
            check_target(&path, &target).map_err(fail)?;
        }
        let size = if kind == Kind::File { entry.size() } else { 0 };
        let stamp = stamp(entry.unix_mode(), entry.last_modified());
        visit(&SourceMember { path, kind, size, group: None, stamp }, &mut entry)?;
    }
    Ok(())
}

/// Returns the stamp of a member. A zip archive has local time without a zone: it counts as UTC.
fn stamp(mode: Option<u32>, modified: Option<zip::DateTime>) -> MemberStamp {
    let moment = modified.and_then(|at| {
        let day = NaiveDate::from_ymd_opt(at.year().into(), at.month().into(), at.day().into())?;
        day.and_hms_opt(at.hour().into(), at.minute().into(), at.second().into())
    });
    MemberStamp {
        mode: mode.map_or(MemberStamp::UNKNOWN.mode, |mode| mode & 0o7777),
        mtime: moment.map_or(MemberStamp::UNKNOWN.mtime, |moment| moment.and_utc().timestamp()),
    }
}

fn problem(error: ZipError) -> SourceProblem {
    match error {
        ZipError::Io(error) => SourceProblem::of_archive(error),
        ZipError::UnsupportedArchive(what) => SourceProblem::Unsupported(format!("zip archive: {what}")),
        other => SourceProblem::BadForm(format!("archive is damaged: {other}")),
    }
}
