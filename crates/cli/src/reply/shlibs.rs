//! Old shared libraries that a patch does not reach while programs load them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use patchadm_planning::plan::kept_libraries::{KeptLibrary, ToldConsumer};

const MOST_NAMED: usize = 10;

/// One sentence for all libraries that the same programs load.
pub fn sentences(libraries: &[KeptLibrary]) -> Vec<String> {
    let mut by_programs: BTreeMap<Vec<String>, Vec<&str>> = BTreeMap::new();
    for library in libraries {
        by_programs.entry(programs(&library.consumers)).or_default().push(&library.library);
    }
    let told = by_programs.into_iter().filter(|(programs, _)| !programs.is_empty());
    told.map(|(programs, mut libraries)| {
        libraries.sort_unstable();
        libraries.dedup();
        sentence(&programs, &libraries)
    })
    .collect()
}

fn sentence(programs: &[String], libraries: &[&str]) -> String {
    let (many, load) = match programs.len() {
        1 => ("1 program".to_owned(), "loads"),
        number => (format!("{number} programs"), "load"),
    };
    let mut named = programs.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if let Some(more) = programs.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        let _ = write!(named, " and {more} more");
    }
    format!("effective, except for {many} that still {load} {}: {named}", libraries.join(", "))
}

/// Each program once. A library kept by the policy need not have one.
fn programs(consumers: &[ToldConsumer]) -> Vec<String> {
    let loading = consumers.iter().filter(|consumer| consumer.how != "policy");
    let mut paths: Vec<String> = loading.map(|consumer| consumer.path.to_string()).collect();
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::package::{ObjectPath, PkgInst};

    fn library(name: &str, programs: &[(&str, &'static str)]) -> KeptLibrary {
        let consumer = |(path, how): &(&str, &'static str)| ToldConsumer {
            path: ObjectPath::new(path.as_bytes()).unwrap(),
            packages: Vec::new(),
            how,
            pid: None,
        };
        KeptLibrary {
            package: PkgInst::new("X-SO").unwrap(),
            from: None,
            library: name.to_owned(),
            paths: Vec::new(),
            bytes: 0,
            consumers: programs.iter().map(consumer).collect(),
        }
    }

    #[test]
    fn one_sentence_says_who_loads_which_libraries() {
        let both = [("/usr/bin/b", "needed"), ("/usr/bin/a", "needed"), ("/usr/bin/a", "mapped")];
        let all = [
            library("libb.so.1", &both),
            library("liba.so.1", &both),
            library("libc.so.6", &[("/opt/c", "dlopen")]),
            library("libd.so.1", &[("/usr/lib/libd.so.1", "policy")]),
            library("libe.so.1", &[]),
        ];
        assert_eq!(
            sentences(&all),
            [
                "effective, except for 1 program that still loads libc.so.6: /opt/c",
                "effective, except for 2 programs that still load liba.so.1, libb.so.1: /usr/bin/a, /usr/bin/b",
            ]
        );
        let names: Vec<String> = (0..12).map(|number| format!("/bin/{number:02}")).collect();
        let many: Vec<(&str, &'static str)> = names.iter().map(|name| (name.as_str(), "needed")).collect();
        let said = sentences(&[library("libx.so.1", &many)]);
        assert!(said[0].ends_with("/bin/09 and 2 more"), "{said:?}");
    }
}
