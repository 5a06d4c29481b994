//! How every change of a root's undo data begins: `undo-data drop`, `repack`, `export` and `import`.

use std::collections::BTreeSet;
use std::path::Path;

use crate::operation::failure::Failure;
use crate::operation::queries::applied_patches::applied_revisions;
use crate::operation::session::{
    Caller, RootAndPolicy, may_change, must_agree, must_have_database, without_lock,
};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::Root;
use patchadm_svr4::patch::{AppliedPatch, AppliedPatches, PatchId, PatchIdError};

/// Begins a change with `begin`, which locks and recovers the root, and checks the records. `undo_dir` has moved archives.
pub(super) fn begin_undo_change<'a, T>(
    root: &Root,
    undo_dir: Option<&Path>,
    caller: &'a Caller<'a>,
    begin: impl FnOnce(RootAndPolicy, &'a Caller<'a>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    must_have_database(root)?;
    may_change(root)?;
    let begun = begin(RootAndPolicy::of(root)?.naming(undo_dir), caller)?;
    must_agree(root, caller.interrupt, |_| false)?;
    Ok(begun)
}

/// Plans a change without a lock, on records that no run is changing.
pub(super) fn foresee_undo_change<T>(
    root: &Root,
    undo_dir: Option<&Path>,
    caller: &Caller<'_>,
    plan: impl Fn(&RootAndPolicy) -> Result<T, Failure>,
) -> Result<T, Failure> {
    must_have_database(root)?;
    let ground = RootAndPolicy::of(root)?.naming(undo_dir).for_who_may()?;
    without_lock(root, || {
        must_agree(root, caller.interrupt, |_| false)?;
        plan(&ground)
    })
}

/// Names the applied revisions, or an example, if `text` is only a base.
pub(super) fn bad_id<'p>(
    error: &PatchIdError,
    text: &str,
    separator: &str,
    applied: impl IntoIterator<Item = &'p AppliedPatch>,
) -> Failure {
    let named = applied_revisions(text, applied).or_else(|| {
        let example = format!("{text}{separator}01");
        let is_base = !text.contains(separator) && PatchId::parse(&example, separator).is_ok();
        is_base.then(|| format!("specify base and revision, as in {example}"))
    });
    let named = named.map(|named| format!("; {named}")).unwrap_or_default();
    Failure::BadId(format!("{error}{named}"))
}

/// Returns the patches that the user named, which must be applied.
pub(super) fn named_patches<'a>(
    ids: &[String],
    ground: &RootAndPolicy,
    applied: &'a AppliedPatches,
    command: Command,
) -> Result<BTreeSet<&'a PatchId>, Failure> {
    let mut named = BTreeSet::new();
    for text in ids {
        let id = PatchId::parse(text, &ground.policy.separator);
        let id = id.map_err(|error| bad_id(&error, text, &ground.policy.separator, applied.iter()))?;
        named.insert(&applied.get(&id).ok_or_else(|| Reason::NotApplied.of(command, &id))?.id);
    }
    Ok(named)
}
