//! Which image a task runs in (FR-020A-33 to FR-020A-38, FR-020A-44, FR-020A-45).

use std::collections::BTreeMap;

use acode_rt::ImageRef;
use acode_rt::error::{Code, Error, Result};

use super::merge::Settings;
use super::schema::{Combined, distinct};
use super::values::{At, Place};

const BUILT_IN_IMAGES: [(&str, &str); 3] = [
    ("dotnet", "mcr.microsoft.com/dotnet/sdk:8.0"),
    ("node", "node:20-alpine"),
    ("python", "python:3.12-slim"),
];

/// The images that the program itself names, by language.
pub(super) fn built_in() -> BTreeMap<String, (ImageRef, Option<Place>)> {
    let parsed = |(language, image): (&str, &str)| {
        Some((language.to_owned(), (ImageRef::parse(image).ok()?, None)))
    };
    BUILT_IN_IMAGES.into_iter().filter_map(parsed).collect()
}

impl Settings {
    /// The image of a task: what was said, else that of its languages (FR-020A-44).
    ///
    /// # Errors
    /// `ACODE-CTN-015` where there is none.
    pub(crate) fn image(&self, image: Option<&ImageRef>, languages: &[String]) -> Result<ImageRef> {
        match image {
            Some(image) if languages.is_empty() || !self.image_is_default => Ok(image.clone()),
            _ => Ok(self.image_of(languages)?.0.clone()),
        }
    }

    /// The image that has these languages and as few others as may be; with the key that names it, and where that was written
    /// (FR-020A-33 to FR-020A-36).
    pub(super) fn image_of(
        &self,
        languages: &[String],
    ) -> Result<(&ImageRef, String, Option<&Place>)> {
        let wrong = |message: String| Err(Error::invalid(Code::Configuration, "image", message));
        let languages = distinct(languages.to_vec());
        if let [language] = languages.as_slice()
            && let Some((image, place)) = self.images.get(language)
        {
            let key = format!("docker.images.{language}");
            return Ok((image, key, place.as_ref()));
        }
        if languages.is_empty() {
            return wrong(
                "neither an image nor a language is said; give --image IMAGE or --language LANGUAGE (docker.images has an image for \
                 each), or set defaults.image in the operator's file"
                    .into(),
            );
        }
        let has_all = |combined: &&At<Combined>| {
            let mut languages = languages.iter();
            languages.all(|name| combined.value.languages.contains(name))
        };
        let fewest = |combined: &&At<Combined>| combined.value.languages.len();
        if let Some(at) = self.combined.iter().filter(has_all).min_by_key(fewest) {
            let key = "docker.images.combined".to_owned();
            return Ok((&at.value.image, key, Some(&at.place)));
        }
        let known = self.languages();
        let unknown = |name: &&String| !known.contains(&name.as_str());
        if let Some(unknown) = languages.iter().find(unknown) {
            let all = known.join(", ");
            return wrong(format!(
                "the language {unknown} has no image; those that have are {all}. Set docker.images.{unknown}, or give --image IMAGE"
            ));
        }
        let all = languages.join(", ");
        wrong(format!(
            "no image has all of {all}; set docker.images.combined, such as [{{languages: [{all}], image: IMAGE}}], or give --image IMAGE"
        ))
    }

    fn languages(&self) -> Vec<&str> {
        let alone = self.images.keys().map(String::as_str);
        let combined = self.combined.iter().flat_map(|at| &at.value.languages);
        let mut all: Vec<&str> = alone.chain(combined.map(String::as_str)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
