//! The reasons why a root is not the superuser's alone, and the remedies.

use std::fmt;

/// A root that somebody other than the superuser may change, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// The path of the root, as it was named.
    pub root: String,
    /// The owner of the root directory.
    pub owner: u32,
    /// The directory or record that others may change, with the prefix of the root; for the tree of a container, the
    /// directory of the engine or the mount point.
    pub path: String,
    /// The owner of that directory or record; for a mount, the user who mounted it.
    pub uid: u32,
    /// The reason for distrust.
    pub why: Distrust,
    /// Whether the owner of the root directory has an account on this machine.
    pub has_account: bool,
}

/// The ways in which a directory or record is not the superuser's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It belongs to another user.
    Owner,
    /// Its group may write to it.
    Group,
    /// Everybody may write to it.
    Others,
    /// An access list lets others write to it, or cannot be judged.
    AccessList,
    /// It is a symbolic link of another user on the way to the root.
    Link,
    /// Another user mounted its file system and answers for everything in it.
    ForeignMount,
    /// It belongs to another mount namespace than the caller's.
    OtherNamespace,
    /// The policy of the host names the root in `untrusted_roots`.
    Named,
    /// It is in a directory in which an engine keeps the roots of containers.
    Engine,
    /// It is on an overlayfs, as the roots of containers are, or within one.
    Overlay,
}

/// A tree whose owners say nothing about who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForeignTree {
    /// The policy of the host says so.
    Named,
    /// A directory in which an engine keeps the roots of containers.
    Engine {
        /// Its usual path.
        directory: String,
    },
    /// An overlayfs other than the one that `/` is on.
    Overlay {
        /// Where it is mounted.
        mount_point: String,
    },
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root, owner, path, uid, why, .. } = self;
        match why {
            Distrust::Owner if uid == owner => {
                write!(f, "The root {root} belongs to uid {uid}: {path} is theirs to write.")
            }
            Distrust::Owner => {
                write!(
                    f,
                    "The root {root} belongs to uid {owner}, but {path} to uid {uid}, who may write it."
                )
            }
            Distrust::Group => {
                write!(f, "The root {root} is not yours alone: the group of {path} may write it.")
            }
            Distrust::Others => write!(f, "The root {root} is not yours alone: everybody may write {path}."),
            Distrust::AccessList => {
                write!(f, "The root {root} is not yours alone: an access list lets others write {path}.")
            }
            Distrust::Link => {
                write!(
                    f,
                    "The way to the root {root} belongs to uid {uid}: the symbolic link {path} is theirs."
                )
            }
            Distrust::ForeignMount => {
                write!(
                    f,
                    "The root {root} belongs to uid {uid}: {path} is on a file system that they mounted."
                )
            }
            Distrust::OtherNamespace => {
                write!(f, "The root {root} is in another mount namespace: whose {path} is cannot be told.")
            }
            Distrust::Named => {
                write!(
                    f,
                    "The root {root} is not trusted: untrusted_roots of the policy of this host names it."
                )
            }
            Distrust::Engine => {
                write!(f, "The root {root} is not trusted: it is in {path}, among the roots of containers.")
            }
            Distrust::Overlay => {
                write!(
                    f,
                    "The root {root} is not trusted: it is on the overlayfs at {path}, as roots of containers are."
                )
            }
        }
    }
}

impl Untrusted {
    /// Returns the sentence that names the remedies.
    pub fn way_on(&self) -> String {
        let Self { owner, path, uid, .. } = self;
        match self.why {
            Distrust::OtherNamespace => "Run it inside its container or user namespace.".to_owned(),
            Distrust::Owner if !self.has_account && uid == owner => {
                "Run it inside its container or user namespace.".to_owned()
            }
            Distrust::Owner if uid == owner => self.as_owner(),
            Distrust::Owner => format!(
                "Give it back to the superuser (chown 0 {path}), or say --trust-root if uid {uid} may do \
                 anything as root here."
            ),
            Distrust::Group => format!("Take the right away: chmod g-w {path}."),
            Distrust::Others => format!("Take the right away: chmod o-w {path}."),
            Distrust::AccessList => format!("Take the access list away: setfacl -b {path}."),
            Distrust::Link => format!(
                "Name the root without that link, or say --trust-root if uid {uid} may do anything as root here."
            ),
            Distrust::ForeignMount => {
                format!("Run it as uid {uid}, or say --trust-root if uid {uid} may do anything as root here.")
            }
            Distrust::Named if *owner != 0 => self.as_owner(),
            Distrust::Named => "Say --trust-root if whoever made it may do anything as root here.".to_owned(),
            Distrust::Engine | Distrust::Overlay => {
                "Run it inside the container. If whoever was root there may do anything as root here, say \
                 --trust-root, or name the root in trusted_roots of /etc/patchadm/policy."
                    .to_owned()
            }
        }
    }

    fn as_owner(&self) -> String {
        let owner = self.owner;
        format!(
            "Run it as its owner with --as-owner, or say --trust-root if uid {owner} may do anything as root here."
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
            why,
            has_account: true,
        }
    }

    #[test]
    fn the_refusal_of_another_users_root_names_the_owner_and_two_ways_on() {
        let told = untrusted(1004, 1004, Distrust::Owner);
        assert_eq!(
            told.to_string(),
            "The root /zones/a belongs to uid 1004: /zones/a/var/sadm is theirs to write."
        );
        assert_eq!(
            told.way_on(),
            "Run it as its owner with --as-owner, or say --trust-root if uid 1004 may do anything as root here."
        );
    }

    #[test]
    fn the_way_on_fits_the_case() {
        let without_account =
            Untrusted { has_account: false, ..untrusted(100_000, 100_000, Distrust::Owner) };
        assert_eq!(without_account.way_on(), "Run it inside its container or user namespace.");
        let of_group = untrusted(0, 0, Distrust::Group);
        assert_eq!(of_group.way_on(), "Take the right away: chmod g-w /zones/a/var/sadm.");
        let of_record = untrusted(0, 1004, Distrust::Owner);
        assert!(!of_record.way_on().contains("--as-owner"), "the owner of the root is the superuser");
        assert!(untrusted(0, 0, Distrust::Named).way_on().starts_with("Say --trust-root"));
        let of_container = untrusted(0, 0, Distrust::Engine).way_on();
        assert!(of_container.contains("--trust-root") && of_container.contains("trusted_roots"));
    }
}
