//! Audits as the wallet makes them: which parts are asked for, and what the answer shows. Pure, like [`crate::exchange`].
//!
//! A safe is asked about many deposits at once, each by the audit secret, which gives no right to it. What it shows is checked against the
//! certificate, or what the head of the book says. Spec: `spec/audit.md`.

use protocol::{
    audit::{
        AuditItem, AuditResult, MAX_AUDIT_ANSWER_LEN, MAX_AUDIT_ITEMS, MAX_AUDIT_SLICES, Slice, group_count,
        parse_answer, seal_items,
    },
    certificate::read_unverified,
    claim::CLAIM_SPAN,
    codec,
    deposit::DepositSecrets,
    ids::{BackupId, DepositId, SafeId, Seconds},
    problem::Problem,
};
use rand_core::CryptoRng;

use crate::{
    exchange::{Answer, Meaning, Request, base, refusal},
    machine::{Event, Shown, WalletError},
    session::Contact,
    state::{Body, State},
};

/// How long a body may not show after it was certified, seconds, before that counts. An hour, as in `spec/evidence.md`.
const SETTLE_SPAN: Seconds = 3600;
/// Most deposits that are asked about in one request.
pub const MAX_BATCH: usize = MAX_AUDIT_ITEMS;

/// One deposit of an audit under way.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its backup.
    pub backup: BackupId,
    /// Its id.
    pub deposit: DepositId,
    groups: Vec<u32>,
    body: Body,
    /// When its certificate was signed, by the safe's clock; when it was finished if that is not known.
    issued: Seconds,
}

/// An audit of one safe: the request, and what is needed to read the answer.
#[derive(Debug, Clone)]
pub struct Audit {
    /// What is sent.
    pub request: Request,
    /// What is asked, in the order of the answer.
    pub asked: Vec<Asked>,
}

/// First those that were bad; the others at random, every fourth time the last one, which is the first that a cut takes.
fn draw_groups<R: CryptoRng>(length: u64, slices: usize, bad: &[u32], rng: &mut R) -> Vec<u32> {
    let groups = u32::try_from(group_count(length)).unwrap_or(u32::MAX);
    let mut drawn: Vec<u32> = bad.iter().take(slices).copied().collect();
    for _ in drawn.len()..slices {
        let last = rng.next_u32().is_multiple_of(4);
        // The remainder prefers low numbers by less than one in 30,000 for a body of any size that a safe takes.
        let group = if last { groups - 1 } else { rng.next_u32() % groups };
        if !drawn.contains(&group) {
            drawn.push(group);
        }
    }
    drawn
}

/// The request for an audit of deposits at one safe; at most [`MAX_BATCH`] of them are asked about.
///
/// # Errors
/// [`WalletError`] if none of them is held there any more.
pub fn request<R: CryptoRng>(
    state: &State,
    safe: &SafeId,
    deposits: &[(BackupId, DepositId)],
    safe_now: Seconds,
    rng: &mut R,
) -> Result<Audit, WalletError> {
    let known = state.safes.get(safe).ok_or(WalletError::Unknown("safe"))?;
    let slices = MAX_AUDIT_SLICES / deposits.len().clamp(1, MAX_BATCH);
    let mut asked = Vec::new();
    let mut items = Vec::new();
    for (backup, id) in deposits.iter().take(MAX_BATCH) {
        let finished = state.backups.get(backup).and_then(|b| b.finished);
        let deposit = state.backups.get(backup).and_then(|b| b.deposit(id)).filter(|d| d.safe == *safe);
        let Some((deposit, body)) = deposit.and_then(|d| Some((d, d.signed_for()?))) else { continue };
        let certificate = deposit.certificate.as_ref().and_then(|signed| read_unverified(signed).ok());
        let issued = certificate.map(|says| says.issued).or(finished).unwrap_or(0);
        let bad = deposit.fault.as_ref().map_or(&[][..], |fault| &fault.groups);
        let groups = draw_groups(body.length, slices, bad, rng);
        let secret = DepositSecrets::derive(&deposit.d).audit;
        items.push(AuditItem { deposit: *id, secret, groups: groups.clone() });
        asked.push(Asked { backup: *backup, deposit: *id, groups, body, issued });
    }
    if items.is_empty() {
        return Err(WalletError::Unknown("deposit"));
    }
    let identity = state.identity(safe).ok_or(WalletError::Unknown("safe"))??;
    let body = codec::encode(&seal_items(&items, identity.current(safe_now)?, safe_now + CLAIM_SPAN, rng)?);
    let request = Request {
        safe: *safe,
        method: "POST",
        url: format!("{}/v1/audits", base(&known.url)),
        statement: None,
        token: None,
        content_type: "application/cbor",
        body: Some(body),
        most: MAX_AUDIT_ANSWER_LEN as u64,
    };
    Ok(Audit { request, asked })
}

/// What an answer shows: one event for all deposits that it settles. `None`: nobody answered.
pub fn interpret(asked: &[Asked], answer: Option<Answer>, safe_now: Seconds) -> Meaning {
    let Some(answer) = answer else {
        return Meaning::Later(Contact::Away, "does not answer".to_owned());
    };
    if let Some((uri, time)) = &answer.problem {
        return refusal(uri, *time);
    }
    let results = match (answer.status, parse_answer(&answer.body, asked.len())) {
        (200, Ok(results)) => results,
        _ => return Meaning::Later(Contact::NotItself, "answers an audit as no safe would".to_owned()),
    };
    // A safe reads so much in one request and no more: what it left out is asked for again, as long as it shows others.
    let left_out = !results.iter().all(|result| is_refused(result, Problem::Unavailable));
    let again = |result: &AuditResult| {
        let too_late =
            [Problem::ClaimReplayed, Problem::ClaimExpired].iter().any(|problem| is_refused(result, *problem));
        too_late || (left_out && is_refused(result, Problem::Unavailable))
    };
    let settled = asked.iter().zip(&results).filter(|(_, result)| !again(result));
    let shown: Vec<_> =
        settled.map(|(asked, result)| (asked.backup, asked.deposit, asked.judge(result, safe_now))).collect();
    if results.iter().all(|result| is_refused(result, Problem::ClaimExpired)) {
        // What the time is there it says elsewhere.
        return Meaning::Descriptor;
    }
    if shown.is_empty() {
        return Meaning::Later(Contact::Reachable, "asks to be asked again".to_owned());
    }
    Meaning::Event(Box::new(Event::Audited(shown)))
}

fn is_refused(result: &AuditResult, with: Problem) -> bool {
    matches!(result, AuditResult::Refused(slug) if slug == with.slug())
}

impl Asked {
    fn judge(&self, result: &AuditResult, safe_now: Seconds) -> Shown {
        let bad = |what: &str| Shown::Bad(what.to_owned(), Vec::new());
        match result {
            AuditResult::Shown(slices) => {
                // What is missing at the end of the list was not shown either.
                let belongs = |at: usize, group: u32| {
                    slices
                        .get(at)
                        .is_some_and(|slice: &Slice| slice.verify(&self.body.root, self.body.length, group).is_ok())
                };
                let groups = self.groups.iter().copied().enumerate();
                let wrong: Vec<u32> =
                    groups.filter(|(at, group)| !belongs(*at, *group)).map(|(_, group)| group).collect();
                if wrong.is_empty() {
                    Shown::Sound(self.groups.clone())
                } else {
                    Shown::Bad("shows other bytes than it signed for".to_owned(), wrong)
                }
            }
            _ if is_refused(result, Problem::NotFound) => bad("does not have what it signed for"),
            _ if is_refused(result, Problem::Gone) => bad("says that it was released"),
            // Storage at the edge may take a while to show what was just written.
            _ if is_refused(result, Problem::Unavailable) && safe_now > self.issued.saturating_add(SETTLE_SPAN) => {
                bad("cannot show what it signed for")
            }
            _ => Shown::Unclear,
        }
    }
}
