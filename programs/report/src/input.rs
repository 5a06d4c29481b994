//! What a report is made from: inventories that are named, standard input, or the root itself.

use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use patchadm_cli::call::Invocation;
use patchadm_cli::reply::patch_list::own_inventory;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_core::operation::fleet::{
    FleetFiles, InventorySource, LARGEST_INVENTORY, PastFileError, read_inventories, read_past_report,
};
use patchadm_planning::fleet::PastReport;
use patchadm_rootfs::Root;

/// The code where a document cannot be read, as `depot index` has it.
pub(crate) const UNREADABLE: Exit = Exit::new(33, ExitCause::DamagedInput);

/// Reads the inventories; without one the root is listed.
pub(crate) fn read_sources(call: &Invocation, root: &Root, named: &[PathBuf]) -> anyhow::Result<FleetFiles> {
    let sources = if named.is_empty() {
        let name = call.surroundings.machine.node.clone();
        vec![InventorySource::Text { name, text: own_inventory(root, call)? }]
    } else {
        named.iter().map(|path| source(path)).collect::<io::Result<Vec<_>>>()?
    };
    let jobs = NonZeroUsize::new(call.surroundings.processors).unwrap_or(NonZeroUsize::MIN);
    Ok(read_inventories(sources, jobs, call.busy("reading").meter()))
}

fn source(path: &Path) -> io::Result<InventorySource> {
    if path != Path::new("-") {
        return Ok(InventorySource::Path(path.to_owned()));
    }
    let mut text = Vec::new();
    // The reader sees by the byte more that it is too large.
    io::stdin().lock().take(LARGEST_INVENTORY + 1).read_to_end(&mut text)?;
    Ok(InventorySource::Text { name: "standard input".to_owned(), text })
}

/// Reads the report before.
pub(crate) fn past_report(path: &Path) -> Result<PastReport, Stop> {
    read_past_report(path).map_err(|error| {
        let exit = match &error {
            PastFileError::File { reason, .. } if reason.kind() == io::ErrorKind::NotFound => {
                Exit::new(UNREADABLE.code(), ExitCause::NotFound)
            }
            _ => UNREADABLE,
        };
        Stop::Refused { exit, message: format!("the report before cannot be used: {error}") }
    })
}
