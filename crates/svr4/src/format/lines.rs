//! Numbered lines of a text file, limited in length: a file without newlines is refused before it fills the memory.

use std::io::{self, BufRead, Read};

/// The length of the longest line in any text file, in bytes without its newline: 1 MiB.
pub const LONGEST_LINE: usize = 1 << 20;

/// A line longer than [`LONGEST_LINE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is longer than {LONGEST_LINE} bytes")]
#[non_exhaustive]
pub struct LineTooLong {
    /// The line number, counted from 1.
    pub line: u64,
}

/// Splits `text` into numbered lines without their newlines. A last line without a newline counts.
pub fn numbered_lines(text: &[u8]) -> impl Iterator<Item = Result<(u64, &[u8]), LineTooLong>> {
    text.split_inclusive(|&byte| byte == b'\n').zip(1u64..).map(|(raw, line)| {
        let content = raw.strip_suffix(b"\n").unwrap_or(raw);
        if content.len() > LONGEST_LINE { Err(LineTooLong { line }) } else { Ok((line, content)) }
    })
}

/// The result of [`read_line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineRead {
    /// A line, now in the buffer without its newline.
    Line,
    /// A line longer than the limit.
    TooLong,
    /// The end of the input.
    End,
}

/// Reads the next line into `buffer`, replacing the previous one.
pub(crate) fn read_line(from: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<LineRead> {
    buffer.clear();
    from.take(LONGEST_LINE as u64 + 1).read_until(b'\n', buffer)?;
    if buffer.is_empty() {
        return Ok(LineRead::End);
    }
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
    } else if buffer.len() > LONGEST_LINE {
        return Ok(LineRead::TooLong);
    }
    Ok(LineRead::Line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        let fits = [vec![b'x'; LONGEST_LINE], b"\n".to_vec()].concat();
        assert_eq!(numbered_lines(&fits).next().unwrap().unwrap().1.len(), LONGEST_LINE);
        let mut buffer = Vec::new();
        assert_eq!(read_line(&mut &fits[..], &mut buffer).unwrap(), LineRead::Line);
        assert_eq!(buffer.len(), LONGEST_LINE);

        let long = vec![b'x'; LONGEST_LINE + 1];
        assert_eq!(numbered_lines(&long).next(), Some(Err(LineTooLong { line: 1 })));
        assert_eq!(read_line(&mut &long[..], &mut buffer).unwrap(), LineRead::TooLong);
    }

    #[test]
    fn a_last_line_without_newline_counts() {
        let lines: Vec<_> = numbered_lines(b"a\n\nb").map(Result::unwrap).collect();
        assert_eq!(lines, [(1, &b"a"[..]), (2, b""), (3, b"b")]);
        let mut text = &b"a\n\nb"[..];
        let mut buffer = Vec::new();
        for expected in [&b"a"[..], b"", b"b"] {
            assert_eq!(read_line(&mut text, &mut buffer).unwrap(), LineRead::Line);
            assert_eq!(buffer, expected);
        }
        assert_eq!(read_line(&mut text, &mut buffer).unwrap(), LineRead::End);
    }
}
