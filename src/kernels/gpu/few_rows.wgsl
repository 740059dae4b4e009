// A linear layer for few rows: LANES neighbouring invocations share the columns of one output, for ROWS rows at a time.

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let output = group.x * (WIDTH / LANES) + local / LANES;
    let first = group.y * ROWS;
    let held = min(output, numbers.outputs - 1u);
    var sums: array<f32, ROWS>;
    // Lanes share a group; an invocation alone takes its columns one after the other.
    const TAKEN = select(1u, RUN, LANES == 1u);
    for (var start = local % LANES * TAKEN; start < numbers.quads; start += LANES * TAKEN) {
        let packing = group_of(held, start);
        for (var quad = start; quad < min(start + TAKEN, numbers.quads); quad++) {
            let weights = weight4_in(packing, held, quad);
            for (var row = 0u; row < ROWS; row++) {
                sums[row] += dot(weights, x[min(first + row, numbers.rows - 1u) * numbers.quads + quad]);
            }
        }
    }
    for (var row = 0u; row < ROWS; row++) {
        let sum = total(sums[row], local);
        if local % LANES == 0u && output < numbers.outputs && first + row < numbers.rows {
            y[(first_row() + first + row) * numbers.outputs + output] = finish(sum, output);
        }
    }
}
