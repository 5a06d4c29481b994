//! Parsers for values of `bulk.conf`. They return a value, or a reason without the line number.

use std::net::Ipv6Addr;
use std::path::{Component, Path, PathBuf};

/// In bytes; the suffixes `K`, `M`, `G`, `T` are powers of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let units = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
    scaled(text, &units)
        .ok_or_else(|| format!("`{text}` is not a size: a number of bytes, or with K, M, G, T"))
}

/// Returns seconds; takes a suffix `s`, `m` or `h`.
pub(super) fn time(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    scaled(text, &units)
        .ok_or_else(|| format!("`{text}` is not a time: a number of seconds, or with s, m, h"))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let with_unit = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (digits, factor) = with_unit.unwrap_or((text, 1));
    decimal(digits)?.checked_mul(factor)
}

/// Parses digits without a sign, which Rust's parser accepts.
pub(super) fn decimal(digits: &str) -> Option<u64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

pub(super) fn count(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = decimal(text).and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("`{text}` is not a number from {least} to {most}"))
}

pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("`{text}` is not one of {}", known.join(", "))
    })
}

/// Parses a path, absolute or below a directory, without `..`.
pub(super) fn path(text: &str, below: &Path) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("`{text}` steps up with `..`"));
    }
    // Drop `.`, double and trailing slashes, so that two ways to write a path are one.
    Ok(below.join(path).components().filter(|part| *part != Component::CurDir).collect())
}

pub(super) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') {
        return Err(format!("`{text}` is not an absolute path"));
    }
    path(text, Path::new("/"))
}

/// Parses a host as it stands in a web address, without its port; returns it without brackets.
pub(super) fn host(text: &str) -> Result<String, String> {
    let host = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if host.parse::<Ipv6Addr>().is_err() && (host.is_empty() || !host.bytes().all(is_plain)) {
        return Err(format!("`{text}` is not a host: its name or address, without a port"));
    }
    Ok(host.to_ascii_lowercase())
}

/// Splits words as sh does, without a shell: quotes and backslashes protect, but `$`, `*`, `|`, … mean nothing.
pub(super) fn command(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut current: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == ' ' || letter == '\t' {
            words.extend(current.take());
            continue;
        }
        let word = current.get_or_insert_default();
        match letter {
            '\'' => quoted(&mut letters, '\'', word)?,
            '"' => quoted(&mut letters, '"', word)?,
            '\\' => word.push(letters.next().ok_or("it ends with a backslash")?),
            other => word.push(other),
        }
    }
    words.extend(current);
    Ok(words)
}

/// Between double quotes a backslash protects only `$`, `` ` ``, `"` and itself.
fn quoted(letters: &mut std::str::Chars<'_>, quote: char, word: &mut String) -> Result<(), String> {
    while let Some(letter) = letters.next() {
        if letter == quote {
            return Ok(());
        }
        if letter == '\\' && quote == '"' {
            let next = letters.next().ok_or("a quote is not closed")?;
            if !matches!(next, '$' | '`' | '"' | '\\') {
                word.push('\\');
            }
            word.push(next);
        } else {
            word.push(letter);
        }
    }
    Err("a quote is not closed".to_owned())
}

pub(super) fn program(text: &str) -> Result<Vec<String>, String> {
    let words = command(text)?;
    if words.first().is_none_or(String::is_empty) {
        return Err("it names no program".to_owned());
    }
    Ok(words)
}

pub(super) fn list(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Accepts visible ASCII without the special characters of a header (RFC 5322).
pub(super) fn address(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"<>()[],;:\\\"".contains(&byte);
    if text.is_empty() || text.len() > 254 || !text.bytes().all(is_plain) {
        return Err(format!("`{text}` is not a mail address"));
    }
    Ok(text.to_owned())
}

pub(super) fn addresses(text: &str) -> Result<Vec<String>, String> {
    let words = text.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    let addresses: Vec<String> = words.map(address).collect::<Result<_, _>>()?;
    if addresses.is_empty() { Err("it names no address".to_owned()) } else { Ok(addresses) }
}

pub(super) fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("`{text}` is not a URL of the form http://… or https://…"));
    }
    Ok(text.to_owned())
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = name.bytes().next().is_some_and(is_first)
        && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit());
    if !is_name {
        return Err(format!("`{name}` is not a valid variable name"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units_and_bounds() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("20G"), Ok(20 << 30));
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(time("1h"), Ok(3600));
        assert_eq!(time("90"), Ok(90));
        assert_eq!(time("20m"), Ok(1200));
        for wrong in ["", "G", "-1", "+1", "1g", "1.5G", "1 G", "99999999999999999999", "20000000T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "h", "1d", "1H", "9999999999999999999h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_command_is_split_as_sh_splits_it() {
        let words = |text: &str| command(text).unwrap();
        assert_eq!(words("ssh -oBatchMode=yes  b1"), ["ssh", "-oBatchMode=yes", "b1"]);
        assert_eq!(words(r#"a 'b c' "d \"e\" \n" f\ g"#), ["a", "b c", r#"d "e" \n"#, "f g"]);
        assert_eq!(words(r#"x"y"'z' '' $HOME *"#), ["xyz", "", "$HOME", "*"]);
        assert_eq!(words(" \t"), Vec::<String>::new());
        for wrong in ["a 'b", "a \"b", "a \"b\\", "a\\"] {
            assert!(command(wrong).is_err(), "{wrong}");
        }
        assert!(program("''").is_err());
    }

    #[test]
    fn a_path_is_absolute_or_below_and_never_above() {
        let below = |text: &str| path(text, Path::new("/srv/bulk"));
        assert_eq!(below("pool"), Ok(PathBuf::from("/srv/bulk/pool")));
        assert_eq!(below("./a//b/."), Ok(PathBuf::from("/srv/bulk/a/b")));
        assert_eq!(below("/srv/pool/"), Ok(PathBuf::from("/srv/pool")));
        assert!(below("../pool").is_err());
        assert!(below("/srv/../etc").is_err());
        assert!(absolute_path("usr").is_err());
    }

    #[test]
    fn an_address_cannot_carry_another_header() {
        assert_eq!(addresses("a@x.org, root").unwrap(), ["a@x.org", "root"]);
        for wrong in ["", ",", "a@x\u{e9}", "a<b@c>", "a:b", "a\u{7f}b"] {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
        assert!(url("ftp://x").is_err());
        assert!(url("https://").is_err());
        assert!(url("https://x/ y").is_err());
    }
}
