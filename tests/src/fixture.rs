//! Safes, plans and statements with fixed keys, and the reader of vector files.

use std::{collections::BTreeMap, path::Path, sync::Mutex};

use protocol::{
    book::{Book, BookError, read_file, write_file},
    bundle::{self, ValueMeta},
    certificate::registration_of,
    cose::Kind,
    crypto::{PassphraseCost, Secret, expand_seed},
    deposit::{DepositSecrets, FaceText, Statement},
    envelope::Envelope,
    identity::{Identity, SafeKeys},
    ids::{DepositId, Root, SafeId, Seconds, ValueId},
    layout::{Draft, GatherError, Layout, Slot},
    passphrase::Stretch,
    plan::PlanError,
    program::Piece,
};
use rand_core::{CryptoRng, Rng};
use zeroize::Zeroizing;

/// Where the vector files stand.
pub const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
/// The time at which fixed safes begin: 2025-01-01T00:00:00Z.
pub const NOW: Seconds = 1_735_689_600;
/// Where fixed safes stand.
pub const URL: &str = "https://safe.example";

/// The claims of the mission as plans: (vector file, text). Coupling (10) is any of them with several values.
pub const CLAIMS: [(&str, &str); 16] = [
    ("claim_1.txt", "at(A)"),
    ("claim_3.txt", "copies(at(A), at(B))"),
    ("claim_4.txt", "seal(at(A), book)"),
    ("claim_5.txt", "seal(at(A), copies(book, at(A)))"),
    ("claim_6.txt", "seal(at(A), at(B))"),
    ("claim_7_all.txt", "split(3, at(A), at(B), at(C))"),
    ("claim_7_some.txt", "split(2, at(A), at(B), at(C))"),
    ("claim_7_pieces.txt", "disperse(2, at(A), at(B), at(C))"),
    ("claim_7_kept.txt", "split(2, at(A), at(B), file)"),
    ("claim_8.txt", "split(2, seal(at(A), book), seal(at(B), book), seal(at(C), book))"),
    ("claim_9.txt", "seal(disperse(2, at(A), at(B), at(C)), book)"),
    ("claim_11.txt", "seal(at(A), split(2, at(A), at(B)))"),
    ("claim_12_words.txt", "seal(at(A), derive(memory, at(B)))"),
    ("claim_12_file.txt", "seal(at(A), derive(file, at(B)))"),
    ("claim_13.txt", "seal(at(A), derive(book, at(B)))"),
    (
        "claim_spread.txt",
        "seal(disperse(3, at(A), at(B), at(C), at(D), at(E)), split(3, at(A), at(B), at(C), at(D), at(E)))",
    ),
];

/// The safe that a letter stands for.
///
/// # Errors
/// None; the type is that of looking a name up.
pub fn letter(name: &String) -> Result<SafeId, PlanError> {
    Ok(SafeId([name.as_bytes()[0] | 0x20; 32]))
}

/// A reproducible stream of random bytes.
pub fn rng(seed: u64) -> impl CryptoRng {
    expand_seed(&secret(seed))
}

/// Reproducible random bytes.
pub fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng(seed).fill_bytes(&mut bytes);
    bytes
}

/// A reproducible secret.
pub fn secret(seed: u64) -> Secret {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Secret::from_bytes(bytes)
}

/// Lower-case hex.
pub fn hex_of(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// What the owner's device makes of a passphrase, or of the safes' answers to it. The same ones come again and again where a test goes
/// through every place at which something can stop, and are not waited for twice.
pub fn stretched(stretch: &Stretch, guessed: &[u8]) -> Secret {
    static KNOWN: Mutex<BTreeMap<Vec<u8>, Secret>> = Mutex::new(BTreeMap::new());
    let PassphraseCost { memory_kib, passes, lanes } = stretch.cost;
    let cost = [memory_kib, passes, lanes].map(u32::to_be_bytes).concat();
    let of = [&stretch.salt[..], &cost, guessed].concat();
    if let Some(key) = KNOWN.lock().unwrap().get(&of) {
        return key.clone();
    }
    let key = stretch.derive_key_of(guessed).unwrap();
    KNOWN.lock().unwrap().insert(of, key.clone());
    key
}

/// A certificate file under a passphrase that is cheap to guess.
pub fn write_book<R: CryptoRng>(book: &Book, passphrase: &str, rng: &mut R) -> Vec<u8> {
    let stretch = Stretch::make_random(PassphraseCost::LEAST, rng);
    write_file(book, &stretch, &stretched(&stretch, passphrase.as_bytes()), rng).unwrap()
}

/// What a certificate file holds.
///
/// # Errors
/// [`BookError`].
pub fn read_book(file: &[u8], passphrase: &str) -> Result<Book, BookError> {
    let sealed = read_file(file)?;
    sealed.open(&stretched(&sealed.stretch, passphrase.as_bytes()))
}

/// A vector file: header lines `name: text` (equal names are joined by a space), an empty line, and the bytes in hex.
pub fn vector_file(name: &str) -> (BTreeMap<String, String>, Vec<u8>) {
    let path = Path::new(VECTORS).join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (head, body) = text.split_once("\n\n").unwrap_or_else(|| panic!("{name}: no empty line"));
    let mut fields = BTreeMap::<String, String>::new();
    for line in head.lines() {
        let (field, value) = line.split_once(':').unwrap_or_else(|| panic!("{name}: {line}"));
        let entry = fields.entry(field.to_owned()).or_default();
        if !entry.is_empty() {
            entry.push(' ');
        }
        entry.push_str(value.trim());
    }
    let hex: String = body.split_whitespace().collect();
    let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
    (fields, bytes)
}

/// Checks bytes against their vector file, header and all, and returns what the file holds. With `STRONGROOM_BLESS=1` it
/// writes the file first: to pin a new format, or a change that is meant. The diff of the file is the diff of the format.
pub fn pinned(name: &str, fields: &[(&str, &str)], bytes: &[u8]) -> Vec<u8> {
    let path = Path::new(VECTORS).join(name);
    let mut text: String = fields.iter().map(|(field, value)| format!("{field}: {value}\n")).collect();
    for line in bytes.chunks(32) {
        text.push('\n');
        text.push_str(&hex_of(line));
    }
    text.push('\n');
    if std::env::var("STRONGROOM_BLESS").is_ok_and(|v| v == "1") {
        std::fs::write(&path, &text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let (_, stored) = vector_file(name);
    let differs = stored.iter().zip(bytes).position(|(a, b)| a != b).unwrap_or(stored.len().min(bytes.len()));
    assert!(
        stored == bytes,
        "{name}: stored {} bytes, made {}, alike up to byte {differs}; if the change is meant, STRONGROOM_BLESS=1 writes it",
        stored.len(),
        bytes.len()
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{name}: the header is another one");
    stored
}

/// A safe with all its keys.
pub struct TestSafe {
    /// Its keys.
    pub keys: SafeKeys,
    /// Its checked chain.
    pub identity: Identity,
}

impl TestSafe {
    /// Safe number `seed`, from [`NOW`] on.
    pub fn make(seed: u64) -> Self {
        let keys = SafeKeys::make_random(&mut rng(0x5afe_0000 + seed), NOW).unwrap();
        let identity = Identity::verify(&keys.identity.verifying_key().to_compressed(), &keys.chain).unwrap();
        Self { keys, identity }
    }

    /// Its id.
    pub fn id(&self) -> SafeId {
        self.identity.id()
    }

    /// What a wallet would state about a body.
    pub fn statement(&self, deposit: DepositId, d: &Secret, body: &[u8]) -> Statement {
        let face = protocol::deposit::Face::seal(&face_text(), d, &deposit, &mut rng(7)).unwrap();
        let root = Root(protocol::crypto::blake3(body));
        Statement::new(self.id(), deposit, body.len() as u64, root, face, &DepositSecrets::derive(d))
    }

    /// The offer or certificate for a statement.
    pub fn sign(&self, statement: &Statement, kind: Kind) -> Vec<u8> {
        let confirm_by = (kind == Kind::Offer).then_some(NOW + 700);
        registration_of(statement, URL, 1, NOW + 100, NOW + 100 + statement.lease, confirm_by)
            .sign(&self.keys.signing, kind)
    }
}

/// The face of fixed statements.
pub fn face_text() -> FaceText {
    FaceText {
        title: "Grüße aus dem Schließfach".into(),
        kind: "note".into(),
        date: NOW,
        hint: Some("blue box".into()),
    }
}

/// A bundle of values with given contents.
pub fn make_bundle(contents: &[&[u8]]) -> (Vec<ValueMeta>, Vec<u8>) {
    let meta = |(i, content): (usize, &&[u8])| ValueMeta {
        id: ValueId([i as u8; 16]),
        title: format!("value {i}"),
        kind: "file".into(),
        file_name: (i % 2 == 1).then(|| format!("{i}.txt")),
        mime: "text/plain".into(),
        created: NOW,
        length: content.len() as u64,
        unique: None,
        tags: None,
        editions: None,
    };
    let values: Vec<ValueMeta> = contents.iter().enumerate().map(meta).collect();
    let bytes = [bundle::head(&values), contents.concat()].concat();
    (values, bytes)
}

/// The pieces of a segment of a bundle.
///
/// # Errors
/// [`GatherError`].
pub fn lay(
    layout: &Layout,
    seed: &Secret,
    words: Option<&Secret>,
    bundle: &[u8],
    segment: u32,
) -> Result<Vec<Piece>, GatherError> {
    let (from, to) = layout.range(segment).ok_or(GatherError::Stray)?;
    layout.lay(seed, words, segment, Zeroizing::new(bundle[from as usize..bundle.len().min(to as usize)].to_vec()))
}

/// The bodies of some drafts of a segment.
pub fn make_bodies(layout: &Layout, seed: &Secret, pieces: &[Piece], drafts: &[Draft<'_>]) -> Vec<Vec<u8>> {
    drafts.iter().map(|draft| layout.envelope(seed, draft, pieces).unwrap().seal().unwrap()).collect()
}

/// The bundle, from what safes gave and what the owner kept.
///
/// # Errors
/// [`GatherError`].
pub fn gather(
    layout: &Layout,
    words: Option<&Secret>,
    kept: &[Piece],
    envelopes: &[(Slot, Envelope)],
) -> Result<Vec<u8>, GatherError> {
    let mut pieces = kept.to_vec();
    for (slot, envelope) in envelopes {
        pieces.extend(layout.unpack(*slot, envelope)?);
    }
    let (mut bundle, mut keys) = (Vec::new(), Vec::new());
    for segment in 0..layout.segments() {
        let (bytes, learned) = layout.gather(words, &keys, segment, pieces.clone())?;
        bundle.extend_from_slice(&bytes);
        keys.extend(learned);
    }
    Ok(bundle)
}

/// Randomness that is a list of given scalars.
pub struct Scalars(pub Vec<[u8; 32]>);

impl rand_core::TryRng for Scalars {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("scalars are drawn whole")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("scalars are drawn whole")
    }

    /// 64 bytes, little-endian, are reduced: below the order they stay.
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        assert_eq!(out.len(), 64);
        out[..32].copy_from_slice(&self.0.remove(0));
        out[32..].fill(0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Scalars {}
