//! Audits: the tree against BLAKE3 itself, and what slices find of a body that is not what it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use protocol::{
    audit::{GROUP_LEN, Slice, derive_leaves, group_count, path_of, root_of, verify_slice},
    crypto::blake3,
    ids::Root,
};
use rand_core::Rng;
use tests::fixture::rng;

fn body(len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    rng(len as u64).fill_bytes(&mut body);
    body
}

/// Lengths at and around every place where the tree changes its shape.
#[test]
fn every_slice_of_every_shape_leads_to_the_root() {
    let edges = (1..=9).flat_map(|groups| [-1025i64, -1, 0, 1, 1024].map(|d| groups * GROUP_LEN as i64 + d));
    for len in [1, 2, 1023, 1024, 1025].into_iter().chain(edges).map(|len| len as usize) {
        let body = body(len);
        let leaves = derive_leaves(&body);
        let root = Root(blake3(&body));
        assert_eq!(root_of(&body, &leaves), root, "{len}");
        let groups = group_count(len as u64);
        assert_eq!(groups, len.div_ceil(GROUP_LEN) as u64);
        for group in 0..groups as u32 {
            let slice = Slice::cut(&body, &leaves, group);
            slice.verify(&root, len as u64, group).unwrap_or_else(|e| panic!("{group} of {len}: {e}"));
            // Its place is part of what is shown, and so is the length wherever the tree depends on it.
            for other in (0..groups as u32 + 1).filter(|other| *other != group) {
                assert!(slice.verify(&root, len as u64, other).is_err(), "{group} as {other} of {len}");
            }
            let path = path_of(&leaves, group as usize);
            for cut in 0..path.len() {
                assert!(verify_slice(&root, len as u64, group.into(), &slice.bytes, &path[..cut]).is_err());
            }
            let longer = [&path[..], &[[0; 32]]].concat();
            assert!(verify_slice(&root, len as u64, group.into(), &slice.bytes, &longer).is_err());
        }
    }
    assert_eq!(group_count(0), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_is_found_where_a_slice_touches_it(
        len in 1usize..200_000,
        at: prop::sample::Index,
        group: prop::sample::Index,
        bit in 0u8..8,
    ) {
        let whole = body(len);
        let (root, leaves) = (Root(blake3(&whole)), derive_leaves(&whole));
        let at = at.index(len);
        let mut bad = whole;
        bad[at] ^= 1 << bit;
        let touched = (at / GROUP_LEN) as u32;
        prop_assert!(Slice::cut(&bad, &leaves, touched).verify(&root, len as u64, touched).is_err());
        // A safe that hashes the bad body anew shows another tree: found by every slice.
        let group = group.index(group_count(len as u64) as usize) as u32;
        prop_assert!(Slice::cut(&bad, &derive_leaves(&bad), group).verify(&root, len as u64, group).is_err());
        if group != touched {
            prop_assert!(Slice::cut(&bad, &leaves, group).verify(&root, len as u64, group).is_ok());
        }
    }

    #[test]
    fn a_truncated_or_exchanged_body_is_found(len in 2usize..200_000, cut: prop::sample::Index) {
        let whole = body(len);
        let (root, leaves) = (Root(blake3(&whole)), derive_leaves(&whole));
        let cut = cut.index(len);
        let last = group_count(len as u64) as u32 - 1;
        // From the group of the cut on, every slice finds it.
        for group in (cut / GROUP_LEN) as u32..=last {
            prop_assert!(Slice::cut(&whole[..cut], &leaves, group).verify(&root, len as u64, group).is_err());
        }
        let other = body(len + 1);
        for group in 0..=last {
            let shown = Slice::cut(&other[..len], &derive_leaves(&other[..len]), group);
            prop_assert!(shown.verify(&root, len as u64, group).is_err());
        }
    }
}

/// `1 − (1 − b/g)^c`, as the specification states it, by counting.
#[test]
fn slices_find_damage_as_often_as_is_stated() {
    const GROUPS: u64 = 128;
    const TRIES: u32 = 4000;
    let whole = body(GROUPS as usize * GROUP_LEN);
    let (root, leaves) = (Root(blake3(&whole)), derive_leaves(&whole));
    let mut rng = rng(1);
    for (bad_groups, slices) in [(1u64, 1u32), (1, 16), (12, 16), (12, 44)] {
        let mut bad = whole.clone();
        for group in 0..bad_groups {
            // Spread over the body, one bit in each.
            bad[(group * (GROUPS / bad_groups)) as usize * GROUP_LEN + 777] ^= 1;
        }
        // Each group is judged once; drawing is what the probability is about.
        let finds: Vec<bool> = (0..GROUPS as u32)
            .map(|group| Slice::cut(&bad, &leaves, group).verify(&root, whole.len() as u64, group).is_err())
            .collect();
        assert_eq!(finds.iter().filter(|found| **found).count() as u64, bad_groups);
        let mut draw = || finds[(rng.next_u64() % GROUPS) as usize];
        let found = (0..TRIES).filter(|_| (0..slices).filter(|_| draw()).count() > 0).count();
        let stated = 1.0 - (1.0 - bad_groups as f64 / GROUPS as f64).powi(slices as i32);
        let measured = found as f64 / f64::from(TRIES);
        // Four standard deviations; the draws come from a fixed seed.
        let deviation = (stated * (1.0 - stated) / f64::from(TRIES)).sqrt();
        println!("{bad_groups} of {GROUPS} bad, {slices} slices: {stated:.3} stated, {measured:.3} measured");
        assert!((measured - stated).abs() < 4.0 * deviation, "{measured} instead of {stated}");
    }
}
