//! Inventories read on all processors, in the order in which they were named.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::files::{DocumentSource, InventorySource, UnreadInventory, documents};
use patchadm_planning::fleet::{InventoryReader, NamedInventory};
use patchadm_rootfs::{WorkMeter, WorkUnit};

/// What was read.
#[derive(Debug, Default)]
pub struct FleetFiles {
    /// The number of documents.
    pub documents: usize,
    /// The inventories.
    pub inventories: Vec<NamedInventory>,
    /// Those that could not be read.
    pub unread: Vec<UnreadInventory>,
}

/// What one document gave.
type DocumentResult = (Vec<NamedInventory>, Vec<UnreadInventory>);

/// Reads all inventories, `jobs` at a time. `meter` knows how far it is.
pub fn read_inventories(sources: Vec<InventorySource>, jobs: NonZeroUsize, meter: &WorkMeter) -> FleetFiles {
    let mut files = FleetFiles::default();
    let mut all: Vec<Mutex<Option<DocumentSource>>> = Vec::new();
    for source in sources {
        let documents = documents(source, &mut files.unread);
        all.extend(documents.into_iter().map(|document| Mutex::new(Some(document))));
    }
    files.documents = all.len();
    let results: Vec<Mutex<Option<DocumentResult>>> = all.iter().map(|_| Mutex::new(None)).collect();
    let (next, step) = (AtomicUsize::new(0), meter.begin(WorkUnit::Files, all.len() as u64));
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(all.len()) {
            scope.spawn(|| {
                let mut reader = InventoryReader::default();
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(document), Some(result)) = (all.get(place), results.get(place)) else { break };
                    let document = document.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let given = document.map(|document| read_document(&mut reader, document));
                    *result.lock().unwrap_or_else(PoisonError::into_inner) = given;
                    step.advance(1);
                }
            });
        }
    });
    for result in results {
        let result = result.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (inventories, unread) = result.unwrap_or_default();
        files.inventories.extend(inventories);
        files.unread.extend(unread);
    }
    files
}

fn read_document(reader: &mut InventoryReader, document: DocumentSource) -> DocumentResult {
    let (source, machine) = (document.name(), document.machine());
    let unread = |reason: String| UnreadInventory { source: source.clone(), reason };
    let text = match document.text() {
        Ok(text) => text,
        Err(error) => return (Vec::new(), vec![unread(error.to_string())]),
    };
    match reader.read(&text, &machine) {
        Err(error) => (Vec::new(), vec![unread(error.to_string())]),
        Ok(read) => {
            let named = |inventory| NamedInventory { source: source.clone(), inventory };
            let failed = read.failed.into_iter().map(|(root, error)| UnreadInventory {
                source: format!("{source}: root {}", root.escape_debug()),
                reason: error.to_string(),
            });
            (read.inventories.into_iter().map(named).collect(), failed.collect())
        }
    }
}
