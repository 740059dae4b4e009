// softmax(scale · q kᵀ + bias) v, an invocation a query: no two of them wait for each other.

@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let index = id.x + id.y * groups.x * WIDTH;
    if index >= numbers.rows * numbers.length * HEADS { return; }
    let query = Query(index / (HEADS * numbers.length), index % numbers.length, index / numbers.length % HEADS);
    let start = query_at(query);
    let bias_from = bias_at(query);
    let keys = key_count();
    var held: array<vec4<f32>, QUADS>;
    var context: array<vec4<f32>, QUADS>;
    for (var quad = 0u; quad < QUADS; quad++) { held[quad] = q[start + quad] * bitcast<f32>(numbers.scale); }
    var greatest = -3e38;
    var sum = 0.0;
    for (var key = 0u; key < keys; key++) {
        let row = key_row(query, keys, key);
        let key_from = row * numbers.key_stride + numbers.key_first + query.head * QUADS;
        var score = bias[bias_from + key];
        for (var quad = 0u; quad < QUADS; quad++) { score += dot(held[quad], k[key_from + quad]); }
        if score > greatest {
            let shrunk = exp(greatest - score);
            sum *= shrunk;
            for (var quad = 0u; quad < QUADS; quad++) { context[quad] *= shrunk; }
            greatest = score;
        }
        let share = exp(score - greatest);
        sum += share;
        let value_from = row * numbers.value_stride + numbers.value_first + query.head * QUADS;
        for (var quad = 0u; quad < QUADS; quad++) { context[quad] += share * v[value_from + quad]; }
    }
    let to = result_at(query);
    for (var quad = 0u; quad < QUADS; quad++) { y[to + quad] = context[quad] / sum * head_scale(query.head); }
}
