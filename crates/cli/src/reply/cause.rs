//! Causes of exit codes: one name for each, independent of the command and its code.

use serde::{Serialize, Serializer};

/// Makes the enum, its names and meanings from one table.
macro_rules! causes {
    ($($cause:ident $name:literal $means:literal)*) => {
        /// Has the same name and meaning in every command, for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ExitCause {
            $(#[doc = $means] $cause,)*
        }

        impl ExitCause {
            /// In the order of the manual.
            pub const ALL: &[Self] = &[$(Self::$cause,)*];

            /// Returns the name, which is `cause` of JSON documents.
            pub fn name(self) -> &'static str {
                match self { $(Self::$cause => $name,)* }
            }

            pub fn meaning(self) -> &'static str {
                match self { $(Self::$cause => $means,)* }
            }
        }
    };
}

causes! {
    Ok "ok" "It is done, or there was nothing to do."
    Usage "usage" "The command line makes no sense."
    Settings "settings" "A policy, another file of settings or the environment makes no sense."
    AlreadyApplied "already-applied" "It is there already."
    Superseded "superseded" "A later revision, or a patch that obsoletes it, is applied."
    NoRights "no-rights" "The caller may not do it."
    UntrustedRoot "untrusted-root" "Somebody else than the superuser may change the records of the root."
    UndoData "undo-data" "Undo data is missing, damaged, somewhere else, or another root's, or could not reverse a patch."
    NoDatabase "no-database" "There is no package database below the root."
    ReadOnly "read-only" "The file system is mounted for reading only."
    NotFound "not-found" "A file, directory or depot does not exist, or has nothing of that name."
    Unknown "unknown" "Neither the root nor its history has what was named."
    Exists "exists" "Something is there already, and is not replaced."
    NotApplicable "not-applicable" "It is not for this root, this file system or this path."
    Restricted "restricted" "A policy, an admin file, a restricted patch or a rule forbids it."
    Conflict "conflict" "The stage and the live tree differ in a way that the operator has to decide about."
    Edited "edited" "Objects are not as they are recorded, or others are in their place."
    NativeChanged "native-changed" "dpkg or rpm changed an adopted package since, or a fix was lost to such a change."
    Dependency "dependency" "Other patches or packages need it, exclude it, or are needed."
    Space "space" "A file system has too little space."
    OnTrial "on-trial" "A run is on trial, and no other command can change the root until then."
    TrialOver "trial-over" "The trial was over before it was confirmed: the changes on trial were reverted."
    Check "check" "The probe of a trial failed, and everything was reverted."
    Locked "locked" "Another command is changing the root."
    DamagedRecord "damaged-record" "A record of the root is damaged or missing, or records disagree."
    DamagedInput "damaged-input" "A patch, a package or another file that was named is damaged or unusable."
    Signature "signature" "A signature is missing, wrong or not trusted."
    Download "download" "Something could not be fetched."
    Missing "missing" "A patch is missing, which only --check says by a code."
    Reboot "reboot" "A patch that was applied asks for a reboot, which only --reboot-code says by a code."
    Attention "attention" "Something has to be done, which only doctor says by a code."
    Unfinished "unfinished" "A run was interrupted, or is under way, and is not recovered."
    InDoubt "in-doubt" "It is not known whether a run took place: its journal or its last step cannot be trusted."
    Internal "internal" "A defect of the program, or the system refused a call for another reason than these."
    Signal "signal" "A signal ended the command."
    Declined "declined" "The user was asked, and did not agree."
    Partly "partly" "Some patches, packages or roots succeeded, and others did not."
    Command "command" "The command that was run ended with this code."
    Script "script" "A procedure script failed, warned, or cannot be run."
}

impl ExitCause {
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|cause| cause.name() == name)
    }
}

impl Serialize for ExitCause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = ExitCause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), ExitCause::ALL.len());
        assert!(ExitCause::ALL.iter().all(|cause| ExitCause::named(cause.name()) == Some(*cause)));
        assert_eq!(ExitCause::named("failed"), None);
    }
}
