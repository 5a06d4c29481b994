//! The report of `patchadm-make build` about the new patch.

use std::time::Instant;

use serde::Serialize;

use crate::left_out_scripts::left_out_scripts;
use patchadm_cli::reply::json::milliseconds_since;
use patchadm_cli::reply::words::human;
use patchadm_cli::reply::{CommandReport, ResultWord};
use patchadm_cli::surroundings::Output;
use patchadm_inputs::sign::sha256_text;
use patchadm_making::build::{
    BuildFinding, ChangeCounts, PatchDestination, PatchDraft, ReleaseSide, SparsePackage, UnpairedPackage,
    WrittenPatch,
};

/// The code of files that only their bytes tell from those that they replace.
const SAME_TIME: &str = "same-time";

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct BuildReport {
    result: ResultWord,
    duration_ms: u64,
    patches: Vec<BuiltPatch>,
    unpaired: Vec<UnpairedEntry>,
    scripts_left_out: Vec<String>,
    findings: Vec<FindingEntry>,
}

#[derive(Debug, Serialize)]
struct BuiltPatch {
    id: String,
    path: String,
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    packages: Vec<BuiltPackage>,
    requires: Vec<String>,
    obsoletes: Vec<String>,
    incompat: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BuiltPackage {
    pkg: String,
    arch: String,
    version: String,
    added: usize,
    replaced: usize,
    deleted: usize,
    attributes: usize,
}

#[derive(Debug, Serialize)]
struct UnpairedEntry {
    name: String,
    arch: String,
    side: &'static str,
}

#[derive(Debug, Serialize)]
struct FindingEntry {
    code: &'static str,
    text: String,
}

impl BuildReport {
    /// The report about a patch, written or not.
    pub(super) fn of(
        draft: &PatchDraft<'_>,
        to: &PatchDestination,
        written: Option<&WrittenPatch>,
        began: Instant,
    ) -> Self {
        let patch = BuiltPatch {
            id: draft.id.to_string(),
            path: to.path.display().to_string(),
            format: to.form.word(),
            bytes: written.map(|written| written.bytes),
            sha256: written.map(|written| sha256_text(&written.sha256)),
            manifest: written.map(|written| written.manifest.display().to_string()),
            packages: draft.packages.iter().map(|drafted| BuiltPackage::of(&drafted.sparse)).collect(),
            requires: draft.lists.requires.iter().map(ToString::to_string).collect(),
            obsoletes: draft.lists.obsoletes.iter().map(ToString::to_string).collect(),
            incompat: draft.lists.incompatibles.iter().map(ToString::to_string).collect(),
        };
        Self {
            result: if written.is_some() { ResultWord::Done } else { ResultWord::Planned },
            duration_ms: milliseconds_since(began),
            patches: vec![patch],
            unpaired: draft.unpaired.iter().map(UnpairedEntry::of).collect(),
            scripts_left_out: draft.scripts_left_out.clone(),
            findings: draft.findings.iter().map(FindingEntry::of).collect(),
        }
    }
}

impl BuiltPackage {
    fn of(sparse: &SparsePackage) -> Self {
        let ChangeCounts { added, replaced, deleted, attributes } = sparse.counts();
        let (pkg, arch, version) = (sparse.pkg.to_string(), sparse.arch.clone(), sparse.version.clone());
        Self { pkg, arch, version, added, replaced, deleted, attributes }
    }
}

impl UnpairedEntry {
    fn of(unpaired: &UnpairedPackage) -> Self {
        let side = match unpaired.side {
            ReleaseSide::From => "from",
            ReleaseSide::To => "to",
        };
        Self { name: unpaired.name.clone(), arch: unpaired.arch.clone(), side }
    }
}

impl FindingEntry {
    fn of(finding: &BuildFinding) -> Self {
        match finding {
            BuildFinding::Abi(finding) => Self { code: finding.code(), text: finding.to_string() },
            BuildFinding::SameTime(finding) => Self { code: SAME_TIME, text: finding.to_string() },
        }
    }
}

impl CommandReport for BuildReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for patch in &self.patches {
            let size = patch.bytes.map(|bytes| format!(", {}", human(bytes))).unwrap_or_default();
            let would = if patch.bytes.is_some() { "" } else { "would be " };
            output.line(format!("{}: {would}{} ({}{size})", patch.id, patch.path, patch.format))?;
            for BuiltPackage { pkg, arch, version, added, replaced, deleted, attributes } in &patch.packages {
                output.line(format!(
                    "  {pkg} {version} {arch}: {added} added, {replaced} replaced, {deleted} deleted, {attributes} with other attributes"
                ))?;
            }
            for (what, ids) in [
                ("requires", &patch.requires),
                ("obsoletes", &patch.obsoletes),
                ("incompatible with", &patch.incompat),
            ] {
                if !ids.is_empty() {
                    output.line(format!("  {what} {}", ids.join(" ")))?;
                }
            }
        }
        for finding in self.findings.iter().filter(|finding| finding.code == SAME_TIME) {
            output.line(format!("  note: {}", finding.text))?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        for UnpairedEntry { name, arch, side } in &self.unpaired {
            let release = if *side == "from" { "old" } else { "new" };
            output
                .complain(format!("NOTE: only the {release} release has {name} {arch}; it is left out\n"))?;
        }
        if let Some(counts) = left_out_scripts(&self.scripts_left_out) {
            output.complain(format!("NOTE: {counts}\n"))?;
        }
        for finding in self.findings.iter().filter(|finding| finding.code != SAME_TIME) {
            output.complain(format!("NOTE: {}\n", finding.text))?;
        }
        Ok(())
    }
}
