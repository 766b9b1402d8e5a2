//! The commands about images: fetch them, name them, start them; and what a request for one takes
//! with it.

use super::super::error::Place;
use super::super::kernel_image::Kind;
use super::super::planner::Context;
use super::super::url::Url;
use super::super::{Purpose, Step};
use super::commands::{Fault, Pending, State, Then, say};
use super::machine::Effect;
use super::options::{Arguments, Known, flag, valued};

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
            Then::Start { .. } => Purpose::BootFile,
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
        let (address, has_parameters) = match reference.split_once("##params") {
            Some((address, _)) => (address.to_owned(), true),
            None => (reference.to_owned(), false),
        };
        let address = match has_parameters {
            true => {
                let text = "sends its parameters in the query of a GET, not as a form";
                context.note(place, text);
                let string = super::format::Type::UriString;
                let pairs = self
                    .parameters
                    .iter()
                    .map(|(name, value)| format!("{name}={}", string.format(value.as_bytes())));
                let separator = if address.contains('?') { '&' } else { '?' };
                format!(
                    "{address}{separator}{}",
                    pairs.collect::<Vec<_>>().join("&")
                )
            }
            false => address,
        };
        let url = place.file.join(&address);
        url.map_err(|error| Fault::new(reference, error.what))
    }

    pub(super) fn use_image(&mut self, name: &str, then: Then) -> Result<Effect, Fault> {
        let in_place = match then {
            Then::Keep => return Ok(Effect::Done),
            Then::Select => {
                self.images.select(name);
                return Ok(Effect::Done);
            }
            Then::Start { in_place } => in_place,
        };
        let image = self.images.find(name);
        let image = image.ok_or_else(|| Fault::new(name, "no image has this name"))?;
        if image.kind == Kind::IpxeScript {
            let (file, text) = (image.url.clone(), std::mem::take(&mut image.text));
            self.images.free(Some(name));
            Ok(Effect::Run {
                file,
                text,
                in_place,
            })
        } else if image.kind.is_kernel() {
            Ok(Effect::Plan(Box::new(self.images.plan(name)?)))
        } else if image.kind.is_firmware_program() {
            Ok(Effect::Chain(image.url.clone()))
        } else {
            let what = "is neither a kernel nor a script that begins with #!ipxe";
            Err(Fault::new(name, what))
        }
    }

    pub(super) fn image_command(
        &mut self,
        command: &str,
        words: &[String],
        place: &Place,
    ) -> Result<Effect, Fault> {
        let known = [
            valued("signer", 's'),
            valued("timeout", 't'),
            flag("keep", 'k'),
            flag("allow", 'a'),
            flag("permanent", 'p'),
        ];
        let mut arguments = Arguments::parse(words, &known)?;
        match command {
            "imgstat" => return Ok(say(self.images.describe())),
            "imgtrust" => self.images.must_be_signed = !arguments.has("allow"),
            "imgfree" => self.images.free(arguments.rest.first().map(String::as_str)),
            _ => {
                let name = arguments.word("the image")?;
                let image = self.images.find(name);
                let image = image.ok_or_else(|| Fault::new(name, "no image has this name"))?;
                if command == "imgargs" {
                    image.arguments = arguments.rest.join(" ");
                } else {
                    let signature = arguments.word("the address of the signature")?;
                    let url = place.file.join(signature);
                    let url = url.map_err(|error| Fault::new(signature, error.what))?;
                    image.signature = Some(url);
                }
            }
        }
        Ok(Effect::Done)
    }

    pub(super) fn parameter_command(
        &mut self,
        command: &str,
        words: &[String],
    ) -> Result<Effect, Fault> {
        let known = [
            valued("name", 'n'),
            valued("method", 'm'),
            valued("params", 'p'),
            flag("delete", 'd'),
            flag("header", 'H'),
        ];
        let mut arguments = Arguments::parse(words, &known)?;
        if command == "params" {
            self.parameters.clear();
            return Ok(Effect::Done);
        }
        if arguments.has("header") {
            return Err(Fault::new(
                "--header",
                "headers cannot be added to a request",
            ));
        }
        let name = arguments.word("the parameter")?.to_owned();
        if self.parameters.len() >= 1_000 {
            return Err(Fault::new(&name, "more than 1000 parameters"));
        }
        self.parameters.push((name, arguments.rest.join(" ")));
        Ok(Effect::Done)
    }
}

const IMAGE_OPTIONS: [Known; 5] = [
    valued("name", 'n'),
    valued("timeout", 't'),
    flag("autofree", 'a'),
    flag("replace", 'r'),
    flag("quiet", 'q'),
];
