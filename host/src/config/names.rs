//! The names that a provider's key has as a flag and as a variable.

/// The flag of a key, without dashes in front: `caCert` of `nimbo` is `nimbo-ca-cert`.
pub(crate) fn flag(provider: &str, key: &str) -> String {
    format!("{provider}-{}", words(key).join("-"))
}

/// The variable of a key: `caCert` of `nimbo` is `CRABBOX_NIMBO_CA_CERT`.
pub(crate) fn variable(provider: &str, key: &str) -> String {
    format!("CRABBOX_{}_{}", screaming(provider), words(key).join("_").to_uppercase())
}

/// A provider's name as a part of a variable's.
pub(crate) fn screaming(provider: &str) -> String {
    provider.replace('-', "_").to_uppercase()
}

/// The words of a camelCase key, in lowercase. A run of capitals is one word: `apiURLBase` is api, url, base.
fn words(key: &str) -> Vec<String> {
    let chars: Vec<char> = key.chars().collect();
    let mut words = vec![String::new()];
    for (n, c) in chars.iter().enumerate() {
        let begins = n > 0
            && c.is_uppercase()
            && (!chars[n - 1].is_uppercase() || chars.get(n + 1).is_some_and(|next| next.is_lowercase()));
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_a_flag_and_a_variable() {
        for (key, flag_name, variable_name) in [
            ("address", "my-cloud-address", "CRABBOX_MY_CLOUD_ADDRESS"),
            ("caCert", "my-cloud-ca-cert", "CRABBOX_MY_CLOUD_CA_CERT"),
            ("memoryGb", "my-cloud-memory-gb", "CRABBOX_MY_CLOUD_MEMORY_GB"),
            ("memoryGB", "my-cloud-memory-gb", "CRABBOX_MY_CLOUD_MEMORY_GB"),
            ("apiURLBase", "my-cloud-api-url-base", "CRABBOX_MY_CLOUD_API_URL_BASE"),
            ("ipV4Only", "my-cloud-ip-v4-only", "CRABBOX_MY_CLOUD_IP_V4_ONLY"),
        ] {
            assert_eq!(flag("my-cloud", key), flag_name);
            assert_eq!(variable("my-cloud", key), variable_name);
        }
    }
}
