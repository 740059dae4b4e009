// A list of the best so far, and the log-sum-exp of all.
const LOWEST: f32 = -3e38;
var<private> scores: array<f32, KEPT>;
var<private> columns: array<u32, KEPT>;
var<private> greatest: f32;
var<private> sum: f32;

fn begin() {
    greatest = LOWEST;
    sum = 0.0;
    for (var place = 0u; place < KEPT; place++) { scores[place] = LOWEST; columns[place] = 0xffffffffu; }
}

fn weigh(logit: f32, share: f32) {
    let above = max(greatest, logit);
    sum = sum * exp(greatest - above) + share * exp(logit - above);
    greatest = above;
}

// Equal scores stay in the order of their columns.
fn insert(score: f32, column: u32) {
    var place = KEPT - 1u;
    if score == scores[place] && column > columns[place] { return; }
    while place > 0u && (scores[place - 1u] < score || (scores[place - 1u] == score && columns[place - 1u] > column)) {
        scores[place] = scores[place - 1u];
        columns[place] = columns[place - 1u];
        place -= 1u;
    }
    scores[place] = score;
    columns[place] = column;
}
