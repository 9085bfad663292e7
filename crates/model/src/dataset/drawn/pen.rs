//! Draws strokes as a hand with a pen would.

use std::f32::consts::{PI, TAU};

use super::SIDE;
use super::strokes::{Stroke, Variant};
use crate::random::Random;

/// The longer side of a normalised digit, in pixels.
const BOX: f32 = 20.0;
/// How many straight pieces are drawn between two points of a stroke.
const PIECES: usize = 8;

/// Lengths here are fractions of a digit's height; each constant is a standard deviation, chosen by
/// eye against MNIST's images.
const POINT_JITTER: f32 = 0.032;
const BEND: f32 = 0.04;
const TURN_RADIANS: f32 = 0.11;
/// Most people's digits lean to the right.
const SLANT_MEAN: f32 = 0.13;
const SLANT: f32 = 0.2;
/// Beyond these a seven is an arrowhead.
const MAX_TURN_RADIANS: f32 = 0.22;
const MAX_SLANT: f32 = 0.45;

#[derive(Debug, Clone, Copy)]
struct Point {
    x: f32,
    y: f32,
}

/// A straight piece of a stroke, in pixels.
struct Piece {
    from: Point,
    to: Point,
    /// Half of the pen's width.
    radius: f32,
}

/// Draws one digit written as `variant`.
pub(super) fn draw(variant: Variant, random: &mut Random) -> [u8; SIDE * SIDE] {
    let hand = Hand::new(random);
    let strokes: Vec<Vec<Point>> =
        variant.iter().map(|stroke| hand.trace(stroke, random)).collect();
    let mut pieces = normalise(&strokes, random);
    let centre = centre_of_mass(&render(&pieces));
    let middle = (SIDE - 1) as f32 / 2.0;
    for piece in &mut pieces {
        for point in [&mut piece.from, &mut piece.to] {
            point.x += middle - centre.x;
            point.y += middle - centre.y;
        }
    }
    develop(&render(&pieces), random)
}

/// One person's way with a shape: how it is bent, slanted, turned and stretched.
struct Hand {
    bend: [(f32, f32); 2],
    turn: f32,
    slant: f32,
    width: f32,
}

impl Hand {
    fn new(random: &mut Random) -> Hand {
        let mut wave = || (BEND * random.normal(), random.between(0.0, TAU));
        Hand {
            bend: [wave(), wave()],
            turn: (TURN_RADIANS * random.normal()).clamp(-MAX_TURN_RADIANS, MAX_TURN_RADIANS),
            slant: (SLANT_MEAN + SLANT * random.normal()).clamp(-MAX_SLANT, MAX_SLANT),
            width: random.between(0.55, 0.95),
        }
    }

    /// The line that this hand draws for `stroke`.
    fn trace(&self, stroke: Stroke, random: &mut Random) -> Vec<Point> {
        let mut controls: Vec<Point> = Vec::with_capacity(stroke.len());
        for (at, &(x, y)) in stroke.iter().enumerate() {
            let corner = at > 0 && stroke[at - 1] == (x, y);
            controls.push(if corner {
                controls[at - 1]
            } else {
                let (dx, dy) = (POINT_JITTER * random.normal(), POINT_JITTER * random.normal());
                self.place(Point { x: x + dx, y: y + dy })
            });
        }
        smooth(&controls)
    }

    fn place(&self, point: Point) -> Point {
        let [(across, across_phase), (down, down_phase)] = self.bend;
        let x = (point.x - 0.5 + across * (PI * 1.5 * point.y + across_phase).sin()) * self.width;
        let y = point.y - 0.5 + down * (PI * 1.5 * point.x + down_phase).sin();
        let x = x - self.slant * y;
        let (sin, cos) = self.turn.sin_cos();
        Point { x: x * cos - y * sin, y: x * sin + y * cos }
    }
}

/// A Catmull-Rom spline through `controls`, as straight pieces.
fn smooth(controls: &[Point]) -> Vec<Point> {
    let last = controls.len() - 1;
    let mut line = vec![controls[0]];
    for at in 0..last {
        let around = [at.saturating_sub(1), at, at + 1, (at + 2).min(last)].map(|i| controls[i]);
        for piece in 1..=PIECES {
            let t = piece as f32 / PIECES as f32;
            line.push(Point {
                x: spline(around.map(|point| point.x), t),
                y: spline(around.map(|point| point.y), t),
            });
        }
    }
    line
}

/// Where the spline is at `t` from 0 to 1 between the second and the third of four controls.
fn spline([before, from, to, after]: [f32; 4], t: f32) -> f32 {
    let slope = to - before;
    let square = 2.0 * before - 5.0 * from + 4.0 * to - after;
    let cube = 3.0 * (from - to) + after - before;
    from + 0.5 * t * (slope + t * (square + t * cube))
}

/// Scales the strokes so that their ink fills the box, and gives them a pen.
fn normalise(strokes: &[Vec<Point>], random: &mut Random) -> Vec<Piece> {
    let points = || strokes.iter().flatten();
    let low = |value: fn(&Point) -> f32| points().map(value).fold(f32::INFINITY, f32::min);
    let high = |value: fn(&Point) -> f32| points().map(value).fold(f32::NEG_INFINITY, f32::max);
    let (left, top) = (low(|point| point.x), low(|point| point.y));
    let (width, height) = (high(|point| point.x) - left, high(|point| point.y) - top);

    let radius = random.between(0.85, 1.75);
    let uneven = random.between(0.0, 0.25);
    let phase = random.between(0.0, TAU);
    let scale = (BOX - 2.0 * radius) / width.max(height).max(f32::EPSILON);
    let margin = SIDE as f32 / 2.0;
    let place = |point: &Point| Point {
        x: (point.x - left - width / 2.0) * scale + margin,
        y: (point.y - top - height / 2.0) * scale + margin,
    };
    let mut pieces = Vec::new();
    for stroke in strokes {
        for (at, pair) in stroke.windows(2).enumerate() {
            let pressure = (0.25 * at as f32 + phase).sin();
            pieces.push(Piece {
                from: place(&pair[0]),
                to: place(&pair[1]),
                radius: radius * (1.0 - uneven * (0.5 + 0.5 * pressure)),
            });
        }
    }
    pieces
}

/// How much of each pixel is ink, `0..=1`.
fn render(pieces: &[Piece]) -> [f32; SIDE * SIDE] {
    let mut ink = [0.0f32; SIDE * SIDE];
    for piece in pieces {
        let reach = piece.radius + 0.5;
        let pixels = |a: f32, b: f32| {
            let first = (a.min(b) - reach).ceil().max(0.0) as usize;
            let end = ((a.max(b) + reach).floor() + 1.0).clamp(0.0, SIDE as f32) as usize;
            first..end
        };
        for y in pixels(piece.from.y, piece.to.y) {
            for x in pixels(piece.from.x, piece.to.x) {
                let covered = reach - distance(Point { x: x as f32, y: y as f32 }, piece);
                let pixel = &mut ink[y * SIDE + x];
                *pixel = pixel.max(covered.clamp(0.0, 1.0));
            }
        }
    }
    ink
}

fn distance(point: Point, piece: &Piece) -> f32 {
    let (dx, dy) = (piece.to.x - piece.from.x, piece.to.y - piece.from.y);
    let (px, py) = (point.x - piece.from.x, point.y - piece.from.y);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
    (px - along * dx).hypot(py - along * dy)
}

fn centre_of_mass(ink: &[f32]) -> Point {
    let mass: f32 = ink.iter().sum();
    let moment = |position: fn(usize) -> usize| {
        ink.iter().enumerate().map(|(at, ink)| ink * position(at) as f32).sum::<f32>() / mass
    };
    Point { x: moment(|at| at % SIDE), y: moment(|at| at / SIDE) }
}

/// Turns coverage into grey values: contrast and grain differ from image to image.
fn develop(ink: &[f32; SIDE * SIDE], random: &mut Random) -> [u8; SIDE * SIDE] {
    let contrast = random.between(0.7, 1.5);
    let peak = random.between(225.0, 256.0);
    let grain = random.between(0.0, 0.06);
    ink.map(|ink| {
        if ink <= 0.0 {
            return 0;
        }
        let value = ink.powf(contrast) * (1.0 + grain * random.normal());
        (value * peak).clamp(0.0, 255.0) as u8
    })
}
