// All columns are stored alike.
const RUN: u32 = 0x7fffffffu;
struct Group { unused: u32 }

fn group_of(row: u32, quad: u32) -> Group { return Group(0u); }
fn weight4_in(group: Group, row: u32, quad: u32) -> vec4<f32> { return weight4(row, quad); }

// Four weights of row `row`, from column 4 · quad on, where rows are no multiple of four long.
fn weight4(row: u32, quad: u32) -> vec4<f32> {
    let column = vec4<u32>(quad * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let outside = column >= vec4<u32>(numbers.inputs);
    let at = row * numbers.inputs + select(column, vec4<u32>(), outside);
    return select(vec4<f32>(weights[at.x], weights[at.y], weights[at.z], weights[at.w]), vec4<f32>(), outside);
}
