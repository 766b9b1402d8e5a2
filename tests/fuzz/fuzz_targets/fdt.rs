#![no_main]
use wireboot::image::device_tree::{Seeds, complete, hand_over};
use wireboot_proto::format::fdt::DeviceTree;

// One or two trees, the first of which is that of the machine.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(running) = DeviceTree::decode(data) else {
        return;
    };
    if let Some(again) = running.encode() {
        assert_eq!(DeviceTree::decode(&again).as_ref(), Ok(&running));
    }
    let len = data.get(4..8).and_then(|len| len.try_into().ok());
    let second = data.get(len.map_or(0, u32::from_be_bytes) as usize..);
    let second = second.map(DeviceTree::decode);
    let mut tree = match second {
        Some(Ok(tree)) => tree,
        Some(Err(_)) | None => running.clone(),
    };
    let _ = complete(&mut tree, &running);
    let seeds = Seeds {
        kaslr: [1; 8],
        rng: [2; 64],
    };
    hand_over(&mut tree, "quiet", Some(&(0x1000..0x2000)), Some(&seeds));
    let _ = tree.encode();
});
