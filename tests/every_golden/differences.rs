//! Differences from the classic steps, each with its reason. A difference that is missing here fails the test.

use super::compare::Difference;
use crate::differences::is_like;

/// The reason for a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// A decision of the specification, by its number.
    Decision(u32),
    /// Another page of the specification: page and section.
    Page(&'static str),
    /// A defect of the classic tools and scripts that is not reproduced, by its number among those observed.
    Defect(&'static str),
    /// Behavior of the tools that made the goldens on their machine. The tools of Solaris do not have it.
    Artefact(&'static str),
    /// Behavior that cannot be driven or reproduced here, or only on some machines: these need not be found.
    Impossible(&'static str),
    /// Sentences for people, which no program parses, in our own words.
    Words,
}

use Reason::{Artefact, Decision, Defect, Impossible, Page, Words};

/// A line of the table: scenario, step, item, and reason. A `*` stands for any text.
pub(super) type Entry = (&'static str, &'static str, &'static str, Reason);

const UNCHANGED: Reason = Page("design §8: a refusal changes nothing, not even times");
const FROM_DISK: Reason = Page("scripts §5: size and sum of what a class script made are taken from disk");
const OWN_FILES: Reason = Artefact("locks, logs and lists that the tools kept for themselves");
const ADVICE: Reason = Page("patchadm §4: a refusal says what to type next");
const STAMP: Reason = Impossible("stamps with host and moment, and paths of the machine, are in it");
const SPOOLED: Reason = Decision(20);
const STREAM_14: Reason =
    Artefact("of a stream with two packages the tools installed the objects of the first twice");

const RETARGETED: Reason = Defect("2: a link that a patch retargets is saved as a file");
const ONE_COMMIT: Reason =
    Page("transaction §9: what scripts register is part of the run, which pkgadd ends");
const EMPTY_ONLY: Reason = Page(
    "transaction step 12: directories go in the end, if they are empty, and one that stays is no failure",
);
const NO_MERGE: Reason =
    Defect("9: a patch for another version passes, and takes the records of the package along");
const WHOLE_STREAM: Reason =
    Page("commands: 99 before anything is done, and the whole stream is looked at first");
const PARTS: Reason = Artefact("blocks of parts depend on the file system where they were made");

/// Every difference that is intended or unavoidable.
pub(super) const DIFFERENCES: &[Entry] = &[
    // Files that every run leaves.
    ("*", "*", "/var/sadm/install/.pkg.lock", OWN_FILES),
    ("*", "*", "/var/sadm/install/admin", OWN_FILES),
    ("*", "*", "/var/sadm/install/gz-only-packages", OWN_FILES),
    ("*", "*", "/var/sadm/install/logs*", OWN_FILES),
    (
        "*",
        "*",
        "/var/sadm/patch",
        Page("patchadm: the first package makes the directories that a database lacks"),
    ),
    ("*", "*", "/var/sadm/patchadm*", Decision(6)),
    ("*", "*", "/var/sadm/pkg/*/save/pspool/*/reloc*", SPOOLED),
    ("*", "*", "/var/sadm/pkg/*/install/*: time", UNCHANGED),
    // Base directories that no pkgmap has.
    ("*", "*", "contents /opt/SUNWstuf", Decision(47)),
    ("*", "*", "contents /opt/SUNWstux", Decision(47)),
    ("*", "*", "*: *22 installed pathnames", Decision(47)),
    ("*", "*", "*: *23 installed pathnames", Decision(47)),
    ("*", "*", "*: *6 directories", Decision(47)),
    ("*", "*", "*: *7 directories", Decision(47)),
    ("01-base-install", "pkgchk-l", "stdout: Pathname: @ROOT@/opt/SUNWstuf", Decision(47)),
    ("01-base-install", "pkgchk-l", "stdout: Type: directory", Decision(47)),
    ("01-base-install", "pkgchk-l", "stdout: Expected mode: 0755", Decision(47)),
    ("01-base-install", "pkgchk-l", "stdout: Expected *: root", Decision(47)),
    ("01-base-install", "pkgchk-l", "stdout: Referenced by the following packages:", Decision(47)),
    ("01-base-install", "pkgchk-l", "stdout: \tSUNWstuf", Decision(47)),
    ("01-base-install", "pkgchk-l", "stdout: Current status: installed", Decision(47)),
    ("01-base-install", "pkgchk-l", "order of stdout", Decision(47)),
    ("26-messages", "base2", "stderr: The selected base directory", Decision(47)),
    ("26-messages", "base2", "stderr: *<@ROOT@/opt/SUNWstux> *", Decision(47)),
    ("26-messages", "base2", "stderr: installation is attempted.", Decision(47)),
    ("26-messages", "base2", "stderr: @ROOT@/opt/SUNWstux <implied directory>", Decision(47)),
    ("21-shared-files", "conflict-quit", "stderr: pkgadd: ERROR: to allow it, use an admin file*", ADVICE),
    // Editable files whose content class scripts make.
    ("*", "*", "contents /opt/SUNWstuf/etc/build.conf", FROM_DISK),
    ("13-edited-ev", "*", "contents /opt/SUNWstuf/etc/stuf.conf", FROM_DISK),
    ("*", "*pkgchk*", "stderr: *build.conf", FROM_DISK),
    ("*", "*pkgchk*", "stderr:     file size <220> expected <19> actual", FROM_DISK),
    ("*", "*pkgchk*", "stderr:     file cksum <17346> expected <1728> actual", FROM_DISK),
    ("01-base-install", "pkgchk", "exit code", FROM_DISK),
    ("13-edited-ev", "pkgchk-before", "stderr:     file * expected <2*", FROM_DISK),
    ("13-edited-ev", "pkgchk-after", "exit code", FROM_DISK),
    ("13-edited-ev", "pkgchk-after", "stderr:     file * actual", FROM_DISK),
    ("13-edited-ev", "pkgchk-after", "stderr: *stuf.conf", FROM_DISK),
    ("13-edited-ev", "pkgchk-backout", "stderr:     file * actual", FROM_DISK),
    ("13-edited-ev", "pkgchk-backout", "stderr: *stuf.conf", FROM_DISK),
    ("16-script-fails", "*/pkgchk", "exit code", FROM_DISK),
    ("21-shared-files", "pkgchk-stuf", "exit code", FROM_DISK),
    // The other name of a replaced file.
    ("*", "*", "/opt/SUNWstuf/bin/stuf: links", Decision(10)),
    ("*", "*", "/opt/SUNWstuf/bin/stuf-hard: *", Decision(10)),
    ("17-awk-compat", "sum/*", "text: -rwxr-xr-x 6?0 opt/SUNWstuf/bin/stuf-hard", Decision(10)),
    ("*", "*pkgchk*", "stderr: *stuf-hard", Decision(10)),
    ("*", "*pkgchk*", "stderr:     pathname not properly linked to <./stuf>", Decision(10)),
    ("26-messages", "backout", "stderr: *stuf-hard <linked pathname>", Decision(10)),
    // Variables that are useless after the run.
    ("*", "*", "pkginfo SUNWstu? SCRIPTS_DIR", Decision(4)),
    ("*", "*", "pkginfo SUNWstuf OLDLIST", Decision(4)),
    ("*", "*", "pkginfo SUNWstu? PATCH_NO_UNDO", Decision(4)),
    ("*", "*", "pkginfo SUNWstu? INTERRUPTION", Decision(4)),
    ("*", "*", "pkginfo SUNWstu? PATCH_BUILD_DIR", Decision(38)),
    ("*", "*", "pkginfo SUNWstu? PATCH_PROGRESSIVE", Decision(38)),
    ("*", "*", "pkginfo SUNWstu? PATCH_UNCONDITIONAL", Decision(38)),
    ("*", "*", "pkginfo SUNWstu? PATCH_UNDO_ARCHIVE", Decision(38)),
    ("*", "*", "undo * pkginfo INTERRUPTION", Decision(4)),
    ("*", "*", "undo * pkginfo OLDLIST", Decision(4)),
    ("*", "*", "undo * pkginfo PATCH_BUILD_DIR", Decision(38)),
    ("*", "*", "undo * pkginfo PATCH_PROGRESSIVE", Decision(38)),
    ("*", "*", "undo * pkginfo PATCH_UNCONDITIONAL", Decision(38)),
    ("*", "*", "undo * pkginfo PATCH_UNDO_ARCHIVE", Decision(38)),
    // Undo packages deliver the records of patches in their old state, which is not used.
    ("*", "backout*", "order of pkginfo SUNWstuf", Decision(32)),
    // Spooled parts of undo packages, which have just been made.
    ("*", "*", "/var/sadm/pkg/*/save/pspool/*/pkginfo: mode", Artefact("pkgmk made it with mode 0600")),
    ("*", "*", "/var/sadm/pkg/*/save/pspool/*/pkginfo: *", STAMP),
    ("*", "*", "/var/sadm/pkg/*/save/pspool/*/pkgmap: *", STAMP),
    // Notices.
    ("*", "*", "*: This appears to be an attempt to install *", Words),
    ("*", "*", "*: version of a package which is already *", Words),
    ("*", "*", "*: will attempt to overwrite this package.", Words),
    ("*", "*", "*: Package <SUNWstu*> is installed already in the", Words),
    ("*", "*", "*: same architecture and version, and is overwritten.", Words),
    ("16-script-fails", "*0/apply", "stderr: \tReboot this machine now. *", Words),
    ("16-script-fails", "*0/apply", "stderr: \tare not fully in effect.", Words),
    ("16-script-fails", "*0/apply", "stderr:         *", Words),
    // The environment of scripts.
    ("*", "envdump", "env * PWD", Impossible("the shell of this machine sets it")),
    ("*", "envdump", "env * PATCHADM_RUN", Page("transaction §9: commands of a run know it by this")),
    (
        "*",
        "envdump",
        "env * PATCHADM_TRUST",
        Page("trust T.7: what a run's script calls has the answer of the run"),
    ),
    (
        "*",
        "envdump",
        "env * PATCHADM_SCRIPTS",
        Page("issue 11, point 9: processes of scripts before a run are known by it"),
    ),
    ("*", "envdump", "env checkinstall.* cwd", Decision(41)),
    ("*", "envdump", "env request.* cwd", Decision(41)),
    ("*", "envdump", "env preinstall.* cwd", Page("scripts §4: where they start is not promised")),
    // Programs of the machine that scripts call.
    ("07-restricted", "*", "stdout: R103300*", Defect("12: egrep -s")),
    (
        "10-no-undo",
        "apply-103201-01",
        "std*: *SUNWstuf/save/103201*",
        Impossible("ls of this machine complains as it does"),
    ),
    ("*", "*", "*: nawk: *", Impossible("what the awk of a machine says of defect 11")),
    (
        "06-obsoletes",
        "*",
        "pkginfo SUNWstuf PATCH_OBSOLETES",
        Impossible("the order in which the awk of a machine goes through an array"),
    ),
    ("01-base-install", "pkgparam", "stdout: PATH=*", Artefact("the search path of the port")),
    // Single scenarios.
    ("01-base-install", "pkgchk-m", "stderr: ## Software contents file initialized", Decision(28)),
    ("26-messages", "base", "stderr: ## Software contents file initialized", Decision(28)),
    ("12-version-not-installed", "nothing-installed", "/var/sadm/install/contents", Decision(28)),
    ("12-version-not-installed", "other-version-overwrite", "/var/sadm/pkg/SUNWstuf/*", NO_MERGE),
    ("12-version-not-installed", "other-version-overwrite", "*pkginfo SUNWstuf*", NO_MERGE),
    ("08-deletes-newfiles", "*", "contents trailer", ONE_COMMIT),
    ("13-edited-ev", "backout-103500-01", "exit code", RETARGETED),
    ("13-edited-ev", "backout-103500-01", "stderr: *ERROR: *libstuf.so> failed", RETARGETED),
    ("13-edited-ev", "backout-103500-01", "stderr:     *", RETARGETED),
    ("13-edited-ev", "backout-103500-01", "stderr: WARNING: *", RETARGETED),
    ("13-edited-ev", "backout-103500-01", "stderr: Installation of *", RETARGETED),
    ("13-edited-ev", "backout-103500-01", "*/opt/SUNWstuf/lib/libstuf.so*", RETARGETED),
    ("13-edited-ev", "backout-103500-01", "/var/sadm/pkg/SUNWstuf/!I-Lock!", RETARGETED),
    ("13-edited-ev", "pkgchk-backout", "exit code", RETARGETED),
    ("13-edited-ev", "pkgchk-backout", "stderr: *libstuf.so", RETARGETED),
    ("13-edited-ev", "pkgchk-backout", "stderr:     pathname does not exist", RETARGETED),
    ("14-datastream", "pkgadd-ds*", "*SUNWstux*", STREAM_14),
    ("14-datastream", "pkgadd-ds*", "contents /etc*", STREAM_14),
    ("14-datastream", "pkgadd-ds", "stdout: *", STREAM_14),
    ("14-datastream", "pkgadd-ds", "order of stdout", STREAM_14),
    ("14-datastream", "pkgadd-ds*", "/spool/*: mode", Impossible("modes of package directories are lost")),
    ("14-datastream", "pkgadd-ds*", "/spool/*: owner", Impossible("owners of package directories are lost")),
    ("15-real-root", "pkgchk", "exit code", FROM_DISK),
    ("15-real-root", "pkgchk", "text: ERROR: /opt/SUNWstuf/etc/*.conf", FROM_DISK),
    ("15-real-root", "pkgchk", "text:     file * actual", FROM_DISK),
    ("15-real-root", "*", "contents /opt/SUNWstuf/etc/stuf.conf", FROM_DISK),
    ("15-real-root", "*", "contents /opt/SUNWstuf/bin/stuf-hard", Decision(10)),
    ("15-real-root", "*", "contents /opt/SUNWstuf/lib/libstuf.so", RETARGETED),
    ("15-real-root", "in the end", "/opt/SUNWstuf/lib/libstuf.so*", RETARGETED),
    ("15-real-root", "backout 103500-01", "exit code", RETARGETED),
    ("15-real-root", "backout 103500-01", "text: *ERROR: *libstuf.so> failed", RETARGETED),
    ("15-real-root", "backout 103500-01", "text:     *", RETARGETED),
    ("15-real-root", "backout 103500-01", "text: WARNING: *", RETARGETED),
    ("15-real-root", "backout 103500-01", "text: Installation of *", RETARGETED),
    ("16-script-fails", "*", "state", Decision(36)),
    ("16-script-fails", "*", "stderr: No changes were made to the system.", Decision(36)),
    ("16-script-fails", "*-2/*", "/var/sadm/pkg/SUNWstuf/!I-Lock!", Decision(36)),
    ("16-script-fails", "*-2/pkginfo", "stdout:     STATUS: *", Decision(36)),
    ("16-script-fails", "fail-i.none-2/*", "contents /opt/SUNWstuf/bin/stuf", FROM_DISK),
    ("16-script-fails", "fail-i.none-2/pkgchk", "stderr: *", FROM_DISK),
    (
        "16-script-fails",
        "*",
        "/var/tmp/103201-01.SUNWstuf*",
        Page("design §4: what a script did elsewhere stays"),
    ),
    ("19-pkgrm-installf", "pkgrm", "exit code", EMPTY_ONLY),
    (
        "19-pkgrm-installf",
        "pkgrm",
        "stderr: pkgrm: ERROR: unable to remove existing directory at *",
        EMPTY_ONLY,
    ),
    ("19-pkgrm-installf", "pkgrm", "stderr: NOTE: *", EMPTY_ONLY),
    ("19-pkgrm-installf", "pkgrm", "stderr: Removal of <SUNWstuf> *", EMPTY_ONLY),
    ("19-pkgrm-installf", "pkgrm*", "/opt/SUNWstuf/mdir", EMPTY_ONLY),
    ("19-pkgrm-installf", "pkgrm*", "/var/sadm/pkg/SUNWstuf*", EMPTY_ONLY),
    ("19-pkgrm-installf", "pkgrm*", "pkginfo SUNWstuf *", EMPTY_ONLY),
    ("19-pkgrm-installf", "pkginfo", "stdout: application SUNWstuf *", EMPTY_ONLY),
    ("19-pkgrm-installf", "pkgrm2", "/opt/SUNWstux", Decision(47)),
    ("26-messages", "pkgadd-nodir", "stderr: pkgadd: ERROR: attempt to process datastream failed", Words),
    ("26-messages", "patch-v", "stderr: *stuf-hard <linked pathname>", Decision(10)),
    ("26-messages", "pkgchk-v", "exit code", FROM_DISK),
    ("26-messages", "pkgmk", "stderr: part  1 -- *", PARTS),
    ("26-messages", "pkgrm", "*", Page("patchadm: no prompt where there is no terminal")),
    ("27-order-names", "proto.out", "order of text", Artefact("the order of directories on that machine")),
    ("27-order-names", "proto.out", "text: f none sp*", Decision(44)),
    ("27-order-names", "proto.out", "text: f none x*", Decision(44)),
    ("27-order-names", "pkgmk*", "stderr: part  1 -- *", PARTS),
    ("27-order-names", "pkgmap*", "text: : 1 *", PARTS),
    ("27-order-names", "pkgmap*", "text: 1 i pkginfo *", STAMP),
    ("27-order-names", "pkgadd", "/opt/o/zz3: mode", Artefact("chown after chmod takes setuid away")),
    ("27-order-names", "pkgadd", "contents /opt/o", Decision(47)),
    ("27-order-names", "pkgadd", "contents /opt/o/usr*", Decision(47)),
    ("28-stream-variants", "*", "stderr: cpio: *", Artefact("a message of the cpio that the tools ran")),
    ("28-stream-variants", "*", "stderr: 1 errors", Artefact("a message of the cpio that the tools ran")),
    ("28-stream-variants", "*", "stderr: pkgadd: ERROR: attempt to process datastream failed", Words),
    ("28-stream-variants", "nopad*", "exit code", WHOLE_STREAM),
    ("28-stream-variants", "pad5120", "exit code", WHOLE_STREAM),
    ("28-stream-variants", "truncated", "exit code", WHOLE_STREAM),
    ("28-stream-variants", "fmt-ustar", "exit code", WHOLE_STREAM),
    ("28-stream-variants", "*", "stderr: Installation of <SUNWstux> failed (internal error).", WHOLE_STREAM),
    ("28-stream-variants", "*", "stderr: No changes were made to the system.", WHOLE_STREAM),
    ("28-stream-variants", "*", "stderr: pkgadd: ERROR: could not process datastream from *", WHOLE_STREAM),
    ("28-stream-variants", "*", "stderr: pkgadd: ERROR: unable to unpack datastream", WHOLE_STREAM),
    ("28-stream-variants", "fmt-bin", "*", Page("formats: newc, crc and odc are read")),
    ("28-stream-variants", "gz", "*", Page("design §3: what is compressed is read like all else")),
    ("28-stream-variants", "missingfile", "*", Page("design §8: an error leaves nothing changed")),
    ("28-stream-variants", "extra-dotdot", "*", Defect("10c: members that lead out")),
    ("28-stream-variants", "extra-absolute", "not driven", Impossible("the stream is not among the results")),
];

/// Steps that must have the same result as another step, because a script failed. The table has the decision that
/// says so. Exit code and output of an installation are still compared with its own record.
pub(super) const UNDONE: &[(&str, &str, &str)] = &[
    ("16-script-fails", "fail-i.none-1/", "fail-checkinstall-1/"),
    ("16-script-fails", "fail-i.none-3/", "fail-checkinstall-1/"),
    ("16-script-fails", "fail-preinstall-1/", "fail-checkinstall-1/"),
    ("16-script-fails", "fail-preinstall-3/", "fail-checkinstall-1/"),
    ("16-script-fails", "fail-preinstall-4/", "fail-checkinstall-1/"),
    ("16-script-fails", "fail-postinstall-1/", "fail-checkinstall-1/"),
    ("16-script-fails", "fail-postinstall-3/", "fail-checkinstall-1/"),
    ("16-script-fails", "fail-postinstall-4/", "fail-checkinstall-1/"),
];

/// True if a line of the table explains a difference.
pub(super) fn explains(entry: &Entry, difference: &Difference) -> bool {
    is_like(entry.0, difference.scenario)
        && is_like(entry.1, &difference.step)
        && is_like(entry.2, &difference.what)
}
