use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use super::error::DepotError;
use patchadm_inputs::http::Address;
use patchadm_inputs::password::without_password;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DepotLocation {
    Directory(PathBuf),
    /// On a web server.
    Address(Address),
}

impl DepotLocation {
    /// `http:` and `https:` are addresses; `file:` and everything else is a directory. Refuses other schemes.
    pub fn parse(named: &OsStr) -> Result<Self, DepotError> {
        if is_on_network(named) {
            let text = named.to_string_lossy();
            let address = Address::parse(&text)?;
            if address.has_query() {
                return Err(DepotError::FileAddress(without_password(&text)));
            }
            return Ok(Self::Address(address.as_directory()));
        }
        match scheme_stripped(named, b"file:") {
            Some(rest) => path_of_file_address(rest)
                .map(Self::Directory)
                .ok_or_else(|| DepotError::FileAddress(without_password(&named.to_string_lossy()))),
            None if has_foreign_scheme(named) => {
                Err(DepotError::FileAddress(without_password(&named.to_string_lossy())))
            }
            None => Ok(Self::Directory(PathBuf::from(named))),
        }
    }

    /// One spelling per location, to remember and compare.
    pub fn remembered(&self) -> String {
        match self {
            Self::Directory(path) => {
                path.canonicalize().unwrap_or_else(|_| path.clone()).to_string_lossy().into_owned()
            }
            Self::Address(address) => address.to_string(),
        }
    }
}

impl fmt::Display for DepotLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

pub fn is_on_network(named: &OsStr) -> bool {
    scheme_stripped(named, b"http:").is_some() || scheme_stripped(named, b"https:").is_some()
}

/// `SCHEME://…`. A directory of such a name needs `./`.
fn has_foreign_scheme(named: &OsStr) -> bool {
    let text = named.to_string_lossy();
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn scheme_stripped<'n>(named: &'n OsStr, scheme: &[u8]) -> Option<&'n [u8]> {
    let (start, rest) = named.as_bytes().split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Accepts `file:///PATH`, `file://localhost/PATH` and `file:/PATH`.
fn path_of_file_address(rest: &[u8]) -> Option<PathBuf> {
    let path = match rest.strip_prefix(b"//") {
        Some(rest) => rest.strip_prefix(b"localhost").unwrap_or(rest),
        None => rest,
    };
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path;
    while let Some((&first, rest)) = left.split_first() {
        left = rest;
        if first == b'%' {
            let digits = str::from_utf8(left.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            left = left.get(2..)?;
        } else {
            bytes.push(first);
        }
    }
    let is_path = bytes.first() == Some(&b'/') && !bytes.contains(&0);
    is_path.then(|| PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        let location = DepotLocation::parse(OsStr::new(text));
        location.map(|location| format!("{location:?}")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_address_is_a_directory() {
        for text in ["file:///srv/a%20b", "file://localhost/srv/a%20b", "FILE:/srv/a%20b"] {
            assert_eq!(parsed(text).unwrap(), "Directory(\"/srv/a b\")", "{text}");
        }
        for text in ["file://other/srv", "file:srv", "file:///a%0", "file:///a%00", "ftp://h/srv"] {
            assert!(parsed(text).unwrap_err().contains("names no directory"), "{text}");
        }
        for text in ["srv", "./ftp://h/srv", "a:b"] {
            assert_eq!(parsed(text).unwrap(), format!("Directory(\"{text}\")"));
        }
    }

    #[test]
    fn a_web_address_is_a_directory_there() {
        let location = DepotLocation::parse(OsStr::new("https://h/depot")).unwrap();
        assert_eq!(location.to_string(), "https://h/depot/");
        assert!(parsed("http://h/depot?x").is_err());
        assert!(parsed("http://a:b@h/depot").is_err());
    }
}
