// Where queries, biases and results lie. `row` is a row of the batch, `time` a position within it.
struct Query { row: u32, time: u32, head: u32 }

fn query_at(query: Query) -> u32 {
    let row = first_query() + query.row * numbers.length + query.time;
    return row * numbers.query_stride + numbers.query_first + query.head * QUADS;
}

fn bias_at(query: Query) -> u32 {
    let row = (query.row / numbers.bias_rows * HEADS + query.head) * numbers.bias_length;
    return (row + first_bias() + query.time) * numbers.bias_width;
}

fn result_at(query: Query) -> u32 {
    return ((query.row * numbers.length + query.time) * HEADS + query.head) * QUADS;
}
