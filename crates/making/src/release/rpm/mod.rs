//! rpm packages of version 3 and 4, read without rpm.
//!
//! The header decides paths, attributes and large sizes, the payload has the content; SHA-256 digests of both are checked.
//! `%config` files are editable, `%ghost` files are left out. Scriptlets are named, never translated; signatures ignored.

mod header;
mod payload;

use std::io::Read;

use super::archive::ArchiveFile;
use super::{PackageIdentity, ReleaseForm, ReleasePackage, ReleaseProblem};
use header::{RpmHeader, damaged, tags};
use payload::{Payload, StrippedMembers};

pub(super) const MAGIC: &[u8] = b"\xed\xab\xee\xdb";
const LEAD: u64 = 96;
const SHA256: u64 = 8;

pub(super) fn read(file: &ArchiveFile, origin: String) -> Result<ReleasePackage, ReleaseProblem> {
    let (header, start) = header(file)?;
    let (objects, contents) = payload(file, start, &header)?.list(header::listed(&header)?)?;
    let PackageIdentity { name, arch, version, source } = identity(&header)?;
    Ok(ReleasePackage {
        origin,
        form: ReleaseForm::Rpm,
        arch: Some(arch),
        version: Some(version),
        source: Some(source),
        name: Some(name),
        summary: header.string(tags::SUMMARY)?.filter(|summary| !summary.is_empty()),
        scripts: scripts(&header),
        svr4: None,
        objects,
        contents: Box::new(contents),
    })
}

pub(super) fn identify(file: &ArchiveFile) -> Result<PackageIdentity, ReleaseProblem> {
    identity(&header(file)?.0)
}

fn identity(header: &RpmHeader) -> Result<PackageIdentity, ReleaseProblem> {
    let needed = |tag| header.string(tag)?.ok_or_else(damaged);
    let name: String = needed(tags::NAME)?;
    let source = header.string(tags::SOURCE_RPM)?.and_then(|file| source_name(&file));
    Ok(PackageIdentity {
        arch: needed(tags::ARCH)?,
        version: version(header, &needed(tags::VERSION)?, &needed(tags::RELEASE)?)?,
        source: source.unwrap_or_else(|| name.clone()),
        name,
    })
}

fn header(file: &ArchiveFile) -> Result<(RpmHeader, u64), ReleaseProblem> {
    let part = file.part(LEAD, file.size().saturating_sub(LEAD));
    let mut input = std::io::BufReader::new(part.reader());
    let signature = RpmHeader::read(&mut input)?;
    let padding = signature.length.next_multiple_of(8) - signature.length;
    std::io::copy(&mut (&mut input).take(padding), &mut std::io::sink())
        .map_err(ReleaseProblem::of_archive)?;
    let header = RpmHeader::read(&mut input)?;
    if signature.string(tags::SIGNATURE_SHA256)?.is_some_and(|sum| !sum.eq_ignore_ascii_case(&header.sha256))
    {
        return Err(ReleaseProblem::bad("the package is damaged: its header does not match its digest"));
    }
    if header.has(tags::SOURCE_PACKAGE) {
        return Err(ReleaseProblem::Unsupported("a source package".to_owned()));
    }
    let start = LEAD + signature.length + padding + header.length;
    Ok((header, start))
}

fn payload(file: &ArchiveFile, start: u64, header: &RpmHeader) -> Result<Payload, ReleaseProblem> {
    let format = header.string(tags::PAYLOAD_FORMAT)?.unwrap_or_else(|| "cpio".to_owned());
    if format != "cpio" {
        return Err(ReleaseProblem::Unsupported(format!("a payload of the form {format}")));
    }
    let compressor = header.string(tags::PAYLOAD_COMPRESSOR)?.unwrap_or_default();
    if !matches!(compressor.as_str(), "" | "none" | "identity" | "gzip" | "xz" | "zstd") {
        return Err(ReleaseProblem::Unsupported(format!("{compressor} compression")));
    }
    // Since 2018 the header has a digest of the compressed payload.
    let is_sha256 = header.numbers(tags::PAYLOAD_DIGEST_ALGORITHM)?.first() == Some(&SHA256);
    let sha256 = if is_sha256 { header.string(tags::PAYLOAD_DIGEST)? } else { None };
    let stripped = StrippedMembers::listed(header)?;
    Ok(Payload { part: file.part(start, file.size().saturating_sub(start)), sha256, stripped })
}

/// `EPOCH:VERSION-RELEASE`; without the epoch if there is none.
fn version(header: &RpmHeader, version: &str, release: &str) -> Result<String, ReleaseProblem> {
    let epoch = header.numbers(tags::EPOCH)?.first().map(|epoch| format!("{epoch}:")).unwrap_or_default();
    Ok(format!("{epoch}{version}-{release}"))
}

/// `acme` of `acme-1.0-1.src.rpm`.
fn source_name(file: &str) -> Option<String> {
    let stem = file.strip_suffix(".src.rpm").or_else(|| file.strip_suffix(".nosrc.rpm"))?;
    let name = stem.rsplitn(3, '-').nth(2).filter(|name| !name.is_empty())?;
    Some(name.to_owned())
}

fn scripts(header: &RpmHeader) -> Vec<String> {
    let there = tags::SCRIPTS.iter().filter(|(_, tags)| tags.iter().any(|&tag| header.has(tag)));
    there.map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_without_version_and_release() {
        assert_eq!(source_name("acme-tools-1.0-1.src.rpm").as_deref(), Some("acme-tools"));
        assert_eq!(source_name("acme-1.0-1.nosrc.rpm").as_deref(), Some("acme"));
        assert_eq!(source_name("(none)"), None);
    }
}
