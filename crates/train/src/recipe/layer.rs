//! The layers of a network, and the shapes that they make of shapes.

use std::fmt;

/// The most values that one sample may have anywhere in a network, and that one layer's weights may have: what the
/// engine takes.
pub(crate) const MAX_VALUES: usize = 1 << 24;

/// One layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// `{ kind = "dense", width = N }`: every input to each of N outputs, then a rectifier.
    Dense {
        /// N.
        width: usize,
    },
    /// `{ kind = "conv", channels = N, kernel = K, stride = 1, padding = 0 }`: a convolution to N channels, then a
    /// rectifier.
    Conv {
        /// N.
        channels: usize,
        /// What it slides over the image.
        window: Window,
    },
    /// `{ kind = "max-pool", kernel = K, stride = K, padding = 0 }`, or `"average-pool"`.
    Pool {
        /// What becomes of the values in a window.
        pooling: Pooling,
        /// What it slides over the image.
        window: Window,
    },
    /// `{ kind = "bottleneck", width = N }`: few channels (a 1×1 convolution) or few values (dense), as which the
    /// features leave the tier. Without a rectifier: a narrow layer loses too much by one (Sandler et al., 2018).
    Bottleneck {
        /// N.
        width: usize,
    },
    /// `{ kind = "dropout", rate = R }`: while training, a share R of the values is 0 and the others larger
    /// (Srivastava et al., 2014).
    Dropout {
        /// R.
        rate: f32,
    },
    /// `{ kind = "exit" }`: all values here, densely, to the classes, and a softmax. The layers after it continue from
    /// what came before it.
    Exit,
}

/// A square that slides over an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its side in pixels.
    pub size: usize,
    /// By how many pixels it moves.
    pub stride: usize,
    /// How many pixels of zeros are put around the image.
    pub padding: usize,
}

/// What becomes of the values in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their largest; padding never is.
    Max,
    /// Their mean, with padding as zeros.
    Average,
}

/// The shape of one sample in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Row-major, the channels of a pixel together.
    Image {
        /// Pixels from top to bottom.
        rows: usize,
        /// Pixels from left to right.
        columns: usize,
        /// Values of a pixel.
        channels: usize,
    },
    /// Without places.
    Vector(usize),
}

impl Shape {
    /// The shape of samples as data has them: a vector, or an image with or without channels.
    pub(crate) fn of(shape: &[usize]) -> Option<Shape> {
        match *shape {
            [len] => Some(Shape::Vector(len)),
            [rows, columns] => Some(Shape::Image { rows, columns, channels: 1 }),
            [rows, columns, channels] => Some(Shape::Image { rows, columns, channels }),
            _ => None,
        }
    }

    /// The number of values, which is never 0.
    #[expect(clippy::len_without_is_empty, reason = "no shape is empty")]
    pub fn len(self) -> usize {
        match self {
            Shape::Image { rows, columns, channels } => rows * columns * channels,
            Shape::Vector(len) => len,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Image { rows, columns, channels } => {
                write!(formatter, "an image of {rows}×{columns}×{channels}")
            }
            Shape::Vector(len) => write!(formatter, "a vector of {len}"),
        }
    }
}

impl Window {
    /// How many positions it has along `pixels`, or None where it does not fit once.
    pub(crate) fn positions(self, pixels: usize) -> Option<usize> {
        Some((pixels + 2 * self.padding).checked_sub(self.size)? / self.stride + 1)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { size, stride, padding } = self;
        write!(formatter, "{size}x{size}")?;
        if *stride != 1 {
            write!(formatter, "/{stride}")?;
        }
        if *padding != 0 {
            write!(formatter, "+{padding}")?;
        }
        Ok(())
    }
}

/// Why a layer cannot follow what is before it: the key at fault, and what is wrong with it.
pub(crate) type Misfit = (&'static str, String);

impl Layer {
    /// The shape that this layer makes of `input`.
    pub(crate) fn output(&self, input: Shape) -> Result<Shape, Misfit> {
        let output = match (self, input) {
            (Layer::Dense { width } | Layer::Bottleneck { width }, Shape::Vector(_))
            | (Layer::Dense { width }, Shape::Image { .. }) => Shape::Vector(*width),
            (Layer::Bottleneck { width }, Shape::Image { rows, columns, .. }) => {
                Shape::Image { rows, columns, channels: *width }
            }
            (Layer::Conv { channels, window }, Shape::Image { rows, columns, .. }) => {
                let (rows, columns) = slide(*window, rows, columns)?;
                Shape::Image { rows, columns, channels: *channels }
            }
            (Layer::Pool { window, .. }, Shape::Image { rows, columns, channels }) => {
                let (rows, columns) = slide(*window, rows, columns)?;
                Shape::Image { rows, columns, channels }
            }
            (Layer::Conv { .. } | Layer::Pool { .. }, Shape::Vector(_)) => {
                return Err(("kind", format!("slides over images, but follows {input}")));
            }
            (Layer::Dropout { .. } | Layer::Exit, _) => input,
        };
        let weights = match self {
            Layer::Dense { width } => input.len() * width,
            _ => 0,
        };
        if weights.max(output.len()) > MAX_VALUES {
            let key = if matches!(self, Layer::Conv { .. }) { "channels" } else { "width" };
            return Err((
                key,
                format!(
                    "makes {output} of {input}, expected at most {MAX_VALUES} values and weights"
                ),
            ));
        }
        Ok(output)
    }
}

fn slide(window: Window, rows: usize, columns: usize) -> Result<(usize, usize), Misfit> {
    window.positions(rows).zip(window.positions(columns)).ok_or_else(|| {
        let fits = rows.min(columns) + 2 * window.padding;
        let text = format!(
            "is {}, expected at most {fits}: what it slides over is {rows}×{columns} with a padding of {}",
            window.size, window.padding
        );
        ("kernel", text)
    })
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layer::Dense { width } => write!(formatter, "dense {width}"),
            Layer::Conv { channels, window } => write!(formatter, "conv {window} {channels}"),
            Layer::Pool { pooling: Pooling::Max, window } => write!(formatter, "max-pool {window}"),
            Layer::Pool { pooling: Pooling::Average, window } => {
                write!(formatter, "average-pool {window}")
            }
            Layer::Bottleneck { width } => write!(formatter, "bottleneck {width}"),
            Layer::Dropout { rate } => write!(formatter, "dropout {rate}"),
            Layer::Exit => formatter.write_str("exit"),
        }
    }
}
