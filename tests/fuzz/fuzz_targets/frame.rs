#![no_main]
use wireboot_proto::dhcp::stray;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::icmpv6::RouterAdvertisement;
use wireboot_proto::packet::ipv4::Datagram;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Datagram::decode_frame(data, true);
    let _ = Datagram::decode_frame(data, false);
    let _ = RouterAdvertisement::decode_frame(data, true);
    let _ = stray(data, None, true, 1, MacAddress::BROADCAST);
});
