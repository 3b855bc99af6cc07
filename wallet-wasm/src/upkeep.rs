//! When what is at the safes is looked at again, by schedule or because the owner asked, and when silence becomes an alarm. All of it follows
//! from what is remembered, so that nothing is forgotten with the tab.

use protocol::ids::{BackupId, DepositId, SafeId, Seconds};

use crate::{
    audits::MAX_BATCH,
    state::{Backup, Deposit, Operation, Stage, State},
};

/// Seconds of an hour.
pub const HOUR: Seconds = 3_600;
/// Seconds of a day.
pub const DAY: Seconds = 86_400;
/// A sound piece is asked for again after a week, seconds: with up to 64 groups of 16 KiB a time, what is lost is found within a few.
pub const AUDIT_SPAN: Seconds = 7 * DAY;
/// A piece that was not shown is asked for again after a day, seconds.
pub const FAULT_SPAN: Seconds = DAY;
/// When no audit has succeeded for this long, seconds, the owner is told: four audits in a row have failed.
pub const SILENCE_SPAN: Seconds = 4 * AUDIT_SPAN;
/// When a registration has not come to its end for this long, seconds, the owner is told. A safe forgets an offer that was not confirmed
/// after a week.
pub const UNFINISHED_SPAN: Seconds = 3 * DAY;

/// When the safe has to show a deposit's piece; `None`: there is none to be shown.
fn due(backup: &Backup, deposit: &Deposit) -> Option<Seconds> {
    if deposit.stage != Stage::Held || deposit.is_lost() || backup.operation == Some(Operation::Release) {
        return None;
    }
    let looked = deposit.looked.or(deposit.audited);
    if backup.asked.is_some_and(|asked| looked.is_none_or(|looked| looked < asked)) {
        return Some(0);
    }
    let span = if deposit.fault.is_some() { FAULT_SPAN } else { AUDIT_SPAN };
    Some(looked.or(backup.finished)?.saturating_add(span))
}

fn all(state: &State) -> impl Iterator<Item = (&Backup, &Deposit)> {
    state.backups.values().flat_map(|backup| backup.deposits.iter().map(move |deposit| (backup, deposit)))
}

/// Whether a deposit's piece is to be shown now.
pub fn is_due(backup: &Backup, deposit: &Deposit, now: Seconds) -> bool {
    due(backup, deposit).is_some_and(|due| due <= now)
}

/// The safes that are to show something now.
pub fn due_safes(state: &State, now: Seconds) -> Vec<SafeId> {
    let mut safes: Vec<SafeId> = all(state).filter(|(b, d)| is_due(b, d, now)).map(|(_, d)| d.safe).collect();
    safes.sort_unstable();
    safes.dedup();
    safes
}

/// What a safe is asked about next, in one request.
pub fn batch(state: &State, safe: &SafeId, now: Seconds) -> Vec<(BackupId, DepositId)> {
    let due = all(state).filter(|(backup, deposit)| deposit.safe == *safe && is_due(backup, deposit, now));
    due.map(|(backup, deposit)| (backup.id, deposit.id)).take(MAX_BATCH).collect()
}

/// When the next piece is to be shown that is not to be shown yet.
pub fn next_due(state: &State, now: Seconds) -> Option<Seconds> {
    all(state).filter_map(|(backup, deposit)| due(backup, deposit)).filter(|due| *due > now).min()
}

/// Since when a registration has not come to its end, where that is too long.
pub fn unfinished_since(backup: &Backup, now: Seconds) -> Option<Seconds> {
    let begun = backup.begun.filter(|_| backup.operation == Some(Operation::Register))?;
    (now > begun.saturating_add(UNFINISHED_SPAN)).then_some(begun)
}

/// How many safes have not shown their piece for too long, and since when the first of them.
pub fn silent_since(backup: &Backup, now: Seconds) -> Option<(usize, Seconds)> {
    let finished = backup.finished?;
    let held = backup.deposits.iter().filter(|deposit| deposit.stage == Stage::Held);
    let shown = held.map(|deposit| (deposit.safe, deposit.audited.unwrap_or(finished)));
    let silent: Vec<_> = shown.filter(|(_, shown)| now > shown.saturating_add(SILENCE_SPAN)).collect();
    let since = silent.iter().map(|(_, shown)| *shown).min()?;
    let mut safes: Vec<SafeId> = silent.into_iter().map(|(safe, _)| safe).collect();
    safes.sort_unstable();
    safes.dedup();
    Some((safes.len(), since))
}
