//! The public keys that a depot shows. Nobody trusts them: they only expose a signature that is not what it claims to be.

use std::path::Path;

use patchadm_inputs::sign::PublicKey;
use patchadm_rootfs::{Dir, RootError};

/// The directory of the keys, below the top of a depot.
pub(super) const KEYS: &[u8] = b"keys";

/// The largest key that is read, in bytes, and the most that are examined.
const LARGEST_KEY: u64 = 4096;
const MOST_KEYS: usize = 1000;

/// Reads the keys that a depot shows. Skips invalid files.
pub(super) fn read_shown_keys(depot: &Path) -> Result<Vec<PublicKey>, RootError> {
    let keys = match Dir::of_host(depot).and_then(|top| top.dir(KEYS)) {
        Ok(keys) => keys,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in keys.names_that_are(|name| name.ends_with(b".pub"))?.into_iter().take(MOST_KEYS) {
        let text = match keys.read_regular(&name, LARGEST_KEY) {
            Err(RootError::TooLarge { .. }) => None,
            read => read?,
        };
        found.extend(text.and_then(|text| PublicKey::parse(&text).ok()));
    }
    Ok(found)
}
