//! What the wallet remembers: safes, values, backups, activity. Each is one sealed record in the store.

use core::cell::RefCell;

use litemap::LiteMap as Map;
use minicbor::{Decode, Encode};
use protocol::{
    SUITE,
    book::{KeptPiece, KnownSafe},
    bundle::{self, ValueMeta},
    certificate::read_unverified,
    codec::{self, Bytes, CodecError},
    crypto::Secret,
    deposit::{FaceText, Statement},
    identity::{Identity, IdentityError},
    ids::{BackupId, ClaimantId, DepositId, Root, SafeId, Seconds, ValueId},
    layout::{Layout, Slot},
    owner::ticket::Right,
    plan::{Place, Plan, PlanError},
    register::derive_claimant,
};
use rand_core::CryptoRng;

use crate::{owner::Owner, rules::Rule};

/// Longest record, bytes: a backup of 20 safes × 64 segments with 3 KiB a deposit.
pub const MAX_RECORD_LEN: usize = 4 * 1024 * 1024;
/// Certificates that are kept as evidence.
pub const MAX_EXHIBITS: usize = 64;
/// Lines of activity that are kept.
pub const MAX_ACTIVITY: usize = 200;

/// Name of a blob: the content of one value as it was at one time. Immutable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Content {
    /// Key in the blob store.
    #[n(0)]
    pub blob: String,
    /// Length of the content, bytes.
    #[n(1)]
    pub length: u64,
    /// BLAKE3 of the content: what comes back later has to be this.
    #[n(2)]
    pub root: Option<Root>,
}

/// A value.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Value {
    /// What it is.
    #[n(0)]
    pub meta: ValueMeta,
    /// The content, if it is on this device.
    #[n(1)]
    pub content: Option<Content>,
    /// Its backup.
    #[n(2)]
    pub backup: Option<BackupId>,
    /// When its owner last looked at it, to the hour.
    #[n(3)]
    pub used: Option<Seconds>,
    /// Since when rules leave it alone: its owner has taken it back from where they would have it.
    #[n(4)]
    pub left_alone: Option<Seconds>,
    /// What was here of another value before that was changed on another device: it stays until that change is here.
    #[n(5)]
    pub until: Option<ValueId>,
}

impl Value {
    /// A value whose content is not on this device, or not yet.
    pub const fn new(meta: ValueMeta) -> Self {
        Self { meta, content: None, backup: None, used: None, left_alone: None, until: None }
    }

    /// Whether it has no other backup than this one, or the one that this one is to replace.
    pub fn is_of(&self, backup: &Backup) -> bool {
        self.backup.is_none_or(|id| id == backup.id || backup.replaces == Some(id))
    }

    /// When its owner last had to do with it.
    pub fn last_used(&self) -> Seconds {
        self.used.unwrap_or(self.meta.created).max(self.left_alone.unwrap_or_default())
    }

    /// The blobs that it refers to.
    pub fn blobs(&self) -> impl Iterator<Item = &str> {
        self.content.iter().map(|content| content.blob.as_str())
    }
}

/// How far one deposit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Stage {
    /// Named, not made.
    #[n(0)]
    Planned,
    /// Made: its statement is known, and may be at the safe.
    #[n(1)]
    Prepared,
    /// The safe has signed an offer, which is stored here.
    #[n(2)]
    Offered,
    /// The safe has signed the certificate.
    #[n(3)]
    Held,
    /// The safe has let it go.
    #[n(4)]
    Released,
}

/// One deposit of a backup.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Deposit {
    /// Its id.
    #[n(0)]
    pub id: DepositId,
    /// Its safe.
    #[n(1)]
    pub safe: SafeId,
    /// Its segment.
    #[n(2)]
    pub segment: u32,
    /// Its secret.
    #[n(3)]
    pub d: Secret,
    /// How far it has come.
    #[n(4)]
    pub stage: Stage,
    /// From `Prepared` to `Offered`: what was or will be stated.
    #[n(5)]
    pub statement: Option<Statement>,
    /// In `Offered`: the signed offer.
    #[n(6)]
    pub offer: Option<Bytes>,
    /// From `Held` on: the signed certificate; of a chapter that was read from a head, once its safe has shown it ([`Self::told`]).
    #[n(7)]
    pub certificate: Option<Bytes>,
    /// In `Released`: the signed receipt, if the safe still had a certificate out.
    #[n(8)]
    pub receipt: Option<Bytes>,
    /// When the safe last showed that it has the body.
    #[n(9)]
    pub audited: Option<Seconds>,
    /// What has been wrong with it since then.
    #[n(10)]
    pub fault: Option<PieceFault>,
    /// When the safe was last asked to show it and gave an answer, whatever it was.
    #[n(11)]
    pub looked: Option<Seconds>,
    /// `true`: the safe gives it to its authenticated owner only; else left out.
    #[n(12)]
    pub owner: Option<bool>,
    /// `true`: its safe lets it go for its authenticated owner only, and gives it to whoever has the secret; else left out.
    #[n(13)]
    pub release_only: Option<bool>,
    /// `true`: it may have been let go since, and its safe is asked to take that back before anything else; else left out.
    #[n(14)]
    pub restore: Option<bool>,
    /// Of a chapter whose certificate is not here: what its safe has signed for, as the head says it.
    #[n(15)]
    pub told: Option<Body>,
}

/// A body as it is signed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Body {
    /// Its root.
    #[n(0)]
    pub root: Root,
    /// Its length, bytes.
    #[n(1)]
    pub length: u64,
}

/// A safe did not show what it signed for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PieceFault {
    /// When this was first seen.
    #[n(0)]
    pub since: Seconds,
    /// What the safe did, as a phrase that follows its name.
    #[n(1)]
    pub what: String,
    /// The groups of the body that were bad: until each of them is shown, other groups say nothing. Empty where the body was not there at all.
    #[n(2)]
    pub groups: Vec<u32>,
}

/// What the owner wants on the certificates (claim 2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FaceWish {
    /// Title, kind, date and hint stand there for everybody to read; otherwise sealed, for this wallet only.
    #[n(0)]
    pub readable: bool,
    /// A hint that goes with them.
    #[n(1)]
    pub hint: Option<String>,
}

impl Deposit {
    /// One that is named and not made.
    pub const fn planned(id: DepositId, slot: Slot, d: Secret) -> Self {
        Self {
            id,
            safe: slot.safe,
            segment: slot.segment,
            d,
            stage: Stage::Planned,
            statement: None,
            offer: None,
            certificate: None,
            receipt: None,
            audited: None,
            fault: None,
            looked: None,
            owner: if slot.owner { Some(true) } else { None },
            release_only: None,
            restore: None,
            told: None,
        }
    }

    /// What its safe has signed for: by the certificate, or by the book.
    pub fn signed_for(&self) -> Option<Body> {
        let signed = self.certificate.as_ref().and_then(|certificate| read_unverified(certificate).ok());
        signed.map(|says| Body { root: says.root, length: says.length }).or(self.told)
    }

    /// Whether it is bound to its owner.
    pub const fn is_bound(&self) -> bool {
        matches!(self.owner, Some(true))
    }

    /// Whether its safe wants to see its owner for this.
    pub fn asks_owner(&self, right: Right) -> bool {
        self.is_bound() || (self.release_only == Some(true) && right >= Right::Release)
    }

    /// Whether no audit has shown that its safe does not have it any more.
    pub fn is_sound(&self) -> bool {
        self.fault.as_ref().is_none_or(|fault| self.looked.is_none_or(|looked| looked < fault.since))
    }

    /// Whether it may have been let go, and is to be taken back.
    pub const fn is_lost(&self) -> bool {
        matches!((self.stage, self.restore), (Stage::Held, Some(true)))
    }

    /// Its place in the layout.
    pub const fn slot(&self) -> Slot {
        Slot { segment: self.segment, safe: self.safe, owner: self.is_bound() }
    }
}

/// What is being done with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Operation {
    /// Deposits are being made.
    #[n(0)]
    Register,
    /// The values are being brought back.
    #[n(1)]
    Recover,
    /// The deposits are being let go.
    #[n(2)]
    Release,
    /// A fire drill: the values are rebuilt from what the safes give, and nothing changes.
    #[n(3)]
    Drill,
    /// All of it is at the safes, and proven: the contents on this device go.
    #[n(4)]
    Vacate,
    /// All of it is at the safes, and lives once: this wallet claims it, because it keeps its copy.
    #[n(5)]
    Claim,
}

/// What follows an operation that has succeeded. Until then it can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Then {
    /// After a registration or a drill: the contents on this device go (claims 25, 35). The pieces have been rebuilt from the bodies as sent.
    #[n(0)]
    Vacate,
    /// After a registration whose pieces nobody has rebuilt yet: a drill, and then the same.
    #[n(1)]
    DrillAndVacate,
    /// After a recovery: the deposits go (claim 26).
    #[n(2)]
    Release,
    /// After a recovery: [`Backup::next`] is made.
    #[n(3)]
    Renew,
    /// After a recovery through a safe that had it in its hands: [`Backup::next`] is made, and the contents stay (claims 23, 44).
    #[n(4)]
    Rotate,
}

/// The generation that is to be made next.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Next {
    /// Its id, which the key of the words depends on.
    #[n(0)]
    pub backup: BackupId,
    /// Its plan.
    #[n(1)]
    pub plan: Plan<SafeId>,
    /// The key of the words that the owner remembers, where the plan has any.
    #[n(2)]
    pub words: Option<Secret>,
}

/// The claim to the values of a backup that live once (`spec/unique.md`).
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Claim {
    /// What only the claimant knows. It is here before anybody is asked.
    #[n(0)]
    pub x: Secret,
    /// How often an owner has begun anew, as far as this wallet knows.
    #[n(1)]
    pub epoch: u32,
    /// The owner has accepted that the values may double: as many safes suffice as must answer where none lies.
    #[n(2)]
    pub lenient: bool,
    /// Who is chosen, once that is known.
    #[n(3)]
    pub chosen: Option<ClaimantId>,
}

impl Claim {
    /// A claim that nobody knows of.
    pub fn make_random<R: CryptoRng>(rng: &mut R) -> Self {
        Self { x: Secret::make_random(rng), epoch: 0, lenient: false, chosen: None }
    }

    /// Who claims.
    pub fn claimant(&self) -> ClaimantId {
        derive_claimant(&self.x)
    }

    /// Whether this wallet is the chosen one.
    pub fn is_ours(&self) -> bool {
        self.chosen == Some(self.claimant())
    }
}

/// A part of the owner's book that stands at the safes as a backup of its own, with no value of this wallet in it ([`crate::book`]).
#[derive(Debug, Clone, Default, Encode, Decode)]
#[cbor(map)]
pub struct Chapter {
    /// The backups that it names; `None`: this device has not read it yet.
    #[n(0)]
    pub names: Option<Vec<BackupId>>,
    /// The chapters whose place it takes, which are let go when all safes have signed for this one.
    #[n(1)]
    pub replaces: Vec<BackupId>,
    /// Its owner goes back to a time in which it stood in the book, and what it names may have been let go since, save what was no more by then.
    #[n(2)]
    pub restore: Option<Vec<BackupId>>,
    /// `true`: he wants it exactly as it was then; else left out.
    #[n(3)]
    pub exactly: Option<bool>,
}

/// A backup: one bundle of values under one plan.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Backup {
    /// Its id.
    #[n(0)]
    pub id: BackupId,
    /// The values, in the order of the bundle, as they were when it was made.
    #[n(1)]
    pub values: Vec<ValueMeta>,
    /// The plan.
    #[n(2)]
    pub plan: Plan<SafeId>,
    /// Length of the bundle, bytes.
    #[n(3)]
    pub bundle: u64,
    /// Bytes of the bundle per segment.
    #[n(4)]
    pub segment_len: u64,
    /// Everything random of its bodies follows from this. Gone when all certificates are there.
    #[n(5)]
    pub op_seed: Option<Secret>,
    /// The contents from which it is made, as long as it is being made.
    #[n(6)]
    pub sources: Vec<Content>,
    /// The deposits.
    #[n(7)]
    pub deposits: Vec<Deposit>,
    /// What is being done.
    #[n(8)]
    pub operation: Option<Operation>,
    /// When the last certificate came.
    #[n(9)]
    pub finished: Option<Seconds>,
    /// What stands on the certificates; without it, sealed and no hint.
    #[n(10)]
    pub face: Option<FaceWish>,
    /// The pieces that the plan leaves in the book.
    #[n(11)]
    pub kept: Vec<KeptPiece>,
    /// The pieces that the plan gives to a file, until the owner has it.
    #[n(12)]
    pub file: Vec<(u32, Content)>,
    /// Whether the plan has a file, and the owner has shown that he has it.
    #[n(13)]
    pub file_saved: Option<bool>,
    /// While it is being made: the key of the words that the owner remembers.
    #[n(14)]
    pub words: Option<Secret>,
    /// In a recovery: the values that are wanted; none: all.
    #[n(15)]
    pub wanted: Vec<ValueId>,
    /// What follows the operation.
    #[n(16)]
    pub then: Option<Then>,
    /// BLAKE3 of each value's content as it was backed up; unknown of what another wallet has made, until it has come back once.
    #[n(17)]
    pub roots: Option<Vec<Option<Root>>>,
    /// When a drill last rebuilt all of it.
    #[n(18)]
    pub drilled: Option<Seconds>,
    /// The owner wants to see every piece that was not shown since then.
    #[n(19)]
    pub asked: Option<Seconds>,
    /// When the registration began.
    #[n(20)]
    pub begun: Option<Seconds>,
    /// The generation whose place it takes, which is let go when this one was rebuilt from what the safes have. Until then the values are
    /// that one's.
    #[n(21)]
    pub replaces: Option<BackupId>,
    /// What is made once the values are here.
    #[n(22)]
    pub next: Option<Next>,
    /// The claim to its values, where they live once.
    #[n(23)]
    pub claim: Option<Claim>,
    /// It is a part of the owner's book.
    #[n(24)]
    pub chapter: Option<Chapter>,
    /// The safe through which it is being recovered.
    #[n(25)]
    pub through: Option<SafeId>,
    /// By the owner's book its values, which live once, were still on another device of his, which had not claimed them.
    #[n(26)]
    #[cbor(default)]
    pub held: bool,
}

impl Backup {
    /// The blobs that it refers to.
    pub fn blobs(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().chain(self.file.iter().map(|(_, content)| content)).map(|content| content.blob.as_str())
    }

    /// Whether its values may live only once. All of them, or none.
    pub fn lives_once(&self) -> bool {
        self.values.iter().any(ValueMeta::lives_once)
    }

    /// Whether pieces of it may have been let go, and are to be taken back.
    pub fn is_lost(&self) -> bool {
        self.operation != Some(Operation::Release) && self.deposits.iter().any(Deposit::is_lost)
    }

    /// The deposits whose registers say to whom the values belong, one at each safe, in order; none if they may live often.
    pub fn registers(&self) -> impl Iterator<Item = &Deposit> {
        let once = self.lives_once();
        self.deposits.iter().filter(move |deposit| once && self.is_register(&deposit.slot()))
    }

    /// Whether a deposit would have a register: what a safe gives to whoever presents the certificate comes first.
    pub fn is_register(&self, slot: &Slot) -> bool {
        let here = |deposit: &&Deposit| deposit.segment == 0 && deposit.safe == slot.safe;
        let first = self.deposits.iter().filter(here).map(|deposit| deposit.is_bound()).min();
        slot.segment == 0 && first == Some(slot.owner)
    }

    /// Whether its values live once and belong to this wallet.
    pub fn is_ours(&self) -> bool {
        self.claim.as_ref().is_some_and(Claim::is_ours)
    }

    /// Whether its values live once and belong to another wallet.
    pub fn is_taken(&self) -> bool {
        self.held || self.claim.as_ref().is_some_and(|claim| claim.chosen.is_some() && !claim.is_ours())
    }

    /// Whether its values live once and this wallet may not ask for their pieces yet.
    pub fn must_claim(&self) -> bool {
        self.lives_once() && !self.is_ours()
    }

    /// Whether its pieces are rebuilt from the bodies before these are sent: when nothing is to remain here, and when nobody tries it later.
    pub fn is_proven_as_sent(&self) -> bool {
        self.then == Some(Then::Vacate) || self.lives_once() || self.chapter.is_some()
    }

    /// Its layout.
    ///
    /// # Errors
    /// [`PlanError`]: never for a backup that was made here or imported, both of which checked it.
    pub fn layout(&self) -> Result<Layout, PlanError> {
        Layout::restore(self.id, &self.plan, self.bundle, self.segment_len)
    }

    /// What a person calls it.
    pub fn title(&self) -> String {
        let first = self.values.first().map_or("", |v| &v.title);
        match self.values.len() {
            0 | 1 => first.to_owned(),
            all => format!("{first} and {} more", all - 1),
        }
    }

    /// What its certificates may show (claim 2); `None`: it has no value.
    pub fn face_text(&self, hint: Option<String>) -> Option<FaceText> {
        let first = self.values.first()?;
        Some(FaceText { title: self.title(), kind: first.kind.clone(), date: first.created, hint })
    }

    /// Whether what has no register is enough to have its values.
    pub fn comes_back_unasked(&self) -> bool {
        let free = |segment: u32, place: &Place<SafeId>| match Slot::of(segment, place) {
            Some(slot) => (!self.is_register(&slot)).then_some(0),
            None => Some(0),
        };
        self.layout().is_ok_and(|layout| layout.choose(0, &[], &free).is_some())
    }

    /// Whether its pieces are being fetched and put together.
    pub const fn is_gathering(&self) -> bool {
        matches!(self.operation, Some(Operation::Recover | Operation::Drill))
    }

    /// Whether a content is the one of a value that was backed up, as far as that is known.
    pub fn is_content(&self, value: &ValueId, content: &Content) -> bool {
        let Some(at) = self.values.iter().position(|meta| meta.id == *value) else { return false };
        let known = self.roots.as_ref().and_then(|roots| *roots.get(at)?);
        self.values[at].length == content.length
            && known.is_none_or(|known| content.root.is_none_or(|root| root == known))
    }

    /// Whether a value has a content here that is another one than was backed up.
    fn differs(&self, value: &Value) -> bool {
        let Some(content) = &value.content else { return false };
        let meta = self.values.iter().find(|meta| meta.id == value.meta.id);
        let same = meta.is_some_and(|meta| meta.edition() == value.meta.edition());
        !same || !self.is_content(&value.meta.id, content)
    }

    /// Whether nothing is done with it but reading.
    pub const fn is_only_read(&self) -> bool {
        matches!(self.operation, None | Some(Operation::Recover | Operation::Drill))
    }

    /// Whether some of the deposits suffice, beside all that the owner keeps.
    pub fn is_enough(&self, counts: impl Fn(&Deposit) -> bool) -> bool {
        let Ok(layout) = self.layout() else { return false };
        (0..layout.segments()).all(|segment| {
            let price = |segment: u32, place: &Place<SafeId>| match place {
                Place::Safe { .. } => {
                    let deposit = self.deposit_at(Slot::of(segment, place)?);
                    deposit.filter(|d| counts(d)).map(|_| 0)
                }
                _ => Some(0),
            };
            layout.choose(segment, &[], &price).is_some()
        })
    }

    /// Learns what the content of a value was, from what has come back and is sound.
    pub fn learn(&mut self, value: &ValueId, content: &Content) {
        let Some(at) = self.values.iter().position(|meta| meta.id == *value) else { return };
        let roots = self.roots.get_or_insert_with(|| vec![None; self.values.len()]);
        if let Some(root) = roots.get_mut(at) {
            *root = root.or(content.root);
        }
    }

    /// Whether a recovery brings this value back.
    pub fn is_wanted(&self, value: &ValueId) -> bool {
        self.wanted.is_empty() || self.wanted.contains(value)
    }

    /// The segment that is to be made next: the first with a deposit that is not made, or whose file is not.
    pub fn unmade(&self) -> Option<u32> {
        let planned = self.deposits.iter().filter(|d| d.stage == Stage::Planned).map(|d| d.segment).min();
        if self.file_saved != Some(false) {
            return planned;
        }
        let layout = self.layout().ok()?;
        let filed = |segment: &u32| self.file.iter().any(|(made, _)| made == segment);
        let has_file = |segment: &u32| layout.sketches(*segment).iter().any(|sketch| *sketch.place == Place::File);
        let file = (0..layout.segments()).find(|segment| !filed(segment) && has_file(segment));
        planned.into_iter().chain(file).min()
    }

    /// The deposit of a slot.
    pub fn deposit_at(&self, slot: Slot) -> Option<&Deposit> {
        self.deposits.iter().find(|d| d.slot() == slot)
    }

    /// The segments that a recovery needs: those that hold something of a wanted value, and the first, which has the keys.
    pub fn wanted_segments(&self, layout: &Layout) -> Vec<u32> {
        if self.wanted.is_empty() {
            return (0..layout.segments()).collect();
        }
        let mut segments = vec![0];
        for (meta, range) in bundle::ranges(&self.values) {
            if self.wanted.contains(&meta.id) {
                segments.extend(layout.segments_of(range.start, range.end));
            }
        }
        segments.sort_unstable();
        segments.dedup();
        segments
    }

    /// The deposit with an id.
    pub fn deposit(&self, id: &DepositId) -> Option<&Deposit> {
        self.deposits.iter().find(|d| d.id == *id)
    }

    /// Whether all deposits have come at least this far.
    pub fn all_at(&self, stage: Stage) -> bool {
        self.deposits.iter().all(|d| d.stage >= stage)
    }
}

/// How grave a line of activity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Level {
    /// Something happened.
    #[n(0)]
    Info,
    /// Something may need the owner.
    #[n(1)]
    Warning,
    /// Something failed.
    #[n(2)]
    Error,
}

/// One line of activity.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Activity {
    /// When.
    #[n(0)]
    pub at: Seconds,
    /// How grave.
    #[n(1)]
    pub level: Level,
    /// One sentence.
    #[n(2)]
    pub text: String,
}

/// What the owner has set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Settings {
    /// How much contents may take on this device, bytes; without it, what the browser gives.
    #[n(0)]
    pub capacity: Option<u64>,
}

/// A safe whose pieces go to another one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Retirement {
    /// The safe that retires.
    #[n(0)]
    pub from: SafeId,
    /// Who takes its place.
    #[n(1)]
    pub to: SafeId,
    /// Backups that are left to their owner.
    #[n(2)]
    pub left: Vec<BackupId>,
}

/// What is kept of a piece that its safe did not show, when the backup is gone: evidence.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Exhibit {
    /// The deposit.
    #[n(0)]
    pub deposit: DepositId,
    /// Its safe.
    #[n(1)]
    pub safe: SafeId,
    /// What it was a piece of.
    #[n(2)]
    pub title: String,
    /// What the safe did, as a phrase that follows its name.
    #[n(3)]
    pub what: String,
    /// When this was first seen.
    #[n(4)]
    pub since: Seconds,
    /// What the safe had signed.
    #[n(5)]
    pub certificate: Bytes,
}

/// Everything the wallet remembers.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Safes, by id.
    pub safes: Map<SafeId, KnownSafe>,
    /// Values, by id.
    pub values: Map<ValueId, Value>,
    /// Backups, by id.
    pub backups: Map<BackupId, Backup>,
    /// Activity, newest last.
    pub activity: Vec<Activity>,
    /// Rules, the first that a value meets first.
    pub rules: Vec<Rule>,
    /// Settings.
    pub settings: Settings,
    /// Safes that retire.
    pub retiring: Vec<Retirement>,
    /// Evidence, oldest first.
    pub exhibits: Vec<Exhibit>,
    /// The owner, once enrolled at safes.
    pub owner: Option<Owner>,
    /// What [`Self::identity`] has checked: a chain is checked once, not with every message.
    identities: RefCell<Map<SafeId, (KnownSafe, Identity)>>,
}

/// One record, named by what it is.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Row {
    /// A safe.
    #[n(0)]
    Safe(#[n(0)] Box<KnownSafe>),
    /// A value.
    #[n(1)]
    Value(#[n(0)] Box<Value>),
    /// A backup.
    #[n(2)]
    Backup(#[n(0)] Box<Backup>),
    /// The activity.
    #[n(3)]
    Activity(#[n(0)] Vec<Activity>),
    /// The rules.
    #[n(4)]
    Rules(#[n(0)] Vec<Rule>),
    /// The settings.
    #[n(5)]
    Settings(#[n(0)] Settings),
    /// The safes that retire.
    #[n(6)]
    Retiring(#[n(0)] Vec<Retirement>),
    /// The evidence.
    #[n(7)]
    Exhibits(#[n(0)] Vec<Exhibit>),
    /// The owner.
    #[n(8)]
    Owner(#[n(0)] Box<Owner>),
}

/// Name of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Key {
    /// A safe.
    Safe(SafeId),
    /// A value.
    Value(ValueId),
    /// A backup.
    Backup(BackupId),
    /// The activity.
    Activity,
    /// The rules.
    Rules,
    /// The settings.
    Settings,
    /// The safes that retire.
    Retiring,
    /// The evidence.
    Exhibits,
    /// The owner.
    Owner,
}

impl core::fmt::Display for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Safe(id) => write!(f, "safe/{id}"),
            Self::Value(id) => write!(f, "value/{id}"),
            Self::Backup(id) => write!(f, "backup/{id}"),
            Self::Activity => f.write_str("activity"),
            Self::Rules => f.write_str("rules"),
            Self::Settings => f.write_str("settings"),
            Self::Retiring => f.write_str("retiring"),
            Self::Exhibits => f.write_str("exhibits"),
            Self::Owner => f.write_str("owner"),
        }
    }
}

impl Row {
    /// Its name.
    pub fn key(&self) -> Key {
        match self {
            Self::Safe(safe) => Key::Safe(safe.id),
            Self::Value(value) => Key::Value(value.meta.id),
            Self::Backup(backup) => Key::Backup(backup.id),
            Self::Activity(_) => Key::Activity,
            Self::Rules(_) => Key::Rules,
            Self::Settings(_) => Key::Settings,
            Self::Retiring(_) => Key::Retiring,
            Self::Exhibits(_) => Key::Exhibits,
            Self::Owner(_) => Key::Owner,
        }
    }

    /// Stored form, before sealing. Inverse of [`Self::parse`].
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&(SUITE, self))
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let (suite, row): (u8, Self) = codec::decode(bytes, MAX_RECORD_LEN)?;
        codec::expect_suite(suite)?;
        Ok(row)
    }
}

impl State {
    /// Puts a record in its place.
    pub fn put(&mut self, row: Row) {
        match row {
            Row::Safe(safe) => {
                self.safes.insert(safe.id, *safe);
            }
            Row::Value(value) => {
                self.values.insert(value.meta.id, *value);
            }
            Row::Backup(backup) => {
                self.backups.insert(backup.id, *backup);
            }
            Row::Activity(lines) => self.activity = lines,
            Row::Rules(rules) => self.rules = rules,
            Row::Settings(settings) => self.settings = settings,
            Row::Retiring(retiring) => self.retiring = retiring,
            Row::Exhibits(exhibits) => self.exhibits = exhibits,
            Row::Owner(owner) => self.owner = Some(*owner),
        }
    }

    /// Removes a record.
    pub fn remove(&mut self, key: Key) {
        match key {
            Key::Safe(id) => drop(self.safes.remove(&id)),
            Key::Value(id) => drop(self.values.remove(&id)),
            Key::Backup(id) => drop(self.backups.remove(&id)),
            Key::Activity => self.activity.clear(),
            Key::Rules => self.rules.clear(),
            Key::Settings => self.settings = Settings::default(),
            Key::Retiring => self.retiring.clear(),
            Key::Exhibits => self.exhibits.clear(),
            Key::Owner => self.owner = None,
        }
    }

    /// A safe whose chain has been checked; `None`: there is no such safe.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn identity(&self, safe: &SafeId) -> Option<Result<Identity, IdentityError>> {
        let known = self.safes.get(safe)?;
        if let Some((_, identity)) =
            self.identities.borrow().get(safe).filter(|(checked, _)| known.has_keys_of(checked))
        {
            return Some(Ok(identity.clone()));
        }
        let identity = known.verify();
        if let Ok(identity) = &identity {
            self.identities.borrow_mut().insert(*safe, (known.clone(), identity.clone()));
        }
        Some(identity)
    }

    /// Takes over what another state of this wallet has checked already: a chain takes longer to check than all records to read.
    pub fn know_identities_of(&mut self, other: &Self) {
        self.identities.clone_from(&other.identities);
    }

    /// The blobs that records refer to; all others are left from interrupted work and can be swept.
    pub fn blobs(&self) -> Vec<&str> {
        self.values.values().flat_map(Value::blobs).chain(self.backups.values().flat_map(Backup::blobs)).collect()
    }

    /// What may have been let go, and is to be taken back; and the parts of the book that may name more of it.
    pub fn taken_back(&self) -> impl Iterator<Item = &Backup> {
        let names_more = |backup: &Backup| {
            let restore = backup.chapter.as_ref().is_some_and(|chapter| chapter.restore.is_some());
            restore && backup.operation == Some(Operation::Recover)
        };
        self.backups.values().filter(move |backup| backup.is_lost() || names_more(backup))
    }

    /// The generation that is being made to take the place of a backup.
    pub fn successor(&self, backup: &BackupId) -> Option<&Backup> {
        self.backups.values().find(|next| next.replaces.as_ref() == Some(backup))
    }

    /// Whether a backup is only still to be let go: another generation has taken its place, or it never took one.
    pub fn is_leftover(&self, backup: &Backup) -> bool {
        let current = |meta: &ValueMeta| self.values.get(&meta.id).is_some_and(|value| value.backup == Some(backup.id));
        backup.operation == Some(Operation::Release) && !backup.values.iter().any(current)
    }

    /// The generation of a value's backup that something is being done with: the next one, where that is being made.
    pub fn at_work(&self, value: &ValueId) -> Option<&Backup> {
        let backup = self.values.get(value).and_then(|value| self.backups.get(value.backup.as_ref()?))?;
        Some(if backup.operation.is_some() { backup } else { self.successor(&backup.id).unwrap_or(backup) })
    }

    /// Whether a value's content on this device is another one than the safes have.
    pub fn is_changed(&self, value: &Value) -> bool {
        let backup = value.backup.and_then(|id| self.backups.get(&id));
        backup.is_some_and(|backup| backup.differs(value))
    }

    /// Whether a value of a backup was changed on this device since.
    pub fn is_outdated(&self, backup: &Backup) -> bool {
        let known = backup.values.iter().filter_map(|meta| self.values.get(&meta.id));
        known.filter(|value| value.is_of(backup)).any(|value| backup.differs(value))
    }

    /// Whether a value's content is on this device.
    pub fn is_local(&self, value: &ValueId) -> bool {
        self.values.get(value).is_some_and(|value| value.content.is_some())
    }

    /// The owner's name for a safe, or its id.
    pub fn nickname(&self, safe: &SafeId) -> String {
        self.safes.get(safe).map_or_else(|| safe.to_string(), |s| s.nickname.clone())
    }
}
