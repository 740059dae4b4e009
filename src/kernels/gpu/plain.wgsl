// Four weights of row `row`, from column 4 · quad on.
fn weight4(row: u32, quad: u32) -> vec4<f32> {
    return weights[row * numbers.quads + quad];
}
