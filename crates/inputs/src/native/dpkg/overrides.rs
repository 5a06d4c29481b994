//! Local overrides of dpkg: `diversions` (dpkg-divert(1)) and `statoverride` (dpkg-statoverride(1)).

use std::collections::HashMap;
use std::fmt;

use patchadm_svr4::package::{Accounts, Mode, ObjectAttributes, ObjectPath};

#[derive(Debug, Default)]
pub(super) struct Diversions(HashMap<ObjectPath, Diversion>);

#[derive(Debug)]
struct Diversion {
    to: ObjectPath,
    /// The diverting package, or `:` for the administrator.
    by: String,
}

impl Diversions {
    /// Each diversion has three lines.
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

    pub(super) fn place_of(&self, package: &str, path: ObjectPath) -> ObjectPath {
        self.diverted(package, &path).map(|(place, _)| place.clone()).unwrap_or(path)
    }

    /// The place, if another package or the administrator (`None`) diverted the path.
    pub(super) fn diverted(&self, package: &str, path: &ObjectPath) -> Option<(&ObjectPath, Option<&str>)> {
        let diversion = self.0.get(path).filter(|diversion| diversion.by != package)?;
        let by = Some(diversion.by.as_str()).filter(|by| *by != ":");
        Some((&diversion.to, by))
    }

    /// Path, destination, and diverting package (`None` for the administrator).
    pub(super) fn rules(&self) -> impl Iterator<Item = (&ObjectPath, &ObjectPath, Option<&str>)> {
        self.0.iter().map(|(from, one)| (from, &one.to, Some(one.by.as_str()).filter(|by| *by != ":")))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&ObjectPath, &ObjectPath)> {
        self.0.iter().map(|(from, diversion)| (from, &diversion.to))
    }
}

// dpkg compares an override's path as text with a package's list, before it follows diversions or links.

pub(super) const LARGEST: usize = 16 << 20;

/// By path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatOverrides(HashMap<ObjectPath, StatOverride>);

/// Applies to the path, whatever its package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatOverride {
    pub user: OverrideAccount,
    pub group: OverrideAccount,
    pub mode: Mode,
    /// As `dpkg-statoverride --list` shows it.
    pub listed: ObjectPath,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverrideAccount {
    Named(String),
    /// `#NUMBER`.
    Numbered(u32),
}

impl StatOverrides {
    /// Parses lines `USER GROUP MODE PATH`. dpkg itself refuses any other file.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(format!("it is larger than {} MiB", LARGEST >> 20));
        }
        let Some(text) = text.strip_suffix(b"\n") else {
            return if text.is_empty() {
                Ok(Self::default())
            } else {
                Err("its last line has no end".to_owned())
            };
        };
        let mut overrides = HashMap::new();
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let bad = |what: &str| format!("line {number}: {what}");
            let one = StatOverride::parse(line).map_err(bad)?;
            // dpkg never looks for a path with another spelling.
            if one.listed.as_bytes() != path_of(line) {
                continue;
            }
            if overrides.insert(one.listed.clone(), one).is_some() {
                return Err(bad("the path has an override already"));
            }
        }
        Ok(Self(overrides))
    }

    /// Returns the override of a path as spelled in its package's list.
    pub fn of(&self, listed: &ObjectPath) -> Option<&StatOverride> {
        self.0.get(listed)
    }

    pub fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.0.keys()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the overrides by the paths at which objects really are: a diverted file lies elsewhere and keeps the
    /// override of the path that its list has. No override is about the place itself.
    pub(super) fn diverted(mut self, diversions: &Diversions) -> Self {
        if !self.is_empty() {
            for (from, to) in diversions.all() {
                match self.0.get(from).cloned() {
                    Some(one) => drop(self.0.insert(to.clone(), one)),
                    None => drop(self.0.remove(to)),
                }
            }
        }
        self
    }
}

impl StatOverride {
    fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let mut words = line.splitn(4, |&byte| byte == b' ');
        let mut word =
            || words.next().and_then(|word| std::str::from_utf8(word).ok()).filter(|word| !word.is_empty());
        let user = word().and_then(OverrideAccount::parse).ok_or("its user is not valid")?;
        let group = word().and_then(OverrideAccount::parse).ok_or("its group is not valid")?;
        let is_octal = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
        let mode = word().filter(is_octal).and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let mode = mode.and_then(Mode::new).ok_or("its mode is not valid")?;
        let listed = ObjectPath::new(path_of(line)).map_err(|_| "its path is not valid")?;
        Ok(Self { user, group, mode, listed })
    }

    /// Returns the attributes for a line of `contents`.
    pub fn attributes(&self) -> ObjectAttributes {
        let word = |account: &OverrideAccount| match account {
            OverrideAccount::Named(name) => name.as_str().into(),
            OverrideAccount::Numbered(number) => number.to_string().into(),
        };
        ObjectAttributes {
            mode: Some(self.mode),
            owner: Some(word(&self.user)),
            group: Some(word(&self.group)),
        }
    }

    /// Returns the numeric owner and group in a root with these accounts, or the missing account.
    pub fn numbers(&self, accounts: &Accounts) -> Result<(u32, u32), UnknownAccount> {
        let user = match &self.user {
            OverrideAccount::Numbered(number) => Some(*number),
            OverrideAccount::Named(name) => accounts.uid(name),
        };
        let group = match &self.group {
            OverrideAccount::Numbered(number) => Some(*number),
            OverrideAccount::Named(name) => accounts.gid(name),
        };
        let user = user.ok_or_else(|| UnknownAccount::User(self.user.to_string()))?;
        Ok((user, group.ok_or_else(|| UnknownAccount::Group(self.group.to_string()))?))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownAccount {
    User(String),
    Group(String),
}

impl OverrideAccount {
    fn parse(word: &str) -> Option<Self> {
        match word.strip_prefix('#') {
            None => Some(Self::Named(word.to_owned())),
            // The highest number means "unchanged" to chown(2).
            Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().ok().filter(|number| *number != u32::MAX).map(Self::Numbered)
            }
            Some(_) => None,
        }
    }
}

impl fmt::Display for OverrideAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Numbered(number) => write!(f, "#{number}"),
        }
    }
}

fn path_of(line: &[u8]) -> &[u8] {
    line.splitn(4, |&byte| byte == b' ').nth(3).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

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

    fn at(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    fn accounts() -> Accounts {
        Accounts::parse(b"root:x:0:0:::\n", b"root:x:0:\nadm:x:4:\n")
    }

    #[test]
    fn a_line_gives_a_path_its_owner_group_and_mode() {
        let text = b"root adm 4750 /usr/bin/x y\n#7 #8 0600 /etc/conf\nweb web 755 /opt/web\n";
        let overrides = StatOverrides::parse(text).unwrap();
        let one = overrides.of(&at("/usr/bin/x y")).unwrap();
        assert_eq!((one.mode, one.numbers(&accounts())), (Mode::of(0o4750), Ok((0, 4))));
        let one = overrides.of(&at("/etc/conf")).unwrap();
        assert_eq!((one.mode, one.numbers(&accounts())), (Mode::of(0o600), Ok((7, 8))));
        let unknown = overrides.of(&at("/opt/web")).unwrap().numbers(&accounts());
        assert_eq!(unknown, Err(UnknownAccount::User("web".to_owned())));
        assert_eq!(overrides.of(&at("/usr/bin/y")), None);
        assert!(StatOverrides::parse(b"").unwrap().is_empty());
    }

    #[test]
    fn a_path_that_no_list_spells_like_that_is_passed_over() {
        let overrides =
            StatOverrides::parse(b"root adm 0711 /usr//bin/x\nroot adm 0711 /usr/bin/x/\n").unwrap();
        assert!(overrides.is_empty());
    }

    #[test]
    fn what_dpkg_itself_refuses_is_named_by_its_line() {
        for (text, reason) in [
            ("root adm 0711 /x", "its last line has no end"),
            ("root adm 0711 /x\nroot adm 0755 /x\n", "line 2: the path has an override already"),
            ("root adm 0711 /x\n\n", "line 2: its user is not valid"),
            ("# none\n", "line 1: its user is not valid"),
            ("#4294967295 adm 0711 /x\n", "line 1: its user is not valid"),
            ("root  0711 /x\n", "line 1: its group is not valid"),
            ("root #-1 0711 /x\n", "line 1: its group is not valid"),
            ("root adm 10711 /x\n", "line 1: its mode is not valid"),
            ("root adm 0718 /x\n", "line 1: its mode is not valid"),
            ("root adm +711 /x\n", "line 1: its mode is not valid"),
            ("root adm 0711 x\n", "line 1: its path is not valid"),
            ("root adm 0711 /../x\n", "line 1: its path is not valid"),
            ("root adm 0711\n", "line 1: its path is not valid"),
        ] {
            assert_eq!(StatOverrides::parse(text.as_bytes()).unwrap_err(), reason, "{text}");
        }
        let long = StatOverrides::parse(&vec![b'\n'; LARGEST + 1]).unwrap_err();
        assert_eq!(long, "it is larger than 16 MiB");
    }

    #[test]
    fn a_diverted_file_has_the_override_of_the_path_in_its_list() {
        let diversions =
            Diversions::parse(b"/bin/sh\n/bin/sh.distrib\ndash\n/bin/x\n/bin/x.real\n:\n").unwrap();
        let text = b"root adm 0700 /bin/sh\nroot adm 0711 /bin/x.real\n";
        let overrides = StatOverrides::parse(text).unwrap().diverted(&diversions);
        for path in ["/bin/sh", "/bin/sh.distrib"] {
            assert_eq!(overrides.of(&at(path)).map(|one| one.listed.clone()), Some(at("/bin/sh")), "{path}");
        }
        assert_eq!(overrides.of(&at("/bin/x.real")), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = StatOverrides::parse(&bytes);
        }
    }
}
