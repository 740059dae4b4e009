// Columns in fours that share a scale and a bias.
const RUN: u32 = GROUP_QUADS;
struct Group { scale: f32, bias: f32 }

// What row `row` is packed with around column 4 · quad.
fn group_of(row: u32, quad: u32) -> Group {
    let pair = unpack2x16float(scales[(row * numbers.quads + quad) / GROUP_QUADS]);
    return Group(pair.x, pair.y);
}

// Four weights of row `row`, from column 4 · quad on, which lies in `group`.
fn weight4_in(group: Group, row: u32, quad: u32) -> vec4<f32> {
    let index = row * numbers.quads + quad;
    var code: vec4<f32>;
    if BITS == 8u {
        code = vec4<f32>((vec4<u32>(codes[index]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
    } else {
        let word = codes[index / 2u] >> ((index & 1u) * 16u);
        code = vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u));
    }
    return code * group.scale + group.bias;
}

fn weight4(row: u32, quad: u32) -> vec4<f32> {
    return weight4_in(group_of(row, quad), row, quad);
}
