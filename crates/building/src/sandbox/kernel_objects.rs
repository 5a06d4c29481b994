//! Objects of the kernel whose memory no other limit bounds: file locks, sockets and filters of a sandbox.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use patchadm_rootfs::{ProcBounds, ProcLines, ProcReadError, Stop};

use super::usage::{tasks_of, text_of};

/// Apart from the first lock of each open file.
const MOST_LOCKS: usize = 10_000;

/// Filters of seccomp, apart from those that each task of a sandbox has. Each takes up to 200 KiB, a third of it from the
/// `bpf_jit_limit` of the machine: without room there, other users cannot set any.
const MOST_FILTERS: u64 = 1024;

/// Each takes some MiB, and those of TCP and UDP share the `tcp_mem`, `udp_mem` and `tcp_max_orphans` of the machine.
const MOST_SOCKETS: u64 = 4096;

/// The same while they are scarce on the machine.
const FEW_SOCKETS: u64 = 256;

/// Bytes that wait in sockets of TCP and UDP meanwhile.
const MOST_WAITING: u64 = 16 << 20;

const LOOK_AT_OBJECTS: Duration = Duration::from_secs(1);

/// A look at locks and filters ends after this time, and the next one goes on with further processes.
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
    /// Processes of this round that are not counted yet, and the locks and filters of the others.
    rest: Vec<u32>,
    locks: usize,
    filters: u64,
    /// The filters of each task of the sandbox.
    own_filters: u64,
}

impl ObjectLooks {
    pub(super) fn begin(now: Instant) -> Self {
        // The filters of this process, and the one of the sandbox.
        let own_filters = filters_in(&text_of(Path::new("/proc/self/status"))).saturating_add(1);
        Self { next: now, rest: Vec::new(), locks: 0, filters: 0, own_filters }
    }

    pub(super) fn look(&mut self, processes: &[u32], stop: Stop<'_>) -> Option<ObjectOverrun> {
        let began = Instant::now();
        if began < self.next {
            return None;
        }
        let over =
            too_many_sockets(processes, stop).or_else(|| self.look_at_processes(began, processes, stop));
        let took = began.elapsed();
        self.next = began + took + LOOK_AT_OBJECTS.max(took);
        over
    }

    fn look_at_processes(
        &mut self,
        began: Instant,
        processes: &[u32],
        stop: Stop<'_>,
    ) -> Option<ObjectOverrun> {
        let living: BTreeSet<u32> = processes.iter().copied().collect();
        self.rest.retain(|process| living.contains(process));
        if self.rest.is_empty() {
            (self.rest, self.locks, self.filters) = (processes.to_vec(), 0, 0);
        }
        while let Some(process) = self.rest.pop() {
            self.locks += locks_of(process, MOST_LOCKS.saturating_sub(self.locks), stop);
            if self.locks > MOST_LOCKS {
                let (count, most) = (self.locks as u64, MOST_LOCKS as u64);
                return Some(ObjectOverrun { kind: "file locks", count, most });
            }
            self.filters += filters_of(process, self.own_filters);
            if self.filters > MOST_FILTERS {
                return Some(ObjectOverrun { kind: "filters", count: self.filters, most: MOST_FILTERS });
            }
            if began.elapsed() > LONGEST_LOOK || stop() {
                break;
            }
        }
        None
    }
}

/// Counts the further filters of all tasks of a process: each may have filters of its own. Inherited filters count for
/// both tasks.
fn filters_of(process: u32, own: u64) -> u64 {
    let of_task = |task: u32| {
        let status = text_of(Path::new(&format!("/proc/{process}/task/{task}/status")));
        filters_in(&status).saturating_sub(own)
    };
    tasks_of(process).into_iter().map(of_task).sum()
}

/// Linux before 5.9 does not tell.
fn filters_in(status: &str) -> u64 {
    let number = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
    number.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
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
fn too_many_sockets(processes: &[u32], stop: Stop<'_>) -> Option<ObjectOverrun> {
    let own = network_of("self")?;
    let has_another = |process: &&u32| network_of(&process.to_string()).is_some_and(|network| network != own);
    let process = processes.iter().find(has_another)?;
    let net = Path::new("/proc").join(process.to_string()).join("net");
    let counts = SocketCounts::in_text(&text_of(&net.join("sockstat")));
    let setting = |name: &str| text_of(&Path::new("/proc/sys/net/ipv4").join(name));
    let of_machine = ["tcp_mem", "udp_mem", "tcp_max_orphans"].map(setting);
    counts.over(of_machine.each_ref().map(String::as_str), || bytes_waiting(&net, stop))
}

/// Returns the bytes that wait in sockets of TCP and UDP; for UDP, with what the kernel needs to hold them.
fn bytes_waiting(net: &Path, stop: Stop<'_>) -> u64 {
    let of_line = |line: &[u8]| {
        // `0: LOCAL REMOTE STATE SENT:RECEIVED …`, all hexadecimal.
        let text = String::from_utf8_lossy(line);
        let (sent, received) = text.split_ascii_whitespace().nth(4)?.split_once(':')?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        number(sent)?.checked_add(number(received)?)
    };
    let mut bytes = 0_u64;
    for list in ["udp", "udp6", "udplite", "udplite6", "tcp", "tcp6"] {
        let Ok(lines) = ProcLines::open(&net.join(list), ProcBounds::DESCRIPTOR, stop) else { continue };
        // A longer list has more sockets than a sandbox may have.
        let _ = lines.find(|line| {
            bytes = bytes.saturating_add(of_line(line).unwrap_or_default());
            None::<()>
        });
    }
    bytes
}

fn network_of(process: &str) -> Option<OsString> {
    fs::read_link(Path::new("/proc").join(process).join("ns/net")).ok().map(Into::into)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SocketCounts {
    /// Of all families, in one network, with orphans.
    used: u64,
    /// Memory of TCP and UDP in pages, of the whole machine.
    pages: [u64; 2],
    /// Closed by their processes while the other side has not taken all bytes, of the whole machine.
    orphans: u64,
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
            orphans: number("TCP:", "orphan").unwrap_or_default(),
        }
    }

    /// `of_machine` are its settings `tcp_mem`, `udp_mem` and `tcp_max_orphans`, empty if unknown. Above the second
    /// number of the first two, the kernel saves memory; `waiting` is asked only then, or if half of all orphans are
    /// there.
    fn over(self, of_machine: [&str; 3], waiting: impl FnOnce() -> u64) -> Option<ObjectOverrun> {
        let [tcp, udp, orphans] = of_machine;
        let number = |setting: &str, at| setting.split_ascii_whitespace().nth(at)?.parse::<u64>().ok();
        let [of_tcp, of_udp] = self.pages;
        let is_scarce = number(tcp, 1).is_some_and(|pressure| of_tcp > pressure)
            || number(udp, 1).is_some_and(|pressure| of_udp > pressure)
            || number(orphans, 0).is_some_and(|most| self.orphans > most / 2);
        let most = if is_scarce { FEW_SOCKETS } else { MOST_SOCKETS };
        let over =
            |kind, count: u64, most: u64| (count > most).then_some(ObjectOverrun { kind, count, most });
        let too_many = over("sockets", self.used, most);
        too_many.or_else(|| over("bytes in sockets", if is_scarce { waiting() } else { 0 }, MOST_WAITING))
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
            |processes: &[u32]| ObjectLooks::begin(in_time).look_at_processes(in_time, processes, &|| false);
        if let [first, second] = processes[..] {
            assert_eq!((over_in(&[first]), over_in(&[second])), (None, None));
            let over = ObjectOverrun { kind: "file locks", count: 10_001, most: 10_000 };
            assert_eq!(over_in(&processes), Some(over.clone()));
            // A look that takes too long is continued.
            let mut looks = ObjectLooks::begin(in_time);
            let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
            assert_eq!(looks.look_at_processes(long_ago, &processes, &|| false), None);
            assert_eq!(looks.rest, [first]);
            assert_eq!(locks_of(first, 1000, &|| true), 0, "a look ends when it is asked to");
            assert_eq!(looks.look_at_processes(long_ago, &processes, &|| false), Some(over));
        }
        started.into_iter().for_each(end);
    }

    #[test]
    fn filters_of_each_task_count_apart_from_those_of_the_sandbox() {
        assert_eq!(filters_in("Name:\tsh\nSeccomp:\t2\nSeccomp_filters:\t4\n"), 4);
        assert_eq!(filters_in("Name:\tsh\nSeccomp:\t2\n"), 0, "an older kernel");
        let own = filters_in(&text_of(Path::new("/proc/self/status")));
        assert_eq!(filters_of(std::process::id(), own), 0);
        assert_eq!(ObjectLooks::begin(Instant::now()).own_filters, own + 1);
    }

    const SOCKSTAT: &str = "sockets: used 300\nTCP: inuse 7 orphan 70 tw 0 alloc 9 mem 5000\n\
        UDP: inuse 2 mem 40\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n";

    #[test]
    fn a_sandbox_has_fewer_sockets_while_the_machine_has_little_memory_for_them() {
        let counts = SocketCounts::in_text(SOCKSTAT);
        assert_eq!(counts, SocketCounts { used: 300, pages: [5000, 40], orphans: 70 });
        let over = |kind, count, most| Some(ObjectOverrun { kind, count, most });
        let (tcp, udp, orphans) = ("1000\t6000\t9000\n", "10\t50\t90\n", "140\n");
        let unasked = || -> u64 { panic!("nothing is scarce") };
        assert_eq!(counts.over([tcp, udp, orphans], unasked), None);
        let scarce = [["0 4000 9000", udp, orphans], [tcp, "0 30 90", orphans], [tcp, udp, "138"]];
        for of_machine in scarce {
            assert_eq!(counts.over(of_machine, || 0), over("sockets", 300, 256), "{of_machine:?}");
            let few = SocketCounts { used: 256, ..counts };
            assert_eq!(few.over(of_machine, || MOST_WAITING), None, "{of_machine:?}");
            let bytes = over("bytes in sockets", MOST_WAITING + 1, MOST_WAITING);
            assert_eq!(few.over(of_machine, || MOST_WAITING + 1), bytes, "{of_machine:?}");
        }
        assert_eq!(counts.over(["", "", ""], unasked), None, "unknown");
        let many = SocketCounts { used: 4097, ..counts };
        assert_eq!(many.over(["", "", ""], unasked), over("sockets", 4097, 4096));
        assert_eq!(SocketCounts::in_text(""), SocketCounts { used: 0, pages: [0; 2], orphans: 0 });
    }

    #[test]
    fn bytes_that_wait_in_sockets_are_counted() {
        let net = tempfile::tempdir().unwrap();
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";
        let line =
            |queues: &str| format!("   0: 0100007F:1F90 00000000:0000 07 {queues} 00:00000000 00000000 0\n");
        let list = [head, &line("00000001:00000020"), &line("00000000:00000300")].concat();
        fs::write(net.path().join("udp"), list).unwrap();
        fs::write(net.path().join("tcp6"), line("00001000:00000000")).unwrap();
        assert_eq!(bytes_waiting(net.path(), &|| false), 0x1321);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&[0; 1000], socket.local_addr().unwrap()).unwrap();
        assert!(bytes_waiting(Path::new("/proc/self/net"), &|| false) > 0);
    }

    #[test]
    fn sockets_of_the_machine_are_nobody_s() {
        assert_eq!(too_many_sockets(&[std::process::id()], &|| false), None);
    }
}
