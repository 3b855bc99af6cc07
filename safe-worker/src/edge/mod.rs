//! The safe on Cloudflare: a Worker in front, one Durable Object per deposit, bodies in KV.
//!
//! Only wiring: what a request means is decided in [`crate::flow`] and [`crate::machine`].

mod config;
mod object;

use protocol::{
    codec,
    ids::{AttemptId, DepositId, Seconds},
    problem::Problem,
};
use worker::{Context, Env, Headers, Method, Request, RequestInit, Response, Result, event, kv::KvStore};

use crate::{
    flow::{self, Answer, Head, Platform, STATEMENT_HEADER},
    machine::{Reply, Request as Ask},
};

/// KV binding of the bodies.
pub(crate) const BLOBS: &str = "BLOBS";
/// Durable Object binding of the ledger.
const DEPOSITS: &str = "DEPOSITS";
/// Longest message between Worker and object, bytes: a claim, a statement or a record's signed statement with its head.
pub(crate) const MAX_MESSAGE_LEN: usize = 8 * 1024;

/// Seconds since 1970. In a Worker the clock stands still while it computes, which is all that is needed here.
pub(crate) fn now() -> Seconds {
    worker::Date::now().as_millis() / 1000
}

struct Edge<'a> {
    request: &'a mut Request,
    length: Option<u64>,
    env: &'a Env,
}

/// A storage that fails is a storage that fails: never an empty answer.
pub(crate) fn unavailable<E: core::fmt::Display>(error: E) -> Problem {
    worker::console_error!("storage: {error}");
    Problem::Unavailable
}

pub(crate) fn blobs(env: &Env) -> core::result::Result<KvStore, Problem> {
    env.kv(BLOBS).map_err(unavailable)
}

pub(crate) async fn delete_bodies(
    env: &Env,
    deposit: &DepositId,
    attempts: &[AttemptId],
) -> core::result::Result<(), Problem> {
    for attempt in attempts {
        blobs(env)?.delete(&flow::body_key(deposit, attempt)).await.map_err(unavailable)?;
    }
    Ok(())
}

impl Platform for Edge<'_> {
    async fn ledger(&self, deposit: &DepositId, ask: Ask) -> core::result::Result<Reply, Problem> {
        let stub = self
            .env
            .durable_object(DEPOSITS)
            .and_then(|namespace| namespace.get_by_name(&deposit.to_string()))
            .map_err(unavailable)?;
        let message = js_sys::Uint8Array::from(codec::encode(&(*deposit, ask)).as_slice());
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(message.into()));
        // The host is never resolved; the object is addressed by its stub.
        let request = Request::new_with_init("https://ledger/", &init).map_err(unavailable)?;
        let mut response = stub.fetch_with_request(request).await.map_err(unavailable)?;
        let bytes = response.bytes().await.map_err(unavailable)?;
        codec::decode(&bytes, MAX_MESSAGE_LEN).map_err(unavailable)
    }

    async fn body(&mut self, most: u64) -> core::result::Result<Vec<u8>, Problem> {
        // The length is checked before a byte is read, so that memory stays bounded.
        let length = self.length.ok_or(Problem::LengthRequired)?;
        if length > most {
            return Err(Problem::TooLarge);
        }
        let body = self.request.bytes().await.map_err(|_| Problem::Malformed)?;
        if body.len() as u64 > most { Err(Problem::TooLarge) } else { Ok(body) }
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> core::result::Result<(), Problem> {
        let put = blobs(self.env)?.put_bytes(key, &value).map_err(unavailable)?;
        put.execute().await.map_err(unavailable)
    }

    async fn get(&self, key: &str) -> core::result::Result<Option<Vec<u8>>, Problem> {
        blobs(self.env)?.get(key).bytes().await.map_err(unavailable)
    }

    async fn delete(&self, key: &str) -> core::result::Result<(), Problem> {
        blobs(self.env)?.delete(key).await.map_err(unavailable)
    }
}

/// Entry of every request.
#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _: Context) -> Result<Response> {
    if request.method() == Method::Options {
        return respond(Answer { status: 204, content_type: "", allow: None, body: Vec::new() });
    }
    let header = |name: &str| request.headers().get(name).ok().flatten();
    let head = Head {
        method: request.method().to_string(),
        path: request.path(),
        statement: header(STATEMENT_HEADER),
        length: header("content-length").and_then(|l| l.parse().ok()),
    };
    let answer = match config::load(&env) {
        Ok(safe) => {
            let mut edge = Edge { length: head.length, request: &mut request, env: &env };
            flow::handle(&mut edge, &head, now(), &safe.config, &safe.presence).await
        }
        Err(reason) => {
            worker::console_error!("configuration: {reason}");
            Answer::problem(Problem::Internal, now())
        }
    };
    respond(answer)
}

/// Headers that every answer carries. Any origin may ask: there are no cookies, and rights travel inside claims.
fn respond(answer: Answer) -> Result<Response> {
    let headers = Headers::new();
    headers.set("access-control-allow-origin", "*")?;
    headers.set("cache-control", "no-store")?;
    headers.set("x-content-type-options", "nosniff")?;
    if answer.status == 204 {
        headers.set("access-control-allow-methods", "GET, PUT, POST")?;
        headers.set("access-control-allow-headers", "content-type, strongroom-statement")?;
        headers.set("access-control-max-age", "86400")?;
        return Ok(Response::empty()?.with_status(204).with_headers(headers));
    }
    if let Some(allow) = answer.allow {
        headers.set("allow", allow)?;
    }
    headers.set("content-type", answer.content_type)?;
    Ok(Response::from_bytes(answer.body)?.with_status(answer.status).with_headers(headers))
}
