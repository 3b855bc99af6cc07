//! The way to another safe: one request, no redirection, no second try, and never more of an answer than was asked for.

use core::{pin::pin, time::Duration};

use futures::{
    StreamExt,
    future::{Either, select},
};
use protocol::problem::Problem;
use worker::{Delay, Fetch, Headers, Method, Request, RequestInit, RequestRedirect, Response, Result};

use crate::{flow::CBOR, relay::PATIENCE};

/// Sends a body and reads the answer.
///
/// # Errors
/// [`Problem::RelayFailed`], whatever was wrong: the other safe is none of this one's business.
pub(super) async fn forward(url: &str, body: &[u8], most: u64) -> core::result::Result<Vec<u8>, Problem> {
    let answer = pin!(exchange(url, body, most));
    match select(answer, Delay::from(Duration::from_secs(PATIENCE))).await {
        Either::Left((Ok(Some(answer)), _)) => Ok(answer),
        _ => Err(Problem::RelayFailed),
    }
}

async fn exchange(url: &str, body: &[u8], most: u64) -> Result<Option<Vec<u8>>> {
    let headers = Headers::new();
    headers.set("content-type", CBOR)?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post)
        .with_headers(headers)
        .with_body(Some(js_sys::Uint8Array::from(body).into()))
        .with_redirect(RequestRedirect::Manual);
    let mut response = Fetch::Request(Request::new_with_init(url, &init)?).send().await?;
    if response.status_code() == 200 { read(&mut response, most).await } else { Ok(None) }
}

/// Piece by piece, so that whoever sends without end costs no more memory than was asked for. `None`: more came.
async fn read(response: &mut Response, most: u64) -> Result<Option<Vec<u8>>> {
    let mut stream = response.stream()?;
    let mut body = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        if (body.len() + piece.len()) as u64 > most {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}
