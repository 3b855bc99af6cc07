//! Who is at fault: every case of `spec/evidence.md`, and that nobody is blamed who is not to blame.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use protocol::{
    certificate::{CertificateError, Release, sign_receipt},
    codec::{self, Bytes},
    cose::Kind,
    crypto::{Secret, SigningKey, blake3},
    deposit::{DepositSecrets, LEASE, Statement},
    evidence::{CLOCK_TOLERANCE, Case, Fault, Finding, Judgement, Testimony, Verdict, judge, stranger},
    identity::{API_VERSION, Admission, Descriptor, Entry, IdentityError, SafeKeys, sign_entry},
    ids::{ClaimantId, DepositId, Root, Seconds},
};
use safe_worker::memory::LIMITS;
use tests::fixture::{NOW, TestSafe, URL, rng, secret};

const DEPOSIT: DepositId = DepositId([0xd1; 16]);
const BODY: &[u8] = b"a body, as if it were sealed";
const ISSUED: Seconds = NOW + 100;
const END: Seconds = ISSUED + LEASE;

fn statement(safe: &TestSafe) -> Statement {
    safe.statement(DEPOSIT, &secret(1), BODY)
}

fn certificate(safe: &TestSafe) -> Vec<u8> {
    safe.sign(&statement(safe), Kind::Certificate)
}

fn descriptor_of(keys: &SafeKeys) -> Vec<u8> {
    codec::encode(&Descriptor {
        suite: 1,
        api: API_VERSION,
        identity: keys.identity.verifying_key().to_compressed().to_vec().into(),
        name: "Nordfels".into(),
        url: URL.into(),
        chain: keys.chain.clone(),
        limits: LIMITS,
        admission: Admission::Open,
        time: NOW,
        whereabouts: None,
        owners: None,
        relays: None,
    })
}

fn testimony(safe: &TestSafe, issued: Seconds, verdict: Verdict) -> Vec<u8> {
    Testimony::new(safe.id(), 1, DEPOSIT, Root([2; 32]), issued, verdict).sign(&safe.keys.signing)
}

fn receipt(safe: &TestSafe, issued: Seconds, release: Secret) -> Vec<u8> {
    let root = Root(blake3(BODY));
    let release = Release { suite: 1, safe: safe.id(), entry: 1, deposit: DEPOSIT, root, issued, release };
    sign_receipt(&safe.keys.signing, &release)
}

fn kept() -> Verdict {
    Verdict::Kept(BODY.len() as u64, Root(blake3(BODY)))
}

fn secrets() -> DepositSecrets {
    DepositSecrets::derive(&secret(1))
}

fn judged(certificates: &[Vec<u8>], descriptors: &[Vec<u8>], statements: &[Vec<u8>], now: Seconds) -> Judgement {
    judge(&Case { certificates, descriptors, statements, unanswered: false }, now)
}

/// The finding on one certificate and one statement, a while after it.
fn finding(safe: &TestSafe, statements: &[Vec<u8>]) -> Finding {
    judged(&[certificate(safe)], &[descriptor_of(&safe.keys)], statements, END + LEASE).finding
}

const fn at_fault(fault: Fault, at: Seconds) -> Finding {
    Finding::SafeAtFault { fault, at: Some(at) }
}

#[test]
fn an_honest_safe_is_not_blamed() {
    let safe = TestSafe::make(1);
    assert_eq!(finding(&safe, &[]), Finding::NoContradiction);
    let claimed = Verdict::Claimed(BODY.len() as u64, Root(blake3(BODY)), ClaimantId([1; 32]));
    for verdict in [kept(), claimed] {
        for at in [ISSUED, ISSUED + 1, END - 1, END, END + 5] {
            assert_eq!(finding(&safe, &[testimony(&safe, at, verdict.clone())]), Finding::NoContradiction);
        }
    }
    let judgement = judged(&[certificate(&safe)], &[descriptor_of(&safe.keys)], &[], NOW + 200);
    assert_eq!(judgement.registration.unwrap().deposit, DEPOSIT);
}

#[test]
fn lost_and_altered_bytes_convict() {
    let safe = TestSafe::make(1);
    let short = Verdict::Kept(5, Root(blake3(BODY)));
    let other = Verdict::Kept(BODY.len() as u64, Root([9; 32]));
    let claimed = Verdict::Claimed(5, Root([9; 32]), ClaimantId([1; 32]));
    for (verdict, fault) in [
        (Verdict::Lost, Fault::Lost),
        (Verdict::Unknown, Fault::Disowned),
        (Verdict::Expired, Fault::EarlyExpiry { end: END }),
        (short, Fault::Altered { length: 5 }),
        (other, Fault::Altered { length: BODY.len() as u64 }),
        (claimed, Fault::Altered { length: 5 }),
    ] {
        for at in [ISSUED, END - 1] {
            assert_eq!(finding(&safe, &[testimony(&safe, at, verdict.clone())]), at_fault(fault, at), "{verdict}");
        }
        // A fault is not undone by what the safe says later, nor by a release that comes after it.
        let later = testimony(&safe, ISSUED + 9, kept());
        let released = receipt(&safe, ISSUED + 9, secrets().release);
        for after in [later, released] {
            let said = [after, testimony(&safe, ISSUED + 5, verdict.clone())];
            assert_eq!(finding(&safe, &said), at_fault(fault, ISSUED + 5));
        }
        // Before the certificate nothing was promised.
        assert_eq!(finding(&safe, &[testimony(&safe, ISSUED - 1, verdict)]), Finding::NoContradiction);
    }
}

#[test]
fn a_false_receipt_convicts_and_a_true_one_acquits() {
    let safe = TestSafe::make(1);
    let at = ISSUED + 50;
    let right = secrets().release;
    assert_eq!(finding(&safe, &[receipt(&safe, at, right.clone())]), Finding::Released { at });
    assert_eq!(finding(&safe, &[testimony(&safe, at, Verdict::Released(right.clone()))]), Finding::Released { at });
    // The holder who denies it brings other statements; the receipt stands.
    let said = [testimony(&safe, at + 5, Verdict::Unknown), receipt(&safe, at, right)];
    assert_eq!(finding(&safe, &said), Finding::Released { at });
    // The secrets that a safe learns otherwise are not the release secret.
    for made_up in [secret(77), secrets().retrieve, secrets().audit] {
        let said = testimony(&safe, at, Verdict::Released(made_up.clone()));
        assert_eq!(finding(&safe, &[said]), at_fault(Fault::FalseRelease, at));
        // As a receipt it is none.
        let judgement =
            judged(&[certificate(&safe)], &[descriptor_of(&safe.keys)], &[receipt(&safe, at, made_up)], END);
        assert_eq!(judgement.finding, Finding::NoContradiction);
        assert_eq!(judgement.ignored, [(0, CertificateError::Differs)]);
    }
}

#[test]
fn a_forged_certificate_binds_nobody() {
    let (safe, other) = (TestSafe::make(1), TestSafe::make(2));
    let lost = testimony(&safe, ISSUED + 5, Verdict::Unknown);
    let chain = [descriptor_of(&safe.keys)];
    // Signed by somebody else in the safe's name.
    let mut forger = TestSafe::make(1);
    forger.keys.signing = SigningKey::make_random(&mut rng(5));
    let mut altered = certificate(&safe);
    let last = altered.len() - 1;
    altered[last] ^= 1;
    for bad in [certificate(&forger), altered, vec![], b"noise".to_vec(), safe.sign(&statement(&safe), Kind::Offer)] {
        let judgement = judged(&[bad], &chain, std::slice::from_ref(&lost), END);
        assert!(matches!(judgement.finding, Finding::NoCertificate(_)), "{:?}", judgement.finding);
        assert!(judgement.registration.is_none());
    }
    // Another safe's certificate is none of this safe.
    let judgement = judged(&[certificate(&other)], &chain, &[lost], END);
    assert!(matches!(judgement.finding, Finding::NoChain(IdentityError::Mismatch { .. })));
    assert!(matches!(judged(&[certificate(&safe)], &[], &[], END).finding, Finding::NoChain(_)));
}

#[test]
fn a_revoked_key_convicts_nobody() {
    let mut safe = TestSafe::make(1);
    let (old, before) = (certificate(&safe), descriptor_of(&safe.keys));
    let thief = safe.keys.signing.clone();
    let revoked_at = ISSUED + 1000;
    safe.keys.rotate(&mut rng(6), revoked_at, Some(1)).unwrap();
    let now = descriptor_of(&safe.keys);
    let later = |issued| {
        let statement = statement(&safe);
        protocol::certificate::registration_of(&statement, URL, 1, issued, END, None).sign(&thief, Kind::Certificate)
    };
    let unknown = Testimony::new(safe.id(), 2, DEPOSIT, Root([2; 32]), revoked_at + 9, Verdict::Unknown);
    let said = [unknown.sign(&safe.keys.signing)];
    // The safe's own certificate and the thief's cannot be told apart, whatever their date.
    for certificate in [old.clone(), later(ISSUED + 1), later(revoked_at + 5)] {
        let found = judged(&[certificate], &[before.clone(), now.clone()], &said, END).finding;
        assert_eq!(found, Finding::KeyRevoked { serial: 1 });
    }
    // What the thief signs in the safe's name does not count either.
    let framed = Testimony::new(safe.id(), 1, DEPOSIT, Root([2; 32]), ISSUED + 5, Verdict::Lost).sign(&thief);
    let renewed = protocol::certificate::registration_of(&statement(&safe), URL, 2, revoked_at + 2, END, None)
        .sign(&safe.keys.signing, Kind::Certificate);
    let judgement = judged(&[old, renewed], &[now], &[framed], END);
    assert_eq!((judgement.finding, judgement.ignored.len()), (Finding::NoContradiction, 1));
    // The renewed certificate, under the key that stands, convicts.
    let judgement = judged(&[certificate(&TestSafe::make(1))], &[before], &said, END);
    assert_eq!(judgement.finding, Finding::NoContradiction, "an entry that the old chain does not have");
}

#[test]
fn a_backdated_chain_is_found_out() {
    let safe = TestSafe::make(1);
    let first = safe.identity.entry(1).unwrap().clone();
    let identity = &safe.keys.identity;
    let chain = |entries: &[Entry]| {
        let chain = entries.iter().map(|entry| sign_entry(identity, entry)).collect::<Vec<Bytes>>();
        let mut keys = SafeKeys::make_random(&mut rng(9), NOW).unwrap();
        (keys.identity, keys.chain) = (identity.clone(), chain);
        descriptor_of(&keys)
    };
    let honest = descriptor_of(&safe.keys);
    let cert = certificate(&safe);
    let found =
        |descriptor: Vec<u8>| judged(std::slice::from_ref(&cert), &[honest.clone(), descriptor], &[], END).finding;
    // The identity signs an entry again, so that what it covered is no longer covered.
    let key = SigningKey::make_random(&mut rng(3)).verifying_key().to_compressed().to_vec();
    for disowned in [
        Entry { from: ISSUED + 1, ..first.clone() },
        Entry { to: ISSUED, ..first.clone() },
        Entry { signing: key.into(), ..first.clone() },
    ] {
        let fault = Fault::TwoEntries { serial: 1 };
        assert_eq!(found(chain(&[disowned])), Finding::SafeAtFault { fault, at: None });
    }
    // A revocation is not a second entry, but undoes what the certificate proved, also a backdated one.
    for revoked in [ISSUED - 1, ISSUED + 1] {
        let revoked = Entry { revoked: Some(revoked), ..first.clone() };
        assert_eq!(found(chain(&[revoked])), Finding::KeyRevoked { serial: 1 });
    }
    // An entry that begins before the one ahead of it is no chain.
    let second = Entry { serial: 2, from: first.from - 1, ..first.clone() };
    assert_eq!(found(chain(&[first.clone(), second])), Finding::NoChain(IdentityError::BadChain));
    let third = Entry { serial: 3, ..first.clone() };
    assert_eq!(found(chain(&[first, third])), Finding::NoChain(IdentityError::BadChain));
}

#[test]
fn an_ended_lease_is_no_fault() {
    let safe = TestSafe::make(1);
    for verdict in [Verdict::Expired, Verdict::Unknown, Verdict::Lost, Verdict::Released(secret(5))] {
        assert_eq!(finding(&safe, &[testimony(&safe, END, verdict.clone())]), Finding::LeaseEnded { end: END });
        // A renewed certificate promises longer.
        let renewed = protocol::certificate::registration_of(&statement(&safe), URL, 1, END - 5, END + 1000, None)
            .sign(&safe.keys.signing, Kind::Certificate);
        let (chain, said) = ([descriptor_of(&safe.keys)], [testimony(&safe, END, verdict)]);
        for order in [[certificate(&safe), renewed.clone()], [renewed, certificate(&safe)]] {
            let found = judged(&order, &chain, &said, END + 9).finding;
            // From the later one's date on; from the earlier one's the promise is one.
            assert!(matches!(found, Finding::SafeAtFault { .. }), "{found}");
        }
    }
}

#[test]
fn what_nobody_signed_convicts_nobody() {
    let (safe, other) = (TestSafe::make(1), TestSafe::make(2));
    let mut flipped = testimony(&safe, ISSUED + 5, Verdict::Lost);
    let at = flipped.len() - 3;
    flipped[at] ^= 1;
    let elsewhere = Testimony::new(safe.id(), 1, DepositId([9; 16]), Root([2; 32]), ISSUED + 5, Verdict::Lost)
        .sign(&safe.keys.signing);
    let made_up: Vec<Vec<u8>> = vec![
        b"{\"type\":\"urn:strongroom:problem:not-found\",\"status\":404}".to_vec(),
        vec![],
        flipped,
        testimony(&other, ISSUED + 5, Verdict::Lost),
        elsewhere,
        certificate(&safe),
    ];
    let judgement = judged(&[certificate(&safe)], &[descriptor_of(&safe.keys)], &made_up, END);
    assert_eq!(judgement.finding, Finding::NoContradiction);
    assert_eq!(judgement.ignored.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_stranger_is_called_one_only_if_he_is() {
    let safe = TestSafe::make(1);
    let at = ISSUED + 5;
    assert_eq!(finding(&safe, &[testimony(&safe, at, stranger(&secret(3)))]), Finding::WrongSecret);
    assert_eq!(finding(&safe, &[testimony(&safe, at, stranger(&secrets().retrieve))]), Finding::WrongSecret);
    let found = finding(&safe, &[testimony(&safe, at, stranger(&secrets().audit))]);
    assert_eq!(found, at_fault(Fault::FalseStranger, at));
}

#[test]
fn a_date_that_has_not_come_convicts() {
    let safe = TestSafe::make(1);
    let now = ISSUED + 5;
    let found = |at| {
        let said = [testimony(&safe, at, Verdict::Expired)];
        judged(&[certificate(&safe)], &[descriptor_of(&safe.keys)], &said, now).finding
    };
    assert_eq!(found(END), at_fault(Fault::Postdated, END));
    assert_eq!(found(now + CLOCK_TOLERANCE), at_fault(Fault::EarlyExpiry { end: END }, now + CLOCK_TOLERANCE));
}

#[test]
fn silence_is_observed_and_proves_nothing() {
    let safe = TestSafe::make(1);
    let (certificates, descriptors) = ([certificate(&safe)], [descriptor_of(&safe.keys)]);
    let case = Case { certificates: &certificates, descriptors: &descriptors, unanswered: true, ..Case::default() };
    assert_eq!(judge(&case, END).finding, Finding::DidNotAnswer);
    // What was signed counts for more.
    let said = [receipt(&safe, ISSUED + 5, secrets().release)];
    assert_eq!(judge(&Case { statements: &said, ..case }, END).finding, Finding::Released { at: ISSUED + 5 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// An honest safe signs what is true at each moment of a life. Whatever of it is brought, in any order, with whatever a dishonest holder adds,
    /// the safe is not blamed.
    #[test]
    fn no_selection_of_true_statements_blames_an_honest_safe(
        picks in prop::collection::vec((0usize..6, 0u64..4), 0..6),
        released in prop::option::of(0u64..4),
        forged: bool,
    ) {
        let safe = TestSafe::make(1);
        let times = [ISSUED - 50, ISSUED + 10, END - 10, END + 10];
        let let_go = released.map(|at| times[at.max(1) as usize]);
        let mut said = Vec::new();
        for (what, when) in picks {
            let at = times[when as usize];
            let gone = let_go.is_some_and(|gone| gone <= at);
            let true_then = match what {
                // Before the deposit and after lease and removal it is unknown.
                _ if at < ISSUED => Verdict::Unknown,
                0 => stranger(&secret(50)),
                _ if gone => Verdict::Released(secrets().release),
                1 | 2 if at >= END => Verdict::Expired,
                3 if at >= END => Verdict::Unknown,
                _ => kept(),
            };
            said.push(testimony(&safe, at, true_then));
        }
        said.extend(let_go.map(|at| receipt(&safe, at, secrets().release)));
        if forged {
            let mut made_up = testimony(&safe, ISSUED + 20, Verdict::Lost);
            *made_up.last_mut().unwrap() ^= 1;
            said.push(made_up);
        }
        let found = finding(&safe, &said);
        prop_assert!(!matches!(found, Finding::SafeAtFault { .. }), "{found}");
    }
}
