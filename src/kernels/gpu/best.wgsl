// The best entries of each row in parts: an invocation takes every PARTS-th column. A part's list is its greatest
// logit, the sum of exponentials behind it, KEPT scores from the best on, and their columns.

@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let list = id.x + id.y * groups.x * WIDTH;
    if list >= numbers.rows * PARTS { return; }
    let row = list / PARTS;
    begin();
    for (var column = list % PARTS; column < numbers.columns; column += PARTS) {
        let found = scored(row * numbers.columns + column, column);
        weigh(found.y, 1.0);
        if found.x > scores[KEPT - 1u] { insert(found.x, column); }
    }
    let start = list * (2u * KEPT + 2u);
    lists[start] = bitcast<u32>(greatest);
    lists[start + 1u] = bitcast<u32>(sum);
    for (var place = 0u; place < KEPT; place++) {
        lists[start + 2u + place] = bitcast<u32>(scores[place]);
        lists[start + 2u + KEPT + place] = columns[place];
    }
}
