//! File capabilities: from the text of an rpm header (`cap_from_text(3)`) to the value of `security.capability`.

/// The capabilities by number, as capabilities(7) names them.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Version 2 of the value, and the flag that says that what is permitted is effective at once.
const VERSION: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 1;

/// The three sets of a file, a bit for each capability.
#[derive(Default)]
struct CapabilitySets {
    effective: u64,
    permitted: u64,
    inheritable: u64,
}

/// Translates a text such as `cap_net_raw=ep`; `None` if it says something that a file cannot have.
pub(super) fn attribute(text: &str) -> Option<Vec<u8>> {
    let mut sets = CapabilitySets::default();
    for clause in text.split_whitespace() {
        sets.apply(clause)?;
    }
    let given = sets.permitted | sets.inheritable;
    // The kernel has one flag for all of a file's capabilities.
    if sets.effective != 0 && sets.effective != given {
        return None;
    }
    let flag = if sets.effective == 0 { 0 } else { EFFECTIVE };
    let mut value = (VERSION | flag).to_le_bytes().to_vec();
    for shift in [0, 32] {
        for set in [sets.permitted, sets.inheritable] {
            value.extend((set >> shift & 0xffff_ffff).to_le_bytes().into_iter().take(4));
        }
    }
    Some(value)
}

impl CapabilitySets {
    /// Applies `NAME,NAME=ep` or `NAME+i-p`.
    fn apply(&mut self, clause: &str) -> Option<()> {
        let end = clause.find(['=', '+', '-'])?;
        let (names, mut actions) = clause.split_at_checked(end)?;
        let named = if names.is_empty() || names.eq_ignore_ascii_case("all") {
            (1 << NAMES.len()) - 1
        } else {
            names.split(',').try_fold(0, |bits, name| Some(bits | 1u64 << number(name)?))?
        };
        while let Some(operator) = actions.chars().next() {
            let rest = actions.get(1..)?;
            let end = rest.find(['=', '+', '-']).unwrap_or(rest.len());
            let (flags, behind) = rest.split_at_checked(end)?;
            if operator == '=' {
                self.each(|_, set| *set &= !named);
            }
            if !flags.chars().all(|flag| "eip".contains(flag)) {
                return None;
            }
            let is_wanted = |letter| flags.contains(letter);
            self.each(|letter, set| match operator {
                '-' if is_wanted(letter) => *set &= !named,
                '=' | '+' if is_wanted(letter) => *set |= named,
                _ => {}
            });
            actions = behind;
        }
        Some(())
    }

    fn each(&mut self, change: impl Fn(char, &mut u64)) {
        change('e', &mut self.effective);
        change('i', &mut self.inheritable);
        change('p', &mut self.permitted);
    }
}

fn number(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("cap_")?;
    NAMES.iter().position(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_becomes_the_value_that_setcap_would_set() {
        let raw = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for text in ["cap_net_raw=ep", "= cap_net_raw+ep", "CAP_NET_RAW+pe", "cap_net_raw=eip cap_net_raw-i"]
        {
            assert_eq!(attribute(text).as_deref(), Some(&raw[..]), "{text}");
        }
        let two = attribute("cap_chown,cap_checkpoint_restore+i").unwrap();
        assert_eq!(two, [0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn what_no_file_can_have_is_refused() {
        for text in ["cap_nothing=ep", "cap_chown", "cap_chown=x", "cap_chown=ep cap_kill=p", "chown=ep"] {
            assert_eq!(attribute(text), None, "{text}");
        }
    }
}
