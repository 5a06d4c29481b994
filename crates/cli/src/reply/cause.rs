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
    Ok "ok" "Done, or there was nothing to do."
    Usage "usage" "The command line is invalid."
    Settings "settings" "The policy, another configuration file, or the environment is invalid."
    AlreadyApplied "already-applied" "The patch or package is already applied or installed."
    Superseded "superseded" "A later revision of the patch, or a patch that obsoletes it, is applied."
    NoRights "no-rights" "The caller does not have permission."
    UntrustedRoot "untrusted-root" "Users other than root can change the records of the root, or can replace a link in the path of an object."
    UndoData "undo-data" "Undo data is missing, damaged, at another path, or from another root, or cannot reverse the patch."
    NoDatabase "no-database" "There is no package database below the root."
    ReadOnly "read-only" "The file system is mounted read-only."
    NotFound "not-found" "A file, directory or depot does not exist, or has no entry with that name."
    Unknown "unknown" "The named patch, run or path is neither in the root nor in its history."
    Exists "exists" "A file already exists and would not be replaced."
    NotApplicable "not-applicable" "The patch or package is not for this root, file system or path."
    Restricted "restricted" "A policy, an admin file, a restricted patch or a rule forbids the change."
    Conflict "conflict" "The stage and the live tree both changed; the user must decide."
    Edited "edited" "Objects differ from their records, or were replaced by others."
    NativeChanged "native-changed" "dpkg or rpm changed an adopted package, or overwrote a fix."
    Dependency "dependency" "Other patches or packages require this one, are required by it, or are incompatible with it."
    Space "space" "A file system has too little space."
    OnTrial "on-trial" "A run is on trial, and no other command can change the root until it ends."
    TrialOver "trial-over" "The trial was over before it was confirmed: the changes on trial were reverted."
    Check "check" "The probe of a trial failed, and the changes were reverted."
    Locked "locked" "Another command is changing the root."
    DamagedRecord "damaged-record" "A record of the root is damaged or missing, or records are inconsistent."
    DamagedInput "damaged-input" "A named patch, package or other file is damaged or unusable."
    Signature "signature" "A signature is missing, bad or not trusted."
    Download "download" "A download failed."
    Missing "missing" "A patch is missing; only `--check` sets the exit code."
    Reboot "reboot" "An applied patch requires a reboot; only `--reboot-code` sets the exit code."
    Attention "attention" "A check found something that needs attention."
    Unfinished "unfinished" "A run is in progress, or was interrupted and has not been recovered."
    InDoubt "in-doubt" "It is unknown whether a run took place: its journal or its last step cannot be trusted."
    Internal "internal" "An internal error, or another system error."
    Signal "signal" "A signal ended the command."
    Declined "declined" "The user answered no."
    Partly "partly" "Some patches, packages or roots succeeded, and others did not."
    Command "command" "A command run by patchadm, such as the command of `stage enter`, exited with this code."
    Script "script" "A procedure script failed, warned, or could not be run."
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
