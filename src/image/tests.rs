//! Files as they are fetched, and what kexec is handed.

use super::*;
use wireboot_proto::boot::Placement;
use wireboot_proto::format::kernel_image::fixture::bz_image;

#[test]
fn a_kernel_and_one_initrd_are_handed_over_as_they_are() {
    let files = [("k", kernel()), ("i", b"archive".to_vec())];
    let image = assemble(&plan("a=b", &["i"]), &files).unwrap();
    assert_eq!(read(&image.kernel), kernel());
    assert_eq!(read(&image.initrd.unwrap()), b"archive");
    assert_eq!(image.command_line, "a=b quiet");
}

#[test]
fn initrds_begin_at_multiples_of_four_and_files_become_archives() {
    let files = [
        ("k", kernel()),
        ("i", b"archiv".to_vec()),
        ("f", b"hello".to_vec()),
    ];
    let mut plan = plan("", &["i", "f", "i"]);
    plan.initrds[1].placement = Some(Placement {
        path: "etc/x".to_owned(),
        mode: 0o600,
        make_directories: None,
    });
    let initrd = read(&assemble(&plan, &files).unwrap().initrd.unwrap());
    assert!(initrd.starts_with(b"archiv\0\x00070701"));
    assert_eq!(initrd.len() % 4, 0);
    let at = initrd.len() - 8;
    assert!(initrd[at..].starts_with(b"archiv"));
    let hello = initrd.windows(5).position(|octets| octets == b"hello");
    assert_eq!(hello.unwrap() % 4, 0);
}

#[test]
fn a_unified_kernel_image_is_taken_apart() {
    let uki = wireboot_proto::format::uki::fixture::file(&[
        (".cmdline", b"root=x\n"),
        (".initrd", b"inner"),
        (".linux", &kernel()),
    ]);
    let files = [("k", uki), ("i", b"outer".to_vec())];
    let image = assemble(&plan("", &["i"]), &files).unwrap();
    assert_eq!(read(&image.kernel), kernel());
    assert_eq!(read(&image.initrd.unwrap()), b"inner\0\0\0outer\0\0\0");
    assert_eq!(image.command_line, "root=x quiet");
    let image = assemble(&plan("mine", &[]), &files).unwrap();
    assert_eq!(image.command_line, "mine quiet");
}

#[test]
fn a_command_line_that_the_next_kernel_would_read_in_part_is_refused() {
    let uki = wireboot_proto::format::uki::fixture::file(&[
        (".linux", &kernel()),
        (".cmdline", b"root=x\0 ima=off\n\0"),
    ]);
    let error = assemble(&plan("", &[]), &[("k", uki)]).unwrap_err();
    assert!(error.chain().contains("holds a NUL"), "{}", error.chain());
}

#[test]
fn the_command_line_chooses_the_profile_of_a_unified_kernel_image() {
    let uki = wireboot_proto::format::uki::fixture::file(&[
        (".linux", &kernel()),
        (".cmdline", b"usual"),
        (".profile", b"ID=usual"),
        (".profile", b"ID=reset"),
        (".cmdline", b"reset"),
    ]);
    let files = [("k", uki), ("bare", kernel())];
    for (line, expected) in [
        ("", "usual quiet"),
        ("@0", "usual quiet"),
        ("@1", "reset quiet"),
        ("@1 mine", "mine quiet"),
        ("@x mine", "@x mine quiet"),
    ] {
        let image = assemble(&plan(line, &[]), &files).unwrap();
        assert_eq!(image.command_line, expected, "{line}");
    }
    let error = assemble(&plan("@2", &[]), &files).unwrap_err();
    assert!(error.chain().contains("profile"), "{}", error.chain());
    // Another kernel has no profiles.
    let mut bare = plan("@1 mine", &[]);
    bare.kernel = PlanPart::from(Url::tftp("h", "bare").unwrap());
    assert_eq!(
        assemble(&bare, &files).unwrap().command_line,
        "@1 mine quiet"
    );
}

#[test]
#[cfg(feature = "unpack")]
fn a_packed_kernel_is_unpacked() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&kernel()).unwrap();
    let packed = packer.finish().unwrap();
    let image = assemble(&plan("", &[]), &[("k", packed.clone())]).unwrap();
    assert_eq!(read(&image.kernel), kernel());
    let mut zboot = vec![0; 64];
    zboot[..8].copy_from_slice(b"MZ\0\0zimg");
    zboot[8] = 64;
    zboot[12..16].copy_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
    zboot[24..28].copy_from_slice(b"gzip");
    zboot.extend(&packed);
    let image = assemble(&plan("", &[]), &[("k", zboot)]).unwrap();
    assert_eq!(read(&image.kernel), kernel());
    let uki = wireboot_proto::format::uki::fixture::file(&[(".linux", &packed)]);
    let image = assemble(&plan("", &[]), &[("k", uki)]).unwrap();
    assert_eq!(read(&image.kernel), kernel());
    let cut = packed[..packed.len() / 2].to_vec();
    assert!(assemble(&plan("", &[]), &[("k", cut)]).is_err());
}

#[test]
#[cfg(feature = "unpack")]
fn a_kernel_that_unpacks_to_more_than_the_memory_is_stopped_there() {
    // 64 MiB of the same byte: by gzip, and by zstd in 512 blocks (RFC 8878 §3.1.1).
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![0; 64 << 20]).unwrap();
    let gzip = packer.finish().unwrap();
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x38];
    for block in 1..=512_u32 {
        let header = (128 << 10) << 3 | 1 << 1 | u32::from(block == 512);
        zstd.extend_from_slice(&header.to_le_bytes()[..3]);
        zstd.push(0);
    }
    for (packing, packed) in [(Packing::Gzip, gzip), (Packing::Zstd, zstd)] {
        let mut file = Memfd::create("test").unwrap();
        file.write_all(&packed).unwrap();
        let file = file.seal().unwrap();
        let url = Url::tftp("h", "k").unwrap();
        let into = |available| {
            let unpacked = Memfd::create_within("kernel", available).unwrap();
            unpack(&url, &file, 0..packed.len() as u64, packing, unpacked)
        };
        assert_eq!(into(|| Some(16 << 20)).unwrap().size().unwrap(), 64 << 20);
        let error = into(|| Some(9 << 20)).unwrap_err();
        assert_eq!(error.exit_code(), 7);
        let text = error.chain();
        assert!(
            text.contains("tftp://h/k: unpacked, it needs more than"),
            "{text}"
        );
        assert!(
            text.ends_with("MiB of memory; 9 MiB available, and 16 MiB stay free"),
            "{text}"
        );
    }
}

#[test]
fn parts_that_do_not_fit_into_memory_together_end_as_a_fetch_does() {
    let error = copying(io::Error::new(io::ErrorKind::OutOfMemory, "it needs more"));
    assert_eq!(error.exit_code(), 7);
    assert!(
        error.chain().ends_with("it needs more"),
        "{}",
        error.chain()
    );
    let other = copying(io::Error::from(io::ErrorKind::BrokenPipe));
    assert_eq!(other.exit_code(), 5);
}

#[test]
fn what_is_no_kernel_goes_no_further() {
    for file in [b"<html>".to_vec(), Vec::new(), b"MZ".to_vec()] {
        let error = assemble(&plan("", &[]), &[("k", file)]).unwrap_err();
        assert_eq!(error.exit_code(), 6);
    }
    let error = assemble(&plan(&"x".repeat(2048), &[]), &[("k", kernel())]).unwrap_err();
    assert!(error.to_string().contains("2047"), "{error}");
}

fn kernel() -> Vec<u8> {
    bz_image()
}

fn plan(command_line: &str, initrds: &[&str]) -> BootPlan {
    let part = |name: &str| PlanPart::from(Url::tftp("h", name).unwrap());
    BootPlan {
        kernel: part("k"),
        initrds: initrds.iter().map(|name| part(name)).collect(),
        command_line: command_line.to_owned(),
        append: Some("quiet".to_owned()),
        device_tree: None,
        loads_device_tree: false,
    }
}

fn assemble(plan: &BootPlan, files: &[(&str, Vec<u8>)]) -> Result<Image, Error> {
    Image::assemble(
        plan,
        |url| {
            let (_, octets) = files.iter().find(|(name, _)| *name == url.tftp_file())?;
            let mut file = Memfd::create("test").unwrap();
            file.write_all(octets).unwrap();
            Some(Rc::new(file.seal().unwrap()))
        },
        true,
    )
}

fn read(file: &SealedFile) -> Vec<u8> {
    file.octets(0..u64::MAX).unwrap()
}
