// scale · q kᵀ + mask, head by head: an invocation makes four keys of a query.

@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = id.x + id.y * groups.x * WIDTH;
    let blocks = (numbers.keys + 3u) / 4u;
    if index >= numbers.batch * HEADS * numbers.queries * blocks { return; }
    let first = index % blocks * 4u;
    let query = index / blocks % numbers.queries;
    let head = index / (blocks * numbers.queries) % HEADS;
    let sample = index / (blocks * numbers.queries * HEADS);
    let q_from = ((min(sample, numbers.q_batch - 1u) * numbers.queries + query) * HEADS + head) * QUADS;
    let keys = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(numbers.keys - 1u));
    let k_from = ((min(sample, numbers.k_batch - 1u) * numbers.keys + keys) * HEADS + head) * QUADS;
    var sums: vec4<f32>;
    for (var quad = 0u; quad < QUADS; quad++) {
        let near = mat4x4<f32>(k[k_from.x + quad], k[k_from.y + quad], k[k_from.z + quad], k[k_from.w + quad]);
        sums += q[q_from + quad] * near;
    }
    let scaled = sums * bitcast<f32>(numbers.scale);
    let hidden = (min(sample, numbers.masks - 1u) * numbers.mask_rows + min(query, numbers.mask_rows - 1u)) * numbers.keys;
    let to = index / blocks * numbers.keys;
    for (var place = 0u; place < 4u && first + place < numbers.keys; place++) {
        scores[to + first + place] = scaled[place] + masked(hidden + first + place);
    }
}
