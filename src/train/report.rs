//! `report.html`: a run on one page, that needs nothing but itself.

use super::journal;
use super::run::Answered;
use crate::error::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plotters::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

const PLOT_SIZE: (u32, u32) = (560, 280);
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;\
color:#1c1c1e;background:#fff}h1,h2{line-height:1.2}.plots{display:flex;flex-wrap:wrap;gap:1rem}\
figure{margin:0}figcaption{font-weight:600}.samples{display:grid;gap:1rem;\
grid-template-columns:repeat(auto-fill,minmax(14rem,1fr))}.samples img{width:100%;image-rendering:auto;\
border-radius:.5rem}.samples p{margin:.25rem 0}.right{color:#0a7d33}.wrong{color:#b3261e}\
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #ddd}\
pre{background:#f5f5f7;padding:1rem;border-radius:.5rem;overflow:auto}";

/// A curve: its name, and its points by update.
type Curve = (String, Vec<(f64, f64)>);

/// Writes the report of the run in `directory` from its journal, its resolved recipe, and the last sample answers.
///
/// # Errors
/// [`Error::File`] when the journal cannot be read or the page not be written.
pub fn write(directory: &Path, recipe: &str, samples: &[Answered]) -> Result<()> {
    let path = directory.join("report.html");
    let lines = journal::read(directory)?;
    let html = page(&lines, recipe, samples).map_err(|reason| Error::file(path.display(), reason))?;
    std::fs::write(&path, html).map_err(|error| Error::file(path.display(), error))
}

fn page(lines: &[Value], recipe: &str, samples: &[Answered]) -> std::result::Result<String, String> {
    let mut html = String::new();
    let failed = |error: std::fmt::Error| error.to_string();
    let last = lines.iter().rev().find_map(|line| line["update"].as_u64()).unwrap_or(0);
    write!(
        html,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Training report</title><style>{STYLE}</style><h1>Training report</h1><p>{last} updates.</p>"
    )
    .map_err(failed)?;
    html.push_str("<h2>Curves</h2><div class=\"plots\">");
    let plots = [
        ("Loss", curves(lines, "update", &["loss"])),
        ("Likelihood by objective, nats a token", objectives(lines)),
        ("Learning rate", curves(lines, "update", &["lr"])),
        ("Gradient norm", curves(lines, "update", &["gradient_norm"])),
        ("CIDEr-D of the model's own captions", curves(lines, "update", &["reward"])),
        ("Samples a second", curves(lines, "update", &["samples_per_second"])),
        ("Evaluation", evaluations(lines)),
    ];
    for (title, curves) in plots.iter().filter(|(_, curves)| !curves.is_empty()) {
        write!(html, "<figure><figcaption>{title}</figcaption>{}</figure>", plot(curves)?).map_err(failed)?;
    }
    html.push_str("</div>");
    if let Some(metrics) = lines.iter().rev().find(|line| line["kind"] == "evaluation") {
        html.push_str("<h2>Last evaluation</h2><table><tr><th>Metric<th>Value");
        for (name, value) in metrics["metrics"].as_object().into_iter().flatten() {
            let value = value.as_f64().unwrap_or(f64::NAN);
            write!(html, "<tr><td>{}<td>{value:.4}", escape(name)).map_err(failed)?;
        }
        html.push_str("</table>");
    }
    if !samples.is_empty() {
        html.push_str("<h2>Sample answers</h2><div class=\"samples\">");
        for sample in samples {
            html.push_str(&card(sample));
        }
        html.push_str("</div>");
    }
    write!(html, "<h2>Recipe</h2><pre>{}</pre></html>", escape(recipe)).map_err(failed)?;
    Ok(html)
}

fn card(sample: &Answered) -> String {
    let Answered { task, question, answer, expected, right, image } = sample;
    let image = image.as_ref().map_or_else(String::new, |png| {
        format!("<img alt=\"{}\" src=\"data:image/png;base64,{}\">", escape(expected), STANDARD.encode(png))
    });
    let class = if *right { "right" } else { "wrong" };
    let (task, question) = (escape(task), escape(question));
    let (answer, expected) = (escape(answer), escape(expected));
    format!(
        "<div>{image}<p><b>{task}</b> {question}<p class=\"{class}\">{answer}<p><small>expected: {expected}</small></div>"
    )
}

fn points<'a>(lines: &'a [Value], kind: &'a str) -> impl Iterator<Item = (f64, &'a Value)> {
    let of_kind = lines.iter().filter(move |line| line["kind"] == kind);
    of_kind.filter_map(|line| Some((line["update"].as_u64()? as f64, line)))
}

fn curves(lines: &[Value], kind: &str, keys: &[&str]) -> Vec<Curve> {
    let curve = |key: &&str| {
        let points = points(lines, kind).filter_map(|(update, line)| Some((update, line[*key].as_f64()?)));
        ((*key).to_owned(), points.collect::<Vec<_>>())
    };
    keys.iter().map(curve).filter(|(_, points)| !points.is_empty()).collect()
}

fn nested(lines: &[Value], kind: &str, key: &str, wanted: impl Fn(&str) -> bool) -> Vec<Curve> {
    let mut found: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (update, line) in points(lines, kind) {
        for (name, value) in line[key].as_object().into_iter().flatten().filter(|(name, _)| wanted(name)) {
            found.entry(name.clone()).or_default().extend(value.as_f64().map(|value| (update, value)));
        }
    }
    found.into_iter().collect()
}

fn objectives(lines: &[Value]) -> Vec<Curve> {
    nested(lines, "update", "nll", |_| true)
}

/// Shares only: other metrics have scales of their own, and stand in the table.
fn evaluations(lines: &[Value]) -> Vec<Curve> {
    let curves = nested(lines, "evaluation", "metrics", |name| !name.contains('/'));
    curves.into_iter().filter(|(_, points)| points.iter().all(|(_, value)| (0.0..=1.0).contains(value))).collect()
}

fn plot(curves: &[Curve]) -> std::result::Result<String, String> {
    let all = || curves.iter().flat_map(|(_, points)| points.iter().copied().filter(|(_, y)| y.is_finite()));
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (least, most) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
        if least < most { least..most } else { least - 0.5..least + 0.5 }
    };
    if all().next().is_none() {
        return Ok(String::new());
    }
    let (x, y) = (range(&mut all().map(|(x, _)| x)), range(&mut all().map(|(_, y)| y)));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, PLOT_SIZE).into_drawing_area();
        let said = |error: DrawingAreaErrorKind<_>| error.to_string();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(56)
            .build_cartesian_2d(x, y)
            .map_err(said)?;
        chart.configure_mesh().light_line_style(TRANSPARENT).draw().map_err(said)?;
        for (index, (name, points)) in curves.iter().enumerate() {
            let colour = HSLColor(index as f64 / curves.len() as f64, 0.7, 0.42);
            let line = LineSeries::new(points.iter().copied().filter(|(_, y)| y.is_finite()), colour.stroke_width(2));
            let series = chart.draw_series(line).map_err(said)?;
            series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        if curves.len() > 1 {
            chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw().map_err(said)?;
        }
        area.present().map_err(said)?;
    }
    Ok(svg)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_has_curves_answers_and_the_recipe_and_escapes_what_it_quotes() {
        let lines = [
            json!({ "kind": "update", "update": 1, "loss": 3.5, "lr": 0.1, "nll": { "caption": 2.0 } }),
            json!({ "kind": "update", "update": 2, "loss": 2.5, "lr": 0.2, "nll": { "caption": 1.0 } }),
            json!({ "kind": "evaluation", "update": 2, "metrics": { "vqa.accuracy": 0.5 } }),
        ];
        let sample = Answered { answer: "a <red> fox".into(), image: Some(vec![1, 2, 3]), ..Answered::default() };
        let html = page(&lines, "seed = 1", &[sample]).expect("a page");
        assert!(html.contains("2 updates") && html.contains("<svg") && html.contains("seed = 1"));
        assert!(html.contains("a &lt;red&gt; fox") && html.contains("data:image/png;base64,AQID"));
        assert!(html.contains("vqa.accuracy<td>0.5000"));
    }
}
