//! Kernel keys: the session keyring, and a seccomp filter. A new session keyring is not enough if a user inside a
//! namespace is the caller outside, because both share the user keyring. The filter refuses keys, user namespaces,
//! sockets outside network namespaces, open files and memory that `/proc` does not show for each process, limits of another
//! process, and asynchronous requests, which the kernel counts for the whole machine.

use std::io;

use keyutils_raw::{KEY_SPEC_SESSION_KEYRING, keyctl_get_keyring_id, keyctl_join_session_keyring};
use rustix::io::Errno;
use seccompiler::{BpfProgram, apply_filter, sock_filter};

/// Joins a new, empty session keyring, so that programs started later get no key of the caller. Thread and process
/// keyrings do not survive exec.
///
/// Call this before giving rights away, and stop if it fails. It succeeds without keys in the kernel, or if a filter
/// refuses all calls about keys.
pub fn leave_session_keyring() -> io::Result<()> {
    let Err(error) = keyctl_join_session_keyring(None) else { return Ok(()) };
    match Errno::from_raw_os_error(error.0) {
        Errno::NOSYS => Ok(()),
        Errno::PERM if is_filtered() => Ok(()),
        errno => Err(io::Error::other(format!("cannot make a new session keyring: {errno}"))),
    }
}

/// A request that needs no permission tells whether a filter refuses calls about keys.
fn is_filtered() -> bool {
    keyctl_get_keyring_id(KEY_SPEC_SESSION_KEYRING, false)
        .is_err_and(|error| Errno::from_raw_os_error(error.0) == Errno::PERM)
}

/// `struct seccomp_data`: call number, architecture, and arguments of 64 bits.
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

/// Verdicts (`linux/seccomp.h`): allow, and the errors `ENOSYS` (as a kernel without these calls), `EPERM` and
/// `EAFNOSUPPORT`.
const ALLOW: u32 = 0x7fff_0000;
const UNKNOWN: u32 = 0x0005_0000 | 0x26;
const REFUSE: u32 = 0x0005_0000 | 0x01;
const UNSUPPORTED: u32 = 0x0005_0000 | 0x61;

/// Marks x32 calls, which are numbered as those of x86-64.
const NOT_X32: u32 = !0x4000_0000;

const NEW_USERS: u32 = 0x1000_0000;

/// Flags of `clone` for a thread and for shared open files; the second one unshares them in `unshare`. Threads must
/// share them: whoever counts a process's open files looks at one thread.
const THREAD: u32 = 0x1_0000;
const FILES: u32 = 0x400;

/// `clone3` on all architectures. Its flags lie in memory, which a filter cannot read. After `ENOSYS`, programs fall
/// back to `clone`.
const CLONE3: u32 = 435;

/// `close_range` on all architectures, and its flag that unshares open files.
const CLOSE_RANGE: u32 = 436;
const UNSHARE_FIRST: u32 = 2;

/// `io_uring_setup` on all architectures; `io_uring_enter` and `io_uring_register` follow it. A ring makes sockets
/// without a call that a filter sees, and keeps files that no process has open.
const IO_URING_SETUP: u32 = 425;

/// `landlock_create_ruleset` on all architectures; `landlock_add_rule`, `landlock_restrict_self` and `memfd_secret` follow
/// it. Rules and secret memory are memory of no process in `/proc`, and stay as long as their file is open.
const LANDLOCK: u32 = 444;
const MEMFD_SECRET: u32 = 447;

/// `io_setup` of x32; elsewhere, no call has this number.
const IO_SETUP_OF_X32: u32 = 543;

/// Allowed address families (`linux/socket.h`). Network namespaces do not confine others, such as `AF_VSOCK`.
const UNIX: u32 = 1;
const FAMILIES: [u32; 3] = [2, 10, 16];

/// `socket`, `socketpair` and `setsockopt` of `socketcall`, whose other arguments lie in memory.
const SOCKET_OF_SOCKETCALL: u32 = 1;
const PAIR_OF_SOCKETCALL: u32 = 8;
const SETSOCKOPT_OF_SOCKETCALL: u32 = 14;

/// `setsockopt` of x32; elsewhere, no call has this number.
const SETSOCKOPT_OF_X32: u32 = 541;

/// `SOL_SOCKET`, `SO_ATTACH_FILTER` and `SO_ATTACH_REUSEPORT_CBPF`.
const OF_SOCKETS: u32 = 1;
const ATTACH_FILTER: u32 = 26;
const ATTACH_REUSEPORT_FILTER: u32 = 51;

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
const NEW_LISTENER: u32 = 8;

/// `PR_FUTEX_HASH`: it makes a table of any size, which is memory of no process in `/proc`.
const FUTEX_HASH: u32 = 78;

/// Stands for the caller itself in `prlimit64`.
const CALLER: u32 = 0;

/// No call has this number.
const NONE: u32 = u32::MAX;

struct Calls {
    /// See `linux/audit.h`.
    architecture: u32,
    /// `request_key` and `keyctl` follow it.
    add_key: u32,
    clone: u32,
    unshare: u32,
    /// `socket` and `socketpair`.
    sockets: [u32; 2],
    /// `socketcall`, if programs can do without it.
    socketcall: u32,
    /// Its requests count towards the `fs.aio-max-nr` of the machine. After `ENOSYS`, programs read and write otherwise.
    io_setup: u32,
    /// `prlimit64`. A limit on processor time or memory kills even the first process of a namespace, which is protected
    /// from signals. Scheduling calls for another process only slow it down; threads name themselves there.
    prlimit: u32,
    /// A listener keeps a filter, which is memory of no process, as long as its file is open.
    seccomp: u32,
    /// Its maps and programs are memory of no process.
    bpf: u32,
    /// Filters of sockets share `bpf_jit_limit` of the machine with filters of seccomp: without room, other users cannot
    /// set those.
    setsockopt: u32,
    prctl: u32,
}

const CALLS: [Calls; 8] = [
    // x86-64, i386
    calls(0xc000_003e, 248, [56, 272], [41, 53], NONE, [206, 302, 317, 321, 54, 157]),
    calls(0x4000_0003, 286, [120, 310], [359, 360], SOCKETCALL_OF_I386, [245, 340, 354, 357, 366, 172]),
    // aarch64, arm
    calls(0xc000_00b7, 217, [220, 97], [198, 199], NONE, [0, 261, 277, 280, 208, 167]),
    calls(0x4000_0028, 309, [120, 337], [281, 288], NONE, [243, 369, 383, 386, 294, 172]),
    // riscv64, loongarch64
    calls(0xc000_00f3, 217, [220, 97], [198, 199], NONE, [0, 261, 277, 280, 208, 167]),
    calls(0xc000_0102, 217, [220, 97], [198, 199], NONE, [0, 261, 277, 280, 208, 167]),
    // ppc64le, s390x
    calls(0xc000_0015, 269, [120, 282], [326, 333], 102, [227, 325, 358, 361, 339, 171]),
    // Its C library makes all sockets by socketcall.
    calls(S390X, 278, [120, 303], [359, 360], NONE, [243, 334, 348, 351, 366, 172]),
];

/// C libraries of i386 machines make all sockets by socketcall. Elsewhere, old 32-bit programs get no sockets.
const SOCKETCALL_OF_I386: u32 = if cfg!(target_arch = "x86") { NONE } else { 102 };

const fn calls(
    architecture: u32,
    add_key: u32,
    [clone, unshare]: [u32; 2],
    sockets: [u32; 2],
    socketcall: u32,
    [io_setup, prlimit, seccomp, bpf, setsockopt, prctl]: [u32; 6],
) -> Calls {
    Calls {
        architecture,
        add_key,
        clone,
        unshare,
        sockets,
        socketcall,
        io_setup,
        prlimit,
        seccomp,
        bpf,
        setsockopt,
        prctl,
    }
}

/// Its `clone` takes flags second, and the lower half of an argument comes last (big endian).
const S390X: u32 = 0x8000_0016;

/// Refuses keys, user namespaces, rings, asynchronous requests, open files of single threads, other socket families, limits
/// of another process, filters of sockets, and memory that counts for no process. The filter holds for this process and its
/// children and cannot be removed. Set-id bits lose their effect.
pub(crate) fn refuse_keys_and_user_namespaces() -> io::Result<()> {
    apply_filter(&program()).map_err(|error| io::Error::other(error.to_string()))
}

/// Positions within a block; jumps are relative to their own position.
const FLAGS_OF_CLONE: u8 = 24;
const FLAGS_OF_UNSHARE: u8 = 28;
const FLAGS_OF_CLOSE_RANGE: u8 = 30;
const FAMILY_OF_SOCKET: u8 = 32;
const FAMILY_OF_PAIR: u8 = 37;
const CALL_OF_SOCKETCALL: u8 = 39;
const PROCESS_OF_PRLIMIT: u8 = 43;
const FLAGS_OF_SECCOMP: u8 = 45;
const LEVEL_OF_OPTION: u8 = 47;
const OPTION_OF_PRCTL: u8 = 52;
const REFUSED: u8 = 54;
const NO_FAMILY: u8 = 55;
const ALLOWED: u8 = 56;
const NO_CALL: u8 = 57;
const END: u8 = 58;

fn program() -> BpfProgram {
    let step = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let jump = |code, k, here: u8, [yes, no]: [u8; 2]| sock_filter {
        code,
        jt: yes.saturating_sub(here + 1),
        jf: no.saturating_sub(here + 1),
        k,
    };
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    let [inet, inet6, netlink] = FAMILIES;
    for calls in CALLS {
        let Calls { architecture, add_key, clone, unshare, socketcall, io_setup, prlimit, .. } = calls;
        let Calls { seccomp, bpf, setsockopt, prctl, .. } = calls;
        let [socket, pair] = calls.sockets;
        let (of_clone, [first, second, third]) = match architecture {
            S390X => (ARGUMENTS + 12, [ARGUMENTS + 4, ARGUMENTS + 12, ARGUMENTS + 20]),
            _ => (ARGUMENTS, [ARGUMENTS, ARGUMENTS + 8, ARGUMENTS + 16]),
        };
        program.extend([
            jump(JUMP_IF_EQUAL, architecture, 0, [1, END]),
            step(LOAD, NUMBER),
            step(AND, NOT_X32),
            jump(JUMP_IF_EQUAL, CLONE3, 3, [NO_CALL, 4]),
            jump(JUMP_IF_EQUAL, CLOSE_RANGE, 4, [FLAGS_OF_CLOSE_RANGE, 5]),
            jump(JUMP_IF_AT_LEAST, IO_URING_SETUP, 5, [6, 7]),
            jump(JUMP_IF_GREATER, IO_URING_SETUP + 2, 6, [7, NO_CALL]),
            jump(JUMP_IF_AT_LEAST, LANDLOCK, 7, [8, 9]),
            jump(JUMP_IF_GREATER, MEMFD_SECRET, 8, [9, NO_CALL]),
            jump(JUMP_IF_EQUAL, io_setup, 9, [NO_CALL, 10]),
            jump(JUMP_IF_EQUAL, IO_SETUP_OF_X32, 10, [NO_CALL, 11]),
            jump(JUMP_IF_EQUAL, prlimit, 11, [PROCESS_OF_PRLIMIT, 12]),
            jump(JUMP_IF_EQUAL, seccomp, 12, [FLAGS_OF_SECCOMP, 13]),
            jump(JUMP_IF_EQUAL, bpf, 13, [NO_CALL, 14]),
            jump(JUMP_IF_EQUAL, setsockopt, 14, [LEVEL_OF_OPTION, 15]),
            jump(JUMP_IF_EQUAL, SETSOCKOPT_OF_X32, 15, [LEVEL_OF_OPTION, 16]),
            jump(JUMP_IF_EQUAL, prctl, 16, [OPTION_OF_PRCTL, 17]),
            jump(JUMP_IF_EQUAL, clone, 17, [FLAGS_OF_CLONE, 18]),
            jump(JUMP_IF_EQUAL, unshare, 18, [FLAGS_OF_UNSHARE, 19]),
            jump(JUMP_IF_EQUAL, socket, 19, [FAMILY_OF_SOCKET, 20]),
            jump(JUMP_IF_EQUAL, pair, 20, [FAMILY_OF_PAIR, 21]),
            jump(JUMP_IF_EQUAL, socketcall, 21, [CALL_OF_SOCKETCALL, 22]),
            jump(JUMP_IF_AT_LEAST, add_key, 22, [23, ALLOWED]),
            jump(JUMP_IF_GREATER, add_key + 2, 23, [ALLOWED, NO_CALL]),
            step(LOAD, of_clone),
            jump(JUMP_IF_SET, NEW_USERS, 25, [REFUSED, 26]),
            jump(JUMP_IF_SET, THREAD, 26, [27, ALLOWED]),
            jump(JUMP_IF_SET, FILES, 27, [ALLOWED, REFUSED]),
            step(LOAD, first),
            jump(JUMP_IF_SET, NEW_USERS | FILES, 29, [REFUSED, ALLOWED]),
            step(LOAD, third),
            jump(JUMP_IF_SET, UNSHARE_FIRST, 31, [NO_CALL, ALLOWED]),
            step(LOAD, first),
            jump(JUMP_IF_EQUAL, inet, 33, [ALLOWED, 34]),
            jump(JUMP_IF_EQUAL, inet6, 34, [ALLOWED, 35]),
            jump(JUMP_IF_EQUAL, netlink, 35, [ALLOWED, 36]),
            jump(JUMP_IF_EQUAL, UNIX, 36, [ALLOWED, NO_FAMILY]),
            step(LOAD, first),
            jump(JUMP_IF_EQUAL, UNIX, 38, [ALLOWED, NO_FAMILY]),
            step(LOAD, first),
            jump(JUMP_IF_EQUAL, SOCKET_OF_SOCKETCALL, 40, [NO_FAMILY, 41]),
            jump(JUMP_IF_EQUAL, PAIR_OF_SOCKETCALL, 41, [NO_FAMILY, 42]),
            jump(JUMP_IF_EQUAL, SETSOCKOPT_OF_SOCKETCALL, 42, [REFUSED, ALLOWED]),
            step(LOAD, first),
            jump(JUMP_IF_EQUAL, CALLER, 44, [ALLOWED, REFUSED]),
            step(LOAD, second),
            jump(JUMP_IF_SET, NEW_LISTENER, 46, [NO_CALL, ALLOWED]),
            step(LOAD, second),
            jump(JUMP_IF_EQUAL, OF_SOCKETS, 48, [49, ALLOWED]),
            step(LOAD, third),
            jump(JUMP_IF_EQUAL, ATTACH_FILTER, 50, [REFUSED, 51]),
            jump(JUMP_IF_EQUAL, ATTACH_REUSEPORT_FILTER, 51, [REFUSED, ALLOWED]),
            step(LOAD, first),
            jump(JUMP_IF_EQUAL, FUTEX_HASH, 53, [REFUSED, ALLOWED]),
            step(RETURN, REFUSE),
            step(RETURN, UNSUPPORTED),
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

    fn verdict(architecture: u32, number: u32, arguments: [u32; 6]) -> u32 {
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

    fn calls_with(architecture: u32, arguments: [u32; 6], wanted: u32) -> Vec<u32> {
        (0..1000).filter(|number| verdict(architecture, *number, arguments) == wanted).collect()
    }

    #[test]
    fn calls_about_keys_and_what_a_filter_cannot_see_are_unknown_on_each_architecture() {
        for Calls { architecture, add_key, io_setup, seccomp, bpf, .. } in CALLS {
            for (argument, has_flags) in [(0, false), (u32::MAX, true)] {
                let mut expected = vec![io_setup, add_key, add_key + 1, add_key + 2];
                expected.extend(has_flags.then_some(seccomp));
                expected.push(bpf);
                expected.extend([425, 426, 427, CLONE3]);
                expected.extend(has_flags.then_some(CLOSE_RANGE));
                expected.extend([LANDLOCK, 445, 446, MEMFD_SECRET, IO_SETUP_OF_X32]);
                let unknown = calls_with(architecture, [argument; 6], UNKNOWN);
                assert_eq!(unknown, expected, "{architecture:#x}");
            }
        }
        assert_eq!(verdict(CALLS[0].architecture, 0xfa | 0x4000_0000, [0; 6]), UNKNOWN, "x32");
        assert_eq!(verdict(0x1234, 250, [0; 6]), ALLOW);
    }

    #[test]
    fn clone_and_unshare_are_refused_only_with_a_user_namespace() {
        const OTHERS: u32 = !(NEW_USERS | THREAD | FILES);
        for Calls { architecture, clone, unshare, prlimit, .. } in CALLS {
            let at = |argument: usize, flags: u32| {
                let mut arguments = [OTHERS; 6];
                arguments[argument] = flags;
                arguments
            };
            let (of_clone, of_unshare) = if architecture == S390X { (3, 1) } else { (0, 0) };
            for (call, argument) in [(clone, of_clone), (unshare, of_unshare)] {
                let with = at(argument, NEW_USERS | 0x2_0011);
                assert!(calls_with(architecture, with, REFUSE).contains(&call), "{architecture:#x} {call}");
                let others = [clone, unshare, prlimit];
                assert!(calls_with(architecture, with, REFUSE).iter().all(|call| others.contains(call)));
                assert_eq!(verdict(architecture, call, at(argument, OTHERS)), ALLOW);
            }
        }
        assert_eq!(verdict(CALLS[0].architecture, 0x4000_0110, [NEW_USERS; 6]), REFUSE, "x32");
    }

    #[test]
    fn a_process_limits_itself_and_no_other_one() {
        for Calls { architecture, prlimit, .. } in CALLS {
            let of = |process: u32| {
                let mut arguments = [7; 6];
                arguments[usize::from(architecture == S390X)] = process;
                verdict(architecture, prlimit, arguments)
            };
            assert_eq!([0, 1, 4711, u32::MAX].map(of), [ALLOW, REFUSE, REFUSE, REFUSE], "{architecture:#x}");
        }
        assert_eq!(verdict(CALLS[0].architecture, 0x4000_012e, [1; 6]), REFUSE, "x32");
    }

    #[test]
    fn a_filter_of_a_process_has_no_listener() {
        for Calls { architecture, seccomp, .. } in CALLS {
            let of = |flags: u32| {
                let mut arguments = [0; 6];
                arguments[if architecture == S390X { 3 } else { 2 }] = flags;
                verdict(architecture, seccomp, arguments)
            };
            assert_eq!([0, 1, 2, 4].map(of), [ALLOW; 4], "{architecture:#x}");
            assert_eq!([NEW_LISTENER, NEW_LISTENER | 1].map(of), [UNKNOWN; 2], "{architecture:#x}");
        }
    }

    #[test]
    fn a_socket_has_no_filter_and_all_other_options() {
        for Calls { architecture, setsockopt, socketcall, .. } in CALLS {
            let of = |level: u32, option: u32| {
                let mut arguments = [0; 6];
                let at = if architecture == S390X { [3, 5] } else { [2, 4] };
                (arguments[at[0]], arguments[at[1]]) = (level, option);
                [setsockopt, SETSOCKOPT_OF_X32].map(|call| verdict(architecture, call, arguments))
            };
            for filter in [26, 51] {
                assert_eq!(of(1, filter), [REFUSE; 2], "{architecture:#x}");
                assert_eq!(of(41, filter), [ALLOW; 2], "{architecture:#x}: an option of IPv6");
            }
            assert_eq!([of(1, 2), of(1, 27), of(0, 0)], [[ALLOW; 2]; 3], "{architecture:#x}");
            if socketcall != NONE {
                assert_eq!(verdict(architecture, socketcall, [14; 6]), REFUSE, "{architecture:#x}");
            }
        }
    }

    #[test]
    fn a_process_sets_no_size_of_its_table_of_futexes() {
        for Calls { architecture, prctl, .. } in CALLS {
            let of = |option: u32| {
                let mut arguments = [0; 6];
                arguments[usize::from(architecture == S390X)] = option;
                verdict(architecture, prctl, arguments)
            };
            assert_eq!(
                [1, 15, 22, 38, 78].map(of),
                [ALLOW, ALLOW, ALLOW, ALLOW, REFUSE],
                "{architecture:#x}"
            );
        }
        assert_eq!(verdict(CALLS[0].architecture, 0x4000_009d, [78; 6]), REFUSE, "x32");
    }

    #[test]
    fn no_thread_has_open_files_of_its_own() {
        const PARTS_OF_THREAD: u32 = 0x900;
        const OF_VFORK: u32 = 0x4100;
        const CLOSE_ON_EXEC: u32 = 4;
        for Calls { architecture, clone, unshare, .. } in CALLS {
            let of = |call, argument: usize, flags| {
                let mut arguments = [0; 6];
                arguments[argument] = flags;
                verdict(architecture, call, arguments)
            };
            let [of_clone, of_unshare, of_close_range] =
                if architecture == S390X { [3, 1, 5] } else { [0, 0, 4] };
            assert_eq!(of(unshare, of_unshare, FILES), REFUSE, "{architecture:#x}");
            assert_eq!(of(clone, of_clone, THREAD | PARTS_OF_THREAD), REFUSE, "{architecture:#x}");
            for flags in [THREAD | PARTS_OF_THREAD | FILES, OF_VFORK, FILES] {
                assert_eq!(of(clone, of_clone, flags), ALLOW, "{architecture:#x} {flags:#x}");
            }
            let closes = [0, CLOSE_ON_EXEC, UNSHARE_FIRST, UNSHARE_FIRST | CLOSE_ON_EXEC];
            let verdicts = closes.map(|flags| of(CLOSE_RANGE, of_close_range, flags));
            assert_eq!(verdicts, [ALLOW, ALLOW, UNKNOWN, UNKNOWN], "{architecture:#x}");
        }
    }

    #[test]
    fn sockets_of_other_families_are_unsupported_on_each_architecture() {
        for Calls { architecture, sockets, socketcall, .. } in CALLS {
            let of = |first: u32| {
                let mut arguments = [0; 6];
                arguments[usize::from(architecture == S390X)] = first;
                arguments
            };
            for family in 0..64 {
                let allowed = [[1, 2, 10, 16].contains(&family), family == 1];
                for (call, is_allowed) in sockets.into_iter().zip(allowed) {
                    let verdict = verdict(architecture, call, of(family));
                    let expected = if is_allowed { ALLOW } else { UNSUPPORTED };
                    assert_eq!(verdict, expected, "{architecture:#x} {call} {family}");
                }
            }
            if socketcall != NONE {
                for call in [SOCKET_OF_SOCKETCALL, PAIR_OF_SOCKETCALL] {
                    assert_eq!(verdict(architecture, socketcall, of(call)), UNSUPPORTED, "{call}");
                }
                assert_eq!(verdict(architecture, socketcall, of(3)), ALLOW, "connect");
            }
            let unsupported = calls_with(architecture, of(40), UNSUPPORTED);
            assert_eq!(unsupported, sockets, "{architecture:#x}");
        }
        assert_eq!(verdict(CALLS[0].architecture, 0x4000_0029, [40; 6]), UNSUPPORTED, "x32");
    }
}
