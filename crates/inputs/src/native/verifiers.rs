//! Expected reports of dpkg --verify, debsums(1) and rpm -V about patched objects: they compare with the delivery and
//! know nothing of patches. dpkg records only sums; rpm records attributes, too.

use serde::Serialize;

use super::{NativeManager, NativeOrigin, NativePath};
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_rootfs::{CAPABILITY, FileType};
use patchadm_svr4::package::{Ftype, ObjectPath};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifierReport {
    pub command: String,
    pub says: String,
}

/// As delivered and as it is now.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedPath<'a> {
    pub origin: &'a NativeOrigin,
    /// As verifiers name it.
    pub path: &'a ObjectPath,
    pub recorded: NativePath,
    pub is_diverted: bool,
    pub delivered: &'a RecordedState,
    /// `None` if there is none.
    pub now: Option<&'a RecordedState>,
}

impl VerifiedPath<'_> {
    /// Returns the reports of the package manager's verifiers about differences.
    pub fn reports(&self) -> Vec<VerifierReport> {
        match self.origin.manager {
            NativeManager::Dpkg => self.of_dpkg(),
            NativeManager::Rpm => self.of_rpm().into_iter().collect(),
        }
    }

    fn of_dpkg(&self) -> Vec<VerifierReport> {
        let Self { path, .. } = self;
        let (dpkg, debsums) = match self.now {
            None => (format!("missing   {} {path}", self.mark()), Some(format!("missing file {path}"))),
            Some(_) if self.recorded.sum.is_none() || self.is_diverted => return Vec::new(),
            Some(now) if now.kind != FileType::Regular => (format!("?M??????? {} {path}", self.mark()), None),
            Some(now) if self.has_other_bytes(now) => {
                (format!("??5?????? {} {path}", self.mark()), Some(format!("{path} FAILED")))
            }
            Some(_) => return Vec::new(),
        };
        let package = self.origin.queried();
        let mut reports = vec![VerifierReport { command: format!("dpkg --verify {package}"), says: dpkg }];
        let debsums = debsums.filter(|_| self.recorded.sum.is_some());
        // Configuration files are only checked on request.
        let option = if self.is_config() { "-a " } else { "" };
        let command = format!("debsums {option}{package}");
        reports.extend(debsums.map(|says| VerifierReport { command, says }));
        reports
    }

    fn of_rpm(&self) -> Option<VerifierReport> {
        let Self { path, .. } = self;
        let command = format!("rpm -V {}", self.origin.name);
        let Some(now) = self.now else {
            return Some(VerifierReport { command, says: format!("missing   {} {path}", self.mark()) });
        };
        let was = self.delivered;
        let is_link = was.kind == FileType::Symlink;
        let differs = [
            ('S', !is_link && now.size != was.size),
            ('M', now.kind != was.kind || !is_link && now.mode != was.mode),
            ('5', !is_link && self.has_other_bytes(now)),
            ('D', now.device != was.device),
            ('L', now.target != was.target),
            ('U', now.uid != was.uid),
            ('G', now.gid != was.gid),
            ('T', was.kind == FileType::Regular && now.mtime.seconds != was.mtime.seconds),
            ('P', capability(now) != capability(was)),
        ];
        let letters: String =
            differs.iter().map(|(letter, is_other)| if *is_other { *letter } else { '.' }).collect();
        let is_any = differs.iter().any(|(_, is_other)| *is_other);
        is_any.then(|| VerifierReport { command, says: format!("{letters}  {} {path}", self.mark()) })
    }

    fn has_other_bytes(&self, now: &RecordedState) -> bool {
        now.digest() != self.delivered.digest()
    }

    fn is_config(&self) -> bool {
        self.recorded.ftype == Ftype::Editable
    }

    fn mark(&self) -> char {
        if self.is_config() { 'c' } else { ' ' }
    }
}

fn capability(state: &RecordedState) -> Option<Vec<u8>> {
    state.xattrs().get(CAPABILITY).cloned()
}
