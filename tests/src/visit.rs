//! One wallet at one safe, whoever built the safe: requests and answers over HTTP, and what a wallet does with them. The cases of
//! [`crate::safe_suite`] and the tests of single safes are written with it.

use std::collections::BTreeMap;

use protocol::{
    SUITE,
    audit::{AuditItem, AuditResult, parse_answer, seal_items},
    claim::{CLAIM_SPAN, Claim, Confirm, Shown, Verb},
    codec,
    crypto::{Secret, blake3},
    deposit::{DepositSecrets, Face, FaceText, Statement},
    evidence::{Testimony, verify_testimony},
    identity::{Descriptor, Entry, Identity},
    ids::{DepositId, Root, Seconds, TokenId},
    problem::Problem,
    register::{Proposal, seal_proposal},
    sealed::Sealed,
    token::Token,
};
use rand_core::{CryptoRng, Rng};
use safe_worker::flow::{CBOR, COSE, OCTETS, PROBLEM};

use crate::fixture::rng;

/// One request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Upper-case method.
    pub method: &'static str,
    /// Path below the safe's address.
    pub path: String,
    /// Header `Strongroom-Statement`.
    pub statement: Option<String>,
    /// Header `Strongroom-Token`.
    pub token: Option<String>,
    /// Header `Authorization`.
    pub authorization: Option<String>,
    /// Header `Content-Type`.
    pub content_type: Option<&'static str>,
    /// Whether `Content-Length` is sent.
    pub length: bool,
    /// Body.
    pub body: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Got {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Body.
    pub body: Vec<u8>,
}

/// A safe and the way to it.
pub trait SafeUnderTest {
    /// Asks.
    fn exchange(&mut self, ask: &Ask) -> Got;
    /// The safe's address as it states it.
    fn url(&self) -> String;
    /// The safe's clock.
    fn now(&self) -> Seconds;
    /// The key of its admission tokens, where it wants them.
    fn token_key(&self) -> Option<Secret> {
        None
    }
    /// What its operator shows to see usage figures, where that is known.
    fn operator_secret(&self) -> Option<Secret> {
        None
    }
    /// A number that was not drawn before, in this run or, where the safe outlives the run, in another.
    fn draw(&mut self) -> u64;
}

/// Whether the answer is what such a refusal must be, to the last field.
#[track_caller]
pub fn assert_refused(got: &Got, problem: Problem) {
    let text = String::from_utf8_lossy(&got.body);
    assert_eq!(got.status, problem.status(), "{problem:?} expected: {text}");
    assert_eq!(got.headers["content-type"], PROBLEM);
    let json: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(json["type"], problem.type_uri(), "{text}");
    assert_eq!(json["title"], problem.title());
    assert_eq!(json["status"], problem.status());
    assert_eq!(json["next"], problem.next());
    assert!(json["time"].is_u64());
}

/// The body of an answer of the expected status and type.
#[track_caller]
pub fn granted(got: Got, status: u16, content_type: &str) -> Vec<u8> {
    assert_eq!(got.status, status, "{}", String::from_utf8_lossy(&got.body));
    assert_eq!(got.headers["content-type"], content_type);
    got.body
}

/// A deposit as its wallet knows it.
#[derive(Debug, Clone)]
pub struct Deposit {
    /// Its id.
    pub id: DepositId,
    /// Its secrets.
    pub secrets: DepositSecrets,
    /// Its body.
    pub body: Vec<u8>,
    /// Its statement.
    pub statement: Statement,
}

/// The header that carries a statement.
pub fn statement_header(bytes: &[u8]) -> String {
    format!(":{}:", data_encoding::BASE64.encode(bytes))
}

/// One wallet at one safe.
pub struct Visit<'a> {
    /// The safe and the way to it.
    pub safe: &'a mut dyn SafeUnderTest,
    /// The token under which it deposits, where the safe wants one.
    pub admission: Option<String>,
    /// The safe's checked chain.
    pub identity: Identity,
    /// What the safe says of itself.
    pub descriptor: Descriptor,
}

impl<'a> Visit<'a> {
    /// Gets to know the safe.
    pub fn new(safe: &'a mut dyn SafeUnderTest) -> Self {
        let ask = Ask::get("/.well-known/strongroom");
        let (descriptor, identity) = Identity::of_descriptor(&granted(safe.exchange(&ask), 200, CBOR), None).unwrap();
        Self { safe, admission: None, identity, descriptor }
    }

    /// Asks.
    pub fn ask(&mut self, ask: &Ask) -> Got {
        self.safe.exchange(ask)
    }

    /// The safe's clock.
    pub fn now(&self) -> Seconds {
        self.safe.now()
    }

    /// Randomness that no other visit has drawn.
    pub fn rng(&mut self) -> impl CryptoRng + use<> {
        rng(self.safe.draw())
    }

    /// The entry that covers the present.
    pub fn entry(&self) -> Entry {
        self.identity.current(self.now()).unwrap().clone()
    }

    /// A deposit that no safe has seen.
    pub fn draw(&mut self, len: usize) -> Deposit {
        let mut rng = self.rng();
        let (id, d) = (DepositId::make_random(&mut rng), Secret::make_random(&mut rng));
        let mut body = vec![0; len];
        rng.fill_bytes(&mut body);
        let text = FaceText { title: "Tür".into(), kind: "note".into(), date: 1, hint: None };
        let face = Face::seal(&text, &d, &id, &mut rng).unwrap();
        let secrets = DepositSecrets::derive(&d);
        let statement = Statement::new(self.identity.id(), id, len as u64, Root(blake3(&body)), face, &secrets);
        Deposit { id, secrets, body, statement }
    }

    /// A token of this safe's operator, for so much.
    pub fn token(&mut self, bytes: u64, deposits: u64, until: Seconds) -> Option<(Token, String)> {
        let key = self.safe.token_key()?;
        let token = Token::new(self.identity.id(), TokenId::make_random(&mut self.rng()), bytes, deposits, until);
        Some((token, token.mint(&key)))
    }

    /// The request that puts a deposit, with the visit's token where the safe wants one.
    pub fn put_ask(&mut self, deposit: &Deposit) -> Ask {
        self.admitted(Ask::put(deposit))
    }

    /// A request with the visit's token where the safe wants one.
    pub fn admitted(&mut self, ask: Ask) -> Ask {
        if self.admission.is_none() {
            self.admission = self.token(1 << 40, 1 << 20, u64::MAX).map(|(_, text)| text);
        }
        Ask { token: self.admission.clone(), ..ask }
    }

    /// `PUT` of a deposit.
    pub fn put(&mut self, deposit: &Deposit) -> Got {
        let ask = self.put_ask(deposit);
        self.ask(&ask)
    }

    /// `POST /v1/audits`.
    pub fn audit(&mut self, items: &[AuditItem]) -> Vec<AuditResult> {
        let (entry, expiry) = (self.entry(), self.now() + CLAIM_SPAN);
        let request = seal_items(items, &entry, expiry, &mut self.rng()).unwrap();
        let answer = self.ask(&Ask::post_to("/v1/audits", codec::encode(&request)));
        parse_answer(&granted(answer, 200, CBOR), items.len()).unwrap()
    }

    /// What the safe states of a deposit, to whoever shows this secret.
    pub fn demand(&mut self, deposit: &DepositId, secret: &Secret) -> Testimony {
        let claim = self.claim(deposit, Verb::Demand, secret);
        let signed = granted(self.present(deposit, &claim), 200, COSE);
        let testimony = verify_testimony(&signed, &self.identity).unwrap();
        assert_eq!((testimony.deposit, testimony.demand), (*deposit, Root(blake3(&codec::encode(&claim)))));
        assert!(testimony.issued.abs_diff(self.now()) <= 60);
        testimony
    }

    /// `POST …/register`.
    pub fn propose(&mut self, deposit: &DepositId, secret: &Secret, proposal: &Proposal) -> Got {
        let request = self.proposal(deposit, secret, proposal);
        self.ask(&Ask::post(deposit, "register", codec::encode(&request)))
    }

    /// A proposal that counts now.
    pub fn proposal(&mut self, deposit: &DepositId, secret: &Secret, proposal: &Proposal) -> Sealed {
        let (entry, expiry) = (self.entry(), self.now() + CLAIM_SPAN);
        seal_proposal(secret, proposal, None, &entry, deposit, expiry, &mut self.rng()).unwrap()
    }

    /// `POST …/confirm` for an offer.
    pub fn confirm(&mut self, deposit: &Deposit, offer: &[u8]) -> Got {
        let confirm = Confirm { suite: SUITE, offer: Root(blake3(offer)) };
        self.ask(&Ask::post(&deposit.id, "confirm", codec::encode(&confirm)))
    }

    /// A claim that counts now.
    pub fn claim(&mut self, deposit: &DepositId, verb: Verb, secret: &Secret) -> Claim {
        let (entry, expiry) = (self.entry(), self.now() + CLAIM_SPAN);
        Claim::make(secret, &entry, deposit, verb, expiry, &mut self.rng()).unwrap()
    }

    /// `POST …/retrieve` or `…/release`.
    pub fn present(&mut self, deposit: &DepositId, claim: &Claim) -> Got {
        let path = match claim.verb {
            Verb::Release => "release",
            Verb::Restore => "restore",
            Verb::Demand => "demand",
            Verb::Renew => "renew",
            _ => "retrieve",
        };
        self.ask(&Ask::post(deposit, path, codec::encode(claim)))
    }

    /// Retrieves with a fresh claim.
    pub fn retrieve(&mut self, deposit: &Deposit) -> Got {
        let claim = self.claim(&deposit.id, Verb::Retrieve, &deposit.secrets.retrieve);
        self.present(&deposit.id, &claim)
    }

    /// Retrieves a unique value with a fresh claim, as the claimant who has `x`, or as none.
    pub fn retrieve_as(&mut self, deposit: &Deposit, x: Option<&Secret>) -> Got {
        let secret = deposit.secrets.retrieve.clone();
        self.show(deposit, Verb::Retrieve, &Shown { x: x.cloned(), ..Shown::secret(secret) })
    }

    /// Presents whatever is to be shown.
    pub fn show(&mut self, deposit: &Deposit, verb: Verb, shown: &Shown) -> Got {
        let (entry, expiry) = (self.entry(), self.now() + CLAIM_SPAN);
        let claim = Claim::make_with(shown, &entry, &deposit.id, verb, expiry, &mut self.rng()).unwrap();
        self.present(&deposit.id, &claim)
    }

    /// Releases with a fresh claim.
    pub fn release(&mut self, deposit: &Deposit) -> Got {
        let claim = self.claim(&deposit.id, Verb::Release, &deposit.secrets.release);
        self.present(&deposit.id, &claim)
    }

    /// A fresh deposit, offered: with its offer.
    pub fn offered(&mut self, len: usize) -> (Deposit, Vec<u8>) {
        let deposit = self.draw(len);
        let offer = granted(self.put(&deposit), 201, COSE);
        (deposit, offer)
    }

    /// A fresh deposit, held: with its offer and certificate.
    pub fn held(&mut self, len: usize) -> (Deposit, Vec<u8>, Vec<u8>) {
        let (deposit, offer) = self.offered(len);
        let certificate = granted(self.confirm(&deposit, &offer), 200, COSE);
        (deposit, offer, certificate)
    }
}

impl Ask {
    /// A request without body.
    pub fn get(path: &str) -> Self {
        Self {
            method: "GET",
            path: path.to_owned(),
            statement: None,
            token: None,
            authorization: None,
            content_type: None,
            length: true,
            body: Vec::new(),
        }
    }

    /// A body with its statement.
    pub fn put(deposit: &Deposit) -> Self {
        Self {
            method: "PUT",
            statement: Some(statement_header(&codec::encode(&deposit.statement))),
            content_type: Some(OCTETS),
            body: deposit.body.clone(),
            ..Self::get(&format!("/v1/deposits/{}", deposit.id))
        }
    }

    /// An act on a deposit.
    pub fn post(deposit: &DepositId, act: &str, body: Vec<u8>) -> Self {
        Self::post_to(&format!("/v1/deposits/{deposit}/{act}"), body)
    }

    /// CBOR to a path.
    pub fn post_to(path: &str, body: Vec<u8>) -> Self {
        Self { method: "POST", content_type: Some(CBOR), body, ..Self::get(path) }
    }
}
