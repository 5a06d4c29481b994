//! Addresses without passwords, for messages.

/// Removes everything before the last `@`, which may be a password in any form, and the query, which may have a token.
/// An encoded `@` in the host part counts.
pub fn without_password(text: &str) -> String {
    match query_of(text).and_then(|query| text.strip_suffix(query)) {
        Some(address) => without_user(address) + "?...",
        None => without_user(text),
    }
}

/// Returns the query of an address, perhaps behind a user and password: if it has an `@` itself, the part after that.
pub fn query_of(address: &str) -> Option<&str> {
    let scheme = address.find("://")?;
    let begin = address.rfind('@').unwrap_or(0).max(scheme);
    let (before, rest) = address.split_at_checked(begin)?;
    let query = if before.contains('?') { rest.find(['?', '&'])? } else { rest.find('?')? };
    rest.get(query..).filter(|query| query.len() > 1)
}

/// Returns the range of the user and password of an address whose `@` is encoded, with that.
pub fn encoded_user(address: &str) -> Option<std::ops::Range<usize>> {
    let begin = address.find("://")? + "://".len();
    let host = address.get(begin..)?;
    let host = host.get(..host.find(['/', '?', '#']).unwrap_or(host.len()))?;
    Some(begin..begin + host.rfind("%40")? + "%40".len())
}

fn without_user(text: &str) -> String {
    let Some((before, host)) = text.rsplit_once('@') else {
        let mut text = text.to_owned();
        if let Some(user) = encoded_user(&text) {
            text.replace_range(user, "...@");
        }
        return text;
    };
    let scheme_end = before.find(':').filter(|_| has_scheme(before) && !is_user_and_password(before));
    let scheme = scheme_end.and_then(|end| {
        let slashes = before.get(end + 1..)?.bytes().take_while(|byte| *byte == b'/').count();
        before.get(..=end + slashes)
    });
    format!("{}...@{host}", scheme.unwrap_or_default())
}

/// Returns a line of another program for messages, without everything before the `@` of addresses.
pub fn without_passwords(line: &str) -> String {
    let shown = |word: &str| if word.contains("://") { without_password(word) } else { word.to_owned() };
    line.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

/// `user:password` without a scheme in front.
fn is_user_and_password(before: &str) -> bool {
    let Some((word, rest)) = before.split_once(':') else { return false };
    let is_scheme = ["http", "https", "ftp", "file", "socks", "socks4", "socks4a", "socks5", "socks5h"]
        .iter()
        .any(|scheme| word.eq_ignore_ascii_case(scheme));
    !is_scheme && !rest.starts_with("//")
}

/// A path or query with a colon has no scheme.
pub(crate) fn has_scheme(location: &str) -> bool {
    let Some((scheme, _)) = location.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_an_address_or_proxy_shows_its_password() {
        for (text, shown) in [
            ("https://joe:secret@host/x", "https://...@host/x"),
            ("HTTPS://joe:secret@host", "HTTPS://...@host"),
            ("https:joe:secret@host", "https:...@host"),
            ("https:/joe:secret@host", "https:/...@host"),
            ("joe:secret@host:1", "...@host:1"),
            ("joe:se/cr?e#t@host:1", "...@host:1"),
            ("http://joe:p@ss@host:1", "http://...@host:1"),
            ("socks5h://joe:secret@host", "socks5h://...@host"),
            ("https://joe%3Asecret%40host/x", "https://...@host/x"),
            ("https://joe%3Asecret@host/x", "https://...@host/x"),
            ("https://joe:secret%40host/x", "https://...@host/x"),
            ("https://host/x?token=secret", "https://host/x?..."),
            ("https://joe:secret@host/x?token=secret#y", "https://...@host/x?..."),
            ("https://host/x?mail=a@b&token=secret", "https://...@b?..."),
            ("http://joe:se?cret@host:1", "http://...@host:1"),
            ("https://host/%40scope/x", "https://host/%40scope/x"),
            ("https://host/x?", "https://host/x?"),
            ("a?b", "a?b"),
            ("host:1", "host:1"),
        ] {
            assert_eq!(without_password(text), shown, "{text}");
        }
    }
}
