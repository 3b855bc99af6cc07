//! What one safe keeps, fetched by another one for its owner (`spec/relay.md`): who can, what is sent, and what comes back.

use protocol::{
    certificate::read_unverified,
    claim::{CLAIM_SPAN, Claim, Shown, Verb},
    codec,
    deposit::DepositSecrets,
    ids::{BackupId, DepositId, SafeId, Seconds},
    owner::{
        login::ChannelKey,
        messages::{Address, Look, Question, Topic},
        name::NameKey,
    },
    problem::Problem,
    relay::{self, Awaiting, Delivery, MAX_DELIVERY_LEN, Parcel, delivery_len},
};
use rand_core::CryptoRng;

use crate::{
    exchange::{self, Answer, Meaning, Request, base, find, refusal},
    machine::WalletError,
    session::{Contact, Errand},
    state::{Backup, Deposit, State},
};

/// Whether another safe may bring it: what is bound to its owner, or lives once, takes a word with its own safe first.
pub fn may_bring(backup: &Backup, deposit: &Deposit, through: &SafeId) -> bool {
    !backup.lives_once() && !deposit.is_bound() && deposit.safe != *through
}

/// The safes that know this wallet as its owner's, and so may bring what others keep of a backup, if their operators let them.
pub fn carriers(state: &State, backup: &Backup) -> Vec<SafeId> {
    let owner = state.owner.as_ref().filter(|owner| owner.root.is_some());
    let seats = owner.iter().flat_map(|owner| owner.seats.iter()).filter(|seat| seat.number.is_some());
    seats.map(|seat| seat.safe).filter(|safe| backup.deposits.iter().any(|one| may_bring(backup, one, safe))).collect()
}

/// An errand that was sent, until its answer is there.
#[derive(Debug)]
pub struct Asked {
    awaiting: Awaiting,
    most: u64,
}

/// The errand with which a deposit is fetched through a safe that has shown its owner's account. `clock`: that of the safe that keeps it.
///
/// # Errors
/// [`WalletError`] if the state has moved on and there is nothing to ask any more, or one of both safes has no key to seal to now.
pub fn errand<R: CryptoRng>(
    state: &State,
    (backup, deposit): (&BackupId, &DepositId),
    through: &SafeId,
    look: &Look,
    clock: Seconds,
    rng: &mut R,
) -> Result<(Request, Asked), WalletError> {
    let (_, deposit) = find(state, backup, deposit)?;
    let owner = state.owner.as_ref().ok_or(WalletError::Unknown("owner"))?;
    let number = owner.number_at(through).ok_or(WalletError::Unknown("credential"))?;
    let carrier = state.safes.get(through).ok_or(WalletError::Unknown("safe"))?;
    let keeper = state.safes.get(&deposit.safe).ok_or(WalletError::Unknown("safe"))?;
    // What the keeper gets.
    let identity = state.identity(&deposit.safe).ok_or(WalletError::Unknown("safe"))??;
    let entry = identity.current(clock)?;
    let shown = Shown::secret(DepositSecrets::derive(&deposit.d).retrieve);
    let claim = Claim::make_with(&shown, entry, &deposit.id, Verb::Retrieve, clock + CLAIM_SPAN, rng)?;
    let (parcel, awaiting) = Parcel::make(deposit.id, &claim, entry, through, rng)?;
    let certified = deposit.certificate.as_ref().and_then(|signed| read_unverified(signed).ok());
    let length = certified.map_or(keeper.limit_body, |certified| certified.length);
    let most = delivery_len(length).min(MAX_DELIVERY_LEN);
    let errand = relay::Errand { to: deposit.safe, parcel: codec::encode(&parcel).into(), most };
    // What the carrier gets.
    let account = NameKey::new(owner.name_key.clone()).account(through);
    let address = Address { safe: through, account: &account, topic: Topic::Relay };
    let channel = ChannelKey::of_credential(number, owner.key_at(through));
    let identity = state.identity(through).ok_or(WalletError::Unknown("safe"))??;
    let entry = identity.current(look.time)?;
    let (question, _) =
        Question::make(&address, &codec::encode(&errand), entry, &look.challenge, Some(channel.proof()), rng)?;
    let request = Request {
        safe: *through,
        method: "POST",
        url: format!("{}/v1/owners/{account}/{}", base(&carrier.url), Topic::Relay.label()),
        statement: None,
        token: None,
        content_type: "application/cbor",
        body: Some(codec::encode(&question)),
        most,
    };
    Ok((request, Asked { awaiting, most }))
}

/// What an answer means, and which of both safes it is about.
pub fn interpret(
    state: &State,
    (backup, deposit): (&BackupId, &DepositId),
    through: &SafeId,
    asked: &Asked,
    answer: Option<Answer>,
) -> (SafeId, Meaning) {
    let carrier = |meaning| (*through, meaning);
    let Some(answer) = answer else {
        return carrier(Meaning::Later(Contact::Away, "does not answer".to_owned()));
    };
    let Ok((_, known)) = find(state, backup, deposit) else {
        return carrier(Meaning::Refused("the state has moved on".to_owned()));
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
    let keeper = |meaning| (known.safe, meaning);
    match asked.awaiting.open(&answer.body, asked.most) {
        Ok(Delivery::Body(body)) => keeper(Meaning::Body(body.0)),
        Ok(Delivery::Refused(slug, time)) => {
            let uri = Problem::uri_of(&slug);
            let answer = Answer { status: 403, body: Vec::new(), problem: Some((uri, time)) };
            keeper(exchange::interpret(state, backup, deposit, Errand::Retrieve, None, Some(answer)))
        }
        // One of both has altered it, and nobody can tell which.
        Ok(_) | Err(_) => {
            keeper(Meaning::Refused(format!("did not come through “{name}” as it was sent; ask it directly")))
        }
    }
}
