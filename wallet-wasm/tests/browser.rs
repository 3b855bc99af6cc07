//! What only a browser can show: the store suite on IndexedDB, and that the platform's AES-GCM and NFC are the ones of the formats.
#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod suite;

use js_sys::Uint8Array;
use protocol::{
    crypto::Secret,
    seal::{CHUNK, Purpose, Sealer, sealed_len},
};
use wallet_wasm::{
    store::{Commit, Store},
    web::{Reader, RexieStore, Writer, nfc},
};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Two windows on a database that no other test uses.
async fn windows(name: &str) -> (RexieStore, RexieStore) {
    (RexieStore::open(name).await.unwrap(), RexieStore::open(name).await.unwrap())
}

#[wasm_bindgen_test]
async fn starts_empty() {
    let (store, other) = windows("starts-empty").await;
    suite::starts_empty(&store, &other).await;
}

#[wasm_bindgen_test]
async fn commits_whole() {
    let (store, other) = windows("commits-whole").await;
    suite::commits_whole(&store, &other).await;
}

#[wasm_bindgen_test]
async fn refuses_the_superseded() {
    let (store, other) = windows("refuses-the-superseded").await;
    suite::refuses_the_superseded(&store, &other).await;
}

#[wasm_bindgen_test]
async fn decides_between_two_at_once() {
    let (store, other) = windows("decides-between-two").await;
    suite::decides_between_two_at_once(&store, &other).await;
}

#[wasm_bindgen_test]
async fn keeps_blobs() {
    let (store, other) = windows("keeps-blobs").await;
    suite::keeps_blobs(&store, &other).await;
}

#[wasm_bindgen_test]
async fn commits_with_its_blobs() {
    let (store, other) = windows("commits-with-its-blobs").await;
    suite::commits_with_its_blobs(&store, &other).await;
}

#[wasm_bindgen_test]
async fn sweeps_what_it_knows() {
    let (store, other) = windows("sweeps-what-it-knows").await;
    suite::sweeps_what_it_knows(&store, &other).await;
}

#[wasm_bindgen_test]
async fn is_a_map() {
    for seed in 0..3 {
        let (store, other) = windows(&format!("is-a-map-{seed}")).await;
        suite::is_a_map(&store, &other, seed).await;
    }
}

#[wasm_bindgen_test]
async fn outlives_its_handles() {
    let store = RexieStore::open("outlives").await.unwrap();
    let put = vec![("a".to_owned(), b"1".to_vec())];
    store.commit(&Commit { put: put.clone(), root: b"root".to_vec(), ..Commit::default() }).await.unwrap();
    store.put_blob("blob", b"content").await.unwrap();
    drop(store);
    let again = RexieStore::open("outlives").await.unwrap();
    let stored = again.load().await.unwrap();
    assert_eq!((stored.epoch, stored.rows), (1, put));
    assert_eq!(again.blob("blob").await.unwrap().as_deref(), Some(&b"content"[..]));
}

// ---- the platform's AES-GCM against the reference ------------------------------------------------------------------

const SIZES: [usize; 7] = [0, 1, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5];

fn sealer() -> Sealer {
    let purpose = Purpose { purpose: "blob", object: b"object", version: 3 };
    Sealer::new(&Secret::from_bytes([7; 32]), &[9; 32], &purpose).unwrap()
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 253) as u8).collect()
}

fn reference(content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    sealer().seal_range(content, 0, sealed_len(content.len() as u64), &mut sealed).unwrap();
    sealed
}

#[wasm_bindgen_test]
async fn the_platform_seals_the_same_bytes() {
    for len in SIZES {
        let content = content(len);
        for portion in [1 << 20, 100_000, CHUNK, len.max(1)] {
            let mut writer = Writer::new(sealer(), len).await.unwrap();
            for part in content.chunks(portion) {
                writer.push(part).await.unwrap();
            }
            assert_eq!(writer.missing(), 0);
            // Not assert_eq: its message would print both.
            assert!(writer.finish().await.unwrap().to_vec() == reference(&content), "{len} bytes by {portion}");
        }
    }
}

#[wasm_bindgen_test]
async fn content_must_be_as_long_as_was_said() {
    let mut short = Writer::new(sealer(), CHUNK + 1).await.unwrap();
    short.push(&content(CHUNK)).await.unwrap();
    assert!(short.finish().await.is_err());
    let mut long = Writer::new(sealer(), 3).await.unwrap();
    assert!(long.push(&content(4)).await.is_err());
}

#[wasm_bindgen_test]
async fn the_platform_opens_what_the_reference_sealed() {
    for len in SIZES {
        let content = content(len);
        let sealed = Uint8Array::from(reference(&content).as_slice());
        let all = Reader::new(sealer(), sealed.clone()).await.unwrap().read_all().await.unwrap();
        assert!(*all == content, "{len} bytes");
        let array = Reader::new(sealer(), sealed.clone()).await.unwrap().into_array().await.unwrap();
        assert!(array.to_vec() == content, "{len} bytes, as an array");
        let mut reader = Reader::new(sealer(), sealed).await.unwrap();
        let mut read = Vec::new();
        for start in (0..len).step_by(70_001) {
            reader.read(start..len.min(start + 70_001), &mut read).await.unwrap();
        }
        assert!(read == content, "{len} bytes, in portions");
        assert!(reader.read(0..len + 1, &mut read).await.is_err());
    }
}

#[wasm_bindgen_test]
async fn the_platform_opens_nothing_that_was_altered() {
    let content = content(2 * CHUNK + 10);
    let sealed = reference(&content);
    let chunk = CHUNK + 16;
    for at in [64, 64 + chunk - 1, 64 + chunk, sealed.len() - 1] {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        let reader = Reader::new(sealer(), Uint8Array::from(altered.as_slice())).await.unwrap();
        assert!(reader.read_all().await.is_err(), "byte {at}");
    }
    let mut swapped = sealed.clone();
    swapped[64..64 + 2 * chunk].rotate_left(chunk);
    for wrong in [&swapped[..], &sealed[..sealed.len() - 26], &sealed[..64 + chunk]] {
        let opened = match Reader::new(sealer(), Uint8Array::from(wrong)).await {
            Ok(reader) => reader.read_all().await.is_ok(),
            Err(_) => false,
        };
        assert!(!opened, "{} bytes", wrong.len());
    }
}

#[wasm_bindgen_test]
fn the_platform_composes_characters() {
    // The examples of tests/tests/protocol.rs, which knows NFC from tables.
    assert_eq!(nfc("cafe\u{301} cre\u{300}me"), "caf\u{e9} cr\u{e8}me");
    assert_eq!(nfc("\u{1e9b}\u{323}"), "\u{1e9b}\u{323}");
    assert_eq!(nfc("\u{ff21}\u{fb01}"), "\u{ff21}\u{fb01}");
}
