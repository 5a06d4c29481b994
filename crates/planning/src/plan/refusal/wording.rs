//! The wording of advice: commands that can be typed as they stand, with the options and the root of the command that
//! asked.

use std::borrow::Cow;
use std::path::Path;

/// Without a root, advice with one of these verbs would be about `/`.
const OF_A_ROOT: [&str; 18] = [
    "add",
    "adopt",
    "check",
    "confirm",
    "history",
    "key",
    "libs",
    "list",
    "missing",
    "plan",
    "recover",
    "remove",
    "show",
    "stage",
    "status",
    "undo",
    "undo-data",
    "update",
];

const COMMAND: &str = "`patchadm ";

/// Advice in the options of verbs or of classic commands, for the named root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wording {
    root: String,
    is_classic: bool,
}

impl Wording {
    pub fn of_verbs(root: &Path) -> Self {
        let root = if root == Path::new("/") { String::new() } else { root.display().to_string() };
        Self { root, is_classic: false }
    }

    pub fn of_classic(root: &Path) -> Self {
        Self { is_classic: true, ..Self::of_verbs(root) }
    }

    /// Returns a verb, or a classic command as one: `patchadm -R ROOT WORDS`.
    pub fn verb(&self, words: &str) -> String {
        format!("`patchadm{} {words}`", self.option())
    }

    /// Returns a classic command, by its own name if a classic command was called.
    pub fn command(&self, name: &str, words: &str) -> String {
        let by = if self.is_classic { "" } else { "patchadm " };
        format!("`{by}{name}{} {words}`", self.option())
    }

    pub fn removal(&self, ids: &str) -> String {
        if self.is_classic { self.command("patchrm", ids) } else { self.verb(&format!("remove {ids}")) }
    }

    /// Returns the advice to remove patches in one command. Classic commands advise one patch at a time.
    pub fn removal_together(&self, words: &str) -> Option<String> {
        let removal = self.removal(words);
        (!self.is_classic).then(|| format!("remove these patches in one command: {removal}"))
    }

    /// Returns the advice to remove patches before the change. `which` stands for them in a classic sentence.
    pub fn removal_first(&self, which: &str, ids: &str) -> String {
        let removal = self.removal(ids);
        if self.is_classic {
            format!("back {which} out first: {removal}")
        } else {
            format!("remove {ids} first: {removal}")
        }
    }

    pub fn removed(&self) -> &'static str {
        if self.is_classic { "backed out" } else { "removed" }
    }

    pub fn no_undo(&self) -> &'static str {
        if self.is_classic { "-d" } else { "--no-undo" }
    }

    /// Keeps undo data, or looks for it, in another place.
    pub fn undo_dir(&self) -> &'static str {
        if self.is_classic { "-B DIR" } else { "--undo-dir DIR" }
    }

    /// Accepts unsigned patches.
    pub fn no_signatures(&self) -> &'static str {
        if self.is_classic { "-n" } else { "--allow-unsigned" }
    }

    /// Names a directory of trusted keys.
    pub fn keys(&self) -> &'static str {
        if self.is_classic { "-k DIR" } else { "--keys DIR" }
    }

    /// Returns `None` for classic commands.
    pub fn wait(&self) -> Option<&'static str> {
        (!self.is_classic).then_some("--wait DURATION")
    }

    /// Returns the commands that register the first package of a root, and its kinds.
    pub fn first_packages(&self) -> [(&'static str, String); 2] {
        [
            ("a directory", self.verb("adopt --pkg PKG --pkg-version VERSION --dir DIR")),
            ("a dpkg or rpm package", self.verb("add --adopt PATCH")),
        ]
    }

    /// Returns the advice for a root without packages.
    pub fn registration(&self) -> String {
        let [(directory, adopt), (native, add)] = self.first_packages();
        format!("register {directory} with {adopt}, or {native} with {add}")
    }

    pub fn dpkg(&self, words: &str) -> String {
        match self.root.as_str() {
            "" => format!("`dpkg {words}`"),
            root => format!("`dpkg --root={} {words}`", Self::quoted(root)),
        }
    }

    /// Returns a path of the root as the host sees it.
    pub fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.root.trim_end_matches('/'))
    }

    /// Returns a word of a command, quoted if a shell needs it.
    pub fn quoted(word: &str) -> String {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+,@%:=~".contains(letter);
        if !word.is_empty() && word.chars().all(is_plain) {
            return word.to_owned();
        }
        format!("'{}'", word.replace('\'', r"'\''"))
    }

    /// Adds the root to each command that lacks it, in messages of operations that know no root.
    pub fn completed<'m>(&self, message: &'m str) -> Cow<'m, str> {
        if self.root.is_empty() || !message.contains(COMMAND) {
            return Cow::Borrowed(message);
        }
        let mut parts = message.split(COMMAND);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let command = part.split('`').next().unwrap_or_default();
            let verb = command.split(' ').next().unwrap_or_default();
            text.push_str("`patchadm");
            if OF_A_ROOT.contains(&verb) && !command.contains(" -R ") {
                text.push_str(&self.option());
            }
            text.push(' ');
            text.push_str(part);
        }
        Cow::Owned(text)
    }

    fn option(&self) -> String {
        match self.root.as_str() {
            "" => String::new(),
            root => format!(" -R {}", Self::quoted(root)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_whoever_asked_and_name_the_root() {
        let (verbs, classic) =
            (Wording::of_verbs(Path::new("/mnt/a b")), Wording::of_classic(Path::new("/zones/a")));
        assert_eq!(verbs.removal("1-01"), "`patchadm -R '/mnt/a b' remove 1-01`");
        assert_eq!(
            (verbs.removal_first("it", "1-01"), classic.removal_first("it", "1-01")),
            (
                "remove 1-01 first: `patchadm -R '/mnt/a b' remove 1-01`".to_owned(),
                "back it out first: `patchrm -R /zones/a 1-01`".to_owned()
            )
        );
        assert_eq!(
            verbs.removal_together("1-01 1-02").as_deref(),
            Some("remove these patches in one command: `patchadm -R '/mnt/a b' remove 1-01 1-02`")
        );
        assert_eq!(classic.removal_together("1-01 1-02"), None);
        assert_eq!(verbs.command("patchadd", "-u PATCH"), "`patchadm patchadd -R '/mnt/a b' -u PATCH`");
        assert_eq!(classic.removal("1-01"), "`patchrm -R /zones/a 1-01`");
        assert_eq!(classic.verb("recover"), "`patchadm -R /zones/a recover`");
        let message =
            "`patchadm stage drop` removes it; `patchadm -R /b list`, `patchadm publish` and `ls` do not";
        assert_eq!(
            classic.completed(message),
            "`patchadm -R /zones/a stage drop` removes it; `patchadm -R /b list`, `patchadm publish` and `ls` do not"
        );
        let here = Wording::of_verbs(Path::new("/"));
        assert_eq!(here.completed(message), message);
        assert_eq!((here.verb("list"), here.path("etc")), ("`patchadm list`".to_owned(), "/etc".to_owned()));
        assert_eq!((verbs.undo_dir(), classic.undo_dir()), ("--undo-dir DIR", "-B DIR"));
        assert_eq!((verbs.wait(), classic.wait()), (Some("--wait DURATION"), None));
    }
}
