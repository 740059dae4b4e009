// softmax(scale · q kᵀ + bias) v, a workgroup a query: its invocations share out the keys, then the keys' values.
// Invocations that sum up values: as many whole rows of quads as there is room for.
const SUMMING: u32 = WIDTH / QUADS * QUADS;

var<workgroup> held: array<vec4<f32>, QUADS>;
var<workgroup> scores: array<f32, MOST_KEYS>;
var<workgroup> contexts: array<vec4<f32>, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = min(group.x + group.y * groups.x, numbers.rows * numbers.length * HEADS - 1u);
    let query = Query(index / (HEADS * numbers.length), index % numbers.length, index / numbers.length % HEADS);
    let bias_from = bias_at(query);
    let keys = key_count();
    if local < QUADS { held[local] = q[query_at(query) + local] * bitcast<f32>(numbers.scale); }
    workgroupBarrier();
    var best = -3e38;
    for (var key = local; key < keys; key += WIDTH) {
        let key_from = key_row(query, keys, key) * numbers.key_stride + numbers.key_first + query.head * QUADS;
        var score = bias[bias_from + key];
        for (var quad = 0u; quad < QUADS; quad++) { score += dot(held[quad], k[key_from + quad]); }
        scores[key] = score;
        best = max(best, score);
    }
    best = greatest(best, local);
    var sum = 0.0;
    for (var key = local; key < keys; key += WIDTH) {
        let share = exp(scores[key] - best);
        scores[key] = share;
        sum += share;
    }
    sum = total(sum, local);
    let quad = local % QUADS;
    var context = vec4<f32>();
    for (var key = local / QUADS; local < SUMMING && key < keys; key += WIDTH / QUADS) {
        let row = key_row(query, keys, key);
        context += scores[key] * v[row * numbers.value_stride + numbers.value_first + query.head * QUADS + quad];
    }
    contexts[local] = context;
    workgroupBarrier();
    if local < QUADS {
        for (var other = local + QUADS; other < SUMMING; other += QUADS) { context += contexts[other]; }
        y[result_at(query) + local] = context / sum * head_scale(query.head);
    }
}
