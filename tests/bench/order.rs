//! Finds out which functions of the static binary a lease calls, and writes the linker script that puts
//! them side by side:
//!
//! ```text
//! tests/bench/run order
//! ```
//!
//! The kernel maps 64 KiB of a file around each page that is touched, so that a lease whose functions lie
//! everywhere has the whole file in memory. What the script does not name, or names in vain since the code
//! has changed, lies elsewhere, and nothing else depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::far::Far;
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, ip};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/initramfs/lease.ld");

/// Bytes of a pattern.
const MOST_NAME: usize = 120;

#[test]
#[ignore = "writes initramfs/lease.ld; needs CAP_NET_ADMIN, dnsmasq and valgrind"]
fn functions_of_a_lease() {
    let binary = std::env::var("WIREBOOT").expect("tests/bench/run says which");
    let map = std::env::var("LINK_MAP").expect("tests/bench/run says where");
    let functions = functions(&fs::read_to_string(map).unwrap());
    in_new_namespace(move || {
        let far = Far::plug_in();
        ip("link set near up");
        let options =
            "--dhcp-option=6,192.0.2.1 --dhcp-option=15,example.org --dhcp-boot=pxelinux.0";
        let _server = dnsmasq(&far, options);
        // The second finds the lease of the first.
        let runs = ["", "--acd off", "--no-expedite"];
        let called: BTreeSet<_> = (runs.iter())
            .flat_map(|flags| instructions(&binary, flags, &far.folder))
            .filter_map(|address| Some(functions.range(..=address).next_back()?.1.as_str()))
            .collect();
        fs::write(SCRIPT, script(&called)).unwrap();
    });
}

/// Returns the functions that a linker's map has, by their addresses.
fn functions(map: &str) -> BTreeMap<u64, String> {
    // Address, address in the file, length, alignment, and `OBJECT:(SECTION)`.
    let function = |line: &str| {
        let (numbers, section) = line.rsplit_once(":(.text")?;
        let address = numbers.split_whitespace().next()?;
        let name = section.strip_prefix(".unlikely").unwrap_or(section);
        let name = name.strip_prefix('.')?.strip_suffix(')')?;
        Some((u64::from_str_radix(address, 16).ok()?, name.to_owned()))
    };
    map.lines().filter_map(function).collect()
}

/// Runs `lease` with these flags, and returns the addresses of all instructions that are executed.
fn instructions(binary: &str, flags: &str, folder: &Path) -> Vec<u64> {
    let log = folder.join("callgrind");
    let status = Command::new("valgrind")
        .args([
            "--quiet",
            "--tool=callgrind",
            "--dump-instr=yes",
            "--compress-pos=no",
        ])
        .arg(format!("--callgrind-out-file={}", log.display()))
        .args([binary, "lease", "-i", "near"])
        .args(flags.split_whitespace())
        .status()
        .expect("valgrind is installed");
    assert!(status.success(), "lease {flags}: {status}");
    let text = fs::read_to_string(log).unwrap();
    let address = |line: &str| {
        let (address, _) = line.strip_prefix("0x")?.split_once(' ')?;
        u64::from_str_radix(address, 16).ok()
    };
    text.lines().filter_map(address).collect()
}

fn script(called: &BTreeSet<&str>) -> String {
    let called = called.iter().filter(|name| !name.starts_with("OUTLINED"));
    let patterns: BTreeSet<_> = called.map(|name| pattern(name)).collect();
    let mut text = String::from(
        "/* What a lease calls, side by side: its memory is a third of what it would be, and it takes 10 page
   faults less. Written by `tests/bench/run order`; a name that is no longer one does no harm. In one
   section with all others, since the linker folds equal functions of one section only. */
SECTIONS
{
    .text :
    {
        *(.text.OUTLINED_FUNCTION_*)
",
    );
    // Functions that are rarely called in `.text.unlikely.`.
    for pattern in patterns {
        writeln!(text, "        *(.text*.{pattern})").unwrap();
    }
    text + "        *(.text .text.*)\n    }\n}\nINSERT AFTER .rodata;\n"
}

/// Returns the pattern of a mangled name in any build: hashes of crates, numbers of implementations, and
/// positions behind them, all vary.
fn pattern(name: &str) -> String {
    let mut rest = name.split('.').next().unwrap_or(name);
    if !name.starts_with("_R") {
        return rest.to_owned() + "*";
    }
    let mut pattern = String::new();
    'name: while !rest.is_empty() {
        for tag in ["Cs", "Ms", "Xs", "B"] {
            if let Some(("", after)) = after_hash(rest, tag) {
                pattern.push_str(&format!("{tag}*_"));
                rest = after;
                continue 'name;
            }
        }
        let (first, after) = rest.split_at(1);
        pattern.push_str(first);
        rest = after;
    }
    // What follows are types within types.
    pattern.truncate(MOST_NAME);
    pattern + "*"
}

/// Returns what stands before `tag` and what stands behind the number in base 62 after it.
fn after_hash<'a>(text: &'a str, tag: &str) -> Option<(&'a str, &'a str)> {
    let (before, after) = text.split_once(tag)?;
    let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
    Some((before, rest.strip_prefix('_')?))
}
