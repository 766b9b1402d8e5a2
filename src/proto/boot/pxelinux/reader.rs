//! Reads the files of a configuration: the first, and in its place in them each file that they name.

use super::super::context::{Context, Turn};
use super::super::plan::{Place, PlanError};
use super::super::step::{Answer, FetchResult};
use super::config::{Config, ReadNext};
use super::paths::FolderPrefix;
use super::words::display_text;
use crate::prelude::*;
use crate::text::url::Url;

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
