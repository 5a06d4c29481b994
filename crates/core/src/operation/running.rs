//! The files that the processes of this machine run from or have mapped.
//!
//! A process is asked for open files, not for paths: `/proc/PID/exe` and `/proc/PID/map_files` lead to the file itself,
//! whatever its path is, in whichever root, and also when it has none any more. `/proc/PID/maps` is not enough: on btrfs
//! and overlayfs its devices are not those of stat(2). It is the fallback where `map_files` may not be followed, which
//! takes `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`.
//!
//! ```text
//! files        what one process uses
//! replaced     files that earlier runs replaced, of which processes may still be
//! wanted       the files that are looked for, at their paths now and before
//! ```

mod files;
mod replaced;
mod wanted;

pub(in crate::operation) use files::{ProcessFiles, UsedFile, processes};
pub(in crate::operation) use replaced::ReplacedFiles;
pub(in crate::operation) use wanted::{WantedFiles, by_place};

pub(in crate::operation) const NOT_ALL_SEEN: &str = "not every process may be looked into here, so programs that run what changes may not \
     be named (it takes CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN)";
