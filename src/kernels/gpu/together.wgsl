// Neighbouring invocations, LANES of them, bring their values together through the workgroup's memory.
var<workgroup> shared_values: array<f32, WIDTH>;

fn total(value: f32, local: u32) -> f32 {
    shared_values[local] = value;
    workgroupBarrier();
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        if local % LANES < reach { shared_values[local] += shared_values[local + reach]; }
        workgroupBarrier();
    }
    let sum = shared_values[local - local % LANES];
    workgroupBarrier();
    return sum;
}

fn greatest(value: f32, local: u32) -> f32 {
    shared_values[local] = value;
    workgroupBarrier();
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        if local % LANES < reach { shared_values[local] = max(shared_values[local], shared_values[local + reach]); }
        workgroupBarrier();
    }
    let found = shared_values[local - local % LANES];
    workgroupBarrier();
    return found;
}
