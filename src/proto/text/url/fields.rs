//! A URL as its fields, for another process: the text that people see has neither credentials nor pin.

use super::parts::Inside;
use super::parts::{check_host, check_text};
use super::{Form, Scheme, Sha256, Url, UrlParts};
use crate::prelude::*;
use crate::reader::{FieldError, Fields, put_option, put_text};
use alloc::sync::Arc;

// Their numbers are their places, for processes of the same program.
const SCHEMES: [Scheme; 3] = [Scheme::Tftp, Scheme::Http, Scheme::Https];

impl Url {
    /// Appends the fields of this URL.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let scheme = SCHEMES.iter().position(|known| *known == self.0.scheme);
        out.push(
            scheme
                .and_then(|at| u8::try_from(at).ok())
                .unwrap_or(u8::MAX),
        );
        put_option(self.0.credentials.as_deref(), out, put_text);
        put_text(&self.0.host, out);
        put_option(self.0.port, out, |port, out| out.extend(port.to_le_bytes()));
        put_text(&self.0.path, out);
        put_option(self.0.query.as_deref(), out, put_text);
        let pin = |pin: Sha256, out: &mut Vec<u8>| out.extend(pin.0);
        put_option(self.0.sha256, out, pin);
        put_option(self.0.form.as_deref(), out, |form, out| {
            for text in [&form.method, &form.headers, &form.body] {
                put_text(text, out);
            }
        });
        put_option(self.0.inside.as_deref(), out, |inside, out| {
            put_text(&inside.path, out);
            put_option(inside.sha256, out, pin);
        });
    }

    /// Reads the fields of a URL.
    ///
    /// # Errors
    /// The field that is missing or not valid.
    pub fn decode(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let scheme = SCHEMES.get(usize::from(fields.u8()?));
        let pin = |fields: &mut Fields<'_>| Ok(Sha256(fields.array()?));
        let url = UrlParts {
            scheme: *scheme.ok_or(FieldError("scheme"))?,
            credentials: fields.option(Fields::text)?,
            host: fields.text()?,
            port: fields.option(|fields| Ok(u16::from_le_bytes(fields.array()?)))?,
            path: fields.text()?,
            query: fields.option(Fields::text)?,
            sha256: fields.option(pin)?,
            form: fields.option(|fields| {
                Ok(Arc::new(Form {
                    method: fields.text()?,
                    headers: fields.text()?,
                    body: fields.text()?,
                }))
            })?,
            inside: fields.option(|fields| {
                Ok(Box::new(Inside {
                    path: fields.text()?,
                    sha256: fields.option(pin)?,
                }))
            })?,
        };
        // What holds for every URL, and a request is made of.
        check_host(&url.host).map_err(|_| FieldError("host"))?;
        let query = url.query.as_deref().unwrap_or_default();
        let inside = url.inside.as_ref().map_or("/", |inside| &inside.path);
        for text in [&url.path, query, inside] {
            check_text(text).map_err(|_| FieldError("path"))?;
        }
        let begins = url.path.starts_with('/') && inside.starts_with('/');
        if begins {
            Ok(Self::from(url))
        } else {
            Err(FieldError("path"))
        }
    }
}
