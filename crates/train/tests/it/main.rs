//! Training, on digits that the program draws: small runs, the same everywhere.

#[cfg(test)]
mod tests {
    use model::dataset::{Dataset, drawn};
    use model::evaluate::{Stage, evaluate};
    use train::{Recipe, TierLayers, Topology, TrainError, Trained, train};

    fn recipe() -> Recipe {
        Recipe { epochs: 6, max_shift: 1, ..Recipe::new(Topology::Paper) }
    }

    fn run(recipe: &Recipe, samples: usize) -> Trained {
        train(recipe, &drawn::draw(samples, 1), &drawn::draw(0, 2), |_| ()).unwrap()
    }

    fn error(recipe: &Recipe, samples: &Dataset) -> String {
        train(recipe, samples, &drawn::draw(0, 2), |_| ()).unwrap_err().to_string()
    }

    #[test]
    fn the_same_seed_gives_the_same_files() {
        let recipe = Recipe { epochs: 2, ..recipe() };
        let (one, same) = (run(&recipe, 300), run(&recipe, 300));
        let other = run(&Recipe { seed: 2, ..recipe }, 300);
        for at in 0..3 {
            assert_eq!(one.tiers()[at].1.bytes(), same.tiers()[at].1.bytes());
            assert_ne!(one.tiers()[at].1.bytes(), other.tiers()[at].1.bytes());
        }
    }

    #[test]
    fn a_short_run_learns_digits_it_has_not_seen() {
        let mut accuracy = Vec::new();
        let unseen = drawn::draw(1000, 99);
        let trained = train(&recipe(), &drawn::draw(4000, 1), &unseen, |progress| {
            assert_eq!(progress.exit_accuracy.len(), 3);
            accuracy = progress.exit_accuracy;
        })
        .unwrap();
        let stages: Vec<Stage> = trained
            .tiers()
            .iter()
            .map(|(_, artefact)| Stage::new(artefact.sub_model().clone()))
            .collect();
        let evaluation = evaluate(&stages, &unseen, |_| ()).unwrap();
        assert!(evaluation.accuracy() > 0.9, "{evaluation:?}");
        // What the framework measured is what the files do.
        for (tier, accuracy) in evaluation.tiers.iter().zip(accuracy) {
            assert!((evaluation.share(tier.exit_correct) - accuracy).abs() < 0.002, "{tier:?}");
        }
        let answered: usize = evaluation.tiers.iter().map(|tier| tier.answered).sum();
        assert_eq!(answered, unseen.len());
    }

    #[test]
    fn the_files_carry_all_that_a_tier_needs() {
        let directory = tempfile::tempdir().unwrap();
        let tiers = Topology::Tiers(vec![
            TierLayers { name: "gateway".to_owned(), hidden: vec![12, 8] },
            TierLayers { name: "server".to_owned(), hidden: vec![] },
        ]);
        let recipe = Recipe { epochs: 1, threshold: 0.7, ..Recipe::new(tiers) };
        let paths = run(&recipe, 200).write(directory.path()).unwrap();
        let [gateway, server] = &paths[..] else { panic!("{paths:?}") };
        assert!(gateway.ends_with("gateway.onnx") && server.ends_with("server.onnx"));

        let gateway = model::SubModel::load(gateway).unwrap();
        assert_eq!(gateway.input_shape(), [28, 28]);
        assert_eq!(gateway.features_shape(), Some(&[8][..]));
        let metadata = gateway.metadata();
        assert_eq!(metadata.labels.len(), 10);
        assert_eq!(metadata.exit.as_ref().map(|exit| exit.threshold), Some(0.7));
        assert!((metadata.input_scale - 1.0 / 255.0).abs() < f32::EPSILON);
        assert_eq!(metadata.training["topology"], "gateway:12-8,server:");
        assert_eq!(metadata.training["samples"], "200");

        let server = model::SubModel::load(server).unwrap();
        assert_eq!(server.input_shape(), [8]);
        assert_eq!(server.features_shape(), None);
        assert_eq!(server.metadata().exit, None);
    }

    #[test]
    fn what_cannot_be_trained_is_named() {
        let digits = drawn::draw(20, 1);
        let zero = Topology::Tiers(vec![TierLayers { name: "edge".to_owned(), hidden: vec![0] }]);
        for (recipe, expected) in [
            (Recipe::new(zero), "recipe: tier `edge` has a layer of width 0"),
            (
                Recipe { exit_weights: vec![1.0], ..recipe() },
                "recipe: it has 1 exit weights, expected 3, one per tier",
            ),
            (Recipe { epochs: 0, ..recipe() }, "recipe: epochs is 0, expected at least 1"),
            (
                Recipe { learning_rate: f64::NAN, ..recipe() },
                "recipe: learning_rate is NaN, expected a number from 0",
            ),
            (Recipe { threshold: 1.5, ..recipe() }, "recipe: threshold 1.5 is outside [0, 1]"),
            (
                Recipe { labels: vec!["0".to_owned(), "1".to_owned()], ..recipe() },
                "dataset: it has label 2, expected less than 2, the number of classes",
            ),
        ] {
            let found = error(&recipe, &digits);
            assert!(found.starts_with("dataset: it has label") || found == expected, "{found}");
        }
        assert_eq!(
            error(&recipe(), &digits.take(0)),
            "dataset: it is empty, expected samples to learn from"
        );
    }

    #[test]
    fn a_diverging_run_says_so() {
        let recipe = Recipe { learning_rate: 1e20, epochs: 3, ..recipe() };
        let result = train(&recipe, &drawn::draw(300, 1), &drawn::draw(0, 2), |_| ());
        assert!(matches!(result, Err(TrainError::Diverged { .. })), "{result:?}");
    }

    #[test]
    fn topologies_are_written_as_they_are_read() {
        for topology in [Topology::Paper, Topology::Wide] {
            assert_eq!(topology.to_string().parse(), Ok(topology));
        }
        assert_eq!(
            "deep".parse::<Topology>().unwrap_err().to_string(),
            "topology `deep` is unknown, expected `paper` or `wide`"
        );
    }
}
