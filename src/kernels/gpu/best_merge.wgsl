// All lists of a row become its best log-probabilities, and in front of them those of the columns asked for.

@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= numbers.rows { return; }
    begin();
    for (var part = 0u; part < PARTS; part++) {
        let start = (row * PARTS + part) * (2u * KEPT + 2u);
        weigh(bitcast<f32>(lists[start]), bitcast<f32>(lists[start + 1u]));
        for (var place = 0u; place < KEPT; place++) {
            let score = bitcast<f32>(lists[start + 2u + place]);
            if score < scores[KEPT - 1u] { break; }
            insert(score, lists[start + 2u + KEPT + place]);
        }
    }
    let normaliser = greatest + log(sum);
    let start = row * (numbers.probes + 2u * KEPT);
    for (var probe = 0u; probe < numbers.probes; probe++) {
        let column = probed(row * numbers.probes + probe);
        found[start + probe] = scored(row * numbers.columns + column, column).x - normaliser;
    }
    for (var place = 0u; place < KEPT; place++) {
        found[start + numbers.probes + place] = scores[place] - normaliser;
        found[start + numbers.probes + KEPT + place] = f32(columns[place]);
    }
}
