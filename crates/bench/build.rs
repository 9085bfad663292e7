//! Packs the figures' font: unpacked it is a fortieth of the whole program.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;

fn main() -> std::io::Result<()> {
    let dir = std::env::var_os("OUT_DIR").expect("Cargo sets it");
    let file = std::fs::File::create(Path::new(&dir).join("font.zlib"))?;
    let mut packed = ZlibEncoder::new(file, Compression::best());
    packed.write_all(dejavu::sans::regular())?;
    packed.finish()?;
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
