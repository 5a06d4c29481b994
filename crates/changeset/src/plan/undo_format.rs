//! The compression of undo archives.

/// The compression of an undo archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UndoFormat {
    /// gzip(1): `undo.gz`.
    #[default]
    Gzip,
    /// compress(1): `undo.Z`, as classic tools expect.
    Compress,
    /// Not at all: `undo`.
    Plain,
}

impl UndoFormat {
    /// Returns the suffix of the file name, with its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Compress => ".Z",
            Self::Plain => "",
        }
    }
}
