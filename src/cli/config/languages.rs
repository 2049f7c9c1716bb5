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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::merge::tests::both;
    use crate::cli::config::parse_language;

    fn image(settings: &Settings, languages: &str) -> String {
        let languages: Vec<String> = languages.split(',').map(str::to_owned).collect();
        match settings.image(None, &languages) {
            Ok(image) => image.as_str().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn fr_020a_33_34_35_languages_have_images_and_files_change_them() {
        let plain = Settings {
            ..both("", "").unwrap()
        };
        assert_eq!(image(&plain, "dotnet"), "mcr.microsoft.com/dotnet/sdk:8.0");
        assert_eq!(image(&plain, "node"), "node:20-alpine");
        assert_eq!(image(&plain, "python"), "python:3.12-slim");
        let unknown = image(&plain, "cobol");
        assert!(
            unknown.contains("dotnet, node, python") && unknown.contains("docker.images.cobol"),
            "{unknown}"
        );
        let neither = plain.image(None, &[]).unwrap_err().to_string();
        assert!(
            neither.contains("--image")
                && neither.contains("--language")
                && neither.contains("docker.images"),
            "{neither}"
        );
        let files = both(
            "docker: {images: {node: corp/node:1, go: corp/go:1}}",
            "docker: {images: {node: team/node:2, rust: 'rust:1.88'}}",
        )
        .unwrap();
        for (language, expected) in [
            ("node", "team/node:2"),
            ("go", "corp/go:1"),
            ("rust", "rust:1.88"),
            ("python", "python:3.12-slim"),
        ] {
            assert_eq!(image(&files, language), expected);
        }
    }

    #[test]
    fn fr_020a_36_several_languages_have_a_combined_image() {
        let settings = both(
        "docker: {images: {combined: [{languages: [node, python, dotnet], image: all}, {languages: [python, node], image: corp-both}]}}",
        "docker: {images: {combined: [{languages: [node, dotnet], image: team-web}, {languages: [go, c], image: native}]}}",
    )
    .unwrap();
        for (languages, expected) in [
            ("node,python", "corp-both"),
            ("python,node", "corp-both"),
            ("node,node", "node:20-alpine"),
            ("dotnet,node", "team-web"),
            ("python,dotnet", "all"),
            ("python,dotnet,node", "all"),
            ("go", "native"),
        ] {
            assert_eq!(image(&settings, languages), expected, "{languages}");
        }
        let none = image(&settings, "go,node");
        assert!(
            none.contains("docker.images.combined")
                && none.contains("c, dotnet, go, node, python") == none.contains("has no image"),
            "{none}"
        );
        let again = both(
            "docker: {images: {combined: [{languages: [a, b], image: of-operator}]}}",
            "docker: {images: {combined: [{languages: [b, a], image: of-repository}]}}",
        )
        .unwrap();
        assert_eq!(image(&again, "a,b"), "of-repository");
    }

    #[test]
    fn fr_020a_44_an_image_counts_more_than_a_language() {
        let mut settings = both("", "").unwrap();
        let image = ImageRef::parse("mine").unwrap();
        let node = [parse_language("node").unwrap()];
        assert_eq!(settings.image(Some(&image), &node).unwrap(), image);
        settings.image_is_default = true;
        assert_eq!(
            settings.image(Some(&image), &node).unwrap().as_str(),
            "node:20-alpine"
        );
        assert_eq!(settings.image(Some(&image), &[]).unwrap(), image);
    }
}
