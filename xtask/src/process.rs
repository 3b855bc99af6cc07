//! Running other programs, and leaving none behind.
//!
//! Every child gets a process group of its own. Whatever ends us politely (Ctrl-C, SIGTERM, SIGHUP) is passed on
//! to the whole group, so that the grandchildren (rustc, workerd, Chromium) go too.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How long a child may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Passes signals on to the children from now on.
pub fn end_children_on_signals() -> Result<()> {
    ctrlc::set_handler(|| {
        // A second signal means that the polite way takes too long for somebody.
        let again = INTERRUPTED.swap(true, Ordering::SeqCst);
        let signal = if again { Signal::KILL } else { Signal::TERM };
        let groups = GROUPS.lock().map(|groups| groups.clone()).unwrap_or_default();
        if groups.is_empty() {
            std::process::exit(130);
        }
        for group in groups {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    })
    .context("cannot watch for signals")
}

/// Whether a signal asked us to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// A running child with its process group. Dropping it ends the group.
pub struct Running {
    child: Child,
    group: Pid,
}

impl Running {
    /// Starts `command` in a process group of its own.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let name = program(command);
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let group = Pid::from_child(&child);
        if let Ok(mut groups) = GROUPS.lock() {
            groups.push(group);
        }
        let running = Self { child, group };
        // A signal that came between the two lines above found no group to pass it to.
        if interrupted() {
            bail!("interrupted");
        }
        Ok(running)
    }

    /// The child itself.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Ends the child: closes its input (our node scripts take that as the word to stop), waits, then kills what is
    /// left of the group.
    pub fn stop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
        // Also when the child itself is gone: it may have been killed and have left its own children behind.
        let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
        if let Ok(mut groups) = GROUPS.lock() {
            groups.retain(|group| *group != self.group);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs `command` to its end; anything but success is an error that names `what` was being done.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    let mut running = Running::spawn(command.stdin(Stdio::null()))?;
    let status = running.child().wait()?;
    if !status.success() {
        bail!("{what} failed ({status}); its own message is above");
    }
    Ok(())
}

/// Runs `command` quietly; its output is shown only when it fails.
pub fn run_quietly(command: &mut Command, what: &str) -> Result<()> {
    let output = output(command)?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("{what} failed ({}); its own message is above", output.status);
    }
    Ok(())
}

/// Runs `command` and takes its output.
pub fn output(command: &mut Command) -> Result<Output> {
    let mut running = Running::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let child = running.child();
    // Both pipes at once: a child that fills the one nobody reads would wait for ever.
    let stderr = child.stderr.take().map(|pipe| thread::spawn(move || read_all(pipe)));
    let stdout = child.stdout.take().map(read_all);
    let status = child.wait()?;
    Ok(Output {
        status,
        stdout: stdout.unwrap_or_default(),
        stderr: stderr.and_then(|reader| reader.join().ok()).unwrap_or_default(),
    })
}

/// Runs `command` with an input and takes its output; anything but success is an error.
pub fn output_of(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let mut running = Running::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    let child = running.child();
    if let Some(mut pipe) = child.stdin.take() {
        // A child that ended early has said why on its error output, and its status tells.
        let _ = pipe.write_all(input);
    }
    let stdout = child.stdout.take().map(read_all).unwrap_or_default();
    let status = child.wait()?;
    if !status.success() {
        bail!("{} ended with {status}", program(command));
    }
    Ok(stdout)
}

fn read_all(mut pipe: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = pipe.read_to_end(&mut all);
    all
}

/// The first line that `program args` prints, if it can be run at all.
pub fn first_line(program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

/// A cargo command at the repository's root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::paths::root());
    command
}

/// Says what is being done.
pub fn step(text: &str) {
    eprintln!("· {text}");
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
