//! Frames from the ring to the eye or to a file.

#![forbid(unsafe_code)]

pub mod compile;
pub mod file;
pub mod language;
pub mod line;
pub mod live;
mod options;
pub mod output;
