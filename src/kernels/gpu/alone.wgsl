// LANES is 1: an invocation knows the whole sum.
fn total(value: f32, local: u32) -> f32 { return value; }
fn greatest(value: f32, local: u32) -> f32 { return value; }
