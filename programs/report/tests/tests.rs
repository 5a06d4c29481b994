//! The integration tests of `patchadm-report`, which `patchadm report` runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends by a panic
#![allow(clippy::needless_for_each, clippy::format_collect, clippy::format_push_string)] // a test need not be fast
#![allow(clippy::disallowed_methods)] // a test makes its own trees, beside the door

/// Documents of many hosts, as `list --json` prints them.
mod inventories;
/// The page of many hosts, and those of one, in a browser.
mod page;
/// The numbers of hosts for Prometheus.
mod prometheus;
/// Which hosts of many have and lack which patches.
mod report;
/// The stage on which every test plays.
mod scenario {
    patchadm_testing::stage!(env!("CARGO_BIN_EXE_patchadm-report"));
}

use patchadm_testing::tools::{missing, skipped};
use patchadm_testing::{delivery, packages, tree};
