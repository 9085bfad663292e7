//! What a person sees of a training run. All of it goes to stderr.

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};
use train::{Progress, Recipe, Training};

/// Steps of the bar in an epoch.
const STEPS: u64 = 1000;

/// A bar where somebody looks, lines where nobody does.
pub(super) struct Bar {
    drawn: ProgressBar,
    epochs: usize,
    tiers: Vec<String>,
}

impl Bar {
    pub(super) fn new(recipe: &Recipe, training: &Training<'_>) -> Self {
        let tiers: Vec<String> = recipe.tier_names().map(str::to_owned).collect();
        let epochs = recipe.epochs();
        let drawn = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(epochs as u64 * STEPS);
            let style = ProgressStyle::with_template(" [{bar:30}] {msg}  {eta} left")
                .expect("the template is legal");
            bar.set_style(style.progress_chars("=> "));
            bar.set_position(training.epochs() as u64 * STEPS);
            bar.reset_eta();
            bar
        } else {
            ProgressBar::hidden()
        };
        let bar = Self { drawn, epochs, tiers };
        let operations = bar.tiers.iter().zip(training.operations());
        let operations: Vec<String> =
            operations.map(|(tier, count)| format!("{tier} {count}")).collect();
        bar.line(&format!("multiply-accumulates a sample: {}", operations.join(", ")));
        if training.epochs() > 0 {
            bar.line(&format!("going on after epoch {}", training.epochs()));
        }
        bar
    }

    /// After a batch.
    pub(super) fn batch(&self, progress: &Progress) {
        if self.drawn.is_hidden() {
            return;
        }
        let done = (progress.epoch - 1) as f64 + progress.done;
        self.drawn.set_message(self.text(progress, "learnt"));
        self.drawn.set_position((done * STEPS as f64) as u64);
    }

    /// After an epoch: stays on the screen, and in a log.
    pub(super) fn epoch(&self, progress: &Progress) {
        self.line(&self.text(progress, "held out"));
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        self.drawn.finish_and_clear();
    }

    fn text(&self, progress: &Progress, of: &str) -> String {
        let exits = self.tiers.iter().zip(&progress.exit_accuracy);
        let accuracy: Vec<String> =
            exits.map(|(tier, accuracy)| format!("{tier} {:.2} %", accuracy * 100.0)).collect();
        format!(
            "epoch {}/{}  loss {:.4}  accuracy ({of}): {}",
            progress.epoch,
            self.epochs,
            progress.loss,
            accuracy.join(", ")
        )
    }

    fn line(&self, text: &str) {
        // A closed stderr is no reason to stop.
        self.drawn.suspend(|| drop(writeln!(std::io::stderr(), "{text}")));
    }
}
