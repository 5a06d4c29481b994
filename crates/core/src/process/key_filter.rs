//! A filter of the kernel that refuses calls about keys.
//!
//! A session keyring of its own ([`leave_session_keyring`](super::leave_session_keyring)) is not enough where a user inside a
//! namespace is the caller outside: the keyring of that user belongs to both. Under the filter there are no keys at all.

use std::io;

use seccompiler::{BpfProgram, apply_filter, sock_filter};

/// `struct seccomp_data`: the number of the call, and the architecture that numbers it.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// Instructions of classic BPF (`linux/bpf_common.h`).
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// The verdicts of a filter (`linux/seccomp.h`); the error is `ENOSYS`, that of a kernel without keys.
const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0000 | 0x26;

/// The bit of calls of x32, which are numbered as those of x86-64.
const NOT_X32: u32 = !0x4000_0000;

/// Each architecture (`linux/audit.h`) with the number of its `add_key`, behind which `request_key` and `keyctl` follow. A
/// kernel runs programs of more than one of them.
const CALLS: [(u32, u32); 8] = [
    (0xc000_003e, 248), // x86-64
    (0x4000_0003, 286), // i386
    (0xc000_00b7, 217), // aarch64
    (0x4000_0028, 309), // arm
    (0xc000_00f3, 217), // riscv64
    (0xc000_0102, 217), // loongarch64
    (0xc000_0015, 269), // ppc64le
    (0x8000_0016, 278), // s390x
];

/// Refuses calls about keys to this process and all that it starts, which no program can undo. Set-id bits have no effect any
/// more.
pub(crate) fn refuse_calls_about_keys() -> io::Result<()> {
    apply_filter(&program()).map_err(|error| io::Error::other(error.to_string()))
}

fn program() -> BpfProgram {
    let step = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let jump = |code, k, jt, jf| sock_filter { code, jt, jf, k };
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    for (architecture, first) in CALLS {
        program.extend([
            jump(JUMP_IF_EQUAL, architecture, 0, 6),
            step(LOAD, NUMBER),
            step(AND, NOT_X32),
            jump(JUMP_IF_AT_LEAST, first, 0, 2),
            jump(JUMP_IF_GREATER, first + 2, 1, 0),
            step(RETURN, REFUSE),
            step(RETURN, ALLOW),
        ]);
    }
    program.push(step(RETURN, ALLOW));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the kernel does.
    fn verdict(program: &[sock_filter], architecture: u32, number: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let mut jump = |is_taken: bool| at += usize::from(if is_taken { jt } else { jf });
            match code {
                LOAD => value = if k == NUMBER { number } else { architecture },
                AND => value &= k,
                JUMP_IF_EQUAL => jump(value == k),
                JUMP_IF_GREATER => jump(value > k),
                JUMP_IF_AT_LEAST => jump(value >= k),
                RETURN => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn three_calls_of_each_architecture_are_refused_and_no_other() {
        let program = program();
        for (architecture, first) in CALLS {
            let refused: Vec<u32> =
                (0..1000).filter(|number| verdict(&program, architecture, *number) == REFUSE).collect();
            assert_eq!(refused, [first, first + 1, first + 2], "{architecture:#x}");
        }
        assert_eq!(verdict(&program, CALLS[0].0, 0xfa | 0x4000_0000), REFUSE, "x32");
        assert_eq!(verdict(&program, 0x1234, 250), ALLOW);
    }
}
