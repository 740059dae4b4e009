//! Ranks over MPI: one process a device, started by `mpirun` or `srun`.

use super::ranks::{Ranks, Summed};
use crate::error::{Error, Result};
use burn::tensor::{Tensor, TensorData};
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};

/// All processes that `mpirun` started.
pub struct World {
    communicator: SimpleCommunicator,
    /// Leaves MPI when it is dropped.
    _universe: Universe,
}

impl World {
    /// Joins the others.
    ///
    /// # Errors
    /// [`Error::Device`] when MPI has been initialised before.
    pub fn join() -> Result<Self> {
        let universe = mpi::initialize().ok_or_else(|| Error::device("MPI has been initialised before"))?;
        Ok(Self { communicator: universe.world(), _universe: universe })
    }
}

impl Ranks for World {
    fn rank(&self) -> usize {
        self.communicator.rank() as usize
    }

    fn size(&self) -> usize {
        self.communicator.size() as usize
    }

    fn sum_pair(&self, values: [f64; 2]) -> Result<[f64; 2]> {
        let mut sums = [0.0; 2];
        self.communicator.all_reduce_into(&values[..], &mut sums[..], SystemOperation::sum());
        Ok(sums)
    }

    fn agree(&self, what: &'static str, value: u64) -> Result<()> {
        // Of the value's own type, because MPI writes as many bytes as that has.
        let (mut least, mut most) = (0u64, 0u64);
        self.communicator.all_reduce_into(&value, &mut least, SystemOperation::min());
        self.communicator.all_reduce_into(&value, &mut most, SystemOperation::max());
        if least == most {
            return Ok(());
        }
        let reason = format!("rank {} has another {what} than the rest: resume from the last checkpoint", self.rank());
        Err(Error::device(reason))
    }

    fn sum<'a>(&'a self, values: Tensor<1>) -> Summed<'a> {
        Box::pin(async move {
            let device = values.device();
            let own = crate::kernels::floats(values).await?;
            let mut sum = vec![0.0f32; own.len()];
            self.communicator.all_reduce_into(&own[..], &mut sum[..], SystemOperation::sum());
            let count = sum.len();
            Ok(Tensor::from_data(TensorData::new(sum, [count]), &device))
        })
    }

    fn any(&self, set: Vec<bool>) -> Result<Vec<bool>> {
        let own: Vec<u8> = set.into_iter().map(u8::from).collect();
        let mut any = vec![0u8; own.len()];
        self.communicator.all_reduce_into(&own[..], &mut any[..], SystemOperation::max());
        Ok(any.into_iter().map(|set| set > 0).collect())
    }

    fn abort(&self) {
        self.communicator.abort(1)
    }
}

impl Drop for World {
    /// Leaving MPI waits for all ranks, and the others wait for this one's part of a sum.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort();
        }
    }
}
