// Inputs and results of a linear layer for many rows.
struct Place { rows: vec4<u32> }

fn locate(row: u32) -> Place {
    return Place(min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(numbers.rows - 1u)) * numbers.quads);
}

// Four columns of four rows.
fn inputs(place: Place, quad: u32) -> mat4x4<f32> {
    let at = place.rows + quad;
    return transpose(mat4x4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]));
}

fn keep(row: u32, output: u32, values: vec4<f32>) {
    for (var place = 0u; place < 4u && row + place < numbers.rows; place++) {
        y[(first_row() + row + place) * numbers.outputs + output] = finish(values[place], output);
    }
}
