//! The variables of a making: from the command line, from `!NAME=value`, from the pkginfo.
//!
//! A component of a path that begins with `$` is a variable (prototype(4)). With a small first letter it is a *build
//! variable*, which must have a value now. With a capital it is an *install variable*, which stays in the package as it
//! is. In the paths of this machine both are replaced. The command line takes precedence over `!NAME=value`, and that
//! over the pkginfo. The environment does not count: a package is the same for every maker.

use patchadm_svr4::package::Params;

/// Values that hold for a whole making.
#[derive(Clone, Debug, Default)]
pub(super) struct PrototypeVariables {
    command: Params,
    /// Those of the pkginfo, when it has been read.
    pub(super) pkginfo: Params,
}

impl PrototypeVariables {
    pub(super) fn of(command: &Params) -> Self {
        Self { command: command.clone(), ..Self::default() }
    }

    /// Returns the parameters of the command line.
    pub(super) fn command(&self) -> &Params {
        &self.command
    }

    /// Returns the value of a variable; `local` are those of the prototype at this place.
    pub(super) fn value<'a>(&'a self, local: &'a Params, name: &str) -> Option<&'a [u8]> {
        self.command.get(name).or_else(|| local.get(name)).or_else(|| self.pkginfo.get(name))
    }

    /// Returns a path of the package: build variables replaced, install variables as they are. The error
    /// is the path, if one of its build variables has no value.
    pub(super) fn package_path(&self, local: &Params, path: &[u8]) -> Result<Vec<u8>, String> {
        let replaced = |component: &[u8]| match name_of(component) {
            Some(name) if name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                let value = self.value(local, name).map(<[u8]>::to_vec);
                value.ok_or_else(|| String::from_utf8_lossy(path).escape_debug().to_string())
            }
            _ => Ok(component.to_vec()),
        };
        let parts: Result<Vec<_>, _> = path.split(|&byte| byte == b'/').map(replaced).collect();
        Ok(parts?.join(&b'/'))
    }

    /// Returns a path of this machine: every variable that has a value replaced.
    pub(super) fn local_path(&self, local: &Params, path: &[u8]) -> Vec<u8> {
        let replaced = |component: &[u8]| {
            let value = name_of(component).and_then(|name| self.value(local, name));
            value.unwrap_or(component).to_vec()
        };
        path.split(|&byte| byte == b'/').map(replaced).collect::<Vec<_>>().join(&b'/')
    }
}

/// Returns the variable that a component is; none if it is a name.
fn name_of(component: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(component.strip_prefix(b"$")?).ok()?;
    name.starts_with(|c: char| c.is_ascii_alphabetic()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_variables_are_replaced_and_install_variables_stay() {
        let command: Params = [("dir", "usr/bin")].into_iter().collect();
        let local: Params = [("dir", "never"), ("sub", "x"), ("BINDIR", "b")].into_iter().collect();
        let variables = PrototypeVariables::of(&command);
        let path = |path: &str| {
            variables.package_path(&local, path.as_bytes()).map(|path| String::from_utf8(path).unwrap())
        };
        assert_eq!(path("$dir/$sub/z").unwrap(), "usr/bin/x/z");
        assert_eq!(path("$BINDIR/z").unwrap(), "$BINDIR/z");
        assert_eq!(path("dollar$x/$5").unwrap(), "dollar$x/$5");
        assert_eq!(path("a/$nope"), Err("a/$nope".to_owned()));
    }

    #[test]
    fn in_paths_of_this_machine_everything_known_is_replaced() {
        let variables = PrototypeVariables {
            pkginfo: [("NAME", "web")].into_iter().collect(),
            ..PrototypeVariables::default()
        };
        assert_eq!(variables.local_path(&Params::new(), b"src/$NAME/$nope"), b"src/web/$nope");
    }
}
