//! The file `diversions` of dpkg: paths that are somewhere else for every package but one (dpkg-divert(1)).

use std::collections::HashMap;

use patchadm_svr4::package::ObjectPath;

/// The actual places of diverted paths.
#[derive(Debug, Default)]
pub(super) struct Diversions(HashMap<ObjectPath, Diversion>);

/// Where a path is for every package but one.
#[derive(Debug)]
struct Diversion {
    to: ObjectPath,
    /// The package that diverts it, or `:` for the administrator.
    by: String,
}

impl Diversions {
    /// Parses the file: three lines for each.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
        let diversions = lines.chunks(3).map(|three| match three {
            [from, to, by] => {
                let path = |line: &[u8]| ObjectPath::new(line).map_err(|error| error.to_string());
                let by = String::from_utf8_lossy(by).into_owned();
                Ok((path(from)?, Diversion { to: path(to)?, by }))
            }
            _ => Err("it does not have three lines for each diversion".to_owned()),
        });
        Ok(Self(diversions.collect::<Result<_, _>>()?))
    }

    /// Returns the actual place of a path of a package.
    pub(super) fn place_of(&self, package: &str, path: ObjectPath) -> ObjectPath {
        self.diverted(package, &path).map(|(place, _)| place.clone()).unwrap_or(path)
    }

    /// Returns the actual place of a path of a package that another package, or the administrator (`None`), has diverted.
    pub(super) fn diverted(&self, package: &str, path: &ObjectPath) -> Option<(&ObjectPath, Option<&str>)> {
        let diversion = self.0.get(path).filter(|diversion| diversion.by != package)?;
        let by = Some(diversion.by.as_str()).filter(|by| *by != ":");
        Some((&diversion.to, by))
    }

    /// Returns each diverted path, where files go that are delivered there, and the package that diverts it, which is `None`
    /// for the administrator.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&ObjectPath, &ObjectPath, Option<&str>)> {
        self.0.iter().map(|(from, one)| (from, &one.to, Some(one.by.as_str()).filter(|by| *by != ":")))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns each diverted path and the actual place of the diverted file.
    pub(super) fn all(&self) -> impl Iterator<Item = (&ObjectPath, &ObjectPath)> {
        self.0.iter().map(|(from, diversion)| (from, &diversion.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diverted_path_lies_elsewhere_for_all_but_who_diverts_it() {
        let at = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let text = b"/bin/sh\n/bin/sh.distrib\ndash\n/bin/x\n/bin/x.real\n:\n";
        let diversions = Diversions::parse(text).unwrap();
        assert_eq!(diversions.place_of("bash", at("/bin/sh")), at("/bin/sh.distrib"));
        assert_eq!(diversions.place_of("dash", at("/bin/sh")), at("/bin/sh"));
        assert_eq!(diversions.place_of("x", at("/bin/x")), at("/bin/x.real"));
        assert!(Diversions::parse(b"/a\n/b\n").is_err());
    }
}
