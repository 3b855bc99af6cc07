//! A small world that runs through its own bad days, again and again, each time from another seed.
//!
//! Several wallets, each in one or two windows on a disk of its own, use up to seven safes, with rules, little room and few tokens, and carry
//! certificates of what may live only once to each other. In one of four runs somebody is enrolled, and has more devices than one ([`owning`]), a passkey and a kit ([`ways`]); a device is lost ([`losing`]), and one is stolen in the end ([`robbing`]). Whatever a network, a disk, a safe or a person may
//! do is drawn from the seed, one step at a time, and after every step everything is looked at ([`check`]). Then the faults end, and all has to
//! come to rest: operations end, values are rebuilt from what the safes have, and safes hold what the wallets have certificates for and nothing
//! else. The same seed gives the same run.

mod bugs;
mod check;
mod disk;
mod editing;
mod losing;
mod network;
mod owning;
mod robbing;
mod ways;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures::FutureExt;
use protocol::{
    bundle::ValueMeta,
    crypto::{Secret, blake3, derive_secret, expand_seed},
    ids::{BackupId, ClaimantId, DepositId, Root, SafeId, Seconds, TokenId, ValueId},
    piece_file,
    plan::{Place, Plan},
    program::Piece,
    token::Token,
};
use rand_core::{CryptoRng, Rng};
use safe_worker::{flow::Policy, machine::ATTEMPT_SPAN, memory::Snapshot};
use wallet_wasm::{
    machine::{Event, Wish, book_of},
    rules::{Condition, Rule},
    session::{Action, Errand},
    state::{Backup, Claim, FaceWish, Next, Operation, State},
};
use zeroize::Zeroizing;

pub use self::bugs::{BUGS, Bug};
use self::{
    bugs::spoiler,
    disk::{Disk, Strike},
    network::Flight,
    owning::Person,
};
use crate::world::{START, Safes, Sending, Then, Trouble, Wallet};

/// Steps with faults in every run.
const STEPS: usize = 300;
/// Steps in which everything has to come to rest.
const REST: usize = 4_000;
const DAY: Seconds = 86_400;

/// How a run went.
#[derive(Debug, Default)]
pub struct Report {
    /// Steps taken.
    pub steps: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// What people wanted and wallets began, by kind.
    pub operations: BTreeMap<&'static str, u64>,
    /// What must not be.
    pub violation: Option<String>,
}

impl Report {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (kind, count) in &other.operations {
            *self.operations.entry(kind).or_default() += count;
        }
    }
}

/// One run. A panic in it is a violation like any other.
pub fn run(seed: u64, bug: Option<Bug>, trace: bool) -> Report {
    let mut report = Report::default();
    let run = AssertUnwindSafe(|| {
        let mut dice = Dice::new(seed);
        let wallets = 1 + dice.below(3);
        // The last ones are for devices that are there later.
        let disks: Vec<Disk> = (0..wallets + 2).map(|_| Disk::default()).collect();
        let mut world = World::new(dice, disks.split_at(wallets), bug, trace, &mut report);
        world.begin_race();
        world.live();
        world.rest();
    });
    if let Err(cause) = catch_unwind(run) {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        report.violation = Some(text.unwrap_or_else(|| "a panic without words".to_owned()));
    }
    report
}

/// Randomness of a run.
struct Dice(Box<dyn CryptoRng>);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Box::new(expand_seed(&derive_secret(&Secret::from_bytes([6; 32]), "run", &seed.to_be_bytes()))))
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u32() as usize) % n.max(1)
    }

    /// One of `of` times.
    fn one_of(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())].clone())
    }
}

/// A window of a wallet.
struct Tab<'a> {
    id: u64,
    wallet: Wallet<'a, Disk>,
    /// What could not be done here, and is tried again.
    hindered: Vec<Action>,
    /// How many commits it knows of.
    commits: u64,
}

/// Somebody with a wallet.
struct Owner<'a> {
    disk: &'a Disk,
    /// How far the clock is ahead.
    ahead: i64,
    tabs: Vec<Tab<'a>>,
    /// What the disk says, as the last window that wrote has it.
    known: State,
    /// Every value that was put in and not removed.
    expected: BTreeMap<ValueId, Vec<u8>>,
    /// Values whose plan has lost more than it stands.
    excused: BTreeSet<ValueId>,
}

/// A value that may live only once.
#[derive(Debug)]
struct Ticket {
    content: Vec<u8>,
    /// It may live twice: an owner has accepted that, or too many safes have lied.
    may_double: bool,
    /// More was lost of it than its plan stands.
    excused: bool,
}

struct World<'a, 'r> {
    dice: Dice,
    now: Seconds,
    safes: Safes,
    /// Safes that sign as others do and keep nothing of it, as one that was forked would.
    twins: Vec<Option<safe_worker::memory::MemorySafe>>,
    skews: Vec<i64>,
    lying: Vec<bool>,
    snapshots: Vec<Option<Snapshot>>,
    /// Safes that have lied once, or lost or forgotten something: of them, what lives once stands as many as its plan says.
    liars: BTreeSet<usize>,
    /// The only safe that lies or is set back, in runs where one alone does.
    rogue: Option<usize>,
    /// What may live only once, whoever has it.
    tickets: BTreeMap<ValueId, Ticket>,
    /// Whoever was on a disk as a claimant.
    claimants: BTreeSet<ClaimantId>,
    /// What lives once and was, on its disk, a wallet's own.
    owned: BTreeSet<(usize, BackupId)>,
    /// What safes have lost, or never had although they signed for it.
    damaged: BTreeSet<DepositId>,
    /// Something happened after which safes may keep what nobody knows of.
    leaky: bool,
    ids: Vec<SafeId>,
    owners: Vec<Owner<'a>>,
    flights: Vec<Flight>,
    heard: Vec<network::Heard>,
    sent: BTreeMap<DepositId, ([u8; 32], Option<String>)>,
    opened: u64,
    bug: Option<Bug>,
    trace: bool,
    calm: bool,
    race: bool,
    /// Nobody lies or forgets in this run, so that in the end nothing may be left that nobody knows of.
    gentle: bool,
    /// Owners take over what lives once, so that it may live twice.
    overrides: bool,
    /// Owners have rules, little room, and safes that retire.
    arranges: bool,
    /// Plans have places that are the owner's.
    keepers: bool,
    /// In some runs somebody is enrolled, and strangers may try to be him.
    enrols: bool,
    strangers: bool,
    person: Option<Person>,
    /// Disks of devices that are there later.
    spare: Vec<&'a Disk>,
    /// Safes as somebody sees them who has no wallet.
    doors: State,
    /// Somebody else has told a wallet that a safe does not know it any more, which it was to leave.
    unheard: bool,
    /// The book at the safes may be another one than when it was looked at.
    book_moved: bool,
    /// In some runs safes want tokens, and these are soon used up.
    token_key: Option<Secret>,
    tokens: Vec<TokenId>,
    /// The words that owners remember, and the files that they keep.
    words: BTreeMap<BackupId, Secret>,
    files: BTreeMap<BackupId, Zeroizing<Vec<u8>>>,
    report: &'r mut Report,
}

impl<'a, 'r> World<'a, 'r> {
    fn new(
        mut dice: Dice,
        (disks, spare): (&'a [Disk], &'a [Disk]),
        bug: Option<Bug>,
        trace: bool,
        report: &'r mut Report,
    ) -> Self {
        let n = 3 + dice.below(5);
        let arranges = dice.one_of(3);
        let keepers = dice.one_of(4);
        let token_key = (arranges && dice.one_of(2)).then(|| Secret::from_bytes([51; 32]));
        let mut safes = Safes::new(n);
        let policy = Policy { token_key: token_key.clone(), operator_secret: None, relays: Vec::new() };
        safes.all = safes.all.into_iter().map(|safe| safe.with_policy(policy.clone())).collect();
        let ids = safes.all.iter().map(safe_worker::memory::MemorySafe::id).collect();
        let gentle = dice.one_of(3);
        let overrides = dice.one_of(4);
        let (enrols, strangers) = (dice.one_of(4), dice.one_of(3));
        let rogue = (enrols || dice.one_of(2)).then(|| dice.below(n));
        let skews = (0..n).map(|_| if dice.one_of(3) { dice.below(1200) as i64 - 600 } else { 0 }).collect();
        let mut world = Self {
            dice,
            now: START + DAY,
            safes,
            twins: (0..n).map(|_| None).collect(),
            skews,
            lying: vec![false; n],
            snapshots: vec![None; n],
            liars: BTreeSet::new(),
            rogue,
            tickets: BTreeMap::new(),
            claimants: BTreeSet::new(),
            owned: BTreeSet::new(),
            damaged: BTreeSet::new(),
            leaky: false,
            ids,
            owners: Vec::new(),
            flights: Vec::new(),
            heard: Vec::new(),
            sent: BTreeMap::new(),
            opened: 0,
            bug,
            trace,
            calm: false,
            race: false,
            gentle,
            overrides,
            arranges,
            keepers,
            enrols,
            strangers,
            person: None,
            spare: spare.iter().collect(),
            doors: State::default(),
            unheard: false,
            book_moved: false,
            token_key,
            tokens: Vec::new(),
            words: BTreeMap::new(),
            files: BTreeMap::new(),
            report,
        };
        for disk in disks {
            world.move_in(disk, true);
        }
        world
    }

    /// Somebody has a wallet on a disk, and perhaps trusts all safes.
    fn move_in(&mut self, disk: &'a Disk, trusts: bool) -> usize {
        if self.bug == Some(Bug::CommitsRelaxed) {
            disk.relax();
        }
        if self.bug == Some(Bug::IgnoresOtherWindows) {
            disk.unfence();
        }
        let ahead = if self.dice.one_of(2) { self.dice.below(172_800) as i64 - 86_400 } else { 0 };
        self.opened += 1;
        let mut wallet = Wallet::create(disk, self.opened);
        wallet.set_now(self.now.saturating_add_signed(ahead));
        if trusts {
            wallet.trust(&self.safes);
        }
        let known = wallet.state.clone();
        let mut owner =
            Owner { disk, ahead, tabs: Vec::new(), known, expected: BTreeMap::new(), excused: BTreeSet::new() };
        drop(wallet);
        self.open_tab(&mut owner);
        self.owners.push(owner);
        let at = self.owners.len() - 1;
        self.see_all(at, 0);
        self.invite(at, 0, false);
        at
    }

    /// An owner is given tokens of all safes: some deposits, or as many as anybody needs.
    fn invite(&mut self, owner: usize, tab: usize, plenty: bool) {
        let Some(key) = self.token_key.clone() else { return };
        for safe in self.ids.clone() {
            let id = TokenId::make_random(&mut self.dice.0);
            let deposits = if plenty { 10_000 } else { 1 + self.dice.below(6) as u64 };
            let token = Token::new(safe, id, 1 << 30, deposits, Seconds::MAX).mint(&key);
            self.tokens.push(id);
            self.in_tab(owner, tab, |tab| {
                let done = tab.wallet.try_handle(Event::SetToken(safe, token));
                tab.wallet.session.retry();
                done
            });
        }
    }

    /// An owner shows that he has his files, and gives recoveries what they wait for.
    fn give(&mut self, owner: usize, tab: usize) {
        let Some(place) = self.owners[owner].tabs.get_mut(tab) else { return };
        let wallet = &mut place.wallet;
        let mut saved = Vec::new();
        for backup in wallet.state.backups.values() {
            if backup.file_saved == Some(false)
                && backup.unmade().is_none()
                && let Ok(file) = wallet.try_file_of(&backup.id)
            {
                self.files.insert(backup.id, file);
                saved.push(backup.id);
            }
            let (words, file) = (self.words.get(&backup.id), self.files.get(&backup.id));
            if backup.is_gathering() && (words.is_some() || file.is_some()) {
                let recovery = wallet.session.recoveries.entry(backup.id).or_default();
                recovery.words = recovery.words.take().or(words.cloned());
                if let Some(file) = file.filter(|_| recovery.file.is_empty()) {
                    let pieces = piece_file::read(&backup.layout().unwrap(), file).unwrap();
                    recovery.file.extend(pieces.into_iter().map(Piece::from));
                }
            }
        }
        for id in saved {
            self.in_tab(owner, tab, |tab| tab.wallet.try_handle(Event::FileSaved(id)));
        }
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>10}  {}", self.now - START, what());
        }
    }

    fn fault(&mut self, kind: &'static str) {
        *self.report.faults.entry(kind).or_default() += 1;
        self.say(|| format!("fault: {kind}"));
    }

    fn open_tab(&mut self, owner: &mut Owner<'a>) {
        self.opened += 1;
        let mut wallet = match Wallet::try_open(owner.disk, self.opened) {
            Ok(wallet) => wallet,
            // It may be struck while it sweeps.
            Err(_) if !self.calm => {
                owner.disk.restart();
                return;
            }
            Err(error) => panic!("the wallet does not open: {error}"),
        };
        wallet.set_now(self.now.saturating_add_signed(owner.ahead));
        // Half of all that a run computes would be the same chains again.
        wallet.state.know_identities_of(&owner.known);
        wallet.spoil = self.bug.and_then(spoiler);
        owner.known = wallet.state.clone();
        let commits = owner.disk.commits();
        owner.tabs.push(Tab { id: self.opened, wallet, hindered: Vec::new(), commits });
    }

    /// Of several windows of an owner's wallet one works, and the one that is used takes over: it has read what the others wrote.
    fn take_over(&mut self, owner: usize, tab: usize) {
        let place = &mut self.owners[owner];
        let Some(tab) = place.tabs.get_mut(tab) else { return };
        if place.known.owner.is_some()
            && tab.commits != place.disk.commits()
            && self.bug != Some(Bug::IgnoresOtherWindows)
            && tab.wallet.reload().is_ok()
        {
            tab.commits = place.disk.commits();
        }
    }

    /// Works on one window, and sees to what became of the disk.
    fn in_tab<T>(
        &mut self,
        owner: usize,
        tab: usize,
        work: impl FnOnce(&mut Tab<'a>) -> Result<T, Trouble>,
    ) -> Option<Result<T, Trouble>> {
        self.take_over(owner, tab);
        let now = self.now.saturating_add_signed(self.owners[owner].ahead);
        let disk = self.owners[owner].disk;
        let tab = self.owners[owner].tabs.get_mut(tab)?;
        tab.wallet.set_now(now);
        let behind = tab.commits != disk.commits();
        let result = work(tab);
        let state = tab.wallet.state.clone();
        if !behind {
            tab.commits = disk.commits();
        }
        let place = &mut self.owners[owner];
        if place.disk.is_off() {
            // Everything that was open is gone; what is on its way stays on its way.
            place.tabs.clear();
            place.disk.restart();
            self.fault("power lost at a write");
            self.reopen(owner);
            return Some(result);
        }
        // The last window that wrote knows what is there.
        if place.disk.take_written() {
            let before = std::mem::replace(&mut place.known, state);
            self.claimants.extend(place.known.backups.values().filter_map(|b| b.claim.as_ref()).map(Claim::claimant));
            self.owned.extend(place.known.backups.values().filter(|b| b.is_ours()).map(|b| (owner, b.id)));
            self.look_at_book(owner, &before);
        }
        Some(result)
    }

    /// In some runs a ticket lies at the safes from the start, everybody has its certificates, and half of what people want is to have it.
    fn begin_race(&mut self) {
        self.race = self.owners.len() > 1 && self.dice.one_of(2);
        if !self.race {
            return;
        }
        self.calm = true;
        self.invite(0, 0, true);
        for (step, chance) in [1, 3].into_iter().enumerate() {
            if self.dice.one_of(chance) {
                self.put_in_as(0, 0, step, true);
            }
        }
        let all: Vec<ValueId> = self.tickets.keys().copied().collect();
        let backup = BackupId::make_random(&mut self.dice.0);
        // Or it stays with the first of them, who has claimed it, and the others find that out.
        let moving = !self.dice.one_of(4);
        let wish = |plan| Wish { backup, values: all.clone(), plan, words: None, face: FaceWish::default(), moving };
        let plan = self.plan();
        self.in_tab(0, 0, |tab| tab.wallet.try_handle(Event::Register(wish(plan))));
        let mut left = REST;
        while self.go_on(&mut left) {}
        let wallet = &self.owners[0].tabs[0].wallet;
        let book = book_of(&wallet.state, &all, wallet.now()).expect("it is at the safes");
        for other in 1..self.owners.len() {
            let book = book.clone();
            self.in_tab(other, 0, |tab| tab.wallet.try_handle(Event::Import(book)));
        }
        self.invite(0, 0, false);
        self.calm = false;
        if let Some(rogue) = self.rogue.filter(|_| !self.gentle) {
            self.trouble_at(rogue, 10);
        }
    }

    // ---- the steps ------------------------------------------------------------------------------------------------

    fn live(&mut self) {
        let begins = self.dice.below(40);
        for step in 0..STEPS {
            self.report.steps += 1;
            if self.enrols && self.person.is_none() && step >= begins {
                self.enrol();
            }
            // There is more to do for an owner, in as many steps.
            let more = if self.person.is_some() { 6 } else { 1 };
            match self.dice.below(100) {
                0..44 => (0..=self.dice.below(more)).for_each(|_| self.act()),
                44..85 => (0..=self.dice.below(2 * more - 1)).for_each(|_| self.deliver()),
                85..93 => self.wish(step),
                93..96 => self.pass_time(),
                _ => self.misfortune(),
            }
            self.look();
            self.look_from_outside();
        }
    }

    /// A wallet to which something happens: often one of whoever is enrolled.
    fn somebody(&mut self) -> usize {
        let devices = self.person.as_ref().map(|person| person.devices.clone()).unwrap_or_default();
        let his = self.dice.pick(&devices).filter(|_| self.dice.one_of(2));
        his.unwrap_or_else(|| self.dice.below(self.owners.len()))
    }

    /// A window begins something that is to be done.
    fn act(&mut self) {
        let owner = self.somebody();
        let tab = self.dice.below(self.owners[owner].tabs.len());
        self.take_over(owner, tab);
        let now = self.now.saturating_add_signed(self.owners[owner].ahead);
        let Some(place) = self.owners[owner].tabs.get_mut(tab) else { return };
        place.wallet.set_now(now);
        for action in place.hindered.drain(..) {
            place.wallet.session.try_again(&action);
        }
        if self.dice.one_of(4) {
            self.give(owner, tab);
        }
        let Some(place) = self.owners[owner].tabs.get_mut(tab) else { return };
        let actions = place.wallet.session.actions(&place.wallet.state, now);
        let Some(action) = self.dice.pick(&actions) else { return };
        self.begin(owner, tab, &action);
    }

    fn begin(&mut self, owner: usize, tab: usize, action: &Action) {
        self.say(|| format!("wallet {owner}, window {tab}: {action:?}"));
        let id = self.owners[owner].tabs[tab].id;
        let by_itself = match action {
            Action::ApplyRule(_) => Some("by a rule"),
            Action::Replace(_) => Some("for a safe that retires"),
            _ => None,
        };
        if let Some(kind) = by_itself {
            *self.report.operations.entry(kind).or_default() += 1;
        }
        let result = self.in_tab(owner, tab, |tab| {
            tab.wallet.session.started(action, &tab.wallet.state);
            let begun = tab.wallet.begin(action);
            match &begun {
                Ok(Then::Send(_)) => {}
                Ok(_) => tab.wallet.session.ended(action),
                Err(trouble) => {
                    tab.wallet.session.hindered(action, format!("{trouble:?}"));
                    tab.hindered.push(action.clone());
                }
            }
            begun
        });
        match result {
            Some(Ok(Then::Send(sending))) => {
                self.launch(owner, id, *sending);
                if let (Some(Bug::BelievesReleased), Action::Send(backup, deposit, Errand::Release)) =
                    (self.bug, action)
                {
                    self.in_tab(owner, tab, |tab| tab.wallet.try_handle(Event::Released(*backup, *deposit, None)));
                }
            }
            Some(Ok(Then::LookAgain(safe, why))) => self.look_again(owner, tab, safe, why),
            Some(Err(trouble)) => self.say(|| format!("  hindered: {trouble:?}")),
            _ => {}
        }
    }

    /// An answer comes to the window that waits for it, if it is still open.
    fn answer(&mut self, owner: usize, tab: u64, sending: &Sending, answer: Option<wallet_wasm::exchange::Answer>) {
        let Some(at) = self.owners[owner].tabs.iter().position(|t| t.id == tab) else { return };
        let ignores_clock = self.bug == Some(Bug::IgnoresClock);
        if ignores_clock
            && answer.as_ref().and_then(|a| a.problem.as_ref()).is_some_and(|p| p.0.ends_with("claim-expired"))
        {
            self.in_tab(owner, at, |tab| {
                tab.wallet.session.ended(&sending.action);
                Ok(())
            });
            return;
        }
        let result = self.in_tab(owner, at, |tab| {
            let understood = tab.wallet.answered(sending, answer);
            match &understood {
                Ok(Then::Send(_)) => {}
                Ok(_) => tab.wallet.session.ended(&sending.action),
                Err(trouble) => {
                    tab.wallet.session.hindered(&sending.action, format!("{trouble:?}"));
                    tab.hindered.push(sending.action.clone());
                }
            }
            understood
        });
        match result {
            // After the look, the question.
            Some(Ok(Then::Send(question))) => self.launch(owner, tab, *question),
            Some(Ok(Then::LookAgain(safe, why))) => self.look_again(owner, at, safe, why),
            Some(Err(trouble)) => self.say(|| format!("  hindered: {trouble:?}")),
            _ => {}
        }
    }

    /// The owner wants something, or changes his mind.
    fn wish(&mut self, step: usize) {
        let owner = self.somebody();
        let tab = self.dice.below(self.owners[owner].tabs.len());
        if self.person.is_some() && self.dice.one_of(3) {
            return self.own();
        }
        if self.person.as_ref().is_some_and(|person| person.devices.len() > 1) && self.dice.one_of(3) {
            return if self.dice.one_of(4) { self.edit_apart() } else { self.edit(step) };
        }
        self.take_over(owner, tab);
        let Some(place) = self.owners[owner].tabs.get(tab) else { return };
        let backups = place.wallet.state.backups.values().filter(|backup| backup.chapter.is_none());
        let backups: Vec<BackupId> = backups.map(|backup| backup.id).collect();
        let values: Vec<ValueId> = place.wallet.state.values.keys().copied().collect();
        let mut kind = self.dice.below(22);
        if self.race && !self.dice.one_of(4) {
            kind = [6, 7, 10, 15, 17, 18, 18, 18, 18][self.dice.below(9)];
        }
        if values.is_empty() || (kind < 3 && values.len() < 5) {
            return self.put_in(owner, tab, step);
        }
        if self.arranges && self.dice.one_of(3) {
            return self.arrange(owner, tab, &values);
        }
        // The moment at which two may believe that it is theirs.
        let claims = |backup: &Backup| backup.operation == Some(Operation::Claim);
        if self.owners[owner].known.backups.values().any(claims) && self.dice.one_of(2) {
            return self.carry(owner, tab, &values);
        }
        let (kind, event) = match (kind, self.dice.pick(&backups)) {
            (0..6, _) | (_, None) => self.registration(owner, tab, &values),
            (6, Some(backup)) => ("move", Event::Move(backup)),
            (7, Some(backup)) => ("bring back", Event::BringBack(backup)),
            (8, Some(backup)) => ("recover", Event::Recover(backup, Vec::new())),
            (9, Some(backup)) => ("drill", Event::Drill(backup)),
            (10 | 11, Some(backup)) => {
                let (next, plan, words) = self.plan_with_words();
                ("renew", Event::Renew(backup, Next { backup: next, plan, words }))
            }
            (12, Some(backup)) => ("cancel", Event::Cancel(backup)),
            (13, Some(backup)) => ("release", Event::Release(backup)),
            (14, _) => ("audit", Event::Audit(None)),
            (15 | 16, _) => return self.carry(owner, tab, &values),
            (17, Some(backup)) if self.overrides => ("take over", Event::TakeOver(backup)),
            (19 | 20, _) => return self.change(owner, tab, &values, step),
            (17 | 18, Some(backup)) => ("recover", Event::Recover(backup, Vec::new())),
            (_, Some(_)) => {
                let value = self.dice.pick(&values).unwrap_or(values[0]);
                ("remove", Event::RemoveValue(value))
            }
        };
        let removed = if let Event::RemoveValue(id) = &event { Some(*id) } else { None };
        let had = removed.is_some_and(|id| self.owners[owner].known.is_local(&id));
        let mut content = None;
        let doubled = if let Event::TakeOver(id) = &event { Some(*id) } else { None };
        let result = self.in_tab(owner, tab, |tab| {
            content = removed.and_then(|id| tab.wallet.try_content(&id)?.ok());
            let done = tab.wallet.try_handle(event);
            if kind == "recover" {
                tab.wallet.session.retry();
            }
            done
        });
        self.say(|| format!("wallet {owner}, window {tab}: {kind}: {result:?}"));
        if matches!(result, Some(Ok(()))) {
            *self.report.operations.entry(kind).or_default() += 1;
        }
        // It may be gone, or taken over, although nobody heard so.
        if let Some(id) = removed.filter(|id| !self.owners[owner].known.values.contains_key(id)) {
            for at in self.devices_of(owner) {
                self.owners[at].expected.remove(&id);
            }
            if had {
                self.tickets.remove(&id);
            }
            content.iter().for_each(|content| self.remove_draft(content));
        }
        if let Some(backup) = doubled.and_then(|id| self.owners[owner].known.backups.get(&id)) {
            let lenient = backup.claim.as_ref().is_some_and(|claim| claim.lenient);
            for meta in backup.values.iter().filter(|_| lenient) {
                self.tickets.entry(meta.id).and_modify(|ticket| ticket.may_double = true);
            }
        }
    }

    /// The owner arranges what is done by itself, where, and with how much room.
    fn arrange(&mut self, owner: usize, tab: usize, values: &[ValueId]) {
        let safe = self.ids[self.dice.below(self.ids.len())];
        let (kind, event) = match self.dice.below(6) {
            0 | 1 => ("rules", Event::SetRules(self.rules())),
            2 => ("capacity", Event::SetCapacity(self.capacity())),
            3 => ("follow rules", Event::FollowRules(self.dice.pick(values).unwrap_or(values[0]))),
            4 if self.dice.one_of(3) => ("keep safe", Event::KeepSafe(safe)),
            4 => ("retire", Event::Retire(safe, self.ids[self.dice.below(self.ids.len())])),
            _ => return self.invite(owner, tab, false),
        };
        let result = self.in_tab(owner, tab, |tab| tab.wallet.try_handle(event));
        self.say(|| format!("wallet {owner}, window {tab}: {kind}: {result:?}"));
        if matches!(result, Some(Ok(()))) {
            *self.report.operations.entry(kind).or_default() += 1;
        }
    }

    /// The certificates of what lives once go to somebody else.
    fn carry(&mut self, owner: usize, tab: usize, values: &[ValueId]) {
        let to = self.dice.below(self.owners.len());
        let wallet = &self.owners[owner].tabs[tab].wallet;
        let tickets: Vec<ValueId> = values.iter().copied().filter(|id| self.tickets.contains_key(id)).collect();
        // What something is being done with may be the worst moment; so may be that nothing is, and a copy is here.
        let at_work = |id: &ValueId| wallet.state.at_work(id).and_then(|backup| backup.operation);
        let those = |which: &dyn Fn(&ValueId) -> bool| tickets.iter().copied().filter(which).collect::<Vec<_>>();
        let kept = those(&|id| wallet.state.is_local(id) && at_work(id).is_none());
        let claimed = those(&|id| at_work(id) == Some(Operation::Claim));
        let busy = those(&|id| at_work(id).is_some());
        let from = [claimed, kept, busy].into_iter().find(|some| !some.is_empty() && self.dice.one_of(2));
        let from = from.unwrap_or(tickets);
        let Some(id) = self.dice.pick(&from).filter(|_| to != owner) else { return };
        let mut state = wallet.state.clone();
        if let Some(value) = state.values.get_mut(&id).filter(|_| self.bug == Some(Bug::KeepsUnclaimed)) {
            value.content = None;
        }
        let Ok(book) = book_of(&state, &[id], wallet.now()) else { return };
        let at = self.dice.below(self.owners[to].tabs.len());
        let result = self.in_tab(to, at, |tab| tab.wallet.try_handle(Event::Import(book)));
        self.say(|| format!("certificates of {id} from wallet {owner} to wallet {to}: {result:?}"));
        if matches!(result, Some(Ok(()))) {
            *self.report.operations.entry("certificates carried").or_default() += 1;
        }
    }

    /// The owner changes a value.
    fn change(&mut self, owner: usize, tab: usize, values: &[ValueId], step: usize) {
        if self.person.as_ref().is_some_and(|person| person.devices.contains(&owner)) {
            return self.change_draft(owner, tab, step);
        }
        let mine: Vec<ValueId> =
            values.iter().copied().filter(|id| self.owners[owner].expected.contains_key(id)).collect();
        let Some(id) = self.dice.pick(&mine) else { return };
        // As long as before, or longer.
        let mut text = format!("secret {owner}-{step} changed ").into_bytes();
        text.extend(self.owners[owner].expected[&id].iter().rev());
        let result = self.in_tab(owner, tab, |tab| tab.wallet.change(&id, &text));
        self.say(|| format!("wallet {owner}, window {tab}: change {id}: {result:?}"));
        // Whoever was not told may find it changed all the same.
        let place = &mut self.owners[owner];
        let content = place.known.values.get(&id).and_then(|value| value.content.as_ref());
        if content.is_some_and(|content| content.root == Some(Root(blake3(&text)))) {
            place.expected.insert(id, text);
            // It is here, whatever was lost of it before.
            place.excused.remove(&id);
            *self.report.operations.entry("change").or_default() += 1;
        }
    }

    fn put_in(&mut self, owner: usize, tab: usize, step: usize) {
        let unique = self.dice.one_of(3);
        self.put_in_as(owner, tab, step, unique);
    }

    fn put_in_as(&mut self, owner: usize, tab: usize, step: usize, unique: bool) {
        let mut text = format!("secret {owner}-{step} ").into_bytes();
        // As long as a seed phrase, or as several chunks of a body.
        let length = if self.dice.one_of(4) { 3_000 } else { 40 };
        let salt = self.dice.0.next_u64();
        let mut stream = expand_seed(&derive_secret(&Secret::from_bytes([5; 32]), "content", &salt.to_be_bytes()));
        let mut noise = vec![0; length];
        stream.fill_bytes(&mut noise);
        text.extend(noise);
        let mut id = None;
        let result = self.in_tab(owner, tab, |tab| {
            let (value, event) = tab.wallet.keep(&format!("Value {step}"), &text, unique)?;
            id = Some(value);
            tab.wallet.try_handle(event)
        });
        self.say(|| format!("wallet {owner}, window {tab}: put in {id:?}: {result:?}"));
        let Some(id) = id else { return };
        // Whoever was told that it is kept relies on it; whoever was not may find it all the same.
        let place = &mut self.owners[owner];
        if result.is_some_and(|r| r.is_ok()) || place.known.values.contains_key(&id) {
            if unique {
                self.tickets.insert(id, Ticket { content: text, may_double: false, excused: false });
            } else {
                place.expected.insert(id, text);
            }
            *self.report.operations.entry("put in").or_default() += 1;
        }
    }

    fn plan(&mut self) -> Plan<SafeId> {
        let mut safes = self.ids.clone();
        while safes.len() > 1 && self.dice.one_of(3) {
            safes.remove(self.dice.below(safes.len()));
        }
        let at = |safes: &[SafeId]| safes.iter().copied().map(Plan::at).collect::<Vec<_>>();
        let k = 1 + self.dice.below(safes.len());
        let made = match self.dice.below(4) {
            _ if safes.len() == 1 => return Plan::at(safes[0]),
            0 => Plan::copies(at(&safes)),
            1 => Plan::split(k, at(&safes)),
            _ => Plan::spread(k, &safes),
        };
        // A threshold of one is no plan.
        made.unwrap_or_else(|_| Plan::copies(at(&safes)).unwrap())
    }

    /// Rules that are about anything.
    fn rules(&mut self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for at in 0..self.dice.below(4) {
            let mut when = Vec::new();
            while self.dice.one_of(2) {
                let spans = [0, 61, 3_600, DAY, 8 * DAY];
                let span = spans[self.dice.below(spans.len())];
                when.push(match self.dice.below(6) {
                    0 => Condition::Older(span),
                    1 => Condition::Unused(span),
                    2 => Condition::Changed,
                    3 => Condition::Larger(1_000),
                    4 => Condition::Smaller(1_000),
                    _ => Condition::RoomBelow(self.dice.below(4_000) as u64),
                });
            }
            let (moves, on) = (self.dice.one_of(2), !self.dice.one_of(5));
            rules.push(Rule { name: format!("Rule {at}"), when, plan: self.plan(), moves, on });
        }
        rules
    }

    fn capacity(&mut self) -> Option<u64> {
        (!self.dice.one_of(3)).then(|| self.dice.below(10_000) as u64)
    }

    /// A plan in which its owner may have a part, for a backup of this id.
    fn plan_with_words(&mut self) -> (BackupId, Plan<SafeId>, Option<Secret>) {
        let backup = BackupId::make_random(&mut self.dice.0);
        let plan = self.plan();
        let place = match self.dice.below(6) {
            _ if !self.keepers => return (backup, plan, None),
            0 => Place::Memory,
            1 => Place::File,
            2 => Place::Book,
            _ => return (backup, plan, None),
        };
        let words = (place == Place::Memory).then(|| Secret::make_random(&mut self.dice.0));
        let Ok(sealed) = Plan::seal(plan.clone(), vec![Plan::place(place)]) else { return (backup, plan, None) };
        self.words.extend(words.iter().map(|words| (backup, words.clone())));
        (backup, sealed, words)
    }

    fn registration(&mut self, owner: usize, tab: usize, values: &[ValueId]) -> (&'static str, Event) {
        let state = &self.owners[owner].tabs[tab].wallet.state;
        let free: Vec<ValueId> = values.iter().copied().filter(|id| state.values[id].backup.is_none()).collect();
        let first = self.dice.pick(&free).unwrap_or(values[0]);
        let mut wanted = vec![first];
        if self.dice.one_of(4) {
            let once = self.tickets.contains_key(&first);
            let alike = |id: &ValueId| *id != first && self.tickets.contains_key(id) == once;
            wanted.extend(free.into_iter().filter(alike).take(2));
        }
        let moving = self.dice.one_of(2);
        let (backup, mut plan, mut words) = self.plan_with_words();
        // What lives once may go to somebody who is not this owner.
        if !self.tickets.contains_key(&first)
            && let Some(guarded) = self.guarded_plan(owner)
        {
            (plan, words) = (guarded, None);
        }
        let wish = Wish { backup, values: wanted, plan, words, face: FaceWish::default(), moving };
        (if moving { "move out" } else { "register" }, Event::Register(wish))
    }

    fn pass_time(&mut self) {
        let spans = [1, 5, 61, 3_600, DAY, 8 * DAY];
        let span = spans[self.dice.below(spans.len())];
        self.move_on(span);
    }

    fn move_on(&mut self, span: Seconds) {
        if span > ATTEMPT_SPAN / 2 {
            // So long a safe waits for what was begun, and no platform takes longer.
            self.safes.all.iter().for_each(safe_worker::memory::MemorySafe::catch_up);
        }
        self.now += span;
        self.say(|| format!("{span} s go by"));
        for (index, safe) in self.safes.all.iter().enumerate() {
            // It may be stopped at it.
            let _ = safe.run_alarms(self.now.saturating_add_signed(self.skews[index])).now_or_never();
        }
    }

    /// Something happens to a disk, a window, or a safe.
    fn misfortune(&mut self) {
        let owner = self.dice.below(self.owners.len());
        let safe = self.dice.below(self.safes.all.len());
        match self.dice.below(14) {
            0 => {
                self.fault("window closed");
                let tabs = &mut self.owners[owner].tabs;
                let at = self.dice.below(tabs.len());
                tabs.remove(at);
                self.reopen(owner);
            }
            1 => {
                self.fault("power lost");
                self.owners[owner].tabs.clear();
                self.owners[owner].disk.lose_power();
                self.reopen(owner);
            }
            2 if self.owners[owner].tabs.len() < 2 => {
                self.fault("second window");
                self.open_in(owner);
            }
            2 | 3 => {
                let (at, kind) = (self.dice.below(6) as u32, self.dice.below(3));
                let strike = [Strike::Torn, Strike::PowerBefore, Strike::PowerAfter][kind];
                if strike == Strike::Torn {
                    self.fault("write refused");
                }
                self.owners[owner].disk.strike(at, strike);
            }
            4 => {
                let disk = self.owners[owner].disk;
                disk.set_full(!disk.is_full());
                if disk.is_full() {
                    self.fault("disk full");
                }
            }
            kind => self.trouble_at(safe, kind),
        }
    }

    fn reopen(&mut self, owner: usize) {
        while self.owners[owner].tabs.is_empty() {
            self.open_in(owner);
        }
    }

    fn open_in(&mut self, owner: usize) {
        let nobody = Owner::nobody(self.owners[owner].disk);
        let mut place = std::mem::replace(&mut self.owners[owner], nobody);
        let before = place.tabs.len();
        self.open_tab(&mut place);
        let tab = place.tabs.len();
        self.owners[owner] = place;
        if tab > before {
            self.see_all(owner, tab - 1);
        }
    }

    /// At every unlock a wallet looks who is there.
    fn see_all(&mut self, owner: usize, tab: usize) {
        let id = self.owners[owner].tabs[tab].id;
        for index in 0..self.ids.len() {
            let Some(tab) = self.owners[owner].tabs.iter().position(|tab| tab.id == id) else { return };
            let seen = self.safes.find(&self.ids[index], self.now.saturating_add_signed(self.skews[index]));
            let safe = self.ids[index];
            self.in_tab(owner, tab, |tab| tab.wallet.see(safe, seen));
        }
    }

    // ---- the end --------------------------------------------------------------------------------------------------

    /// The faults end, and all comes to rest: also what rules say, for as much room as it takes.
    fn rest(&mut self) {
        self.calm = true;
        self.say(|| "the faults end".to_owned());
        self.mend();
        let mut left = REST;
        self.want_everywhere(&Event::SetCapacity(None));
        (0..self.owners.len()).for_each(|owner| self.invite(owner, 0, true));
        while self.go_on(&mut left) {}
        // What is proven now is what safes have, and values come back for that.
        self.want_everywhere(&Event::SetRules(Vec::new()));
        for safe in self.ids.clone() {
            self.want_everywhere(&Event::KeepSafe(safe));
        }
        while self.go_on(&mut left) {}
        self.rest_owner();
        let open: Vec<String> = self.operations_under_way();
        assert!(open.is_empty(), "does not end although the faults have: {}", open.join("; "));
        self.look();
        // What waited for another device of its owner may have used up all the rounds.
        left = REST;
        self.prove_all(&mut left);
        self.prove_owner();
        self.settle(&mut left);
        self.look_into_everything();
        self.rob(&mut left);
    }

    fn want_everywhere(&mut self, event: &Event) {
        for owner in 0..self.owners.len() {
            self.in_tab(owner, 0, |tab| {
                tab.wallet.reload()?;
                tab.wallet.try_handle(event.clone())
            });
        }
    }

    /// One round of whatever can be done. Whether anything is still under way.
    fn go_on(&mut self, left: &mut usize) -> bool {
        let mut busy = false;
        for owner in 0..self.owners.len() {
            for tab in 0..self.owners[owner].tabs.len() {
                let now = self.now.saturating_add_signed(self.owners[owner].ahead);
                if !self.owners[owner].tabs[tab].hindered.is_empty() {
                    // Another window may have done it meanwhile, and let the blobs go: whoever is hindered looks again.
                    self.in_tab(owner, tab, |tab| Ok(tab.wallet.reload()?));
                }
                let place = &mut self.owners[owner].tabs[tab];
                place.wallet.set_now(now);
                for action in place.hindered.drain(..) {
                    place.wallet.session.try_again(&action);
                }
                self.give(owner, tab);
                let place = &self.owners[owner].tabs[tab];
                for action in place.wallet.session.actions(&place.wallet.state, now) {
                    busy = true;
                    self.begin(owner, tab, &action);
                }
            }
        }
        while !self.flights.is_empty() {
            busy = true;
            self.deliver();
        }
        self.report.steps += 1;
        self.look();
        *left = left.saturating_sub(1);
        if *left == 0 {
            return false;
        }
        if !busy && !self.operations_under_way().is_empty() {
            // What a window does not know yet it learns by being opened again, as every window is in the end.
            for owner in 0..self.owners.len() {
                for tab in 0..self.owners[owner].tabs.len() {
                    // Not all at once: those who want the same have their pauses.
                    let patient = self.dice.one_of(2);
                    self.in_tab(owner, tab, |tab| {
                        tab.wallet.reload()?;
                        if !patient {
                            tab.wallet.session.retry();
                        }
                        Ok(())
                    });
                }
            }
            self.move_on(61);
            *left = left.saturating_sub(50);
            return *left > 0;
        }
        busy
    }

    fn operations_under_way(&self) -> Vec<String> {
        let mut open = Vec::new();
        for (index, owner) in self.owners.iter().enumerate() {
            for backup in owner.known.backups.values() {
                if let Some(operation) =
                    backup.operation.filter(|_| !self.waits(backup) && !self.waits_for_owner(index, backup))
                {
                    open.push(format!("wallet {index}: {operation:?} of {}", backup.id));
                }
            }
        }
        open
    }

    /// What nothing brings back any more waits until its owner gives up; so does what lives once and was taken over, from a device that had
    /// brought it back or at some safes only, and what too few registers are left for.
    fn waits(&self, backup: &Backup) -> bool {
        let doubled = |meta: &ValueMeta| self.tickets.get(&meta.id).is_some_and(|ticket| ticket.may_double);
        let overtaken = backup.values.iter().any(doubled);
        let lost = (self.is_beyond(backup) || backup.lives_once()) && !self.is_recoverable(backup);
        backup.is_gathering() && (lost || overtaken) || self.is_undecidable(backup)
    }

    /// Every backup is rebuilt from what the safes have, and every value is what it was.
    fn prove_all(&mut self, left: &mut usize) {
        for owner in 0..self.owners.len() {
            let place = &self.owners[owner];
            let whole = |id: &ValueId| !place.excused.contains(id);
            let drills: Vec<BackupId> = place.known.backups.values().map(|b| b.id).collect();
            let drills: Vec<BackupId> = drills.into_iter().filter(|id| self.can_be_rebuilt(owner, id)).collect();
            let moved = place.known.values.values().filter(|v| v.content.is_none() && whole(&v.meta.id));
            let moved = moved.filter(|value| !value.meta.lives_once());
            // Another device of his may have brought it back, and let go what was at the safes.
            let there = |id: &BackupId| !self.was_let_go(owner, id) || self.is_recoverable(&place.known.backups[id]);
            let moved: BTreeSet<BackupId> = moved.filter_map(|v| v.backup).filter(there).collect();
            for id in &drills {
                self.in_tab(owner, 0, |tab| {
                    tab.wallet.reload()?;
                    tab.wallet.session.retry();
                    tab.wallet.try_handle(Event::Drill(*id))
                });
            }
            while self.go_on(left) {}
            for id in &drills {
                // What had waited came to its end meanwhile, and is back here: its content is looked at below.
                let Some(backup) = self.owners[owner].known.backups.get(id) else { continue };
                let drilled = backup.drilled.is_some() && backup.operation.is_none();
                let doubled = |id: &ValueId| self.tickets.get(id).is_some_and(|ticket| ticket.may_double);
                let excused = |id: &ValueId| self.owners[owner].excused.contains(id) || doubled(id);
                let gone = backup.values.iter().any(|meta| excused(&meta.id));
                let gone = gone || self.waits_for_owner(owner, backup);
                assert!(drilled || gone, "{id} of wallet {owner} cannot be rebuilt from what the safes have");
            }
            for id in moved {
                self.in_tab(owner, 0, |tab| {
                    tab.wallet.session.retry();
                    tab.wallet.try_handle(Event::Recover(id, Vec::new()))
                });
            }
            while self.go_on(left) {}
            self.in_tab(owner, 0, |tab| Ok(tab.wallet.reload()?));
            let devices = self.devices_of(owner);
            // What one device has moved out another one brings back: it is looked at when all of them have.
            let all = if devices.iter().max() == Some(&owner) { &devices[..] } else { &[] };
            for (at, place) in all.iter().map(|at| (at, &self.owners[*at])) {
                for (id, content) in place.expected.iter().filter(|(id, _)| !place.excused.contains(id)) {
                    let has = |at: &usize| self.owners[*at].tabs[0].wallet.content(id).as_ref() == Some(content);
                    let backup = |at: &usize| {
                        let known = &self.owners[*at].known;
                        Some((*at, known.backups.get(known.values.get(id)?.backup.as_ref()?)?))
                    };
                    let stranded = |(at, backup): (usize, &Backup)| self.is_stranded(at, backup);
                    let fine = devices.iter().any(has) || devices.iter().filter_map(backup).any(stranded);
                    assert!(fine, "{id} of wallet {at} has changed");
                }
            }
            if !all.is_empty() && self.person.as_ref().is_some_and(|person| person.devices.contains(&owner)) {
                self.prove_drafts();
            }
            let place = &self.owners[owner];
            let operation = |b: &Backup| b.operation == Some(Operation::Recover);
            let stuck = place.known.backups.values().filter(|b| operation(b));
            let stuck: Vec<_> = stuck.filter(|b| self.is_recoverable(b) && !self.waits(b)).collect();
            assert!(stuck.is_empty(), "a recovery does not end");
        }
        self.redeem(left);
    }

    /// Whoever takes over a generation has accepted that another one may be somewhere.
    fn accept_doubles(&mut self, id: &BackupId) {
        let all = || self.owners.iter().flat_map(|owner| owner.known.backups.values());
        let Some(taken) = all().find(|backup| backup.id == *id) else { return };
        let values: Vec<ValueId> = taken.values.iter().map(|meta| meta.id).collect();
        let other = |value: &ValueId| all().any(|b| b.id != *id && b.values.iter().any(|meta| meta.id == *value));
        let doubled: Vec<ValueId> = values.into_iter().filter(other).collect();
        for (_, ticket) in self.tickets.iter_mut().filter(|(id, _)| doubled.contains(id)) {
            ticket.may_double = true;
        }
    }

    /// Everybody who has certificates of what lives once wants to have it, and one gets it.
    fn redeem(&mut self, left: &mut usize) {
        // What was under way may have brought it to the safes once more, in its next generation.
        for take_over in [false, false, true, false] {
            for owner in 0..self.owners.len() {
                let known = &self.owners[owner].known;
                let away = known.values.values().filter(|v| v.meta.lives_once() && v.content.is_none());
                let backups: BTreeSet<BackupId> = away.filter_map(|value| value.backup).collect();
                for id in backups {
                    let known = &self.owners[owner].known;
                    // Let go meanwhile.
                    let Some(backup) = known.backups.get(&id) else { continue };
                    let nobody = |id: &ValueId| !self.owners.iter().any(|owner| owner.known.is_local(id));
                    let wanted = backup.values.iter().any(|meta| nobody(&meta.id));
                    let event = match take_over {
                        false => Event::Recover(id, Vec::new()),
                        true if wanted && self.is_recoverable(backup) => Event::TakeOver(id),
                        true => continue,
                    };
                    let result = self.in_tab(owner, 0, |tab| {
                        tab.wallet.reload()?;
                        let result = tab.wallet.try_handle(event);
                        tab.wallet.session.retry();
                        result
                    });
                    self.say(|| format!("wallet {owner} wants {id}, {left} rounds are left: {result:?}"));
                    if take_over && matches!(result, Some(Ok(()))) {
                        self.accept_doubles(&id);
                    }
                    while self.go_on(left) {}
                }
            }
        }
        // The other window may be the one that got it.
        for owner in 0..self.owners.len() {
            self.in_tab(owner, 0, |tab| Ok(tab.wallet.reload()?));
        }
        for (id, ticket) in self.tickets.iter().filter(|(_, ticket)| !ticket.excused) {
            let has = |owner: &Owner<'_>| owner.tabs[0].wallet.content(id).as_ref() == Some(&ticket.content);
            let has = self.owners.iter().filter(|owner| has(owner)).count();
            let undecidable = || {
                let all = self.owners.iter().flat_map(|owner| owner.known.backups.values());
                all.filter(|b| b.values.iter().any(|meta| meta.id == *id)).any(|b| self.is_undecidable(b))
            };
            let fine = has == 1 || (has > 1 && ticket.may_double) || (has == 0 && undecidable());
            let backups = self.owners.iter().map(|owner| {
                let its = |b: &&Backup| b.values.iter().any(|meta| meta.id == *id);
                let its = owner.known.backups.values().filter(its);
                its.map(|b| (b.id, b.operation, b.is_ours(), b.is_taken())).collect::<Vec<_>>()
            });
            assert!(fine, "{id} lives {has} times; {:?}", backups.collect::<Vec<_>>());
        }
    }
}

impl<'a> Owner<'a> {
    /// Holds the place while its owner is being worked on.
    fn nobody(disk: &'a Disk) -> Self {
        Self {
            disk,
            ahead: 0,
            tabs: Vec::new(),
            known: State::default(),
            expected: BTreeMap::new(),
            excused: BTreeSet::new(),
        }
    }
}
