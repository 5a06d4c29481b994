//! Pages of tables, with untrusted text.

use std::borrow::Cow;

use maud::{Markup, html};

use super::document::{PageHeader, document};
use super::moments::words;
use super::section::facts;
use patchadm_svr4::package::control::visible;

/// Parts with a table, stories, or only remarks.
#[derive(Clone, Debug, Default)]
pub struct TablePage {
    pub title: String,
    /// Names and values for the whole page.
    pub facts: Vec<(String, String)>,
    /// Text of the link to the parts, for screen readers.
    pub skip: &'static str,
    pub parts: Vec<PagePart>,
}

#[derive(Clone, Debug, Default)]
pub struct PagePart {
    pub heading: String,
    pub remarks: Vec<String>,
    pub table: Option<PageTable>,
    pub stories: Vec<PageStory>,
}

#[derive(Clone, Debug, Default)]
pub struct PageTable {
    pub caption: String,
    pub columns: Vec<Cow<'static, str>>,
    /// Kinds of rows to choose among, with their words. Without any, the script does not sort or filter the table.
    pub kinds: Vec<(&'static str, &'static str)>,
    pub rows: Vec<PageRow>,
}

/// The first cell is the head.
#[derive(Clone, Debug, Default)]
pub struct PageRow {
    /// Separated by blanks.
    pub kind: Cow<'static, str>,
    pub cells: Vec<PageCell>,
}

#[derive(Clone, Debug, Default)]
pub struct PageCell {
    pub text: String,
    /// The class of its colour, or `number`.
    pub class: &'static str,
    /// The number to sort by.
    pub key: Option<u64>,
    /// A path beside the page, or a web address.
    pub link: Option<String>,
    /// The names that its text counts; the reader opens the list.
    pub list: Option<PageList>,
}

/// A list of names, closed until the reader opens it.
#[derive(Clone, Debug, Default)]
pub struct PageList {
    pub names: Vec<String>,
    /// Number of omitted names.
    pub more: usize,
}

/// A subject with its facts and printed lines.
#[derive(Clone, Debug, Default)]
pub struct PageStory {
    pub heading: String,
    pub facts: Vec<(String, String)>,
    /// Target and text.
    pub link: Option<(String, String)>,
    pub lines: Vec<String>,
}

impl PageTable {
    /// True for a column of numbers or of counted lists: its head is right-aligned, too.
    fn is_of_numbers(&self, column: usize) -> bool {
        let is_number = |row: &PageRow| {
            row.cells.get(column).is_some_and(|cell| ["number", "list"].contains(&cell.class))
        };
        !self.rows.is_empty() && self.rows.iter().all(is_number)
    }
}

impl PageCell {
    pub fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// An absent number gives an empty cell.
    pub fn of_number(number: Option<u64>, words: impl Fn(u64) -> String) -> Self {
        let text = number.map(words).unwrap_or_default();
        Self { text, class: "number", key: Some(number.unwrap_or_default()), ..Self::default() }
    }

    /// Shows the number of names, which the reader can open; a plain 0 without any.
    pub fn of_list(list: PageList) -> Self {
        let number = list.names.len().saturating_add(list.more) as u64;
        let list = Some(list).filter(|_| number > 0);
        Self { class: "list", list, ..Self::of_number(Some(number), |number| number.to_string()) }
    }
}

pub fn html_of_tables(page: &TablePage) -> String {
    let main = html! {
        (contents(page))
        @for (number, part) in page.parts.iter().enumerate() { (part_markup(number, part)) }
    };
    document(&PageHeader { title: &page.title, facts: &page.facts, skip: page.skip }, &main)
}

/// Links to the parts, if there are several.
fn contents(page: &TablePage) -> Markup {
    html! {
        @if page.parts.len() > 2 {
            nav aria-label="Parts of this page" {
                ul {
                    @for (number, part) in page.parts.iter().enumerate() {
                        li { a href=(format!("#s{number}")) { (words(&part.heading)) } }
                    }
                }
            }
        }
    }
}

fn part_markup(number: usize, part: &PagePart) -> Markup {
    let name = format!("s{number}");
    html! {
        section aria-labelledby=(name) {
            h2 id=(name) { (words(&part.heading)) }
            @for remark in &part.remarks { p { (words(remark)) } }
            @if let Some(table) = &part.table {
                @if !table.kinds.is_empty() { (filter(number, table)) }
                (table_markup(number, table))
            }
            @for story in &part.stories { (story_markup(story)) }
        }
    }
}

/// The script shows this form.
fn filter(number: usize, table: &PageTable) -> Markup {
    html! {
        form id=(format!("f{number}")) hidden {
            label { "Search" input type="search" autocomplete="off"; }
            label {
                "Show"
                select autocomplete="off" {
                    option value="" { "all" }
                    @for (kind, words) in &table.kinds { option value=(kind) { (words) } }
                }
            }
            output aria-live="polite" {}
        }
    }
}

fn table_markup(number: usize, table: &PageTable) -> Markup {
    let sorts = (!table.kinds.is_empty()).then(|| format!("f{number}"));
    html! {
        div.wide role="region" aria-label=(visible(&table.caption)) tabindex="0" {
            table data-sorts=[sorts] {
                caption.quiet { (visible(&table.caption)) }
                thead {
                    tr {
                        @for (place, name) in table.columns.iter().enumerate() {
                            th scope="col" class=[table.is_of_numbers(place).then_some("number")] { (visible(name)) }
                        }
                    }
                }
                tbody {
                    @for row in &table.rows {
                        tr data-kinds=(visible(&row.kind)) {
                            @for (place, cell) in row.cells.iter().enumerate() {
                                @if place == 0 {
                                    th scope="row" { (content(cell)) }
                                } @else {
                                    td class=(cell.class) data-key=[cell.key] dir="auto" { (content(cell)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn content(cell: &PageCell) -> Markup {
    html! {
        @match (&cell.link, &cell.list) {
            (Some(link), _) => a href=(link) { (visible(&cell.text)) },
            (None, Some(list)) => (list_markup(&cell.text, list)),
            (None, None) => (words(&cell.text)),
        }
    }
}

/// The longest list that is open on paper, where nobody can open it.
const FEW: usize = 16;

/// A closed list. A name that may run from right to left is isolated.
fn list_markup(number: &str, list: &PageList) -> Markup {
    let is_short = list.names.len() <= FEW && list.more == 0;
    html! {
        details class=[is_short.then_some("few")] {
            summary { (visible(number)) }
            @for (at, name) in list.names.iter().enumerate() {
                @if at > 0 { ", " }
                @if name.is_ascii() { (visible(name)) } @else { bdi { (visible(name)) } }
            }
            @if list.more > 0 { " and " (list.more) " more" }
        }
    }
}

fn story_markup(story: &PageStory) -> Markup {
    html! {
        article {
            h3 { (visible(&story.heading)) }
            (facts(&story.facts))
            @if let Some((link, text)) = &story.link { p { a href=(link) { (visible(text)) } } }
            @if !story.lines.is_empty() {
                pre.wide tabindex="0" { @for line in &story.lines { (visible(line)) "\n" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_numbers_and_of_counted_names_are_right_aligned_with_their_heads() {
        let list = |names: &[&str]| PageList {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            more: 0,
        };
        let row = |name: &str, names: &[&str], size: u64| PageRow {
            cells: vec![
                PageCell::of(name),
                PageCell::of_list(list(names)),
                PageCell::of_number(Some(size), |size| size.to_string()),
            ],
            ..PageRow::default()
        };
        let table = PageTable {
            columns: vec!["Host".into(), "Missing".into(), "Size".into()],
            rows: vec![row("web1", &["100-01"], 7), row("web2", &[], 12)],
            ..PageTable::default()
        };
        let page = table_markup(0, &table).into_string();
        let head = |name: &str| {
            let mut heads = page.split("<th ");
            heads.find(|head| head.contains(&format!(">{name}</th>"))).unwrap().to_owned()
        };
        assert!(!head("Host").contains("number"), "{page}");
        for name in ["Missing", "Size"] {
            assert!(head(name).contains("class=\"number\""), "{name}: {page}");
        }
        assert!(include_str!("page.css").contains("td.list{min-width:5rem;text-align:right}"));
    }

    #[test]
    fn texts_of_strangers_are_text_in_every_cell_and_story() {
        let hostile =
            "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\r\n\u{1b}[2J";
        let text = || hostile.to_owned();
        let list = PageList { names: vec![text(), text()], more: 1 };
        let table = PageTable {
            caption: text(),
            columns: vec!["Package".into(), text().into()],
            kinds: vec![("done", "done")],
            rows: vec![PageRow {
                kind: "done".into(),
                cells: vec![PageCell::of(hostile), PageCell::of_list(list)],
            }],
        };
        let story = PageStory {
            heading: text(),
            facts: vec![("Reason".to_owned(), text())],
            link: Some(("logs/a-1.log".to_owned(), text())),
            lines: vec![text()],
        };
        let part =
            PagePart { heading: text(), remarks: vec![text()], table: Some(table), stories: vec![story] };
        let parts = vec![part.clone(), part.clone(), part];
        let page = TablePage { title: text(), parts, ..TablePage::default() };
        let page = html_of_tables(&page);
        assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (1, 1));
        assert!(!page.contains("<img") && !page.contains('\u{1b}') && !page.contains('\u{202e}'));
        assert!(page.contains(r"\u{202e}\u{d}\u{a}\u{1b}[2J"), "{page}");
    }
}
