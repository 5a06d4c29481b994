//! Checks of files against pkgmap and manifest. Signatures are not verified: that depends on trusted keys.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::findings::{LintCode, LintFindings};
use super::subject::{LintPackage, LintSubject};
use patchadm_inputs::input_file::{InputFile, read_start};
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::{LARGEST_MANIFEST, Manifest, ManifestForm, Sha256Sum};
use patchadm_inputs::source::{HeldDigests, HeldMembers, HeldSum};
use patchadm_svr4::package::{ContentInfo, PackagePath, checksum};

pub(super) fn check_contents(subject: &LintSubject<'_>, held: &HeldMembers, found: &mut LintFindings) {
    // By package.
    let mut objects = held.objects.keys().peekable();
    for (place, package) in subject.packages.iter().enumerate() {
        check_information(package, found);
        let mut listed = BTreeSet::new();
        for entry in package.image.files() {
            listed.insert(&entry.path);
            match held.objects.get(&(place, entry.path.clone())) {
                None => {
                    found.of_path(LintCode::Member, package.directory(), &entry.path, "its file is missing");
                }
                Some(sum) => compare(package, &entry.path, entry.object.content, *sum, found),
            }
        }
        while let Some((_, path)) = objects.next_if(|(of, _)| *of == place) {
            if !listed.contains(path) {
                found.of_path(
                    LintCode::Member,
                    package.directory(),
                    path,
                    "the pkgmap does not list this file",
                );
            }
        }
    }
    for (place, path) in &held.strays {
        let package = subject.packages.get(*place).map_or("", LintPackage::directory);
        found.of_path(LintCode::Member, package, path, "it is not part of a package");
    }
}

fn check_information(package: &LintPackage<'_>, found: &mut LintFindings) {
    let mut listed = BTreeSet::from(["pkginfo".to_owned()]);
    for entry in package.image.pkgmap.entries.iter().filter(|entry| entry.is_information()) {
        let name = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
        let bytes = if name == "pkginfo" {
            Some(&package.image.pkginfo_bytes)
        } else {
            package.image.install.get(&name)
        };
        match bytes {
            None => found.of_path(LintCode::Member, package.directory(), &entry.path, "its file is missing"),
            Some(bytes) => {
                let sum = HeldSum { size: bytes.len() as u64, cksum: checksum::sum(bytes) };
                compare(package, &entry.path, entry.object.content, sum, found);
            }
        }
        listed.insert(name);
    }
    for name in package.image.install.keys().filter(|name| !listed.contains(*name)) {
        found.of_path(LintCode::Member, package.directory(), name, "the pkgmap does not list this file");
    }
}

fn compare(
    package: &LintPackage<'_>,
    path: &PackagePath,
    expected: ContentInfo,
    sum: HeldSum,
    found: &mut LintFindings,
) {
    match (expected.size, expected.cksum) {
        (Some(size), _) if size != sum.size => {
            let text = format!("it has {} bytes, but the pkgmap says {size}", sum.size);
            found.of_path(LintCode::Size, package.directory(), path, text);
        }
        (_, Some(cksum)) if cksum != sum.cksum => {
            let text = format!("its checksum is {}, but the pkgmap says {cksum}", sum.cksum);
            found.of_path(LintCode::Checksum, package.directory(), path, text);
        }
        _ => {}
    }
}

/// Files beside a manifest that it does not list.
const SIGNATURES: [&str; 2] = ["MANIFEST.minisig", "MANIFEST.sig"];

pub(super) fn check_signature(path: &Path, held: &HeldMembers, found: &mut LintFindings) {
    let inside = SIGNATURES.iter().any(|name| held.beside.iter().any(|beside| beside == name));
    let outside = ["manifest.minisig", "manifest.sig"].iter().any(|ending| beside(path, ending).is_file());
    if !inside && !outside {
        found.of_patch(LintCode::Unsigned, "there is no signature in it or beside it");
    }
}

pub(super) fn check_members(subject: &LintSubject<'_>, held: &HeldDigests, found: &mut LintFindings) {
    let Some(text) = &held.manifest else { return };
    let mut wrong = |text: String| found.push(LintCode::Manifest, None, Some("MANIFEST".to_owned()), text);
    let manifest = match Manifest::parse(text) {
        Ok(manifest) => manifest,
        Err(reason) => return wrong(reason.to_string()),
    };
    check_head(subject, &manifest, ManifestForm::Members, &mut wrong);
    let is_signature = |path: &[u8]| SIGNATURES.iter().any(|name| name.as_bytes() == path);
    for (path, sum) in held.digests.iter().filter(|(path, _)| !is_signature(path)) {
        match manifest.sum(path) {
            None => wrong(format!("it does not list {}", path.escape_ascii())),
            Some(listed) if listed != sum => wrong(format!("{} differs", path.escape_ascii())),
            Some(_) => {}
        }
    }
    for entry in manifest.entries.iter().filter(|entry| !held.digests.contains_key(&entry.path)) {
        wrong(format!("it lists {}, which does not exist", entry.path.escape_ascii()));
    }
    for path in &held.others {
        wrong(format!("{} is not a file", path.escape_ascii()));
    }
}

pub(super) fn check_file(subject: &LintSubject<'_>, path: &Path, found: &mut LintFindings) -> io::Result<()> {
    let place = beside(path, "manifest");
    if !path.is_file() || !place.is_file() {
        return Ok(());
    }
    let text = read_start(&place, LARGEST_MANIFEST)?;
    let mut digest = Sha256::new();
    io::copy(&mut InputFile::open(path)?, &mut digest)?;
    let sum: Sha256Sum = digest.finalize();
    let name = place.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut wrong = |text: String| found.push(LintCode::Manifest, None, name.clone(), text);
    match Manifest::parse(&text) {
        Err(reason) => wrong(reason.to_string()),
        Ok(manifest) => {
            check_head(subject, &manifest, ManifestForm::File, &mut wrong);
            if manifest.entries.iter().any(|entry| entry.sum != sum) {
                wrong("it is not for this file".to_owned());
            }
        }
    }
    Ok(())
}

fn check_head(
    subject: &LintSubject<'_>,
    manifest: &Manifest,
    form: ManifestForm,
    wrong: &mut dyn FnMut(String),
) {
    if let Some(id) = subject.id.as_ref().filter(|id| id.as_str() != manifest.patch) {
        wrong(format!("it is for <{}>, but the packages are for {id}", manifest.patch));
    }
    if manifest.form != form {
        wrong(format!("its form is <{}>, but must be {} here", manifest.form.word(), form.word()));
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
