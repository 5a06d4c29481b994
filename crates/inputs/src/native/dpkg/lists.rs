//! The files of dpkg about one package: its paths, its configuration files, its sums (`info/NAME.list`, `.conffiles`, `.md5sums`).

use crate::native::FileSum;
use patchadm_svr4::package::ObjectPath;

/// Returns the absolute paths in a text, one a line. Skips blank lines and the root directory itself.
pub fn paths_of(text: &[u8]) -> Result<Vec<ObjectPath>, String> {
    let lines = (1..).zip(text.split(|&byte| byte == b'\n')).filter(|(_, line)| !line.is_empty());
    let path =
        |(at, line): (usize, &[u8])| ObjectPath::new(line).map_err(|error| format!("line {at}: {error}"));
    let paths = lines.map(path).filter(|path| path.as_ref().map_or(true, |path| !path.relative().is_empty()));
    paths.collect()
}

/// Returns the existing conffiles. Skips lines with words before the path: an upgrade removes their files.
pub(super) fn conffiles(text: &[u8]) -> impl Iterator<Item = ObjectPath> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"/"));
    lines.filter_map(|line| ObjectPath::new(line.trim_ascii_end()).ok())
}

/// Returns the sums, by path. Skips invalid lines.
pub(super) fn md5sums(text: &[u8]) -> Vec<(ObjectPath, FileSum)> {
    let lines = text.split(|&byte| byte == b'\n');
    let read = |line: &[u8]| {
        let (sum, path) = line.split_at_checked(32)?;
        let path = [b"/", path.strip_prefix(b"  ")?].concat();
        Some((ObjectPath::new(&path).ok()?, FileSum::parse(sum)?))
    };
    lines.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_list_has_absolute_paths_and_a_relative_one_is_told_by_its_line() {
        let paths = paths_of(b"/.\n/usr\n\n/usr/bin/a b\n").unwrap();
        let shown: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["/usr", "/usr/bin/a b"]);
        assert!(paths_of(b"/a\nusr\n").unwrap_err().starts_with("line 2: "));
    }

    #[test]
    fn sums_and_conffiles_are_those_of_whole_lines() {
        let text =
            b"d41d8cd98f00b204e9800998ecf8427e  usr/empty\nshort  x\nzz1d8cd98f00b204e9800998ecf8427e  y\n";
        let sums = md5sums(text);
        assert_eq!(sums.len(), 1);
        assert_eq!(sums[0].0, at("/usr/empty"));
        let files: Vec<ObjectPath> = conffiles(b"/etc/a\nremove-on-upgrade /etc/b\n\n").collect();
        assert_eq!(files, [at("/etc/a")]);
    }
}
