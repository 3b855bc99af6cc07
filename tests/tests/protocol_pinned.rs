//! The bytes of everything that is stored or sent, one file each in `vectors/`. A failure here means that data of
//! yesterday, or another implementation's, would not be understood; `STRONGROOM_BLESS=1` writes the files anew where that
//! is meant.
//!
//! Each file is also read back: what stands in it gives the inputs that its header names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use protocol::{
    SUITE,
    audit::{AuditItem, AuditResult, MAX_AUDIT_LEN, Slice, derive_leaves, open_items, parse_answer, seal_items},
    book::{Book, BookDeposit, BookEntry, KeptPiece, KnownSafe},
    bundle::{self, ValueMeta},
    certificate::{self, Offered, Registration, Release, registration_of, sign_receipt, verify_receipt},
    claim::{CLAIM_SPAN, Claim, Confirm, Verb},
    codec::{self, Bytes, SecretBytes},
    cose::Kind,
    crypto::{PassphraseCost, Secret, blake3, derive_secret},
    deposit::{DepositSecrets, Face, LEASE, Statement},
    envelope::{Envelope, Head, PieceHead, Unsealed},
    evidence::{Testimony, Verdict, verify_testimony},
    identity::{API_VERSION, Admission, Descriptor, Entry, Identity, IdentityError, Whereabouts, parse_chain_text},
    ids::{AttemptId, BackupId, ClaimantId, DepositId, DeviceId, EditionId, GuessId, Nonce, Root, SafeId, TokenId},
    layout::{Draft, Layout, Slot},
    owner::{
        book::{Announced, HeadContent, Left},
        enrolment::{Enrolling, Enrolment, Stretched},
        kit::Printed,
        messages::{
            Action, Address, Challenge, CredentialKind, Epoch, Guesses, Head as OwnerHead, Look, Mark, NewCredential,
            Past, Proof, Question, Topic, Who,
        },
        name::NameKey,
    },
    passphrase::Stretch,
    piece_file,
    plan::Plan,
    problem::Problem,
    register::{self, Accepted, Ballot, MAX_REGISTER_LEN, Proposal, Register, open_proposal, seal_proposal},
    relay::{Carried, Delivery, Errand, Parcel},
    seal::{self, Purpose},
    sealed::Sealed,
    token::Token,
};
use safe_worker::{
    account,
    flow::Answer,
    machine::{self, Removal},
    memory::LIMITS,
    owner::record::{Kept, OwnerRecord, Try, Used},
    record::{Attempt, Charge, Record, Seen, State},
    relay::Fetched,
};
use tests::fixture::{
    CLAIMS, NOW, TestSafe, URL, face_text, gather, hex_of, lay, letter, make_bodies, make_bundle, pinned, read_book,
    rng, secret, write_book,
};
use wallet_wasm::{
    changing::Renewing,
    machine::Changes,
    owner::{Making, Owner, Reached, Seat},
    passkey::{NewPasskey, PasskeyChange, PasskeyNote},
    rules::{Condition, Rule},
    state::{
        self, Activity, Backup, Chapter, Claim as ClaimOfBackup, Content, Exhibit, FaceWish, Level, Next, Operation,
        PieceFault, Retirement, Row, Settings, Stage, Then, Value,
    },
    store::Stored,
    vault::Vault,
};

const BODY: &[u8] = b"a body, as if it were sealed";
const DEPOSIT: DepositId = DepositId([0xd1; 16]);
const BACKUP: BackupId = BackupId([0xb1; 16]);
const PASSPHRASE: &str = "correct horse battery staple";
const CONFIRM_BY: u64 = NOW + 700;
const LEASE_END: u64 = NOW + 100 + LEASE;

/// The secret `d` of the one deposit.
fn d() -> Secret {
    secret(0xd)
}

fn safe() -> TestSafe {
    TestSafe::make(1)
}

fn statement() -> Statement {
    safe().statement(DEPOSIT, &d(), BODY)
}

/// The keys of the one safe, and what it signs about.
fn safe_fields() -> Vec<(&'static str, String)> {
    let safe = safe();
    vec![
        ("identity", hex_of(&*safe.keys.identity.expose())),
        ("signing", hex_of(&*safe.keys.signing.expose())),
        ("hpke", hex_of(safe.keys.hpke.seed().expose())),
        ("safe", safe.id().to_string()),
    ]
}

fn deposit_fields() -> Vec<(&'static str, String)> {
    vec![
        ("deposit", DEPOSIT.to_string()),
        ("d", hex_of(d().expose())),
        ("length", BODY.len().to_string()),
        ("root", hex_of(&blake3(BODY))),
    ]
}

fn pin(file: &str, object: &str, inputs: &[(&str, String)], bytes: &[u8]) -> Vec<u8> {
    let mut fields = vec![("object", object)];
    fields.extend(inputs.iter().map(|(name, value)| (*name, value.as_str())));
    pinned(file, &fields, bytes)
}

// ---- what a safe says of itself ------------------------------------------------------------------------------------

#[test]
fn chain_entry() {
    let safe = safe();
    let mut inputs = safe_fields();
    inputs.extend([("serial", "1".into()), ("from", NOW.to_string()), ("to", (NOW + 5 * 365 * 86_400).to_string())]);
    let object = "chain entry: COSE_Sign1 by the identity key; identity, signing: P-384 scalars; hpke: X-Wing seed";
    let stored = pin("chain_entry.txt", object, &inputs, &safe.keys.chain[0]);
    let key = safe.keys.identity.verifying_key().to_compressed();
    let entry = Identity::verify(&key, &[stored.into()]).unwrap().entry(1).unwrap().clone();
    let expected = Entry {
        suite: SUITE,
        safe: safe.id(),
        serial: 1,
        signing: safe.keys.signing.verifying_key().to_compressed().to_vec().into(),
        hpke: safe.keys.hpke.public().into(),
        from: NOW,
        to: NOW + 5 * 365 * 86_400,
        revoked: None,
    };
    assert_eq!(entry, expected);
}

#[test]
fn chain_text() {
    let safe = safe();
    let object = "operator's variable CHAIN, as text: base64url of CBOR [identity, [chain_entry.txt]]";
    let stored = pin("chain_text.txt", object, &safe_fields(), safe.keys.chain_text().as_bytes());
    let (identity, chain) = parse_chain_text(std::str::from_utf8(&stored).unwrap()).unwrap();
    assert_eq!(Identity::verify(&identity, &chain).unwrap(), safe.identity);
}

#[test]
fn descriptor() {
    let safe = safe();
    let descriptor = Descriptor {
        suite: SUITE,
        api: API_VERSION,
        identity: safe.keys.identity.verifying_key().to_compressed().to_vec().into(),
        name: "Nordfels".into(),
        url: URL.into(),
        chain: safe.keys.chain.clone(),
        limits: LIMITS,
        admission: Admission::Open,
        time: NOW,
        whereabouts: None,
        owners: None,
        relays: None,
    };
    let mut inputs = safe_fields();
    inputs.extend([
        ("name", "Nordfels".into()),
        ("url", URL.into()),
        (
            "limits",
            format!("body {}, lease {}, confirm {}, claim {}", LIMITS.body, LIMITS.lease, LIMITS.confirm, LIMITS.claim),
        ),
        ("admission", "open".into()),
        ("time", NOW.to_string()),
    ]);
    let object = "GET /.well-known/strongroom; its chain is chain_entry.txt";
    let stored = pin("descriptor.txt", object, &inputs, &codec::encode(&descriptor));
    assert_eq!(Identity::of_descriptor(&stored, Some(safe.id())).unwrap(), (descriptor.clone(), safe.identity.clone()));
    let whereabouts = Whereabouts { operator: Some("Nordfels".into()), cloud: None, region: Some("EU".into()) };
    let placed = Descriptor { whereabouts: Some(whereabouts), ..descriptor };
    inputs.extend([("operator", "Nordfels".into()), ("region", "EU".into())]);
    let stored = pin("descriptor_placed.txt", object, &inputs, &codec::encode(&placed));
    assert_eq!(Identity::of_descriptor(&stored, Some(safe.id())).unwrap(), (placed.clone(), safe.identity));
    let relaying = Descriptor { relays: Some(vec![SafeId([0xb1; 32])]), ..placed.clone() };
    inputs.push(("relays", hex_of(&[0xb1; 32])));
    let stored = pin("descriptor_relaying.txt", object, &inputs, &codec::encode(&relaying));
    assert_eq!(Identity::of_descriptor(&stored, None).unwrap().0, relaying);
    // A text that is longer than a name may be.
    let long = Whereabouts { cloud: Some("c".repeat(65)), ..Whereabouts::default() };
    let long = codec::encode(&Descriptor { whereabouts: Some(long), ..placed });
    assert!(matches!(Identity::of_descriptor(&long, None), Err(IdentityError::Malformed(_))));
}

// ---- what goes with a deposit --------------------------------------------------------------------------------------

#[test]
fn statements() {
    let mut inputs = vec![("safe", safe().id().to_string())];
    inputs.extend(deposit_fields());
    inputs.push(("lease", LEASE.to_string()));
    let text = face_text();
    inputs.push(("face", format!("{}, {}, {}, {}", text.title, text.kind, text.date, text.hint.clone().unwrap())));
    let sealed = statement();
    let object = "statement with a sealed face";
    let stored = pin("statement.txt", object, &inputs, &codec::encode(&sealed));
    let parsed = Statement::parse(&stored, &safe().id(), &DEPOSIT).unwrap();
    assert_eq!(parsed.face.read(Some(&d()), &DEPOSIT).unwrap(), text);
    assert_eq!(parsed, sealed);
    let clear = Statement { face: Face::Clear(text), ..sealed };
    let object = "statement with a face in clear";
    let stored = pin("statement_clear.txt", object, &inputs, &codec::encode(&clear));
    assert_eq!(Statement::parse(&stored, &safe().id(), &DEPOSIT).unwrap(), clear);
}

fn registration(confirm_by: Option<u64>) -> Registration {
    registration_of(&statement(), URL, 1, NOW + 100, LEASE_END, confirm_by)
}

fn signed_fields() -> Vec<(&'static str, String)> {
    let mut inputs = safe_fields();
    inputs.extend(deposit_fields());
    inputs.extend([("url", URL.into()), ("issued", (NOW + 100).to_string()), ("lease_end", LEASE_END.to_string())]);
    inputs
}

#[test]
fn offer() {
    let mut inputs = signed_fields();
    inputs.push(("confirm_by", CONFIRM_BY.to_string()));
    let object = "offer for statement.txt: COSE_Sign1 by the key of chain_entry.txt";
    let stored = pin("offer.txt", object, &inputs, &safe().sign(&statement(), Kind::Offer));
    let offered = Offered::verify(&stored, &safe().identity, &statement()).unwrap();
    assert_eq!(offered.registration(), &registration(Some(CONFIRM_BY)));
    assert_eq!(offered.digest(), &blake3(&stored));
}

#[test]
fn confirm() {
    let offer = Root(blake3(&safe().sign(&statement(), Kind::Offer)));
    let confirm = Confirm { suite: SUITE, offer };
    let object = "body of POST /v1/deposits/{id}/confirm for offer.txt";
    let stored = pin("confirm.txt", object, &[("offer", offer.to_string())], &codec::encode(&confirm));
    assert_eq!(codec::decode::<Confirm>(&stored, 64).unwrap(), confirm);
}

#[test]
fn certificate() {
    let object = "certificate for statement.txt: COSE_Sign1 by the key of chain_entry.txt";
    let stored = pin("certificate.txt", object, &signed_fields(), &safe().sign(&statement(), Kind::Certificate));
    let held = certificate::verify(&stored, &safe().identity, Some(&statement())).unwrap();
    assert_eq!(held.registration(), &registration(None));
}

fn release() -> Release {
    let (statement, release) = (statement(), DepositSecrets::derive(&d()).release);
    let (safe, root) = (statement.safe, statement.root);
    Release { suite: SUITE, safe, entry: 1, deposit: DEPOSIT, root, issued: NOW + 900, release }
}

#[test]
fn receipt() {
    let safe = safe();
    let mut inputs = safe_fields();
    inputs.extend(deposit_fields());
    inputs.extend([("release", hex_of(release().release.expose())), ("issued", (NOW + 900).to_string())]);
    let object = "receipt that ends certificate.txt: COSE_Sign1 by the key of chain_entry.txt";
    let stored = pin("receipt.txt", object, &inputs, &sign_receipt(&safe.keys.signing, &release()));
    let read = verify_receipt(&stored, &safe.identity, &registration(None)).unwrap();
    assert_eq!(codec::encode(&read), codec::encode(&release()));
}

#[test]
fn claims() {
    let safe = safe();
    let secrets = DepositSecrets::derive(&d());
    let expiry = NOW + CLAIM_SPAN;
    for (file, verb, presented) in [
        ("claim_retrieve.txt", Verb::Retrieve, &secrets.retrieve),
        ("claim_release.txt", Verb::Release, &secrets.release),
    ] {
        let claim =
            Claim::make(presented, safe.identity.entry(1).unwrap(), &DEPOSIT, verb, expiry, &mut rng(1)).unwrap();
        let mut inputs = safe_fields();
        inputs.extend([
            ("deposit", DEPOSIT.to_string()),
            ("verb", format!("{verb:?}").to_lowercase()),
            ("secret", hex_of(presented.expose())),
            ("nonce", claim.nonce.to_string()),
            ("expiry", expiry.to_string()),
        ]);
        let stored = pin(file, "claim, HPKE-sealed to the key of chain_entry.txt", &inputs, &codec::encode(&claim));
        let parsed = Claim::parse(&stored).unwrap();
        assert_eq!((parsed.verb, parsed.entry, parsed.expiry), (verb, 1, expiry));
        assert!(parsed.open(&safe.keys.hpke, &safe.id(), &DEPOSIT).unwrap().secret.same_as(presented));
    }
}

/// Every refusal in one file: the types are what programs go by.
#[test]
fn problems() {
    let bodies = protocol::problem::ALL.map(|problem| Answer::problem(problem, NOW).body);
    let stored = pin(
        "problems.txt",
        "all refusals as JSON (RFC 9457), one a line",
        &[("time", NOW.to_string())],
        &bodies.join(&b'\n'),
    );
    for (line, problem) in stored.split(|b| *b == b'\n').zip(protocol::problem::ALL) {
        let json: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(Problem::from_type_uri(json["type"].as_str().unwrap()), Some(problem));
        assert_eq!((json["status"].as_u64(), json["time"].as_u64()), (Some(problem.status().into()), Some(NOW)));
    }
}

// ---- what lies in a safe -------------------------------------------------------------------------------------------

#[test]
fn sealed() {
    let purpose = Purpose { purpose: "content", object: &BACKUP.0, version: 3 };
    for (file, content) in [("seal.txt", &b"sealed content"[..]), ("seal_empty.txt", b"")] {
        let inputs = [
            ("key", hex_of(secret(1).expose())),
            ("salt", hex_of(&[9; 32])),
            ("purpose", "content".into()),
            ("object_id", BACKUP.to_string()),
            ("version", "3".into()),
            ("content", hex_of(content)),
        ];
        let sealed = seal::seal(&secret(1), &[9; 32], &purpose, content).unwrap();
        let stored = pin(file, "salt, commitment and one chunk", &inputs, &sealed);
        assert_eq!(seal::open(&secret(1), &purpose, &stored).unwrap()[..], *content);
    }
}

fn head() -> Head {
    let content = PieceHead { path: vec![0, 2].into(), length: 5, parents: vec![Root([0xc1; 32])] };
    let key = PieceHead { path: vec![1, 2].into(), length: 3, parents: vec![Root([0xc2; 32]), Root([0xc3; 32])] };
    Head::new(BACKUP, Root([0xa1; 32]), 0, 1000, 3 * 64 * 1024, vec![content, key])
}

#[test]
fn envelope() {
    let inputs = [
        ("backup", BACKUP.to_string()),
        ("plan", hex_of(&[0xa1; 32])),
        ("segment", "0 of a bundle of 1000 bytes, segments of 196608".into()),
        ("pieces", "path 0002, 5 bytes, parents c1…; path 0102, 3 bytes, parents c2…, c3…".into()),
    ];
    let stored = pin("envelope_head.txt", "head of an envelope", &inputs, &codec::encode(&head()));
    assert_eq!(codec::decode::<Head>(&stored, 1024).unwrap(), head());

    let unsealed = Unsealed::new(&d(), &DEPOSIT, &[9; 32], &head(), &[b"shard", b"key"]).unwrap();
    let inputs = [
        ("deposit", DEPOSIT.to_string()),
        ("d", hex_of(d().expose())),
        ("salt", hex_of(&[9; 32])),
        ("pieces", format!("{}, {}", hex_of(b"shard"), hex_of(b"key"))),
    ];
    let object = "body: envelope with the head of envelope_head.txt";
    let stored = pin("envelope.txt", object, &inputs, &unsealed.seal().unwrap());
    let opened = Envelope::open(&d(), &DEPOSIT, &stored).unwrap();
    assert_eq!(opened.head, head());
    assert_eq!(opened.piece(&[0, 2]).unwrap().1, b"shard");
    assert_eq!(opened.piece(&[1, 2]).unwrap().1, b"key");
}

/// 2 of 3 over safes 1, 2 and 3.
fn plan() -> (Vec<TestSafe>, Plan<SafeId>) {
    let safes: Vec<TestSafe> = (1..=3).map(TestSafe::make).collect();
    let ids: Vec<SafeId> = safes.iter().map(TestSafe::id).collect();
    let plan = Plan::spread(2, &ids).unwrap();
    (safes, plan)
}

#[test]
fn plans() {
    let (_, plan) = plan();
    let stored = pin("plan.txt", "plan as data", &[("plan", plan.to_string())], &codec::encode(&plan));
    assert_eq!(codec::decode::<Plan<SafeId>>(&stored, 1024).unwrap(), plan);
    // The tree that a wallet does not make but reads.
    let at = |i: u8| Plan::at(SafeId([i; 32]));
    let sealed = |content, key| Plan::seal(content, key).unwrap();
    let nested = sealed(Plan::disperse(1, vec![at(1), sealed(at(2), vec![at(3)])]).unwrap(), vec![at(4)]);
    let stored = pin("plan_nested.txt", "plan as data", &[("plan", nested.to_string())], &codec::encode(&nested));
    assert_eq!(codec::decode::<Plan<SafeId>>(&stored, 1024).unwrap(), nested);
    // Every form once.
    let id = |i: u8| SafeId([i; 32]).to_string();
    let text = format!(
        "seal(copies(at({}), disperse(1, book, file)), derive(memory, at({}, owner), split(2, at({}), file)))",
        id(1),
        id(2),
        id(3)
    );
    let all = text.parse::<Plan<String>>().unwrap().bind(&|name| Ok(name.parse::<SafeId>().unwrap())).unwrap();
    let stored = pin("plan_every_form.txt", "plan as data", &[("plan", all.to_string())], &codec::encode(&all));
    assert_eq!(codec::decode::<Plan<SafeId>>(&stored, 1024).unwrap(), all);
    assert_eq!(all.to_string(), text);
}

const CONTENTS: [&[u8]; 2] = [b"legal winner thank year wave sausage worth useful", b"second value"];

#[test]
fn bundle_head() {
    let (values, bytes) = make_bundle(&CONTENTS);
    let inputs = [
        ("values", "ids 00… and 01…; titles value 0 and value 1; kind file; the second with file name 1.txt".into()),
        ("created", format!("{NOW}; media type text/plain; {} and {} bytes", CONTENTS[0].len(), CONTENTS[1].len())),
    ];
    let stored = pin("bundle_head.txt", "what stands before the contents of a bundle", &inputs, &bundle::head(&values));
    assert_eq!(bundle::parse_head(&stored).unwrap(), Some((values.clone(), stored.len())));
    assert_eq!(bundle::parse(&bytes).unwrap(), values.into_iter().zip(CONTENTS).collect::<Vec<_>>());
}

fn op_seed() -> Secret {
    secret(0x0b5eed)
}

/// The backup of the two values under the plan, with a deposit for every slot.
fn layout() -> (Layout, Vec<(Slot, DepositId, Secret)>) {
    let (_, bytes) = make_bundle(&CONTENTS);
    let layout = Layout::new(BACKUP, &plan().1, bytes.len() as u64, LIMITS.body).unwrap();
    let deposits = layout.slots().into_iter().zip(1..).map(|(slot, i)| (slot, DepositId([i; 16]), secret(i.into())));
    let deposits = deposits.collect();
    (layout, deposits)
}

fn backup_fields() -> Vec<(&'static str, String)> {
    vec![
        ("backup", BACKUP.to_string()),
        ("plan", plan().1.to_string()),
        ("bundle", hex_of(&make_bundle(&CONTENTS).1)),
        ("op_seed", hex_of(op_seed().expose())),
    ]
}

#[test]
fn bodies() {
    let (layout, deposits) = layout();
    let drafts: Vec<Draft<'_>> =
        deposits.iter().map(|(slot, deposit, d)| Draft { slot: *slot, deposit: *deposit, d }).collect();
    let (_, bundle) = make_bundle(&CONTENTS);
    let pieces = lay(&layout, &op_seed(), None, &bundle, 0).unwrap();
    let made = make_bodies(&layout, &op_seed(), &pieces, &drafts);
    let mut stored = Vec::new();
    for ((file, body), (slot, deposit, d)) in
        ["body_1.txt", "body_2.txt", "body_3.txt"].iter().zip(&made).zip(&deposits)
    {
        let mut inputs = backup_fields();
        inputs.extend([("safe", slot.safe.to_string()), ("deposit", deposit.to_string()), ("d", hex_of(d.expose()))]);
        stored.push(pin(file, "what one of three safes gets", &inputs, body));
    }
    // Any two of the three files give the bundle back.
    for pair in [[0, 1], [0, 2], [1, 2]] {
        let open = |i: usize| Envelope::open(&deposits[i].2, &deposits[i].1, &stored[i]).unwrap();
        let envelopes = pair.map(|i: usize| (deposits[i].0, open(i)));
        assert_eq!(gather(&layout, None, &[], &envelopes).unwrap(), bundle);
    }
}

/// One line of the table in spec/plan.md §5 each, with all pieces of one segment.
#[test]
fn plans_of_the_claims() {
    let spec = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/plan.md")).unwrap();
    let (_, bundle) = make_bundle(&CONTENTS);
    let words = Secret::from_bytes([0x77; 32]);
    for (file, text) in CLAIMS {
        assert!(spec.contains(&format!("`{text}`")), "{text} is missing in spec/plan.md");
        let plan: Plan<SafeId> = text.parse::<Plan<String>>().unwrap().bind(&letter).unwrap();
        let layout = Layout::new(BACKUP, &plan, bundle.len() as u64, LIMITS.body).unwrap();
        let pieces: Vec<KeptPiece> =
            lay(&layout, &op_seed(), Some(&words), &bundle, 0).unwrap().into_iter().map(KeptPiece::from).collect();
        let inputs = [
            ("plan", text.to_owned()),
            ("safes", "A is 61…, B is 62…, and so on".to_owned()),
            ("backup", BACKUP.to_string()),
            ("bundle", hex_of(&bundle)),
            ("words", format!("key of the words {}", hex_of(words.expose()))),
            ("plan_data", hex_of(&codec::encode(&plan))),
        ];
        let stored = pin(file, "[* kept-piece]: all pieces", &inputs, &codec::encode(&pieces));
        let read: Vec<KeptPiece> = codec::decode(&stored, 1 << 16).unwrap();
        if file == "claim_7_kept.txt" {
            let kept = read.iter().filter(|piece| *piece.path == [2]).cloned().collect();
            let inputs = [("pieces", "that of path 02 in claim_7_kept.txt".to_owned())];
            let file = piece_file::write(&layout, kept).unwrap();
            let stored = pin("piece_file.txt", "file with pieces", &inputs, &file);
            assert_eq!(piece_file::read(&layout, &stored).unwrap()[0].path.0, [2]);
        }
        let read: Vec<_> = read.into_iter().map(Into::into).collect();
        assert_eq!(gather(&layout, Some(&words), &read, &[]).unwrap(), bundle);
    }
}

/// What an auditor sends, and what comes back.
#[test]
fn audit() {
    let safe = safe();
    let entry = safe.identity.entry(1).unwrap();
    let items = [
        AuditItem { deposit: DEPOSIT, secret: DepositSecrets::derive(&d()).audit, groups: vec![0] },
        AuditItem { deposit: DepositId([0xd2; 16]), secret: secret(2), groups: vec![2, 5] },
    ];
    let made = seal_items(&items, entry, NOW + CLAIM_SPAN, &mut rng(11)).unwrap();
    let inputs = [("safe", "1".to_owned()), ("items", "d1… group 0; d2… secret 2 groups 2, 5".into())];
    let stored = pin("audit_request.txt", "items sealed to a safe", &inputs, &codec::encode(&made));
    let request = Sealed::parse(&stored, MAX_AUDIT_LEN).unwrap();
    let opened = open_items(&request, &safe.keys.hpke, &safe.id()).unwrap();
    assert_eq!(codec::encode(&opened), codec::encode(&items.to_vec()));

    let long: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
    let root = Root(blake3(&long));
    let leaves = derive_leaves(&long);
    let slices = [2, 6].map(|group| Slice::cut(&long, &leaves, group));
    let results = vec![
        AuditResult::Shown(vec![Slice::cut(BODY, &[], 0)]),
        AuditResult::Refused("unavailable".into()),
        AuditResult::Shown(slices.to_vec()),
    ];
    let inputs = [("results", "a short body; unavailable; groups 2 and 6 of 100000 bytes counted up".to_owned())];
    let stored = pin("audit_answer.txt", "answer to an audit", &inputs, &codec::encode(&results));
    let read = parse_answer(&stored, 3).unwrap();
    assert_eq!(read, results);
    for (result, at) in
        [(&read[0], (Root(blake3(BODY)), BODY.len(), [0].as_slice())), (&read[2], (root, 100_000, &[2, 6]))]
    {
        let AuditResult::Shown(slices) = result else { panic!("shown") };
        for (slice, group) in slices.iter().zip(at.2) {
            slice.verify(&at.0, at.1 as u64, *group).unwrap();
        }
    }
}

/// What a safe states of a deposit.
#[test]
fn testimonies() {
    let safe = safe();
    let release = DepositSecrets::derive(&d()).release;
    for (name, verdict) in [
        ("testimony_kept.txt", Verdict::Kept(28, Root(blake3(BODY)))),
        ("testimony_released.txt", Verdict::Released(release)),
        ("testimony_expired.txt", Verdict::Expired),
        ("testimony_not_owner.txt", Verdict::NotOwner(statement().hashes.retrieve)),
        ("testimony_claimed.txt", Verdict::Claimed(28, Root(blake3(BODY)), ClaimantId([8; 32]))),
        ("testimony_unknown.txt", Verdict::Unknown),
        ("testimony_lost.txt", Verdict::Lost),
    ] {
        let made = Testimony::new(safe.id(), 1, DEPOSIT, Root([2; 32]), NOW + 300, verdict).sign(&safe.keys.signing);
        let inputs = [("safe", "1".to_owned()), ("demand", "02…".into())];
        let stored = pin(name, "signed answer to a demand", &inputs, &made);
        let read = verify_testimony(&stored, &safe.identity).unwrap();
        assert_eq!((read.deposit, read.issued), (DEPOSIT, NOW + 300));
    }
}

/// What admits a deposit.
#[test]
fn token() {
    let safe = safe();
    let token = Token::new(safe.id(), TokenId([6; 16]), 100_000_000, 1000, NOW + 9000);
    let inputs = [("key", "secret 6".to_owned()), ("token", "06…, 100 MB, 1000 deposits, 9000 seconds".into())];
    let stored = pin("token.txt", "admission token, text", &inputs, token.mint(&secret(6)).as_bytes());
    let text = String::from_utf8(stored).unwrap();
    assert_eq!(Token::parse(&text, &secret(6), &safe.id(), NOW), Ok(token));
}

/// What a claimant of a unique value sends, and what comes back.
#[test]
fn proposals() {
    let safe = safe();
    let ballot = Ballot { counter: 7, claimant: ClaimantId([8; 32]) };
    let retrieve = DepositSecrets::derive(&d()).retrieve;
    for (name, proposal) in [
        ("register_prepare.txt", Proposal::Prepare(1, ballot)),
        ("register_accept.txt", Proposal::Accept(1, ballot, ClaimantId([9; 32]))),
        ("register_override.txt", Proposal::Override(2)),
    ] {
        let entry = safe.identity.entry(1).unwrap();
        let made = seal_proposal(&retrieve, &proposal, None, entry, &DEPOSIT, NOW + CLAIM_SPAN, &mut rng(12)).unwrap();
        let inputs = [("safe", "1".to_owned()), ("secret", "retrieve".into())];
        let stored = pin(name, "proposal sealed to a safe", &inputs, &codec::encode(&made));
        let (secret, read, _) =
            open_proposal(&Sealed::parse(&stored, MAX_REGISTER_LEN).unwrap(), &safe.keys.hpke, &safe.id(), &DEPOSIT)
                .unwrap();
        assert!(secret.same_as(&retrieve) && read == proposal);
    }
    let answer = register::Answer { taken: true, register: register() };
    let accept = Proposal::Accept(1, ballot, ClaimantId([9; 32]));
    let inputs =
        [("register", "epoch 1, promised and accepted 7 08…".to_owned()), ("to", "register_accept, nonce 05…".into())];
    let nonce = Nonce([5; 16]);
    let vouched = answer.vouch(&retrieve, &nonce, &accept);
    let stored = pin("register_answer.txt", "answer of a register", &inputs, &codec::encode(&vouched));
    let read: register::Vouched = codec::decode(&stored, register::MAX_REGISTER_ANSWER_LEN).unwrap();
    assert_eq!(read.verify(&retrieve, &nonce, &accept), Some(answer));
    // Not for another proposal or request, not under another secret, and not another answer.
    assert_eq!(read.verify(&retrieve, &nonce, &Proposal::Accept(1, ballot, ClaimantId([8; 32]))), None);
    assert_eq!(read.verify(&d(), &nonce, &accept), None);
    assert_eq!(read.verify(&retrieve, &Nonce([6; 16]), &accept), None);
    let refused = register::Answer { taken: false, ..answer }.vouch(&retrieve, &nonce, &accept);
    assert_ne!(codec::encode(&refused), stored);
}

/// What owners and safes say to each other, and what a safe remembers of one.
#[test]
fn owners() {
    let (safe, name) = (safe(), NameKey::new(secret(0x0a)));
    let ids = [safe.keys.id(), SafeId([0xa1; 32]), SafeId([0xa2; 32])];
    let enrolling = Enrolling::start(&secret(0xe), &ids, 2, PASSPHRASE, PassphraseCost::LEAST).unwrap();
    let (stretch, output) = enrolling.to_stretch();
    let stretched = Stretched::new(stretch.derive_key_of(output).unwrap());
    let made = enrolling.finish(&stretched, &name, 3).unwrap();
    let inputs = [("safes", "safe, a1…, a2…; 2 of 3; generation 3".to_owned()), ("passphrase", PASSPHRASE.to_owned())];
    let stored = pin("owner_enrolment.txt", "enrolment", &inputs, &made.statement);
    assert_eq!(Enrolment::parse(&stored).unwrap(), made.enrolment);
    let (staged, account) = (made.staged[0].1.clone(), name.account(&ids[0]));
    let look = Look {
        suite: SUITE,
        challenge: [6; 32].into(),
        time: NOW,
        left: Guesses { now: 9, ever: 39, wait: Some(0) },
        slots: [staged.slot.clone(), vec![7; 2160].into()],
    };
    let stored =
        pin("owner_look.txt", "look", &[("slots", "of owner_enrolment, and 07…".into())], &codec::encode(&look));
    assert_eq!(Look::parse(&stored).unwrap(), look);
    // A question: sealed with randomness from a seed, opened by the safe.
    let who = Who::Passphrase(staged.id, GuessId([5; 16]), [8; 32].into());
    let proof = Proof { who, key: &staged.key, digest: &staged.digest };
    let address = Address { safe: &ids[0], account: &account, topic: Topic::Channel };
    let mark = Mark {
        epoch: Epoch { counter: 2, holder: DeviceId([4; 16]) },
        sequence: 5,
        before: [3; 32].into(),
        digest: blake3(b"head").into(),
    };
    let new = NewCredential {
        kind: CredentialKind::Device,
        key: secret(2),
        note: vec![1, 2].into(),
        wrap: Some(staged.wrap.clone()),
        locator: Some([7; 16].into()),
    };
    let actions = vec![
        Action::Show,
        Action::ReadHead,
        Action::Stage(Box::new(staged.clone())),
        Action::Commit(staged.id, Some(mark.epoch)),
        Action::Commit(staged.id, None),
        Action::Drop(staged.id),
        Action::Refund(vec![GuessId([5; 16])]),
        Action::Clear,
        Action::Add(new.clone()),
        Action::Revoke(2),
        Action::Promise(mark.epoch),
        Action::WriteHead(OwnerHead { mark, sealed: b"head".to_vec().into() }),
        Action::Ticket(None),
        Action::Ticket(Some(mark.epoch)),
        Action::ListPast,
        Action::ReadPast(mark),
        Action::OwnerTicket,
    ];
    let plain = pin("owner_actions.txt", "every action", &[], &codec::encode(&actions));
    codec::decode::<Vec<Action>>(&plain, plain.len()).unwrap();
    let challenge = Challenge::from([6; 32]);
    let (question, _) =
        Question::make(&address, &plain, safe.identity.entry(1).unwrap(), &challenge, Some(proof), &mut rng(9))
            .unwrap();
    let inputs = [("content", "owner_actions".to_owned()), ("key", hex_of(staged.key.expose()))];
    let stored = pin("owner_question.txt", "question in a channel", &inputs, &codec::encode(&question));
    let read = Question::parse(&stored).unwrap();
    assert_eq!(read.open(&address, &safe.keys.hpke, Some(proof)).unwrap().question[..], plain);
    let record = OwnerRecord {
        suite: SUITE,
        charge: Some(TokenId([6; 16])),
        staged: None,
        current: Some(staged.clone()),
        previous: Some(staged),
        tries: vec![Try {
            id: GuessId([5; 16]),
            enrolment: made.enrolment.id,
            blinded: [8; 32].into(),
            at: NOW,
            credential: Some(2),
        }],
        credentials: vec![Kept { number: 2, added: NOW, credential: new }],
        next: 2,
        used: vec![Used { challenge, expiry: NOW + 300, owner: None }],
        promised: mark.epoch,
        book: Some(mark),
        fetched: None,
        written: None,
        past: Vec::new(),
        unused: None,
        reserved: Vec::new(),
    };
    let stored = pin("owner_record.txt", "what a safe remembers of an owner", &[], &record.encode());
    assert_eq!(OwnerRecord::parse(&stored).unwrap().encode(), stored);
    let record = OwnerRecord { fetched: Some(Fetched { day: 20_800, errands: 3, bytes: 70_000 }), ..record };
    let past = Past { mark, from: NOW - 90_000, until: NOW };
    let record = OwnerRecord { written: Some(NOW), past: vec![past], unused: Some(NOW), ..record };
    let stored =
        pin("owner_record_fetched.txt", "the same, after errands, and with a head of before", &[], &record.encode());
    assert_eq!(OwnerRecord::parse(&stored).unwrap().encode(), stored);
}

/// What the safe remembers, in each of its states.
#[test]
fn records() {
    let safe = safe();
    let attempt = |i: u8| AttemptId([i; 16]);
    let writing = Record { attempts: vec![Attempt { id: attempt(1), until: NOW + 3600 }], ..Record::new(statement()) };
    let offered = Record {
        state: State::Offered,
        attempts: Vec::new(),
        committed: Some(attempt(1)),
        committed_at: Some(NOW + 100),
        charge: Some(Charge { token: TokenId([6; 16]), opened: attempt(1), until: NOW + 9000 }),
        offer: Some(safe.sign(&statement(), Kind::Offer).into()),
        confirm_by: Some(CONFIRM_BY),
        lease_end: Some(LEASE_END),
        ..writing.clone()
    };
    let held = Record {
        state: State::Held,
        confirm_by: None,
        certificate: Some(safe.sign(&statement(), Kind::Certificate).into()),
        signed_by: Some(1),
        register: Some(register()),
        seen: vec![Seen { nonce: Nonce([5; 16]), expiry: NOW + 120 }],
        ..offered.clone()
    };
    let deleting = Record {
        state: State::Deleting,
        committed: None,
        erase: vec![attempt(1), attempt(2)],
        release: Some(release().release),
        ..held.clone()
    };
    let released = Record {
        state: State::Released,
        erase: Vec::new(),
        receipt: Some(sign_receipt(&safe.keys.signing, &release()).into()),
        ..deleting.clone()
    };
    let leaving = Record {
        state: State::Leaving,
        leave_by: Some(NOW + 604_800),
        release: Some(release().release),
        receipt: released.receipt.clone(),
        ..held.clone()
    };
    let lapsing = Record {
        state: State::Lapsing,
        committed: None,
        erase: vec![attempt(1)],
        wait_until: Some(NOW + 86_400),
        ..offered.clone()
    };
    for (file, what, record) in [
        ("record_writing.txt", "attempt 01… until an hour later", writing),
        ("record_offered.txt", "attempt 01… committed, offer.txt, charged to token 06…", offered),
        ("record_held.txt", "certificate.txt, claim 05… seen until two minutes later, register accepted 08…", held),
        ("record_deleting.txt", "attempts 01… and 02… to be erased, release secret", deleting),
        ("record_released.txt", "receipt.txt", released),
        ("record_leaving.txt", "receipt.txt, the body kept for a week", leaving),
        ("record_lapsing.txt", "attempt 01… to be erased, not before tomorrow", lapsing),
    ] {
        let inputs = [("statement", "statement.txt".to_owned()), ("state", what.to_owned())];
        let stored = pin(file, "what a safe remembers of a deposit", &inputs, &record.encode());
        assert_eq!(format!("{:?}", Record::parse(&stored).unwrap()), format!("{record:?}"));
        let read = Record::parse(&stored).unwrap();
        assert_eq!(read.release.map(|s| *s.expose()), record.release.map(|s| *s.expose()));
    }
}

fn register() -> Register {
    let ballot = Ballot { counter: 7, claimant: ClaimantId([8; 32]) };
    let accepted = Accepted { ballot, value: ClaimantId([8; 32]) };
    Register { epoch: 1, promised: Some(ballot), accepted: Some(accepted) }
}

/// Between Worker and object; both are of one deployment, but a request may be under way while another one is made.
#[test]
fn ledger_messages() {
    let attempt = AttemptId([1; 16]);
    let (safe, root) = (safe(), Root([2; 32]));
    let token = Token::new(safe.id(), TokenId([6; 16]), 1000, 10, NOW + 9000);
    let charge = Charge { token: token.id, opened: attempt, until: token.until };
    let row = account::Row { deposit: DEPOSIT, opened: attempt };
    let removal = Removal { writes: vec![attempt], charge: Some(charge) };
    let requests = vec![
        machine::Request::Begin(Box::new(statement()), Some(token)),
        machine::Request::Commit { attempt, length: 28, root: Root(blake3(BODY)) },
        machine::Request::Confirm(root),
        machine::Request::Removed(removal.clone()),
        machine::Request::Alarm,
        machine::Request::Abandon(attempt),
        machine::Request::Audit { secret: Secret::from_bytes([3; 32]), nonce: Nonce([4; 16]), expiry: NOW },
        machine::Request::Testify { demand: root, attempt, found: Some((28, root)) },
        machine::Request::Expire,
        machine::Request::Postpone,
    ];
    let inputs = [(
        "requests",
        "begin statement.txt under token 06…; commit 01… 28; confirm 02…; removed 01… and its row; alarm; abandon 01…; audit 03… 04…; \
         testify 02… 01… 28 02…; expire; postpone"
            .into(),
    )];
    let stored = pin("ledger_requests.txt", "array of requests", &inputs, &codec::encode(&requests));
    let read: Vec<machine::Request> = codec::decode(&stored, 1 << 14).unwrap();
    assert_eq!(format!("{read:?}"), format!("{requests:?}"));
    let replies = vec![
        machine::Reply::Write(attempt, Some(row)),
        machine::Reply::Offer(vec![1].into()),
        machine::Reply::Certificate(vec![2].into()),
        machine::Reply::Read(attempt, 28),
        machine::Reply::Remove(removal),
        machine::Reply::Receipt(vec![3].into()),
        machine::Reply::Done,
        machine::Reply::Refused(Problem::Gone),
        machine::Reply::Measure(attempt, 28, root),
        machine::Reply::Testimony(vec![4].into()),
        machine::Reply::Overdue,
        machine::Reply::Register(register::Answer { taken: true, register: register() }.vouch(
            &secret(1),
            &Nonce([5; 16]),
            &Proposal::Override(1),
        )),
    ];
    let inputs = [(
        "replies",
        "write 01… and its row, offer 01, certificate 02, read 01… 28, remove 01… and its row, receipt 03, done, refused gone, \
         measure 01… 28 02…, testimony 04, overdue, register taken"
            .into(),
    )];
    let stored = pin("ledger_replies.txt", "array of replies", &inputs, &codec::encode(&replies));
    assert_eq!(codec::decode::<Vec<machine::Reply>>(&stored, 1 << 14).unwrap(), replies);
    let accounts = vec![
        account::Request::Reserve { row, bytes: 28, token },
        account::Request::Free(row),
        account::Request::Noted,
        account::Request::Use,
    ];
    let stored = pin("account_requests.txt", "array of requests", &[], &codec::encode(&accounts));
    assert_eq!(codec::decode::<Vec<account::Request>>(&stored, 1 << 14).unwrap(), accounts);
}

// ---- what lies in a wallet -----------------------------------------------------------------------------------------

fn known(safe: &TestSafe) -> KnownSafe {
    KnownSafe {
        id: safe.id(),
        nickname: "mine".into(),
        name: "Nordfels".into(),
        url: URL.into(),
        identity: safe.keys.identity.verifying_key().to_compressed().to_vec().into(),
        chain: safe.keys.chain.clone(),
        limit_body: LIMITS.body,
        token: None,
        whereabouts: None,
    }
}

/// The backup of `bodies`, certified.
fn book() -> Book {
    let (safes, plan) = plan();
    let (layout, deposits) = layout();
    let deposits = deposits.into_iter().zip(&safes).map(|((slot, id, d), safe)| {
        let certificate = safe.sign(&safe.statement(id, &d, BODY), Kind::Certificate).into();
        BookDeposit { id, safe: slot.safe, segment: slot.segment, d, certificate, owner: None }
    });
    let (values, bytes) = make_bundle(&CONTENTS);
    let entry = BookEntry {
        backup: BACKUP,
        values,
        plan,
        bundle: bytes.len() as u64,
        segment_len: layout.segment_len(),
        finished: NOW + 200,
        deposits: deposits.collect(),
        pieces: Vec::new(),
    };
    Book { suite: SUITE, written: NOW + 300, safes: safes.iter().map(known).collect(), entries: vec![entry] }
}

#[test]
fn book_file() {
    let file = write_book(&book(), PASSPHRASE, &mut rng(2));
    let mut inputs = backup_fields();
    inputs.extend([
        ("passphrase", PASSPHRASE.into()),
        ("cost", "19456 KiB, 2 passes, 1 lane".into()),
        ("book", hex_of(&codec::encode(&book()))),
    ]);
    let stored = pin("book_file.txt", "certificate file over safes 1, 2 and 3", &inputs, &file);
    assert_eq!(codec::encode(&read_book(&stored, PASSPHRASE).unwrap()), codec::encode(&book()));
}

/// An owner with everything that can be in one.
fn owner_row() -> Owner {
    let ids = [safe().keys.id(), SafeId([0xa1; 32])];
    let enrolling = Enrolling::start(&secret(0xe), &ids, 2, PASSPHRASE, PassphraseCost::LEAST).unwrap();
    let (stretch, output) = enrolling.to_stretch();
    let stretched = stretch.derive_key_of(output).unwrap();
    let name = NameKey::new(secret(0x0a));
    let made = enrolling.finish(&Stretched::new(stretched.clone()), &name, 1).unwrap();
    let epoch = Epoch { counter: 1, holder: DeviceId([4; 16]) };
    let announced = Some(Announced { generation: 2, id: made.enrolment.id });
    let held = vec![BackupId([9; 16])];
    let content = HeadContent { left_out: 2, announced, held, ..HeadContent::new(book()) };
    let head = content.seal(&made.root, epoch, 1, [0; 32], &mut rng(5)).unwrap();
    let seat = |safe: SafeId, reached| Seat { number: Some(1), reached, promised: true, written: 1, ..Seat::new(safe) };
    Owner {
        name: "alice-7kq4m2".into(),
        name_key: name.expose().clone(),
        credential: secret(0xc),
        threshold: 2,
        seats: vec![seat(ids[0], Reached::Proven), Seat::new(ids[1])],
        making: Some(Making::of(&made, stretched)),
        root: Some(made.root.expose().clone()),
        epoch,
        head: Some(head),
        content: Some([6; 32].into()),
        superseded: false,
        left_out: 2,
        base: None,
        loose: 4000,
        gone: vec![BackupId([7; 16])],
        label: "Chromium on Linux".into(),
        kit: Some(Printed {
            code: "qpzry9".into(),
            generation: 1,
            made: NOW,
            lease_end: Some(NOW + 1),
            safes: [9; 32].into(),
        }),
        generation: 1,
        changing: None,
        leaving: Vec::new(),
        former: vec![Seat { generation: Some(2), ..seat(ids[1], Reached::Committed) }],
        changed: Some(1_800_000_000),
        renewing: Some(Renewing { left: vec![BackupId([8; 16])] }),
        announced: Some(Announced { generation: 2, id: made.enrolment.id }),
        held: vec![BackupId([9; 16])],
        left: vec![Left { number: Some(3), ..Left::new(&made.root, ids[1]) }],
    }
}

fn rows() -> [(&'static str, &'static str, Row); 23] {
    let (values, _) = make_bundle(&CONTENTS);
    let book = book();
    let entry = &book.entries[0];
    let content = |i: usize| Content { blob: format!("{}-0", values[i].id), length: values[i].length, root: None };
    let deposit = |i: usize, stage: Stage| {
        let of = &entry.deposits[i];
        let safe = TestSafe::make(i as u64 + 1);
        let stated = safe.statement(of.id, &of.d, BODY);
        state::Deposit {
            id: of.id,
            safe: of.safe,
            segment: of.segment,
            d: of.d.clone(),
            stage,
            statement: (Stage::Prepared..=Stage::Offered).contains(&stage).then(|| stated.clone()),
            offer: (stage == Stage::Offered).then(|| safe.sign(&stated, Kind::Offer).into()),
            certificate: (stage >= Stage::Held).then(|| of.certificate.clone()),
            receipt: (stage == Stage::Released).then(|| Bytes(vec![1, 2, 3])),
            audited: None,
            fault: None,
            looked: None,
            owner: None,
            release_only: None,
            restore: None,
            told: None,
        }
    };
    let backup = |stages: [Stage; 3], operation, finished: Option<u64>| Backup {
        id: BACKUP,
        values: values.clone(),
        plan: entry.plan.clone(),
        bundle: entry.bundle,
        segment_len: entry.segment_len,
        op_seed: (operation == Some(Operation::Register)).then(op_seed),
        sources: if finished.is_none() { vec![content(0), content(1)] } else { Vec::new() },
        deposits: stages.into_iter().enumerate().map(|(i, stage)| deposit(i, stage)).collect(),
        operation,
        finished,
        face: None,
        kept: Vec::new(),
        file: Vec::new(),
        file_saved: None,
        words: None,
        wanted: Vec::new(),
        then: None,
        roots: None,
        drilled: None,
        asked: None,
        begun: None,
        replaces: None,
        next: None,
        claim: None,
        chapter: None,
        through: None,
        held: false,
    };
    let making = backup([Stage::Planned, Stage::Prepared, Stage::Offered], Some(Operation::Register), None);
    let of_book =
        Chapter { names: Some(vec![BackupId([0xcc; 16])]), replaces: vec![BackupId([0xbb; 16])], ..Chapter::default() };
    let chapter = Backup { chapter: Some(of_book), ..making.clone() };
    let ending = backup([Stage::Held, Stage::Held, Stage::Released], Some(Operation::Release), Some(NOW + 200));
    let mut keeping = backup([Stage::Held; 3], Some(Operation::Register), None);
    let bytes = SecretBytes(b"a share".to_vec().into());
    keeping.kept = vec![KeptPiece { path: vec![1, 0].into(), segment: 0, parents: vec![Root([3; 32])], bytes }];
    (keeping.file, keeping.file_saved) = (vec![(0, content(0))], Some(false));
    keeping.words = Some(secret(7));
    let mut wanting = backup([Stage::Held; 3], Some(Operation::Recover), Some(NOW + 200));
    wanting.wanted = vec![values[1].id];
    let mut audited = backup([Stage::Held; 3], None, Some(NOW + 200));
    audited.face = Some(FaceWish { readable: true, hint: Some("blue box".into()) });
    audited.deposits[0].audited = Some(NOW + 300);
    let what = "shows other bytes than it signed for".into();
    audited.deposits[1].fault = Some(PieceFault { since: NOW + 300, what, groups: vec![2, 7] });
    let mut moving = backup([Stage::Held; 3], Some(Operation::Drill), Some(NOW + 200));
    (moving.then, moving.drilled) = (Some(Then::Vacate), Some(NOW + 250));
    (moving.begun, moving.asked, moving.deposits[1].looked) = (Some(NOW + 100), Some(NOW + 260), Some(NOW + 270));
    moving.roots = Some(CONTENTS.iter().map(|content| Some(Root(blake3(content)))).collect());
    let mut renewing = backup([Stage::Held; 3], Some(Operation::Recover), Some(NOW + 200));
    (renewing.then, renewing.replaces) = (Some(Then::Renew), Some(BackupId([0xbb; 16])));
    let next = BackupId([0xcc; 16]);
    renewing.next = Some(Next { backup: next, plan: entry.plan.clone(), words: Some(secret(8)) });
    let mut claiming = backup([Stage::Held; 3], Some(Operation::Recover), Some(NOW + 200));
    claiming.values.iter_mut().for_each(|meta| meta.unique = Some(true));
    let chosen = Some(ClaimantId([9; 32]));
    claiming.claim = Some(ClaimOfBackup { x: secret(9), epoch: 1, lenient: true, chosen });
    let line = |level, text: &str| Activity { at: NOW, level, text: text.into() };
    let lines = vec![line(Level::Info, "Value 0 is protected."), line(Level::Error, "A safe failed.")];
    let whereabouts = Whereabouts { operator: Some("Nordfels".into()), cloud: None, region: Some("EU".into()) };
    let placed = KnownSafe { whereabouts: Some(whereabouts), ..book.safes[0].clone() };
    let invited = KnownSafe { token: Some("strongroom-token-abc".into()), ..book.safes[0].clone() };
    let first = Value { content: Some(content(0)), backup: Some(BACKUP), ..Value::new(values[0].clone()) };
    let rooted = Content { root: Some(Root(blake3(CONTENTS[0]))), ..content(0) };
    let known = Value { content: Some(rooted), ..first.clone() };
    let moved = Value { backup: Some(BACKUP), ..Value::new(values[1].clone()) };
    let tagged = ValueMeta { tags: Some(vec!["travel".into(), "spring".into()]), ..values[0].clone() };
    let changed = ValueMeta { editions: Some(vec![EditionId([5; 8]), EditionId([6; 8])]), ..values[0].clone() };
    let changed = Value { content: Some(content(0)), ..Value::new(changed) };
    let rested = Value { used: Some(NOW + 100), left_alone: Some(NOW + 90), ..Value::new(tagged) };
    let rule = |name: &str, when, moves, on| Rule { name: name.into(), when, plan: entry.plan.clone(), moves, on };
    let kinds = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let rules = vec![
        rule("Tickets", vec![Condition::Kind(kinds(&["ticket"])), Condition::Older(604_800)], true, true),
        rule("Changes", vec![Condition::Changed, Condition::Tag(kinds(&["travel", "work"]))], false, true),
        rule("Room", vec![Condition::RoomBelow(1_000_000), Condition::Unused(86_400)], true, false),
        rule("Files", vec![Condition::Larger(10), Condition::Smaller(1_000_000)], false, true),
    ];
    let retiring = vec![Retirement { from: SafeId([1; 32]), to: SafeId([2; 32]), left: vec![BACKUP] }];
    let exhibit = Exhibit {
        deposit: DEPOSIT,
        safe: SafeId([1; 32]),
        title: "Value 0".into(),
        what: "does not have what it signed for".into(),
        since: NOW + 300,
        certificate: Bytes(vec![1, 2, 3]),
    };
    [
        ("row_safe.txt", "safe 1, nickname mine", Row::Safe(Box::new(book.safes[0].clone()))),
        ("row_safe_token.txt", "safe 1, nickname mine, token strongroom-token-abc", Row::Safe(Box::new(invited))),
        ("row_safe_placed.txt", "safe 1, nickname mine, operator Nordfels, region EU", Row::Safe(Box::new(placed))),
        ("row_value.txt", "value 0 with content and backup", Row::Value(Box::new(first))),
        ("row_value_known.txt", "value 0 with content whose root is known", Row::Value(Box::new(known))),
        ("row_value_changed.txt", "value 0 with content, changed twice", Row::Value(Box::new(changed))),
        ("row_value_moved.txt", "value 1 without content", Row::Value(Box::new(moved))),
        ("row_backup_making.txt", "deposits planned, prepared, offered; with op_seed", Row::Backup(Box::new(making))),
        ("row_backup_keeping.txt", "deposits held; a piece kept, a file, words", Row::Backup(Box::new(keeping))),
        ("row_backup_claiming.txt", "values live once; claim lost in epoch 1", Row::Backup(Box::new(claiming))),
        ("row_backup_wanting.txt", "value 1 is being recovered", Row::Backup(Box::new(wanting))),
        (
            "row_backup_chapter.txt",
            "a chapter that is being made in the place of chapter bb…bb, and names backup cc…cc",
            Row::Backup(Box::new(chapter)),
        ),
        ("row_backup_ending.txt", "deposits held, held, released", Row::Backup(Box::new(ending))),
        (
            "row_backup_audited.txt",
            "deposits held: shown at 300, groups 2 and 7 bad since 300, never asked; face readable, hint blue box",
            Row::Backup(Box::new(audited)),
        ),
        (
            "row_backup_renewing.txt",
            "being recovered, in the place of backup bb…bb, before the generation cc…cc with words is made",
            Row::Backup(Box::new(renewing)),
        ),
        (
            "row_backup_moving.txt",
            "a drill before values leave the device; their roots are known, drilled at 250, begun at 100, audit asked for at 260, answered by safe 2 at 270",
            Row::Backup(Box::new(moving)),
        ),
        ("row_activity.txt", "two lines", Row::Activity(lines)),
        ("row_value_rested.txt", "value 0, two tags, used at 100, left alone since 90", Row::Value(Box::new(rested))),
        ("row_owner.txt", "an enrolment of 2 safes that is under way, and a head", Row::Owner(Box::new(owner_row()))),
        ("row_rules.txt", "four rules, one of them off; every condition", Row::Rules(rules)),
        ("row_retiring.txt", "safe 01…01 goes to safe 02…02; one backup is left", Row::Retiring(retiring)),
        ("row_exhibits.txt", "one certificate, three bytes of it", Row::Exhibits(vec![exhibit])),
        ("row_settings.txt", "capacity 5000", Row::Settings(Settings { capacity: Some(5000) })),
    ]
}

#[test]
fn wallet_rows() {
    for (file, what, row) in rows() {
        let stored = pin(file, "row of the wallet before sealing", &[("row", what.to_owned())], &row.encode());
        let read = Row::parse(&stored).unwrap();
        assert_eq!((read.key(), read.encode()), (row.key(), row.encode()));
        assert_eq!(format!("{read:?}"), format!("{row:?}"));
    }
}

/// A whole small store: header, one sealed row, root. Who holds the passphrase opens it, today and later.
#[test]
fn vault() {
    let mut random = rng(3);
    let stretch = Stretch::make_random(PassphraseCost::LEAST, &mut random);
    let kek = stretch.derive_key(PASSPHRASE).unwrap();
    let (mut vault, header) = Vault::create(&stretch, &kek, &mut random).unwrap();
    let (_, _, value) = rows().into_iter().find(|(file, ..)| *file == "row_value.txt").unwrap();
    let changes = Changes { put: vec![value.clone()], ..Changes::default() };
    let (commit, pending) = vault.seal(&changes, &mut rng(4)).unwrap();
    vault.committed(pending);
    let inputs = [("passphrase", PASSPHRASE.to_owned()), ("cost", "19456 KiB, 2 passes, 1 lane".to_owned())];
    let header = pin("vault_header.txt", "header of a vault", &inputs, &header);
    let inputs =
        [("vault", "vault_header.txt".to_owned()), ("epoch", "1".to_owned()), ("name", commit.put[0].0.clone())];
    let row = pin("vault_row.txt", "row_value.txt sealed as version 1", &inputs, &commit.put[0].1);
    let root = pin("vault_root.txt", "root over the name and version of vault_row.txt", &inputs, &commit.root);
    let stored =
        Stored { epoch: 1, header: Some(header), root: Some(root), rows: vec![(commit.put[0].0.clone(), row)] };
    assert_eq!(Vault::stretch(&stored).unwrap(), stretch);
    let (_, state) = Vault::open(&kek, &stored).unwrap();
    let mut expected = state::State::default();
    expected.put(value);
    assert_eq!(format!("{state:?}"), format!("{expected:?}"));
    let wrong = stretch.derive_key("correct horse battery stapl").unwrap();
    assert!(Vault::open(&wrong, &stored).is_err());
}

/// The same store once a passkey opens it, too: the header, and the root that covers it.
#[test]
fn vault_with_a_passkey() {
    let mut random = rng(3);
    let stretch = Stretch::make_random(PassphraseCost::LEAST, &mut random);
    let kek = stretch.derive_key(PASSPHRASE).unwrap();
    let (vault, _) = Vault::create(&stretch, &kek, &mut random).unwrap();
    let (credential, salt, output) = (vec![0xc1; 20], [0x5a; 32], secret(0x70));
    let inputs = [
        ("vault", "vault_header.txt".to_owned()),
        ("credential", hex_of(&credential)),
        ("salt", hex_of(&salt)),
        ("output", hex_of(output.expose())),
        ("label", "the blue key".to_owned()),
        ("added", NOW.to_string()),
    ];
    let new = NewPasskey {
        credential: credential.clone(),
        salt,
        output: output.clone(),
        label: "the blue key".to_owned(),
        added: NOW,
    };
    let (commit, _) = vault.seal_passkeys(&PasskeyChange::Add(new), &Changes::default(), &mut rng(5)).unwrap();
    let header =
        pin("vault_header_passkey.txt", "header of a vault that a passkey opens", &inputs, &commit.header.unwrap());
    let inputs = [("vault", "vault_header_passkey.txt".to_owned()), ("epoch", "1".to_owned())];
    let root = pin("vault_root_passkey.txt", "root over no records and a header with a passkey", &inputs, &commit.root);
    let stored = Stored { epoch: 1, header: Some(header), root: Some(root), rows: Vec::new() };
    let (opened, _) = Vault::open_by_passkey(&credential, &output, &stored).unwrap();
    assert_eq!(opened.passkeys().unwrap()[0].1, PasskeyNote { label: "the blue key".to_owned(), added: NOW });
    assert!(Vault::open(&kek, &stored).is_ok());
}

/// What is derived is sent nowhere, but a wallet must find the same again from its book.
#[test]
fn deposit_secrets() {
    let secrets = DepositSecrets::derive(&d());
    let hashes = secrets.hashes();
    let keys = ["envelope", "face"].map(|label| derive_secret(&d(), label, b""));
    let derived = [
        secrets.release.expose(),
        secrets.retrieve.expose(),
        secrets.audit.expose(),
        &hashes.release.0,
        &hashes.retrieve.0,
        &hashes.audit.0,
        keys[0].expose(),
        keys[1].expose(),
    ];
    let object = "release, retrieve, audit, the hashes of the three, envelope key, face key";
    pin("deposit_secrets.txt", object, &[("d", hex_of(d().expose()))], &derived.map(|key| &key[..]).concat());
}

/// What goes through one safe to another.
#[test]
fn relay() {
    let safe = safe();
    let (deposit, through, entry) = (DepositId([0xd1; 16]), SafeId([0xb1; 32]), safe.identity.entry(1).unwrap());
    let expiry = NOW + CLAIM_SPAN;
    let claim = Claim::make(&secret(3), entry, &deposit, Verb::Retrieve, expiry, &mut rng(1)).unwrap();
    let carried = Carried::Claim(deposit, codec::encode(&claim).into());
    let (parcel, awaiting) = Parcel::make(&carried, expiry, entry, &through, &mut rng(2)).unwrap();
    let mut inputs = safe_fields();
    inputs.extend([
        ("through", hex_of(&through.0)),
        ("deposit", hex_of(&deposit.0)),
        ("secret", hex_of(secret(3).expose())),
    ]);
    let stored = pin("relay_parcel.txt", "parcel", &inputs, &codec::encode(&parcel));
    let opened = Parcel::parse(&stored).unwrap().open(&safe.keys.hpke, &safe.id()).unwrap();
    assert_eq!(opened.carried, carried);
    assert!(claim.open(&safe.keys.hpke, &safe.id(), &deposit).unwrap().secret.same_as(&secret(3)));
    let errand = Errand { to: safe.id(), parcel: stored.into(), most: 1000 };
    let inputs = [("parcel", "relay_parcel.txt".to_owned())];
    let stored = pin("relay_errand.txt", "errand", &inputs, &codec::encode(&errand));
    assert_eq!(Errand::parse(&stored, stored.len()).unwrap(), errand);
    let delivery = Delivery::Body(b"a body".to_vec().into());
    let sealed = opened.sealer(&[9; 32]).unwrap().seal(&codec::encode(&delivery)).unwrap();
    let inputs = [("parcel", "relay_parcel.txt".to_owned()), ("body", hex_of(b"a body")), ("salt", hex_of(&[9; 32]))];
    let stored = pin("relay_delivery.txt", "what comes back, sealed", &inputs, &sealed);
    assert_eq!(awaiting.open(&stored, 1000).unwrap(), delivery);
}
