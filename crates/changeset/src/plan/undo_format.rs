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
    /// zstd(1): `undo.zst`, which only this program reads.
    Zstd,
    /// xz(1): `undo.xz`, which only this program reads.
    Xz,
    /// The old objects stay as they are, in directories of their own; the archive `undo.files`, compressed by gzip, holds
    /// all but their content.
    Files,
}

/// The file names that undo archives can have in a save directory, with the form of each, in the order in which they are
/// looked for: those of patches that can be backed out first.
pub const ARCHIVE_NAMES: [(&str, UndoFormat); 12] = [
    ("undo.gz", UndoFormat::Gzip),
    ("undo.Z", UndoFormat::Compress),
    ("undo", UndoFormat::Plain),
    ("undo.files", UndoFormat::Files),
    ("undo.zst", UndoFormat::Zstd),
    ("undo.xz", UndoFormat::Xz),
    ("obsolete.gz", UndoFormat::Gzip),
    ("obsolete.Z", UndoFormat::Compress),
    ("obsolete", UndoFormat::Plain),
    ("obsolete.files", UndoFormat::Files),
    ("obsolete.zst", UndoFormat::Zstd),
    ("obsolete.xz", UndoFormat::Xz),
];

impl UndoFormat {
    /// The forms that are an archive with the objects in it, each with its word.
    pub const ARCHIVES: [(&'static str, Self); 5] = [
        Self::Gzip.named(),
        Self::Compress.named(),
        Self::Plain.named(),
        Self::Zstd.named(),
        Self::Xz.named(),
    ];

    /// All forms, each with the word for it in options and policies.
    pub const ALL: [(&'static str, Self); 6] = [
        Self::Gzip.named(),
        Self::Compress.named(),
        Self::Plain.named(),
        Self::Zstd.named(),
        Self::Xz.named(),
        Self::Files.named(),
    ];

    /// Returns the form of an archive with this file name.
    pub fn of_name(name: &[u8]) -> Self {
        let has_suffix = |format: &Self| name.ends_with(format.suffix().as_bytes());
        [Self::Gzip, Self::Compress, Self::Zstd, Self::Xz, Self::Files]
            .into_iter()
            .find(has_suffix)
            .unwrap_or(Self::Plain)
    }

    /// Tells whether a file in a save directory has the name of an archive in this form.
    pub fn has_archive_named(self, name: &[u8]) -> bool {
        ARCHIVE_NAMES.iter().any(|(archive, format)| archive.as_bytes() == name && *format == self)
    }

    /// Tells whether this build can write the form. Every build reads all of them.
    pub const fn is_written(self) -> bool {
        match self {
            Self::Zstd => patchadm_container::zstd::IS_WRITTEN,
            Self::Xz => patchadm_container::xz::IS_WRITTEN,
            Self::Gzip | Self::Compress | Self::Plain | Self::Files => true,
        }
    }

    /// Tells whether an archive in this form, in a save directory, is one of this program: other programs that kept undo
    /// data there compressed it by compress(1), or not at all.
    pub const fn is_of_this_program(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd | Self::Xz | Self::Files)
    }

    /// Tells whether the form is an archive that only this program reads.
    pub const fn is_read_by_this_program_only(self) -> bool {
        matches!(self, Self::Zstd | Self::Xz)
    }

    const fn named(self) -> (&'static str, Self) {
        (self.word(), self)
    }

    /// Returns the word for the form in options, policies and documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Compress => "Z",
            Self::Plain => "none",
            Self::Zstd => "zst",
            Self::Xz => "xz",
            Self::Files => "files",
        }
    }

    /// Returns the suffix of the file name, with its dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Compress => ".Z",
            Self::Plain => "",
            Self::Zstd => ".zst",
            Self::Xz => ".xz",
            Self::Files => ".files",
        }
    }
}
