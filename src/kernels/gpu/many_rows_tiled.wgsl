// A product for many rows: a workgroup of 8 by 8 makes 32 rows and 32 outputs, 8 quads of columns at a time, which it
// lays out in its memory first.
var<workgroup> input_tile: array<mat4x4<f32>, 64>;
var<workgroup> weight_tile: array<vec4<f32>, 256>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let last = numbers.outputs - 1u;
    let across = local % 8u;
    let down = local / 8u;
    // Neighbouring invocations read neighbouring memory: columns of one row, or pixels of one channel.
    let filled = select(vec2<u32>(down, across), vec2<u32>(across, down), PIXELS == 1u);
    let place = locate((group.x * 8u + filled.x) * 4u);
    var sums: mat4x4<f32>;
    for (var start = 0u; start < numbers.quads; start += 8u) {
        var block: mat4x4<f32>;
        if start + filled.y < numbers.quads { block = inputs(place, start + filled.y); }
        input_tile[filled.y * 8u + filled.x] = block;
        for (var row = down; row < 32u; row += 8u) {
            var weights = vec4<f32>();
            if start + across < numbers.quads { weights = weight4(min(group.y * 32u + row, last), start + across); }
            weight_tile[across * 32u + row] = weights;
        }
        workgroupBarrier();
        for (var quad = 0u; quad < 8u; quad++) {
            let inner = input_tile[quad * 8u + down];
            for (var column = 0u; column < 4u; column++) {
                sums[column] += inner * weight_tile[quad * 32u + across * 4u + column];
            }
        }
        workgroupBarrier();
    }
    let row = (group.x * 8u + down) * 4u;
    let output = (group.y * 8u + across) * 4u;
    for (var column = 0u; column < 4u && output + column < numbers.outputs; column++) {
        keep(row, output + column, sums[column]);
    }
}
