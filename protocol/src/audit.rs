//! Audits: a safe shows that it still has a body by one slice of it and the way from there to the certificate's root.
//!
//! ```text
//! root ─┬─ node ─┬─ node ── group 0        the auditor asks for group 2 and gets its bytes
//!       │        └─ node ── group 1        and [node of group 3, node over groups 0 and 1]
//!       └─ node ─┬─ node ── group 2  ◀──
//!                └─ node ── group 3
//! ```
//!
//! The tree is BLAKE3's own, with groups of 16 chunks as leaves; who holds the root needs nothing else to check a slice. The audit secret
//! gives no right to the whole, and one sealed request asks about many deposits. Spec: `spec/audit.md`.

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    codec::{self, Bytes, CodecError},
    crypto::{
        CryptoError, HPKE_ENC_LEN, HpkePrivateKey, Node, Secret, TAG_LEN, blake3, blake3_group, blake3_parent,
        blake3_root,
    },
    identity::Entry,
    ids::{DepositId, Root, SafeId, Seconds},
    sealed::{Sealed, Subject},
};

/// Length of a group, bytes: 16 chunks of BLAKE3. A slice is one group: 16 KiB go over any line, and 2 MiB have 128 of them.
pub const GROUP_LEN: usize = 16 * 1024;
/// Most deposits in one audit. Each costs the safe a question to its ledger and one to its storage; with 32 of the 50 that a free plan
/// allows in a request, there is room for the rest.
pub const MAX_AUDIT_ITEMS: usize = 16;
/// Most slices in one audit, of all its deposits together: 256 KiB go back.
pub const MAX_AUDIT_SLICES: usize = 16;
/// Longest list of items, bytes: 16 × (1 + 17 + 34 + 1), 16 groups of 5, and its head.
const MAX_ITEMS_LEN: usize = MAX_AUDIT_ITEMS * 53 + MAX_AUDIT_SLICES * 5 + 1;
/// Longest audit request, bytes: the sealed list, the encapsulated key 1120, and less than 64 for the rest.
pub const MAX_AUDIT_LEN: usize = MAX_ITEMS_LEN + TAG_LEN + HPKE_ENC_LEN + 64;
/// Most nodes on a way: bodies of up to 2^32 groups.
const MAX_PATH: usize = 32;
/// Longest answer, bytes: for each slice its bytes and its way of at most 32 nodes with a head of 2; less than 32 for heads and refusals.
pub const MAX_AUDIT_ANSWER_LEN: usize = MAX_AUDIT_SLICES * (GROUP_LEN + MAX_PATH * 34 + 32) + MAX_AUDIT_ITEMS * 32;

/// How many groups a body has.
pub const fn group_count(length: u64) -> u64 {
    let groups = length.div_ceil(GROUP_LEN as u64);
    if groups == 0 { 1 } else { groups }
}

/// The leaves of a body's tree, 32 bytes each: what a safe keeps beside the body so that an audit need not hash all of it. A body of one group has
/// none.
pub fn derive_leaves(body: &[u8]) -> Vec<Node> {
    if body.len() <= GROUP_LEN {
        return Vec::new();
    }
    let node = |(i, group): (usize, &[u8])| blake3_group(group, (i * GROUP_LEN) as u64);
    body.chunks(GROUP_LEN).enumerate().map(node).collect()
}

/// The root of a body whose leaves are known: the same as BLAKE3 of the body.
pub fn root_of(body: &[u8], leaves: &[Node]) -> Root {
    match split(leaves.len()) {
        Some(at) => Root(blake3_root(&node_over(&leaves[..at]), &node_over(&leaves[at..]))),
        None => Root(blake3(body)),
    }
}

/// Where a tree over `leaves` leaves parts: the left side has the largest power of two of them that leaves some for the right.
const fn split(leaves: usize) -> Option<usize> {
    if leaves < 2 { None } else { Some(leaves.next_power_of_two() / 2) }
}

fn node_over(leaves: &[Node]) -> Node {
    match (split(leaves.len()), leaves) {
        (Some(at), _) => blake3_parent(&node_over(&leaves[..at]), &node_over(&leaves[at..])),
        (None, [leaf]) => *leaf,
        (None, _) => Node::default(),
    }
}

/// The way from a group to the root: the nodes beside it, from the bottom. Empty for a group that is not there.
pub fn path_of(leaves: &[Node], group: usize) -> Vec<Node> {
    let Some(at) = split(leaves.len()) else { return Vec::new() };
    let (mut path, beside) = if group < at {
        (path_of(&leaves[..at], group), node_over(&leaves[at..]))
    } else {
        (path_of(&leaves[at..], group - at), node_over(&leaves[..at]))
    };
    path.push(beside);
    path
}

/// An audit's slice does not belong to the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SliceError {
    /// The body has no such group.
    #[error("the body has no such part")]
    NoSuchGroup,
    /// The slice is not as long as the group.
    #[error("the part has {got} bytes instead of {expected}")]
    Length {
        /// What came, bytes.
        got: usize,
        /// What the group has, bytes.
        expected: usize,
    },
    /// Slice and way do not lead to the root.
    #[error("the part is not the one that was deposited")]
    Differs,
}

/// Checks a slice against the root and length of a certificate.
///
/// # Errors
/// [`SliceError`].
pub fn verify_slice(root: &Root, length: u64, group: u64, slice: &[u8], path: &[Node]) -> Result<(), SliceError> {
    let groups = group_count(length);
    if group >= groups {
        return Err(SliceError::NoSuchGroup);
    }
    let offset = group * GROUP_LEN as u64;
    let expected = (length - offset).min(GROUP_LEN as u64) as usize;
    if slice.len() != expected {
        return Err(SliceError::Length { got: slice.len(), expected });
    }
    if groups == 1 {
        return if path.is_empty() && Root(blake3(slice)) == *root { Ok(()) } else { Err(SliceError::Differs) };
    }
    let climbed = usize::try_from(groups).ok().zip(usize::try_from(group).ok());
    let top = climbed.and_then(|(groups, group)| climb(blake3_group(slice, offset), groups, group, path));
    match top {
        Some((left, right)) if Root(blake3_root(&left, &right)) == *root => Ok(()),
        _ => Err(SliceError::Differs),
    }
}

/// The two nodes below the root of a tree of `groups` leaves (at least two), from one leaf and its way; `None` if the way is too long or short.
fn climb(leaf: Node, groups: usize, group: usize, path: &[Node]) -> Option<(Node, Node)> {
    let at = split(groups)?;
    let (beside, below) = path.split_last()?;
    let left = group < at;
    let (groups, group) = if left { (at, group) } else { (groups - at, group - at) };
    let node = if groups == 1 {
        below.is_empty().then_some(leaf)?
    } else {
        let (l, r) = climb(leaf, groups, group, below)?;
        blake3_parent(&l, &r)
    };
    Some(if left { (node, *beside) } else { (*beside, node) })
}

/// One question of an audit.
#[derive(Debug, Clone, Encode, Decode)]
pub struct AuditItem {
    /// The deposit.
    #[n(0)]
    pub deposit: DepositId,
    /// Its audit secret.
    #[n(1)]
    pub secret: Secret,
    /// The groups to be shown, from 0; at least one.
    #[n(2)]
    pub groups: Vec<u32>,
}

/// Whether a list is one that a safe answers.
fn is_askable(items: &[AuditItem]) -> bool {
    let slices: usize = items.iter().map(|item| item.groups.len()).sum();
    !items.is_empty()
        && items.len() <= MAX_AUDIT_ITEMS
        && slices <= MAX_AUDIT_SLICES
        && items.iter().all(|item| !item.groups.is_empty())
}

const SUBJECT: Subject<'static> = Subject("audit", None);

/// Seals items to a safe: the body of `POST /v1/audits`, at most [`MAX_AUDIT_LEN`] bytes. Inverse of [`open_items`].
///
/// # Errors
/// If the entry's HPKE key is not one, or there are no items, no slices of one, or more than [`MAX_AUDIT_ITEMS`] or
/// [`MAX_AUDIT_SLICES`].
pub fn seal_items<R: CryptoRng>(
    items: &[AuditItem],
    entry: &Entry,
    expiry: Seconds,
    rng: &mut R,
) -> Result<Sealed, CryptoError> {
    if !is_askable(items) {
        return Err(CryptoError);
    }
    Sealed::make(SUBJECT, &Zeroizing::new(codec::encode(&items.to_vec())), entry, expiry, rng)
}

/// Opens the items at the safe.
///
/// # Errors
/// [`CryptoError`] if they were sealed to another safe, nonce or expiry, or are no list of items.
pub fn open_items(request: &Sealed, key: &HpkePrivateKey, safe: &SafeId) -> Result<Vec<AuditItem>, CryptoError> {
    let items: Vec<AuditItem> =
        codec::decode(&request.open(SUBJECT, key, safe)?, MAX_ITEMS_LEN).map_err(|_| CryptoError)?;
    if is_askable(&items) { Ok(items) } else { Err(CryptoError) }
}

/// A group's bytes and its way to the root, from the bottom.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Slice {
    /// The bytes.
    #[n(0)]
    pub bytes: Bytes,
    /// The nodes beside the way, 32 bytes each.
    #[n(1)]
    pub path: Vec<Bytes>,
}

impl Slice {
    /// Cuts a group out of what a safe stored: the body and its leaves. Whatever is not there any more is missing from the slice too: it is the auditor
    /// who judges.
    pub fn cut(body: &[u8], leaves: &[Node], group: u32) -> Self {
        let group = group as usize;
        let from = group.saturating_mul(GROUP_LEN).min(body.len());
        let to = from.saturating_add(GROUP_LEN).min(body.len());
        let path = path_of(leaves, group).iter().map(|node| node.to_vec().into()).collect();
        Self { bytes: body[from..to].to_vec().into(), path }
    }

    /// Checks it against a certificate's root and length.
    ///
    /// # Errors
    /// [`SliceError`] if the safe showed something else than what was deposited.
    pub fn verify(&self, root: &Root, length: u64, group: u32) -> Result<(), SliceError> {
        let node = |node: &Bytes| Node::try_from(&**node).map_err(|_| SliceError::Differs);
        let path: Vec<Node> = self.path.iter().map(node).collect::<Result<_, _>>()?;
        verify_slice(root, length, group.into(), &self.bytes, &path)
    }
}

/// What a safe answers to one item, in the order of the items: CBOR `[0, [[slice, [node…]]…]]` or `[1, problem]`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum AuditResult {
    /// The slices, in the order of the groups.
    #[n(0)]
    Shown(#[n(0)] Vec<Slice>),
    /// The last part of a problem's type.
    #[n(1)]
    Refused(#[n(0)] String),
}

/// Decodes the answer to an audit of `items` items.
///
/// # Errors
/// [`CodecError`].
pub fn parse_answer(bytes: &[u8], items: usize) -> Result<Vec<AuditResult>, CodecError> {
    let results: Vec<AuditResult> = codec::decode(bytes, MAX_AUDIT_ANSWER_LEN)?;
    if results.len() == items { Ok(results) } else { Err(CodecError::Malformed) }
}
