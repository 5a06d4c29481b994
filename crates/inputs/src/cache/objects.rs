//! Objects by their digests: a file read to its end and compared.

use std::io::{self, Read};

use crate::sha256::Sha256;
use crate::sign::sha256_text;

const BUFFER: usize = 1 << 18;

/// The digest and size of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectDigest {
    /// The SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// The size in bytes.
    pub size: u64,
}

/// Reads a file to its end, and hands each part of it on; what that returns as an error ends the reading.
pub fn digest_of_file<E: From<io::Error>>(
    file: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<ObjectDigest, E> {
    let (mut sum, mut size, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
    loop {
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        sum.update(bytes);
        size += count as u64;
        each(bytes)?;
    }
    Ok(ObjectDigest { sha256: sha256_text(&sum.finalize()), size })
}
