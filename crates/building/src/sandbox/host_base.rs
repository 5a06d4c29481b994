//! The lowest layer where the base is the host: empty but for the accounts, and for the places over which parts of the host
//! are mounted.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use patchadm_rootfs::{Dir, FileType, RootError};
use patchadm_svr4::package::Mode;

/// The parts of the host that a build sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostBase {
    /// The directories and files that are mounted at their own paths, read-only.
    pub mounted: Vec<PathBuf>,
}

/// Lays out an empty directory as the lowest layer: symbolic links of the host are made again, for directories and files
/// there are places, and `build` has these ids. Paths that the host lacks are left out.
pub fn lay_out_host_base(
    layer: &Dir,
    host_paths: &[PathBuf],
    (uid, gid): (u32, u32),
    host: &HostAccounts,
) -> Result<HostBase, RootError> {
    let mut base = HostBase::default();
    for path in host_paths {
        let Some(name) = path.strip_prefix("/").ok().filter(|name| !name.as_os_str().is_empty()) else {
            continue;
        };
        if lay_out_place(layer, path, name)? {
            base.mounted.push(path.clone());
        }
    }
    let etc = existing_or_made(layer, b"etc")?;
    let (passwd, group) = accounts((uid, gid), host);
    for (name, text) in [(&b"passwd"[..], passwd), (b"group", group)] {
        let mut file = etc.create(name)?;
        file.put(text.as_bytes())?;
        file.set_mode(Mode::of(0o644))?;
        // The layer serves all later runs: a power cut must not leave it without them.
        file.sync()?;
    }
    Ok(base)
}

/// Makes the place for one path of the host; tells whether something must be mounted there.
fn lay_out_place(layer: &Dir, path: &Path, name: &Path) -> Result<bool, RootError> {
    let host = Dir::of_host(Path::new("/"))?;
    let (mut here, mut there) = (layer.again()?, host);
    let mut parts = name.iter().map(OsStr::as_encoded_bytes).peekable();
    while let Some(part) = parts.next() {
        let Some(seen) = there.look(part)? else { return Ok(false) };
        let is_last = parts.peek().is_none();
        match seen.file_type {
            FileType::Symlink if here.look(part)?.is_none() => {
                here.make_symlink(part, &there.read_link(part)?)?;
                return Ok(false);
            }
            FileType::Directory => {
                here = existing_or_made(&here, part)?;
                there = there.dir(part)?;
            }
            FileType::Regular if is_last => {
                if here.look(part)?.is_none() {
                    here.create(part)?;
                }
            }
            // What is behind a link is seen where the link leads.
            _ => return Ok(false),
        }
    }
    Ok(path.is_absolute())
}

fn existing_or_made(dir: &Dir, name: &[u8]) -> Result<Dir, RootError> {
    match dir.look(name)? {
        Some(_) => dir.dir(name),
        None => dir.make_dir(name, Mode::of(0o755)),
    }
}

/// The ids below which accounts belong to the system, and not to people.
const FIRST_OF_PEOPLE: u32 = 1000;

/// The accounts of the system of the host: packages may name them as owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAccounts {
    /// Users, each with the ids of itself and its group.
    pub users: Vec<(String, u32, u32)>,
    /// Groups.
    pub groups: Vec<(String, u32)>,
}

impl HostAccounts {
    /// Reads the accounts from the texts of `passwd` and `group`. What is no line of one, and what belongs to people, is left
    /// out.
    pub fn of(passwd: &str, group: &str) -> Self {
        let id = |text: Option<&str>| text?.parse::<u32>().ok().filter(|id| *id < FIRST_OF_PEOPLE);
        let named = |fields: &[&str]| {
            let name = fields.first().filter(|name| !name.is_empty() && !name.starts_with(['+', '-']))?;
            name.bytes().all(|byte| byte.is_ascii_graphic()).then(|| (*name).to_owned())
        };
        let users = passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((named(&fields)?, id(fields.get(2).copied())?, id(fields.get(3).copied())?))
        });
        let groups = group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some((named(&fields)?, id(fields.get(2).copied())?))
        });
        Self { users: users.collect(), groups: groups.collect() }
    }

    /// Reads the accounts of this machine.
    pub(crate) fn of_this_machine() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self::of(&text("/etc/passwd"), &text("/etc/group"))
    }
}

/// Returns `passwd` and `group`: the accounts of the sandbox, and those of the system of the host with other names and ids.
fn accounts((uid, gid): (u32, u32), host: &HostAccounts) -> (String, String) {
    let is_other = |name: &str, id: u32, own: u32| {
        !["root", "build", "nobody", "nogroup"].contains(&name) && id != 0 && id != own
    };
    let users = host.users.iter().filter(|(name, id, _)| is_other(name, *id, uid));
    let users =
        users.map(|(name, id, group)| format!("{name}:x:{id}:{group}::/nonexistent:/usr/sbin/nologin\n"));
    let groups = host.groups.iter().filter(|(name, id)| is_other(name, *id, gid));
    let groups = groups.map(|(name, id)| format!("{name}:x:{id}:\n"));
    let (users, groups) = (users.collect::<String>(), groups.collect::<String>());
    let user = (uid != 0).then(|| format!("build:x:{uid}:{gid}:build:/work:/bin/sh\n"));
    let its_group = (gid != 0).then(|| format!("build:x:{gid}:\n"));
    let passwd = [
        "root:x:0:0:root:/root:/bin/sh\n",
        user.as_deref().unwrap_or_default(),
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        &users,
    ];
    let group = ["root:x:0:\n", its_group.as_deref().unwrap_or_default(), "nogroup:x:65534:\n", &groups];
    (passwd.concat(), group.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_has_places_and_links_as_the_host_and_accounts_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["/usr", "/bin", "/nowhere", "/etc/ld.so.cache"].map(PathBuf::from);
        let host = HostAccounts::of(
            "root:x:0:0::/:/bin/sh\nmail:x:8:8:mail:/var/mail:/bin/sh\nann:x:1000:1000::/:/bin/sh\n+::::::\n",
            "root:x:0:\nmail:x:8:ann\nusers:x:100:\nann:x:1000:\nbad\n",
        );
        let base = lay_out_host_base(&Dir::of_host(dir.path()).unwrap(), &paths, (1000, 100), &host).unwrap();
        assert!(base.mounted.contains(&PathBuf::from("/usr")) && dir.path().join("usr").is_dir());
        assert!(!base.mounted.contains(&PathBuf::from("/nowhere")));
        let is_link = Path::new("/bin").is_symlink();
        assert_eq!(dir.path().join("bin").is_symlink(), is_link);
        assert_eq!(base.mounted.contains(&PathBuf::from("/bin")), !is_link);
        let passwd = std::fs::read_to_string(dir.path().join("etc/passwd")).unwrap();
        assert_eq!(passwd.lines().nth(1), Some("build:x:1000:100:build:/work:/bin/sh"));
        // What packages may name as owners is that of the host; its people are not there.
        assert_eq!(
            passwd.lines().skip(3).collect::<Vec<_>>(),
            ["mail:x:8:8::/nonexistent:/usr/sbin/nologin"]
        );
        let group = std::fs::read_to_string(dir.path().join("etc/group")).unwrap();
        assert_eq!(group, "root:x:0:\nbuild:x:100:\nnogroup:x:65534:\nmail:x:8:\n");
    }
}
