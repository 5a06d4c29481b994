//! What can be tested of the benchmark, which runs no tests of its own: its confidence intervals, and its data.

#![allow(clippy::cast_precision_loss)] // small numbers

use std::io::Write as _;

#[path = "../benches/benchmark/interval.rs"]
mod interval;
#[path = "../benches/benchmark/kinds.rs"]
mod kinds;
#[allow(dead_code, clippy::cast_possible_truncation)] // numbers of other kinds are for the benchmark alone
#[path = "../benches/benchmark/random.rs"]
mod random;
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes are parts of numbers
#[path = "../benches/benchmark/slices.rs"]
mod slices;

use interval::{FEWEST, of_median};
use kinds::Kind;
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

#[test]
fn the_figures_in_the_book_stand_in_the_results() {
    let docs = format!("{}/docs", env!("CARGO_MANIFEST_DIR"));
    let pages = std::fs::read_dir(format!("{docs}/benchmark")).unwrap().map(|page| page.unwrap().path());
    let pages = pages.filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    let results: Vec<Table> =
        pages.flat_map(|page| tables(&std::fs::read_to_string(page).unwrap())).collect();
    let shown = tables(&std::fs::read_to_string(format!("{docs}/book/src/speed.md")).unwrap());
    assert!(shown.len() > 5, "{shown:?}");
    for table in shown {
        assert!(results.iter().any(|whole| has_columns_and_rows(whole, &table)), "{table:?}");
    }
}

/// The rows of a table; the first one is its head.
type Table = Vec<Vec<String>>;

/// Returns the tables of a page.
fn tables(page: &str) -> Vec<Table> {
    let mut tables = Vec::new();
    let mut table = Table::new();
    for line in page.lines().chain([""]) {
        match line.strip_prefix('|') {
            Some(row) if row.starts_with(" -") => {}
            Some(row) => {
                let cells = row.trim_end_matches('|').split('|');
                table.push(cells.map(|cell| cell.trim().to_owned()).collect());
            }
            None if table.is_empty() => {}
            None => tables.push(std::mem::take(&mut table)),
        }
    }
    tables
}

/// Tells whether a table has all columns and rows of another one.
fn has_columns_and_rows(whole: &Table, part: &Table) -> bool {
    let place = |name: &String| whole[0].iter().position(|column| column == name);
    let Some(places) = part[0].iter().map(place).collect::<Option<Vec<usize>>>() else { return false };
    let has_row = |row: &Vec<String>| {
        whole.iter().any(|other| places.iter().zip(row).all(|(place, cell)| other.get(*place) == Some(cell)))
    };
    part.iter().all(has_row)
}

/// So many slices of a material, as those of files of ten slices.
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
        random.fill(&mut content[2_000..2_128]);
        assert!(longest_noise(&content) > LONGEST_NOISE, "{}", longest_noise(&content));
    }
}

#[test]
fn a_changed_slice_is_another_one_of_the_same_sort() {
    for material in [Material::ObjectCode, Material::Text, Material::Noise] {
        let [old, again, new] = [0, 0, 1].map(|generation| {
            let mut slice = vec![0; BLOCK];
            material.fill(&mut slice, 7, 3, generation);
            slice
        });
        assert_eq!(old, again, "{material:?}");
        assert_ne!(old, new, "{material:?}");
    }
}

#[test]
fn files_are_told_by_how_they_begin() {
    let kinds = [
        (content(Material::ObjectCode, 1), Kind::Elf),
        (content(Material::Text, 1), Kind::Text),
        ("Grüße\n".into(), Kind::Text),
        (Vec::new(), Kind::Text),
        (b"\x1f\x8b\x08\0".to_vec(), Kind::Compressed),
        (vec![0; 10], Kind::Other),
    ];
    for (begin, kind) in kinds {
        assert_eq!(Kind::of(&begin), kind, "{:?}", begin.get(..4));
        assert!(Kind::ALL.contains(&kind));
    }
}
