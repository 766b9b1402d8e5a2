//! `wireboot help`: what can be said, as text.

use super::print;
use crate::error::Error;
use crate::settings::defs::COMMANDS;
use crate::settings::help;
use crate::settings::parse::Settings;

pub(super) fn run(settings: &Settings) -> Result<(), Error> {
    let ([] | [_]) = &settings.operands[..] else {
        return Err(Error::Usage(
            "help is about one thing at a time; see 'wireboot help --help'".to_owned(),
        ));
    };
    let topic = settings.operands.first().map(String::as_str);
    let command = COMMANDS.iter().find(|about| topic == Some(about.name));
    let text = match (command, topic) {
        (Some(about), _) => help::command(about.command),
        (None, None) => help::program(),
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
