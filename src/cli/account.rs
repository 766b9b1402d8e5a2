//! `wireboot account`: where the time of the last lease or boot went.

#[cfg(feature = "hand")]
mod bars;

use crate::error::{Error, Reason};
use crate::settings::options::Settings;
use crate::sys::terminal::print;
use crate::timeline::{self, Timeline};

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
        return draw(path, &bars::Chart::read(&programs).svg());
    }
    #[cfg(feature = "hand")]
    let people = {
        let width = crate::sys::descriptor::columns().unwrap_or(80);
        let bars = bars::Chart::read(&programs).text(width);
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
