//! The check after each block: a sum of its content.

use std::io::{self, Read};

use crc::{Crc, Table};
use sha2::{Digest as _, Sha256};

use super::header::StreamFlags;
use crate::compressed_input::{CompressedInput, damaged};

pub(super) static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&crc::CRC_64_XZ);

/// The sum of a block's content in progress.
pub(super) enum BlockCheck {
    Nothing,
    Crc32(crc32fast::Hasher),
    Crc64(crc::Digest<'static, u64, Table<16>>),
    Sha256(Box<Sha256>),
}

impl BlockCheck {
    pub(super) fn new(flags: StreamFlags) -> Self {
        match flags {
            StreamFlags::NoCheck => Self::Nothing,
            StreamFlags::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
            StreamFlags::Crc64 => Self::Crc64(CRC64.digest()),
            StreamFlags::Sha256 => Self::Sha256(Box::default()),
        }
    }

    /// Returns the number of bytes that the check takes in the stream.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Crc32(_) => 4,
            Self::Crc64(_) => 8,
            Self::Sha256(_) => 32,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Nothing => {}
            Self::Crc32(sum) => sum.update(bytes),
            Self::Crc64(sum) => sum.update(bytes),
            Self::Sha256(sum) => sum.update(bytes),
        }
    }

    /// Reads the check from the stream and compares.
    pub(super) fn compare<R: Read>(self, input: &mut CompressedInput<R>) -> io::Result<()> {
        let is_right = match self {
            Self::Nothing => true,
            Self::Crc32(sum) => input.array()? == sum.finalize().to_le_bytes(),
            Self::Crc64(sum) => input.array()? == sum.finalize().to_le_bytes(),
            Self::Sha256(sum) => input.array::<32>()? == *sum.finalize(),
        };
        if is_right { Ok(()) } else { Err(damaged("an xz block does not have its checksum")) }
    }
}
