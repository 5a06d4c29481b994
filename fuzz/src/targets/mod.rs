//! One body per parser: more than that it does not panic is asked of each.
//!
//! What was read and has a writer is written and read again, and must be the same value. What comes out of a decoder
//! or a field is bounded by what went in, or by a limit. An error is an answer like any other; only a broken promise
//! is a panic.
//!
//! ```text
//! text      parameters and what is written in their syntax, patch ids and lists
//! tables    files of lines: pkgmap, contents, prototype, depend, space …
//! records   what the program writes for itself: journal, manifest, queue, history …
//! archives  cpio, datastream, compress, and what a source makes of whole files
//! libraries programs and libraries: files, roots of them, what is known of them
//! making    releases of other formats, manifests, signatures, keys
//! ```

mod archives;
mod libraries;
mod making;
mod records;
mod tables;
mod text;

/// A parser with what fuzzers need to know of it.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: that of the binary, of the directory of its corpus, of that of its regressions.
    pub name: &'static str,
    /// Plays one input; panics where a promise is broken.
    pub play: fn(&[u8]),
    /// Words of the format, for mutations.
    pub tokens: &'static [&'static str],
}

const fn target(name: &'static str, play: fn(&[u8]), tokens: &'static [&'static str]) -> Target {
    Target { name, play, tokens }
}

/// Words that stand in many formats.
const PARAMETERS: &[&str] =
    &["PKG=", "=", ":", "\\\n", "\n", "\"", "'", "#", " ", "\t", "\r\n", "PATCHLIST="];
const OBJECTS: &[&str] = &[
    "\\040",
    "\\012",
    "\\",
    "=",
    "?",
    " f none ",
    " d none ",
    " s none ",
    " l none ",
    " b none 3 4 ",
    " e ",
    " x ",
    "0755",
    "root",
    "bin",
    "18446744073709551615",
    "-1",
    "\n",
    ": 1 100\n",
    "i pkginfo ",
    "$",
    "../",
    "//",
    ":",
];
const IDS: &[&str] =
    &["105181-05", "-", "@", "@1", " ", ",", "( ", " | ", " )", "0", "99999999999999999999", "\n"];
const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\\u0000",
    "%2F",
    "%",
    "\n",
    "\"path\":",
    "\"was\":",
    "\"kind\":",
    "\"file\"",
];
const CPIO: &[&str] = &[
    "070701",
    "070702",
    "070707",
    "TRAILER!!!",
    "ffffffff",
    "00000000",
    "77777777777",
    "reloc/a",
    "root/etc/a",
    "../",
    "\0",
    "# PaCkAgE DaTaStReAm",
    "# end of header",
    "pkginfo",
    "pkgmap",
    "install/",
];

/// Every target.
pub const TARGETS: &[Target] = &[
    target("pkginfo", text::pkginfo, PARAMETERS),
    target("params", text::params, PARAMETERS),
    target(
        "admin",
        text::admin,
        &["mail=", "conflict=", "nocheck", "quit", "ask", "basedir=", "networktimeout=", "\n", "$"],
    ),
    target("response", text::response, PARAMETERS),
    target(
        "patchinfo",
        text::patchinfo,
        &["PATCHID=", "PATCH_REQUIRES=", "PATCH_PROPERTIES=", "\"", "'", ",", " ", "\n", "\\"],
    ),
    target(
        "policy",
        text::policy,
        &["restricted=", "separator=", "edited=", "wait=", "exclude=", "^(", ")*", "{1000}", "\n"],
    ),
    target(
        "readme",
        text::readme,
        &["Patch-ID#", "Synopsis:", "Date:", "Obsoleted by:", "Reboot", "after", "immediately", "\n"],
    ),
    target("patch_id", text::patch_id, IDS),
    target("patch_list", text::patch_list, IDS),
    target("fix_list", text::fix_list, &["CVE-2026-1234", "ACME-17", ",", " ", "\t", "-", ":", "+"]),
    target(
        "os_release",
        text::os_release,
        &["ID=", "VERSION_ID=", "VERSION_CODENAME=", "debian", "\"", "'", "\n"],
    ),
    target("obsoletes", text::obsoletes, IDS),
    target("requirements", text::requirements, IDS),
    target(
        "patch_info",
        text::patch_info,
        &[
            "Installed:",
            "From:",
            "Obsoletes:",
            "Requires:",
            "Incompatibles:",
            "backed out",
            " ",
            "105181-05",
            "( ",
        ],
    ),
    target("paths", text::paths, &["/", "//", "/.", "/..", "..", "$VAR", "\\", "\\040", "\\777", "\0"]),
    target("script_output", text::script_output, &["PaTcH_MsG ", "PaTcH_MsG 6", "\n", "0"]),
    target("pkgmap", tables::pkgmap, OBJECTS),
    target("contents", tables::contents, OBJECTS),
    target("contents_merge", tables::contents_merge, OBJECTS),
    target("pkglog", tables::pkglog, OBJECTS),
    target(
        "prototype",
        tables::prototype,
        &[
            "!include ",
            "!search ",
            "!rsearch ",
            "!default ",
            "!X=",
            "i ",
            "f none ",
            "d none ",
            "?",
            "$",
            "=",
            "\\",
            "\n",
            "# ",
            "\"",
        ],
    ),
    target("registration", tables::registration, OBJECTS),
    target("depend", tables::depend, &["P ", "I ", "R ", "\t", "(", ")", "\n", "#", "1.0", "(i386) 1.0"]),
    target("space", tables::space, &["/var/db", "\\040", " ", "36028797018963968", "\n", "#"]),
    target("deletes", tables::deletes, OBJECTS),
    target("accounts", tables::accounts, &[":", "root:x:0:0", "\n", "4294967295", "-1", "\0"]),
    target("obsoleted_by", tables::obsoleted_by, IDS),
    target("patch_order", tables::patch_order, IDS),
    target(
        "patchdiag",
        tables::patchdiag,
        &[
            "100001|01|",
            "Jan/13/11",
            "|R|S|O|YB|",
            ";",
            "Obsoleted by: ",
            "OBSOLETED by ",
            "\r\n",
            "118833-36;",
        ],
    ),
    target(
        "listings",
        tables::listings,
        &[
            "Patch: ",
            " Obsoletes: ",
            " Packages: ",
            "1-01, ",
            "PKGINST: ",
            "  ARCH: ",
            "  VERSION: ",
            "  (",
            ") ",
            "\n",
        ],
    ),
    target(
        "remote",
        tables::remote,
        &["TYPE=", "filesystem", "removable", "FIND_AT=", "STATE=", "active", "obsolete", "\n"],
    ),
    target(
        "undo_digest",
        tables::undo_digest,
        &["  ", "undo.gz", "\n", "17-00000000000000ab", "0000000000000000"],
    ),
    target("ledger", tables::ledger, JSON),
    target("stage_identity", records::stage_identity, JSON),
    target("stage_list", records::stage_list, JSON),
    target("promotion", records::promotion, JSON),
    target("trial", records::trial, JSON),
    target("base", records::base, JSON),
    target("stage_cache", records::stage_cache, &["patchadm stage1\n"]),
    target("objects_file", tables::objects_file, JSON),
    target("journal", records::journal, JSON),
    target("journal_lines", records::journal_lines, JSON),
    target("undo_manifest", records::undo_manifest, JSON),
    target("history", records::history, JSON),
    target("depot_index", records::depot_index, JSON),
    target("plan_file", records::plan_file, JSON),
    target("inventory", records::inventory, JSON),
    target("past_report", records::past_report, JSON),
    target("undo_export", records::undo_export, JSON),
    target("seen_depots", records::seen_depots, JSON),
    target(
        "depot_flags",
        records::depot_flags,
        &["100-01", " ", "\n", "#", "recommended", "security", "withdrawn"],
    ),
    target(
        "address",
        records::address,
        &["http://", "https://", "/", "..", "?", "#", "@", ":", "[::1]", "%20", "//", "."],
    ),
    target(
        "queue",
        records::queue,
        &[
            "add ",
            "remove ",
            "finish-add ",
            "finish-remove ",
            "made ",
            "changed ",
            "turned ",
            "ACMEweb",
            "/opt/a",
            "\n",
            "?",
            "=",
        ],
    ),
    target("cpio", archives::cpio, CPIO),
    target("datastream", archives::datastream, CPIO),
    target("compress", archives::compress, &["\u{1f}\u{9d}", "\0\0\0\0", "~~~~"]),
    target("container", archives::container, &["\u{1f}", "PK", "BZh", "ustar"]),
    target("source_stream", archives::source, CPIO),
    target(
        "source_tar",
        archives::source,
        &["ustar", "\0\0\0\0\0\0\0\0", "0000644", "L", "x", "pkginfo", "pkgmap", "reloc/", "../"],
    ),
    target("source_zip", archives::source, &["PK", "\0\0\0\0", "pkginfo", "pkgmap", "reloc/", "../"]),
    target(
        "release_deb",
        making::release,
        &["!<arch>\n", "`\n", "debian-binary", "2.0\n", "control.tar", "data.tar.xz", "ustar", "./", "/"],
    ),
    target(
        "release_rpm",
        making::release,
        &["\0\0\0\u{1}", "\0\0\u{4}", "070701", "07070X", "TRAILER!!!", "xz", "zstd", "cpio"],
    ),
    target(
        "release_tar",
        making::release,
        &["ustar", "SCHILY.xattr.", "LIBARCHIVE.xattr.", "path=", "../", "\0"],
    ),
    target("bzip2", archives::container, &["BZh9", "1AY&SY", "\u{17}rE8P"]),
    target("xz", archives::container, &["7zXZ", "YZ", "\0\0", "\u{21}", "\u{1}"]),
    target("zstd", archives::container, &["\0\0\0\0", "\u{28}", "\u{1}"]),
    target("elf", libraries::elf, &["\u{7f}ELF", "\0\0\0\0\0\0\0\0", "lib", ".so"]),
    target(
        "libraries",
        libraries::libraries,
        &[
            "f /",
            "t /",
            "l /",
            "c /etc/ld.so.conf ",
            "needed=",
            "soname=",
            "runpath=",
            "$ORIGIN",
            "$LIB",
            "/..",
            "interp=",
            "include ",
            "*",
            ",",
            "\n",
            "ld-musl-x86_64.so.1",
        ],
    ),
    target(
        "facts_cache",
        libraries::facts_cache,
        &["patchadm-elf 1\n\0", "\"needed\":[", "null", "\0\0\0\0", "\n"],
    ),
    target(
        "manifest",
        making::manifest,
        &[
            "# patchadm manifest 1\n",
            "# patch ",
            "# form members\n",
            "# date ",
            "SHA256 (",
            ") = ",
            "\\",
            "\r",
        ],
    ),
    target(
        "signature",
        making::signature,
        &["untrusted comment: ", "trusted comment: ", "timestamp:", "\t", "RUQ", "RWQ", "=", "\n"],
    ),
    target("key", making::key, &["untrusted comment: ", "RWQ", "RWR", "AAAA", "=", "\n"]),
    target(
        "key_rules",
        making::key_rules,
        &["expires=", "2027-12-31", "roles=", "patch", "index", "bases=", "7802F643AC6161C8 ", "(", "\n"],
    ),
];
