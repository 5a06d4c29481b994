//! Addresses without passwords, for messages.

/// Returns an address or proxy for messages, without everything before the last `@`, which may be a password in any
/// form.
pub fn without_password(text: &str) -> String {
    let Some((before, host)) = text.rsplit_once('@') else { return text.to_owned() };
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

/// True if the text before `@` is `user:password`, without a scheme in front.
fn is_user_and_password(before: &str) -> bool {
    let Some((word, rest)) = before.split_once(':') else { return false };
    let is_scheme = ["http", "https", "ftp", "file", "socks", "socks4", "socks4a", "socks5", "socks5h"]
        .iter()
        .any(|scheme| word.eq_ignore_ascii_case(scheme));
    !is_scheme && !rest.starts_with("//")
}

/// True if an address begins with a scheme. A path or query with a colon does not.
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
            ("host:1", "host:1"),
        ] {
            assert_eq!(without_password(text), shown, "{text}");
        }
    }
}
