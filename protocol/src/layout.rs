//! A plan carried out: which piece goes where, how long it is, and what is computed to make the pieces and to rebuild from them.
//!
//! ```text
//! segment  = the next `segment_len` bytes of the bundle, so that no body exceeds what the safes take; each is laid out by itself,
//!            except that keys stand with the first one
//! stripe   = the next k × 64 KiB of what is dispersed; shard i = the i-th 64 KiB of every stripe, one after the other
//! ```
//!
//! Everything random comes from the operation's seed, so that whoever repeats a step after a crash gets the same bytes. What is computed
//! is a [`Program`]; a shell runs it. Spec: `spec/piece.md`.

mod choosing;
mod laying;
mod rebuilding;
mod shards;

pub use shards::shard_len;
pub(crate) use shards::{gather_dispersed, make_dispersed};

use zeroize::Zeroizing;

use choosing::Search;
use laying::Laying;
use rebuilding::Rebuilding;

use crate::{
    bundle::MAX_BUNDLE_LEN,
    codec,
    crypto::{CryptoError, Secret, blake3_commit, derive_secret},
    envelope::{Envelope, EnvelopeError, Head, PieceHead, Unsealed, body_len},
    ids::{BackupId, DepositId, Root, SafeId},
    piece_file::MAX_PIECES,
    plan::{Group, Node, Place, Plan, PlanError},
    program::{At, BLIND_LEN, Context, Keys, Piece, Program, Work},
    seal::sealed_len,
};

/// Bytes of one shard in one stripe.
pub const STRIPE: u64 = 64 * 1024;
/// Shards are multiples of this (the code works on blocks of 64 bytes).
pub const SHARD_UNIT: u64 = 64;
/// Segments are multiples of this, bytes.
pub const SEGMENT_UNIT: u64 = 64 * 1024;
/// Longest segment, bytes: it passes through a wallet's memory whole.
pub const MAX_SEGMENT: u64 = 16 * 1024 * 1024;
/// Longest content that is shared as it is, bytes. Above it, it is sealed and dispersed and only the key is shared.
pub const MAX_SHARED: u64 = 4096;
/// Most bytes that a backup leaves in the book.
pub const MAX_BOOK: u64 = 64 * 1024;
/// Length of a wrapped content key: 32 sealed.
pub const WRAP_LEN: u64 = sealed_len(KEY);
/// Length of keys and their parts, bytes.
const KEY: u64 = 32;
/// Length of a share's number, bytes.
const NUMBER: u64 = 1;

/// Recovery could not rebuild something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// Too few pieces.
    #[error("the pieces that are here are not enough")]
    TooFew,
    /// The pieces belong together by their labels but do not rebuild what they commit to.
    #[error("the pieces do not rebuild what they were made from")]
    Inconsistent,
    /// An envelope or file of another backup, plan or segment.
    #[error("the piece belongs to another backup")]
    Stray,
    /// The words that the owner remembers are needed.
    #[error("the words that you chose for this backup are needed")]
    WordsMissing,
    /// With the words that were given nothing opens.
    #[error("these are not the words that you chose for this backup")]
    Words,
    /// A primitive refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// One deposit to be made: a safe, the segment that it gets, and to whom it gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The segment, from 0.
    pub segment: u32,
    /// The safe.
    pub safe: SafeId,
    /// It is bound to its owner ([`Place::Safe`]).
    pub owner: bool,
}

impl Slot {
    /// The slot of a place in a segment; `None`: the place is no safe.
    pub const fn of(segment: u32, place: &Place<SafeId>) -> Option<Self> {
        match place {
            Place::Safe { safe, owner } => Some(Self { segment, safe: *safe, owner: *owner }),
            _ => None,
        }
    }

    /// Its place in the plan.
    pub const fn place(&self) -> Place<SafeId> {
        Place::Safe { safe: self.safe, owner: self.owner }
    }
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

/// A piece that is to be made, as far as it is known beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch<'a> {
    /// Its path.
    pub path: Vec<u8>,
    /// Where it goes.
    pub place: &'a Place<SafeId>,
    /// Length, bytes.
    pub length: u64,
    /// How many groups stand above it.
    pub depth: usize,
}

/// What a backup takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Of every safe, in tree order: deposits, and bytes of their bodies.
    pub safes: Vec<(SafeId, u64, u64)>,
    /// Bytes in the book.
    pub book: u64,
    /// Bytes in the file.
    pub file: u64,
}

/// How one backup lies over its places. Everything here is known to wallet and book; the safes know nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    backup: BackupId,
    plan: Plan<SafeId>,
    plan_commitment: Root,
    bundle: u64,
    segment_len: u64,
}

/// Which pieces to use, and what is to be opened with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    segment: u32,
    cost: u64,
    /// What has to be at hand: (segment, place).
    pub uses: Vec<(u32, Place<SafeId>)>,
    /// Children that are rebuilt, by number.
    picks: Vec<(u8, Self)>,
    /// The same node in the first segment, where its key is not known yet.
    first: Option<Box<Self>>,
}

/// What a piece costs; `None`: it cannot be had.
pub type Price<'a> = &'a dyn Fn(u32, &Place<SafeId>) -> Option<u64>;

impl Layout {
    /// Plans a new backup of a bundle of `bundle` bytes over safes that take bodies of `limit` bytes each.
    ///
    /// # Errors
    /// [`PlanError`]: no safe, content in the book, or a limit too small for a piece.
    pub fn new(backup: BackupId, plan: &Plan<SafeId>, bundle: u64, limit: u64) -> Result<Self, PlanError> {
        if plan.safes().is_empty() {
            return Err(PlanError::NoSafe);
        }
        let with = |units: u64| Self::restore(backup, plan, bundle, units * SEGMENT_UNIT);
        let fits = |layout: &Self| layout.longest_body() <= limit;
        // The greatest that fits; if only the bundle itself is small enough, then the least.
        let (mut least, mut most) = (0, MAX_SEGMENT / SEGMENT_UNIT);
        while least < most {
            let middle = (least + most).div_ceil(2);
            if fits(&with(middle)?) { least = middle } else { most = middle - 1 }
        }
        if least == 0 {
            return Err(PlanError::LimitTooSmall(limit));
        }
        // As few segments as fit, and these alike: a wallet needs memory for the longest.
        let segments = u64::from(with(least)?.segments());
        let layout = with(bundle.div_ceil(segments).div_ceil(SEGMENT_UNIT))?;
        layout.check_kept()?;
        Ok(layout)
    }

    /// Whether what stays with the owner is no more than he can keep.
    ///
    /// # Errors
    /// [`PlanError::BookFull`], [`PlanError::FileFull`].
    pub fn check_kept(&self) -> Result<(), PlanError> {
        let (book, file) = (self.kept_in(&Place::Book), self.kept_in(&Place::File));
        if book > MAX_BOOK {
            return Err(PlanError::BookFull { got: book, most: MAX_BOOK });
        }
        if file > MAX_PIECES {
            return Err(PlanError::FileFull { got: file, most: MAX_PIECES });
        }
        Ok(())
    }

    /// The layout of an existing backup, as the book or an envelope's head states it.
    ///
    /// # Errors
    /// [`PlanError::Length`]: lengths that no backup has.
    pub fn restore(backup: BackupId, plan: &Plan<SafeId>, bundle: u64, segment_len: u64) -> Result<Self, PlanError> {
        if segment_len == 0 || segment_len > MAX_SEGMENT || !segment_len.is_multiple_of(SEGMENT_UNIT) {
            return Err(PlanError::Length(segment_len));
        }
        if bundle == 0 || bundle > MAX_BUNDLE_LEN {
            return Err(PlanError::Length(bundle));
        }
        let plan_commitment = Root(blake3_commit("strongroom 1 plan", &[&codec::encode(plan)]));
        Ok(Self { backup, plan: plan.clone(), plan_commitment, bundle, segment_len })
    }

    // ---- lengths -----------------------------------------------------------------------------------------------

    /// The backup.
    pub const fn backup(&self) -> &BackupId {
        &self.backup
    }

    /// What pieces name the plan by.
    pub const fn plan_commitment(&self) -> Root {
        self.plan_commitment
    }

    /// The plan.
    pub const fn plan(&self) -> &Plan<SafeId> {
        &self.plan
    }

    /// Bytes of the bundle per segment.
    pub const fn segment_len(&self) -> u64 {
        self.segment_len
    }

    /// Number of segments.
    pub const fn segments(&self) -> u32 {
        // MAX_BUNDLE_LEN is 64 GiB and a segment has at least 64 KiB: about 2^20.
        self.bundle.div_ceil(self.segment_len) as u32
    }

    /// Where a segment begins in the bundle, and where it ends; `None`: there is no such segment.
    pub fn range(&self, segment: u32) -> Option<(u64, u64)> {
        let from = u64::from(segment).checked_mul(self.segment_len)?;
        let to = self.bundle.min(from.saturating_add(self.segment_len));
        (from < to).then_some((from, to))
    }

    /// The segments that hold some bytes of the bundle, and the first, which holds the keys.
    pub fn segments_of(&self, from: u64, to: u64) -> Vec<u32> {
        let holds =
            |segment: &u32| from < to && self.range(*segment).is_some_and(|(start, end)| start < to && from < end);
        (0..self.segments()).filter(|segment| *segment == 0 || holds(segment)).collect()
    }

    fn length(&self, segment: u32) -> u64 {
        self.range(segment).map_or(0, |(from, to)| to - from)
    }

    /// The pieces of a segment, in tree order; words that are remembered are none.
    pub fn sketches(&self, segment: u32) -> Vec<Sketch<'_>> {
        let mut sketches = Vec::new();
        let lengths = (self.length(0), self.length(segment));
        sketch(&self.plan, &mut Vec::new(), 0, segment, lengths, &mut sketches);
        sketches
    }

    fn head(&self, segment: u32, pieces: Vec<PieceHead>) -> Head {
        Head::new(self.backup, self.plan_commitment, segment, self.bundle, self.segment_len, pieces)
    }

    /// Lengths of the bodies of a segment, in the order of [`Self::slots`].
    pub fn bodies(&self, segment: u32) -> Vec<(Slot, u64)> {
        let sketches = self.sketches(segment);
        let mut bodies: Vec<(Slot, Vec<PieceHead>)> = Vec::new();
        for sketch in sketches {
            // What only its owner gets is never in one body with what whoever presents the certificate gets.
            let Some(slot) = Slot::of(segment, sketch.place) else { continue };
            let parents = vec![Root([0; 32]); sketch.depth];
            let head = PieceHead { path: sketch.path.into(), length: sketch.length as u32, parents };
            match bodies.iter_mut().find(|(known, _)| *known == slot) {
                Some((_, pieces)) => pieces.push(head),
                None => bodies.push((slot, vec![head])),
            }
        }
        bodies.into_iter().map(|(slot, pieces)| (slot, body_len(&self.head(segment, pieces)))).collect()
    }

    fn longest_body(&self) -> u64 {
        // The first segment is the longest and has all keys.
        self.bodies(0).into_iter().map(|(_, length)| length).max().unwrap_or(0)
    }

    /// Bytes of all pieces of a place of the owner's.
    fn kept_in(&self, place: &Place<SafeId>) -> u64 {
        let of = |segment| self.sketches(segment).iter().filter(|s| s.place == place).map(|s| s.length).sum();
        let first: u64 = of(0);
        if self.segments() == 1 { first } else { first + u64::from(self.segments() - 1) * of(1) }
    }

    /// Number of [`Self::slots`], without making them.
    pub fn slot_count(&self) -> u64 {
        let first = self.bodies(0).len() as u64;
        if self.segments() == 1 { first } else { first + u64::from(self.segments() - 1) * self.bodies(1).len() as u64 }
    }

    /// What the backup takes.
    pub fn cost(&self) -> Cost {
        let mut safes: Vec<(SafeId, u64, u64)> = Vec::new();
        for segment in 0..self.segments() {
            for (Slot { safe, .. }, length) in self.bodies(segment) {
                match safes.iter_mut().find(|(known, ..)| *known == safe) {
                    Some((_, deposits, bytes)) => (*deposits, *bytes) = (*deposits + 1, *bytes + length),
                    None => safes.push((safe, 1, length)),
                }
            }
        }
        Cost { safes, book: self.kept_in(&Place::Book), file: self.kept_in(&Place::File) }
    }

    /// All deposits of the backup, segment by segment, in tree order: data shards first (they need no arithmetic to rebuild).
    pub fn slots(&self) -> Vec<Slot> {
        (0..self.segments()).flat_map(|segment| self.bodies(segment).into_iter().map(|(slot, _)| slot)).collect()
    }

    // ---- making ------------------------------------------------------------------------------------------------

    /// What is computed to lay a segment out.
    pub fn laying(&self, segment: u32) -> Program {
        let mut program = Program::default();
        let root = program.fresh();
        program.segment = root;
        let mut laying = Laying { program, segment };
        laying.node(&self.plan, &mut Vec::new(), root, &[], (self.length(0), self.length(segment)));
        laying.program
    }

    /// What a program of this backup needs.
    pub const fn context<'a>(
        &'a self,
        op_seed: Option<&'a Secret>,
        words: Option<&'a Secret>,
        keys: &'a [(Vec<u8>, Secret)],
    ) -> Context<'a> {
        Context { backup: &self.backup, op_seed, words, keys }
    }

    /// The pieces of one segment of the bundle. A pure function of its arguments.
    ///
    /// # Errors
    /// [`GatherError`] if the segment is not of its length, or words are needed.
    pub fn lay(
        &self,
        op_seed: &Secret,
        words: Option<&Secret>,
        segment: u32,
        content: Zeroizing<Vec<u8>>,
    ) -> Result<Vec<Piece>, GatherError> {
        if content.len() as u64 != self.length(segment) {
            return Err(GatherError::Stray);
        }
        let program = self.laying(segment);
        let mut work = Work::lay(&program, self.context(Some(op_seed), words, &[]), content);
        work.run()?;
        Ok(work.into_pieces())
    }

    /// The pieces of a place, out of all.
    pub fn pieces_at<'a>(&self, place: &Place<SafeId>, pieces: &'a [Piece]) -> Vec<&'a Piece> {
        let places = self.plan.places();
        let here = |path: &[u8]| places.iter().any(|(p, found)| p == path && **found == *place);
        pieces.iter().filter(|piece| here(&piece.path)).collect()
    }

    /// The envelope of a draft, from the pieces of its segment.
    ///
    /// # Errors
    /// [`EnvelopeError`] if the plan gives that safe nothing.
    pub fn envelope(&self, op_seed: &Secret, draft: &Draft<'_>, pieces: &[Piece]) -> Result<Unsealed, EnvelopeError> {
        let mine = self.pieces_at(&draft.slot.place(), pieces);
        if mine.is_empty() || mine.iter().any(|piece| piece.segment != draft.slot.segment) {
            return Err(CryptoError.into());
        }
        let heads = mine.iter().map(|piece| PieceHead {
            path: piece.path.clone().into(),
            length: piece.bytes.len() as u32,
            parents: piece.parents.clone(),
        });
        let head = self.head(draft.slot.segment, heads.collect());
        let salt = derive_secret(op_seed, "envelope salt", &draft.deposit.0);
        let bytes: Vec<&[u8]> = mine.iter().map(|piece| piece.bytes.as_slice()).collect();
        Unsealed::new(draft.d, &draft.deposit, salt.expose(), &head, &bytes)
    }

    // ---- rebuilding --------------------------------------------------------------------------------------------

    /// Takes the pieces out of an envelope, if it is the one of this backup, plan and segment and has all that belong there.
    ///
    /// # Errors
    /// [`GatherError::Stray`].
    pub fn unpack(&self, slot: Slot, envelope: &Envelope) -> Result<Vec<Piece>, GatherError> {
        let head = &envelope.head;
        let ours = head.backup == self.backup
            && head.plan == self.plan_commitment
            && head.segment == slot.segment
            && head.bundle == self.bundle
            && head.segment_len == self.segment_len;
        let place = slot.place();
        let pieces = head.pieces.iter().filter_map(|piece| {
            let (head, bytes) = envelope.piece(&piece.path)?;
            let bytes = Zeroizing::new(bytes.to_vec());
            Some(Piece { path: head.path.to_vec(), segment: slot.segment, parents: head.parents.clone(), bytes })
        });
        let pieces: Vec<Piece> = pieces.collect();
        let all = pieces.iter().map(|p| (p.path.as_slice(), p.bytes.len(), p.parents.len()));
        if ours && self.is_complete(&place, slot.segment, all) { Ok(pieces) } else { Err(GatherError::Stray) }
    }

    /// Whether these are all pieces that a place gets of a segment, and nothing else: (path, length, number of groups above).
    pub fn is_complete<'a>(
        &self,
        place: &Place<SafeId>,
        segment: u32,
        mut pieces: impl Iterator<Item = (&'a [u8], usize, usize)>,
    ) -> bool {
        let sketches = self.sketches(segment);
        let mut due = sketches.iter().filter(|sketch| sketch.place == place);
        due.all(|s| pieces.next().is_some_and(|p| p == (s.path.as_slice(), s.length as usize, s.depth)))
            && pieces.next().is_none()
    }

    /// Whether these keys are all that segments behind the first need.
    pub fn is_known(&self, keys: &[(Vec<u8>, Secret)]) -> bool {
        all_known(&self.plan, &mut Vec::new(), self.length(0), keys)
    }

    /// The cheapest pieces that rebuild a segment; `None`: what can be had is not enough. `keys` are those that are known. A place that is used
    /// several times is paid for once.
    pub fn choose(&self, segment: u32, keys: &[(Vec<u8>, Secret)], price: Price<'_>) -> Option<Choice> {
        Search { layout: self, segment, keys, price }.run()
    }

    /// What is computed to rebuild a segment from the pieces of a choice.
    pub fn rebuilding(&self, choice: &Choice) -> Program {
        let mut rebuilding = Rebuilding::default();
        let lengths = (self.length(0), self.length(choice.segment));
        rebuilding.program.segment = rebuilding.node(&self.plan, &mut Vec::new(), choice, 0, lengths).0;
        rebuilding.program
    }

    /// Rebuilds a segment of the bundle from any pieces that are enough. Inverse of [`Self::lay`]. Gives the keys that were learned, too.
    ///
    /// # Errors
    /// [`GatherError`].
    pub fn gather(
        &self,
        words: Option<&Secret>,
        keys: &[(Vec<u8>, Secret)],
        segment: u32,
        pieces: Vec<Piece>,
    ) -> Result<(Zeroizing<Vec<u8>>, Keys), GatherError> {
        let places = self.plan.places();
        let at_hand = |segment: u32, place: &Place<SafeId>| {
            let is = |piece: &Piece| {
                piece.segment == segment && places.iter().any(|(p, found)| *p == piece.path && **found == *place)
            };
            (pieces.iter().any(is) || (*place == Place::Memory && words.is_some())).then_some(0)
        };
        let choice = self.choose(segment, keys, &at_hand).ok_or(GatherError::TooFew)?;
        let program = self.rebuilding(&choice);
        let mut work = Work::rebuild(&program, self.context(None, words, keys), pieces);
        work.run()?;
        work.into_segment()
    }
}

// ---- lengths below a node --------------------------------------------------------------------------------------

/// How a split of content is done whose first segment has this length: whether the content is too long to be shared as it is, and how many
/// shards rebuild it then. Words cannot be a shard, so there are as many fewer.
fn split_of(group: &Group<SafeId>, first: u64) -> (bool, usize) {
    let words = group.children().iter().filter(|child| child.is_chosen()).count();
    (first > MAX_SHARED, group.k() - words)
}

/// Children that get a shard.
fn sharded(group: &Group<SafeId>) -> Vec<(u8, &Plan<SafeId>)> {
    (0..).zip(group.children()).filter(|(_, child)| !child.is_chosen()).collect()
}

/// Length of what words give for a share of this many bytes. They need no number: where they stand says it.
const fn words_len(length: u64) -> u64 {
    BLIND_LEN as u64 + length
}

const fn share_len(length: u64) -> u64 {
    NUMBER + words_len(length)
}

/// (length in the first segment, length here) of what a child gets of a node's content; `None`: nothing in this segment.
fn child_lengths(plan: &Plan<SafeId>, number: u8, (first, here): (u64, u64), segment: u32) -> Option<(u64, u64)> {
    let keys = segment == 0;
    match plan.node() {
        Node::Seal { .. } if number == 0 => {
            Some((WRAP_LEN + sealed_len(first), if keys { WRAP_LEN } else { 0 } + sealed_len(here)))
        }
        Node::Seal { .. } => keys.then_some((KEY, KEY)),
        Node::Split(group) => {
            let words = group.children().get(usize::from(number)).is_some_and(Plan::is_chosen);
            let shard = |length, k| shard_len(sealed_len(length), k as u64);
            match split_of(group, first) {
                (false, _) if words => Some((words_len(first), words_len(here))),
                (false, _) => Some((share_len(first), share_len(here))),
                (true, _) if words => keys.then_some((words_len(KEY), words_len(KEY))),
                (true, k) => {
                    let share = if keys { share_len(KEY) } else { 0 };
                    Some((share_len(KEY) + shard(first, k), share + shard(here, k)))
                }
            }
        }
        Node::Disperse(g) => Some((shard_len(first, g.k() as u64), shard_len(here, g.k() as u64))),
        Node::Copies(_) | Node::Place(_) => Some((first, here)),
    }
}

fn sketch<'a>(
    plan: &'a Plan<SafeId>,
    path: &mut Vec<u8>,
    depth: usize,
    segment: u32,
    lengths: (u64, u64),
    out: &mut Vec<Sketch<'a>>,
) {
    if let Node::Place(place) = plan.node() {
        if *place != Place::Memory {
            out.push(Sketch { path: path.clone(), place, length: lengths.1, depth });
        }
        return;
    }
    let grouped = matches!(plan.node(), Node::Split(_) | Node::Disperse(_));
    for (number, child) in (0..).zip(plan.children()) {
        let Some(lengths) = child_lengths(plan, number, lengths, segment) else { continue };
        path.push(number);
        sketch(child, path, depth + usize::from(grouped), segment, lengths, out);
        path.pop();
    }
}

fn all_known(plan: &Plan<SafeId>, path: &mut Vec<u8>, first: u64, keys: &[(Vec<u8>, Secret)]) -> bool {
    let keyed = match plan.node() {
        Node::Seal { .. } => true,
        Node::Split(group) => split_of(group, first).0,
        _ => false,
    };
    if keyed && keys.iter().all(|(known, _)| known != path) {
        return false;
    }
    (0..).zip(plan.children()).all(|(number, child)| {
        // In a later segment.
        let Some((first, _)) = child_lengths(plan, number, (first, first), 1) else { return true };
        path.push(number);
        let known = all_known(child, path, first, keys);
        path.pop();
        known
    })
}

/// The place of the words that a chosen plan consists of.
fn words_of(plan: &Plan<SafeId>, path: &[u8]) -> Option<Vec<u8>> {
    match plan.node() {
        Node::Place(Place::Memory) => Some(path.to_vec()),
        Node::Copies(children) => {
            (0_u8..).zip(children).find_map(|(number, child)| words_of(child, &[path, &[number]].concat()))
        }
        _ => None,
    }
}

fn first(path: &[u8]) -> At {
    At { path: path.to_vec(), segment: 0 }
}
