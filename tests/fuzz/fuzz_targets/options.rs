#![no_main]
use wireboot_proto::packet::option::Options;
use wireboot_proto::packet::option::known::{OptionValue, name, parse_code};

// The first octet is the code of an option, the others what it holds; and all are a list.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut options = Options::default();
    let _ = options.read_area(data);
    if let Some((code, octets)) = data.split_first() {
        options.set(*code, octets);
    }
    for (code, octets) in options.iter() {
        let value = OptionValue::read(code, octets).to_string();
        assert!(!value.contains(char::is_control));
        assert!(code == 0 || code == 255 || parse_code(&name(code)) == Some(code));
    }
    let _ = (options.domain_search(), options.classless_routes());
});
