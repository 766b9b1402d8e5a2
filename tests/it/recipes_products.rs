//! The recipes for products: what each renders from its templates (`tests/data/recipes`), behind the DHCP
//! server and the web server that it configures, and the plan that the printed words lead to.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::far::{Far, Server};
use crate::common::in_new_namespace;
use crate::common::recipe::{dnsmasq_with, nginx, recipe, run, server};
use crate::common::terminal::Terminal;

const MAC: &str = "52-54-00-12-34-56";
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recipes");

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn foreman_builds_a_host_by_pxelinux_and_by_grub_and_then_leaves_it_to_its_disk() {
    in_new_namespace(|| {
        let recipe = recipe("Foreman");
        let far = server();
        fs::write("/srv/tftp/pxelinux.0", b"\xea\0PXELINUX 6.04\0").unwrap();
        kernel_at(
            "/srv/tftp/boot/el9-vmlinuz",
            "/srv/tftp/boot/el9-initrd.img",
        );
        put("foreman/grub.cfg", "/srv/tftp/grub2/grub.cfg");
        fs::write(
            "/srv/tftp/grub2/grubx64.efi",
            [&b"MZ"[..], &[0; 0x400]].concat(),
        )
        .unwrap();
        let _tftp = tftp(&far);
        let own = format!("/srv/tftp/pxelinux.cfg/01-{MAC}");
        let colons = MAC.replace('-', ":");
        let own_of_grub = format!("/srv/tftp/grub2/grub.cfg-{colons}");
        let bootif = [format!("BOOTIF=01-{MAC}"), format!("BOOTIF=00-{colons}")];
        for (loader, path, kickstart, local, bootif) in [
            ("pxelinux.0", &own, "kickstart", "local", &bootif[0]),
            (
                "grub2/grubx64.efi",
                &own_of_grub,
                "grub-kickstart",
                "grub-local",
                &bootif[1],
            ),
        ] {
            let _dhcp = dhcpd(&far, loader);
            put(&format!("foreman/{kickstart}"), path);
            let (files, words) = recipe.plan(&[]);
            assert!(files[0].ends_with("/boot/el9-vmlinuz"), "{files:?}");
            assert!(files[1].ends_with("/boot/el9-initrd.img"), "{files:?}");
            let kickstart = "inst.ks=http://192.0.2.1:8000/unattended/provision?token=0";
            for word in [kickstart, "ip=dhcp", bootif] {
                assert!(
                    words.split(' ').any(|found| found == word),
                    "{word}: {words}"
                );
            }
            put(&format!("foreman/{local}"), path);
            let (code, said) = recipe.refusal();
            assert_eq!(code, Some(10), "{loader}: {said}");
        }
        put("foreman/local", &own);
        run(&format!("sed -i s/local_chain_hd0/local/ {own}"));
        let _dhcp = dhcpd(&far, "pxelinux.0");
        assert_eq!(recipe.refusal().0, Some(10));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn tinkerbell_grants_its_script_to_its_own_user_class_alone() {
    in_new_namespace(|| {
        let recipe = recipe("Tinkerbell");
        let far = server();
        let firmware = format!("/srv/tftp/{MAC}/undionly.kpxe");
        fs::create_dir(Path::new(&firmware).parent().unwrap()).unwrap();
        fs::write(&firmware, [0xea, 5, 0, 0xc0, 7].repeat(50)).unwrap();
        let _server = dnsmasq_with(
            &far,
            &format!(
                "dhcp-userclass=set:own,Tinkerbell\n\
                 dhcp-boot=tag:own,http://192.0.2.1/auto.ipxe\n\
                 dhcp-boot=tag:!own,tftp://192.0.2.1:69/{MAC}/undionly.kpxe"
            ),
        );
        put("tinkerbell/auto.ipxe", "/srv/hook/auto.ipxe");
        kernel_at(
            "/srv/hook/hook/vmlinuz-x86_64",
            "/srv/hook/hook/initramfs-x86_64",
        );
        let _web = web(&far, "server { listen 192.0.2.1:80; root /srv/hook; }");
        let (files, words) = recipe.plan(&[]);
        assert_eq!(
            files,
            ["vmlinuz", "initramfs"].map(|name| format!("http://192.0.2.1/hook/{name}-x86_64"))
        );
        assert!(words.contains("grpc_authority=192.0.2.1:42113"), "{words}");
        // Without the words.
        let output = recipe.boot("plan", &["--user-class", "iPXE"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{said}");
        assert!(said.contains("it offers iPXE itself"), "{said}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn warewulf_provisions_a_node_by_the_default_of_its_menu() {
    in_new_namespace(|| {
        let recipe = recipe("Warewulf");
        let far = server();
        let text = fs::read_to_string(format!("{DATA}/warewulf/dnsmasq.conf")).unwrap();
        let _server = dnsmasq_with(&far, &text);
        put(
            "warewulf/default.ipxe",
            &format!("/srv/warewulf/ipxe/{MAC}"),
        );
        kernel_at("/srv/warewulf/kernel", "/srv/warewulf/image");
        for overlay in ["system", "runtime"] {
            fs::write(format!("/srv/warewulf/{overlay}"), b"\x1f\x8b\x08overlay").unwrap();
        }
        let _web = web(
            &far,
            &fs::read_to_string(format!("{DATA}/warewulf/nginx.conf")).unwrap(),
        );
        let (files, words) = recipe.plan(&[]);
        for (file, stage) in files.iter().zip(["kernel", "image", "system", "runtime"]) {
            assert!(
                file.starts_with("http://192.0.2.1:9873/provision/"),
                "{file}"
            );
            assert!(file.contains(&format!("&stage={stage}")), "{file}");
        }
        assert_eq!(files.len(), 4);
        assert!(
            words.ends_with("wwid=52:54:00:12:34:56 quiet crashkernel=no"),
            "{words}"
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn maas_deploys_a_machine_and_then_leaves_it_to_its_disk() {
    in_new_namespace(|| {
        let recipe = recipe("MAAS");
        let far = server();
        let _server = dnsmasq_with(
            &far,
            "dhcp-userclass=set:ipxe,iPXE\n\
             dhcp-boot=tag:ipxe,http://192.0.2.1:5248/ipxe.cfg,,192.0.2.1\n\
             dhcp-boot=tag:!ipxe,lpxelinux.0",
        );
        put("maas/ipxe.cfg", "/srv/maas/ipxe.cfg");
        let own = "/srv/maas/ipxe.cfg-52:54:00:12:34:56";
        put("maas/ephemeral", own);
        kernel_at(
            "/srv/maas/images/noble/boot-kernel",
            "/srv/maas/images/noble/boot-initrd",
        );
        let _web = web(
            &far,
            &fs::read_to_string(format!("{DATA}/maas/nginx.conf")).unwrap(),
        );
        let (files, words) = recipe.plan(&[]);
        let expected = ["kernel", "initrd"];
        assert_eq!(
            files,
            expected.map(|name| format!("http://192.0.2.1:5248/images/noble/boot-{name}"))
        );
        assert!(
            words.contains("root=squash:http://192.0.2.1:5248/images/noble/squashfs"),
            "{words}"
        );
        assert!(words.ends_with("BOOTIF=01-52:54:00:12:34:56"), "{words}");
        put("maas/local", own);
        let (code, said) = recipe.refusal();
        assert_eq!(code, Some(10), "{said}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_entry_of_netboot_xyz_is_chosen_at_a_terminal() {
    in_new_namespace(|| {
        let recipe = recipe("netboot.xyz");
        let far = server();
        recipe.write();
        // The name of the site, and a certificate for it in place of the real one.
        let _server = dnsmasq_with(&far, "address=/boot.netboot.xyz/192.0.2.1");
        fs::write("/etc/resolv.conf", "nameserver 192.0.2.1\n").unwrap();
        run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 \
             -subj /CN=site -addext subjectAltName=DNS:boot.netboot.xyz \
             -keyout /srv/site.key -out /srv/site.pem",
        );
        for name in ["boot.cfg", "linux.ipxe", "debian.ipxe"] {
            put(&format!("netboot.xyz/{name}"), &format!("/srv/xyz/{name}"));
        }
        let images = "debian/dists/bookworm/main/installer-amd64/current/images/netboot/debian-installer/amd64";
        kernel_at(
            &format!("/srv/xyz/{images}/linux"),
            &format!("/srv/xyz/{images}/initrd.gz"),
        );
        let _web = web(
            &far,
            "server { listen 192.0.2.1:80; root /srv/xyz; }
             server { listen 192.0.2.1:443 ssl; root /srv/xyz;
                      ssl_certificate /srv/site.pem; ssl_certificate_key /srv/site.key; }",
        );
        let [printed] = recipe.commands()[..] else {
            panic!("other blocks");
        };
        let mut words = printed.split_whitespace();
        assert_eq!(words.next(), Some("wireboot"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        command
            .args(words)
            .args(["--ca", "/srv/site.pem", "--stop-after", "plan"]);
        let mut boot = Terminal::start(command);
        boot.shows(&["Linux Installers - Current Arch [ x86_64 ]", "2", "Debian"]);
        boot.types("2\r");
        boot.shows(&["Debian - amd64", "2", "Debian 12"]);
        boot.types("2\r");
        boot.shows(&["Debian [bookworm] Installer", "Text Based Install"]);
        boot.types("1\r");
        boot.shows(&[
            &format!("http://192.0.2.1/{images}/linux"),
            "mirror/suite=bookworm -- quiet initrd=initrd.magic",
        ]);
        assert_eq!(boot.child.wait().unwrap().code(), Some(0));
    });
}

/// Puts a file of the test data where a server has it.
fn put(name: &str, path: &str) {
    fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
    fs::copy(format!("{DATA}/{name}"), path).unwrap();
}

/// Puts a kernel and an initrd where a server has them.
fn kernel_at(kernel: &str, initrd: &str) {
    fs::create_dir_all(Path::new(kernel).parent().unwrap()).unwrap();
    fs::copy("/srv/tftp/vmlinuz", kernel).unwrap();
    fs::copy("/srv/tftp/initrd.img", initrd).unwrap();
}

/// Starts ISC dhcpd with a host as Foreman's proxy adds it by OMAPI.
fn dhcpd(far: &Far, loader: &str) -> Server {
    let configuration = format!(
        "authoritative; ping-check false;
        subnet 192.0.2.0 netmask 255.255.255.0 {{ }}
        host node1 {{
            hardware ethernet 52:54:00:12:34:56;
            fixed-address 192.0.2.100;
            supersede server.filename = \"{loader}\";
            supersede server.next-server = c0:00:02:01;
            supersede host-name = \"node1.example.com\";
        }}"
    );
    let configuration = far.write("dhcpd.conf", &configuration);
    let leases = far.write("leases", "");
    let command = format!("dhcpd -4 -f -d -cf {configuration} -lf {leases} --no-pid eth0");
    far.serve(&command, "Server starting service.")
}

/// Starts a TFTP server alone, as Foreman's proxy is one.
fn tftp(far: &Far) -> Server {
    let command = "dnsmasq --conf-file=/dev/null --no-daemon --user=root --pid-file= --port=0 \
        --enable-tftp --tftp-root=/srv/tftp";
    far.serve(command, "TFTP root is")
}

/// Starts nginx with these servers.
fn web(far: &Far, servers: &str) -> Server {
    fs::create_dir_all("/etc/nginx/conf.d").unwrap();
    fs::write("/etc/nginx/conf.d/site.conf", servers).unwrap();
    nginx(far)
}
