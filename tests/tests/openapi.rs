//! `spec/openapi.json`: made from the routes of the safe and the list of problems, so that it cannot say anything else.
//! `STRONGROOM_BLESS=1` writes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use protocol::{
    audit::MAX_AUDIT_LEN,
    claim::{MAX_CLAIM_LEN, MAX_CONFIRM_LEN},
    deposit::{DEFAULT_BODY_LIMIT, MAX_STATEMENT_LEN},
    identity::API_VERSION,
    owner::messages::MAX_QUESTION_LEN,
    problem::{ALL, Problem},
    register::MAX_REGISTER_LEN,
    relay::MAX_PARCEL_LEN,
    token::MAX_TOKEN_LEN,
};
use safe_worker::flow::{CBOR, COSE, JSON, OCTETS, PROBLEM, ROUTES};
use serde_json::{Value, json};

/// What a route is for, the media types that it answers with, and the statuses of success.
fn route(path: &str) -> (&'static str, &'static str, &'static [u16], u64) {
    match path {
        "/.well-known/strongroom" => ("What the safe says of itself.", CBOR, &[200], 0),
        "/v1/health" => ("Whether it runs.", JSON, &[200], 0),
        "/v1/usage" => ("How much each token uses; for the operator.", JSON, &[200], 0),
        "/v1/deposits/{id}" => ("Deposit a body; answered with an offer.", COSE, &[200, 201], DEFAULT_BODY_LIMIT),
        "/v1/deposits/{id}/confirm" => ("Turn the offer into a certificate.", COSE, &[200], MAX_CONFIRM_LEN as u64),
        "/v1/deposits/{id}/retrieve" => ("Get the body back.", OCTETS, &[200], MAX_CLAIM_LEN as u64),
        "/v1/deposits/{id}/release" => {
            ("Let the body go; answered with a receipt.", COSE, &[200], MAX_CLAIM_LEN as u64)
        }
        "/v1/deposits/{id}/restore" => {
            ("Take back what was let go; answered with a certificate.", COSE, &[200], MAX_CLAIM_LEN as u64)
        }
        "/v1/deposits/{id}/renew" => ("Get the certificate as it stands now.", COSE, &[200], MAX_CLAIM_LEN as u64),
        "/v1/deposits/{id}/demand" => {
            ("Get a signed statement of what became of it.", COSE, &[200], MAX_CLAIM_LEN as u64)
        }
        "/v1/deposits/{id}/register" => {
            ("Propose a claimant of a value that lives once.", CBOR, &[200], MAX_REGISTER_LEN as u64)
        }
        "/v1/audits" => ("Get slices of bodies, with proofs.", CBOR, &[200], MAX_AUDIT_LEN as u64),
        "/v1/owners/{account}" => ("Look at an owner's account.", CBOR, &[200], 0),
        "/v1/owners/{account}/open" => ("Open an owner's account.", OCTETS, &[200], MAX_QUESTION_LEN as u64),
        "/v1/owners/{account}/greet" => {
            ("Have the safe show its key, and what is left of guesses.", OCTETS, &[200], MAX_QUESTION_LEN as u64)
        }
        "/v1/owners/{account}/evaluate" => ("Guess a passphrase.", OCTETS, &[200], MAX_QUESTION_LEN as u64),
        "/v1/owners/{account}/channel" => ("Act as the owner.", OCTETS, &[200], MAX_QUESTION_LEN as u64),
        "/v1/owners/{account}/relay" => {
            ("Have the safe fetch what another one keeps.", OCTETS, &[200], MAX_QUESTION_LEN as u64)
        }
        "/v1/parcels" => {
            ("Get what a parcel asks for, sealed to whoever made it.", OCTETS, &[200], MAX_PARCEL_LEN as u64)
        }
        other => panic!("{other} is not described"),
    }
}

fn header(name: &str, required: bool, most: usize, what: &str, pattern: &str) -> Value {
    json!({
        "name": name, "in": "header", "required": required, "description": what,
        "schema": { "type": "string", "maxLength": most, "pattern": pattern },
    })
}

fn operation(path: &str, body: Option<&str>) -> Value {
    let (summary, answers, statuses, most) = route(path);
    let mut parameters = Vec::new();
    if path.contains("{id}") {
        let schema = json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" });
        parameters.push(json!({ "name": "id", "in": "path", "required": true, "schema": schema }));
    }
    if path.contains("{account}") {
        let schema = json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
        parameters.push(json!({ "name": "account", "in": "path", "required": true, "schema": schema }));
    }
    if path == "/v1/deposits/{id}" {
        let what = "An RFC 9651 byte sequence of the statement (deposit.md).";
        let statement = "^:[A-Za-z0-9+/]*={0,2}:$";
        parameters.push(header("Strongroom-Statement", true, MAX_STATEMENT_LEN * 4 / 3 + 8, what, statement));
    }
    if matches!(path, "/v1/deposits/{id}" | "/v1/owners/{account}/open") {
        let what = "Where the descriptor says so (safe.md).";
        parameters.push(header("Strongroom-Token", false, MAX_TOKEN_LEN, what, "^strongroom-token-[A-Za-z0-9_-]*$"));
    }
    if path == "/v1/usage" {
        let schema = json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" });
        parameters.push(json!({ "name": "after", "in": "query", "required": false, "schema": schema }));
    }
    let mut responses = serde_json::Map::new();
    for status in statuses {
        let content =
            json!({ answers: { "schema": if answers == JSON { json!({ "type": "object" }) } else { json!({}) } } });
        responses.insert(status.to_string(), json!({ "description": "Done.", "content": content }));
    }
    let refusal = json!({ PROBLEM: { "schema": { "$ref": "#/components/schemas/Problem" } } });
    for range in ["4XX", "5XX"] {
        responses.insert(range.to_owned(), json!({ "description": "Refused.", "content": refusal }));
    }
    let mut operation = json!({ "summary": summary, "parameters": parameters, "responses": responses });
    if path == "/v1/usage" {
        operation["security"] = json!([{ "operator": [] }]);
    }
    if let Some(content_type) = body {
        let what = format!("At most {most} bytes.");
        let schema = json!({ "type": "string", "format": "binary" });
        operation["requestBody"] =
            json!({ "required": true, "description": what, "content": { content_type: { "schema": schema } } });
    }
    operation
}

fn document() -> Value {
    let mut paths = serde_json::Map::new();
    for (path, method, body) in ROUTES {
        paths.insert(path.to_owned(), json!({ method.to_lowercase(): operation(path, body) }));
    }
    let types: Vec<String> = ALL.iter().map(|problem| problem.type_uri()).collect();
    let mut statuses: Vec<u16> = ALL.iter().map(|problem| Problem::status(*problem)).collect();
    statuses.sort_unstable();
    statuses.dedup();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Strongroom safe",
            "version": API_VERSION.to_string(),
            "description": "For tools. The normative text, with the formats of all bodies, is safe.md and what it names.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
        "securitySchemes": { "operator": { "type": "http", "scheme": "bearer", "description": "The operator's secret, 64 hex digits." } },
        "schemas": { "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "next", "time"],
            "properties": {
                "type": { "type": "string", "enum": types },
                "title": { "type": "string" },
                "status": { "type": "integer", "enum": statuses },
                "next": { "type": "string" },
                "time": { "type": "integer" },
                "quota": { "type": "object", "additionalProperties": { "type": "integer" } },
            },
        } } },
    })
}

#[test]
fn the_description_is_that_of_the_routes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/openapi.json");
    let made = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var("STRONGROOM_BLESS").is_ok_and(|v| v == "1") {
        std::fs::write(file, &made).unwrap();
    }
    assert!(std::fs::read_to_string(file).unwrap() == made, "spec/openapi.json differs; STRONGROOM_BLESS=1 writes it");
}

/// `spec/safe.md` names every route and every problem.
#[test]
fn the_text_names_every_route_and_problem() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/safe.md")).unwrap();
    for (path, method, _) in ROUTES {
        assert!(text.contains(&format!("`{method} {path}`")), "{method} {path}");
    }
    for problem in ALL {
        assert!(text.contains(&format!("| `{}` | {} |", problem.slug(), problem.status())), "{problem:?}");
    }
}
