//! Long lists of names in a sentence: the first ones, and the number of the rest.

const MOST_NAMED: usize = 5;

pub(crate) fn first_names(names: &[String]) -> String {
    first_joined(names, ",")
}

pub(crate) fn first_clauses(clauses: &[String]) -> String {
    first_joined(clauses, ";")
}

fn first_joined(parts: &[String], separator: &str) -> String {
    let more = parts.len().saturating_sub(MOST_NAMED);
    let more = if more == 0 { String::new() } else { format!("{separator} and {more} more") };
    let first: Vec<&str> = parts.iter().take(MOST_NAMED).map(String::as_str).collect();
    format!("{}{more}", first.join(&format!("{separator} ")))
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
