//! The arithmetic behind signatures: Ed25519 and the digest that minisign signs in the place of a file.
//!
//! Nothing else in this folder that verifies needs a library, so this file alone depends on the feature `sign`.

/// Whether this build can verify signatures.
pub const IS_AVAILABLE: bool = cfg!(feature = "sign");

/// Tells whether a signature is that of a message. Points of small order and second spellings of a signature are not
/// accepted, as by the tools that use libsodium.
#[cfg(feature = "sign")]
pub(super) fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    ed25519_dalek::VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// Tells that a signature cannot be verified by this build.
#[cfg(not(feature = "sign"))]
pub(super) fn verifies(_key: &[u8; 32], _message: &[u8], _signature: &[u8; 64]) -> bool {
    false
}

/// Computes the BLAKE2b-512 digest of a message.
#[cfg(feature = "sign")]
pub(super) fn prehash(message: &[u8]) -> [u8; 64] {
    use blake2::Digest as _;
    blake2::Blake2b512::digest(message).into()
}

/// Computes nothing: this build verifies no signature.
#[cfg(not(feature = "sign"))]
pub(super) fn prehash(_message: &[u8]) -> [u8; 64] {
    [0; 64]
}
