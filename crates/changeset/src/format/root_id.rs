//! The identity of a root, `var/sadm/patchadm/root-id`: one line with its marker, which the journal repeats.
//!
//! The marker is 16 hexadecimal digits, random, made with the first run of a root and never changed by a run. Undo
//! archives and stages carry it, so that those of another root can be recognised.

use super::journal::is_marker;
use patchadm_svr4::package::rule::holds;

/// The largest file that is read, in bytes.
pub const LARGEST: u64 = 4096;

/// Reads the marker. `None` for anything but one line as [`write()`] makes it.
pub fn parse(bytes: &[u8]) -> Option<String> {
    let marker = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    holds("root-id.marker", is_marker(marker)).then(|| marker.to_owned())
}

/// Makes the bytes of the file.
pub fn write(marker: &str) -> Vec<u8> {
    format!("{marker}\n").into_bytes()
}

/// Makes a marker from a random number.
pub fn marker(random: u64) -> String {
    format!("{random:016x}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_line_of_sixteen_digits_is_an_identity_and_nothing_else() {
        assert_eq!(parse(b"00112233445566ff\n").as_deref(), Some("00112233445566ff"));
        for bad in ["", "\n", "00112233445566ff", "00112233445566FF\n", "0011\n", "00112233445566ff\n\n"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse(&[0; 17]), None);
    }

    proptest! {
        #[test]
        fn any_marker_comes_back(number: u64) {
            prop_assert_eq!(parse(&write(&marker(number))), Some(marker(number)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
