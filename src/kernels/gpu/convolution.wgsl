// Inputs and results of a convolution: a row is a pixel of the result, a column a channel's value under the window.
struct Place { image: vec4<u32>, top: vec4<i32>, left: vec4<i32> }

fn locate(row: u32) -> Place {
    let pixel = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(numbers.rows - 1u));
    let inside = pixel % numbers.pixels;
    let corner = vec4<i32>(i32(KERNEL / 2u));
    return Place(
        pixel / numbers.pixels * numbers.channels,
        vec4<i32>(inside / numbers.columns * STRIDE) - corner,
        vec4<i32>(inside % numbers.columns * STRIDE) - corner,
    );
}

// One column of four pixels; what lies outside the image is zero.
fn values(place: Place, column: u32) -> vec4<f32> {
    var found = vec4<f32>();
    if column >= numbers.inputs { return found; }
    let tap = column % (KERNEL * KERNEL);
    let y = place.top + i32(tap / KERNEL);
    let x = place.left + i32(tap % KERNEL);
    let width = i32(numbers.width);
    let at = (vec4<i32>(place.image + column / (KERNEL * KERNEL)) * i32(numbers.height) + y) * width + x;
    let outside = (vec4<u32>(y) >= vec4<u32>(numbers.height)) | (vec4<u32>(x) >= vec4<u32>(numbers.width));
    if !outside.x { found.x = input[at.x]; }
    if !outside.y { found.y = input[at.y]; }
    if !outside.z { found.z = input[at.z]; }
    if !outside.w { found.w = input[at.w]; }
    return found;
}

fn inputs(place: Place, quad: u32) -> mat4x4<f32> {
    let column = quad * 4u;
    let block = mat4x4<f32>(
        values(place, column), values(place, column + 1u), values(place, column + 2u), values(place, column + 3u),
    );
    return transpose(block);
}

fn keep(row: u32, output: u32, values: vec4<f32>) {
    for (var place = 0u; place < 4u && row + place < numbers.rows; place++) {
        let pixel = row + place;
        let at = (pixel / numbers.pixels * numbers.outputs + output) * numbers.pixels + pixel % numbers.pixels;
        y[at] = finish(values[place], output, at);
    }
}
