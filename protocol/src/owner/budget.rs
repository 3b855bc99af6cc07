//! How many passphrases anybody may try, and what that makes of a group of safes.

use crate::ids::Seconds;

/// Guesses that an account answers without delay.
pub const PROMPT_GUESSES: u32 = 10;
/// Guesses that an account ever answers without a proof in between: ten at once, then one a day for a month.
pub const LIFETIME_GUESSES: u32 = 40;
/// Time between guesses after the prompt ones, seconds.
pub const GUESS_PAUSE: Seconds = 86_400;

/// What is left of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Guesses that would be answered now.
    pub now: u32,
    /// Guesses that will ever be answered, these included, if nobody proves anything.
    pub ever: u32,
    /// Seconds until the next one would be, if none is now.
    pub wait: Option<Seconds>,
}

/// What is left after `counted` guesses, the last one at `last`.
pub const fn left(counted: u32, last: Seconds, now: Seconds) -> Left {
    let ever = LIFETIME_GUESSES.saturating_sub(counted);
    let prompt = PROMPT_GUESSES.saturating_sub(counted);
    let wait = last.saturating_add(GUESS_PAUSE).saturating_sub(now);
    if ever == 0 {
        Left { now: 0, ever, wait: None }
    } else if prompt > 0 {
        Left { now: prompt, ever, wait: Some(0) }
    } else if wait == 0 {
        Left { now: 1, ever, wait: Some(0) }
    } else {
        Left { now: 0, ever, wait: Some(wait) }
    }
}

/// The most passphrases that anybody can try at a group of `n` safes of which `t` are needed, if each answers `each` guesses and `rolled_back` of them
/// may answer without end: `⌊(n − r) · each / (t − r)⌋`. `None`: there is no bound.
///
/// A try needs answers of `t` safes. Those without end give `r` of them for nothing; the other `t − r` come from `n − r` safes that answer `each`.
pub fn group_bound(n: u32, t: u32, rolled_back: u32, each: u32) -> Option<u64> {
    let from_others = t.checked_sub(rolled_back).filter(|count| *count > 0)?;
    let others = n.checked_sub(rolled_back)?;
    Some(u64::from(others) * u64::from(each) / u64::from(from_others))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_ten_at_once_and_one_a_day_to_forty() {
        assert_eq!(left(0, 0, 5), Left { now: 10, ever: 40, wait: Some(0) });
        assert_eq!(left(9, 5, 5), Left { now: 1, ever: 31, wait: Some(0) });
        assert_eq!(left(10, 5, 5), Left { now: 0, ever: 30, wait: Some(86_400) });
        assert_eq!(left(10, 5, 86_404), Left { now: 0, ever: 30, wait: Some(1) });
        assert_eq!(left(10, 5, 86_405), Left { now: 1, ever: 30, wait: Some(0) });
        assert_eq!(left(40, 5, u64::MAX), Left { now: 0, ever: 0, wait: None });
        // A clock that was set back gives nothing away.
        assert_eq!(left(10, 100, 5).now, 0);
    }

    #[test]
    fn the_bound_of_the_group_is_the_one_of_the_specification() {
        assert_eq!(group_bound(5, 3, 0, PROMPT_GUESSES), Some(16));
        assert_eq!(group_bound(5, 3, 0, LIFETIME_GUESSES), Some(66));
        assert_eq!(group_bound(5, 3, 1, LIFETIME_GUESSES), Some(80));
        assert_eq!(group_bound(3, 2, 1, LIFETIME_GUESSES), Some(80));
        assert_eq!(group_bound(5, 3, 3, LIFETIME_GUESSES), None);
    }
}
