//! A check for memory before a large collection is built: a failed allocation would end the program. On a system that
//! overcommits memory the answer is always yes.

use std::hint::black_box;

/// Returns true if this number of bytes can be allocated now, in one piece. The memory is released at once.
pub fn is_room_for(bytes: u64) -> bool {
    let Ok(bytes) = usize::try_from(bytes) else { return false };
    let mut probe: Vec<u8> = Vec::new();
    // The compiler may omit an allocation that is never used.
    black_box(&mut probe).try_reserve_exact(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_a_little_and_none_for_everything() {
        assert!(is_room_for(0) && is_room_for(1 << 20));
        assert!(!is_room_for(u64::MAX));
        assert!(!is_room_for(1 << 60));
    }
}
