//! The browser's door: JavaScript calls translated, nothing else. JavaScript fetches, verifies and decodes images;
//! strings crossing the border are JSON.

mod codes;

use crate::config::{AnswerOptions, GenerationConfig, OfaConfig, VqganConfig};
use crate::device::{DeviceChoice, DeviceReport};
use crate::error::{Error, Result};
use crate::image::Pixels;
use crate::predict::{EncodedImage, Predictor, rehearse};
use crate::task::{self, Inputs};
use crate::vocab::Vocab;
use crate::weights::{Assembler, DeviceWeights};
use burn::tensor::Device;
use codes::{Codes, Picture};
use js_sys::{Function, JsString, Promise, Reflect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::HashMap;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Runs once, when the module is instantiated.
#[wasm_bindgen(start)]
pub fn start() {
    // cubecl registers through constructors. Unless they are called by name here, the linker wraps every export in a
    // shim that runs all of them at each call.
    // SAFETY: the linker provides the symbol, and this is its one call.
    unsafe { __wasm_call_ctors() };
    console_error_panic_hook::set_once();
}

/// The crate's version.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// Where a session stands.
enum Stage {
    Loading {
        weights: DeviceWeights,
        assembler: Assembler,
    },
    Ready(Box<Predictor>),
    /// Loading failed; the error has been reported.
    Broken,
}

/// One model, from its first shard to its last answer.
#[wasm_bindgen]
pub struct Session {
    config: OfaConfig,
    generation: GenerationConfig,
    tokenizer: String,
    device: Device,
    report: DeviceReport,
    stage: Stage,
    images: HashMap<u32, EncodedImage>,
    next_image: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    version: &'static str,
    device: &'a DeviceReport,
    vocab_size: usize,
    d_model: usize,
    layers: [usize; 2],
    /// Codes in a row of what it draws.
    code_grid: usize,
    quantization: Option<&'a crate::config::Packing>,
}

#[wasm_bindgen]
impl Session {
    /// Reads the small files and opens the device of this build.
    pub async fn create(
        config: String,
        tokenizer: String,
        generation: Option<String>,
    ) -> std::result::Result<Session, JsValue> {
        let choice = if cfg!(feature = "gpu") { DeviceChoice::Gpu } else { DeviceChoice::Cpu };
        create(&config, tokenizer, generation.as_deref(), choice).await.map_err(js_error)
    }

    /// Has the device compile what an answer takes, while shards are awaited. The session may be used meanwhile.
    pub fn rehearse(&self) -> Promise {
        let (config, device) = (self.config.clone(), self.device.clone());
        future_to_promise(
            async move { rehearse(&config, &device).await.map(|()| JsValue::UNDEFINED).map_err(js_error) },
        )
    }

    /// Takes a shard's bytes and uploads the tensors that it completes.
    #[wasm_bindgen(js_name = addShard)]
    pub fn add_shard(&mut self, name: &str, bytes: &[u8]) -> std::result::Result<(), JsValue> {
        let Stage::Loading { weights, assembler } = &mut self.stage else {
            return Err(js_error(Error::file(name, "the model takes no more shards")));
        };
        let added = assembler
            .push(name, bytes)
            .and_then(|tensors| tensors.iter().try_for_each(|(name, tensor)| weights.insert(name, tensor)));
        added.map_err(js_error)
    }

    /// Builds the model. A missing, unused or wrongly shaped tensor is an error.
    pub async fn finish(&mut self) -> std::result::Result<(), JsValue> {
        self.build().map_err(js_error)
    }

    /// Runs the stem over an image; the handle stands for it in [`run`](Self::run).
    #[wasm_bindgen(js_name = encodeImage)]
    pub async fn encode_image(
        &mut self,
        task: &str,
        rgba: &[u8],
        width: u32,
        height: u32,
        options: Option<String>,
    ) -> std::result::Result<u32, JsValue> {
        let encoded = async {
            let pixels = Pixels::from_rgba(width, height, rgba)?;
            let options: AnswerOptions = json_or_default("options", options.as_deref())?;
            self.predictor()?.encode_image(task::find(task)?, &pixels, &options).await
        };
        let encoded = encoded.await.map_err(js_error)?;
        let handle = self.next_image;
        self.next_image = self.next_image.wrapping_add(1);
        self.images.insert(handle, encoded);
        Ok(handle)
    }

    /// Forgets an image.
    #[wasm_bindgen(js_name = freeImage)]
    pub fn free_image(&mut self, handle: u32) {
        self.images.remove(&handle);
    }

    /// Answers. `on_event` gets every step as JSON and may return a promise; `false` cancels.
    pub async fn run(
        &self,
        task: &str,
        image: Option<u32>,
        inputs: Option<String>,
        options: Option<String>,
        on_event: Option<Function>,
    ) -> std::result::Result<String, JsValue> {
        let answer = async {
            let image = image.map(|handle| self.image(handle)).transpose()?;
            let inputs = json_or_default("inputs", inputs.as_deref())?;
            let options = json_or_default("options", options.as_deref())?;
            let task = task::find(task)?;
            let report = async |event| match &on_event {
                Some(on_event) => notify(on_event, &json(&event)?).await,
                None => Ok(()),
            };
            let answer = self.predictor()?.answer(task, image, &inputs, &options, report).await?;
            json(&answer)
        };
        answer.await.map_err(js_error)
    }

    /// Answers many questions of one image, or of none, in batches: `inputs` is a list, and so is what comes back.
    #[wasm_bindgen(js_name = runAll)]
    pub async fn run_all(
        &self,
        task: &str,
        image: Option<u32>,
        inputs: &str,
        options: Option<String>,
        on_event: Option<Function>,
    ) -> std::result::Result<String, JsValue> {
        let answers = async {
            let image = image.map(|handle| self.image(handle)).transpose()?;
            let inputs: Vec<Inputs> = json_or_default("inputs", Some(inputs))?;
            let questions: Vec<_> = inputs.iter().map(|inputs| (image, inputs)).collect();
            let options = json_or_default("options", options.as_deref())?;
            let report = async |event| match &on_event {
                Some(on_event) => notify(on_event, &json(&event)?).await,
                None => Ok(()),
            };
            json(&self.predictor()?.answer_all(task::find(task)?, &questions, &options, report).await?)
        };
        answers.await.map_err(js_error)
    }

    /// Where the model looked while it wrote `tokens`, an answer to these inputs; as JSON.
    pub async fn attention(
        &self,
        task: &str,
        image: u32,
        inputs: Option<String>,
        options: Option<String>,
        tokens: Vec<u32>,
    ) -> std::result::Result<String, JsValue> {
        let attention = async {
            let inputs = json_or_default("inputs", inputs.as_deref())?;
            let (task, image) = (task::find(task)?, self.image(image)?);
            let options = json_or_default("options", options.as_deref())?;
            json(&self.predictor()?.attention(task, image, &inputs, &options, &tokens).await?)
        };
        attention.await.map_err(js_error)
    }

    /// Begins to load what turns this model's codes into pictures.
    #[wasm_bindgen(js_name = openCodes)]
    pub fn open_codes(&self, config: &str) -> std::result::Result<Codes, JsValue> {
        let config = VqganConfig::from_json(config).and_then(|config| config.serves(&self.config).map(|()| config));
        Ok(Codes::new(config.map_err(js_error)?, DeviceWeights::plain(self.device.clone())))
    }

    /// The picture of a sequence of codes; nothing before its first row is complete. With a `caption` the model says
    /// how well it fits.
    pub async fn draw(
        &self,
        codes: &Codes,
        sequence: Vec<u32>,
        caption: Option<String>,
    ) -> std::result::Result<Option<Picture>, JsValue> {
        let sequence: Vec<usize> = sequence.into_iter().map(|code| code as usize).collect();
        let drawing = async { self.predictor()?.draw(codes.model()?, &sequence, caption.as_deref()).await };
        Ok(drawing.await.map_err(js_error)?.map(Picture::new))
    }

    /// What the model is and what it runs on, as JSON.
    pub fn info(&self) -> std::result::Result<String, JsValue> {
        json(&Info {
            version: env!("CARGO_PKG_VERSION"),
            device: &self.report,
            vocab_size: self.config.vocab_size,
            d_model: self.config.d_model,
            layers: [self.config.encoder_layers, self.config.decoder_layers],
            code_grid: self.config.code_grid(),
            quantization: self.config.quantization.as_ref(),
        })
        .map_err(js_error)
    }
}

async fn create(config: &str, tokenizer: String, generation: Option<&str>, choice: DeviceChoice) -> Result<Session> {
    let config = OfaConfig::from_json(config)?;
    let generation = generation.map(GenerationConfig::from_json).transpose()?.unwrap_or_default();
    let (device, report) = choice.open().await?;
    let weights = DeviceWeights::new(&config, device.clone());
    Ok(Session {
        config,
        generation,
        tokenizer,
        device,
        report,
        stage: Stage::Loading { weights, assembler: Assembler::new() },
        images: HashMap::new(),
        next_image: 0,
    })
}

impl Session {
    fn build(&mut self) -> Result<()> {
        let Stage::Loading { weights, assembler } = std::mem::replace(&mut self.stage, Stage::Broken) else {
            return Err(Error::file("model", "the model is complete already"));
        };
        assembler.finish()?;
        let vocab = Vocab::from_tokenizer_json(&std::mem::take(&mut self.tokenizer), &self.config)?;
        let model = weights.into_model(&self.config)?;
        let predictor = Predictor::new(self.config.clone(), self.generation.clone(), vocab, model)?;
        self.stage = Stage::Ready(Box::new(predictor));
        Ok(())
    }

    fn image(&self, handle: u32) -> Result<&EncodedImage> {
        let unknown = || Error::option("image", "the handle of an encoded image", format!("{handle}, which is none"));
        self.images.get(&handle).ok_or_else(unknown)
    }

    fn predictor(&self) -> Result<&Predictor> {
        match &self.stage {
            Stage::Ready(predictor) => Ok(predictor),
            _ => Err(Error::file("model", "the model is not loaded")),
        }
    }
}

/// Calls back and waits for what comes of it.
async fn notify(on_event: &Function, event: &str) -> Result<()> {
    let failed = |_| Error::Cancelled;
    let answer = on_event.call1(&JsValue::NULL, &JsString::from(event)).map_err(failed)?;
    let answer = if answer.has_type::<Promise>() {
        JsFuture::from(Promise::from(answer)).await.map_err(failed)?
    } else {
        answer
    };
    if answer.as_bool() == Some(false) { Err(Error::Cancelled) } else { Ok(()) }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::file("answer", error))
}

fn json_or_default<T: DeserializeOwned + Default>(what: &str, text: Option<&str>) -> Result<T> {
    match text {
        Some(text) => serde_json::from_str(text).map_err(|error| {
            wrong_option::<T>(text).unwrap_or_else(|| Error::option(what, "valid JSON of its kind", error))
        }),
        None => Ok(T::default()),
    }
}

/// Names the first of several options that is wrong on its own.
fn wrong_option<T: DeserializeOwned>(text: &str) -> Option<Error> {
    let options: Map<String, Value> = serde_json::from_str(text).ok()?;
    options.into_iter().find_map(|(name, value)| {
        let alone = Value::Object(Map::from_iter([(name.clone(), value)])).to_string();
        let reason = serde_json::from_str::<T>(&alone).err()?.to_string();
        // As serde says it: "invalid type: integer `5`, expected a string at line 1 column 9".
        let (found, expected) = reason.split(" at line").next()?.strip_prefix("invalid ")?.split_once(", expected ")?;
        Some(Error::option(name, expected, found.split_once(": ").map_or(found, |(_, value)| value)))
    })
}

/// A JavaScript `Error` with a `code`.
fn js_error(error: Error) -> JsValue {
    let js = js_sys::Error::new(&error.to_string());
    // Setting a property of a fresh object cannot fail.
    let _ = Reflect::set(&js, &"code".into(), &error.code().into());
    js.into()
}

/// From now on kernels are those for real adapters, with shared memory and barriers, whatever there is.
#[cfg(all(feature = "parity", feature = "gpu"))]
#[wasm_bindgen(js_name = asOnRealAdapters)]
pub fn as_on_real_adapters() {
    crate::device::as_on_real_adapters();
}

/// Runs golden cases in the browser.
#[cfg(feature = "parity")]
#[wasm_bindgen]
pub struct ParityRunner {
    goldens: crate::parity::Goldens,
    device: burn::tensor::Device,
}

#[cfg(feature = "parity")]
#[wasm_bindgen]
impl ParityRunner {
    /// Takes the files of a directory of goldens.
    pub async fn create(
        config: String,
        manifest: String,
        weights: Vec<u8>,
        shared: Vec<u8>,
    ) -> std::result::Result<ParityRunner, JsValue> {
        let choice = if cfg!(feature = "gpu") { DeviceChoice::Gpu } else { DeviceChoice::Cpu };
        let (device, _) = choice.open().await.map_err(js_error)?;
        let goldens = crate::parity::Goldens::new(&config, &manifest, &weights, &shared).map_err(js_error)?;
        Ok(Self { goldens, device })
    }

    /// The names of the cases, as JSON.
    pub fn cases(&self) -> std::result::Result<String, JsValue> {
        json(&self.goldens.cases()).map_err(js_error)
    }

    /// Runs one case; its outcome as JSON.
    pub async fn run(&self, name: String, bytes: Vec<u8>) -> std::result::Result<String, JsValue> {
        json(&self.goldens.run(&name, &bytes, &self.device).await).map_err(js_error)
    }
}
