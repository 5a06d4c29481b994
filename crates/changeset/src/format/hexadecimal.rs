//! Digests, markers and other numbers that formats write with a fixed number of hexadecimal digits.

/// Returns whether a text consists of exactly this many lower-case hexadecimal digits.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_case_digits_of_the_right_number_are_hexadecimal_and_nothing_else() {
        assert!(is_hex("0123456789abcdef", 16));
        for bad in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdeg"] {
            assert!(!is_hex(bad, 16), "{bad:?}");
        }
    }
}
