//! What a book brings: certificates from a file, and what the safes keep for the owner; and what becomes of a value that was changed on another device.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    book::{Book, BookEntry, Entered as _},
    bundle::{Lineage, MAX_TITLE_LEN, ValueMeta},
    certificate,
    codec::Bytes,
    crypto::blake3,
    ids::{BackupId, EditionId, ValueId},
};

use super::{Transition, WalletError};
use crate::{
    rules::needs_owner,
    state::{Backup, Deposit, Key, Level, Operation, Row, Stage, Value},
};

impl Transition<'_> {
    pub(super) fn import(&mut self, book: Book) -> Result<(), WalletError> {
        let titles: Vec<_> =
            book.entries.iter().filter_map(|entry| Some((entry.backup, entry.values.first()?.title.clone()))).collect();
        let Imported { new, older } = self.take_over_book(book, None)?;
        for (_, title) in titles.into_iter().filter(|(id, _)| new.contains(id)) {
            self.note(Level::Info, format!("Certificates of “{title}” were imported."));
        }
        if older {
            self.note(Level::Warning, "The file holds an older backup of a value that is here; it was left alone.");
        }
        Ok(())
    }

    /// Takes over what a book has and this wallet does not. `held`: it is what the safes keep for the owner, whose other devices may have made newer generations of what is here,
    /// and have these backups' values still.
    pub(super) fn take_over_book(&mut self, book: Book, held: Option<&[BackupId]>) -> Result<Imported, WalletError> {
        let (mut imported, own) = (Imported::default(), held.is_some());
        for safe in book.safes {
            if !self.state.safes.contains_key(&safe.id) {
                self.changes.put.push(Row::Safe(Box::new(safe)));
            }
        }
        let entries = right_ones(book.entries);
        let named: Vec<BackupId> =
            if own { entries.iter().map(|(entry, _)| entry.backup).collect() } else { Vec::new() };
        for (entry, mut ids) in entries {
            // What is known is taken over for the rest of its values, if these had to stay where they were.
            let here = self.state.backups.get(&entry.backup);
            if here.is_some() {
                ids.retain(|id| self.backup_of(id).is_some_and(|backup| backup.id != entry.backup));
            }
            if ids.is_empty() || here.is_some_and(|here| !here.is_only_read() || here.lives_once()) {
                continue;
            }
            let Way { ids, stays, apart, given_up, forgotten } = self.way_for(&entry, &ids, own, &named);
            imported.older |= stays;
            if let Some(title) = apart {
                let text = format!(
                    "“{title}” was changed on this device and on another one, and both have moved it out. This device keeps its own change. \
                     Recover it here, and come back here once more after the other device has been in use: then both are kept."
                );
                self.note(Level::Warning, text);
            }
            // What lives once goes as a whole.
            if ids.is_empty() || stays && entry.values.iter().any(ValueMeta::lives_once) {
                continue;
            }
            self.changes.remove.extend(forgotten.into_iter().map(Key::Backup));
            given_up.into_iter().try_for_each(|backup| self.begin_release(backup))?;
            let held = held.is_some_and(|held| held.contains(&entry.backup));
            let backup = self.latest(&entry.backup).cloned().unwrap_or_else(|| {
                imported.new.push(entry.backup);
                Backup { held, ..backup_of(entry) }
            });
            let backup = self.follow_all(backup, &ids, own);
            self.put(backup);
        }
        Ok(imported)
    }

    fn backup_of(&self, value: &ValueId) -> Option<&Backup> {
        self.state.values.get(value).and_then(|value| self.state.backups.get(value.backup.as_ref()?))
    }

    /// What becomes of the backups that these values of an entry have here. `own`: the entry is of what the safes keep for the owner, who has all of these there.
    fn way_for(&self, entry: &BookEntry, ids: &[ValueId], own: bool, named: &[BackupId]) -> Way {
        let others: Vec<&Backup> = ids.iter().filter_map(|id| self.backup_of(id)).collect();
        let is_local = |backup: &Backup| backup.values.iter().all(|meta| self.state.is_local(&meta.id));
        // Whoever made the newer one has let this one go. Which one that is the contents say, if one was made of the other; of two that each have a change of their
        // own it is the one in the book, and the other one becomes a value of its own.
        let succeeded = |backup: &Backup| {
            own && !named.contains(&backup.id)
                && match lineage(&entry.values, &backup.values) {
                    Lineage::Same => is_later(entry, backup),
                    Lineage::Later => true,
                    Lineage::Earlier => false,
                    // Of what another device made and nothing is here, the clock says more; and of what is not at the safes any more.
                    Lineage::Apart => {
                        let lost = || backup.begun.is_none() || !backup.is_enough(Deposit::is_sound);
                        is_local(backup) || is_later(entry, backup) && lost()
                    }
                }
        };
        // What lives once and is elsewhere may have come to the safes anew.
        let elsewhere = |backup: &Backup| {
            let older = backup.is_taken() || is_later(entry, backup);
            let here = backup.values.iter().any(|meta| self.state.is_local(&meta.id));
            let moved_on = backup.lives_once() && older && !here;
            match backup.operation {
                None => moved_on || succeeded(backup),
                // What it waits for is at no safe any more.
                Some(Operation::Recover | Operation::Drill | Operation::Vacate) => {
                    succeeded(backup) && !backup.lives_once()
                }
                Some(_) => false,
            }
        };
        let (stale, others): (Vec<&Backup>, Vec<&Backup>) = others.into_iter().partition(|b| elsewhere(b));
        // What was begun here before the newer one was known is given up; what is here stays.
        let (given_up, stay): (Vec<&Backup>, Vec<&Backup>) =
            others.into_iter().partition(|b| succeeded(b) && b.operation.is_some() && !b.lives_once());
        let next = stale.iter().filter(|b| !b.lives_once()).filter_map(|b| self.state.successor(&b.id));
        let given_up: Vec<&Backup> = given_up.into_iter().chain(next).collect();
        // A value that has another backup here keeps it; a file stays valid for the older one.
        let stays = |id: &ValueId| self.backup_of(id).is_some_and(|backup| stay.iter().any(|one| one.id == backup.id));
        let ids: Vec<ValueId> = ids.iter().copied().filter(|id| !stays(id)).collect();
        let apart = |backup: &&&Backup| {
            let made_here = own && !is_local(backup) && backup.begun.is_some() && !named.contains(&backup.id);
            made_here && lineage(&entry.values, &backup.values) == Lineage::Apart
        };
        let apart = stay.iter().find(apart).map(|backup| Self::title(backup));
        // What was made here may never have stood in a book that another device has read: nobody else would let it go. If somebody has, it is gone already.
        let mut unused: Vec<&Backup> =
            stale.into_iter().filter(|backup| self.unused_without(backup, &ids).is_some()).collect();
        unused.sort_by_key(|backup| backup.id);
        unused.dedup_by_key(|backup| backup.id);
        let (made_here, told): (Vec<&Backup>, Vec<&Backup>) =
            unused.into_iter().partition(|b| succeeded(b) && b.begun.is_some() && !b.lives_once());
        Way {
            stays: !stay.is_empty(),
            apart,
            given_up: given_up.into_iter().chain(made_here).cloned().collect(),
            forgotten: told.into_iter().map(|backup| backup.id).collect(),
            ids,
        }
    }

    /// These values of a backup have it now. What was here as it had been before is had back as it is now.
    pub(super) fn follow_all(&mut self, mut backup: Backup, ids: &[ValueId], own: bool) -> Backup {
        let all = backup.values.iter().filter(|meta| ids.contains(&meta.id) && self.follow(meta, &backup, own));
        let wanted: Vec<ValueId> = all.map(|meta| meta.id).collect();
        match backup.operation {
            _ if wanted.is_empty() || needs_owner(&backup.plan) => {}
            None => (backup.operation, backup.wanted) = (Some(Operation::Recover), wanted),
            // Without any in particular it is to bring all of them.
            Some(Operation::Recover) if !backup.wanted.is_empty() => {
                let more: Vec<ValueId> = wanted.into_iter().filter(|id| !backup.wanted.contains(id)).collect();
                backup.wanted.extend(more);
            }
            Some(_) => {}
        }
        backup
    }

    /// A value has this backup now. What is here of it may have been changed since, and stays; or it may lack a change that was made elsewhere, and becomes a value of its own: for good,
    /// if it has a change that the other one lacks, or if it is not the owner's book that says so, for of what a file names nobody knows whether the safes have it still; else until
    /// what was changed elsewhere is here. Whether the content of the backup is wanted in place of what was here.
    fn follow(&mut self, meta: &ValueMeta, of: &Backup, own: bool) -> bool {
        let backup = Some(of.id);
        let known = self.value(&meta.id).cloned();
        if known.as_ref().is_some_and(|known| known.backup == backup) {
            return false;
        }
        let Some(known) = known.clone().filter(|value| value.content.is_some()) else {
            self.keep_for_good(meta);
            self.changes.put.push(Row::Value(Box::new(Value { backup, ..Value::new(meta.clone()) })));
            // What was being brought back as it was before is brought back as it is now.
            let parted = || self.state.values.get(&meta.id)?.backup;
            let before = known.and_then(|known| known.backup).or_else(parted).filter(|_| own && !meta.lives_once());
            let recovers = |b: &Backup| b.operation == Some(Operation::Recover) && b.is_wanted(&meta.id);
            // Maybe it was just given up for this.
            let known = |id: BackupId| [self.latest(&id), self.state.backups.get(&id)];
            return before.is_some_and(|before| known(before).into_iter().flatten().any(recovers));
        };
        let lineage = meta.lineage(&known.meta);
        if meta.lives_once() || matches!(lineage, Lineage::Same | Lineage::Earlier) {
            // It is called what it is called here; and what has a backup of its own waits for nothing.
            self.changes.put.push(Row::Value(Box::new(Value { backup, until: None, ..known })));
            return false;
        }
        let (length, editions) = (meta.length, meta.editions.clone());
        let newer = ValueMeta { length, editions, ..known.meta.clone() };
        self.changes.put.push(Row::Value(Box::new(Value { meta: newer, content: None, backup, ..known.clone() })));
        let (title, gives_way) = (known.meta.title.clone(), own && lineage == Lineage::Later);
        let apart =
            apart_title(&title, if lineage == Lineage::Later { ", as it was here" } else { ", as changed here" });
        let (level, text) = match (gives_way, needs_owner(&of.plan)) {
            (true, false) => {
                (Level::Info, format!("“{title}” was changed on another device; this device takes that over."))
            }
            (true, true) => {
                let has = "Until you recover that here, what this device has of it is";
                (Level::Info, format!("“{title}” was changed on another device. {has} “{apart}”."))
            }
            (false, _) => {
                let later = lineage == Lineage::Later;
                let both = if later { "in what was imported" } else { "on this device and on another one" };
                let text = format!("“{title}” was changed {both}. Both are kept: yours is “{apart}” now.");
                (Level::Warning, text)
            }
        };
        self.note(level, text);
        self.set_apart(known, apart, gives_way);
        true
    }

    /// What is here of a value becomes a value of its own, which rules leave alone if it is to give way. Whatever a book names by its id, nothing of it is lost.
    pub(super) fn set_apart(&mut self, known: Value, title: String, gives_way: bool) {
        let edition = known.meta.edition();
        let mut id = apart_id(&known.meta.id, edition);
        while let Some(kept) = self.value(&id) {
            let root = |value: &Value| value.content.as_ref().and_then(|content| Some((content.root?, content.length)));
            if root(kept).is_some() && root(kept) == root(&known) {
                // Found out before.
                let stays = (!gives_way && kept.until.is_some()).then(|| kept.clone());
                let stays = stays.map(|kept| Value { until: None, left_alone: known.left_alone, ..kept });
                self.changes.put.extend(stays.map(|kept| Row::Value(Box::new(kept))));
                self.changes.discard.extend(known.content.map(|content| content.blob));
                return;
            }
            id = apart_id(&id, edition);
        }
        let (until, left_alone) =
            if gives_way { (Some(known.meta.id), Some(self.now)) } else { (None, known.left_alone) };
        let meta = ValueMeta { id, title, ..known.meta.clone() };
        let value = Value { meta, backup: None, left_alone, until, ..known };
        self.changes.put.push(Row::Value(Box::new(value)));
    }

    /// What was kept until a value is here, and with which its owner has done nothing.
    fn kept_until(&self, value: &ValueId) -> Vec<Value> {
        let waits = |kept: &&Value| kept.until == Some(*value) && kept.backup.is_none();
        let changed =
            self.changes.put.iter().filter_map(|row| if let Row::Value(kept) = row { Some(&**kept) } else { None });
        let ids: BTreeSet<ValueId> =
            self.state.values.values().chain(changed).filter(waits).map(|kept| kept.meta.id).collect();
        ids.iter().filter_map(|id| self.value(id)).filter(waits).cloned().collect()
    }

    /// What was kept stays from now on, for what was to be in its place is not made of it, or does not come: rules take care of it again.
    fn keep(&mut self, kept: Value) {
        self.changes.put.push(Row::Value(Box::new(Value { left_alone: None, until: None, ..kept })));
    }

    /// A value is to have this content, and not what was to come before: what was kept until then, and is no earlier one of it, is kept for good.
    fn keep_for_good(&mut self, meta: &ValueMeta) {
        let gives_way = |kept: &Value| matches!(meta.lineage(&kept.meta), Lineage::Same | Lineage::Later);
        let all = self.kept_until(&meta.id).into_iter().filter(|kept| !gives_way(kept));
        all.collect::<Vec<_>>().into_iter().for_each(|kept| self.keep(kept));
    }

    /// These values of a backup are here now, and what was kept until then goes, if what is here was made of it, or is the same.
    pub(super) fn let_earlier_go(&mut self, backup: &Backup, here: &[ValueId]) {
        let root = |value: &Value| value.content.as_ref().and_then(|content| Some((content.root?, content.length)));
        for meta in backup.values.iter().filter(|meta| here.contains(&meta.id)) {
            let now = self.value(&meta.id).and_then(root);
            for kept in self.kept_until(&meta.id) {
                if meta.lineage(&kept.meta) == Lineage::Later || now.is_some() && now == root(&kept) {
                    self.changes.remove.push(Key::Value(kept.meta.id));
                    self.changes.discard.extend(kept.content.map(|content| content.blob));
                } else {
                    self.keep(kept);
                }
            }
        }
    }

    /// What was to come does not, and what is here is again what rules take care of; should it come after all, it gives way still.
    pub(super) fn take_up_earlier(&mut self, backup: &Backup) {
        let wanted = self.values_of(backup).into_iter().filter(|id| backup.is_wanted(id));
        for kept in wanted.flat_map(|id| self.kept_until(&id)).collect::<Vec<_>>() {
            self.changes.put.push(Row::Value(Box::new(Value { left_alone: None, ..kept })));
        }
    }

    /// Its owner wants a value no more: what was kept until it is here stays.
    pub(super) fn keep_what_waits_for(&mut self, value: &ValueId) {
        self.kept_until(value).into_iter().for_each(|kept| self.keep(kept));
    }
}

/// The id of a content of a value as a value of its own: the same one wherever that is found out.
fn apart_id(value: &ValueId, edition: Option<EditionId>) -> ValueId {
    let edition = edition.map_or_else(Vec::new, |edition| edition.0.to_vec());
    let hash = blake3(&[&b"strongroom 1 set apart"[..], &value.0, &edition].concat());
    let mut id = [0; ValueId::LEN];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    ValueId(id)
}

/// A title that says so, and is none too long.
pub(super) fn apart_title(title: &str, note: &str) -> String {
    let mut end = title.len().min(MAX_TITLE_LEN.saturating_sub(note.len()));
    while !title.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{note}", &title[..end])
}

/// The entries, each with those of its values for which it is right: of several for one value that with the later content, and of the same content the later one. Those that are right
/// for none are left out.
pub(super) fn right_ones(entries: Vec<BookEntry>) -> Vec<(BookEntry, Vec<ValueId>)> {
    let mut right: BTreeMap<ValueId, (usize, &ValueMeta)> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        for meta in &entry.values {
            let beats = |(other_at, other): &(usize, &ValueMeta)| {
                entries.get(*other_at).is_none_or(|other_entry| beats((entry, meta), (other_entry, other)))
            };
            if right.get(&meta.id).is_none_or(beats) {
                right.insert(meta.id, (at, meta));
            }
        }
    }
    let right: BTreeMap<ValueId, usize> = right.into_iter().map(|(id, (at, _))| (id, at)).collect();
    let with_right = |(at, entry): (usize, BookEntry)| {
        let ids = entry.values.iter().map(|meta| meta.id).filter(|id| right.get(id) == Some(&at));
        let ids: Vec<ValueId> = ids.collect();
        (!ids.is_empty()).then_some((entry, ids))
    };
    entries.into_iter().enumerate().filter_map(with_right).collect()
}

/// Whether one of two entries is right for a value that is in both. Of two that nothing tells apart one is as good as the other, and it is the same one in whichever order they stand.
fn beats(this: (&BookEntry, &ValueMeta), that: (&BookEntry, &ValueMeta)) -> bool {
    let later = |this: &BookEntry, that: &BookEntry| is_later(this, &backup_of(that.clone()));
    let last = (this.0.finished, this.0.backup) > (that.0.finished, that.0.backup);
    match this.1.lineage(that.1) {
        Lineage::Later => true,
        Lineage::Earlier => false,
        Lineage::Same | Lineage::Apart => later(this.0, that.0) || last && !later(that.0, this.0),
    }
}

/// What the contents of one backup are to those of another one, as far as they are of the same values.
fn lineage(these: &[ValueMeta], those: &[ValueMeta]) -> Lineage {
    let both = these.iter().filter_map(|this| Some((this, those.iter().find(|that| that.id == this.id)?)));
    both.map(|(this, that)| this.lineage(that)).fold(Lineage::Same, |all, one| match (all, one) {
        (Lineage::Same, one) => one,
        (all, Lineage::Same) => all,
        (all, one) if all == one => all,
        _ => Lineage::Apart,
    })
}

/// What is to be done before values of an entry have its backup.
struct Way {
    /// Those that may have it.
    ids: Vec<ValueId>,
    /// Others keep the backup that they have.
    stays: bool,
    /// What one of these is called that has a change of its own, and is at the safes only.
    apart: Option<String>,
    /// Backups that are let go.
    given_up: Vec<Backup>,
    /// Backups that another device has let go, or that it takes care of.
    forgotten: Vec<BackupId>,
}

/// What a book has brought.
#[derive(Default)]
pub(super) struct Imported {
    /// Backups that this wallet did not have.
    new: Vec<BackupId>,
    /// It names backups of values that have another one here.
    older: bool,
}

/// Whether an entry is of a backup that was made after another one. Safes say so, whose clocks both have on their certificates: those of two devices may be days apart, and whoever takes
/// the older one for the newer forgets where the value is. Some leases may have been renewed since, so more than half of the certificates count.
fn is_later(entry: &BookEntry, than: &Backup) -> bool {
    let issued = |certificate: &Bytes| Some(certificate::read_unverified(certificate).ok()?.issued);
    let both = entry.deposits.iter().filter_map(|deposit| {
        let other = than.deposits.iter().find(|other| other.safe == deposit.safe)?;
        Some((issued(&deposit.certificate)?, issued(other.certificate.as_ref()?)?))
    });
    let (later, all) =
        both.fold((0_usize, 0_usize), |(later, all), (entry, other)| (later + usize::from(entry > other), all + 1));
    if all > 0 { later * 2 > all } else { than.finished < Some(entry.finished) }
}

/// Whether nothing is done with a backup, and it is one of before what an entry is of: of contents that those of the entry were made of, or of the same ones and made earlier.
pub(super) fn is_before(backup: &Backup, entry: &BookEntry) -> bool {
    let before = match lineage(&entry.values, &backup.values) {
        Lineage::Later => true,
        Lineage::Same => is_later(entry, backup),
        Lineage::Earlier | Lineage::Apart => false,
    };
    before && backup.operation.is_none() && !backup.lives_once()
}

pub(super) fn backup_of(entry: BookEntry) -> Backup {
    known_from(entry, |d| Deposit {
        stage: Stage::Held,
        release_only: certificate::read_unverified(&d.certificate).ok().and_then(|says| says.release_only),
        certificate: Some(d.certificate.clone()),
        ..Deposit::planned(d.id, d.slot(), d.d)
    })
}

pub(super) fn known_from<D>(entry: BookEntry<D>, deposit: impl Fn(D) -> Deposit) -> Backup {
    let deposits = entry.deposits.into_iter().map(deposit);
    Backup {
        id: entry.backup,
        values: entry.values,
        plan: entry.plan,
        bundle: entry.bundle,
        segment_len: entry.segment_len,
        op_seed: None,
        sources: Vec::new(),
        deposits: deposits.collect(),
        operation: None,
        finished: Some(entry.finished),
        face: None,
        kept: entry.pieces,
        file: Vec::new(),
        file_saved: None,
        words: None,
        wanted: Vec::new(),
        then: None,
        roots: None,
        drilled: None,
        asked: None,
        begun: None,
        replaces: None,
        next: None,
        claim: None,
        chapter: None,
        through: None,
        held: false,
    }
}
