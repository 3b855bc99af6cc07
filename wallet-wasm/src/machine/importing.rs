//! What a book brings: certificates from a file, and what the safes keep for the owner; and what becomes of a value that was changed on another device.

use protocol::{
    book::{Book, BookEntry, Entered as _},
    bundle::{Lineage, MAX_TITLE_LEN, ValueMeta},
    certificate,
    codec::Bytes,
    crypto::blake3,
    ids::{BackupId, ValueId},
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
        let named: Vec<BackupId> =
            if own { book.entries.iter().map(|entry| entry.backup).collect() } else { Vec::new() };
        for entry in book.entries {
            if self.state.backups.contains_key(&entry.backup) {
                continue;
            }
            // A value that has another backup here keeps it; the file stays valid for the older one.
            let ids: Vec<ValueId> = entry.values.iter().map(|meta| meta.id).collect();
            let known = |id: &ValueId| {
                self.state.values.get(id).and_then(|value| self.state.backups.get(value.backup.as_ref()?))
            };
            let others: Vec<&Backup> = ids.iter().filter_map(known).collect();
            // Whoever made the newer one has let this one go. Which one that is the contents say, if one was made of the other; of two that each have a change of their
            // own it is the one in the book, and the other one becomes a value of its own below.
            let succeeded = |backup: &Backup| {
                own && !named.contains(&backup.id)
                    && match lineage(&entry.values, &backup.values) {
                        Lineage::Same => is_later(&entry, backup),
                        Lineage::Later => true,
                        Lineage::Earlier => false,
                        // Of what another device made and nothing is here, the clock says more: it may only have been changed more often than is told.
                        Lineage::Apart => {
                            backup.values.iter().all(|meta| self.state.is_local(&meta.id))
                                || backup.begun.is_none() && is_later(&entry, backup)
                        }
                    }
            };
            // What lives once and is elsewhere may have come to the safes anew.
            let elsewhere = |backup: &Backup| {
                let older = backup.is_taken() || is_later(&entry, backup);
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
            let (given_up, others): (Vec<&Backup>, Vec<&Backup>) =
                others.into_iter().partition(|b| succeeded(b) && b.operation.is_some() && !b.lives_once());
            let next = stale.iter().filter(|b| !b.lives_once()).filter_map(|b| self.state.successor(&b.id));
            let given_up: Vec<Backup> = given_up.into_iter().chain(next).cloned().collect();
            // What was made here may never have stood in a book that another device has read: nobody else would let it go. If somebody has, it is gone already.
            let mut unused: Vec<&Backup> =
                stale.into_iter().filter(|backup| self.unused_without(backup, &ids).is_some()).collect();
            unused.sort_by_key(|backup| backup.id);
            unused.dedup_by_key(|backup| backup.id);
            let (made_here, told): (Vec<&Backup>, Vec<&Backup>) =
                unused.into_iter().partition(|b| succeeded(b) && b.begun.is_some() && !b.lives_once());
            let given_up: Vec<Backup> = given_up.into_iter().chain(made_here.into_iter().cloned()).collect();
            let told: Vec<Key> = told.into_iter().map(|backup| Key::Backup(backup.id)).collect();
            if !others.is_empty() {
                imported.older = true;
                continue;
            }
            self.changes.remove.extend(told);
            given_up.into_iter().try_for_each(|backup| self.begin_release(backup))?;
            let mut wanted = Vec::new();
            for meta in &entry.values {
                wanted.extend(self.follow(meta, entry.backup, own).then_some(meta.id));
            }
            imported.new.push(entry.backup);
            let held = held.is_some_and(|held| held.contains(&entry.backup));
            let backup = Backup { held, ..backup_of(entry) };
            // What was here as it had been before is here as it is now.
            let operation = (!wanted.is_empty() && !needs_owner(&backup.plan)).then_some(Operation::Recover);
            let wanted = if operation.is_some() { wanted } else { Vec::new() };
            self.put(Backup { operation, wanted, ..backup });
        }
        Ok(imported)
    }

    /// A value has this backup now. What is here of it may have been changed since, and stays; it may be what was changed elsewhere, and goes; or both, and becomes a value of its own,
    /// as does what was changed elsewhere if it is not the owner's book that says so: of what a file names nobody knows whether the safes have it still.
    /// Whether the content of the backup is wanted in place of what was here.
    fn follow(&mut self, meta: &ValueMeta, backup: BackupId, own: bool) -> bool {
        let backup = Some(backup);
        let known = self.value(&meta.id).filter(|value| value.content.is_some()).cloned();
        let Some(known) = known else {
            self.changes.put.push(Row::Value(Box::new(Value { backup, ..Value::new(meta.clone()) })));
            return false;
        };
        let lineage = meta.lineage(&known.meta);
        if meta.lives_once() || matches!(lineage, Lineage::Same | Lineage::Earlier) {
            // It is called what it is called here.
            self.changes.put.push(Row::Value(Box::new(Value { backup, ..known })));
            return false;
        }
        let (length, editions) = (meta.length, meta.editions.clone());
        let newer = ValueMeta { length, editions, ..known.meta.clone() };
        self.changes.put.push(Row::Value(Box::new(Value { meta: newer, content: None, backup, ..known.clone() })));
        if own && lineage == Lineage::Later {
            self.note(
                Level::Info,
                format!("“{}” was changed on another device; this device takes that over.", known.meta.title),
            );
            self.changes.discard.extend(known.content.map(|content| content.blob));
            return true;
        }
        let (id, title) = (set_apart(&known.meta), apart_title(&known.meta.title));
        if self.value(&id).is_some() {
            // Found out before, and handled.
            self.changes.discard.extend(known.content.map(|content| content.blob));
            return true;
        }
        let both = if lineage == Lineage::Later { "in what was imported" } else { "on this device and on another one" };
        let text = format!("“{}” was changed {both}. Both are kept: yours is “{title}” now.", known.meta.title);
        self.note(Level::Warning, text);
        let meta = ValueMeta { id, title, ..known.meta.clone() };
        self.changes.put.push(Row::Value(Box::new(Value { meta, backup: None, ..known })));
        true
    }
}

/// The id of a content that was changed on two devices, as a value of its own: the same one wherever that is found out.
fn set_apart(meta: &ValueMeta) -> ValueId {
    let edition = meta.edition().map_or_else(Vec::new, |edition| edition.0.to_vec());
    let hash = blake3(&[&b"strongroom 1 set apart"[..], &meta.id.0, &edition].concat());
    let mut id = [0; ValueId::LEN];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    ValueId(id)
}

/// A title that says so, and is none too long.
fn apart_title(title: &str) -> String {
    const NOTE: &str = ", as changed here";
    let mut end = title.len().min(MAX_TITLE_LEN - NOTE.len());
    while !title.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{NOTE}", &title[..end])
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
