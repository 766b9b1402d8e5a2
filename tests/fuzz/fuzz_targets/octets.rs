#![no_main]
use wireboot::settings::{cmdline, config::Config};

// A command line as the kernel has it: octets, of which those that are no text spoil their word alone.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let known = cmdline::parse("wireboot.timeout=7", Config::default()).config;
    let words = cmdline::words(&text);
    // Words behind this one are for the first process.
    let is_open = !text.contains('"') && words.iter().all(|word| word != "--");
    if is_open {
        assert!(words.iter().map(String::len).sum::<usize>() <= text.len());
        let line = format!("{text} wireboot.timeout=7");
        let timeout = cmdline::parse(&line, Config::default()).config.dhcp.timeout;
        assert_eq!(timeout, known.dhcp.timeout);
    }
    let _ = cmdline::parse(&text, Config::default());
});
