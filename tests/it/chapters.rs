//! What the README and the chapters claim, as far as it can be looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::folder::Folder;
use crate::common::machine::shell;
use crate::layering;
use wireboot::error::Reason;
use wireboot::sys::SyscallError;
use wireboot::sys::signal::Signal;
use wireboot_proto::boot::Outcome;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The chapters and the README by their paths.
fn texts() -> BTreeMap<PathBuf, String> {
    let chapters = fs::read_dir(root().join("src/manual")).unwrap();
    let chapters = chapters.map(|entry| entry.unwrap().path());
    let paths = chapters.chain([root().join("README.md")]);
    paths
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn the_readme_is_short_and_comes_to_the_point() {
    let readme = read("README.md");
    let words: Vec<_> = readme.split_whitespace().collect();
    assert!(words.len() <= 900, "{} words", words.len());
    let first = words[..300].join(" ");
    for point in [
        "./initramfs/install",
        "wireboot lease -i eth0",
        "wireboot discover -i eth0",
    ] {
        assert!(first.contains(point), "{point}");
    }
}

#[test]
fn links_lead_to_files_and_every_chapter_is_linked() {
    let texts = texts();
    assert!(texts.len() > 9);
    for (path, text) in &texts {
        for target in text.split("](").skip(1) {
            let target = target.split([')', '#']).next().unwrap();
            let is_file = !target.is_empty() && !target.contains("://");
            let file = path.parent().unwrap().join(target);
            assert!(!is_file || file.exists(), "{}: {target}", path.display());
        }
    }
    let readme = read("README.md");
    let library = read("src/lib.rs");
    for path in texts.keys().filter(|path| !path.ends_with("README.md")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("(src/manual/{name})")), "{name}");
        assert!(library.contains(&format!("\"manual/{name}\"")), "{name}");
    }
}

#[test]
fn the_ways_through_the_code_lead_through_functions_that_are_there() {
    let chapter = read("src/manual/architecture.md");
    let (_, ways) = chapter.split_once("## Four ways through the code").unwrap();
    let (ways, _) = ways.split_once("\n## ").unwrap();
    let mut seen = 0;
    for row in ways.lines().filter(|line| line.starts_with("| `src/")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let code = read(cells[0].trim_matches(['|', ' ', '`']));
        let (product, _) = code.split_once("\nmod tests").unwrap_or((&code, ""));
        for name in cells[1].split(", ").map(|name| name.trim_matches('`')) {
            let defines = |line: &str| {
                let words: Vec<_> = line
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .collect();
                let is_it = |pair: &[&str]| {
                    matches!(pair[0], "fn" | "struct" | "static" | "const") && pair[1] == name
                };
                words.windows(2).any(is_it)
            };
            assert!(product.lines().any(defines), "{row}");
        }
        seen += 1;
    }
    assert!(seen > 40, "only {seen} rows were found");
}

#[test]
fn messages_that_troubleshooting_explains_are_those_of_the_program() {
    let sources: String = layering::sources().into_values().collect();
    // Texts of several lines are joined as the compiler joins them.
    let mut joined = String::new();
    for line in sources.split("\\\n") {
        let line = if joined.is_empty() {
            line
        } else {
            line.trim_start()
        };
        joined.push_str(line);
    }
    let chapter = read("src/manual/troubleshooting.md");
    let rows = chapter.lines().filter(|line| line.starts_with("| `"));
    let messages: Vec<_> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    assert!(messages.len() > 30);
    for message in messages {
        assert!(joined.contains(message), "{message}");
    }
}

#[test]
fn the_exit_codes_of_the_reference_are_those_of_the_errors() {
    let reference = read("src/manual/reference.md");
    for (error, meaning) in errors() {
        let row = format!("| {} | ", error.exit_code());
        let row = reference.lines().find(|line| line.starts_with(&row));
        assert!(
            row.is_some_and(|row| row.contains(meaning)),
            "{meaning}: {row:?}"
        );
    }
}

#[test]
fn each_error_names_a_section_of_troubleshooting_with_its_exit_code() {
    let chapter = read("src/manual/troubleshooting.md");
    let sections: Vec<_> = chapter.split("\n## ").skip(1).collect();
    let mut unused: BTreeSet<_> = sections
        .iter()
        .map(|section| section.lines().next().unwrap())
        .collect();
    // An anchor is what both rustdoc and a forge make of the heading: it, as it is.
    let is_anchor = |name: &&&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    assert_eq!(unused.iter().filter(is_anchor).count(), sections.len());
    for (error, _) in errors() {
        let start = format!("{}\n\nExit code", error.topic());
        let mut found = sections
            .iter()
            .filter(|section| section.starts_with(&start));
        let section = found.next().unwrap_or_else(|| panic!("{}", error.topic()));
        let codes = section.lines().nth(2).unwrap().split([' ', ',', ':']);
        let code = error.exit_code().to_string();
        assert!(codes.clone().any(|word| word == code), "{code}: {section}");
        unused.remove(error.topic());
    }
    assert_eq!(unused, BTreeSet::from(["interrupted"]), "of no error");
}

#[test]
fn the_last_line_of_an_error_names_its_section() {
    for (arguments, code, topic) in [
        (&["lease", "--nonsense"][..], 1, "usage"),
        (
            &["lease", "-i", "no-such-card", "--link-timeout", "0.1"],
            2,
            "no-interface",
        ),
        (&["fetch", "-o", "-", "http://127.0.0.1:1/"], 7, "fetch"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_wireboot"))
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        let end = format!(" (wireboot-troubleshooting(7): {topic})\n");
        assert!(said.ends_with(&end), "{said}");
    }
}

/// An error of each variant, and what the reference says of its exit code.
fn errors() -> Vec<(Reason, &'static str)> {
    let cause = || SyscallError::of("open", std::io::Error::other("x"));
    let text = String::new;
    let instead = |outcome| Reason::Instead {
        outcome,
        source: "x".into(),
    };
    vec![
        (Reason::Usage(text()), "wrong arguments"),
        (Reason::NoInterface(text()), "no interface"),
        (
            Reason::NoCarrier {
                interface: text(),
                waited: Duration::ZERO,
            },
            "no carrier",
        ),
        (Reason::NoOffer(text()), "no offer"),
        (Reason::Refused(text()), "refused by the server"),
        (
            Reason::Configure {
                interface: text(),
                what: text(),
                source: cause(),
            },
            "refused by the kernel",
        ),
        (
            Reason::System {
                doing: text(),
                source: cause(),
            },
            "refused by the kernel",
        ),
        (
            Reason::NothingBootable {
                what: text(),
                source: None,
            },
            "nothing to boot",
        ),
        (
            Reason::Fetch {
                url: text(),
                source: "x".into(),
            },
            "cannot be fetched",
        ),
        (
            Reason::Verification {
                what: text(),
                why: text(),
            },
            "failed verification",
        ),
        (
            Reason::Kexec {
                advice: text(),
                source: None,
            },
            "by kexec",
        ),
        #[cfg(feature = "root")]
        (
            Reason::Root {
                what: text(),
                source: cause(),
            },
            "a root cannot be mounted",
        ),
        (
            Reason::Output {
                target: text(),
                source: std::io::Error::other("x"),
            },
            "cannot be written",
        ),
        (instead(Outcome::LocalBoot), "no failure: a local disk"),
        (
            instead(Outcome::Reboot),
            "no failure: the machine is to restart",
        ),
        (
            instead(Outcome::PowerOff),
            "no failure: the machine is to be switched off",
        ),
    ]
}

#[test]
fn what_a_signal_ends_is_explained_too() {
    let chapter = read("src/manual/troubleshooting.md");
    let (_, section) = chapter.split_once("\n## interrupted\n").unwrap();
    for signal in [Signal::Hangup, Signal::Interrupt, Signal::End] {
        let error = Reason::Interrupted(signal);
        assert_eq!(error.topic(), "interrupted");
        assert!(
            section.contains(&error.exit_code().to_string()),
            "{section}"
        );
    }
}

#[test]
#[ignore = "needs lowdown, man and mandoc"]
fn chapters_are_manual_pages_that_formatters_have_nothing_against() {
    let folder = Folder::new();
    let share = folder.path("share");
    let pages = share.join("man/man7");
    fs::create_dir_all(&pages).unwrap();
    shell(&format!("install_chapters {}", share.display()));
    let chapters = shell("echo $manual_chapters");
    for name in chapters.split(' ') {
        let page = format!("wireboot-{name}.7");
        let run = |command: &str| {
            let mut command = Command::new("sh")
                .args(["-c", command])
                .arg("-")
                .arg(&page)
                .current_dir(&pages)
                .env("LC_ALL", "C.UTF-8")
                .env("MANPAGER", "cat")
                .env("MANWIDTH", "80")
                .output()
                .unwrap();
            command.stdout.extend(&command.stderr);
            (
                command.status.success(),
                String::from_utf8(command.stdout).unwrap(),
            )
        };
        let (_, warnings) = run("man --warnings -E UTF-8 -l \"$1\" 2>&1 >/dev/null");
        assert_eq!(warnings, "", "{page}");
        let (is_known, said) = run("lexgrog \"$1\"");
        assert!(
            is_known && said.contains(&format!("\"wireboot-{name} - ")),
            "{said}"
        );
        let (_, faults) = run("mandoc -T lint -W warning \"$1\"");
        assert_eq!(faults, "", "{page}");
        // The anchors of troubleshooting are sections, and no mark of Markdown is left.
        let (_, text) = run("man -l \"$1\" | col -b");
        if name == "troubleshooting" {
            for (error, _) in errors() {
                let section = format!("\n{}\n", error.topic());
                assert!(text.contains(&section), "{section}: {text}");
            }
        }
        for mark in ["```", "](", "\n## "] {
            assert!(!text.contains(mark), "{mark:?}: {text}");
        }
    }
}
