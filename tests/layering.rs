//! Holds the source to its shape: who may contain unsafe code, who may do I/O, who may use whom.
//!
//! The layers are read from the table in `src/lib.rs`, so that the map and the check cannot drift
//! apart. The text is read token by token, without comments and literals; macros are not expanded.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The only files with unsafe code; a file joins this list only together with its reason.
const UNSAFE_FILES: &[&str] = &[
    "src/sys/kexec.rs",
    "src/sys/mapped.rs",
    "src/sys/netlink.rs",
    "src/sys/packet.rs",
    "src/sys/process.rs",
    "src/sys/resolver.rs",
    "src/sys/ring/mapping.rs",
];

/// Layers of the table in `src/lib.rs` that take time and input as arguments.
const PURE_LAYERS: &[&str] = &["machines", "plans", "values"];

/// The one pure module that may name something of `sys`: the error that it wraps.
const KNOWS_SYSCALL_ERROR: &str = "error";

/// What a pure module may take from `std::net`: values, no sockets.
const NET_VALUES: &[&str] = &[
    "Ipv4Addr",
    "Ipv6Addr",
    "IpAddr",
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
    "AddrParseError",
];

/// What a pure module may not name at all.
const IMPURE_PATHS: &[&str] = &[
    "libc",
    "nix",
    "std::env",
    "std::fs",
    "std::io",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "dbg!",
];

#[test]
fn the_source_keeps_to_its_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = sources(&root.join("src"), root);
    assert!(sources.len() > 5, "the source was not found");
    let layers = Layers::of(&sources["src/lib.rs"]);
    let mut wrong = unsafe_list_violations(&sources, UNSAFE_FILES);
    for (path, text) in &sources {
        wrong.extend(violations(path, text, &layers));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn protocol_modules_that_do_io_are_found() {
    for (path, text) in [
        ("src/wire/x.rs", "use std::net::UdpSocket;"),
        (
            "src/wire/x.rs",
            "use std::{fmt, net::{Ipv4Addr, TcpStream}};",
        ),
        ("src/wire/x.rs", "use std::net::{self};"),
        ("src/wire/x.rs", "use std::net::*;"),
        ("src/dhcp/x.rs", "use std::{fs, fmt};"),
        (
            "src/dhcp/x.rs",
            "fn f() { let now = std::time::Instant::now(); }",
        ),
        ("src/dhcp/x.rs", "use std::*;"),
        ("src/tftp.rs", "use nix::sys::socket;"),
        ("src/http.rs", "fn f(r: &mut dyn std::io::Read) {}"),
        ("src/http.rs", "fn f() { libc::getpid(); }"),
        ("src/plan/x.rs", "use crate::sys::now;"),
        ("src/plan/x.rs", "use crate::{sys, time};"),
        ("src/time.rs", "use super::sys;"),
        ("src/time.rs", "use crate::*;"),
        ("src/config.rs", "fn f() { println!(\"{}\", 1); }"),
    ] {
        assert_ne!(checked(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn dependencies_that_point_up_or_sideways_are_found() {
    for (path, text) in [
        ("src/wire/x.rs", "use crate::dhcp::Client;"),
        ("src/wire/x.rs", "fn f() { super::super::dhcp::f(); }"),
        ("src/dhcp/x.rs", "use crate::{wire, tftp::Transfer};"),
        ("src/link.rs", "use crate::agent;"),
        ("src/link.rs", "use super::fetch;"),
        ("src/sys/x.rs", "use crate::link::Link;"),
        ("src/agent.rs", "use crate::cli;"),
        ("src/newcomer.rs", ""),
    ] {
        assert_ne!(checked(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn unsafe_code_outside_the_list_is_found() {
    let text = |text: &str| BTreeMap::from([("src/sys/x.rs".to_owned(), text.to_owned())]);
    let found = |source: &str, list: &[&str]| unsafe_list_violations(&text(source), list).len();
    let excused = "#![allow(unsafe_code, reason = \"r\")]\nfn f() { unsafe { g() } }";
    assert_eq!(found("fn f() {} // unsafe", &[]), 0);
    assert_eq!(found("unsafe impl Send for X {}", &[]), 1);
    assert_eq!(found(excused, &[]), 1);
    assert_eq!(found(excused, &["src/sys/x.rs"]), 0);
    assert_eq!(found("fn f() {}", &["src/sys/x.rs"]), 1);
    assert_eq!(found("fn f() {}", &["src/sys/gone.rs"]), 1);
    let above = BTreeMap::from([("src/dhcp/x.rs".to_owned(), excused.to_owned())]);
    assert_eq!(unsafe_list_violations(&above, &["src/dhcp/x.rs"]).len(), 1);
    for path in ["src/wire/mod.rs", "src/agent.rs", "src/main.rs"] {
        assert_eq!(violations(path, "", &example_layers()).len(), 1, "{path}");
    }
}

#[test]
fn source_within_its_layers_passes() {
    for (path, text) in [
        (
            "src/wire/x.rs",
            "use std::net::{IpAddr, Ipv4Addr}; use super::Reader;",
        ),
        (
            "src/dhcp/x.rs",
            "use crate::{wire::dhcp, time::Instant}; use std::time::Duration;",
        ),
        (
            "src/dhcp/x.rs",
            "/// Not `std::fs`.\nconst TEXT: &str = r#\"std::fs \" nix::x\"#;",
        ),
        (
            "src/plan/x.rs",
            "fn f() {} #[cfg(test)] mod tests { use std::fs; }",
        ),
        ("src/error.rs", "use crate::sys::SyscallError;"),
        ("src/sys/x.rs", "use crate::time::Instant; use std::io;"),
        (
            "src/link.rs",
            "use crate::{sys, config::Config, dhcp}; const C: char = '\"';",
        ),
        (
            "src/agent.rs",
            "use crate::{fetch, link}; fn f<'a>(x: &'a str) -> &'a str { x }",
        ),
    ] {
        assert_eq!(checked(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

/// Returns what is wrong with a made-up file that is well-formed otherwise.
fn checked(path: &str, text: &str) -> Vec<String> {
    violations(
        path,
        &format!("#![forbid(unsafe_code)]\n{text}"),
        &example_layers(),
    )
}

fn example_layers() -> Layers {
    Layers::of(
        "//! | layer | modules | may do I/O |
         //! | --- | --- | --- |
         //! | commands | `cli`, `init` | yes |
         //! | the path | [`agent`] | by what it calls |
         //! | drivers | `link`, `fetch` | yes, through [`sys`] |
         //! | machines | [`dhcp`], `tftp`, `http`, [`plan`] | no |
         //! | values | [`wire`], [`time`], [`error`], [`config`] | no |
         //! | kernel | [`sys`] | it is the I/O |",
    )
}

/// Which layer each module is in; the first is the top.
struct Layers {
    names: Vec<String>,
    of_module: BTreeMap<String, usize>,
}

impl Layers {
    /// Reads the table in the documentation of the crate.
    fn of(lib: &str) -> Self {
        let mut layers = Self {
            names: Vec::new(),
            of_module: BTreeMap::new(),
        };
        for row in lib
            .lines()
            .filter_map(|line| line.trim().strip_prefix("//! |"))
        {
            let mut cells = row.split('|').map(str::trim);
            let (Some(name), Some(modules)) = (cells.next(), cells.next()) else {
                continue;
            };
            if name == "layer" || name.starts_with("---") {
                continue;
            }
            for module in modules.split(',') {
                let module = module.trim().trim_matches(['[', ']', '`']);
                layers
                    .of_module
                    .insert(module.to_owned(), layers.names.len());
            }
            layers.names.push(name.to_owned());
        }
        layers
    }

    fn is_pure(&self, module: &str) -> bool {
        let layer = self.of_module.get(module);
        layer.is_some_and(|&layer| PURE_LAYERS.contains(&self.names[layer].as_str()))
    }

    /// Says whether `user` may name `used`: one of a lower layer or itself; the values know each
    /// other, and the kernel's wrappers return values.
    fn allow(&self, user: &str, used: &str) -> bool {
        let (Some(&from), Some(&to)) = (self.of_module.get(user), self.of_module.get(used)) else {
            return false;
        };
        let to_value = self.names[to] == "values";
        let from_below = from >= to;
        match used {
            _ if user == used => true,
            "sys" if self.is_pure(user) => user == KNOWS_SYSCALL_ERROR,
            _ => !from_below || to_value,
        }
    }
}

/// Returns what is wrong with one file, a line each.
fn violations(path: &str, text: &str, layers: &Layers) -> Vec<String> {
    let mut wrong = Vec::new();
    let inside = path.trim_start_matches("src/");
    let module = inside.split(['/', '.']).next().unwrap_or_default();
    let is_root = matches!(inside, "lib.rs" | "main.rs");
    let is_top = !inside.contains('/') && inside != "lib.rs";
    if (is_top || inside.ends_with("/mod.rs"))
        && module != "sys"
        && !text.contains("#![forbid(unsafe_code)]")
    {
        wrong.push(format!(
            "{path}: #![forbid(unsafe_code)] is missing at its top"
        ));
    }
    if is_root {
        return wrong;
    }
    if !layers.of_module.contains_key(module) {
        wrong.push(format!(
            "{path}: the table in src/lib.rs does not name {module}"
        ));
    }
    let tokens = tokens(text);
    let product = &tokens[..start_of_tests(&tokens)];
    for used in paths(product) {
        let (_, below) = used.split_once("::").unwrap_or((&used, ""));
        let first = below.split("::").next().unwrap_or_default();
        let in_crate = match used.split("::").next() {
            Some("crate") => Some(first),
            Some("super") if is_top => Some(first),
            Some("super") => below
                .strip_prefix("super::")
                .map(|rest| rest.split("::").next().unwrap_or_default()),
            _ => None,
        };
        if let Some(other) = in_crate
            && (other == "*" || layers.of_module.contains_key(other))
            && !layers.allow(module, other)
        {
            wrong.push(format!("{path}: {module} may not use {other} ({used})"));
        }
        if layers.is_pure(module) && is_impure(&used) {
            wrong.push(format!("{path}: {module} does no I/O, but names {used}"));
        }
    }
    wrong
}

/// Compares the files that have unsafe code with the list of those that may.
fn unsafe_list_violations(sources: &BTreeMap<String, String>, list: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in sources {
        let has = tokens(text).iter().any(|token| token == "unsafe");
        let listed = list.contains(&path.as_str());
        let excused = text.contains("#![allow(unsafe_code, reason = \"")
            || text.contains("#![allow(\n    unsafe_code,");
        match (has, listed) {
            (true, false) => wrong.push(format!(
                "{path} has unsafe code and is not in UNSAFE_FILES of tests/layering.rs"
            )),
            (false, true) => wrong.push(format!(
                "{path} is in UNSAFE_FILES of tests/layering.rs and has no unsafe code"
            )),
            (true, true) if !excused || !path.starts_with("src/sys/") => wrong.push(format!(
                "{path}: unsafe code is for src/sys, below #![allow(unsafe_code, reason = …)]"
            )),
            (true, true) | (false, false) => {}
        }
    }
    let gone = list.iter().filter(|path| !sources.contains_key(**path));
    wrong.extend(gone.map(|path| format!("{path} is in UNSAFE_FILES and does not exist")));
    wrong
}

fn is_impure(path: &str) -> bool {
    let below = |module: &str| {
        path.strip_prefix(module)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    if let Some(value) = path.strip_prefix("std::net::") {
        return !NET_VALUES.contains(&value.split("::").next().unwrap_or_default());
    }
    matches!(
        path,
        "std" | "std::*" | "std::net" | "std::time" | "std::time::*"
    ) || IMPURE_PATHS.iter().any(|module| below(module))
}

/// Returns every path named in `tokens`, with the groups of `use` written out, and the names of
/// macros with their `!`.
fn paths(tokens: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_name(&tokens[at]) {
            at = path(tokens, at, "", &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path from `at`, adds it below `prefix` to `found`, and returns where it ends.
fn path(tokens: &[String], mut at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut path = prefix.to_owned();
    loop {
        if token(at) == "{" && !path.is_empty() {
            at += 1;
            while at < tokens.len() && token(at) != "}" {
                at = match token(at) {
                    "," => at + 1,
                    _ => self::path(tokens, at, &path, found).max(at + 1),
                };
            }
            return at + 1;
        }
        let name = token(at);
        if !is_name(name) && name != "*" {
            found.push(path);
            return at;
        }
        if name != "self" || path.is_empty() {
            if !path.is_empty() {
                path.push_str("::");
            }
            path.push_str(name);
        }
        at += 1;
        if token(at) == "!" && token(at + 1) == "(" {
            path.push('!');
        }
        if token(at) != "::" {
            found.push(path);
            return at;
        }
        at += 1;
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Returns where the test module begins; tests stand last in a file.
fn start_of_tests(tokens: &[String]) -> usize {
    let start = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let found = tokens
        .windows(start.len())
        .position(|window| window == start);
    found.unwrap_or(tokens.len())
}

/// Splits Rust text into names, `::` and single signs; comments, literals and lifetimes are left
/// out.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let is = |at: usize, sign: char| chars.get(at) == Some(&sign);
    let word_end = |mut at: usize| {
        while chars
            .get(at)
            .is_some_and(|c| c.is_alphanumeric() || *c == '_')
        {
            at += 1;
        }
        at
    };
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let sign = chars[at];
        if sign.is_alphanumeric() || sign == '_' {
            let end = word_end(at);
            let word: String = chars[at..end].iter().collect();
            at = end;
            let raw = word.ends_with('r') && word.len() <= 2;
            let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
            if raw && is(at + hashes, '"') {
                at = end_of_raw_text(&chars, at + hashes + 1, hashes);
            } else {
                tokens.push(word);
            }
        } else if sign == '/' && is(at + 1, '/') {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if sign == '/' && is(at + 1, '*') {
            at = end_of_comment(&chars, at + 2);
        } else if sign == '"' {
            at = end_of_text(&chars, at + 1, '"');
        } else if sign == '\'' && (is(at + 1, '\\') || is(at + 2, '\'')) {
            at = end_of_text(&chars, at + 1, '\'');
        } else if sign == '\'' {
            at = word_end(at + 1);
        } else if sign == ':' && is(at + 1, ':') {
            tokens.push("::".to_owned());
            at += 2;
        } else {
            if !sign.is_whitespace() {
                tokens.push(sign.to_string());
            }
            at += 1;
        }
    }
    tokens
}

fn end_of_text(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn end_of_raw_text(chars: &[char], mut at: usize, hashes: usize) -> usize {
    let closes = |at: usize| chars[at..].iter().take_while(|c| **c == '#').count() >= hashes;
    while at < chars.len() && !(chars[at] == '"' && closes(at + 1)) {
        at += 1;
    }
    at + 1 + hashes
}

fn end_of_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 1;
    while at < chars.len() && depth > 0 {
        match (chars[at], chars.get(at + 1)) {
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// Reads every Rust file below `folder`, keyed by its path from `root`.
fn sources(folder: &Path, root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path, root));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
    found
}
