//! The runs of one patchadd(1M), one after another.

use std::collections::BTreeSet;

use super::combined::carry_out;
use super::gather::gather;
use super::input::ApplyInput;
use super::operands::ApplyOperand;
use super::request::ApplyOutcome;
use super::single::apply_one;
use crate::operation::failure::{Failure, is_of_source};
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::session::Session;
use patchadm_changeset::transaction::Receipt;

/// Applies all operands, run by run, until one fails; what became of each. Those behind it are not tried.
pub(super) fn apply_all(
    session: &Session<'_>,
    input: &ApplyInput<'_>,
    request: &PatchScriptRequest,
    operands: &[&ApplyOperand],
) -> Vec<ApplyOutcome> {
    let mut report: Vec<ApplyOutcome> = Vec::new();
    let mut alone = BTreeSet::new();
    while let Some(first) = operands.get(report.len()) {
        let at = report.len();
        let gathered = gather(input, operands, (at, &alone), &mut input.keeper());
        let done = if gathered.is_empty() {
            vec![apply_one(session, input, request, first)]
        } else {
            match carry_out(session, gathered) {
                Ok(done) => done,
                Err(culprits) => {
                    alone.extend(culprits.into_iter().map(|place| at + place));
                    continue;
                }
            }
        };
        let stops = done.iter().any(|applied| ends_all(&applied.result));
        report.extend(done);
        if stops {
            break;
        }
    }
    let failed =
        report.iter().rev().find(|applied| ends_all(&applied.result)).map(|failed| failed.id.clone());
    let rest = operands.iter().skip(report.len());
    report.extend(rest.map(|operand| operand.refused(Failure::NotTried(failed.clone().unwrap_or_default()))));
    report
}

/// Whether nothing more is tried: the root or the machine is at fault, not a source.
fn ends_all(result: &Result<Option<Receipt>, Failure>) -> bool {
    matches!(result, Err(Failure::Transaction(error)) if !is_of_source(error))
}
