//! What a safe answers when it refuses: problem details (RFC 9457) with stable types and the caller's next step.

/// A refusal. The type is stable; titles may be improved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The request is not of the form that the interface describes.
    Malformed,
    /// The statement is for another safe, another deposit, or of a form that the safe does not take.
    BadStatement,
    /// The body is longer than the safe takes.
    TooLarge,
    /// The request has no `Content-Length`.
    LengthRequired,
    /// No such path.
    NoSuchPath,
    /// The path does not take this method.
    MethodNotAllowed,
    /// No such deposit, or none that this secret opens: the two are not told apart.
    NotFound,
    /// The id is taken by another statement.
    Conflict,
    /// The deposit was released, or its offer lapsed.
    Gone,
    /// Length or root of the body are not those of the statement.
    BodyMismatch,
    /// The claim is not valid now: its expiry has passed or lies too far ahead.
    ClaimExpired,
    /// The claim was used before.
    ClaimReplayed,
    /// The claim does not open: sealed to another key, safe, deposit or verb.
    ClaimUnreadable,
    /// The storage did not answer as it should.
    Unavailable,
    /// A fault of the safe.
    Internal,
}

/// All problems, in the order of the specification.
pub const ALL: [Problem; 15] = [
    Problem::Malformed,
    Problem::BadStatement,
    Problem::TooLarge,
    Problem::LengthRequired,
    Problem::NoSuchPath,
    Problem::MethodNotAllowed,
    Problem::NotFound,
    Problem::Conflict,
    Problem::Gone,
    Problem::BodyMismatch,
    Problem::ClaimExpired,
    Problem::ClaimReplayed,
    Problem::ClaimUnreadable,
    Problem::Unavailable,
    Problem::Internal,
];

impl Problem {
    const fn row(self) -> (&'static str, u16, &'static str, &'static str) {
        match self {
            Self::Malformed => {
                ("malformed", 400, "The request is malformed", "Send it in the form of the specification.")
            }
            Self::BadStatement => {
                ("bad-statement", 400, "The statement does not fit", "Make the statement for this safe and deposit.")
            }
            Self::TooLarge => {
                ("too-large", 413, "The body is too large", "Cut it into segments within the safe's limit.")
            }
            Self::LengthRequired => ("length-required", 411, "The length is missing", "Send Content-Length."),
            Self::NoSuchPath => {
                ("no-such-path", 404, "There is nothing at this path", "See the interface description.")
            }
            Self::MethodNotAllowed => {
                ("method-not-allowed", 405, "The method does not apply here", "Use a method that Allow lists.")
            }
            Self::NotFound => ("not-found", 404, "No such deposit for this secret", "Check certificate and safe."),
            Self::Conflict => ("conflict", 409, "The id is taken by another deposit", "Deposit anew under a new id."),
            Self::Gone => {
                ("gone", 410, "The deposit is no longer here", "Deposit anew under a new id if it is still needed.")
            }
            Self::BodyMismatch => ("body-mismatch", 422, "The body is not the one stated", "Send the body again."),
            Self::ClaimExpired => {
                ("claim-expired", 403, "The claim does not count now", "Make a new claim by the safe's clock.")
            }
            Self::ClaimReplayed => ("claim-replayed", 403, "The claim was used before", "Make a new claim."),
            Self::ClaimUnreadable => {
                ("claim-unreadable", 403, "The claim does not open", "Fetch the safe's keys and make a new claim.")
            }
            Self::Unavailable => ("unavailable", 503, "The storage is not answering", "Try again later."),
            Self::Internal => ("internal", 500, "The safe failed", "Try again later; tell the operator if it stays."),
        }
    }

    /// `type` of the problem details.
    pub fn type_uri(self) -> String {
        format!("urn:strongroom:problem:{}", self.row().0)
    }

    /// Inverse of [`Self::type_uri`].
    pub fn from_type_uri(uri: &str) -> Option<Self> {
        ALL.into_iter().find(|p| p.type_uri() == uri)
    }

    /// The last part of the type.
    pub const fn slug(self) -> &'static str {
        self.row().0
    }

    /// HTTP status.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// `title`.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// What the caller does next; `next` in the problem details.
    pub const fn next(self) -> &'static str {
        self.row().3
    }
}
