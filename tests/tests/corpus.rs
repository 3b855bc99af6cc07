//! Every decoder on the inputs that the fuzzer kept, on its seeds, and on what becomes of them when they are cut or a bit is flipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use tests::decoders::{DECODERS, Decoder, seeds};

/// One directory for each decoder; `cargo xtask fuzz --keep` fills it.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");

fn kept(decoder: &Decoder) -> Vec<Vec<u8>> {
    let files = fs::read_dir(Path::new(CORPUS).join(decoder.name)).unwrap();
    files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn what_the_fuzzer_kept_is_read_again() {
    for decoder in DECODERS {
        let inputs = kept(decoder);
        assert!(!inputs.is_empty(), "{}: no corpus", decoder.name);
        inputs.iter().for_each(|input| (decoder.run)(input));
    }
    let dirs = fs::read_dir(CORPUS).unwrap().map(|dir| dir.unwrap().file_name().into_string().unwrap());
    let strangers: Vec<String> = dirs.filter(|dir| DECODERS.iter().all(|decoder| decoder.name != dir)).collect();
    assert!(strangers.is_empty(), "nobody reads {strangers:?}");
}

#[test]
fn seeds_cut_short_or_altered_are_refused_or_read() {
    for decoder in DECODERS {
        for seed in seeds(decoder) {
            (decoder.run)(&seed);
            // Some hundred places of each, wherever they fall.
            for place in (0..seed.len()).step_by(seed.len() / 100 + 1) {
                (decoder.run)(&seed[..place]);
                let mut altered = seed.clone();
                altered[place] ^= 1 << (place % 8);
                (decoder.run)(&altered);
            }
        }
    }
}
