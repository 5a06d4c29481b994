//! An object as described to installf(1M), by its operands or by a line of its standard input.
//!
//! ```text
//! path [ftype [major minor] [mode owner group]]          path1=path2 [l|s]
//! ```
//! A path alone only says that the package owns it; with a type, all fields of the type follow, and `?` leaves one open. As
//! operands, words are fields and may contain blanks; in a line, special bytes are `\ooo` escapes, as in contents(4).

use crate::package::{Ftype, Mode, ObjectAttributes, ObjectPath, PathError};

use super::FieldError;
use super::fields::{self, Fields, write_attributes, write_device, write_path};

/// An object to be registered for a package, with the properties that the caller gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The object's path.
    pub path: ObjectPath,
    /// The object's class, if given.
    pub class: Option<String>,
    /// The type; `None` if only the path is given, so that the database or the object itself decides.
    pub ftype: Option<Ftype>,
    /// The target of a link, as written.
    pub target: Option<Vec<u8>>,
    /// The major and minor number of a device.
    pub device: Option<(Option<u32>, Option<u32>)>,
    /// Mode, owner and group; an unknown one stays open.
    pub attributes: ObjectAttributes,
}

/// The reason a registration is refused. Messages are those of installf(1M) if it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// A path that does not start with `/`.
    #[error("relative pathname <{0}> not permitted")]
    Relative(String),
    /// An unknown type, or one that does not fit a path with (or without) a target.
    #[error("invalid ftype <{letter}> for <{path}>")]
    Ftype {
        /// The first letter of the type given.
        letter: char,
        /// The path concerned.
        path: String,
    },
    /// A type without all its fields.
    #[error("ftype <{0}> requires all fields to be specified")]
    Incomplete(char),
    /// A class that is not safe in the name of a script.
    #[error("bad character in classname <{0}>")]
    Class(String),
    /// An invalid path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A malformed field.
    #[error("<{path}>: {error}")]
    Field {
        /// The path concerned; empty if it could not be read.
        path: String,
        /// The fault in the field.
        error: FieldError,
    },
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

/// Checks a class name given on the command line.
pub fn class(name: &str) -> Result<String, RegistrationError> {
    let class = fields::class(name.as_bytes()).map(str::to_owned);
    class.map_err(|_| RegistrationError::Class(shown(name.as_bytes())))
}

impl Registration {
    /// Describes a directory with the default attributes: 0755 root root, class none.
    pub fn directory(path: ObjectPath) -> Self {
        let attributes = ObjectAttributes {
            mode: Some(Mode::of(0o755)),
            owner: Some("root".into()),
            group: Some("root".into()),
        };
        Self { path, class: None, ftype: Some(Ftype::Directory), target: None, device: None, attributes }
    }

    /// Parses operands: each word is a field, the first of them `path` or `path1=path2`.
    pub fn from_words(words: &[impl AsRef<[u8]>], class: Option<&str>) -> Result<Self, RegistrationError> {
        let mut words = words.iter().map(AsRef::as_ref);
        let first = words.next().unwrap_or_default();
        let rest: Vec<&[u8]> = words.collect();
        let (path, target) = match first.iter().position(|&byte| byte == b'=') {
            Some(at) => (&first[..at], Some(first[at + 1..].to_vec())),
            None => (first, None),
        };
        let line = rest.join(&b' ');
        Self::read(path, target, Fields::new(&line), class)
    }

    /// Parses a line, given without its newline.
    pub fn parse(line: &[u8], class: Option<&str>) -> Result<Self, RegistrationError> {
        let mut fields = Fields::new(line);
        let bad = |error| RegistrationError::Field { path: String::new(), error };
        let (path, target) = fields.path_and_target().map_err(bad)?;
        Self::read(&path, target, fields, class)
    }

    fn read(
        path: &[u8],
        target: Option<Vec<u8>>,
        mut rest: Fields<'_>,
        class: Option<&str>,
    ) -> Result<Self, RegistrationError> {
        if path.first() != Some(&b'/') {
            return Err(RegistrationError::Relative(shown(path)));
        }
        let class = class.map(str::to_owned);
        let path = ObjectPath::new(path)?;
        let ftype = match rest.next() {
            None | Some(b"?") => target.as_ref().map(|_| Ftype::Link),
            Some(word) => Some(ftype(word, &path, target.is_some())?),
        };
        let field = |error| RegistrationError::Field { path: path.to_string(), error };
        let target = match ftype {
            Some(ftype) => fields::target(ftype, target).map_err(field)?,
            None => None,
        };
        let fields_of_type = match ftype {
            None | Some(Ftype::Symlink | Ftype::Link) => 0,
            Some(Ftype::Block | Ftype::Character) => 5,
            Some(_) => 3,
        };
        if let (true, Some(ftype)) = (rest.clone().count() < fields_of_type, ftype) {
            return Err(RegistrationError::Incomplete(ftype.letter().into()));
        }
        let device = ftype.filter(|ftype| ftype.is_device()).map(|_| rest.device());
        let device = device.transpose().map_err(field)?;
        let attributes =
            if fields_of_type == 0 { Ok(ObjectAttributes::default()) } else { rest.attributes() };
        let attributes = attributes.map_err(field)?;
        rest.end().map_err(field)?;
        Ok(Self { path, class, ftype, target, device, attributes })
    }

    /// Formats the line, without a newline. The class is not part of it.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        write_path(&mut out, self.path.as_bytes(), self.target.as_ref());
        let Some(ftype) = self.ftype else { return out };
        out.extend_from_slice(&[b' ', ftype.letter()]);
        if ftype.is_link() {
            return out;
        }
        if let Some(device) = self.device {
            write_device(&mut out, device);
        }
        write_attributes(&mut out, &self.attributes);
        out
    }
}

fn ftype(word: &[u8], path: &ObjectPath, has_target: bool) -> Result<Ftype, RegistrationError> {
    let known = match word {
        &[letter] => Ftype::from_letter(letter),
        _ => None,
    };
    let fits = |ftype: &Ftype| *ftype != Ftype::Information && ftype.is_link() == has_target;
    known.filter(fits).ok_or_else(|| RegistrationError::Ftype {
        letter: word.first().map_or('?', |&letter| letter.into()),
        path: path.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Result<Registration, RegistrationError> {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        Registration::from_words(&words, None)
    }

    #[test]
    fn every_form_is_read() {
        for line in [
            "/opt/a",
            "/opt/a f 0644 root sys",
            "/opt/a e ? ? ?",
            "/opt/a d 0755 root root",
            "/opt/a x ? root root",
            "/opt/a p 0600 root root",
            "/opt/a c 1 3 0666 root sys",
            "/opt/a b ? ? 0666 root sys",
            "/opt/a=../b s",
            "/opt/a=b l",
        ] {
            let read = words(line).unwrap();
            assert_eq!(String::from_utf8(read.write()).unwrap(), line);
            assert_eq!(Registration::parse(line.as_bytes(), None).unwrap(), read);
        }
        assert_eq!(words("/opt/a=b").unwrap(), words("/opt/a=b l").unwrap(), "a link is a hard one");
    }

    #[test]
    fn what_cannot_be_registered_is_refused_in_the_words_of_the_classic_tool() {
        for (line, text) in [
            ("opt/a f 0644 root sys", "relative pathname <opt/a> not permitted"),
            ("/opt/a q 0644 root sys", "invalid ftype <q> for </opt/a>"),
            ("/opt/a i", "invalid ftype <i> for </opt/a>"),
            ("/opt/a s", "invalid ftype <s> for </opt/a>"),
            ("/opt/a=b f 0644 root sys", "invalid ftype <f> for </opt/a>"),
            ("/opt/a f 0644", "ftype <f> requires all fields to be specified"),
            ("/opt/a c 0644 root sys", "ftype <c> requires all fields to be specified"),
            ("/opt/a f 0648 root sys", "</opt/a>: mode is not numeric."),
            ("/opt/a d 0755 root sys more", "</opt/a>: extra tokens on input line"),
            ("/opt/a= s", "</opt/a>: missing or invalid link specification"),
            ("/opt/../a f ? ? ?", "path </opt/../a> has a `..` component"),
        ] {
            assert_eq!(words(line).unwrap_err().to_string(), text);
        }
        assert_eq!(class("a/b").unwrap_err().to_string(), "bad character in classname <a/b>");
    }

    #[test]
    fn a_word_may_have_blanks_in_it_and_a_line_escapes_them() {
        let read = Registration::from_words(&[b"/opt/a b".to_vec()], Some("conf")).unwrap();
        assert_eq!(read.path.as_bytes(), b"/opt/a b");
        assert_eq!(read.class.as_deref(), Some("conf"));
        assert_eq!(read.write(), b"/opt/a\\040b");
        assert_eq!(Registration::parse(b"/opt/a\\040b", Some("conf")).unwrap(), read);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Registration::parse(&line, None);
        }
    }
}
