//! A faulty kept library, as `patchadm check --contents` shows it.

use serde::Serialize;

use patchadm_core::operation::queries::verify::{KeptFault, KeptFinding};
use patchadm_planning::plan::refusal::Wording;

#[derive(Debug, Serialize)]
pub(super) struct KeptFindingEntry {
    package: String,
    library: String,
    paths: Vec<String>,
    finding: &'static str,
    /// Programs that find it instead of a newer one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    misled: Vec<String>,
    #[serde(skip)]
    pub(super) sentence: String,
}

impl KeptFindingEntry {
    pub(super) fn of(finding: &KeptFinding, wording: &Wording) -> Self {
        let KeptFinding { package, library, paths, fault } = finding;
        let misled = match fault {
            KeptFault::Shadows(paths) => paths.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        let what = match fault {
            KeptFault::Changed => "changed since it was kept".to_owned(),
            KeptFault::Missing => "no longer exists".to_owned(),
            KeptFault::Unneeded => {
                format!("is no longer needed; {} removes it", wording.verb("libs prune"))
            }
            KeptFault::Shadows(_) => {
                format!("is loaded instead of a newer one by {}", misled.join(", "))
            }
        };
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        Self {
            package: package.to_string(),
            library: library.clone(),
            sentence: format!("kept library {library} ({package}: {}) {what}", paths.join(", ")),
            paths,
            finding: fault.word(),
            misled,
        }
    }
}
