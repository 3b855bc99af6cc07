//! What a safe remembers of one owner: one record in one Durable Object, and beside it the head of the book.

use minicbor::{Decode, Encode, bytes::ByteArray};
use protocol::{
    SUITE,
    codec::{self, CodecError},
    ids::{AttemptId, EnrolmentId, GuessId, Seconds, TokenId},
    owner::{
        enrolment::Staged,
        messages::{Challenge, Credential, Epoch, Mark, NewCredential, Past},
    },
};

use crate::relay::Fetched;

/// Longest record, bytes: three enrolments of 2.6 KiB, 16 credentials of 600 bytes, 40 tries of 100 by name and
/// by each of 16 credentials, 64 challenges of 50, 32 marks of 130; that is 93 KiB, and in use 9.
pub const MAX_OWNER_RECORD_LEN: usize = 96 * 1024;
/// Most challenges remembered within their validity.
pub const MAX_USED: usize = 64;
/// Of these, most that others than the owner himself have used: the rest is left for him.
pub const MAX_USED_BY_OTHERS: usize = 48;

/// One counted try.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Try {
    /// Its id, drawn by whoever tried.
    #[n(0)]
    pub id: GuessId,
    /// Whose share was used.
    #[n(1)]
    pub enrolment: EnrolmentId,
    /// The blinded element: the same one again is not counted again.
    #[n(2)]
    pub blinded: ByteArray<32>,
    /// When it came.
    #[n(3)]
    pub at: Seconds,
    /// Number of the credential that it was made with.
    #[n(4)]
    pub credential: Option<u32>,
}

/// A credential.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Kept {
    /// Its number.
    #[n(0)]
    pub number: u32,
    /// When it was added.
    #[n(1)]
    pub added: Seconds,
    /// As it was added.
    #[n(2)]
    pub credential: NewCredential,
}

impl Kept {
    /// As its owner sees it.
    pub(super) fn listed(&self) -> Credential {
        let NewCredential { kind, note, wrap, .. } = &self.credential;
        Credential { number: self.number, kind: *kind, note: note.clone(), wrap: wrap.clone(), added: self.added }
    }
}

/// A row that is written in a token's account ahead of an account's opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reserved {
    /// The token.
    #[n(0)]
    pub token: TokenId,
    /// It is being freed: nothing is opened under it any more.
    #[n(1)]
    pub given_up: bool,
    /// Since when.
    #[n(2)]
    pub since: Seconds,
    /// Which one it is: who has freed one row knows nothing of a later one.
    #[n(3)]
    pub attempt: AttemptId,
}

/// How many rows are remembered of which it is not known what came of them: one for each token under which the owner's requests cross.
pub const MAX_RESERVED: usize = 8;

/// A challenge that was used in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Used {
    /// The challenge.
    #[n(0)]
    pub challenge: Challenge,
    /// When it would have ended.
    #[n(1)]
    pub expiry: Seconds,
    /// `true`: by the owner himself; else left out.
    #[n(2)]
    pub owner: Option<bool>,
}

/// The record.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct OwnerRecord {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The token under which the account was opened.
    #[n(1)]
    pub charge: Option<TokenId>,
    /// An enrolment that is being made.
    #[n(2)]
    pub staged: Option<Staged>,
    /// The one in force.
    #[n(3)]
    pub current: Option<Staged>,
    /// The one before it.
    #[n(4)]
    pub previous: Option<Staged>,
    /// Counted tries.
    #[n(5)]
    pub tries: Vec<Try>,
    /// Credentials.
    #[n(6)]
    pub credentials: Vec<Kept>,
    /// Number of the newest credential; 0 before the account is opened.
    #[n(7)]
    pub next: u32,
    /// Challenges used in channels.
    #[n(8)]
    pub used: Vec<Used>,
    /// Nobody below this epoch writes the book.
    #[n(9)]
    pub promised: Epoch,
    /// Where the book stands.
    #[n(10)]
    pub book: Option<Mark>,
    /// What was fetched for the owner from other safes.
    #[n(11)]
    pub fetched: Option<Fetched>,
    /// When the head came that is there.
    #[n(12)]
    pub written: Option<Seconds>,
    /// The heads before it that are kept, the newest first.
    #[n(13)]
    #[cbor(default)]
    pub past: Vec<Past>,
    /// When whoever opened the account was here last, as long as no enrolment was ever in force.
    #[n(14)]
    pub unused: Option<Seconds>,
    /// Rows beside that of `charge`, as long as it is not known what came of them; at most [`MAX_RESERVED`].
    #[n(16)]
    #[cbor(default)]
    pub reserved: Vec<Reserved>,
}

impl Default for OwnerRecord {
    fn default() -> Self {
        Self {
            suite: SUITE,
            charge: None,
            staged: None,
            current: None,
            previous: None,
            tries: Vec::new(),
            credentials: Vec::new(),
            next: 0,
            used: Vec::new(),
            promised: Epoch::NONE,
            book: None,
            fetched: None,
            written: None,
            past: Vec::new(),
            unused: None,
            reserved: Vec::new(),
        }
    }
}

impl OwnerRecord {
    /// Whether nothing is remembered.
    pub(super) fn is_blank(&self) -> bool {
        self.next == 0 && self.tries.is_empty() && self.reserved.is_empty()
    }

    /// Stored form. Inverse of [`Self::parse`].
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads the stored form. A record that does not parse is an error, never an empty one: an empty one would have all guesses left.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let record: Self = codec::decode(bytes, MAX_OWNER_RECORD_LEN)?;
        codec::expect_suite(record.suite)?;
        Ok(record)
    }
}
