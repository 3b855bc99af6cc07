//! Transitions of the chapters of the owner's book ([`crate::book`]): one is written, takes the place of others, and is read on a new device.

use std::collections::BTreeMap;

use protocol::{
    book::{Book, BookEntry, Entered as _},
    bundle::ValueMeta,
    certificate::Registration,
    deposit::DepositSecrets,
    ids::BackupId,
    layout::Slot,
    owner::book::ChapterDeposit,
};
use rand_core::CryptoRng;

use super::{Transition, WalletError, importing::known_from, told_of};
use crate::{
    book::Due,
    exchange::is_anothers,
    state::{Backup, Body, Chapter, Content, Deposit, Level, Operation, Stage, State},
};

/// A chapter whose content is durable.
#[derive(Debug, Clone)]
pub struct WriteChapter {
    /// What is due.
    pub due: Due,
    /// Its description and content; `None` if it is to name nothing.
    pub content: Option<(ValueMeta, Content)>,
}

impl Transition<'_> {
    pub(super) fn write_chapter<R: CryptoRng>(&mut self, write: WriteChapter, rng: &mut R) -> Result<(), WalletError> {
        let WriteChapter { due: Due { plan, names, replaces }, content } = write;
        if !self.state.owner.as_ref().is_some_and(crate::owner::Owner::writes) {
            self.changes.discard.extend(content.map(|(_, content)| content.blob));
            return Ok(());
        }
        let under_way: Vec<Backup> =
            self.chapters_where(|b| b.operation == Some(Operation::Register)).cloned().collect();
        under_way.into_iter().try_for_each(|backup| self.begin_release(backup))?;
        let Some((meta, content)) = content else { return self.let_chapters_go(&replaces) };
        self.changes.needs.push(content.blob.clone());
        let begun = self.begin(BackupId::make_random(rng), vec![meta], vec![content], plan, rng)?;
        self.put(Backup { chapter: Some(Chapter { names: Some(names), replaces, ..Chapter::default() }), ..begun });
        Ok(())
    }

    fn chapters_where(&self, which: impl Fn(&Backup) -> bool) -> impl Iterator<Item = &Backup> {
        self.state.backups.values().filter(move |backup| backup.chapter.is_some() && which(backup))
    }

    pub(super) fn let_chapters_go(&mut self, ids: &[BackupId]) -> Result<(), WalletError> {
        let stays = |backup: &Backup| ids.contains(&backup.id) && backup.operation != Some(Operation::Release);
        let go: Vec<Backup> = self.chapters_where(stays).cloned().collect();
        go.into_iter().try_for_each(|backup| self.begin_release(backup))
    }

    pub(super) fn chapter_read(
        &mut self,
        id: &BackupId,
        content: &Content,
        book: Option<Book>,
    ) -> Result<(), WalletError> {
        self.changes.discard.push(content.blob.clone());
        let mut backup = self.backup(id)?;
        let Some(chapter) = backup.chapter.as_mut().filter(|_| backup.operation == Some(Operation::Recover)) else {
            return Ok(());
        };
        let Some(mut book) = book else { return self.recovery_failed(id, "it is no part of a book") };
        chapter.names = Some(book.entries.iter().map(|entry| entry.backup).collect());
        let (restore, exactly) = (chapter.restore.take(), chapter.exactly.take() == Some(true));
        backup.operation = None;
        self.put(backup);
        let gone = self.state.owner.as_ref().map_or(&[][..], |owner| &owner.gone);
        let gone = restore.as_deref().unwrap_or(gone);
        book.entries.retain(|entry| !gone.contains(&entry.backup));
        self.note(
            Level::Info,
            format!("{} backups stand in a part of your book that has arrived.", book.entries.len()),
        );
        let held = self.state.owner.as_ref().map_or(Vec::new(), |owner| owner.held.clone());
        if restore.is_some() {
            if exactly {
                self.part_from(&book)?;
            }
            return self.take_back(book, &held, &[]);
        }
        self.take_over_book(book, Some(&held))?;
        Ok(())
    }

    /// The chapters of a head that was in force before: all are read again, for what they name may have been let go since.
    pub(super) fn restore_chapters(&mut self, known: Vec<Backup>, gone: &[BackupId], exactly: bool) {
        for backup in known {
            let backup = self.lost(backup);
            let restore = Some(gone.to_vec());
            let chapter = Chapter { restore, exactly: exactly.then_some(true), ..Chapter::default() };
            self.put(Backup { operation: Some(Operation::Recover), chapter: Some(chapter), ..backup });
        }
    }

    /// What could not be read is tried once more.
    pub(super) fn read_chapters_again(&mut self) {
        let unread = |b: &Backup| b.operation.is_none() && b.chapter.as_ref().is_some_and(|c| c.names.is_none());
        let again: Vec<Backup> = self.chapters_where(unread).cloned().collect();
        again.into_iter().for_each(|backup| self.put(Backup { operation: Some(Operation::Recover), ..backup }));
    }

    /// The chapters of a head that a device was given: those that it does not know are fetched, and those of its own that are not in it go.
    pub(super) fn follow_chapters(&mut self, known: Vec<Backup>) -> Result<(), WalletError> {
        let stale: Vec<BackupId> =
            self.chapters_where(|own| known.iter().all(|one| one.id != own.id)).map(|own| own.id).collect();
        self.let_chapters_go(&stale)?;
        for backup in known {
            match self.state.backups.get(&backup.id) {
                // It was to go, and the head that says so never counted.
                Some(own)
                    if own.operation == Some(Operation::Release)
                        && own.deposits.iter().all(|d| d.stage == Stage::Held) =>
                {
                    let unread = own.chapter.as_ref().is_some_and(|chapter| chapter.names.is_none());
                    self.put(Backup { operation: unread.then_some(Operation::Recover), ..own.clone() });
                }
                Some(own) if own.chapter.as_ref().is_some_and(|chapter| chapter.names.is_some()) => {}
                // What could not be read is tried once more.
                _ => self.put(Backup {
                    operation: Some(Operation::Recover),
                    chapter: Some(Chapter::default()),
                    ..backup
                }),
            }
        }
        Ok(())
    }
}

/// Whether a certificate says what the book says of its deposit.
pub(super) fn is_told(state: &State, deposit: &Deposit, says: &Registration) -> bool {
    let same = deposit.told == Some(Body { root: says.root, length: says.length }) && says.unique.is_none();
    let bound = says.is_bound() == deposit.is_bound() && says.release_only == deposit.release_only;
    same && bound
        && !is_anothers(state, deposit, says)
        && says.deposit == deposit.id
        && says.hashes == DepositSecrets::derive(&deposit.d).hashes()
}

/// A chapter as a head names it.
pub(super) fn chapter_backup_of(entry: BookEntry<ChapterDeposit>) -> Backup {
    let layout = entry.layout();
    let segments = layout.iter().flat_map(|layout| (0..layout.segments()).map(|segment| layout.bodies(segment)));
    let lengths: BTreeMap<Slot, u64> = segments.flatten().collect();
    known_from(entry, |d| Deposit {
        stage: Stage::Held,
        release_only: d.release_only,
        told: lengths.get(&d.slot()).map(|length| Body { root: d.root, length: *length }),
        ..Deposit::planned(d.id, d.slot(), d.d)
    })
}

/// What a head says of a chapter.
///
/// # Errors
/// [`WalletError::NoBackup`] if its safes have not signed for all of it.
pub fn chapter_entry_of(backup: &Backup) -> Result<BookEntry<ChapterDeposit>, WalletError> {
    told_of(backup, |d| {
        let Body { root, .. } = d.signed_for()?;
        let release_only = d.release_only;
        Some(ChapterDeposit { id: d.id, safe: d.safe, segment: d.segment, d: d.d.clone(), root, release_only })
    })
}
