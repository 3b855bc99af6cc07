//! The enrolment: what an owner's wallet makes of a passphrase for a group of safes, and the statement about it that all of them keep alike.
//!
//! The statement is public to the group in meaning and secret in form: each safe keeps it sealed under a key that any two of the safes' answers give to whoever knows
//! the name ([`crate::crypto::oprf::Line`]), so that one safe alone cannot show by its answer whether a name is known to it.

use minicbor::{Decode, Encode, bytes::ByteArray};
use rand_core::{CryptoRng, Rng};
use zeroize::Zeroizing;

use crate::{
    SUITE,
    codec::{self, Bytes, CodecError},
    crypto::{
        CryptoError, PassphraseCost, Secret, blake3_commit, derive_secret, expand_seed, mac,
        oprf::{Blinded, Element, Line, OUTPUT_LEN, check_commitments, commitment, evaluate, make_key_shares},
        same_bytes,
    },
    deposit::derive_hash,
    ids::{EnrolmentId, SafeId, SecretHash},
    owner::name::NameKey,
    passphrase::Stretch,
    seal::{self, Purpose, sealed_len},
};

/// Most safes of one enrolment.
pub const MAX_SEATS: usize = 20;
/// Padded length of a statement, bytes: 20 seats of 71 are 1420, the root before 115, and less than 160 for the rest; so that it does not show how many safes there are.
const PADDED: usize = 2048;
/// Length of what a safe shows of an enrolment, bytes: a masked point, and the sealed statement.
pub const SLOT_LEN: usize = 32 + sealed_len(PADDED as u64) as usize;
/// Length of a sealed root, bytes: 32 and 32 with salt, commitment and tag.
pub const WRAP_LEN: usize = sealed_len(64) as usize;
/// Length of the root before, sealed under the one after it, bytes: 32 with salt, commitment and tag.
pub const BEFORE_LEN: usize = sealed_len(32) as usize;

/// One safe's place in an enrolment. Its index is its position, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Seat {
    /// The safe.
    #[n(0)]
    pub safe: SafeId,
    /// Commitment to its share ([`commitment`]).
    #[n(1)]
    pub commitment: ByteArray<32>,
}

/// The statement of an enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Enrolment {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// Which enrolment.
    #[n(1)]
    pub id: EnrolmentId,
    /// Higher than that of the enrolment before it.
    #[n(2)]
    pub generation: u32,
    /// How many safes must answer.
    #[n(3)]
    pub threshold: u8,
    /// What one guess costs after the safes have answered.
    #[n(4)]
    pub cost: PassphraseCost,
    /// Drawn for this enrolment.
    #[n(5)]
    pub salt: ByteArray<32>,
    /// The safes.
    #[n(6)]
    pub seats: Vec<Seat>,
    /// Recognises the right passphrase before anything of it is used.
    #[n(7)]
    pub result: ByteArray<32>,
    /// The root of the enrolment before it, sealed under this one's ([`Self::open_before`]): until the head of the book is written anew, whoever has this root reads the one that
    /// is there.
    #[n(8)]
    pub before: Option<ByteArray<BEFORE_LEN>>,
}

/// A statement was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// Not a statement.
    #[error("{0}")]
    Malformed(#[from] CodecError),
    /// The threshold is not above half of the safes, or there are too few or too many, or one is named twice.
    #[error("the threshold and the safes do not go together")]
    Threshold,
    /// A guess would cost less, or more, than is allowed.
    #[error("a guess would cost less, or more, than is allowed")]
    Cost,
    /// The shares do not belong together.
    #[error("the safes' shares do not belong together")]
    Commitments,
}

/// Whether `t` of `n` may be: more than half, so that no two groups of `t` are strangers to each other; and at least two, so that no safe is alone with the passphrase.
pub const fn may_be(t: usize, n: usize) -> bool {
    t >= 2 && t <= n && n <= MAX_SEATS && 2 * t > n
}

impl Enrolment {
    /// Decodes and checks everything that can be checked without a passphrase.
    ///
    /// # Errors
    /// [`EnrolmentError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EnrolmentError> {
        let enrolment: Self = codec::decode(bytes, PADDED)?;
        codec::expect_suite(enrolment.suite)?;
        let seats = &enrolment.seats;
        let doubled = (0..seats.len()).any(|i| seats[..i].iter().any(|seat| seat.safe == seats[i].safe));
        if !may_be(usize::from(enrolment.threshold), seats.len()) || doubled {
            return Err(EnrolmentError::Threshold);
        }
        if !enrolment.cost.is_acceptable() {
            return Err(EnrolmentError::Cost);
        }
        let commitments: Vec<Element> = seats.iter().map(|seat| *seat.commitment).collect();
        check_commitments(enrolment.threshold, &commitments).map_err(|_| EnrolmentError::Commitments)?;
        Ok(enrolment)
    }

    /// The index of a safe, from 1, and its commitment.
    pub fn seat(&self, safe: &SafeId) -> Option<(u8, &Element)> {
        let position = self.seats.iter().position(|seat| seat.safe == *safe)?;
        let index = u8::try_from(position + 1).ok()?;
        Some((index, &self.seats[position].commitment))
    }

    /// What the enrolment is called at one safe, so that what safes store does not show that it belongs together.
    pub fn id_at(&self, safe: &SafeId) -> EnrolmentId {
        let whole = blake3_commit("strongroom 1 enrolment at", &[&safe.0, &self.id.0]);
        let mut id = EnrolmentId([0; 16]);
        id.0.copy_from_slice(&whole[..16]);
        id
    }

    /// The root of the enrolment before this one, by whoever has the root of this one; `None`: there is none, or the root is another.
    pub fn open_before(&self, root: &OwnerRoot) -> Option<OwnerRoot> {
        let sealed = self.before.as_ref()?;
        let opened = seal::open(&root.derive("root before"), &before_purpose(&self.id), &sealed[..]).ok()?;
        Secret::try_from(opened.as_slice()).ok().map(OwnerRoot)
    }

    /// How the output of the safes becomes the key.
    pub fn stretch(&self) -> Stretch {
        Stretch { salt: *self.salt, cost: self.cost }
    }
}

/// What one safe remembers of the statement, so that a channel is bound to it: the same statement gives something else at another safe.
pub fn derive_digest(safe: &SafeId, statement: &[u8]) -> [u8; 32] {
    blake3_commit("strongroom 1 enrolment", &[&safe.0, statement])
}

fn slot_key(line: &Secret, safe: &SafeId) -> Secret {
    derive_secret(line, "enrolment", &safe.0)
}

fn before_purpose(id: &EnrolmentId) -> Purpose<'_> {
    Purpose { purpose: "root before", object: &id.0, version: 0 }
}

fn slot_purpose(safe: &SafeId) -> Purpose<'_> {
    Purpose { purpose: "enrolment", object: &safe.0, version: 0 }
}

/// What a safe shows of an enrolment: `masked ‖ seal(statement, padded)`.
fn make_slot<R: CryptoRng>(
    statement: &[u8],
    line: &Line,
    safe: &SafeId,
    name: &NameKey,
    rng: &mut R,
) -> Result<Vec<u8>, CryptoError> {
    let mut padded = vec![0; PADDED];
    let length = u16::try_from(statement.len()).map_err(|_| CryptoError)?;
    padded[..2].copy_from_slice(&length.to_be_bytes());
    padded.get_mut(2..2 + statement.len()).ok_or(CryptoError)?.copy_from_slice(statement);
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    let sealed = seal::seal(&slot_key(&line.secret(), safe), &salt, &slot_purpose(safe), &padded)?;
    Ok([&line.masked(&safe.0, &name.masks())[..], &sealed].concat())
}

/// Opens what a safe showed, with the line's secret; inverse of [`make_slot`].
///
/// # Errors
/// [`CryptoError`] if it is of another line or safe, or stands in for none.
pub fn open_slot(slot: &[u8], line: &Secret, safe: &SafeId) -> Result<Vec<u8>, CryptoError> {
    let sealed = slot.get(32..).ok_or(CryptoError)?;
    let padded = seal::open(&slot_key(line, safe), &slot_purpose(safe), sealed)?;
    let (length, rest) = padded.split_first_chunk::<2>().ok_or(CryptoError)?;
    rest.get(..usize::from(u16::from_be_bytes(*length))).map(<[u8]>::to_vec).ok_or(CryptoError)
}

/// What one safe is given of an enrolment.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Staged {
    /// Which enrolment, as it is called at this safe ([`Enrolment::id_at`]).
    #[n(0)]
    pub id: EnrolmentId,
    /// Its generation.
    #[n(1)]
    pub generation: u32,
    /// What the safe shows of it, [`SLOT_LEN`] bytes.
    #[n(2)]
    pub slot: Bytes,
    /// Recognises the statement in a channel ([`derive_digest`]).
    #[n(3)]
    pub digest: ByteArray<32>,
    /// The safe's share.
    #[n(4)]
    pub share: Secret,
    /// The key by which the owner is recognised.
    #[n(5)]
    pub key: Secret,
    /// The owner's root, sealed, [`WRAP_LEN`] bytes.
    #[n(6)]
    pub wrap: Bytes,
    /// Recognises who may try it while it is staged.
    #[n(7)]
    pub staging: SecretHash,
}

/// The owner's root: what an enrolment protects, and what opens the book.
#[derive(Debug, Clone)]
pub struct OwnerRoot(Secret);

impl OwnerRoot {
    /// As it was kept.
    pub const fn new(root: Secret) -> Self {
        Self(root)
    }

    /// A key for one purpose.
    pub fn derive(&self, label: &str) -> Secret {
        derive_secret(&self.0, label, b"")
    }

    /// The root, for the wallet's own store.
    pub const fn expose(&self) -> &Secret {
        &self.0
    }

    fn mac(&self, statement: &[u8]) -> [u8; 32] {
        mac(&self.derive("enrolment"), statement)
    }
}

/// What a passphrase has become after the safes have answered and it was stretched.
#[derive(Debug, Clone)]
pub struct Stretched(Secret);

impl Stretched {
    /// The stretched output.
    pub const fn new(key: Secret) -> Self {
        Self(key)
    }

    fn result(&self, id: &EnrolmentId) -> [u8; 32] {
        *derive_secret(&self.0, "result", &id.0).expose()
    }

    /// Whether it is of the passphrase that was enrolled.
    pub fn is_of(&self, enrolment: &Enrolment) -> bool {
        same_bytes(&self.result(&enrolment.id), &*enrolment.result)
    }

    /// The key by which one safe recognises the owner.
    pub fn key_for(&self, safe: &SafeId, id: &EnrolmentId) -> Secret {
        derive_secret(&self.0, "authentication", &[&safe.0[..], &id.0].concat())
    }

    fn wrap_key(&self, id: &EnrolmentId) -> Secret {
        derive_secret(&self.0, "root", &id.0)
    }

    /// Opens the root and checks that it was made for this statement.
    ///
    /// # Errors
    /// [`CryptoError`] if it was not.
    pub fn open_root(&self, wrap: &[u8], id: &EnrolmentId, statement: &[u8]) -> Result<OwnerRoot, CryptoError> {
        open_wrap(&self.wrap_key(id), id, wrap, statement)
    }
}

/// The root as it is given to a safe: sealed with its MAC over the statement.
///
/// # Errors
/// [`CryptoError`] never; the type is that of sealing.
pub(super) fn seal_wrap<R: CryptoRng>(
    key: &Secret,
    id: &EnrolmentId,
    root: &OwnerRoot,
    statement: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, CryptoError> {
    let plain = Zeroizing::new([&root.0.expose()[..], &root.mac(statement)].concat());
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    seal::seal(key, &salt, &root_purpose(id), &plain)
}

/// Inverse of [`seal_wrap`].
///
/// # Errors
/// [`CryptoError`] if it is none, of another key, enrolment or statement.
pub(super) fn open_wrap(
    key: &Secret,
    id: &EnrolmentId,
    wrap: &[u8],
    statement: &[u8],
) -> Result<OwnerRoot, CryptoError> {
    let plain = seal::open(key, &root_purpose(id), wrap)?;
    let (root, tag) = plain.split_first_chunk::<32>().ok_or(CryptoError)?;
    let root = OwnerRoot(Secret::from_bytes(*root));
    if same_bytes(&root.mac(statement), tag) { Ok(root) } else { Err(CryptoError) }
}

fn root_purpose(id: &EnrolmentId) -> Purpose<'_> {
    Purpose { purpose: "root", object: &id.0, version: 0 }
}

/// An enrolment that is being made, until its passphrase is stretched. All randomness comes from one seed: made again, it is the same to the last byte.
#[derive(Debug)]
pub struct Enrolling {
    seed: Secret,
    id: EnrolmentId,
    shares: Vec<Secret>,
    commitments: Vec<Element>,
    safes: Vec<SafeId>,
    threshold: u8,
    stretch: Stretch,
    output: Zeroizing<[u8; OUTPUT_LEN]>,
    before: Option<OwnerRoot>,
}

/// A finished enrolment.
#[derive(Debug)]
pub struct Made {
    /// The statement as all safes get it.
    pub statement: Vec<u8>,
    /// The same, decoded.
    pub enrolment: Enrolment,
    /// What each safe gets.
    pub staged: Vec<(SafeId, Staged)>,
    /// The owner's root.
    pub root: OwnerRoot,
    staging: Secret,
}

impl Made {
    /// Lets the wallet try it at a safe while it is staged there.
    pub fn staging_at(&self, safe: &SafeId) -> Secret {
        derive_secret(&self.staging, "staging", &safe.0)
    }
}

impl Enrolling {
    /// Begins: `t` of these safes, for a normalised passphrase.
    ///
    /// # Errors
    /// [`CryptoError`] unless [`may_be`] says so and the safes differ.
    pub fn start(
        seed: &Secret,
        safes: &[SafeId],
        t: u8,
        passphrase: &str,
        cost: PassphraseCost,
    ) -> Result<Self, CryptoError> {
        let doubled = (0..safes.len()).any(|i| safes[..i].contains(&safes[i]));
        let n = u8::try_from(safes.len()).map_err(|_| CryptoError)?;
        if !may_be(usize::from(t), safes.len()) || doubled || !cost.is_acceptable() {
            return Err(CryptoError);
        }
        let mut rng = expand_seed(&derive_secret(seed, "enrolment shares", b""));
        let id = EnrolmentId::make_random(&mut rng);
        let stretch = Stretch::make_random(cost, &mut rng);
        let shares = make_key_shares(t, n, &mut rng)?;
        let commitments = shares.iter().map(commitment).collect::<Result<Vec<_>, _>>()?;
        // The same way as at every login, so that there is one.
        let (blinded, element) = Blinded::start(passphrase.as_bytes(), &mut rng)?;
        let answers = (1..=t)
            .zip(&shares)
            .map(|(index, share)| Ok((index, evaluate(share, &element, &mut rng)?.element)))
            .collect::<Result<Vec<_>, CryptoError>>()?;
        let output = blinded.finish(&answers)?;
        Ok(Self {
            seed: seed.clone(),
            id,
            shares,
            commitments,
            safes: safes.to_vec(),
            threshold: t,
            stretch,
            output,
            before: None,
        })
    }

    /// The root of the enrolment whose place it takes: whoever has the new one opens that, too, and not the other way round.
    #[must_use]
    pub fn after(self, before: OwnerRoot) -> Self {
        Self { before: Some(before), ..self }
    }

    /// What is to be stretched, and how.
    pub fn to_stretch(&self) -> (&Stretch, &[u8]) {
        (&self.stretch, &*self.output)
    }

    /// Ends, with what [`Self::to_stretch`] became.
    ///
    /// # Errors
    /// [`CryptoError`], never for drafts that began.
    pub fn finish(self, stretched: &Stretched, name: &NameKey, generation: u32) -> Result<Made, CryptoError> {
        let mut rng = expand_seed(&derive_secret(&self.seed, "enrolment", b""));
        let root = OwnerRoot(Secret::make_random(&mut rng));
        let before = self.before.as_ref().map(|before| {
            let mut salt = [0; 32];
            expand_seed(&derive_secret(&self.seed, "root before", b"")).fill_bytes(&mut salt);
            let plain = &before.0.expose()[..];
            let sealed = seal::seal(&root.derive("root before"), &salt, &before_purpose(&self.id), plain)?;
            <[u8; BEFORE_LEN]>::try_from(sealed.as_slice()).map(ByteArray::from).map_err(|_| CryptoError)
        });
        let before = before.transpose()?;
        let seats = self.safes.iter().zip(&self.commitments);
        let enrolment = Enrolment {
            suite: SUITE,
            id: self.id,
            generation,
            threshold: self.threshold,
            cost: self.stretch.cost,
            salt: self.stretch.salt.into(),
            seats: seats.map(|(safe, c)| Seat { safe: *safe, commitment: (*c).into() }).collect(),
            result: stretched.result(&self.id).into(),
            before,
        };
        let statement = codec::encode(&enrolment);
        let staging = Secret::make_random(&mut rng);
        let line = Line::make_random(&mut rng);
        let mut staged = Vec::with_capacity(self.safes.len());
        for (safe, share) in self.safes.iter().zip(&self.shares) {
            let slot = make_slot(&statement, &line, safe, name, &mut rng)?;
            let wrap = seal_wrap(&stretched.wrap_key(&self.id), &self.id, &root, &statement, &mut rng)?;
            let given = Staged {
                id: enrolment.id_at(safe),
                generation,
                slot: slot.into(),
                digest: derive_digest(safe, &statement).into(),
                share: share.clone(),
                key: stretched.key_for(safe, &self.id),
                wrap: wrap.into(),
                staging: derive_hash(&derive_secret(&staging, "staging", &safe.0)),
            };
            staged.push((*safe, given));
        }
        Ok(Made { statement, enrolment, staged, root, staging })
    }
}
