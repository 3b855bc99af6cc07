//! What one safe keeps, fetched by another one for its owner (`spec/relay.md`): who can, what is sent, and what comes back.

use protocol::{
    claim::Claim,
    codec,
    ids::{AccountId, BackupId, DepositId, SafeId, Seconds},
    owner::{
        login::ChannelKey,
        messages::{Address, Look, Question, Topic},
        name::NameKey,
        ticket::Ticket,
    },
    problem::Problem,
    relay::{self, Awaiting, Carried, Delivery, MAX_DELIVERY_LEN, PARCEL_SPAN, Parcel, delivery_len},
};
use rand_core::CryptoRng;

use crate::{
    exchange::{self, Answer, Meaning, Request, base, find, refusal},
    machine::WalletError,
    session::{Contact, Errand},
    state::{Backup, Deposit, State},
};

/// Whether another safe may bring it: what lives once takes words with its own safe first.
pub fn may_bring(backup: &Backup, deposit: &Deposit, through: &SafeId) -> bool {
    !backup.lives_once() && deposit.safe != *through
}

/// What a safe may bring of a backup: what is bound to its owner only where the safe that keeps it knows him on this device.
pub fn brings<'a>(state: &State, backup: &'a Backup, through: &SafeId) -> impl Iterator<Item = &'a Deposit> {
    let known = |safe: &SafeId| state.owner.as_ref().is_some_and(|owner| owner.number_at(safe).is_some());
    backup.deposits.iter().filter(move |one| may_bring(backup, one, through) && (!one.is_bound() || known(&one.safe)))
}

/// The safes that know this wallet as its owner's, and so may bring what others keep of a backup, if their operators let them.
pub fn carriers(state: &State, backup: &Backup) -> Vec<SafeId> {
    let owner = state.owner.as_ref().filter(|owner| owner.root.is_some());
    let seats = owner.iter().flat_map(|owner| owner.seats.iter()).filter(|seat| seat.number.is_some());
    seats.map(|seat| seat.safe).filter(|safe| brings(state, backup, safe).next().is_some()).collect()
}

/// At which of both safes something went wrong, and what it means.
pub type Hindered = Box<(SafeId, Meaning)>;

/// What is carried to a safe, until it is sent.
#[derive(Debug)]
pub struct Load {
    to: SafeId,
    carried: Carried,
    /// Longest body, bytes.
    most: u64,
    /// When a claim ends, which the parcel does, too.
    expiry: Option<Seconds>,
}

impl Load {
    /// The safe to which it goes.
    pub const fn to(&self) -> SafeId {
        self.to
    }

    /// A claim to retrieve. `ticket`, `clock`: as for [`exchange::request`].
    ///
    /// # Errors
    /// [`WalletError`] if the state has moved on and there is nothing to ask any more, or the safe has no key to seal to now.
    pub fn claim<R: CryptoRng>(
        state: &State,
        (backup, deposit): (&BackupId, &DepositId),
        ticket: Option<&Ticket>,
        clock: Seconds,
        rng: &mut R,
    ) -> Result<Self, WalletError> {
        let (_, known) = find(state, backup, deposit)?;
        let request = exchange::request(state, backup, deposit, Errand::Retrieve, ticket, clock, rng)?;
        let claim = request.body.unwrap_or_default();
        // The clock goes on until the errand is made.
        let expiry = Claim::parse(&claim).ok().map(|claim| claim.expiry);
        let most = known.signed_for().map_or(request.most, |body| body.length);
        Ok(Self { to: known.safe, carried: Carried::Claim(*deposit, claim.into()), most, expiry })
    }

    /// A look at its owner's account: what [`crate::owner::look_request`] asks for.
    ///
    /// # Errors
    /// [`WalletError`] if there is no owner.
    pub fn look(state: &State, request: &Request) -> Result<Self, WalletError> {
        let account = account(state, &request.safe)?;
        Ok(Self { to: request.safe, carried: Carried::Look(account), most: request.most, expiry: None })
    }

    /// A question in a channel of it: that of [`crate::owner::question`].
    ///
    /// # Errors
    /// [`WalletError`] if there is no owner.
    pub fn question(state: &State, request: &Request) -> Result<Self, WalletError> {
        let account = account(state, &request.safe)?;
        let question = request.body.clone().unwrap_or_default().into();
        Ok(Self { to: request.safe, carried: Carried::Question(account, question), most: request.most, expiry: None })
    }
}

fn account(state: &State, safe: &SafeId) -> Result<AccountId, WalletError> {
    let owner = state.owner.as_ref().ok_or(WalletError::Unknown("owner"))?;
    Ok(NameKey::new(owner.name_key.clone()).account(safe))
}

/// An errand that was sent, until its answer is there.
#[derive(Debug)]
pub struct Asked {
    to: SafeId,
    awaiting: Awaiting,
    most: u64,
}

/// The errand with which something is carried through a safe that has shown its owner's account. `clock`: that of the safe to which it goes.
///
/// # Errors
/// [`Unsendable`] if one of both safes is not known any more, or has no key to seal to now.
pub fn errand<R: CryptoRng>(
    state: &State,
    load: Load,
    through: &SafeId,
    look: &Look,
    clock: Seconds,
    rng: &mut R,
) -> Result<(Request, Asked), Unsendable> {
    let (to, made) = (load.to, parcel(state, load, through, clock, rng));
    let (errand, asked) = made.map_err(|error| (to, error))?;
    let request = request(state, &errand, through, look, rng).map_err(|error| (*through, error))?;
    Ok((request, asked))
}

/// At which of both safes an errand cannot be made, and why.
pub type Unsendable = (SafeId, WalletError);

/// What the other one gets.
fn parcel<R: CryptoRng>(
    state: &State,
    load: Load,
    through: &SafeId,
    clock: Seconds,
    rng: &mut R,
) -> Result<(relay::Errand, Asked), WalletError> {
    let Load { to, carried, most, expiry } = load;
    let identity = state.identity(&to).ok_or(WalletError::Unknown("safe"))??;
    let entry = identity.current(clock)?;
    let expiry = expiry.unwrap_or(clock + PARCEL_SPAN);
    let (parcel, awaiting) = Parcel::make(&carried, expiry, entry, through, rng)?;
    let most = delivery_len(most).min(MAX_DELIVERY_LEN);
    Ok((relay::Errand { to, parcel: codec::encode(&parcel).into(), most }, Asked { to, awaiting, most }))
}

/// What the carrier gets.
fn request<R: CryptoRng>(
    state: &State,
    errand: &relay::Errand,
    through: &SafeId,
    look: &Look,
    rng: &mut R,
) -> Result<Request, WalletError> {
    let owner = state.owner.as_ref().ok_or(WalletError::Unknown("owner"))?;
    let number = owner.number_at(through).ok_or(WalletError::Unknown("credential"))?;
    let carrier = state.safes.get(through).ok_or(WalletError::Unknown("safe"))?;
    let account = account(state, through)?;
    let address = Address { safe: through, account: &account, topic: Topic::Relay };
    let channel = ChannelKey::of_credential(number, owner.key_at(through));
    let identity = state.identity(through).ok_or(WalletError::Unknown("safe"))??;
    let entry = identity.current(look.time)?;
    let (question, _) =
        Question::make(&address, &codec::encode(errand), entry, &look.challenge, Some(channel.proof()), rng)?;
    Ok(Request {
        safe: *through,
        method: "POST",
        url: format!("{}/v1/owners/{account}/{}", base(&carrier.url), Topic::Relay.label()),
        statement: None,
        token: None,
        content_type: "application/cbor",
        body: Some(codec::encode(&question)),
        most: errand.most,
    })
}

/// What the safe answered to which it was carried, as if it had been asked directly.
///
/// # Errors
/// [`Hindered`].
pub fn interpret(state: &State, through: &SafeId, asked: &Asked, answer: Option<Answer>) -> Result<Answer, Hindered> {
    let carrier = |meaning| Err(Box::new((*through, meaning)));
    let Some(answer) = answer else {
        return carrier(Meaning::Later(Contact::Away, "does not answer".to_owned()));
    };
    let name = state.nickname(through);
    if let Some((uri, time)) = &answer.problem {
        return match Problem::from_type_uri(uri) {
            // The carrier has done what it could.
            Some(Problem::RelayFailed) => {
                carrier(Meaning::Later(Contact::Reachable, "does not reach the other safe".to_owned()))
            }
            Some(Problem::NotRelayed) => carrier(Meaning::Refused(format!("is none that “{name}” asks"))),
            Some(Problem::RelayLimit) => carrier(Meaning::Refused(format!("is not asked by “{name}” any more today"))),
            Some(Problem::NotOwner) => {
                carrier(Meaning::Refused(format!("is not asked by “{name}”, which does not know you on this device")))
            }
            _ => carrier(refusal(uri, *time)),
        };
    }
    match asked.awaiting.open(&answer.body, asked.most) {
        Ok(Delivery::Body(body)) => Ok(Answer { status: 200, body: body.0, problem: None }),
        Ok(Delivery::Refused(slug, time)) => {
            Ok(Answer { status: 403, body: Vec::new(), problem: Some((Problem::uri_of(&slug), time)) })
        }
        // One of both has altered it, and nobody can tell which.
        Ok(_) | Err(_) => {
            let why = format!("did not come through “{name}” as it was sent; ask it directly");
            Err(Box::new((asked.to, Meaning::Refused(why))))
        }
    }
}
