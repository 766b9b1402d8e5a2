#![no_main]
use std::convert::Infallible;

use wireboot_fuzz::budget;
use wireboot_proto::format::filesystem::{Content, FileSystem};
use wireboot_proto::format::gpt;
use wireboot_proto::format::verity::Superblock;

libfuzzer_sys::fuzz_target!(|data: &[u8]| budget::linear(data.len(), 64, || recognize(data)));

fn recognize(data: &[u8]) {
    if let Content::FileSystem(file_system) = Content::recognize(data) {
        let _ = (file_system.len(data), file_system.label(data));
    }
    for file_system in [FileSystem::Erofs, FileSystem::Ext4, FileSystem::Squashfs] {
        let _ = file_system.len(data);
    }
    let len = data.len() as u64;
    let mut bytes_read = 0;
    let found = gpt::root_partition(len, None, &mut |part| {
        let [start, end] = [part.start, part.end.min(len)].map(|at| at as usize);
        bytes_read += part.end - part.start;
        Ok::<_, Infallible>(data.get(start..end).unwrap_or_default().to_vec())
    });
    assert!(bytes_read < 1 << 20);
    let _ = Superblock::decode(data);
    if let Ok(Ok(found)) = found {
        let partition = found.root;
        assert!(partition.start < partition.end && partition.end <= len);
    }
}
