//! The commands about images: fetch them, name them, start them, and the
//! parameters of their requests.

use super::super::context::Context;
use super::super::error::Place;
use super::super::plan::Purpose;
use super::super::step::{Answer, Fetched, Step};
use super::arguments::{Arguments, CommandFault};
use super::images::{ImageTrust, ScriptImage, StartMethod};
use super::state::{CommandEffect, CommandResult, ImageUse, PendingCommand, State};
use crate::prelude::*;
use crate::text::url::Url;

/// Limit of parameters of a request, since a script can add them in a loop.
const MAX_PARAMETERS: usize = 1_000;

/// Starts an image, the one named or the one selected.
pub(super) fn start(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let then = ImageUse::Start {
        in_place: call.has("replace"),
    };
    match (call.words, state.images.selected()) {
        ([_, ..], _) => fetch(state, call, then),
        ([], Some(selected)) => {
            let selected = selected.to_owned();
            use_image(state, &selected, then)
        }
        ([], None) => Err(CommandFault::new("boot", "no kernel has been loaded")),
    }
}

/// Fetches an image, and makes it the one that `boot` starts.
pub(super) fn select(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    fetch(state, call, ImageUse::Select)
}

/// Fetches an image, which is an initrd unless it is selected later.
pub(super) fn keep(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    fetch(state, call, ImageUse::Keep)
}

fn fetch(state: &mut State, call: &mut Arguments<'_>, then: ImageUse) -> CommandResult {
    let wanted = ImageReference {
        reference: call.word(0),
        name: call.value("name"),
        command_line: call.text(1),
    };
    acquire(state, wanted, then, call.place, call.context)
}

/// An image as a command names it.
struct ImageReference<'a> {
    /// The name of an image that is loaded, or an address.
    reference: &'a str,
    /// The name it shall have.
    name: Option<&'a str>,
    command_line: String,
}

/// Fetches an image, or uses the one that has this name already.
fn acquire(
    state: &mut State,
    wanted: ImageReference<'_>,
    then: ImageUse,
    place: &Place,
    context: &mut Context,
) -> CommandResult {
    if let Some(image) = state.images.find(wanted.reference) {
        if !wanted.command_line.is_empty() {
            image.arguments = wanted.command_line;
        }
        return use_image(state, wanted.reference, then);
    }
    let url = url_of(state, wanted.reference, place, context)?;
    let name = wanted.name.unwrap_or_else(|| url.file_name()).to_owned();
    let purpose = match then {
        ImageUse::Keep => Purpose::Initrd,
        ImageUse::Select => Purpose::Kernel,
        ImageUse::Start { .. } | ImageUse::Verify(_) => Purpose::BootFile,
    };
    Ok(CommandEffect::Ask(
        Step::Fetch {
            url: url.clone(),
            purpose,
        },
        PendingCommand::Image {
            name,
            url,
            arguments: wanted.command_line,
            then,
        },
    ))
}

/// Adds the image that has been fetched, and does with it what its command is for.
pub(super) fn fetched(
    state: &mut State,
    image: (String, Url, String),
    then: ImageUse,
    answer: Answer,
    place: &Place,
    context: &mut Context,
) -> CommandResult {
    let (name, url, arguments) = image;
    let head = match answer.into_fetched() {
        Fetched::File(head) => head,
        Fetched::Missing => {
            return Err(CommandFault::new(
                &url.to_string(),
                "the server has no such file",
            ));
        }
        Fetched::Failed(why) => return Err(CommandFault::new(&url.to_string(), why)),
    };
    context.note(place, format!("loads {url} as {name}"));
    state
        .images
        .add(ScriptImage::new(&name, url, arguments, head))?;
    use_image(state, &name, then)
}

/// Resolves an address against the script; parameters go into its query.
fn url_of(
    state: &State,
    reference: &str,
    place: &Place,
    context: &mut Context,
) -> Result<Url, CommandFault> {
    let address = match reference.split_once("##params") {
        Some((address, _)) => {
            let text = "parameters are sent in the query of a GET, not as a form";
            context.note(place, text);
            let string = super::format::Type::UriString;
            let pairs = state.parameters.iter();
            let pairs = pairs.map(|(name, value)| {
                let value = string.format(value.as_bytes());
                format!("{name}={value}")
            });
            let separator = if address.contains('?') { '&' } else { '?' };
            let query = pairs.collect::<Vec<_>>().join("&");
            format!("{address}{separator}{query}")
        }
        None => reference.to_owned(),
    };
    let url = place.file.join(&address);
    url.map_err(|error| CommandFault::new(reference, error.what))
}

fn use_image(state: &mut State, name: &str, then: ImageUse) -> CommandResult {
    match &then {
        ImageUse::Keep => return Ok(CommandEffect::Done),
        ImageUse::Verify(signature) => {
            let (url, signature) = (image_of(state, name)?.url.clone(), signature.clone());
            let step = Step::Verify {
                url,
                signature: signature.clone(),
            };
            let name = name.to_owned();
            return Ok(CommandEffect::Ask(
                step,
                PendingCommand::Signature { name, signature },
            ));
        }
        ImageUse::Start { .. } => state.images.check_trust(name)?,
        ImageUse::Select => {}
    }
    let image = image_of(state, name)?;
    // An image that could not be started is no initrd of the next one.
    image.is_kernel = true;
    let start = image.start()?;
    let ImageUse::Start { in_place } = then else {
        state.images.select(name);
        return Ok(CommandEffect::Done);
    };
    match start {
        StartMethod::Script => {
            // script_exec() of iPXE unregisters a script while it runs, so that boot does not start
            // it again.
            let (file, text) = (image.url.clone(), core::mem::take(&mut image.text));
            state.images.free(Some(name));
            Ok(CommandEffect::Run {
                file,
                text,
                in_place,
            })
        }
        StartMethod::Kernel => Ok(CommandEffect::Plan(Box::new(state.images.plan(name)?))),
        StartMethod::BootLoader => Ok(CommandEffect::Chain(image.url.clone())),
        #[cfg(feature = "iso")]
        StartMethod::Memdisk => state.images.disk_of(name).map(CommandEffect::Chain),
    }
}

fn image_of<'a>(state: &'a mut State, name: &str) -> Result<&'a mut ScriptImage, CommandFault> {
    let image = state.images.find(name);
    image.ok_or_else(|| CommandFault::new(name, "no such image"))
}

pub(super) fn set_arguments(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    image_of(state, call.word(0))?.arguments = call.text(1);
    Ok(CommandEffect::Done)
}

pub(super) fn describe(state: &mut State, _: &mut Arguments<'_>) -> CommandResult {
    Ok(CommandEffect::say(state.images.describe()))
}

/// Shows no sums, which are for people and decide nothing; the images must exist.
pub(super) fn digest(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    for name in call.words {
        image_of(state, name)?;
    }
    let text = format!("{}: checksums are not shown", call.command);
    call.context.note(call.place, text);
    Ok(CommandEffect::Done)
}

pub(super) fn free(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    state.images.free(call.words.first().map(String::as_str));
    Ok(CommandEffect::Done)
}

pub(super) fn verify(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let reference = call.word(1);
    if let Some(signer) = call.value("signer") {
        let what = "minisign signatures name no signer; restrict the keys instead";
        return Err(CommandFault::new(signer, what));
    }
    // The signature may have been fetched as an image; iPXE frees it, so that it is not loaded as an
    // initrd.
    let signature = match state.images.find(reference) {
        Some(image) => image.url.clone(),
        None => url_of(state, reference, call.place, call.context)?,
    };
    if !call.has("keep") {
        state.images.free(Some(reference));
    }
    let image = ImageReference {
        reference: call.word(0),
        name: None,
        command_line: String::new(),
    };
    let then = ImageUse::Verify(Box::new(signature));
    acquire(state, image, then, call.place, call.context)
}

/// Records what the check of an image's signature found.
pub(super) fn verified(
    state: &mut State,
    name: &str,
    signature: Url,
    answer: Answer,
) -> CommandResult {
    let image = image_of(state, name)?;
    if let Answer::Failed(why) = answer {
        // A file with a bad signature is started by no command any more, nor loaded as initrd.
        image.trust = ImageTrust::Refused;
        return Err(CommandFault::new(name, why));
    }
    image.trust = ImageTrust::Verified(signature);
    Ok(CommandEffect::Done)
}

pub(super) fn set_trust(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let is_demanded = !call.has("allow");
    let is_permanent = call.has("permanent");
    state.images.demand_trust(is_demanded, is_permanent)?;
    Ok(CommandEffect::Done)
}

pub(super) fn begin_parameters(state: &mut State, _: &mut Arguments<'_>) -> CommandResult {
    state.parameters.clear();
    Ok(CommandEffect::Done)
}

pub(super) fn add_parameter(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    if call.has("header") {
        let what = "headers cannot be added to a request";
        return Err(CommandFault::new("--header", what));
    }
    let name = call.word(0).to_owned();
    if state.parameters.len() >= MAX_PARAMETERS {
        let what = format!("more than {MAX_PARAMETERS} parameters");
        return Err(CommandFault::new(&name, what));
    }
    state.parameters.push((name, call.text(1)));
    Ok(CommandEffect::Done)
}
