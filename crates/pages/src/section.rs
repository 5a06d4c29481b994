//! The part of a page about one machine: summary, table, graph, and each patch in detail.

use std::collections::{BTreeMap, HashMap};

use maud::{Markup, html};

use super::content::{PagePatch, PageSection, alternatives, anchor, base_of};
use super::graph::graph;
use super::moments::words;
use patchadm_cli::reply::words::{human, reboot_sentence};
use patchadm_svr4::package::control::visible;

/// Choices for narrowing a table: the kind and its words.
const KINDS: [(&str, &str); 6] = [
    ("", "all"),
    ("missing", "missing"),
    ("recommended", "recommended"),
    ("security", "security"),
    ("withdrawn", "withdrawn"),
    ("applied", "applied in some revision"),
];

pub(super) struct SectionView<'a> {
    section: &'a PageSection,
    number: usize,
    /// Indices of patches by base.
    places: HashMap<&'a str, usize>,
    /// Indices of the patches that require a base.
    required_by: BTreeMap<String, Vec<usize>>,
}

impl<'a> SectionView<'a> {
    pub(super) fn new(number: usize, section: &'a PageSection) -> Self {
        let places = section.patches.iter().enumerate().map(|(place, patch)| (patch.base.as_str(), place));
        let mut required_by: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, patch) in section.patches.iter().enumerate() {
            for id in patch.requires.iter().flat_map(|entry| alternatives(entry)) {
                required_by.entry(base_of(id).to_owned()).or_default().push(place);
            }
        }
        Self { section, number, places: places.collect(), required_by }
    }

    pub(super) fn markup(&self) -> Markup {
        let name = format!("s{}", self.number);
        let section = self.section;
        html! {
            section aria-labelledby=(name) {
                h2 id=(name) { (visible(&section.heading)) }
                (facts(&section.facts))
                @for note in &section.notes { p.warning { (words(note)) } }
                @if section.patches.is_empty() {
                    p { "No patches are listed." }
                } @else {
                    (self.filter())
                    (self.table())
                    (graph(self.number, section))
                    h3 { "Each patch" }
                    @for (place, patch) in section.patches.iter().enumerate() { (self.detail(place, patch)) }
                }
            }
        }
    }

    /// The script shows this form.
    fn filter(&self) -> Markup {
        html! {
            form id=(format!("f{}", self.number)) hidden {
                label { "Search" input type="search" autocomplete="off"; }
                label {
                    "Show"
                    select autocomplete="off" {
                        @for (kind, words) in KINDS { option value=(kind) { (words) } }
                    }
                }
                output aria-live="polite" {}
            }
        }
    }

    fn table(&self) -> Markup {
        let caption = format!("{} patches, in the order to apply them", self.section.patches.len());
        html! {
            div.wide role="region" aria-label=(format!("Table of patches: {}", visible(&self.section.heading)))
                tabindex="0" {
                table data-sorts=(format!("f{}", self.number)) {
                    caption.quiet { (caption) }
                    thead {
                        tr {
                            @for name in ["Patch", "State", "Synopsis", "Applied", "Current", "Flags", "Age in days"] {
                                th scope="col" class=[name.starts_with("Age").then_some("number")] { (name) }
                            }
                        }
                    }
                    tbody {
                        @for (place, patch) in self.section.patches.iter().enumerate() { (self.row(place, patch)) }
                    }
                }
            }
        }
    }

    fn row(&self, place: usize, patch: &PagePatch) -> Markup {
        let age = patch.age_days.map_or_else(|| "-".to_owned(), |days| days.to_string());
        html! {
            tr data-kinds=(patch.kinds()) {
                th scope="row" { a href=(format!("#{}", self.anchor(place))) { (visible(&patch.base)) } }
                td class=(patch.state.class()) { (patch.state.word()) }
                td.synopsis dir="auto" { (visible(&patch.synopsis)) }
                td { (visible(patch.installed.as_deref().unwrap_or("-"))) }
                td { (visible(patch.current.as_deref().unwrap_or("-"))) }
                td { (flags(patch)) }
                td.number data-key=(patch.age_days.map_or(-1, i64::from)) { (age) }
            }
        }
    }

    fn detail(&self, place: usize, patch: &PagePatch) -> Markup {
        let age = patch.age_days.map(|days| format!(" ({days} days ago)")).unwrap_or_default();
        let required_by = self.required_by.get(&patch.base).map(Vec::as_slice).unwrap_or_default();
        html! {
            article id=(self.anchor(place)) {
                h3 { (visible(&patch.id())) ": " bdi { (visible(&patch.synopsis)) } }
                dl {
                    dt { "State" } dd class=(patch.state.class()) { (patch.state.word()) }
                    dt { "Applied revision" } dd { (visible(patch.installed.as_deref().unwrap_or("none"))) }
                    @if !patch.flags().is_empty() { dt { "Flags" } dd { (flags(patch)) } }
                    @if let Some(date) = &patch.date { dt { "Date" } dd { (words(date)) (age) } }
                    @if !patch.packages.is_empty() {
                        dt { "Packages" } dd { (visible(&patch.packages.join(", "))) }
                    }
                    @if !patch.requires.is_empty() {
                        dt { "Requires" } dd { (self.requirements(&patch.requires)) }
                    }
                    @if !required_by.is_empty() {
                        dt { "Required by" }
                        dd {
                            @for (at, other) in required_by.iter().enumerate() {
                                @if at > 0 { ", " }
                                (self.link(*other))
                            }
                        }
                    }
                    @if let Some(size) = patch.size { dt { "Size" } dd { (human(size)) } }
                    @if let Some(sentence) = reboot_sentence(patch.reboot.as_deref()) { dt { "Reboot" } dd { (sentence) } }
                }
            }
        }
    }

    /// Links those listed here.
    fn requirements(&self, requires: &[String]) -> Markup {
        html! {
            @for (at, entry) in requires.iter().enumerate() {
                @if at > 0 { ", " }
                @for (number, id) in alternatives(entry).enumerate() {
                    @if number > 0 { " or " }
                    @match self.places.get(base_of(id)) {
                        Some(place) => a href=(format!("#{}", self.anchor(*place))) { (visible(id)) },
                        None => (visible(id)),
                    }
                }
            }
        }
    }

    fn link(&self, place: usize) -> Markup {
        let id = self.section.patches.get(place).map(PagePatch::id).unwrap_or_default();
        html! { a href=(format!("#{}", self.anchor(place))) { (visible(&id)) } }
    }

    fn anchor(&self, place: usize) -> String {
        anchor(self.number, place)
    }
}

pub(super) fn facts(facts: &[(String, String)]) -> Markup {
    html! {
        @if !facts.is_empty() {
            dl { @for (name, value) in facts { dt { (name) } dd { (words(value)) } } }
        }
    }
}

fn flags(patch: &PagePatch) -> Markup {
    html! {
        @for (at, word) in patch.flags().into_iter().enumerate() {
            @if at > 0 { ", " }
            @if word == "recommended" { (word) } @else { span.warning { (word) } }
        }
    }
}
