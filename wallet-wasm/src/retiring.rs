//! Safes that retire: their pieces go to others, backup by backup, each in its next generation. Like [`crate::rules`] this is no queue: what is
//! due follows from what is remembered.

use protocol::{
    ids::{BackupId, SafeId},
    plan::{Plan, PlanError},
};

use crate::{
    changing, rules,
    state::{Backup, Retirement, State},
};

/// A plan with another safe in the place of one.
///
/// # Errors
/// [`PlanError`] if the other one has a part in it already where it may have but one.
pub fn replaced(plan: &Plan<SafeId>, from: &SafeId, to: &SafeId) -> Result<Plan<SafeId>, PlanError> {
    plan.bind(&|safe| Ok(if safe == from { *to } else { *safe }))
}

/// The backups that have pieces at a safe, without those that are only still to be let go, and without chapters of the owner's book, which leave it by themselves.
pub fn at_safe<'a>(state: &'a State, safe: &'a SafeId) -> impl Iterator<Item = &'a Backup> {
    let own = state.backups.values().filter(|backup| backup.chapter.is_none());
    let current = own.filter(|backup| !state.is_leftover(backup) && backup.replaces.is_none());
    current.filter(move |backup| backup.deposits.iter().any(|deposit| deposit.safe == *safe))
}

/// Whether its owner has to do it: the next generation needs words or a file from him, the other safe has a part in it already, it could not be
/// done, or he would not have it.
pub fn is_left(retirement: &Retirement, backup: &Backup) -> bool {
    let doubled = backup.plan.safes().contains(&&retirement.to);
    retirement.left.contains(&backup.id) || doubled || rules::needs_owner(&backup.plan) || backup.is_taken()
}

/// The backups of which the next generation is to be begun now: those that leave a safe, and those that are to have other keys.
pub fn due(state: &State) -> Vec<BackupId> {
    let at_rest = |backup: &Backup| {
        backup.operation.is_none() && backup.finished.is_some() && state.successor(&backup.id).is_none()
    };
    let mut due: Vec<BackupId> = Vec::new();
    let renewed = || changing::to_renew(state).filter(|backup| at_rest(backup)).map(|backup| backup.id);
    let idle = state.retiring.is_empty() && renewed().next().is_none();
    let free = if idle { 0 } else { rules::may_begin(state) };
    for retirement in &state.retiring {
        let open = at_safe(state, &retirement.from).filter(|backup| !is_left(retirement, backup) && at_rest(backup));
        let open = open.map(|backup| backup.id).filter(|id| !due.contains(id)).take(free - due.len());
        due.extend(open.collect::<Vec<_>>());
    }
    let open = renewed().filter(|id| !due.contains(id)).take(free - due.len());
    due.extend(open.collect::<Vec<_>>());
    due
}
