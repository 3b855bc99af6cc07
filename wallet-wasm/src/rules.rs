//! Rules: what is backed up, and what leaves this device, by itself (claims 20, 21, 36).
//!
//! Nothing here is a queue. What is due follows from what is remembered, the time and the room that is left, so that it is found again on every
//! change, at every start and after every crash, and is done once.

use core::cmp::Reverse;

use minicbor::{Decode, Encode};
use protocol::{
    ids::{BackupId, SafeId, Seconds, ValueId},
    layout::Layout,
    plan::{Place, Plan, PlanError},
};

use crate::{
    room::Room,
    state::{Backup, Operation, Stage, State, Value},
    upkeep::DAY,
};

/// Most rules of a wallet.
pub const MAX_RULES: usize = 32;
/// Most conditions of a rule.
pub const MAX_CONDITIONS: usize = 16;
/// Most words in one condition, and most bytes of each.
pub const MAX_WORDS: usize = 64;
/// Longest name of a rule, bytes of UTF-8.
pub const MAX_NAME_LEN: usize = 64;
/// So many backups are made or tried at a time that nobody asked for.
pub const MAX_AT_ONCE: usize = 4;
/// What its owner has brought back is left alone for so long by a rule that makes room, seconds.
pub const REST_SPAN: Seconds = DAY;

/// What a rule asks of a value.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Condition {
    /// It is of one of these kinds.
    #[n(0)]
    Kind(#[n(0)] Vec<String>),
    /// It has one of these tags.
    #[n(1)]
    Tag(#[n(0)] Vec<String>),
    /// It is longer than this, bytes.
    #[n(2)]
    Larger(#[n(0)] u64),
    /// It is shorter than this, bytes.
    #[n(3)]
    Smaller(#[n(0)] u64),
    /// It was put in at least so long ago, seconds.
    #[n(4)]
    Older(#[n(0)] Seconds),
    /// It was changed since it was backed up.
    #[n(5)]
    Changed,
    /// Nobody has looked at it or changed it for so long, seconds.
    #[n(6)]
    Unused(#[n(0)] Seconds),
    /// Less than this is left on this device, bytes, or less than something waits for.
    #[n(7)]
    RoomBelow(#[n(0)] u64),
}

/// Conditions, and what is done with the values that meet all of them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rule {
    /// The owner's name for it.
    #[n(0)]
    pub name: String,
    /// What it asks; nothing: every value meets it.
    #[n(1)]
    pub when: Vec<Condition>,
    /// How a value is backed up that is not yet. It needs nothing of its owner: no words, and no file.
    #[n(2)]
    pub plan: Plan<SafeId>,
    /// Its content leaves this device when it is at the safes.
    #[n(3)]
    pub moves: bool,
    /// Whether it is followed.
    #[n(4)]
    pub on: bool,
}

/// A rule cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Without a name, or with a long one.
    #[error("a rule has a name of 1 to {MAX_NAME_LEN} bytes")]
    Name,
    /// More than anybody reads.
    #[error("there are at most {MAX_RULES} rules of {MAX_CONDITIONS} conditions with {MAX_WORDS} words each")]
    TooMany,
    /// A condition with nothing in it, which no value meets.
    #[error("a condition names no kind and no tag, so that nothing would ever meet it")]
    Empty,
    /// Its plan needs its owner.
    #[error("a rule runs by itself, so its plan cannot ask for words, or for a file to be saved")]
    NeedsOwner,
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A safe is not in the wallet.
    #[error("the plan names a safe that is not in this wallet")]
    UnknownSafe,
}

/// What is due for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deed {
    /// It is backed up, by the plan of the rule of this number; `moving`: and then leaves this device.
    Register(usize, bool),
    /// The change is backed up, by the plan that it has.
    Renew(BackupId, bool),
    /// It is rebuilt from what the safes have, and leaves this device.
    Move(BackupId),
    /// The safes show their pieces, before it may leave to make room.
    Audit(BackupId),
}

/// Whether a plan has a place that only the owner can fill.
pub fn needs_owner(plan: &Plan<SafeId>) -> bool {
    plan.places().iter().any(|(_, place)| matches!(place, Place::Memory | Place::File))
}

impl Condition {
    fn check(&self) -> Result<(), RuleError> {
        let (Self::Kind(words) | Self::Tag(words)) = self else { return Ok(()) };
        if words.len() > MAX_WORDS || words.iter().any(|word| word.len() > MAX_WORDS) {
            return Err(RuleError::TooMany);
        }
        if words.is_empty() { Err(RuleError::Empty) } else { Ok(()) }
    }

    /// When a value has met it for the first time, or will, as things are; `None`: it does not, and time alone does not change that.
    fn met_at(&self, state: &State, value: &Value, room: Option<&Room>) -> Option<Seconds> {
        let meta = &value.meta;
        let always = |met: bool| met.then_some(0);
        match self {
            Self::Kind(kinds) => always(kinds.contains(&meta.kind)),
            Self::Tag(tags) => always(meta.tags().iter().any(|tag| tags.contains(tag))),
            Self::Larger(than) => always(meta.length > *than),
            Self::Smaller(than) => always(meta.length < *than),
            Self::Older(span) => Some(meta.created.saturating_add(*span)),
            Self::Changed => always(state.is_changed(value)),
            Self::Unused(span) => Some(value.last_used().saturating_add(*span)),
            Self::RoomBelow(than) => always(room.is_none_or(|room| room.lacking(*than) > 0)),
        }
    }
}

impl Rule {
    /// Checks that it can be followed.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn check(&self, state: &State) -> Result<(), RuleError> {
        if self.name.trim().is_empty() || self.name.len() > MAX_NAME_LEN {
            return Err(RuleError::Name);
        }
        if self.when.len() > MAX_CONDITIONS {
            return Err(RuleError::TooMany);
        }
        self.when.iter().try_for_each(Condition::check)?;
        if needs_owner(&self.plan) {
            return Err(RuleError::NeedsOwner);
        }
        if !self.plan.safes().iter().all(|safe| state.safes.contains_key(safe)) {
            return Err(RuleError::UnknownSafe);
        }
        // What is wrong with a plan is wrong for every length.
        Layout::new(BackupId([0; 16]), &self.plan, 1, u64::MAX)?;
        Ok(())
    }

    /// How much room it wants to be left, bytes, where it makes room.
    fn keeps_free(&self) -> Option<u64> {
        let of = |condition: &Condition| if let Condition::RoomBelow(than) = condition { Some(*than) } else { None };
        self.when.iter().filter_map(of).min().filter(|_| self.moves)
    }

    /// When a value has met all conditions, or will, as things are. Without a room, it counts as short.
    fn met_at(&self, state: &State, value: &Value, room: Option<&Room>) -> Option<Seconds> {
        let mut all = self.when.iter().map(|condition| condition.met_at(state, value, room));
        let met = all.try_fold(0, |met: Seconds, at| Some(met.max(at?)))?;
        // What its owner took back stays, until it was not used for as long as the rule says, or is changed.
        let Some(left) = value.left_alone else { return Some(met) };
        let unused = |condition: &Condition| if let Condition::Unused(span) = condition { Some(*span) } else { None };
        let span = self.when.iter().find_map(unused).or(self.keeps_free().map(|_| REST_SPAN))?;
        Some(met.max(left.saturating_add(span)))
    }

    fn is_met(&self, state: &State, value: &Value, room: Option<&Room>, now: Seconds) -> bool {
        self.met_at(state, value, room).is_some_and(|at| at <= now)
    }
}

/// What goes together: a value that has no backup, or the values of a backup that are here.
struct Unit<'a> {
    values: Vec<&'a Value>,
    backup: Option<&'a Backup>,
}

impl Unit<'_> {
    /// It is known by its first value.
    fn id(&self) -> ValueId {
        self.values.first().map_or(ValueId([0; 16]), |value| value.meta.id)
    }

    fn length(&self) -> u64 {
        self.values.iter().map(|value| value.meta.length).sum()
    }

    fn last_used(&self) -> Seconds {
        self.values.iter().map(|value| value.last_used()).max().unwrap_or_default()
    }
}

/// Everything that bears on what is due.
struct Scene<'a> {
    state: &'a State,
    room: &'a Room,
    now: Seconds,
    /// Backups whose next generation is under way, in order.
    succeeded: Vec<BackupId>,
}

impl<'a> Scene<'a> {
    fn new(state: &'a State, room: &'a Room, now: Seconds) -> Self {
        let mut succeeded: Vec<BackupId> = state.backups.values().filter_map(|backup| backup.replaces).collect();
        succeeded.sort_unstable();
        Self { state, room, now, succeeded }
    }

    /// What is on this device.
    fn units(&self) -> Vec<Unit<'a>> {
        let state = self.state;
        let here = || state.values.values().filter(|value| value.content.is_some());
        let alone = here().filter(|value| value.backup.is_none());
        let alone = alone.map(|value| Unit { values: vec![value], backup: None });
        let coupled = state.backups.values().map(|backup| {
            let its = backup.values.iter().filter_map(|meta| state.values.get(&meta.id));
            let here = its.filter(|value| value.content.is_some() && value.backup == Some(backup.id));
            Unit { values: here.collect(), backup: Some(backup) }
        });
        alone.chain(coupled.filter(|unit| !unit.values.is_empty())).collect()
    }

    fn is_met(&self, rule: &Rule, value: &Value) -> bool {
        rule.on && rule.is_met(self.state, value, Some(self.room), self.now)
    }

    /// The first of the rules that do not make room, by its number.
    fn first(&self, value: &Value) -> Option<usize> {
        self.state.rules.iter().position(|rule| rule.keeps_free().is_none() && self.is_met(rule, value))
    }

    fn moves(&self, value: &Value) -> bool {
        let moves = |rule: &Rule| rule.moves && rule.keeps_free().is_none();
        self.state.rules.iter().any(|rule| moves(rule) && self.is_met(rule, value))
    }

    /// How much room the rules want to be left that would have a value go for it, bytes.
    fn makes_room(&self, value: &Value) -> Option<u64> {
        let met = self.state.rules.iter().filter(|rule| self.is_met(rule, value));
        met.filter_map(Rule::keeps_free).max()
    }

    /// Whether nothing is being done with a backup, and nothing is about to take its place.
    fn is_at_rest(&self, backup: &Backup) -> bool {
        backup.operation.is_none() && self.succeeded.binary_search(&backup.id).is_err()
    }

    /// Whether what is here of a backup could go as things are: it is whole, and nobody was seen to fail.
    fn may_leave(&self, backup: &Backup) -> bool {
        let sound = backup.deposits.iter().all(|deposit| deposit.stage == Stage::Held && deposit.fault.is_none());
        // What lives once leaves in a new generation, for which there are no words.
        let words = backup.lives_once() && needs_owner(&backup.plan);
        let whole = backup.finished.is_some() && backup.file_saved != Some(false);
        sound && whole && !words && !self.state.is_outdated(backup)
    }

    /// What the rules that do not make room say.
    fn plain(&self, unit: &Unit<'_>) -> Option<Deed> {
        let Some(backup) = unit.backup else {
            let value = unit.values.first()?;
            return Some(Deed::Register(self.first(value)?, self.moves(value)));
        };
        if !self.is_at_rest(backup) {
            return None;
        }
        // What is coupled goes together, or stays.
        let moving = || unit.values.iter().all(|value| self.moves(value));
        let changed = |value: &&&Value| self.state.is_changed(value);
        if unit.values.iter().filter(changed).any(|value| self.first(value).is_some()) {
            let can = backup.finished.is_some() && !needs_owner(&backup.plan) && !backup.is_taken();
            return can.then(|| Deed::Renew(backup.id, moving()));
        }
        (moving() && self.may_leave(backup)).then_some(Deed::Move(backup.id))
    }

    /// How far it is from leaving to make room: the steps that are left. `None`: it does not.
    fn steps_to_leave(&self, unit: &Unit<'_>) -> Option<u8> {
        // Only a new generation could leave of what lives once, and nobody would have seen its pieces.
        if unit.values.iter().any(|value| value.meta.lives_once()) {
            return None;
        }
        let Some(backup) = unit.backup else { return Some(3) };
        match backup.operation {
            Some(Operation::Vacate) => return Some(0),
            Some(Operation::Drill) if backup.then.is_some() => return Some(0),
            Some(Operation::Register) if backup.replaces.is_none() => return Some(3),
            Some(_) => return None,
            None => {}
        }
        let may = self.is_at_rest(backup) && self.may_leave(backup);
        may.then_some(if is_audited(backup) { 1 } else { 2 })
    }

    /// What the rules that make room say: what leaves, in its order, until there is enough.
    fn making_room(&self) -> Vec<(Unit<'a>, Option<Deed>)> {
        let goal = self.state.rules.iter().filter(|rule| rule.on).filter_map(Rule::keeps_free).max();
        if goal.is_none_or(|goal| self.room.lacking(goal) == 0) {
            return Vec::new();
        }
        let mut candidates: Vec<(u8, u64, Unit<'a>)> = Vec::new();
        for unit in self.units() {
            let Some(steps) = self.steps_to_leave(&unit) else { continue };
            // What is on its way goes, whoever wanted that.
            let goals =
                unit.values.iter().map(|value| if steps == 0 { Some(u64::MAX) } else { self.makes_room(value) });
            if let Some(goal) = goals.collect::<Option<Vec<u64>>>().and_then(|goals| goals.into_iter().min()) {
                candidates.push((steps, goal, unit));
            }
        }
        // What is the nearest to leaving, and then what nobody has used for the longest time; of two alike the larger one.
        candidates.sort_by_key(|(steps, _, unit)| (*steps, unit.last_used(), Reverse(unit.length()), unit.id()));
        let mut coming = 0u64;
        let mut chosen = Vec::new();
        for (steps, goal, unit) in candidates {
            if self.room.lacking(goal) <= coming {
                continue;
            }
            coming = coming.saturating_add(unit.length());
            let deed = self.step(steps, &unit);
            chosen.push((unit, deed));
        }
        chosen
    }

    /// The next step of what leaves to make room, where it is not under way.
    fn step(&self, steps: u8, unit: &Unit<'_>) -> Option<Deed> {
        match (steps, unit.backup) {
            (3, None) => {
                let value = unit.values.first()?;
                let makes = |rule: &Rule| rule.keeps_free().is_some() && self.is_met(rule, value);
                self.state.rules.iter().position(makes).map(|rule| Deed::Register(rule, false))
            }
            (2, Some(backup)) => {
                // Asked for once a day: what the safes show, or do not, comes by itself.
                let asked = backup.asked.filter(|asked| backup.finished <= Some(*asked));
                let again = asked.is_none_or(|asked| self.now >= asked.saturating_add(DAY));
                again.then_some(Deed::Audit(backup.id))
            }
            (1, Some(backup)) => Some(Deed::Move(backup.id)),
            _ => None,
        }
    }
}

/// Whether all pieces of a backup were shown since it was made.
fn is_audited(backup: &Backup) -> bool {
    let finished = backup.finished.unwrap_or(Seconds::MAX);
    backup.deposits.iter().all(|deposit| deposit.audited.is_some_and(|shown| shown >= finished))
}

/// How many backups may be begun by themselves now: each takes memory until its pieces are on their way.
pub fn may_begin(state: &State) -> usize {
    let working = state.backups.values().filter(|backup| backup.chapter.is_none()).filter(|backup| {
        backup.is_gathering() || (backup.operation == Some(Operation::Register) && backup.unmade().is_some())
    });
    MAX_AT_ONCE.saturating_sub(working.count())
}

/// What is due now, named by a value each, with no more begun than the device has memory for.
pub fn due(state: &State, room: &Room, now: Seconds) -> Vec<(ValueId, Deed)> {
    let free = may_begin(state);
    if free == 0 || state.rules.iter().all(|rule| !rule.on) {
        return Vec::new();
    }
    let scene = Scene::new(state, room, now);
    let plain = scene.units().into_iter().filter_map(|unit| Some((unit.id(), scene.plain(&unit)?)));
    let mut deeds: Vec<(ValueId, Deed)> = plain.take(free).collect();
    for (unit, deed) in scene.making_room() {
        let (id, Some(deed)) = (unit.id(), deed) else { continue };
        // What leaves anyway is seen to.
        if deeds.len() < free && deeds.iter().all(|(known, _)| *known != id) {
            deeds.push((id, deed));
        }
    }
    deeds
}

/// When time alone will make something due that is not yet.
pub fn next_due(state: &State, now: Seconds) -> Option<Seconds> {
    let rules = || state.rules.iter().filter(|rule| rule.on);
    let here = state.values.values().filter(|value| value.content.is_some());
    here.flat_map(|value| rules().filter_map(move |rule| rule.met_at(state, value, None))).filter(|at| *at > now).min()
}

/// The values that leave to make room as things are, on their way or next.
pub fn leaving(state: &State, room: &Room, now: Seconds) -> Vec<ValueId> {
    let units = Scene::new(state, room, now).making_room();
    units.iter().flat_map(|(unit, _)| unit.values.iter().map(|value| value.meta.id)).collect()
}

/// What a rule would do with a value, as its owner is told before he saves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// It is backed up.
    BacksUp,
    /// Its change is backed up.
    BacksUpChange,
    /// It leaves this device.
    Moves,
    /// It leaves this device when room is short.
    MovesForRoom,
    /// It is as the rule wants it.
    IsSo,
    /// Its owner took it back: it is left alone.
    LeftAlone,
    /// Its plan needs words or a file, so that its owner has to do it.
    NeedsOwner,
    /// Something is being done with it.
    Busy,
}

/// What a rule, by itself, would do now, for every value that meets it.
pub fn preview(state: &State, rule: &Rule, now: Seconds) -> Vec<(ValueId, Effect)> {
    let room = Room::default();
    let scene = Scene::new(state, &room, now);
    let free = |value: &Value| Value { left_alone: None, ..value.clone() };
    let matching = state.values.values().filter(|value| rule.is_met(state, &free(value), None, now));
    let effect = |value: &Value| {
        let backup = value.backup.and_then(|id| state.backups.get(&id));
        let changed = state.is_changed(value);
        match backup {
            _ if value.content.is_none() => Effect::IsSo,
            Some(backup) if !scene.is_at_rest(backup) => Effect::Busy,
            _ if !rule.is_met(state, value, None, now) => Effect::LeftAlone,
            Some(backup) if changed && needs_owner(&backup.plan) => Effect::NeedsOwner,
            Some(_) if changed => Effect::BacksUpChange,
            _ if rule.keeps_free().is_some() => match scene.steps_to_leave(&Unit { values: vec![value], backup }) {
                Some(_) => Effect::MovesForRoom,
                None => Effect::IsSo,
            },
            _ if rule.moves => Effect::Moves,
            None => Effect::BacksUp,
            Some(_) => Effect::IsSo,
        }
    };
    matching.map(|value| (value.meta.id, effect(value))).collect()
}
