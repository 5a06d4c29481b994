//! The environment of a build: always the same, regardless of earlier builds.

use std::net::TcpListener;

use super::{BulkBuild, everybody, for_everybody, mark};
use crate::tree::{Tree, assert_same};

for_everybody! {
    a_build_has_no_network_unless_it_is_configured,
}

/// Prints everything that a build sees.
const WORLD: &str = include_str!("../../testdata/bulk/world/build");

/// The expected output of `WORLD`.
const PRINTED: &str = include_str!("../../testdata/bulk/world/printed");

/// Writes wherever it can, and leaves processes.
const WRITER: &str = "set +e\nexport MARK=@MARK@\n\
    for at in / /*/ /usr/bin/ /etc/ssl/ /var/*/ /proc/sys/kernel/ /dev/shm/ /dev/mqueue/ /tree/world/; do\n\
    for n in a b; do (echo canary > ${at}written.$n; mkdir ${at}written.d; ln -s / ${at}written.l) 2>/dev/null; done\n\
    chmod 777 $at 2>/dev/null\n\
    done\n\
    rm -rf /tree/* /driver/* /packages/* /usr/bin/env 2>/dev/null\n\
    hostname other 2>/dev/null; ipcmk -M 1000 >/dev/null 2>&1\n\
    setsid sleep 1000 & (trap '' TERM; sleep 1000) &\n\
    rm -rf $OUT/written.*; mkdir $DESTDIR/opt; ulimit -n 5\n";

/// Removes details that depend on the machine: directories of the host, and numbers of users and pipes.
fn masked(log: &str) -> String {
    let of_host = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
    let is_of_host = |line: &&str| {
        let word = line.split(' ').next().unwrap_or_default();
        !of_host.iter().any(|path| word == *path || word == &path[1..])
    };
    // Messages of the installation surround the listing.
    let begin = log.find("== environment").unwrap_or_default();
    let end = log.find("== end").unwrap_or(log.len());
    let lines = log[begin..end].lines().filter(is_of_host).map(|line| {
        let (head, rest) = line.split_once(":[").unwrap_or((line, ""));
        if rest.is_empty() { format!("{line}\n") } else { format!("{head}:[ID]\n") }
    });
    lines.collect()
}

#[test]
fn a_build_sees_this_world_and_no_other_whatever_was_built_before() {
    for is_ordinary in everybody() {
        let mark = mark();
        let settings = "slot=local 1\ncheck=none\nhost=/usr /bin /sbin /lib /lib32 /lib64 /libx32\n";
        let Some(build) = BulkBuild::of_recipes("a_build_sees…", is_ordinary, settings) else { continue };
        build.recipe("needed", "", "mkdir $DESTDIR/opt; echo needed > $DESTDIR/opt/needed\n");
        build.recipe("world", "ALL_DEPENDS=needed-[0-9]*\nMULTI_VERSION= FLAVOUR=plain\n", WORLD);
        build.run("world").ends(0);
        assert_eq!(masked(&build.log("world-1.0")), PRINTED, "{}", build.who());

        let writer = WRITER.replace("@MARK@", &mark);
        // Other builds write wherever they can, one after the other.
        for number in 0..3 {
            build.recipe(&format!("writer-{number}"), "ALL_DEPENDS=needed-[0-9]*\n", &writer);
        }
        build.recipe("fails", "ALL_DEPENDS=needed-[0-9]*\n", &format!("{writer}exit 1\n"));
        let tree = Tree::of(&build.tree(), &[]).without_owners();
        let run = build.run("").ends(5);
        assert_eq!(run.in_state("failed"), ["fails"]);
        assert_same(&Tree::of(&build.tree(), &[]).without_owners(), &tree);
        build.run("world --rebuild world").ends(0);
        assert_eq!(masked(&build.log("world-1.0")), PRINTED, "{} afterwards", build.who());
        build.assert_nothing_left(&mark);
    }
}

fn a_build_has_no_network_unless_it_is_configured(is_ordinary: bool) {
    let settings = "slot=local 1\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes("a_build_has_no_network…", is_ordinary, settings) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let calls = "for at in 127.0.0.1/PORT 192.0.2.1/80; do\n\
        bash -c \"echo > /dev/tcp/$at\" 2>&1 | sed 's/.*: //'\ndone\nmkdir -p $DESTDIR/opt\n";
    build.recipe("calls", "", &calls.replace("PORT", &port.to_string()));
    build.run("").ends(0);
    let said = build.log("calls-1.0");
    if said.contains("not found") {
        crate::missing("bash", "a_build_has_no_network…");
        return;
    }
    assert_eq!(
        said,
        "Connection refused\nConnection refused\nNetwork is unreachable\nNetwork is unreachable\n"
    );
    assert!(listener.accept().is_err(), "somebody called");
    // With the network configured, the same build reaches the host.
    build.set("network=calls\n");
    build.change("calls/build", (" 192.0.2.1/80", ""));
    build.run("").ends(0);
    assert!(listener.accept().is_ok(), "{}", build.log("calls-1.0"));
}
