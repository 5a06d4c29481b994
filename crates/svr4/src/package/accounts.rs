//! The accounts of a root, from its own `etc/passwd` and `etc/group`. An account with the number 2^32-1 is unknown: it
//! tells system calls to leave the owner unchanged.

use std::collections::BTreeMap;

use super::{Word, rule};

/// The owner or group that chown(2) takes as "leave it unchanged", and that no account can have.
pub const NO_ACCOUNT: u32 = u32::MAX;

/// In bytes. pkgmap(4) documents 14; every implementation accepts 64.
const LONGEST_OWNER: usize = 64;

/// Users and groups by name and by number. The first line of a name or number counts, as in the C library.
///
/// ```
/// use patchadm_svr4::package::Accounts;
///
/// let accounts = Accounts::parse(b"root:x:0:0::/:\nbin:x:2:2::/:\n", b"sys::3:\n");
/// assert_eq!(accounts.uid("bin"), Some(2));
/// assert_eq!(accounts.group(3), "sys");
/// assert_eq!(accounts.user(99), "99");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: AccountNames,
    groups: AccountNames,
}

impl Accounts {
    /// Parses the text of passwd(5) and group(5). Lines without a number in the third field are skipped.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self { users: AccountNames::parse(passwd), groups: AccountNames::parse(group) }
    }

    /// Adds the names and numbers of `other` that these accounts lack. `root` is always 0.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for (names, others) in [(&mut self.users, &other.users), (&mut self.groups, &other.groups)] {
            for (name, &number) in &others.by_name {
                names.add(name, number);
            }
            names.add("root", 0);
        }
        self
    }

    /// Returns the number of a user; a name that is itself a number stands for that number.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.users.number(name)
    }

    /// Returns the number of a group; a name that is itself a number stands for that number.
    pub fn gid(&self, name: &str) -> Option<u32> {
        self.groups.number(name)
    }

    /// Returns the name of a user, or the number as text if it has no name that a line of `contents` can hold.
    pub fn user(&self, uid: u32) -> Word {
        self.users.name(uid)
    }

    /// Returns the name of a group, or the number as text if it has no name that a line of `contents` can hold.
    pub fn group(&self, gid: u32) -> Word {
        self.groups.name(gid)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct AccountNames {
    by_name: BTreeMap<String, u32>,
    by_number: BTreeMap<u32, String>,
}

impl AccountNames {
    fn parse(text: &[u8]) -> Self {
        let mut names = Self::default();
        for line in String::from_utf8_lossy(text).lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(Ok(number))) = (fields.next(), fields.nth(1).map(str::parse))
                && is_somebody(number)
            {
                names.add(name, number);
            }
        }
        names
    }

    fn add(&mut self, name: &str, number: u32) {
        if !name.is_empty() {
            self.by_name.entry(name.to_owned()).or_insert(number);
            if is_recordable(name) {
                self.by_number.entry(number).or_insert_with(|| name.to_owned());
            }
        }
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied().or_else(|| name.parse().ok().filter(|number| is_somebody(*number)))
    }

    fn name(&self, number: u32) -> Word {
        let name = self.by_number.get(&number).map(Word::from);
        name.unwrap_or_else(|| number.to_string().into())
    }
}

/// Returns true if a line of a pkgmap or `contents` with this owner or group names the account: neither is it
/// unreadable, nor does it stand for a number, a variable or nobody known.
fn is_recordable(name: &str) -> bool {
    let is_readable = name.len() <= LONGEST_OWNER
        && !name.chars().any(|letter| letter.is_control() || letter.is_whitespace());
    is_readable && name != "?" && !name.starts_with('$') && name.parse::<u64>().is_err()
}

fn is_somebody(number: u32) -> bool {
    rule::holds("accounts.number", number != NO_ACCOUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_means_no_owner_is_nobodys() {
        let accounts = Accounts::parse(b"odd:x:4294967295:4294967295::\n", b"odd:x:4294967295:\n");
        assert_eq!((accounts.uid("odd"), accounts.gid("odd")), (None, None));
        assert_eq!((accounts.uid("4294967295"), accounts.uid("4294967294")), (None, Some(4_294_967_294)));
    }

    #[test]
    fn the_first_line_of_a_name_counts_and_odd_lines_are_passed_over() {
        let accounts = Accounts::parse(
            b"root:x:0:0::/:/bin/sh\nadm:x:3:4::\nadm:x:9:9::\nbroken\n:x:7:\n",
            b"bin:x:2:\n",
        );
        assert_eq!(
            (accounts.uid("adm"), accounts.gid("bin"), accounts.uid("nobody")),
            (Some(3), Some(2), None)
        );
        assert_eq!((accounts.user(3), accounts.user(77)), ("adm".into(), "77".into()));
        assert_eq!(accounts.uid("1001"), Some(1001));
    }

    #[test]
    fn a_name_that_no_line_could_hold_is_recorded_as_its_number() {
        let long = "u".repeat(65);
        let passwd = format!("{long}:x:7:7::\n?:x:8:8::\n$USER:x:9:9::\n1234:x:10:10::\nweb:x:10:10::\n");
        let accounts = Accounts::parse(passwd.as_bytes(), b"domain users:x:55:\n");
        let users = [7, 8, 9, 10].map(|uid| accounts.user(uid).to_string());
        assert_eq!(users, ["7", "8", "9", "web"]);
        assert_eq!((accounts.group(55), accounts.gid("domain users")), ("55".into(), Some(55)));
        assert_eq!((accounts.uid(&long), accounts.uid("1234")), (Some(7), Some(10)));
    }

    #[test]
    fn what_a_root_lacks_comes_from_the_host_and_root_is_always_known() {
        let own = Accounts::parse(b"adm:x:3:4::\n", b"");
        let host = Accounts::parse(b"adm:x:103:4::\nweb:x:80:80::\n", b"");
        let both = own.or(&host);
        assert_eq!((both.uid("adm"), both.uid("web"), both.gid("root")), (Some(3), Some(80), Some(0)));
    }
}
