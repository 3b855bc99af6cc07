//! The order of ledger and storage for each HTTP request, over any platform.
//!
//! The ledger (one record per deposit) is asked first and decides; bytes go to and from KV between two ledger steps. The same code
//! runs on Cloudflare and in memory, so that what the tests show of one holds for the other.

use base64ct::{Base64, Encoding};
use protocol::{
    SUITE,
    claim::{Claim, Confirm, MAX_CLAIM_LEN, MAX_CONFIRM_LEN, Verb},
    codec,
    crypto::blake3,
    deposit::{MAX_STATEMENT_LEN, Statement},
    identity::{API_VERSION, Admission, Descriptor},
    ids::{AttemptId, DepositId, Root, Seconds},
    problem::Problem,
};

use crate::machine::{Config, Reply, Request};

/// Header that carries the statement of a deposit: an RFC 9651 byte sequence (`:base64:`).
pub const STATEMENT_HEADER: &str = "strongroom-statement";
/// Media type of all CBOR bodies.
pub const CBOR: &str = "application/cbor";
/// Media type of signed statements (RFC 9052 §16.1).
pub const COSE: &str = "application/cose; cose-type=\"cose-sign1\"";
/// Media type of bodies.
pub const OCTETS: &str = "application/octet-stream";
/// Media type of refusals (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";

/// KV key of a write.
pub fn body_key(deposit: &DepositId, attempt: &AttemptId) -> String {
    format!("b/{deposit}/{attempt}")
}

/// What the flow needs of a platform. Every call may fail; a failure is never an empty answer.
pub trait Platform {
    /// Runs one ledger step of a deposit: load, [`crate::machine::step`], store, alarm.
    fn ledger(&self, deposit: &DepositId, request: Request) -> impl Future<Output = Result<Reply, Problem>>;
    /// Reads the body of the request, at most `most` bytes.
    fn body(&mut self, most: u64) -> impl Future<Output = Result<Vec<u8>, Problem>>;
    /// Writes a value.
    fn put(&self, key: &str, value: Vec<u8>) -> impl Future<Output = Result<(), Problem>>;
    /// Reads a value; `None` where there is none, or none yet.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, Problem>>;
    /// Removes a value; removing nothing succeeds.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), Problem>>;
}

/// The head of a request.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Upper-case method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Header `Strongroom-Statement`.
    pub statement: Option<String>,
    /// Header `Content-Length`.
    pub length: Option<u64>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type.
    pub content_type: &'static str,
    /// Methods that the path takes, where the method was wrong.
    pub allow: Option<&'static str>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, allow: None, body }
    }

    /// A refusal, with the safe's clock: a wallet whose claim came at the wrong time sets its own by it.
    pub fn problem(problem: Problem, now: Seconds) -> Self {
        let body = serde_json::json!({
            "type": problem.type_uri(),
            "title": problem.title(),
            "status": problem.status(),
            "next": problem.next(),
            "time": now,
        });
        Self::new(problem.status(), PROBLEM, body.to_string().into_bytes())
    }
}

/// What a safe shows of itself, besides its configuration.
#[derive(Debug, Clone)]
pub struct Presence {
    /// Name.
    pub name: String,
    /// Identity public key, compressed SEC1.
    pub identity: codec::Bytes,
    /// Signed entries.
    pub chain: Vec<codec::Bytes>,
}

/// The routes, in the order of the specification.
enum Route {
    Descriptor,
    Health,
    Deposit(DepositId),
    Confirm(DepositId),
    Claim(DepositId, Verb),
}

fn route(head: &Head) -> Result<Route, (Problem, Option<&'static str>)> {
    let parts: Vec<&str> = head.path.split('/').skip(1).collect();
    let id = |text: &str| text.parse::<DepositId>().map_err(|_| (Problem::NoSuchPath, None));
    let (found, allow) = match parts.as_slice() {
        [".well-known", "strongroom"] => (Route::Descriptor, "GET"),
        ["v1", "health"] => (Route::Health, "GET"),
        ["v1", "deposits", deposit] => (Route::Deposit(id(deposit)?), "PUT"),
        ["v1", "deposits", deposit, "confirm"] => (Route::Confirm(id(deposit)?), "POST"),
        ["v1", "deposits", deposit, "retrieve"] => (Route::Claim(id(deposit)?, Verb::Retrieve), "POST"),
        ["v1", "deposits", deposit, "release"] => (Route::Claim(id(deposit)?, Verb::Release), "POST"),
        _ => return Err((Problem::NoSuchPath, None)),
    };
    let head_of_get = allow == "GET" && head.method == "HEAD";
    if head.method == allow || head_of_get { Ok(found) } else { Err((Problem::MethodNotAllowed, Some(allow))) }
}

/// Handles one request.
pub async fn handle<P: Platform>(
    platform: &mut P,
    head: &Head,
    now: Seconds,
    config: &Config,
    presence: &Presence,
) -> Answer {
    let result = match route(head) {
        Ok(Route::Descriptor) => Ok(Answer::new(200, CBOR, descriptor(now, config, presence))),
        Ok(Route::Health) => Ok(Answer::new(200, "application/json", b"{\"status\":\"ok\"}".to_vec())),
        Ok(Route::Deposit(id)) => deposit(platform, head, &id, config).await,
        Ok(Route::Confirm(id)) => confirm(platform, &id).await,
        Ok(Route::Claim(id, verb)) => claim(platform, &id, verb).await,
        Err((problem, allow)) => return Answer { allow, ..Answer::problem(problem, now) },
    };
    result.unwrap_or_else(|problem| Answer::problem(problem, now))
}

fn descriptor(now: Seconds, config: &Config, presence: &Presence) -> Vec<u8> {
    codec::encode(&Descriptor {
        suite: SUITE,
        api: API_VERSION,
        identity: presence.identity.clone(),
        name: presence.name.clone(),
        url: config.url.clone(),
        chain: presence.chain.clone(),
        limits: config.limits,
        admission: Admission::Open,
        time: now,
    })
}

/// The statement from its header.
fn parse_statement(head: &Head, deposit: &DepositId, config: &Config) -> Result<Statement, Problem> {
    let text = head.statement.as_deref().ok_or(Problem::BadStatement)?.trim();
    // Base64 is 4/3 as long; the cap comes before any work.
    if text.len() > MAX_STATEMENT_LEN * 4 / 3 + 8 {
        return Err(Problem::BadStatement);
    }
    let inner = text.strip_prefix(':').and_then(|t| t.strip_suffix(':')).ok_or(Problem::BadStatement)?;
    let bytes = Base64::decode_vec(inner).map_err(|_| Problem::BadStatement)?;
    Statement::parse(&bytes, &config.safe, deposit).map_err(|_| Problem::BadStatement)
}

async fn deposit<P: Platform>(p: &mut P, head: &Head, id: &DepositId, config: &Config) -> Result<Answer, Problem> {
    let statement = parse_statement(head, id, config)?;
    let announced = head.length.ok_or(Problem::LengthRequired)?;
    if announced > config.limits.body {
        return Err(Problem::TooLarge);
    }
    if announced != statement.length {
        return Err(Problem::BodyMismatch);
    }
    let attempt = match p.ledger(id, Request::Begin(Box::new(statement.clone()))).await? {
        Reply::Write(attempt) => attempt,
        early => {
            // Read all the same: who is still sending when the connection closes sees a broken one, and no answer.
            let _ = p.body(config.limits.body).await;
            return match early {
                Reply::Offer(offer) => Ok(Answer::new(200, COSE, offer.0)),
                Reply::Certificate(certificate) => Ok(Answer::new(200, COSE, certificate.0)),
                reply => Err(refusal(reply)),
            };
        }
    };
    let body = p.body(config.limits.body).await?;
    let (length, root) = (body.len() as u64, Root(blake3(&body)));
    let key = body_key(id, &attempt);
    let fits = length == statement.length && root == statement.root;
    if fits {
        p.put(&key, body).await?;
    }
    let reply = p.ledger(id, Request::Commit { attempt, length, root }).await?;
    match reply {
        Reply::Offer(offer) => Ok(Answer::new(201, COSE, offer.0)),
        Reply::Certificate(certificate) => Ok(Answer::new(200, COSE, certificate.0)),
        reply => {
            // The ledger does not want it: what was just written would belong to nobody.
            if fits {
                p.delete(&key).await?;
            }
            Err(refusal(reply))
        }
    }
}

async fn confirm<P: Platform>(p: &mut P, id: &DepositId) -> Result<Answer, Problem> {
    let body = p.body(MAX_CONFIRM_LEN as u64).await?;
    let confirm: Confirm = codec::decode(&body, MAX_CONFIRM_LEN).map_err(|_| Problem::Malformed)?;
    codec::expect_suite(confirm.suite).map_err(|_| Problem::Malformed)?;
    match p.ledger(id, Request::Confirm(confirm.offer)).await? {
        Reply::Certificate(certificate) => Ok(Answer::new(200, COSE, certificate.0)),
        reply => Err(refusal(reply)),
    }
}

async fn claim<P: Platform>(p: &mut P, id: &DepositId, verb: Verb) -> Result<Answer, Problem> {
    let body = p.body(MAX_CLAIM_LEN as u64).await?;
    let claim = Claim::parse(&body).map_err(|_| Problem::Malformed)?;
    if claim.verb != verb {
        return Err(Problem::Malformed);
    }
    match p.ledger(id, Request::Claim(claim)).await? {
        // Null after commit is a storage that lags or lost: retriable here, and for an audit to find out; never "not found".
        Reply::Read(attempt) => match p.get(&body_key(id, &attempt)).await? {
            Some(body) => Ok(Answer::new(200, OCTETS, body)),
            None => Err(Problem::Unavailable),
        },
        Reply::Erase(attempts) => match erase(p, id, attempts).await? {
            Reply::Receipt(receipt) => Ok(Answer::new(200, COSE, receipt.0)),
            reply => Err(refusal(reply)),
        },
        Reply::Receipt(receipt) => Ok(Answer::new(200, COSE, receipt.0)),
        reply => Err(refusal(reply)),
    }
}

/// Removes writes from KV and reports it to the ledger; also what the alarm does.
///
/// # Errors
/// [`Problem::Unavailable`] if the storage fails; the ledger still lists what is left and tries again.
pub async fn erase<P: Platform>(p: &P, id: &DepositId, attempts: Vec<AttemptId>) -> Result<Reply, Problem> {
    for attempt in &attempts {
        p.delete(&body_key(id, attempt)).await?;
    }
    p.ledger(id, Request::Erased(attempts)).await
}

/// A reply that is no answer to the request is a fault of the safe.
fn refusal(reply: Reply) -> Problem {
    match reply {
        Reply::Refused(problem) => problem,
        _ => Problem::Internal,
    }
}
