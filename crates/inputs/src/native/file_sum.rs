//! The sum of a file as a native package manager records it.

use std::fmt;
use std::io::{self, Read};

use md5::{Digest as _, Md5};

use crate::sha256::Sha256;

/// A recorded sum. It says whether a file is the delivered one, and not who delivered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSum {
    /// MD5: dpkg, and early packages of rpm.
    Md5([u8; 16]),
    /// SHA-256: rpm.
    Sha256([u8; 32]),
}

impl FileSum {
    /// Parses hexadecimal digits; their number says which sum it is.
    pub fn parse(digits: &[u8]) -> Option<Self> {
        match digits.len() {
            32 => bytes_of(digits).map(Self::Md5),
            64 => bytes_of(digits).map(Self::Sha256),
            _ => None,
        }
    }

    /// Tells whether it is the sum of these bytes.
    pub fn is_of(&self, bytes: &mut impl Read) -> io::Result<bool> {
        Ok(match self {
            Self::Md5(expected) => {
                let mut sum = Md5::new();
                io::copy(bytes, &mut sum)?;
                expected[..] == sum.finalize()[..]
            }
            Self::Sha256(expected) => {
                let mut sum = Sha256::new();
                io::copy(bytes, &mut sum)?;
                expected[..] == sum.finalize()[..]
            }
        })
    }
}

impl fmt::Display for FileSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Md5(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn bytes_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut sum = [0; N];
    for (byte, two) in sum.iter_mut().zip(digits.chunks(2)) {
        let text = std::str::from_utf8(two)
            .ok()
            .filter(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_that_of_its_bytes_and_the_number_of_digits_says_which() {
        let md5 = FileSum::parse(b"d41d8cd98f00b204e9800998ecf8427e").unwrap();
        let sha = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let sha256 = FileSum::parse(sha).unwrap();
        for sum in [md5, sha256] {
            assert!(sum.is_of(&mut &b""[..]).unwrap());
            assert!(!sum.is_of(&mut &b"x"[..]).unwrap());
        }
        assert_eq!(sha256.to_string().as_bytes(), sha);
        for wrong in
            [&b""[..], b"d41d", b"zz1d8cd98f00b204e9800998ecf8427e", b"+41d8cd98f00b204e9800998ecf8427e"]
        {
            assert_eq!(FileSum::parse(wrong), None);
        }
    }
}
