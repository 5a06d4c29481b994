//! Tags of an rpm header, by their names in rpm.

pub(super) const SIGNATURE_SHA256: u32 = 273;
pub(super) const NAME: u32 = 1000;
pub(super) const VERSION: u32 = 1001;
pub(super) const RELEASE: u32 = 1002;
pub(super) const EPOCH: u32 = 1003;
pub(super) const SUMMARY: u32 = 1004;
pub(super) const ARCH: u32 = 1022;
pub(super) const FILE_MODES: u32 = 1030;
pub(super) const FILE_RDEVS: u32 = 1033;
pub(super) const FILE_MTIMES: u32 = 1034;
pub(super) const FILE_LINKTOS: u32 = 1036;
pub(super) const FILE_FLAGS: u32 = 1037;
pub(super) const FILE_USERS: u32 = 1039;
pub(super) const FILE_GROUPS: u32 = 1040;
pub(super) const SOURCE_RPM: u32 = 1044;
pub(super) const SOURCE_PACKAGE: u32 = 1106;
pub(super) const FILE_DEVICES: u32 = 1095;
pub(super) const FILE_INODES: u32 = 1096;
pub(super) const DIR_INDEXES: u32 = 1116;
pub(super) const BASE_NAMES: u32 = 1117;
pub(super) const DIR_NAMES: u32 = 1118;
pub(super) const PAYLOAD_FORMAT: u32 = 1124;
pub(super) const PAYLOAD_COMPRESSOR: u32 = 1125;
pub(super) const LONG_FILE_SIZES: u32 = 5008;
pub(super) const FILE_CAPS: u32 = 5010;
pub(super) const PAYLOAD_DIGEST: u32 = 5092;
pub(super) const PAYLOAD_DIGEST_ALGORITHM: u32 = 5093;

pub(super) const SCRIPTS: [(&str, &[u32]); 12] = [
    ("filetriggers", &[5066]),
    ("post", &[1024, 1086]),
    ("posttrans", &[1152, 1154]),
    ("postun", &[1026, 1088]),
    ("postuntrans", &[5105, 5107]),
    ("pre", &[1023, 1085]),
    ("pretrans", &[1151, 1153]),
    ("preun", &[1025, 1087]),
    ("preuntrans", &[5104, 5106]),
    ("transfiletriggers", &[5076]),
    ("triggers", &[1065]),
    ("verifyscript", &[1079, 1091]),
];
