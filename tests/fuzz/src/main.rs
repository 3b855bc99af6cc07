//! libFuzzer over one decoder: the one that `STRONGROOM_DECODER` names. Its seeds are first written into the directory `STRONGROOM_SEEDS`. Without a
//! name it prints all of them and ends.
#![no_main]

use std::{env, fs, path::Path, process, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tests::decoders::{DECODERS, Decoder, seeds};

static DECODER: LazyLock<Decoder> = LazyLock::new(|| {
    let name = env::var("STRONGROOM_DECODER").unwrap_or_default();
    let found = DECODERS.iter().find(|decoder| decoder.name == name);
    *found.unwrap_or_else(|| panic!("STRONGROOM_DECODER names no decoder: {name}"))
});

fn begin() {
    if env::var_os("STRONGROOM_DECODER").is_none() {
        DECODERS.iter().for_each(|decoder| println!("{}", decoder.name));
        process::exit(0);
    }
    let Some(dir) = env::var_os("STRONGROOM_SEEDS") else { return };
    for (number, seed) in seeds(&DECODER).iter().enumerate() {
        fs::write(Path::new(&dir).join(format!("seed-{number}")), seed).expect("the seeds can be written");
    }
}

fuzz_target!(init: begin(), |bytes: &[u8]| (DECODER.run)(bytes));
