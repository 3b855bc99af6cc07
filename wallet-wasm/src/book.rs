//! What the owner's book at the safes says: a head that every change writes anew, and chapters, which hold what is older (`spec/owner.md` §9).
//!
//! A chapter is a backup of this wallet over the owner's safes, made, audited and renewed like any other, of a content that is nobody's value. When what stands in no chapter grows
//! too long for a head, it becomes the next one, together with those before it that are not much longer, so that there are as many chapters as a head has room for and each entry
//! was written a few times ([`newest`]). Like everything else this is no queue: what is due follows from what is remembered.

use core::cmp::Reverse;

use minicbor::Encode;
use protocol::{
    SUITE,
    book::{Book, BookEntry, KnownSafe},
    bundle::{MAX_VALUE_LEN, ValueMeta},
    codec,
    ids::{BackupId, SafeId, Seconds, ValueId},
    owner::{
        book::{HeadContent, chapter_plan, fits},
        messages::MAX_HEAD_LEN,
        ticket::Right,
    },
    plan::Plan,
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    machine::{Changes, WalletError, chapter_entry_of, entry_of, knows_owner},
    owner::Owner,
    session::{Contact, MAX_PAUSE, Session},
    state::{Backup, Chapter, Deposit, Key, Operation, Row, Stage, State, Value},
};

/// When what stands in no chapter is longer, bytes, a chapter is due: a good third of a head, some five backups over five safes, so that there is room for what comes while it is made.
pub const MAX_LOOSE: u64 = MAX_HEAD_LEN as u64 * 3 / 8;
/// The entries of chapters are to take no more of a head, bytes: as much again. The rest is for the safes and for [`MAX_GONE`].
pub const MAX_CHAPTERS: u64 = MAX_LOOSE;
/// Longest content of a chapter, bytes: of a value a sixteenth is left for the safes.
pub const MAX_CHAPTER: u64 = MAX_VALUE_LEN / 16 * 15;
/// A safe that takes less at a time keeps no chapters, bytes: it would be cut into more segments than are worth their room in a head.
const LEAST_BODY: u64 = 256 * 1024;
/// A chapter that was begun is left alone for so long, seconds, whatever has become of a safe meanwhile: two windows that do not think the same of the safes would else take turns
/// with it, and none of theirs would come to its end.
pub const CHAPTER_PEACE: Seconds = MAX_PAUSE;
/// When chapters name more backups that are no more, one is written anew: 17 bytes each.
pub const MAX_GONE: usize = 256;

/// The wallet as it is once some changes are committed, without making it.
struct Next<'a> {
    state: &'a State,
    removed: &'a [Key],
    /// The records that change, in order; of several with one name the last one counts.
    put: Vec<(Key, &'a Row)>,
}

impl<'a> Next<'a> {
    fn new(state: &'a State, changes: &'a Changes) -> Self {
        let mut put: Vec<_> = changes.put.iter().map(|row| (row.key(), row)).collect();
        put.sort_by_key(|(key, _)| *key);
        Self { state, removed: &changes.remove, put }
    }

    fn row<T>(&self, key: Key, of: impl Fn(&'a Row) -> Option<&'a T>, known: Option<&'a T>) -> Option<&'a T> {
        if self.removed.contains(&key) {
            return None;
        }
        let after = self.put.partition_point(|(other, _)| *other <= key);
        let changed = after.checked_sub(1).map(|at| &self.put[at]).filter(|(other, _)| *other == key);
        changed.map_or(known, |(_, row)| of(row))
    }

    fn value(&self, id: &ValueId) -> Option<&'a Value> {
        let of = |row: &'a Row| if let Row::Value(value) = row { Some(&**value) } else { None };
        self.row(Key::Value(*id), of, self.state.values.get(id))
    }

    fn backup(&self, id: &BackupId) -> Option<&'a Backup> {
        let of = |row: &'a Row| if let Row::Backup(backup) = row { Some(&**backup) } else { None };
        self.row(Key::Backup(*id), of, self.state.backups.get(id))
    }

    fn safe(&self, id: &SafeId) -> Option<&'a KnownSafe> {
        let of = |row: &'a Row| if let Row::Safe(safe) = row { Some(&**safe) } else { None };
        self.row(Key::Safe(*id), of, self.state.safes.get(id))
    }

    /// The backups that bring values back, each once, the newest first.
    fn told(&self) -> Vec<&'a Backup> {
        let new = self.put.iter().filter_map(|(_, row)| match row {
            Row::Value(value) if !self.state.values.contains_key(&value.meta.id) => Some(value.meta.id),
            _ => None,
        });
        let values = self.state.values.keys().copied().chain(new);
        let mut backups: Vec<&Backup> = values
            .filter_map(|id| self.backup(self.value(&id)?.backup.as_ref()?))
            .filter(|backup| backup.finished.is_some())
            .collect();
        backups.sort_by_key(|backup| (Reverse(backup.finished), backup.id));
        backups.dedup_by_key(|backup| backup.id);
        backups
    }

    /// Whether its values live once and are on a device still that has not claimed them: this one, or the one by whose book it is known.
    fn is_held(&self, backup: &Backup) -> bool {
        let here = |meta: &ValueMeta| self.value(&meta.id).is_some_and(|value| value.content.is_some());
        backup.must_claim() && (backup.held || backup.values.iter().any(here))
    }

    /// The chapters in force, the newest first.
    fn chapters(&self) -> Vec<(&'a Backup, &'a Chapter)> {
        let changed = self.put.iter().filter_map(|(key, _)| match key {
            Key::Backup(id) if !self.state.backups.contains_key(id) => Some(*id),
            _ => None,
        });
        let known = self.state.backups.values().filter(|backup| backup.chapter.is_some()).map(|backup| backup.id);
        let mut chapters: Vec<_> = known
            .chain(changed)
            .filter_map(|id| self.backup(&id))
            .filter(|backup| backup.finished.is_some() && backup.operation != Some(Operation::Release))
            .filter_map(|backup| Some((backup, backup.chapter.as_ref()?)))
            .collect();
        chapters.sort_by_key(|(backup, _)| (Reverse(backup.finished), backup.id));
        chapters.dedup_by_key(|(backup, _)| backup.id);
        chapters
    }
}

/// Ids to look others up in.
fn ids<'a>(of: impl IntoIterator<Item = &'a BackupId>) -> Vec<BackupId> {
    let mut ids: Vec<BackupId> = of.into_iter().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn is_in(ids: &[BackupId], id: &BackupId) -> bool {
    ids.binary_search(id).is_ok()
}

/// What the head of the book is to say.
#[derive(Debug)]
pub struct Said {
    /// The content.
    pub content: HeadContent,
    /// Length of what there is to say of backups that stand in no chapter, whether there was room for it or not, bytes.
    pub loose: u64,
}

/// A head as it grows.
struct Draft<'a> {
    next: &'a Next<'a>,
    content: HeadContent,
    length: usize,
}

impl Draft<'_> {
    fn shown(&self, id: &SafeId) -> Option<KnownSafe> {
        Some(KnownSafe { token: None, ..self.next.safe(id)?.clone() })
    }

    /// What a backup adds, if there is room for it; and the length of its entry.
    fn take<D: Encode<()>>(
        &mut self,
        backup: &Backup,
        entry_of: impl Fn(&Backup) -> Result<BookEntry<D>, WalletError>,
    ) -> Option<(Option<BookEntry<D>>, u64)> {
        // What is told of was signed for, piece by piece.
        let entry = entry_of(backup).ok()?;
        let known = |id: &SafeId| self.content.book.safes.iter().any(|safe| safe.id == *id);
        let safes: Vec<KnownSafe> =
            backup.plan.safes().into_iter().filter(|id| !known(id)).filter_map(|id| self.shown(id)).collect();
        let length = codec::encode(&entry).len();
        let more = length + safes.iter().map(|safe| codec::encode(safe).len()).sum::<usize>();
        let room = self.room_for(more);
        if room {
            self.content.book.safes.extend(safes);
        } else {
            self.content.left_out += 1;
        }
        Some((room.then_some(entry), length as u64))
    }

    fn room_for(&mut self, more: usize) -> bool {
        let room = fits(self.length + more);
        self.length += if room { more } else { 0 };
        room
    }
}

/// What the head of the book is to say once these changes are committed: the chapters, and of what stands in none as much as there is room for, the newest first.
pub fn head_of(state: &State, changes: &Changes, owner: &Owner) -> Said {
    let next = Next::new(state, changes);
    let (told, chapters) = (next.told(), next.chapters());
    let mut draft = Draft { next: &next, content: HeadContent::new(no_book()), length: 0 };
    let content = &mut draft.content;
    content.name = Some(owner.name.clone());
    content.changed = owner.changed;
    content.announced = owner.announcement();
    content.book.written = told.first().and_then(|backup| backup.finished).unwrap_or(0);
    // Lists have heads of at most three bytes, of which one is counted already.
    draft.length = codec::encode(&draft.content).len() + 15;
    let seats: Vec<KnownSafe> = owner.seats.iter().filter_map(|seat| draft.shown(&seat.safe)).collect();
    for safe in seats {
        // One that there is no room for has to answer before it is known again.
        if draft.room_for(codec::encode(&safe).len()) {
            draft.content.book.safes.push(safe);
        }
    }
    for (chapter, _) in &chapters {
        let entry = draft.take(chapter, chapter_entry_of).and_then(|(entry, _)| entry);
        draft.content.chapters.extend(entry);
    }
    let named = ids(chapters.iter().filter_map(|(_, chapter)| chapter.names.as_ref()).flatten());
    let living = ids(told.iter().map(|backup| &backup.id));
    // Of a chapter that was not read yet it is only known what the head before said.
    let unread = chapters.iter().any(|(_, chapter)| chapter.names.is_none());
    let before = owner.gone.iter().filter(|id| unread && !is_in(&named, id) && !is_in(&living, id));
    for id in named.iter().filter(|id| !is_in(&living, id)).chain(before) {
        if draft.room_for(codec::encode(id).len()) {
            draft.content.gone.push(*id);
        } else {
            draft.content.left_out += 1;
        }
    }
    for left in &owner.left {
        if draft.room_for(codec::encode(left).len()) {
            draft.content.left.push(left.clone());
        } else {
            draft.content.left_out += 1;
        }
    }
    for backup in told.iter().filter(|backup| next.is_held(backup)) {
        if draft.room_for(codec::encode(&backup.id).len()) {
            draft.content.held.push(backup.id);
        } else {
            draft.content.left_out += 1;
        }
    }
    let mut loose = 0;
    for backup in told.into_iter().filter(|backup| !is_in(&named, &backup.id)) {
        let Some((entry, length)) = draft.take(backup, entry_of) else { continue };
        draft.content.book.entries.extend(entry);
        loose += length;
    }
    Said { content: draft.content, loose }
}

pub(crate) fn no_book() -> Book {
    Book { suite: SUITE, written: 0, safes: Vec::new(), entries: Vec::new() }
}

// ---- chapters -------------------------------------------------------------------------------------------------------

/// A chapter that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Its plan.
    pub plan: Plan<SafeId>,
    /// The backups that it is to name. None: others only go.
    pub names: Vec<BackupId>,
    /// The chapters whose place it takes.
    pub replaces: Vec<BackupId>,
}

/// A chapter that was read.
struct Read<'a> {
    backup: &'a Backup,
    names: &'a [BackupId],
    /// How many of them are no more.
    dead: usize,
}

/// The safes that a chapter goes to now: the owner's that are there. A safe that did not show a piece of the book, or retires, takes part only if there are too few without it.
fn safes_for(state: &State, session: &Session, owner: &Owner) -> Vec<SafeId> {
    // Also of chapters that were given up: or those that refuse would take turns.
    let refused = |safe: &SafeId| {
        let chapters = state.backups.values().filter(|backup| backup.chapter.is_some());
        let mut all = chapters.flat_map(|backup| &backup.deposits);
        session.owner_refusals.contains_key(safe)
            || all.any(|deposit| deposit.safe == *safe && session.refusals.contains_key(&deposit.id))
    };
    let takes_enough = |safe: &SafeId| state.safes.get(safe).is_some_and(|known| known.limit_body >= LEAST_BODY);
    let there = |safe: &SafeId| !matches!(session.contact(safe).0, Contact::Away | Contact::NotItself);
    let seats = owner.seats.iter().map(|seat| seat.safe).filter(|safe| takes_enough(safe));
    let safes: Vec<SafeId> = seats.filter(|safe| there(safe) && !refused(safe)).collect();
    let sound: Vec<SafeId> = safes.iter().copied().filter(|safe| !is_doubted(state, safe)).collect();
    if sound.len() >= owner.quorum() { sound } else { safes }
}

fn is_doubted(state: &State, safe: &SafeId) -> bool {
    let mut chapters = state.backups.values().filter(|backup| backup.chapter.is_some()).flat_map(|b| &b.deposits);
    // One that is not the owner's any more keeps none of the book.
    let seated = state.owner.as_ref().is_none_or(|owner| owner.seat(safe).is_some());
    !seated
        || state.retiring.iter().any(|retirement| retirement.from == *safe)
        || chapters.any(|deposit| deposit.safe == *safe && deposit.fault.is_some())
}

/// When a chapter that is being made may be given up for another one, if that is still to come.
pub fn next_due(state: &State, now: Seconds) -> Option<Seconds> {
    let making = |backup: &&Backup| backup.chapter.is_some() && backup.operation == Some(Operation::Register);
    let begun = state.backups.values().filter(making).filter_map(|backup| backup.begun);
    begun.map(|begun| begun.saturating_add(CHAPTER_PEACE)).filter(|at| *at > now).min()
}

/// The chapter that is due now. One that cannot come to its end, because a safe is away by now, is given up for another one without it.
pub fn due(state: &State, session: &Session, now: Seconds) -> Option<Due> {
    let owner = state.owner.as_ref().filter(|owner| owner.writes() && owner.head.is_some())?;
    let mut all = state.backups.values().filter(|backup| backup.chapter.is_some());
    let making = all.find(|backup| backup.operation == Some(Operation::Register));
    if making.and_then(|backup| backup.begun).is_some_and(|begun| begun.abs_diff(now) < CHAPTER_PEACE) {
        return None;
    }
    let safes = safes_for(state, session, owner);
    if making.is_some_and(|backup| backup.deposits.iter().all(|d| d.stage >= Stage::Held || safes.contains(&d.safe))) {
        return None;
    }
    let plan = chapter_plan(&safes, owner.quorum()).ok()?;
    let nothing = Changes::default();
    let next = Next::new(state, &nothing);
    let chapters = next.chapters();
    // What was made before its safes knew their owner could be let go for good by a wallet that was stolen.
    let loose = |d: &Deposit| d.stage == Stage::Held && !d.asks_owner(Right::Release) && knows_owner(state, &d.safe);
    let doubted = |d: &Deposit| is_doubted(state, &d.safe) && !safes.contains(&d.safe);
    // Where there are too few safes without a fault, those take part that have one.
    let worn = |backup: &Backup| backup.deposits.iter().any(|d| d.fault.is_some() || doubted(d) || loose(d));
    let any_worn = chapters.iter().any(|(backup, chapter)| chapter.names.is_some() && worn(backup));
    let full = owner.loose > MAX_LOOSE || (owner.left_out > 0 && owner.loose > 0);
    let empty = !chapters.is_empty() && state.values.values().all(|value| value.backup.is_none());
    if making.is_none() && !any_worn && !full && owner.gone.len() <= MAX_GONE && !empty {
        return None;
    }
    // What is on its way here may be most of it; it is not written a second time, unless there is no room.
    let arriving = chapters.iter().any(|(backup, _)| backup.operation == Some(Operation::Recover));
    if making.is_none() && arriving && owner.left_out == 0 {
        return None;
    }
    let told = next.told();
    let living = ids(told.iter().map(|backup| &backup.id));
    let read = chapters.iter().filter_map(|(backup, chapter)| {
        let names = chapter.names.as_deref()?;
        Some(Read { backup, names, dead: names.iter().filter(|id| !is_in(&living, id)).count() })
    });
    let read: Vec<Read<'_>> = read.collect();
    let replaces = replaced(owner, &read, worn);
    let stays = chapters.iter().filter(|(backup, _)| !replaces.contains(&backup.id));
    let stays = ids(stays.filter_map(|(_, chapter)| chapter.names.as_ref()).flatten());
    let mut length = 0;
    let names = told.into_iter().filter(|backup| !is_in(&stays, &backup.id)).filter_map(|backup| {
        length += codec::encode(&entry_of(backup).ok()?).len() as u64;
        Some((backup.id, length))
    });
    // What is too much for one waits for the next.
    let names = names.take_while(|(_, length)| *length <= MAX_CHAPTER).map(|(id, _)| id).collect();
    let due = Due { plan, names, replaces };
    (making.is_some() || !due.names.is_empty() || !due.replaces.is_empty()).then_some(due)
}

/// The chapters whose place the next one takes. What they name fits into it.
fn replaced(owner: &Owner, read: &[Read<'_>], worn: impl Fn(&Backup) -> bool) -> Vec<BackupId> {
    let most = read.iter().map(|chapter| chapter.dead).max().filter(|dead| *dead > 0 && owner.gone.len() > MAX_GONE);
    let must = |one: &&Read<'_>| worn(one.backup) || one.dead * 2 > one.names.len() || most == Some(one.dead);
    let (must, may): (Vec<_>, Vec<_>) = read.iter().partition(must);
    let mut length = owner.loose;
    let mut replaces = Vec::new();
    for one in must {
        // One that has to go is taken by itself, if need be: what else there is waits for the next.
        if !replaces.is_empty() && length + one.backup.bundle > MAX_CHAPTER {
            return replaces;
        }
        length += one.backup.bundle;
        replaces.push(one.backup.id);
    }
    let entry = |one: &Read<'_>| chapter_entry_of(one.backup).map_or(0, |entry| codec::encode(&entry).len() as u64);
    let segments = |one: &Read<'_>| (one.backup.deposits.len() / one.backup.plan.safes().len().max(1)) as u64;
    let size = |one: &&Read<'_>| Size { content: one.backup.bundle, entry: entry(one), segments: segments(one) };
    let sizes: Vec<Size> = may.iter().map(size).collect();
    replaces.extend(may[..newest(length, &sizes)].iter().map(|one| one.backup.id));
    replaces
}

/// What a chapter takes, bytes.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Its content.
    pub content: u64,
    /// Its entry in a head.
    pub entry: u64,
    /// How many segments it has, each with a part of that entry.
    pub segments: u64,
}

/// How many of the newest chapters are written anew with what comes, bytes. All of them are given, the newest first.
///
/// Those that are at most r times as long as what is written with them; and more where there would be no room for the entries of all. So each that stays is more than
/// r times as long as the next newer one, and with r^k ≥ all / what comes there are about k of them. r is the least for the k that there is room for, and at least 2;
/// what comes counts as [`MAX_LOOSE`] at least, for so much comes most often. An entry is written about k · r / 2 times.
pub fn newest(comes: u64, chapters: &[Size]) -> usize {
    let mut entries: u64 = chapters.iter().map(|one| one.entry).sum();
    let segments: u64 = chapters.iter().map(|one| one.segments).sum();
    let each = (entries / segments.max(1)).max(1);
    // What a long one has beyond its first segment takes room however all is cut into chapters.
    let more = segments.saturating_sub(chapters.len() as u64);
    let room = u32::try_from((MAX_CHAPTERS / each).saturating_sub(more).max(1)).unwrap_or(u32::MAX);
    let all: u64 = chapters.iter().map(|one| one.content).sum::<u64>() + comes;
    let reaches = |ratio: &u64| ratio.saturating_pow(room).saturating_mul(comes.max(MAX_LOOSE)) >= all;
    let ratio = (2..=all.max(2)).find(reaches).unwrap_or(2);
    let mut length = comes;
    // With the new one's.
    entries += each;
    let goes = |one: &&Size| {
        let small = one.content <= length.saturating_mul(ratio) || entries > MAX_CHAPTERS;
        let goes = small && length + one.content <= MAX_CHAPTER;
        if goes {
            length += one.content;
            entries -= one.entry;
        }
        goes
    };
    chapters.iter().take_while(goes).count()
}

/// What a chapter says.
pub fn chapter_of(state: &State, due: &Due) -> Zeroizing<Vec<u8>> {
    let entries: Vec<BookEntry> = due.names.iter().filter_map(|id| entry_of(state.backups.get(id)?).ok()).collect();
    let used = |safe: &&KnownSafe| entries.iter().any(|entry| entry.plan.safes().contains(&&safe.id));
    let safes = state.safes.values().filter(used).map(|safe| KnownSafe { token: None, ..safe.clone() }).collect();
    let written = entries.iter().map(|entry| entry.finished).max().unwrap_or(0);
    Zeroizing::new(codec::encode(&Book { written, safes, entries, ..no_book() }))
}

/// The description of a chapter, as that of a value.
pub fn describe_chapter<R: CryptoRng>(length: u64, now: Seconds, rng: &mut R) -> ValueMeta {
    ValueMeta {
        id: ValueId::make_random(rng),
        title: "part of the owner's book".to_owned(),
        kind: "book".to_owned(),
        file_name: None,
        mime: "application/cbor".to_owned(),
        created: now,
        length,
        unique: None,
        tags: None,
        editions: None,
    }
}
