//! A refresh that ends at any change of its own: the next one completes it.

use std::ffi::OsString;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use patchadm_core::operation::stages::refresh::{RefreshRequest, refresh_stage};
use patchadm_rootfs::{Door, Root};
use serde_json::json;

use super::{change_live, document, own, refresh, staged_text};
use crate::promote::Staged;
use crate::reliability::stories::with_caller;
use crate::tree::assert_same;

/// Refreshes a stage in this process, through a door that fails the changes of which `fails` says so by their number.
/// Returns how many changes there were, and whether it was done.
fn refreshed_through(
    staged: &Staged,
    fails: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (usize, bool) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let door = Door::watched(move |_| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        if fails(number) { Err(rustix::io::Errno::IO) } else { Ok(()) }
    });
    let opened = Root::open_with(&staged.live.root(), door).unwrap();
    let stage: OsString = staged.live.beside("web").into_os_string();
    let request = RefreshRequest { stage, ..RefreshRequest::default() };
    let done = with_caller(|caller| refresh_stage(&opened, &request, caller)).is_ok();
    (count.load(Ordering::Relaxed), done)
}

/// A stage with a promotion, and changes of the live tree behind it.
fn behind() -> Staged {
    let staged = Staged::new();
    staged.write("mine", "1\n");
    staged.promote("").ok();
    change_live(&staged);
    staged
}

#[test]
fn a_death_at_any_change_leaves_a_stage_that_the_next_one_completes() {
    let (changes, done) = refreshed_through(&behind(), |_| false);
    assert!(done && changes > 30, "{changes}");
    for number in (0..=changes).step_by(3) {
        for dies in if number % 2 == 0 { &[true, false][..] } else { &[true] } {
            let dies = *dies;
            let staged = behind();
            staged.write("theirs", "stage\n");
            let before = staged.live.everything();
            let when = format!("change {number} of {changes}, dies: {dies}");
            let (_, done) = refreshed_through(&staged, move |at| at == number || dies && at > number);
            assert_same(&staged.live.everything(), &before);
            let said = refresh(&staged, "");
            assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{when}, done: {done}");
            fs::remove_file(staged.at("theirs")).unwrap();
            assert_same(&staged.staged_tree(), &staged.tree());
            assert!(!own(&staged, "refresh").exists(), "{when}");
            // The bases know that both had the same, also that of the beginning.
            staged.live.file("/usr/pkg/lib/libt.so.1", "library 3\n");
            staged.live.file("/usr/pkg/share/7", "again\n");
            staged.live.file("/usr/pkg/new/deep/er", "newer\n");
            assert_eq!(document(&staged, "--dry-run")["conflicts"], json!([]), "{when}");
            staged.live.run("patchrm -R @ROOT@ web-01").ok();
            assert_eq!(
                document(&staged, "--dry-run")["conflicts"],
                json!([]),
                "{when}, base of the beginning"
            );
            assert_eq!(refresh(&staged, "").code, 0, "{when}");
            assert_eq!(staged_text(&staged, "new/other"), "newer\n", "{when}");
        }
    }
}
