//! `wireboot boot` whose server is gone, or lacks files, or has damaged ones, and a mirror that has
//! them all.

use std::fs;
use std::process::Command;

use crate::common::far::Far;
use crate::common::in_new_namespace;
use crate::common::machine::{Served, shell};
use crate::common::servers::{dnsmasq, nginx};
use wireboot_proto::text::url::Sha256;

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq and nginx"]
fn a_mirror_gives_what_the_own_server_of_a_file_does_not() {
    let kernel = shell("echo \"$(debian_kernel)/vmlinuz\"");
    in_new_namespace(move || {
        let (far, served) = (Far::plug_in(), Served::empty("mirrors"));
        let initrd = Sha256(<sha2::Sha256 as sha2::Digest>::digest("the initrd").into());
        let script = format!("#!ipxe\nkernel vmlinuz a=b\ninitrd initrd#sha256={initrd}\nboot\n");
        let config = format!("default a\nlabel a\nkernel vmlinuz\ninitrd initrd#sha256={initrd}\n");
        served.put("copy/boot/script", &script);
        served.put("copy/boot/initrd", "the initrd");
        served.put("boot/config", &config);
        served.put("boot/initrd", "another one");
        fs::copy(&kernel, served.folder.join("copy/boot/vmlinuz")).unwrap();
        let _http = nginx(&far, &served.folder);
        let _leases = dnsmasq(&far, "");

        // Nobody listens there: it is waited for once, and not for each file.
        let said = boot("http://192.0.2.1:81/boot/script");
        assert_eq!(said.matches("trying the next mirror").count(), 1, "{said}");
        assert!(said.contains("Connection refused"), "{said}");

        let said = boot("http://192.0.2.1/boot/config");
        assert!(
            said.contains("boot/vmlinuz: the server answers 404"),
            "{said}"
        );
        assert!(
            !said.contains("its SHA-256 is"),
            "the mirror comes first then: {said}"
        );
        fs::copy(&kernel, served.folder.join("boot/vmlinuz")).unwrap();
        let said = boot("http://192.0.2.1/boot/config");
        assert!(said.contains("its SHA-256 is"), "{said}");
    });
}

/// Boots up to the image, which has to be whole then; returns what was said.
fn boot(file: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args([
        "boot",
        "-i",
        "near",
        "--stop-after",
        "image",
        "--boot-file",
        file,
    ]);
    let output = command.args(["--mirror", "http://192.0.2.1/copy"]).output();
    let output = output.expect("it is built");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("stopped after image"), "{said}");
    said
}
