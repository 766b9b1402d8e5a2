//! Variables, the arguments of functions, and what words and names of files become with them.

use alloc::borrow::Cow;

use super::super::context::Budget;
use super::super::facts::{Architecture, Facts};
use super::super::plan::{Place, PlanError};
use super::parse::{Word, WordPiece};
use crate::prelude::*;
use crate::sorted::SortedMap;
use crate::text::url::Url;

/// The longest value of a variable, in bytes.
const MAX_VALUE_LEN: usize = 65_536;
/// Limit of variables; real configurations have some dozens.
// A file of 1 MiB could set a hundred thousand, each to 64 KiB.
const MAX_VARIABLES: usize = 2_000;
/// Limit of loopback devices; one is usual, and a loop could make more.
const MAX_LOOPS: usize = 64;

/// Variables by their names, each with whether it is exported.
pub(super) type VariableMap = SortedMap<String, (String, bool)>;

/// Variables and arguments.
#[derive(Debug, Default)]
pub(super) struct Variables {
    variables: VariableMap,
    /// Arguments of the functions and the entry under way, the innermost last.
    pub(super) scopes: Vec<Vec<String>>,
    /// The images that are devices, by the names of these.
    loops: Vec<(String, Url)>,
}

impl Variables {
    /// Begins with the variables that GRUB sets for the network.
    pub(super) fn new(file: &Url, facts: &Facts) -> Self {
        let server = file.host();
        // GRUB calls the drive with the medium it comes from so.
        let drive = file.image().map(|image| ("cd0".to_owned(), image));
        // With the port: otherwise kernels of http://host:8080 would be fetched from port 80.
        let device = match &drive {
            Some((name, _)) => name.clone(),
            None => format!("{},{}", file.scheme().name(), file.authority()),
        };
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
        let prefix = format!("({device}){directory}");
        // The names of GRUB's first card: on EFI, and with the firmware of a PC.
        let (efi, pc) = ("efinet0", "pxe");
        let mut variables = vec![
            ("root", device),
            ("prefix", prefix),
            ("net_default_server", server.to_owned()),
            ("pxe_default_server", server.to_owned()),
            ("net_default_mac", facts.mac.to_string()),
            ("net_default_ip", facts.address_text()),
        ];
        if let Some((_, image)) = &drive {
            // What loopback.cfg asks for: the name of the image on its disk.
            variables.push(("iso_path", image.path().to_owned()));
        }
        let platform = if facts.is_efi { "efi" } else { "pc" };
        let fixed = [
            ("net_default_interface", if facts.is_efi { efi } else { pc }),
            ("grub_cpu", cpu),
            ("grub_platform", platform),
            // grub-core/normal/main.c sets the features to y; files of grub-mkconfig ask for them.
            ("feature_menuentry_id", "y"),
            ("menuentry_id_option", "--id"),
            ("feature_default_font_path", "y"),
            ("feature_all_video_module", "y"),
            ("feature_timeout_style", "y"),
            ("?", "0"),
        ];
        variables.extend(fixed.map(|(name, value)| (name, value.to_owned())));
        let mut all = Self {
            loops: drive.into_iter().collect(),
            ..Self::default()
        };
        for (name, value) in variables {
            all.set_exported(name, &value);
        }
        // What grub_net_configure_by_dhcp_ack() sets; both cards, since files name either.
        for (name, value) in [
            ("mac", Some(facts.mac.to_string())),
            ("ip", Some(facts.address_text())),
            ("next_server", Some(facts.server_text())),
            ("boot_file", Some(facts.boot_file_name.clone())),
            ("hostname", facts.host_name.clone()),
            ("domain", facts.domain.clone()),
            ("rootpath", facts.text_option(17)),
            ("extensionspath", facts.text_option(18)),
            ("dhcp_server_name", facts.text_option(66)),
        ] {
            for card in [efi, pc] {
                if let Some(value) = &value {
                    all.set_exported(&format!("net_{card}_{name}"), value);
                }
            }
        }
        all
    }

    /// Returns the value of a variable.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|(value, _)| value.as_str())
    }

    /// Returns the values that a variable of a command expands to, of which each but the first
    /// begins a word (`grub_script_env_get`).
    fn values(&self, name: &str, is_quoted: bool) -> Vec<Cow<'_, str>> {
        let scope = self.scopes.last().map(Vec::as_slice);
        let all = || scope.unwrap_or_default();
        match name {
            "#" => scope
                .map(|words| words.len().to_string().into())
                .into_iter()
                .collect(),
            "*" if is_quoted => vec![all().join(" ").into()],
            "*" | "@" => all().iter().map(|word| word.as_str().into()).collect(),
            _ if name.starts_with(|c: char| c.is_ascii_digit()) => {
                // There is no name of a file for $0.
                let number = name
                    .parse()
                    .ok()
                    .and_then(|number: usize| number.checked_sub(1));
                let word = number.and_then(|number| all().get(number));
                word.map(|word| word.as_str().into()).into_iter().collect()
            }
            _ => self.value(name).map(Cow::from).into_iter().collect(),
        }
    }

    /// Removes a variable.
    pub(super) fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if let Some((known, _)) = self.variables.get_mut(name) {
            value.clone_into(known);
        } else {
            let value = (value.to_owned(), false);
            self.variables.insert(name.to_owned(), value);
        }
    }

    /// Sets a variable that new menus have, too.
    pub(super) fn set_exported(&mut self, name: &str, value: &str) {
        let value = (value.to_owned(), true);
        self.variables.insert(name.to_owned(), value);
    }

    /// Lets new menus have this variable, too.
    pub(super) fn export(&mut self, name: &str) {
        if let Some((_, is_exported)) = self.variables.get_mut(name) {
            *is_exported = true;
        }
    }

    /// Begins with the exported variables alone, and returns all as they were
    /// (`grub_env_context_open`).
    ///
    /// # Errors
    /// The plan has produced too much text.
    pub(super) fn open_context(&mut self, budget: &mut Budget) -> Result<VariableMap, PlanError> {
        let mut exported = VariableMap::new();
        for (name, value) in self.variables.iter().filter(|(_, (_, exported))| *exported) {
            budget.produce(16 + name.len() + value.0.len());
            budget.check()?;
            exported.insert(name.clone(), value.clone());
        }
        Ok(core::mem::replace(&mut self.variables, exported))
    }

    /// Goes back to the variables before.
    pub(super) fn close_context(&mut self, variables: VariableMap) {
        self.variables = variables;
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
        if self.variables.len() >= MAX_VARIABLES && self.value(name).is_none() {
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
        let inner = value
            .strip_prefix('(')
            .and_then(|value| value.strip_suffix(')'));
        // As grub_env_write_root() has it.
        let value = inner.filter(|_| name == "root").unwrap_or(value);
        self.set(name, value);
        // GRUB loses it in a submenu, which is open to everybody then.
        if name == "superusers" {
            self.export(name);
        }
        Ok(())
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
        self.loops.retain(|(known, _)| known != name);
        let Some(image) = image else {
            return Ok(());
        };
        if self.loops.len() >= MAX_LOOPS {
            let what = format!("more than {MAX_LOOPS} loopback devices");
            return Err(PlanError::new(place, name, what));
        }
        self.loops.push((name.to_owned(), image));
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
            let mut text: Option<String> = None;
            for piece in word {
                let (values, may_split) = match piece {
                    WordPiece::Text(text) => (vec![text.as_str().into()], false),
                    WordPiece::Variable { name, is_quoted } => {
                        (self.values(name, *is_quoted), !is_quoted)
                    }
                };
                for (number, value) in values.iter().enumerate() {
                    // 16 for the memory of a word, or empty ones would cost nothing.
                    if !budget.produce(16 + value.len()) {
                        budget.check()?;
                    }
                    if number > 0 {
                        expanded.extend(text.take());
                    }
                    if !may_split {
                        text.get_or_insert_default().push_str(value);
                        continue;
                    }
                    // Spaces at either end separate nothing (grub_script_argv_split_append).
                    for (number, part) in value.split_ascii_whitespace().enumerate() {
                        if number > 0 {
                            expanded.extend(text.take());
                        }
                        text.get_or_insert_default().push_str(part);
                    }
                }
            }
            expanded.extend(text);
        }
        Ok(expanded)
    }

    /// Says which file is running, in the variables that GRUB has for it (`read_config_file`).
    pub(super) fn set_file(&mut self, file: &Url) {
        // The image is the device that was made of it.
        let image = file.image();
        let mut loops = self.loops.iter();
        let device = match loops.find(|(_, known)| Some(known) == image.as_ref()) {
            Some((name, _)) => format!("({name})"),
            None => format!("({},{})", file.scheme().name(), file.authority()),
        };
        let (directory, _) = file.path().rsplit_once('/').unwrap_or_default();
        self.set_exported("config_file", &format!("{device}{}", file.path()));
        self.set_exported("config_directory", &format!("{device}{directory}"));
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
        let root = self.value("root").unwrap_or_default();
        let device = name.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let (device, file) = device.unwrap_or((root, name));
        // cd, cd1: other names for the drive with the medium.
        let is_drive = |name: &str| name == "cd0" && device.starts_with("cd");
        let mut loops = self.loops.iter();
        if let Some((_, image)) = loops.find(|(name, _)| name == device || is_drive(name)) {
            let path = format!("/{}", file.trim_start_matches('/'));
            return image.in_image(&path).map_err(|error| error.what);
        }
        let (protocol, server) = match device.split_once(',') {
            Some(parts) => parts,
            // The form that GRUB had first: (pxe:SERVER).
            None => device
                .split_once(':')
                .unwrap_or((device, self.value("net_default_server").unwrap_or_default())),
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
        let mut state = Variables::default();
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
            ("tftp://h/grub.cfg", "(pxe:i)/a", "tftp://i//a"),
            ("tftp://h/grub.cfg", "https://i/a", "https://i/a"),
        ] {
            let from: Url = from.parse().unwrap();
            let url = Variables::new(&from, &facts(&from)).resolve(name, &place());
            assert_eq!(url.unwrap().to_string(), expected, "{name}");
        }
        for wrong in ["(hd0)/a", "(tftp,)/a", "(http,a b)/a"] {
            assert!(Variables::default().resolve(wrong, &place()).is_err());
        }
    }

    fn place() -> Place {
        Place::whole(&"tftp://192.0.2.1/grub.cfg".parse().unwrap())
    }
}
