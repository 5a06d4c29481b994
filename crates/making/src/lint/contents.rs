//! Checks of the files against the pkgmap: sizes, sums, missing and superfluous files.

use std::collections::BTreeSet;

use super::codes::LintCode;
use super::findings::LintFindings;
use super::subject::{LintPackage, LintSubject};
use patchadm_inputs::source::{FileSum, HeldMembers};
use patchadm_svr4::package::checksum;
use patchadm_svr4::package::{ContentInfo, PackagePath};

/// Compares what a source holds with what its pkgmaps say.
pub(super) fn check(subject: &LintSubject<'_>, held: &HeldMembers, found: &mut LintFindings) {
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
        let objects = held.objects.keys().filter(|(of, path)| *of == place && !listed.contains(path));
        for (_, path) in objects {
            found.of_path(LintCode::Member, package.directory(), path, "the pkgmap does not have this file");
        }
    }
    for (place, path) in &held.strays {
        let package = subject.packages.get(*place).map_or("", LintPackage::directory);
        found.of_path(LintCode::Member, package, path, "it is no part of a package");
    }
}

/// Compares the files of `install` and the pkginfo.
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
                let sum = FileSum { size: bytes.len() as u64, cksum: checksum::sum(bytes) };
                compare(package, &entry.path, entry.object.content, sum, found);
            }
        }
        listed.insert(name);
    }
    for name in package.image.install.keys().filter(|name| !listed.contains(*name)) {
        found.of_path(LintCode::Member, package.directory(), name, "the pkgmap does not have this file");
    }
}

fn compare(
    package: &LintPackage<'_>,
    path: &PackagePath,
    expected: ContentInfo,
    sum: FileSum,
    found: &mut LintFindings,
) {
    match (expected.size, expected.cksum) {
        (Some(size), _) if size != sum.size => {
            let text = format!("it has {} bytes, the pkgmap says {size}", sum.size);
            found.of_path(LintCode::Size, package.directory(), path, text);
        }
        (_, Some(cksum)) if cksum != sum.cksum => {
            let text = format!("its sum is {}, the pkgmap says {cksum}", sum.cksum);
            found.of_path(LintCode::Checksum, package.directory(), path, text);
        }
        _ => {}
    }
}
