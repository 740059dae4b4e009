// Four weights of row `row`, from column 4 · quad on.
fn weight4(row: u32, quad: u32) -> vec4<f32> {
    let index = row * numbers.quads + quad;
    let group = unpack2x16float(scales[index / GROUP_QUADS]);
    var code: vec4<f32>;
    if BITS == 8u {
        code = vec4<f32>((vec4<u32>(codes[index]) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
    } else {
        let word = codes[index / 2u] >> ((index & 1u) * 16u);
        code = vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u));
    }
    return code * group.x + group.y;
}
