//! Refusals in the words of the verbs. They say how a patch ended that is no longer applied, or suggest a similar file.
//!
//! A command that changes a root never suggests another patch: who pastes the suggestion changes what nobody meant.

use std::path::Path;

use patchadm_cli::arguments::suggest::{did_you_mean, similar, similar_id};
use patchadm_cli::reply::failure::{Undone, joined};
use patchadm_cli::reply::overtaken::ending_of;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::queries::applied_patches::applied_patches;
use patchadm_inputs::source::{SourceError, SourceProblem, directory_names};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

/// Three lines: what did not happen, or would not (`is_plan`), why, and what to type next.
pub(super) fn refusal_text(
    root: &Root,
    (command, is_plan): (Command, bool),
    subject: &str,
    failed: &Failure,
) -> String {
    let describe = if is_plan { Undone::of_plan } else { Undone::of };
    let mut undone = describe(root.prefix(), command, subject, failed);
    if let Failure::Refused(refusal) = failed
        && matches!(
            *refusal.reason,
            Reason::NotApplied | Reason::NotInstalled(_) | Reason::OtherNative { .. }
        )
        && let Some((ended, way_on)) = ending_of(root, &refusal.subject)
    {
        undone.why = format!("{}: {ended}", undone.why);
        undone.hint = way_on.unwrap_or(undone.hint);
        return undone.text();
    }
    if matches!(failed, Failure::NoDepot { .. }) {
        // No patch is named either.
        let verb = if is_plan { "would not be" } else { "was not" };
        undone.what = format!("the root {verb} updated");
    }
    if let Some(meant) = meant_instead(failed) {
        undone.left = joined([undone.left, did_you_mean(&meant)]);
    }
    undone.text()
}

/// Returns the suggestion, if a patch was refused because its file does not exist.
fn meant_instead(failed: &Failure) -> Option<String> {
    let Failure::Source(SourceError { path, problem: SourceProblem::NotFound }) = failed else { return None };
    file_like(path)
}

/// The applied patch with the most similar id; `None` if records are unreadable.
pub(super) fn applied_like(root: &Root, word: &str) -> Option<String> {
    let applied = applied_patches(root).unwrap_or_default();
    let ids: Vec<String> = applied.iter().map(|patch| patch.id.to_string()).collect();
    similar_id(word, ids.iter().map(String::as_str)).map(str::to_owned)
}

fn file_like(missing: &Path) -> Option<String> {
    let name = missing.file_name()?.to_str()?;
    let directory = missing.parent().filter(|parent| !parent.as_os_str().is_empty());
    let names = directory_names(directory.unwrap_or(Path::new(".")));
    let names = names.iter().filter_map(|(name, is_directory)| {
        name.to_str().filter(|name| *is_directory || could_be_patch(name))
    });
    let names: Vec<&str> = names.filter(|like| named_patch(like) == named_patch(name)).collect();
    let like = similar_id(name, names.iter().copied()).or_else(|| similar(name, names.iter().copied()))?;
    Some(directory.map_or_else(|| like.to_owned(), |directory| directory.join(like).display().to_string()))
}

/// Returns the patch id with which the name of a file begins, such as that of `105181-05.zip`.
fn named_patch(name: &str) -> Option<PatchId> {
    PatchId::new(name.split('.').next()?).ok()
}

/// A suggestion must be no file that belongs to a patch, and no key.
fn could_be_patch(name: &str) -> bool {
    let is_archive = ARCHIVES.iter().any(|ending| name.ends_with(ending));
    is_archive || named_patch(name).is_some() && !is_beside(name)
}

const ARCHIVES: [&str; 11] =
    [".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".lz", ".Z", ".pkg", ".ds"];

fn is_beside(name: &str) -> bool {
    [".manifest", ".minisig", ".sig", ".sec", ".pub", ".json"].iter().any(|ending| name.ends_with(ending))
}
