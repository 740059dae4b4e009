mod step;
pub use step::ModelStep;
