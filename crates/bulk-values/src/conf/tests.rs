//! Configurations as people write them, and the errors that they get.

use super::*;

fn parse(text: &str) -> Result<Configuration, ConfigurationError> {
    Configuration::parse(text.as_bytes(), Path::new("/srv/bulk"))
}

fn with(text: &str) -> Configuration {
    parse(&format!("tree=/tree\n{text}")).unwrap()
}

fn error(text: &str) -> String {
    parse(&format!("tree=/tree\n{text}")).unwrap_err().to_string()
}

#[test]
fn a_fresh_file_has_every_setting_and_means_the_defaults() {
    let text = Configuration::fresh_text(Path::new("/srv/bulk"), "/tree", None, None).unwrap();
    assert_eq!(parse(&text).unwrap(), with(""));
    for name in SETTINGS {
        assert!(text.contains(&format!("{}=", name.name)), "{}", name.name);
        assert!(!name.text.ends_with('.') && !name.text.contains('\n'), "{}", name.name);
    }
    let ids = IdRange { start: 100_000, count: 65_536 };
    let given = Configuration::fresh_text(Path::new("/srv/bulk"), "/tree", Some("/base"), Some(ids)).unwrap();
    assert_eq!(parse(&given).unwrap(), with("base=/base\nids=100000"));
    let text = Configuration::fresh_text(Path::new("/srv/bulk"), "/tree\npool=/x", None, None);
    assert!(text.is_err(), "a tree cannot bring a setting of its own");
}

#[test]
fn each_default_of_a_fresh_file_is_the_one_in_force() {
    for name in SETTINGS {
        let Some(default) = name.default else { continue };
        assert_eq!(with(&format!("{}={default}", name.name)), with(""), "{}", name.name);
    }
}

#[test]
fn the_defaults_are_those_of_the_manual() {
    let defaults = with("");
    assert_eq!(defaults.pool, PathBuf::from("/srv/bulk/pool"));
    assert_eq!(defaults.build_dir, PathBuf::from("/srv/bulk/build"));
    assert_eq!(defaults.limits, Limits::default());
    assert_eq!(defaults.scan_time, Some(60));
    assert_eq!(defaults.installed_limit, Some(10 << 30));
    assert_eq!(defaults.memory_budget, None);
    assert_eq!(defaults.check, CheckLevel::Install);
    assert_eq!(defaults.keep_runs, 10);
    let BuildBase::Host(host) = &defaults.base else { panic!("{:?}", defaults.base) };
    assert_eq!(host.len(), 12);
    assert_eq!(defaults.slots_on(8, None), [Slot::local(4)]);
    assert_eq!(defaults.slots_on(1, None), [Slot::local(1)]);
    assert_eq!(defaults.slots_on(8, Some(7)), [Slot::local(7)]);
}

#[test]
fn every_setting_is_read() {
    let all = with(
        "# a comment\n\n  list = wanted \npool=/srv/pool\ndistfiles=/srv/dist\nbase=/srv/base\nbase_id=cat /srv/base/id\n\
         mount=/opt/tools\nmount=rw:/var/cache:/cache\nbuild_as=root\nbuild_user=builder\nnetwork=rust-* go-*\n\
         env=A=1\nenv=B=\ncores=6\nmemory_budget=16G\nbuild_dir=/var/tmp/b\ninstalled_limit=0\ntime=2h\nmemory=4G\n\
         limit=lang/* time=8h memory=8G\nscan_time=90\nkey_depends=location\ncheck=strict\nlimit_max=time=4h\n\
         restricted=yes\nrequired=bash curl\nminimum=90%\nset_on_failure=none\npatch_ids=ids\ndepot=/srv/depot\nkey=/k\n\
         password_file=/p\nreport_to=a@x.org, b@x.org\nreport_from=bulk@x.org\nreport_subject=nightly\n\
         report_url=https://x.org/runs/\nreport_command=sendmail -t\nreport_copy=/srv/copy\npoll=git -C /tree rev-parse HEAD\n\
         upload_command=rsync -a . x.org:/packages\nlocal_source=Mirror.local\nlocal_source=[::1]\nkeep_failed=5\nkeep_runs=3\nslot=local 2\nslot=s 16 cores=64 srun --mem={mem}M\n",
    );
    assert_eq!(all.list, Some(PathBuf::from("/srv/bulk/wanted")));
    assert_eq!(all.base, BuildBase::Directory("/srv/base".into()));
    assert_eq!(all.upload_command.unwrap(), ["rsync", "-a", ".", "x.org:/packages"]);
    assert_eq!(all.local_sources, ["mirror.local", "::1"]);
    assert_eq!(all.keep_failed, 5);
    assert_eq!(all.base_id.unwrap(), ["cat", "/srv/base/id"]);
    assert_eq!(all.mounts.len(), 2);
    assert_eq!(all.build_as, BuildIdentity::Root);
    assert_eq!(all.network, BuildNetwork::For(vec!["rust-*".to_owned(), "go-*".to_owned()]));
    assert_eq!(all.env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), String::new())]);
    assert_eq!((all.cores, all.memory_budget, all.installed_limit), (Some(6), Some(16 << 30), None));
    assert_eq!(all.limits.get(LimitName::Time), Some(7200));
    assert_eq!(all.limit_rules.len(), 1);
    assert_eq!(all.key_depends, KeyDepends::Location);
    assert_eq!(all.check, CheckLevel::Strict);
    assert_eq!(all.minimum, Some(SetMinimum::Percent(90)));
    assert_eq!(all.set_on_failure, SetOnFailure::NoSet);
    assert_eq!(all.report.to, ["a@x.org", "b@x.org"]);
    assert_eq!(all.report.command.unwrap(), ["sendmail", "-t"]);
    assert_eq!(all.slots.len(), 2);
    assert!(all.restricted);
}

#[test]
fn a_wrong_line_is_told_with_its_number_and_the_nearest_name() {
    assert_eq!(error("\n# x\nsilense=1h"), "line 4: there is no setting `silense`; did you mean `silence`?");
    assert_eq!(error("frobnicate=1"), "line 2: there is no setting `frobnicate`");
    assert_eq!(error("time=1h\ntime=2h"), "line 3: time is already set in line 2");
    assert_eq!(error("env=A=1\nenv=A=2"), "line 3: env: A is set twice");
    assert_eq!(error("pool"), "line 2: it is not NAME=VALUE");
    assert_eq!(error("pool="), "line 2: pool has no value");
    assert_eq!(
        error("time=soon"),
        "line 2: time: `soon` is not a time: a number of seconds, or with s, m, h"
    );
    assert_eq!(
        error("local_source=localhost:80"),
        "line 2: local_source: `localhost:80` is not a host: its name or address, without a port"
    );
    assert_eq!(error("check=all"), "line 2: check: `all` is not one of none, install, strict");
    assert_eq!(error("pool=../pool"), "line 2: pool: `../pool` steps up with `..`");
    assert_eq!(error("report_subject=a\rb"), "line 2: it has a control character");
    assert_eq!(error("minimum=101%"), "line 2: minimum: `101` is not a number from 0 to 100");
    assert_eq!(parse("pool=/x").unwrap_err().to_string(), "tree is not set");
    let not_text = Configuration::parse(b"tree=/t\nlist=\xff\n", Path::new("/srv/bulk"));
    assert_eq!(not_text.unwrap_err().to_string(), "line 2: it is not UTF-8");
}

#[test]
fn what_a_run_writes_is_not_inside_what_it_builds_from_nor_around_it() {
    assert_eq!(error("pool=/tree/pool"), "line 2: pool is inside tree");
    assert_eq!(error("build_dir=/"), "line 2: tree is inside build_dir");
    assert_eq!(error("base=/srv/bulk/base"), "line 2: base is inside WORK");
    assert_eq!(error("pool=/usr/pool"), "line 2: pool is inside host");
    assert_eq!(parse("tree=sub").unwrap_err().to_string(), "line 1: tree is inside WORK");
    with("pool=/tree2\nbuild_dir=/usrlocal");
    let resolve =
        |path: &Path| if path == Path::new("/srv/bulk/pool") { "/tree/p".into() } else { path.to_owned() };
    let nested = with("").find_nested(Path::new("/srv/bulk"), resolve).unwrap();
    assert_eq!((nested.inner, nested.outer), ("pool", "tree"));
}

#[test]
fn slots_have_names_of_their_own_and_limits_for_their_placeholders() {
    assert_eq!(error("slot=a 1 ssh x\nslot=a 2 ssh y"), "line 3: slot: two have the name a");
    assert_eq!(error("slot=a 1\nslot=b 1"), "line 3: slot: a second one without PREFIX, on this machine");
    let needs = "slot: {mem} needs a limit of memory for every package";
    assert_eq!(error("slot=a 1 srun --mem={mem}M"), format!("line 2: {needs}"));
    assert_eq!(error("memory=1G\nlimit=x memory=0\nslot=a 1 srun {mem}"), format!("line 4: {needs}"));
    assert_eq!(
        error("time=0\nslot=a 1 srun -t{minutes}"),
        "line 3: slot: {minutes} needs a limit of time for every package"
    );
    with("memory=1G\nslot=a 1 srun {mem}");
}

#[test]
fn limit_lines_are_asked_through_the_callers_patterns() {
    let configuration = with("limit=big memory=8G\nlimit=small time=1m");
    let limits = configuration.limits_of(&LimitChanges::default(), |pattern| pattern == "big").unwrap();
    assert_eq!(limits.get(LimitName::Memory), Some(8 << 30));
    assert_eq!(limits.get(LimitName::Time), Some(3600));
}

#[test]
fn no_error_shows_a_password() {
    for line in ["report_url=http//u:PW@h/ x", "file_source=http://u:PW@h", "report_url=ftp://u:P@W@h/"] {
        let error = error(line);
        assert!(error.contains("`...@h") && !error.contains('P'), "{error}");
    }
}

#[test]
fn root_needs_a_user_to_build_as() {
    assert!(with("").lacks_build_user(true));
    assert!(!with("").lacks_build_user(false));
    assert!(!with("build_user=b").lacks_build_user(true));
    assert!(!with("build_as=root").lacks_build_user(true));
}

#[test]
fn a_mount_has_two_absolute_paths_of_which_one_can_be_left_out() {
    let mount = |text: &str| {
        let mount = SandboxMount::parse(text).unwrap();
        (mount.is_writable, mount.source, mount.target)
    };
    assert_eq!(mount("/srv/x"), (false, "/srv/x".into(), "/srv/x".into()));
    assert_eq!(mount("rw:/srv/x:/x"), (true, "/srv/x".into(), "/x".into()));
    for wrong in ["", "rw:", "x", "/a:b", "/a:/b:/c", "ro:/a", "/a/../b"] {
        assert!(SandboxMount::parse(wrong).is_err(), "{wrong}");
    }
}
