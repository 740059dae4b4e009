//! The recipes that come with the program.

use super::{directory, recipe, session};
use crate::support::only_drawer;
use ofa::train::corpus::{ScenesOptions, TaskWeights};
use ofa::train::{DataOptions, FINETUNING, Recipe, builtin, world_of};
use std::path::{Path, PathBuf};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn name(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

#[test]
fn every_recipe_of_pretraining_is_one_of_a_published_size() {
    for path in files("recipes/pretrain") {
        let recipe = Recipe::read(&path, &[]).unwrap();
        let config = recipe.model.config(None).unwrap();
        assert_eq!(recipe.model.size.as_deref(), Some(name(&path)));
        assert_eq!(recipe.model.image_size, config.pretraining_image_size(), "{}", path.display());
        assert_eq!((config.dropout, config.encoder_drop_path_rate), (0.1, 0.1));
        assert!(matches!(DataOptions::read(&recipe.data).unwrap(), DataOptions::Pretraining(_)));
    }
    assert_eq!(files("recipes/pretrain").len(), ofa::config::Size::ALL.len());
}

#[test]
fn every_recipe_of_fine_tuning_comes_with_the_binary_and_says_its_task() {
    let from = ["model.from='model'".to_owned()];
    for path in files("recipes/finetune") {
        let recipe = Recipe::read(&path, &from).unwrap();
        let DataOptions::FineTuning(task, options) = DataOptions::read(&recipe.data).unwrap() else {
            panic!("{} is of another kind", path.display());
        };
        assert!(name(&path).starts_with(task.name), "{}", path.display());
        assert_eq!(options.self_critical, name(&path).contains("scst"));
        let (found, text) = builtin(name(&path), 256).unwrap();
        assert_eq!((found, text), (name(&path), std::fs::read_to_string(&path).unwrap().as_str()));
        // What the model is made of is the base size's until `model.from` is read.
        recipe.model.config(None).unwrap();
    }
    assert_eq!(files("recipes/finetune").len(), FINETUNING.len());
}

#[test]
fn recipes_that_go_on_draw_scenes_of_the_world_of_the_one_before() {
    let read = |name: &str, sets: &[String]| {
        let recipe = Recipe::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes").join(name), sets).unwrap();
        // Seed and side, what is asked how often, the first's easy beginning and the last's codes are their own.
        let options = world_of(&recipe).unwrap().unwrap();
        let tasks = TaskWeights::default();
        ScenesOptions { seed: 0, side: 0, tasks, extra_samples: 0.0, curriculum: 0, codes: None, ..options }
    };
    let first = read("scenes-cpu.toml", &[]);
    for further in ["scenes-cpu-further.toml", "scenes-cpu-draw.toml"] {
        let further = read(further, &["model.from='runs/scenes-cpu/model'".to_owned()]);
        assert_eq!(format!("{further:?}"), format!("{first:?}"));
    }
}

#[test]
fn a_recipes_seed_draws_its_scenes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/scenes-cpu.toml");
    let seed = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        world_of(&Recipe::read(&path, &sets).unwrap()).unwrap().unwrap().seed
    };
    assert_eq!((seed(&[]), seed(&["seed=9"]), seed(&["seed=9", "data.seed=1"])), (7, 9, 1));
}

#[test]
fn what_nothing_would_read_is_refused() {
    const CRITICAL: &str = "data.self_critical=true";
    const UNREAD: [(&str, &[&str]); 8] = [
        ("caption", &["data.answers=answers.txt"]),
        ("sst2", &["data.answers=answers.txt"]),
        ("caption", &["data.objects=true"]),
        ("vqa", &["data.caption=true"]),
        ("grounding", &["data.caption_words=9"]),
        ("caption", &["data.frequencies=counts.json"]),
        ("caption", &["data.noise=0.2", CRITICAL]),
        ("scenes", &["data.side=96"]),
    ];
    const READ: [(&str, &[&str]); 4] = [
        ("classify", &["data.answers=answers.txt"]),
        ("vqa", &["data.answers=answers.txt", "data.objects=true", "data.caption=false"]),
        ("entailment", &["data.caption=true", "data.noise=0.2"]),
        ("caption", &["data.frequencies=counts.json", "data.caption_words=9", CRITICAL]),
    ];
    let read = |kind: &str, sets: &[&str]| {
        let kind = format!("data.kind={kind}");
        DataOptions::read(&recipe(&[&[kind.as_str()], sets].concat()).data)
    };
    for (kind, sets) in UNREAD {
        let error = read(kind, sets).map(drop).unwrap_err().to_string();
        let option = sets[0].split('=').next().unwrap();
        assert!(error.contains(option) && error.contains("expected nothing"), "{error}");
    }
    for (kind, sets) in READ {
        read(kind, sets).unwrap();
    }
}

#[test]
fn the_recipe_of_a_task_follows_the_models_width() {
    let lr = |task: &str, width| {
        let (name, text) = builtin(task, width).unwrap();
        Recipe::parse(name, text, &["model.from='model'".to_owned()]).unwrap().update.schedule.lr
    };
    assert_eq!((lr("grounding", 768), lr("grounding", 1024), lr("cola", 256)), (5e-5, 3e-5, 5e-5));
    assert!(builtin("ocr", 256).unwrap_err().to_string().contains("vqa-large"));
}

#[test]
fn the_length_of_a_run_may_change_but_not_bend_its_learning_rate_unseen() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let first = session(&recipe(&[]), &run, false).unwrap();
    first.checkpoints.save(&first.trainer, &first.progress).unwrap();
    drop(first);
    let error = session(&recipe(&["update.updates=20"]), &run, true).err().expect("an error").to_string();
    assert!(error.contains("12") && error.contains("update.schedule.total_updates"), "{error}");
    let kept = session(&recipe(&["update.updates=20", "update.schedule.total_updates=12"]), &run, true).unwrap();
    assert_eq!(kept.recipe.update.schedule.lr(13, 20), kept.recipe.update.schedule.end_lr);
    drop(kept);
    session(&recipe(&["update.updates=20", "update.schedule.total_updates=20"]), &run, true).unwrap();
}

#[test]
fn an_average_that_learns_nothing_is_told() {
    let note = |sets: &[&str]| recipe(sets).note_of_average();
    assert_eq!(note(&["update.updates=250"]), None, "there is no average");
    let told = note(&["update.updates=250", "update.ema_decay=0.9999"]).unwrap();
    assert!(told.contains("98 %") && told.contains("0.9881"), "{told}");
    assert_eq!(note(&["update.updates=40000", "update.ema_decay=0.9999"]), None);
}
