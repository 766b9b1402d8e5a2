//! Holds the source to what the compiler cannot say: within the binary's crate dependencies point
//! down, as the table in `src/lib.rs` has the layers; files import each other in no circle; and unsafe code
//! is in the files listed here.
//! That the pure crate does no I/O, `no_std` and its manifest see to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The only files with unsafe code; a file joins this list only together with its reason.
const UNSAFE_FILES: &[&str] = &[
    "sys/attributes.rs",
    "sys/channel.rs",
    "sys/descriptor.rs",
    "sys/device_mapper.rs",
    "sys/heap.rs",
    "sys/kexec.rs",
    "sys/loop_device.rs",
    "sys/mapped.rs",
    "sys/netlink.rs",
    "sys/packet.rs",
    "sys/process.rs",
    "sys/pseudo_terminal.rs",
    "sys/ring/mapping.rs",
    "sys/sandbox/landlock.rs",
    "sys/sandbox/privileges.rs",
    "sys/sandbox/seccomp.rs",
    "sys/watchdog.rs",
];

#[test]
fn dependencies_point_down() {
    let sources = sources();
    let layers = layers(&sources["lib.rs"]);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in &sources {
        let module = path.split(['/', '.']).next().unwrap();
        if matches!(module, "lib" | "main" | "manual" | "proto") {
            continue;
        }
        let Some(from) = layers.get(module) else {
            wrong.push(format!(
                "{path}: the table in src/lib.rs does not name {module}"
            ));
            continue;
        };
        for used in used_modules(text) {
            seen += 1;
            let to = layers.get(used.as_str());
            // Values know each other.
            let is_value = to == layers.get("error");
            if used != module && !is_value && to.is_none_or(|to| to <= from) {
                wrong.push(format!("{path}: {module} may not use {used}"));
            }
        }
    }
    assert!(seen > 100, "only {seen} uses were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_where_it_is_expected() {
    let has_unsafe = |text: &str| {
        let code = text.lines().map(|line| line.split("//").next().unwrap());
        code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
            .any(|word| word == "unsafe")
    };
    let sources = sources();
    let found = sources.iter().filter(|(_, text)| has_unsafe(text));
    let found: Vec<_> = found.map(|(path, _)| path.as_str()).collect();
    assert_eq!(found, UNSAFE_FILES);
    for root in ["main.rs", "proto/lib.rs"] {
        assert!(sources[root].contains("#![forbid(unsafe_code)]"), "{root}");
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let files: BTreeMap<_, _> = sources.keys().map(|path| (module(path), path)).collect();
    let mut uses = BTreeSet::new();
    for (path, text) in &sources {
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        for used in paths(product(text)).iter().filter(|_| !is_test) {
            uses.extend(file_of(used, &module(path), &files).map(|file| (path.as_str(), file)));
        }
    }
    assert!(uses.len() > 500, "only {} uses were found", uses.len());
    // A file is in no circle if it uses none of those left, or none of those uses it.
    loop {
        let (users, used): (BTreeSet<_>, BTreeSet<_>) = uses.iter().copied().unzip();
        let before = uses.len();
        uses.retain(|(user, file)| used.contains(user) && users.contains(file));
        if uses.len() == before {
            assert!(uses.is_empty(), "{uses:?}");
            return;
        }
    }
}

/// Returns the path of a file's module; those of the pure crate begin with `proto`.
fn module(file: &str) -> Vec<&str> {
    let mut module: Vec<_> = file.trim_end_matches(".rs").split('/').collect();
    module.pop_if(|last| matches!(*last, "mod" | "lib" | "main"));
    module
}

/// Returns the file that a path leads to, as it is written in the file of the module `from`: that of
/// the deepest module on it, if that is another one.
fn file_of<'a>(
    path: &str,
    from: &[&str],
    files: &BTreeMap<Vec<&str>, &'a String>,
) -> Option<&'a str> {
    let mut module = from.to_vec();
    let mut rest = path.split("::").peekable();
    if rest.next_if_eq(&"crate").is_some() {
        module.truncate(usize::from(from.first() == Some(&"proto")));
    } else if !path.starts_with("super") {
        module.push(rest.next()?);
        files.get(&module)?;
    }
    while rest.next_if_eq(&"super").is_some() {
        module.pop();
    }
    module.extend(rest);
    while !files.contains_key(&module) && module.pop().is_some() {}
    let file = files.get(&module)?.as_str();
    (module != from).then_some(file)
}

/// Returns every path in `code`, those in the braces of a `use` each.
fn paths(code: &str) -> Vec<String> {
    let code = code.lines().map(|line| line.split("//").next().unwrap());
    let code = code.collect::<Vec<_>>().join("\n");
    let is_sign = |c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':');
    let mut paths = Vec::new();
    // What each open brace continues: a path, or nothing where it begins a block.
    let mut outer = vec![String::new()];
    for piece in code.split_inclusive(is_sign) {
        let path = format!(
            "{}{}",
            outer.last().unwrap(),
            piece.trim_end_matches(is_sign)
        );
        let sign = piece.chars().last();
        if sign == Some('{') {
            let is_use = path.ends_with("::");
            outer.push(if is_use { path.clone() } else { String::new() });
        } else if sign == Some('}') && outer.len() > 1 {
            outer.pop();
        }
        if path.contains("::") && !path.ends_with("::") {
            paths.push(path);
        }
    }
    paths
}

/// Returns the layer of each module, from 0 at the top, as the rows of the table have them.
fn layers(lib: &str) -> BTreeMap<&str, usize> {
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | "));
    let cells = rows.skip(2).filter_map(|row| row.split('|').nth(1));
    let modules = cells.enumerate().flat_map(|(layer, cell)| {
        let names = cell
            .split(',')
            .map(|name| name.trim().trim_matches(['[', ']', '`']));
        names.map(move |name| (name, layer))
    });
    modules.collect()
}

/// Returns the modules of the crate that `text` names, its tests apart.
fn used_modules(text: &str) -> BTreeSet<String> {
    let code = product(text)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let uses = code.split("crate::").skip(1);
    let names = uses.map(|rest| {
        let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
        rest.chars().take_while(is_name).collect()
    });
    names.collect()
}

/// Returns the code before the tests of a file, which stand at its end.
fn product(text: &str) -> &str {
    let tests = ["#[cfg(test)]\nmod ", "#[cfg(test)]\npub(crate) mod "];
    let ends = tests.iter().filter_map(|begin| text.find(begin));
    text.get(..ends.min().unwrap_or(text.len())).unwrap()
}

/// Returns every source file of both crates, by its path below `src`, but not what makes them.
pub(crate) fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path != root.join("build.rs")
                && path.extension().is_some_and(|extension| extension == "rs")
            {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                sources.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    sources
}

#[test]
fn no_text_for_people_is_by_debug() {
    // initramfs/lib.sh builds with no more of it than names.
    for (path, text) in sources() {
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        assert!(is_test || !product(&text).contains(":?}"), "{path}");
    }
}
