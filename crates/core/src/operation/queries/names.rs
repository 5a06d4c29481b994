//! The names that a user may be about to type: answered from what can be read, never with an error.

use crate::operation::queries::applied_patches::applied_patches;
use patchadm_inputs::database::{RecordReader, installed, read_consistently};
use patchadm_svr4::package::PkgInst;

/// Returns the ids of the applied patches, in the order of listings, each with its packages; empty if they cannot be read.
pub fn applied_ids<'a>(reader: impl Into<RecordReader<'a>>) -> Vec<(String, String)> {
    let patches = applied_patches(reader).unwrap_or_default();
    let named = patches.iter().map(|patch| {
        let packages: Vec<&str> = patch.packages.iter().map(PkgInst::as_str).collect();
        (patch.id.to_string(), packages.join(" "))
    });
    named.collect()
}

/// Returns the installed packages, by name; empty if they cannot be read.
pub fn package_names<'a>(reader: impl Into<RecordReader<'a>>) -> Vec<String> {
    let names = read_consistently(reader.into(), installed::packages);
    names.unwrap_or_default().iter().map(ToString::to_string).collect()
}
