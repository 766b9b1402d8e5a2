//! The files of `capture -C`, `-W` and `-G`, with the names that tcpdump gives them.
//!
//! They are created by a process of their own, which knows the name and takes a number and a time: the
//! one that reads frames has given up every path by then.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::{Error, Reason};
use crate::sys::channel::Channel;
use crate::sys::file::Target;
use crate::sys::process::{self, Fork};
use crate::sys::{sandbox, signal, since_1970};
use wireboot_proto::time::Date;

/// When another file is begun, and its name.
#[derive(Debug, Clone, Default)]
pub struct RotationConfig {
    /// The name, with conversions of strftime(3) where there is a limit of time.
    pub name: String,
    /// Bytes after which the next one is begun; 0: any number.
    pub max_len: u64,
    /// Seconds after which the next one is begun; 0: any number.
    pub seconds: u64,
    /// Number of files; 0: any number.
    pub files: u32,
}

impl RotationConfig {
    /// Returns the name of the file with this number, begun so many seconds after 1970.
    ///
    /// # Errors
    /// The conversion that is not known.
    pub fn name(&self, number: u32, time: u64) -> Result<String, String> {
        let mut name = self.name.clone();
        if self.seconds > 0 {
            name = formatted(&name, Duration::from_secs(time))?;
        }
        // As getWflagChars and MakeFilename of tcpdump: the digits of the last of all files, and the
        // first one without a number where their count is not limited.
        let digits = match self.files.saturating_sub(1).checked_ilog10() {
            Some(log) if self.max_len > 0 => log as usize + 1,
            _ => 0,
        };
        if number > 0 || digits > 0 {
            name.push_str(&format!("{number:0digits$}"));
        }
        Ok(name)
    }
}

/// Formats a time in UTC as strftime(3) does in the locale C.
fn formatted(text: &str, time: Duration) -> Result<String, String> {
    // 1970 began with a Thursday.
    const DAYS: &str = "ThuFriSatSunMonTueWed";
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let seconds = time.as_secs();
    let date = Date::at(time).to_string();
    let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
    let year = part(0..4);
    let two = |number: u64| Cow::from(format!("{:02}", number % 100));
    let three = |names: &'static str, index: u64| {
        let at = usize::try_from(index).unwrap_or(0) * 3;
        Cow::from(names.get(at..at + 3).unwrap_or_default())
    };
    let (minutes, hours) = (seconds / 60 % 60, seconds / 3_600 % 24);
    let mut name = String::new();
    let mut rest = text;
    while let Some((before, conversion)) = rest.split_once('%') {
        name.push_str(before);
        let mut letters = conversion.chars();
        let letter = letters.next().unwrap_or_default();
        rest = letters.as_str();
        let value = match letter {
            'Y' => year.into(),
            'y' => part(2..4).into(),
            'm' => part(5..7).into(),
            'd' => part(8..10).into(),
            'j' => {
                let begin = Date::parse(&format!("{year}-01-01")).unwrap_or_default();
                format!("{:03}", (seconds - begin.as_secs()) / 86_400 + 1).into()
            }
            'a' => three(DAYS, seconds / 86_400 % 7),
            'b' => three(MONTHS, part(5..7).parse::<u64>().unwrap_or(1) - 1),
            'H' => two(hours),
            'M' => two(minutes),
            'S' => two(seconds % 60),
            's' => seconds.to_string().into(),
            'F' => Cow::from(date.as_str()),
            'T' => formatted("%H:%M:%S", time)?.into(),
            'R' => formatted("%H:%M", time)?.into(),
            'Z' => "UTC".into(),
            'z' => "+0000".into(),
            '%' => "%".into(),
            _ => {
                return Err(format!(
                    "%{letter} in the name is not supported; there are %Y %y %m %d %j %a %b %H %M %S %s \
                     %F %T %R %Z %z %%"
                ));
            }
        };
        name.push_str(&value);
    }
    Ok(name + rest)
}

/// What comes before the next frame.
#[derive(Debug, PartialEq, Eq)]
pub enum NextFile {
    /// The file that is open.
    Same,
    /// Another one.
    New,
    /// None: all files that are wanted are there.
    Limit,
}

/// The state of a rotation.
#[derive(Debug)]
pub struct Rotation {
    config: RotationConfig,
    /// The other end creates the files.
    channel: Channel,
    /// Since 1970, in seconds, when this period began.
    begun: u64,
    periods: u32,
    number: u32,
}

/// Bytes of a number and a time.
const REQUEST_LEN: usize = 12;

impl Rotation {
    /// Begins with the first file, which is open, at `begun` since 1970, in seconds.
    ///
    /// # Errors
    /// `socketpair` and `fork`: there can be no further file or process.
    pub fn start(config: RotationConfig, begun: u64) -> Result<Self, Error> {
        let failed = |source| {
            let doing = "cannot prepare for more files".to_owned();
            Box::new(Reason::System { doing, source })
        };
        let (channel, other) = Channel::pair().map_err(failed)?;
        let creator = Fork::run(vec![other.as_fd().as_raw_fd()], || {
            process::close_terminal();
            // Those of the terminal go to this process too, whose end is that of the channel.
            signal::block_all();
            for error in sandbox::keep_only(sandbox::CAP_FILES) {
                log::debug!("the process that creates files: {}", error.chain());
            }
            // Until the other end is closed.
            while let Ok(Some((request, _))) = other.receive(REQUEST_LEN) {
                let (number, time) = request.split_at(request.len().min(4));
                let number = u32::from_le_bytes(number.try_into().unwrap_or_default());
                let time = u64::from_le_bytes(time.try_into().unwrap_or_default());
                let name = config.name(number, time);
                let created = name.map(|name| Target::create(Path::new(&name)));
                let sent = match &created {
                    Ok(Ok(file)) => other.send(&[0], &[file.as_fd()]),
                    Ok(Err(error)) => {
                        let number = error.raw_os_error().unwrap_or(0);
                        other.send(&number.to_le_bytes(), &[])
                    }
                    Err(_) => break,
                };
                if sent.is_err() {
                    break;
                }
            }
            0
        })
        .map_err(failed)?;
        // It ends by itself; a sandbox may not signal.
        creator.release();
        Ok(Self {
            config,
            channel,
            begun,
            periods: 0,
            number: 0,
        })
    }

    /// Returns what comes when `len` bytes are in the file: as dump_packet_and_trunc of tcpdump, which looks
    /// when a frame has come.
    pub fn next(&mut self, len: u64) -> NextFile {
        let config = &self.config;
        let mut next = NextFile::Same;
        if config.seconds > 0 {
            let now = since_1970().as_secs();
            if now.saturating_sub(self.begun) >= config.seconds {
                self.begun = now;
                self.periods += 1;
                self.number = 0;
                if config.max_len == 0 && config.files > 0 && self.periods >= config.files {
                    // In tcpdump's words, for programs that read them.
                    eprintln!("Maximum file limit reached: {}", config.files);
                    return NextFile::Limit;
                }
                next = NextFile::New;
            }
        }
        if next == NextFile::Same && config.max_len > 0 && len > config.max_len {
            self.number += 1;
            if config.files > 0 {
                self.number %= config.files;
            }
            next = NextFile::New;
        }
        next
    }

    /// Creates the file that [`Rotation::next`] has said.
    ///
    /// # Errors
    /// Why it cannot be created.
    pub fn create(&self) -> io::Result<File> {
        let mut request = self.number.to_le_bytes().to_vec();
        request.extend(self.begun.to_le_bytes());
        let sent = self.channel.send(&request, &[]);
        let received = sent.and_then(|()| self.channel.receive(REQUEST_LEN));
        let (answer, files) = received.map_err(io::Error::other)?.unwrap_or_default();
        let number = answer.try_into().map(i32::from_le_bytes).unwrap_or(0);
        match files.into_iter().next() {
            Some(file) => Ok(file.into()),
            None => Err(Errno::from_raw(number).into()),
        }
    }

    /// The name of the file that is open.
    pub fn name(&self) -> String {
        let name = self.config.name(self.number, self.begun);
        name.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_tcpdump() {
        let name = |name: &str, max_len, seconds, files| {
            let name = name.to_owned();
            let config = RotationConfig {
                name,
                max_len,
                seconds,
                files,
            };
            [0, 1, 12].map(|number| config.name(number, 1_795_970_645).unwrap())
        };
        assert_eq!(name("f", 1, 0, 0), ["f", "f1", "f12"]);
        assert_eq!(name("f", 1, 0, 1)[0], "f");
        assert_eq!(name("f", 1, 0, 10), ["f0", "f1", "f12"]);
        assert_eq!(name("f", 1, 0, 11), ["f00", "f01", "f12"]);
        assert_eq!(name("f%S", 1, 0, 0)[0], "f%S");
        assert_eq!(name("f-%S", 1, 9, 200), ["f-05000", "f-05001", "f-05012"]);
        assert_eq!(name("f", 0, 9, 200)[0], "f");
    }

    #[test]
    fn times_are_those_of_strftime() {
        let text = "%Y%y %m%d %j %a %b %H%M%S %s %F %T %R %Z %z %% x";
        // `date -u -d @… +…`
        for (time, expected) in [
            (
                1_795_970_645,
                "202626 1129 333 Sun Nov 164405 1795970645 2026-11-29 16:44:05 16:44 UTC +0000 % x",
            ),
            (
                1_709_164_799,
                "202424 0228 059 Wed Feb 235959 1709164799 2024-02-28 23:59:59 23:59 UTC +0000 % x",
            ),
            (
                1_735_603_200,
                "202424 1231 366 Tue Dec 000000 1735603200 2024-12-31 00:00:00 00:00 UTC +0000 % x",
            ),
        ] {
            assert_eq!(
                formatted(text, Duration::from_secs(time)).unwrap(),
                expected
            );
        }
        for unknown in ["%Q", "x%"] {
            let error = formatted(unknown, Duration::ZERO).unwrap_err();
            assert!(error.contains("is not supported"), "{error}");
        }
    }
}
