//! The time and place of planning. Clock and host name come in here as values; no planner asks for them.

use chrono::NaiveDateTime;

use patchadm_changeset::format::contents_merge::ContentsTrailer;
use patchadm_rootfs::Timestamp;
use patchadm_svr4::package::PkgInst;

/// The moment of a run and the machine that it happens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time in UTC.
    pub utc: NaiveDateTime,
    /// The same time where the machine is.
    pub local: NaiveDateTime,
    /// The node name of the machine.
    pub host: String,
}

impl Now {
    /// Returns the time of what a run makes and no package gives a time, in whole seconds.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::whole(self.utc.and_utc().timestamp())
    }

    /// Returns the moment itself, to the nanosecond.
    pub fn moment(&self) -> Timestamp {
        let utc = self.utc.and_utc();
        Timestamp { seconds: utc.timestamp(), nanoseconds: utc.timestamp_subsec_nanos().min(999_999_999) }
    }

    /// Returns the time of a `PATCH_INFO` line: as date(1) prints it, in UTC.
    pub(super) fn patch_date(&self) -> String {
        self.utc.format("%a %b %e %H:%M:%S UTC %Y").to_string()
    }

    /// INSTDATE, as pkgadd(1M) writes it.
    pub(in crate::plan) fn instdate(&self) -> String {
        self.local.format("%b %d %Y %H:%M").to_string()
    }

    /// Returns the closing lines of `contents`.
    pub fn trailer(&self, program: &str, package: &PkgInst) -> ContentsTrailer {
        ContentsTrailer { program: program.to_owned(), package: package.clone(), when: self.local }
    }
}
