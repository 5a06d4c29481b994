//! User and group ids of sandboxes, which are never those of the machine's root.
//!
//! Root gives its sandboxes an exclusive range. An ordinary user uses subordinate ids if there are any, with
//! newuidmap(1).

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use nix::sched::{CloneFlags, unshare};
use patchadm_bulk_values::conf::{BuildIdentity, Configuration, IdRange};
use patchadm_core::namespaces::{IdMapping, OwnIds};
use patchadm_rootfs::{Dir, RootError};
use rustix::process::{getegid, geteuid};

use crate::tree_copy::each_below;

const SUBORDINATE: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// The third field of both is an id.
const ACCOUNTS: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// User and group of builds in the sandbox. Not 65534, which stands for every unmapped id there.
pub(crate) const BUILD_ID: u32 = 1_000;

pub(crate) const NOBODY: u32 = 65_534;

const MAP_PROGRAMS: [&str; 2] = ["newuidmap", "newgidmap"];

/// Bytes that are read of what they print.
const MOST_SAID: u64 = 4096;

/// Search path for these programs. Anybody could have set `PATH`.
const PROGRAM_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxIds {
    /// The id of the caller, an ordinary user.
    Own,
    /// A range assigned by root.
    Range(IdRange),
    /// In the user namespace of this process, 0 is an ordinary user and the others are its subordinate ids.
    Subordinate { users: u32, groups: u32 },
}

impl SandboxIds {
    /// Returns the ids of this process's sandboxes without entering a namespace, or why it can have no sandboxes.
    pub fn of_caller(conf: &Configuration) -> Result<Self, String> {
        if geteuid().is_root() {
            return range_of(conf).map(Self::Range);
        }
        if conf.build_as == BuildIdentity::Root {
            subordinates()?;
        }
        Ok(Self::Own)
    }

    /// Like `of_caller`, and enters a user namespace with all ids of the user. The process must have one thread.
    pub fn of_task(conf: &Configuration) -> Result<Self, String> {
        if geteuid().is_root() {
            return range_of(conf).map(Self::Range);
        }
        match subordinates() {
            Ok(subordinates) => {
                subordinates.enter().map_err(|error| format!("subordinate ids: {error}"))?;
                let [users, groups] = subordinates.ranges.map(|range| range.count);
                Ok(Self::Subordinate { users, groups })
            }
            Err(reason) if conf.build_as == BuildIdentity::Root => Err(reason),
            Err(_) => Ok(Self::Own),
        }
    }

    pub(crate) fn are_many(self) -> bool {
        self != Self::Own
    }

    pub(crate) fn mappings(self) -> OwnIds {
        let one = |id: u32| vec![IdMapping { inside: id, outside: id, count: 1 }];
        let all = |others: u32| {
            let others = IdMapping { inside: 1, outside: 1, count: others };
            one(0).into_iter().chain([others]).collect()
        };
        match self {
            Self::Own => OwnIds { users: one(geteuid().as_raw()), groups: one(getegid().as_raw()) },
            Self::Range(range) => {
                let all = vec![IdMapping { inside: 0, outside: range.start, count: range.count }];
                OwnIds { users: all.clone(), groups: all }
            }
            Self::Subordinate { users, groups } => OwnIds { users: all(users), groups: all(groups) },
        }
    }

    /// Changes the owner of an entry to a user and group inside, if there are further ids.
    pub(crate) fn give(self, above: &Dir, name: &[u8], inside: u32) -> Result<(), RootError> {
        match self.on_disk(inside) {
            Some(id) => above.set_owner(name, Some(id), Some(id)),
            None => Ok(()),
        }
    }

    /// Gives a directory and everything in it to root inside, so that the sandbox owns its own layout.
    pub(crate) fn hand_over(self, top: &Dir) -> Result<(), RootError> {
        let Self::Range(range) = self else { return Ok(()) };
        let own = Some(range.outside(0));
        if top.itself()?.uid == 0 {
            top.set_own_owner(own, own)?;
        }
        each_below(top, |above, name, seen| {
            if seen.uid == 0 {
                above.set_owner(name, own, own)?;
            }
            Ok(true)
        })
    }

    /// Returns a user's id on this machine, if the caller is root: its permissions apply to files that a scan reports.
    pub(crate) fn reader(self, inside: u32) -> Option<u32> {
        match self {
            Self::Range(range) => Some(range.outside(inside)),
            Self::Own | Self::Subordinate { .. } => None,
        }
    }

    /// Returns a user's id as the caller sees it, `None` for the caller itself.
    pub(crate) fn on_disk(self, inside: u32) -> Option<u32> {
        match self {
            Self::Own => None,
            Self::Range(range) => Some(range.outside(inside)),
            Self::Subordinate { .. } => Some(inside),
        }
    }
}

/// Returns the configured range for root's sandboxes, otherwise the subordinate ids of `build_user`.
pub(crate) fn range_of(conf: &Configuration) -> Result<IdRange, String> {
    let of_user = || {
        let name = conf.build_user.as_deref()?;
        let uid = nix::unistd::User::from_name(name).ok().flatten()?.uid.as_raw();
        let [users, groups] = SUBORDINATE.map(|path| IdRange::of_user(&text_of(path), name, uid));
        users.filter(|users| groups == Some(*users))
    };
    let Some(range) = conf.ids.or_else(of_user) else {
        let proposal = free_range(0).map_or_else(|| "START:COUNT".to_owned(), |range| range.to_string());
        return Err(format!(
            "if root builds, sandboxes need ids that nobody else has, but bulk.conf sets none: set ids={proposal}"
        ));
    };
    for path in ACCOUNTS {
        if let Some((name, id)) = account_in(&text_of(path), range) {
            return Err(format!("ids={range}: {path} has {name} with the id {id}; choose other ids"));
        }
    }
    for path in SUBORDINATE {
        if let Some((name, other)) = IdRange::of_others(&text_of(path), range, conf.build_user.as_deref()) {
            return Err(format!("ids={range}: {path} has {other} for {name}; choose other ids"));
        }
    }
    match known_elsewhere(range) {
        Some(name) => Err(format!("ids={range}: {name} has one of these ids; choose other ids")),
        None => Ok(range),
    }
}

/// Returns an account outside the local files (such as in a directory service) with an id in the range.
fn known_elsewhere(range: IdRange) -> Option<String> {
    [0, BUILD_ID].map(|id| range.outside(id)).into_iter().find_map(|id| {
        let user = || nix::unistd::User::from_uid(id.into()).ok()?.map(|user| user.name);
        let group = || nix::unistd::Group::from_gid(id.into()).ok()?.map(|group| group.name);
        user().or_else(group)
    })
}

pub(crate) fn free_range(random: u64) -> Option<IdRange> {
    let texts = SUBORDINATE.map(text_of);
    let mut taken: Vec<(u32, u32)> = texts.iter().flat_map(|text| IdRange::all_of(text)).collect();
    for path in ACCOUNTS {
        taken.extend(accounts(&text_of(path)).map(|(_, id)| (id, 1)));
    }
    let [users, groups] = ["/proc/self/uid_map", "/proc/self/gid_map"].map(|path| mapped(&text_of(path)));
    IdRange::free(random, &users, &taken)
        .filter(|range| IdRange::free(random, &groups, &taken) == Some(*range))
}

/// Parses the mapped ids of a user namespace into pairs of first id and count.
fn mapped(text: &str) -> Vec<(u32, u32)> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().map(str::parse);
        match (fields.next(), fields.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => Some((first, count)),
            _ => None,
        }
    });
    lines.collect()
}

fn accounts(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    })
}

fn account_in(text: &str, range: IdRange) -> Option<(&str, u32)> {
    accounts(text).find(|(_, id)| range.has(*id))
}

fn text_of(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// An ordinary user's subordinate ids, and the programs that map them.
struct Subordinates {
    ranges: [IdRange; 2],
    programs: [PathBuf; 2],
}

fn subordinates() -> Result<Subordinates, String> {
    let found = |name: &str| {
        let paths = PROGRAM_DIRECTORIES.iter().map(|above| Path::new(above).join(name));
        paths.into_iter().find(|path| path.is_file())
    };
    let [Some(users), Some(groups)] = MAP_PROGRAMS.map(found) else {
        return Err("`build_as=root` needs newuidmap, which is in the package uidmap (Debian, Ubuntu: \
                    `apt install uidmap`) or shadow-utils"
            .to_owned());
    };
    let uid = geteuid();
    let user = nix::unistd::User::from_uid(uid.as_raw().into()).ok().flatten();
    let name = user.map_or_else(|| uid.to_string(), |user| user.name);
    let [of_users, of_groups] = SUBORDINATE.map(|path| IdRange::of_user(&text_of(path), &name, uid.as_raw()));
    match (of_users, of_groups) {
        (Some(of_users), Some(of_groups)) => {
            Ok(Subordinates { ranges: [of_users, of_groups], programs: [users, groups] })
        }
        _ => Err(format!(
            "`build_as=root` needs subordinate ids of {name}: as root, `usermod --add-subuids \
             100000-165535 --add-subgids 100000-165535 {name}`"
        )),
    }
}

impl Subordinates {
    fn enter(&self) -> io::Result<()> {
        let process = std::process::id().to_string();
        let own = [geteuid().as_raw(), getegid().as_raw()];
        let mut script = String::from("read go && exec 2>&1");
        let mut words = Vec::new();
        for ((program, range), own) in self.programs.iter().zip(&self.ranges).zip(own) {
            let at = words.len() + 1;
            let IdRange { start, count } = range;
            // Writing to a string cannot fail.
            let _ = write!(script, " && \"${{{at}}}\" {process} 0 {own} 1 1 {start} {count}");
            words.push(program.as_os_str());
        }
        // These programs check their caller, so they must not run in the new namespace.
        let mut helper = Command::new("/bin/sh")
            .args(["-c", &script, "sh"])
            .args(&words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let entered = unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from);
        if let Some(mut input) = helper.stdin.take().filter(|_| entered.is_ok()) {
            input.write_all(b"go\n")?;
        }
        let mut said = Vec::new();
        if let Some(output) = helper.stdout.take() {
            output.take(MOST_SAID).read_to_end(&mut said)?;
        }
        let ended = helper.wait()?;
        entered?;
        if ended.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said);
        Err(io::Error::other(format!("newuidmap: {}", said.lines().next().unwrap_or("it has failed"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_within_a_range_is_named() {
        let range = IdRange { start: 100_000, count: 65_536 };
        let text = "root:x:0:0:root:/root:/bin/sh\nkiosk:x:100007:100::/:/bin/sh\n";
        assert_eq!(account_in(text, range), Some(("kiosk", 100_007)));
        assert_eq!(account_in(text, IdRange { start: 200_000, count: 2_000 }), None);
    }

    #[test]
    fn the_ids_of_a_namespace_are_read_from_the_map_of_the_kernel() {
        assert_eq!(
            mapped("         0       1000          1\n         1     100000      65536\n"),
            [(0, 1), (1, 65_536)]
        );
    }
}
