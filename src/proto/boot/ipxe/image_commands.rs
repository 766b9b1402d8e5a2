//! The commands about images: fetch them, name them, start them; and the parameters that a request
//! for one takes along.

use super::super::context::Context;
use super::super::error::Place;
use super::super::plan::Purpose;
use super::super::step::{Answer, Fetched, Step};
use super::arguments::{Arguments, Fault};
use super::images::{Image, Start, Trust};
use super::state::{Effect, Pending, State, Then};
use crate::prelude::*;
use crate::text::url::Url;

/// How many parameters a request may have; scripts of real sites send about ten.
const MAX_PARAMETERS: usize = 1_000;

/// Starts an image, the one named or the one selected.
pub(super) fn start(
    state: &mut State,
    arguments: &Arguments<'_>,
    context: &mut Context,
) -> Result<Effect, Fault> {
    let then = Then::Start {
        in_place: arguments.has("replace"),
    };
    match (arguments.words, state.images.selected()) {
        ([_, ..], _) => fetch(state, arguments, then, context),
        ([], Some(selected)) => {
            let selected = selected.to_owned();
            use_image(state, &selected, then)
        }
        ([], None) => Err(Fault::new("boot", "no kernel has been loaded")),
    }
}

/// Fetches an image, and makes it the one that `boot` starts.
pub(super) fn select(
    state: &mut State,
    arguments: &Arguments<'_>,
    context: &mut Context,
) -> Result<Effect, Fault> {
    fetch(state, arguments, Then::Select, context)
}

/// Fetches an image; what is not selected in the end becomes an initrd.
pub(super) fn keep(
    state: &mut State,
    arguments: &Arguments<'_>,
    context: &mut Context,
) -> Result<Effect, Fault> {
    fetch(state, arguments, Then::Keep, context)
}

fn fetch(
    state: &mut State,
    arguments: &Arguments<'_>,
    then: Then,
    context: &mut Context,
) -> Result<Effect, Fault> {
    let wanted = ImageReference {
        reference: arguments.word(0),
        name: arguments.value("name"),
        command_line: arguments.text(1),
    };
    acquire(state, wanted, then, arguments.place, context)
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
    then: Then,
    place: &Place,
    context: &mut Context,
) -> Result<Effect, Fault> {
    if let Some(image) = state.images.find(wanted.reference) {
        if !wanted.command_line.is_empty() {
            image.arguments = wanted.command_line;
        }
        return use_image(state, wanted.reference, then);
    }
    let url = url_of(state, wanted.reference, place, context)?;
    let name = wanted.name.unwrap_or_else(|| url.file_name()).to_owned();
    let purpose = match then {
        Then::Keep => Purpose::Initrd,
        Then::Select => Purpose::Kernel,
        Then::Start { .. } | Then::Verify(_) => Purpose::BootFile,
    };
    Ok(Effect::Ask(
        Step::Fetch {
            url: url.clone(),
            purpose,
        },
        Pending::Image {
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
    then: Then,
    answer: Answer,
    place: &Place,
    context: &mut Context,
) -> Result<Effect, Fault> {
    let (name, url, arguments) = image;
    let head = match answer.into_fetched() {
        Fetched::File(head) => head,
        Fetched::Missing => {
            return Err(Fault::new(&url.to_string(), "the server has no such file"));
        }
        Fetched::Failed(why) => return Err(Fault::new(&url.to_string(), why)),
    };
    context.note(place, format!("loads {url} as {name}"));
    state.images.add(Image::new(&name, url, arguments, head))?;
    use_image(state, &name, then)
}

/// Resolves an address against the script; parameters go into its query.
fn url_of(
    state: &State,
    reference: &str,
    place: &Place,
    context: &mut Context,
) -> Result<Url, Fault> {
    let address = match reference.split_once("##params") {
        Some((address, _)) => {
            let text = "sends its parameters in the query of a GET, not as a form";
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
    url.map_err(|error| Fault::new(reference, error.what))
}

fn use_image(state: &mut State, name: &str, then: Then) -> Result<Effect, Fault> {
    match &then {
        Then::Keep => return Ok(Effect::Done),
        Then::Verify(signature) => {
            let (url, signature) = (image_of(state, name)?.url.clone(), signature.clone());
            let step = Step::Verify {
                url,
                signature: signature.clone(),
            };
            let name = name.to_owned();
            return Ok(Effect::Ask(step, Pending::Signature { name, signature }));
        }
        Then::Start { .. } => state.images.check_trust(name)?,
        Then::Select => {}
    }
    let image = image_of(state, name)?;
    // What a script tries to start is no initrd of what it starts instead.
    image.is_kernel = true;
    let start = image.start()?;
    let Then::Start { in_place } = then else {
        state.images.select(name);
        return Ok(Effect::Done);
    };
    match start {
        Start::Script => {
            let (file, text) = (image.url.clone(), core::mem::take(&mut image.text));
            state.images.free(Some(name));
            Ok(Effect::Run {
                file,
                text,
                in_place,
            })
        }
        Start::Kernel => Ok(Effect::Plan(Box::new(state.images.plan(name)?))),
        Start::BootLoader => Ok(Effect::Chain(image.url.clone())),
    }
}

fn image_of<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Image, Fault> {
    let image = state.images.find(name);
    image.ok_or_else(|| Fault::new(name, "no image has this name"))
}

pub(super) fn set_arguments(
    state: &mut State,
    arguments: &Arguments<'_>,
    _: &mut Context,
) -> Result<Effect, Fault> {
    image_of(state, arguments.word(0))?.arguments = arguments.text(1);
    Ok(Effect::Done)
}

pub(super) fn describe(
    state: &mut State,
    _: &Arguments<'_>,
    _: &mut Context,
) -> Result<Effect, Fault> {
    Ok(Effect::say(state.images.describe()))
}

/// Shows no sums, which are for people and decide nothing; the images must be there.
pub(super) fn digest(
    state: &mut State,
    arguments: &Arguments<'_>,
    context: &mut Context,
) -> Result<Effect, Fault> {
    for name in arguments.words {
        image_of(state, name)?;
    }
    let text = format!("{} shows no sums here", arguments.command);
    context.note(arguments.place, text);
    Ok(Effect::Done)
}

pub(super) fn free(
    state: &mut State,
    arguments: &Arguments<'_>,
    _: &mut Context,
) -> Result<Effect, Fault> {
    state
        .images
        .free(arguments.words.first().map(String::as_str));
    Ok(Effect::Done)
}

pub(super) fn verify(
    state: &mut State,
    arguments: &Arguments<'_>,
    context: &mut Context,
) -> Result<Effect, Fault> {
    let reference = arguments.word(1);
    if let Some(signer) = arguments.value("signer") {
        let what = "minisign signatures name no signer; say by the keys who may sign";
        return Err(Fault::new(signer, what));
    }
    // The signature may have been fetched as an image; iPXE forgets it, so that it does not become
    // an initrd.
    let signature = match state.images.find(reference) {
        Some(image) => image.url.clone(),
        None => url_of(state, reference, arguments.place, context)?,
    };
    if !arguments.has("keep") {
        state.images.free(Some(reference));
    }
    let image = ImageReference {
        reference: arguments.word(0),
        name: None,
        command_line: String::new(),
    };
    let then = Then::Verify(Box::new(signature));
    acquire(state, image, then, arguments.place, context)
}

/// Records what the check of an image's signature found.
pub(super) fn verified(
    state: &mut State,
    name: &str,
    signature: Url,
    answer: Answer,
) -> Result<Effect, Fault> {
    let image = image_of(state, name)?;
    if let Answer::Failed(why) = answer {
        image.trust = Trust::Refused;
        return Err(Fault::new(name, why));
    }
    image.trust = Trust::Verified(signature);
    Ok(Effect::Done)
}

pub(super) fn set_trust(
    state: &mut State,
    arguments: &Arguments<'_>,
    _: &mut Context,
) -> Result<Effect, Fault> {
    let is_demanded = !arguments.has("allow");
    let is_permanent = arguments.has("permanent");
    state.images.demand_trust(is_demanded, is_permanent)?;
    Ok(Effect::Done)
}

pub(super) fn begin_parameters(
    state: &mut State,
    _: &Arguments<'_>,
    _: &mut Context,
) -> Result<Effect, Fault> {
    state.parameters.clear();
    Ok(Effect::Done)
}

pub(super) fn add_parameter(
    state: &mut State,
    arguments: &Arguments<'_>,
    _: &mut Context,
) -> Result<Effect, Fault> {
    if arguments.has("header") {
        let what = "headers cannot be added to a request";
        return Err(Fault::new("--header", what));
    }
    let name = arguments.word(0).to_owned();
    if state.parameters.len() >= MAX_PARAMETERS {
        let what = format!("more than {MAX_PARAMETERS} parameters");
        return Err(Fault::new(&name, what));
    }
    state.parameters.push((name, arguments.text(1)));
    Ok(Effect::Done)
}
