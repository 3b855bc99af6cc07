//! The safe on Cloudflare: a Worker in front, a Durable Object per deposit and per token, one for the safe as a whole, bodies in KV.
//!
//! Only wiring: what a request means is decided in [`crate::flow`] and [`crate::machine`].

mod config;
mod object;
mod owner;
mod relay;
mod sealing;
mod tally;

use minicbor::{Decode, Encode};
use protocol::{
    codec,
    ids::{AccountId, DepositId, Seconds, TokenId},
    owner::messages::MAX_QUESTION_LEN,
    problem::Problem,
    seal::Sealer,
};
use worker::{Context, Env, Headers, Method, Request, RequestInit, Response, Result, event, kv::KvStore};

use crate::{
    account,
    flow::{self, Answer, Head, Platform, STATEMENT_HEADER, TOKEN_HEADER},
    machine::{Reply, Request as Ask},
    operator, owner as owners,
};

/// KV binding of the bodies.
const BLOBS: &str = "BLOBS";
/// Durable Object binding of the ledger.
const DEPOSITS: &str = "DEPOSITS";
/// Durable Object binding of the tokens' accounts.
const ACCOUNTS: &str = "ACCOUNTS";
/// Durable Object binding of what belongs to the safe as a whole.
const OPERATOR: &str = "OPERATOR";
/// Durable Object binding of the owners' records.
const OWNERS: &str = "OWNERS";
/// Longest message between Worker and object, bytes: a claim, a statement or a record's signed statement with its head.
pub(crate) const MAX_MESSAGE_LEN: usize = 8 * 1024;
/// Longest message between Worker and an owner's object, bytes: a question or its answer, which hold the head of a book, with its head.
pub(crate) const MAX_OWNER_MESSAGE_LEN: usize = MAX_QUESTION_LEN + 32 * 1024;

/// Seconds since 1970. In a Worker the clock stands still while it computes, which is all that is needed here.
pub(crate) fn now() -> Seconds {
    worker::Date::now().as_millis() / 1000
}

/// A storage that fails is a storage that fails: never an empty answer.
pub(crate) fn unavailable<E: core::fmt::Display>(error: E) -> Problem {
    worker::console_error!("{}", serde_json::json!({ "event": "storage", "error": error.to_string() }));
    Problem::Unavailable
}

/// Asks an object, found by its name.
async fn ask<Q: Encode<()>, R>(
    env: &Env,
    binding: &str,
    name: &str,
    message: &Q,
    most: usize,
) -> core::result::Result<R, Problem>
where
    R: Encode<()> + for<'b> Decode<'b, ()>,
{
    let stub = env.durable_object(binding).and_then(|objects| objects.get_by_name(name)).map_err(unavailable)?;
    let message = js_sys::Uint8Array::from(codec::encode(message).as_slice());
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(message.into()));
    // The host is never resolved; the object is addressed by its stub.
    let request = Request::new_with_init("https://object/", &init).map_err(unavailable)?;
    let mut response = stub.fetch_with_request(request).await.map_err(unavailable)?;
    let bytes = response.bytes().await.map_err(unavailable)?;
    codec::decode(&bytes, most).map_err(unavailable)
}

/// What requests and alarms have in common: KV, and the objects but the deposit's own.
pub(crate) struct Shared<'a>(pub(crate) &'a Env);

impl Shared<'_> {
    fn blobs(&self) -> core::result::Result<KvStore, Problem> {
        self.0.kv(BLOBS).map_err(unavailable)
    }

    pub(crate) async fn account(
        &self,
        token: &TokenId,
        request: account::Request,
    ) -> core::result::Result<account::Reply, Problem> {
        ask(self.0, ACCOUNTS, &token.to_string(), &request, MAX_MESSAGE_LEN).await
    }

    pub(crate) async fn operator(&self, request: operator::Request) -> core::result::Result<operator::Reply, Problem> {
        ask(self.0, OPERATOR, "operator", &request, MAX_MESSAGE_LEN).await
    }

    pub(crate) async fn delete(&self, key: &str) -> core::result::Result<(), Problem> {
        self.blobs()?.delete(key).await.map_err(unavailable)
    }
}

struct Edge<'a> {
    request: &'a mut Request,
    length: Option<u64>,
    shared: Shared<'a>,
}

impl Platform for Edge<'_> {
    async fn ledger(&self, deposit: &DepositId, request: Ask) -> core::result::Result<Reply, Problem> {
        ask(self.shared.0, DEPOSITS, &deposit.to_string(), &(*deposit, request), MAX_MESSAGE_LEN).await
    }

    async fn account(
        &self,
        token: &TokenId,
        request: account::Request,
    ) -> core::result::Result<account::Reply, Problem> {
        self.shared.account(token, request).await
    }

    async fn owner(
        &self,
        account: &AccountId,
        request: owners::Request,
    ) -> core::result::Result<owners::Reply, Problem> {
        let message = (*account, request);
        ask(self.shared.0, OWNERS, &account.to_string(), &message, MAX_OWNER_MESSAGE_LEN).await
    }

    async fn operator(&self, request: operator::Request) -> core::result::Result<operator::Reply, Problem> {
        self.shared.operator(request).await
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
        let put = self.shared.blobs()?.put_bytes(key, &value).map_err(unavailable)?;
        put.execute().await.map_err(unavailable)
    }

    async fn get(&self, key: &str) -> core::result::Result<Option<Vec<u8>>, Problem> {
        self.shared.blobs()?.get(key).bytes().await.map_err(unavailable)
    }

    async fn delete(&self, key: &str) -> core::result::Result<(), Problem> {
        self.shared.delete(key).await
    }

    async fn forward(&self, url: &str, body: Vec<u8>, most: u64) -> core::result::Result<Vec<u8>, Problem> {
        relay::forward(url, &body, most).await
    }

    async fn seal(&self, sealer: Sealer, content: Vec<u8>) -> core::result::Result<Vec<u8>, Problem> {
        sealing::seal(&sealer, &content).await.map_err(|_| Problem::Internal)
    }

    fn random(&self) -> core::result::Result<[u8; 32], Problem> {
        let mut drawn = [0; 32];
        getrandom::fill(&mut drawn).map_err(unavailable)?;
        Ok(drawn)
    }
}

/// Entry of every request.
#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _: Context) -> Result<Response> {
    if request.inner().method() == "OPTIONS" {
        return respond(Answer { status: 204, content_type: "", header: None, problem: None, body: Vec::new() });
    }
    let header = |name: &str| request.headers().get(name).ok().flatten();
    // By hand: a whole URL library would be a third of the Worker.
    let url = request.inner().url();
    let query = url.split_once('?').map(|(_, query)| query.split('#').next().unwrap_or_default().to_owned());
    let head = Head {
        // As it was sent: the library takes methods that it does not know for GET.
        method: request.inner().method(),
        path: request.path(),
        query,
        statement: header(STATEMENT_HEADER),
        token: header(TOKEN_HEADER),
        authorization: header("authorization"),
        content_type: header("content-type"),
        length: header("content-length").and_then(|l| l.parse().ok()),
    };
    let answer = match config::load(&env) {
        Ok(safe) => {
            let (config, keys, presence, policy) = (&safe.config, &safe.keys, &safe.presence, &safe.policy);
            let mut edge = Edge { length: head.length, request: &mut request, shared: Shared(&env) };
            let view = flow::Safe { config, keys, presence, policy, now: now() };
            let answer = flow::handle(&mut edge, &head, &view).await;
            if safe.log || answer.status >= 500 {
                worker::console_log!("{}", flow::log_line(&head, &answer));
            }
            answer
        }
        Err(reason) => {
            worker::console_error!("{}", serde_json::json!({ "event": "configuration", "error": reason }));
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
        headers.set("access-control-allow-headers", "content-type, strongroom-statement, strongroom-token")?;
        headers.set("access-control-max-age", "86400")?;
        return Ok(Response::empty()?.with_status(204).with_headers(headers));
    }
    if let Some((name, value)) = answer.header {
        headers.set(name, value)?;
    }
    headers.set("content-type", answer.content_type)?;
    Ok(Response::from_bytes(answer.body)?.with_status(answer.status).with_headers(headers))
}
