//! The wallet machine: what happens to values and backups.
//!
//! A registration: `Planned → Prepared → Offered → Held` for every deposit, then the seed is dropped. What a safe says is verified here,
//! never by the shell. A transition yields [`Changes`]; the shell commits them durably and only then applies them and acts on what follows.

mod changing;
mod chapters;
mod claiming;
mod importing;
mod moving;
mod owning;
mod retiring;
mod returning;
mod ruling;

use std::collections::BTreeMap;

use protocol::{
    SUITE,
    book::{Book, BookDeposit, BookEntry, KeptPiece, KnownSafe},
    bundle::{self, Lineage, MAX_HEAD_LEN, MAX_VALUE_LEN, MAX_VALUES, ValueMeta},
    certificate::{self, CertificateError, Offered},
    codec::{Bytes, CodecError},
    crypto::{CryptoError, Secret, derive_secret, expand_seed},
    deposit::{DepositSecrets, Face, Statement},
    identity::{Identity, IdentityError},
    ids::{BackupId, ClaimantId, DepositId, EditionId, Root, SafeId, Seconds, ValueId},
    layout::Layout,
    owner::{
        kit::Printed,
        messages::{Epoch, Mark},
        name::NameKey,
        ticket::{Right, bind},
    },
    plan::{Place, Plan, PlanError, PlanTextError},
    token::MAX_TOKEN_LEN,
};
use rand_core::CryptoRng;

pub use chapters::{WriteChapter, chapter_entry_of};
pub use owning::Enrol;

use crate::{
    changing::{Change, Step},
    owner::{Reached, Return},
    room::{Room, say_bytes},
    rules::{Rule, RuleError},
    state::{
        Activity, Backup, Claim, Content, Deposit, FaceWish, Key, Level, MAX_ACTIVITY, Next, Operation, PieceFault,
        Row, Stage, State, Then, Value,
    },
};

/// The wallet refused an event; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// No such value, safe or backup.
    #[error("there is no such {0} in this wallet")]
    Unknown(&'static str),
    /// It does not fit beside what is on this device, by so many bytes.
    #[error("it needs {} more on this device", say_bytes(*.0))]
    NoRoom(u64),
    /// Too long or too large.
    #[error("too large: {0}")]
    TooLarge(#[from] CodecError),
    /// The value's content is not on this device.
    #[error("the content is not on this device")]
    NotLocal,
    /// The value has a backup already.
    #[error("the value has a backup already")]
    HasBackup,
    /// The value has no backup.
    #[error("the value has no backup")]
    NoBackup,
    /// Too many values for one backup, or none, or one twice.
    #[error("a backup takes 1 to {MAX_VALUES} values, each once; these are {0}")]
    Values(usize),
    /// Values that live once and others, in one backup.
    #[error("values that may live only once and others cannot be coupled in one backup")]
    Mixed,
    /// The value lives once, and nobody may try it.
    #[error("it may live only once, and trying it would claim it for this device")]
    LivesOnce,
    /// The value lives once, and another wallet has claimed it.
    #[error("it may live only once, and another device has claimed it")]
    Taken,
    /// The plan gives something to its owner only, and the safe does not know him.
    #[error("the safe “{0}” does not know you as its owner yet; enrol there first, or use at(…) without owner")]
    NotEnrolled(String),
    /// The value lives once, and what the safes' registers say would not keep anybody from having it.
    #[error(
        "it may live only once, and by this plan it would come back from pieces that ask nobody to whom it belongs"
    )]
    Unasked,
    /// Another device has begun to change the passphrase, or the safes, and has not ended it.
    #[error("another of your devices has begun to change your passphrase or your safes, and that is not over")]
    Announced,
    /// Another device has changed the passphrase, or the safes.
    #[error("your passphrase or your safes were changed on another device; come back with the passphrase of now")]
    Outdated,
    /// Words that the plan needs are not there, or some are that it does not need.
    #[error("words are needed for a plan with memory in it, and only for such a plan")]
    Words,
    /// Another operation is under way.
    #[error("another operation is under way for this value")]
    Busy,
    /// Values have pieces at the safe.
    #[error("{0} deposits are at this safe")]
    SafeInUse(usize),
    /// The owner is enrolled at the safe.
    #[error("you are enrolled at this safe: it keeps a part of what brings you back on a new device")]
    SafeOfOwner,
    /// A rule backs values up at the safe.
    #[error("the rule “{0}” backs values up at this safe")]
    SafeInRule(String),
    /// A rule cannot be followed.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The safe is in the wallet already.
    #[error("this safe is in the wallet already")]
    SafeKnown,
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A text is no plan.
    #[error(transparent)]
    PlanText(#[from] PlanTextError),
    /// A safe is not itself.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What a safe signed does not hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A primitive refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// What came back is not what was asked for.
    #[error("the recovered content is not the one that was backed up")]
    Differs,
}

/// Something happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The owner trusts a safe.
    AddSafe(KnownSafe),
    /// The owner removes a safe.
    RemoveSafe(SafeId),
    /// The owner has a token of the safe's operator; an empty one: no longer.
    SetToken(SafeId, String),
    /// A safe showed a newer chain or address.
    SafeSeen(KnownSafe),
    /// A value was put in; its content is durable.
    AddValue(ValueMeta, Content),
    /// The owner has changed what a value is called, and perhaps its content, which is durable. Id, time and whether it lives once stay as they are.
    ChangeValue(ValueMeta, Option<Content>),
    /// The owner deletes a value that has no backup, or that lives once and belongs to another device.
    RemoveValue(ValueId),
    /// The owner asks for a backup.
    Register(Wish),
    /// The owner wants the contents of a backup on this device to go, once what the safes have is proven.
    Move(BackupId),
    /// The safes have shown all pieces of a backup that are needed, and these contents were rebuilt from them.
    Drilled(BackupId, Vec<Content>),
    /// The contents of a backup on this device go now.
    Vacate(BackupId),
    /// The owner wants all values of a backup back, and nothing of them left at the safes.
    BringBack(BackupId),
    /// The owner wants to know whether a backup comes back.
    Drill(BackupId),
    /// The owner wants a new generation of a backup: everything is encrypted anew, under fresh keys and perhaps by another plan, and when that
    /// was rebuilt from what the safes have, the old deposits go (claim 44).
    Renew(BackupId, Next),
    /// The owner has thought better of it.
    Cancel(BackupId),
    /// A segment is laid out.
    Prepared(BackupId, Prepared),
    /// The owner has shown that he has the file of a backup.
    FileSaved(BackupId),
    /// A safe sent an offer.
    Offered(BackupId, DepositId, Vec<u8>),
    /// A safe sent a certificate.
    Certified(BackupId, DepositId, Vec<u8>),
    /// A safe says that the id is taken or gone: the deposit is made anew under a new id.
    Anew(BackupId, DepositId),
    /// The owner wants to see whether the safes still have what they signed for: all of one backup, or of all.
    Audit(Option<BackupId>),
    /// What safes showed of their deposits, or did not.
    Audited(Vec<(BackupId, DepositId, Shown)>),
    /// A safe sent the certificate as it stands now.
    Renewed(BackupId, DepositId, Vec<u8>),
    /// The owner wants values of a backup back; none named: all.
    Recover(BackupId, Vec<ValueId>),
    /// The same, with all of its values, through a safe that fetches what the others keep; then this is made, if it can be.
    RecoverThrough(BackupId, SafeId, Option<Next>),
    /// The values are back, and their contents durable; why some pieces were not used.
    Recovered(BackupId, Vec<(ValueMeta, Content)>, Vec<String>),
    /// A recovery cannot go on.
    RecoveryFailed(BackupId, String),
    /// A safe has taken back what was let go, and sent its certificate; or says that it has it no more.
    Restored(BackupId, DepositId, Option<Vec<u8>>),
    /// The registers agree, in this epoch, that the values of a backup belong to this claimant.
    Claimed(BackupId, u32, ClaimantId),
    /// The registers are at a later epoch: an owner has begun anew.
    Superseded(BackupId, u32),
    /// The owner takes over values that live once, and accepts that they may double.
    TakeOver(BackupId),
    /// The owner lets the deposits go.
    Release(BackupId),
    /// A safe sent a receipt, or says that it has nothing.
    Released(BackupId, DepositId, Option<Vec<u8>>),
    /// A safe does not take what its owner has shown for his, and takes nothing back.
    NotRestored(SafeId),
    /// A safe that is the owner's no more does not know this device, and lets nothing go for it that is bound to him: the leases of that end by themselves.
    LeftBehind(SafeId),
    /// A certificate file was read and verified.
    Import(Book),
    /// The owner wants no pieces at the first safe any more, and the second one in its place.
    Retire(SafeId, SafeId),
    /// The owner keeps a safe that was to retire.
    KeepSafe(SafeId),
    /// A backup leaves the safes that retire: [`crate::retiring::due`].
    Replace(BackupId),
    /// The owner has no use for evidence.
    DropExhibit(DepositId),
    /// The owner has other rules.
    SetRules(Vec<Rule>),
    /// The owner says how much contents may take on this device, bytes; `None`: what the browser gives.
    SetCapacity(Option<u64>),
    /// Something is due for a value, with so much room: [`crate::rules::due`].
    ApplyRule(ValueId, Room),
    /// The owner looks at a value.
    Used(ValueId),
    /// The owner lets rules see again to a value that they leave alone.
    FollowRules(ValueId),
    /// The owner enrols at safes.
    Enrol(Box<Enrol>),
    /// An enrolment has come so far at a safe, under this number of the wallet's credential.
    OwnerReached(SafeId, Reached, Option<u32>),
    /// A safe has forgotten of an enrolment what it had taken, and gets the same again; from where, to where.
    OwnerForgot(SafeId, Reached, Reached),
    /// A safe has promised this epoch of this wallet's, and says where the book stands. What is said of an epoch before the one of now comes late, and counts for nothing.
    OwnerPromised(SafeId, Epoch, Option<Mark>),
    /// A safe has the head of this epoch and number.
    OwnerWritten(SafeId, Epoch, u64),
    /// A safe says that another device writes the book, and no longer this wallet in this epoch.
    OwnerSuperseded(SafeId, Epoch),
    /// The owner changes the passphrase, the safes or the threshold.
    ChangeOwner(Box<Change>),
    /// The owner has thought better of it, before anything was in force.
    CancelChange,
    /// The next enrolment has come at a safe from one step to another, under this number of the wallet's credential.
    OwnerStepped(SafeId, Step, Step, Option<u32>),
    /// A safe has forgotten what it kept of the enrolment before; or its owner waits for that no longer.
    OwnerLeft(SafeId, Option<u32>),
    /// A safe that was left has said the number of the credential that all devices share there; `None`: it has none.
    OwnerReturns(SafeId, Option<u32>),
    /// A safe says which generation of the enrolment is in force.
    OwnerGeneration(SafeId, u32, Epoch),
    /// The owner wants everything to be protected anew that the root before has told of.
    RenewExposed,
    /// The owner has come back on this device.
    OwnerReturned(Box<Return>),
    /// A kit was made, tried and printed.
    KitPrinted(Printed),
    /// A chapter of the owner's book is due, and its content durable.
    WriteChapter(Box<WriteChapter>),
    /// A chapter is back, its content durable, and this is what it says, if it says anything.
    ChapterRead(BackupId, Content, Option<Book>),
    /// Something worth a line of activity.
    Note(Level, String),
}

/// A backup as the owner wants it: values, coupled, by a plan.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Its id, which the key of the words depends on.
    pub backup: BackupId,
    /// The values, in order.
    pub values: Vec<ValueId>,
    /// The plan.
    pub plan: Plan<SafeId>,
    /// The key of the words that the owner remembers, where the plan has any.
    pub words: Option<Secret>,
    /// What the certificates show.
    pub face: FaceWish,
    /// The contents on this device go when all of it is at the safes. The shell has each segment rebuilt from its bodies before it reports it as
    /// prepared.
    pub moving: bool,
}

/// What is made of a segment.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// Bodies: (deposit, root, length).
    pub bodies: Vec<(DepositId, Root, u64)>,
    /// Pieces that stay in the book.
    pub kept: Vec<KeptPiece>,
    /// Pieces of the file, durable, and their segment.
    pub file: Option<(u32, Content)>,
}

/// What a safe showed of a deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// These groups of the body that it signed for.
    Sound(Vec<u32>),
    /// Nothing yet, and that need not mean anything.
    Unclear,
    /// Something else, or nothing: a phrase that follows the safe's name, and the groups that were bad, where it is about groups.
    Bad(String, Vec<u32>),
}

/// What a transition changes. Committed whole or not at all.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Records to put.
    pub put: Vec<Row>,
    /// Records to remove.
    pub remove: Vec<Key>,
    /// Blobs that records newly refer to.
    pub needs: Vec<String>,
    /// Blobs that nothing refers to any more once this is committed.
    pub discard: Vec<String>,
}

impl Changes {
    /// Of several records with one name the last one counts: a store that reads back what it wrote finds no other.
    fn keep_last(&mut self) {
        let mut last: BTreeMap<Key, usize> = BTreeMap::new();
        for (at, row) in self.put.iter().enumerate() {
            last.insert(row.key(), at);
        }
        let mut at = 0;
        self.put.retain(|row| {
            at += 1;
            last.get(&row.key()) == Some(&(at - 1))
        });
    }

    /// Takes the changes over into the state, after they were committed.
    pub fn apply(self, state: &mut State) {
        for row in self.put {
            state.put(row);
        }
        for key in self.remove {
            state.remove(key);
        }
    }
}

/// One transition.
///
/// # Errors
/// [`WalletError`]; the state stays as it is.
pub fn transition<R: CryptoRng>(
    state: &State,
    event: Event,
    now: Seconds,
    rng: &mut R,
) -> Result<Changes, WalletError> {
    let mut t = Transition { state, now, changes: Changes::default(), notes: Vec::new() };
    t.run(event, rng)?;
    t.keep_book(rng)?;
    if !t.notes.is_empty() {
        let mut activity = state.activity.clone();
        activity.append(&mut t.notes);
        let surplus = activity.len().saturating_sub(MAX_ACTIVITY);
        activity.drain(..surplus);
        t.changes.put.push(Row::Activity(activity));
    }
    t.keep_what_is_referred_to();
    t.changes.keep_last();
    Ok(t.changes)
}

struct Transition<'a> {
    state: &'a State,
    now: Seconds,
    changes: Changes,
    notes: Vec<Activity>,
}

impl Transition<'_> {
    fn run<R: CryptoRng>(&mut self, event: Event, rng: &mut R) -> Result<(), WalletError> {
        match event {
            Event::AddSafe(safe) => self.add_safe(safe),
            Event::RemoveSafe(id) => self.remove_safe(id),
            Event::SetToken(id, token) => self.set_token(id, &token),
            Event::SafeSeen(safe) => self.safe_seen(safe),
            Event::AddValue(meta, content) => self.add_value(meta, content),
            Event::ChangeValue(meta, content) => self.change_value(meta, content, rng),
            Event::RemoveValue(id) => self.remove_value(&id),
            Event::Register(wish) => self.register(wish, None, rng),
            Event::Renew(backup, next) => self.renew(&backup, next, rng),
            Event::Move(backup) => self.move_out(&backup, rng),
            Event::Drill(backup) => self.drill(&backup, None),
            Event::Claimed(backup, epoch, chosen) => self.claimed(&backup, epoch, chosen),
            Event::Superseded(backup, epoch) => self.superseded(&backup, epoch),
            Event::TakeOver(backup) => self.take_over(&backup, rng),
            Event::Drilled(backup, contents) => self.drilled(&backup, &contents),
            Event::Vacate(backup) => self.vacate(&backup),
            Event::BringBack(backup) => self.bring_back(&backup, rng),
            Event::Cancel(backup) => self.cancel(&backup),
            Event::Prepared(backup, prepared) => self.prepared(&backup, prepared),
            Event::FileSaved(backup) => self.file_saved(&backup),
            Event::Offered(backup, deposit, offer) => self.offered(&backup, &deposit, offer),
            Event::Certified(backup, deposit, certificate) => self.certified(&backup, &deposit, certificate),
            Event::Anew(backup, deposit) => self.anew(&backup, &deposit, rng),
            Event::Audit(which) => self.audit(which),
            Event::Audited(shown) => self.audited(shown),
            Event::Renewed(backup, deposit, certificate) => self.renewed(&backup, &deposit, certificate),
            Event::Recover(backup, wanted) => self.recover(&backup, wanted, rng),
            Event::RecoverThrough(backup, through, next) => self.recover_through(&backup, &through, next),
            Event::Recovered(backup, values, unused) => self.recovered(&backup, values, &unused, rng),
            Event::RecoveryFailed(backup, why) => self.recovery_failed(&backup, &why),
            Event::Release(backup) => self.release(&backup),
            Event::Released(backup, deposit, receipt) => self.released(&backup, &deposit, receipt),
            Event::Restored(backup, deposit, certificate) => self.restored(&backup, &deposit, certificate),
            Event::LeftBehind(safe) => self.left_behind(&safe),
            Event::NotRestored(safe) => self.not_restored(&safe),
            Event::Import(book) => self.import(book),
            Event::Retire(from, to) => self.retire(from, to),
            Event::KeepSafe(safe) => self.keep_safe(&safe),
            Event::Replace(backup) => self.replace(&backup, rng),
            Event::DropExhibit(deposit) => {
                self.drop_exhibit(&deposit);
                Ok(())
            }
            Event::SetRules(rules) => self.set_rules(rules),
            Event::SetCapacity(capacity) => self.set_capacity(capacity),
            Event::ApplyRule(value, room) => self.apply_rule(&value, &room, rng),
            Event::Used(value) => self.used(&value),
            Event::FollowRules(value) => self.follow_rules(&value),
            Event::Enrol(new) => self.enrol(*new),
            Event::OwnerReached(safe, reached, number) => self.owner_reached(&safe, reached, number),
            Event::OwnerForgot(safe, from, to) => self.owner_forgot(&safe, from, to),
            Event::OwnerPromised(safe, epoch, there) => self.owner_promised(&safe, epoch, there),
            Event::OwnerWritten(safe, epoch, sequence) => self.owner_written(&safe, epoch, sequence),
            Event::OwnerSuperseded(safe, epoch) => self.owner_superseded(&safe, epoch),
            Event::KitPrinted(printed) => self.kit_printed(printed),
            Event::ChangeOwner(change) => self.change_owner(*change),
            Event::CancelChange => self.cancel_change(),
            Event::OwnerStepped(safe, from, to, number) => self.owner_stepped(&safe, from, to, number),
            Event::OwnerLeft(safe, number) => self.owner_left(&safe, number),
            Event::OwnerReturns(safe, number) => self.owner_returns(&safe, number),
            Event::OwnerGeneration(safe, generation, promised) => self.owner_generation(&safe, generation, promised),
            Event::RenewExposed => self.renew_exposed(),
            Event::OwnerReturned(back) => self.owner_returned(*back),
            Event::WriteChapter(write) => self.write_chapter(*write, rng),
            Event::ChapterRead(id, content, book) => self.chapter_read(&id, &content, book),
            Event::Note(level, text) => {
                self.note(level, text);
                Ok(())
            }
        }
    }

    fn note(&mut self, level: Level, text: impl Into<String>) {
        self.notes.push(Activity { at: self.now, level, text: text.into() });
    }

    /// One blob may be a value's content and a source of its next generation: it goes when the last record that names it does.
    fn keep_what_is_referred_to(&mut self) {
        let Changes { put, remove, discard, .. } = &mut self.changes;
        if discard.is_empty() {
            return;
        }
        let mut put_keys: Vec<Key> = Vec::with_capacity(put.len());
        let mut kept: Vec<&str> = Vec::new();
        // Of several rows with one name the last one counts.
        for row in put.iter().rev().filter(|row| matches!(row, Row::Value(_) | Row::Backup(_))) {
            if put_keys.contains(&row.key()) {
                continue;
            }
            put_keys.push(row.key());
            match row {
                _ if remove.contains(&row.key()) => {}
                Row::Value(value) => kept.extend(value.blobs()),
                Row::Backup(backup) => kept.extend(backup.blobs()),
                _ => {}
            }
        }
        let stays = |key: Key| !put_keys.contains(&key) && !remove.contains(&key);
        kept.extend(self.state.values.values().filter(|v| stays(Key::Value(v.meta.id))).flat_map(Value::blobs));
        kept.extend(self.state.backups.values().filter(|b| stays(Key::Backup(b.id))).flat_map(Backup::blobs));
        discard.retain(|blob| !kept.contains(&blob.as_str()));
    }

    fn put(&mut self, backup: Backup) {
        self.changes.put.push(Row::Backup(Box::new(backup)));
    }

    /// A backup that no other generation is about to take the place of.
    fn settled(&self, id: &BackupId) -> Result<Backup, WalletError> {
        if self.state.successor(id).is_some() { Err(WalletError::Busy) } else { self.backup(id) }
    }

    fn backup(&self, id: &BackupId) -> Result<Backup, WalletError> {
        self.state.backups.get(id).cloned().ok_or(WalletError::Unknown("backup"))
    }

    /// A value as this transition leaves it so far.
    fn value(&self, id: &ValueId) -> Option<&Value> {
        let changed = self.changes.put.iter().rev().find_map(|row| match row {
            Row::Value(value) if value.meta.id == *id => Some(&**value),
            _ => None,
        });
        changed.or_else(|| self.state.values.get(id))
    }

    fn identity(&self, safe: &SafeId) -> Result<Identity, WalletError> {
        Ok(self.state.identity(safe).ok_or(WalletError::Unknown("safe"))??)
    }

    fn title(backup: &Backup) -> String {
        backup.title()
    }

    // ---- safes -------------------------------------------------------------------------------------------------

    fn add_safe(&mut self, safe: KnownSafe) -> Result<(), WalletError> {
        safe.verify()?;
        if self.state.safes.contains_key(&safe.id) {
            return Err(WalletError::SafeKnown);
        }
        self.note(Level::Info, format!("Safe “{}” was added.", safe.nickname));
        self.changes.put.push(Row::Safe(Box::new(safe)));
        Ok(())
    }

    fn remove_safe(&mut self, id: SafeId) -> Result<(), WalletError> {
        let safe = self.state.safes.get(&id).ok_or(WalletError::Unknown("safe"))?;
        self.check_rules(safe)?;
        let changing = self.state.owner.iter().filter_map(|owner| owner.changing.as_ref());
        let joins = changing.flat_map(|changing| &changing.sites).any(|site| site.safe == id);
        if joins || self.state.owner.as_ref().is_some_and(|owner| owner.seat(&id).is_some()) {
            return Err(WalletError::SafeOfOwner);
        }
        // What is only still to be let go there is no reason to keep a safe that may never answer again: its lease ends by itself.
        let (leftovers, used): (Vec<&Backup>, Vec<&Backup>) =
            self.state.backups.values().partition(|backup| self.state.is_leftover(backup));
        let used = used.into_iter().flat_map(|b| &b.deposits).filter(|d| d.safe == id).count();
        if used > 0 {
            return Err(WalletError::SafeInUse(used));
        }
        for backup in leftovers {
            let mut backup = backup.clone();
            let here = backup.deposits.iter_mut().filter(|d| d.safe == id && d.stage < Stage::Released);
            if here.map(|deposit| deposit.stage = Stage::Released).count() > 0 {
                self.end_release(backup)?;
            }
        }
        self.forget_retirements_of(&id);
        self.forget_former(&id);
        self.note(Level::Info, format!("Safe “{}” was removed.", safe.nickname));
        self.changes.remove.push(Key::Safe(id));
        Ok(())
    }

    fn set_token(&mut self, id: SafeId, token: &str) -> Result<(), WalletError> {
        let mut safe = self.state.safes.get(&id).ok_or(WalletError::Unknown("safe"))?.clone();
        safe.token = given(token);
        self.changes.put.push(Row::Safe(Box::new(safe)));
        Ok(())
    }

    fn safe_seen(&mut self, seen: KnownSafe) -> Result<(), WalletError> {
        let known = self.state.safes.get(&seen.id).ok_or(WalletError::Unknown("safe"))?;
        let before = self.state.identity(&seen.id).ok_or(WalletError::Unknown("safe"))??;
        let shown = if seen.has_keys_of(known) { before.clone() } else { seen.verify()? };
        // It has signed two truths about its keys. What is known stays: the certificates here count under it.
        let merged = before.merged(&shown);
        if let Err(serial) = merged {
            let why = format!("Safe “{}” shows another key under number {serial} than before.", known.nickname);
            if self.state.activity.iter().all(|line| line.text != why) {
                self.note(Level::Error, why);
            }
            return Ok(());
        }
        // Certificates name old entries: a chain that lost one must not replace one that has it.
        if seen.chain.len() >= known.chain.len() {
            let mut safe = KnownSafe { nickname: known.nickname.clone(), token: known.token.clone(), ..seen };
            // What was revoked stays revoked.
            for (at, entry) in merged.iter().flat_map(Identity::entries).enumerate() {
                let revoked = before.entries().get(at).is_some_and(|old| old.revoked.is_some() && old == entry);
                if let Some((into, known)) = safe.chain.get_mut(at).zip(known.chain.get(at)).filter(|_| revoked) {
                    into.clone_from(known);
                }
            }
            self.changes.put.push(Row::Safe(Box::new(safe)));
        }
        Ok(())
    }

    // ---- values ------------------------------------------------------------------------------------------------

    fn add_value(&mut self, meta: ValueMeta, content: Content) -> Result<(), WalletError> {
        meta.check()?;
        if content.length != meta.length || meta.length > MAX_VALUE_LEN {
            return Err(WalletError::Differs);
        }
        self.changes.needs.push(content.blob.clone());
        let value = Value { content: Some(content), ..Value::new(meta) };
        self.changes.put.push(Row::Value(Box::new(value)));
        Ok(())
    }

    fn change_value<R: CryptoRng>(
        &mut self,
        meta: ValueMeta,
        content: Option<Content>,
        rng: &mut R,
    ) -> Result<(), WalletError> {
        let value = self.state.values.get(&meta.id).ok_or(WalletError::Unknown("value"))?;
        let ValueMeta { created, unique, length, editions, .. } = value.meta.clone();
        let length = content.as_ref().map_or(length, |content| content.length);
        let root = |content: &Content| content.root.map(|root| (root, content.length));
        let new = content.as_ref().is_some_and(|new| {
            let both = root(new).zip(value.content.as_ref().and_then(root));
            both.is_none_or(|(new, old)| new != old)
        });
        // Back to what was is a change, too: other devices may have heard of what was in between.
        let editions = if new { Some(value.meta.editions_with(EditionId::make_random(rng))) } else { editions };
        let meta = ValueMeta { created, unique, length, editions, ..meta };
        meta.check()?;
        let mut value = Value { meta, ..value.clone() };
        if let Some(content) = content {
            let old = value.content.replace(content.clone()).ok_or(WalletError::NotLocal)?;
            (value.used, value.left_alone, value.until) = (Some(self.now), None, None);
            self.changes.needs.push(content.blob);
            self.changes.discard.push(old.blob);
        }
        self.changes.put.push(Row::Value(Box::new(value)));
        Ok(())
    }

    fn remove_value(&mut self, id: &ValueId) -> Result<(), WalletError> {
        let value = self.state.values.get(id).ok_or(WalletError::Unknown("value"))?;
        if let Some(backup) = value.backup.and_then(|id| self.state.backups.get(&id)) {
            // What another device has is only a name here, and its certificates open nothing.
            let nothing = backup.is_taken() && backup.operation.is_none() && !self.state.is_local(id);
            if !nothing {
                return Err(WalletError::HasBackup);
            }
            self.changes.remove.extend(self.unused_without(backup, &[*id]));
        }
        self.keep_what_waits_for(id);
        self.changes.remove.push(Key::Value(*id));
        self.changes.discard.extend(value.content.iter().map(|c| c.blob.clone()));
        Ok(())
    }

    /// A backup that nothing refers to any more when these values do not.
    fn unused_without(&self, backup: &Backup, values: &[ValueId]) -> Option<Key> {
        let mut others = backup.values.iter().map(|meta| meta.id).filter(|id| !values.contains(id));
        let used = others.any(|id| self.value(&id).is_some_and(|value| value.backup == Some(backup.id)));
        (!used).then_some(Key::Backup(backup.id))
    }

    // ---- registration ------------------------------------------------------------------------------------------

    fn register<R: CryptoRng>(
        &mut self,
        wish: Wish,
        replaces: Option<BackupId>,
        rng: &mut R,
    ) -> Result<(), WalletError> {
        let Wish { backup, values: ids, plan, words, face, moving } = wish;
        if ids.is_empty() || ids.len() > MAX_VALUES || (1..ids.len()).any(|i| ids[..i].contains(&ids[i])) {
            return Err(WalletError::Values(ids.len()));
        }
        if self.state.backups.contains_key(&backup) {
            return Err(WalletError::HasBackup);
        }
        let has = |wanted: &Place<SafeId>| plan.places().iter().any(|(_, place)| *place == wanted);
        if has(&Place::Memory) != words.is_some() {
            return Err(WalletError::Words);
        }
        let mut values = Vec::with_capacity(ids.len());
        let mut sources = Vec::with_capacity(ids.len());
        for id in &ids {
            let value = self.value(id).cloned().ok_or(WalletError::Unknown("value"))?;
            if value.backup != replaces {
                return Err(WalletError::HasBackup);
            }
            sources.push(value.content.clone().ok_or(WalletError::NotLocal)?);
            values.push(value.meta.clone());
            // Until the next generation is proven the values are the one's before.
            let backup = replaces.or(Some(backup));
            self.changes.put.push(Row::Value(Box::new(Value { backup, until: None, ..value })));
        }
        let once = values[0].lives_once();
        if values.iter().any(|meta| meta.lives_once() != once) {
            return Err(WalletError::Mixed);
        }
        check_places(self.state, &plan)?;
        let begun = self.begin(backup, values, sources, plan, rng)?;
        if once && begun.comes_back_unasked() {
            return Err(WalletError::Unasked);
        }
        self.put(Backup {
            face: (face != FaceWish::default()).then_some(face),
            words,
            then: moving.then_some(Then::Vacate),
            replaces,
            // Drawn long before it is shown to anybody; who moves the values out never shows it.
            claim: once.then(|| Claim::make_random(rng)),
            ..begun
        });
        Ok(())
    }

    /// A registration from its beginning.
    fn begin<R: CryptoRng>(
        &self,
        id: BackupId,
        values: Vec<ValueMeta>,
        sources: Vec<Content>,
        plan: Plan<SafeId>,
        rng: &mut R,
    ) -> Result<Backup, WalletError> {
        let mut limit = u64::MAX;
        for safe in plan.safes() {
            limit = limit.min(self.state.safes.get(safe).ok_or(WalletError::Unknown("safe"))?.limit_body);
        }
        let head = bundle::head(&values).len() - 4;
        if head > MAX_HEAD_LEN {
            return Err(CodecError::TooLong { got: head, most: MAX_HEAD_LEN }.into());
        }
        let bundle = bundle::length(&values);
        let layout = Layout::new(id, &plan, bundle, limit)?;
        let deposits = layout.slots().into_iter().map(|slot| {
            let id = DepositId::make_random(rng);
            Deposit::planned(id, slot, Secret::make_random(rng))
        });
        let deposits = deposits.collect();
        let has_file = plan.places().iter().any(|(_, place)| **place == Place::File);
        let segment_len = layout.segment_len();
        let roots = Some(sources.iter().map(|source: &Content| source.root).collect());
        Ok(Backup {
            id,
            values,
            plan,
            bundle,
            segment_len,
            op_seed: Some(Secret::make_random(rng)),
            sources,
            deposits,
            operation: Some(Operation::Register),
            finished: None,
            face: None,
            kept: Vec::new(),
            file: Vec::new(),
            file_saved: has_file.then_some(false),
            words: None,
            wanted: Vec::new(),
            then: None,
            roots,
            drilled: None,
            asked: None,
            begun: Some(self.now),
            replaces: None,
            next: None,
            claim: None,
            chapter: None,
            through: None,
            held: false,
        })
    }

    fn prepared(&mut self, id: &BackupId, prepared: Prepared) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        let op_seed = backup.op_seed.clone().ok_or(WalletError::NoBackup)?;
        let wish = backup.face.clone().unwrap_or_default();
        let text = backup.face_text(wish.hint).ok_or(WalletError::Unknown("value"))?;
        let registers: Vec<DepositId> = backup.registers().map(|deposit| deposit.id).collect();
        let once = backup.lives_once();
        for (deposit, root, length) in prepared.bodies {
            let Some(deposit) = backup.deposits.iter_mut().find(|d| d.id == deposit) else { continue };
            if deposit.stage != Stage::Planned {
                continue;
            }
            let face = if wish.readable {
                Face::Clear(text.cut())
            } else {
                // Derived, like the body: a repetition after a crash states the same bytes.
                let mut rng = expand_seed(&derive_secret(&op_seed, "face salt", &deposit.id.0));
                Face::seal(&text, &deposit.d, &deposit.id, &mut rng)?
            };
            let secrets = DepositSecrets::derive(&deposit.d);
            let statement = Statement::new(deposit.safe, deposit.id, length, root, face, &secrets);
            let unique = registers.contains(&deposit.id).then_some(true);
            // What lives once cannot be taken back, so that nothing is gained if only its owner lets it go.
            let kept = !deposit.is_bound() && !once && knows_owner(self.state, &deposit.safe);
            let name = self.state.owner.as_ref().filter(|_| deposit.is_bound() || kept);
            let account = name.map(|owner| NameKey::new(owner.name_key.clone()).account(&deposit.safe));
            let owner = account.map(|account| bind(&secrets.audit, &account));
            if owner.is_none() && deposit.is_bound() {
                return Err(WalletError::NotEnrolled(self.state.nickname(&deposit.safe)));
            }
            deposit.release_only = kept.then_some(true);
            deposit.statement = Some(Statement { unique, owner, release_only: deposit.release_only, ..statement });
            deposit.stage = Stage::Prepared;
        }
        // A segment is made again after a deposit was refused: then they are here already.
        for piece in prepared.kept {
            if !backup.kept.iter().any(|p| p.path == piece.path && p.segment == piece.segment) {
                backup.kept.push(piece);
            }
        }
        // Segments may be made in any order; within one the order is the plan's.
        backup.kept.sort_by_key(|piece| piece.segment);
        if let Some((segment, content)) = prepared.file {
            // The owner may have it already, too.
            if backup.file_saved != Some(false) || backup.file.iter().any(|(known, _)| *known == segment) {
                self.changes.discard.push(content.blob);
            } else {
                self.changes.needs.push(content.blob.clone());
                backup.file.push((segment, content));
            }
        }
        self.put(backup);
        Ok(())
    }

    fn file_saved(&mut self, id: &BackupId) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        if backup.file_saved == Some(false) {
            backup.file_saved = Some(true);
            self.changes.discard.extend(backup.file.drain(..).map(|(_, content)| content.blob));
            self.finish_registration(&mut backup)?;
            self.put(backup);
        }
        Ok(())
    }

    /// With the last certificate, and the file in the owner's hands, the registration is over.
    fn finish_registration(&mut self, backup: &mut Backup) -> Result<(), WalletError> {
        let open = backup.operation != Some(Operation::Register)
            || !backup.all_at(Stage::Held)
            || backup.file_saved == Some(false);
        if open {
            return Ok(());
        }
        // The copies on this device go by a step of their own, when the certificates are durable.
        backup.operation = match (backup.replaces, backup.then) {
            // What lives once was rebuilt from the bodies as sent: nobody may try it who does not want to have it.
            (_, None) if backup.lives_once() => Some(Operation::Claim),
            (_, Some(_)) if backup.lives_once() => Some(Operation::Vacate),
            (Some(_), _) | (None, Some(Then::DrillAndVacate)) => Some(Operation::Drill),
            (None, Some(Then::Vacate)) => Some(Operation::Vacate),
            (None, _) => None,
        };
        backup.finished = Some(self.now);
        // From here on nobody, not even this wallet, can make the bodies again.
        backup.op_seed = None;
        backup.words = None;
        self.finish_sources(backup);
        if let Some(chapter) = &mut backup.chapter {
            let replaced = core::mem::take(&mut chapter.replaces);
            return self.let_chapters_go(&replaced);
        }
        match (backup.replaces, backup.operation) {
            (Some(old), Some(Operation::Vacate)) => {
                backup.replaces = None;
                self.succeed(backup.clone(), &old)?;
            }
            (_, Some(Operation::Claim)) | (Some(_), _) => {}
            (None, _) => self.note_of_protection(backup),
        }
        Ok(())
    }

    fn note_of_protection(&mut self, backup: &Backup) {
        if backup.replaces.is_some() {
            return;
        }
        let safes = match backup.plan.safes().len() {
            1 => "one safe".to_owned(),
            several => format!("{several} safes"),
        };
        self.note(Level::Info, format!("“{}” is protected by {safes}.", Self::title(backup)));
    }

    fn offered(&mut self, id: &BackupId, deposit: &DepositId, offer: Vec<u8>) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        let entry = backup.deposits.iter_mut().find(|d| d.id == *deposit).ok_or(WalletError::Unknown("deposit"))?;
        if entry.stage != Stage::Prepared {
            return Ok(());
        }
        let statement = entry.statement.as_ref().ok_or(WalletError::Unknown("deposit"))?;
        Offered::verify(&offer, &self.identity(&entry.safe)?, statement)?;
        entry.offer = Some(Bytes(offer));
        entry.stage = Stage::Offered;
        self.put(backup);
        Ok(())
    }

    fn certified(&mut self, id: &BackupId, deposit: &DepositId, signed: Vec<u8>) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        let entry = backup.deposits.iter_mut().find(|d| d.id == *deposit).ok_or(WalletError::Unknown("deposit"))?;
        if !matches!(entry.stage, Stage::Prepared | Stage::Offered) {
            return Ok(());
        }
        let held = certificate::verify(&signed, &self.identity(&entry.safe)?, entry.statement.as_ref())?;
        entry.certificate = Some(Bytes(held.signed().to_vec()));
        entry.stage = Stage::Held;
        entry.statement = None;
        entry.offer = None;
        self.finish_registration(&mut backup)?;
        self.put(backup);
        Ok(())
    }

    /// Nothing is made from the sources any more.
    fn finish_sources(&mut self, backup: &mut Backup) {
        let files = backup.file.drain(..).map(|(_, content)| content.blob);
        self.changes.discard.extend(backup.sources.drain(..).map(|content| content.blob).chain(files));
    }

    fn anew<R: CryptoRng>(&mut self, id: &BackupId, deposit: &DepositId, rng: &mut R) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        if backup.operation != Some(Operation::Register) {
            return Ok(());
        }
        let entry = backup.deposits.iter_mut().find(|d| d.id == *deposit).ok_or(WalletError::Unknown("deposit"))?;
        if entry.stage >= Stage::Held {
            return Ok(());
        }
        let id = DepositId::make_random(rng);
        *entry = Deposit::planned(id, entry.slot(), Secret::make_random(rng));
        self.put(backup);
        Ok(())
    }

    // ---- upkeep ------------------------------------------------------------------------------------------------

    fn audit(&mut self, which: Option<BackupId>) -> Result<(), WalletError> {
        let wanted: Vec<Backup> = match which {
            Some(id) => vec![self.backup(&id)?],
            None => self.state.backups.values().cloned().collect(),
        };
        for mut backup in wanted {
            // What was answered within this second is asked for once more.
            let looked = backup.deposits.iter().filter_map(|deposit| deposit.looked).max();
            backup.asked = Some(looked.map_or(self.now, |looked| self.now.max(looked.saturating_add(1))));
            self.put(backup);
        }
        Ok(())
    }

    fn audited(&mut self, shown: Vec<(BackupId, DepositId, Shown)>) -> Result<(), WalletError> {
        let mut backups: Vec<Backup> = Vec::new();
        for (id, deposit, shown) in shown {
            // Released or replaced meanwhile: then it says nothing any more.
            let Some(known) = self.state.backups.get(&id) else { continue };
            let at = backups.iter().position(|b| b.id == id).unwrap_or_else(|| {
                backups.push(known.clone());
                backups.len() - 1
            });
            let backup = &mut backups[at];
            let title = Self::title(backup);
            let Some(entry) = backup.deposits.iter_mut().find(|d| d.id == deposit && d.stage == Stage::Held) else {
                continue;
            };
            let nickname = self.state.nickname(&entry.safe);
            entry.looked = Some(backup.asked.map_or(self.now, |asked| self.now.max(asked)));
            match shown {
                Shown::Sound(groups) => {
                    let open = entry.fault.as_mut().map(|fault| {
                        fault.groups.retain(|group| !groups.contains(group));
                        !fault.groups.is_empty()
                    });
                    if open == Some(true) {
                        continue;
                    }
                    entry.audited = Some(self.now);
                    if entry.fault.take().is_some() {
                        self.note(Level::Info, format!("Safe “{nickname}” shows its piece of “{title}” again."));
                    }
                }
                Shown::Unclear => {}
                Shown::Bad(what, groups) => {
                    let since = entry.fault.as_ref().map_or(self.now, |fault| fault.since);
                    let mut all = entry.fault.as_ref().map_or_else(Vec::new, |fault| fault.groups.clone());
                    all.extend(groups.into_iter().filter(|group| !all.contains(group)).collect::<Vec<_>>());
                    if entry.fault.as_ref().is_none_or(|fault| fault.what != what) {
                        self.note(Level::Error, format!("Safe “{nickname}” {what}: a piece of “{title}”."));
                    }
                    entry.fault = Some(PieceFault { since, what, groups: all });
                }
            }
        }
        backups.into_iter().for_each(|backup| self.put(backup));
        Ok(())
    }

    fn renewed(&mut self, id: &BackupId, deposit: &DepositId, signed: Vec<u8>) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        let entry = backup.deposits.iter_mut().find(|d| d.id == *deposit).ok_or(WalletError::Unknown("deposit"))?;
        if entry.stage != Stage::Held || entry.certificate.as_ref().is_some_and(|known| **known == signed) {
            return Ok(());
        }
        let held = certificate::verify(&signed, &self.identity(&entry.safe)?, None)?;
        let renews = match &entry.certificate {
            Some(known) => held.registration().renews(&certificate::read_unverified(known)?),
            None => chapters::is_told(self.state, entry, held.registration()),
        };
        if !renews {
            return Err(CertificateError::Differs.into());
        }
        (entry.certificate, entry.told) = (Some(Bytes(signed)), None);
        self.put(backup);
        Ok(())
    }

    /// The certificate as its safe has it now. It may be older than the one that is known, where the safe was set back and holds the piece all the same: then that one stays.
    fn shows_again(&mut self, id: &BackupId, deposit: &DepositId, signed: Vec<u8>) -> Result<(), WalletError> {
        let backup = self.backup(id)?;
        let entry = backup.deposit(deposit).ok_or(WalletError::Unknown("deposit"))?;
        let held = certificate::verify(&signed, &self.identity(&entry.safe)?, None)?;
        let known = entry.certificate.as_ref().and_then(|known| certificate::read_unverified(known).ok());
        match known {
            Some(known) if held.registration().renews(&known) => self.renewed(id, deposit, signed),
            Some(known) if held.registration().is_same_promise(&known) => Ok(()),
            None => self.renewed(id, deposit, signed),
            _ => Err(CertificateError::Differs.into()),
        }
    }

    fn restored(
        &mut self,
        id: &BackupId,
        deposit: &DepositId,
        certificate: Option<Vec<u8>>,
    ) -> Result<(), WalletError> {
        let known = |backup: &Backup| backup.deposit(deposit).is_some_and(Deposit::is_lost);
        let Some(backup) = self.state.backups.get(id).filter(|backup| known(backup)) else { return Ok(()) };
        let gone = certificate.is_none();
        if let Some(signed) = certificate {
            self.shows_again(id, deposit, signed)?;
        }
        let mut backup = self.changed(id).unwrap_or(backup).clone();
        let title = Self::title(&backup);
        if let Some(entry) = backup.deposits.iter_mut().find(|entry| entry.id == *deposit) {
            entry.restore = None;
            let nickname = self.state.nickname(&entry.safe);
            if gone {
                let what = "has let it go for good".to_owned();
                self.note(Level::Error, format!("Safe “{nickname}” {what}: a piece of “{title}”."));
                entry.fault = Some(PieceFault { since: self.now, what, groups: Vec::new() });
            }
        }
        if !backup.is_lost() && backup.chapter.is_none() {
            self.note(Level::Info, format!("“{title}” was taken back: your safes have kept what was let go."));
        }
        self.put(backup);
        Ok(())
    }

    fn not_restored(&mut self, safe: &SafeId) -> Result<(), WalletError> {
        let here = |deposit: &Deposit| deposit.safe == *safe && deposit.is_lost() && deposit.asks_owner(Right::Owner);
        let all: Vec<Backup> =
            self.state.backups.values().filter(|backup| backup.deposits.iter().any(here)).cloned().collect();
        if !all.is_empty() {
            let nickname = self.state.nickname(safe);
            self.note(
                Level::Error,
                format!("Safe “{nickname}” takes nothing back: it does not take you for its owner now."),
            );
        }
        for mut backup in all {
            for deposit in backup.deposits.iter_mut().filter(|deposit| here(deposit)) {
                let what = "does not take you for its owner now".to_owned();
                deposit.restore = None;
                deposit.fault = Some(PieceFault { since: self.now, what, groups: Vec::new() });
            }
            self.put(backup);
        }
        Ok(())
    }

    /// A backup as this transition leaves it so far, where it changes.
    fn changed(&self, id: &BackupId) -> Option<&Backup> {
        self.changes.put.iter().rev().find_map(|row| match row {
            Row::Backup(backup) if backup.id == *id => Some(&**backup),
            _ => None,
        })
    }

    /// A backup after what was changed so far.
    fn latest(&self, id: &BackupId) -> Option<&Backup> {
        self.changed(id).or_else(|| self.state.backups.get(id))
    }

    /// Whether nothing is only in a backup: each of its values is here, or has another backup by now, and what it is there was made of what it is in this one.
    fn is_all_here(&self, backup: &Backup) -> bool {
        let own = self.values_of(backup);
        let is_over = |meta: &ValueMeta| {
            let now = self.value(&meta.id);
            now.is_some_and(|value| matches!(value.meta.lineage(meta), Lineage::Same | Lineage::Later))
        };
        backup
            .values
            .iter()
            .all(|meta| if own.contains(&meta.id) { self.state.is_local(&meta.id) } else { is_over(meta) })
    }

    /// The values of a backup, without those that have another one by now.
    fn values_of(&self, backup: &Backup) -> Vec<ValueId> {
        let other = |id: &ValueId| self.value(id).and_then(|value| value.backup).is_some_and(|id| id != backup.id);
        backup.values.iter().map(|meta| meta.id).filter(|id| !other(id)).collect()
    }
}

/// Whether this wallet knows all safes of a plan, and those that are to give something to its owner only know him.
///
/// # Errors
/// [`WalletError::Unknown`] if there is no such safe; [`WalletError::NotEnrolled`] with the name of one that does not know its owner.
pub fn check_places(state: &State, plan: &Plan<SafeId>) -> Result<(), WalletError> {
    for (_, place) in plan.places() {
        let Place::Safe { safe, owner } = place else { continue };
        if !state.safes.contains_key(safe) {
            return Err(WalletError::Unknown("safe"));
        }
        if *owner && !knows_owner(state, safe) {
            return Err(WalletError::NotEnrolled(state.nickname(safe)));
        }
    }
    Ok(())
}

/// Whether a safe of the enrolment in force knows this wallet.
pub(crate) fn knows_owner(state: &State, safe: &SafeId) -> bool {
    let owner = state.owner.as_ref().filter(|owner| owner.making.is_none() && owner.root.is_some());
    owner.and_then(|owner| owner.seat(safe)).is_some_and(|seat| seat.number.is_some())
}

/// The book of some values, for a certificate file. Inverse of [`Event::Import`].
///
/// # Errors
/// [`WalletError::NoBackup`] if one of them has no finished backup; [`WalletError::Busy`] if it lives once and is here, and not claimed: whoever had the book
/// could claim it, too.
pub fn book_of(state: &State, values: &[ValueId], now: Seconds) -> Result<Book, WalletError> {
    let mut entries: Vec<BookEntry> = Vec::new();
    for id in values {
        let value = state.values.get(id).ok_or(WalletError::Unknown("value"))?;
        let backup = value.backup.and_then(|b| state.backups.get(&b)).ok_or(WalletError::NoBackup)?;
        if entries.iter().any(|e| e.backup == backup.id) {
            continue;
        }
        if backup.must_claim() && backup.values.iter().any(|meta| state.is_local(&meta.id)) {
            return Err(WalletError::Busy);
        }
        entries.push(entry_of(backup)?);
    }
    let used = |safe: &&KnownSafe| entries.iter().flat_map(|e| &e.deposits).any(|d| d.safe == safe.id);
    let safes = state.safes.values().filter(used).map(|safe| KnownSafe { token: None, ..safe.clone() }).collect();
    Ok(Book { suite: SUITE, written: now, safes, entries })
}

/// What a book says of a backup.
///
/// # Errors
/// [`WalletError::NoBackup`] if not all of its certificates are there.
pub fn entry_of(backup: &Backup) -> Result<BookEntry, WalletError> {
    told_of(backup, |d| {
        let certificate = d.certificate.clone()?;
        Some(BookDeposit { id: d.id, safe: d.safe, segment: d.segment, d: d.d.clone(), certificate, owner: d.owner })
    })
}

fn told_of<D>(backup: &Backup, of: impl Fn(&Deposit) -> Option<D>) -> Result<BookEntry<D>, WalletError> {
    let deposits = backup.deposits.iter().map(|d| of(d).ok_or(WalletError::NoBackup));
    Ok(BookEntry {
        backup: backup.id,
        values: backup.values.clone(),
        plan: backup.plan.clone(),
        bundle: backup.bundle,
        segment_len: backup.segment_len,
        finished: backup.finished.ok_or(WalletError::NoBackup)?,
        deposits: deposits.collect::<Result<_, WalletError>>()?,
        pieces: backup.kept.clone(),
    })
}

/// A token as the owner pasted it; none if it is nothing or too long to be one.
pub fn given(token: &str) -> Option<String> {
    let token = token.trim();
    (!token.is_empty() && token.len() <= MAX_TOKEN_LEN).then(|| token.to_owned())
}
