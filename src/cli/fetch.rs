//! `wireboot fetch`: files by tftp, http and https into files that are whole or not there.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::flags::{Arguments, Flag, start_logging};
use crate::error::Error;
use crate::fetch::{Board, Clock, Fetcher, Style};
use crate::plan::url::{Url, UrlError};
use crate::sys::file;
use crate::verify::MAX_SUMS_LEN;

const HELP: &str = "\
usage: wireboot fetch [FLAG]… URL…

Fetches files by tftp://, http:// and https://. A file appears under its name only when it has
come whole and is what was asked for: has the hash that #sha256=… behind its URL asks for, that
is listed, or a good signature. A FIFO, a device and /dev/stdout are written into once it has.

  -o, --output FILE     the name to store it under; - is standard output; with several URLs the
                        directory (the last part of each URL's path, here)
      --mirrors         the URLs are all of one file; the first that gives it counts
      --parallel N      fetch up to N files at a time (4)
  -i, --interface IF    send and receive on this interface only
      --sums URL        take hashes from this list, as sha256sum writes it; a path names a file here
      --key KEY         take only what this minisign key signed: each file has its signature beside
                        it, named .minisig, or the list of hashes has; a file or the key itself;
                        may be given several times
      --require-signature
                        end when no key is given
      --ca FILE         trust only the certificates in this PEM file, of authorities or of servers
                        themselves (the system's)
      --cert FILE       show https servers the certificate in this PEM file, which has its key too
      --ntp ADDRESS     the server to ask for the time when a certificate is to be judged and the
                        machine's clock is behind
      --mtu OCTETS      the largest packet that the path carries (as the route to the server says)
      --max-size OCTETS refuse a file that is longer
      --stall-timeout SECS
                        give up when nothing has come for so long (15); with --mirrors, the
                        next is asked after 5 at first; in any case when less than 15 KiB
                        come within 30 s
      --json            tell how it goes by one JSON object a line, on standard output
  -v, --verbose         say every step; twice: every packet
  -q, --quiet           say nothing but errors
  -h, --help            print this text

The environment's http_proxy, https_proxy, all_proxy and no_proxy are followed.
";

/// What the arguments ask for.
struct Request {
    fetcher: Fetcher,
    urls: Vec<Url>,
    output: Option<PathBuf>,
    mirrors: bool,
    parallel: usize,
    sums: Option<String>,
    time_servers: Vec<std::net::IpAddr>,
    must_be_signed: bool,
    max_len: u64,
    verbosity: usize,
    quiet: bool,
    is_json: bool,
}

pub(super) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let mut request = Request {
        fetcher: Fetcher::default(),
        urls: Vec::new(),
        output: None,
        mirrors: false,
        parallel: 4,
        sums: None,
        time_servers: Vec::new(),
        must_be_signed: false,
        max_len: u64::MAX,
        verbosity: 0,
        quiet: false,
        is_json: false,
    };
    while let Some(flag) = arguments.next()? {
        if flag.is('h', "help") {
            print!("{HELP}");
            return Ok(());
        }
        request.take(flag, &mut arguments)?;
    }
    start_logging(match (request.quiet, request.verbosity) {
        (true, _) => log::LevelFilter::Error,
        (false, 0) => log::LevelFilter::Info,
        (false, 1) => log::LevelFilter::Debug,
        (false, _) => log::LevelFilter::Trace,
    });
    request.run()
}

impl Request {
    fn take(&mut self, flag: Flag, arguments: &mut Arguments) -> Result<(), Error> {
        match &flag {
            flag if flag.is('o', "output") => self.output = Some(arguments.value()?.into()),
            flag if flag.is('i', "interface") => self.fetcher.interface = Some(arguments.value()?),
            flag if flag.is('q', "quiet") => self.quiet = true,
            flag if flag.is('v', "verbose") => self.verbosity += 1,
            Flag::Long(name) => match name.as_str() {
                "mirrors" => self.mirrors = true,
                "parallel" => self.parallel = arguments.parse("a number of files")?,
                "sums" => self.sums = Some(arguments.value()?),
                "key" => self.add_key(&arguments.value()?)?,
                "require-signature" => self.must_be_signed = true,
                "ca" => self.fetcher.ca = Some(arguments.value()?.into()),
                "cert" => self.fetcher.client_certificate = Some(arguments.value()?.into()),
                "ntp" => self.time_servers.push(arguments.parse("an IP address")?),
                "stall-timeout" => self.fetcher.stall_timeout = arguments.seconds()?,
                "json" => self.is_json = true,
                "mtu" => {
                    let mtu = arguments.parse("a number of octets, 68 to 65535")?;
                    self.fetcher.path_mtu = Some(mtu);
                }
                "max-size" => self.max_len = arguments.parse("a number of octets")?,
                _ => return Err(flag.unexpected()),
            },
            Flag::Value(text) => self.urls.push(text.parse().map_err(no_url)?),
            Flag::Short(_) => return Err(flag.unexpected()),
        }
        Ok(())
    }

    /// Adds a key that is in a file, or is the key itself.
    fn add_key(&mut self, value: &str) -> Result<(), Error> {
        let text = std::fs::read_to_string(value).unwrap_or_else(|_| value.to_owned());
        let added = self.fetcher.keys.add(&text);
        added.map_err(|fault| Error::Usage(format!("--key {value}: {fault}")))
    }

    fn run(mut self) -> Result<(), Error> {
        let to_output = self.output.as_deref() == Some(Path::new("-"));
        let refuse = |why: &str| Err(Error::Usage(why.to_owned()));
        if self.urls.is_empty() {
            eprint!("{HELP}");
            return refuse("no URL given");
        } else if self.must_be_signed && self.fetcher.keys.is_empty() {
            return refuse("a signature is required, and no --key says whose");
        } else if to_output && self.is_json {
            return refuse("standard output takes the file or --json, not both");
        } else if to_output && (self.urls.len() > 1 || io::stdout().is_terminal()) {
            return refuse("standard output takes one file, and not on a terminal");
        }
        self.fetcher.board = Board::new(match self.is_json {
            true => Style::Json,
            false => Style::for_people(self.quiet),
        });
        self.fetcher.clock = Clock::of(std::mem::take(&mut self.time_servers));
        if let Some(sums) = self.sums.take() {
            self.fetcher.sums = Some(self.list_of_hashes(&sums)?);
        }
        match self.urls.first() {
            Some(url) if to_output => return print_out(&self.fetcher, url, self.max_len),
            Some(url) if self.mirrors => {
                let target = target(url, self.output.as_deref(), false)?;
                return self.fetcher.save_from(&self.urls, self.max_len, &target);
            }
            Some(_) | None => {}
        }
        let several = self.urls.len() > 1;
        // All names are known to be good before the first octet is asked for.
        let targets = self.urls.iter().map(|url| {
            let target = target(url, self.output.as_deref(), several)?;
            Ok((url, target))
        });
        let targets: Vec<_> = targets.collect::<Result<_, Error>>()?;
        self.save_all(&targets)
    }

    /// Stores all files, some at a time; returns the first failure once all have ended.
    fn save_all(&self, targets: &[(&Url, PathBuf)]) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let work = || {
                while let Some((url, target)) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = self.fetcher.save(url, self.max_len, target)
                        && let Ok(mut failures) = failures.lock()
                    {
                        failures.push(error);
                    }
                }
            };
            for _ in 1..self.parallel.clamp(1, targets.len().max(1)) {
                scope.spawn(work);
            }
            work();
        });
        let mut failures = failures.into_inner().unwrap_or_default().into_iter();
        let Some(first) = failures.next() else {
            return Ok(());
        };
        // The last line of all is about the first failure.
        failures.for_each(|error| log::error!("{}", error.chain()));
        Err(first)
    }

    fn list_of_hashes(&self, place: &str) -> Result<crate::verify::Sums, Error> {
        let Ok(url) = place.parse::<Url>() else {
            let unusable = |why: String| Error::Usage(format!("--sums {place}: {why}"));
            let text = std::fs::read_to_string(place);
            let text = text.map_err(|error| unusable(error.to_string()))?;
            return text
                .parse()
                .map_err(|fault: crate::verify::Fault| unusable(fault.to_string()));
        };
        let unverified = |why: String| Error::Verification {
            what: url.to_string(),
            why,
        };
        let file = self.fetcher.need(&url, MAX_SUMS_LEN)?;
        let content = file.reader(0..MAX_SUMS_LEN);
        let content = content.map_err(|error| unverified(error.chain()))?;
        let text = io::read_to_string(content);
        let text = text.map_err(|error| unverified(error.to_string()))?;
        text.parse()
            .map_err(|fault: crate::verify::Fault| unverified(fault.to_string()))
    }
}

fn no_url(error: UrlError) -> Error {
    Error::Usage(error.to_string())
}

/// Returns the path to store the file of `url` under.
fn target(url: &Url, output: Option<&Path>, several: bool) -> Result<PathBuf, Error> {
    let named = || match url.file_name() {
        "" | "." | ".." => Err(Error::Usage(format!(
            "{url} ends in no file name; say one with -o"
        ))),
        // Over TFTP a backslash separates too, and a name may hold a %2F.
        name => Ok(name.rsplit(['/', '\\']).next().unwrap_or(name)),
    };
    match output {
        None => Ok(PathBuf::from(named()?)),
        Some(output) if several || output.is_dir() => Ok(output.join(named()?)),
        Some(output) => Ok(output.to_owned()),
    }
}

/// Writes the file to standard output once it is whole and verified.
fn print_out(fetcher: &Fetcher, url: &Url, max_len: u64) -> Result<(), Error> {
    let failed = |source| Error::Fetch {
        url: url.to_string(),
        source,
    };
    let file = fetcher.need(url, max_len)?;
    let content = file.reader(0..u64::MAX);
    let mut content = content.map_err(|error| failed(error.into()))?;
    file::copy(&mut content, &mut io::stdout().lock()).map_err(|error| failed(error.into()))?;
    Ok(())
}
