//! The entry of a patch in an index, from its packages and its README.

use patchadm_container::Compression;
use patchadm_inputs::depot::{DepotFile, DepotPackage, DepotPatch};
use patchadm_inputs::source::sun_scripts::role;
use patchadm_inputs::source::{Form, Image, PackageImage};
use patchadm_svr4::format::readme;
use patchadm_svr4::package::Ftype;
use patchadm_svr4::patch::{PatchId, PatchMacros};

/// The scripts of packages that belong to no class.
const PROCEDURES: [&str; 6] =
    ["request", "checkinstall", "preinstall", "postinstall", "preremove", "postremove"];

/// Describes a patch, which is this file of the depot, for an index. The files beside it and its date are left open.
pub(in crate::operation) fn index_entry(image: &Image, macros: &PatchMacros, file: DepotFile) -> DepotPatch {
    let field = |label| image.readme.as_ref().and_then(|(_, text)| readme::field(text, label));
    let keywords = field("Keywords").unwrap_or_default();
    let packages = image.packages.iter().map(|package| {
        let text = |name| package.params.text(name).into_owned();
        DepotPackage { pkg: text("PKG"), arch: text("ARCH"), version: text("VERSION") }
    });
    DepotPatch {
        id: macros.id.to_string(),
        path: file.path,
        sha256: file.sha256,
        size: file.size,
        format: format_word(image.form).to_owned(),
        manifest: None,
        signature: None,
        readme: None,
        date: String::new(),
        synopsis: field("Synopsis").unwrap_or_default(),
        keywords: keywords
            .split([' ', ',', '\n'])
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect(),
        properties: macros.properties.clone(),
        packages: packages.collect(),
        requires: macros.requires.iter().map(|one| join(one.ids())).collect(),
        obsoletes: macros.obsoletes.iter().map(ToString::to_string).collect(),
        incompat: macros.incompatibles.iter().map(ToString::to_string).collect(),
        files: image.packages.iter().map(count_of_objects).sum(),
        flags: Vec::new(),
        scripts: has_own_scripts(image),
        unpacked: image.packages.iter().map(unpacked_bytes).fold(0, u64::saturating_add),
        fixes: macros.fixes.to_strings(),
    }
}

fn count_of_objects(package: &PackageImage) -> u64 {
    let delivered = package.pkgmap.entries.iter();
    let delivered = delivered.filter(|entry| entry.object.ftype != Ftype::Information).count();
    (delivered + package.deletes.len()) as u64
}

fn unpacked_bytes(package: &PackageImage) -> u64 {
    let objects = package.pkgmap.entries.iter().map(|entry| &entry.object);
    let delivered = objects.filter(|object| object.ftype != Ftype::Information);
    delivered.filter_map(|object| object.content.size).fold(0, u64::saturating_add)
}

fn join(alternatives: &[PatchId]) -> String {
    alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

/// Returns whether a patch or one of its packages has a script whose work this program does not do itself.
fn has_own_scripts(image: &Image) -> bool {
    let hooks = &image.hooks;
    let has_hooks = [&hooks.prepatch, &hooks.postpatch, &hooks.prebackout, &hooks.postbackout];
    let is_script =
        |name: &str| PROCEDURES.contains(&name) || name.starts_with("i.") || name.starts_with("r.");
    let mut scripts = image.packages.iter().flat_map(|package| &package.install);
    has_hooks.iter().any(|hook| hook.is_some())
        || scripts.any(|(name, text)| is_script(name) && role(name, text).is_none())
}

/// Returns the word of an index for a form.
fn format_word(form: Form) -> &'static str {
    match form {
        Form::Directory => "dir",
        Form::Zip => "zip",
        Form::Tar(None) => "tar",
        Form::Tar(Some(Compression::Gzip)) => "tar.gz",
        Form::Tar(Some(Compression::Compress)) => "tar.Z",
        Form::Tar(Some(Compression::Bzip2)) => "tar.bz2",
        Form::Tar(Some(Compression::Xz)) => "tar.xz",
        Form::Tar(Some(Compression::Zstd)) => "tar.zst",
        Form::Datastream(None) => "datastream",
        Form::Datastream(Some(Compression::Gzip)) => "datastream.gz",
        Form::Datastream(Some(Compression::Compress)) => "datastream.Z",
        Form::Datastream(Some(Compression::Bzip2)) => "datastream.bz2",
        Form::Datastream(Some(Compression::Xz)) => "datastream.xz",
        Form::Datastream(Some(Compression::Zstd)) => "datastream.zst",
    }
}
