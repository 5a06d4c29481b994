//! Segments of shared memory of System V: they stay in memory whether a process has them attached or not.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use patchadm_core::namespaces::open_segments;

/// The most namespaces with segments that are looked at.
const MOST_NAMESPACES: usize = 256;

/// The longest list of segments that is read, in bytes; the kernel has 32,768 of them at most.
const LONGEST_LIST: u64 = 16 << 20;

/// The lists of the segments of a sandbox, by the namespace that each belongs to. Those that cannot be opened are none.
#[derive(Debug, Default)]
pub(super) struct SegmentLists(BTreeMap<OsString, Option<File>>);

impl SegmentLists {
    /// Returns the bytes in memory of the segments that these processes see; `maker` is the process that has made their sandbox.
    /// `None` if no list could be read.
    pub(super) fn in_memory(&mut self, maker: u32, processes: &[u32]) -> Option<u64> {
        let own = namespace_of("self");
        let mut seen = BTreeMap::new();
        for process in processes {
            let Some(namespace) = namespace_of(&process.to_string()).filter(|one| Some(one) != own.as_ref())
            else {
                continue;
            };
            if seen.len() < MOST_NAMESPACES {
                seen.entry(namespace).or_insert(*process);
            }
        }
        // A list keeps its namespace, and all that is in it.
        self.0.retain(|namespace, _| seen.contains_key(namespace));
        for (namespace, process) in seen {
            self.0.entry(namespace).or_insert_with(|| open_segments(maker, process).ok());
        }
        let lists = self.0.values_mut().flatten().filter_map(|list| read_list(list).ok());
        lists.fold(None, |all, list| Some(all.unwrap_or(0_u64).saturating_add(bytes_of(&list))))
    }
}

fn namespace_of(process: &str) -> Option<OsString> {
    fs::read_link(Path::new("/proc").join(process).join("ns/ipc")).ok().map(Into::into)
}

fn read_list(list: &mut File) -> io::Result<String> {
    let mut text = String::new();
    list.rewind()?;
    list.take(LONGEST_LIST).read_to_string(&mut text)?;
    Ok(text)
}

/// Returns the bytes of the segments of a list that are in memory or in the swap space: its last two columns.
fn bytes_of(list: &str) -> u64 {
    let sizes = list.lines().skip(1).flat_map(|line| line.split_ascii_whitespace().rev().take(2));
    sizes.filter_map(|size| size.parse::<u64>().ok()).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_or_swapped_counts_and_what_is_only_reserved_does_not() {
        let list = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n         0          0   600              16777216    10    10      0  1234  1234  1234  1234          1          1          1              16777216                  4096\n         0          1   600            1099511627776    10    10      0  1234  1234  1234  1234          0          0          1                     0                     0\n";
        assert_eq!(bytes_of(list), (16 << 20) + 4096);
        assert_eq!(bytes_of(""), 0);
    }
}
