//! The response file for patch scripts, with the names of published ones (patchadd(1M), patchrm(1M)).

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use patchadm_svr4::format::response::{UnwritableValue, write};
use patchadm_svr4::package::Params;

#[derive(Clone, Copy, Debug)]
pub(crate) struct ApplyResponse<'a> {
    pub(crate) patch: &'a str,
    pub(crate) obsoletes: &'a str,
    /// Applied patches are applied again.
    pub(crate) unconditional: bool,
    pub(crate) no_undo: bool,
    /// Replaces the save directory.
    pub(crate) undo_dir: Option<&'a Path>,
    /// Private directory for building backout packages.
    pub(crate) build_dir: &'a Path,
    pub(crate) delivered: &'a Params,
    pub(crate) installed: &'a Params,
}

impl ApplyResponse<'_> {
    pub(crate) fn text(&self) -> Result<Vec<u8>, UnwritableValue> {
        let mut params = Params::new();
        let word = |is: bool| if is { "true" } else { "false" };
        params.push("PATCH_PROGRESSIVE", "false");
        params.push("PATCH_UNCONDITIONAL", word(self.unconditional));
        params.push("PATCH_NO_UNDO", if self.no_undo { "true" } else { "" });
        params.push("PATCH_BUILD_DIR", self.build_dir.as_os_str().as_bytes());
        let archive = self.undo_dir.map_or(&b"none"[..], |directory| directory.as_os_str().as_bytes());
        params.push("PATCH_UNDO_ARCHIVE", archive);
        for (name, value) in [("Patch_label", self.patch), ("Obsoletes_label", self.obsoletes)] {
            if self.delivered.get(name).is_none() {
                params.push(name, value);
            }
        }
        // An earlier patch's list must not get into this backout package.
        if self.installed.get("ACTIVE_OBSOLETES").is_some() {
            params.push("ACTIVE_OBSOLETES", "");
        }
        write(&params)
    }
}

/// The present records.
pub(crate) fn of_backout(installed: &Params) -> Result<Vec<u8>, UnwritableValue> {
    let mut params = Params::new();
    params.push("OLDLIST", installed.get("PATCHLIST").unwrap_or_default());
    params.push("PATCH_OBSOLETES", installed.get("PATCH_OBSOLETES").unwrap_or_default());
    write(&params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_told_what_their_package_does_not_say() {
        let delivered = Params::from_iter([("Patch_label", "900-01")]);
        let installed = Params::from_iter([("PATCHLIST", "100-01 200-01"), ("ACTIVE_OBSOLETES", "50-01")]);
        let applying = ApplyResponse {
            patch: "900-01",
            obsoletes: "890-02 880-01",
            unconditional: false,
            no_undo: true,
            undo_dir: None,
            build_dir: Path::new("/var/tmp/x"),
            delivered: &delivered,
            installed: &installed,
        };
        assert_eq!(
            String::from_utf8(applying.text().unwrap()).unwrap(),
            "PATCH_PROGRESSIVE=false\nPATCH_UNCONDITIONAL=false\nPATCH_NO_UNDO=true\nPATCH_BUILD_DIR=/var/tmp/x\n\
             PATCH_UNDO_ARCHIVE=none\nObsoletes_label=\"890-02 880-01\"\nACTIVE_OBSOLETES=\n"
        );
        let text = of_backout(&installed).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "OLDLIST=\"100-01 200-01\"\nPATCH_OBSOLETES=\n");
    }
}
