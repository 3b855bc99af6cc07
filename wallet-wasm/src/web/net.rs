//! Requests to safes by `fetch`. Carries bytes; what they mean is decided elsewhere.

use js_sys::{Array, JSON, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortSignal, Blob, Headers, ReadableStreamDefaultReader, RequestCache, RequestCredentials, RequestInit,
    RequestMode, RequestRedirect, Response,
};

use protocol::ids::Seconds;

use crate::exchange::{Answer, Request};

/// How long a safe may take, milliseconds: 2 MiB over a line of 0.5 Mbit/s, and some.
const PATIENCE_MS: u32 = 60_000;

#[wasm_bindgen]
extern "C" {
    // Works in a window and in a worker alike.
    #[wasm_bindgen(js_name = fetch)]
    fn global_fetch(url: &str, init: &RequestInit) -> js_sys::Promise;
}

/// A body to send. The browser takes it over: what is sent from a `Blob` costs this thread no copy at the time of sending.
pub(crate) fn body_of(bytes: &Uint8Array) -> Option<Blob> {
    Blob::new_with_u8_array_sequence(&Array::of1(bytes)).ok()
}

/// What is sent.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) statement: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) content_type: &'a str,
    pub(crate) body: Option<&'a Blob>,
    pub(crate) most: u64,
}

/// What came back.
pub(crate) struct Received {
    status: u16,
    body: Uint8Array,
    problem: Option<(String, Seconds)>,
}

impl Received {
    /// The answer with its body in wasm memory.
    pub(crate) fn into_answer(self) -> Answer {
        Answer { status: self.status, body: self.body.to_vec(), problem: self.problem }
    }

    /// The answer without its body, and the body where it lies.
    pub(crate) fn apart(self) -> (Answer, Uint8Array) {
        (Answer { status: self.status, body: Vec::new(), problem: self.problem }, self.body)
    }
}

/// Sends a request with its body.
pub(crate) async fn send_request(request: &Request, body: Option<&Blob>) -> Option<Received> {
    send(Outgoing {
        method: request.method,
        url: &request.url,
        statement: request.statement.as_deref(),
        token: request.token.as_deref(),
        content_type: request.content_type,
        body,
        most: request.most,
    })
    .await
}

/// Sends and reads the whole answer. `None`: nobody answered, or more came than was asked for.
pub(crate) async fn send(outgoing: Outgoing<'_>) -> Option<Received> {
    exchange(&outgoing).await.ok().flatten()
}

async fn exchange(outgoing: &Outgoing<'_>) -> Result<Option<Received>, JsValue> {
    let headers = Headers::new()?;
    if let Some(statement) = outgoing.statement {
        headers.set("Strongroom-Statement", statement)?;
    }
    if let Some(token) = outgoing.token {
        headers.set("Strongroom-Token", token)?;
    }
    let init = RequestInit::new();
    init.set_method(outgoing.method);
    init.set_mode(RequestMode::Cors);
    init.set_cache(RequestCache::NoStore);
    init.set_credentials(RequestCredentials::Omit);
    init.set_redirect(RequestRedirect::Error);
    init.set_signal(Some(&AbortSignal::timeout_with_u32(PATIENCE_MS)));
    if let Some(body) = outgoing.body {
        headers.set("Content-Type", outgoing.content_type)?;
        init.set_body(body);
    }
    init.set_headers(&headers);
    let response: Response = JsFuture::from(global_fetch(outgoing.url, &init)).await?.dyn_into()?;
    // Never more than 4 GiB, which no caller asks for.
    let most = u32::try_from(outgoing.most.max(MAX_PROBLEM_LEN)).unwrap_or(u32::MAX);
    let Some(body) = read(&response, most).await? else { return Ok(None) };
    let is_problem = response.headers().get("content-type")?.is_some_and(|t| t.starts_with("application/problem+json"));
    let problem = if is_problem { parse_problem(&body.to_vec()) } else { None };
    Ok(Some(Received { status: response.status(), body, problem }))
}

/// Reads a body piece by piece, so that whoever sends without end, or what unpacks to more than it was, costs no more memory than was asked for.
/// `None`: more came than `most` bytes.
async fn read(response: &Response, most: u32) -> Result<Option<Uint8Array>, JsValue> {
    let Some(stream) = response.body() else { return Ok(Some(Uint8Array::new_with_length(0))) };
    let reader: ReadableStreamDefaultReader = stream.get_reader().dyn_into()?;
    // An announcement is a hint: right, it saves copying; wrong, it costs no more than `most`.
    let announced = response.headers().get("content-length")?.and_then(|length| length.parse::<u32>().ok());
    let mut body = Uint8Array::new_with_length(announced.unwrap_or(64 * 1024).min(most));
    let mut length = 0;
    loop {
        let next = JsFuture::from(reader.read()).await?;
        if Reflect::get(&next, &"done".into())?.is_truthy() {
            return Ok(Some(if length == body.length() { body } else { body.slice(0, length) }));
        }
        let piece: Uint8Array = Reflect::get(&next, &"value".into())?.dyn_into()?;
        if piece.length() > most - length {
            // Whether it hears of that or not, nothing more is read.
            let _ = reader.cancel();
            return Ok(None);
        }
        let end = length + piece.length();
        if end > body.length() {
            let larger = Uint8Array::new_with_length(end.max(body.length().saturating_mul(2)).min(most));
            larger.set(&body.subarray(0, length), 0);
            body = larger;
        }
        body.set(&piece, length);
        length = end;
    }
}

/// Longest problem details that are read, bytes.
const MAX_PROBLEM_LEN: u64 = 4096;

fn parse_problem(body: &[u8]) -> Option<(String, Seconds)> {
    let text = core::str::from_utf8(body).ok()?;
    let json = JSON::parse(text).ok()?;
    let uri = Reflect::get(&json, &"type".into()).ok()?.as_string()?;
    let time = Reflect::get(&json, &"time".into()).ok()?.as_f64().unwrap_or_default();
    Some((uri, time as Seconds))
}
