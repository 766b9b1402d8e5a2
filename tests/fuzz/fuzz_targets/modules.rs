#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| wireboot::fuzzing::modules(text));
