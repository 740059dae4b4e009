// residual + norm(branch), and the norm of that; LANES invocations a row.

// Mean and reciprocal deviation of a row.
struct Spread { mean: f32, scale: f32 }

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = (group.x + group.y * groups.x) * (WIDTH / LANES) + local / LANES;
    let start = min(row, numbers.rows - 1u) * numbers.quads;
    let lane = local % LANES;
    let inner = inner_spread(start, lane, local);

    var sum = 0.0;
    for (var quad = lane; quad < numbers.quads; quad += LANES) {
        let value = added(start, quad, inner);
        if row < numbers.rows { keep_sum(start + quad, value); }
        sum += dot(value, vec4<f32>(1.0));
    }
    let mean = total(sum, local) / f32(4u * numbers.quads);
    var squares = 0.0;
    for (var quad = lane; quad < numbers.quads; quad += LANES) {
        let value = added(start, quad, inner) - mean;
        squares += dot(value, value);
    }
    let scale = inverseSqrt(total(squares, local) / f32(4u * numbers.quads) + bitcast<f32>(numbers.epsilon));
    for (var quad = lane; quad < numbers.quads; quad += LANES) {
        let value = (added(start, quad, inner) - mean) * scale;
        if row < numbers.rows { normed[start + quad] = value * weight[quad] + bias[quad]; }
    }
}
