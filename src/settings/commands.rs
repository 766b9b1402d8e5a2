//! The table of commands.

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `wireboot lease`
    Lease,
    /// `wireboot discover`
    Discover,
    /// `wireboot boot`
    Boot,
    /// `wireboot fetch`
    Fetch,
    /// `wireboot capture`
    Capture,
    /// `wireboot account`
    Account,
    /// `wireboot arping`
    Arping,
    /// `wireboot explain`
    Explain,
    /// `wireboot help`
    Help,
}

/// The description of a command.
#[derive(Debug)]
pub struct About {
    /// The command.
    pub command: Command,
    /// Its name.
    pub name: &'static str,
    /// The arguments after its name, one form each.
    pub usage: &'static [&'static str],
    /// Whether it takes arguments other than flags.
    pub has_operands: bool,
    /// Its purpose, in one line.
    pub purpose: &'static str,
    /// The description, one paragraph each.
    pub text: &'static [&'static str],
    /// The paragraphs below the flags.
    pub closing: &'static [&'static str],
}

/// All commands, in the order in which they are listed.
pub static COMMANDS: [About; 9] = [
    About {
        command: Command::Lease,
        name: "lease",
        usage: &["[FLAG]…"],
        has_operands: false,
        purpose: "acquire a lease and configure the interface",
        text: &[
            "Acquires a DHCP lease and configures address, routes and MTU. Without -i every Ethernet \
             interface with a device behind it is tried at once; the first lease wins.",
        ],
        closing: &[],
    },
    About {
        command: Command::Discover,
        name: "discover",
        usage: &["[FLAG]…"],
        has_operands: false,
        purpose: "show the offers of every server, and accept none",
        text: &[
            "Shows every offer and ProxyDHCP answer of every server; the one that a boot would use \
             is marked * and WHY gives the reason. Accepts none, and leaves the interfaces as they \
             were. On an interface that has an IPv4 address, offered boot services are queried for \
             their boot files (port 4011). Servers that contradict the others or themselves are \
             marked !. Without -i, all Ethernet interfaces with a device behind them are used. Exit \
             code 3 if no server answers.",
        ],
        closing: &[],
    },
    About {
        command: Command::Boot,
        name: "boot",
        usage: &["[FLAG]…"],
        has_operands: false,
        purpose: "boot this machine from the network",
        text: &[
            "Acquires a lease, follows its boot file to a kernel and initrds, fetches them and \
             starts them with kexec, at once: disks are written to, but nothing is unmounted or \
             stopped.",
        ],
        closing: &[],
    },
    About {
        command: Command::Fetch,
        name: "fetch",
        usage: &["[FLAG]… URL…"],
        has_operands: true,
        purpose: "get files by tftp, http and https",
        text: &[
            "Fetches files by tftp://, http:// and https://. A file appears under its name only when \
             it is complete and verified: by the hash in its URL (#sha256=…) or in a list, or by a \
             signature. A FIFO, a device and /dev/stdout are written only then.",
        ],
        closing: &[
            "The environment's http_proxy, https_proxy, all_proxy and no_proxy are followed.",
        ],
    },
    About {
        command: Command::Capture,
        name: "capture",
        usage: &["[-i IF]… [FLAG]… [FILTER]", "-r FILE [FLAG]… [FILTER]"],
        has_operands: true,
        purpose: "show frames, or write them to a file",
        text: &[
            "Shows the frames that pass the filter, one line each; times are UTC. The letters are those \
             of tcpdump, and the filter is the part of pcap-filter that matters for network boot: arp, \
             rarp, ip, ip6, icmp, icmp6, tcp, udp, stp, vlan, ether host, host, net, src, dst, port, \
             portrange, proto, broadcast, multicast, llc, inbound, outbound, ifindex, greater, less, \
             tcp[13] & 2 != 0, len > ip[2:2] + 14, and, or, not, ( ). Without -i, the first interface that \
             is up is captured from.",
        ],
        closing: &[
            "A file that is written grows under its name and always ends with a whole block, so \
             that it can be read at any time. SIGINT, SIGTERM and SIGHUP end the capture; all \
             frames received before are written. SIGUSR1 prints the counters, SIGUSR2 writes what is \
             buffered.",
            "Taken too, as tcpdump has them: -b, -f, -H, -j host, -K, -N, -O, -S, -u, -y EN10MB, -Z USER, \
             --immediate-mode and --nano.",
        ],
    },
    About {
        command: Command::Account,
        name: "account",
        usage: &["[FLAG]…"],
        has_operands: false,
        purpose: "show where the time of the last boot went",
        text: &[
            "Shows where the time of the last lease or boot went: each moment with the seconds since \
             the kernel's start and since the moment before, then the steps. Frames have the \
             kernel's timestamps.",
        ],
        closing: &[],
    },
    About {
        command: Command::Arping,
        name: "arping",
        usage: &["[FLAG]… ADDRESS", "--scan [FLAG]…"],
        has_operands: true,
        purpose: "ask who has an address, by ARP",
        text: &[
            "Asks who has an IPv4 address, and shows each answer and how fast it was, in the words and \
             with the exit codes of iputils' arping: 1 if nobody has answered, or with -D if somebody \
             has. Without -I the interface in whose network the address is is used. An interface \
             without an address may ask too.",
        ],
        closing: &[],
    },
    About {
        command: Command::Explain,
        name: "explain",
        usage: &["[COMMANDLINE]…"],
        has_operands: true,
        purpose: "show what a kernel command line means to wireboot",
        text: &[
            "Shows what each word of a kernel command line means to wireboot, and the resulting \
             configuration; without an argument, of the running kernel's. Words that are not about \
             the network are not shown. Exit code 1 if a word is not supported.",
        ],
        closing: &[],
    },
    About {
        command: Command::Help,
        name: "help",
        usage: &["[FLAG] [COMMAND | words | options]"],
        has_operands: true,
        purpose: "show help on a command, kernel words, DHCP options",
        text: &[
            "Shows the flags of a command, the words of the kernel command line, or the names of \
             DHCP options, as --request takes them.",
        ],
        closing: &[],
    },
];
