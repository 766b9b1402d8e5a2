//! TFTP servers at the far end of a cable, and `wireboot fetch` at the near one.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use wireboot_proto::time::Random;

use super::far::{Far, Server};
use super::machine::EMULATOR;
use super::{ip, wait_until};

/// A server at the far end of a cable, and a folder for what is fetched from it.
pub struct Lan {
    /// First, so that it ends before its namespace does.
    server: Option<Server>,
    pub far: Far,
    served: PathBuf,
    near: PathBuf,
}

impl Lan {
    pub fn new(server: fn(&Far, &str) -> Server) -> Self {
        let far = Far::plug_in();
        let (served, near) = (far.folder.join("served"), far.folder.join("near"));
        for folder in [&served, &near] {
            fs::create_dir(folder).unwrap();
        }
        ip("address add 192.0.2.2/24 dev near");
        ip("link set near up");
        let server = server(&far, served.to_str().unwrap());
        Self {
            server: Some(server),
            far,
            served,
            near,
        }
    }

    /// Ends the server and starts it again.
    pub fn restart(&mut self, server: fn(&Far, &str) -> Server) {
        self.server = None;
        self.server = Some(server(&self.far, self.served.to_str().unwrap()));
    }

    pub fn offer(&self, name: &str, len: usize) {
        let mut random = Random::new(len as u64);
        let words = std::iter::repeat_with(|| random.next_u64().to_le_bytes());
        let mut content: Vec<u8> = words.take(len / 8 + 1).flatten().collect();
        content.truncate(len);
        fs::write(self.served.join(name), content).unwrap();
    }

    /// From now on so many packets in a thousand are lost, in each direction.
    pub fn lose(&self, permille: u32) {
        let rule = format!("ip protocol udp numgen random mod 1000 < {permille} drop");
        self.at_arrival("far", &rule);
        self.at_arrival("near", &rule);
    }

    /// From now on packets of more octets than so many do not arrive here, and nobody is told.
    pub fn lose_longer_than(&self, octets: u32) {
        self.at_arrival("near", &format!("meta length > {octets} drop"));
    }

    /// Has one end follow a rule for what arrives there.
    fn at_arrival(&self, end: &str, rule: &str) {
        let rules = format!(
            "flush ruleset
            table netdev losses {{
                chain arrival {{
                    type filter hook ingress device {end} priority 0
                    {rule}
                }}
            }}\n"
        );
        let nft = format!("nft -f {}", self.far.write("rules", &rules));
        if end == "far" {
            return self.far.run(&nft);
        }
        let words: Vec<_> = nft.split(' ').collect();
        let here = Command::new(words[0]).args(&words[1..]).status().unwrap();
        assert!(here.success());
    }

    pub fn start(&self, name: &str, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_wireboot"))
            .args(["fetch", "-o"])
            .arg(self.near.join(name))
            .args(arguments)
            .arg(format!("tftp://192.0.2.1/{name}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Offers a file of which only a mark in each MiB is stored.
    pub fn offer_large(&self, name: &str, len: u64) {
        let file = fs::File::create(self.served.join(name)).unwrap();
        file.set_len(len).unwrap();
        let mut random = Random::new(len);
        for at in (0..len - 8).step_by(1 << 20) {
            let mark = random.next_u64().to_le_bytes();
            file.write_all_at(&mark, at).unwrap();
        }
    }

    pub fn arrives(&self, name: &str, arguments: &[&str]) {
        self.has_arrived(name, self.start(name, arguments));
    }

    /// Waits for the end of a client, and makes sure that it has the whole file.
    pub fn has_arrived(&self, name: &str, client: Child) {
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let (sent, come) = (self.served.join(name), self.near.join(name));
        let same = Command::new("cmp").args([&sent, &come]).status().unwrap();
        assert!(same.success());
        fs::remove_file(sent).unwrap();
        fs::remove_file(come).unwrap();
    }

    /// The names of what is in the folder of files that were fetched.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.near).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// Has both ends carry packets of so many octets.
    pub fn carries(&self, octets: u32) {
        ip(&format!("link set near mtu {octets}"));
        self.far.run(&format!("ip link set far mtu {octets}"));
    }

    /// What the interface has received so far.
    pub fn received(&self) -> Received {
        let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let near = devices
            .lines()
            .find_map(|line| line.trim().strip_prefix("near:"));
        let mut numbers = near.unwrap().split_whitespace();
        let mut next = || numbers.next().unwrap().parse().unwrap();
        Received {
            octets: next(),
            packets: next(),
        }
    }
}

/// Frames that have come, and the octets of them.
#[derive(Clone, Copy)]
pub struct Received {
    pub octets: u64,
    pub packets: u64,
}

pub fn tftpd_hpa(far: &Far, folder: &str) -> Server {
    far.start(&format!(
        "in.tftpd -L -u root --address 192.0.2.1:69 -s {folder}"
    ))
}

pub fn dnsmasq(far: &Far, folder: &str) -> Server {
    let command = format!(
        "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --pid-file=
        --listen-address=192.0.2.1 --bind-interfaces --enable-tftp --tftp-root={folder}"
    );
    far.serve(&command, "TFTP root is")
}

/// The one of Debian's servers that knows windows. It is not installed, because Debian has it take
/// the place of tftpd-hpa.
pub fn atftpd(far: &Far, folder: &str) -> Server {
    let script = ". initramfs/lib.sh; debian_package atftpd";
    let output = Command::new("bash").args(["-c", script]).output().unwrap();
    let package = String::from_utf8(output.stdout).unwrap();
    let program = Path::new(package.trim()).join("usr/sbin/atftpd");
    far.start(&format!(
        "{} --daemon --no-fork --bind-address 192.0.2.1 --user root --group root --logfile - {folder}",
        program.display()
    ))
}

/// The server that QEMU has for its machines, without a machine.
pub fn in_qemu(far: &Far, folder: &str) -> Server {
    // It has the address of `far` itself.
    for command in [
        "ip address flush dev far",
        "ip tuntap add tap0 mode tap",
        "ip link add bridge0 type bridge",
        "ip link set far master bridge0",
        "ip link set tap0 master bridge0 up",
        "ip link set bridge0 up",
    ] {
        far.run(command);
    }
    let server = far.start(&format!(
        "{EMULATOR} -machine none -nodefaults -display none
        -netdev user,id=own,net=192.0.2.0/24,host=192.0.2.1,tftp={folder}
        -netdev tap,id=tap,ifname=tap0,script=no,downscript=no
        -netdev hubport,id=first,hubid=0,netdev=own -netdev hubport,id=second,hubid=0,netdev=tap"
    ));
    wait_until("QEMU has the TAP", || {
        far.output("ip link show dev tap0").contains("LOWER_UP")
    });
    server
}

/// Returns the last line that a client has said.
pub fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().last().unwrap_or_default().to_owned()
}
