//! What a package says about one object: its type, its class, its attributes, its content.
//!
//! The same value is a line of a pkgmap and a line of `contents` (pkgmap(4), contents(4)); the path stands beside
//! it, because the two files write it differently.

use super::PkgInst;

/// The type of an object: the one-letter `ftype` of pkgmap(4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ftype {
    /// `f`: a regular file.
    File,
    /// `e`: a file that is edited after installation.
    Editable,
    /// `v`: a file whose content is expected to change, as a log.
    Volatile,
    /// `d`: a directory.
    Directory,
    /// `x`: a directory that only this package may put files into.
    Exclusive,
    /// `p`: a named pipe.
    Pipe,
    /// `b`: a block device.
    Block,
    /// `c`: a character device.
    Character,
    /// `s`: a symbolic link.
    Symlink,
    /// `l`: a hard link to another object.
    Link,
    /// `i`: a file of the package itself: pkginfo, a script, depend, …
    Information,
}

impl Ftype {
    /// The letter in a pkgmap.
    pub fn letter(self) -> u8 {
        match self {
            Self::File => b'f',
            Self::Editable => b'e',
            Self::Volatile => b'v',
            Self::Directory => b'd',
            Self::Exclusive => b'x',
            Self::Pipe => b'p',
            Self::Block => b'b',
            Self::Character => b'c',
            Self::Symlink => b's',
            Self::Link => b'l',
            Self::Information => b'i',
        }
    }

    /// The type with this letter.
    pub fn from_letter(letter: u8) -> Option<Self> {
        Some(match letter {
            b'f' => Self::File,
            b'e' => Self::Editable,
            b'v' => Self::Volatile,
            b'd' => Self::Directory,
            b'x' => Self::Exclusive,
            b'p' => Self::Pipe,
            b'b' => Self::Block,
            b'c' => Self::Character,
            b's' => Self::Symlink,
            b'l' => Self::Link,
            b'i' => Self::Information,
            _ => return None,
        })
    }

    /// Whether it is a regular file with content of its own (`f`, `e`, `v`).
    pub fn is_regular(self) -> bool {
        matches!(self, Self::File | Self::Editable | Self::Volatile)
    }

    /// Whether it is a directory (`d`, `x`).
    pub fn is_directory(self) -> bool {
        matches!(self, Self::Directory | Self::Exclusive)
    }

    /// Whether its line has a target (`s`, `l`) instead of attributes.
    pub fn is_link(self) -> bool {
        matches!(self, Self::Symlink | Self::Link)
    }

    /// Whether it is a device (`b`, `c`).
    pub fn is_device(self) -> bool {
        matches!(self, Self::Block | Self::Character)
    }
}

/// Permission bits: octal, at most `07777`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mode(u16);

impl std::fmt::Display for Mode {
    /// Four octal digits, as contents(4) has them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Mode {
    /// Takes permission bits; none if there are others.
    pub fn new(bits: u32) -> Option<Self> {
        u16::try_from(bits).ok().filter(|&bits| bits <= 0o7777).map(Self)
    }

    /// The permission bits of a `st_mode`; the file type bits are dropped.
    #[allow(clippy::cast_possible_truncation)] // twelve bits
    pub fn of(st_mode: u32) -> Self {
        Self((st_mode & 0o7777) as u16)
    }

    /// The bits.
    pub fn bits(self) -> u32 {
        u32::from(self.0)
    }

    /// Whether it lets a program run as its owner or group (setuid, setgid).
    pub fn is_set_id(self) -> bool {
        self.0 & 0o6000 != 0
    }
}

/// Mode, owner and group of an object; `None` is the `?` of a pkgmap: keep what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ObjectAttributes {
    /// Permission bits.
    pub mode: Option<Mode>,
    /// Name of the owner.
    pub owner: Option<String>,
    /// Name of the group.
    pub group: Option<String>,
}

/// Size, checksum and modification time of a regular file or an information file; `None` is `?`: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContentInfo {
    /// Bytes.
    pub size: Option<u64>,
    /// The System V `sum` of the bytes (see [`checksum`](super::checksum)).
    pub cksum: Option<u16>,
    /// Modification time, seconds since 1970.
    pub mtime: Option<i64>,
}

/// Everything a pkgmap or `contents` line says about an object, apart from its path and who owns it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// Its type.
    pub ftype: Ftype,
    /// The class it is installed with; empty for an information file.
    pub class: String,
    /// Where a link points, as written (unescaped); for `s` and `l` only.
    pub target: Option<Vec<u8>>,
    /// Major and minor number, for `b` and `c` only; `None` inside is `?`.
    pub device: Option<(Option<u32>, Option<u32>)>,
    /// Attributes; all unknown for links and information files.
    pub attributes: ObjectAttributes,
    /// Content; all unknown for what has none.
    pub content: ContentInfo,
}

impl Object {
    /// An object of this type and class about which nothing else is known yet.
    pub fn new(ftype: Ftype, class: &str) -> Self {
        Self {
            ftype,
            class: class.to_owned(),
            target: None,
            device: None,
            attributes: ObjectAttributes::default(),
            content: ContentInfo::default(),
        }
    }
}

/// The mark before a package name in `contents` while something is unfinished or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerStatus {
    /// `+`: entered by installf, not final.
    Pending,
    /// `-`: marked by removef.
    Removing,
    /// `!`: not found or partially installed.
    Partial,
    /// `%`: served from a file server.
    Served,
    /// `*`: contents to be confirmed.
    ConfirmContents,
    /// `~`: attributes to be confirmed.
    ConfirmAttributes,
    /// `#`: duplicate.
    Duplicate,
    /// `@`: transient.
    Transient,
}

impl OwnerStatus {
    /// The mark with this character.
    pub fn from_letter(letter: u8) -> Option<Self> {
        Some(match letter {
            b'+' => Self::Pending,
            b'-' => Self::Removing,
            b'!' => Self::Partial,
            b'%' => Self::Served,
            b'*' => Self::ConfirmContents,
            b'~' => Self::ConfirmAttributes,
            b'#' => Self::Duplicate,
            b'@' => Self::Transient,
            _ => return None,
        })
    }

    /// The character of this mark.
    pub fn letter(self) -> u8 {
        match self {
            Self::Pending => b'+',
            Self::Removing => b'-',
            Self::Partial => b'!',
            Self::Served => b'%',
            Self::ConfirmContents => b'*',
            Self::ConfirmAttributes => b'~',
            Self::Duplicate => b'#',
            Self::Transient => b'@',
        }
    }
}

/// One package at the end of a `contents` line: `[status]package[\][:class]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwningPackage {
    /// The mark before the name; none in a clean database.
    pub status: Option<OwnerStatus>,
    /// Who owns the object.
    pub package: PkgInst,
    /// Whether `\` stands behind the name: the package serves the object through another ftype.
    pub alternate: bool,
    /// The class under which this package owns it, where it differs from the line's.
    pub class: Option<String>,
}

impl OwningPackage {
    /// A plain, clean owner.
    pub fn new(package: PkgInst) -> Self {
        Self { status: None, package, alternate: false, class: None }
    }
}
