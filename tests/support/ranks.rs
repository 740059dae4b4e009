//! Ranks that are threads of the test's process.

use burn::tensor::{Tensor, TensorData};
use ofa::error::{Error, Result};
use ofa::train::{Ranks, Summed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// One of several threads that train together.
pub struct Threads {
    rank: usize,
    size: usize,
    meeting: Arc<(Mutex<Meeting>, Condvar)>,
}

/// Where all ranks put something down and take everything with them.
#[derive(Default)]
struct Meeting {
    brought: Vec<(usize, Vec<u64>)>,
    /// Of the last meeting that was complete, in the order of ranks.
    all: Arc<Vec<Vec<u64>>>,
    meetings: u64,
    aborted: bool,
}

/// Runs `work` on one thread for each of `parts`. A failure on one ends all.
pub fn together<P: Send, T: Send>(
    parts: &mut [P],
    work: impl Fn(&mut P, &Threads) -> Result<T> + Sync,
) -> Vec<Result<T>> {
    let meeting = Arc::<(Mutex<Meeting>, Condvar)>::default();
    let size = parts.len();
    std::thread::scope(|scope| {
        let start = |(rank, part)| {
            let ranks = Threads { rank, size, meeting: meeting.clone() };
            let work = &work;
            scope.spawn(move || work(part, &ranks).inspect_err(|_| ranks.abort()))
        };
        let threads: Vec<_> = parts.iter_mut().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

impl Threads {
    fn meet(&self, own: Vec<u64>) -> Result<Arc<Vec<Vec<u64>>>> {
        let (meeting, came) = &*self.meeting;
        let mut meeting = meeting.lock().unwrap_or_else(PoisonError::into_inner);
        let number = meeting.meetings;
        meeting.brought.push((self.rank, own));
        if meeting.brought.len() == self.size {
            let mut brought = std::mem::take(&mut meeting.brought);
            brought.sort();
            meeting.all = Arc::new(brought.into_iter().map(|(_, values)| values).collect());
            meeting.meetings += 1;
            came.notify_all();
        }
        let waits = |meeting: &mut Meeting| meeting.meetings == number && !meeting.aborted;
        let meeting = came.wait_while(meeting, waits).unwrap_or_else(PoisonError::into_inner);
        // Whoever fails after a meeting has not failed it.
        if meeting.meetings == number { Err(Error::device("another rank has failed")) } else { Ok(meeting.all.clone()) }
    }
}

impl Ranks for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum_pair(&self, values: [f64; 2]) -> Result<[f64; 2]> {
        let all = self.meet(values.map(f64::to_bits).to_vec())?;
        Ok([0, 1].map(|index| all.iter().map(|values| f64::from_bits(values[index])).sum()))
    }

    fn agree(&self, what: &'static str, value: u64) -> Result<()> {
        let all = self.meet(vec![value])?;
        if all.iter().all(|values| values[0] == value) {
            return Ok(());
        }
        Err(Error::device(format!("rank {} has another {what}", self.rank)))
    }

    fn sum<'a>(&'a self, values: Tensor<1>) -> Summed<'a> {
        Box::pin(async move {
            let device = values.device();
            let own: Vec<f32> = values.into_data().try_into_vec().unwrap();
            let all = self.meet(own.iter().map(|value| u64::from(value.to_bits())).collect())?;
            let at = |index: usize| all.iter().map(|values| f32::from_bits(values[index] as u32)).sum::<f32>();
            let sum: Vec<f32> = (0..own.len()).map(at).collect();
            Ok(Tensor::from_data(TensorData::new(sum, [own.len()]), &device))
        })
    }

    fn any(&self, set: Vec<bool>) -> Result<Vec<bool>> {
        let all = self.meet(set.iter().map(|set| u64::from(*set)).collect())?;
        Ok((0..set.len()).map(|index| all.iter().any(|values| values[index] > 0)).collect())
    }

    fn abort(&self) {
        let (meeting, came) = &*self.meeting;
        meeting.lock().unwrap_or_else(PoisonError::into_inner).aborted = true;
        came.notify_all();
    }
}

impl Drop for Threads {
    /// Nor does a panic leave the others waiting.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort();
        }
    }
}
