//! Reads the files of a configuration: the first, and in its place in them each file that they name; with the
//! names by which the first is searched, and how a file name is resolved.

use crate::prelude::*;

use super::super::context::{Context, Turn};
use super::super::facts::Facts;
use super::super::loaders::{MachineName, names_of};
use super::super::plan::{Place, PlanError};
use super::super::step::{Answer, FetchResult};
use super::config::{Config, ReadNext};
use super::words::display_text;
use crate::text::url::{Url, UrlError, scheme_of};

/// Limit of files read by INCLUDE and CONFIG; CONFIG can loop.
const MAX_FILES: usize = 64;
/// Limit of nested INCLUDEs; a file can include itself.
const MAX_DEPTH: usize = 16;

/// The files that are being read.
#[derive(Debug, Default)]
pub(super) struct ConfigReader {
    /// What is still to be read; the innermost is the last.
    sources: Vec<Source>,
    /// The file that is on its way.
    fetching: Option<NamedFile>,
    files_read: usize,
}

/// Source of the next line.
#[derive(Debug)]
enum Source {
    /// The lines of a file, and the place of the last one.
    Lines(Place, alloc::vec::IntoIter<String>),
    /// A file to be fetched.
    Wanted(Box<NamedFile>),
    /// The end of a submenu.
    MenuEnd,
}

/// A file that a configuration names.
#[derive(Debug)]
pub(super) struct NamedFile {
    pub(super) url: Url,
    /// Where it may be otherwise.
    fallback: Option<Url>,
    from: Place,
    purpose: ReadPurpose,
}

/// Purpose of a file that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadPurpose {
    /// A part of the configuration, which may be missing.
    Include,
    /// The configuration itself.
    Config,
    /// A text to be shown.
    Display,
}

impl NamedFile {
    /// Returns the request for the file of this name.
    pub(super) fn new(
        name: &str,
        from: &Place,
        purpose: ReadPurpose,
        prefix: &FolderPrefix,
    ) -> Result<Self, PlanError> {
        let url = prefix.resolve(name, from)?;
        let fallback = prefix.fallback();
        let fallback = fallback.map(|prefix| prefix.resolve(name, from));
        Ok(Self {
            fallback: fallback.transpose()?.filter(|other| *other != url),
            purpose,
            ..Self::of_url(&url, from)
        })
    }

    /// Returns the request for the configuration at `url`.
    pub(super) fn of_url(url: &Url, from: &Place) -> Self {
        Self {
            url: url.clone(),
            fallback: None,
            from: from.clone(),
            purpose: ReadPurpose::Config,
        }
    }
}

impl ConfigReader {
    /// Makes a file that has been fetched the only one that is read.
    pub(super) fn open(
        &mut self,
        url: &Url,
        text: &[u8],
        context: &mut Context,
    ) -> Result<(), PlanError> {
        self.count_file(&Place::whole(url))?;
        self.sources = vec![lines_of(url, text, context)?];
        Ok(())
    }

    /// Reads these files in their order before what is left.
    pub(super) fn read_later(&mut self, requests: Vec<NamedFile>) {
        let requests = requests.into_iter().rev();
        let requests = requests.map(|request| Source::Wanted(Box::new(request)));
        self.sources.extend(requests);
    }

    /// Handles the answer to the last request, and reads on into `config`; returns none when
    /// everything is read.
    pub(super) fn next(
        &mut self,
        answer: Answer,
        config: &mut Config,
        prefix: &FolderPrefix,
        context: &mut Context,
    ) -> Result<Option<Turn>, PlanError> {
        if let Some(request) = self.fetching.take()
            && let Some(turn) = self.received(request, answer, config, context)?
        {
            return Ok(Some(turn));
        }
        loop {
            match self.sources.last_mut() {
                None => return Ok(None),
                Some(Source::Lines(place, lines)) => {
                    let Some(line) = lines.next() else {
                        self.sources.pop();
                        continue;
                    };
                    place.advance();
                    let place = place.clone();
                    for input in config.line(&line, &place).into_iter().rev() {
                        let wanted = |name: &str, purpose| {
                            let request = NamedFile::new(name, &place, purpose, prefix)?;
                            Ok(Source::Wanted(Box::new(request)))
                        };
                        self.sources.push(match input {
                            ReadNext::MenuEnd => Source::MenuEnd,
                            ReadNext::Include(name) => wanted(&name, ReadPurpose::Include)?,
                            ReadNext::Display(name) => wanted(&name, ReadPurpose::Display)?,
                        });
                    }
                }
                Some(Source::MenuEnd | Source::Wanted(_)) => match self.sources.pop() {
                    Some(Source::Wanted(request)) => {
                        self.count_file(&request.from)?;
                        let turn = Turn::configuration(request.url.clone());
                        self.fetching = Some(*request);
                        return Ok(Some(turn));
                    }
                    _ => config.end_menu(),
                },
            }
        }
    }

    fn received(
        &mut self,
        mut request: NamedFile,
        answer: Answer,
        config: &mut Config,
        context: &mut Context,
    ) -> Result<Option<Turn>, PlanError> {
        let (url, from) = (&request.url, &request.from);
        match (answer.into_fetched(), request.purpose) {
            (FetchResult::Missing, _) if request.fallback.is_some() => {
                request.url = request.fallback.take().unwrap_or(request.url);
                let turn = Turn::configuration(request.url.clone());
                self.fetching = Some(request);
                return Ok(Some(turn));
            }
            (FetchResult::File(text), ReadPurpose::Display) => {
                context.budget.read(from, text.len())?;
                config.says.push(display_text(&text));
            }
            (FetchResult::File(text), ReadPurpose::Include | ReadPurpose::Config) => {
                let is_file = |source: &&Source| matches!(source, Source::Lines(..));
                if self.sources.iter().filter(is_file).count() >= MAX_DEPTH {
                    let what = format!("INCLUDE nests deeper than {MAX_DEPTH} files");
                    return Err(PlanError::new(from, &url.to_string(), what));
                }
                context.note(from, format!("includes {url}"));
                self.sources.push(lines_of(url, &text, context)?);
            }
            (FetchResult::Missing, ReadPurpose::Config) => {
                let what = "the server has no such file";
                return Err(PlanError::new(from, &url.to_string(), what));
            }
            (FetchResult::Missing, ReadPurpose::Include | ReadPurpose::Display) => {
                // pxelinux continues without it, and real trees include files that may be missing.
                context.note(from, format!("{url} not found, skipped"));
            }
            (FetchResult::Failed(why), ReadPurpose::Display) => {
                context.note(from, format!("{url} is not shown: {why}"));
            }
            (FetchResult::Failed(why), _) => {
                return Err(PlanError::new(from, &url.to_string(), why));
            }
        }
        Ok(None)
    }

    fn count_file(&mut self, place: &Place) -> Result<(), PlanError> {
        self.files_read += 1;
        if self.files_read > MAX_FILES {
            let what = format!("more than {MAX_FILES} configuration files; do they loop?");
            return Err(PlanError::at(place, what));
        }
        Ok(())
    }
}

fn lines_of(url: &Url, text: &[u8], context: &mut Context) -> Result<Source, PlanError> {
    let place = Place::whole(url);
    context.budget.read(&place, text.len())?;
    // Editors of Windows put a byte order mark in front.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = String::from_utf8_lossy(text);
    let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    Ok(Source::Lines(place, lines.into_iter()))
}

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
