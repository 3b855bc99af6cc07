//! Everything that takes bytes from outside, by name: what the fuzzer (`tests/fuzz`) runs, and what `tests/tests/corpus.rs` runs again on every
//! input that the fuzzer kept.
//!
//! None of them may panic or take more memory than a multiple of its input. What must hold of bytes that are taken stands beside each.

use std::{cell::OnceCell, collections::BTreeMap, fmt::Debug, str};

use futures::executor::block_on;
use minicbor::{Decode, Encode};
use protocol::{
    SUITE,
    audit::{AuditItem, MAX_AUDIT_ANSWER_LEN, MAX_AUDIT_LEN, parse_answer},
    book::{Book, KnownSafe, read_file},
    bundle,
    certificate::{self, MAX_SIGNED_LEN, Registration, Release, offer_digest, verify_receipt},
    claim::{Claim, Confirm, Verb},
    codec,
    cose::{Kind, Unverified},
    crypto::{Secret, same_bytes},
    deposit::{DepositSecrets, Face, Statement},
    envelope::Envelope,
    evidence::{Case, Testimony, judge, verify_testimony},
    identity::{Identity, parse_chain_text},
    ids::{BackupId, DepositId, Root, SafeId},
    layout::{Layout, SEGMENT_UNIT},
    owner::{
        device::Handle,
        enrolment::{Enrolment, may_be},
        kit::Kit,
        messages::{Action, Evaluated, Greeting, Guess, Look, Opening, Outcome, Question},
    },
    piece_file,
    plan::Plan,
    register::{MAX_REGISTER_LEN, Proposal, Register},
    relay::{Carried, Delivery, Errand as RelayErrand, Parcel},
    seal::{self, Purpose},
    sealed::Sealed,
    token::Token,
};
use safe_worker::{
    account,
    flow::{CBOR, Head, OCTETS, Policy},
    machine,
    memory::MemorySafe,
    operator,
    owner::{self, record::OwnerRecord},
    record::Record,
};
use wallet_wasm::{
    audits::{self, Audit},
    exchange::{self, Answer, Meaning},
    machine::transition,
    session::Errand,
    state::{Row, State},
};
use zeroize::Zeroizing;

use crate::fixture::{CLAIMS, NOW, TestSafe, URL, letter, rng, secret, vector_file};

/// One of them.
#[derive(Clone, Copy)]
pub struct Decoder {
    /// Its name: the directory of its corpus.
    pub name: &'static str,
    /// Reads the bytes; panics if it must not have taken them.
    pub run: fn(&[u8]),
    /// Vector files that it reads: where the fuzzer begins.
    pub seeds: &'static [&'static str],
}

const fn decoder(name: &'static str, run: fn(&[u8]), seeds: &'static [&'static str]) -> Decoder {
    Decoder { name, run, seeds }
}

const DEPOSIT: DepositId = DepositId([0xd1; 16]);
/// No cap of its own: the fuzzer's inputs are short.
const ANY: usize = usize::MAX;

/// All of them.
pub const DECODERS: &[Decoder] = &[
    decoder("account", account, &["account_requests.txt"]),
    decoder("answer", answer, &["offer.txt", "certificate.txt", "receipt.txt", "audit_answer.txt", "problems.txt"]),
    decoder("audit", audit, &["audit_request.txt", "audit_answer.txt"]),
    decoder("book", book, &["book_file.txt"]),
    decoder("bundle", bundle, &["bundle_head.txt"]),
    decoder("chain-text", chain_text, &["chain_text.txt"]),
    decoder(
        "owner",
        owner,
        &[
            "owner_enrolment.txt",
            "owner_look.txt",
            "owner_question.txt",
            "owner_record.txt",
            "owner_record_fetched.txt",
            "owner_actions.txt",
        ],
    ),
    decoder("claim", claim, &["claim_retrieve.txt", "confirm.txt"]),
    decoder("descriptor", descriptor, &["descriptor.txt", "descriptor_placed.txt"]),
    decoder("envelope", envelope, &["envelope.txt", "envelope_head.txt"]),
    decoder("ids", ids, &[]),
    decoder("judge", judged, &["certificate.txt", "testimony_lost.txt", "descriptor.txt"]),
    decoder("ledger", ledger, &["ledger_requests.txt", "ledger_replies.txt"]),
    decoder("piece-file", piece_file, &["piece_file.txt"]),
    decoder("plan", plan, &["plan.txt", "plan_nested.txt", "plan_every_form.txt"]),
    decoder("record", record, &["record_held.txt", "record_writing.txt", "record_deleting.txt", "record_released.txt"]),
    decoder(
        "register",
        register,
        &["register_prepare.txt", "register_accept.txt", "register_override.txt", "register_answer.txt"],
    ),
    decoder("relay", relay, &["relay_errand.txt", "relay_parcel.txt", "relay_delivery.txt"]),
    decoder(
        "row",
        row,
        &[
            "row_backup_making.txt",
            "row_backup_keeping.txt",
            "row_backup_ending.txt",
            "row_safe_token.txt",
            "row_safe_placed.txt",
            "row_value.txt",
            "row_activity.txt",
        ],
    ),
    decoder("safe", safe, &[]),
    decoder("seal", sealed, &["seal.txt", "seal_empty.txt"]),
    decoder(
        "signed",
        signed,
        &["certificate.txt", "offer.txt", "receipt.txt", "testimony_kept.txt", "chain_entry.txt"],
    ),
    decoder("statement", statement, &["statement.txt", "statement_clear.txt"]),
    decoder("token", token, &["token.txt"]),
];

thread_local! {
    static SAFE: OnceCell<TestSafe> = const { OnceCell::new() };
    static WALLETS: OnceCell<[AskingWallet; 2]> = const { OnceCell::new() };
}

fn with_safe<T>(run: impl FnOnce(&TestSafe) -> T) -> T {
    SAFE.with(|safe| run(safe.get_or_init(|| TestSafe::make(1))))
}

/// What is taken has one encoding: the bytes that came.
fn exact<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) {
    if let Ok(value) = codec::decode::<T>(bytes, ANY) {
        assert!(codec::encode(&value) == bytes, "taken, although there is another encoding");
    }
}

/// What is taken as text is written the same way.
fn exact_text<T: str::FromStr + ToString + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text, "taken, although it is written otherwise");
    }
}

fn account(bytes: &[u8]) {
    exact::<account::Request>(bytes);
    exact::<account::Reply>(bytes);
    exact::<operator::Request>(bytes);
    exact::<operator::Reply>(bytes);
}

fn ledger(bytes: &[u8]) {
    exact::<machine::Request>(bytes);
    exact::<machine::Reply>(bytes);
}

fn audit(bytes: &[u8]) {
    exact::<Vec<AuditItem>>(bytes);
    let _ = Sealed::parse(bytes, MAX_AUDIT_LEN);
    for items in 1..3 {
        if let Ok(results) = parse_answer(bytes, items) {
            assert!(bytes.len() <= MAX_AUDIT_ANSWER_LEN && results.len() == items);
        }
    }
}

fn book(bytes: &[u8]) {
    exact::<Book>(bytes);
    // The key is not known, so nothing opens.
    if let Ok(file) = read_file(bytes) {
        assert!(file.open(&secret(1)).is_err());
    }
}

fn bundle(bytes: &[u8]) {
    if let Ok(values) = bundle::parse(bytes) {
        let metas: Vec<_> = values.iter().map(|(meta, _)| meta.clone()).collect();
        let contents = values.iter().flat_map(|(_, content)| content.iter().copied());
        let again: Vec<u8> = bundle::head(&metas).into_iter().chain(contents).collect();
        assert!(again == bytes, "a bundle that is put together otherwise");
    }
}

fn chain_text(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok((identity, chain)) = parse_chain_text(text) {
        let _ = Identity::verify(&identity, &chain);
    }
}

fn claim(bytes: &[u8]) {
    exact::<Confirm>(bytes);
    if let Ok(claim) = Claim::parse(bytes) {
        with_safe(|safe| drop(claim.open(&safe.keys.hpke, &safe.id(), &DEPOSIT)));
    }
}

fn descriptor(bytes: &[u8]) {
    // Whoever the identity is, it has signed its chain.
    if let Ok((descriptor, identity)) = Identity::of_descriptor(bytes, None) {
        assert!(Identity::verify(&descriptor.identity, &descriptor.chain).is_ok_and(|again| again == identity));
    }
}

fn envelope(bytes: &[u8]) {
    let _ = Envelope::of_plain(Zeroizing::new(bytes.to_vec()));
    let _ = Envelope::open(&secret(0xd), &DEPOSIT, bytes);
}

fn ids(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    exact_text::<SafeId>(text);
    exact_text::<DepositId>(text);
}

/// Certificate, descriptor and statements, parted by the lengths in front of them. Only those of the vectors are signed, and by them alone nobody is
/// convicted: the certificate that a conviction names is the one of the vectors.
fn judged(bytes: &[u8]) {
    let mut rest = bytes;
    let mut parts: [Vec<Vec<u8>>; 3] = Default::default();
    while let [place, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (part, tail) = tail.split_at(length);
        parts[usize::from(*place) % 3].push(part.to_vec());
        rest = tail;
    }
    let [certificates, descriptors, statements] = &parts;
    let judgement = judge(&Case { certificates, descriptors, statements, unanswered: false }, NOW + 1_000_000);
    if let Some(registration) = judgement.registration {
        with_safe(|safe| assert!(registration.safe != safe.id() || registration.deposit == DEPOSIT));
    }
}

fn piece_file(bytes: &[u8]) {
    let plan = CLAIMS.iter().find(|(name, _)| *name == "claim_7_kept.txt").unwrap().1.parse::<Plan<String>>().unwrap();
    let layout = Layout::restore(BackupId([0xb1; 16]), &plan.bind(&letter).unwrap(), 225, SEGMENT_UNIT).unwrap();
    if let Ok(pieces) = piece_file::read(&layout, bytes) {
        assert!(piece_file::write(&layout, pieces).as_deref() == Ok(bytes), "a file that is written otherwise");
    }
}

fn plan(bytes: &[u8]) {
    exact::<Plan<SafeId>>(bytes);
    if let Ok(plan) = String::from_utf8_lossy(bytes).parse::<Plan<String>>() {
        assert!(plan.to_string().parse() == Ok(plan), "a plan that is written otherwise");
    }
}

fn record(bytes: &[u8]) {
    if let Ok(record) = Record::parse(bytes) {
        assert!(record.encode() == bytes, "a record that is written otherwise");
    }
}

fn register(bytes: &[u8]) {
    exact::<Proposal>(bytes);
    exact::<Register>(bytes);
    let _ = Sealed::parse(bytes, MAX_REGISTER_LEN);
}

fn relay(bytes: &[u8]) {
    exact::<RelayErrand>(bytes);
    exact::<Carried>(bytes);
    exact::<Delivery>(bytes);
    let _ = RelayErrand::parse(bytes, ANY);
    if let Ok(parcel) = Parcel::parse(bytes) {
        assert!(codec::encode(&parcel) == bytes, "a parcel that is written otherwise");
        with_safe(|safe| assert!(parcel.open(&safe.keys.hpke, &safe.id()).is_err() || bytes.len() > 2000));
    }
}

fn owner(bytes: &[u8]) {
    let _ = Look::parse(bytes);
    let _ = Question::parse(bytes);
    if let Ok(enrolment) = Enrolment::parse(bytes) {
        assert!(may_be(usize::from(enrolment.threshold), enrolment.seats.len()));
        assert!(codec::encode(&enrolment) == bytes, "a statement that is written otherwise");
    }
    if let Ok(record) = OwnerRecord::parse(bytes) {
        assert!(record.encode() == bytes, "a record that is written otherwise");
    }
    exact::<Greeting>(bytes);
    exact::<Guess>(bytes);
    if let Some(kit) = str::from_utf8(bytes).ok().and_then(|text| Kit::parse(text).ok()) {
        assert!(Kit::parse(&kit.to_text()).is_ok_and(|again| codec::encode(&again) == codec::encode(&kit)));
    }
    let _ = Handle::parse(bytes);
    exact::<Evaluated>(bytes);
    exact::<Opening>(bytes);
    exact::<Vec<Action>>(bytes);
    exact::<Vec<Outcome>>(bytes);
    exact::<owner::Request>(bytes);
    exact::<owner::Reply>(bytes);
}

fn row(bytes: &[u8]) {
    if let Ok(row) = Row::parse(bytes) {
        assert!(row.encode() == bytes, "a row that is written otherwise");
        let mut state = State::default();
        state.put(row);
        // What an attacker of the disk writes is never opened, but a fault of ours may be.
        for backup in state.backups.values() {
            let _ = backup.layout();
        }
    }
}

fn sealed(bytes: &[u8]) {
    let purpose = Purpose { purpose: "test", object: b"object", version: 7 };
    // Another key than the vectors': whatever comes, nothing opens.
    assert!(seal::open(&secret(0xbad), &purpose, bytes).is_err());
}

fn signed(bytes: &[u8]) {
    for kind in [Kind::ChainEntry, Kind::Offer, Kind::Certificate, Kind::Receipt, Kind::Testimony] {
        let Ok(unverified) = Unverified::parse(bytes, kind, MAX_SIGNED_LEN) else { continue };
        let payload = unverified.payload();
        exact::<Registration>(payload);
        exact::<Release>(payload);
        exact::<Testimony>(payload);
    }
    // Nothing but what the safe signed counts, and it has signed the vectors only. (r, n − s) verifies where (r, s) does, so it is payloads that are compared.
    with_safe(|safe| {
        if let Ok(held) = certificate::verify(bytes, &safe.identity, None) {
            assert!(same_payload(held.signed(), "certificate.txt", Kind::Certificate));
            let _ = verify_receipt(bytes, &safe.identity, held.registration());
        }
        let _ = verify_testimony(bytes, &safe.identity);
    });
}

fn same_payload(bytes: &[u8], file: &str, kind: Kind) -> bool {
    let (_, stored) = vector_file(file);
    let payload = |bytes| Unverified::parse(bytes, kind, MAX_SIGNED_LEN).map(|signed| signed.payload().to_vec());
    matches!((payload(bytes), payload(&stored)), (Ok(a), Ok(b)) if same_bytes(&a, &b))
}

fn statement(bytes: &[u8]) {
    with_safe(|safe| {
        if let Ok(statement) = Statement::parse(bytes, &safe.id(), &DEPOSIT) {
            assert!(codec::encode(&statement) == bytes);
            let _ = statement.face.read(Some(&secret(0xd)), &DEPOSIT);
        }
    });
    exact::<Face>(bytes);
}

fn token(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    // Under another key than the vector's nothing is a token.
    with_safe(|safe| assert!(Token::parse(text, &secret(0xbad), &safe.id(), NOW).is_err()));
}

/// A whole request to a safe: the method, the place in this list of paths or a path of its own, the headers, the body. Never is it a fault of the safe.
fn safe(bytes: &[u8]) {
    let mut lines = bytes.splitn(7, |byte| *byte == b'\n');
    let mut text = || str::from_utf8(lines.next()?).ok().map(str::to_owned).filter(|text| !text.is_empty());
    let mut head = Head {
        method: text().unwrap_or_default(),
        path: text().unwrap_or_default(),
        statement: text(),
        token: text(),
        authorization: text(),
        content_type: text(),
        ..Head::default()
    };
    let body = lines.next().unwrap_or_default().to_vec();
    head.length = Some(body.len() as u64);
    for (short, long) in [("c", CBOR), ("o", OCTETS)] {
        if head.content_type.as_deref() == Some(short) {
            head.content_type = Some(long.to_owned());
        }
    }
    if let Some((path, query)) = head.path.clone().split_once('?') {
        head.path = path.to_owned();
        head.query = Some(query.to_owned());
    }
    SAFES.with(|safes| {
        for Started { safe, records } in safes.get_or_init(|| [started(None), started(Some(secret(51)))]) {
            let answer = block_on(safe.handle(&head, body.clone(), NOW + 1000));
            assert_ne!(answer.status, 500, "a fault of the safe");
            // Every input finds the same safe.
            safe.lose_records();
            safe.set_records(records.clone());
        }
    });
}

/// A safe that holds a deposit, and its ledger at that time.
struct Started {
    safe: MemorySafe,
    records: BTreeMap<DepositId, Vec<u8>>,
}

thread_local!(static SAFES: OnceCell<[Started; 2]> = const { OnceCell::new() });

const BODY: &[u8] = b"a body, as if it were sealed";

fn started(token_key: Option<Secret>) -> Started {
    let policy = Policy { token_key, operator_secret: Some(secret(52)), relays: Vec::new() };
    let safe = MemorySafe::new("fuzzed", &secret(1), NOW).unwrap();
    // Put in while anybody may.
    let offer = block_on(safe.handle(&put_head(&statement_for(&safe)), BODY.to_vec(), NOW + 10)).body;
    let confirm = codec::encode(&Confirm { suite: SUITE, offer: Root(offer_digest(&offer)) });
    let head = Head {
        method: "POST".into(),
        path: format!("/v1/deposits/{DEPOSIT}/confirm"),
        content_type: Some(CBOR.into()),
        length: Some(confirm.len() as u64),
        ..Head::default()
    };
    assert_eq!(block_on(safe.handle(&head, confirm, NOW + 10)).status, 200);
    let records = safe.records();
    Started { safe: safe.with_policy(policy), records }
}

fn statement_for(safe: &MemorySafe) -> Statement {
    let text = crate::fixture::face_text();
    let secrets = DepositSecrets::derive(&secret(0xd));
    let root = Root(protocol::crypto::blake3(BODY));
    Statement::new(safe.identity().unwrap().id(), DEPOSIT, BODY.len() as u64, root, Face::Clear(text), &secrets)
}

fn put_head(statement: &Statement) -> Head {
    Head {
        method: "PUT".into(),
        path: format!("/v1/deposits/{DEPOSIT}"),
        statement: Some(format!(":{}:", data_encoding::BASE64.encode(&codec::encode(statement)))),
        content_type: Some(OCTETS.into()),
        length: Some(BODY.len() as u64),
        ..Head::default()
    }
}

/// An answer of a safe to each of a wallet's errands. Whatever it is, the wallet goes on.
fn answer(bytes: &[u8]) {
    let Some((status, rest)) = bytes.split_first_chunk::<2>() else { return };
    let status = u16::from_be_bytes(*status);
    let problem = str::from_utf8(rest).ok().and_then(|text| text.split_once('\n'));
    let problem = problem.map(|(uri, time)| (uri.to_owned(), time.parse().unwrap_or(u64::MAX)));
    let answer = || Some(Answer { status, body: rest.to_vec(), problem: problem.clone() });
    let happens = |state: &State, meaning| {
        if let Meaning::Event(event) = meaning {
            let _ = transition(state, *event, NOW + 1000, &mut rng(3));
        }
    };
    WALLETS.with(|wallets| {
        for AskingWallet { state, audit, backup, deposits } in
            wallets.get_or_init(|| [a_wallet("making"), a_wallet("audited")])
        {
            if let Some(audit) = audit {
                happens(state, audits::interpret(&audit.asked, answer(), NOW + 10_000));
            }
            for deposit in deposits {
                let propose = Errand::Propose(Proposal::Override(1));
                let others = [Errand::Put, Errand::Confirm, Errand::Retrieve, Errand::Release, Errand::Renew];
                for errand in others.into_iter().chain([propose]) {
                    happens(state, exchange::interpret(state, backup, deposit, errand, Some(rest), answer()));
                }
            }
        }
    });
}

/// A wallet of the vectors with its three safes, and an audit of the first that it has begun.
struct AskingWallet {
    state: State,
    audit: Option<Audit>,
    backup: BackupId,
    deposits: Vec<DepositId>,
}

fn a_wallet(stage: &str) -> AskingWallet {
    let mut state = State::default();
    for file in ["row_value.txt", &format!("row_backup_{stage}.txt")] {
        state.put(Row::parse(&vector_file(file).1).unwrap());
    }
    for safe in (1..=3).map(TestSafe::make) {
        state.put(Row::Safe(Box::new(KnownSafe {
            id: safe.id(),
            nickname: safe.id().to_string(),
            name: "Nordfels".into(),
            url: URL.into(),
            identity: safe.keys.identity.verifying_key().to_compressed().to_vec().into(),
            chain: safe.keys.chain,
            limit_body: 1 << 20,
            token: None,
            whereabouts: None,
        })));
    }
    let backup = state.backups.values().next().unwrap();
    let first = &backup.deposits[0];
    let audit = audits::request(&state, &first.safe, &[(backup.id, first.id)], NOW + 1000, &mut rng(3)).ok();
    let (backup, deposits) = (backup.id, backup.deposits.iter().map(|d| d.id).collect());
    AskingWallet { state, audit, backup, deposits }
}

/// Where the fuzzer begins: the decoder's vectors, and what has a form of its own here.
pub fn seeds(decoder: &Decoder) -> Vec<Vec<u8>> {
    let vectors = || decoder.seeds.iter().map(|file| vector_file(file).1);
    match decoder.name {
        "ids" => vec![with_safe(|safe| safe.id().to_string()).into_bytes(), DEPOSIT.to_string().into_bytes()],
        "answer" => {
            let signed = vectors().map(|bytes| [&200_u16.to_be_bytes()[..], &bytes].concat());
            let problem = [&403_u16.to_be_bytes()[..], b"urn:strongroom:problem:claim-expired\n1735689600"].concat();
            signed.chain([problem]).collect()
        }
        "judge" => {
            let part = |(place, bytes): (usize, Vec<u8>)| {
                let [.., high, low] = bytes.len().to_be_bytes();
                [&[place as u8, high, low], bytes.as_slice()].concat()
            };
            let order = [0, 2, 1];
            vec![vectors().enumerate().flat_map(|(at, bytes)| part((order[at], bytes))).collect()]
        }
        "safe" => safe_seeds(),
        _ => vectors().collect(),
    }
}

fn safe_seeds() -> Vec<Vec<u8>> {
    let Started { safe, .. } = started(None);
    let path = |end: &str| format!("/v1/deposits/{DEPOSIT}{end}");
    let request = |method: &str, path: &str, kind: &str, body: &[u8]| {
        [format!("{method}\n{path}\n\n\n\n{kind}\n").as_bytes(), body].concat()
    };
    let head = put_head(&statement_for(&safe));
    let put = |path: &str| {
        let header = head.statement.as_deref().unwrap_or_default();
        [format!("PUT\n{path}\n{header}\n\n\no\n").as_bytes(), BODY].concat()
    };
    // The one that is there, and one that is not.
    let mut seeds = vec![put(&path("")), put(&path("").replace("d1", "d2"))];
    let identity = safe.identity().unwrap();
    let secrets = DepositSecrets::derive(&secret(0xd));
    for (end, verb, shown) in [
        ("/retrieve", Verb::Retrieve, &secrets.retrieve),
        ("/release", Verb::Release, &secrets.release),
        ("/restore", Verb::Restore, &secrets.release),
        ("/demand", Verb::Demand, &secrets.audit),
        ("/renew", Verb::Renew, &secrets.audit),
    ] {
        let claim = Claim::make(shown, identity.entry(1).unwrap(), &DEPOSIT, verb, NOW + 1100, &mut rng(4)).unwrap();
        seeds.push(request("POST", &path(end), "c", &codec::encode(&claim)));
    }
    for (path, file) in [
        (path("/confirm"), "confirm.txt"),
        (path("/register"), "register_prepare.txt"),
        ("/v1/audits".to_owned(), "audit_request.txt"),
    ] {
        seeds.push(request("POST", &path, "c", &vector_file(file).1));
    }
    seeds.push(request("GET", "/.well-known/strongroom", "", b""));
    seeds.push(request("GET", "/v1/usage?after=00", "", b""));
    seeds
}
