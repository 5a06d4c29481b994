//! The forms of undo archives.

/// The form of an undo archive: how it is compressed, or that the old objects are no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UndoFormat {
    /// gzip(1): `undo.gz`.
    #[default]
    Gzip,
    /// compress(1): `undo.Z`, as classic tools expect.
    Compress,
    /// Not at all: `undo`.
    Plain,
    /// The old objects stay as they are, in directories of their own; the archive `undo.files`, compressed by gzip, holds
    /// all but their content.
    Files,
}

impl UndoFormat {
    /// The forms that are an archive with the objects in it, each with its word.
    pub const ARCHIVES: [(&'static str, Self); 3] =
        [Self::Gzip.named(), Self::Compress.named(), Self::Plain.named()];

    /// All forms, each with the word for it in options and policies.
    pub const ALL: [(&'static str, Self); 4] =
        [Self::Gzip.named(), Self::Compress.named(), Self::Plain.named(), Self::Files.named()];

    const fn named(self) -> (&'static str, Self) {
        (self.word(), self)
    }

    /// Returns the word for the form in options, policies and documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Compress => "Z",
            Self::Plain => "none",
            Self::Files => "files",
        }
    }

    /// Returns the suffix of the file name, with its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Compress => ".Z",
            Self::Plain => "",
            Self::Files => ".files",
        }
    }
}
