//! What a patch wants to happen after its installation. It is told, never done.

use crate::source::Image;
use patchadm_svr4::format::readme::{ReadmeReboot, reboot_request};

/// The words of `PATCH_PROPERTIES` that ask for a reboot, strongest first.
const WORDS: [&str; 4] = ["reconfigimmediate", "rebootimmediate", "reconfigafter", "rebootafter"];

/// What `patchinfo`, or the README where there is none, asks for.
pub(super) fn advice(image: &Image) -> Option<&'static str> {
    if let Some(patchinfo) = &image.patchinfo {
        let asked = |word: &&&str| patchinfo.properties.iter().any(|property| property == **word);
        return WORDS.iter().find(asked).copied();
    }
    let (_, text) = image.readme.as_ref()?;
    Some(match reboot_request(text)? {
        ReadmeReboot::ReconfigureImmediately => "reconfigimmediate",
        ReadmeReboot::RebootImmediately => "rebootimmediate",
        ReadmeReboot::ReconfigureAfter => "reconfigafter",
        ReadmeReboot::RebootAfter => "rebootafter",
    })
}
