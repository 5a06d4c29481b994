//! Keys of the kernel: the session keyring, which a program inherits from its starter, and a filter that refuses calls about
//! keys and those that make user namespaces.
//!
//! A session keyring of its own is not enough where a user inside a namespace is the caller outside: the keyring of that user
//! belongs to both. Under the filter there are no keys at all. Whoever makes a user namespace has all capabilities in it, and may
//! mount in a namespace of mounts that belongs to it.

use std::io;

use keyutils_raw::{KEY_SPEC_SESSION_KEYRING, keyctl_get_keyring_id, keyctl_join_session_keyring};
use rustix::io::Errno;
use seccompiler::{BpfProgram, apply_filter, sock_filter};

/// Leaves the session keyring of the caller for a new, empty one. No key of the caller reaches programs that this process
/// starts afterwards; the keyrings of its thread and of itself do not outlive the start of a program.
///
/// Each process calls this before it gives rights away, and gives none away if it fails. Without keys in the kernel, or with
/// a filter that refuses every call about keys, there are none to be had either.
pub fn leave_session_keyring() -> io::Result<()> {
    let Err(error) = keyctl_join_session_keyring(None) else { return Ok(()) };
    match Errno::from_raw_os_error(error.0) {
        Errno::NOSYS => Ok(()),
        Errno::PERM if is_filtered() => Ok(()),
        errno => Err(io::Error::other(format!("cannot make a new session keyring: {errno}"))),
    }
}

/// Returns whether a filter refuses calls about keys: this one asks for nothing that needs a permission.
fn is_filtered() -> bool {
    keyctl_get_keyring_id(KEY_SPEC_SESSION_KEYRING, false)
        .is_err_and(|error| Errno::from_raw_os_error(error.0) == Errno::PERM)
}

/// `struct seccomp_data`: the number of the call, the architecture that numbers it, and the arguments of 64 bits.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Instructions of classic BPF (`linux/bpf_common.h`).
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// The verdicts of a filter (`linux/seccomp.h`): the error is `ENOSYS`, that of a kernel without such calls, or `EPERM`.
const ALLOW: u32 = 0x7fff_0000;
const UNKNOWN: u32 = 0x0005_0000 | 0x26;
const REFUSE: u32 = 0x0005_0000 | 0x01;

/// The bit of calls of x32, which are numbered as those of x86-64.
const NOT_X32: u32 = !0x4000_0000;

const NEW_USERS: u32 = 0x1000_0000;

/// The number of `clone3` on all architectures. Its flags lie in memory, which a filter cannot read. Programs that get `ENOSYS` fall
/// back to `clone`.
const CLONE3: u32 = 435;

struct Calls {
    /// The architecture (`linux/audit.h`).
    architecture: u32,
    /// Its `add_key`, behind which `request_key` and `keyctl` follow.
    add_key: u32,
    clone: u32,
    unshare: u32,
}

const CALLS: [Calls; 8] = [
    // x86-64, i386
    Calls { architecture: 0xc000_003e, add_key: 248, clone: 56, unshare: 272 },
    Calls { architecture: 0x4000_0003, add_key: 286, clone: 120, unshare: 310 },
    // aarch64, arm
    Calls { architecture: 0xc000_00b7, add_key: 217, clone: 220, unshare: 97 },
    Calls { architecture: 0x4000_0028, add_key: 309, clone: 120, unshare: 337 },
    // riscv64, loongarch64
    Calls { architecture: 0xc000_00f3, add_key: 217, clone: 220, unshare: 97 },
    Calls { architecture: 0xc000_0102, add_key: 217, clone: 220, unshare: 97 },
    // ppc64le, s390x
    Calls { architecture: 0xc000_0015, add_key: 269, clone: 120, unshare: 282 },
    Calls { architecture: S390X, add_key: 278, clone: 120, unshare: 303 },
];

/// Its `clone` has the flags as second argument, and the lower half of an argument comes last.
const S390X: u32 = 0x8000_0016;

/// Refuses calls about keys and new user namespaces to this process and all that it starts, which no program can undo. Set-id
/// bits have no effect any more.
pub(crate) fn refuse_keys_and_user_namespaces() -> io::Result<()> {
    apply_filter(&program()).map_err(|error| io::Error::other(error.to_string()))
}

fn program() -> BpfProgram {
    let step = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let jump = |code, k, jt, jf| sock_filter { code, jt, jf, k };
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    for Calls { architecture, add_key, clone, unshare } in CALLS {
        let (of_clone, of_unshare) = match architecture {
            S390X => (ARGUMENTS + 12, ARGUMENTS + 4),
            _ => (ARGUMENTS, ARGUMENTS),
        };
        program.extend([
            jump(JUMP_IF_EQUAL, architecture, 0, 14),
            step(LOAD, NUMBER),
            step(AND, NOT_X32),
            jump(JUMP_IF_EQUAL, CLONE3, 10, 0),
            jump(JUMP_IF_EQUAL, clone, 3, 0),
            jump(JUMP_IF_EQUAL, unshare, 4, 0),
            jump(JUMP_IF_AT_LEAST, add_key, 0, 6),
            jump(JUMP_IF_GREATER, add_key + 2, 5, 6),
            step(LOAD, of_clone),
            jump(JUMP_IF_SET, NEW_USERS, 2, 3),
            step(LOAD, of_unshare),
            jump(JUMP_IF_SET, NEW_USERS, 0, 1),
            step(RETURN, REFUSE),
            step(RETURN, ALLOW),
            step(RETURN, UNKNOWN),
        ]);
    }
    program.push(step(RETURN, ALLOW));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(architecture: u32, number: u32, arguments: [u32; 4]) -> u32 {
        let program = program();
        let (mut at, mut value) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let mut jump = |is_taken: bool| at += usize::from(if is_taken { jt } else { jf });
            match code {
                LOAD => {
                    value = match k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        _ => arguments[(k - ARGUMENTS) as usize / 4],
                    }
                }
                AND => value &= k,
                JUMP_IF_EQUAL => jump(value == k),
                JUMP_IF_GREATER => jump(value > k),
                JUMP_IF_AT_LEAST => jump(value >= k),
                JUMP_IF_SET => jump(value & k != 0),
                RETURN => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn calls(architecture: u32, arguments: [u32; 4], wanted: u32) -> Vec<u32> {
        (0..1000).filter(|number| verdict(architecture, *number, arguments) == wanted).collect()
    }

    #[test]
    fn calls_about_keys_and_what_a_filter_cannot_see_are_unknown_on_each_architecture() {
        for Calls { architecture, add_key, .. } in CALLS {
            for arguments in [[0; 4], [u32::MAX; 4]] {
                let unknown = calls(architecture, arguments, UNKNOWN);
                assert_eq!(unknown, [add_key, add_key + 1, add_key + 2, CLONE3], "{architecture:#x}");
            }
        }
        assert_eq!(verdict(CALLS[0].architecture, 0xfa | 0x4000_0000, [0; 4]), UNKNOWN, "x32");
        assert_eq!(verdict(0x1234, 250, [0; 4]), ALLOW);
    }

    #[test]
    fn only_clone_and_unshare_are_refused_and_only_with_a_user_namespace() {
        for Calls { architecture, clone, unshare, .. } in CALLS {
            let at = |argument: usize, flags: u32| {
                let mut arguments = [!NEW_USERS; 4];
                arguments[argument] = flags;
                arguments
            };
            let (of_clone, of_unshare) = if architecture == S390X { (3, 1) } else { (0, 0) };
            for (call, argument) in [(clone, of_clone), (unshare, of_unshare)] {
                let with = at(argument, NEW_USERS | 0x2_0011);
                assert!(calls(architecture, with, REFUSE).contains(&call), "{architecture:#x} {call}");
                let others = [clone, unshare];
                assert!(calls(architecture, with, REFUSE).iter().all(|call| others.contains(call)));
                assert_eq!(verdict(architecture, call, at(argument, !NEW_USERS)), ALLOW);
            }
        }
        assert_eq!(verdict(CALLS[0].architecture, 0x4000_0110, [NEW_USERS; 4]), REFUSE, "x32");
    }
}
