//! Copies beside locally modified files: `PATH.edited-ID` and `PATH.patch-ID`.

use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

const MARKS: [&[u8]; 2] = [b".edited-", b".patch-"];

/// Returns the path beside which a patch puts a copy with this name.
pub fn main_file(path: &ObjectPath) -> Option<ObjectPath> {
    let (bytes, name) = (path.as_bytes(), path.name());
    let (at, id) = MARKS.into_iter().find_map(|mark| {
        let at = name.windows(mark.len()).rposition(|part| part == mark)?;
        Some((at, name.get(at + mark.len()..)?))
    })?;
    if at == 0 || !is_of_patch(std::str::from_utf8(id).ok()?) {
        return None;
    }
    ObjectPath::new(bytes.get(..bytes.len() - name.len() + at)?).ok()
}

/// Accepts the number of a further copy after the id.
fn is_of_patch(text: &str) -> bool {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_further = |(id, number)| is_number(number) && PatchId::new(id).is_ok();
    PatchId::new(text).is_ok() || text.rsplit_once('.').is_some_and(is_further)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_with_the_id_of_a_patch_is_a_copy() {
        let main =
            |path: &str| main_file(&ObjectPath::new(path.as_bytes()).unwrap()).map(|main| main.to_string());
        for copy in ["/etc/a.conf.edited-ACME-01", "/etc/a.conf.patch-100001-02", "/etc/a.conf.edited-1-01.2"]
        {
            assert_eq!(main(copy).as_deref(), Some("/etc/a.conf"), "{copy}");
        }
        for other in ["/etc/a.conf", "/etc/a.patch-notes", "/etc/.edited-100-01", "/a.edited-100-01/b"] {
            assert_eq!(main(other), None, "{other}");
        }
    }
}
