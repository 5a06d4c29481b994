//! The program: one binary that is every command. What it is called, or its first argument, says which.

use std::process::ExitCode;

fn main() -> ExitCode {
    patchadm::main(std::env::args_os())
}
