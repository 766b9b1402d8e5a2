//! The configuration of pxelinux, read line by line into labels and menus.

use crate::prelude::*;
use core::time::Duration;

use super::super::error::{Place, PlanError};

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
    pub(super) sysappend: Option<u32>,
    pub(super) is_hidden: bool,
    pub(super) is_disabled: bool,
    /// Another menu, in place of a kernel.
    pub(super) leads_to: Option<LeadsTo>,
    /// Directives in it that are not supported.
    pub(super) faults: Vec<PlanError>,
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
            sysappend: None,
            is_hidden: false,
            is_disabled: false,
            leads_to: None,
            faults: Vec::new(),
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
    /// The label with MENU DEFAULT.
    pub(super) default: Option<usize>,
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
    pub(super) is_hidden: bool,
    /// Lines to show before anything is chosen.
    pub(super) says: Vec<String>,
    /// Directives outside labels that are not supported.
    pub(super) faults: Vec<PlanError>,
    menu: usize,
    in_label: bool,
    /// Number of labels at the end of the list that were typed, not read.
    implicit: usize,
    /// Set between TEXT HELP and ENDTEXT.
    text: Option<Vec<String>>,
}

/// The input to read next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next line.
    Next,
    /// A file to be read first.
    Include(String),
}

impl Config {
    pub(super) fn new() -> Self {
        Self {
            menus: vec![Submenu::default()],
            ..Self::default()
        }
    }

    /// Reads the line at `place`.
    pub(super) fn line(&mut self, line: &str, place: &Place) -> Flow {
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
            return Flow::Next;
        }
        if keyword.is_empty() || keyword.starts_with('#') {
            return Flow::Next;
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
                self.has_menu = true;
                let (module, file) = split_word(rest);
                if !is_menu_module(module) {
                    self.fault(place, module, "UI supports the menu modules only");
                // "~" is the main configuration, which is being read (doc/menu.txt).
                } else if !file.is_empty() && !file.starts_with('~') {
                    return Flow::Include(split_word(file).0.to_owned());
                }
            }
            "prompt" => self.has_prompt = rest != "0",
            "implicit" => self.only_labels = rest == "0",
            "nocomplete" => self.hides_labels = rest != "0",
            "onerror" => self.on_error = Some(rest.to_owned()).filter(|rest| !rest.is_empty()),
            "timeout" | "totaltimeout" => match rest.parse::<u32>() {
                Ok(tenths) => {
                    // doc/syslinux.txt: tenths of a second, and 0 waits for ever.
                    let timeout = Duration::from_millis(u64::from(tenths) * 100);
                    let timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
                    if keyword == "timeout" {
                        self.timeout = timeout;
                    } else {
                        self.total_timeout = timeout;
                    }
                }
                Err(_) => self.fault(
                    place,
                    rest,
                    "the timeout is not a number of tenths of a second",
                ),
            },
            "allowoptions" => self.is_fixed = rest == "0",
            "ontimeout" => self.on_timeout = Some(value()),
            "say" => self.says.push(rest.to_owned()),
            "include" => return Flow::Include(split_word(rest).0.to_owned()),
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
                None => self.fault(place, rest, "not a number"),
            },
            cosmetic if is_cosmetic(cosmetic) => {}
            _ => self.label_directive(&keyword, value()),
        }
        Flow::Next
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
            _ => None,
        };
        let place = value.place.clone();
        let Some(label) = self.label() else {
            let what = match kind {
                Some(_) => "is before the first LABEL",
                None => "unknown or unsupported directive",
            };
            return self.fault(&place, keyword, what);
        };
        match (kind, keyword) {
            (Some(kind), _) => label.target = Some((kind, value)),
            (None, "initrd") => label.initrd = Some(value),
            (None, "fdt" | "devicetree") => label.device_tree = Some(value),
            (None, "fdtdir" | "devicetreedir") => label.device_trees = Some(value),
            (None, "fdtoverlays" | "devicetree-overlay") => {
                let what = "device tree overlays are not supported";
                label.faults.push(PlanError::new(&place, keyword, what));
            }
            (None, "bss" | "boot" | "fdimage" | "comboot") => {
                let what = "needs PC firmware, which no longer runs under Linux";
                label.faults.push(PlanError::new(&place, keyword, what));
            }
            (None, _) => {
                let what = "unknown or unsupported directive";
                label.faults.push(PlanError::new(&place, keyword, what));
            }
        }
    }

    fn menu_directive(&mut self, rest: &str, place: &Place) -> Flow {
        let (keyword, rest) = split_word(rest);
        let owned = rest.to_owned();
        let number = self.labels.len().checked_sub(1);
        match keyword.to_ascii_lowercase().as_str() {
            "label" => match self.label() {
                Some(label) => label.menu_label = Some(owned),
                None => self.current_menu(|menu| menu.label = Some(owned)),
            },
            "title" => self.current_menu(|menu| menu.title = Some(owned)),
            "default" if self.in_label => self.current_menu(|menu| menu.default = number),
            "default" => {}
            "hide" => self.mark(|label| label.is_hidden = true),
            "disable" => self.mark(|label| label.is_disabled = true),
            "hidden" => self.is_hidden = true,
            "separator" => self.current_menu(|menu| menu.items.push(MenuLine::Separator)),
            "exit" if self.in_label => self.mark(|label| label.leads_to = Some(LeadsTo::Parent)),
            "quit" => self.mark(|label| label.leads_to = Some(LeadsTo::Quit)),
            "goto" => self.mark(|label| label.leads_to = Some(LeadsTo::Tagged(owned))),
            "start" => self.start = self.menu,
            "begin" => self.begin_menu(&owned),
            "end" => self.end_menu(),
            "include" => return Flow::Include(split_word(rest).0.to_owned()),
            "help" => {}
            "passwd" => {
                let fault = PlanError::new(place, keyword, "passwords are not supported");
                self.mark(|label| label.faults.push(fault));
            }
            // Passwords are not supported, so nobody may edit.
            "master" => self.is_fixed = true,
            cosmetic if is_cosmetic_menu(cosmetic) => {}
            _ => self.fault(place, keyword, "unknown or unsupported MENU directive"),
        }
        Flow::Next
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
        self.menus.push(Submenu {
            tag: tag.to_owned(),
            parent: Some(self.menu),
            ..Submenu::default()
        });
        self.menu = number;
    }

    /// Returns to the parent menu; an extra MENU END is common and harmless.
    fn end_menu(&mut self) {
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

    fn fault(&mut self, place: &Place, word: &str, what: &str) {
        let fault = PlanError::new(place, word, what);
        match self.label() {
            // One odd line must not keep the other labels from booting: it counts when its label
            // does.
            Some(label) => label.faults.push(fault),
            None => self.faults.push(fault),
        }
    }

    /// Returns the number of the label with this name, by its exact letters first.
    pub(super) fn label_named(&self, name: &str) -> Option<usize> {
        let mut labels = self.labels.iter();
        labels
            .position(|label| label.name.value == name)
            .or_else(|| {
                let mut labels = self.labels.iter();
                labels.position(|label| label.name.value.eq_ignore_ascii_case(name))
            })
    }
}

/// Splits off the first word; the rest has no space around it.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

/// Returns whether `name` is a module that shows the menu of the configuration.
pub(super) fn is_menu_module(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default();
    matches!(
        file.to_ascii_lowercase().as_str(),
        "menu.c32" | "vesamenu.c32" | "gfxmenu.c32" | "gfxboot.c32" | "menu" | "vesamenu"
    )
}

fn parse_bits(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Returns whether a directive changes how a menu looks, sounds or is operated, and nothing else.
fn is_cosmetic(keyword: &str) -> bool {
    is_function_key(keyword) || COSMETIC.contains(&keyword)
}

/// Returns the same for a directive after MENU.
fn is_cosmetic_menu(keyword: &str) -> bool {
    is_function_key(keyword) || COSMETIC_MENU.contains(&keyword)
}

/// Returns whether a directive is F0 to F12, which name files for these keys to show.
fn is_function_key(keyword: &str) -> bool {
    let number = keyword
        .strip_prefix('f')
        .and_then(|digits| digits.parse().ok());
    // F1 to F12; F0 is an older name of F10 (doc/syslinux.txt).
    number.is_some_and(|number: u8| number <= 12)
}

const COSMETIC: &[&str] = &[
    "autoboot",
    "cmdlinerow",
    "console",
    "display",
    "endrow",
    "font",
    "helpmsgendrow",
    "helpmsgrow",
    "kbdmap",
    "noescape",
    "nohalt",
    "path",
    "sendcookies",
    "serial",
];

const COSMETIC_MENU: &[&str] = &[
    "allowedit",
    "allowsubmenu",
    "autoboot",
    "autosort",
    "background",
    "clear",
    "cmdlinerow",
    "color",
    "colour",
    "endrow",
    "expand",
    "helpmsgendrow",
    "helpmsgrow",
    "hiddenkey",
    "hiddenrow",
    "hshift",
    "immediate",
    "indent",
    "margin",
    "msgcolor",
    "msgcolour",
    "noclear",
    "noimmediate",
    "nosave",
    "notabmsg",
    "passprompt",
    "passwordmargin",
    "passwordrow",
    "resolution",
    "rows",
    "save",
    "scrollbar",
    "shiftkey",
    "tabmsg",
    "tabmsgrow",
    "timeoutrow",
    "vshift",
    "width",
];
