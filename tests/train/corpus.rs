//! The corpus: what is told of a scene is true of it, by a reader of the texts that knows only the scene's data.

use super::directory;
use crate::support::only_drawer;
use burn::tensor::Device;
use ofa::config::OfaConfig;
use ofa::image::Pixels;
use ofa::task::Inputs;
use ofa::train::corpus::words::{Category, Colour, Pattern, Relation, Shape, Size};
use ofa::train::corpus::{
    Codes, HELD_OUT_COUNT, Kind, Noun, Object, Scene, Scenes, ScenesOptions, TaskWeights, TokenizerFiles, World,
    held_out_relation, is_held_out_pair, mentions, names,
};
use ofa::train::metrics::mentions::mentioned;
use ofa::train::{
    Arrangement, BatchOptions, Draws, Example, Loader, Recipe, Reference, Role, Session, Shown, Target, world_of,
};
use ofa::vocab::Vocab;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// Scenes whose texts are read; a wrong phrasing shows in far fewer.
const SCENES: u64 = 1500;
/// Patches on a side of its pictures.
const GRID: usize = 8;
/// Boxes are measured on a drawing of finite size and the picture is anti-aliased.
const BOX_TOLERANCE: f32 = 1.5;

static WORLD: LazyLock<World> = LazyLock::new(|| World::new(ScenesOptions::default()).unwrap());

fn told(index: u64) -> (Scene, Vec<Example>) {
    let (scene, _) = WORLD.scene(0, index).unwrap();
    let told = WORLD.told(0, index, None).unwrap();
    (scene, told.main.into_iter().chain(told.extra).collect())
}

/// What a noun phrase without qualifiers claims of an object.
fn fits(phrase: &str, object: &Object) -> Option<bool> {
    let mut words: Vec<&str> = phrase.split(' ').filter(|word| !["a", "an", "the", "any"].contains(word)).collect();
    let mut fits = true;
    let colour_pattern = match object.kind {
        Kind::Shape { colour, pattern, .. } => Some((colour, pattern)),
        _ => None,
    };
    while words.len() > 1 {
        if let Some(size) = Size::ALL.iter().find(|size| size.word() == words[0]) {
            fits &= object.size == *size && !matches!(object.kind, Kind::Sign { .. });
        } else if let Some(pattern) = Pattern::ALL.iter().find(|pattern| pattern.word() == words[0]) {
            fits &= colour_pattern.is_some_and(|(_, own)| own == *pattern);
        } else if let Some(colour) = Colour::ALL.iter().find(|colour| colour.word() == words[0]) {
            fits &= colour_pattern.is_some_and(|(own, _)| own == *colour);
        } else {
            break;
        }
        words.remove(0);
    }
    let noun = words.join(" ");
    let is = |singular: &str, plural: &str| noun == singular || noun == plural;
    let known = if is("shape", "shapes") {
        matches!(object.kind, Kind::Shape { .. })
    } else if is("sign", "signs") {
        matches!(object.kind, Kind::Sign { .. })
    } else if let Some(shape) = Shape::ALL.iter().find(|shape| is(shape.word(), shape.plural())) {
        matches!(object.kind, Kind::Shape { shape: own, .. } if own == *shape)
    } else if let Some(named) = Noun::all().find(|named| is(named.word(), named.plural())) {
        matches!(object.kind, Kind::Sticker { noun: own, .. } if own == named)
    } else {
        let is_category = |category: &&Category| is(category.word(), category.plural().unwrap_or(category.word()));
        let category = Category::ALL.iter().find(is_category)?;
        matches!(object.kind, Kind::Sticker { noun: own, .. } if own.category() == *category)
    };
    Some(fits && known)
}

fn all(phrase: &str, scene: &Scene) -> Option<Vec<usize>> {
    scene
        .objects
        .iter()
        .enumerate()
        .filter_map(|(index, object)| match fits(phrase, object) {
            None => Some(None),
            Some(true) => Some(Some(index)),
            Some(false) => None,
        })
        .collect()
}

fn one(phrase: &str, scene: &Scene) -> Option<usize> {
    let found = all(phrase, scene)?;
    assert!(found.len() == 1, "`{phrase}` does not single out an object of {scene:?}");
    Some(found[0])
}

/// `THING to the left of ANCHOR`.
fn split_relation(phrase: &str) -> Option<(&str, Relation, &str)> {
    Relation::ALL.iter().find_map(|relation| {
        let (thing, anchor) = phrase.split_once(&format!(" {} ", relation.word()))?;
        Some((thing, *relation, anchor))
    })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}

/// The answer, read off the scene; `None` for the forms that this reader does not know.
fn answer(question: &str, scene: &Scene) -> Option<String> {
    let yes = |is: bool| Some(if is { "yes" } else { "no" }.to_owned());
    for (before, after) in [
        ("how many ", " are there?"),
        ("how many ", " do you see?"),
        ("what is the number of ", "?"),
        ("how many ", " are in the picture?"),
    ] {
        if let Some(what) = between(question, before, after) {
            return Some(all(what, scene)?.len().to_string());
        }
    }
    for (word, compare) in [(" more ", 0), (" fewer ", 1), (" as many ", 2)] {
        let joint = if compare == 2 { " as " } else { " than " };
        if let Some((a, b)) =
            between(question, &format!("are there{word}"), "?").and_then(|pair| pair.split_once(joint))
        {
            let (a, b) = (all(a, scene)?.len(), all(b, scene)?.len());
            return yes([a > b, a < b, a == b][compare]);
        }
    }
    if question == "is anything written in the picture?" {
        return yes(scene.objects.iter().any(|object| matches!(object.kind, Kind::Sign { .. })));
    }
    for (before, after) in [("is there no ", "?"), ("is the picture without ", "?")] {
        if let Some(what) = between(question, before, after) {
            return yes(all(what, scene)?.is_empty());
        }
    }
    for (before, after) in [
        ("is there ", " in the picture?"),
        ("can you see ", "?"),
        ("does the picture show ", "?"),
        ("are there any ", "?"),
    ] {
        if let Some(what) = between(question, before, after) {
            return yes(!all(what, scene)?.is_empty());
        }
    }
    if let Some(rest) = between(question, "is there ", "?").or(between(question, "is ", "?")) {
        if let Some((thing, relation, anchor)) = split_relation(rest)
            && Colour::ALL.iter().all(|colour| !rest.ends_with(&format!(" {}", colour.word())))
        {
            let (thing, anchor) = (one(thing, scene)?, one(anchor, scene)?);
            return yes(relation.holds(&scene.objects[thing], &scene.objects[anchor]).unwrap());
        }
        return yes(!all(rest, scene)?.is_empty());
    }
    if let Some((relation, anchor)) = Relation::ALL.iter().find_map(|relation| {
        let side = relation.word();
        let anchor = between(question, &format!("what is {side} "), "?");
        Some((relation, anchor.or(between(question, &format!("what do you see {side} "), "?"))?))
    }) {
        let anchor = one(anchor, scene)?;
        let mut there = (0..scene.objects.len())
            .filter(|&other| other != anchor)
            .filter(|&other| relation.holds(&scene.objects[other], &scene.objects[anchor]) != Some(false));
        let found = there.next().unwrap();
        assert_eq!(there.next(), None, "{question} has two answers in {scene:?}");
        return Some(scene.objects[found].label());
    }
    None
}

#[test]
fn answers_are_those_of_an_independent_reader() {
    let (mut read, mut questions, mut yes, mut no) = (0, 0, 0, 0);
    for index in 0..SCENES {
        let (scene, examples) = told(index);
        for Example { task, inputs, target, .. } in examples {
            let (Inputs { text: Some(question), .. }, Target::Text(given), "vqa") = (inputs, target, task.name) else {
                continue;
            };
            questions += 1;
            yes += usize::from(given == "yes");
            no += usize::from(given == "no");
            if let Some(found) = answer(&question, &scene) {
                assert_eq!(found, given, "{question} of {scene:?}");
                read += 1;
            }
        }
    }
    assert!(read * 3 > questions, "{read} of {questions} questions were read");
    let balance = yes as f32 / (yes + no) as f32;
    assert!((0.4..0.6).contains(&balance), "{yes} yes, {no} no");
}

#[test]
fn phrases_single_out_their_object() {
    let mut seen = 0;
    for index in 0..SCENES {
        let (scene, examples) = told(index);
        for Example { task, inputs, target, .. } in examples {
            let (Some(phrase), Target::Region(region), "grounding") = (inputs.text, target, task.name) else {
                continue;
            };
            let named = split_relation(&phrase).map_or(phrase.as_str(), |(thing, _, _)| thing);
            let Some(found) = all(named, &scene) else { continue };
            let found: Vec<usize> = match split_relation(&phrase) {
                Some((_, relation, anchor)) => {
                    let anchor = one(anchor, &scene).unwrap();
                    let holds = |&other: &usize| {
                        other != anchor && relation.holds(&scene.objects[other], &scene.objects[anchor]) != Some(false)
                    };
                    found.into_iter().filter(holds).collect()
                }
                None => found,
            };
            assert_eq!(found.len(), 1, "`{phrase}` in {scene:?}");
            assert_eq!(scene.objects[found[0]].region, region, "{phrase}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_draw_depends_on_its_position_alone() {
    let other = World::new(ScenesOptions::default()).unwrap();
    for index in [7, 3, 500] {
        let (here, there) = (WORLD.told(1, index, None).unwrap(), other.told(1, index, None).unwrap());
        assert_eq!(here.main.len(), there.main.len());
        for (a, b) in here.main.iter().zip(&there.main) {
            assert_eq!((a.task.name, &a.inputs, &a.image, &a.target), (b.task.name, &b.inputs, &b.image, &b.target));
        }
    }
    assert_ne!(WORLD.scene(0, 1).unwrap().0, WORLD.scene(0, 2).unwrap().0);
    assert_ne!(WORLD.scene(0, 1).unwrap().0, WORLD.scene(1, 1).unwrap().0);
}

#[test]
fn training_never_shows_nor_says_what_is_held_out() {
    for index in 0..SCENES {
        let (scene, examples) = told(index);
        let mut counted = 0;
        for object in &scene.objects {
            match object.kind {
                Kind::Shape { shape, colour, .. } => assert!(!is_held_out_pair(colour, shape), "{scene:?}"),
                Kind::Sticker { noun, style } => {
                    assert_ne!(style.word(), "emojione", "the last style is held out where OpenMoji is not there");
                    counted += usize::from(noun.category() == HELD_OUT_COUNT.0);
                }
                Kind::Sign { .. } => {}
            }
        }
        assert_ne!(counted, HELD_OUT_COUNT.1);
        for Example { inputs, target, .. } in examples {
            let answer = if let Target::Text(answer) = target { answer } else { String::new() };
            let text = format!("{} {answer}", inputs.text.unwrap_or_default());
            for &shape in Shape::ALL {
                for &colour in Colour::ALL.iter().filter(|&&colour| is_held_out_pair(colour, shape)) {
                    assert!(!text.contains(&format!("{} {}", colour.word(), shape.word())), "{text}");
                }
            }
            for noun in Noun::all() {
                let Some(relation) = held_out_relation(noun) else { continue };
                for verb in ["", " is"] {
                    let said = format!(" {}{verb} {} ", noun.word(), relation.word());
                    assert!(!format!(" {text}").contains(&said), "{text}");
                }
            }
        }
    }
}

#[test]
fn boxes_are_as_wide_as_what_is_drawn() {
    const SIDE: u32 = 128;
    for index in 0..60 {
        for object in WORLD.scene(0, index).unwrap().0.objects {
            let on = |shade: f32| {
                let mut scene = WORLD.scene(0, index).unwrap().0;
                scene.objects = vec![Object { shade, ..object }];
                (scene.noise, scene.light.strength) = (0.0, 0.0);
                scene
            };
            let with = WORLD.painter().render(&on(1.0), SIDE).unwrap();
            let mut empty = on(1.0);
            empty.objects.clear();
            let without = WORLD.painter().render(&empty, SIDE).unwrap();
            let mut drawn = [f32::MAX, f32::MAX, 0.0, 0.0];
            for (place, (a, b)) in with.rgb().chunks(3).zip(without.rgb().chunks(3)).enumerate() {
                if a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 40) {
                    let (x, y) = ((place as u32 % SIDE) as f32, (place as u32 / SIDE) as f32);
                    drawn = [x.min(drawn[0]), y.min(drawn[1]), (x + 1.0).max(drawn[2]), (y + 1.0).max(drawn[3])];
                }
            }
            // Pale parts of a drawing do not show on a pale ground: what shows lies inside.
            let region = object.region.map(|at| at * SIDE as f32);
            let inside = (0..2).all(|axis| {
                drawn[axis] > region[axis] - BOX_TOLERANCE && drawn[axis + 2] < region[axis + 2] + BOX_TOLERANCE
            });
            assert!(inside, "{drawn:?} and {region:?} of {object:?}");
            if let Kind::Shape { .. } = object.kind {
                let tight = drawn.iter().zip(region).all(|(a, b)| (a - b).abs() < 2.0 * BOX_TOLERANCE);
                assert!(tight, "{drawn:?} and {region:?} of {object:?}");
            }
        }
    }
}

#[test]
fn evaluation_asks_every_group_and_what_is_held_out() {
    let questions: Vec<_> = WORLD.questions(3, 200, 1).collect::<Result<_, _>>().unwrap();
    let groups: std::collections::BTreeSet<_> =
        questions.iter().filter_map(|question| question.group.clone()).collect();
    let known = ["exist", "colour", "shape", "count", "relation", "name", "where", "written", "caption", "grounding"];
    let held_out = ["held-out pair", "held-out relation", "held-out count", "held-out style"];
    for group in known.into_iter().chain(held_out).chain(["match", "detect"]) {
        assert!(groups.contains(group), "{group} of {groups:?}");
    }
    for question in questions {
        assert!(question.image.is_some());
        if question.group.as_deref() == Some("held-out count") {
            assert_eq!(question.reference, Reference::Texts(vec![HELD_OUT_COUNT.1.to_string()]));
        }
    }
}

#[test]
fn every_caption_of_training_mentions_everything_and_not_what_the_next_scene_holds() {
    let mut wrong = 0;
    for index in 0..400 {
        let (scene, examples) = told(index);
        let next = WORLD.scene(0, index + 1).unwrap().0;
        for Example { task, target, .. } in examples {
            let Target::Text(text) = target else { continue };
            match task.name {
                "caption" => {
                    assert_eq!(mentioned(&text, &mentions(&scene)), 1.0, "{text}: {:?}", mentions(&scene));
                    wrong += usize::from(mentioned(&text, &mentions(&next)) < 1.0);
                }
                "region_caption" => {
                    assert!(scene.objects.iter().any(|object| mentioned(&text, &[names(object)]) == 1.0), "{text}");
                }
                _ => {}
            }
        }
    }
    assert!(wrong > 100, "{wrong} captions leave out something of the next scene");
}

#[test]
fn a_model_of_scenes_says_captions_to_their_end() {
    let _drawing = only_drawer();
    let (_parent, run) = directory();
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/scenes-cpu.toml");
    let session = Session::open(Recipe::read(&recipe, &[]).unwrap(), &run, &Device::flex(), false, true).unwrap();
    let options: serde_json::Value = serde_json::from_str(&session.files.generation_config).unwrap();
    let most = options["caption"]["maxLen"].as_u64().unwrap() as usize;
    let vocab = session.vocab().unwrap();
    let captions = (0..400).flat_map(|index| told(index).1).filter(|example| example.task.name == "caption");
    let lengths = captions.filter_map(|example| match example.target {
        Target::Text(text) => Some(vocab.encode(&text).unwrap().len()),
        _ => None,
    });
    let longest = lengths.max().unwrap();
    assert!((17..=most).contains(&longest), "{longest} of {most} tokens");
}

#[test]
fn tasks_with_codes_show_the_rim_at_twice_the_side_and_train_beside_others() {
    const CODES: u32 = 64;
    let tasks = TaskWeights { detect: 1.0, infill_text: 1.0, ..TaskWeights::default() };
    let options = ScenesOptions { side: 64, nouns: 5, extra_samples: 3.0, tasks, ..ScenesOptions::default() };
    let world = Arc::new(World::new(ScenesOptions { codes: Some("anywhere".into()), ..options }).unwrap());
    let (vocab, config) = small_vocab(&world.texts(200).unwrap());
    let encode = |pixels: &Pixels| {
        assert_eq!(pixels.size(), (CODES, CODES));
        Ok(vec![usize::from(pixels.rgb()[0]) % 64; 64])
    };
    let codes = Codes { side: CODES, encode: Box::new(encode) };
    let scenes = Scenes::new(world, Arc::new(vocab), Some(codes));
    let (mut infilled, mut generated) = (0, 0);
    for index in 0..40 {
        for sample in scenes.draw(0, index).unwrap().extra {
            infilled += usize::from(sample.objective == "infill_image");
            generated += usize::from(sample.objective == "image_gen");
            assert_eq!(sample.codes, ["infill_image", "image_gen"].contains(&sample.objective));
            assert_eq!(sample.target.len() == 64, sample.codes, "{}", sample.objective);
            let Some(image) = sample.image else { continue };
            let hidden = sample.objective == "infill_image";
            assert_eq!(image.width, if hidden { 2 * CODES as usize } else { 64 });
            let middle = image.values[image.height / 2 * image.width + image.width / 2];
            assert!(!hidden || middle == 0.0, "{middle}");
        }
    }
    assert!(infilled > 10 && generated > 10, "{infilled} and {generated}");
    let batch = BatchOptions { draws: 20, ..BatchOptions::default() };
    let loader = Loader {
        draws: &scenes,
        options: &batch,
        config: &config,
        seed: 1,
        arrangement: Arrangement::default(),
        rank: (0, 1),
    };
    let loaded = loader.load(0).unwrap();
    assert_eq!(loaded.groups[1].len(), 2, "a batch for each size of images");
}

#[test]
fn several_questions_of_a_scene_show_the_same_picture_and_the_first_stays_what_it_is() {
    let of = |each: usize| WORLD.questions(5, 12, each).collect::<Result<Vec<_>, _>>().unwrap();
    let (one, several) = (of(1), of(6));
    assert!(several.len() > 30, "{}", several.len());
    let scene = |id: &str| id.rsplit_once('-').unwrap().0.to_owned();
    for question in &several {
        let first = one.iter().find(|first| scene(&first.id) == scene(&question.id)).unwrap();
        assert_eq!(question.image, first.image);
        if question.id == first.id {
            assert_eq!((&question.inputs, &question.reference), (&first.inputs, &first.reference));
        } else {
            assert!(!first.group.as_deref().unwrap().starts_with("held-out"), "{first:?}");
        }
    }
    let captions = several.iter().filter(|question| question.task.name == "caption");
    assert!(captions.clone().count() > 0);
    assert!(captions.clone().all(|question| matches!(question.reference, Reference::Mentions(_))));
}

#[test]
fn a_small_world_is_small_and_a_scene_survives_json() {
    let options = ScenesOptions { side: 64, nouns: 30, max_objects: 2, ..ScenesOptions::default() };
    let world = World::new(options).unwrap();
    assert_eq!(world.nouns().len(), 30);
    for index in 0..200 {
        let (scene, _) = world.scene(0, index).unwrap();
        assert!((1..=2).contains(&scene.objects.len()));
        assert_eq!(world.render(&scene).unwrap().size(), (64, 64));
        let json = serde_json::to_string(&scene).unwrap();
        assert_eq!(serde_json::from_str::<Scene>(&json).unwrap(), scene);
    }
}

#[test]
fn the_scene_maker_of_the_page_draws_with_this_palette() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let recipes = ["www/demo/models/scenes/recipe.toml", "recipes/scenes-cpu.toml"].map(|path| root.join(path));
    let recipe = recipes.iter().find(|path| path.is_file()).unwrap();
    let options = world_of(&Recipe::read(recipe, &[]).unwrap()).unwrap().unwrap();
    let palette = World::new(ScenesOptions { stickers: None, ..options }).unwrap().palette().unwrap();
    assert_eq!((palette.shapes.len(), palette.colours.len(), palette.grounds.len()), (8, 8, 5));
    assert!(palette.shapes.iter().all(|shape| shape.drawing.starts_with('M') && shape.drawing.ends_with('Z')));
    let written = std::fs::read_to_string(root.join("www/demo/scene/world.json")).unwrap();
    let fresh = serde_json::to_string_pretty(&palette).unwrap();
    assert!(written.trim_end() == fresh, "www/demo/scene/world.json is stale: `make palette`");
}

#[test]
fn rows_have_the_columns_of_the_original() {
    let folder = tempfile::tempdir().unwrap();
    WORLD.write_tsv(folder.path(), 20).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let pairs = read("vision_language.tsv");
    assert!(pairs.lines().count() > 20);
    for line in pairs.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        assert_eq!(cells.len(), 8, "{line}");
        let right = match cells[7] {
            "caption" => !cells[2].is_empty() && cells[3].is_empty(),
            "qa" => !cells[3].is_empty() && cells[4].starts_with("1.0|!+"),
            "visual_grounding" => cells[4].split(',').filter(|at| at.parse::<f32>().is_ok()).count() == 4,
            _ => false,
        };
        assert!(right, "{:?}", &cells[2..]);
    }
    assert!(read("detection.tsv").lines().all(|line| line.split('\t').count() == 3));
    assert!(read("text.tsv").lines().all(|line| line.split('\t').count() == 2));
}

#[test]
fn the_tokenizer_reads_back_what_the_world_says() {
    let texts = WORLD.texts(300).unwrap();
    let files = TokenizerFiles::train(&texts, 800).unwrap();
    assert_eq!(files, TokenizerFiles::train(&texts, 800).unwrap());
    let (vocab, _) = of_files(&files);
    let (mut ids, mut letters) = (0, 0);
    for text in &texts[..50] {
        let encoded = vocab.encode(text).unwrap();
        assert_eq!(vocab.decode(&encoded), *text);
        ids += encoded.len();
        letters += text.len();
    }
    assert!(ids * 3 < letters, "{ids} ids for {letters} letters");
}

fn small_vocab(texts: &[String]) -> (Vocab, OfaConfig) {
    of_files(&TokenizerFiles::train(texts, 800).unwrap())
}

/// With 64 codes and 100 bins.
fn of_files(files: &TokenizerFiles) -> (Vocab, OfaConfig) {
    let json = files.tokenizer_json(64, 100).unwrap();
    let tokenizer: serde_json::Value = serde_json::from_str(&json).unwrap();
    let text_size = tokenizer["model"]["vocab"]["<mask>"].as_u64().unwrap() as usize + 1;
    assert!((400..=805).contains(&text_size), "{text_size}");
    let changes = serde_json::json!({
        "vocab_size": text_size + 164, "mask_token_id": text_size - 1, "num_codes": 64, "num_bins": 100,
        "max_position_embeddings": 128,
    });
    let config = micro_config(&changes.to_string());
    (Vocab::from_tokenizer_json(&json, &config).unwrap(), config)
}

/// The micro model's configuration with another vocabulary.
fn micro_config(changes: &str) -> OfaConfig {
    let path = crate::support::goldens().join("micro/config.json");
    let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let changes: serde_json::Value = serde_json::from_str(changes).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    OfaConfig::from_json(&config.to_string()).unwrap()
}

#[test]
fn a_patch_is_named_by_what_is_centred_in_it_or_fills_most_of_it() {
    let shape = |centre: [f32; 2], radius: f32| Object {
        kind: Kind::Shape { shape: Shape::Circle, colour: Colour::Red, pattern: Pattern::Plain },
        size: Size::Small,
        centre,
        radius,
        rotation: 0.0,
        shade: 1.0,
        region: [centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius],
    };
    let (mut scene, _) = WORLD.scene(0, 0).unwrap();
    let ground = format!("{} {}", scene.pattern.word(), scene.ground.word());
    // A small thing in the corner of its patch, and a large one around the middle of four.
    scene.objects = vec![shape([0.45, 0.05], 0.04), shape([0.75, 0.75], 0.2)];
    let objects = scene.objects_in_patches(4);
    let shown: Vec<usize> = (0..16).filter(|&at| objects[at].is_some()).collect();
    assert_eq!(shown, [1, 10, 11, 14, 15]);
    assert_eq!([objects[1], objects[10]].map(|object| scene.label(object)), ["plain red circle"; 2]);
    assert_eq!(scene.label(objects[0]), ground);
}

#[test]
fn captions_and_lists_know_which_patches_show_what_they_speak_of() {
    let mut parts = [0, 0];
    for index in 0..SCENES {
        let (scene, examples) = told(index);
        for Example { task, target, shown, .. } in examples {
            let grid = scene.objects_in_patches(GRID);
            let in_patches = |patches: &[usize]| {
                let mut objects: Vec<usize> = patches.iter().map(|patch| grid[*patch].expect("an object")).collect();
                objects.sort_unstable();
                objects.dedup();
                objects
            };
            match (task.name, target) {
                ("caption", Target::Text(caption)) => {
                    let mut at = 0;
                    for Shown { part, patches } in shown {
                        assert!(part.start >= at, "{caption}: parts in the order of the words");
                        at = part.end;
                        let objects = in_patches(&patches).into_iter().map(|object| scene.objects[object]);
                        let named = mentions(&Scene { objects: objects.collect(), ..scene.clone() });
                        let said = &caption[part];
                        assert_eq!(mentioned(said, &named), 1.0, "{caption}: {said} shows {named:?}");
                        parts[0] += 1;
                    }
                }
                ("detect", Target::Objects(listed)) => {
                    for Shown { part, patches } in shown {
                        let [object] = in_patches(&patches)[..] else { panic!("one object is at one place") };
                        assert_eq!(listed[part.start].0, scene.objects[object].region);
                        parts[1] += 1;
                    }
                }
                _ => {}
            }
        }
    }
    assert!(parts.iter().all(|count| *count > 100), "{parts:?}");
}

#[test]
fn captions_go_from_the_top_to_the_bottom() {
    let mut compared = 0;
    for index in 0..SCENES {
        let (scene, examples) = told(index);
        let order = scene.reading_order();
        for Example { shown, .. } in examples.into_iter().filter(|example| example.task.name == "caption") {
            let grid = scene.objects_in_patches(GRID);
            let place = |patch: &usize| order.iter().position(|at| Some(*at) == grid[*patch]).expect("an object");
            let first: Vec<usize> = shown.iter().map(|shown| shown.patches.iter().map(place).min().unwrap()).collect();
            // A group of several whose first one lies under another thing is told by those that are seen.
            if first.len() == scene.objects.len() {
                assert!(first.is_sorted(), "{first:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn examples_know_which_patches_they_are_about() {
    let (mut regions, mut numbers, mut anchors, mut others) = (0, 0, 0, 0);
    for index in 0..SCENES {
        let (scene, examples) = told(index);
        for Example { task, inputs, target, referred, .. } in examples {
            let Some(referred) = referred else {
                assert!(
                    !matches!(task.name, "grounding" | "region_caption" | "match"),
                    "{} is about something",
                    task.name
                );
                others += 1;
                continue;
            };
            let shown = scene.objects_in_patches(referred.len().isqrt());
            let region = match (&target, inputs.region) {
                (Target::Region(region), _) => Some(*region),
                (_, region) => region,
            };
            if let Some(region) = region {
                let about = |object: usize| scene.objects[object].region == region;
                assert!(
                    referred
                        .iter()
                        .zip(&shown)
                        .all(|(referred, object)| (*referred == Role::Target) == object.is_some_and(about))
                );
                regions += 1;
            }
            if referred.contains(&Role::Anchor) {
                let said = inputs.text.as_deref().unwrap_or_default();
                let sides = Relation::ALL.iter().map(|relation| relation.word());
                assert!(sides.chain([" than ", " as many "]).any(|words| said.contains(words)), "{said} compares");
                anchors += 1;
            }
            if let (Some(question), Target::Text(answer), "vqa") = (inputs.text, target, task.name)
                && ["how many", "what is the number"].iter().any(|asked| question.starts_with(asked))
            {
                let mut counted: Vec<usize> = shown
                    .iter()
                    .zip(&referred)
                    .filter(|(_, role)| **role == Role::Target)
                    .filter_map(|(object, _)| *object)
                    .collect();
                counted.sort_unstable();
                counted.dedup();
                // One may be hidden in every patch by others.
                assert!(
                    counted.len() <= answer.parse().unwrap(),
                    "{question} {answer}, about {counted:?} of {scene:?}"
                );
                numbers += 1;
            }
        }
    }
    assert!(regions > 50 && numbers > 20 && anchors > 20 && others > 50, "{regions}, {numbers}, {anchors}, {others}");
}
