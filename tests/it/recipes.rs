//! The recipes of the chapter, run as they are printed: servers of Debian in a namespace of their own.
//! Those of products are in `recipes_products`, those that take a whole machine in
//! `recipes_machines` and `payload`.

use std::fs;
use std::sync::{Mutex, PoisonError};

use crate::common::recipe::{
    CHAPTER, SCRIPT, dnsmasq, dnsmasq_with, nginx, recipe, recipes, rename, run, server,
};
use crate::common::servers::kea;
use crate::common::{in_new_namespace, ip, wait_until};

/// The recipes, each with the module that runs it.
const TESTED: &[(&str, &str)] = &[
    ("A diskless node by dnsmasq", "recipes"),
    ("ProxyDHCP beside a home router", "recipes"),
    ("Foreman", "recipes_products"),
    ("Tinkerbell", "recipes_products"),
    ("Warewulf", "recipes_products"),
    ("MAAS", "recipes_products"),
    ("netboot.xyz", "recipes_products"),
    ("A root on NFS with initramfs-tools", "recipes_machines"),
    ("HTTPS with an own CA", "recipes"),
    ("Signatures with minisign", "recipes"),
    ("A kept lease by systemd", "recipes_machines"),
    ("A payload of LinuxBoot or coreboot", "payload"),
];

/// Held from a build to the look at what it has made, which is one file for all.
static ARCHIVE: Mutex<()> = Mutex::new(());

#[test]
fn every_recipe_is_run_by_a_test() {
    let titles: Vec<_> = recipes().into_iter().map(|recipe| recipe.title).collect();
    let tested: Vec<_> = TESTED.iter().map(|(title, _)| *title).collect();
    assert_eq!(titles, tested);
    for (title, module) in TESTED {
        let path = format!("{}/tests/it/{module}.rs", env!("CARGO_MANIFEST_DIR"));
        let source = fs::read_to_string(path).unwrap();
        // As an argument of `recipe`, which takes a part of the title.
        let asks = |part: &str| title.contains(part);
        let mut parts = source.split("recipe(\"").skip(1);
        assert!(
            parts.any(|rest| asks(rest.split('"').next().unwrap())),
            "{title}"
        );
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn commands_of_the_readme_print_what_it_shows() {
    in_new_namespace(|| {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = fs::read_to_string(readme).unwrap();
        let blocks: Vec<_> = readme.split("```text\n$ ").skip(1).collect();
        assert_eq!(blocks.len(), 5);
        let far = server();
        // Those of the README; the server grants by it.
        ip("link set eth0 address 66:c5:86:c6:2f:b2");
        far.run("ip link set eth0 address e2:00:84:97:74:57");
        run("cd /srv/tftp; head -c 9000000 /dev/zero >initrd.img
            mkdir pxelinux.cfg; printf '\\352\\0PXELINUX 6.04\\0' >pxelinux.0
            printf '%s\n' 'default linux' 'label linux' 'kernel vmlinuz' 'initrd initrd.img' \
                'append console=ttyS0 ip=dhcp' >pxelinux.cfg/default");
        let _server = dnsmasq_with(&far, "dhcp-boot=pxelinux.0");
        for block in blocks {
            let (command, shown) = block.split_once('\n').unwrap();
            let shown = shown.split("```").next().unwrap();
            // One that goes on until it is stopped; what it is shown with is a lease.
            let command = match command.contains(" capture ") {
                true => format!(
                    "{command} -c {} 2>/run/said & until grep -q listening /run/said; do sleep 0.1; done
                    wireboot lease -i eth0 >/run/lease 2>&1; wait $!",
                    shown.lines().count()
                ),
                false => format!("{command} 2>/run/said"),
            };
            let mut said = run(&format!("cd /srv; {command}"));
            if said.is_empty() {
                said = fs::read_to_string("/run/said").unwrap();
            }
            assert_eq!(shape(&said), shape(shown));
        }
    });
}

/// Returns lines with a mark for each number, which differ from run to run as the width of columns does.
fn shape(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| {
        let words = line.split_whitespace().map(|word| {
            let is_number = |c: char| c.is_ascii_digit() || c == '.';
            let parts: Vec<_> = word
                .split(is_number)
                .filter(|part| !part.is_empty())
                .collect();
            match word.starts_with("0x") {
                true => "#".to_owned(),
                false if parts.concat().len() == word.len() => word.to_owned(),
                false => format!("#{}", parts.join("#")),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect()
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn ten_lines_of_dnsmasq_boot_a_diskless_node() {
    in_new_namespace(|| {
        let recipe = recipe("diskless");
        let far = server();
        recipe.write();
        let configuration = recipe.file("/etc/dnsmasq.conf");
        assert_eq!(configuration.lines().count(), 10);
        let _server = dnsmasq(&far);
        let output = recipe.boot("image", &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let (files, words) = recipe.plan(&[]);
        let expected = ["vmlinuz", "initrd.img"].map(|name| format!("tftp://192.0.2.1/{name}"));
        assert_eq!(files, expected);
        assert_eq!(words, "console=tty0 console=ttyS0");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_proxy_brings_the_boot_file_that_a_home_router_does_not_have() {
    in_new_namespace(|| {
        let recipe = recipe("ProxyDHCP");
        let far = server();
        recipe.write();
        // The router is Kea, on the interface with the name that it has in other tests.
        for command in ["set eth0 down", "set eth0 name far", "set far up"] {
            far.run(&format!("ip link {command}"));
        }
        let proxy = far.beside(3);
        rename(&proxy);
        ip("link set eth0 up");
        wait_until("eth0 has a carrier", || {
            ip("-o link show eth0").contains("LOWER_UP")
        });
        let _router = kea(&far);
        let _server = dnsmasq(&proxy);
        let (files, _) = recipe.plan(&[]);
        let expected = ["vmlinuz", "initrd.img"].map(|name| format!("tftp://192.0.2.3/{name}"));
        assert_eq!(files, expected);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, and builds the static binary"]
fn the_certificate_of_an_own_authority_is_made_and_trusted() {
    in_new_namespace(|| {
        let recipe = recipe("HTTPS");
        let far = server();
        recipe.write();
        let [certificates, archive] = recipe.commands()[..] else {
            panic!("other blocks");
        };
        assert_eq!(
            certificates
                .lines()
                .filter(|line| line.starts_with("openssl"))
                .count(),
            3
        );
        run(certificates);
        let archive_lock = ARCHIVE.lock().unwrap_or_else(PoisonError::into_inner);
        let archive = run(archive);
        let listed = run(&format!(
            "gzip -dc {} | cpio --list --quiet",
            archive.trim()
        ));
        assert!(
            listed.lines().any(|name| name == "etc/wireboot/ca.pem"),
            "{listed}"
        );
        drop(archive_lock);
        // Where the node has it.
        run("install -D /etc/nginx/ca.pem /etc/wireboot/ca.pem");
        fs::write("/srv/tftp/boot.ipxe", SCRIPT).unwrap();
        let boot_file = "dhcp-boot=https://192.0.2.1/boot.ipxe";
        assert!(fs::read_to_string(CHAPTER).unwrap().contains(boot_file));
        let _server = dnsmasq_with(&far, boot_file);
        let _web = nginx(&far);
        let (files, _) = recipe.plan(&[]);
        let expected = ["vmlinuz", "initrd.img"].map(|name| format!("https://192.0.2.1/{name}"));
        assert_eq!(files, expected);
        // It is this authority alone that is trusted.
        let other = "cd /etc/wireboot && openssl req -x509 -newkey ec -nodes -subj /CN=other \
            -pkeyopt ec_paramgen_curve:P-256 -keyout other.key -out ca.pem";
        run(other);
        let (code, said) = recipe.refusal();
        assert_eq!(code, Some(8), "{said}");
        assert!(said.contains("unknown issuer"), "{said}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and minisign, and builds the static binary"]
fn files_that_are_signed_as_printed_are_started_and_changed_ones_are_not() {
    in_new_namespace(|| {
        let recipe = recipe("minisign");
        let far = server();
        fs::write("/srv/tftp/boot.ipxe", SCRIPT).unwrap();
        let archive_lock = ARCHIVE.lock().unwrap_or_else(PoisonError::into_inner);
        recipe.run_commands();
        let archive = run("ls target/initramfs/wireboot.cpio.gz");
        let listed = run(&format!(
            "gzip -dc {} | cpio --list --quiet",
            archive.trim()
        ));
        assert!(
            listed.lines().any(|name| name == "etc/wireboot/policy"),
            "{listed}"
        );
        drop(archive_lock);
        let _server = dnsmasq_with(&far, "dhcp-boot=boot.ipxe");
        let output = recipe.boot("image", &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        fs::write("/srv/tftp/initrd.img", "another one").unwrap();
        let output = recipe.boot("image", &[]);
        assert_eq!(output.status.code(), Some(8), "{output:?}");
        fs::remove_file("/srv/tftp/boot.ipxe.minisig").unwrap();
        let output = recipe.boot("image", &[]);
        assert_eq!(output.status.code(), Some(8), "{output:?}");
    });
}
