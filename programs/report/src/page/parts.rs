//! Parts of a page, and cells of their tables.

use patchadm_cli::reply::page::{PageCell, PagePart, PageRow, PageTable};

/// Returns a table of a part, with a heading.
pub(super) fn part(heading: &str, caption: String, columns: &[&'static str], rows: Vec<PageRow>) -> PagePart {
    let columns = columns.iter().copied().map(Into::into).collect();
    let table = PageTable { caption, columns, kinds: Vec::new(), rows };
    PagePart { heading: heading.to_owned(), table: Some(table), ..PagePart::default() }
}

/// Returns the same part with a form that narrows its table to one of these kinds.
pub(super) fn narrowed(mut part: PagePart, kinds: &[(&'static str, &'static str)]) -> PagePart {
    if let Some(table) = &mut part.table {
        table.kinds = kinds.to_vec();
    }
    part
}

/// Returns a cell with a number.
pub(super) fn count(number: usize) -> PageCell {
    PageCell::of_number(Some(number as u64), |number| number.to_string())
}
