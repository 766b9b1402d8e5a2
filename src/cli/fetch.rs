//! `wireboot fetch`: fetches files by tftp, http and https; a target file is complete or absent.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Reason};
use crate::fetch::{self, Board, Clock, Fetcher, Names, STALL_TIMEOUT, ServerAccess, Style};
use crate::settings::options::{FetchOptions, Settings};
use crate::trust;
use wireboot_proto::text::url::{Url, UrlError};
use wireboot_proto::time::SpeedLimit;
use wireboot_proto::trust::sums::{MAX_SUMS_LEN, Sums, SumsError};

pub(super) fn run(settings: Settings) -> Result<(), Error> {
    let urls = settings.operands.iter().map(|text| text.parse());
    let urls: Vec<Url> = urls.collect::<Result<_, _>>().map_err(invalid_url)?;
    let to_output = settings.fetch.output.as_deref() == Some(Path::new("-"));
    let refuse = |why: &str| Err(Box::new(Reason::Usage(why.to_owned())));
    if urls.is_empty() {
        return refuse("no URL given; see 'wireboot fetch --help'");
    } else if settings.config.link.interfaces.len() > 1 {
        return refuse(
            "fetch uses one interface, but -i names several; see 'wireboot fetch --help'",
        );
    } else if settings.config.trust.must_be_signed && settings.config.trust.keys.is_empty() {
        return refuse("--require-signature needs a --key");
    } else if to_output && settings.json {
        return refuse("the file and --json cannot both go to standard output");
    } else if to_output && (urls.len() > 1 || io::stdout().is_terminal()) {
        return refuse("only one file can go to standard output, and not to a terminal");
    }
    fetch::check(&settings.config)?;
    let request = FetchJob {
        fetcher: fetcher(&settings)?,
        max_len: settings.fetch.max_len.unwrap_or(u64::MAX),
        options: settings.fetch,
        urls,
    };
    request.run(to_output)
}

fn fetcher(settings: &Settings) -> Result<Fetcher, Error> {
    let (config, options) = (&settings.config, &settings.fetch);
    let stall_timeout = options.stall_timeout.unwrap_or(STALL_TIMEOUT);
    let mut speed = config.fetch.speed;
    // Who lets a server be silent for longer does not want to give it up for that.
    if speed.time == SpeedLimit::default().time {
        speed.time = speed.time.max(stall_timeout);
    }
    let interface = config.link.interfaces.first();
    let mut fetcher = Fetcher {
        access: ServerAccess {
            names: Arc::new(Names::read(None, interface.map(String::as_str))),
            interface: interface.cloned(),
            path_mtu: options.path_mtu,
            ca: config.fetch.ca.as_ref().map(PathBuf::from),
            client_certificate: config.fetch.certificate.as_ref().map(PathBuf::from),
            clock: Clock::of(options.time_servers.clone()),
            ..ServerAccess::default()
        },
        stall_timeout,
        speed,
        board: Board::new(if settings.json {
            Style::Json
        } else {
            Style::for_people(config.output.quiet)
        }),
        ..Fetcher::default()
    };
    for key in &config.trust.keys {
        trust::add_key(&mut fetcher.keys, key)?;
    }
    fetcher.use_workers(&config.trust.sandbox);
    Ok(fetcher)
}

/// The files to fetch and their options.
struct FetchJob {
    fetcher: Fetcher,
    urls: Vec<Url>,
    options: FetchOptions,
    max_len: u64,
}

impl FetchJob {
    fn run(mut self, to_output: bool) -> Result<(), Error> {
        if let Some(sums) = &self.options.sums {
            self.fetcher.sums = Some(self.read_sums(sums)?);
        }
        let output = self.options.output.as_deref();
        match self.urls.first() {
            Some(_) if to_output => {
                let (output, name) = (&mut io::stdout().lock(), Path::new("standard output"));
                return (self.fetcher).write_out(&self.urls, self.max_len, name, output);
            }
            Some(url) if self.options.mirrors => {
                let target = target(url, output, false)?;
                return self.fetcher.save_from(&self.urls, self.max_len, &target);
            }
            Some(_) | None => {}
        }
        let has_several = self.urls.len() > 1;
        // Before anything is fetched, so that a bad name costs no transfer.
        let targets = self.urls.iter().map(|url| {
            let target = target(url, output, has_several)?;
            Ok((url, target))
        });
        let targets: Vec<_> = targets.collect::<Result<_, Error>>()?;
        self.save_all(&targets)
    }

    /// Fetches all files, several at a time; returns the first failure once all have ended.
    fn save_all(&self, targets: &[(&Url, PathBuf)]) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let work = || {
                // Relaxed: it only has each number taken once.
                while let Some((url, target)) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = self.fetcher.save(url, self.max_len, target)
                        && let Ok(mut failures) = failures.lock()
                    {
                        failures.push(error);
                    }
                }
            };
            for _ in 1..usize::from(self.options.parallel).min(targets.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut failures = failures.into_inner().unwrap_or_default().into_iter();
        let Some(first) = failures.next() else {
            return Ok(());
        };
        // Logged before the first one, which the caller prints.
        failures.for_each(|error| log::error!("{}", error.chain()));
        Err(first)
    }

    fn read_sums(&self, place: &str) -> Result<Sums, Error> {
        let Ok(url) = place.parse::<Url>() else {
            let unusable = |why: String| Box::new(Reason::Usage(format!("--sums {place}: {why}")));
            let text = std::fs::read_to_string(place);
            let text = text.map_err(|error| unusable(error.to_string()))?;
            return text
                .parse()
                .map_err(|fault: SumsError| unusable(fault.to_string()));
        };
        let unverified = |why: String| {
            Box::new(Reason::Verification {
                what: url.to_string(),
                why,
            })
        };
        let file = self.fetcher.need(&url, MAX_SUMS_LEN)?;
        let content = file.reader(0..MAX_SUMS_LEN);
        let content = content.map_err(|error| unverified(error.chain()))?;
        let text = io::read_to_string(content);
        let text = text.map_err(|error| unverified(error.to_string()))?;
        text.parse()
            .map_err(|fault: SumsError| unverified(fault.to_string()))
    }
}

fn invalid_url(error: UrlError) -> Error {
    Box::new(Reason::Usage(error.to_string()))
}

/// Returns the path under which the file of `url` is stored.
fn target(url: &Url, output: Option<&Path>, has_several: bool) -> Result<PathBuf, Error> {
    let named = || match url.file_name() {
        "" | "." | ".." => Err(Box::new(Reason::Usage(format!(
            "{url} does not end in a file name; give one with -o"
        )))),
        // Over TFTP a backslash is a separator too, and an encoded %2F is decoded.
        name => Ok(name.rsplit(['/', '\\']).next().unwrap_or(name)),
    };
    match output {
        None => Ok(PathBuf::from(named()?)),
        Some(output) if has_several || output.is_dir() => Ok(output.join(named()?)),
        Some(output) => Ok(output.to_owned()),
    }
}
