// A product for many rows: an invocation makes a block of 4 rows and 16 outputs, so that each value that is read serves
// many sums. The blocks stand in variables of their own: an emulated adapter keeps an indexed array in memory.

fn weights4(output: u32, quad: u32) -> mat4x4<f32> {
    let outputs = min(vec4<u32>(output) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(numbers.outputs - 1u));
    return mat4x4<f32>(
        weight4(outputs.x, quad), weight4(outputs.y, quad), weight4(outputs.z, quad), weight4(outputs.w, quad),
    );
}

fn keep4(row: u32, output: u32, sums: mat4x4<f32>) {
    for (var column = 0u; column < 4u && output + column < numbers.outputs; column++) {
        keep(row, output + column, sums[column]);
    }
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = (group.x * WIDTH + local) * 4u;
    let output = group.y * 16u;
    if row >= numbers.rows { return; }
    let place = locate(row);
    var first: mat4x4<f32>;
    var second: mat4x4<f32>;
    var third: mat4x4<f32>;
    var fourth: mat4x4<f32>;
    for (var quad = 0u; quad < numbers.quads; quad++) {
        let block = inputs(place, quad);
        first += block * weights4(output, quad);
        second += block * weights4(output + 4u, quad);
        third += block * weights4(output + 8u, quad);
        fourth += block * weights4(output + 12u, quad);
    }
    keep4(row, output, first);
    keep4(row, output + 4u, second);
    keep4(row, output + 8u, third);
    keep4(row, output + 12u, fourth);
}
