//! The two lines that keys and signatures are written in: a comment, and base64 of a fixed number of bytes.

use base64ct::{Base64, Encoding};

/// The start of the comment line of every file.
const COMMENT: &str = "untrusted comment: ";

/// Returns the lines of a file without their ends. The last may lack its end; nothing may follow it.
pub(super) fn lines(text: &[u8]) -> Vec<&[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect()
}

/// Returns the comment of the first line; none if it is no comment line.
pub(super) fn comment(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(COMMENT.as_bytes())
}

/// Decodes a line of exactly `N` bytes. Other padding, or stray bits in the last letter, are not accepted.
pub(super) fn decode<const N: usize>(line: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let length = Base64::decode(line, &mut bytes).ok()?.len();
    (length == N).then_some(bytes)
}

/// Encodes the bytes of a line.
pub(super) fn encode(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Writes the comment line and the line after it.
pub(super) fn write(comment: &str, bytes: &[u8]) -> String {
    format!("{COMMENT}{comment}\n{}\n", encode(bytes))
}

/// Takes the first `N` bytes off.
pub(super) fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_spelling_of_some_bytes_is_accepted() {
        assert_eq!(decode::<2>(b"AAE="), Some([0, 1]));
        for wrong in [&b"AAF="[..], b"AAE", b"AAE= ", b"AAEC", b"", b"AA==", b"A*E="] {
            assert_eq!(decode::<2>(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn a_file_ends_with_its_last_line() {
        assert_eq!(lines(b"a\r\nb\n"), [b"a", b"b"]);
        assert_eq!(lines(b"a\nb\n\n").len(), 3);
    }
}
