use super::{Result, Root};
use patchadm_svr4::package::{Accounts, ObjectPath};

const LIMIT: u64 = 64 << 20;

/// Reads `etc/passwd` and `etc/group` of the root, or those of `host` (the running system) if it has neither. `root` is
/// always 0. The name service of the host is never asked: it knows nothing about other roots.
pub fn accounts_of(root: &Root, host: &Root) -> Result<Accounts> {
    let own = read(root)?;
    let accounts = match own {
        Some(accounts) => accounts,
        None => read(host)?.unwrap_or_default(),
    };
    Ok(accounts.or(&Accounts::default()))
}

fn read(root: &Root) -> Result<Option<Accounts>> {
    let file = |name: &[u8]| ObjectPath::root().join(name).ok();
    let (Some(passwd), Some(group)) = (file(b"etc/passwd"), file(b"etc/group")) else { return Ok(None) };
    let (passwd, group) = (root.read(&passwd, LIMIT)?, root.read(&group, LIMIT)?);
    if passwd.is_none() && group.is_none() {
        return Ok(None);
    }
    Ok(Some(Accounts::parse(&passwd.unwrap_or_default(), &group.unwrap_or_default())))
}
