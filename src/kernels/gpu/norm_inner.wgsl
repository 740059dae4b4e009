// The branch has a norm of its own.
fn inner_spread(start: u32, lane: u32, local: u32) -> Spread {
    var sum = 0.0;
    for (var quad = lane; quad < numbers.quads; quad += LANES) { sum += dot(branch[start + quad], vec4<f32>(1.0)); }
    let mean = total(sum, local) / f32(4u * numbers.quads);
    var squares = 0.0;
    for (var quad = lane; quad < numbers.quads; quad += LANES) {
        let value = branch[start + quad] - mean;
        squares += dot(value, value);
    }
    return Spread(mean, inverseSqrt(total(squares, local) / f32(4u * numbers.quads) + bitcast<f32>(numbers.epsilon)));
}

fn normed_branch(start: u32, quad: u32, inner: Spread) -> vec4<f32> {
    return (branch[start + quad] - inner.mean) * inner.scale * inner_weight[quad] + inner_bias[quad];
}
