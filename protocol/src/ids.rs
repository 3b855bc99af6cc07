//! One type per role of bytes, so that a deposit id is never taken for a backup id.

use core::{fmt, str::FromStr};

use rand_core::CryptoRng;

/// A text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}; copy it again from where it was shown")]
pub struct IdError {
    /// What would have been right.
    pub expected: &'static str,
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length, bytes.
            pub const LEN: usize = $len;
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;
            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map($name).map_err(|_| IdError { expected: concat!(stringify!($len), " bytes") })
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                Self::try_from(d.bytes()?).map_err(minicbor::decode::Error::message)
            }
        }
    };
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        byte_id!($(#[$doc])* $name, $len);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base16ct::lower::encode_string(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let bad = IdError { expected: concat!(stringify!($len), " bytes in lower-case hex") };
                let bytes = base16ct::lower::decode_vec(text).map_err(|_| bad.clone())?;
                Self::try_from(bytes.as_slice()).map_err(|_| bad)
            }
        }
    };
}

macro_rules! random_id {
    ($name:ident) => {
        impl $name {
            /// Draws a fresh one.
            pub fn make_random<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
                let mut id = Self([0; Self::LEN]);
                rng.fill_bytes(&mut id.0);
                id
            }
        }
    };
}

hex_id!(
    /// Names one deposit at one safe. Chosen by the wallet, 128 random bits, never used at a second safe.
    DepositId, 16
);
hex_id!(
    /// Names one backup: one content under one plan. Known to the wallet only; sealed inside every piece.
    BackupId, 16
);
hex_id!(
    /// Names one value of a wallet.
    ValueId, 16
);
hex_id!(
    /// Names one content of a value; drawn by the wallet in which it was changed into that.
    EditionId, 8
);
hex_id!(
    /// Names one attempt to write the bytes of a deposit; drawn by the safe.
    AttemptId, 16
);
hex_id!(
    /// Names one admission token; drawn by the operator who mints it.
    TokenId, 16
);
hex_id!(
    /// BLAKE3 root of a deposited body.
    Root, 32
);
hex_id!(
    /// What a safe stores of a deposit secret: enough to recognise it, useless to present it.
    SecretHash, 32
);
hex_id!(
    /// Single-use number of a claim.
    Nonce, 16
);
hex_id!(
    /// Names who claims a unique value: a hash of the claimant's secret.
    ClaimantId, 32
);
hex_id!(
    /// Names an owner at one safe: 256 bits out of the stretched recovery name and the safe's id ([`crate::owner::name`]).
    AccountId, 32
);
hex_id!(
    /// Names one enrolment of an owner at a group of safes; drawn by the wallet.
    EnrolmentId, 16
);
hex_id!(
    /// Names one try to log in; drawn by whoever tries.
    GuessId, 16
);
hex_id!(
    /// Names a device that takes its turn to write the owner's book; drawn by it.
    DeviceId, 16
);
random_id!(DeviceId);
random_id!(EnrolmentId);
random_id!(GuessId);
random_id!(DepositId);
random_id!(BackupId);
random_id!(ValueId);
random_id!(EditionId);
random_id!(AttemptId);
random_id!(TokenId);
random_id!(Nonce);

byte_id!(
    /// A safe's lasting name: the COSE key thumbprint (RFC 9679, SHA-256) of its identity key.
    /// Text form is bech32m with the prefix `safe`, so that a mistyped id is recognised.
    SafeId, 32
);

const SAFE_HRP: bech32::Hrp = bech32::Hrp::parse_unchecked("safe");

impl fmt::Display for SafeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<bech32::Bech32m, _>(f, SAFE_HRP, &self.0).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for SafeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafeId({self})")
    }
}

impl FromStr for SafeId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = IdError { expected: "a safe's id (safe1…)" };
        let checked =
            bech32::primitives::decode::CheckedHrpstring::new::<bech32::Bech32m>(text).map_err(|_| bad.clone())?;
        if checked.hrp() != SAFE_HRP {
            return Err(bad);
        }
        let bytes: Vec<u8> = checked.byte_iter().collect();
        let id = Self::try_from(bytes.as_slice()).map_err(|_| bad.clone())?;
        // The decoder leaves the four bits that fill up the last character unread; one id has one text.
        if id.to_string().eq_ignore_ascii_case(text) { Ok(id) } else { Err(bad) }
    }
}

/// Seconds since 1970-01-01T00:00:00Z. All times in formats are of this kind.
pub type Seconds = u64;
