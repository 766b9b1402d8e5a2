//! Time as an argument: a monotonic [`Instant`] in microseconds, a small random generator and the
//! [`Backoff`] of RFC 2131 §4.1. No clock is read and no entropy used here.

#![forbid(unsafe_code)]

use crate::prelude::*;
use core::fmt;
use core::ops::{Add, AddAssign};
use core::time::Duration;

/// When this program was built, from SOURCE_DATE_EPOCH of reproducible builds, or released; since
/// 1970. A wall clock that is behind it is wrong.
pub const BUILT_AT: Duration = Duration::from_secs(match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => match u64::from_str_radix(text, 10) {
        Ok(seconds) => seconds,
        Err(_) => RELEASED_AT,
    },
    None => RELEASED_AT,
});
// The beginning of 2026-11-23 in UTC.
const RELEASED_AT: u64 = 1_795_392_000;

/// A point on a monotonic clock, in microseconds since an origin that the driver chooses: an answer
/// on a LAN takes about 50 µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// Returns the instant `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Returns the whole milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Returns the time from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Adds a duration, rounded up to a microsecond so that a deadline is never early.
    fn add(self, duration: Duration) -> Self {
        // Without numbers of 128 bits, whose division is long code.
        let micros = u64::from(duration.subsec_nanos()).div_ceil(1_000);
        let micros = duration
            .as_secs()
            .saturating_mul(1_000_000)
            .saturating_add(micros);
        Self(self.0.saturating_add(micros))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// Returns the first of the instants that are set.
pub fn earliest(instants: &[Option<Instant>]) -> Option<Instant> {
    instants.iter().flatten().min().copied()
}

/// A duration as people read it, in seconds: `{}` has as many decimals as it takes, `{:.1}` one.
///
/// Without floating-point numbers, whose parsing and formatting add 25 KiB to a small program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let needed = [1_000, 100, 10]
            .iter()
            .filter(|unit| !millis.is_multiple_of(**unit))
            .count();
        let decimals = f.precision().unwrap_or(needed).min(3);
        let unit = [1_000, 100, 10].get(decimals).copied().unwrap_or(1);
        let rounded = (millis + unit / 2) / unit * unit;
        write!(f, "{}", rounded / 1_000)?;
        match decimals {
            0 => Ok(()),
            _ => write!(f, ".{:0decimals$}", rounded % 1_000 / unit),
        }
    }
}

/// Parses a time in seconds, whole or with decimals; none for anything else, and for more than a
/// year.
pub fn parse_seconds(text: &str) -> Option<Duration> {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && decimals.is_empty()) || !digits(whole) || !digits(decimals) {
        return None;
    }
    let seconds = format!("0{whole}").parse().ok()?;
    let nanoseconds = format!("{decimals:0<9.9}").parse().ok()?;
    Some(Duration::new(seconds, nanoseconds)).filter(|time| *time <= YEAR)
}

/// A point on the wall clock, in nanoseconds since 1970: for messages and files, never for waiting.
/// It ends in the year 2554.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Returns the point `seconds` and `nanoseconds` after the beginning of 1970.
    #[inline(always)]
    pub const fn new(seconds: u64, nanoseconds: u32) -> Self {
        // Called for every captured frame, so without a check for overflow, which only a broken
        // clock causes.
        let seconds = seconds.wrapping_mul(NANOSECONDS);
        Self(seconds.wrapping_add(nanoseconds as u64))
    }

    /// Returns the point `nanoseconds` after the beginning of 1970.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Returns the nanoseconds since the beginning of 1970.
    #[inline(always)]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds since the beginning of 1970.
    pub const fn as_secs(self) -> u64 {
        self.0 / NANOSECONDS
    }

    /// Returns the nanoseconds within the second, 0 to 999,999,999.
    pub const fn subsec_nanos(self) -> u64 {
        self.0 % NANOSECONDS
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

impl From<Duration> for Timestamp {
    /// Converts a time since 1970.
    fn from(since_1970: Duration) -> Self {
        Self::new(since_1970.as_secs(), since_1970.subsec_nanos())
    }
}

/// A day of the Gregorian calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    year: u64,
    month: u64,
    day: u64,
}

impl Date {
    /// Returns the day that it is `since_1970` after the beginning of 1970.
    pub const fn at(since_1970: Duration) -> Self {
        // Counted from the first of March of the year 0, leap days come last.
        let days = since_1970.as_secs() / 86_400 + 719_468;
        // An era has 400 years; this is civil_from_days() by Howard Hinnant.
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let (month, next_year) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        Self {
            year: era * 400 + year_of_era + next_year,
            month,
            day: day_of_year - (153 * ((5 * day_of_year + 2) / 153) + 2) / 5 + 1,
        }
    }
}

impl Date {
    /// Returns when the day `text` begins, as YYYY-MM-DD in UTC, since 1970; none when there is no such
    /// day.
    pub fn parse(text: &str) -> Option<Duration> {
        let mut parts = text.splitn(3, '-').map(|part| part.parse::<u32>().ok());
        let mut next = || parts.next().flatten().map(u64::from);
        let (year, month, day) = (next()?, next()?, next()?);
        // The inverse of `at`, days_from_civil() by Howard Hinnant.
        let (year_of_march, months) = if month > 2 {
            (year, month - 3)
        } else {
            (year.checked_sub(1)?, month + 9)
        };
        let (era, year_of_era) = (year_of_march / 400, year_of_march % 400);
        let day_of_year = (153 * months + 2) / 5 + day.checked_sub(1)?;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
        let begin = Duration::from_secs(days * 86_400);
        // The 30th of February is another day.
        (Self::at(begin) == Self { year, month, day }).then_some(begin)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day } = self;
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// The speed below which a server is given up, as curl's `--speed-limit` and `--speed-time` have it.
///
/// With a limit on silence alone, a server that sends a byte now and then could hold up its client
/// for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeedLimit {
    /// Bytes per second; 0 for none.
    pub least: u64,
    /// How long the speed is measured.
    pub time: Duration,
}

impl Default for SpeedLimit {
    /// 512 bytes a second, half of what a modem of 9,600 bit/s carries: a kernel would take hours.
    /// The time is curl's; it is long enough for pauses on a lossy link.
    fn default() -> Self {
        Self {
            least: 512,
            time: Duration::from_secs(30),
        }
    }
}

/// The speed of a transfer, in whatever portions its bytes arrive, against its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeastRate {
    limit: SpeedLimit,
    missing: u64,
    due_at: Instant,
}

impl LeastRate {
    /// Begins to measure at `now`.
    pub fn new(limit: SpeedLimit, now: Instant) -> Self {
        let mut rate = Self {
            limit,
            missing: 0,
            due_at: now,
        };
        rate.begin(now);
        rate
    }

    /// Counts bytes; the next measurement begins once there are enough of them.
    pub fn count(&mut self, len: usize, now: Instant) {
        self.missing = self.missing.saturating_sub(len as u64);
        if self.missing == 0 {
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Instant) {
        let SpeedLimit { least, time } = self.limit;
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.missing = least.saturating_mul(millis).div_ceil(1_000);
        // Without a limit there is nothing to wait for.
        let time = if least == 0 { Duration::MAX } else { time };
        self.due_at = now + time;
    }

    /// Returns when the transfer is too slow.
    pub const fn due_at(&self) -> Instant {
        self.due_at
    }
}

/// SplitMix64: a seeded sequence good enough for jitter and transaction numbers, and never for
/// keys.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts the sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        // Constants of SplitMix64: Steele, Lea and Flood 2014, with Stafford's mix 13.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns the next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// Returns a number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        // The remainder is below the limit, and so it is a usize.
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next_u64() % limit).unwrap_or_default()
    }

    /// Returns `duration` changed by up to `percent` in either direction.
    pub fn jitter(&mut self, duration: Duration, percent: u32) -> Duration {
        let spread = duration / 100 * percent;
        self.between(duration.saturating_sub(spread), duration + spread)
    }

    /// Returns a duration from `least` to `most`.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        // The remainder prefers some values by less than one part in 10^13.
        let part = self.next_u64() % 1_000_001;
        let spread = most.saturating_sub(least);
        let offset = spread.as_nanos() * u128::from(part) / 1_000_000;
        least + Duration::from_nanos(offset.try_into().unwrap_or(0))
    }
}

/// Retransmission delays that double from `first` to `longest`, each with ±20 % jitter
/// (RFC 2131 §4.1 asks for randomised exponential backoff; the first delay is shorter here,
/// because a booting machine waits for the answer).
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// The jitter, in percent of the delay.
    // RFC 2131 §4.1 has one second either way, which is more than the whole first delay here.
    pub const JITTER_PERCENT: u32 = 20;

    /// Starts at `first` and doubles up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// Returns the next delay and doubles the one after it.
    pub fn next_delay(&mut self, random: &mut Random) -> Duration {
        let delay = self.delay(random);
        self.next = (self.next * 2).min(self.longest);
        delay
    }

    /// Returns the next delay without doubling it.
    pub fn delay(&self, random: &mut Random) -> Duration {
        random.jitter(self.next, Self::JITTER_PERCENT)
    }

    /// Goes back to the first delay.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_they_are_written() {
        for seconds in [0, 951_782_400, 1_709_164_800, 1_795_824_000, 32_503_593_600] {
            let begin = Duration::from_secs(seconds);
            assert_eq!(Date::parse(&Date::at(begin).to_string()), Some(begin));
        }
        for text in [
            "",
            "2026",
            "2026-11",
            "2026-02-30",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "1969-12-31",
            "2026-1-1-1",
            "0-1-1",
            "x-1-1",
            "4294967295-12-31x",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn delays_double_up_to_the_longest_with_a_fifth_of_jitter() {
        let mut random = Random::new(7);
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(16));
        for expected in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 16_000] {
            let delay = backoff.next_delay(&mut random).as_millis();
            assert!((expected * 8 / 10..=expected * 12 / 10).contains(&delay));
        }
        backoff.reset();
        assert!(backoff.next_delay(&mut random) <= Duration::from_millis(600));
    }

    #[test]
    fn what_comes_in_drips_is_too_slow_and_what_comes_at_the_least_rate_is_not() {
        let too_slow_after = |len: usize, seconds: u64| {
            let mut rate = LeastRate::new(SpeedLimit::default(), Instant::ZERO);
            (1..10_000).find(|number| {
                let now = Instant::from_millis(number * seconds * 1_000);
                rate.count(len, now);
                now >= rate.due_at()
            })
        };
        assert_eq!(too_slow_after(1, 1), Some(30));
        assert_eq!(too_slow_after(511, 1), Some(30));
        for (len, seconds) in [(513, 1), (1_468, 2), (7_700, 14), (1 << 20, 29)] {
            assert_eq!(too_slow_after(len, seconds), None, "{len}");
        }
        let unlimited = SpeedLimit {
            least: 0,
            ..SpeedLimit::default()
        };
        let mut rate = LeastRate::new(unlimited, Instant::ZERO);
        rate.count(1, Instant::ZERO);
        assert_eq!(rate.due_at(), Instant::from_millis(u64::MAX));
    }

    #[test]
    fn seconds_are_read_and_shown_with_their_decimals() {
        for (text, millis) in [
            ("0", 0),
            ("60", 60_000),
            ("1.5", 1_500),
            (".25", 250),
            ("2.", 2_000),
        ] {
            assert_eq!(parse_seconds(text), Some(Duration::from_millis(millis)));
        }
        for text in [
            "",
            ".",
            "-1",
            "+1",
            "1e3",
            "NaN",
            "1.5.0",
            "31536001",
            "99999999999999999999",
        ] {
            assert_eq!(parse_seconds(text), None, "{text}");
        }
        let seconds = |millis| Seconds(Duration::from_millis(millis));
        assert_eq!(seconds(60_000).to_string(), "60");
        assert_eq!(seconds(1_500).to_string(), "1.5");
        assert_eq!(seconds(7).to_string(), "0.007");
        assert_eq!(
            format!(
                "{:.1} {:.0} {:.2}",
                seconds(1_960),
                seconds(1_500),
                seconds(1_005)
            ),
            "2.0 2 1.01"
        );
        assert_eq!(format!("{:.1}", seconds(2_000)), "2.0");
    }

    #[test]
    fn a_deadline_is_rounded_up_and_never_overflows() {
        let start = Instant::from_millis(5);
        let next = start + Duration::from_nanos(1);
        assert_eq!(next.since(start), Duration::from_micros(1));
        assert_eq!(start + Duration::MAX, Instant::from_millis(u64::MAX));
        assert_eq!(start.since(Instant::from_millis(9)), Duration::ZERO);
    }

    #[test]
    fn days_are_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_779, "2026-11-22"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            let date = Date::at(Duration::from_secs(days * 86_400 + 86_399));
            assert_eq!(date.to_string(), expected);
        }
    }
}
