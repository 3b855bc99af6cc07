//! Requests to safes, made from the state, and what their answers mean. Pure: the shell only carries bytes.

use base64ct::{Base64, Encoding};
use protocol::{
    SUITE,
    certificate::{MAX_SIGNED_LEN, Registration, read_unverified},
    claim::{CLAIM_SPAN, Claim, Confirm, Shown, Verb},
    codec,
    crypto::{Secret, blake3, same_bytes},
    deposit::DepositSecrets,
    envelope::Envelope,
    ids::{BackupId, DepositId, Root, SafeId, Seconds},
    owner::{
        name::NameKey,
        ticket::{Ticket, is_bound},
    },
    problem::Problem,
    program::Piece,
    register::{self, MAX_REGISTER_ANSWER_LEN, MAX_REGISTER_LEN, Proposal, Vouched, seal_proposal},
    sealed::Sealed,
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    machine::{Event, Shown as ShownPiece, WalletError},
    session::{Contact, Errand},
    state::{Backup, Deposit, Level, Operation, State},
};

/// A request to a safe, as the shell sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The safe.
    pub safe: SafeId,
    /// HTTP method.
    pub method: &'static str,
    /// Whole address.
    pub url: String,
    /// Header `Strongroom-Statement`, where there is one.
    pub statement: Option<String>,
    /// Header `Strongroom-Token`, where the owner has one.
    pub token: Option<String>,
    /// Header `Content-Type`, where there is a body.
    pub content_type: &'static str,
    /// The body; `None`: the body that was prepared for this deposit.
    pub body: Option<Vec<u8>>,
    /// Longest answer that is read, bytes.
    pub most: u64,
}

/// An answer, as the shell read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
    /// `type` and `time` of problem details, where the answer is that.
    pub problem: Option<(String, Seconds)>,
}

/// What an answer means.
#[derive(Debug)]
#[non_exhaustive]
pub enum Meaning {
    /// It happened.
    Event(Box<Event>),
    /// A body came back: to be measured and passed to [`check_body`], then to be opened and passed to [`opened`].
    Body(Vec<u8>),
    /// These are the pieces that belong there.
    Pieces(Vec<Piece>),
    /// The register of what lives once has answered: to be passed to [`crate::session::Session::registered`].
    Registered(register::Answer),
    /// The piece lives once, and the safe does not know that it belongs to this device, or has let it go: to be passed to [`crate::session::Session::unaware`].
    Unaware,
    /// A ticket for what is bound to the owner: to be passed to [`crate::session::Session::set_ticket`].
    Ticket(Ticket),
    /// The body is not the certified one: the safe lied or lost it.
    Lied(String),
    /// Try again at once, by the safe's clock.
    Clock(Seconds),
    /// The safe cannot read what was sealed to it, or finds it too old: look at its descriptor for other keys and the time there, and try again.
    Descriptor,
    /// Try again later.
    Later(Contact, String),
    /// The safe will not do it; the owner is told.
    Refused(String),
}

pub(crate) fn base(url: &str) -> &str {
    url.trim_end_matches('/')
}

/// The address of a safe's descriptor.
pub fn descriptor_url(url: &str) -> String {
    format!("{}/.well-known/strongroom", base(url))
}

/// A deposit of a backup.
pub(crate) fn find<'a>(
    state: &'a State,
    backup: &BackupId,
    deposit: &DepositId,
) -> Result<(&'a Backup, &'a Deposit), WalletError> {
    let backup = state.backups.get(backup).ok_or(WalletError::Unknown("backup"))?;
    Ok((backup, backup.deposit(deposit).ok_or(WalletError::Unknown("deposit"))?))
}

/// The request for an errand. `ticket`: what the safe gave its owner; used where the deposit is bound to him.
///
/// # Errors
/// [`WalletError`] if the state has moved on and there is nothing to ask any more.
pub fn request<R: CryptoRng>(
    state: &State,
    backup: &BackupId,
    deposit: &DepositId,
    errand: Errand,
    ticket: Option<&Ticket>,
    safe_now: Seconds,
    rng: &mut R,
) -> Result<Request, WalletError> {
    let (backup, deposit) = find(state, backup, deposit)?;
    let ticket = ticket.filter(|_| errand.right().is_some_and(|right| deposit.asks_owner(right)));
    let safe = state.safes.get(&deposit.safe).ok_or(WalletError::Unknown("safe"))?;
    let path = format!("{}/v1/deposits/{}", base(&safe.url), deposit.id);
    let request = |method, url, content_type, body, most| Request {
        safe: deposit.safe,
        method,
        url,
        statement: None,
        token: None,
        content_type,
        body,
        most,
    };
    match errand {
        Errand::Put => {
            // Of what was given up meanwhile, by another window, nothing is there to be sent.
            let made = deposit.statement.as_ref().filter(|_| backup.operation == Some(Operation::Register));
            let statement = made.ok_or(WalletError::Unknown("deposit"))?;
            let header = format!(":{}:", Base64::encode_string(&codec::encode(statement)));
            let put = request("PUT", path, "application/octet-stream", None, MAX_SIGNED_LEN as u64);
            Ok(Request { statement: Some(header), token: safe.token.clone(), ..put })
        }
        Errand::Confirm => {
            let offer = deposit.offer.as_ref().ok_or(WalletError::Unknown("deposit"))?;
            let body = codec::encode(&Confirm { suite: SUITE, offer: Root(blake3(offer)) });
            Ok(request("POST", format!("{path}/confirm"), "application/cbor", Some(body), MAX_SIGNED_LEN as u64))
        }
        Errand::Retrieve => {
            let registered = backup.lives_once() && backup.is_register(&deposit.slot());
            let x = backup.claim.as_ref().filter(|_| registered).map(|claim| claim.x.clone());
            let body = claim(state, deposit, Verb::Retrieve, (x, ticket), safe_now, rng)?;
            Ok(request("POST", format!("{path}/retrieve"), "application/cbor", Some(body), safe.limit_body))
        }
        Errand::Release => {
            let body = claim(state, deposit, Verb::Release, (None, ticket), safe_now, rng)?;
            Ok(request("POST", format!("{path}/release"), "application/cbor", Some(body), MAX_SIGNED_LEN as u64))
        }
        Errand::Restore => {
            let body = claim(state, deposit, Verb::Restore, (None, ticket), safe_now, rng)?;
            Ok(request("POST", format!("{path}/restore"), "application/cbor", Some(body), MAX_SIGNED_LEN as u64))
        }
        Errand::Renew => {
            let body = claim(state, deposit, Verb::Renew, (None, None), safe_now, rng)?;
            Ok(request("POST", format!("{path}/renew"), "application/cbor", Some(body), MAX_SIGNED_LEN as u64))
        }
        Errand::Propose(proposal) => {
            let identity = state.identity(&deposit.safe).ok_or(WalletError::Unknown("safe"))??;
            let (entry, expiry) = (identity.current(safe_now)?, safe_now + CLAIM_SPAN);
            let right = right_to(deposit, &proposal);
            let sealed = seal_proposal(&right, &proposal, ticket, entry, &deposit.id, expiry, rng)?;
            let (body, most) = (codec::encode(&sealed), MAX_REGISTER_ANSWER_LEN as u64);
            Ok(request("POST", format!("{path}/register"), "application/cbor", Some(body), most))
        }
    }
}

/// The secret with which something is proposed.
fn right_to(deposit: &Deposit, proposal: &Proposal) -> Secret {
    let secrets = DepositSecrets::derive(&deposit.d);
    if proposal.needs_release() { secrets.release } else { secrets.retrieve }
}

fn claim<R: CryptoRng>(
    state: &State,
    deposit: &Deposit,
    verb: Verb,
    (x, ticket): (Option<Secret>, Option<&Ticket>),
    safe_now: Seconds,
    rng: &mut R,
) -> Result<Vec<u8>, WalletError> {
    let identity = state.identity(&deposit.safe).ok_or(WalletError::Unknown("safe"))??;
    let secrets = DepositSecrets::derive(&deposit.d);
    let secret = match verb {
        Verb::Release | Verb::Restore => secrets.release,
        Verb::Retrieve => secrets.retrieve,
        _ => secrets.audit,
    };
    let (entry, expiry) = (identity.current(safe_now)?, safe_now + CLAIM_SPAN);
    let shown = Shown { secret, x, ticket: ticket.cloned() };
    let claim = Claim::make_with(&shown, entry, &deposit.id, verb, expiry, rng)?;
    Ok(codec::encode(&claim))
}

/// What an answer to a request with this body means. `None`: nobody answered.
pub fn interpret(
    state: &State,
    backup: &BackupId,
    deposit: &DepositId,
    errand: Errand,
    asked: Option<&[u8]>,
    answer: Option<Answer>,
) -> Meaning {
    let Some(answer) = answer else {
        return Meaning::Later(Contact::Away, "does not answer".to_owned());
    };
    let Ok((backup, deposit)) = find(state, backup, deposit) else {
        return Meaning::Refused("the state has moved on".to_owned());
    };
    if let Some((uri, time)) = &answer.problem {
        if Problem::from_type_uri(uri) == Some(Problem::NotOwner) && signed_for_another(state, deposit) {
            return Meaning::Refused("keeps it for another owner than you are on this device".to_owned());
        }
        return problem(backup, deposit, errand, Problem::from_type_uri(uri), uri, *time);
    }
    match (errand, answer.status) {
        (Errand::Put, 200 | 201) => Meaning::Event(Box::new(signed(backup, deposit, answer.body))),
        (Errand::Confirm, 200) => Meaning::Event(Box::new(Event::Certified(backup.id, deposit.id, answer.body))),
        (Errand::Retrieve, 200) => Meaning::Body(answer.body),
        (Errand::Renew, 200) => Meaning::Event(Box::new(Event::Renewed(backup.id, deposit.id, answer.body))),
        (Errand::Release, 200) => Meaning::Event(Box::new(Event::Released(backup.id, deposit.id, Some(answer.body)))),
        (Errand::Restore, 200) => Meaning::Event(Box::new(Event::Restored(backup.id, deposit.id, Some(answer.body)))),
        (Errand::Propose(proposal), 200) => {
            let vouched = codec::decode::<Vouched>(&answer.body, MAX_REGISTER_ANSWER_LEN).ok();
            let asked = asked.and_then(|asked| Sealed::parse(asked, MAX_REGISTER_LEN).ok());
            let answer = vouched
                .zip(asked)
                .and_then(|(vouched, asked)| vouched.verify(&right_to(deposit, &proposal), &asked.nonce, &proposal));
            let stranger = || Meaning::Later(Contact::NotItself, "answers as no safe would that keeps this".to_owned());
            answer.map_or_else(stranger, Meaning::Registered)
        }
        (_, status) => Meaning::Later(Contact::NotItself, format!("answers {status} as no safe would")),
    }
}

fn signed_for_another(state: &State, deposit: &Deposit) -> bool {
    let says = deposit.certificate.as_ref().and_then(|signed| read_unverified(signed).ok());
    says.is_some_and(|says| is_anothers(state, deposit, &says))
}

/// Whether a certificate says that a deposit is bound, and not to the owner of this wallet.
pub(crate) fn is_anothers(state: &State, deposit: &Deposit, says: &Registration) -> bool {
    let Some(bound) = says.owner.as_ref() else { return false };
    let account = state.owner.as_ref().map(|owner| NameKey::new(owner.name_key.clone()).account(&deposit.safe));
    !account.is_some_and(|account| is_bound(bound, &DepositSecrets::derive(&deposit.d).audit, &account))
}

/// A `PUT` is answered with the offer, or with the certificate if the confirmation had arrived and its answer was lost.
fn signed(backup: &Backup, deposit: &Deposit, bytes: Vec<u8>) -> Event {
    if read_unverified(&bytes).is_ok() {
        Event::Certified(backup.id, deposit.id, bytes)
    } else {
        Event::Offered(backup.id, deposit.id, bytes)
    }
}

/// Whether a body that came back is the one that the safe has signed for. Only then is it opened.
///
/// # Errors
/// The meaning to act on, if it is not.
pub fn check_body(
    state: &State,
    backup: &BackupId,
    deposit: &DepositId,
    root: Root,
    length: u64,
) -> Result<(), Meaning> {
    let Some(certified) = find(state, backup, deposit).ok().and_then(|(_, d)| d.signed_for()) else {
        return Err(Meaning::Refused("has no certificate out".to_owned()));
    };
    if length == certified.length && same_bytes(&root.0, &certified.root.0) {
        Ok(())
    } else {
        Err(Meaning::Lied("returned other bytes than it signed for".to_owned()))
    }
}

/// What a body that passed [`check_body`] is, from what was sealed in it; `None`: it did not open.
pub fn opened(state: &State, backup: &BackupId, deposit: &DepositId, plain: Option<Zeroizing<Vec<u8>>>) -> Meaning {
    let envelope = plain.and_then(|plain| Envelope::of_plain(plain).ok());
    let found = find(state, backup, deposit).ok().and_then(|(b, d)| Some((b.layout().ok()?, d)));
    let pieces = envelope.zip(found).and_then(|(envelope, (layout, d))| layout.unpack(d.slot(), &envelope).ok());
    // The bytes are the certified ones, so from here on it is no fault of the safe.
    let stray = || Meaning::Refused("holds a piece that does not belong to this backup".to_owned());
    pieces.map_or_else(stray, Meaning::Pieces)
}

fn problem(
    backup: &Backup,
    deposit: &Deposit,
    errand: Errand,
    known: Option<Problem>,
    uri: &str,
    time: Seconds,
) -> Meaning {
    let event = |event| Meaning::Event(Box::new(event));
    let shows =
        |what: &str| event(Event::Audited(vec![(backup.id, deposit.id, ShownPiece::Bad(what.to_owned(), Vec::new()))]));
    match (errand, known) {
        (Errand::Put | Errand::Confirm, Some(Problem::Gone | Problem::Conflict | Problem::NotFound)) => {
            event(Event::Anew(backup.id, deposit.id))
        }
        (Errand::Release, Some(Problem::Gone | Problem::NotFound)) => {
            event(Event::Released(backup.id, deposit.id, None))
        }
        (Errand::Restore, Some(Problem::Gone | Problem::NotFound)) => {
            event(Event::Restored(backup.id, deposit.id, None))
        }
        (Errand::Retrieve, Some(Problem::Claimed | Problem::Gone)) if backup.lives_once() => Meaning::Unaware,
        // The ticket has had its time, or its credential was revoked: another one is asked for.
        (Errand::Retrieve | Errand::Release | Errand::Restore | Errand::Propose(_), Some(Problem::NotOwner)) => {
            Meaning::Later(Contact::Reachable, "wants to see its owner once more".to_owned())
        }
        (Errand::Retrieve, Some(Problem::Gone)) => Meaning::Refused("says that the piece was released".to_owned()),
        (Errand::Retrieve, Some(Problem::NotFound)) => {
            Meaning::Lied("says that it does not have what it signed for".to_owned())
        }
        (Errand::Propose(_), Some(Problem::NotFound | Problem::Gone)) => {
            Meaning::Refused("does not know to whom it belongs".to_owned())
        }
        (Errand::Renew, Some(Problem::Gone)) => shows("says that it was released"),
        (Errand::Renew, Some(Problem::NotFound)) => shows("does not have what it signed for"),
        _ => refusal(uri, time),
    }
}

/// What a refusal means that is no answer to the errand itself.
pub(crate) fn refusal(uri: &str, time: Seconds) -> Meaning {
    match Problem::from_type_uri(uri) {
        Some(Problem::ClaimExpired) => Meaning::Clock(time),
        Some(Problem::ClaimUnreadable) => Meaning::Descriptor,
        Some(
            Problem::Unavailable
            | Problem::Internal
            | Problem::ClaimReplayed
            | Problem::ChallengeExpired
            | Problem::BodyMismatch,
        ) => {
            // What exactly went wrong there is nothing that a person could do something about.
            Meaning::Later(Contact::Reachable, "asks to be asked again".to_owned())
        }
        Some(Problem::TokenRequired | Problem::TokenInvalid | Problem::TokenExpired) => {
            Meaning::Refused("wants a token of its operator, which you enter under Safes".to_owned())
        }
        Some(Problem::OwnerExists) => Meaning::Refused(
            "was opened under your name by another device: go on there, or take another safe or name; left alone for four weeks, it is free again".to_owned(),
        ),
        Some(Problem::OverQuota) => Meaning::Refused("has no more room under your token".to_owned()),
        Some(problem) => Meaning::Refused(format!("refuses ({})", problem.slug())),
        None => Meaning::Later(Contact::NotItself, format!("answers with an unknown refusal ({uri})")),
    }
}

/// The line of activity for a safe that lied.
pub fn note_of_lie(state: &State, safe: &SafeId, what: &str) -> Event {
    note(&state.nickname(safe), what)
}

/// The line of activity for what a safe did; `what` is a phrase that follows its name.
pub fn note(nickname: &str, what: &str) -> Event {
    Event::Note(Level::Error, format!("Safe “{nickname}” {what}."))
}
