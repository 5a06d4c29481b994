//! Distfiles from the driver's `fetch`: correct files are kept, and nothing else that it writes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use patchadm_inputs::sha256::Sha256;

use super::{BulkBuild, BulkRun, for_everybody, mark};

for_everybody! {
    what_fetch_brings_is_taken_where_it_is_right_and_a_failure_of_it_is_one_of_the_distfile,
}

/// Content of every distfile.
const SOURCE: &str = "int main(void) { return 0; }\n";

/// `fetch` of the driver: its behavior depends on the location, which is also the name of the distfile.
const FETCH: &str = r#"#!/bin/sh
source() { printf 'int main(void) { return 0; }\n'; }
case $1 in
right) source > $DISTDIR/$1; echo more > $DISTDIR/more;;
wrong) source | tr 0 1 > $DISTDIR/$1;;
long) yes > $DISTDIR/$1; exit 1;;
none) ;;
link) ln -s /tree/right/record $DISTDIR/$1;;
fails) echo "$* $PWD $DISTDIR $TREE $PKG_LOCATION $MARK$(ls -A $DISTDIR) no such mirror" >&2; source > $DISTDIR/$1; exit 3;;
hangs) setsid sleep 1000 & sleep 1000;;
elsewhere) echo x > /tree/written; echo x > /usr/written; echo x > /tmp/written; source > $DISTDIR/$1;;
esac
"#;

/// Locations that fail, and the beginning of the reason.
const FAILING: [(&str, &str); 6] = [
    ("wrong", "wrong: it does not exist; fetch: its SHA-256 differs"),
    ("long", "long: it does not exist; fetch: it wrote "),
    ("none", "none: it does not exist; fetch: it does not exist"),
    ("link", "link: it does not exist; fetch: "),
    ("fails", "fails: it does not exist; fetch: exit 3: fails /tree /distfiles /tree fails "),
    ("hangs", "hangs: it does not exist; fetch: it took 3 s"),
];

fn with_fetch(test: &str, is_ordinary: bool, mark: &str) -> Option<BulkBuild> {
    let settings =
        format!("slot=local 2\ncheck=none\nscan_time=3\ndisk=20M\nenv=MARK={mark}\nlimit=* disk=20G\n");
    let build = BulkBuild::of_recipes(test, is_ordinary, &settings)?;
    let program = build.scenario.beside("driver/fetch");
    fs::write(&program, FETCH).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for name in FAILING.map(|(name, _)| name).into_iter().chain(["right", "elsewhere"]) {
        let sum = Sha256::digest(SOURCE.as_bytes());
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        let distfile = format!("DISTFILES={name}:{sum}:{}\n", SOURCE.len());
        build.recipe(name, &distfile, "mkdir $DESTDIR/opt; cp $DISTDIR/* $DESTDIR/opt\n");
    }
    Some(build)
}

fn distfiles(build: &BulkBuild) -> Vec<String> {
    let entries = fs::read_dir(build.work().join("distfiles")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn what_fetch_brings_is_taken_where_it_is_right_and_a_failure_of_it_is_one_of_the_distfile(
    is_ordinary: bool,
) {
    let mark = mark();
    let Some(build) = with_fetch("what_fetch_brings…", is_ordinary, &mark) else { return };
    let began = Instant::now();
    let run: BulkRun = build.run("").ends(5);
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    assert_eq!(run.in_state("done"), ["elsewhere", "right"], "{}", build.who());
    for (name, reason) in FAILING {
        let package = format!("{name}-1.0");
        assert_eq!(run.package(&package)["cause"], "distfile", "{package}");
        assert!(run.detail(&package).starts_with(reason), "{}: {}", build.who(), run.detail(&package));
    }
    assert!(run.detail("fails-1.0").ends_with(&format!(" {mark} no such mirror")));
    assert_eq!(distfiles(&build), ["elsewhere", "right"]);
    assert_eq!(fs::read_to_string(build.work().join("distfiles/right")).unwrap(), SOURCE);
    assert!(!build.tree().join("written").exists() && !fs::exists("/usr/written").unwrap());
    assert!(!fs::exists("/tmp/written").unwrap());
    build.assert_nothing_left(&mark);
    // Existing distfiles are not fetched again; failed ones are.
    fs::write(
        build.scenario.beside("driver/fetch"),
        "#!/bin/sh\n[ $1 = none ] || exit 9\nprintf 'int main(void) { return 0; }\\n' > $DISTDIR/$1\n",
    )
    .unwrap();
    let run = build.run("").ends(5);
    assert_eq!((run.in_state("done"), run.in_state("failed").len()), (vec!["none".to_owned()], 5));
    assert!(run.detail("hangs-1.0").ends_with("fetch: exit 9"), "{}", run.detail("hangs-1.0"));
}

#[test]
fn fetch_is_not_called_for_what_a_url_gives_or_where_nothing_is_to_be_fetched() {
    let Some(build) = with_fetch("fetch_is_not_called…", true, "none") else { return };
    fs::write(build.scenario.beside("driver/fetch"), "#!/bin/sh\nexit 9\n").unwrap();
    let source = build.scenario.beside("theirs/upstream");
    fs::write(&source, SOURCE).unwrap();
    let record = fs::read_to_string(build.tree().join("right/record")).unwrap();
    build.write("right/record", format!("{record}DISTURL=file:{}\n", source.display()));
    build.run("right").ends(0);
    assert_eq!(distfiles(&build), ["right"]);
    build.run("none --dry-run").ends(0);
    assert_eq!(distfiles(&build), ["right"]);
    let run = build.run("none").ends(5);
    assert_eq!(run.detail("none-1.0"), "none: it does not exist; fetch: exit 9");
}
