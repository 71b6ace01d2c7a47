//! ckpt_inspect: what images say, whether they are sound, and one image made of a chain.

mod consolidate;
mod tell;
mod verify;

use crate::image_set::Member;
use ckpt_image::{ImageFile, UserKey};
use clap::Parser;
use std::path::{Path, PathBuf};

/// Tell what is in images
#[derive(Parser)]
#[command(name = "ckpt_inspect", version)]
struct Options {
    /// Compare every checksum: OK, or what is wrong (exit status 1)
    #[arg(long)]
    verify: bool,

    /// Write an image that needs no other from an incremental one and those it builds on
    #[arg(long, value_name = "OUT", conflicts_with_all = ["verify", "json", "maps"])]
    consolidate: Option<PathBuf>,

    /// One line of JSON for each image
    #[arg(long)]
    json: bool,

    /// List the mappings too
    #[arg(long)]
    maps: bool,

    /// Key of encrypted images
    #[arg(long, value_name = "FILE", env = "CKPT_ENCRYPT_KEY_FILE")]
    encrypt_key_file: Option<PathBuf>,

    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
}

pub fn main() {
    let options = Options::parse();
    if let Some(out) = &options.consolidate {
        finish(consolidate(&options, out));
    }
    let mut failed = false;
    for path in &options.images {
        let done = if options.verify { verify_one(path, &options) } else { tell_one(path, &options) };
        if let Err(e) = done {
            failed = true;
            eprintln!("ckpt_inspect: {e}");
        }
    }
    std::process::exit(failed as i32)
}

fn finish(done: Result<(), String>) -> ! {
    if let Err(e) = &done {
        eprintln!("ckpt_inspect: {e}");
    }
    std::process::exit(done.is_err() as i32)
}

fn key(options: &Options) -> Result<Option<UserKey>, String> {
    options.encrypt_key_file.as_deref().map(UserKey::load).transpose().map_err(|e| e.to_string())
}

fn open(path: &Path, options: &Options) -> Result<Member, String> {
    let file = ImageFile::open(path).map_err(|e| e.to_string())?;
    Member::open(file, key(options)?.as_ref()).map_err(|e| e.to_string())
}

fn tell_one(path: &Path, options: &Options) -> Result<(), String> {
    let mut file = ImageFile::open(path).map_err(|e| e.to_string())?;
    file.unlock(key(options)?.as_ref()).map_err(|e| e.to_string())?;
    let meta = file.meta().map_err(|e| e.to_string())?;
    if options.json {
        println!("{}", tell::json(&file, &meta));
    } else {
        print!("{}", tell::text(&file, &meta, options.maps));
    }
    Ok(())
}

fn verify_one(path: &Path, options: &Options) -> Result<(), String> {
    let done = open(path, options).and_then(verify::check);
    let shown = path.display().to_string();
    if options.json {
        println!("{}", serde_json::json!({ "image": shown, "ok": done.is_ok(), "error": done.as_ref().err() }));
        return done.map(drop);
    }
    let parents = done?;
    let with = if parents == 0 { String::new() } else { format!(", with the {parents} it builds on") };
    println!("{shown}: OK{with}");
    Ok(())
}

fn consolidate(options: &Options, out: &Path) -> Result<(), String> {
    let [image] = &options.images[..] else { return Err("--consolidate takes one image, the newest of its chain".into()) };
    let member = open(image, options)?;
    verify::members(std::slice::from_ref(&member))?;
    consolidate::write(member, out, key(options)?.as_ref()).map_err(|e| format!("{}: {e}", out.display()))
}
