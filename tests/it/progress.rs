//! What a person sees while files are fetched: `wireboot fetch` at a terminal, from a real server.

use std::fs::{self, File};
use std::process::Command;

use crate::common::far::{Far, Server};
use crate::common::terminal::{Screen, Terminal};
use crate::common::{in_new_namespace, ip};

/// In blocks of 512 octets that takes most of a second or more.
const LEN: u64 = 32 << 20;
const SIZE: &str = "32 MiB";
/// Nobody listens there, which is said again and again, half a second and a second later.
const NOBODY: &str = "http://192.0.2.1:7/nothing";

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn a_bar_grows_and_gives_way_to_a_line() {
    in_new_namespace(|| {
        let lan = Lan::new();
        let (seen, screen) = lan.watch(&["kernel"]);
        let shown: Vec<_> = seen.iter().filter_map(|rows| bars(rows).pop()).collect();
        let filled: Vec<_> = shown.iter().map(|bar| bar.matches('#').count()).collect();
        assert!(
            filled.is_sorted() && filled.last() > filled.first(),
            "{shown:?}"
        );
        assert!(shown.iter().all(|bar| bar.contains(SIZE)), "{shown:?}");
        assert_eq!(screen.len(), 3, "{screen:?}");
        assert!(is_done(&screen[1], "kernel"), "{screen:?}");
        assert_eq!(screen[2], "", "what comes next begins in a new row");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn several_files_have_a_bar_each_and_other_lines_stay_whole() {
    in_new_namespace(|| {
        let lan = Lan::new();
        let (seen, screen) = lan.watch(&["kernel", "initrd", NOBODY]);
        assert!(seen.iter().any(|rows| bars(rows).len() == 2), "{seen:?}");
        assert!(bars(&screen).is_empty(), "{screen:?}");
        for name in ["kernel", "initrd"] {
            let lines = screen.iter().filter(|row| is_done(row, name));
            assert_eq!(lines.count(), 1, "{screen:?}");
        }
        let others = screen.iter().filter(|row| row.contains("asking again in"));
        let others: Vec<_> = others.collect();
        let is_whole = |row: &&String| row.ends_with(" s") && !row.contains(" left");
        assert!(
            others.len() > 1 && others.iter().all(is_whole),
            "{screen:?}"
        );
    });
}

fn bars(rows: &[String]) -> Vec<&str> {
    let bars = rows.iter().filter(|row| row.contains('['));
    bars.filter(|row| row.contains(" % of "))
        .map(String::as_str)
        .collect()
}

/// Whether a row says that a file has come; as it does the rate, which nothing may follow.
fn is_done(row: &str, name: &str) -> bool {
    row.contains(&format!("/{name}: {SIZE} in "))
        && (row.ends_with(" MiB/s") || row.ends_with(" KiB/s"))
}

struct Lan {
    far: Far,
    _server: Server,
}

impl Lan {
    fn new() -> Self {
        let far = Far::plug_in();
        ip("address add 192.0.2.2/24 dev near");
        ip("link set near up");
        let root = far.folder.join("served");
        fs::create_dir(&root).unwrap();
        for name in ["kernel", "initrd"] {
            File::create(root.join(name)).unwrap().set_len(LEN).unwrap();
        }
        let command = format!(
            "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --pid-file=
            --listen-address=192.0.2.1 --bind-interfaces --enable-tftp --tftp-root={}",
            root.display()
        );
        let _server = far.serve(&command, "TFTP root is");
        Self { far, _server }
    }

    /// Fetches files with more arguments, and returns what the screen showed whenever something was
    /// written, and in the end. Its first row was there before.
    fn watch(&self, arguments: &[&str]) -> (Vec<Vec<String>>, Vec<String>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        command.args(["fetch", "--mtu", "544", "-o"]);
        let target = self.far.folder.join("fetched");
        fs::create_dir(&target).unwrap();
        command.arg(target);
        command.args(
            arguments
                .iter()
                .map(|argument| match argument.contains(':') {
                    true => (*argument).to_owned(),
                    false => format!("tftp://192.0.2.1/{argument}"),
                }),
        );
        let mut screen = Screen::default();
        screen.feed("the row before\r\n");
        let mut seen = Vec::new();
        Terminal::start(command).watch(|text| {
            screen.feed(text);
            let rows = screen.rows();
            assert_eq!(rows[0], "the row before");
            seen.push(rows);
        });
        (seen, screen.rows())
    }
}
