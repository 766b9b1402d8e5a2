//! The configuration of pxelinux, read line by line into labels and menus.

use crate::prelude::*;
use crate::text::safe::Quoted;
use core::time::Duration;

use super::super::plan::Place;
use super::words::{
    WITHOUT_EFFECT, WITHOUT_EFFECT_IN_MENU, function_key, is_gfxboot, is_menu_module, is_set,
    leading_number, parse_bits, split_word,
};
use crate::sorted::SortedMap;

/// A value with its file and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) place: Place,
}

/// The directive that names the target of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetKind {
    /// KERNEL: whatever its name says.
    Kernel,
    /// LINUX: a kernel whatever its name.
    Linux,
    /// PXE: a network bootstrap program.
    Program,
    /// COM32: a module.
    Module,
    /// CONFIG: another configuration.
    Config,
    /// LOCALBOOT.
    LocalBoot,
    /// BOOT, BSS, COMBOOT: what only PC firmware starts.
    Firmware,
}

/// A LABEL with its directives.
#[derive(Debug, Clone)]
pub(super) struct BootLabel {
    pub(super) name: Text,
    pub(super) menu_label: Option<String>,
    pub(super) help: Option<String>,
    pub(super) target: Option<(TargetKind, Text)>,
    pub(super) append: Option<Text>,
    pub(super) initrd: Option<Text>,
    pub(super) device_tree: Option<Text>,
    /// The directory with the device trees of several boards.
    pub(super) device_trees: Option<Text>,
    pub(super) overlays: Option<Text>,
    pub(super) sysappend: Option<u32>,
    pub(super) is_hidden: bool,
    pub(super) is_disabled: bool,
    /// Another menu, in place of a kernel.
    pub(super) leads_to: Option<LeadsTo>,
    /// Whether a person must know a password to choose it.
    pub(super) is_locked: bool,
    /// Whether its key starts it, if the label says so.
    pub(super) is_immediate: Option<bool>,
}

impl BootLabel {
    fn new(name: Text) -> Self {
        Self {
            name,
            menu_label: None,
            help: None,
            target: None,
            append: None,
            initrd: None,
            device_tree: None,
            device_trees: None,
            overlays: None,
            sysappend: None,
            is_hidden: false,
            is_disabled: false,
            leads_to: None,
            is_locked: false,
            is_immediate: None,
        }
    }
}

/// The target of a menu entry that boots nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeadsTo {
    /// The menu around this one.
    Parent,
    /// The menu with this tag.
    Tagged(String),
    /// Out of all menus.
    Quit,
}

/// An entry of a menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MenuLine {
    /// A label, by number.
    Label(usize),
    /// An empty line.
    Separator,
    /// Another menu, by number.
    Submenu(usize),
}

/// A menu: the root, or one between MENU BEGIN and MENU END.
#[derive(Debug, Clone, Default)]
pub(super) struct Submenu {
    pub(super) tag: String,
    pub(super) title: Option<String>,
    /// The entry in the menu around it.
    pub(super) label: Option<String>,
    pub(super) parent: Option<usize>,
    pub(super) items: Vec<MenuLine>,
    /// The entry with MENU DEFAULT.
    pub(super) default: Option<MenuLine>,
    /// Whether a person must know a password to enter it.
    pub(super) is_locked: bool,
    /// Whether keys start their entries, and do not only move the bar.
    pub(super) is_immediate: bool,
}

/// The configuration, from all files that were included.
#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    pub(super) labels: Vec<BootLabel>,
    /// The first is the root.
    pub(super) menus: Vec<Submenu>,
    /// The menu shown first.
    pub(super) start: usize,
    pub(super) default: Option<Text>,
    pub(super) on_timeout: Option<Text>,
    pub(super) timeout: Option<Duration>,
    /// Total time limit, which no key stops.
    pub(super) total_timeout: Option<Duration>,
    /// Set where command lines may not be edited, or only with a password.
    pub(super) is_fixed: bool,
    /// Set by PROMPT: shows the `boot:` prompt, unless there is a menu.
    pub(super) has_prompt: bool,
    /// Set by IMPLICIT 0: a word that is no label is not used as the name of a kernel.
    pub(super) only_labels: bool,
    /// Set by NOCOMPLETE: the prompt does not list the labels.
    pub(super) hides_labels: bool,
    /// Booted, with the typed line as arguments, when that line cannot be booted.
    pub(super) on_error: Option<String>,
    pub(super) append: Option<Text>,
    pub(super) sysappend: u32,
    pub(super) has_menu: bool,
    /// The command of UI when it is no menu, which is run in place of DEFAULT.
    pub(super) ui: Option<Text>,
    /// Set by UI: the prompt is not shown first.
    pub(super) is_ui: bool,
    pub(super) is_hidden: bool,
    /// Lines to show before anything is chosen.
    pub(super) says: Vec<String>,
    /// Files that function keys show.
    pub(super) help_files: SortedMap<u8, Text>,
    /// What is wrong with lines, and ignored.
    pub(super) warnings: Vec<(Place, String)>,
    /// The words without effect that occur, and where the first of them does.
    pub(super) without_effect: Option<(Place, Vec<String>)>,
    menu: usize,
    in_label: bool,
    /// Number of labels at the end of the list that were typed, not read.
    implicit: usize,
    /// Set between TEXT HELP and ENDTEXT.
    text: Option<Vec<String>>,
}

/// The input to read before the next line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadNext {
    /// A file to be read as part of the configuration.
    Include(String),
    /// A file to be shown.
    Display(String),
    /// The end of the submenu that was begun for a file.
    MenuEnd,
}

impl Config {
    pub(super) fn new() -> Self {
        Self {
            menus: vec![Submenu::default()],
            ..Self::default()
        }
    }

    /// Reads the line at `place`; returns what is to be read before the next one.
    pub(super) fn line(&mut self, line: &str, place: &Place) -> Vec<ReadNext> {
        let line = line.trim();
        let (keyword, rest) = split_word(line);
        let keyword = keyword.to_ascii_lowercase();
        if let Some(text) = &mut self.text {
            if keyword == "endtext" {
                let help = text.join("\n");
                self.text = None;
                if let Some(label) = self.label() {
                    label.help = Some(help);
                }
            } else {
                text.push(line.to_owned());
            }
            return Vec::new();
        }
        if keyword.is_empty() || keyword.starts_with('#') {
            return Vec::new();
        }
        let value = || Text {
            value: rest.to_owned(),
            place: place.clone(),
        };
        match keyword.as_str() {
            "label" => self.begin_label(value()),
            // The last DEFAULT is used, also when it names a menu module.
            // Debian's netboot tree names a label in an include and the menu module behind it.
            "default" if is_menu_module(rest) => {
                self.has_menu = true;
                self.default = None;
            }
            "default" => self.default = Some(value()),
            "ui" => {
                let (module, files) = split_word(rest);
                self.is_ui = is_menu_module(module);
                self.has_menu |= self.is_ui;
                self.ui = Some(value()).filter(|_| !self.is_ui);
                if self.is_ui && !is_gfxboot(module) {
                    // "~" is the main configuration, which is being read (doc/menu.txt).
                    let files = files.split_whitespace().filter(|file| *file != "~");
                    return files
                        .map(|file| ReadNext::Include(file.to_owned()))
                        .collect();
                }
            }
            "prompt" => self.has_prompt = is_set(rest),
            "implicit" => self.only_labels = !is_set(rest),
            "nocomplete" => self.hides_labels = is_set(rest),
            "onerror" => self.on_error = Some(rest.to_owned()).filter(|rest| !rest.is_empty()),
            "timeout" | "totaltimeout" => {
                let tenths = leading_number(rest).unwrap_or_else(|| {
                    self.warn(
                        place,
                        &format!("{} is no number of tenths of a second", Quoted(rest)),
                    );
                    0
                });
                // doc/syslinux.txt: tenths of a second, and 0 waits for ever.
                let timeout = Duration::from_millis(u64::from(tenths) * 100);
                let timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
                if keyword == "timeout" {
                    self.timeout = timeout;
                } else {
                    self.total_timeout = timeout;
                }
            }
            "allowoptions" => self.is_fixed = !is_set(rest),
            "ontimeout" => self.on_timeout = Some(value()),
            "say" => self.says.push(rest.to_owned()),
            "include" => return vec![ReadNext::Include(split_word(rest).0.to_owned())],
            "display" => return vec![ReadNext::Display(split_word(rest).0.to_owned())],
            "menu" => return self.menu_directive(rest, place),
            "text" => self.text = Some(Vec::new()),
            "append" => match self.label() {
                Some(label) => label.append = Some(value()),
                None => self.append = Some(value()),
            },
            // SYSAPPEND is the name of IPAPPEND since Syslinux 5.
            "ipappend" | "sysappend" => match parse_bits(rest) {
                Some(bits) => match self.label() {
                    Some(label) => label.sysappend = Some(bits),
                    None => self.sysappend = bits,
                },
                None => self.warn(place, &format!("{} is no number", Quoted(rest))),
            },
            known if WITHOUT_EFFECT.contains(&known) => self.ignore(place, keyword),
            _ => self.label_directive(&keyword, value()),
        }
        Vec::new()
    }

    /// Reads a directive that belongs into a label.
    fn label_directive(&mut self, keyword: &str, value: Text) {
        let kind = match keyword {
            "kernel" => Some(TargetKind::Kernel),
            "linux" => Some(TargetKind::Linux),
            "pxe" => Some(TargetKind::Program),
            "com32" => Some(TargetKind::Module),
            "config" => Some(TargetKind::Config),
            "localboot" => Some(TargetKind::LocalBoot),
            // Of an image of a floppy disk and a kernel, the content tells which it is
            // (com32/elflink/ldlinux/execute.c).
            "fdimage" => Some(TargetKind::Linux),
            "bss" | "boot" | "comboot" => Some(TargetKind::Firmware),
            _ => None,
        };
        let place = value.place.clone();
        if let Some(key) = function_key(keyword) {
            self.help_files.insert(key, value);
            return;
        }
        let Some(label) = self.label() else {
            let what = format!(
                "{} is not in a LABEL, or unknown; it is ignored",
                Quoted(keyword)
            );
            return self.warn(&place, &what);
        };
        match (kind, keyword) {
            (Some(kind), _) => label.target = Some((kind, value)),
            (None, "initrd") => label.initrd = Some(value),
            (None, "fdt" | "devicetree") => label.device_tree = Some(value),
            (None, "fdtdir" | "devicetreedir") => label.device_trees = Some(value),
            (None, "fdtoverlays" | "devicetree-overlay") => label.overlays = Some(value),
            // pxelinux reads over what it does not know, and so does U-Boot.
            (None, _) => self.warn(
                &place,
                &format!("{} is unknown and ignored", Quoted(keyword)),
            ),
        }
    }

    fn menu_directive(&mut self, rest: &str, place: &Place) -> Vec<ReadNext> {
        let (keyword, rest) = split_word(rest);
        let owned = rest.to_owned();
        let keyword = keyword.to_ascii_lowercase();
        if let Some(key) = function_key(&keyword) {
            let place = place.clone();
            self.help_files.insert(
                key,
                Text {
                    value: owned,
                    place,
                },
            );
            return Vec::new();
        }
        let number = self.labels.len().checked_sub(1);
        let menu = self.menu;
        match keyword.as_str() {
            "label" => match self.label() {
                Some(label) => label.menu_label = Some(owned),
                None => self.current_menu(|menu| menu.label = Some(owned)),
            },
            "title" => self.current_menu(|menu| menu.title = Some(owned)),
            "default" if self.in_label => {
                self.current_menu(|menu| menu.default = number.map(MenuLine::Label));
            }
            // In a submenu it says that this one is the default of the menu around it.
            "default" => {
                let parent = self.menus.get(menu).and_then(|menu| menu.parent);
                if let Some(parent) = parent.and_then(|parent| self.menus.get_mut(parent)) {
                    parent.default = Some(MenuLine::Submenu(menu));
                }
            }
            "hide" => self.mark(|label| label.is_hidden = true),
            "disable" => self.mark(|label| label.is_disabled = true),
            "hidden" => self.is_hidden = true,
            "separator" => self.current_menu(|menu| menu.items.push(MenuLine::Separator)),
            "exit" if owned.is_empty() => {
                self.mark(|label| label.leads_to = Some(LeadsTo::Parent));
            }
            "exit" => self.mark(|label| label.leads_to = Some(LeadsTo::Tagged(owned))),
            "quit" => self.mark(|label| label.leads_to = Some(LeadsTo::Quit)),
            "goto" => self.mark(|label| label.leads_to = Some(LeadsTo::Tagged(owned))),
            "start" => self.start = self.menu,
            "begin" => self.begin_menu(&owned),
            "end" => self.end_menu(),
            "include" => {
                let (file, tag) = split_word(rest);
                let file = ReadNext::Include(file.to_owned());
                if tag.is_empty() {
                    return vec![file];
                }
                // With a tag the file is a submenu of its own (doc/menu.txt).
                self.begin_menu(tag);
                return vec![file, ReadNext::MenuEnd];
            }
            "passwd" if self.in_label => self.mark(|label| label.is_locked = true),
            "passwd" => self.current_menu(|menu| menu.is_locked = true),
            // Passwords are not supported, so nobody may edit.
            "master" => self.is_fixed = true,
            immediate @ ("immediate" | "noimmediate") => {
                let is_immediate = immediate == "immediate";
                match self.label() {
                    Some(label) => label.is_immediate = Some(is_immediate),
                    None => self.current_menu(|menu| menu.is_immediate = is_immediate),
                }
            }
            known if WITHOUT_EFFECT_IN_MENU.contains(&known) => {
                self.ignore(place, format!("menu {known}"));
            }
            _ => self.warn(
                place,
                &format!("MENU {} is unknown and ignored", Quoted(&keyword)),
            ),
        }
        Vec::new()
    }

    fn begin_label(&mut self, name: Text) {
        let number = self.labels.len();
        self.in_label = true;
        self.labels.push(BootLabel::new(name));
        self.current_menu(|menu| menu.items.push(MenuLine::Label(number)));
    }

    fn begin_menu(&mut self, tag: &str) {
        let number = self.menus.len();
        self.in_label = false;
        self.current_menu(|menu| menu.items.push(MenuLine::Submenu(number)));
        let around = self.menus.get(self.menu);
        self.menus.push(Submenu {
            tag: tag.to_owned(),
            parent: Some(self.menu),
            is_immediate: around.is_some_and(|menu| menu.is_immediate),
            ..Submenu::default()
        });
        self.menu = number;
    }

    /// Returns to the parent menu; an extra MENU END is common and harmless.
    pub(super) fn end_menu(&mut self) {
        self.in_label = false;
        if let Some(parent) = self.menus.get(self.menu).and_then(|menu| menu.parent) {
            self.menu = parent;
        }
    }

    /// Adds a label that is in no file and no menu; returns its number.
    pub(super) fn add_implicit(&mut self, name: Text) -> usize {
        self.in_label = false;
        self.implicit += 1;
        self.labels.push(BootLabel::new(name));
        self.labels.len() - 1
    }

    /// Removes the labels that are in no file.
    pub(super) fn remove_implicit(&mut self) {
        let implicit = core::mem::take(&mut self.implicit);
        self.labels.truncate(self.labels.len() - implicit);
    }

    /// Removes the entries of a label.
    pub(super) fn remove_from_menus(&mut self, number: usize) {
        let entry = MenuLine::Label(number);
        for menu in &mut self.menus {
            menu.items.retain(|item| *item != entry);
            menu.default = menu.default.filter(|default| *default != entry);
        }
    }

    /// Returns the label that the next directives belong to.
    fn label(&mut self) -> Option<&mut BootLabel> {
        self.labels.last_mut().filter(|_| self.in_label)
    }

    fn mark(&mut self, change: impl FnOnce(&mut BootLabel)) {
        if let Some(label) = self.label() {
            change(label);
        }
    }

    fn current_menu(&mut self, change: impl FnOnce(&mut Submenu)) {
        if let Some(menu) = self.menus.get_mut(self.menu) {
            change(menu);
        }
    }

    fn warn(&mut self, place: &Place, what: &str) {
        self.warnings.push((place.clone(), what.to_owned()));
    }

    /// Notes a word that has no effect here.
    fn ignore(&mut self, place: &Place, word: String) {
        let first = || (place.clone(), Vec::new());
        let (_, words) = self.without_effect.get_or_insert_with(first);
        if !words.contains(&word) {
            words.push(word);
        }
    }

    /// Returns the number of the label with this name, by its exact letters first. The name of a
    /// label is its first word.
    pub(super) fn label_named(&self, name: &str) -> Option<usize> {
        let mut names = self
            .labels
            .iter()
            .map(|label| split_word(&label.name.value).0);
        let position = names.clone().position(|known| known == name);
        position.or_else(|| names.position(|known| known.eq_ignore_ascii_case(name)))
    }
}
