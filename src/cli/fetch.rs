//! `wireboot fetch`: files by tftp, http and https into files that are whole or not there.

use std::io::{self, IsTerminal, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::flags::{Arguments, Flag, start_logging};
use crate::error::Error;
use crate::fetch::{Board, Fetcher, STALL_TIMEOUT, Style};
use crate::plan::url::Url;

const HELP: &str = "\
usage: wireboot fetch [FLAG]… URL…

Fetches files by tftp://, http:// and https://. A file appears under its name only when it has
come whole and has the hash that #sha256=… behind its URL asks for.

  -o, --output FILE     the name to store it under; - is standard output; with several URLs the
                        directory (the last part of each URL's path, here)
  -i, --interface IF    send and receive on this interface only
      --ca FILE         trust only the authorities in this PEM file (the system's)
      --mtu OCTETS      the largest packet that the path carries (1500)
      --max-size OCTETS refuse a file that is longer
      --stall-timeout SECS
                        give up when nothing has come for so long (15)
      --json            tell how it goes by one JSON object a line, on standard output
  -v, --verbose         say every step; twice: every packet
  -q, --quiet           say nothing but errors
  -h, --help            print this text
";

pub(super) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let mut urls = Vec::new();
    let mut output = None;
    let mut max_len = u64::MAX;
    let mut verbosity = log::LevelFilter::Info;
    let mut is_verbose = false;
    let mut fetcher = Fetcher {
        interface: None,
        path_mtu: 1500,
        ca: None,
        stall_timeout: STALL_TIMEOUT,
        board: Board::new(Style::Silent),
    };
    let (mut quiet, mut is_json) = (false, false);
    while let Some(flag) = arguments.next()? {
        match &flag {
            flag if flag.is('h', "help") => {
                print!("{HELP}");
                return Ok(());
            }
            flag if flag.is('o', "output") => output = Some(PathBuf::from(arguments.value()?)),
            flag if flag.is('i', "interface") => fetcher.interface = Some(arguments.value()?),
            flag if flag.is('q', "quiet") => {
                quiet = true;
                verbosity = log::LevelFilter::Error;
            }
            flag if flag.is('v', "verbose") => {
                verbosity = match is_verbose {
                    true => log::LevelFilter::Trace,
                    false => log::LevelFilter::Debug,
                };
                is_verbose = true;
            }
            Flag::Long(name) if name == "ca" => {
                fetcher.ca = Some(PathBuf::from(arguments.value()?));
            }
            Flag::Long(name) if name == "stall-timeout" => {
                fetcher.stall_timeout = arguments.seconds()?;
            }
            Flag::Long(name) if name == "json" => is_json = true,
            Flag::Long(name) if name == "mtu" => {
                fetcher.path_mtu = arguments.parse("a number of octets, 68 to 65535")?;
            }
            Flag::Long(name) if name == "max-size" => {
                max_len = arguments.parse("a number of octets")?;
            }
            Flag::Value(text) => {
                let url: Url = text
                    .parse()
                    .map_err(|error: crate::plan::url::UrlError| Error::Usage(error.to_string()))?;
                urls.push(url);
            }
            Flag::Short(_) | Flag::Long(_) => return Err(flag.unexpected()),
        }
    }
    start_logging(verbosity);
    fetcher.board = Board::new(match is_json {
        true if output.as_deref() == Some(Path::new("-")) => {
            let why = "standard output takes the file or --json, not both";
            return Err(Error::Usage(why.to_owned()));
        }
        true => Style::Json,
        false => Style::for_people(quiet),
    });
    if urls.is_empty() {
        return Err(Error::Usage(format!("no URL given\n{HELP}")));
    }
    let several = urls.len() > 1;
    // All names are known to be good before the first octet is asked for.
    let targets: Result<Vec<_>, Error> = urls
        .iter()
        .map(|url| Ok((url, target(url, output.as_deref(), several)?)))
        .collect();
    for (url, target) in targets? {
        match target {
            Some(path) => fetcher.save(url, max_len, &path)?,
            None => print_out(&fetcher, url, max_len)?,
        }
    }
    Ok(())
}

/// Returns the path to store the file of `url` under; none for standard output.
fn target(url: &Url, output: Option<&Path>, several: bool) -> Result<Option<PathBuf>, Error> {
    let named = || match url.file_name() {
        "" | "." | ".." => Err(Error::Usage(format!(
            "{url} ends in no file name; say one with -o"
        ))),
        // Over TFTP a backslash separates too, and a name may hold a %2F.
        name => Ok(name.rsplit(['/', '\\']).next().unwrap_or(name)),
    };
    match output {
        None => Ok(Some(PathBuf::from(named()?))),
        Some(output) if output == Path::new("-") => match several || io::stdout().is_terminal() {
            true => Err(Error::Usage(
                "standard output takes one file, and not on a terminal".to_owned(),
            )),
            false => Ok(None),
        },
        Some(output) if several || output.is_dir() => Ok(Some(output.join(named()?))),
        Some(output) => Ok(Some(output.to_owned())),
    }
}

/// Writes the file to standard output once it is whole and verified.
fn print_out(fetcher: &Fetcher, url: &Url, max_len: u64) -> Result<(), Error> {
    let failed = |source: crate::error::Cause| Error::Fetch {
        url: url.to_string(),
        source,
    };
    let missing = || failed("the server has no such file".into());
    let file = fetcher.get(url, max_len)?.ok_or_else(missing)?;
    let mut content = file.file();
    content
        .seek(SeekFrom::Start(0))
        .and_then(|_| io::copy(&mut content, &mut io::stdout().lock()))
        .map_err(|error| failed(error.into()))?;
    Ok(())
}
