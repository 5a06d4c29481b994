//! The environment of each script, compared with the table of procedure-scripts(7) and with that of the classic tools.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use patchadm_svr4::format::params::ParamFile;

fn params(pairs: &[(&str, &str)]) -> Params {
    pairs.iter().map(|(name, value)| (*name, *value)).collect()
}

/// A package that goes to `/opt/web` under `/export/root`.
struct Scene {
    package: Params,
    response: Params,
    instance: PkgInst,
    base: ObjectPath,
    locale: [(String, OsString); 1],
}

impl Scene {
    fn new() -> Self {
        Self {
            package: params(&[
                ("PKG", "ACMEweb"),
                ("BASEDIR", "/opt/web"),
                ("PATH", "/evil"),
                ("lower", "kept"),
            ]),
            response: params(&[("ASKED", "yes"), ("lower", "changed"), ("PATH", "/evil")]),
            instance: PkgInst::new("ACMEweb").unwrap(),
            base: ObjectPath::new(b"/opt/web").unwrap(),
            locale: [("TZ".to_owned(), OsString::from("UTC0"))],
        }
    }

    fn basis(&self) -> EnvironmentInput<'_> {
        EnvironmentInput {
            package: &self.package,
            installed: None,
            response: &self.response,
            instance: &self.instance,
            root: Path::new("/export/root/"),
            base: Some(&self.base),
            data_directory: Some(Path::new("/spool")),
            temporary: Path::new("/var/tmp/patchadm-1"),
            install_date: Some("Nov 20 2026 07:03"),
            has_begun: false,
            locale: &self.locale,
            path: OsStr::new("/tools:/usr/bin"),
            run: None,
        }
    }
}

fn of(script: &ProcedureScript, basis: &EnvironmentInput<'_>) -> BTreeMap<String, String> {
    map(environment(basis, script, ScriptOrigin::Package))
}

fn map(variables: Vec<(OsString, OsString)>) -> BTreeMap<String, String> {
    let text = |word: OsString| word.into_string().unwrap();
    variables.into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn early_scripts_see_the_package_as_it_was_delivered() {
    for script in [ProcedureScript::Request, ProcedureScript::Checkinstall] {
        let scene = Scene::new();
        let variables = of(&script, &scene.basis());
        assert_eq!(variables["BASEDIR"], "/opt/web");
        assert_eq!(variables["PKG_INSTALL_ROOT"], "/export/root/");
        assert_eq!(variables["PKGSAV"], "/export/root/var/sadm/pkg/ACMEweb/save");
        for absent in
            ["CLIENT_BASEDIR", "INSTDATE", "UPDATE", "TMPDIR", "PKG_PROC_SCRIPT", "PKG_PROC_script", RUN]
        {
            assert!(!variables.contains_key(absent), "{script:?}: {absent}");
        }
    }
}

#[test]
fn the_root_of_the_running_system_is_not_spoken_of() {
    let scene = Scene::new();
    let on_system = EnvironmentInput { root: Path::new("/"), ..scene.basis() };
    let variables = of(&ProcedureScript::Preinstall, &on_system);
    assert_eq!(
        (variables["BASEDIR"].as_str(), variables["CLIENT_BASEDIR"].as_str()),
        ("/opt/web", "/opt/web")
    );
    assert_eq!(variables["PKGSAV"], "/var/sadm/pkg/ACMEweb/save");
    assert!(!variables.contains_key("PKG_INSTALL_ROOT"));
}

#[test]
fn a_package_may_be_based_at_the_top() {
    let scene = Scene { base: ObjectPath::root(), ..Scene::new() };
    let based = |root: &str| {
        let basis = EnvironmentInput { root: Path::new(root), ..scene.basis() };
        of(&ProcedureScript::Preinstall, &basis)["BASEDIR"].clone()
    };
    assert_eq!((based("/"), based("/r/")), ("/".to_owned(), "/r".to_owned()));
}

#[test]
fn nothing_but_the_engine_sets_the_search_path_and_answers_begin_with_a_capital() {
    let scene = Scene::new();
    let variables =
        of(&ProcedureScript::Postinstall, &EnvironmentInput { run: Some("17-abc"), ..scene.basis() });
    assert_eq!(variables["PATH"], "/tools:/usr/bin");
    assert_eq!((variables["lower"].as_str(), variables["ASKED"].as_str()), ("kept", "yes"));
    assert_eq!((variables["TZ"].as_str(), variables[RUN].as_str()), ("UTC0", "17-abc"));
}

#[test]
fn scripts_of_a_removal_know_no_medium() {
    for (script, mark) in [
        (ProcedureScript::Preremove, "preremove"),
        (ProcedureScript::RemoveClass("none".into()), "preremove"),
        (ProcedureScript::Postremove, "postremove"),
    ] {
        let scene = Scene::new();
        let variables = of(&script, &EnvironmentInput { has_begun: true, ..scene.basis() });
        assert!(!variables.contains_key("INST_DATADIR"), "{script:?}");
        assert_eq!(
            (variables["TMPDIR"].as_str(), variables["PKG_PROC_SCRIPT"].as_str()),
            ("/var/tmp/", mark)
        );
        assert_eq!(variables["BASEDIR"], "/export/root/opt/web");
    }
}

#[test]
fn what_is_no_variable_is_left_out() {
    let package =
        params(&[("A=B", "x"), ("", "x"), ("NUL", "a\0b"), ("PATCH_INFO_1-01", "x"), ("PATCH_ID", "kept")]);
    let scene = Scene { package, ..Scene::new() };
    let variables = of(&ProcedureScript::Request, &scene.basis());
    assert!(!variables.keys().any(|name| ["A=B", "", "NUL", "PATCH_INFO_1-01"].contains(&name.as_str())));
    assert_eq!(variables["PATCH_ID"], "kept");
}

#[test]
fn what_a_loader_or_a_shell_acts_on_reaches_no_script_from_whatever_source() {
    let bad = [
        ("LD_PRELOAD", "/x.so"),
        ("ENV", "/x"),
        ("PS4", "$(id)"),
        ("USER", "() { :; }; id"),
        ("PATCHADM_RUN", "1-a"),
    ];
    let installed = params(&bad);
    let locale = [("LC_ALL".to_owned(), OsString::from("() { :; }"))];
    let scene = Scene { package: params(&bad), response: params(&bad), ..Scene::new() };
    for origin in [ScriptOrigin::Package, ScriptOrigin::Elsewhere] {
        let basis = EnvironmentInput { installed: Some(&installed), locale: &locale, ..scene.basis() };
        let variables = map(environment(&basis, &ProcedureScript::Postinstall, origin));
        for name in ["LD_PRELOAD", "ENV", "PS4", "USER", "PATCHADM_RUN", "LC_ALL"] {
            assert!(!variables.contains_key(name), "{origin:?} {name}");
        }
    }
}

#[test]
fn a_script_that_did_not_come_with_the_package_gets_the_names_that_it_knows() {
    let package =
        params(&[("PKG", "ACMEweb"), ("VENDOR", "ACME"), ("LIBDIR", "/x"), ("SUNW_PKGTYPE", "root")]);
    let scene = Scene { package, ..Scene::new() };
    let script = ProcedureScript::InstallClass("build".to_owned());
    let all = map(environment(&scene.basis(), &script, ScriptOrigin::Package));
    let mut named = map(environment(&scene.basis(), &script, ScriptOrigin::Elsewhere));
    assert_eq!((all["LIBDIR"].as_str(), all["ASKED"].as_str()), ("/x", "yes"));
    assert_eq!((named["VENDOR"].as_str(), named["SUNW_PKGTYPE"].as_str()), ("ACME", "root"));
    for name in ["LIBDIR", "ASKED"] {
        assert!(!named.contains_key(name), "{name}");
        named.insert(name.to_owned(), all[name].clone());
    }
    assert_eq!(named, all, "everything else is the same");
}

/// A recorded step: the place, the package, the installed package that it replaces, and the answers of its scripts.
struct Recorded {
    step: &'static str,
    package: &'static str,
    installed: Option<&'static str>,
    response: &'static [(&'static str, &'static str)],
    /// Answers of checkinstall.
    later: &'static [(&'static str, &'static str)],
    dumps: &'static [(&'static str, ProcedureScript)],
}

/// The answers of the stock front end.
const STOCK: &[(&str, &str)] = &[
    ("PATCH_PROGRESSIVE", "false"),
    ("PATCH_NO_UNDO", "false"),
    ("PATCH_UNCONDITIONAL", "false"),
    ("PATCH_BUILD_DIR", ""),
    ("PATCH_UNDO_ARCHIVE", "none"),
    ("INTERRUPTION", "no"),
];

#[test]
fn the_environment_is_the_one_that_the_classic_pkgadd_gives() {
    let base = "02-apply-01/out/base/snap/pkg/SUNWstuf/pkginfo";
    let steps = [
        Recorded {
            step: "01-base-install",
            package: "base",
            installed: None,
            response: &[],
            later: &[("STUF_ASKED", "yes it is")],
            dumps: &[
                ("checkinstall", ProcedureScript::Checkinstall),
                ("preinstall", ProcedureScript::Preinstall),
                ("i.script", ProcedureScript::Preinstall),
                ("postinstall", ProcedureScript::Postinstall),
            ],
        },
        Recorded {
            step: "02-apply-01",
            package: "103201-01-env",
            installed: Some(base),
            response: STOCK,
            later: &[("PATCHLIST", "103201-01"), ("SCRIPTS_DIR", "@PKGS@/103201-01-env/SUNWstuf/install")],
            dumps: &[
                ("checkinstall", ProcedureScript::Checkinstall),
                ("preinstall", ProcedureScript::Preinstall),
                ("i.none", ProcedureScript::Preinstall),
                ("postinstall", ProcedureScript::Postinstall),
            ],
        },
    ];
    let goldens = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/goldens"));
    if !goldens.exists() {
        crate::skipped("the_environment_is_the_one_that_the_classic_pkgadd_gives: ../shared is not here");
        return;
    }
    for step in steps {
        for (name, script) in step.dumps {
            let script = name
                .strip_prefix("i.")
                .map_or(script.clone(), |class| ProcedureScript::InstallClass(class.into()));
            assert_eq!(
                ours(goldens, &step, &script),
                theirs(goldens, step.step, name),
                "{} {name}",
                step.step
            );
        }
    }
}

/// Returns the environment for a recorded step, without variables that differ from machine to machine.
fn ours(goldens: &Path, step: &Recorded, script: &ProcedureScript) -> BTreeMap<String, String> {
    let read = |path: String| ParamFile::parse(&fs::read(goldens.join(path)).unwrap()).unwrap().params();
    let package = read(format!("pkgs/{}/SUNWstuf/pkginfo", step.package));
    let installed = step.installed.map(|path| read(path.to_owned()));
    let mut answers = step.response.to_vec();
    if *script != ProcedureScript::Checkinstall {
        answers.extend(step.later);
    }
    let response = params(&answers);
    let instance = PkgInst::new("SUNWstuf").unwrap();
    let base = ObjectPath::new(b"/opt/SUNWstuf").unwrap();
    let data = format!("@PKGS@/{}", step.package);
    let basis = EnvironmentInput {
        package: &package,
        installed: installed.as_ref(),
        response: &response,
        instance: &instance,
        root: Path::new("@ROOT@"),
        base: Some(&base),
        data_directory: Some(Path::new(&data)),
        temporary: Path::new("/t"),
        install_date: Some("Nov 20 2026 07:03"),
        has_begun: true,
        locale: &[("LANG".to_owned(), OsString::from("C.UTF-8"))],
        path: OsStr::new("/p"),
        run: None,
    };
    comparable(map(environment(&basis, script, ScriptOrigin::Package)))
}

fn theirs(goldens: &Path, step: &str, script: &str) -> BTreeMap<String, String> {
    let dumps = fs::read_dir(goldens.join(step).join("out/envdump")).unwrap();
    let mut dumps = dumps.map(|entry| entry.unwrap().path());
    let dump = dumps.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(script)).unwrap();
    let text = fs::read_to_string(dump).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let variables = lines.filter(|(name, _)| name.starts_with(|letter: char| letter.is_ascii_uppercase()));
    comparable(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Makes variables comparable. The search path and the directory for temporary files depend on the machine; only their
/// existence counts. Names that are no shell variables are in the environment of the classic tool only.
fn comparable(mut variables: BTreeMap<String, String>) -> BTreeMap<String, String> {
    variables.retain(|name, _| exports::is_variable(name));
    for (name, value) in &mut variables {
        if ["PATH", "TMPDIR"].contains(&name.as_str()) {
            "there".clone_into(value);
        }
    }
    variables
}
