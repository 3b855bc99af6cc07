//! What every store must do, whoever runs it: `memory.rs` natively, `browser.rs` on IndexedDB in Chromium.
//!
//! Each check gets two handles to one empty store, as two windows of one wallet have; on memory they may be the same handle.

use std::collections::BTreeMap;

use protocol::crypto::{Secret, expand_seed};
use rand_core::Rng;
use wallet_wasm::store::{Commit, Store, StoreError, Stored};

fn commit(expected: u64, put: &[(&str, &[u8])], remove: &[&str]) -> Commit {
    Commit {
        expected,
        header: None,
        root: format!("root {}", expected + 1).into_bytes(),
        put: put.iter().map(|(name, row)| ((*name).to_owned(), row.to_vec())).collect(),
        remove: remove.iter().map(|name| (*name).to_owned()).collect(),
        needs: Vec::new(),
    }
}

/// Nothing is there at first.
pub async fn starts_empty(store: &impl Store, other: &impl Store) {
    assert_eq!(store.load().await, Ok(Stored::default()));
    assert_eq!(other.blob("none").await, Ok(None));
    assert_eq!(store.remove_blobs(&["none".to_owned()]).await, Ok(()));
    assert_eq!(store.remove_blobs(&[]).await, Ok(()));
}

/// A commit is seen whole by every handle, rows by name; without a header the old one stays.
pub async fn commits_whole(store: &impl Store, other: &impl Store) {
    let first = Commit { header: Some(b"header".to_vec()), ..commit(0, &[("b", b"2"), ("a", b"1"), ("c", b"")], &[]) };
    store.commit(&first).await.unwrap();
    let rows = |rows: &[(&str, &[u8])]| rows.iter().map(|(n, r)| ((*n).to_owned(), r.to_vec())).collect::<Vec<_>>();
    let expected = Stored {
        epoch: 1,
        header: Some(b"header".to_vec()),
        root: Some(b"root 1".to_vec()),
        rows: rows(&[("a", b"1"), ("b", b"2"), ("c", b"")]),
    };
    assert_eq!(other.load().await, Ok(expected.clone()));
    // Put, replaced and removed in one commit.
    other.commit(&commit(1, &[("b", b"22"), ("d", b"4")], &["a", "none"])).await.unwrap();
    let rows = rows(&[("b", b"22"), ("c", b""), ("d", b"4")]);
    let expected = Stored { epoch: 2, root: Some(b"root 2".to_vec()), rows, ..expected };
    assert_eq!(store.load().await, Ok(expected.clone()));
    // As many as a wallet has that comes back.
    let many: Vec<(String, Vec<u8>)> = (0..700_u32)
        .map(|i| (format!("value/{:08x}", i.wrapping_mul(0x9e37_79b9)), i.to_be_bytes().to_vec()))
        .collect();
    let all = Commit { put: many.clone(), ..commit(2, &[], &["c"]) };
    store.commit(&all).await.unwrap();
    let mut rows = [expected.rows, many].concat();
    rows.retain(|(name, _)| name != "c");
    rows.sort();
    assert_eq!(other.load().await, Ok(Stored { epoch: 3, root: Some(b"root 3".to_vec()), rows, ..expected }));
}

/// Who has not seen the last commit changes nothing and learns where the store is.
pub async fn refuses_the_superseded(store: &impl Store, other: &impl Store) {
    store.commit(&commit(0, &[("a", b"1")], &[])).await.unwrap();
    let before = store.load().await;
    for expected in [0, 2, 7] {
        let late = Commit { header: Some(b"late".to_vec()), ..commit(expected, &[("a", b"late"), ("x", b"")], &["a"]) };
        assert_eq!(other.commit(&late).await, Err(StoreError::Superseded { expected, found: 1 }));
        assert_eq!(store.load().await, before);
    }
}

/// Of two commits at once one succeeds, and the other one is told.
pub async fn decides_between_two_at_once(store: &impl Store, other: &impl Store) {
    for epoch in 0..8 {
        let (mine, theirs) = (commit(epoch, &[("who", b"first")], &[]), commit(epoch, &[("who", b"second")], &[]));
        let (one, two) = futures::future::join(store.commit(&mine), other.commit(&theirs)).await;
        let superseded = Err(StoreError::Superseded { expected: epoch, found: epoch + 1 });
        let winner: &[u8] = if one.is_ok() { b"first" } else { b"second" };
        assert!((one.is_ok() && two == superseded) || (two.is_ok() && one == superseded), "{one:?} {two:?}");
        let stored = store.load().await.unwrap();
        assert_eq!((stored.epoch, stored.rows[0].1.as_slice()), (epoch + 1, winner));
    }
}

/// Blobs keep their bytes, whatever their length.
pub async fn keeps_blobs(store: &impl Store, other: &impl Store) {
    let large: Vec<u8> = (0..2_000_003_u32).map(|i| (i % 251) as u8).collect();
    for (name, bytes) in [("b", &b""[..]), ("c", b"x"), ("a", &large)] {
        store.put_blob(name, bytes).await.unwrap();
        assert_eq!(other.blob(name).await.unwrap().as_deref(), Some(bytes));
    }
    other.remove_blobs(&["a".to_owned(), "c".to_owned()]).await.unwrap();
    assert_eq!(present(store, &["a", "b", "c"]).await, ["b"]);
    // Blobs are outside the epochs.
    assert_eq!(store.load().await.unwrap().epoch, 0);
}

/// A record is never kept without the blob that it newly refers to.
pub async fn commits_with_its_blobs(store: &impl Store, other: &impl Store) {
    store.put_blob("here", b"x").await.unwrap();
    let before = store.load().await;
    let lacking = Commit { needs: vec!["here".to_owned(), "gone".to_owned()], ..commit(0, &[("a", b"1")], &[]) };
    assert_eq!(store.commit(&lacking).await, Err(StoreError::BlobGone));
    assert_eq!(other.load().await, before);
    other.put_blob("gone", b"").await.unwrap();
    store.commit(&lacking).await.unwrap();
    assert_eq!(other.load().await.unwrap().rows.len(), 1);
}

/// A sweep leaves what is to be kept, and everything if it does not know the last commit.
pub async fn sweeps_what_it_knows(store: &impl Store, other: &impl Store) {
    for name in ["a", "b", "c"] {
        store.put_blob(name, b"x").await.unwrap();
    }
    store.commit(&Commit { needs: vec!["c".to_owned()], ..commit(0, &[("c", b"1")], &[]) }).await.unwrap();
    assert_eq!(other.sweep(0, &["a"]).await, Err(StoreError::Superseded { expected: 0, found: 1 }));
    assert_eq!(present(store, &["a", "b", "c"]).await, ["a", "b", "c"]);
    other.sweep(1, &["c", "never there"]).await.unwrap();
    assert_eq!(present(store, &["a", "b", "c"]).await, ["c"]);
    other.sweep(1, &[]).await.unwrap();
    assert_eq!(present(store, &["a", "b", "c"]).await, [""; 0]);
}

async fn present<'a>(store: &impl Store, names: &[&'a str]) -> Vec<&'a str> {
    let mut present = Vec::new();
    for name in names {
        if store.blob(name).await.unwrap().is_some() {
            present.push(*name);
        }
    }
    present
}

/// After any history the store is what a plain map would be.
pub async fn is_a_map(store: &impl Store, other: &impl Store, seed: u8) {
    let mut rng = expand_seed(&Secret::from_bytes([seed; 32]));
    let mut draw = |below: u32| rng.next_u32() % below;
    let mut model = BTreeMap::<String, Vec<u8>>::new();
    for epoch in 0..40 {
        let mut change = commit(epoch, &[], &[]);
        for _ in 0..draw(6) {
            let name = format!("value/{}", draw(12));
            let row = vec![draw(256) as u8; draw(5000) as usize];
            change.put.retain(|(other, _)| *other != name);
            change.put.push((name, row));
        }
        for _ in 0..draw(3) {
            let name = format!("value/{}", draw(12));
            if change.put.iter().all(|(other, _)| *other != name) {
                change.remove.push(name);
            }
        }
        model.extend(change.put.iter().cloned());
        change.remove.iter().for_each(|name| drop(model.remove(name)));
        let late = Commit { expected: epoch + 1, ..change.clone() };
        assert!(other.commit(&late).await.is_err(), "a commit from the future was taken");
        if draw(2) == 0 { store.commit(&change).await } else { other.commit(&change).await }.unwrap();
        let stored = store.load().await.unwrap();
        assert_eq!(stored.epoch, epoch + 1);
        assert_eq!(stored.rows.into_iter().collect::<BTreeMap<_, _>>(), model);
    }
}
