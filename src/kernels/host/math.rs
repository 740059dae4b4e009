//! Functions of registers, and of whole rows: exponential, GELU, softmax, norms.

use super::lanes::{Lanes, Work};

/// e to the power of `x`, within 2 units of the last place between -87 and 88 and clamped beyond.
#[inline(always)]
pub unsafe fn exp<L: Lanes>(x: L) -> L {
    unsafe {
        let x = x.max(L::splat(-87.0)).min(L::splat(88.0));
        let n = x.mul(L::splat(std::f32::consts::LOG2_E)).round();
        // ln 2 in two parts, the first of which times n is exact.
        let r = x.add_mul(n, L::splat(-0.693_359_4)).add_mul(n, L::splat(2.121_944_4e-4));
        let series = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5];
        let y = polynomial(r, &series);
        L::splat(1.0).add(r).add_mul(y, r.mul(r)).mul(n.pow2())
    }
}

/// `x · Φ(x)`, the exact GELU.
#[inline(always)]
pub unsafe fn gelu<L: Lanes>(x: L) -> L {
    unsafe { x.mul(cumulative(x)) }
}

/// Φ(x), the share of a normal distribution below `x`, with erf as a quotient of polynomials within 5e-7.
#[inline(always)]
pub unsafe fn cumulative<L: Lanes>(x: L) -> L {
    unsafe {
        let z = x.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2)).max(L::splat(-4.0)).min(L::splat(4.0));
        let square = z.mul(z);
        let above = polynomial(
            square,
            &[
                -2.726_142_4e-10,
                2.770_681_5e-8,
                -2.101_024e-6,
                -5.692_506_2e-5,
                -7.349_906_4e-4,
                -2.954_6e-3,
                -1.609_603_3e-2,
            ],
        );
        let below =
            polynomial(square, &[-1.456_607_2e-5, -2.133_740_5e-4, -1.682_827e-3, -7.373_329_3e-3, -1.426_473_9e-2]);
        let erf = z.mul(above).div(below);
        L::splat(0.5).add_mul(erf, L::splat(0.5))
    }
}

/// The greatest power's coefficient first.
#[inline(always)]
unsafe fn polynomial<L: Lanes>(x: L, coefficients: &[f32]) -> L {
    unsafe {
        let mut y = L::splat(coefficients[0]);
        for coefficient in &coefficients[1..] {
            y = L::splat(*coefficient).add_mul(y, x);
        }
        y
    }
}

/// Changes all values of a row, a register at a time; the rest that fills none goes through one of its own. A macro,
/// since a closure would not have the instructions switched on.
macro_rules! each {
    ($lanes:ident, $row:expr, |$x:ident| $of:expr) => {{
        let row: &mut [f32] = $row;
        let mut chunks = row.chunks_exact_mut($lanes::COUNT);
        for chunk in &mut chunks {
            let $x = $lanes::load(chunk.as_ptr());
            $lanes::store($of, chunk.as_mut_ptr());
        }
        let rest = chunks.into_remainder();
        if !rest.is_empty() {
            let mut padded = [0.0f32; 16];
            padded[..rest.len()].copy_from_slice(rest);
            let $x = $lanes::load(padded.as_ptr());
            $lanes::store($of, padded.as_mut_ptr());
            rest.copy_from_slice(&padded[..rest.len()]);
        }
    }};
}

/// The sum over a row of what is made of its values.
macro_rules! total {
    ($lanes:ident, $row:expr, |$x:ident| $of:expr) => {{
        let row: &[f32] = $row;
        let chunks = row.chunks_exact($lanes::COUNT);
        let rest = chunks.remainder();
        let mut total = $lanes::splat(0.0);
        for chunk in chunks {
            let $x = $lanes::load(chunk.as_ptr());
            total = total.add($of);
        }
        let mut total = total.sum();
        if !rest.is_empty() {
            let mut padded = [0.0f32; 16];
            padded[..rest.len()].copy_from_slice(rest);
            let $x = $lanes::load(padded.as_ptr());
            $lanes::store($of, padded.as_mut_ptr());
            total += padded[..rest.len()].iter().sum::<f32>();
        }
        total
    }};
}

#[inline(always)]
pub unsafe fn greatest<L: Lanes>(row: &[f32]) -> f32 {
    unsafe {
        let chunks = row.chunks_exact(L::COUNT);
        let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut most = L::splat(f32::NEG_INFINITY);
        for chunk in chunks {
            most = most.max(L::load(chunk.as_ptr()));
        }
        rest.max(most.greatest())
    }
}

/// `share` times the softmax of one row, in place.
#[inline(always)]
pub unsafe fn softmax<L: Lanes>(row: &mut [f32], share: f32) {
    unsafe {
        let most = L::splat(greatest::<L>(row));
        each!(L, row, |x| exp(x.sub(most)));
        let factor = L::splat(share / total!(L, row, |x| x));
        each!(L, row, |x| x.mul(factor));
    }
}

/// Rows of log-probabilities out of logits, in place.
pub struct LogSoftmax<'a> {
    pub row: &'a mut [f32],
}

impl Work for LogSoftmax<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        unsafe {
            let most = greatest::<L>(self.row);
            let greatest = L::splat(most);
            let total = total!(L, self.row, |x| exp(x.sub(greatest)));
            let shift = L::splat(most + total.ln());
            each!(L, self.row, |x| x.sub(shift));
        }
    }
}

/// Mean and variance of a row.
#[inline(always)]
pub unsafe fn moments<L: Lanes>(row: &[f32]) -> [f32; 2] {
    unsafe {
        let share = 1.0 / row.len() as f32;
        let mean = total!(L, row, |x| x) * share;
        let centre = L::splat(mean);
        [mean, total!(L, row, |x| x.sub(centre).mul(x.sub(centre))) * share]
    }
}

/// LayerNorm of rows into `out`.
pub struct Normalise<'a> {
    pub x: &'a [f32],
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub epsilon: f32,
    pub out: &'a mut [f32],
}

impl Work for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            unsafe {
                let [mean, variance] = moments::<L>(x);
                let centre = L::splat(mean);
                let factor = 1.0 / (variance + self.epsilon).sqrt();
                let whole = width - width % L::COUNT;
                let scale = L::splat(factor);
                for at in (0..whole).step_by(L::COUNT) {
                    let centred = L::load(x.as_ptr().add(at)).sub(centre);
                    let weight = L::load(self.weight.as_ptr().add(at));
                    let y = L::load(self.bias.as_ptr().add(at)).add_mul(centred.mul(scale), weight);
                    y.store(out.as_mut_ptr().add(at));
                }
                for at in whole..width {
                    out[at] = (x[at] - mean) * factor * self.weight[at] + self.bias[at];
                }
            }
        }
    }
}
