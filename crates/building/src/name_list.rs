//! Lists of names: files with package names, one per line (`#` starts a comment), and the first ones in a sentence.

use std::path::{Path, PathBuf};

use patchadm_inputs::input_file::read_own;

const LARGEST: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct NameListError {
    pub path: PathBuf,
    pub reason: String,
}

pub fn read_names(path: &Path) -> Result<Vec<String>, NameListError> {
    let failed = |reason: String| NameListError { path: path.to_owned(), reason };
    let bytes = read_own(path, LARGEST).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    let names: Vec<String> = names(&text).collect();
    if names.is_empty() { Err(failed("it names nothing".to_owned())) } else { Ok(names) }
}

fn names(text: &str) -> impl Iterator<Item = String> {
    let words = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    words.filter(|name| !name.is_empty()).map(str::to_owned)
}

const MOST_NAMED: usize = 5;

pub(crate) fn first_names(names: &[String]) -> String {
    first_joined(names, ",")
}

pub(crate) fn first_clauses(clauses: &[String]) -> String {
    first_joined(clauses, ";")
}

fn first_joined(parts: &[String], separator: &str) -> String {
    let more = parts.len().saturating_sub(MOST_NAMED);
    let more = if more == 0 { String::new() } else { format!("{separator} and {more} more") };
    let first: Vec<&str> = parts.iter().take(MOST_NAMED).map(String::as_str).collect();
    format!("{}{more}", first.join(&format!("{separator} ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_stands_on_a_line_before_a_comment() {
        let found: Vec<String> = names("# all\nnet/curl # the client\n\n zlib-1.3 \n").collect();
        assert_eq!(found, ["net/curl", "zlib-1.3"]);
    }

    #[test]
    fn a_list_that_names_nothing_is_no_wish_for_everything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        std::fs::write(&path, "# nothing\n").unwrap();
        assert!(read_names(&path).unwrap_err().to_string().ends_with("it names nothing"));
    }

    #[test]
    fn those_beyond_the_first_five_are_counted() {
        let names = |count: usize| (1..=count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(first_names(&names(5)), "1, 2, 3, 4, 5");
        assert_eq!(first_names(&names(7)), "1, 2, 3, 4, 5, and 2 more");
    }
}
