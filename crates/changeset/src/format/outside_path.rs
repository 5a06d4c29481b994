//! The path of an undo archive outside the root: `DIR/<id>/<PKG>/NAME`. Roots name host paths in `remote`, ledger and
//! journal; no program of ours writes another form.

use super::run::Run;

const LONGEST: usize = 4095;

const SUFFIXES: [&str; 5] = [".gz", ".Z", ".zst", ".xz", ".files"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsidePath<'p> {
    /// The directory of `-B`; empty for `/`.
    pub directory: &'p [u8],
    pub patch: &'p str,
    pub package: &'p str,
    /// `undo` or `obsolete`, with `-<run>` and a suffix, or `undo.<run>.tmp`.
    pub name: &'p str,
}

impl<'p> OutsidePath<'p> {
    /// `None` for another form. Components `.`, `..` and empty ones are not allowed.
    pub fn parse(path: &'p [u8]) -> Option<Self> {
        let components = path.strip_prefix(b"/")?.split(|&byte| byte == b'/');
        let is_plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
        let is_path = path.len() <= LONGEST && !path.iter().any(|byte| b"\n\0".contains(byte));
        if !is_path || !components.clone().all(is_plain) {
            return None;
        }
        let mut parts = path.rsplitn(4, |&byte| byte == b'/');
        let name = parts.next().filter(|name| is_archive_name(name))?;
        let name = std::str::from_utf8(name).ok()?;
        let package = std::str::from_utf8(parts.next()?).ok()?;
        let patch = std::str::from_utf8(parts.next()?).ok()?;
        let directory = parts.next()?;
        Some(Self { directory, patch, package, name })
    }

    pub fn is_of(&self, patch: &str, package: &str) -> bool {
        self.patch == patch && self.package == package
    }
}

/// `undo` or `obsolete`, perhaps with a run and a suffix, or `undo.<run>.tmp` during writing outside the root.
pub(super) fn is_archive_name(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    if let Some(run) = name.strip_prefix("undo.").and_then(|rest| rest.strip_suffix(".tmp")) {
        return Run::is_name(run);
    }
    let bare = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let rest = bare.strip_prefix("undo").or_else(|| bare.strip_prefix("obsolete"));
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(Run::is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_from_its_end() {
        let path = OutsidePath::parse(b"/srv/undo/100-01/ACMEweb/undo.gz").unwrap();
        assert_eq!((path.directory, path.name), (&b"/srv/undo"[..], "undo.gz"));
        assert!(path.is_of("100-01", "ACMEweb") && !path.is_of("100-02", "ACMEweb"));
        assert_eq!(OutsidePath::parse(b"/100-01/ACMEweb/undo").unwrap().directory, b"");
    }

    #[test]
    fn only_names_that_a_run_gives_are_those_of_archives() {
        let run = "17-9c1d6f20aa31b7e4";
        for name in [
            "undo",
            "obsolete.Z",
            "undo.zst",
            "undo.xz",
            &format!("undo-{run}.gz"),
            &format!("undo.{run}.tmp"),
        ] {
            assert!(OutsidePath::parse(format!("/b/1-01/P/{name}").as_bytes()).is_some(), "{name}");
        }
        for name in
            ["passwd", "undo.bz2", "undo-17.gz", "undo.tmp", "undo.1-2.tmp", "undone", "obsolete.gz.gz"]
        {
            assert!(OutsidePath::parse(format!("/b/1-01/P/{name}").as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn what_leads_elsewhere_has_no_form() {
        for path in [
            "",
            "undo",
            "/undo",
            "/P/undo",
            "b/1-01/P/undo",
            "/b/../1-01/P/undo",
            "/b//1-01/P/undo",
            "/b/./1/P/undo",
        ] {
            assert!(OutsidePath::parse(path.as_bytes()).is_none(), "{path}");
        }
        assert!(OutsidePath::parse(b"/b\n/1-01/P/undo").is_none());
    }
}
