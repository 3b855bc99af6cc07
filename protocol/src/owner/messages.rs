//! What an owner and a safe say to each other: the look, and five questions that only this safe can read, each with an answer that only the asker can.
//!
//! ```text
//! look      GET            ─▶ challenge, guesses left, two slots
//! greet     HPKE base      ─▶ what is left of the guesses, said by who has the safe's key
//! open      HPKE base      ─▶ an account is opened with its first credential
//! evaluate  HPKE base      ─▶ the share applied to a blinded passphrase, counted first
//! channel   HPKE PSK       ─▶ actions of the owner, and what came of them
//! relay     HPKE PSK       ─▶ what another safe keeps, sealed by that one
//! ```
//!
//! A question is HPKE to the safe's key with `info` = CBOR `[suite, label, safe, serial, account, challenge, who, context]`; the answer is sealed under what HPKE exports to both
//! (the pattern of RFC 9458). The challenge is the safe's and counts for minutes, so that nothing can be made ahead; in the channel it counts once.

use minicbor::{Decode, Encode, bytes::ByteArray};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    SUITE,
    codec::{self, Bytes, CodecError},
    crypto::{
        Asked, CryptoError, HPKE_ENC_LEN, Heard, HpkePrivateKey, Psk, Secret, blake3_commit, derive_secret, hpke_ask,
        mac, oprf::Element, same_bytes,
    },
    identity::Entry,
    ids::{AccountId, DeviceId, EnrolmentId, GuessId, SafeId, Seconds},
    owner::enrolment::Staged,
    seal::{self, Purpose},
};

/// Longest head of a book, bytes. Two fit through one object's message, and a change writes it whole.
pub const MAX_HEAD_LEN: usize = 64 * 1024;
/// Longest question, bytes: a head, the encapsulated key, and less than 4 KiB for the rest.
pub const MAX_QUESTION_LEN: usize = MAX_HEAD_LEN + HPKE_ENC_LEN + 4096;
/// Longest answer, bytes: a head, 16 credentials of 340 with their notes, and 40 tries of 24 by name and by each of them: 22 KiB.
pub const MAX_ANSWER_LEN: usize = MAX_HEAD_LEN + 24 * 1024;
/// Longest answer to a look, bytes: two slots of 2160 and less than 100 for the rest.
pub const MAX_LOOK_LEN: usize = 4608;
/// Length of a challenge, bytes: expiry 8, random 8, tag 16.
pub const CHALLENGE_LEN: usize = 32;
/// How long a challenge counts, seconds: time for a passphrase to be typed is not in it, for one to be stretched on a slow telephone is.
pub const CHALLENGE_SPAN: Seconds = 300;
/// Most actions of one question.
pub const MAX_ACTIONS: usize = 16;
/// Most credentials of one owner, the passphrase not among them.
pub const MAX_CREDENTIALS: usize = 16;
/// Most kits among them: one, and the one that takes its place. Each has guesses of its own.
pub const MAX_KITS: usize = 2;
/// Length of the locator of a device at a safe, bytes.
pub const LOCATOR_LEN: usize = 16;
/// Longest note beside a credential, bytes: sealed by the owner.
pub const MAX_NOTE_LEN: usize = 256;

/// A challenge as it is sent.
pub type Challenge = ByteArray<CHALLENGE_LEN>;

/// Makes a challenge for an account: `expiry ‖ random ‖ tag`, with the tag by a key that only the safe has, so that nothing is stored until it is used.
pub fn make_challenge<R: CryptoRng>(key: &Secret, account: &AccountId, now: Seconds, rng: &mut R) -> Challenge {
    let mut challenge = [0; CHALLENGE_LEN];
    challenge[..8].copy_from_slice(&now.saturating_add(CHALLENGE_SPAN).to_be_bytes());
    rng.fill_bytes(&mut challenge[8..16]);
    let tag = challenge_tag(key, account, &challenge);
    challenge[16..].copy_from_slice(&tag);
    challenge.into()
}

fn challenge_tag(key: &Secret, account: &AccountId, challenge: &[u8; CHALLENGE_LEN]) -> [u8; 16] {
    let key = derive_secret(key, "challenge", &account.0);
    let tag = mac(&key, &challenge[..16]);
    let mut short = [0; 16];
    short.copy_from_slice(&tag[..16]);
    short
}

/// When a challenge that this safe made for this account ends; `None` if it did not make it.
pub fn check_challenge(key: &Secret, account: &AccountId, challenge: &Challenge) -> Option<Seconds> {
    let (expiry, _) = challenge.split_first_chunk::<8>()?;
    same_bytes(&challenge_tag(key, account, challenge), &challenge[16..]).then(|| Seconds::from_be_bytes(*expiry))
}

/// `GET /v1/owners/{account}`: the same for an account that is there and for one that is not.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Look {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// For the next question.
    #[n(1)]
    pub challenge: Challenge,
    /// The safe's clock.
    #[n(2)]
    pub time: Seconds,
    /// What is left of the guesses.
    #[n(3)]
    pub left: Guesses,
    /// The enrolment in force and the one before it.
    #[n(4)]
    pub slots: [Bytes; 2],
}

impl Look {
    /// Decodes.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let look: Self = codec::decode(bytes, MAX_LOOK_LEN)?;
        codec::expect_suite(look.suite)?;
        Ok(look)
    }
}

/// What is left of the guesses ([`crate::owner::budget`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Guesses {
    /// Answered now.
    #[n(0)]
    pub now: u32,
    /// Answered ever.
    #[n(1)]
    pub ever: u32,
    /// Seconds until the next one; absent if none will be.
    #[n(2)]
    pub wait: Option<Seconds>,
}

/// What a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// An account is opened.
    Open,
    /// The safe shows that it has its key, and what is left of the guesses.
    Greet,
    /// A blinded passphrase.
    Evaluate,
    /// The owner acts.
    Channel,
    /// The owner has something fetched from another safe ([`crate::relay`]).
    Relay,
}

impl Topic {
    /// Its name: the last part of the path, and bound into every question.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Greet => "greet",
            Self::Evaluate => "evaluate",
            Self::Channel => "channel",
            Self::Relay => "relay",
        }
    }
}

/// By what an owner is recognised in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Who {
    /// By the passphrase: of which enrolment, in which try, with which blinded element.
    #[n(0)]
    Passphrase(#[n(0)] EnrolmentId, #[n(1)] GuessId, #[n(2)] ByteArray<32>),
    /// By a credential, with its number.
    #[n(1)]
    Credential(#[n(0)] u32),
    /// By a device that does not know its number here, with its locator ([`crate::owner::device`]).
    #[n(2)]
    Device(#[n(0)] ByteArray<LOCATOR_LEN>),
}

impl Who {
    /// `psk_id`: which key, without the try.
    fn psk_id(&self) -> Vec<u8> {
        match self {
            Self::Passphrase(id, ..) => codec::encode(&(0u8, *id)),
            Self::Credential(number) => codec::encode(&(1u8, *number)),
            Self::Device(locator) => codec::encode(&(2u8, *locator)),
        }
    }

    /// What a channel is bound to beside the message itself: for a passphrase the statement, which names every safe and share, and the try.
    pub fn context(&self, digest: &[u8; 32]) -> [u8; 32] {
        match self {
            Self::Passphrase(_, guess, blinded) => {
                blake3_commit("strongroom 1 login", &[digest, &guess.0, &blinded[..]])
            }
            Self::Credential(_) | Self::Device(_) => blake3_commit("strongroom 1 credential", &[]),
        }
    }
}

/// A question on its way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Question {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// Serial of the chain entry to whose HPKE key it is sealed.
    #[n(1)]
    pub entry: u32,
    /// The safe's challenge.
    #[n(2)]
    pub challenge: Challenge,
    /// Who asks, in a channel.
    #[n(3)]
    pub who: Option<Who>,
    /// HPKE encapsulated key.
    #[n(4)]
    pub enc: Bytes,
    /// HPKE ciphertext.
    #[n(5)]
    pub ciphertext: Bytes,
}

/// Where a question belongs.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// The safe.
    pub safe: &'a SafeId,
    /// The account there.
    pub account: &'a AccountId,
    /// What it is for.
    pub topic: Topic,
}

/// The key that a channel is built on.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// Who asks.
    pub who: Who,
    /// The key that only the owner and the safe have.
    pub key: &'a Secret,
    /// What the safe remembers of the statement ([`crate::owner::enrolment::derive_digest`]); anything for a credential.
    pub digest: &'a [u8; 32],
}

fn info(address: &Address<'_>, entry: u32, challenge: &Challenge, who: Option<&Who>, context: &[u8]) -> Vec<u8> {
    let who = who.copied();
    let context = Bytes(context.to_vec());
    codec::encode(&(SUITE, address.topic.label(), *address.safe, entry, *address.account, *challenge, who, context))
}

/// Opens the answer to a question.
#[derive(Debug)]
pub struct Answering(Secret);

fn answer_purpose() -> Purpose<'static> {
    Purpose { purpose: "answer", object: b"", version: 0 }
}

impl Answering {
    /// The answer's content. Inverse of [`seal_answer`].
    ///
    /// # Errors
    /// [`CodecError::Malformed`] if it does not answer this question, or was altered.
    pub fn open(&self, answer: &[u8]) -> Result<Zeroizing<Vec<u8>>, CodecError> {
        if answer.len() > MAX_ANSWER_LEN {
            return Err(CodecError::TooLong { got: answer.len(), most: MAX_ANSWER_LEN });
        }
        seal::open(&self.0, &answer_purpose(), answer).map_err(|_| CodecError::Malformed)
    }

    /// [`Self::open`], decoded.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn read<T: Encode<()> + for<'b> Decode<'b, ()>>(&self, answer: &[u8]) -> Result<T, CodecError> {
        codec::decode(&self.open(answer)?, MAX_ANSWER_LEN)
    }
}

/// Seals the answer to a question.
///
/// # Errors
/// Never for the lengths in use; the type is that of sealing.
pub fn seal_answer<R: CryptoRng>(key: &Secret, plain: &[u8], rng: &mut R) -> Result<Vec<u8>, CryptoError> {
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    seal::seal(key, &salt, &answer_purpose(), plain)
}

impl Question {
    /// Asks a safe. Inverse of [`Self::open`].
    ///
    /// # Errors
    /// If the entry's HPKE key is not one.
    pub fn make<R: CryptoRng>(
        address: &Address<'_>,
        plain: &[u8],
        entry: &Entry,
        challenge: &Challenge,
        proof: Option<Proof<'_>>,
        rng: &mut R,
    ) -> Result<(Self, Answering), CryptoError> {
        let (who, context, psk_id) = bound(proof.as_ref());
        let info = info(address, entry.serial, challenge, who.as_ref(), &context);
        let psk = proof.as_ref().map(|proof| Psk { key: proof.key, id: &psk_id });
        let (Asked { enc, ciphertext }, answer) = hpke_ask(&entry.hpke, &info, psk, plain, rng)?;
        let (enc, ciphertext) = (enc.into(), ciphertext.into());
        let question = Self { suite: SUITE, entry: entry.serial, challenge: *challenge, who, enc, ciphertext };
        Ok((question, Answering(answer)))
    }

    /// Decodes and checks the form.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let question: Self = codec::decode(bytes, MAX_QUESTION_LEN)?;
        codec::expect_suite(question.suite)?;
        if question.enc.len() == HPKE_ENC_LEN { Ok(question) } else { Err(CodecError::Malformed) }
    }

    /// Opens it at the safe. `proof` has the key and digest of whoever the question names.
    ///
    /// # Errors
    /// [`CryptoError`] if it was sealed to another safe, account, topic or challenge, by somebody who has not this key, or for another statement.
    pub fn open(
        &self,
        address: &Address<'_>,
        key: &HpkePrivateKey,
        proof: Option<Proof<'_>>,
    ) -> Result<Heard, CryptoError> {
        let (who, context, psk_id) = bound(proof.as_ref());
        if who != self.who {
            return Err(CryptoError);
        }
        let info = info(address, self.entry, &self.challenge, who.as_ref(), &context);
        let psk = proof.as_ref().map(|proof| Psk { key: proof.key, id: &psk_id });
        key.hear(&Asked { enc: self.enc.0.clone(), ciphertext: self.ciphertext.0.clone() }, &info, psk)
    }
}

fn bound(proof: Option<&Proof<'_>>) -> (Option<Who>, Vec<u8>, Vec<u8>) {
    match proof {
        None => (None, Vec::new(), Vec::new()),
        Some(proof) => (Some(proof.who), proof.who.context(proof.digest).to_vec(), proof.who.psk_id()),
    }
}

/// What opens an account: its first credential.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Opening {
    /// The wallet's key at this safe.
    #[n(0)]
    pub key: Secret,
    /// What the owner calls the wallet, sealed.
    #[n(1)]
    pub note: Bytes,
}

/// A greeting.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Greeting {
    /// The key of a wallet or kit at this safe, if its guesses are asked for.
    #[n(0)]
    pub credential: Option<Secret>,
}

/// A blinded passphrase.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Guess {
    /// The try.
    #[n(0)]
    pub id: GuessId,
    /// Whose share is to be used.
    #[n(1)]
    pub enrolment: EnrolmentId,
    /// The blinded element.
    #[n(2)]
    pub blinded: ByteArray<32>,
    /// The secret of a staged enrolment, by the wallet that stages it. Such a guess is not counted: its asker knows the key.
    #[n(3)]
    pub staging: Option<Secret>,
    /// The key of a wallet or kit at this safe: the try is counted among those of that credential, which strangers cannot use up.
    #[n(4)]
    pub credential: Option<Secret>,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Evaluated {
    /// The share applied, its proof, and what is left now.
    #[n(0)]
    Done(#[n(0)] ByteArray<32>, #[n(1)] ByteArray<64>, #[n(2)] Guesses),
    /// No guess is left now.
    #[n(1)]
    Locked(#[n(0)] Guesses),
}

/// Kinds of credentials that have a key of their own at a safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum CredentialKind {
    /// A wallet that is enrolled.
    #[n(0)]
    Wallet,
    /// A passkey or security key.
    #[n(1)]
    Device,
    /// A printed kit: it opens no channel, it has guesses of its own.
    #[n(2)]
    Kit,
}

/// A credential as it is added.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct NewCredential {
    /// Its kind.
    #[n(0)]
    pub kind: CredentialKind,
    /// Its key at this safe.
    #[n(1)]
    pub key: Secret,
    /// What the owner calls it, sealed.
    #[n(2)]
    pub note: Bytes,
    /// The owner's root, sealed for it, where it is to open that.
    #[n(3)]
    pub wrap: Option<Bytes>,
    /// By what a device is found here.
    #[n(4)]
    pub locator: Option<ByteArray<LOCATOR_LEN>>,
}

/// A credential as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Credential {
    /// Its number, which no other gets.
    #[n(0)]
    pub number: u32,
    /// Its kind.
    #[n(1)]
    pub kind: CredentialKind,
    /// What the owner calls it, sealed.
    #[n(2)]
    pub note: Bytes,
    /// The owner's root, sealed for it.
    #[n(3)]
    pub wrap: Option<Bytes>,
    /// When it was added.
    #[n(4)]
    pub added: Seconds,
}

/// Whose turn it is to write the book. Higher counters first, and no two holders share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Epoch {
    /// Round.
    #[n(0)]
    pub counter: u32,
    /// Whose round: drawn by the device.
    #[n(1)]
    pub holder: DeviceId,
}

impl Epoch {
    /// Below that of every device.
    pub const NONE: Self = Self { counter: 0, holder: DeviceId([0; 16]) };
    /// Above that of every device: of what is decided, whoever has the turn.
    pub const LAST: Self = Self { counter: u32::MAX, holder: DeviceId([0xff; 16]) };
}

/// Where a book stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mark {
    /// Whose turn it was written in.
    #[n(0)]
    pub epoch: Epoch,
    /// Its number; every change is the next one.
    #[n(1)]
    pub sequence: u64,
    /// BLAKE3 of the head before it.
    #[n(2)]
    pub before: ByteArray<32>,
    /// BLAKE3 of the head.
    #[n(3)]
    pub digest: ByteArray<32>,
}

/// A head and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Head {
    /// Where it stands.
    #[n(0)]
    pub mark: Mark,
    /// Its sealed bytes, at most [`MAX_HEAD_LEN`].
    #[n(1)]
    pub sealed: Bytes,
}

/// A head that another one has taken the place of, and that the safe keeps for some days ([`crate::owner::past`]); or the one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Past {
    /// Where it stood.
    #[n(0)]
    pub mark: Mark,
    /// When it came, by the safe's clock.
    #[n(1)]
    pub from: Seconds,
    /// When the next one came; of the one that is there, now.
    #[n(2)]
    pub until: Seconds,
}

/// What an owner does in a channel.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Action {
    /// Show the account.
    #[n(0)]
    Show,
    /// Hand out the head of the book.
    #[n(1)]
    ReadHead,
    /// Keep this enrolment beside those in force.
    #[n(2)]
    Stage(#[n(0)] Box<Staged>),
    /// Put the staged enrolment in force, in this turn; the one in force becomes the one before it. Without a turn it counts as below all others.
    #[n(3)]
    Commit(#[n(0)] EnrolmentId, #[n(1)] Option<Epoch>),
    /// Forget an enrolment that is not in force.
    #[n(4)]
    Drop(#[n(0)] EnrolmentId),
    /// These tries were mine.
    #[n(5)]
    Refund(#[n(0)] Vec<GuessId>),
    /// Forget all tries, whoever made them.
    #[n(6)]
    Clear,
    /// Add a credential.
    #[n(7)]
    Add(#[n(0)] NewCredential),
    /// Forget a credential.
    #[n(8)]
    Revoke(#[n(0)] u32),
    /// Let nobody below this epoch write.
    #[n(9)]
    Promise(#[n(0)] Epoch),
    /// Keep this head.
    #[n(10)]
    WriteHead(#[n(0)] Head),
    /// Write a ticket for what is bound to the owner; one that lets go, too, only for whoever has the turn in this epoch.
    #[n(11)]
    Ticket(#[n(0)] Option<Epoch>),
    /// List the head that is there and those of the last days.
    #[n(12)]
    ListPast,
    /// Hand out one of them.
    #[n(13)]
    ReadPast(#[n(0)] Mark),
    /// Write a ticket of the owner himself: for good, and to take back.
    #[n(14)]
    OwnerTicket,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Outcome {
    /// Done, or it was so already.
    #[n(0)]
    Done,
    /// Not done.
    #[n(1)]
    Refused(#[n(0)] Refusal),
    /// The account.
    #[n(2)]
    Account(#[n(0)] Account),
    /// The head, if there is one.
    #[n(3)]
    Head(#[n(0)] Option<Head>),
    /// The number of the credential.
    #[n(4)]
    Added(#[n(0)] u32),
    /// Promised, and where the book stands.
    #[n(5)]
    Promised(#[n(0)] Option<Mark>),
    /// A ticket ([`crate::owner::ticket::Ticket`]).
    #[n(6)]
    Ticket(#[n(0)] Bytes),
    /// The heads of the last days, the newest first.
    #[n(7)]
    Past(#[n(0)] Vec<Past>),
}

/// Why an action was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such enrolment or credential.
    #[n(0)]
    Unknown,
    /// The credential in use may not do this.
    #[n(1)]
    NotAllowed,
    /// Another device has the turn since.
    #[n(2)]
    Superseded,
    /// It does not follow what is here.
    #[n(3)]
    OutOfOrder,
    /// Too long, too many, or not of the form.
    #[n(4)]
    Malformed,
}

/// An account as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Account {
    /// The enrolment that is staged.
    #[n(0)]
    pub staged: Option<EnrolmentId>,
    /// The one in force.
    #[n(1)]
    pub current: Option<EnrolmentId>,
    /// The one before it.
    #[n(2)]
    pub previous: Option<EnrolmentId>,
    /// The owner's root, sealed for the passphrase of the enrolment that the channel is built on.
    #[n(3)]
    pub wrap: Option<Bytes>,
    /// Tries that are counted, and when they came.
    #[n(4)]
    pub tries: Vec<(GuessId, Seconds)>,
    /// All credentials.
    #[n(5)]
    pub credentials: Vec<Credential>,
    /// Whose turn it is to write the book.
    #[n(6)]
    pub promised: Epoch,
    /// Where the book stands.
    #[n(7)]
    pub book: Option<Mark>,
    /// Generation of the enrolment in force.
    #[n(8)]
    pub generation: u32,
}

/// A safe's evaluation as the client checks it.
impl Evaluated {
    /// As a reply to a guess.
    pub fn done(element: Element, proof: [u8; 64], left: Guesses) -> Self {
        Self::Done(element.into(), proof.into(), left)
    }
}
