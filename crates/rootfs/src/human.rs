//! Sizes for people: tenths of a binary unit, rounded to the nearest. In a comparison of two sizes, free space is
//! rounded down and needed space up, so that too little never looks like enough.

/// Returns a size in binary units.
pub fn human(bytes: u64) -> String {
    in_units(bytes, |tenths, unit| (tenths + unit / 2) / unit)
}

/// Returns a size that must be free.
pub fn human_needed(bytes: u64) -> String {
    in_units(bytes, u128::div_ceil)
}

/// Returns a size that is free.
pub fn human_free(bytes: u64) -> String {
    in_units(bytes, |tenths, unit| tenths / unit)
}

/// `rounded` divides tenths of a byte by the bytes of the unit.
fn in_units(bytes: u64, rounded: impl Fn(u128, u128) -> u128) -> String {
    if bytes < 1024 {
        return if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") };
    }
    let (mut unit, mut name, mut tenths) = (1, "", 0);
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        (unit, name) = (unit << 10, larger);
        tenths = rounded(u128::from(bytes) * 10, unit);
        if tenths < 10_240 {
            break;
        }
    }
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_binary_units() {
        let shown = [0, 1, 1023, 1024, 1536, 20 << 20, 5 << 40].map(human);
        assert_eq!(shown, ["0 bytes", "1 byte", "1023 bytes", "1.0 KiB", "1.5 KiB", "20.0 MiB", "5.0 TiB"]);
        assert_eq!(human(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn a_size_is_rounded_to_the_nearest_tenth_in_the_unit_that_it_then_has() {
        let shown = [1024 + 51, 1024 + 52, (1 << 20) - 52, (1 << 20) - 51].map(human);
        assert_eq!(shown, ["1.0 KiB", "1.1 KiB", "1023.9 KiB", "1.0 MiB"]);
    }

    #[test]
    fn too_little_space_never_looks_like_enough() {
        for (free, needed) in [(2000, 2001), (1 << 20, (1 << 20) + 1), ((1 << 20) - 1, 1 << 20)] {
            assert_ne!(human_free(free), human_needed(needed));
        }
        assert_eq!((human_free(2047), human_needed(2047)), ("1.9 KiB".to_owned(), "2.0 KiB".to_owned()));
        assert_eq!((human_free(2048), human_needed(2048)), ("2.0 KiB".to_owned(), "2.0 KiB".to_owned()));
    }
}
