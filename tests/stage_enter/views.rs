//! The view inside a stage, and the parts of it that can be changed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::{StagedRoot, run};
use crate::scenario::is_root;

#[test]
fn staged_paths_are_changed_in_the_stage_and_the_live_root_cannot_be() {
    for staged in StagedRoot::for_everybody("staged_paths_are_changed…") {
        let said = staged
            .script(
                "",
                "cat /opt/web/bin/httpd /var/db/web/list /opt/other; echo new > /opt/web/new; rm /var/db/web/list\n\
                 for place in /opt/x /opt/other /etc/passwd /usr/x /dev/../x; do\n\
                 (echo bad > $place) 2>/dev/null && echo wrote $place; done; rm -f /opt/other 2>/dev/null\n\
                 echo $PATCHADM_STAGE; pwd; echo t > /tmp/of-stage",
            )
            .ok();
        assert_eq!(said, "staged\nstaged\nlive\nweb\n/\n", "{}", staged.who());
        assert_eq!(staged.staged_text("opt/web/new"), "new\n");
        assert_eq!(staged.staged_text("tmp/of-stage"), "t\n");
        assert!(!staged.stage().join("var/db/web/list").exists());
        assert!(!staged.scenario.at("/opt/web/new").exists());
    }
}

#[test]
fn the_live_system_itself_is_the_root_where_no_other_is_named() {
    for staged in StagedRoot::for_everybody("the_live_system_itself…") {
        let live = staged.scenario.at("/opt/web");
        super::make_stage(&staged.stage(), std::path::Path::new("/"), &[live.to_str().unwrap()]);
        let script = format!(
            "echo new > {0}/new && cat {0}/new; for place in /usr/bin/x /etc/x /var/x /x; do \
             (: > $place) 2>/dev/null && echo wrote $place; done; true",
            live.display()
        );
        let mut command = staged.action("enter", "");
        command.args(["--", "/bin/sh", "-c", &script]);
        // The action names the root of the scenario; the last -R would be a second one.
        let words: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let mut own = crate::everyman::program_like(&command);
        own.args(words.iter().skip(2));
        let said = run(&staged.scenario, own);
        assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (0, "new\n", ""));
        assert!(!live.join("new").exists());
    }
}

#[test]
fn in_the_other_view_the_stage_is_all_there_is() {
    for staged in StagedRoot::for_everybody("in_the_other_view…") {
        let said = staged
            .script(
                "--view stage",
                "ls /opt /var/db; cat /opt/web/bin/httpd; ls -A /.patchadm-stage; echo new > /made; ls /etc; true",
            )
            .fails(0);
        assert_eq!(said, "ls: cannot access '/etc': No such file or directory\n");
        assert_eq!(staged.staged_text("made"), "new\n");
        assert!(staged.stage().join(".patchadm-stage/identity").exists());
    }
}

#[test]
fn processes_devices_and_descriptors_are_those_of_the_inside() {
    for staged in StagedRoot::for_everybody("processes_devices_and_descriptors…") {
        let said = staged
            .script(
                "",
                "ls /dev | tr '\\n' ' '; echo; ls /proc/self/fd | tr '\\n' ' '; echo; cat /proc/1/comm; \
                 echo lost > /dev/null && head -c 4 /dev/zero | wc -c; echo $$; \
                 readlink /dev/fd /dev/ptmx; stat -c %a /dev/shm; umask",
            )
            .ok();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ");
        // The fourth is the directory that ls reads.
        assert_eq!(lines[1], "0 1 2 3 ");
        assert_eq!(
            lines[2..],
            ["patchadm", "4", "2", "/proc/self/fd", "pts/ptmx", "1777", "0022"][..].to_vec()
        );
    }
}

#[test]
fn a_descriptor_that_the_caller_has_open_is_not_inherited() {
    let Some(staged) = StagedRoot::for_caller("a_descriptor…") else { return };
    let entering = staged.entering("", &["ls", "/proc/self/fd"]);
    let mut outer = std::process::Command::new("sh");
    outer.args(["-c", "exec 7</etc/passwd 9>&1; exec \"$@\"", "sh"]).arg(entering.get_program());
    outer.args(entering.get_args()).env_clear();
    for (name, value) in entering.get_envs() {
        outer.env(name, value.unwrap_or_default());
    }
    assert_eq!(run(&staged.scenario, outer).ok(), "0\n1\n2\n3\n");
}

#[test]
fn the_caller_keeps_their_id_or_is_root_and_their_mask() {
    for staged in StagedRoot::for_everybody("the_caller_keeps_their_id…") {
        let own = fs::metadata(staged.stage().join("opt")).unwrap().uid();
        assert_eq!(staged.enter("", &["id", "-u"]).ok(), format!("{own}\n"));
        assert_eq!(staged.enter("--as-root", &["id", "-u"]).ok(), "0\n");
        staged.script("--as-root", "chown 0:0 /opt/web/bin/httpd && : > /opt/web/as-root").ok();
        assert_eq!(fs::metadata(staged.stage().join("opt/web/as-root")).unwrap().uid(), own);
        let entering = staged.entering("", &["sh", "-c", "umask; grep CapEff /proc/self/status"]);
        let mut outer = std::process::Command::new("sh");
        outer.args(["-c", "umask 027; exec \"$@\"", "sh"]).arg(entering.get_program());
        outer.args(entering.get_args());
        if own == 0 {
            assert!(run(&staged.scenario, outer).ok().starts_with("0027\n"));
        } else {
            let said = staged.script("", "grep CapEff /proc/self/status").ok();
            assert_eq!(said, "CapEff:\t0000000000000000\n");
        }
    }
}

#[test]
fn other_directories_are_mounted_read_only_unless_they_are_named_as_writable() {
    for staged in StagedRoot::for_everybody("other_directories_are_mounted…") {
        let (sources, build) = (staged.stage().join("opt/web/bin"), staged.stage().join("opt/web/build"));
        fs::create_dir_all(&build).unwrap();
        fs::create_dir_all(staged.scenario.at("/srv/src")).unwrap();
        fs::create_dir_all(staged.scenario.at("/srv/build")).unwrap();
        let options =
            format!("--mount {}:/srv/src --mount rw:{}:/srv/build", sources.display(), build.display());
        let said = staged.script(
            &options,
            "cat /srv/src/httpd; (: > /srv/src/x) 2>/dev/null && echo wrote; echo built > /srv/build/out",
        );
        assert_eq!(said.ok(), "staged\n");
        assert_eq!(fs::read_to_string(build.join("out")).unwrap(), "built\n");
        let file = staged.scenario.beside("mounts");
        fs::write(&file, format!("# sources\n{}:/srv/src\n", sources.display())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let by_file = staged.enter(&format!("--mounts {}", file.display()), &["cat", "/srv/src/httpd"]);
        assert_eq!(by_file.ok(), "staged\n");
        fs::copy(&file, staged.stage().join(".patchadm-stage/mounts")).unwrap();
        assert_eq!(staged.enter("", &["cat", "/srv/src/httpd"]).ok(), "staged\n");
    }
}

#[test]
fn a_mount_point_that_is_a_link_is_resolved_inside_and_named() {
    for staged in StagedRoot::for_everybody("a_mount_point_that_is_a_link…") {
        let outside = staged.scenario.beside("etc");
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir_all(staged.scenario.at("/etc/real")).unwrap();
        staged.scenario.symlink("/link", "/etc/real");
        staged.scenario.symlink("/up", "../../../../etc/real");
        for place in ["/link", "/up", "/../../etc/./real"] {
            let options = format!("--mount {}:{place}", staged.stage().join("opt/web/bin").display());
            let said = staged.enter(&options, &["cat", "/etc/real/httpd"]);
            let named = format!("patchadm: {place} is a link: mounted at /etc/real\n");
            assert_eq!((said.code, said.stdout.as_str(), said.stderr), (0, "staged\n", named));
        }
        assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    }
}

#[test]
fn a_missing_mount_point_is_made_in_the_stage_and_nowhere_else() {
    for staged in StagedRoot::for_everybody("a_missing_mount_point…") {
        let source = staged.stage().join("opt/web/bin");
        let options = |place: &str| format!("--mount {}:{place}", source.display());
        let made = staged.script(&format!("--view stage {}", options("/srv/a/b")), "cat /srv/a/b/httpd");
        assert_eq!(made.ok(), "staged\n");
        assert!(staged.stage().join("srv/a/b").is_dir());
        let in_staged = staged.script(&options("/opt/web/srv"), "cat /opt/web/srv/httpd");
        assert_eq!(in_staged.ok(), "staged\n");
        assert!(staged.stage().join("opt/web/srv").is_dir());
        let said = staged.script(&options("/srv/c"), "true").fails(125);
        assert!(said.contains("cannot make the mount point /srv/c: it is missing, and this part"), "{said}");
        // Nor in a directory that is mounted from the host.
        let nested = format!("--mount rw:{}:/usr {}", source.display(), options("/usr/inner"));
        let said = staged.script(&nested, "true").fails(125);
        assert!(said.contains("cannot make the mount point /usr/inner"), "{said}");
        assert!(!source.join("inner").exists());
    }
}

#[test]
fn a_file_is_mounted_on_a_file() {
    for staged in StagedRoot::for_everybody("a_file_is_mounted_on_a_file") {
        let source = staged.stage().join("opt/web/bin/httpd");
        let on_file = staged.script(&format!("--mount {}:/etc/passwd", source.display()), "cat /etc/passwd");
        assert_eq!(on_file.ok(), "staged\n");
        let on_directory = staged.script(&format!("--mount {}:/etc", source.display()), "true");
        assert!(on_directory.fails(125).contains("cannot mount /etc: "));
    }
}

#[test]
fn a_link_in_the_stage_leads_no_mount_out_of_it() {
    for staged in StagedRoot::for_everybody("a_link_in_the_stage…") {
        fs::create_dir_all(staged.scenario.at("/private")).unwrap();
        fs::write(staged.scenario.at("/private/canary"), "alive").unwrap();
        fs::remove_dir_all(staged.stage().join("var/db/web")).unwrap();
        symlink(staged.scenario.at("/private"), staged.stage().join("var/db/web")).unwrap();
        let said = staged.script("", "rm -f /var/db/web/canary").fails(125);
        assert!(said.contains("cannot mount"), "{said}");
        assert_eq!(fs::read_to_string(staged.scenario.at("/private/canary")).unwrap(), "alive");
    }
}

#[test]
fn working_directories_of_the_stage_are_where_the_root_has_them() {
    for staged in StagedRoot::for_everybody("working_directories…") {
        staged.write("build/marker", "of the stage\n");
        fs::write(staged.stage().join(".patchadm-stage/directories"), "build\nabsent\n").unwrap();
        fs::create_dir_all(staged.scenario.at("/build")).unwrap();
        let said = staged.script("", "cat /build/marker; echo built > /build/out; ls /absent 2>/dev/null");
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("of the stage\n", ""));
        assert_eq!(staged.staged_text("build/out"), "built\n");
    }
}

#[test]
fn a_file_with_set_id_gives_an_ordinary_user_nothing() {
    let Some(staged) = StagedRoot::for_test("a_file_with_set_id…", true).filter(|_| is_root()) else {
        return;
    };
    // Owned by root: the user only has it in the stage.
    let id = staged.stage().join("opt/web/bin/id");
    let entering = staged.entering("", &["/opt/web/bin/id", "-u"]);
    fs::copy("/usr/bin/id", &id).unwrap();
    std::os::unix::fs::chown(&id, Some(0), Some(0)).unwrap();
    fs::set_permissions(&id, fs::Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(run(&staged.scenario, entering).ok(), format!("{}\n", crate::everyman::NOBODY));
    let as_root = staged.stage().join("opt/web/bin/id");
    assert_eq!(fs::metadata(as_root).unwrap().mode() & 0o7777, 0o4755);
}

#[test]
fn a_stage_inside_the_root_is_the_usual_case() {
    for staged in StagedRoot::for_everybody("a_stage_inside_the_root…") {
        let inside = staged.scenario.at("/usr/pkg_jail");
        super::make_stage(&inside, &staged.scenario.root(), &["/opt/web"]);
        fs::write(inside.join("opt/web/mark"), "in\n").unwrap();
        // A mount on /usr would hide it.
        let mut entering = staged.action("enter", "--mount /bin --mount /lib --mount /lib64");
        let words: Vec<String> = entering.get_args().map(|word| word.to_str().unwrap().to_owned()).collect();
        let words =
            words.iter().map(|word| word.replace(staged.stage().to_str().unwrap(), inside.to_str().unwrap()));
        let words: Vec<String> = words.collect();
        let mut own = crate::everyman::program_like(&entering);
        own.args(words).args(["--", "/bin/sh", "-c", "read a < /opt/web/mark; echo $a; : > /opt/web/made"]);
        entering = own;
        let said = run(&staged.scenario, entering);
        assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (0, "in\n", ""));
        assert!(inside.join("opt/web/made").exists() && !staged.scenario.at("/opt/web/made").exists());
    }
}
