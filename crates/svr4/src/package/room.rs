//! Memory that is asked for before it is needed.
//!
//! A legal package may be larger than the memory that a process may have. What is collected entry by entry cannot fail
//! entry by entry: the allocator ends the program instead. So that there is an error and not an end, whoever is about
//! to collect asks here first. Where the system promises more than it has, the answer is yes all the same.

use std::hint::black_box;

/// Whether so many bytes can be had now, in one piece. They are given back at once.
pub fn is_room_for(bytes: u64) -> bool {
    let Ok(bytes) = usize::try_from(bytes) else { return false };
    let mut probe: Vec<u8> = Vec::new();
    // An allocation that nobody looks at need not happen.
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
