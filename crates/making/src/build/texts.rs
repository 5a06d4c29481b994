//! Texts beside the packages: `README.<id>` for people and `patchinfo` for programs.

use chrono::DateTime;

use super::request::{BuildRequest, PatchLists};
use super::sparse::SparsePackage;
use patchadm_inputs::native::FIXED_IN;
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::package::{ObjectPath, PathError, escape};

const PATCHINFO_VERSION: &str = "1.0";

const INSTALL_REQUIREMENTS: [(&str, &str); 4] = [
    ("reconfigimmediate", "Reconfigure immediately after installing this patch"),
    ("rebootimmediate", "Reboot immediately after installing this patch"),
    ("reconfigafter", "Reconfigure after installing this patch"),
    ("rebootafter", "Reboot after installing this patch"),
];

pub(super) fn readme_name(request: &BuildRequest) -> String {
    format!("README.{}", request.id)
}

pub(super) fn readme(
    request: &BuildRequest,
    lists: &PatchLists,
    packages: &[&SparsePackage],
) -> Result<Vec<u8>, PathError> {
    let date = DateTime::from_timestamp(request.date, 0).unwrap_or_default().format("%b/%d/%y");
    let text = &request.readme;
    let mut arches: Vec<&str> = packages.iter().map(|package| package.arch.as_str()).collect();
    arches.sort_unstable();
    arches.dedup();
    let asked =
        INSTALL_REQUIREMENTS.iter().find(|(word, _)| request.properties.iter().any(|own| own == word));
    let mut out = format!("Patch-ID# {}\n", request.id);
    let corrected: Vec<String> = text.bugs.iter().cloned().chain(lists.fixes.to_strings()).collect();
    for (label, value) in [
        ("Keywords", text.keywords.join(" ")),
        ("Synopsis", text.synopsis.clone().unwrap_or_default()),
        ("Date", date.to_string()),
        ("Install Requirements", asked.map(|(_, text)| (*text).to_owned()).unwrap_or_default()),
        ("Relevant Architectures", arches.join(" ")),
        ("Bugs fixed with this patch", lines(&corrected)),
        ("Patches accumulated and obsoleted by this patch", lists.obsoletes.to_string()),
        ("Patches which conflict with this patch", lists.incompatibles.to_string()),
        ("Patches required with this patch", lists.requires.joined(" ")),
        ("Obsoleted by", String::new()),
    ] {
        let line = format!("{label}: {value}");
        out.push_str(line.trim_end());
        out.push_str("\n\n");
    }
    out.push_str("Files included with this patch:\n");
    let mut out = out.into_bytes();
    for package in packages {
        put_files(&mut out, package)?;
    }
    Ok(out)
}

fn lines(entries: &[String]) -> String {
    std::iter::once("").chain(entries.iter().map(String::as_str)).collect::<Vec<_>>().join("\n")
}

fn put_files(out: &mut Vec<u8>, package: &SparsePackage) -> Result<(), PathError> {
    let delivered = package.delivered.iter().map(|(path, delivered)| (path, Some(&delivered.object)));
    let mut all: Vec<_> = delivered.chain(package.deleted.iter().map(|path| (path, None))).collect();
    all.sort_by_key(|(path, _)| *path);
    for (path, object) in all {
        out.extend_from_slice(&escape(shown(package, path)?.as_bytes()));
        match object {
            None => out.extend_from_slice(b" (deleted)"),
            Some(object) => {
                if let Some(content) = object.content() {
                    out.extend_from_slice(format!(" {}", content.size).as_bytes());
                }
            }
        }
        out.push(b'\n');
    }
    Ok(())
}

/// The usual path of installation.
fn shown(package: &SparsePackage, path: &ObjectPath) -> Result<ObjectPath, PathError> {
    package.basedir.join(path.relative())
}

pub(super) fn patchinfo(request: &BuildRequest, lists: &PatchLists, packages: &[&SparsePackage]) -> Vec<u8> {
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    let mut arch: Vec<String> = packages.iter().map(|package| package.arch.clone()).collect();
    arch.sort();
    arch.dedup();
    let corrects = packages.iter().map(|SparsePackage { pkg, arch, version, .. }| {
        format!("{arch}:{pkg}:{version}").replace(char::is_whitespace, "_")
    });
    PatchinfoFile {
        version: PATCHINFO_VERSION.to_owned(),
        patch_id: request.id.to_string(),
        corrects: corrects.collect(),
        arch,
        properties: request.properties.clone(),
        obsoletes: words(lists.obsoletes.to_string()),
        requires: words(lists.requires.joined(" ")),
        incompat: words(lists.incompatibles.to_string()),
        fixes: lists.fixes.to_strings(),
        other: request.fixed_in.iter().map(|fixed| (FIXED_IN, fixed.to_string())).collect(),
        ..PatchinfoFile::default()
    }
    .write()
}
