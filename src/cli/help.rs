//! `wireboot help`: help as text, manual page or shell completions.

use super::print;
use crate::error::Error;
use crate::settings::commands::COMMANDS;
use crate::settings::help;
use crate::settings::options::Settings;

pub(super) fn run(settings: &Settings) -> Result<(), Error> {
    let ([] | [_]) = &settings.operands[..] else {
        return Err(Error::Usage(
            "help is about one thing at a time; see 'wireboot help --help'".to_owned(),
        ));
    };
    let topic = settings.operands.first().map(String::as_str);
    let command = COMMANDS.iter().find(|about| topic == Some(about.name));
    #[cfg(feature = "manual")]
    if let Some(text) = manual(settings, topic) {
        print(&text);
        return Ok(());
    }
    let text = match (command, topic) {
        (Some(about), _) => help::command(about.command),
        (None, None) => help::program(),
        #[cfg(feature = "manual")]
        (None, Some("words")) => help::words(),
        (None, Some("options")) => help::options(),
        (None, Some(other)) => {
            return Err(Error::Usage(format!(
                "there is no help on '{other}'; 'wireboot help' lists the commands"
            )));
        }
    };
    print(&text);
    Ok(())
}

/// Returns the manual page or the shell completions, if requested.
#[cfg(feature = "manual")]
fn manual(settings: &Settings, topic: Option<&str>) -> Option<String> {
    use crate::settings::manual;
    if let Some(shell) = settings.help.completion {
        return Some(manual::completions(shell));
    }
    settings.help.man.then(|| manual::page(topic)).flatten()
}
