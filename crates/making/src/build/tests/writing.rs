//! Patches on the disk.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::release::ContentReader;
use patchadm_inputs::sign::{sha256, sha256_text};
use patchadm_inputs::source::{Extent, Origin, open};

#[test]
fn every_form_is_read_as_the_same_patch() {
    let (from, to) = (old().release(), new().release());
    let draft = draft(&from, &to, "900-01");
    let place = tempfile::tempdir().unwrap();
    for (form, name) in FORMS {
        let path = place.path().join(name);
        let made = written(&draft, &path, form);
        let (source, image) = open(Origin::Path(&path), Extent::Everything).unwrap();
        source.verify(&image, &never).unwrap();
        let package = &image.packages[0];
        assert_eq!(package.pkgmap, draft.packages[0].sparse.pkgmap, "{name}");
        assert_eq!(package.deletes.len(), 1, "{name}");
        assert_eq!(image.patchinfo.is_some(), form != PatchForm::Datastream, "{name}");
        assert!(made.manifest.exists(), "{name}");
        if form != PatchForm::Directory {
            let bytes = fs::read(&path).unwrap();
            assert_eq!((made.bytes, made.sha256), (bytes.len() as u64, sha256(&bytes)));
            let text = fs::read_to_string(&made.manifest).unwrap();
            let expected = format!("SHA256 ({name}) = {}\n", sha256_text(&made.sha256));
            assert!(text.ends_with(&expected) && text.contains("# form file\n"), "{text}");
        }
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2 * FORMS.len() - 1, "nothing else stays");
}

#[test]
fn a_directory_lists_its_members_and_has_the_times_of_the_objects() {
    let (from, to) = (old().release(), new().release());
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("900-01");
    let made = written(&draft(&from, &to, "900-01"), &path, PatchForm::Directory);
    let text = fs::read_to_string(path.join("MANIFEST")).unwrap();
    let mut bytes = text.len() as u64;
    for (file, content) in files(&path) {
        let name = file.strip_prefix(&path).unwrap().display().to_string();
        if name != "MANIFEST" {
            let line = format!("\nSHA256 ({name}) = {}\n", sha256_text(&sha256(&content)));
            assert!(text.contains(&line), "{name}");
            bytes += content.len() as u64;
        }
    }
    assert_eq!((made.bytes, made.sha256), (bytes, sha256(text.as_bytes())));
    let web = fs::metadata(path.join("ACMEweb/reloc/bin/web")).unwrap();
    assert_eq!((web.mtime(), web.permissions().mode() & 0o7777), (DELIVERED, 0o644));
    let readme = fs::metadata(path.join("README.900-01")).unwrap();
    assert_eq!(readme.mtime(), DELIVERED + 100);
}

#[test]
fn the_same_releases_give_the_same_bytes() {
    let (from, to) = (old().release(), new().release());
    let place = tempfile::tempdir().unwrap();
    for (form, name) in FORMS {
        let both = ["a", "b"].map(|directory| {
            let directory = place.path().join(directory);
            let _ = fs::create_dir(&directory);
            written(&draft(&from, &to, "900-01"), &directory.join(name), form)
        });
        assert_eq!(both[0].sha256, both[1].sha256, "{name}");
    }
    let relative = |top: &str| {
        let top = place.path().join(top);
        files(&top).into_iter().map(move |(path, bytes)| (path.strip_prefix(&top).unwrap().to_owned(), bytes))
    };
    assert!(relative("a").eq(relative("b")));
}

/// Content that comes in pieces of some bytes.
#[derive(Debug)]
struct InPieces(made_up::MemoryContents, usize);

impl ContentReader for InPieces {
    fn each(
        &self,
        wanted: &dyn Fn(&ObjectPath) -> bool,
        sink: &mut dyn FnMut(&ObjectPath, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        self.0.each(wanted, &mut |path, data| sink(path, &mut Pieces(data, self.1)))
    }
}

/// Bytes that come in pieces.
struct Pieces<'a>(&'a mut dyn Read, usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn the_pieces_in_which_content_comes_do_not_matter() {
    let from = MadePackage::tree().release();
    let numbers = |count: u32, factor: u32| {
        let numbers: Vec<String> = (0..count).map(|at| (at * factor % 9973).to_string()).collect();
        numbers.join(" ")
    };
    let texts: Vec<String> = (1..40).map(|at| numbers(300 + 97 * at, 7 * at)).collect();
    let names: Vec<String> = (1..40).map(|at| format!("/share/{at}")).collect();
    let both = [usize::MAX, 311].map(|piece| {
        let files = names.iter().zip(&texts);
        let mut to =
            files.clone().fold(MadePackage::tree(), |made, (name, text)| made.file(name, text)).release();
        let content =
            files.map(|(name, text)| (ObjectPath::new(name.as_bytes()).unwrap(), text.clone().into()));
        to.packages[0].contents = Box::new(InPieces(made_up::MemoryContents(content.collect()), piece));
        let place = tempfile::tempdir().unwrap();
        FORMS.map(|(form, name)| written(&draft(&from, &to, "900-01"), &place.path().join(name), form).sha256)
    });
    assert_eq!(both[0], both[1]);
}

#[test]
fn what_is_there_is_replaced_only_if_that_is_wanted_and_it_is_a_patch() {
    let (from, to) = (old().release(), new().release());
    let draft = draft(&from, &to, "900-01");
    let place = tempfile::tempdir().unwrap();
    for (form, name) in FORMS {
        let path = place.path().join(name);
        written(&draft, &path, form);
        let mut again = destination(&path, form);
        let refused = write_to(&draft, &again).unwrap_err();
        assert!(matches!(refused, BuildError::Exists(_)), "{name}: {refused}");
        again.replaces = true;
        write_to(&draft, &again).unwrap();
    }
    let mine = place.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("thesis"), "").unwrap();
    for (form, _) in FORMS {
        let to = PatchDestination { replaces: true, ..destination(&mine, form) };
        let refused = write_to(&draft, &to).unwrap_err();
        assert!(matches!(refused, BuildError::Exists(_) | BuildError::Foreign(_)), "{form:?}: {refused}");
    }
    assert!(mine.join("thesis").exists());
}

#[test]
fn a_release_that_changes_while_it_is_read_leaves_nothing() {
    let (from, mut to) = (old().release(), new().release());
    let mut others = new().package();
    std::mem::swap(&mut to.packages[0].contents, &mut others.contents);
    let draft = draft(&from, &to, "900-01");
    assert!(write_to(&draft, &destination(Path::new("/nowhere/x"), PatchForm::Zip)).is_err());
    let mut changed = to;
    changed.packages[0].contents = new().file("/bin/web", "two?").package().contents;
    let place = tempfile::tempdir().unwrap();
    for (form, name) in FORMS {
        let draft = draft_patch(&from, &changed, None, &[], &request("900-01")).unwrap();
        let refused = write_to(&draft, &destination(&place.path().join(name), form));
        let said = refused.unwrap_err().to_string();
        assert_eq!(said, "tree changed while it was read: /bin/web (different contents)", "{name}");
    }
    changed.packages[0].contents = MadePackage::tree().package().contents;
    let draft = draft_patch(&from, &changed, None, &[], &request("900-01")).unwrap();
    let gone = write_to(&draft, &destination(&place.path().join("x"), PatchForm::Directory));
    assert!(matches!(gone, Err(BuildError::Changed { .. })));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_signal_leaves_nothing() {
    let (from, to) = (old().release(), new().release());
    let draft = draft(&from, &to, "900-01");
    let place = tempfile::tempdir().unwrap();
    for (form, name) in FORMS {
        let ended = write_watched(&draft, &destination(&place.path().join(name), form), &|| Some(2));
        assert!(matches!(ended, Err(BuildError::Interrupted(2))), "{name}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
