//! What a safe remembers of one deposit: one record in one Durable Object.

use minicbor::{Decode, Encode};
use protocol::{
    SUITE,
    codec::{self, Bytes, CodecError},
    crypto::Secret,
    deposit::Statement,
    ids::{AttemptId, Nonce, Seconds, TokenId},
    register::Register,
};

/// Longest record, bytes: three signed statements of 2 KiB, the statement, and lists that are capped below.
pub const MAX_RECORD_LEN: usize = 16 * 1024;
/// Most writes of one body that may be under way or waiting for removal; a wallet needs one, a retry another.
pub const MAX_ATTEMPTS: usize = 8;
/// Most claims remembered against replay within their validity.
pub const MAX_NONCES: usize = 64;

/// Where a deposit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum State {
    /// Bodies may be on their way; none is committed.
    #[n(0)]
    Writing,
    /// A body is committed and the offer is signed.
    #[n(1)]
    Offered,
    /// The certificate is signed.
    #[n(2)]
    Held,
    /// The holder let it go; the body is being removed.
    #[n(3)]
    Deleting,
    /// Removed; the receipt is signed. Kept until the certified end so that nothing can be put in its place.
    #[n(4)]
    Released,
    /// Never confirmed, or the lease and its grace have ended: the body is being removed.
    #[n(5)]
    Lapsing,
    /// A wallet of the owner let it go; the body is kept until he can no longer take that back.
    #[n(6)]
    Leaving,
}

/// One write of a body to KV key `b/{deposit}/{attempt}`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attempt {
    /// Its name.
    #[n(0)]
    pub id: AttemptId,
    /// When it counts as abandoned.
    #[n(1)]
    pub until: Seconds,
}

/// A claim seen, remembered until it would no longer count anyway.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Seen {
    /// Its number.
    #[n(0)]
    pub nonce: Nonce,
    /// Its expiry.
    #[n(1)]
    pub expiry: Seconds,
}

/// The token under which a deposit was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Charge {
    /// The token.
    #[n(0)]
    pub token: TokenId,
    /// The attempt that opened the row in the token's account.
    #[n(1)]
    pub opened: AttemptId,
    /// End of the token's time. Until then a deposit whose lease has ended is kept.
    #[n(2)]
    pub until: Seconds,
}

/// The record of a deposit.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Record {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// Where it stands.
    #[n(1)]
    pub state: State,
    /// The wallet's statement; every later one must be the same.
    #[n(2)]
    pub statement: Statement,
    /// Writes that are not committed.
    #[n(3)]
    pub attempts: Vec<Attempt>,
    /// The write that holds the body.
    #[n(4)]
    pub committed: Option<AttemptId>,
    /// Writes to be removed from KV.
    #[n(5)]
    pub erase: Vec<AttemptId>,
    /// Signed offer.
    #[n(6)]
    pub offer: Option<Bytes>,
    /// When the offer lapses.
    #[n(7)]
    pub confirm_by: Option<Seconds>,
    /// Signed certificate.
    #[n(8)]
    pub certificate: Option<Bytes>,
    /// End of the lease.
    #[n(9)]
    pub lease_end: Option<Seconds>,
    /// The presented release secret; the receipt shows it.
    #[n(10)]
    pub release: Option<Secret>,
    /// Signed receipt.
    #[n(11)]
    pub receipt: Option<Bytes>,
    /// Claims seen.
    #[n(12)]
    pub seen: Vec<Seen>,
    /// The row in the token's account that is to be freed in the end.
    #[n(13)]
    pub charge: Option<Charge>,
    /// When the body was committed.
    #[n(14)]
    pub committed_at: Option<Seconds>,
    /// Serial of the entry that signed what was last given out: offer, certificate or receipt.
    #[n(15)]
    pub signed_by: Option<u32>,
    /// No removal before this, because the day's budget is spent.
    #[n(16)]
    pub wait_until: Option<Seconds>,
    /// Who claims, where the value may live only once.
    #[n(17)]
    pub register: Option<Register>,
    /// In `Leaving`: when the body goes.
    #[n(18)]
    pub leave_by: Option<Seconds>,
}

impl Record {
    /// The record of a deposit that has just been stated.
    pub const fn new(statement: Statement) -> Self {
        Self {
            suite: SUITE,
            state: State::Writing,
            statement,
            attempts: Vec::new(),
            committed: None,
            erase: Vec::new(),
            offer: None,
            confirm_by: None,
            certificate: None,
            lease_end: None,
            release: None,
            receipt: None,
            seen: Vec::new(),
            charge: None,
            committed_at: None,
            signed_by: None,
            wait_until: None,
            register: None,
            leave_by: None,
        }
    }

    /// Stored form. Inverse of [`Self::parse`].
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads the stored form. A record that does not parse is an error, never an empty one: an empty one would resurrect.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let record: Self = codec::decode(bytes, MAX_RECORD_LEN)?;
        codec::expect_suite(record.suite)?;
        Ok(record)
    }
}
