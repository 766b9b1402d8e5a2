//! `wireboot account`: where the time of the last boot went.

use super::print;
use crate::error::Error;
use crate::settings::parse::Settings;
use crate::timeline;

pub(super) fn run(settings: &Settings) -> Result<(), Error> {
    let path = if settings.json {
        timeline::JSON
    } else {
        timeline::TEXT
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::Usage(format!(
            "no lease and no boot have left an account: {path}: {error}"
        ))
    })?;
    print(&text);
    Ok(())
}
