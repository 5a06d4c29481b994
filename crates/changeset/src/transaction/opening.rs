//! The opening of a run, with scripts or without: from its number to its published journal, and the two ways back.

use super::error::{Cause, In, Left, Phase, TransactionError};
use super::recover::{next_run, roll_back};
use super::sites::Sites;
use super::strays::remove_strays;
use super::{Settings, journal_file};
use crate::format::journal::{Archive, Entry, Files, Header, Journal, Op, Run, VERSION};
use crate::outside::Outside;
use crate::package::ObjectPath;
use crate::root::Root;

/// A run that has a number and a stage, and no journal yet.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) run: Run,
    marker: String,
    pub(super) sites: Sites,
}

/// A journal that could not be published.
pub(super) struct Unpublished {
    /// The journal, where it may have reached the disk: then only a rollback will do.
    pub(super) journal: Option<Journal>,
    pub(super) cause: Cause,
}

impl Opening {
    /// Numbers the run and makes its stage on the file system of the journal. The directories `apart` are domains of
    /// their own.
    pub(super) fn begin(
        root: &Root,
        settings: Settings<'_>,
        apart: &[ObjectPath],
    ) -> Result<Self, TransactionError> {
        let (run, marker) = next_run(root, settings.nonce).during(Phase::Prepare)?;
        let marker = marker.unwrap_or_else(|| settings.marker.to_owned());
        match Sites::begin(root, &run, apart) {
            Ok(sites) => Ok(Self { run, marker, sites }),
            Err(cause) => {
                // Whatever was made of the stage goes; what cannot go belongs to no journal, and goes next time.
                let _ = remove_strays(root, None);
                Err(TransactionError { phase: Phase::Prepare, cause, left: Left::Unchanged })
            }
        }
    }

    /// Makes everything that is staged durable, together with a journal of these archives and ops, then gives the
    /// journal its name.
    pub(super) fn publish(
        &self,
        root: &Root,
        command: &str,
        settings: Settings<'_>,
        archives: &[Archive],
        ops: impl Iterator<Item = Op>,
    ) -> Result<Journal, Box<Unpublished>> {
        let before = |cause: Cause| Box::new(Unpublished { journal: None, cause });
        let files = self.journal(command, settings, archives, ops);
        let journal = self.write_and_read_back(root, &files, settings).map_err(before)?;
        match journal_file::publish(root) {
            Ok(()) => Ok(journal),
            // Once the rename was made it may have reached the disk.
            Err(cause) => match journal_file::head(root) {
                Ok(found) if found.as_ref().is_none_or(|found| *found != journal.head) => Err(before(cause)),
                _ => Err(Box::new(Unpublished { journal: Some(journal), cause })),
            },
        }
    }

    fn journal(
        &self,
        command: &str,
        settings: Settings<'_>,
        archives: &[Archive],
        ops: impl Iterator<Item = Op>,
    ) -> Files {
        let header = Header {
            version: VERSION,
            run: self.run.to_string(),
            command: command.to_owned(),
            root: self.marker.clone(),
            ..Header::default()
        };
        let domains = self.sites.iter().map(|site| Entry::Domain(site.domain.clone()));
        let archives = archives.iter().cloned().map(Entry::Archive);
        let story = Entry::Story(settings.story.clone());
        let ops = ops.map(|op| Entry::Op(Box::new(op)));
        let entries: Vec<Entry> = domains.chain(archives).chain([story]).chain(ops).collect();
        Journal::to_files(header, &entries)
    }

    /// Writes the journal and makes everything durable. While that waits for the disk, the journal is read as recovery
    /// would read it: from here on the run works by what its journal says.
    fn write_and_read_back(
        &self,
        root: &Root,
        files: &Files,
        settings: Settings<'_>,
    ) -> Result<Journal, Cause> {
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| Journal::parse(&files.journal, Some(&files.ops)));
            self.write(root, files, settings)?;
            let read = reading.join().map_err(|_| Cause::Internal("a thread failed".to_owned()))?;
            read.map_err(|reason| Cause::Journal { path: "journal".to_owned(), reason })
        })
    }

    fn write(&self, root: &Root, files: &Files, settings: Settings<'_>) -> Result<(), Cause> {
        let run = self.run.to_string();
        journal_file::write_new(root, files, &run)?;
        for site in self.sites.iter().skip(1) {
            journal_file::write_copy(&site.dir, files, &run)?;
        }
        settings.watch.check()?;
        self.sites.sync()?;
        self.sites.iter().skip(1).try_for_each(|site| journal_file::name_copy(&site.dir, &run))
    }

    /// Gives the run up before anything live has changed.
    pub(super) fn abandon(&self, root: &Root, phase: Phase, cause: Cause) -> TransactionError {
        // A stage that cannot be removed now is removed by the next command: it belongs to no published journal.
        let _ = self.sites.discard();
        let _ = journal_file::remove_new(root);
        TransactionError { phase, cause, left: Left::Unchanged }
    }
}

/// Rolls a published run back after a failure.
pub(super) fn undo_published(root: &Root, journal: &Journal, phase: Phase, cause: Cause) -> TransactionError {
    let left = match roll_back(root, journal, &Outside::planned()) {
        Ok(_) => Left::RolledBack,
        Err(TransactionError { cause, left: Left::Unfinished(mut what), .. }) => {
            what.insert(0, cause.to_string());
            Left::Unfinished(what)
        }
        Err(error) => Left::Unfinished(vec![error.to_string()]),
    };
    TransactionError { phase, cause, left }
}
