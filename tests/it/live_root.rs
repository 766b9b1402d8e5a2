//! A root by the network: process 1 of namespaces of its own, whose `/` is in memory as that of an
//! initramfs is, mounts the image that it fetches and becomes the init in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::far::{Far, Server};
use crate::common::machine::{Served, Setup, shell};
use crate::common::servers::{dnsmasq, nginx};
use crate::common::{in_new_namespace, ip, wait_until};
use wireboot_proto::format::kernel_image::fixture::bz_image;

/// Makes an initramfs of a tmpfs, and becomes process 1 in it: `$1` is a folder, with the words of the
/// command line and the console in it.
const INITRAMFS: &str = r#"set -e
mount --make-rprivate /
mount -t tmpfs none $1/root
cd $1/root
mkdir dev proc sys run usr tmp etc old
for name in bin sbin lib lib64; do ln -s usr/$name $name; done
echo kept >left-over
mount --bind /usr usr
mount -t devtmpfs none dev
mount --bind $1/console dev/console
mount -t proc none proc
mount --bind $1/words proc/cmdline
mkdir etc/wireboot
for name in policy registries.json; do [ ! -e $1/../$name ] || cp $1/../$name etc/wireboot/; done
[ ! -e $1/../meminfo ] || mount --bind $1/../meminfo proc/meminfo
touch init
mount --bind $2 init
pivot_root . old
umount -l /old
rmdir /old
sleep 300 &
exec /init word-of-the-kernel"#;

/// What the image starts: says where it is.
const INIT: &str = r#"#!/bin/busybox sh
PATH=/bin
echo "the word is $(cat /word)"
echo "arguments: $0 $*"
echo "environment: $WIREBOOT_TEST"
echo "old root: $(ls -A /proc/[0-9]*/cwd/ 2>/dev/null | grep -c left-over) left over"
for name in /dev /proc /sys /run; do grep -q " $name " /proc/mounts && echo "moved $name"; done
grep -q nameserver /etc/resolv.conf && echo "resolver: $(grep nameserver /etc/resolv.conf)"
[ -s /run/wireboot/account.txt ] && echo "the account is there"
[ -s /run/net-near.conf ] && echo "the file of klibc is there"
echo "address: $(ip -o -4 address show near | grep -c 192.0.2.100)"
echo "signals: $(grep SigBlk /proc/1/status | tr -d '\t\n')"
[ -e /extra ] && ls -lnR /extra
if echo x >/changed; then echo "it is writable"; else echo "it is read-only"; fi
echo "the end"
"#;

/// A network with a server, and a folder of its files.
pub(crate) struct Site {
    pub(crate) far: Far,
    pub(crate) served: PathBuf,
    _servers: [Server; 2],
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// The same with more arguments of dnsmasq.
    fn with(more: &str) -> Self {
        let far = Far::plug_in();
        let served = far.folder.join("served");
        fs::create_dir(&served).unwrap();
        let servers = [
            dnsmasq(&far, &format!("--dhcp-option=6,192.0.2.53 {more}")),
            nginx(&far, &served),
        ];
        Self {
            far,
            served,
            _servers: servers,
        }
    }

    /// Makes the files of a system with a word in it.
    pub(crate) fn tree(&self, word: &str) -> PathBuf {
        let tree = self.far.folder.join("tree");
        make_tree(&tree, word, INIT);
        tree
    }

    /// Runs commands in the folder that is served, where `$tree` is that of [`Site::tree`].
    pub(crate) fn make(&self, commands: &str) {
        let tree = self.far.folder.join("tree");
        let output = Command::new("bash")
            .args(["-euc", commands])
            .env("tree", tree)
            .current_dir(&self.served)
            .output()
            .unwrap();
        assert!(output.status.success(), "{commands}: {output:?}");
    }

    /// Starts process 1 with these words.
    pub(crate) fn start(&self, words: &str) -> FirstProcess {
        static STARTED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = STARTED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = self.far.folder.join(format!("machine-{number}"));
        fs::create_dir_all(folder.join("root")).unwrap();
        let words = format!("wireboot.interface=near wireboot.timeout=20 {words}\n");
        fs::write(folder.join("words"), words).unwrap();
        fs::write(folder.join("console"), "").unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", INITRAMFS, "sh"])
            .args([&folder, Path::new(env!("CARGO_BIN_EXE_wireboot"))])
            .env("WIREBOOT_TEST", "passed")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        FirstProcess {
            child,
            console: folder.join("console"),
        }
    }

    /// Lets process 1 boot until the end of the image's init, and returns what the console has.
    pub(crate) fn boots(&self, words: &str) -> String {
        let machine = self.start(words);
        machine.says("the end");
        machine.text()
    }

    /// Asserts that process 1 fails with this exit code, and says why.
    pub(crate) fn fails_with(&self, words: &str, code: u8, why: &str) {
        let said = self.fails(words);
        assert!(said.contains(why), "{words}:\n{said}");
        let code = format!("boot failed: exit code {code}\n");
        assert!(said.contains(&code), "{words}:\n{said}");
    }

    /// Returns how process 1 fails, which then waits for its next attempt.
    pub(crate) fn fails(&self, words: &str) -> String {
        let machine = self.start(words);
        machine.says("retrying in");
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", machine.first_process()));
        let mounts = mounts.unwrap();
        assert!(mounts.contains(" /proc "), "{mounts}");
        for point in [" /sysroot ", "/run/wireboot/root"] {
            assert!(!mounts.contains(point), "{mounts}\n{}", machine.text());
        }
        machine.text()
    }
}

pub(crate) struct FirstProcess {
    child: Child,
    console: PathBuf,
}

impl FirstProcess {
    fn text(&self) -> String {
        let bytes = fs::read(&self.console).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn says(&self, text: &str) {
        wait_until(&format!("{text}\n{}", self.text()), || {
            self.text().contains(text)
        });
    }

    /// Returns the number of process 1 outside of its namespace.
    pub(crate) fn first_process(&self) -> String {
        let id = self.child.id();
        let path = format!("/proc/{id}/task/{id}/children");
        fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

impl Drop for FirstProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the console:\n{}", self.text());
        }
        // Its children end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx, squashfs-tools and a kernel with squashfs, loop and overlay"]
fn a_squashfs_becomes_the_root_of_process_1() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("pear");
        site.make("mksquashfs $tree a.squashfs -quiet && sha256sum a.squashfs | cut -c -64 >sum");
        let sum = fs::read_to_string(site.served.join("sum")).unwrap();
        let root = format!("root=live:http://192.0.2.1/a.squashfs#sha256={sum}");
        let said = site.boots(&root);
        for expected in [
            "the word is pear",
            "arguments: /sbin/init word-of-the-kernel",
            "environment: passed",
            "old root: 0 left over",
            "moved /dev",
            "moved /proc",
            "moved /sys",
            "moved /run",
            "resolver: nameserver 192.0.2.53",
            "the account is there",
            "the file of klibc is there",
            "address: 1",
            "signals: SigBlk:0000000000000000",
            "it is writable",
        ] {
            assert!(said.contains(expected), "{expected}:\n{said}");
        }
    });
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx, mkfs of each kind, and a kernel with each"]
fn images_of_each_kind_are_mounted_packed_or_not_and_out_of_a_disk() {
    in_new_namespace(|| {
        let site = Site::new();
        let ext4 = "truncate -s 24M part && mkfs.ext4 -q -d $tree part";
        let disk = format!(
            "{ext4}; truncate -s 32M a.raw
            sgdisk -n 1:2048:+1M -t 1:ef00 -n 2:8192:+24M -t 2:8304 a.raw >/dev/null
            dd if=part of=a.raw bs=1M seek=4 conv=notrunc status=none"
        );
        for (name, commands) in [
            ("a.erofs", "mkfs.erofs a.erofs $tree".to_owned()),
            ("part", ext4.to_owned()),
            ("part.gz", format!("{ext4} && gzip part")),
            ("a.raw", disk.clone()),
            // Its first table is gone, as after a program that has written a boot sector of its own.
            (
                "copy.raw",
                format!(
                    "{disk}; dd if=/dev/zero of=a.raw bs=512 count=34 conv=notrunc status=none; mv a.raw copy.raw"
                ),
            ),
            // The first of the type; a table that ends in front of the end of the image.
            (
                "two.raw",
                format!(
                    "{disk}; sgdisk -n 3:57344:+1M -t 3:8304 a.raw >/dev/null; truncate -s 40M a.raw; mv a.raw two.raw"
                ),
            ),
            ("a.raw.zst", format!("{disk}; zstd -q --rm a.raw")),
            ("a.raw.xz", format!("{disk}; xz -1 a.raw")),
            (
                "live.squashfs",
                format!(
                    "{ext4}; mkdir -p live/LiveOS; mv part live/LiveOS/rootfs.img
                    mksquashfs live live.squashfs -quiet"
                ),
            ),
        ] {
            site.tree(name);
            site.make(&commands);
            let said = site.boots(&format!("wireboot.root=http://192.0.2.1/{name}"));
            let word = format!("the word is {name}\n");
            assert!(said.contains(&word), "{name}:\n{said}");
            assert!(said.contains("it is writable"), "{name}:\n{said}");
            site.make("rm -rf *");
        }
    });
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx, cpio and zstd"]
fn an_archive_is_unpacked_into_memory_with_owners_permissions_and_links() {
    in_new_namespace(|| {
        let site = Site::new();
        let tar = "tar --format=pax -C $tree -cf a.tar .";
        let cpio = "(cd $tree && find . | cpio --quiet -o -H newc) >a.cpio";
        for (name, commands) in [
            ("a.tar", tar.to_owned()),
            ("a.tar.zst", format!("{tar}; zstd -q --rm a.tar")),
            ("a.tar.xz", format!("{tar}; xz -9 --x86 --lzma2 a.tar")),
            ("a.tgz", "tar --format=gnu -C $tree -czf a.tgz .".to_owned()),
            ("a.cpio", format!("{cpio}; head -c 512 /dev/zero >>a.cpio; (cd / && echo etc/fstab | cpio --quiet -o -H newc) >>a.cpio")),
            ("a.cpio.gz", format!("{cpio}; gzip a.cpio")),
            // Without its folders.
            ("bare.tar.gz", "(cd $tree; find . -type d -empty -o ! -type d) | tar -C $tree --no-recursion -T - -czf bare.tar.gz".to_owned()),
        ] {
            site.tree(name);
            let long = "l".repeat(120);
            site.make(&format!(
                "mkdir $tree/extra; cd $tree/extra; echo 12345 >first; chown 7:8 first; chmod 4751 first
                touch -d @86400 first; ln first second; ln -s ../word link; mkfifo fifo
                mknod null c 1 3; mkdir -p {long}; echo end >{long}/{long}; chmod 1777 {long}"
            ));
            site.make(commands.as_str());
            let said = site.boots(&format!("wireboot.root=http://192.0.2.1/{name}"));
            assert!(said.contains(&format!("the word is {name}\n")), "{name}:\n{said}");
            assert!(said.contains("it is writable"), "{name}:\n{said}");
            let line = |end: &str| {
                let line = said.lines().find(|line| line.ends_with(end));
                let line = line.unwrap_or_else(|| panic!("{name}: no {end}:\n{said}"));
                line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            for file in [" first", " second"] {
                let line = line(file);
                assert_eq!(line[..5], ["-rwsr-x--x", "2", "7", "8", "6"], "{name}");
                assert!(line.contains(&"1970".to_owned()), "{name}: {line:?}");
            }
            line(" link -> ../word");
            assert!(line(" fifo")[0].starts_with('p'), "{name}");
            assert!(!said.contains(" null"), "{name}:\n{said}");
            let folder = format!("/extra/{long}:");
            assert!(said.contains(&folder), "{name}:\n{said}");
            assert_eq!(line(&format!(" {long}"))[2..4], ["0", "0"], "{name}");
            assert!(loops().is_empty() || !loops().contains("memfd"));
            site.make("rm -rf *");
        }
        site.tree("plum");
        site.make("tar -C $tree -cf a.tar .");
        let said = site.boots("root=http://192.0.2.1/a.tar wireboot.overlay=none");
        assert!(said.contains("it is read-only"), "{said}");
        let said = site.boots("root=http://192.0.2.1/a.tar wireboot.sandbox=off");
        assert!(said.contains("it is writable"), "{said}");
    });
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx, xorriso, and a kernel with squashfs, loop and overlay"]
fn the_root_in_an_iso_image_is_where_dracut_looks_for_it() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("medlar");
        site.make(
            "mkdir -p fedora/LiveOS debian/live; mksquashfs $tree fedora/LiveOS/squashfs.img -quiet
            cp fedora/LiveOS/squashfs.img debian/live/filesystem.squashfs
            for name in fedora debian; do xorriso -as mkisofs -quiet -R -o $name.iso $name 2>/dev/null; done",
        );
        for words in [
            "root=live:http://192.0.2.1/fedora.iso rd.live.image",
            "rd.live.dir=live rd.live.squashimg=filesystem.squashfs root=live:http://192.0.2.1/debian.iso",
            "root=live:http://192.0.2.1/debian.iso#/live/filesystem.squashfs",
        ] {
            let said = site.boots(words);
            assert!(said.contains("the word is medlar"), "{words}:\n{said}");
        }
        site.fails_with(
            "root=live:http://192.0.2.1/debian.iso",
            7,
            "LiveOS/squashfs.img",
        );
    });
}

/// Prints extended attributes and times of files in a folder.
const ATTRIBUTES: &str = r#"
import os, sys
for name in "ping", "second", "folder":
    path = os.path.join(sys.argv[1], name)
    found = {key: os.getxattr(path, key, follow_symlinks=False).hex() for key in os.listxattr(path, follow_symlinks=False)}
    print(name, int(os.lstat(path).st_mtime), found)
"#;

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx and Python"]
fn an_archive_is_unpacked_with_capabilities_of_programs_and_times() {
    in_new_namespace(|| {
        let site = Site::new();
        let tree = site.tree("fig");
        let init = format!("{INIT}/bin/busybox sleep 60\n");
        fs::write(tree.join("sbin/init"), init).unwrap();
        // Effective and permitted CAP_NET_RAW (struct vfs_cap_data, version 2).
        let capability = "0100000200200000000000000000000000000000";
        site.make(&format!(
            "mkdir -p $tree/extra/folder; cd $tree/extra; echo content >ping; echo a >folder/a; 
            python3 -c 'import os
for name, value in (\"security.capability\", bytes.fromhex(\"{capability}\")), (\"trusted.a\", b\"a\"):
    os.setxattr(\"ping\", name, value)'
            ln ping second; touch -d @86400 ping folder
            tar -C $tree --xattrs --xattrs-include='*' --format=pax -cf $OLDPWD/a.tar ."
        ));
        let machine = site.start("root=http://192.0.2.1/a.tar");
        machine.says("the end");
        let said = machine.text();
        let expected = "the attribute \"trusted.a\" is left out: \"extra/ping\" of the archive: ";
        assert!(said.contains(expected), "{said}");
        let found = Command::new("python3")
            .args(["-c", ATTRIBUTES])
            .arg(format!("/proc/{}/root/extra", machine.first_process()))
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        let file = format!("86400 {{'security.capability': '{capability}'}}");
        let expected = format!("ping {file}\nsecond {file}\nfolder 86400 {{}}\n");
        assert_eq!(found, expected, "{said}");
    });
}

/// Makes what is hard to archive in the folder `$1`.
const ODD_FILES: &str = r#"
import os, sys
os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
def sparse(name, size, parts):
    with open(name, "wb") as file:
        for at, text in parts:
            file.seek(at)
            file.write(text)
        file.truncate(size)
sparse("holes", 5000001, [(number * 160000 + 65536, bytes([65 + number]) * 4096) for number in range(29)])
sparse("hole", 3000000, [])
sparse("tail", 3000000, [(0, b"begin")])
sparse("head", 3000000, [(2999995, b"end..")])
name, target = "n" * 200, "t" * 150 + "/" + "t" * 150
os.mkdir("d" * 130)
for path in name, "d" * 130 + "/" + name, "café ☃":
    open(path, "w").write(path)
os.symlink(target, "link")
os.link(name, "hard")
open("rights", "w").write("content")
os.chown("rights", 3000000, 4000000)
os.chmod("rights", 0o6751)
open("program", "w").write("content")
os.setxattr("program", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
for path in "rights", "d" * 130:
    os.utime(path, (86400.75, 86400.75))
"#;

/// Prints all there is about the files in the folder `$1`; attributes if `$2` is `attributes`.
const LISTING: &str = r#"
import hashlib, os, sys
os.chdir(sys.argv[1])
for folder, names, files in os.walk("."):
    names.sort()
    for path in [folder] + [os.path.join(folder, name) for name in sorted(files)]:
        found = os.lstat(path)
        print(path, oct(found.st_mode), found.st_uid, found.st_gid, end=" ")
        if os.path.islink(path):
            print(os.readlink(path))
            continue
        print(int(found.st_mtime), end=" ")
        if os.path.isfile(path):
            is_sparse = found.st_blocks * 512 * 2 < found.st_size
            content = hashlib.sha256(open(path, "rb").read()).hexdigest()
            print(found.st_nlink, found.st_size, is_sparse, content, end=" ")
        if sys.argv[2] == "attributes":
            print({name: os.getxattr(path, name).hex() for name in os.listxattr(path)}, end="")
        print()
"#;

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx, GNU tar, bsdtar and Python"]
fn archives_of_each_program_are_unpacked_with_holes_long_names_and_large_numbers() {
    in_new_namespace(|| {
        let site = Site::new();
        let tree = site.tree("fig");
        let init = format!("{INIT}/bin/busybox sleep 60\n");
        fs::write(tree.join("sbin/init"), init).unwrap();
        let python = |script: &str, folder: &str, more: &str| {
            let output = Command::new("python3")
                .args(["-c", script, folder, more])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let folder = tree.join("extra").display().to_string();
        python(ODD_FILES, &folder, "");
        // One whose first state is another.
        let before = "echo old >$tree/extra/twice; tar -C $tree -cf a.tar ./extra/twice
            echo new >$tree/extra/twice; tar -C $tree -rf a.tar -S";
        let python_archive = |format: &str| {
            format!(
                "python3 -c 'import sys, tarfile
with tarfile.open(\"a.tar\", \"w\", format=tarfile.{format}, pax_headers={{\"comment\": \"of all\"}}) as archive:
    archive.add(sys.argv[1], \"/\")' $tree"
            )
        };
        let gnu = "tar -C $tree -cf a.tar -S --numeric-owner";
        let pax = format!("{gnu} --format=pax --xattrs --xattrs-include='*' --sparse-version");
        for (commands, keeps_attributes, keeps_holes) in [
            (format!("{before} ."), false, true),
            (format!("{gnu} --format=oldgnu ."), false, true),
            (format!("{gnu} --format=gnu -g snapshot ."), false, true),
            (format!("{pax}=0.0 ."), true, true),
            (format!("{pax}=0.1 ."), true, true),
            (format!("{pax}=1.0 ."), true, true),
            (
                "bsdtar -C $tree --format=pax -cf a.tar .".to_owned(),
                true,
                true,
            ),
            (
                "bsdtar -C $tree --format=gnutar -cf a.tar .".to_owned(),
                false,
                false,
            ),
            (python_archive("PAX_FORMAT"), false, false),
            (python_archive("GNU_FORMAT"), false, false),
        ] {
            site.make(&commands);
            let machine = site.start("root=http://192.0.2.1/a.tar");
            machine.says("the end");
            let more = if keeps_attributes { "attributes" } else { "" };
            let unpacked = format!("/proc/{}/root/extra", machine.first_process());
            let [mut expected, mut found] =
                [&folder, &unpacked].map(|path| python(LISTING, path, more));
            if !keeps_holes {
                for text in [&mut expected, &mut found] {
                    *text = text.replace(" True ", " False ");
                }
            }
            assert_eq!(found, expected, "{commands}:\n{}", machine.text());
        }
    });
}

/// Writes archives that mean harm.
const HOSTILE: &str = r#"
import io, os, tarfile
def write(name, *members):
    with tarfile.open(name, "w", format=tarfile.PAX_FORMAT) as archive:
        for path, kind, target in members:
            member = tarfile.TarInfo(path)
            member.type, member.linkname, member.size = kind, target, 5 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"taken"))
file, link, hard = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
write("up.tar", ("../../taken", file, ""))
write("inner-up.tar", ("a/../../taken", file, ""))
write("absolute.tar", ("/taken", file, ""))
write("link.tar", ("a", link, "/"), ("a/taken", file, ""))
write("link-up.tar", ("a", link, "../../../.."), ("a/taken", file, ""))
write("proc.tar", ("a", link, "/proc/1/root"), ("a/taken", file, ""))
write("hard-up.tar", ("a", hard, "../init"))
write("hard.tar", ("a", hard, "/init"))
write("open.tar", ("init", link, "/left-over"), ("init", file, ""))
data = open("link.tar", "rb").read()
open("cut.tar", "wb").write(data[:700])
open("garbage.tar", "wb").write(data[:512] + os.urandom(4096))
"#;

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx and Python"]
fn a_hostile_archive_changes_nothing_but_the_root_that_it_fails_to_be() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("pear");
        site.make(&format!("python3 -c '{HOSTILE}'"));
        for (name, why) in [
            ("up.tar", "no path within it"),
            ("inner-up.tar", "no path within it"),
            ("hard-up.tar", "no path within it"),
            ("hard.tar", "No such file"),
            ("absolute.tar", "the root has no init"),
            ("link.tar", "the root has no init"),
            ("link-up.tar", "the root has no init"),
            ("proc.tar", "of the archive"),
            ("open.tar", "the root has no init"),
            ("cut.tar", "the archive is cut off"),
            ("garbage.tar", "is no header of a member"),
        ] {
            let machine = site.start(&format!("root=http://192.0.2.1/{name}"));
            machine.says("retrying in");
            let said = machine.text();
            assert!(said.contains(why), "{name}:\n{said}");
            assert!(
                said.contains("boot failed: exit code 6\n"),
                "{name}:\n{said}"
            );
            let root = format!("/proc/{}/root", machine.first_process());
            assert!(!Path::new(&root).join("taken").exists(), "{name}");
            let kept = fs::read_to_string(format!("{root}/left-over")).unwrap();
            assert_eq!(kept, "kept\n", "{name}");
            let mounts = fs::read_to_string(format!("{root}/proc/1/mounts")).unwrap();
            assert!(!mounts.contains("wireboot/root"), "{name}:\n{mounts}");
        }
    });
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx, squashfs-tools and a kernel with squashfs, loop and overlay"]
fn changes_are_kept_where_the_words_say_and_init_is_the_one_that_is_named() {
    in_new_namespace(|| {
        let site = Site::new();
        let tree = site.tree("pear");
        fs::copy(tree.join("sbin/init"), tree.join("etc/other")).unwrap();
        site.make("mksquashfs $tree a.squashfs -quiet");
        let root = "root=http://192.0.2.1/a.squashfs";
        let said = site.boots(&format!("{root} rd.overlay=0 init=/etc/other"));
        assert!(said.contains("it is read-only"), "{said}");
        assert!(said.contains("arguments: /etc/other "), "{said}");
        let said = site.boots(&format!("{root} rd.live.overlay.size=7"));
        assert!(said.contains("in memory, up to 7 MiB"), "{said}");
        assert!(said.contains("it is writable"), "{said}");
    });
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx, squashfs-tools and a kernel with squashfs, loop and overlay"]
fn what_cannot_be_a_root_is_refused_with_its_exit_code_and_nothing_stays_mounted() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("pear");
        site.make(
            "mksquashfs $tree good -quiet; head -c 100000 good >cut
            xz -kc good | head -c 5000 >cut.xz; xz -k --check=sha256 good
            rm $tree/sbin/init $tree/bin/sh; mksquashfs $tree no-init -quiet; printf '#!/bin/none\n' >$tree/sbin/init; chmod 755 $tree/sbin/init
            mksquashfs $tree no-shell -quiet; cp $tree/bin/busybox $tree/sbin/init
            printf '\\377' | dd of=$tree/sbin/init bs=1 seek=18 conv=notrunc status=none
            mksquashfs $tree other-processor -quiet; rmdir $tree/sys; mksquashfs $tree no-sys -quiet
            rm $tree/sbin/init; ln -s ../lib/none $tree/sbin/init; mksquashfs $tree dangling -quiet
            mkfs.erofs cut.erofs $tree >/dev/null 2>&1; truncate -s -4096 cut.erofs
            truncate -s 24M cut.ext4; mkfs.ext4 -q -d $tree cut.ext4; truncate -s 20M cut.ext4
            truncate -s 3M old.raw; printf '\\125\\252' | dd of=old.raw bs=1 seek=510 conv=notrunc status=none
            truncate -s 30M lvm.raw; sgdisk -n 1:2048:+20M -t 1:8304 lvm.raw >/dev/null
            printf LABELONE | dd of=lvm.raw bs=512 seek=2049 conv=notrunc status=none
            printf 'LVM2 001' | dd of=lvm.raw bs=1 seek=$((2049 * 512 + 24)) conv=notrunc status=none
            head -c 15000000 lvm.raw >cut.raw
            head -c 9000 /dev/zero >zeros; zstd -q zeros; head -c 5000 good >damaged.zst
            printf '\\x28\\xb5\\x2f\\xfd' | dd of=damaged.zst conv=notrunc status=none
            cp good damaged; dd if=/dev/urandom of=damaged bs=1 seek=8 count=20 conv=notrunc status=none",
        );
        let pin = "0".repeat(64);
        for (name, words, code, why) in [
            ("missing", "", 7, "404"),
            (&format!("good#sha256={pin}"), "", 8, "its SHA-256 is"),
            ("good", "wireboot.require-signature", 1, "key"),
            ("cut", "", 6, "and only 100000 are there"),
            ("cut.erofs", "", 6, "its erofs has"),
            ("cut.ext4", "", 6, "and only 20971520 are there"),
            ("cut.raw", "", 6, "which may be cut off"),
            ("old.raw", "", 6, "it has an MBR"),
            ("lvm.raw", "", 6, "it is a volume of LVM"),
            ("good.xz", "", 6, "pack it with --check=crc64"),
            ("cut.xz", "", 6, "it ends inside of an xz stream"),
            ("no-init", "", 6, "the root has no init"),
            ("good", "init=/sbin/other", 6, "no program /sbin/other"),
            ("dangling", "", 6, "the root has no init"),
            ("dangling", "init=/sbin/init", 6, "no program /sbin/init"),
            ("no-shell", "", 6, "\"/bin/none\": it is not in the root"),
            ("other-processor", "", 6, "for another processor"),
            ("no-sys", "rd.overlay=0", 6, "no directory /sys"),
            ("zeros", "", 6, "neither a file system that is known nor"),
            (
                "zeros.zst",
                "",
                6,
                "neither a file system that is known nor",
            ),
            ("damaged.zst", "", 6, "is no root"),
            (
                "damaged",
                "",
                9,
                "cannot mount http://192.0.2.1/damaged as squashfs",
            ),
            (
                "good",
                "wireboot.overlay=LABEL=no-such-disk",
                6,
                "no disk with the file system LABEL=no-such-disk",
            ),
        ] {
            site.fails_with(&format!("root=http://192.0.2.1/{name} {words}"), code, why);
        }
        assert!(!loops().contains("memfd"), "{}", loops());
        assert!(ip("-4 address show near").is_empty());
    });
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx, squashfs-tools, minisign and a kernel with squashfs, loop and overlay"]
fn only_an_image_that_is_signed_becomes_the_root_where_a_key_is_given() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("pear");
        site.make(
            "mksquashfs $tree good -quiet; tar -C $tree -cf a.tar .; cp good unsigned; cp good other
            minisign -G -W -p key.pub -s key >/dev/null; minisign -S -s key -m good >/dev/null; minisign -S -s key -m a.tar >/dev/null
            cp a.tar.minisig other.minisig",
        );
        let key = fs::read_to_string(site.served.join("key.pub")).unwrap();
        let policy = format!("key {}\nrequire-signature\n", key.lines().nth(1).unwrap());
        fs::write(site.far.folder.join("policy"), policy).unwrap();
        for name in ["good", "a.tar"] {
            let said = site.boots(&format!("root=http://192.0.2.1/{name}"));
            assert!(said.contains("the word is pear"), "{name}:\n{said}");
        }
        for words in [
            "root=http://192.0.2.1/unsigned",
            "root=http://192.0.2.1/other",
            "root=nfs:192.0.2.1:/srv/root",
            "root=nbd:192.0.2.1:10809/debian",
        ] {
            let said = site.fails(words);
            assert!(
                said.contains("boot failed: exit code 8\n"),
                "{words}:\n{said}"
            );
        }
    });
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx and a kernel with tmpfs"]
fn an_archive_that_memory_does_not_suffice_for_leaves_nothing_behind_and_is_tried_again() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("plum");
        site.make("tar -C $tree -czf small.tar.gz .; head -c 60M /dev/zero >$tree/zeros; tar -C $tree -czf a.tar.gz .");
        // 16 MiB of it stay free.
        let memory = "MemTotal: 131072 kB\nMemAvailable: 40960 kB\n";
        fs::write(site.far.folder.join("meminfo"), memory).unwrap();
        let machine = site.start("root=http://192.0.2.1/a.tar.gz");
        machine.says("\"zeros\" of the archive: memory does not suffice to unpack it");
        machine.says("boot failed: exit code 7\n");
        machine.says("retrying in");
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", machine.first_process()));
        let mounts = mounts.unwrap();
        assert!(!mounts.contains("/run/wireboot/root"), "{mounts}");
        site.make("mv small.tar.gz a.tar.gz");
        machine.says("the word is plum");
        machine.says("the end");
    });
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx, squashfs-tools and a kernel with squashfs, loop and overlay"]
fn a_boot_that_failed_is_tried_again_until_the_server_has_the_image() {
    in_new_namespace(|| {
        let site = Site::new();
        site.tree("plum");
        let machine = site.start("root=http://192.0.2.1/late");
        machine.says("retrying in");
        site.make("mksquashfs $tree late -quiet");
        machine.says("the word is plum");
        machine.says("the end");
    });
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN, nginx, squashfs-tools and a kernel with squashfs, loop and overlay"]
fn a_boot_file_names_the_root_in_place_of_a_kernel() {
    in_new_namespace(|| {
        let site = Site::new();
        let tree = site.tree("quince");
        fs::copy(tree.join("sbin/init"), tree.join("etc/other")).unwrap();
        site.make("mksquashfs $tree a.squashfs -quiet && sha256sum a.squashfs | cut -c -64 >sum");
        fs::write(site.served.join("vmlinuz"), bz_image()).unwrap();
        let sum = fs::read_to_string(site.served.join("sum")).unwrap();
        let (sum, other) = (sum.trim(), "7".repeat(64));
        let root = |pin: &str| format!("wireboot.root=http://192.0.2.1/a.squashfs#sha256={pin}");
        let write = |name: &str, text: String| fs::write(site.served.join(name), text).unwrap();
        // The kernel of a label is not even there.
        let label =
            |words: &str| format!("default a\nlabel a\nkernel none\nappend quiet {words}\n");
        write("label", label(&format!("{} init=/etc/other", root(sum))));
        let script = format!("#!ipxe\nkernel vmlinuz {} rd.overlay=0\nboot\n", root(sum));
        write("boot.ipxe", script);
        write("pinned-wrong", label(&root(&other)));
        write("missing", label("wireboot.root=http://192.0.2.1/none"));
        write("wrong", label(&format!("{} roothash=7", root(sum))));
        write(
            "of-kernel",
            label("root=live:http://me:pw@192.0.2.1/a.squashfs"),
        );
        let of = |name: &str| format!("wireboot.boot-file=http://192.0.2.1/{name}");
        let said = site.boots(&of("label"));
        assert!(said.contains("the word is quince"), "{said}");
        assert!(
            said.contains("arguments: /etc/other word-of-the-kernel"),
            "{said}"
        );
        assert!(said.contains("it is writable"), "{said}");
        let said = site.boots(&of("boot.ipxe"));
        assert!(said.contains("the word is quince"), "{said}");
        assert!(said.contains("it is read-only"), "{said}");
        for (name, code, why) in [
            ("pinned-wrong", 8, "its SHA-256 is"),
            ("missing", 7, "404"),
            ("wrong", 6, "roothash=: it is no hash"),
        ] {
            site.fails_with(&of(name), code, why);
        }
        let explained = |name: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_wireboot"))
                .args([
                    "boot",
                    "-i",
                    "near",
                    "--timeout",
                    "20",
                    "--stop-after",
                    "plan",
                ])
                .args([
                    "--explain",
                    "--boot-file",
                    &format!("http://192.0.2.1/{name}"),
                ])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let said = explained("label");
        assert!(said.contains("process 1 mounts it as the root"), "{said}");
        let said = explained("of-kernel");
        assert!(
            said.contains("root=live:http://…@192.0.2.1/a.squashfs: the kernel's own"),
            "{said}"
        );
    });
}

/// Makes the files of a system with a word in it.
pub(crate) fn make_tree(tree: &Path, word: &str, init: &str) {
    let _ = fs::remove_dir_all(tree);
    for name in ["bin", "sbin", "dev", "proc", "sys", "run", "etc"] {
        fs::create_dir_all(tree.join(name)).unwrap();
    }
    fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
    for name in ["cat", "grep", "ls", "ip", "tr", "sh", "sync", "poweroff"] {
        symlink("busybox", tree.join("bin").join(name)).unwrap();
    }
    fs::write(tree.join("word"), word).unwrap();
    fs::write(tree.join("etc/resolv.conf"), "").unwrap();
    let path = tree.join("sbin/init");
    fs::write(&path, init).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What a machine starts that is switched off again.
pub(crate) const SHORT_INIT: &str = r#"#!/bin/busybox sh
PATH=/bin
echo "the word is $(cat /word), before it was $(cat /before)"
cat /word >/before
sync
poweroff -f
"#;

#[test]
#[ignore = "needs qemu-system-x86_64, zstd, sgdisk and mkfs of ext4, squashfs and erofs"]
fn a_machine_runs_from_an_image_with_changes_in_memory_or_on_a_disk() {
    let served = Served::empty("root");
    let server = served.over_http();
    let (archive, tree) = (served.folder.join("initramfs"), served.folder.join("tree"));
    let kernel = root_archive(&archive);
    let changes = served.folder.join("changes");
    shell(&format!(
        "truncate -s 16M {0} && mkfs.ext4 -q -L changes -U 2c7357ed-ebd2-46d9-aec1-23d437ec2bf5 {0}",
        changes.display()
    ));
    let run = |name: &str, words: &str, expected: &[&str]| {
        let words = format!("root={server}/{name} wireboot.on-failure=poweroff {words}");
        let mut machine = Setup::new(&words)
            .kernel(kernel.as_ref())
            .initramfs(&archive)
            .on_own_network(&served, "none")
            .with(&format!(
                "-drive if=virtio,format=raw,file={}",
                changes.display()
            ))
            .start();
        machine.says(expected);
        machine.ends();
    };
    make_tree(&tree, "pear", SHORT_INIT);
    shell(&format!(
        "cd {}; mksquashfs tree a.squashfs -quiet
        truncate -s 24M part && mkfs.ext4 -q -d tree part && truncate -s 32M a.raw
        sgdisk -n 1:2048:+1M -t 1:ef00 -n 2:8192:+24M -t 2:8304 a.raw >/dev/null
        dd if=part of=a.raw bs=1M seek=4 conv=notrunc status=none; zstd -q --rm a.raw
        echo plum >tree/word; mkfs.erofs a.erofs tree 2>/dev/null >&2",
        served.folder.display()
    ));
    run(
        "a.squashfs",
        "",
        &["the word is pear, before it was", "Power down"],
    );
    run(
        "a.raw.zst",
        "",
        &["the word is pear, before it was", "Power down"],
    );
    let first = [
        "kept on /dev/vda",
        "the word is plum, before it was",
        "Power down",
    ];
    run("a.erofs", "wireboot.overlay=LABEL=changes", &first);
    run(
        "a.erofs",
        "rd.overlay=UUID=2C7357ED-ebd2-46d9-aec1-23d437ec2bf5",
        &["the word is plum, before it was plum"],
    );
}

/// A server of NFS, of both versions, for a folder; with what it needs of a system to itself.
const NFS_SERVER: &str = r#"set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/ganesha /run/rpcbind /run/lock /run/sendsigs.omit.d /run/recovery
mount --bind /run/recovery /var/lib/nfs
mkdir -p /var/lib/nfs/ganesha
cat >/run/ganesha.conf <<END
NFS_CORE_PARAM { Enable_NLM = false; Enable_RQUOTA = false; }
NFSV4 { Graceless = true; RecoveryBackend = fs; }
EXPORT {
    Export_Id = 1; Path = $1; Pseudo = /srv/root; Protocols = 3, 4;
    Access_Type = RW; Squash = None; SecType = sys; FSAL { Name = VFS; }
}
END
ip link set lo up
rpcbind -w
ganesha.nfsd -F -L /dev/stderr -N FATAL -f /run/ganesha.conf -p /run/ganesha.pid &
until rpcinfo -p 127.0.0.1 2>&1 | grep -q ' 100005 .* tcp '; do sleep 0.1; done
echo the server is ready
wait"#;

#[test]
#[ignore = "needs qemu-system-x86_64, nfs-ganesha-vfs, qemu-utils and mkfs of ext4"]
fn a_machine_runs_from_a_folder_of_nfs_and_from_a_network_block_device() {
    in_new_namespace(|| {
        let site = Site::with("--dhcp-option=17,192.0.2.1:/srv/root,vers=4.1");
        let tree = site.tree("plum");
        make_tree(&tree, "plum", SHORT_INIT);
        let folder = &site.far.folder;
        let archive = folder.join("initramfs");
        let kernel = root_archive(&archive);
        let script = folder.join("serve-nfs");
        fs::write(&script, NFS_SERVER).unwrap();
        let command = format!(
            "unshare --mount --pid --fork --kill-child bash {} {}",
            script.display(),
            tree.display()
        );
        let _nfs = site.far.serve(&command, "the server is ready");
        site.make(
            "truncate -s 24M part && mkfs.ext4 -q -d $tree part && truncate -s 32M disk
            sgdisk -n 1:2048:+1M -t 1:ef00 -n 2:8192:+24M -t 2:8304 disk >/dev/null
            dd if=part of=disk bs=1M seek=4 conv=notrunc status=none",
        );
        let served = site.served.display();
        let nbd = |file: &str, port: u16| {
            let command = format!("qemu-nbd -r -t -e 9 -f raw -p {port} -x debian {served}/{file}");
            site.far.start(&command)
        };
        let _nbd = [nbd("part", 10809), nbd("disk", 10810)];
        let mut setup = Some(Setup::new("").on_tap(&["near"]));
        let mut run = |words: &str, expected: &[&str]| {
            let setup = setup
                .take()
                .unwrap_or_else(|| Setup::new("").on_tap_again());
            let mut machine = setup
                .words(&format!("wireboot.on-failure=poweroff {words}"))
                .kernel(kernel.as_ref())
                .initramfs(&archive)
                .start();
            machine.says(expected);
            machine.ends();
        };
        for words in [
            // The address and options of the lease.
            "root=/dev/nfs",
            "root=nfs:192.0.2.1:/srv/root",
            &format!("root=/dev/nfs nfsroot=192.0.2.1:{},vers=3", tree.display()),
            "root=nfs4:/srv/root wireboot.overlay=tmpfs",
            "root=nbd:192.0.2.1:10809/debian",
            "root=nbd:192.0.2.1:10810/debian:ext4 rd.overlay=1",
        ] {
            run(words, &["the word is plum, before it was", "Power down"]);
        }
        assert!(!tree.join("before").exists());
        run(
            "root=nfs:192.0.2.1:/srv/root rw",
            &["the word is plum", "Power down"],
        );
        assert_eq!(fs::read_to_string(tree.join("before")).unwrap(), "plum");
        run(
            "root=nbd:192.0.2.1:10809/other",
            &["there is no such export", "exit code 7"],
        );
        run(
            "root=nbd:192.0.2.1:10811/debian",
            &["Connection refused", "exit code 7"],
        );
        run(
            "root=nfs:192.0.2.1:/srv/other",
            &["cannot fetch nfs:192.0.2.1:/srv/other", "exit code 7"],
        );
    });
}

/// The first process of a machine that serves a disk by NVMe over TCP.
const NVME_SERVER: &str = r#"#!/bin/busybox sh
PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
while read -r file; do insmod "$file"; done </modules
until ip link set eth0 up 2>/dev/null; do sleep 0.1; done
ip address add 192.0.2.9/24 dev eth0
mount -t configfs none /sys/kernel/config
cd /sys/kernel/config/nvmet
subsystem=subsystems/nqn.2026-11.example:debian
mkdir -p $subsystem/namespaces/1 ports/1
echo 1 >$subsystem/attr_allow_any_host
cd $subsystem/namespaces/1
echo 1 >buffered_io
echo /disk >device_path
echo 1 >enable
cd /sys/kernel/config/nvmet/ports/1
for line in 'trtype tcp' 'adrfam ipv4' 'traddr 192.0.2.9' 'trsvcid 4420'; do echo ${line#* } >addr_${line% *}; done
ln -s /sys/kernel/config/nvmet/$subsystem subsystems/
echo the target is ready
while :; do sleep 60; done
"#;

#[test]
#[ignore = "needs qemu-system-x86_64, kmod, cpio, sgdisk and mkfs of ext4"]
fn a_machine_runs_from_a_disk_of_nvme_over_tcp() {
    in_new_namespace(|| {
        let site = Site::new();
        let tree = site.tree("damson");
        make_tree(&tree, "damson", SHORT_INIT);
        let folder = &site.far.folder;
        let archive = folder.join("initramfs");
        let kernel = root_archive(&archive);
        // Another machine, since the target is in the kernel.
        let target = folder.join("target");
        make_tree(&target, "", NVME_SERVER);
        shell(&format!(
            "cd {}; truncate -s 24M part; mkfs.ext4 -q -d tree part; truncate -s 32M target/disk
            sgdisk -n 1:2048:+1M -t 1:ef00 -n 2:8192:+24M -t 2:8304 target/disk >/dev/null
            dd if=part of=target/disk bs=1M seek=4 conv=notrunc status=none
            for name in mount insmod sleep mkdir echo ln; do ln -sf busybox target/bin/$name; done
            mv target/sbin/init target/init
            modules=$(readlink -f \"$(debian_kernel generic)/modules\"); version=$(basename \"$modules\")
            for name in virtio_pci virtio_net nvmet-tcp; do
                modprobe --dirname \"${{modules%/lib/modules/*}}\" --set-version \"$version\" --show-depends $name
            done | sed -n 's/^insmod //p' | while read -r path; do
                [ -e \"target/${{path##*/}}\" ] || {{ cp \"$path\" target; echo \"/${{path##*/}}\" >>target/modules; }}
            done
            (cd target && find . | cpio --quiet -o -H newc | gzip -1) >target.gz",
            folder.display()
        ));
        let first = Setup::new("").on_tap(&["near"]);
        ip("tuntap add tap1 mode tap");
        ip("link set tap1 master bridge0 up");
        let mut server = Setup::new("")
            .kernel(kernel.as_ref())
            .initramfs(&folder.join("target.gz"))
            .with("-netdev tap,id=net,ifname=tap1,script=no,downscript=no")
            .with("-device virtio-net-pci,netdev=net,mac=52:54:00:12:34:99")
            .start();
        server.says(&["the target is ready"]);
        let run = |setup: Setup, place: &str, expected: &[&str]| {
            let mut machine = setup
                .words(&format!(
                    "wireboot.on-failure=poweroff root=nvme-tcp:192.0.2.9{place}"
                ))
                .kernel(kernel.as_ref())
                .initramfs(&archive)
                .start();
            machine.says(expected);
            machine.ends();
        };
        run(
            first,
            ":4420/nqn.2026-11.example:debian",
            &[
                "nqn.2026-11.example:debian is /dev/nvme0n1",
                "the word is damson",
                "Power down",
            ],
        );
        run(
            Setup::new("").on_tap_again(),
            "/nqn.2026-11.example:other",
            &["/dev/nvme-fabrics", "exit code 7", "switched off"],
        );
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64, cryptsetup-bin, squashfs-tools, sgdisk and mkfs of ext4"]
fn a_machine_runs_from_what_dm_verity_has_verified_and_from_nothing_that_was_changed() {
    let served = Served::empty("verity");
    let server = served.over_http();
    let (archive, tree) = (served.folder.join("initramfs"), served.folder.join("tree"));
    let kernel = root_archive(&archive);
    make_tree(&tree, "quince", SHORT_INIT);
    shell(&format!(
        "cd {}; mksquashfs tree beside -quiet; cp beside behind; cp beside bare; cp beside broken
        root_hash() {{ sed -n 's/^Root hash:[[:space:]]*//p'; }}
        veritysetup format beside beside.verity | root_hash >beside.hash
        cp beside.verity broken.verity
        size=$(stat -c %s behind)
        veritysetup format --hash-offset=$size --salt=- --data-blocks=$((size / 4096)) behind behind |
            root_hash >behind.hash
        printf x | dd of=broken bs=1 seek=300000 conv=notrunc status=none
        truncate -s 24M part && mkfs.ext4 -q -b 1024 -d tree part
        veritysetup format --hash=sha512 --data-block-size=1024 part part.tree | root_hash >disk.hash
        truncate -s 40M disk
        sgdisk -n 1:8192:+24M -t 1:8304 -n 2:65536:+2M -t 2:8304 disk >/dev/null
        sgdisk -t 2:2c7357ed-ebd2-46d9-aec1-23d437ec2bf5 disk >/dev/null
        dd if=part of=disk bs=1M seek=4 conv=notrunc status=none
        dd if=part.tree of=disk bs=1M seek=32 conv=notrunc status=none; zstd -q --rm disk",
        served.folder.display()
    ));
    let hash = |name: &str| {
        let text = fs::read_to_string(served.folder.join(name).with_extension("hash"));
        text.unwrap().trim().to_owned()
    };
    let run = |name: &str, hash: &str, expected: &[&str]| {
        let words = format!("root={server}/{name} roothash={hash} wireboot.on-failure=poweroff");
        let mut machine = Setup::new(&words)
            .kernel(kernel.as_ref())
            .initramfs(&archive)
            .on_own_network(&served, "none")
            .start();
        machine.says(expected);
        machine.ends();
    };
    let good = [
        "all of it has the hash of roothash=",
        "the word is quince",
        "Power down",
    ];
    run("beside", &hash("beside"), &good);
    run("behind", &hash("behind"), &good);
    run("disk.zst", &hash("disk"), &good);
    let refused = [
        "failed verification",
        "boot failed: exit code 8",
        "switched off",
    ];
    run("broken", &hash("beside"), &refused);
    run("beside", &hash("behind"), &refused);
    run(
        "bare",
        &hash("beside"),
        &["there is no tree of hashes", "exit code 8", "switched off"],
    );
}

/// Packs an initramfs for Debian's kernel with all that a root needs; returns the kernel.
pub(crate) fn root_archive(archive: &Path) -> String {
    shell(&format!(
        "kernel=$(debian_kernel generic)
        \"$root/initramfs/build\" --root --kernel-modules \"$(readlink -f \"$kernel/modules\")\" \
            --modules 'virtio_pci virtio_net' --output {} >/dev/null
        echo \"$kernel/vmlinuz\"",
        archive.display(),
    ))
}

/// Returns what loop devices of this host are over.
fn loops() -> String {
    let output = Command::new("losetup").args(["-a"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
