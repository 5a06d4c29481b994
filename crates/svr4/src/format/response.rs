//! The response file that request and checkinstall scripts write and `pkgadd -r` reads.
//!
//! The writer refuses values that a shell and pkginfo(4) would read differently.

use crate::package::Params;

use super::params::{ParamFile, ParamsError};

/// A response cannot change these: the identity of the package, and PATH.
const READ_ONLY: [&str; 8] = ["PATH", "NAME", "PKG", "PKGINST", "VERSION", "ARCH", "INSTDATE", "CATEGORY"];

/// The answers in a response file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Each name once, in the place of its first and with the value of its last assignment, as in a shell.
    pub params: Params,
    /// The names that were skipped because a response cannot change them.
    pub read_only: Vec<String>,
}

/// A value that a shell and the engine would read differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {name} cannot be written into a response file: {reason}")]
#[non_exhaustive]
pub struct UnwritableValue {
    /// The variable's name, escaped.
    pub name: String,
    /// The reason, as the message words it.
    pub reason: &'static str,
}

impl Response {
    /// Parses a response file.
    pub fn parse(text: &[u8]) -> Result<Self, ParamsError> {
        let mut response = Self::default();
        let file = ParamFile::parse(text)?.params();
        let mut last = std::collections::HashMap::new();
        for (name, value) in file.iter() {
            last.insert(name, value);
        }
        for (name, _) in file.iter() {
            let Some(value) = last.remove(name) else { continue };
            if READ_ONLY.contains(&name) {
                response.read_only.push(name.to_owned());
            } else {
                response.params.push(name, value);
            }
        }
        Ok(response)
    }
}

/// Formats `NAME=value` lines, quoted where a shell needs it.
pub fn write(params: &Params) -> Result<Vec<u8>, UnwritableValue> {
    let mut out = Vec::new();
    for (name, value) in params.iter() {
        let refuse = |reason| UnwritableValue { name: name.escape_debug().to_string(), reason };
        if !is_variable(name) {
            return Err(refuse("the name is not a shell variable"));
        }
        let quote = quote_for(value).map_err(refuse)?;
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend(quote);
        out.extend_from_slice(value);
        out.extend(quote);
        out.push(b'\n');
    }
    Ok(out)
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Quotes for a shell and the engine; `None` if none are needed.
fn quote_for(value: &[u8]) -> Result<Option<u8>, &'static str> {
    let has = |bytes: &[u8]| value.iter().any(|byte| bytes.contains(byte));
    if value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-+.,:/@%".contains(byte)) {
        return Ok(None);
    }
    if has(b"'\"") {
        return Err("it has a quote in it");
    }
    if has(b"\n\0") {
        return Err("it has a newline or a NUL in it");
    }
    if value.last().is_some_and(|&byte| byte.is_ascii_whitespace() || byte == 0x0b || byte == b'\\') {
        return Err("it ends in white space or a backslash");
    }
    Ok(Some(if has(b"$`\\") { b'\'' } else { b'"' }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_value_stands_in_the_first_place() {
        let response = Response::parse(b"A=1\nB=\"two words\"\nA=3\n# note\nC=\n").unwrap();
        let expected: Params = [("A", "3"), ("B", "two words"), ("C", "")].into_iter().collect();
        assert_eq!(response, Response { params: expected, read_only: vec![] });
    }

    #[test]
    fn the_identity_of_a_package_cannot_be_answered() {
        let response = Response::parse(b"PATH=/tmp\nPKG=x\nBASEDIR=/opt\nPKG=y\n").unwrap();
        assert_eq!(response.read_only, ["PATH", "PKG"]);
        assert_eq!(response.params.iter().count(), 1);
    }

    #[test]
    fn an_unclosed_quote_is_an_error_of_its_line() {
        let error = Response::parse(b"A=1\nB=\"two\n").unwrap_err();
        assert!(error.to_string().starts_with("line 2: parsing error in parameter file"), "{error}");
    }

    #[test]
    fn values_are_quoted_for_the_shell() {
        let write = |value: &str| write(&[("A", value)].into_iter().collect());
        let text = |value| String::from_utf8(write(value).unwrap()).unwrap();
        assert_eq!(text("1-01@2"), "A=1-01@2\n");
        assert_eq!(text(""), "A=\n");
        assert_eq!(text("1-01 2-02"), "A=\"1-01 2-02\"\n");
        assert_eq!(text("$HOME `id` \\n"), "A='$HOME `id` \\n'\n");
        for bad in ["it's", "say \"x\"", "a\nb", "a b ", "a $\\"] {
            assert!(write(bad).is_err(), "{bad:?}");
        }
        for name in ["A B", "1A", "", "A;id"] {
            assert!(super::write(&[(name, "x")].into_iter().collect()).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_can_be_written_is_read_back(value in proptest::collection::vec(any::<u8>(), 0..20)) {
            let params: Params = [("A", value), ("B", b"x".to_vec())].into_iter().collect();
            if let Ok(text) = write(&params) {
                prop_assert_eq!(Response::parse(&text).unwrap().params, params);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Response::parse(&bytes);
        }
    }
}
