//! Limits JSON that others wrote: many small values take many times the size of their text in memory.

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has more than {0} fields and entries")]
pub struct TooManyValues(usize);

/// Refuses a text before it is parsed. Fields and entries are counted by their commas; a list counts as two more, and
/// an object as four, because even a small one takes memory of its own.
pub fn limited(text: &[u8], most: usize) -> Result<&[u8], TooManyValues> {
    let weight = |byte: &u8| match byte {
        b',' => 1,
        b'[' => 2,
        b'{' => 4,
        _ => 0,
    };
    if text.iter().map(weight).sum::<usize>() > most { Err(TooManyValues(most)) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_values_and_deep_ones_are_refused_and_long_texts_are_not() {
        for hostile in ["{},", "[],", "0,", "[", r#"{"":0},"#, r#"["",""],"#] {
            let text = hostile.repeat(1_000);
            assert_eq!(limited(text.as_bytes(), 999), Err(TooManyValues(999)), "{hostile}");
        }
        let long = format!("[\"{}\",0]", "x".repeat(5_000));
        assert_eq!(limited(long.as_bytes(), 3), Ok(long.as_bytes()));
    }
}
