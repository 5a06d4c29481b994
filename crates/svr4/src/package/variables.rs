//! Variables in owners, groups and link targets of an object.
//!
//! Only names with an upper-case initial belong to an installation (pkgmap(4)); others belonged to the build.

use std::borrow::Cow;

use super::{Object, Params, Word};

const LONGEST_TARGET: usize = 4095;

const LONGEST_ACCOUNT: usize = 255;

/// A variable of an object that has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VariableError {
    /// The variable is the owner or group.
    #[error("${0} has no value")]
    Account(String),
    /// The variable is part of a link's target.
    #[error("its target uses ${0}, which has no value")]
    Target(String),
    /// The value is longer than any name of an account.
    #[error("${0} is longer than {LONGEST_ACCOUNT} bytes")]
    LongAccount(String),
    /// The target is longer than that of any link, with the values of its variables.
    #[error("its target is longer than {LONGEST_TARGET} bytes")]
    LongTarget,
}

/// Returns a variable's value, or `None` if the name belongs to no installation or has no parameter.
pub fn value(params: &Params, name: &str) -> Option<Vec<u8>> {
    let is_variable = name.starts_with(|c: char| c.is_ascii_uppercase());
    params.get(name).filter(|_| is_variable).map(<[u8]>::to_vec)
}

/// Replaces the variables of an object by their values; an object without variables is returned unchanged.
pub fn expand_object<'o>(object: &'o Object, params: &Params) -> Result<Cow<'o, Object>, VariableError> {
    let has_variable = |name: &Option<Word>| name.as_deref().is_some_and(|name| name.starts_with('$'));
    let attributes = &object.attributes;
    if object.target.is_none() && !has_variable(&attributes.owner) && !has_variable(&attributes.group) {
        return Ok(Cow::Borrowed(object));
    }
    let mut object = object.clone();
    for name in [&mut object.attributes.owner, &mut object.attributes.group] {
        if let Some(variable) = name.as_deref().and_then(|name| name.strip_prefix('$')) {
            let value = value(params, variable).and_then(|value| String::from_utf8(value).ok());
            let value = value.ok_or_else(|| VariableError::Account(variable.to_owned()))?;
            if value.len() > LONGEST_ACCOUNT {
                return Err(VariableError::LongAccount(variable.to_owned()));
            }
            *name = Some(value.into());
        }
    }
    if let Some(target) = &mut object.target {
        *target = expand_target(target, params)?;
    }
    Ok(Cow::Owned(object))
}

fn expand_target(target: &[u8], params: &Params) -> Result<Vec<u8>, VariableError> {
    let mut expanded = Vec::with_capacity(target.len());
    for (index, part) in target.split(|&byte| byte == b'/').enumerate() {
        if index > 0 {
            expanded.push(b'/');
        }
        let name = part.strip_prefix(b"$").and_then(|name| std::str::from_utf8(name).ok());
        match name.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())) {
            Some(name) => {
                let value = value(params, name).ok_or_else(|| VariableError::Target(name.to_owned()))?;
                expanded.extend(value);
            }
            None => expanded.extend_from_slice(part),
        }
        // The value of a variable may be as long as its file.
        if expanded.len() > LONGEST_TARGET {
            return Err(VariableError::LongTarget);
        }
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::Ftype;

    #[test]
    fn owners_and_targets_get_the_values_of_parameters_and_lower_case_names_stay() {
        let params: Params = [("WEBUSER", "www"), ("LIB", "/usr/lib"), ("made", "x")].into_iter().collect();
        let mut object = Object::new(Ftype::Symlink, "none");
        object.attributes.owner = Some("$WEBUSER".into());
        object.target = Some(b"$LIB/$made/a".to_vec());
        let expanded = expand_object(&object, &params).unwrap();
        assert_eq!(expanded.attributes.owner.as_deref(), Some("www"));
        assert_eq!(expanded.target.as_deref(), Some(&b"/usr/lib/$made/a"[..]));
        object.attributes.group = Some("$NOBODY".into());
        assert_eq!(expand_object(&object, &params).unwrap_err().to_string(), "$NOBODY has no value");
    }

    /// A package of a megabyte would take gigabytes.
    #[test]
    fn values_that_no_link_and_no_account_can_have_are_refused_before_they_are_put_together() {
        let params: Params = [("V", "x".repeat(1 << 20))].into_iter().collect();
        let mut object = Object::new(Ftype::Symlink, "none");
        object.target = Some("$V/".repeat(1300).into_bytes());
        assert_eq!(expand_object(&object, &params), Err(VariableError::LongTarget));
        object.target = Some(vec![b'x'; 4096]);
        assert_eq!(expand_object(&object, &params), Err(VariableError::LongTarget));
        object.target = None;
        object.attributes.owner = Some("$V".into());
        assert_eq!(expand_object(&object, &params), Err(VariableError::LongAccount("V".to_owned())));
        let path = crate::package::PackagePath::new("$V/".repeat(1300).as_bytes()).unwrap();
        let refused = path.resolve(&crate::package::ObjectPath::root(), |name| value(&params, name));
        assert!(refused.unwrap_err().to_string().contains("with the values of its variables"));
    }
}
