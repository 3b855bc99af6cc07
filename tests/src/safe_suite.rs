//! What every safe does, whoever built it: one suite, run on the safe in memory (`tests/safe_memory.rs`) and on safes that
//! run as the product does (`tests/edge.rs`). It speaks HTTP only. Spec: `spec/deposit.md`.
//!
//! ```text
//! safe_suite!(for_each_safe);      // one #[test] per case; fn for_each_safe(case: fn(&mut dyn SafeUnderTest))
//! ```

#![allow(missing_docs, reason = "a case says by its name what it checks")]

use std::collections::BTreeMap;

use protocol::{
    SUITE,
    certificate::{self, Offered, verify_receipt},
    claim::{CLAIM_SPAN, Claim, Confirm, Verb},
    codec,
    crypto::{Secret, blake3},
    deposit::{DepositSecrets, Face, FaceText, Statement},
    identity::{API_VERSION, Descriptor, Entry, Identity},
    ids::{DepositId, Root, SafeId, Seconds},
    problem::Problem,
};
use rand_core::{CryptoRng, Rng};
use safe_worker::flow::{CBOR, COSE, OCTETS, PROBLEM};

use crate::fixture::{TestSafe, rng};

/// One request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Upper-case method.
    pub method: &'static str,
    /// Path below the safe's address.
    pub path: String,
    /// Header `Strongroom-Statement`.
    pub statement: Option<String>,
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
    safe: &'a mut dyn SafeUnderTest,
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
        Self { safe, identity, descriptor }
    }

    /// Asks.
    pub fn ask(&mut self, ask: &Ask) -> Got {
        self.safe.exchange(ask)
    }

    /// The safe's clock.
    pub fn now(&self) -> Seconds {
        self.safe.now()
    }

    fn rng(&mut self) -> impl CryptoRng + use<> {
        rng(self.safe.draw())
    }

    fn entry(&self) -> Entry {
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

    /// `PUT` of a deposit.
    pub fn put(&mut self, deposit: &Deposit) -> Got {
        self.ask(&Ask::put(deposit))
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
        let path = if claim.verb == Verb::Release { "release" } else { "retrieve" };
        self.ask(&Ask::post(deposit, path, codec::encode(claim)))
    }

    /// Retrieves with a fresh claim.
    pub fn retrieve(&mut self, deposit: &Deposit) -> Got {
        let claim = self.claim(&deposit.id, Verb::Retrieve, &deposit.secrets.retrieve);
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
        Self { method: "GET", path: path.to_owned(), statement: None, length: true, body: Vec::new() }
    }

    /// A body with its statement.
    pub fn put(deposit: &Deposit) -> Self {
        Self {
            method: "PUT",
            path: format!("/v1/deposits/{}", deposit.id),
            statement: Some(statement_header(&codec::encode(&deposit.statement))),
            length: true,
            body: deposit.body.clone(),
        }
    }

    /// An act on a deposit.
    pub fn post(deposit: &DepositId, act: &str, body: Vec<u8>) -> Self {
        let path = format!("/v1/deposits/{deposit}/{act}");
        Self { method: "POST", path, statement: None, length: true, body }
    }
}

/// One `#[test]` per case; `$each` is `fn(case: fn(&mut dyn SafeUnderTest))`.
#[macro_export]
macro_rules! safe_suite {
    ($each:path) => {
        $crate::safe_suite!($each:
            a_safe_says_who_it_is
            a_body_gets_an_offer
            an_offer_becomes_a_certificate_once
            a_retry_gets_the_same_bytes
            an_id_belongs_to_its_first_statement
            a_body_that_differs_from_its_statement_is_refused
            bodies_up_to_the_limit_are_taken
            a_statement_that_does_not_fit_is_refused
            a_confirmation_names_the_offer
            a_held_body_comes_back
            nothing_comes_back_before_it_is_held
            a_claim_counts_for_its_right_only
            a_claim_counts_in_its_time_only
            a_claim_counts_once
            noise_is_no_claim
            secrets_of_one_deposit_do_not_open_another
            a_released_deposit_stays_released
            an_offer_can_be_let_go
            unknown_paths_and_methods_are_named
        );
    };
    ($each:path: $($case:ident)*) => {
        $(#[test]
        fn $case() {
            $each($crate::safe_suite::$case);
        })*
    };
}

pub fn a_safe_says_who_it_is(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (now, descriptor) = (visit.now(), visit.descriptor.clone());
    assert_eq!((descriptor.suite, descriptor.api), (SUITE, API_VERSION));
    assert_eq!(descriptor.url, visit.safe.url());
    assert!(descriptor.time.abs_diff(now) <= 60, "the safe's clock");
    assert!(descriptor.limits.body >= 64 * 1024 && descriptor.limits.claim >= CLAIM_SPAN);
    visit.identity.current(now).unwrap();
    assert_eq!(granted(visit.ask(&Ask::get("/v1/health")), 200, "application/json"), b"{\"status\":\"ok\"}");
    let head = Ask { method: "HEAD", ..Ask::get("/.well-known/strongroom") };
    assert_eq!(visit.ask(&head).status, 200);
}

pub fn a_body_gets_an_offer(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, offer) = visit.offered(5000);
    let offered = Offered::verify(&offer, &visit.identity, &deposit.statement).unwrap();
    let (registration, limits) = (offered.registration(), visit.descriptor.limits);
    assert_eq!(registration.url, visit.safe.url());
    assert!(registration.issued.abs_diff(visit.now()) <= 60);
    assert_eq!(registration.lease_end, registration.issued + deposit.statement.lease.min(limits.lease));
    assert_eq!(registration.confirm_by, Some(registration.issued + limits.confirm));
    // An offer is no certificate.
    assert!(certificate::verify(&offer, &visit.identity, None).is_err());
}

pub fn an_offer_becomes_a_certificate_once(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, offer, certificate) = visit.held(700);
    let held = certificate::verify(&certificate, &visit.identity, Some(&deposit.statement)).unwrap();
    let offered = Offered::verify(&offer, &visit.identity, &deposit.statement).unwrap();
    assert_eq!(held.registration().lease_end, offered.registration().lease_end);
    assert_eq!(held.registration().url, visit.safe.url());
    for _ in 0..2 {
        assert_eq!(granted(visit.confirm(&deposit, &offer), 200, COSE), certificate);
    }
}

pub fn a_retry_gets_the_same_bytes(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, offer) = visit.offered(3000);
    for _ in 0..2 {
        assert_eq!(granted(visit.put(&deposit), 200, COSE), offer);
    }
    let certificate = granted(visit.confirm(&deposit, &offer), 200, COSE);
    // Also where the confirmation's answer was lost and the wallet begins again.
    assert_eq!(granted(visit.put(&deposit), 200, COSE), certificate);
    assert_eq!(granted(visit.retrieve(&deposit), 200, OCTETS), deposit.body);
}

pub fn an_id_belongs_to_its_first_statement(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (first, offer) = visit.offered(900);
    let stranger = visit.draw(900);
    let statement = Statement { deposit: first.id, ..stranger.statement.clone() };
    let squatter = Deposit { id: first.id, statement, ..stranger };
    assert_refused(&visit.put(&squatter), Problem::Conflict);
    let longer = Statement { lease: first.statement.lease + 1, ..first.statement.clone() };
    assert_refused(&visit.put(&Deposit { statement: longer, ..first.clone() }), Problem::Conflict);
    assert_eq!(granted(visit.put(&first), 200, COSE), offer);
    let certificate = granted(visit.confirm(&first, &offer), 200, COSE);
    assert_refused(&visit.put(&squatter), Problem::Conflict);
    assert_refused(&visit.retrieve(&squatter), Problem::NotFound);
    assert_refused(&visit.release(&squatter), Problem::NotFound);
    assert_eq!(granted(visit.confirm(&first, &offer), 200, COSE), certificate);
    assert_eq!(granted(visit.retrieve(&first), 200, OCTETS), first.body);
}

pub fn a_body_that_differs_from_its_statement_is_refused(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let deposit = visit.draw(1000);
    let body = |alter: &dyn Fn(&mut Vec<u8>)| {
        let mut body = deposit.body.clone();
        alter(&mut body);
        Deposit { body, ..deposit.clone() }
    };
    assert_refused(&visit.put(&body(&|b| b.truncate(999))), Problem::BodyMismatch);
    assert_refused(&visit.put(&body(&|b| b.push(0))), Problem::BodyMismatch);
    assert_refused(&visit.put(&body(&|b| b[500] ^= 1)), Problem::BodyMismatch);
    // Announced, not there: nothing to confirm or retrieve.
    assert_refused(&visit.confirm(&deposit, b"no offer"), Problem::NotFound);
    assert_refused(&visit.retrieve(&deposit), Problem::NotFound);
    let offer = granted(visit.put(&deposit), 201, COSE);
    granted(visit.confirm(&deposit, &offer), 200, COSE);
    assert_eq!(granted(visit.retrieve(&deposit), 200, OCTETS), deposit.body);
    let empty = visit.draw(0);
    assert_refused(&visit.put(&empty), Problem::BadStatement);
}

pub fn bodies_up_to_the_limit_are_taken(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let limit = visit.descriptor.limits.body as usize;
    let large = visit.draw(limit + 1);
    assert_refused(&visit.put(&large), Problem::TooLarge);
    for len in [1, limit] {
        let (deposit, ..) = visit.held(len);
        assert!(granted(visit.retrieve(&deposit), 200, OCTETS) == deposit.body, "{len}");
    }
    let deposit = visit.draw(10);
    assert_refused(&visit.ask(&Ask { length: false, ..Ask::put(&deposit) }), Problem::LengthRequired);
}

pub fn a_statement_that_does_not_fit_is_refused(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let deposit = visit.draw(100);
    let other = visit.draw(100);
    let bytes = codec::encode(&deposit.statement);
    let altered = |statement: Statement| Some(statement_header(&codec::encode(&statement)));
    let mine = || deposit.statement.clone();
    let headers = [
        None,
        Some(String::new()),
        Some("::".into()),
        Some(":".into()),
        Some(data_encoding::BASE64.encode(&bytes)),
        Some(format!(":{}:", data_encoding::HEXLOWER.encode(&bytes))),
        Some(statement_header(&bytes[1..])),
        Some(statement_header(&[&bytes[..], &[0]].concat())),
        Some(statement_header(&[0xff; 300])),
        Some(statement_header(&[0; 1500])),
        altered(other.statement),
        altered(Statement { safe: SafeId([0; 32]), ..mine() }),
        altered(Statement { suite: 2, ..mine() }),
        altered(Statement { owner: Some(vec![1].into()), ..mine() }),
        altered(Statement { face: Face::Sealed(vec![0; 400].into()), ..mine() }),
    ];
    for statement in headers {
        let ask = Ask { statement, ..Ask::put(&deposit) };
        assert_refused(&visit.ask(&ask), Problem::BadStatement);
    }
    // None of them left a trace.
    granted(visit.put(&deposit), 201, COSE);
}

pub fn a_confirmation_names_the_offer(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, offer) = visit.offered(100);
    assert_refused(&visit.confirm(&deposit, b"another offer"), Problem::Conflict);
    let confirm = codec::encode(&Confirm { suite: SUITE, offer: Root(blake3(&offer)) });
    let suite = codec::encode(&Confirm { suite: 2, offer: Root(blake3(&offer)) });
    let long = [&confirm[..], &[0]].concat();
    for body in [vec![], vec![0xff; 20], confirm[1..].to_vec(), long, suite] {
        assert_refused(&visit.ask(&Ask::post(&deposit.id, "confirm", body)), Problem::Malformed);
    }
    assert_refused(&visit.ask(&Ask::post(&deposit.id, "confirm", vec![0; 5000])), Problem::TooLarge);
    granted(visit.ask(&Ask::post(&deposit.id, "confirm", confirm)), 200, COSE);
    assert_refused(&visit.confirm(&deposit, b"another offer"), Problem::Conflict);
    let unknown = visit.draw(100);
    assert_refused(&visit.confirm(&unknown, &offer), Problem::Gone);
}

pub fn a_held_body_comes_back(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    for len in [1, 1023, 65_536, 300_000] {
        let (deposit, ..) = visit.held(len);
        for _ in 0..2 {
            assert!(granted(visit.retrieve(&deposit), 200, OCTETS) == deposit.body, "{len}");
        }
    }
}

pub fn nothing_comes_back_before_it_is_held(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let unknown = visit.draw(100);
    assert_refused(&visit.retrieve(&unknown), Problem::NotFound);
    assert_refused(&visit.release(&unknown), Problem::NotFound);
    let (offered, offer) = visit.offered(100);
    assert_refused(&visit.retrieve(&offered), Problem::NotFound);
    granted(visit.confirm(&offered, &offer), 200, COSE);
    granted(visit.retrieve(&offered), 200, OCTETS);
}

pub fn a_claim_counts_for_its_right_only(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, ..) = visit.held(100);
    let (id, secrets) = (deposit.id, deposit.secrets.clone());
    let stranger = Secret::make_random(&mut visit.rng());
    for secret in [&secrets.audit, &secrets.release, &stranger] {
        let claim = visit.claim(&id, Verb::Retrieve, secret);
        assert_refused(&visit.present(&id, &claim), Problem::NotFound);
    }
    for secret in [&secrets.audit, &secrets.retrieve, &stranger] {
        let claim = visit.claim(&id, Verb::Release, secret);
        assert_refused(&visit.present(&id, &claim), Problem::NotFound);
    }
    // A claim of one verb at the other's path, as it is and relabelled.
    let retrieve = visit.claim(&id, Verb::Retrieve, &secrets.retrieve);
    let post = |act: &str, claim: &Claim| Ask::post(&id, act, codec::encode(claim));
    assert_refused(&visit.ask(&post("release", &retrieve)), Problem::Malformed);
    let relabelled = Claim { verb: Verb::Release, ..retrieve.clone() };
    assert_refused(&visit.ask(&post("release", &relabelled)), Problem::ClaimUnreadable);
    let audit = visit.claim(&id, Verb::Audit, &secrets.audit);
    assert_refused(&visit.ask(&post("retrieve", &audit)), Problem::Malformed);
    // Sealed to another safe, or to keys that this one does not use.
    let other = TestSafe::make(99);
    let expiry = visit.now() + CLAIM_SPAN;
    let mut rng = visit.rng();
    for entry in [
        other.identity.entry(1).unwrap().clone(),
        Entry { serial: visit.entry().serial, ..other.identity.entry(1).unwrap().clone() },
        Entry { serial: visit.entry().serial + 1, ..visit.entry() },
        Entry { safe: other.id(), ..visit.entry() },
    ] {
        let claim = Claim::make(&secrets.retrieve, &entry, &id, Verb::Retrieve, expiry, &mut rng).unwrap();
        assert_refused(&visit.present(&id, &claim), Problem::ClaimUnreadable);
    }
    granted(visit.retrieve(&deposit), 200, OCTETS);
}

pub fn a_claim_counts_in_its_time_only(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, ..) = visit.held(100);
    let (entry, now, limit) = (visit.entry(), visit.now(), visit.descriptor.limits.claim);
    let mut rng = visit.rng();
    let mut claim =
        |expiry| Claim::make(&deposit.secrets.retrieve, &entry, &deposit.id, Verb::Retrieve, expiry, &mut rng).unwrap();
    for expiry in [0, now - 60, now, now + limit + 60, u64::MAX] {
        let claim = claim(expiry);
        let got = visit.present(&deposit.id, &claim);
        assert_refused(&got, Problem::ClaimExpired);
        // The safe's clock is in the answer, so that a wallet can set its own.
        let json: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        assert!(json["time"].as_u64().unwrap().abs_diff(now) <= 60);
    }
    // An expiry that was moved is one that was not sealed.
    let moved = Claim { expiry: now + 100, ..claim(now - 60) };
    assert_refused(&visit.present(&deposit.id, &moved), Problem::ClaimUnreadable);
    let good = claim(now + limit - 5);
    granted(visit.present(&deposit.id, &good), 200, OCTETS);
}

pub fn a_claim_counts_once(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, ..) = visit.held(100);
    let claim = visit.claim(&deposit.id, Verb::Retrieve, &deposit.secrets.retrieve);
    granted(visit.present(&deposit.id, &claim), 200, OCTETS);
    assert_refused(&visit.present(&deposit.id, &claim), Problem::ClaimReplayed);
    granted(visit.retrieve(&deposit), 200, OCTETS);
    assert_refused(&visit.present(&deposit.id, &claim), Problem::ClaimReplayed);
}

pub fn noise_is_no_claim(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, ..) = visit.held(100);
    let claim = visit.claim(&deposit.id, Verb::Retrieve, &deposit.secrets.retrieve);
    let bytes = codec::encode(&claim);
    let mut noise = vec![0; 1300];
    visit.rng().fill_bytes(&mut noise);
    let longer = [&bytes[..], &[0]].concat();
    let suite = codec::encode(&Claim { suite: 2, ..claim.clone() });
    let short = codec::encode(&Claim { enc: vec![0; 5].into(), ..claim.clone() });
    for body in [vec![], noise, bytes[1..].to_vec(), bytes[..bytes.len() - 1].to_vec(), longer, suite, short] {
        for act in ["retrieve", "release"] {
            assert_refused(&visit.ask(&Ask::post(&deposit.id, act, body.clone())), Problem::Malformed);
        }
    }
    assert_refused(&visit.ask(&Ask::post(&deposit.id, "retrieve", vec![0; 5000])), Problem::TooLarge);
    for at in [bytes.len() / 2, bytes.len() - 1] {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        let got = visit.ask(&Ask::post(&deposit.id, "retrieve", altered));
        assert_refused(&got, Problem::ClaimUnreadable);
    }
    granted(visit.present(&deposit.id, &claim), 200, OCTETS);
}

pub fn secrets_of_one_deposit_do_not_open_another(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (ours, ..) = visit.held(200);
    let (theirs, ..) = visit.held(200);
    for (verb, secret) in [(Verb::Retrieve, &ours.secrets.retrieve), (Verb::Release, &ours.secrets.release)] {
        let claim = visit.claim(&theirs.id, verb, secret);
        assert_refused(&visit.present(&theirs.id, &claim), Problem::NotFound);
        let carried = visit.claim(&ours.id, verb, secret);
        assert_refused(&visit.present(&theirs.id, &carried), Problem::ClaimUnreadable);
    }
    assert_eq!(granted(visit.retrieve(&theirs), 200, OCTETS), theirs.body);
    granted(visit.release(&ours), 200, COSE);
    assert_eq!(granted(visit.retrieve(&theirs), 200, OCTETS), theirs.body);
}

pub fn a_released_deposit_stays_released(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, offer, certificate) = visit.held(400);
    let held = certificate::verify(&certificate, &visit.identity, Some(&deposit.statement)).unwrap();
    let claim = visit.claim(&deposit.id, Verb::Release, &deposit.secrets.release);
    let receipt = granted(visit.present(&deposit.id, &claim), 200, COSE);
    let release = verify_receipt(&receipt, &visit.identity, held.registration()).unwrap();
    assert!(release.release.same_as(&deposit.secrets.release));
    assert!(release.issued >= held.registration().issued);
    // A repeated request after a lost answer gets the same receipt; the very same claim does not count again.
    assert_eq!(granted(visit.release(&deposit), 200, COSE), receipt);
    assert_refused(&visit.present(&deposit.id, &claim), Problem::ClaimReplayed);
    assert_refused(&visit.retrieve(&deposit), Problem::Gone);
    assert_refused(&visit.put(&deposit), Problem::Gone);
    assert_refused(&visit.confirm(&deposit, &offer), Problem::Gone);
    let other = Statement { lease: 1, ..deposit.statement.clone() };
    assert_refused(&visit.put(&Deposit { statement: other, ..deposit.clone() }), Problem::Conflict);
    assert_eq!(granted(visit.release(&deposit), 200, COSE), receipt);
}

pub fn an_offer_can_be_let_go(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, offer) = visit.offered(400);
    // Nothing was certified, so there is nothing to sign for.
    assert_refused(&visit.release(&deposit), Problem::Gone);
    assert_refused(&visit.confirm(&deposit, &offer), Problem::Gone);
    assert_refused(&visit.retrieve(&deposit), Problem::NotFound);
}

pub fn unknown_paths_and_methods_are_named(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let id = visit.draw(1).id;
    for path in [
        "/".to_owned(),
        "/v1".into(),
        "/v2/health".into(),
        "/v1/health/".into(),
        "/v1/deposits".into(),
        "/v1/deposits/".into(),
        "/v1/deposits/abc".into(),
        format!("/v1/deposits/{}", id.to_string().to_uppercase() + "F"),
        format!("/v1/deposits/{id}0"),
        format!("/v1/deposits/{id}/"),
        format!("/v1/deposits/{id}/audit"),
        format!("/v1/deposits/{id}/confirm/x"),
        format!("//v1/deposits/{id}"),
        "/.well-known/other".into(),
    ] {
        for method in ["GET", "PUT", "POST"] {
            assert_refused(&visit.ask(&Ask { method, ..Ask::get(&path) }), Problem::NoSuchPath);
        }
    }
    for (path, allow) in [
        ("/.well-known/strongroom".to_owned(), "GET"),
        ("/v1/health".into(), "GET"),
        (format!("/v1/deposits/{id}"), "PUT"),
        (format!("/v1/deposits/{id}/confirm"), "POST"),
        (format!("/v1/deposits/{id}/retrieve"), "POST"),
        (format!("/v1/deposits/{id}/release"), "POST"),
    ] {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"].into_iter().filter(|m| *m != allow) {
            let got = visit.ask(&Ask { method, ..Ask::get(&path) });
            assert_refused(&got, Problem::MethodNotAllowed);
            assert_eq!(got.headers["allow"], allow);
        }
    }
}
