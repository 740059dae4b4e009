@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = id.x + id.y * groups.x * WIDTH;
    if index >= numbers.count { return; }
    taken[index] = table[rows[index / numbers.width] * numbers.width + index % numbers.width];
}
