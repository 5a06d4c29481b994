//! The values of known fields of a record.

use super::names::shown;

/// The work of a package whose recipe says nothing about it, as in pbulk.
const USUAL_WEIGHT: u32 = 100;

/// A file of upstream that a recipe needs, from `DISTFILES` and `DISTURL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distfile<'a> {
    /// Its name below the directory of distfiles: a relative path without `.` and `..`.
    pub name: &'a str,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its size in bytes.
    pub size: u64,
    /// The URL where it can be had, if the record names one.
    pub url: Option<&'a str>,
}

/// The reason a known field has a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: <{text}> {reason}")]
pub struct FieldError {
    /// The name of the field.
    pub field: &'static str,
    /// The beginning of the wrong part.
    pub text: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

fn refuse(field: &'static str, text: &str, reason: &'static str) -> FieldError {
    FieldError { field, text: shown(text), reason }
}

/// Reads `DISTFILES` (`NAME:SHA256:SIZE` …) and `DISTURL` (a URL each, in the same order).
pub(super) fn distfiles<'a>(files: &'a str, urls: &'a str) -> Result<Vec<Distfile<'a>>, FieldError> {
    let mut urls = urls.split_ascii_whitespace();
    let files = files.split_ascii_whitespace().map(|entry| distfile(entry, urls.next()));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    match urls.next() {
        Some(url) => Err(refuse("DISTURL", url, "belongs to no file of DISTFILES")),
        None => Ok(files),
    }
}

/// The directory, below that of the distfiles, of those that are named by their SHA-256. No record names a file there.
pub const BY_DIGEST: &str = "by-sha256";

fn distfile<'a>(entry: &'a str, url: Option<&'a str>) -> Result<Distfile<'a>, FieldError> {
    let form = || refuse("DISTFILES", entry, "is not NAME:SHA256:SIZE");
    let (rest, size) = entry.rsplit_once(':').ok_or_else(form)?;
    let (name, sha256) = rest.rsplit_once(':').ok_or_else(form)?;
    let is_number = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
    let size = size.parse().ok().filter(|_| is_number).ok_or_else(form)?;
    let sha256 = parse_sha256(sha256).ok_or_else(form)?;
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    // Files by their digests have a directory of their own, and files in the making hidden names.
    let is_reserved = name.starts_with('.') || name.split('/').next() == Some(BY_DIGEST);
    if is_reserved || !name.split('/').all(is_part) {
        return Err(refuse("DISTFILES", name, "is no name of a file below the distfiles"));
    }
    Ok(Distfile { name, sha256, size, url })
}

/// Reads a SHA-256 of 64 hexadecimal digits, in small letters or capitals; `None` for anything else.
pub fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let (digits, rest) = text.as_bytes().as_chunks::<2>();
    if digits.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(value(*high)? << 4 | value(*low)?).ok()?;
    }
    Some(bytes)
}

/// Reads a list of `NAME=VALUE`, such as `LIMITS` and `MULTI_VERSION`.
pub(super) fn pairs<'a>(field: &'static str, value: &'a str) -> Result<Vec<(&'a str, &'a str)>, FieldError> {
    let is_name = |name: &str| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let pair = |entry: &'a str| {
        let pair = entry.split_once('=').filter(|(name, _)| is_name(name));
        pair.ok_or_else(|| refuse(field, entry, "is not NAME=VALUE"))
    };
    value.split_ascii_whitespace().map(pair).collect()
}

/// Reads `PBULK_WEIGHT`, a whole number; 100 if it is empty.
pub(super) fn weight(value: &str) -> Result<u32, FieldError> {
    let value = value.trim_ascii();
    if value.is_empty() {
        return Ok(USUAL_WEIGHT);
    }
    let number = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten();
    number.ok_or_else(|| refuse("PBULK_WEIGHT", value, "is no whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_distfile_has_a_name_a_digest_a_size_and_perhaps_a_url() {
        let text = format!("a-1.tar.gz:{SHA256}:12 sub/b:2:{SHA256}:0");
        let files = distfiles(&text, "https://example.org/a-1.tar.gz").unwrap();
        let digest: [u8; 32] = files[0].sha256;
        assert_eq!((digest[0], digest[31]), (0xe3, 0x55));
        assert_eq!((files[0].name, files[0].size), ("a-1.tar.gz", 12));
        assert_eq!(files[0].url, Some("https://example.org/a-1.tar.gz"));
        assert_eq!((files[1].name, files[1].size, files[1].url), ("sub/b:2", 0, None));
    }

    #[test]
    fn a_distfile_of_another_form_is_refused() {
        let short = &SHA256[1..];
        for bad in [
            "a".to_owned(),
            format!("a:{SHA256}"),
            format!("a:{SHA256}:"),
            format!("a:{SHA256}:+1"),
            format!("a:{SHA256}:99999999999999999999"),
            format!("a:{short}:1"),
            format!("a:{SHA256}0:1"),
            format!("a:{short}é:1"),
            format!("../a:{SHA256}:1"),
            format!("/a:{SHA256}:1"),
            format!("a/./b:{SHA256}:1"),
            format!(":{SHA256}:1"),
            format!("by-sha256:{SHA256}:1"),
            format!("by-sha256/{SHA256}:{SHA256}:1"),
            format!(".fetch-0:{SHA256}:1"),
            format!("\u{1b}a:{SHA256}:1"),
        ] {
            assert!(distfiles(&bad, "").is_err(), "{bad}");
        }
        let error = distfiles("", "https://example.org/a").unwrap_err();
        assert_eq!(error.to_string(), "DISTURL: <https://example.org/a> belongs to no file of DISTFILES");
    }

    #[test]
    fn a_list_of_pairs_has_names_and_values() {
        let found = pairs("MULTI_VERSION", " PYTHON_VERSION_REQD=313 X=").unwrap();
        assert_eq!(found, [("PYTHON_VERSION_REQD", "313"), ("X", "")]);
        for bad in ["X", "=1", "1X=1", "a-b=1"] {
            assert!(pairs("LIMITS", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_weight_is_a_whole_number_and_usually_100() {
        assert_eq!(weight("").unwrap(), 100);
        assert_eq!(weight(" 4000 ").unwrap(), 4000);
        for bad in ["+1", "-1", "1.5", "x", "4294967296"] {
            assert!(weight(bad).is_err(), "{bad}");
        }
    }
}
