//! Small files of the host, read up to a limit.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Reads a file of at most `limit` bytes. A larger one is an error.
pub fn read_small(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let bytes = read_start(path, limit)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Reads the first bytes of a file, at most one more than the limit, so that the caller can see that there are too
/// many.
pub fn read_start(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_one_byte_shows_that_it_is_larger() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_small(&path, 5).unwrap(), b"12345");
        assert_eq!(read_small(&path, 4).unwrap_err().to_string(), "it is larger than 4 bytes");
        assert_eq!(read_start(&path, 3).unwrap(), b"1234");
    }
}
