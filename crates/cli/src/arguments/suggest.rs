//! Suggests verbs, options, ids and file names for an unknown word.

/// The similarity that a suggested word needs. By clap's, 0.7, `foo` is like `root`.
const ALIKE: f64 = 0.75;

/// Higher, because most digits of any two ids agree.
const ALIKE_ID: f64 = 0.9;

/// Returns the most similar known word, if one is similar enough.
pub fn similar<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    most_alike(word, known, ALIKE)
}

/// For ids, and names that begin with one.
pub fn similar_id<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (same, others): (Vec<&str>, Vec<&str>) =
        known.into_iter().partition(|id| base(id).is_some() && base(id) == base(word));
    // The latest revision of a base is the one that exists.
    same.into_iter().max().or_else(|| most_alike(word, others, ALIKE_ID))
}

pub fn did_you_mean(meant: &str) -> String {
    format!("did you mean `{meant}`?")
}

fn most_alike<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, least: f64) -> Option<&'a str> {
    let alike = known.into_iter().map(|known| (strsim::jaro(word, known), known));
    let alike = alike.filter(|(measure, known)| *measure > least && *known != word);
    alike.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

/// Returns the base of an id, or of a name that begins with one.
fn base(id: &str) -> Option<&str> {
    let (base, _) = id.split_once('-')?;
    (!base.is_empty() && base.bytes().all(|byte| byte.is_ascii_digit())).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let verbs = ["add", "remove", "list", "check", "patchadd"];
        assert_eq!(similar("lsit", verbs), Some("list"));
        assert_eq!(similar("remvoe", verbs), Some("remove"));
        assert_eq!(similar("frobnicate", verbs), None);
        assert_eq!(similar("foo", ["root"]), None);
        let ids = ["105181-03", "105181-05", "106793-01"];
        assert_eq!(similar_id("105181-04", ids), Some("105181-05"));
        assert_eq!(similar_id("106739-01", ids), Some("106793-01"));
        assert_eq!(similar_id("108434-13", ids), None);
        assert_eq!(similar_id("105181-05", ["105181-05.zip"]), Some("105181-05.zip"));
    }
}
