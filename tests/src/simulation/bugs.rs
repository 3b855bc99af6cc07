//! Mistakes that somebody could make in machine or shell. A simulation that does not notice one of them proves nothing.

use protocol::crypto::derive_secret;
use wallet_wasm::{
    machine::Changes,
    owner::Owner,
    state::{Backup, Claim, Key, Operation, Row, Stage, State, Then, Value},
};

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// What is to come back is let go before it is here.
    ReleasesBeforeStoring,
    /// Offers count as certificates: the copy here goes when all safes have offered.
    VacatesOnOffers,
    /// The copy here goes when a move begins.
    VacatesAtOnce,
    /// The copy here goes with the first certificate.
    VacatesTooSoon,
    /// A generation is let go when its successor begins.
    ReleasesOldGenerationAtOnce,
    /// After a restart, bodies are made from other randomness.
    MakesBodiesAnew,
    /// The seed of the bodies is forgotten when they are made.
    ForgetsSeed,
    /// A registration that is given up is forgotten, not released.
    ForgetsDeposits,
    /// A deposit counts as released when the request is on its way.
    BelievesReleased,
    /// Commits are not flushed.
    CommitsRelaxed,
    /// Windows of one wallet do not look whether another one has written.
    IgnoresOtherWindows,
    /// The safe's clock is not believed.
    IgnoresClock,
    /// A claim is sent as it is.
    SendsSecret,
    /// A body is sent as it is.
    SendsPlaintext,
    /// A recovered value is not wanted to be the one that was backed up.
    ForgetsRecovered,
    /// What was changed during a move leaves with what it was.
    VacatesChanged,
    /// Whoever wants what lives once counts as chosen.
    ChoosesItself,
    /// What lives once and stays here is not claimed, and its certificates are given away all the same.
    KeepsUnclaimed,
    /// A head of an owner's book counts with one safe too few.
    CountsTooSoon,
    /// Nothing waits for the owner's book.
    IgnoresBook,
    /// A safe forgets the guesses that it has counted.
    ForgetsGuesses,
    /// A safe lets a device write the owner's book whose turn is over.
    IgnoresTurns,
    /// A safe does not keep what a device of an owner lets go.
    LetsGoAtOnce,
    /// A safe forgets passkeys and kits.
    ForgetsWays,
    /// A safe counts the tries with a kit among everybody's.
    CountsKitsWithOthers,
    /// It is forgotten which content was made of which other one.
    ForgetsEditions,
    /// What a device has of a value goes when a change that was made elsewhere is named, and not when it is here.
    DropsEarlier,
}

/// All of them.
pub const BUGS: [Bug; 27] = [
    Bug::ReleasesBeforeStoring,
    Bug::VacatesOnOffers,
    Bug::VacatesAtOnce,
    Bug::VacatesTooSoon,
    Bug::ReleasesOldGenerationAtOnce,
    Bug::MakesBodiesAnew,
    Bug::ForgetsSeed,
    Bug::ForgetsDeposits,
    Bug::BelievesReleased,
    Bug::CommitsRelaxed,
    Bug::IgnoresOtherWindows,
    Bug::IgnoresClock,
    Bug::SendsSecret,
    Bug::SendsPlaintext,
    Bug::ForgetsRecovered,
    Bug::VacatesChanged,
    Bug::ChoosesItself,
    Bug::KeepsUnclaimed,
    Bug::CountsTooSoon,
    Bug::IgnoresBook,
    Bug::ForgetsGuesses,
    Bug::IgnoresTurns,
    Bug::LetsGoAtOnce,
    Bug::ForgetsWays,
    Bug::CountsKitsWithOthers,
    Bug::ForgetsEditions,
    Bug::DropsEarlier,
];

/// What a machine with the mistake makes of its changes; `None`: the mistake is the shell's.
pub fn spoiler(bug: Bug) -> Option<fn(&State, &mut Changes)> {
    Some(match bug {
        Bug::ReleasesBeforeStoring => |_, changes| {
            backups(changes, |backup| {
                if backup.operation == Some(Operation::Recover) && backup.then == Some(Then::Release) {
                    (backup.operation, backup.then) = (Some(Operation::Release), None);
                }
            });
        },
        Bug::VacatesOnOffers => |state, changes| vacate(state, changes, |b| b.all_at(Stage::Offered)),
        Bug::VacatesAtOnce => |state, changes| vacate(state, changes, |_| true),
        Bug::VacatesTooSoon => {
            |state, changes| vacate(state, changes, |b| b.deposits.iter().any(|d| d.stage == Stage::Held))
        }
        Bug::ReleasesOldGenerationAtOnce => |state, changes| {
            let mut old = Vec::new();
            backups(changes, |backup| {
                let old_one = backup.replaces.and_then(|id| state.backups.get(&id)).filter(|b| b.operation.is_none());
                old.extend(old_one.cloned());
            });
            changes.put.extend(
                old.into_iter()
                    .map(|backup| Row::Backup(Box::new(Backup { operation: Some(Operation::Release), ..backup }))),
            );
        },
        Bug::MakesBodiesAnew => |_, changes| {
            backups(changes, |b| b.op_seed = b.op_seed.as_ref().map(|seed| derive_secret(seed, "again", b"")));
        },
        Bug::ForgetsSeed => |_, changes| {
            backups(changes, |b| {
                if b.all_at(Stage::Prepared) {
                    b.op_seed = None;
                }
            });
        },
        Bug::ForgetsDeposits => |state, changes| {
            let mut given_up = Vec::new();
            backups(changes, |backup| {
                let before = state.backups.get(&backup.id);
                if backup.operation == Some(Operation::Release) && before.is_some_and(|b| b.finished.is_none()) {
                    given_up.push(backup.id);
                }
            });
            let kept = |row: &Row| !matches!(row, Row::Backup(backup) if given_up.contains(&backup.id));
            changes.put.retain(kept);
            let free = |value: &&Value| value.backup.is_some_and(|id| given_up.contains(&id));
            for value in state.values.values().filter(free).cloned().collect::<Vec<_>>() {
                changes.put.push(Row::Value(Box::new(Value { backup: None, ..value })));
            }
            changes.remove.extend(given_up.into_iter().map(Key::Backup));
        },
        Bug::VacatesChanged => |state, changes| {
            let mut values = Vec::new();
            backups(changes, |backup| {
                let before = state.backups.get(&backup.id).and_then(|before| before.operation);
                if (before, backup.operation) == (Some(Operation::Vacate), None) {
                    values.extend(backup.values.iter().map(|meta| meta.id));
                }
            });
            let values = values.iter().filter_map(|id| state.values.get(id));
            let gone = values.map(|value| Row::Value(Box::new(Value { content: None, ..value.clone() })));
            changes.put.extend(gone);
        },
        Bug::ChoosesItself => |_, changes| {
            claims(changes, |claim| claim.chosen = Some(claim.claimant()));
        },
        Bug::KeepsUnclaimed => |_, changes| {
            backups(changes, |backup| backup.operation = backup.operation.filter(|op| *op != Operation::Claim));
        },
        Bug::ForgetsRecovered => |_, changes| {
            for row in &mut changes.put {
                if let Row::Value(value) = row {
                    value.content = value.content.take().filter(|content| !changes.needs.contains(&content.blob));
                }
            }
        },
        Bug::CountsTooSoon => |_, changes| {
            books(changes, |owner, sequence| {
                if owner.written() + 1 == owner.quorum() {
                    let missing = owner.seats.iter_mut().find(|seat| seat.written < sequence);
                    missing.into_iter().for_each(|seat| seat.written = sequence);
                }
            });
        },
        Bug::IgnoresBook => |_, changes| {
            books(changes, |owner, sequence| owner.seats.iter_mut().for_each(|seat| seat.written = sequence));
        },
        Bug::ForgetsEditions => |_, changes| {
            backups(changes, |backup| backup.values.iter_mut().for_each(|meta| meta.editions = None));
            for row in &mut changes.put {
                if let Row::Value(value) = row {
                    value.meta.editions = None;
                }
            }
        },
        Bug::DropsEarlier => {
            |_, changes| changes.put.retain(|row| !matches!(row, Row::Value(value) if value.until.is_some()))
        }
        _ => return None,
    })
}

/// Spoils what a wallet remembers of its owner's book at the safes.
fn books(changes: &mut Changes, spoil: impl Fn(&mut Owner, u64)) {
    for row in &mut changes.put {
        if let Row::Owner(owner) = row
            && let Some(sequence) = owner.head.as_ref().map(|head| head.mark.sequence)
        {
            spoil(owner, sequence);
        }
    }
}

fn backups(changes: &mut Changes, mut spoil: impl FnMut(&mut Backup)) {
    for row in &mut changes.put {
        if let Row::Backup(backup) = row {
            spoil(backup);
        }
    }
}

/// Spoils claims that are not decided.
fn claims(changes: &mut Changes, mut spoil: impl FnMut(&mut Claim)) {
    backups(changes, |backup| {
        if backup.operation == Some(Operation::Recover) {
            backup.claim.iter_mut().filter(|claim| claim.chosen.is_none()).for_each(&mut spoil);
        }
    });
}

/// Takes the contents of a move away as soon as a condition holds.
fn vacate(state: &State, changes: &mut Changes, when: impl Fn(&Backup) -> bool) {
    let mut values = Vec::new();
    backups(changes, |backup| {
        if backup.operation == Some(Operation::Register) && backup.then == Some(Then::Vacate) && when(backup) {
            values.extend(backup.values.iter().map(|meta| meta.id));
        }
    });
    for value in values.iter().filter_map(|id| state.values.get(id)).cloned().collect::<Vec<_>>() {
        let backup = changes.put.iter().find_map(|row| match row {
            Row::Value(put) if put.meta.id == value.meta.id => put.backup,
            _ => None,
        });
        let backup = backup.or(value.backup);
        changes.put.push(Row::Value(Box::new(Value { content: None, backup, ..value })));
    }
}
