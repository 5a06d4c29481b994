//! `undo.b3`: the line in a save directory that shows people the digest and run of an undo archive (patchadm-undo(5)).
//! The program does not rely on it.
//!
//! ```text
//! <BLAKE3 of the archive>  <its name>  <the run>
//! ```
//! Two blanks separate the fields, as in the output of b3sum(1). The name is the original one of the archive; the
//! archive may have been renamed since.

use patchadm_rootfs::Digest;

/// The parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoDigest {
    /// BLAKE3 of the bytes of the archive.
    pub b3: Digest,
    /// The name of the archive, without two blanks and without newline.
    pub name: Vec<u8>,
    /// The run: `<number>-<16 hexadecimal digits>`.
    pub run: String,
}

impl UndoDigest {
    /// Reads the file; returns `None` if it is anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (digest, rest) = text.strip_suffix(b"\n")?.split_at_checked(64)?;
        let rest = rest.strip_prefix(b"  ")?;
        let gap = rest.windows(2).rposition(|pair| pair == b"  ")?;
        let (name, run) = (rest.get(..gap)?, rest.get(gap + 2..)?);
        let is_run = !run.is_empty() && run.iter().all(u8::is_ascii_graphic);
        let is_name = !name.is_empty() && !name.contains(&b'\n');
        (is_run && is_name).then_some(())?;
        Some(Self {
            b3: Digest::from_hex(str::from_utf8(digest).ok()?)?,
            name: name.to_vec(),
            run: String::from_utf8_lossy(run).into_owned(),
        })
    }

    /// Returns the bytes of the file.
    pub fn write(&self) -> Vec<u8> {
        let digest = self.b3.to_string();
        [digest.as_bytes(), b"  ", &self.name, b"  ", self.run.as_bytes(), b"\n"].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  undo.gz  17-00000000000000ab\n";

    #[test]
    fn the_line_has_the_digest_the_name_and_the_run() {
        let digest = UndoDigest::parse(LINE.as_bytes()).unwrap();
        assert_eq!((&digest.name[..], digest.run.as_str()), (&b"undo.gz"[..], "17-00000000000000ab"));
        assert_eq!(digest.write(), LINE.as_bytes());
    }

    #[test]
    fn anything_else_is_none() {
        for (from, to) in
            [("\n", ""), ("\n", "\n\n"), ("  17", " 17"), ("ba78", "BA7x"), ("undo.gz", ""), ("17-", "1 7-")]
        {
            assert_eq!(UndoDigest::parse(LINE.replacen(from, to, 1).as_bytes()), None, "{from:?} as {to:?}");
        }
    }
}
