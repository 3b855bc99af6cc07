//! `cargo xtask bench`: sizes and times, as a table and as target/bench/report.json.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};

use crate::process::Running;
use crate::test::Counts;
use crate::{build, net, node, paths, process, test};

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Measure sizes only; starts no safes and no browser.
    #[arg(long)]
    sizes: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Load one safe, and print what its requests cost; writes target/bench/safe.json.
    Safe,
    /// What owners ask of a safe, and how long a new device takes to have everything back; writes target/bench/owner.json and owner-safe.json.
    Owner,
    /// What one change of the owner's book sends to one safe while the book grows.
    Book {
        /// Values, each in a backup of its own.
        #[arg(long, default_value_t = 1_000)]
        values: u32,
    },
}

/// One line of the report. tests/bench/bench.mjs writes the same shape.
#[derive(Serialize, Deserialize)]
struct Row {
    /// What was measured.
    name: String,
    /// The value in `unit`.
    value: f64,
    /// `ms`, `MiB/s`, `KB`, …
    unit: String,
    /// The bound that the value should keep, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// How it was measured: runs, conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Measures and reports.
pub fn run(args: &Args) -> Result<()> {
    match args.what {
        Some(What::Safe) => return safe("safe", "safe.json"),
        Some(What::Owner) => return owner(),
        Some(What::Book { values }) => return book(values),
        None => {}
    }
    build::all()?;
    let out = paths::target().join("bench");
    fs::create_dir_all(&out)?;
    let mut rows = sizes()?;
    if !args.sizes {
        rows.extend(times(&out)?);
    }
    print(&rows);
    let report = out.join("report.json");
    fs::write(&report, serde_json::to_string_pretty(&rows)?)?;
    println!("\nwritten to {}", paths::show(&report));
    Ok(())
}

fn sizes() -> Result<Vec<Row>> {
    let root = paths::root();
    let wallet = [root.join("www/src/engine/pkg/wallet_wasm_bg.wasm")];
    let build = root.join("safe-worker/build");
    let safe = [build.join("index.js"), build.join("index_bg.wasm")];
    let mut rows = Vec::new();
    for (name, files, target) in [("wallet wasm", &wallet[..], "≤ 250 KB"), ("safe wasm + js", &safe[..], "≤ 300 KB")]
    {
        let (raw, packed) = size(files)?;
        rows.push(Row { name: format!("{name}, raw"), value: raw, unit: "KB".into(), target: None, note: None });
        rows.push(Row {
            name: format!("{name}, gzip"),
            value: packed,
            unit: "KB".into(),
            target: Some(target.into()),
            note: None,
        });
    }
    Ok(rows)
}

/// Raw and compressed size in KB (1,000 bytes, as the platforms count).
fn size(files: &[PathBuf]) -> Result<(f64, f64)> {
    let (mut raw, mut packed) = (0, 0);
    for file in files {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", paths::show(file)))?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&bytes)?;
        raw += bytes.len();
        packed += gzip.finish()?.len();
    }
    Ok((raw as f64 / 1000.0, packed as f64 / 1000.0))
}

/// A book that grows (tests/bench/book.rs).
fn book(values: u32) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["bench", "--profile", "load", "--quiet", "--package", "tests", "--bench", "book"]);
    process::run(cargo.env("STRONGROOM_VALUES", values.to_string()), "a book that grows")
}

/// What an owner costs a safe, and waits for.
fn owner() -> Result<()> {
    build::all()?;
    safe("owner", "owner-safe.json")?;
    let out = paths::target().join("bench");
    let file = out.join("owner.json");
    let rows = browser(&file, "owner", &out)?;
    print(&rows);
    println!("\nwritten to {}", paths::show(&file));
    Ok(())
}

/// One safe under load (tests/bench/safe.rs).
fn safe(load: &str, report: &str) -> Result<()> {
    build::safe()?;
    let out = paths::target().join("bench");
    fs::create_dir_all(&out)?;
    let mut cargo = process::cargo();
    cargo.args(["bench", "--profile", "load", "--quiet", "--package", "tests", "--bench", "safe"]);
    // Compiled before the safe runs, so that nothing else does then.
    process::run(&mut cargo, "compiling the load")?;
    test::with_safes(&Counts { safes: 1, tokens: 0 }, |plan| {
        let port = net::free_ports(1)?;
        let mut node = node::script("tests/bench/storage.mjs");
        node.arg(port.to_string()).arg(plan.state.join("storage")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut storage = Running::spawn(&mut node)?;
        let output = storage.child().stdout.take().context("the storage has no output")?;
        BufReader::new(output).lines().next().context("the storage did not start; the reason is above")??;
        let at = |port: u16| {
            // Without the process the times are measured all the same.
            format!("http://127.0.0.1:{port} {}", net::listener(port).map_or(String::new(), |id| id.to_string()))
        };
        cargo.env("STRONGROOM_SAFE", at(plan.port + 1)).env("STRONGROOM_STORAGE", at(port));
        cargo.env("STRONGROOM_LOAD", load);
        let outcome = process::run(cargo.env("STRONGROOM_REPORT", out.join(report)), "the load");
        storage.stop();
        outcome
    })
}

/// What the browser measures, against safes of its own.
fn times(out: &Path) -> Result<Vec<Row>> {
    build::operations(out)?;
    browser(&out.join("browser.json"), "all", out)
}

/// The rows that tests/bench/bench.mjs writes.
fn browser(file: &Path, what: &str, out: &Path) -> Result<Vec<Row>> {
    let _ = fs::remove_file(file);
    let mut node = test::browser_script()?;
    node.arg(paths::root().join("tests/bench/bench.mjs"))
        .env("STRONGROOM_REPORT", file)
        .env("STRONGROOM_MEASURE", what)
        .env("STRONGROOM_OPERATIONS", out);
    process::run(&mut node, "the measurements in the browser")?;
    let text = fs::read_to_string(file).context("the measurements in the browser wrote no report")?;
    serde_json::from_str(&text).context("the report of the browser is damaged")
}

fn print(rows: &[Row]) {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    for row in rows {
        let unit = format!("{:<6}", row.unit);
        let target = row.target.as_deref().unwrap_or_default();
        let note = row.note.as_deref().unwrap_or_default();
        // Ratios are small numbers.
        let digits = if row.unit == "×" { 2 } else { 1 };
        println!("{:<width$}  {:>10.digits$} {unit} {target:<10} {note}", row.name, row.value);
    }
}
