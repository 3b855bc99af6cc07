//! Errors as the page gets them: `Error` with a stable `code`, a sentence, and the next step.

use std::borrow::Cow;

use protocol::{
    book::BookError, identity::IdentityError, owner::kit::KitError, passphrase::PassphraseError,
    piece_file::PieceFileError,
};
use wasm_bindgen::JsValue;

use crate::{machine::WalletError, passkey::PasskeyError, store::StoreError, vault::VaultError, view::sentence};

/// An error on its way to the page. It is thin: results are handed on in a hundred places, errors are rare.
#[derive(Debug)]
pub(crate) struct EngineError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: &'static str,
    message: Cow<'static, str>,
    next: Option<&'static str>,
}

/// The code of what a safe sent and did not sign, or not so.
pub(crate) const NOT_SIGNED: &str = "not-signed";

/// The code of what names something that is not, or no longer, in the wallet.
pub(crate) const UNKNOWN: &str = "unknown";

const LOCKED: EngineErrorText = ("locked", "The wallet is locked.", Some("Unlock it with your passphrase."));

type EngineErrorText = (&'static str, &'static str, Option<&'static str>);

impl EngineError {
    pub(crate) fn new(text: EngineErrorText) -> Self {
        Self(Box::new(Parts { code: text.0, message: Cow::Borrowed(text.1), next: text.2 }))
    }

    /// The wallet is not open.
    #[inline(never)]
    pub(crate) fn locked() -> Self {
        Self::new(LOCKED)
    }

    /// Whether it has this code.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.0.code == code
    }

    /// What happened, in a sentence.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    pub(crate) fn of(code: &'static str, error: &dyn core::fmt::Display, next: Option<&'static str>) -> Self {
        Self(Box::new(Parts { code, message: Cow::Owned(sentence(&error.to_string())), next }))
    }
}

impl From<EngineError> for JsValue {
    fn from(error: EngineError) -> Self {
        let Parts { code, message, next } = *error.0;
        let js = js_sys::Error::new(&message);
        let next = next.map_or(Self::NULL, Self::from_str);
        // Setting a property of a fresh object cannot fail.
        let _ = js_sys::Reflect::set(&js, &"code".into(), &code.into());
        let _ = js_sys::Reflect::set(&js, &"next".into(), &next);
        js.into()
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoRoom => Self::of("no-room", &error, Some("Free some room on this device and try again.")),
            StoreError::Superseded { .. } | StoreError::BlobGone => Self::of("superseded", &error, Some("Try again.")),
            StoreError::Failed(_) => {
                Self::of("store-failed", &error, Some("Close other windows of this page and try again."))
            }
        }
    }
}

impl From<VaultError> for EngineError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Empty => {
                Self::of("no-wallet", &error, Some("Make a wallet, or recover from a certificate file."))
            }
            VaultError::WrongPassphrase => {
                Self::of("wrong-passphrase", &error, Some("Check the spelling and try again."))
            }
            VaultError::UnknownPasskey | VaultError::WrongPasskey => {
                Self::of("wrong-passkey", &error, Some("Use another one, or your passphrase, which always works."))
            }
            VaultError::Damaged => {
                Self::of("store-damaged", &error, Some("Recover your values from the safes with a certificate file."))
            }
            VaultError::Crypto(_) => Self::of("internal", &error, Some("Reload the page.")),
        }
    }
}

impl From<PasskeyError> for EngineError {
    fn from(error: PasskeyError) -> Self {
        let (code, next) = match error {
            PasskeyError::TooMany => ("too-many-passkeys", Some("Remove one that you no longer use.")),
            PasskeyError::Known => ("passkey-known", Some("Add another one, as a spare.")),
            PasskeyError::Unknown => (UNKNOWN, Some("Perhaps it was removed in another window. Reload the page.")),
            PasskeyError::Malformed => ("passkey-refused", Some("Try another passkey or security key.")),
            PasskeyError::Crypto(_) => ("internal", Some("Reload the page and try again.")),
        };
        Self::of(code, &error, next)
    }
}

impl From<PassphraseError> for EngineError {
    fn from(error: PassphraseError) -> Self {
        match error {
            PassphraseError::TooShort(_) => Self::of("passphrase-too-short", &error, Some("Choose a longer one.")),
            _ => Self::of("passphrase-refused", &error, Some("Choose another one.")),
        }
    }
}

impl From<IdentityError> for EngineError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Mismatch { .. } => {
                Self::of("safe-mismatch", &error, Some("Ask the safe's operator before you trust it."))
            }
            IdentityError::Malformed(_) => Self::of("not-a-safe", &error, Some("Check the address.")),
            _ => Self::of("not-a-safe", &error, Some("Tell the safe's operator.")),
        }
    }
}

impl From<BookError> for EngineError {
    fn from(error: BookError) -> Self {
        match error {
            BookError::WrongPassphrase => {
                Self::of("wrong-passphrase", &error, Some("Use the passphrase that was chosen for this file."))
            }
            _ => Self::of(
                "not-a-certificate-file",
                &error,
                Some("Choose a file that was saved by “Download certificates”."),
            ),
        }
    }
}

impl From<WalletError> for EngineError {
    fn from(error: WalletError) -> Self {
        let (code, next) = match &error {
            WalletError::Unknown(_) => (UNKNOWN, Some("Reload the page.")),
            WalletError::NoRoom(_) => ("does-not-fit", Some("Move a value to the safes, or let a rule make room.")),
            WalletError::Rule(_) => ("rule-refused", Some("Change the rule.")),
            WalletError::SafeOfOwner => ("safe-of-owner", None),
            WalletError::SafeInRule(_) => ("safe-in-rule", Some("Change the rule, or delete it.")),
            WalletError::TooLarge(_) => ("too-large", Some("A value can have up to 16 MiB, a title up to 256 bytes.")),
            WalletError::NotLocal => ("not-local", Some("Recover it first.")),
            WalletError::HasBackup => ("has-backup", Some("Release the backup first.")),
            WalletError::NoBackup => ("no-backup", Some("Back it up first and wait until all safes have signed.")),
            WalletError::Values(_) => ("values-refused", Some("Choose fewer values, each once.")),
            WalletError::Mixed => ("values-refused", Some("Back them up apart from each other.")),
            WalletError::LivesOnce => ("lives-once", Some("Ask the safes to show their pieces instead.")),
            WalletError::Taken => ("taken", Some("If that device is lost, take it over.")),
            WalletError::NotEnrolled(_) => ("not-enrolled", Some("Enrol at it under Recover.")),
            WalletError::Unasked => ("plan-refused", Some("Put the content itself at the safes with at(…).")),
            WalletError::Announced => {
                ("change-elsewhere", Some("Open Strongroom on that device. If it is gone, begin anew without it."))
            }
            WalletError::Outdated => ("come-back-first", Some("Come back with your recovery name under Recover.")),
            WalletError::Words => {
                ("words-needed", Some("Enter words where the plan has memory, and none where it has not."))
            }
            WalletError::PlanText(_) => ("plan-unreadable", Some("Mend the plan at that place.")),
            WalletError::Busy => ("busy", Some("Wait until it is done.")),
            WalletError::SafeInUse(_) => ("safe-in-use", Some("Release the values that use it first.")),
            WalletError::SafeKnown => ("safe-known", None),
            WalletError::Plan(_) => ("plan-refused", Some("Choose other safes or another number.")),
            WalletError::Identity(_) => ("safe-mismatch", Some("Ask the safe's operator before you trust it.")),
            WalletError::Certificate(_) => (NOT_SIGNED, Some("Tell the safe's operator.")),
            WalletError::Crypto(_) | WalletError::Differs => ("internal", Some("Reload the page and try again.")),
        };
        Self::of(code, &error, next)
    }
}

impl From<PieceFileError> for EngineError {
    fn from(error: PieceFileError) -> Self {
        Self::of("not-the-piece-file", &error, Some("Choose the file that was saved when the backup was made."))
    }
}

impl From<KitError> for EngineError {
    fn from(error: KitError) -> Self {
        let code = match error {
            KitError::Mistyped => "kit-mistyped",
            _ => "not-a-kit",
        };
        Self::of(code, &error, None)
    }
}

impl From<protocol::crypto::CryptoError> for EngineError {
    fn from(error: protocol::crypto::CryptoError) -> Self {
        Self::of("internal", &error, Some("Reload the page; if it stays, free some memory."))
    }
}

impl From<crate::web::bulk::Refused> for EngineError {
    fn from(_: crate::web::bulk::Refused) -> Self {
        protocol::crypto::CryptoError.into()
    }
}

impl From<protocol::codec::CodecError> for EngineError {
    fn from(error: protocol::codec::CodecError) -> Self {
        WalletError::from(error).into()
    }
}
