//! What each certificate must be, by itself and beside its issuer.

use countersign_format::Scope;

use crate::{Anchor, Certificate, Rejection, fault::Fault};

use super::{ChainVerifier, issuer_of};

impl ChainVerifier<'_> {
    /// Each certificate by itself and beside its issuer.
    pub(super) fn inspect(&self, chain: &[Certificate], anchor: &Anchor) -> Result<(), Rejection> {
        for (depth, certificate) in chain.iter().enumerate() {
            let profile = if depth == 0 {
                self.profile.end_entity
            } else {
                self.profile.intermediate
            };
            let fault = |fault| self.fault(depth, certificate, fault);
            profile
                .inspect(certificate, Some(*self.profile.purpose))
                .map_err(fault)?;
            // The root is not sent, and a CA's second certificate for its own name is no way around that.
            if certificate.is_self_issued() {
                return Err(self.broken(
                    depth,
                    "it is self-issued; roots are compiled in, never sent",
                ));
            }
            // Keys have one purpose: one that certifies others signs nothing else.
            let above = chain.iter().skip(depth.saturating_add(1));
            if above
                .chain([anchor.certificate()])
                .any(|above| above.spki() == certificate.spki())
            {
                return Err(fault(Fault::Key {
                    reason: "it is the key of a CA above it".to_owned(),
                }));
            }
            let issuer = issuer_of(chain, depth, anchor);
            check_key_identifiers(certificate, issuer).map_err(fault)?;
            check_path_length(certificate, depth).map_err(fault)?;
        }
        check_path_length(anchor.certificate(), chain.len())
            .map_err(|fault| self.fault(chain.len(), anchor.certificate(), fault))
    }

    /// The scopes from the root's down, each within the one above it.
    pub(super) fn scopes(
        &self,
        chain: &[Certificate],
        anchor: &Anchor,
    ) -> Result<Vec<Scope>, Rejection> {
        let mut scopes: Vec<Scope> = anchor.scope().cloned().into_iter().collect();
        let below = chain.iter().enumerate().rev();
        for (depth, certificate) in [(chain.len(), anchor.certificate())]
            .into_iter()
            .chain(below)
        {
            let fault = |fault| self.fault(depth, certificate, fault);
            let Some(scope) = certificate.scope().map_err(fault)? else {
                continue;
            };
            if scopes.last().is_some_and(|above| !above.contains(&scope)) {
                return Err(fault(Fault::ScopeWidened));
            }
            scopes.push(scope);
        }
        Ok(scopes)
    }
}

/// RFC 5280 §4.2.1.1: the key identifier in a certificate is its issuer's subject key identifier.
fn check_key_identifiers(certificate: &Certificate, issuer: &Certificate) -> Result<(), Fault> {
    let authority = certificate
        .authority_key_identifier()?
        .and_then(|identifier| identifier.key_identifier);
    let subject = issuer
        .subject_key_identifier()?
        .map(|identifier| identifier.0);
    if authority.is_some() && authority == subject {
        return Ok(());
    }
    Err(Fault::KeyIdentifier {
        reason: "its authorityKeyIdentifier is not its issuer's subjectKeyIdentifier",
    })
}

/// RFC 5280 §4.2.1.9: pathLenConstraint bounds the CAs below. Stricter: self-issued ones do not occur at all.
fn check_path_length(certificate: &Certificate, depth: usize) -> Result<(), Fault> {
    let Some(allowed) = certificate
        .basic_constraints()?
        .and_then(|constraints| constraints.path_len_constraint)
    else {
        return Ok(());
    };
    let actual = depth.saturating_sub(1);
    if actual > usize::from(allowed) {
        return Err(Fault::PathLength { allowed, actual });
    }
    Ok(())
}
