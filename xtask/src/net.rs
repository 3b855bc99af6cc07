//! Ports on this machine: whether they are free, and who holds them. And single requests to safes, which node makes.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::ops::RangeInclusive;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::{node, process};

/// A safe's answer.
pub struct Answer {
    /// HTTP status.
    pub status: u64,
    /// Body.
    pub body: Vec<u8>,
}

/// One request. It fails only where there is no answer at all.
pub fn exchange(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Result<Answer> {
    let headers: serde_json::Map<String, Value> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let mut request = json!({ "method": method, "url": url, "headers": headers });
    if let Some(body) = body {
        request["body"] = json!(base16ct::lower::encode_string(body));
    }
    let output = process::output_of(&mut node::script("xtask/js/fetch.mjs"), request.to_string().as_bytes())?;
    let answer: Value = serde_json::from_slice(&output)?;
    if let Some(error) = answer["error"].as_str() {
        bail!("{url} does not answer: {error}");
    }
    let body = base16ct::lower::decode_vec(answer["body"].as_str().unwrap_or_default())
        .map_err(|_| anyhow::anyhow!("xtask/js/fetch.mjs gave no hex"))?;
    Ok(Answer { status: answer["status"].as_u64().unwrap_or_default(), body })
}

/// What a safe tells its operator.
pub fn get_json(url: &str, secret: &str) -> Result<Value> {
    let answer = exchange("GET", url, &[("authorization", &format!("Bearer {secret}"))], None)?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status != 200 {
        bail!("{url} answers {}: {}", answer.status, body["title"].as_str().unwrap_or("no reason given"));
    }
    Ok(body)
}

/// Fails with the holder's name if one of `ports` is taken.
pub fn check_free(ports: RangeInclusive<u16>) -> Result<()> {
    for port in ports {
        if is_free(port) {
            continue;
        }
        let holder = holder(port).unwrap_or_else(|| "another program".to_owned());
        bail!("port {port} is taken by {holder}; stop it or choose other ports with --port");
    }
    Ok(())
}

/// The first of `count` ports in a row that are free.
pub fn free_ports(count: u16) -> Result<u16> {
    for _ in 0..100 {
        // Below 32768, where the system takes the ports that programs leave to it.
        let base = 20_000 + (RandomState::new().build_hasher().finish() % 12_000) as u16;
        if (base..base + count).all(is_free) {
            return Ok(base);
        }
    }
    bail!("found no {count} free ports in a row between 20000 and 32000")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Name and process id of the program that listens on `port`.
fn holder(port: u16) -> Option<String> {
    let id = listener(port)?;
    let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
    Some(format!("{} (process {id})", name.trim()))
}

/// The process that listens on `port`, as Linux tells it.
pub fn listener(port: u16) -> Option<u32> {
    let socket = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| listening_socket(&fs::read_to_string(table).ok()?, port))?;
    let link = format!("socket:[{socket}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        // `self` and `thread-self` are other names of ours.
        let Ok(id) = process.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds =
            files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == link.as_str()));
        if holds {
            return Some(id);
        }
    }
    None
}

/// The inode of the socket that listens on `port` in a table of `/proc/net`.
fn listening_socket(table: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit(':').next()?;
        let matches = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == LISTEN;
        matches.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::{check_free, free_ports};
    use std::net::TcpListener;

    #[test]
    fn a_taken_port_is_named_with_its_holder() {
        let port = free_ports(2).unwrap_or_default();
        assert!(check_free(port..=port + 1).is_ok());
        let _held = TcpListener::bind(("127.0.0.1", port));
        let error = check_free(port..=port + 1).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(&format!("port {port} is taken by")), "{error}");
        assert!(error.contains(&std::process::id().to_string()), "{error}");
    }
}
