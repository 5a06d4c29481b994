//! Objects of the kernel whose memory no other limit bounds: file locks and sockets of a sandbox.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use patchadm_rootfs::{ProcBounds, ProcLines, ProcReadError, Stop};

use super::usage::text_of;

/// Apart from the first lock of each open file.
const MOST_LOCKS: usize = 10_000;

/// Each takes up to a MiB, and those of TCP and UDP share the `tcp_mem` and `udp_mem` of the machine.
const MOST_SOCKETS: u64 = 4096;

/// The same while the machine has little memory for sockets.
const FEW_SOCKETS: u64 = 256;

const LOOK_AT_OBJECTS: Duration = Duration::from_secs(1);

/// A look at locks ends after this time, and the next one goes on with further processes.
const LONGEST_LOOK: Duration = Duration::from_millis(200);

/// Objects of the kernel, more than a sandbox may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectOverrun {
    pub kind: &'static str,
    pub count: u64,
    pub most: u64,
}

#[derive(Debug)]
pub(super) struct ObjectLooks {
    next: Instant,
    /// Processes of this round whose locks are not counted yet, and the locks of the others.
    rest: Vec<u32>,
    locks: usize,
}

impl ObjectLooks {
    pub(super) fn begin(now: Instant) -> Self {
        Self { next: now, rest: Vec::new(), locks: 0 }
    }

    pub(super) fn look(&mut self, processes: &[u32], stop: Stop<'_>) -> Option<ObjectOverrun> {
        let began = Instant::now();
        if began < self.next {
            return None;
        }
        let over = too_many_sockets(processes).or_else(|| self.look_at_locks(began, processes, stop));
        let took = began.elapsed();
        self.next = began + took + LOOK_AT_OBJECTS.max(took);
        over
    }

    fn look_at_locks(&mut self, began: Instant, processes: &[u32], stop: Stop<'_>) -> Option<ObjectOverrun> {
        let living: BTreeSet<u32> = processes.iter().copied().collect();
        self.rest.retain(|process| living.contains(process));
        if self.rest.is_empty() {
            (self.rest, self.locks) = (processes.to_vec(), 0);
        }
        while let Some(process) = self.rest.pop() {
            self.locks += locks_of(process, MOST_LOCKS.saturating_sub(self.locks), stop);
            if self.locks > MOST_LOCKS {
                let (count, most) = (self.locks as u64, MOST_LOCKS as u64);
                return Some(ObjectOverrun { kind: "file locks", count, most });
            }
            if began.elapsed() > LONGEST_LOOK || stop() {
                break;
            }
        }
        None
    }
}

/// Counts the locks of the open files of a process, and stops at one more than `most`.
///
/// The first lock of each open file does not count: the limit of open files bounds it, and all processes of a sandbox
/// have inherited the one that shows its use.
fn locks_of(process: u32, most: usize, stop: Stop<'_>) -> usize {
    let mut locks = 0_usize;
    for open in fs::read_dir(format!("/proc/{process}/fdinfo")).into_iter().flatten().flatten() {
        if stop() {
            break;
        }
        // A longer file has more locks than matter, or ends with what no lock is.
        let _ = further_locks(&open.path(), most.saturating_add(1), stop, &mut locks);
        if locks > most {
            break;
        }
    }
    locks
}

/// Adds the locks of an open file but its first one, up to a number.
fn further_locks(info: &Path, enough: usize, stop: Stop<'_>, locks: &mut usize) -> Result<(), ProcReadError> {
    let mut lines = ProcLines::open(info, ProcBounds::DESCRIPTOR, stop)?;
    let mut is_first = true;
    while let Some(line) = lines.next_line()? {
        if *locks >= enough {
            break;
        }
        if line.starts_with(b"lock:") {
            *locks += usize::from(!is_first);
            is_first = false;
        }
    }
    Ok(())
}

/// Counts the sockets in the network of a sandbox, unless it has that of the machine.
fn too_many_sockets(processes: &[u32]) -> Option<ObjectOverrun> {
    let own = network_of("self")?;
    let has_another = |process: &&u32| network_of(&process.to_string()).is_some_and(|network| network != own);
    let process = processes.iter().find(has_another)?;
    let counts = SocketCounts::in_text(&text_of(Path::new(&format!("/proc/{process}/net/sockstat"))));
    let of_machine = ["tcp_mem", "udp_mem"].map(|name| text_of(&Path::new("/proc/sys/net/ipv4").join(name)));
    counts.over(of_machine.each_ref().map(String::as_str))
}

fn network_of(process: &str) -> Option<OsString> {
    fs::read_link(Path::new("/proc").join(process).join("ns/net")).ok().map(Into::into)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SocketCounts {
    /// Of all families, in one network.
    used: u64,
    /// Memory of TCP and UDP in pages, of the whole machine.
    pages: [u64; 2],
}

impl SocketCounts {
    fn in_text(text: &str) -> Self {
        let number = |protocol: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(protocol))?;
            let mut words = line.split_ascii_whitespace().skip_while(|word| *word != name);
            words.nth(1)?.parse::<u64>().ok()
        };
        Self {
            used: number("sockets:", "used").unwrap_or_default(),
            pages: ["TCP:", "UDP:"].map(|protocol| number(protocol, "mem").unwrap_or_default()),
        }
    }

    /// `of_machine` are its settings `tcp_mem` and `udp_mem`, empty if unknown. Above the second number of one, the
    /// kernel saves memory.
    fn over(self, of_machine: [&str; 2]) -> Option<ObjectOverrun> {
        let is_scarce = self.pages.into_iter().zip(of_machine).any(|(pages, setting)| {
            let pressure = setting.split_ascii_whitespace().nth(1);
            pressure.and_then(|number| number.parse::<u64>().ok()).is_some_and(|pressure| pages > pressure)
        });
        let most = if is_scarce { FEW_SOCKETS } else { MOST_SOCKETS };
        (self.used > most).then_some(ObjectOverrun { kind: "sockets", count: self.used, most })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Starts a perl that locks bytes of files, says so, and waits until its standard input ends; `None` without perl.
    fn locking(files: u32, locks_of_each: u32, directory: &Path) -> Option<Child> {
        let script = "use Fcntl; for my $n (1..$ARGV[0]) { open($f[$n], '+>', $n) or die $!; \
            for my $i (1..$ARGV[1]) { \
            fcntl($f[$n], F_SETLK, pack('s s x4 q q i x4', F_WRLCK, 0, 2 * $i, 1, 0)) or die $! } } \
            syswrite(STDOUT, 'x'); sysread(STDIN, my $end, 1)";
        let mut perl = Command::new("perl");
        perl.args(["-e", script, &files.to_string(), &locks_of_each.to_string()]).current_dir(directory);
        let mut perl = perl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        perl.stdout.as_mut()?.read_exact(&mut [0]).ok()?;
        Some(perl)
    }

    fn end(mut perl: Child) {
        drop(perl.stdin.take());
        perl.wait().unwrap();
    }

    #[test]
    fn all_locks_of_an_open_file_but_its_first_one_count_and_no_more_are_read_than_matter() {
        let dir = tempfile::tempdir().unwrap();
        let Some(perl) = locking(4, 100, dir.path()) else { return };
        assert_eq!(locks_of(perl.id(), 1000, &|| false), 396);
        assert_eq!(locks_of(perl.id(), 150, &|| false), 151);
        assert_eq!(locks_of(perl.id(), 0, &|| false), 1);
        end(perl);
        let Some(perl) = locking(100, 1, dir.path()) else { return };
        assert_eq!(locks_of(perl.id(), 1000, &|| false), 0, "files with one lock are limited as open files");
        end(perl);
    }

    #[test]
    fn locks_of_all_processes_together_are_too_many() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let started: Vec<Child> = dirs.iter().filter_map(|dir| locking(8, 800, dir.path())).collect();
        let processes: Vec<u32> = started.iter().map(Child::id).collect();
        let in_time = Instant::now() + Duration::from_secs(60);
        let over_in =
            |processes: &[u32]| ObjectLooks::begin(in_time).look_at_locks(in_time, processes, &|| false);
        if let [first, second] = processes[..] {
            assert_eq!((over_in(&[first]), over_in(&[second])), (None, None));
            let over = ObjectOverrun { kind: "file locks", count: 10_001, most: 10_000 };
            assert_eq!(over_in(&processes), Some(over.clone()));
            // A look that takes too long is continued.
            let mut looks = ObjectLooks::begin(in_time);
            let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
            assert_eq!(looks.look_at_locks(long_ago, &processes, &|| false), None);
            assert_eq!(looks.rest, [first]);
            assert_eq!(locks_of(first, 1000, &|| true), 0, "a look ends when it is asked to");
            assert_eq!(looks.look_at_locks(long_ago, &processes, &|| false), Some(over));
        }
        started.into_iter().for_each(end);
    }

    const SOCKSTAT: &str = "sockets: used 300\nTCP: inuse 7 orphan 0 tw 0 alloc 9 mem 5000\n\
        UDP: inuse 2 mem 40\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n";

    #[test]
    fn a_sandbox_has_fewer_sockets_while_the_machine_has_little_memory_for_them() {
        let counts = SocketCounts::in_text(SOCKSTAT);
        assert_eq!(counts, SocketCounts { used: 300, pages: [5000, 40] });
        let over = |count, most| Some(ObjectOverrun { kind: "sockets", count, most });
        assert_eq!(counts.over(["1000\t6000\t9000\n", "10\t50\t90\n"]), None);
        assert_eq!(counts.over(["1000\t4000\t9000\n", "10\t50\t90\n"]), over(300, 256));
        assert_eq!(counts.over(["1000\t6000\t9000\n", "10\t30\t90\n"]), over(300, 256));
        assert_eq!(counts.over(["", ""]), None, "unknown");
        let many = SocketCounts { used: 4097, ..counts };
        assert_eq!(many.over(["", ""]), over(4097, 4096));
        assert_eq!(SocketCounts::in_text(""), SocketCounts { used: 0, pages: [0; 2] });
    }

    #[test]
    fn sockets_of_the_machine_are_nobody_s() {
        assert_eq!(too_many_sockets(&[std::process::id()]), None);
    }
}
