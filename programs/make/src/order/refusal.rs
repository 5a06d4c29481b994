//! The end of the verb if nothing can be put in order.

use patchadm_cli::reply::cause_of::of_source;
use patchadm_cli::reply::depot_end::{depot_advice, depot_exit};
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_core::operation::order::OrderError;
use patchadm_rootfs::Root;

/// Returns the end of the verb. What is named and is not there, or cannot be read, ends with 1; what is wrong with the
/// records of a root as every question ends.
pub(super) fn order_refused(root: Option<&Root>, error: &OrderError, usage: &'static str) -> Stop {
    match (error, root) {
        (OrderError::Mixed | OrderError::StalePatches | OrderError::StaleElsewhere, _) => {
            Stop::Usage { message: error.to_string(), usage }
        }
        (OrderError::Interrupted(signal), _) => refused(Exit::by_signal(*signal), error),
        (OrderError::Failure(failure), Some(root)) => query_refused(root, failure),
        (OrderError::Source(failed), _) => refused(Exit::failed(of_source(failed)), error),
        (OrderError::Depot(failed), _) if failed.signal().is_some() => refused(depot_exit(failed), error),
        (OrderError::Depot(failed), _) => Stop::Refused {
            exit: Exit::failed(depot_exit(failed).cause()),
            message: format!("{error}\n{}", depot_advice(failed)),
        },
        _ => refused(Exit::failed(ExitCause::NotFound), error),
    }
}

fn refused(exit: Exit, error: &OrderError) -> Stop {
    Stop::Refused { exit, message: error.to_string() }
}
