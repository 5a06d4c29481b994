//! Opens a run, with or without scripts: from its number to its published journal, and the two ways back.

use super::error::{Cause, DuringPhase, Phase, RootCondition, TransactionError};
use super::settings::RunSettings;
use crate::format::journal::{Journal, JournalArchive, JournalEntry, JournalHeader, Op, VERSION};
use crate::format::run::Run;
use crate::outside::OutsideAccess;
use crate::transaction::journal::attempt_file;
use crate::transaction::journal::journal_file;
use crate::transaction::journal::root_id_file;
use crate::transaction::recover::recovery::{next_run, roll_back};
use crate::transaction::recover::strays::remove_strays;
use crate::transaction::stage::domains::{OpenDomains, make_own_directory};
use patchadm_rootfs::{Dir, Root};
use patchadm_svr4::package::ObjectPath;

/// A run with a number and a stage, but no journal yet.
#[derive(Debug)]
pub(crate) struct RunOpening {
    pub(crate) run: Run,
    marker: String,
    pub(crate) domains: OpenDomains,
}

/// A journal that could not be published.
pub(crate) struct Unpublished {
    /// The journal, if it may have reached the disk: then the run must be rolled back.
    pub(crate) journal: Option<Journal>,
    pub(crate) cause: Cause,
}

impl RunOpening {
    /// Numbers the run and makes its stage on the file system of the journal. Each directory in `apart` becomes a
    /// domain of its own.
    pub(crate) fn begin(
        root: &Root,
        settings: RunSettings<'_>,
        apart: &[ObjectPath],
    ) -> Result<Self, TransactionError> {
        let (run, marker) = next_run(root, settings.nonce).during(Phase::Prepare)?;
        let marker = marker.unwrap_or_else(|| settings.marker.to_owned());
        let ready = make_own_directory(root).and_then(|own| {
            root_id_file::make_sure(&own, &marker)?;
            journal_file::begin(&own)
        });
        match ready.and_then(|()| OpenDomains::begin(root, &run, apart)) {
            Ok(domains) => {
                if let Ok(first) = domains.get(0) {
                    attempt_file::note(root, &first.dir, &run, settings.run_record);
                }
                Ok(Self { run, marker, domains })
            }
            Err(cause) => {
                // Every part of the stage is removed. A part that cannot be removed belongs to no journal, and is
                // removed next time.
                let _ = remove_strays(root, None);
                Err(TransactionError { phase: Phase::Prepare, cause, left: RootCondition::Unchanged })
            }
        }
    }

    /// Makes everything staged durable, together with a journal of these archives and ops, then gives the journal its
    /// name.
    pub(crate) fn publish(
        &self,
        root: &Root,
        command: &str,
        settings: RunSettings<'_>,
        archives: &[JournalArchive],
        ops: impl Iterator<Item = Op>,
    ) -> Result<Journal, Box<Unpublished>> {
        let before = |cause: Cause| Box::new(Unpublished { journal: None, cause });
        (settings.before_publishing)(&self.run.to_string()).map_err(before)?;
        let journal = self.write(root, command, settings, archives, ops).map_err(before)?;
        let journal = self.read_back(root, &journal, settings).map_err(before)?;
        match journal_file::publish(root) {
            Ok(()) => Ok(journal),
            // Once made, the rename may have reached the disk.
            Err(cause) => match journal_file::head(root) {
                Ok(found) if found.as_ref().is_none_or(|found| *found != journal.head) => Err(before(cause)),
                _ => Err(Box::new(Unpublished { journal: Some(journal), cause })),
            },
        }
    }

    /// Writes the journal and its copies; returns the bytes of the publicly readable part. Drops each op once it is
    /// written.
    fn write(
        &self,
        root: &Root,
        command: &str,
        settings: RunSettings<'_>,
        archives: &[JournalArchive],
        ops: impl Iterator<Item = Op>,
    ) -> Result<Vec<u8>, Cause> {
        let header = JournalHeader {
            version: VERSION,
            run: self.run.to_string(),
            command: command.to_owned(),
            root: self.marker.clone(),
            ..JournalHeader::default()
        };
        let domains = self.domains.iter().map(|domain| JournalEntry::Domain(domain.entry.clone()));
        let archives = archives.iter().cloned().map(|archive| JournalEntry::Archive(Box::new(archive)));
        let run_record = JournalEntry::RunRecord(Box::new(settings.run_record.clone()));
        let ops = ops.map(|op| JournalEntry::Op(Box::new(op)));
        let entries = domains.chain(archives).chain([run_record]).chain(ops);
        let stages: Vec<&Dir> = self.domains.iter().map(|domain| &domain.dir).collect();
        journal_file::write_new(root, &stages, &header.run.clone(), |ops| {
            Journal::write_beside(header, entries, ops)
        })
    }

    /// Makes everything durable. Meanwhile the journal is parsed as recovery would parse it, from its file; from here, the
    /// run follows that journal.
    fn read_back(&self, root: &Root, journal: &[u8], settings: RunSettings<'_>) -> Result<Journal, Cause> {
        let run = self.run.to_string();
        settings.watch.check()?;
        std::thread::scope(|scope| {
            let syncing = scope.spawn(|| self.make_durable(&run));
            // In this thread: the data read reuses the memory that the layout has freed.
            let read = journal_file::read_back(root, journal, &run);
            syncing.join().map_err(|_| Cause::Internal("a thread failed".to_owned()))??;
            read
        })
    }

    fn make_durable(&self, run: &str) -> Result<(), Cause> {
        self.domains.sync()?;
        self.domains.iter().try_for_each(|domain| journal_file::name_copy(&domain.dir, run))
    }

    /// Gives the run up before anything live has changed.
    pub(crate) fn abandon(&self, root: &Root, phase: Phase, cause: Cause) -> TransactionError {
        if let Ok(first) = self.domains.get(0) {
            attempt_file::keep_given_up(root, &first.dir, &self.run, &cause);
        }
        // A stage that cannot be removed now is removed by the next command: it belongs to no published journal.
        if self.domains.discard().is_ok() {
            let _ = journal_file::remove_new(root);
        }
        TransactionError { phase, cause, left: RootCondition::Unchanged }
    }
}

/// Rolls back a published run after a failure.
pub(crate) fn undo_published(root: &Root, journal: &Journal, phase: Phase, cause: Cause) -> TransactionError {
    let left = match roll_back(root, journal, &OutsideAccess::planned(), None) {
        Ok(_) => RootCondition::RolledBack,
        Err(TransactionError { cause, left: RootCondition::Unfinished(mut what), .. }) => {
            what.insert(0, cause.to_string());
            RootCondition::Unfinished(what)
        }
        Err(error) => RootCondition::Unfinished(vec![error.to_string()]),
    };
    TransactionError { phase, cause, left }
}
