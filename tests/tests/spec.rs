//! The specification's worked examples and CDDL against the implementation.
//!
//! An example stands in `spec/*.md` as a block of lines `name = hex`. Some fields are inputs; the others are computed here, as far as can be by other
//! means than the formats' own code, and compared. `STRONGROOM_BLESS=1` writes what was computed into the text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Mutex};

use data_encoding::HEXLOWER;
use protocol::{
    SUITE,
    audit::{AuditItem, AuditResult, GROUP_LEN, Slice, derive_leaves, seal_items},
    book::{Book, BookDeposit, BookEntry, Entered as _, KnownSafe},
    bundle::{self, ValueMeta},
    certificate::{self, Held, Offered, Release, sign_receipt, verify_receipt},
    claim::{CLAIM_SPAN, Claim, Confirm, Verb},
    codec::{self, Bytes},
    cose::Kind,
    crypto::{
        self, PassphraseCost, Secret, blake3, blake3_commit, blake3_group, blake3_parent, blake3_root, derive_bytes,
        derive_secret,
        oprf::{self, Blinded},
        sha256,
    },
    deposit::{DEFAULT_BODY_LIMIT, DepositSecrets, Face, LEASE, Statement},
    envelope::Envelope,
    evidence::{Testimony, Verdict},
    identity::{API_VERSION, Admission, Descriptor, Entry, Identity, Limits, Whereabouts},
    ids::{
        AccountId, BackupId, ClaimantId, DepositId, DeviceId, EditionId, EnrolmentId, GuessId, Nonce, Root, SafeId,
        TokenId, ValueId,
    },
    layout::{Draft, Layout},
    owner::{
        book::{Announced, ChapterDeposit, HeadContent, Left, chapter_plan},
        device::{self, Handle},
        enrolment::{Enrolling, OwnerRoot, Stretched},
        kit::{Kit, KitSafe},
        login::Counter,
        messages::{
            Action, Address, Challenge, CredentialKind, Epoch, Evaluated, Greeting, Guess, Guesses, Head, Mark,
            NewCredential, Opening, Proof, Question, Topic, Who,
        },
        name::NameKey,
        note::Note,
        ticket::{Right, Ticket, bind},
    },
    plan::Plan,
    register::{Ballot, Proposal, Register, derive_claimant, seal_proposal},
    relay::{Carried, Delivery, Errand, Parcel},
    seal::{self, Purpose},
    token::Token,
};
use tests::fixture::{
    NOW, Scalars, TestSafe, URL, face_text, gather, lay, make_bodies, read_book, rng, secret, vector_file, write_book,
};

fn spec(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../spec")).join(file)
}

/// Blessing rewrites whole files, and tests run side by side.
static WRITING: Mutex<()> = Mutex::new(());

struct Example {
    file: &'static str,
    name: &'static str,
    fields: BTreeMap<String, String>,
}

impl Example {
    fn read(file: &'static str, name: &'static str) -> Self {
        let text = fs::read_to_string(spec(file)).unwrap();
        let (_, block) =
            text.split_once(&format!("```example {name}\n")).unwrap_or_else(|| panic!("{file}: no {name}"));
        let (block, _) = block.split_once("```").unwrap();
        let mut fields = BTreeMap::<String, String>::new();
        let mut last = String::new();
        for line in block.lines() {
            match line.split_once('=') {
                Some((field, hex)) => {
                    last = field.trim().to_owned();
                    fields.insert(last.clone(), hex.trim().to_owned());
                }
                None => fields.get_mut(&last).unwrap().push_str(line.trim()),
            }
        }
        Self { file, name, fields }
    }

    /// An input.
    fn input(&self, field: &str) -> Vec<u8> {
        let hex = self.fields.get(field).unwrap_or_else(|| panic!("{}: no field {field}", self.name));
        HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    /// An output: what the text says is what was computed.
    fn output(&self, field: &str, computed: &[u8]) {
        let hex = HEXLOWER.encode(computed);
        let stated = self.fields.get(field).unwrap_or_else(|| panic!("{}: no field {field}", self.name));
        if *stated != hex && std::env::var("STRONGROOM_BLESS").is_ok_and(|v| v == "1") {
            return self.bless(field, &hex);
        }
        assert!(*stated == hex, "{}, example {}: {field} is\n{hex}", self.file, self.name);
    }

    /// An output that is text.
    fn text(&self, field: &str, computed: &str) {
        let stated = self.fields.get(field).unwrap_or_else(|| panic!("{}: no field {field}", self.name));
        if *stated != computed && std::env::var("STRONGROOM_BLESS").is_ok_and(|v| v == "1") {
            return self.bless(field, computed);
        }
        assert!(*stated == computed, "{}, example {}: {field} is\n{computed}", self.file, self.name);
    }

    fn bless(&self, field: &str, hex: &str) {
        let _one_at_a_time = WRITING.lock().unwrap();
        let text = fs::read_to_string(spec(self.file)).unwrap();
        let (before, rest) = text.split_once(&format!("```example {}\n", self.name)).unwrap();
        let (block, after) = rest.split_once("```").unwrap();
        let mut lines = Vec::new();
        let mut skipping = false;
        for line in block.lines() {
            if let Some((name, _)) = line.split_once('=') {
                skipping = name.trim() == field;
                if skipping {
                    let whole = hex.as_bytes().chunks(128).map(|l| std::str::from_utf8(l).unwrap());
                    let whole: Vec<&str> = whole.collect();
                    lines.push(format!("{field} = {}", whole.join("\n  ")));
                }
            }
            if !skipping {
                lines.push(line.to_owned());
            }
        }
        let text = format!("{before}```example {}\n{}\n```{after}", self.name, lines.join("\n"));
        fs::write(spec(self.file), text).unwrap();
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn the_safe() -> TestSafe {
    TestSafe::make(1)
}

// ---- CDDL -----------------------------------------------------------------------------------------------------------

/// All rules of the specification, with the given one in front: the first is where validation begins.
fn rules(start: &str) -> String {
    let mut all = format!("start = {start}\n");
    let files = ["README.md", "safe.md", "deposit.md", "certificate.md", "audit.md", "evidence.md", "unique.md"];
    for file in files.into_iter().chain(["plan.md", "piece.md", "recovery.md", "owner.md", "kit.md", "relay.md"]) {
        let text = fs::read_to_string(spec(file)).unwrap();
        for block in text.split("```cddl\n").skip(1) {
            all.push_str(block.split_once("```").unwrap().0);
        }
    }
    all
}

fn conforms(rule: &str, bytes: &[u8]) {
    if let Err(error) = cddl::validate_cbor_from_slice(&rules(rule), bytes, None) {
        panic!("not a {rule} by the CDDL: {error}");
    }
}

#[test]
fn the_cddl_refuses_what_is_not_meant() {
    let refuses = |rule: &str, bytes: &[u8]| cddl::validate_cbor_from_slice(&rules(rule), bytes, None).is_err();
    assert!(refuses("confirm", &codec::encode(&(1, 2))));
    assert!(refuses("deposit-id", &codec::encode(&Bytes(vec![0; 15]))));
    let confirm = codec::encode(&Confirm { suite: 2, offer: Root([1; 32]) });
    assert!(refuses("confirm", &confirm), "another suite");
}

// ---- examples -------------------------------------------------------------------------------------------------------

#[test]
fn derive() {
    let example = Example::read("README.md", "derive");
    let (key, label, context) = (example.input("key"), example.input("label"), example.input("context"));
    let mut out = [0; 32];
    let info = [&b"strongroom\x01"[..], &[label.len() as u8], &label, &context].concat();
    derive_bytes(&key, b"", &info, &mut out).unwrap();
    example.output("derived", &out);
    let label = std::str::from_utf8(&label).unwrap();
    assert_eq!(derive_secret(&Secret::from_bytes(array(&key)), label, &context).expose(), &out);
    let commitment = blake3_commit("strongroom 1 group", &[&key, &context]);
    example.output("commitment", &commitment);
}

#[test]
fn safe() {
    let example = Example::read("safe.md", "safe");
    let safe = the_safe();
    let identity = safe.keys.identity.verifying_key();
    example.output("identity", &identity.to_compressed());
    let (x, y) = identity.coordinates();
    let thumbprint = [&[0xa4, 1, 2, 0x20, 2, 0x21, 0x58, 0x30][..], &x, &[0x22, 0x58, 0x30], &y].concat();
    example.output("id", &sha256(&thumbprint));
    let entry = codec::encode(safe.identity.entry(1).unwrap());
    conforms("entry", &entry);
    example.output("entry", &entry);
    conforms("signed", &safe.keys.chain[0]);
    example.output("signed-entry", &safe.keys.chain[0]);
    let descriptor = codec::encode(&Descriptor {
        suite: SUITE,
        api: API_VERSION,
        identity: identity.to_compressed().to_vec().into(),
        name: "Example".into(),
        url: URL.into(),
        chain: safe.keys.chain.clone(),
        limits: Limits { body: DEFAULT_BODY_LIMIT, lease: LEASE, confirm: 7 * 86_400, claim: 300 },
        admission: Admission::Open,
        time: NOW,
        whereabouts: None,
        owners: None,
        relays: None,
    });
    conforms("descriptor", &descriptor);
    example.output("descriptor", &descriptor);
    conforms("descriptor", &vector_file("descriptor_placed.txt").1);
    let (_, found) = Identity::of_descriptor(&descriptor, Some(safe.id())).unwrap();
    let read: Entry = codec::decode(&entry, entry.len()).unwrap();
    assert_eq!(found.entry(1), Some(&read));
}

/// The statement of the example, as the text of the specification says.
fn the_statement(example: &Example) -> (Secret, Statement) {
    let d = Secret::from_bytes(array(&example.input("d")));
    let deposit = DepositId(array(&example.input("deposit")));
    let body = example.input("body");
    let text = codec::encode(&face_text());
    let mut padded = [&[text.len() as u8][..], &text].concat();
    padded.resize(256, 0);
    let purpose = Purpose { purpose: "face", object: &deposit.0, version: 0 };
    let salt = array(&example.input("face-salt"));
    let sealed = seal::seal(&derive_secret(&d, "face", b""), &salt, &purpose, &padded).unwrap();
    let face = Face::Sealed(sealed.into());
    assert_eq!(face.read(Some(&d), &deposit).unwrap(), face_text());
    let secrets = DepositSecrets::derive(&d);
    let root = Root(blake3(&body));
    (d, Statement::new(the_safe().id(), deposit, body.len() as u64, root, face, &secrets))
}

#[test]
fn deposit() {
    let example = Example::read("deposit.md", "deposit");
    let (d, statement) = the_statement(&example);
    let release = derive_secret(&d, "release", b"");
    let retrieve = derive_secret(&release, "retrieve", b"");
    let audit = derive_secret(&retrieve, "audit", b"");
    example.output("release", release.expose());
    example.output("retrieve", retrieve.expose());
    example.output("audit", audit.expose());
    let hashes = codec::encode(&statement.hashes);
    conforms("secret-hashes", &hashes);
    example.output("hashes", &hashes);
    for (hash, secret) in
        [(statement.hashes.audit, &audit), (statement.hashes.retrieve, &retrieve), (statement.hashes.release, &release)]
    {
        assert_eq!(&hash.0, derive_secret(secret, "hash", b"").expose());
    }
    let text = codec::encode(&face_text());
    conforms("face-text", &text);
    example.output("face-text", &text);
    conforms("face", &codec::encode(&statement.face));
    let encoded = codec::encode(&statement);
    conforms("statement", &encoded);
    example.output("statement", &encoded);
    assert_eq!(Statement::parse(&encoded, &statement.safe, &statement.deposit), Ok(statement.clone()));

    let safe = the_safe();
    let digest = blake3(&safe.sign(&statement, Kind::Offer));
    example.output("offer-digest", &digest);
    let confirm = codec::encode(&Confirm { suite: SUITE, offer: Root(digest) });
    conforms("confirm", &confirm);
    example.output("confirm", &confirm);

    let info = codec::encode(&(1, "claim", safe.id(), 1));
    example.output("claim-info", &info);
    let (nonce, expiry) = (Nonce([7; 16]), NOW + 100);
    let aad = codec::encode(&(1, statement.deposit, 0, nonce, expiry));
    example.output("claim-aad", &aad);
    // HPKE is randomised: the example cannot state a ciphertext, but one made from these two opens.
    let hpke = &safe.identity.entry(1).unwrap().hpke;
    let (enc, ciphertext) = crypto::hpke_seal(hpke, &info, &aad, retrieve.expose(), &mut rng(3)).unwrap();
    let (enc, ciphertext) = (enc.into(), ciphertext.into());
    let claim = Claim { suite: SUITE, verb: Verb::Retrieve, entry: 1, nonce, expiry, enc, ciphertext };
    conforms("claim", &codec::encode(&claim));
    let opened = claim.open(&safe.keys.hpke, &safe.id(), &statement.deposit).unwrap();
    assert!(opened.secret.same_as(&retrieve) && opened.x.is_none() && opened.ticket.is_none());
}

#[test]
fn certificate() {
    let example = Example::read("certificate.md", "certificate");
    let (d, statement) = the_statement(&Example::read("deposit.md", "deposit"));
    let safe = the_safe();
    let offer = safe.sign(&statement, Kind::Offer);
    conforms("signed", &offer);
    example.output("offer", &offer);
    assert!(Offered::verify(&offer, &safe.identity, &statement).is_ok());

    let certificate = safe.sign(&statement, Kind::Certificate);
    conforms("signed", &certificate);
    example.output("certificate", &certificate);
    let held: Held = certificate::verify(&certificate, &safe.identity, Some(&statement)).unwrap();
    let payload = codec::encode(held.registration());
    conforms("registration", &payload);
    example.output("certificate-payload", &payload);

    // Another library reads it as COSE.
    let other = <coset::CoseSign1 as coset::TaggedCborSerializable>::from_tagged_slice(&certificate).unwrap();
    assert_eq!(other.payload.as_deref(), Some(payload.as_slice()));
    example.output("to-be-signed", &other.tbs_data(b""));
    let key = safe.identity.entry(1).unwrap().verifying_key().unwrap();
    assert_eq!(key.verify(&other.tbs_data(b""), &other.signature), Ok(()));

    let release = Release {
        suite: SUITE,
        safe: safe.id(),
        entry: 1,
        deposit: statement.deposit,
        root: statement.root,
        issued: NOW + 200,
        release: DepositSecrets::derive(&d).release,
    };
    conforms("release", &codec::encode(&release));
    let receipt = sign_receipt(&safe.keys.signing, &release);
    conforms("signed", &receipt);
    example.output("receipt", &receipt);
    assert!(verify_receipt(&receipt, &safe.identity, held.registration()).is_ok());
}

#[test]
fn audit() {
    let example = Example::read("audit.md", "audit");
    let (length, group) = (example.input("length"), u32::from(example.input("group")[0]));
    let length = length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
    let body: Vec<u8> = (0..length).map(|i| i as u8).collect();
    let node_0 = blake3_group(&body[..GROUP_LEN], 0);
    example.output("node-0", &node_0);
    let leaves = derive_leaves(&body);
    assert_eq!(leaves[0], node_0);
    // The tree of the text, for seven groups: the first four, and two of the three others.
    let over = |l: &[u8; 32], r: &[u8; 32]| blake3_parent(l, r);
    let left = over(&over(&leaves[0], &leaves[1]), &over(&leaves[2], &leaves[3]));
    let right = over(&over(&leaves[4], &leaves[5]), &leaves[6]);
    let root = blake3(&body);
    assert_eq!((leaves.len(), blake3_root(&left, &right)), (7, root));
    let path = [leaves[3], over(&leaves[0], &leaves[1]), right];
    example.output("path", &path.concat());
    example.output("root", &root);
    let slice = Slice::cut(&body, &leaves, group);
    conforms("slice", &codec::encode(&slice));
    assert_eq!(slice.path.iter().map(|node| node.to_vec()).collect::<Vec<_>>().concat(), path.concat());
    slice.verify(&Root(root), length as u64, group).unwrap();
    example.output("slice-end", &slice.bytes[GROUP_LEN - 16..]);
    let answer = vec![AuditResult::Shown(vec![slice]), AuditResult::Refused("gone".into())];
    conforms("audit-answer", &codec::encode(&answer));
    let item = AuditItem { deposit: DepositId([1; 16]), secret: secret(1), groups: vec![2, 9] };
    conforms("audit-items", &codec::encode(&vec![item.clone()]));
    let safe = the_safe();
    let made = seal_items(&[item], safe.identity.entry(1).unwrap(), NOW, &mut rng(3)).unwrap();
    conforms("audit-request", &codec::encode(&made));
}

#[test]
fn evidence() {
    let example = Example::read("evidence.md", "evidence");
    let (_, statement) = the_statement(&Example::read("deposit.md", "deposit"));
    let safe = the_safe();
    let kept = Verdict::Kept(statement.length, statement.root);
    let testimony = |verdict| Testimony::new(safe.id(), 1, statement.deposit, Root([2; 32]), NOW + 300, verdict);
    let payload = codec::encode(&testimony(kept.clone()));
    example.output("testimony", &payload);
    let signed = testimony(kept.clone()).sign(&safe.keys.signing);
    conforms("signed", &signed);
    example.output("signed", &signed);
    let (length, root, claimant) = (statement.length, statement.root, ClaimantId([8; 32]));
    for verdict in [
        kept,
        Verdict::Released(secret(1)),
        Verdict::Expired,
        Verdict::NotOwner(statement.hashes.audit),
        Verdict::Claimed(length, root, claimant),
        Verdict::Unknown,
        Verdict::Lost,
    ] {
        conforms("testimony", &codec::encode(&testimony(verdict)));
    }
}

#[test]
fn unique() {
    let example = Example::read("unique.md", "unique");
    let x = Secret::from_bytes(array(&example.input("x")));
    let claimant = derive_claimant(&x);
    assert_eq!(claimant.0, *derive_secret(&x, "claimant", b"").expose());
    example.output("claimant", &claimant.0);
    let ballot = Ballot { counter: 1, claimant };
    let (prepare, accept) = (Proposal::Prepare(0, ballot), Proposal::Accept(0, ballot, claimant));
    for (field, proposal) in [("prepare", prepare), ("accept", accept)] {
        conforms("proposal", &codec::encode(&proposal));
        example.output(field, &codec::encode(&proposal));
    }
    conforms("proposal", &codec::encode(&Proposal::Override(1)));
    let mut register = Register::default();
    assert!(register.step(&prepare).taken);
    conforms("register", &codec::encode(&register));
    let answer = register.step(&accept);
    conforms("register", &codec::encode(&register));
    example.output("register", &codec::encode(&register));
    let retrieve = Secret::from_bytes(array(&example.input("retrieve")));
    let nonce = Nonce(array(&example.input("nonce")));
    let vouched = answer.vouch(&retrieve, &nonce, &accept);
    conforms("register-answer", &codec::encode(&vouched));
    example.output("answer", &codec::encode(&vouched));
    let safe = the_safe();
    let (entry, deposit) = (safe.identity.entry(1).unwrap(), DepositId([1; 16]));
    let made = seal_proposal(&x, &accept, None, entry, &deposit, NOW, &mut rng(3)).unwrap();
    conforms("register-request", &codec::encode(&made));
}

#[test]
fn owner() {
    let example = Example::read("owner.md", "owner");
    let name = NameKey::new(Secret::from_bytes(array(&example.input("name-key"))));
    let safes = [SafeId(array(&example.input("safe"))), SafeId(array(&example.input("other"))), SafeId([0xa2; 32])];
    let passphrase = String::from_utf8(example.input("passphrase")).unwrap();
    let account = name.account(&safes[0]);
    assert_eq!(account.0, *derive_secret(name.expose(), "account", &safes[0].0).expose());
    example.output("account", &account.0);
    let draft = Enrolling::start(&secret(1), &safes, 2, &passphrase, PassphraseCost::LEAST).unwrap();
    let (stretch, output) = draft.to_stretch();
    let (stretched, output) = (stretch.derive_key_of(output).unwrap(), output.to_vec());
    let made = draft.finish(&Stretched::new(stretched.clone()), &name, 1).unwrap();
    conforms("enrolment", &made.statement);
    made.staged.iter().for_each(|(_, staged)| conforms("staged", &codec::encode(staged)));
    let given = |at: usize| &made.staged[at].1;
    ["share-1", "share-2", "share-3"]
        .iter()
        .enumerate()
        .for_each(|(at, f)| example.output(f, given(at).share.expose()));
    let (blinding, blinded) =
        Blinded::start(passphrase.as_bytes(), &mut Scalars(vec![array(&example.input("blind"))])).unwrap();
    example.output("blinded", &blinded);
    let answers =
        [0, 2].map(|at| (at as u8 + 1, oprf::evaluate(&given(at).share, &blinded, &mut rng(2)).unwrap().element));
    example.output("evaluated-1", &answers[0].1);
    example.output("evaluated-3", &answers[1].1);
    assert_eq!(blinding.finish(&answers).unwrap()[..], output);
    example.output("output", &output);
    example.output("stretched", stretched.expose());
    example.output("enrolment", &made.statement);
    let (id, safe) = (made.enrolment.id, &safes[0]);
    assert_eq!(made.enrolment.result[..], derive_secret(&stretched, "result", &id.0).expose()[..]);
    let id_at = blake3_commit("strongroom 1 enrolment at", &[&safe.0, &id.0]);
    example.output("id-at", &id_at[..16]);
    assert_eq!(given(0).id.0, id_at[..16]);
    let digest = blake3_commit("strongroom 1 enrolment", &[&safe.0, &made.statement]);
    example.output("digest", &digest);
    let audit = Secret::from_bytes([9; 32]);
    let mut handle = name.expose().expose().to_vec();
    handle.extend(example.input("device-id"));
    let handle = Handle::parse(&handle).unwrap();
    example.output("device-input", &device::input());
    example.output("device-locator", &handle.locator(safe));
    let device = handle.unlock(&Secret::from_bytes(array(&example.input("device-output"))));
    example.output("device-key", device.channel(safe).proof().key.expose());
    example.output("bound", &bind(&audit, &account).0);
    assert_eq!(bind(&audit, &account).0, *derive_secret(&audit, "owner", &account.0).expose());
    let ticket = Ticket::write(&audit, &account, Right::Release, NOW).to_bytes();
    assert_eq!(ticket[..41], [&account.0[..], &[1], &NOW.to_be_bytes()].concat());
    assert_eq!(given(0).digest[..], digest);
    example.output("key", given(0).key.expose());
    assert!(derive_secret(&stretched, "authentication", &[&safe.0[..], &id.0].concat()).same_as(&given(0).key));
    // The root, opened as the text says.
    let root_key = derive_secret(&stretched, "root", &id.0);
    let root = seal::open(&root_key, &Purpose { purpose: "root", object: &id.0, version: 0 }, &given(0).wrap).unwrap();
    assert_eq!(root[..32], made.root.expose().expose()[..]);
    let tag_key = derive_secret(made.root.expose(), "enrolment", b"");
    assert_eq!(root[32..], crypto::mac(&tag_key, &made.statement));
    // The line through two masked points, and what it opens.
    let masks = derive_secret(name.expose(), "masks", b"");
    let point = |at: usize| -> [u8; 32] { array(&given(at).slot[..32]) };
    let points = [(&safes[0].0[..], &masks, &point(0)), (&safes[1].0[..], &masks, &point(1))];
    let line = oprf::combine_line(points).unwrap();
    example.output("line", line.expose());
    example.output("masked", &point(0));
    let slot_key = derive_secret(&line, "enrolment", &safe.0);
    example.output("slot-key", slot_key.expose());
    let purpose = Purpose { purpose: "enrolment", object: &safe.0, version: 0 };
    let padded = seal::open(&slot_key, &purpose, &given(0).slot[32..]).unwrap();
    assert_eq!((padded.len(), &padded[..2]), (2048, &(made.statement.len() as u16).to_be_bytes()[..]));
    assert_eq!(padded[2..2 + made.statement.len()], made.statement);
    // A channel.
    let who = Who::Passphrase(given(0).id, GuessId([5; 16]), blinded.into());
    let context = blake3_commit("strongroom 1 login", &[&digest, &[5; 16], &blinded]);
    let psk_id = codec::encode(&(0u8, given(0).id));
    example.output("psk-id", &psk_id);
    let challenge = Challenge::from([6; 32]);
    let info = codec::encode(&(SUITE, "channel", *safe, 1u32, account, challenge, Some(who), Bytes(context.to_vec())));
    conforms("question-info", &info);
    example.output("info", &info);
    let test_safe = the_safe();
    let entry = test_safe.identity.entry(1).unwrap();
    let proof = Proof { who, key: &given(0).key, digest: &digest };
    let address = Address { safe, account: &account, topic: Topic::Channel };
    let plain = codec::encode(&vec![Action::Show]);
    let (question, answering) = Question::make(&address, &plain, entry, &challenge, Some(proof), &mut rng(3)).unwrap();
    conforms("question", &codec::encode(&question));
    let asked = crypto::Asked { enc: question.enc.0.clone(), ciphertext: question.ciphertext.0.clone() };
    let psk = crypto::Psk { key: &given(0).key, id: &psk_id };
    let heard = test_safe.keys.hpke.hear(&asked, &info, Some(psk)).unwrap();
    assert_eq!(heard.question[..], plain);
    let purpose = Purpose { purpose: "answer", object: b"", version: 0 };
    let sealed = seal::seal(&heard.answer, &[9; 32], &purpose, b"an answer").unwrap();
    assert_eq!(answering.open(&sealed).unwrap()[..], *b"an answer");
}

/// A chapter as a head names it.
fn chapter() -> BookEntry<ChapterDeposit> {
    let safes = [SafeId([1; 32]), SafeId([2; 32])];
    let meta = ValueMeta {
        id: ValueId([0x0a; 16]),
        title: "part of the owner's book".into(),
        kind: "book".into(),
        file_name: None,
        mime: "application/cbor".into(),
        created: NOW,
        length: 2_000,
        unique: None,
        tags: None,
        editions: None,
    };
    let deposit = |safe: &SafeId| ChapterDeposit {
        id: DepositId([3; 16]),
        safe: *safe,
        segment: 0,
        d: secret(7),
        root: Root([5; 32]),
        release_only: Some(true),
    };
    BookEntry {
        backup: BackupId([8; 16]),
        bundle: bundle::length(std::slice::from_ref(&meta)),
        values: vec![meta],
        plan: chapter_plan(&safes, 2).unwrap(),
        segment_len: 4 << 20,
        finished: NOW,
        deposits: safes.iter().map(deposit).collect(),
        pieces: Vec::new(),
    }
}

#[test]
fn what_owners_and_safes_say_conforms() {
    let mut safe = tests::in_memory::InMemory::new();
    let mut visit = tests::visit::Visit::new(&mut safe);
    let (name, here) = (tests::owner::name(1), visit.identity.id());
    let made = tests::owner::enrol(1, &[here, SafeId([1; 32])], 2, "a passphrase", &name, 1);
    let account = name.account(&here);
    conforms("look", &codec::encode(&visit.look(&account)));
    let channel = visit.enrolled(&account, &secret(1), &made);
    conforms("look", &codec::encode(&visit.look(&account)));
    let (_, blinded) = Blinded::start(b"x", &mut rng(1)).unwrap();
    let guess = tests::owner::guess_of(made.enrolment.id_at(&here), blinded, 1);
    conforms("guess", &codec::encode(&guess));
    conforms("guess", &codec::encode(&Guess { staging: Some(secret(1)), ..guess.clone() }));
    conforms("evaluated", &codec::encode(&visit.guess(&account, &guess)));
    conforms("evaluated", &codec::encode(&Evaluated::Locked(Guesses { now: 0, ever: 0, wait: None })));
    conforms("opening", &codec::encode(&Opening { key: secret(1), note: vec![1].into() }));
    // The head of a book, opened as the text says.
    let (root, epoch) = (secret(4), Epoch { counter: 1, holder: DeviceId([1; 16]) });
    let book = Book { suite: SUITE, written: NOW, safes: Vec::new(), entries: Vec::new() };
    let gone = vec![BackupId([9; 16])];
    let announced = Some(Announced { generation: 2, id: EnrolmentId([8; 16]) });
    let held = vec![BackupId([7; 16])];
    let called = Some("alice-7kq4m2".to_owned());
    let left = vec![Left { number: Some(2), ..Left::new(&OwnerRoot::new(root.clone()), SafeId([1; 32])) }];
    let chapters = vec![chapter()];
    let content = HeadContent { chapters, gone, name: called, announced, held, left, ..HeadContent::new(book) };
    conforms("head-content", &codec::encode(&content));
    let head = content.seal(&OwnerRoot::new(root.clone()), epoch, 7, [2; 32], &mut rng(1)).unwrap();
    conforms("head", &codec::encode(&head));
    let object = codec::encode(&(epoch, minicbor::bytes::ByteArray::from([2; 32])));
    conforms("head-object", &object);
    let purpose = Purpose { purpose: "book head", object: &object, version: 7 };
    let plain = seal::open(&derive_secret(&root, "book head", b""), &purpose, &head.sealed).unwrap();
    let encoded = codec::encode(&content);
    assert_eq!((plain.len(), &plain[..4]), (1024, &(encoded.len() as u32).to_be_bytes()[..]));
    assert_eq!(plain[4..4 + encoded.len()], encoded);
    let mark = Mark {
        epoch: Epoch { counter: 1, holder: DeviceId([1; 16]) },
        sequence: 1,
        before: [0; 32].into(),
        digest: blake3(b"head").into(),
    };
    let wrap = Some(Bytes(vec![0; 144]));
    let locator = Some([3; 16].into());
    let new = NewCredential { kind: CredentialKind::Device, key: secret(2), note: vec![2].into(), wrap, locator };
    let kit = NewCredential { kind: CredentialKind::Kit, wrap: None, locator: None, key: secret(3), ..new.clone() };
    conforms("who", &codec::encode(&Who::Device([3; 16].into())));
    conforms("greeting", &codec::encode(&Greeting { credential: Some(secret(1)) }));
    conforms("guess", &codec::encode(&Guess { credential: Some(secret(1)), ..guess.clone() }));
    // A note, opened as the text says.
    let note = Note::new([4; 16].into(), "the blue key");
    conforms("note", &codec::encode(&note));
    conforms("note", &codec::encode(&note.clone().of_generation(u32::MAX)));
    let key = derive_secret(name.expose(), "notes", b"");
    let purpose = Purpose { purpose: "note", object: &here.0, version: 0 };
    let plain = seal::open(&key, &purpose, &note.seal(&name, &here, &mut rng(1)).unwrap()).unwrap();
    let encoded = codec::encode(&note);
    assert_eq!((plain.len(), &plain[..2]), (96, &(encoded.len() as u16).to_be_bytes()[..]));
    assert_eq!(plain[2..2 + encoded.len()], encoded);
    let actions = vec![
        Action::Add(new),
        Action::Add(kit),
        Action::Promise(mark.epoch),
        Action::WriteHead(Head { mark, sealed: b"head".to_vec().into() }),
        Action::Show,
        Action::ReadHead,
        Action::Stage(Box::new(made.staged[0].1.clone())),
        Action::Commit(made.staged[0].1.id, Some(mark.epoch)),
        Action::Commit(made.staged[0].1.id, None),
        Action::Drop(made.staged[0].1.id),
        Action::Refund(vec![guess.id]),
        Action::Clear,
        Action::Promise(mark.epoch),
        Action::Ticket(None),
        Action::Ticket(Some(mark.epoch)),
        Action::Revoke(2),
    ];
    conforms("actions", &codec::encode(&actions));
    conforms("outcomes", &codec::encode(&visit.act(&account, &channel, &actions)));
}

#[test]
fn the_relay() {
    let example = Example::read("relay.md", "relay");
    let (safe, through) = (the_safe(), SafeId(array(&example.input("through"))));
    let deposit = DepositId(array(&example.input("deposit")));
    let entry = safe.identity.entry(1).unwrap();
    let expiry = NOW + CLAIM_SPAN;
    let claim = Claim::make(&secret(3), entry, &deposit, Verb::Retrieve, expiry, &mut rng(1)).unwrap();
    let carried = Carried::Claim(deposit, codec::encode(&claim).into());
    let (parcel, awaiting) = Parcel::make(&carried, expiry, entry, &through, &mut rng(2)).unwrap();
    conforms("parcel", &codec::encode(&parcel));
    conforms("errand", &codec::encode(&Errand { to: safe.id(), parcel: codec::encode(&parcel).into(), most: 1000 }));
    let account = AccountId([5; 32]);
    let others = [Carried::Look(account), Carried::Question(account, vec![1; 1300].into())];
    [&carried].into_iter().chain(&others).for_each(|carried| conforms("carried", &codec::encode(carried)));
    // Opened, and answered, as the text says.
    let info = codec::encode(&(SUITE, "parcel", safe.id(), 1u32, through, expiry));
    conforms("parcel-info", &info);
    example.output("safe", &safe.id().0);
    example.output("info", &info);
    let asked = crypto::Asked { enc: parcel.enc.0.clone(), ciphertext: parcel.ciphertext.0.clone() };
    let heard = safe.keys.hpke.hear(&asked, &info, None).unwrap();
    assert_eq!(heard.question[..], codec::encode(&carried));
    let purpose = Purpose { purpose: "delivery", object: b"", version: 0 };
    let refused = Delivery::Refused("gone".to_owned(), NOW);
    conforms("delivery", &codec::encode(&refused));
    let delivery = Delivery::Body(b"a body".to_vec().into());
    conforms("delivery", &codec::encode(&delivery));
    example.output("delivery", &codec::encode(&delivery));
    let sealed = seal::seal(&heard.answer, &[9; 32], &purpose, &codec::encode(&delivery)).unwrap();
    assert_eq!(awaiting.open(&sealed, 1000).unwrap(), delivery);
    let key = Secret::from_bytes(array(&example.input("answer-key")));
    example.output("sealed", &seal::seal(&key, &[9; 32], &purpose, &codec::encode(&delivery)).unwrap());
}

#[test]
fn a_kit() {
    let example = Example::read("kit.md", "kit");
    let safe = SafeId(array(&example.input("safe")));
    let kit = Kit {
        suite: SUITE,
        name: "alice-7kq4m2".to_owned(),
        secret: Secret::from_bytes(array(&example.input("secret"))),
        generation: 1,
        threshold: 2,
        safes: vec![KitSafe { id: safe, url: "https://safe.example.org".to_owned() }],
        made: 1_800_000_000,
        lease_end: Some(1_860_000_000),
    };
    conforms("kit", &codec::encode(&kit));
    example.output("key", derive_secret(&kit.secret, "kit", &safe.0).expose());
    example.output("key", Counter::Kit(kit.secret.clone()).key_at(&safe).expose());
    example.text("code", &kit.code());
    example.text("text", &kit.to_text());
    assert_eq!(codec::encode(&Kit::parse(&kit.to_text()).unwrap()), codec::encode(&kit));
}

#[test]
fn tokens() {
    let example = Example::read("safe.md", "token");
    let key = Secret::from_bytes(array(&example.input("key")));
    let token = Token::new(the_safe().id(), TokenId([6; 16]), 50_000_000, 500, NOW + 86_400);
    let bytes = codec::encode(&token);
    conforms("token", &bytes);
    example.output("token", &bytes);
    let tag = crypto::mac(&derive_secret(&key, "token", b""), &bytes);
    example.output("tag", &tag);
    let text = codec::encode(&(Bytes(bytes), Bytes(tag.to_vec())));
    conforms("token-text", &text);
    let text = format!("strongroom-token-{}", data_encoding::BASE64URL_NOPAD.encode(&text));
    example.output("text", text.as_bytes());
    assert_eq!(token.mint(&key), text);
}

#[test]
fn seal_format() {
    let example = Example::read("piece.md", "seal");
    let purpose = String::from_utf8(example.input("purpose")).unwrap();
    let (key, object) = (Secret::from_bytes(array(&example.input("key"))), example.input("object"));
    let purpose = Purpose { purpose: &purpose, object: &object, version: 0 };
    conforms("seal-info", &purpose.info());
    example.output("info", &purpose.info());
    let content = example.input("content");
    let sealed = seal::seal(&key, &array(&example.input("salt")), &purpose, &content).unwrap();
    example.output("sealed", &sealed);
    assert_eq!(*seal::open(&key, &purpose, &sealed).unwrap(), content);
}

/// GF(2^16) as the specification writes it down, and Lagrange's formula. Slow and simple.
mod field {
    const BASIS: [u16; 16] = [
        0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72, 0xb900, 0xfdb8, 0xfb34,
        0xff38, 0x991e,
    ];

    fn to_polynomial(element: u16) -> u16 {
        (0..16).filter(|i| element >> i & 1 == 1).fold(0, |sum, i| sum ^ BASIS[i])
    }

    fn times_polynomials(a: u16, b: u16) -> u16 {
        let mut product = 0;
        for bit in (0..16).rev() {
            product = if product & 0x8000 == 0 { product << 1 } else { product << 1 ^ 0x002d };
            if b >> bit & 1 == 1 {
                product ^= a;
            }
        }
        product
    }

    /// An element, kept as the polynomial it stands for.
    #[derive(Clone, Copy, PartialEq)]
    pub struct Element(u16);

    impl Element {
        pub fn of(coordinates: u16) -> Self {
            Self(to_polynomial(coordinates))
        }

        pub fn plus(self, other: Self) -> Self {
            Self(self.0 ^ other.0)
        }

        pub fn times(self, other: Self) -> Self {
            Self(times_polynomials(self.0, other.0))
        }

        pub fn over(self, other: Self) -> Self {
            // a^(2^16 − 2) is the inverse.
            let mut inverse = Self(1);
            let mut power = other;
            for _ in 1..16 {
                power = power.times(power);
                inverse = inverse.times(power);
            }
            self.times(inverse)
        }
    }

    /// The value at `at` of the polynomial through (x, y).
    pub fn through(points: &[(u16, Element)], at: u16) -> Element {
        let mut sum = Element(0);
        for (i, (x, y)) in points.iter().enumerate() {
            let mut term = *y;
            for (j, (other, _)) in points.iter().enumerate() {
                if i != j {
                    let (num, den) = (Element::of(at ^ other), Element::of(x ^ other));
                    term = term.times(num).over(den);
                }
            }
            sum = sum.plus(term);
        }
        sum
    }
}

/// The words of a shard of 64 bytes.
fn words(shard: &[u8]) -> Vec<field::Element> {
    (0..32).map(|w| field::Element::of(u16::from(shard[w]) | u16::from(shard[32 + w]) << 8)).collect()
}

/// Recovery shard `j` by the text of the specification, word by word.
fn recovery_shard(data: &[Vec<field::Element>], r: usize, j: usize) -> Vec<field::Element> {
    let k = data.len();
    let p = |v: usize| v.next_power_of_two();
    let zero = field::Element::of(0);
    (0..32)
        .map(|w| {
            let word = |i: usize| data.get(i).map_or(zero, |shard| shard[w]);
            if p(k) >= p(r) {
                let m = p(r);
                (0..k.div_ceil(m)).fold(zero, |sum, t| {
                    let points: Vec<_> = (0..m).map(|s| ((m * (t + 1) + s) as u16, word(m * t + s))).collect();
                    sum.plus(field::through(&points, j as u16))
                })
            } else {
                let m = p(k);
                let points: Vec<_> = (0..m).map(|s| (s as u16, word(s))).collect();
                field::through(&points, (m + j) as u16)
            }
        })
        .collect()
}

#[test]
fn dispersal() {
    let example = Example::read("piece.md", "dispersal");
    let data = example.input("data");
    let data: Vec<&[u8]> = data.chunks(64).collect();
    example.output("recovery", &crypto::erasure_encode(&data, 5).unwrap().concat());
}

#[test]
fn dispersal_is_the_code_that_is_described() {
    let noise = |i: usize| (0..64).map(|b| (i * 97 + b * 31 + b * b * 7) as u8).collect::<Vec<u8>>();
    for k in 1..=9 {
        for n in k + 1..=12 {
            let data: Vec<Vec<u8>> = (0..k).map(noise).collect();
            let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            let made = crypto::erasure_encode(&slices, n).unwrap();
            let elements: Vec<_> = data.iter().map(|shard| words(shard)).collect();
            for (j, shard) in made.iter().enumerate() {
                assert!(words(shard) == recovery_shard(&elements, n - k, j), "{k} of {n}, recovery shard {j}");
            }
        }
    }
}

#[test]
fn shares() {
    let example = Example::read("piece.md", "shares");
    let secret = secret(0x5ec);
    let made = crypto::make_shares(secret.expose(), 3, 5, &[], &mut rng(11)).unwrap();
    let chosen = [&made[0], &made[2], &made[4]];
    example.output("shares", &chosen.map(|s| s.to_vec()).concat());
    example.output("secret", secret.expose());
    // Lagrange at 0 over GF(2^8), written out.
    let times = |mut a: u8, mut b: u8| {
        let mut product = 0;
        while b != 0 {
            product ^= if b & 1 == 1 { a } else { 0 };
            a = a << 1 ^ if a & 0x80 == 0 { 0 } else { 0x1b };
            b >>= 1;
        }
        product
    };
    let inverse = |a: u8| (1..=255).find(|b| times(a, *b) == 1).unwrap();
    for byte in 0..32 {
        let value = chosen.iter().fold(0, |sum, share| {
            let others = chosen.iter().map(|s| s[0]).filter(|x| *x != share[0]);
            let weight = others.fold(1, |product, x| times(product, times(x, inverse(x ^ share[0]))));
            sum ^ times(weight, share[1 + byte])
        });
        assert_eq!(value, secret.expose()[byte]);
    }
}

struct Backup {
    book: Book,
    bodies: Vec<Vec<u8>>,
    bundle: Vec<u8>,
}

/// One value over three safes, any two of which suffice.
fn the_backup(content: &[u8]) -> Backup {
    let safes: Vec<TestSafe> = (1..=3).map(TestSafe::make).collect();
    let ids: Vec<SafeId> = safes.iter().map(TestSafe::id).collect();
    let plan = Plan::spread(2, &ids).unwrap();
    let values = vec![ValueMeta {
        id: ValueId([0x0a; 16]),
        title: "Seed of the savings wallet".into(),
        kind: "seed".into(),
        file_name: None,
        mime: "text/plain".into(),
        created: NOW,
        length: content.len() as u64,
        unique: None,
        tags: None,
        editions: None,
    }];
    let bundle = [bundle::head(&values), content.to_vec()].concat();
    conforms("bundle-head", &bundle[4..bundle.len() - content.len()]);
    let tagged = ValueMeta { unique: Some(true), tags: Some(vec!["travel".into()]), ..values[0].clone() };
    conforms("bundle-head", &bundle::head(&[tagged])[4..]);
    let changed = ValueMeta { editions: Some(vec![EditionId([1; 8]), EditionId([2; 8])]), ..values[0].clone() };
    conforms("bundle-head", &bundle::head(&[changed])[4..]);
    conforms("plan", &codec::encode(&plan));
    let every = "seal(copies(at(A), disperse(1, book, file)), derive(memory, at(B, owner), split(2, at(C), file)))";
    let every = every.parse::<Plan<String>>().unwrap().bind(&|name| Ok(SafeId([name.as_bytes()[0]; 32]))).unwrap();
    conforms("plan", &codec::encode(&every));
    let backup = BackupId([0xb0; 16]);
    let layout = Layout::new(backup, &plan, bundle.len() as u64, DEFAULT_BODY_LIMIT).unwrap();
    let drafts: Vec<_> = layout
        .slots()
        .into_iter()
        .enumerate()
        .map(|(i, slot)| (slot, DepositId([0xd1 + i as u8; 16]), secret(0xd + i as u64)))
        .collect();
    let given: Vec<Draft<'_>> =
        drafts.iter().map(|(slot, deposit, d)| Draft { slot: *slot, deposit: *deposit, d }).collect();
    let pieces = lay(&layout, &secret(0x0b), None, &bundle, 0).unwrap();
    let bodies = make_bodies(&layout, &secret(0x0b), &pieces, &given);
    let deposits = drafts.iter().zip(&bodies).map(|((slot, deposit, d), body)| {
        let safe = safes.iter().find(|s| s.id() == slot.safe).unwrap();
        let certificate = safe.sign(&safe.statement(*deposit, d, body), Kind::Certificate).into();
        BookDeposit {
            id: *deposit,
            safe: slot.safe,
            segment: 0,
            d: d.clone(),
            certificate,
            owner: slot.owner.then_some(true),
        }
    });
    let entry = BookEntry {
        backup,
        values,
        plan,
        bundle: bundle.len() as u64,
        segment_len: layout.segment_len(),
        finished: NOW + 200,
        deposits: deposits.collect(),
        pieces: Vec::new(),
    };
    let known = safes.iter().enumerate().map(|(i, safe)| KnownSafe {
        id: safe.id(),
        nickname: format!("safe-{}", i + 1),
        name: "Example".into(),
        url: URL.into(),
        identity: safe.keys.identity.verifying_key().to_compressed().to_vec().into(),
        chain: safe.keys.chain.clone(),
        limit_body: DEFAULT_BODY_LIMIT,
        token: None,
        whereabouts: None,
    });
    let book = Book { suite: SUITE, written: NOW + 300, safes: known.collect(), entries: vec![entry] };
    Backup { book, bodies, bundle }
}

#[test]
fn envelope() {
    let example = Example::read("piece.md", "envelope");
    let content = Example::read("recovery.md", "recovery").input("content");
    let backup = the_backup(&content);
    example.output("body", &backup.bodies[0]);
    let d = Secret::from_bytes(array(&example.input("d")));
    let deposit = DepositId(array(&example.input("deposit")));
    let envelope = Envelope::open(&d, &deposit, &backup.bodies[0]).unwrap();
    let head = codec::encode(&envelope.head);
    conforms("envelope-head", &head);
    example.output("head", &head);
    assert!(envelope.piece(&[0, 0]).is_some() && envelope.piece(&[1, 0]).is_some());
}

#[test]
fn recovery() {
    let example = Example::read("recovery.md", "recovery");
    let content = example.input("content");
    let passphrase = String::from_utf8(example.input("passphrase")).unwrap();
    let Backup { book, bodies, bundle } = the_backup(&content);
    let file = write_book(&book, &passphrase, &mut rng(5));
    conforms("certificate-file", &file);
    conforms("book", &codec::encode(&book));
    let said = Whereabouts { region: Some("EU".into()), ..Whereabouts::default() };
    conforms("known-safe", &codec::encode(&KnownSafe { whereabouts: Some(said), ..book.safes[0].clone() }));
    example.output("file", &file);
    for (i, body) in bodies.iter().enumerate() {
        example.output(&format!("body-{i}"), body);
    }

    // And back, from nothing but the file and two bodies, by the steps of the text.
    let read = read_book(&file, &passphrase).unwrap();
    let entry = &read.entries[0];
    let layout = entry.layout().unwrap();
    for pair in [[0, 1], [0, 2], [1, 2]] {
        let envelopes = pair.map(|i| {
            let deposit = &entry.deposits[i];
            let certified = certificate::read_unverified(&deposit.certificate).unwrap();
            assert_eq!((certified.length, certified.root), (bodies[i].len() as u64, Root(blake3(&bodies[i]))));
            let slot = deposit.slot();
            (slot, Envelope::open(&deposit.d, &deposit.id, &bodies[i]).unwrap())
        });
        let opened = gather(&layout, None, &[], &envelopes).unwrap();
        assert_eq!(opened, bundle);
        assert_eq!(bundle::parse(&opened).unwrap()[0].1, content);
    }
}
