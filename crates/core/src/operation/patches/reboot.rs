//! What a patch requests for the time after its installation. It is reported, never done.

use patchadm_inputs::source::Image;
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::format::readme::{ReadmeReboot, reboot_request};

/// The words of `PATCH_PROPERTIES` that ask for a reboot, strongest first.
const WORDS: [&str; 4] = ["reconfigimmediate", "rebootimmediate", "reconfigafter", "rebootafter"];

/// Returns what `patchinfo` requests, or the README if there is none.
pub(super) fn advice(image: &Image) -> Option<&'static str> {
    asked_by(image.patchinfo.as_ref(), image.readme.as_ref().map(|(_, text)| text.as_slice()))
}

/// Returns the same for given files.
pub(in crate::operation) fn asked_by(
    patchinfo: Option<&PatchinfoFile>,
    readme: Option<&[u8]>,
) -> Option<&'static str> {
    if let Some(patchinfo) = patchinfo {
        let asked = |word: &&&str| patchinfo.properties.iter().any(|property| property == **word);
        return WORDS.iter().find(asked).copied();
    }
    Some(match reboot_request(readme?)? {
        ReadmeReboot::ReconfigureImmediately => "reconfigimmediate",
        ReadmeReboot::RebootImmediately => "rebootimmediate",
        ReadmeReboot::ReconfigureAfter => "reconfigafter",
        ReadmeReboot::RebootAfter => "rebootafter",
    })
}
