//! What can be tested of the benchmark, which runs no tests of its own: its confidence intervals.

#![allow(clippy::cast_precision_loss)] // small numbers

#[path = "../benches/benchmark/interval.rs"]
mod interval;

use interval::{FEWEST, of_median};

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
