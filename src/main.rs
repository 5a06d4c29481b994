//! One binary for every command. Its name, or its first argument, selects the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    patchadm::applets::main(std::env::args_os())
}
