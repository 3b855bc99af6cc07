//! Which heads of the book a safe keeps beside the newest one. Whoever has stolen a wallet that is open can write the book; what stood in it before must not be
//! his to remove. Spec: `spec/owner.md` §9.

use crate::{
    ids::Seconds,
    owner::{
        messages::{Epoch, Past},
        ticket::UNDO_SPAN,
    },
};

/// Over the last days a head is kept for each of these spans, seconds: what is lost is less than three hours of changes, if its owner comes that soon.
pub const FINE: Seconds = 3 * 3600;
/// How far back that goes, seconds.
pub const FINE_SPAN: Seconds = 3 * 86_400;
/// Before that, one for each of these, seconds: then it is less than a day.
pub const COARSE: Seconds = 86_400;
/// Most heads that are kept: one for each of 24 times of the last three days, of 7 of the last week, and the last one of the turn before.
pub const MAX_PAST: usize = (FINE_SPAN / FINE + UNDO_SPAN / COARSE) as usize + 1;

/// Whether a head stood at one of the times that count at `now`.
const fn counts(past: &Past, now: Seconds) -> bool {
    stood(past, FINE, now.saturating_sub(FINE_SPAN)) || stood(past, COARSE, now.saturating_sub(UNDO_SPAN))
}

/// Whether a multiple of `step` that is later than `after` lies in the time in which it stood.
const fn stood(past: &Past, step: Seconds, after: Seconds) -> bool {
    // The last multiple before the next head came.
    let Some(until) = past.until.checked_sub(1) else { return false };
    let last = until - until % step;
    last >= past.from && last > after
}

/// Of heads that others have taken the place of, the newest first, those that are kept while the one in force is of this turn: at most [`MAX_PAST`], and no more than that many even
/// where a clock was set back.
pub fn kept(all: &[Past], turn: Epoch, now: Seconds) -> impl Iterator<Item = &Past> {
    let before = all.iter().position(|past| past.mark.epoch != turn && past.until.saturating_add(UNDO_SPAN) > now);
    let kept = move |(at, past): &(usize, &Past)| counts(past, now) || before == Some(*at);
    all.iter().enumerate().filter(kept).map(|(_, past)| past).take(MAX_PAST)
}
