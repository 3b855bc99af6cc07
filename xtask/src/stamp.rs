//! Stamps: whether an output was made from exactly these inputs.
//!
//! Contents are hashed, not times: a checkout or a copy changes the times of everything, and a build that is
//! skipped wrongly costs more than one that is run in vain.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::paths;

/// The hash of a set of inputs, to be compared with the one of the last successful build.
pub struct Stamp {
    file: PathBuf,
    hash: String,
}

impl Stamp {
    /// Hashes `notes` (tool versions, options) and every file below `inputs`, leaving out what is called like one of `skip`.
    pub fn of(name: &str, notes: &[&str], inputs: &[PathBuf], skip: &[&str]) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        for note in notes {
            hasher.update(note.as_bytes()).update(b"\n");
        }
        for input in inputs {
            add(&mut hasher, input, skip)?;
        }
        Ok(Self { file: paths::target().join("stamps").join(name), hash: hasher.finalize().to_hex().to_string() })
    }

    /// Whether `outputs` exist and were made from these inputs.
    pub fn is_fresh(&self, outputs: &[PathBuf]) -> bool {
        outputs.iter().all(|output| output.exists())
            && fs::read_to_string(&self.file).is_ok_and(|text| text == self.hash)
    }

    /// Forgets the last build; called before outputs are touched, so that a build cut short is not taken for done.
    pub fn clear(&self) {
        let _ = fs::remove_file(&self.file);
    }

    /// Remembers that the outputs are made.
    pub fn set(&self) -> Result<()> {
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(&self.file, &self.hash).with_context(|| format!("cannot write {}", paths::show(&self.file)))
    }
}

fn add(hasher: &mut blake3::Hasher, path: &Path, skip: &[&str]) -> Result<()> {
    if path.is_dir() {
        let mut entries =
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        entries.sort();
        for entry in entries {
            let skipped = entry.file_name().is_some_and(|name| skip.iter().any(|skip| name == *skip));
            if !skipped {
                add(hasher, &entry, skip)?;
            }
        }
        return Ok(());
    }
    let contents = fs::read(path).with_context(|| format!("cannot read {}", paths::show(path)))?;
    // The length keeps two files from being read as one.
    hasher.update(paths::show(path).as_bytes()).update(&(contents.len() as u64).to_be_bytes()).update(&contents);
    Ok(())
}
