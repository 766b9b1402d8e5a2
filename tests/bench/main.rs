//! Measures wireboot against other programs, a module for each subject; `tests/bench/run` runs one with the
//! static binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

#[path = "../it/common/mod.rs"]
mod common;

mod boot;
mod fetch;
mod figures;
mod lease;
mod lease6;
mod load;
mod order;
mod packets;
mod root;
mod sandbox;
