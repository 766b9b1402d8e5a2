//! Manual pages (man(7)), completions for shells, and the reference's table of words, from the rows.

use std::fmt::Write;

use super::commands::{About, COMMANDS, Command};
use super::defs::{FOREIGN, SETTINGS, Setting, Takes};
use super::help::{EXIT_CODES, described, described_word, word_usage};

/// The topics of `wireboot help` besides commands.
const TOPICS: [&str; 2] = ["words", "options"];

/// Returns the page on a command, on the kernel's command line (`words`) or on the program; none when
/// there is no such topic.
pub fn page(topic: Option<&str>) -> Option<String> {
    match topic {
        None => Some(program()),
        Some("words") => Some(words()),
        Some(name) => COMMANDS
            .iter()
            .find(|about| about.name == name)
            .map(command),
    }
}

fn program() -> String {
    let mut page = start("wireboot", 8, "boot a machine from the network");
    synopsis(
        &mut page,
        &["COMMAND [FLAG]…", "help [COMMAND]", "--version"],
    );
    section(&mut page, "DESCRIPTION");
    paragraph(
        &mut page,
        "Acquires a DHCP lease over a packet socket before any address exists, follows the boot file to \
         a kernel and its initrds, fetches them into memory and starts them with kexec. Run as \
         process 1 of an initramfs it boots by the words of the kernel command line, which \
         wireboot.cmdline(7) lists.",
    );
    section(&mut page, "COMMANDS");
    for about in &COMMANDS {
        let see = format!("{}; see wireboot-{}(8)", about.purpose, about.name);
        item(&mut page, about.name, &see);
    }
    section(&mut page, "EXIT STATUS");
    for (code, meaning) in EXIT_CODES.iter().enumerate() {
        item(&mut page, &code.to_string(), meaning);
    }
    section(&mut page, "FILES");
    for (path, what) in [
        (
            "/etc/wireboot/policy",
            "what may be started, and from where",
        ),
        (
            "/run/wireboot/account.txt",
            "where the time of the last boot went",
        ),
        (
            "/run/wireboot/failure.pcapng",
            "the last frames before a failure",
        ),
    ] {
        item(&mut page, path, what);
    }
    section(&mut page, "ENVIRONMENT");
    for (name, what) in [
        (
            "WIREBOOT_LOG, RUST_LOG",
            "what is logged, in place of -v: a level (off, error, warn, info, debug, trace), or levels of \
             modules, such as wireboot::fetch=trace,wireboot::link=off. The first that is set counts",
        ),
        ("NO_COLOR", "if set, messages are not coloured"),
    ] {
        item(&mut page, name, what);
    }
    page
}

fn command(about: &About) -> String {
    let mut page = start(&format!("wireboot-{}", about.name), 8, about.purpose);
    let usages: Vec<_> = about
        .usage
        .iter()
        .map(|usage| format!("{} {usage}", about.name))
        .collect();
    let usages: Vec<_> = usages.iter().map(String::as_str).collect();
    synopsis(&mut page, &usages);
    section(&mut page, "DESCRIPTION");
    for text in about.text.iter().chain(about.closing) {
        paragraph(&mut page, text);
    }
    section(&mut page, "OPTIONS");
    for setting in flags(about.command) {
        item(&mut page, &setting.flags(), &described(setting));
    }
    section(&mut page, "SEE ALSO");
    paragraph(&mut page, "wireboot(8), wireboot.cmdline(7)");
    page
}

fn words() -> String {
    let purpose = "words of the kernel command line that wireboot follows";
    let mut page = start("wireboot.cmdline", 7, purpose);
    section(&mut page, "DESCRIPTION");
    paragraph(
        &mut page,
        "As process 1, and with --kernel-command-line, wireboot follows these words. Hyphens and \
         underscores are one in names. A word that is about the network and cannot be followed is \
         reported, and the rest still counts; words of others pass unseen. 'wireboot explain' says \
         what a given line means.",
    );
    section(&mut page, "WORDS");
    for foreign in FOREIGN {
        item(&mut page, &foreign.words.join(", "), foreign.help);
    }
    for setting in SETTINGS.iter().filter(|row| row.is_word()) {
        item(&mut page, &word_usage(setting), &described_word(setting));
    }
    section(&mut page, "SEE ALSO");
    paragraph(
        &mut page,
        "wireboot(8), kernel-command-line(7), dracut.cmdline(7)",
    );
    page
}

fn start(name: &str, number: u8, purpose: &str) -> String {
    let title = escaped(&name.to_ascii_uppercase());
    let version = env!("CARGO_PKG_VERSION");
    let (name, purpose) = (escaped(name), escaped(purpose));
    format!(".TH {title} {number} \"\" \"wireboot {version}\"\n.SH NAME\n{name} \\- {purpose}\n")
}

fn section(page: &mut String, title: &str) {
    // Writing to a string does not fail, here and below.
    let _ = writeln!(page, ".SH {title}");
}

fn synopsis(page: &mut String, usages: &[&str]) {
    section(page, "SYNOPSIS");
    for (place, usage) in usages.iter().enumerate() {
        let between = if place == 0 { "" } else { ".br\n" };
        let _ = writeln!(page, "{between}\\fBwireboot\\fR {}", escaped(usage));
    }
}

fn paragraph(page: &mut String, text: &str) {
    let _ = writeln!(page, ".PP\n{}", escaped(text));
}

fn item(page: &mut String, name: &str, about: &str) {
    let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", escaped(name), escaped(about));
}

/// Escapes a text for roff: a hyphen stays one that can be copied, and a line that begins with a dot
/// is no request.
fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        // man on a console without UTF-8 has no sign for it.
        .replace('…', "...");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

/// Returns the completions for one of the [shells](super::defs::SHELLS).
pub fn completions(shell: &str) -> String {
    match shell {
        "bash" => bash(),
        "zsh" => zsh(),
        _ => fish(),
    }
}

/// The candidates for the value of a flag.
enum Candidates {
    Files,
    Directories,
    Interfaces,
    Names(String),
    None,
}

fn candidates(setting: &Setting) -> Option<Candidates> {
    match setting.takes {
        Takes::Nothing => None,
        Takes::OneOf(_, names) => Some(Candidates::Names(names.join(" "))),
        Takes::Value("FILE" | "KEY") => Some(Candidates::Files),
        Takes::Value("DIR") => Some(Candidates::Directories),
        Takes::Value("IF") => Some(Candidates::Interfaces),
        Takes::Value(_) => Some(Candidates::None),
    }
}

fn flags(command: Command) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |row| row.is_flag_of(command))
}

fn topics() -> String {
    let mut names: Vec<_> = COMMANDS.iter().map(|about| about.name).collect();
    names.extend(TOPICS);
    names.join(" ")
}

/// Returns the first part of a help text, to be shown beside a candidate.
fn brief(setting: &Setting) -> &'static str {
    let end = ["; ", " (", ": "]
        .iter()
        .filter_map(|mark| setting.help.find(mark))
        .min();
    setting
        .help
        .get(..end.unwrap_or(setting.help.len()))
        .unwrap_or(setting.help)
}

fn bash() -> String {
    let mut of_commands = String::new();
    for about in &COMMANDS {
        let mut words: Vec<_> = flags(about.command)
            .flat_map(|row| {
                let short = row.short.map(|letter| format!("-{letter}"));
                short.into_iter().chain([format!("--{}", row.name)])
            })
            .collect();
        if about.command == Command::Help {
            words.push(topics());
        }
        let _ = writeln!(
            of_commands,
            "        {}) words='{}' ;;",
            about.name,
            words.join(" ")
        );
    }
    let mut of_values = String::new();
    let mut seen = Vec::new();
    for row in SETTINGS
        .iter()
        .filter(|row| COMMANDS.iter().any(|about| row.is_flag_of(about.command)))
    {
        let Some(candidates) = candidates(row).filter(|_| !seen.contains(&row.name)) else {
            continue;
        };
        seen.push(row.name);
        // A letter has another meaning with another command.
        let mut letters = String::new();
        for about in COMMANDS
            .iter()
            .filter(|about| row.is_flag_of(about.command))
        {
            if let Some(letter) = row.short {
                let _ = write!(letters, "{}\\ -{letter} | ", about.name);
            }
        }
        let action = match candidates {
            Candidates::Files => "kind=-f".to_owned(),
            Candidates::Directories => "kind=-d".to_owned(),
            Candidates::Interfaces => "words=$(command ls /sys/class/net)".to_owned(),
            Candidates::Names(names) => format!("words='{names}'"),
            Candidates::None => "return".to_owned(),
        };
        let _ = writeln!(
            of_values,
            "        {letters}*\\ --{}) {action} ;;",
            row.name
        );
    }
    let names: Vec<_> = COMMANDS.iter().map(|about| about.name).collect();
    format!(
        "# Completions of wireboot for bash; load them with: source <(wireboot help --completion bash)\n\
         _wireboot() {{\n    \
         local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} words= kind=\n    \
         COMPREPLY=()\n    \
         # bash takes --flag=value apart.\n    \
         if [[ $current == = ]]; then\n        current=\n    \
         elif [[ $previous == = ]]; then\n        previous=${{COMP_WORDS[COMP_CWORD - 2]}}\n    fi\n    \
         if [[ $COMP_CWORD -eq 1 ]]; then\n        words='{} --help --version'\n    else\n        \
         case \"${{COMP_WORDS[1]}} $previous\" in\n{of_values}        *)\n        case ${{COMP_WORDS[1]}} in\n{of_commands}        esac\n        ;;\n        esac\n    fi\n    \
         if [[ -n $kind ]]; then\n        \
         compopt -o filenames 2>/dev/null || :\n        \
         mapfile -t COMPREPLY < <(compgen \"$kind\" -- \"$current\")\n    else\n        \
         mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n    fi\n}}\n\
         complete -F _wireboot wireboot\n",
        names.join(" ")
    )
}

fn zsh() -> String {
    let quoted = |text: &str| {
        let text = text.replace('\'', "'\\''");
        text.replace('[', "\\[")
            .replace(']', "\\]")
            .replace(':', "\\:")
    };
    let mut text = "#compdef wireboot\n\
        # Completions of wireboot for zsh: a file _wireboot in a folder of fpath.\n\
        _wireboot() {\n    local -a commands flags\n    commands=(\n"
        .to_owned();
    for about in &COMMANDS {
        let _ = writeln!(text, "        '{}:{}'", about.name, quoted(about.purpose));
    }
    text.push_str(
        "    )\n    if (( CURRENT == 2 )); then\n        \
         _describe -t commands 'wireboot command' commands\n        return\n    fi\n    \
         case $words[2] in\n",
    );
    for about in &COMMANDS {
        let _ = writeln!(text, "    {})\n        flags=(", about.name);
        for row in flags(about.command) {
            let value = match candidates(row) {
                None => String::new(),
                Some(Candidates::Files) => ":file:_files".to_owned(),
                Some(Candidates::Directories) => ":directory:_files -/".to_owned(),
                Some(Candidates::Interfaces) => ":interface:_net_interfaces".to_owned(),
                Some(Candidates::Names(names)) => format!(":name:({names})"),
                Some(Candidates::None) => ":value: ".to_owned(),
            };
            let about = format!("[{}]{value}", quoted(brief(row)));
            let short = row.short.map(|letter| format!("-{letter}"));
            for name in short.into_iter().chain([format!("--{}", row.name)]) {
                let _ = writeln!(text, "            '*{name}{about}'");
            }
        }
        if about.command == Command::Help {
            let _ = writeln!(text, "            '1:topic:({})'", topics());
        }
        text.push_str("        )\n        ;;\n");
    }
    text.push_str(
        "    esac\n    shift words\n    (( CURRENT-- ))\n    _arguments -s $flags\n}\n\
         if [[ $funcstack[1] == _wireboot ]]; then\n    _wireboot \"$@\"\nelse\n    \
         compdef _wireboot wireboot\nfi\n",
    );
    text
}

fn fish() -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut text = "# Completions of wireboot for fish; load them with: \
        wireboot help --completion fish | source\ncomplete -c wireboot -f\n"
        .to_owned();
    for about in &COMMANDS {
        let (name, purpose) = (about.name, quoted(about.purpose));
        let _ = writeln!(
            text,
            "complete -c wireboot -n __fish_use_subcommand -a {name} -d '{purpose}'"
        );
        for row in flags(about.command) {
            let short = row
                .short
                .map_or(String::new(), |letter| format!(" -s '{letter}'"));
            let value = match candidates(row) {
                None => String::new(),
                Some(Candidates::Files) => " -r -F".to_owned(),
                Some(Candidates::Directories) => {
                    " -x -a '(__fish_complete_directories)'".to_owned()
                }
                Some(Candidates::Interfaces) => " -x -a '(command ls /sys/class/net)'".to_owned(),
                Some(Candidates::Names(names)) => format!(" -x -a '{names}'"),
                Some(Candidates::None) => " -x".to_owned(),
            };
            let _ = writeln!(
                text,
                "complete -c wireboot -n '__fish_seen_subcommand_from {name}'{short} -l {}{value} -d '{}'",
                row.name,
                quoted(brief(row))
            );
        }
    }
    let _ = writeln!(
        text,
        "complete -c wireboot -n '__fish_seen_subcommand_from help' -a '{}'",
        topics()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::defs::SHELLS;

    /// Where the reference has the table, which `BLESS=1 cargo test --lib reference` writes anew.
    const MARKS: (&str, &str) = ("<!-- words -->\n", "<!-- end of words -->\n");

    #[test]
    fn the_reference_has_the_words_as_the_rows_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/manual/reference.md");
        let reference = std::fs::read_to_string(path).unwrap();
        let (before, rest) = reference.split_once(MARKS.0).unwrap();
        let (table, after) = rest.split_once(MARKS.1).unwrap();
        let expected = table_of_words();
        if std::env::var_os("BLESS").is_some() {
            let text = format!("{before}{}{expected}{}{after}", MARKS.0, MARKS.1);
            return std::fs::write(path, text).unwrap();
        }
        let differs = |(is, should): &(&str, &str)| is != should;
        let first = table.lines().zip(expected.lines()).find(differs);
        assert!(
            table == expected,
            "the table of words in {path} is made by BLESS=1 cargo test --lib reference; \
             the first line that differs, as it is and should be: {first:#?}"
        );
    }

    fn table_of_words() -> String {
        let mut table = "| word | meaning |\n| --- | --- |\n".to_owned();
        let mut row = |words: &[&str], about: &str| {
            let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            let cells = [words.join(", "), about.to_owned()].map(|cell| cell.replace('|', "\\|"));
            table.push_str(&format!("| {} |\n", cells.join(" | ")));
        };
        for foreign in FOREIGN {
            row(foreign.words, foreign.help);
        }
        for setting in SETTINGS.iter().filter(|row| row.is_word()) {
            row(&[&word_usage(setting)], &described_word(setting));
        }
        table
    }

    #[test]
    fn every_row_is_in_its_page_and_in_the_completions_of_each_shell() {
        let all = SHELLS.map(completions);
        for about in &COMMANDS {
            let page = page(Some(about.name)).unwrap();
            for row in flags(about.command) {
                assert!(
                    page.contains(&escaped(&row.usage())),
                    "{}: {}",
                    about.name,
                    row.name
                );
                for text in &all {
                    let names = [format!("--{}", row.name), format!("-l {}", row.name)];
                    assert!(names.iter().any(|name| text.contains(name)), "{}", row.name);
                }
            }
        }
        for row in SETTINGS.iter().filter(|row| row.is_word()) {
            assert!(words().contains(&escaped(&word_usage(row))), "{}", row.name);
        }
    }

    #[test]
    fn a_flag_of_one_name_takes_the_same_kind_of_value_wherever_it_is() {
        for one in SETTINGS {
            for other in SETTINGS.iter().filter(|other| other.name == one.name) {
                assert_eq!(one.takes, other.takes, "{}", one.name);
            }
        }
    }

    #[test]
    fn a_letter_has_one_meaning_with_a_command() {
        for about in &COMMANDS {
            let letters: Vec<_> = flags(about.command).filter_map(|row| row.short).collect();
            let distinct: std::collections::BTreeSet<_> = letters.iter().collect();
            assert_eq!(letters.len(), distinct.len(), "{}", about.name);
        }
    }

    #[test]
    fn what_roff_would_follow_is_escaped() {
        assert_eq!(escaped(".minisig a-b \\…"), "\\&.minisig a\\-b \\e...");
        assert!(page(Some("nonsense")).is_none());
    }
}
