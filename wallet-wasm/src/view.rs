//! What a person sees of the wallet: plain data in the words of the page, nothing secret beyond titles.
//!
//! The shape is the JavaScript API's (`www/src/engine/api.ts`); times are milliseconds there.

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use protocol::{
    book::KnownSafe,
    certificate::read_unverified,
    crypto::CryptoError,
    identity::Whereabouts,
    ids::{BackupId, SafeId, Seconds},
    layout::{Layout, Slot},
    owner::budget::{LIFETIME_GUESSES, PROMPT_GUESSES, group_bound},
    plan::Place,
};
use serde::Serialize;

use crate::{
    changing::{self, Changing, Site, Step, exposed, renewable, unkept},
    claiming,
    credentials::why_stale,
    drafts::{self, RuleDraft},
    owner::{Errand, Owner, Seat},
    passkey::{Passkey, PasskeyNote},
    retiring, room, rules,
    session::{Contact, Fetch, Recovery, Session},
    state::{Activity, Backup, Deposit, Exhibit, Level, Operation, Retirement, Stage, State, Then, Value},
    upkeep::{self, DAY},
    vault::Vault,
};

/// The whole wallet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WalletView {
    /// Safes, by name.
    pub safes: Vec<SafeView>,
    /// Values, newest first.
    pub values: Vec<ValueView>,
    /// The backups of values. What holds a thousand values together is drawn once; each of them says only where it stands here.
    pub backups: Vec<BackupView>,
    /// What is done with values, in the same way.
    pub operations: Vec<OperationView>,
    /// Activity, newest first.
    pub activity: Vec<ActivityView>,
    /// Whether the browser promised to keep the storage.
    pub storage_persistent: bool,
    /// Rules, in their order.
    pub rules: Vec<RuleDraft>,
    /// Room on this device.
    pub room: RoomView,
    /// Evidence, newest first.
    pub exhibits: Vec<KeptExhibit>,
    /// The owner, once enrolled.
    pub owner: Option<OwnerView>,
    /// What opens the wallet beside its passphrase, in the order in which it was added. [`draw`] leaves it to whoever has the vault.
    pub passkeys: Vec<PasskeyView>,
    /// Whether this window works, or follows another one that does.
    pub leading: bool,
}

/// A passkey or security key that opens the wallet.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct PasskeyView {
    pub id: String,
    pub label: String,
    pub added: u64,
}

impl PasskeyView {
    /// What a person is shown of the passkeys of an open vault.
    ///
    /// # Errors
    /// [`CryptoError`]: never, for they are authenticated.
    pub fn of(vault: &Vault) -> Result<Vec<Self>, CryptoError> {
        let view = |(passkey, note): (&Passkey, PasskeyNote)| Self {
            id: Base64UrlUnpadded::encode_string(&passkey.credential),
            label: note.label,
            added: millis(note.added),
        };
        Ok(vault.passkeys()?.into_iter().map(view).collect())
    }
}

/// The owner.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct OwnerView {
    pub name: String,
    pub threshold: u8,
    pub enrolled: bool,
    pub seats: Vec<OwnerSeatView>,
    pub superseded: bool,
    pub written: usize,
    pub quorum: usize,
    pub left_out: u32,
    pub chapters: usize,
    pub unread: usize,
    pub unread_trouble: Vec<String>,
    pub guesses_prompt: u64,
    pub guesses_lifetime: u64,
    pub kit: Option<KitView>,
    pub change: Option<ChangeView>,
    pub change_elsewhere: bool,
    pub leaving: Vec<LeavingView>,
    pub outdated: bool,
    pub exposed: usize,
    pub unkept: usize,
    pub exposed_left: Vec<String>,
    pub backups: usize,
    pub renewing: bool,
    pub taking_back: usize,
    pub taking_back_waits: bool,
}

/// The kit that was printed last.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct KitView {
    pub code: String,
    pub made: u64,
    pub lease_end: Option<u64>,
    pub stale: Option<&'static str>,
}

/// The enrolment that is to take the place of the one in force.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct ChangeView {
    pub threshold: u8,
    pub seats: Vec<OwnerSeatView>,
    pub may_cancel: bool,
    pub in_force: bool,
}

/// A safe that is the owner's no longer, and does not know it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct LeavingView {
    pub safe_id: String,
    pub nickname: String,
}

/// One of the owner's safes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct OwnerSeatView {
    pub safe_id: String,
    pub nickname: String,
    pub done: bool,
    pub known: bool,
    pub step: &'static str,
    pub trouble: Option<String>,
}

/// The certificate of a piece that was not shown, kept when its backup went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct KeptExhibit {
    pub deposit_id: String,
    pub nickname: String,
    pub title: String,
    pub what: String,
    pub since: u64,
}

/// A safe that retires.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct RetirementView {
    pub to: String,
    pub open: usize,
    pub left: Vec<String>,
}

/// Room on this device.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct RoomView {
    pub set: Option<u64>,
    pub capacity: Option<u64>,
    pub used: u64,
    pub free: Option<u64>,
    pub lacking: u64,
    pub leaving: Vec<String>,
}

/// One safe.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct SafeView {
    pub id: String,
    pub nickname: String,
    pub name: String,
    pub url: String,
    pub fingerprint: String,
    pub limit_body: u64,
    pub contact: &'static str,
    pub deposits: usize,
    pub token: bool,
    pub whereabouts: WhereaboutsView,
    pub retiring: Option<RetirementView>,
    pub releasing: usize,
}

/// What a safe says of who and what is behind it.
#[derive(Debug, Default, Serialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct WhereaboutsView {
    pub operator: Option<String>,
    pub cloud: Option<String>,
    pub region: Option<String>,
}

/// As a safe last said it.
pub fn draw_whereabouts(safe: &KnownSafe) -> WhereaboutsView {
    let Whereabouts { operator, cloud, region } = safe.whereabouts.clone().unwrap_or_default();
    WhereaboutsView { operator, cloud, region }
}

/// One value.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct ValueView {
    pub id: String,
    pub title: String,
    pub kind: String,
    pub file_name: Option<String>,
    pub mime: String,
    pub size: u64,
    pub created: u64,
    pub unique: bool,
    pub tags: Vec<String>,
    pub left_alone: Option<u64>,
    pub changed: bool,
    pub local: bool,
    pub state: &'static str,
    pub reason: String,
    pub next_step: Option<String>,
    pub backup: Option<usize>,
    pub operation: Option<usize>,
}

/// A backup.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct BackupView {
    pub id: String,
    pub plan: String,
    pub threshold: usize,
    pub total: usize,
    pub coalition: Option<usize>,
    pub needs_words: bool,
    pub needs_file: bool,
    pub values: Vec<String>,
    pub has_words: bool,
    pub has_file: bool,
    pub file_unsaved: bool,
    pub drilled: Option<u64>,
    pub claim: Option<&'static str>,
    pub certificates: Vec<CertificateView>,
}

/// A certificate.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct CertificateView {
    pub deposit_id: String,
    pub safe_id: String,
    pub nickname: String,
    pub segment: u32,
    pub segments: u32,
    pub state: &'static str,
    pub length: Option<u64>,
    pub root: Option<String>,
    pub issued: Option<u64>,
    pub lease_end: Option<u64>,
    pub entry: Option<u32>,
    pub url: Option<String>,
    pub audited: Option<u64>,
    pub auditing: bool,
    pub fault: Option<String>,
}

/// An operation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct OperationView {
    pub kind: &'static str,
    pub progress: f64,
    pub safes: Vec<SafeProgress>,
    pub may_close: bool,
    pub can_cancel: bool,
    pub gathering: bool,
    pub lacking: Option<u64>,
    pub waiting: Option<String>,
}

/// Progress at one safe.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct SafeProgress {
    pub safe_id: String,
    pub nickname: String,
    pub state: &'static str,
    pub done: usize,
    pub total: usize,
    pub detail: Option<String>,
}

/// A line of activity.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct ActivityView {
    pub at: u64,
    pub level: &'static str,
    pub text: String,
}

/// Milliseconds, as JavaScript counts.
pub(crate) fn millis(seconds: Seconds) -> u64 {
    seconds.saturating_mul(1000)
}

/// A safe's id in groups of four, for comparing by eye and reading aloud.
pub fn fingerprint(id: &SafeId) -> String {
    let text = id.to_string();
    let groups: Vec<&str> = text.as_bytes().chunks(4).filter_map(|c| core::str::from_utf8(c).ok()).collect();
    groups.join(" ")
}

/// What went wrong, as a person reads it: sentences of the core begin in lower case and have no end.
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let message = chars.next().map(|c| c.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default();
    if message.ends_with('.') { message } else { message + "." }
}

/// Draws the view.
pub fn draw(state: &State, session: &Session, now: Seconds, storage_persistent: bool) -> WalletView {
    let (mut backups, mut operations) = (Once::default(), Once::default());
    let draw_value = |value: &Value| {
        let backup = value.backup.and_then(|id| state.backups.get(&id));
        let at_work = state.at_work(&value.meta.id);
        ValueView {
            backup: backup.and_then(|b| backups.place(b, || Some(draw_backup(state, session, now, b)))),
            operation: at_work.and_then(|b| operations.place(b, || draw_operation(state, session, now, b))),
            ..draw_value(state, session, now, value)
        }
    };
    let mut values: Vec<ValueView> = state.values.values().map(draw_value).collect();
    values.sort_unstable_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    let mut safes: Vec<SafeView> = state.safes.keys().map(|id| draw_safe(state, session, id)).collect();
    // Ids are in no order that a person knows.
    safes.sort_by(|a, b| a.nickname.cmp(&b.nickname));
    WalletView {
        safes,
        values,
        backups: backups.drawn,
        operations: operations.drawn,
        activity: state.activity.iter().rev().map(draw_activity).collect(),
        storage_persistent,
        rules: state.rules.iter().map(|rule| drafts::draw(state, rule)).collect(),
        room: draw_room(state, session, now),
        exhibits: state.exhibits.iter().rev().map(|exhibit| draw_exhibit(state, exhibit)).collect(),
        owner: state.owner.as_ref().map(|owner| draw_owner(state, session, owner, now)),
        passkeys: Vec::new(),
        leading: true,
    }
}

fn draw_owner(state: &State, session: &Session, owner: &Owner, now: Seconds) -> OwnerView {
    let n = u32::try_from(owner.seats.len()).unwrap_or(u32::MAX);
    let bound = |each| group_bound(n, owner.threshold.into(), 0, each).unwrap_or(u64::MAX);
    let chapters = || state.backups.values().filter_map(|backup| Some((backup, backup.chapter.as_ref()?)));
    let unread = || chapters().filter(|(_, chapter)| chapter.names.is_none()).map(|(backup, _)| backup);
    let mut unread_trouble: Vec<String> = unread().flat_map(|backup| session.failures(state, backup)).collect();
    unread_trouble.sort_unstable();
    unread_trouble.dedup();
    OwnerView {
        name: owner.name.clone(),
        threshold: owner.threshold,
        enrolled: owner.root.is_some() && owner.making.is_none(),
        seats: owner.seats.iter().map(|seat| draw_seat(state, session, owner, seat)).collect(),
        superseded: owner.superseded,
        written: owner.written(),
        quorum: owner.quorum(),
        left_out: owner.left_out,
        chapters: chapters()
            .filter(|(backup, _)| backup.finished.is_some() && backup.operation != Some(Operation::Release))
            .count(),
        unread: unread().count(),
        unread_trouble,
        guesses_prompt: bound(PROMPT_GUESSES),
        guesses_lifetime: bound(LIFETIME_GUESSES),
        kit: owner.kit.as_ref().map(|kit| KitView {
            code: kit.code.clone(),
            made: millis(kit.made),
            lease_end: kit.lease_end.map(millis),
            stale: why_stale(state, kit, now),
        }),
        change: owner.changing.as_ref().map(|changing| draw_change(state, session, owner, changing)),
        change_elsewhere: owner.announced.is_some(),
        leaving: owner.leaving.iter().map(|key| draw_leaving(state, &key.safe)).collect(),
        outdated: owner.is_outdated(),
        exposed: exposed(state).count(),
        unkept: unkept(state).count(),
        // One value of each: the way to the others leads over it.
        exposed_left: renewable(state)
            .filter(|backup| changing::is_left(state, backup))
            .filter_map(|backup| Some(backup.values.first()?.id.to_string()))
            .collect(),
        backups: {
            let of_value = |backup: &Backup| backup.chapter.is_none() && !state.is_leftover(backup);
            state.backups.values().filter(|backup| of_value(backup) && backup.replaces.is_none()).count()
        },
        renewing: owner.renewing.is_some(),
        taking_back: state.taken_back().count(),
        taking_back_waits: state.taken_back().next().is_some() && !session.takes_back,
    }
}

fn draw_leaving(state: &State, safe: &SafeId) -> LeavingView {
    LeavingView { safe_id: safe.to_string(), nickname: state.nickname(safe) }
}

fn draw_change(state: &State, session: &Session, owner: &Owner, changing: &Changing) -> ChangeView {
    let errands = owner.errands();
    let seat = |site: &Site| {
        let errand = errands.iter().find(|(safe, errand)| *safe == site.safe && matches!(errand, Errand::Change(_)));
        let step = match site.step {
            _ if owner.waits_at(site) => {
                "has heard that another of your devices keeps the book; come back here once more"
            }
            Step::Named => "opens an account",
            Step::Opened => "takes its part",
            Step::Staged | Step::Shared => "is being tried",
            Step::Proven if errand.is_none() => "waits for the others",
            Step::Proven => "puts it in force",
            Step::Committed | Step::Answered => "is being tried in force",
            Step::Current if !changing.is_over(site) => "is to forget what was before",
            Step::Current | Step::Dropped => "is ready",
        };
        let away = |(contact, detail): (Contact, Option<&str>)| match contact {
            Contact::Away | Contact::NotItself => Some(detail.unwrap_or("does not answer").to_owned()),
            _ => None,
        };
        let refused = session.owner_refusals.get(&site.safe).cloned();
        OwnerSeatView {
            safe_id: site.safe.to_string(),
            nickname: state.nickname(&site.safe),
            done: changing.is_over(site),
            known: true,
            step,
            trouble: refused.or_else(|| errand.and_then(|_| away(session.contact(&site.safe)))),
        }
    };
    ChangeView {
        threshold: changing.threshold,
        seats: changing.sites.iter().map(seat).collect(),
        may_cancel: !changing.is_announced(),
        in_force: changing.switched,
    }
}

fn draw_seat(state: &State, session: &Session, owner: &Owner, seat: &Seat) -> OwnerSeatView {
    let errand = owner.next(seat);
    let step = match errand {
        Some(Errand::Open) => "opens an account",
        Some(Errand::Stage) => "takes its part",
        Some(Errand::Evaluate | Errand::Show) => "is being tried",
        Some(Errand::Commit) => "puts it in force",
        Some(Errand::Promise | Errand::Write | Errand::Ticket(_)) => "takes the book",
        Some(Errand::Change(_) | Errand::Leave | Errand::Return) => "takes the new enrolment",
        Some(Errand::Ask) => "says which passphrase is in force",
        None if owner.making.is_some() => "waits for the others",
        None if seat.number.is_none() => "does not know this device yet",
        None if seat.turned => "says that another device keeps the book",
        None => "is ready",
    };
    let away = |(contact, detail): (Contact, Option<&str>)| match contact {
        Contact::Away | Contact::NotItself => Some(detail.unwrap_or("does not answer").to_owned()),
        _ => None,
    };
    let refused = session.owner_refusals.get(&seat.safe).cloned();
    OwnerSeatView {
        safe_id: seat.safe.to_string(),
        nickname: state.nickname(&seat.safe),
        done: errand.is_none() && owner.making.is_none() && seat.number.is_some() && !seat.turned,
        known: owner.making.is_some() || seat.number.is_some(),
        step,
        trouble: refused.or_else(|| errand.and_then(|_| away(session.contact(&seat.safe)))),
    }
}

fn draw_exhibit(state: &State, exhibit: &Exhibit) -> KeptExhibit {
    KeptExhibit {
        deposit_id: exhibit.deposit.to_string(),
        nickname: state.nickname(&exhibit.safe),
        title: exhibit.title.clone(),
        what: exhibit.what.clone(),
        since: millis(exhibit.since),
    }
}

fn draw_retirement(state: &State, retirement: &Retirement) -> RetirementView {
    let backups = || retiring::at_safe(state, &retirement.from);
    let left = backups().filter(|backup| retiring::is_left(retirement, backup));
    // One value of each: the way to the others leads over it.
    let left: Vec<String> = left.filter_map(|backup| Some(backup.values.first()?.id.to_string())).collect();
    RetirementView { to: state.nickname(&retirement.to), open: backups().count() - left.len(), left }
}

fn draw_room(state: &State, session: &Session, now: Seconds) -> RoomView {
    let room = session.room(state);
    RoomView {
        set: state.settings.capacity,
        capacity: session.capacity(state),
        used: room::used(state),
        free: room.free,
        lacking: room.lacking(0),
        leaving: rules::leaving(state, &room, now).iter().map(ToString::to_string).collect(),
    }
}

fn draw_activity(line: &Activity) -> ActivityView {
    let level = match line.level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    ActivityView { at: millis(line.at), level, text: line.text.clone() }
}

fn draw_safe(state: &State, session: &Session, id: &SafeId) -> SafeView {
    let known = state.safes.get(id);
    let (name, url, limit_body) = known.map(|s| (s.name.clone(), s.url.clone(), s.limit_body)).unwrap_or_default();
    let contact = match session.contact(id).0 {
        Contact::Untried => "untried",
        Contact::Reachable => "reachable",
        Contact::Away => "away",
        Contact::NotItself => "not-itself",
    };
    SafeView {
        id: id.to_string(),
        nickname: state.nickname(id),
        name,
        url,
        fingerprint: fingerprint(id),
        limit_body,
        token: known.is_some_and(|s| s.token.is_some()),
        whereabouts: known.map(draw_whereabouts).unwrap_or_default(),
        contact,
        retiring: state.retiring.iter().find(|all| all.from == *id).map(|all| draw_retirement(state, all)),
        releasing: {
            let leftovers = state.backups.values().filter(|backup| state.is_leftover(backup));
            leftovers.flat_map(|b| &b.deposits).filter(|d| d.safe == *id && d.stage < Stage::Released).count()
        },
        deposits: {
            let current = state.backups.values().filter(|backup| !state.is_leftover(backup));
            current.flat_map(|b| &b.deposits).filter(|d| d.safe == *id).count()
        },
    }
}

/// What is drawn once for all values of a backup.
struct Once<T> {
    drawn: Vec<T>,
    places: BTreeMap<BackupId, Option<usize>>,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { drawn: Vec::new(), places: BTreeMap::new() }
    }
}

impl<T> Once<T> {
    fn place(&mut self, backup: &Backup, draw: impl FnOnce() -> Option<T>) -> Option<usize> {
        let Self { drawn, places } = self;
        *places.entry(backup.id).or_insert_with(|| {
            drawn.push(draw()?);
            Some(drawn.len() - 1)
        })
    }
}

/// But for its backup and what is done with it.
fn draw_value(state: &State, session: &Session, now: Seconds, value: &Value) -> ValueView {
    let backup = value.backup.and_then(|id| state.backups.get(&id));
    let (label, reason, next) = condition(state, session, now, value, backup);
    let next_step = next.map(str::to_owned);
    ValueView {
        id: value.meta.id.to_string(),
        title: value.meta.title.clone(),
        kind: value.meta.kind.clone(),
        file_name: value.meta.file_name.clone(),
        mime: value.meta.mime.clone(),
        size: value.meta.length,
        created: millis(value.meta.created),
        unique: value.meta.lives_once(),
        tags: value.meta.tags().to_vec(),
        left_alone: value.left_alone.map(millis),
        changed: state.is_changed(value),
        local: value.content.is_some(),
        state: label,
        reason,
        next_step,
        backup: None,
        operation: None,
    }
}

/// (threshold, number of safes) of what was made, not of what was asked for: any `threshold` of the safes suffice.
fn threshold(session: &Session, backup: &Backup) -> (usize, usize) {
    let all = backup.plan.safes().len();
    let signed = safes_where(backup, |ds| ds.iter().all(|d| d.stage >= Stage::Held));
    let enough = all.saturating_sub(session.strength(backup).losses);
    // What lives once is given to nobody before so many safes agree to whom.
    (enough.max(claiming::needed_for(backup)), if backup.finished.is_some() { signed } else { all })
}

/// State, reason, next step.
fn condition(
    state: &State,
    session: &Session,
    now: Seconds,
    value: &Value,
    backup: Option<&Backup>,
) -> (&'static str, String, Option<&'static str>) {
    let Some(backup) = backup else {
        return ("local-only", "Only on this device.".to_owned(), Some("Back it up to your safes."));
    };
    let (k, n) = threshold(session, backup);
    match backup.operation {
        Some(Operation::Register) => protecting(state, session, now, backup, n),
        Some(Operation::Claim) => {
            ("protecting", "All safes have signed. It is being claimed for this device.".to_owned(), None)
        }
        // The copy here is the one that counts from now on.
        Some(Operation::Release) if value.content.is_some() => {
            ("local-only", "The safes are letting it go; it is on this device.".to_owned(), None)
        }
        Some(Operation::Release) => ("at-risk", "The safes are letting it go.".to_owned(), None),
        _ if value.content.is_none() && lost(session, backup) => {
            let reason = "Too few safes still hold their piece.".to_owned();
            let next = if state.owner.is_some() {
                "If it was let go in the last seven days, go back to an earlier day under Recover. Or look for another certificate file or another device that has it."
            } else {
                "Look for another certificate file or another device that has it."
            };
            ("unrecoverable", reason, Some(next))
        }
        _ if backup.is_lost() && session.takes_back && state.owner.as_ref().is_some_and(Owner::only_reads) => {
            let reason = "It may have been let go since; it is asked back when you want it.".to_owned();
            ("moved", reason, Some("Recover it when you need it."))
        }
        _ if backup.is_lost() && session.takes_back => {
            ("protecting", "It is being taken back: it may have been let go.".to_owned(), None)
        }
        _ if backup.is_lost() => {
            let reason = "It may have been let go, and your safes are to take that back.".to_owned();
            ("at-risk", reason, Some("Go back to that day once more under Recover: it takes your passphrase."))
        }
        _ if value.content.is_none() && backup.is_taken() => {
            let next = "If that device is lost, take it over. If not, remove it from this list.";
            let reason = if backup.held {
                "It may live only once, and was still on another of your devices when that one last wrote your book."
            } else {
                "It may live only once, and another device has claimed it."
            };
            ("moved", reason.to_owned(), Some(next))
        }
        _ if state.is_changed(value) && state.successor(&backup.id).is_some() => {
            ("protecting", "It was changed since it was backed up. The change is being backed up.".to_owned(), None)
        }
        _ if state.is_changed(value) => {
            let reason = "It was changed since it was backed up: the safes have it as it was before.".to_owned();
            ("at-risk", reason, Some("Back up the change."))
        }
        _ if backup.deposits.iter().any(|d| d.fault.is_some()) => faulty(value, backup, k, n),
        _ => match upkeep::silent_since(backup, now) {
            Some((silent, since)) => {
                let who = match silent {
                    1 => format!("One of {n} safes has not shown its piece"),
                    _ => format!("{silent} of {n} safes have not shown their pieces"),
                };
                let reason = format!("{who} for {} days.", (now - since) / DAY);
                let next =
                    "Check that they still have it. If one does not come back, renew it with another in its place.";
                ("at-risk", reason, Some(next))
            }
            None if value.content.is_some() => {
                let reason = match n {
                    1 => "One safe holds it.".to_owned(),
                    _ => format!("{n} safes hold a piece each; {}.", bring_back(k, n)),
                };
                ("protected", reason, None)
            }
            None => {
                let reason = format!("Not on this device; {}.", bring_back(k, n));
                ("moved", reason, Some("Recover it when you need it."))
            }
        },
    }
}

/// A registration is under way.
fn protecting(
    state: &State,
    session: &Session,
    now: Seconds,
    backup: &Backup,
    n: usize,
) -> (&'static str, String, Option<&'static str>) {
    let held = safes_where(backup, |ds| ds.iter().all(|d| d.stage >= Stage::Held));
    if let Some(since) = upkeep::unfinished_since(backup, now) {
        let reason = format!("For {} days not every safe has signed: {held} of {n} have.", (now - since) / DAY);
        return ("at-risk", reason, Some("See which safe is missing. Give this backup up, and make one without it."));
    }
    let after = if backup.then.is_some() { " When all have, it leaves this device." } else { "" };
    let next = match (waiting_for(state, session, backup), backup.file_saved) {
        (Some(_), _) => Some("Some safes do not answer. It goes on by itself when they do."),
        (None, Some(false)) if held == n => {
            Some("Save the file with its piece, and choose it again to show that you have it.")
        }
        _ => None,
    };
    ("protecting", format!("{held} of {n} safes have signed.{after}"), next)
}

/// How many of so many safes bring a value back.
fn bring_back(k: usize, n: usize) -> String {
    match (k, n) {
        (0, _) => "it needs no safe to come back".to_owned(),
        (_, 1) => "one safe brings it back".to_owned(),
        (1, _) => format!("any one of {n} brings it back"),
        _ if k == n => format!("all {n} are needed to bring it back"),
        _ => format!("any {k} of {n} bring it back"),
    }
}

/// Some safes do not show what they signed for.
fn faulty(value: &Value, backup: &Backup, k: usize, n: usize) -> (&'static str, String, Option<&'static str>) {
    let sound = safes_where(backup, |ds| ds.iter().all(|d| d.fault.is_none()));
    let reason =
        format!("{} of {n} safes did not show their piece; {sound} are left, and {k} are needed.", n - sound.min(n));
    let next = match (value.content.is_some(), backup.is_enough(|d| d.fault.is_none())) {
        (true, _) | (false, true) => "Renew it, with other safes in their place.",
        (false, false) => "Try to recover it all the same, and look for another device that has it.",
    };
    ("at-risk", reason, Some(next))
}

/// Whether safes that answered have said, or shown, that they no longer hold what is needed. Silence proves nothing.
fn lost(session: &Session, backup: &Backup) -> bool {
    let Some(recovery) = session.recoveries.get(&backup.id) else { return false };
    !backup.is_enough(|d| !matches!(recovery.fetches.get(&d.id), Some(Fetch::Lied(_) | Fetch::Refused(_))))
}

fn deposits_of<'a>(backup: &'a Backup, safe: &SafeId) -> Vec<&'a Deposit> {
    backup.deposits.iter().filter(|d| d.safe == *safe).collect()
}

fn safes_of(backup: &Backup) -> Vec<SafeId> {
    let mut safes = Vec::new();
    for deposit in &backup.deposits {
        if !safes.contains(&deposit.safe) {
            safes.push(deposit.safe);
        }
    }
    safes
}

fn safes_where(backup: &Backup, test: impl Fn(&[&Deposit]) -> bool) -> usize {
    safes_of(backup).iter().filter(|s| test(&deposits_of(backup, s))).count()
}

fn draw_backup(state: &State, session: &Session, now: Seconds, backup: &Backup) -> BackupView {
    let (threshold, total) = threshold(session, backup);
    let strength = session.strength(backup);
    let plan = backup.plan.to_text(&|safe| state.nickname(safe));
    let places = backup.plan.places();
    let has = |wanted: &Place<SafeId>| places.iter().any(|(_, place)| *place == wanted);
    let segments = backup.layout().map_or(0, |l| l.segments());
    let certificates = backup.deposits.iter().map(|deposit| {
        let signed = deposit.certificate.as_ref().and_then(|c| read_unverified(c).ok());
        let state_word = match deposit.stage {
            Stage::Planned | Stage::Prepared => "planned",
            Stage::Offered => "offered",
            Stage::Held => "held",
            Stage::Released => "released",
        };
        CertificateView {
            deposit_id: deposit.id.to_string(),
            safe_id: deposit.safe.to_string(),
            nickname: state.nickname(&deposit.safe),
            segment: deposit.segment,
            segments,
            state: state_word,
            length: signed.as_ref().map(|s| s.length),
            root: signed.as_ref().map(|s| s.root.to_string()),
            issued: signed.as_ref().map(|s| millis(s.issued)),
            lease_end: signed.as_ref().map(|s| millis(s.lease_end)),
            entry: signed.as_ref().map(|s| s.entry),
            url: signed.map(|s| s.url),
            audited: deposit.audited.map(millis),
            auditing: upkeep::is_due(backup, deposit, now),
            fault: deposit.fault.as_ref().map(|f| f.what.clone()),
        }
    });
    BackupView {
        id: backup.id.to_string(),
        plan: plan.to_string(),
        threshold,
        total,
        coalition: strength.coalition,
        needs_words: strength.words,
        needs_file: strength.file,
        values: backup.values.iter().map(|meta| meta.id.to_string()).collect(),
        has_words: has(&Place::Memory),
        has_file: has(&Place::File),
        // It is ready once all of it is made. Of two generations it is the next one's that waits.
        file_unsaved: {
            let made = state.successor(&backup.id).unwrap_or(backup);
            made.file_saved == Some(false) && made.unmade().is_none()
        },
        drilled: backup.drilled.map(millis),
        claim: backup.lives_once().then(|| match () {
            () if backup.is_ours() => "ours",
            () if backup.is_taken() => "taken",
            () => "open",
        }),
        certificates: certificates.collect(),
    }
}

/// Which safes an operation waits for.
fn waiting_for(state: &State, session: &Session, backup: &Backup) -> Option<String> {
    let away = |safe: &&SafeId| {
        matches!(session.contact(safe).0, Contact::Away | Contact::NotItself)
            || deposits_of(backup, safe).iter().any(|d| session.refusals.contains_key(&d.id))
    };
    let safes = safes_of(backup);
    let open: Vec<String> = safes
        .iter()
        .filter(|safe| deposits_of(backup, safe).iter().any(|d| d.stage < Stage::Held))
        .filter(away)
        .map(|safe| state.nickname(safe))
        .collect();
    (!open.is_empty()).then(|| open.join(", "))
}

fn draw_operation(state: &State, session: &Session, now: Seconds, backup: &Backup) -> Option<OperationView> {
    let operation = backup.operation?;
    let safes: Vec<SafeProgress> = safes_of(backup)
        .iter()
        .map(|safe| match operation {
            Operation::Claim => claim_progress(state, session, backup, safe),
            Operation::Recover if backup.must_claim() => claim_progress(state, session, backup, safe),
            Operation::Recover | Operation::Drill => recover_progress(state, session, backup, safe),
            Operation::Register | Operation::Vacate => stage_progress(state, session, backup, safe, Stage::Held),
            Operation::Release => stage_progress(state, session, backup, safe, Stage::Released),
        })
        .collect();
    let lacking = room::suspended(state, session.room(state).free);
    let lacking = lacking.into_iter().find(|(id, _)| *id == backup.id).map(|(_, lacking)| lacking);
    let (kind, progress, waiting) = match operation {
        Operation::Register => {
            // Offer and certificate are one half each.
            let points: usize = backup.deposits.iter().map(|d| stage_points(d.stage)).sum();
            let waiting = waiting_for(state, session, backup).map(|s| format!("Waiting for {s}."));
            (
                match (backup.replaces, backup.then) {
                    (Some(_), _) => "renew",
                    (None, Some(_)) => "move",
                    (None, None) => "register",
                },
                points as f64 / (3 * backup.deposits.len().max(1)) as f64,
                waiting,
            )
        }
        Operation::Claim => {
            let kind = if backup.replaces.is_some() { "renew" } else { "register" };
            (kind, 1.0, Some(claim_under_way(session, backup)))
        }
        Operation::Recover | Operation::Drill => {
            let (progress, waiting) = match backup.must_claim() {
                _ if let Some(lacking) = lacking => (0.0, Some(no_room(lacking))),
                true => (0.0, Some(claim_under_way(session, backup))),
                false => recovery(state, session, now, backup),
            };
            let kind = match (operation, backup.then) {
                (_, Some(Then::Renew)) => "renew",
                _ if backup.replaces.is_some() => "renew",
                (Operation::Recover, None) => "recover",
                (Operation::Recover, Some(_)) => "bring-back",
                (_, None) => "drill",
                (_, Some(_)) => "move",
            };
            (kind, progress, waiting)
        }
        Operation::Vacate => ("move", 1.0, None),
        Operation::Release => {
            let done = backup.deposits.iter().filter(|d| d.stage == Stage::Released).count();
            let away: Vec<&str> = safes
                .iter()
                .filter(|s| s.state != "done" && s.state != "working" && s.state != "waiting")
                .map(|s| s.nickname.as_str())
                .collect();
            let waiting = (!away.is_empty()).then(|| format!("Waiting for {}.", away.join(", ")));
            ("release", done as f64 / backup.deposits.len().max(1) as f64, waiting)
        }
    };
    let hindrance = session.hindrance(&backup.id).map(|why| format!("{why} It goes on by itself when that is mended."));
    let can_cancel = !matches!(operation, Operation::Release | Operation::Vacate);
    let (gathering, waiting) = (backup.is_gathering(), hindrance.or(waiting));
    Some(OperationView { kind, progress, safes, may_close: true, can_cancel, gathering, lacking, waiting })
}

/// A recovery does not fit.
fn no_room(lacking: u64) -> String {
    let lacking = room::say_bytes(lacking);
    format!("It needs {lacking} more on this device. Nothing is lost: it goes on by itself when there is room.")
}

/// What a claim waits for.
fn claim_under_way(session: &Session, backup: &Backup) -> String {
    let (heard, needed) = session.claim_progress(backup);
    let safes = backup.registers().count();
    format!("It may live only once: {needed} of {safes} safes must agree to whom it belongs; {heard} have answered.")
}

fn claim_progress(state: &State, session: &Session, backup: &Backup, safe: &SafeId) -> SafeProgress {
    let (contact, detail) = session.contact(safe);
    let (label, detail) = match contact {
        Contact::Away => ("away", detail.map(str::to_owned)),
        Contact::NotItself => ("lied", detail.map(str::to_owned)),
        _ if session.is_asking(&backup.id, safe) => ("working", None),
        _ => ("waiting", None),
    };
    SafeProgress { safe_id: safe.to_string(), nickname: state.nickname(safe), state: label, done: 0, total: 1, detail }
}

const fn stage_points(stage: Stage) -> usize {
    match stage {
        Stage::Planned => 0,
        Stage::Prepared => 1,
        Stage::Offered => 2,
        Stage::Held | Stage::Released => 3,
    }
}

fn stage_progress(state: &State, session: &Session, backup: &Backup, safe: &SafeId, goal: Stage) -> SafeProgress {
    let deposits = deposits_of(backup, safe);
    let done = deposits.iter().filter(|d| d.stage >= goal).count();
    let refusal = deposits.iter().find_map(|d| session.refusals.get(&d.id));
    let (contact, detail) = session.contact(safe);
    let (label, detail) = match (done == deposits.len(), refusal, contact) {
        (true, _, _) => ("done", None),
        (_, Some(words), _) => ("refused", Some(words.clone())),
        (_, _, Contact::Away) => ("away", detail.map(str::to_owned)),
        (_, _, Contact::NotItself) => ("lied", detail.map(str::to_owned)),
        (_, _, Contact::Reachable) => ("working", detail.map(str::to_owned)),
        (_, _, Contact::Untried) => ("waiting", None),
    };
    SafeProgress {
        safe_id: safe.to_string(),
        nickname: state.nickname(safe),
        state: label,
        done,
        total: deposits.len(),
        detail,
    }
}

fn recover_progress(state: &State, session: &Session, backup: &Backup, safe: &SafeId) -> SafeProgress {
    let deposits = deposits_of(backup, safe);
    let fetches: Vec<&Fetch> = session
        .recoveries
        .get(&backup.id)
        .map(|r| deposits.iter().filter_map(|d| r.fetches.get(&d.id)).collect())
        .unwrap_or_default();
    let done = fetches.iter().filter(|f| matches!(f, Fetch::Got)).count();
    let worst = fetches.iter().find_map(|f| match f {
        Fetch::Lied(words) => Some(("lied", words.clone())),
        Fetch::Refused(words) => Some(("refused", words.clone())),
        Fetch::Away => Some(("away", "does not answer".to_owned())),
        Fetch::Got => None,
    });
    let (label, detail) = match worst {
        Some((label, words)) => (label, Some(words)),
        None if done == deposits.len() => ("done", None),
        None if session.is_asking(&backup.id, safe) => ("working", None),
        None => ("waiting", None),
    };
    SafeProgress {
        safe_id: safe.to_string(),
        nickname: state.nickname(safe),
        state: label,
        done,
        total: deposits.len(),
        detail,
    }
}

fn recovery(state: &State, session: &Session, now: Seconds, backup: &Backup) -> (f64, Option<String>) {
    let empty = Recovery::default();
    let recovery = session.recoveries.get(&backup.id).unwrap_or(&empty);
    let Ok(layout) = backup.layout() else { return (0.0, None) };
    let wanted = backup.wanted_segments(&layout);
    let mut waiting = None;
    // Segments come one after the other; of the one that is being fetched, what is here counts.
    let next = wanted.iter().find(|segment| !recovery.gathered.contains(segment));
    let part = next.map_or(0.0, |segment| {
        let need = session.need(backup, recovery, *segment, now);
        if need.hopeless {
            waiting = Some(why_waiting(state, session, backup, recovery, &layout));
        }
        let here = recovery.pieces.len() as f64;
        here / (here + need.open.max(1) as f64)
    });
    let progress = (recovery.gathered.len() as f64 + part) / wanted.len().max(1) as f64;
    (progress.min(1.0), waiting)
}

/// What a recovery waits for that nobody is being asked for any more.
fn why_waiting(state: &State, session: &Session, backup: &Backup, recovery: &Recovery, layout: &Layout) -> String {
    let mut why: Vec<String> = recovery.trouble.iter().cloned().collect();
    // Whether it could go on if the owner gave these.
    let helps = |words: bool, file: bool| {
        let price = |segment: u32, place: &Place<SafeId>| match place {
            Place::Safe { .. } => {
                let deposit = backup.deposit_at(Slot::of(segment, place)?)?;
                let stranger = deposit.is_bound() && session.owner_refusals.contains_key(&deposit.safe);
                (!stranger && matches!(recovery.fetches.get(&deposit.id), None | Some(Fetch::Got))).then_some(0)
            }
            Place::Book => Some(0),
            Place::File => (!recovery.file.is_empty() || file).then_some(0),
            Place::Memory => (recovery.words.is_some() || words).then_some(0),
        };
        layout.choose(0, &recovery.keys, &price).is_some()
    };
    if helps(true, false) {
        why.push("It needs the words that you chose for it.".to_owned());
    } else if helps(false, true) {
        why.push("It needs the file that you saved for it.".to_owned());
    } else if helps(true, true) {
        why.push("It needs the words that you chose for it, and the file that you saved.".to_owned());
    }
    let failures = session.failures(state, backup);
    if !failures.is_empty() {
        let failures = failures.join("; ");
        why.push(if lost(session, backup) {
            format!("Too few safes still hold their piece: {failures}.")
        } else {
            format!(
                "Too few safes gave their pieces: {failures}. Nothing is lost; it goes on by itself when they are back."
            )
        });
    }
    why.join(" ")
}
