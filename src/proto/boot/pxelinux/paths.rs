//! Paths of pxelinux: the names of its configuration, and how a file name in it is resolved.

use super::super::facts::Facts;
use super::super::loaders::{MachineName, names_of};
use super::super::plan::{Place, PlanError};
use crate::prelude::*;
use crate::text::url::{Url, UrlError, scheme_of};

/// The base of relative file names.
#[derive(Debug, Clone)]
pub(super) struct FolderPrefix {
    /// The boot file: the server, and the directory when no prefix is set.
    base: Url,
    /// The prefix of option 210, or of a CONFIG directive.
    text: Option<String>,
    /// A base to try when a file is not beside the first.
    fallback: Option<Url>,
}

impl FolderPrefix {
    /// Returns the prefix of files beside `base`, or what option 210 says.
    pub(super) fn new(base: &Url, facts: &Facts) -> Self {
        Self {
            base: base.clone(),
            // RFC 5071 §5: option 210 stands before every name that is not a whole one.
            text: facts.text_option(210),
            fallback: None,
        }
    }

    /// Returns the prefix for a configuration that is the boot file itself: its directory, or the
    /// parent when it is in `pxelinux.cfg`. The loaders that read `extlinux` and `syslinux` stay in
    /// that directory; where the files are copied from a disk without them, the parent has the files.
    pub(super) fn of_file(file: &Url, facts: &Facts) -> Self {
        // ISOLINUX begins in the directory of its configuration, and has no options of DHCP.
        if let Some((directory, _)) = file.path_in_image().and_then(|path| path.rsplit_once('/')) {
            return Self {
                base: file.clone(),
                text: Some(format!("{directory}/")),
                fallback: None,
            };
        }
        let parent = || file.join("../pxelinux.0").ok();
        match file.path().rsplit('/').nth(1) {
            Some("pxelinux.cfg") => Self::new(parent().as_ref().unwrap_or(file), facts),
            Some("extlinux" | "syslinux") => Self {
                fallback: parent(),
                ..Self::new(file, facts)
            },
            _ => Self::new(file, facts),
        }
    }

    /// Returns the prefix for names that are not beside the first base, if there is another.
    pub(super) fn fallback(&self) -> Option<Self> {
        Some(Self {
            base: self.fallback.clone()?,
            text: self.text.clone(),
            fallback: None,
        })
    }

    /// Returns the prefix with another directory, itself relative to this one.
    pub(super) fn within(&self, directory: &str) -> Self {
        let mut text = if directory.starts_with('/') || scheme_of(directory).is_some() {
            String::new()
        } else {
            self.text.clone().unwrap_or_default()
        };
        text.push_str(directory);
        if !text.ends_with('/') {
            text.push('/');
        }
        Self {
            base: self.base.clone(),
            text: Some(text),
            fallback: None,
        }
    }

    /// Returns the file that `name` refers to: a URL; `host::file` and `::file` from the root of a
    /// server; `/file` without prefix; anything else after the prefix.
    pub(super) fn resolve(&self, name: &str, place: &Place) -> Result<Url, PlanError> {
        self.url_of(name)
            .map_err(|error| PlanError::new(place, name, error.what))
    }

    fn url_of(&self, name: &str) -> Result<Url, UrlError> {
        if scheme_of(name).is_some() {
            return name.parse();
        }
        match (name.split_once("::"), &self.text) {
            (Some(("", file)), _) => self.base.with_file_name(file),
            (Some((host, file)), _) if !host.contains('/') => Url::tftp(host, file),
            _ if name.starts_with('/') => self.base.with_file_name(name),
            (_, Some(prefix)) => {
                let name = format!("{prefix}{name}");
                match scheme_of(&name) {
                    Some(_) => name.parse(),
                    None => self.base.with_file_name(&name),
                }
            }
            (_, None) => self.base.beside(name),
        }
    }
}

/// Returns the names under which the configuration is searched, in order, each with the
/// name of the machine in it: option 209, the UUID, MAC and IP address, and `default` for all.
pub(super) fn search_list(facts: &Facts) -> Vec<(String, Option<MachineName>)> {
    let mut names = Vec::new();
    if let Some(name) = facts.text_option(209) {
        let kind = "option 209";
        names.push((name.clone(), Some(MachineName { kind, name })));
    }
    // pxelinux asks for the UUID first, in lower case (doc/pxelinux.txt).
    let uuid = facts.smbios("product_uuid").map(|uuid| MachineName {
        kind: "UUID",
        name: uuid.to_ascii_lowercase(),
    });
    for machine in uuid.into_iter().chain(names_of(facts)) {
        names.push((format!("pxelinux.cfg/{}", machine.name), Some(machine)));
    }
    names.push(("pxelinux.cfg/default".to_owned(), None));
    names
}
