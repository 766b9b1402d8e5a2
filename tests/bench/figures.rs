//! What the benchmarks have in common: how often, of which binary, and what is in the middle.

/// Returns how many rounds there are: what `WIREBOOT_BENCH_ROUNDS` says, or `usual`.
pub(super) fn rounds(usual: usize) -> usize {
    let told = std::env::var("WIREBOOT_BENCH_ROUNDS");
    told.map_or(usual, |text| text.parse().expect("a number of rounds"))
}

/// Returns the path of the binary to measure: the one that `tests/bench/run` has built, or Cargo's.
pub(super) fn binary() -> String {
    std::env::var("WIREBOOT").unwrap_or_else(|_| env!("CARGO_BIN_EXE_wireboot").to_owned())
}

pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().expect("a round")
}
