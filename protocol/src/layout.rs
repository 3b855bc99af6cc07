//! A plan carried out: from a bundle to one envelope per safe and segment, and back.
//!
//! ```text
//! stream   = wrap 112 ‖ sealed bundle                     wrap = seal(KEK, content key), KEK needs all parts of the key
//! segment  = the next `segment_len` bytes of the stream, so that no body exceeds what the safes take
//! stripe   = the next k × 64 KiB of the segment; shard i = the i-th 64 KiB of every stripe, one after the other
//! ```
//!
//! Everything random comes from the operation's seed, so that whoever repeats a step after a crash gets the same bytes.
//! In scope: `seal(disperse(k, at…) | at, split(k, at…) | at)`. Spec: `spec/piece.md`.

use zeroize::Zeroizing;

use crate::{
    SUITE,
    bundle::MAX_BUNDLE_LEN,
    codec,
    crypto::{self, Commitment, CryptoError, Secret, blake3_commit, derive_bytes, derive_secret, expand_seed},
    envelope::{Envelope, EnvelopeError, Head, PieceHead, Unsealed, body_len},
    ids::{BackupId, DepositId, Root, SafeId},
    plan::{Node, Place as Where, Plan, PlanError},
    seal::{self, Purpose, SEALED_CHUNK, Sealer, sealed_len},
};

/// Bytes of one shard in one stripe.
pub const STRIPE: u64 = 64 * 1024;
/// Shards are multiples of this (the code works on blocks of 64 bytes).
pub const SHARD_UNIT: u64 = 64;
/// Length of the wrapped content key at the head of the stream: 32 sealed.
pub const WRAP_LEN: u64 = sealed_len(32);
/// Room for a share of the key beside a shard, bytes.
const SHARE_ROOM: u64 = 64;
/// Path of the content below the root's `seal`.
const CONTENT: u8 = 0;
/// Path of the key below the root's `seal`.
const KEY: u8 = 1;

/// Recovery could not rebuild something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// Too few pieces.
    #[error("{got} pieces, where {needed} are needed")]
    TooFew {
        /// There are.
        got: usize,
        /// Needed.
        needed: usize,
    },
    /// The pieces belong together by their labels but do not rebuild what they commit to.
    #[error("the pieces do not rebuild what they were made from")]
    Inconsistent,
    /// An envelope of another backup, plan or segment.
    #[error("the envelope belongs to another backup")]
    Stray,
    /// A primitive refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// One place of a group: its path and its safe.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: Vec<u8>,
    safe: SafeId,
}

/// A group below the root: how many places suffice, and the places.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    /// `None`: a single place, which gets all.
    k: Option<usize>,
    places: Vec<Place>,
}

impl Places {
    fn of(plan: &Plan<SafeId>, at: u8, key: bool) -> Result<Self, PlanError> {
        let group = match plan.node() {
            Node::Place(place) => {
                return Ok(Self { k: None, places: vec![Place { path: vec![at], safe: safe_of(place)? }] });
            }
            Node::Split(group) if key => group,
            Node::Disperse(group) if !key => group,
            _ => return Err(PlanError::NotExecutable),
        };
        let mut places: Vec<Place> = Vec::with_capacity(group.children().len());
        for (index, child) in group.children().iter().enumerate() {
            let Node::Place(place) = child.node() else { return Err(PlanError::NotExecutable) };
            // At most MAX_CHILDREN = 20 children.
            places.push(Place { path: vec![at, index as u8], safe: safe_of(place)? });
        }
        Ok(Self { k: Some(group.k()), places })
    }

    fn needed(&self) -> usize {
        self.k.unwrap_or(1)
    }

    fn index_of(&self, safe: &SafeId) -> Option<usize> {
        self.places.iter().position(|p| p.safe == *safe)
    }
}

const fn safe_of(place: &Where<SafeId>) -> Result<SafeId, PlanError> {
    match place {
        Where::Safe { safe, owner: false } => Ok(*safe),
        Where::Safe { owner: true, .. } => Err(PlanError::OwnerUnavailable),
        _ => Err(PlanError::NotExecutable),
    }
}

/// Content and key of a plan that can be carried out.
fn parts(plan: &Plan<SafeId>) -> Result<(Places, Places), PlanError> {
    let Node::Seal { content, key } = plan.node() else { return Err(PlanError::NotExecutable) };
    let [key] = key.as_slice() else { return Err(PlanError::NotExecutable) };
    Ok((Places::of(content, CONTENT, false)?, Places::of(key, KEY, true)?))
}

/// How one backup lies over its safes. Everything here is known to wallet and book; the safes know nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    backup: BackupId,
    plan_commitment: Root,
    content: Places,
    key: Places,
    bundle: u64,
    segment_len: u64,
}

/// One deposit to be made: a safe and the segment that it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The segment, from 0.
    pub segment: u32,
    /// The safe.
    pub safe: SafeId,
}

/// A slot with the names that the wallet drew for it.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The slot.
    pub slot: Slot,
    /// The deposit's id.
    pub deposit: DepositId,
    /// The deposit's secret.
    pub d: &'a Secret,
}

impl Layout {
    /// Plans a new backup of a bundle of `bundle` bytes over safes that take bodies of `limit` bytes each.
    ///
    /// # Errors
    /// [`PlanError`]: a form that cannot be carried out, a doubled safe, or a limit below one stripe.
    pub fn new(backup: BackupId, plan: &Plan<SafeId>, bundle: u64, limit: u64) -> Result<Self, PlanError> {
        let fits = |stripes: u64| body_len(stripes * STRIPE + SHARE_ROOM) <= limit;
        let mut stripes = limit / STRIPE;
        while stripes > 0 && !fits(stripes) {
            stripes -= 1;
        }
        if stripes == 0 {
            return Err(PlanError::LimitTooSmall(limit));
        }
        let needed = parts(plan)?.0.needed() as u64;
        Self::restore(backup, plan, bundle, stripes * STRIPE * needed)
    }

    /// The layout of an existing backup, as the book or an envelope's head states it.
    ///
    /// # Errors
    /// [`PlanError`]: a form that cannot be carried out.
    pub fn restore(backup: BackupId, plan: &Plan<SafeId>, bundle: u64, segment_len: u64) -> Result<Self, PlanError> {
        let (content, key) = parts(plan)?;
        let plan_commitment = Root(blake3_commit("strongroom 1 plan", &[&codec::encode(plan)]));
        if segment_len == 0 || !segment_len.is_multiple_of(STRIPE * content.needed() as u64) {
            return Err(PlanError::Length(segment_len));
        }
        if bundle > MAX_BUNDLE_LEN {
            return Err(PlanError::Length(bundle));
        }
        Ok(Self { backup, plan_commitment, content, key, bundle, segment_len })
    }

    /// Length of the stream, bytes.
    pub const fn stream_len(&self) -> u64 {
        WRAP_LEN + sealed_len(self.bundle)
    }

    /// Bytes of the stream per segment.
    pub const fn segment_len(&self) -> u64 {
        self.segment_len
    }

    /// Number of segments.
    pub const fn segments(&self) -> u32 {
        // MAX_BUNDLE_LEN is 64 GiB and a segment has at least 64 KiB: about 2^20.
        self.stream_len().div_ceil(self.segment_len) as u32
    }

    /// Number of [`Self::slots`], without making them.
    pub fn slot_count(&self) -> u64 {
        let keys = self.key.places.iter().filter(|p| self.content.index_of(&p.safe).is_none()).count();
        u64::from(self.segments()) * self.content.places.len() as u64 + keys as u64
    }

    /// How many pieces of a segment are needed, and how many shares of the key.
    pub fn needed(&self) -> (usize, usize) {
        (self.content.needed(), self.key.needed())
    }

    /// Whether a safe's envelope of a segment serves the content, and whether it serves the key.
    pub fn serves(&self, slot: Slot) -> (bool, bool) {
        (self.content.index_of(&slot.safe).is_some(), slot.segment == 0 && self.key.index_of(&slot.safe).is_some())
    }

    /// All deposits of the backup, segment by segment; within one, data shards come first (they need no arithmetic to rebuild).
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        for segment in 0..self.segments() {
            slots.extend(self.content.places.iter().map(|p| Slot { segment, safe: p.safe }));
            if segment == 0 {
                let others = self.key.places.iter().filter(|p| self.content.index_of(&p.safe).is_none());
                slots.extend(others.map(|p| Slot { segment, safe: p.safe }));
            }
        }
        slots
    }

    fn range(&self, segment: u32) -> Option<(u64, u64)> {
        let from = u64::from(segment).checked_mul(self.segment_len)?;
        let to = self.stream_len().min(from.saturating_add(self.segment_len));
        (from < to).then_some((from, to))
    }

    fn content_purpose(&self) -> Purpose<'_> {
        Purpose { purpose: "content", object: &self.backup.0, version: 0 }
    }

    fn wrap_purpose(&self) -> Purpose<'_> {
        Purpose { purpose: "wrap", object: &self.backup.0, version: 0 }
    }

    /// `KEK = HKDF-SHA-384[salt = "", info = CBOR [suite, "kek", node path, backup]](part, 32)`.
    fn derive_kek(&self, part: &[u8]) -> Result<Secret, CryptoError> {
        let info = codec::encode(&(SUITE, "kek", codec::Bytes(Vec::new()), self.backup));
        let mut kek = Zeroizing::new([0; 32]);
        derive_bytes(part, b"", &info, &mut *kek)?;
        Ok(Secret::from_bytes(*kek))
    }

    fn key_commitment(&self, part: &[u8]) -> Root {
        Root(blake3_commit("strongroom 1 key part", &[&self.backup.0, &[KEY], part]))
    }

    /// The commitment to a segment, up to the segment's own bytes.
    fn segment_commitment(&self, segment: u32) -> Commitment {
        let mut commitment = Commitment::new("strongroom 1 segment");
        for part in [&self.backup.0[..], &[CONTENT], &segment.to_be_bytes()] {
            commitment.begin_part(part.len() as u64);
            commitment.update(part);
        }
        commitment
    }

    /// The bodies of one segment, in the order of the drafts given for it. A pure function of its arguments.
    ///
    /// # Errors
    /// [`EnvelopeError`] if the bundle is not of the length planned, or a draft's slot is none of the plan.
    pub fn make_bodies(
        &self,
        op_seed: &Secret,
        bundle: &[u8],
        segment: u32,
        drafts: &[Draft<'_>],
    ) -> Result<Vec<Vec<u8>>, EnvelopeError> {
        if bundle.len() as u64 != self.bundle {
            return Err(CryptoError.into());
        }
        let stream = self.stream(op_seed)?;
        let mut packer = self.packer(op_seed, segment, drafts)?;
        packer.push(0, stream.head())?;
        let mut sealed = Vec::with_capacity(SEALED_CHUNK);
        for chunk in seal::chunks(bundle.len())? {
            let at = WRAP_LEN + chunk.sealed.start as u64;
            if packer.wants(at, chunk.sealed.len() as u64) {
                sealed.clear();
                stream.sealer.seal_chunk(&chunk, &bundle[chunk.content.clone()], &mut sealed)?;
                packer.push(at, &sealed)?;
            }
        }
        packer.finish()?.into_iter().map(Unsealed::seal).collect()
    }

    /// The stream of the backup: what stands before its chunks, and what seals them.
    ///
    /// # Errors
    /// Never for the fixed lengths used here; the type is the primitives'.
    pub fn stream(&self, op_seed: &Secret) -> Result<Stream, CryptoError> {
        let content_key = derive_secret(op_seed, "content key", &self.backup.0);
        let salt = derive_secret(op_seed, "wrap salt", &self.backup.0);
        let kek = self.derive_kek(self.key_part(op_seed).expose())?;
        let mut head = seal::seal(&kek, salt.expose(), &self.wrap_purpose(), content_key.expose())?;
        let salt = derive_secret(op_seed, "content salt", &self.backup.0);
        let sealer = Sealer::new(&content_key, salt.expose(), &self.content_purpose())?;
        head.extend_from_slice(sealer.header());
        Ok(Stream { head, sealer })
    }

    /// What fills the envelopes of a segment from the stream.
    ///
    /// # Errors
    /// [`EnvelopeError`] if there is no such segment, or a draft's slot is none of the plan.
    pub fn packer<'a>(
        &'a self,
        op_seed: &Secret,
        segment: u32,
        drafts: &[Draft<'_>],
    ) -> Result<Packer<'a>, EnvelopeError> {
        let (from, to) = self.range(segment).ok_or(CryptoError)?;
        let part = self.key_part(op_seed);
        let shares = if segment == 0 { self.make_key_pieces(op_seed, &part)? } else { Vec::new() };
        let key_parent = self.key_commitment(part.expose());
        let shard = self.content.k.map_or(to - from, |k| shard_len(to - from, k as u64)) as usize;
        let mut envelopes = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let mut heads = Vec::new();
            let mut add = |place: &Place, length: usize, parent| {
                heads.push(PieceHead { path: place.path.clone().into(), length: length as u32, parent });
            };
            let content = self.content.index_of(&draft.slot.safe);
            let share = self.key.index_of(&draft.slot.safe).filter(|_| segment == 0);
            if let Some(index) = content {
                add(&self.content.places[index], shard, Root([0; 32]));
            }
            let share = share.map(|index| (index, shares.get(index))).and_then(|(i, s)| Some((i, s?)));
            if let Some((index, share)) = share {
                add(&self.key.places[index], share.len(), key_parent);
            }
            if heads.is_empty() || draft.slot.segment != segment {
                return Err(CryptoError.into());
            }
            let head = Head::new(self.backup, self.plan_commitment, segment, self.bundle, self.segment_len, heads);
            let salt = derive_secret(op_seed, "envelope salt", &draft.deposit.0);
            let mut envelope = Unsealed::new(draft.d, &draft.deposit, salt.expose(), &head)?;
            if let Some((_, share)) = share {
                // The share stands behind the shard, where there is one.
                let room = envelope.piece_mut(head.pieces.len() - 1).ok_or(CryptoError)?;
                room.copy_from_slice(share);
            }
            envelopes.push(Filling { content, head, envelope });
        }
        let mut commitment = self.segment_commitment(segment);
        commitment.begin_part(to - from);
        Ok(Packer { layout: self, from, to, at: from, commitment, pending: Vec::new(), filled: 0, envelopes })
    }

    fn key_part(&self, op_seed: &Secret) -> Secret {
        derive_secret(op_seed, "key part", &[KEY])
    }

    fn make_key_pieces(&self, op_seed: &Secret, part: &Secret) -> Result<Vec<Zeroizing<Vec<u8>>>, CryptoError> {
        match self.key.k {
            None => Ok(vec![Zeroizing::new(part.expose().to_vec())]),
            Some(k) => {
                let mut rng = expand_seed(&derive_secret(op_seed, "shares", &[KEY]));
                let n = self.key.places.len();
                crypto::make_shares(part.expose(), k as u8, n as u8, &mut rng)
            }
        }
    }

    /// Checks that an opened envelope is the one of this backup, plan and segment.
    ///
    /// # Errors
    /// [`GatherError::Stray`].
    pub fn check(&self, slot: Slot, envelope: &Envelope) -> Result<(), GatherError> {
        let head = &envelope.head;
        let ours = head.backup == self.backup
            && head.plan == self.plan_commitment
            && head.segment == slot.segment
            && head.bundle == self.bundle
            && head.segment_len == self.segment_len;
        let (content, key) = self.serves(slot);
        let has = |places: &Places| {
            places.index_of(&slot.safe).is_some_and(|i| envelope.piece(&places.places[i].path).is_some())
        };
        if ours && (!content || has(&self.content)) && (!key || has(&self.key)) {
            Ok(())
        } else {
            Err(GatherError::Stray)
        }
    }

    /// Rebuilds one segment of the stream from envelopes of enough safes. Inverse of dispersing it.
    ///
    /// # Errors
    /// [`GatherError`].
    pub fn gather_segment(&self, segment: u32, envelopes: &[(SafeId, &Envelope)]) -> Result<Vec<u8>, GatherError> {
        let (from, to) = self.range(segment).ok_or(GatherError::Stray)?;
        let mut shards: Vec<(usize, &[u8])> = Vec::new();
        let mut parent = None;
        for (safe, envelope) in envelopes {
            let Some(index) = self.content.index_of(safe) else { continue };
            let Some((head, bytes)) = envelope.piece(&self.content.places[index].path) else { continue };
            if *parent.get_or_insert(head.parent) != head.parent {
                return Err(GatherError::Inconsistent);
            }
            shards.push((index, bytes));
        }
        let needed = self.content.needed();
        if shards.len() < needed {
            return Err(GatherError::TooFew { got: shards.len(), needed });
        }
        // Data shards first: they are copied, others are computed.
        shards.sort_unstable_by_key(|(index, _)| *index);
        shards.truncate(needed);
        let len = to - from;
        let bytes = match self.content.k {
            None => shards[0].1.to_vec(),
            Some(k) => gather_dispersed(&shards, k, self.content.places.len(), len)?,
        };
        let mut commitment = self.segment_commitment(segment);
        commitment.begin_part(bytes.len() as u64);
        commitment.update(&bytes);
        if bytes.len() as u64 == len && parent == Some(Root(commitment.finish())) {
            Ok(bytes)
        } else {
            Err(GatherError::Inconsistent)
        }
    }

    /// Rebuilds the key that opens the wrap, from the envelopes of segment 0. Inverse of sharing it.
    ///
    /// # Errors
    /// [`GatherError`].
    pub fn gather_key(&self, envelopes: &[(SafeId, &Envelope)]) -> Result<Secret, GatherError> {
        let mut shares: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let mut parent = None;
        for (safe, envelope) in envelopes {
            let Some(index) = self.key.index_of(safe) else { continue };
            let Some((head, bytes)) = envelope.piece(&self.key.places[index].path) else { continue };
            if *parent.get_or_insert(head.parent) != head.parent {
                return Err(GatherError::Inconsistent);
            }
            shares.push(Zeroizing::new(bytes.to_vec()));
        }
        let needed = self.key.needed();
        if shares.len() < needed {
            return Err(GatherError::TooFew { got: shares.len(), needed });
        }
        shares.truncate(needed);
        let part = match self.key.k {
            None => shares.remove(0),
            Some(_) => crypto::combine_shares(&shares)?,
        };
        if parent == Some(self.key_commitment(&part)) {
            Ok(self.derive_kek(&part)?)
        } else {
            Err(GatherError::Inconsistent)
        }
    }

    /// Opens the stream with the key from [`Self::gather_key`]: the bundle.
    ///
    /// # Errors
    /// [`GatherError::Inconsistent`] if it does not open.
    pub fn open_stream(&self, kek: &Secret, stream: &[u8]) -> Result<Zeroizing<Vec<u8>>, GatherError> {
        if stream.len() as u64 != self.stream_len() {
            return Err(GatherError::Inconsistent);
        }
        let sealer = self.opener(kek, stream)?;
        sealer.open(&stream[WRAP_LEN as usize..]).map_err(|_| GatherError::Inconsistent)
    }

    /// What opens the chunks of the stream, which stand from [`WRAP_LEN`] on, for a shell that opens chunk by chunk. Takes the stream, or at
    /// least its wrap and the header of its sealed part.
    ///
    /// # Errors
    /// [`GatherError::Inconsistent`] if the key does not open its wrap.
    pub fn opener(&self, kek: &Secret, stream: &[u8]) -> Result<Sealer, GatherError> {
        let (wrap, sealed) = stream.split_at_checked(WRAP_LEN as usize).ok_or(GatherError::Inconsistent)?;
        let key = seal::open(kek, &self.wrap_purpose(), wrap).map_err(|_| GatherError::Inconsistent)?;
        let key = Secret::try_from(key.as_slice())?;
        Sealer::of(&key, sealed, &self.content_purpose()).map_err(|_| GatherError::Inconsistent)
    }
}

/// The stream of a backup that is being made.
pub struct Stream {
    head: Vec<u8>,
    sealer: Sealer,
}

impl Stream {
    /// Its first bytes: wrap, and the header of the sealed bundle.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// What seals the bundle's chunks.
    pub const fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}

struct Filling {
    /// Which shard it gets.
    content: Option<usize>,
    head: Head,
    envelope: Unsealed,
}

/// Fills the envelopes of one segment while its stream goes by, so that the stream need not be in memory.
pub struct Packer<'a> {
    layout: &'a Layout,
    from: u64,
    to: u64,
    at: u64,
    commitment: Commitment,
    pending: Vec<u8>,
    /// Bytes of every shard that are in place.
    filled: usize,
    envelopes: Vec<Filling>,
}

impl Packer<'_> {
    /// Whether any of `len` bytes of the stream from `at` on are in this segment.
    pub const fn wants(&self, at: u64, len: u64) -> bool {
        at < self.to && at + len > self.from
    }

    /// The stream's bytes from `at` on; what is not of this segment is passed over.
    ///
    /// # Errors
    /// [`CryptoError`] if bytes were left out.
    pub fn push(&mut self, at: u64, bytes: &[u8]) -> Result<(), CryptoError> {
        let end = at + bytes.len() as u64;
        if end <= self.at || at >= self.to {
            return Ok(());
        }
        if at > self.at {
            return Err(CryptoError);
        }
        let mut bytes = &bytes[(self.at - at) as usize..(end.min(self.to) - at) as usize];
        self.at += bytes.len() as u64;
        self.commitment.update(bytes);
        let stripe = self.layout.content.k.unwrap_or(1) * STRIPE as usize;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(stripe - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() == stripe {
                self.place(STRIPE as usize)?;
            }
        }
        Ok(())
    }

    /// Places one stripe, `each` bytes per shard.
    fn place(&mut self, each: usize) -> Result<(), CryptoError> {
        let k = self.layout.content.k.unwrap_or(1);
        self.pending.resize(k * each, 0);
        let data: Vec<&[u8]> = self.pending.chunks(each).collect();
        let more = match self.layout.content.k {
            Some(_) => crypto::erasure_encode(&data, self.layout.content.places.len())?,
            None => Vec::new(),
        };
        for filling in &mut self.envelopes {
            let Some(index) = filling.content else { continue };
            let shard = data.get(index).copied().or_else(|| more.get(index - k).map(Vec::as_slice));
            let room = filling.envelope.piece_mut(0).and_then(|p| p.get_mut(self.filled..self.filled + each));
            room.ok_or(CryptoError)?.copy_from_slice(shard.ok_or(CryptoError)?);
        }
        self.filled += each;
        self.pending.clear();
        Ok(())
    }

    /// The envelopes, in the order of the drafts.
    ///
    /// # Errors
    /// [`EnvelopeError`] if the stream has not come whole.
    pub fn finish(mut self) -> Result<Vec<Unsealed>, EnvelopeError> {
        if self.at != self.to {
            return Err(CryptoError.into());
        }
        if !self.pending.is_empty() {
            let each = match self.layout.content.k {
                Some(k) => self.pending.len().div_ceil(k).next_multiple_of(SHARD_UNIT as usize),
                None => self.pending.len(),
            };
            self.place(each)?;
        }
        let parent = Root(self.commitment.finish());
        let finish = |mut filling: Filling| {
            if filling.content.is_some() {
                filling.head.pieces[0].parent = parent;
                filling.envelope.set_head(&filling.head)?;
            }
            Ok(filling.envelope)
        };
        self.envelopes.into_iter().map(finish).collect()
    }
}

/// Length of each shard of a segment of `len` bytes: 64 KiB for each full stripe, and for the rest a k-th, rounded up to 64.
pub const fn shard_len(len: u64, k: u64) -> u64 {
    let rest = len % (k * STRIPE);
    len / (k * STRIPE) * STRIPE + rest.div_ceil(k).next_multiple_of(SHARD_UNIT)
}

/// (start in the shard, bytes per shard) of every stripe.
fn stripes(len: u64, k: u64) -> impl Iterator<Item = (usize, usize)> {
    let full = len / (k * STRIPE);
    let rest = shard_len(len, k) - full * STRIPE;
    let last = (rest > 0).then_some((full * STRIPE, rest));
    (0..full).map(|i| (i * STRIPE, STRIPE)).chain(last).map(|(from, each)| (from as usize, each as usize))
}

fn gather_dispersed(shards: &[(usize, &[u8])], k: usize, n: usize, len: u64) -> Result<Vec<u8>, GatherError> {
    let each = shard_len(len, k as u64);
    if shards.iter().any(|(_, bytes)| bytes.len() as u64 != each) {
        return Err(GatherError::Inconsistent);
    }
    // Data shards alone need no arithmetic.
    let systematic = shards.iter().map(|(i, _)| *i).eq(0..k);
    let len = usize::try_from(len).map_err(|_| CryptoError)?;
    let mut segment = Vec::with_capacity(len + k * SHARD_UNIT as usize);
    for (from, each) in stripes(len as u64, k as u64) {
        let parts: Vec<(usize, &[u8])> = shards.iter().map(|(i, bytes)| (*i, &bytes[from..from + each])).collect();
        if systematic {
            parts.iter().for_each(|(_, bytes)| segment.extend_from_slice(bytes));
        } else {
            crypto::erasure_decode(k, n, &parts)?.iter().for_each(|bytes| segment.extend_from_slice(bytes));
        }
    }
    segment.truncate(len);
    Ok(segment)
}
