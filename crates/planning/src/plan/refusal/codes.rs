//! The exit code of a refusal, by its command, and the verdict on a patch that is left out.

use super::{Command, ObjectProblem, Reason, Refusal, SetReason};

impl Reason {
    /// Returns the verdict on a patch that `command` leaves out for this reason.
    pub fn verdict(&self, command: Command) -> &'static str {
        match self {
            Self::AlreadyApplied(_) => "already-applied",
            Self::LaterRevision(_) | Self::InSet(SetReason::LaterInSet(_)) => "superseded",
            Self::InSet(SetReason::ContainedInSet(_)) => "obsoleted",
            Self::Obsoleted { .. } if command == Command::Patchadd => "obsoleted",
            Self::NotInstalled(_) | Self::Unregistered { .. } => "not-applicable",
            _ => "refused",
        }
    }
}

impl Refusal {
    /// Returns the exit code of the command.
    pub fn code(&self) -> u8 {
        match self.command {
            Command::Patchadd
            | Command::Adopt
            | Command::AdoptRefresh
            | Command::Forget
            | Command::Promote
            | Command::Refresh => self.reason.patchadd_code(),
            Command::Undo if matches!(*self.reason, Reason::NativeChanged { .. }) => 10,
            Command::Patchrm
            | Command::Commit
            | Command::Repack
            | Command::UndoExport
            | Command::UndoImport
            | Command::Undo
            | Command::Confirm => self.reason.patchrm_code(),
            Command::Pkgadd | Command::Pkgrm => match *self.reason {
                Reason::Administration { .. }
                | Reason::PatchesApplied { .. }
                | Reason::InUse { is_question: false, .. }
                | Reason::LibrariesLost(_)
                | Reason::KeptPackage(_)
                | Reason::Object { problem: ObjectProblem::Settings, .. } => 4,
                Reason::Interaction { .. } | Reason::InUse { is_question: true, .. } => 5,
                Reason::BasedirAnswered { .. } => 99,
                _ => 1,
            },
            Command::Installf | Command::Removef => 1,
        }
    }
}

impl Reason {
    fn patchadd_code(&self) -> u8 {
        match self {
            Self::AlreadyApplied(_) => 2,
            Self::StaleSave(_) | Self::NoUndoData(_) | Self::BadUndoData { .. } => 4,
            Self::Obsoleted { .. }
            | Self::Superseded(_)
            | Self::ChangedLater { .. }
            | Self::NotHandedOn { .. }
            | Self::UsedLater { .. } => 6,
            Self::NotInstalled(_)
            | Self::Unregistered { .. }
            | Self::NoSuchPackage
            | Self::OtherBaseDirectory { .. } => 8,
            Self::ReadOnly(_) => 7,
            Self::UndoMismatch { .. } => 17,
            Self::NoSpace { .. } => 18,
            Self::Restricted { .. } => 23,
            Self::Incompatible { .. } => 24,
            Self::Required(_) => 25,
            Self::BadPkginfo { .. } | Self::BadInformation { .. } | Self::KeptPackage(_) => 28,
            Self::BadId(_) => 29,
            Self::BadPatch(_) => 33,
            Self::LaterRevision(_) => 35,
            Self::BackoutDirectory(_) => 37,
            Self::InSet(reason) => reason.patchadd_code(),
            Self::Promotion(reason) => reason.code(),
            _ => 10,
        }
    }

    fn patchrm_code(&self) -> u8 {
        match self {
            Self::NotUndone(reason) => reason.code(),
            Self::InSet(reason) => reason.patchadd_code(),
            Self::NotApplied => 2,
            Self::ReadOnly(_) => 7,
            Self::NoUndoData(_) | Self::BadUndoData { .. } => 4,
            Self::Superseded(_)
            | Self::Obsoleted { .. }
            | Self::ChangedLater { .. }
            | Self::NotHandedOn { .. }
            | Self::UsedLater { .. }
            | Self::SharedLater { .. } => 6,
            Self::BadId(_) => 8,
            Self::Hook(_) => 10,
            Self::LibrariesLost(_) | Self::NativeChanged { .. } => 11,
            Self::Interrupted { .. } | Self::OtherInterrupted { .. } => 14,
            Self::Needed { .. } => 15,
            Self::NoSpace { .. } => 20,
            _ => 5,
        }
    }
}
