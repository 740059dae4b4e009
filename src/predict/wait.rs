//! Waiting for a device, and how long that took.

use crate::error::Result;
use crate::kernels::floats;
use burn::tensor::Tensor;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use web_time::Instant;

pub fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Reads one number of `x` back: the device has then done all that leads to it.
pub async fn touch(x: Tensor<3>) -> Result<()> {
    floats(x.slice([0..1, 0..1, 0..1])).await.map(drop)
}

/// As [`touch`], and how long it took from `started` on.
pub async fn touched(x: Tensor<3>, started: Instant) -> Result<f64> {
    touch(x).await?;
    Ok(milliseconds(started))
}

/// What both lead to. The first one begins first, and the second does not wait for it.
pub async fn both<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut a, mut b) = (None, None);
    poll_fn(|context| {
        go_on(&mut a, first.as_mut(), context);
        go_on(&mut b, second.as_mut(), context);
        if a.is_none() || b.is_none() {
            return Poll::Pending;
        }
        a.take().zip(b.take()).map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Goes on with what is not there yet.
fn go_on<T>(found: &mut Option<T>, future: Pin<&mut impl Future<Output = T>>, context: &mut Context<'_>) {
    if found.is_none()
        && let Poll::Ready(value) = future.poll(context)
    {
        *found = Some(value);
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn neither_waits_for_the_other() {
        let said = RefCell::new(Vec::new());
        let patient = async |name: &'static str, times: usize| {
            for time in 0..times {
                said.borrow_mut().push((name, time));
                let mut polled = false;
                poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
            times
        };
        assert_eq!(pollster::block_on(both(patient("a", 1), patient("b", 3))), (1, 3));
        assert_eq!(*said.borrow(), [("a", 0), ("b", 0), ("b", 1), ("b", 2)]);
        assert_eq!(pollster::block_on(both(patient("a", 2), async { 7 })), (2, 7));
    }
}
