//! What every safe does, whoever built it: one suite, run on the safe in memory (`tests/safe_memory.rs`) and on safes that
//! run as the product does (`tests/edge.rs`). It speaks HTTP only. Spec: `spec/deposit.md`.
//!
//! ```text
//! safe_suite!(for_each_safe);      // one #[test] per case; fn for_each_safe(case: fn(&mut dyn SafeUnderTest))
//! ```

#![allow(missing_docs, reason = "a case says by its name what it checks")]

use protocol::{
    SUITE,
    audit::{
        AuditItem, AuditResult, GROUP_LEN, MAX_AUDIT_ITEMS, MAX_AUDIT_SLICES, SliceError, group_count, parse_answer,
        seal_items,
    },
    certificate::{self, Offered, verify_receipt},
    claim::{CLAIM_SPAN, Claim, Confirm, Verb},
    codec,
    crypto::{Secret, blake3},
    deposit::{Face, Statement, derive_hash},
    evidence::Verdict,
    identity::{API_VERSION, Admission, Entry},
    ids::{DepositId, Nonce, Root, SafeId, SecretHash, TokenId},
    problem::Problem,
    register::{self, Ballot, MAX_REGISTER_ANSWER_LEN, Proposal, derive_claimant, seal_proposal},
    sealed::Sealed,
    token::Token,
};
use rand_core::Rng;
use safe_worker::flow::{CBOR, COSE, OCTETS};

use crate::fixture::TestSafe;

use crate::visit::{Ask, Deposit, Got, SafeUnderTest, Visit, assert_refused, granted, statement_header};

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
            each_message_may_be_lost_doubled_or_late
            another_content_type_is_named
            an_audit_shows_what_the_certificate_says
            an_audit_counts_for_its_right_only
            noise_is_no_audit
            a_demand_is_answered_whatever_became_of_the_deposit
            a_stranger_gets_no_verdict_on_the_deposit
            a_certificate_can_be_had_again
            a_unique_value_goes_to_its_claimant
            a_register_hears_its_rights_only
            a_token_admits_within_its_quota
            only_a_token_of_the_safe_admits
            usage_is_for_the_operator
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
    assert_refused(&visit.confirm(&deposit, b"no offer"), Problem::Gone);
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
    let ask = Ask { length: false, ..visit.put_ask(&deposit) };
    assert_refused(&visit.ask(&ask), Problem::LengthRequired);
}

pub fn a_statement_that_does_not_fit_is_refused(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let deposit = visit.draw(100);
    let other = visit.draw(100);
    let bytes = codec::encode(&deposit.statement);
    let altered = |statement: Statement| Some(statement_header(&codec::encode(&statement)));
    let mine = || deposit.statement.clone();
    let mut short_binding = codec::encode(&Statement { owner: Some(SecretHash([0xee; 32])), ..mine() });
    let at = short_binding.windows(35).position(|w| w[..3] == [8, 0x58, 32] && w[3..] == [0xee; 32]).unwrap();
    short_binding.splice(at + 1..at + 35, [0x41, 1]);
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
        Some(statement_header(&short_binding)),
        altered(Statement { unique: Some(false), ..mine() }),
        altered(Statement { face: Face::Sealed(vec![0; 400].into()), ..mine() }),
    ];
    for statement in headers {
        let ask = Ask { statement, ..visit.put_ask(&deposit) };
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
    assert_refused(&visit.retrieve(&deposit), Problem::Gone);
    // Who comes late with it does not bring it back.
    assert_refused(&visit.put(&deposit), Problem::Gone);
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
        "/v1/usage/x".into(),
        "/v1/audits/".into(),
        "/v1/audits/x".into(),
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
        (format!("/v1/deposits/{id}/demand"), "POST"),
        (format!("/v1/deposits/{id}/renew"), "POST"),
        (format!("/v1/deposits/{id}/register"), "POST"),
        ("/v1/audits".into(), "POST"),
        ("/v1/usage".into(), "GET"),
    ] {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "QUERY", "SEARCH"].into_iter().filter(|m| *m != allow) {
            let got = visit.ask(&Ask { method, ..Ask::get(&path) });
            assert_refused(&got, Problem::MethodNotAllowed);
            assert_eq!(got.headers["allow"], allow);
        }
    }
}

/// What a network does to one message of a life: put, confirm, retrieve, release.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// Its answer does not arrive, and it is sent again.
    Unheard,
    /// It arrives twice.
    Doubled,
    /// A second copy of it arrives after every later message.
    Late,
}

pub fn each_message_may_be_lost_doubled_or_late(safe: &mut dyn SafeUnderTest) {
    for (at, fate) in (0..4).flat_map(|at| [Fate::Unheard, Fate::Doubled, Fate::Late].map(|fate| (at, fate))) {
        let mut visit = Visit::new(safe);
        let deposit = visit.draw(900);
        let (mut late, mut offer, mut certificate, mut receipt) = (None, Vec::new(), Vec::new(), Vec::new());
        for step in 0..4 {
            let make = |visit: &mut Visit<'_>, offer: &[u8]| match step {
                0 => visit.put_ask(&deposit),
                1 => {
                    let confirm = Confirm { suite: SUITE, offer: Root(blake3(offer)) };
                    Ask::post(&deposit.id, "confirm", codec::encode(&confirm))
                }
                2 => {
                    let claim = visit.claim(&deposit.id, Verb::Retrieve, &deposit.secrets.retrieve);
                    Ask::post(&deposit.id, "retrieve", codec::encode(&claim))
                }
                _ => {
                    let claim = visit.claim(&deposit.id, Verb::Release, &deposit.secrets.release);
                    Ask::post(&deposit.id, "release", codec::encode(&claim))
                }
            };
            let ask = make(&mut visit, &offer);
            let mut got = visit.ask(&ask);
            if step == at {
                match fate {
                    Fate::Unheard => {
                        let again = make(&mut visit, &offer);
                        got = visit.ask(&again);
                    }
                    Fate::Doubled => {
                        let second = visit.ask(&ask);
                        // Single-use, or the same bytes.
                        if step >= 2 {
                            assert_refused(&second, Problem::ClaimReplayed);
                        } else {
                            assert_eq!(second.body, got.body);
                        }
                    }
                    Fate::Late => late = Some(ask),
                }
            }
            assert!(matches!(got.status, 200 | 201), "{at} {fate:?} {step}: {}", String::from_utf8_lossy(&got.body));
            match step {
                0 => offer = got.body,
                1 => certificate = got.body,
                2 => assert!(got.body == deposit.body),
                _ => receipt = got.body,
            }
            if let Some(copy) = &late {
                let second = visit.ask(copy);
                // It changes nothing: it gets what it got, or what stands now, or is refused.
                let known = [&offer, &certificate, &receipt, &deposit.body].contains(&&second.body);
                assert!(known || (400..500).contains(&second.status), "{at} {step}: {}", second.status);
                assert!(step < 3 || second.status >= 400, "after the release nothing comes back");
            }
        }
        let held = certificate::verify(&certificate, &visit.identity, Some(&deposit.statement)).unwrap();
        verify_receipt(&receipt, &visit.identity, held.registration()).unwrap();
        assert_refused(&visit.retrieve(&deposit), Problem::Gone);
    }
}

pub fn another_content_type_is_named(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, offer) = visit.offered(100);
    let confirm = codec::encode(&Confirm { suite: SUITE, offer: Root(blake3(&offer)) });
    let fresh = visit.draw(100);
    let asks = [visit.put_ask(&fresh), Ask::post(&deposit.id, "confirm", confirm), Ask::post_to("/v1/audits", vec![])];
    for ask in asks {
        let right = ask.content_type.unwrap();
        for content_type in
            [None, Some(""), Some("text/plain"), Some("multipart/form-data; boundary=x"), Some("application/cbor2")]
        {
            assert_refused(&visit.ask(&Ask { content_type, ..ask.clone() }), Problem::UnsupportedMediaType);
        }
        let shouted = if right == CBOR { "Application/CBOR; x=y" } else { "APPLICATION/octet-stream" };
        assert_ne!(visit.ask(&Ask { content_type: Some(shouted), ..ask }).status, 415);
    }
}

pub fn an_audit_shows_what_the_certificate_says(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let lens = [1, GROUP_LEN, GROUP_LEN + 1, 300_000];
    let held = lens.map(|len| visit.held(len).0);
    // First, last and another group of each, in one request.
    let item = |deposit: &Deposit| {
        let last = group_count(deposit.body.len() as u64) as u32 - 1;
        let groups = [0, last / 2, last].to_vec();
        AuditItem { deposit: deposit.id, secret: deposit.secrets.audit.clone(), groups }
    };
    let items: Vec<AuditItem> = held.iter().map(item).collect();
    let results = visit.audit(&items);
    for ((deposit, item), result) in held.iter().zip(&items).zip(&results) {
        let AuditResult::Shown(slices) = result else { panic!("{result:?}") };
        let (root, length) = (&deposit.statement.root, deposit.statement.length);
        assert_eq!(slices.len(), 3);
        for (slice, group) in slices.iter().zip(&item.groups) {
            slice.verify(root, length, *group).unwrap();
            let from = *group as usize * GROUP_LEN;
            assert_eq!(slice.bytes[..], deposit.body[from..(from + GROUP_LEN).min(deposit.body.len())]);
            // It shows nothing else than what it was asked for.
            assert!(slice.verify(root, length, *group + 1).is_err());
            assert!(slice.verify(&Root([0; 32]), length, *group).is_err());
        }
    }
    // A group that is not there: whoever asks for it gets nothing that counts.
    let beyond = AuditItem { groups: vec![1, u32::MAX], ..item(&held[0]) };
    let AuditResult::Shown(slices) = &visit.audit(&[beyond])[0] else { panic!("shown") };
    for (slice, group) in slices.iter().zip([1, u32::MAX]) {
        assert_eq!(slice.verify(&held[0].statement.root, 1, group), Err(SliceError::NoSuchGroup));
    }
    assert_eq!(granted(visit.retrieve(&held[3]), 200, OCTETS), held[3].body);
}

pub fn an_audit_counts_for_its_right_only(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, ..) = visit.held(40_000);
    let (offered, _) = visit.offered(10);
    let (released, ..) = visit.held(10);
    granted(visit.release(&released), 200, COSE);
    let unknown = visit.draw(10);
    let item =
        |deposit: &Deposit, secret: &Secret| AuditItem { deposit: deposit.id, secret: secret.clone(), groups: vec![0] };
    let items = [
        item(&deposit, &deposit.secrets.retrieve),
        item(&deposit, &deposit.secrets.release),
        item(&deposit, &released.secrets.audit),
        item(&offered, &offered.secrets.audit),
        item(&released, &released.secrets.audit),
        item(&unknown, &unknown.secrets.audit),
        item(&deposit, &deposit.secrets.audit),
        item(&deposit, &deposit.secrets.audit),
    ];
    let results = visit.audit(&items);
    let refused = |problem: Problem| AuditResult::Refused(problem.slug().to_owned());
    assert!(results[..4].iter().all(|result| *result == refused(Problem::NotFound)));
    assert_eq!(results[4..6], [refused(Problem::Gone), refused(Problem::NotFound)]);
    assert!(matches!(&results[6], AuditResult::Shown(_)));
    // A deposit stands once in a request.
    assert_eq!(results[7], refused(Problem::ClaimReplayed));
    // The audit secret gives nothing else.
    for verb in [Verb::Retrieve, Verb::Release] {
        let claim = visit.claim(&deposit.id, verb, &deposit.secrets.audit);
        assert_refused(&visit.present(&deposit.id, &claim), Problem::NotFound);
    }
    // A recorded request does not count again, nor at another safe, nor later.
    let (entry, now) = (visit.entry(), visit.now());
    let items = [item(&deposit, &deposit.secrets.audit)];
    let recorded = seal_items(&items, &entry, now + CLAIM_SPAN, &mut visit.rng()).unwrap();
    let post = |request: &Sealed| Ask::post_to("/v1/audits", codec::encode(request));
    let first = parse_answer(&granted(visit.ask(&post(&recorded)), 200, CBOR), 1).unwrap();
    assert!(matches!(first[0], AuditResult::Shown(_)));
    let again = parse_answer(&granted(visit.ask(&post(&recorded)), 200, CBOR), 1).unwrap();
    assert_eq!(again[0], refused(Problem::ClaimReplayed));
    let prolonged = Sealed { expiry: recorded.expiry + 1, ..recorded.clone() };
    assert_refused(&visit.ask(&post(&prolonged)), Problem::ClaimUnreadable);
    let renumbered = Sealed { nonce: Nonce([1; 16]), ..recorded };
    assert_refused(&visit.ask(&post(&renumbered)), Problem::ClaimUnreadable);
    let other = TestSafe::make(99);
    let foreign = seal_items(&items, other.identity.entry(1).unwrap(), now + 60, &mut visit.rng()).unwrap();
    assert_refused(&visit.ask(&post(&foreign)), Problem::ClaimUnreadable);
    for expiry in [now - 60, now + visit.descriptor.limits.claim + 60] {
        let request = seal_items(&items, &entry, expiry, &mut visit.rng()).unwrap();
        let answer = parse_answer(&granted(visit.ask(&post(&request)), 200, CBOR), 1).unwrap();
        assert_eq!(answer[0], refused(Problem::ClaimExpired));
    }
}

pub fn noise_is_no_audit(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, ..) = visit.held(100);
    let (entry, now) = (visit.entry(), visit.now());
    let item = AuditItem { deposit: deposit.id, secret: deposit.secrets.audit.clone(), groups: vec![0] };
    let made = seal_items(std::slice::from_ref(&item), &entry, now + CLAIM_SPAN, &mut visit.rng()).unwrap();
    let bytes = codec::encode(&made);
    let suite = codec::encode(&Sealed { suite: 2, ..made.clone() });
    let short = codec::encode(&Sealed { enc: vec![0; 5].into(), ..made.clone() });
    for body in [vec![], bytes[1..].to_vec(), [&bytes[..], &[0]].concat(), suite, short] {
        assert_refused(&visit.ask(&Ask::post_to("/v1/audits", body)), Problem::Malformed);
    }
    assert_refused(&visit.ask(&Ask::post_to("/v1/audits", vec![0; 9000])), Problem::TooLarge);
    // Lists that are none: empty, without groups, too long. Our own maker refuses them, so they are sealed by hand.
    let none = AuditItem { groups: vec![], ..item.clone() };
    let wide = AuditItem { groups: vec![0; MAX_AUDIT_SLICES + 1], ..item.clone() };
    let many = vec![item; MAX_AUDIT_ITEMS + 1];
    for items in [vec![], vec![none], vec![wide], many] {
        let mut rng = visit.rng();
        assert!(seal_items(&items, &entry, now, &mut rng).is_err());
        let (nonce, expiry) = (Nonce::make_random(&mut rng), now + CLAIM_SPAN);
        let info = codec::encode(&(SUITE, "audit", entry.safe, entry.serial));
        let aad = codec::encode(&(SUITE, nonce, expiry));
        let plain = codec::encode(&items);
        let (enc, ciphertext) = protocol::crypto::hpke_seal(&entry.hpke, &info, &aad, &plain, &mut rng).unwrap();
        let (enc, ciphertext) = (enc.into(), ciphertext.into());
        let request = Sealed { suite: SUITE, entry: entry.serial, nonce, expiry, enc, ciphertext };
        assert_refused(&visit.ask(&Ask::post_to("/v1/audits", codec::encode(&request))), Problem::ClaimUnreadable);
    }
}

pub fn a_demand_is_answered_whatever_became_of_the_deposit(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let unknown = visit.draw(100);
    assert!(matches!(visit.demand(&unknown.id, &unknown.secrets.audit).verdict, Verdict::Unknown));
    let (deposit, offer) = visit.offered(70_000);
    // An offer promises nothing.
    assert!(matches!(visit.demand(&deposit.id, &deposit.secrets.audit).verdict, Verdict::Unknown));
    granted(visit.confirm(&deposit, &offer), 200, COSE);
    let Verdict::Kept(length, root) = visit.demand(&deposit.id, &deposit.secrets.audit).verdict else { panic!("kept") };
    assert_eq!((length, root), (70_000, deposit.statement.root));
    granted(visit.release(&deposit), 200, COSE);
    let Verdict::Released(shown) = visit.demand(&deposit.id, &deposit.secrets.audit).verdict else {
        panic!("released")
    };
    assert!(shown.same_as(&deposit.secrets.release));
}

pub fn a_stranger_gets_no_verdict_on_the_deposit(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, ..) = visit.held(100);
    let stranger = Secret::make_random(&mut visit.rng());
    for secret in [&stranger, &deposit.secrets.retrieve, &deposit.secrets.release] {
        let Verdict::NotOwner(hash) = visit.demand(&deposit.id, secret).verdict else { panic!("stranger") };
        assert_eq!(hash, derive_hash(secret));
    }
    // A demand is single-use too.
    let claim = visit.claim(&deposit.id, Verb::Demand, &deposit.secrets.audit);
    granted(visit.present(&deposit.id, &claim), 200, COSE);
    assert_refused(&visit.present(&deposit.id, &claim), Problem::ClaimReplayed);
    let post = |act: &str, claim: &Claim| Ask::post(&deposit.id, act, codec::encode(claim));
    assert_refused(&visit.ask(&post("renew", &claim)), Problem::Malformed);
}

pub fn a_certificate_can_be_had_again(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let (deposit, _, certificate) = visit.held(100);
    for _ in 0..2 {
        let claim = visit.claim(&deposit.id, Verb::Renew, &deposit.secrets.audit);
        assert_eq!(granted(visit.present(&deposit.id, &claim), 200, COSE), certificate);
        assert_refused(&visit.present(&deposit.id, &claim), Problem::ClaimReplayed);
    }
    for secret in [&deposit.secrets.retrieve, &deposit.secrets.release] {
        let claim = visit.claim(&deposit.id, Verb::Renew, secret);
        assert_refused(&visit.present(&deposit.id, &claim), Problem::NotFound);
    }
    granted(visit.release(&deposit), 200, COSE);
    let claim = visit.claim(&deposit.id, Verb::Renew, &deposit.secrets.audit);
    assert_refused(&visit.present(&deposit.id, &claim), Problem::Gone);
}

/// A deposit of a unique value, held.
pub fn held_unique(visit: &mut Visit<'_>) -> Deposit {
    let drawn = visit.draw(500);
    let statement = Statement { unique: Some(true), ..drawn.statement.clone() };
    let deposit = Deposit { statement, ..drawn };
    let offer = granted(visit.put(&deposit), 201, COSE);
    let certificate = granted(visit.confirm(&deposit, &offer), 200, COSE);
    let held = certificate::verify(&certificate, &visit.identity, Some(&deposit.statement)).unwrap();
    assert_eq!(held.registration().unique, Some(true));
    deposit
}

/// What a register says to a proposal, for whoever showed it a secret.
#[track_caller]
pub fn register_says(got: Got, secret: &Secret, nonce: &Nonce, proposal: &Proposal) -> register::Answer {
    let vouched: register::Vouched = codec::decode(&granted(got, 200, CBOR), MAX_REGISTER_ANSWER_LEN).unwrap();
    vouched.verify(secret, nonce, proposal).expect("it is an answer to this request")
}

/// Proposes something, and gives what the register says to that.
#[track_caller]
pub fn propose(visit: &mut Visit<'_>, id: &DepositId, secret: &Secret, proposal: &Proposal) -> register::Answer {
    let request = visit.proposal(id, secret, proposal);
    let got = visit.ask(&Ask::post(id, "register", codec::encode(&request)));
    register_says(got, secret, &request.nonce, proposal)
}

pub fn a_unique_value_goes_to_its_claimant(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let deposit = held_unique(&mut visit);
    let (id, right) = (deposit.id, deposit.secrets.retrieve.clone());
    let xs = [(); 2].map(|()| Secret::make_random(&mut visit.rng()));
    let claimants = [derive_claimant(&xs[0]), derive_claimant(&xs[1])];
    let fetch = |visit: &mut Visit<'_>, x| visit.retrieve_as(&deposit, x);
    // Nobody has claimed it.
    assert_refused(&fetch(&mut visit, None), Problem::Claimed);
    assert_refused(&fetch(&mut visit, Some(&xs[0])), Problem::Claimed);
    let low = Ballot { counter: 1, claimant: claimants[0] };
    let high = Ballot { counter: 2, claimant: claimants[1] };
    assert!(propose(&mut visit, &id, &right, &Proposal::Prepare(0, low)).taken);
    // A promise gives nothing yet.
    assert_refused(&fetch(&mut visit, Some(&xs[0])), Problem::Claimed);
    assert!(propose(&mut visit, &id, &right, &Proposal::Accept(0, low, claimants[0])).taken);
    assert_eq!(granted(fetch(&mut visit, Some(&xs[0])), 200, OCTETS), deposit.body);
    assert_refused(&fetch(&mut visit, Some(&xs[1])), Problem::Claimed);
    assert_refused(&fetch(&mut visit, None), Problem::Claimed);
    // A later ballot learns what was accepted, and with it no earlier one counts.
    let learnt = propose(&mut visit, &id, &right, &Proposal::Prepare(0, high));
    assert_eq!(learnt.register.accepted.unwrap().value, claimants[0]);
    assert!(learnt.taken);
    let late = propose(&mut visit, &id, &right, &Proposal::Accept(0, low, claimants[1]));
    assert!(!late.taken && late.register == learnt.register);
    // A demand says to whom it goes.
    let Verdict::Claimed(_, root, to) = visit.demand(&id, &deposit.secrets.audit).verdict else { panic!("claimed") };
    assert_eq!((root, to), (deposit.statement.root, claimants[0]));
    // The owner's override begins anew.
    let release = deposit.secrets.release.clone();
    assert!(propose(&mut visit, &id, &release, &Proposal::Override(1)).taken);
    assert_refused(&fetch(&mut visit, Some(&xs[0])), Problem::Claimed);
    assert!(!propose(&mut visit, &id, &right, &Proposal::Prepare(0, high)).taken);
    let anew = Ballot { counter: 1, claimant: claimants[1] };
    assert!(propose(&mut visit, &id, &right, &Proposal::Prepare(1, anew)).taken);
    assert!(propose(&mut visit, &id, &right, &Proposal::Accept(1, anew, claimants[1])).taken);
    assert_eq!(granted(fetch(&mut visit, Some(&xs[1])), 200, OCTETS), deposit.body);
    // After the release the register still answers who has it.
    granted(visit.release(&deposit), 200, COSE);
    let after = Ballot { counter: 9, claimant: claimants[0] };
    let answer = propose(&mut visit, &id, &right, &Proposal::Prepare(1, after));
    assert_eq!(answer.register.accepted.unwrap().value, claimants[1]);
}

pub fn a_register_hears_its_rights_only(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let deposit = held_unique(&mut visit);
    let secrets = deposit.secrets.clone();
    let stranger = Secret::make_random(&mut visit.rng());
    let claimant = derive_claimant(&stranger);
    let prepare = Proposal::Prepare(0, Ballot { counter: 1, claimant });
    for secret in [&secrets.audit, &secrets.release, &stranger] {
        assert_refused(&visit.propose(&deposit.id, secret, &prepare), Problem::NotFound);
    }
    for secret in [&secrets.audit, &secrets.retrieve, &stranger] {
        assert_refused(&visit.propose(&deposit.id, secret, &Proposal::Override(1)), Problem::NotFound);
    }
    // Values that may live often have no register, and neither has what is not there.
    let (common, ..) = visit.held(10);
    assert_refused(&visit.propose(&common.id, &common.secrets.retrieve, &prepare), Problem::NotFound);
    let unknown = visit.draw(10);
    assert_refused(&visit.propose(&unknown.id, &unknown.secrets.retrieve, &prepare), Problem::NotFound);
    // A recorded proposal changes nothing when it comes again, elsewhere or later.
    let (entry, now) = (visit.entry(), visit.now());
    let make = |expiry, visit: &mut Visit<'_>| {
        seal_proposal(&secrets.retrieve, &prepare, None, &entry, &deposit.id, expiry, &mut visit.rng()).unwrap()
    };
    let request = make(now + CLAIM_SPAN, &mut visit);
    let post = |id: &DepositId, request: &Sealed| Ask::post(id, "register", codec::encode(request));
    let first = register_says(visit.ask(&post(&deposit.id, &request)), &secrets.retrieve, &request.nonce, &prepare);
    assert!(first.taken);
    let again = register_says(visit.ask(&post(&deposit.id, &request)), &secrets.retrieve, &request.nonce, &prepare);
    assert!(!again.taken && again.register == first.register);
    let other = held_unique(&mut visit);
    assert_refused(&visit.ask(&post(&other.id, &request)), Problem::ClaimUnreadable);
    let prolonged = Sealed { expiry: request.expiry + 1, ..request.clone() };
    assert_refused(&visit.ask(&post(&deposit.id, &prolonged)), Problem::ClaimUnreadable);
    for expiry in [now - 60, now + visit.descriptor.limits.claim + 60] {
        let stale = make(expiry, &mut visit);
        assert_refused(&visit.ask(&post(&deposit.id, &stale)), Problem::ClaimExpired);
    }
    let bytes = codec::encode(&request);
    for body in [vec![], bytes[1..].to_vec(), [&bytes[..], &[0]].concat()] {
        assert_refused(&visit.ask(&Ask::post(&deposit.id, "register", body)), Problem::Malformed);
    }
}

pub fn a_token_admits_within_its_quota(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let Some((token, text)) = visit.token(1000, 2, u64::MAX) else {
        return assert_eq!(visit.descriptor.admission, Admission::Open);
    };
    assert_eq!(visit.descriptor.admission, Admission::Token);
    let put =
        |visit: &mut Visit<'_>, deposit: &Deposit| visit.ask(&Ask { token: Some(text.clone()), ..Ask::put(deposit) });
    let [first, second, third, large] = [600, 400, 1, 401].map(|len| visit.draw(len));
    let offer = granted(put(&mut visit, &first), 201, COSE);
    // A retry costs nothing more.
    assert_eq!(granted(put(&mut visit, &first), 200, COSE), offer);
    let over = |got: &Got, bytes: u64, deposits: u64| {
        assert_refused(got, Problem::OverQuota);
        let json: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        let figure = |name: &str| json["quota"][name].as_u64().unwrap();
        assert_eq!((figure("bytes"), figure("deposits")), (token.bytes, token.deposits));
        assert_eq!((figure("bytes_used"), figure("deposits_used")), (bytes, deposits));
    };
    over(&put(&mut visit, &large), 600, 1);
    // What was refused leaves no trace, and what fits is taken.
    granted(put(&mut visit, &second), 201, COSE);
    over(&put(&mut visit, &third), 1000, 2);
    // A body that does not fit its statement is charged no longer than it lies there: the same deposit goes in after it.
    granted(visit.confirm(&first, &offer), 200, COSE);
    granted(visit.release(&first), 200, COSE);
    granted(put(&mut visit, &third), 201, COSE);
    over(&put(&mut visit, &large), 401, 2);
    // The deposits that are there need no token any more.
    assert_refused(&visit.ask(&Ask::put(&second)), Problem::TokenRequired);
    assert_refused(&visit.release(&second), Problem::Gone);
    granted(put(&mut visit, &large), 201, COSE);
}

pub fn only_a_token_of_the_safe_admits(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let now = visit.now();
    let Some((_, good)) = visit.token(1000, 2, now + 600) else { return };
    let deposit = visit.draw(100);
    let put = |visit: &mut Visit<'_>, token: Option<String>| visit.ask(&Ask { token, ..Ask::put(&deposit) });
    assert_refused(&put(&mut visit, None), Problem::TokenRequired);
    let (_, expired) = visit.token(1000, 2, now - 60).unwrap();
    assert_refused(&put(&mut visit, Some(expired)), Problem::TokenExpired);
    let other = TestSafe::make(99);
    let key = visit.safe.token_key().unwrap();
    let id = TokenId([1; 16]);
    let foreign = Token::new(other.id(), id, 1000, 2, u64::MAX).mint(&key);
    let forged = Token::new(visit.identity.id(), id, 1000, 2, u64::MAX).mint(&Secret::from_bytes([1; 32]));
    let newer = Token { suite: 2, ..Token::new(visit.identity.id(), id, 1000, 2, u64::MAX) }.mint(&key);
    let mut altered = good.clone();
    // Not the last character, of which some bits mean nothing.
    altered.replace_range(60..61, if &good[60..61] == "A" { "B" } else { "A" });
    let shouted = good.to_uppercase();
    let long = good.clone() + &"A".repeat(4000);
    for token in [foreign, forged, newer, altered, shouted, long, good[1..].into(), String::new(), "x".into()] {
        let got = put(&mut visit, Some(token));
        // An empty header is no header to some.
        let problem = if got.body.windows(14).any(|w| w == b"token-required") {
            Problem::TokenRequired
        } else {
            Problem::TokenInvalid
        };
        assert_refused(&got, problem);
    }
    granted(put(&mut visit, Some(format!(" {good} "))), 201, COSE);
}

pub fn usage_is_for_the_operator(safe: &mut dyn SafeUnderTest) {
    let mut visit = Visit::new(safe);
    let usage =
        |secret: Option<String>, query: &str| Ask { authorization: secret, ..Ask::get(&format!("/v1/usage{query}")) };
    for wrong in [None, Some(String::new()), Some("Bearer ".into()), Some(format!("Bearer {}", "00".repeat(32)))] {
        let got = visit.ask(&usage(wrong, ""));
        assert_refused(&got, Problem::Unauthorized);
        assert_eq!(got.headers["www-authenticate"], "Bearer");
    }
    let Some(secret) = visit.safe.operator_secret() else { return };
    let bearer = Some(format!("Bearer {}", data_encoding::HEXLOWER.encode(secret.expose())));
    assert_refused(&visit.ask(&usage(bearer.clone(), "?after=x")), Problem::Malformed);
    let mut page = |after: &str| -> serde_json::Value {
        let query = if after.is_empty() { String::new() } else { format!("?after={after}") };
        serde_json::from_slice(&granted(visit.ask(&usage(bearer.clone(), &query)), 200, "application/json")).unwrap()
    };
    assert!(page("")["removals_a_day"].as_u64() > page("")["removals_today"].as_u64());
    let Some((token, text)) = visit.token(1000, 2, u64::MAX) else { return };
    let deposit = visit.draw(300);
    granted(visit.ask(&Ask { token: Some(text), ..Ask::put(&deposit) }), 201, COSE);
    // Directly behind the ids that come before it, so that earlier runs do not matter.
    let mut before = token.id;
    before.0[15] = before.0[15].wrapping_sub(1);
    let query = format!("?after={before}");
    let got = visit.ask(&usage(bearer, &query));
    let json: serde_json::Value = serde_json::from_slice(&granted(got, 200, "application/json")).unwrap();
    let row = json["tokens"].as_array().unwrap().iter().find(|row| row["token"] == token.id.to_string()).unwrap();
    assert_eq!((row["bytes"].as_u64(), row["deposits"].as_u64()), (Some(300), Some(1)));
}
