//! Runs as processes: killed, interrupted, and on a disk that fills up.

use super::directory;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// `recipes/scenes-cpu.toml` with the smallest of models.
pub const SMALL: [&str; 16] = [
    "model.image_size=32",
    "model.config.d_model=16",
    "model.config.encoder_layers=1",
    "model.alike_layers=1",
    "model.config.decoder_layers=1",
    "model.config.encoder_ffn_dim=32",
    "model.config.decoder_ffn_dim=32",
    "model.config.resnet_layers=[1,1,1]",
    "model.config.resnet_base_channels=4",
    "data.nouns=3",
    "batch.draws=2",
    "update.updates=20",
    "update.patches.alone_until=4",
    "run.checkpoint_every=1",
    "run.evaluate_every=0",
    "run.log_every=1",
];

/// The arguments of `ofa` that begin the run in `run`, or go on with it.
pub fn pretrain(run: &Path, sets: &[&str]) -> Vec<String> {
    let resumes = run.join("recipe.toml").is_file();
    let begins = ["pretrain", if resumes { "--resume" } else { "recipes/scenes-cpu.toml" }, "--device", "cpu"];
    let mut arguments: Vec<String> = begins.map(str::to_owned).to_vec();
    arguments.extend(["--out".to_owned(), run.display().to_string()]);
    arguments.extend(SMALL.iter().chain(sets).flat_map(|set| ["--set".to_owned(), set.to_string()]));
    arguments
}

/// A run that is under way.
pub struct Process {
    pub child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// `ofa pretrain` of the run in `run`.
    fn pretrain(run: &Path, sets: &[&str]) -> Self {
        Self::start(Command::new(env!("CARGO_BIN_EXE_ofa")).args(pretrain(run, sets)))
    }

    /// Waits for a line that contains `part`; false if the process ends without one.
    pub fn says(&mut self, part: &str) -> bool {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if line.contains(part) {
                return true;
            }
            line.clear();
        }
        false
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// The exit status, if the process was not killed, and all that it wrote after what has been read.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }
}

/// Goes on with a run to its end.
pub fn finish(run: &Path, sets: &[&str]) {
    let (code, text) = Process::pretrain(run, sets).end();
    assert_eq!(code, Some(0), "{text}");
}

/// What a run made: the manifest has the hashes of all files.
fn model(run: &Path) -> String {
    std::fs::read_to_string(run.join("model/manifest.json")).unwrap()
}

fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run.join("checkpoints")).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_as_if_it_had_not_been() {
    /// Longer than an update and its checkpoint, so that both are hit.
    const LONGEST_WAIT: u64 = 60;
    const KILLS: usize = 6;
    let (_parent, straight) = directory();
    finish(&straight, &[]);
    let (_parent, run) = directory();
    let (mut waits, mut killed) = (Vec::new(), 0);
    for _ in 0..KILLS {
        let mut process = Process::pretrain(&run, &[]);
        // A run that has made all its updates by now makes no other checkpoint.
        process.says("saved");
        waits.push(fastrand::u64(0..LONGEST_WAIT));
        std::thread::sleep(Duration::from_millis(waits[waits.len() - 1]));
        process.child.kill().unwrap();
        let (code, text) = process.end();
        assert!(matches!(code, None | Some(0)), "after waits of {waits:?} ms: {text}");
        killed += usize::from(code.is_none());
    }
    assert!(killed > 0);
    finish(&run, &[]);
    assert!(model(&run) == model(&straight), "waits of {waits:?} ms led to another model");
}

#[test]
fn the_first_interrupt_makes_a_checkpoint_and_the_second_ends_the_run_at_once() {
    let many = ["update.updates=100000", "run.checkpoint_every=100000", "batch.draws=32"];
    let (_parent, run) = directory();
    for signal in ["-INT", "-TERM"] {
        let mut process = Process::pretrain(&run, &many);
        assert!(process.says("loss"));
        process.signal(signal);
        let (code, text) = process.end();
        assert!(code == Some(0) && text.contains("saved") && text.contains("--resume"), "{signal}: {code:?} {text}");
    }
    let before = checkpoints(&run);
    assert_eq!(before.len(), 2);

    // An update that takes long enough to lose patience.
    let long = ["update.updates=100000", "run.checkpoint_every=100000", "batch.draws=300"];
    let mut process = Process::pretrain(&run, &long);
    assert!(process.says("not as the run was begun: batch.draws: 32 -> 300"));
    assert!(process.says("going on after update"));
    // The run counts as begun a moment before its first update; signals go to a process that listens already.
    process.signal("-INT");
    let mut heard = String::new();
    BufReader::new(process.child.stderr.as_mut().unwrap()).read_line(&mut heard).unwrap();
    assert!(heard.contains("once more"), "{heard}");
    process.signal("-INT");
    let (code, text) = process.end();
    assert_eq!(code, Some(130), "{text}");
    assert_eq!(checkpoints(&run), before);
}

/// MPI itself does not begin where it may write no large files.
#[cfg(not(feature = "mpi"))]
#[test]
fn a_full_disk_ends_a_run_and_keeps_its_last_checkpoint() {
    /// Blocks of 512 bytes in a file: enough for the journal, too few for the weights.
    const LIMIT: &str = "40";
    let (_parent, run) = directory();
    let mut process = Process::pretrain(&run, &[]);
    assert!(process.says("saved"));
    process.signal("-INT");
    assert_eq!(process.end().0, Some(0));
    let before = checkpoints(&run);

    let limited = format!("trap '' XFSZ; ulimit -f {LIMIT}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_ofa")]).args(pretrain(&run, &[]));
    let (code, text) = Process::start(&mut command).end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("model.safetensors") && text.contains("too large"), "{text}");
    assert_eq!(checkpoints(&run), before, "nothing unfinished is left, and nothing finished has gone");
    finish(&run, &[]);
}
