//! The commands about images: fetch them, name them, check them, start them.

use core::time::Duration;

use super::super::context::{Context, REFUSED};
#[cfg(not(feature = "iso"))]
use super::super::loaders::NO_ISO;
use super::super::plan::{Place, Purpose};
use super::super::step::{Answer, FetchResult, Step};
use super::arguments::{Arguments, CommandFault};
use super::images::{ImageId, ImageTrust, ScriptImage, StartMethod};
use super::state::{CommandEffect, CommandResult, ImageUse, PendingCommand, State};
use crate::prelude::*;
use crate::text::url::Url;

/// Starts an image, the one named or the one selected.
pub(super) fn start(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let then = ImageUse::Start {
        in_place: call.has("replace"),
    };
    if !call.words.is_empty() {
        return fetch(state, call, then);
    }
    let selected = state.images.selected().map(|image| image.id);
    let selected =
        selected.ok_or_else(|| CommandFault::new("boot", "no kernel has been loaded"))?;
    use_image(state, selected, then, call.place, call.context)
}

/// Fetches an image, and makes it the one that `boot` starts.
pub(super) fn select(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    fetch(state, call, ImageUse::Select)
}

/// Fetches an image, which is an initrd unless it is selected later.
pub(super) fn keep(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    fetch(state, call, ImageUse::Keep)
}

/// Fetches the device tree of the kernel; without an address there is none.
pub(super) fn device_tree(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    state.images.device_tree = None;
    if call.words.is_empty() {
        return Ok(CommandEffect::Done);
    }
    fetch(state, call, ImageUse::DeviceTree)
}

/// Sets a setting to the content of a file.
pub(super) fn set_setting(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let then = ImageUse::Set {
        setting: call.word(0).to_owned(),
        is_kept: call.has("keep"),
    };
    let wanted = ImageReference::plain(call.word(1), call.timeout()?);
    acquire(state, wanted, then, call.place, call.context)
}

/// Gives a packed file the name that it has when it is unpacked. It stays packed: as an initrd the
/// kernel unpacks it, and it cannot be used as anything else.
pub(super) fn extract(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let then = ImageUse::Extract {
        name: call.value("name").map(str::to_owned),
    };
    let wanted = ImageReference::plain(call.word(0), call.timeout()?);
    acquire(state, wanted, then, call.place, call.context)
}

fn fetch(state: &mut State, call: &mut Arguments<'_>, then: ImageUse) -> CommandResult {
    let wanted = ImageReference {
        reference: call.word(0),
        name: call.value("name"),
        command_line: call.text(1),
        timeout: call.timeout()?,
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
    /// How long its server may be silent.
    timeout: Option<Duration>,
}

impl<'a> ImageReference<'a> {
    const fn plain(reference: &'a str, timeout: Option<Duration>) -> Self {
        Self {
            reference,
            name: None,
            command_line: String::new(),
            timeout,
        }
    }
}

/// Fetches an image, or uses the one that has this name already.
fn acquire(
    state: &mut State,
    wanted: ImageReference<'_>,
    then: ImageUse,
    place: &Place,
    context: &mut Context,
) -> CommandResult {
    // imgfetch always fetches; the other commands use an image that is there (usr/imgmgmt.c).
    if then != ImageUse::Keep
        && let Some(image) = state.images.find(wanted.reference)
    {
        if !wanted.command_line.is_empty() {
            image.arguments = wanted.command_line;
        }
        if let Some(name) = wanted.name {
            name.clone_into(&mut image.name);
        }
        let id = image.id;
        return use_image(state, id, then, place, context);
    }
    let url = url_of(state, wanted.reference, place)?;
    #[cfg(not(feature = "iso"))]
    if url.names_iso() && matches!(then, ImageUse::Select | ImageUse::Start { .. }) {
        return Err(CommandFault::new(&url.to_string(), NO_ISO));
    }
    let default = url.plain_file_name();
    let name = wanted.name.unwrap_or(&default).to_owned();
    let purpose = match then {
        ImageUse::Keep | ImageUse::Digest { .. } => Purpose::Initrd,
        ImageUse::Select => Purpose::Kernel,
        ImageUse::Set { .. } => Purpose::Configuration,
        ImageUse::DeviceTree => Purpose::DeviceTree,
        // The packed file becomes an initrd, if anything.
        ImageUse::Extract { .. } => Purpose::Initrd,
        ImageUse::Start { .. } | ImageUse::Verify(_) => Purpose::BootFile,
    };
    let pending = PendingCommand::Image {
        name,
        url: Box::new(url.clone()),
        arguments: wanted.command_line,
        then,
    };
    let step = Step::Fetch { url, purpose };
    Ok(match wanted.timeout {
        Some(timeout) => CommandEffect::Ask(
            Step::Limit(timeout),
            PendingCommand::Limit(Box::new((step, pending))),
        ),
        None => CommandEffect::Ask(step, pending),
    })
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
    let cut_text = answer.cut_text();
    let head = head_of(&url, answer)?;
    context.note(place, format!("loads {url} as {name}"));
    let is_refused = context.is_refused(&url);
    let mut image = ScriptImage::new(&name, url, arguments, head, cut_text);
    if is_refused {
        image.trust = ImageTrust::Refused;
    }
    let id = state.images.add(image)?;
    use_image(state, id, then, place, context)
}

/// Returns the beginning of the file that was asked for.
fn head_of(url: &Url, answer: Answer) -> Result<Vec<u8>, CommandFault> {
    let what = match answer.into_fetched() {
        FetchResult::File(head) => return Ok(head),
        FetchResult::Missing => "the server has no such file".to_owned(),
        FetchResult::Failed(why) => why,
    };
    Err(CommandFault::new(&url.to_string(), what))
}

/// Asks for the root directory of an ISO image that is to be started: what is none is a failure of the
/// command, while the script is still there to go on behind `||`.
#[cfg(feature = "iso")]
fn open(image: Url) -> CommandResult {
    let url = image.in_image("/");
    let url = url.map_err(|error| CommandFault::new(&image.to_string(), error.what))?;
    let purpose = Purpose::Configuration;
    Ok(CommandEffect::Ask(
        Step::Fetch { url, purpose },
        PendingCommand::Iso(Box::new(image)),
    ))
}

/// Leaves the script for an ISO image.
#[cfg(feature = "iso")]
pub(super) fn opened(
    state: &State,
    image: Url,
    answer: Answer,
    context: &mut Context,
) -> CommandResult {
    head_of(&image, answer)?;
    state.settings.copy_options_to(&mut context.facts.options);
    Ok(CommandEffect::Chain(image))
}

/// Resolves an address against the script, with the parameters that it names.
fn url_of(state: &mut State, reference: &str, place: &Place) -> Result<Url, CommandFault> {
    if reference.is_empty() {
        // For iPXE an empty address is that of the script itself, which then runs in itself for ever.
        let what = "the address is empty: a setting in it is not set";
        return Err(CommandFault::of_command(what));
    }
    let (address, list) = match reference.split_once("##params") {
        Some((address, list)) => (address, Some(list.trim_start_matches('='))),
        None => (reference, None),
    };
    let url = place.file.join(address);
    let url = url.map_err(|error| CommandFault::new(reference, error.what))?;
    match list.and_then(|name| state.parameters.take(name)) {
        Some(list) => Ok(url.with_form(list.form()?)),
        None => Ok(url),
    }
}

fn use_image(
    state: &mut State,
    id: ImageId,
    then: ImageUse,
    place: &Place,
    context: &mut Context,
) -> CommandResult {
    let image = state.images.get(id)?;
    let in_place = match then {
        ImageUse::Keep => return Ok(CommandEffect::Done),
        ImageUse::Verify(signature) => {
            let step = Step::Verify {
                url: image.url.clone(),
                signature: signature.clone(),
            };
            return Ok(CommandEffect::Ask(
                step,
                PendingCommand::Signature { id, signature },
            ));
        }
        ImageUse::Set { setting, is_kept } => return set_to_content(state, id, &setting, is_kept),
        ImageUse::Extract { name } => return extracted(image, name),
        ImageUse::Digest { others } => return sum_images(state, &others, place, context),
        ImageUse::DeviceTree => {
            state.images.device_tree = Some(id);
            return Ok(CommandEffect::Done);
        }
        // An image that could not be started is no initrd of the next one.
        ImageUse::Select => {
            image.is_kernel = true;
            image.start()?;
            state.images.select(id);
            return Ok(CommandEffect::Done);
        }
        ImageUse::Start { in_place } => in_place,
    };
    image.is_kernel = true;
    let image = image.clone();
    // As image_exec() of iPXE: what cannot run at all is said first.
    let method = image.start()?;
    let is_loader = method == StartMethod::BootLoader;
    state.images.check_trust(&image, is_loader)?;
    match method {
        StartMethod::Script => {
            // script_exec() of iPXE unregisters a script while it runs, so that boot does not start
            // it again.
            state.images.free(id);
            Ok(CommandEffect::Run {
                file: image.url,
                text: image.text.unwrap_or_default(),
                in_place,
            })
        }
        StartMethod::Kernel => Ok(CommandEffect::Plan(Box::new(state.images.plan(&image)?))),
        StartMethod::BootLoader => {
            // The loader gets the lease from iPXE, with what the script has set of it.
            let Context { facts, .. } = context;
            state.settings.copy_options_to(&mut facts.options);
            Ok(CommandEffect::Chain(image.url))
        }
        #[cfg(feature = "iso")]
        StartMethod::Iso => open(image.url),
        #[cfg(feature = "iso")]
        StartMethod::Memdisk => open(state.images.disk_of(&image)?),
    }
}

fn set_to_content(state: &mut State, id: ImageId, setting: &str, is_kept: bool) -> CommandResult {
    let image = state.images.get(id)?;
    if image.trust == ImageTrust::Refused {
        return Err(CommandFault::new(&image.name, REFUSED));
    }
    let text = image.text.clone();
    let fault = CommandFault::new(&image.name, "is too long for a setting");
    if !is_kept {
        state.images.free(id);
    }
    let text = text.ok_or(fault)?;
    state.set_content(setting, text)?;
    Ok(CommandEffect::Done)
}

fn extracted(image: &mut ScriptImage, name: Option<String>) -> CommandResult {
    let name = name.unwrap_or_else(|| {
        let stem = image.name.rsplit_once('.').map(|(stem, _)| stem);
        stem.unwrap_or(&image.name).to_owned()
    });
    if !image.is_archive {
        let what = "is no archive that the kernel unpacks";
        return Err(CommandFault::new(&image.name, what));
    }
    image.name = name;
    Ok(CommandEffect::Done)
}

pub(super) fn set_arguments(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    match state.images.find(call.word(0)) {
        Some(image) => {
            image.arguments = call.text(1);
            Ok(CommandEffect::Done)
        }
        None => fetch(state, call, ImageUse::Keep),
    }
}

/// Shows no sums, which are for people and decide nothing.
pub(super) fn digest(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    if call.has("set") {
        return Err(CommandFault::new("--set", "sums are not computed"));
    }
    let text = format!("{}: checksums are not shown", call.command);
    call.context.note(call.place, text);
    sum_images(state, call.words, call.place, call.context)
}

/// Fetches those of the images that are not there.
fn sum_images(
    state: &mut State,
    names: &[String],
    place: &Place,
    context: &mut Context,
) -> CommandResult {
    let missing = names
        .iter()
        .position(|name| state.images.find(name).is_none());
    let Some((name, others)) = missing.and_then(|at| names.get(at..)?.split_first()) else {
        return Ok(CommandEffect::Done);
    };
    let wanted = ImageReference::plain(name, None);
    let others = others.to_vec();
    acquire(state, wanted, ImageUse::Digest { others }, place, context)
}

pub(super) fn describe(state: &mut State, _: &mut Arguments<'_>) -> CommandResult {
    Ok(CommandEffect::say(state.images.describe()))
}

pub(super) fn free(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    if call.words.is_empty() {
        state.images.free_all();
    }
    for name in call.words {
        match state.images.find(name) {
            Some(image) => {
                let id = image.id;
                state.images.free(id);
            }
            // A script that has run is freed already, unlike in iPXE.
            None => call
                .context
                .note(call.place, format!("there is no image {name} to free")),
        }
    }
    Ok(CommandEffect::Done)
}

pub(super) fn verify(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    // From here on the file is started by no command, nor loaded as initrd, whatever prevents the check,
    // unless its signature is found good.
    let target = match state.images.find(call.word(0)) {
        Some(image) => Some(image.url.clone()),
        None => {
            let address = call.word(0).split("##params").next();
            call.place.file.join(address.unwrap_or_default()).ok()
        }
    };
    if let Some(target) = target {
        call.context.refuse(&target);
        state.images.refuse(&target);
    }
    let reference = call.word(1);
    if let Some(signer) = call.value("signer") {
        let what = "minisign signatures name no signer; restrict the keys instead";
        return Err(CommandFault::new(signer, what));
    }
    // The signature may have been fetched as an image; iPXE frees it, so that it is not loaded as an
    // initrd.
    let signature = match state.images.find(reference) {
        Some(image) => {
            let (id, url) = (image.id, image.url.clone());
            if !call.has("keep") {
                state.images.free(id);
            }
            url
        }
        None => url_of(state, reference, call.place)?,
    };
    let image = ImageReference::plain(call.word(0), call.timeout()?);
    let then = ImageUse::Verify(Box::new(signature));
    acquire(state, image, then, call.place, call.context)
}

/// Records what the check of an image's signature found.
pub(super) fn verified(
    state: &mut State,
    id: ImageId,
    signature: Url,
    answer: Answer,
    context: &mut Context,
) -> CommandResult {
    if answer == Answer::Done {
        let url = state.images.accept(id, signature)?;
        context.accept(&url);
        return Ok(CommandEffect::Done);
    }
    let image = state.images.get(id)?;
    let why = if let Answer::Failed(why) = answer {
        why
    } else {
        "the signature was not checked".to_owned()
    };
    Err(CommandFault::new(&image.name, why))
}

pub(super) fn set_trust(state: &mut State, call: &mut Arguments<'_>) -> CommandResult {
    let is_demanded = !call.has("allow");
    let is_permanent = call.has("permanent");
    state.images.demand_trust(is_demanded, is_permanent)?;
    Ok(CommandEffect::Done)
}
