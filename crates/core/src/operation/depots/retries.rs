//! Repeated requests after problems that pass. [`HttpProblem::is_passing`] tells which ones do, [`Patience`] how long
//! to pause.
//!
//! [`HttpProblem::is_passing`]: patchadm_inputs::http::HttpProblem::is_passing

use std::time::Duration;

use super::DepotError;
use patchadm_inputs::http::Patience;

/// Between two looks at the signal during a pause.
const NAP: Duration = Duration::from_millis(100);

/// `go_on` fails once a signal comes.
pub(super) fn with_retries<T>(
    patience: &Patience,
    go_on: &dyn Fn() -> Result<(), DepotError>,
    mut work: impl FnMut() -> Result<T, DepotError>,
) -> Result<T, DepotError> {
    for pause in &patience.pauses {
        match work() {
            Err(DepotError::Http(error)) if error.problem.is_passing() => sleep(*pause, go_on)?,
            done => return done,
        }
    }
    work()
}

fn sleep(pause: Duration, go_on: &dyn Fn() -> Result<(), DepotError>) -> Result<(), DepotError> {
    let mut left = pause;
    while !left.is_zero() {
        go_on()?;
        let nap = left.min(NAP);
        std::thread::sleep(nap);
        left -= nap;
    }
    go_on()
}
