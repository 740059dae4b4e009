fn finish(sum: f32, output: u32) -> f32 {
    return activate(sum);
}
