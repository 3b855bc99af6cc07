//! Room for contents on this device: how much there is, and what waits for more (claims 21, 24).

use protocol::ids::{BackupId, ValueId};

use crate::state::{Backup, Operation, State};

/// So much of what the browser says is free is left to records, bytes: one of the longest.
pub const RESERVE: u64 = crate::state::MAX_RECORD_LEN as u64;

/// Room for contents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// How much is left, bytes; `None`: nobody says.
    pub free: Option<u64>,
    /// How much is waited for beside what there is, bytes.
    pub wanted: u64,
}

impl Room {
    /// How much is missing until so much is left when all that waits has come, bytes.
    pub fn lacking(&self, goal: u64) -> u64 {
        let goal = goal.max(self.wanted);
        self.free.map_or(0, |free| goal.saturating_sub(free))
    }
}

/// What contents take on this device, bytes.
pub fn used(state: &State) -> u64 {
    state.values.values().filter_map(|value| value.content.as_ref()).map(|content| content.length).sum()
}

/// What a recovery brings to this device that is not here, bytes. What is here stays until the new copy of it is durable, and is not counted.
pub fn brings(state: &State, backup: &Backup) -> u64 {
    // A chapter of the book is read, and not kept.
    if backup.operation != Some(Operation::Recover) || backup.chapter.is_some() {
        return 0;
    }
    let wanted = |id: &ValueId| backup.is_wanted(id) && !state.is_local(id);
    backup.values.iter().filter(|meta| wanted(&meta.id)).map(|meta| meta.length).sum()
}

/// The recoveries that do not fit beside those before them, and what each lacks, bytes. They are suspended, and lose nothing by it.
pub fn suspended(state: &State, free: Option<u64>) -> Vec<(BackupId, u64)> {
    let Some(mut free) = free else { return Vec::new() };
    let mut waiting = Vec::new();
    for backup in state.backups.values() {
        let needed = brings(state, backup);
        match free.checked_sub(needed) {
            Some(left) => free = left,
            None => waiting.push((backup.id, needed - free)),
        }
    }
    waiting
}

/// So many bytes, rounded up: never less than what it takes.
pub fn say_bytes(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(size, _)| bytes >= *size);
    let Some((size, name)) = unit else { return format!("{bytes} bytes") };
    let tenths = (u128::from(bytes) * 10).div_ceil(u128::from(size));
    if tenths % 10 == 0 || tenths >= 1000 {
        format!("{} {name}", tenths.div_ceil(10))
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}
