//! Ranks over MPI: one process a device, started by `mpirun` or `srun`.

use super::parameters::Gradient;
use super::ranks::Ranks;
use crate::error::{Error, Result};
use burn::tensor::{Tensor, TensorData};
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};
use std::pin::Pin;

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
        let (mut least, mut most) = (0, 0);
        self.communicator.all_reduce_into(&value, &mut least, SystemOperation::min());
        self.communicator.all_reduce_into(&value, &mut most, SystemOperation::max());
        if least == most {
            return Ok(());
        }
        let reason = format!("rank {} has another {what} than the rest: resume from the last checkpoint", self.rank());
        Err(Error::device(reason))
    }

    fn sum<'a>(&'a self, gradient: Gradient) -> Pin<Box<dyn Future<Output = Result<Gradient>> + 'a>> {
        Box::pin(async move {
            let Gradient { values, reached } = gradient;
            let device = values.device();
            let data = values.into_data_async().await.map_err(Error::device)?;
            let own: Vec<f32> = data.try_into_vec().map_err(|error| Error::device(format!("{error:?}")))?;
            let mut sum = vec![0.0f32; own.len()];
            self.communicator.all_reduce_into(&own[..], &mut sum[..], SystemOperation::sum());
            let own: Vec<u8> = reached.into_iter().map(u8::from).collect();
            let mut reached = vec![0u8; own.len()];
            self.communicator.all_reduce_into(&own[..], &mut reached[..], SystemOperation::max());
            let count = sum.len();
            let values = Tensor::from_data(TensorData::new(sum, [count]), &device);
            Ok(Gradient { values, reached: reached.into_iter().map(|reached| reached > 0).collect() })
        })
    }
}
