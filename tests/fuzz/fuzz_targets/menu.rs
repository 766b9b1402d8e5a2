#![no_main]
use wireboot_proto::boot::menu::{Entry, Menu, MenuSession, decode, is_unfinished};
use wireboot_proto::time::Instant;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let entry = |octet: &u8| Entry {
        text: char::from(*octet).to_string(),
        is_choice: octet % 3 != 0,
        key: (octet % 5 == 0).then_some(char::from(*octet)),
        command_line: (octet % 2 == 0).then(String::new),
        key_moves_bar: octet % 7 == 0,
        help: None,
    };
    let menu = Menu {
        entries: data.iter().take(40).map(entry).collect(),
        selected: data.first().map(|octet| usize::from(*octet)),
        help_keys: 0x1ffe,
        ..Menu::default()
    };
    let mut session = MenuSession::new(menu, Instant::ZERO);
    is_unfinished(data);
    for key in decode(data) {
        session.handle_key(key);
        session.lines(Instant::ZERO, 24);
    }
});
