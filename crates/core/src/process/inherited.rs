//! Descriptors that a process was started with.

use std::io;

/// Closes the descriptors inherited from processes above the program, except the three standard ones. For a process that was
/// just started and has opened nothing yet.
pub fn close_inherited() -> io::Result<()> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    let numbers: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|&number| number > 2) {
        // The descriptor of the listing is among them and closed already.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}
