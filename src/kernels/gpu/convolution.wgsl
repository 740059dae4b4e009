// Inputs and results of a convolution: a row is a pixel of the result, a column a channel's value under the window.
struct Place {
    // Where the window's corner lies in the first channel, by row and column and in memory.
    top: vec4<i32>,
    left: vec4<i32>,
    corner: vec4<i32>,
}

fn locate(row: u32) -> Place {
    let pixel = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(numbers.rows - 1u));
    let inside = pixel % numbers.pixels;
    let top = vec4<i32>(inside / numbers.columns * STRIDE) - i32(KERNEL / 2u);
    let left = vec4<i32>(inside % numbers.columns * STRIDE) - i32(KERNEL / 2u);
    let image = vec4<i32>(pixel / numbers.pixels * numbers.channels * numbers.height);
    return Place(top, left, (image + top) * i32(numbers.width) + left);
}

// One column of four pixels; what lies outside the image is zero. Without branches, which cost an emulated adapter more
// than the reads.
fn values(place: Place, column: u32) -> vec4<f32> {
    let tap = column % (KERNEL * KERNEL);
    let down = i32(tap / KERNEL);
    let across = i32(tap % KERNEL);
    let step = (i32(column / (KERNEL * KERNEL) * numbers.height) + down) * i32(numbers.width) + across;
    var outside = vec4<bool>(column >= numbers.inputs);
    if KERNEL > 1u {
        outside |= vec4<u32>(place.top + down) >= vec4<u32>(numbers.height);
        outside |= vec4<u32>(place.left + across) >= vec4<u32>(numbers.width);
    }
    let at = select(place.corner + step, vec4<i32>(), outside);
    return select(vec4<f32>(input[at.x], input[at.y], input[at.z], input[at.w]), vec4<f32>(), outside);
}

// Four columns of four pixels.
fn inputs(place: Place, quad: u32) -> mat4x4<f32> {
    let column = quad * 4u;
    return mat4x4<f32>(
        values(place, column), values(place, column + 1u), values(place, column + 2u), values(place, column + 3u),
    );
}

fn keep(row: u32, output: u32, values: vec4<f32>) {
    for (var place = 0u; place < 4u && row + place < numbers.rows; place++) {
        let pixel = row + place;
        let at = (pixel / numbers.pixels * numbers.outputs + output) * numbers.pixels + pixel % numbers.pixels;
        y[at] = finish(values[place], output, at);
    }
}
