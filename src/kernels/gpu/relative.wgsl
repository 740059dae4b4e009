// An absolute bias and, for every pair of a query and a key, a row of one of two tables.
@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let at = id.x + id.y * groups.x * WIDTH;
    if at >= numbers.batch * HEADS * numbers.pairs { return; }
    let pair = at % numbers.pairs;
    let head = at / numbers.pairs % HEADS;
    let sample = at / (numbers.pairs * HEADS);
    var value = absolute[(min(sample, numbers.absolute_batch - 1u) * HEADS + head) * numbers.pairs + pair];
    let row = rows[min(sample, numbers.rows_batch - 1u) * numbers.pairs + pair];
    if row < TOKEN {
        value += image[row * HEADS + head];
    } else if row != NONE {
        value += token[(row - TOKEN) * HEADS + head];
    }
    sum[at] = value;
}
