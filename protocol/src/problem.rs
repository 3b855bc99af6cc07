//! What a safe answers when it refuses: problem details (RFC 9457) with stable types and the caller's next step.

/// One line for each: its meaning, name, status, slug, title, and what the caller does next. Each column is a function of its own, so that a
/// program carries only those that it uses.
macro_rules! problems {
    ($($(#[doc = $doc:literal])* $name:ident $status:literal $slug:literal $title:literal $next:literal;)*) => {
        /// A refusal. The type is stable; titles may be improved.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Problem {
            $($(#[doc = $doc])* $name,)*
        }

        /// All problems, in the order of the specification.
        pub const ALL: [Problem; [$($status),*].len()] = [$(Problem::$name),*];

        impl Problem {
            /// The last part of the type.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            /// HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// `title`.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What the caller does next; `next` in the problem details.
            pub const fn next(self) -> &'static str {
                match self { $(Self::$name => $next,)* }
            }
        }
    };
}

problems! {
    /// The request is not of the form that the interface describes.
    Malformed 400 "malformed"
        "The request is malformed"
        "Send it in the form of the specification.";
    /// The statement is for another safe, another deposit, or of a form that the safe does not take.
    BadStatement 400 "bad-statement"
        "The statement does not fit"
        "Make the statement for this safe and deposit.";
    /// The body is longer than the safe takes.
    TooLarge 413 "too-large"
        "The body is too large"
        "Cut it into segments within the safe's limit.";
    /// The request has no `Content-Length`.
    LengthRequired 411 "length-required"
        "The length is missing"
        "Send Content-Length.";
    /// No such path.
    NoSuchPath 404 "no-such-path"
        "There is nothing at this path"
        "See the interface description.";
    /// The path does not take this method.
    MethodNotAllowed 405 "method-not-allowed"
        "The method does not apply here"
        "Use a method that Allow lists.";
    /// No such deposit, or none that this secret opens: the two are not told apart.
    NotFound 404 "not-found"
        "No such deposit for this secret"
        "Check certificate and safe.";
    /// The id is taken by another statement.
    Conflict 409 "conflict"
        "The id is taken by another deposit"
        "Deposit anew under a new id.";
    /// The deposit was released, or its offer lapsed.
    Gone 410 "gone"
        "The deposit is no longer here"
        "Deposit anew under a new id if it is still needed.";
    /// Length or root of the body are not those of the statement.
    BodyMismatch 422 "body-mismatch"
        "The body is not the one stated"
        "Send the body again.";
    /// The claim is not valid now: its expiry has passed or lies too far ahead.
    ClaimExpired 403 "claim-expired"
        "The claim does not count now"
        "Make a new claim by the safe's clock.";
    /// The claim was used before.
    ClaimReplayed 403 "claim-replayed"
        "The claim was used before"
        "Make a new claim.";
    /// The claim does not open: sealed to another key, safe, deposit or verb.
    ClaimUnreadable 403 "claim-unreadable"
        "The claim does not open"
        "Fetch the safe's keys and make a new claim.";
    /// The value may live only once, and another claimant has it, or none has been chosen yet.
    Claimed 409 "claimed"
        "The value goes to its chosen claimant only"
        "Claim it at the register first, and show the chosen claimant's secret.";
    /// The request's `Content-Type` is not the one of the path.
    UnsupportedMediaType 415 "unsupported-media-type"
        "The content type is another one"
        "Send the content type of the interface description.";
    /// The safe takes deposits only with a token of its operator.
    TokenRequired 403 "token-required"
        "The safe wants a token"
        "Ask the operator for a token and send it.";
    /// The token is none of this safe.
    TokenInvalid 403 "token-invalid"
        "The token is none of this safe"
        "Copy the token again; ask the operator.";
    /// The token's time is over.
    TokenExpired 403 "token-expired"
        "The token's time is over"
        "Ask the operator for a new token.";
    /// The token allows no more.
    OverQuota 403 "over-quota"
        "The token allows no more"
        "Release deposits, or ask for a larger token.";
    /// The question to an owner's account does not open with the key of whoever it names, or there is no such account: the two are not told apart.
    NotOwner 403 "not-owner"
        "This does not show that you are the owner"
        "Log in again.";
    /// The challenge is none of this safe and account, is over, or was used.
    ChallengeExpired 403 "challenge-expired"
        "The challenge does not count now"
        "Look at the account again and ask with the new challenge.";
    /// The account was opened by another wallet, and has been in use, or was within some weeks.
    OwnerExists 409 "owner-exists"
        "The account belongs to another wallet"
        "Take another recovery name, log in, or come again when its opener has not for some weeks.";
    /// The safe does not ask this other one for its owners.
    NotRelayed 404 "not-relayed"
        "The safe does not ask that one for its owners"
        "Ask the other safe directly, or through another one.";
    /// The other safe did not answer, or not as it should: a redirection, a refusal, too much.
    RelayFailed 502 "relay-failed"
        "The other safe did not answer as it should"
        "Ask the other safe directly, or again later.";
    /// The safe asks no more for this owner today.
    RelayLimit 429 "relay-limit"
        "The safe asks no more for this owner today"
        "Ask the other safe directly, or again tomorrow.";
    /// The operator's secret is missing or another one.
    Unauthorized 401 "unauthorized"
        "This is for the operator"
        "Send the operator's secret.";
    /// The storage did not answer as it should.
    Unavailable 503 "unavailable"
        "The storage is not answering"
        "Try again later.";
    /// A fault of the safe.
    Internal 500 "internal"
        "The safe failed"
        "Try again later; tell the operator if it stays.";
}

impl Problem {
    /// `type` of the problem details.
    pub fn type_uri(self) -> String {
        Self::uri_of(self.slug())
    }

    /// The type with this last part, whether it is known or not.
    pub fn uri_of(slug: &str) -> String {
        format!("{TYPE_PREFIX}{slug}")
    }

    /// Inverse of [`Self::type_uri`].
    pub fn from_type_uri(uri: &str) -> Option<Self> {
        let slug = uri.strip_prefix(TYPE_PREFIX)?;
        ALL.into_iter().find(|problem| problem.slug() == slug)
    }
}

/// What all types begin with.
const TYPE_PREFIX: &str = "urn:strongroom:problem:";
