// The largest of the 3 by 3 pixels around every other one; what lies outside the image does not count.
@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let at = id.x + id.y * groups.x * WIDTH;
    if at >= numbers.planes * numbers.rows * numbers.columns { return; }
    let middle = vec2<u32>(at % numbers.columns, at / numbers.columns % numbers.rows) * 2u;
    let plane = at / (numbers.columns * numbers.rows) * numbers.height;
    var most = -3e38;
    for (var y = max(middle.y, 1u) - 1u; y < min(middle.y + 2u, numbers.height); y++) {
        for (var x = max(middle.x, 1u) - 1u; x < min(middle.x + 2u, numbers.width); x++) {
            most = max(most, input[(plane + y) * numbers.width + x]);
        }
    }
    pooled[at] = most;
}
