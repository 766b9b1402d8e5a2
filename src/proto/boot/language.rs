//! Tells the language of a configuration, which any loader could have been meant to read.

use crate::prelude::*;
use crate::text::url::Url;

/// The language of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// pxelinux and its relatives.
    Pxelinux,
    /// GRUB.
    Grub,
    /// A boot loader entry.
    Entry,
}

/// The words that lines of one language alone begin with, and those that others or prose have, too.
const WORDS: [(Language, &str, &str); 3] = [
    (
        Language::Grub,
        "menuentry submenu insmod configfile linuxefi initrdefi linux16 initrd16 load_env save_env \
         blscfg regexp loadfont terminal_input terminal_output chainloader }",
        "set if fi for while until function source search boot export eval",
    ),
    (
        Language::Pxelinux,
        "label ui menu prompt kernel append ipappend sysappend localboot say ontimeout onerror",
        "default include timeout path display implicit",
    ),
    (
        Language::Entry,
        "options machine-id uki uki-url efi sort-key architecture grub_users grub_arg grub_class",
        "",
    ),
];

/// Returns the language of the configuration at `url`: by words of one language alone that its lines
/// begin with, else by its name, else by most of its words; none when nothing is typical of one.
pub(super) fn language(url: &Url, text: &[u8]) -> Option<Language> {
    let name = url.file_name();
    // iPXE itself takes no text for a script without its first line.
    if name.ends_with(".ipxe") {
        return None;
    }
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{feff}');
    let mut counts = WORDS.map(|(language, ..)| (0_usize, 0_usize, language));
    let mut has_kernel = false;
    for line in text.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        let word = word.to_ascii_lowercase();
        for ((_, own, others), (sure, likely, _)) in WORDS.iter().zip(&mut counts) {
            *sure += usize::from(own.split(' ').any(|known| known == word));
            *likely += usize::from(others.split(' ').any(|known| known == word));
        }
        // GRUB and pxelinux have this word, too: without any other it is a boot loader entry.
        has_kernel |= word == "linux";
    }
    let mut sure = counts.iter().filter(|(sure, ..)| *sure > 0);
    if let (Some((.., language)), None) = (sure.next(), sure.next()) {
        return Some(*language);
    }
    let is_beside = |folder: &str| url.path().contains(folder);
    match name {
        "isolinux.cfg" | "syslinux.cfg" | "extlinux.conf" => Some(Language::Pxelinux),
        _ if is_beside("pxelinux.cfg/") => Some(Language::Pxelinux),
        _ if name.starts_with("grub.cfg") => Some(Language::Grub),
        _ if is_beside("loader/entries/") => Some(Language::Entry),
        _ => {
            // Of several with the same count the last is used: GRUB is the first of the reversed ones.
            let most = counts
                .into_iter()
                .rev()
                .max_by_key(|(sure, likely, _)| (*sure, *likely));
            let most = most.filter(|(sure, likely, _)| sure + likely > 0);
            most.map(|(.., language)| language)
                .or_else(|| has_kernel.then_some(Language::Entry))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_of_a_text_is_told_by_words_of_it_alone_and_else_by_its_name() {
        use Language::{Entry, Grub, Pxelinux};
        for (name, text, expected) in [
            (
                "b",
                "serial --unit=0 --speed=9600\nterminal_input serial\n",
                Some(Grub),
            ),
            (
                "b",
                "serial --unit=0\nset timeout=5\nmenuentry a {\nlinux /k\n}",
                Some(Grub),
            ),
            (
                "b",
                "serial 0 9600\ndefault a\nlabel a\nlinux k\n",
                Some(Pxelinux),
            ),
            (
                "b",
                "set a=b\nsearch x\ndefault a\nlabel a\nkernel k\n",
                Some(Pxelinux),
            ),
            (
                "b",
                "label a\nkernel k\ntext help\nBoot\nif\nset\noptions\nendtext",
                Some(Pxelinux),
            ),
            (
                "b",
                "default=0\nset a=b\nsource /c\ntimeout 5\n",
                Some(Grub),
            ),
            ("b", "default a\ninclude c\n", Some(Pxelinux)),
            ("b", "linux /k\ninitrd /i\n", Some(Entry)),
            ("b", "set a=b\nlinux /k\n", Some(Grub)),
            (
                "b",
                "title A\nuki-url http://192.0.2.1/a.efi\nversion 1\nprofile 1\n",
                Some(Entry),
            ),
            ("b", "title A\nefi /a.efi\n", Some(Entry)),
            ("b", "a\nb\n", None),
            (
                "pxelinux.cfg/default",
                "serial 0\nset a=b\n",
                Some(Pxelinux),
            ),
            ("pxelinux.cfg/default", "menuentry a {\n", Some(Grub)),
            ("extlinux.conf", "linux /k\n", Some(Pxelinux)),
            ("grub.cfg", "serial --unit=0\ntimeout 5\n", Some(Grub)),
            ("grub.cfg-01-52-54-00-12-34-56", "linux /k\n", Some(Grub)),
            (
                "grub.cfg",
                "menuentry a {\n}\nlabel a\nkernel k\nappend x\n",
                Some(Grub),
            ),
            ("loader/entries/a.conf", "title A\n", Some(Entry)),
            ("b.ipxe", "menu A\nkernel k\n", None),
        ] {
            let url = format!("http://192.0.2.1/{name}").parse().unwrap();
            let found = language(&url, text.as_bytes());
            assert_eq!(found, expected, "{name}: {text}");
        }
    }
}
