//! Every store of keys that this build has, behind key URIs.
