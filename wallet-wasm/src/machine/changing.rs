//! Transitions of a change: the next enrolment takes the place of the one before, safe by safe, and what the root before has told of is protected anew.

use protocol::{
    ids::{BackupId, SafeId},
    owner::{
        book::{Left, MAX_LEFT},
        enrolment::OwnerRoot,
        messages::Epoch,
    },
};

use super::{Transition, WalletError};
use crate::{
    changing::{Change, Changing, Renewing, Step, renewable},
    owner::{Owner, Seat},
    state::{Level, Row},
};

impl Owner {
    /// What goes on on a device whose owner has come back: the change that it had begun, by whichever of the two enrolments.
    pub(super) fn carry_over(&self, back: Self) -> Self {
        let root = |owner: &Self| owner.root.clone();
        let same = root(self).zip(root(&back)).is_some_and(|(mine, found)| mine.same_as(&found));
        let is_back = |safe: &SafeId| back.seat(safe).is_some();
        let turn =
            |seat: &Seat| Seat { promised: seat.promised && back.epoch == self.epoch, turned: false, ..seat.clone() };
        // Where another device has left, this one is known still by what it has there itself.
        let same_key = self.credential.same_as(&back.credential);
        let own = self.seats.iter().filter(|seat| same_key && seat.number.is_some());
        let known = |seat: &&Seat| self.former(&seat.safe).is_none();
        let former = own.filter(known).chain(&self.former).filter(|seat| !is_back(&seat.safe)).map(turn).collect();
        let leaving = self.leaving.iter().filter(|key| !is_back(&key.safe)).cloned().collect();
        // Until it is done, also if it is not the turn of before.
        let renewing = self.renewing.clone().filter(|_| same).or(back.renewing.clone());
        let kept = Self { former, leaving, renewing, ..back }.with_left(&self.left);
        let Some(changing) = self.changing.clone() else { return kept };
        let mine = changing.announced.filter(|own| kept.announced.as_ref() == Some(own));
        // Its owner has begun another one in its place, on another device.
        if same && kept.announced.is_some() && mine.is_none() {
            return kept;
        }
        if same {
            let kept = Self { announced: None, ..kept };
            let mut changing = changing;
            // Who makes a safe forget is another device with a change of its own, whose turn is over now.
            changing.sites.iter_mut().for_each(|site| site.back = 0);
            // The turn is another one.
            for seat in &mut changing.joining {
                seat.ask_again();
                if kept.epoch != self.epoch {
                    (seat.promised, seat.written) = (false, 0);
                }
            }
            return Self { changing: Some(changing), changed: kept.changed.or(self.changed), ..kept };
        }
        let found = root(&kept).is_some_and(|root| changing.making.root.same_as(&root));
        if !found {
            // A third one: whatever was to be here is over.
            return self.leave_behind(&changing, kept);
        }
        // Enough safes had it in force already. What it has to forget it knows from here.
        let mut before = Self { changing: Some(changing), ..self.clone() };
        before.switch(kept.changed.unwrap_or(0));
        let Self { changing, leaving, former, left, renewing, .. } = before;
        Self { changing, leaving, former, renewing, ..kept }.with_left(&left)
    }

    /// Whoever made the enrolment that is in force by now knew nothing of the safes that only those before this change had: this device has the keys to leave them.
    fn leave_behind(&self, changing: &Changing, mut kept: Self) -> Self {
        let Some(root) = kept.root.clone().map(OwnerRoot::new) else { return kept };
        for key in &changing.old {
            let told = kept.leaving.iter().any(|other| other.safe == key.safe);
            // There what it was to be is in force by now, and this key is that of what was before.
            let over = changing.site(&key.safe).is_some_and(|site| site.step >= Step::Committed);
            if told || over || kept.seat(&key.safe).is_some() {
                continue;
            }
            if kept.left_at(&key.safe).is_none() {
                kept.left.push(Left::new(&root, key.safe));
            }
            kept.leaving.push(key.clone());
        }
        kept.left.drain(..kept.left.len().saturating_sub(MAX_LEFT));
        kept
    }

    /// What this device has left itself, or knows the way back to, and no head may have said yet.
    fn with_left(self, own: &[Left]) -> Self {
        let leaves = |left: &Left| self.leaving.iter().any(|key| key.safe == left.safe);
        let known = |left: &Left| left.number.is_some() && self.seat(&left.safe).is_none();
        let told = |left: &Left| {
            // Under another key it was left once more since.
            self.left_at(&left.safe).is_some_and(|other| other.number.is_some() || !other.key.same_as(&left.key))
        };
        let keeps = |left: &Left| leaves(left) || (known(left) && !told(left));
        let mine = |left: &Left| own.iter().any(|own| own.safe == left.safe && keeps(own));
        let others = self.left.iter().filter(|left| !mine(left)).cloned();
        let heard = |own: &Left| {
            let there = self.left_at(&own.safe).filter(|there| there.key.same_as(&own.key));
            Left { number: own.number.or(there.and_then(|there| there.number)), ..own.clone() }
        };
        let mut left: Vec<Left> = others.chain(own.iter().filter(|left| keeps(left)).map(heard)).collect();
        left.drain(..left.len().saturating_sub(MAX_LEFT));
        Self { left, ..self }
    }
}

impl Transition<'_> {
    pub(super) fn change_owner(&mut self, change: Change) -> Result<(), WalletError> {
        let owner = self.owner()?;
        // Of one that is in force nothing is lost that the next one does not do as well.
        let busy = owner.changing.as_ref().is_some_and(|changing| !changing.switched);
        if busy || !owner.writes() {
            return Err(WalletError::Busy);
        }
        if owner.announced.is_some() && !change.instead {
            return Err(WalletError::Announced);
        }
        if change.making.given.iter().any(|given| !self.state.safes.contains_key(&given.safe)) {
            return Err(WalletError::Unknown("safe"));
        }
        // Such a safe knows neither of both passphrases yet: one that stays has to have what is in force.
        let late = |safe: &SafeId| {
            owner.changing.as_ref().and_then(|now| now.site(safe)).is_some_and(|site| site.step < Step::Committed)
        };
        if change.making.given.iter().any(|given| late(&given.safe)) {
            return Err(WalletError::Busy);
        }
        let changing = Changing::begin(&owner, change)?;
        self.note(
            Level::Info,
            format!("A new enrolment as “{}” was begun at {} safes.", owner.name, changing.sites.len()),
        );
        self.put_owner(Owner { changing: Some(changing), announced: None, ..owner });
        Ok(())
    }

    pub(super) fn cancel_change(&mut self) -> Result<(), WalletError> {
        let owner = self.owner()?;
        match &owner.changing {
            None => return Ok(()),
            // It may be in force at a safe whose answer was lost.
            Some(changing) if changing.is_announced() => return Err(WalletError::Busy),
            Some(_) => {}
        }
        self.note(Level::Info, "The new enrolment was given up; everything is as it was.");
        self.put_owner(Owner { changing: None, ..owner });
        Ok(())
    }

    pub(super) fn owner_stepped(
        &mut self,
        safe: &SafeId,
        from: Step,
        to: Step,
        number: Option<u32>,
    ) -> Result<(), WalletError> {
        let mut owner = self.owner()?;
        let Some(changing) = owner.changing.as_mut() else { return Ok(()) };
        let site = changing.sites.iter_mut().find(|site| site.safe == *safe);
        // An answer that comes late says nothing new.
        let Some(site) = site.filter(|site| site.step == from) else { return Ok(()) };
        if to < from {
            site.back = site.back.saturating_add(1);
            let joins = changing.joining.iter_mut().find(|seat| seat.safe == *safe);
            // What it had taken of the book is gone, too.
            joins.into_iter().for_each(|seat| (seat.promised, seat.written) = (false, 0));
        }
        if to == Step::Named {
            changing.old.retain(|key| key.safe != *safe);
        }
        site.step = to;
        changing.announce();
        match number {
            // It was opened with the key that all devices share.
            Some(_) if to == Step::Opened && owner.shared(safe).is_some() => owner.know_left(safe, number),
            Some(_) => owner.writing_mut().filter(|seat| seat.safe == *safe).for_each(|seat| seat.number = number),
            None => {}
        }
        if to == Step::Current {
            owner.left.retain(|left| left.safe != *safe);
        }
        self.switch_owner(&mut owner);
        if owner.has_changed() {
            owner.changing = None;
            self.note(Level::Info, format!("All safes of “{}” have the new enrolment only.", owner.name));
        }
        self.put_owner(owner);
        Ok(())
    }

    /// The next enrolment takes the place of the one before, if enough safes have it.
    pub(super) fn switch_owner(&mut self, owner: &mut Owner) {
        if owner.may_switch() {
            owner.switch(self.now);
            self.note(Level::Info, "The new enrolment is in force. The one before is being forgotten.");
        }
    }

    pub(super) fn owner_left(&mut self, safe: &SafeId, number: Option<u32>) -> Result<(), WalletError> {
        let mut owner = self.owner()?;
        let (name, before) = (self.state.nickname(safe), owner.leaving.len());
        owner.leaving.retain(|key| key.safe != *safe);
        if owner.leaving.len() == before {
            return Ok(());
        }
        // It was told this turn on the way, if it was this device that it heard.
        let seats = owner.former.iter_mut().filter(|seat| seat.safe == *safe);
        seats.for_each(|seat| (seat.promised, seat.left) = (seat.promised || number.is_some(), true));
        owner.know_left(safe, number);
        self.note(Level::Info, format!("Safe “{name}” is no longer one of those that bring you back."));
        self.put_owner(owner);
        Ok(())
    }

    pub(super) fn owner_returns(&mut self, safe: &SafeId, number: Option<u32>) -> Result<(), WalletError> {
        let mut owner = self.owner()?;
        match number {
            Some(_) => owner.know_left(safe, number),
            None => owner.left.retain(|left| left.safe != *safe),
        }
        owner.follow_left();
        self.put_owner(owner);
        Ok(())
    }

    pub(super) fn owner_generation(
        &mut self,
        safe: &SafeId,
        generation: u32,
        promised: Epoch,
    ) -> Result<(), WalletError> {
        let mut owner = self.owner()?;
        let before = owner.is_outdated();
        // One that joins has its answer, too: it would be asked without a pause, and without end.
        let seats = owner.writing_mut().filter(|seat| seat.safe == *safe && seat.turned);
        seats.for_each(|seat| (seat.generation, seat.heard) = (Some(generation), Some(promised)));
        if owner.is_outdated() && !before {
            let text = "Your passphrase or your safes were changed on another device. Come back here with the passphrase of now.";
            self.note(Level::Warning, text);
        }
        self.put_owner(owner);
        Ok(())
    }

    /// A safe is gone from this wallet: nobody waits for it any more.
    pub(super) fn forget_former(&mut self, safe: &SafeId) {
        let Ok(mut owner) = self.owner() else { return };
        let before = (owner.leaving.len(), owner.former.len());
        owner.leaving.retain(|key| key.safe != *safe);
        owner.former.retain(|seat| seat.safe != *safe);
        if before != (owner.leaving.len(), owner.former.len()) {
            self.put_owner(owner);
        }
    }

    pub(super) fn renew_exposed(&mut self) -> Result<(), WalletError> {
        let owner = self.owner()?;
        if renewable(self.state).next().is_some() {
            self.put_owner(Owner { renewing: Some(Renewing::default()), ..owner });
        }
        Ok(())
    }

    /// A backup that was to be renewed and could not be is left to its owner.
    pub(super) fn leave_exposed(&mut self, id: BackupId) {
        let changed = self.changes.put.iter().rev().find_map(|row| match row {
            Row::Owner(owner) => Some(&**owner),
            _ => None,
        });
        let Some(owner) = changed.or(self.state.owner.as_ref()).filter(|owner| owner.renewing.is_some()) else {
            return;
        };
        let mut owner = owner.clone();
        if let Some(renewing) = owner.renewing.as_mut().filter(|all| !all.left.contains(&id)) {
            renewing.left.push(id);
            self.put_owner(owner);
        }
    }
}
