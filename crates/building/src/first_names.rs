//! Many names in a sentence: the first of them, and how many there are beside.

/// The most names that a sentence has.
const MOST_NAMED: usize = 5;

/// Returns the first of some names, separated by commas, and the number of the others.
pub(crate) fn first_names(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST_NAMED);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    let first: Vec<&str> = names.iter().take(MOST_NAMED).map(String::as_str).collect();
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_beyond_the_first_five_are_counted() {
        let names = |count: usize| (1..=count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(first_names(&names(5)), "1, 2, 3, 4, 5");
        assert_eq!(first_names(&names(7)), "1, 2, 3, 4, 5, and 2 more");
    }
}
