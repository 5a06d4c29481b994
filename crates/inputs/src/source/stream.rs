//! A source that is a datastream, read from beginning to end.

use std::io::{self, BufReader, Read};

use super::SourceError;
use super::error::SourceProblem;
use super::member::{Kind, MemberStamp, SourceMember, Visit, checked_name};
use patchadm_svr4::format::datastream;
use patchadm_svr4::format::datastream::{DatastreamPackage, DatastreamPart, DatastreamReader};
use patchadm_svr4::package::PackagePath;

/// The most bytes after the last archive: they are skipped, so that a compression around the stream is checked to its
/// end. No more is read, because the end may never come.
const JUNK: u64 = 1 << 20;

/// The number of bytes that are read at once.
const BUFFER: usize = 1 << 18;

/// Gives each member of each part as `<pkginst>/<path>`; `pkginfo` and `pkgmap` come first, from the table of
/// contents, and the copies in the parts must be equal to them.
pub(super) fn walk<E: From<SourceError>>(
    input: Box<dyn Read + '_>,
    visit: &mut Visit<'_, E>,
    fail: &dyn Fn(SourceProblem) -> SourceError,
) -> Result<(), E> {
    let broken = |error| fail(SourceProblem::of_datastream(error));
    let mut reader = DatastreamReader::open(BufReader::with_capacity(BUFFER, input)).map_err(broken)?;
    for (package, times) in reader.packages().iter().zip(reader.times()) {
        let [pkginfo, pkgmap] = *times;
        for (name, data, mtime) in
            [("pkginfo", &package.pkginfo, pkginfo), ("pkgmap", &package.pkgmap, pkgmap)]
        {
            let path = inside(package, name.as_bytes()).map_err(fail)?;
            let (size, stamp) = (data.len() as u64, MemberStamp { mtime, ..MemberStamp::UNKNOWN });
            visit(&SourceMember { path, kind: Kind::File, size, group: None, stamp }, &mut &data[..])?;
        }
    }
    let mut archive = 0;
    while let Some(part) = reader.next_part().map_err(broken)? {
        archive += 1;
        while let Some(found) = reader.next_member().map_err(broken)? {
            if matches!(found.path.as_bytes(), b"pkginfo" | b"pkgmap") {
                compare(&mut reader, part, &found).map_err(fail)?;
                continue;
            }
            let Some(package) = reader.packages().get(part.package) else { continue };
            let path = inside(package, found.path.as_bytes()).map_err(fail)?;
            let header = &found.header;
            let kind = match () {
                () if header.is_file() => Kind::File,
                () if header.is_directory() => Kind::Directory,
                () if header.is_symlink() => Kind::Symlink,
                () => Kind::Other,
            };
            let several = header.nlink > 1 && kind == Kind::File;
            let device = u64::from(header.dev.0) << 32 | u64::from(header.dev.1);
            let group = several.then_some((archive, device, header.ino.into()));
            let mtime = i64::try_from(header.mtime).unwrap_or(i64::MAX);
            let stamp = MemberStamp { mode: header.mode & 0o7777, mtime };
            visit(&SourceMember { path, kind, size: header.size, group, stamp }, &mut reader)?;
        }
    }
    io::copy(&mut reader.into_inner().take(JUNK), &mut io::sink())
        .map_err(|e| fail(SourceProblem::of_archive(e)))?;
    Ok(())
}

fn inside(package: &DatastreamPackage, path: &[u8]) -> Result<PackagePath, SourceProblem> {
    let name = [package.inst.as_str().as_bytes(), b"/", path].concat();
    checked_name(&name)?.ok_or_else(|| SourceProblem::BadForm("a member has no name".to_owned()))
}

/// Refuses a package that its table of contents and its archive describe differently: it is a trap.
fn compare<R: Read>(
    reader: &mut DatastreamReader<R>,
    part: DatastreamPart,
    found: &datastream::DatastreamMember,
) -> Result<(), SourceProblem> {
    let Some(package) = reader.packages().get(part.package) else { return Ok(()) };
    let (inst, file) = (package.inst.to_string(), found.path.to_string());
    let expected = if file == "pkginfo" { &package.pkginfo } else { &package.pkgmap };
    let (mut same, expected) = (expected.len() as u64 == found.header.size, expected.clone());
    let mut rest = &expected[..];
    let mut buffer = [0; 4096];
    while same {
        let count = reader.read(&mut buffer).map_err(SourceProblem::of_archive)?;
        let (read, tail) = rest.split_at_checked(count).unwrap_or_default();
        same = buffer.get(..count) == Some(read);
        rest = tail;
        if count == 0 {
            break;
        }
    }
    if same {
        return Ok(());
    }
    let reason = "it differs from the one in the table of contents of the datastream".to_owned();
    Err(SourceProblem::CorruptPackageFile { package: inst, file, reason })
}
