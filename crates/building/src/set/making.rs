//! A set is made: selected, looked at, published.

use patchadm_bulk::report::SetReport;

use super::error::{SetError, SetRefusal};
use super::input::SetInput;
use super::libraries::{LackingPackages, leave_out_lacking};
use super::places::CURRENT;
use super::publishing::{publish, set_behind};
use super::selection::{must_suffice, select};
use crate::work::Work;

/// Makes the set of a run, unless something speaks against it. The caller holds the lock of the working directory, and the pool.
pub fn make_set(work: &Work, input: &SetInput<'_>) -> Result<Result<SetReport, SetRefusal>, SetError> {
    let previous = set_behind(work, CURRENT)?;
    let (mut entries, mut left_out) = match select((input.run, input.packages), previous.as_ref(), &work.conf)
    {
        Ok(selected) => selected,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let LackingPackages { packages, unmet } =
        leave_out_lacking(&mut entries, &work.conf.base, input.interrupt)?;
    if !packages.is_empty() {
        left_out.extend(packages);
        if let Err(refusal) = must_suffice(&entries, previous.as_ref(), &work.conf) {
            return Ok(Err(refusal));
        }
    }
    publish(work, input, &entries)?;
    let kept = entries.iter().filter(|entry| entry.is_kept);
    Ok(Ok(SetReport {
        run: input.run,
        packages: entries.len() as u64,
        kept: kept.map(|entry| format!("{} (run {})", entry.package, entry.run)).collect(),
        unmet,
        left_out,
    }))
}
