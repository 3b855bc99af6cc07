//! The safes of this machine: real workerd under `js/safes.mjs`, one process a safe.

use std::fs::{self, File, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use protocol::relay::MAX_RELAYS;
use serde_json::json;

use crate::keys::{Keys, fresh_hex};
use crate::process::Running;
use crate::{net, node, paths};

/// How many safes there may be; their names are letters.
pub const MOST: u16 = 26;

/// Which safes to start, and where.
pub struct Plan {
    /// How many safes.
    pub count: u16,
    /// The page's port; the safes take the ones that follow.
    pub port: u16,
    /// The directory of keys and state.
    pub state: PathBuf,
    /// How many of them, from the last, want an admission token.
    pub tokens: u16,
    /// Whether to serve the page too.
    pub page: bool,
    /// Whether the lines that the runner prints are shown.
    pub show: bool,
    /// One more that the safes ask for their owners, as it stands in RELAYS: id and address.
    pub relay: Option<String>,
}

impl Plan {
    /// Everything that can be known to be wrong before anything is built.
    pub fn check(&self) -> Result<()> {
        if !(1..=MOST).contains(&self.count) {
            bail!("{} safes cannot be started; choose 1 to {MOST} with --safes", self.count);
        }
        let Some(last) = self.port.checked_add(self.count).filter(|_| self.port > 0) else {
            bail!(
                "port {} leaves no room for {} safes; choose one from 1 to {} with --port",
                self.port,
                self.count,
                u16::MAX - self.count
            );
        };
        net::check_free(self.port..=last)
    }

    /// The address of safe number `index`, counted from 1.
    fn url(&self, index: u16) -> String {
        format!("http://127.0.0.1:{}", self.port + index)
    }

    /// The addresses of all safes.
    pub fn urls(&self) -> Vec<String> {
        (1..=self.count).map(|index| self.url(index)).collect()
    }

    /// The keys files of all safes.
    pub fn keys(&self) -> Vec<PathBuf> {
        (1..=self.count).map(|index| keys_file(&safe_dir(&self.state, index))).collect()
    }

    /// The page's address. By name, not by number: passkeys are bound to a name.
    pub fn page_url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }
}

/// A state directory that is ours until it is dropped.
pub struct State {
    dir: PathBuf,
    _lock: File,
}

impl State {
    /// Opens `dir`, making it if needed, and keeps others from using it.
    pub fn open(dir: &Path) -> Result<Self> {
        let shown = paths::show(dir);
        fs::create_dir_all(dir.join("safes")).with_context(|| {
            format!("the state directory {shown} cannot be used; remove what is in its place or pass another --state")
        })?;
        let lock =
            File::options().create(true).truncate(false).write(true).open(dir.join("lock")).with_context(|| {
                format!("the state directory {shown} cannot be written; check its owner or pass another --state")
            })?;
        // The system drops the lock with the process, however that ends.
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "the state directory {shown} is in use by another `cargo xtask run`; stop that one or pass another --state"
                )
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("the state directory {shown} cannot be locked"));
            }
        }
        Ok(Self { dir: dir.to_path_buf(), _lock: lock })
    }

    fn safe(&self, index: u16) -> Result<PathBuf> {
        let dir = safe_dir(&self.dir, index);
        fs::create_dir_all(&dir).with_context(|| {
            format!(
                "the state directory is damaged: {} should be a directory; remove what is in its place",
                paths::show(&dir)
            )
        })?;
        Ok(dir)
    }
}

fn safe_dir(state: &Path, index: u16) -> PathBuf {
    state.join("safes").join(index.to_string())
}

fn keys_file(safe: &Path) -> PathBuf {
    safe.join("keys.json")
}

/// Running safes. Dropping them ends them.
pub struct Safes {
    // Before the runner, for fields are dropped in order: its end is what tells the runner to stop in peace.
    input: Option<ChildStdin>,
    runner: Running,
    lines: mpsc::Receiver<String>,
    _state: State,
}

impl Safes {
    /// Starts the safes of `plan` and waits until all of them answer.
    pub fn start(plan: &Plan, state: State) -> Result<Self> {
        let mut known = Vec::new();
        for index in 1..=plan.count {
            let dir = state.safe(index)?;
            let file = keys_file(&dir);
            let mut keys = Keys::read_or_make(&file)?;
            if index > plan.count.saturating_sub(plan.tokens) && keys.token_key.is_none() {
                keys.token_key = Some(fresh_hex()?);
                keys.replace(&file)?;
            }
            known.push((index, fs::canonicalize(&dir)?, keys));
        }
        let safes: Vec<_> = known.iter().map(|(index, dir, keys)| describe(plan, *index, dir, keys, &known)).collect();
        let root = paths::root();
        let page = plan.page.then(|| {
            json!({
                "port": plan.port,
                "url": plan.page_url(),
                "dir": root.join("www/dist"),
                "headers": root.join("www/security-headers.json"),
            })
        });
        let config = json!({ "worker": root.join("safe-worker/build"), "safes": safes, "page": page });

        let mut command = node::script("xtask/js/safes.mjs");
        let mut runner = Running::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        // Keys go through the pipe and not by argument or environment, which others on the machine can read.
        let child = runner.child();
        // Taken out of the child, whose `wait` would close it.
        let mut input = child.stdin.take().ok_or_else(|| anyhow!("the runner has no input"))?;
        writeln!(input, "{config}").context("the runner of the safes ended at once")?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("the runner has no output"))?;
        let (sender, lines) = mpsc::channel();
        let show = plan.show;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if show {
                    println!("{line}");
                }
                let _ = sender.send(line);
            }
        });
        let mut safes = Self { input: Some(input), runner, lines, _state: state };
        safes.wait_ready()?;
        Ok(safes)
    }

    fn wait_ready(&mut self) -> Result<()> {
        loop {
            match self.lines.recv() {
                Ok(line) if line == "ready" => return Ok(()),
                Ok(_) => {}
                Err(_) => bail!("the safes did not start; the reason is above"),
            }
        }
    }

    /// The runner's input, where commands are written (see js/safes.mjs).
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.input.take()
    }

    /// Waits until the runner ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.runner.child().wait()?)
    }
}

/// What the runner needs to know of a safe. Each asks as many of the others for its owners as it may.
fn describe(plan: &Plan, index: u16, dir: &Path, keys: &Keys, known: &[(u16, PathBuf, Keys)]) -> serde_json::Value {
    let others = known.iter().filter(|(other, ..)| *other != index);
    let others = others.map(|(other, _, keys)| format!("{} {}", keys.safe_id, plan.url(*other)));
    let relays: Vec<String> = plan.relay.clone().into_iter().chain(others).take(MAX_RELAYS).collect();
    json!({
        "name": name(index),
        "port": plan.port + index,
        "url": plan.url(index),
        "dir": dir,
        "id": keys.safe_id,
        "chain": keys.chain,
        "relays": relays.join(" "),
        "secrets": keys.secrets(),
    })
}

/// What safe number `index` is called here.
fn name(index: u16) -> String {
    // The index is at most MOST, so this stays within the letters.
    let letter = char::from(b'A' + (index - 1).min(25) as u8);
    format!("Safe {letter}")
}
