//! Class action scripts of the standard classes (pkgmk(1), "Object Classes"), used if neither the package nor the
//! system has one. At an installation they read pairs of source and destination, at a removal destinations; they exit
//! with 2 if a file failed. Each must run under the requested name.

/// For example `i.build`.
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
