//! Looking into what safes signed, and finding who is at fault: the wallet's side of `protocol::evidence`, in the words of the page.
//!
//! Nothing here needs an open wallet. With one, the faces of its own certificates open, safes have the owner's names, and their known chains
//! count as evidence; and the wallet can make a demand of its own, which alone may say "it did not answer me".

use protocol::{
    SUITE,
    book::KnownSafe,
    certificate::{MAX_SIGNED_LEN, Registration},
    claim::{CLAIM_SPAN, Claim, Verb},
    codec,
    crypto::Secret,
    deposit::{DepositSecrets, Face},
    evidence::{Case, Exhibit, Finding, judge},
    identity::{API_VERSION, Admission, Descriptor, Identity, Limits},
    ids::{DepositId, SafeId, Seconds},
};
use rand_core::CryptoRng;
use serde::Serialize;

use crate::{
    exchange::{Request, base},
    machine::WalletError,
    state::State,
    view::{fingerprint, millis},
};

/// What was found in the files, and what follows from all of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Examination {
    /// By file, in their order.
    pub exhibits: Vec<ExhibitView>,
    /// What follows; nothing where there is no certificate to judge by, or no chain of its safe.
    pub finding: Option<FindingView>,
}

/// One file.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct ExhibitView {
    pub kind: &'static str,
    pub safe_id: Option<String>,
    pub fingerprint: Option<String>,
    pub nickname: Option<String>,
    pub name: Option<String>,
    pub url: Option<String>,
    pub deposit_id: Option<String>,
    pub mine: bool,
    pub length: Option<u64>,
    pub root: Option<String>,
    pub entry: Option<u32>,
    pub issued: Option<u64>,
    pub lease_end: Option<u64>,
    pub face: Option<FaceView>,
    pub unique: bool,
    pub verdict: Option<String>,
    pub left_out: Option<String>,
}

/// What a certificate shows of the value.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct FaceView {
    pub readable: bool,
    pub title: String,
    pub kind: String,
    pub date: u64,
    pub hint: Option<String>,
}

/// Who is at fault.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct FindingView {
    pub code: &'static str,
    pub at_fault: bool,
    pub text: String,
    pub at: Option<u64>,
}

/// Reads the files and judges. `unanswered`: a demand was made here and got no signed answer.
pub fn examine(state: Option<&State>, files: &[Vec<u8>], unanswered: bool, now: Seconds) -> Examination {
    let read: Vec<Option<Exhibit>> = files.iter().map(|file| Exhibit::read(file)).collect();
    let mut exhibits: Vec<ExhibitView> = read.iter().map(|exhibit| draw(state, exhibit.as_ref())).collect();
    let places = |wanted: fn(&Exhibit) -> bool| -> Vec<usize> {
        (0..read.len()).filter(|at| read[*at].as_ref().is_some_and(wanted)).collect()
    };
    let bytes = |places: &[usize]| places.iter().map(|at| files[*at].clone()).collect::<Vec<_>>();
    let certificates = places(|e| matches!(e, Exhibit::Certificate(_)));
    let statements = places(|e| matches!(e, Exhibit::Receipt(_) | Exhibit::Testimony(_)));
    let mut descriptors = bytes(&places(|e| matches!(e, Exhibit::Descriptor(_))));
    let safe = certificates.first().and_then(|at| match &read[*at] {
        Some(Exhibit::Certificate(says)) => Some(says.safe),
        _ => None,
    });
    let known = safe.and_then(|safe| state?.safes.get(&safe));
    descriptors.extend(known.map(descriptor_of));
    if certificates.is_empty() || descriptors.is_empty() {
        return Examination { exhibits, finding: None };
    }
    let (certificates, said) = (bytes(&certificates), bytes(&statements));
    let case = Case { certificates: &certificates, descriptors: &descriptors, statements: &said, unanswered };
    let judgement = judge(&case, now);
    for (place, why) in judgement.ignored {
        exhibits[statements[place]].left_out = Some(why.to_string());
    }
    Examination { exhibits, finding: Some(draw_finding(&judgement.finding)) }
}

/// What the wallet knows of a safe, as the safe would serve it. Only the chain in it is signed, and only the chain counts.
fn descriptor_of(known: &KnownSafe) -> Vec<u8> {
    codec::encode(&Descriptor {
        suite: SUITE,
        api: API_VERSION,
        identity: known.identity.clone(),
        name: known.name.clone(),
        url: known.url.clone(),
        chain: known.chain.clone(),
        limits: Limits { body: known.limit_body, lease: 0, confirm: 0, claim: 0 },
        admission: Admission::Open,
        time: 0,
        whereabouts: None,
        owners: None,
        relays: None,
    })
}

fn secret_of(state: Option<&State>, deposit: &DepositId) -> Option<Secret> {
    state?.backups.values().find_map(|backup| backup.deposit(deposit)).map(|deposit| deposit.d.clone())
}

fn draw(state: Option<&State>, exhibit: Option<&Exhibit>) -> ExhibitView {
    let of = |kind, safe: &SafeId| ExhibitView {
        kind,
        safe_id: Some(safe.to_string()),
        fingerprint: Some(fingerprint(safe)),
        nickname: state.and_then(|state| state.safes.get(safe)).map(|known| known.nickname.clone()),
        ..ExhibitView::default()
    };
    let registration = |kind, says: &Registration| {
        let d = secret_of(state, &says.deposit);
        let text = says.face.read(d.as_ref(), &says.deposit).ok();
        let readable = matches!(says.face, Face::Clear(_));
        ExhibitView {
            url: Some(says.url.clone()),
            deposit_id: Some(says.deposit.to_string()),
            mine: d.is_some(),
            length: Some(says.length),
            root: Some(says.root.to_string()),
            entry: Some(says.entry),
            issued: Some(millis(says.issued)),
            lease_end: Some(millis(says.lease_end)),
            unique: says.unique == Some(true),
            face: text.map(|text| FaceView {
                readable,
                title: text.title,
                kind: text.kind,
                date: millis(text.date),
                hint: text.hint,
            }),
            ..of(kind, &says.safe)
        }
    };
    match exhibit {
        Some(Exhibit::Certificate(says)) => registration("certificate", says),
        Some(Exhibit::Offer(says)) => registration("offer", says),
        Some(Exhibit::Receipt(release)) => ExhibitView {
            deposit_id: Some(release.deposit.to_string()),
            mine: secret_of(state, &release.deposit).is_some(),
            root: Some(release.root.to_string()),
            entry: Some(release.entry),
            issued: Some(millis(release.issued)),
            ..of("receipt", &release.safe)
        },
        Some(Exhibit::Testimony(testimony)) => ExhibitView {
            deposit_id: Some(testimony.deposit.to_string()),
            mine: secret_of(state, &testimony.deposit).is_some(),
            entry: Some(testimony.entry),
            issued: Some(millis(testimony.issued)),
            verdict: Some(testimony.verdict.to_string()),
            ..of("testimony", &testimony.safe)
        },
        Some(Exhibit::Descriptor(served)) => {
            let (descriptor, identity) = &**served;
            ExhibitView {
                name: Some(descriptor.name.clone()),
                url: Some(descriptor.url.clone()),
                ..of("descriptor", &identity.id())
            }
        }
        _ => ExhibitView { kind: "unknown", ..ExhibitView::default() },
    }
}

fn draw_finding(finding: &Finding) -> FindingView {
    let (code, at) = match finding {
        Finding::NoContradiction => ("no-contradiction", None),
        Finding::SafeAtFault { at, .. } => ("safe-at-fault", *at),
        Finding::Released { at } => ("released", Some(*at)),
        Finding::LeaseEnded { end } => ("lease-ended", Some(*end)),
        Finding::WrongSecret => ("wrong-secret", None),
        Finding::NoCertificate(_) => ("no-certificate", None),
        Finding::NoChain(_) => ("no-chain", None),
        Finding::KeyRevoked { .. } => ("key-revoked", None),
        _ => ("did-not-answer", None),
    };
    let at_fault = code == "safe-at-fault";
    FindingView { code, at_fault, text: finding.to_string(), at: at.map(millis) }
}

/// A demand to a safe: what became of a deposit of this wallet? The answer is signed, whatever it is.
#[derive(Debug)]
pub struct Demand {
    /// What is sent.
    pub request: Request,
    /// The safe's chain, by which the answer is checked.
    pub identity: Identity,
}

/// Makes a demand about a deposit of this wallet to a safe that has just served this descriptor; `None` if the wallet does not have the deposit.
///
/// # Errors
/// [`WalletError`] if the descriptor is not the safe's.
pub fn demand<R: CryptoRng>(
    state: &State,
    safe: SafeId,
    deposit: &DepositId,
    url: &str,
    descriptor: &[u8],
    rng: &mut R,
) -> Result<Option<Demand>, WalletError> {
    let Some(d) = secret_of(Some(state), deposit) else { return Ok(None) };
    let (served, identity) = Identity::of_descriptor(descriptor, Some(safe))?;
    let secret = DepositSecrets::derive(&d).audit;
    let entry = identity.current(served.time)?;
    let claim = Claim::make(&secret, entry, deposit, Verb::Demand, served.time + CLAIM_SPAN, rng)?;
    let request = Request {
        safe,
        method: "POST",
        url: format!("{}/v1/deposits/{deposit}/demand", base(url)),
        statement: None,
        token: None,
        content_type: "application/cbor",
        body: Some(codec::encode(&claim)),
        most: MAX_SIGNED_LEN as u64,
    };
    Ok(Some(Demand { request, identity }))
}
