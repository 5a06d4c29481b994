//! Files with package names, one per line; `#` starts a comment.

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
}
