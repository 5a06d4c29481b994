//! Passwords in addresses, which no message shows.

/// Returns an address or a proxy as it may be shown: what stands before the last `@`, which may be a password, is left out,
/// in whatever form it is written.
pub fn without_password(text: &str) -> String {
    let Some((before, host)) = text.rsplit_once('@') else { return text.to_owned() };
    let scheme_end = before.find(':').filter(|_| has_scheme(before) && !is_user_and_password(before));
    let scheme = scheme_end.and_then(|end| {
        let slashes = before.get(end + 1..)?.bytes().take_while(|byte| *byte == b'/').count();
        before.get(..=end + slashes)
    });
    format!("{}...@{host}", scheme.unwrap_or_default())
}

/// Returns a line of another program as it may be shown: addresses in it are without what stands before their `@`.
pub fn without_passwords(line: &str) -> String {
    let shown = |word: &str| if word.contains("://") { without_password(word) } else { word.to_owned() };
    line.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

/// Tells whether the text before an `@` is `user:password` and begins with no scheme.
fn is_user_and_password(before: &str) -> bool {
    let Some((word, rest)) = before.split_once(':') else { return false };
    let is_scheme = ["http", "https", "ftp", "file", "socks", "socks4", "socks4a", "socks5", "socks5h"]
        .iter()
        .any(|scheme| word.eq_ignore_ascii_case(scheme));
    !is_scheme && !rest.starts_with("//")
}

/// Tells whether an address begins with a scheme, and is no path or query with a colon in it.
pub(crate) fn has_scheme(location: &str) -> bool {
    let Some((scheme, _)) = location.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}
