#![no_main]
use wireboot_proto::packet::pxe::Pxe;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let pxe = Pxe::read(data);
    let _ = pxe.menu.iter().map(|item| pxe.servers(item.kind)).count();
});
