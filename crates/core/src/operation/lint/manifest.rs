//! Checks of a manifest against what it lists, and whether there is a signature at all. Whether a signature is right is not
//! asked here: that depends on who is trusted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::codes::LintCode;
use super::findings::LintFindings;
use super::subject::LintSubject;
use crate::source::{HeldDigests, HeldMembers};

/// The largest manifest: 64 MiB.
const LARGEST: u64 = 64 << 20;

/// What a manifest may have beside itself without listing it.
const SIGNATURES: [&str; 2] = ["MANIFEST.minisig", "MANIFEST.sig"];

/// A manifest as far as it can be compared.
#[derive(Debug, Default, PartialEq, Eq)]
struct ManifestLines {
    patch: String,
    form: String,
    digests: BTreeMap<Vec<u8>, String>,
}

/// Checks whether a patch is signed, by what is in it or beside it.
pub(super) fn check_signature(path: &Path, held: &HeldMembers, found: &mut LintFindings) {
    let inside = SIGNATURES.iter().any(|name| held.beside.iter().any(|beside| beside == name));
    let outside = ["manifest.minisig", "manifest.sig"].iter().any(|ending| beside(path, ending).is_file());
    if !inside && !outside {
        found.of_patch(LintCode::Unsigned, "there is no signature in it or beside it");
    }
}

/// Checks the manifest inside a patch, whose files have been digested.
pub(super) fn check_members(subject: &LintSubject<'_>, held: &HeldDigests, found: &mut LintFindings) {
    let Some(text) = &held.manifest else { return };
    let mut wrong = |text: String| found.push(LintCode::Manifest, None, Some("MANIFEST".to_owned()), text);
    let manifest = match ManifestLines::parse(text) {
        Ok(manifest) => manifest,
        Err(reason) => return wrong(reason),
    };
    check_head(subject, &manifest, "members", &mut wrong);
    let is_signature = |path: &[u8]| SIGNATURES.iter().any(|name| name.as_bytes() == path);
    for (path, digest) in held.digests.iter().filter(|(path, _)| !is_signature(path)) {
        match manifest.digests.get(path) {
            None => wrong(format!("it does not list {}", path.escape_ascii())),
            Some(listed) if listed != digest => wrong(format!("{} is another file", path.escape_ascii())),
            Some(_) => {}
        }
    }
    for path in manifest.digests.keys().filter(|path| !held.digests.contains_key(*path)) {
        wrong(format!("it lists {}, which is not there", path.escape_ascii()));
    }
    for path in &held.others {
        wrong(format!("{} is no file", path.escape_ascii()));
    }
}

/// Checks the manifest beside a patch that is one file, if there is one.
pub(super) fn check_file(subject: &LintSubject<'_>, path: &Path, found: &mut LintFindings) -> io::Result<()> {
    let place = beside(path, "manifest");
    if !path.is_file() || !place.is_file() {
        return Ok(());
    }
    let mut text = Vec::new();
    File::open(&place)?.take(LARGEST).read_to_end(&mut text)?;
    let mut digest = Sha256::new();
    io::copy(&mut File::open(path)?, &mut digest)?;
    let digest = format!("{:x}", digest.finalize());
    let name = place.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut wrong = |text: String| found.push(LintCode::Manifest, None, name.clone(), text);
    match ManifestLines::parse(&text) {
        Err(reason) => wrong(reason),
        Ok(manifest) => {
            check_head(subject, &manifest, "file", &mut wrong);
            if manifest.digests.values().ne([&digest]) {
                wrong("it is not about this file".to_owned());
            }
        }
    }
    Ok(())
}

fn check_head(
    subject: &LintSubject<'_>,
    manifest: &ManifestLines,
    form: &str,
    wrong: &mut dyn FnMut(String),
) {
    if let Some(id) = subject.id.as_ref().filter(|id| id.as_str() != manifest.patch) {
        wrong(format!("it is for <{}>, the packages are of {id}", manifest.patch));
    }
    if manifest.form != form {
        wrong(format!("its form is <{}>, here it has to be {form}", manifest.form));
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

impl ManifestLines {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let mut manifest = Self::default();
        let body = text.strip_suffix(b"\n").ok_or("its last line has no end")?;
        let mut lines = body.split(|&byte| byte == b'\n').zip(1..);
        if lines.next().map(|(line, _)| line) != Some(b"# patchadm manifest 1".as_slice()) {
            return Err("it does not begin with `# patchadm manifest 1`".to_owned());
        }
        for (line, number) in lines {
            let bad = || format!("line {number} is no line of a manifest");
            if let Some(head) = line.strip_prefix(b"# ") {
                let head = std::str::from_utf8(head).map_err(|_| bad())?;
                match head.split_once(' ').ok_or_else(bad)? {
                    ("patch", id) => id.clone_into(&mut manifest.patch),
                    ("form", form) => form.clone_into(&mut manifest.form),
                    ("date", _) => {}
                    _ => return Err(bad()),
                }
                continue;
            }
            let (path, digest) = entry(line).ok_or_else(bad)?;
            if manifest.digests.last_key_value().is_some_and(|(last, _)| *last >= path) {
                return Err(format!("line {number} is not in order"));
            }
            manifest.digests.insert(path, digest);
        }
        Ok(manifest)
    }
}

/// Reads `SHA256 (path) = digits`, or the same behind a backslash with the path escaped as sha256sum(1) does.
fn entry(line: &[u8]) -> Option<(Vec<u8>, String)> {
    let (is_escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let rest = line.strip_prefix(b"SHA256 (")?;
    let (path, digest) = rest.split_at_checked(rest.len().checked_sub(68)?)?;
    let digest = std::str::from_utf8(digest.strip_prefix(b") = ")?).ok()?;
    let is_digest = digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let path = if is_escaped { unescaped(path)? } else { path.to_vec() };
    (is_digest && !path.is_empty()).then(|| (path, digest.to_owned()))
}

fn unescaped(path: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut bytes) = (Vec::new(), path.iter());
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(out)
}
