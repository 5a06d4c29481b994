//! One object of a package, as in pkgmap(4) and contents(4) lines, without its path.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use crate::package::{ObjectPath, PkgInst};

/// The type of an object: the one-letter `ftype` of pkgmap(4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ftype {
    /// `f`: a regular file.
    File,
    /// `e`: a file that scripts or administrators edit after installation.
    Editable,
    /// `v`: a file whose content is expected to change, for example a log.
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
    /// `i`: an information file of the package itself: pkginfo, a script, depend, …
    Information,
}

impl Ftype {
    /// Returns the type's letter in a pkgmap.
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

    /// Returns the type with this letter.
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

    /// Returns true if the object is a regular file with its own content (`f`, `e`, `v`).
    pub fn is_regular(self) -> bool {
        matches!(self, Self::File | Self::Editable | Self::Volatile)
    }

    /// Returns true if the object is a directory (`d`, `x`).
    pub fn is_directory(self) -> bool {
        matches!(self, Self::Directory | Self::Exclusive)
    }

    /// Returns true if the object is a link (`s`, `l`), whose line has a target and no attributes.
    pub fn is_link(self) -> bool {
        matches!(self, Self::Symlink | Self::Link)
    }

    /// Returns true if the object is a device (`b`, `c`).
    pub fn is_device(self) -> bool {
        matches!(self, Self::Block | Self::Character)
    }
}

/// The permission bits of an object, at most `07777`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mode(u16);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Mode {
    /// Creates a mode from permission bits, or `None` if any other bit is set.
    pub fn new(bits: u32) -> Option<Self> {
        u16::try_from(bits).ok().filter(|&bits| bits <= 0o7777).map(Self)
    }

    /// Extracts the permission bits of an `st_mode`.
    #[allow(clippy::cast_possible_truncation)] // twelve bits
    pub fn of(st_mode: u32) -> Self {
        Self((st_mode & 0o7777) as u16)
    }

    /// Returns the bits as a number.
    pub fn bits(self) -> u32 {
        u32::from(self.0)
    }

    /// Returns true if a program with this mode runs as its owner or group (setuid, setgid).
    pub fn is_set_id(self) -> bool {
        self.0 & 0o6000 != 0
    }
}

/// Mode, owner and group of an object. `None` is the `?` of a pkgmap: the attribute found is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ObjectAttributes {
    /// The permission bits.
    pub mode: Option<Mode>,
    /// The owner's name.
    pub owner: Option<Word>,
    /// The group's name.
    pub group: Option<Word>,
}

/// Size, checksum and modification time of a regular or information file. `None` is the `?` of a pkgmap: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContentInfo {
    /// The size, in bytes.
    pub size: Option<u64>,
    /// The System V checksum (see [`checksum`](crate::package::checksum)).
    pub cksum: Option<u16>,
    /// The modification time, in seconds since 1970.
    pub mtime: Option<i64>,
}

/// The description of an object in a pkgmap or `contents` line, without its path and owners.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// The object's type.
    pub ftype: Ftype,
    /// The class it is installed with, or an empty string for an information file.
    pub class: Word,
    /// The target of a link (`s`, `l`), as written but unescaped.
    pub target: Option<Vec<u8>>,
    /// The major and minor number of a device (`b`, `c`); an inner `None` is `?`.
    pub device: Option<(Option<u32>, Option<u32>)>,
    /// Mode, owner and group; all unknown for links and information files.
    pub attributes: ObjectAttributes,
    /// Size, checksum and modification time; all unknown for types without content.
    pub content: ContentInfo,
}

impl Object {
    /// Creates an object with a type and a class, and nothing else.
    pub fn new(ftype: Ftype, class: &str) -> Self {
        Self {
            ftype,
            class: class.into(),
            target: None,
            device: None,
            attributes: ObjectAttributes::default(),
            content: ContentInfo::default(),
        }
    }
}

const LONGEST_CLASS: usize = 64;

/// Returns true if a word can be the class of an object: 1 to 64 letters, digits and `_ - . +` (pkgmap(4) documents 12).
/// Names of scripts (`i.<class>`) contain it, so a `/` in it could lead elsewhere.
pub fn is_class(word: &[u8]) -> bool {
    (1..=LONGEST_CLASS).contains(&word.len())
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.+".contains(byte))
}

/// The mark before a package name in `contents` that reports unfinished work or a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerStatus {
    /// `+`: entered by installf, not yet final.
    Pending,
    /// `-`: marked by removef.
    Removing,
    /// `!`: missing or partially installed.
    Partial,
    /// `%`: served from a file server.
    Served,
    /// `*`: content to be confirmed.
    ConfirmContents,
    /// `~`: attributes to be confirmed.
    ConfirmAttributes,
    /// `#`: entered twice.
    Duplicate,
    /// `@`: a transient entry.
    Transient,
}

impl OwnerStatus {
    /// Returns the mark with this character.
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

    /// Returns the character of this mark.
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

/// A package at the end of a `contents` line: `[status]package[\][:class]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwningPackage {
    /// The mark before the name, absent in a clean database.
    pub status: Option<OwnerStatus>,
    /// The package that owns the object.
    pub package: PkgInst,
    /// True if `\` follows the name: the package provides the object under another type.
    pub alternate: bool,
    /// The class under which this package owns the object, if it differs from the line's.
    pub class: Option<Word>,
}

impl OwningPackage {
    /// Creates an owner without mark and class.
    pub fn new(package: PkgInst) -> Self {
        Self { status: None, package, alternate: false, class: None }
    }
}

/// An object of the package database (contents(4)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentsLine {
    /// The object's path.
    pub path: ObjectPath,
    /// The optional volume number before the type, kept as it is.
    pub volume: Option<u32>,
    /// The object's type, class, attributes and content, as recorded.
    pub object: Object,
    /// The packages that own the object, in the order of their installation.
    pub owners: Vec<OwningPackage>,
}

impl ContentsLine {
    /// Returns true if `package` owns the object.
    pub fn is_owned_by(&self, package: &PkgInst) -> bool {
        self.owners.iter().any(|owner| owner.package == *package)
    }
}

const IN_PLACE: usize = 14;

/// An immutable word. Up to 14 bytes, as nearly all words have, it takes no memory beyond its own 16 bytes.
#[derive(Clone)]
pub struct Word(Text);

#[derive(Clone)]
enum Text {
    InPlace {
        length: u8,
        bytes: [u8; IN_PLACE],
    },
    /// Behind two pointers, so that the enum needs room for only one.
    Elsewhere(Box<Box<str>>),
}

impl Word {
    /// Returns the word as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::InPlace { length, bytes } => {
                let bytes = bytes.get(..usize::from(*length)).unwrap_or_default();
                // They were made from a `str`.
                std::str::from_utf8(bytes).unwrap_or_default()
            }
            Text::Elsewhere(text) => text,
        }
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        let mut bytes = [0; IN_PLACE];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self(Text::InPlace { length, bytes })
            }
            _ => Self(Text::Elsewhere(Box::new(text.into()))),
        }
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Word {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.as_str().to_owned()
    }
}

impl Default for Word {
    fn default() -> Self {
        Self::from("")
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Word {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Word {}

impl PartialEq<str> for Word {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Word {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<Word> for String {
    fn eq(&self, other: &Word) -> bool {
        self == other.as_str()
    }
}

impl PartialOrd for Word {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Word {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Word {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_word_is_its_text_however_long() {
        for text in ["", "none", "a word of 14 b", "ä", &"x".repeat(64), &"é".repeat(7)] {
            let word = Word::from(text);
            assert_eq!((word.as_str(), word.to_string().as_str()), (text, text));
            assert!(HashSet::from([word.clone()]).contains(text));
            assert_eq!(String::from(word), text);
        }
        let (short, long) = (Word::from("root"), Word::from("x".repeat(30)));
        assert!(short < long && Word::default() < short, "they have the order of their texts");
        assert_eq!(size_of::<Option<Word>>(), 16);
    }
}
