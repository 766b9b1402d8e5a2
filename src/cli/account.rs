//! `wireboot account`: where the time of the last lease or boot went, as moments and steps, and as bars on
//! one axis, as a browser's waterfall: in the width of a terminal, and as SVG.

use std::fmt::Write;

use crate::error::{Error, Reason};
use crate::settings::options::Settings;
use crate::sys::terminal::print;
use crate::timeline::{self, BEGUN, COMPLETE, FAILED, REQUESTED, Timeline};
use wireboot_proto::text::json::Json;
use wireboot_proto::text::safe::Safe;

/// Prints the moments, below them the bars, and last how long each step took.
pub(super) fn run(settings: &Settings) -> Result<(), Error> {
    let (people, programs) = Timeline::read().map_err(|error| {
        Box::new(Reason::Usage(format!(
            "no lease or boot on this machine since it was started: {}: {error}",
            timeline::FILE
        )))
    })?;
    if settings.json {
        print(&programs);
        return Ok(());
    }
    #[cfg(feature = "hand")]
    if let Some(path) = &settings.svg {
        return draw(path, &Chart::read(&programs).svg());
    }
    #[cfg(feature = "hand")]
    let people = {
        let width = crate::sys::descriptor::columns().unwrap_or(80);
        let bars = Chart::read(&programs).text(width);
        let (moments, steps) = people.trim_end().rsplit_once('\n').unwrap_or(("", &people));
        format!("{moments}\n\n{bars}\n{steps}\n")
    };
    print(&people);
    Ok(())
}

/// Writes a drawing to a file, or to standard output.
#[cfg(feature = "hand")]
fn draw(path: &std::path::Path, svg: &str) -> Result<(), Error> {
    if path.as_os_str() == "-" {
        print(svg);
        return Ok(());
    }
    // A device is written to, and not replaced.
    crate::sys::files::output(path, svg.as_bytes()).map_err(|source| {
        Box::new(Reason::Output {
            target: path.display().to_string(),
            source,
        })
    })
}

/// Columns of the shortest and of the longest axis: a second's hundredth of a minute is still seen.
const AXIS: std::ops::RangeInclusive<usize> = 10..=120;
/// Columns behind the axis, for the time that a bar took.
const TIME_WIDTH: usize = 10;
/// Most bars that are drawn: a boot has some dozens, and a script may fetch for ever.
const MAX_BARS: usize = 500;

/// Pixels of the SVG.
const ROW: usize = 20;
const LABEL: usize = 360;
const WIDTH: usize = 1000;

/// A step or a file, in microseconds since the first moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bar {
    name: String,
    from: u64,
    to: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Step,
    File,
    Failed,
}

/// All bars, and the length of the axis.
#[derive(Debug)]
struct Chart {
    bars: Vec<Bar>,
    total: u64,
}

impl Chart {
    /// Reads the JSON of a timeline; there are no bars in anything else.
    fn read(timeline: &str) -> Self {
        // As long as it may be: the file is of this program.
        let timeline = Json::parse_within(timeline, u32::MAX).unwrap_or(Json::Other);
        let moments = timeline.array("moments").iter();
        let moment = |moment| Some((Json::number(moment, "at_us")?, moment.text("what")?));
        // Those of a lease are behind later ones; the two of a file are in their order.
        let moments: Vec<_> = moments.filter_map(moment).collect();
        let first = moments.iter().map(|(at, _)| *at).min().unwrap_or(0);
        let begun = moments.iter().find(|(_, what)| *what == BEGUN);
        let mut from = begun.map_or(first, |(at, _)| *at) - first;
        let mut bars = Vec::new();
        for step in timeline.array("steps") {
            if let Some((name, took)) = step.text("step").zip(step.number("took_ms")) {
                let to = from.saturating_add(took.saturating_mul(1_000));
                bars.push(bar(name, from, to, Kind::Step));
                from = to;
            }
        }
        for (at, what) in &moments {
            let at = at - first;
            if let Some(name) = what.strip_suffix(REQUESTED) {
                bars.push(bar(name, at, u64::MAX, Kind::File));
            }
            for (end, kind) in [(COMPLETE, Kind::File), (FAILED, Kind::Failed)] {
                let name = what.strip_suffix(end);
                let is_it = |bar: &&mut Bar| Some(bar.name.as_str()) == name && bar.to == u64::MAX;
                if let Some(open) = bars.iter_mut().find(is_it) {
                    (open.to, open.kind) = (at, kind);
                }
            }
        }
        let last = moments.iter().map(|(at, _)| at - first).max().unwrap_or(0);
        let ends = bars.iter().map(|bar| bar.to).filter(|to| *to != u64::MAX);
        let total = ends.chain([last, 1]).max().unwrap_or(1);
        // A file that was on its way at the end.
        for bar in bars.iter_mut().filter(|bar| bar.to == u64::MAX) {
            (bar.to, bar.kind) = (total, Kind::Failed);
        }
        // Files below the step that they began in.
        bars.sort_by_key(|bar| (bar.from, bar.kind != Kind::Step));
        bars.truncate(MAX_BARS);
        Self { bars, total }
    }

    /// Draws the bars in `width` columns, with the axis below.
    fn text(&self, width: usize) -> String {
        let names = self.bars.iter().map(|bar| bar.name.chars().count());
        let label = names.max().unwrap_or(0).min(width / 3);
        let axis = width.saturating_sub(label + TIME_WIDTH + 2);
        let axis = axis.clamp(*AXIS.start(), *AXIS.end());
        let mut text = String::new();
        for bar in &self.bars {
            let (from, to) = (self.place(bar.from, axis), self.place(bar.to, axis));
            // What is too short to be seen is one column, within the axis.
            let from = from.min(axis - 1);
            let to = to.max(from + 1);
            let letter = match bar.kind {
                Kind::Step => "#",
                Kind::File => "=",
                Kind::Failed => "x",
            };
            let name = short(&bar.name, label);
            let line = letter.repeat(to - from);
            let rest = axis - to;
            let time = time(bar.to - bar.from);
            let _ = writeln!(
                text,
                "{name:<label$} {:from$}{line}{:rest$} {time:>9}",
                "", ""
            );
        }
        let end = time(self.total);
        let middle = axis.saturating_sub(1);
        let _ = writeln!(text, "{:label$} 0{end:>middle$}", "");
        text
    }

    /// Draws the bars as SVG.
    fn svg(&self) -> String {
        let height = (self.bars.len() + 2) * ROW;
        let all = LABEL + WIDTH + 100;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"{height}\" viewBox=\"0 0 {all} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        for tenth in 0..=10 {
            let x = LABEL + WIDTH * tenth / 10;
            let at = time(self.total / 10 * tenth as u64);
            let _ = writeln!(
                svg,
                "<line x1=\"{x}\" y1=\"{ROW}\" x2=\"{x}\" y2=\"{height}\" stroke=\"#ddd\"/>\
                 <text x=\"{x}\" y=\"14\" text-anchor=\"middle\">{at}</text>"
            );
        }
        for (row, bar) in self.bars.iter().enumerate() {
            let y = (row + 1) * ROW;
            let (text_y, left) = (y + 14, LABEL - 8);
            let (from, to) = (self.place(bar.from, WIDTH), self.place(bar.to, WIDTH));
            let (x, width) = (LABEL + from, (to - from).max(1));
            let (fill, weight) = match bar.kind {
                Kind::Step => ("#4a7ab5", "bold"),
                Kind::File => ("#8fbf6a", "normal"),
                Kind::Failed => ("#c0504d", "normal"),
            };
            let name = escaped(&short(&bar.name, 48));
            let (behind, took) = (x + width + 4, time(bar.to - bar.from));
            let full = escaped(&bar.name);
            let _ = writeln!(
                svg,
                "<text x=\"{left}\" y=\"{text_y}\" text-anchor=\"end\" font-weight=\"{weight}\">{name}\
                 <title>{full}</title></text><rect x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"14\" \
                 fill=\"{fill}\"/><text x=\"{behind}\" y=\"{text_y}\">{took}</text>",
                y + 3
            );
        }
        svg + "</svg>\n"
    }

    /// Returns where a time is on an axis of `len` places.
    fn place(&self, at: u64, len: usize) -> usize {
        let place = u128::from(at) * len as u128 / u128::from(self.total.max(1));
        usize::try_from(place).unwrap_or(len).min(len)
    }
}

fn bar(name: &str, from: u64, to: u64, kind: Kind) -> Bar {
    Bar {
        name: name.to_owned(),
        from,
        to,
        kind,
    }
}

/// Leaves out the middle of what has no room.
fn short(name: &str, room: usize) -> String {
    let name = Safe::name(name).to_string();
    let len = name.chars().count();
    if len <= room {
        return name;
    }
    let start = room.saturating_sub(1) / 3;
    let end = room.saturating_sub(1) - start;
    let mut text: String = name.chars().take(start).collect();
    text.push('~');
    text.extend(name.chars().skip(len - end));
    text
}

fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// Returns a text as the content of an element of XML.
fn escaped(text: &str) -> String {
    let text = Safe::name(text).to_string();
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a boot leaves it: the moments of its lease are behind later ones.
    const TIMELINE: &str = r#"{"steps":[{"step":"lease","took_ms":30},{"step":"fetch","took_ms":1000}],"moments":[
        {"what":"process 1 begins","at_us":6000000},
        {"what":"wireboot begins","at_us":6100000},
        {"what":"tftp://192.0.2.1/a<b&c/vmlinuz: requested","at_us":6200000},
        {"what":"ACK","at_us":6130000},
        {"what":"tftp://192.0.2.1/a<b&c/vmlinuz: complete","at_us":6800000},
        {"what":"tftp://192.0.2.1/initrd: requested","at_us":6800000},
        {"what":"tftp://192.0.2.1/none: requested","at_us":7000000},
        {"what":"tftp://192.0.2.1/none: failed","at_us":7000100},
        {"what":"no more","at_us":8000000}]}
"#;

    #[test]
    fn steps_and_files_are_bars_on_one_axis_in_the_width_of_the_terminal() {
        let chart = Chart::read(TIMELINE);
        let expected = [
            "lease                     #                                     30.0 ms",
            "fetch                      ##################                 1000.0 ms",
            "tftp://~.1/a<b&c/vmlinuz    ===========                        600.0 ms",
            "tftp://192.0.2.1/initrd                xxxxxxxxxxxxxxxxxxxxxx 1200.0 ms",
            "tftp://192.0.2.1/none                      x                     100 us",
            "                         0                          2000.0 ms",
        ];
        assert_eq!(chart.text(72).lines().collect::<Vec<_>>(), expected);
        for width in [0, 20, 40, 80, 200, 100_000] {
            for line in chart.text(width).lines() {
                assert!(
                    line.chars().count() <= width.clamp(40, 200),
                    "{width}: {line}"
                );
            }
        }
    }

    #[test]
    fn the_drawing_is_xml_and_has_every_bar_within_its_axis() {
        let svg = Chart::read(TIMELINE).svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a&lt;b&amp;c/vmlinuz"), "{svg}");
        assert_eq!(svg.matches("#4a7ab5").count(), 2);
        assert_eq!(svg.matches("#8fbf6a").count(), 1);
        // One that failed, and one that was on its way.
        assert_eq!(svg.matches("#c0504d").count(), 2);
    }

    #[test]
    fn a_file_that_is_no_timeline_is_no_panic() {
        for text in [
            "",
            "\n",
            "lease 1 ms",
            r#"{"steps":1,"moments":[{"what":2,"at_us":"x"},{}]}"#,
            r#"{"steps":[{"step":"lease","took_ms":18446744073709551615},{"step":"x","took_ms":-1}]}"#,
            r#"{"moments":[{"what":"x: complete","at_us":18446744073709551615},{"what":"y","at_us":0}]}"#,
        ] {
            let chart = Chart::read(text);
            assert!(!chart.text(80).is_empty() && !chart.svg().is_empty());
        }
    }
}
