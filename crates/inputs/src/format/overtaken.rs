//! Patches that ended because the native package manager changed their package: `var/sadm/patchadm/lost`, JSON lines. A
//! line of another root, copied with its records or by hand, is ignored.

use serde::{Deserialize, Serialize};

use patchadm_changeset::format::manifest::decode;
use patchadm_svr4::format::LONGEST_LINE;
use patchadm_svr4::package::{ObjectPath, rule};
use patchadm_svr4::patch::FixId;

/// A root with more ended patches has a damaged list.
const MOST_LINES: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OvertakenState {
    /// The native version has the fix.
    Contained,
    /// The native version lacks the fix, as far as is known.
    Lost,
    /// Applied, and lost at some paths.
    PartlyLost,
    Removed,
    /// Lost, and the operator accepted that.
    Accepted,
    /// Applied, and the operator accepted that the next native version loses the fix.
    AcceptedBeforehand,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvertakenPatch {
    /// The marker of the root.
    pub root: String,
    pub patch: String,
    pub state: OvertakenState,
    /// `dpkg` or `rpm`; empty before a manager overtook it.
    pub manager: String,
    pub package: String,
    /// Then, or before its removal.
    pub version: String,
    /// Native versions with the fix, according to the patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_in: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<String>,
    /// Paths of lost changes. For a contained patch, all its paths: a later version without the fix would lose them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<LostPath>,
    /// RFC 3339.
    pub time: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostPath {
    /// Escaped as in undo manifests.
    pub path: String,
    /// Of the patch's bytes, for a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b3: Option<String>,
    /// The native package that took over the path, with its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl LostPath {
    fn is_sensible(&self) -> bool {
        self.object_path().is_some() && self.by.iter().flat_map(|by| by.chars()).all(|c| !c.is_control())
    }

    /// Returns `None` if it is invalid.
    pub fn object_path(&self) -> Option<ObjectPath> {
        ObjectPath::new(&decode(&self.path)).ok()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OvertakenPatches {
    /// Of this root, in the order in which they ended.
    pub patches: Vec<OvertakenPatch>,
    /// Numbers of lines that are invalid or of another root. The last one may stand for all after it: the list is too
    /// long.
    pub passed_over: Vec<usize>,
}

impl OvertakenPatches {
    /// Parses the file. `root` is the marker of the root.
    pub fn parse(text: &[u8], root: &str) -> Self {
        let mut read = Self::default();
        let lines = (1..).zip(text.split(|&byte| byte == b'\n'));
        for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            if read.patches.len() + read.passed_over.len() == MOST_LINES {
                read.passed_over.push(at);
                break;
            }
            let is_short = line.len() <= LONGEST_LINE;
            match serde_json::from_slice::<OvertakenPatch>(line) {
                Ok(mut patch) if is_short && patch.root == root && patch.is_sensible() => {
                    patch.fixes.retain(|id| rule::holds("lost.fixes", FixId::new(id).is_ok()));
                    patch.paths.retain(|lost| rule::holds("lost.paths", lost.is_sensible()));
                    read.patches.push(patch);
                }
                _ => read.passed_over.push(at),
            }
        }
        read
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for patch in &self.patches {
            // Strings: serialising these into memory cannot fail.
            let _ = serde_json::to_writer(&mut text, patch);
            text.push(b'\n');
        }
        text
    }

    /// Returns the last line of a patch.
    pub fn of(&self, patch: &str) -> Option<&OvertakenPatch> {
        self.patches.iter().rfind(|one| one.patch == patch)
    }
}

impl OvertakenState {
    /// Lost, even in part, and not accepted.
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Lost | Self::PartlyLost)
    }
}

impl OvertakenPatch {
    /// Fields must be of a patch and a package, without newlines or control sequences.
    fn is_sensible(&self) -> bool {
        let Self { patch, manager, package, version, fixed_in, time, .. } = self;
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
        let texts = [manager, package, version, time].into_iter().chain(fixed_in);
        !patch.is_empty()
            && patch.bytes().all(is_id)
            && texts.flat_map(|text| text.chars()).all(|c| !c.is_control())
    }

    pub fn lost_paths(&self) -> impl Iterator<Item = ObjectPath> {
        let is_lost = self.state != OvertakenState::Contained;
        self.paths.iter().filter(move |_| is_lost).filter_map(LostPath::object_path)
    }

    /// Returns its state in words: `contained in openssl 3.0.22-1 (dpkg)`, `LOST to …`, `went with …`.
    pub fn told(&self) -> String {
        let Self { manager, package, version, .. } = self;
        match self.state {
            OvertakenState::Contained => format!("contained in {package} {version} ({manager})"),
            OvertakenState::Lost => format!("LOST to {package} {version} ({manager})"),
            OvertakenState::PartlyLost => format!("PARTLY LOST to {package} {version} ({manager})"),
            OvertakenState::Accepted => {
                format!("lost to {package} {version} ({manager}), which was accepted")
            }
            OvertakenState::Removed => format!("went with {package} ({manager})"),
            OvertakenState::AcceptedBeforehand => "may be lost to the next version".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(id: &str, root: &str) -> OvertakenPatch {
        OvertakenPatch {
            root: root.to_owned(),
            patch: id.to_owned(),
            state: OvertakenState::Lost,
            manager: "dpkg".to_owned(),
            package: "openssl".to_owned(),
            version: "3.0.18-1".to_owned(),
            fixed_in: None,
            fixes: Vec::new(),
            paths: Vec::new(),
            time: "2026-11-25T16:00:00Z".to_owned(),
        }
    }

    #[test]
    fn what_was_written_is_read_and_lines_of_another_root_and_rubbish_are_passed_over() {
        let all = OvertakenPatches {
            patches: vec![patch("1-01", "aa"), patch("2-01", "bb"), patch("3-01", "aa")],
            passed_over: Vec::new(),
        };
        let text = [all.to_bytes(), b"{\"patch\":1}\n".to_vec()].concat();
        let read = OvertakenPatches::parse(&text, "aa");
        assert_eq!(read.patches, [patch("1-01", "aa"), patch("3-01", "aa")]);
        assert_eq!(read.passed_over, [2, 4]);
        assert_eq!(read.of("3-01").unwrap().told(), "LOST to openssl 3.0.18-1 (dpkg)");
    }

    #[test]
    fn a_list_ends_where_it_is_too_long_for_any_root() {
        let line =
            OvertakenPatches { patches: vec![patch("1-01", "aa")], passed_over: Vec::new() }.to_bytes();
        let read = OvertakenPatches::parse(&line.repeat(MOST_LINES + 2), "aa");
        assert_eq!((read.patches.len(), read.passed_over), (MOST_LINES, vec![MOST_LINES + 1]));
    }

    #[test]
    fn of_what_a_line_says_was_lost_only_paths_are_believed() {
        let lost = |path: &str| LostPath { path: path.to_owned(), b3: None, by: None };
        let paths = vec![lost("/usr/lib/a.so"), lost("usr/lib"), lost("/etc/../shadow"), lost("")];
        let list = OvertakenPatches {
            patches: vec![OvertakenPatch { paths, ..patch("1-01", "aa") }],
            passed_over: Vec::new(),
        };
        let read = OvertakenPatches::parse(&list.to_bytes(), "aa");
        assert_eq!(read.patches[0].paths, [lost("/usr/lib/a.so")]);
    }

    #[test]
    fn of_what_a_line_says_that_a_patch_fixed_only_ids_are_believed() {
        let said = ["CVE-2026-1234", "<b>", "ACME\u{1b}[1m", "ACME-17"].map(str::to_owned).to_vec();
        let list = OvertakenPatches {
            patches: vec![OvertakenPatch { fixes: said, ..patch("1-01", "aa") }],
            passed_over: Vec::new(),
        };
        let read = OvertakenPatches::parse(&list.to_bytes(), "aa");
        assert_eq!(read.patches[0].fixes, ["CVE-2026-1234", "ACME-17"]);
    }
}
