//! `secret://NAME` as the value of a variable: what the platform keeps under that name.

use std::path::{Path, PathBuf};

use super::Variables;

const SCHEME: &str = "secret://";
/// Where platforms put secrets, a file each: `OpenFaaS`; Docker, Compose and Kubernetes by convention.
const FOLDERS: [&str; 2] = ["var/openfaas/secrets", "run/secrets"];
/// Where Fission puts them, a folder for each namespace and one in it for each secret, a file for each key.
const NESTED: &str = "secrets";

/// A secret that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "variable `{variable}` is `{SCHEME}{secret}`, but there is no such secret; expected a file of this name in \
     /var/openfaas/secrets, /run/secrets or /secrets/NAMESPACE/SECRET, or a variable"
)]
pub struct NoSecret {
    variable: String,
    secret: String,
}

/// Puts secrets in the place of their names, below `root`, which is `/` but for tests.
///
/// # Errors
///
/// One is not there.
pub fn resolve(root: &Path, variables: &mut Variables) -> Result<(), NoSecret> {
    let named: Vec<(String, String)> = variables
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.strip_prefix(SCHEME)?.to_owned())))
        .collect();
    for (variable, secret) in named {
        let found = find(root, &secret).or_else(|| variables.get(&secret).cloned());
        let value = found.ok_or_else(|| NoSecret { variable: variable.clone(), secret })?;
        variables.insert(variable, value.trim_end_matches(['\r', '\n']).to_owned());
    }
    Ok(())
}

fn find(root: &Path, secret: &str) -> Option<String> {
    // A name is a file's, and leads nowhere else.
    let is_name = !secret.is_empty()
        && secret.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !secret.trim_matches('.').is_empty();
    if !is_name {
        return None;
    }
    let flat = FOLDERS.iter().map(|folder| root.join(folder).join(secret));
    let nested = folders(&root.join(NESTED)).into_iter().flat_map(|namespace| folders(&namespace));
    let nested = nested.map(|folder| folder.join(secret));
    flat.chain(nested).find_map(|file| std::fs::read_to_string(file).ok())
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(root: &Path, value: &str) -> Result<String, String> {
        let mut variables = Variables::from([
            ("OFFRAMP_URL".to_owned(), value.to_owned()),
            ("TOKEN".to_owned(), "from-a-variable".to_owned()),
        ]);
        resolve(root, &mut variables).map_err(|error| error.to_string())?;
        Ok(variables.remove("OFFRAMP_URL").unwrap())
    }

    #[test]
    fn secrets_are_found_where_each_platform_puts_them() {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("var/openfaas/secrets/a", "openfaas\n"),
            ("run/secrets/b", "docker"),
            ("secrets/default/kafka/c", "fission\r\n"),
        ] {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let of = |value| resolved(root.path(), value).unwrap();
        assert_eq!(of("secret://a"), "openfaas");
        assert_eq!(of("secret://b"), "docker");
        assert_eq!(of("secret://c"), "fission");
        assert_eq!(of("secret://TOKEN"), "from-a-variable");
        assert_eq!(of("http://a"), "http://a");
        for name in ["secret://none", "secret://", "secret://../b", "secret://.."] {
            let error = resolved(root.path(), name).unwrap_err();
            assert!(error.contains("OFFRAMP_URL") && error.contains(name), "{error}");
        }
    }
}
