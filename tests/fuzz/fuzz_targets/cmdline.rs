#![no_main]
use wireboot::settings::{cmdline, config::Config};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = cmdline::parse(text, Config::default());
});
