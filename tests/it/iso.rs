//! ISO images, made by xorriso and genisoimage, as boot files: read by parts where the server sends
//! parts, and whole elsewhere; and whole boots by the address of an image alone.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

use crate::common::far::Far;
use crate::common::folder::Folder;
use crate::common::in_new_namespace;
use crate::common::machine::{Machine, Served, Setup};
use crate::common::scripted::cutter;
use crate::common::servers::{dnsmasq, nginx};
use wireboot_proto::text::url;

#[test]
#[ignore = "needs xorriso, genisoimage, nginx, python3 and namespaces"]
fn files_of_an_image_come_by_parts_and_the_image_whole_from_a_server_without_parts() {
    in_new_namespace(|| {
        let folder = Folder::new();
        let tree = folder.served().join("tree");
        fs::create_dir_all(tree.join("casper/deep")).unwrap();
        folder.offer("tree/casper/vmlinuz", 5_000_000);
        folder.offer("tree/casper/deep/Some other file", 70_000);
        folder.offer("tree/rest", 20_000_000);
        folder.offer("tree/empty", 0);
        std::os::unix::fs::symlink("casper/vmlinuz", tree.join("link")).unwrap();
        let iso = folder.served().join("x.iso");
        xorriso(&tree, &iso);
        folder.run_on(
            "genisoimage",
            &["-quiet", "-J", "-V", "P", "-o", "p.iso", "tree"],
        );
        let _nginx = folder.nginx("");
        let _python = folder.python();
        for host in ["127.0.0.1:8080", "127.0.0.1:8000"] {
            for (image, path, name) in [
                ("x.iso", "/casper/vmlinuz", "casper/vmlinuz"),
                ("x.iso", "/link", "casper/vmlinuz"),
                (
                    "x.iso",
                    "/casper/deep/Some%20other%20file",
                    "casper/deep/Some other file",
                ),
                ("x.iso", "/empty", "empty"),
                (
                    "p.iso",
                    "/casper/deep/Some%20other%20file",
                    "casper/deep/Some other file",
                ),
            ] {
                let url = format!("http://{host}/{image}#{path}");
                let output = folder.run(&["-v", "-o", "come", &url]);
                let text = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{url}: {text}");
                folder.is_whole("come", &format!("tree/{name}"));
                let is_whole = text.contains("fetching the whole image into memory");
                assert_eq!(is_whole, host.ends_with(":8000"), "{text}");
            }
            let listed = printed(&folder, &format!("http://{host}/x.iso#/"));
            assert_eq!(listed, "casper/\nempty\nlink\nrest\n");
            let missing = format!("http://{host}/x.iso#/casper/none");
            assert!(folder.fails(7, &[&missing]).contains("no such file"));
            let none = format!("http://{host}/tree/rest#/casper/none");
            assert!(folder.fails(7, &[&none]).contains("it is no ISO image"));
        }
        folder.succeeds(&["-o", "come", "http://127.0.0.1:8080/moved/x.iso#/link"]);
        folder.is_whole("come", "tree/casper/vmlinuz");
        // What breaks off is continued.
        let cutter = cutter(8080, 5, 900_000);
        let url = format!("http://127.0.0.1:{cutter}/x.iso#/casper/vmlinuz");
        folder.succeeds(&["-o", "come", &url]);
        folder.is_whole("come", "tree/casper/vmlinuz");

        // A hash of the file, and one of the image, which only the whole image can be checked by.
        let hash = |name: &str| {
            let content = fs::read(folder.served().join(name)).unwrap();
            url::Sha256(Sha256::digest(content).into())
        };
        let file = "http://127.0.0.1:8080/x.iso#/casper/vmlinuz";
        let (right, wrong) = (hash("tree/casper/vmlinuz"), hash("tree/rest"));
        folder.succeeds(&["-o", "come", &format!("{file}#sha256={right}")]);
        let text = folder.fails(8, &["-o", "come", &format!("{file}#sha256={wrong}")]);
        assert!(text.contains(&right.to_string()), "{text}");
        let by_python = file.replace("8080", "8000");
        folder.fails(8, &["-o", "come", &format!("{by_python}#sha256={wrong}")]);
        for (sum, succeeds) in [(hash("x.iso"), true), (wrong, false)] {
            fs::write(folder.path("sums"), format!("{sum}  x.iso\n")).unwrap();
            let output = folder.run(&["-v", "--sums", "sums", "-o", "come", file]);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(if succeeds { 0 } else { 8 }),
                "{text}"
            );
            assert!(
                text.contains("its hash is that of the whole image"),
                "{text}"
            );
        }
    });
}

#[test]
#[ignore = "needs xorriso, genisoimage, nginx, minisign and namespaces"]
fn an_image_counts_as_the_file_that_is_signed_and_allowed() {
    in_new_namespace(|| {
        let folder = Folder::new();
        let tree = folder.served().join("tree");
        fs::create_dir_all(tree.join("isolinux")).unwrap();
        folder.offer("tree/vmlinuz", 3_000_000);
        let config = "default k\nlabel k\n kernel /vmlinuz\n append quiet\n";
        fs::write(tree.join("isolinux/isolinux.cfg"), config).unwrap();
        let iso = folder.served().join("x.iso");
        xorriso(&tree, &iso);
        folder.run_on("minisign", &["-G", "-W", "-p", "near/key.pub", "-s", "key"]);
        let sign = || folder.run_on("minisign", &["-S", "-s", "key", "-m", "x.iso"]);
        sign();
        let _nginx = folder.nginx("");
        let file = "http://127.0.0.1:8080/x.iso#/vmlinuz";
        folder.succeeds(&["--key", "key.pub", "-o", "come", file]);
        folder.is_whole("come", "tree/vmlinuz");
        let mut changed = fs::read(&iso).unwrap();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&iso, changed).unwrap();
        let text = folder.fails(8, &["--key", "key.pub", "-o", "come", file]);
        assert!(text.contains("x.iso"), "{text}");
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64, xorriso, nginx and dnsmasq"]
fn a_debian_like_live_image_boots_by_its_address_alone() {
    in_new_namespace(|| {
        let (far, served) = (Far::plug_in(), Served::new("live-iso"));
        let tree = Served::empty("live-tree");
        copy(&served, "vmlinuz", &tree, "live/vmlinuz");
        copy(&served, "greeting", &tree, "live/initrd.img");
        tree.put("live/filesystem.squashfs", vec![7; 3_000_000]);
        tree.put(
            "isolinux/isolinux.cfg",
            "include menu.cfg\ndefault live\nprompt 0\ntimeout 10\n",
        );
        tree.put(
            "isolinux/menu.cfg",
            "label live\n linux /live/vmlinuz\n initrd ../live/initrd.img\n append boot=live \
             console=ttyS0 quiet panic=-1 findiso=/x\n",
        );
        xorriso(&tree.folder, &served.folder.join("live.iso"));
        let _http = nginx(&far, &served.folder);
        let _server = dnsmasq(&far, "--dhcp-boot=http://192.0.2.1/live.iso");
        let setup = Setup::new("ip=dhcp wireboot.on-failure=poweroff");
        let machine = setup.on_tap(&["near"]).start();
        let console = greets(machine, "panic=-1 fetch=http://192.0.2.1/live.iso");
        assert!(
            console.contains("live-boot (Debian): adds fetch="),
            "{console}"
        );
        let log = fs::read_to_string(far.folder.join("access.log")).unwrap();
        let sizes = log.lines().map(|line| {
            assert!(line.contains("\" 206 "), "{line}");
            let fields: Vec<_> = line.split(' ').collect();
            fields[9].parse::<u64>().unwrap()
        });
        let image = fs::metadata(served.folder.join("live.iso")).unwrap().len();
        assert!(sizes.sum::<u64>() < image - 2_500_000, "{log}");
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64, xorriso and genisoimage"]
fn a_fedora_like_live_image_boots_from_a_server_without_parts() {
    let served = Served::new("fedora-iso");
    let tree = Served::empty("fedora-tree");
    copy(&served, "vmlinuz", &tree, "images/pxeboot/vmlinuz");
    copy(&served, "greeting", &tree, "images/pxeboot/initrd.img");
    tree.put("LiveOS/squashfs.img", vec![7; 300_000]);
    tree.put(
        "boot/grub2/grub.cfg",
        "set timeout=1\nsearch --no-floppy --set=root -l 'Fedora'\nmenuentry 'Start' --class fedora \
         {\n linux ($root)/images/pxeboot/vmlinuz root=live:CDLABEL=Fedora rd.live.image \
         console=ttyS0 quiet panic=-1\n initrd ($root)/images/pxeboot/initrd.img\n}\n",
    );
    xorriso(&tree.folder, &served.folder.join("fedora.iso"));
    let http = served.over_http();
    served.put("boot.ipxe", format!("#!ipxe\nsanboot {http}/fedora.iso\n"));
    let setup = Setup::new("ip=dhcp wireboot.on-failure=poweroff");
    let machine = setup.on_own_network(&served, "boot.ipxe").start();
    let words = format!("panic=-1 root=live:{http}/fedora.iso rd.neednet=1 ip=dhcp");
    let console = greets(machine, &words);
    assert!(
        console.contains("the server does not send parts of files"),
        "{console}"
    );
}

impl Folder {
    /// Runs a program in the folder of the files that are served.
    fn run_on(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        let arguments = arguments.iter().map(|argument| match *argument {
            "near/key.pub" => self.path("key.pub").display().to_string(),
            argument => argument.to_owned(),
        });
        let output = command.args(arguments).current_dir(self.served()).output();
        succeeded(&output.unwrap());
    }
}

fn printed(folder: &Folder, url: &str) -> String {
    let output = folder.run(&["-o", "-", url]);
    succeeded(&output);
    String::from_utf8(output.stdout).unwrap()
}

fn xorriso(tree: &Path, image: &Path) {
    let mut command = Command::new("xorriso");
    command.args(["-as", "mkisofs", "-quiet", "-R", "-J", "-V", "TEST", "-o"]);
    succeeded(&command.arg(image).arg(tree).output().unwrap());
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

fn copy(from: &Served, name: &str, to: &Served, path: &str) {
    to.put(path, fs::read(from.folder.join(name)).unwrap());
}

/// Waits for the second kernel's greeting, and for `expected` on its command line.
fn greets(machine: Machine, expected: &str) -> String {
    let console = machine.ends();
    let greeting = (console.lines()).find(|line| line.contains("Its command line:"));
    let is_expected = greeting.is_some_and(|line| line.contains(expected));
    assert!(
        is_expected,
        "{expected:?} is missing in {greeting:?}\n{console}"
    );
    console
}
