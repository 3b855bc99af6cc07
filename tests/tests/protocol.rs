//! Laws of the formats: what goes in comes out, and nothing else goes in. They hold for all inputs, so inputs are drawn.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use minicbor::{Decode, Encode};
use proptest::prelude::*;
use protocol::{
    SUITE,
    book::{Book, BookDeposit, BookEntry, BookError, KnownSafe},
    bundle::{self, MAX_BUNDLE_LEN, ValueMeta},
    certificate::{
        self, CertificateError, Offered, Registration, Release, registration_of, sign_receipt, verify_receipt,
    },
    claim::{Claim, Confirm, Verb},
    codec::{self, Bytes, CodecError},
    cose::Kind,
    crypto::*,
    deposit::*,
    envelope::{Envelope, HEAD_ROOM, Head, PieceHead, Unsealed, body_len},
    identity::{Admission, Descriptor, Entry, Identity, IdentityError, MAX_DESCRIPTOR_LEN, MAX_ENTRIES, sign_entry},
    ids::*,
    layout::{Draft, GatherError, Layout, STRIPE, Slot, WRAP_LEN},
    padme::{FLOOR, padded_len},
    passphrase::{self, PassphraseError},
    plan::{MAX_DEPTH, Place, Plan, PlanError},
    problem::{ALL, Problem},
    seal::{self, CHUNK, HEADER, Purpose, SEALED_CHUNK, Sealer, content_len, sealed_len},
};
use rand_core::Rng;
use safe_worker::{machine, memory::LIMITS, record::Record};
use tests::fixture::{NOW, TestSafe, URL, face_text, make_bundle, read_book, rng, secret, write_book};
use unicode_normalization::UnicodeNormalization;
use wallet_wasm::state::Row;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng(seed).fill_bytes(&mut bytes);
    bytes
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
    let piece = PieceHead { path: vec![0, 1].into(), length: 7, parent: Root([8; 32]) };
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
}

// ---- plans ---------------------------------------------------------------------------------------------------------

/// Plans of every form; what cannot be is left out. `name` makes the names of safes.
fn any_plan<S: Clone + PartialEq + std::fmt::Debug + 'static>(
    name: impl Strategy<Value = S> + 'static,
) -> impl Strategy<Value = Plan<S>> {
    let safe = (name, any::<bool>()).prop_map(|(safe, owner)| Plan::place(Place::Safe { safe, owner }));
    let place = prop_oneof![
        6 => safe,
        1 => Just(Plan::place(Place::Book)),
        1 => Just(Plan::place(Place::File)),
        1 => Just(Plan::place(Place::Memory)),
    ];
    let made = place.prop_recursive(4, 24, 4, |inner| {
        let group = (prop::collection::vec(inner.clone(), 1..5), any::<prop::sample::Index>());
        // What is refused falls back to a child, so that nothing is drawn in vain.
        let or = |made: Result<Plan<S>, PlanError>, child: Plan<S>| made.unwrap_or(child);
        prop_oneof![
            (inner.clone(), prop::collection::vec(inner, 1..4)).prop_map(move |(c, k)| or(Plan::seal(c.clone(), k), c)),
            group.clone().prop_map(move |(c, k)| or(Plan::split(1 + k.index(c.len()), c.clone()), c[0].clone())),
            group.clone().prop_map(move |(c, k)| or(Plan::disperse(1 + k.index(c.len()), c.clone()), c[0].clone())),
            group.prop_map(move |(c, _)| or(Plan::copies(c.clone()), c[0].clone())),
        ]
    });
    made.prop_filter("a value is no words", |plan| !plan.is_chosen())
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn a_plan_is_the_same_as_data(plan in any_plan(any::<u8>().prop_map(|i| SafeId([i; 32])))) {
        let bytes = codec::encode(&plan);
        prop_assert_eq!(codec::decode::<Plan<SafeId>>(&bytes, 1 << 16).unwrap(), plan);
    }

    #[test]
    fn a_plan_is_the_same_as_text(plan in any_plan("[A-E]|[ -~]{0,9}|\\PC{1,5}"), spaces in "[ \n\t]{0,3}") {
        let text = plan.to_string();
        prop_assert_eq!(text.parse::<Plan<String>>().unwrap(), plan.clone());
        // Space is free outside of names.
        if !text.contains('"') {
            let airy = text.replace('(', &format!("{spaces}({spaces}")).replace(", ", &format!("{spaces},{spaces}"));
            prop_assert_eq!(format!("{spaces}{airy}{spaces}").parse::<Plan<String>>().unwrap(), plan);
        }
    }

    #[test]
    fn no_text_makes_the_parser_fail_otherwise_than_by_an_error(
        text in "(seal|split|disperse|copies|derive|at|book|memory|owner|[(),0-9\" A\\\\]){0,40}",
    ) {
        match text.parse::<Plan<String>>() {
            Ok(plan) => prop_assert_eq!(plan.to_string().parse::<Plan<String>>().unwrap(), plan),
            Err(error) => prop_assert!(error.at <= text.chars().count()),
        }
    }
}

#[test]
fn text_that_is_no_plan_is_refused_at_the_place() {
    let nested = format!("{}at(A){}", "seal(".repeat(30), ", at(B))".repeat(30));
    for (text, at, what) in [
        ("", 0, "at(…), book"),
        ("sael(at(A), at(B))", 0, "seal(…)"),
        ("seal(at(A) at(B))", 11, "“,”"),
        ("seal(at(A), at(B)", 17, "“)”, but the text ends"),
        ("seal(at(A), at(B)))", 18, "nothing more"),
        ("seal(at(), at(B))", 8, "the name of a safe"),
        ("seal(at(A), at(B, me))", 18, "owner"),
        ("seal(at(A), derive(at(B)))", 19, "1 are too few here; at least 2"),
        ("split(at(A), at(B))", 6, "how many suffice"),
        ("split(4, at(A), at(B))", 0, "a threshold of 4 does not fit 2 places; choose from 2 to 2"),
        ("seal(at(A), split(1, at(A), at(B)))", 12, "choose from 2 to 2"),
        ("copies(at(A), seal(at(B), split(2, at(C), at(C, owner))))", 26, "stands twice"),
        ("memory", 0, "memory holds words"),
        ("seal(memory, at(A))", 0, "memory holds words"),
        ("disperse(2, at(A), memory)", 0, "memory holds words"),
        ("derive(at(A), at(B))", 0, "at(…), book"),
        ("at(\"A)", 6, "“\"”"),
        (&nested, 84, "nested deeper"),
    ] {
        let error = text.parse::<Plan<String>>().expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.to_string().contains(what), "{text}: {error}");
        assert!(error.to_string().starts_with(&format!("at character {}: ", at + 1)));
    }
    assert!("at(A)".repeat(3300).parse::<Plan<String>>().unwrap_err().to_string().contains("longer than 16384 bytes"));
    // The longest plan, with the longest names.
    let name = |i: usize| format!("{}{i:02}", "\"".repeat(62));
    let wide = |k: usize| Plan::disperse(9, (20 * k..20 * (k + 1)).map(|i| Plan::at(name(i))).collect()).unwrap();
    let longest = Plan::copies((0..4_usize).map(wide).collect()).unwrap();
    assert_eq!(longest.to_string().parse::<Plan<String>>().unwrap(), longest);
}

#[test]
fn nicknames_are_bound_to_safes_when_a_plan_is_applied() {
    let safes = [("A", 1), ("home safe", 2), ("B", 3), ("twin", 4), ("twin", 5)];
    let find = |name: &String| {
        let mut found = safes.iter().filter(|(known, _)| known == name).map(|(_, i)| SafeId([*i; 32]));
        let first = found.next().ok_or_else(|| PlanError::UnknownSafe(name.clone()))?;
        if found.next().is_some() { Err(PlanError::AmbiguousSafe(name.clone())) } else { Ok(first) }
    };
    let bind = |text: &str| text.parse::<Plan<String>>().unwrap().bind(&find);
    let bound = bind("seal(at(A), copies(at(\"home safe\"), book))").unwrap();
    assert_eq!(bound.safes(), [&SafeId([1; 32]), &SafeId([2; 32])]);
    let name = |id: &SafeId| safes.iter().find(|(_, i)| *i == id.0[0]).unwrap().0.to_owned();
    assert_eq!(bound.to_text(&name), "seal(at(A), copies(at(\"home safe\"), book))");
    assert_eq!(bind("at(C)"), Err(PlanError::UnknownSafe("C".to_owned())));
    assert_eq!(bind("at(twin)"), Err(PlanError::AmbiguousSafe("twin".to_owned())));
    // Two names that are one safe.
    let same = |_: &String| Ok(SafeId([9; 32]));
    assert_eq!("copies(at(A), at(B))".parse::<Plan<String>>().unwrap().bind(&same), Err(PlanError::PlaceTwice));
}

#[test]
fn plans_that_cannot_be_are_refused() {
    let at = |i: u8| Plan::at(SafeId([i; 32]));
    let seal = |content, key| Plan::seal(content, vec![key]).unwrap();
    let ids: Vec<SafeId> = (0..3).map(|i| SafeId([i; 32])).collect();
    assert!(matches!(Plan::split(1, vec![at(1), at(2)]), Err(PlanError::Threshold { k: 1, n: 2, least: 2 })));
    assert!(matches!(Plan::disperse(0, vec![at(1)]), Err(PlanError::Threshold { .. })));
    assert!(matches!(Plan::disperse(3, vec![at(1), at(2)]), Err(PlanError::Threshold { .. })));
    assert!(matches!(Plan::disperse(1, (0..21).map(at).collect()), Err(PlanError::TooWide(21))));
    assert_eq!(Plan::copies(vec![at(1)]), Err(PlanError::TooFew { got: 1, least: 2 }));
    assert_eq!(Plan::copies((0..21).map(at).collect()), Err(PlanError::TooWide(21)));
    assert_eq!(Plan::seal(at(1), vec![]), Err(PlanError::TooFew { got: 0, least: 1 }));
    assert_eq!(Plan::spread(2, &[ids[0], ids[1], ids[0]]), Err(PlanError::PlaceTwice));
    let twice = vec![at(1), Plan::place(Place::Safe { safe: SafeId([1; 32]), owner: true })];
    assert_eq!(Plan::disperse(1, twice), Err(PlanError::PlaceTwice));
    // Words can be fewer than k shares, and one of several copies.
    let memory = || Plan::place(Place::Memory);
    let copy = |i| Plan::copies(vec![memory(), at(i)]).unwrap();
    assert!(Plan::split(2, vec![memory(), at(1)]).is_ok());
    assert_eq!(Plan::split(2, vec![copy(1), copy(2), at(3)]), Err(PlanError::Memory));
    assert!(Plan::split(3, vec![copy(1), copy(2), at(3)]).is_ok());
    assert_eq!(Plan::copies(vec![copy(1), copy(2)]), Err(PlanError::Memory));
    assert_eq!(Plan::seal(copy(1), vec![at(2)]), Err(PlanError::Memory));
    let wide = |k: u8| Plan::disperse(1, (0..20_u8).map(|i| at(20 * k + i)).collect()).unwrap();
    assert!(Plan::copies((0..4).map(wide).collect()).is_ok());
    assert_eq!(Plan::copies((0..5).map(wide).collect()), Err(PlanError::TooMany(100)));
    // Data is held to the same.
    assert_eq!(codec::decode::<Plan<SafeId>>(&[0x81, 8], 99), Err(CodecError::Malformed));
    let deep = (1..MAX_DEPTH).fold(at(0), |plan, i| seal(plan, at(i as u8)));
    let bytes = codec::encode(&deep);
    assert!(codec::decode::<Plan<SafeId>>(&bytes, 1 << 16).is_ok());
    assert_eq!(Plan::seal(deep, vec![at(9)]), Err(PlanError::TooDeep));
    let deeper = [&[0x83, 1][..], &bytes, &codec::encode(&at(9))].concat();
    assert_eq!(codec::decode::<Plan<SafeId>>(&deeper, 1 << 16), Err(CodecError::Malformed));
    // Text is for people; spread(2 of 3) reads like its definition.
    let name = |safe: &SafeId| ["A", "B", "C"][usize::from(safe.0[0])].to_owned();
    let text = Plan::spread(2, &ids).unwrap().to_text(&name);
    assert_eq!(text, "seal(disperse(2, at(A), at(B), at(C)), split(2, at(A), at(B), at(C)))");
    let text = Plan::guarded(2, &ids[..2]).unwrap().to_text(&name);
    assert_eq!(text, "seal(disperse(2, at(A), at(B)), derive(book, split(2, at(A, owner), at(B, owner))))");
    let refused = |plan: &Plan<SafeId>| Layout::new(BackupId([0; 16]), plan, 5, LIMITS.body).err();
    for plan in [
        at(1),
        seal(Plan::split(2, vec![at(1), at(2)]).unwrap(), at(1)),
        seal(at(1), Plan::disperse(1, vec![at(1)]).unwrap()),
        seal(at(1), Plan::split(2, vec![at(1), seal(at(1), at(2))]).unwrap()),
        seal(at(1), Plan::place(Place::Book)),
        seal(at(1), memory()),
        Plan::seal(at(1), vec![at(1), at(2)]).unwrap(),
    ] {
        assert_eq!(refused(&plan), Some(PlanError::NotExecutable));
    }
    let owner = Plan::place(Place::Safe { safe: ids[1], owner: true });
    assert_eq!(refused(&seal(at(1), owner)), Some(PlanError::OwnerUnavailable));
    let small = Layout::new(BackupId([0; 16]), &seal(at(1), at(1)), 5, STRIPE);
    assert_eq!(small.err(), Some(PlanError::LimitTooSmall(STRIPE)));
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
            parent: Root([i as u8; 32]),
        });
        let head = Head::new(BackupId([1; 16]), Root([2; 32]), 3, 10, 1000, heads.collect());
        let mut unsealed = Unsealed::new(&d, &deposit, &[5; 32], &head).unwrap();
        for (i, piece) in pieces.iter().enumerate() {
            unsealed.piece_mut(i).unwrap().copy_from_slice(piece);
        }
        prop_assert!(unsealed.piece_mut(pieces.len()).is_none());
        let body = unsealed.seal().unwrap();
        let content: usize = pieces.iter().map(Vec::len).sum();
        prop_assert!(body.len() as u64 <= body_len(content as u64));
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
    let piece = |i: u8| PieceHead { path: vec![i; 8].into(), length: 0, parent: Root([i; 32]) };
    let head = |n: u8| Head::new(BackupId([1; 16]), Root([2; 32]), 3, 10, 1000, (0..n).map(piece).collect());
    assert!(Unsealed::new(&d, &deposit, &[5; 32], &head(8)).is_ok());
    assert!(Unsealed::new(&d, &deposit, &[5; 32], &head(30)).is_err());
    let mut unsealed = Unsealed::new(&d, &deposit, &[5; 32], &head(1)).unwrap();
    assert!(unsealed.set_head(&head(2)).is_err());
    let body = unsealed.seal().unwrap();
    let plain = || Envelope::sealer(&d, &deposit, &body).unwrap().open(&body).unwrap();
    assert!(Envelope::of_plain(plain()).is_ok());
    for (at, value) in [(plain().len() - 1, 1), (0, 1), (2, (HEAD_ROOM >> 8) as u8), (3, 0)] {
        let mut altered = plain();
        altered[at] = value;
        assert!(Envelope::of_plain(altered).is_err(), "{at}");
    }
}

// ---- layouts -------------------------------------------------------------------------------------------------------

/// A backup that was made, as its wallet knows it.
struct Made {
    layout: Layout,
    deposits: Vec<(Slot, DepositId, Secret)>,
    bodies: Vec<Vec<u8>>,
}

fn ids_of(n: usize) -> Vec<SafeId> {
    (0..n).map(|i| SafeId([i as u8 + 1; 32])).collect()
}

fn op_seed() -> Secret {
    secret(0x0b5eed)
}

impl Made {
    fn new(plan: &Plan<SafeId>, bundle: &[u8], limit: u64) -> Self {
        let layout = Layout::new(BackupId([6; 16]), plan, bundle.len() as u64, limit).unwrap();
        let deposits: Vec<_> = layout
            .slots()
            .into_iter()
            .enumerate()
            .map(|(i, slot)| (slot, DepositId((i as u128).to_be_bytes()), secret(1000 + i as u64)))
            .collect();
        let mut made = Self { layout, deposits, bodies: Vec::new() };
        for segment in 0..made.layout.segments() {
            let bodies = made.layout.make_bodies(&op_seed(), bundle, segment, &made.drafts(segment)).unwrap();
            assert!(bodies.iter().all(|body| body.len() as u64 <= limit));
            made.bodies.extend(bodies);
        }
        assert_eq!(made.bodies.len(), made.deposits.len());
        made
    }

    fn drafts(&self, segment: u32) -> Vec<Draft<'_>> {
        let of_segment = self.deposits.iter().filter(|(slot, ..)| slot.segment == segment);
        of_segment.map(|(slot, deposit, d)| Draft { slot: *slot, deposit: *deposit, d }).collect()
    }

    /// What the wallet opens of what some safes send.
    fn envelopes(&self, safes: &[SafeId]) -> Vec<(Slot, Envelope)> {
        let all = self.deposits.iter().zip(&self.bodies).filter(|((slot, ..), _)| safes.contains(&slot.safe));
        all.map(|((slot, deposit, d), body)| (*slot, Envelope::open(d, deposit, body).unwrap())).collect()
    }

    fn recover(&self, envelopes: &[(Slot, Envelope)]) -> Result<Vec<u8>, GatherError> {
        let mut stream = Vec::new();
        for segment in 0..self.layout.segments() {
            stream.extend(self.layout.gather_segment(segment, &in_segment(envelopes, segment))?);
        }
        let kek = self.layout.gather_key(&in_segment(envelopes, 0))?;
        self.layout.open_stream(&kek, &stream).map(|bundle| bundle.to_vec())
    }

    /// The envelope of a slot with one byte of a piece altered, under its right key: what a careless wallet might make.
    fn altered(&self, number: usize, path: &[u8], at: usize) -> Envelope {
        let ((_, deposit, d), body) = (&self.deposits[number], &self.bodies[number]);
        let envelope = Envelope::open(d, deposit, body).unwrap();
        let mut plain = Envelope::sealer(d, deposit, body).unwrap().open(body).unwrap();
        let head = 4 + u32::from_be_bytes(*plain.first_chunk().unwrap()) as usize;
        let before = envelope.head.pieces.iter().take_while(|p| *p.path != *path);
        let start = head + before.map(|p| p.length as usize).sum::<usize>();
        plain[start + at] ^= 1;
        Envelope::of_plain(plain).unwrap()
    }
}

fn in_segment(envelopes: &[(Slot, Envelope)], segment: u32) -> Vec<(SafeId, &Envelope)> {
    envelopes.iter().filter(|(slot, _)| slot.segment == segment).map(|(slot, e)| (slot.safe, e)).collect()
}

/// A few segments at most: limits of one to three stripes.
fn any_spread() -> impl Strategy<Value = (usize, usize, usize, u64)> {
    let k_of_n = (2usize..=6).prop_flat_map(|n| (2..=n, Just(n)));
    let limit = (1u64..=3).prop_map(|stripes| body_len(stripes * STRIPE + 64));
    (k_of_n, prop_oneof![0..400usize, 0..400_000usize], limit).prop_map(|((k, n), size, limit)| (k, n, size, limit))
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn any_k_safes_recover_and_fewer_do_not((k, n, size, limit) in any_spread(), mut order in any::<u64>()) {
        let bundle = random_bytes(size, 1);
        let safes = ids_of(n);
        let made = Made::new(&Plan::spread(k, &safes).unwrap(), &bundle, limit);
        let mut chosen = safes;
        for i in (1..n).rev() {
            chosen.swap(i, (order % (i as u64 + 1)) as usize);
            order /= i as u64 + 1;
        }
        let envelopes = made.envelopes(&chosen[..k]);
        for (slot, envelope) in &envelopes {
            prop_assert_eq!(made.layout.check(*slot, envelope), Ok(()));
            let elsewhere = Slot { segment: slot.segment + 1, ..*slot };
            prop_assert_eq!(made.layout.check(elsewhere, envelope), Err(GatherError::Stray));
        }
        prop_assert!(made.recover(&envelopes).as_ref() == Ok(&bundle));
        let fewer = made.envelopes(&chosen[1..k]);
        let too_few = GatherError::TooFew { got: k - 1, needed: k };
        prop_assert_eq!(made.recover(&fewer), Err(too_few.clone()));
        prop_assert_eq!(made.layout.gather_key(&in_segment(&fewer, 0)).err(), Some(too_few));
    }

    #[test]
    fn an_altered_shard_is_never_taken_for_the_content((k, n, size, limit) in any_spread(), which: usize, at: usize) {
        let bundle = random_bytes(size, 2);
        let safes = ids_of(n);
        let made = Made::new(&Plan::spread(k, &safes).unwrap(), &bundle, limit);
        let which = which % n;
        let number = made.deposits.iter().position(|(slot, ..)| slot.safe == safes[which]).unwrap();
        // The altered one and k − 1 others, so that it must be used.
        let chosen: Vec<SafeId> = (0..k).map(|i| safes[(which + i) % n]).collect();
        let honest = made.envelopes(&chosen);
        let place = honest.iter().position(|(slot, _)| *slot == made.deposits[number].0).unwrap();
        let with = |envelope| {
            let mut envelopes = made.envelopes(&chosen);
            envelopes[place].1 = envelope;
            envelopes
        };
        let shard = honest[place].1.piece(&[0, which as u8]).unwrap().1.len();
        // Where the piece is used, not when all has been fetched: the wallet must learn it in time to ask another safe.
        let segment_of = |envelopes: &[(Slot, Envelope)]| made.layout.gather_segment(0, &in_segment(envelopes, 0));
        let key_of = |envelopes: &[(Slot, Envelope)]| made.layout.gather_key(&in_segment(envelopes, 0)).map(drop);
        let altered = with(made.altered(number, &[0, which as u8], at % shard));
        // Zeros that fill up the last stripe are no content: nothing is lost if a copied shard has others there.
        let gathered = segment_of(&altered);
        prop_assert!(gathered == Err(GatherError::Inconsistent) || gathered == segment_of(&honest));
        prop_assert_eq!(key_of(&altered), Ok(()));
        if which == 0 {
            let first = with(made.altered(number, &[0, 0], 0));
            prop_assert_eq!(segment_of(&first), Err(GatherError::Inconsistent));
            prop_assert_eq!(made.recover(&first), Err(GatherError::Inconsistent));
        }
        let altered = with(made.altered(number, &[1, which as u8], 1 + at % 32));
        prop_assert_eq!(key_of(&altered), Err(GatherError::Inconsistent));
        prop_assert!(key_of(&with(made.altered(number, &[1, which as u8], 0))).is_err());
    }

    #[test]
    fn bodies_are_a_pure_function_of_seed_bundle_and_names((k, n, size, limit) in any_spread()) {
        let bundle = random_bytes(size, 3);
        let made = Made::new(&Plan::spread(k, &ids_of(n)).unwrap(), &bundle, limit);
        let last = made.layout.segments() - 1;
        let drafts = made.drafts(last);
        let again = made.layout.make_bodies(&op_seed(), &bundle, last, &drafts).unwrap();
        let tail = &made.bodies[made.bodies.len() - again.len()..];
        prop_assert!(again == tail);
        // One alone is the same as among all: a retry makes only what is missing.
        let alone = made.layout.make_bodies(&op_seed(), &bundle, last, &drafts[drafts.len() - 1..]).unwrap();
        prop_assert!(alone[..] == tail[tail.len() - 1..]);
        // In any portions.
        let stream = made.layout.stream(&op_seed()).unwrap();
        let mut whole = stream.head().to_vec();
        for chunk in seal::chunks(size).unwrap() {
            stream.sealer().seal_chunk(&chunk, &bundle[chunk.content.clone()], &mut whole).unwrap();
        }
        prop_assert_eq!(whole.len() as u64, made.layout.stream_len());
        let mut packer = made.layout.packer(&op_seed(), last, &drafts).unwrap();
        for (i, part) in whole.chunks(40_001).enumerate() {
            packer.push(i as u64 * 40_001, part).unwrap();
        }
        let bodies: Vec<_> = packer.finish().unwrap().into_iter().map(|unsealed| unsealed.seal().unwrap()).collect();
        prop_assert!(bodies == tail);
        // Nothing is alike under another seed, and no two bodies share a beginning.
        let other = made.layout.make_bodies(&secret(1), &bundle, last, &drafts).unwrap();
        prop_assert!(other.iter().zip(tail).all(|(a, b)| a.len() == b.len() && a[..64] != b[..64]));
        prop_assert!((1..tail.len()).all(|i| tail[i][..64] != tail[0][..64]));
    }
}

#[test]
fn other_executable_plans_recover_too() {
    let at = |i: u8| Plan::at(SafeId([i; 32]));
    let seal = |content, key| Plan::seal(content, vec![key]).unwrap();
    let bundle = random_bytes(150_000, 4);
    let limit = body_len(STRIPE + 64);
    let all = ids_of(4);
    for (plan, enough, few) in [
        (seal(at(1), at(1)), vec![1], vec![]),
        (seal(at(1), at(2)), vec![1, 2], vec![2]),
        (seal(at(1), Plan::split(2, vec![at(2), at(3), at(4)]).unwrap()), vec![1, 2, 4], vec![1, 3]),
        (seal(Plan::disperse(1, vec![at(1), at(2)]).unwrap(), at(3)), vec![2, 3], vec![1, 2]),
        (seal(Plan::disperse(3, vec![at(1), at(2), at(3)]).unwrap(), at(4)), vec![1, 2, 3, 4], vec![1, 2, 4]),
    ] {
        let made = Made::new(&plan, &bundle, limit);
        let of = |numbers: &[usize]| -> Vec<SafeId> { numbers.iter().map(|i| all[i - 1]).collect() };
        assert!(made.recover(&made.envelopes(&of(&enough))).as_ref() == Ok(&bundle), "{plan}");
        assert!(matches!(made.recover(&made.envelopes(&of(&few))), Err(GatherError::TooFew { .. })), "{plan}");
    }
}

#[test]
fn a_stream_opens_only_whole_and_under_its_key() {
    let bundle = random_bytes(1000, 5);
    let made = Made::new(&Plan::spread(2, &ids_of(3)).unwrap(), &bundle, LIMITS.body);
    let envelopes = made.envelopes(&ids_of(2));
    let stream = made.layout.gather_segment(0, &in_segment(&envelopes, 0)).unwrap();
    let kek = made.layout.gather_key(&in_segment(&envelopes, 0)).unwrap();
    let open = |kek: &Secret, stream: &[u8]| made.layout.open_stream(kek, stream).map(|b| b.to_vec());
    assert_eq!(open(&kek, &stream), Ok(bundle.clone()));
    assert_eq!(open(&secret(1), &stream), Err(GatherError::Inconsistent));
    for at in [0, 31, 40, WRAP_LEN as usize - 1, WRAP_LEN as usize, WRAP_LEN as usize + 70, stream.len() - 1] {
        assert_eq!(open(&kek, &flip(&stream, at, 0)), Err(GatherError::Inconsistent), "{at}");
    }
    for len in [0, 100, 112, 170, stream.len() - 1] {
        assert_eq!(open(&kek, &stream[..len]), Err(GatherError::Inconsistent), "{len}");
    }
    // Envelopes of another backup are strays, whatever else fits.
    let other = Layout::new(BackupId([7; 16]), &Plan::spread(2, &ids_of(3)).unwrap(), 1000, LIMITS.body).unwrap();
    assert_eq!(other.check(envelopes[0].0, &envelopes[0].1), Err(GatherError::Stray));
    assert!(made.layout.make_bodies(&op_seed(), &bundle[1..], 0, &made.drafts(0)).is_err());
    assert!(made.layout.make_bodies(&op_seed(), &bundle, 1, &[]).is_err());
    let d = secret(1);
    let stranger = Draft { slot: Slot { segment: 0, safe: SafeId([99; 32]) }, deposit: DepositId([1; 16]), d: &d };
    assert!(made.layout.make_bodies(&op_seed(), &bundle, 0, &[stranger]).is_err());
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
        Statement { owner: Some(vec![1].into()), ..statement.clone() },
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
    assert!(open(&claim).unwrap().0.same_as(&presented));
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
        BookDeposit { id, safe: slot.safe, segment: slot.segment, d, certificate }
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

#[test]
fn a_layout_of_impossible_lengths_is_refused() {
    let safes: Vec<SafeId> = (0..5).map(|i| TestSafe::make(i).id()).collect();
    let plan = Plan::spread(3, &safes).unwrap();
    let backup = BackupId([1; 16]);
    let stripe = 3 * STRIPE;
    for (bundle, segment_len) in [(1, 0), (1, 1), (1, stripe + 1), (u64::MAX, stripe), (MAX_BUNDLE_LEN + 1, stripe)] {
        let refused = Layout::restore(backup, &plan, bundle, segment_len);
        assert!(matches!(refused, Err(PlanError::Length(_))), "{bundle} bytes in segments of {segment_len}");
    }
    // The longest bundle in the shortest segments is counted without being listed.
    let layout = Layout::restore(backup, &plan, MAX_BUNDLE_LEN, stripe).unwrap();
    assert_eq!(layout.slot_count(), u64::from(layout.segments()) * 5);
    assert_eq!(u64::from(layout.segments()), layout.stream_len().div_ceil(stripe));
}
