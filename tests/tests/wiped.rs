//! Secrets are gone from the memory of the process once what held them is dropped. A binary of its own: other tests would leave theirs.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};

use protocol::{
    crypto::derive_secret,
    envelope::Envelope,
    ids::{BackupId, DepositId},
    layout::{Draft, Layout},
    plan::{Place, Plan},
};
use tests::fixture::{gather, lay, letter, secret};
use zeroize::Zeroizing;

/// What is looked for, in a form that is not found itself.
struct Needle {
    name: &'static str,
    veiled: Vec<u8>,
}

/// The second half of 32 bytes: the allocator writes over the first when they are freed.
fn veil(bytes: &[u8]) -> Vec<u8> {
    bytes[16..32].iter().map(|byte| byte ^ 0xa5).collect()
}

/// How often it lies in writable memory.
fn count(needle: &Needle) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let first = needle.veiled[0] ^ 0xa5;
    let mut found = 0;
    // One buffer, veiled as soon as it is read, so that the search does not find its own copies.
    let mut page = vec![0_u8; 1 << 16];
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let own = page.as_ptr() as u64;
        let mut at = from;
        while at < to {
            let len = (to - at).min(page.len() as u64) as usize;
            let Ok(read) = memory.read_at(&mut page[..len], at) else { break };
            for start in 0..read.saturating_sub(needle.veiled.len() - 1) {
                let is_own = (own..own + page.len() as u64).contains(&(at + start as u64));
                let here = || page[start..].iter().zip(&needle.veiled).all(|(byte, veiled)| byte ^ 0xa5 == *veiled);
                let hit = !is_own && page[start] == first && here();
                if hit {
                    eprintln!("{} at {:x} in {line}", needle.name, at + start as u64);
                }
                found += usize::from(hit);
            }
            if read < needle.veiled.len() {
                break;
            }
            // Overlapping, so that nothing is missed between two portions.
            at +=
                if read == len && at + (len as u64) < to { (len - needle.veiled.len() + 1) as u64 } else { len as u64 };
        }
    }
    page.fill(0);
    found
}

/// Lays out, seals, opens and rebuilds; gives back what must be gone when it returns.
#[inline(never)]
fn there_and_back(text: &str, times: usize) -> Vec<Needle> {
    let plan = text.parse::<Plan<String>>().unwrap().bind(&letter).unwrap();
    let op_seed = derive_secret(&secret(71), "test", b"seed");
    let words = Some(derive_secret(&secret(72), "test", b"words")).filter(|_| text.contains("memory"));
    let d = derive_secret(&secret(73), "test", b"d");
    let bundle = Zeroizing::new(derive_secret(&secret(74), "test", b"content").expose().repeat(times));
    // What these derivations left there is not copied along in the gaps of what is moved from the stack to the heap.
    use_stack();
    let backup = BackupId([6; 16]);
    let layout = Layout::new(backup, &plan, bundle.len() as u64, 1 << 20).unwrap();
    let pieces = lay(&layout, &op_seed, words.as_ref(), &bundle, 0).unwrap();
    let mut envelopes = Vec::new();
    let mut needles = vec![
        Needle { name: "seed", veiled: veil(op_seed.expose()) },
        Needle { name: "d", veiled: veil(d.expose()) },
        Needle { name: "envelope key", veiled: veil(derive_secret(&d, "envelope", b"").expose()) },
        Needle { name: "content", veiled: veil(&bundle[..32]) },
        Needle { name: "content key", veiled: veil(derive_secret(&op_seed, "content key", &[0; 4]).expose()) },
    ];
    for slot in layout.slots() {
        let deposit = DepositId([slot.safe.0[0]; 16]);
        let body = layout.envelope(&op_seed, &Draft { slot, deposit, d: &d }, &pieces).unwrap().seal().unwrap();
        envelopes.push((slot, Envelope::open(&d, &deposit, &body).unwrap()));
    }
    let kept: Vec<_> = layout.pieces_at(&Place::Book, &pieces).into_iter().cloned().collect();
    let back = Zeroizing::new(gather(&layout, words.as_ref(), &kept, &envelopes).unwrap());
    assert!(*back == *bundle);
    needles.extend(words.iter().map(|words| Needle { name: "words", veiled: veil(words.expose()) }));
    needles.push(Needle { name: "piece", veiled: veil(&pieces[0].bytes[..32]) });
    // The search finds what is there; a key that is derived where it is used is not.
    for needle in needles.iter().filter(|needle| !["content key", "envelope key"].contains(&needle.name)) {
        assert!(count(needle) > 0, "{}", needle.name);
    }
    needles
}

/// Uses the stack as whatever runs next would: what primitives left there is overwritten.
#[inline(never)]
fn use_stack() {
    std::hint::black_box([0_u8; 1 << 20]);
}

#[test]
fn nothing_secret_stays_in_memory() {
    for plan in [
        "seal(at(A), derive(memory, at(B)))",
        "split(2, at(A), at(B), at(C))",
        "seal(disperse(2, at(A), at(B), at(C)), derive(book, split(2, at(A), at(B), at(C))))",
        "seal(seal(at(A), at(B)), derive(memory, book))",
    ] {
        for len in [20, 1000] {
            let needles = there_and_back(plan, len);
            use_stack();
            for needle in needles {
                assert_eq!(count(&needle), 0, "{} of {plan}", needle.name);
            }
        }
    }
}
