//! Roots that are scanned, sources whose files are read while they are streamed, undo archives with kept libraries.

mod archives;
mod new_files;
mod scans;
