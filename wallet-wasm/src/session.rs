//! What the wallet knows only while it is open, and what follows from state and session: the actions.
//!
//! Nothing here is persisted: after a restart every action is found again from the state, with the same bytes. The shell takes an action,
//! marks it [`Session::started`], does it, and reports; it never keeps a queue of its own.

use core::cell::RefCell;

use litemap::LiteMap as Map;
use protocol::{
    analysis::{Principal, Setting, analyse},
    certificate::read_unverified,
    claim::CLAIM_SPAN,
    crypto::Secret,
    deposit::RENEW_PART,
    ids::{BackupId, DepositId, SafeId, Seconds, ValueId},
    layout::{Choice, GatherError, Layout, Slot},
    owner::ticket::{Right, Ticket},
    plan::Place,
    program::{Keys, Piece},
    register::{Answer, Proposal},
};

use crate::{
    book,
    claiming::{Claiming, Outcome, Told},
    machine::Event,
    owner, relaying, retiring,
    room::{self, Room},
    rules,
    state::{Backup, Deposit, Operation, Stage, State},
    upkeep,
};

/// Most requests to one safe at a time: one that uploads and one that waits for an answer.
pub const MAX_PER_SAFE: usize = 2;
/// First pause after a safe did not answer, seconds; doubles up to [`MAX_PAUSE`].
pub const FIRST_PAUSE: Seconds = 2;
/// Longest pause, seconds.
pub const MAX_PAUSE: Seconds = 60;

/// So far a safe's clock may be off what was thought of it without a claim being refused for that, seconds: half of a claim's time.
pub const CLOCK_SLACK: Seconds = CLAIM_SPAN / 2;

/// A renewal that does not hold is asked for so often.
const MAX_RENEWALS: usize = 3;
/// A little later than the safe does, so that clocks that differ do not ask in vain, seconds.
const RENEW_SLACK: Seconds = 86_400;

/// A ticket is not used when so little of its time is left, seconds: a request may take as long.
const TICKET_SLACK: Seconds = CLAIM_SPAN / 2;

/// What a doubtful safe's piece costs beside its length, so that it is asked last.
const DOUBT: u64 = 1 << 40;

/// What a plan survives and exposes, in short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strength {
    /// How many safes may be lost, whichever they are, and the owner still gets everything back.
    pub losses: usize,
    /// Fewest safes that have enough to read it, or a part of it, were the secrets of their envelopes known; `None`: not even all.
    pub coalition: Option<usize>,
    /// Without the owner's words nothing brings it back.
    pub words: bool,
    /// Without the owner's file nothing brings it back.
    pub file: bool,
}

/// What a request to a safe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Errand {
    /// Send the body.
    Put,
    /// Confirm the stored offer.
    Confirm,
    /// Get the body back.
    Retrieve,
    /// Let it go.
    Release,
    /// Get the certificate as it stands now.
    Renew,
    /// Propose who gets what lives once.
    Propose(Proposal),
    /// Have it take back what was let go.
    Restore,
}

impl Errand {
    /// The right that it takes where the deposit is bound to its owner.
    pub const fn right(&self) -> Option<Right> {
        match self {
            Self::Retrieve => Some(Right::Retrieve),
            Self::Release => Some(Right::Release),
            Self::Restore => Some(Right::Owner),
            Self::Propose(proposal) if proposal.needs_release() => Some(Right::Release),
            Self::Propose(_) => Some(Right::Retrieve),
            _ => None,
        }
    }
}

/// What is planned for this moment.
#[derive(Debug, Default)]
struct Planned {
    /// Requests, by safe.
    counts: Map<SafeId, usize>,
    /// Safes at which this wallet does not have its turn, or not yet: they let nothing go that is bound to the owner.
    without_turn: Vec<SafeId>,
}

impl Planned {
    fn of(state: &State) -> Self {
        let seats = state.owner.iter().flat_map(|owner| owner.seats.iter().chain(&owner.former));
        let without_turn = seats.filter(|seat| seat.turned || !seat.promised).map(|seat| seat.safe).collect();
        Self { counts: Map::new(), without_turn }
    }

    fn add(&mut self, safe: SafeId) {
        *self.counts.entry(safe).or_default() += 1;
    }
}

/// Something to do now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Action {
    /// Make the bodies of a segment and report roots and lengths.
    Prepare(BackupId, u32),
    /// Send a request to a safe.
    Send(BackupId, DepositId, Errand),
    /// Rebuild a segment from the bodies that came back.
    Gather(BackupId, u32),
    /// All segments are rebuilt: store the values, or after a drill only say what they are.
    Finish(BackupId),
    /// Report that the contents may go: [`crate::machine::Event::Vacate`].
    Vacate(BackupId),
    /// Ask a safe to show parts of [`upkeep::batch`].
    Audit(SafeId),
    /// Report that something is due for a value: [`crate::machine::Event::ApplyRule`].
    ApplyRule(ValueId),
    /// Report that a backup leaves a safe that retires: [`crate::machine::Event::Replace`].
    Replace(BackupId),
    /// Say something to a safe as its owner.
    Owner(SafeId, owner::Errand),
    /// Write [`crate::book::due`].
    WriteChapter,
    /// Have this safe fetch a body that another one keeps.
    Relay(BackupId, DepositId, SafeId),
}

impl Action {
    /// The backup whose operation it serves, if it is one's.
    pub const fn backup(&self) -> Option<BackupId> {
        match self {
            Self::Prepare(backup, _)
            | Self::Send(backup, ..)
            | Self::Relay(backup, ..)
            | Self::Gather(backup, _)
            | Self::Finish(backup)
            | Self::Vacate(backup)
            | Self::Replace(backup) => Some(*backup),
            Self::Audit(_) | Self::ApplyRule(_) | Self::Owner(..) | Self::WriteChapter => None,
        }
    }
}

/// How a safe was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Contact {
    /// Not tried since the wallet was opened.
    #[default]
    Untried,
    /// Answers.
    Reachable,
    /// Does not answer.
    Away,
    /// Something answers that is not the safe.
    NotItself,
}

/// How one body fared in a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fetch {
    /// Here and checked.
    Got,
    /// No answer.
    Away,
    /// Other bytes than certified, or none although certified.
    Lied(String),
    /// The safe says no.
    Refused(String),
}

#[derive(Debug, Default)]
struct SafeSession {
    contact: Contact,
    detail: Option<String>,
    pause: Seconds,
    not_before: Seconds,
    /// Safe's clock minus ours, seconds.
    skew: i64,
}

/// A recovery under way.
#[derive(Default)]
pub struct Recovery {
    /// How every body fared that was asked for.
    pub fetches: Map<DepositId, Fetch>,
    /// Segments that are rebuilt.
    pub gathered: Vec<u32>,
    /// Keys that the segments before have shown.
    pub keys: Keys,
    /// The key of the words that the owner gave.
    pub words: Option<Secret>,
    /// The pieces of the file that the owner gave.
    pub file: Vec<Piece>,
    /// The pieces that safes gave, by deposit, until they are used.
    pub pieces: Map<DepositId, Vec<Piece>>,
    /// What the owner is to do before it can go on.
    pub trouble: Option<String>,
}

impl Recovery {
    /// The pieces of a choice. Those that nothing else will need are taken out.
    pub fn take(&mut self, backup: &Backup, layout: &Layout, choice: &Choice) -> Vec<Piece> {
        // Words may be wrong, and keys stand with the first segment only: then they are needed again.
        let again = layout.segments() > 1 || self.words.is_some();
        let mut taken: Vec<Piece> = Vec::new();
        for (segment, place) in &choice.uses {
            match place {
                Place::Safe { safe, owner } => {
                    let slot = Slot { segment: *segment, safe: *safe, owner: *owner };
                    let id = backup.deposit_at(slot).map(|deposit| deposit.id);
                    let pieces = id.and_then(|id| {
                        if again && *segment == 0 { self.pieces.get(&id).cloned() } else { self.pieces.remove(&id) }
                    });
                    taken.extend(pieces.into_iter().flatten());
                }
                Place::Book => {
                    let kept = backup.kept.iter().filter(|piece| piece.segment == *segment);
                    taken.extend(kept.cloned().map(Piece::from));
                }
                Place::File => taken.extend(self.file.iter().filter(|piece| piece.segment == *segment).cloned()),
                Place::Memory => {}
            }
        }
        taken
    }

    /// A segment is rebuilt, and these keys were learned.
    pub fn gathered(&mut self, backup: &Backup, layout: &Layout, segment: u32, keys: Keys) {
        self.gathered.push(segment);
        for (path, key) in keys {
            if self.keys.iter().all(|(known, _)| *known != path) {
                self.keys.push((path, key));
            }
        }
        let done = |of: u32| self.gathered.contains(&of) && (of > 0 || layout.is_known(&self.keys));
        let gone: Vec<DepositId> = backup.deposits.iter().filter(|d| done(d.segment)).map(|d| d.id).collect();
        self.pieces.retain(|id, _| !gone.contains(id));
    }

    /// A segment could not be rebuilt from what was there; `Err` says why if that cannot be mended.
    ///
    /// # Errors
    /// The reason.
    pub fn not_gathered(&mut self, error: &GatherError) -> Result<(), String> {
        match error {
            GatherError::Words | GatherError::WordsMissing => {
                self.words = None;
                self.trouble = Some("These are not the words that you chose for this backup. Try again.".to_owned());
                Ok(())
            }
            other => Err(other.to_string()),
        }
    }

    /// What was rebuilt is lost: everything is fetched again.
    pub fn start_over(&mut self) {
        self.gathered.clear();
        self.pieces = Map::new();
        self.fetches.retain(|_, fetch| !matches!(fetch, Fetch::Got));
    }
}

/// It holds secrets, so it shows its progress only.
impl core::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Recovery")
            .field("fetches", &self.fetches)
            .field("gathered", &self.gathered)
            .finish_non_exhaustive()
    }
}

/// Why an action could not be done here, and whether it waits for that to be mended.
#[derive(Debug)]
struct Hindrance {
    action: Action,
    why: String,
    waits: bool,
}

/// What is known only while the wallet is open.
#[derive(Debug, Default)]
pub struct Session {
    safes: Map<SafeId, SafeSession>,
    under_way: Map<Action, Option<SafeId>>,
    hindrances: Vec<Hindrance>,
    /// Recoveries, by backup.
    pub recoveries: Map<BackupId, Recovery>,
    /// Deposits that a safe refuses, with its words.
    pub refusals: Map<DepositId, String>,
    /// Safes that refuse their owner, with their words.
    pub owner_refusals: Map<SafeId, String>,
    /// What safes gave their owner for what is bound to him, and what they gave him for taking back what was let go, which is used for nothing else.
    tickets: Map<(SafeId, bool), Ticket>,
    /// Its owner is here, by passphrase or passkey, and has things taken back.
    pub takes_back: bool,
    /// Claims to what lives once, by backup.
    claims: Map<BackupId, Claiming>,
    /// Deposits whose certificate may have a newer one.
    renewals: Vec<(BackupId, DepositId)>,
    /// Deposits whose safe has renewed them with what does not hold, as often.
    not_renewed: Vec<DepositId>,
    /// How much contents may take on this device by what the browser says, bytes.
    capacity: Option<u64>,
    /// What its owner wants to put in and does not fit, bytes.
    adding: u64,
    /// What [`Self::strength`] found.
    strengths: RefCell<Map<BackupId, Strength>>,
}

impl Session {
    /// An action was begun; it is not offered again until [`Self::ended`].
    pub fn started(&mut self, action: &Action, state: &State) {
        let safe = match action {
            Action::Send(backup, deposit, _) => {
                state.backups.get(backup).and_then(|b| b.deposit(deposit)).map(|d| d.safe)
            }
            Action::Audit(safe) | Action::Owner(safe, _) | Action::Relay(_, _, safe) => Some(*safe),
            _ => None,
        };
        self.under_way.insert(action.clone(), safe);
    }

    /// An action was done.
    pub fn ended(&mut self, action: &Action) {
        self.under_way.remove(action);
        self.hindrances.retain(|h| h.action != *action);
    }

    /// Something on this device keeps an action from being done, such as a full disk. It still counts as begun, until
    /// [`Self::try_again`].
    pub fn hindered(&mut self, action: &Action, why: String) {
        self.hindrances.retain(|h| h.action != *action);
        self.hindrances.push(Hindrance { action: action.clone(), why, waits: true });
    }

    /// A hindered action is offered again, unless it was already; the hindrance stands until it is done.
    pub fn try_again(&mut self, action: &Action) {
        self.resume(|h| h.action == *action);
    }

    fn resume(&mut self, which: impl Fn(&Hindrance) -> bool) {
        for hindrance in self.hindrances.iter_mut().filter(|h| h.waits && which(h)) {
            hindrance.waits = false;
            self.under_way.remove(&hindrance.action);
        }
    }

    /// What on this device keeps a backup's operation from going on.
    pub fn hindrance(&self, backup: &BackupId) -> Option<&str> {
        self.hindrances.iter().find(|h| h.action.backup() == Some(*backup)).map(|h| h.why.as_str())
    }

    /// Whether a safe is being asked something for a backup.
    pub fn is_asking(&self, backup: &BackupId, safe: &SafeId) -> bool {
        self.under_way.iter().any(|(action, asked)| asked.as_ref() == Some(safe) && action.backup() == Some(*backup))
    }

    /// Whether anything is being done.
    pub fn idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// A safe answered.
    pub fn reached(&mut self, safe: SafeId) {
        let entry = self.safes.entry(safe).or_default();
        *entry = SafeSession { contact: Contact::Reachable, skew: entry.skew, ..SafeSession::default() };
    }

    /// A safe did not answer, or not as it should: the next try waits, twice as long each time.
    pub fn failed(&mut self, safe: SafeId, contact: Contact, detail: String, now: Seconds) {
        let entry = self.safes.entry(safe).or_default();
        entry.pause = (entry.pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
        entry.not_before = now + entry.pause;
        // Who does not answer at all has not refused one.
        if contact != Contact::Away {
            self.tickets.retain(|(of, _), _| *of != safe);
        }
        entry.contact = contact;
        entry.detail = Some(detail);
    }

    /// A safe answers its owner. A pause that was begun before goes on, or a safe that then does not take its own ticket would be asked without end.
    pub fn answers(&mut self, safe: SafeId) {
        self.safes.entry(safe).or_default().contact = Contact::Reachable;
    }

    /// A safe has given its owner a ticket, directly or through another one.
    pub fn set_ticket(&mut self, safe: SafeId, ticket: Ticket, now: Seconds) {
        if self.clock_of(&safe, now).saturating_add(TICKET_SLACK) >= ticket.expiry {
            return self.failed(safe, Contact::NotItself, "gives its owner tickets that are over".to_owned(), now);
        }
        self.tickets.insert((safe, ticket.right == Right::Owner), ticket);
    }

    /// Everything is taken back: what its owner showed for that is used no more.
    pub fn took_back(&mut self) {
        self.takes_back = false;
        self.tickets.retain(|(_, own), _| !*own);
    }

    /// The owner has come back: the safes that did not know him may do so now.
    pub fn came_back(&mut self) {
        self.owner_refusals.clear();
        self.tickets = Map::new();
    }

    /// The ticket of a safe for an errand, for [`crate::exchange::request`].
    pub fn ticket(&self, safe: &SafeId, errand: Errand) -> Option<&Ticket> {
        self.tickets.get(&(*safe, errand == Errand::Restore))
    }

    /// Whose ticket an errand takes, and to what, where there is none that counts.
    pub fn lacks_ticket(
        &self,
        state: &State,
        (backup, deposit): (&BackupId, &DepositId),
        errand: Errand,
        now: Seconds,
    ) -> Option<(SafeId, Right)> {
        let deposit = state.backups.get(backup)?.deposit(deposit)?;
        let (safe, right) = (deposit.safe, errand.right().filter(|right| deposit.asks_owner(*right))?);
        let counts = |ticket: &&Ticket| {
            ticket.right >= right && self.clock_of(&safe, now).saturating_add(TICKET_SLACK) < ticket.expiry
        };
        self.ticket(&safe, errand).filter(counts).is_none().then_some((safe, right))
    }

    /// In the place of requests about what is bound to the owner, and for which there is no ticket, ask for one first.
    fn ask_for_tickets(&self, state: &State, now: Seconds, list: &mut Vec<Action>) {
        let mut asked: Vec<Action> = Vec::new();
        list.retain(|action| {
            let Action::Send(backup, deposit, errand) = action else { return true };
            let Some((safe, right)) = self.lacks_ticket(state, (backup, deposit), *errand, now) else { return true };
            let action = Action::Owner(safe, owner::Errand::Ticket(right));
            let known = self.under_way.contains_key(&action) || asked.contains(&action);
            asked.extend((!known).then_some(action));
            false
        });
        list.append(&mut asked);
    }

    /// The safe's clock, as it stated it.
    pub fn set_clock(&mut self, safe: SafeId, theirs: Seconds, now: Seconds) {
        // Whatever somebody claims it to be.
        let skew = i128::from(theirs) - i128::from(now);
        self.safes.entry(safe).or_default().skew = i64::try_from(skew).unwrap_or(i64::MAX);
    }

    /// Now, by the safe's clock.
    pub fn clock_of(&self, safe: &SafeId, now: Seconds) -> Seconds {
        now.saturating_add_signed(self.safes.get(safe).map_or(0, |s| s.skew))
    }

    /// How a safe was last seen, and what it said.
    pub fn contact(&self, safe: &SafeId) -> (Contact, Option<&str>) {
        self.safes.get(safe).map_or((Contact::Untried, None), |s| (s.contact.clone(), s.detail.as_deref()))
    }

    /// Forgets pauses and failures, so that everything is tried again at once.
    pub fn retry(&mut self) {
        for (_, safe) in self.safes.iter_mut() {
            safe.not_before = 0;
            safe.pause = 0;
        }
        self.refusals.clear();
        self.not_renewed.clear();
        self.owner_refusals.clear();
        self.claims.iter_mut().for_each(|(_, claiming)| claiming.retry());
        self.resume(|_| true);
        for (_, recovery) in self.recoveries.iter_mut() {
            recovery.fetches.retain(|_, fetch| matches!(fetch, Fetch::Got));
        }
    }

    /// When something can be done that cannot be done now: the next pause ends, or the next audit is due.
    pub fn next_try(&self, state: &State, now: Seconds) -> Option<Seconds> {
        let pauses = self.safes.values().map(|s| s.not_before).filter(|at| *at > now);
        let claims = self.claims.values().map(Claiming::not_before).filter(|at| *at > now);
        let others = [upkeep::next_due(state, now), rules::next_due(state, now), book::next_due(state, now)];
        pauses.chain(claims).chain(others.into_iter().flatten()).min()
    }

    // ---- room --------------------------------------------------------------------------------------------------

    /// The browser says how much is free, bytes, beside what is there.
    pub fn set_free(&mut self, state: &State, free: u64) {
        self.capacity = Some(room::used(state).saturating_add(free.saturating_sub(room::RESERVE)));
    }

    /// Something is to be put in, of so many bytes; 0: no longer. While it does not fit, rules make room for it.
    pub fn set_adding(&mut self, bytes: u64) {
        self.adding = bytes;
    }

    /// How much contents may take on this device, bytes: what its owner or the browser says, whichever is less.
    pub fn capacity(&self, state: &State) -> Option<u64> {
        self.capacity.into_iter().chain(state.settings.capacity).min()
    }

    /// Room on this device, and what waits for it.
    pub fn room(&self, state: &State) -> Room {
        let free = self.capacity(state).map(|capacity| capacity.saturating_sub(room::used(state)));
        let coming: u64 = state.backups.values().map(|backup| room::brings(state, backup)).sum();
        Room { free, wanted: coming.saturating_add(self.adding) }
    }

    /// What is missing for a content of so many bytes beside what is on its way here, bytes; 0: it fits. What is suspended stands behind it.
    pub fn lacking_for(&self, state: &State, bytes: u64) -> u64 {
        let room = self.room(state);
        let suspended = room::suspended(state, room.free);
        let goes_on = |backup: &&Backup| suspended.iter().all(|(id, _)| *id != backup.id);
        let coming: u64 = state.backups.values().filter(goes_on).map(|backup| room::brings(state, backup)).sum();
        if bytes == 0 { 0 } else { Room { wanted: coming.saturating_add(bytes), ..room }.lacking(0) }
    }

    /// Forgets what belongs to backups whose operation has ended.
    pub fn forget(&mut self, state: &State) {
        self.recoveries.retain(|id, _| state.backups.get(id).is_some_and(Backup::is_gathering));
        let running = |id: BackupId| state.backups.get(&id).is_some_and(|b| b.operation.is_some());
        self.claims.retain(|id, _| running(*id));
        // What waits counts as begun, and is not to be in the way of what begins anew.
        let over = |h: &Hindrance| !h.action.backup().is_none_or(running);
        for hindrance in self.hindrances.iter().filter(|h| h.waits && over(h)) {
            self.under_way.remove(&hindrance.action);
        }
        self.hindrances.retain(|h| !over(h));
        let held = |(backup, deposit): &(BackupId, DepositId)| {
            state.backups.get(backup).and_then(|b| b.deposit(deposit)).is_some_and(|d| d.stage == Stage::Held)
                && state.backups.get(backup).is_some_and(|b| b.operation != Some(Operation::Release))
        };
        self.renewals.retain(held);
    }

    // ---- claims ------------------------------------------------------------------------------------------------

    /// The claim of a backup, and which of its registers a deposit has.
    fn claim_of(&mut self, backup: &Backup, deposit: &DepositId) -> Option<(&mut Claiming, usize)> {
        let claim = backup.claim.as_ref()?;
        let at = backup.registers().position(|register| register.id == *deposit)?;
        let new = || Claiming::new(claim, backup.registers().count());
        let claiming = self.claims.entry(backup.id).or_insert_with(new);
        if !claiming.is_of(claim) {
            *claiming = new();
        }
        Some((claiming, at))
    }

    /// A register has answered a proposal.
    pub fn registered(
        &mut self,
        backup: &Backup,
        deposit: &DepositId,
        proposal: &Proposal,
        answer: Answer,
        now: Seconds,
    ) -> Option<Event> {
        let (ours, epoch) = (backup.is_ours(), backup.claim.as_ref()?.epoch);
        let (claiming, at) = self.claim_of(backup, deposit)?;
        let outcome = match ours {
            false => claiming.heard(at, proposal, answer, now),
            true => match claiming.told(at, answer) {
                Told::Well => None,
                Told::Superseded(epoch) => Some(Outcome::Superseded(epoch)),
                Told::Refuses => {
                    let why = "does not give it to this device".to_owned();
                    self.recoveries.entry(backup.id).or_default().fetches.insert(*deposit, Fetch::Refused(why));
                    None
                }
            },
        }?;
        // If this cannot be stored now, it is asked for, and learned, once more.
        self.claims.remove(&backup.id);
        Some(match outcome {
            Outcome::Chosen(claimant) => Event::Claimed(backup.id, epoch, claimant),
            Outcome::Superseded(epoch) => Event::Superseded(backup.id, epoch),
        })
    }

    /// A register has not answered, or knows nothing of the deposit.
    pub fn unregistered(&mut self, backup: &Backup, deposit: &DepositId, now: Seconds) {
        let ours = backup.is_ours();
        if let Some((claiming, at)) = self.claim_of(backup, deposit).filter(|_| !ours) {
            claiming.missed(at, now);
        }
    }

    /// A safe gives a piece to the claimant only, and does not know that it is this wallet; or has let it go, for another one perhaps.
    pub fn unaware(&mut self, backup: &Backup, deposit: &DepositId) {
        let asked = self.claim_of(backup, deposit).is_some_and(|(claiming, at)| claiming.unaware(at));
        if !asked {
            let why = "has let it go, or keeps it for another device".to_owned();
            self.recoveries.entry(backup.id).or_default().fetches.insert(*deposit, Fetch::Refused(why));
        }
    }

    /// How many safes have answered a claim under way, and how many are needed.
    pub fn claim_progress(&self, backup: &Backup) -> (usize, usize) {
        let claim = backup.claim.as_ref();
        let known = self.claims.get(&backup.id).zip(claim).filter(|(claiming, claim)| claiming.is_of(claim));
        let new = || claim.map(|claim| Claiming::new(claim, backup.registers().count()).progress());
        known.map(|(claiming, _)| claiming.progress()).or_else(new).unwrap_or_default()
    }

    fn claim_actions(&self, backup: &Backup, now: Seconds, list: &mut Vec<Action>, planned: &mut Planned) {
        let Some(claim) = &backup.claim else { return };
        let new = Claiming::new(claim, backup.registers().count());
        let claiming = self.claims.get(&backup.id).filter(|claiming| claiming.is_of(claim)).unwrap_or(&new);
        for (at, deposit) in backup.registers().enumerate() {
            if let Some(proposal) = claiming.ask(at, now) {
                self.send(backup, (deposit.id, deposit.safe), Errand::Propose(proposal), now, list, planned);
            }
        }
    }

    /// How a piece is asked for: a safe that does not know to whom it belongs is told so first.
    fn errand_for(&self, backup: &Backup, deposit: &DepositId) -> Errand {
        let told = self.claims.get(&backup.id).and_then(|claiming| {
            let at = backup.registers().position(|register| register.id == *deposit)?;
            claiming.tell(at)
        });
        told.map_or(Errand::Retrieve, Errand::Propose)
    }

    // ---- renewals ----------------------------------------------------------------------------------------------

    /// Looks which certificates of a safe have newer ones there: where a good part of the lease is over, or the safe has other keys by now.
    pub fn look_for_renewals(&mut self, state: &State, safe: &SafeId, now: Seconds) {
        let Some(identity) = state.identity(safe).and_then(Result::ok) else { return };
        let current = identity.current(self.clock_of(safe, now)).map_or(0, |entry| entry.serial);
        let stay = state.backups.values().filter(|backup| backup.operation != Some(Operation::Release));
        for (backup, deposit) in stay.flat_map(|b| b.deposits.iter().map(|d| (b.id, d))) {
            if deposit.safe != *safe || deposit.stage != Stage::Held || self.renews_in_vain(&deposit.id) {
                continue;
            }
            let signed = deposit.certificate.as_ref().and_then(|signed| read_unverified(signed).ok());
            // The book that it is known from did not have its certificate.
            let due = signed.map_or(deposit.told.is_some() && !deposit.is_lost(), |says| {
                let part = says.lease_end.saturating_sub(says.issued) / RENEW_PART;
                now > says.issued.saturating_add(part).saturating_add(RENEW_SLACK) || says.entry < current
            });
            if due && !self.renewals.contains(&(backup, deposit.id)) {
                self.renewals.push((backup, deposit.id));
            }
        }
    }

    /// A renewal was answered.
    pub fn renewed(&mut self, deposit: &DepositId) {
        self.renewals.retain(|(_, id)| id != deposit);
    }

    /// What it was answered with does not hold. The safe may have other keys by now; if it is so again and again, it is not asked before its owner wants it.
    pub fn not_renewed(&mut self, deposit: &DepositId) {
        self.not_renewed.push(*deposit);
    }

    fn renews_in_vain(&self, deposit: &DepositId) -> bool {
        self.not_renewed.iter().filter(|id| *id == deposit).count() >= MAX_RENEWALS
    }

    fn owner_actions(&self, state: &State, now: Seconds, list: &mut Vec<Action>, planned: &mut Planned) {
        let Some(owner) = &state.owner else { return };
        for (safe, errand) in owner.errands() {
            if self.owner_refusals.contains_key(&safe) || !state.safes.contains_key(&safe) {
                continue;
            }
            let action = Action::Owner(safe, errand);
            if !self.under_way.contains_key(&action) && self.may_send(&safe, now, planned) {
                planned.add(safe);
                list.push(action);
            }
        }
    }

    fn upkeep_actions(&self, state: &State, now: Seconds, list: &mut Vec<Action>, planned: &mut Planned) {
        for safe in upkeep::due_safes(state, now) {
            let action = Action::Audit(safe);
            let known = state.safes.contains_key(&safe);
            if known && !self.under_way.contains_key(&action) && self.may_send(&safe, now, planned) {
                planned.add(safe);
                list.push(action);
            }
        }
        for (backup, id) in &self.renewals {
            let backup = state.backups.get(backup);
            if let Some((backup, deposit)) = backup.and_then(|b| Some((b, b.deposit(id)?))) {
                self.send(backup, (*id, deposit.safe), Errand::Renew, now, list, planned);
            }
        }
    }

    fn is_paused(&self, safe: &SafeId, now: Seconds) -> bool {
        self.safes.get(safe).is_some_and(|s| s.not_before > now)
    }

    fn may_send(&self, safe: &SafeId, now: Seconds, planned: &Planned) -> bool {
        let paused = self.is_paused(safe, now);
        let open = self.under_way.values().filter(|s| s.as_ref() == Some(safe)).count();
        !paused && open + planned.counts.get(safe).copied().unwrap_or(0) < MAX_PER_SAFE
    }

    /// Everything that can be done now and is not being done.
    pub fn actions(&self, state: &State, now: Seconds) -> Vec<Action> {
        let mut list = Vec::new();
        let mut planned = Planned::of(state);
        let room = self.room(state);
        let suspended = room::suspended(state, room.free);
        let behind = state.owner.as_ref().is_some_and(owner::Owner::is_behind);
        let reads = state.owner.as_ref().is_some_and(owner::Owner::only_reads);
        self.owner_actions(state, now, &mut list, &mut planned);
        for backup in state.backups.values() {
            // Whoever only reads has that back which is wanted, and nothing else: no book names it.
            if backup.is_lost() && (!reads || backup.is_gathering()) {
                self.restore_actions(backup, now, &mut list, &mut planned);
            }
            match backup.operation {
                // It is not begun, and nothing of it kept in memory, before there is room for it.
                Some(Operation::Recover) if suspended.iter().any(|(id, _)| *id == backup.id) => {}
                Some(Operation::Register) => self.register_actions(backup, now, &mut list, &mut planned),
                Some(Operation::Recover | Operation::Drill) => {
                    self.recover_actions(backup, now, &mut list, &mut planned);
                }
                // Nothing goes before the book at the safes names what is in its place.
                Some(Operation::Vacate | Operation::Release) if behind => {}
                Some(Operation::Vacate) => {
                    let action = Action::Vacate(backup.id);
                    list.extend((!self.under_way.contains_key(&action)).then_some(action));
                }
                Some(Operation::Release) => self.release_actions(backup, now, &mut list, &mut planned),
                Some(Operation::Claim) => self.claim_actions(backup, now, &mut list, &mut planned),
                None => {}
            }
        }
        self.ask_for_tickets(state, now, &mut list);
        // What somebody waits for goes first.
        self.upkeep_actions(state, now, &mut list, &mut planned);
        let replaced = retiring::due(state).into_iter().map(Action::Replace);
        list.extend(replaced.filter(|action| !self.under_way.contains_key(action)));
        let chapter = Action::WriteChapter;
        if !self.under_way.contains_key(&chapter) && book::due(state, self, now).is_some() {
            list.push(chapter);
        }
        for (value, _) in rules::due(state, &room, now) {
            let action = Action::ApplyRule(value);
            list.extend((!self.under_way.contains_key(&action)).then_some(action));
        }
        list
    }

    fn send(
        &self,
        backup: &Backup,
        deposit: (DepositId, SafeId),
        errand: Errand,
        now: Seconds,
        list: &mut Vec<Action>,
        planned: &mut Planned,
    ) {
        let action = Action::Send(backup.id, deposit.0, errand);
        // Nothing that would be in vain takes the place of what would not.
        let known = backup.deposit(&deposit.0);
        let right = errand.right().filter(|right| known.is_some_and(|known| known.asks_owner(*right)));
        let barred = right.is_some() && self.owner_refusals.contains_key(&deposit.1);
        if barred || (right == Some(Right::Release) && planned.without_turn.contains(&deposit.1)) {
            return;
        }
        if !self.under_way.contains_key(&action) && self.may_send(&deposit.1, now, planned) {
            planned.add(deposit.1);
            list.push(action);
        }
    }

    fn relay(
        &self,
        backup: &Backup,
        (deposit, safe): (DepositId, SafeId),
        through: SafeId,
        now: Seconds,
        list: &mut Vec<Action>,
        planned: &mut Planned,
    ) {
        let action = Action::Relay(backup.id, deposit, through);
        let paused = self.is_paused(&safe, now);
        if !paused && !self.under_way.contains_key(&action) && self.may_send(&through, now, planned) {
            planned.add(through);
            list.push(action);
        }
    }

    fn register_actions(&self, backup: &Backup, now: Seconds, list: &mut Vec<Action>, planned: &mut Planned) {
        // Confirmations first: they are small, and they turn promises into certificates.
        for (stage, errand) in [(Stage::Offered, Errand::Confirm), (Stage::Prepared, Errand::Put)] {
            for deposit in backup.deposits.iter().filter(|d| d.stage == stage && !self.refusals.contains_key(&d.id)) {
                self.send(backup, (deposit.id, deposit.safe), errand, now, list, planned);
            }
        }
        // One segment is made at a time, and only when the one before is on its way: memory stays at one segment.
        let unsent =
            backup.deposits.iter().any(|d| d.stage == Stage::Prepared && self.unsent(backup, d.id, &d.safe, now));
        let preparing = self.under_way.keys().any(|a| matches!(a, Action::Prepare(id, _) if *id == backup.id));
        if let (Some(segment), false, false) = (backup.unmade(), preparing, unsent) {
            list.push(Action::Prepare(backup.id, segment));
        }
    }

    /// Prepared, not yet being sent, and its safe is not one that is waited for.
    fn unsent(&self, backup: &Backup, deposit: DepositId, safe: &SafeId, now: Seconds) -> bool {
        let sending = self.under_way.contains_key(&Action::Send(backup.id, deposit, Errand::Put));
        let paused = self.is_paused(safe, now);
        !sending && !paused && !self.refusals.contains_key(&deposit)
    }

    fn release_actions(&self, backup: &Backup, now: Seconds, list: &mut Vec<Action>, planned: &mut Planned) {
        for deposit in
            backup.deposits.iter().filter(|d| d.stage < Stage::Released && !self.refusals.contains_key(&d.id))
        {
            self.send(backup, (deposit.id, deposit.safe), Errand::Release, now, list, planned);
        }
    }

    /// Before anything else is done with it.
    fn restore_actions(&self, backup: &Backup, now: Seconds, list: &mut Vec<Action>, planned: &mut Planned) {
        let lost = backup.deposits.iter().filter(|d| d.is_lost() && !self.refusals.contains_key(&d.id));
        for deposit in lost.filter(|deposit| self.takes_back || !deposit.asks_owner(Right::Owner)) {
            self.send(backup, (deposit.id, deposit.safe), Errand::Restore, now, list, planned);
        }
    }

    fn recover_actions(&self, backup: &Backup, now: Seconds, list: &mut Vec<Action>, planned: &mut Planned) {
        if backup.must_claim() {
            return self.claim_actions(backup, now, list, planned);
        }
        let Ok(layout) = backup.layout() else { return };
        let empty = Recovery::default();
        let recovery = self.recoveries.get(&backup.id).unwrap_or(&empty);
        let wanted = backup.wanted_segments(&layout);
        for segment in wanted.iter().copied().filter(|s| !recovery.gathered.contains(s)) {
            let need = self.need(backup, recovery, segment, now);
            let gather = Action::Gather(backup.id, segment);
            if need.met() {
                if !self.under_way.contains_key(&gather) {
                    list.push(gather);
                }
                continue;
            }
            for (deposit, safe) in need.ask {
                if let Some(through) = self.brought_by(backup, &deposit) {
                    self.relay(backup, (deposit, safe), through, now, list, planned);
                    continue;
                }
                let errand = self.errand_for(backup, &deposit);
                self.send(backup, (deposit, safe), errand, now, list, planned);
            }
            // One segment is fetched at a time: memory stays at its pieces.
            break;
        }
        let finish = Action::Finish(backup.id);
        if recovery.gathered.len() == wanted.len() && !self.under_way.contains_key(&finish) {
            list.push(finish);
        }
    }

    /// What a backup's plan survives and exposes, in short.
    pub fn strength(&self, backup: &Backup) -> Strength {
        if let Some(known) = self.strengths.borrow().get(&backup.id) {
            return *known;
        }
        let strength = analyse(&backup.plan, &Setting::default()).map_or_else(
            |_| Strength::default(),
            |analysis| {
                let needed = |wanted: &Principal<SafeId>| analysis.members(analysis.needed()).any(|p| p == wanted);
                Strength {
                    losses: analysis.losses(true).unwrap_or_default(),
                    coalition: analysis.coalitions.least(),
                    words: needed(&Principal::Memory),
                    file: needed(&Principal::File),
                }
            },
        );
        self.strengths.borrow_mut().insert(backup.id, strength);
        strength
    }

    /// Why each piece was not used that a finished recovery did not use, as phrases.
    pub fn unused(&self, state: &State, backup: &Backup) -> Vec<String> {
        let Some(recovery) = self.recoveries.get(&backup.id) else { return Vec::new() };
        let mut reasons = self.failures(state, backup);
        for safe in backup.plan.safes() {
            let mut here = backup.deposits.iter().filter(|deposit| deposit.safe == *safe);
            if here.all(|deposit| !recovery.fetches.contains_key(&deposit.id)) {
                reasons.push(format!("safe “{}” was not needed", state.nickname(safe)));
            }
        }
        let places = backup.plan.places();
        let has = |wanted: &Place<SafeId>| places.iter().any(|(_, place)| *place == wanted);
        if has(&Place::File) && recovery.file.is_empty() {
            reasons.push("your file was not needed".to_owned());
        }
        if has(&Place::Memory) && recovery.words.is_none() {
            reasons.push("your words were not needed".to_owned());
        }
        reasons
    }

    /// What was wrong with the pieces that safes should have given, as phrases with the safe's name.
    pub fn failures(&self, state: &State, backup: &Backup) -> Vec<String> {
        let empty = Recovery::default();
        let recovery = self.recoveries.get(&backup.id).unwrap_or(&empty);
        let mut reasons: Vec<String> = Vec::new();
        for deposit in &backup.deposits {
            let why = match recovery.fetches.get(&deposit.id) {
                Some(Fetch::Away) => "does not answer",
                Some(Fetch::Lied(why) | Fetch::Refused(why)) => why,
                None if deposit.is_bound() => match self.owner_refusals.get(&deposit.safe) {
                    Some(why) => why,
                    None => continue,
                },
                Some(Fetch::Got) | None => continue,
            };
            let reason = format!("safe “{}” {why}", state.nickname(&deposit.safe));
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }

    /// The safe that brings a deposit in the recovery that is under way, where it does not come from its own. What takes a ticket is asked for directly wherever its
    /// safe answers: not each of them is one that the other one asks.
    fn brought_by(&self, backup: &Backup, deposit: &DepositId) -> Option<SafeId> {
        let deposit = backup.deposit(deposit)?;
        let through = backup.through.filter(|through| relaying::may_bring(backup, deposit, through))?;
        (!deposit.is_bound() || self.contact(&deposit.safe).0 == Contact::Away).then_some(through)
    }

    /// What one segment still needs: the cheapest pieces that rebuild it, and whom to ask for them.
    ///
    /// A safe that did not answer is asked again after its pause, by itself.
    pub fn need(&self, backup: &Backup, recovery: &Recovery, segment: u32, now: Seconds) -> Need {
        let Ok(layout) = backup.layout() else { return Need::default() };
        let lengths = layout.bodies(segment);
        let refused = Fetch::Refused(String::new());
        let fares = |deposit: &Deposit| {
            let asked = self.under_way.keys().any(|action| {
                matches!(action, Action::Send(b, d, Errand::Retrieve | Errand::Propose(_)) | Action::Relay(b, d, _) if *b == backup.id && *d == deposit.id)
            });
            let through = self.brought_by(backup, &deposit.id);
            let stranger = deposit.is_bound() && self.owner_refusals.contains_key(&deposit.safe);
            let paused = self.is_paused(&deposit.safe, now) || through.is_some_and(|safe| self.is_paused(&safe, now));
            // What is being taken back is waited for.
            let asks = deposit.asks_owner(Right::Owner);
            let refuses = self.refusals.contains_key(&deposit.id)
                || (asks && (!self.takes_back || self.owner_refusals.contains_key(&deposit.safe)));
            let back = deposit.is_lost() && !paused && !refuses;
            let barred = stranger || (deposit.is_lost() && !back);
            let fetch = recovery.fetches.get(&deposit.id).or(barred.then_some(&refused));
            (fetch.filter(|fetch| **fetch != Fetch::Away || paused), asked || back)
        };
        let price = |segment: u32, place: &Place<SafeId>| match place {
            Place::Safe { safe, owner } => {
                let slot = Slot { segment, safe: *safe, owner: *owner };
                let deposit = backup.deposit_at(slot)?;
                match fares(deposit) {
                    (Some(Fetch::Got), _) => Some(0),
                    (Some(_), _) => None,
                    // What is on its way is not asked for twice, and not given up for something cheaper.
                    (None, true) => Some(0),
                    (None, false) => {
                        let length = lengths.iter().find(|(known, _)| *known == slot).map_or(1, |(_, length)| *length);
                        // Safes that were away before, or did not show their piece, are asked last, but they are asked.
                        let asked = self.brought_by(backup, &deposit.id).unwrap_or(*safe);
                        let absent = matches!(self.contact(&asked).0, Contact::Away | Contact::NotItself);
                        Some(if deposit.fault.is_some() || absent { length.saturating_add(DOUBT) } else { length })
                    }
                }
            }
            Place::Book => Some(0),
            Place::File => (!recovery.file.is_empty()).then_some(0),
            Place::Memory => recovery.words.is_some().then_some(0),
        };
        let Some(choice) = layout.choose(segment, &recovery.keys, &price) else {
            return Need { hopeless: true, ..Need::default() };
        };
        let mut need = Need::default();
        for (segment, place) in &choice.uses {
            let Some(deposit) = Slot::of(*segment, place).and_then(|slot| backup.deposit_at(slot)) else { continue };
            match fares(deposit) {
                (Some(_), _) => {}
                (None, true) => need.open += 1,
                (None, false) => {
                    need.open += 1;
                    need.ask.push((deposit.id, deposit.safe));
                }
            }
        }
        need.choice = Some(choice);
        need
    }
}

/// What a segment still needs.
#[derive(Debug, Default)]
pub struct Need {
    /// The pieces to rebuild it from, once they are here.
    pub choice: Option<Choice>,
    /// How many of them are not here yet.
    pub open: usize,
    /// Whom to ask.
    pub ask: Vec<(DepositId, SafeId)>,
    /// Nobody is left to ask: the recovery waits until the owner says to try again, or gives the file or the words.
    pub hopeless: bool,
}

impl Need {
    /// Whether the segment can be rebuilt.
    pub const fn met(&self) -> bool {
        self.choice.is_some() && self.open == 0
    }
}
