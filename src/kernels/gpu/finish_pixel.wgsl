fn finish(sum: f32, output: u32, at: u32) -> f32 {
    let value = sum + bias[output];
    return select(value, max(value, 0.0), numbers.relu == 1u);
}
