//! Debian packages: deb(5) of version 2, read without dpkg.
//!
//! conffiles are editable files. Maintainer scripts are named, never translated. md5sums are ignored, because the
//! compression has checksums.

use std::io::Read;

use super::archive::{ArchiveFile, FilePart, read_limited};
use super::tar_archive::TarPart;
use super::{PackageIdentity, ReleaseForm, ReleasePackage, ReleaseProblem};
use patchadm_releases::{ReleaseObject, ReleaseObjectKind, Upkeep};

pub(super) const MAGIC: &[u8] = b"!<arch>\n";
const LONGEST_CONTROL: u64 = 16 << 20;
const SCRIPTS: [&str; 6] = ["config", "postinst", "postrm", "preinst", "prerm", "triggers"];

#[derive(Default)]
struct Description {
    control: Option<Vec<u8>>,
    conffiles: Vec<u8>,
    scripts: Vec<String>,
}

pub(super) fn read(file: &ArchiveFile, origin: String) -> Result<ReleasePackage, ReleaseProblem> {
    let members = members(file)?;
    let (control, data) = parts(&members)?;
    let description = describe(&TarPart(control))?;
    let fields = description.fields()?;
    let (mut objects, contents) = TarPart(data).list()?;
    for path in conffiles(&description.conffiles) {
        if let Ok(at) = objects.binary_search_by(|object| object.path.as_bytes().cmp(path)) {
            mark_editable(objects.get_mut(at));
        }
    }
    Ok(ReleasePackage {
        origin,
        form: ReleaseForm::Deb,
        source: Some(fields.source.unwrap_or_else(|| fields.package.clone())),
        name: Some(fields.package),
        arch: Some(fields.architecture),
        version: Some(fields.version),
        summary: fields.summary,
        scripts: description.scripts,
        svr4: None,
        objects,
        contents: Box::new(contents),
    })
}

pub(super) fn identify(file: &ArchiveFile) -> Result<PackageIdentity, ReleaseProblem> {
    let (control, _) = parts(&members(file)?)?;
    let ControlFields { package, version, architecture, source, .. } =
        describe(&TarPart(control))?.fields()?;
    let source = source.unwrap_or_else(|| package.clone());
    Ok(PackageIdentity { name: package, arch: architecture, version, source })
}

impl Description {
    fn fields(&self) -> Result<ControlFields, ReleaseProblem> {
        let text = self.control.as_deref();
        ControlFields::parse(text.ok_or_else(|| ReleaseProblem::bad("the package has no control file"))?)
    }
}

fn mark_editable(object: Option<&mut ReleaseObject>) {
    if let Some(ReleaseObjectKind::File { upkeep, .. }) = object.map(|object| &mut object.kind) {
        *upkeep = Upkeep::Editable;
    }
}

fn parts(members: &[ArMember]) -> Result<(FilePart, FilePart), ReleaseProblem> {
    let mut seen = members.iter().filter(|member| !member.name.starts_with('_'));
    let version = seen.next().filter(|member| member.name == "debian-binary");
    let version = version.ok_or_else(|| ReleaseProblem::bad("it is an ar archive, not a Debian package"))?;
    let text = read_limited(&mut version.part.reader(), 64, "debian-binary")?;
    if !text.starts_with(b"2.") {
        return Err(ReleaseProblem::Unsupported("a Debian package of a version other than 2".to_owned()));
    }
    let mut part = |name: &str| match seen.next() {
        Some(member) if member.name == name || member.name.starts_with(&format!("{name}.")) => {
            Ok(member.part.clone())
        }
        _ => Err(ReleaseProblem::BadForm(format!("the package has no {name} where it belongs"))),
    };
    let parts = (part("control.tar")?, part("data.tar")?);
    match seen.next() {
        Some(more) => {
            Err(ReleaseProblem::BadForm(format!("the package has a member <{}> after data.tar", more.name)))
        }
        None => Ok(parts),
    }
}

fn describe(control: &TarPart) -> Result<Description, ReleaseProblem> {
    let mut found = Description::default();
    control.each_file(&mut |path, data| {
        let name = String::from_utf8_lossy(path.relative()).into_owned();
        match name.as_str() {
            "control" => found.control = Some(read_limited(data, LONGEST_CONTROL, "control")?),
            "conffiles" => found.conffiles = read_limited(data, LONGEST_CONTROL, "conffiles")?,
            script if SCRIPTS.contains(&script) && !found.scripts.iter().any(|known| known == script) => {
                found.scripts.push(name);
            }
            _ => {}
        }
        Ok(())
    })?;
    found.scripts.sort();
    Ok(found)
}

const MOST_MEMBERS: usize = 64;

#[derive(Debug)]
struct ArMember {
    name: String,
    part: FilePart,
}

/// Rejects a member that exceeds the file, and bytes after the last one.
fn members(file: &ArchiveFile) -> Result<Vec<ArMember>, ReleaseProblem> {
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
                return Err(ReleaseProblem::bad(
                    "archive is damaged: a member is longer than its header says",
                ));
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

#[derive(Debug, PartialEq, Eq)]
struct ControlFields {
    package: String,
    version: String,
    architecture: String,
    /// Without a version in parentheses.
    source: Option<String>,
    summary: Option<String>,
}

impl ControlFields {
    /// Parses the first paragraph; field names are case-insensitive.
    fn parse(text: &[u8]) -> Result<Self, ReleaseProblem> {
        let text = String::from_utf8_lossy(text);
        let field = |wanted: &str| {
            let lines = text.lines().take_while(|line| !line.trim().is_empty());
            let mut fields =
                lines.filter(|line| !line.starts_with([' ', '\t'])).filter_map(|line| line.split_once(':'));
            fields
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.trim().to_owned())
        };
        let needed = |name: &str| {
            let value = field(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| ReleaseProblem::BadForm(format!("the control file has no {name}")))
        };
        let source = field("Source").and_then(|value| value.split_whitespace().next().map(str::to_owned));
        Ok(Self {
            package: needed("Package")?,
            version: needed("Version")?,
            architecture: needed("Architecture")?,
            source,
            summary: field("Description").filter(|summary| !summary.is_empty()),
        })
    }
}

/// Skips lines with a flag, about files that the package no longer has.
fn conffiles(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| line.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_named_without_its_version() {
        let text = b"package: libssl3\nSource: openssl (3.0.17-1)\nVersion: 1:3.0\nArchitecture: amd64\n\
                     Description: short\n long\n Version: no\n\nPackage: other\n";
        let fields = ControlFields::parse(text).unwrap();
        assert_eq!((fields.package.as_str(), fields.version.as_str()), ("libssl3", "1:3.0"));
        assert_eq!((fields.source.as_deref(), fields.summary.as_deref()), (Some("openssl"), Some("short")));
        assert!(ControlFields::parse(b"Package: a\nVersion: 1\n").is_err());
    }

    #[test]
    fn a_conffile_that_is_to_go_is_none() {
        let list: Vec<_> = conffiles(b"/etc/a\nremove-on-upgrade /etc/b\n\n/etc/c d \n").collect();
        assert_eq!(list, [&b"/etc/a"[..], b"/etc/c d"]);
    }
}
