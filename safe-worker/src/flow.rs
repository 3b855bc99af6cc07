//! The order of ledger and storage for each HTTP request, over any platform.
//!
//! The ledger (one record per deposit) is asked first and decides; bytes go to and from KV between two ledger steps. The same code
//! runs on Cloudflare and in memory, so that what the tests show of one holds for the other.

use base64ct::{Base64, Encoding};
use protocol::{
    SUITE,
    audit::{AuditResult, MAX_AUDIT_LEN, Slice, derive_leaves, open_items, root_of},
    claim::{Claim, Confirm, MAX_CLAIM_LEN, MAX_CONFIRM_LEN, Verb},
    codec,
    crypto::{Node, Secret, same_bytes},
    deposit::{MAX_STATEMENT_LEN, Statement},
    identity::{API_VERSION, Admission, Descriptor, Whereabouts},
    ids::{AccountId, AttemptId, DepositId, Seconds, TokenId},
    owner::messages::{MAX_QUESTION_LEN, Question},
    problem::Problem,
    register::MAX_REGISTER_LEN,
    relay::{Carried, Delivery, Errand, MAX_PARCEL_LEN, Parcel},
    seal::Sealer,
    sealed::Sealed,
    token::{Token, TokenError},
};

use crate::{
    account::{self, Row, Use},
    machine::{Config, Keys, Removal, Reply, Request, in_time},
    operator::{self, DAILY_REMOVALS},
    owner::{self, OWNER_BYTES, record::MAX_RESERVED},
    record::MAX_ATTEMPTS,
    relay::{PARCELS, Target},
};

/// Header that carries the statement of a deposit: an RFC 9651 byte sequence (`:base64:`).
pub const STATEMENT_HEADER: &str = "strongroom-statement";
/// Header that carries an admission token.
pub const TOKEN_HEADER: &str = "strongroom-token";
/// Bytes of bodies that one audit reads, at most: four of the default limit, some 4 ms of processor time. What is beyond is answered
/// `unavailable`, and asked for again.
pub const AUDIT_BYTES: u64 = 8 * 1024 * 1024;
/// Media type of all CBOR bodies.
pub const CBOR: &str = "application/cbor";
/// Media type of signed statements (RFC 9052 §16.1).
pub const COSE: &str = "application/cose; cose-type=\"cose-sign1\"";
/// Media type of bodies.
pub const OCTETS: &str = "application/octet-stream";
/// Media type of health and usage.
pub const JSON: &str = "application/json";
/// Media type of refusals (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";

/// KV key of a write.
pub fn body_key(deposit: &DepositId, attempt: &AttemptId) -> String {
    format!("b/{deposit}/{attempt}")
}

/// What is written under it: the body, and behind it the leaves of its tree, so that an audit need not hash all of it.
fn with_leaves(mut body: Vec<u8>, leaves: &[Node]) -> Vec<u8> {
    leaves.iter().for_each(|leaf| body.extend_from_slice(leaf));
    body
}

/// Inverse of [`with_leaves`], for a body of `length` bytes. Of what was cut short or altered, whatever is there.
fn without_leaves(stored: &[u8], length: u64) -> (&[u8], Vec<Node>) {
    let (body, leaves) = stored.split_at(stored.len().min(usize::try_from(length).unwrap_or(usize::MAX)));
    (body, leaves.as_chunks().0.to_vec())
}

/// What the flow needs of a platform. Every call may fail; a failure is never an empty answer.
pub trait Platform {
    /// Runs one ledger step of a deposit: load, [`crate::machine::step`], store, alarm.
    fn ledger(&self, deposit: &DepositId, request: Request) -> impl Future<Output = Result<Reply, Problem>>;
    /// Runs one step of a token's account.
    fn account(
        &self,
        token: &TokenId,
        request: account::Request,
    ) -> impl Future<Output = Result<account::Reply, Problem>>;
    /// Runs one step of an owner's record: load, [`owner::step`], store, alarm.
    fn owner(
        &self,
        account: &AccountId,
        request: owner::Request,
    ) -> impl Future<Output = Result<owner::Reply, Problem>>;
    /// Runs one step of the operator's object.
    fn operator(&self, request: operator::Request) -> impl Future<Output = Result<operator::Reply, Problem>>;
    /// Reads the body of the request, at most `most` bytes.
    fn body(&mut self, most: u64) -> impl Future<Output = Result<Vec<u8>, Problem>>;
    /// Writes a value.
    fn put(&self, key: &str, value: Vec<u8>) -> impl Future<Output = Result<(), Problem>>;
    /// Reads a value; `None` where there is none, or none yet.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, Problem>>;
    /// Removes a value; removing nothing succeeds.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), Problem>>;
    /// Sends something to another safe, once, and reads at most `most` bytes of an answer with status 200. Redirections are not followed.
    fn forward(&self, url: &str, body: Vec<u8>, most: u64) -> impl Future<Output = Result<Vec<u8>, Problem>>;
    /// Seals content whole, by a cipher of the platform's own where it has one: of a long body that is what takes time.
    fn seal(&self, sealer: Sealer, content: Vec<u8>) -> impl Future<Output = Result<Vec<u8>, Problem>>;
    /// Randomness, for one use.
    fn random(&self) -> Result<[u8; 32], Problem>;
}

/// The head of a request.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Upper-case method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query, without the question mark.
    pub query: Option<String>,
    /// Header `Strongroom-Statement`.
    pub statement: Option<String>,
    /// Header `Strongroom-Token`.
    pub token: Option<String>,
    /// Header `Authorization`.
    pub authorization: Option<String>,
    /// Header `Content-Type`.
    pub content_type: Option<String>,
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
    /// A further header: `allow` where the method was wrong, `www-authenticate` where the operator is asked who he is.
    pub header: Option<(&'static str, &'static str)>,
    /// Why not, if it is a refusal.
    pub problem: Option<Problem>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, header: None, problem: None, body }
    }

    /// A refusal, with the safe's clock: a wallet whose claim came at the wrong time sets its own by it.
    pub fn problem(problem: Problem, now: Seconds) -> Self {
        Self::refusal(&problem.into(), now)
    }

    fn refusal(refusal: &Refusal, now: Seconds) -> Self {
        let problem = refusal.problem;
        let mut body = serde_json::json!({
            "type": problem.type_uri(),
            "title": problem.title(),
            "status": problem.status(),
            "next": problem.next(),
            "time": now,
        });
        if let Some((token, used)) = refusal.quota.as_deref() {
            body["quota"] = serde_json::json!({
                "bytes": token.bytes,
                "bytes_used": used.bytes,
                "deposits": token.deposits,
                "deposits_used": used.deposits,
            });
        }
        let answer = Self::new(problem.status(), PROBLEM, body.to_string().into_bytes());
        let bearer = (problem == Problem::Unauthorized).then_some(("www-authenticate", "Bearer"));
        let header = refusal.allow.map(|methods| ("allow", methods)).or(bearer);
        Self { header, problem: Some(problem), ..answer }
    }

    fn json(body: &serde_json::Value) -> Self {
        Self::new(200, JSON, body.to_string().into_bytes())
    }
}

/// A problem with what belongs to it.
struct Refusal {
    problem: Problem,
    allow: Option<&'static str>,
    quota: Option<Box<(Token, Use)>>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, allow: None, quota: None }
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
    /// What it has in common with other safes, where the operator says so.
    pub whereabouts: Option<Whereabouts>,
}

/// What the operator alone decides.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The key of admission tokens; without one, anybody may deposit.
    pub token_key: Option<Secret>,
    /// Opens the usage figures; without one, nobody sees them.
    pub operator_secret: Option<Secret>,
    /// The safes that this one asks for its owners.
    pub relays: Vec<Target>,
}

/// The safe, as a request finds it.
#[derive(Debug, Clone, Copy)]
pub struct Safe<'a> {
    /// What it is.
    pub config: &'a Config,
    /// Its keys.
    pub keys: &'a Keys,
    /// What it shows of itself.
    pub presence: &'a Presence,
    /// Who may do what.
    pub policy: &'a Policy,
    /// Its clock.
    pub now: Seconds,
}

/// The routes, in the order of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Descriptor,
    Health,
    Usage,
    Audits,
    Deposit(DepositId),
    Confirm(DepositId),
    Register(DepositId),
    Claim(DepositId, Verb),
    Look(AccountId),
    Open(AccountId),
    Greet(AccountId),
    Evaluate(AccountId),
    Channel(AccountId),
    Relay(AccountId),
    Parcel,
}

/// Path, method, and content type of the request's body, for each route in the order of the specification.
pub const ROUTES: [(&str, &str, Option<&str>); 19] = [
    ("/.well-known/strongroom", "GET", None),
    ("/v1/health", "GET", None),
    ("/v1/usage", "GET", None),
    ("/v1/deposits/{id}", "PUT", Some(OCTETS)),
    ("/v1/deposits/{id}/confirm", "POST", Some(CBOR)),
    ("/v1/deposits/{id}/retrieve", "POST", Some(CBOR)),
    ("/v1/deposits/{id}/release", "POST", Some(CBOR)),
    ("/v1/deposits/{id}/restore", "POST", Some(CBOR)),
    ("/v1/deposits/{id}/renew", "POST", Some(CBOR)),
    ("/v1/deposits/{id}/demand", "POST", Some(CBOR)),
    ("/v1/deposits/{id}/register", "POST", Some(CBOR)),
    ("/v1/audits", "POST", Some(CBOR)),
    ("/v1/owners/{account}", "GET", None),
    ("/v1/owners/{account}/open", "POST", Some(CBOR)),
    ("/v1/owners/{account}/greet", "POST", Some(CBOR)),
    ("/v1/owners/{account}/evaluate", "POST", Some(CBOR)),
    ("/v1/owners/{account}/channel", "POST", Some(CBOR)),
    ("/v1/owners/{account}/relay", "POST", Some(CBOR)),
    (PARCELS, "POST", Some(CBOR)),
];

impl Route {
    const fn shape(self) -> (&'static str, &'static str, Option<&'static str>) {
        ROUTES[match self {
            Self::Descriptor => 0,
            Self::Health => 1,
            Self::Usage => 2,
            Self::Deposit(_) => 3,
            Self::Confirm(_) => 4,
            Self::Claim(_, Verb::Retrieve) => 5,
            Self::Claim(_, Verb::Release) => 6,
            Self::Claim(_, Verb::Restore) => 7,
            Self::Claim(_, Verb::Demand) => 9,
            Self::Claim(..) => 8,
            Self::Register(_) => 10,
            Self::Audits => 11,
            Self::Look(_) => 12,
            Self::Open(_) => 13,
            Self::Greet(_) => 14,
            Self::Evaluate(_) => 15,
            Self::Channel(_) => 16,
            Self::Relay(_) => 17,
            Self::Parcel => 18,
        }]
    }

    fn of_path(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let id = |text: &str| text.parse::<DepositId>().ok();
        Some(match parts.as_slice() {
            [".well-known", "strongroom"] => Self::Descriptor,
            ["v1", "health"] => Self::Health,
            ["v1", "usage"] => Self::Usage,
            ["v1", "audits"] => Self::Audits,
            ["v1", "owners", account] => Self::Look(account.parse().ok()?),
            ["v1", "owners", account, "open"] => Self::Open(account.parse().ok()?),
            ["v1", "owners", account, "greet"] => Self::Greet(account.parse().ok()?),
            ["v1", "owners", account, "evaluate"] => Self::Evaluate(account.parse().ok()?),
            ["v1", "owners", account, "channel"] => Self::Channel(account.parse().ok()?),
            ["v1", "owners", account, "relay"] => Self::Relay(account.parse().ok()?),
            ["v1", "parcels"] => Self::Parcel,
            ["v1", "deposits", deposit] => Self::Deposit(id(deposit)?),
            ["v1", "deposits", deposit, "confirm"] => Self::Confirm(id(deposit)?),
            ["v1", "deposits", deposit, "register"] => Self::Register(id(deposit)?),
            ["v1", "deposits", deposit, "retrieve"] => Self::Claim(id(deposit)?, Verb::Retrieve),
            ["v1", "deposits", deposit, "release"] => Self::Claim(id(deposit)?, Verb::Release),
            ["v1", "deposits", deposit, "restore"] => Self::Claim(id(deposit)?, Verb::Restore),
            ["v1", "deposits", deposit, "demand"] => Self::Claim(id(deposit)?, Verb::Demand),
            ["v1", "deposits", deposit, "renew"] => Self::Claim(id(deposit)?, Verb::Renew),
            _ => return None,
        })
    }

    /// The route of a request whose head is as the route wants it.
    fn of(head: &Head) -> Result<Self, Refusal> {
        let route = Self::of_path(&head.path).ok_or(Problem::NoSuchPath)?;
        let (_, method, content_type) = route.shape();
        let head_of_get = method == "GET" && head.method == "HEAD";
        if head.method != method && !head_of_get {
            return Err(Refusal { allow: Some(method), ..Problem::MethodNotAllowed.into() });
        }
        let sent = head.content_type.as_deref().map(|text| text.split(';').next().unwrap_or_default().trim());
        match content_type {
            Some(wanted) if !sent.is_some_and(|sent| sent.eq_ignore_ascii_case(wanted)) => {
                Err(Problem::UnsupportedMediaType.into())
            }
            _ => Ok(route),
        }
    }
}

/// What is logged of a request: its route, never its ids or secrets.
pub fn log_line(head: &Head, answer: &Answer) -> String {
    let route = Route::of_path(&head.path).map_or("(none)", |route| route.shape().0);
    // A method is the caller's text: only those that mean something are repeated.
    let method = ["GET", "HEAD", "PUT", "POST", "OPTIONS"].into_iter().find(|m| *m == head.method).unwrap_or("(other)");
    let problem = answer.problem.map(Problem::slug);
    serde_json::json!({ "event": "request", "method": method, "route": route, "status": answer.status, "problem": problem })
        .to_string()
}

/// Handles one request.
pub async fn handle<P: Platform>(platform: &mut P, head: &Head, safe: &Safe<'_>) -> Answer {
    let result = match Route::of(head) {
        Ok(Route::Descriptor) => Ok(Answer::new(200, CBOR, descriptor(safe))),
        Ok(Route::Health) => Ok(Answer::json(&serde_json::json!({ "status": "ok" }))),
        Ok(Route::Usage) => usage(platform, head, safe).await.map_err(Refusal::from),
        Ok(Route::Audits) => audits(platform, safe).await.map_err(Refusal::from),
        Ok(Route::Deposit(id)) => deposit(platform, head, &id, safe).await,
        Ok(Route::Confirm(id)) => confirm(platform, &id).await.map_err(Refusal::from),
        Ok(Route::Register(id)) => register(platform, &id).await.map_err(Refusal::from),
        Ok(Route::Claim(id, verb)) => claim(platform, &id, verb).await.map_err(Refusal::from),
        Ok(Route::Look(account)) => owner(platform, &account, owner::Request::Look).await.map_err(Refusal::from),
        Ok(Route::Open(account)) => open(platform, head, &account, safe).await,
        Ok(Route::Greet(account)) => asked(platform, &account, owner::Request::Greet).await.map_err(Refusal::from),
        Ok(Route::Evaluate(account)) => {
            asked(platform, &account, owner::Request::Evaluate).await.map_err(Refusal::from)
        }
        Ok(Route::Channel(account)) => {
            asked(platform, &account, |question| owner::Request::Channel(Box::new(question)))
                .await
                .map_err(Refusal::from)
        }
        Ok(Route::Relay(account)) => relay(platform, &account, safe).await.map_err(Refusal::from),
        Ok(Route::Parcel) => parcel(platform, safe).await.map_err(Refusal::from),
        Err(refusal) => Err(refusal),
    };
    result.unwrap_or_else(|refusal| Answer::refusal(&refusal, safe.now))
}

fn descriptor(safe: &Safe<'_>) -> Vec<u8> {
    let presence = safe.presence;
    codec::encode(&Descriptor {
        suite: SUITE,
        api: API_VERSION,
        identity: presence.identity.clone(),
        name: presence.name.clone(),
        url: safe.config.url.clone(),
        chain: presence.chain.clone(),
        limits: safe.config.limits,
        admission: if safe.policy.token_key.is_some() { Admission::Token } else { Admission::Open },
        time: safe.now,
        whereabouts: presence.whereabouts.clone(),
        owners: safe.keys.owner.is_some().then_some(true),
        relays: Some(&safe.policy.relays)
            .filter(|relays| !relays.is_empty())
            .map(|relays| relays.iter().map(|target| target.safe).collect()),
    })
}

/// The token that admits a deposit, where the safe wants one. Only the MAC and the clock are asked.
fn admit(head: &Head, safe: &Safe<'_>) -> Result<Option<Token>, Problem> {
    let Some(key) = &safe.policy.token_key else { return Ok(None) };
    let text = head.token.as_deref().ok_or(Problem::TokenRequired)?;
    match Token::parse(text, key, &safe.config.safe, safe.now) {
        Ok(token) => Ok(Some(token)),
        Err(TokenError::Expired) => Err(Problem::TokenExpired),
        Err(_) => Err(Problem::TokenInvalid),
    }
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

async fn deposit<P: Platform>(p: &mut P, head: &Head, id: &DepositId, safe: &Safe<'_>) -> Result<Answer, Refusal> {
    let config = safe.config;
    let statement = parse_statement(head, id, config)?;
    let announced = head.length.ok_or(Problem::LengthRequired)?;
    if announced > config.limits.body {
        return Err(Problem::TooLarge.into());
    }
    if announced != statement.length {
        return Err(Problem::BodyMismatch.into());
    }
    let token = admit(head, safe)?;
    let (attempt, row) = match p.ledger(id, Request::Begin(Box::new(statement.clone()), token)).await? {
        Reply::Write(attempt, row) => (attempt, row),
        early => {
            // Read all the same: who is still sending when the connection closes sees a broken one, and no answer.
            let _ = p.body(config.limits.body).await;
            return match early {
                Reply::Offer(offer) => Ok(Answer::new(200, COSE, offer.0)),
                Reply::Certificate(certificate) => Ok(Answer::new(200, COSE, certificate.0)),
                reply => Err(refusal(reply).into()),
            };
        }
    };
    if let (Some(token), Some(row)) = (token, row)
        && let Err(refusal) = reserve(p, token, row, statement.length).await
    {
        let _ = p.body(config.limits.body).await;
        // Only where the account said no: a question whose answer was lost may still open the row, and the attempt stands for it.
        if refusal.problem == Problem::OverQuota {
            p.ledger(id, Request::Abandon(attempt)).await?;
            tidy(p, id).await;
        }
        return Err(refusal);
    }
    let body = p.body(config.limits.body).await?;
    let leaves = derive_leaves(&body);
    let (length, root) = (body.len() as u64, root_of(&body, &leaves));
    let key = body_key(id, &attempt);
    let fits = length == statement.length && root == statement.root;
    if fits {
        p.put(&key, with_leaves(body, &leaves)).await?;
    }
    let reply = p.ledger(id, Request::Commit { attempt, length, root }).await?;
    match reply {
        Reply::Offer(offer) => Ok(Answer::new(201, COSE, offer.0)),
        Reply::Certificate(certificate) => Ok(Answer::new(200, COSE, certificate.0)),
        reply => {
            // The ledger does not want it: what was just written would belong to nobody.
            if fits {
                p.delete(&key).await?;
            } else if row.is_some() {
                tidy(p, id).await;
            }
            Err(refusal(reply).into())
        }
    }
}

/// Frees a row that nothing came of, at once, so that the next try finds its room. If it fails, the alarm does it.
async fn tidy<P: Platform>(p: &P, id: &DepositId) {
    if let Ok(Reply::Remove(removal)) = p.ledger(id, Request::Alarm).await {
        let _ = remove(p, id, removal).await;
    }
}

/// Opens the deposit's row in its token's account.
async fn reserve<P: Platform>(p: &P, token: Token, row: Row, bytes: u64) -> Result<(), Refusal> {
    match p.account(&token.id, account::Request::Reserve { row, bytes, token }).await? {
        account::Reply::Open(unnoted) => {
            if unnoted {
                // First the list, then the mark: a crash between them only asks again.
                p.operator(operator::Request::Note(token.id)).await?;
                p.account(&token.id, account::Request::Noted).await?;
            }
            Ok(())
        }
        account::Reply::Over(used) => {
            Err(Refusal { quota: Some(Box::new((token, used))), ..Problem::OverQuota.into() })
        }
        _ => Err(Problem::Internal.into()),
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
    let reply = match p.ledger(id, Request::Claim(claim)).await? {
        Reply::Read(attempt, length) => return Ok(Answer::new(200, OCTETS, read(p, id, &attempt, length).await?)),
        Reply::Measure(attempt, length, demand) => {
            let measure = |stored: Vec<u8>| {
                let (body, _) = without_leaves(&stored, length);
                (body.len() as u64, root_of(body, &derive_leaves(body)))
            };
            let found = p.get(&body_key(id, &attempt)).await?.map(measure);
            p.ledger(id, Request::Testify { demand, attempt, found }).await?
        }
        Reply::Remove(removal) => match remove(p, id, removal).await? {
            // Somebody else removed the same, and the id has begun anew since.
            Reply::Done => Reply::Refused(Problem::Gone),
            reply => reply,
        },
        reply => reply,
    };
    match reply {
        Reply::Receipt(signed) | Reply::Certificate(signed) | Reply::Testimony(signed) => {
            Ok(Answer::new(200, COSE, signed.0))
        }
        reply => Err(refusal(reply)),
    }
}

async fn register<P: Platform>(p: &mut P, id: &DepositId) -> Result<Answer, Problem> {
    let body = p.body(MAX_REGISTER_LEN as u64).await?;
    let request = Sealed::parse(&body, MAX_REGISTER_LEN).map_err(|_| Problem::Malformed)?;
    match p.ledger(id, Request::Register(request)).await? {
        Reply::Register(answer) => Ok(Answer::new(200, CBOR, codec::encode(&answer))),
        reply => Err(refusal(reply)),
    }
}

async fn audits<P: Platform>(p: &mut P, safe: &Safe<'_>) -> Result<Answer, Problem> {
    let body = p.body(MAX_AUDIT_LEN as u64).await?;
    let request = Sealed::parse(&body, MAX_AUDIT_LEN).map_err(|_| Problem::Malformed)?;
    let opened = safe.keys.hpke(request.entry).and_then(|key| open_items(&request, key, &safe.config.safe));
    let items = opened.map_err(|_| Problem::ClaimUnreadable)?;
    let mut results = Vec::with_capacity(items.len());
    let mut budget = AUDIT_BYTES;
    for item in items {
        let shown = show(p, &item.deposit, &item.secret, &item.groups, &request, &mut budget).await;
        results.push(match shown {
            Ok(slices) => AuditResult::Shown(slices),
            Err(problem) => AuditResult::Refused(problem.slug().to_owned()),
        });
    }
    Ok(Answer::new(200, CBOR, codec::encode(&results)))
}

/// The slices of one deposit.
async fn show<P: Platform>(
    p: &P,
    id: &DepositId,
    secret: &Secret,
    groups: &[u32],
    request: &Sealed,
    budget: &mut u64,
) -> Result<Vec<Slice>, Problem> {
    let ask = Request::Audit { secret: secret.clone(), nonce: request.nonce, expiry: request.expiry };
    let (attempt, length) = match p.ledger(id, ask).await? {
        Reply::Read(attempt, length) => (attempt, length),
        reply => return Err(refusal(reply)),
    };
    *budget = budget.checked_sub(length).ok_or(Problem::Unavailable)?;
    let stored = p.get(&body_key(id, &attempt)).await?.ok_or(Problem::Unavailable)?;
    let (body, leaves) = without_leaves(&stored, length);
    Ok(groups.iter().map(|group| Slice::cut(body, &leaves, *group)).collect())
}

/// One step of an owner's record, and its answer.
async fn owner<P: Platform>(p: &P, account: &AccountId, request: owner::Request) -> Result<Answer, Problem> {
    match p.owner(account, request).await? {
        owner::Reply::Look(look) => Ok(Answer::new(200, CBOR, look.0)),
        owner::Reply::Answer(sealed) => Ok(Answer::new(200, OCTETS, sealed.0)),
        owner::Reply::Refused(problem) => Err(problem),
        _ => Err(Problem::Internal),
    }
}

async fn question<P: Platform>(p: &mut P) -> Result<Question, Problem> {
    let body = p.body(MAX_QUESTION_LEN as u64).await?;
    Question::parse(&body).map_err(|_| Problem::Malformed)
}

async fn asked<P: Platform>(
    p: &mut P,
    account: &AccountId,
    request: impl FnOnce(Question) -> owner::Request,
) -> Result<Answer, Problem> {
    let question = question(p).await?;
    owner(p, account, request(question)).await
}

/// Fetches for an owner what another safe keeps. What comes back is the other safe's, whatever it is: only its owner can tell.
async fn relay<P: Platform>(p: &mut P, account: &AccountId, safe: &Safe<'_>) -> Result<Answer, Problem> {
    let question = question(p).await?;
    let Errand { to, parcel, most } = match p.owner(account, owner::Request::Relay(Box::new(question))).await? {
        owner::Reply::Fetch(errand) => errand,
        owner::Reply::Refused(problem) => return Err(problem),
        _ => return Err(Problem::Internal),
    };
    let target = safe.policy.relays.iter().find(|target| target.safe == to).ok_or(Problem::NotRelayed)?;
    // Nothing but a parcel leaves, in this safe's name.
    let carried = Parcel::parse(&parcel).is_ok_and(|parcel| parcel.through == safe.config.safe);
    if !carried {
        return Err(Problem::Malformed);
    }
    let delivery = p.forward(&format!("{}{PARCELS}", target.url), parcel.0, most).await?;
    Ok(Answer::new(200, OCTETS, delivery))
}

/// Answers whoever made a parcel, by way of the safe that brings it.
async fn parcel<P: Platform>(p: &mut P, safe: &Safe<'_>) -> Result<Answer, Problem> {
    let body = p.body(MAX_PARCEL_LEN as u64).await?;
    let parcel = Parcel::parse(&body).map_err(|_| Problem::Malformed)?;
    let key = safe.keys.hpke(parcel.entry).map_err(|_| Problem::ClaimUnreadable)?;
    let opened = parcel.open(key, &safe.config.safe)?;
    let told = if in_time(parcel.expiry, safe.now) {
        tell(p, &opened.carried, parcel.expiry).await
    } else {
        Err(Problem::ClaimExpired)
    };
    let delivery = match told {
        Ok(body) => Delivery::Body(body.into()),
        // Why not is nobody's business but the owner's.
        Err(problem) => Delivery::Refused(problem.slug().to_owned(), safe.now),
    };
    let sealer = opened.sealer(&p.random()?).map_err(|_| Problem::Internal)?;
    let sealed = p.seal(sealer, codec::encode(&delivery)).await?;
    Ok(Answer::new(200, OCTETS, sealed))
}

async fn tell<P: Platform>(p: &P, carried: &Carried, expiry: Seconds) -> Result<Vec<u8>, Problem> {
    let ask = async |account, request| owner(p, account, request).await.map(|answer| answer.body);
    match carried {
        Carried::Claim(deposit, claim) => {
            let claim = Claim::parse(claim).map_err(|_| Problem::Malformed)?;
            if claim.verb == Verb::Retrieve && claim.expiry == expiry {
                retrieved(p, deposit, claim).await
            } else {
                Err(Problem::Malformed)
            }
        }
        Carried::Look(account) => ask(account, owner::Request::Look).await,
        Carried::Question(account, question) => {
            let question = Question::parse(question).map_err(|_| Problem::Malformed)?;
            ask(account, owner::Request::Channel(Box::new(question))).await
        }
        _ => Err(Problem::Malformed),
    }
}

async fn retrieved<P: Platform>(p: &P, id: &DepositId, claim: Claim) -> Result<Vec<u8>, Problem> {
    match p.ledger(id, Request::Claim(claim)).await? {
        Reply::Read(attempt, length) => read(p, id, &attempt, length).await,
        reply => Err(refusal(reply)),
    }
}

/// Null after commit is a storage that lags or lost: retriable here, and for an audit to find out; never "not found".
async fn read<P: Platform>(p: &P, id: &DepositId, attempt: &AttemptId, length: u64) -> Result<Vec<u8>, Problem> {
    let mut stored = p.get(&body_key(id, attempt)).await?.ok_or(Problem::Unavailable)?;
    stored.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    Ok(stored)
}

/// Frees the row of an opening of which nothing came, and then no longer remembers it. Answered with the token under which the account is open.
async fn free<P: Platform>(
    p: &P,
    account: &AccountId,
    (token, attempt): (TokenId, AttemptId),
) -> Result<owner::Reply, Problem> {
    p.account(&token, account::Request::Free(owner::row(account))).await?;
    p.owner(account, owner::Request::Freed(token, attempt)).await
}

/// Opens an owner's account, under a token where the safe wants one.
async fn open<P: Platform>(p: &mut P, head: &Head, account: &AccountId, safe: &Safe<'_>) -> Result<Answer, Refusal> {
    let question = question(p).await?;
    let Some(token) = admit(head, safe)? else {
        return Ok(owner(p, account, owner::Request::Open(question, None)).await?);
    };
    let id = token.id;
    // Remembered ahead of the row: what fails in between would else be counted under this token for good.
    let mut remembered = p.owner(account, owner::Request::Reserve(id)).await?;
    for _ in 0..MAX_RESERVED {
        let owner::Reply::Idle(other, attempt) = remembered else { break };
        free(p, account, (other, attempt)).await?;
        remembered = p.owner(account, owner::Request::Reserve(id)).await?;
    }
    match remembered {
        owner::Reply::Done => {}
        owner::Reply::Refused(problem) => return Err(problem.into()),
        _ => return Err(Problem::Unavailable.into()),
    }
    let answer = match reserve(p, token, owner::row(account), OWNER_BYTES).await {
        Ok(()) => owner(p, account, owner::Request::Open(question, Some(id))).await.map_err(Refusal::from),
        Err(over) if over.quota.is_some() => Err(over),
        // It may come yet, and stays remembered; also where another request of its owner has freed it meanwhile, and has not found it.
        Err(unknown) => {
            if let owner::Reply::Idle(idle, _) = p.owner(account, owner::Request::Charge(id)).await? {
                p.account(&idle, account::Request::Free(owner::row(account))).await?;
            }
            return Err(unknown);
        }
    };
    // The row stays if it is that of the account as it is. It may have been opened before, under another token: there it is counted.
    if let owner::Reply::Idle(idle, attempt) = p.owner(account, owner::Request::Charge(id)).await? {
        // Another request of its owner may have opened it meanwhile, whose row this was.
        if free(p, account, (idle, attempt)).await? == owner::Reply::Opened(Some(id)) {
            reserve(p, token, owner::row(account), OWNER_BYTES).await?;
        }
    }
    answer
}

async fn usage<P: Platform>(p: &P, head: &Head, safe: &Safe<'_>) -> Result<Answer, Problem> {
    let shown = head.authorization.as_deref().and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default().trim();
    let secret = safe.policy.operator_secret.as_ref().ok_or(Problem::Unauthorized)?;
    let expected = base16ct::lower::encode_string(secret.expose());
    if !same_bytes(shown.as_bytes(), expected.as_bytes()) {
        return Err(Problem::Unauthorized);
    }
    let after = head.query.as_deref().and_then(|query| query.strip_prefix("after="));
    let after = after.map(str::parse).transpose().map_err(|_| Problem::Malformed)?;
    let operator::Reply::Tokens(tokens, removals) = p.operator(operator::Request::Tokens(after)).await? else {
        return Err(Problem::Internal);
    };
    let next = (tokens.len() == operator::USAGE_PAGE).then(|| tokens.last().map(TokenId::to_string));
    let mut rows = Vec::with_capacity(tokens.len());
    for token in tokens {
        let account::Reply::Use(used) = p.account(&token, account::Request::Use).await? else {
            return Err(Problem::Internal);
        };
        let token = token.to_string();
        rows.push(serde_json::json!({ "token": token, "bytes": used.bytes, "deposits": used.deposits }));
    }
    Ok(Answer::json(&serde_json::json!({
        "time": safe.now,
        "removals_today": removals,
        "removals_a_day": DAILY_REMOVALS,
        "tokens": rows,
        "next": next.flatten(),
    })))
}

/// Removes what the ledger lists and reports it, until it lists no more: a write may end while another one is being removed.
///
/// # Errors
/// [`Problem::Unavailable`] if the storage fails; the ledger still lists what is left and tries again.
pub async fn remove<P: Platform>(p: &P, id: &DepositId, mut removal: Removal) -> Result<Reply, Problem> {
    for _ in 0..=MAX_ATTEMPTS {
        for attempt in &removal.writes {
            p.delete(&body_key(id, attempt)).await?;
        }
        if let Some(charge) = &removal.charge {
            let row = Row { deposit: *id, opened: charge.opened };
            p.account(&charge.token, account::Request::Free(row)).await?;
        }
        match p.ledger(id, Request::Removed(removal)).await? {
            Reply::Remove(more) => removal = more,
            reply => return Ok(reply),
        }
    }
    Err(Problem::Unavailable)
}

/// What an alarm does, after which the ledger has asked for the next one.
///
/// # Errors
/// [`Problem::Unavailable`] if something fails; the ledger tries again.
pub async fn wake<P: Platform>(p: &P, id: &DepositId) -> Result<(), Problem> {
    let due = p.ledger(id, Request::Alarm).await?;
    let removals = match &due {
        Reply::Overdue => 1,
        Reply::Remove(removal) => u32::try_from(removal.writes.len()).unwrap_or(u32::MAX),
        _ => return Ok(()),
    };
    // A row costs no removal in KV.
    let granted =
        removals == 0 || p.operator(operator::Request::Budget(removals)).await? == operator::Reply::Budget(true);
    let removal = match due {
        _ if !granted => p.ledger(id, Request::Postpone).await?,
        Reply::Overdue => p.ledger(id, Request::Expire).await?,
        due => due,
    };
    if let Reply::Remove(removal) = removal {
        remove(p, id, removal).await?;
    }
    Ok(())
}

/// What the alarm of an owner's record does.
///
/// # Errors
/// [`Problem::Unavailable`] if something fails; the record asks for the next one.
pub async fn wake_owner<P: Platform>(p: &P, account: &AccountId) -> Result<(), Problem> {
    if let owner::Reply::Idle(token, attempt) = p.owner(account, owner::Request::Alarm).await? {
        free(p, account, (token, attempt)).await?;
    }
    Ok(())
}

/// A reply that is no answer to the request is a fault of the safe.
fn refusal(reply: Reply) -> Problem {
    match reply {
        Reply::Refused(problem) => problem,
        _ => Problem::Internal,
    }
}
