//! The store suite on memory.
#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod suite;

use futures::executor::block_on;
use wallet_wasm::store::MemoryStore;

#[test]
fn starts_empty() {
    let store = MemoryStore::default();
    block_on(suite::starts_empty(&store, &store));
}

#[test]
fn commits_whole() {
    let store = MemoryStore::default();
    block_on(suite::commits_whole(&store, &store));
}

#[test]
fn refuses_the_superseded() {
    let store = MemoryStore::default();
    block_on(suite::refuses_the_superseded(&store, &store));
}

#[test]
fn decides_between_two_at_once() {
    let store = MemoryStore::default();
    block_on(suite::decides_between_two_at_once(&store, &store));
}

#[test]
fn keeps_blobs() {
    let store = MemoryStore::default();
    block_on(suite::keeps_blobs(&store, &store));
}

#[test]
fn commits_with_its_blobs() {
    let store = MemoryStore::default();
    block_on(suite::commits_with_its_blobs(&store, &store));
}

#[test]
fn sweeps_what_it_knows() {
    let store = MemoryStore::default();
    block_on(suite::sweeps_what_it_knows(&store, &store));
}

#[test]
fn is_a_map() {
    for seed in 0..20 {
        let store = MemoryStore::default();
        block_on(suite::is_a_map(&store, &store, seed));
    }
}
