//! Convolutions of 3 × 3 by Winograd's F(2 × 2, 3 × 3): a tile of 2 × 2 results takes 16 products a pair of channels,
//! not 36. Sums take tile and kernel to 4 × 4 places, each place has a product of matrices of its own, and sums bring
//! the results back.

use super::Matrix;
use super::lanes::{Lanes, MOST_LANES, SQUARE, Work, run};
use super::parallel::{Room, Shared, ranges};
use super::product::{Finish, LeftRows, Rows, Straight, panel_width, product, turn};
use std::ops::Range;

/// Places of a line.
const SIDE: usize = 4;
const PLACES: usize = SIDE * SIDE;
/// Values of a kernel's line.
const TAPS: usize = 3;
/// Tiles that go through all steps together, so that they stay in the second cache, in whole rows of tiles.
const TILES: usize = 128;
/// Channels whose sums a thread takes at a time.
const CHANNELS: usize = 16;
/// What the sums cost, in products a pair of channels: those of a kernel, and those of a tile divided among channels.
/// Measured with the widest registers; narrower ones lose less by them.
const KERNEL_COST: usize = 350;
const TILE_COST: usize = 550;

/// Whether it is the faster way: what it saves in products is worth the sums.
pub fn pays([out, channels]: [usize; 2], [height, width]: [usize; 2]) -> bool {
    let whole = |columns: usize| columns.next_multiple_of(panel_width());
    let tiles = height.div_ceil(2) * width.div_ceil(2);
    let sums = KERNEL_COST + TILE_COST * tiles / out.min(channels).max(1);
    PLACES * whole(tiles) + sums < TAPS * TAPS * whole(height * width)
}

/// Rows of each place, whole registers long. Between places lies room for another register, so that those of one row
/// do not fall into one set of a cache.
#[derive(Clone, Copy)]
struct Places {
    /// From row to row.
    stride: usize,
    /// From place to place.
    apart: usize,
}

impl Places {
    fn new(rows: usize, length: usize) -> Self {
        let stride = length.next_multiple_of(MOST_LANES);
        Self { stride, apart: rows * stride + MOST_LANES }
    }

    fn len(self) -> usize {
        PLACES * self.apart
    }

    /// Where the row of each place begins.
    #[inline(always)]
    fn row(self, row: usize) -> [usize; PLACES] {
        std::array::from_fn(|place| place * self.apart + row * self.stride)
    }
}

/// Kernels as the products need them.
pub struct Kernels {
    /// Of each place `[out, channels]`.
    values: Room,
    places: Places,
    dims: [usize; 2],
}

impl Kernels {
    /// Of weights `[out, channels · 3 · 3]`; `None` where they cannot be unpacked row by row.
    pub fn of(weights: &Matrix<'_>) -> Option<Self> {
        if matches!(weights, Matrix::Split(_)) {
            return None;
        }
        let [out, depth] = weights.dims();
        let channels = depth / (TAPS * TAPS);
        let places = Places::new(out, channels);
        let mut values = Room::new(places.len());
        let to = values.shared();
        ranges(out, CHANNELS, out * depth * PLACES, |rows| run(Spread { weights, rows, channels, places, to }));
        Some(Self { values, places, dims: [out, channels] })
    }
}

/// Takes the kernels of some rows to their places.
struct Spread<'a> {
    weights: &'a Matrix<'a>,
    rows: Range<usize>,
    channels: usize,
    places: Places,
    to: Shared,
}

impl Work for Spread<'_> {
    type Output = ();

    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { weights, rows, channels, places, to } = self;
        const ALL: usize = TAPS * TAPS;
        let mut unpacked = vec![0.0f32; channels * ALL];
        // Of each tap a row of channels.
        let mut taps = vec![0.0f32; ALL * places.stride];
        for row in rows {
            let kernels = match weights {
                Matrix::Packed(packed) => {
                    unsafe { packed.unpack::<L>(row, 0, &mut unpacked) };
                    &unpacked[..]
                }
                _ => &weights.rows().values[row * channels * ALL..][..channels * ALL],
            };
            let whole = channels - channels % SQUARE;
            for first in (0..whole).step_by(SQUARE) {
                let kernels = &kernels[first * ALL..][..SQUARE * ALL];
                // The next row's, of plain weights.
                let next = kernels.as_ptr().wrapping_add(channels * ALL);
                (0..SQUARE * ALL).step_by(16).for_each(|at| unsafe { L::prefetch(next.wrapping_add(at).cast()) });
                let kernel = |channel: usize| &kernels[channel * ALL..][..ALL];
                unsafe { turn::<L>(std::array::from_fn(kernel), first, places.stride, &mut taps) };
            }
            for (channel, kernel) in kernels.chunks_exact(ALL).enumerate().skip(whole) {
                kernel.iter().enumerate().for_each(|(tap, value)| taps[tap * places.stride + channel] = *value);
            }
            let to = places.row(row).map(|at| to.at(at));
            for at in (0..places.stride).step_by(L::COUNT) {
                let mut across = [[unsafe { L::splat(0.0) }; SIDE]; TAPS];
                for (y, across) in across.iter_mut().enumerate() {
                    let tap = unsafe { taps.as_ptr().add(TAPS * y * places.stride + at) };
                    *across = unsafe {
                        spread([L::load(tap), L::load(tap.add(places.stride)), L::load(tap.add(2 * places.stride))])
                    };
                }
                for x in 0..SIDE {
                    let down = unsafe { spread([across[0][x], across[1][x], across[2][x]]) };
                    for y in 0..SIDE {
                        // SAFETY: each row is handed out once.
                        unsafe { down[y].store(to[SIDE * y + x].add(at)) };
                    }
                }
            }
        }
    }
}

/// A line of a kernel at its four places.
#[inline(always)]
unsafe fn spread<L: Lanes>([a, b, c]: [L; TAPS]) -> [L; SIDE] {
    unsafe {
        let half = L::splat(0.5);
        let (outer, inner) = (a.add(c).mul(half), b.mul(half));
        [a, outer.add(inner), outer.sub(inner), c]
    }
}

/// The height and width of an image, and of what becomes of it.
pub type Size = [usize; 2];

/// Padding keeps the size. Writes all of `result`, `[out, height, width]`.
///
/// # Shapes
/// image `[channels, height, width]`
pub fn convolve(image: &[f32], size: Size, kernels: &Kernels, result: Shared, finish: &Finish<'_>) {
    let [out, channels] = kernels.dims;
    let [rows, columns] = size.map(|side| side.div_ceil(2));
    let step = TILES.div_ceil(columns).min(rows);
    let [from, to] = [channels, out].map(|rows| Places::new(rows, step * columns));
    let (mut seen, mut sums) = (Room::new(from.len()), Room::new(to.len()));
    let (seen, sums) = (seen.shared(), sums.shared());
    for first in (0..rows).step_by(step) {
        let tiling = &Tiling { size, rows: first..(first + step).min(rows), columns };
        // Of whole registers, as they are written.
        let tiles = (tiling.rows.len() * columns).next_multiple_of(panel_width() / 2);
        ranges(channels, CHANNELS, channels * tiles * PLACES * SIDE, |channels| {
            run(Scatter { tiling, image, channels, places: from, to: seen });
        });
        ranges(PLACES, 1, PLACES * out * channels * tiles, |places| {
            for place in places {
                let Places { stride, apart } = kernels.places;
                // SAFETY: all rows are written, and nothing writes them now.
                let values = unsafe { kernels.values.part(place * apart, out * stride) };
                let left = LeftRows { rows: Rows { values, stride }, count: out };
                let values = unsafe { seen.part(place * from.apart, (channels - 1) * from.stride + tiles) };
                let right = Straight { rows: Rows { values, stride: from.stride }, columns: tiles };
                let sums = sums.behind(place * to.apart);
                product(&left, &right, [out, channels, tiles], sums, to.stride, &Finish::default());
            }
        });
        ranges(out, CHANNELS, out * tiles * PLACES * SIDE, |rows| {
            run(Gather { tiling, rows, places: to, sums, result, finish });
        });
    }
}

/// Some rows of an image's tiles.
struct Tiling {
    size: Size,
    rows: Range<usize>,
    columns: usize,
}

/// Takes the tiles of some channels to their places.
struct Scatter<'a> {
    tiling: &'a Tiling,
    image: &'a [f32],
    channels: Range<usize>,
    places: Places,
    to: Shared,
}

impl Work for Scatter<'_> {
    type Output = ();

    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { tiling: Tiling { size: [height, width], rows, columns }, image, channels, places, to } = self;
        let (height, width, columns) = (*height, *width, *columns);
        // The first and second lines of all tiles, and behind the last tiles' theirs third and fourth, each as the four
        // values that a tile sees of it: tile by tile the first ones, the second ones and so on.
        let length = (rows.len() + 1) * columns + MOST_LANES;
        let mut lines = vec![0.0f32; 2 * SIDE * length];
        for channel in channels {
            let image = &image[channel * height * width..][..height * width];
            for line in 0..2 * (rows.len() + 1) {
                let y = (2 * rows.start + line).checked_sub(1).filter(|y| *y < height);
                let at = line / 2 * columns;
                let seen = &mut lines[line % 2 * SIDE * length..][..SIDE * length];
                let (first, seen) = seen.split_at_mut(length);
                let (second, seen) = seen.split_at_mut(length);
                let (third, fourth) = seen.split_at_mut(length);
                let [first, second, third, fourth] =
                    [first, second, third, fourth].map(|values| &mut values[at..at + columns]);
                let Some(y) = y else {
                    [first, second, third, fourth].into_iter().for_each(|values| values.fill(0.0));
                    continue;
                };
                let line = &image[y * width..][..width];
                let (pairs, rest) = line.as_chunks::<2>();
                for ((second, third), pair) in second.iter_mut().zip(third.iter_mut()).zip(pairs) {
                    [*second, *third] = *pair;
                }
                if let [last] = rest {
                    [second[columns - 1], third[columns - 1]] = [*last, 0.0];
                }
                // What is second or third here is fourth or first to the neighbours.
                first[0] = 0.0;
                first[1..].copy_from_slice(&third[..columns - 1]);
                fourth[..columns - 1].copy_from_slice(&second[1..]);
                fourth[columns - 1] = 0.0;
            }
            let to = places.row(channel).map(|at| to.at(at));
            // Up to where the next row begins, so that all of it has been written; `lines` are as much longer.
            for at in (0..(rows.len() * columns).next_multiple_of(MOST_LANES)).step_by(L::COUNT) {
                let mut down = [[unsafe { L::splat(0.0) }; SIDE]; SIDE];
                for (x, down) in down.iter_mut().enumerate() {
                    // SAFETY: `length` has room for a register behind the last line.
                    unsafe {
                        let first = lines.as_ptr().add(x * length + at);
                        let second = first.add(SIDE * length);
                        let lines = [
                            L::load(first),
                            L::load(second),
                            L::load(first.add(columns)),
                            L::load(second.add(columns)),
                        ];
                        *down = scatter(lines);
                    }
                }
                for y in 0..SIDE {
                    let across = unsafe { scatter([down[0][y], down[1][y], down[2][y], down[3][y]]) };
                    for x in 0..SIDE {
                        // SAFETY: each channel is handed out once.
                        unsafe { across[x].store(to[SIDE * y + x].add(at)) };
                    }
                }
            }
        }
    }
}

/// A line of a tile at its four places.
#[inline(always)]
unsafe fn scatter<L: Lanes>([a, b, c, d]: [L; SIDE]) -> [L; SIDE] {
    unsafe { [a.sub(c), b.add(c), c.sub(b), b.sub(d)] }
}

/// Brings some rows of results back from their places.
struct Gather<'a> {
    tiling: &'a Tiling,
    rows: Range<usize>,
    places: Places,
    sums: Shared,
    result: Shared,
    finish: &'a Finish<'a>,
}

impl Work for Gather<'_> {
    type Output = ();

    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Self { tiling, rows, places, sums, result, finish } = self;
        let ([height, width], columns) = (tiling.size, tiling.columns);
        let tiles = tiling.rows.len() * columns;
        let length = tiles.next_multiple_of(MOST_LANES);
        // The four results of a tile, those of all tiles in a row.
        let mut results = vec![0.0f32; 4 * length];
        for row in rows {
            let sums = places.row(row).map(|at| sums.at(at).cast_const());
            for at in (0..tiles).step_by(L::COUNT) {
                let mut down = [[unsafe { L::splat(0.0) }; 2]; SIDE];
                for (x, down) in down.iter_mut().enumerate() {
                    *down = unsafe {
                        let place = |y: usize| sums[SIDE * y + x].add(at);
                        gather([L::load(place(0)), L::load(place(1)), L::load(place(2)), L::load(place(3))])
                    };
                }
                for y in 0..2 {
                    let across = unsafe { gather([down[0][y], down[1][y], down[2][y], down[3][y]]) };
                    for x in 0..2 {
                        // SAFETY: `length` is a whole number of registers, whatever their width.
                        unsafe { across[x].store(results.as_mut_ptr().add((2 * y + x) * length + at)) };
                    }
                }
            }
            for (tile_row, line) in tiling.rows.clone().enumerate() {
                for y in 0..2.min(height - 2 * line) {
                    let at = (row * height + 2 * line + y) * width;
                    let [left, right] =
                        [0, 1].map(|x| &results[(2 * y + x) * length + tile_row * columns..][..columns]);
                    let to = result.at(at);
                    let whole = width / 2 - width / 2 % L::COUNT;
                    for x in (0..whole).step_by(L::COUNT) {
                        // SAFETY: each row is handed out once.
                        unsafe {
                            let pairs = L::load(left[x..].as_ptr()).zipped(L::load(right[x..].as_ptr()));
                            for (half, results) in pairs.into_iter().enumerate() {
                                let column = 2 * x + half * L::COUNT;
                                // A bias here is a channel's.
                                finish.of(results, row, 0, at + column).store(to.add(column));
                            }
                        }
                    }
                    // SAFETY: each row is handed out once, and written before it is finished.
                    let rest = unsafe { result.part(at + 2 * whole, width - 2 * whole) };
                    let (pairs, odd) = rest.as_chunks_mut::<2>();
                    for (pair, (left, right)) in pairs.iter_mut().zip(left[whole..].iter().zip(&right[whole..])) {
                        *pair = [*left, *right];
                    }
                    odd.iter_mut().for_each(|last| *last = left[columns - 1]);
                    unsafe { finish.apply::<L>(row, 0, at + 2 * whole, rest) };
                }
            }
        }
    }
}

/// The two results of a line from its four places.
#[inline(always)]
unsafe fn gather<L: Lanes>([a, b, c, d]: [L; SIDE]) -> [L; 2] {
    unsafe { [a.add(b.add(c)), b.sub(c).sub(d)] }
}
