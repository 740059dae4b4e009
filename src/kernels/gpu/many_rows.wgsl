// A product for many rows: an invocation makes a block of 4 rows and 4 outputs.

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = (group.x * WIDTH + local) * 4u;
    let output = group.y * 4u;
    if row >= numbers.rows { return; }
    let place = locate(row);
    let last = numbers.outputs - 1u;
    var sums: mat4x4<f32>;
    for (var quad = 0u; quad < numbers.quads; quad++) {
        let block = inputs(place, quad);
        for (var column = 0u; column < 4u; column++) {
            sums[column] += weight4(min(output + column, last), quad) * block;
        }
    }
    for (var column = 0u; column < 4u && output + column < numbers.outputs; column++) {
        keep(row, output + column, sums[column]);
    }
}
