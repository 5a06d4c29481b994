//! The compression of undo archives.

/// How an undo archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UndoFormat {
    /// gzip(1): `undo.gz`.
    #[default]
    Gzip,
    /// compress(1): `undo.Z`, what classic tools expect.
    Compress,
    /// Not at all: `undo`.
    Plain,
}

impl UndoFormat {
    /// The suffix of the file name, with its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Compress => ".Z",
            Self::Plain => "",
        }
    }
}
