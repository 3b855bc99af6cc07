//! What belongs to the safe as a whole: the day's budget of removals, and the list of tokens in use.

use minicbor::{Decode, Encode};
use protocol::ids::{Seconds, TokenId};

/// Removals a day that alarms may make: half of the 1,000 that a free plan of the storage allows, so that the other half stays for owners who
/// release.
pub const DAILY_REMOVALS: u32 = 500;
/// Tokens in one page of usage figures: each costs a question to its object, of the 50 that a free plan allows in a request.
pub const USAGE_PAGE: usize = 40;
const DAY: Seconds = 86_400;

/// What is asked of the operator's object.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Request {
    /// An alarm wants to remove so many values.
    #[n(0)]
    Budget(#[n(0)] u32),
    /// A token was used for the first time.
    #[n(1)]
    Note(#[n(0)] TokenId),
    /// The tokens after this one, and the day's removals.
    #[n(2)]
    Tokens(#[n(0)] Option<TokenId>),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Reply {
    /// Whether the budget allows it.
    #[n(0)]
    Budget(#[n(0)] bool),
    /// Done.
    #[n(1)]
    Done,
    /// At most [`USAGE_PAGE`] tokens, and the day's removals.
    #[n(2)]
    Tokens(#[n(0)] Vec<TokenId>, #[n(1)] u32),
}

/// Removals of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Day {
    /// Days since 1970.
    #[n(0)]
    pub day: u64,
    /// Removals granted.
    #[n(1)]
    pub removals: u32,
}

impl Day {
    /// The day of `now`, with what was granted on it so far.
    #[must_use]
    pub const fn at(self, now: Seconds) -> Self {
        if self.day == now / DAY { self } else { Self { day: now / DAY, removals: 0 } }
    }

    /// Grants removals if the day has so many left; a first one of a day is always granted, however large, so that nothing waits forever.
    #[must_use]
    pub const fn grant(self, wanted: u32, now: Seconds) -> (Self, bool) {
        let today = self.at(now);
        let sum = today.removals.saturating_add(wanted);
        if sum <= DAILY_REMOVALS || today.removals == 0 {
            (Self { removals: sum, ..today }, true)
        } else {
            (today, false)
        }
    }
}
