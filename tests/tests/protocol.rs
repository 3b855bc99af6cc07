//! Laws of the formats: what goes in comes out, and nothing else goes in. They hold for all inputs, so inputs are drawn.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use minicbor::{Decode, Encode};
use proptest::prelude::*;
use protocol::{
    SUITE,
    book::{Book, BookDeposit, BookEntry, BookError, KnownSafe},
    bundle::{self, Lineage, MAX_BUNDLE_LEN, MAX_EDITIONS, MAX_VALUE_LEN, ValueMeta},
    certificate::{
        self, CertificateError, Offered, Registration, Release, registration_of, sign_receipt, verify_receipt,
    },
    claim::{Claim, Confirm, Verb},
    codec::{self, Bytes, CodecError},
    cose::Kind,
    crypto::*,
    deposit::*,
    envelope::{Envelope, Head, MAX_HEAD_LEN, PieceHead, Unsealed, body_len},
    identity::{Admission, Descriptor, Entry, Identity, IdentityError, MAX_DESCRIPTOR_LEN, MAX_ENTRIES, sign_entry},
    ids::*,
    layout::{Layout, MAX_SEGMENT, SEGMENT_UNIT, Slot},
    padme::{FLOOR, padded_len},
    passphrase::{self, PassphraseError},
    plan::{Place, Plan, PlanError},
    problem::{ALL, Problem},
    seal::{self, CHUNK, HEADER, Purpose, SEALED_CHUNK, Sealer, content_len, sealed_len},
};
use safe_worker::{machine, memory::LIMITS, record::Record};
use tests::fixture::{NOW, TestSafe, URL, face_text, make_bundle, random_bytes, read_book, rng, secret, write_book};
use unicode_normalization::UnicodeNormalization;
use wallet_wasm::state::Row;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn flip(bytes: &[u8], at: usize, bit: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << (bit % 8);
    bytes
}

// ---- one thing, one encoding ---------------------------------------------------------------------------------------

/// A format: an example, and what decodes and encodes again.
struct Format {
    name: &'static str,
    example: Vec<u8>,
    again: fn(&[u8]) -> Result<Vec<u8>, CodecError>,
}

fn again<T: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    codec::decode::<T>(bytes, 1 << 20).map(|value| codec::encode(&value))
}

fn format_of<T: Encode<()> + for<'b> Decode<'b, ()>>(name: &'static str, value: &T) -> Format {
    Format { name, example: codec::encode(value), again: again::<T> }
}

fn formats() -> Vec<Format> {
    let safe = TestSafe::make(1);
    let (deposit, d) = (DepositId([4; 16]), secret(4));
    let statement = safe.statement(deposit, &d, b"body");
    let entry = safe.identity.entry(1).unwrap();
    let registration = registration_of(&statement, URL, 1, NOW, NOW + 9, Some(NOW + 5));
    let descriptor = Descriptor {
        suite: SUITE,
        api: 1,
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
    let claim = Claim::make(&secret(5), entry, &deposit, Verb::Retrieve, NOW + 60, &mut rng(5)).unwrap();
    let release = Release {
        suite: SUITE,
        safe: safe.id(),
        entry: 1,
        deposit,
        root: statement.root,
        issued: NOW,
        release: secret(6),
    };
    let piece = PieceHead { path: vec![0, 1].into(), length: 7, parents: vec![Root([8; 32])] };
    let head = Head::new(BackupId([1; 16]), Root([2; 32]), 0, 10, 1000, vec![piece]);
    let (book, _) = small_book(1);
    let mut record = Record::new(statement.clone());
    record.attempts.push(safe_worker::record::Attempt { id: AttemptId([3; 16]), until: NOW });
    record.release = Some(secret(3));
    record.seen.push(safe_worker::record::Seen { nonce: Nonce([9; 16]), expiry: NOW });
    vec![
        format_of("descriptor", &descriptor),
        format_of("entry", entry),
        format_of("statement", &statement),
        format_of("clear face", &Face::Clear(face_text())),
        format_of("registration", &registration),
        format_of("release", &release),
        format_of("claim", &claim),
        format_of("confirm", &Confirm { suite: SUITE, offer: Root([1; 32]) }),
        format_of("head", &head),
        format_of("plan", &book.entries[0].plan),
        format_of("value", &book.entries[0].values[0]),
        format_of("book", &book),
        format_of("cost", &PassphraseCost::STANDARD),
        format_of("record", &record),
        format_of("ledger request", &machine::Request::Claim(claim)),
        format_of("ledger reply", &machine::Reply::Refused(Problem::Gone)),
        format_of("row", &Row::Safe(Box::new(book.safes[0].clone()))),
    ]
}

/// What `bytes` decode to encodes to `bytes`, or they are refused.
fn assert_one_encoding(format: &Format, bytes: &[u8]) {
    if let Ok(again) = (format.again)(bytes) {
        assert_eq!(again, bytes, "{}", format.name);
    }
}

#[test]
fn every_format_refuses_what_it_would_not_write() {
    for format in formats() {
        let example = &format.example;
        assert_eq!((format.again)(example).as_ref(), Ok(example), "{}", format.name);
        for at in 0..example.len() {
            (0..8).for_each(|bit| assert_one_encoding(&format, &flip(example, at, bit)));
            assert!((format.again)(&example[..at]).is_err(), "{} cut to {at}", format.name);
            let longer = [&example[..at], &[0], &example[at..]].concat();
            assert_one_encoding(&format, &longer);
            // Where this is the head of an item, the same number in a longer form (RFC 8949 §4.2.1 wants the shortest).
            if example[at] & 0x1f < 24 {
                let (kind, number) = (example[at] & 0xe0, example[at] & 0x1f);
                let wide = [&example[..at], &[kind | 24, number], &example[at + 1..]].concat();
                assert_one_encoding(&format, &wide);
                // And an indefinite length, closed at the end.
                let open = [&example[..at], &[kind | 31], &example[at + 1..], &[0xff]].concat();
                assert_one_encoding(&format, &open);
            }
        }
        for more in 0..=u8::MAX {
            let longer = [&example[..], &[more]].concat();
            assert!((format.again)(&longer).is_err(), "{} and {more:#x}", format.name);
        }
        // Lengths that promise more than there is must not be believed.
        for kind in [0x40, 0x60, 0x80, 0xa0] {
            let head = [&[kind | 27][..], &u64::MAX.to_be_bytes()].concat();
            assert!((format.again)(&head).is_err(), "{}", format.name);
            assert!((format.again)(&[&example[..1], &head].concat()).is_err(), "{}", format.name);
        }
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn no_format_takes_noise(noise in prop::collection::vec(any::<u8>(), 0..64), number in 0..17usize) {
        thread_local!(static FORMATS: Vec<Format> = formats());
        FORMATS.with(|formats| assert_one_encoding(&formats[number], &noise));
    }
}

#[test]
fn another_suite_is_named_and_refused() {
    let safe = TestSafe::make(1);
    let (deposit, d) = (DepositId([4; 16]), secret(4));
    let statement = Statement { suite: 2, ..safe.statement(deposit, &d, b"body") };
    let parsed = Statement::parse(&codec::encode(&statement), &safe.id(), &deposit);
    assert_eq!(parsed, Err(CodecError::UnknownSuite(2)));
    let entry = safe.identity.entry(1).unwrap();
    let claim = Claim::make(&d, entry, &deposit, Verb::Retrieve, NOW, &mut rng(1)).unwrap();
    assert_eq!(Claim::parse(&codec::encode(&Claim { suite: 0, ..claim })), Err(CodecError::UnknownSuite(0)));
    let mut record = Record::new(statement);
    record.suite = 7;
    assert_eq!(Record::parse(&record.encode()).err(), Some(CodecError::UnknownSuite(7)));
    let registration = registration_of(&safe.statement(deposit, &d, b"body"), URL, 1, NOW, NOW + 9, None);
    let signed = Registration { suite: 2, ..registration }.sign(&safe.keys.signing, Kind::Certificate);
    assert!(certificate::verify(&signed, &safe.identity, None).is_err());
}

#[test]
fn a_statement_counts_for_its_safe_and_deposit_only() {
    let safe = TestSafe::make(1);
    let deposit = DepositId([4; 16]);
    let statement = safe.statement(deposit, &secret(4), b"body");
    let bytes = codec::encode(&statement);
    assert_eq!(Statement::parse(&bytes, &safe.id(), &deposit), Ok(statement.clone()));
    assert!(Statement::parse(&bytes, &SafeId([0; 32]), &deposit).is_err());
    assert!(Statement::parse(&bytes, &safe.id(), &DepositId([5; 16])).is_err());
    let long = Statement { face: Face::Sealed(vec![0; MAX_FACE_LEN].into()), ..statement };
    assert!(matches!(Statement::parse(&codec::encode(&long), &safe.id(), &deposit), Err(CodecError::TooLong { .. })));
}

// ---- ids and problems ----------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn ids_have_one_text(id: [u8; 16], root: [u8; 32], at in 0..200usize, other in any::<char>()) {
        prop_assert_eq!(DepositId(id).to_string().parse(), Ok(DepositId(id)));
        prop_assert_eq!(Root(root).to_string().parse(), Ok(Root(root)));
        prop_assert_eq!(SafeId(root).to_string().parse(), Ok(SafeId(root)));
        let text = Root(root).to_string();
        prop_assert!(text.parse::<DepositId>().is_err() && text[1..].parse::<Root>().is_err());
        for wrapped in [format!("{text} "), format!("0x{text}"), format!("{text}00")] {
            prop_assert!(wrapped.parse::<Root>().is_err());
        }
        if text.bytes().any(|b| b.is_ascii_lowercase()) {
            prop_assert!(text.to_uppercase().parse::<Root>().is_err());
        }
        // One wrong character in a safe's id is always noticed; capitals all through are the same id (BIP 350).
        let text = SafeId(root).to_string();
        let mut chars: Vec<char> = text.chars().collect();
        let at = at % chars.len();
        chars[at] = other;
        let typed: String = chars.into_iter().collect();
        prop_assert_eq!(typed.parse::<SafeId>().is_ok(), typed == text);
        prop_assert_eq!(text.to_uppercase().parse(), Ok(SafeId(root)));
    }
}

#[test]
fn problems_are_told_apart_by_their_type() {
    for problem in ALL {
        assert_eq!(Problem::from_type_uri(&problem.type_uri()), Some(problem));
        assert!((400..600).contains(&problem.status()), "{problem:?}");
        assert!(!problem.title().is_empty() && !problem.next().is_empty());
    }
    assert_eq!(Problem::from_type_uri("about:blank"), None);
}

// ---- passphrases ---------------------------------------------------------------------------------------------------

fn nfc(text: &str) -> String {
    text.nfc().collect()
}

fn normalise(typed: &str) -> Result<String, PassphraseError> {
    passphrase::normalise(typed, nfc).map(|text| text.to_string())
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_passphrase_has_one_spelling(typed in "\\PC{0,40}") {
        let Ok(once) = normalise(&typed) else { return Ok(()) };
        prop_assert_eq!(normalise(&once).unwrap(), once.clone());
        let decomposed: String = typed.nfd().collect();
        prop_assert_eq!(normalise(&decomposed).unwrap(), once.clone());
        prop_assert_eq!(normalise(&nfc(&typed)).unwrap(), once);
    }
}

#[test]
fn what_a_person_types_is_told_apart_where_it_differs() {
    let same = |a: &str, b: &str| normalise(a).unwrap() == normalise(b).unwrap();
    assert!(same("caf\u{e9} cr\u{e8}me", "cafe\u{301} cre\u{300}me"));
    assert!(same("a\u{a0}b\u{3000}c", "a b c"));
    assert!(!same("Cafe", "cafe"));
    // Compatibility forms stay apart: RFC 8265 §4.2.2 maps no width and uses form C.
    assert!(!same("\u{ff21}", "A") && !same("\u{fb01}", "fi"));
    for control in ["a\nb", "a\tb", "\0", "a\u{7f}", "a\u{85}b"] {
        assert_eq!(normalise(control).err(), Some(PassphraseError::Control), "{control:?}");
    }
    assert_eq!(normalise(&"x".repeat(passphrase::MAX_LEN + 1)).err(), Some(PassphraseError::TooLong));
    assert!(normalise(&"x".repeat(passphrase::MAX_LEN)).is_ok());
    assert_eq!(normalise("").err(), Some(PassphraseError::TooShort(0)));
    assert_eq!(passphrase::check_new("elf letters", nfc).err(), Some(PassphraseError::TooShort(11)));
    // Characters are counted after composition.
    assert!(passphrase::check_new("e\u{301}leven chars", nfc).is_ok());
    assert_eq!(passphrase::check_new("e\u{301}leven char", nfc).err(), Some(PassphraseError::TooShort(11)));
}

// ---- padding -------------------------------------------------------------------------------------------------------

/// The paper's own words: E = ⌊log2 L⌋, S = ⌊log2 E⌋ + 1, the last E − S bits are 0, rounded up.
fn slow_padme(len: u64) -> u64 {
    let log2 = |v: u64| (0..64).take_while(|i| v >> i > 1).count() as u32;
    let (e, s) = (log2(len), log2(u64::from(log2(len))) + 1);
    let unit = 1 << (e - s);
    len.div_ceil(unit) * unit
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn padding_follows_padme_and_costs_little(bits in 11u32..50, low: u64) {
        let len = (1 << bits) | (low % (1 << bits));
        let padded = padded_len(len);
        prop_assert_eq!(padded, slow_padme(len));
        prop_assert!(padded >= len && padded_len(padded) == padded);
        prop_assert!((padded - len) * 100 <= len * 12, "{} to {}", len, padded);
        prop_assert!(padded_len(len - 1) <= padded && padded <= padded_len(len + 1));
    }
}

#[test]
fn short_lengths_all_look_alike() {
    assert!((0..=FLOOR).all(|len| padded_len(len) == FLOOR));
    assert_eq!(padded_len(FLOOR + 1), slow_padme(FLOOR + 1));
}

// ---- seal ----------------------------------------------------------------------------------------------------------

const PURPOSE: Purpose<'static> = Purpose { purpose: "content", object: b"object", version: 5 };

fn open_some(sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    seal::open(&secret(1), &PURPOSE, sealed).map(|content| content.to_vec())
}

fn seal_some(content: &[u8]) -> Vec<u8> {
    seal::seal(&secret(1), &[9; 32], &PURPOSE, content).unwrap()
}

#[test]
fn sealed_content_comes_back_around_every_border() {
    let borders = [0, 1, 15, 16, 17, CHUNK, 2 * CHUNK, 3 * CHUNK];
    for len in borders.into_iter().flat_map(|b| b.saturating_sub(2)..=b + 2) {
        let content = random_bytes(len, len as u64);
        let sealed = seal_some(&content);
        assert_eq!(sealed.len() as u64, sealed_len(len as u64));
        assert_eq!(content_len(sealed.len() as u64), Some(len as u64));
        assert!(open_some(&sealed).unwrap() == content, "{len}");
        let cut = [0, 1, HEADER - 1, HEADER, HEADER + 15, sealed.len() - 17, sealed.len() - 16, sealed.len() - 1];
        let chunk_ends = (0..3).map(|i| HEADER + i * SEALED_CHUNK);
        for to in cut.into_iter().chain(chunk_ends).filter(|to| *to < sealed.len()) {
            assert!(open_some(&sealed[..to]).is_err(), "{len} cut to {to}");
        }
        for more in [1, 16, 17, SEALED_CHUNK] {
            let longer = [&sealed[..], &vec![0; more]].concat();
            assert!(open_some(&longer).is_err(), "{len} and {more}");
        }
    }
}

#[test]
fn any_flipped_bit_of_a_sealed_object_is_refused() {
    for len in [0, 1, 33] {
        let sealed = seal_some(&random_bytes(len, 3));
        for at in 0..sealed.len() {
            assert!((0..8).all(|bit| open_some(&flip(&sealed, at, bit)).is_err()), "{len} at {at}");
        }
    }
}

#[test]
fn chunks_cannot_be_moved() {
    // Equal chunks, so that only their place tells them apart.
    let sealed = seal_some(&vec![7; 3 * CHUNK]);
    let chunk = |i: usize| &sealed[HEADER + i * SEALED_CHUNK..HEADER + (i + 1) * SEALED_CHUNK];
    let header = &sealed[..HEADER];
    assert!(open_some(&[header, chunk(0), chunk(1), chunk(2)].concat()).is_ok());
    for order in [[1, 0, 2], [0, 2, 1], [2, 1, 0], [0, 0, 2], [1, 1, 2], [0, 1, 1]] {
        assert!(open_some(&[header, chunk(order[0]), chunk(order[1]), chunk(order[2])].concat()).is_err(), "{order:?}");
    }
    assert!(open_some(&[header, chunk(0), chunk(1)].concat()).is_err());
    assert!(open_some(&[header, chunk(0), chunk(2)].concat()).is_err());
    assert!(open_some(&[header, chunk(2)].concat()).is_err());
    assert!(open_some(&[header, chunk(0), chunk(1), chunk(2), chunk(2)].concat()).is_err());
    // Another object's chunk in the same place.
    let other = seal::seal(&secret(1), &[8; 32], &PURPOSE, &vec![7; 3 * CHUNK]).unwrap();
    assert!(open_some(&[header, chunk(0), &other[HEADER + SEALED_CHUNK..]].concat()).is_err());
}

#[test]
fn what_was_sealed_for_one_purpose_opens_for_no_other() {
    let sealed = seal_some(b"content");
    assert!(seal::open(&secret(2), &PURPOSE, &sealed).is_err());
    for purpose in [
        Purpose { purpose: "conten", ..PURPOSE },
        Purpose { object: b"objec", ..PURPOSE },
        Purpose { object: b"tobject", purpose: "conten", ..PURPOSE },
        Purpose { version: 4, ..PURPOSE },
    ] {
        assert!(seal::open(&secret(1), &purpose, &sealed).is_err(), "{purpose:?}");
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn any_division_into_ranges_seals_the_same_bytes(
        len in 0..3 * CHUNK,
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let content = random_bytes(len, 1);
        let whole = seal_some(&content);
        let sealer = Sealer::new(&secret(1), &[9; 32], &PURPOSE).unwrap();
        let mut at: Vec<u64> = cuts.drain(..).map(|cut| cut.index(whole.len() + 1) as u64).collect();
        at.extend([0, whole.len() as u64]);
        at.sort_unstable();
        let mut parts = Vec::new();
        for pair in at.windows(2) {
            sealer.seal_range(&content, pair[0], pair[1], &mut parts).unwrap();
        }
        prop_assert!(parts == whole);
        prop_assert!(sealer.seal_range(&content, 0, whole.len() as u64 + 1, &mut parts).is_err());
        prop_assert!(sealer.seal_range(&content, 1, 0, &mut parts).is_err());
        // Chunk by chunk in reverse, as a pool of workers may do it.
        let mut chunks: Vec<_> = seal::chunks(len).unwrap().collect();
        let mut places = vec![0; whole.len()];
        places[..HEADER].copy_from_slice(sealer.header());
        for chunk in chunks.drain(..).rev() {
            let mut sealed = Vec::new();
            sealer.seal_chunk(&chunk, &content[chunk.content.clone()], &mut sealed).unwrap();
            places[chunk.sealed.clone()].copy_from_slice(&sealed);
        }
        prop_assert!(places == whole);
    }

    #[test]
    fn any_flipped_bit_of_long_content_is_refused(at: prop::sample::Index, bit: u8) {
        thread_local!(static SEALED: Vec<u8> = seal_some(&random_bytes(2 * CHUNK + 100, 1)));
        let altered = SEALED.with(|sealed| flip(sealed, at.index(sealed.len()), bit));
        prop_assert!(open_some(&altered).is_err());
    }
}

proptest! {
    #[test]
    fn lengths_of_content_and_sealed_form_are_inverse(len in 0u64..1 << 40, sealed in 0u64..1 << 22) {
        prop_assert_eq!(content_len(sealed_len(len)), Some(len));
        if let Some(len) = content_len(sealed) {
            prop_assert_eq!(sealed_len(len), sealed);
        }
    }
}

// ---- bundles -------------------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_bundle_comes_apart_as_it_was_put_together(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..5),
    ) {
        let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
        let (values, bytes) = make_bundle(&contents);
        prop_assert_eq!(bytes.len() as u64, bundle::length(&values));
        let parsed = bundle::parse(&bytes).unwrap();
        let expected: Vec<(ValueMeta, &[u8])> = values.iter().cloned().zip(contents).collect();
        prop_assert_eq!(parsed, expected);
        let start = bundle::head(&values).len();
        for to in 0..bytes.len() {
            prop_assert!(bundle::parse(&bytes[..to]).is_err());
            prop_assert_eq!(bundle::parse_head(&bytes[..to]).unwrap().is_some(), to >= start);
        }
        prop_assert!(bundle::parse(&[&bytes[..], &[0]].concat()).is_err());
    }

    /// Every content is made of one that was there before, by whoever has that one.
    #[test]
    fn which_content_was_made_of_which_is_known_and_never_taken_for_the_same(
        made_of in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
    ) {
        let mut all = make_bundle(&[b"first"]).0;
        let mut before: Vec<Vec<usize>> = vec![Vec::new()];
        for (number, parent) in made_of.iter().enumerate() {
            let parent = parent.index(all.len());
            let editions = Some(all[parent].editions_with(EditionId([number as u8; 8])));
            all.push(ValueMeta { editions, ..all[parent].clone() });
            before.push([&before[parent][..], &[parent]].concat());
        }
        for (a, this) in all.iter().enumerate() {
            prop_assert!(this.check().is_ok());
            for (b, other) in all.iter().enumerate() {
                let apart = |more: usize, less: usize| {
                    let at = before[more].iter().position(|one| *one == less);
                    at.map(|at| before[more].len() - at)
                };
                // The first one is never forgotten.
                let near = |steps: usize, less: usize| less == 0 || steps < MAX_EDITIONS;
                let expected = match (apart(a, b), apart(b, a)) {
                    _ if a == b => Lineage::Same,
                    (Some(steps), _) if near(steps, b) => Lineage::Later,
                    (_, Some(steps)) if near(steps, a) => Lineage::Earlier,
                    _ => Lineage::Apart,
                };
                prop_assert_eq!(this.lineage(other), expected, "{} and {}", a, b);
            }
        }
    }
}

#[test]
fn editions_that_are_none_too_many_or_twice_the_same_are_refused() {
    let edition = |number: u8| EditionId([number; 8]);
    let with = |editions: Vec<EditionId>| ValueMeta { editions: Some(editions), ..make_bundle(&[b"x"]).0[0].clone() };
    assert!(with((0..16).map(edition).collect()).check().is_ok());
    for wrong in [Vec::new(), vec![edition(1), edition(1)], (0..17).map(edition).collect()] {
        assert!(with(wrong).check().is_err());
    }
}

// ---- envelopes -----------------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn an_envelope_gives_its_pieces_back(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..5),
        at: prop::sample::Index,
        bit: u8,
    ) {
        let (deposit, d) = (DepositId([4; 16]), secret(4));
        let heads = pieces.iter().enumerate().map(|(i, piece)| PieceHead {
            path: vec![0, i as u8].into(),
            length: piece.len() as u32,
            parents: vec![Root([i as u8; 32]); i],
        });
        let head = Head::new(BackupId([1; 16]), Root([2; 32]), 3, 10, 1000, heads.collect());
        let bytes: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let body = Unsealed::new(&d, &deposit, &[5; 32], &head, &bytes).unwrap().seal().unwrap();
        prop_assert_eq!(body.len() as u64, body_len(&head));
        prop_assert!(Unsealed::new(&d, &deposit, &[5; 32], &head, &[bytes.clone(), vec![&[]]].concat()).is_err());
        let plain_len = content_len(body.len() as u64).unwrap();
        prop_assert_eq!(padded_len(plain_len), plain_len);
        let opened = Envelope::open(&d, &deposit, &body).unwrap();
        prop_assert_eq!(&opened.head, &head);
        for (i, piece) in pieces.iter().enumerate() {
            prop_assert_eq!(opened.piece(&[0, i as u8]).unwrap(), (&head.pieces[i], &piece[..]));
        }
        prop_assert!(opened.piece(&[1, 0]).is_none());
        prop_assert!(Envelope::open(&d, &DepositId([5; 16]), &body).is_err());
        prop_assert!(Envelope::open(&secret(5), &deposit, &body).is_err());
        prop_assert!(Envelope::open(&d, &deposit, &flip(&body, at.index(body.len()), bit)).is_err());
    }
}

#[test]
fn an_envelopes_padding_is_zeros_and_its_head_is_bounded() {
    let (deposit, d) = (DepositId([4; 16]), secret(4));
    let piece = |i: u8| PieceHead { path: vec![i; 8].into(), length: 0, parents: vec![Root([i; 32]); 8] };
    let head = |n: u8| Head::new(BackupId([1; 16]), Root([2; 32]), 3, 10, 1000, (0..n).map(piece).collect());
    let sealed = |n: u8| Unsealed::new(&d, &deposit, &[5; 32], &head(n), &vec![&[][..]; usize::from(n)]);
    assert!(sealed(80).is_ok());
    assert!(sealed(90).is_err());
    let body = sealed(1).unwrap().seal().unwrap();
    let plain = || Envelope::sealer(&d, &deposit, &body).unwrap().open(&body).unwrap();
    assert!(Envelope::of_plain(plain()).is_ok());
    for (at, value) in [(plain().len() - 1, 1), (0, 1), (2, (MAX_HEAD_LEN >> 8) as u8), (3, 0)] {
        let mut altered = plain();
        altered[at] = value;
        assert!(Envelope::of_plain(altered).is_err(), "{at}");
    }
}

// ---- deposits ------------------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn a_face_is_read_by_its_wallet_alone(
        title in "\\PC{0,60}",
        kind in "[a-z]{0,30}",
        hint in prop::option::of("\\PC{0,60}"),
        at: prop::sample::Index,
    ) {
        let (deposit, d) = (DepositId([4; 16]), secret(4));
        let text = FaceText { title, kind, date: NOW, hint };
        let face = Face::seal(&text, &d, &deposit, &mut rng(1)).unwrap();
        prop_assert!(codec::encode(&face).len() <= MAX_FACE_LEN);
        let Face::Sealed(sealed) = &face else { panic!("sealed") };
        prop_assert_eq!(sealed.len() as u64, sealed_len(FACE_TEXT_LEN as u64), "the length tells nothing");
        let read = face.read(Some(&d), &deposit).unwrap();
        prop_assert_eq!(&read.title, cut_text(&text.title, MAX_FACE_TITLE));
        prop_assert_eq!(&read.kind, cut_text(&text.kind, 24));
        prop_assert_eq!(read.hint.as_deref(), text.hint.as_deref().map(|h| cut_text(h, MAX_FACE_HINT)));
        prop_assert!(face.read(None, &deposit).is_err());
        prop_assert!(face.read(Some(&secret(5)), &deposit).is_err());
        prop_assert!(face.read(Some(&d), &DepositId([5; 16])).is_err());
        let altered = Face::Sealed(flip(sealed, at.index(sealed.len()), 3).into());
        prop_assert!(altered.read(Some(&d), &deposit).is_err());
    }

    #[test]
    fn each_right_has_its_own_secret(d: [u8; 32]) {
        let d = Secret::from_bytes(d);
        let DepositSecrets { release, retrieve, audit } = DepositSecrets::derive(&d);
        let hashes = DepositSecrets::derive(&d).hashes();
        let envelope = derive_secret(&d, "envelope", b"");
        let all = [d.expose(), release.expose(), retrieve.expose(), audit.expose(), envelope.expose(),
            &hashes.release.0, &hashes.retrieve.0, &hashes.audit.0];
        prop_assert!((1..all.len()).all(|i| !all[..i].contains(&all[i])));
        for (hash, own) in [(hashes.release, &release), (hashes.retrieve, &retrieve), (hashes.audit, &audit)] {
            for secret in [&d, &release, &retrieve, &audit] {
                prop_assert_eq!(recognises(&hash, secret), secret.same_as(own));
            }
        }
        // Whoever may release may retrieve and audit.
        prop_assert!(derive_secret(&release, "retrieve", b"").same_as(&retrieve));
        prop_assert!(derive_secret(&retrieve, "audit", b"").same_as(&audit));
    }
}

// ---- safes and certificates ----------------------------------------------------------------------------------------

/// A safe that has rotated its keys twice; entry 2 is revoked.
fn rotated() -> (TestSafe, Vec<Bytes>, Vec<u8>) {
    let safe = TestSafe::make(1);
    let first = safe.identity.entry(1).unwrap().clone();
    let key = SigningKey::make_random(&mut rng(2)).verifying_key().to_compressed().to_vec();
    let second = Entry { serial: 2, signing: key.into(), from: NOW + 100, revoked: Some(NOW + 200), ..first.clone() };
    let third = Entry { serial: 3, from: NOW + 300, ..first };
    let chain =
        [&safe.keys.chain[0], &sign_entry(&safe.keys.identity, &second), &sign_entry(&safe.keys.identity, &third)];
    let chain = chain.map(Clone::clone).to_vec();
    let identity = safe.keys.identity.verifying_key().to_compressed().to_vec();
    (safe, chain, identity)
}

#[test]
fn a_chain_counts_only_as_its_identity_signed_it() {
    let (safe, chain, key) = rotated();
    let verified = Identity::verify(&key, &chain).unwrap();
    assert_eq!(verified.id(), safe.id());
    for (time, serial) in [(NOW, 1), (NOW + 99, 1), (NOW + 100, 2), (NOW + 199, 2), (NOW + 200, 1), (NOW + 300, 3)] {
        assert_eq!(verified.current(time).unwrap().serial, serial, "at {}", time - NOW);
    }
    assert_eq!(verified.current(NOW - 1), Err(IdentityError::NoCurrentEntry));
    let refused = |chain: &[&Bytes]| {
        let chain: Vec<Bytes> = chain.iter().map(|entry| (*entry).clone()).collect();
        assert!(Identity::verify(&key, &chain).is_err());
    };
    let [first, second, third] = &chain[..] else { panic!("three") };
    refused(&[]);
    refused(&[second, first, third]);
    refused(&[first, third, second]);
    refused(&[first, first]);
    // None may be left out, at the front, in the middle, or by another number.
    refused(&[second, third]);
    refused(&[first, third]);
    let (entry, identity) = (safe.identity.entry(1).unwrap(), &safe.keys.identity);
    refused(&[first, second, &sign_entry(identity, &Entry { serial: 4, from: NOW + 300, ..entry.clone() })]);
    // None begins before the one ahead of it.
    refused(&[first, second, &sign_entry(identity, &Entry { serial: 3, from: NOW + 99, ..entry.clone() })]);
    refused(&vec![first; MAX_ENTRIES + 1]);
    // Another identity, also for entries of its own that name our safe.
    let other = TestSafe::make(2);
    assert!(Identity::verify(&other.keys.identity.verifying_key().to_compressed(), &chain).is_err());
    refused(&[&other.keys.chain[0]]);
    refused(&[&sign_entry(&other.keys.identity, safe.identity.entry(1).unwrap())]);
    let foreign = Entry { safe: other.id(), ..safe.identity.entry(1).unwrap().clone() };
    refused(&[&sign_entry(&safe.keys.identity, &foreign)]);
    for at in 0..second.len() {
        refused(&[first, &flip(second, at, at as u8).into(), third]);
    }
    // A certificate is not an entry.
    let statement = safe.statement(DepositId([4; 16]), &secret(4), b"body");
    refused(&[&safe.sign(&statement, Kind::Certificate).into()]);
}

#[test]
fn a_certificate_counts_only_while_its_entry_does() {
    let (safe, chain, key) = rotated();
    let statement = safe.statement(DepositId([4; 16]), &secret(4), b"body");
    let all = Identity::verify(&key, &chain).unwrap();
    let signed = |serial, issued| {
        let registration = registration_of(&statement, URL, serial, issued, issued + 9, None);
        registration.sign(&safe.keys.signing, Kind::Certificate)
    };
    let verify = |bytes: &[u8], identity| certificate::verify(bytes, identity, Some(&statement)).map(drop);
    assert_eq!(verify(&signed(1, NOW), &all), Ok(()));
    assert_eq!(verify(&signed(1, NOW - 1), &all), Err(CertificateError::OutsideEntry));
    assert_eq!(verify(&signed(3, NOW + 299), &all), Err(CertificateError::OutsideEntry));
    assert_eq!(verify(&signed(3, NOW + 300), &all), Ok(()));
    assert_eq!(verify(&signed(4, NOW), &all), Err(CertificateError::UnknownEntry(4)));
    // Entry 2 has another key.
    assert!(matches!(verify(&signed(2, NOW + 150), &all), Err(CertificateError::Signed(_))));
    // Where an entry is left out, what it signed counts no longer.
    let without = Identity::verify(&key, &chain[..2]).unwrap();
    assert_eq!(verify(&signed(3, NOW + 300), &without), Err(CertificateError::UnknownEntry(3)));
}

#[test]
fn a_descriptor_is_held_against_the_pin() {
    let Format { example, .. } = formats().into_iter().find(|f| f.name == "descriptor").unwrap();
    let ours = TestSafe::make(1).id();
    let other = TestSafe::make(2).id();
    assert_eq!(Identity::of_descriptor(&example, Some(ours)).unwrap().1.id(), ours);
    let mismatch = IdentityError::Mismatch { expected: other, found: ours };
    assert_eq!(Identity::of_descriptor(&example, Some(other)).err(), Some(mismatch));
    let long = vec![0; MAX_DESCRIPTOR_LEN + 1];
    assert!(matches!(Identity::of_descriptor(&long, None), Err(IdentityError::Malformed(CodecError::TooLong { .. }))));
}

#[test]
fn a_certificate_stands_for_one_statement_of_one_safe() {
    let (safe, other) = (TestSafe::make(1), TestSafe::make(2));
    let (deposit, d) = (DepositId([4; 16]), secret(4));
    let statement = safe.statement(deposit, &d, b"body");
    let (offer, held) = (safe.sign(&statement, Kind::Offer), safe.sign(&statement, Kind::Certificate));
    let verify = |bytes: &[u8], statement: &Statement| certificate::verify(bytes, &safe.identity, Some(statement));
    assert_eq!(verify(&held, &statement).unwrap().signed(), held);
    let offered = Offered::verify(&offer, &safe.identity, &statement).unwrap();
    assert_eq!(offered.digest(), &blake3(&offer));
    // Neither passes for the other.
    assert!(verify(&offer, &statement).is_err() && Offered::verify(&held, &safe.identity, &statement).is_err());
    let differs = [
        Statement { deposit: DepositId([5; 16]), ..statement.clone() },
        Statement { root: Root([0; 32]), ..statement.clone() },
        Statement { length: 5, ..statement.clone() },
        Statement { face: Face::Clear(face_text()), ..statement.clone() },
        Statement { hashes: DepositSecrets::derive(&secret(5)).hashes(), ..statement.clone() },
        Statement { owner: Some(SecretHash([1; 32])), ..statement.clone() },
        Statement { safe: other.id(), ..statement.clone() },
    ];
    for other in differs {
        assert_eq!(verify(&held, &other).err(), Some(CertificateError::Differs), "{other:?}");
        assert_eq!(Offered::verify(&offer, &safe.identity, &other).err(), Some(CertificateError::Differs));
    }
    assert_eq!(certificate::verify(&held, &other.identity, None).err(), Some(CertificateError::WrongSafe));
    // A dishonest safe that signs in another's name with its own key.
    let forged = registration_of(&statement, URL, 1, NOW, NOW + 9, None).sign(&other.keys.signing, Kind::Certificate);
    assert!(verify(&forged, &statement).is_err());
    for at in 0..held.len() {
        assert!(verify(&flip(&held, at, at as u8), &statement).is_err(), "{at}");
        assert!(verify(&held[..at], &statement).is_err());
    }
    assert!(verify(&[&held[..], &[0]].concat(), &statement).is_err());
    assert_eq!(&certificate::read_unverified(&held).unwrap(), verify(&held, &statement).unwrap().registration());
}

#[test]
fn a_receipt_shows_the_release_secret_of_its_deposit() {
    let safe = TestSafe::make(1);
    let (deposit, d) = (DepositId([4; 16]), secret(4));
    let statement = safe.statement(deposit, &d, b"body");
    let held = registration_of(&statement, URL, 1, NOW, NOW + 9, None);
    let release = DepositSecrets::derive(&d).release;
    let good =
        Release { suite: SUITE, safe: safe.id(), entry: 1, deposit, root: statement.root, issued: NOW + 5, release };
    let verify = |release: &Release| verify_receipt(&sign_receipt(&safe.keys.signing, release), &safe.identity, &held);
    assert!(verify(&good).is_ok());
    for (bad, error) in [
        (Release { release: secret(5), ..good.clone() }, CertificateError::Differs),
        (Release { release: DepositSecrets::derive(&d).retrieve, ..good.clone() }, CertificateError::Differs),
        (Release { deposit: DepositId([5; 16]), ..good.clone() }, CertificateError::Differs),
        (Release { root: Root([5; 32]), ..good.clone() }, CertificateError::Differs),
        (Release { entry: 2, ..good.clone() }, CertificateError::UnknownEntry(2)),
        (Release { safe: SafeId([0; 32]), ..good.clone() }, CertificateError::WrongSafe),
        (Release { issued: NOW - 1, ..good.clone() }, CertificateError::OutsideEntry),
    ] {
        assert_eq!(verify(&bad).err(), Some(error));
    }
    let signed = sign_receipt(&safe.keys.signing, &good);
    for at in 0..signed.len() {
        assert!(verify_receipt(&flip(&signed, at, at as u8), &safe.identity, &held).is_err(), "{at}");
    }
}

// ---- claims --------------------------------------------------------------------------------------------------------

#[test]
fn a_claim_opens_at_its_safe_for_its_deposit_and_verb_only() {
    let (safe, other) = (TestSafe::make(1), TestSafe::make(2));
    let (deposit, presented) = (DepositId([4; 16]), secret(4));
    let entry = safe.identity.entry(1).unwrap();
    let claim = Claim::make(&presented, entry, &deposit, Verb::Retrieve, NOW + 60, &mut rng(1)).unwrap();
    let open = |claim: &Claim| claim.open(&safe.keys.hpke, &safe.id(), &deposit);
    assert!(open(&claim).unwrap().secret.same_as(&presented));
    assert!(claim.open(&other.keys.hpke, &safe.id(), &deposit).is_err());
    assert!(claim.open(&safe.keys.hpke, &other.id(), &deposit).is_err());
    assert!(claim.open(&safe.keys.hpke, &safe.id(), &DepositId([5; 16])).is_err());
    for altered in [
        Claim { verb: Verb::Release, ..claim.clone() },
        Claim { verb: Verb::Audit, ..claim.clone() },
        Claim { entry: 2, ..claim.clone() },
        Claim { nonce: Nonce([0; 16]), ..claim.clone() },
        Claim { expiry: NOW + 61, ..claim.clone() },
    ] {
        assert!(open(&altered).is_err(), "{:?}", altered.verb);
    }
    let bytes = codec::encode(&claim);
    assert_eq!(Claim::parse(&bytes).as_ref(), Ok(&claim));
    for at in 0..bytes.len() {
        let opened = Claim::parse(&flip(&bytes, at, at as u8)).is_ok_and(|claim| open(&claim).is_ok());
        assert!(!opened, "{at}");
        assert!(Claim::parse(&bytes[..at]).is_err());
    }
    for (enc, ciphertext) in [(HPKE_ENC_LEN - 1, 48), (HPKE_ENC_LEN, 47), (HPKE_ENC_LEN, 49), (0, 0)] {
        let claim = Claim { enc: vec![0; enc].into(), ciphertext: vec![0; ciphertext].into(), ..claim.clone() };
        assert!(Claim::parse(&codec::encode(&claim)).is_err());
    }
    // The same secret twice shows nothing in common.
    let again = Claim::make(&presented, entry, &deposit, Verb::Retrieve, NOW + 60, &mut rng(2)).unwrap();
    assert!(again.nonce != claim.nonce && again.enc != claim.enc && again.ciphertext != claim.ciphertext);
}

// ---- the book ------------------------------------------------------------------------------------------------------

/// A book of one backup, 2 of 3, and the safes.
fn small_book(seed: u64) -> (Book, Vec<TestSafe>) {
    let safes: Vec<TestSafe> = (1..=3).map(TestSafe::make).collect();
    let ids: Vec<SafeId> = safes.iter().map(TestSafe::id).collect();
    let plan = Plan::spread(2, &ids).unwrap();
    let (values, bytes) = make_bundle(&[b"first", b"second"]);
    let layout = Layout::new(BackupId([6; 16]), &plan, bytes.len() as u64, LIMITS.body).unwrap();
    let deposit_of = |(i, slot): (usize, &Slot)| {
        let (id, d) = (DepositId([i as u8; 16]), secret(seed * 100 + i as u64));
        let safe = safes.iter().find(|s| s.id() == slot.safe).unwrap();
        let certificate = safe.sign(&safe.statement(id, &d, b"body"), Kind::Certificate).into();
        BookDeposit { id, safe: slot.safe, segment: slot.segment, d, certificate, owner: None }
    };
    let deposits = layout.slots().iter().enumerate().map(deposit_of).collect();
    let entry = BookEntry {
        backup: BackupId([6; 16]),
        values,
        plan,
        bundle: bytes.len() as u64,
        segment_len: layout.segment_len(),
        finished: NOW,
        deposits,
        pieces: Vec::new(),
    };
    let known = |safe: &TestSafe| KnownSafe {
        id: safe.id(),
        nickname: "mine".into(),
        name: "Nordfels".into(),
        url: URL.into(),
        identity: safe.keys.identity.verifying_key().to_compressed().to_vec().into(),
        chain: safe.keys.chain.clone(),
        limit_body: LIMITS.body,
        token: None,
        whereabouts: None,
    };
    let book = Book { suite: SUITE, written: NOW, safes: safes.iter().map(known).collect(), entries: vec![entry] };
    (book, safes)
}

const PASSPHRASE: &str = "correct horse battery";

fn write(book: &Book) -> Vec<u8> {
    write_book(book, PASSPHRASE, &mut rng(1))
}

#[test]
fn a_book_is_read_with_its_passphrase_alone() {
    let (book, _) = small_book(1);
    let file = write(&book);
    assert_eq!(codec::encode(&read_book(&file, PASSPHRASE).unwrap()), codec::encode(&book));
    for wrong in ["", "correct horse batter", "correct horse battery ", "Correct horse battery"] {
        assert_eq!(read_book(&file, wrong).err(), Some(BookError::WrongPassphrase), "{wrong:?}");
    }
    // Every kind of place: magic, cost, salt, commitment, ciphertext, tag.
    for at in [3, 27, 31, 40, 70, 110, 130, 200, file.len() / 2, file.len() - 1] {
        assert!(read_book(&flip(&file, at, 0), PASSPHRASE).is_err(), "{at}");
    }
    for len in [0, 1, 30, 100, file.len() - 1] {
        assert!(matches!(read_book(&file[..len], PASSPHRASE), Err(BookError::Malformed(_))), "{len}");
    }
    // A forged header cannot make guessing cheap: too little is refused before it is tried.
    let cheap = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };
    let forged = (protocol::book::FILE_MAGIC, SUITE, cheap, Bytes(vec![0; 32]), Bytes(vec![0; 100]));
    assert_eq!(read_book(&codec::encode(&forged), PASSPHRASE).err(), Some(BookError::Malformed(CodecError::Malformed)));
}

#[test]
fn a_book_with_a_hole_or_a_strangers_certificate_is_refused() {
    let refused = |alter: &dyn Fn(&mut Book, &[TestSafe])| {
        let (mut book, safes) = small_book(1);
        alter(&mut book, &safes);
        read_book(&write(&book), PASSPHRASE).err()
    };
    assert_eq!(refused(&|_, _| ()), None);
    assert_eq!(refused(&|book, _| drop(book.entries[0].deposits.pop())), Some(BookError::Incomplete));
    assert_eq!(refused(&|book, _| drop(book.safes.pop())), Some(BookError::Incomplete));
    assert_eq!(refused(&|book, _| book.entries[0].values[0].length += 1), Some(BookError::Incomplete));
    let twice = refused(&|book, _| {
        let first = book.entries[0].deposits[0].clone();
        book.entries[0].deposits.push(first);
    });
    assert_eq!(twice, Some(BookError::Incomplete));
    let differs = Some(BookError::Certificate(CertificateError::Differs));
    assert_eq!(refused(&|book, _| book.entries[0].deposits[0].d = secret(77)), differs);
    assert_eq!(refused(&|book, _| book.entries[0].deposits[0].id = DepositId([77; 16])), differs);
    let strange = refused(&|book, _| {
        let other = book.entries[0].deposits[1].certificate.clone();
        book.entries[0].deposits[0].certificate = other;
    });
    assert_eq!(strange, Some(BookError::Certificate(CertificateError::WrongSafe)));
    let renamed = refused(&|book, _| book.safes[0].id = SafeId([1; 32]));
    assert!(matches!(renamed, Some(BookError::Identity(IdentityError::Mismatch { .. }))));
    let offered = refused(&|book, safes| {
        let deposit = &mut book.entries[0].deposits[0];
        let statement = safes[0].statement(deposit.id, &deposit.d, b"body");
        deposit.certificate = safes[0].sign(&statement, Kind::Offer).into();
    });
    assert!(matches!(offered, Some(BookError::Certificate(CertificateError::Signed(_)))));
}

/// A million segments that nobody has signed for are not gone through.
#[test]
fn a_file_that_claims_to_keep_more_than_anybody_can_is_refused_at_once() {
    for place in [Place::Book, Place::File] {
        let safe = TestSafe::make(1);
        let plan = Plan::seal(Plan::place(place), vec![Plan::at(safe.id())]).unwrap();
        let meta = |i: u16| ValueMeta {
            id: ValueId([i.to_be_bytes()[0], i.to_be_bytes()[1], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            length: MAX_VALUE_LEN,
            ..make_bundle(&[b"x"]).0[0].clone()
        };
        let values: Vec<ValueMeta> = (0..4096).map(meta).collect();
        let (deposit, d) = (DepositId([4; 16]), secret(4));
        let certificate = safe.sign(&safe.statement(deposit, &d, b"body"), Kind::Certificate).into();
        let entry = BookEntry {
            backup: BackupId([1; 16]),
            bundle: bundle::length(&values),
            values,
            plan,
            segment_len: SEGMENT_UNIT,
            finished: NOW,
            deposits: vec![BookDeposit { id: deposit, safe: safe.id(), segment: 0, d, certificate, owner: None }],
            pieces: Vec::new(),
        };
        let refused = entry.verify(|_| Some(safe.identity.clone()));
        let full = |error: &PlanError| matches!(error, PlanError::BookFull { .. } | PlanError::FileFull { .. });
        assert!(matches!(&refused, Err(BookError::Plan(error)) if full(error)), "{:?}", refused.err());
    }
}

#[test]
fn a_layout_of_impossible_lengths_is_refused() {
    let safes: Vec<SafeId> = (0..5).map(|i| TestSafe::make(i).id()).collect();
    let plan = Plan::spread(3, &safes).unwrap();
    let backup = BackupId([1; 16]);
    let unit = SEGMENT_UNIT;
    for (bundle, segment_len) in [
        (1, 0),
        (1, 1),
        (1, unit + 1),
        (0, unit),
        (u64::MAX, unit),
        (MAX_BUNDLE_LEN + 1, unit),
        (1, MAX_SEGMENT + unit),
    ] {
        let refused = Layout::restore(backup, &plan, bundle, segment_len);
        assert!(matches!(refused, Err(PlanError::Length(_))), "{bundle} bytes in segments of {segment_len}");
    }
    // The longest bundle in the shortest segments is counted without being listed.
    let layout = Layout::restore(backup, &plan, MAX_BUNDLE_LEN, unit).unwrap();
    assert_eq!(layout.slot_count(), u64::from(layout.segments()) * 5);
    assert_eq!(u64::from(layout.segments()), MAX_BUNDLE_LEN.div_ceil(unit));
}
