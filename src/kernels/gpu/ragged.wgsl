// Four weights of row `row`, from column 4 · quad on, where rows are no multiple of four long.
fn weight4(row: u32, quad: u32) -> vec4<f32> {
    var found = vec4<f32>();
    for (var place = 0u; place < 4u; place++) {
        let column = quad * 4u + place;
        if column < numbers.inputs { found[place] = weights[row * numbers.inputs + column]; }
    }
    return found;
}
