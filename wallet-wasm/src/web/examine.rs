//! Looking into signed files for the page, and asking their safe.

use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use protocol::{
    evidence::{Exhibit, verify_answer},
    identity::MAX_DESCRIPTOR_LEN,
};
use wasm_bindgen::{JsCast, JsValue};

use crate::{
    examine::{self, Demand},
    web::{
        driver::{Driver, fresh_rng, now},
        error::EngineError,
        net::{self, Received},
        safes::{check_address, fetch_descriptor},
        to_js,
    },
};

/// Longest file that is looked at, bytes: a descriptor is the longest that a safe serves.
const MAX_FILE_LEN: u32 = MAX_DESCRIPTOR_LEN as u32;
/// Most files at a time.
const MAX_FILES: u32 = 64;

impl Driver {
    pub(crate) async fn examine(self: Rc<Self>, files: Array, ask: bool) -> Result<JsValue, EngineError> {
        let files: Vec<Uint8Array> = files.iter().filter_map(|file| file.dyn_into().ok()).collect();
        if files.len() > MAX_FILES as usize || files.iter().any(|file| file.length() > MAX_FILE_LEN) {
            let advice = "A certificate has two kilobytes at most.";
            return Err(EngineError::new(("too-large", "These are too many files, or too large ones.", Some(advice))));
        }
        let mut files: Vec<Vec<u8>> = files.iter().map(Uint8Array::to_vec).collect();
        let given = files.len();
        let unanswered = if ask { self.ask_safe(&mut files).await? } else { false };
        let opened = self.with(|open| examine::examine(Some(&open.state), &files, unanswered, now()));
        let examination = opened.unwrap_or_else(|_| examine::examine(None, &files, unanswered, now()));
        let report = to_js(&examination)?;
        // The bytes of what was fetched go beside it: they are evidence, to be kept.
        let fetched: Array = files.iter().skip(given).map(|file| JsValue::from(Uint8Array::from(&**file))).collect();
        // Setting properties of a fresh object cannot fail.
        let _ = js_sys::Reflect::set(&report, &"fetched".into(), &fetched);
        let _ = js_sys::Reflect::set(&report, &"asked".into(), &ask.into());
        Ok(report)
    }

    /// Fetches the descriptor of the safe that the first certificate points to, and demands a testimony where the deposit is of this wallet. Whether a
    /// demand stayed without a signed answer.
    async fn ask_safe(&self, files: &mut Vec<Vec<u8>>) -> Result<bool, EngineError> {
        let found = files.iter().find_map(|file| match Exhibit::read(file) {
            Some(Exhibit::Certificate(says)) => Some(says),
            _ => None,
        });
        let nothing = ("no-certificate", "There is no certificate among these files.", Some("Add one."));
        let says = found.ok_or_else(|| EngineError::new(nothing))?;
        // Where the owner found the safe last; a certificate may be older than its address.
        let known = self.with(|open| open.state.safes.get(&says.safe).map(|safe| safe.url.clone())).ok().flatten();
        let url = check_address(&known.unwrap_or(says.url))?;
        let mine = self.with(|open| open.state.backups.values().any(|b| b.deposit(&says.deposit).is_some()));
        let Some(descriptor) = fetch_descriptor(&url).await? else { return Ok(mine.unwrap_or(false)) };
        files.push(descriptor.clone());
        let mut rng = fresh_rng()?;
        let demand =
            self.with(|open| examine::demand(&open.state, says.safe, &says.deposit, &url, &descriptor, &mut rng));
        // A locked wallet, or one that does not have the deposit, makes none.
        let Ok(Ok(Some(Demand { request, identity }))) = demand else { return Ok(mine.unwrap_or(false)) };
        let body = request.body.unwrap_or_default();
        let sent = net::body_of(&Uint8Array::from(body.as_slice()));
        let answer = net::send_request(&crate::exchange::Request { body: None, ..request }, sent.as_ref()).await;
        let answer =
            answer.map(Received::into_answer).filter(|answer| verify_answer(&answer.body, &body, &identity).is_ok());
        let unanswered = answer.is_none();
        files.extend(answer.map(|answer| answer.body));
        Ok(unanswered)
    }
}
