//! Whatever a file holds, loading it gives a sub-model or an error: no panic, and no more memory
//! than a file of its size can ask for.

use std::path::Path;

use model::keras::{ImportOptions, import_h5, import_h5_bytes, import_keras_bytes};
use model::{Artefact, Dense, ModelError, Network, SubModel, TierLayers};
use proptest::prelude::*;

/// What happens to the bytes of a file.
#[derive(Debug, Clone)]
enum Damage {
    FlipBit(usize, u8),
    Set(usize, u8),
    Truncate(usize),
    Delete(usize, usize),
    Repeat(usize, usize),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let at = any::<usize>;
    let one = prop_oneof![
        6 => (at(), 0..8u8).prop_map(|(at, bit)| Damage::FlipBit(at, bit)),
        4 => (at(), prop_oneof![Just(0), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()])
            .prop_map(|(at, value)| Damage::Set(at, value)),
        1 => at().prop_map(Damage::Truncate),
        1 => (at(), 1..64usize).prop_map(|(at, len)| Damage::Delete(at, len)),
        1 => (at(), 1..64usize).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ];
    prop::collection::vec(one, 1..6)
}

/// `bytes` after all `damages`, one after the other.
fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let len = bytes.len().max(1);
        match *damage {
            Damage::FlipBit(at, bit) => {
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte ^= 1 << bit;
                }
            }
            Damage::Set(at, value) => {
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte = value;
                }
            }
            Damage::Truncate(at) => bytes.truncate(at % len),
            Damage::Delete(at, count) => {
                let start = (at % len).min(bytes.len());
                bytes.drain(start..bytes.len().min(start + count));
            }
            Damage::Repeat(at, count) => {
                let start = (at % len).min(bytes.len());
                let part = bytes[start..bytes.len().min(start + count)].to_vec();
                bytes.splice(start..start, part);
            }
        }
    }
    bytes
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn small_onnx() -> Vec<u8> {
    let layer = |inputs: usize, outputs: usize| Dense {
        kernel: vec![0.5; inputs * outputs],
        bias: vec![0.0; outputs],
    };
    let tier = TierLayers::of_dense(vec![layer(4, 3)], layer(3, 2), true);
    let metadata = model::Metadata { input_shape: vec![2, 2], ..model::Metadata::default() };
    Artefact::from_layers(&tier, &metadata).unwrap().bytes().to_vec()
}

fn image_onnx() -> Vec<u8> {
    let artefact = import_h5(&fixture("keras3-image.h5"), &ImportOptions::default()).unwrap();
    artefact.bytes().to_vec()
}

/// Loads the file and, where that works, runs it.
fn try_onnx(bytes: &[u8]) -> Result<(), ModelError> {
    let sub_model = SubModel::from_bytes("damaged", bytes)?;
    let len: usize = sub_model.input_shape().iter().product();
    sub_model.engine()?.run(&vec![0.5; 3 * len]).map(|_| ())
}

proptest! {
    #[test]
    fn a_damaged_dense_sub_model_is_an_error_or_loads(damages in damage()) {
        let _ = try_onnx(&damaged(small_onnx(), &damages));
    }

    #[test]
    fn a_damaged_keras_file_is_an_error_or_loads(damages in damage()) {
        let bytes = std::fs::read(fixture("keras2-sequential.h5")).unwrap();
        let _ = import_h5_bytes("damaged", damaged(bytes, &damages), &ImportOptions::default());
    }

    #[test]
    fn noise_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(try_onnx(&bytes).is_err());
        let keras = import_h5_bytes("noise", bytes, &ImportOptions::default());
        prop_assert!(keras.is_err());
    }
}

/// Loads the network and, where that works, describes it and cuts it in each place.
fn try_network(bytes: &[u8]) {
    let Ok(network) = Network::from_bytes("damaged", bytes) else { return };
    let _ = network.dot();
    let outline = network.outline(&[]);
    let Some(last) = outline.exits.last() else { return };
    let exits = vec![last.tensor.name.clone(); 2];
    for cut in outline.cuts.iter().take(4) {
        let _ = network.split(std::slice::from_ref(&cut.tensor.name), &exits, &[]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_damaged_network_is_an_error_or_can_be_shown(damages in damage()) {
        try_network(&damaged(std::fs::read(fixture("three-exits.onnx")).unwrap(), &damages));
    }

    #[test]
    fn a_damaged_keras_archive_is_an_error_or_loads(damages in damage()) {
        let bytes = std::fs::read(fixture("keras3-sequential.keras")).unwrap();
        let _ = import_keras_bytes("damaged", &damaged(bytes, &damages), &ImportOptions::default());
    }

    #[test]
    fn a_damaged_image_sub_model_is_an_error_or_loads(damages in damage()) {
        let _ = try_onnx(&damaged(image_onnx(), &damages));
    }
}

#[test]
fn a_truncated_file_never_loads() {
    let bytes = small_onnx();
    for len in 0..bytes.len() - 700 {
        assert!(SubModel::from_bytes("truncated", &bytes[..len]).is_err(), "{len} bytes");
    }
    let bytes = std::fs::read(fixture("keras2-sequential.h5")).unwrap();
    for len in (0..bytes.len()).step_by(97) {
        let truncated = bytes[..len].to_vec();
        let import = import_h5_bytes("truncated", truncated, &ImportOptions::default());
        assert!(import.is_err(), "{len} bytes");
    }
}
