//! The commands about images: fetch them, name them, start them; and what a request for one takes
//! with it.

use super::super::context::Context;
use super::super::error::Place;
use super::super::plan::Purpose;
use super::super::step::{Answer, Step};
use super::commands::{Fault, Pending, State, Then};
use super::images::{Image, Start, Trust};
use super::machine::Effect;
use super::options::{Arguments, Known, flag, valued};
use crate::prelude::*;
use crate::text::url::Url;

impl State {
    /// `chain`, `imgexec` and `boot`: starts an image, the one named or the one selected.
    pub(super) fn start(
        &mut self,
        words: &[String],
        place: &Place,
        context: &mut Context,
    ) -> Result<Effect, Fault> {
        let arguments = Arguments::parse(words, &IMAGE_OPTIONS)?;
        let then = Then::Start {
            in_place: arguments.has("replace"),
        };
        match (arguments.rest.first(), self.images.selected()) {
            (Some(_), _) => self.fetch(words, then, place, context),
            (None, Some(selected)) => {
                let selected = selected.to_owned();
                self.use_image(&selected, then)
            }
            (None, None) => Err(Fault::new("boot", "no kernel has been loaded")),
        }
    }

    /// Fetches an image, or takes the one that has this name already.
    pub(super) fn fetch(
        &mut self,
        words: &[String],
        then: Then,
        place: &Place,
        context: &mut Context,
    ) -> Result<Effect, Fault> {
        let mut arguments = Arguments::parse(words, &IMAGE_OPTIONS)?;
        let reference = arguments.word("the address of the image")?;
        let command_line = arguments.rest.join(" ");
        if let Some(image) = self.images.find(reference) {
            if !command_line.is_empty() {
                image.arguments = command_line;
            }
            return self.use_image(reference, then);
        }
        let url = self.url(reference, place, context)?;
        let name = match arguments.value("name") {
            Some(name) => name.to_owned(),
            None => url.file_name().to_owned(),
        };
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
                arguments: command_line,
                then,
            },
        ))
    }

    /// Resolves an address against the script; parameters go into its query.
    fn url(&mut self, reference: &str, place: &Place, context: &mut Context) -> Result<Url, Fault> {
        let address = match reference.split_once("##params") {
            Some((address, _)) => {
                let text = "sends its parameters in the query of a GET, not as a form";
                context.note(place, text);
                let string = super::format::Type::UriString;
                let pairs = self.parameters.iter();
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

    pub(super) fn use_image(&mut self, name: &str, then: Then) -> Result<Effect, Fault> {
        match &then {
            Then::Keep => return Ok(Effect::Done),
            Then::Verify(signature) => {
                let (url, signature) = (self.image(name)?.url.clone(), signature.clone());
                let step = Step::Verify {
                    url,
                    signature: signature.clone(),
                };
                let name = name.to_owned();
                return Ok(Effect::Ask(step, Pending::Signature { name, signature }));
            }
            Then::Start { .. } => self.images.check_trust(name)?,
            Then::Select => {}
        }
        let image = self.image(name)?;
        // What a script tries to start is no initrd of what it starts instead.
        image.is_kernel = true;
        let start = image.start()?;
        let Then::Start { in_place } = then else {
            self.images.select(name);
            return Ok(Effect::Done);
        };
        match start {
            Start::Script => {
                let (file, text) = (image.url.clone(), core::mem::take(&mut image.text));
                self.images.free(Some(name));
                Ok(Effect::Run {
                    file,
                    text,
                    in_place,
                })
            }
            Start::Kernel => Ok(Effect::Plan(Box::new(self.images.plan(name)?))),
            Start::BootLoader => Ok(Effect::Chain(image.url.clone())),
        }
    }

    fn image(&mut self, name: &str) -> Result<&mut Image, Fault> {
        let image = self.images.find(name);
        image.ok_or_else(|| Fault::new(name, "no image has this name"))
    }

    /// `imgargs IMAGE WORD…`
    pub(super) fn set_arguments(&mut self, words: &[String]) -> Result<Effect, Fault> {
        let mut arguments = Arguments::parse(words, &[])?;
        let name = arguments.word("the image")?;
        self.image(name)?.arguments = arguments.rest.join(" ");
        Ok(Effect::Done)
    }

    /// `md5sum IMAGE…` and `sha1sum IMAGE…`, which show the sums of images to people and decide
    /// nothing: the images must be there, and their sums are left out.
    pub(super) fn digest(
        &mut self,
        command: &str,
        words: &[String],
        place: &Place,
        context: &mut Context,
    ) -> Result<Effect, Fault> {
        let names = Arguments::parse(words, &[])?.rest;
        for name in names {
            self.image(name)?;
        }
        context.note(place, format!("{command} shows no sums here"));
        Ok(Effect::Done)
    }

    /// `imgfree [IMAGE]`
    pub(super) fn free(&mut self, words: &[String]) -> Result<Effect, Fault> {
        let arguments = Arguments::parse(words, &[])?;
        self.images.free(arguments.rest.first().map(String::as_str));
        Ok(Effect::Done)
    }

    /// `imgverify [--signer NAME] [--keep] IMAGE SIGNATURE`
    pub(super) fn verify(
        &mut self,
        words: &[String],
        place: &Place,
        context: &mut Context,
    ) -> Result<Effect, Fault> {
        let known = [
            valued("signer", 's'),
            valued("timeout", 't'),
            flag("keep", 'k'),
            flag("quiet", 'q'),
        ];
        let mut arguments = Arguments::parse(words, &known)?;
        let image = arguments.word("the image")?;
        let reference = arguments.word("the address of the signature")?;
        arguments.end()?;
        if let Some(signer) = arguments.value("signer") {
            let what = "minisign signatures name no signer; say by the keys who may sign";
            return Err(Fault::new(signer, what));
        }
        // The signature may have been fetched as an image; iPXE forgets it, so that it does not
        // become an initrd.
        let signature = match self.images.find(reference) {
            Some(image) => image.url.clone(),
            None => self.url(reference, place, context)?,
        };
        if !arguments.has("keep") {
            self.images.free(Some(reference));
        }
        let image = ["--".to_owned(), image.to_owned()];
        self.fetch(&image, Then::Verify(Box::new(signature)), place, context)
    }

    /// Takes what a check of an image's signature came to.
    pub(super) fn verified(
        &mut self,
        name: &str,
        signature: Url,
        answer: Answer,
    ) -> Result<Effect, Fault> {
        let image = self.image(name)?;
        if let Answer::Failed(why) = answer {
            image.trust = Trust::Refused;
            return Err(Fault::new(name, why));
        }
        image.trust = Trust::Verified(signature);
        Ok(Effect::Done)
    }

    /// `imgtrust [--allow] [--permanent]`
    pub(super) fn set_trust(&mut self, words: &[String]) -> Result<Effect, Fault> {
        let known = [flag("allow", 'a'), flag("permanent", 'p')];
        let arguments = Arguments::parse(words, &known)?;
        arguments.end()?;
        let is_demanded = !arguments.has("allow");
        self.images
            .demand_trust(is_demanded, arguments.has("permanent"))?;
        Ok(Effect::Done)
    }

    /// `params [--name NAME] [--method METHOD] [--delete]`
    pub(super) fn begin_parameters(&mut self, words: &[String]) -> Result<Effect, Fault> {
        let known = [
            valued("name", 'n'),
            valued("method", 'm'),
            flag("delete", 'd'),
        ];
        Arguments::parse(words, &known)?;
        self.parameters.clear();
        Ok(Effect::Done)
    }

    /// `param [--params NAME] NAME TEXT…`
    pub(super) fn add_parameter(&mut self, words: &[String]) -> Result<Effect, Fault> {
        let known = [valued("params", 'p'), flag("header", 'H')];
        let mut arguments = Arguments::parse(words, &known)?;
        if arguments.has("header") {
            let what = "headers cannot be added to a request";
            return Err(Fault::new("--header", what));
        }
        let name = arguments.word("the parameter")?.to_owned();
        if self.parameters.len() >= MAX_PARAMETERS {
            let what = format!("more than {MAX_PARAMETERS} parameters");
            return Err(Fault::new(&name, what));
        }
        self.parameters.push((name, arguments.rest.join(" ")));
        Ok(Effect::Done)
    }
}

/// How many parameters a request may have.
const MAX_PARAMETERS: usize = 1_000;

const IMAGE_OPTIONS: [Known; 5] = [
    valued("name", 'n'),
    valued("timeout", 't'),
    flag("autofree", 'a'),
    flag("replace", 'r'),
    flag("quiet", 'q'),
];
