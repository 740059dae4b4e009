// A product for many rows: an invocation makes a block of 4 rows and 16 outputs, so that each value that is read serves
// many sums. The blocks stand in variables of their own: an emulated adapter keeps an indexed array in memory.

// Four outputs and how their weights are packed.
struct Four { outputs: vec4<u32>, a: Group, b: Group, c: Group, d: Group }

fn four(output: u32, quad: u32) -> Four {
    let outputs = min(vec4<u32>(output) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(numbers.outputs - 1u));
    return Four(
        outputs, group_of(outputs.x, quad), group_of(outputs.y, quad), group_of(outputs.z, quad), group_of(outputs.w, quad),
    );
}

fn weights4(four: Four, quad: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        weight4_in(four.a, four.outputs.x, quad), weight4_in(four.b, four.outputs.y, quad),
        weight4_in(four.c, four.outputs.z, quad), weight4_in(four.d, four.outputs.w, quad),
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
    for (var start = 0u; start < numbers.quads; start += RUN) {
        let a = four(output, start);
        let b = four(output + 4u, start);
        let c = four(output + 8u, start);
        let d = four(output + 12u, start);
        for (var quad = start; quad < min(start + RUN, numbers.quads); quad++) {
            let block = inputs(place, quad);
            first += block * weights4(a, quad);
            second += block * weights4(b, quad);
            third += block * weights4(c, quad);
            fourth += block * weights4(d, quad);
        }
    }
    keep4(row, output, first);
    keep4(row, output + 4u, second);
    keep4(row, output + 8u, third);
    keep4(row, output + 12u, fourth);
}
