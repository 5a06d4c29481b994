//! Clock and host name as values; no planner asks for them.

use chrono::NaiveDateTime;

use patchadm_changeset::format::contents_merge::ContentsTrailer;
use patchadm_rootfs::Timestamp;
use patchadm_svr4::package::PkgInst;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    pub utc: NaiveDateTime,
    /// In the time zone of the machine.
    pub local: NaiveDateTime,
    /// The node name.
    pub host: String,
}

impl Now {
    /// Returns the time for objects that no package gives a time, in whole seconds.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::whole(self.utc.and_utc().timestamp())
    }

    /// Returns the time of the run, to the nanosecond.
    pub fn moment(&self) -> Timestamp {
        let utc = self.utc.and_utc();
        Timestamp { seconds: utc.timestamp(), nanoseconds: utc.timestamp_subsec_nanos().min(999_999_999) }
    }

    /// In the format of date(1), in UTC.
    pub(super) fn patch_date(&self) -> String {
        self.utc.format("%a %b %e %H:%M:%S UTC %Y").to_string()
    }

    pub(in crate::plan) fn instdate(&self) -> String {
        self.local.format("%b %d %Y %H:%M").to_string()
    }

    /// Returns the closing lines of `contents`.
    pub fn trailer(&self, program: &str, package: &PkgInst) -> ContentsTrailer {
        ContentsTrailer { program: program.to_owned(), package: package.clone(), when: self.local }
    }
}
