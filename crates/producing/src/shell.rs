//! Syntax checks of scripts by the shell of this machine.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Checks a script's syntax with the shell of this machine, without running it. Accepts scripts for other interpreters,
/// and all without a shell.
pub fn read_by_shell(text: &[u8]) -> Result<(), String> {
    if !is_for_shell(text) {
        return Ok(());
    }
    let shell = Command::new("/bin/sh")
        .arg("-n")
        .env_clear()
        .current_dir(Path::new("/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut shell) = shell else { return Ok(()) };
    if let Some(mut input) = shell.stdin.take() {
        // A shell that stops reading says why.
        let _ = input.write_all(text);
    }
    let Ok(output) = shell.wait_with_output() else { return Ok(()) };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().next().unwrap_or("a shell cannot read it");
    Err(reason.strip_prefix("/bin/sh: ").unwrap_or(reason).to_owned())
}

fn is_for_shell(text: &[u8]) -> bool {
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let Some(interpreter) = first.strip_prefix(b"#!") else { return true };
    let program = interpreter.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default();
    program.ends_with(b"sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_tells_what_it_cannot_read_and_runs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("ran");
        assert_eq!(read_by_shell(format!("touch {}\n", mark.display()).as_bytes()), Ok(()));
        assert!(!mark.exists());
        assert!(read_by_shell(b"if true; then\n").is_err());
        assert_eq!(read_by_shell(b"#!/usr/bin/perl\nif (\n"), Ok(()));
    }
}
