//! Pages for a browser, each one file that requests nothing else.
//!
//! The policy allows only the page's own style and script. Everything is there without the script.

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]

mod content;
mod document;
mod graph;
mod moments;
mod section;
mod tables;

pub use content::{Page, PagePatch, PagePatchState, PageSection};
pub use tables::{PageCell, PageList, PagePart, PageRow, PageStory, PageTable, TablePage, html_of_tables};

use maud::html;

use document::{PageHeader, document};
use section::SectionView;

pub fn html_of(page: &Page) -> String {
    let main = html! {
        @for (number, section) in page.sections.iter().enumerate() {
            (SectionView::new(number, section).markup())
        }
    };
    document(&PageHeader { title: &page.title, facts: &page.facts, skip: "Skip to the patches" }, &main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_strangers_are_text_wherever_they_stand() {
        let hostile = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\0";
        let patch = PagePatch {
            base: hostile.to_owned(),
            synopsis: hostile.to_owned(),
            installed: Some(hostile.to_owned()),
            packages: vec![hostile.to_owned()],
            requires: vec![format!("{hostile}-01")],
            date: Some(hostile.to_owned()),
            ..PagePatch::default()
        };
        let section = PageSection {
            heading: hostile.to_owned(),
            facts: vec![("Root".to_owned(), hostile.to_owned())],
            patches: vec![patch],
            notes: vec![hostile.to_owned()],
        };
        let page = html_of(&Page { title: hostile.to_owned(), sections: vec![section], ..Page::default() });
        assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (1, 1));
        assert!(!page.contains("<img") && !page.contains('\0') && !page.contains('\u{202e}'));
        assert!(page.contains(r"\u{202e}\u{0}"));
    }
}
