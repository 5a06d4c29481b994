//! The control file of a Debian package (deb-control(5)) and its list of conffiles.

use crate::release::error::ReleaseProblem;

/// The fields that matter here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ControlFields {
    pub(super) package: String,
    pub(super) version: String,
    pub(super) architecture: String,
    /// The source package, without the version in parentheses that may follow.
    pub(super) source: Option<String>,
    /// The first line of the description.
    pub(super) summary: Option<String>,
}

impl ControlFields {
    /// Parses the first paragraph; the names of fields may be written in any case.
    pub(super) fn parse(text: &[u8]) -> Result<Self, ReleaseProblem> {
        let text = String::from_utf8_lossy(text);
        let field = |wanted: &str| {
            let lines = text.lines().take_while(|line| !line.trim().is_empty());
            let mut fields =
                lines.filter(|line| !line.starts_with([' ', '\t'])).filter_map(|line| line.split_once(':'));
            fields
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.trim().to_owned())
        };
        let needed = |name: &str| {
            let value = field(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| ReleaseProblem::BadForm(format!("the control file has no {name}")))
        };
        let source = field("Source").and_then(|value| value.split_whitespace().next().map(str::to_owned));
        Ok(Self {
            package: needed("Package")?,
            version: needed("Version")?,
            architecture: needed("Architecture")?,
            source,
            summary: field("Description").filter(|summary| !summary.is_empty()),
        })
    }
}

/// Returns the paths of a list of conffiles. Lines with a flag are about files that the package no longer has.
pub(super) fn conffiles(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| line.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_named_without_its_version() {
        let text = b"package: libssl3\nSource: openssl (3.0.17-1)\nVersion: 1:3.0\nArchitecture: amd64\n\
                     Description: short\n long\n Version: no\n\nPackage: other\n";
        let fields = ControlFields::parse(text).unwrap();
        assert_eq!((fields.package.as_str(), fields.version.as_str()), ("libssl3", "1:3.0"));
        assert_eq!((fields.source.as_deref(), fields.summary.as_deref()), (Some("openssl"), Some("short")));
        assert!(ControlFields::parse(b"Package: a\nVersion: 1\n").is_err());
    }

    #[test]
    fn a_conffile_that_is_to_go_is_none() {
        let list: Vec<_> = conffiles(b"/etc/a\nremove-on-upgrade /etc/b\n\n/etc/c d \n").collect();
        assert_eq!(list, [&b"/etc/a"[..], b"/etc/c d"]);
    }
}
