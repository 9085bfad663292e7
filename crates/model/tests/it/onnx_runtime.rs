//! Both engines give the same; and what a program says that has only one of them.

use std::path::{Path, PathBuf};

use model::{EngineKind, SubModel};

fn shipped() -> Vec<PathBuf> {
    let models = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let tiers = ["edge", "fog", "cloud"].map(|tier| format!("{tier}.onnx"));
    let folders = ["mnist-dense", "mnist-conv"].iter();
    folders
        .flat_map(|folder| tiers.iter().map(move |tier| models.join(folder).join(tier)))
        .collect()
}

#[cfg(not(feature = "onnxruntime"))]
#[test]
fn a_program_without_onnx_runtime_says_how_to_build_one_with_it() {
    let edge = &shipped()[0];
    let error = SubModel::load_for(edge, EngineKind::OnnxRuntime).unwrap_err().to_string();
    let said = "engine `onnxruntime` is not part of this program; build it with `--features onnxruntime`, or use \
                `tract`";
    assert_eq!(error, format!("sub-model `{}`: {said}", edge.display()));
}

#[cfg(feature = "onnxruntime")]
mod loaded {
    use std::process::Command;

    use model::random::Random;
    use model::{
        Artefact, Dense, Exit, ExitCriterion, ImportOptions, Metadata, Output, TierLayers, import,
    };

    use super::*;
    use crate::keras::differ;

    const TOLERANCE: f32 = 1e-4;
    /// One at a time, and more than tract takes at once.
    const BATCHES: [usize; 3] = [1, 7, 200];

    /// What differs between the engines, or the largest difference.
    fn check(path: &Path) -> Result<f32, String> {
        let load = |engine| {
            SubModel::load_for(path, engine)
                .and_then(|sub_model| {
                    assert_eq!(sub_model.engine_kind(), engine);
                    sub_model.with_temperature(1.7).engine()
                })
                .map_err(|error| error.to_string())
        };
        let (mut tract, mut other) = (load(EngineKind::Tract)?, load(EngineKind::OnnxRuntime)?);
        let len: usize = tract.sub_model().input_shape().iter().product();
        // What devices send: pixels, which an input scaling takes to about 1.
        let metadata = tract.sub_model().metadata();
        let largest = if metadata.input_scale < 0.1 { 255.0 } else { 1.0 };
        let mut random = Random::new(1);
        let mut worst: f32 = 0.0;
        for batch in BATCHES {
            let samples: Vec<f32> =
                (0..batch * len).map(|_| random.between(0.0, largest)).collect();
            let run = |engine: &mut model::Engine| -> Result<Output, String> {
                engine.run(&samples).map_err(|error| error.to_string())
            };
            let (expected, found) = (run(&mut tract)?, run(&mut other)?);
            worst = worst.max(differ("exit", &found.exit, &expected.exit, TOLERANCE)?);
            assert_eq!(found.features.is_some(), expected.features.is_some());
            if let (Some(found), Some(expected)) = (found.features, expected.features) {
                worst = worst.max(differ("features", &found, &expected, TOLERANCE)?);
            }
        }
        assert_eq!(other.run(&[]).unwrap().samples, 0);
        assert!(other.run(&vec![0.0; len + 1]).is_err());
        Ok(worst)
    }

    fn check_all(what: &str, paths: &[PathBuf]) {
        let (mut worst, mut failures) = (0.0, Vec::new());
        for path in paths {
            match check(path) {
                Ok(difference) => worst = f32::max(worst, difference),
                Err(failure) => failures.push(format!("{}: {failure}", path.display())),
            }
        }
        eprintln!("{} {what}, largest difference {worst:e}", paths.len());
        assert!(failures.is_empty() && !paths.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    #[ignore = "needs ONNX Runtime's library: cargo xtask peers"]
    fn the_shipped_sub_models_give_the_same_on_both() {
        check_all("shipped sub-models", &shipped());
    }

    /// A tier as the paper's are: dense layers on a whole image.
    fn random_tier(seed: u64, sizes: &[usize], forwards: bool) -> Artefact {
        let mut random = Random::new(seed);
        let mut dense = |inputs: usize, outputs: usize| Dense {
            kernel: (0..inputs * outputs)
                .map(|_| random.normal() * (2.0 / inputs as f32).sqrt())
                .collect(),
            bias: (0..outputs).map(|_| random.normal()).collect(),
        };
        let hidden = sizes.windows(2).map(|pair| dense(pair[0], pair[1])).collect();
        let exit = dense(sizes[sizes.len() - 1], 10);
        let metadata = Metadata {
            tier: format!("random {seed}"),
            input_shape: if sizes[0] == 784 { vec![28, 28] } else { vec![sizes[0]] },
            input_scale: 1.0 / 255.0,
            input_offset: -0.1,
            exit: forwards.then(|| Exit::new(ExitCriterion::MaxSoftmax, 0.65)),
            ..Metadata::default()
        };
        Artefact::from_layers(&TierLayers::of_dense(hidden, exit, forwards), &metadata).unwrap()
    }

    #[test]
    #[ignore = "needs ONNX Runtime's library: cargo xtask peers"]
    fn random_networks_give_the_same_on_both() {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for seed in 1..=5 {
            for (tier, sizes) in
                [&[784, 128, 64][..], &[64, 128], &[64, 256, 128]].iter().enumerate()
            {
                let path = folder.path().join(format!("{seed}-{tier}.onnx"));
                random_tier(seed, sizes, tier < 2).write(&path).unwrap();
                paths.push(path);
            }
        }
        check_all("random networks", &paths);
    }

    /// Of the networks that other programs write, those that are one tier's.
    #[test]
    #[ignore = "needs onnx and ONNX Runtime's library: cargo xtask peers"]
    fn imported_networks_give_the_same_on_both() {
        let cases = std::env::var_os("OFFRAMP_ONNX_CASES")
            .expect("OFFRAMP_ONNX_CASES names the directory that onnx_oracle.py wrote");
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for case in std::fs::read_dir(cases).unwrap() {
            let case = case.unwrap().path();
            if case.extension().is_none_or(|extension| extension != "onnx") {
                continue;
            }
            if let Ok(artefact) = import(&case, &ImportOptions::default()) {
                let path = folder.path().join(case.file_name().unwrap());
                artefact.write(&path).unwrap();
                paths.push(path);
            }
        }
        check_all("imported networks", &paths);
    }

    /// Run by the test below, with another library.
    #[test]
    #[ignore = "needs ONNX Runtime's library: cargo xtask peers"]
    fn loads_or_says_why_not() {
        if let Err(error) = SubModel::load_for(&shipped()[0], EngineKind::OnnxRuntime) {
            panic!("{error}");
        }
    }

    #[test]
    #[ignore = "needs ONNX Runtime's library: cargo xtask peers"]
    fn what_is_wrong_with_the_library_is_said() {
        for (library, reason) in [
            ("/nowhere/libonnxruntime.so", "No such file"),
            ("libc.so.6", "does not export `OrtGetApiBase`"),
        ] {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "onnx_runtime::loaded::loads_or_says_why_not"])
                .env("ORT_DYLIB_PATH", library)
                .output()
                .unwrap();
            let said =
                String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
            for expected in [library, reason, "1.17 or newer, at the path in ORT_DYLIB_PATH"] {
                assert!(said.contains(expected), "no `{expected}` in:\n{said}");
            }
        }
    }
}
