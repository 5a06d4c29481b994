use std::fmt;
use std::io;

use rustix::io::Errno;

#[derive(Clone, Debug, thiserror::Error)]
pub enum RootError {
    #[error("cannot {action} {path}: {}", errno_text(*.errno))]
    Call {
        /// A verb: `open`, `rename`, …
        action: &'static str,
        /// With the prefix of the root.
        path: String,
        errno: Errno,
    },
    /// An attribute of the file or its directory forbids the call to everybody.
    #[error("{0}")]
    Flagged(Box<FlaggedObject>),
    /// A name is not a single component: empty, `.`, `..`, or with a slash or NUL. A call with it could leave its
    /// directory.
    #[error("<{name}> is not the name of an object in {directory}")]
    Name { name: String, directory: String },
    #[error("too many symbolic links in the path of {0}")]
    Loop(String),
    #[error("this kernel has no openat2 (Linux 5.6 or later is needed), so paths cannot be kept inside {0}")]
    NoOpenat2(String),
    #[error("cannot {action} {path}: /proc is not mounted; `mount -t proc proc /proc` mounts it")]
    NoProc { action: &'static str, path: String },
    #[error("{path} is larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    /// See [`ReadBudget`](crate::ReadBudget).
    #[error("{path} is not read: with it, such records of this root are larger than {limit} bytes in total")]
    SumTooLarge { path: String, limit: u64 },
    /// Holes make a file of any size out of nothing.
    #[error("{0} is not read: it consists mostly of holes, which no valid record does")]
    Hollow(String),
    #[error("{directory} has {free} {unit} free, but {wanted} are needed, including the reserve")]
    NoRoom { directory: String, unit: &'static str, free: u64, wanted: u64 },
    #[error("{0}")]
    Untrusted(Box<Untrusted>),
    /// Another user could have put any object there, such as a file that only the superuser may read.
    #[error(
        "{path} does not get its owner and mode, because it could be another object: {by}; if it is the right one, use `chown {uid}:{gid}` and `chmod {mode:04o}`"
    )]
    Exchangeable {
        path: String,
        /// The directory, as a clause.
        by: String,
        uid: u32,
        gid: u32,
        mode: u32,
    },
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action} {path}: {flagged} {flag}; `chattr -{letter}` clears the flag")]
pub struct FlaggedObject {
    pub action: &'static str,
    pub path: String,
    /// The object that has the attribute: the same, or its directory.
    pub flagged: String,
    /// The attribute, as the end of a sentence.
    pub flag: &'static str,
    /// The letter of chattr(1).
    pub letter: char,
}

impl RootError {
    /// Corrects the error of a call through `/proc/self/fd`: without `/proc`, ENOENT says nothing about the object.
    pub(crate) fn through_proc(self) -> Self {
        match self {
            Self::Call { action, path, errno: Errno::NOENT } if !is_proc_mounted() => {
                Self::NoProc { action, path }
            }
            other => other,
        }
    }

    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            Self::Name { .. } => Some(Errno::INVAL),
            Self::NoOpenat2(_) => Some(Errno::NOSYS),
            // Not ENOENT: the object itself is there.
            Self::NoProc { .. } => Some(Errno::NODEV),
            Self::Loop(_) => Some(Errno::LOOP),
            Self::TooLarge { .. } | Self::SumTooLarge { .. } | Self::Hollow(_) => Some(Errno::FBIG),
            Self::NoRoom { .. } => Some(Errno::NOSPC),
            Self::Untrusted(_) | Self::Flagged(_) | Self::Exchangeable { .. } => Some(Errno::PERM),
        }
    }

    pub fn is_refused_access(&self) -> bool {
        // Nobody may do these.
        !matches!(self, Self::Flagged(_) | Self::Exchangeable { .. })
            && matches!(self.errno(), Some(Errno::ACCESS | Errno::PERM))
    }

    /// Returns true if the file system, or the caller's quota, is full, or only its reserve is left.
    pub fn is_no_space(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOSPC | Errno::DQUOT))
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::NOTDIR))
    }
}

impl From<RootError> for io::Error {
    fn from(error: RootError) -> Self {
        let kind = Self::from(error.errno().unwrap_or(Errno::IO)).kind();
        Self::new(kind, error)
    }
}

pub type Result<T> = std::result::Result<T, RootError>;

pub(crate) fn is_proc_mounted() -> bool {
    std::path::Path::new("/proc/self/fd").exists()
}

fn errno_text(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

pub(crate) fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A root that a user other than the superuser may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    pub root: String,
    pub owner: u32,
    /// The directory or record that others may change; for the tree of a container, the directory of the engine or the
    /// mount point.
    pub path: String,
    /// The owner of `path`; for a mount, the user who mounted it.
    pub uid: u32,
    /// The record in the tree of a container, unless the root itself is in it.
    pub record: Option<String>,
    /// The way into the tree of a container, if the path does not show it.
    pub way: TreeWay,
    pub why: Distrust,
    /// True if `owner` has an account on this machine.
    pub has_account: bool,
}

/// The ways in which a directory or record is not the superuser's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    Owner,
    Group,
    Others,
    /// An access list lets others write to it, or cannot be judged.
    AccessList,
    /// A symbolic link on the way to the root that another user can replace.
    Link,
    /// A symbolic link inside the root that another user can replace, to a directory that is not that user's.
    LinkInside,
    /// A directory above a symbolic link, on the way to the root or inside it: others may write to it, so that they can
    /// replace the link.
    AboveLink,
    /// Another user mounted its file system and answers for everything in it.
    ForeignMount,
    /// It belongs to another mount namespace than the caller's.
    OtherNamespace,
    /// The host's policy names the root in `untrusted_roots`.
    Named,
    /// In a directory where an engine keeps roots of containers.
    Engine,
    /// On or within an overlayfs, like the roots of containers.
    Overlay,
}

/// The way by which a directory lies in that of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TreeWay {
    /// By its path as named.
    #[default]
    Named,
    /// By its own path, with all links resolved.
    Physical(String),
    /// The directory of the engine is a link to this one.
    Link(String),
    /// Part of that directory is mounted here.
    Mount(String),
}

impl fmt::Display for TreeWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named => Ok(()),
            Self::Physical(path) => write!(f, " (as {path})"),
            Self::Link(path) => write!(f, " (which leads to {path})"),
            Self::Mount(path) => write!(f, " (by what is mounted on {path})"),
        }
    }
}

/// A tree whose owners do not prove who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForeignTree {
    /// The host's policy says so.
    Named,
    Engine {
        /// The usual directory of the engine.
        directory: String,
        way: TreeWay,
    },
    /// An overlayfs other than that of `/`.
    Overlay { mount_point: String },
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root, owner, path, uid, why, record, way, .. } = self;
        let what = record.as_deref().unwrap_or("it");
        let is_root = path == root;
        match why {
            Distrust::Owner if uid == owner && is_root => write!(f, "The root {root} belongs to uid {uid}."),
            Distrust::Group if is_root => {
                write!(f, "The root {root} is not yours alone: its group can write to it.")
            }
            Distrust::Others if is_root => {
                write!(f, "The root {root} is not yours alone: everyone can write to it.")
            }
            Distrust::AccessList if is_root => {
                write!(f, "The root {root} is not yours alone: an access list lets others write to it.")
            }
            Distrust::Owner if uid == owner => {
                write!(f, "The root {root} belongs to uid {uid}: {path} is writable by that user.")
            }
            Distrust::Owner => {
                write!(
                    f,
                    "The root {root} belongs to uid {owner}, but {path} to uid {uid}, who can write to it."
                )
            }
            Distrust::Group => {
                write!(f, "The root {root} is not yours alone: the group of {path} can write to it.")
            }
            Distrust::Others => {
                write!(f, "The root {root} is not yours alone: everyone can write to {path}.")
            }
            Distrust::AccessList => {
                write!(f, "The root {root} is not yours alone: an access list lets others write to {path}.")
            }
            Distrust::Link => {
                write!(
                    f,
                    "The path to the root {root} is controlled by uid {uid}, who can replace the symbolic link {path}."
                )
            }
            Distrust::LinkInside => {
                write!(
                    f,
                    "Uid {uid} can replace the symbolic link {path}, and does not own the directory that it leads to."
                )
            }
            Distrust::AboveLink => {
                write!(
                    f,
                    "Users other than its owner can write to {path} and replace a symbolic link below it."
                )
            }
            Distrust::ForeignMount => {
                write!(
                    f,
                    "The root {root} belongs to uid {uid}: {path} is on a file system that they mounted."
                )
            }
            Distrust::OtherNamespace => {
                write!(f, "The root {root} is in another mount namespace: the owner of {path} is unknown.")
            }
            Distrust::Named => {
                write!(
                    f,
                    "The root {root} is not trusted: untrusted_roots of the policy of this host names it."
                )
            }
            Distrust::Engine => {
                write!(
                    f,
                    "The root {root} is not trusted: {what} is in {path}{way}, among the roots of containers."
                )
            }
            Distrust::Overlay => {
                write!(
                    f,
                    "The root {root} is not trusted: {what} is on the overlayfs at {path}, as roots of containers are."
                )
            }
        }
    }
}

impl Untrusted {
    /// Returns a sentence with the remedies.
    pub fn way_on(&self) -> String {
        let Self { owner, path, uid, .. } = self;
        match self.why {
            Distrust::OtherNamespace => "run it inside its container or user namespace".to_owned(),
            Distrust::Owner if !self.has_account && uid == owner => {
                "run it inside its container or user namespace".to_owned()
            }
            Distrust::Owner if uid == owner => self.as_owner(),
            Distrust::Owner => format!(
                "make root its owner (`chown 0 {path}`), or use `--trust-root` if you trust uid {uid} to do anything as root here"
            ),
            Distrust::Group => format!("remove the permission: `chmod g-w {path}`"),
            Distrust::Others => format!("remove the permission: `chmod o-w {path}`"),
            Distrust::AccessList => format!("remove the access list: `setfacl -b {path}`"),
            Distrust::Link => format!(
                "specify the root without that link, or use `--trust-root` if you trust uid {uid} to do anything as root here"
            ),
            Distrust::LinkInside => format!(
                "remove the link, or use `--trust-root` if you trust uid {uid} to do anything as root here"
            ),
            Distrust::AboveLink => format!(
                "remove the permission: `chmod go-w {path}`, or use `--trust-root` if you trust them to do anything as root here"
            ),
            Distrust::ForeignMount => {
                format!("run it as uid {uid}, or use `--trust-root` if you trust uid {uid} to do anything as root here")
            }
            Distrust::Named if *owner != 0 => self.as_owner(),
            Distrust::Named => "use `--trust-root` if you trust its creator to do anything as root here".to_owned(),
            Distrust::Engine | Distrust::Overlay => {
                "run it inside the container; if you trust its root to do anything as root here, use `--trust-root`, or add the root to `trusted_roots` in /etc/patchadm/policy"
                    .to_owned()
            }
        }
    }

    fn as_owner(&self) -> String {
        let owner = self.owner;
        format!(
            "run it as its owner with `--as-owner`, or use `--trust-root` if you trust uid {owner} to do anything as root here"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untrusted(owner: u32, uid: u32, why: Distrust) -> Untrusted {
        Untrusted {
            root: "/zones/a".to_owned(),
            owner,
            path: "/zones/a/var/sadm".to_owned(),
            uid,
            record: None,
            way: TreeWay::Named,
            why,
            has_account: true,
        }
    }

    #[test]
    fn the_refusal_of_another_users_root_names_the_owner_and_two_ways_on() {
        let told = untrusted(1004, 1004, Distrust::Owner);
        assert_eq!(
            told.to_string(),
            "The root /zones/a belongs to uid 1004: /zones/a/var/sadm is writable by that user."
        );
        assert_eq!(
            told.way_on(),
            "run it as its owner with `--as-owner`, or use `--trust-root` if you trust uid 1004 to do anything as root here"
        );
    }

    #[test]
    fn the_refusal_of_a_root_that_is_itself_writable_names_it_once() {
        for (uid, why) in
            [(1004, Distrust::Owner), (0, Distrust::Group), (0, Distrust::Others), (0, Distrust::AccessList)]
        {
            let told = Untrusted { path: "/zones/a".to_owned(), ..untrusted(uid, uid, why) }.to_string();
            assert_eq!(told.matches("/zones/a").count(), 1, "{told}");
        }
    }

    #[test]
    fn the_refusal_of_a_container_says_what_is_in_it_and_by_which_way_where_no_path_does() {
        let told = Untrusted { path: "/var/lib/lxc".to_owned(), ..untrusted(0, 0, Distrust::Engine) };
        let said = |way, record: Option<&str>| {
            let record = record.map(str::to_owned);
            Untrusted { record, way, ..told.clone() }.to_string()
        };
        let begin = "The root /zones/a is not trusted: ";
        for (way, end) in [
            (TreeWay::Named, ""),
            (TreeWay::Physical("/var/lib/lxc/a".to_owned()), " (as /var/lib/lxc/a)"),
            (TreeWay::Link("/data/lxc".to_owned()), " (which leads to /data/lxc)"),
            (TreeWay::Mount("/zones".to_owned()), " (by what is mounted on /zones)"),
        ] {
            let expected = format!("{begin}it is in /var/lib/lxc{end}, among the roots of containers.");
            assert_eq!(said(way, None), expected);
        }
        assert_eq!(
            said(TreeWay::Mount("/zones/a/var".to_owned()), Some("/zones/a/var")),
            format!(
                "{begin}/zones/a/var is in /var/lib/lxc (by what is mounted on /zones/a/var), \
                 among the roots of containers."
            )
        );
    }

    #[test]
    fn the_way_on_fits_the_case() {
        let without_account =
            Untrusted { has_account: false, ..untrusted(100_000, 100_000, Distrust::Owner) };
        assert_eq!(without_account.way_on(), "run it inside its container or user namespace");
        let of_group = untrusted(0, 0, Distrust::Group);
        assert_eq!(of_group.way_on(), "remove the permission: `chmod g-w /zones/a/var/sadm`");
        let of_record = untrusted(0, 1004, Distrust::Owner);
        assert!(!of_record.way_on().contains("--as-owner"), "the owner of the root is the superuser");
        let of_link = untrusted(0, 1004, Distrust::LinkInside);
        assert!(of_link.to_string().starts_with("Uid 1004 can replace the symbolic link /zones/a/var/sadm,"));
        assert!(of_link.way_on().starts_with("remove the link, or use `--trust-root`"));
        let above_link = untrusted(0, 0, Distrust::AboveLink);
        assert!(
            above_link.to_string().contains(" can write to /zones/a/var/sadm and replace a symbolic link")
        );
        assert!(
            above_link.way_on().starts_with("remove the permission: `chmod go-w /zones/a/var/sadm`, or ")
        );
        assert!(untrusted(0, 0, Distrust::Named).way_on().starts_with("use `--trust-root`"));
        let of_container = untrusted(0, 0, Distrust::Engine).way_on();
        assert!(of_container.contains("--trust-root") && of_container.contains("trusted_roots"));
    }
}
