//! Runs seeds of the simulation: `cargo run -p windlass-model -- --seed 7 --trace`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use windlass_model::sim::{self, Mistake, Plan, Report, Summary};

const USAGE: &str = "\
windlass-model [--seed N | --seeds FROM..TO] [--trace] [--mistake NAME] [--deaths-only] [--per-mille N]
    [--outside-only] [--report FILE]
  --seed N          one seed (default 1)
  --seeds FROM..TO  all seeds from FROM up to and without TO
  --trace           print what happened, line by line
  --mistake NAME    break a guard on purpose; the checker must see it
  --deaths-only     no trouble but processes that die one at a time
  --per-mille N     faults per 1,000 calls, of each sort (default: as the seed says)
  --outside-only    only the shared checker looks, and no inside check
  --report FILE     write what all seeds came to, as Markdown";

#[derive(Default)]
struct Args {
    from: u64,
    to: u64,
    trace: bool,
    mistake: Option<Mistake>,
    deaths_only: bool,
    per_mille: Option<u32>,
    outside_only: bool,
    report: Option<PathBuf>,
}

impl Args {
    /// What runs the same again.
    fn command(&self) -> String {
        let mut text = format!("cargo run -p windlass-model -- --seeds {}..{}", self.from, self.to);
        if self.deaths_only {
            text += " --deaths-only";
        }
        if let Some(per_mille) = self.per_mille {
            text += &format!(" --per-mille {per_mille}");
        }
        if self.outside_only {
            text += " --outside-only";
        }
        if let Some(mistake) = self.mistake {
            text += &format!(" --mistake {mistake:?}");
        }
        text
    }

    fn plan(&self, seed: u64) -> Plan {
        let plan = if self.deaths_only { Plan::deaths_only(seed) } else { Plan::of(seed) };
        let per_mille = self.per_mille.unwrap_or(plan.per_mille);
        let (trace, mistake, outside_only) = (self.trace, self.mistake, self.outside_only);
        Plan { trace, mistake, per_mille, outside_only, ..plan }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut parsed = Args { from: 1, to: 2, ..Args::default() };
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("`{text}`: {e}"));
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--seed" => {
                parsed.from = number(&value()?)?;
                parsed.to = parsed.from.saturating_add(1);
            }
            "--seeds" => {
                let range = value()?;
                let (from, to) = range.split_once("..").ok_or("expected FROM..TO")?;
                (parsed.from, parsed.to) = (number(from)?, number(to)?);
                if parsed.from >= parsed.to {
                    return Err(format!("`{range}` holds no seed"));
                }
            }
            "--trace" => parsed.trace = true,
            "--deaths-only" => parsed.deaths_only = true,
            "--per-mille" => {
                let text = value()?;
                parsed.per_mille = Some(text.parse().map_err(|e| format!("`{text}`: {e}"))?);
            }
            "--outside-only" => parsed.outside_only = true,
            "--report" => parsed.report = Some(value()?.into()),
            "--mistake" => parsed.mistake = Some(value()?.parse()?),
            _ => return Err(format!("`{arg}` is not known")),
        }
    }
    Ok(parsed)
}

fn tell(report: &Report) {
    for broken in &report.broken {
        println!("seed {}: {broken}", report.seed);
    }
    if !report.broken.is_empty() {
        println!("repeat with: {}", report.command);
    }
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let mut all = Summary::default();
    for seed in args.from..args.to {
        match sim::run(&args.plan(seed)) {
            Ok(report) => {
                all.add(&report);
                tell(&report);
                if args.to - args.from == 1 {
                    println!("seed {seed}: hash {:016x}, {:?}", report.hash, report.figures);
                }
            }
            Err(error) => {
                eprintln!("no runtime: {error}");
                return ExitCode::from(2);
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} seeds, {:.1} simulated hours in {seconds:.1} s", all.seeds, all.hours());
    if let Some(file) = &args.report
        && let Err(error) = std::fs::write(file, all.markdown(&args.command()))
    {
        eprintln!("can't write `{}`: {error}", file.display());
        return ExitCode::from(2);
    }
    if all.broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
