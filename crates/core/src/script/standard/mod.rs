//! Class action scripts of the standard classes (pkgmk(1), "Object Classes"), for systems without their own.
//!
//! They are used if neither the package nor the system has a script for the class. They follow the protocol of all class
//! scripts: pairs of source and destination on standard input at an installation, destinations at a removal; exit code 2 if
//! any file failed, otherwise 0. A script has to be run under the requested name. Any POSIX sh(1), sed(1) and awk(1) can run
//! them.

/// Returns the script with this file name, such as `i.build`.
pub fn standard(name: &str) -> Option<&'static str> {
    Some(match name {
        "i.build" => include_str!("i.build"),
        "r.build" => include_str!("r.build"),
        "i.sed" | "i.awk" => include_str!("i.edit"),
        "r.sed" | "r.awk" => include_str!("r.edit"),
        "i.preserve" => include_str!("i.preserve"),
        "i.renamenew" => include_str!("i.renamenew"),
        "i.renameold" => include_str!("i.renameold"),
        "i.manifest" => include_str!("i.manifest"),
        "r.manifest" => include_str!("r.manifest"),
        _ => return None,
    })
}
