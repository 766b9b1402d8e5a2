//! What is asked for: request line and headers.

use crate::prelude::*;
use base64::Engine;
use ureq_proto::client::state::RecvResponse;
use ureq_proto::client::{Call, SendRequestResult};
use ureq_proto::http::Request;
use ureq_proto::http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, HOST, IF_RANGE, PROXY_AUTHORIZATION, RANGE, USER_AGENT,
};

use super::{Config, Failure};

/// Octets of the longest request line and headers.
const MAX_REQUEST_LEN: usize = 16 << 10;

/// Returns the request as octets, and what reads the answer to it.
pub(super) fn ask(config: &Config) -> Result<(Vec<u8>, Call<RecvResponse>), Failure> {
    let url = &config.url;
    let mut request = Request::get(url.to_string())
        .header(HOST, url.authority())
        .header(USER_AGENT, concat!("wireboot/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT_ENCODING, "identity");
    if let Some(credentials) = url.credentials() {
        request = request.header(AUTHORIZATION, basic(credentials));
    }
    if let Some(credentials) = config
        .proxy
        .as_ref()
        .and_then(|proxy| proxy.credentials.as_deref())
    {
        request = request.header(PROXY_AUTHORIZATION, basic(credentials));
    }
    if let Some(resume) = &config.resume {
        request = request.header(RANGE, format!("bytes={}-", resume.len));
        if let Some(validator) = &resume.validator {
            request = request.header(IF_RANGE, validator);
        }
    }
    let malformed = |error: &dyn core::fmt::Display| Failure::Malformed(error.to_string());
    let request = request.body(()).map_err(|error| malformed(&error))?;
    let call = Call::new(request).map_err(|error| malformed(&error))?;
    let mut call = call.proceed();
    let mut octets = vec![0; MAX_REQUEST_LEN];
    let mut len = 0;
    while !call.can_proceed() {
        let rest = octets.get_mut(len..).unwrap_or_default();
        len += call.write(rest).map_err(|error| malformed(&error))?;
    }
    octets.truncate(len);
    if config.proxy.is_some() && octets.starts_with(b"GET /") {
        let server = format!("http://{}", url.authority());
        octets.splice(4..4, server.into_bytes());
    }
    match call.proceed().map_err(|error| malformed(&error))? {
        Some(SendRequestResult::RecvResponse(call)) => Ok((octets, call)),
        Some(SendRequestResult::Await100(_) | SendRequestResult::SendBody(_)) | None => {
            Err(Failure::Malformed("the request has a body".to_owned()))
        }
    }
}

/// Returns the value of a header that names a user by `user:password` (RFC 7617).
pub fn basic(credentials: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
    format!("Basic {encoded}")
}
