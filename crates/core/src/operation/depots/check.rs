//! `patchadm depot check`: checks every object of a depot, its index and its signatures.

use std::path::Path;

use super::depot::{Depot, open_depot};
use super::error::DepotError;
use super::fetch::{discard_patch, fetch_patch, take_readme};
use super::location::DepotLocation;
use super::session::{DepotProgress, FetchSession, PatchWork};
use patchadm_inputs::depot::DepotPatch;
use patchadm_inputs::sign::{Demand, DemandWord, SignatureState};
use patchadm_inputs::source::{SourceProblem, open_signed};

/// The fault of an object.
#[derive(Debug)]
pub struct DepotFault {
    /// The id of the patch, or another object.
    pub object: String,
    /// The fault.
    pub reason: String,
    /// The kind of fault.
    pub error: Option<DepotError>,
}

/// The outcome of a check.
#[derive(Debug)]
pub struct DepotCheck {
    /// The depot.
    pub depot: Depot,
    /// The number of objects that were read.
    pub objects: usize,
    /// The faults.
    pub faults: Vec<DepotFault>,
}

/// Reads every object of a depot and compares it with the index, and the signatures with the keys. Continues after a fault;
/// only what prevents the whole check is an error.
pub fn check_depot(
    location: &DepotLocation,
    demands: &[Demand],
    session: &FetchSession<'_>,
) -> Result<DepotCheck, DepotError> {
    let depot = open_depot(location, demands, session)?;
    depot.must_be_unique()?;
    let (mut objects, mut faults) = (0, Vec::new());
    for (name, reason) in depot.passed_over() {
        faults.push(DepotFault { object: name.clone(), reason: reason.clone(), error: None });
    }
    let all = depot.index().patches().len();
    for (done, patch) in depot.index().patches().enumerate() {
        session.go_on()?;
        session.tell(DepotProgress::Patch { doing: PatchWork::Checking, done, all });
        objects += patch.objects().count();
        let readme = take_readme(&depot, patch, session).err();
        match fetch_patch(&depot, patch, session) {
            Err(error) if error.signal().is_some() => return Err(error),
            Err(error) => faults.push(fault(patch, error)),
            Ok(path) => faults.extend(signature_fault(patch, &path, demands)),
        }
        faults.extend(readme.map(|error| fault(patch, error)));
        discard_patch(&depot, patch, session)?;
    }
    Ok(DepotCheck { depot, objects, faults })
}

fn fault(patch: &DepotPatch, error: DepotError) -> DepotFault {
    DepotFault { object: patch.id.clone(), reason: error.to_string(), error: Some(error) }
}

/// Opens a patch as for an application, if signatures are demanded or there is one.
fn signature_fault(patch: &DepotPatch, path: &Path, demands: &[Demand]) -> Option<DepotFault> {
    let is_asked = demands.iter().any(|demand| demand.word != DemandWord::Off);
    if !is_asked && patch.signature.is_none() {
        return None;
    }
    match open_signed(path, demands) {
        Ok((_, image)) if image.signature.verdict.state == SignatureState::Bad => {
            let reason = image.signature.verdict.to_string();
            Some(DepotFault { object: patch.id.clone(), reason, error: None })
        }
        Ok(_) => None,
        Err(error) => {
            let path = error.path.display().to_string();
            let error = match error.problem {
                SourceProblem::Signature(verdict) => Some(DepotError::IndexSignature { path, verdict }),
                _ => None,
            };
            let reason =
                error.as_ref().map_or_else(|| "it cannot be read as a patch".to_owned(), ToString::to_string);
            Some(DepotFault { object: patch.id.clone(), reason, error })
        }
    }
}
