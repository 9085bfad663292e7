//! libFuzzer around the broker. `OFFRAMP_FUZZ_TARGET` names the target; arguments are libFuzzer's.

#![no_main]

use std::cell::RefCell;

use broker::fuzz::{Fuzz, Target};
use libfuzzer_sys::fuzz_target;

const TARGET: &str = "OFFRAMP_FUZZ_TARGET";

thread_local! {
    static FUZZ: RefCell<Fuzz> = RefCell::new(Fuzz::new(target()));
}

fn target() -> Target {
    let name = std::env::var(TARGET).unwrap_or_default();
    Target::named(&name).unwrap_or_else(|| panic!("{TARGET} = `{name}` is no target"))
}

fuzz_target!(|input: &[u8]| FUZZ.with_borrow_mut(|fuzz| fuzz.run(input)));
