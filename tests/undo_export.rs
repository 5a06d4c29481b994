//! Undo data that leaves a root for a file and comes back: nothing is lost on the way, and nothing comes back that did not
//! leave.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::delivery::Patch;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::Scenario;
use crate::tree::assert_same;

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text.repeat(2_000)).file("etc/conf", 0o640, text)
}

fn patch(id: &str) -> Patch {
    Patch::of(id, web(&format!("{id}\n")))
}

/// A root with 100-01 and 200-01 over it, and what it was before.
fn stage() -> (Scenario, Before) {
    let stage = Scenario::with(&[web("base\n")]);
    let before = Before::of(&stage);
    stage.patchadd("", &patch("100-01")).ok();
    stage.patchadd("", &patch("200-01")).ok();
    (stage, before)
}

fn export(stage: &Scenario) -> PathBuf {
    stage.beside("export")
}

fn exporting(stage: &Scenario, ids: &str) -> String {
    exporting_to(stage, "export", ids)
}

fn exporting_to(stage: &Scenario, name: &str, ids: &str) -> String {
    format!("undo-data export -R @ROOT@ -o {} {ids}", stage.beside(name).display())
}

fn importing(stage: &Scenario) -> String {
    importing_from(stage, "export")
}

fn importing_from(stage: &Scenario, name: &str) -> String {
    format!("undo-data import -R @ROOT@ {}", stage.beside(name).display())
}

fn document(stage: &Scenario, line: &str) -> Value {
    let done = stage.run(line);
    assert_eq!(done.code, 0, "{}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap()
}

fn save(stage: &Scenario, id: &str, name: &str) -> PathBuf {
    stage.at(&format!("/var/sadm/pkg/ACMEweb/save/{id}/{name}"))
}

fn state_of(stage: &Scenario, id: &str) -> Value {
    document(stage, &format!("show --json -R @ROOT@ {id}"))["answers"][0]["undo"][0]["state"].clone()
}

/// The ledger of `ACMEweb`.
fn ledger(stage: &Scenario) -> Vec<Value> {
    let text = stage.text("/var/sadm/patchadm/ledger/ACMEweb");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_exported_is_away_and_is_the_same_to_the_byte_when_it_is_back() {
    let (stage, before) = stage();
    let whole = fs::read(save(&stage, "200-01", "undo.gz")).unwrap();
    let note = fs::read(save(&stage, "200-01", "undo.b3")).unwrap();
    let lines = ledger(&stage);
    let tree = stage.tree();
    let said = document(&stage, &exporting(&stage, "--json 100-01 200-01"));
    assert_eq!((&said["result"], &said["archives"][1]["verdict"]), (&"done".into(), &"exported".into()));
    assert_eq!(said["size"].as_u64().unwrap(), fs::metadata(export(&stage)).unwrap().len());
    assert_eq!(said["archives"][1]["bytes"].as_u64().unwrap(), whole.len() as u64);
    for id in ["100-01", "200-01"] {
        assert!(!save(&stage, id, "undo.gz").exists() && save(&stage, id, "manifest.gz").exists());
        assert_eq!(state_of(&stage, id), "exported");
    }
    assert!(stage.run("list -R @ROOT@").ok().contains("exported"));
    assert!(stage.run("check --contents -v -R @ROOT@").ok().contains("its undo data was exported"));
    assert_same(&stage.tree(), &tree);

    let said = document(&stage, &importing(&stage).replace("-R", "--json -R"));
    assert_eq!((&said["result"], &said["archives"][0]["verdict"]), (&"done".into(), &"imported".into()));
    assert_eq!(fs::read(save(&stage, "200-01", "undo.gz")).unwrap(), whole);
    assert_eq!(fs::read(save(&stage, "200-01", "undo.b3")).unwrap(), note);
    assert!(!save(&stage, "200-01", "manifest.gz").exists() && export(&stage).exists());
    for (was, is) in lines.iter().zip(ledger(&stage)) {
        for field in ["undo", "size", "where", "info", "manifest", "why", "exported"] {
            assert_eq!(was.get(field), is.get(field), "{is}");
        }
        assert_eq!(is["applied"], was["run"], "the run that applied it is still known");
    }
    stage.run("check --contents -R @ROOT@").ok();
    let said = document(&stage, &importing(&stage).replace("-R", "--json -R"));
    assert_eq!(
        (&said["result"], &said["archives"][0]["verdict"]),
        (&"nothing-to-do".into(), &"unchanged".into())
    );
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "both came back");
}

#[test]
fn any_tar_lists_an_export_and_it_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (stage, _) = stage();
    let whole = fs::read(save(&stage, "200-01", "undo.gz")).unwrap();
    stage.run(&exporting(&stage, "200-01")).ok();
    assert_eq!(fs::metadata(export(&stage)).unwrap().permissions().mode() & 0o7777, 0o600);
    let mut archive = tar::Archive::new(fs::File::open(export(&stage)).unwrap());
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        names.push(entry.path().unwrap().display().to_string());
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        assert_eq!(bytes == whole, names.len() == 2);
    }
    assert_eq!(names, ["patchadm.undo-export", "200-01/ACMEweb/undo.gz"]);
}

#[test]
fn a_patch_stays_while_its_undo_data_is_away_and_the_message_says_how_to_get_it() {
    let (stage, _) = stage();
    stage.run(&exporting(&stage, "200-01")).ok();
    let tree = stage.everything();
    for line in ["patchrm -R @ROOT@ 200-01", "remove -R @ROOT@ 200-01", "remove --dry-run -R @ROOT@ 200-01"] {
        let said = stage.run(line);
        assert_ne!(said.code, 0, "{said:?}");
        assert!(said.stderr.contains("was exported by run"), "{line}: {said:?}");
    }
    let said = stage.run("remove -R @ROOT@ 200-01").fails(3);
    assert!(said.contains("undo-data import"), "{said}");
    // The state that the earlier patch found would be handed on to undo data that is not here.
    let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
    assert!(said.contains("200-01") && said.contains("was exported by run"), "{said}");
    for line in
        ["undo-data repack --undo-format Z -R @ROOT@ 200-01", &exporting_to(&stage, "again", "200-01")]
    {
        let said = stage.run(line).fails(3);
        assert!(said.contains("was exported by run"), "{said}");
    }
    assert_same(&stage.everything(), &tree);
}

#[test]
fn a_later_revision_may_come_and_go_while_the_undo_data_is_away() {
    let (stage, before) = stage();
    stage.run(&exporting(&stage, "200-01")).ok();
    stage.patchadd("", &patch("200-02")).ok();
    stage.run(&importing(&stage)).ok();
    stage.run("check --contents -R @ROOT@").ok();
    for id in ["200-02", "200-01", "100-01"] {
        stage.run(&format!("patchrm -R @ROOT@ {id}")).ok();
    }
    before.assert_again(&stage, "all are gone");
}

#[test]
fn undo_data_of_a_superseded_patch_is_that_of_one_when_it_is_back() {
    let (stage, before) = stage();
    stage.patchadd("", &patch("200-02")).ok();
    stage.run(&exporting(&stage, "200-01")).ok();
    stage.run(&importing(&stage)).ok();
    assert!(save(&stage, "200-01", "obsolete.gz").exists());
    stage.run("check --contents -R @ROOT@").ok();
    stage.run(&exporting_to(&stage, "again", "200-01")).ok();
    stage.run("patchrm -R @ROOT@ 200-02").ok();
    stage.run(&importing_from(&stage, "again")).ok();
    assert!(save(&stage, "200-01", "undo.gz").exists());
    for id in ["200-01", "100-01"] {
        stage.run(&format!("patchrm -R @ROOT@ {id}")).ok();
    }
    before.assert_again(&stage, "all are gone");
}

#[test]
fn undo_data_of_every_form_goes_and_comes_and_old_files_become_an_archive() {
    for (form, kept) in
        [("gz", "gz"), ("Z", "Z"), ("none", "none"), ("zst", "zst"), ("xz", "xz"), ("files", "gz")]
    {
        let stage = Scenario::with(&[web("base\n")]);
        let before = Before::of(&stage);
        patch("100-01").directory(&stage);
        stage.run(&format!("add --undo-format {form} -R @ROOT@ delivered/100-01")).ok();
        let said = document(&stage, &exporting(&stage, "--json 100-01"));
        assert_eq!(said["archives"][0]["form"], kept, "{form}");
        let stored = stage.at("/var/sadm/patchadm/undo");
        assert!(!stored.exists() || fs::read_dir(stored).unwrap().next().is_none(), "{form}");
        stage.run(&importing(&stage)).ok();
        stage.run("check --contents -R @ROOT@").ok();
        stage.run("remove -R @ROOT@ 100-01").ok();
        before.assert_again(&stage, form);
    }
}

#[test]
fn an_archive_outside_the_root_goes_into_the_file_and_comes_back_into_the_root() {
    let stage = Scenario::with(&[web("base\n")]);
    let before = Before::of(&stage);
    let elsewhere = stage.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    stage.patchadd(&format!("-B {}", elsewhere.display()), &patch("100-01")).ok();
    stage.run(&exporting(&stage, &format!("--undo-dir {} 100-01", elsewhere.display()))).ok();
    assert!(!elsewhere.join("100-01/ACMEweb/undo.gz").exists());
    stage.run(&importing(&stage)).ok();
    assert!(save(&stage, "100-01", "undo.gz").exists());
    stage.run("check --contents -R @ROOT@").ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "it came from the file");
}

#[test]
fn a_file_that_is_there_or_cannot_be_made_stops_an_export_before_anything_is_changed() {
    let (stage, _) = stage();
    fs::write(export(&stage), "mine\n").unwrap();
    let tree = stage.everything();
    let said = stage.run(&exporting(&stage, "200-01")).fails(3);
    assert!(said.contains("already exists"), "{said}");
    assert_eq!(fs::read(export(&stage)).unwrap(), b"mine\n");
    stage
        .run(&format!("undo-data export -R @ROOT@ -o {}/no/such 200-01", stage.beside("").display()))
        .fails(1);
    stage.run(&exporting_to(&stage, "again", "300-01")).fails(4);
    stage.run("undo-data export -R @ROOT@ 200-01").fails(2);
    assert_same(&stage.everything(), &tree);
}

#[test]
fn no_undo_data_is_exported_into_the_root_that_it_leaves() {
    let (stage, _) = stage();
    let tree = stage.everything();
    std::os::unix::fs::symlink(stage.at("/opt"), stage.beside("link")).unwrap();
    for inside in [stage.at("/undo.export"), stage.at("/opt/undo.export"), stage.beside("link/undo.export")] {
        let said = stage.run(&format!("undo-data export -R @ROOT@ -o {} 200-01", inside.display())).fails(3);
        assert!(said.contains("is inside the root"), "{said}");
    }
    assert_same(&stage.everything(), &tree);
}

#[test]
fn a_part_of_the_root_that_is_mounted_elsewhere_is_inside_the_root() {
    let (stage, _) = stage();
    let script = "mkdir $BESIDE/mounted && mount --bind $ROOT/opt $BESIDE/mounted";
    let Some(mounted) = Mounted::new("a_part_of_the_root_that_is_mounted…", stage, script) else { return };
    let export = mounted.stage().beside("mounted/undo.export");
    let said = mounted.run(&format!("undo-data export -R @ROOT@ -o {} 200-01", export.display())).fails(3);
    assert!(said.contains("is inside the root"), "{said}");
    let beside = mounted.stage().beside("undo.export");
    mounted.run(&format!("undo-data export -R @ROOT@ -o {} 200-01", beside.display())).ok();
}

#[test]
fn an_archive_that_is_damaged_is_not_exported() {
    let (stage, _) = stage();
    let at = save(&stage, "200-01", "undo.gz");
    let mut bytes = fs::read(&at).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&at, bytes).unwrap();
    let tree = stage.everything();
    let said = stage.run(&exporting(&stage, "100-01 200-01")).fails(3);
    assert!(said.contains("undo.gz"), "{said}");
    assert!(!export(&stage).exists());
    assert_same(&stage.everything(), &tree);
}

#[test]
fn a_file_that_is_cut_damaged_or_something_else_brings_nothing_back_and_loses_nothing() {
    let (stage, before) = stage();
    stage.run(&exporting(&stage, "100-01 200-01")).ok();
    let whole = fs::read(export(&stage)).unwrap();
    let tree = stage.everything();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let end = whole.len() - 1024;
    for (what, bytes, reason) in [
        ("nothing", Vec::new(), "it is empty"),
        ("something else", b"no export\n".to_vec(), "it is not undo data"),
        ("cut in the table", whole[..700].to_vec(), "cut short"),
        ("cut in the middle", whole[..whole.len() / 2].to_vec(), "cut short"),
        ("cut in the last archive", whole[..end - 600].to_vec(), "cut short"),
        ("the first archive alone", whole[..end / 1024 * 512].to_vec(), "cut short"),
        ("a bit of an archive", flipped(end - 700), "damaged"),
        ("a bit of the table", flipped(530), ""),
    ] {
        fs::write(export(&stage), bytes).unwrap();
        let said = stage.run(&importing(&stage)).fails(1);
        assert!(said.contains(reason) && said.contains("export"), "{what}: {said}");
        assert_same(&stage.everything(), &tree);
    }
    fs::remove_file(export(&stage)).unwrap();
    stage.run(&importing(&stage)).fails(1);
    fs::write(export(&stage), whole).unwrap();
    stage.run(&importing(&stage)).ok();
    for id in ["200-01", "100-01"] {
        stage.run(&format!("patchrm -R @ROOT@ {id}")).ok();
    }
    before.assert_again(&stage, "the whole file brought everything back");
}

#[test]
fn an_export_of_another_root_is_refused() {
    let (stage, _) = stage();
    let (other, _) = self::stage();
    stage.run(&exporting(&stage, "200-01")).ok();
    other.run(&exporting(&other, "200-01")).ok();
    let tree = other.everything();
    let line = format!("undo-data import -R @ROOT@ {}", export(&stage).display());
    let said = other.run(&line).fails(1);
    assert!(said.contains("was exported from another root"), "{said}");
    assert_same(&other.everything(), &tree);
    other.run(&importing(&other)).ok();
}

#[test]
fn an_export_of_an_older_application_of_the_same_id_is_refused() {
    let (stage, before) = stage();
    stage.run(&exporting(&stage, "200-01")).ok();
    stage.run(&importing(&stage)).ok();
    stage.run("patchrm -R @ROOT@ 200-01").ok();
    let not_waiting = |reason: &str| {
        let tree = stage.everything();
        let said = stage.run(&importing(&stage)).fails(1);
        assert!(said.contains(reason) && said.contains("200-01"), "{said}");
        assert_same(&stage.everything(), &tree);
    };
    not_waiting("the patch is not applied to it");
    // Another revision with the same base, and then the same id with other bytes.
    stage.patchadd("", &patch("200-02")).ok();
    not_waiting("the patch is not applied to it");
    stage.run("patchrm -R @ROOT@ 200-02").ok();
    stage.patchadd("", &Patch::of("200-01", web("200-01\n").file("bin/more", 0o755, "more\n"))).ok();
    not_waiting("it has different undo data for it");
    stage.run(&exporting_to(&stage, "again", "200-01")).ok();
    not_waiting("but the root exported a different one");
    stage.run(&importing_from(&stage, "again")).ok();
    for id in ["200-01", "100-01"] {
        stage.run(&format!("patchrm -R @ROOT@ {id}")).ok();
    }
    before.assert_again(&stage, "nothing was lost");
}

#[test]
fn one_patch_of_a_file_comes_back_alone() {
    let (stage, _) = stage();
    stage.run(&exporting(&stage, "100-01 200-01")).ok();
    stage.run(&(importing(&stage) + " 300-01")).fails(1);
    stage.run(&(importing(&stage) + " 100-01")).ok();
    assert_eq!((state_of(&stage, "100-01"), state_of(&stage, "200-01")), ("saved".into(), "exported".into()));
    let said = document(&stage, &importing(&stage).replace("-R", "--json -R"));
    let verdicts: Vec<&str> =
        said["archives"].as_array().unwrap().iter().filter_map(|one| one["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["unchanged", "imported"]);
}

#[test]
fn undo_data_of_another_tool_and_of_none_is_not_exported() {
    let stage = Scenario::with(&[web("base\n")]);
    patch("100-01").directory(&stage);
    stage.run("add --no-undo -R @ROOT@ delivered/100-01").ok();
    stage.run(&exporting(&stage, "100-01")).fails(1);
    assert!(!export(&stage).exists());
}
