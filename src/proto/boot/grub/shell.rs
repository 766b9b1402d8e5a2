//! Variables, the kernel and initrds that are loaded, and the results of commands.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;

use super::super::context::Budget;
use super::super::error::{Place, PlanError};
use super::super::facts::{Architecture, Facts};
use super::super::plan::{BootPlan, PlanPart, Purpose};
use super::super::step::Step;
use super::parse::{Word, WordPiece};
use crate::prelude::*;
use crate::text::url::Url;

/// The longest value of a variable, in bytes.
const MAX_VALUE_LEN: usize = 65_536;
/// Limit of variables; real configurations have some dozens.
// A file of 1 MiB could set a hundred thousand, each to 64 KiB.
const MAX_VARIABLES: usize = 2_000;

/// Limit of loopback devices; one is usual, and a loop could make more.
const MAX_LOOPS: usize = 64;

/// The effect of a command, or why the plan ends.
pub(super) type StatementResult = Result<StatementEffect, PlanError>;

/// The effect of a command.
#[derive(Debug)]
pub(super) enum StatementEffect {
    /// It succeeded or failed.
    Status(bool),
    /// It failed, for this reason, which becomes a note.
    Fails(Cow<'static, str>),
    /// Another file runs; with `is_new` a new menu of its own.
    Source { url: Url, is_new: bool },
    /// This text runs.
    Run(String),
    /// A function may have this name.
    Call(String),
    /// A step of the driver, and how to continue with its answer.
    Ask(Step, PendingStatement),
    /// The end of the innermost file or function, with this status if it has one.
    Return(Option<bool>),
    /// The loaded kernel is started.
    Boot,
}

impl StatementEffect {
    pub(super) const fn fails(why: &'static str) -> Self {
        Self::Fails(Cow::Borrowed(why))
    }
}

/// A command that waits for the answer to a step.
#[derive(Debug)]
pub(super) enum PendingStatement {
    /// It succeeds.
    Nothing,
    /// The text is assigned to this variable.
    Variable(Option<String>),
    /// The variables of an environment block are set, if they are among these or these are none.
    Environment(Vec<String>),
    /// The length of this file is known then, and the command runs again.
    Size(Url),
    /// It succeeds if the signature is good.
    Signature,
}

/// Variables, and the files loaded so far.
#[derive(Debug, Default)]
pub(super) struct Shell {
    variables: BTreeMap<String, String>,
    kernel: Option<(Url, String)>,
    initrds: Vec<PlanPart>,
    device_tree: Option<PlanPart>,
    /// The images that are devices, by the names of these.
    loops: BTreeMap<String, Url>,
    /// Lengths of files that conditions need, by URL; 0 for missing files.
    pub(super) sizes: BTreeMap<String, usize>,
    /// Whether the status of the command under way decides what runs next.
    pub(super) is_condition: bool,
}

impl Shell {
    /// Begins with the variables that GRUB sets for the network.
    pub(super) fn new(file: &Url, facts: &Facts) -> Self {
        let server = file.host();
        // GRUB calls the drive with the medium it comes from so.
        let loops = file.image().map(|image| ("cd0".to_owned(), image));
        // With the port: otherwise kernels of http://host:8080 would be fetched from port 80.
        let device = match &loops {
            Some((name, _)) => name.clone(),
            None => format!("{},{}", file.scheme().name(), file.authority()),
        };
        // What loopback.cfg asks for: the name of the image on its disk.
        let iso_path = loops.as_ref().map_or("", |(_, image)| image.path());
        let directory = match file.path().rsplit_once('/') {
            Some((directory, _)) => directory,
            None => "",
        };
        let cpu = match facts.architecture {
            Architecture::X86 => "i386",
            Architecture::X86_64 => "x86_64",
            Architecture::Arm => "arm",
            Architecture::Arm64 => "arm64",
            Architecture::RiscV64 => "riscv64",
            Architecture::Other => "unknown",
        };
        let mac = facts.mac.to_string();
        let variables = [
            ("root", device.clone()),
            ("prefix", format!("({device}){directory}")),
            ("net_default_server", server.to_owned()),
            ("pxe_default_server", server.to_owned()),
            ("net_default_mac", mac.clone()),
            ("net_default_ip", facts.address.to_string()),
            // GRUB on EFI numbers cards as efinet0 and up.
            ("net_default_interface", "efinet0".to_owned()),
            ("net_efinet0_mac", mac),
            ("net_efinet0_ip", facts.address.to_string()),
            ("grub_cpu", cpu.to_owned()),
            (
                "grub_platform",
                if facts.is_efi { "efi" } else { "pc" }.to_owned(),
            ),
            // grub-core/normal/main.c sets the features to y; files of grub-mkconfig ask for them.
            ("feature_menuentry_id", "y".to_owned()),
            ("menuentry_id_option", "--id".to_owned()),
            ("feature_default_font_path", "y".to_owned()),
            ("feature_all_video_module", "y".to_owned()),
            ("feature_timeout_style", "y".to_owned()),
            ("iso_path", iso_path.to_owned()),
            ("?", "0".to_owned()),
        ];
        Self {
            variables: variables
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            loops: loops.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Returns the value of a variable.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Removes a variable.
    pub(super) fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Sets a variable for the configuration.
    ///
    /// # Errors
    /// Too many or too long ones, or `check_signatures=enforce`.
    pub(super) fn assign(
        &mut self,
        name: &str,
        value: &str,
        place: &Place,
    ) -> Result<(), PlanError> {
        if self.variables.len() >= MAX_VARIABLES && self.variable(name).is_none() {
            let what = format!("more than {MAX_VARIABLES} variables");
            return Err(PlanError::new(place, name, what));
        }
        if value.len() > MAX_VALUE_LEN {
            // An empty value in its place would change what conditions decide.
            let what = format!("its value is longer than {MAX_VALUE_LEN} bytes");
            return Err(PlanError::new(place, name, what));
        }
        // Accepting it would promise a check that nobody does: GRUB's signatures are OpenPGP.
        if name == "check_signatures" && value == "enforce" {
            let what = "signatures of all files cannot be enforced by a configuration; \
                        use require-signature in the policy of this machine";
            return Err(PlanError::new(place, name, what));
        }
        self.set(name, value);
        Ok(())
    }

    /// Expands words; a variable outside of quotes falls apart at its spaces.
    ///
    /// # Errors
    /// The plan has produced too much text.
    pub(super) fn expand(
        &self,
        words: &[Word],
        budget: &mut Budget,
    ) -> Result<Vec<String>, PlanError> {
        let mut expanded = Vec::new();
        for word in words {
            let mut text = String::new();
            let mut is_word = false;
            for piece in word {
                let (value, may_split) = match piece {
                    WordPiece::Text(text) => (text.as_str(), false),
                    WordPiece::Variable { name, is_quoted } => {
                        (self.variable(name).unwrap_or_default(), !is_quoted)
                    }
                };
                is_word |= !may_split;
                // 16 for the memory of a word, or empty ones would cost nothing.
                if !budget.produce(16 + value.len()) {
                    budget.check()?;
                }
                let mut rest = value;
                while may_split && let Some((part, next)) = rest.split_once(' ') {
                    text.push_str(part);
                    if is_word || !text.is_empty() {
                        expanded.push(core::mem::take(&mut text));
                    }
                    is_word = false;
                    rest = next;
                }
                text.push_str(rest);
                is_word |= !rest.is_empty();
            }
            if is_word {
                expanded.push(text);
            }
        }
        Ok(expanded)
    }

    /// Where the status decides what runs next, returns how a command that loads `url` continues: it
    /// asks for the file, or fails without it. Elsewhere files are fetched once the plan is known.
    pub(super) fn missing(&self, url: &Url, purpose: Purpose) -> Option<StatementEffect> {
        if !self.is_condition {
            return None;
        }
        match self.sizes.get(&url.to_string()) {
            None => {
                let step = Step::Fetch {
                    url: url.clone(),
                    purpose,
                };
                let pending = PendingStatement::Size(url.clone());
                Some(StatementEffect::Ask(step, pending))
            }
            Some(0) => Some(StatementEffect::Fails(format!("{url} not found").into())),
            Some(_) => None,
        }
    }

    /// Loads a kernel; initrds of one before are dropped, as GRUB does (`grub_cmd_linux`).
    pub(super) fn load_kernel(&mut self, url: Url, command_line: String) {
        self.kernel = Some((url, command_line));
        // GRUB unloads what was loaded before (grub_loader_unset), the initrds with it.
        self.initrds.clear();
    }

    /// Loads an initrd behind the others.
    pub(super) fn load_initrd(&mut self, url: Url) {
        self.initrds.push(url.into());
    }

    /// Loads a device tree in place of the one before.
    pub(super) fn load_device_tree(&mut self, url: Url) {
        self.device_tree = Some(url.into());
    }

    /// Makes an image a device, or makes it none any more.
    ///
    /// # Errors
    /// Too many devices.
    pub(super) fn set_loop(
        &mut self,
        name: &str,
        image: Option<Url>,
        place: &Place,
    ) -> Result<(), PlanError> {
        let Some(image) = image else {
            self.loops.remove(name);
            return Ok(());
        };
        if self.loops.len() >= MAX_LOOPS {
            let what = format!("more than {MAX_LOOPS} loopback devices");
            return Err(PlanError::new(place, name, what));
        }
        self.loops.insert(name.to_owned(), image);
        Ok(())
    }

    /// Returns the plan of the loaded files; none without a kernel.
    pub(super) fn plan(&self) -> Option<BootPlan> {
        let (kernel, command_line) = self.kernel.clone()?;
        Some(BootPlan {
            initrds: self.initrds.clone(),
            device_tree: self.device_tree.clone(),
            ..BootPlan::of_kernel(kernel.into(), command_line)
        })
    }

    /// Returns the file that a name means: `(http,host:port)/file`, or `/file` on `$root`.
    pub(super) fn resolve(&self, name: &str, place: &Place) -> Result<Url, PlanError> {
        let url = self.url_of(name);
        url.map_err(|what| PlanError::new(place, name, what))
    }

    fn url_of(&self, name: &str) -> Result<Url, &'static str> {
        let parse = |text: &str| text.parse::<Url>().map_err(|error| error.what);
        if crate::text::url::scheme_of(name).is_some() {
            return parse(name);
        }
        // It may be set as a whole device, (loop), or as its name.
        let root = self.variable("root").unwrap_or_default();
        let root = root.trim_matches(['(', ')']);
        let device = name.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let (device, file) = device.unwrap_or((root, name));
        let image = self.loops.get(device).or_else(|| {
            // Another name for the drive with the medium.
            let is_drive = device.starts_with("cd");
            self.loops.get("cd0").filter(|_| is_drive)
        });
        if let Some(image) = image {
            let path = format!("/{}", file.trim_start_matches('/'));
            return image.in_image(&path).map_err(|error| error.what);
        }
        let (protocol, server) = match device.split_once(',') {
            Some(parts) => parts,
            None => (
                device,
                self.variable("net_default_server").unwrap_or_default(),
            ),
        };
        let scheme = match protocol {
            "tftp" | "pxe" => "tftp",
            "http" | "https" => protocol,
            _ => return Err("is on a device that is not the network"),
        };
        let server = parse(&format!("{scheme}://{}/root", server.replace(',', ":")))?;
        let file = server.with_file_name(&format!("/{}", file.trim_start_matches('/')));
        file.map_err(|error| error.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_sets_no_more_variables_than_there_is_memory_for() {
        let mut state = Shell::default();
        let mut set = |number: usize| state.assign(&format!("v{number}"), "x", &place());
        for number in 0..MAX_VARIABLES {
            assert!(set(number).is_ok(), "{number}");
        }
        assert!(set(MAX_VARIABLES).unwrap_err().what.contains("variables"));
    }

    #[test]
    fn files_are_looked_for_where_the_configuration_came_from_or_a_device_says() {
        let facts = |url: &Url| {
            let (address, server) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
            Facts::new(url.clone(), Default::default(), address, server)
        };
        for (from, name, expected) in [
            ("http://h:8080/g/grub.cfg", "/a b", "http://h:8080/a%20b"),
            ("tftp://h:1069/g/grub.cfg", "/a b", "tftp://h:1069//a%20b"),
            ("tftp://h/grub.cfg", "(http,i:81)/a?b", "http://i:81/a?b"),
            ("tftp://h/grub.cfg", "(http,i,81)a", "http://i:81/a"),
            ("tftp://h/grub.cfg", "(pxe)/a?b", "tftp://h//a?b"),
            ("tftp://h/grub.cfg", "https://i/a", "https://i/a"),
        ] {
            let from: Url = from.parse().unwrap();
            let url = Shell::new(&from, &facts(&from)).resolve(name, &place());
            assert_eq!(url.unwrap().to_string(), expected, "{name}");
        }
        for wrong in ["(hd0)/a", "(tftp,)/a", "(http,a b)/a"] {
            assert!(Shell::default().resolve(wrong, &place()).is_err());
        }
    }

    fn place() -> Place {
        Place::whole(&"tftp://192.0.2.1/grub.cfg".parse().unwrap())
    }
}
