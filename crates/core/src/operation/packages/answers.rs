//! Admin and response files of pkgadd(1M) and pkgrm(1M). Absolute paths are paths of the host. Other admin files are
//! searched in the current directory, then in `var/sadm/install/admin` of the root.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::operation::failure::Failure;
use crate::operation::scripts::interview::ScriptAnswers;
use patchadm_inputs::input_file::read_start;
use patchadm_planning::plan::refusal::Refusal;
use patchadm_rootfs::Root;
use patchadm_svr4::format::admin::{Admin, BasedirAnswer, CheckAnswer, ConflictAnswer, InstanceAnswer};
use patchadm_svr4::format::params::{LARGEST_FILE, ParamFile};
use patchadm_svr4::format::response::Response;
use patchadm_svr4::places;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdminFile {
    pub(crate) admin: Admin,
    /// Unknown to admin(4).
    pub(crate) unknown: Vec<String>,
}

/// `none` asks everything. Without a name: the root's file `default`, or else the answers that systems deliver.
pub(crate) fn admin(root: &Root, named: Option<&Path>) -> Result<AdminFile, Failure> {
    let bad = |reason: &dyn std::fmt::Display| {
        let name = named.unwrap_or(Path::new("default"));
        Failure::BadFile(format!("unable to open admin file <{}>: {reason}", name.display()))
    };
    let of_root = |name: &Path| {
        let path = places::install().join(b"admin").and_then(|admin| admin.join(name.as_os_str().as_bytes()));
        root.read(&path.map_err(|error| bad(&error))?, LARGEST_FILE as u64).map_err(Failure::from)
    };
    let text = match named {
        Some(name) if name == Path::new("none") => return Ok(AdminFile::default()),
        Some(path) => match read_start(path, LARGEST_FILE as u64) {
            Ok(text) => text,
            Err(error) if path.is_relative() && error.kind() == io::ErrorKind::NotFound => {
                let missing = || bad(&"No such file or directory");
                of_root(path)?.ok_or_else(missing)?
            }
            Err(error) => return Err(bad(&words_of(&error))),
        },
        None => match of_root(Path::new("default"))? {
            Some(text) => text,
            None => return Ok(AdminFile { admin: Admin::delivered(), unknown: Vec::new() }),
        },
    };
    let params = ParamFile::parse(&text).map_err(|error| bad(&error))?.params();
    let (admin, unknown) = Admin::from_params(&params).map_err(|error| bad(&error))?;
    Ok(AdminFile { admin, unknown })
}

/// Reads the file, or the package's file in a directory.
pub(crate) fn response(named: Option<&Path>, package: &str) -> Result<Option<ScriptAnswers>, Failure> {
    let Some(path) = named else { return Ok(None) };
    let bad = |path: &Path, reason: &dyn std::fmt::Display| {
        Failure::BadResponseFile(format!("response file <{}>: {reason}", path.display()))
    };
    if !path.is_absolute() {
        return Err(bad(path, &"it must be specified by an absolute path"));
    }
    let path = if path.is_dir() { path.join(package) } else { PathBuf::from(path) };
    let text = read_start(&path, LARGEST_FILE as u64).map_err(|error| bad(&path, &words_of(&error)))?;
    let params = Response::parse(&text).map_err(|error| bad(&path, &error))?.params;
    Ok(Some(ScriptAnswers { text, params, warned: false }))
}

fn words_of(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

type Agreement = fn(&mut Admin);

const AGREEMENTS: [Agreement; 9] = [
    |admin| agree(&mut admin.instance, &InstanceAnswer::Ask, InstanceAnswer::Unique),
    |admin| agree(&mut admin.partial, &CheckAnswer::Ask, CheckAnswer::NoCheck),
    |admin| agree(&mut admin.basedir, &BasedirAnswer::Ask, BasedirAnswer::Default),
    |admin| agree(&mut admin.idepend, &CheckAnswer::Ask, CheckAnswer::NoCheck),
    |admin| agree(&mut admin.rdepend, &CheckAnswer::Ask, CheckAnswer::NoCheck),
    |admin| agree(&mut admin.setuid, &ConflictAnswer::Ask, ConflictAnswer::NoCheck),
    |admin| agree(&mut admin.conflict, &ConflictAnswer::Ask, ConflictAnswer::NoCheck),
    |admin| agree(&mut admin.space, &CheckAnswer::Ask, CheckAnswer::NoCheck),
    |admin| agree(&mut admin.action, &CheckAnswer::Ask, CheckAnswer::NoCheck),
];

fn agree<T: PartialEq>(answer: &mut T, open: &T, agreed: T) {
    if answer == open {
        *answer = agreed;
    }
}

/// Returns questions that the admin file leaves open, as sentences without a period. `plan` plans without asking.
pub(crate) fn open_questions<T>(admin: &Admin, plan: impl Fn(&Admin) -> Result<T, Refusal>) -> Vec<String> {
    let raised = |open: usize| {
        let mut asked = admin.clone();
        let others = AGREEMENTS.iter().enumerate().filter(|(at, _)| *at != open);
        others.for_each(|(_, agree)| agree(&mut asked));
        plan(&asked).err()?.reason.question()
    };
    (0..AGREEMENTS.len()).filter_map(raised).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_planning::plan::refusal::{Command, Reason};

    fn plan(admin: &Admin) -> Result<(), Refusal> {
        let ask = |text: &str| {
            let reason = Reason::Interaction { found: text.to_owned(), answer: "" };
            Err(reason.of(Command::Pkgadd, &"X"))
        };
        match (admin.partial, admin.conflict) {
            (CheckAnswer::Ask, _) => ask("partial"),
            (_, ConflictAnswer::Ask) => ask("conflict"),
            _ => Ok(()),
        }
    }

    #[test]
    fn each_question_that_the_case_raises_is_asked_once() {
        assert_eq!(open_questions(&Admin::default(), plan), ["partial", "conflict"]);
        let decided = Admin { partial: CheckAnswer::NoCheck, ..Admin::default() };
        assert_eq!(open_questions(&decided, plan), ["conflict"]);
    }

    #[test]
    fn the_admin_file_is_the_named_one_or_the_default_of_the_root_or_the_delivered_answers() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(admin(&root, None).unwrap().admin, Admin::delivered());
        assert_eq!(admin(&root, Some(Path::new("none"))).unwrap().admin, Admin::default());
        let error = admin(&root, Some(Path::new("mine"))).unwrap_err().to_string();
        assert_eq!(error, "unable to open admin file <mine>: No such file or directory");
        let named = dir.path().join("var/sadm/install/admin");
        std::fs::create_dir_all(&named).unwrap();
        std::fs::write(named.join("default"), "conflict=nocheck\ncolour=red\n").unwrap();
        let file = admin(&root, None).unwrap();
        assert_eq!((file.admin.conflict, file.unknown), (ConflictAnswer::NoCheck, vec!["colour".to_owned()]));
        std::fs::write(named.join("mine"), "conflict=perhaps\n").unwrap();
        for name in [Path::new("mine"), &named.join("mine")] {
            let error = admin(&root, Some(name)).unwrap_err().to_string();
            let what = "admin parameter conflict: <perhaps> is not one of nocheck, quit, nochange, ask";
            assert_eq!(error, format!("unable to open admin file <{}>: {what}", name.display()));
        }
    }

    #[test]
    fn a_directory_of_response_files_has_one_for_each_package() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ACMEfoo"), "COLOUR=\"light blue\"\nPKG=other\n").unwrap();
        for path in [dir.path().to_owned(), dir.path().join("ACMEfoo")] {
            let answered = response(Some(&path), "ACMEfoo").unwrap().unwrap();
            assert_eq!(answered.params, [("COLOUR", "light blue")].into_iter().collect());
        }
        let error = response(Some(Path::new("answers")), "X").unwrap_err().to_string();
        assert_eq!(error, "response file <answers>: it must be specified by an absolute path");
        let error = response(Some(dir.path()), "X").unwrap_err().to_string();
        assert!(error.ends_with("/X>: No such file or directory"), "{error}");
    }
}
