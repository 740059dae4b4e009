//! The product of two matrices, tile by tile: the right one is packed into panels that stay in the nearest cache, the
//! left one is read where it lies. Convolutions, linear layers and attention differ in how they pack.

use super::few_rows::bytes;
use super::lanes::{CACHE_LINE, Lanes, MOST_LANES, SQUARE, Work, prefetch, run};
use super::math::gelu;
use super::parallel::{Shared, ranges};
use crate::kernels::Activation;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Inner products are summed over this many values at a time, so that a panel is 32 kB at most.
pub(super) const BLOCK: usize = 256;
/// So many panels of whole blocks are packed together as the second cache holds beside rows of the left matrix, and
/// more lower ones.
const PANELS: usize = 8;
/// Values of a page of memory, beyond which processors do not fetch ahead on their own.
const PAGE: usize = 1024;

/// The right matrix.
pub trait Right: Sync {
    /// Writes the rows `depth` of `width` columns from `first` on into `panel`, row by row. Columns beyond the last are
    /// anything finite.
    ///
    /// # Safety
    /// The instructions behind `L` exist.
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]);
}

/// Rows of equal length, `stride` apart.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

/// What happens to a sum before it is stored.
#[derive(Clone, Copy, Default)]
pub struct Finish<'a> {
    /// A value a row, added.
    pub row_bias: Option<&'a [f32]>,
    /// A value a column, added.
    pub column_bias: Option<&'a [f32]>,
    /// Laid out as the result, added.
    pub residual: Option<&'a [f32]>,
    pub activation: Activation,
}

/// The left matrix.
pub trait Left: Sync {
    /// Of a tile, where registers had room for more: 12, 8, 6 or 4.
    const MOST_ROWS: usize = 12;

    /// Where the values `depth` of `T` rows from `first` on lie, in `scratch` if they had to be unpacked. Rows beyond
    /// the last repeat it.
    ///
    /// # Safety
    /// The instructions behind `L` exist.
    unsafe fn rows<L: Lanes, const T: usize>(
        &self,
        first: usize,
        depth: Range<usize>,
        scratch: &mut [f32],
    ) -> [*const f32; T];

    /// Inner products of such rows with the columns of a panel.
    ///
    /// # Safety
    /// The instructions behind `L` exist, and the rows and the panel are as long as `depth` says.
    #[inline(always)]
    unsafe fn tile<L: Lanes, const T: usize>(
        &self,
        depth: usize,
        rows: [*const f32; T],
        panel: *const f32,
    ) -> [[L; 2]; T] {
        unsafe { tile::<L, T>(depth, rows, panel) }
    }
}

/// A matrix of `count` rows as they lie in memory.
pub struct LeftRows<'a> {
    pub rows: Rows<'a>,
    pub count: usize,
}

impl Left for LeftRows<'_> {
    #[inline(always)]
    unsafe fn rows<L: Lanes, const T: usize>(
        &self,
        first: usize,
        depth: Range<usize>,
        _scratch: &mut [f32],
    ) -> [*const f32; T] {
        let row = |row: usize| {
            let start = row.min(self.count - 1) * self.rows.stride;
            &self.rows.values[start + depth.start..start + depth.end]
        };
        (first + T..first + 2 * T).for_each(|next| unsafe { prefetch::<L>(bytes(row(next))) });
        std::array::from_fn(|index| row(first + index).as_ptr())
    }
}

/// Rows, inner products' length, columns.
pub type Size = [usize; 3];

/// `out = finish(left · right)`, whatever was there; rows of `out` are `stride` apart and begin at 0.
pub fn product<A: Left, B: Right>(left: &A, right: &B, size: Size, out: Shared, stride: usize, finish: &Finish<'_>) {
    struct Strips<'a, A, B> {
        left: &'a A,
        right: &'a B,
        size: Size,
        panels: Range<usize>,
        out: Shared,
        stride: usize,
        finish: &'a Finish<'a>,
    }
    impl<A: Left, B: Right> Work for Strips<'_, A, B> {
        type Output = ();

        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            // SAFETY: each range of panels is handed out once.
            unsafe {
                match L::TILE_ROWS.min(A::MOST_ROWS) {
                    12 => self.strips::<L, 12>(),
                    8 => self.strips::<L, 8>(),
                    6 => self.strips::<L, 6>(),
                    _ => self.strips::<L, 4>(),
                }
            }
        }
    }
    impl<A: Left, B: Right> Strips<'_, A, B> {
        #[inline(always)]
        unsafe fn strips<L: Lanes, const T: usize>(self) {
            let Self { left, right, size: [rows, depth, columns], panels, out, stride, finish } = self;
            let width = 2 * L::COUNT;
            let length = BLOCK.min(depth) * width;
            // On the stack, which is warm and each thread's own.
            let mut room = [const { MaybeUninit::<f32>::uninit() }; PANELS * BLOCK * 2 * MOST_LANES + MOST_LANES];
            // Registers that lie across two lines of the cache take two loads.
            let start = room.as_ptr().align_offset(CACHE_LINE);
            let packed = &mut room[start..][..panels.len() * length];
            // SAFETY: panels are written before they are read.
            let packed = unsafe { std::slice::from_raw_parts_mut(packed.as_mut_ptr().cast::<f32>(), packed.len()) };
            let mut scratch = [0.0f32; 12 * BLOCK];
            for start in (0..depth).step_by(BLOCK) {
                let block = start..(start + BLOCK).min(depth);
                let finish = Some(finish).filter(|finish| block.end == depth && finish.changes());
                for (panel, packed) in panels.clone().zip(packed.chunks_exact_mut(length)) {
                    unsafe { right.pack::<L>(block.clone(), panel * width, width, &mut packed[..block.len() * width]) };
                }
                for row in (0..rows).step_by(T) {
                    let tile = Tile { left, row, rows, block: block.clone(), columns, out, stride, finish };
                    let panels = panels.clone().zip(packed.chunks_exact(length));
                    // Few last rows take less than a whole tile.
                    match rows - row {
                        1..=4 if T == 12 => unsafe { tile.against::<L, 4>(panels, &mut scratch) },
                        5..=8 if T == 12 => unsafe { tile.against::<L, 8>(panels, &mut scratch) },
                        _ => unsafe { tile.against::<L, T>(panels, &mut scratch) },
                    }
                }
            }
        }
    }
    let [rows, depth, columns] = size;
    let work = rows * depth * columns;
    let together = PANELS * BLOCK / depth.clamp(1, BLOCK);
    ranges(columns.div_ceil(panel_width()), together, work, |panels| {
        run(Strips { left, right, size, panels, out, stride, finish });
    });
}

/// Some rows of the left matrix and their results.
struct Tile<'a, A> {
    left: &'a A,
    row: usize,
    rows: usize,
    block: Range<usize>,
    columns: usize,
    out: Shared,
    stride: usize,
    /// What follows the last of the sums.
    finish: Option<&'a Finish<'a>>,
}

impl<A: Left> Tile<'_, A> {
    /// Writes the products of `T` rows with panels, or adds them, and finishes the last.
    #[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
    #[inline(always)]
    unsafe fn against<'p, L: Lanes, const T: usize>(
        self,
        panels: impl Iterator<Item = (usize, &'p [f32])>,
        scratch: &mut [f32],
    ) {
        let Self { left, row, rows, block, columns, out, stride, finish } = self;
        let width = 2 * L::COUNT;
        let pointers: [*const f32; T] = unsafe { left.rows::<L, T>(row, block.clone(), scratch) };
        let (here, add) = (row..(row + T).min(rows), block.start > 0);
        for (panel, packed) in panels {
            let first = panel * width;
            let valid = width.min(columns - first);
            if let Some(Finish { residual: Some(residual), .. }) = finish {
                // They lie too far apart for processors to fetch them on their own.
                here.clone()
                    .for_each(|row| unsafe { prefetch::<L>(bytes(&residual[row * stride + first..][..valid])) });
            }
            let sums = unsafe { left.tile::<L, T>(block.len(), pointers, packed.as_ptr()) };
            if finish.is_none() && valid == width && here.len() == T {
                // By rows that are known, so that sums stay in registers. What follows would be too much code to repeat.
                for r in 0..T {
                    // SAFETY: this place of the result is handed out once.
                    unsafe { keep(sums[r], out.at((row + r) * stride + first), width, add) };
                }
                continue;
            }
            for (row, sums) in here.clone().zip(sums) {
                let at = row * stride + first;
                // SAFETY: this place of the result is handed out once.
                unsafe {
                    match finish {
                        Some(finish) if valid == width => finish.keep(sums, row, first, at, out.at(at), add),
                        Some(finish) => {
                            keep(sums, out.at(at), valid, add);
                            finish.apply::<L>(row, first, at, out.part(at, valid));
                        }
                        None => keep(sums, out.at(at), valid, add),
                    }
                }
            }
        }
    }
}

/// Columns of a panel: two registers.
pub fn panel_width() -> usize {
    struct Width;
    impl Work for Width {
        type Output = usize;
        #[inline(always)]
        unsafe fn run<L: Lanes>(self) -> usize {
            2 * L::COUNT
        }
    }
    run(Width)
}

/// Inner products of `T` rows with the columns of a panel.
#[allow(clippy::needless_range_loop)] // Indices into arrays of a known length keep them in registers.
#[inline(always)]
unsafe fn tile<L: Lanes, const T: usize>(depth: usize, rows: [*const f32; T], panel: *const f32) -> [[L; 2]; T] {
    unsafe {
        let mut sums = [[L::splat(0.0); 2]; T];
        let right = |k: usize| {
            let at = panel.add(k * 2 * L::COUNT);
            [L::load(at), L::load(at.add(L::COUNT))]
        };
        // So many pointers to rows are in memory themselves: one that is fetched serves two values.
        let pairs = if T > 8 { depth / 2 } else { 0 };
        for k in (0..pairs).map(|pair| 2 * pair) {
            let rights = [right(k), right(k + 1)];
            for r in 0..T {
                let values = rows[r].add(k);
                for step in 0..2 {
                    let left = L::splat(*values.add(step));
                    sums[r][0] = sums[r][0].add_mul(left, rights[step][0]);
                    sums[r][1] = sums[r][1].add_mul(left, rights[step][1]);
                }
            }
        }
        for k in 2 * pairs..depth {
            let right = right(k);
            for r in 0..T {
                let left = L::splat(*rows[r].add(k));
                sums[r][0] = sums[r][0].add_mul(left, right[0]);
                sums[r][1] = sums[r][1].add_mul(left, right[1]);
            }
        }
        sums
    }
}

/// A register of sums, with what is there if they are added to it.
#[inline(always)]
unsafe fn total<L: Lanes>(sum: L, place: *const f32, add: bool) -> L {
    if add { unsafe { L::load(place).add(sum) } } else { sum }
}

/// Writes `valid` sums, or adds them to what is there.
#[inline(always)]
unsafe fn keep<L: Lanes>(sums: [L; 2], place: *mut f32, valid: usize, add: bool) {
    unsafe {
        if valid == 2 * L::COUNT {
            for (half, sum) in sums.into_iter().enumerate() {
                let place = place.add(half * L::COUNT);
                total(sum, place, add).store(place);
            }
        } else {
            let mut values = [0.0f32; 2 * MOST_LANES];
            sums[0].store(values.as_mut_ptr());
            sums[1].store(values.as_mut_ptr().add(L::COUNT));
            for (column, value) in values.into_iter().enumerate().take(valid) {
                let place = place.add(column);
                *place = if add { *place + value } else { value };
            }
        }
    }
}

impl Finish<'_> {
    /// Whether it is more than the sums.
    pub fn changes(&self) -> bool {
        let Self { row_bias, column_bias, residual, activation } = self;
        row_bias.is_some() || column_bias.is_some() || residual.is_some() || *activation != Activation::None
    }

    /// What becomes of a register of sums: of a row, from a column on, and where they lie.
    #[inline(always)]
    pub(super) unsafe fn of<L: Lanes>(&self, mut sum: L, row: usize, column: usize, at: usize) -> L {
        unsafe {
            if let Some(bias) = self.row_bias {
                sum = sum.add(L::splat(bias[row]));
            }
            if let Some(bias) = self.column_bias {
                sum = sum.add(L::load(bias[column..][..L::COUNT].as_ptr()));
            }
            if let Some(residual) = self.residual {
                sum = sum.add(L::load(residual[at..][..L::COUNT].as_ptr()));
            }
            match self.activation {
                Activation::None => sum,
                Activation::Relu => sum.max(L::splat(0.0)),
                Activation::Gelu => gelu(sum),
            }
        }
    }

    /// Writes what becomes of the sums of a panel's whole width, and of what is there if they are added to it.
    #[inline(always)]
    unsafe fn keep<L: Lanes>(&self, sums: [L; 2], row: usize, column: usize, at: usize, place: *mut f32, add: bool) {
        for (half, sum) in sums.into_iter().enumerate() {
            let from = half * L::COUNT;
            unsafe {
                let place = place.add(from);
                self.of(total(sum, place, add), row, column + from, at + from).store(place);
            }
        }
    }

    /// Finishes a row's sums in place.
    #[inline(always)]
    pub unsafe fn apply<L: Lanes>(&self, row: usize, column: usize, at: usize, values: &mut [f32]) {
        let mut chunks = values.chunks_exact_mut(L::COUNT);
        let mut done = 0;
        for chunk in &mut chunks {
            unsafe { self.of(L::load(chunk.as_ptr()), row, column + done, at + done).store(chunk.as_mut_ptr()) };
            done += L::COUNT;
        }
        let rest = chunks.into_remainder();
        if rest.is_empty() {
            return;
        }
        // The values that fill no register go through one of their own.
        let padded = |values: &[f32], from: usize| {
            let mut padded = [0.0f32; MOST_LANES];
            padded[..rest.len()].copy_from_slice(&values[from..][..rest.len()]);
            padded
        };
        let column_bias = self.column_bias.map(|bias| padded(bias, column + done));
        let residual = self.residual.map(|residual| padded(residual, at + done));
        let finish = Finish {
            column_bias: column_bias.as_ref().map(|bias| &bias[..]),
            residual: residual.as_ref().map(|residual| &residual[..]),
            ..*self
        };
        let mut last = padded(rest, 0);
        unsafe { finish.of(L::load(last.as_ptr()), row, 0, 0).store(last.as_mut_ptr()) };
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Writes rows of one length into a panel of `width` columns as the columns from `left` on, by squares that registers
/// can turn.
#[inline(always)]
pub(super) unsafe fn turn<L: Lanes>(rows: [&[f32]; SQUARE], left: usize, width: usize, panel: &mut [f32]) {
    let length = rows[0].len();
    let whole = length - length % SQUARE;
    assert!(rows.iter().all(|row| row.len() == length) && left + SQUARE <= width && length * width <= panel.len());
    for top in (0..whole).step_by(SQUARE) {
        // SAFETY: within rows that are all as long as the first, and as many lines of the panel.
        unsafe { L::turn(rows.map(|row| row.as_ptr().add(top)), panel.as_mut_ptr().add(top * width + left), width) };
    }
    for k in whole..length {
        rows.iter().enumerate().for_each(|(column, row)| panel[k * width + left + column] = row[k]);
    }
}

/// A right matrix whose columns are rows in memory: `x Wᵀ`, `q kᵀ`.
pub struct Transposed<'a> {
    pub rows: Rows<'a>,
    pub count: usize,
}

impl Right for Transposed<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let row = |column: usize| {
            let start = (first + column).min(self.count - 1) * self.rows.stride;
            &self.rows.values[start + depth.start..start + depth.end]
        };
        for left in (0..width).step_by(SQUARE) {
            (left + SQUARE..left + 2 * SQUARE).for_each(|next| unsafe { prefetch::<L>(bytes(row(next))) });
            unsafe { turn::<L>(std::array::from_fn(|column| row(left + column)), left, width, panel) };
        }
    }
}

/// A right matrix as it lies in memory.
pub struct Straight<'a> {
    pub rows: Rows<'a>,
    pub columns: usize,
}

impl Right for Straight<'_> {
    #[inline(always)]
    unsafe fn pack<L: Lanes>(&self, depth: Range<usize>, first: usize, width: usize, panel: &mut [f32]) {
        let valid = width.min(self.columns - first);
        for (k, place) in depth.zip(panel.chunks_exact_mut(width)) {
            let start = k * self.rows.stride + first;
            if valid == 2 * L::COUNT {
                let values = &self.rows.values[start..start + 2 * L::COUNT];
                if self.rows.stride >= PAGE {
                    // Of the next panel.
                    for at in [2 * L::COUNT, 3 * L::COUNT] {
                        unsafe { L::prefetch(self.rows.values.as_ptr().wrapping_add(start + at).cast()) };
                    }
                }
                // The compiler then knows how much is copied.
                place[..2 * L::COUNT].copy_from_slice(values);
                continue;
            }
            place[..valid].copy_from_slice(&self.rows.values[start..start + valid]);
            place[valid..].fill(0.0);
        }
    }
}
