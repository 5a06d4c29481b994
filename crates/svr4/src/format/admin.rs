//! admin(4): an administrator's answers to questions of an installation.
//!
//! Unknown names are returned for a warning; an unknown value is an error, so that a misspelt `nocheck` does not ask.

use crate::package::Params;

/// The reaction to a failed check (`partial`, `runlevel`, `idepend`, `rdepend`, `space`, `action`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckAnswer {
    /// `nocheck`: continues.
    NoCheck,
    /// `quit`: ends without changing anything.
    Quit,
    /// `ask`: asks the user, and quits if there is no one to ask.
    #[default]
    Ask,
}

/// The reaction to an object that is set-id or belongs to another package (`setuid`, `conflict`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConflictAnswer {
    /// `nocheck`: continues.
    NoCheck,
    /// `quit`: ends without changing anything.
    Quit,
    /// `nochange`: continues without the objects concerned, or without their set-id bits.
    NoChange,
    /// `ask`: asks the user.
    #[default]
    Ask,
}

/// The reaction to a package that is already installed (`instance`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InstanceAnswer {
    /// `quit`, formerly `newonly`: ends without changing anything.
    Quit,
    /// `overwrite`: replaces the only instance.
    Overwrite,
    /// `unique`: installs another instance beside it.
    Unique,
    /// `ask`: asks the user.
    #[default]
    Ask,
}

/// The base directory of relocatable packages (`basedir`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BasedirAnswer {
    /// `default`: the BASEDIR of the package.
    Default,
    /// `ask`: asks the user.
    #[default]
    Ask,
    /// An absolute path, or one that begins with a `$VARIABLE` such as `$PKGINST`.
    Path(Vec<u8>),
}

/// The user that request scripts run as if there is no user `install` (`rscriptalt`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestUser {
    /// `root`: the superuser.
    Root,
    /// `noaccess`: the user `noaccess`, or `nobody` if there is no such user.
    #[default]
    NoAccess,
}

/// The parameters of an admin file. The default is a file that sets nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// `mail`: the users to notify, possibly none. A file without the parameter (`None`) means `root`.
    pub mail: Option<Vec<String>>,
    /// `instance`: the package is already installed.
    pub instance: InstanceAnswer,
    /// `partial`: the package is only partially installed.
    pub partial: CheckAnswer,
    /// `runlevel`: the run level is not one of ISTATES or RSTATES.
    pub runlevel: CheckAnswer,
    /// `idepend`: a dependency is missing at installation.
    pub idepend: CheckAnswer,
    /// `rdepend`: an installed package depends on the one being removed.
    pub rdepend: CheckAnswer,
    /// `space`: the file systems are too small.
    pub space: CheckAnswer,
    /// `setuid`: the package has set-id programs.
    pub setuid: ConflictAnswer,
    /// `conflict`: the package would overwrite objects of other packages.
    pub conflict: ConflictAnswer,
    /// `action`: the package has scripts that run as root.
    pub action: CheckAnswer,
    /// `authentication`: a signature cannot be verified. A file can only say `nocheck` or `quit`.
    pub authentication: CheckAnswer,
    /// `basedir`: the base directory of relocatable packages.
    pub basedir: BasedirAnswer,
    /// `networktimeout`: the longest wait for a server, in seconds.
    pub network_timeout: Option<u32>,
    /// `networkretries`: the number of attempts to connect.
    pub network_retries: Option<u32>,
    /// `keystore`: the directory of trusted certificates.
    pub keystore: Option<Vec<u8>>,
    /// `proxy`: the URL of the HTTP proxy.
    pub proxy: Option<Vec<u8>>,
    /// `rscriptalt`: the user that request scripts run as.
    pub request_user: RequestUser,
}

/// A value that admin(4) does not define.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("admin parameter {name}: <{value}> is not one of {allowed}")]
#[non_exhaustive]
pub struct AdminError {
    /// The parameter's name.
    pub name: &'static str,
    /// The value found, escaped and cut to a readable length.
    pub value: String,
    /// The values allowed, as a message lists them.
    pub allowed: &'static str,
}

type Words<T> = &'static [(&'static str, T)];

const CHECKS: Words<CheckAnswer> =
    &[("nocheck", CheckAnswer::NoCheck), ("quit", CheckAnswer::Quit), ("ask", CheckAnswer::Ask)];
const AUTHENTICATIONS: Words<CheckAnswer> = &[("nocheck", CheckAnswer::NoCheck), ("quit", CheckAnswer::Quit)];
const ALTERATIONS: Words<ConflictAnswer> = &[
    ("nocheck", ConflictAnswer::NoCheck),
    ("quit", ConflictAnswer::Quit),
    ("nochange", ConflictAnswer::NoChange),
    ("ask", ConflictAnswer::Ask),
];
const INSTANCES: Words<InstanceAnswer> = &[
    ("quit", InstanceAnswer::Quit),
    ("newonly", InstanceAnswer::Quit),
    ("overwrite", InstanceAnswer::Overwrite),
    ("unique", InstanceAnswer::Unique),
    ("ask", InstanceAnswer::Ask),
];
const REQUEST_USERS: Words<RequestUser> =
    &[("root", RequestUser::Root), ("noaccess", RequestUser::NoAccess), ("nobody", RequestUser::NoAccess)];

const NAMES: [&str; 17] = [
    "mail",
    "instance",
    "partial",
    "runlevel",
    "idepend",
    "rdepend",
    "space",
    "setuid",
    "conflict",
    "action",
    "authentication",
    "basedir",
    "networktimeout",
    "networkretries",
    "keystore",
    "proxy",
    "rscriptalt",
];

/// A name for `mail` in admin files of other programs. No mail is sent.
const EMAIL: &str = "email";

impl Admin {
    /// Reads an admin file. Returns the answers, and names with a value that admin(4) does not define.
    pub fn from_params(params: &Params) -> Result<(Self, Vec<String>), AdminError> {
        let is_unknown =
            |(name, value): &(&str, &[u8])| !NAMES.contains(name) && *name != EMAIL && !value.is_empty();
        let unknown = params.iter().filter(is_unknown).map(|(name, _)| name.to_owned()).collect();
        let check = |name, allowed| word(params, name, CHECKS, allowed);
        let checks = "nocheck, quit, ask";
        let alterations = "nocheck, quit, nochange, ask";
        let admin = Self {
            mail: params.get("mail").map(users),
            instance: word(params, "instance", INSTANCES, "quit, overwrite, unique, ask")?,
            partial: check("partial", checks)?,
            runlevel: check("runlevel", checks)?,
            idepend: check("idepend", checks)?,
            rdepend: check("rdepend", checks)?,
            space: check("space", checks)?,
            setuid: word(params, "setuid", ALTERATIONS, alterations)?,
            conflict: word(params, "conflict", ALTERATIONS, alterations)?,
            action: check("action", checks)?,
            authentication: word(params, "authentication", AUTHENTICATIONS, "nocheck, quit")?,
            basedir: basedir(params)?,
            network_timeout: number(params, "networktimeout")?,
            network_retries: number(params, "networkretries")?,
            keystore: set(params, "keystore").map(<[u8]>::to_vec),
            proxy: set(params, "proxy").map(<[u8]>::to_vec),
            request_user: word(params, "rscriptalt", REQUEST_USERS, "root, noaccess, nobody")?,
        };
        Ok((admin, unknown))
    }

    /// Returns the answers of the file `default` as systems ship it, for use if that file is missing.
    pub fn delivered() -> Self {
        Self {
            mail: Some(Vec::new()),
            instance: InstanceAnswer::Unique,
            authentication: CheckAnswer::Quit,
            basedir: BasedirAnswer::Default,
            network_timeout: Some(60),
            network_retries: Some(3),
            keystore: Some(b"/var/sadm/security".to_vec()),
            ..Self::default()
        }
    }
}

fn set<'a>(params: &'a Params, name: &str) -> Option<&'a [u8]> {
    params.get(name).filter(|value| !value.is_empty())
}

fn word<T: Copy + Default>(
    params: &Params,
    name: &'static str,
    words: Words<T>,
    allowed: &'static str,
) -> Result<T, AdminError> {
    let Some(value) = set(params, name) else {
        return Ok(T::default());
    };
    let found = words.iter().find(|(word, _)| word.as_bytes() == value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| error(name, value, allowed))
}

fn number(params: &Params, name: &'static str) -> Result<Option<u32>, AdminError> {
    let Some(value) = set(params, name) else {
        return Ok(None);
    };
    let number = super::fields::number(value, u64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok());
    number.map(Some).ok_or_else(|| error(name, value, "the numbers from 0"))
}

fn basedir(params: &Params) -> Result<BasedirAnswer, AdminError> {
    match set(params, "basedir") {
        None | Some(b"ask") => Ok(BasedirAnswer::Ask),
        Some(b"default") => Ok(BasedirAnswer::Default),
        Some(path) if path.starts_with(b"/") || path.starts_with(b"$") => {
            Ok(BasedirAnswer::Path(path.to_vec()))
        }
        Some(value) => {
            Err(error("basedir", value, "default, ask, an absolute path, a path from a $VARIABLE"))
        }
    }
}

fn users(value: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(value).split_whitespace().map(str::to_owned).collect()
}

fn error(name: &'static str, value: &[u8], allowed: &'static str) -> AdminError {
    let shown = &value[..value.len().min(80)];
    AdminError { name, value: shown.escape_ascii().to_string(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::params::ParamFile;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<(Admin, Vec<String>), AdminError> {
        Admin::from_params(&ParamFile::parse(text.as_bytes()).unwrap().params())
    }

    #[test]
    fn a_full_file_gives_every_answer() {
        let text = "# ours\nmail=root adm\ninstance=overwrite\npartial=nocheck\nrunlevel=quit\nidepend=ask\n\
            rdepend=nocheck\nspace=quit\nsetuid=nochange\nconflict=nocheck\naction=nocheck\nbasedir=/opt/$PKGINST\n\
            networktimeout=5\nnetworkretries=0\nauthentication=nocheck\nkeystore=/k\nproxy=http://p\nrscriptalt=root\n";
        let expected = Admin {
            mail: Some(vec!["root".to_owned(), "adm".to_owned()]),
            instance: InstanceAnswer::Overwrite,
            partial: CheckAnswer::NoCheck,
            runlevel: CheckAnswer::Quit,
            idepend: CheckAnswer::Ask,
            rdepend: CheckAnswer::NoCheck,
            space: CheckAnswer::Quit,
            setuid: ConflictAnswer::NoChange,
            conflict: ConflictAnswer::NoCheck,
            action: CheckAnswer::NoCheck,
            authentication: CheckAnswer::NoCheck,
            basedir: BasedirAnswer::Path(b"/opt/$PKGINST".to_vec()),
            network_timeout: Some(5),
            network_retries: Some(0),
            keystore: Some(b"/k".to_vec()),
            proxy: Some(b"http://p".to_vec()),
            request_user: RequestUser::Root,
        };
        assert_eq!(read(text), Ok((expected, vec![])));
    }

    #[test]
    fn what_is_absent_or_empty_is_asked() {
        let (admin, _) = read("partial=\nbasedir=\nproxy=\n").unwrap();
        assert_eq!(admin, Admin::default());
        assert_eq!((admin.partial, admin.basedir), (CheckAnswer::Ask, BasedirAnswer::Ask));
        assert_eq!((read("").unwrap().0.mail, read("mail=").unwrap().0.mail), (None, Some(vec![])));
    }

    #[test]
    fn the_delivered_file_says_what_is_built_in() {
        let text = "mail=\ninstance=unique\npartial=ask\nrunlevel=ask\nidepend=ask\nrdepend=ask\nspace=ask\n\
            setuid=ask\nconflict=ask\naction=ask\nnetworktimeout=60\nnetworkretries=3\nauthentication=quit\n\
            keystore=/var/sadm/security\nproxy=\nbasedir=default\n";
        assert_eq!(read(text), Ok((Admin::delivered(), vec![])));
    }

    #[test]
    fn unknown_names_are_told_and_unknown_values_refused() {
        assert_eq!(read("colour=blue\nMAIL=x\nsize=\nemail=root\n").unwrap().1, ["colour", "MAIL"]);
        let refused = read("partial=nochek\n").unwrap_err();
        assert_eq!(refused.to_string(), "admin parameter partial: <nochek> is not one of nocheck, quit, ask");
        for text in
            ["basedir=opt", "networktimeout=-1", "authentication=ask", "partial=nochange", "instance=x"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("instance=newonly").unwrap().0.instance, InstanceAnswer::Quit);
    }

    proptest! {
        #[test]
        fn no_values_make_it_panic(index in 0..NAMES.len(), value: Vec<u8>) {
            let _ = Admin::from_params(&[(NAMES[index], value)].into_iter().collect());
        }
    }
}
