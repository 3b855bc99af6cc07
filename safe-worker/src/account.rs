//! What a token's holder uses: one row per deposit, and the sum of the rows.
//!
//! A row is opened before a body is read and freed when nothing of the deposit is stored any more. Both are idempotent by row, and every
//! row belongs to a deposit's record that frees it in the end; so the sum is right after any crash. There is no counter that could drift.

use minicbor::{Decode, Encode};
use protocol::{
    ids::{AttemptId, DepositId},
    token::Token,
};

/// A row: the deposit, and the attempt that opened it, so that a late removal cannot hit the row of a later life of the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Row {
    /// The deposit.
    #[n(0)]
    pub deposit: DepositId,
    /// The attempt.
    #[n(1)]
    pub opened: AttemptId,
}

/// What is asked of an account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Request {
    /// Opens a row of `bytes` under the quota that the token states. A row that is open stays as it is.
    #[n(0)]
    Reserve {
        /// The row.
        #[n(0)]
        row: Row,
        /// Length of the body, bytes.
        #[n(1)]
        bytes: u64,
        /// The token.
        #[n(2)]
        token: Token,
    },
    /// Frees a row; freeing none succeeds.
    #[n(1)]
    Free(#[n(0)] Row),
    /// The operator's list has the token.
    #[n(2)]
    Noted,
    /// How much is used.
    #[n(3)]
    Use,
}

/// Sum of the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Use {
    /// Bytes of all bodies.
    #[n(0)]
    pub bytes: u64,
    /// Deposits.
    #[n(1)]
    pub deposits: u64,
}

/// What an account answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Reply {
    /// The row is open. `true`: the operator's list does not have the token yet.
    #[n(0)]
    Open(#[n(0)] bool),
    /// The token allows no more.
    #[n(1)]
    Over(#[n(0)] Use),
    /// The sum.
    #[n(2)]
    Use(#[n(0)] Use),
    /// Done.
    #[n(3)]
    Done,
}

/// Whether a further row fits. `used` is without it.
pub const fn fits(used: Use, bytes: u64, token: &Token) -> bool {
    used.deposits < token.deposits && used.bytes.saturating_add(bytes) <= token.bytes
}
