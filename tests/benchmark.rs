//! Tests of the benchmark, which has no tests of its own: its confidence intervals, its page and its data.

#![allow(clippy::cast_precision_loss)] // small numbers

use std::collections::BTreeMap;
use std::io::Write as _;

#[path = "../benches/benchmark/interval.rs"]
mod interval;
#[allow(dead_code, clippy::format_push_string)] // the benchmark alone measures
#[path = "../benches/benchmark/page.rs"]
mod page;
#[allow(dead_code, clippy::cast_possible_truncation)] // numbers of other kinds are for the benchmark alone
#[path = "../benches/benchmark/random.rs"]
mod random;
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes are parts of numbers
#[path = "../benches/benchmark/slices.rs"]
mod slices;

use interval::{FEWEST, of_median};
use page::{Section, measured_line, page};
use slices::{BLOCK, LONGEST_NOISE, Material, longest_noise};

#[test]
fn as_many_figures_are_left_out_as_the_tables_of_the_sign_test_say() {
    for (count, expected) in [(FEWEST, 0), (8, 0), (9, 1), (21, 5), (31, 9), (101, 40)] {
        let figures: Vec<f64> = (0..count).map(|number| number as f64).collect();
        let ends = [expected, count - 1 - expected].map(|end| end as f64);
        assert_eq!(of_median(&figures), Some(ends), "{count}");
    }
    assert_eq!(of_median(&[1.0; FEWEST - 1]), None);
}

#[test]
fn the_order_of_the_figures_is_all_the_same() {
    let figures: Vec<f64> = (0..21).map(|number| f64::from(number * 8 % 21)).collect();
    assert_eq!(of_median(&figures), Some([5.0, 15.0]));
}

#[test]
fn a_wild_figure_does_not_move_the_interval() {
    let mut figures = [1.0; 21];
    figures[3] = 1e9;
    assert_eq!(of_median(&figures), Some([1.0, 1.0]));
}

/// The page of the checkout.
fn published() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmark.md")).unwrap()
}

/// Figures of a section, as a run writes them.
fn figures(value: &str) -> String {
    format!(
        "{}\n| work | measured |\n| --- | ---: |\n| add | {value} |\n",
        measured_line("today", "by nobody", "a machine")
    )
}

#[test]
fn the_page_is_as_the_benchmark_writes_it() {
    let published = published();
    assert_eq!(page(&published, &BTreeMap::new()), published);
}

#[test]
fn the_figures_of_a_run_replace_those_of_its_sections_alone() {
    let first = page("", &Section::ALL.map(|section| (section, figures(&format!("old {section:?}")))).into());
    let second = page(&first, &[(Section::Space, figures("new"))].into());
    for section in Section::ALL {
        let is_kept = second.contains(&format!("| old {section:?} |"));
        assert_eq!(is_kept, section != Section::Space, "{second}");
    }
    assert!(second.contains("| new |"), "{second}");
    assert_eq!(page(&second, &BTreeMap::new()), second);
}

#[test]
fn a_section_without_figures_says_how_to_measure_it() {
    let empty = page("", &BTreeMap::new());
    for section in Section::ALL {
        let note = format!("**Not measured yet**: run `{}`.", section.command());
        assert!(empty.contains(&note), "{section:?}: {empty}");
    }
    let one = page(&empty, &[(Section::Patch, figures("1 s"))].into());
    assert!(!one.contains(&format!("run `{}`", Section::Patch.command())), "{one}");
}

#[test]
fn the_table_of_sections_leads_to_their_headings() {
    let page = page("", &BTreeMap::new());
    for section in Section::ALL {
        let question = section.question();
        let anchor: String =
            question.to_lowercase().replace(' ', "-").chars().filter(|letter| *letter != '?').collect();
        assert!(page.contains(&format!("[{question}](#{anchor})")), "{page}");
        assert!(page.contains(&format!("\n## {question}\n")), "{page}");
    }
}

/// This many slices of a material, numbered like those of files with ten slices each.
fn content(material: Material, slices: usize) -> Vec<u8> {
    let mut content = vec![0; BLOCK * slices];
    for (number, slice) in (0..).zip(content.chunks_mut(BLOCK)) {
        material.fill(slice, number / 10, number % 10, 0);
    }
    content
}

#[test]
fn object_code_and_text_are_neither_noise_nor_easy_to_compress() {
    let ratio = |content: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap().len() as f64 / content.len() as f64
    };
    let [code, text] = [Material::ObjectCode, Material::Text].map(|material| content(material, 500));
    for (content, expected) in [(&code, 0.70..0.85), (&text, 0.45..0.60)] {
        assert!(expected.contains(&ratio(content)), "{}", ratio(content));
        assert!(longest_noise(content) <= LONGEST_NOISE, "{}", longest_noise(content));
    }
}

#[test]
fn noise_is_found_where_it_is() {
    let mut random = random::Random::seeded(&[1]);
    for _ in 0..100 {
        let mut content = content(Material::Text, 1);
        content[2_000..2_128]
            .chunks_mut(8)
            .for_each(|part| part.copy_from_slice(&random.next().to_le_bytes()));
        assert!(longest_noise(&content) > LONGEST_NOISE, "{}", longest_noise(&content));
    }
}

#[test]
fn a_changed_slice_is_another_one_of_the_same_sort() {
    for material in [Material::ObjectCode, Material::Text] {
        let [old, again, new] = [0, 0, 1].map(|generation| {
            let mut slice = vec![0; BLOCK];
            material.fill(&mut slice, 7, 3, generation);
            slice
        });
        assert_eq!(old, again, "{material:?}");
        assert_ne!(old, new, "{material:?}");
    }
}
