@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = id.x + id.y * groups.x * WIDTH;
    if index >= numbers.count * numbers.quads { return; }
    // One above the matrix wraps around to a great one.
    let row = rows[numbers.first + index / numbers.quads] - numbers.start;
    let within = row < numbers.height;
    found[index] = select(vec4<f32>(), weight4(select(0u, row, within), index % numbers.quads), within);
}
