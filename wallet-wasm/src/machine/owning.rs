//! Transitions of the owner: an enrolment is begun, comes to its end safe by safe, and the book at the safes follows what this wallet has.

use std::collections::BTreeSet;

use protocol::{
    book::{Book, KnownSafe},
    bundle::ValueMeta,
    ids::{BackupId, SafeId, ValueId},
    owner::{
        book::HeadContent,
        kit::Printed,
        messages::{Epoch, Mark},
    },
    register::liars,
};
use rand_core::CryptoRng;

use super::{
    Transition, WalletError,
    chapters::chapter_backup_of,
    importing::{backup_of, is_before, right_ones},
};
use crate::{
    book::{head_of, no_book},
    owner::{MAX_AHEAD, MAX_LEAP, Making, Owner, Reached, Return, Seat},
    state::{Backup, Key, Level, Operation, Row, Stage, Value},
};

/// Whether somebody has written since this device looked: what it knows is not the newest. What stands in its own epoch it wrote itself.
fn is_news(owner: &Owner, there: &Mark) -> bool {
    let place = |mark: &Mark| (mark.epoch, mark.sequence);
    there.epoch != owner.epoch && owner.base.is_none_or(|base| place(&base) < place(there))
}

/// A new enrolment, as the shell made it.
#[derive(Debug, Clone)]
pub struct Enrol {
    /// The recovery name.
    pub name: String,
    /// The stretched name.
    pub name_key: protocol::crypto::Secret,
    /// This wallet's credential.
    pub credential: protocol::crypto::Secret,
    /// What the owner calls this device.
    pub label: String,
    /// How many safes must answer.
    pub threshold: u8,
    /// What is given to the safes.
    pub making: Making,
    /// This wallet's first turn to write the book.
    pub epoch: Epoch,
}

impl Transition<'_> {
    pub(super) fn owner(&self) -> Result<Owner, WalletError> {
        self.state.owner.clone().ok_or(WalletError::Unknown("owner"))
    }

    /// One commit has one record of the owner.
    pub(super) fn put_owner(&mut self, owner: Owner) {
        self.changes.put.retain(|row| !matches!(row, Row::Owner(_)));
        self.changes.put.push(Row::Owner(Box::new(owner)));
    }

    pub(super) fn enrol(&mut self, new: Enrol) -> Result<(), WalletError> {
        if self.state.owner.is_some() {
            return Err(WalletError::Busy);
        }
        let seats: Vec<Seat> = new.making.given.iter().map(|given| Seat::new(given.safe)).collect();
        if seats.iter().any(|seat| !self.state.safes.contains_key(&seat.safe)) {
            return Err(WalletError::Unknown("safe"));
        }
        self.note(Level::Info, format!("Enrolment as “{}” was begun at {} safes.", new.name, seats.len()));
        self.put_owner(Owner {
            name: new.name,
            name_key: new.name_key,
            credential: new.credential,
            threshold: new.threshold,
            seats,
            making: Some(new.making),
            root: None,
            epoch: new.epoch,
            head: None,
            content: None,
            superseded: false,
            left_out: 0,
            base: None,
            loose: 0,
            gone: Vec::new(),
            label: new.label,
            kit: None,
            generation: 1,
            changing: None,
            leaving: Vec::new(),
            former: Vec::new(),
            left: Vec::new(),
            changed: None,
            renewing: None,
            announced: None,
            held: Vec::new(),
        });
        Ok(())
    }

    pub(super) fn owner_reached(
        &mut self,
        safe: &SafeId,
        reached: Reached,
        number: Option<u32>,
    ) -> Result<(), WalletError> {
        let mut owner = self.owner()?;
        let seat = owner.seats.iter_mut().find(|seat| seat.safe == *safe).ok_or(WalletError::Unknown("safe"))?;
        // An answer that comes late says nothing new.
        seat.reached = seat.reached.max(reached);
        seat.number = seat.number.or(number);
        if owner.seats.iter().all(|seat| seat.reached == Reached::Committed)
            && let Some(making) = owner.making.take()
        {
            owner.root = Some(making.root);
            self.note(Level::Info, format!("You are enrolled as “{}”.", owner.name));
        }
        self.put_owner(owner);
        Ok(())
    }

    pub(super) fn owner_forgot(&mut self, safe: &SafeId, from: Reached, to: Reached) -> Result<(), WalletError> {
        let mut owner = self.owner()?;
        // An answer that comes late says nothing new.
        let late = |seat: &&mut Seat| seat.safe == *safe && seat.reached == from && to < from;
        if owner.making.is_some()
            && let Some(seat) = owner.seats.iter_mut().find(late)
        {
            seat.reached = to;
            seat.back = seat.back.saturating_add(1);
            self.put_owner(owner);
        }
        Ok(())
    }

    /// The owner, if it is its turn of now that a safe speaks of: an answer to what was asked in a turn before this one says nothing of it.
    fn owner_in(&self, epoch: Epoch) -> Result<Option<Owner>, WalletError> {
        Ok(Some(self.owner()?).filter(|owner| owner.epoch == epoch))
    }

    pub(super) fn owner_promised(
        &mut self,
        safe: &SafeId,
        epoch: Epoch,
        there: Option<Mark>,
    ) -> Result<(), WalletError> {
        let Some(mut owner) = self.owner_in(epoch)? else { return Ok(()) };
        // Once the turn is this wallet's, nothing written in an earlier one counts any more that did not before: what is there was written to too few.
        let firm = owner.promised() >= owner.quorum();
        let counts = |there: &Mark| !firm || there.epoch > owner.epoch;
        if there.is_some_and(|there| is_news(&owner, &there) && counts(&there)) {
            return self.owner_superseded(safe, epoch);
        }
        owner.known_mut().filter(|seat| seat.safe == *safe).for_each(|seat| seat.promised = true);
        self.put_owner(owner);
        Ok(())
    }

    pub(super) fn owner_written(&mut self, safe: &SafeId, epoch: Epoch, sequence: u64) -> Result<(), WalletError> {
        let Some(mut owner) = self.owner_in(epoch)? else { return Ok(()) };
        if let Some(seat) = owner.writing_mut().find(|seat| seat.safe == *safe) {
            seat.written = seat.written.max(sequence);
        }
        self.put_owner(owner);
        Ok(())
    }

    /// So many safes may lie as [`liars`] says; a turn that counts was promised by so many that more than those say so. Where so few are left that no head of this device
    /// can count any more, its owner has to come back on it in any case.
    pub(super) fn owner_superseded(&mut self, safe: &SafeId, epoch: Epoch) -> Result<(), WalletError> {
        let Some(mut owner) = self.owner_in(epoch)? else { return Ok(()) };
        // Also at a safe that was left: it is not asked over and over.
        owner.known_mut().filter(|seat| seat.safe == *safe).for_each(|seat| seat.turned = true);
        let turned = owner.seats.iter().filter(|seat| seat.turned).count();
        let short = owner.seats.len() - turned < owner.quorum();
        if !owner.superseded && (short || turned > liars(owner.seats.len())) {
            let text = "Another device keeps the book at your safes now. What you back up here is not in it.";
            self.note(Level::Warning, text);
            owner.superseded = true;
        }
        self.put_owner(owner);
        Ok(())
    }

    /// On a device that has nothing; or again, for safes that were away the first time, or to take the book back from another device.
    pub(super) fn owner_returned(&mut self, back: Return) -> Result<(), WalletError> {
        let before = self.state.owner.as_ref();
        if before.is_some_and(|owner| owner.making.is_some() || !owner.name_key.same_as(&back.name_key)) {
            return Err(WalletError::Busy);
        }
        // What this device itself has taken the place of is not the owner's any more, although too few safes show the newer one now: nobody else would have it forgotten.
        if before.is_some_and(|owner| back.generation < owner.generation) {
            return Err(WalletError::Outdated);
        }
        // Another device took its turn, or wrote, and this one has not heard so.
        let newest = back.newest.as_ref().map(|(head, _)| head.mark);
        // So has a safe heard that is to join, and is asked by nobody who comes back.
        let heard = before.iter().flat_map(|owner| owner.writing()).filter_map(|seat| seat.heard);
        let near = back.seen.counter.saturating_add(MAX_AHEAD);
        let heard = heard.filter(|epoch| epoch.counter <= near).max();
        let seen = back.seen.max(heard.unwrap_or(Epoch::NONE));
        let epoch = Epoch { counter: back.epoch.counter.max(seen.counter.saturating_add(1)), ..back.epoch };
        // A store that was set back does not know what it has written itself since.
        let ahead = |owner: &Owner, there: &Mark| {
            let own = owner.head.as_ref().map(|head| head.mark).filter(|own| own.epoch == there.epoch);
            let follows = |own: Mark| own.sequence > there.sequence + 1 || own.before == there.digest;
            let differs = own.is_none_or(|own| own != *there && (own.sequence <= there.sequence || !follows(own)));
            there.epoch == owner.epoch && differs
        };
        let news = |owner: &Owner| newest.is_some_and(|mark| is_news(owner, &mark) || ahead(owner, &mark));
        let overtaken = |owner: &Owner| seen > owner.epoch || news(owner);
        // Whose turn it is already goes on with it.
        let same = |owner: &&Owner| owner.root.as_ref().is_some_and(|root| root.same_as(&back.root));
        let made = |owner: &&Owner| owner.changing.as_ref().is_some_and(|own| own.making.root.same_as(&back.root));
        // Nor has anybody written since who comes back by the enrolment that he has made himself, before it was his.
        let alone = before.filter(|owner| !owner.superseded && !overtaken(owner));
        let alone = alone.filter(|owner| same(owner) || made(owner));
        let turn = alone.filter(same);
        let (earlier, exactly) = (back.earlier, back.exactly);
        let (head, content) = back.newest.unzip();
        let content = content.map(|mut content| {
            if earlier.is_some() && exactly {
                (content.book, content.chapters, content.gone) = (no_book(), Vec::new(), Vec::new());
            }
            content
        });
        let HeadContent { mut book, chapters, gone, changed, announced, held, left, .. } =
            content.unwrap_or_else(|| HeadContent::new(no_book()));
        // Where a safe has just answered is where it stands, whatever a book says.
        for safe in back.safes {
            if let Some(known) = self.state.safes.get(&safe.id).filter(|known| known.url != safe.url) {
                self.changes.put.push(Row::Safe(Box::new(KnownSafe { url: safe.url.clone(), ..known.clone() })));
            }
            match book.safes.iter_mut().find(|known| known.id == safe.id) {
                Some(known) => known.url = safe.url,
                None => book.safes.push(safe),
            }
        }
        let named: Vec<BackupId> = book.entries.iter().map(|entry| entry.backup).collect();
        match alone {
            Some(alone) => {
                // It is of this turn or before: what stands in it and is not known here was let go here since.
                book.entries.clear();
                self.take_over_book(book, Some(&alone.held))?;
                self.read_chapters_again();
            }
            None => {
                self.take_over_book(book, Some(&held))?;
                self.hold(&held);
                self.follow_chapters(chapters.into_iter().map(chapter_backup_of).collect())?;
            }
        }
        // Also where it is known from a change that has not come so far, or from an enrolment before.
        let same_key = |owner: &&Owner| owner.credential.same_as(&back.credential);
        let seat = |safe: SafeId, number: Option<u32>| {
            let known = before.and_then(|owner| owner.seat(&safe)).cloned().unwrap_or_else(|| Seat::new(safe));
            let number = number.or_else(|| before.filter(same_key)?.own_number_at(&safe));
            let (promised, written) = if turn.is_some() { (known.promised, known.written) } else { (false, 0) };
            let reached = if number.is_some() { Reached::Committed } else { Reached::Named };
            Seat { number, reached, promised, written, ..Seat::new(safe) }
        };
        let seats = back.seats.into_iter().map(|(safe, number)| seat(safe, number)).collect();
        self.note(Level::Info, format!("You are back as “{}”.", back.name));
        let owner = match turn {
            Some(turn) => Owner { seats, ..turn.clone() },
            None => Owner {
                base: head.as_ref().map(|head| head.mark),
                name: back.name,
                name_key: back.name_key,
                credential: back.credential,
                threshold: back.threshold,
                seats,
                making: None,
                root: Some(back.root),
                epoch,
                head,
                content: None,
                // Whoever only reads leaves the turn where it is.
                superseded: back.reads,
                left_out: 0,
                loose: 0,
                gone: alone.map_or(gone, |owner| owner.gone.clone()),
                label: back.label,
                // The paper is the same, whichever device is in use.
                kit: before.and_then(|owner| owner.kit.clone()),
                generation: back.generation,
                changing: None,
                leaving: Vec::new(),
                former: Vec::new(),
                // Whoever has the root before could read that head until now.
                changed: if back.bridged { Some(self.now) } else { changed },
                renewing: None,
                // One that is in force by now is over. Whoever has a stolen wallet may have written any number: it must leave some for the owner.
                announced: announced
                    .filter(|other| (1..=MAX_LEAP).contains(&other.generation.saturating_sub(back.generation))),
                held: alone.map_or(held, |owner| owner.held.clone()),
                left: alone.map_or(left, |owner| owner.left.clone()),
            },
        };
        let mut owner = before.map_or(owner.clone(), |before| before.carry_over(owner));
        owner.follow_left();
        if let Some(HeadContent { book, chapters, gone, .. }) = earlier {
            let held = owner.held.clone();
            if exactly {
                self.part_from(&book)?;
            }
            self.take_back(book, &held, &named)?;
            self.restore_chapters(chapters.into_iter().map(chapter_backup_of).collect(), &gone, exactly);
        }
        // What it had begun came to its end at the safes while another device had the turn.
        self.switch_owner(&mut owner);
        self.put_owner(owner);
        Ok(())
    }

    /// What stood in a book before: all of it is taken back, also what is known, for a thief may have let it go and left it in the book. A value that has another backup by now keeps
    /// that, if the newest head names it; and what lives once is as the newest head says.
    pub(super) fn take_back(&mut self, book: Book, held: &[BackupId], named: &[BackupId]) -> Result<(), WalletError> {
        for safe in book.safes {
            if !self.state.safes.contains_key(&safe.id) {
                self.changes.put.push(Row::Safe(Box::new(safe)));
            }
        }
        for (entry, ids) in right_ones(book.entries) {
            let known = |id: &ValueId| self.value(id).is_some();
            let other = |id: &ValueId| self.value(id)?.backup.filter(|other| *other != entry.backup);
            let others: BTreeSet<BackupId> = ids.iter().filter_map(other).collect();
            let once = entry.values.iter().any(ValueMeta::lives_once);
            if once && ids.iter().any(known) {
                continue;
            }
            // What this device alone knows, from longer ago still, gives way: of a content that was changed by then, or a backup that was made anew. What it is of is here.
            let local = |backup: &Backup| backup.values.iter().all(|meta| self.state.is_local(&meta.id));
            let at_rest = |backup: &Backup| self.state.successor(&backup.id).is_none() && local(backup);
            let known = |other| {
                let other = self.state.backups.get(other).filter(|other| !named.contains(&other.id))?;
                (is_before(other, &entry) && at_rest(other)).then_some(other)
            };
            let outdated: Vec<Backup> = others.iter().filter_map(known).cloned().collect();
            let stays = |id: &ValueId| other(id).is_some_and(|other| outdated.iter().all(|one| one.id != other));
            let ids: Vec<ValueId> = ids.iter().copied().filter(|id| !stays(id)).collect();
            if ids.is_empty() {
                continue;
            }
            for other in outdated {
                match self.unused_without(&other, &ids) {
                    Some(_) if other.begun.is_some() => self.begin_release(other)?,
                    unused => self.changes.remove.extend(unused),
                }
            }
            let backup = backup_of(entry);
            let backup = if once { Backup { held: held.contains(&backup.id), ..backup } } else { self.lost(backup) };
            let backup = self.follow_all(backup, &ids, true);
            // It may have been known no more a moment ago, for another value.
            self.changes.remove.retain(|key| *key != Key::Backup(backup.id));
            self.put(backup);
        }
        Ok(())
    }

    /// Its owner wants everything as it stood in this book: of a value that has another backup by now, that one is known no more. What is on this device stays.
    pub(super) fn part_from(&mut self, book: &Book) -> Result<(), WalletError> {
        let entries = right_ones(book.entries.clone());
        let all: Vec<ValueId> = entries.iter().flat_map(|(_, ids)| ids).copied().collect();
        for (entry, ids) in &entries {
            for value in ids.iter().filter_map(|id| self.state.values.get(id)) {
                let Some(other) = value.backup.filter(|other| *other != entry.backup) else { continue };
                let Some(parted) = self.state.backups.get(&other) else { continue };
                // What is only read is given up for this.
                if !parted.is_only_read() || parted.lives_once() {
                    continue;
                }
                let told = entries.iter().any(|(entry, _)| entry.backup == other);
                let gone = self.unused_without(parted, &all).filter(|key| !told && !self.changes.remove.contains(key));
                self.changes.put.push(Row::Value(Box::new(Value { backup: None, ..value.clone() })));
                self.changes.remove.extend(gone);
                // It was to take the place of what is known no more.
                let next = self.state.successor(&other).filter(|next| self.changed(&next.id).is_none()).cloned();
                next.into_iter().try_for_each(|next| self.begin_release(next))?;
            }
        }
        Ok(())
    }

    /// A backup of a book of before, all of whose deposits are to be taken back; as this device has it, if it is the same one.
    pub(super) fn lost(&self, earlier: Backup) -> Backup {
        // The ids are drawn at random: somebody who had the book has put others in their place.
        let same = |own: &&Backup| {
            own.deposits.len() == earlier.deposits.len()
                && own.deposits.iter().all(|own| {
                    let mut all = earlier.deposits.iter();
                    all.any(|d| d.id == own.id && d.safe == own.safe && d.d.same_as(&own.d))
                })
        };
        let known = self.latest(&earlier.id);
        let mut backup = known.filter(same).cloned().unwrap_or(earlier);
        if let Some(known) = known.filter(|known| known.operation == Some(Operation::Recover)) {
            (backup.operation, backup.wanted) = (known.operation, known.wanted.clone());
        }
        if backup.operation == Some(Operation::Release) {
            (backup.operation, backup.then) = (None, None);
        }
        for deposit in &mut backup.deposits {
            if deposit.stage >= Stage::Held && deposit.signed_for().is_some() {
                (deposit.stage, deposit.receipt, deposit.restore) = (Stage::Held, None, Some(true));
            }
        }
        backup
    }

    /// What is known already of what lives once: whoever had it may have let it go since, or have it back.
    fn hold(&mut self, held: &[BackupId]) {
        let here = |backup: &Backup| backup.values.iter().any(|meta| self.state.is_local(&meta.id));
        let stays = |backup: &&Backup| !self.changes.remove.contains(&Key::Backup(backup.id));
        let open = |backup: &&Backup| backup.must_claim() && backup.operation.is_none() && !here(backup);
        let differs = |backup: &&Backup| backup.held != held.contains(&backup.id);
        let all = self.state.backups.values().filter(stays).filter(open).filter(differs);
        let others: Vec<Backup> = all.cloned().collect();
        others.into_iter().for_each(|backup| self.put(Backup { held: !backup.held, ..backup }));
    }

    /// A kit was made, tried and printed.
    pub(super) fn kit_printed(&mut self, printed: Printed) -> Result<(), WalletError> {
        let owner = self.owner()?;
        self.note(Level::Info, format!("The kit “{}” was made, tried and printed.", printed.code));
        self.put_owner(Owner { kit: Some(printed), ..owner });
        Ok(())
    }

    /// The book follows: what this transition changes is named in the next head, in the same commit.
    pub(super) fn keep_book<R: CryptoRng>(&mut self, rng: &mut R) -> Result<(), WalletError> {
        let touched = |row: &Row| matches!(row, Row::Backup(_) | Row::Safe(_) | Row::Value(_) | Row::Owner(_));
        let removed = !self.changes.remove.is_empty();
        let changed = self.changes.put.iter().rev().find_map(|row| match row {
            Row::Owner(owner) => Some(&**owner),
            _ => None,
        });
        let Some(owner) = changed.or(self.state.owner.as_ref()).filter(|owner| owner.writes()) else { return Ok(()) };
        if !(removed || self.changes.put.iter().any(touched)) {
            return Ok(());
        }
        let advanced = owner.advance(head_of(self.state, &self.changes, owner), rng)?;
        if let Some(owner) = advanced {
            self.put_owner(owner);
        }
        Ok(())
    }
}
